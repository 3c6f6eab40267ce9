use linkage_agreement::FieldKind;

use super::*;
use crate::date;
use crate::identity::{FieldValue, Identity};
use crate::keys::{KeyMaker, ScoredKey};

fn identity(surnames: &[&str], given: &[&str], birth: &str) -> Identity {
    let words = |list: &[&str]| FieldValue::Name(list.iter().map(|w| (*w).to_owned()).collect());
    Identity::from_values(vec![
        (FieldKind::BirthName, words(surnames)),
        (FieldKind::GivenNames, words(given)),
        (FieldKind::BirthDate, FieldValue::Date(date::parse(birth, None).unwrap())),
    ])
}
fn scored_keys(identity: &Identity, set: &PassSet, records: u64, max: usize) -> Vec<ScoredKey> {
    KeyMaker::new(set, records, max).scored(identity)
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
    assert!(matches!(set("[[pass]]\nid = 'a'\nnames = ['nose']"), Err(PassSetError::Toml { line: 5 | 7, .. })));
    assert!(matches!(set("[[pass]]\nid = 'a'\ncolour = 1"), Err(PassSetError::Toml { line: 5 | 7, .. })));
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

/// A set like those that a search writes.
const CHOSEN: &str =
    "id = 'choisi'\nmargin_bits = 4.0\nname_cap_bits = 12.0\nrank_weight = 4.0\n\n[[pass]]\nid = 'a'\ndate = 'full'\n";
/// Its digest by `sha256sum`.
const DIGEST: &str = "4389f31898a0ae7750ca4d869396d952decfd484c8bd4ce44a80281ac2899cab";

#[test]
fn a_fault_is_told_with_its_line() {
    let rule = |text: &str| match PassSet::from_toml(text) {
        Err(PassSetError::Rule { line, pass, .. }) => (line, pass),
        other => panic!("{other:?}"),
    };
    assert_eq!(rule(&format!("# jeu\n\n{}", CHOSEN.replace("choisi", "Choisi"))), (3, "Choisi".to_owned()));
    assert_eq!(rule(&CHOSEN.replace("12.0", "nan")), (1, "choisi".to_owned()));
    assert_eq!(rule(&format!("{CHOSEN}\n[[pass]]\nid = 'a'\ndate = 'year'\n")), (10, "a".to_owned()));
    let many: String = (0..65).map(|n| format!("[[pass]]\nid = 'p{n}'\ndate = 'full'\n")).collect();
    let (head, _) = CHOSEN.split_once("[[pass]]").unwrap();
    assert_eq!(rule(&format!("{head}{many}")), (1, "choisi".to_owned()));
    let typed = PassSet::from_toml(&CHOSEN.replace("date = 'full'", "date = 'fulll'"));
    assert!(matches!(typed, Err(PassSetError::Toml { line: 8, .. })), "{typed:?}");
    assert!(matches!(PassSet::from_toml("id = "), Err(PassSetError::Toml { line: 1, .. })));
}

#[test]
fn an_agreement_names_an_embedded_set_or_the_very_bytes_of_a_file() {
    let (set, given) = PassSet::from_file(CHOSEN).unwrap();
    assert_eq!(given.to_string(), format!("choisi@{DIGEST}"));
    assert_eq!(PassSet::agreed(&given.to_string(), Some(CHOSEN)), Ok(set));
    assert_eq!(PassSet::agreed("fr-1", None), PassSet::named("fr-1"));
    assert_eq!(PassSet::agreed("fr-1", Some(CHOSEN)), PassSet::named("fr-1"));

    assert_eq!(PassSet::agreed("choisi", Some(CHOSEN)), Err(PassSetError::Unknown("choisi".to_owned())));
    assert_eq!(PassSet::agreed("choisi@", Some(CHOSEN)), Err(PassSetError::Reference(InvalidPassSetRef)));
    assert_eq!(PassSet::agreed(&given.to_string(), None), Err(PassSetError::FileNeeded(given.to_string())));
    // One character more, be it a blank, is another file.
    for other in [format!("{CHOSEN} "), CHOSEN.replace('\n', "\r\n"), "id = ".to_owned()] {
        let refused = PassSet::agreed(&given.to_string(), Some(&other));
        assert!(matches!(&refused, Err(PassSetError::OtherFile { agreed, .. }) if *agreed == given.to_string()), "{refused:?}");
    }
    // The right bytes under another name.
    let misnamed: PassSetRef = format!("autre@{DIGEST}").parse().unwrap();
    assert_eq!(
        PassSet::agreed(&misnamed.to_string(), Some(CHOSEN)),
        Err(PassSetError::OtherFile { agreed: misnamed.to_string(), given: given.to_string() })
    );
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

/// As [`identity`], with a commune of residence and a place of birth, as French services hold them.
fn settled(surname: &str, usage: &str, given: &str, birth: &str, commune: &str) -> Identity {
    let words = |text: &str| FieldValue::Name(text.split_whitespace().map(str::to_owned).collect());
    Identity::from_values(vec![
        (FieldKind::BirthName, words(surname)),
        (FieldKind::UsageName, words(usage)),
        (FieldKind::GivenNames, words(given)),
        (FieldKind::BirthDate, FieldValue::Date(date::parse(birth, None).unwrap())),
        (FieldKind::Place, FieldValue::Place(crate::place::Place::read("", "Kindia", "GUINEE"))),
        (FieldKind::Category, FieldValue::Category(Some(commune.to_owned()))),
    ])
}

#[test]
fn every_class_of_differences_has_a_pass() {
    let one = settled("BERTHELOT", "", "MAMADOU", "1987-03-17", "34003");
    let default = settled("BERTHELOT", "", "MAMADOU", "1987-01-01", "34003");
    for (class, a, b) in [
        ("default date", &one, settled("BERTHELOT", "", "MAMADOU", "1987-01-01", "34003")),
        ("default date of another year", &one, settled("BERTHELOT", "", "MAMADOU", "1990-01-01", "34003")),
        ("default date that tells nothing", &one, settled("BERTHELOT", "", "MAMADOU", "1900-01-01", "34003")),
        ("no date", &one, settled("BERTHELOT", "", "MAMADOU", "", "34003")),
        ("two default dates, surname damaged", &default, settled("BRETELOT", "", "MAMADOU", "1987-01-01", "34003")),
        ("two default dates, given name damaged", &default, settled("BERTHELOT", "", "AMDU", "1987-01-01", "34003")),
        ("transliterated name", &one, settled("BERTHELOT", "", "MAMADU", "1987-03-17", "34003")),
        ("usage name in the birth name's place", &one, settled("GARNIER", "", "MAMADOU", "1987-03-17", "34003")),
        ("swapped name and given name", &one, settled("MAMADOU", "", "BERTHELOT", "1987-03-17", "34003")),
        ("cut fields", &one, settled("BERTHE", "", "MAMA", "1987-03-17", "34003")),
        ("wrong day", &one, settled("BERTHELOT", "", "MAMADOU", "1987-03-27", "34003")),
        ("wrong month", &one, settled("BERTHELOT", "", "MAMADOU", "1987-08-17", "34003")),
        ("wrong year", &one, settled("BERTHELOT", "", "MAMADOU", "1978-03-17", "34003")),
        ("day and month swapped", &one, settled("BERTHELOT", "", "MAMADOU", "1987-17-03", "34003")),
        ("both names damaged", &one, settled("BERTELHO", "", "MAMADUO", "1987-03-17", "34003")),
        ("moved, date default", &one, settled("BERTHELOT", "", "MAMADOU", "1987-01-01", "34172")),
        ("moved, wrong month", &one, settled("BERTHELOT", "", "MAMADOU", "1987-08-17", "34172")),
    ] {
        for records in [15_000, 150_000] {
            assert!(meet(a, &b, records), "{class}, {records} records");
        }
    }
    let married = settled("BERTHELOT", "GARNIER", "AWA", "1987-03-17", "34003");
    assert!(meet(&married, &settled("GARNIER", "", "AWA", "1987-01-01", "34003"), 15_000));
}

#[test]
fn a_commune_counts_for_what_it_tells() {
    let text = "id = 'c'\nmargin_bits = 4.0\nname_cap_bits = 11.0\nrank_weight = 6.0\n
        [[pass]]\nid = 's2+c'\nnames = ['sound', 'sound']\nextra = 'commune'\nextra_bits = 6.0";
    let set = PassSet::from_toml(text).unwrap();
    let keys = |commune: &str| scored_keys(&settled("BERTHELOT", "", "MAMADOU", "", commune), &set, 2, 20);
    let (large, small) = (keys("34172"), keys("34239"));
    assert!(small[0].bits > large[0].bits + 2.0, "{} {}", small[0].bits, large[0].bits);
    // A postcode of one commune is that commune; what is no commune gives no key.
    assert_eq!(keys("34172")[0].key, keys("34000")[0].key);
    assert!(keys("AUTRE").is_empty());
}

#[test]
fn a_place_gives_its_commune_and_a_foreign_country() {
    let text = "id = 'b'\nmargin_bits = 4.0\nname_cap_bits = 11.0\nrank_weight = 6.0\n
        [[pass]]\nid = 's2+b'\nnames = ['sound', 'sound']\nextra = 'place'\nextra_bits = 4.0";
    let set = PassSet::from_toml(text).unwrap();
    let keys = |name: &str, country: &str| {
        let place = FieldValue::Place(crate::place::Place::read("", name, country));
        let words = |word: &str| FieldValue::Name(vec![word.to_owned()]);
        let identity = Identity::from_values(vec![
            (FieldKind::BirthName, words("BERTHELOT")),
            (FieldKind::GivenNames, words("MAMADOU")),
            (FieldKind::Place, place),
        ]);
        block_keys(&identity, &set, 2, 20)
    };
    assert_eq!(keys("Kindia", "GUINEE").len(), 2);
    assert_eq!(keys("", "GUINEE").len(), 1);
    assert!(keys("Kindia", "GUINEE").contains(&keys("", "GUINEE")[0]));
    assert_eq!(keys("Agde", "FRANCE").len(), 1);
    assert!(keys("", "FRANCE").is_empty());
}
