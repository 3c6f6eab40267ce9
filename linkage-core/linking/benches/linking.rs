//! The broker's steps on one partition or group: `cargo bench -p linkage-linking --bench linking`.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeBinaryArray, RecordBatch, UInt8Array, UInt32Array};
use arrow_buffer::Buffer;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use linkage_linking::decide::{Decided, Outcome};
use linkage_linking::{Dispositions, PartyInput, Records, cluster, join, meet_in_memory, tokens};
use support::{Person, block_keys, layout, mix, record};

/// Tokens of one partition, as in a run of a million records.
const TOKENS: u32 = 1 << 18;
const PERSONS: u64 = 5_000;

fn word(mut number: u64) -> String {
    let mut next = |letters: &[u8]| {
        let letter = letters[(number % letters.len() as u64) as usize];
        number /= letters.len() as u64;
        char::from(letter)
    };
    (0..4).flat_map(|_| [next(b"BDFGKLMNPRSTV"), next(b"AEIOU")]).collect()
}

/// Two lists of the same persons.
fn lists() -> [Vec<u8>; 2] {
    let layout = layout(128, 4, 20);
    let person = |n: u64| {
        let of = |what: &[u8]| mix(&[what, &n.to_le_bytes()]);
        let date = (1930 + (of(b"y") % 70) as u16, 1 + (of(b"m") % 12) as u8, 2 + (of(b"d") % 26) as u8);
        Person::new(&word(of(b"surname")), &word(of(b"given")), date)
    };
    let one =
        |list: u64, n: u64| record(&layout, &person(n), &block_keys(&person(n)), mix(&[&list.to_le_bytes(), &n.to_le_bytes()]));
    [0, 1].map(|list| (0..PERSONS).flat_map(|n| one(list, n)).collect())
}

/// One token in three is held by two records.
fn partition() -> RecordBatch {
    let token = |n: u32| mix(&[b"token", &(if n % 3 == 2 { n - 1 } else { n }).to_le_bytes()]);
    let bytes: Vec<u8> = (0..TOKENS).flat_map(|n| [token(n).to_le_bytes(), (!token(n)).to_le_bytes()].concat()).collect();
    let column = FixedSizeBinaryArray::try_new(16, Buffer::from_vec(bytes), None).unwrap();
    let records: Vec<u32> = (0..TOKENS).map(|n| (n % 2) * PERSONS as u32 + n / 2 % PERSONS as u32).collect();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(column), Arc::new(UInt32Array::from(records)), Arc::new(UInt8Array::from(vec![0; TOKENS as usize]))];
    RecordBatch::try_new(tokens::schema(), columns).unwrap()
}

fn linking(criterion: &mut Criterion) {
    let (layout, lists) = (layout(128, 4, 20), lists());
    let input = lists.each_ref().map(|list| PartyInput::block_scoped(&layout, false, vec![list]));
    let records = Records::new(&layout, &input).unwrap();
    let mut group = criterion.benchmark_group("broker");
    group.sample_size(10);

    let batch = partition();
    group.throughput(Throughput::Elements(TOKENS.into()));
    group.bench_function("join a partition, by token", |b| {
        b.iter(|| join(&records, 16, std::slice::from_ref(black_box(&batch))).unwrap());
    });

    group.throughput(Throughput::Elements(2 * PERSONS));
    group.bench_function("uploads to compared pairs, by record", |b| {
        b.iter(|| meet_in_memory(&layout, black_box(&input), 16).unwrap());
    });

    // Every person once in each list, and as many pairs that are none.
    let link = |n: u32| Decided { a: n, b: n + PERSONS as u32, millibits: 15_000 + (n % 700) as i32, outcome: Outcome::Link };
    let other =
        |n: u32| Decided { a: n, b: PERSONS as u32 + (n + 1) % PERSONS as u32, millibits: -9_000, outcome: Outcome::Refuse };
    let decided: Vec<Decided> = (0..PERSONS as u32).flat_map(|n| [link(n), other(n)]).collect();
    group.throughput(Throughput::Elements(decided.len() as u64));
    group.bench_function("cluster, by pair", |b| {
        b.iter(|| cluster(&records, black_box(&decided), &Dispositions::default()).unwrap());
    });
    group.finish();
}

criterion_group!(benches, linking);
criterion_main!(benches);
