//! A cell's text to tokens (clkhash's `comparators.py`): n-grams, the whole text, or a number's neighbourhood (Vatsalan and
//! Christen, Privacy-preserving matching of similar patients, J. Biomed. Inform. 2016).

use serde::Deserialize;

use crate::CellFault;
use crate::format::integer;

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Comparison {
    Ngram {
        n: usize,
        #[serde(default)]
        positional: bool,
    },
    Exact {},
    Numeric {
        #[serde(rename = "thresholdDistance")]
        threshold_distance: f64,
        resolution: u16,
        #[serde(default)]
        fractional_precision: u8,
    },
}

impl Comparison {
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Ngram { n, .. } if !(1..=64).contains(n) => Err("« n » : 1 à 64"),
            Self::Numeric { resolution: 0, .. } => Err("« resolution » nulle"),
            Self::Numeric { fractional_precision, .. } if *fractional_precision > 15 => {
                Err("« fractional_precision » : 15 au plus")
            }
            Self::Numeric { threshold_distance, fractional_precision, .. } => {
                interval(*threshold_distance, *fractional_precision)
                    .map(|_| ())
                    .ok_or("« thresholdDistance » : doit être positif, et visible avec « fractional_precision »")
            }
            _ => Ok(()),
        }
    }

    /// The tokens of a text; none for an empty one.
    pub(crate) fn tokens(&self, text: &str) -> Result<Vec<String>, CellFault> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        Ok(match *self {
            Self::Exact {} => vec![text.to_owned()],
            Self::Ngram { n, positional } => {
                let pad = || std::iter::repeat_n(' ', n - 1);
                let letters: Vec<char> = pad().chain(text.chars()).chain(pad()).collect();
                let grams = letters.windows(n).map(|gram| gram.iter().collect::<String>());
                if positional { grams.zip(1..).map(|(gram, at)| format!("{at} {gram}")).collect() } else { grams.collect() }
            }
            Self::Numeric { threshold_distance, resolution, fractional_precision } => {
                let interval = interval(threshold_distance, fractional_precision).ok_or(CellFault::Number)?;
                let resolution = i128::from(resolution);
                let value = scaled(text, fractional_precision).ok_or(CellFault::Number)? * 2 * resolution;
                let residue = value.rem_euclid(interval);
                let middle = if residue * 2 < interval { value - residue } else { value + (interval - residue) };
                (-resolution..=resolution).map(|step| (middle + step * interval).to_string()).collect()
            }
        })
    }
}

/// The distance in units of the last place, Python's `int(round(...))`.
fn interval(distance: f64, precision: u8) -> Option<i128> {
    let units = (distance * 10f64.powi(precision.into())).round_ties_even();
    #[expect(clippy::cast_possible_truncation, reason = "between 1 and 2^52")]
    (1.0..=4_503_599_627_370_496.0).contains(&units).then_some(units as i128)
}

/// A number in units of the last place: exact for whole numbers, else through a double as clkhash does.
fn scaled(text: &str, precision: u8) -> Option<i128> {
    if let Some(whole) = integer(text) {
        return whole.checked_mul(10i128.pow(precision.into())).filter(|units| units.unsigned_abs() < 1 << 100);
    }
    let number: f64 = text.trim().parse().ok()?;
    let units = if precision > 0 { (number * 10f64.powi(precision.into())).round_ties_even() } else { number.trunc() };
    #[expect(clippy::cast_possible_truncation, reason = "below 2^60")]
    (units.abs() < 1e18).then_some(units as i128)
}
