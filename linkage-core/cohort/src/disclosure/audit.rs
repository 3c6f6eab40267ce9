//! What has been shown before, so that two tables that differ by a person or two tell nothing of them.

use crate::figures::{Figure, FigureTable, Unit};
use crate::public::PublicTable;

use super::rules::Kind;

/// Cells that have been shown.
#[derive(Debug, Clone, Default)]
pub struct Ledger {}

impl Ledger {
    /// Takes a table that was shown into account.
    pub fn record(&mut self, _raw: &FigureTable, _shown: &PublicTable) {}
    /// What a cell nearly the same was shown as.
    pub(super) fn near(&self, _kind: Kind, _unit: Unit, _figure: &Figure) -> Option<Option<f64>> {
        None
    }
}
