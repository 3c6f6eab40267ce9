//! Canonical bytes and hash of an agreement.
//!
//! The canonical form is RFC 8785 (JSON Canonicalization Scheme) of the TOML document's data model, restricted to what
//! an agreement may hold: no floating-point numbers, whole numbers within ±(2⁵³ − 1), dates as text. Comments, order of
//! keys, quoting and table notation leave no trace; every character of every value does. Text is taken as it is,
//! without Unicode normalisation. docs/agreement.md specifies both forms with vectors.

use std::fmt;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::document::MAX_INTEGER;

/// What the hash starts with, so that it can stand for nothing else.
const HASH_DOMAIN: &[u8] = b"linkage agreement v1\n";

/// SHA-256 of an agreement's canonical bytes after `linkage agreement v1\n`. A public value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgreementHash(pub [u8; 32]);

impl AgreementHash {
    /// The hash of canonical bytes (`ParsedAgreement::canonical_bytes`).
    pub fn of_canonical(bytes: &[u8]) -> Self {
        Self(Sha256::new().chain_update(HASH_DOMAIN).chain_update(bytes).finalize().into())
    }
    /// Reads exactly 32 bytes; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
    /// Reads 64 hexadecimal characters.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for AgreementHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Why a value has no canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// A null: the data model has none.
    #[error("a null has no canonical form")]
    Null,
    /// A number that is not whole or beyond ±(2⁵³ − 1).
    #[error("a number that is not whole or exceeds 2^53 - 1 has no canonical form")]
    Number,
}

/// The canonical bytes of `value`.
pub fn canonical_bytes(value: &Json) -> Result<Vec<u8>, NotCanonical> {
    let mut out = String::new();
    write(value, &mut out)?;
    Ok(out.into_bytes())
}

fn write(value: &Json, out: &mut String) -> Result<(), NotCanonical> {
    match value {
        Json::Null => return Err(NotCanonical::Null),
        Json::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Json::Number(number) => match number.as_i64() {
            Some(whole) if whole.unsigned_abs() <= MAX_INTEGER.unsigned_abs() => out.push_str(&whole.to_string()),
            _ => return Err(NotCanonical::Number),
        },
        Json::String(text) => write_text(text, out),
        Json::Array(elements) => {
            out.push('[');
            for (i, element) in elements.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(element, out)?;
            }
            out.push(']');
        }
        Json::Object(entries) => {
            // RFC 8785 section 3.2.3 sorts by UTF-16 code units, which differs from UTF-8 order above U+FFFF.
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (i, (key, element)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write(element, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// RFC 8785 section 3.2.2.2: seven short escapes, `\u00xx` for the other controls, everything else as it is.
fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn text(value: &Json) -> String {
        String::from_utf8(canonical_bytes(value).unwrap()).unwrap()
    }

    #[test]
    fn keys_are_sorted_and_nothing_is_padded() {
        assert_eq!(
            text(&json!({"b": [1, -2, true], "a": {"z": "é", "B": false}})),
            r#"{"a":{"B":false,"z":"é"},"b":[1,-2,true]}"#
        );
    }

    /// The key order of RFC 8785 section 3.2.3, the RFC's own example.
    #[test]
    fn keys_are_sorted_by_utf16_units() {
        let value = json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        let order: Vec<char> = text(&value).chars().filter(|c| ('1'..='7').contains(c)).collect();
        // "\r"=2, "1" itself then its value 4, U+0080=6, U+00F6=7, U+20AC=1, U+1F600=5, U+FB33=3
        assert_eq!(order, ['2', '1', '4', '6', '7', '1', '5', '3']);
    }

    #[test]
    fn controls_are_escaped_as_the_rfc_says() {
        assert_eq!(text(&json!("\u{20ac}$\u{f}\nA'B\"\\\\\"/\u{7f}")), "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\u{7f}\"");
    }

    #[test]
    fn what_has_no_canonical_form_is_refused() {
        assert_eq!(canonical_bytes(&json!([null])), Err(NotCanonical::Null));
        assert_eq!(canonical_bytes(&json!(1.5)), Err(NotCanonical::Number));
        assert_eq!(canonical_bytes(&json!(9_007_199_254_740_992_i64)), Err(NotCanonical::Number));
        assert_eq!(text(&json!(-9_007_199_254_740_991_i64)), "-9007199254740991");
    }

    #[test]
    fn the_hash_reads_back_from_its_text() {
        let hash = AgreementHash::of_canonical(b"{}");
        assert_eq!(AgreementHash::from_hex(&hash.to_string()), Some(hash));
        assert_eq!(AgreementHash::from_hex("00"), None);
        assert_eq!(AgreementHash::from_slice(&[0; 31]), None);
    }

    proptest! {
        /// Any JSON reader gets the same value back, so two values never share canonical bytes.
        #[test]
        fn reads_back_as_the_same_value(entries in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..8)) {
            let value = json!(entries);
            let bytes = canonical_bytes(&value).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Json>(&bytes).unwrap(), value);
        }
    }
}
