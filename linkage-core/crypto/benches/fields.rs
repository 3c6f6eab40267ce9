//! What an entry costs, step by step: `cargo bench -p linkage-crypto --bench fields`.
//!
//! The payload is the French one: three filters of 128 bits, 17 slots; twenty entries a record.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use linkage_crypto::derive::{BlockSecret, PrfKey, RunKey, SharedKey};
use linkage_crypto::fields::{FilterPermutation, level_filter, permute_payload, remap_slots, set_grams, slot_domain, slots};

const FILTER_BITS: usize = 128;
const SLOTS_AT: usize = 48;
const SLOTS: usize = 17;
const PAYLOAD_LEN: usize = SLOTS_AT + 2 * SLOTS;
const GRAMS: [&str; 8] = ["_d", "du", "up", "po", "on", "nt", "t_", "_m"];

fn payload() -> [u8; PAYLOAD_LEN] {
    std::array::from_fn(|i| (i as u8).wrapping_mul(151) | 1)
}

fn derivations(c: &mut Criterion) {
    let mut group = c.benchmark_group("derive");
    let (run, block) = (RunKey::from_bytes(&[7; 32]), BlockSecret::from_bytes(&[9; 32]));
    group.bench_function("entry_keys", |b| b.iter(|| black_box(&run).entry_keys(black_box(&block))));
    group.bench_function("field_key", |b| b.iter(|| black_box(&block).field_key()));
    let shared = SharedKey::from_bytes(&[3; 32]);
    let input = b"linkage/block-scoped/1/input\0fr-essai-2026\x0012\0nom-prenom-annee\0DUPONT\x1fMARIE\x1f1984";
    group.bench_function("shared", |b| b.iter(|| BlockSecret::shared(black_box(&shared), black_box(input))));
    group.bench_function("prf_key", |b| b.iter(|| PrfKey::from_bytes(black_box(&[5; 16]))));
    group.finish();
}

fn stage_one(c: &mut Criterion) {
    let mut group = c.benchmark_group("stage 1");
    let key = PrfKey::from_bytes(&[5; 16]);
    group.bench_function("set_grams, 8 bigrams", |b| {
        b.iter(|| {
            let mut filter = [0; FILTER_BITS / 8];
            set_grams(black_box(&key), 0, black_box(GRAMS), 4, &mut filter).unwrap();
            filter
        });
    });
    let mut natural = [0; FILTER_BITS / 8];
    set_grams(&key, 0, GRAMS, 4, &mut natural).unwrap();
    group.bench_function("level_filter", |b| {
        b.iter(|| {
            let mut filter = black_box(natural);
            level_filter(black_box(&key), GRAMS.len(), 4, &mut filter).unwrap();
            filter
        });
    });
    group.bench_function("slots, 17", |b| {
        b.iter(|| {
            let mut out = [0; SLOTS];
            let values = (0..SLOTS).map(|i| (slot_domain::CATEGORY + i as u8, Some(i as u64)));
            slots(black_box(&key), values, &mut out);
            out
        });
    });
    group.finish();
}

fn stage_two(c: &mut Criterion) {
    let mut group = c.benchmark_group("stage 2");
    let key = PrfKey::from_bytes(&[5; 16]);
    group.bench_function("permutation drawn", |b| b.iter(|| FilterPermutation::new(black_box(&key), FILTER_BITS).unwrap()));
    let permutation = FilterPermutation::new(&key, FILTER_BITS).unwrap();
    group.bench_function("three filters permuted", |b| {
        b.iter(|| {
            let mut filters = black_box([0x5a; SLOTS_AT]);
            for filter in filters.chunks_exact_mut(FILTER_BITS / 8) {
                permutation.permute_filter(filter).unwrap();
            }
            filters
        });
    });
    group.bench_function("17 slots remapped", |b| {
        b.iter(|| {
            let mut slots = black_box([0x5a; 2 * SLOTS]);
            remap_slots(black_box(&key), &mut slots).unwrap();
            slots
        });
    });
    let run = RunKey::from_bytes(&[7; 32]);
    group.throughput(Throughput::Elements(1));
    group.bench_function("one entry", |b| {
        let mut payload = payload();
        b.iter(|| {
            let (token, key) = run.entry_keys(black_box(&BlockSecret::from_bytes(&[9; 32])));
            permute_payload(&key, FILTER_BITS, SLOTS_AT, black_box(&mut payload)).unwrap();
            token
        });
    });
    group.finish();
}

criterion_group!(benches, derivations, stage_one, stage_two);
criterion_main!(benches);
