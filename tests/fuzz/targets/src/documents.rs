//! Documents that people write and exchange: agreement, signatures, notices, mappings, pass sets, queries, publications.
//!
//! None of them holds a person's data, so their messages may quote them. What was read and is written again reads back the same.

use linkage_agreement::{Fault, ParsedAgreement, Signatures, Termination};
use linkage_analyst::publish::Document;
use linkage_cohort::query::{Population, Query};
use linkage_encoding::passes::PassSet;
use linkage_node::intake::Mapping;

use crate::took;

const FILE: &str = "fichier";

/// A fault has a place in the text that it is found in.
fn placed(text: &str, faults: &[Fault]) {
    assert!(!faults.is_empty(), "refused without a reason");
    let lines = text.lines().count().max(1) + 1;
    for fault in faults {
        assert!(fault.line >= 1 && fault.line <= lines, "line {} of {lines}: {}", fault.line, fault.message);
    }
}

/// An agreement: TOML.
pub fn agreement(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match ParsedAgreement::parse(text, FILE) {
        Ok(parsed) => {
            took();
            let again = ParsedAgreement::parse(&parsed.agreement().to_toml(), FILE).expect("what was written is an agreement");
            assert_eq!(again.agreement(), parsed.agreement());
            let json: serde_json::Value = serde_json::from_slice(parsed.canonical_bytes()).expect("canonical bytes are JSON");
            let canonical = linkage_agreement::canonical::canonical_bytes(&json).expect("canonical JSON has a canonical form");
            assert_eq!(canonical, parsed.canonical_bytes());
        }
        Err(faults) => placed(text, &faults),
    }
}

/// The file of an agreement's signatures: TOML.
pub fn signatures(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Signatures::parse(text, FILE) {
        Ok(read) => {
            took();
            let again = Signatures::parse(&read.to_toml(), FILE).expect("what was written is a file of signatures");
            assert_eq!(again, read);
        }
        Err(faults) => placed(text, &faults),
    }
}

/// A notice of termination: TOML.
pub fn termination(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Termination::parse(text, FILE) {
        Ok(read) => {
            took();
            let again = Termination::parse(&read.to_toml(), FILE).expect("what was written is a notice");
            assert_eq!(again, read);
        }
        Err(faults) => placed(text, &faults),
    }
}

/// A column mapping: TOML.
pub fn mapping(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(read) = Mapping::parse(text) {
        took();
        let again = Mapping::parse(&read.to_toml(|_| None)).expect("what was written is a mapping");
        assert_eq!(again, read);
    }
}

/// A file of blocking passes: TOML.
pub fn pass_set(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok((set, reference)) = PassSet::from_file(text) {
        took();
        assert_eq!(PassSet::agreed(&reference.to_string(), Some(text)).expect("the set that was agreed"), set);
        let again = PassSet::from_toml(&set.to_toml().expect("a set has a TOML form")).expect("what was written is a set");
        assert_eq!(again, set);
    }
}

/// A query, or a population alone: TOML or JSON.
pub fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for read in [Query::from_toml(text), Query::from_json(text)].into_iter().flatten() {
        took();
        let toml = read.to_toml().expect("a query has a TOML form");
        assert_eq!(Query::from_toml(&toml).expect("what was written is a query"), read);
        let json = read.to_json().expect("a query has a JSON form");
        assert_eq!(Query::from_json(&json).expect("what was written is a query"), read);
    }
    let _ = Population::from_document(text);
}

/// A publication's document: JSON.
pub fn publication(bytes: &[u8]) {
    if let Ok(read) = Document::from_bytes(bytes) {
        took();
        let written = read.to_bytes().expect("a document has a JSON form");
        let again = Document::from_bytes(&written).expect("what was written is a document");
        assert_eq!(again, read);
        assert_eq!(again.id().expect("an identifier"), read.id().expect("an identifier"));
    }
}
