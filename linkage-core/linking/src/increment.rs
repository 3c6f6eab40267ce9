//! New records against those of a run that is held: work in proportion to what is new, not to what is held.
//!
//! Held are the tokens of the run, sorted within each partition ([`index_tokens`]), its comparisons, its classifier and its
//! uploads. New tokens are looked up in the index, held payloads are read for what met only, and clusters are made anew for
//! the components that new or removed records, or settled pairs, touch; all others stay. New records are numbered after
//! all that are held. Weights are those of the held run: some thousand new pairs would teach little. A held pair stays when
//! its block has since grown over the cap, and how often twins stand apart in lists (`beside`) is learnt from the touched
//! components: in these two an increment differs from a full run.

use std::collections::BTreeSet;

use arrow_array::RecordBatch;
use rayon::prelude::*;

use crate::classify::{Comparison, Comparisons};
use crate::join::{Meeting, join};
use crate::meet::{JOIN_COPIES, MEETING_BYTES, PAIR_BYTES, RECORD_BYTES, compare_group};
use crate::payloads::{Components, Wanted};
use crate::records::{BatchView, Source, for_each_batch, read_all};
use crate::spill::{Held, Place, Spill};
use crate::tokens::{self, Partitioned, Partitions, ROW_BYTES, TokenRows};
use crate::vectors::Vectors;
use crate::{Clusters, Dispositions, LinkError, Model, RecordIndex, Records, Settings, settle};

/// Held records that are read at a time.
const RECORDS_AT_ONCE: usize = 4_096;

/// The tokens of a run, by partition.
pub trait TokenIndex<E>: Sync {
    /// How they are divided.
    fn partitions(&self) -> Partitions;
    /// The batches of one partition, each sorted by token ([`tokens::schema`]).
    fn partition(&self, number: u32) -> Result<Vec<RecordBatch>, E>;
}

/// The records of a run as they were sent, one by one.
pub trait HeldRecords<E>: Sync {
    /// The bytes of `record`.
    fn record(&self, record: RecordIndex) -> Result<Vec<u8>, E>;
}

/// What is held of a run and needed in memory.
#[derive(Debug)]
pub struct Base<'b> {
    /// Its records.
    pub records: Records,
    /// The pairs that met, compared.
    pub comparisons: &'b Comparisons,
    /// Its classifier.
    pub model: &'b Model,
    /// The pairs that their owners had settled then.
    pub settled: &'b Dispositions,
    /// Memory that the increment may take beside it, in bytes.
    pub memory_bytes: u64,
}

/// What an increment changes.
#[derive(Debug, Clone)]
pub struct Increment {
    /// All records, the new ones last.
    pub records: Records,
    /// Pairs with a new record, compared.
    pub comparisons: Comparisons,
    /// The records whose clusters are made anew, in order: all of their clusters before are void.
    pub touched: Vec<RecordIndex>,
    /// The clusters among them, and the pairs left open.
    pub clusters: Clusters,
}

/// Sorts the tokens of a run into an index of as many partitions as suit it, and shows each to `keep`.
///
/// Errors: the source's, and those of `keep`.
pub fn index_tokens<S: Source>(
    source: &S,
    spill: &dyn Spill<S::Error>,
    keep: impl Fn(u32, &RecordBatch) -> Result<(), S::Error> + Sync,
) -> Result<Partitions, S::Error> {
    let rows = token_rows(source);
    let tokens = Partitioned::new(rows, u64::MAX);
    for_each_batch(source, |batch| tokens.add(batch, spill))?;
    let partitions = tokens.partitions();
    (0..partitions.count())
        .into_par_iter()
        .try_for_each(|number| keep(number, &tokens::sorted(&tokens.take(number, spill)?)?))?;
    Ok(partitions)
}

fn token_rows<S: Source>(source: &S) -> u64 {
    let parties = source.parties();
    let rows = |party: usize| parties.get(party).map_or(0, |p| p.shape.entries as u64);
    source.batches().iter().map(|batch| u64::from(batch.records) * rows(batch.party)).sum()
}

/// Links the records of `new` and takes `removed` ones out.
///
/// Errors: the source's and the index's; records of other parties than the base's; parties that are compared by annexes, for
/// whom a full run is needed; [`LinkError::Memory`] for what does not fit, since an increment keeps all that is new in memory.
pub fn increment<S: Source>(
    base: Base<'_>,
    index: &dyn TokenIndex<S::Error>,
    held: &dyn HeldRecords<S::Error>,
    new: &S,
    removed: &BTreeSet<RecordIndex>,
    settings: &Settings,
    dispositions: &Dispositions,
) -> Result<Increment, S::Error> {
    if new.parties().iter().any(|party| party.shape.annex_len > 0) {
        return Err(LinkError::Layout("increments are of parties that all have blocks").into());
    }
    let memory = Held::default();
    let tokens = Partitioned::within(index.partitions());
    let from = base.records.len() as RecordIndex;
    let memory_bytes = base.memory_bytes;
    let fresh: u64 = new.batches().iter().map(|batch| u64::from(batch.records)).sum();
    let fixed = (u64::from(from) + fresh) * RECORD_BYTES + token_rows(new) * ROW_BYTES * JOIN_COPIES;
    let needs = |least| if least <= memory_bytes { Ok(()) } else { Err(LinkError::Memory { least }) };
    needs(fixed)?;
    let added = read_all(new, |batch| tokens.add(&batch.numbered_from(from)?, &memory))?;
    let records = base.records.followed_by(added)?;

    let met = (0..index.partitions().count()).into_par_iter().map(|number| {
        let fresh = tokens::sorted(&tokens.take(number, &memory)?)?;
        if fresh.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let mut batches = Vec::new();
        for batch in index.partition(number)? {
            batches.push(same_tokens(&batch, &fresh, removed)?);
        }
        batches.insert(0, fresh);
        let met = join(&records, settings.block_cap, &batches)?.rows;
        Ok::<_, S::Error>(met.into_iter().filter(|m| m.b >= from).collect())
    });
    let met: Vec<Vec<Meeting>> = met.collect::<Result<_, _>>()?;
    let mut meetings = met.concat();
    meetings.par_sort_unstable();

    let (wanted, bytes) = Wanted::of(&meetings, records.len(), records.layout().payload_len, u64::MAX);
    // Payloads twice: as they were read, and by record.
    needs(fixed + meetings.len() as u64 * (MEETING_BYTES + PAIR_BYTES) + 2 * bytes)?;
    let payloads = payloads(&records, &meetings, &wanted, from, held, new, &memory)?;
    let comparisons = Comparisons { rows: compare_group(&records, &meetings, &payloads)? };

    let least = settings.abstain_millibits().min(settings.link_millibits().saturating_sub(settings.margin_millibits()));
    let matters = |rows: &[Comparison]| {
        let vectors = Vectors::of(rows);
        let of_vectors = vectors.map(|within, vector| base.model.weight_millibits(within, vector) >= least);
        vectors.of_rows().iter().map(|&vector| of_vectors.get(vector as usize).copied().unwrap_or(true)).collect()
    };
    let pairs = [base.settled, dispositions].into_iter().flat_map(|settled| settled.confirmed().chain(settled.refuted()));
    let mut begun: BTreeSet<RecordIndex> = pairs.flat_map(|(a, b)| [a, b]).collect();
    begun.extend(removed.iter().copied().chain(from..records.len() as RecordIndex));
    let (touched, rows) = touched(&records, base.comparisons, &comparisons, removed, &begun, matters);
    let rows = Comparisons { rows };
    let (_, clusters) = settle(&records, &rows, base.model, settings, dispositions)?;
    Ok(Increment { records, comparisons, touched, clusters })
}

/// The rows of `held`, sorted, whose token is one of `fresh`, without those of `removed` records.
fn same_tokens(held: &RecordBatch, fresh: &RecordBatch, removed: &BTreeSet<RecordIndex>) -> Result<RecordBatch, LinkError> {
    let all = tokens::Columns::of(held)?;
    let mut out = TokenRows::default();
    let mut before = None;
    for (token, ..) in tokens::columns(fresh)? {
        if before.replace(token) == Some(token) {
            continue;
        }
        let first = all.tokens.partition_point(|held| held < token);
        let rows = all.tokens.iter().zip(all.records).zip(all.entries).skip(first);
        for ((_, record), entry) in rows.take_while(|((held, _), _)| *held == token) {
            if !removed.contains(record) {
                out.push(token, *record, *entry);
            }
        }
    }
    out.into_batch()
}

/// The payloads of all entries that met: of held records one by one, of new ones by batch.
fn payloads<S: Source>(
    records: &Records,
    meetings: &[Meeting],
    wanted: &Wanted,
    from: RecordIndex,
    held: &dyn HeldRecords<S::Error>,
    new: &S,
    memory: &Held,
) -> Result<Vec<RecordBatch>, S::Error> {
    let mut old: Vec<RecordIndex> = meetings.iter().map(|m| m.a).filter(|&record| record < from).collect();
    old.par_sort_unstable();
    old.dedup();
    let layout = records.layout();
    let read = |&number: &RecordIndex| {
        let bytes = held.record(number)?;
        let shape = records.shape(records.party(number));
        if bytes.len() != shape.record_len(layout) {
            return Err(LinkError::NoSuchRecord(number).into());
        }
        Ok::<_, S::Error>((number, shape, bytes))
    };
    // Of a record, only what met stays in memory.
    for old in old.chunks(RECORDS_AT_ONCE) {
        let read: Vec<_> = old.par_iter().map(read).collect::<Result<_, _>>()?;
        for (number, shape, bytes) in &read {
            for (group, batch) in wanted.pick(&BatchView::new(layout, *shape, *number, bytes))? {
                Spill::<S::Error>::write(memory, Place::Payloads(group), &batch)?;
            }
        }
    }
    for_each_batch(new, |batch| {
        for (group, batch) in wanted.pick(&batch.numbered_from(from)?)? {
            Spill::<S::Error>::write(memory, Place::Payloads(group), &batch)?;
        }
        Ok(())
    })?;
    memory.take(Place::Payloads(0))
}

/// Records whose clusters those in `begun` may change, and all pairs among those that stay, in order.
///
/// A pair matters beyond its two records when it may be linked, left open or another one's rival; groups without such a pair
/// between them never join. So touched are the components of these pairs that a record in `begun` is in: new, removed, or of a
/// pair that its owners settled, now or then.
fn touched(
    records: &Records,
    held: &Comparisons,
    new: &Comparisons,
    removed: &BTreeSet<RecordIndex>,
    begun: &BTreeSet<RecordIndex>,
    matters: impl Fn(&[Comparison]) -> Vec<bool>,
) -> (Vec<RecordIndex>, Vec<Comparison>) {
    let mut components = Components::new(records.len());
    for rows in [&held.rows, &new.rows] {
        for (row, _) in rows.iter().zip(matters(rows)).filter(|(_, matters)| *matters) {
            components.join(row.a, row.b);
        }
    }
    let mut roots = vec![false; records.len()];
    for record in begun.iter().copied() {
        if let Some(flag) = roots.get_mut(components.root(record) as usize) {
            *flag = true;
        }
    }
    let is_touched: Vec<bool> = (0..records.len() as RecordIndex)
        .map(|record| roots.get(components.root(record) as usize).copied().unwrap_or(false))
        .collect();
    let stays = |record: RecordIndex| is_touched.get(record as usize) == Some(&true) && !removed.contains(&record);
    let mut rows: Vec<Comparison> =
        held.rows.iter().chain(&new.rows).filter(|row| stays(row.a) && stays(row.b)).copied().collect();
    rows.par_sort_unstable_by_key(|row| (row.a, row.b));
    ((0..).zip(is_touched).filter(|(_, touched)| *touched).map(|(record, _)| record).collect(), rows)
}
