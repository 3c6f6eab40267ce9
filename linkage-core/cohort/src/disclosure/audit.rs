//! What has been shown before, so that two cells that differ by one person tell nothing of that person.
//!
//! Noise that is the same for the same persons has a known weakness: whoever asks for a group with a person and without
//! learns from *any* difference that the person counts in it, since equal sets would have been shown as equal. So a cell
//! is held against every cell that was shown: keys add up, hence the key of a set with one person more differs by just
//! that person's key, which the analyst's side can look up. A cell that differs by at most one person from one that was
//! shown is shown as that one was; so is a cell of the same persons, in whatever table and under whichever method it
//! stood. Whether the person counts then changes nothing that can be seen.
//!
//! Two or more persons are not looked for (it would take a search for each pair of cells): there, noise protects, and the
//! budget of tables bounds how often it can be averaged. Nor can a ladder of sets, each with one person more, show the
//! first one's figure for ever: a cell whose own count is further than [`REACH`] from it draws noise of its own.
//! docs/disclosure.md has the measurements.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::cell_key::Noise;
use super::rules::Kind;
use crate::figures::{Category, Figure, FigureTable, Unit};
use crate::public::{PublicTable, Shown};

/// How far the figure of a cell shown before may lie from a cell's own count to stand for it, rounding apart.
pub const REACH: f64 = (Noise::MOST + 2) as f64;

/// A cell that was shown, or hidden in a table that was: what the journal keeps of it. The key and the units are raw: they
/// stay in the analyst's data folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    unit: Unit,
    measure: Measured,
    units: u64,
    key: u64,
    raw: f64,
    largest: u64,
    /// None where it was hidden.
    shown: Option<f64>,
}

/// What keeps figures of the same units apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Measured {
    Count,
    Sum,
    /// Which quantile.
    Quantile(String),
}

/// The cells of a table to remember once it has been shown to anybody.
pub fn remember(raw: &FigureTable, shown: &PublicTable) -> Vec<Remembered> {
    let measures = Measures::of(raw);
    let cells = raw.cells.iter().zip(&shown.cells).enumerate();
    cells
        .filter(|(_, (figure, shown))| figure.units > 0 && **shown != Shown::Missing)
        .map(|(at, (figure, shown))| Remembered {
            unit: raw.unit,
            measure: measures.at(at),
            units: figure.units,
            key: figure.key,
            raw: figure.value,
            largest: figure.largest[0],
            shown: match shown {
                Shown::Value { value, .. } => Some(*value),
                Shown::Hidden | Shown::Missing => None,
            },
        })
        .collect()
}

/// By cell, what it measures.
pub(super) struct Measures {
    kind: Kind,
    /// Names of the quantiles, and how many cells lie between one and the next.
    quantiles: Option<(Vec<String>, usize)>,
}

impl Measures {
    pub(super) fn of(table: &FigureTable) -> Self {
        let names = |categories: &[Category]| {
            let name = |category: &Category| match category {
                Category::Value(text) => text.clone(),
                other => format!("{other:?}"),
            };
            categories.iter().map(name).collect()
        };
        let which = table.dimensions.iter().position(|d| d.name == "quantile");
        let quantiles = which.and_then(|which| {
            let stride = table.dimensions.iter().skip(which + 1).map(|d| d.categories.len()).product::<usize>().max(1);
            Some((names(&table.dimensions.get(which)?.categories), stride))
        });
        Self { kind: Kind::of(&table.measure), quantiles }
    }
    pub(super) fn at(&self, cell: usize) -> Measured {
        match self.kind {
            Kind::Count => Measured::Count,
            Kind::Sum => Measured::Sum,
            Kind::Quantile => {
                let name = self.quantiles.as_ref().and_then(|(names, stride)| names.get(cell / stride % names.len().max(1)));
                Measured::Quantile(name.cloned().unwrap_or_default())
            }
        }
    }
}

/// All cells that were shown to anybody under an agreement.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Keys of persons, rising.
    keys: Vec<u64>,
    cells: HashMap<(Unit, Measured, u64), Vec<Remembered>>,
}

impl Ledger {
    /// A ledger of nothing, for persons with these keys.
    pub fn new(person_keys: &[u64]) -> Self {
        let mut keys = person_keys.to_vec();
        keys.sort_unstable();
        Self { keys, cells: HashMap::new() }
    }
    /// Takes cells into account, in the order in which they were shown.
    pub fn extend(&mut self, cells: impl IntoIterator<Item = Remembered>) {
        for cell in cells {
            self.cells.entry((cell.unit, cell.measure.clone(), cell.units)).or_default().push(cell);
        }
    }
    /// What a cell of the same units, or of one person more or less, was shown as: the outer `None` where there is no
    /// such cell.
    pub(super) fn near(&self, measure: &Measured, unit: Unit, figure: &Figure, round_to: u64) -> Option<Option<f64>> {
        let of = |units: u64| self.cells.get(&(unit, measure.clone(), units)).map(Vec::as_slice).unwrap_or_default();
        let alike = |other: &&Remembered| other.alike(figure, round_to);
        if let Some(same) = of(figure.units).iter().filter(alike).find(|other| other.key == figure.key) {
            return Some(same.shown);
        }
        let by_one = [figure.units, figure.units.saturating_sub(1), figure.units.saturating_add(1)];
        let mut near = by_one.into_iter().flat_map(of).filter(alike);
        near.find(|other| self.differ_by_one(other.key, figure.key)).map(|other| other.shown)
    }
    fn differ_by_one(&self, a: u64, b: u64) -> bool {
        [a.wrapping_sub(b), b.wrapping_sub(a)].iter().any(|key| self.keys.binary_search(key).is_ok())
    }
}

impl Remembered {
    /// Whether its figure may stand for `figure`.
    fn alike(&self, figure: &Figure, round_to: u64) -> bool {
        match self.measure {
            Measured::Count => self.shown.is_none_or(|shown| (shown - figure.value).abs() <= REACH + round_to as f64 / 2.0),
            // Sums of another attribute over the same persons are other figures.
            Measured::Sum => (self.raw - figure.value).abs() <= self.largest.max(figure.largest[0]) as f64,
            Measured::Quantile(_) => true,
        }
    }
}
