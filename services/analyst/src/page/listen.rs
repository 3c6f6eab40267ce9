//! Accepting browsers: TLS, then HTTP/1.1, each step under a limit.
//!
//! A stranger costs one of a bounded number of places for at most the handshake's or the header's time limit; when all are
//! taken, a connection that waits for its browser's next request goes before one that answers. Who is at the other end (address, and the URI of the certificate where one was shown) goes along with every request.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use linkage_common::error::ServiceError;
use linkage_common::tls::{Activity, Limits, Places, ServerTls, WhenFull, keep_current, uri_of};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// Longest wait for the head of a request, also for the next one on a connection that stands.
const HEAD_LIMIT: Duration = Duration::from_secs(15);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 32 << 10;
/// After this a connection takes no new request: a certificate revoked meanwhile is cut off then.
const LIFETIME: Duration = Duration::from_secs(600);
/// Requests under way are given this long when the page stops.
const GRACE: Duration = Duration::from_secs(5);

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Address.
    pub(super) address: SocketAddr,
    /// The one URI of the certificate shown, if one was.
    pub(super) certificate: Option<String>,
}

/// Serves `router` until `shutdown` resolves.
pub(super) async fn serve(
    listener: TcpListener,
    tls: ServerTls,
    limits: &Limits,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServiceError> {
    let mut background = JoinSet::new();
    background.spawn(keep_current(tls.clone(), limits).map_err(ServiceError::internal)?);
    let current = tls.subscribe();
    // A browser opens again what was closed; who keeps many connections open shuts nobody out.
    let places = Places::new(limits.max_connections, WhenFull::OldestGoes);
    let handshake = Duration::from_millis(limits.handshake_timeout_ms);
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let socket = tokio::select! {
            socket = listener.accept() => socket,
            Some(_) = connections.join_next() => continue,
            () = &mut shutdown => break,
        };
        let (socket, address) = match socket {
            Ok(pair) => pair,
            Err(error) => {
                tracing::warn!(%error, "a browser's connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(place) = places.take_for(address.ip()) else { continue };
        let acceptor = TlsAcceptor::from(current.borrow().clone());
        let (router, stopped) = (router.clone(), stopped.clone());
        let activity = place.activity();
        connections.spawn(async move {
            let served = async {
                match tokio::time::timeout(handshake, acceptor.accept(socket)).await {
                    Ok(Ok(io)) => answer(io, address, &activity, router, stopped).await,
                    Ok(Err(error)) => tracing::info!(peer = %address, %error, "browser's handshake refused"),
                    Err(_) => tracing::info!(peer = %address, "browser's handshake too slow"),
                }
            };
            tokio::select! {
                () = served => {}
                () = place => tracing::debug!(peer = %address, "browser's connection gave way to another"),
            }
        });
    }
    drop(listener);
    let _ = stop.send(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, drained).await;
    Ok(())
}

async fn answer(
    io: tokio_rustls::server::TlsStream<TcpStream>,
    address: SocketAddr,
    activity: &Activity,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let shown = io.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certificate = match shown.map(uri_of).transpose() {
        Ok(certificate) => certificate,
        // The handshake has refused such a certificate already.
        Err(_) => return,
    };
    let peer = Peer { address, certificate };
    activity.waits();
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let (router, under_way) = (router.clone(), activity.begin());
        async move {
            let answer = router.oneshot(request.map(Body::new)).await;
            let answer = answer.map_err(|never: Infallible| match never {});
            // The request is under way until the last of its answer has been handed on.
            answer.map(|answer| {
                answer.map(|body| {
                    body.map_frame(move |frame| {
                        let _of = &under_way;
                        frame
                    })
                })
            })
        }
    });
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(io), service)
    );
    tokio::select! {
        // An error is the browser's going away.
        _ = connection.as_mut() => return,
        () = tokio::time::sleep(LIFETIME) => {}
        _ = stopped.wait_for(|&stopped| stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(LIFETIME, connection).await;
}
