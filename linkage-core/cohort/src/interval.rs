//! Linkage-error intervals: how far missed and false links may have moved a figure.
//!
//! The broker estimates, without labels, which share of linked pairs is right (precision P) and which share of right pairs
//! is linked (recall Q), each with an interval. What that does to a figure depends on what is counted:
//!
//! * **Distinct persons** (`stock`, `count`): n persons of R records are `L = R - n` mergings. Of these at most `L (1 - P)`
//!   are false, and `L (1/Q - 1)` are lacking: a missed link counts a person twice.
//! * **Distinct persons of one party**: what is linked elsewhere changes nothing; only second records in the party's own list
//!   can be missed or wrongly found.
//! * **Distinct persons of a population**: a record of it may have come off its person, or another off it (below, 2ε a
//!   record), so that a unit is in the population that should not be, or is not in it.
//! * **Overlaps** (cells of the dimension `parties`): a person of k parties is k(k-1)/2 pairs, and a record that comes off
//!   loses k-1 of them, so that each record comes off with ε = (1 - Q)/2. A cell of k parties loses kε of its persons to
//!   cells of fewer parties, and gains ε of each cell of one party more; a single party's cell gains from every cell that
//!   the party is in, twice from those of two.
//! * **Entries, returns, exits**: a record that is not linked to the person that it belongs to begins a person that does
//!   not exist, or ends one that goes on. Where a share s of all records is linked, each unit found so stands for
//!   s/(1-s) that were linked, of which 1/Q - 1 were missed.
//!
//! Errors fall where they fall: to the number expected comes its own chance (Poisson, 1.96 standard deviations), and what
//! is broken down may have none of its share of errors or twice it. Whether the intervals hold the truth is measured in
//! docs/cohort-quality.md. Durations, sums, transitions, paths, delays, households and persons whose value is unknown have
//! none: there is no model of them.

use std::collections::{BTreeMap, BTreeSet};

use linkage_agreement::Period;
use serde::{Deserialize, Serialize};

use crate::figures::{Category, Figure, FigureTable, Unit};
use crate::public::{PublicTable, Shown};

/// An estimate of the run's report: the ends of its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What the broker's report of one run estimates of its links, over pairs of two parties.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RunRates {
    /// Share of linked pairs that are right.
    pub precision: Estimate,
    /// Share of right pairs that are linked.
    pub recall: Estimate,
    /// Share of records that are linked to another one.
    pub linked_share: f64,
    /// Records that the study holds of the month: a figure that rests on all of them is known to be of everybody. 0 where
    /// that is not known.
    pub records: u64,
}

/// Estimates by month. Without any, figures bear no interval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorRates {
    runs: BTreeMap<Period, RunRates>,
}

/// Below this an estimate says nothing: an interval would be without end.
const LEAST: f64 = 0.05;

impl ErrorRates {
    /// The estimates of the runs of these months.
    pub fn new(runs: impl IntoIterator<Item = (Period, RunRates)>) -> Self {
        Self { runs: runs.into_iter().collect() }
    }
    /// Those of a month; of a longer period, the widest of all.
    fn of(&self, period: Option<&Category>) -> Option<RunRates> {
        if let Some(Category::Value(text)) = period
            && let Ok(month) = text.parse::<Period>()
        {
            return self.runs.get(&month).copied();
        }
        let wider = |a: Estimate, b: Estimate| Estimate { low: a.low.min(b.low), high: a.high.max(b.high) };
        self.runs.values().copied().reduce(|a, b| RunRates {
            precision: wider(a.precision, b.precision),
            recall: wider(a.recall, b.recall),
            linked_share: a.linked_share.max(b.linked_share),
            // Months are not of one size: a figure of the smallest one's everybody is of everybody.
            records: a.records.min(b.records),
        })
    }
}

/// Gives every figure shown its interval, and flags those whose interval changes the reading.
pub(crate) fn attach(raw: &FigureTable, shown: &mut PublicTable, errors: &ErrorRates, round_to: u64) {
    let hidden = shown.minimum as f64;
    let public: Vec<f64> = shown.cells.iter().map(|cell| value_of(cell).unwrap_or(hidden)).collect();
    let offsets: Vec<Option<[f64; 2]>> = (0..raw.cells.len()).map(|at| offsets(raw, &public, at, errors)).collect();
    let base = round_to.max(1) as f64;
    for (cell, offset) in shown.cells.iter_mut().zip(&offsets) {
        if let Shown::Value { value, interval, .. } = cell {
            *interval = offset
                .map(|[low, high]| [(((*value + low) / base).floor() * base).max(0.0), ((*value + high) / base).ceil() * base]);
        }
    }
    let stride: usize = raw.dimensions.iter().skip(1).map(|d| d.categories.len()).product();
    let values: Vec<Option<f64>> = shown.cells.iter().map(value_of).collect();
    for (at, cell) in shown.cells.iter_mut().enumerate() {
        let before = at.checked_sub(stride).and_then(|at| values.get(at)).copied().flatten();
        if let Shown::Value { value, interval: Some(interval), uncertain } = cell {
            *uncertain = changes_reading(*value, *interval, before, base);
        }
    }
}

fn value_of(cell: &Shown) -> Option<f64> {
    match cell {
        Shown::Value { value, .. } => Some(*value),
        Shown::Hidden | Shown::Missing => None,
    }
}

/// Share of a figure from which an interval's width, and from which a change, matters.
const WIDE: f64 = 0.10;
const REMARKABLE: f64 = 0.05;

/// Whether an interval is wider than a tenth of the figure (and than what rounding makes of any interval), or as wide as a
/// change since the period before that one would remark on, a twentieth or more.
fn changes_reading(value: f64, [low, high]: [f64; 2], before: Option<f64>, base: f64) -> bool {
    let width = high - low;
    let change = before.map(|before| (value - before).abs());
    width > 2.0 * base && (width > WIDE * value || change.is_some_and(|c| c >= REMARKABLE * value && c <= width))
}

/// How far below and above its value a figure may truly lie. What is worked out from other cells takes these as they are
/// shown (`public`, hidden ones as the minimum), so that no interval tells of a hidden cell.
fn offsets(table: &FigureTable, public: &[f64], at: usize, errors: &ErrorRates) -> Option<[f64; 2]> {
    let figure = table.cells.get(at).filter(|figure| figure.units > 0 && !figure.missing)?;
    if table.unit != Unit::Persons {
        return None;
    }
    let place = place(table, at);
    let rates = errors.of(place.first().copied())?;
    let (precision, recall) = (rates.precision, rates.recall);
    if recall.low < LEAST || precision.low < LEAST {
        return None;
    }
    // Records that lack a value are often those that lack a link: what becomes of them is anybody's guess.
    if place.contains(&&Category::Unknown) {
        return None;
    }
    let at_dimension = |name: &str| table.dimensions.iter().zip(&place).find(|(d, _)| d.name == name).map(|(_, c)| *c);
    match (table.measure.as_str(), at_dimension("parties")) {
        ("stock" | "count", Some(Category::Value(_))) => Some(overlap(table, public, at, rates)),
        ("stock" | "count", _) => {
            let at_party = matches!(at_dimension("party"), Some(Category::Value(_)));
            Some(distinct(figure, rates, scope(table, at, figure, rates, at_party)))
        }
        ("entries" | "returns" | "exits", _) => Some(flow(public.get(at).copied().unwrap_or(0.0), rates)),
        _ => None,
    }
}

/// Whom a figure of distinct persons is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Everybody.
    Whole,
    /// One party's records alone say who is counted.
    Own,
    /// Everybody at one party, in a table by party.
    Party,
    /// Everybody with some values.
    Part,
    /// Some population: persons may be in it or not for want of a link.
    Population,
}

/// Share of the month's records from which a figure is of everybody.
const EVERYBODY: f64 = 0.95;

fn scope(table: &FigureTable, at: usize, figure: &Figure, rates: RunRates, at_party: bool) -> Scope {
    let everybody = |figure: &Figure| rates.records > 0 && figure.links.records as f64 >= EVERYBODY * rates.records as f64;
    if figure.links.own {
        return Scope::Own;
    }
    if everybody(figure) {
        return Scope::Whole;
    }
    let rest: usize = table.dimensions.iter().skip(1).map(|d| d.categories.len()).product();
    let start = at - at % rest.max(1);
    if at_party && table.dimensions.len() == 2 {
        // Everybody's records are the persons of each party, added up.
        let parties = table.dimensions.iter().skip(1).flat_map(|d| &d.categories).zip(table.cells.iter().skip(start));
        let persons: u64 = parties.filter(|(c, _)| **c != Category::Total).map(|(_, f)| f.units).sum();
        if rates.records > 0 && persons as f64 >= EVERYBODY * rates.records as f64 {
            return Scope::Party;
        }
    }
    // The cell of all totals of the period comes last of its cells, if there is one.
    let totals = table.dimensions.iter().skip(1).all(|d| d.categories.last() == Some(&Category::Total));
    let whole = (start + rest).checked_sub(1).and_then(|last| table.cells.get(last));
    match whole {
        Some(whole) if totals && everybody(whole) => {
            if at_party {
                Scope::Party
            } else {
                Scope::Part
            }
        }
        _ => Scope::Population,
    }
}

/// Categories of a cell.
fn place(table: &FigureTable, at: usize) -> Vec<&Category> {
    let mut rest = at;
    let mut place: Vec<&Category> = Vec::with_capacity(table.dimensions.len());
    for dimension in table.dimensions.iter().rev() {
        let length = dimension.categories.len().max(1);
        place.extend(dimension.categories.get(rest % length));
        rest /= length;
    }
    place.reverse();
    place
}

/// The most of a number expected, by chance.
fn most(expected: f64) -> f64 {
    expected + 1.96 * expected.sqrt()
}
/// The least.
fn least(expected: f64) -> f64 {
    (expected - 1.96 * expected.sqrt()).max(0.0)
}

/// Uneven shares: what is broken down may bear twice its share.
const UNEVEN: f64 = 2.0;

/// Share of a party's persons whom its list may hold twice: a table by party does not count its own second records.
const SECOND_RECORDS: f64 = 0.05;

fn distinct(figure: &Figure, rates: RunRates, scope: Scope) -> [f64; 2] {
    let records = figure.links.records as f64;
    let merged = figure.links.records.saturating_sub(figure.units) as f64;
    let missed = [merged * (1.0 / rates.recall.high.max(LEAST) - 1.0), merged * (1.0 / rates.recall.low - 1.0)];
    let wrong = most(merged * (1.0 - rates.precision.low));
    match scope {
        Scope::Whole => [-most(missed[1]), (wrong - least(missed[0])).max(0.0)],
        Scope::Own => [-most(missed[1]), wrong],
        Scope::Party => {
            let second = figure.units as f64 * SECOND_RECORDS;
            [-most(second * (1.0 / rates.recall.low - 1.0)), most(second * (1.0 - rates.precision.low))]
        }
        Scope::Part => [-most(UNEVEN * missed[1]), wrong],
        Scope::Population => {
            let broken = records * (1.0 - rates.recall.low);
            [-most(UNEVEN * broken).min(figure.value), most(UNEVEN * broken) + wrong]
        }
    }
}

fn flow(value: f64, rates: RunRates) -> [f64; 2] {
    let share = rates.linked_share.clamp(0.0, 1.0 - LEAST);
    let linked = value * share / (1.0 - share);
    let missed = most(UNEVEN * linked * (1.0 / rates.recall.low - 1.0));
    [-missed.min(value), most(UNEVEN * linked * (1.0 - rates.precision.low))]
}

/// The parties of a combination.
fn combination(category: &Category) -> Option<BTreeSet<&str>> {
    match category {
        Category::Value(text) => Some(text.split(" + ").collect()),
        _ => None,
    }
}

fn overlap(table: &FigureTable, public: &[f64], at: usize, rates: RunRates) -> [f64; 2] {
    let Some(which) = table.dimensions.iter().position(|d| d.name == "parties") else { return [0.0; 2] };
    let stride: usize = table.dimensions.iter().skip(which + 1).map(|d| d.categories.len()).product();
    let categories = table.dimensions.get(which).map(|d| d.categories.as_slice()).unwrap_or_default();
    let index = at / stride.max(1) % categories.len().max(1);
    let Some(own) = categories.get(index).and_then(combination) else { return [0.0; 2] };
    let come_off = (1.0 - rates.recall.low) / 2.0;
    let false_share = 1.0 - rates.precision.low;
    let value = public.get(at).copied().unwrap_or(0.0);
    let (mut lost, mut gained, mut wrong) = (0.0, 0.0, 0.0);
    if own.len() > 1 {
        lost += value * own.len() as f64 * come_off;
        wrong += value * (own.len() - 1) as f64 * false_share;
    }
    for (other, category) in categories.iter().enumerate() {
        let Some(parties) = combination(category).filter(|parties| parties.len() > own.len() && own.is_subset(parties)) else {
            continue;
        };
        let persons = (at + other * stride).checked_sub(index * stride).and_then(|at| public.get(at)).copied().unwrap_or(0.0);
        if own.len() == 1 {
            gained += persons * come_off * if parties.len() == 2 { 2.0 } else { 1.0 };
            lost += persons * false_share;
        } else if parties.len() == own.len() + 1 {
            gained += persons * come_off;
        }
    }
    [-most(UNEVEN * gained + wrong).min(value), most(UNEVEN * lost)]
}

#[cfg(test)]
#[path = "interval_tests.rs"]
mod tests;
