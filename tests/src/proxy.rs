//! A proxy between two roles that opens their TLS and records every byte of both directions.
//!
//! It can do so only because the harness holds all keys: it shows the server's own certificate to the client, and the
//! client's own certificate to the server. Beside the plain bytes it records those of the client's TLS connection, to show
//! what a listener on the network gets.

#![allow(clippy::unwrap_used)]

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What went through one connection in one direction.
#[derive(Debug, Default)]
pub struct Recording {
    /// `client -> server` or `server -> client`.
    pub way: String,
    /// What the roles said.
    pub plain: Vec<u8>,
}

type Shared<T> = Arc<Mutex<Vec<T>>>;

/// All proxies of a test.
pub struct Proxies {
    runtime: Runtime,
    recordings: Shared<Arc<Mutex<Recording>>>,
    sealed: Shared<u8>,
}

/// A role's certificate files: `certificat.pem`, `certificat.key`, `ca.pem` in this folder.
#[derive(Debug, Clone, Copy)]
pub struct Tls<'p>(pub &'p Path);

impl Tls<'_> {
    fn chain(self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(self.0.join("certificat.pem")).unwrap().map(Result::unwrap).collect()
    }
    fn key(self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(self.0.join("certificat.key")).unwrap()
    }
    fn roots(self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(self.0.join("ca.pem")).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        Arc::new(roots)
    }
}

impl Default for Proxies {
    fn default() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { runtime, recordings: Shared::default(), sealed: Shared::default() }
    }
}

impl Proxies {
    /// Starts a proxy on `listen` for the client `from` of the server `to` at `target`.
    pub fn start(&self, listen: SocketAddr, target: SocketAddr, from: (&str, Tls<'_>), to: (&str, Tls<'_>)) {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients =
            rustls::server::WebPkiClientVerifier::builder_with_provider(to.1.roots(), provider.clone()).build().unwrap();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(to.1.chain(), to.1.key())
            .unwrap();
        server.alpn_protocols = vec![b"h2".to_vec()];
        let (acceptor, connector) = (TlsAcceptor::from(Arc::new(server)), connector(Some(from.1)));
        let ways = [format!("{} -> {}", from.0, to.0), format!("{} -> {}", to.0, from.0)];
        let (recordings, sealed) = (self.recordings.clone(), self.sealed.clone());
        let listener = self.runtime.block_on(TcpListener::bind(listen)).unwrap();
        self.runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let _ = socket.set_nodelay(true);
                let (acceptor, connector) = (acceptor.clone(), connector.clone());
                let (ways, recordings, sealed) = (ways.clone(), recordings.clone(), sealed.clone());
                tokio::spawn(async move {
                    let _ = pass(Tap { socket, heard: sealed }, target, acceptor, connector, ways, recordings).await;
                });
            }
        });
    }

    /// Every direction of every connection so far: way and bytes.
    pub fn plain(&self) -> Vec<(String, Vec<u8>)> {
        let recordings = self.recordings.lock().unwrap();
        recordings.iter().map(|r| r.lock().unwrap()).map(|r| (r.way.clone(), r.plain.clone())).collect()
    }

    /// What a listener on the network heard between the clients and the proxies.
    pub fn sealed(&self) -> Vec<u8> {
        self.sealed.lock().unwrap().clone()
    }
}

/// Connects to any server, with the certificate of `as_role` and HTTP/2, or as a browser without one.
pub fn connector(as_role: Option<Tls<'_>>) -> TlsConnector {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)));
    TlsConnector::from(Arc::new(match as_role {
        None => client.with_no_client_auth(),
        Some(tls) => {
            let mut client = client.with_client_auth_cert(tls.chain(), tls.key()).unwrap();
            client.alpn_protocols = vec![b"h2".to_vec()];
            client
        }
    }))
}

async fn pass(
    socket: Tap,
    target: SocketAddr,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    ways: [String; 2],
    recordings: Shared<Arc<Mutex<Recording>>>,
) -> io::Result<()> {
    let client = acceptor.accept(socket).await?;
    let server = TcpStream::connect(target).await?;
    server.set_nodelay(true)?;
    let server = connector.connect(ServerName::IpAddress(target.ip().into()), server).await?;
    let [up, down] = ways.map(|way| Arc::new(Mutex::new(Recording { way, plain: Vec::new() })));
    recordings.lock().unwrap().extend([up.clone(), down.clone()]);
    let (client_read, client_write) = tokio::io::split(client);
    let (server_read, server_write) = tokio::io::split(server);
    // When one side ends, the other is closed too: a killed server must look killed from behind the proxy.
    tokio::select! {
        done = copy(client_read, server_write, up) => done,
        done = copy(server_read, client_write, down) => done,
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, heard: Arc<Mutex<Recording>>) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        heard.lock().unwrap().plain.extend_from_slice(&buffer[..n]);
        to.write_all(&buffer[..n]).await?;
        to.flush().await?;
    }
}

/// The payloads of HTTP/2 DATA frames by stream (RFC 9113 section 6.1): what gRPC carries, without the frame headers that may
/// cut a word in two.
pub fn data_streams(recording: &[u8]) -> Vec<Vec<u8>> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut rest = recording.strip_prefix(PREFACE).unwrap_or(recording);
    let mut streams: std::collections::BTreeMap<u32, Vec<u8>> = std::collections::BTreeMap::new();
    while let Some((header, after)) = rest.split_at_checked(9) {
        let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let Some((mut payload, after)) = after.split_at_checked(length) else { break };
        if header[3] == 0 {
            if header[4] & 8 != 0 {
                payload = &payload[1..length - usize::from(payload[0])];
            }
            let stream = u32::from_be_bytes(header[5..9].try_into().unwrap()) & 0x7fff_ffff;
            streams.entry(stream).or_default().extend_from_slice(payload);
        }
        rest = after;
    }
    streams.into_values().collect()
}

/// A socket that keeps what it carries.
struct Tap {
    socket: TcpStream,
    heard: Shared<u8>,
}

impl AsyncRead for Tap {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let ready = Pin::new(&mut self.socket).poll_read(cx, buffer);
        self.heard.lock().unwrap().extend_from_slice(&buffer.filled()[before..]);
        ready
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let ready = Pin::new(&mut self.socket).poll_write(cx, bytes);
        if let Poll::Ready(Ok(n)) = &ready {
            self.heard.lock().unwrap().extend_from_slice(&bytes[..*n]);
        }
        ready
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Takes any server: behind the proxy is the one that the harness started itself.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
