//! What makes a figure sensitive by itself, and rounding.

use super::Policy;
use crate::figures::Figure;

/// What a measure's figures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Numbers of units.
    Count,
    /// Quantiles of durations.
    Quantile,
    /// Sums of an attribute over units.
    Sum,
}

impl Kind {
    /// The kind of a measure, by its name in query documents. What is not known as something else is a count.
    pub fn of(measure: &str) -> Self {
        match measure {
            "durations" => Self::Quantile,
            "sum" => Self::Sum,
            _ => Self::Count,
        }
    }
}

/// Part of the largest contribution, in percent, to within which nobody may know it: what all but the two largest add
/// up to must be more, or the second largest contributor could take its own off and know the largest (the p% rule;
/// Hundepool et al. 2012, chapter 4).
const P_PERCENT: f64 = 10.0;

/// Whether a figure must not be shown, whatever stands beside it. Empty cells are not sensitive under suppression, whose
/// tables are of everybody or of one party; queries never come here with one.
pub(super) fn is_sensitive(figure: &Figure, kind: Kind, policy: &Policy) -> bool {
    if figure.missing || figure.units == 0 {
        return false;
    }
    figure.units < policy.minimum || (kind == Kind::Sum && is_dominated(figure, policy.dominance_percent))
}

fn is_dominated(figure: &Figure, percent: u32) -> bool {
    let [first, second] = figure.largest.map(|n| n as f64);
    if first == 0.0 {
        return false;
    }
    first * 100.0 > f64::from(percent) * figure.value || (figure.value - first - second) * 100.0 < P_PERCENT * first
}

/// Rounds as the policy says: counts and sums to multiples, durations to whole months.
pub(super) fn round(value: f64, kind: Kind, round_to: u64) -> f64 {
    let base = if kind == Kind::Quantile { 1.0 } else { round_to.max(1) as f64 };
    (value / base).round() * base
}
