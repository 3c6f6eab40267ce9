//! An increment: what is new or changed against a run that is held, and clusters of all records from both.
//!
//! The held run is read and never written, so that an increment that was interrupted begins again, and several increments of one
//! run stand side by side, each with everything since that run. What an increment does other than a full run on the same data
//! says `linkage_linking::increment`.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use linkage_agreement::{Agreement, Handle, PartyId};
use linkage_common::error::{ErrorKind, ServiceError};
use linkage_linking::{
    Base, Comparisons, Dimensions, HeldRecords, Model, RecordIndex, Records, Settings, Source, increment, index_tokens,
};
use serde_json::{Value, json};

use crate::held::HeldTokens;
use crate::pipeline::{Fault, Member, SETTLED_LEN, dispositions_of, fault, members, terms};
use crate::spill::SpillFolder;

/// Bytes of a packed member: handle, match class, probability.
const MEMBER_LEN: usize = 19;
/// How often what is held is in memory at most: packed, unpacked, and in what is made of it.
const HELD_COPIES: u64 = 3;

/// What is held of a run beside its uploads and tokens, packed.
#[derive(Debug)]
pub struct HeldRun {
    /// Records without their encodings.
    pub records: Bytes,
    /// The pairs that met.
    pub comparisons: Bytes,
    /// The classifier.
    pub model: Bytes,
    /// The pairs that their owners had settled.
    pub settled: Bytes,
    /// Its clusters.
    pub clusters: Vec<Bytes>,
    /// Its report.
    pub report: Bytes,
    /// Memory that an increment may take beside it, in bytes: [`memory_beside`].
    pub memory_bytes: u64,
}

/// What of `memory_bytes` an increment may take beside a held run of `held` packed bytes.
///
/// # Errors
/// `Invalid` when there is no room for the run itself.
pub fn memory_beside(held: u64, memory_bytes: u64) -> Result<u64, ServiceError> {
    memory_bytes.checked_sub(held.saturating_mul(HELD_COPIES)).ok_or_else(too_large)
}

/// An increment keeps what is new in memory, unlike a full run: waiting for a larger broker is not worth it.
fn too_large() -> ServiceError {
    ServiceError::invalid(
        "complément trop grand pour la mémoire du courtier (memory_mib) ; ouvrez un traitement complet, qui se range sur disque",
    )
}

/// What came of an increment.
#[derive(Debug)]
pub struct Increased {
    /// Clusters of all records, those of the held run that nothing touches among them.
    pub clusters: Vec<Vec<Member>>,
    /// The held run's report, with a section `increment`.
    pub report: Value,
}

/// Indexes the tokens of a run in `folder`, in place of what was there; returns the number of partitions.
///
/// # Errors
/// An upload that cannot be read, or the disk.
pub fn keep_tokens(
    uploads: &impl Source<Error = Fault>,
    folder: &std::path::Path,
    spill: &SpillFolder,
) -> Result<u32, ServiceError> {
    forget_tokens(folder)?;
    let keep = |number: u32, batch: &_| HeldTokens::keep(folder, number, batch).map_err(Fault);
    Ok(index_tokens(uploads, spill, keep).map_err(|fault| fault.0)?.count())
}

/// Removes the index of a run; nothing when there is none.
///
/// # Errors
/// The disk.
pub fn forget_tokens(folder: &std::path::Path) -> Result<(), ServiceError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Links the records of `new`, uploads of the held run's parties in its order, without the handles in `removed` (packed, by
/// party); `settled` as in `SettledPairs.pairs`.
///
/// # Errors
/// Uploads that are none of an increment of this run, or more than there is memory for.
pub fn link_increment(
    agreement: &Agreement,
    base: &HeldRun,
    tokens: &HeldTokens,
    held: &dyn HeldRecords<Fault>,
    new: &impl Source<Error = Fault>,
    removed: &[(PartyId, Vec<u8>)],
    settled: &[u8],
) -> Result<Increased, ServiceError> {
    let layout = agreement.layout();
    let records = Records::from_bytes(&layout, terms(agreement, removed.iter().map(|(party, _)| party)), &base.records);
    let records = records.map_err(|e| fault(&e))?;
    let comparisons = Comparisons::from_bytes(&base.comparisons).map_err(|e| fault(&e))?;
    let model = Model::from_bytes(&Dimensions::of(&layout), &base.model).map_err(|e| fault(&e))?;

    let fresh = new_handles(new)?;
    let removed = removed_records(&records, removed)?;
    let numbers = numbered(&records, &fresh, &removed, &[&base.settled, settled])?;
    let before = dispositions_of(&base.settled, |handle| numbers.held.get(handle).copied())?;
    let now = dispositions_of(settled, |handle| numbers.of(handle, &removed))?;
    let added = fresh.len();
    let memory_bytes = base.memory_bytes;
    let held_base = Base { records, comparisons: &comparisons, model: &model, settled: &before, memory_bytes };
    let made = increment(held_base, tokens, held, new, &removed, &Settings::of(agreement), &now);
    let made = made.map_err(|Fault(error)| if error.kind == ErrorKind::Exhausted { too_large() } else { error })?;

    let mut void = HashSet::with_capacity(made.touched.len());
    for &record in &made.touched {
        void.insert(made.records.handle(record).map_err(|e| fault(&e))?);
    }
    let mut clusters = unpack_clusters(&base.clusters)?;
    clusters.retain(|cluster| cluster.iter().all(|member| !void.contains(&member.handle)));
    let kept = clusters.len();
    clusters.extend(members(&made.records, &made.clusters)?);
    clusters.sort_by_key(|cluster| cluster.first().map(|member| member.handle));

    let mut report: Value = serde_json::from_slice(&base.report).map_err(ServiceError::internal)?;
    report["dispositions"] = serde_json::to_value(made.clusters.dispositions).map_err(ServiceError::internal)?;
    report["drift"] = Value::Null;
    report["increment"] = json!({
        "new_records": added,
        "removed_records": removed.len(),
        "records": made.records.len() - removed.len(),
        "pairs_met": made.comparisons.rows.len(),
        "clusters_kept": kept,
        "clusters_made_anew": made.clusters.clusters.len(),
    });
    Ok(Increased { clusters, report })
}

/// The handles of new records, in the order of their numbers.
fn new_handles(new: &impl Source<Error = Fault>) -> Result<Vec<Handle>, ServiceError> {
    let (parties, layout) = (new.parties(), new.layout());
    let mut handles = Vec::new();
    for (number, batch) in new.batches().iter().enumerate() {
        let record_len = parties.get(batch.party).map_or(layout.record_len(), |party| party.shape.record_len(layout));
        let bytes = new.read(number).map_err(|fault| fault.0)?;
        let named = bytes.as_ref().chunks_exact(record_len).filter_map(|record| record.get(..Handle::LEN));
        handles.extend(named.filter_map(Handle::from_slice));
    }
    Ok(handles)
}

/// Numbers of the held run's records that are taken out.
fn removed_records(records: &Records, removed: &[(PartyId, Vec<u8>)]) -> Result<BTreeSet<RecordIndex>, ServiceError> {
    let mut found = BTreeSet::new();
    for (party, (_, packed)) in removed.iter().enumerate() {
        let wanted: HashSet<Handle> = packed.chunks_exact(Handle::LEN).filter_map(Handle::from_slice).collect();
        let before = found.len();
        if !wanted.is_empty() {
            for record in records.of_party(party) {
                if wanted.contains(&records.handle(record).map_err(|e| fault(&e))?) {
                    found.insert(record);
                }
            }
        }
        if found.len() - before != packed.len() / Handle::LEN {
            return Err(ServiceError::invalid(
                "un partenaire retire des fiches que le traitement de base ne tient pas de lui ; ouvrez un traitement complet",
            ));
        }
    }
    Ok(found)
}

/// Numbers of new records, and of those held ones that settled pairs name.
struct Numbers {
    held: HashMap<Handle, RecordIndex>,
    new: HashMap<Handle, RecordIndex>,
}

impl Numbers {
    /// Of a record that takes part now.
    fn of(&self, handle: &Handle, removed: &BTreeSet<RecordIndex>) -> Option<RecordIndex> {
        self.new.get(handle).or_else(|| self.held.get(handle).filter(|record| !removed.contains(record))).copied()
    }
}

/// Numbers new records after those that are held, and finds those held ones that pairs in `settled` (packed) name.
///
/// # Errors
/// A handle that two records have which take part.
fn numbered(
    records: &Records,
    fresh: &[Handle],
    removed: &BTreeSet<RecordIndex>,
    settled: &[&[u8]],
) -> Result<Numbers, ServiceError> {
    let double = || {
        ServiceError::invalid(
            "un pseudonyme de fiche figure deux fois dans ce complément et son traitement de base ; ouvrez un traitement complet",
        )
    };
    let pairs = settled.iter().flat_map(|packed| packed.chunks_exact(SETTLED_LEN));
    let named = pairs.flat_map(|pair| pair.chunks_exact(Handle::LEN).take(2)).filter_map(Handle::from_slice);
    let named: HashSet<Handle> = named.collect();
    let mut numbers = Numbers { held: HashMap::with_capacity(named.len()), new: HashMap::with_capacity(fresh.len()) };
    for (record, handle) in (records.len() as RecordIndex..).zip(fresh) {
        if numbers.new.insert(*handle, record).is_some() {
            return Err(double());
        }
    }
    for record in 0..records.len() as RecordIndex {
        let handle = records.handle(record).map_err(|e| fault(&e))?;
        if numbers.new.contains_key(&handle) && !removed.contains(&record) {
            return Err(double());
        }
        if named.contains(&handle) {
            numbers.held.insert(handle, record);
        }
    }
    Ok(numbers)
}

/// Reads clusters as [`crate::pipeline::pack_clusters`] packs them.
fn unpack_clusters(batches: &[Bytes]) -> Result<Vec<Vec<Member>>, ServiceError> {
    let damaged = || ServiceError::internal("packed clusters cannot be read");
    let mut clusters = Vec::new();
    for batch in batches {
        let mut rest: &[u8] = batch;
        while !rest.is_empty() {
            let (count, after) = rest.split_first_chunk::<2>().ok_or_else(damaged)?;
            let count = usize::from(u16::from_le_bytes(*count)) * MEMBER_LEN;
            let (packed, after) = after.split_at_checked(count).ok_or_else(damaged)?;
            let member = |bytes: &[u8; MEMBER_LEN]| {
                let [handle @ .., match_class, low, high] = *bytes;
                Member { handle: Handle(handle), match_class, probability: u16::from_le_bytes([low, high]) }
            };
            clusters.push(packed.as_chunks::<MEMBER_LEN>().0.iter().map(member).collect());
            rest = after;
        }
    }
    Ok(clusters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::pack_clusters;

    #[test]
    fn a_held_run_leaves_room_for_an_increment_or_it_is_refused() {
        assert_eq!(memory_beside(1_000, 10_000).unwrap(), 7_000);
        for held in [4_000, u64::MAX] {
            let refused = memory_beside(held, 10_000).unwrap_err();
            assert!(refused.kind == ErrorKind::Invalid && refused.message.contains("traitement complet"), "{refused}");
        }
    }

    #[test]
    fn clusters_are_read_as_they_were_packed() {
        let member = |n: u8| Member { handle: Handle([n; 16]), match_class: 1 + n % 2, probability: 9_000 + u16::from(n) };
        let clusters: Vec<Vec<Member>> =
            vec![vec![member(1), member(2)], vec![member(3), member(4), member(5)], vec![member(6), member(7)]];
        let batches: Vec<Bytes> = pack_clusters(&clusters, 100).into_iter().map(Bytes::from).collect();
        assert!(batches.len() > 1);
        assert_eq!(unpack_clusters(&batches).unwrap(), clusters);
        assert!(unpack_clusters(&[batches[0].slice(1..)]).is_err());
    }
}
