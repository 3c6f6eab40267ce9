//! The broker's worker: leases a run, does its next step, stores the outcome, moves on.
//!
//! A step ([`steps`]) reads what earlier steps stored and writes its own output whole ([`outputs`]), so that a worker killed
//! anywhere leaves a run that the next one takes up at the step that was not finished. A step done twice gives the same.

mod outputs;
mod steps;

use std::path::PathBuf;
use std::time::Duration;

use linkage_agreement::RunId;
use linkage_common::audit::Act;
use linkage_common::blob::BlobStore;
use linkage_common::error::{ErrorKind, ServiceError};
use linkage_common::metrics::metrics;
use linkage_common::tls::Channel;
use linkage_common::trace;
use linkage_proto::v1::{dispositions_client::DispositionsClient, registry_client::RegistryClient};

use crate::jobs::Step;
use crate::retention::Retention;
use crate::service::{Broker, Spawned};
use crate::store::{Run, State, Store};

/// How long a worker owns a run before another may take it over; prolonged while it works.
const LEASE_S: i64 = 30;
/// How often a lease is prolonged: two attempts may fail before it ends.
const RENEW: Duration = Duration::from_secs(LEASE_S as u64 / 3);
/// How often the worker looks for work by itself.
const IDLE: Duration = Duration::from_secs(2);
/// Longest wait before a step is tried again.
const MAX_PAUSE_S: i64 = 300;
/// Attempts after which a fault that should have been mended by then ends the run: about a day of them.
const MAX_ATTEMPTS: u32 = 300;
/// Leases in a row of which nothing came, not even a fault, before the run ends: a linkage that takes more memory than there is
/// is killed each time, and would hold up all others.
const MAX_TRIES: u32 = 20;

/// A worker and what it needs.
pub struct Worker {
    /// Stores shared with the gRPC side.
    pub broker: Broker,
    /// Outputs of steps, apart from the uploads.
    pub outputs: BlobStore,
    /// Folder of what a linkage cannot hold in memory; removed after it.
    pub spill: PathBuf,
    /// Folder of the tokens of runs that are held.
    pub held: PathBuf,
    /// Whether other replicas take up what this one did: tokens of runs that are held are kept with the outputs then, and in
    /// the folder only while they are made or read.
    pub shared: bool,
    /// Memory that a linkage may take, in bytes.
    pub memory_bytes: u64,
    /// The custodian.
    pub custodian: RegistryClient<Channel>,
    /// The custodian, for pairs that their owners have settled.
    pub dispositions: DispositionsClient<Channel>,
    /// What ends by itself, and certificates.
    pub retention: Retention,
    /// This worker's name in leases, drawn at start.
    pub owner: String,
}

/// What a step that is done is called in the audit log.
fn act(step: Step) -> &'static str {
    match step {
        Step::Compare => "run.compared",
        Step::Settle => "run.settled",
        Step::Cluster => "run.clustered",
        Step::Deliver => "run.delivered",
        Step::Delete => "run.encodings-deleted",
    }
}

impl Worker {
    /// Works until the task is dropped.
    pub async fn run(mut self) {
        loop {
            self.retention.round(&self.broker).await;
            if let Err(error) = self.broker.store.count_runs().await {
                tracing::warn!(%error, "runs not counted");
            }
            match Box::pin(self.once()).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "the worker could not read its store; tried again"),
            }
            let _ = tokio::time::timeout(IDLE, self.broker.work.notified()).await;
        }
    }

    /// Does one step of one run; `false` when there was none to do.
    async fn once(&mut self) -> Result<bool, ServiceError> {
        let now = self.broker.gate.now();
        if self.retention.believes(now) {
            self.broker.store.expire(now).await?;
        }
        let Some((run, step, tries)) = self.broker.store.lease(&self.owner, now, LEASE_S).await? else { return Ok(false) };
        if tries > MAX_TRIES && step != Step::Delete {
            self.fail(&run, &gave_up()).await?;
            return Ok(true);
        }
        tracing::info!(run = %run.id, step = step.as_str(), tries, "step started");
        let gate = self.broker.gate.clone();
        let until = move || gate.now() + LEASE_S;
        // Ends with this step however it is left, an error of the store among them: the lease may then be taken over.
        let keeper = keep_lease(self.broker.store.clone(), run.id.clone(), self.owner.clone(), RENEW, until);
        self.broker.store.step_began(&run.id, step, now).await?;
        let measured = metrics().step(step.as_str());
        metrics().leases(1);
        let done = trace::step(step.as_str(), run.id.as_str(), Box::pin(self.step(&run, step))).await;
        metrics().leases(0);
        drop(keeper);
        let error = match done {
            Ok(()) => {
                self.broker.audit.record(Act::own(act(step)).run(&run.id).period(run.period)).await?;
                self.broker.store.step_ended(&run.id, step, self.broker.gate.now()).await?;
                measured.end("done");
                match step {
                    Step::Compare => metrics().records("linked", self.broker.store.records_of(&run.id).await?),
                    Step::Delete => metrics().deleted("encodings"),
                    Step::Settle | Step::Cluster | Step::Deliver => {}
                }
                tracing::info!(run = %run.id, step = step.as_str(), "step done");
                return Ok(true);
            }
            Err(error) => error,
        };
        let attempts = self.broker.store.attempts(&run.id).await?;
        match verdict(step, &error, attempts) {
            Verdict::Postpone => {
                measured.end("postponed");
                let pause = pause_s(attempts);
                tracing::warn!(run = %run.id, step = step.as_str(), attempts, pause, %error, "step postponed");
                let reason = format!("en attente, nouvel essai dans {pause} s : {}", error.message);
                self.broker.store.postpone(&run.id, &self.owner, self.broker.gate.now() + pause, &reason).await?;
            }
            Verdict::Fail => {
                measured.end("failed");
                self.fail(&run, &error).await?;
            }
        }
        Ok(true)
    }

    /// Ends a run whose lease is this worker's.
    async fn fail(&self, run: &Run, error: &ServiceError) -> Result<(), ServiceError> {
        tracing::error!(run = %run.id, step = run.step, %error, "run failed");
        self.broker.store.end_run(&run.id, State::Failed, &error.message).await?;
        self.broker.audit.record(Act::own("run.failed").run(&run.id).period(run.period).failed()).await?;
        self.broker.store.release(&run.id, &self.owner).await
    }
}

/// Prolongs a lease to what `until` says, once in every `every`, until the task is dropped or the lease is another worker's.
fn keep_lease(store: Store, run: RunId, owner: String, every: Duration, until: impl Fn() -> i64 + Send + 'static) -> Spawned<()> {
    Spawned(tokio::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            match store.renew(&run, &owner, until()).await {
                Ok(true) => {}
                // What comes of the step changes nothing any more: there is nothing left to keep.
                Ok(false) => {
                    tracing::warn!(run = %run, "the lease is no longer this worker's");
                    metrics().lease_lost();
                    return;
                }
                Err(error) => tracing::warn!(run = %run, %error, "lease not prolonged"),
            }
        }
    }))
}

fn gave_up() -> ServiceError {
    ServiceError::invalid(format!(
        "le courtier a été interrompu {MAX_TRIES} fois de suite à cette étape, sans doute faute de mémoire ; donnez-lui-en plus ou abaissez « memory_mib », puis ouvrez un nouveau traitement"
    ))
}

/// What becomes of a run whose step met a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Tried again after a pause.
    Postpone,
    /// The run fails; what it holds is deleted.
    Fail,
}

/// Decides by kind: a peer that is away or full may come back at any time, and the coordinator sees the reason and can
/// cancel; a refusal or an internal fault is for an operator to mend, who has a day; the rest cannot mend itself. A
/// deletion is never given up.
fn verdict(step: Step, error: &ServiceError, attempts: u32) -> Verdict {
    let again = match error.kind {
        _ if step == Step::Delete => true,
        ErrorKind::Unavailable | ErrorKind::Exhausted => true,
        ErrorKind::Refused | ErrorKind::Internal => attempts < MAX_ATTEMPTS,
        ErrorKind::Conflict | ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::TooLarge => false,
    };
    if again { Verdict::Postpone } else { Verdict::Fail }
}

/// Seconds until a step is tried again that was tried `attempts` times in vain before.
fn pause_s(attempts: u32) -> i64 {
    (1_i64 << attempts.min(16)).min(MAX_PAUSE_S)
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
