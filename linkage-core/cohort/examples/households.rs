//! Measures households against a known truth, or how fast they are resolved.
//!
//! `households ROWS.tsv` reads what docs/measures/households.py makes and prints, for each month and for true and for
//! real person links, how many households there are and how many are found. `households speed PERSONS MONTHS` resolves a
//! made-up population. docs/households.md has the figures.
#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use linkage_agreement::Period;
use linkage_cohort::households::{Ages, Composition, MonthHouseholds, MonthRows, Tracker};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["speed", persons, months] => speed(persons.parse().unwrap(), months.parse().unwrap()),
        [rows] => measure(&std::fs::read_to_string(rows).unwrap()),
        _ => println!("households ROWS.tsv, or households speed PERSONS MONTHS"),
    }
}

/// One record and what is true of it.
struct Record<'t> {
    party: u8,
    person: u32,
    linked: u32,
    reference: Option<u32>,
    born: &'t str,
    said: Option<Composition>,
    household: &'t str,
    composition: Option<Composition>,
}

/// Numbers for names, in the order in which they appear.
#[derive(Default)]
struct Numbers<K>(HashMap<K, u32>);

impl<K: std::hash::Hash + Eq> Numbers<K> {
    fn of(&mut self, name: K) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(name).or_insert(next)
    }
}

fn measure(text: &str) {
    let (mut parties, mut references) = (Numbers::default(), Numbers::default());
    let mut months: BTreeMap<Period, Vec<Record<'_>>> = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let &[month, party, person, linked, reference, born, said, household, composition] = cells.as_slice() else {
            panic!("{line}")
        };
        months.entry(month.parse().unwrap()).or_default().push(Record {
            party: parties.of(party) as u8,
            person: person.parse().unwrap(),
            linked: linked.parse().unwrap(),
            reference: (!reference.is_empty()).then(|| references.of((party, reference))),
            born,
            said: Composition::parse(said),
            household,
            composition: Composition::parse(composition),
        });
    }
    for (name, linked) in [("true links", false), ("real links", true)] {
        println!("\n{name}");
        println!(
            "month    persons true    found   error | expected  error | with a reference: true found error | remembered | classed right wrong unknown"
        );
        let mut tracker = Tracker::default();
        let mut numbers: HashMap<&str, BTreeSet<u32>> = HashMap::new();
        for (period, records) in &mut months {
            let person = |r: &Record<'_>| if linked { r.linked } else { r.person };
            records.sort_by_key(|r| (person(r), r.party));
            let made = resolve(&mut tracker, *period, parties.0.len(), records, person);
            report(*period, records, &made, person);
            for (record, number) in records.iter().zip(&made.rows) {
                numbers.entry(record.household).or_default().insert(*number);
            }
        }
        let steady = numbers.values().filter(|n| n.len() == 1).count();
        println!(
            "over all months: {} true households, {} numbers given; {:.1} % of the true ones bear one number throughout",
            numbers.len(),
            tracker.count(),
            100.0 * steady as f64 / numbers.len() as f64
        );
    }
}

fn resolve(
    tracker: &mut Tracker,
    period: Period,
    parties: usize,
    records: &[Record<'_>],
    person: impl Fn(&Record<'_>) -> u32,
) -> MonthHouseholds {
    tracker.month(&MonthRows {
        period,
        delivered: &vec![true; parties],
        person: &records.iter().map(person).collect::<Vec<_>>(),
        party: &records.iter().map(|r| r.party).collect::<Vec<_>>(),
        reference: &records.iter().map(|r| r.reference).collect::<Vec<_>>(),
        ages: &records.iter().map(|r| Ages::of_attribute(r.born, period)).collect::<Vec<_>>(),
        composition: &records.iter().map(|r| r.said).collect::<Vec<_>>(),
    })
}

fn report(period: Period, records: &[Record<'_>], made: &MonthHouseholds, person: impl Fn(&Record<'_>) -> u32) {
    let truth: BTreeSet<&str> = records.iter().map(|r| r.household).collect();
    let named: BTreeSet<&str> = records.iter().filter(|r| r.reference.is_some()).map(|r| r.household).collect();
    let found = made.households.len();
    let found_named = made.households.iter().filter(|h| h.referenced).count();
    let persons: BTreeSet<u32> = records.iter().map(person).collect();
    // A household's class is right when it is that of the true household of its first row.
    let first: HashMap<u32, Option<Composition>> =
        made.rows.iter().zip(records).rev().map(|(number, r)| (*number, r.composition)).collect();
    let (mut right, mut wrong, mut unknown) = (0, 0, 0);
    for household in &made.households {
        match household.composition {
            None => unknown += 1,
            class if class == first[&household.number] => right += 1,
            _ => wrong += 1,
        }
    }
    let error = |found: usize, truth: usize| 100.0 * (found as f64 / truth as f64 - 1.0);
    println!(
        "{period} {:8} {:5} {found:7} {:+6.2}% | {:8} {:+6.2}% | {:20} {found_named:6} {:+6.2}% | {:10} | {right:6} {wrong} {unknown}",
        persons.len(),
        truth.len(),
        error(found, truth.len()),
        made.expected(),
        error(made.expected() as usize, truth.len()),
        named.len(),
        error(found_named, named.len()),
        made.remembered,
    );
}

/// A made-up population: households of one to five, three parties that name parts of them and one without references.
fn speed(persons: u32, months: u32) {
    let mut tracker = Tracker::default();
    let mut period: Period = "2024-01".parse().unwrap();
    // A generator of Knuth's (MMIX); nothing here needs more.
    let mut state = 1u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..months {
        let mut rows: Vec<(u32, u8, Option<u32>, Ages)> = Vec::new();
        let (mut first, mut household) = (0u32, 0u32);
        while first < persons {
            let size = 1 + (household * 7) % 5;
            for person in first..(first + size).min(persons) {
                let age = if person < first + 2 { 35 } else { 8 };
                let before = rows.len();
                for party in 0..4u8 {
                    if draw(100) < [45, 30, 30, 25][usize::from(party)] {
                        rows.push((
                            person,
                            party,
                            (party < 3).then(|| household * 3 + u32::from(party)),
                            Ages::between(age, age),
                        ));
                    }
                }
                if rows.len() == before {
                    rows.push((person, 0, Some(household * 3), Ages::between(age, age)));
                }
            }
            first += size;
            household += 1;
        }
        let person: Vec<u32> = rows.iter().map(|r| r.0).collect();
        let party: Vec<u8> = rows.iter().map(|r| r.1).collect();
        let reference: Vec<Option<u32>> = rows.iter().map(|r| r.2).collect();
        let ages: Vec<Ages> = rows.iter().map(|r| r.3).collect();
        let start = Instant::now();
        let made = tracker.month(&MonthRows {
            period,
            delivered: &[true; 4],
            person: &person,
            party: &party,
            reference: &reference,
            ages: &ages,
            composition: &vec![None; rows.len()],
        });
        println!(
            "{period} {} rows, {persons} persons, {} true and {} found households: {:.2} s",
            rows.len(),
            household,
            made.households.len(),
            start.elapsed().as_secs_f64()
        );
        period = period.next();
    }
}
