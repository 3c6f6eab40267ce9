//! A query held against a study: what is not there is refused by name, before anything is read.

use linkage_agreement::{PartyId, Period};

use super::axes::{self, Axis};
use super::delays;
use super::document::{Condition, Measure, Population, Query, When};
use super::error::QueryError;
use super::periods::spans;
use crate::study::Study;

/// Most breakdowns of a query.
pub const MAX_BREAKDOWNS: usize = 4;
/// Most cells of a table.
pub const MAX_CELLS: u64 = 100_000;
/// Most conditions of a population.
pub const MAX_CONDITIONS: usize = 64;
/// Longest title, in characters.
const MAX_TITLE: usize = 200;
/// Values named in a refusal.
const NAMED_VALUES: usize = 20;

impl Measure {
    /// The name in documents and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Stock => "stock",
            Self::Entries => "entries",
            Self::Exits => "exits",
            Self::Returns => "returns",
            Self::Durations => "durations",
            Self::Transitions => "transitions",
            Self::Paths => "paths",
            Self::Delays => "delays",
            Self::Sum => "sum",
        }
    }
}

/// Checks that `study` has what `query` names, and that the query makes sense.
///
/// # Errors
/// [`QueryError`], the first fault met.
pub fn check(query: &Query, study: &Study) -> Result<(), QueryError> {
    if query.title.trim().is_empty() || query.title.chars().count() > MAX_TITLE || query.title.chars().any(char::is_control) {
        return Err(QueryError::Title);
    }
    let (from, to) = (query.periods.from, query.periods.to);
    if from > to {
        return Err(QueryError::PeriodOrder { from, to });
    }
    held(from, study)?;
    held(to, study)?;
    if let Some(population) = &query.population {
        let mut conditions = 0;
        check_population(population, study, &mut conditions)?;
    }
    check_of(query, study)?;
    check_breakdown(query, study)
}

/// Position of a month that is held.
fn held(period: Period, study: &Study) -> Result<usize, QueryError> {
    let (first, last) = study.months.first().zip(study.months.last()).ok_or(QueryError::NoMonth)?;
    study.month(period).ok_or(QueryError::PeriodNotHeld { period, first: first.period, last: last.period })
}

fn check_population(set: &Population, study: &Study, conditions: &mut usize) -> Result<(), QueryError> {
    match set {
        Population::All { all: sets } | Population::Any { any: sets } => {
            if sets.is_empty() {
                return Err(QueryError::EmptySet);
            }
            sets.iter().try_for_each(|set| check_population(set, study, conditions))
        }
        Population::Not { not } => check_population(not, study, conditions),
        Population::Record(condition) => {
            *conditions += 1;
            if *conditions > MAX_CONDITIONS {
                return Err(QueryError::TooManyConditions);
            }
            check_condition(condition, study)
        }
    }
}

fn check_condition(condition: &Condition, study: &Study) -> Result<(), QueryError> {
    let party = condition.party.as_ref().map(|party| check_party(party, study)).transpose()?;
    for (name, values) in &condition.attributes {
        let column = study
            .attributes
            .iter()
            .find(|a| a.name == *name)
            .ok_or_else(|| QueryError::UnknownAttribute { name: name.clone(), known: axes::names(study) })?;
        if values.is_empty() {
            return Err(QueryError::NoValue { attribute: name.clone() });
        }
        if let Some(value) = values.iter().find(|value| !axes::admits(column, value)) {
            let known = axes::Values::of(column).names.into_iter().take(NAMED_VALUES).collect();
            return Err(QueryError::UnknownValue { attribute: name.clone(), value: value.clone(), known });
        }
    }
    let Some(period) = condition.period else { return Ok(()) };
    if condition.when != When::Same {
        return Err(QueryError::WhenAndPeriod);
    }
    let month = study.months.get(held(period, study)?).ok_or(QueryError::NoMonth)?;
    let needed = study.parties.iter().enumerate().filter(|(at, _)| party.is_none_or(|party| party == *at));
    for (at, party) in needed {
        if !month.delivered.get(at).copied().unwrap_or(false) {
            return Err(QueryError::NotDelivered { period, party: party.clone() });
        }
    }
    Ok(())
}

fn check_party(party: &PartyId, study: &Study) -> Result<usize, QueryError> {
    study.party(party).ok_or_else(|| QueryError::UnknownParty { party: party.clone(), known: study.parties.clone() })
}

fn check_of(query: &Query, study: &Study) -> Result<(), QueryError> {
    let column = |name: &String| {
        study
            .attribute(name)
            .and_then(|at| study.attributes.get(at))
            .ok_or_else(|| QueryError::UnknownAttribute { name: name.clone(), known: axes::names(study) })
    };
    match (query.measure, &query.of) {
        (Measure::Sum, None) => Err(QueryError::OfMissing),
        (Measure::Sum, Some(name)) if axes::numbers(column(name)?).is_none() => {
            Err(QueryError::NotANumber { attribute: name.clone() })
        }
        (Measure::Transitions, Some(name)) => column(name).map(|_| ()),
        (Measure::Transitions | Measure::Paths, None) if study.parties.len() > 64 => Err(QueryError::TooManyParties),
        (Measure::Sum | Measure::Transitions, _) | (_, None) => Ok(()),
        (_, Some(_)) => Err(QueryError::OfUseless),
    }
}

fn check_breakdown(query: &Query, study: &Study) -> Result<(), QueryError> {
    if query.breakdown.len() > MAX_BREAKDOWNS {
        return Err(QueryError::TooManyBreakdowns);
    }
    let periods = spans(query.periods, query.grain).len();
    let mut cells = periods as u64;
    for (at, name) in query.breakdown.iter().enumerate() {
        let axis = Axis::named(name, study)?;
        if query.breakdown.iter().take(at).any(|earlier| earlier == name) {
            return Err(QueryError::BreakdownTwice { name: name.clone() });
        }
        if !axis.suits(query.measure) {
            return Err(QueryError::BreakdownRefused { name: name.clone(), measure: query.measure.name() });
        }
        // Unknown and total stand beside the values of a partition.
        let beside = if axis == Axis::Party { 0 } else { 2 };
        cells = cells.saturating_mul(axis.size(study).unwrap_or(1) as u64 + beside);
    }
    if query.measure == Measure::Delays {
        cells = cells.saturating_mul(study.parties.len() as u64).saturating_mul(delays::CELLS);
    }
    let states = match (query.measure, query.of.as_ref().and_then(|name| study.attribute(name))) {
        (Measure::Transitions, Some(at)) => Axis::Attribute(at).size(study).unwrap_or(1) as u64 + 3,
        _ => 1,
    };
    within_cells(cells.saturating_mul(states).saturating_mul(states))?;
    if query.measure == Measure::Transitions && periods < 2 { Err(QueryError::OnePeriod) } else { Ok(()) }
}

/// Refuses tables that are too large.
pub(crate) fn within_cells(cells: u64) -> Result<(), QueryError> {
    if cells > MAX_CELLS { Err(QueryError::TooManyCells { cells }) } else { Ok(()) }
}
