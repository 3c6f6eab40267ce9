//! The authority of partners that have none: a folder on a machine that is on no network, opened to issue and to revoke.
//!
//! `ca.pem` goes to every role, `ca.key` (mode 0600, under a passphrase unless its keeper wants none) to nobody; `issued/` keeps every certificate by its serial number,
//! `revoked/` those that no longer count, `crl.pem` is the list of these. Who issues decides the one URI of a certificate: what
//! a request asks for besides its key is compared with it and otherwise ignored.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rcgen::{CertificateParams, CertificateSigningRequestParams, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::{AuthorityError, DevAuthority, FILE_LIMIT, Passphrase, Validity, key_text, passphrase, serial_of};
use crate::fsx;
use crate::tls::{IdentityError, uri_of};

const ISSUED: &str = "issued";
const REVOKED: &str = "revoked";
/// The list's file.
pub const CRL_FILE: &str = "crl.pem";

/// Why the authority refused.
#[derive(Debug, thiserror::Error)]
pub enum OfficeError {
    /// The authority's files, or what rcgen says.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// There is an authority in the folder already.
    #[error("{} contient déjà une autorité ; choisissez un autre dossier", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// The name is no URI that a role could bear.
    #[error(
        "« {uri} » n'est pas une URI de rôle ; reprenez celle de la convention (certificate_identity), par exemple linkage://CONVENTION/party/IDENTIFIANT"
    )]
    Uri {
        /// The name.
        uri: String,
    },
    /// The request cannot be read, or was not signed by its own key.
    #[error("demande de certificat illisible ou altérée ; demandez-en une nouvelle (linkage certificates request)")]
    Request,
    /// The request is for another role than the one to be named.
    #[error("la demande porte « {asked} » et non « {expected} » ; vérifiez auprès du demandeur quel rôle est le sien")]
    OtherRole {
        /// In the request.
        asked: String,
        /// To be named.
        expected: String,
    },
    /// The request does not name exactly one role.
    #[error("la demande : {0}")]
    Identity(IdentityError),
    /// The authority has not issued this certificate.
    #[error("cette autorité n'a délivré aucun certificat de ce numéro de série ; « linkage certificates show » le montre")]
    Unknown,
}

impl From<std::io::Error> for OfficeError {
    fn from(error: std::io::Error) -> Self {
        AuthorityError::Write(error).into()
    }
}

impl From<rcgen::Error> for OfficeError {
    fn from(error: rcgen::Error) -> Self {
        AuthorityError::Certificate(error).into()
    }
}

/// The authority in its folder.
#[derive(Debug)]
pub struct Office {
    dir: PathBuf,
    authority: DevAuthority,
}

/// A certificate that was issued, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Serial number, in hexadecimal.
    pub serial: String,
    /// The certificate, PEM.
    pub certificate: String,
}

impl Office {
    /// A new authority called `name` in `dir`, its key under `passphrase` where there is one.
    ///
    /// # Errors
    /// [`OfficeError::Taken`], a passphrase that is too short, or the system's.
    pub fn create(dir: &Path, name: &str, now: Timestamp, passphrase: Option<&Passphrase>) -> Result<Self, OfficeError> {
        if dir.join(super::KEY_FILE).try_exists()? || dir.join(super::CERTIFICATE_FILE).try_exists()? {
            return Err(OfficeError::Taken { path: dir.to_owned() });
        }
        let authority = DevAuthority::create(name, now)?;
        authority.save_under(dir, passphrase)?;
        let office = Self { dir: dir.to_owned(), authority };
        office.renew_list(now)?;
        Ok(office)
    }

    /// Whether the authority in `dir` can be opened by a passphrase only.
    ///
    /// # Errors
    /// A key file that cannot be read, or that others can.
    pub fn is_locked(dir: &Path) -> Result<bool, OfficeError> {
        Ok(passphrase::is_locked(&key_text(dir)?))
    }

    /// The authority that [`Self::create`] left in `dir`.
    ///
    /// # Errors
    /// Files that cannot be read, a key that others can, a passphrase that is wrong or missing.
    pub fn open(dir: &Path, passphrase: Option<&Passphrase>) -> Result<Self, OfficeError> {
        Ok(Self { dir: dir.to_owned(), authority: DevAuthority::load_under(dir, passphrase)? })
    }

    /// Puts the key under another passphrase, or under none. Copies of the former file still open by the former one.
    ///
    /// # Errors
    /// A passphrase that is too short; the folder cannot be written.
    pub fn protect(&self, passphrase: Option<&Passphrase>) -> Result<(), OfficeError> {
        Ok(self.authority.save_under(&self.dir, passphrase)?)
    }

    /// The authority's certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    /// A certificate for `uri`, and its key.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub fn issue(&self, uri: &str, validity: Validity) -> Result<(Issued, Zeroizing<String>), OfficeError> {
        let (certificate, key) = self.authority.issue(proper(uri)?, validity)?;
        Ok((self.enter(certificate)?, key))
    }

    /// A certificate for `uri` over the key of a request (PKCS #10, PEM) whose holder keeps the private part.
    ///
    /// # Errors
    /// [`OfficeError::Request`], [`OfficeError::OtherRole`].
    pub fn issue_for(&self, request: &str, uri: &str, validity: Validity) -> Result<Issued, OfficeError> {
        let uri = proper(uri)?;
        let asked = CertificateSigningRequestParams::from_pem(request).map_err(|_| OfficeError::Request)?;
        let mut names = asked.params.subject_alt_names.iter().filter_map(|name| match name {
            SanType::URI(uri) => Some(uri.as_str()),
            _ => None,
        });
        match (names.next(), names.next()) {
            (Some(only), None) if only == uri => {}
            (Some(other), None) => {
                return Err(OfficeError::OtherRole { asked: other.to_owned(), expected: uri.to_owned() });
            }
            (Some(_), Some(_)) => return Err(OfficeError::Identity(IdentityError::SeveralUris)),
            (None, _) => return Err(OfficeError::Identity(IdentityError::NoUri)),
        }
        let certificate = self.authority.certify(&asked.public_key, uri, validity)?;
        self.enter(certificate)
    }

    /// Certificates issued in `dir` that are not revoked, by serial number; for this the key is not needed.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn issued(dir: &Path) -> Result<Vec<Issued>, OfficeError> {
        let revoked = kept(dir, REVOKED)?;
        Ok(kept(dir, ISSUED)?.into_iter().filter(|one| revoked.iter().all(|other| other.serial != one.serial)).collect())
    }

    /// Revokes the certificate of this serial number, and writes the list anew.
    ///
    /// # Errors
    /// [`OfficeError::Unknown`].
    pub fn revoke(&self, serial: &str, now: Timestamp) -> Result<(), OfficeError> {
        let wanted = serial.to_ascii_lowercase().replace(':', "");
        let found = kept(&self.dir, ISSUED)?.into_iter().find(|one| one.serial == wanted).ok_or(OfficeError::Unknown)?;
        let folder = self.dir.join(REVOKED);
        fsx::create_private_dir(&folder)?;
        fsx::write_atomic(&folder.join(format!("{}.pem", found.serial)), found.certificate.as_bytes())?;
        self.renew_list(now)
    }

    /// Writes the revocation list anew; it is due again in 30 days.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn renew_list(&self, now: Timestamp) -> Result<(), OfficeError> {
        let revoked = kept(&self.dir, REVOKED)?;
        let texts: Vec<&str> = revoked.iter().map(|one| one.certificate.as_str()).collect();
        let list = self.authority.revoke(&texts, now)?;
        Ok(fsx::write_atomic_public(&self.dir.join(CRL_FILE), list.as_bytes())?)
    }

    fn enter(&self, certificate: String) -> Result<Issued, OfficeError> {
        let issued = Issued { serial: serial_text(&certificate)?, certificate };
        let folder = self.dir.join(ISSUED);
        fsx::create_private_dir(&folder)?;
        fsx::write_atomic(&folder.join(format!("{}.pem", issued.serial)), issued.certificate.as_bytes())?;
        Ok(issued)
    }
}

fn kept(dir: &Path, folder: &str) -> Result<Vec<Issued>, OfficeError> {
    let entries = match std::fs::read_dir(dir.join(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut kept = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "pem") {
            let certificate = fsx::read_text(&path, FILE_LIMIT).map_err(AuthorityError::from)?;
            kept.push(Issued { serial: serial_text(&certificate)?, certificate });
        }
    }
    kept.sort_by(|a, b| a.serial.cmp(&b.serial));
    Ok(kept)
}

/// A request (PKCS #10, PEM) for `uri` and its key, PEM, drawn here.
///
/// # Errors
/// [`OfficeError::Uri`].
pub fn request(uri: &str) -> Result<(String, Zeroizing<String>), OfficeError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(proper(uri)?.try_into()?)];
    let request = params.serialize_request(&key)?.pem()?;
    Ok((request, Zeroizing::new(key.serialize_pem())))
}

/// A certificate's serial number, in hexadecimal.
///
/// # Errors
/// [`AuthorityError::NotACertificate`].
pub fn serial_text(pem: &str) -> Result<String, AuthorityError> {
    Ok(serial_of(pem)?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The one URI of a certificate, PEM.
///
/// # Errors
/// [`AuthorityError::NotACertificate`], or not exactly one URI.
pub fn uri_text(pem: &str) -> Result<String, OfficeError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| AuthorityError::NotACertificate)?;
    uri_of(&der).map_err(OfficeError::Identity)
}

/// Refuses what could not stand in an agreement: something else than visible ASCII with a scheme.
fn proper(uri: &str) -> Result<&str, OfficeError> {
    let (scheme, rest) = uri.split_once("://").unwrap_or_default();
    let visible = uri.bytes().all(|b| b.is_ascii_graphic());
    if scheme.is_empty() || rest.is_empty() || !visible || uri.len() > 512 {
        return Err(OfficeError::Uri { uri: uri.chars().take(80).filter(|c| !c.is_control()).collect() });
    }
    Ok(uri)
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    const URI: &str = "linkage://essai/party/ccas";

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_request_is_certified_for_the_role_that_the_authority_names() {
        let dir = tempfile::tempdir().unwrap();
        let office = Office::create(dir.path(), "Autorité", now(), None).unwrap();
        assert!(matches!(Office::create(dir.path(), "Autorité", now(), None), Err(OfficeError::Taken { .. })));
        let (csr, key) = request(URI).unwrap();
        assert!(key.contains("PRIVATE KEY") && !csr.contains("PRIVATE KEY"));
        let issued = office.issue_for(&csr, URI, Validity::days(now(), 30)).unwrap();
        assert_eq!(uri_text(&issued.certificate).unwrap(), URI);
        assert!(matches!(
            office.issue_for(&csr, "linkage://essai/broker", Validity::days(now(), 30)),
            Err(OfficeError::OtherRole { asked, .. }) if asked == URI
        ));
        // A changed byte in the signed part.
        let at = csr.len() / 2;
        let other = if csr.as_bytes()[at] == b'A' { "B" } else { "A" };
        let mut altered = csr;
        altered.replace_range(at..=at, other);
        assert!(matches!(office.issue_for(&altered, URI, Validity::days(now(), 30)), Err(OfficeError::Request)));
        for wrong in ["ccas", "linkage://", "linkage://é/party", "linkage://a b"] {
            assert!(matches!(office.issue(wrong, Validity::days(now(), 30)), Err(OfficeError::Uri { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_request_for_two_roles_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let office = Office::create(dir.path(), "Autorité", now(), None).unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        for uri in [URI, "linkage://essai/broker"] {
            params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        }
        let csr = params.serialize_request(&key).unwrap().pem().unwrap();
        assert!(matches!(
            office.issue_for(&csr, URI, Validity::days(now(), 30)),
            Err(OfficeError::Identity(IdentityError::SeveralUris))
        ));
    }

    #[test]
    fn a_locked_authority_opens_by_its_passphrase_only() {
        let dir = tempfile::tempdir().unwrap();
        let passphrase = |text: &str| Passphrase::new(Zeroizing::new(text.to_owned())).unwrap();
        let (first, second) = (passphrase("quatre mots tirés au sort"), passphrase("quatre autres mots au sort"));
        Office::create(dir.path(), "Autorité", now(), Some(&first)).unwrap();
        assert!(Office::is_locked(dir.path()).unwrap());
        let refused = |passphrase| match Office::open(dir.path(), passphrase) {
            Err(OfficeError::Authority(error)) => error,
            other => panic!("{other:?}"),
        };
        assert!(matches!(refused(None), AuthorityError::Locked));
        assert!(matches!(refused(Some(&second)), AuthorityError::WrongPassphrase));
        let office = Office::open(dir.path(), Some(&first)).unwrap();
        office.issue(URI, Validity::days(now(), 30)).unwrap();
        // Who only looks needs no passphrase.
        assert_eq!(Office::issued(dir.path()).unwrap().len(), 1);
        office.protect(Some(&second)).unwrap();
        assert!(matches!(refused(Some(&first)), AuthorityError::WrongPassphrase));
        Office::open(dir.path(), Some(&second)).unwrap().protect(None).unwrap();
        assert!(!Office::is_locked(dir.path()).unwrap());
        assert_eq!(Office::open(dir.path(), None).unwrap().certificate_pem(), office.certificate_pem());
    }

    #[test]
    fn what_is_revoked_stays_on_every_later_list() {
        use x509_parser::prelude::{CertificateRevocationList, FromDer as _};
        let dir = tempfile::tempdir().unwrap();
        let office = Office::create(dir.path(), "Autorité", now(), None).unwrap();
        let serials: Vec<String> = (0..3).map(|_| office.issue(URI, Validity::days(now(), 30)).unwrap().0.serial).collect();
        office.revoke(&serials[0], now()).unwrap();
        let again = Office::open(dir.path(), None).unwrap();
        again.revoke(&serials[1].to_uppercase(), now()).unwrap();
        assert!(matches!(again.revoke("00", now()), Err(OfficeError::Unknown)));
        let left: Vec<String> = Office::issued(dir.path()).unwrap().into_iter().map(|one| one.serial).collect();
        assert_eq!(left, [serials[2].clone()]);
        let list = std::fs::read(dir.path().join(CRL_FILE)).unwrap();
        let der = rustls::pki_types::CertificateRevocationListDer::from_pem_slice(&list).unwrap();
        let (_, parsed) = CertificateRevocationList::from_der(&der).unwrap();
        assert_eq!(parsed.iter_revoked_certificates().count(), 2);
    }
}
