//! A table laid out on two sides: heads to the left, columns across.
//!
//! One dimension runs across: the last, or the periods where the last one is long; the others are heads of rows. A table
//! of periods alone, or one that is long on both, has a single column of figures.

use linkage_cohort::{Dimension, PublicTable, Shown};

use super::labels;

/// Most columns of figures.
const ACROSS: usize = 12;

/// The layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Names of the dimensions that run down.
    pub heads: Vec<String>,
    /// Name of the dimension that runs across, where there is one.
    pub across: Option<String>,
    /// Heads of the columns of figures.
    pub columns: Vec<String>,
    /// Rows.
    pub rows: Vec<GridRow>,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct GridRow {
    /// Its categories, one for each of [`Grid::heads`].
    pub heads: Vec<String>,
    /// Its figures, one for each of [`Grid::columns`].
    pub cells: Vec<Shown>,
}

/// Lays a table out.
pub fn grid(table: &PublicTable) -> Grid {
    let lengths: Vec<usize> = table.dimensions.iter().map(|d| d.categories.len()).collect();
    let fits = |at: &usize| lengths.get(*at).is_some_and(|n| (1..=ACROSS).contains(n));
    let last = lengths.len().checked_sub(1).filter(|last| *last > 0);
    let across = last.filter(fits).or_else(|| last.and(Some(0)).filter(fits));
    let down: Vec<usize> = (0..lengths.len()).filter(|d| Some(*d) != across).collect();
    let label = |d: &Dimension| labels::dimension(&d.name);
    let rows = product(&down.iter().map(|d| lengths.get(*d).copied().unwrap_or(0)).collect::<Vec<_>>())
        .into_iter()
        .map(|at| {
            let mut place = vec![0; lengths.len()];
            for (dimension, index) in down.iter().zip(&at) {
                if let Some(slot) = place.get_mut(*dimension) {
                    *slot = *index;
                }
            }
            let heads = down.iter().zip(&at).map(|(d, i)| head(table, *d, *i)).collect();
            let cells = (0..across.and_then(|a| lengths.get(a).copied()).unwrap_or(1))
                .map(|column| {
                    if let Some(slot) = across.and_then(|a| place.get_mut(a)) {
                        *slot = column;
                    }
                    table.cell(&place).unwrap_or(Shown::Missing)
                })
                .collect();
            GridRow { heads, cells }
        })
        .collect();
    let across = across.and_then(|a| table.dimensions.get(a));
    Grid {
        heads: down.iter().filter_map(|d| table.dimensions.get(*d)).map(label).collect(),
        columns: across.map_or_else(
            || vec![labels::measure(table.unit, &table.measure)],
            |d| d.categories.iter().map(labels::category).collect(),
        ),
        across: across.map(label),
        rows,
    }
}

fn head(table: &PublicTable, dimension: usize, index: usize) -> String {
    table.dimensions.get(dimension).and_then(|d| d.categories.get(index)).map(labels::category).unwrap_or_default()
}

/// All positions of a cube, the last dimension running fastest.
pub fn product(lengths: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for length in lengths {
        all = all.into_iter().flat_map(|at: Vec<usize>| (0..*length).map(move |i| [&at[..], &[i]].concat())).collect();
    }
    all
}
