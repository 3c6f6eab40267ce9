//! Cell-key noise against those who compare queries: with and without a person, again and again, by other words, in later
//! releases.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod population;

use std::collections::{BTreeMap, BTreeSet};

use linkage_cohort::disclosure::audit::{Ledger, remember};
use linkage_cohort::disclosure::cell_key::Noise;
use linkage_cohort::disclosure::{Policy, Published, protect, protect_beside};
use linkage_cohort::interval::{ErrorRates, Estimate, RunRates};
use linkage_cohort::{Category, Dimension, Figure, FigureTable, Method, PublicTable, Shown, Unit, Whom};
use population::{Population, Random};

const POLICY: Policy = Policy { method: Method::CellKey, minimum: 11, dominance_percent: 85, round_to: 1 };

/// Counts of sets of persons, given by their keys, and of one large set, so that some cell is always shown.
fn counts(sets: &[&[u64]]) -> FigureTable {
    let large: Vec<u64> = (0..500).map(|n| n * 7919 + 13).collect();
    let figure = |keys: &[u64]| Figure {
        units: keys.len() as u64,
        value: keys.len() as f64,
        key: keys.iter().fold(0, |sum, key| sum.wrapping_add(*key)),
        ..Figure::default()
    };
    let mut cells: Vec<Figure> = sets.iter().map(|keys| figure(keys)).collect();
    cells.push(figure(&large));
    let categories = (0..cells.len()).map(|n| Category::Value(n.to_string())).collect();
    let dimensions = vec![population::months(1), Dimension { name: "set".to_owned(), categories, partition: false }];
    FigureTable { unit: Unit::Persons, measure: "stock".to_owned(), whom: Whom::Everybody, dimensions, cells, notes: Vec::new() }
}

fn shown(table: &FigureTable, noise: &Noise<'_>) -> PublicTable {
    protect(table, "", &POLICY, &ErrorRates::default(), noise).unwrap()
}

fn value(cell: Shown) -> Option<f64> {
    match cell {
        Shown::Value { value, .. } => Some(value),
        _ => None,
    }
}

fn keys(random: &mut Random, number: u64) -> Vec<u64> {
    (0..number).map(|_| random.next()).collect()
}

#[test]
fn two_queries_that_differ_by_one_person_look_the_same() {
    let mut random = Random(11);
    let everybody = keys(&mut random, 2000);
    let (mut differ_with_ledger, mut differ_without, mut pairs) = (0, 0, 0);
    for round in 0..10_000u64 {
        let size = 1 + round % 120;
        let start = random.below(1800 - size) as usize;
        let (without, person) = (&everybody[start..start + size as usize], everybody[1999]);
        let with: Vec<u64> = without.iter().copied().chain([person]).collect();
        // Either may be asked for first.
        let (first, second): (&[u64], &[u64]) = if round % 2 == 0 { (without, &with) } else { (&with, without) };
        let mut ledger = Ledger::new(&everybody);
        let raw = counts(&[first]);
        let before = shown(&raw, &Noise::new());
        ledger.extend(remember(&raw, &before));
        let after = shown(&counts(&[second]), &Noise::new().beside(&ledger));
        differ_with_ledger += usize::from(before.cells[0] != after.cells[0]);
        let bare = shown(&counts(&[second]), &Noise::new());
        if size > 20 {
            pairs += 1;
            differ_without += usize::from(before.cells[0] != bare.cells[0]);
        }
    }
    println!(
        "cells that differ: {differ_with_ledger} of 10000 beside the ledger, {differ_without} of {pairs} large ones without"
    );
    // Whether the person counts changes nothing that can be seen: the odds stay what they were.
    assert_eq!(differ_with_ledger, 0);
    // What the ledger is for: without it nearly every such pair gives the person away.
    assert!(differ_without * 10 > pairs * 7, "{differ_without} of {pairs}");
}

/// Rates of a run, so that figures bear intervals.
fn rates() -> ErrorRates {
    let ends = |low, high| Estimate { low, high };
    let run = RunRates { precision: ends(0.995, 1.0), recall: ends(0.85, 0.97), linked_share: 0.4, per_person: 1.6 };
    ErrorRates::new([("2024-01".parse().unwrap(), run)])
}

#[test]
fn the_ends_of_an_interval_follow_from_what_is_shown() {
    let mut random = Random(21);
    let everybody = keys(&mut random, 400);
    let mut ends: BTreeMap<(bool, u64), [f64; 2]> = BTreeMap::new();
    let (mut cells, mut raw_counts) = (0, BTreeMap::<u64, BTreeSet<u64>>::new());
    for round in 0..4000u64 {
        let size = 8 + round % 60;
        let start = random.below(330) as usize;
        let population = round % 2 == 0;
        let whom = if population { Whom::Population { parties: 1 } } else { Whom::Everybody };
        let raw = FigureTable { whom, ..counts(&[&everybody[start..start + size as usize]]) };
        let made = protect(&raw, "", &POLICY, &rates(), &Noise::new()).unwrap();
        let Shown::Value { value, interval, .. } = made.cells[0] else { continue };
        let interval = interval.unwrap();
        // The same figure, the same interval, whatever the count behind it: nobody gets the count back out of it.
        assert_eq!(*ends.entry((population, value as u64)).or_insert(interval), interval, "{value}");
        raw_counts.entry(value as u64).or_default().insert(size);
        cells += 1;
    }
    assert!(cells > 3000 && raw_counts.values().filter(|counts| counts.len() > 3).count() > 30);
    assert!(ends.values().any(|[low, high]| high - low > 5.0));
}

#[test]
fn the_same_persons_bear_the_same_noise_whatever_the_query() {
    let mut random = Random(12);
    let people = Population::draw(&mut random, 600, &[3, 4]);
    let by = |breakdown: &[usize]| shown(&people.table("stock", breakdown), &Noise::new());
    let (one, both, other) = (by(&[0]), by(&[0, 1]), by(&[1, 0]));
    let asked_later = shown(&people.table("count", &[0]), &Noise::new());
    assert_eq!(one.cells, asked_later.cells);
    for first in 0..4 {
        assert_eq!(one.cell(&[0, first]), both.cell(&[0, first, 4]), "a margin");
        for second in 0..5 {
            assert_eq!(both.cell(&[0, first, second]), other.cell(&[0, second, first]));
        }
    }
}

#[test]
fn what_suppression_hid_stays_hidden_in_queries() {
    let people = Population::draw(&mut Random(13), 300, &[4, 5]);
    let raw = people.table("count", &[0, 1]);
    let report = Policy { method: Method::Suppression, ..POLICY };
    let before = protect(&raw, "", &report, &ErrorRates::default(), &Noise::new()).unwrap();
    let person_keys: Vec<u64> = people.persons.iter().map(|p| p.key).collect();
    let mut ledger = Ledger::new(&person_keys);
    ledger.extend(remember(&raw, &before));
    let published = [Published::of(&raw, &before)];
    let query =
        protect_beside(&published, &[(&raw, "")], &POLICY.for_query(), &ErrorRates::default(), &Noise::new().beside(&ledger));
    assert_eq!(query.unwrap()[0].cells, before.cells, "one set, one figure");
    assert!(before.cells.contains(&Shown::Hidden));
}

/// What an attacker gets who asks for a group within ever other sets, and for these without it, and takes the mean.
fn averaged(random: &mut Random, group: u64, pairs: usize, ledger: bool) -> f64 {
    let everybody = keys(random, 4000);
    let target = &everybody[..group as usize];
    let mut memory = Ledger::new(&everybody);
    let mut sum = 0.0;
    for _ in 0..pairs {
        let size = 40 + random.below(60);
        let start = (100 + random.below(3700)) as usize;
        let without = &everybody[start..start + size as usize];
        let with: Vec<u64> = without.iter().chain(target).copied().collect();
        let mut ask = |set: &[u64]| {
            let raw = counts(&[set]);
            let made = if ledger { shown(&raw, &Noise::new().beside(&memory)) } else { shown(&raw, &Noise::new()) };
            memory.extend(remember(&raw, &made));
            value(made.cells[0]).unwrap()
        };
        sum += ask(&with) - ask(without);
    }
    sum / pairs as f64
}

#[test]
fn averaging_over_many_queries_finds_groups_but_no_single_person() {
    let mut random = Random(14);
    let error = |random: &mut Random, group: u64, pairs: usize| {
        let squares: f64 = (0..200).map(|_| (averaged(random, group, pairs, true) - group as f64).powi(2)).sum();
        (squares / 200.0).sqrt()
    };
    for pairs in [1, 5, 10, 25, 50] {
        let rms = error(&mut random, 4, pairs);
        let expected = (2.0 * Noise::VARIANCE / pairs as f64).sqrt();
        println!("a group of 4 from {pairs} pairs: ±{rms:.2}, by theory ±{expected:.2}");
        assert!((rms / expected - 1.0).abs() < 0.2, "the documentation's figure: {rms} for {expected}");
    }
    for pairs in [1, 10, 50] {
        assert_eq!(averaged(&mut random, 1, pairs, true), 0.0, "a single person changes nothing, however often one asks");
    }
    let alone = averaged(&mut random, 1, 400, false);
    assert!((alone - 1.0).abs() < 0.6, "without the ledger the mean tends to the person: {alone}");
}

#[test]
fn a_hidden_cell_is_worked_out_no_better_than_the_noise_of_its_line() {
    let mut random = Random(15);
    let (mut squares, mut number) = (0.0, 0.0);
    for _ in 0..400 {
        let all = keys(&mut random, 166);
        let (small, rest) = all.split_at(6);
        let made = shown(&counts(&[&rest[..40], &rest[40..80], &rest[80..120], &rest[120..], small, &all]), &Noise::new());
        let values: Vec<Option<f64>> = made.cells.iter().map(|c| value(*c)).collect();
        assert_eq!(values[4], None);
        squares += (values[5].unwrap() - values[..4].iter().flatten().sum::<f64>() - 6.0).powi(2);
        number += 1.0;
    }
    // Four cells and a total: five noises.
    let (rms, theory) = (f64::sqrt(squares / number), (5.0 * Noise::VARIANCE).sqrt());
    println!("±{rms:.1} over {number} tables, by theory ±{theory:.1}");
    assert!((rms / theory - 1.0).abs() < 0.15, "{rms} of {theory}");
}

#[test]
fn sums_hide_their_largest_contributors() {
    let table = |largest: [u64; 2], value: f64| {
        let mut table = counts(&[&(1..=20).collect::<Vec<u64>>()]);
        table.measure = "sum".to_owned();
        table.cells[0].largest = largest;
        table.cells[0].value = value;
        table.cells[1].largest = [900, 800];
        table.cells[1].value = 250_000.0;
        table
    };
    for method in [Method::CellKey, Method::Suppression] {
        let cell = |largest, value| {
            let policy = Policy { method, ..POLICY };
            protect(&table(largest, value), "", &policy, &ErrorRates::default(), &Noise::new()).unwrap().cells[0]
        };
        assert_eq!(cell([9000, 100], 10_000.0), Shown::Hidden, "one contributor has nine tenths");
        assert_eq!(cell([6000, 3500], 10_000.0), Shown::Hidden, "the second knows the first to within 8 %");
        let Some(shown) = value(cell([1000, 900], 10_000.0)) else { panic!("hidden") };
        assert!((shown - 10_000.0).abs() <= 1250.0);
        assert!(method == Method::CellKey || shown == 10_000.0);
    }
}
