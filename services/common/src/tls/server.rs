//! The server's certificate, its trust in clients, and their replacement while it runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::TLS13;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use tokio::sync::watch;

use crate::clock::{Clock as _, SystemClock};

use super::files::{TlsFileError, TlsFiles, revocation_lists};
use super::identity::uri_of;
use super::provider;

/// A server's TLS, replaced without a restart. Clones share it.
#[derive(Clone)]
pub struct ServerTls {
    inner: Arc<Inner>,
}

struct Inner {
    files: TlsFiles,
    crl: Option<PathBuf>,
    clients: Clients,
    current: watch::Sender<Arc<ServerConfig>>,
    /// The files' stamps when they were last taken over.
    stamp: Mutex<Stamp>,
}

/// Who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clients {
    /// Roles, over HTTP/2, each with its certificate.
    Roles,
    /// Browsers, over HTTP/1.1, with a certificate or without.
    Browsers,
}

type Stamp = Vec<Option<(SystemTime, u64)>>;

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").field("files", &self.inner.files).field("crl", &self.inner.crl).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Loads the files. With `crl`, a PEM file of revocation lists, clients' certificates must be issued by
    /// an authority that has a list there and must not be on it. A list past its date of renewal still
    /// counts: refusing every partner because a list came late would be the greater harm.
    ///
    /// # Errors
    /// [`TlsFileError`].
    pub fn load(files: &TlsFiles, crl: Option<&Path>) -> Result<Self, TlsFileError> {
        Self::load_for(Clients::Roles, files, crl)
    }

    /// As [`Self::load`], for browsers: HTTP/1.1; the own certificate bears the names that browsers look for and need
    /// bear no URI; a client may come without a certificate, and one that it presents is checked as ever.
    ///
    /// # Errors
    /// [`TlsFileError`].
    pub fn load_for_browsers(files: &TlsFiles, crl: Option<&Path>) -> Result<Self, TlsFileError> {
        Self::load_for(Clients::Browsers, files, crl)
    }

    fn load_for(clients: Clients, files: &TlsFiles, crl: Option<&Path>) -> Result<Self, TlsFileError> {
        let crl = crl.map(Path::to_owned);
        // Stamped before reading: a file that changes in between is read once too often, never once too few.
        let stamp = stamp(files, crl.as_deref());
        let config = build(clients, files, crl.as_deref())?;
        let inner = Inner { files: files.clone(), crl, clients, current: watch::Sender::new(config), stamp: Mutex::new(stamp) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Takes the files over again. Connections that stand are not touched; new ones get the new files.
    ///
    /// # Errors
    /// [`TlsFileError`]; what was in force then stays in force.
    pub fn reload(&self) -> Result<(), TlsFileError> {
        let stamp = stamp(&self.inner.files, self.inner.crl.as_deref());
        let config = build(self.inner.clients, &self.inner.files, self.inner.crl.as_deref())?;
        self.inner.current.send_replace(config);
        *self.inner.stamp.lock().unwrap_or_else(PoisonError::into_inner) = stamp;
        Ok(())
    }

    /// [`Self::reload`] when a file's time or size is not what it was at the last success; says whether so.
    ///
    /// # Errors
    /// As [`Self::reload`]. Half-replaced files (new certificate, old key) are refused and tried again.
    pub fn reload_if_changed(&self) -> Result<bool, TlsFileError> {
        let now = stamp(&self.inner.files, self.inner.crl.as_deref());
        if *self.inner.stamp.lock().unwrap_or_else(PoisonError::into_inner) == now {
            return Ok(false);
        }
        self.reload().map(|()| true)
    }

    /// Says in the log when the revocation list is past its date; it still counts, see [`Self::load`].
    pub(super) fn warn_when_stale(&self) {
        let (Some(crl), now) = (self.inner.crl.as_deref(), SystemClock.now()) else { return };
        if let Ok(Some(dates)) = self.inner.files.dates(Some(crl)).map(|dates| dates.crl)
            && dates.until < now
        {
            tracing::warn!(file = %crl.display(), due = %dates.until, "the revocation list is past its date: certificates revoked since are not known; fetch the new list");
        }
    }

    /// The configuration in force, and every later one.
    pub fn subscribe(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.inner.current.subscribe()
    }
}

fn stamp(files: &TlsFiles, crl: Option<&Path>) -> Stamp {
    [Some(files.ca.as_path()), Some(&files.certificate), Some(&files.key), crl]
        .into_iter()
        .flatten()
        .map(|path| std::fs::metadata(path).ok().and_then(|m| Some((m.modified().ok()?, m.len()))))
        .collect()
}

fn build(clients: Clients, files: &TlsFiles, crl: Option<&Path>) -> Result<Arc<ServerConfig>, TlsFileError> {
    let material = match clients {
        Clients::Roles => files.read()?,
        Clients::Browsers => files.read_any_name()?,
    };
    let mut builder = WebPkiClientVerifier::builder_with_provider(material.roots, provider());
    if let Some(crl) = crl {
        builder = builder.with_crls(revocation_lists(crl)?).only_check_end_entity_revocation();
    }
    if clients == Clients::Browsers {
        builder = builder.allow_unauthenticated();
    }
    let chain_verifier = builder.build().map_err(|_| match crl {
        Some(crl) => TlsFileError::Crl { path: crl.to_owned() },
        None => TlsFileError::Authority { path: files.ca.clone() },
    })?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| files.pair_error(&e))?
        .with_client_cert_verifier(Arc::new(OneUri { chain_verifier }))
        .with_single_cert(material.chain, material.key)
        .map_err(|e| files.pair_error(&e))?;
    config.alpn_protocols = match clients {
        Clients::Roles => vec![b"h2".to_vec()],
        Clients::Browsers => vec![b"http/1.1".to_vec()],
    };
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Takes the clients that `chain_verifier` takes and that exactly one URI names.
///
/// Checked inside the handshake, so that the client is told by an alert.
#[derive(Debug)]
struct OneUri {
    chain_verifier: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for OneUri {
    fn client_auth_mandatory(&self) -> bool {
        self.chain_verifier.client_auth_mandatory()
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain_verifier.root_hint_subjects()
    }
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain_verifier.verify_client_cert(end_entity, intermediates, now)?;
        // Sent to the client as the alert `access_denied`.
        uri_of(end_entity).map_err(|_| CertificateError::ApplicationVerificationFailure)?;
        Ok(verified)
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain_verifier.verify_tls12_signature(message, cert, dss)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain_verifier.verify_tls13_signature(message, cert, dss)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain_verifier.supported_verify_schemes()
    }
}
