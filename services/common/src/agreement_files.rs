//! The agreement on disk: the text, the signatures, and the notices that end it.
//!
//! No role runs on an agreement that is not signed by every party; a notice that cannot be verified stops the
//! role rather than being passed over, since passing it over might prolong what a partner has ended.

use std::path::{Path, PathBuf};

use linkage_agreement::{
    AgreementError, Fault, ParsedAgreement, Signatures, SignedAgreement, Termination, TerminationError, VerifiedTermination,
};
use serde::Deserialize;

use crate::fsx::{self, FileError};

const AGREEMENT_LIMIT: u64 = 4 << 20;

/// Where the agreement is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementFiles {
    /// The agreement, TOML.
    pub agreement: PathBuf,
    /// The parties' signatures, TOML.
    pub signatures: PathBuf,
    /// A directory of notices of termination, `*.toml`; empty as long as nobody has ended the agreement.
    #[serde(default)]
    pub terminations: Option<PathBuf>,
}

/// Why the agreement cannot be acted on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgreementFileError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file has faults, each with its line.
    #[error("{}", lines(.0))]
    Faults(Vec<Fault>),
    /// A party has not signed exactly this text.
    #[error("{} : {}", path.display(), reason.french())]
    Unsigned {
        /// The signatures' file.
        path: PathBuf,
        /// Why.
        reason: AgreementError,
    },
    /// A notice is not a valid one.
    #[error("{} : {}", path.display(), reason.french())]
    Termination {
        /// The notice's file.
        path: PathBuf,
        /// Why.
        reason: TerminationError,
    },
}

impl AgreementFiles {
    /// The agreement, once every party's signature is verified.
    ///
    /// # Errors
    /// [`AgreementFileError`].
    pub fn load_signed_agreement(&self) -> Result<SignedAgreement, AgreementFileError> {
        let parsed = self.load_agreement()?;
        let text = fsx::read_text(&self.signatures, AGREEMENT_LIMIT)?;
        let signatures = Signatures::parse(&text, &shown(&self.signatures)).map_err(AgreementFileError::Faults)?;
        SignedAgreement::verify(parsed, &signatures)
            .map_err(|reason| AgreementFileError::Unsigned { path: self.signatures.clone(), reason })
    }

    /// The agreement's text, whether signed or not.
    ///
    /// # Errors
    /// [`AgreementFileError`].
    pub fn load_agreement(&self) -> Result<ParsedAgreement, AgreementFileError> {
        let text = fsx::read_text(&self.agreement, AGREEMENT_LIMIT)?;
        ParsedAgreement::parse(&text, &shown(&self.agreement)).map_err(AgreementFileError::Faults)
    }

    /// The notices that end `agreement`, verified; those of other agreements and versions are left out. Read
    /// anew before every run: a notice counts from the moment it lies in the directory.
    ///
    /// # Errors
    /// [`AgreementFileError`].
    pub fn load_terminations(&self, agreement: &SignedAgreement) -> Result<Vec<VerifiedTermination>, AgreementFileError> {
        let Some(dir) = &self.terminations else { return Ok(Vec::new()) };
        let unreadable = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => FileError::Missing { path: dir.clone() },
            kind => FileError::Unreadable { path: dir.clone(), kind },
        };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|e| e == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut notices = Vec::new();
        for path in paths {
            let text = fsx::read_text(&path, AGREEMENT_LIMIT)?;
            let notice = Termination::parse(&text, &shown(&path)).map_err(AgreementFileError::Faults)?;
            match notice.verify(agreement.parsed()) {
                Ok(verified) => notices.push(verified),
                Err(TerminationError::OtherAgreement) => {}
                Err(reason) => return Err(AgreementFileError::Termination { path, reason }),
            }
        }
        Ok(notices)
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}
