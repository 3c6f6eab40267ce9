//! Suppression: which cells of tables to hide so that nothing small can be worked out.

use crate::figures::FigureTable;

use super::{Policy, Refused, rules};

/// What was published before: a raw table and which of its cells were hidden.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// The raw table.
    pub table: FigureTable,
    /// By cell, whether it was hidden.
    pub hidden: Vec<bool>,
}

/// Which cells of `tables` to hide, given what was `published`.
pub(super) fn patterns(tables: &[&FigureTable], policy: &Policy, _published: &[Published]) -> Result<Vec<Vec<bool>>, Refused> {
    Ok(tables.iter().map(|table| rules::sensitive(table, policy)).collect())
}
