//! Estimated precision and recall of the linked pairs, without labels.
//!
//! A pair of a cluster is as likely one person's as its own comparison says, or as a third member bears out: when a and c,
//! and c and b, are one person's, so are a and b. The better of the two counts, so that a person whose records differ
//! among themselves does not pass for a doubtful link.

use rayon::prelude::*;

use super::Estimate;
use crate::decide::{Decided, probability};
use crate::{Clusters, RecordIndex, Records};

/// Clusters of more members are taken pair by pair alone.
const MOST_MEMBERS: usize = 64;
/// Probabilities are summed in whole parts, so that the order of records leaves no trace.
const PARTS: f64 = 1e9;
/// How far off an estimated error may be, as a factor either way, and an error that is always allowed for.
const ERROR_FACTOR: f64 = 2.0;
const ERROR_ALWAYS: f64 = 5e-4;

/// Pairs of two parties (of one, when there is no other) that share a cluster.
pub(super) struct Linked {
    pub(super) pairs: u64,
    /// Sum of their probabilities, and of those that had met in a block.
    right: f64,
    right_met: f64,
}

/// Sums up the pairs of all clusters.
pub(super) fn linked_pairs(records: &Records, decided: &[Decided], clusters: &Clusters) -> Linked {
    let cluster_of = clusters.numbers(records.len());
    let number = |record: RecordIndex| cluster_of.get(record as usize).copied().flatten();
    let inside = decided.par_iter().filter_map(|pair| {
        let cluster = number(pair.a).filter(|x| number(pair.b) == Some(*x))?;
        Some((cluster, (pair.a.min(pair.b), pair.a.max(pair.b)), pair.millibits))
    });
    let mut inside: Vec<(u32, (RecordIndex, RecordIndex), i32)> = inside.collect();
    inside.par_sort_unstable();
    let mut met = inside.chunk_by(|x, y| x.0 == y.0).peekable();
    let alone = records.parties() == 1;
    let (mut pairs, mut right, mut right_met) = (0, 0u128, 0u128);
    for (number, cluster) in (0u32..).zip(&clusters.clusters) {
        let met = met.next_if(|rows| rows.first().is_some_and(|row| row.0 == number)).unwrap_or(&[]);
        let of = |a: usize, b: usize| {
            let record = |at: usize| cluster.members.get(at).map(|m| m.record);
            let pair = (record(a.min(b))?, record(a.max(b))?);
            let at = met.binary_search_by_key(&pair, |row| row.1).ok()?;
            met.get(at).map(|row| probability(row.2))
        };
        let members = cluster.members.len();
        let parties: Vec<usize> = cluster.members.iter().map(|m| records.party(m.record)).collect();
        for (a, party_a) in parties.iter().enumerate() {
            for (b, party_b) in parties.iter().enumerate().skip(a + 1) {
                if !alone && party_a == party_b {
                    continue;
                }
                let third = |c: usize| Some(of(a, c)? * of(c, b)?);
                let thirds = (0..members).filter(|_| members <= MOST_MEMBERS).filter_map(third);
                let probability = thirds.fold(of(a, b).unwrap_or(0.0), f64::max);
                let parts = (probability * PARTS).round() as u128;
                pairs += 1;
                right += parts;
                right_met += if of(a, b).is_some() { parts } else { 0 };
            }
        }
    }
    Linked { pairs, right: right as f64 / PARTS, right_met: right_met as f64 / PARTS }
}

impl Linked {
    /// Precision and recall, given the matches expected among pairs that met and were not linked, and those that never met.
    pub(super) fn estimates(&self, unlinked: f64, never_met: f64) -> (Estimate, Estimate) {
        if self.pairs == 0 {
            let nothing = Estimate { value: 1.0, low: 0.0, high: 1.0 };
            return (nothing, if unlinked + never_met > 0.0 { Estimate { value: 0.0, low: 0.0, high: 0.0 } } else { nothing });
        }
        let precision = interval(1.0 - self.right / self.pairs as f64);
        // What was found by way of a third record is part of what never met.
        let found_unmet = self.right - self.right_met;
        let recall = |never_met: f64| self.right / (self.right + unlinked + (never_met - found_unmet).max(0.0));
        let (value, least, most) = (recall(never_met), recall(2.0 * never_met), recall(0.0));
        let of_met = interval(1.0 - most);
        (precision, Estimate { value, low: (least - (most - of_met.low)).max(0.0), high: of_met.high })
    }
}

/// One minus an error, with an interval of half to twice the error.
fn interval(error: f64) -> Estimate {
    let error = error.clamp(0.0, 1.0);
    let most = (ERROR_FACTOR * error + ERROR_ALWAYS).min(1.0);
    Estimate { value: 1.0 - error, low: 1.0 - most, high: 1.0 - (error / ERROR_FACTOR - ERROR_ALWAYS).max(0.0) }
}
