//! Taking part in a run: stage 2 over the archive, record references and sealed attributes to the custodian, encodings to
//! the broker. Interrupted anywhere, it goes on with the same bytes.

use std::collections::HashMap;

use linkage_agreement::{PartyId, Period, RunId};
use linkage_common::attributes::{PLACE, pad};
use linkage_common::batches::manifest_digest;
use linkage_common::error::ServiceError;
use linkage_common::order::RunOrder;
use linkage_crypto::seal::{SealingPublicKey, attributes_info};
use linkage_crypto::signing::SigningKey;
use linkage_crypto::storage::StorageKey;
use linkage_proto::MAX_BATCH_BYTES;
use linkage_proto::v1::{self, registry_client::RegistryClient, runs_client::RunsClient};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use crate::archive::{Chosen, Index, Segment};
use crate::error::NodeError;
use crate::node::{DeliveryState, Node};
use crate::progress::Progress;
use crate::stage_two::{RunSeed, records_per_batch, write_record};

/// What a party sends to a run, in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participation {
    /// Records uploaded, decoys among them.
    pub uploaded: u64,
    /// Records whose reference the custodian received.
    pub referenced: u64,
    /// Of these, records present in the period.
    pub present: u64,
}

/// Everything that follows from run, seed and state; made anew after an interruption.
struct Plan {
    seed: RunSeed,
    segments: Vec<(u32, Vec<Chosen>)>,
    delivery: DeliveryState,
}

impl Node {
    /// Whether this node can take part in a run of `period`.
    pub fn ready_for(&self, period: Period) -> Result<bool, NodeError> {
        Ok(self.group_key()?.is_some() && self.delivery(period)?.is_some())
    }

    /// The request that opens a run, signed with this node's key; of use to the coordinator only. No party named stands
    /// for all of the agreement.
    pub fn opening(&self, run: RunId, period: Period, mut parties: Vec<PartyId>) -> Result<v1::OpenRunRequest, NodeError> {
        if parties.is_empty() {
            parties = self.gate.agreement().party.iter().map(|p| p.id.clone()).collect();
        }
        let key = SigningKey::from_bytes(&*self.config.signing_key.read_key().map_err(ServiceError::configuration)?);
        Ok(RunOrder::sign(&self.gate.agreement_hash(), run, period, parties, &key).opening(self.gate.reference()))
    }

    /// The order of a run as the broker relays it, its signature verified.
    pub async fn order(&self, run: &RunId, broker: Channel) -> Result<RunOrder, NodeError> {
        let request = v1::RunRequest { agreement: Some(self.gate.reference()), run_id: run.to_string() };
        let status = RunsClient::new(broker).get_run(request).await.map_err(|s| NodeError::broker(&s))?.into_inner();
        Ok(self.gate.order(&status)?)
    }

    fn plan(&self, order: &RunOrder) -> Result<Plan, NodeError> {
        let (run, period) = (&order.run, order.period);
        let delivery = self.delivery(period)?.ok_or_else(|| {
            NodeError::NotReady(format!(
                "aucune livraison prise en charge pour {period} : déposez le fichier du mois, ou « linkage node ingest »"
            ))
        })?;
        // Seed and month: one run identifier stands for one month, or two uploads would share their handles.
        let name = format!("runs/{run}");
        let month = period.to_string();
        let seed = match self.vault.get(&name)? {
            Some(kept) => {
                let (seed, of) = kept.split_at_checked(32).ok_or_else(|| NodeError::Damaged(name.clone()))?;
                if of != month.as_bytes() {
                    return Err(NodeError::Refused(format!(
                        "le traitement {run} a déjà servi pour un autre mois : demandez au coordonnateur d'en ouvrir un autre"
                    )));
                }
                Zeroizing::new(seed.try_into().map_err(|_| NodeError::Damaged(name))?)
            }
            None => {
                let mut seed = Zeroizing::new([0; 32]);
                linkage_common::rng().fill_bytes(seed.as_mut_slice());
                self.vault.put(&name, &Zeroizing::new([seed.as_slice(), month.as_bytes()].concat()))?;
                seed
            }
        };
        let seed = RunSeed(seed);
        let history = self.gate.agreement().agreement.history_months;
        let (last, first) = (period.index(), period.index().saturating_sub(history));
        let mut segments = Index::load(&self.vault)?.segments(|at| at.first <= last && at.last >= first);
        // Handles are random, so their order is: neither segments nor records keep the order of any file.
        for (_, records) in &mut segments {
            records.sort_by_key(|(_, reference, _)| seed.handle(reference));
        }
        segments.sort_by_key(|(_, records)| records.first().map(|(_, reference, _)| seed.handle(reference)));
        Ok(Plan { seed, segments, delivery })
    }

    /// Takes part in the run ordered: uploads what is not there yet and commits. Repeating it changes nothing.
    pub async fn participate(
        &self,
        order: &RunOrder,
        broker: Channel,
        custodian: Channel,
        progress: &Progress,
    ) -> Result<Participation, NodeError> {
        let (run, period) = (&order.run, order.period);
        self.gate.run(run, period)?;
        let plan = self.plan(order)?;
        let (referenced, present) = self.send_records(run, period, &plan, custodian).await?;
        let uploaded = self.send_encodings(run, &plan, broker, &progress.step("upload")).await?;
        tracing::info!(run = %run, uploaded, referenced, present, "upload committed");
        Ok(Participation { uploaded, referenced, present })
    }

    /// Record references and sealed attributes, to the custodian.
    async fn send_records(&self, run: &RunId, period: Period, plan: &Plan, channel: Channel) -> Result<(u64, u64), NodeError> {
        let agreement = self.gate.agreement();
        let mut rng = ChaCha20Rng::from_seed(crate::vault::hmac_sha256(&plan.seed.0, &[b"attributes"]));
        let mut keys = Vec::new();
        let mut sealed_keys = HashMap::new();
        let info = attributes_info(&self.gate.agreement_hash(), run.as_str(), self.party().as_str());
        for analyst in &agreement.analyst {
            let key = StorageKey::generate(&mut rng);
            let public = SealingPublicKey::from_base64(&analyst.sealing_key).map_err(ServiceError::configuration)?;
            let bytes = linkage_crypto::keyfile::decode(&key.to_key_file()).map_err(ServiceError::configuration)?;
            sealed_keys.insert(analyst.id.to_string(), public.seal(&info, &[], bytes.as_slice(), &mut rng)?.into());
            keys.push(key);
        }
        let plain: HashMap<&str, Vec<u8>> = attributes(&plan.delivery)?;
        let mut batches: Vec<Vec<u8>> = vec![Vec::new()];
        let (mut records, mut present) = (0, 0);
        for (_, reference, decoy) in plan.segments.iter().flat_map(|(_, records)| records) {
            if *decoy {
                continue;
            }
            let mut entry = Vec::new();
            entry.extend_from_slice(&plan.seed.handle(reference).0);
            entry.extend_from_slice(&reference.0);
            match plain.get(reference.to_hex().as_str()) {
                None => entry.push(0),
                Some(plain) => {
                    entry.push(1);
                    present += 1;
                    for key in &keys {
                        let sealed = key
                            .seal(PLACE, plain, &mut rng)
                            .map_err(|source| NodeError::State { file: "attributs".to_owned(), source })?;
                        entry.extend_from_slice(&(sealed.len() as u16).to_le_bytes());
                        entry.extend_from_slice(&sealed);
                    }
                }
            }
            records += 1;
            match batches.last_mut() {
                Some(last) if last.len() + entry.len() <= MAX_BATCH_BYTES => last.extend_from_slice(&entry),
                _ => batches.push(entry),
            }
        }
        let digests: Vec<[u8; 32]> = batches.iter().map(|b| Sha256::digest(b).into()).collect();
        let count = batches.len() as u32;
        let messages: Vec<v1::RecordBatch> = batches
            .into_iter()
            .zip(&digests)
            .enumerate()
            .map(|(sequence, (entries, digest))| v1::RecordBatch {
                agreement: Some(self.gate.reference()),
                run_id: run.to_string(),
                sequence: sequence as u32,
                entries: entries.into(),
                digest: digest.to_vec().into(),
            })
            .collect();
        let mut client = RegistryClient::new(channel);
        let request = v1::CommitRecordsRequest {
            agreement: Some(self.gate.reference()),
            run_id: run.to_string(),
            period: period.to_string(),
            batches: count,
            records,
            digest: manifest_digest(&digests).to_vec().into(),
            sealed_keys,
        };
        // Committed before, and the answer lost: the same commit is answered the same.
        if client.commit_records(request.clone()).await.is_ok() {
            return Ok((records, present));
        }
        client.put_records(tokio_stream::iter(messages)).await.map_err(|s| NodeError::custodian(&s))?;
        client.commit_records(request).await.map_err(|s| NodeError::custodian(&s))?;
        Ok((records, present))
    }

    /// Tokens and filters, to the broker.
    async fn send_encodings(&self, run: &RunId, plan: &Plan, channel: Channel, progress: &Progress) -> Result<u64, NodeError> {
        let mut client = RunsClient::new(channel);
        let request = v1::RunRequest { agreement: Some(self.gate.reference()), run_id: run.to_string() };
        let held = client.get_upload(request).await.map_err(|s| NodeError::broker(&s))?.into_inner();
        if held.committed {
            return Ok(held.records);
        }
        let group = self.group_key()?.ok_or_else(|| {
            NodeError::NotReady(
                "la clé de groupe n'est pas encore établie : il manque la contribution d'un partenaire".to_owned(),
            )
        })?;
        let run_key = group.run_key(&self.gate.agreement_hash(), run.as_str());
        let layout = self.gate.agreement().layout();
        let total: u64 = plan.segments.iter().map(|(_, records)| records.len() as u64).sum();

        // Batches are made on a thread of their own, at most a few ahead of the network.
        let (send, receive) = mpsc::channel::<v1::Batch>(2);
        let (agreement, run_id, progress) = (self.gate.reference(), run.to_string(), progress.clone());
        let segments = plan.segments.clone();
        let seed = RunSeed(Zeroizing::new(*plan.seed.0));
        let vault = self.reopen()?;
        let maker = tokio::task::spawn_blocking(move || -> Result<Vec<[u8; 32]>, NodeError> {
            let per_batch = records_per_batch(&layout, MAX_BATCH_BYTES);
            let mut digests = Vec::new();
            let mut batch = Vec::with_capacity(MAX_BATCH_BYTES);
            let mut in_batch = 0;
            let mut done = 0;
            let mut finish = |batch: &mut Vec<u8>, done: u64| -> bool {
                let digest: [u8; 32] = Sha256::digest(&*batch).into();
                let sequence = digests.len() as u32;
                digests.push(digest);
                progress.at(done, total);
                let records = std::mem::take(batch);
                if held.held.contains(&sequence) {
                    return true;
                }
                let message = v1::Batch {
                    agreement: Some(agreement.clone()),
                    run_id: run_id.clone(),
                    sequence,
                    records: records.into(),
                    digest: digest.to_vec().into(),
                };
                send.blocking_send(message).is_ok()
            };
            for (number, records) in &segments {
                let segment = Segment::load(&vault, &layout, *number)?;
                for (position, reference, _) in records {
                    let (header, entries) = segment.record(*position, reference)?;
                    write_record(&layout, &run_key, seed.handle(reference), header, entries, &mut batch)?;
                    in_batch += 1;
                    done += 1;
                    if in_batch == per_batch {
                        in_batch = 0;
                        if !finish(&mut batch, done) {
                            return Ok(Vec::new());
                        }
                    }
                }
            }
            if in_batch > 0 && !finish(&mut batch, done) {
                return Ok(Vec::new());
            }
            Ok(digests)
        });
        let mut stream = ReceiverStream::new(receive);
        let first = tokio_stream::StreamExt::next(&mut stream).await;
        let mut refused = None;
        if let Some(first) = first {
            let all = tokio_stream::StreamExt::chain(tokio_stream::once(first), stream);
            refused = client.put_batches(all).await.err();
        }
        let digests = maker.await.map_err(|_| NodeError::Configuration("calcul interrompu".to_owned()))??;
        if let Some(status) = refused {
            return Err(NodeError::broker(&status));
        }
        let request = v1::CommitUploadRequest {
            agreement: Some(self.gate.reference()),
            run_id: run.to_string(),
            batches: digests.len() as u32,
            records: total,
            digest: manifest_digest(&digests).to_vec().into(),
            level_frequencies: plan.delivery.level_frequencies.to_string().into_bytes().into(),
        };
        client.commit_upload(request).await.map_err(|s| NodeError::broker(&s))?;
        Ok(total)
    }
}

/// Household and attributes of every record delivered, as JSON of one length: a length would tell a value.
fn attributes(delivery: &DeliveryState) -> Result<HashMap<&str, Vec<u8>>, NodeError> {
    let mut plain = HashMap::new();
    let mut longest = 0;
    for record in &delivery.records {
        let values: Vec<Option<&str>> =
            std::iter::once(record.household.as_deref()).chain(record.attributes.iter().map(Option::as_deref)).collect();
        let json = serde_json::to_vec(&values).map_err(|_| NodeError::Configuration("attributs".to_owned()))?;
        longest = longest.max(json.len());
        plain.insert(record.reference.as_str(), json);
    }
    for json in plain.values_mut() {
        pad(json, longest);
    }
    Ok(plain)
}
