use super::*;
use crate::figures::{Dimension, LinkTerms};

fn rates() -> ErrorRates {
    let run = RunRates {
        precision: Estimate { low: 0.999, high: 1.0 },
        recall: Estimate { low: 0.95, high: 0.99 },
        linked_share: 0.5,
        records: 14_000,
    };
    ErrorRates::new([("2024-01".parse().unwrap(), run)])
}

fn at(table: &FigureTable, cell: usize, errors: &ErrorRates) -> Option<[f64; 2]> {
    let public: Vec<f64> = table.cells.iter().map(|f| f.value).collect();
    offsets(table, &public, cell, errors)
}

fn person(units: u64, records: u64) -> Figure {
    Figure { units, value: units as f64, links: LinkTerms { records, ..LinkTerms::default() }, ..Figure::default() }
}

fn table(measure: &str, name: &str, categories: &[&str], cells: &[Figure]) -> FigureTable {
    let value = |text: &&str| if *text == "*" { Category::Total } else { Category::Value((*text).to_owned()) };
    FigureTable {
        unit: Unit::Persons,
        measure: measure.to_owned(),
        dimensions: vec![
            Dimension { name: "period".to_owned(), categories: vec![Category::Value("2024-01".to_owned())], partition: false },
            Dimension { name: name.to_owned(), categories: categories.iter().map(value).collect(), partition: true },
        ],
        cells: cells.to_vec(),
        notes: Vec::new(),
    }
}

#[test]
fn missed_links_count_persons_twice() {
    let of = |units, records| at(&table("stock", "sexe", &["*"], &[person(units, records)]), 0, &rates()).unwrap();
    let [low, high] = of(8000, 14_000);
    // 6,000 mergings; 61 to 316 are lacking, and at most 6 are false.
    assert!((-351.0..-350.0).contains(&low) && high == 0.0, "{low} {high}");
    assert_eq!(of(14_000, 14_000), [0.0, 0.0], "nobody was merged");
    let cells = [person(5000, 8000), person(3000, 6000), person(8000, 14_000)];
    let by = |name: &str| at(&table("stock", name, &["1", "2", "*"], &cells), 0, &rates()).unwrap();
    // 250 second records at the party, 13 of them missed; of 3,000 mergings 158 are lacking, or twice as many.
    assert!((-21.0..-20.0).contains(&by("party")[0]), "{:?}", by("party"));
    assert!((-351.0..-350.0).contains(&by("sexe")[0]) && by("sexe")[1] > 0.0, "{:?}", by("sexe"));
}

#[test]
fn a_table_by_party_is_of_everybody_when_its_persons_are_the_records() {
    let of = |cells: &[Figure]| at(&table("stock", "party", &["a", "b"], cells), 0, &rates()).unwrap();
    let everybody = of(&[person(8000, 11_000), person(6000, 9000)]);
    assert!((-31.0..-30.0).contains(&everybody[0]) && (1.0..2.0).contains(&everybody[1]), "{everybody:?}");
    let some = of(&[person(800, 1100), person(600, 900)]);
    assert!(some[1] > 50.0, "{some:?}");
}

#[test]
fn one_partys_own_records_say_how_many_it_knows() {
    let own = |units, records| {
        let figure = person(units, records);
        let links = LinkTerms { own: true, ..figure.links };
        at(&table("stock", "sexe", &["*"], &[Figure { links, ..figure }]), 0, &rates()).unwrap()
    };
    assert_eq!(own(400, 400), [0.0, 0.0], "no link of others changes it");
    let [low, high] = own(400, 420);
    // 20 second records were found, one of them may be lacking or false.
    assert!((-4.0..-1.0).contains(&low) && (0.0..2.0).contains(&high), "{low} {high}");
}

#[test]
fn persons_are_in_a_population_or_not_for_want_of_a_link() {
    let [low, high] = at(&table("stock", "sexe", &["*"], &[person(400, 1000)]), 0, &rates()).unwrap();
    // 50 records of a thousand, or twice as many.
    assert!((-120.0..-119.0).contains(&low) && (119.0..123.0).contains(&high), "{low} {high}");
}

#[test]
fn overlaps_lose_persons_to_smaller_ones() {
    let cells = [person(4000, 4000), person(3000, 3000), person(1000, 2000), person(8000, 9000)];
    let table = table("stock", "parties", &["ccas", "siao", "ccas + siao", "*"], &cells);
    let [single, _, both, _] = [0, 1, 2, 3].map(|cell| at(&table, cell, &rates()).unwrap());
    // Each record of a thousand persons of both comes off with 1/40, and may do twice as often.
    assert!((-120.0..-119.0).contains(&single[0]), "{single:?}");
    assert!((119.0..120.0).contains(&both[1]), "{both:?}");
    assert!(single[1] > 0.0 && single[1] < 10.0 && both[0] < 0.0 && both[0] > -10.0);
}

#[test]
fn entries_may_be_persons_known_before() {
    let [low, high] = at(&table("entries", "sexe", &["*"], &[person(200, 220)]), 0, &rates()).unwrap();
    assert!((-31.0..-29.0).contains(&low) && high > 0.0 && high < 2.0, "{low} {high}");
}

#[test]
fn without_a_model_or_estimates_there_is_no_interval() {
    let cells = [person(500, 800)];
    for measure in ["durations", "sum", "transitions", "paths", "delays"] {
        assert_eq!(at(&table(measure, "sexe", &["*"], &cells), 0, &rates()), None);
    }
    assert_eq!(at(&table("stock", "sexe", &["*"], &cells), 0, &ErrorRates::default()), None);
    let households = FigureTable { unit: Unit::Households, ..table("stock", "sexe", &["*"], &cells) };
    assert_eq!(at(&households, 0, &rates()), None);
}

#[test]
fn what_changes_the_reading_is_flagged() {
    assert!(changes_reading(100.0, [85.0, 100.0], None, 1.0), "a tenth of the figure");
    assert!(!changes_reading(1000.0, [990.0, 1005.0], Some(998.0), 1.0));
    assert!(changes_reading(1000.0, [930.0, 1005.0], Some(940.0), 1.0), "a rise of 60 within 75");
    assert!(!changes_reading(1000.0, [980.0, 1005.0], Some(900.0), 1.0), "a rise of 100 is one");
    assert!(!changes_reading(11.0, [10.0, 12.0], None, 1.0), "rounding of small figures");
}
