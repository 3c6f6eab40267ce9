//! What a record costs in stage 2, and its archive around it: `cargo bench -p linkage-node --bench stage_two`.
//!
//! The layout is the French one: three filters of 128 bits, 17 slots; twenty entries a record.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use linkage_agreement::FieldKind::{BirthDate, BirthName, Category, GivenNames, Place, Sex, UsageName};
use linkage_agreement::{Handle, Layout, Period, RecordRef};
use linkage_crypto::derive::{BlockSecret, RunKey};
use linkage_encoding::fields::blind_entry;
use linkage_node::archive::{ArchivedRecord, Index, SECRET_LEN, Segment};
use linkage_node::stage_two::RecordWriter;
use linkage_node::vault::Vault;
use zeroize::Zeroizing;

/// Records of one segment of the archive.
const SEGMENT: usize = 2048;
/// Records of a large archive.
const MANY: usize = 1 << 20;

fn layout() -> Layout {
    Layout::new(&[BirthName, UsageName, GivenNames, BirthDate, Sex, Place, Category], 128, 4, 20)
}

fn entries(layout: &Layout, record: usize) -> Vec<u8> {
    let len = layout.tokens_per_record * (SECRET_LEN + layout.payload_len);
    (0..len).map(|i| ((i + 31 * record) as u8).wrapping_mul(151) | 1).collect()
}

fn reference(record: usize) -> RecordRef {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(record as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    RecordRef(bytes)
}

fn records(c: &mut Criterion) {
    let (layout, run) = (layout(), RunKey::from_bytes(&[7; 32]));
    let archived: Vec<Vec<u8>> = (0..512).map(|record| entries(&layout, record)).collect();
    let mut group = c.benchmark_group("512 records");
    group.throughput(Throughput::Elements(archived.len() as u64));
    let room = || Vec::with_capacity(archived.len() * layout.record_len());
    group.bench_function("one writer", |b| {
        let mut writer = RecordWriter::new(&layout, &run).unwrap();
        b.iter_batched_ref(
            room,
            |out| {
                for entries in &archived {
                    writer.write(Handle::default(), 0, black_box(entries), out).unwrap();
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("entry by entry", |b| {
        b.iter_batched_ref(
            room,
            |out| {
                for entry in archived.iter().flat_map(|e| e.chunks_exact(SECRET_LEN + layout.payload_len)) {
                    let (secret, payload) = black_box(entry).split_first_chunk().unwrap();
                    let at = out.len() + 16;
                    out.extend_from_slice(&[0; 16]);
                    out.extend_from_slice(payload);
                    let token = blind_entry(&layout, &run, &BlockSecret::from_bytes(secret), &mut out[at..]).unwrap();
                    out[at - 16..at].copy_from_slice(&token.0);
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn archive(c: &mut Criterion) {
    let (layout, dir) = (layout(), tempfile::tempdir().unwrap());
    let vault = Vault::open(dir.path(), &[7; 32]).unwrap();
    let period: Period = "2024-01".parse().unwrap();
    let records: Vec<ArchivedRecord> = (0..SEGMENT)
        .map(|n| ArchivedRecord { reference: reference(n), header: 0, entries: Zeroizing::new(entries(&layout, n)) })
        .collect();
    let mut index = Index::default();
    index.append(&vault, period, 1, &records, |_| ([0; 16], false)).unwrap();
    let bytes = SEGMENT * (20 + records[0].entries.len());

    let mut group = c.benchmark_group("archive");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("segment written", |b| {
        b.iter(|| index.append(&vault, period, 1, black_box(&records), |_| ([0; 16], false)).unwrap());
    });
    group.bench_function("segment opened", |b| b.iter(|| Segment::load(&vault, &layout, 0).unwrap()));
    let segment = Segment::load(&vault, &layout, 0).unwrap();
    group.bench_function("segment read record by record", |b| {
        b.iter(|| {
            for (position, record) in (0u32..).zip(&records) {
                black_box(segment.record(position, &record.reference).unwrap());
            }
        });
    });

    group.throughput(Throughput::Elements(MANY as u64));
    let any = index.records[&reference(0)];
    index.records.extend((0..MANY).map(|n| (reference(n), any)));
    group.bench_function("index of 2^20 saved", |b| b.iter(|| index.save(&vault).unwrap()));
    group.bench_function("index of 2^20 loaded", |b| b.iter(|| Index::load(&vault).unwrap()));
    group.bench_function("index of 2^20 by segment", |b| b.iter(|| index.segments(|_| true)));
    group.finish();
}

criterion_group!(benches, records, archive);
criterion_main!(benches);
