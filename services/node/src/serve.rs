//! The node as a service: it contributes to the group key, takes deliveries from its inbox, and takes part in open runs.
//!
//! It only makes outbound connections. What goes wrong is logged and tried again; a delivery that cannot be read stays
//! in the inbox until its operator has replaced it or completed the mapping.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use linkage_agreement::{Period, RunId};
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use linkage_common::metrics::metrics;
use linkage_common::ops::{NotReady, Ops};
use linkage_common::retention::Pace;
use linkage_common::tls::Channel;
use linkage_common::trace;
use linkage_proto::v1::{self, runs_client::RunsClient};

use crate::config::NodeConfig;
use crate::encoded;
use crate::error::NodeError;
use crate::line_file;
use crate::node::Node;
use crate::oprf::Evaluator;
use crate::progress::Progress;
use crate::retention;

/// Pause between two looks at inbox and broker.
pub(crate) const POLL: Duration = Duration::from_millis(500);
/// Longest pause after errors in a row.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Times that a peer may refuse an upload that was begun before deliveries wait for it no longer.
const REFUSALS: u32 = 4;
/// Pause between two looks at what persons' requests wait for.
const RECEIPTS: Duration = Duration::from_secs(3);

/// Lazily connected channels to the two peers of a node.
pub struct Peers {
    /// The broker.
    pub broker: Channel,
    /// The custodian.
    pub custodian: Channel,
}

impl Node {
    /// Channels to broker and custodian; connected when first used, again after a failure.
    pub fn peers(&self) -> Result<Peers, NodeError> {
        let agreement = self.gate.agreement();
        let connect = |url: &str, identity: &str| {
            linkage_common::tls::connect_lazy(url, &self.config.tls, identity)
                .map_err(|e| NodeError::Configuration(e.to_string()))
        };
        Ok(Peers {
            broker: connect(&self.config.broker_url, &agreement.broker.certificate_identity)?,
            custodian: connect(&self.config.custodian_url, &agreement.custodian.certificate_identity)?,
        })
    }
}

/// Works until `shutdown` resolves.
///
/// # Errors
/// What is wrong with configuration, keys or agreement, before any work is done.
pub async fn serve(config: NodeConfig, shutdown: impl Future<Output = ()>) -> Result<(), NodeError> {
    let ops = Ops::start(config.ops.as_ref(), "node", &config.state_dir).await?;
    let mut node = Node::open(config)?;
    node.audit = node.audit.by_role();
    let node = Arc::new(node);
    node.check_files()?;
    let peers = node.peers()?;
    let state = node.config.state_dir.clone();
    ops.check(NotReady::Storage, move || std::future::ready(state.is_dir()));
    linkage_common::tls::watch_dates(&node.config.tls, None);
    ops.ready(&node.gate);
    let watch = node.watch(&peers)?;
    let status = StatusFile::new(node.vault.folder().join("status.json"));
    let progress = status.progress();
    let work = async {
        let mut pause = POLL;
        let mut standing = Standing::default();
        let mut asked = None;
        let mut pace = Pace::of(&node.config.state_dir);
        loop {
            // Also after the agreement's end: then there is most to delete.
            retention::round(&node, &mut pace).await;
            pause = match round(&node, &peers, &progress, &mut standing, &mut asked).await {
                Ok(()) => POLL,
                Err(error) => {
                    tracing::warn!(%error, pause_s = pause.as_secs_f32(), "tried again later");
                    (pause * 2).min(MAX_PAUSE)
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = watch => {}
        () = ops.until(shutdown) => {}
    }
    Ok(node.audit.close()?)
}

/// One look at everything there may be to do. Uploads come before deliveries: an upload that was interrupted goes on with
/// the same bytes only while the archive is as it was.
async fn round(
    node: &Node,
    peers: &Peers,
    progress: &Progress,
    standing: &mut Standing,
    asked: &mut Option<Instant>,
) -> Result<(), NodeError> {
    // Also after the agreement's end, and before any upload.
    advance_requests(node, peers, standing, asked).await?;
    node.gate.in_force()?;
    let ceremony = node.advance_ceremony(peers.broker.clone()).await.map(drop);
    if ceremony.as_ref().is_err_and(NodeError::is_passing) {
        return ceremony;
    }
    if let Err(error) = node.refuse_during_rotation()
        && let Some(text) = standing.news(Of::GroupKey, &error)
    {
        tracing::warn!(error = text, "no run is taken part in");
    }
    let re_encoded = re_encode(node, peers, progress).await;
    // While the custodian is away, or the disk full, an upload would lack what is encoded again in a moment.
    if re_encoded.as_ref().is_err_and(|error| error.is_passing() && !error.is_refusal()) {
        return re_encoded;
    }
    let uploads = take_part(node, peers, progress, standing).await;
    let taken_in = if uploads.begun { Ok(()) } else { take_in(node, peers, progress, standing).await };
    // What is wrong with one of them holds up none of the others.
    ceremony.and(re_encoded).and(uploads.outcome).and(taken_in)
}

/// What became of a look at the runs.
struct Uploads {
    /// Whether one was begun and is to go on.
    begun: bool,
    /// The first thing that went wrong and may go better next time.
    outcome: Result<(), NodeError>,
}

/// Goes on with what persons have asked for. A role that is away holds up nothing but uploads, which see to that themselves;
/// analysts' receipts are asked for now and then only.
async fn advance_requests(
    node: &Node,
    peers: &Peers,
    standing: &mut Standing,
    asked: &mut Option<Instant>,
) -> Result<(), NodeError> {
    if !node.requests_wait()? || asked.is_some_and(|asked| asked.elapsed() < RECEIPTS) {
        return Ok(());
    }
    *asked = Some(Instant::now());
    if let Err(error) = node.advance_requests(peers).await
        && let Some(text) = standing.news(Of::Requests, &error)
    {
        tracing::warn!(error = text, "a request of a person waits");
    }
    Ok(())
}

/// Encodes again what an amendment brought a new OPRF key for.
async fn re_encode(node: &Node, peers: &Peers, progress: &Progress) -> Result<(), NodeError> {
    if !node.re_encoding_waits()? {
        return Ok(());
    }
    let mut evaluator = Evaluator::custodian(&node.gate, peers.custodian.clone())?;
    let measured = metrics().step("re-encode");
    let done = trace::step("re-encode", "", node.re_encode(&mut evaluator, progress)).await;
    measured.end(if done.is_ok() { "done" } else { "failed" });
    let done = done?;
    tracing::info!(months = done.months, records = done.records, past_epoch = done.past_epoch, "encoded again for a new epoch");
    Ok(())
}

/// Takes part in the runs that wait for this party. One that goes wrong holds up no other.
async fn take_part(node: &Node, peers: &Peers, progress: &Progress, standing: &mut Standing) -> Uploads {
    let runs = match awaited(node, peers, standing).await {
        Ok(runs) => runs,
        // Without the list nobody knows whether an upload waits to be gone on with; a broker that refuses it for good has none.
        Err(error) => return Uploads { begun: error.is_passing(), outcome: Err(error) },
    };
    let mut uploads = Uploads { begun: false, outcome: Ok(()) };
    for (id, run) in &runs {
        let done = match node.gate.order(run) {
            Ok(order) => match node.ready_for(order.terms.period) {
                Ok(true) => {
                    let measured = metrics().step("upload");
                    let taking_part = node.participate(&order, peers.broker.clone(), peers.custodian.clone(), progress);
                    let done = trace::step("upload", id.as_str(), taking_part).await.map(|_| ());
                    measured.end(if done.is_ok() { "done" } else { "failed" });
                    done
                }
                Ok(false) => continue,
                Err(error) => Err(error),
            },
            // A run that the coordinator did not order: nothing is encoded for it.
            Err(error) => Err(error.into()),
        };
        match done {
            Ok(()) => metrics().succeeded("upload", node.gate.now()),
            Err(error) if error.is_passing() => {
                uploads.begun |= standing.waits(id, &error) && node.upload_begun(id, !run.base_run.is_empty());
                uploads.outcome = uploads.outcome.and(Err(error));
            }
            // Refused for good: the other runs, and deliveries, go on.
            Err(error) => {
                if let Some(text) = standing.news(Of::Run(id.clone()), &error) {
                    tracing::error!(run = id.as_str(), error = text, "run not taken part in");
                }
            }
        }
    }
    uploads
}

/// The runs that wait for this party. What the broker lists under names that are none is no run.
async fn awaited(node: &Node, peers: &Peers, standing: &mut Standing) -> Result<Vec<(RunId, v1::RunStatus)>, NodeError> {
    let listed = RunsClient::new(peers.broker.clone()).list_runs(node.runs_asked()?).await;
    let mut runs = listed.map_err(|s| NodeError::broker(&s))?.into_inner().runs;
    node.forget_sent(&runs)?;
    let me = node.party().as_str();
    runs.retain(|run| {
        run.state() == v1::RunState::Collecting && run.parties.iter().any(|p| p == me) && !run.committed.iter().any(|p| p == me)
    });
    let named = |run: v1::RunStatus| run.run_id.parse().ok().map(|id| (id, run));
    let runs: Vec<(RunId, v1::RunStatus)> = runs.into_iter().filter_map(named).collect();
    standing.keep(&runs.iter().map(|(id, _)| id).collect());
    Ok(runs)
}

/// Takes in what lies in the inbox.
async fn take_in(node: &Node, peers: &Peers, progress: &Progress, standing: &mut Standing) -> Result<(), NodeError> {
    let mut outcome = Ok(());
    for (period, file) in inbox(node)? {
        let mut evaluator = Evaluator::custodian(&node.gate, peers.custodian.clone())?;
        let measured = metrics().step("ingest");
        let taken_in = trace::step("ingest", "", node.ingest(&file, period, &mut evaluator, progress)).await;
        measured.end(if taken_in.is_ok() { "done" } else { "failed" });
        match taken_in {
            Ok(summary) => {
                metrics().succeeded("ingest", node.gate.now());
                metrics().records("ingest", summary.records);
                // Archived, and kept sealed until names are deleted: the clear copy goes.
                remove_taken_in(&file, node.line_file(&file).as_deref(), &summary.digest)?;
                standing.reported.remove(&Of::Month(period));
            }
            Err(error) if error.is_passing() && !error.is_refusal() => return Err(error),
            Err(error) => {
                if let Some(text) = standing.news(Of::Month(period), &error) {
                    tracing::error!(period = %period, error = text, "delivery not taken in; it stays in the inbox");
                }
                // The other months go on; this one is tried again at longer and longer intervals.
                if matches!(error, NodeError::Peer { .. }) {
                    outcome = outcome.and(Err(error));
                }
            }
        }
    }
    outcome
}

/// Removes a delivery from the inbox, and its line file, if it is still of this digest: one that replaced it meanwhile stays,
/// and is taken in at the next look.
fn remove_taken_in(file: &Path, lines: Option<&Path>, digest: &str) -> Result<(), NodeError> {
    if encoded::digest_of(file, lines)? != digest {
        return Ok(());
    }
    // The delivery first: a line file left alone is no delivery.
    fs::remove_file(file)?;
    lines.map_or(Ok(()), fs::remove_file).map_err(Into::into)
}

/// What an error was reported of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Of {
    Run(RunId),
    Month(Period),
    Requests,
    GroupKey,
}

/// What stands from one look to the next: errors that were reported, and how often peers refused uploads.
#[derive(Default)]
struct Standing {
    reported: HashMap<Of, String>,
    refusals: HashMap<RunId, u32>,
}

impl Standing {
    /// The error's text, unless it was the last one reported of the same thing.
    fn news(&mut self, of: Of, error: &NodeError) -> Option<String> {
        let text = error.to_string();
        (self.reported.insert(of, text.clone()).as_ref() != Some(&text)).then_some(text)
    }

    /// Whether deliveries are to wait for an upload that ended so: while a peer is away, and for a few refusals.
    fn waits(&mut self, run: &RunId, error: &NodeError) -> bool {
        if !error.is_refusal() {
            return true;
        }
        let refusals = self.refusals.entry(run.clone()).or_default();
        *refusals = refusals.saturating_add(1);
        *refusals < REFUSALS
    }

    /// Forgets runs but these: a broker may name as many as it likes.
    fn keep(&mut self, runs: &HashSet<&RunId>) {
        self.reported.retain(|of, _| !matches!(of, Of::Run(run) if !runs.contains(run)));
        self.refusals.retain(|run, _| runs.contains(run));
    }
}

/// Files in the inbox: one a period, in a folder named for it.
fn inbox(node: &Node) -> Result<Vec<(Period, PathBuf)>, NodeError> {
    let Some(folder) = &node.config.inbox_dir else { return Ok(Vec::new()) };
    let beside = |path: &Path| node.profile().is_some() && line_file::is_one(path);
    let mut found = Vec::new();
    for entry in entries(folder)? {
        let Some(period) = entry.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse::<Period>().ok()) else { continue };
        let files: Vec<PathBuf> = entries(&entry)?.into_iter().filter(|p| p.is_file() && !hidden(p) && !beside(p)).collect();
        match files.as_slice() {
            [] => {}
            [file] => found.push((period, file.clone())),
            _ => tracing::error!(period = %period, files = files.len(), "several files in one period's inbox; leave one"),
        }
    }
    found.sort();
    Ok(found)
}

fn hidden(path: &Path) -> bool {
    path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(['.', '~']) || n.ends_with(".part"))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, NodeError> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.collect::<Result<Vec<_>, _>>()?.into_iter().map(|e| e.path()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// What the node is doing, for whoever watches: step, done, total.
#[derive(Clone)]
struct StatusFile {
    path: Arc<PathBuf>,
}

impl StatusFile {
    fn new(path: PathBuf) -> Self {
        Self { path: Arc::new(path) }
    }
    fn progress(&self) -> Progress {
        let path = self.path.clone();
        Progress::to(move |step, done, total| {
            let text = serde_json::json!({ "step": step, "done": done, "total": total }).to_string();
            if let Err(error) = fsx::write_atomic(&path, text.as_bytes()) {
                tracing::debug!(error = %ServiceError::from(error), "status file not written");
            }
        })
        .logged()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    fn refusal(code: tonic::Code) -> NodeError {
        NodeError::broker(&tonic::Status::new(code, "essai"))
    }

    #[test]
    fn what_is_remembered_of_runs_is_bounded_by_the_list() {
        let mut standing = Standing::default();
        let error = refusal(tonic::Code::PermissionDenied);
        let months: Vec<Period> = ["2026-01", "2026-02"].map(|month| month.parse().unwrap()).to_vec();
        for month in &months {
            assert!(standing.news(Of::Month(*month), &error).is_some());
        }
        for round in 0..100 {
            let runs: Vec<RunId> = (0..10).map(|n| format!("r-{round}-{n}").parse().unwrap()).collect();
            standing.keep(&runs.iter().collect());
            for run in &runs {
                assert!(standing.news(Of::Run(run.clone()), &error).is_some());
                assert!(standing.news(Of::Run(run.clone()), &error).is_none(), "told once");
                standing.waits(run, &refusal(tonic::Code::Internal));
            }
        }
        assert_eq!((standing.reported.len(), standing.refusals.len()), (12, 10));
        // A run that is called like a month is not the month.
        let run: RunId = "2026-01".parse().unwrap();
        assert!(standing.news(Of::Run(run), &error).is_some());
    }

    #[test]
    fn deliveries_wait_for_a_peer_that_is_away_and_not_for_one_that_refuses() {
        let (mut standing, run) = (Standing::default(), "r".parse().unwrap());
        let mut waits = |error: &NodeError| (0..10).filter(|_| standing.waits(&run, error)).count();
        assert_eq!(waits(&refusal(tonic::Code::Unavailable)), 10);
        assert_eq!(waits(&NodeError::DiskFull), 10);
        assert_eq!(waits(&refusal(tonic::Code::ResourceExhausted)), REFUSALS as usize - 1);
        assert_eq!(waits(&refusal(tonic::Code::Internal)), 0, "the same run");
    }

    #[test]
    fn a_file_that_replaced_the_one_taken_in_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("delivery.csv");
        let taken_in = hex::encode(Sha256::digest(b"first"));
        fsx::write_atomic(&file, b"corrected").unwrap();
        remove_taken_in(&file, None, &taken_in).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"corrected");
        fsx::write_atomic(&file, b"first").unwrap();
        remove_taken_in(&file, None, &taken_in).unwrap();
        assert!(!file.try_exists().unwrap());
    }
}
