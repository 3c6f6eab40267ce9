//! Entering every call that a peer makes.
//!
//! A call that may change something, or that gives data away, is entered before its answer leaves; when it cannot be, the
//! answer is an error, and the caller's repetition finds the same state (every method of this system may be repeated).
//! Looks (`Get…`, `List…`, `Count…`) without [`Facts`] and refusals are counted together ([`super::fold`]). Probes of the
//! health service are not entered. Of a method that does not exist only that is kept: the path is text from outside.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use linkage_agreement::{Period, RunId};
use tonic::service::RoutesBuilder;
use tonic::{Code, Request, Status};
use tower::{Layer, Service};

use super::entry::{Act, Outcome};
use super::log::{AuditLog, held};
use super::service;
use crate::signer::Signer;
use crate::tls::{CalledMethod, PeerIdentity};

const HEALTH: &str = "/grpc.health.v1.";
const PACKAGE: &str = "/linkage.v1.";
const LOOKS: [&str; 3] = ["Get", "List", "Count"];
const UNKNOWN: &str = "unknown-method";
const NOBODY: &str = "unknown";

/// What a handler knows of its call. Take it from the request before its message is taken out.
#[derive(Debug, Clone, Default)]
pub struct Facts(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    run: Option<RunId>,
    period: Option<Period>,
    records: Option<u64>,
    fields: Vec<String>,
    stated: bool,
}

impl Facts {
    /// Those of `request`; where no log is kept they go nowhere.
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }
    fn state(&self, add: impl FnOnce(&mut Known)) -> &Self {
        let mut known = held(&self.0);
        known.stated = true;
        add(&mut known);
        drop(known);
        self
    }
    /// The run, once it is known to be one.
    pub fn run(&self, run: &RunId) -> &Self {
        self.state(|known| known.run = Some(run.clone()))
    }
    /// The month.
    pub fn period(&self, period: Period) -> &Self {
        self.state(|known| known.period = Some(period))
    }
    /// Records taken in or given.
    pub fn records(&self, records: u64) -> &Self {
        self.state(|known| known.records = Some(records))
    }
    /// Names of the agreement's fields or attributes that were given.
    pub fn fields<S: Into<String>>(&self, names: impl IntoIterator<Item = S>) -> &Self {
        self.state(|known| known.fields = names.into_iter().map(Into::into).collect())
    }
}

impl AuditLog {
    /// The services of a role, with the one of checkpoints, every call of which is entered. `signer` is the role's.
    pub fn around(&self, mut routes: RoutesBuilder, signer: Arc<Signer>) -> RoutesBuilder {
        routes.add_service(service::serve(self, signer));
        routes.routes().into_axum_router().layer(self.layer()).into()
    }

    /// Enters the calls of all services that it is laid around.
    pub fn layer(&self) -> AuditLayer {
        AuditLayer(self.clone())
    }
}

/// See [`AuditLog::layer`].
#[derive(Debug, Clone)]
pub struct AuditLayer(AuditLog);

impl<S> Layer<S> for AuditLayer {
    type Service = Audited<S>;
    fn layer(&self, inner: S) -> Audited<S> {
        Audited { log: self.0.clone(), inner }
    }
}

/// A service whose calls are entered.
#[derive(Debug, Clone)]
pub struct Audited<S> {
    log: AuditLog,
    inner: S,
}

impl<S, B, R> Service<http::Request<B>> for Audited<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    R: Default + Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let method = request.extensions().get::<CalledMethod>().map_or_else(|| request.uri().path(), |m| m.0.as_str()).to_owned();
        // The one that was polled until it was ready.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        if method.starts_with(HEALTH) {
            return Box::pin(inner.call(request));
        }
        let who = request.extensions().get::<PeerIdentity>().map_or(NOBODY, |peer| peer.uri.as_str()).to_owned();
        let facts = Facts::default();
        request.extensions_mut().insert(facts.clone());
        let log = self.log.clone();
        Box::pin(async move {
            if let Err(error) = log.ready().await {
                return Ok(Status::from(error).into_http());
            }
            let mut call = Call { log: &log, who, method, facts, over: false };
            let response = inner.call(request).await;
            let code = response.as_ref().map_or(Code::Internal, |response| {
                // In the headers of an answer that is nothing but an error; otherwise the handler has passed.
                Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
            });
            match call.enter(code).await {
                Ok(()) => response,
                Err(error) => Ok(Status::from(error).into_http()),
            }
        })
    }
}

/// A call under way. Dropped before its end, it is entered as cut off.
struct Call<'l> {
    log: &'l AuditLog,
    who: String,
    method: String,
    facts: Facts,
    over: bool,
}

impl Call<'_> {
    /// The entry, and whether it stands for itself.
    fn act(&self, code: Code) -> (Act, bool) {
        let method = match self.method.strip_prefix(PACKAGE) {
            Some(method) if code != Code::Unimplemented => method,
            _ => UNKNOWN,
        };
        let name = method.rsplit('/').next().unwrap_or_default();
        let look = LOOKS.iter().any(|start| name.starts_with(start));
        let mut act = Act::call(&self.who, method.to_owned());
        act.set_code(code);
        let known = held(&self.facts.0);
        if let Some(run) = &known.run {
            act = act.run(run);
        }
        if let Some(period) = known.period {
            act = act.period(period);
        }
        act.records = known.records;
        act.fields.clone_from(&known.fields);
        let alone = act.outcome == Outcome::Done && (known.stated || !look);
        (act, alone)
    }

    async fn enter(&mut self, code: Code) -> Result<(), crate::error::ServiceError> {
        self.over = true;
        let (act, alone) = self.act(code);
        if alone {
            return self.log.record(act).await;
        }
        self.log.fold(act);
        Ok(())
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.over {
            let (act, _) = self.act(Code::Cancelled);
            self.log.fold(act);
        }
    }
}
