//! The engine against a second evaluation that shares no code with it, over random studies and queries.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "query/naive.rs"]
mod naive;

use linkage_agreement::model::Rule;
use linkage_cohort::query::{Condition, Grain, Measure, Population, Query, Range, When, evaluate};
use linkage_cohort::study::Row;
use linkage_cohort::{Category, FigureTable, Unit};
use naive::{MonthRows, Naive, Rows, attribute};

const PARTIES: [&str; 3] = ["siao", "caf", "ccas"];

/// Numbers that look random (Steele, Lea, Flood 2014, SplitMix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (number ^ (number >> 31)) % bound
    }
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
    fn of<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize].clone()
    }
}

fn rows(draw: &mut Draw) -> Rows {
    let attributes = vec![
        attribute("sexe", Rule::Code { values: ["1", "2"].map(str::to_owned).to_vec() }, &["2", "1"]),
        attribute("date_naissance", Rule::Year, &["2000", "1950", "1980", "1995", "1898"]),
        attribute("nb_enfants", Rule::Count { max: 12 }, &["3", "0", "12", "1"]),
    ];
    let persons = 1 + draw.below(9) as u32;
    let households = 1 + draw.below(4) as u32;
    let mut months = Vec::new();
    let mut index = draw.below(4) as u32;
    let faulty = draw.chance(50);
    for _ in 0..=draw.below(6) {
        let delivered: Vec<bool> = PARTIES.iter().map(|_| !(faulty && draw.chance(15))).collect();
        let mut rows = Vec::new();
        for person in 0..persons {
            for (party, delivered) in (0u8..).zip(&delivered) {
                let records = if draw.chance(35) { 1 + u32::from(draw.chance(10)) } else { 0 };
                for record in 0..if *delivered { records } else { 0 } {
                    let codes = [2, 5, 4].map(|values| (!draw.chance(25)).then(|| draw.below(values) as u16));
                    rows.push(Row {
                        person,
                        party,
                        record: person * 10 + u32::from(party) * 3 + record,
                        household: (!draw.chance(15)).then(|| draw.below(households.into()) as u32),
                        match_class: draw.below(3) as u8,
                        probability: draw.below(10_001) as u16,
                        attributes: codes.to_vec(),
                    });
                }
            }
        }
        let compositions = (0..households).map(|_| (!draw.chance(20)).then(|| draw.below(2) as u8)).collect();
        months.push(MonthRows { period: format!("{}-{:02}", 2023 + index / 12, index % 12 + 1), delivered, rows, compositions });
        index += 1 + u32::from(faulty && draw.chance(15));
    }
    let classes = ["seul", "famille"].map(str::to_owned).to_vec();
    Rows { parties: PARTIES.map(str::to_owned).to_vec(), attributes, persons, households, classes, months }
}

fn population(draw: &mut Draw, rows: &Rows, depth: u32) -> Population {
    let many = |draw: &mut Draw| (0..=draw.below(2)).map(|_| population(draw, rows, depth + 1)).collect();
    match if depth > 2 { 9 } else { draw.below(10) } {
        0..=1 => Population::All { all: many(draw) },
        2..=3 => Population::Any { any: many(draw) },
        4 => Population::Not { not: Box::new(population(draw, rows, depth + 1)) },
        _ => {
            let mut condition = Condition { party: None, attributes: [].into(), when: When::Same, period: None };
            condition.party = draw.chance(60).then(|| draw.of(&PARTIES).parse().unwrap());
            if draw.chance(40) {
                condition.attributes.insert("sexe".to_owned(), vec![draw.of(&["1", "2"]).to_owned()]);
            }
            if draw.chance(15) {
                condition.attributes.insert("nb_enfants".to_owned(), vec!["3".to_owned(), "7".to_owned(), "0".to_owned()]);
            }
            condition.when =
                draw.of(&[When::Same, When::Same, When::Same, When::Previous, When::Before, When::After, When::Ever]);
            let complete: Vec<&MonthRows> = rows.months.iter().filter(|m| m.delivered.iter().all(|d| *d)).collect();
            if draw.chance(10) && !complete.is_empty() {
                condition.when = When::Same;
                condition.period = Some(draw.of(&complete).period.parse().unwrap());
            }
            Population::Record(condition)
        }
    }
}

fn query(draw: &mut Draw, rows: &Rows, measure: Measure) -> Option<Query> {
    let (a, b) = (draw.below(rows.months.len() as u64) as usize, draw.below(rows.months.len() as u64) as usize);
    let month = |at: usize| rows.months[at].period.parse().unwrap();
    let mut breakdown = Vec::new();
    let states = matches!(measure, Measure::Transitions | Measure::Paths);
    for name in ["party", "parties", "age", "sexe", "sex", "composition-menage", "nb_enfants"] {
        if draw.chance(25) && !(states && name.starts_with("part")) && breakdown.len() < 3 {
            breakdown.insert(draw.below(breakdown.len() as u64 + 1) as usize, name.to_owned());
        }
    }
    let of = match measure {
        Measure::Sum => Some("nb_enfants".to_owned()),
        Measure::Transitions if draw.chance(50) => Some("sexe".to_owned()),
        _ => None,
    };
    let query = Query {
        title: "Essai".to_owned(),
        unit: draw.of(&[Unit::Persons, Unit::Persons, Unit::Households]),
        measure,
        of,
        periods: Range { from: month(a.min(b)), to: month(a.max(b)) },
        grain: draw.of(&[Grain::Month, Grain::Quarter, Grain::Year]),
        breakdown,
        population: draw.chance(60).then(|| population(draw, rows, 0)),
    };
    let periods = Naive { rows, query: &query }.periods().len();
    (measure != Measure::Transitions || periods > 1).then_some(query)
}

/// Every cell's categories, in the order of cells.
fn labels(table: &FigureTable) -> Vec<Vec<Category>> {
    let mut labels: Vec<Vec<Category>> = vec![Vec::new()];
    for dimension in &table.dimensions {
        let extend =
            |label: Vec<Category>| dimension.categories.iter().map(move |c| label.iter().chain([c]).cloned().collect::<Vec<_>>());
        labels = labels.into_iter().flat_map(extend).collect();
    }
    labels
}

fn agree(seed: u64, measure: Measure) -> u64 {
    let mut draw = Draw(seed.wrapping_mul(0x1000_0001) ^ measure as u64);
    let rows = rows(&mut draw);
    let Some(query) = query(&mut draw, &rows, measure) else { return 0 };
    let (study, given, keys) = (rows.study(), rows.given(), rows.keys());
    let table = evaluate(&query, &study, given.inputs(&keys)).unwrap();
    let naive = Naive { rows: &rows, query: &query };
    let labels = labels(&table);
    assert_eq!(labels.len(), table.cells.len());
    for (label, cell) in labels.iter().zip(&table.cells) {
        let (mut wanted, key_told) = naive.figure(label, &keys);
        if !key_told {
            wanted.key = cell.key;
        }
        assert_eq!(*cell, wanted, "seed {seed}, {label:?}, {}", query.to_toml().unwrap());
    }
    table.cells.iter().filter(|cell| cell.units > 0).count() as u64
}

/// The engine and the plain evaluation give the same cells, whatever is asked; and most of what is asked has an answer.
fn all_agree(measure: Measure) {
    let filled: u64 = (0..1000).map(|seed| agree(seed, measure)).sum();
    assert!(filled > 500, "{filled}");
}

#[test]
fn counts_agree() {
    all_agree(Measure::Count);
}
#[test]
fn stocks_agree() {
    all_agree(Measure::Stock);
}
#[test]
fn entries_agree() {
    all_agree(Measure::Entries);
}
#[test]
fn exits_agree() {
    all_agree(Measure::Exits);
}
#[test]
fn returns_agree() {
    all_agree(Measure::Returns);
}
#[test]
fn durations_agree() {
    all_agree(Measure::Durations);
}
#[test]
fn transitions_agree() {
    all_agree(Measure::Transitions);
}
#[test]
fn paths_agree() {
    all_agree(Measure::Paths);
}
#[test]
fn sums_agree() {
    all_agree(Measure::Sum);
}
