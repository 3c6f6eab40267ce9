//! The operations listener of a role: does it live, can it work, how does it fare.
//!
//! Section `[ops]` of a configuration. Plain HTTP, since an orchestrator's probes and a metrics collector bear no certificate
//! of the partners; it answers four questions and nothing else, none of which tells anything of a person, a run or a partner:
//! `GET /healthz`, `GET /readyz`, `GET /metrics` (Prometheus), and the gRPC health service over HTTP/2 without TLS
//! (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>) for Kubernetes' gRPC probes: service `liveness`, and
//! `readiness` or the empty name. It must not be reachable from outside the host's network all the same.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::BoxFuture;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::error::{ErrorKind, ServiceError};
use crate::gate::Gate;
use crate::metrics::metrics;
use crate::tls::{Place, Places, WhenFull};

/// Connections at a time; a probe and a collector need two.
const MAX_CONNECTIONS: usize = 32;
/// Requests at a time on one connection.
const MAX_REQUESTS: u32 = 8;
/// A connection's life, whatever goes on in it.
const LIFETIME: Duration = Duration::from_secs(120);
/// Longest answer; a probe gives up sooner.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for one check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// The name of a service to ask about, and a margin.
const MAX_QUESTION: usize = 1 << 10;
/// What OpenMetrics text is announced as.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Section `[ops]` of a role's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpsConfig {
    /// Address to listen on, without TLS: loopback, or a network that only the host's own tools reach.
    pub listen: SocketAddr,
}

/// Why a role cannot work now. The word is all that is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotReady {
    /// It has not finished starting: configuration, keys, agreement, database.
    Starting,
    /// The agreement's notices of termination cannot be read; every call is refused.
    Agreement,
    /// The database does not answer.
    Database,
    /// The folder of its data cannot be used.
    Storage,
    /// It is being stopped.
    Stopping,
}

impl NotReady {
    /// The word that `/readyz` answers.
    pub fn code(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Agreement => "agreement-unreadable",
            Self::Database => "database-unavailable",
            Self::Storage => "storage-unavailable",
            Self::Stopping => "stopping",
        }
    }
}

type Check = Box<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

#[derive(Default)]
struct Shared {
    started: AtomicBool,
    stopping: AtomicBool,
    gate: OnceLock<Arc<Gate>>,
    checks: RwLock<Vec<(NotReady, Check)>>,
}

impl Shared {
    /// `Ok(true)` when the role can work, `Ok(false)` when it can but its agreement is not in force: what remains to do then
    /// (deletions) must still reach it.
    async fn state(&self) -> Result<bool, NotReady> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(NotReady::Stopping);
        }
        let gate = self.gate.get().filter(|_| self.started.load(Ordering::Acquire)).ok_or(NotReady::Starting)?;
        let in_force = match gate.in_force() {
            Ok(()) => true,
            Err(error) if error.kind == ErrorKind::Unavailable => return Err(NotReady::Agreement),
            Err(_) => false,
        };
        let under_way: Vec<_> = {
            let checks = self.checks.read().unwrap_or_else(PoisonError::into_inner);
            checks.iter().map(|(reason, check)| (*reason, check())).collect()
        };
        for (reason, check) in under_way {
            if !matches!(tokio::time::timeout(CHECK_TIMEOUT, check).await, Ok(true)) {
                return Err(reason);
            }
        }
        Ok(in_force)
    }

    async fn observed(&self) -> Result<bool, NotReady> {
        let state = self.state().await;
        metrics().state(state.is_ok(), state == Ok(true));
        state
    }
}

/// The operations listener of a role, if its configuration has one. Ends when it is dropped.
pub struct Ops {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl std::fmt::Debug for Ops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ops(..)")
    }
}

impl Ops {
    /// Listens, if `config` says where; to be called once the configuration is read, before anything else is opened. `data` is
    /// the folder of the role's data.
    ///
    /// # Errors
    /// An address that cannot be listened on.
    pub async fn start(config: Option<&OpsConfig>, role: &'static str, data: &Path) -> Result<Self, ServiceError> {
        crate::telemetry::set_role(role);
        metrics().role(role);
        metrics().watch_disk(data);
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        if let Some(config) = config {
            let address = config.listen;
            let listener = TcpListener::bind(address).await.map_err(|e| {
                ServiceError::configuration(format!(
                    "[ops] listen = {address} : écoute impossible ({e}) ; le port est-il déjà pris ?"
                ))
            })?;
            let (accepted, incoming) = mpsc::channel(MAX_CONNECTIONS);
            tasks.spawn(accept(listener, accepted));
            tasks.spawn(serve(incoming, shared.clone()));
            tracing::info!(%address, "operations listener open");
        }
        Ok(Self { shared, _tasks: tasks })
    }

    /// Adds a check that must pass for the role to be ready. Asked for with every probe: it must be cheap.
    pub fn check<F>(&self, reason: NotReady, check: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let check: Check = Box::new(move || Box::pin(check()));
        self.shared.checks.write().unwrap_or_else(PoisonError::into_inner).push((reason, check));
    }

    /// The role works from here on, under `gate`'s agreement.
    pub fn ready(&self, gate: &Arc<Gate>) {
        let _ = self.shared.gate.set(gate.clone());
        self.shared.started.store(true, Ordering::Release);
    }

    /// `shutdown`, which also makes the role not ready: no new work is sent to it while it ends what it has.
    pub fn until<F: Future<Output = ()>>(&self, shutdown: F) -> impl Future<Output = ()> + use<F> {
        let shared = self.shared.clone();
        async move {
            shutdown.await;
            shared.stopping.store(true, Ordering::Release);
        }
    }
}

async fn serve(incoming: mpsc::Receiver<io::Result<Bounded>>, shared: Arc<Shared>) {
    let health = HealthServer::new(Probe { shared: shared.clone() }).max_decoding_message_size(MAX_QUESTION);
    let questions = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(told))
        .with_state(shared);
    // tonic answers an unknown path with 200 and a gRPC status, which a probe would take for health.
    let routes = tonic::service::Routes::new(health).into_axum_router().reset_fallback().merge(questions);
    #[expect(clippy::disallowed_methods, reason = "the one listener without TLS, which tells nothing that identifies anybody")]
    let served = Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(MAX_REQUESTS)
        .concurrency_limit_per_connection(MAX_REQUESTS as usize)
        .timeout(REQUEST_TIMEOUT)
        .http2_max_header_list_size(8 << 10)
        .add_routes(routes.into())
        .serve_with_incoming(ReceiverStream::new(incoming))
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the operations listener ended");
    }
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    match shared.observed().await {
        Ok(true) => "ready\n".into_response(),
        Ok(false) => "ready agreement-not-in-force\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", reason.code())).into_response(),
    }
}

async fn told(State(shared): State<Arc<Shared>>) -> Response {
    let _ = shared.observed().await;
    match metrics().render() {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

struct Probe {
    shared: Arc<Shared>,
}

#[tonic::async_trait]
impl Health for Probe {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        let serving = match request.get_ref().service.as_str() {
            "liveness" => true,
            "" | "readiness" => self.shared.observed().await.is_ok(),
            _ => return Err(Status::not_found("services : liveness, readiness")),
        };
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        Ok(tonic::Response::new(HealthCheckResponse { status: status.into() }))
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<tonic::Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("utilisez Check"))
    }
}

/// A connection that holds its place, and ends in time.
struct Bounded {
    io: TcpStream,
    end: Pin<Box<Sleep>>,
    place: Place,
}

async fn accept(listener: TcpListener, accepted: mpsc::Sender<io::Result<Bounded>>) {
    // A probe must be answered whoever else keeps connections open.
    let places = Places::new(MAX_CONNECTIONS, WhenFull::OldestGoes);
    loop {
        match listener.accept().await {
            Ok((io, address)) => {
                let Some(place) = places.take_for(address.ip()) else { continue };
                let end = Box::pin(tokio::time::sleep(LIFETIME));
                if accepted.send(Ok(Bounded { io, end, place })).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection for operations could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Connected for Bounded {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.end.as_mut().poll(cx).is_ready() || Pin::new(&mut self.place).poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_health::pb::health_client::HealthClient;

    #[tokio::test]
    async fn kubernetes_probes_over_plain_http_2_are_answered() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let _ops = Ops::start(Some(&OpsConfig { listen: free }), "broker", dir.path()).await.unwrap();
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{free}")).unwrap();
        let mut client = HealthClient::new(endpoint.connect().await.unwrap());
        let mut ask = async |service: &str| {
            let request = HealthCheckRequest { service: service.to_owned() };
            client.check(request).await.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
        };
        assert_eq!(ask("liveness").await, Ok(ServingStatus::Serving));
        // Neither agreement nor database yet.
        assert_eq!(ask("readiness").await, Ok(ServingStatus::NotServing));
        assert_eq!(ask("").await, Ok(ServingStatus::NotServing));
        assert_eq!(ask("broker").await, Err(tonic::Code::NotFound));
        // A question larger than any service's name.
        assert_eq!(ask(&"x".repeat(2 * MAX_QUESTION)).await, Err(tonic::Code::OutOfRange));
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = OpsConfig { listen: taken.local_addr().unwrap() };
        let refused = Ops::start(Some(&config), "broker", Path::new(".")).await.unwrap_err();
        assert!(refused.message.contains("[ops] listen"), "{}", refused.message);
    }
}
