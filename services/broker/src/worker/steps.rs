//! The steps of a run's work: what each reads, does and stores.
//!
//! A step writes its own output whole before the run is moved on, so that one done twice gives the same.

use std::path::PathBuf;

use bytes::Bytes;
use linkage_agreement::{PartyId, RunId};
use linkage_common::batches::HeldBatch;
use linkage_common::blob::{BlobName, BlobPrefix};
use linkage_common::deletion::{Cause, DataSet, Draft};
use linkage_common::error::{ErrorKind, ServiceError};
use linkage_linking::Snapshot;
use linkage_linking::tokens::Partitions;
use linkage_proto::v1;

use super::outputs::Output;
use super::{MAX_ATTEMPTS, Worker};
use crate::held::{HeldTokens, OneByOne, Uploaded, check_batch};
use crate::increments::{self, HeldRun};
use crate::jobs::Step;
use crate::kept::NO_BASE;
use crate::past_epoch::PastEpoch;
use crate::pipeline::{self, Compared, RunReport, Uploads};
use crate::spill::SpillFolder;
use crate::store::{Run, State};

/// Seconds of a day.
const DAY_S: i64 = 86_400;
/// Settled pairs that a party can account for, in bytes: as many as the custodian holds for it, of 33 bytes each.
const MAX_SETTLED_BYTES: usize = 100_000 * 33;

impl Worker {
    pub(super) async fn step(&mut self, run: &Run, step: Step) -> Result<(), ServiceError> {
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

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, ServiceError> + Send + 'static) -> Result<T, ServiceError> {
    tokio::task::spawn_blocking(work).await.map_err(ServiceError::internal)?
}
