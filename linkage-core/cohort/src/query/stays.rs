//! How long units stay: months of uninterrupted presence, by Kaplan and Meier.
//!
//! A stay is followed from its first month. Stays whose beginning was not observed (already running in the first month
//! held, or found running after a month that was not observed) are left out: how long they had lasted is not known, and
//! long stays are met more often among them. A stay that still runs in the last month observed is censored there
//! (Kaplan, Meier 1958, J. Am. Stat. Assoc. 53). A stay goes on over months that were not observed when the unit is
//! there after them, and ended with the last month in which it was seen when not. Stays are grouped by the period in
//! which they began; of several stays of a unit beginning in one period the first counts.

use super::bits::Bits;
use super::cube::{Sum, Tally};
use super::events::Counted;
use super::frame::Frame;
use super::periods::Span;

/// Quantiles given, with the share of stays still running that each waits for.
pub(crate) const QUANTILES: [(&str, f64); 3] = [("p25", 0.75), ("p50", 0.50), ("p75", 0.25)];

/// How long one stay was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stay {
    pub unit: u32,
    /// Months.
    pub months: u16,
    /// Whether its end was seen.
    pub ended: bool,
}

/// Stays that begin in one month: who, and how long, in the order of units.
pub(crate) struct Begun {
    pub counted: Counted,
    pub stays: Vec<Stay>,
}

/// Stays of one cell: units and, by months, stays that ended and stays that were censored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Curve {
    pub tally: Tally,
    by_months: Vec<[u32; 2]>,
}

impl Sum for Curve {
    fn add(&mut self, other: &Self) {
        self.tally.add(&other.tally);
        for (months, counts) in other.by_months.iter().enumerate() {
            self.count(months, *counts);
        }
    }
}

impl Curve {
    /// Adds a stay.
    pub(crate) fn stay(&mut self, stay: Stay) {
        self.count(usize::from(stay.months), if stay.ended { [1, 0] } else { [0, 1] });
    }

    fn count(&mut self, months: usize, [ended, censored]: [u32; 2]) {
        if self.by_months.len() <= months {
            self.by_months.resize(months + 1, [0; 2]);
        }
        if let Some(counts) = self.by_months.get_mut(months) {
            counts[0] += ended;
            counts[1] += censored;
        }
    }

    /// Fewest months after which at most `running` of the stays still run; none when the curve does not fall so far.
    pub(crate) fn quantile(&self, running: f64) -> Option<u64> {
        let mut at_risk: u64 = self.by_months.iter().flatten().map(|n| u64::from(*n)).sum();
        let mut share = 1.0;
        for (months, [ended, censored]) in (0u64..).zip(&self.by_months) {
            if *ended > 0 {
                share *= 1.0 - f64::from(*ended) / at_risk as f64;
                // A product of fractions that comes to the share exactly may miss it by rounding.
                if share <= running + 1e-9 {
                    return Some(months);
                }
            }
            at_risk -= u64::from(*ended) + u64::from(*censored);
        }
        None
    }
}

const OUT: u16 = u16::MAX;

/// The stays of one part that begin in each period, and the periods of which nothing can be said.
pub(crate) fn stays(part: usize, months: &[Option<Bits>], spans: &[Span], frame: &Frame<'_>) -> (Vec<Begun>, Vec<bool>) {
    let mut began = vec![OUT; frame.size];
    let mut by_start: Vec<Option<Vec<Stay>>> = frame.calendar.iter().map(|_| None).collect();
    let index = |month: usize| frame.calendar.get(month).copied().unwrap_or(0);
    let close = |unit: u32, last: usize, ended: bool, began: &[u16], by_start: &mut [Option<Vec<Stay>>]| {
        let start = began.get(unit as usize).map_or(usize::from(OUT), |start| usize::from(*start));
        if let Some(Some(stays)) = by_start.get_mut(start) {
            let months = u16::try_from(index(last) + 1 - index(start)).unwrap_or(u16::MAX);
            stays.push(Stay { unit, months, ended });
        }
    };
    let mut before: Option<(usize, &Bits)> = None;
    for (month, set) in months.iter().enumerate() {
        let Some(set) = set else { continue };
        let observed = before.is_some_and(|(before, _)| index(before) + 1 == index(month));
        if let Some(stays) = by_start.get_mut(month).filter(|_| observed) {
            *stays = Some(Vec::new());
        }
        // A month whose beginnings were not observed has no list, so that stays from it are left out.
        let start = u16::try_from(month).unwrap_or(OUT);
        if let Some((last, set_before)) = before {
            for unit in set_before.without(set).ones() {
                close(unit, last, true, &began, &mut by_start);
            }
        }
        let new = before.map_or_else(|| set.clone(), |(_, before)| set.without(before));
        for unit in new.ones() {
            if let Some(began) = began.get_mut(unit as usize) {
                *began = start;
            }
        }
        before = Some((month, set));
    }
    if let Some((last, set)) = before {
        for unit in set.ones() {
            close(unit, last, false, &began, &mut by_start);
        }
    }
    let mut begun = Vec::new();
    let mut missing = Vec::new();
    for (period, span) in spans.iter().enumerate() {
        let mut seen = Bits::new(frame.size);
        let mut observed = false;
        for month in (span.first..=span.last).filter_map(|index| frame.at(index)) {
            let Some(mut stays) = by_start.get_mut(month).and_then(Option::take) else { continue };
            observed = true;
            let mut set = Bits::new(frame.size);
            stays.iter().for_each(|stay| set.set(stay.unit));
            set.remove(&seen);
            seen.add(&set);
            stays.retain(|stay| set.has(stay.unit));
            stays.sort_unstable_by_key(|stay| stay.unit);
            begun.push(Begun { counted: Counted { part, period, month, set }, stays });
        }
        missing.push(!observed);
    }
    (begun, missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(stays: &[(u16, bool)]) -> Curve {
        let mut curve = Curve::default();
        stays.iter().for_each(|(months, ended)| curve.stay(Stay { unit: 0, months: *months, ended: *ended }));
        curve
    }
    fn quartiles(stays: &[(u16, bool)]) -> [Option<u64>; 3] {
        QUANTILES.map(|(_, running)| curve(stays).quantile(running))
    }

    #[test]
    fn without_censoring_quartiles_are_those_of_the_stays() {
        assert_eq!(quartiles(&[(1, true), (2, true), (3, true), (4, true)]), [Some(1), Some(2), Some(3)]);
        assert_eq!(quartiles(&[(5, true)]), [Some(5); 3]);
        assert_eq!(quartiles(&[]), [None; 3]);
    }

    /// The remission times of Freireich et al. (1963), 6-MP group, the field's textbook case: median 23 weeks, quartile
    /// 13, the upper quartile not reached.
    #[test]
    fn censored_stays_count_until_they_are_lost() {
        let mut stays: Vec<(u16, bool)> = [6, 6, 6, 7, 10, 13, 16, 22, 23].map(|t| (t, true)).to_vec();
        stays.extend([6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35].map(|t| (t, false)));
        assert_eq!(quartiles(&stays), [Some(13), Some(23), None]);
    }

    #[test]
    fn curves_add_up() {
        let (mut a, b) = (curve(&[(1, true), (2, false)]), curve(&[(4, true)]));
        a.add(&b);
        assert_eq!(a.by_months, curve(&[(1, true), (2, false), (4, true)]).by_months);
    }
}
