//! Cell-key noise against those who compare queries: with and without a person, again and again, by other words, in later
//! releases.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod population;

use std::collections::{BTreeMap, BTreeSet};

use linkage_cohort::disclosure::audit::{FURTHEST, Ledger};
use linkage_cohort::disclosure::cell_key::Noise;
use linkage_cohort::disclosure::{Policy, Protected, Published, Refused, protect, protect_beside};
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
    FigureTable {
        unit: Unit::Persons,
        measure: "stock".to_owned(),
        of: None,
        whom: Whom::Everybody,
        population: 0,
        dimensions,
        cells,
        notes: Vec::new(),
    }
}

fn answered(table: &FigureTable, policy: &Policy, noise: &Noise<'_>) -> Protected {
    protect_beside(&[], &[(table, "")], policy, &ErrorRates::default(), noise).unwrap().remove(0)
}

fn shown(table: &FigureTable, noise: &Noise<'_>) -> PublicTable {
    answered(table, &POLICY, noise).table
}

/// Asks beside a ledger, and remembers what was shown.
fn ask(table: &FigureTable, ledger: &mut Ledger) -> PublicTable {
    let made = answered(table, &POLICY, &Noise::new().beside(ledger));
    ledger.extend(made.remembered);
    made.table
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
        let before = ask(&raw, &mut ledger);
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
    let before = answered(&raw, &report, &Noise::new());
    let person_keys: Vec<u64> = people.persons.iter().map(|p| p.key).collect();
    let mut ledger = Ledger::new(&person_keys);
    ledger.extend(before.remembered);
    let published = [Published::of(&raw, &before.table, 0)];
    let noise = Noise::new().beside(&ledger);
    let query = protect_beside(&published, &[(&raw, "")], &POLICY.for_query(), &ErrorRates::default(), &noise).unwrap();
    for ((figure, report), query) in raw.cells.iter().zip(&before.table.cells).zip(&query[0].table.cells) {
        assert!(report == query || figure.units == 0, "one set, one figure");
    }
    assert!(before.table.cells.contains(&Shown::Hidden));
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
        let mut asked = |set: &[u64]| {
            let raw = counts(&[set]);
            let made = if ledger { ask(&raw, &mut memory) } else { shown(&raw, &Noise::new()) };
            value(made.cells[0]).unwrap()
        };
        sum += asked(&with) - asked(without);
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

/// A population that somebody composed, in place of everybody.
fn composed(table: FigureTable) -> FigureTable {
    FigureTable { whom: Whom::Population { parties: 1 }, ..table }
}

#[test]
fn nobody_and_a_few_look_alike() {
    let few: Vec<u64> = keys(&mut Random(31), 9);
    for number in 0..few.len() {
        let of = |sets: &[&[u64]]| shown(&composed(counts(sets)), &Noise::new()).cells;
        assert_eq!(of(&[&[]]), of(&[&few[..number]]), "{number}");
        // Nothing but these: refused in the same words.
        let alone = |set: &[u64]| {
            let mut table = composed(counts(&[set]));
            table.dimensions[1].categories.pop();
            table.cells.pop();
            protect(&table, "", &POLICY, &ErrorRates::default(), &Noise::new())
        };
        assert_eq!(alone(&few[..number]), Err(Refused::AllHidden { minimum: 11 }));
    }
}

#[test]
fn empty_cells_of_everybody_are_shown_within_lines_that_are() {
    let mut random = Random(32);
    let (mut empty, mut told) = (0, 0);
    for round in 0..200 {
        let people = Population::draw(&mut random, 60 + round, &[5, 6]);
        let raw = people.table("stock", &[0, 1]);
        let made = shown(&raw, &Noise::new());
        for (first, second) in (0..6).flat_map(|first| (0..7).map(move |second| (first, second))) {
            if raw.cell(&[0, first, second]).unwrap().units > 0 {
                continue;
            }
            let lines = [made.cell(&[0, first, 6]).unwrap(), made.cell(&[0, 5, second]).unwrap()];
            let shown = made.cell(&[0, first, second]) == Some(Shown::Value { value: 0.0, interval: None, uncertain: false });
            assert_eq!(shown, lines.iter().all(|line| *line != Shown::Hidden), "round {round}, {first}, {second}");
            empty += 1;
            told += usize::from(shown);
        }
        assert!(!shown(&composed(raw), &Noise::new()).cells.iter().any(|cell| value(*cell) == Some(0.0)));
    }
    println!("{told} of {empty} empty cells are shown as empty");
    assert!(told * 4 > empty, "{told} of {empty}");
}

#[test]
fn a_line_is_not_there_for_one_person() {
    let mut random = Random(33);
    let everybody = keys(&mut random, 300);
    let figure = |keys: &[u64]| counts(&[keys]).cells[0];
    let total = |parts: &[&[u64]]| figure(&parts.concat());
    let mut differ = 0;
    for round in 0..300u64 {
        let (many, rest) = everybody.split_at(20 + round as usize % 200);
        let (some, rest) = rest.split_at(30);
        let few = &rest[..(round % 9) as usize];
        // The person's combination is nobody else's: with it, a line more.
        let table = |with: bool| {
            let person: &[u64] = if with { &rest[49..50] } else { &[] };
            let mut names = vec!["ccas", "siao"];
            let mut sets: Vec<&[u64]> = vec![many, some];
            for (name, set) in [("caf", few), ("caf + ccas", person)] {
                if !set.is_empty() {
                    names.push(name);
                    sets.push(set);
                }
            }
            let mut cells: Vec<Figure> = sets.iter().map(|set| figure(set)).collect();
            cells.push(total(&sets));
            let categories = names.iter().map(|name| Category::Value((*name).to_owned())).chain([Category::Total]).collect();
            let parties = Dimension { name: "parties".to_owned(), categories, partition: true };
            composed(FigureTable { dimensions: vec![population::months(1), parties], cells, ..counts(&[]) })
        };
        let mut ledger = Ledger::new(&everybody);
        let first = ask(&table(round % 2 == 0), &mut ledger);
        let second = ask(&table(round % 2 == 1), &mut ledger);
        differ += usize::from(first != second);
        let names: Vec<&Category> = first.dimensions[1].categories.iter().collect();
        assert!(names.contains(&&Category::Others) && first.cells.len() == names.len());
    }
    assert_eq!(differ, 0);
}

#[test]
fn two_queries_that_differ_by_one_household_look_the_same() {
    let mut random = Random(34);
    let persons = keys(&mut random, 3000);
    let mut left = persons.as_slice();
    let mut households = Vec::new();
    while left.len() > 5 {
        let (household, rest) = left.split_at(1 + random.below(5) as usize);
        households.push(household.iter().fold(0u64, |sum, key| sum.wrapping_add(*key)));
        left = rest;
    }
    let (mut differ, mut without_keys) = (0, 0);
    for round in 0..2000u64 {
        let size = 12 + round % 100;
        let start = random.below(700) as usize;
        let (without, one) = (&households[start..start + size as usize], households[households.len() - 1 - round as usize % 50]);
        let with: Vec<u64> = without.iter().copied().chain([one]).collect();
        let of = |set: &[u64]| FigureTable { unit: Unit::Households, ..counts(&[set]) };
        let mut ledger = Ledger::new(&persons);
        let alone = ask(&of(without), &mut ledger);
        without_keys += usize::from(alone.cells[0] != shown(&of(&with), &Noise::new().beside(&ledger)).cells[0]);
        ledger.know_households(&households);
        differ += usize::from(alone.cells[0] != shown(&of(&with), &Noise::new().beside(&ledger)).cells[0]);
    }
    println!("pairs of households that differ: {differ} of 2000 with their keys, {without_keys} without");
    assert_eq!(differ, 0);
    assert!(without_keys > 800, "{without_keys}");
}

/// A ladder: a group, and the same less one known member, less two, and so on until the figure changes. Steps down, the figure
/// before and the one after, and how many there were then.
fn ladder(everybody: &[u64], start: usize, size: usize) -> (usize, f64, Option<f64>, usize) {
    let mut ledger = Ledger::new(everybody);
    let mut asked = |size: usize| value(ask(&composed(counts(&[&everybody[start..start + size]])), &mut ledger).cells[0]);
    let Some(first) = asked(size) else { return (0, 0.0, None, size) };
    for step in 1..=size {
        let now = asked(size - step);
        if now != Some(first) {
            return (step, first, now, size - step);
        }
    }
    (size, first, None, 0)
}

#[test]
fn a_ladder_of_sets_does_not_count_them() {
    let mut random = Random(35);
    let everybody = keys(&mut random, 4000);
    // How far the figure lies from the count where it changes: who knew that would know the count.
    let (mut large, mut small) = (BTreeMap::<i64, usize>::new(), BTreeMap::<usize, usize>::new());
    let mut longest = 0;
    for round in 0..2000 {
        let start = random.below(3800) as usize;
        let (steps, figure, after, count) = ladder(&everybody, start, 30 + round % 100);
        // One person less always looks the same. (Where a chain breaks and draws the same figure by chance, it goes on.)
        assert!(steps >= 2, "{steps}");
        longest = longest.max(steps);
        if after.is_some() {
            *large.entry(figure as i64 - count as i64).or_default() += 1;
        }
        let (steps, _, after, count) = ladder(&everybody, start, 13 + round % 10);
        if steps > 0 && after.is_none() {
            // The last one shown was of ten at least, though the minimum is eleven: one less must look the same.
            assert!(count + 1 >= 10, "{count}");
            *small.entry(count).or_default() += 1;
        }
    }
    let share = |most: usize, all: usize| most as f64 / all as f64;
    let guessed = share(*large.values().max().unwrap(), large.values().sum());
    let guessed_small = share(*small.values().max().unwrap(), small.values().sum());
    println!("the count at the step that changes, guessed from the figure: {:.0} %", 100.0 * guessed);
    println!("the count at the step that hides: {small:?}, the likeliest in {:.0} %", 100.0 * guessed_small);
    assert!(guessed < 0.25, "{guessed}: {large:?}");
    assert!(longest > FURTHEST as usize, "reaches are drawn up to it: {longest}");
    assert!(guessed_small < 0.6, "{guessed_small}");
}

#[test]
fn figures_of_the_same_persons_are_not_taken_for_one_another() {
    let everybody = keys(&mut Random(36), 40);
    let mut ledger = Ledger::new(&everybody);
    let mut sum = |of: &str, value: f64| {
        let mut table = counts(&[&everybody]);
        (table.measure, table.of) = ("sum".to_owned(), Some(of.to_owned()));
        (table.cells[0].value, table.cells[0].largest) = (value, [900, 800]);
        (table.cells[1].value, table.cells[1].largest) = (250_000.0, [900, 800]);
        ask(&table, &mut ledger).cells[0]
    };
    let children = value(sum("nb_enfants", 10_000.0)).unwrap();
    assert_eq!(value(sum("nb_enfants", 10_000.0)), Some(children));
    assert_ne!(value(sum("ressources", 10_500.0)), Some(children), "another attribute");
    let mut ledger = Ledger::new(&everybody);
    let mut median = |months: f64| {
        let mut table = counts(&[&everybody]);
        table.measure = "durations".to_owned();
        table.cells.iter_mut().for_each(|cell| cell.value = months);
        value(ask(&table, &mut ledger).cells[0])
    };
    assert_eq!([3.0, 4.0, 12.0, 3.0].map(&mut median), [Some(3.0), Some(3.0), Some(12.0), Some(3.0)], "stays of another year");
}
