//! What stage 1 costs a record on one core, the OPRF apart: `cargo bench -p linkage-encoding --bench stage_one`.
//!
//! A population drawn from the public name tables, pass set fr-1, an agreement of a million records, twenty entries each
//! with filters of 128 bits. An element is a record; `all` is what a node does without a custodian.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../tests/population/mod.rs"]
mod population;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use linkage_agreement::Layout;
use linkage_crypto::derive::{BlockSecret, SharedKey};
use linkage_encoding::records::RecordWriter;
use linkage_encoding::{BlockInputs, Identity, KeyMaker, PassSet};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const RECORDS: usize = 10_000;
const EXPECTED: u64 = 1_000_000;

struct Setting {
    identities: Vec<Identity>,
    maker: KeyMaker,
    writer: RecordWriter,
    inputs: BlockInputs,
    shared: SharedKey,
    rng: ChaCha20Rng,
    entries: Vec<u8>,
}

impl Setting {
    fn new() -> Self {
        let identities = population::identities(RECORDS, 5, false);
        let kinds: Vec<_> = identities[0].fields().map(|(kind, _)| kind).collect();
        let layout = Layout::new(&kinds, 128, 4, 20);
        Self {
            maker: KeyMaker::new(&PassSet::named("fr-1").unwrap(), EXPECTED, layout.tokens_per_record),
            writer: RecordWriter::new(&layout).unwrap(),
            inputs: BlockInputs::new("convention-2026", 1),
            shared: SharedKey::from_bytes(&[3; 32]),
            rng: ChaCha20Rng::seed_from_u64(1),
            entries: Vec::new(),
            identities,
        }
    }

    fn keys(&mut self) {
        self.inputs.clear();
        self.identities.iter().for_each(|identity| self.maker.inputs(identity, &mut self.inputs));
    }
    fn secrets(&self) -> Vec<BlockSecret> {
        self.inputs.iter().map(|input| BlockSecret::shared(&self.shared, input)).collect()
    }
    fn entries(&mut self, secrets: &[BlockSecret]) {
        let mut rest = secrets;
        for (identity, count) in self.identities.iter().zip(self.inputs.per_record()) {
            let (real, later) = rest.split_at(count);
            rest = later;
            self.entries.clear();
            self.writer.write(identity, real, &mut self.rng, &mut self.entries).unwrap();
            black_box(&self.entries);
        }
    }
}

fn stage_one(c: &mut Criterion) {
    let mut group = c.benchmark_group("stage 1");
    let rows = population::rows(RECORDS, 5);
    let normaliser = population::normaliser(false);
    let mut setting = Setting::new();
    group.sample_size(20).throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("normalise", |b| b.iter(|| rows.iter().filter_map(|row| normaliser.normalise(row).ok()).count()));
    group.throughput(Throughput::Elements(setting.identities.len() as u64));
    group.bench_function("block_keys", |b| b.iter(|| setting.keys()));
    let secrets = setting.secrets();
    group.bench_function("shared secrets", |b| b.iter(|| setting.secrets()));
    group.bench_function("encode_record", |b| b.iter(|| setting.entries(&secrets)));
    group.bench_function("all", |b| {
        b.iter(|| {
            setting.keys();
            let secrets = setting.secrets();
            setting.entries(&secrets);
        });
    });
    group.finish();
}

criterion_group!(benches, stage_one);
criterion_main!(benches);
