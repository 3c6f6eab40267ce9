//! When the certificates of a role end, for those who watch it.

use std::path::Path;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::files::{TlsFileError, TlsFiles, certificates, revocation_lists};
use crate::authority::AuthorityError;
use crate::metrics::metrics;

/// From when until when a certificate or a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dates {
    /// First moment.
    pub from: Timestamp,
    /// Last moment; of a revocation list, when the next one is due. The first of several.
    pub until: Timestamp,
}

impl Dates {
    /// Those of a certificate, PEM.
    ///
    /// # Errors
    /// [`AuthorityError::NotACertificate`].
    pub fn of_pem(pem: &str) -> Result<Self, AuthorityError> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| AuthorityError::NotACertificate)?;
        dates_of(&certificate).ok_or(AuthorityError::NotACertificate)
    }
}

/// The dates of a role's certificate files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDates {
    /// The role's own certificate.
    pub own: Dates,
    /// The authorities that it trusts.
    pub authority: Dates,
    /// The revocation lists, where the role has any that say when the next is due.
    pub crl: Option<Dates>,
}

impl TlsFiles {
    /// When certificate, authorities and lists hold.
    ///
    /// # Errors
    /// [`TlsFileError`] for files that cannot be read; the key is not read.
    pub fn dates(&self, crl: Option<&Path>) -> Result<FileDates, TlsFileError> {
        let unreadable = |path: &Path| TlsFileError::NotPem { path: path.to_owned(), expected: "CERTIFICATE" };
        let own = certificates(&self.certificate)?;
        let own = own.first().and_then(dates_of).ok_or_else(|| unreadable(&self.certificate))?;
        let authorities: Option<Vec<Dates>> = certificates(&self.ca)?.iter().map(dates_of).collect();
        let authority = authorities.and_then(narrowest).ok_or_else(|| unreadable(&self.ca))?;
        let crl = crl.map(list_dates).transpose()?.flatten();
        Ok(FileDates { own, authority, crl })
    }
}

/// What all of `dates` have in common.
fn narrowest(dates: Vec<Dates>) -> Option<Dates> {
    dates.into_iter().reduce(|a, b| Dates { from: a.from.max(b.from), until: a.until.min(b.until) })
}

/// When a certificate holds.
fn dates_of(certificate: &CertificateDer<'_>) -> Option<Dates> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let at = |seconds: i64| Timestamp::from_second(seconds).ok();
    Some(Dates { from: at(parsed.validity().not_before.timestamp())?, until: at(parsed.validity().not_after.timestamp())? })
}

/// When the lists in `path` were made and the next is due; none where a list does not say.
fn list_dates(path: &Path) -> Result<Option<Dates>, TlsFileError> {
    let unusable = || TlsFileError::Crl { path: path.to_owned() };
    let mut dates = Vec::new();
    for list in revocation_lists(path)? {
        let (_, parsed) = CertificateRevocationList::from_der(&list).map_err(|_| unusable())?;
        let from = Timestamp::from_second(parsed.last_update().timestamp()).map_err(|_| unusable())?;
        let Some(next) = parsed.next_update() else { return Ok(None) };
        dates.push(Dates { from, until: Timestamp::from_second(next.timestamp()).map_err(|_| unusable())? });
    }
    Ok(narrowest(dates))
}

/// Has the metrics say when the files end, as they are whenever the metrics are read.
pub fn watch_dates(files: &TlsFiles, crl: Option<&Path>) {
    let (files, crl) = (files.clone(), crl.map(Path::to_owned));
    metrics().at_reading(move |metrics| {
        let Ok(dates) = files.dates(crl.as_deref()) else { return };
        metrics.certificate_ends("own", dates.own.until.as_second());
        metrics.certificate_ends("authority", dates.authority.until.as_second());
        if let Some(list) = dates.crl {
            metrics.certificate_ends("revocation-list", list.until.as_second());
        }
    });
}
