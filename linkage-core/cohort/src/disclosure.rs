//! Disclosure control: figures in, tables that may be shown out.
//!
//! What is held off: a reader of what is shown, who may know a great deal about some persons, learning something of a
//! person or of a few. The smallest count shown is the agreement's minimum. Beneath it, either cells are hidden together
//! with as many others as subtraction needs ([`suppression`]), or every count bears a noise that is the same for the
//! same persons ([`cell_key`]). Which of the two is used where, and what neither can do, stands in docs/disclosure.md and
//! docs/adr/0022.
//!
//! [`protect`] is the one way to a [`PublicTable`].

pub mod audit;
pub mod cell_key;
pub mod keys;
mod rules;
mod simplex;
pub mod suppression;
mod system;

use serde::{Deserialize, Serialize};

use crate::figures::{Figure, FigureTable, Unit};
use crate::interval::ErrorRates;
use crate::public::{Method, PublicTable, Shown};
use audit::Measures;
use cell_key::Noise;
pub use rules::Kind;
pub use suppression::Published;

/// What an agreement says of published figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How small counts are protected.
    pub method: Method,
    /// Smallest count shown.
    pub minimum: u64,
    /// Share of a sum, in percent, that its largest contribution must not exceed.
    pub dominance_percent: u32,
    /// What figures are rounded to; 0 and 1: whole numbers.
    pub round_to: u64,
}

impl Policy {
    /// The policy for a table that somebody composed. Suppression protects the tables that it sees together; against a
    /// table asked for next month with another predicate it is helpless, so that queries always bear noise, and
    /// suppression is for ready-made reports (docs/adr/0022).
    #[must_use]
    pub fn for_query(self) -> Self {
        Self { method: Method::CellKey, ..self }
    }
}

/// Why a table is not shown at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The table is not what it says: its cells are not as many as its categories make.
    #[error("le tableau est incohérent : {cells} cellules pour {expected} attendues")]
    Malformed {
        /// Cells there are.
        cells: usize,
        /// Cells that the dimensions make.
        expected: usize,
    },
    /// More cells than can be protected.
    #[error("le tableau compte {cells} cellules, plus que les {most} admises ; réduisez les ventilations ou les périodes")]
    TooLarge {
        /// Cells of all tables that are protected together.
        cells: usize,
        /// The most.
        most: usize,
    },
    /// More small counts than suppression can protect in reasonable time.
    #[error("{small} petits effectifs sont à protéger, plus que les {most} admis ; réduisez les ventilations ou les périodes")]
    TooFine {
        /// Small counts.
        small: usize,
        /// The most.
        most: usize,
    },
    /// Every figure of the tables shown together would be hidden.
    #[error(
        "toutes les cellules du tableau seraient masquées (moins de {minimum} unités chacune, ou masquées pour protéger celles-ci) ; \
         réduisez les ventilations ou allongez les périodes"
    )]
    AllHidden {
        /// Smallest count shown.
        minimum: u64,
    },
    /// What was published before and this table would together give small counts away, whatever is hidden.
    #[error(
        "avec les tableaux déjà publiés, ce tableau révélerait des effectifs inférieurs à {minimum} ; il ne peut pas être publié"
    )]
    Conflict {
        /// Smallest count shown.
        minimum: u64,
    },
}

/// Most cells of tables that are protected together.
pub const MOST_CELLS: usize = 200_000;

/// Protects one table. `errors` gives the linkage-error intervals; `noise` is used by [`Method::CellKey`].
///
/// # Errors
/// See [`Refused`].
pub fn protect(
    table: &FigureTable,
    title: &str,
    policy: &Policy,
    errors: &ErrorRates,
    noise: &Noise<'_>,
) -> Result<PublicTable, Refused> {
    let mut made = protect_together(&[(table, title)], policy, errors, noise)?;
    made.pop().ok_or(Refused::Malformed { cells: 0, expected: 1 })
}

/// Protects tables that are shown together, as those of one report: a count that stands in several is hidden in all or
/// in none, and what stock, entries, returns and exits tell of one another is reckoned with. Tables come back in order.
///
/// # Errors
/// See [`Refused`].
pub fn protect_together(
    tables: &[(&FigureTable, &str)],
    policy: &Policy,
    errors: &ErrorRates,
    noise: &Noise<'_>,
) -> Result<Vec<PublicTable>, Refused> {
    protect_beside(&[], tables, policy, errors, noise)
}

/// Protects tables that are shown beside what was `published` under suppression before: what was hidden stays hidden, what
/// was shown counts as known. (Cell-key noise looks at `noise`'s ledger instead.)
///
/// # Errors
/// See [`Refused`].
pub fn protect_beside(
    published: &[Published],
    tables: &[(&FigureTable, &str)],
    policy: &Policy,
    errors: &ErrorRates,
    noise: &Noise<'_>,
) -> Result<Vec<PublicTable>, Refused> {
    let raw: Vec<&FigureTable> = tables.iter().map(|(table, _)| *table).collect();
    check(&raw)?;
    let hidden = match policy.method {
        Method::Suppression => suppression::patterns(&raw, policy, published)?,
        Method::CellKey => raw.iter().map(|table| rules::sensitive(table, policy)).collect(),
    };
    let made: Vec<PublicTable> =
        tables.iter().zip(&hidden).map(|((table, title), hidden)| show(table, title, hidden, policy, errors, noise)).collect();
    // One empty table among others says what the others' text needs; nothing but empty ones is no answer.
    let cells = || made.iter().flat_map(|table| &table.cells);
    let filled = |shown: &Shown| matches!(shown, Shown::Value { value, .. } if *value != 0.0);
    if cells().any(|shown| *shown == Shown::Hidden) && !cells().any(filled) {
        return Err(Refused::AllHidden { minimum: policy.minimum });
    }
    Ok(made)
}

fn check(tables: &[&FigureTable]) -> Result<(), Refused> {
    for table in tables {
        let expected = table.dimensions.iter().try_fold(1usize, |n, d| n.checked_mul(d.categories.len())).unwrap_or(usize::MAX);
        if table.cells.len() != expected {
            return Err(Refused::Malformed { cells: table.cells.len(), expected });
        }
    }
    let cells = tables.iter().map(|table| table.cells.len()).sum();
    if cells > MOST_CELLS { Err(Refused::TooLarge { cells, most: MOST_CELLS }) } else { Ok(()) }
}

fn show(
    table: &FigureTable,
    title: &str,
    hidden: &[bool],
    policy: &Policy,
    errors: &ErrorRates,
    noise: &Noise<'_>,
) -> PublicTable {
    let kind = Kind::of(&table.measure);
    let measures = Measures::of(table);
    let value = |at: usize, figure: &Figure, hidden: bool| -> Option<f64> {
        if figure.units == 0 {
            return Some(figure.value);
        }
        match policy.method {
            Method::Suppression => (!hidden).then_some(figure.value),
            Method::CellKey => match noise.before(&measures, at, table.unit, figure, policy.round_to) {
                Some(before) => before,
                None if hidden => None,
                None => noise.apply(kind, table.unit, figure, policy.minimum),
            },
        }
    };
    let cells: Vec<Shown> = table
        .cells
        .iter()
        .zip(hidden)
        .enumerate()
        .map(|(at, (figure, hidden))| match value(at, figure, *hidden) {
            _ if figure.missing => Shown::Missing,
            None => Shown::Hidden,
            Some(value) => Shown::Value { value: rules::round(value, kind, policy.round_to), interval: None, uncertain: false },
        })
        .collect();
    let mut made = PublicTable {
        title: title.to_owned(),
        unit: table.unit,
        measure: table.measure.clone(),
        dimensions: table.dimensions.clone(),
        cells,
        notes: table.notes.clone(),
        method: policy.method,
        minimum: policy.minimum,
    };
    crate::interval::attach(table.whom, &mut made, errors, policy.round_to);
    made
}

/// Name of a unit in derivations.
fn unit_label(unit: Unit) -> u8 {
    match unit {
        Unit::Persons => 1,
        Unit::Households => 2,
    }
}
