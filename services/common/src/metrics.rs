//! The metrics of a role, as Prometheus reads them from the operations listener ([`crate::ops`]).
//!
//! Who reads them is not bound by the agreement (a hosting team, its monitoring), so that nothing here tells anything of a
//! person, a run or a partner: labels come from fixed lists in the source, none holds a run, a party, a certificate or an
//! identifier; counts of records are rounded up to whole hundreds before they are added, bytes to whole mebibytes for each
//! call, free disk space down to 64 MiB. `tests/tests/ops.rs` holds a federation to it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;

/// Records are counted in whole hundreds.
pub const RECORD_FLOOR: u64 = 100;
/// Bytes of a call are counted in whole mebibytes.
const BYTE_FLOOR: u64 = 1 << 20;
/// Free space is told in whole steps of this many bytes.
const DISK_FLOOR: u64 = 64 << 20;
/// Methods that are told apart; more than all services have together.
const MAX_METHODS: usize = 256;
/// Seconds of a call.
const CALL_BUCKETS: [f64; 10] = [0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0, 300.0, 1800.0];
/// Seconds of a step of a run.
const STEP_BUCKETS: [f64; 9] = [0.1, 1.0, 5.0, 20.0, 60.0, 300.0, 1200.0, 3600.0, 14_400.0];

/// Which end of a call this role was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A peer called.
    Served,
    /// This role called.
    Made,
}

impl Side {
    fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Made => "made",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    side: &'static str,
    method: String,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    side: &'static str,
    method: String,
}

/// One label whose values are words of the source.
macro_rules! word_label {
    ($($name:ident { $field:ident })*) => {$(
        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name {
            $field: &'static str,
        }
    )*};
}
word_label! {
    SideLabel { side }
    ReasonLabel { reason }
    StepLabel { step }
    StateLabel { state }
    TransactionLabel { transaction }
    TaskLabel { task }
    ClassLabel { class }
    PeerLabel { peer }
    CertificateLabel { certificate }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    step: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    role: &'static str,
    version: &'static str,
}

type Counters<L> = Family<L, Counter>;
type Gauges<L> = Family<L, Gauge>;
type Seconds<L> = Family<L, Histogram, fn() -> Histogram>;

/// What is looked up when the metrics are read.
type Look = Box<dyn Fn(&Metrics) + Send + Sync>;

/// The metrics of this process.
pub struct Metrics {
    registry: Registry,
    build: Gauges<BuildLabels>,
    ready: Gauge,
    in_force: Gauge,
    methods: Mutex<BTreeSet<String>>,
    calls: Counters<CallLabels>,
    call_seconds: Seconds<MethodLabels>,
    received: Counters<SideLabel>,
    sent: Counters<SideLabel>,
    connections: Gauge,
    accepted: Counter,
    refused: Counters<ReasonLabel>,
    limited: Counters<ClassLabel>,
    steps: Counters<OutcomeLabels>,
    step_seconds: Seconds<StepLabel>,
    steps_running: Gauges<StepLabel>,
    runs: Gauges<StateLabel>,
    leases: Gauge,
    leases_lost: Counter,
    retries: Counters<TransactionLabel>,
    success: Gauges<TaskLabel>,
    failures: Counters<TaskLabel>,
    records: Counters<TaskLabel>,
    deletions: Counters<ClassLabel>,
    skew: Family<PeerLabel, Gauge<f64, AtomicU64>>,
    certificates: Gauges<CertificateLabel>,
    disk: Gauge,
    looks: Mutex<Vec<Look>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(..)")
    }
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// The metrics of this process.
pub fn metrics() -> &'static Metrics {
    &METRICS
}

fn call_histogram() -> Histogram {
    Histogram::new(CALL_BUCKETS)
}

fn step_histogram() -> Histogram {
    Histogram::new(STEP_BUCKETS)
}

impl Metrics {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("linkage");
        macro_rules! registered {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
            ($name:literal, $unit:expr, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register_with_unit($name, $help, $unit, metric.clone());
                metric
            }};
        }
        let calls = call_histogram as fn() -> Histogram;
        let steps = step_histogram as fn() -> Histogram;
        Self {
            build: registered!("build", "Role and version of this process", Gauges::default()),
            ready: registered!("ready", "1 while the role can work", Gauge::default()),
            in_force: registered!("agreement_in_force", "1 while the agreement is in force", Gauge::default()),
            methods: Mutex::default(),
            calls: registered!("calls", "Calls by method and outcome", Counters::default()),
            call_seconds: registered!("call_duration", Unit::Seconds, "Duration of calls", Family::new_with_constructor(calls)),
            received: registered!(
                "received",
                Unit::Bytes,
                "Bytes of messages received, each call rounded up to MiB",
                Family::default()
            ),
            sent: registered!("sent", Unit::Bytes, "Bytes of messages sent, each call rounded up to MiB", Family::default()),
            connections: registered!("connections_open", "Connections of peers that stand", Gauge::default()),
            accepted: registered!("connections", "Connections of peers whose handshake passed", Counter::default()),
            refused: registered!("connections_refused", "Connections refused", Counters::default()),
            limited: registered!("calls_limited", "Calls refused by the limits on their rate", Counters::default()),
            steps: registered!("steps", "Steps of runs by outcome", Counters::default()),
            step_seconds: registered!(
                "step_duration",
                Unit::Seconds,
                "Duration of steps of runs",
                Family::new_with_constructor(steps)
            ),
            steps_running: registered!("steps_running", "Steps of runs under way", Gauges::default()),
            runs: registered!("runs", "Runs by state", Gauges::default()),
            leases: registered!("leases_held", "Runs that this worker owns", Gauge::default()),
            leases_lost: registered!("leases_lost", "Leases that another worker took over", Counter::default()),
            retries: registered!("database_retries", "Transactions repeated", Counters::default()),
            success: registered!("last_success_timestamp", Unit::Seconds, "When a task last ended well", Family::default()),
            failures: registered!("task_failures", "Tasks that failed and are tried again", Counters::default()),
            records: registered!("records", "Records handled, rounded up to hundreds each time", Counters::default()),
            deletions: registered!("deletions", "Deletions carried out, by class of data", Counters::default()),
            skew: registered!("clock_skew", Unit::Seconds, "A peer's clock less this one's", Family::default()),
            certificates: registered!(
                "certificate_expiry_timestamp",
                Unit::Seconds,
                "When certificate, authority or revocation list end",
                Family::default()
            ),
            disk: registered!(
                "disk_free",
                Unit::Bytes,
                "Free space where the role keeps its data, in steps of 64 MiB",
                Gauge::default()
            ),
            looks: Mutex::new(Vec::new()),
            registry,
        }
    }

    /// Says what this process is.
    pub fn role(&self, role: &'static str) {
        self.build.get_or_create(&BuildLabels { role, version: env!("CARGO_PKG_VERSION") }).set(1);
    }

    /// Calls `look` each time the metrics are read.
    pub fn at_reading(&self, look: impl Fn(&Self) + Send + Sync + 'static) {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(look));
    }

    /// Watches the disk that `folder` is on.
    pub fn watch_disk(&self, folder: &Path) {
        let folder: PathBuf = folder.to_owned();
        self.at_reading(move |metrics| {
            if let Some(free) = crate::fsx::free_bytes(&folder) {
                metrics.disk.set(i64::try_from(free / DISK_FLOOR * DISK_FLOOR).unwrap_or(i64::MAX));
            }
        });
    }

    /// Everything in OpenMetrics text, which Prometheus reads (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
    ///
    /// # Errors
    /// None that a reader can cause.
    pub fn render(&self) -> Result<String, fmt::Error> {
        for look in &*self.looks.lock().unwrap_or_else(PoisonError::into_inner) {
            look(self);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Whether the role can work, and whether its agreement is in force.
    pub fn state(&self, ready: bool, in_force: bool) {
        self.ready.set(i64::from(ready));
        self.in_force.set(i64::from(in_force));
    }

    /// One call that ended. `method` is its path; one that no service knows is counted as `other`.
    pub fn call(&self, side: Side, method: &str, code: Code, seconds: f64, received: u64, sent: u64) {
        let method = self.known_method(method.trim_start_matches('/'), code);
        self.call_seconds.get_or_create(&MethodLabels { side: side.as_str(), method: method.clone() }).observe(seconds);
        self.calls.get_or_create(&CallLabels { side: side.as_str(), method, code: code_name(code) }).inc();
        let side = SideLabel { side: side.as_str() };
        self.received.get_or_create(&side).inc_by(rounded_up(received, BYTE_FLOOR));
        self.sent.get_or_create(&side).inc_by(rounded_up(sent, BYTE_FLOOR));
    }

    /// The method's label: paths are a peer's words, until a service has answered to one.
    fn known_method(&self, method: &str, code: Code) -> String {
        let mut known = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(method) {
            if code == Code::Unimplemented || known.len() >= MAX_METHODS {
                return "other".to_owned();
            }
            known.insert(method.to_owned());
        }
        method.to_owned()
    }

    /// A connection whose handshake passed; counted as open until what is returned is dropped.
    pub fn connection(&self) -> OpenConnection {
        self.accepted.inc();
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// A connection that was refused: `full`, `handshake`, `slow`.
    pub fn connection_refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// A call that its peer made too soon after others of the same class.
    pub fn limited(&self, class: &'static str) {
        self.limited.get_or_create(&ClassLabel { class }).inc();
    }

    /// A step of a run begins; [`Step::end`] says how it ended.
    pub fn step(&self, step: &'static str) -> Step {
        let running = self.steps_running.get_or_create_owned(&StepLabel { step });
        running.inc();
        Step { step, began: Instant::now(), running }
    }

    /// How many runs are in each state.
    pub fn runs(&self, states: impl IntoIterator<Item = (&'static str, usize)>) {
        for (state, runs) in states {
            self.runs.get_or_create(&StateLabel { state }).set(i64::try_from(runs).unwrap_or(i64::MAX));
        }
    }

    /// This worker owns so many runs.
    pub fn leases(&self, held: usize) {
        self.leases.set(i64::try_from(held).unwrap_or(i64::MAX));
    }

    /// A lease ran out and another worker took the run over.
    pub fn lease_lost(&self) {
        self.leases_lost.inc();
    }

    /// A transaction of this name is done again.
    pub fn database_retry(&self, transaction: &'static str) {
        self.retries.get_or_create(&TransactionLabel { transaction }).inc();
    }

    /// A task (`fetch`, `ingest`, `upload`, `register`, …) ended well at `now`, seconds since 1970.
    pub fn succeeded(&self, task: &'static str, now: i64) {
        self.success.get_or_create(&TaskLabel { task }).set(now);
    }

    /// A task failed and is tried again.
    pub fn failed(&self, task: &'static str) {
        self.failures.get_or_create(&TaskLabel { task }).inc();
    }

    /// A task handled so many records.
    pub fn records(&self, task: &'static str, records: u64) {
        self.records.get_or_create(&TaskLabel { task }).inc_by(rounded_up(records, RECORD_FLOOR));
    }

    /// Something of this class of data was deleted.
    pub fn deleted(&self, class: &'static str) {
        self.deletions.get_or_create(&ClassLabel { class }).inc();
    }

    /// A peer's clock less this one's, in seconds.
    pub fn clock_skew(&self, peer: &'static str, seconds: f64) {
        self.skew.get_or_create(&PeerLabel { peer }).set(seconds);
    }

    /// A certificate (`own`, `authority`, `revocation-list`) ends at `at`, seconds since 1970.
    pub fn certificate_ends(&self, certificate: &'static str, at: i64) {
        self.certificates.get_or_create(&CertificateLabel { certificate }).set(at);
    }
}

/// A connection that stands.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A step under way. Dropped without [`Self::end`] it was cut off.
#[derive(Debug)]
pub struct Step {
    step: &'static str,
    began: Instant,
    running: Gauge,
}

impl Step {
    /// The step ended: `done`, `postponed`, `failed`.
    pub fn end(self, outcome: &'static str) {
        let metrics = metrics();
        metrics.steps.get_or_create(&OutcomeLabels { step: self.step, outcome }).inc();
        metrics.step_seconds.get_or_create(&StepLabel { step: self.step }).observe(self.began.elapsed().as_secs_f64());
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.running.dec();
    }
}

/// `count` rounded up to a multiple of `floor`.
fn rounded_up(count: u64, floor: u64) -> u64 {
    count.div_ceil(floor).saturating_mul(floor)
}

/// The code as gRPC spells it (<https://grpc.io/docs/guides/status-codes/>).
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_in_whole_steps_only() {
        assert_eq!([0, 1, 100, 101].map(|n| rounded_up(n, RECORD_FLOOR)), [0, 100, 100, 200]);
        let own = Metrics::new();
        own.records("upload", 4321);
        own.call(Side::Served, "/linkage.v1.Runs/PutBatches", Code::Ok, 0.3, 5 << 20, 7);
        let text = own.render().unwrap();
        assert!(text.contains("linkage_records_total{task=\"upload\"} 4400\n"), "{text}");
        assert!(text.contains("linkage_received_bytes_total{side=\"served\"} 5242880\n"), "{text}");
        assert!(text.contains("linkage_sent_bytes_total{side=\"served\"} 1048576\n"), "{text}");
        assert!(text.contains("linkage_calls_total{side=\"served\",method=\"linkage.v1.Runs/PutBatches\",code=\"OK\"} 1\n"));
    }

    #[test]
    fn a_peer_cannot_fill_the_metrics_with_methods_of_its_own() {
        let own = Metrics::new();
        for n in 0..1000 {
            own.call(Side::Served, &format!("/made.up/{n}"), Code::Unimplemented, 0.1, 0, 0);
        }
        let text = own.render().unwrap();
        assert!(!text.contains("made.up"));
        assert!(text.contains("method=\"other\",code=\"UNIMPLEMENTED\"} 1000\n"), "{text}");
    }
}
