//! What a coefficient says of two records being one person's, without labels and without fields.
//!
//! Records that have found themselves in the other list (a candidate that looks like one person) tell what *other*
//! persons' records reach: relatives, twins, namesakes. Their rate, and an exponential tail over the coefficient, give the
//! number of wrong pairs to expect at each coefficient, `wrong(s)`; the pairs that are there give `all(s)`. Then
//!
//! ```text
//! ratio(s) = (all(s) - wrong(s)) / wrong(s)          made to rise with s (pool adjacent violators, Ayer et al. 1955)
//! odds of a pair = ratio(s) / (alone + sum of ratio(s') over its rivals)
//! ```
//! which is Bayes' rule where a record has one partner at most; `alone` is the share of records of the two sides that
//! have no pair at all. Whoever is in both lists has relatives there more often than whoever is not: the rate is too high
//! for the records that matter, the probabilities too low (docs/clk.md says by how much on known data).

use super::rivals::Rivals;
use super::{LEAST_MILLIBITS, MOST_MILLIBITS, OutsidePair, OutsideTerms};

/// Steps of the coefficient from the floor to 1.
const BINS: usize = 20;
/// Other persons met by a record that has found itself, before data: two in forty.
const PRIOR_OTHERS: f64 = 2.0;
const PRIOR_FOUND: f64 = 40.0;
/// Mean of their coefficients above the floor, as a share of what is above it, before data, and its weight in others.
const PRIOR_MEAN: f64 = 0.2;
const PRIOR_MEAN_WEIGHT: f64 = 5.0;
/// Least share of a side's records without a pair that is reckoned with: strangers do not become rarer without end.
const LEAST_ALONE: f64 = 0.2;

/// Ratios of right to wrong pairs by coefficient, of two parties.
pub(super) struct Weights {
    floor: f64,
    ratios: [f64; BINS],
    alone: f64,
}

/// Rate and mean height of the others that records which have found themselves meet.
struct Others {
    rate: f64,
    mean: f64,
}

impl Others {
    fn of(found: usize, others: &[f64], floor: f64) -> Self {
        let count = others.len() as f64;
        let height = |score: &f64| ((score - floor) / (1.0 - floor)).clamp(0.0, 1.0);
        let sum: f64 = others.iter().map(height).sum();
        Self {
            rate: (count + PRIOR_OTHERS) / (found as f64 + PRIOR_FOUND),
            mean: (sum + PRIOR_MEAN_WEIGHT * PRIOR_MEAN) / (count + PRIOR_MEAN_WEIGHT),
        }
    }
    /// Share of them in bin number `bin`.
    fn share(&self, bin: usize) -> f64 {
        let above = |at: usize| (-(at as f64) / BINS as f64 / self.mean).exp();
        (above(bin) - above(bin + 1)) / (1.0 - above(BINS))
    }
}

impl Weights {
    /// Of the pairs of two parties with so many records each.
    pub(super) fn of(
        pairs: &[OutsidePair],
        rivals: &Rivals<'_>,
        sizes: (usize, usize),
        terms: &OutsideTerms,
        within: bool,
    ) -> Self {
        let floor = terms.floor();
        let mut all = [0.0; BINS];
        for pair in pairs {
            if let Some(count) = all.get_mut(bin(pair.score, floor)) {
                *count += 1.0;
            }
        }
        let others = |second| {
            let (found, others) = rivals.beside_found(second);
            Others::of(found, &others, floor)
        };
        // Each side gives an estimate of the same number of pairs; within one list a pair is seen from both its ends.
        let wrong: [f64; BINS] = if within {
            let side = others(false);
            std::array::from_fn(|bin| sizes.0 as f64 * side.rate * side.share(bin) / 2.0)
        } else {
            let (a, b) = (others(false), others(true));
            let total = |side: &Others, size: usize, bin| size as f64 * side.rate * side.share(bin);
            std::array::from_fn(|bin| f64::midpoint(total(&a, sizes.0, bin), total(&b, sizes.1, bin)))
        };
        let alone = if within {
            1.0
        } else {
            let (a, b) = rivals.with_pair(terms.threshold());
            let without = |with: usize, size: usize| (1.0 - with as f64 / (size as f64).max(1.0)).clamp(LEAST_ALONE, 1.0);
            without(a, sizes.0) * without(b, sizes.1)
        };
        Self { floor, ratios: ratios(&all, &wrong), alone }
    }

    fn ratio(&self, score: f64) -> f64 {
        self.ratios.get(bin(score, self.floor)).copied().unwrap_or(0.0)
    }

    /// Weight of a pair at `score` whose rivals are at `rivals`, in thousandths of a bit.
    pub(super) fn millibits(&self, score: f64, rivals: &[f64]) -> i32 {
        let mut against: Vec<f64> = rivals.iter().map(|rival| self.ratio(*rival)).collect();
        // Summed in order, so that the order of records leaves no trace.
        against.sort_unstable_by(f64::total_cmp);
        let odds = self.ratio(score) / (self.alone + against.into_iter().sum::<f64>());
        ((odds.max(1e-9).log2() * 1000.0).round() as i32).clamp(LEAST_MILLIBITS, MOST_MILLIBITS)
    }
}

fn bin(score: f64, floor: f64) -> usize {
    (((score - floor) / (1.0 - floor) * BINS as f64) as usize).min(BINS - 1)
}

/// Ratios of right to wrong pairs, rising.
fn ratios(all: &[f64; BINS], wrong: &[f64; BINS]) -> [f64; BINS] {
    // Pools of neighbouring bins: sums and number of bins.
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    let ratio = |&(all, wrong, _): &(f64, f64, usize)| ((all - wrong) / wrong.max(1e-12)).max(0.0);
    for (&all, &wrong) in all.iter().zip(wrong) {
        let mut pool = (all, wrong, 1);
        while let Some(last) = pools.pop() {
            if ratio(&last) <= ratio(&pool) {
                pools.push(last);
                break;
            }
            pool = (pool.0 + last.0, pool.1 + last.1, pool.2 + last.2);
        }
        pools.push(pool);
    }
    let mut out = [0.0; BINS];
    let rising = pools.iter().flat_map(|pool| std::iter::repeat_n(ratio(pool), pool.2));
    out.iter_mut().zip(rising).for_each(|(to, ratio)| *to = ratio);
    out
}
