//! Comparison, kernel by kernel, and the diffusion layer: `cargo bench -p linkage-clk --bench compare`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::num::NonZeroUsize;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use linkage_clk::{Diffusion, Filters, Kernel, Options, Threshold, compare};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Random filters, three bits of eight set, as in a clkhash file of its default schema.
fn filters(count: usize, bits: usize, seed: u64) -> Filters {
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let mut filters = Filters::new();
    for _ in 0..count {
        let words = (0..bits / 64).map(|_| (draw.next_u64() | draw.next_u64()) & draw.next_u64());
        filters.push(&words.flat_map(u64::to_le_bytes).collect::<Vec<_>>()).unwrap();
    }
    filters
}

/// One thread; pairs a second. At 0.5 no block can be left early, at 0.8 most are.
fn kernels(criterion: &mut Criterion) {
    const COUNT: usize = 4096;
    for bits in [512, 1024, 2048] {
        let (a, b) = (filters(COUNT, bits, 1), filters(COUNT, bits, 2));
        let mut group = criterion.benchmark_group(format!("compare/{bits} bits"));
        group.throughput(Throughput::Elements((COUNT * COUNT) as u64)).sample_size(10);
        for kernel in Kernel::available() {
            for threshold in [0.5, 0.8] {
                let options = Options { threads: NonZeroUsize::MIN, kernel, max_pairs: 1 << 24 };
                group.bench_with_input(BenchmarkId::new(kernel.name(), threshold), &threshold, |bencher, threshold| {
                    let threshold = Threshold::new(*threshold).unwrap();
                    bencher.iter(|| compare(black_box(&a), &b, threshold, &options, &|_, _| {}).unwrap());
                });
            }
        }
        group.finish();
    }
}

fn diffusion(criterion: &mut Criterion) {
    let layer = Diffusion::new(&[1; 32], 1024, 8).unwrap();
    let mut draw = ChaCha8Rng::seed_from_u64(3);
    let mut filter = [0; 128];
    draw.fill_bytes(&mut filter);
    let mut group = criterion.benchmark_group("diffusion");
    group.throughput(Throughput::Elements(1));
    group.bench_function("1024 bits", |bencher| bencher.iter(|| layer.apply(black_box(&mut filter)).unwrap()));
    group.finish();
}

criterion_group!(benches, kernels, diffusion);
criterion_main!(benches);
