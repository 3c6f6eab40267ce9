//! `--broker-view`: the bytes that the broker received, decoded, for measurements of what they give away.
//!
//! `broker.parquet` has one row for each entry: party, handle, header, position of the entry, token, payload.
//! `handles.csv`, apart, says whose record a handle is; the broker never has it. Decoys have no line there.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeBinaryArray, RecordBatch, StringArray, UInt16Array, UInt32Array};
use arrow_schema::{DataType, Field, Schema};
use linkage_agreement::{Agreement, Handle, Layout, PartyId};
use parquet::arrow::ArrowWriter;

use super::uploads::Kept;

/// Writes the view of `uploads` to `folder`.
pub fn write(
    folder: &Path,
    agreement: &Agreement,
    uploads: &Kept,
    owners: &HashMap<Handle, (PartyId, String)>,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let layout = agreement.layout();
    let schema = Arc::new(Schema::new(vec![
        Field::new("party", DataType::Utf8, false),
        Field::new("handle", DataType::FixedSizeBinary(16), false),
        Field::new("header", DataType::UInt32, false),
        Field::new("entry", DataType::UInt16, false),
        Field::new("token", DataType::FixedSizeBinary(16), false),
        Field::new("payload", DataType::FixedSizeBinary(layout.payload_len as i32), false),
    ]));
    let mut writer = ArrowWriter::try_new(File::create(folder.join("broker.parquet"))?, schema.clone(), None)?;
    for batch in uploads.batches() {
        let (party, batch) = batch?;
        writer.write(&RecordBatch::try_new(schema.clone(), columns(&layout, party.as_str(), &batch)?)?)?;
    }
    writer.close()?;

    let mut lines: Vec<String> =
        owners.iter().map(|(handle, (party, id))| format!("{},{party},{id}\n", handle.to_hex())).collect();
    lines.sort();
    linkage_common::fsx::write_atomic(
        &folder.join("handles.csv"),
        format!("handle,party,local_id\n{}", lines.concat()).as_bytes(),
    )?;
    Ok(())
}

fn columns(layout: &Layout, party: &str, batch: &[u8]) -> anyhow::Result<Vec<ArrayRef>> {
    let (mut handles, mut headers, mut entries, mut tokens, mut payloads) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for record in batch.chunks_exact(layout.record_len()) {
        let (prefix, rest) = record.split_at(Layout::PREFIX_LEN);
        for (number, entry) in rest.chunks_exact(layout.entry_len()).enumerate() {
            handles.push(&prefix[..16]);
            headers.push(u32::from_le_bytes(prefix[16..20].try_into()?));
            entries.push(number as u16);
            tokens.push(&entry[..16]);
            payloads.push(&entry[16..]);
        }
    }
    Ok(vec![
        Arc::new(StringArray::from(vec![party; handles.len()])),
        Arc::new(FixedSizeBinaryArray::try_from_iter(handles.into_iter())?),
        Arc::new(UInt32Array::from(headers)),
        Arc::new(UInt16Array::from(entries)),
        Arc::new(FixedSizeBinaryArray::try_from_iter(tokens.into_iter())?),
        Arc::new(FixedSizeBinaryArray::try_from_iter(payloads.into_iter())?),
    ])
}
