//! Objects in an S3-compatible store, for roles that share them between replicas.
//!
//! What is kept there is what the broker keeps in files otherwise: encodings under keys that it does not hold. The store is
//! spoken to over TLS with its certificate verified against the authorities that the configuration names; plain HTTP is for
//! this machine only. `object_store` signs requests and repeats those that fail; the connections are this crate's own, over
//! hyper and the one TLS library (`deny.toml` says why no other).
//!
//! S3 is consistent after a write (<https://aws.amazon.com/s3/consistency/>), and a write that was acknowledged is durable.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use http_body_util::BodyExt;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use object_store::aws::AmazonS3Builder;
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ObjectStore, RetryConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{SecretError, SecretSource};
use crate::fsx::{self, FileError};

/// How long a connection, and how long an answer may take.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(120);
const AUTHORITIES_LIMIT: u64 = 4 << 20;

/// Section `[objects]` of a role's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectsConfig {
    /// The store's address, `https://host[:port]`.
    pub endpoint: String,
    /// The bucket, which exists.
    pub bucket: String,
    /// The region, as the store names it.
    #[serde(default = "region")]
    pub region: String,
    /// What the names of this role's objects begin with; for a bucket that others use too.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Name of the access key.
    pub access_key: SecretSource,
    /// The access key's secret.
    pub secret_key: SecretSource,
    /// The authorities that may have signed the store's certificate (PEM); needed for `https`.
    #[serde(default)]
    pub authority: Option<PathBuf>,
}

fn region() -> String {
    "us-east-1".to_owned()
}

/// Why the store cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// Access key or secret cannot be read.
    #[error("[objects] : {0}")]
    Secret(#[from] SecretError),
    /// The authorities cannot be read.
    #[error("[objects] « authority » : {0}")]
    File(#[from] FileError),
    /// No certificate is in the file of authorities.
    #[error("[objects] « authority » : {} ne contient aucun certificat PEM", path.display())]
    NoAuthority {
        /// The file.
        path: PathBuf,
    },
    /// `https` without authorities.
    #[error(
        "[objects] : « authority » manque ; indiquez le fichier PEM des autorités du dépôt (par exemple /etc/ssl/certs/ca-certificates.crt)"
    )]
    AuthorityMissing,
    /// The address is none, or would send records in clear.
    #[error("[objects] « endpoint » : une adresse https://hôte[:port] est attendue ; http:// n'est admis que pour cette machine")]
    Endpoint,
    /// The rest of the section cannot be used.
    #[error("[objects] : configuration refusée ; vérifiez « bucket », « region » et « prefix »")]
    Refused(#[source] object_store::Error),
}

impl ObjectsConfig {
    /// The store.
    ///
    /// # Errors
    /// [`ObjectsError`]; whether the bucket is there shows at the first use.
    pub fn store(&self) -> Result<Arc<dyn ObjectStore>, ObjectsError> {
        let uri: Uri = self.endpoint.parse().map_err(|_| ObjectsError::Endpoint)?;
        let host = uri.host().ok_or(ObjectsError::Endpoint)?.trim_matches(['[', ']']);
        let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let tls = match (uri.scheme_str(), &self.authority) {
            (Some("http"), _) if here => None,
            (Some("https"), Some(authority)) => Some(connector(authority)?),
            (Some("https"), None) => return Err(ObjectsError::AuthorityMissing),
            _ => return Err(ObjectsError::Endpoint),
        };
        let store = AmazonS3Builder::new()
            .with_endpoint(self.endpoint.trim_end_matches('/'))
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_access_key_id(self.access_key.read_text()?.as_str())
            .with_secret_access_key(self.secret_key.read_text()?.as_str())
            .with_allow_http(tls.is_none())
            .with_retry(RetryConfig { retry_timeout: Duration::from_secs(60), ..RetryConfig::default() })
            .with_http_connector(Connections { tls })
            .build()
            .map_err(ObjectsError::Refused)?;
        Ok(match self.prefix.as_deref().map(|prefix| prefix.trim_matches('/')).filter(|prefix| !prefix.is_empty()) {
            Some(prefix) => Arc::new(object_store::prefix::PrefixStore::new(store, prefix)),
            None => Arc::new(store),
        })
    }
}

fn connector(authority: &std::path::Path) -> Result<TlsConnector, ObjectsError> {
    let pem = fsx::read_limited(authority, AUTHORITIES_LIMIT)?;
    let mut roots = rustls::RootCertStore::empty();
    let none = || ObjectsError::NoAuthority { path: authority.to_owned() };
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(|_| none())?;
    // A system's collection may hold one that is not understood; the others serve.
    let (known, _) = roots.add_parsable_certificates(certificates);
    if known == 0 {
        return Err(none());
    }
    crate::tls::install_crypto();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Makes HTTP clients for `object_store`.
struct Connections {
    tls: Option<TlsConnector>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("tls", &self.tls.is_some()).finish()
    }
}

impl HttpConnector for Connections {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_timer(TokioTimer::new())
            .build(Dial { tls: self.tls.clone() });
        Ok(HttpClient::new(Caller { client }))
    }
}

/// Calls over pooled connections.
#[derive(Debug)]
struct Caller {
    client: Client<Dial, HttpRequestBody>,
}

impl HttpService for Caller {
    fn call<'s, 'a>(&'s self, request: HttpRequest) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>
    where
        's: 'a,
        Self: 'a,
    {
        Box::pin(async move {
            let answer = tokio::time::timeout(ANSWER, self.client.request(request)).await;
            let answer = answer.map_err(|late| HttpError::new(HttpErrorKind::Timeout, late))?;
            let answer = answer.map_err(|fault| {
                let kind = if fault.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
                HttpError::new(kind, fault)
            })?;
            let broken = |fault: hyper::Error| HttpError::new(HttpErrorKind::Interrupted, fault);
            Ok(answer.map(|body| HttpResponseBody::new(body.map_err(broken))))
        })
    }
}

/// Opens connections, plain or with TLS.
#[derive(Clone)]
struct Dial {
    tls: Option<TlsConnector>,
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial")
    }
}

impl tower::Service<Uri> for Dial {
    type Response = Stream;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Stream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.tls.clone();
        Box::pin(async move {
            let no_host = || io::Error::new(io::ErrorKind::InvalidInput, "no host");
            let host = uri.host().ok_or_else(no_host)?.trim_matches(['[', ']']).to_owned();
            let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            let open = tokio::time::timeout(CONNECT, TcpStream::connect((host.as_str(), port)));
            let stream = open.await.map_err(late)??;
            stream.set_nodelay(true)?;
            let Some(tls) = tls else { return Ok(Stream::Plain(TokioIo::new(stream))) };
            let name = ServerName::try_from(host).map_err(|_| no_host())?;
            let stream = tokio::time::timeout(CONNECT, tls.connect(name, stream)).await.map_err(late)??;
            Ok(Stream::Tls(Box::new(TokioIo::new(stream))))
        })
    }
}

/// A connection.
#[derive(Debug)]
enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: &str) -> ObjectsConfig {
        let dir = tempfile::tempdir().unwrap().keep();
        fsx::write_atomic(&dir.join("key"), b"an access key\n").unwrap();
        let key = SecretSource::from_file(dir.join("key"));
        ObjectsConfig {
            endpoint: endpoint.to_owned(),
            bucket: "linkage".to_owned(),
            region: region(),
            prefix: None,
            access_key: key.clone(),
            secret_key: key,
            authority: None,
        }
    }

    #[test]
    fn records_do_not_leave_this_machine_in_clear() {
        for (endpoint, wanted) in [
            ("http://127.0.0.1:9000", None),
            ("http://localhost:9000/", None),
            ("http://s3.example", Some("http:// n'est admis que pour cette machine")),
            ("s3.example", Some("https://hôte")),
            ("https://s3.example", Some("« authority » manque")),
        ] {
            let refused = config(endpoint).store().err().map(|e| e.to_string());
            assert_eq!(refused.is_some(), wanted.is_some(), "{endpoint}: {refused:?}");
            assert!(wanted.is_none_or(|words| refused.is_some_and(|text| text.contains(words))), "{endpoint}");
        }
        let mut keyless = config("https://s3.example");
        keyless.authority = keyless.access_key.file.clone();
        assert!(matches!(keyless.store(), Err(ObjectsError::NoAuthority { .. })));
    }
}
