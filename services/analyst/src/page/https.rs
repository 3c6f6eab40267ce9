//! What the page asks of an identity provider: a few small documents over HTTPS.
//!
//! One connection for each request, no redirects, a limit on time and size. The provider's certificate must come from the
//! authorities that the configuration names, and no other.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const LIMIT: Duration = Duration::from_secs(10);
const BODY_BYTES: usize = 1 << 20;
const PEM_BYTES: u64 = 4 << 20;

/// Why there is no answer. Goes to the log; the visitor is told that the provider does not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpsFault {
    #[error("no https address")]
    Address,
    #[error("no answer in time")]
    Late,
    #[error("connection: {0}")]
    Connection(#[from] std::io::Error),
    #[error("http: {0}")]
    Http(#[from] hyper::Error),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("too long, or cut off")]
    Body,
}

/// The client.
pub(super) struct Https {
    connector: TlsConnector,
}

impl Https {
    /// Trusts the authorities in `ca`.
    ///
    /// # Errors
    /// A file that holds no authority.
    pub(super) fn new(ca: &Path) -> Result<Self, ServiceError> {
        let bytes = fsx::read_limited(ca, PEM_BYTES).map_err(ServiceError::configuration)?;
        let unusable = || ServiceError::configuration(format!("{} : aucun certificat d'autorité utilisable", ca.display()));
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&bytes) {
            roots.add(certificate.map_err(|_| unusable())?).map_err(|_| unusable())?;
        }
        if roots.is_empty() {
            return Err(unusable());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(ServiceError::internal)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// The document at `url`.
    pub(super) async fn get(&self, url: &str) -> Result<Bytes, HttpsFault> {
        self.ask(Method::GET, url, None, String::new()).await
    }

    /// The answer to a form, with an `Authorization` header where one is given.
    pub(super) async fn post(&self, url: &str, authorization: Option<&str>, form: String) -> Result<Bytes, HttpsFault> {
        self.ask(Method::POST, url, authorization, form).await
    }

    async fn ask(&self, method: Method, url: &str, authorization: Option<&str>, form: String) -> Result<Bytes, HttpsFault> {
        tokio::time::timeout(LIMIT, self.exchange(method, url, authorization, form)).await.map_err(|_| HttpsFault::Late)?
    }

    async fn exchange(&self, method: Method, url: &str, authorization: Option<&str>, form: String) -> Result<Bytes, HttpsFault> {
        let url: Uri = url.parse().map_err(|_| HttpsFault::Address)?;
        let (Some("https"), Some(host)) = (url.scheme_str(), url.host()) else { return Err(HttpsFault::Address) };
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare.clone()).map_err(|_| HttpsFault::Address)?;
        let socket = TcpStream::connect((bare.as_str(), url.port_u16().unwrap_or(443))).await?;
        let io = self.connector.connect(name, socket).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
        let mut request = Request::builder()
            .method(method.clone())
            .uri(url.path_and_query().map_or("/", |p| p.as_str()))
            .header(header::HOST, url.authority().map_or(host, |a| a.as_str()))
            .header(header::ACCEPT, "application/json");
        if method == Method::POST {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(Bytes::from(form))).map_err(|_| HttpsFault::Address)?;
        let received = async move {
            let response = sender.send_request(request).await?;
            if response.status() != StatusCode::OK {
                return Err(HttpsFault::Status(response.status()));
            }
            let body = Limited::new(response.into_body(), BODY_BYTES).collect().await.map_err(|_| HttpsFault::Body)?;
            Ok(body.to_bytes())
        };
        let driven = async {
            let ended = connection.await;
            if let Err(error) = ended {
                tracing::debug!(%error, "identity provider's connection ended");
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            received = received => received,
            () = driven => Err(HttpsFault::Body),
        }
    }
}
