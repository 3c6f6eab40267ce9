//! The records of a run without their encodings: who sent which, and checked access to the bytes that parties send.
//!
//! What arrives is untrusted: a batch is only read after its length has been found to be the whole number of records
//! that was announced. Records are numbered over all parties in the order given (`u32`); nothing that is computed from
//! them depends on that order, on batch limits or on handles. Encodings, which are large, stay where a [`Source`] holds
//! them and are read batch by batch; what is kept here are some 20 bytes a record.

use linkage_agreement::{Handle, Layout, RecordShape};
use rayon::prelude::*;

use crate::pack::{Reader, Writer};
use crate::{LinkError, MAX_DIMENSIONS, compare};

/// A record's number over all parties of the run.
pub type RecordIndex = u32;

/// What the agreement says of one party's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartyTerms {
    /// Whether the list holds each person once only.
    pub duplicate_free: bool,
    /// What each record holds.
    pub shape: RecordShape,
}

/// One batch of a run's uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchAt {
    /// The party's number.
    pub party: usize,
    /// Whole records in the batch.
    pub records: u32,
}

/// Where a run's batches are read from, as often as needed.
pub trait Source: Sync {
    /// Why a batch cannot be read, or is not what was announced.
    type Error: From<LinkError> + Send;
    /// A batch's bytes.
    type Batch<'s>: AsRef<[u8]>
    where
        Self: 's;
    /// The layout of the records.
    fn layout(&self) -> &Layout;
    /// The parties' terms, in the order of their numbers.
    fn parties(&self) -> Vec<PartyTerms>;
    /// All batches, party by party.
    fn batches(&self) -> Vec<BatchAt>;
    /// The bytes of batch `number` of [`Source::batches`].
    fn read(&self, number: usize) -> Result<Self::Batch<'_>, Self::Error>;
}

/// What one party delivered for a run, in memory.
#[derive(Debug, Clone)]
pub struct PartyInput<'a> {
    /// Whether the agreement says that the list holds each person once only.
    pub duplicate_free: bool,
    /// What each record holds.
    pub shape: RecordShape,
    /// Batches of whole packed records.
    pub batches: Vec<&'a [u8]>,
}

impl<'a> PartyInput<'a> {
    /// A party whose records hold what the layout says and nothing else.
    pub fn block_scoped(layout: &Layout, duplicate_free: bool, batches: Vec<&'a [u8]>) -> Self {
        Self { duplicate_free, shape: layout.shape(), batches }
    }
}

/// Uploads that are all in memory.
#[derive(Debug)]
pub struct InMemory<'a> {
    layout: &'a Layout,
    parties: Vec<PartyTerms>,
    batches: Vec<(BatchAt, &'a [u8])>,
}

impl<'a> InMemory<'a> {
    /// Checks every batch's length. Errors: a batch that is not a whole number of records.
    pub fn new(layout: &'a Layout, parties: &[PartyInput<'a>]) -> Result<Self, LinkError> {
        let mut batches = Vec::new();
        for (party, input) in parties.iter().enumerate() {
            let record_len = input.shape.record_len(layout);
            for &batch in &input.batches {
                if !batch.len().is_multiple_of(record_len) {
                    return Err(LinkError::BatchLength { party, len: batch.len(), record_len });
                }
                let records = u32::try_from(batch.len() / record_len).map_err(|_| LinkError::TooManyRecords)?;
                batches.push((BatchAt { party, records }, batch));
            }
        }
        let terms = |p: &PartyInput<'_>| PartyTerms { duplicate_free: p.duplicate_free, shape: p.shape };
        Ok(Self { layout, parties: parties.iter().map(terms).collect(), batches })
    }
}

impl<'a> Source for InMemory<'a> {
    type Error = LinkError;
    type Batch<'s>
        = &'a [u8]
    where
        Self: 's;

    fn layout(&self) -> &Layout {
        self.layout
    }
    fn parties(&self) -> Vec<PartyTerms> {
        self.parties.clone()
    }
    fn batches(&self) -> Vec<BatchAt> {
        self.batches.iter().map(|(at, _)| *at).collect()
    }
    fn read(&self, number: usize) -> Result<&'a [u8], LinkError> {
        self.batches.get(number).map(|(_, bytes)| *bytes).ok_or(LinkError::Packed("no such batch"))
    }
}

/// All records of a run: handle, header and, where a party is of another profile, annex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    layout: Layout,
    parties: Vec<PartyTerms>,
    /// First record of each party, and the total at the end; after an increment once more for its records.
    starts: Vec<RecordIndex>,
    handles: Vec<Handle>,
    headers: Vec<u32>,
    /// By entry of `starts`: the records' annexes, one after the other.
    annexes: Vec<Vec<u8>>,
}

impl Records {
    const KIND: u8 = b'R';

    /// Checks the layout and every batch's length, and reads what is kept of each record. Errors: a layout this crate
    /// cannot compare, a batch that is not a whole number of records, more than `u32::MAX` records.
    pub fn new(layout: &Layout, parties: &[PartyInput<'_>]) -> Result<Self, LinkError> {
        let source = InMemory::new(layout, parties)?;
        read_all(&source, |_| Ok(()))
    }
    /// The layout of the records.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
    /// Records of all parties.
    pub fn len(&self) -> usize {
        self.handles.len()
    }
    /// Whether there is no record at all.
    pub fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }
    /// Number of parties.
    pub fn parties(&self) -> usize {
        self.parties.len()
    }
    /// The records of party number `party`, without those of increments; empty when there is no such party.
    pub fn of_party(&self, party: usize) -> std::ops::Range<RecordIndex> {
        if party < self.parties() { self.of_section(party) } else { 0..0 }
    }
    /// The party that sent `record`.
    pub fn party(&self, record: RecordIndex) -> usize {
        self.section(record) % self.parties().max(1)
    }
    fn section(&self, record: RecordIndex) -> usize {
        self.starts.partition_point(|&start| start <= record).saturating_sub(1)
    }
    fn of_section(&self, section: usize) -> std::ops::Range<RecordIndex> {
        match (self.starts.get(section), self.starts.get(section + 1)) {
            (Some(&from), Some(&to)) => from..to,
            _ => 0..0,
        }
    }
    /// Whether party number `party` holds each person once only.
    pub fn duplicate_free(&self, party: usize) -> bool {
        self.parties.get(party).is_none_or(|p| p.duplicate_free)
    }
    /// What each record of party number `party` holds; nothing when there is no such party.
    pub fn shape(&self, party: usize) -> RecordShape {
        self.parties.get(party).map_or(RecordShape { entries: 0, annex_len: 0 }, |p| p.shape)
    }
    /// Whether `a` and `b` may be the same person's: of two parties, or of one that may hold duplicates.
    pub fn may_link(&self, a: RecordIndex, b: RecordIndex) -> bool {
        let party = self.party(a);
        a != b && (party != self.party(b) || !self.duplicate_free(party))
    }
    /// The handle of `record`.
    pub fn handle(&self, record: RecordIndex) -> Result<Handle, LinkError> {
        self.handles.get(record as usize).copied().ok_or(LinkError::NoSuchRecord(record))
    }
    /// The header of `record`: date quality and rarity classes.
    pub fn header(&self, record: RecordIndex) -> Result<u32, LinkError> {
        self.headers.get(record as usize).copied().ok_or(LinkError::NoSuchRecord(record))
    }
    /// The annex of `record`; empty where the run has none.
    pub fn annex(&self, record: RecordIndex) -> &[u8] {
        let section = self.section(record);
        let len = self.shape(self.party(record)).annex_len;
        let at = (record - self.of_section(section).start) as usize * len;
        self.annexes.get(section).and_then(|all| all.get(at..at + len)).unwrap_or(&[])
    }

    /// These records, and after them those of an increment of the same parties and layout: numbers stay.
    ///
    /// Errors: other parties or another layout, too many records.
    pub fn followed_by(mut self, increment: Self) -> Result<Self, LinkError> {
        if (&self.layout, &self.parties) != (&increment.layout, &increment.parties) {
            return Err(LinkError::Packed("records of other parties"));
        }
        let before = self.starts.pop().unwrap_or(0);
        for start in increment.starts {
            self.starts.push(before.checked_add(start).ok_or(LinkError::TooManyRecords)?);
        }
        self.handles.extend(increment.handles);
        self.headers.extend(increment.headers);
        self.annexes.extend(increment.annexes);
        Ok(self)
    }

    /// Packs: kind, version, number of sections (parties, and as many for each increment); each section's number of records;
    /// handles, headers, annexes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new(Self::KIND);
        out.u32(self.annexes.len() as u32);
        for section in 0..self.annexes.len() {
            out.u32(self.of_section(section).len() as u32);
        }
        for handle in &self.handles {
            out.bytes(&handle.0);
        }
        for &header in &self.headers {
            out.u32(header);
        }
        for annexes in &self.annexes {
            out.bytes(annexes);
        }
        out.finish()
    }
    /// Unpacks the records of a run among `parties`.
    pub fn from_bytes(layout: &Layout, parties: Vec<PartyTerms>, bytes: &[u8]) -> Result<Self, LinkError> {
        let mut input = Reader::new(Self::KIND, bytes)?;
        let sections = input.u32()? as usize;
        // No party at all has no sections.
        if !sections.is_multiple_of(parties.len()) || sections < parties.len() {
            return Err(LinkError::Packed("records of other parties"));
        }
        let mut starts = vec![0u32];
        for _ in 0..sections {
            let before = starts.last().copied().unwrap_or(0);
            starts.push(before.checked_add(input.u32()?).ok_or(LinkError::TooManyRecords)?);
        }
        let count = starts.last().copied().unwrap_or(0) as usize;
        let handles = input.slice(count.saturating_mul(16))?.as_chunks::<16>().0.iter().map(|h| Handle(*h)).collect();
        let headers = input.slice(count.saturating_mul(4))?.as_chunks::<4>().0.iter().map(|h| u32::from_le_bytes(*h)).collect();
        let mut annexes = Vec::new();
        for (party, bounds) in parties.iter().cycle().zip(starts.windows(2)) {
            let records = bounds.iter().rev().copied().reduce(|to, from| to - from).unwrap_or(0) as usize;
            annexes.push(input.slice(records.saturating_mul(party.shape.annex_len))?.to_vec());
        }
        input.finish()?;
        Ok(Self { layout: layout.clone(), parties, starts, handles, headers, annexes })
    }
}

/// One batch on its way through [`read_all`].
pub(crate) struct BatchView<'b> {
    /// The layout of the records.
    pub(crate) layout: &'b Layout,
    /// What each record holds.
    pub(crate) shape: RecordShape,
    /// Number of the first record.
    pub(crate) first: RecordIndex,
    bytes: &'b [u8],
}

impl<'b> BatchView<'b> {
    pub(crate) fn new(layout: &'b Layout, shape: RecordShape, first: RecordIndex, bytes: &'b [u8]) -> Self {
        Self { layout, shape, first, bytes }
    }
    /// The same with numbers counted from `from`.
    pub(crate) fn numbered_from(&self, from: RecordIndex) -> Result<Self, LinkError> {
        let first = self.first.checked_add(from).ok_or(LinkError::TooManyRecords)?;
        Ok(Self { first, ..*self })
    }
    /// Every record's number and bytes.
    pub(crate) fn records(&self) -> impl Iterator<Item = (RecordIndex, &'b [u8])> {
        (self.first..).zip(self.bytes.chunks_exact(self.shape.record_len(self.layout)))
    }
    /// The entries of one record's bytes: token and payload each.
    pub(crate) fn entries(&self, record: &'b [u8]) -> impl Iterator<Item = (&'b [u8; 16], &'b [u8])> {
        let end = Layout::PREFIX_LEN + self.shape.entries * self.layout.entry_len();
        let entries = record.get(Layout::PREFIX_LEN..end).unwrap_or(&[]);
        entries.chunks_exact(self.layout.entry_len()).filter_map(|entry| entry.split_first_chunk::<16>())
    }
}

/// First record of every batch, and the number of records of all.
pub(crate) fn first_records(batches: &[BatchAt]) -> Result<(Vec<RecordIndex>, RecordIndex), LinkError> {
    let mut firsts = Vec::with_capacity(batches.len());
    let mut next = 0u32;
    for batch in batches {
        firsts.push(next);
        next = next.checked_add(batch.records).ok_or(LinkError::TooManyRecords)?;
    }
    Ok((firsts, next))
}

/// Shows every batch of `source` to `see`, on all cores and in no order.
pub(crate) fn for_each_batch<S: Source>(
    source: &S,
    see: impl Fn(&BatchView<'_>) -> Result<(), S::Error> + Sync,
) -> Result<(), S::Error> {
    map_batches(source, see).map(|_| ())
}

fn map_batches<S: Source, T: Send>(
    source: &S,
    see: impl Fn(&BatchView<'_>) -> Result<T, S::Error> + Sync,
) -> Result<Vec<T>, S::Error> {
    let (layout, parties, batches) = (source.layout(), source.parties(), source.batches());
    let (firsts, _) = first_records(&batches)?;
    let one = |(number, (at, first)): (usize, (&BatchAt, &RecordIndex))| {
        let shape = parties.get(at.party).ok_or(LinkError::Packed("a batch of no party"))?.shape;
        let record_len = shape.record_len(layout);
        let batch = source.read(number)?;
        let bytes = batch.as_ref();
        if bytes.len() != record_len * at.records as usize {
            return Err(LinkError::BatchLength { party: at.party, len: bytes.len(), record_len }.into());
        }
        see(&BatchView::new(layout, shape, *first, bytes))
    };
    batches.par_iter().zip(&firsts).enumerate().map(one).collect()
}

/// Reads all batches once: keeps what [`Records`] holds, and shows each batch to `see`.
pub(crate) fn read_all<S: Source>(
    source: &S,
    see: impl Fn(&BatchView<'_>) -> Result<(), S::Error> + Sync,
) -> Result<Records, S::Error> {
    let layout = source.layout();
    check_layout(layout)?;
    let (parties, batches) = (source.parties(), source.batches());
    if !batches.is_sorted_by_key(|batch| batch.party) {
        return Err(LinkError::Packed("batches out of order").into());
    }
    let (_, total) = first_records(&batches)?;
    let kept = map_batches(source, |batch| {
        let (mut handles, mut headers, mut annexes) = (Vec::new(), Vec::new(), Vec::new());
        for (number, record) in batch.records() {
            let handle = record.get(..16).and_then(Handle::from_slice).ok_or(LinkError::NoSuchRecord(number))?;
            let header = record.get(16..20).and_then(|b| b.try_into().ok()).ok_or(LinkError::NoSuchRecord(number))?;
            handles.push(handle);
            headers.push(u32::from_le_bytes(header));
            annexes.extend_from_slice(record.get(record.len() - batch.shape.annex_len..).unwrap_or(&[]));
        }
        see(batch)?;
        Ok((handles, headers, annexes))
    })?;
    let mut records = Records {
        layout: layout.clone(),
        starts: Vec::with_capacity(parties.len() + 1),
        handles: Vec::with_capacity(total as usize),
        headers: Vec::with_capacity(total as usize),
        annexes: vec![Vec::new(); parties.len()],
        parties,
    };
    let mut kept = batches.iter().zip(kept).peekable();
    for (party, annexes) in records.annexes.iter_mut().enumerate() {
        records.starts.push(records.handles.len() as u32);
        while let Some((_, (handles, headers, annex))) = kept.next_if(|(at, _)| at.party == party) {
            records.handles.extend(handles);
            records.headers.extend(headers);
            annexes.extend(annex);
        }
    }
    records.starts.push(records.handles.len() as u32);
    Ok(records)
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
    if !(1..=64).contains(&layout.tokens_per_record) {
        return Err(LinkError::Layout("tokens per record are not 1 to 64"));
    }
    if dimensions == 0 || dimensions > MAX_DIMENSIONS {
        return Err(LinkError::Layout("not 1 to 16 dimensions to compare"));
    }
    Ok(())
}
