//! A second look at pairs that may be twins: who stands beside whom in one list.
//!
//! Twins of one sex whose given names differ look like one person who goes by two given names, pair by pair. Lists tell
//! them apart: twins of one household mostly stand side by side in a list that knows either, one person does not. So,
//! after a first clustering, a pair abstained from as twins gains weight when no list has records on both sides: minus
//! log2 of the share of twins of whom that is true. The share is estimated by EM over the groups that are either one
//! person or twins, with no labels.

use std::collections::BTreeMap;

use crate::decide::{Decided, Outcome, Reason, Settings};
use crate::vectors::Vectors;
use crate::{Clusters, Comparisons, Model, RecordIndex, Records};

/// Share of twins that no list holds both of, before data, and its weight in pairs of groups.
const PRIOR_APART: f64 = 0.3;
const PRIOR_PAIRS: f64 = 5.0;
/// How often a list holds a person twice.
const TWICE: f64 = 0.02;
/// Pairs that say something of twins: these likely to be twins at least, and to be either one person or twins.
const LEAST_TWINS: f64 = 0.05;
const LEAST_EITHER: f64 = 0.8;
const ROUNDS: usize = 30;

/// The pairs of `decided`, those left open as twins weighed again with the lists of the clusters that they would join.
pub(crate) fn reconsider(
    records: &Records,
    comparisons: &Comparisons,
    model: &Model,
    decided: &[Decided],
    clusters: &Clusters,
    settings: &Settings,
) -> Vec<Decided> {
    let lists = Lists::new(records, clusters);
    // Two groups count once, however many of their pairs met: by the heaviest.
    let mut groups: BTreeMap<(RecordIndex, RecordIndex), (i32, Either)> = BTreeMap::new();
    let vectors = Vectors::of(&comparisons.rows);
    let posteriors = vectors.map(|within, vector| model.posterior(within, vector));
    for ((row, vector), pair) in comparisons.rows.iter().zip(vectors.of_rows()).zip(decided).filter(|((row, _), _)| !row.within) {
        let Some(p) = posteriors.get(*vector as usize) else { continue };
        if p.twins >= LEAST_TWINS && p.twins + p.matched >= LEAST_EITHER && !lists.same_group(row.a, row.b) {
            let either = Either { matched: p.matched, twins: p.twins, apart: lists.apart(row.a, row.b) };
            let heaviest = groups.entry(lists.groups(row.a, row.b)).or_insert((pair.millibits, either));
            // Of equal weights the likelier twins, whichever comes first.
            let order = |(weight, either): &(i32, Either)| (*weight, either.twins.to_bits(), either.matched.to_bits());
            if order(&(pair.millibits, either)) > order(heaviest) {
                *heaviest = (pair.millibits, either);
            }
        }
    }
    let mut either: Vec<Either> = groups.into_values().map(|(_, either)| either).collect();
    let gain = (-share_apart(&mut either).log2() * 1000.0).round() as i32;
    let again = |pair: &Decided| {
        if pair.outcome != Outcome::Abstain(Reason::Twins) || !lists.apart(pair.a, pair.b) {
            return *pair;
        }
        let millibits = pair.millibits.saturating_add(gain);
        let outcome = if millibits >= settings.link_millibits() { Outcome::Link } else { pair.outcome };
        Decided { millibits, outcome, ..*pair }
    };
    decided.iter().map(again).collect()
}

/// Two groups that are one person or twins, by a pair of theirs.
#[derive(Clone, Copy)]
struct Either {
    matched: f64,
    twins: f64,
    /// Whether no list has records in both.
    apart: bool,
}

/// The share of twins that no list holds both of. Summed in order of probability, so that the order of records leaves no
/// trace.
fn share_apart(either: &mut [Either]) -> f64 {
    either.sort_unstable_by(|x, y| x.twins.total_cmp(&y.twins).then(x.matched.total_cmp(&y.matched)).then(x.apart.cmp(&y.apart)));
    let mut share = PRIOR_APART;
    for _ in 0..ROUNDS {
        let (mut twins, mut apart) = (PRIOR_PAIRS, PRIOR_PAIRS * PRIOR_APART);
        for pair in either.iter() {
            let (as_twins, as_one) = if pair.apart { (share, 1.0 - TWICE) } else { (1.0 - share, TWICE) };
            let p = pair.twins * as_twins / (pair.twins * as_twins + pair.matched * as_one);
            twins += p;
            apart += if pair.apart { p } else { 0.0 };
        }
        share = (apart / twins).clamp(0.01, 0.99);
    }
    share
}

/// The parties of every record's cluster.
struct Lists<'r> {
    records: &'r Records,
    clusters: &'r Clusters,
    /// By record: the number of its cluster, `ALONE` when it has none.
    of: Vec<u32>,
}

const ALONE: u32 = u32::MAX;

impl<'r> Lists<'r> {
    fn new(records: &'r Records, clusters: &'r Clusters) -> Self {
        let mut of = vec![ALONE; records.len()];
        for (number, cluster) in (0..).zip(&clusters.clusters) {
            for member in &cluster.members {
                if let Some(place) = of.get_mut(member.record as usize) {
                    *place = number;
                }
            }
        }
        Self { records, clusters, of }
    }

    /// The records of a record's cluster, itself included.
    fn group(&self, record: RecordIndex) -> impl Iterator<Item = RecordIndex> {
        let number = self.of.get(record as usize).copied().unwrap_or(ALONE);
        let cluster = self.clusters.clusters.get(number as usize);
        let alone = cluster.is_none().then_some(record);
        cluster.into_iter().flat_map(|c| &c.members).map(|m| m.record).chain(alone)
    }
    fn first(&self, record: RecordIndex) -> RecordIndex {
        self.group(record).next().unwrap_or(record)
    }
    fn groups(&self, a: RecordIndex, b: RecordIndex) -> (RecordIndex, RecordIndex) {
        let (x, y) = (self.first(a), self.first(b));
        (x.min(y), x.max(y))
    }
    fn same_group(&self, a: RecordIndex, b: RecordIndex) -> bool {
        self.first(a) == self.first(b)
    }
    /// Whether no list has records in both groups.
    fn apart(&self, a: RecordIndex, b: RecordIndex) -> bool {
        let party = |record| self.records.party(record);
        self.group(a).all(|x| self.group(b).all(|y| party(x) != party(y)))
    }
}
