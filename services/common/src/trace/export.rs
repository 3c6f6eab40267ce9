//! Sending spans to a collector (OTLP over gRPC), where `LINKAGE_OTLP_ENDPOINT` names one.
//!
//! The collector is the host's own, beside the role or in its network: `http://host:4317`. Work never waits for it: spans that
//! find the queue full, or the collector away, are dropped and counted in the log.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use linkage_proto::otlp::trace_service_client::TraceServiceClient;
use linkage_proto::otlp::{
    AnyValue, ExportTraceServiceRequest, InstrumentationScope, KeyValue, Resource, ResourceSpans, ScopeSpans, Span, SpanStatus,
};
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Endpoint;

use super::Ended;

/// The environment variable that names the collector.
pub const VARIABLE: &str = "LINKAGE_OTLP_ENDPOINT";
/// Spans that wait to be sent.
const QUEUE: usize = 4096;
/// Spans of one request.
const BATCH: usize = 512;
/// Longest wait until a span is sent.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest wait for the collector.
const TIMEOUT: Duration = Duration::from_secs(5);

enum Message {
    Span(Ended),
    Flush(oneshot::Sender<()>),
}

static SENDER: OnceLock<mpsc::Sender<Message>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The address is none that spans can be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{VARIABLE} : attendu http://hôte:port, l'adresse OTLP/gRPC d'un collecteur de l'hébergeur")]
pub struct EndpointError;

/// Begins to send to `endpoint`. Must be called within a tokio runtime; a second call changes nothing.
///
/// # Errors
/// [`EndpointError`].
pub fn start(endpoint: &str) -> Result<(), EndpointError> {
    let endpoint = Endpoint::from_shared(endpoint.to_owned()).map_err(|_| EndpointError)?;
    if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().host().is_none() {
        return Err(EndpointError);
    }
    let (send, receive) = mpsc::channel(QUEUE);
    if SENDER.set(send).is_ok() {
        let endpoint = endpoint.connect_timeout(TIMEOUT).timeout(TIMEOUT);
        #[expect(
            clippy::disallowed_methods,
            reason = "the host's own collector, which no agreement names and which sees no data"
        )]
        let channel = endpoint.connect_lazy();
        tokio::spawn(export(receive, TraceServiceClient::new(channel)));
    }
    Ok(())
}

/// Hands a span over, if there is a collector.
pub(super) fn offer(span: impl FnOnce() -> Ended) {
    if let Some(sender) = SENDER.get()
        && sender.try_send(Message::Span(span())).is_err()
    {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits, not for long, until what has ended so far is sent: before a process ends.
pub async fn flush() {
    let Some(sender) = SENDER.get() else { return };
    let (done, finished) = oneshot::channel();
    if sender.try_send(Message::Flush(done)).is_ok() {
        let _ = tokio::time::timeout(TIMEOUT, finished).await;
    }
}

async fn export(mut spans: mpsc::Receiver<Message>, mut collector: TraceServiceClient<tonic::transport::Channel>) {
    let mut ticks = tokio::time::interval(PAUSE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut waiting: Vec<Ended> = Vec::new();
    loop {
        let flushed = tokio::select! {
            message = spans.recv() => match message {
                None => return,
                Some(Message::Span(span)) => {
                    waiting.push(span);
                    if waiting.len() < BATCH {
                        continue;
                    }
                    None
                }
                Some(Message::Flush(done)) => Some(done),
            },
            _ = ticks.tick() => None,
        };
        if !waiting.is_empty() {
            let lost = DROPPED.swap(0, Ordering::Relaxed);
            let count = waiting.len();
            if let Err(status) = collector.export(request(std::mem::take(&mut waiting))).await {
                tracing::warn!(code = ?status.code(), spans = count, "collector of traces away, spans dropped");
            }
            if lost > 0 {
                tracing::warn!(spans = lost, "too many spans at a time, some dropped");
            }
        }
        if let Some(done) = flushed {
            let _ = done.send(());
        }
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { string_value: value.to_owned() }) }
}

fn request(ended: Vec<Ended>) -> ExportTraceServiceRequest {
    let spans = ended.into_iter().map(|span| Span {
        trace_id: span.context.trace.to_be_bytes().to_vec().into(),
        span_id: span.context.span.to_be_bytes().to_vec().into(),
        parent_span_id: span.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default().into(),
        name: span.name,
        kind: span.kind as i32,
        start_time_unix_nano: span.from,
        end_time_unix_nano: span.until,
        attributes: vec![attribute("linkage.outcome", span.outcome)],
        status: Some(SpanStatus { code: if span.well { 1 } else { 2 } }),
    });
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let scope = InstrumentationScope { name: "linkage".to_owned(), version: version.clone() };
    let resource = Resource {
        attributes: vec![
            attribute("service.namespace", "linkage"),
            attribute("service.name", crate::telemetry::role()),
            attribute("service.version", &version),
        ],
    };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: spans.collect() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans }] }
}
