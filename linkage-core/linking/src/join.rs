//! Who met whom: the join of records on block tokens.
//!
//! A block is the set of records that hold one token. Two records of one block are a candidate pair when they may be
//! the same person's (two parties, or one party whose list may hold duplicates). Blocks over the cap are dropped and
//! counted: a common block says little and would let the broker compare many records. The join is a sort of
//! (token, record, entry), of one partition of the token space at a time, so that memory can be bounded and
//! partitions can be worked on apart. docs/protocol.md, section 8.

use bloomfilter::Bloom;

use crate::pack::{Reader, Writer};
use crate::{LinkError, RecordIndex, Records};

/// Number of records of a partition's tokens from which the prefilter is worth its two passes: below, the sort of
/// all entries takes less time than filling two Bloom filters.
const PREFILTER_FROM: usize = 4 << 20;

/// A share of the token space: tokens whose first two bytes, big-endian, fall in part `index` of `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Number of this part, below `count`.
    pub index: u32,
    /// Number of parts, 1 to 65,536.
    pub count: u32,
}

impl Partition {
    /// The whole token space.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    fn holds(self, token: &[u8; 16]) -> bool {
        let prefix = u64::from(u16::from_be_bytes([token[0], token[1]]));
        (prefix * u64::from(self.count)) >> 16 == u64::from(self.index)
    }
}

/// One block in which a pair met. `a < b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Meeting {
    /// The record with the smaller number.
    pub a: RecordIndex,
    /// The record with the larger number.
    pub b: RecordIndex,
    /// Entry of `a` that carries the token.
    pub entry_a: u8,
    /// Entry of `b` that carries the token.
    pub entry_b: u8,
}

/// What became of the blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BlockCounts {
    /// Blocks of two records or more, under the cap.
    pub kept: u64,
    /// Blocks dropped because they held more records than the cap.
    pub dropped: u64,
    /// Records of the largest block dropped; 0 when none was.
    pub largest_dropped: u64,
    /// Records of the largest block kept.
    pub largest_kept: u64,
}

/// All meetings, sorted by pair: the output of the join.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meetings {
    /// Meetings in rising order of (a, b, entries).
    pub rows: Vec<Meeting>,
    /// What became of the blocks.
    pub blocks: BlockCounts,
}

impl Meetings {
    const KIND: u8 = b'M';

    /// The meetings of each pair, pair by pair.
    pub fn pairs(&self) -> impl Iterator<Item = &[Meeting]> {
        self.rows.chunk_by(|x, y| (x.a, x.b) == (y.a, y.b))
    }
    /// Puts the partitions of one run together.
    pub fn merge(parts: Vec<Self>) -> Self {
        let mut all = Self::default();
        for part in parts {
            all.rows.extend(part.rows);
            all.blocks.kept += part.blocks.kept;
            all.blocks.dropped += part.blocks.dropped;
            all.blocks.largest_dropped = all.blocks.largest_dropped.max(part.blocks.largest_dropped);
            all.blocks.largest_kept = all.blocks.largest_kept.max(part.blocks.largest_kept);
        }
        all.rows.sort_unstable();
        all
    }
    /// Packs: kind, version, block counts, number of rows, rows of 10 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new(Self::KIND);
        for count in [self.blocks.kept, self.blocks.dropped, self.blocks.largest_dropped, self.blocks.largest_kept] {
            out.u64(count);
        }
        out.u64(self.rows.len() as u64);
        for row in &self.rows {
            out.u32(row.a);
            out.u32(row.b);
            out.u8(row.entry_a);
            out.u8(row.entry_b);
        }
        out.finish()
    }
    /// Unpacks and checks the order.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LinkError> {
        let mut input = Reader::new(Self::KIND, bytes)?;
        let blocks =
            BlockCounts { kept: input.u64()?, dropped: input.u64()?, largest_dropped: input.u64()?, largest_kept: input.u64()? };
        let count = input.count(10)?;
        let mut rows = Vec::with_capacity(count);
        for _ in 0..count {
            rows.push(Meeting { a: input.u32()?, b: input.u32()?, entry_a: input.u8()?, entry_b: input.u8()? });
        }
        input.finish()?;
        if !rows.is_sorted() || rows.iter().any(|m| m.a >= m.b) {
            return Err(LinkError::Packed("meetings out of order"));
        }
        Ok(Self { rows, blocks })
    }
}

/// One entry's token and where it stands. 24 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct TokenAt {
    token: [u64; 2],
    record: RecordIndex,
    entry: u8,
}

/// Joins the tokens of one partition. `block_cap` is the largest block kept, in records. A token that a record holds
/// twice counts once (its first entry).
pub fn join(records: &Records<'_>, block_cap: u32, partition: Partition) -> Result<Meetings, LinkError> {
    join_with(records, block_cap, partition, PREFILTER_FROM)
}

fn join_with(records: &Records<'_>, block_cap: u32, partition: Partition, prefilter_from: usize) -> Result<Meetings, LinkError> {
    if !(1..=65_536).contains(&partition.count) || partition.index >= partition.count {
        return Err(LinkError::Partition);
    }
    let expected = records.len() * records.layout().tokens_per_record / partition.count as usize;
    let repeated = if expected >= prefilter_from { met_twice(records, partition, expected)? } else { None };
    let mut entries = Vec::with_capacity(if repeated.is_some() { 0 } else { expected });
    for record in all(records) {
        for (entry, token) in records.tokens(record)?.enumerate() {
            if partition.holds(&token) && repeated.as_ref().is_none_or(|bloom| bloom.check(&token)) {
                let [high, low] = words(&token);
                entries.push(TokenAt { token: [high, low], record, entry: u8::try_from(entry).unwrap_or(u8::MAX) });
            }
        }
    }
    entries.sort_unstable();
    entries.dedup_by_key(|e| (e.token, e.record));

    let mut out = Meetings::default();
    for block in entries.chunk_by(|x, y| x.token == y.token) {
        let size = block.len() as u64;
        if size < 2 {
            continue;
        }
        if size > u64::from(block_cap) {
            out.blocks.dropped += 1;
            out.blocks.largest_dropped = out.blocks.largest_dropped.max(size);
            continue;
        }
        out.blocks.kept += 1;
        out.blocks.largest_kept = out.blocks.largest_kept.max(size);
        for (i, x) in block.iter().enumerate() {
            for y in block.iter().skip(i + 1).filter(|y| records.may_link(x.record, y.record)) {
                out.rows.push(Meeting { a: x.record, b: y.record, entry_a: x.entry, entry_b: y.entry });
            }
        }
    }
    out.rows.sort_unstable();
    Ok(out)
}

/// A Bloom filter of the tokens seen at least twice. Its false positives only cost a row of the sort; it has no false
/// negatives, so the join does not depend on it. `None` when no filter of that size can be made.
fn met_twice(records: &Records<'_>, partition: Partition, expected: usize) -> Result<Option<Bloom<[u8; 16]>>, LinkError> {
    // Tokens are pseudo-random already: a fixed seed opens no attack, and keeps the run reproducible.
    // The two halves key two functions and must differ.
    let mut seed = [0x5a; 32];
    seed[16..].fill(0xa5);
    let make = |items: usize| Bloom::<[u8; 16]>::new_for_fp_rate_with_seed(items.max(1), 0.03, &seed).ok();
    let (Some(mut seen), Some(mut repeated)) = (make(expected), make(expected / 2)) else { return Ok(None) };
    for record in all(records) {
        for token in records.tokens(record)?.filter(|token| partition.holds(token)) {
            if seen.check_and_set(&token) {
                repeated.set(&token);
            }
        }
    }
    Ok(Some(repeated))
}

fn all(records: &Records<'_>) -> std::ops::Range<RecordIndex> {
    0..u32::try_from(records.len()).unwrap_or(u32::MAX)
}

fn words(token: &[u8; 16]) -> [u64; 2] {
    let whole = u128::from_be_bytes(*token);
    [(whole >> 64) as u64, whole as u64]
}

#[cfg(test)]
mod tests {
    use linkage_agreement::{FieldKind, Layout};

    use super::*;
    use crate::PartyInput;

    fn packed(layout: &Layout, side: u8, tokens: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for (n, record) in tokens.iter().enumerate() {
            let mut bytes = vec![n as u8; layout.record_len()];
            for entry in 0..layout.tokens_per_record {
                let at = Layout::PREFIX_LEN + entry * layout.entry_len();
                let token = record.get(entry).map_or([n as u8 ^ 0x80, entry as u8, side, 9], |&t| [t, t, t, t]);
                bytes[at..at + 16].copy_from_slice(&token.repeat(4));
            }
            out.extend(bytes);
        }
        out
    }

    fn pairs(meetings: &Meetings) -> Vec<(u32, u32, usize)> {
        meetings.pairs().map(|p| (p[0].a, p[0].b, p.len())).collect()
    }

    #[test]
    fn joins_partitions_and_prefilter_alike() {
        let layout = Layout::new(&[FieldKind::BirthName], 64, 2, 3);
        let left = packed(&layout, 0, &[&[1, 2], &[3, 3], &[4]]);
        let right = packed(&layout, 1, &[&[2, 1], &[3], &[4], &[4]]);
        for duplicate_free in [true, false] {
            let parties =
                [PartyInput { duplicate_free, batches: vec![&left] }, PartyInput { duplicate_free, batches: vec![&right] }];
            let records = Records::new(&layout, &parties).unwrap();
            let whole = join(&records, 2, Partition::WHOLE).unwrap();
            assert_eq!(pairs(&whole), [(0, 3, 2), (1, 4, 1)]);
            assert_eq!(whole.blocks, BlockCounts { kept: 3, dropped: 1, largest_dropped: 3, largest_kept: 2 });
            let wide = join(&records, 3, Partition::WHOLE).unwrap();
            let mut expected = vec![(0, 3, 2), (1, 4, 1), (2, 5, 1), (2, 6, 1)];
            if !duplicate_free {
                expected.push((5, 6, 1));
            }
            assert_eq!(pairs(&wide), expected);
            assert_eq!(join_with(&records, 3, Partition::WHOLE, 0).unwrap(), wide);
            let parts = (0..5).map(|index| join(&records, 3, Partition { index, count: 5 }).unwrap()).collect();
            assert_eq!(Meetings::merge(parts), wide);
            assert_eq!(Meetings::from_bytes(&wide.to_bytes()).unwrap(), wide);
        }
    }

    #[test]
    fn refuses_what_is_not_whole() {
        let layout = Layout::new(&[FieldKind::BirthName], 64, 2, 3);
        let bytes = packed(&layout, 0, &[&[1]]);
        let short = PartyInput { duplicate_free: true, batches: vec![&bytes[1..]] };
        let error = LinkError::BatchLength { party: 0, len: bytes.len() - 1, record_len: bytes.len() };
        assert_eq!(Records::new(&layout, &[short]).map(|_| ()), Err(error));
        let whole = PartyInput { duplicate_free: true, batches: vec![&bytes] };
        let parties = [whole];
        let records = Records::new(&layout, &parties).unwrap();
        assert_eq!(join(&records, 2, Partition { index: 1, count: 1 }), Err(LinkError::Partition));
        assert_eq!(records.payload(0, 3), Err(LinkError::NoSuchEntry { record: 0, entry: 3 }));
        assert_eq!(records.header(1), Err(LinkError::NoSuchRecord(1)));

        let packed = Meetings::default().to_bytes();
        assert_eq!(Meetings::from_bytes(&packed[..packed.len() - 1]), Err(LinkError::Packed("truncated")));
        let mut longer = packed.clone();
        longer.push(0);
        assert_eq!(Meetings::from_bytes(&longer), Err(LinkError::Packed("bytes after the end")));
        let mut other = packed;
        other[1] = 9;
        assert_eq!(Meetings::from_bytes(&other), Err(LinkError::Packed("another version of the packed form")));
    }
}
