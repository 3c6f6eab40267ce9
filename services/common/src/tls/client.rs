//! Calling another role, whose certificate must bear the URI that the agreement gives it.
//!
//! The files are read again for every connection, so a renewed certificate is used from the next one on.
//! In TLS 1.3 a client's handshake ends before the server has judged the client's certificate (RFC 8446
//! section 4.4); the connector therefore waits a moment for the server's first bytes, so that a refusal is
//! an error of connecting and has its own text, and not a broken first request.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::TLS13;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Status;
use tonic::transport::{Endpoint, Uri};
use tower::service_fn;

use super::files::{TlsFileError, TlsFiles};
use super::identity::{IdentityError, uri_of};
use super::provider;
use super::retry::Backoff;
use crate::trace::Channel;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server's first bytes are waited for; a server that says nothing has not refused.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(2);
const DEFAULT_PORT: u16 = 443;

/// Why the server did not take this role's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// None was presented.
    NoCertificate,
    /// Its authority is not one that the server trusts.
    UnknownAuthority,
    /// It has expired, or is not valid yet.
    Expired,
    /// It is on the server's revocation list.
    Revoked,
    /// It does not bear exactly one URI.
    Identity,
    /// Another alert (RFC 8446 section 6.2), by its number.
    Other(u8),
}

/// Why a connection does not stand. Texts are for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The address is no `https://host:port`.
    #[error("{url} : adresse inutilisable ; attendu : https://hôte:port")]
    Url {
        /// The address.
        url: String,
    },
    /// A certificate file of this role is wrong.
    #[error(transparent)]
    Files(#[from] TlsFileError),
    /// Nobody answers there.
    #[error("{url} : connexion impossible ({kind}) ; vérifiez l'adresse, le réseau, et que le service est démarré")]
    Unreachable {
        /// The address.
        url: String,
        /// What the system answered.
        kind: io::ErrorKind,
    },
    /// No answer in time.
    #[error("{url} : pas de réponse à temps ; vérifiez le réseau, puis réessayez")]
    TimedOut {
        /// The address.
        url: String,
    },
    /// The connection was closed during its set-up.
    #[error("{url} : connexion fermée par l'autre côté ; le service est peut-être saturé ou en cours d'arrêt, réessayez")]
    Closed {
        /// The address.
        url: String,
    },
    /// What answers does not speak TLS 1.3.
    #[error(
        "{url} : ce qui répond ne parle pas TLS 1.3 ; vérifiez le port, et l'absence d'un mandataire (proxy) qui ouvre le chiffrement"
    )]
    NotTls {
        /// The address.
        url: String,
    },
    /// The server's certificate is of an authority that is not in `ca`.
    #[error("{url} : certificat d'une autorité inconnue ; vérifiez l'adresse, et le fichier « ca »")]
    ServerStranger {
        /// The address.
        url: String,
    },
    /// The server's certificate has expired.
    #[error("{url} : le certificat de ce service a expiré ; prévenez son opérateur")]
    ServerExpired {
        /// The address.
        url: String,
    },
    /// The server's certificate is not valid yet.
    #[error("{url} : le certificat de ce service n'est pas encore valable ; vérifiez l'horloge de cette machine")]
    ServerNotYetValid {
        /// The address.
        url: String,
    },
    /// The server is not the role that the agreement names.
    #[error("{url} : ce service est « {presented} » alors que la convention y attend « {expected} » ; vérifiez l'adresse")]
    ServerIdentity {
        /// The address.
        url: String,
        /// The URI that the agreement gives.
        expected: String,
        /// The URI in the server's certificate.
        presented: String,
    },
    /// The server's certificate does not bear exactly one URI, or is otherwise unfit.
    #[error("{url} : le certificat de ce service est inutilisable ; prévenez son opérateur")]
    ServerCertificate {
        /// The address.
        url: String,
    },
    /// The server refused this role's certificate.
    #[error("{url} : {}", refusal_text(*.refusal))]
    Refused {
        /// The address.
        url: String,
        /// Why.
        refusal: Refusal,
    },
}

impl ConnectError {
    /// Whether waiting can help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Closed { .. })
    }

    /// The connection's fault behind a call that failed, when that is what it was.
    pub fn of(status: &Status) -> Option<&Self> {
        find(status)
    }
}

/// Connects to the role at `url` (`https://host:port`) that the certificate URI `expected_peer_uri` names.
///
/// What may pass (nobody there yet, no answer, closed) is tried again until `deadline` from now; what cannot
/// pass is returned at once. The channel connects anew by itself when it breaks; calls that fail meanwhile
/// have [`tonic::Code::Unavailable`], see [`super::retry`]. It sets no deadline on calls: each caller knows its own.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(url: &str, files: &TlsFiles, expected_peer_uri: &str, deadline: Duration) -> Result<Channel, ConnectError> {
    let target = Target::new(url, files, expected_peer_uri)?;
    let give_up = Instant::now() + deadline;
    let mut backoff = Backoff::default();
    loop {
        let left = give_up.saturating_duration_since(Instant::now());
        let attempt = target.endpoint.connect_with_connector(service_fn(target.connector()));
        let error = match tokio::time::timeout(left, attempt).await {
            Ok(Ok(channel)) => return Ok(Channel::new(channel, expected_peer_uri)),
            Ok(Err(error)) => find(&error).cloned().unwrap_or_else(|| ConnectError::Closed { url: url.to_owned() }),
            Err(_) => return Err(ConnectError::TimedOut { url: url.to_owned() }),
        };
        let pause = backoff.next_pause();
        if !error.is_passing() || Instant::now() + pause >= give_up {
            return Err(error);
        }
        tracing::debug!(url, error = %error, "not connected yet, trying again");
        tokio::time::sleep(pause).await;
    }
}

/// As [`connect`], but connects at the first call; [`ConnectError::of`] finds the fault in a failed call.
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// [`ConnectError::Url`], or [`ConnectError::Files`] when the files are wrong already.
pub fn connect_lazy(url: &str, files: &TlsFiles, expected_peer_uri: &str) -> Result<Channel, ConnectError> {
    let target = Target::new(url, files, expected_peer_uri)?;
    target.config()?;
    let channel = target.endpoint.connect_with_connector_lazy(service_fn(target.connector()));
    Ok(Channel::new(channel, expected_peer_uri))
}

/// Where to connect, and as whom.
#[derive(Clone)]
struct Target {
    url: String,
    host: String,
    port: u16,
    files: TlsFiles,
    expected: String,
    endpoint: Endpoint,
}

impl Target {
    fn new(url: &str, files: &TlsFiles, expected: &str) -> Result<Self, ConnectError> {
        let wrong = || ConnectError::Url { url: url.to_owned() };
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| wrong())?;
        let uri = endpoint.uri();
        let host = uri.host().ok_or_else(wrong)?.trim_start_matches('[').trim_end_matches(']').to_owned();
        if uri.scheme_str() != Some("https") || ServerName::try_from(host.as_str()).is_err() {
            return Err(wrong());
        }
        let port = uri.port_u16().unwrap_or(DEFAULT_PORT);
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT * 2 + VERDICT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .http2_max_header_list_size(16 << 10);
        Ok(Self { url: url.to_owned(), host, port, files: files.clone(), expected: expected.to_owned(), endpoint })
    }

    fn connector(&self) -> impl FnMut(Uri) -> ConnectFuture + Clone + Send + 'static {
        let target = self.clone();
        // The address is the target's own: tonic passes the same one on.
        move |_| {
            let target = target.clone();
            Box::pin(async move { target.open().await.map(TokioIo::new) })
        }
    }

    async fn open(&self) -> Result<TlsStream<TcpStream>, ConnectError> {
        let config = self.config()?;
        let socket = self.in_time(TcpStream::connect((self.host.as_str(), self.port))).await?;
        let socket = socket.map_err(|e| ConnectError::Unreachable { url: self.url.clone(), kind: e.kind() })?;
        let _ = socket.set_nodelay(true);
        let name = ServerName::try_from(self.host.clone()).map_err(|_| ConnectError::Url { url: self.url.clone() })?;
        let connector = TlsConnector::from(Arc::new(config));
        let mut io = self.in_time(connector.connect(name, socket)).await?.map_err(|e| self.fault(&e))?;
        match tokio::time::timeout(VERDICT_TIMEOUT, io.fill_buf()).await {
            Ok(Err(error)) => return Err(self.fault(&error)),
            Ok(Ok([])) => return Err(ConnectError::Closed { url: self.url.clone() }),
            Ok(Ok(_)) | Err(_) => {}
        }
        Ok(io)
    }

    fn config(&self) -> Result<ClientConfig, TlsFileError> {
        let material = self.files.read()?;
        let verifier = PeerUri { roots: material.roots, expected: self.expected.clone(), provider: provider() };
        #[expect(clippy::disallowed_methods, reason = "the one verifier, which adds the peer's identity to webpki's checks")]
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|e| self.files.pair_error(&e))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(material.chain, material.key)
            .map_err(|e| self.files.pair_error(&e))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    async fn in_time<T>(&self, step: impl Future<Output = T>) -> Result<T, ConnectError> {
        tokio::time::timeout(CONNECT_TIMEOUT, step).await.map_err(|_| ConnectError::TimedOut { url: self.url.clone() })
    }

    /// What an error of the TLS stream means.
    fn fault(&self, error: &io::Error) -> ConnectError {
        let url = self.url.clone();
        let Some(tls) = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) else {
            return ConnectError::Closed { url };
        };
        match tls {
            rustls::Error::AlertReceived(alert) => match refusal(*alert) {
                Some(refusal) => ConnectError::Refused { url, refusal },
                None => ConnectError::NotTls { url },
            },
            rustls::Error::InvalidCertificate(fault) => match fault {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => ConnectError::ServerStranger { url },
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => ConnectError::ServerExpired { url },
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    ConnectError::ServerNotYetValid { url }
                }
                CertificateError::Other(OtherError(other)) => match other.downcast_ref::<PresentedUri>() {
                    Some(PresentedUri(presented)) => {
                        ConnectError::ServerIdentity { url, expected: self.expected.clone(), presented: presented.clone() }
                    }
                    None => ConnectError::ServerCertificate { url },
                },
                _ => ConnectError::ServerCertificate { url },
            },
            _ => ConnectError::NotTls { url },
        }
    }
}

type ConnectFuture =
    std::pin::Pin<Box<dyn Future<Output = Result<TokioIo<TlsStream<TcpStream>>, ConnectError>> + Send + 'static>>;

/// What an alert of the server says about this role's certificate; `None` for alerts about the protocol.
fn refusal(alert: AlertDescription) -> Option<Refusal> {
    Some(match alert {
        AlertDescription::CertificateRequired => Refusal::NoCertificate,
        // `decrypt_error` is what a signature by an authority of the same name, but another key, comes to.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => Refusal::UnknownAuthority,
        AlertDescription::CertificateExpired => Refusal::Expired,
        AlertDescription::CertificateRevoked => Refusal::Revoked,
        AlertDescription::AccessDenied => Refusal::Identity,
        AlertDescription::BadCertificate | AlertDescription::UnsupportedCertificate | AlertDescription::CertificateUnknown => {
            Refusal::Other(alert.into())
        }
        _ => return None,
    })
}

fn refusal_text(refusal: Refusal) -> String {
    match refusal {
        Refusal::NoCertificate => "ce service exige un certificat ; vérifiez le fichier « certificate »".to_owned(),
        Refusal::UnknownAuthority => {
            "ce service ne reconnaît pas l'autorité de notre certificat ; utilisez le certificat délivré pour la convention"
                .to_owned()
        }
        Refusal::Expired => {
            "d'après l'horloge de ce service, notre certificat a expiré ou n'est pas encore valable ; renouvelez-le s'il est périmé, sinon vérifiez les deux horloges (linkage doctor)"
                .to_owned()
        }
        Refusal::Revoked => "notre certificat est révoqué ; demandez-en un nouveau à l'autorité".to_owned(),
        Refusal::Identity => {
            "notre certificat ne porte pas une URI et une seule ; demandez-en un conforme à la convention".to_owned()
        }
        Refusal::Other(alert) => {
            format!("ce service refuse notre certificat (alerte TLS {alert}) ; demandez la raison à son opérateur")
        }
    }
}

/// The [`ConnectError`] in the chain of sources of `error`.
fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a ConnectError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<ConnectError>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The URI of a server that is not the one expected.
#[derive(Debug, thiserror::Error)]
#[error("another holder")]
struct PresentedUri(String);

/// Verifies that a server's certificate is of the partners' authority, valid now, and bears one URI, the expected one.
///
/// The DNS name plays no part: chain and time are checked by webpki, then the URI is compared byte by byte.
#[derive(Debug)]
struct PeerUri {
    roots: Arc<RootCertStore>,
    expected: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PeerUri {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        let other = |error: Arc<dyn std::error::Error + Send + Sync>| CertificateError::Other(OtherError(error));
        let presented = uri_of(end_entity).map_err(|e: IdentityError| other(Arc::new(e)))?;
        if presented != self.expected {
            return Err(other(Arc::new(PresentedUri(presented))).into());
        }
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
