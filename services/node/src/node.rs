//! A node: its agreement, its encrypted state, and what it can be asked to do without the network.
//!
//! State files, all sealed: `refs` (keyed digest of a local id -> record reference), `archive/*`, `annex/*`, `deliveries/AAAA-MM`
//! (who was delivered, with minimised attributes), `names/AAAA-MM` (the file as delivered, until `delete_names`),
//! `cache/*` (evaluations under keyed digests, until `delete_names`), `runs/RUN` (seed of an upload), `keys/*`,
//! `epoch` (of the OPRF key), `local` (key of digests, once the storage key was replaced), `dispositions` (pairs settled with other parties, by record reference), `rights/*` (requests of persons, objection list).

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use linkage_agreement::{PartyId, Period, RecordRef, RoleId};
use linkage_common::audit::{Act, AuditLog};
use linkage_common::clock::{Clock, SystemClock};
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use linkage_common::gate::Gate;
use linkage_encoding::Identity;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::annex::Annexes;
use crate::annex::named::NamedAnnexes;
use crate::archive::Index;
use crate::cache::{self, Cache};
use crate::config::NodeConfig;
use crate::delivery::{DeliverySummary, Row, read_screened};
use crate::error::NodeError;
use crate::intake::{IntakeError, Mapping, SetAsideReport};
use crate::oprf::Evaluator;
use crate::passes;
use crate::progress::Progress;
use crate::retention::{self, terms::Terms};
use crate::rights::{Ground, Marker, Marks, Screen};
use crate::rotate;
use crate::stage_one::{self, EncodedChunk};
use crate::vault::{StateLock, Vault};

const REFS: &str = "refs";
/// How long one waits for another process that changes the state.
const PATIENCE: Duration = Duration::from_secs(20);

/// A party's node.
pub struct Node {
    /// Its configuration.
    pub config: NodeConfig,
    /// Agreement, terminations, clock.
    pub gate: Arc<Gate>,
    /// State at rest.
    pub vault: Vault,
    /// What was done with it.
    pub audit: AuditLog,
    /// Keeps the storage key from being replaced.
    _in_use: File,
}

/// A delivered record as kept with its period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveredRecord {
    /// Record reference, hexadecimal.
    pub reference: String,
    /// Household, under a keyed digest.
    pub household: Option<String>,
    /// Minimised attributes, in the agreement's order.
    pub attributes: Vec<Option<String>>,
}

/// What is kept of a delivery once it is encoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryState {
    /// Counts.
    pub summary: DeliverySummary,
    /// Who was delivered.
    pub records: Vec<DeliveredRecord>,
    /// Level frequencies of the delivery (JSON).
    pub level_frequencies: serde_json::Value,
    /// Digest of what annexes were made by, where the agreement asked for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annexes: Option<String>,
    /// Epoch of the OPRF key that its records were encoded under, or were found encoded.
    #[serde(default = "first_epoch", skip_serializing_if = "is_first_epoch")]
    pub epoch: u32,
}

fn first_epoch() -> u32 {
    1
}

fn is_first_epoch(epoch: &u32) -> bool {
    *epoch == first_epoch()
}

fn delivery_name(period: Period) -> String {
    format!("deliveries/{period}")
}

impl Node {
    /// Opens a node: its agreement must be signed by all, its keys those that the agreement names.
    pub fn open(config: NodeConfig) -> Result<Self, NodeError> {
        Self::open_at(config, Arc::new(SystemClock))
    }

    /// As [`Self::open`], by another clock.
    pub fn open_at(config: NodeConfig, clock: Arc<dyn Clock>) -> Result<Self, NodeError> {
        let gate = Arc::new(Gate::load(&config.agreement, clock)?);
        if gate.agreement().party(&config.party).is_none() {
            return Err(NodeError::Configuration(format!(
                "la convention ne nomme pas le partenaire {} : corrigez « party »",
                config.party
            )));
        }
        if let Some(attributes) = &config.attributes {
            gate.signed().permit_attributes(attributes).map_err(ServiceError::from)?;
        }
        let key = config.storage_key.read_key().map_err(ServiceError::configuration)?;
        fsx::create_private_dir(&config.state_dir)?;
        let in_use = rotate::in_use(&config.state_dir)?;
        let vault = Vault::open(&config.state_dir, &key)?;
        let role = RoleId::Party(config.party.clone());
        let audit = AuditLog::open(&config.audit.place(&config.state_dir)?, gate.clone(), role)?.by_operator();
        let node = Self { config, gate, vault, audit, _in_use: in_use };
        node.check_epoch()?;
        Ok(node)
    }

    /// The same state, for a thread of its own.
    pub fn reopen(&self) -> Result<Vault, NodeError> {
        let key = self.config.storage_key.read_key().map_err(ServiceError::configuration)?;
        Vault::open(&self.config.state_dir, &key)
    }

    /// As [`Vault::lock`], with the patience of one who can come back later.
    pub async fn alone(&self) -> Result<StateLock, NodeError> {
        let vault = self.reopen()?;
        let lock = tokio::task::spawn_blocking(move || vault.lock(PATIENCE)).await;
        lock.map_err(|_| NodeError::Io(std::io::Error::other("lock")))?
    }

    /// As [`Vault::lock_ceremony`], with the same patience.
    pub(crate) async fn alone_in_ceremony(&self) -> Result<StateLock, NodeError> {
        let vault = self.reopen()?;
        let lock = tokio::task::spawn_blocking(move || vault.lock_ceremony(PATIENCE)).await;
        lock.map_err(|_| NodeError::Io(std::io::Error::other("lock")))?
    }

    /// The party.
    pub fn party(&self) -> &PartyId {
        &self.config.party
    }

    /// The confirmed mapping.
    pub fn mapping(&self) -> Result<Mapping, NodeError> {
        if self.config.mapping.as_os_str().is_empty() {
            return Err(NodeError::Configuration(
                "il manque la clé « mapping » (correspondance des colonnes) dans la configuration du nœud".to_owned(),
            ));
        }
        Ok(Mapping::load(&self.config.mapping)?)
    }

    /// The attributes of a record that this party chose to send; the others are as if missing.
    pub(crate) fn sent(&self, values: &[Option<String>]) -> Vec<Option<String>> {
        let chosen = |name: &String| self.config.attributes.as_ref().is_none_or(|chosen| chosen.contains(name));
        let attributes = self.gate.agreement().travelling_attributes();
        attributes.iter().zip(values).map(|(attribute, value)| value.clone().filter(|_| chosen(&attribute.name))).collect()
    }

    /// What is kept of the delivery for `period`.
    pub fn delivery(&self, period: Period) -> Result<Option<DeliveryState>, NodeError> {
        let name = delivery_name(period);
        let Some(bytes) = self.vault.get(&name)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|_| NodeError::Damaged(name))
    }

    /// Periods delivered, in order.
    pub fn periods(&self) -> Result<Vec<Period>, NodeError> {
        let names = self.vault.list("deliveries")?;
        Ok(names.iter().filter_map(|n| n.rsplit('/').next()?.parse().ok()).collect())
    }

    /// Where the list of lines set aside is written: line and reason, no value.
    pub fn report_path(&self, period: Period) -> PathBuf {
        self.vault.folder().join("reports").join(format!("{period}-ecartees.csv"))
    }

    /// Takes a delivery in: reads it, encodes what is new or changed, archives. A delivery taken in before changes
    /// nothing; another file for the same period replaces who was delivered.
    pub async fn ingest(
        &self,
        path: &Path,
        period: Period,
        evaluator: &mut Evaluator,
        progress: &Progress,
    ) -> Result<DeliverySummary, NodeError> {
        self.gate.period(period)?;
        let _alone = self.alone().await?;
        if let Some(profile) = self.profile() {
            return self.ingest_encoded(profile, path, period, progress);
        }
        let epoch = self.enter_epoch()?;
        let annexes = NamedAnnexes::load(self)?;
        let mapping = self.mapping()?;
        let reports = self.report_path(period);
        if let Some(parent) = reports.parent() {
            fsx::create_private_dir(parent)?;
        }
        let mut report = SetAsideReport::create(&reports)?;
        let agreement = self.gate.agreement();
        let screen = Screen::load(&self.vault)?;
        let delivery = read_screened(agreement, &mapping, path, period, Some(self.gate.today()), &screen, &mut report)?;
        report.finish()?;
        progress.step("read").at(delivery.summary.lines, delivery.summary.lines);
        let made_by = annexes.as_ref().map(|annexes| hex::encode(self.vault.digest("annexes", &annexes.content())));
        if self.known_delivery(&delivery.summary, made_by.as_deref())? {
            return Ok(delivery.summary);
        }
        self.within_limit(&delivery.summary)?;
        let passes = passes::agreed(&agreement.encoding, self.config.pass_set.as_deref())?;
        let all: Vec<&Identity> = delivery.rows.iter().map(|row| &row.identity).collect();
        passes::fine_enough(&agreement.encoding, &passes, &all)?;
        // The file first: until its records are archived it can be encoded again.
        let file = Zeroizing::new(fs::read(path)?);
        if hex::encode(Sha256::digest(&*file)) != delivery.summary.digest {
            return Err(IntakeError::Changed.into());
        }
        if delivery.summary.reasons.contains_key(Ground::Objection.reason()) {
            // Who objected is in it.
            self.vault.remove(&format!("names/{period}"))?;
        } else {
            self.vault.put(&format!("names/{period}"), &file)?;
        }
        retention::names_taken_in(&self.vault, period, self.gate.today())?;
        drop(file);

        let mut refs = Refs::load(&self.vault)?;
        let mut index = Index::load(&self.vault)?;
        let (marker, mut marks) = (Marker::new(&self.vault), Marks::load(&self.vault)?);
        let mut terms = Terms::load(&self.vault)?;
        let mut records = Vec::with_capacity(delivery.rows.len());
        let mut changed: Vec<(RecordRef, &Identity)> = Vec::new();
        let mut contents: HashMap<RecordRef, [u8; 16]> = HashMap::new();
        for row in &delivery.rows {
            let reference = refs.of(&self.vault, &row.local_id);
            terms.set(&reference, row.term);
            marks.set(reference, marker.identity(&row.identity));
            let content = self.content(row, annexes.as_ref());
            if index.records.get(&reference).is_none_or(|known| known.content != content || known.epoch != epoch) {
                contents.insert(reference, content);
                changed.push((reference, &row.identity));
            } else {
                index.seen(&reference, period);
            }
            records.push(DeliveredRecord {
                reference: reference.to_hex(),
                household: row.household.as_ref().map(|h| hex::encode(self.vault.digest("household", &[h.as_bytes()]))),
                attributes: self.sent(&row.attributes),
            });
        }
        for (local_id, term) in &delivery.over {
            if let Some(reference) = refs.known(&self.vault, local_id) {
                terms.set(&reference, Some(*term));
            }
        }
        refs.save(&self.vault)?;
        marks.save(&self.vault)?;
        terms.save(&self.vault)?;

        evaluator.declare(period, delivery.summary.records).await?;
        let mut cache = Cache::open(&self.vault)?;
        let mut decoys: HashSet<RecordRef> = HashSet::new();
        let mut appended: Vec<RecordRef> = Vec::with_capacity(changed.len());
        // Segments are written as they come and count once the index names them.
        let keep = |chunk: EncodedChunk| {
            decoys.extend(chunk.decoys);
            appended.extend(chunk.records.iter().map(|record| record.reference));
            index.append(&self.vault, period, epoch, &chunk.records, |r| {
                (contents.get(r).copied().unwrap_or_default(), decoys.contains(r))
            })
        };
        stage_one::encode(agreement, &passes, &changed, period, evaluator, &mut cache, progress, keep).await?;
        let seed = self.vault.secret("levels", &[period.to_string().as_bytes()]);
        let levels = stage_one::level_frequencies(&agreement.layout(), &all, &seed)?;

        let mut summary = delivery.summary;
        if let Some(annexes) = &annexes {
            let rows: HashMap<RecordRef, &Row> =
                delivery.rows.iter().filter_map(|row| Some((refs.known(&self.vault, &row.local_id)?, row))).collect();
            let remarks = annexes.write(&self.vault, &index, appended.into_iter(), &decoys, &rows, &delivery.identity_columns)?;
            summary.remarks.extend(remarks);
        }
        index.save(&self.vault)?;
        index.drop_unnamed(&self.vault)?;
        Annexes::drop_unnamed(&self.vault, &index)?;
        let level_frequencies =
            serde_json::to_value(&levels).map_err(|_| NodeError::Configuration("fréquences de niveaux".to_owned()))?;
        let state = DeliveryState { summary: summary.clone(), records, level_frequencies, annexes: made_by, epoch };
        self.keep_delivery(&state)?;
        self.audit.record(self.taken_in(&summary)).await?;
        tracing::info!(period = %period, records = summary.records, set_aside = summary.set_aside, encoded = changed.len(), "delivery taken in");
        if !summary.remarks.is_empty() {
            let remarks: Vec<String> = summary.remarks.iter().map(|(remark, n)| format!("{n} × {remark}")).collect();
            tracing::warn!(period = %period, remarks = remarks.join(" ; "), "delivery taken in with remarks");
        }
        Ok(summary)
    }

    /// Keyed digest of what a record's encoding is made of.
    pub(crate) fn content(&self, row: &Row, annexes: Option<&NamedAnnexes>) -> [u8; 16] {
        let mut delivered: Vec<&[u8]> = row.delivered.iter().map(String::as_bytes).collect();
        delivered.extend(annexes.iter().flat_map(|annexes| annexes.content()));
        self.vault.digest("content", &delivered)
    }

    /// The entry of a delivery taken in.
    pub(crate) fn taken_in(&self, summary: &DeliverySummary) -> Act {
        Act::own("delivery.taken-in").period(summary.period).records(summary.records).fields(self.sent_attributes())
    }

    /// Names of the attributes that this party sends.
    pub(crate) fn sent_attributes(&self) -> Vec<String> {
        let names = self.gate.agreement().travelling_attributes().into_iter().map(|attribute| attribute.name);
        names.filter(|name| self.config.attributes.as_ref().is_none_or(|chosen| chosen.contains(name))).collect()
    }

    /// Whether the delivery is the one taken in for its month, and its annexes are those that the agreement asks for now.
    pub(crate) fn known_delivery(&self, summary: &DeliverySummary, annexes: Option<&str>) -> Result<bool, NodeError> {
        let known = self.delivery(summary.period)?;
        // Lines set aside at a person's request may count by now: it may have been lifted.
        let grounds = [Ground::Objection, Ground::Restriction];
        let known = known.filter(|known| !grounds.iter().any(|ground| known.summary.reasons.contains_key(ground.reason())));
        let current = |known: &DeliveryState| self.profile().is_some() || known.epoch == self.gate.agreement().oprf_epoch();
        Ok(known.is_some_and(|known| {
            known.summary.digest == summary.digest && known.annexes.as_deref() == annexes && current(&known)
        }))
    }

    /// Refuses a delivery of more records than the agreement provides for.
    pub(crate) fn within_limit(&self, summary: &DeliverySummary) -> Result<(), NodeError> {
        let limit = self.gate.agreement().party(self.party()).map_or(0, |p| p.max_records);
        if summary.records <= limit {
            return Ok(());
        }
        Err(NodeError::Refused(format!(
            "la livraison compte {} fiches, la convention en prévoit {limit} au plus par mois : un avenant peut relever ce nombre",
            summary.records
        )))
    }

    /// Keeps what is kept of a delivery: from then on it is taken in.
    pub(crate) fn keep_delivery(&self, state: &DeliveryState) -> Result<(), NodeError> {
        let bytes = serde_json::to_vec(state).map_err(|_| NodeError::Configuration("livraison".to_owned()))?;
        self.vault.put(&delivery_name(state.summary.period), &bytes)
    }

    /// Deletes all that holds or could give back a name: deliveries as received, evaluations under keyed digests of
    /// block keys, and certifies it. The archive stays and serves later runs. Returns how many files were deleted.
    pub fn delete_names(&self) -> Result<u64, NodeError> {
        let _alone = self.vault.lock(PATIENCE)?;
        for name in self.vault.list("names")? {
            let known: Option<Period> = name.rsplit('/').next().and_then(|p| p.parse().ok());
            if known.is_some_and(|period| !self.vault.has(&delivery_name(period))) {
                return Err(NodeError::NotReady(
                    "une livraison n'est pas encore archivée : laissez finir la prise en charge, puis relancez".to_owned(),
                ));
            }
        }
        self.names_by_operator()
    }

    /// Whether any name is still held.
    pub fn names_held(&self) -> Result<bool, NodeError> {
        Ok(!self.vault.list(cache::FOLDER)?.is_empty() || !self.vault.list("names")?.is_empty())
    }

    /// The references of local ids, in order, where the node knows them: for the operator who holds the file.
    pub fn references_of<'i>(&self, local_ids: impl Iterator<Item = &'i str>) -> Result<Vec<Option<RecordRef>>, NodeError> {
        Ok(local_ids.map(self.reference_lookup()?).collect())
    }

    /// Gives the reference of a local id that a delivery has named.
    pub(crate) fn reference_lookup(&self) -> Result<impl Fn(&str) -> Option<RecordRef> + '_, NodeError> {
        let refs = Refs::load(&self.vault)?;
        Ok(move |id: &str| refs.known(&self.vault, id))
    }
}

/// Record references by keyed digest of the local id.
pub(crate) struct Refs {
    by_digest: HashMap<[u8; 16], RecordRef>,
    new: bool,
}

impl Refs {
    pub(crate) fn load(vault: &Vault) -> Result<Self, NodeError> {
        let mut refs = Self { by_digest: HashMap::new(), new: false };
        for (digest, reference) in pairs::<16>(vault, REFS)? {
            refs.by_digest.insert(digest, RecordRef(reference));
        }
        Ok(refs)
    }

    pub(crate) fn of(&mut self, vault: &Vault, local_id: &str) -> RecordRef {
        let new = &mut self.new;
        *self.by_digest.entry(vault.digest("local-id", &[local_id.as_bytes()])).or_insert_with(|| {
            *new = true;
            stage_one::random_ref(&mut linkage_common::rng())
        })
    }

    /// Forgets the local id of a record.
    pub(crate) fn forget(&mut self, reference: &RecordRef) {
        let before = self.by_digest.len();
        self.by_digest.retain(|_, known| known != reference);
        self.new |= self.by_digest.len() != before;
    }

    /// The same, of many records.
    pub(crate) fn forget_all(&mut self, gone: &HashSet<RecordRef>) {
        let before = self.by_digest.len();
        self.by_digest.retain(|_, known| !gone.contains(known));
        self.new |= self.by_digest.len() != before;
    }

    pub(crate) fn known(&self, vault: &Vault, local_id: &str) -> Option<RecordRef> {
        self.by_digest.get(&vault.digest("local-id", &[local_id.as_bytes()])).copied()
    }

    pub(crate) fn save(&self, vault: &Vault) -> Result<(), NodeError> {
        if !self.new {
            return Ok(());
        }
        let mut sorted: Vec<_> = self.by_digest.iter().collect();
        sorted.sort();
        let bytes: Vec<u8> = sorted.into_iter().flat_map(|(digest, reference)| [*digest, reference.0].concat()).collect();
        vault.put(REFS, &bytes)
    }
}

/// A key and its value.
type Pair<const N: usize> = ([u8; 16], [u8; N]);

/// Reads a file of 16-byte keys and `N`-byte values.
fn pairs<const N: usize>(vault: &Vault, name: &str) -> Result<Vec<Pair<N>>, NodeError> {
    let Some(bytes) = vault.get(name)? else { return Ok(Vec::new()) };
    let damaged = || NodeError::Damaged(name.to_owned());
    if bytes.len() % (16 + N) != 0 {
        return Err(damaged());
    }
    bytes
        .chunks_exact(16 + N)
        .map(|pair| Ok((pair[..16].try_into().map_err(|_| damaged())?, pair[16..].try_into().map_err(|_| damaged())?)))
        .collect()
}
