//! The custodian's gRPC side: oblivious evaluations, record references, clusters, link tables.
//!
//! No call here receives a name, an encoding or an attribute in clear: the types that could hold one are in crates that
//! this one cannot reach.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use linkage_agreement::{Handle, PartyId, Period, RecordRef, RunId};
use linkage_common::audit::{AuditLog, Facts};
use linkage_common::batches::{
    HeldBatch, check_digest, check_manifest, check_size, committed_otherwise, empty_stream, manifest_digest, one_run_a_stream,
    period, run_id,
};
use linkage_common::error::ServiceError;
use linkage_common::gate::Gate;
use linkage_common::order::reference_party;
use linkage_common::signer::Signer;
use linkage_crypto::oprf::{ELEMENT_LEN, MAX_BATCH, ServerKey};
use linkage_crypto::pseudonym::{CustodianScalar, Domain};
use linkage_proto::MAX_BATCH_BYTES;
use linkage_proto::v1::{self, oprf_server, registry_server};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::budgets::BudgetMonth;
use crate::hand_over::{Domains, HandOver};
use crate::store::{Member, RecordUpload, RunRecord, Store};
use crate::terms::Terms;

/// Largest sealed attributes of one record for one analyst, in bytes.
const MAX_SEALED: usize = 4096;
/// Bytes of a packed cluster member: handle, match class, probability.
const MEMBER_LEN: usize = 19;

/// What the two gRPC services share.
#[derive(Clone)]
pub struct Custodian {
    /// Agreement, terminations and clock.
    pub gate: Arc<Gate>,
    /// Budgets, registry, link tables.
    pub store: Store,
    /// The OPRF key; its public part is in the agreement.
    pub oprf: Arc<ServerKey>,
    /// The custodian's half of every pseudonym.
    pub scalar: Arc<CustodianScalar>,
    /// Signs certificates, receipts and checkpoints.
    pub signer: Arc<Signer>,
    /// What was asked and done.
    pub audit: AuditLog,
    /// Wakes the worker.
    pub work: Arc<Notify>,
}

fn ended() -> ServiceError {
    ServiceError::conflict("ce traitement a été annulé ou a échoué ; ouvrez-en un autre")
}

pub(crate) fn not_committed() -> ServiceError {
    ServiceError::unavailable("un partenaire du traitement n'a pas encore clos ses fiches ; réessayez plus tard")
}

/// Splits packed record entries; see `RecordBatch.entries`.
pub fn unpack_records(mut bytes: &[u8], analysts: usize) -> Result<Vec<RunRecord>, ServiceError> {
    let cut = || ServiceError::invalid("le lot de fiches s'arrête au milieu d'une fiche ; renvoyez-le");
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (fixed, mut rest) = bytes.split_at_checked(33).ok_or_else(cut)?;
        let present = match fixed[32] {
            0 => false,
            1 => true,
            _ => {
                return Err(ServiceError::invalid(
                    "la présence d'une fiche vaut 0 ou 1 ; vérifiez la version du logiciel du nœud",
                ));
            }
        };
        let sealed_from = rest;
        for _ in 0..if present { analysts } else { 0 } {
            let (length, after) = rest.split_at_checked(2).ok_or_else(cut)?;
            let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
            if length > MAX_SEALED {
                return Err(ServiceError::too_large(
                    "les attributs scellés comptent au plus 4 Kio par fiche ; vérifiez la liste des attributs de la convention",
                ));
            }
            rest = after.split_at_checked(length).ok_or_else(cut)?.1;
        }
        let (Some(handle), Some(reference)) = (Handle::from_slice(&fixed[..16]), RecordRef::from_slice(&fixed[16..32])) else {
            return Err(cut());
        };
        let sealed = sealed_from[..sealed_from.len() - rest.len()].to_vec();
        records.push(RunRecord { handle, reference, present, sealed });
        bytes = rest;
    }
    Ok(records)
}

/// Splits packed clusters; see `ClusterBatch.clusters`.
pub fn unpack_clusters(mut bytes: &[u8]) -> Result<Vec<Vec<Member>>, ServiceError> {
    let cut = || ServiceError::invalid("le lot de groupes s'arrête au milieu d'un groupe ; renvoyez-le");
    let mut clusters = Vec::new();
    while !bytes.is_empty() {
        let (count, rest) = bytes.split_at_checked(2).ok_or_else(cut)?;
        let count = usize::from(u16::from_le_bytes([count[0], count[1]]));
        let (members, rest) = rest.split_at_checked(count * MEMBER_LEN).ok_or_else(cut)?;
        let cluster = members
            .chunks_exact(MEMBER_LEN)
            .map(|m| {
                let handle = Handle::from_slice(&m[..16]).ok_or_else(cut)?;
                let (match_class, probability) = (m[16], u16::from_le_bytes([m[17], m[18]]));
                if !(1..=2).contains(&match_class) || probability > 10_000 {
                    return Err(ServiceError::invalid(
                        "classe ou probabilité hors limites dans un groupe ; vérifiez la version du logiciel du courtier",
                    ));
                }
                Ok(Member { handle, match_class, probability })
            })
            .collect::<Result<Vec<_>, ServiceError>>()?;
        clusters.push(cluster);
        bytes = rest;
    }
    Ok(clusters)
}

#[tonic::async_trait]
impl oprf_server::Oprf for Custodian {
    async fn declare(&self, request: Request<v1::DeclareRequest>) -> Result<Response<v1::DeclareResponse>, Status> {
        let party = self.gate.party(&request, request.get_ref().agreement.as_ref())?;
        let facts = Facts::of(&request);
        let asked = request.into_inner();
        let period = period(&asked.period)?;
        self.gate.period(period)?;
        // A month that has not begun has no delivery: its budget would only serve guesses.
        if period > Period::of(self.gate.today()) {
            return Err(ServiceError::refused("ce mois n'a pas commencé ; déclarez-le quand sa livraison existe").into());
        }
        let limit = self.gate.agreement().party(&party).map_or(0, |p| p.max_records);
        if asked.records > limit {
            return Err(ServiceError::exhausted(format!(
                "la convention prévoit au plus {limit} fiches par mois pour ce partenaire ; un avenant peut relever ce nombre"
            ))
            .into());
        }
        let (declared, used) = self.store.declare(&party, self.budget_month(period), asked.records).await?;
        facts.period(period).records(declared);
        Ok(Response::new(v1::DeclareResponse { budget: self.budget(declared), used }))
    }

    async fn evaluate(&self, request: Request<v1::EvaluateRequest>) -> Result<Response<v1::EvaluateResponse>, Status> {
        let party = self.gate.party(&request, request.get_ref().agreement.as_ref())?;
        let facts = Facts::of(&request);
        let asked = request.into_inner();
        let period = period(&asked.period)?;
        self.gate.period(period)?;
        let elements = asked.blinded.len() / ELEMENT_LEN;
        if elements == 0 || !asked.blinded.len().is_multiple_of(ELEMENT_LEN) || elements > MAX_BATCH {
            return Err(ServiceError::invalid(format!(
                "un lot compte de 1 à {MAX_BATCH} éléments de {ELEMENT_LEN} octets ; découpez la demande"
            ))
            .into());
        }
        let digest = Sha256::digest(&asked.blinded);
        let budget = |declared| self.budget(declared);
        // Nothing is computed for a party without budget; charged once it is evaluated, so that a batch with an invalid
        // element costs nothing. Two batches at once may both be computed: the second is then charged and given, or neither.
        self.store.affords(&party, self.budget_month(period), digest.as_slice(), elements as u64, budget).await?;
        let (key, blinded) = (self.oprf.clone(), asked.blinded.clone());
        let evaluation = tokio::task::spawn_blocking(move || key.evaluate(&blinded, &mut linkage_common::rng()))
            .await
            .map_err(ServiceError::internal)?
            .map_err(|error| ServiceError::invalid(error.to_string()))?;
        self.store.charge(&party, self.budget_month(period), digest.as_slice(), elements as u64, budget).await?;
        facts.period(period).records(elements as u64);
        tracing::debug!(party = %party, period = %period, elements, "evaluated");
        Ok(Response::new(v1::EvaluateResponse { evaluated: evaluation.elements.into(), proof: evaluation.proof.to_vec().into() }))
    }
}

impl Custodian {
    fn budget_month(&self, period: Period) -> BudgetMonth {
        BudgetMonth { period, epoch: self.gate.agreement().oprf_epoch() }
    }

    /// Evaluations for `declared` records: tokens of a record, and a tenth more for corrections.
    fn budget(&self, declared: u64) -> u64 {
        let tokens = u64::from(self.gate.agreement().encoding.tokens_per_record);
        declared.saturating_mul(tokens).saturating_mul(11) / 10
    }

    /// The parties that the broker names for a run, once all of them have committed their records of its period.
    pub(crate) async fn parties_of_run(
        &self,
        run: &RunId,
        period: Period,
        names: &[String],
    ) -> Result<Vec<PartyId>, ServiceError> {
        let committed = self.store.committed(run).await?;
        let mut parties = Vec::new();
        for name in names {
            let id: PartyId = name.parse()?;
            match committed.iter().find(|(party, ..)| party == &id) {
                Some((_, declared, _)) if *declared == period.to_string() => parties.push(id),
                Some(_) => {
                    return Err(ServiceError::conflict(
                        "un partenaire a clos ses fiches pour un autre mois ; ouvrez un nouveau traitement",
                    ));
                }
                None => return Err(not_committed()),
            }
        }
        if parties.is_empty() {
            return Err(ServiceError::invalid(
                "aucun partenaire n'est nommé pour ce traitement ; nommez ceux qui y prennent part",
            ));
        }
        Ok(parties)
    }

    /// The reference party of a run, once all of `parties` have committed their records: what the broker says must be what
    /// the order said that each of them verified.
    async fn reference_of_run(&self, run: &RunId, parties: &[PartyId], named: &str) -> Result<Option<PartyId>, ServiceError> {
        let named = reference_party(named)?;
        if named.as_ref().is_some_and(|party| !parties.contains(party)) {
            return Err(ServiceError::invalid(
                "le partenaire de référence ne prend pas part à ce traitement ; nommez-le parmi les partenaires",
            ));
        }
        let committed = self.store.committed(run).await?;
        if committed.iter().any(|(party, _, said)| parties.contains(party) && *said != named) {
            return Err(ServiceError::conflict(
                "courtier et partenaires ne nomment pas le même partenaire de référence ; ouvrez un nouveau traitement",
            ));
        }
        Ok(named)
    }

    async fn records_status(&self, run: &RunId, party: &PartyId) -> Result<v1::RecordsStatus, ServiceError> {
        let held = self.store.record_batches(run, party).await?;
        Ok(v1::RecordsStatus {
            records: held.iter().map(|b| b.records).sum(),
            held: held.iter().map(|b| b.sequence).collect(),
            committed: self.store.record_upload(run, party).await?.is_some(),
        })
    }
}

#[tonic::async_trait]
impl registry_server::Registry for Custodian {
    async fn put_records(&self, request: Request<Streaming<v1::RecordBatch>>) -> Result<Response<v1::RecordsStatus>, Status> {
        let role = self.gate.peer(&request)?;
        let facts = Facts::of(&request);
        let mut taken = 0;
        let terms = Terms::of(&self.gate);
        let mut stream = request.into_inner();
        let mut last = None;
        while let Some(batch) = stream.message().await? {
            let party = self.gate.party_of(&role, batch.agreement.as_ref())?;
            let run = run_id(&batch.run_id)?;
            check_size(&batch.entries)?;
            check_digest(&batch.entries, &batch.digest)?;
            if last.as_ref().is_some_and(|(known, _)| known != &run) {
                return Err(one_run_a_stream().into());
            }
            let records = unpack_records(&batch.entries, terms.analysts.len())?;
            let limit = self.gate.agreement().run_record_limit(&party);
            let held = HeldBatch { sequence: batch.sequence, records: records.len() as u64, digest: batch.digest.to_vec() };
            if last.is_none() {
                self.store.begin_upload(&run, &party, &terms).await?;
            }
            self.store.put_records(&run, &party, &held, &records, limit).await?;
            taken += held.records;
            last = Some((run, party));
        }
        let (run, party) = last.ok_or_else(empty_stream)?;
        facts.run(&run).records(taken);
        Ok(Response::new(self.records_status(&run, &party).await?))
    }

    async fn commit_records(&self, request: Request<v1::CommitRecordsRequest>) -> Result<Response<v1::RecordsStatus>, Status> {
        let party = self.gate.party(&request, request.get_ref().agreement.as_ref())?;
        let facts = Facts::of(&request);
        let asked = request.into_inner();
        let (run, period) = (run_id(&asked.run_id)?, period(&asked.period)?);
        self.gate.run(&run, period)?;
        let reference_party = reference_party(&asked.reference_party)?;
        if reference_party.as_ref().is_some_and(|party| self.gate.agreement().party(party).is_none()) {
            return Err(ServiceError::refused(
                "le partenaire de référence n'est pas dans la convention ; demandez au coordonnateur d'ouvrir un autre traitement",
            )
            .into());
        }
        if let Some(known) = self.store.record_upload(&run, &party).await? {
            return if known.digest == asked.digest.as_ref() && known.reference_party == reference_party {
                Ok(Response::new(v1::RecordsStatus { held: Vec::new(), records: known.records, committed: true }))
            } else {
                Err(committed_otherwise().into())
            };
        }
        for analyst in &self.gate.agreement().analyst {
            if !asked.sealed_keys.contains_key(analyst.id.as_str()) {
                return Err(ServiceError::invalid("il manque la clé d'attributs d'un destinataire de la convention ; comparez les empreintes (linkage agreement show)").into());
            }
        }
        if asked.sealed_keys.len() != self.gate.agreement().analyst.len() || asked.sealed_keys.values().any(|k| k.len() > 256) {
            return Err(
                ServiceError::invalid("les clés d'attributs vont aux seuls destinataires de la convention, 256 octets au plus chacune ; comparez les empreintes (linkage agreement show)").into()
            );
        }
        self.store.begin_upload(&run, &party, &Terms::of(&self.gate)).await?;
        let held = self.store.record_batches(&run, &party).await?;
        check_manifest(&held, asked.batches, asked.records, &asked.digest)?;
        let keys: HashMap<&str, String> = asked.sealed_keys.iter().map(|(a, k)| (a.as_str(), hex::encode(k))).collect();
        let keys = serde_json::to_string(&keys).map_err(ServiceError::internal)?;
        let upload = RecordUpload { digest: asked.digest.to_vec(), records: asked.records, period, reference_party };
        self.store.commit_records(&run, &party, &upload, &keys).await?;
        let attributes = self.gate.agreement().travelling_attributes();
        facts.run(&run).period(period).records(asked.records).fields(attributes.into_iter().map(|a| a.name));
        tracing::info!(run = %run, party = %party, records = asked.records, "records committed");
        Ok(Response::new(self.records_status(&run, &party).await?))
    }

    async fn put_clusters(
        &self,
        request: Request<Streaming<v1::ClusterBatch>>,
    ) -> Result<Response<v1::PutClustersResponse>, Status> {
        let role = self.gate.peer(&request)?;
        let facts = Facts::of(&request);
        let mut stream = request.into_inner();
        // Of every batch, whatever has become of the run meanwhile: another call may be sending the same.
        let mut digests: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        let (mut of, mut whole, mut stored) = (None, false, None);
        while let Some(batch) = stream.message().await? {
            self.gate.broker_of(&role, batch.agreement.as_ref())?;
            let (run, period) = (run_id(&batch.run_id)?, period(&batch.period)?);
            if batch.clusters.len() > MAX_BATCH_BYTES || batch.report.len() > MAX_BATCH_BYTES {
                return Err(ServiceError::too_large(
                    "un lot de groupes et le rapport comptent au plus 1 Mio chacun ; découpez l'envoi",
                )
                .into());
            }
            unpack_clusters(&batch.clusters)?;
            if *of.get_or_insert_with(|| run.clone()) != run {
                return Err(one_run_a_stream().into());
            }
            whole = batch.last;
            let digest = Sha256::digest(&batch.clusters).to_vec();
            digests.insert(batch.sequence, digest.clone());
            match self.store.run_state(&run).await?.as_deref() {
                // Taken in before, and the answer lost: only compared.
                Some("clustered" | "ready") => continue,
                Some("collecting") => {}
                Some(_) => return Err(ended().into()),
                None => return Err(not_committed().into()),
            }
            let parties = self.parties_of_run(&run, period, &batch.parties).await?;
            let reference = self.reference_of_run(&run, &parties, &batch.reference_party).await?;
            if self.store.put_clusters(&run, batch.sequence, batch.last, &digest, &batch.clusters).await? {
                stored = Some((period, parties, reference, batch.report.to_vec()));
            }
        }
        let run = of
            .filter(|_| whole || stored.is_none())
            .ok_or_else(|| ServiceError::invalid("l'envoi ne finit pas par le dernier lot de groupes ; renvoyez-les tous"))?;
        if let Some((period, parties, reference, report)) = stored
            && self.store.clusters_complete(&run, period, &parties, reference.as_ref(), &report).await?
        {
            facts.run(&run).period(period);
            self.work.notify_one();
            return Ok(Response::new(v1::PutClustersResponse { persons: 0 }));
        }
        let known = self.store.clusters_digest(&run).await?;
        if known.is_empty() {
            return Err(ServiceError::conflict("il manque un lot de groupes ; renvoyez-les tous").into());
        }
        if known != manifest_digest(digests.into_values()) {
            return Err(ServiceError::conflict(
                "d'autres groupes de ce traitement sont déjà pris en compte ; ouvrez un nouveau traitement",
            )
            .into());
        }
        Ok(Response::new(v1::PutClustersResponse { persons: 0 }))
    }

    async fn close_run(&self, request: Request<v1::CloseRunRequest>) -> Result<Response<v1::CloseRunResponse>, Status> {
        let role = self.gate.peer(&request)?;
        self.gate.broker_deleting(&role, request.get_ref().agreement.as_ref())?;
        let run = run_id(&request.get_ref().run_id)?;
        let records = self.store.close(&run).await?;
        Facts::of(&request).run(&run).records(records);
        linkage_common::store::scrub(&self.store.pool).await;
        tracing::info!(run = %run, records, "run ended without clusters; its records are forgotten");
        Ok(Response::new(v1::CloseRunResponse { records }))
    }

    async fn list_link_tables(
        &self,
        request: Request<v1::ListLinkTablesRequest>,
    ) -> Result<Response<v1::ListLinkTablesResponse>, Status> {
        let analyst = self.gate.analyst(&request, request.get_ref().agreement.as_ref())?;
        let tables = self
            .store
            .ready_for(&analyst)
            .await?
            .into_iter()
            .map(|r| v1::LinkTableInfo {
                run_id: r.run.to_string(),
                period: r.period.to_string(),
                rows: r.rows,
                parties: r.parties.iter().map(ToString::to_string).collect(),
                reference_party: r.reference_party.as_ref().map(ToString::to_string).unwrap_or_default(),
                position: r.position,
                changes: r.changes,
            })
            .collect();
        Ok(Response::new(v1::ListLinkTablesResponse { tables }))
    }

    type GetLinkTableStream = ReceiverStream<Result<v1::LinkTableChunk, Status>>;

    async fn get_link_table(&self, request: Request<v1::LinkTableRequest>) -> Result<Response<Self::GetLinkTableStream>, Status> {
        let analyst = self.gate.analyst(&request, request.get_ref().agreement.as_ref())?;
        let run = run_id(&request.get_ref().run_id)?;
        if self.store.run_state(&run).await?.as_deref() != Some("ready") {
            return Err(ServiceError::not_found(
                "aucune table de liens de ce traitement n'est prête ; attendez sa clôture (linkage run list)",
            )
            .into());
        }
        let agreement = self.gate.agreement();
        let terms = self.store.terms(&run).await?.unwrap_or_else(|| Terms::of(&self.gate));
        let rows = self.store.ready().await?.iter().find(|ready| ready.run == run).map_or(0, |ready| ready.rows);
        Facts::of(&request).run(&run).records(rows).fields(terms.attributes.iter().cloned());
        let purpose = agreement.analyst.iter().find(|a| a.id == analyst).map(|a| a.purpose.as_str()).unwrap_or_default();
        let id = agreement.agreement.id.as_str();
        let domains = Domains { persons: Domain::persons(id, purpose), records: Domain::records(id, purpose) };
        let not_yet = || {
            ServiceError::not_found(
                "cette table de liens est d'avant l'entrée de ce destinataire dans la convention ; demandez au coordonnateur un nouveau traitement du mois",
            )
        };
        let position = terms.analysts.iter().position(|sealed_to| *sealed_to == analyst).ok_or_else(not_yet)?;
        let (report, papers) = self.store.run_papers(&run).await?;
        let mut sealed_keys = HashMap::new();
        for (party, keys) in papers {
            let keys: HashMap<String, String> = serde_json::from_str(&keys).map_err(ServiceError::internal)?;
            let key = keys.get(analyst.as_str()).ok_or_else(not_yet)?;
            sealed_keys.insert(party.to_string(), hex::decode(key).map_err(ServiceError::internal)?.into());
        }
        let first = v1::LinkTableChunk {
            sealed_keys,
            report: report.into(),
            agreement_hash: hex::decode(&terms.agreement).map_err(ServiceError::internal)?.into(),
            attributes: terms.attributes,
            ..Default::default()
        };
        let receive = HandOver::new(&self.store, self.scalar.clone(), domains, run, position).await?.start(first);
        tracing::info!(run = %request.get_ref().run_id, analyst = %analyst, "link table handed over");
        Ok(Response::new(receive))
    }
}
