//! How long until units are found: months from a unit's first month in the population to its first month with each party.
//!
//! What is given is a life table (Cutler, Ederer 1958, J. Chronic Dis. 8): units by the delay after which they were found,
//! and units not found by the number of months for which they could be followed, which ends with the last month that the
//! party delivered. Every unit is in exactly one cell, so that the table adds up, and from it anybody can tell which share
//! of units was found in time, those followed for too short a time counting for the months in which they were (Kaplan,
//! Meier 1958, J. Am. Stat. Assoc. 53). Units that had met the party before are a class of their own.
//!
//! Left out are units whose beginning was not observed: in the population in the first month held already, or first seen
//! in it after a month that was not observed. A population that is fixed to a month begins in that month.

use rayon::prelude::*;

use super::bits::Bits;
use super::document::{Population, When};
use super::events::Counted;
use super::frame::Frame;
use super::periods::Span;
use crate::figures::{Category, Dimension};
use crate::study::Study;

/// Delays as they are written, with the last month of each; before them stand units that were known already.
const BINS: [(&str, u32); 7] = [("0", 0), ("1", 1), ("2", 2), ("3", 3), ("4-6", 6), ("7-12", 12), ("13+", u32::MAX)];
/// Units that had met the party before their first month in the population.
const BEFORE: &str = "before";
/// What became of a unit after its delay.
const OUTCOMES: [&str; 2] = ["found", "not-found"];

/// Places of a unit: delays by outcomes.
pub(crate) const PLACES: usize = (BINS.len() + 1) * OUTCOMES.len();
/// Cells of one party, totals among them.
pub(crate) const CELLS: u64 = ((BINS.len() + 2) * (OUTCOMES.len() + 1)) as u64;

const NEVER: u16 = u16::MAX;

/// Who began when, and what became of them.
pub(crate) struct Delays {
    /// Units by the month of their beginning; the part is the party.
    pub counted: Vec<Counted>,
    /// By party and unit, its place: delay, then outcome.
    pub places: Vec<Vec<u32>>,
    /// By party and period, whether nothing can be said.
    pub missing: Vec<Vec<bool>>,
}

/// The dimensions of delays and outcomes.
pub(crate) fn dimensions() -> [Dimension; 2] {
    let made = |name: &str, values: Vec<&str>| {
        let values = values.into_iter().map(|v| Category::Value(v.to_owned()));
        Dimension { name: name.to_owned(), categories: values.chain([Category::Total]).collect(), partition: true }
    };
    [made("delay", [BEFORE].into_iter().chain(BINS.map(|(name, _)| name)).collect()), made("outcome", OUTCOMES.to_vec())]
}

/// The month in which a population begins that is made of fixed months alone: the last of them.
pub(crate) fn fixed(population: Option<&Population>, study: &Study) -> Option<usize> {
    fn last(set: &Population, study: &Study) -> Option<usize> {
        match set {
            Population::All { all: sets } | Population::Any { any: sets } => {
                let months: Option<Vec<usize>> = sets.iter().map(|set| last(set, study)).collect();
                months?.into_iter().max()
            }
            Population::Not { .. } => None,
            Population::Record(condition) if condition.when == When::Same => condition.period.and_then(|p| study.month(p)),
            Population::Record(_) => None,
        }
    }
    population.and_then(|set| last(set, study))
}

/// The delays of those who begin in the periods. `population` is by month, `parties` by party and month; a month that is
/// not observed has none.
pub(crate) fn delays(
    population: &[Option<Bits>],
    fixed: Option<usize>,
    parties: &[Vec<Option<Bits>>],
    spans: &[Span],
    frame: &Frame<'_>,
) -> Delays {
    let begun = beginnings(population, fixed, frame);
    let by_party: Vec<(Vec<Counted>, Vec<u32>, Vec<bool>)> =
        parties.par_iter().enumerate().map(|(part, months)| of_party(part, months, &begun, spans, frame)).collect();
    let mut all = Delays { counted: Vec::new(), places: Vec::new(), missing: Vec::new() };
    for (counted, places, missing) in by_party {
        all.counted.extend(counted);
        all.places.push(places);
        all.missing.push(missing);
    }
    all
}

/// By month, the units that are in the population for the first time; none where that cannot be told.
fn beginnings(population: &[Option<Bits>], fixed: Option<usize>, frame: &Frame<'_>) -> Vec<Option<Bits>> {
    let mut begun = vec![None; frame.calendar.len()];
    let mut seen = Bits::new(frame.size);
    let mut before: Option<u32> = None;
    let months = population.iter().zip(&frame.calendar).enumerate().skip(fixed.unwrap_or(0));
    for (month, (set, index)) in months {
        let Some(set) = set else { continue };
        let observed = fixed == Some(month) || before.is_some_and(|before| before + 1 == *index);
        if let Some(begun) = begun.get_mut(month).filter(|_| observed) {
            *begun = Some(set.without(&seen));
        }
        seen.add(set);
        before = Some(*index);
    }
    begun
}

fn of_party(
    part: usize,
    months: &[Option<Bits>],
    begun: &[Option<Bits>],
    spans: &[Span],
    frame: &Frame<'_>,
) -> (Vec<Counted>, Vec<u32>, Vec<bool>) {
    let (first, followed) = first_months(months, frame.size);
    let index = |month: usize| frame.calendar.get(month).copied().unwrap_or(0);
    let mut places = vec![0; frame.size];
    let mut counted = Vec::new();
    let mut missing = Vec::new();
    for (period, span) in spans.iter().enumerate() {
        let mut observed = false;
        for month in (span.first..=span.last).filter_map(|index| frame.at(index)) {
            // Of those who begin after the party's last delivery nothing can be said.
            let Some(last) = followed.filter(|last| month <= *last) else { continue };
            let Some(set) = begun.get(month).and_then(Option::as_ref) else { continue };
            observed = true;
            for unit in set.ones() {
                let found = first.get(unit as usize).copied().filter(|first| *first != NEVER).map(usize::from);
                let (bin, outcome) = match found {
                    Some(found) if found < month => (0, 0),
                    Some(found) => (bin(index(found) - index(month)), 0),
                    None => (bin(index(last) - index(month)), 1),
                };
                if let Some(place) = places.get_mut(unit as usize) {
                    *place = bin * OUTCOMES.len() as u32 + outcome;
                }
            }
            counted.push(Counted { part, period, month, set: set.clone() });
        }
        missing.push(!observed);
    }
    (counted, places, missing)
}

/// By unit, the first month with the party; and the last month that the party delivered.
fn first_months(months: &[Option<Bits>], size: usize) -> (Vec<u16>, Option<usize>) {
    let mut first = vec![NEVER; size];
    let mut seen = Bits::new(size);
    let mut last = None;
    for (month, set) in months.iter().enumerate() {
        let Some(set) = set else { continue };
        last = Some(month);
        for unit in set.without(&seen).ones() {
            if let Some(first) = first.get_mut(unit as usize) {
                *first = u16::try_from(month).unwrap_or(NEVER);
            }
        }
        seen.add(set);
    }
    (first, last)
}

/// Number of the delay of so many months; 0 is for those known before.
fn bin(months: u32) -> u32 {
    1 + BINS.iter().take_while(|(_, last)| *last < months).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_numbered_without_gaps() {
        let named = |months: u32| BINS[bin(months) as usize - 1].0;
        assert_eq!([0, 1, 2, 3].map(named), ["0", "1", "2", "3"]);
        assert_eq!([4, 6, 7, 12, 13, 400].map(named), ["4-6", "4-6", "7-12", "7-12", "13+", "13+"]);
        let [delay, outcome] = dimensions();
        assert_eq!((delay.categories.len() * outcome.categories.len()) as u64, CELLS);
        assert_eq!((delay.categories.len() - 1) * (outcome.categories.len() - 1), PLACES);
    }
}
