//! States of units in periods, for transitions: an attribute's value or the combination of parties, or absent.
//!
//! A unit's state in a period is that of the last month in which it counts there.

use rayon::prelude::*;

use super::error::QueryError;
use super::events::Counted;
use super::facts::{Facts, Reading};
use super::frame::Frame;

/// State of a unit that does not count in the period; other states are below [`States::absent`].
const NONE: u16 = u16::MAX;

/// States by period and unit.
pub(crate) struct States {
    /// By period, then by unit; [`NONE`] is put down as `absent`.
    pub by_period: Vec<Vec<u16>>,
    /// Combinations by state, where states are of these.
    pub combinations: Vec<u64>,
    /// Number of the state of being absent: that of all others together.
    pub absent: usize,
}

/// The state of each unit in each of `periods`.
pub(crate) fn states(
    counted: &[Counted],
    periods: usize,
    reading: &Reading<'_>,
    frame: &Frame<'_>,
) -> Result<States, QueryError> {
    let local: Vec<(Vec<u16>, Vec<u64>, usize)> = (0..periods)
        .into_par_iter()
        .map(|period| {
            let mut states = vec![NONE; frame.size];
            let mut combinations: Vec<u64> = Vec::new();
            let mut size = 0;
            for of in counted.iter().filter(|counted| counted.period == period) {
                let facts = Facts::read(of.month, reading, None, None, frame)?;
                size = size.max(facts.size);
                let renumbered: Vec<u16> = facts.combinations.iter().map(|mask| number(&mut combinations, *mask)).collect();
                for unit in of.set.ones() {
                    let place = facts.place(unit);
                    if let Some(state) = states.get_mut(unit as usize) {
                        *state = renumbered.get(place).copied().unwrap_or(place as u16);
                    }
                }
            }
            Ok((states, combinations, size))
        })
        .collect::<Result<_, QueryError>>()?;
    let mut all = States { by_period: Vec::new(), combinations: Vec::new(), absent: 0 };
    let mut renumbered: Vec<Vec<u16>> = Vec::new();
    for (_, combinations, size) in &local {
        renumbered.push(combinations.iter().map(|mask| number(&mut all.combinations, *mask)).collect());
        if combinations.is_empty() {
            all.absent = all.absent.max(*size);
        }
    }
    all.absent = all.absent.max(all.combinations.len());
    let absent = u16::try_from(all.absent).unwrap_or(NONE);
    all.by_period = local
        .into_par_iter()
        .zip(renumbered)
        .map(|((mut states, _, _), renumbered)| {
            for state in &mut states {
                *state = if *state == NONE { absent } else { renumbered.get(usize::from(*state)).copied().unwrap_or(*state) };
            }
            states
        })
        .collect();
    Ok(all)
}

fn number(known: &mut Vec<u64>, mask: u64) -> u16 {
    let at = known.iter().position(|k| *k == mask).unwrap_or_else(|| {
        known.push(mask);
        known.len() - 1
    });
    u16::try_from(at).unwrap_or(NONE)
}
