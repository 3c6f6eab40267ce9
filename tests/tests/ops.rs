//! What a role's operators see of it: probes, metrics, traces, logs; and that none of it names anybody or counts anyone's records.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use linkage_proto::otlp::trace_service_server::{TraceService, TraceServiceServer};
use linkage_proto::otlp::{ExportTraceServiceRequest, ExportTraceServiceResponse, Span};
use linkage_tests::federation::{Federation, Role, files, free_port, wait_for};
use linkage_tests::needles::Needles;
use tonic::{Request, Response, Status};

/// The month of the data.
const MONTH: &str = "2024-01";

/// Labels that metrics may bear: each has values from a list in the source.
const LABELS: [&str; 15] = [
    "role",
    "version",
    "side",
    "method",
    "code",
    "reason",
    "class",
    "step",
    "outcome",
    "state",
    "transaction",
    "task",
    "peer",
    "certificate",
    "le",
];

/// One request over HTTP/1.1; status and body.
fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n")?.1.to_owned();
    Some((status, body))
}

/// Gives every role a listener; their addresses.
fn open_listeners(site: &Federation) -> Vec<(Role, String)> {
    let opened = site.roles().into_iter().map(|role| {
        let address = format!("127.0.0.1:{}", free_port());
        let path = site.config(&role);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}\n[ops]\nlisten = \"{address}\"\n")).unwrap();
        (role, address)
    });
    opened.collect()
}

#[test]
fn metrics_traces_and_logs_of_a_run_name_nobody_and_count_nobodys_records() {
    let mut site = Federation::set_up(400, 1, 11);
    let listeners = open_listeners(&site);
    let (collector, spans) = collector();
    site.environment = vec![
        ("LINKAGE_OTLP_ENDPOINT".to_owned(), format!("http://{collector}")),
        ("LINKAGE_LOG_FORMAT".to_owned(), "json".to_owned()),
    ];
    site.start_all();
    for (role, address) in &listeners {
        let ready = wait_for(&format!("{role:?} is ready"), || get(address, "/readyz").filter(|(status, _)| *status == 200));
        assert_eq!(ready.1, "ready\n", "{role:?}");
        assert_eq!(get(address, "/healthz").unwrap(), (200, "ok\n".to_owned()));
        for other in ["/", "/config", "/debug", "/metrics/"] {
            assert_eq!(get(address, other).unwrap().0, 404, "{role:?} {other}");
        }
    }
    site.deliver(MONTH);
    site.wait_ingested(MONTH);
    site.open_run("r1", MONTH);
    site.wait_closed("r1");

    let status = site.run_status("r1").unwrap();
    assert_eq!((&status["done"], &status["total"]), (&5.into(), &5.into()));
    assert_eq!(status["awaited"].as_array().unwrap().len(), 0);

    // What the run held is deleted once it is closed.
    let broker = &listeners.iter().find(|(role, _)| *role == Role::Broker).unwrap().1;
    wait_for("the broker counts the deletion", || {
        get(broker, "/metrics").filter(|(_, text)| text.contains("\nlinkage_deletions_total{")).map(drop)
    });
    let exact: BTreeSet<String> = counts(&site, MONTH);
    let mut seen = BTreeSet::new();
    for (role, address) in &listeners {
        let (status, text) = get(address, "/metrics").unwrap();
        assert_eq!(status, 200);
        assert!(text.ends_with("# EOF\n"), "{role:?}: not a whole OpenMetrics text");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.starts_with("linkage_"), "{line}");
            let (name, value) = line.rsplit_once(' ').unwrap();
            seen.insert(name.split('{').next().unwrap().to_owned());
            if let Some((metric, labels)) = name.split_once('{') {
                for label in labels.trim_end_matches('}').split("\",").map(|pair| pair.split('=').next().unwrap()) {
                    assert!(LABELS.contains(&label), "{role:?}: label {label} in {line}");
                }
                for name in site.parties.iter().map(String::as_str).chain(["r1", MONTH, "linkage://"]) {
                    assert!(!labels.contains(&format!("\"{name}")), "{role:?}: {name} in {metric}: {line}");
                }
            }
            if name.starts_with("linkage_records_total") {
                assert_eq!(value.parse::<u64>().unwrap() % 100, 0, "{role:?}: {line}");
                assert!(!exact.contains(value), "{role:?}: an exact count in {line}");
            }
        }
    }
    for expected in [
        "linkage_calls_total",
        "linkage_call_duration_seconds_count",
        "linkage_connections_total",
        "linkage_steps_total",
        "linkage_step_duration_seconds_sum",
        "linkage_runs",
        "linkage_records_total",
        "linkage_last_success_timestamp_seconds",
        "linkage_certificate_expiry_timestamp_seconds",
        "linkage_clock_skew_seconds",
        "linkage_disk_free_bytes",
        "linkage_agreement_in_force",
        "linkage_deletions_total",
    ] {
        assert!(seen.contains(expected), "{expected} is told by no role: {seen:?}");
    }

    traces(&spans);
    site.stop_all();
    let canonical: Vec<PathBuf> = files(&site.folder.join("donnees/canonical")).into_iter().map(|f| f.1).collect();
    let needles = Needles::of_canonical(canonical.iter().map(PathBuf::as_path), &site.public_text());
    assert!(needles.count() > 300, "{}", needles.count());
    for role in site.roles() {
        let text = site.log_text(&role);
        assert_eq!(needles.scan(text.as_bytes()), [], "log of {role:?}");
        for line in text.lines() {
            let parsed: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{role:?}: {e}: {line}"));
            assert!(parsed.get("timestamp").is_some() && parsed.get("level").is_some(), "{line}");
        }
    }
    let broker = site.log_text(&Role::Broker);
    let step = broker.lines().find(|line| line.contains("\"step\"") && line.contains("\"trace\"")).expect("no step in the log");
    for field in ["\"role\":\"broker\"", "\"run\":\"r1\""] {
        assert!(step.contains(field), "{field} is not in {step}");
    }
}

/// Exact numbers that must be nowhere: each party's lines, and all lines of the month.
fn counts(site: &Federation, month: &str) -> BTreeSet<String> {
    let truth = std::fs::read_to_string(site.folder.join("donnees/truth/truth.csv")).unwrap();
    let of = |party: Option<&str>| {
        let rows = truth.lines().filter(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            cells[1] == month && party.is_none_or(|party| cells[0] == party)
        });
        rows.count()
    };
    let all = site.parties.iter().map(|party| of(Some(party))).chain([of(None)]);
    all.filter(|count| count % 100 != 0).map(|count| count.to_string()).collect()
}

/// The run's spans are of several roles in common traces, and bear nothing but fixed words.
fn traces(spans: &Arc<Mutex<Vec<(String, Span)>>>) {
    let joined = wait_for("a call of the broker's within a trace of a node's", || {
        let spans = spans.lock().unwrap();
        let made: BTreeSet<&[u8]> = spans.iter().filter(|(_, s)| s.kind == 3).map(|(_, s)| s.span_id.as_ref()).collect();
        let served = spans.iter().filter(|(role, s)| role == "broker" && s.kind == 2);
        let joined = served.filter(|(_, s)| made.contains(s.parent_span_id.as_ref())).count();
        let steps = spans.iter().filter(|(_, s)| s.kind == 1 && s.name == "compare").count();
        (joined > 0 && steps > 0).then_some(joined)
    });
    assert!(joined > 0);
    for (role, span) in &*spans.lock().unwrap() {
        assert!(["broker", "custodian", "analyst", "node", "command"].contains(&role.as_str()), "{role}");
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        let known = span.name.starts_with("linkage.v1.")
            || span.name.starts_with("grpc.health.v1.")
            || ["compare", "settle", "cluster", "deliver", "delete", "upload", "ingest", "other"].contains(&span.name.as_str());
        assert!(known, "span {}", span.name);
        for attribute in &span.attributes {
            assert_eq!(attribute.key, "linkage.outcome");
            let value = &attribute.value.as_ref().unwrap().string_value;
            assert!(value.chars().all(|c| c.is_ascii_alphabetic() || c == '_'), "{value}");
        }
    }
}

type Spans = Arc<Mutex<Vec<(String, Span)>>>;

struct Collector(Spans);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(&self, request: Request<ExportTraceServiceRequest>) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of_role in request.into_inner().resource_spans {
            let attributes = of_role.resource.unwrap().attributes;
            let name = attributes.iter().find(|a| a.key == "service.name").unwrap();
            let role = name.value.as_ref().unwrap().string_value.clone();
            let spans = of_role.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().unwrap().extend(spans.map(|span| (role.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse {}))
    }
}

/// A collector of traces on loopback, for as long as the test lasts.
fn collector() -> (std::net::SocketAddr, Spans) {
    let spans = Spans::default();
    let kept = spans.clone();
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(Collector(kept)));
            server.serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener)).await.unwrap();
        });
    });
    (address.recv().unwrap(), spans)
}

#[test]
fn a_role_that_cannot_work_says_so_with_one_word() {
    let mut site = Federation::set_up(60, 1, 12);
    let listeners = open_listeners(&site);
    let at = |role: &Role| listeners.iter().find(|(other, _)| other == role).unwrap().1.clone();
    site.start(&Role::Custodian);
    let address = at(&Role::Custodian);
    wait_for("the custodian is ready", || get(&address, "/readyz").filter(|(status, _)| *status == 200));
    // A notice that cannot be read: every call is refused until it can.
    let notices = PathBuf::from(site.setting(&Role::Custodian, "terminations"));
    std::fs::create_dir_all(&notices).unwrap();
    std::fs::write(notices.join("avis.toml"), "illisible [").unwrap();
    let told = wait_for("the custodian is not ready", || get(&address, "/readyz").filter(|(status, _)| *status == 503));
    assert_eq!(told.1, "agreement-unreadable\n");
    let metrics = get(&address, "/metrics").unwrap().1;
    assert!(metrics.contains("linkage_ready 0\n"), "{metrics}");
    // It lives all the same.
    assert_eq!(get(&address, "/healthz").unwrap().0, 200);
    assert!(files(&notices).len() == 1);
}
