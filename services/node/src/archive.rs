//! The archive: what stage 1 made of each record, enough for every later run without names.
//!
//! Records lie in segments in an order that says nothing of the file they came from; the index knows for each record
//! reference its place, the periods it was delivered in and a keyed digest of its identity, so that an unchanged record
//! is not encoded again. A segment is written before the index that names it: a process killed between the two leaves
//! a segment that nothing names and that the next write replaces.

use std::collections::HashMap;

use linkage_agreement::{Layout, Period, RecordRef};
use zeroize::Zeroizing;

use crate::error::NodeError;
use crate::vault::Vault;

/// Records of one segment.
const SEGMENT_RECORDS: usize = 2048;
const INDEX: &str = "archive/index";
const INDEX_ENTRY: usize = 16 + 4 + 4 + 4 + 4 + 16 + 1;
/// The last byte of an entry: whether it is a decoy, and above it how many epochs before its own.
const DECOY: u8 = 1;
/// Bytes of a record before its entries: reference and header.
const PREFIX: usize = 20;
/// Bytes of a block's secret in an entry.
pub const SECRET_LEN: usize = 32;

/// Segment of a record whose encoding was taken out until the next delivery makes it again (RGPD, article 16).
const VOID: u32 = u32::MAX;

/// One record as archived: its header and, for each of its entries, block secret (32) and payload.
pub struct ArchivedRecord {
    /// The record.
    pub reference: RecordRef,
    /// Date quality and rarity classes.
    pub header: u32,
    /// `tokens_per_record` times secret and payload.
    pub entries: Zeroizing<Vec<u8>>,
}

/// Where a record is and when it was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Indexed {
    /// Segment number.
    pub segment: u32,
    /// Position in the segment.
    pub position: u32,
    /// First period of delivery ([`Period::index`]).
    pub first: u32,
    /// Last period of delivery.
    pub last: u32,
    /// Keyed digest of the identity as delivered.
    pub content: [u8; 16],
    /// Made up to hide the number of records; never linked.
    pub decoy: bool,
    /// Epoch of the OPRF key that it was encoded under, from 1.
    pub epoch: u32,
}

/// The archive's index in memory.
#[derive(Debug, Default)]
pub struct Index {
    /// By record reference.
    pub records: HashMap<RecordRef, Indexed>,
    next_segment: u32,
}

fn segment_name(number: u32) -> String {
    format!("archive/segment-{number:08}")
}

fn entries_len(layout: &Layout) -> usize {
    layout.tokens_per_record * (SECRET_LEN + layout.payload_len)
}

/// A record inside its segment: position, reference, whether it is a decoy.
pub type Chosen = (u32, RecordRef, bool);

impl Index {
    /// Reads the index; empty when there is none.
    pub fn load(vault: &Vault) -> Result<Self, NodeError> {
        let Some(bytes) = vault.get(INDEX)? else { return Ok(Self::default()) };
        let damaged = || NodeError::Damaged(INDEX.to_owned());
        if bytes.len() % INDEX_ENTRY != 0 {
            return Err(damaged());
        }
        let mut index = Self::default();
        for entry in bytes.chunks_exact(INDEX_ENTRY) {
            let number = |at: usize| entry[at..at + 4].try_into().map(u32::from_le_bytes).map_err(|_| damaged());
            let reference = RecordRef::from_slice(&entry[..16]).ok_or_else(damaged)?;
            let indexed = Indexed {
                segment: number(16)?,
                position: number(20)?,
                first: number(24)?,
                last: number(28)?,
                content: entry[32..48].try_into().map_err(|_| damaged())?,
                decoy: entry[48] & DECOY != 0,
                epoch: u32::from(entry[48] >> 1) + 1,
            };
            if indexed.segment != VOID {
                index.next_segment = index.next_segment.max(indexed.segment + 1);
            }
            index.records.insert(reference, indexed);
        }
        Ok(index)
    }

    /// Writes the index: the moment from which what it names counts.
    pub fn save(&self, vault: &Vault) -> Result<(), NodeError> {
        let mut bytes = Vec::with_capacity(self.records.len() * INDEX_ENTRY);
        let mut sorted: Vec<_> = self.records.iter().collect();
        sorted.sort_by_key(|(reference, _)| **reference);
        for (reference, at) in sorted {
            bytes.extend_from_slice(&reference.0);
            for number in [at.segment, at.position, at.first, at.last] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&at.content);
            // An agreement has at most 100 epochs.
            let before = u8::try_from(at.epoch.saturating_sub(1)).map_err(|_| NodeError::Damaged(INDEX.to_owned()))?;
            bytes.push(before << 1 | u8::from(at.decoy));
        }
        vault.put(INDEX, &bytes)
    }

    /// Writes `records`, encoded under the OPRF key of `epoch`, to new segments and names them in the index (not yet saved).
    /// `describe` gives content digest and whether it is a decoy.
    pub fn append(
        &mut self,
        vault: &Vault,
        period: Period,
        epoch: u32,
        records: &[ArchivedRecord],
        describe: impl Fn(&RecordRef) -> ([u8; 16], bool),
    ) -> Result<(), NodeError> {
        for chunk in records.chunks(SEGMENT_RECORDS) {
            let segment = self.next_segment;
            let mut bytes = Zeroizing::new(Vec::new());
            for (position, record) in chunk.iter().enumerate() {
                bytes.extend_from_slice(&record.reference.0);
                bytes.extend_from_slice(&record.header.to_le_bytes());
                bytes.extend_from_slice(&record.entries);
                let (content, decoy) = describe(&record.reference);
                let first = self.records.get(&record.reference).map_or(period.index(), |known| known.first.min(period.index()));
                let last = self.records.get(&record.reference).map_or(period.index(), |known| known.last.max(period.index()));
                self.records
                    .insert(record.reference, Indexed { segment, position: position as u32, first, last, content, decoy, epoch });
            }
            vault.put(&segment_name(segment), &bytes)?;
            self.next_segment += 1;
        }
        Ok(())
    }

    /// Records among `wanted` whose encoding is of another epoch than `epoch`, decoys apart.
    pub fn past_epoch(&self, epoch: u32, wanted: impl Fn(&Indexed) -> bool) -> u64 {
        let past = |at: &&Indexed| at.epoch != epoch && !at.decoy && at.segment != VOID && wanted(at);
        self.records.values().filter(past).count() as u64
    }

    /// Notes that a record was delivered for `period`.
    pub fn seen(&mut self, reference: &RecordRef, period: Period) {
        if let Some(known) = self.records.get_mut(reference) {
            known.first = known.first.min(period.index());
            known.last = known.last.max(period.index());
        }
    }

    /// Segments that hold a record chosen by `wanted`, each with its records' references by position.
    pub fn segments(&self, wanted: impl Fn(&Indexed) -> bool) -> Vec<(u32, Vec<Chosen>)> {
        let mut segments: HashMap<u32, Vec<Chosen>> = HashMap::new();
        for (reference, at) in self.records.iter().filter(|(_, at)| at.segment != VOID && wanted(at)) {
            segments.entry(at.segment).or_default().push((at.position, *reference, at.decoy));
        }
        let mut segments: Vec<_> = segments.into_iter().collect();
        segments.sort_by_key(|s| s.0);
        for (_, records) in &mut segments {
            records.sort_unstable_by_key(|r| r.0);
        }
        segments
    }

    /// Takes a record out of its segment: the others of it go to a new one (the index is not yet saved). Gives what the index
    /// had, the record and its segment's positions as they were; none when it has no encoding here.
    pub(crate) fn take_out(
        &mut self,
        vault: &Vault,
        layout: &Layout,
        reference: &RecordRef,
    ) -> Result<Option<TakenOut>, NodeError> {
        let Some(at) = self.records.get(reference).copied().filter(|at| at.segment != VOID) else { return Ok(None) };
        let segment = Segment::load(vault, layout, at.segment)?;
        let (header, entries) = segment.record(at.position, reference)?;
        let record = ArchivedRecord { reference: *reference, header, entries: Zeroizing::new(entries.to_vec()) };
        let mut others: Vec<(u32, RecordRef)> = self
            .records
            .iter()
            .filter(|(other, of)| of.segment == at.segment && *other != reference)
            .map(|(r, of)| (of.position, *r))
            .collect();
        others.sort_unstable();
        let mut bytes = Zeroizing::new(Vec::with_capacity(others.len() * segment.record_len));
        for (position, other) in &others {
            let (header, entries) = segment.record(*position, other)?;
            bytes.extend_from_slice(&other.0);
            bytes.extend_from_slice(&header.to_le_bytes());
            bytes.extend_from_slice(entries);
        }
        let to = self.next_segment;
        if !others.is_empty() {
            vault.put(&segment_name(to), &bytes)?;
            self.next_segment += 1;
            for ((_, other), position) in others.iter().zip(0..) {
                if let Some(of) = self.records.get_mut(other) {
                    (of.segment, of.position) = (to, position);
                }
            }
        }
        self.records.remove(reference);
        Ok(Some(TakenOut { at, record, to, positions: others.into_iter().map(|(position, _)| position).collect() }))
    }

    /// Remembers when a record whose encoding was taken out was delivered, so that it is encoded again whatever its identity.
    pub(crate) fn void(&mut self, reference: RecordRef, at: &Indexed) {
        self.records.insert(reference, Indexed { segment: VOID, position: 0, content: [0; 16], ..*at });
    }

    /// Whether a record waits for the next delivery to be encoded again.
    pub(crate) fn is_void(&self, reference: &RecordRef) -> bool {
        self.records.get(reference).is_some_and(|at| at.segment == VOID)
    }

    /// Puts a record that was taken out back, with the months and the identity that it had; gives its segment.
    pub(crate) fn put_back(
        &mut self,
        vault: &Vault,
        layout: &Layout,
        at: &Indexed,
        record: &ArchivedRecord,
    ) -> Result<u32, NodeError> {
        if record.entries.len() != entries_len(layout) {
            return Err(NodeError::Refused(
                "la convention a changé le format des fiches depuis la limitation : livrez de nouveau le mois de cette fiche"
                    .to_owned(),
            ));
        }
        let mut bytes = Zeroizing::new(record.reference.0.to_vec());
        bytes.extend_from_slice(&record.header.to_le_bytes());
        bytes.extend_from_slice(&record.entries);
        let segment = self.next_segment;
        vault.put(&segment_name(segment), &bytes)?;
        self.next_segment += 1;
        self.records.insert(record.reference, Indexed { segment, position: 0, ..*at });
        Ok(segment)
    }

    /// Removes segments that the index does not name any more.
    pub fn drop_unnamed(&self, vault: &Vault) -> Result<(), NodeError> {
        let named: std::collections::HashSet<String> = self.records.values().map(|at| segment_name(at.segment)).collect();
        for name in vault.list("archive")? {
            if name != INDEX && !named.contains(&name) {
                vault.remove(&name)?;
            }
        }
        Ok(())
    }
}

/// A record taken out of the archive.
pub(crate) struct TakenOut {
    /// What the index had of it.
    pub(crate) at: Indexed,
    /// The record.
    pub(crate) record: ArchivedRecord,
    /// The segment that the others went to.
    pub(crate) to: u32,
    /// Their positions in the segment that they come from.
    pub(crate) positions: Vec<u32>,
}

/// One segment in memory.
pub struct Segment {
    bytes: Zeroizing<Vec<u8>>,
    record_len: usize,
    name: String,
}

impl Segment {
    /// Opens segment `number`.
    pub fn load(vault: &Vault, layout: &Layout, number: u32) -> Result<Self, NodeError> {
        let name = segment_name(number);
        let bytes = vault.get(&name)?.ok_or_else(|| NodeError::Damaged(name.clone()))?;
        let record_len = PREFIX + entries_len(layout);
        if bytes.len() % record_len != 0 {
            return Err(NodeError::Damaged(name));
        }
        Ok(Self { bytes, record_len, name })
    }

    /// Header and entries of the record at `position`, which must be `reference`.
    pub fn record(&self, position: u32, reference: &RecordRef) -> Result<(u32, &[u8]), NodeError> {
        let damaged = || NodeError::Damaged(self.name.clone());
        let record = self.bytes.chunks_exact(self.record_len).nth(position as usize).ok_or_else(damaged)?;
        if record[..16] != reference.0 {
            return Err(damaged());
        }
        let header = record[16..PREFIX].try_into().map(u32::from_le_bytes).map_err(|_| damaged())?;
        Ok((header, &record[PREFIX..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linkage_agreement::FieldKind;

    #[test]
    fn records_are_found_again_in_their_segments() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path(), &[7; 32]).unwrap();
        let layout = Layout::new(&[FieldKind::BirthName, FieldKind::Sex], 64, 2, 4);
        let period: Period = "2024-01".parse().unwrap();
        let record = |n: u8| ArchivedRecord {
            reference: RecordRef([n; 16]),
            header: u32::from(n),
            entries: Zeroizing::new(vec![n; entries_len(&layout)]),
        };
        let mut index = Index::load(&vault).unwrap();
        index.append(&vault, period, 1, &[record(1), record(2)], |_| ([9; 16], false)).unwrap();
        index.save(&vault).unwrap();
        let mut index = Index::load(&vault).unwrap();
        index.append(&vault, period.next(), 2, &[record(2)], |_| ([8; 16], true)).unwrap();
        index.save(&vault).unwrap();
        let index = Index::load(&vault).unwrap();
        let segments = index.segments(|_| true);
        assert_eq!(segments, [(0, vec![(0, RecordRef([1; 16]), false)]), (1, vec![(0, RecordRef([2; 16]), true)])]);
        let segment = Segment::load(&vault, &layout, 1).unwrap();
        let (header, entries) = segment.record(0, &RecordRef([2; 16])).unwrap();
        assert_eq!((header, entries), (2, vec![2; entries_len(&layout)].as_slice()));
        assert!(segment.record(0, &RecordRef([1; 16])).is_err());
        assert_eq!(index.records[&RecordRef([2; 16])].first, period.index());
        assert_eq!(index.records[&RecordRef([2; 16])].last, period.next().index());
        assert_eq!([1, 2].map(|n| index.records[&RecordRef([n; 16])].epoch), [1, 2]);
    }

    #[test]
    fn a_record_taken_out_is_in_no_segment_and_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path(), &[7; 32]).unwrap();
        let layout = Layout::new(&[FieldKind::BirthName, FieldKind::Sex], 64, 2, 4);
        let period: Period = "2024-01".parse().unwrap();
        let record = |n: u8| ArchivedRecord {
            reference: RecordRef([n; 16]),
            header: u32::from(n),
            entries: Zeroizing::new(vec![n; entries_len(&layout)]),
        };
        let mut index = Index::load(&vault).unwrap();
        index.append(&vault, period, 1, &[record(1), record(2), record(3)], |_| ([9; 16], false)).unwrap();
        let two = RecordRef([2; 16]);
        let taken = index.take_out(&vault, &layout, &two).unwrap().unwrap();
        assert_eq!(
            (taken.positions.as_slice(), taken.record.header, &*taken.record.entries),
            ([0, 2].as_slice(), 2, &*record(2).entries)
        );
        index.save(&vault).unwrap();
        index.drop_unnamed(&vault).unwrap();
        let mut index = Index::load(&vault).unwrap();
        let bytes = vault.get("archive/segment-00000001").unwrap().unwrap();
        assert!(!bytes.contains(&2), "nothing of it is left");
        assert_eq!(vault.list("archive").unwrap(), ["archive/index", "archive/segment-00000001"]);
        assert!(index.take_out(&vault, &layout, &two).unwrap().is_none());
        let segment = Segment::load(&vault, &layout, 1).unwrap();
        assert_eq!(segment.record(1, &RecordRef([3; 16])).unwrap().0, 3);

        let put = index.put_back(&vault, &layout, &taken.at, &taken.record).unwrap();
        assert_eq!(Segment::load(&vault, &layout, put).unwrap().record(0, &two).unwrap().0, 2);
        assert_eq!((index.records[&two].first, index.records[&two].content), (period.index(), [9; 16]));
        // Void: remembered, of no segment, and to be encoded again whatever it is delivered as.
        let taken = index.take_out(&vault, &layout, &two).unwrap().unwrap();
        index.void(two, &taken.at);
        index.save(&vault).unwrap();
        let mut index = Index::load(&vault).unwrap();
        assert!(index.is_void(&two) && index.records[&two].content != [9; 16]);
        assert_eq!(index.segments(|_| true).iter().map(|(_, records)| records.len()).sum::<usize>(), 2);
        index.append(&vault, period.next(), 1, &[record(2)], |_| ([9; 16], false)).unwrap();
        assert_eq!((index.is_void(&two), index.records[&two].first), (false, period.index()));
    }

    #[test]
    fn what_nothing_names_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path(), &[7; 32]).unwrap();
        vault.put("archive/segment-00000009", b"left by a killed process").unwrap();
        Index::default().drop_unnamed(&vault).unwrap();
        assert_eq!(vault.list("archive").unwrap(), Vec::<String>::new());
    }
}
