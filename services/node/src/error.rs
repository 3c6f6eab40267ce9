//! What can go wrong at a node, in words for its operator; never a name, a date or a local id.

use linkage_common::error::{ErrorKind, ServiceError};
use linkage_common::fsx;
use linkage_crypto::group::GroupError;
use linkage_crypto::oprf::OprfError;
use linkage_crypto::seal::SealError;
use linkage_crypto::storage::StorageError;
use linkage_encoding::fields::EncodeError;
use linkage_encoding::identity::NormaliserError;
use linkage_encoding::passes::PassSetError;
use linkage_linking::LinkError;

use crate::intake::{IntakeError, MappingError};

/// Why the node could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The delivery cannot be read.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The column mapping cannot be used.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The file's columns do not give identities.
    #[error(transparent)]
    Columns(#[from] NormaliserError),
    /// The pass set cannot be used.
    #[error(transparent)]
    Passes(#[from] PassSetError),
    /// Identity and agreement do not fit.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Level frequencies could not be counted.
    #[error("fréquences des niveaux de comparaison : {0}")]
    Levels(#[from] LinkError),
    /// The custodian's answer was refused.
    #[error("réponse du tiers de confiance refusée : {0}")]
    Oprf(#[from] OprfError),
    /// The group key ceremony went wrong.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A key could not be sealed to an analyst.
    #[error("clé d'attributs : {0}")]
    Seal(#[from] SealError),
    /// A state file cannot be opened.
    #[error("état du nœud, fichier {file} : {source}")]
    State {
        /// The file, within the state folder.
        file: String,
        /// Why.
        source: StorageError,
    },
    /// A state file was opened but is not what it should be.
    #[error("état du nœud, fichier {0} : contenu inattendu ; restaurez-le d'une sauvegarde")]
    Damaged(String),
    /// The disk is full.
    #[error("disque plein : rien n'a été écrit à moitié ; faites de la place, puis relancez la même commande")]
    DiskFull,
    /// The system refused a file operation.
    #[error("opération sur un fichier refusée par le système : {0}")]
    Io(std::io::Error),
    /// A configured value cannot be used.
    #[error("{0}")]
    Configuration(String),
    /// Something has to be done first.
    #[error("{0}")]
    NotReady(String),
    /// A peer refused or cannot be reached.
    #[error("{peer} : {error}")]
    Peer {
        /// `courtier` or `tiers de confiance`.
        peer: &'static str,
        /// What it answered.
        error: ServiceError,
    },
    /// The agreement does not allow it.
    #[error("{0}")]
    Refused(String),
}

impl From<std::io::Error> for NodeError {
    fn from(error: std::io::Error) -> Self {
        if fsx::is_disk_full(&error) { Self::DiskFull } else { Self::Io(error) }
    }
}

impl From<ServiceError> for NodeError {
    fn from(error: ServiceError) -> Self {
        Self::Refused(error.message.into_owned())
    }
}

impl NodeError {
    /// Whether the same may succeed later without anybody's doing.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::DiskFull => true,
            Self::Peer { error, .. } => matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Exhausted | ErrorKind::Internal),
            _ => false,
        }
    }
    /// Whether a peer that was reached has answered so; the same question may get the same answer for ever.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Peer { error, .. } if error.kind != ErrorKind::Unavailable)
    }
    /// The broker's refusal.
    pub fn broker(status: &tonic::Status) -> Self {
        Self::Peer { peer: "courtier", error: ServiceError::from(status) }
    }
    /// The custodian's refusal.
    pub fn custodian(status: &tonic::Status) -> Self {
        Self::Peer { peer: "tiers de confiance", error: ServiceError::from(status) }
    }
}
