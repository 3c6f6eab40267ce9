//! From cells to a table: dimensions with their categories in order, totals, missing cells, notes.

use std::collections::{BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use super::axes::{Axis, BANDS, SEXES, Values};
use super::check::within_cells;
use super::cube::{Cube, Sum, lay_out};
use super::document::{Measure, Query};
use super::error::QueryError;
use super::frame::Frame;
use super::paths::joined;
use super::periods::{Span, month};
use super::sets::Plan;
use crate::figures::{Category, Dimension, Figure, FigureTable, Note, Whom};
use crate::study::SourceError;

/// A dimension beside the breakdowns, with the place of each of its numbers.
pub(crate) struct Beside {
    pub dimension: Dimension,
    pub places: Vec<u32>,
}

/// All that is known of a table before its cells.
pub(crate) struct Shape<'q> {
    pub query: &'q Query,
    pub whom: Whom,
    pub axes: &'q [Axis],
    pub spans: &'q [Span],
    /// By part and period.
    pub missing: Vec<Vec<bool>>,
    /// What the extra place stands for: its dimensions, the last the fastest.
    pub beside: Vec<Beside>,
    /// Figures of one cell: the categories, as a last dimension, where there are several.
    pub figures: Option<Dimension>,
    pub notes: Vec<Note>,
}

impl Shape<'_> {
    /// The table of the cells of `cube`.
    pub(crate) fn table<S: Sum>(
        self,
        cube: Cube<S>,
        frame: &Frame<'_>,
        figures: impl Fn(&S) -> Vec<Figure>,
    ) -> Result<FigureTable, QueryError> {
        let (combinations, combination_places) = in_order(&cube.combinations, frame);
        let periods = self.spans.iter().map(|span| Category::Value(span.name.clone())).collect();
        let mut dimensions = vec![Dimension { name: "period".to_owned(), categories: periods, partition: false }];
        for (axis, name) in self.axes.iter().zip(&self.query.breakdown) {
            dimensions.push(dimension(axis, name, &combinations, frame)?);
        }
        dimensions.extend(self.beside.iter().map(|beside| beside.dimension.clone()));
        let tail = self.figures.as_ref().map_or(1, |d| d.categories.len() as u64);
        within_cells(dimensions.iter().fold(tail, |size, d| size.saturating_mul(d.categories.len() as u64)))?;
        let mut cells: HashMap<Vec<u32>, S> = HashMap::new();
        for (place, cell) in cube.into_cells() {
            cells.entry(self.place(&place, &combination_places)).or_default().add(&cell);
        }
        let laid = lay_out(&dimensions, cells)?;
        let by_period = laid.len() / self.spans.len().max(1);
        let party = self.party(&dimensions);
        let mut all = Vec::with_capacity(laid.len() * tail as usize);
        for (at, cell) in laid.iter().enumerate() {
            let part = party.map_or(0, |(stride, width)| at / stride % width);
            let missing = self.missing.get(part).and_then(|periods| periods.get(at / by_period.max(1))).copied().unwrap_or(true);
            if missing {
                all.extend((0..tail).map(|_| Figure { missing: true, ..Figure::default() }));
            } else {
                all.extend(figures(cell));
            }
        }
        dimensions.extend(self.figures);
        let measure = self.query.measure.name().to_owned();
        let of = self.query.of.clone().filter(|_| self.query.measure == Measure::Sum);
        let (unit, whom, notes) = (self.query.unit, self.whom, self.notes);
        Ok(FigureTable { unit, measure, of, whom, population: number(self.query)?, dimensions, cells: all, notes })
    }

    /// Stride and width of the dimension of parties.
    fn party(&self, dimensions: &[Dimension]) -> Option<(usize, usize)> {
        let at = 1 + self.axes.iter().position(|axis| *axis == Axis::Party)?;
        let stride = dimensions.iter().skip(at + 1).map(|d| d.categories.len()).product();
        Some((stride, dimensions.get(at)?.categories.len()))
    }

    /// Place in the table of a cell of the cube: period, part, breakdowns without parties, extra place.
    fn place(&self, place: &[u32], combinations: &[u32]) -> Vec<u32> {
        let mut left = place.iter().copied();
        let mut made = vec![left.next().unwrap_or(0)];
        let part = left.next().unwrap_or(0);
        for axis in self.axes {
            made.push(match axis {
                Axis::Party => part,
                Axis::Parties => left.next().and_then(|number| combinations.get(number as usize)).copied().unwrap_or(0),
                _ => left.next().unwrap_or(0),
            });
        }
        let mut extra = left.next().unwrap_or(0);
        let mut digits: Vec<u32> = Vec::new();
        for beside in self.beside.iter().rev() {
            let size = (beside.places.len() as u32).max(1);
            digits.push(beside.places.get((extra % size) as usize).copied().unwrap_or(0));
            extra /= size;
        }
        made.extend(digits.into_iter().rev());
        made
    }
}

/// The number of a query's population.
fn number(query: &Query) -> Result<u64, QueryError> {
    let Some(population) = &query.population else { return Ok(0) };
    let text = serde_json::to_vec(population).map_err(|error| QueryError::Source(SourceError(error.to_string())))?;
    let digest = Sha256::digest(text);
    Ok(digest.first_chunk().map_or(1, |bytes| u64::from_le_bytes(*bytes)))
}

/// Combinations as categories, by number of parties and then in the parties' order; and the place of each of `met`.
pub(crate) fn in_order(met: &[u64], frame: &Frame<'_>) -> (Vec<Category>, Vec<u32>) {
    let mut order: Vec<usize> = (0..met.len()).collect();
    // The empty combination, of units without any record, comes last.
    order.sort_by_key(|at| met.get(*at).map(|mask| (*mask == 0, mask.count_ones(), mask.reverse_bits() ^ u64::MAX)));
    let mut places = vec![0; met.len()];
    let mut categories = Vec::new();
    for (place, at) in (0u32..).zip(order) {
        if let (Some(own), Some(mask)) = (places.get_mut(at), met.get(at)) {
            *own = place;
            categories.push(match mask {
                0 => Category::Absent,
                mask => Category::Value(joined(*mask, &frame.study.parties, " + ")),
            });
        }
    }
    (categories, places)
}

/// The values of an axis: those of a partition end with unknown and total.
pub(crate) fn dimension(axis: &Axis, name: &str, combinations: &[Category], frame: &Frame<'_>) -> Result<Dimension, QueryError> {
    let named = |names: &mut dyn Iterator<Item = String>| names.map(Category::Value).collect::<Vec<_>>();
    let mut categories = match axis {
        Axis::Party => named(&mut frame.study.parties.iter().map(ToString::to_string)),
        Axis::Parties => combinations.to_vec(),
        Axis::Age(_) => named(&mut BANDS.iter().map(|(_, band)| (*band).to_owned())),
        Axis::Sex(_) => named(&mut SEXES.iter().map(|(_, sex)| (*sex).to_owned())),
        Axis::Composition => named(&mut frame.households()?.classes().iter().cloned()),
        Axis::Attribute(at) => named(&mut frame.study.attributes.get(*at).map(Values::of).into_iter().flat_map(|v| v.names)),
    };
    if !matches!(axis, Axis::Party | Axis::Parties) {
        categories.push(Category::Unknown);
    }
    let partition = *axis != Axis::Party;
    if partition {
        categories.push(Category::Total);
    }
    Ok(Dimension { name: name.to_owned(), categories, partition })
}

/// What figures lack that look at the months `looked`.
pub(crate) fn notes(query: &Query, plan: &Plan, looked: &BTreeSet<u32>, spans: &[Span], frame: &Frame<'_>) -> Vec<Note> {
    let mut notes = Vec::new();
    let flows =
        matches!(query.measure, Measure::Entries | Measure::Exits | Measure::Returns | Measure::Durations | Measure::Delays);
    for span in spans {
        // Flows of the first month held cannot be told.
        let late = u32::from(flows && frame.calendar.first() == Some(&span.first) && span.first < span.last);
        if let (true, Some(from), Some(to)) = (span.partial || late > 0, month(span.first + late), month(span.last)) {
            notes.push(Note::Partial { name: span.name.clone(), from, to });
        }
    }
    let concerned = plan.concerned(frame.study);
    let (start, end) = (frame.calendar.first().copied().unwrap_or(0), frame.calendar.last().copied().unwrap_or(0));
    for index in looked.iter().copied().filter(|index| (start..=end).contains(index)) {
        let Some(period) = month(index) else { continue };
        match frame.at(index) {
            None => notes.push(Note::NoRun { period }),
            Some(at) => {
                let lacking = frame.study.parties.iter().zip(&concerned).enumerate();
                let lacking = lacking.filter(|(party, (_, concerned))| **concerned && !frame.delivered(at, *party));
                notes.extend(lacking.map(|(_, (party, _))| Note::NotDelivered { period, party: party.clone() }));
            }
        }
    }
    notes
}
