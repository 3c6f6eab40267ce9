//! Shipped tables: what agreement looks like before any data of the run has been seen.
//!
//! The chance agreements u follow from public tables (INSEE family and given names: the sum of squared shares of the
//! names in each rarity class; the calendar for dates) and hold where nodes have counted too few pairs. The
//! agreements m among records of one person are rounded from what the literature reports for administrative files
//! (a tenth of records with an error in a name, a twentieth in the date); EM moves them to the run's own, with these
//! as pseudo-counts. Both are given among pairs where the field is present on both sides, so level 0 is 0.

use crate::levels::DimensionKind;

/// Agreement among records of one person, by level; sums to 1.
pub(crate) fn match_agreement(kind: DimensionKind) -> Vec<f64> {
    normalised(match kind {
        DimensionKind::Surname => &[
            0.0, 0.03, 0.012, 0.01, 0.003, 0.004, 0.01, 0.006, 0.01, 0.012, 0.015, 0.025, 0.04, 0.02, 0.04, 0.06, //
            0.03, 0.10, 0.15, 0.15, 0.12, 0.08, 0.06, 0.003, 0.010,
        ],
        DimensionKind::Given => &[
            0.0, 0.015, 0.008, 0.01, 0.006, 0.004, 0.008, 0.008, 0.008, 0.008, 0.06, 0.04, 0.03, 0.04, 0.03, 0.03, //
            0.25, 0.20, 0.10, 0.06, 0.04, 0.03, 0.02, 0.003, 0.010,
        ],
        DimensionKind::Date => {
            &[0.0, 0.008, 0.004, 0.002, 0.003, 0.002, 0.012, 0.003, 0.003, 0.010, 0.010, 0.010, 0.006, 0.012, 0.012, 0.02, 0.88]
        }
        DimensionKind::Sex => &[0.0, 0.02, 0.98],
        DimensionKind::Place => &[0.0, 0.04, 0.03, 0.02, 0.08, 0.13, 0.70],
        DimensionKind::Category => &[0.0, 0.2, 0.8],
        DimensionKind::Text => &[0.0, 0.10, 0.03, 0.04, 0.05, 0.10, 0.68],
    })
}

/// Agreement by chance, by level; sums to 1.
pub(crate) fn chance(kind: DimensionKind) -> Vec<f64> {
    normalised(match kind {
        DimensionKind::Surname => &[
            0.0, 0.92, 0.06, 6e-3, 2e-3, 8e-4, 5e-4, 1.5e-4, 1e-4, 4e-5, 1e-4, 1e-4, 4e-5, 4e-5, 3e-5, 2e-5, //
            4.5e-5, 9e-5, 6e-5, 1.2e-5, 8e-6, 1e-6, 4e-7, 4e-6, 2e-6,
        ],
        DimensionKind::Given => &[
            0.0, 0.88, 0.08, 0.012, 4e-3, 1.5e-3, 2e-3, 3e-4, 1e-4, 4e-5, 1.5e-3, 3e-4, 5e-5, 3e-4, 1e-4, 3e-5, //
            3e-3, 3e-4, 3e-5, 6e-6, 5e-6, 4e-7, 2e-7, 4e-6, 2e-6,
        ],
        DimensionKind::Date => {
            &[0.0, 0.917, 0.015, 0.042, 8e-3, 2e-3, 1e-3, 5e-4, 1.9e-3, 7e-4, 1e-4, 4.5e-4, 7e-4, 4e-4, 2e-5, 2e-5, 4.5e-5]
        }
        DimensionKind::Sex => &[0.0, 0.5, 0.5],
        DimensionKind::Place => &[0.0, 0.70, 0.06, 0.06, 0.10, 0.05, 0.03],
        DimensionKind::Category => &[0.0, 0.98, 0.02],
        DimensionKind::Text => &[0.0, 0.93, 0.05, 0.01, 2e-3, 1e-3, 2e-3],
    })
}

fn normalised(table: &[f64]) -> Vec<f64> {
    let total: f64 = table.iter().sum();
    table.iter().map(|share| share / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_fit_their_levels() {
        use DimensionKind::*;
        for kind in [Surname, Given, Date, Sex, Place, Category, Text] {
            for table in [match_agreement(kind), chance(kind)] {
                assert_eq!(table.len(), kind.levels(), "{kind:?}");
                assert!((table.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{kind:?}");
                assert_eq!(table[0], 0.0, "{kind:?}");
                assert!(table[1..].iter().all(|&share| share > 0.0), "{kind:?}");
            }
            assert!(chance(kind)[1] > match_agreement(kind)[1], "{kind:?}: differing must speak against");
        }
    }
}
