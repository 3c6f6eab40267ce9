//! The search finds what is in its dictionary, nothing else, and nothing under a key.

use std::time::Duration;

use linkage_crypto::derive::RunKey;
use linkage_hash_keys::{GivenNames, Hashing, Values, texts};

use super::*;

const LIMITS: Limits = Limits { budget: Duration::from_secs(600), first_year: 1920, last_year: 2005 };

fn target(name: &str, given: &str, date: &str, hashing: Hashing<'_>) -> Target {
    let values = Values { birth_name: name, usage_name: "", given_names: given, birth_date: date };
    let keys = texts(values, GivenNames::All).unwrap().keys(hashing);
    Target { primary: keys.primary, secondary: Some(keys.secondary) }
}

fn file(hashing: Hashing<'_>) -> Vec<Target> {
    vec![
        target("Dupont", "Marie", "01/01/2000", hashing),
        target("N'Diaye", "Marie Anne", "2/3/1999", hashing),
        target("Dupont", "Zzyzx", "05/05/1925", hashing),
        target("Absent", "Marie", "01/01/2000", hashing),
    ]
}

fn dictionary() -> Dictionary {
    Dictionary::of(["DUPONT", "N'DIAYE", "Dupont", ""].into_iter(), ["ANNE", "MARIE"].into_iter())
}

#[test]
fn what_the_dictionary_holds_is_found_and_nothing_else() {
    assert_eq!(dictionary().len(), (2, 2));
    let mut heard = 0;
    let found = reverse(&file(Hashing::Plain), &dictionary(), LIMITS, &|| Duration::ZERO, &mut |_| heard += 1);
    assert_eq!((found.primary_keys, found.secondary_keys), (4, 4));
    // Three surnames with month and year; of these, one given name and one pair of given names.
    assert_eq!((found.end.secondary_reversed, found.end.primary_reversed), (3, 2));
    assert!(found.exhausted);
    assert_eq!(heard, found.steps.len());
    assert!(found.end.tried >= 2 * 12 * 86, "{}", found.end.tried);
}

#[test]
fn nothing_is_found_under_a_key() {
    let run = RunKey::from_bytes(&[7; 32]);
    let found = reverse(&file(Hashing::Keyed(&run)), &dictionary(), LIMITS, &|| Duration::ZERO, &mut |_| {});
    assert_eq!((found.end.secondary_reversed, found.end.primary_reversed), (0, 0));
    assert!(found.exhausted);
}

#[test]
fn a_budget_that_is_spent_ends_the_search() {
    let found = reverse(&file(Hashing::Plain), &dictionary(), LIMITS, &|| Duration::from_secs(601), &mut |_| {});
    assert_eq!((found.end.tried, found.end.secondary_reversed, found.exhausted), (0, 0, false));
}

#[test]
fn the_public_tables_reverse_the_conventions_own_example() {
    let limits = Limits { first_year: 2000, last_year: 2000, ..LIMITS };
    let targets = [target("DUPONT", "MARIE", "01/01/2000", Hashing::Plain)];
    let found = reverse(&targets, &Dictionary::public(), limits, &|| Duration::ZERO, &mut |_| {});
    assert_eq!((found.end.secondary_reversed, found.end.primary_reversed), (1, 1));
}
