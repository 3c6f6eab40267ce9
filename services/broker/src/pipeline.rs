//! The broker's work as functions: uploads and settled pairs in, packed step outputs between, clusters of handles out.
//!
//! The worker stores each step's output before it starts the next; `linkage trial` calls the same functions in one
//! process. Uploads are read batch by batch through [`Uploads`], as often as a step needs; nothing else here does input or
//! output.

use std::collections::HashMap;

use bytes::Bytes;
use linkage_agreement::{Agreement, Handle, Layout, PartyId};
use linkage_common::error::ServiceError;
use linkage_linking::{
    Applied, BatchAt, Clusters, Comparisons, Dispositions, LevelFrequencies, LinkError, MatchClass, MeetTerms, Met, Model,
    PartyTerms, Records, Report, ReportTerms, Settings, Source, Spill, classify, meet, report, settle_with,
};
use serde::Serialize;

use crate::outside::{Outside, OutsideReport};
use crate::past_epoch::PastEpoch;
use crate::snapshots::RunDrift;

/// The committed uploads of a run: what each batch is, and how it is read.
pub struct Uploads<R> {
    layout: Layout,
    parties: Vec<PartyTerms>,
    batches: Vec<BatchAt>,
    read: R,
}

impl<R: Fn(usize) -> Result<Bytes, ServiceError> + Sync> Uploads<R> {
    /// Uploads of `parties`, each with the numbers of records of its batches, in order; `read` gives batch number n, counted
    /// over all parties.
    pub fn new(agreement: &Agreement, parties: &[(PartyId, Vec<u32>)], read: R) -> Self {
        let batches = parties
            .iter()
            .enumerate()
            .flat_map(|(party, (_, batches))| batches.iter().map(move |&records| BatchAt { party, records }));
        let batches = batches.collect();
        Self { layout: agreement.layout(), parties: terms(agreement, parties.iter().map(|p| &p.0)), batches, read }
    }
}

impl<R: Fn(usize) -> Result<Bytes, ServiceError> + Sync> Source for Uploads<R> {
    type Error = Fault;
    type Batch<'s>
        = Bytes
    where
        Self: 's;

    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn parties(&self) -> Vec<PartyTerms> {
        self.parties.clone()
    }
    fn batches(&self) -> Vec<BatchAt> {
        self.batches.clone()
    }
    fn read(&self, number: usize) -> Result<Bytes, Fault> {
        (self.read)(number).map_err(Fault)
    }
}

pub(crate) fn terms<'p>(agreement: &Agreement, parties: impl Iterator<Item = &'p PartyId>) -> Vec<PartyTerms> {
    let of = |party: &PartyId| PartyTerms {
        duplicate_free: agreement.party(party).is_some_and(|p| p.duplicate_free),
        shape: agreement.shape(party),
    };
    parties.map(of).collect()
}

/// Why a step ends early, in this role's terms.
#[derive(Debug)]
pub struct Fault(pub ServiceError);

impl From<LinkError> for Fault {
    fn from(error: LinkError) -> Self {
        Self(fault(&error))
    }
}

impl From<ServiceError> for Fault {
    fn from(error: ServiceError) -> Self {
        Self(error)
    }
}

/// What the first step leaves, packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Records without their encodings.
    pub records: Vec<u8>,
    /// The pairs that met.
    pub comparisons: Vec<u8>,
    /// What became of the blocks, JSON.
    pub blocks: Vec<u8>,
}

/// One member of a cluster on its way to the custodian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The record's name within the run.
    pub handle: Handle,
    /// 1 certain, 2 probable.
    pub match_class: u8,
    /// Ten-thousandths.
    pub probability: u16,
}

/// The run's report as sent to the custodian and the analysts: names of parties, counts and estimates.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport<'r> {
    /// Parties, in the order of `linkage.parties`.
    pub parties: &'r [PartyId],
    /// Report without labels.
    pub linkage: Report,
    /// What came of the pairs that their owners have settled.
    pub dispositions: Applied,
    /// Against the run of the month before, where there was one.
    pub drift: Option<RunDrift>,
    /// What came of parties that deliver filters or hash keys, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outside: Option<OutsideReport>,
    /// What parties left out since its encoding is of a former epoch; from the second epoch on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub past_epoch: Option<PastEpoch>,
}

/// What a linkage comes to.
#[derive(Debug, Clone)]
pub struct Linked {
    /// Clusters of handles.
    pub clusters: Vec<Vec<Member>>,
    /// Report without labels.
    pub report: Report,
    /// What came of the settled pairs.
    pub dispositions: Applied,
    /// What came of parties that deliver filters or hash keys, where there are any.
    pub outside: Option<OutsideReport>,
    /// The classifier: what increments of this run weigh by.
    pub model: Model,
}

/// Bytes of a packed settled pair: two handles and the verdict.
pub(crate) const SETTLED_LEN: usize = 33;

/// Refuses settled pairs (packed as in `SettledPairs.pairs`) that cannot be read.
pub fn check_settled(packed: &[u8]) -> Result<(), ServiceError> {
    let whole = packed.len().is_multiple_of(SETTLED_LEN);
    if !whole || packed.chunks_exact(SETTLED_LEN).any(|pair| !matches!(pair.last(), Some(1 | 2))) {
        return Err(ServiceError::invalid(
            "les paires décidées par leurs détenteurs sont illisibles ; vérifiez la version du logiciel du tiers de confiance",
        ));
    }
    Ok(())
}

/// The settled pairs among `records`. A handle that no party uploaded names a record without encodings: passed over.
fn dispositions(records: &Records, packed: &[u8]) -> Result<Dispositions, ServiceError> {
    check_settled(packed)?;
    if packed.is_empty() {
        return Ok(Dispositions::default());
    }
    let mut numbers = HashMap::with_capacity(records.len());
    for record in 0..records.len() as u32 {
        numbers.insert(records.handle(record).map_err(|e| fault(&e))?, record);
    }
    dispositions_of(packed, |handle| numbers.get(handle).copied())
}

/// The settled pairs of which `number` knows both records.
pub(crate) fn dispositions_of(packed: &[u8], number: impl Fn(&Handle) -> Option<u32>) -> Result<Dispositions, ServiceError> {
    check_settled(packed)?;
    let (mut confirmed, mut refuted) = (Vec::new(), Vec::new());
    for pair in packed.chunks_exact(SETTLED_LEN) {
        let (handles, verdict) = pair.split_at(2 * Handle::LEN);
        let (a, b) = handles.split_at(Handle::LEN);
        let numbered = |handle| Handle::from_slice(handle).and_then(|h| number(&h));
        if let (Some(a), Some(b)) = (numbered(a), numbered(b)) {
            if verdict == [1] { confirmed.push((a, b)) } else { refuted.push((a, b)) }
        }
    }
    Dispositions::new(confirmed, refuted).map_err(|e| fault(&e))
}

pub(crate) fn fault(error: &LinkError) -> ServiceError {
    if let LinkError::Memory { least } = error {
        let mib = least.div_ceil(1 << 20);
        return ServiceError::exhausted(format!(
            "ce rapprochement demande au moins {mib} Mio de mémoire ; relevez « memory_mib » du courtier et redémarrez-le, l'étape est reprise"
        ));
    }
    ServiceError::invalid(format!("l'envoi d'un partenaire ne peut être rapproché ({error}) ; ouvrez un nouveau traitement"))
}

fn frequencies(bytes: &[u8]) -> Result<LevelFrequencies, ServiceError> {
    serde_json::from_slice(bytes)
        .map_err(|_| ServiceError::invalid("la table des fréquences de niveaux n'est pas celle que demandent les champs de la convention ; comparez les empreintes (linkage agreement show)"))
}

/// Refuses a table of level frequencies that does not fit the agreement's fields.
pub fn check_level_frequencies(agreement: &Agreement, bytes: &[u8]) -> Result<(), ServiceError> {
    frequencies(bytes)?.check(&agreement.layout()).map_err(|e| {
        ServiceError::invalid(format!(
            "table des fréquences de niveaux refusée ({e}) ; comparez les empreintes de la convention (linkage agreement show)"
        ))
    })
}

/// Step one: which records meet, and how similar they are in the blocks where they do, in `memory_bytes` of memory and with
/// the room of `spill`.
///
/// # Errors
/// An upload that cannot be linked; `Exhausted` when the memory cannot hold the run, with what can.
pub fn compare(
    agreement: &Agreement,
    uploads: &impl Source<Error = Fault>,
    spill: &dyn Spill<Fault>,
    memory_bytes: u64,
) -> Result<Compared, ServiceError> {
    let terms = MeetTerms { block_cap: agreement.encoding.block_cap, memory_bytes };
    let Met { records, blocks, comparisons } = meet(uploads, spill, &terms).map_err(|fault| fault.0)?;
    refuse_double_handles(&records)?;
    Ok(Compared {
        records: records.to_bytes(),
        comparisons: comparisons.to_bytes(),
        blocks: serde_json::to_vec(&blocks).map_err(ServiceError::internal)?,
    })
}

fn refuse_double_handles(records: &Records) -> Result<(), ServiceError> {
    let mut handles = Vec::with_capacity(records.len());
    for record in 0..records.len() {
        handles.push(records.handle(record as u32).map_err(|e| fault(&e))?);
    }
    handles.sort_unstable();
    if handles.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(ServiceError::invalid(
            "un pseudonyme de fiche figure deux fois dans ce traitement : un nœud a envoyé deux fois la même fiche ; ouvrez un nouveau traitement",
        ));
    }
    Ok(())
}

/// Step two: weighs the pairs, decides, clusters. `parties` are those of the uploads with their level frequencies (JSON), in
/// order; `settled` holds the pairs that their owners have settled, packed as in `SettledPairs.pairs`.
pub fn cluster_run(
    agreement: &Agreement,
    parties: &[(PartyId, Vec<u8>)],
    compared: &Compared,
    settled: &[u8],
) -> Result<Linked, ServiceError> {
    let layout = agreement.layout();
    let records = Records::from_bytes(&layout, terms(agreement, parties.iter().map(|p| &p.0)), &compared.records);
    let records = &records.map_err(|e| fault(&e))?;
    let comparisons = Comparisons::from_bytes(&compared.comparisons).map_err(|e| fault(&e))?;
    let blocks = serde_json::from_slice(&compared.blocks).map_err(ServiceError::internal)?;
    let mut merged = LevelFrequencies::new(&layout);
    for (_, table) in parties {
        merged.merge(&frequencies(table)?).map_err(|e| fault(&e))?;
    }
    let model = classify(records, &comparisons, &merged).map_err(|e| fault(&e))?;
    let settled = dispositions(records, settled)?;
    let settings = Settings::of(agreement);
    let outside = Outside::of(agreement, records, &settled)?;
    let rows = outside.as_ref().map_or(&[][..], Outside::rows);
    let (decided, clusters) = settle_with(records, &comparisons, &model, &settings, &settled, rows).map_err(|e| fault(&e))?;
    let outside = outside.map(|outside| outside.report(agreement, records, &clusters));
    let made = report(records, &blocks, &comparisons, &model, &decided, &clusters, &ReportTerms::of(agreement));
    let mut out = members(records, &clusters)?;
    out.sort_by_key(|c| c.first().map(|m| m.handle));
    Ok(Linked { clusters: out, report: made, dispositions: clusters.dispositions, outside, model })
}

/// Clusters by handles, each in their order.
pub(crate) fn members(records: &Records, clusters: &Clusters) -> Result<Vec<Vec<Member>>, ServiceError> {
    let mut out = Vec::with_capacity(clusters.clusters.len());
    for cluster in &clusters.clusters {
        let mut members = Vec::with_capacity(cluster.members.len());
        for member in &cluster.members {
            members.push(Member {
                handle: records.handle(member.record).map_err(|e| fault(&e))?,
                match_class: match member.class {
                    MatchClass::Certain => 1,
                    MatchClass::Probable => 2,
                },
                probability: (member.probability * 10_000.0).round().clamp(0.0, 10_000.0) as u16,
            });
        }
        // By handle, which is random: the order in which records came tells nothing further on.
        members.sort_by_key(|m| m.handle);
        out.push(members);
    }
    Ok(out)
}

/// Packs clusters for the wire, in batches of at most `limit` bytes; at least one batch, which may be empty.
pub fn pack_clusters(clusters: &[Vec<Member>], limit: usize) -> Vec<Vec<u8>> {
    let mut batches = vec![Vec::new()];
    for cluster in clusters {
        let mut packed = Vec::with_capacity(2 + 19 * cluster.len());
        packed.extend_from_slice(&(cluster.len() as u16).to_le_bytes());
        for member in cluster {
            packed.extend_from_slice(&member.handle.0);
            packed.push(member.match_class);
            packed.extend_from_slice(&member.probability.to_le_bytes());
        }
        match batches.last_mut() {
            Some(last) if last.len() + packed.len() <= limit => last.extend_from_slice(&packed),
            _ => batches.push(packed),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use linkage_agreement::FieldKind;
    use linkage_common::error::ErrorKind;
    use linkage_linking::PartyInput;

    use super::*;

    fn pair(a: u8, b: u8, verdict: u8) -> Vec<u8> {
        [&[a; 16][..], &[b; 16], &[verdict]].concat()
    }

    #[test]
    fn settled_pairs_name_records_of_the_run_and_others_are_passed_over() {
        let layout = Layout::new(&[FieldKind::BirthName, FieldKind::BirthDate], 64, 2, 4);
        let bytes: Vec<u8> = [7, 5, 9].iter().flat_map(|&handle| vec![handle; layout.record_len()]).collect();
        let records = Records::new(&layout, &[PartyInput::block_scoped(&layout, true, vec![&bytes])]).unwrap();
        let read = |packed: &[u8]| dispositions(&records, packed);
        assert_eq!(read(&[]), Ok(Dispositions::default()));
        let packed = [pair(5, 9, 1), pair(5, 7, 2), pair(5, 8, 1), pair(1, 2, 2)].concat();
        assert_eq!(read(&packed), Ok(Dispositions::new([(1, 2)], [(0, 1)]).unwrap()));
        let twofold = [pair(5, 9, 1), pair(9, 5, 2)].concat();
        for wrong in [&packed[1..], &pair(5, 9, 0), &pair(5, 9, 3), &pair(5, 5, 1), &twofold] {
            assert_eq!(read(wrong).unwrap_err().kind, ErrorKind::Invalid);
        }
    }
}
