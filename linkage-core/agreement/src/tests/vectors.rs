//! The vectors of tests/vectors/agreement, which check.py there reproduces without this code.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::id;
use crate::canonical::canonical_bytes;
use crate::document::{Faults, normalise, read};
use crate::{
    AgreementError, AgreementHash, ParsedAgreement, Signature, Signatures, SignedAgreement, Termination, keys, signature,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/agreement/");

#[derive(Deserialize)]
struct Vectors {
    canonical: Vec<Canonical>,
    agreements: Vec<Agreed>,
    signatures: Vec<Signed>,
    refused: Vec<Refused>,
}
#[derive(Deserialize)]
struct Canonical {
    toml: String,
    canonical: Option<String>,
    refused: Option<String>,
}
#[derive(Deserialize)]
struct Agreed {
    file: String,
    canonical_sha256: String,
    hash: String,
}
#[derive(Deserialize)]
struct Signed {
    what: String,
    party: String,
    agreement_hash: String,
    signature: String,
    public_key: Option<String>,
    valid: bool,
}
#[derive(Deserialize)]
struct Refused {
    what: String,
    replace: Vec<(String, String)>,
    faults: Vec<Place>,
}
#[derive(Deserialize, Debug, PartialEq)]
struct Place {
    line: usize,
    column: usize,
    path: String,
}

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{FOLDER}{name}")).unwrap()
}

fn vectors() -> Vectors {
    serde_json::from_str(&file("vectors.json")).unwrap()
}

fn agreement(name: &str) -> ParsedAgreement {
    ParsedAgreement::parse(&file(name), name).unwrap_or_else(|f| panic!("{f:#?}"))
}

#[test]
fn canonical_bytes_of_small_documents() {
    for case in vectors().canonical {
        let text = normalise(&case.toml);
        let mut faults = Faults::new("x", &text);
        let node = read(&text, &mut faults).unwrap();
        if case.refused.is_some() {
            assert_eq!(faults.into_vec().len(), 1, "{}", case.toml);
        } else {
            assert!(faults.is_empty(), "{}", case.toml);
            let bytes = canonical_bytes(&node.to_json()).unwrap();
            assert_eq!(Some(String::from_utf8(bytes).unwrap()), case.canonical, "{}", case.toml);
        }
    }
}

#[test]
fn canonical_bytes_and_hashes_of_agreements() {
    assert_eq!(agreement("convention.toml").canonical_bytes(), file("convention.canonical.json").as_bytes());
    for case in vectors().agreements {
        let parsed = agreement(&case.file);
        assert_eq!(hex::encode(Sha256::digest(parsed.canonical_bytes())), case.canonical_sha256, "{}", case.file);
        assert_eq!(parsed.hash().to_string(), case.hash, "{}", case.file);
    }
}

#[test]
fn signatures() {
    for case in vectors().signatures {
        let hash = AgreementHash::from_hex(&case.agreement_hash).unwrap();
        let all = [agreement("convention.toml"), agreement("avenant.toml")];
        let parsed = all.into_iter().find(|p| p.hash() == hash).unwrap();
        let party = id(&case.party);
        if let Some(key) = &case.public_key {
            // An agreement cannot hold such a key at all.
            assert_eq!(keys::verifying_key(key), None, "{}", case.what);
            continue;
        }
        let signature = keys::decode(&case.signature).unwrap();
        let one = Signature { party: party.clone(), agreement_hash: hash, signature, signed_on: "2023-12-15".parse().unwrap() };
        let found = signature::verify(&parsed, &party, &[one].into_iter().collect());
        let expected = if case.valid { Ok(()) } else { Err(AgreementError::BadSignature { party }) };
        assert_eq!(found, expected, "{}", case.what);
    }
}

#[test]
fn files_of_signatures_and_of_termination() {
    let parsed = agreement("convention.toml");
    let signatures = Signatures::parse(&file("convention.signatures.toml"), "convention.signatures.toml").unwrap();
    assert!(SignedAgreement::verify(parsed.clone(), &signatures).is_ok());
    let other = SignedAgreement::verify(agreement("avenant.toml"), &signatures);
    assert_eq!(other, Err(AgreementError::OtherVersion { party: id("ccas") }));
    let notice = Termination::parse(&file("denonciation.toml"), "denonciation.toml").unwrap();
    assert!(notice.verify(&parsed).is_ok());
}

#[test]
fn refused_agreements_with_the_places_of_their_faults() {
    for case in vectors().refused {
        let text = case.replace.iter().fold(file("convention.toml"), |text, (from, to)| {
            assert!(text.contains(from), "{}: {from}", case.what);
            text.replacen(from, to, 1)
        });
        let faults = ParsedAgreement::parse(&text, "convention.toml").unwrap_err();
        let places: Vec<_> = faults.into_iter().map(|f| Place { line: f.line, column: f.column, path: f.path }).collect();
        assert_eq!(places, case.faults, "{}", case.what);
    }
}
