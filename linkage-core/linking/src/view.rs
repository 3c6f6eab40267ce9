//! Checked access to the packed records that parties sent.
//!
//! What arrives is untrusted: batches are only read after their length has been found to be a whole number of
//! records, and every later access is by an index that exists. Records are numbered over all parties in the order
//! given (`u32`); nothing that is computed from them depends on that order, on batch limits or on handles.

use linkage_agreement::{Handle, Layout};

use crate::{LinkError, MAX_DIMENSIONS, compare};

/// What one party delivered for a run.
#[derive(Debug, Clone)]
pub struct PartyInput<'a> {
    /// Whether the agreement says that the list holds each person once only.
    pub duplicate_free: bool,
    /// Batches of whole packed records (`Layout::record_len` bytes each).
    pub batches: Vec<&'a [u8]>,
}

/// A record's number over all parties of the run.
pub type RecordIndex = u32;

/// All records of a run, checked.
#[derive(Debug)]
pub struct Records<'a> {
    layout: &'a Layout,
    records: Vec<&'a [u8]>,
    /// First record of each party, and the total at the end.
    starts: Vec<RecordIndex>,
    duplicate_free: Vec<bool>,
}

impl<'a> Records<'a> {
    /// Checks the layout and every batch's length. Errors: a layout this crate cannot compare, a batch that is not a
    /// whole number of records, more than `u32::MAX` records.
    pub fn new(layout: &'a Layout, parties: &[PartyInput<'a>]) -> Result<Self, LinkError> {
        check_layout(layout)?;
        let mut records = Vec::new();
        let mut starts = vec![0];
        for (number, party) in parties.iter().enumerate() {
            for batch in &party.batches {
                let chunks = batch.chunks_exact(layout.record_len());
                if !chunks.remainder().is_empty() {
                    return Err(LinkError::BatchLength { party: number, len: batch.len(), record_len: layout.record_len() });
                }
                records.extend(chunks);
            }
            starts.push(u32::try_from(records.len()).map_err(|_| LinkError::TooManyRecords)?);
        }
        Ok(Self { layout, records, starts, duplicate_free: parties.iter().map(|p| p.duplicate_free).collect() })
    }

    /// The layout of the records.
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }
    /// Records of all parties.
    pub fn len(&self) -> usize {
        self.records.len()
    }
    /// Whether there is no record at all.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
    /// Number of parties.
    pub fn parties(&self) -> usize {
        self.duplicate_free.len()
    }
    /// The records of party number `party`; empty when there is no such party.
    pub fn of_party(&self, party: usize) -> std::ops::Range<RecordIndex> {
        match (self.starts.get(party), self.starts.get(party + 1)) {
            (Some(&from), Some(&to)) => from..to,
            _ => 0..0,
        }
    }
    /// The party that sent `record`.
    pub fn party(&self, record: RecordIndex) -> usize {
        self.starts.partition_point(|&start| start <= record).saturating_sub(1)
    }
    /// Whether party number `party` holds each person once only.
    pub fn duplicate_free(&self, party: usize) -> bool {
        self.duplicate_free.get(party).copied().unwrap_or(true)
    }
    /// Whether `a` and `b` may be the same person's: of two parties, or of one that may hold duplicates.
    pub fn may_link(&self, a: RecordIndex, b: RecordIndex) -> bool {
        let party = self.party(a);
        a != b && (party != self.party(b) || !self.duplicate_free(party))
    }
    /// The handle of `record`.
    pub fn handle(&self, record: RecordIndex) -> Result<Handle, LinkError> {
        let bytes = self.record(record)?.get(..16).and_then(Handle::from_slice);
        bytes.ok_or(LinkError::NoSuchRecord(record))
    }
    /// The header of `record`: date quality and rarity classes.
    pub fn header(&self, record: RecordIndex) -> Result<u32, LinkError> {
        let bytes = self.record(record)?.get(16..20).and_then(|b| b.try_into().ok());
        bytes.map(u32::from_le_bytes).ok_or(LinkError::NoSuchRecord(record))
    }
    /// The tokens of `record` in entry order.
    pub fn tokens(&self, record: RecordIndex) -> Result<impl Iterator<Item = [u8; 16]> + '_, LinkError> {
        let entries = self.record(record)?.get(Layout::PREFIX_LEN..).unwrap_or(&[]);
        Ok(entries.chunks_exact(self.layout.entry_len()).filter_map(|entry| entry.first_chunk::<16>().copied()))
    }
    /// The payload of entry number `entry` of `record`.
    pub fn payload(&self, record: RecordIndex, entry: u8) -> Result<&'a [u8], LinkError> {
        let at = Layout::PREFIX_LEN + usize::from(entry) * self.layout.entry_len() + 16;
        self.record(record)?.get(at..at + self.layout.payload_len).ok_or(LinkError::NoSuchEntry { record, entry })
    }

    fn record(&self, record: RecordIndex) -> Result<&'a [u8], LinkError> {
        self.records.get(record as usize).copied().ok_or(LinkError::NoSuchRecord(record))
    }
}

/// Refuses a layout that cannot be compared here; the agreement's check lets none of these through.
pub(crate) fn check_layout(layout: &Layout) -> Result<(), LinkError> {
    let dimensions = compare::Dimensions::of(layout).len();
    if !layout.filter_bits.is_power_of_two() || !(64..=512).contains(&layout.filter_bits) {
        return Err(LinkError::Layout("filter bits are not 64, 128, 256 or 512"));
    }
    if !(1..=8).contains(&layout.hash_count) {
        return Err(LinkError::Layout("bits per q-gram are not 1 to 8"));
    }
    if !(1..=255).contains(&layout.tokens_per_record) {
        return Err(LinkError::Layout("tokens per record are not 1 to 255"));
    }
    if dimensions == 0 || dimensions > MAX_DIMENSIONS {
        return Err(LinkError::Layout("not 1 to 16 dimensions to compare"));
    }
    Ok(())
}
