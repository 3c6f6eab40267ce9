//! The broker's worker: leases a run, does its next step, stores the outcome, moves on.
//!
//! A step reads what earlier steps stored and writes its own output whole, so that a worker killed anywhere leaves a
//! run that the next one takes up at the step that was not finished. A step done twice gives the same.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use linkage_agreement::{PartyId, RunId};
use linkage_common::audit::Act;
use linkage_common::batches::HeldBatch;
use linkage_common::blob::{BlobName, BlobPrefix, BlobStore};
use linkage_common::deletion::{Cause, DataSet, Draft};
use linkage_common::error::{ErrorKind, ServiceError};
use linkage_common::metrics::metrics;
use linkage_common::tls::Channel;
use linkage_common::trace;
use linkage_linking::Snapshot;
use linkage_linking::tokens::Partitions;
use linkage_proto::MAX_BATCH_BYTES;
use linkage_proto::v1::{self, dispositions_client::DispositionsClient, registry_client::RegistryClient};

use crate::held::{HeldTokens, OneByOne, Uploaded, check_batch};
use crate::increments::{self, HeldRun};
use crate::jobs::Step;
use crate::kept::NO_BASE;
use crate::past_epoch::PastEpoch;
use crate::pipeline::{self, Compared, Member, RunReport, Uploads};
use crate::retention::Retention;
use crate::service::Broker;
use crate::spill::SpillFolder;
use crate::store::{Run, State};

/// How long a worker owns a run before another may take it over; prolonged while it works.
const LEASE_S: i64 = 30;
/// How often the worker looks for work by itself.
const IDLE: Duration = Duration::from_secs(2);
/// Seconds of a day.
const DAY_S: i64 = 86_400;
/// Longest wait before a step is tried again.
const MAX_PAUSE_S: i64 = 300;
/// Attempts after which a fault that should have been mended by then ends the run: about a day of them.
const MAX_ATTEMPTS: u32 = 300;
/// Leases in a row of which nothing came, not even a fault, before the run ends: a linkage that takes more memory than there is
/// is killed each time, and would hold up all others.
const MAX_TRIES: u32 = 20;

/// Settled pairs that a party can account for, in bytes: as many as the custodian holds for it, of 33 bytes each.
const MAX_SETTLED_BYTES: usize = 100_000 * 33;

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

/// What a step's output is called.
#[derive(Clone, Copy)]
enum Output {
    Records,
    Comparisons,
    Blocks,
    Settled,
    Clusters(u64),
    Report,
    /// Of a run that is kept: its classifier, and the number of partitions of its tokens.
    Model,
    Partitions,
    /// Tokens of one partition, where replicas share them.
    Tokens(u32),
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
        let keeper = self.keep_lease(&run.id);
        let measured = metrics().step(step.as_str());
        metrics().leases(1);
        self.broker.store.step_began(&run.id, step, now).await?;
        let done = trace::step(step.as_str(), run.id.as_str(), Box::pin(self.step(&run, step))).await;
        metrics().leases(0);
        keeper.abort();
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

    fn keep_lease(&self, run: &RunId) -> tokio::task::JoinHandle<()> {
        let (store, gate, owner, run) = (self.broker.store.clone(), self.broker.gate.clone(), self.owner.clone(), run.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(LEASE_S as u64 / 3)).await;
                match store.renew(&run, &owner, gate.now() + LEASE_S).await {
                    Ok(true) => {}
                    Ok(false) => metrics().lease_lost(),
                    Err(error) => tracing::warn!(run = %run, %error, "lease not prolonged"),
                }
            }
        })
    }

    async fn step(&mut self, run: &Run, step: Step) -> Result<(), ServiceError> {
        let next = match step {
            // All of an increment's work is in its clusters.
            Step::Compare if run.base_run.is_some() => Step::Settle,
            Step::Cluster if run.base_run.is_some() => {
                self.cluster_increment(run).await?;
                Step::Deliver
            }
            Step::Compare => {
                let compared = self.compare(run).await?;
                self.put(&run.id, Output::Records, compared.records).await?;
                self.put(&run.id, Output::Comparisons, compared.comparisons).await?;
                self.put(&run.id, Output::Blocks, compared.blocks).await?;
                Step::Settle
            }
            Step::Settle => {
                let settled = self.settled(run).await?;
                self.put(&run.id, Output::Settled, settled).await?;
                Step::Cluster
            }
            Step::Cluster => {
                let agreement = self.broker.gate.agreement().clone();
                let committed = self.broker.store.committed(&run.id).await?;
                let past_epoch = PastEpoch::of(&agreement, &committed);
                let parties: Vec<_> = committed.into_iter().map(|u| (u.party, u.level_frequencies)).collect();
                let compared = Compared {
                    records: self.get(&run.id, Output::Records).await?.into(),
                    comparisons: self.get(&run.id, Output::Comparisons).await?.into(),
                    blocks: self.get(&run.id, Output::Blocks).await?.into(),
                };
                let settled = self.get(&run.id, Output::Settled).await?;
                let linked = blocking(move || pipeline::cluster_run(&agreement, &parties, &compared, &settled)).await?;
                if run.kept {
                    self.put(&run.id, Output::Model, linked.model.to_bytes()).await?;
                }
                let hash = self.broker.gate.agreement_hash();
                let snapshot = Snapshot::of(&linked.report, &run.parties);
                let report = RunReport {
                    parties: &run.parties,
                    linkage: linked.report,
                    dispositions: linked.dispositions,
                    drift: self.broker.store.drift_of(&hash, run, &snapshot).await?,
                    outside: linked.outside,
                    past_epoch,
                };
                let report = serde_json::to_vec(&report).map_err(ServiceError::internal)?;
                self.put_linked(&run.id, &linked.clusters, report).await?;
                self.broker.store.keep_snapshot(&hash, run, &snapshot, self.broker.gate.now()).await?;
                Step::Deliver
            }
            Step::Deliver => {
                self.deliver(run).await?;
                Step::Delete
            }
            Step::Delete => return self.delete(run).await,
        };
        self.broker.store.advance(&run.id, &self.owner, step, next).await
    }

    /// Stores the clusters of a run and its report.
    async fn put_linked(&self, run: &RunId, clusters: &[Vec<Member>], report: Vec<u8>) -> Result<(), ServiceError> {
        for (number, batch) in pipeline::pack_clusters(clusters, MAX_BATCH_BYTES).into_iter().enumerate() {
            self.put(run, Output::Clusters(number as u64), batch).await?;
        }
        self.put(run, Output::Report, report).await
    }

    /// The batches of a run's committed uploads: how many records each has, by party, and what each is.
    async fn uploaded(&self, run: &RunId) -> Result<Uploaded, ServiceError> {
        let (mut parties, mut held) = (Vec::new(), Vec::new());
        for upload in self.broker.store.committed(run).await? {
            let batches = self.broker.store.batches(run, &upload.party).await?;
            let records = |batch: &HeldBatch| u32::try_from(batch.records).map_err(ServiceError::internal);
            parties.push((upload.party.clone(), batches.iter().map(records).collect::<Result<Vec<_>, _>>()?));
            held.extend(batches.into_iter().map(|batch| (upload.party.clone(), batch)));
        }
        Ok(Uploaded { parties, batches: held })
    }

    /// Reads batches of a run by number, each checked against the digest that its party committed.
    fn reader(
        &self,
        run: &RunId,
        held: Vec<(PartyId, HeldBatch)>,
    ) -> impl Fn(usize) -> Result<Bytes, ServiceError> + Sync + Send + 'static + use<> {
        let (blobs, run, runtime) = (self.broker.blobs.clone(), run.clone(), tokio::runtime::Handle::current());
        move |number: usize| {
            let (party, batch) = held.get(number).ok_or_else(|| ServiceError::internal("no such batch"))?;
            let bytes = runtime.block_on(blobs.get(&BlobName::new(&run, party, u64::from(batch.sequence))))?;
            check_batch(party, batch, &bytes)?;
            Ok(bytes)
        }
    }

    async fn compare(&self, run: &Run) -> Result<Compared, ServiceError> {
        let agreement = self.broker.gate.agreement().clone();
        let Uploaded { parties, batches } = self.uploaded(&run.id).await?;
        let read = self.reader(&run.id, batches);
        let (spill, memory) = (self.spill.clone(), self.memory_bytes);
        let tokens = run.kept.then(|| self.held.join(run.id.as_str()));
        let (compared, partitions) = blocking(move || {
            let uploads = Uploads::new(&agreement, &parties, read);
            let compared = pipeline::compare(&agreement, &uploads, &SpillFolder::new(&spill)?, memory)?;
            let keep = |folder: PathBuf| increments::keep_tokens(&uploads, &folder, &SpillFolder::new(&spill)?);
            Ok((compared, tokens.map(keep).transpose()?))
        })
        .await?;
        if let Some(partitions) = partitions {
            if self.shared {
                self.share_tokens(&run.id, partitions).await?;
            }
            self.put(&run.id, Output::Partitions, partitions.to_le_bytes().to_vec()).await?;
        }
        Ok(compared)
    }

    /// Clusters of an increment and all that it leaves of its base, stored as those of any run.
    async fn cluster_increment(&self, run: &Run) -> Result<(), ServiceError> {
        let gone = || ServiceError::conflict(NO_BASE);
        let base_id = run.base_run.clone().ok_or_else(gone)?;
        if !self.broker.store.run(&base_id).await?.held {
            return Err(gone());
        }
        let (first, tokens) = (Self::name(&base_id, Output::Clusters(0))?, Self::name(&base_id, Output::Tokens(0))?);
        let outputs = self.outputs.list(&BlobPrefix::Run(base_id.clone())).await?;
        let held = outputs.iter().filter(|(name, _)| name.party != tokens.party).map(|(_, bytes)| *bytes).sum();
        let memory_bytes = increments::memory_beside(held, self.memory_bytes)?;
        let stored = outputs.iter().filter(|(name, _)| name.party == first.party).count() as u64;
        let mut clusters = Vec::new();
        for number in 0..stored {
            clusters.push(self.get(&base_id, Output::Clusters(number)).await?);
        }
        let base = HeldRun {
            records: self.get(&base_id, Output::Records).await?,
            comparisons: self.get(&base_id, Output::Comparisons).await?,
            model: self.get(&base_id, Output::Model).await?,
            settled: self.get(&base_id, Output::Settled).await?,
            clusters,
            report: self.get(&base_id, Output::Report).await?,
            memory_bytes,
        };
        let count = self.get(&base_id, Output::Partitions).await?;
        let count = count.as_ref().try_into().map(u32::from_le_bytes).map_err(ServiceError::internal)?;
        let partitions = Partitions::new(count).ok_or_else(|| ServiceError::internal("number of partitions"))?;
        let folder = self.held.join(base_id.as_str());
        if self.shared {
            self.borrow_tokens(&base_id, count).await?;
        }
        let tokens = HeldTokens::new(&folder, partitions);

        let agreement = self.broker.gate.agreement().clone();
        let Uploaded { parties, batches } = self.uploaded(&run.id).await?;
        let read = self.reader(&run.id, batches);
        let of_base = self.uploaded(&base_id).await?;
        let one_by_one = OneByOne::new(&agreement, &self.broker.blobs, &base_id, &of_base);
        let committed = self.broker.store.committed(&run.id).await?;
        let past_epoch = PastEpoch::of(&agreement, &committed);
        let removed: Vec<(PartyId, Vec<u8>)> = committed.into_iter().map(|upload| (upload.party, upload.removed)).collect();
        let settled = self.get(&run.id, Output::Settled).await?;
        let made = blocking(move || {
            let uploads = Uploads::new(&agreement, &parties, read);
            increments::link_increment(&agreement, &base, &tokens, &one_by_one, &uploads, &removed, &settled)
        })
        .await;
        if self.shared {
            increments::forget_tokens(&folder)?;
        }
        let made = made?;
        let mut report = made.report;
        report["increment"]["base_run"] = base_id.as_str().into();
        // Its own, for its own month; base and increment are of one agreement, and so of one epoch.
        if let Some(past_epoch) = past_epoch {
            report["past_epoch"] = serde_json::to_value(past_epoch).map_err(ServiceError::internal)?;
        }
        let report = serde_json::to_vec(&report).map_err(ServiceError::internal)?;
        self.put_linked(&run.id, &made.clusters, report).await
    }

    /// Moves a run's tokens from the folder to the outputs.
    async fn share_tokens(&self, run: &RunId, partitions: u32) -> Result<(), ServiceError> {
        let folder = self.held.join(run.as_str());
        for number in 0..partitions {
            if let Some(bytes) = HeldTokens::packed(&folder, number)? {
                self.put(run, Output::Tokens(number), bytes).await?;
            }
        }
        increments::forget_tokens(&folder)
    }

    /// Brings a run's tokens back into the folder.
    async fn borrow_tokens(&self, run: &RunId, partitions: u32) -> Result<(), ServiceError> {
        let folder = self.held.join(run.as_str());
        increments::forget_tokens(&folder)?;
        for number in 0..partitions {
            let bytes = self.get(run, Output::Tokens(number)).await?;
            HeldTokens::unpack(&folder, number, &bytes)?;
        }
        Ok(())
    }

    fn name(run: &RunId, output: Output) -> Result<BlobName, ServiceError> {
        let (place, number) = match output {
            Output::Records => ("records", 0),
            Output::Comparisons => ("comparisons", 0),
            Output::Blocks => ("blocks", 0),
            Output::Settled => ("settled", 0),
            Output::Clusters(number) => ("clusters", number),
            Output::Report => ("report", 0),
            Output::Model => ("model", 0),
            Output::Partitions => ("partitions", 0),
            Output::Tokens(number) => ("tokens", u64::from(number)),
        };
        let place: PartyId = place.parse().map_err(ServiceError::internal)?;
        Ok(BlobName::new(run, &place, number))
    }

    async fn put(&self, run: &RunId, output: Output, bytes: Vec<u8>) -> Result<(), ServiceError> {
        Ok(self.outputs.put(&Self::name(run, output)?, bytes.into()).await?)
    }

    async fn get(&self, run: &RunId, output: Output) -> Result<Bytes, ServiceError> {
        Ok(self.outputs.get(&Self::name(run, output)?).await?)
    }

    /// The pairs of the run that their owners have settled, as the custodian packs them. Asked for once: a step done again
    /// works on the same.
    async fn settled(&mut self, run: &Run) -> Result<Vec<u8>, ServiceError> {
        let request = v1::SettledPairsRequest {
            agreement: Some(self.broker.gate.reference()),
            run_id: run.id.to_string(),
            period: run.period.to_string(),
            parties: run.parties.iter().map(ToString::to_string).collect(),
        };
        let answer = self.dispositions.get_settled_pairs(request).await.map_err(|s| ServiceError::from(&s))?;
        let (mut stream, mut packed) = (answer.into_inner(), Vec::new());
        while let Some(chunk) = stream.message().await.map_err(|s| ServiceError::from(&s))? {
            packed.extend_from_slice(&chunk.pairs);
            if packed.len() > MAX_SETTLED_BYTES * run.parties.len() {
                return Err(ServiceError::too_large(
                    "le tiers de confiance annonce plus de paires décidées qu'un partenaire n'en peut détenir ; vérifiez la version de son logiciel",
                ));
            }
        }
        pipeline::check_settled(&packed)?;
        Ok(packed)
    }

    async fn deliver(&mut self, run: &Run) -> Result<(), ServiceError> {
        let first = Self::name(&run.id, Output::Clusters(0))?;
        let stored = self.outputs.list(&BlobPrefix::Party(run.id.clone(), first.party)).await?.len() as u64;
        let report = self.get(&run.id, Output::Report).await?;
        let mut batches = Vec::new();
        for number in 0..stored {
            let last = number + 1 == stored;
            batches.push(v1::ClusterBatch {
                agreement: Some(self.broker.gate.reference()),
                run_id: run.id.to_string(),
                period: run.period.to_string(),
                parties: run.parties.iter().map(ToString::to_string).collect(),
                sequence: number as u32,
                last,
                clusters: self.get(&run.id, Output::Clusters(number)).await?,
                report: if last { report.clone() } else { Bytes::new() },
                reference_party: run.reference_party.as_ref().map(ToString::to_string).unwrap_or_default(),
            });
        }
        self.custodian.put_clusters(tokio_stream::iter(batches)).await.map_err(|s| ServiceError::from(&s))?;
        Ok(())
    }

    /// Holds a run that is closed and kept; else deletes all that the run holds, certifies it, and has the custodian forget a run that never got clusters.
    async fn delete(&mut self, run: &Run) -> Result<(), ServiceError> {
        let days = i64::from(self.broker.gate.agreement().retention.encodings_days);
        if self.broker.store.hold(&run.id, self.broker.gate.now() + days * DAY_S).await? {
            tracing::info!(run = %run.id, days, "encodings held for increments");
            return Ok(());
        }
        increments::forget_tokens(&self.held.join(run.id.as_str()))?;
        let uploads = self.broker.store.committed(&run.id).await?;
        let files = self.broker.blobs.delete_prefix(&BlobPrefix::Run(run.id.clone())).await?
            + self.outputs.delete_prefix(&BlobPrefix::Run(run.id.clone())).await?;
        let records = uploads.iter().map(|u| u.records).sum::<u64>();
        let encodings = DataSet { files: Some(files), ..DataSet::records("encodings", records) };
        let draft = Draft {
            rule: "retention.encodings_days".to_owned(),
            value: Some(days.unsigned_abs()),
            cause: Cause::RunEnded,
            as_of: self.broker.gate.today(),
            run: Some(run.id.clone()),
            data: vec![encodings.of_months([run.period])],
        };
        self.broker.store.record_deletion(&run.id, &draft).await?;
        self.retention.certify(&self.broker).await?;
        tracing::info!(run = %run.id, files, "encodings deleted");
        if run.state != State::Closed {
            let request = v1::CloseRunRequest { agreement: Some(self.broker.gate.reference()), run_id: run.id.to_string() };
            if let Err(status) = self.custodian.close_run(request).await {
                let (error, attempts) = (ServiceError::from(&status), self.broker.store.attempts(&run.id).await?);
                if error.kind == ErrorKind::Unavailable || attempts < MAX_ATTEMPTS {
                    return Err(error);
                }
                tracing::error!(run = %run.id, %error, "the custodian refuses to forget this run; tell its operator");
            }
        }
        self.broker.store.finish(&run.id).await
    }
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

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, ServiceError> + Send + 'static) -> Result<T, ServiceError> {
    tokio::task::spawn_blocking(work).await.map_err(ServiceError::internal)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: ErrorKind) -> ServiceError {
        ServiceError::new(kind, "message")
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        assert_eq!([0, 1, 2, 8, 9, 40].map(pause_s), [1, 2, 4, 256, 300, 300]);
    }

    #[test]
    fn a_peer_that_is_away_is_waited_for_and_a_contradiction_ends_the_run() {
        for step in [Step::Compare, Step::Settle, Step::Cluster, Step::Deliver] {
            for kind in [ErrorKind::Unavailable, ErrorKind::Exhausted] {
                assert_eq!(verdict(step, &of(kind), u32::MAX), Verdict::Postpone);
            }
            for kind in [ErrorKind::Refused, ErrorKind::Internal] {
                assert_eq!(verdict(step, &of(kind), MAX_ATTEMPTS - 1), Verdict::Postpone);
                assert_eq!(verdict(step, &of(kind), MAX_ATTEMPTS), Verdict::Fail);
            }
            for kind in [ErrorKind::Conflict, ErrorKind::Invalid, ErrorKind::NotFound, ErrorKind::TooLarge] {
                assert_eq!(verdict(step, &of(kind), 0), Verdict::Fail);
            }
        }
    }

    #[test]
    fn a_deletion_is_tried_again_and_never_fails_the_run() {
        for kind in [ErrorKind::Conflict, ErrorKind::Invalid, ErrorKind::Refused, ErrorKind::Internal] {
            assert_eq!(verdict(Step::Delete, &of(kind), u32::MAX), Verdict::Postpone);
        }
    }
}
