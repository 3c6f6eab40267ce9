//! Who met whom: the join of records on block tokens.
//!
//! A block is the set of records that hold one token. Two records of one block are a candidate pair when they may be
//! the same person's (two parties, or one party whose list may hold duplicates). Blocks over the cap are dropped and
//! counted: a common block says little and would let the broker compare many records. The join is a sort of
//! (token, record, entry), of one partition of the token space at a time. docs/protocol.md, section 8.

use arrow_array::RecordBatch;

use crate::{LinkError, RecordIndex, Records, tokens};

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

/// Meetings, sorted by pair: the output of the join.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meetings {
    /// Meetings in rising order of (a, b, entries).
    pub rows: Vec<Meeting>,
    /// What became of the blocks.
    pub blocks: BlockCounts,
}

impl BlockCounts {
    /// Adds another partition's.
    pub(crate) fn add(&mut self, other: Self) {
        self.kept += other.kept;
        self.dropped += other.dropped;
        self.largest_dropped = self.largest_dropped.max(other.largest_dropped);
        self.largest_kept = self.largest_kept.max(other.largest_kept);
    }
}

/// One entry's token and where it stands. 24 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct TokenAt {
    token: [u64; 2],
    record: RecordIndex,
    entry: u8,
}

/// Joins the tokens of one partition ([`tokens::schema`]), in whatever order and batches they come. `block_cap` is the
/// largest block kept, in records. A token that a record holds twice counts once (its first entry).
///
/// Errors: a batch of another schema.
pub fn join(records: &Records, block_cap: u32, partition: &[RecordBatch]) -> Result<Meetings, LinkError> {
    let mut entries = Vec::with_capacity(partition.iter().map(RecordBatch::num_rows).sum());
    for batch in partition {
        let rows = tokens::columns(batch)?;
        entries.extend(rows.map(|(token, record, entry)| TokenAt { token: words(token), record, entry }));
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

fn words(token: &[u8; 16]) -> [u64; 2] {
    let whole = u128::from_be_bytes(*token);
    [(whole >> 64) as u64, whole as u64]
}

#[cfg(test)]
mod tests {
    use linkage_agreement::{FieldKind, Layout};

    use super::*;
    use crate::tokens::TokenRows;
    use crate::{Held, InMemory, MeetTerms, PartyInput, meet};

    fn layout() -> Layout {
        Layout::new(&[FieldKind::BirthName], 64, 2, 3)
    }

    /// Records that share their first token with each other and no other one with any.
    fn packed(layout: &Layout, side: u8, records: u8) -> Vec<u8> {
        let mut out = Vec::new();
        for n in 0..records {
            let mut bytes = vec![n; layout.record_len()];
            for entry in 0..layout.tokens_per_record {
                let at = Layout::PREFIX_LEN + entry * layout.entry_len();
                let token = if entry == 0 { [1; 4] } else { [n ^ 0x80, entry as u8, side, 9] };
                bytes[at..at + 16].copy_from_slice(&token.repeat(4));
            }
            out.extend(bytes);
        }
        out
    }

    fn batch(rows: &[(u8, u32, u8)]) -> RecordBatch {
        let mut out = TokenRows::default();
        rows.iter().for_each(|&(token, record, entry)| out.push(&[token; 16], record, entry));
        out.into_batch().unwrap()
    }

    #[test]
    fn blocks_become_meetings_whatever_the_order_of_rows() {
        let layout = layout();
        let (left, right) = (packed(&layout, 0, 3), packed(&layout, 1, 4));
        for duplicate_free in [true, false] {
            let of = |bytes| PartyInput::block_scoped(&layout, duplicate_free, vec![bytes]);
            let records = Records::new(&layout, &[of(&left), of(&right)]).unwrap();
            let rows =
                [(1, 0, 0), (1, 3, 1), (2, 0, 1), (2, 3, 0), (3, 1, 0), (3, 1, 1), (3, 4, 0), (4, 2, 0), (4, 5, 0), (4, 6, 0)];
            let whole = join(&records, 2, &[batch(&rows)]).unwrap();
            let met = |m: &Meetings| m.rows.iter().map(|m| (m.a, m.b, m.entry_a, m.entry_b)).collect::<Vec<_>>();
            // Entry 0 of record 1 stands for both of its tokens 3.
            assert_eq!(met(&whole), [(0, 3, 0, 1), (0, 3, 1, 0), (1, 4, 0, 0)]);
            assert_eq!(whole.blocks, BlockCounts { kept: 3, dropped: 1, largest_dropped: 3, largest_kept: 2 });
            let wide = join(&records, 3, &[batch(&rows[5..]), batch(&rows[..5])]).unwrap();
            let mut expected = vec![(0, 3, 0, 1), (0, 3, 1, 0), (1, 4, 0, 0), (2, 5, 0, 0), (2, 6, 0, 0)];
            if !duplicate_free {
                expected.push((5, 6, 0, 0));
            }
            assert_eq!(met(&wide), expected);
        }
    }

    #[test]
    fn refuses_what_is_not_whole() {
        let layout = layout();
        let bytes = packed(&layout, 0, 1);
        let short = PartyInput::block_scoped(&layout, true, vec![&bytes[1..]]);
        let error = LinkError::BatchLength { party: 0, len: bytes.len() - 1, record_len: bytes.len() };
        assert_eq!(Records::new(&layout, &[short]).map(|_| ()), Err(error));
        let records = Records::new(&layout, &[PartyInput::block_scoped(&layout, true, vec![&bytes])]).unwrap();
        assert_eq!(records.header(1), Err(LinkError::NoSuchRecord(1)));
        let foreign = crate::payloads::schema(8);
        assert!(matches!(join(&records, 2, &[RecordBatch::new_empty(foreign)]), Err(LinkError::Packed(_))));

        let terms = records.to_bytes();
        let parties = || vec![crate::PartyTerms { duplicate_free: true, shape: layout.shape() }];
        assert_eq!(Records::from_bytes(&layout, parties(), &terms), Ok(records));
        assert_eq!(Records::from_bytes(&layout, parties(), &terms[..terms.len() - 1]), Err(LinkError::Packed("truncated")));
        let mut longer = terms.clone();
        longer.push(0);
        assert_eq!(Records::from_bytes(&layout, parties(), &longer), Err(LinkError::Packed("bytes after the end")));
        let mut other = terms;
        other[1] = 9;
        let version = LinkError::Packed("another version of the packed form");
        assert_eq!(Records::from_bytes(&layout, parties(), &other), Err(version));
    }

    #[test]
    fn a_budget_that_cannot_hold_the_run_says_what_can() {
        let layout = layout();
        let bytes = packed(&layout, 0, 40);
        let parties = [PartyInput::block_scoped(&layout, true, vec![&bytes])];
        let source = InMemory::new(&layout, &parties).unwrap();
        let with = |memory_bytes| meet(&source, &Held::default(), &MeetTerms { block_cap: 8, memory_bytes });
        let Err(LinkError::Memory { least }) = with(1) else { panic!("a budget of one byte is refused") };
        assert!(with(least).is_ok());
    }
}
