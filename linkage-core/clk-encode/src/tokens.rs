//! A cell's text to tokens (clkhash's `comparators.py`): n-grams, the whole text, or a number's neighbourhood (Vatsalan and
//! Christen, Privacy-preserving matching of similar patients, J. Biomed. Inform. 2016).

use std::fmt::Write as _;

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

    /// Sets `tokens` to those of a text; none for an empty one.
    pub(crate) fn tokens(&self, text: &str, tokens: &mut Tokens) -> Result<(), CellFault> {
        tokens.clear();
        if text.is_empty() {
            return Ok(());
        }
        match *self {
            Self::Exact {} => tokens.push(|token| token.push_str(text)),
            Self::Ngram { n, positional } => {
                let mut letters = std::mem::take(&mut tokens.letters);
                letters.clear();
                let pad = || std::iter::repeat_n(' ', n - 1);
                letters.extend(pad().chain(text.chars()).chain(pad()));
                for (gram, at) in letters.windows(n).zip(1..) {
                    tokens.push(|token| {
                        if positional {
                            // Writing to a string does not fail.
                            let _ = write!(token, "{at} ");
                        }
                        token.extend(gram);
                    });
                }
                tokens.letters = letters;
            }
            Self::Numeric { threshold_distance, resolution, fractional_precision } => {
                let interval = interval(threshold_distance, fractional_precision).ok_or(CellFault::Number)?;
                let resolution = i128::from(resolution);
                let value = scaled(text, fractional_precision).ok_or(CellFault::Number)? * 2 * resolution;
                let residue = value.rem_euclid(interval);
                let middle = if residue * 2 < interval { value - residue } else { value + (interval - residue) };
                for step in -resolution..=resolution {
                    tokens.push(|token| {
                        let _ = write!(token, "{}", middle + step * interval);
                    });
                }
            }
        }
        Ok(())
    }
}

/// The tokens of one cell, in one text that is used again for the next.
#[derive(Default)]
pub(crate) struct Tokens {
    text: String,
    ends: Vec<usize>,
    letters: Vec<char>,
}

impl Tokens {
    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    fn push(&mut self, write: impl FnOnce(&mut String)) {
        write(&mut self.text);
        self.ends.push(self.text.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.text.get(start..*end).unwrap_or_default())
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
