//! Cells added up: from places in a month's breakdowns to a table with its totals.

use std::collections::HashMap;

use super::bits::Bits;
use super::check::within_cells;
use super::error::QueryError;
use super::facts::Facts;
use crate::figures::{Category, Dimension, Figure};

/// What is added up in a cell, and can be added to another of the same partition.
pub(crate) trait Sum: Clone + Default {
    /// Adds another cell's.
    fn add(&mut self, other: &Self);
}

/// Units of one cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub units: u64,
    pub value: u64,
    pub key: u64,
    pub largest: [u64; 2],
}

impl Sum for Tally {
    fn add(&mut self, other: &Self) {
        self.units += other.units;
        self.value = self.value.saturating_add(other.value);
        self.key = self.key.wrapping_add(other.key);
        other.largest.iter().for_each(|amount| self.contribute(*amount));
    }
}

impl Tally {
    /// Keeps the two largest contributions.
    fn contribute(&mut self, amount: u64) {
        let [first, second] = self.largest;
        self.largest = if amount > first { [amount, first] } else { [first, second.max(amount)] };
    }

    /// Counts one unit.
    pub(crate) fn count(&mut self, unit: u32, facts: &Facts<'_>) {
        let Some(amount) = facts.amount(unit) else { return };
        self.units += 1;
        self.value = self.value.saturating_add(amount);
        self.key = self.key.wrapping_add(facts.key(unit));
        if facts.sums() {
            self.contribute(amount);
        }
    }

    /// The cell of a table.
    pub(crate) fn figure(&self) -> Figure {
        Figure { units: self.units, value: self.value as f64, key: self.key, largest: self.largest, missing: false }
    }
}

/// A further place of each unit, beside the breakdowns of its month.
#[derive(Clone, Copy)]
pub(crate) enum Extra<'a> {
    /// None.
    None,
    /// One place by unit, of `size`.
    One { places: &'a [u32], size: usize },
    /// States before and after, of `states` each.
    Pair { from: &'a [u16], to: &'a [u16], states: usize },
}

impl Extra<'_> {
    fn size(&self) -> usize {
        match self {
            Self::None => 1,
            Self::One { size, .. } => *size,
            Self::Pair { states, .. } => states * states,
        }
    }
    fn place(&self, unit: u32) -> usize {
        let unit = unit as usize;
        match self {
            Self::None => 0,
            Self::One { places, .. } => places.get(unit).map_or(0, |place| *place as usize),
            Self::Pair { from, to, states } => {
                let state = |of: &[u16]| of.get(unit).map_or(0, |state| usize::from(*state).min(states - 1));
                state(from) * states + state(to)
            }
        }
    }
}

/// Cells of the units of one month, by place in its breakdowns and extra place.
pub(crate) struct Local<S> {
    pub cells: Vec<S>,
    pub radix: Vec<usize>,
    pub combinations: Vec<u64>,
}

/// Counts the units of `set` by place.
pub(crate) fn tally<S: Sum>(
    set: &Bits,
    facts: &Facts<'_>,
    extra: Extra<'_>,
    mut count: impl FnMut(&mut S, u32),
) -> Result<Local<S>, QueryError> {
    let beside = extra.size().max(1);
    let size = facts.size.saturating_mul(beside);
    within_cells(size as u64)?;
    let mut cells = vec![S::default(); size];
    for unit in set.ones() {
        if let Some(cell) = cells.get_mut(facts.place(unit) * beside + extra.place(unit)) {
            count(cell, unit);
        }
    }
    let mut radix = facts.radix.clone();
    if !matches!(extra, Extra::None) {
        radix.push(beside);
    }
    Ok(Local { cells, radix, combinations: facts.combinations.clone() })
}

/// Which of a local cell's digits is a number of a combination.
pub(crate) type CombinationAt = Option<usize>;

/// Cells of a whole table without totals, by period, part and places; combinations are numbered as they are met.
pub(crate) struct Cube<S> {
    cells: HashMap<Vec<u32>, S>,
    /// Combinations met with units in them.
    pub combinations: Vec<u64>,
}

impl<S: Sum> Cube<S> {
    /// A cube without cells.
    pub(crate) fn new() -> Self {
        Self { cells: HashMap::new(), combinations: Vec::new() }
    }

    /// Adds a month's cells under `before` (period, part); `filled` tells which hold anything.
    pub(crate) fn add(
        &mut self,
        before: [u32; 2],
        local: &Local<S>,
        combination: CombinationAt,
        filled: impl Fn(&S) -> bool,
    ) -> Result<(), QueryError> {
        for (at, cell) in local.cells.iter().enumerate().filter(|(_, cell)| filled(cell)) {
            let mut digits = vec![0u32; local.radix.len()];
            let mut left = at;
            for (digit, radix) in digits.iter_mut().zip(&local.radix).rev() {
                *digit = (left % radix) as u32;
                left /= radix;
            }
            if let Some(digit) = combination.and_then(|at| digits.get_mut(at)) {
                let mask = local.combinations.get(*digit as usize).copied().unwrap_or(0);
                *digit = self.number(mask);
            }
            let place: Vec<u32> = before.into_iter().chain(digits).collect();
            self.cells.entry(place).or_default().add(cell);
        }
        within_cells(self.cells.len() as u64)
    }

    /// Adds a cell at its place.
    pub(crate) fn put(&mut self, place: Vec<u32>, cell: &S) {
        self.cells.entry(place).or_default().add(cell);
    }

    /// The last digit of each cell's place.
    pub(crate) fn last_digits(&self) -> impl Iterator<Item = u32> + '_ {
        self.cells.keys().filter_map(|place| place.last().copied())
    }

    fn number(&mut self, mask: u64) -> u32 {
        let known = self.combinations.iter().position(|known| *known == mask);
        known.unwrap_or_else(|| {
            self.combinations.push(mask);
            self.combinations.len() - 1
        }) as u32
    }

    /// The cells filled: place (period, part, digits) and what is in it.
    pub(crate) fn into_cells(self) -> HashMap<Vec<u32>, S> {
        self.cells
    }
}

/// A table's cells laid out, the last dimension fastest, with the totals of partitions.
pub(crate) fn lay_out<S: Sum>(dimensions: &[Dimension], cells: HashMap<Vec<u32>, S>) -> Result<Vec<S>, QueryError> {
    let size: u64 = dimensions.iter().fold(1, |size, d| size.saturating_mul(d.categories.len() as u64));
    within_cells(size)?;
    let mut laid = vec![S::default(); size as usize];
    let mut strides = vec![1usize; dimensions.len()];
    for at in (1..dimensions.len()).rev() {
        let below = strides.get(at).zip(dimensions.get(at)).map_or(1, |(stride, d)| stride * d.categories.len());
        if let Some(stride) = strides.get_mut(at - 1) {
            *stride = below;
        }
    }
    for (place, cell) in cells {
        let at: usize = place.iter().zip(&strides).map(|(digit, stride)| *digit as usize * stride).sum();
        if let Some(laid) = laid.get_mut(at) {
            laid.add(&cell);
        }
    }
    for (dimension, stride) in dimensions.iter().zip(&strides) {
        if dimension.categories.last() != Some(&Category::Total) {
            continue;
        }
        let width = dimension.categories.len();
        for block in laid.chunks_mut(width * stride) {
            let Some((values, totals)) = block.split_at_mut_checked((width - 1) * stride) else { continue };
            for line in values.chunks(*stride) {
                totals.iter_mut().zip(line).for_each(|(total, cell)| total.add(cell));
            }
        }
    }
    Ok(laid)
}
