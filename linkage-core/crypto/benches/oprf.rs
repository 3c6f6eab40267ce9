//! What an oblivious evaluation costs on one core, in batches of 1024: `cargo bench -p linkage-crypto --bench oprf`.
//!
//! An element is one evaluation. The node blinds and finalizes (with the proof's verification), the custodian evaluates
//! (with the proof).
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use linkage_crypto::oprf::{Blinder, ServerKey};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const BATCH: usize = 1024;

fn oprf(c: &mut Criterion) {
    let mut group = c.benchmark_group("oprf, 1024 at a time");
    group.sample_size(10).throughput(Throughput::Elements(BATCH as u64));
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    let key = ServerKey::generate(&mut rng);
    let input = |n: usize| format!("linkage/block-scoped/1/input\0convention-2026\x001\0s2+ym\0DPN\x1fMR\x1f{n}");
    let inputs: Vec<String> = (0..BATCH).map(input).collect();
    let (state, sent) = Blinder::blind(&inputs, &mut rng).unwrap();
    let answer = key.evaluate(&sent, &mut rng).unwrap();
    group.bench_function("blind", |b| b.iter(|| Blinder::blind(&inputs, &mut rng).unwrap()));
    group.bench_function("evaluate", |b| b.iter(|| key.evaluate(&sent, &mut rng).unwrap()));
    group.bench_function("finalize", |b| b.iter(|| state.finalize(key.public_key(), &answer).unwrap()));
    group.finish();
}

criterion_group!(benches, oprf);
criterion_main!(benches);
