//! The broker's worker: leases a run, does its next step, stores the outcome, moves on.
//!
//! A step reads what earlier steps stored and writes its own output whole, so that a worker killed anywhere leaves a
//! run that the next one takes up at the step that was not finished. A step done twice gives the same.

use std::time::Duration;

use bytes::Bytes;
use linkage_agreement::{PartyId, RunId};
use linkage_common::blob::{BlobName, BlobPrefix, BlobStore};
use linkage_common::error::{ErrorKind, ServiceError};
use linkage_crypto::signing::SigningKey;
use linkage_proto::MAX_BATCH_BYTES;
use linkage_proto::v1::{self, registry_client::RegistryClient};
use tonic::transport::Channel;

use crate::pipeline::{self, PartyUpload, RunReport};
use crate::service::Broker;
use crate::store::{Run, State, Step};

/// How long a worker owns a run before another may take it over; prolonged while it works.
const LEASE_S: i64 = 30;
/// How often the worker looks for work by itself.
const IDLE: Duration = Duration::from_secs(2);
/// Longest wait before a step is tried again.
const MAX_PAUSE_S: i64 = 300;

/// A worker and what it needs.
pub struct Worker {
    /// Stores shared with the gRPC side.
    pub broker: Broker,
    /// Outputs of steps, apart from the uploads.
    pub outputs: BlobStore,
    /// The custodian.
    pub custodian: RegistryClient<Channel>,
    /// Signs deletion records.
    pub signing: SigningKey,
    /// This worker's name in leases, drawn at start.
    pub owner: String,
}

/// What a step's output is called.
#[derive(Clone, Copy)]
enum Output {
    Comparisons,
    Blocks,
    Clusters(u64),
    Report,
}

impl Worker {
    /// Works until the task is dropped.
    pub async fn run(mut self) {
        loop {
            match self.once().await {
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
        let Some((run, step)) = self.broker.store.lease(&self.owner, now, LEASE_S).await? else { return Ok(false) };
        tracing::info!(run = %run.id, step = step.as_str(), "step started");
        let keeper = self.keep_lease(&run.id);
        let done = self.step(&run, step).await;
        keeper.abort();
        match done {
            Ok(()) => tracing::info!(run = %run.id, step = step.as_str(), "step done"),
            Err(error) if passing(&error) => {
                let attempts = self.broker.store.attempts(&run.id).await?;
                let pause = (1_i64 << attempts.min(8)).min(MAX_PAUSE_S);
                tracing::warn!(run = %run.id, step = step.as_str(), attempts, pause, %error, "step postponed");
                self.broker.store.postpone(&run.id, &self.owner, self.broker.gate.now() + pause).await?;
            }
            Err(error) => {
                tracing::error!(run = %run.id, step = step.as_str(), %error, "run failed");
                self.broker.store.end_run(&run.id, State::Failed, &error.message).await?;
                self.broker.store.postpone(&run.id, &self.owner, 0).await?;
            }
        }
        Ok(true)
    }

    fn keep_lease(&self, run: &RunId) -> tokio::task::JoinHandle<()> {
        let (store, gate, owner, run) = (self.broker.store.clone(), self.broker.gate.clone(), self.owner.clone(), run.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(LEASE_S as u64 / 3)).await;
                if let Err(error) = store.renew(&run, &owner, gate.now() + LEASE_S).await {
                    tracing::warn!(run = %run, %error, "lease not prolonged");
                }
            }
        })
    }

    async fn step(&mut self, run: &Run, step: Step) -> Result<(), ServiceError> {
        let next = match step {
            Step::Compare => {
                let (agreement, uploads) = (self.broker.gate.agreement().clone(), self.uploads(run).await?);
                let (comparisons, blocks) = blocking(move || pipeline::compare(&agreement, &uploads)).await?;
                self.put(&run.id, Output::Comparisons, comparisons).await?;
                self.put(&run.id, Output::Blocks, blocks).await?;
                Step::Cluster
            }
            Step::Cluster => {
                let (agreement, uploads) = (self.broker.gate.agreement().clone(), self.uploads(run).await?);
                let (comparisons, blocks) =
                    (self.get(&run.id, Output::Comparisons).await?, self.get(&run.id, Output::Blocks).await?);
                let (clusters, report) =
                    blocking(move || pipeline::cluster_run(&agreement, &uploads, &comparisons, &blocks)).await?;
                let report =
                    serde_json::to_vec(&RunReport { parties: &run.parties, linkage: report }).map_err(ServiceError::internal)?;
                for (number, batch) in pipeline::pack_clusters(&clusters, MAX_BATCH_BYTES).into_iter().enumerate() {
                    self.put(&run.id, Output::Clusters(number as u64), batch).await?;
                }
                self.put(&run.id, Output::Report, report).await?;
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

    async fn uploads(&self, run: &Run) -> Result<Vec<PartyUpload>, ServiceError> {
        let mut uploads = Vec::new();
        for upload in self.broker.store.committed(&run.id).await? {
            let mut batches = Vec::with_capacity(upload.batches as usize);
            for sequence in 0..upload.batches {
                batches.push(self.broker.blobs.get(&BlobName::new(&run.id, &upload.party, u64::from(sequence))).await?);
            }
            uploads.push(PartyUpload { party: upload.party, batches, level_frequencies: upload.level_frequencies });
        }
        Ok(uploads)
    }

    fn name(&self, run: &RunId, output: Output) -> Result<BlobName, ServiceError> {
        let (place, number) = match output {
            Output::Comparisons => ("comparisons", 0),
            Output::Blocks => ("blocks", 0),
            Output::Clusters(number) => ("clusters", number),
            Output::Report => ("report", 0),
        };
        let place: PartyId = place.parse().map_err(ServiceError::internal)?;
        Ok(BlobName::new(run, &place, number))
    }

    async fn put(&self, run: &RunId, output: Output, bytes: Vec<u8>) -> Result<(), ServiceError> {
        Ok(self.outputs.put(&self.name(run, output)?, bytes.into()).await?)
    }

    async fn get(&self, run: &RunId, output: Output) -> Result<Bytes, ServiceError> {
        Ok(self.outputs.get(&self.name(run, output)?).await?)
    }

    async fn deliver(&mut self, run: &Run) -> Result<(), ServiceError> {
        let first = self.name(&run.id, Output::Clusters(0))?;
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
            });
        }
        self.custodian.put_clusters(tokio_stream::iter(batches)).await.map_err(|s| ServiceError::from(&s))?;
        Ok(())
    }

    /// Deletes all that the run holds and signs the record of it.
    async fn delete(&self, run: &Run) -> Result<(), ServiceError> {
        let uploads = self.broker.store.committed(&run.id).await?;
        let files = self.broker.blobs.delete_prefix(&BlobPrefix::Run(run.id.clone())).await?
            + self.outputs.delete_prefix(&BlobPrefix::Run(run.id.clone())).await?;
        let now = self.broker.gate.now();
        let statement = serde_json::json!({
            "statement": "linkage deletion v1",
            "role": "broker",
            "agreement": hex::encode(self.broker.gate.agreement_hash()),
            "run": run.id.as_str(),
            "period": run.period.to_string(),
            "data": ["tokens", "filters", "similarities"],
            "records": uploads.iter().map(|u| u.records).sum::<u64>(),
            "files": files,
            "deleted_at": now,
        })
        .to_string();
        let signature = self.signing.sign(statement.as_bytes());
        self.broker.store.finish(&run.id, &statement, &signature, now).await?;
        tracing::info!(run = %run.id, files, "encodings deleted");
        Ok(())
    }
}

/// Whether the same step may succeed later. A conflict at the custodian is one too: a party's records may be under way.
fn passing(error: &ServiceError) -> bool {
    matches!(
        error.kind,
        ErrorKind::Unavailable | ErrorKind::Internal | ErrorKind::Exhausted | ErrorKind::Conflict | ErrorKind::Refused
    )
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, ServiceError> + Send + 'static) -> Result<T, ServiceError> {
    tokio::task::spawn_blocking(work).await.map_err(ServiceError::internal)?
}
