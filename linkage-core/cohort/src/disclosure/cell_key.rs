//! Cell-key noise: every count bears a small noise drawn from the units in it; the same units, the same noise.
//!
//! The method is that of the Australian Bureau of Statistics' TableBuilder (Thompson, Broadfoot, Elazar, *Methodology for
//! the Automatic Confidentialisation of Statistical Outputs from Remote Servers*, UNECE/Eurostat work session, 2013),
//! recommended for the European censuses (Eurostat, Giessing and Tent, *Recommendations for implementing CKM*). The noise
//! is whole, of mean zero, at most [`Noise::MOST`] either way, of variance [`Noise::VARIANCE`], and otherwise of the greatest
//! entropy (Giessing 2016; Marley and Leaver 2011): p(d) proportional to exp(-λ d²).
//!
//! The published tables of noise forbid outputs of 1 to js by moving small counts to 0 or above js. With a minimum of 11
//! that would take noise of 10 either way on every small count, and show groups of one as 11. Here a count below the
//! minimum is hidden, and so is one that its noise takes below it: no figure stands for fewer than the minimum, none
//! below the minimum is shown, and a hidden cell may be of up to minimum + 4, or of nobody. As no row of the table below the
//! minimum is ever used, one row serves all.
//!
//! Margins bear noise of their own: tables do not add up exactly, which is what keeps a hidden cell from being worked
//! out to less than the noise of all that it is worked out from.

use sha2::{Digest, Sha256};

use super::audit::{Ledger, Measured, Remembered};
use super::rules::Kind;
use super::unit_label;
use crate::figures::{Figure, Unit};

const LABEL: &[u8] = b"linkage/disclosure/1/noise";

/// Draws the noise of cells.
#[derive(Debug, Clone)]
pub struct Noise<'l> {
    /// Upper ends of the shares of -MOST, ..., MOST, in 2^-32.
    cumulative: Vec<u64>,
    ledger: Option<&'l Ledger>,
}

impl Default for Noise<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'l> Noise<'l> {
    /// Greatest noise of a count, either way.
    pub const MOST: i32 = 5;
    /// Variance of a count's noise: a standard deviation of two. A cell worked out from three others is known to within
    /// ±4 at best (one standard deviation), and a count of 100 is within 4 % with 95 %.
    pub const VARIANCE: f64 = 4.0;
    /// Part of the largest contribution that one step of noise adds to a sum: its standard deviation is half, and the
    /// most five quarters, of the largest contribution, so that neither its presence nor its size can be told (Giessing
    /// and Tent 2019, noise of magnitudes scaled by the largest contributions).
    pub const SUM_STEP: f64 = 0.25;

    /// Noise that depends on the cell alone.
    pub fn new() -> Self {
        let mut sum = 0.0;
        let mut cumulative: Vec<u64> = probabilities(Self::MOST, Self::VARIANCE)
            .into_iter()
            .map(|(_, p)| {
                sum += p;
                (sum * f64::from(u32::MAX)).round() as u64
            })
            .collect();
        if let Some(last) = cumulative.last_mut() {
            *last = 1 << 32;
        }
        Self { cumulative, ledger: None }
    }
    /// The same beside what has been shown before: a cell whose units differ by one at most from those of a cell that was
    /// shown is shown as that one was (see [`super::audit`]).
    #[must_use]
    pub fn beside(self, ledger: &'l Ledger) -> Self {
        Self { ledger: Some(ledger), ..self }
    }

    /// The noise of a key: -MOST ..= MOST.
    ///
    /// The key is put through SHA-256 first: keys add up as sets do, and noise that did so too would tell a total's
    /// noise from its parts'.
    pub fn draw(&self, kind: Kind, unit: Unit, key: u64) -> i32 {
        let mut digest = Sha256::new();
        digest.update(LABEL);
        digest.update([unit_label(unit), u8::from(kind == Kind::Sum)]);
        digest.update(key.to_le_bytes());
        let word = digest.finalize().first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let at = self.cumulative.partition_point(|upper| *upper <= u64::from(word));
        at as i32 - Self::MOST
    }

    /// What has been shown before, where it is looked at.
    pub(super) fn ledger(&self) -> Option<&'l Ledger> {
        self.ledger
    }
    /// The cell shown before that this one follows.
    pub(super) fn before(&self, measure: &Measured, unit: Unit, figure: &Figure, minimum: u64) -> Option<&'l Remembered> {
        self.ledger?.near(measure, unit, figure, minimum)
    }
    /// The figure with its noise; `None` when it must not be shown.
    pub(super) fn apply(&self, kind: Kind, unit: Unit, figure: &Figure, minimum: u64) -> Option<f64> {
        if figure.units < minimum {
            return None;
        }
        let noise = f64::from(self.draw(kind, unit, figure.key));
        match kind {
            Kind::Count => Some(figure.value + noise).filter(|value| *value >= minimum as f64),
            Kind::Sum => Some((figure.value + noise * Self::SUM_STEP * figure.largest[0] as f64).max(0.0)),
            Kind::Quantile => Some(figure.value),
        }
    }
}

/// The distribution of greatest entropy on -most ..= most with mean zero and this variance, rising.
pub fn probabilities(most: i32, variance: f64) -> Vec<(i32, f64)> {
    let weights =
        |lambda: f64| -> Vec<(i32, f64)> { (-most..=most).map(|d| (d, (-lambda * f64::from(d) * f64::from(d)).exp())).collect() };
    let variance_of = |lambda: f64| {
        let weights = weights(lambda);
        let total: f64 = weights.iter().map(|(_, w)| w).sum();
        weights.iter().map(|(d, w)| f64::from(*d) * f64::from(*d) * w).sum::<f64>() / total
    };
    // The variance falls as lambda rises.
    let (mut low, mut high) = (-4.0, 8.0);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if variance_of(middle) > variance {
            low = middle;
        } else {
            high = middle;
        }
    }
    let mut made = weights(low);
    let total: f64 = made.iter().map(|(_, w)| w).sum();
    made.iter_mut().for_each(|(_, w)| *w /= total);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_has_mean_zero_and_the_variance_asked_for() {
        for (most, variance) in [(2, 1.0), (5, 4.0), (5, 2.0), (8, 12.0)] {
            let table = probabilities(most, variance);
            let moment = |power: i32| table.iter().map(|(d, p)| f64::from(*d).powi(power) * p).sum::<f64>();
            assert!((moment(0) - 1.0).abs() < 1e-12);
            assert!(moment(1).abs() < 1e-12);
            assert!((moment(2) - variance).abs() < 1e-9, "{most} {variance}: {}", moment(2));
            // Greatest entropy: the logarithm is a parabola, so that its third differences vanish.
            let logs: Vec<f64> = table.iter().map(|(_, p)| p.ln()).collect();
            assert!(logs.windows(4).all(|w| (w[3] - 3.0 * w[2] + 3.0 * w[1] - w[0]).abs() < 1e-9));
        }
        // Uniform where the variance is that of the uniform distribution.
        assert!(probabilities(2, 2.0).iter().all(|(_, p)| (p - 0.2).abs() < 1e-9));
    }

    #[test]
    fn draws_follow_the_distribution() {
        let noise = Noise::new();
        let mut seen = [0u64; 11];
        for key in 0..100_000u64 {
            seen[(noise.draw(Kind::Count, Unit::Persons, key) + Noise::MOST) as usize] += 1;
        }
        for ((_, p), n) in probabilities(Noise::MOST, Noise::VARIANCE).iter().zip(seen) {
            let expected = p * 100_000.0;
            assert!((n as f64 - expected).abs() < 5.0 * expected.sqrt(), "{n} for {expected}");
        }
    }

    #[test]
    fn what_is_below_the_minimum_before_or_after_the_noise_is_hidden() {
        let noise = Noise::new();
        for units in 1..40u64 {
            for key in 0..200 {
                let figure = Figure { units, value: units as f64, key, ..Figure::default() };
                match noise.apply(Kind::Count, Unit::Persons, &figure, 11) {
                    Some(value) => assert!(value >= 11.0 && (value - units as f64).abs() <= 5.0),
                    None => assert!(units <= 15),
                }
            }
        }
        assert_eq!(noise.apply(Kind::Count, Unit::Persons, &Figure::default(), 11), None, "nobody is as few as a few");
    }
}
