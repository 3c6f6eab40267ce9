//! A certificate authority, for demonstrations and tests, and for partners that have none ([`office`]).
//!
//! It keeps its key in a file of its owner's, in use under a [`passphrase`] and on a machine that is on no network. Certificates
//! are ECDSA P-256, valid for both ends of a connection, and name their holder by URI (RFC 5280 section 4.2.1.6), as every role
//! expects.

pub mod office;
pub mod passphrase;

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::PublicKeyData;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::fsx::{self, FileError};
use crate::tls::TlsFiles;
pub use passphrase::Passphrase;

const FILE_LIMIT: u64 = 1 << 16;
const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca.key";
/// Days that the authority's own certificate holds.
const AUTHORITY_DAYS: i64 = 3650;

/// Why the authority could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file cannot be written.
    #[error("écriture impossible dans le dossier de l'autorité")]
    Write(#[from] std::io::Error),
    /// The files are not those of an authority, or a name cannot stand in a certificate.
    #[error("certificat impossible à produire ; vérifiez les fichiers de l'autorité")]
    Certificate(#[from] rcgen::Error),
    /// What is to be revoked is no certificate.
    #[error("le texte donné n'est pas un certificat PEM")]
    NotACertificate,
    /// The system gives no random numbers.
    #[error("le système ne fournit pas de nombres aléatoires")]
    NoRandomness,
    /// The key is under a passphrase, and none was given.
    #[error(
        "la clé de l'autorité (ca.key) est protégée par une phrase de passe ; donnez-la par --passphrase-file, ou lancez la commande dans un terminal, qui la demandera"
    )]
    Locked,
    /// Not the key's passphrase.
    #[error(
        "phrase de passe refusée : ce n'est pas celle qui protège la clé de l'autorité (ca.key) ; vérifiez la saisie, majuscules comprises"
    )]
    WrongPassphrase,
    /// An empty passphrase.
    #[error("phrase de passe vide ; donnez celle de la clé de l'autorité")]
    NoPassphrase,
    /// A passphrase that is too short to be set.
    #[error("phrase de passe trop courte : {} caractères au moins, par exemple cinq mots tirés au sort", passphrase::MIN_CHARS)]
    ShortPassphrase,
    /// The key file is none that can be read.
    #[error("ca.key : ce fichier n'est pas une clé de l'autorité que ce programme sait lire ; restaurez-le de sa copie")]
    KeyFile,
}

/// From when until when a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub not_before: Timestamp,
    /// Last moment.
    pub not_after: Timestamp,
}

impl Validity {
    /// From an hour before `now`, so that clocks may differ, for `days` days.
    pub fn days(now: Timestamp, days: i64) -> Self {
        let shifted = |by| now.saturating_add(by).unwrap_or(Timestamp::MAX);
        Self { not_before: shifted(SignedDuration::from_hours(-1)), not_after: shifted(SignedDuration::from_hours(24 * days)) }
    }
}

/// The authority: its certificate and its key.
pub struct DevAuthority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for DevAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DevAuthority(..)")
    }
}

impl DevAuthority {
    /// A new authority called `name`, valid for ten years from `now`.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn create(name: &str, now: Timestamp) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(name, Validity::days(now, AUTHORITY_DAYS))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self { certificate_pem, issuer: Issuer::new(params, key) })
    }

    /// Reads the authority that [`Self::save`] wrote to `dir`.
    ///
    /// # Errors
    /// [`AuthorityError`]; the key file must be its owner's alone.
    pub fn load(dir: &Path) -> Result<Self, AuthorityError> {
        Self::load_under(dir, None)
    }

    /// Reads the authority that [`Self::save_under`] wrote to `dir`; a passphrase for a key that is under none is not looked at.
    ///
    /// # Errors
    /// [`AuthorityError`], among them [`AuthorityError::Locked`] and [`AuthorityError::WrongPassphrase`].
    pub fn load_under(dir: &Path, passphrase: Option<&Passphrase>) -> Result<Self, AuthorityError> {
        let pem = key_text(dir)?;
        let key = match passphrase {
            _ if !passphrase::is_locked(&pem) => KeyPair::from_pem(&pem)?,
            Some(passphrase) => KeyPair::try_from(passphrase.unlock(&pem)?.as_bytes())?,
            None => return Err(AuthorityError::Locked),
        };
        let certificate_pem = fsx::read_text(&dir.join(CERTIFICATE_FILE), FILE_LIMIT)?;
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key)?;
        Ok(Self { certificate_pem, issuer })
    }

    /// Writes `ca.pem` and `ca.key` (mode 0600, as it is) to `dir`, made when absent.
    ///
    /// # Errors
    /// [`AuthorityError::Write`].
    pub fn save(&self, dir: &Path) -> Result<(), AuthorityError> {
        self.save_under(dir, None)
    }

    /// As [`Self::save`], the key under `passphrase` where there is one.
    ///
    /// # Errors
    /// [`AuthorityError::Write`], [`AuthorityError::ShortPassphrase`].
    pub fn save_under(&self, dir: &Path, passphrase: Option<&Passphrase>) -> Result<(), AuthorityError> {
        let key = match passphrase {
            Some(passphrase) => passphrase.lock(&Zeroizing::new(self.issuer.key().serialize_der()))?,
            None => Zeroizing::new(self.issuer.key().serialize_pem()),
        };
        fsx::create_private_dir(dir)?;
        fsx::write_atomic(&dir.join(KEY_FILE), key.as_bytes())?;
        fsx::write_atomic_public(&dir.join(CERTIFICATE_FILE), self.certificate_pem.as_bytes())?;
        Ok(())
    }

    /// The authority's certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A certificate for the holder named `uri` and its key, both PEM.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`] when `uri` is not ASCII.
    pub fn issue(&self, uri: &str, validity: Validity) -> Result<(String, Zeroizing<String>), AuthorityError> {
        self.issue_for_uris(&[uri], validity)
    }

    /// As [`Self::issue`], with any number of names: roles refuse all but exactly one, which tests show.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`] when a name is not ASCII.
    pub fn issue_for_uris(&self, uris: &[&str], validity: Validity) -> Result<(String, Zeroizing<String>), AuthorityError> {
        let names = uris.iter().map(|uri| Ok(SanType::URI(Ia5String::try_from(*uri)?))).collect::<Result<_, rcgen::Error>>()?;
        self.issue_named(names, validity)
    }

    /// A certificate for a web server on this machine (`localhost`, `127.0.0.1`, `::1`), and its key, both PEM.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`].
    pub fn issue_local_server(&self, validity: Validity) -> Result<(String, Zeroizing<String>), AuthorityError> {
        let names = vec![
            SanType::DnsName(Ia5String::try_from("localhost")?),
            SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()),
            SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into()),
        ];
        self.issue_named(names, validity)
    }

    fn issue_named(&self, names: Vec<SanType>, validity: Validity) -> Result<(String, Zeroizing<String>), AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok((self.certify_named(&key, names, validity)?, Zeroizing::new(key.serialize_pem())))
    }

    /// A certificate, PEM, for the holder named `uri` over a key whose private part is elsewhere.
    pub(crate) fn certify(&self, key: &impl PublicKeyData, uri: &str, validity: Validity) -> Result<String, AuthorityError> {
        self.certify_named(key, vec![SanType::URI(Ia5String::try_from(uri)?)], validity)
    }

    fn certify_named(&self, key: &impl PublicKeyData, names: Vec<SanType>, validity: Validity) -> Result<String, AuthorityError> {
        let mut params = params("linkage", validity)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = names;
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }

    /// Issues for `uri` and writes `ca.pem`, `STEM.pem` and `STEM.key` (mode 0600) to `dir`, made when absent.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn issue_files(&self, uri: &str, validity: Validity, dir: &Path, stem: &str) -> Result<TlsFiles, AuthorityError> {
        let (certificate, key) = self.issue(uri, validity)?;
        fsx::create_private_dir(dir)?;
        let files = TlsFiles {
            ca: dir.join(CERTIFICATE_FILE),
            certificate: dir.join(format!("{stem}.pem")),
            key: dir.join(format!("{stem}.key")),
        };
        fsx::write_atomic_public(&files.ca, self.certificate_pem.as_bytes())?;
        fsx::write_atomic(&files.key, key.as_bytes())?;
        fsx::write_atomic_public(&files.certificate, certificate.as_bytes())?;
        Ok(files)
    }

    /// A revocation list (RFC 5280 section 5), PEM, that holds for 30 days from `now` and revokes
    /// `certificates` (PEM texts). A later list must name all that an earlier one did.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn revoke(&self, certificates: &[&str], now: Timestamp) -> Result<String, AuthorityError> {
        let this_update = date_time_ymd(1970, 1, 1) + since_1970(now);
        let revoked_certs = certificates
            .iter()
            .map(|pem| {
                Ok(RevokedCertParams {
                    serial_number: SerialNumber::from_slice(&serial_of(pem)?),
                    revocation_time: this_update,
                    reason_code: None,
                    invalidity_date: None,
                })
            })
            .collect::<Result<_, AuthorityError>>()?;
        let list = CertificateRevocationListParams {
            this_update,
            next_update: this_update + Duration::from_secs(30 * 86_400),
            crl_number: SerialNumber::from_slice(&now.as_second().max(1).to_be_bytes()),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }
}

fn params(name: &str, validity: Validity) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(validity.not_before);
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(validity.not_after);
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|_| AuthorityError::NoRandomness)?;
    // A serial number is a positive integer without leading zeros (RFC 5280 section 4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn key_text(dir: &Path) -> Result<Zeroizing<String>, AuthorityError> {
    let bytes = fsx::read_private(&dir.join(KEY_FILE), FILE_LIMIT)?;
    std::str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| AuthorityError::KeyFile)
}

/// Time since 1970, whole seconds, none before; added to [`rcgen::date_time_ymd`] it is a date as rcgen takes it.
fn since_1970(at: Timestamp) -> Duration {
    Duration::from_secs(at.as_second().max(0).unsigned_abs())
}

fn serial_of(pem: &str) -> Result<Vec<u8>, AuthorityError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| AuthorityError::NotACertificate)?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).map_err(|_| AuthorityError::NotACertificate)?;
    Ok(certificate.raw_serial().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::uri_of;

    fn now() -> Timestamp {
        "2024-03-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_saved_authority_goes_on_issuing_under_the_same_name() {
        let dir = tempfile::tempdir().unwrap();
        let made = DevAuthority::create("demo", now()).unwrap();
        made.save(dir.path()).unwrap();
        let read = DevAuthority::load(dir.path()).unwrap();
        assert_eq!(read.certificate_pem(), made.certificate_pem());
        let (certificate, key) = read.issue("spiffe://demo/ccas", Validity::days(now(), 30)).unwrap();
        assert!(key.contains("PRIVATE KEY"));
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        assert_eq!(uri_of(&der).unwrap(), "spiffe://demo/ccas");
        let ca = CertificateDer::from_pem_slice(read.certificate_pem().as_bytes()).unwrap();
        let (_, ca) = x509_parser::parse_x509_certificate(&ca).unwrap();
        let (_, leaf) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(leaf.issuer(), ca.subject());
        assert_eq!(leaf.validity().not_before.timestamp(), now().as_second() - 3600);
        assert_eq!(leaf.validity().not_after.timestamp(), now().as_second() + 30 * 86_400);
    }

    #[cfg(unix)]
    #[test]
    fn keys_are_their_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let authority = DevAuthority::create("demo", now()).unwrap();
        authority.save(dir.path()).unwrap();
        let files = authority.issue_files("spiffe://demo/ccas", Validity::days(now(), 1), dir.path(), "ccas").unwrap();
        for key in [dir.path().join(KEY_FILE), files.key] {
            assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        }
        std::fs::set_permissions(dir.path().join(KEY_FILE), std::fs::Permissions::from_mode(0o604)).unwrap();
        assert!(matches!(DevAuthority::load(dir.path()), Err(AuthorityError::File(FileError::Exposed { mode: 0o604, .. }))));
    }
}
