//! The filters that clkhash 0.18.3 made (tests/clk/encode.py), and schemas that are refused.
#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use linkage_clk_encode::{CellFault, Encoder, RowError, Schema, SchemaError};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Case {
    name: String,
    schema: Value,
    secret: String,
    rows: Vec<Vec<String>>,
    clks: Vec<Option<String>>,
}

#[test]
fn filters_are_clkhashs_to_the_bit() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../../tests/clk/encode.json")).unwrap();
    let (mut same, mut refused) = (0, 0);
    for case in cases {
        let schema = Schema::parse(&case.schema.to_string()).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let encoder = Encoder::new(schema, case.secret.as_bytes()).unwrap();
        for (at, (row, expected)) in case.rows.iter().zip(&case.clks).enumerate() {
            let made = encoder.encode(row.iter().map(String::as_str)).map(|bits| STANDARD.encode(bits));
            assert_eq!(made.as_ref().ok(), expected.as_ref(), "{}, row {at}: {made:?}", case.name);
            if expected.is_some() { same += 1 } else { refused += 1 }
        }
        // Another secret, other filters; the shortest ones may be alike by chance.
        let other = Encoder::new(Schema::parse(&case.schema.to_string()).unwrap(), b"autre").unwrap();
        let made = other.encode(case.rows[0].iter().map(String::as_str)).ok().map(|bits| STANDARD.encode(bits));
        assert!(encoder.schema().bits() < 64 || made.is_none() || made != case.clks[0], "{}", case.name);
    }
    assert!(same > 100 && refused > 40, "the fixture is too thin: {same} filters, {refused} refusals");
}

/// A small schema, changed by `change`.
fn parse(change: impl FnOnce(&mut Value)) -> Result<Schema, SchemaError> {
    let mut schema = json!({"version": 3, "clkConfig": {"l": 64, "kdf": {"type": "HKDF"}}, "features": [
        {"identifier": "n", "format": {"type": "string", "maxLength": 4},
         "hashing": {"comparison": {"type": "ngram", "n": 2}, "strategy": {"bitsPerToken": 3}}}]});
    change(&mut schema);
    Schema::parse(&schema.to_string())
}

#[test]
fn schemas_that_cannot_be_followed_are_refused() {
    assert_eq!(parse(|_| {}).unwrap().bits(), 64);
    assert_eq!(parse(|s| s["version"] = json!(4)).unwrap_err(), SchemaError::Version("4".into()));
    assert_eq!(parse(|s| s["version"] = json!("3")).unwrap_err(), SchemaError::Version("\"3\"".into()));
    assert!(matches!(Schema::parse("{}"), Err(SchemaError::Version(_))));
    assert!(matches!(Schema::parse("{\"version\": 3,\n"), Err(SchemaError::Json { line: 2, .. })));
    for (place, value) in [("l", json!(0)), ("l", json!(1 << 20)), ("xor_folds", json!(11)), ("xorFolds", json!(1))] {
        assert!(matches!(parse(|s| s["clkConfig"][place] = value), Err(SchemaError::Config(_))), "{place}");
    }
    for (place, value) in [("type", json!("legacy")), ("hash", json!("MD5")), ("salt", json!("*")), ("keySize", json!(0))] {
        assert!(matches!(parse(|s| s["clkConfig"]["kdf"][place] = value), Err(SchemaError::Config(_))), "{place}");
    }
    assert!(matches!(parse(|s| s["clkConfig"]["xorfolds"] = json!(1)), Err(SchemaError::Json { .. })));
    let feature = |change: fn(&mut Value)| parse(|s| change(&mut s["features"][0]));
    for change in [
        |f: &mut Value| f["hashing"]["hash"] = json!({"type": "sha256"}),
        |f: &mut Value| f["hashing"]["hash"] = json!({"type": "blakeHash", "prevent_singularity": false}),
        |f: &mut Value| f["hashing"]["comparison"]["n"] = json!(0),
        |f: &mut Value| f["hashing"]["comparison"] = json!({"type": "numeric", "thresholdDistance": 0.1, "resolution": 2}),
        |f: &mut Value| f["hashing"]["strategy"] = json!({"bitsPerFeature": 0}),
        |f: &mut Value| f["format"] = json!({"type": "date", "format": "%d %B %Y"}),
        |f: &mut Value| f["format"] = json!({"type": "date", "format": "%d/%m"}),
        |f: &mut Value| f["format"] = json!({"type": "string", "pattern": "(?=a)b"}),
        |f: &mut Value| f["format"] = json!({"type": "integer", "maxLength": 3}),
        |f: &mut Value| _ = f.as_object_mut().unwrap().remove("hashing"),
    ] {
        assert!(matches!(feature(change), Err(SchemaError::Feature { .. })));
    }
    // BLAKE2b masks by powers of two, and takes keys of 64 bytes at most.
    assert!(matches!(parse(|s| s["clkConfig"]["l"] = json!(96)), Err(SchemaError::Feature { .. })));
    assert!(matches!(parse(|s| s["clkConfig"]["kdf"]["keySize"] = json!(65)), Err(SchemaError::Feature { .. })));
}

#[test]
fn refusals_name_the_column_and_not_the_value() {
    let encoder = Encoder::new(parse(|_| {}).unwrap(), b"secret").unwrap();
    assert_eq!(encoder.encode([].into_iter()), Err(RowError::Cells { found: 0, expected: 1 }));
    let refused = encoder.encode(["DUVAL"].into_iter()).unwrap_err();
    assert_eq!(refused, RowError::Cell { column: "n".into(), fault: CellFault::Length });
    assert!(!refused.to_string().contains("DUVAL"));
}
