//! From uploads to compared pairs, within a budget of memory.
//!
//! ```text
//! Source --read once--> Records, tokens by partition --join, partition by partition--> meetings
//! Source --read again-> payloads of what met, by group of whole components --compare, group by group--> Comparisons
//! ```
//!
//! Each step is a pure function of Arrow batches ([`join`], [`compare_group`]); what is here divides the work, on all cores,
//! and counts memory. Tokens that do not fit are read twice, so that a Bloom filter leaves out those met once, and what
//! still does not fit goes to the spill, as do payloads. The result does not depend on the budget.

use std::sync::Mutex;
use std::sync::PoisonError;

use arrow_array::RecordBatch;
use rayon::prelude::*;

use crate::classify::{Comparison, Comparisons};
use crate::compare::Comparer;
use crate::join::{BlockCounts, Meeting, join};
use crate::payloads::{Payloads, Wanted};
use crate::records::{Source, for_each_batch, read_all};
use crate::spill::{Held, Place, Spill};
use crate::tokens::{BLOOM_BYTES_PER_TOKEN, Partitioned, ROW_BYTES};
use crate::{LinkError, Records};

/// Bytes of a batch at most (`linkage_proto::MAX_BATCH_BYTES`), and how often its bytes are in memory while it is read.
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_COPIES: u64 = 3;
/// Bytes kept of a record besides its annex: handle, header, and what the groups take.
pub(crate) const RECORD_BYTES: u64 = 16 + 4 + 8 + 4 + 4 + 8;
/// Bytes that a meeting takes in memory.
pub(crate) const MEETING_BYTES: u64 = std::mem::size_of::<Meeting>() as u64;
/// Bytes that a compared pair takes until the end of the run: its comparison, its packed form, its decision, its part of
/// the clusters and of the report.
pub(crate) const PAIR_BYTES: u64 = 160;
/// Rows that a partition takes while it is sorted, as a multiple of its rows in the batch.
pub(crate) const JOIN_COPIES: u64 = 2;

/// How a run's pairs are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeetTerms {
    /// Largest block kept, in records.
    pub block_cap: u32,
    /// Memory that the whole linkage may take, in bytes.
    pub memory_bytes: u64,
}

/// Records, and the pairs that met.
#[derive(Debug, Clone)]
pub struct Met {
    /// All records.
    pub records: Records,
    /// What became of the blocks.
    pub blocks: BlockCounts,
    /// The pairs, compared.
    pub comparisons: Comparisons,
}

/// Finds and compares the pairs of a run. `spill` takes what exceeds the budget.
///
/// Errors: the source's; [`LinkError::Memory`] when the budget cannot hold even what has to be in memory, with the least
/// that can.
pub fn meet<S: Source>(source: &S, spill: &dyn Spill<S::Error>, terms: &MeetTerms) -> Result<Met, S::Error> {
    let Tokens { records, tokens, fixed } = tokens(source, spill, terms)?;
    let (meetings, blocks) = meetings(&records, &tokens, spill, terms, fixed)?;
    drop(tokens);
    let comparisons = compare(source, &records, meetings, spill, terms, fixed)?;
    Ok(Met { records, blocks, comparisons })
}

/// What the first reading gives.
struct Tokens {
    records: Records,
    tokens: Partitioned,
    /// Bytes taken for the whole run.
    fixed: u64,
}

fn tokens<S: Source>(source: &S, spill: &dyn Spill<S::Error>, terms: &MeetTerms) -> Result<Tokens, S::Error> {
    let parties = source.parties();
    let (mut rows, mut fixed) = (0u64, BATCH_BYTES * BATCH_COPIES * rayon::current_num_threads() as u64);
    for batch in source.batches() {
        let shape = parties.get(batch.party).ok_or(LinkError::Packed("a batch of no party"))?.shape;
        rows += u64::from(batch.records) * shape.entries as u64;
        fixed += u64::from(batch.records) * (RECORD_BYTES + shape.annex_len as u64);
    }
    let free = terms.memory_bytes.saturating_sub(fixed);
    if rows * ROW_BYTES * JOIN_COPIES <= free {
        let tokens = Partitioned::new(rows, u64::MAX);
        let records = read_all(source, |batch| tokens.add(batch, spill))?;
        return Ok(Tokens { records, tokens, fixed });
    }
    let blooms = (rows as f64 * BLOOM_BYTES_PER_TOKEN) as u64;
    needs(fixed + 2 * blooms, terms)?;
    let mut tokens = Partitioned::new(rows, (free - blooms) / (ROW_BYTES * JOIN_COPIES));
    tokens.tell_apart(rows);
    let records = read_all(source, |batch| {
        tokens.note(batch);
        Ok(())
    })?;
    for_each_batch(source, |batch| tokens.add(batch, spill))?;
    Ok(Tokens { records, tokens, fixed })
}

/// Refuses a budget below `least` bytes.
fn needs(least: u64, terms: &MeetTerms) -> Result<(), LinkError> {
    if least <= terms.memory_bytes { Ok(()) } else { Err(LinkError::Memory { least }) }
}

fn meetings<E: From<LinkError> + Send>(
    records: &Records,
    tokens: &Partitioned,
    spill: &dyn Spill<E>,
    terms: &MeetTerms,
    fixed: u64,
) -> Result<(Vec<Meeting>, BlockCounts), E> {
    let all = Mutex::new((Vec::new(), BlockCounts::default()));
    (0..tokens.partitions().count()).into_par_iter().try_for_each(|partition| {
        let batches = tokens.take(partition, spill)?;
        let met = join(records, terms.block_cap, &batches)?;
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        // Twice, since a list that grows is copied.
        needs(fixed + 2 * (all.0.len() + met.rows.len()) as u64 * MEETING_BYTES, terms)?;
        all.0.extend(met.rows);
        all.1.add(met.blocks);
        Ok::<(), E>(())
    })?;
    let (mut rows, blocks) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.par_sort_unstable();
    Ok((rows, blocks))
}

fn compare<S: Source>(
    source: &S,
    records: &Records,
    mut meetings: Vec<Meeting>,
    spill: &dyn Spill<S::Error>,
    terms: &MeetTerms,
    fixed: u64,
) -> Result<Comparisons, S::Error> {
    let pairs = meetings.chunk_by(same_pair).count();
    let fixed = fixed + meetings.len() as u64 * MEETING_BYTES + pairs as u64 * PAIR_BYTES;
    let free = terms.memory_bytes.saturating_sub(fixed);
    let (wanted, largest) = Wanted::of(&meetings, records.len(), records.layout().payload_len, free);
    needs(fixed + largest, terms)?;
    let held = Held::default();
    let store: &dyn Spill<S::Error> = if wanted.groups() == 1 { &held } else { spill };
    if !meetings.is_empty() {
        for_each_batch(source, |batch| {
            for (group, payloads) in wanted.pick(batch)? {
                store.write(Place::Payloads(group), &payloads)?;
            }
            Ok(())
        })?;
    }
    if wanted.groups() > 1 {
        meetings.par_sort_unstable_by_key(|m| (wanted.group(m.a), *m));
    }
    let mut rows = Vec::with_capacity(pairs);
    for group in meetings.chunk_by(|x, y| wanted.group(x.a) == wanted.group(y.a)) {
        let number = group.first().map_or(0, |m| wanted.group(m.a));
        rows.extend(compare_group(records, group, &store.take(Place::Payloads(number))?)?);
    }
    if wanted.groups() > 1 {
        rows.par_sort_unstable_by_key(|row| (row.a, row.b));
    }
    Ok(Comparisons { rows })
}

fn same_pair(x: &Meeting, y: &Meeting) -> bool {
    (x.a, x.b) == (y.a, y.b)
}

/// Compares the pairs of `meetings`, sorted, by the payloads of one group ([`crate::payloads::schema`]).
///
/// Errors: batches of another schema, or without an entry that met.
pub fn compare_group(records: &Records, meetings: &[Meeting], payloads: &[RecordBatch]) -> Result<Vec<Comparison>, LinkError> {
    let comparer = Comparer::new(records.layout())?;
    let payloads = Payloads::new(payloads)?;
    meetings.par_chunk_by(same_pair).map(|pair| compare_pair(records, &comparer, pair, &payloads)).collect()
}

fn compare_pair(
    records: &Records,
    comparer: &Comparer<'_>,
    pair: &[Meeting],
    payloads: &Payloads<'_>,
) -> Result<Comparison, LinkError> {
    let Some(&Meeting { a, b, .. }) = pair.first() else { return Err(LinkError::Packed("a pair without a meeting")) };
    let mut blocks = Vec::with_capacity(pair.len());
    for meeting in pair {
        blocks.push((payloads.get(a, meeting.entry_a)?, payloads.get(b, meeting.entry_b)?));
    }
    Ok(Comparison {
        a,
        b,
        within: records.party(a) == records.party(b),
        met: u8::try_from(pair.len()).unwrap_or(u8::MAX),
        vector: comparer.compare(records.header(a)?, records.header(b)?, blocks)?,
    })
}
