//! The payloads that a run compares: of the entries that met another one, and of no other, as Arrow batches.
//!
//! Records that met, directly or by way of others, form one component of the candidate graph. Whole components go to one
//! group, so that a group's pairs find all their payloads in the group's batches: a group is compared by itself.

use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeBinaryArray, RecordBatch, UInt8Array, UInt32Array};
use arrow_buffer::Buffer;
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::records::BatchView;
use crate::tokens::arrow;
use crate::{LinkError, Meeting, RecordIndex};

/// A record that is in no group.
const NOWHERE: u32 = u32::MAX;

/// `record: UInt32, entry: UInt8, payload: FixedSizeBinary(payload_len)`.
pub fn schema(payload_len: usize) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("record", DataType::UInt32, false),
        Field::new("entry", DataType::UInt8, false),
        Field::new("payload", DataType::FixedSizeBinary(payload_len as i32), false),
    ]))
}

/// Which entries of which records are compared, and in which group.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// By record: bit n for entry n.
    entries: Vec<u64>,
    /// By record.
    groups: Vec<u32>,
    count: u32,
}

impl Wanted {
    /// The entries of `meetings` among `records` records, in groups of at most `group_bytes` bytes of payloads; a component
    /// larger than that has a group of its own. Also gives the bytes of the largest group.
    pub(crate) fn of(meetings: &[Meeting], records: usize, payload_len: usize, group_bytes: u64) -> (Self, u64) {
        let mut entries = vec![0u64; records];
        let mut components = Components::new(records);
        for m in meetings {
            for (record, entry) in [(m.a, m.entry_a), (m.b, m.entry_b)] {
                if let Some(mask) = entries.get_mut(record as usize) {
                    *mask |= 1u64.checked_shl(entry.into()).unwrap_or(0);
                }
            }
            components.join(m.a, m.b);
        }
        let row = payload_len as u64 + 5;
        let mut sizes = vec![0u64; records];
        for (record, mask) in (0..).zip(&entries).filter(|(_, mask)| **mask != 0) {
            if let Some(size) = sizes.get_mut(components.root(record) as usize) {
                *size += u64::from(mask.count_ones()) * row;
            }
        }
        let mut groups = vec![NOWHERE; records];
        let (mut group, mut filled, mut largest) = (0, 0u64, 0);
        for record in 0..records as u32 {
            if entries.get(record as usize).is_none_or(|mask| *mask == 0) {
                continue;
            }
            // The root of a component is its first record.
            let root = components.root(record);
            let of_root = groups.get(root as usize).copied().unwrap_or(NOWHERE);
            let chosen = if of_root == NOWHERE {
                let size = sizes.get(root as usize).copied().unwrap_or(0);
                if filled > 0 && filled + size > group_bytes {
                    group += 1;
                    filled = 0;
                }
                filled += size;
                largest = filled.max(largest);
                group
            } else {
                of_root
            };
            if let Some(place) = groups.get_mut(record as usize) {
                *place = chosen;
            }
        }
        (Self { entries, groups, count: group + 1 }, largest)
    }

    pub(crate) fn groups(&self) -> u32 {
        self.count
    }
    pub(crate) fn group(&self, record: RecordIndex) -> u32 {
        self.groups.get(record as usize).copied().unwrap_or(NOWHERE)
    }

    /// The wanted payloads of one batch, by group.
    pub(crate) fn pick(&self, batch: &BatchView<'_>) -> Result<Vec<(u32, RecordBatch)>, LinkError> {
        let mut by_group: std::collections::BTreeMap<u32, PayloadRows> = std::collections::BTreeMap::new();
        for (number, record) in batch.records() {
            let mask = self.entries.get(number as usize).copied().unwrap_or(0);
            if mask == 0 {
                continue;
            }
            let rows = by_group.entry(self.group(number)).or_default();
            for ((_, payload), entry) in batch.entries(record).zip(0u8..).filter(|(_, entry)| mask >> entry & 1 == 1) {
                rows.records.push(number);
                rows.entries.push(entry);
                rows.payloads.extend_from_slice(payload);
            }
        }
        by_group.into_iter().map(|(group, rows)| Ok((group, rows.into_batch(batch.layout.payload_len)?))).collect()
    }
}

#[derive(Default)]
struct PayloadRows {
    records: Vec<u32>,
    entries: Vec<u8>,
    payloads: Vec<u8>,
}

impl PayloadRows {
    fn into_batch(mut self, payload_len: usize) -> Result<RecordBatch, LinkError> {
        // The batch stays in memory until its group is compared: what room was left over does not.
        self.payloads.shrink_to_fit();
        let payloads = FixedSizeBinaryArray::try_new(payload_len as i32, Buffer::from_vec(self.payloads), None).map_err(arrow)?;
        let columns: Vec<ArrayRef> =
            vec![Arc::new(UInt32Array::from(self.records)), Arc::new(UInt8Array::from(self.entries)), Arc::new(payloads)];
        RecordBatch::try_new(schema(payload_len), columns).map_err(arrow)
    }
}

/// The payloads of one group, found by record and entry.
#[derive(Debug)]
pub struct Payloads<'b> {
    chunks: Vec<Chunk<'b>>,
    /// By record: chunk and first row in it.
    places: Vec<(u32, u32)>,
}

#[derive(Debug)]
struct Chunk<'b> {
    /// Rising, once for each entry.
    records: &'b [u32],
    entries: &'b [u8],
    payloads: &'b [u8],
    payload_len: usize,
}

impl<'b> Payloads<'b> {
    /// Finds rows in `batches`, each sorted by record and entry, of disjoint ranges of records. Errors: another schema.
    pub fn new(batches: &'b [RecordBatch]) -> Result<Self, LinkError> {
        let foreign = || LinkError::Packed("an Arrow batch of another form");
        let (mut chunks, mut places) = (Vec::with_capacity(batches.len()), Vec::new());
        for (number, batch) in (0u32..).zip(batches) {
            let records = batch.column(0).as_any().downcast_ref::<UInt32Array>().ok_or_else(foreign)?.values();
            let entries = batch.column(1).as_any().downcast_ref::<UInt8Array>().ok_or_else(foreign)?.values();
            let payloads = batch.column(2).as_any().downcast_ref::<FixedSizeBinaryArray>().ok_or_else(foreign)?;
            let payload_len = usize::try_from(payloads.value_length()).map_err(|_| foreign())?;
            chunks.push(Chunk { records, entries, payloads: payloads.value_data(), payload_len });
            let len = records.last().map_or(0, |&last| last as usize + 1);
            places.resize(places.len().max(len), (NOWHERE, 0));
            let mut before = None;
            for (row, &record) in (0u32..).zip(records) {
                if before.replace(record) != Some(record)
                    && let Some(place) = places.get_mut(record as usize)
                {
                    *place = (number, row);
                }
            }
        }
        Ok(Self { chunks, places })
    }

    /// The payload of an entry.
    pub fn get(&self, record: RecordIndex, entry: u8) -> Result<&'b [u8], LinkError> {
        let missing = LinkError::NoSuchEntry { record, entry };
        let Some(&(chunk, first)) = self.places.get(record as usize) else { return Err(missing) };
        let Some(chunk) = self.chunks.get(chunk as usize) else { return Err(missing) };
        let rows = chunk.records.iter().zip(chunk.entries).skip(first as usize).take_while(|(r, _)| **r == record);
        let Some(row) = rows.map(|(_, e)| *e).position(|e| e == entry) else { return Err(missing) };
        let at = (first as usize + row) * chunk.payload_len;
        chunk.payloads.get(at..at + chunk.payload_len).ok_or(missing)
    }
}

/// Components of a graph by union and find; the root of a component is its first record.
#[derive(Debug)]
pub(crate) struct Components(Vec<u32>);

impl Components {
    pub(crate) fn new(records: usize) -> Self {
        Self((0..u32::try_from(records).unwrap_or(u32::MAX)).collect())
    }
    pub(crate) fn root(&mut self, mut at: u32) -> u32 {
        while let Some(&up) = self.0.get(at as usize) {
            if up == at {
                break;
            }
            let further = self.0.get(up as usize).copied().unwrap_or(up);
            if let Some(place) = self.0.get_mut(at as usize) {
                *place = further;
            }
            at = further;
        }
        at
    }
    pub(crate) fn join(&mut self, a: u32, b: u32) {
        let (x, y) = (self.root(a), self.root(b));
        if let Some(place) = self.0.get_mut(x.max(y) as usize) {
            *place = x.min(y);
        }
    }
}
