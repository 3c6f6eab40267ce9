//! The template: only what is left to fill in is wrong with it, and its proposals are those of `defaults`.

use toml_edit::{DocumentMut, Item};

use super::agreement;
use crate::model::{Attribute, Decision, Disclosure, Encoding, Identity, Retention};
use crate::{ParsedAgreement, template_fr};

/// Puts the test agreement's values in place of every « À COMPLÉTER ».
fn filled() -> String {
    fn fill(item: &mut Item, from: &Item) {
        match item {
            Item::Value(value) if value.as_str().is_some_and(|t| t.starts_with("À COMPLÉTER")) => {
                *value = from.as_value().unwrap().clone();
            }
            Item::Table(table) => table.iter_mut().for_each(|(key, entry)| {
                if let Some(from) = from.get(key.get()) {
                    fill(entry, from);
                }
            }),
            Item::ArrayOfTables(tables) => {
                for (i, table) in tables.iter_mut().enumerate() {
                    table.iter_mut().for_each(|(key, entry)| {
                        if let Some(from) = from.get(i).and_then(|f| f.get(key.get())) {
                            fill(entry, from);
                        }
                    });
                }
            }
            _ => {}
        }
    }
    let mut document: DocumentMut = template_fr().parse().unwrap();
    let source: DocumentMut = agreement().to_toml().parse().unwrap();
    fill(document.as_item_mut(), source.as_item());
    document.to_string()
}

#[test]
fn only_what_is_left_to_fill_in_is_at_fault() {
    let text = template_fr();
    let expected: Vec<usize> =
        text.lines().enumerate().filter(|(_, l)| !l.starts_with('#') && l.contains("À COMPLÉTER")).map(|(i, _)| i + 1).collect();
    let faults = ParsedAgreement::parse(&text, "convention.toml").unwrap_err();
    assert_eq!(faults.iter().map(|f| f.line).collect::<Vec<_>>(), expected);
    assert!(expected.len() > 30);
    assert!(faults.iter().all(|f| f.message == "valeur à compléter"), "{faults:#?}");
}

#[test]
fn filled_in_it_is_without_fault_and_says_what_the_defaults_say() {
    let parsed = ParsedAgreement::parse(&filled(), "convention.toml").unwrap();
    let agreement = parsed.agreement();
    assert_eq!(agreement.identity, Identity::french());
    assert_eq!(agreement.attribute, Attribute::french());
    assert_eq!(agreement.encoding, Encoding::default());
    assert_eq!(agreement.decision, Decision::default());
    assert_eq!(agreement.retention, Retention::default());
    assert_eq!(agreement.disclosure, Disclosure::default());
}

#[test]
fn every_key_is_there() {
    // The serialised agreement has every key of the schema (see `spellings`).
    let parsed = ParsedAgreement::parse(&filled(), "convention.toml").unwrap();
    for line in parsed.agreement().to_toml().lines().filter(|l| !l.starts_with('#')) {
        let key = line.split(" = ").next().unwrap();
        assert!(template_fr().lines().any(|l| l.split(" = ").next() == Some(key)), "{key}");
    }
}
