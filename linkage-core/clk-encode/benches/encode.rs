//! Names to clkhash filters on one thread: `cargo bench -p linkage-clk-encode --bench encode`.
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use linkage_clk_encode::{Encoder, Schema};
use serde_json::json;

const ROWS: usize = 20_000;

/// Birth name, given name, date, sex: clkhash's usual schema for persons.
fn encoder(hash: &str) -> Encoder {
    let hashing = |comparison, strategy| json!({"comparison": comparison, "strategy": strategy, "hash": {"type": hash}});
    let bigrams = || json!({"type": "ngram", "n": 2});
    let schema = json!({"version": 3, "clkConfig": {"l": 1024, "kdf": {"type": "HKDF"}}, "features": [
        {"identifier": "nom", "format": {"type": "string"}, "hashing": hashing(bigrams(), json!({"bitsPerFeature": 200}))},
        {"identifier": "prenom", "format": {"type": "string"}, "hashing": hashing(bigrams(), json!({"bitsPerFeature": 200}))},
        {"identifier": "naissance", "format": {"type": "date", "format": "%Y-%m-%d"},
         "hashing": hashing(json!({"type": "ngram", "n": 1, "positional": true}), json!({"bitsPerFeature": 200}))},
        {"identifier": "sexe", "format": {"type": "enum", "values": ["1", "2"]},
         "hashing": hashing(json!({"type": "exact"}), json!({"bitsPerToken": 30}))}]});
    Encoder::new(Schema::parse(&schema.to_string()).unwrap(), b"secret").unwrap()
}

/// Made-up rows; `kinds` different cells in each column, letters and digits from the row's number.
fn rows(kinds: usize) -> Vec<[String; 4]> {
    let name = |number: usize, length: usize| -> String {
        (0..length).map(|at| char::from(b'A' + (number.wrapping_mul(2_654_435_761) >> (3 * at)) as u8 % 26)).collect()
    };
    (0..ROWS)
        .map(|row| {
            let kind = row * 7919 % kinds;
            let date = format!("{}-{:02}-{:02}", 1930 + kind % 80, 1 + kind / 80 % 12, 1 + kind / 960 % 28);
            [name(kind, 5 + row % 5), name(kind + 1, 4 + row % 4), date, (1 + row % 2).to_string()]
        })
        .collect()
}

fn encoding(criterion: &mut Criterion) {
    for hash in ["blakeHash", "doubleHash"] {
        let encoder = encoder(hash);
        let mut group = criterion.benchmark_group(format!("encode/{hash}"));
        group.throughput(Throughput::Elements(ROWS as u64)).sample_size(10);
        for (name, kinds) in [("names that come back", 2000), ("no name twice", ROWS)] {
            let rows = rows(kinds);
            group.bench_function(name, |bencher| {
                let encode = |mut filter: Vec<u8>| {
                    let mut worker = encoder.worker();
                    for row in &rows {
                        worker.encode(row.iter().map(String::as_str), &mut filter).unwrap();
                    }
                    filter
                };
                bencher.iter_batched(Vec::new, encode, BatchSize::PerIteration);
            });
        }
        group.finish();
    }
}

criterion_group!(benches, encoding);
criterion_main!(benches);
