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
mod fold;
pub mod keys;
mod relations;
mod rules;
mod simplex;
pub mod suppression;
mod system;

use serde::{Deserialize, Serialize};

use crate::figures::{Figure, FigureTable, Unit, Whom};
use crate::interval::ErrorRates;
use crate::public::{Method, PublicTable, Shown};
use audit::{Measures, Remembered};
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
    /// Holding the tables against all that was shown before would take too long.
    #[error(
        "le tableau a trop de cellules pour être comparé à tout ce qui a déjà été montré ; réduisez les ventilations ou les périodes"
    )]
    TooManyComparisons,
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
/// Most comparisons of cells with cells shown before that one question may take: a few seconds.
const MOST_COMPARISONS: u64 = 300_000_000;

/// A table that may be shown, and what is to be remembered of it once it has been.
#[derive(Debug, Clone, PartialEq)]
pub struct Protected {
    /// The table.
    pub table: PublicTable,
    /// Its cells, for [`audit::Ledger::extend`]; raw.
    pub remembered: Vec<Remembered>,
}

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
    Ok(protect_beside(&[], tables, policy, errors, noise)?.into_iter().map(|made| made.table).collect())
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
) -> Result<Vec<Protected>, Refused> {
    let raw: Vec<&FigureTable> = tables.iter().map(|(table, _)| *table).collect();
    check(&raw)?;
    let made: Vec<Protected> = match policy.method {
        Method::Suppression => {
            let hidden = suppression::patterns(&raw, policy, published)?;
            tables.iter().zip(hidden).map(|((table, title), hidden)| suppressed(table, title, &hidden, policy, errors)).collect()
        }
        Method::CellKey => {
            let comparisons = |table: &&FigureTable| noise.ledger().map_or(0, |l| l.comparisons(table, policy.minimum));
            if raw.iter().map(comparisons).fold(0, u64::saturating_add) > MOST_COMPARISONS {
                return Err(Refused::TooManyComparisons);
            }
            tables.iter().map(|(table, title)| noisy(table, title, policy, errors, noise)).collect()
        }
    };
    // One empty table among others says what the others' text needs; nothing but empty ones is no answer.
    let cells = || made.iter().flat_map(|made| &made.table.cells);
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

/// A table under suppression, `hidden` saying which cells are. Empty cells are shown as empty.
fn suppressed(table: &FigureTable, title: &str, hidden: &[bool], policy: &Policy, errors: &ErrorRates) -> Protected {
    let kind = Kind::of(&table.measure);
    let measures = Measures::of(table);
    let shown = |(figure, hidden): (&Figure, &bool)| match figure {
        figure if figure.missing || (kind == Kind::Quantile && figure.units == 0) => Shown::Missing,
        _ if *hidden => Shown::Hidden,
        figure => value_of(rules::round(figure.value, kind, policy.round_to)),
    };
    let cells: Vec<Shown> = table.cells.iter().zip(hidden).map(shown).collect();
    let told = cells
        .iter()
        .zip(&table.cells)
        .enumerate()
        .filter(|(_, (shown, figure))| **shown != Shown::Missing && audit::is_looked_up(figure.units, policy.minimum));
    let remember = |(at, (shown, figure)): (usize, (&Shown, &Figure))| {
        Remembered::new(table.unit, measures.at(at), figure, number(shown), None)
    };
    let remembered = told.map(remember).collect();
    Protected { table: public(table, title, cells, policy, errors), remembered }
}

/// A table under cell-key noise. Values of what occurred whose every cell is hidden are put together: that a combination is
/// named would tell that somebody has it.
fn noisy(table: &FigureTable, title: &str, policy: &Policy, errors: &ErrorRates, noise: &Noise<'_>) -> Protected {
    let (cells, mut remembered) = noisy_cells(table, policy, noise);
    let Some(folded) = fold::folded(table, &cells) else {
        return Protected { table: public(table, title, cells, policy, errors), remembered };
    };
    let (cells, of_folded) = noisy_cells(&folded, policy, noise);
    remembered.extend(of_folded);
    Protected { table: public(&folded, title, cells, policy, errors), remembered }
}

fn noisy_cells(table: &FigureTable, policy: &Policy, noise: &Noise<'_>) -> (Vec<Shown>, Vec<Remembered>) {
    let kind = Kind::of(&table.measure);
    let measures = Measures::of(table);
    let mut remembered = Vec::new();
    let mut cells = Vec::with_capacity(table.cells.len());
    for (at, figure) in table.cells.iter().enumerate() {
        // Whether a quantile of a few can be said depends on them.
        let few = kind == Kind::Quantile && figure.units > 0 && figure.units < policy.minimum;
        if figure.missing && !few {
            cells.push(Shown::Missing);
            continue;
        }
        // Nobody and a few look alike, whatever was shown before.
        if figure.missing || !audit::is_looked_up(figure.units, policy.minimum) {
            cells.push(Shown::Hidden);
            continue;
        }
        let measure = measures.at(at);
        let before = noise.before(&measure, table.unit, figure, policy.minimum);
        let shown = match before {
            Some(before) => before.shown(),
            None if rules::is_sensitive(figure, kind, policy) => None,
            None => noise.apply(kind, table.unit, figure, policy.minimum).map(|v| rules::round(v, kind, policy.round_to)),
        };
        remembered.push(Remembered::new(table.unit, measure, figure, shown, before));
        cells.push(shown.map_or(Shown::Hidden, value_of));
    }
    if table.whom == Whom::Everybody {
        fold::show_empty(table, &mut cells, kind);
    }
    (cells, remembered)
}

fn value_of(value: f64) -> Shown {
    Shown::Value { value, interval: None, uncertain: false }
}

fn number(shown: &Shown) -> Option<f64> {
    match shown {
        Shown::Value { value, .. } => Some(*value),
        Shown::Hidden | Shown::Missing => None,
    }
}

fn public(table: &FigureTable, title: &str, cells: Vec<Shown>, policy: &Policy, errors: &ErrorRates) -> PublicTable {
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
