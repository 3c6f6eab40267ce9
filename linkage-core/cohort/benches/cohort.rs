//! Queries over 100,000 persons and 36 months: `cargo bench -p linkage-cohort --bench cohort`.
//!
//! The size of a large agreement is measured by the example `million`, once each.
#![allow(clippy::unwrap_used, missing_docs)]

mod made;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use linkage_cohort::query::{Query, evaluate};
use made::{Made, QUERIES, document};

fn queries(criterion: &mut Criterion) {
    let made = Made::new(100_000, 36);
    let mut group = criterion.benchmark_group("query, 100,000 persons, 36 months");
    group.sample_size(10);
    for (name, body) in QUERIES {
        let query = Query::from_toml(&document(body, 36)).unwrap();
        group.bench_function(name, |bencher| bencher.iter(|| evaluate(black_box(&query), &made.study, made.inputs()).unwrap()));
    }
    group.finish();
}

criterion_group!(benches, queries);
criterion_main!(benches);
