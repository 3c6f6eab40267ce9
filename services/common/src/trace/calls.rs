//! Every call of a role, made or served: its span, its figures, its limits.
//!
//! Served calls pass a layer around all services, before anything of the request is read; calls made pass the [`Channel`] that
//! [`crate::tls::connect`] returns. Both count what crosses the wire without looking into it. A peer's call may carry a trace
//! context: it is taken over when it is well-formed, and gives the peer nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::header::DATE;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use jiff::Timestamp;
use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument;

use super::{Context, HEADER, Kind, Open};
use crate::clock::{Clock as _, PeerClocks, SystemClock};
use crate::metrics::{Side, code_name, metrics};
use crate::rate::{Rates, Running};
use crate::tls::{Activity, PeerIdentity, UnderWay};

/// The header by which a role says its version.
pub const VERSION_HEADER: &str = "linkage-version";

/// A call under way. It ends once: with its answer's last byte, or when it is given up.
struct Call {
    side: Side,
    method: String,
    open: Open,
    received: AtomicU64,
    sent: AtomicU64,
    ended: AtomicBool,
    /// Of a call that is served.
    _counted: Option<Counts>,
}

/// Where a call that is served is counted: among its peer's, and its connection's where the listener tells them apart.
type Counts = (Running, Option<UnderWay>);

impl Call {
    fn new(side: Side, method: String, parent: Option<Context>, counted: Option<Counts>) -> Arc<Self> {
        let (received, sent, ended) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Self { side, method, open: Open::new(parent), received, sent, ended, _counted: counted })
    }

    fn end(&self, code: Code) {
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        let (received, sent) = (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed));
        metrics().call(self.side, &self.method, code, self.open.seconds(), received, sent);
        let kind = if self.side == Side::Served { Kind::Server } else { Kind::Client };
        // A path that no service knows is text from outside.
        let name = if code == Code::Unimplemented { "other" } else { self.method.trim_start_matches('/') };
        self.open.end(name, kind, code_name(code), code == Code::Ok);
    }

    /// The answer, its last byte watched for.
    fn answer(self: &Arc<Self>, response: http::Response<Body>) -> http::Response<Body> {
        if let Some(status) = Status::from_header_map(response.headers()) {
            // An answer that is nothing but a status.
            self.end(status.code());
        }
        response.map(|inner| Body::new(Counted { inner, call: self.clone(), answer: true }))
    }

    fn request(self: &Arc<Self>, inner: Body) -> Body {
        Body::new(Counted { inner, call: self.clone(), answer: false })
    }
}

/// A body whose bytes are counted.
struct Counted {
    inner: Body,
    call: Arc<Call>,
    answer: bool,
}

impl Counted {
    fn count(&self, bytes: usize) {
        let incoming = (self.call.side == Side::Made) == self.answer;
        let counter = if incoming { &self.call.received } else { &self.call.sent };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.count(data.len());
                } else if let Some(trailers) = frame.trailers_ref().filter(|_| self.answer) {
                    self.call.end(Status::from_header_map(trailers).map_or(Code::Unknown, |status| status.code()));
                }
            }
            Some(Err(status)) if self.answer => self.call.end(status.code()),
            None if self.answer => self.call.end(Code::Unknown),
            Some(Err(_)) | None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.answer {
            self.call.end(Code::Cancelled);
        }
    }
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<http::Response<Body>, E>> + Send>>;

/// Lays spans, figures and limits around the services of a role.
#[derive(Debug, Clone)]
pub struct CallLayer {
    rates: Arc<Rates>,
}

impl CallLayer {
    /// Peers are held to `rates`.
    pub fn new(rates: Rates) -> Self {
        Self { rates: Arc::new(rates) }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Watched<S> {
        Watched { inner, rates: self.rates.clone() }
    }
}

/// A service whose calls are watched.
#[derive(Debug, Clone)]
pub struct Watched<S> {
    inner: S,
    rates: Arc<Rates>,
}

impl<S> Service<http::Request<Body>> for Watched<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let parent = request.headers().get(HEADER).and_then(|text| text.to_str().ok()).and_then(Context::from_header);
        let method = request.uri().path().to_owned();
        let peer = request.extensions().get::<PeerIdentity>().map(|peer| peer.uri.as_str());
        let call = match self.rates.admit(peer, &method) {
            Ok(running) => {
                let under_way = request.extensions().get().map(Activity::begin);
                Call::new(Side::Served, method, parent, Some((running, under_way)))
            }
            Err(status) => {
                Call::new(Side::Served, method, parent, None).end(status.code());
                return Box::pin(std::future::ready(Ok(versioned(status.into_http()))));
            }
        };
        if let (Some(peer), Some(theirs)) = (peer, date_of(request.headers())) {
            PeerClocks::of_process().heard(peer, theirs, Instant::now());
        }
        let Context { trace, span } = call.open.context;
        let logged = tracing::info_span!(
            "call",
            role = crate::telemetry::role(),
            trace = format_args!("{trace:032x}"),
            span = format_args!("{span:016x}")
        );
        let context = call.open.context;
        let answered = self.inner.call(request.map(|body| call.request(body)));
        Box::pin(async move {
            let response = context.within(answered).instrument(logged).await?;
            Ok(versioned(call.answer(response)))
        })
    }
}

fn versioned(mut response: http::Response<Body>) -> http::Response<Body> {
    response.headers_mut().insert(VERSION_HEADER, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    response
}

/// A connection to another role. Clones share it.
#[derive(Debug, Clone)]
pub struct Channel {
    inner: tonic::transport::Channel,
    peer: &'static str,
}

impl Channel {
    /// `identity` is the URI that the peer must bear.
    pub(crate) fn new(inner: tonic::transport::Channel, identity: &str) -> Self {
        Self { inner, peer: kind_of(identity) }
    }
}

/// What kind of role `identity` names, as far as URIs made by the rule of the agreement say.
fn kind_of(identity: &str) -> &'static str {
    let mut parts = identity.strip_prefix("linkage://").unwrap_or_default().split('/').skip(1);
    match parts.next() {
        Some("broker") => "broker",
        Some("custodian") => "custodian",
        Some("analyst") => "analyst",
        _ => "other",
    }
}

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Answer<tonic::transport::Error>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let call = Call::new(Side::Made, request.uri().path().to_owned(), Context::current(), None);
        if let Ok(header) = HeaderValue::from_str(&call.open.context.to_header()) {
            request.headers_mut().insert(HEADER, header);
        }
        // A server learns its callers' clocks as callers learn the server's.
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&SystemClock.now());
        if let Some(date) = date.ok().and_then(|date| HeaderValue::from_str(&date).ok()) {
            request.headers_mut().insert(DATE, date);
        }
        let answered = self.inner.call(request.map(|body| call.request(body)));
        let peer = self.peer;
        Box::pin(async move {
            match answered.await {
                Ok(response) => {
                    if let Some(theirs) = date_of(response.headers()) {
                        metrics().clock_skew(peer, skew(theirs));
                        PeerClocks::of_process().heard(peer, theirs, Instant::now());
                    }
                    Ok(call.answer(response))
                }
                Err(error) => {
                    call.end(Code::Unavailable);
                    Err(error)
                }
            }
        })
    }
}

/// What a peer's clock showed, by its `date` header (RFC 9110 section 6.6.1).
fn date_of(headers: &HeaderMap) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(headers.get(DATE)?.to_str().ok()?).ok()
}

/// A peer's clock less this one's, in whole seconds, as the header has them.
fn skew(theirs: Timestamp) -> f64 {
    theirs.duration_since(SystemClock.now()).as_secs_f64().round()
}

/// As the skew of a call's answer, of the header's text.
pub fn skew_of(date: &str) -> Option<f64> {
    DateTimeParser::new().parse_timestamp(date).ok().map(skew)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_header_is_compared_with_this_clock() {
        assert!(skew_of("Sun, 06 Nov 1994 08:49:37 GMT").unwrap() < -900_000_000.0);
        assert_eq!(skew_of("yesterday"), None);
    }

    #[test]
    fn a_peer_is_told_by_its_kind_only() {
        assert_eq!(kind_of("linkage://essai/broker"), "broker");
        assert_eq!(kind_of("linkage://essai/analyst/etude"), "analyst");
        assert_eq!(kind_of("linkage://essai/party/ccas"), "other");
        assert_eq!(kind_of("spiffe://elsewhere/broker"), "other");
    }
}
