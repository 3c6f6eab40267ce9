use super::*;
use crate::public::Method;

fn rates() -> ErrorRates {
    let run = RunRates {
        precision: Estimate { low: 0.999, high: 1.0 },
        recall: Estimate { low: 0.95, high: 0.99 },
        linked_share: 0.5,
        per_person: 1.75,
    };
    ErrorRates::new([("2024-01".parse().unwrap(), run)])
}

fn at(table: &PublicTable, whom: Whom, cell: usize) -> Option<[f64; 2]> {
    let public: Vec<f64> = table.cells.iter().map(|cell| value_of(cell).unwrap_or(table.minimum as f64)).collect();
    offsets(table, whom, &public, cell, &rates())
}

fn table(measure: &str, name: &str, categories: &[&str], values: &[f64]) -> PublicTable {
    let category = |text: &&str| match *text {
        "*" => Category::Total,
        "?" => Category::Unknown,
        text => Category::Value(text.to_owned()),
    };
    PublicTable {
        title: String::new(),
        unit: Unit::Persons,
        measure: measure.to_owned(),
        dimensions: vec![
            Dimension { name: "period".to_owned(), categories: vec![Category::Value("2024-01".to_owned())], partition: false },
            Dimension { name: name.to_owned(), categories: categories.iter().map(category).collect(), partition: true },
        ],
        cells: values.iter().map(|value| Shown::Value { value: *value, interval: None, uncertain: false }).collect(),
        notes: Vec::new(),
        method: Method::CellKey,
        minimum: 11,
    }
}

fn only(value: f64, whom: Whom) -> [f64; 2] {
    at(&table("stock", "sexe", &["*"], &[value]), whom, 0).unwrap()
}

#[test]
fn missed_links_count_persons_twice() {
    let [low, high] = only(8000.0, Whom::Everybody);
    // 6,000 mergings; 61 to 316 are lacking, and at most 6 are false.
    assert!((-351.0..-350.0).contains(&low) && high == 0.0, "{low} {high}");
    let by = |name: &str| at(&table("stock", name, &["1", "2", "*"], &[5000.0, 3000.0, 8000.0]), Whom::Everybody, 0).unwrap();
    // 250 second records at the party, 13 of them missed; of 3,750 mergings 197 are lacking, or twice as many.
    assert!((-21.0..-20.0).contains(&by("party")[0]), "{:?}", by("party"));
    assert!((-434.0..-433.0).contains(&by("sexe")[0]) && by("sexe")[1] > 0.0, "{:?}", by("sexe"));
    assert_eq!(by("composition-menage"), by("sexe"));
}

#[test]
fn one_partys_own_records_say_how_many_it_knows() {
    let [low, high] = only(400.0, Whom::OneParty);
    // 20 second records, one of them may be lacking or false.
    assert!((-4.0..-3.0).contains(&low) && (0.0..1.0).contains(&high), "{low} {high}");
    // But not how many of them have a value that another party may give.
    let table = table("stock", "sexe", &["1", "*"], &[400.0, 400.0]);
    assert_eq!(at(&table, Whom::OneParty, 1), Some([low, high]));
    assert_eq!(at(&table, Whom::OneParty, 0), Some(only(400.0, Whom::Population { parties: 1 })));
}

#[test]
fn persons_are_in_a_population_or_not_for_want_of_a_link() {
    let [low, high] = only(400.0, Whom::Population { parties: 1 });
    // 35 records of 700, or twice as many.
    assert!((-87.0..-86.0).contains(&low) && (86.0..89.0).contains(&high), "{low} {high}");
    let [low, high] = only(400.0, Whom::Population { parties: 2 });
    // 55 of 1,100.
    assert!((-131.0..-130.0).contains(&low) && (130.0..134.0).contains(&high), "{low} {high}");
    assert_eq!(only(11.0, Whom::Population { parties: 9 })[0], -11.0, "nobody is fewer than nobody");
}

#[test]
fn a_record_more_does_not_show_in_the_months_rates() {
    let of = |records: f64| {
        let run = RunRates { per_person: records / 8000.0, ..rates().runs[&"2024-01".parse().unwrap()] };
        ErrorRates::new([("2024-01".parse().unwrap(), run)])
    };
    assert_eq!(of(14_000.0), rates());
    assert_eq!(of(14_001.0), rates());
    assert_ne!(of(14_400.0), rates());
    assert_eq!(of(0.0), of(8000.0), "a person has a record");
}

#[test]
fn overlaps_lose_persons_to_smaller_ones() {
    let table = table("stock", "parties", &["ccas", "siao", "ccas + siao", "*"], &[4000.0, 3000.0, 1000.0, 8000.0]);
    let [single, _, both, _] = [0, 1, 2, 3].map(|cell| at(&table, Whom::Everybody, cell).unwrap());
    // Each record of a thousand persons of both comes off with 1/40, and may do twice as often.
    assert!((-120.0..-119.0).contains(&single[0]), "{single:?}");
    assert!((119.0..120.0).contains(&both[1]), "{both:?}");
    assert!(single[1] > 0.0 && single[1] < 10.0 && both[0] < 0.0 && both[0] > -10.0);
}

#[test]
fn entries_may_be_persons_known_before() {
    let [low, high] = at(&table("entries", "sexe", &["*"], &[200.0]), Whom::Everybody, 0).unwrap();
    assert!((-31.0..-29.0).contains(&low) && high > 0.0 && high < 2.0, "{low} {high}");
}

#[test]
fn without_a_model_or_estimates_there_is_no_interval() {
    let of = |measure: &str| table(measure, "sexe", &["?", "*"], &[500.0, 0.0]);
    for measure in ["durations", "sum", "transitions", "paths", "delays"] {
        assert_eq!(at(&table(measure, "sexe", &["*"], &[500.0]), Whom::Everybody, 0), None);
    }
    assert_eq!(at(&of("stock"), Whom::Everybody, 0), None, "unknown");
    assert_eq!(at(&of("stock"), Whom::Everybody, 1), None, "empty");
    let known = table("stock", "sexe", &["*"], &[500.0]);
    assert!(at(&known, Whom::Everybody, 0).is_some());
    assert_eq!(offsets(&known, Whom::Everybody, &[500.0], 0, &ErrorRates::default()), None);
    let households = PublicTable { unit: Unit::Households, ..known };
    assert_eq!(at(&households, Whom::Everybody, 0), None);
}

#[test]
fn what_changes_the_reading_is_flagged() {
    assert!(changes_reading(100.0, [85.0, 100.0], None, 1.0), "a tenth of the figure");
    assert!(!changes_reading(1000.0, [990.0, 1005.0], Some(998.0), 1.0));
    assert!(changes_reading(1000.0, [930.0, 1005.0], Some(940.0), 1.0), "a rise of 60 within 75");
    assert!(!changes_reading(1000.0, [980.0, 1005.0], Some(900.0), 1.0), "a rise of 100 is one");
    assert!(!changes_reading(11.0, [10.0, 12.0], None, 1.0), "rounding of small figures");
}
