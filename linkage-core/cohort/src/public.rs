//! Tables that may be shown: figures after disclosure control, with their linkage-error intervals.
//!
//! A [`PublicTable`] is made by [`crate::disclosure`] alone, from a [`crate::FigureTable`]. Everything that is printed,
//! drawn, exported or sent is one.

use serde::{Deserialize, Serialize};

use crate::figures::{Dimension, Note, Unit, position};

/// How small counts are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Small cells are hidden, and others with them so that no subtraction gives them back.
    Suppression,
    /// Every count bears a small noise drawn from the persons in it: the same persons, the same noise.
    CellKey,
}

/// One cell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "cell")]
pub enum Shown {
    /// A figure.
    Value {
        /// The figure, after rounding and noise.
        value: f64,
        /// Least and greatest value in view of missed and false links (95 %); none where there is no model of the measure.
        interval: Option<[f64; 2]>,
        /// Whether the interval is so wide that it changes the reading.
        uncertain: bool,
    },
    /// Small, or hidden to protect a small one.
    Hidden,
    /// Nothing can be said: what it needs was not delivered.
    Missing,
}

/// A table that may be shown. Other crates cannot make one (but read back one that was written).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PublicTable {
    /// Title, from the query.
    pub title: String,
    /// What is counted.
    pub unit: Unit,
    /// The measure's name, as in query documents.
    pub measure: String,
    /// Dimensions, the periods first.
    pub dimensions: Vec<Dimension>,
    /// Cells, the last dimension running fastest.
    pub cells: Vec<Shown>,
    /// What the figures lack.
    pub notes: Vec<Note>,
    /// How small counts are protected.
    pub method: Method,
    /// Smallest count shown.
    pub minimum: u64,
}

impl PublicTable {
    /// The cell at `at`, one category number for each dimension.
    pub fn cell(&self, at: &[usize]) -> Option<Shown> {
        self.cells.get(position(&self.dimensions, at)?).copied()
    }
}
