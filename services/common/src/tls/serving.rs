//! Accepting connections and serving gRPC on them.
//!
//! A stranger costs the server one place for at most the handshake timeout, and never a request: only
//! connections whose handshake is complete reach tonic. Neither strangers nor one wild peer can take all
//! places ([`Places`]). A connection lives for a limited time, after which
//! the client connects anew, so a certificate revoked meanwhile is cut off then: after `connection_age_s`
//! for new requests, `request_timeout_s` later for those under way.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tower::util::MapRequestLayer;

use super::identity::{PeerIdentity, uri_of};
use super::places::{Activity, Place, Places, WhenFull};
use super::server::ServerTls;
use crate::metrics::{OpenConnection, metrics};
use crate::rate::Rates;
use crate::trace::CallLayer;

/// What a server allows. Every key may be left out of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections of known peers at a time, and handshakes under way beside them; beyond, whoever holds most gives way.
    pub max_connections: usize,
    /// Milliseconds that a handshake may take.
    pub handshake_timeout_ms: u64,
    /// Requests at a time on one connection.
    pub max_concurrent_streams: u32,
    /// Seconds until a handler must have answered; a client-streaming call answers after its last message.
    pub request_timeout_s: u64,
    /// Seconds between two probes of a silent connection.
    pub keepalive_interval_s: u64,
    /// Seconds that a probe may stay unanswered.
    pub keepalive_timeout_s: u64,
    /// Seconds after which a connection takes no new request and its client connects anew.
    pub connection_age_s: u64,
    /// Seconds that requests under way are given when the server stops.
    pub shutdown_grace_s: u64,
    /// Calls that carry data (`Put…`, `Evaluate`) that one certificate may make in a minute.
    pub bulk_calls_per_minute: u32,
    /// Other calls that one certificate may make in a minute.
    pub calls_per_minute: u32,
    /// Calls of one certificate under way at a time: each may hold a message's worth of memory.
    pub calls_at_a_time: u32,
    /// Milliseconds between two looks at the certificate files.
    pub reload_poll_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            handshake_timeout_ms: 10_000,
            max_concurrent_streams: 256,
            request_timeout_s: 3600,
            keepalive_interval_s: 30,
            keepalive_timeout_s: 20,
            connection_age_s: 3600,
            shutdown_grace_s: 10,
            bulk_calls_per_minute: 60_000,
            calls_per_minute: 6000,
            calls_at_a_time: 64,
            reload_poll_ms: 30_000,
        }
    }
}

/// Why a server ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener, or HTTP/2, failed.
    #[error("le serveur s'est arrêté")]
    Transport(#[from] tonic::transport::Error),
    /// Signals cannot be received.
    #[error("le système refuse la réception du signal SIGHUP")]
    Signal(#[source] io::Error),
}

/// The gRPC method that was called (`/package.Service/Method`), in the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalledMethod(pub String);

/// Serves `routes` on `listener` under the default [`Limits`] until `shutdown` completes. The caller adds
/// what services it has, health included. `SIGHUP`, or a change of the files, takes the certificates over again.
///
/// # Errors
/// [`ServeError`].
pub async fn serve<F>(listener: TcpListener, tls: ServerTls, routes: Routes, shutdown: F) -> Result<(), ServeError>
where
    F: Future<Output = ()>,
{
    serve_with_limits(listener, tls, routes, &Limits::default(), shutdown).await
}

/// As [`serve`], under `limits`.
///
/// # Errors
/// [`ServeError`].
pub async fn serve_with_limits<F>(
    listener: TcpListener,
    tls: ServerTls,
    routes: Routes,
    limits: &Limits,
    shutdown: F,
) -> Result<(), ServeError>
where
    F: Future<Output = ()>,
{
    // Ends with this function, in whichever way it ends.
    let mut background = JoinSet::new();
    let (stop, stopped) = watch::channel(false);
    let (accepted, incoming) = mpsc::channel(16);
    tls.warn_when_stale();
    background.spawn(accept(listener, tls.subscribe(), limits.clone(), accepted, stopped));
    background.spawn(watch_files(tls, Duration::from_millis(limits.reload_poll_ms.max(1)), hangups()?));

    let (stopping, stop_seen) = oneshot::channel();
    #[expect(clippy::disallowed_methods, reason = "the one server, fed with connections that TLS has accepted")]
    let server = Server::builder()
        .max_concurrent_streams(limits.max_concurrent_streams)
        .concurrency_limit_per_connection(limits.max_concurrent_streams as usize)
        .timeout(Duration::from_secs(limits.request_timeout_s))
        .http2_keepalive_interval(Some(Duration::from_secs(limits.keepalive_interval_s)))
        .http2_keepalive_timeout(Some(Duration::from_secs(limits.keepalive_timeout_s)))
        .max_connection_age(Duration::from_secs(limits.connection_age_s))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .http2_max_header_list_size(16 << 10)
        .layer(MapRequestLayer::new(|mut request: http::Request<tonic::body::Body>| {
            let method = CalledMethod(request.uri().path().to_owned());
            let extensions = request.extensions_mut();
            extensions.insert(method);
            if let Some(Caller { identity, activity }) = extensions.remove() {
                extensions.insert(identity);
                extensions.insert(activity);
            }
            request
        }))
        .layer(CallLayer::new(Rates::new(limits.bulk_calls_per_minute, limits.calls_per_minute, limits.calls_at_a_time)))
        .add_routes(routes)
        .serve_with_incoming_shutdown(ReceiverStream::new(incoming), async move {
            shutdown.await;
            // The port is free from here on; only requests under way are served.
            let _ = stop.send(true);
            let _ = stopping.send(());
        });
    let grace = Duration::from_secs(limits.shutdown_grace_s);
    tokio::select! {
        ended = server => ended.map_err(ServeError::from),
        () = async {
            match stop_seen.await {
                Ok(()) => tokio::time::sleep(grace).await,
                Err(_) => std::future::pending().await,
            }
        } => {
            tracing::warn!("requests still under way after the grace period were cut off");
            Ok(())
        }
    }
}

/// A connection whose peer is known. It holds its place among the server's connections until it is dropped.
struct PeerStream {
    io: TlsStream<TcpStream>,
    caller: Caller,
    /// When the connection is cut whatever goes on in it. tonic 0.14.9 either lets requests under way last for
    /// ever or, with its grace period, skips the orderly end; so it ends in order there and is cut here.
    end: Pin<Box<Sleep>>,
    place: Place,
    _open: OpenConnection,
}

/// What every request of a connection is told of it.
#[derive(Clone)]
struct Caller {
    identity: PeerIdentity,
    activity: Activity,
}

async fn accept(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    limits: Limits,
    accepted: mpsc::Sender<io::Result<PeerStream>>,
    mut stopped: watch::Receiver<bool>,
) {
    let strangers = Places::new(limits.max_connections, WhenFull::OldestGoes);
    let peers = Places::new(limits.max_connections, WhenFull::FairShare);
    let full_said: Arc<Mutex<Option<Instant>>> = Arc::default();
    let most = limits.max_connections;
    let full = move || {
        metrics().connection_refused("full");
        let mut said = full_said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|at| at.elapsed() > Duration::from_secs(1)) {
            tracing::warn!(limit = most, "connection limit reached, connections of whoever holds most are dropped");
            *said = Some(Instant::now());
        }
    };
    let handshake_timeout = Duration::from_millis(limits.handshake_timeout_ms);
    let lifetime = Duration::from_secs(limits.connection_age_s.saturating_add(limits.request_timeout_s));
    let mut handshakes = JoinSet::new();
    loop {
        let socket = tokio::select! {
            socket = listener.accept() => socket,
            Some(_) = handshakes.join_next() => continue,
            _ = stopped.wait_for(|&stopped| stopped) => return,
        };
        let (socket, address) = match socket {
            Ok(pair) => pair,
            Err(error) => {
                // Of the process (no descriptor left) or of one connection (reset): neither ends the server.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(waiting) = strangers.take_for(address.ip()) else { continue };
        let acceptor = TlsAcceptor::from(tls.borrow().clone());
        let (accepted, peers, full) = (accepted.clone(), peers.clone(), full.clone());
        handshakes.spawn(async move {
            let shaken = tokio::select! {
                biased;
                shaken = tokio::time::timeout(handshake_timeout, handshake(acceptor, socket)) => shaken,
                () = waiting => return full(),
            };
            match shaken {
                Ok(Ok((io, identity))) => {
                    let Some(place) = peers.take(&identity.uri) else { return full() };
                    // Nobody receives once the server has stopped: the connection is dropped then.
                    let end = Box::pin(tokio::time::sleep(lifetime));
                    let caller = Caller { identity, activity: place.activity() };
                    caller.activity.waits();
                    let _ = accepted.send(Ok(PeerStream { io, caller, end, place, _open: metrics().connection() })).await;
                }
                Ok(Err(error)) => {
                    metrics().connection_refused("handshake");
                    tracing::warn!(peer = %address, %error, "handshake refused");
                }
                Err(_) => {
                    metrics().connection_refused("slow");
                    tracing::warn!(peer = %address, "handshake too slow, connection dropped");
                }
            }
        });
    }
}

async fn handshake(acceptor: TlsAcceptor, socket: TcpStream) -> io::Result<(TlsStream<TcpStream>, PeerIdentity)> {
    socket.set_nodelay(true)?;
    let io = acceptor.accept(socket).await?;
    let certificate = io.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let uri = certificate.map(uri_of).ok_or_else(|| io::Error::from(io::ErrorKind::PermissionDenied))?;
    let uri = uri.map_err(io::Error::other)?;
    Ok((io, PeerIdentity { uri }))
}

/// Takes the certificates over again on `SIGHUP` and when their files change, for as long as the future is polled: for a
/// listener that is not [`serve`]'s.
///
/// # Errors
/// [`ServeError::Signal`].
pub fn keep_current(tls: ServerTls, limits: &Limits) -> Result<impl Future<Output = ()> + Send + use<>, ServeError> {
    Ok(watch_files(tls, Duration::from_millis(limits.reload_poll_ms.max(1)), hangups()?))
}

async fn watch_files(tls: ServerTls, poll: Duration, mut hangups: Hangups) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + poll, poll);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let result = tokio::select! {
            _ = ticks.tick() => tls.reload_if_changed(),
            () = hangups.next() => tls.reload().map(|()| true),
        };
        match result {
            Ok(true) => {
                tracing::info!("certificates taken over again");
                tls.warn_when_stale();
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "certificates not taken over, the former ones stay in force"),
        }
    }
}

/// The requests to reload that the system passes on.
struct Hangups {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl Hangups {
    async fn next(&mut self) {
        #[cfg(unix)]
        if self.signal.recv().await.is_some() {
            return;
        }
        std::future::pending::<()>().await;
    }
}

fn hangups() -> Result<Hangups, ServeError> {
    Ok(Hangups {
        #[cfg(unix)]
        signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).map_err(ServeError::Signal)?,
    })
}

impl Connected for PeerStream {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // HTTP/2 always has a read pending, so the end is noticed in a silent connection too.
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if Pin::new(&mut self.place).poll(cx).is_ready() {
            metrics().connection_refused("full");
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
