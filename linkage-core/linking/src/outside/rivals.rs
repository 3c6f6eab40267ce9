//! Who else fits the two records of a pair, among the records of the two parties.
//!
//! Another record of the same list is a rival when the list holds each person once; where it may hold a person twice,
//! unless its filter looks like the pair's own record: then it may be a double.

use std::collections::HashMap;

use super::OutsidePair;
use super::clk::Parties;
use crate::RecordIndex;

/// The candidates of every record at the other party.
pub(super) struct Rivals<'p> {
    filters: &'p Parties,
    alike: f64,
    /// Whether the list of the smaller and of the larger record of a pair holds each person once.
    one_each: (bool, bool),
    /// By record, what it meets: records that stand first in a pair and second; within one party both are the same.
    first: HashMap<RecordIndex, Vec<(f64, RecordIndex)>>,
    second: HashMap<RecordIndex, Vec<(f64, RecordIndex)>>,
    within: bool,
}

impl<'p> Rivals<'p> {
    pub(super) fn of(pairs: &[OutsidePair], filters: &'p Parties, alike: f64, one_each: (bool, bool), within: bool) -> Self {
        let (mut first, mut second): (HashMap<_, Vec<_>>, HashMap<_, Vec<_>>) = (HashMap::new(), HashMap::new());
        for pair in pairs {
            first.entry(pair.a).or_default().push((pair.score, pair.b));
            let of_b = if within { &mut first } else { &mut second };
            of_b.entry(pair.b).or_default().push((pair.score, pair.a));
        }
        Self { filters, alike, one_each, first, second, within }
    }

    /// Whether `x` and `y` of one list are two persons', as far as can be seen.
    fn apart(&self, one_each: bool, x: RecordIndex, y: RecordIndex) -> bool {
        one_each || self.filters.score(x, y) < self.alike
    }

    /// Coefficients of the rivals of `pair`, of either side.
    pub(super) fn scores(&self, pair: &OutsidePair) -> Vec<f64> {
        let side = |of: &HashMap<RecordIndex, Vec<(f64, RecordIndex)>>, record, partner, one_each| {
            let met = of.get(&record).into_iter().flatten();
            met.filter(|(_, other)| *other != partner && self.apart(one_each, *other, partner)).map(|(score, _)| *score).collect()
        };
        let mut scores: Vec<f64> = side(&self.first, pair.a, pair.b, self.one_each.1);
        let of_b = if self.within { &self.first } else { &self.second };
        scores.extend::<Vec<f64>>(side(of_b, pair.b, pair.a, self.one_each.0));
        scores
    }

    /// What is met by records that have found themselves: how many of one side have a candidate that looks like one
    /// person, and the coefficients of all other persons that these meet.
    pub(super) fn beside_found(&self, second: bool) -> (usize, Vec<f64>) {
        let (side, one_each) = match (second, self.within) {
            (true, false) => (&self.second, self.one_each.0),
            _ => (&self.first, self.one_each.1),
        };
        let (mut found, mut others) = (0, Vec::new());
        for met in side.values() {
            let (alike, rest): (Vec<_>, Vec<_>) = met.iter().partition(|(score, _)| *score >= self.alike);
            let Some(best) = alike.iter().map(|(score, _)| *score).max_by(f64::total_cmp) else { continue };
            found += 1;
            let other = |(_, record): &&(f64, RecordIndex)| alike.iter().all(|(_, found)| self.apart(one_each, *record, *found));
            others.extend(rest.iter().filter(|met| other(met)).map(|(score, _)| *score));
            if one_each {
                // Several that look like one person, where one at most is.
                let mut scores: Vec<f64> = alike.iter().map(|(score, _)| *score).collect();
                scores.sort_unstable_by(f64::total_cmp);
                scores.pop();
                others.extend(scores.into_iter().filter(|score| *score <= best));
            }
        }
        others.sort_unstable_by(f64::total_cmp);
        (found, others)
    }

    /// Records of the smaller and of the larger side that have a pair from `threshold` on.
    pub(super) fn with_pair(&self, threshold: f64) -> (usize, usize) {
        let count = |side: &HashMap<RecordIndex, Vec<(f64, RecordIndex)>>| {
            side.values().filter(|met| met.iter().any(|(score, _)| *score >= threshold)).count()
        };
        (count(&self.first), count(&self.second))
    }
}
