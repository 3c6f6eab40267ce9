//! The tokens of a run by partition of the token space, as Arrow batches.
//!
//! A partition is joined by itself (`join`), so that memory is bounded and partitions can be worked on apart, here on
//! all cores, or by a distributed engine that shuffles the same batches by the same rule.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::{ArrayRef, FixedSizeBinaryArray, RecordBatch, UInt8Array, UInt32Array};
use arrow_buffer::Buffer;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use bloomfilter::Bloom;

use crate::records::BatchView;
use crate::spill::{Place, Spill};
use crate::{LinkError, RecordIndex};

/// Bytes of one row: token, record, entry.
pub(crate) const ROW_BYTES: u64 = 16 + 4 + 1;
/// Rows of a partition that sorts mostly inside a core's cache; and most partitions, each of which may be an open file.
const PARTITION_ROWS: u64 = 1 << 18;
const MOST_PARTITIONS: u64 = 512;
/// Share of tokens met once that a partition's Bloom filter lets pass.
const FALSE_POSITIVES: f64 = 0.03;
/// Bytes that both Bloom filters of a partition take for each token, at that rate.
pub(crate) const BLOOM_BYTES_PER_TOKEN: f64 = 1.5;

/// Equal shares of the token space, by a token's first two bytes, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitions(u32);

impl Partitions {
    /// As many as `rows` tokens are best joined in, 1 to 512.
    pub fn for_rows(rows: u64) -> Self {
        Self(rows.div_ceil(PARTITION_ROWS).clamp(1, MOST_PARTITIONS) as u32)
    }
    /// `count` of them, 1 to 512.
    pub fn new(count: u32) -> Option<Self> {
        (1..=MOST_PARTITIONS).contains(&u64::from(count)).then_some(Self(count))
    }
    /// How many there are.
    pub fn count(self) -> u32 {
        self.0
    }
    /// The partition of a token.
    pub fn of(self, token: &[u8; 16]) -> u32 {
        (u32::from(u16::from_be_bytes([token[0], token[1]])) * self.0) >> 16
    }
}

/// `token: FixedSizeBinary(16), record: UInt32, entry: UInt8`.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("token", DataType::FixedSizeBinary(16), false),
        Field::new("record", DataType::UInt32, false),
        Field::new("entry", DataType::UInt8, false),
    ]))
}

/// Rows on their way into a batch.
#[derive(Debug, Default)]
pub(crate) struct TokenRows {
    tokens: Vec<u8>,
    records: Vec<u32>,
    entries: Vec<u8>,
}

impl TokenRows {
    pub(crate) fn push(&mut self, token: &[u8; 16], record: RecordIndex, entry: u8) {
        self.tokens.extend_from_slice(token);
        self.records.push(record);
        self.entries.push(entry);
    }
    fn len(&self) -> u64 {
        self.records.len() as u64
    }
    fn append(&mut self, other: &mut Self) {
        self.tokens.append(&mut other.tokens);
        self.records.append(&mut other.records);
        self.entries.append(&mut other.entries);
    }
    pub(crate) fn into_batch(self) -> Result<RecordBatch, LinkError> {
        let tokens = FixedSizeBinaryArray::try_new(16, Buffer::from_vec(self.tokens), None).map_err(arrow)?;
        let columns: Vec<ArrayRef> =
            vec![Arc::new(tokens), Arc::new(UInt32Array::from(self.records)), Arc::new(UInt8Array::from(self.entries))];
        RecordBatch::try_new(schema(), columns).map_err(arrow)
    }
}

/// What Arrow refuses is a batch that another program wrote.
pub(crate) fn arrow(_: ArrowError) -> LinkError {
    LinkError::Packed("an Arrow batch of another form")
}

/// The columns of a token batch.
pub(crate) struct Columns<'b> {
    pub(crate) tokens: &'b [[u8; 16]],
    pub(crate) records: &'b [u32],
    pub(crate) entries: &'b [u8],
}

impl<'b> Columns<'b> {
    pub(crate) fn of(batch: &'b RecordBatch) -> Result<Self, LinkError> {
        let foreign = || LinkError::Packed("an Arrow batch of another form");
        let tokens = batch.column(0).as_any().downcast_ref::<FixedSizeBinaryArray>().ok_or_else(foreign)?;
        let records = batch.column(1).as_any().downcast_ref::<UInt32Array>().ok_or_else(foreign)?;
        let entries = batch.column(2).as_any().downcast_ref::<UInt8Array>().ok_or_else(foreign)?;
        if tokens.value_length() != 16 {
            return Err(foreign());
        }
        Ok(Self { tokens: tokens.value_data().as_chunks::<16>().0, records: records.values(), entries: entries.values() })
    }
}

/// The rows of a token batch.
pub(crate) fn columns(batch: &RecordBatch) -> Result<impl Iterator<Item = (&[u8; 16], u32, u8)>, LinkError> {
    let Columns { tokens, records, entries } = Columns::of(batch)?;
    Ok(tokens.iter().zip(records).zip(entries).map(|((t, r), e)| (t, *r, *e)))
}

/// The rows of all batches in one, in order of token, record and entry.
pub(crate) fn sorted(batches: &[RecordBatch]) -> Result<RecordBatch, LinkError> {
    let mut rows = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        rows.extend(columns(batch)?.map(|(token, record, entry)| (*token, record, entry)));
    }
    rows.sort_unstable();
    let mut out = TokenRows::default();
    rows.iter().for_each(|(token, record, entry)| out.push(token, *record, *entry));
    out.into_batch()
}

/// A partition while batches come in.
#[derive(Debug, Default)]
struct Filling {
    rows: TokenRows,
    /// Present while tokens met once are told apart.
    seen: Option<TwiceSeen>,
}

/// All partitions while batches come in, from all cores.
#[derive(Debug)]
pub(crate) struct Partitioned {
    partitions: Partitions,
    filling: Vec<Mutex<Filling>>,
    /// Rows from which a partition goes to the spill.
    flush_rows: u64,
}

impl Partitioned {
    /// Room for `rows` tokens, of which `held_rows` may be in memory at a time.
    pub(crate) fn new(rows: u64, held_rows: u64) -> Self {
        let mut all = Self::within(Partitions::for_rows(rows));
        if held_rows < rows {
            all.flush_rows = (held_rows / u64::from(all.partitions.count())).max(1);
        }
        all
    }
    /// Room for a few tokens, divided as others are.
    pub(crate) fn within(partitions: Partitions) -> Self {
        let filling = (0..partitions.count()).map(|_| Mutex::default()).collect();
        Self { partitions, filling, flush_rows: u64::MAX }
    }
    pub(crate) fn partitions(&self) -> Partitions {
        self.partitions
    }

    fn lock(&self, partition: u32) -> Option<MutexGuard<'_, Filling>> {
        // A poisoned lock belongs to a thread that panicked: its step gives no result anyway.
        self.filling.get(partition as usize).map(|filling| filling.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Prepares to leave out tokens met once: [`Partitioned::note`] has to see every batch before the first is added.
    pub(crate) fn tell_apart(&mut self, rows: u64) {
        let expected = rows.div_ceil(u64::from(self.partitions.count())) as usize;
        for filling in &mut self.filling {
            filling.get_mut().unwrap_or_else(PoisonError::into_inner).seen = TwiceSeen::new(expected);
        }
    }

    /// Notes the tokens of a batch.
    pub(crate) fn note(&self, batch: &BatchView<'_>) {
        let mut by_partition: Vec<Vec<&[u8; 16]>> = vec![Vec::new(); self.filling.len()];
        for (_, record) in batch.records() {
            for (token, _) in batch.entries(record) {
                if let Some(tokens) = by_partition.get_mut(self.partitions.of(token) as usize) {
                    tokens.push(token);
                }
            }
        }
        for (partition, tokens) in (0..).zip(by_partition) {
            if let Some(seen) = self.lock(partition).as_mut().and_then(|filling| filling.seen.as_mut()) {
                tokens.into_iter().for_each(|token| seen.note(token));
            }
        }
    }

    /// Adds the tokens of a batch; to `spill` what has no room.
    pub(crate) fn add<E: From<LinkError>>(&self, batch: &BatchView<'_>, spill: &dyn Spill<E>) -> Result<(), E> {
        let mut by_partition: Vec<TokenRows> = Vec::new();
        by_partition.resize_with(self.filling.len(), TokenRows::default);
        for (number, record) in batch.records() {
            for ((token, _), entry) in batch.entries(record).zip(0..) {
                if let Some(rows) = by_partition.get_mut(self.partitions.of(token) as usize) {
                    rows.push(token, number, entry);
                }
            }
        }
        for (partition, mut rows) in (0..).zip(by_partition) {
            let Some(mut filling) = self.lock(partition) else { continue };
            let filling = &mut *filling;
            match &filling.seen {
                None => filling.rows.append(&mut rows),
                Some(seen) => {
                    let all = rows.tokens.as_chunks::<16>().0.iter().zip(&rows.records).zip(&rows.entries);
                    for ((token, record), entry) in all.filter(|((token, _), _)| seen.twice(token)) {
                        filling.rows.push(token, *record, *entry);
                    }
                }
            }
            if filling.rows.len() > self.flush_rows {
                spill.write(Place::Tokens(partition), &std::mem::take(&mut filling.rows).into_batch()?)?;
            }
        }
        Ok(())
    }

    /// All batches of one partition; they are not needed again.
    pub(crate) fn take<E: From<LinkError>>(&self, partition: u32, spill: &dyn Spill<E>) -> Result<Vec<RecordBatch>, E> {
        let mut batches = if self.flush_rows == u64::MAX { Vec::new() } else { spill.take(Place::Tokens(partition))? };
        if let Some(mut filling) = self.lock(partition) {
            let Filling { rows, .. } = std::mem::take(&mut *filling);
            if rows.len() > 0 {
                batches.push(rows.into_batch()?);
            }
        }
        Ok(batches)
    }
}

/// Tokens of one partition seen at least twice. False positives only cost a row of the join; there are no false negatives,
/// so the result does not depend on it.
#[derive(Debug)]
struct TwiceSeen {
    seen: Bloom<[u8; 16]>,
    repeated: Bloom<[u8; 16]>,
}

impl TwiceSeen {
    /// `None` when no filter of that size can be made.
    fn new(expected: usize) -> Option<Self> {
        // Tokens are pseudo-random already: a fixed seed opens no attack, and keeps the run reproducible. The two halves
        // key two functions and must differ.
        let mut seed = [0x5a; 32];
        seed[16..].fill(0xa5);
        let make = |items: usize| Bloom::new_for_fp_rate_with_seed(items.max(1), FALSE_POSITIVES, &seed).ok();
        Some(Self { seen: make(expected)?, repeated: make(expected / 2)? })
    }
    fn note(&mut self, token: &[u8; 16]) {
        if self.seen.check_and_set(token) {
            self.repeated.set(token);
        }
    }
    fn twice(&self, token: &[u8; 16]) -> bool {
        self.repeated.check(token)
    }
}
