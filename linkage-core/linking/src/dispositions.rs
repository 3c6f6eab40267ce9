//! Pairs that the records' owners have settled themselves: confirmed as one person's, or refuted.
//!
//! Two data officers who have looked at their files know more than any weight. A refuted pair is never in one cluster,
//! neither by itself nor by way of others; a confirmed pair is joined before any weight is looked at, also when its
//! records never met. Where confirmations lead to a refuted pair, those that hang together are all refused: which one
//! of them is wrong cannot be told from here.

use std::collections::{BTreeMap, BTreeSet};

use crate::{LinkError, RecordIndex};

/// Two records, the one with the smaller number first.
pub type Pair = (RecordIndex, RecordIndex);

/// What the two owners say of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// One person's.
    Confirmed,
    /// Two persons'.
    Refuted,
}

/// The settled pairs of a run, in order and each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dispositions {
    confirmed: BTreeSet<Pair>,
    refuted: BTreeSet<Pair>,
}

/// What came of the settled pairs in a clustering.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Applied {
    /// Confirmed pairs joined.
    pub confirmed: u64,
    /// Refuted pairs kept apart.
    pub refuted: u64,
    /// Confirmed pairs not joined, because confirmations that hang together lead to a refuted pair.
    pub refused: u64,
}

impl Dispositions {
    /// Settled pairs in any order, either record first, repetitions allowed. Errors: a record paired with itself, a
    /// pair that is both confirmed and refuted.
    pub fn new(confirmed: impl IntoIterator<Item = Pair>, refuted: impl IntoIterator<Item = Pair>) -> Result<Self, LinkError> {
        let (confirmed, refuted) = (ordered(confirmed)?, ordered(refuted)?);
        if !confirmed.is_disjoint(&refuted) {
            return Err(LinkError::Dispositions("a pair is both confirmed and refuted"));
        }
        Ok(Self { confirmed, refuted })
    }

    /// What the owners say of `a` and `b`, in either order.
    pub fn verdict(&self, a: RecordIndex, b: RecordIndex) -> Option<Verdict> {
        let pair = (a.min(b), a.max(b));
        if self.refuted.contains(&pair) {
            Some(Verdict::Refuted)
        } else {
            self.confirmed.contains(&pair).then_some(Verdict::Confirmed)
        }
    }
    /// Whether the owners say that `a` and `b` are one person's.
    pub fn is_confirmed(&self, a: RecordIndex, b: RecordIndex) -> bool {
        self.verdict(a, b) == Some(Verdict::Confirmed)
    }
    /// Whether the owners say that `a` and `b` are two persons'.
    pub fn is_refuted(&self, a: RecordIndex, b: RecordIndex) -> bool {
        self.verdict(a, b) == Some(Verdict::Refuted)
    }
    /// Confirmed pairs in order.
    pub fn confirmed(&self) -> impl Iterator<Item = Pair> + '_ {
        self.confirmed.iter().copied()
    }
    /// Refuted pairs in order.
    pub fn refuted(&self) -> impl Iterator<Item = Pair> + '_ {
        self.refuted.iter().copied()
    }
    /// Whether nothing is settled.
    pub fn is_empty(&self) -> bool {
        self.confirmed.is_empty() && self.refuted.is_empty()
    }
    /// Errors: a pair names a record beyond the last of `records`.
    pub(crate) fn check(&self, records: usize) -> Result<(), LinkError> {
        let beyond = self.confirmed().chain(self.refuted()).map(|(_, b)| b).find(|&b| b as usize >= records);
        beyond.map_or(Ok(()), |record| Err(LinkError::NoSuchRecord(record)))
    }

    /// The sets of records that confirmations join, and the number of confirmed pairs that are refused since their set
    /// holds a refuted pair.
    pub(crate) fn must_link(&self) -> (Vec<BTreeSet<RecordIndex>>, u64) {
        let mut near: BTreeMap<RecordIndex, Vec<RecordIndex>> = BTreeMap::new();
        for (a, b) in self.confirmed() {
            near.entry(a).or_default().push(b);
            near.entry(b).or_default().push(a);
        }
        let mut set_of: BTreeMap<RecordIndex, usize> = BTreeMap::new();
        let mut sets: Vec<BTreeSet<RecordIndex>> = Vec::new();
        for &first in near.keys() {
            if set_of.contains_key(&first) {
                continue;
            }
            let (mut set, mut open) = (BTreeSet::new(), vec![first]);
            while let Some(record) = open.pop() {
                if set.insert(record) {
                    set_of.insert(record, sets.len());
                    open.extend(near.get(&record).into_iter().flatten());
                }
            }
            sets.push(set);
        }
        let together = |(a, b): Pair| set_of.get(&a).filter(|&n| set_of.get(&b) == Some(n)).copied();
        let contradicted: BTreeSet<usize> = self.refuted().filter_map(together).collect();
        let refused = self.confirmed().filter_map(together).filter(|n| contradicted.contains(n)).count() as u64;
        let kept = (0..).zip(sets).filter(|(n, _)| !contradicted.contains(n)).map(|(_, set)| set).collect();
        (kept, refused)
    }
}

fn ordered(pairs: impl IntoIterator<Item = Pair>) -> Result<BTreeSet<Pair>, LinkError> {
    let one = |(a, b): Pair| {
        if a == b { Err(LinkError::Dispositions("a record is paired with itself")) } else { Ok((a.min(b), a.max(b))) }
    };
    pairs.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_ordered_once_and_found_from_either_side() {
        let made = Dispositions::new([(5, 2), (2, 5), (1, 9)], [(4, 3)]).unwrap();
        assert_eq!(made.confirmed().collect::<Vec<_>>(), [(1, 9), (2, 5)]);
        assert_eq!(made.refuted().collect::<Vec<_>>(), [(3, 4)]);
        assert_eq!(made, Dispositions::new([(1, 9), (2, 5)], [(3, 4)]).unwrap());
        assert!(made.is_confirmed(5, 2) && made.is_confirmed(2, 5) && !made.is_refuted(2, 5));
        assert!(made.is_refuted(4, 3) && !made.is_confirmed(4, 3));
        assert_eq!([made.verdict(9, 1), made.verdict(3, 4)], [Some(Verdict::Confirmed), Some(Verdict::Refuted)]);
        assert_eq!(made.verdict(1, 2), None);
        assert!(!made.is_empty() && Dispositions::default().is_empty());
    }

    #[test]
    fn nonsense_is_refused() {
        let refusal = |text| Err(LinkError::Dispositions(text));
        assert_eq!(Dispositions::new([(1, 1)], []), refusal("a record is paired with itself"));
        assert_eq!(Dispositions::new([], [(7, 7)]), refusal("a record is paired with itself"));
        assert_eq!(Dispositions::new([(1, 2)], [(2, 1)]), refusal("a pair is both confirmed and refuted"));
        let made = Dispositions::new([(0, 1)], [(2, 3)]).unwrap();
        assert_eq!((made.check(4), made.check(3)), (Ok(()), Err(LinkError::NoSuchRecord(3))));
    }

    #[test]
    fn confirmations_that_lead_to_a_refuted_pair_are_refused_together() {
        let made = Dispositions::new([(0, 1), (1, 2), (5, 6), (6, 7)], [(0, 2), (5, 9)]).unwrap();
        assert_eq!(made.must_link(), (vec![[5, 6, 7].into()], 2));
    }
}
