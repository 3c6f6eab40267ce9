//! The broker's gRPC side: relaying the group key ceremony, opening runs, taking uploads.
//!
//! Every call names the agreement and comes from a certificate that the agreement names; whatever it does not allow is
//! refused before anything is read. Requests write rows and blobs; the linking itself is the worker's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt};
use linkage_agreement::{Handle, Layout, PartyId, RoleId, RunId};
use linkage_common::audit::{AuditLog, Facts};
use linkage_common::batches::{
    HeldBatch, check_digest, check_manifest, check_size, committed_otherwise, empty_stream, one_run_a_stream, parse, period,
    run_id,
};
use linkage_common::blob::{BlobName, BlobStore};
use linkage_common::error::ServiceError;
use linkage_common::gate::Gate;
use linkage_common::order::{RunOrder, RunTerms, base_run, named, reference_party};
use linkage_common::signer::Signer;
use linkage_crypto::group::ENVELOPE_LEN;
use linkage_proto::MAX_RUNS_NAMED;
use linkage_proto::v1::{self, keys_server, runs_server};
use tokio::sync::Notify;
use tonic::{Request, Response, Status, Streaming};

use crate::store::{Admission, Contribution, Run, State, Store, Upload, closed_to_uploads};

/// Largest table of level frequencies accepted, in bytes.
const MAX_LEVEL_FREQUENCIES: usize = 64 << 10;

/// Batches of one stream that are stored at a time, a mebibyte each.
const BATCHES_AT_ONCE: usize = 4;

/// What the two gRPC services share.
#[derive(Clone)]
pub struct Broker {
    /// Agreement, terminations and clock.
    pub gate: Arc<Gate>,
    /// Runs, uploads, leases.
    pub store: Store,
    /// Batches.
    pub blobs: BlobStore,
    /// Signs certificates, receipts and checkpoints.
    pub signer: Arc<Signer>,
    /// What was asked and done.
    pub audit: AuditLog,
    /// Wakes the worker.
    pub work: Arc<Notify>,
}

fn not_taking_part() -> ServiceError {
    ServiceError::refused("ce partenaire ne prend pas part à ce traitement ; demandez au coordinateur d'en ouvrir un avec lui")
}

impl Broker {
    async fn status(&self, run: &Run) -> Result<v1::RunStatus, ServiceError> {
        let committed = self.store.committed_parties(&run.id).await?;
        self.status_with(run, &committed).await
    }

    /// As [`Self::status`], of a run that these parties have committed.
    async fn status_with(&self, run: &Run, committed: &[PartyId]) -> Result<v1::RunStatus, ServiceError> {
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
            committed: committed.iter().map(ToString::to_string).collect(),
            reason: run.reason.clone(),
            order_signature: run.order_signature.clone().into(),
            reference_party: named(run.reference_party.as_ref()),
            base_run: named(run.base_run.as_ref()),
            keep: run.kept,
            held: run.held,
            forecast: Some(self.store.forecast(run, committed.len(), self.gate.now()).await?),
        })
    }

    async fn upload_status(&self, run: &RunId, party: &PartyId) -> Result<v1::UploadStatus, ServiceError> {
        let held = self.store.batches(run, party).await?;
        let committed = self.store.committed_parties(run).await?.contains(party);
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
            return Err(not_taking_part());
        }
        if run.state != State::Collecting {
            return Err(closed_to_uploads());
        }
        Ok(run)
    }

    /// Checks a batch against the layout and stores its blob; `None` when it is held already. [`note_batch`] comes
    /// after, so that a row always has its blob. The worker compares digests, so that of two batches sent at once under one
    /// number the wrong blob is never linked.
    async fn store_batch(
        &self,
        layout: &Layout,
        party: PartyId,
        batch: v1::Batch,
    ) -> Result<Option<(Run, PartyId, HeldBatch)>, ServiceError> {
        let run = run_id(&batch.run_id)?;
        check_size(&batch.records)?;
        // By party: one that delivers filters or hash keys sends no entries (RecordShape).
        let shape = self.gate.agreement().shape(&party);
        let record_len = shape.record_len(layout);
        if batch.records.is_empty() || !batch.records.len().is_multiple_of(record_len) {
            return Err(ServiceError::invalid(format!(
                "un lot compte des fiches entières de {record_len} octets ({} jetons, filtres de {} bits, annexe de {} octets) ; celui-ci en a {} : comparez les empreintes de la convention (linkage agreement show)",
                shape.entries,
                layout.filter_bits,
                shape.annex_len,
                batch.records.len()
            )));
        }
        check_digest(&batch.records, &batch.digest)?;
        let open = self.collecting(&run, &party).await?;
        let held = HeldBatch {
            sequence: batch.sequence,
            records: (batch.records.len() / record_len) as u64,
            digest: batch.digest.to_vec(),
        };
        if self.store.admit_batch(&open, &party, &held, self.record_limit(&party)).await? == Admission::Held {
            return Ok(None);
        }
        let blob = BlobName::new(&run, &party, u64::from(batch.sequence));
        self.blobs.put(&blob, batch.records).await?;
        Ok(Some((open, party, held)))
    }

    /// Refuses a base that is not held, or is of other parties or another agreement.
    async fn check_base(&self, base: &RunId, parties: &[PartyId]) -> Result<(), ServiceError> {
        let base = self.store.run(base).await?;
        if base.base_run.is_some() || !base.kept {
            return Err(ServiceError::invalid(
                "ce traitement n'a pas été ouvert pour recevoir des compléments (linkage run open --keep) ; ouvrez un traitement complet",
            ));
        }
        if !base.held {
            return Err(ServiceError::conflict(
                "le traitement de base n'est pas encore clos, ou n'est plus détenu ; attendez sa clôture, ou ouvrez un traitement complet",
            ));
        }
        if base.parties != parties || !self.store.is_under(&base.id, &self.gate.agreement_hash()).await? {
            return Err(ServiceError::conflict(
                "un complément a les partenaires et la convention de son traitement de base ; ouvrez un traitement complet",
            ));
        }
        Ok(())
    }

    /// What a party states of records of a past epoch, refused where no node of this agreement has any. More than the agreement
    /// allows in a run now may have been uploaded under a former version: of no use as a count, and no reason to refuse an upload.
    fn past_epoch(&self, party: &PartyId, stated: Option<u64>) -> Result<Option<u64>, ServiceError> {
        let agreement = self.gate.agreement();
        let without_names = agreement.party(party).is_some_and(|p| p.profile.is_some());
        if stated.is_some_and(|stated| stated > 0) && (agreement.oprf_epoch() == 1 || without_names) {
            return Err(ServiceError::invalid(
                "des fiches d'une époque passée de la clé de l'OPRF ne peuvent exister à la première époque, ni chez un partenaire qui ne livre pas de noms ; vérifiez la version du logiciel du nœud",
            ));
        }
        let limit = agreement.run_record_limit(party);
        if stated.is_some_and(|stated| stated > limit) {
            tracing::warn!(party = %party, "more records of a past epoch than a run may have: taken as not stated");
        }
        Ok(stated.filter(|stated| *stated <= limit))
    }

    /// Records that a party may upload to a run, decoys among them.
    fn record_limit(&self, party: &PartyId) -> u64 {
        let agreement = self.gate.agreement();
        let records = agreement.run_record_limit(party);
        records + records * u64::from(agreement.encoding.decoys_percent) / 100
    }
}

/// What the role that asks is told of a run: an analyst, who learns of deliveries from the link table, no more than how far it
/// is and when it may end.
fn told(role: &RoleId, run: v1::RunStatus) -> v1::RunStatus {
    match role {
        RoleId::Analyst(_) => {
            let (state, forecast) = (run.state, run.forecast);
            v1::RunStatus { run_id: run.run_id, period: run.period, state, forecast, ..v1::RunStatus::default() }
        }
        _ => run,
    }
}

/// Notes a batch whose blob is stored.
async fn note_batch(
    store: &Store,
    blobs: &BlobStore,
    open: &Run,
    party: &PartyId,
    held: &HeldBatch,
    limit: u64,
) -> Result<(), ServiceError> {
    let noted = store.insert_batch(open, party, held, limit).await;
    if noted.is_err() && store.run(&open.id).await?.state.is_final() {
        // The run ended while the blob was written: its deletion may have passed by already. A run that is held has ended as
        // well, and keeps what was noted in time.
        let batches = store.batches(&open.id, party).await?;
        if !batches.iter().any(|noted| noted.sequence == held.sequence) {
            blobs.delete(&BlobName::new(&open.id, party, u64::from(held.sequence))).await?;
        }
    }
    noted
}

/// A task that ends with whoever waits for it.
pub(crate) struct Spawned<T>(pub(crate) tokio::task::JoinHandle<T>);

impl<T> Drop for Spawned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tonic::async_trait]
impl runs_server::Runs for Broker {
    async fn open_run(&self, request: Request<v1::OpenRunRequest>) -> Result<Response<v1::RunStatus>, Status> {
        let party = self.gate.party(&request, request.get_ref().agreement.as_ref())?;
        let facts = Facts::of(&request);
        let asked = request.into_inner();
        let (id, period) = (run_id(&asked.run_id)?, period(&asked.period)?);
        self.gate.coordinator(&party)?;
        self.gate.run(&id, period)?;
        let agreement = self.gate.agreement();
        let mut parties = Vec::new();
        for name in &asked.parties {
            let id: PartyId = parse(name)?;
            agreement.party(&id).ok_or_else(|| {
                ServiceError::refused(
                    "un partenaire nommé pour ce traitement n'est pas dans la convention ; vérifiez les identifiants",
                )
            })?;
            parties.push(id);
        }
        let terms = RunTerms::new(id, period, parties)
            .referring_to(reference_party(&asked.reference_party)?)
            .adding_to(base_run(&asked.base_run)?)
            .kept(asked.keep);
        if terms.parties.len() < 2 && terms.parties.iter().all(|p| agreement.party(p).is_none_or(|p| p.duplicate_free)) {
            return Err(ServiceError::invalid("un traitement demande deux partenaires, ou un seul dont la liste peut contenir des doublons ; ajoutez un partenaire").into());
        }
        let order = RunOrder::verify(agreement, &self.gate.agreement_hash(), terms, &asked.order_signature)?;
        let run = Run {
            id: order.terms.run,
            period,
            parties: order.terms.parties,
            reference_party: order.terms.reference_party,
            base_run: order.terms.base_run,
            kept: order.terms.kept,
            held: false,
            state: State::Collecting,
            step: String::new(),
            reason: String::new(),
            order_signature: order.signature.to_vec(),
        };
        // An opening that is repeated is answered as before, its base held still or not.
        if let (Some(base), false) = (&run.base_run, self.store.knows(&run.id).await?) {
            self.check_base(base, &run.parties).await?;
        }
        facts.run(&run.id).period(run.period);
        if self.store.insert_run(&run, &self.gate.agreement_hash(), self.gate.now()).await? {
            tracing::info!(run = %run.id, period = %run.period, parties = run.parties.len(), "run opened");
        }
        let run = self.store.run(&run.id).await?;
        Ok(Response::new(self.status(&run).await?))
    }

    async fn cancel_run(&self, request: Request<v1::RunRequest>) -> Result<Response<v1::RunStatus>, Status> {
        // Also after the agreement's end: to delete is never too late.
        let role = self.gate.peer(&request)?;
        let party = self.gate.party_deleting(&role, request.get_ref().agreement.as_ref())?;
        self.gate.coordinator(&party)?;
        let id = run_id(&request.get_ref().run_id)?;
        self.store.run(&id).await?;
        Facts::of(&request).run(&id);
        if self.store.end_run(&id, State::Cancelled, "annulé par le coordinateur").await? {
            tracing::info!(run = %id, "run cancelled");
            self.work.notify_one();
        } else if self.store.let_go(&id).await? {
            tracing::info!(run = %id, "run held no longer");
            self.work.notify_one();
        }
        let run = self.store.run(&id).await?;
        Ok(Response::new(self.status(&run).await?))
    }

    async fn get_run(&self, request: Request<v1::RunRequest>) -> Result<Response<v1::RunStatus>, Status> {
        let role = self.gate.member(&request, request.get_ref().agreement.as_ref())?;
        let run = self.store.run(&run_id(&request.get_ref().run_id)?).await?;
        Ok(Response::new(told(&role, self.status(&run).await?)))
    }

    async fn list_runs(&self, request: Request<v1::ListRunsRequest>) -> Result<Response<v1::ListRunsResponse>, Status> {
        let role = self.gate.member(&request, request.get_ref().agreement.as_ref())?;
        let asked = request.into_inner();
        if asked.also.len() > MAX_RUNS_NAMED {
            return Err(ServiceError::invalid(format!(
                "une demande nomme au plus {MAX_RUNS_NAMED} traitements ; vérifiez la version du logiciel du demandeur"
            ))
            .into());
        }
        let also = asked.also.iter().map(|run| run_id(run)).collect::<Result<Vec<_>, _>>()?;
        let mut runs = Vec::new();
        for (run, committed) in self.store.listed(asked.under_way, &also).await? {
            runs.push(told(&role, self.status_with(&run, &committed).await?));
        }
        Ok(Response::new(v1::ListRunsResponse { runs }))
    }

    async fn get_upload(&self, request: Request<v1::RunRequest>) -> Result<Response<v1::UploadStatus>, Status> {
        let party = self.gate.party(&request, request.get_ref().agreement.as_ref())?;
        let id = run_id(&request.get_ref().run_id)?;
        let run = self.store.run(&id).await?;
        if !run.parties.contains(&party) {
            return Err(not_taking_part().into());
        }
        Ok(Response::new(self.upload_status(&id, &party).await?))
    }

    async fn put_batches(&self, request: Request<Streaming<v1::Batch>>) -> Result<Response<v1::UploadStatus>, Status> {
        let role = self.gate.peer(&request)?;
        let facts = Facts::of(&request);
        let taken = AtomicU64::new(0);
        let layout = self.gate.agreement().layout();
        // Several blobs at a time, since each waits for the disk more than once, and their rows in the order of the stream.
        // Nothing is acknowledged before the end. Each is a task of its own: nobody polls the others while a row waits for a
        // connection to the database, and one of them may hold it.
        let mut last: Option<(RunId, PartyId)> = None;
        let admitted = request.into_inner().map(|batch| {
            let batch = batch?;
            let party = self.gate.party_of(&role, batch.agreement.as_ref())?;
            let run = run_id(&batch.run_id)?;
            if last.as_ref().is_some_and(|(known, _)| known != &run) {
                return Err(one_run_a_stream().into());
            }
            last = Some((run, party.clone()));
            let (broker, layout) = (self.clone(), layout.clone());
            Ok::<_, Status>(async move {
                let mut stored = Spawned(tokio::spawn(async move { broker.store_batch(&layout, party, batch).await }));
                (&mut stored.0).await.map_err(ServiceError::internal)?.map_err(Status::from)
            })
        });
        let taken_in = &taken;
        let note = |batch: Option<(Run, PartyId, HeldBatch)>| async move {
            let Some((run, party, held)) = batch else { return Ok(()) };
            note_batch(&self.store, &self.blobs, &run, &party, &held, self.record_limit(&party)).await?;
            taken_in.fetch_add(held.records, Ordering::Relaxed);
            Ok(())
        };
        admitted.try_buffered(BATCHES_AT_ONCE).try_for_each(note).await?;
        let (run, party) = last.ok_or_else(empty_stream)?;
        facts.run(&run).records(taken.load(Ordering::Relaxed));
        Ok(Response::new(self.upload_status(&run, &party).await?))
    }

    async fn commit_upload(&self, request: Request<v1::CommitUploadRequest>) -> Result<Response<v1::UploadStatus>, Status> {
        let party = self.gate.party(&request, request.get_ref().agreement.as_ref())?;
        let facts = Facts::of(&request);
        let asked = request.into_inner();
        let id = run_id(&asked.run_id)?;
        if let Some(known) = self.store.committed(&id).await?.into_iter().find(|u| u.party == party) {
            // What was deleted meanwhile cannot be compared.
            let same_removed = known.removed == asked.removed.as_ref() || self.store.run(&id).await?.state.is_final();
            return if known.digest == asked.digest.as_ref() && known.batches == asked.batches && same_removed {
                Ok(Response::new(v1::UploadStatus { held: Vec::new(), records: known.records, committed: true }))
            } else {
                Err(committed_otherwise().into())
            };
        }
        let run = self.collecting(&id, &party).await?;
        if asked.level_frequencies.len() > MAX_LEVEL_FREQUENCIES {
            return Err(ServiceError::too_large(
                "la table des fréquences de niveaux dépasse 64 Kio ; vérifiez la version du logiciel du nœud",
            )
            .into());
        }
        check_size(&asked.removed)?;
        if !asked.removed.len().is_multiple_of(Handle::LEN) || (run.base_run.is_none() && !asked.removed.is_empty()) {
            return Err(ServiceError::invalid(
                "les fiches retirées se nomment par des pseudonymes de 16 octets, et dans un complément seulement ; vérifiez la version du logiciel du nœud",
            )
            .into());
        }
        let past_epoch = self.past_epoch(&party, asked.past_epoch)?;
        crate::pipeline::check_level_frequencies(self.gate.agreement(), &asked.level_frequencies)?;
        let held = self.store.batches(&id, &party).await?;
        check_manifest(&held, asked.batches, asked.records, &asked.digest)?;
        let upload = Upload {
            party: party.clone(),
            batches: asked.batches,
            records: asked.records,
            digest: asked.digest.to_vec(),
            level_frequencies: asked.level_frequencies.to_vec(),
            removed: asked.removed.to_vec(),
            past_epoch,
        };
        self.store.commit_upload(&run, &upload).await?;
        facts.run(&id).period(run.period).records(asked.records);
        tracing::info!(run = %id, party = %party, records = asked.records, "upload committed");
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
            let to: PartyId = parse(&envelope.to)?;
            if envelope.from != party.as_str() || agreement.party(&to).is_none() || to == party {
                return Err(ServiceError::invalid(
                    "une enveloppe va de l'appelant à un autre partenaire de la convention ; refaites la contribution",
                )
                .into());
            }
            if envelope.envelope.len() != ENVELOPE_LEN {
                return Err(ServiceError::invalid(format!(
                    "une enveloppe compte {ENVELOPE_LEN} octets ; refaites la contribution"
                ))
                .into());
            }
            envelopes.push(Contribution { from: party.clone(), to, envelope: envelope.envelope.to_vec() });
        }
        let mut recipients: Vec<&PartyId> = envelopes.iter().map(|e| &e.to).collect();
        recipients.sort();
        recipients.dedup();
        if recipients.len() != envelopes.len() || recipients.len() + 1 != agreement.party.len() {
            return Err(ServiceError::invalid(
                "une contribution compte une enveloppe pour chaque autre partenaire de la convention, et une seule ; refaites-la",
            )
            .into());
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

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
