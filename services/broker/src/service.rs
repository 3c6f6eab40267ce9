//! The broker's gRPC side: relaying the group key ceremony, opening runs, taking uploads.
//!
//! Every call names the agreement and comes from a certificate that the agreement names; whatever it does not allow is
//! refused before anything is read. Requests write rows and blobs; the linking itself is the worker's.

use std::sync::Arc;

use linkage_agreement::{Layout, PartyId, Period, RunId};
use linkage_common::blob::{BlobName, BlobStore};
use linkage_common::error::ServiceError;
use linkage_common::gate::Gate;
use linkage_crypto::group::ENVELOPE_LEN;
use linkage_proto::MAX_BATCH_BYTES;
use linkage_proto::v1::{self, keys_server, runs_server};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tonic::{Request, Response, Status, Streaming};

use crate::store::{Contribution, HeldBatch, Run, State, Store, Upload};

/// Largest table of level frequencies accepted, in bytes.
const MAX_LEVEL_FREQUENCIES: usize = 64 << 10;

/// What the two gRPC services share.
#[derive(Clone)]
pub struct Broker {
    /// Agreement, terminations and clock.
    pub gate: Arc<Gate>,
    /// Runs, uploads, leases.
    pub store: Store,
    /// Batches.
    pub blobs: BlobStore,
    /// Wakes the worker.
    pub work: Arc<Notify>,
}

fn run_id(text: &str) -> Result<RunId, ServiceError> {
    text.parse().map_err(|e: linkage_agreement::InvalidId| ServiceError::invalid(e.to_string()))
}

fn period(text: &str) -> Result<Period, ServiceError> {
    text.parse().map_err(|e: linkage_agreement::InvalidId| ServiceError::invalid(e.to_string()))
}

impl Broker {
    async fn status(&self, run: &Run) -> Result<v1::RunStatus, ServiceError> {
        let committed = self.store.committed(&run.id).await?;
        let state = match run.state {
            State::Collecting => v1::RunState::Collecting,
            State::Linking => v1::RunState::Linking,
            State::Delivering => v1::RunState::Delivering,
            State::Closed => v1::RunState::Closed,
            State::Cancelled => v1::RunState::Cancelled,
            State::Failed => v1::RunState::Failed,
        };
        Ok(v1::RunStatus {
            run_id: run.id.to_string(),
            period: run.period.to_string(),
            state: state.into(),
            step: run.step.clone(),
            parties: run.parties.iter().map(ToString::to_string).collect(),
            committed: committed.iter().map(|u| u.party.to_string()).collect(),
            reason: run.reason.clone(),
        })
    }

    async fn upload_status(&self, run: &RunId, party: &PartyId) -> Result<v1::UploadStatus, ServiceError> {
        let held = self.store.batches(run, party).await?;
        let committed = self.store.committed(run).await?.iter().any(|u| &u.party == party);
        Ok(v1::UploadStatus {
            records: held.iter().map(|b| b.records).sum(),
            held: held.iter().map(|b| b.sequence).collect(),
            committed,
        })
    }

    /// The run, if it is open for uploads of `party`.
    async fn collecting(&self, run: &RunId, party: &PartyId) -> Result<Run, ServiceError> {
        let run = self.store.run(run).await?;
        if !run.parties.contains(party) {
            return Err(ServiceError::refused("this party does not take part in this run"));
        }
        if run.state != State::Collecting {
            return Err(ServiceError::refused("this run takes no more uploads"));
        }
        Ok(run)
    }

    /// Checks a batch against the layout and stores it: blob first, then its row, so that a row always has its blob.
    async fn store_batch(&self, layout: &Layout, party: &PartyId, batch: &v1::Batch) -> Result<(), ServiceError> {
        let run = run_id(&batch.run_id)?;
        if batch.records.len() > MAX_BATCH_BYTES {
            return Err(ServiceError::too_large("a batch holds at most 1 MiB"));
        }
        if batch.records.is_empty() || batch.records.len() % layout.record_len() != 0 {
            return Err(ServiceError::invalid(format!(
                "a batch holds whole records of {} bytes: {} tokens, filters of {} bits; this one has {} bytes. Node and broker may hold different agreements",
                layout.record_len(),
                layout.tokens_per_record,
                layout.filter_bits,
                batch.records.len()
            )));
        }
        if Sha256::digest(&batch.records).as_slice() != batch.digest.as_ref() {
            return Err(ServiceError::invalid("the batch does not have the digest it declares; send it again"));
        }
        self.collecting(&run, party).await?;
        let held = HeldBatch {
            sequence: batch.sequence,
            records: (batch.records.len() / layout.record_len()) as u64,
            digest: batch.digest.to_vec(),
        };
        if let Some(known) = self.store.batch(&run, party, batch.sequence).await? {
            return if known == held {
                Ok(())
            } else {
                Err(ServiceError::conflict("another batch is held under this sequence number"))
            };
        }
        let limit = self.record_limit(party);
        let so_far: u64 = self.store.batches(&run, party).await?.iter().map(|b| b.records).sum();
        if so_far + held.records > limit {
            return Err(ServiceError::exhausted(format!(
                "the agreement allows this party {limit} records in a run, decoys among them"
            )));
        }
        self.blobs.put(&BlobName::new(&run, party, u64::from(batch.sequence)), batch.records.clone()).await?;
        self.store.insert_batch(&run, party, &held).await
    }

    /// Records that a party may upload to a run, decoys among them.
    fn record_limit(&self, party: &PartyId) -> u64 {
        let agreement = self.gate.agreement();
        let records = agreement.run_record_limit(party);
        records + records * u64::from(agreement.encoding.decoys_percent) / 100
    }
}

#[tonic::async_trait]
impl runs_server::Runs for Broker {
    async fn open_run(&self, request: Request<v1::OpenRunRequest>) -> Result<Response<v1::RunStatus>, Status> {
        let party = self.gate.party(&request, request.get_ref().agreement.as_ref())?;
        let asked = request.into_inner();
        let (id, period) = (run_id(&asked.run_id)?, period(&asked.period)?);
        self.gate.coordinator(&party)?;
        self.gate.run(&id, period)?;
        let agreement = self.gate.agreement();
        let mut parties: Vec<PartyId> = if asked.parties.is_empty() {
            agreement.party.iter().map(|p| p.id.clone()).collect()
        } else {
            let mut named = Vec::new();
            for name in &asked.parties {
                let id: PartyId = name.parse().map_err(|e: linkage_agreement::InvalidId| ServiceError::invalid(e.to_string()))?;
                agreement.party(&id).ok_or_else(|| ServiceError::refused("a party named for the run is not in the agreement"))?;
                named.push(id);
            }
            named
        };
        parties.sort();
        parties.dedup();
        if parties.len() < 2 && parties.iter().all(|p| agreement.party(p).is_none_or(|p| p.duplicate_free)) {
            return Err(ServiceError::invalid("a run needs two parties, or one that may hold duplicates").into());
        }
        let run = Run { id, period, parties, state: State::Collecting, step: String::new(), reason: String::new() };
        if self.store.insert_run(&run, &self.gate.agreement_hash(), self.gate.now()).await? {
            tracing::info!(run = %run.id, period = %run.period, parties = run.parties.len(), "run opened");
        }
        let run = self.store.run(&run.id).await?;
        Ok(Response::new(self.status(&run).await?))
    }

    async fn cancel_run(&self, request: Request<v1::RunRequest>) -> Result<Response<v1::RunStatus>, Status> {
        let party = self.gate.party(&request, request.get_ref().agreement.as_ref())?;
        self.gate.coordinator(&party)?;
        let id = run_id(&request.get_ref().run_id)?;
        self.store.run(&id).await?;
        if self.store.end_run(&id, State::Cancelled, "cancelled by the coordinator").await? {
            tracing::info!(run = %id, "run cancelled");
            self.work.notify_one();
        }
        let run = self.store.run(&id).await?;
        Ok(Response::new(self.status(&run).await?))
    }

    async fn get_run(&self, request: Request<v1::RunRequest>) -> Result<Response<v1::RunStatus>, Status> {
        self.gate.member(&request, request.get_ref().agreement.as_ref())?;
        let run = self.store.run(&run_id(&request.get_ref().run_id)?).await?;
        Ok(Response::new(self.status(&run).await?))
    }

    async fn list_runs(&self, request: Request<v1::ListRunsRequest>) -> Result<Response<v1::ListRunsResponse>, Status> {
        self.gate.member(&request, request.get_ref().agreement.as_ref())?;
        let mut runs = Vec::new();
        for run in self.store.runs().await? {
            runs.push(self.status(&run).await?);
        }
        Ok(Response::new(v1::ListRunsResponse { runs }))
    }

    async fn get_upload(&self, request: Request<v1::RunRequest>) -> Result<Response<v1::UploadStatus>, Status> {
        let party = self.gate.party(&request, request.get_ref().agreement.as_ref())?;
        let id = run_id(&request.get_ref().run_id)?;
        let run = self.store.run(&id).await?;
        if !run.parties.contains(&party) {
            return Err(ServiceError::refused("this party does not take part in this run").into());
        }
        Ok(Response::new(self.upload_status(&id, &party).await?))
    }

    async fn put_batches(&self, request: Request<Streaming<v1::Batch>>) -> Result<Response<v1::UploadStatus>, Status> {
        let role = self.gate.peer(&request)?;
        let layout = self.gate.agreement().layout();
        let mut stream = request.into_inner();
        let mut last = None;
        while let Some(batch) = stream.message().await? {
            let party = self.gate.party_of(&role, batch.agreement.as_ref())?;
            let run = run_id(&batch.run_id)?;
            if last.as_ref().is_some_and(|(known, _)| known != &run) {
                return Err(ServiceError::invalid("one stream carries the batches of one run").into());
            }
            self.store_batch(&layout, &party, &batch).await?;
            last = Some((run, party));
        }
        let (run, party) = last.ok_or_else(|| ServiceError::invalid("the stream held no batch"))?;
        Ok(Response::new(self.upload_status(&run, &party).await?))
    }

    async fn commit_upload(&self, request: Request<v1::CommitUploadRequest>) -> Result<Response<v1::UploadStatus>, Status> {
        let party = self.gate.party(&request, request.get_ref().agreement.as_ref())?;
        let asked = request.into_inner();
        let id = run_id(&asked.run_id)?;
        if let Some(known) = self.store.committed(&id).await?.into_iter().find(|u| u.party == party) {
            return if known.digest == asked.digest.as_ref() && known.batches == asked.batches {
                Ok(Response::new(v1::UploadStatus { held: Vec::new(), records: known.records, committed: true }))
            } else {
                Err(ServiceError::conflict("this party has committed another upload to this run").into())
            };
        }
        let run = self.collecting(&id, &party).await?;
        if asked.level_frequencies.len() > MAX_LEVEL_FREQUENCIES {
            return Err(ServiceError::too_large("the table of level frequencies is larger than 64 KiB").into());
        }
        crate::pipeline::check_level_frequencies(self.gate.agreement(), &asked.level_frequencies)?;
        let held = self.store.batches(&id, &party).await?;
        let missing = (0..asked.batches).find(|n| !held.iter().any(|b| b.sequence == *n));
        if let Some(sequence) = missing {
            return Err(ServiceError::refused(format!("batch {sequence} is missing; send it, then commit again")).into());
        }
        let mut digest = Sha256::new();
        for batch in &held {
            digest.update(&batch.digest);
        }
        let records: u64 = held.iter().map(|b| b.records).sum();
        if held.len() != asked.batches as usize
            || records != asked.records
            || digest.finalize().as_slice() != asked.digest.as_ref()
        {
            return Err(ServiceError::refused(
                "what is held differs from the manifest in count or digest; compare GetUpload with what was sent",
            )
            .into());
        }
        let upload = Upload {
            party: party.clone(),
            batches: asked.batches,
            records,
            digest: asked.digest.to_vec(),
            level_frequencies: asked.level_frequencies.to_vec(),
        };
        self.store.commit_upload(&run, &upload).await?;
        tracing::info!(run = %id, party = %party, records, "upload committed");
        self.work.notify_one();
        Ok(Response::new(self.upload_status(&id, &party).await?))
    }
}

#[tonic::async_trait]
impl keys_server::Keys for Broker {
    async fn put_contribution(
        &self,
        request: Request<v1::PutContributionRequest>,
    ) -> Result<Response<v1::PutContributionResponse>, Status> {
        let party = self.gate.party(&request, request.get_ref().agreement.as_ref())?;
        let agreement = self.gate.agreement();
        let asked = request.into_inner();
        let mut envelopes = Vec::new();
        for envelope in asked.envelopes {
            let to: PartyId =
                envelope.to.parse().map_err(|e: linkage_agreement::InvalidId| ServiceError::invalid(e.to_string()))?;
            if envelope.from != party.as_str() || agreement.party(&to).is_none() || to == party {
                return Err(ServiceError::invalid("an envelope goes from the caller to another party of the agreement").into());
            }
            if envelope.envelope.len() != ENVELOPE_LEN {
                return Err(ServiceError::invalid(format!("an envelope holds {ENVELOPE_LEN} bytes")).into());
            }
            envelopes.push(Contribution { from: party.clone(), to, envelope: envelope.envelope.to_vec() });
        }
        let mut recipients: Vec<&PartyId> = envelopes.iter().map(|e| &e.to).collect();
        recipients.sort();
        recipients.dedup();
        if recipients.len() != envelopes.len() || recipients.len() + 1 != agreement.party.len() {
            return Err(ServiceError::invalid("a contribution has one envelope for every other party of the agreement").into());
        }
        self.store.put_contributions(&self.gate.agreement_hash(), &envelopes).await?;
        Ok(Response::new(v1::PutContributionResponse {}))
    }

    async fn get_contributions(
        &self,
        request: Request<v1::GetContributionsRequest>,
    ) -> Result<Response<v1::GetContributionsResponse>, Status> {
        let party = self.gate.party(&request, request.get_ref().agreement.as_ref())?;
        let agreement = self.gate.agreement_hash();
        let envelopes = self.store.contributions_for(&agreement, &party).await?;
        Ok(Response::new(v1::GetContributionsResponse {
            envelopes: envelopes
                .into_iter()
                .map(|e| v1::ContributionEnvelope { from: e.from.to_string(), to: e.to.to_string(), envelope: e.envelope.into() })
                .collect(),
            contributed: self.store.contributed(&agreement).await?,
        }))
    }
}
