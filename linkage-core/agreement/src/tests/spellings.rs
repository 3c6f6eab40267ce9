//! Spelling leaves no trace in the hash; content always does.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value as Json;

use super::{agreement, parsed};
use crate::canonical::canonical_bytes;
use crate::model::{Disclosure, DisclosureMethod, Rule};
use crate::schema::{self, FIELD_KINDS, Key, RULES, Shape};
use crate::{Agreement, AgreementHash, ParsedAgreement};

fn hash(text: &str) -> AgreementHash {
    ParsedAgreement::parse(text, "convention.toml").unwrap_or_else(|f| panic!("{f:#?}")).hash()
}

#[test]
fn to_toml_gives_the_same_agreement_and_hash() {
    let parsed = parsed();
    assert_eq!(parsed.agreement(), &agreement());
    let typed = canonical_bytes(&serde_json::to_value(agreement()).unwrap()).unwrap();
    assert_eq!(parsed.canonical_bytes(), typed);
    let mut bare = agreement();
    bare.attribute.clear();
    let parsed = ParsedAgreement::parse(&bare.to_toml(), "convention.toml").unwrap();
    assert_eq!(parsed.agreement(), &bare);
}

#[test]
fn other_spellings_give_the_same_hash() {
    let text = agreement().to_toml();
    let spellings = [
        text.replace('\n', "\r\n"),
        format!("\u{feff}{text}"),
        text.replace('\n', "  # remarque\n"),
        text.replace(" = ", "="),
        text.replace("= 15000", "= 15_000").replace("= 20\n", "= 0x14\n").replace("= 5\n", "= +5\n"),
        text.replace("\"2024-01-01\"", "2024-01-01"),
        text.replace("\"ccas\"", "'ccas'").replace("\"Organisme 1\"", "\"\"\"Organisme \\\n   1\"\"\""),
        text.replace("Organisme 2", "Organisme\\u00202"),
        text.replace("\nversion = 1\n", "\n\"version\" = 1\n"),
        text.replace("{ kind = \"count\", max = 6 }", "{ max = 6, kind = \"count\" }"),
        text.replace("rule = { kind = \"count\", max = 6 }", "rule.kind = \"count\"\nrule.max = 6"),
        text.replace("rule = { kind = \"count\", max = 6 }", "[attribute.rule]\nkind = \"count\"\nmax = 6"),
        text.replace("[\"cohorts\", \"row-level\"]", "[\n  \"cohorts\",\n  \"row-level\",\n]"),
        {
            let (first, rest) = text.split_once("\n[agreement]").unwrap();
            let (terms, rest) = rest.split_once("\n[[party]]").unwrap();
            format!("{first}\n[[party]]{rest}\n[agreement]{terms}")
        },
    ];
    for spelling in spellings {
        assert_ne!(spelling, text, "the replacement found nothing");
        assert_eq!(hash(&spelling), hash(&text), "{spelling}");
    }
}

#[test]
fn order_within_lists_is_content() {
    let mut swapped = agreement();
    swapped.identity.field.swap(0, 2);
    assert_ne!(hash(&swapped.to_toml()), parsed().hash());
}

#[test]
fn text_is_not_normalised() {
    let (mut composed, mut decomposed) = (agreement(), agreement());
    composed.agreement.title = "\u{e9}".to_owned();
    decomposed.agreement.title = "e\u{301}".to_owned();
    assert_ne!(hash(&composed.to_toml()), hash(&decomposed.to_toml()));
}

/// Every leaf of the data model.
fn leaves(value: &Json, path: String, out: &mut Vec<String>) {
    match value {
        Json::Object(entries) => entries.iter().for_each(|(k, v)| leaves(v, format!("{path}/{k}"), out)),
        Json::Array(elements) => elements.iter().enumerate().for_each(|(i, v)| leaves(v, format!("{path}/{i}"), out)),
        _ => out.push(path),
    }
}

#[test]
fn every_single_value_counts() {
    let root = serde_json::to_value(agreement()).unwrap();
    let mut paths = Vec::new();
    leaves(&root, String::new(), &mut paths);
    assert!(paths.len() > 150, "{}", paths.len());
    let mut hashes = BTreeSet::from([parsed().hash()]);
    for path in &paths {
        let mut changed = root.clone();
        let leaf = changed.pointer_mut(path).unwrap();
        *leaf = match leaf.take() {
            Json::String(text) => Json::String(format!("{text}x")),
            Json::Bool(truth) => Json::Bool(!truth),
            number => Json::from(number.as_i64().unwrap() + 1),
        };
        hashes.insert(AgreementHash::of_canonical(&canonical_bytes(&changed).unwrap()));
    }
    assert_eq!(hashes.len(), paths.len() + 1);
}

proptest! {
    /// Any title and purpose survive the writer and the parser, and two agreements share a hash only when equal.
    #[test]
    fn any_text_round_trips(title in "[^\\p{Cc}]{1,80}", other in "[^\\p{Cc}]{1,80}") {
        prop_assume!(!title.trim().is_empty() && !other.trim().is_empty());
        let with = |title: &str| {
            let mut agreement = agreement();
            agreement.agreement.title = title.to_owned();
            agreement.agreement.purpose = format!("{title}\n\t\"{title}\"\\");
            agreement
        };
        let (a, b) = (with(&title), with(&other));
        let parsed = ParsedAgreement::parse(&a.to_toml(), "x").unwrap();
        prop_assert_eq!(parsed.agreement(), &a);
        prop_assert_eq!(parsed.hash() == hash(&b.to_toml()), title == other);
    }

    #[test]
    fn any_change_of_one_character_of_content_changes_the_hash(at in 0usize..10_000) {
        let base = parsed();
        // Without the header of comments, every letter and digit is a key or a value.
        let chars: Vec<char> = agreement().to_toml().lines().filter(|l| !l.starts_with('#')).flat_map(|l| l.chars().chain(['\n'])).collect();
        let at = at % chars.len();
        prop_assume!(chars[at].is_ascii_alphanumeric());
        let mut changed = chars;
        changed[at] = if changed[at] == '2' { '3' } else { '2' };
        let changed: String = changed.into_iter().collect();
        if let Ok(other) = ParsedAgreement::parse(&changed, "x") {
            prop_assert_ne!(other.hash(), base.hash());
        }
    }
}

fn names(keys: &[Key]) -> BTreeSet<String> {
    keys.iter().map(|k| k.name.to_owned()).collect()
}

/// Compares the schema's keys with those of the serialised model, all the way down.
fn same_keys(shape: &Shape, value: &Json, path: &str) {
    match (shape, value) {
        (Shape::Table(keys), Json::Object(entries)) => {
            let missing: Vec<_> = keys.iter().filter(|k| k.required && !entries.contains_key(k.name)).map(|k| k.name).collect();
            assert_eq!(missing, [""; 0], "{path}");
            for (name, entry) in entries {
                let key = keys.iter().find(|k| k.name == name).unwrap_or_else(|| panic!("{path}.{name} is not in the schema"));
                same_keys(&key.shape, entry, &format!("{path}.{name}"));
            }
        }
        (Shape::List { of, .. }, Json::Array(elements)) => elements.iter().for_each(|e| same_keys(of, e, path)),
        (Shape::Variant(_), Json::Object(_)) => {}
        (Shape::Table(_) | Shape::List { .. } | Shape::Variant(_), _) => panic!("{path}: the schema differs from the model"),
        _ => {}
    }
}

#[test]
fn schema_and_model_have_the_same_keys() {
    same_keys(&schema::AGREEMENT, &serde_json::to_value(agreement()).unwrap(), "");
    for kind in FIELD_KINDS {
        let json = serde_json::from_value::<crate::FieldKind>(Json::from(*kind)).unwrap();
        assert_eq!(serde_json::to_value(json).unwrap(), Json::from(*kind));
    }
    let rules = [
        Rule::Month,
        Rule::Year,
        Rule::AgeBand { from_years: vec![0] },
        Rule::Commune,
        Rule::Department,
        Rule::NationalityClass,
        Rule::AmountBand { from: vec![0] },
        Rule::Code { values: vec!["x".to_owned()] },
        Rule::Count { max: 1 },
        Rule::Map { values: [("x".to_owned(), "y".to_owned())].into() },
        Rule::Inside { codes: vec!["34".to_owned()] },
        Rule::Drop,
    ];
    assert_eq!(rules.len(), RULES.len());
    for (rule, (kind, keys)) in rules.iter().zip(RULES) {
        let json = serde_json::to_value(rule).unwrap();
        let mut found: BTreeSet<String> = json.as_object().unwrap().keys().cloned().collect();
        assert!(found.remove("kind"));
        assert_eq!((json["kind"].as_str(), found), (Some(*kind), names(keys)));
    }
}

/// An agreement that says nothing of publication but the minimum keeps the hash that it had before the other keys came.
#[test]
fn keys_of_publication_leave_no_trace_until_they_are_written() {
    let text = agreement().to_toml();
    assert!(text.contains("[disclosure]\nminimum_cell = 11\n") && !text.contains("round_to"));
    let bare = agreement().disclosure;
    assert_eq!(
        (bare.method(), bare.needs_approval(), bare.tables_per_month(), bare.dominance_percent(), bare.round_to()),
        (DisclosureMethod::Suppression, false, 100, 85, 1)
    );
    // Writing what an absent key means is another text, hence another agreement.
    let mut hashes = BTreeSet::from([parsed().hash()]);
    let lines =
        ["method = \"suppression\"", "approval = false", "tables_per_month = 100", "dominance_percent = 85", "round_to = 1"];
    for line in lines {
        hashes.insert(hash(&text.replace("minimum_cell = 11\n", &format!("minimum_cell = 11\n{line}\n"))));
    }
    assert_eq!(hashes.len(), 1 + lines.len());
    let mut full = agreement();
    full.disclosure = Disclosure {
        minimum_cell: 6,
        method: Some(DisclosureMethod::CellKey),
        approval: Some(true),
        tables_per_month: Some(12),
        dominance_percent: Some(70),
        round_to: Some(5),
    };
    let parsed = ParsedAgreement::parse(&full.to_toml(), "x").unwrap();
    assert_eq!(parsed.agreement(), &full);
    let said = &parsed.agreement().disclosure;
    assert_eq!(
        (said.method(), said.needs_approval(), said.tables_per_month(), said.dominance_percent(), said.round_to()),
        (DisclosureMethod::CellKey, true, 12, 70, 5)
    );
    assert_eq!(parsed.canonical_bytes(), canonical_bytes(&serde_json::to_value(&full).unwrap()).unwrap());
}

/// As above, for the keys of retention that came later.
#[test]
fn keys_of_retention_leave_no_trace_until_they_are_written() {
    let text = agreement().to_toml();
    assert!(text.contains("system_log_days = 90\n") && !text.contains("open_runs_days"));
    let bare = agreement().retention;
    assert_eq!(
        (bare.open_runs_days(), bare.after_end_days(), bare.last_contact_months, bare.deceased_months),
        (31, 0, None, None)
    );
    let mut full = agreement();
    full.retention.open_runs_days = Some(60);
    full.retention.last_contact_months = Some(24);
    full.retention.deceased_months = Some(0);
    full.retention.after_end_days = Some(30);
    let parsed = ParsedAgreement::parse(&full.to_toml(), "x").unwrap();
    assert_eq!(parsed.agreement(), &full);
    assert_ne!(parsed.hash(), self::parsed().hash());
    // A date that only decides how long a record is kept neither identifies nor travels.
    for column in ["date_deces", "date_dernier_contact"] {
        let mut wrong = agreement();
        wrong.identity.field.push(crate::model::IdentityField::new(crate::FieldKind::Text, column));
        wrong.attribute.push(crate::model::Attribute { name: column.to_owned(), rule: Rule::Month });
        let faults = ParsedAgreement::parse(&wrong.to_toml(), "x").unwrap_err();
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
}

#[test]
fn any_value_of_a_map_survives_the_writer() {
    let mut mapped = agreement();
    let values = [("Domicile fixe", "logé"), ("a.b = \"c\"", "x"), ("été", "été"), ("kind", "y"), ("l'abri", "z\\")];
    mapped.attribute[4].rule = Rule::Map { values: values.iter().map(|(v, c)| ((*v).to_owned(), (*c).to_owned())).collect() };
    mapped.attribute[5].rule = Rule::Inside { codes: vec!["34".to_owned(), "2A004".to_owned()] };
    mapped.attribute[6].rule = Rule::Drop;
    let parsed = ParsedAgreement::parse(&mapped.to_toml(), "x").unwrap_or_else(|f| panic!("{f:#?}"));
    assert_eq!(parsed.agreement(), &mapped);
    assert_eq!(parsed.canonical_bytes(), canonical_bytes(&serde_json::to_value(&mapped).unwrap()).unwrap());
    let travelling: Vec<String> = mapped.travelling_attributes().into_iter().map(|a| a.name).collect();
    let all: Vec<String> = mapped.attribute.iter().map(|a| a.name.clone()).collect();
    assert_eq!((travelling.len(), travelling.contains(&all[6])), (all.len() - 1, false));
}

#[test]
fn extreme_bounds_of_the_schema_are_read() {
    let mut extreme: Agreement = agreement();
    extreme.party[0].max_records = 1_000_000_000;
    extreme.encoding.expected_records = 1_000_000_000;
    extreme.attribute[7].rule = Rule::AmountBand { from: vec![-9_007_199_254_740_991, 9_007_199_254_740_991] };
    let parsed = ParsedAgreement::parse(&extreme.to_toml(), "x").unwrap();
    assert_eq!(parsed.agreement(), &extreme);
}
