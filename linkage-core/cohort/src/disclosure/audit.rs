//! What has been shown before, so that two cells that differ by one unit tell nothing of that unit.
//!
//! Noise that is the same for the same persons has a known weakness: whoever asks for a group with a person and without
//! learns from *any* difference that the person counts in it, since equal sets would have been shown as equal. So a cell
//! is held against every cell that was shown: keys add up, hence the key of a set with one unit more differs by just
//! that unit's key, which the analyst's side can look up (persons' keys; for households also those of all households). A
//! cell that differs by at most one unit from one that was shown is shown as that one was; so is a cell of the same units,
//! in whatever table and under whichever method it stood. Whether the unit counts then changes nothing that can be seen.
//!
//! Nor can a ladder of sets, each with one unit more or less, show the first one's figure for ever: the figures that follow
//! from one another are a chain, and a cell follows as long as it is not further from the *first* of its chain, in units,
//! than a reach that is drawn from the first one's key. Where the chain breaks is then known to whoever counts his own steps,
//! and tells nothing of how many units there are. A figure never stands for fewer than the minimum less one: below, cells
//! are hidden without being looked up.
//!
//! Two or more units are not looked for (it would take a search for each pair of cells): there, noise protects, and the
//! bound on questions limits how often it can be averaged. docs/disclosure.md has the measurements.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::rules::Kind;
use crate::figures::{Category, Figure, FigureTable, Unit};

const LABEL: &[u8] = b"linkage/disclosure/1/reach";

/// How far from the first cell of its chain, in units, a cell may be at most and still follow it.
pub const FURTHEST: u64 = 8;
/// Reaches are drawn from this to [`FURTHEST`], where the minimum leaves room for them.
const NEAREST: u64 = 3;
/// How far, in months, a quantile shown before may lie from a cell's own to stand for it.
const MONTHS: f64 = 1.0;

/// A cell that was shown, or hidden in a table that was: what is kept of it. It is raw, and stays in the analyst's data
/// folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    unit: Unit,
    measure: Measured,
    units: u64,
    key: u64,
    /// None where it was hidden.
    shown: Option<f64>,
    first: First,
}

/// The first cell of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct First {
    units: u64,
    key: u64,
    raw: f64,
    largest: u64,
}

/// What keeps figures of the same units apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Measured {
    Count,
    /// Of which attribute.
    Sum(String),
    /// Which quantile.
    Quantile(String),
}

/// Whether cells of so many units are held against what was shown: smaller ones are hidden in any case.
pub(super) fn is_looked_up(units: u64, minimum: u64) -> bool {
    units > 0 && units + 1 >= minimum
}

impl Remembered {
    /// A cell as it was shown; `after` the one that it follows.
    pub(super) fn new(unit: Unit, measure: Measured, figure: &Figure, shown: Option<f64>, after: Option<&Self>) -> Self {
        let own = First { units: figure.units, key: figure.key, raw: figure.value, largest: figure.largest[0] };
        let first = after.map_or(own, |after| after.first);
        Self { unit, measure, units: figure.units, key: figure.key, shown, first }
    }

    /// What the cell was shown as; none where it was hidden.
    pub(super) fn shown(&self) -> Option<f64> {
        self.shown
    }

    /// Whether its figure may stand for `figure`.
    fn alike(&self, figure: &Figure, minimum: u64) -> bool {
        let [down, up] = self.first.reach(minimum);
        let within = self.first.units <= figure.units + down && figure.units <= self.first.units + up;
        match self.measure {
            // The same units are the same count.
            Measured::Count => within || self.key == figure.key,
            Measured::Sum(_) => {
                let steps = (up / 2).max(1) * self.first.largest.max(figure.largest[0]);
                within && (self.first.raw - figure.value).abs() <= steps as f64
            }
            // The same persons have other stays in another period.
            Measured::Quantile(_) => within && self.shown.is_none_or(|shown| (shown - figure.value).abs() <= MONTHS),
        }
    }
}

impl First {
    /// How many units fewer, and more, a cell of the chain may have. Where the minimum is near, every number of steps down
    /// to it is as likely, so that the end of the chain does not tell how near it is.
    fn reach(&self, minimum: u64) -> [u64; 2] {
        let digest = Sha256::new().chain_update(LABEL).chain_update(self.key.to_le_bytes()).finalize();
        let [down, up] = digest.first_chunk().copied().unwrap_or([0; 2]).map(u64::from);
        let drawn = |byte: u64| NEAREST + byte % (FURTHEST - NEAREST + 1);
        let room = (self.units + 1).saturating_sub(minimum);
        let down = if room >= FURTHEST { drawn(down) } else { (1 + down % room.max(1)).min(room) };
        [down, drawn(up)]
    }
}

/// By cell, what it measures.
pub(super) struct Measures {
    kind: Kind,
    of: String,
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
        Self { kind: Kind::of(&table.measure), of: table.of.clone().unwrap_or_default(), quantiles }
    }
    pub(super) fn at(&self, cell: usize) -> Measured {
        match self.kind {
            Kind::Count => Measured::Count,
            Kind::Sum => Measured::Sum(self.of.clone()),
            Kind::Quantile => {
                let name = self.quantiles.as_ref().and_then(|(names, stride)| names.get(cell / stride % names.len().max(1)));
                Measured::Quantile(name.cloned().unwrap_or_default())
            }
        }
    }
}

/// Keys of units, to be looked for.
#[derive(Debug, Clone, Default)]
struct Keys {
    /// Rising.
    sorted: Vec<u64>,
    /// A bit for the leading bits of each key: most differences of sets are no key, and are told so at once.
    leading: Vec<u64>,
    shift: u32,
}

impl Keys {
    fn of(keys: &[u64]) -> Self {
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let bits = (sorted.len() * 16).next_power_of_two().clamp(64, 1 << 26).trailing_zeros();
        let mut made = Self { sorted, leading: vec![0; 1 << (bits - 6)], shift: 64 - bits };
        for key in &made.sorted {
            let bit = key >> made.shift;
            if let Some(word) = made.leading.get_mut((bit >> 6) as usize) {
                *word |= 1 << (bit & 63);
            }
        }
        made
    }
    fn contains(&self, key: u64) -> bool {
        let bit = key.checked_shr(self.shift).unwrap_or(0);
        let may = self.leading.get((bit >> 6) as usize).is_some_and(|word| word >> (bit & 63) & 1 == 1);
        may && self.sorted.binary_search(&key).is_ok()
    }
}

/// All cells that were shown to anybody under an agreement.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    persons: Keys,
    households: Option<Keys>,
    cells: HashMap<(Unit, Measured, u64), Vec<Remembered>>,
}

impl Ledger {
    /// A ledger of nothing, for persons with these keys.
    pub fn new(person_keys: &[u64]) -> Self {
        Self { persons: Keys::of(person_keys), households: None, cells: HashMap::new() }
    }
    /// Gives it the keys of persons anew, those among them whom the study holds no more: a set that one of them has left differs by
    /// that one.
    pub fn know_persons(&mut self, keys: &[u64]) {
        self.persons = Keys::of(keys);
    }
    /// Whether it was given the keys of households.
    pub fn knows_households(&self) -> bool {
        self.households.is_some()
    }
    /// Gives it the keys of households ([`crate::query::household_keys`]): tables of households need them.
    pub fn know_households(&mut self, keys: &[u64]) {
        self.households = Some(Keys::of(keys));
    }
    /// Forgets all cells.
    pub fn clear(&mut self) {
        self.cells.clear();
    }
    /// Takes cells into account, in the order in which they were shown.
    pub fn extend(&mut self, cells: impl IntoIterator<Item = Remembered>) {
        for cell in cells {
            self.cells.entry((cell.unit, cell.measure.clone(), cell.units)).or_default().push(cell);
        }
    }

    fn of(&self, measure: &Measured, unit: Unit, units: u64) -> &[Remembered] {
        self.cells.get(&(unit, measure.clone(), units)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The cell that one of the same units, or of one unit more or less, follows.
    pub(super) fn near(&self, measure: &Measured, unit: Unit, figure: &Figure, minimum: u64) -> Option<&Remembered> {
        let alike = |other: &&Remembered| other.alike(figure, minimum);
        let of = |units: u64| self.of(measure, unit, units).iter();
        let same = of(figure.units).filter(|other| other.key == figure.key).find(alike);
        same.or_else(|| {
            let by_one = [figure.units, figure.units.saturating_sub(1), figure.units.saturating_add(1)];
            let near = |other: &&Remembered| self.differ_by_one(unit, other.key, figure.key);
            by_one.into_iter().flat_map(of).filter(near).find(alike)
        })
    }
    fn differ_by_one(&self, unit: Unit, a: u64, b: u64) -> bool {
        let households = self.households.as_ref().filter(|_| unit == Unit::Households);
        let is_key = |key: u64| self.persons.contains(key) || households.is_some_and(|households| households.contains(key));
        is_key(a.wrapping_sub(b)) || is_key(b.wrapping_sub(a))
    }

    /// How many comparisons it takes to hold a table against what was shown.
    pub(super) fn comparisons(&self, table: &FigureTable, minimum: u64) -> u64 {
        let measures = Measures::of(table);
        let cells = table.cells.iter().enumerate().filter(|(_, figure)| is_looked_up(figure.units, minimum));
        let of = |(at, figure): (usize, &Figure)| -> u64 {
            let measure = measures.at(at);
            (figure.units - 1..=figure.units + 1).map(|units| self.of(&measure, table.unit, units).len() as u64).sum()
        };
        cells.map(of).sum()
    }
}
