//! Names to clkhash filters, by a linkage schema of version 3, bit for bit as clkhash 0.18.3 makes them.
//!
//! For partners that take part with clkhash files: **these filters are re-identifiable** (docs/clk.md), and the secret must
//! never reach who compares them. This crate reads names, so broker, custodian and analyst cannot reach it
//! (tests/tests/import_rules.rs). What clkhash would do and this crate does not know is refused when the schema is read,
//! never approximated. Source: clkhash 0.18.3 (`schema.py`, `field_formats.py`, `comparators.py`, `bloomfilter.py`,
//! `key_derivation.py`); known answers in tests/clk.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bits;
mod format;
mod memo;
mod schema;
mod tokens;

pub use bits::{Encoder, Worker};
pub use schema::{Schema, SchemaError};

/// Why a row was refused. Names the column, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// Not as many cells as the schema has features.
    #[error("{found} cellules au lieu de {expected}")]
    Cells {
        /// Cells in the row.
        found: usize,
        /// Features of the schema.
        expected: usize,
    },
    /// A cell that does not follow its feature's format.
    #[error("colonne « {column} » : {fault}")]
    Cell {
        /// The feature's identifier.
        column: String,
        /// What is wrong.
        fault: CellFault,
    },
}

/// What is wrong with a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CellFault {
    /// A letter that the feature's encoding lacks.
    #[error("lettre absente de l'encodage du schéma")]
    Encoding,
    /// Not matched by the pattern.
    #[error("ne suit pas le motif du schéma")]
    Pattern,
    /// Shorter or longer than allowed.
    #[error("longueur hors des bornes du schéma")]
    Length,
    /// Not in the case asked for.
    #[error("casse différente de celle du schéma")]
    Case,
    /// Not a whole number.
    #[error("n'est pas un nombre entier")]
    Integer,
    /// Not a number.
    #[error("n'est pas un nombre")]
    Number,
    /// Below the minimum or above the maximum.
    #[error("nombre hors des bornes du schéma")]
    Range,
    /// Not a date of the format.
    #[error("n'est pas une date au format du schéma")]
    Date,
    /// Not one of the values.
    #[error("valeur absente de la liste du schéma")]
    Value,
}
