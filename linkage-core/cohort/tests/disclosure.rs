//! Suppression against the attacker that solves the whole linear system: thousands of random tables, none of whose
//! hidden cells may be recovered, nor small ones be bounded more closely than the minimum allows.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod attacker;
mod population;

use attacker::{attack, truth};
use linkage_cohort::disclosure::cell_key::Noise;
use linkage_cohort::disclosure::{Policy, Published, Refused, protect_beside, protect_together};
use linkage_cohort::interval::ErrorRates;
use linkage_cohort::{FigureTable, Method, PublicTable, Shown};
use population::{Breakdown, Population, Random};

const MINIMUM: f64 = 11.0;
const POLICY: Policy = Policy { method: Method::Suppression, minimum: 11, dominance_percent: 85, round_to: 1 };

fn protect(tables: &[&FigureTable], published: &[Published]) -> Result<Vec<PublicTable>, Refused> {
    let tables: Vec<(&FigureTable, &str)> = tables.iter().map(|t| (*t, "")).collect();
    let made = protect_beside(published, &tables, &POLICY, &ErrorRates::default(), &Noise::new())?;
    Ok(made.into_iter().map(|made| made.table).collect())
}

/// What happened over many tables.
#[derive(Debug, Default)]
struct Tally {
    tables: usize,
    refused: usize,
    cells: usize,
    small: usize,
    hidden: usize,
    recovered: usize,
    bounded: usize,
}

impl Tally {
    /// Attacks what was shown of tables and counts the attacker's successes.
    fn attack(&mut self, raw: &[&FigureTable], shown: &[PublicTable]) {
        let truth = truth(&raw.iter().copied().zip(shown).collect::<Vec<_>>());
        let found = attack(shown);
        self.tables += 1;
        self.cells +=
            shown.iter().flat_map(|t| &t.cells).filter(|c| !matches!(c, Shown::Value { value, .. } if *value == 0.0)).count();
        self.small += truth.values().filter(|v| **v > 0.0 && **v < MINIMUM).count();
        self.hidden += found.len();
        for (meaning, finding) in &found {
            let value = truth[meaning];
            assert!(
                finding.least <= value + 1e-6 && value <= finding.most + 1e-6,
                "the attacker errs: {meaning} {finding:?} {value}"
            );
            if finding.solved || finding.most - finding.least < 1e-6 {
                self.recovered += 1;
            }
            if value < MINIMUM && (finding.most < MINIMUM - 1e-6 || finding.most - finding.least < MINIMUM - 1.0 - 1e-6) {
                self.bounded += 1;
            }
        }
        for (table, shown) in raw.iter().zip(shown) {
            for (figure, shown) in table.cells.iter().zip(&shown.cells) {
                assert!(!matches!(shown, Shown::Value { value, .. } if *value > 0.0 && *value < MINIMUM), "{figure:?}");
            }
        }
    }
    fn run(&mut self, raw: &[&FigureTable]) {
        match protect(raw, &[]) {
            Ok(shown) => self.attack(raw, &shown),
            Err(Refused::AllHidden { .. }) => self.refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    fn holds(&self) {
        println!("{self:?}");
        assert_eq!((self.recovered, self.bounded), (0, 0), "{self:?}");
        assert!(self.small > self.tables, "tables without small cells prove nothing: {self:?}");
        assert!(self.refused * 4 < self.tables, "{self:?}");
    }
}

#[test]
fn a_thousand_random_tables_give_nothing_away() {
    let mut random = Random(1);
    let mut tally = Tally::default();
    for round in 0..1000 {
        let people = Population::draw(&mut random, 40 + 4 * (round % 200), &[4, 3, 2]);
        let breakdown: &[usize] = if round % 2 == 0 { &[0, 1] } else { &[0, 1, 2] };
        tally.run(&[&people.table("count", breakdown)]);
    }
    tally.holds();
}

#[test]
fn the_attacker_breaks_tables_whose_small_cells_alone_are_hidden() {
    let mut random = Random(2);
    let mut tally = Tally::default();
    for _ in 0..100 {
        let people = Population::draw(&mut random, 300, &[4, 5]);
        let raw = people.table("count", &[0, 1]);
        let mut shown = protect(&[&raw], &[]).unwrap();
        for (figure, cell) in raw.cells.iter().zip(&mut shown[0].cells) {
            if figure.units == 0 || figure.units >= 11 {
                *cell = Shown::Value { value: figure.value, interval: None, uncertain: false };
            }
        }
        tally.attack(&[&raw], &shown);
    }
    assert!(tally.recovered > 30 && tally.bounded > 200, "{tally:?}");
}

#[test]
fn pairs_of_tables_shown_together_give_nothing_away() {
    let mut random = Random(3);
    let mut tally = Tally::default();
    for round in 0..500 {
        let people = Population::draw(&mut random, 100 + 2 * (round % 200), &[3, 4, 3]);
        tally.run(&[&people.table("count", &[0, 1]), &people.table("count", &[1, 2])]);
    }
    tally.holds();
}

#[test]
fn pairs_of_tables_shown_one_after_the_other_give_nothing_away() {
    let mut random = Random(4);
    let mut tally = Tally::default();
    let mut conflicts = 0;
    for round in 0..500 {
        let people = Population::draw(&mut random, 150 + 2 * (round % 200), &[3, 4, 3]);
        let (first, second) = (people.table("count", &[0, 1]), people.table("count", &[1, 2]));
        let Ok(before) = protect(&[&first], &[]) else { continue };
        match protect(&[&second], &[Published::of(&first, &before[0], 0)]) {
            Ok(after) => tally.attack(&[&first, &second], &[before[0].clone(), after[0].clone()]),
            Err(Refused::AllHidden { .. } | Refused::Conflict { .. }) => conflicts += 1,
            Err(other) => panic!("{other}"),
        }
    }
    println!("{conflicts} refused");
    assert!(conflicts < 150, "{conflicts}");
    tally.holds();
}

#[test]
fn drafts_that_do_not_know_each_other_give_cells_away() {
    let mut random = Random(4);
    let mut tally = Tally::default();
    for round in 0..100 {
        let people = Population::draw(&mut random, 150 + 2 * (round % 200), &[3, 4, 3]);
        // One table, and the same with a further breakdown.
        let (first, second) = (people.table("count", &[0, 1]), people.table("count", &[0, 1, 2]));
        if let (Ok(one), Ok(other)) = (protect(&[&first], &[]), protect(&[&second], &[])) {
            tally.attack(&[&first, &second], &[one[0].clone(), other[0].clone()]);
        }
    }
    println!("{tally:?}");
    assert!(tally.recovered + tally.bounded > 0, "why every report answered is kept: {tally:?}");
}

#[test]
fn parties_that_share_persons_give_nothing_away() {
    let mut random = Random(5);
    let mut tally = Tally::default();
    for round in 0..300 {
        let people = Population::draw(&mut random, 40 + 2 * (round % 200), &[3]);
        tally.run(&[&people.parties_table(Breakdown { attribute: 0, parties: 4 })]);
    }
    tally.holds();
}

#[test]
fn stock_and_flows_of_one_report_give_nothing_away() {
    let mut random = Random(6);
    let mut tally = Tally::default();
    for round in 0..100 {
        let people = Population::draw(&mut random, 200 + 5 * (round % 100), &[3]);
        let tables = people.flows(5);
        let raw: Vec<&FigureTable> = if round % 2 == 0 { tables.iter().collect() } else { tables.iter().take(3).collect() };
        tally.run(&raw);
    }
    tally.holds();
}

#[test]
fn the_same_tables_are_hidden_alike_again_and_again() {
    let people = Population::draw(&mut Random(7), 300, &[4, 5]);
    let raw = people.table("count", &[0, 1]);
    let first = protect(&[&raw], &[]).unwrap();
    let again = protect(&[&raw], &[Published::of(&raw, &first[0], 0)]).unwrap();
    assert_eq!(first, again);
    let together = protect_together(&[(&raw, ""), (&raw, "")], &POLICY, &ErrorRates::default(), &Noise::new()).unwrap();
    assert_eq!(together, [first[0].clone(), first[0].clone()]);
}
