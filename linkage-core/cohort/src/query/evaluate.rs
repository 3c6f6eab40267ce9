//! Evaluation of a query over a study: the semantics of docs/cohorts.md.
//!
//! Two passes over the months, each in parallel: one makes the population's bitmaps ([`super::sets`]), the other reads
//! what is counted of the units that [`super::events`] names ([`super::facts`]) and adds it up ([`super::cube`]). Of a
//! month only the columns that the query names are read.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::axes::{self, Axis, PARTY};
use super::check;
use super::cube::{Cube, Extra, Local, Sum, Tally, tally};
use super::delays::{self, Delays};
use super::document::{Measure, Query};
use super::error::QueryError;
use super::events::{Counted, events};
use super::facts::{Facts, Reader, Reading, masks};
use super::frame::Frame;
use super::paths::Paths;
use super::periods::{Span, spans};
use super::sets::{Plan, Sets};
use super::states::{States, states};
use super::stays::{Begun, Curve, QUANTILES, stays};
use super::table::{Beside, Shape, dimension, in_order, notes};
use crate::figures::{Category, Dimension, Figure, FigureTable, Note, Whom};
use crate::study::{Column, Households, Study};

/// What an evaluation takes beside the study.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// Key of every person, by number (see [`Figure::key`]).
    pub person_keys: &'a [u64],
    /// Households, where they are known.
    pub households: Option<&'a dyn Households>,
}

/// Evaluates `query` over `study`.
///
/// # Errors
/// What [`check`] refuses, and a study that cannot be read.
pub fn evaluate(query: &Query, study: &Study, inputs: Inputs<'_>) -> Result<FigureTable, QueryError> {
    check(query, study)?;
    let frame = Frame::new(study, inputs, query.unit)?;
    let axes: Vec<Axis> = query.breakdown.iter().map(|name| Axis::named(name, study)).collect::<Result<_, _>>()?;
    let spans = spans(query.periods, query.grain);
    let by_combination = matches!(query.measure, Measure::Transitions) && query.of.is_none();
    let plan = Plan::new(query.population.as_ref(), &axes, by_combination || query.measure == Measure::Paths, study);
    let months = counted_months(query, &spans, &frame);
    let sets = plan.sets(&months, &frame)?;
    let mut looked = plan.looks_at(&months, &frame);
    if query.measure == Measure::Paths {
        looked.extend(frame.calendar.first().map_or(0, |first| *first)..=query.periods.to.index());
    }
    let notes = if query.measure == Measure::Delays {
        // Units are looked for at every party, in all months.
        let all = frame.calendar.first().zip(frame.calendar.last()).map(|(first, last)| (*first..=*last).collect());
        notes(query, &at_each_party(study), &all.unwrap_or_default(), &spans, &frame)
    } else {
        notes(query, &plan, &looked, &spans, &frame)
    };
    let whom = plan.whom(study);
    Evaluation { query, frame, axes, spans, sets, whom, notes }.table()
}

/// Months, by index, whose population is needed.
fn counted_months(query: &Query, spans: &[Span], frame: &Frame<'_>) -> BTreeSet<u32> {
    let (from, to) = (query.periods.from.index(), query.periods.to.index());
    let held = |months: &[u32]| months.first().copied().zip(months.last().copied()).unwrap_or((from, to));
    let (start, end) = held(&frame.calendar);
    match query.measure {
        Measure::Stock => spans.iter().map(|span| span.last).collect(),
        Measure::Entries | Measure::Returns | Measure::Delays => (start..=to).collect(),
        Measure::Exits => (from.saturating_sub(1).max(start)..=to).collect(),
        Measure::Durations => (from.saturating_sub(1).max(start)..=end).collect(),
        Measure::Count | Measure::Sum | Measure::Transitions | Measure::Paths => (from..=to).collect(),
    }
}

struct Evaluation<'q, 'a> {
    query: &'q Query,
    frame: Frame<'a>,
    axes: Vec<Axis>,
    spans: Vec<Span>,
    sets: Sets,
    whom: Whom,
    notes: Vec<Note>,
}

impl<'a> Evaluation<'_, 'a> {
    fn table(self) -> Result<FigureTable, QueryError> {
        match self.query.measure {
            Measure::Durations => self.durations(),
            Measure::Transitions => self.transitions(),
            Measure::Paths => self.paths(),
            Measure::Delays => self.delays(),
            Measure::Sum => {
                let of = self.query.of.as_ref().and_then(|name| self.frame.study.attribute(name));
                let numbers = of.and_then(|at| self.frame.study.attributes.get(at)).and_then(axes::numbers);
                let numbers = numbers.unwrap_or_default();
                self.counts(of.map(|at| (at, numbers.as_slice())))
            }
            _ => self.counts(None),
        }
    }

    fn reading<'n>(&self, axes: &[Axis], sum: Option<(usize, &'n [u64])>) -> Reading<'n> {
        let classes = self.frame.inputs.households.map_or(0, |households| households.classes().len());
        let readers = axes.iter().filter(|axis| **axis != Axis::Party);
        Reading { readers: readers.map(|axis| Reader::new(axis, self.frame.study, classes)).collect(), sum }
    }

    /// The party whose own records give the values of units: that of the part where the table is by party.
    fn own(&self, counted: &Counted, reading: &Reading<'_>) -> Option<usize> {
        let values = reading.sum.is_some() || self.axes.iter().any(|axis| !matches!(axis, Axis::Party | Axis::Parties));
        (values && self.axes.contains(&Axis::Party)).then_some(counted.part)
    }

    /// Which digit of a month's places is a combination.
    fn combination(&self) -> Option<usize> {
        self.axes.iter().filter(|axis| **axis != Axis::Party).position(|axis| *axis == Axis::Parties)
    }

    fn shape(&self, missing: Vec<Vec<bool>>, beside: Vec<Beside>, figures: Option<Dimension>) -> Shape<'_> {
        let (axes, spans, notes) = (&self.axes, &self.spans, self.notes.clone());
        Shape { query: self.query, whom: self.whom, axes, spans, missing, beside, figures, notes }
    }

    /// Counts, flows and sums.
    fn counts(&self, sum: Option<(usize, &[u64])>) -> Result<FigureTable, QueryError> {
        let found = events(self.query.measure, &self.sets, &self.spans, &self.frame);
        let unions = self.unions(&found.counted)?;
        let union = |counted: &Counted| unions.get(counted.period).and_then(Option::as_deref);
        let cube = self.cube(&found.counted, sum, union, |_| Extra::None)?;
        self.shape(found.missing, Vec::new(), None).table(cube, &self.frame, |cell| vec![cell.figure()])
    }

    /// Counts over several months take a unit's combination over all of them.
    fn unions(&self, counted: &[Counted]) -> Result<Vec<Option<Vec<u64>>>, QueryError> {
        let over_months = matches!(self.query.measure, Measure::Count | Measure::Sum);
        self.spans
            .par_iter()
            .enumerate()
            .map(|(period, span)| {
                if !over_months || span.first == span.last || self.combination().is_none() {
                    return Ok(None);
                }
                let months: BTreeSet<usize> = counted.iter().filter(|c| c.period == period).map(|c| c.month).collect();
                let mut union = vec![0; self.frame.size];
                for month in months {
                    let rows = self.frame.rows(month, &[Column::Party])?;
                    union.iter_mut().zip(masks(&rows, self.frame.size)?).for_each(|(union, mask)| *union |= mask);
                }
                Ok(Some(union))
            })
            .collect()
    }

    /// Tallies by period, part and places.
    fn cube<'c>(
        &self,
        counted: &'c [Counted],
        sum: Option<(usize, &[u64])>,
        union: impl Fn(&Counted) -> Option<&'c [u64]> + Sync,
        extra: impl Fn(&Counted) -> Extra<'c> + Sync,
    ) -> Result<Cube<Tally>, QueryError> {
        let reading = Reading { sum, ..self.reading(&self.axes, None) };
        let mut by_month: BTreeMap<(usize, Option<usize>), Vec<&Counted>> = BTreeMap::new();
        for counted in counted {
            by_month.entry((counted.month, self.own(counted, &reading))).or_default().push(counted);
        }
        type Found = ([u32; 2], Local<Tally>);
        let of_month = |((month, own), counted): ((usize, Option<usize>), Vec<&Counted>)| -> Result<Vec<Found>, QueryError> {
            let facts = Facts::read(month, &reading, counted.first().and_then(|c| union(c)), own, &self.frame)?;
            let local = |counted: &Counted| {
                let count = |cell: &mut Tally, unit| cell.count(unit, &facts);
                Ok((before(counted), tally(&counted.set, &facts, extra(counted), count)?))
            };
            counted.into_iter().map(local).collect()
        };
        let found: Vec<Vec<Found>> = by_month.into_par_iter().map(of_month).collect::<Result<_, _>>()?;
        self.gather(found.iter().flatten(), |cell| cell.units > 0)
    }

    fn gather<'l, S: Sum + 'l>(
        &self,
        found: impl Iterator<Item = &'l ([u32; 2], Local<S>)>,
        filled: impl Fn(&S) -> bool,
    ) -> Result<Cube<S>, QueryError> {
        let mut cube = Cube::new();
        for (before, local) in found {
            cube.add(*before, local, self.combination(), &filled)?;
        }
        Ok(cube)
    }

    fn durations(&self) -> Result<FigureTable, QueryError> {
        let by_part: Vec<(Vec<Begun>, Vec<bool>)> =
            self.sets.parts.par_iter().enumerate().map(|(part, months)| stays(part, months, &self.spans, &self.frame)).collect();
        let (begun, missing): (Vec<Vec<Begun>>, Vec<Vec<bool>>) = by_part.into_iter().unzip();
        let reading = self.reading(&self.axes, None);
        let mut by_month: BTreeMap<(usize, Option<usize>), Vec<Begun>> = BTreeMap::new();
        for begun in begun.into_iter().flatten() {
            by_month.entry((begun.counted.month, self.own(&begun.counted, &reading))).or_default().push(begun);
        }
        type Found = Vec<([u32; 2], Local<Curve>)>;
        let of_month = |((month, own), begun): ((usize, Option<usize>), Vec<Begun>)| -> Result<Found, QueryError> {
            let facts = Facts::read(month, &reading, None, own, &self.frame)?;
            let local = |begun: Begun| {
                // Units of the set come in order, as the stays stand.
                let mut stays = begun.stays.iter();
                let count = |cell: &mut Curve, unit| {
                    cell.tally.count(unit, &facts);
                    if let Some(stay) = stays.next() {
                        cell.stay(*stay);
                    }
                };
                Ok((before(&begun.counted), tally(&begun.counted.set, &facts, Extra::None, count)?))
            };
            begun.into_iter().map(local).collect()
        };
        let found: Vec<_> = by_month.into_par_iter().map(of_month).collect::<Result<Vec<_>, QueryError>>()?;
        let cube = self.gather(found.iter().flatten(), |cell| cell.tally.units > 0)?;
        let categories = QUANTILES.iter().map(|(name, _)| Category::Value((*name).to_owned())).collect();
        let quantile = Dimension { name: "quantile".to_owned(), categories, partition: false };
        self.shape(missing, Vec::new(), Some(quantile)).table(cube, &self.frame, |curve| {
            let of = |(_, running): (&str, f64)| {
                let months = curve.quantile(running);
                // Nobody has no stays: that is an empty cell, not one of which nothing can be said.
                let missing = months.is_none() && curve.tally.units > 0;
                Figure { value: months.unwrap_or(0) as f64, missing, ..curve.tally.figure() }
            };
            QUANTILES.map(of).to_vec()
        })
    }

    fn transitions(mut self) -> Result<FigureTable, QueryError> {
        let found = events(Measure::Count, &self.sets, &self.spans, &self.frame);
        let of = self.query.of.as_ref().and_then(|name| self.frame.study.attribute(name)).map(Axis::Attribute);
        let axis = of.unwrap_or(Axis::Parties);
        let reading = self.reading(std::slice::from_ref(&axis), None);
        let states = states(&found.counted, self.spans.len(), &reading, &self.frame)?;
        let last = self.spans.len() - 1;
        // Each pair is told from the first period's month where the unit counts there, else from the second's.
        let mut counted = Vec::new();
        for of in &found.counted {
            if of.period < last {
                counted.push(Counted { set: of.set.clone(), ..*of });
            }
            if let Some(before) = of.period.checked_sub(1) {
                let mut set = of.set.clone();
                found.counted.iter().filter(|c| c.period == before).for_each(|c| set.remove(&c.set));
                counted.push(Counted { period: before, set, ..*of });
            }
        }
        let missing_of = |period: usize| found.missing.first().and_then(|m| m.get(period)).copied().unwrap_or(true);
        let missing: Vec<bool> = (0..last).map(|period| missing_of(period) || missing_of(period + 1)).collect();
        counted.retain(|c| missing.get(c.period) == Some(&false));
        let state = |period: usize| states.by_period.get(period).map_or(&[][..], Vec::as_slice);
        let width = states.absent + 1;
        let extra = |c: &Counted| Extra::Pair { from: state(c.period), to: state(c.period + 1), states: width };
        let cube = self.cube(&counted, None, |_| None, extra)?;
        let beside = ["from", "to"].map(|name| self.state_dimension(name, &axis, &states));
        let beside: Vec<Beside> = beside.into_iter().collect::<Result<_, _>>()?;
        self.spans.truncate(last);
        self.shape(vec![missing], beside, None).table(cube, &self.frame, |cell| vec![cell.figure()])
    }

    /// States as a dimension: values, unknown, absent, total.
    fn state_dimension(&self, name: &str, axis: &Axis, states: &States) -> Result<Beside, QueryError> {
        let (combinations, mut places) = in_order(&states.combinations, &self.frame);
        if *axis != Axis::Parties {
            places = (0..states.absent as u32).collect();
        }
        // Being in the population without a record and not being in it are one state to the reader.
        let combinations: Vec<Category> = combinations.into_iter().filter(|c| *c != Category::Absent).collect();
        let mut dimension = dimension(axis, name, &combinations, &self.frame)?;
        let total = dimension.categories.pop();
        places.push(dimension.categories.len() as u32);
        dimension.categories.push(Category::Absent);
        dimension.categories.extend(total);
        Ok(Beside { dimension, places })
    }

    fn delays(&self) -> Result<FigureTable, QueryError> {
        let study = self.frame.study;
        let parties = at_each_party(study).sets(&self.frame.calendar.iter().copied().collect(), &self.frame)?;
        let population = self.sets.parts.first().map_or(&[][..], Vec::as_slice);
        let fixed = delays::fixed(self.query.population.as_ref(), study);
        let Delays { counted, places, missing } = delays::delays(population, fixed, &parties.parts, &self.spans, &self.frame);
        let extra = |c: &Counted| Extra::One { places: places.get(c.part).map_or(&[][..], Vec::as_slice), size: delays::PLACES };
        let cube = self.cube(&counted, None, |_| None, extra)?;
        // The parties are a breakdown that nobody has to ask for.
        let axes: Vec<Axis> = self.axes.iter().cloned().chain([Axis::Party]).collect();
        let mut query = self.query.clone();
        query.breakdown.push(PARTY.to_owned());
        let beside = delays::dimensions().map(|dimension| {
            let places = (0..dimension.categories.len() as u32 - 1).collect();
            Beside { dimension, places }
        });
        let shape = Shape { query: &query, axes: &axes, ..self.shape(missing, beside.into(), None) };
        shape.table(cube, &self.frame, |cell| vec![cell.figure()])
    }

    fn paths(&self) -> Result<FigureTable, QueryError> {
        let found = events(Measure::Count, &self.sets, &self.spans, &self.frame);
        let mut paths = Paths::new();
        let mut by_unit = vec![0u32; self.frame.size];
        let mut cube = Cube::new();
        let mut month = 0;
        for (period, span) in self.spans.iter().enumerate() {
            while self.frame.calendar.get(month).is_some_and(|index| *index <= span.last) {
                let rows = self.frame.rows(month, &[Column::Party])?;
                for (path, mask) in by_unit.iter_mut().zip(masks(&rows, self.frame.size)?) {
                    if mask != 0 {
                        *path = paths.after(*path, mask);
                    }
                }
                month += 1;
            }
            let counted: Vec<Counted> =
                found.counted.iter().filter(|c| c.period == period).map(|c| Counted { set: c.set.clone(), ..*c }).collect();
            let size = paths.len();
            let extra = |_: &Counted| Extra::One { places: &by_unit, size };
            for (place, cell) in self.cube(&counted, None, |_| None, extra)?.into_cells() {
                cube.put(place, &cell);
            }
        }
        let met: BTreeSet<u32> = cube.last_digits().collect();
        let mut named: Vec<((usize, String), u32)> =
            met.into_iter().map(|path| (paths.name(path, &self.frame.study.parties), path)).collect();
        // Shorter paths first; units that met nobody yet come last.
        named.sort_by(|((a, x), _), ((b, y), _)| (*a == 0, a, x).cmp(&(*b == 0, b, y)));
        let mut places = vec![0; paths.len()];
        let mut categories = Vec::new();
        for (at, ((steps, name), path)) in (0u32..).zip(named) {
            if let Some(place) = places.get_mut(path as usize) {
                *place = at;
            }
            categories.push(if steps == 0 { Category::Absent } else { Category::Value(name) });
        }
        categories.push(Category::Total);
        let dimension = Dimension { name: "path".to_owned(), categories, partition: true };
        let beside = vec![Beside { dimension, places }];
        self.shape(found.missing, beside, None).table(cube, &self.frame, |cell| vec![cell.figure()])
    }
}

/// Everybody, party by party.
fn at_each_party(study: &Study) -> Plan {
    Plan::new(None, &[Axis::Party], false, study)
}

/// Where a month's cells stand in the cube.
fn before(counted: &Counted) -> [u32; 2] {
    [counted.period as u32, counted.part as u32]
}
