//! Taking part in a run: stage 2 over the archive, record references and sealed attributes to the custodian, encodings to
//! the broker. Interrupted anywhere, it goes on with the same bytes.

mod encodings;
mod increment;
mod records;

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use linkage_agreement::{Handle, Period, RunId};
use linkage_common::audit::Act;
use linkage_common::batches::manifest_digest;
use linkage_common::error::ServiceError;
use linkage_common::order::{RunOrder, RunTerms};
use linkage_common::tls::Channel;
use linkage_crypto::derive::RunKey;
use linkage_crypto::group::GroupKey;
use linkage_crypto::seal::attributes_info;
use linkage_crypto::signing::SigningKey;
use linkage_proto::MAX_BATCH_BYTES;
use linkage_proto::v1::{self, registry_client::RegistryClient, runs_client::RunsClient};
use rand_core::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use zeroize::Zeroizing;

use crate::annex::Annexes;
use crate::annex::run::RunAnnex;
use crate::archive::{Chosen, Index, Indexed};
use crate::error::NodeError;
use crate::node::{DeliveryState, Node};
use crate::progress::Progress;
use crate::stage_two::{RunSeed, records_per_batch};
use encodings::{Encodings, Placed, PlacedSegment};
use increment::Sent;
use records::{Attributes, RecordSource};

/// Batches made ahead of the network, at most.
const BATCHES_AHEAD: usize = 8;

/// What a party sends to a run, in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participation {
    /// Records uploaded, decoys among them.
    pub uploaded: u64,
    /// Records whose reference the custodian received.
    pub referenced: u64,
    /// Of these, records present in the period.
    pub present: u64,
    /// Records of a former epoch of the OPRF key, which take no part.
    pub past_epoch: u64,
}

/// Everything that follows from run, seed and state; made anew after an interruption.
struct Plan {
    /// Where the randomness of sealed attributes comes from.
    attributes: Zeroizing<[u8; 32]>,
    /// In the run's order.
    segments: Vec<PlacedSegment>,
    delivery: DeliveryState,
    /// Records left out because their encoding is of a former epoch.
    past_epoch: u64,
    /// Of an increment, the base's handles that are void.
    removed: Vec<Handle>,
    /// Of a run that is kept, what to remember of it.
    sent: Option<Vec<u8>>,
}

/// A run's seed and the month that it is for, as text.
type KeptSeed = (Zeroizing<[u8; 32]>, Vec<u8>);

/// What goes to the broker.
struct ToBroker {
    group: GroupKey,
    segments: Vec<PlacedSegment>,
    levels: String,
    past_epoch: u64,
    removed: Vec<Handle>,
    sent: Option<Vec<u8>>,
}

impl Node {
    /// Whether this node can take part in a run of `period`.
    pub fn ready_for(&self, period: Period) -> Result<bool, NodeError> {
        match self.group_key_for_runs() {
            Ok(_) => Ok(self.delivery(period)?.is_some()),
            Err(NodeError::NotReady(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The request that opens a run, signed with this node's key; of use to the coordinator only. No party named stands
    /// for all of the agreement.
    pub fn opening(&self, mut terms: RunTerms) -> Result<v1::OpenRunRequest, NodeError> {
        self.refuse_during_rotation()?;
        if terms.parties.is_empty() {
            terms.parties = self.gate.agreement().party.iter().map(|p| p.id.clone()).collect();
            terms.parties.sort();
        }
        if terms.reference_party.as_ref().is_some_and(|party| !terms.parties.contains(party)) {
            return Err(NodeError::Refused(
                "le partenaire de référence ne prend pas part à ce traitement : nommez-le aussi par --party".to_owned(),
            ));
        }
        let key = SigningKey::from_bytes(&*self.config.signing_key.read_key().map_err(ServiceError::configuration)?);
        Ok(RunOrder::sign(&self.gate.agreement_hash(), terms, &key).opening(self.gate.reference()))
    }

    /// The order of a run as the broker relays it, its signature verified.
    pub async fn order(&self, run: &RunId, broker: Channel) -> Result<RunOrder, NodeError> {
        let request = v1::RunRequest { agreement: Some(self.gate.reference()), run_id: run.to_string() };
        let status = RunsClient::new(broker).get_run(request).await.map_err(|s| NodeError::broker(&s))?.into_inner();
        Ok(self.gate.order(&status)?)
    }

    fn plan(&self, order: &RunOrder) -> Result<Plan, NodeError> {
        let (run, period) = (&order.terms.run, order.terms.period);
        let delivery = self.delivery(period)?.ok_or_else(|| {
            NodeError::NotReady(format!(
                "aucune livraison prise en charge pour {period} : déposez le fichier du mois, ou « linkage node ingest »"
            ))
        })?;
        let hash = self.gate.agreement_hash();
        let (seed, base) = match &order.terms.base_run {
            None => (self.seed(run, period)?, None),
            Some(base_run) => {
                let missing = || {
                    NodeError::Refused(format!(
                        "ce nœud n'a pas gardé ce qu'il a envoyé au traitement de base {base_run} : demandez au coordonnateur un traitement complet"
                    ))
                };
                let sent = Sent::load(&self.vault, &hash, base_run)?.ok_or_else(missing)?;
                (self.kept_seed(base_run)?.ok_or_else(missing)?.0, Some(sent))
            }
        };
        let seed = RunSeed::new(seed);
        let history = self.gate.agreement().agreement.history_months;
        let (last, first) = (period.index(), period.index().saturating_sub(history));
        let index = Index::load(&self.vault)?;
        // Encodings of a former epoch meet nobody of this one.
        let (epoch, by_epoch) = (self.gate.agreement().oprf_epoch(), self.profile().is_none());
        let within = |at: &Indexed| at.first <= last && at.last >= first;
        let chosen = index.segments(|at| within(at) && (!by_epoch || at.epoch == epoch));
        let past_epoch = if by_epoch { index.past_epoch(epoch, within) } else { 0 };
        // Handles are random, so their order is: neither segments nor records keep the order of any file.
        let in_order = |(number, records): (u32, Vec<Chosen>)| {
            let placed = |(position, reference, decoy)| {
                let content = index.records.get(&reference).map(|at| at.content).unwrap_or_default();
                let (handle, held) = match &base {
                    None => (seed.handle(&reference), false),
                    Some(sent) => (sent.handle(&seed, &reference, &content), sent.has(&reference, &content)),
                };
                Placed { position, reference, handle, decoy, held }
            };
            let mut records: Vec<Placed> = records.into_iter().map(placed).collect();
            records.sort_unstable_by_key(|record| record.handle);
            PlacedSegment { number, records }
        };
        let mut segments: Vec<PlacedSegment> = chosen.into_par_iter().map(in_order).collect();
        segments.sort_by_key(|segment| segment.records.first().map(|record| record.handle));
        let still =
            || -> HashSet<_> { segments.iter().flat_map(|s| &s.records).filter(|r| r.held).map(|r| r.reference).collect() };
        let removed = base.as_ref().map(|sent| sent.removed(&seed, &still())).transpose()?.unwrap_or_default();
        let sent = order.terms.kept.then(|| Sent::pack(&hash, self.gate.today(), &segments, &index));
        // An increment shares the base's seed, not the keys of its attributes.
        let attributes =
            if base.is_some() { seed.of(&format!("attributes of increment {run} {period}")) } else { seed.of("attributes") };
        Ok(Plan { attributes, segments, delivery, past_epoch, removed, sent })
    }

    /// The seed of a run and the month that it is for, if this node has taken part in it.
    fn kept_seed(&self, run: &RunId) -> Result<Option<KeptSeed>, NodeError> {
        let name = format!("runs/{run}");
        let Some(kept) = self.vault.get(&name)? else { return Ok(None) };
        let (seed, month) = kept.split_at_checked(32).ok_or_else(|| NodeError::Damaged(name.clone()))?;
        Ok(Some((Zeroizing::new(seed.try_into().map_err(|_| NodeError::Damaged(name))?), month.to_vec())))
    }

    /// Whether an upload to this run, or increment, may have been begun: it goes on with the same bytes only while the archive
    /// stays as it is.
    pub(crate) fn upload_begun(&self, run: &RunId, increment: bool) -> bool {
        // An increment has its base's seed.
        increment || self.vault.has(&format!("runs/{run}"))
    }

    /// The runs that this node has taken part in, or begun to, and their months.
    pub(crate) fn runs_taken_part_in(&self) -> Result<Vec<(String, Period)>, NodeError> {
        let mut runs = Vec::new();
        for name in self.vault.list("runs")? {
            let run: Option<RunId> = name.rsplit('/').next().and_then(|run| run.parse().ok());
            let kept = run.map(|run| Ok::<_, NodeError>((self.kept_seed(&run)?, run))).transpose()?;
            if let Some((Some((_, month)), run)) = kept
                && let Some(period) = std::str::from_utf8(&month).ok().and_then(|month| month.parse().ok())
            {
                runs.push((run.to_string(), period));
            }
        }
        Ok(runs)
    }

    /// The seed of a run, drawn when it is new. Seed and month: one run identifier stands for one month, or two uploads would
    /// share their handles.
    fn seed(&self, run: &RunId, period: Period) -> Result<Zeroizing<[u8; 32]>, NodeError> {
        let month = period.to_string();
        match self.kept_seed(run)? {
            Some((seed, of)) if of == month.as_bytes() => Ok(seed),
            Some(_) => Err(NodeError::Refused(format!(
                "le traitement {run} a déjà servi pour un autre mois : demandez au coordonnateur d'en ouvrir un autre"
            ))),
            None => {
                let mut seed = Zeroizing::new([0; 32]);
                linkage_common::rng().fill_bytes(seed.as_mut_slice());
                self.vault.put(&format!("runs/{run}"), &Zeroizing::new([seed.as_slice(), month.as_bytes()].concat()))?;
                Ok(seed)
            }
        }
    }

    /// Takes part in the run ordered: uploads what is not there yet and commits. Repeating it changes nothing.
    pub async fn participate(
        &self,
        order: &RunOrder,
        broker: Channel,
        custodian: Channel,
        progress: &Progress,
    ) -> Result<Participation, NodeError> {
        let (run, period) = (&order.terms.run, order.terms.period);
        self.gate.run(run, period)?;
        let _alone = self.alone().await?;
        self.no_request_under_way()?;
        let group = self.group_key_for_runs()?;
        if self.re_encoding_waits()? {
            return Err(NodeError::NotReady(
                "la convention est passée à une nouvelle époque de la clé de l'OPRF : encodez de nouveau ce dont les noms sont détenus par « linkage node re-encode »".to_owned(),
            ));
        }
        let Plan { attributes: seed, segments, delivery, past_epoch, removed, sent } = self.plan(order)?;
        let info = attributes_info(&self.gate.agreement_hash(), run.as_str(), self.party().as_str());
        let analysts = self.gate.agreement().analyst.iter().map(|a| (a.id.to_string(), a.sealing_key.clone())).collect();
        let attributes = Attributes::new(delivery.records)?;
        let source = Arc::new(RecordSource::new(&seed, segments, attributes, info, analysts)?);
        let (referenced, present) = self.send_records(&order.terms, &source, custodian).await?;
        // The attributes have gone: only the places remain.
        let mut segments = Arc::into_inner(source).map(|source| source.segments).unwrap_or_default();
        segments.iter_mut().for_each(|segment| segment.records.retain(|record| !record.held));
        segments.retain(|segment| !segment.records.is_empty());
        let what = ToBroker { group, segments, levels: delivery.level_frequencies.to_string(), past_epoch, removed, sent };
        let uploaded = self.send_encodings(&order.terms, what, broker.clone(), &progress.step("upload")).await?;
        let act = Act::own("run.taken-part").run(run).period(period).records(uploaded).fields(self.sent_attributes());
        self.audit.record(act).await?;
        tracing::info!(run = %run, uploaded, referenced, present, past_epoch, "upload committed");
        // The upload stands; what is left of earlier ones is looked at again next time.
        if let Err(error) = self.forget_sent_over_term().and(self.forget_sent_now(broker).await) {
            tracing::warn!(%error, "what was sent to runs that have ended could not be forgotten");
        }
        Ok(Participation { uploaded, referenced, present, past_epoch })
    }

    /// Record references and sealed attributes, to the custodian.
    async fn send_records(
        &self,
        terms: &RunTerms,
        source: &Arc<RecordSource>,
        channel: Channel,
    ) -> Result<(u64, u64), NodeError> {
        let of = Arc::clone(source);
        let (digests, referenced, present, sealed_keys) = blocking(move || {
            let mut batches = of.batches()?;
            let digests = batches.by_ref().map(|batch| Ok(Sha256::digest(batch?).into())).collect::<Result<_, NodeError>>()?;
            let digests: Vec<[u8; 32]> = digests;
            Ok((digests, batches.referenced, batches.present, std::mem::take(&mut batches.sealed_keys)))
        })
        .await?;
        let mut client = RegistryClient::new(channel);
        let request = v1::CommitRecordsRequest {
            agreement: Some(self.gate.reference()),
            run_id: terms.run.to_string(),
            period: terms.period.to_string(),
            batches: digests.len() as u32,
            records: referenced,
            digest: manifest_digest(&digests).to_vec().into(),
            sealed_keys,
            reference_party: terms.reference_party.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        // Committed before, and the answer lost: the same commit is answered the same.
        if client.commit_records(request.clone()).await.is_ok() {
            return Ok((referenced, present));
        }
        let (of, agreement, run_id) = (Arc::clone(source), self.gate.reference(), terms.run.to_string());
        let (send, receive) = mpsc::channel(BATCHES_AHEAD);
        let maker = blocking(move || {
            for ((sequence, batch), digest) in (0..).zip(of.batches()?).zip(digests) {
                let message = v1::RecordBatch {
                    agreement: Some(agreement.clone()),
                    run_id: run_id.clone(),
                    sequence,
                    entries: batch?.into(),
                    digest: digest.to_vec().into(),
                };
                if send.blocking_send(message).is_err() {
                    break;
                }
            }
            Ok(())
        });
        let sending = client.put_records(ReceiverStream::new(receive));
        let (sent, made) = tokio::join!(sending, maker);
        made?;
        sent.map_err(|s| NodeError::custodian(&s))?;
        client.commit_records(request).await.map_err(|s| NodeError::custodian(&s))?;
        Ok((referenced, present))
    }

    /// Tokens and filters, to the broker.
    async fn send_encodings(
        &self,
        terms: &RunTerms,
        what: ToBroker,
        channel: Channel,
        progress: &Progress,
    ) -> Result<u64, NodeError> {
        let (run, segments) = (&terms.run, what.segments);
        let mut client = RunsClient::new(channel);
        let request = v1::RunRequest { agreement: Some(self.gate.reference()), run_id: run.to_string() };
        let held = client.get_upload(request).await.map_err(|s| NodeError::broker(&s))?.into_inner();
        if held.committed {
            return Ok(held.records);
        }
        // Before the commit, and never after: what is remembered is what the broker has.
        if let Some(sent) = &what.sent {
            increment::keep(&self.vault, run, sent)?;
        }
        let run_key = what.group.run_key(&self.gate.agreement_hash(), terms.base_run.as_ref().unwrap_or(run).as_str());
        let total: u64 = segments.iter().map(|segment| segment.records.len() as u64).sum();

        let (send, receive) = mpsc::channel(BATCHES_AHEAD);
        let held: BTreeSet<u32> = held.held.into_iter().collect();
        let maker = self.make_batches(run, run_key, segments, held, send, progress)?;
        let mut stream = ReceiverStream::new(receive);
        // A stream without a batch is refused, and all of them may be held.
        let refused = match tokio_stream::StreamExt::next(&mut stream).await {
            Some(first) => {
                let all = tokio_stream::StreamExt::chain(tokio_stream::once(first), stream);
                client.put_batches(all).await.err()
            }
            None => None,
        };
        let digests = maker.await?;
        if let Some(status) = refused {
            return Err(NodeError::broker(&status));
        }
        let request = v1::CommitUploadRequest {
            agreement: Some(self.gate.reference()),
            run_id: run.to_string(),
            batches: digests.len() as u32,
            records: total,
            digest: manifest_digest(&digests).to_vec().into(),
            level_frequencies: what.levels.into_bytes().into(),
            removed: what.removed.iter().flat_map(|handle| handle.0).collect::<Vec<u8>>().into(),
            past_epoch: Some(what.past_epoch),
        };
        client.commit_upload(request).await.map_err(|s| NodeError::broker(&s))?;
        Ok(total)
    }

    /// Makes the batches beside the network, sends those that are not held, and gives the digests of all.
    fn make_batches(
        &self,
        run: &RunId,
        run_key: RunKey,
        segments: Vec<PlacedSegment>,
        held: BTreeSet<u32>,
        send: mpsc::Sender<v1::Batch>,
        progress: &Progress,
    ) -> Result<impl Future<Output = Result<Vec<[u8; 32]>, NodeError>> + use<>, NodeError> {
        let (layout, shape) = (self.layout(), self.gate.agreement().shape(self.party()));
        let annexes = Annexes::of(self.gate.agreement(), &self.gate.agreement_hash());
        let run_annex = RunAnnex::new(self.gate.agreement(), &run_key)
            .map_err(|error| NodeError::Configuration(format!("convention : {error}")))?;
        let (vault, agreement, run_id, progress) = (self.reopen()?, self.gate.reference(), run.to_string(), progress.clone());
        let total: u64 = segments.iter().map(|segment| segment.records.len() as u64).sum();
        let task = tokio::task::spawn_blocking(move || {
            let per_batch = records_per_batch(shape.record_len(&layout), MAX_BATCH_BYTES);
            let annexes = annexes.as_ref().zip(run_annex.as_ref());
            let encodings = Encodings { vault: &vault, layout: &layout, run: &run_key, segments: &segments, annexes, per_batch };
            let (mut digests, mut done, mut without_annex) = (Vec::new(), 0, 0);
            encodings.make(|batch| {
                let sequence = digests.len() as u32;
                digests.push(batch.digest);
                done += batch.records;
                without_annex += batch.without_annex;
                progress.at(done, total);
                if held.contains(&sequence) {
                    return ControlFlow::Continue(());
                }
                let message = v1::Batch {
                    agreement: Some(agreement.clone()),
                    run_id: run_id.clone(),
                    sequence,
                    records: batch.bytes.into(),
                    digest: batch.digest.to_vec().into(),
                };
                match send.blocking_send(message) {
                    Ok(()) => ControlFlow::Continue(()),
                    // The network has given up, and says why.
                    Err(_) => ControlFlow::Break(()),
                }
            })?;
            if without_annex > 0 {
                tracing::warn!(
                    run = run_id,
                    records = without_annex,
                    "records without filter or hash keys: their names were deleted before the agreement asked for them, or give none"
                );
            }
            Ok(digests)
        });
        Ok(async { task.await.map_err(|_| interrupted())? })
    }
}

/// Runs `work` where it may take long.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, NodeError> + Send + 'static) -> Result<T, NodeError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| interrupted())?
}

fn interrupted() -> NodeError {
    NodeError::Configuration("calcul interrompu".to_owned())
}
