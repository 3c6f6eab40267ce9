//! Levels of single pairs, on payloads of the small test encoder.
#![allow(clippy::unwrap_used)]

mod support;

use linkage_linking::{Comparer, ComparisonVector, DimensionKind, LinkError, compare_payloads};
use proptest::prelude::*;
use support::{Person, header, layout, payload};

fn compare(bits: usize, k: usize, a: &Person, b: &Person) -> ComparisonVector {
    let layout = layout(bits, k, 8);
    let comparer = Comparer::new(&layout).unwrap();
    let payloads: Vec<(Vec<u8>, Vec<u8>)> = ["one", "two", "three", "four"]
        .iter()
        .map(|block| (payload(&layout, a, block.as_bytes()), payload(&layout, b, block.as_bytes())))
        .collect();
    let blocks = || payloads.iter().map(|(a, b)| (a.as_slice(), b.as_slice()));
    let there = comparer.compare(header(a), header(b), blocks()).unwrap();
    let back = comparer.compare(header(b), header(a), blocks().map(|(a, b)| (b, a))).unwrap();
    assert_eq!(there, back, "symmetric");
    there
}

fn level(kind: DimensionKind, a: &Person, b: &Person) -> String {
    let at = match kind {
        DimensionKind::Surname => 0,
        DimensionKind::Given => 1,
        DimensionKind::Date => 2,
        DimensionKind::Sex => 3,
        _ => 4,
    };
    let names: Vec<String> =
        [(64, 2), (128, 4), (256, 8), (512, 8)].map(|(bits, k)| kind.level_name(compare(bits, k, a, b).level(at))).into();
    assert!(names.iter().all(|name| name == &names[0]), "the width of filters decides: {names:?}");
    names[0].clone()
}

fn person() -> Person {
    Person::new("GUIMARAES", "STEPHANIE", (1980, 6, 12))
}

#[test]
fn surnames() {
    let a = Person { classes: [5, 2, 4], ..person() };
    let surname = |birth: &str, usage: &str| {
        let b = Person { birth: birth.to_owned(), usage: usage.to_owned(), ..a.clone() };
        level(DimensionKind::Surname, &a, &b)
    };
    assert_eq!(surname("GUIMARAES", ""), "exact class 5");
    assert_eq!(surname("GUIMARAAES", ""), "high rare");
    assert_eq!(surname("GUIMARAES FERNANDES", ""), "contained rare");
    assert_eq!(surname("LECLERC", "GUIMARAES"), "exact class 2", "crosswise, class of the names that agree");
    assert_eq!(surname("POTTIN", ""), "different");
    assert_eq!(surname("", ""), "missing");
    let sounds_alike = Person { birth: "GUYMARAYS".to_owned(), ..a.clone() };
    assert!(level(DimensionKind::Surname, &a, &sounds_alike).starts_with("phonetic"));
}

#[test]
fn given_names() {
    let a = Person { given: "MARIE".to_owned(), classes: [3, 3, 1], ..person() };
    let given = |name: &str| level(DimensionKind::Given, &a, &Person { given: name.to_owned(), ..a.clone() });
    assert_eq!(given("MARIE"), "exact class 1");
    assert_eq!(given("MARIE FRANCOISE"), "contained common", "one of several");
    assert_eq!(given("HUGO"), "different");
    let long = Person { given: "MAXIMILIEN".to_owned(), ..a.clone() };
    let cut = Person { given: "MAX".to_owned(), ..a.clone() };
    // Three of the short name's four q-grams: too close to the limit for narrow filters.
    let wide = compare(256, 8, &long, &cut);
    assert_eq!(DimensionKind::Given.level_name(wide.level(1)), "part");
}

#[test]
fn exchanged_names() {
    let a = person();
    let exchanged = |birth: &str, given: &str| {
        let b = Person { birth: birth.to_owned(), given: given.to_owned(), ..a.clone() };
        (level(DimensionKind::Surname, &a, &b), level(DimensionKind::Given, &a, &b))
    };
    let both = |name: &str| (name.to_owned(), name.to_owned());
    assert_eq!(exchanged("STEPHANIE", "GUIMARAES"), both("swapped"));
    assert_eq!(exchanged("STEFFANIE", "GUIMARAES"), both("swapped, one name close"));
    assert_eq!(exchanged("STEPHANIE", "BRIGITTE"), both("different"), "one side alone is no exchange");
}

#[test]
fn dates() {
    let date = |a: (u16, u8, u8), b: (u16, u8, u8), default: bool| {
        let a = Person { date: Some(a), ..person() };
        let b = Person { date: Some(b), default_date: default, ..person() };
        level(DimensionKind::Date, &a, &b)
    };
    let day = (1980, 6, 12);
    assert_eq!(date(day, day, false), "equal");
    assert_eq!(date((1980, 1, 1), (1980, 1, 1), true), "equal default");
    assert_eq!(date(day, (1980, 12, 6), false), "day and month swapped");
    assert_eq!(date(day, (1980, 6, 19), false), "one digit of the day off");
    assert_eq!(date(day, (1980, 6, 22), false), "one digit of the day off");
    assert_eq!(date(day, (1980, 6, 3), false), "day off");
    assert_eq!(date(day, (1980, 7, 12), false), "month off");
    assert_eq!(date(day, (1981, 6, 12), false), "year off by one");
    assert_eq!(date(day, (1979, 6, 12), false), "year off by one");
    assert_eq!(date(day, (1986, 6, 12), false), "one digit of the year off");
    assert_eq!(date(day, (1950, 6, 12), false), "one digit of the year off");
    assert_eq!(date(day, (1957, 6, 12), false), "year off");
    assert_eq!(date(day, (1980, 3, 30), false), "same year");
    assert_eq!(date(day, (1955, 3, 30), false), "different");
    assert_eq!(date(day, (1980, 1, 1), true), "default, same year");
    assert_eq!(date(day, (1981, 1, 1), true), "default, year within one");
    assert_eq!(date(day, (1984, 1, 1), true), "default, same decade");
    assert_eq!(date(day, (1994, 1, 1), true), "default, other decade");
    let none = Person { date: None, ..person() };
    assert_eq!(level(DimensionKind::Date, &person(), &none), "missing");
}

#[test]
fn sex_and_places() {
    let a = person();
    let b = Person { sex: "2".to_owned(), ..a.clone() };
    assert_eq!(level(DimensionKind::Sex, &a, &a), "equal");
    assert_eq!(level(DimensionKind::Sex, &a, &b), "different");
    assert_eq!(level(DimensionKind::Sex, &a, &Person { sex: String::new(), ..a.clone() }), "missing");
    let place = |country: &str, department: &str, commune: &str| {
        let b = Person { birth_place: [country, department, commune].map(str::to_owned), ..a.clone() };
        level(DimensionKind::Place, &a, &b)
    };
    assert_eq!(place("FR", "34", "MONTPELLIER"), "town");
    assert_eq!(place("FR", "34", "BEZIERS"), "other town of the region");
    assert_eq!(place("FR", "34", ""), "region");
    assert_eq!(place("FR", "75", "PARIS"), "different");
    assert_eq!(place("FR", "", ""), "country");
    assert_eq!(place("DZ", "DZ", "SETIF"), "different");
    assert_eq!(place("", "", "SETIF"), "other town");
    assert_eq!(place("", "", ""), "missing");
}

#[test]
fn refuses_payloads_of_another_length() {
    let layout = layout(128, 4, 8);
    let a = payload(&layout, &person(), b"x");
    let wrong = LinkError::PayloadLength { expected: layout.payload_len };
    assert_eq!(compare_payloads(&layout, 1, &a[1..], 1, &a), Err(wrong.clone()));
    assert_eq!(compare_payloads(&layout, 1, &a, 1, &[]), Err(wrong));
    let none = Comparer::new(&layout).unwrap().compare(1, 1, std::iter::empty()).unwrap();
    assert_eq!(none, ComparisonVector::default(), "never met: all missing");
}

proptest! {
    /// Any bytes of the right length compare, to the same vector both ways.
    #[test]
    fn any_bytes_compare(
        a in proptest::collection::vec(any::<u8>(), 0..400), b in proptest::collection::vec(any::<u8>(), 0..400), ha: u32, hb: u32
    ) {
        let layout = layout(128, 4, 8);
        let fit = |bytes: &[u8]| -> Vec<u8> { bytes.iter().copied().chain(std::iter::repeat(0)).take(layout.payload_len).collect() };
        let (a, b) = (fit(&a), fit(&b));
        let there = compare_payloads(&layout, ha, &a, hb, &b).unwrap();
        prop_assert_eq!(there, compare_payloads(&layout, hb, &b, ha, &a).unwrap());
        let dimensions = linkage_linking::Dimensions::of(&layout);
        for (at, dimension) in dimensions.iter().enumerate() {
            prop_assert!(usize::from(there.level(at)) < dimension.kind.levels());
        }
    }
}
