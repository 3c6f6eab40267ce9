//! Tables of figures: what a query gives, before disclosure control.
//!
//! A table is a cube: one dimension for the periods, then one for each breakdown. Its cells hold what disclosure control
//! needs beside the figure itself, so that nothing has to be counted twice. A [`FigureTable`] is raw and
//! must not be shown: [`crate::disclosure`] turns it into one that may be.

use linkage_agreement::{PartyId, Period};
use serde::{Deserialize, Serialize};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Distinct persons.
    Persons,
    /// Distinct households.
    Households,
}

/// One value of a dimension.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// A value: a period, a party, a combination of parties joined by ` + `, an attribute's value, a path joined by ` > `.
    Value(String),
    /// The attribute is missing for the unit.
    Unknown,
    /// The unit is not in the population in that period: a state of transitions.
    Absent,
    /// All values of a dimension that names what occurred (combinations, paths, states) with too few units to be told.
    Others,
    /// All values together.
    Total,
}

/// One dimension of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimension {
    /// `period`, `party`, `parties`, `age`, `composition-menage`, the name of an attribute, `from`, `to`, `path`,
    /// `quantile`.
    pub name: String,
    /// Values in order; the total last, where there is one.
    pub categories: Vec<Category>,
    /// Whether every unit of the total is in exactly one of the other categories, so that these add up to it.
    pub partition: bool,
}

/// Whom a table counts, as the query says it and nothing of the data does: what linkage-error intervals go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "whom")]
pub enum Whom {
    /// Everybody, or everybody at each party.
    Everybody,
    /// A population that one party's records of the month counted decide: links with other parties change nothing.
    OneParty,
    /// Some other population.
    Population {
        /// Parties that each of its units must have met.
        parties: u32,
    },
}

impl Default for Whom {
    /// What is the most that can be said of an unknown one.
    fn default() -> Self {
        Self::Population { parties: 1 }
    }
}

/// One cell, raw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Units that contribute.
    pub units: u64,
    /// The figure: the number of units for counts, months for durations, a sum of an attribute for sums.
    pub value: f64,
    /// Sum modulo 2^64 of the contributing units' keys (Thompson, Broadfoot, Elazar 2013): the same units, the same key.
    pub key: u64,
    /// The two largest single contributions to a sum; 0 for counts.
    pub largest: [u64; 2],
    /// Nothing can be said: a period or a party that the figure needs was not delivered, or fewer stays have ended than a
    /// quantile needs.
    pub missing: bool,
}

/// Something to be read with the figures.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "note")]
pub enum Note {
    /// The party delivered nothing for the month.
    NotDelivered {
        /// The month.
        period: Period,
        /// The party.
        party: PartyId,
    },
    /// No run of the month is here.
    NoRun {
        /// The month.
        period: Period,
    },
    /// The period is longer than what is counted of it: the query's months begin or end within it.
    Partial {
        /// The period, as its dimension writes it.
        name: String,
        /// First month counted.
        from: Period,
        /// Last month counted.
        to: Period,
    },
}

/// A query's result, raw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FigureTable {
    /// What is counted.
    pub unit: Unit,
    /// The measure's name, as in query documents.
    pub measure: String,
    /// The attribute that a sum is of.
    #[serde(default)]
    pub of: Option<String>,
    /// Whom it counts.
    #[serde(default)]
    pub whom: Whom,
    /// Which population it counts: the same number for the same one, 0 for everybody.
    #[serde(default)]
    pub population: u64,
    /// Dimensions, the periods first.
    pub dimensions: Vec<Dimension>,
    /// Cells, the last dimension running fastest.
    pub cells: Vec<Figure>,
    /// What the figures lack.
    pub notes: Vec<Note>,
}

impl FigureTable {
    /// Position of the cell at `at`, one category number for each dimension.
    pub fn position(&self, at: &[usize]) -> Option<usize> {
        position(&self.dimensions, at)
    }
    /// The cell at `at`, one category number for each dimension.
    pub fn cell(&self, at: &[usize]) -> Option<&Figure> {
        self.cells.get(self.position(at)?)
    }
}

/// Position in a table of `dimensions`, the last running fastest, of the cell at `at`.
pub(crate) fn position(dimensions: &[Dimension], at: &[usize]) -> Option<usize> {
    if at.len() != dimensions.len() {
        return None;
    }
    dimensions.iter().zip(at).try_fold(0, |position, (dimension, index)| {
        (*index < dimension.categories.len()).then_some(position * dimension.categories.len() + index)
    })
}
