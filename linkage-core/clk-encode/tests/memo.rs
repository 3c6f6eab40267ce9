//! A worker that has seen rows gives the bits of one that has not, whatever came before.
#![allow(clippy::unwrap_used)]

use linkage_clk_encode::{Encoder, RowError, Schema};
use serde_json::json;

fn encoder(l: usize, folds: u32, hash: &str, strategy: &str) -> Encoder {
    let hashing = |comparison| json!({"comparison": comparison, "strategy": {strategy: 90}, "hash": {"type": hash}});
    let schema = json!({"version": 3, "clkConfig": {"l": l, "xor_folds": folds, "kdf": {"type": "HKDF"}}, "features": [
        {"identifier": "n", "format": {"type": "string"}, "hashing": hashing(json!({"type": "ngram", "n": 2}))},
        {"identifier": "i", "ignored": true},
        {"identifier": "v", "format": {"type": "string"}, "hashing": hashing(json!({"type": "ngram", "n": 1, "positional": true}))},
        {"identifier": "a", "format": {"type": "integer"}, "hashing":
            hashing(json!({"type": "numeric", "thresholdDistance": 4, "resolution": 2}))},
        {"identifier": "s", "format": {"type": "enum", "values": ["1", "2"]}, "hashing": hashing(json!({"type": "exact"}))}]});
    Encoder::new(Schema::parse(&schema.to_string()).unwrap(), b"secret").unwrap()
}

#[test]
fn what_was_seen_changes_no_bit() {
    for (l, folds, hash) in [(1024, 0, "blakeHash"), (256, 2, "blakeHash"), (96, 1, "doubleHash"), (99, 3, "doubleHash")] {
        for strategy in ["bitsPerToken", "bitsPerFeature"] {
            let encoder = encoder(l, folds, hash, strategy);
            let mut worker = encoder.worker();
            let mut filter = vec![1];
            // Few letters and lengths: cells and tokens come back, tokens with other numbers of bits.
            for at in 0..300usize {
                let name = "ABRA CADABRA".get(at % 5..6 + at % 7).unwrap();
                let (number, age) = (at.to_string(), (at % 11).to_string());
                let row = [name, &number, name.get(1..).unwrap(), &age, if at % 2 == 0 { "1" } else { "2" }];
                worker.encode(row.into_iter(), &mut filter).unwrap();
                assert_eq!(filter, encoder.encode(row.into_iter()).unwrap(), "{l} bits, {folds} folds, {strategy}: {row:?}");
                assert_eq!(filter.len(), l.div_ceil(8));
            }
        }
    }
}

#[test]
fn a_refused_row_leaves_nothing_behind() {
    let encoder = encoder(1024, 0, "blakeHash", "bitsPerFeature");
    let mut worker = encoder.worker();
    let mut filter = Vec::new();
    let good = ["DUVAL", "", "ZOE", "4", "2"];
    worker.encode(good.into_iter(), &mut filter).unwrap();
    let expected = filter.clone();
    let refused = worker.encode(["MARTIN", "", "LEA", "x", "1"].into_iter(), &mut filter);
    assert!(matches!(refused, Err(RowError::Cell { column, .. }) if column == "a"));
    assert!(filter.is_empty());
    assert_eq!(worker.encode(["DUVAL"].into_iter(), &mut filter), Err(RowError::Cells { found: 1, expected: 5 }));
    worker.encode(good.into_iter(), &mut filter).unwrap();
    assert_eq!(filter, expected);
}
