//! The PEM files of a role: authority, own certificate, own key, revocation list.
//!
//! Everything that can be wrong with them is found when they are loaded and said with the file's name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use super::identity::{IdentityError, uri_of};
use crate::fsx::{self, FileError};

const PEM_LIMIT: u64 = 1 << 20;
const CRL_LIMIT: u64 = 16 << 20;

/// Where a role's certificate files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Certificates of the authorities that the partners trust, PEM.
    pub ca: PathBuf,
    /// This role's certificate, then any intermediate ones, PEM.
    pub certificate: PathBuf,
    /// This role's private key, PEM, readable by its owner only.
    pub key: PathBuf,
}

/// What is wrong with a certificate file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFileError {
    /// It cannot be read, or is a key that others can read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It holds no PEM section of the kind it should.
    #[error("{} : aucune section PEM « {expected} » lisible ; vérifiez que c'est le bon fichier, au format PEM", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// The PEM label looked for.
        expected: &'static str,
    },
    /// An authority's certificate cannot be used as one.
    #[error("{} : certificat d'autorité inutilisable ; demandez à nouveau le certificat de l'autorité", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
    },
    /// Key and certificate are not of one pair.
    #[error("la clé {} n'est pas celle du certificat {} ; remettez ensemble les deux fichiers d'une même demande", key.display(), certificate.display())]
    KeyMismatch {
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        certificate: PathBuf,
    },
    /// The key is of a kind that is not supported.
    #[error("{} : type de clé non pris en charge ; utilisez une clé ECDSA P-256 ou Ed25519", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
    },
    /// The certificate does not name its holder.
    #[error("{} : {reason}", path.display())]
    Identity {
        /// The certificate file.
        path: PathBuf,
        /// Why.
        reason: IdentityError,
    },
    /// The revocation list cannot be used.
    #[error("{} : liste de révocation inutilisable ; téléchargez-la à nouveau auprès de l'autorité", path.display())]
    Crl {
        /// The file.
        path: PathBuf,
    },
}

/// What the files hold.
pub(super) struct Material {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl TlsFiles {
    /// Reads the files and checks each; that key and certificate match is checked by [`Self::pair_error`].
    pub(super) fn read(&self) -> Result<Material, TlsFileError> {
        let material = self.read_any_name()?;
        if let Some(own) = material.chain.first() {
            uri_of(own).map_err(|reason| TlsFileError::Identity { path: self.certificate.clone(), reason })?;
        }
        Ok(material)
    }

    /// As [`Self::read`], whatever names the own certificate bears.
    pub(super) fn read_any_name(&self) -> Result<Material, TlsFileError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            roots.add(certificate).map_err(|_| TlsFileError::Authority { path: self.ca.clone() })?;
        }
        let chain = certificates(&self.certificate)?;
        let key_text = fsx::read_private(&self.key, PEM_LIMIT)?;
        let key = PrivateKeyDer::from_pem_slice(&key_text)
            .map_err(|_| TlsFileError::NotPem { path: self.key.clone(), expected: "PRIVATE KEY" })?;
        Ok(Material { roots: Arc::new(roots), chain, key })
    }

    /// Why rustls did not take certificate and key together.
    pub(super) fn pair_error(&self, error: &rustls::Error) -> TlsFileError {
        match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsFileError::KeyMismatch { key: self.key.clone(), certificate: self.certificate.clone() }
            }
            _ => TlsFileError::Key { path: self.key.clone() },
        }
    }

    /// The URI that this role's own certificate gives it.
    ///
    /// # Errors
    /// [`TlsFileError`].
    pub fn own_uri(&self) -> Result<String, TlsFileError> {
        let chain = certificates(&self.certificate)?;
        let own = chain.first().map_or(Err(IdentityError::Unreadable), uri_of);
        own.map_err(|reason| TlsFileError::Identity { path: self.certificate.clone(), reason })
    }
}

/// The revocation lists in a PEM file, at least one.
pub(super) fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFileError> {
    let bytes = fsx::read_limited(path, CRL_LIMIT)?;
    sections(path, "X509 CRL", CertificateRevocationListDer::pem_slice_iter(&bytes))
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let bytes = fsx::read_limited(path, PEM_LIMIT)?;
    sections(path, "CERTIFICATE", CertificateDer::pem_slice_iter(&bytes))
}

fn sections<T, E>(
    path: &Path,
    expected: &'static str,
    found: impl Iterator<Item = Result<T, E>>,
) -> Result<Vec<T>, TlsFileError> {
    match found.collect::<Result<Vec<T>, E>>() {
        Ok(items) if !items.is_empty() => Ok(items),
        _ => Err(TlsFileError::NotPem { path: path.to_owned(), expected }),
    }
}
