//! Linkage-error intervals: how far missed and false links may have moved a figure.
//!
//! The broker estimates, without labels, which share of linked pairs is right (precision P) and which share of right pairs
//! is linked (recall Q), each with an interval. What that does to a figure depends on what is counted:
//!
//! * **Distinct persons** (`stock`, `count`): n persons of R records are `L = R - n` mergings, R being n times the records for
//!   each person of the month as a whole. Of these at most `L (1 - P)`
//!   are false, and `L (1/Q - 1)` are lacking: a missed link counts a person twice.
//! * **Distinct persons of one party**: what is linked elsewhere changes nothing; only second records in the party's own list
//!   (one in twenty) can be missed or wrongly found.
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
//! An interval is a function of the figures shown, of the query's words and of the month's rates: it says nothing that they do
//! not say (docs/disclosure.md).
//!
//! Errors fall where they fall: to the number expected comes its own chance (Poisson, 1.96 standard deviations), and what
//! is broken down may have none of its share of errors or twice it. Whether the intervals hold the truth is measured in
//! docs/cohort-quality.md. Durations, sums, transitions, paths, delays, households and persons whose value is unknown have
//! none: there is no model of them.

use std::collections::{BTreeMap, BTreeSet};

use linkage_agreement::Period;
use serde::{Deserialize, Serialize};

use crate::figures::{Category, Dimension, Unit, Whom};
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
    /// Records of the month for each of its persons.
    pub per_person: f64,
}

/// Estimates by month. Without any, figures bear no interval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorRates {
    runs: BTreeMap<Period, RunRates>,
}

/// Below this an estimate says nothing: an interval would be without end.
const LEAST: f64 = 0.05;
/// Records for each person are taken to a twentieth.
const PER_PERSON_STEPS: f64 = 20.0;

impl ErrorRates {
    /// The estimates of the runs of these months.
    pub fn new(runs: impl IntoIterator<Item = (Period, RunRates)>) -> Self {
        // So coarse that no single record shows in it.
        let coarse = |per_person: f64| (per_person * PER_PERSON_STEPS).round().max(PER_PERSON_STEPS) / PER_PERSON_STEPS;
        let runs = runs.into_iter().map(|(month, run)| (month, RunRates { per_person: coarse(run.per_person), ..run }));
        Self { runs: runs.collect() }
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
            per_person: a.per_person.max(b.per_person),
        })
    }
}

/// Gives every figure shown its interval, and flags those whose interval changes the reading.
pub(crate) fn attach(whom: Whom, shown: &mut PublicTable, errors: &ErrorRates, round_to: u64) {
    let hidden = shown.minimum as f64;
    let public: Vec<f64> = shown.cells.iter().map(|cell| value_of(cell).unwrap_or(hidden)).collect();
    let offsets: Vec<Option<[f64; 2]>> = (0..shown.cells.len()).map(|at| offsets(shown, whom, &public, at, errors)).collect();
    let base = round_to.max(1) as f64;
    for (cell, offset) in shown.cells.iter_mut().zip(&offsets) {
        if let Shown::Value { value, interval, .. } = cell {
            *interval = offset
                .map(|[low, high]| [(((*value + low) / base).floor() * base).max(0.0), ((*value + high) / base).ceil() * base]);
        }
    }
    let stride: usize = shown.dimensions.iter().skip(1).map(|d| d.categories.len()).product();
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

/// How far below and above its value a figure may truly lie: worked out from what is shown (`public`, hidden cells as the
/// minimum), from what the query says and from rates of the month as a whole. Nothing raw has a part in it, or
/// the ends of an interval would give back what noise and the ledger took away.
fn offsets(shown: &PublicTable, whom: Whom, public: &[f64], at: usize, errors: &ErrorRates) -> Option<[f64; 2]> {
    let value = shown.cells.get(at).and_then(value_of).filter(|value| *value > 0.0)?;
    if shown.unit != Unit::Persons {
        return None;
    }
    let place = place(&shown.dimensions, at);
    let rates = errors.of(place.first().copied())?;
    if rates.recall.low < LEAST || rates.precision.low < LEAST {
        return None;
    }
    // Records that lack a value are often those that lack a link: what becomes of them is anybody's guess.
    if place.contains(&&Category::Unknown) {
        return None;
    }
    let at_dimension = |name: &str| shown.dimensions.iter().zip(&place).find(|(d, _)| d.name == name).map(|(_, c)| *c);
    match (shown.measure.as_str(), at_dimension("parties")) {
        ("stock" | "count", Some(Category::Value(_))) => Some(overlap(&shown.dimensions, public, at, rates)),
        ("stock" | "count", _) => Some(distinct(value, rates, scope(&shown.dimensions, &place, whom))),
        ("entries" | "returns" | "exits", _) => Some(flow(value, rates)),
        _ => None,
    }
}

/// Whom a figure of distinct persons is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Everybody.
    Whole,
    /// Those whom one party's records alone say to count.
    Party,
    /// Everybody with some values.
    Part,
    /// Some population, of persons who met so many parties at least: they may be in it or not for want of a link.
    Population(u32),
}

fn scope(dimensions: &[Dimension], place: &[&Category], whom: Whom) -> Scope {
    let broken_down = || dimensions.iter().zip(place).skip(1).filter(|(_, category)| ***category != Category::Total);
    let at_party = broken_down().any(|(dimension, _)| dimension.name == "party");
    // A party's own records give the values in a table by party, but households rest on everybody's.
    let by_value = broken_down().any(|(d, _)| d.name != "party" && (!at_party || d.name == "composition-menage"));
    match whom {
        Whom::Everybody | Whom::OneParty if at_party && !by_value => Scope::Party,
        Whom::Everybody if by_value => Scope::Part,
        Whom::Everybody => Scope::Whole,
        // Values are those of the first party that gives one: a link more or less may change them.
        Whom::OneParty if by_value => Scope::Population(1),
        Whom::OneParty => Scope::Party,
        Whom::Population { parties } => Scope::Population(parties),
    }
}

/// Categories of a cell.
fn place(dimensions: &[Dimension], at: usize) -> Vec<&Category> {
    let mut rest = at;
    let mut place: Vec<&Category> = Vec::with_capacity(dimensions.len());
    for dimension in dimensions.iter().rev() {
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

fn distinct(value: f64, rates: RunRates, scope: Scope) -> [f64; 2] {
    let merged = value * (rates.per_person - 1.0).max(0.0);
    let missed = [merged * (1.0 / rates.recall.high.max(LEAST) - 1.0), merged * (1.0 / rates.recall.low - 1.0)];
    let wrong = most(merged * (1.0 - rates.precision.low));
    match scope {
        Scope::Whole => [-most(missed[1]), (wrong - least(missed[0])).max(0.0)],
        Scope::Party => {
            let second = value * SECOND_RECORDS;
            [-most(second * (1.0 / rates.recall.low - 1.0)), most(second * (1.0 - rates.precision.low))]
        }
        Scope::Part => [-most(UNEVEN * missed[1]), wrong],
        Scope::Population(parties) => {
            // Who met several parties has a record at each of them beside what everybody has.
            let further = value * f64::from(parties.saturating_sub(1));
            let broken = (value * rates.per_person + further) * (1.0 - rates.recall.low);
            let wrong = most((merged + further) * (1.0 - rates.precision.low));
            [-most(UNEVEN * broken).min(value), most(UNEVEN * broken) + wrong]
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

fn overlap(dimensions: &[Dimension], public: &[f64], at: usize, rates: RunRates) -> [f64; 2] {
    let Some(which) = dimensions.iter().position(|d| d.name == "parties") else { return [0.0; 2] };
    let stride: usize = dimensions.iter().skip(which + 1).map(|d| d.categories.len()).product();
    let categories = dimensions.get(which).map(|d| d.categories.as_slice()).unwrap_or_default();
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
