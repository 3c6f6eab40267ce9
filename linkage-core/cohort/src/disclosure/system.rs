//! What an attacker knows of tables that stand side by side: which figures are the same, and how they add up.
//!
//! * Figures of the same units (equal number, equal key) are one variable, in whatever tables they stand.
//! * Where the values of a dimension are a partition, the parts add up to the total. Where they are not (a person may be
//!   at several parties), the total is at least each part and at most their sum.
//! * What tables of other periods, parties and populations tell: [`super::relations`].
//!
//! A relation is taken in only where the figures fulfil it, so that none is believed that does not hold. What is not
//! here is listed in docs/disclosure.md.

use std::collections::{BTreeMap, HashMap};

use super::Policy;
use super::rules::{Kind, is_sensitive};
use crate::figures::{Category, Dimension, Figure, FigureTable, Unit};

/// What may be known of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Known, and stays so: it was published.
    Fixed,
    /// Shown so far.
    Open,
    /// Hidden.
    Hidden,
    /// Part of no table: what makes an equation of an inequality, and is small neither by itself.
    Slack,
}

/// A figure, wherever it stands.
#[derive(Debug, Clone)]
pub(super) struct Variable {
    pub(super) value: f64,
    /// What an attacker knows it to be at least: 1 for counts, since empty cells are shown.
    pub(super) least: f64,
    pub(super) state: State,
    /// What hiding it costs.
    pub(super) cost: f64,
    /// How far an attacker must hold it possible, where it is sensitive by itself.
    pub(super) needs: Option<Needs>,
    /// Equations that it is in.
    pub(super) equations: Vec<usize>,
}

/// How far from a sensitive figure an attacker must hold it possible.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Needs {
    /// Upwards.
    pub(super) up: f64,
    /// Downwards, as far as relations allow.
    pub(super) down: f64,
    /// Both together.
    pub(super) width: f64,
}

/// The linear system.
#[derive(Debug, Default)]
pub(super) struct System {
    pub(super) variables: Vec<Variable>,
    /// Each adds up to nothing: variable, coefficient; of changes, constants apart.
    pub(super) equations: Vec<Vec<(usize, f64)>>,
    /// By table and cell, its variable; none where the figure is missing or empty.
    pub(super) cells: Vec<Vec<Option<usize>>>,
    /// Smallest count shown.
    minimum: f64,
    /// Number of the first table that is not published yet.
    first_new: usize,
    /// Variables of relations with figures of new tables, be these empty, or known from elsewhere: what was proved of them may hold
    /// no longer.
    pub(super) stirred: Vec<usize>,
}

type Same = (Unit, Kind, u64, u64, u64);

impl System {
    /// Of tables of which the first `published` were shown before.
    pub(super) fn of(tables: &[&FigureTable], published: usize, policy: &Policy) -> Self {
        let mut system = Self { minimum: policy.minimum as f64, first_new: published, ..Self::default() };
        let mut same: HashMap<Same, usize> = HashMap::new();
        for table in tables {
            let cells = system.variables_of(table, policy, &mut same);
            system.cells.push(cells);
        }
        for (number, table) in tables.iter().enumerate() {
            system.lines(number, table, tables);
        }
        system.relate(tables);
        system
    }

    fn variables_of(&mut self, table: &FigureTable, policy: &Policy, same: &mut HashMap<Same, usize>) -> Vec<Option<usize>> {
        let kind = Kind::of(&table.measure);
        let mut at = Odometer::new(&table.dimensions);
        let mut cells = Vec::with_capacity(table.cells.len());
        for figure in &table.cells {
            let totals = at.totals(&table.dimensions);
            at.advance();
            if figure.missing || figure.units == 0 {
                cells.push(None);
                continue;
            }
            let key = (table.unit, kind, figure.units, figure.key, figure.value.to_bits());
            let variable = *same.entry(key).or_insert_with(|| {
                self.variables.push(Variable {
                    value: figure.value,
                    least: if kind == Kind::Count { 1.0 } else { 0.0 },
                    state: State::Open,
                    cost: 0.0,
                    needs: is_sensitive(figure, kind, policy).then(|| needs(figure, kind, policy)),
                    equations: Vec::new(),
                });
                self.variables.len() - 1
            });
            if let Some(variable) = self.variables.get_mut(variable) {
                variable.cost += (1.0 + figure.value.abs().ln_1p()) * (1.0 + 3.0 * totals as f64);
            }
            cells.push(Some(variable));
        }
        cells
    }

    /// Parts and totals of one table.
    fn lines(&mut self, number: usize, table: &FigureTable, tables: &[&FigureTable]) {
        let kind = Kind::of(&table.measure);
        if kind == Kind::Quantile {
            return;
        }
        for (which, dimension) in table.dimensions.iter().enumerate() {
            let length = dimension.categories.len();
            let Some(total) = dimension.categories.iter().position(|c| *c == Category::Total) else { continue };
            let stride: usize = table.dimensions.iter().skip(which + 1).map(|d| d.categories.len()).product();
            if stride == 0 {
                continue;
            }
            for start in (0..table.cells.len()).filter(|at| (at / stride).is_multiple_of(length)) {
                let place = |index: usize| (number, start + index * stride);
                let parts: Vec<(usize, usize)> = (0..length).filter(|index| *index != total).map(place).collect();
                if dimension.partition {
                    self.sum(tables, place(total), &parts);
                } else if kind == Kind::Count {
                    self.cover(tables, place(total), &parts);
                }
            }
        }
    }

    /// The parts add up to the total.
    fn sum(&mut self, tables: &[&FigureTable], total: (usize, usize), parts: &[(usize, usize)]) {
        let Some((values, variables)) = self.gather(tables, total, parts) else { return };
        let (whole, sum) = (values.0, values.1.iter().sum::<f64>());
        if (whole - sum).abs() <= 1e-6 * whole.abs().max(1.0) {
            // Every part that is not empty is one at least.
            let parts = variables.1.iter().flatten().filter_map(|v| self.variables.get(*v)).map(|v| v.least).sum::<f64>();
            if let Some(total) = variables.0.and_then(|v| self.variables.get_mut(v)) {
                total.least = total.least.max(parts);
                if let Some(needs) = &mut total.needs {
                    needs.down = needs.down.min(total.value - total.least);
                }
            }
            self.equation(variables.1.iter().flatten().map(|v| (*v, 1.0)).chain(variables.0.map(|v| (v, -1.0))));
        }
    }

    /// The total is at least each part and at most their sum.
    fn cover(&mut self, tables: &[&FigureTable], total: (usize, usize), parts: &[(usize, usize)]) {
        let Some((values, variables)) = self.gather(tables, total, parts) else { return };
        let (whole, sum) = (values.0, values.1.iter().sum::<f64>());
        let Some(total) = variables.0 else { return };
        for (value, variable) in values.1.iter().zip(&variables.1) {
            if let Some(variable) = variable.filter(|v| *v != total) {
                self.at_least(whole - value, false, [(total, 1.0), (variable, -1.0)]);
            }
        }
        let parts: Vec<(usize, f64)> = variables.1.iter().flatten().map(|v| (*v, 1.0)).collect();
        self.at_least(sum - whole, false, parts.into_iter().chain([(total, -1.0)]));
    }

    /// Values and variables of a total and its parts; none where one of them is missing.
    #[expect(clippy::type_complexity, reason = "a pair of pairs, taken apart at once")]
    fn gather(
        &self,
        tables: &[&FigureTable],
        total: (usize, usize),
        parts: &[(usize, usize)],
    ) -> Option<((f64, Vec<f64>), (Option<usize>, Vec<Option<usize>>))> {
        let value = |(number, cell): (usize, usize)| {
            tables.get(number).and_then(|table| table.cells.get(cell)).filter(|figure| !figure.missing).map(|figure| figure.value)
        };
        let variable =
            |(number, cell): (usize, usize)| self.cells.get(number).and_then(|cells| cells.get(cell)).copied().flatten();
        let values = parts.iter().map(|part| value(*part)).collect::<Option<Vec<f64>>>()?;
        Some(((value(total)?, values), (variable(total), parts.iter().map(|part| variable(*part)).collect())))
    }

    /// Adds "`terms` less `slack` is zero", `slack` not negative; nothing where the figures say otherwise. A slack that is `secret`
    /// counts persons, as a cell does that stands in no table.
    fn at_least(&mut self, slack: f64, secret: bool, terms: impl IntoIterator<Item = (usize, f64)>) {
        if slack < 0.0 {
            return;
        }
        let small = secret && slack > 0.0 && slack < self.minimum;
        let needs = Needs { up: self.minimum - slack, down: slack - 1.0, width: self.minimum - 1.0 };
        self.variables.push(Variable {
            value: slack,
            least: 0.0,
            state: if small { State::Hidden } else { State::Slack },
            cost: 0.0,
            needs: small.then_some(needs),
            equations: Vec::new(),
        });
        let variable = self.variables.len() - 1;
        self.equation(terms.into_iter().chain([(variable, -1.0)]));
    }

    /// The sum of figures, and what is not known of it; none where one of them is missing.
    fn sum_of(&self, tables: &[&FigureTable], terms: &[((usize, usize), f64)]) -> Option<(f64, Vec<(usize, f64)>)> {
        let figure = |(number, cell): (usize, usize)| tables.get(number)?.cells.get(cell).filter(|figure| !figure.missing);
        let sum = terms.iter().map(|(place, sign)| Some(figure(*place)?.value * sign)).sum::<Option<f64>>()?;
        let variable = |(number, cell): (usize, usize)| self.cells.get(number)?.get(cell).copied().flatten();
        Some((sum, terms.iter().filter_map(|(place, sign)| Some((variable(*place)?, *sign))).collect()))
    }

    fn stir(&mut self, terms: &[((usize, usize), f64)], variables: &[(usize, f64)]) {
        if terms.iter().any(|((number, _), _)| *number >= self.first_new) {
            self.stirred.extend(variables.iter().map(|(variable, _)| *variable));
        }
    }

    /// The terms add up to nothing.
    pub(super) fn nothing(&mut self, tables: &[&FigureTable], terms: &[((usize, usize), f64)]) {
        if let Some((_, variables)) = self.sum_of(tables, terms).filter(|(sum, _)| *sum == 0.0) {
            self.stir(terms, &variables);
            self.equation(variables);
        }
    }

    /// The terms add up to nothing or more; `secret` as in [`Self::at_least`].
    pub(super) fn not_negative(&mut self, tables: &[&FigureTable], terms: &[((usize, usize), f64)], secret: bool) {
        if let Some((sum, variables)) = self.sum_of(tables, terms).filter(|(_, variables)| !variables.is_empty()) {
            self.stir(terms, &variables);
            self.at_least(sum, secret, variables);
        }
    }

    fn equation(&mut self, terms: impl IntoIterator<Item = (usize, f64)>) {
        let mut merged: BTreeMap<usize, f64> = BTreeMap::new();
        for (variable, coefficient) in terms {
            *merged.entry(variable).or_default() += coefficient;
        }
        let terms: Vec<(usize, f64)> = merged.into_iter().filter(|(_, c)| *c != 0.0).collect();
        if terms.is_empty() {
            return;
        }
        for (variable, _) in &terms {
            if let Some(variable) = self.variables.get_mut(*variable) {
                variable.equations.push(self.equations.len());
            }
        }
        self.equations.push(terms);
    }
}

/// A count must remain possible at the minimum, and over as many values as a small count can have. A sum, by its largest
/// contribution either way.
fn needs(figure: &Figure, kind: Kind, policy: &Policy) -> Needs {
    let largest = figure.largest[0] as f64;
    let down = match kind {
        Kind::Count => figure.value - 1.0,
        Kind::Sum => largest.min(figure.value),
        Kind::Quantile => 0.0,
    };
    match kind {
        Kind::Count => {
            let minimum = policy.minimum as f64;
            Needs { up: minimum - figure.value, down, width: minimum - 1.0 }
        }
        Kind::Sum => Needs { up: largest, down, width: largest + down },
        Kind::Quantile => Needs { up: 0.0, down, width: 0.0 },
    }
}

/// Counts through the cells of a table.
struct Odometer {
    at: Vec<usize>,
    lengths: Vec<usize>,
}

impl Odometer {
    fn new(dimensions: &[Dimension]) -> Self {
        Self { at: vec![0; dimensions.len()], lengths: dimensions.iter().map(|d| d.categories.len()).collect() }
    }
    /// In how many dimensions it stands at the total.
    fn totals(&self, dimensions: &[Dimension]) -> usize {
        dimensions.iter().zip(&self.at).filter(|(d, at)| d.categories.get(**at) == Some(&Category::Total)).count()
    }
    fn advance(&mut self) {
        for (at, length) in self.at.iter_mut().zip(&self.lengths).rev() {
            *at += 1;
            if *at < *length {
                return;
            }
            *at = 0;
        }
    }
}
