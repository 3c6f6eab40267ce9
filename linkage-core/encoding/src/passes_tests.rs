use linkage_agreement::FieldKind;

use super::*;
use crate::date;
use crate::identity::{FieldValue, Identity};
use crate::keys::scored_keys;

fn identity(surnames: &[&str], given: &[&str], birth: &str) -> Identity {
    let words = |list: &[&str]| FieldValue::Name(list.iter().map(|w| (*w).to_owned()).collect());
    Identity::from_values(vec![
        (FieldKind::BirthName, words(surnames)),
        (FieldKind::GivenNames, words(given)),
        (FieldKind::BirthDate, FieldValue::Date(date::parse(birth, None).unwrap())),
    ])
}
fn meet(a: &Identity, b: &Identity, records: u64) -> bool {
    let set = PassSet::named("fr-1").unwrap();
    let keys = block_keys(b, &set, records, 20);
    block_keys(a, &set, records, 20).iter().any(|k| keys.contains(k))
}

#[test]
fn the_embedded_sets_are_valid() {
    for id in ["fr-1", "generic-1"] {
        assert_eq!(PassSet::named(id).unwrap().id, id);
    }
    assert_eq!(PassSet::named("fr-0"), Err(PassSetError::Unknown("fr-0".into())));
}

#[test]
fn faulty_sets_are_refused() {
    let set = |passes: &str| {
        PassSet::from_toml(&format!("id = 'x'\nmargin_bits = 4.0\nname_cap_bits = 12.0\nrank_weight = 4.0\n{passes}"))
    };
    assert!(matches!(set("[[pass]]\nid = 'a'\nnames = ['nose']"), Err(PassSetError::Toml(_))));
    assert!(matches!(set("[[pass]]\nid = 'a'\ncolour = 1"), Err(PassSetError::Toml(_))));
    for passes in [
        "[[pass]]\nid = 'a'",
        "[[pass]]\nid = 'A'\ndate = 'full'",
        "[[pass]]\nid = 'a'\ndate = 'full'\n[[pass]]\nid = 'a'\ndate = 'year'",
        "[[pass]]\nid = 'a'\nnames = ['word', 'word', 'word']",
        "[[pass]]\nid = 'a'\ndate = 'full'\nmargin_bits = -1.0",
    ] {
        assert!(matches!(set(passes), Err(PassSetError::Rule { .. })), "{passes}");
    }
}

#[test]
fn usual_differences_still_meet() {
    let reference = identity(&["QUEMET"], &["CAROLINE"], "1987-03-17");
    for (what, other) in [
        ("same", identity(&["QUEMET"], &["CAROLINE"], "1987-03-17")),
        ("swapped names", identity(&["CAROLINE"], &["QUEMET"], "1987-03-17")),
        ("married name only", identity(&["DEVOIR"], &["CAROLINE"], "1987-03-17")),
        ("other given name first", identity(&["QUEMET"], &["ANNE", "CAROLINE"], "1987-03-17")),
        ("spelling", identity(&["KEMET"], &["KAROLINE"], "1987-03-17")),
        ("month and day swapped, invalid or not", identity(&["QUEMET"], &["CAROLINE"], "1987-17-03")),
        ("year wrong", identity(&["QUEMET"], &["CAROLINE"], "1978-03-17")),
        ("default date", identity(&["QUEMET"], &["CAROLINE"], "1987-01-01")),
        ("no date", identity(&["QUEMET"], &["CAROLINE"], "")),
        ("no given name", identity(&["QUEMET"], &[], "1987-03-17")),
    ] {
        assert!(meet(&reference, &other, 15_000), "{what}");
    }
    assert!(!meet(&reference, &identity(&["MARTIN"], &["LEA"], "2001-09-30"), 15_000));
}

#[test]
fn a_common_name_needs_more_of_the_date_as_records_grow() {
    let one = identity(&["MARTIN"], &["MARIE"], "1987-03-17");
    assert!(meet(&one, &identity(&["MARTIN"], &["MARIE"], "1987-03-17"), 1_000_000));
    assert!(!meet(&one, &identity(&["MARTIN"], &["MARIE"], "1962-11-02"), 15_000));
    assert!(meet(&one, &identity(&["MARTIN"], &["MARIE"], "1987-01-01"), 15_000));
    assert!(!meet(&one, &identity(&["MARTIN"], &["MARIE"], "1987-01-01"), 1_000_000));
}

#[test]
fn keys_tell_enough_are_distinct_and_no_more_than_asked() {
    let set = PassSet::named("fr-1").unwrap();
    let one = identity(&["QUEMET", "DEVOIR"], &["CAROLINE", "ANNE"], "1987-03-17");
    for max in [0, 1, 7, 20, 64] {
        let keys = scored_keys(&one, &set, 15_000, max);
        assert!(keys.len() <= max);
        assert!(keys.iter().all(|k| k.bits >= set.threshold(&set.pass[k.pass], 15_000)));
        let distinct: HashSet<_> = keys.iter().map(|k| k.key.clone()).collect();
        assert_eq!(distinct.len(), keys.len());
    }
}

#[test]
fn default_dates_give_no_day_or_month() {
    let set = PassSet::named("fr-1").unwrap();
    let one = identity(&["QUEMET"], &["CAROLINE"], "1987-01-01");
    for key in scored_keys(&one, &set, 15_000, 64) {
        let part = set.pass[key.pass].date;
        assert!(!part.is_trusted() && part != DatePart::YearMonth);
    }
}

#[test]
fn the_oprf_input_separates_agreement_epoch_pass_and_parts() {
    let key = BlockKey::of_parts("s2", "A\u{1f}B");
    assert_eq!(key.oprf_input("demo", 3), b"linkage/block-scoped/1/input\0demo\x003\0s2\0A\x1fB");
    assert_eq!(format!("{key:?}"), "BlockKey(s2, ..)");
}
