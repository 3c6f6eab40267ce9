//! What an attacker knows of tables that stand side by side: which figures are the same, and how they add up.
//!
//! * Figures of the same units (equal number, equal key) are one variable, in whatever tables they stand.
//! * Where the values of a dimension are a partition, the parts add up to the total. Where they are not (a person may be
//!   at several parties), the total is at least each part and at most their sum.
//! * `stock(m) = stock(m-1) + entries(m) + returns(m) - exits(m)` where the tables hold three of the four or all, month by
//!   month; the one that is lacking is known not to be negative.
//! * Entries of a quarter or a year are those of its months; other counts of units lie between the greatest month's and
//!   the sum.
//!
//! A relation is taken in only where the figures fulfil it, so that none is believed that does not hold. What is not
//! here is listed in docs/disclosure.md.

use std::collections::{BTreeMap, HashMap};

use linkage_agreement::Period;

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
    /// Part of no table: what makes an equation of an inequality.
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
}

type Same = (Unit, Kind, u64, u64, u64);

impl System {
    pub(super) fn of(tables: &[&FigureTable], policy: &Policy) -> Self {
        let mut system = Self::default();
        let mut same: HashMap<Same, usize> = HashMap::new();
        for table in tables {
            let cells = system.variables_of(table, policy, &mut same);
            system.cells.push(cells);
        }
        for (number, table) in tables.iter().enumerate() {
            system.lines(number, table, tables);
        }
        system.flows(tables);
        system.grains(tables);
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
                self.at_least(whole - value, [(total, 1.0), (variable, -1.0)]);
            }
        }
        let parts: Vec<(usize, f64)> = variables.1.iter().flatten().map(|v| (*v, 1.0)).collect();
        self.at_least(sum - whole, parts.into_iter().chain([(total, -1.0)]));
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

    /// Adds "`terms` less `slack` is zero", `slack` not negative; nothing where the figures say otherwise.
    fn at_least(&mut self, slack: f64, terms: impl IntoIterator<Item = (usize, f64)>) {
        if slack < 0.0 {
            return;
        }
        self.variables.push(Variable {
            value: slack,
            least: 0.0,
            state: State::Slack,
            cost: 0.0,
            needs: None,
            equations: Vec::new(),
        });
        let variable = self.variables.len() - 1;
        self.equation(terms.into_iter().chain([(variable, -1.0)]));
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

    /// Stock, entries, returns and exits of months in a row.
    fn flows(&mut self, tables: &[&FigureTable]) {
        for (number, stock) in tables.iter().enumerate().filter(|(_, table)| table.measure == "stock") {
            let find = |measure: &str| {
                let alike =
                    |other: &&FigureTable| other.measure == measure && other.unit == stock.unit && same_breakdown(stock, other);
                tables.iter().enumerate().filter(|(_, other)| alike(other)).map(|(at, _)| at).collect::<Vec<_>>()
            };
            let or_none = |list: Vec<usize>| -> Vec<Option<usize>> {
                if list.is_empty() { vec![None] } else { list.into_iter().map(Some).collect() }
            };
            let (entries, returns, exits) = (or_none(find("entries")), or_none(find("returns")), or_none(find("exits")));
            for (a, b, c) in
                entries.iter().flat_map(|a| returns.iter().flat_map(|b| exits.iter().map(|c| (*a, *b, *c))).collect::<Vec<_>>())
            {
                self.flow(tables, number, [a, b, c]);
            }
        }
    }

    fn flow(&mut self, tables: &[&FigureTable], stock: usize, [entries, returns, exits]: [Option<usize>; 3]) {
        let lacking_in = entries.is_none() || returns.is_none();
        if lacking_in && exits.is_none() {
            return;
        }
        let Some(table) = tables.get(stock) else { return };
        let months = months_of(table);
        let rest: usize = table.dimensions.iter().skip(1).map(|d| d.categories.len()).product();
        for (month, at) in &months {
            let Some(before) = month.index().checked_sub(1).and_then(|index| months.iter().find(|(m, _)| m.index() == index))
            else {
                continue;
            };
            let there = |number: Option<usize>| match number {
                None => Some(None),
                Some(number) => {
                    let table = tables.get(number)?;
                    months_of(table).get(month).map(|period| Some((number, *period)))
                }
            };
            let (Some(entries), Some(returns), Some(exits)) = (there(entries), there(returns), there(exits)) else { continue };
            for cell in 0..rest {
                let mut terms = vec![((stock, at * rest + cell), 1.0), ((stock, before.1 * rest + cell), -1.0)];
                for (place, sign) in [(entries, -1.0), (returns, -1.0), (exits, 1.0)] {
                    terms.extend(place.map(|(number, period)| ((number, period * rest + cell), sign)));
                }
                let figure = |(number, cell): (usize, usize)| tables.get(number)?.cells.get(cell).filter(|f| !f.missing);
                let Some(sum) = terms.iter().map(|(place, sign)| Some(figure(*place)?.value * sign)).sum::<Option<f64>>() else {
                    continue;
                };
                let variables: Vec<(usize, f64)> = terms
                    .iter()
                    .filter_map(|((number, cell), sign)| {
                        self.cells.get(*number).and_then(|cells| cells.get(*cell)).copied().flatten().map(|v| (v, *sign))
                    })
                    .collect();
                if lacking_in {
                    self.at_least(sum, variables);
                } else if exits.is_none() {
                    self.at_least(-sum, variables.into_iter().map(|(v, sign)| (v, -sign)));
                } else if sum == 0.0 {
                    self.equation(variables);
                }
            }
        }
    }

    /// Longer periods and their months.
    fn grains(&mut self, tables: &[&FigureTable]) {
        for (long, table) in
            tables.iter().enumerate().filter(|(_, t)| Kind::of(&t.measure) == Kind::Count && t.measure != "stock")
        {
            let rest: usize = table.dimensions.iter().skip(1).map(|d| d.categories.len()).product();
            for (short, other) in tables.iter().enumerate() {
                if short == long || other.measure != table.measure || other.unit != table.unit || !same_breakdown(table, other) {
                    continue;
                }
                let months = months_of(other);
                for (at, indices) in long_periods(table) {
                    let Some(within) = indices
                        .map(|index| months.iter().find(|(m, _)| m.index() == index).map(|(_, at)| *at))
                        .collect::<Option<Vec<usize>>>()
                    else {
                        continue;
                    };
                    for cell in 0..rest {
                        let parts: Vec<(usize, usize)> = within.iter().map(|month| (short, month * rest + cell)).collect();
                        if table.measure == "entries" {
                            self.sum(tables, (long, at * rest + cell), &parts);
                        } else {
                            self.cover(tables, (long, at * rest + cell), &parts);
                        }
                    }
                }
            }
        }
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

fn same_breakdown(a: &FigureTable, b: &FigureTable) -> bool {
    a.dimensions.len() == b.dimensions.len() && a.dimensions.iter().skip(1).eq(b.dimensions.iter().skip(1))
}

/// Months of a table's first dimension, with their positions.
fn months_of(table: &FigureTable) -> BTreeMap<Period, usize> {
    let categories = table.dimensions.first().map(|d| d.categories.as_slice()).unwrap_or_default();
    let month = |category: &Category| match category {
        Category::Value(text) => text.parse::<Period>().ok(),
        _ => None,
    };
    categories.iter().enumerate().filter_map(|(at, category)| Some((month(category)?, at))).collect()
}

/// Quarters and years of a table's first dimension: position, and the months as [`Period::index`].
fn long_periods(table: &FigureTable) -> Vec<(usize, std::ops::Range<u32>)> {
    let categories = table.dimensions.first().map(|d| d.categories.as_slice()).unwrap_or_default();
    let months = |category: &Category| {
        let Category::Value(text) = category else { return None };
        let (year, quarter) = match text.split_once("-T") {
            Some((year, quarter)) => (year, Some(quarter.parse::<u8>().ok()?)),
            None => (text.as_str(), None),
        };
        let year = year.parse().ok()?;
        let (first, length) = match quarter {
            Some(quarter) => (Period::new(year, quarter.checked_mul(3)?.checked_sub(2)?)?, 3),
            None => (Period::new(year, 1)?, 12),
        };
        Some(first.index()..first.index() + length)
    };
    categories.iter().enumerate().filter_map(|(at, category)| Some((at, months(category)?))).collect()
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
