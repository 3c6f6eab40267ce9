//! The conventions to the byte, against the committed table that a script in plain Python checks too.

use linkage_crypto::derive::{HashKeyKind, RunKey};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/hash-keys.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_vector_agrees() {
    let vectors = vectors();
    let run_key: [u8; 32] = hex::decode(vectors["run_key"].as_str().unwrap()).unwrap().try_into().unwrap();
    let run = RunKey::from_bytes(&run_key);
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() >= 15);
    for case in cases {
        let text = |name: &str| case[name].as_str().unwrap();
        let values = Values {
            birth_name: text("nom_naissance"),
            usage_name: text("nom_usage"),
            given_names: text("prenoms"),
            birth_date: text("date_naissance"),
        };
        let given_names = if text("given_names") == "all" { GivenNames::All } else { GivenNames::First };
        let made = texts(values, given_names).unwrap();
        assert_eq!(made.primary.as_ref().map_or("", |p| p.as_str()), text("primary_text"));
        assert_eq!(made.secondary.as_str(), text("secondary_text"));
        for (hashing, form) in [(Hashing::Plain, "sha256"), (Hashing::Keyed(&run), "hmac")] {
            let keys = made.keys(hashing);
            assert_eq!(keys.primary.map(hex::encode).unwrap_or_default(), text(&format!("primary_{form}")));
            assert_eq!(hex::encode(keys.secondary), text(&format!("secondary_{form}")));
        }
    }
}

fn refused(name: &str, date: &str) -> Result<Vec<Remark>, SetAside> {
    let values = Values { birth_name: name, usage_name: "", given_names: "Marie", birth_date: date };
    texts(values, GivenNames::All).map(|made| made.remarks)
}

#[test]
fn what_has_no_key_is_set_aside_with_its_reason() {
    assert_eq!(refused("", "01/02/2000"), Err(SetAside::NoName));
    assert_eq!(refused("محمد", "01/02/2000"), Err(SetAside::NoName));
    assert_eq!(refused("Dupont", ""), Err(SetAside::NoDate));
    assert_eq!(refused("Dupont", "00/00/2000"), Err(SetAside::NoMonth));
    assert_eq!(refused("Dupont", "31/02/2000"), Err(SetAside::Date(DateFault::Impossible)));
    assert_eq!(refused("Dupont", "hier"), Err(SetAside::Date(DateFault::Unreadable)));
}

#[test]
fn a_default_date_is_kept_and_counted() {
    assert_eq!(refused("Dupont", "01/01/2000"), Ok(vec![Remark::DefaultDate]));
    assert_eq!(refused("Dupont", "31/12/2000"), Ok(vec![Remark::DefaultDate]));
    assert_eq!(refused("Dupont", "00/02/2000"), Ok(vec![Remark::NoDay]));
    assert_eq!(refused("Dupont", "02/02/2000"), Ok(vec![]));
}

#[test]
fn the_kinds_of_a_keyed_key_never_meet() {
    let run = RunKey::from_bytes(&[1; 32]);
    let other = RunKey::from_bytes(&[2; 32]);
    assert_ne!(run.hash_key(HashKeyKind::Primary, "A"), run.hash_key(HashKeyKind::Secondary, "A"));
    assert_ne!(run.hash_key(HashKeyKind::Primary, "A"), other.hash_key(HashKeyKind::Primary, "A"));
}

proptest! {
    #[test]
    fn letters_are_upper_case_and_stay_as_they_are(text in "\\PC{0,40}") {
        let once = letters(&text);
        prop_assert!(once.bytes().all(|b| b.is_ascii_uppercase()));
        prop_assert_eq!(&letters(&once), &once);
    }
}
