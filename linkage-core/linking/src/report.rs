//! The run's report, made without labels: what was received, met, learnt, linked and left open.
//!
//! Figures on pairs are of pairs of two parties; of the pairs within it, when there is one party only.
//!
//! Precision and recall are estimated from the posteriors. Matches that never met are estimated from the errors of those
//! that did: a pair with an error in one of surname, given name and date nearly always meets by the other two, so that
//! its frequency is seen whole; pairs with several errors are as frequent as independent errors make them, and what
//! is not seen of them did not meet (the reasoning of capture and recapture with the three as lists). Counts of blocks
//! met in were tried first (Chao, Scand. J. Statist. 1984) and found useless: blocks of one pair depend on one another.
//! Intervals are simple ones: 1.96 standard errors of the posteriors, and none to twice the figure for what did not
//! meet. They say nothing of a model that is wrong.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::classify::Shares;
use crate::cluster::Clusters;
use crate::decide::{Decided, Reason, probability};
use crate::join::BlockCounts;
use crate::levels::{date_level, name_level};
use crate::{ComparisonVector, Comparisons, DimensionKind, MatchClass, Model, RecordIndex, Records};

/// An estimate with an interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// One party's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartyReport {
    /// Records received, decoys among them.
    pub records: u64,
    /// Records that met another one.
    pub met: u64,
    /// Records in a cluster.
    pub linked: u64,
    /// Records that compete with another one of the party for a third, though the agreement says that the list holds
    /// each person once: many of them mean that it does not.
    pub rivals: u64,
}

/// One level's weight.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LevelReport {
    /// The level's name.
    pub level: String,
    /// Agreement among matches.
    pub m: f64,
    /// Agreement by chance.
    pub u: f64,
    /// log2(m / u).
    pub weight_bits: f64,
    /// Cross-party pairs that met at this level.
    pub pairs: u64,
}

/// One dimension's weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DimensionReport {
    /// The dimension's name.
    pub dimension: String,
    /// Its levels, level 0 (missing) left out.
    pub levels: Vec<LevelReport>,
}

/// Pairs by weight: `from_bits <= weight < from_bits + 1`, the ends open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// Lower end in bits.
    pub from_bits: i32,
    /// Cross-party pairs that met.
    pub pairs: u64,
}

/// What the candidate graph would let a broker reach that knew some records' persons.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Reach {
    /// Records of the largest component.
    pub largest_component: u64,
    /// Expected share of all records in a component with one of 20 known ones, drawn at random.
    pub from_20_known: f64,
    /// The same with 100 known ones.
    pub from_100_known: f64,
}

/// The run's report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// By party, in the order of the input.
    pub parties: Vec<PartyReport>,
    /// What became of the blocks.
    pub blocks: BlockCounts,
    /// Pairs of two parties that met.
    pub candidates: u64,
    /// Pairs within one party that met.
    pub candidates_within: u64,
    /// Expected meetings with another person's record, for each record.
    pub non_matching_meetings_per_record: f64,
    /// Estimated shares of matches, twins and namesakes across parties.
    pub across: Shares,
    /// The same within parties that may hold duplicates.
    pub within: Shares,
    /// Weights by dimension.
    pub weights: Vec<DimensionReport>,
    /// Cross-party pairs by weight.
    pub histogram: Vec<Bin>,
    /// Clusters of two records or more.
    pub clusters: u64,
    /// Records in clusters, by match class.
    pub certain_members: u64,
    /// Members that are not certain.
    pub probable_members: u64,
    /// Pairs of two parties linked, by clusters.
    pub linked_pairs: u64,
    /// Estimated precision over pairs of two parties.
    pub precision: Estimate,
    /// Estimated recall over pairs of two parties.
    pub recall: Estimate,
    /// Pairs left open, by reason.
    pub abstained: BTreeMap<Reason, u64>,
    /// What the candidate graph would let a broker reach.
    pub reach: Reach,
}

const HISTOGRAM_FROM: i32 = -30;
const HISTOGRAM_TO: i32 = 50;

/// Makes the report from the outputs of all steps.
pub fn report(
    records: &Records<'_>,
    blocks: &BlockCounts,
    comparisons: &Comparisons,
    model: &Model,
    decided: &[Decided],
    clusters: &Clusters,
) -> Report {
    let cluster_of: BTreeMap<RecordIndex, usize> = clusters
        .clusters
        .iter()
        .enumerate()
        .flat_map(|(number, cluster)| cluster.members.iter().map(move |m| (m.record, number)))
        .collect();
    let linked = |a, b| matches!((cluster_of.get(&a), cluster_of.get(&b)), (Some(x), Some(y)) if x == y);

    // Sums run over distinct weights in order, so that the order of records leaves no trace.
    let alone = records.parties() == 1;
    let mut by_weight: BTreeMap<i32, Tally> = BTreeMap::new();
    let (mut candidates, mut candidates_within) = (0, 0);
    for (row, pair) in comparisons.rows.iter().zip(decided) {
        if row.within {
            candidates_within += 1;
        } else {
            candidates += 1;
        }
        if row.within != alone {
            continue;
        }
        let tally = by_weight.entry(pair.millibits).or_default();
        tally.pairs += 1;
        tally.linked += u64::from(linked(row.a, row.b));
    }
    let linked_pairs = count_linked_pairs(records, clusters);
    let (precision, recall) = quality(&by_weight, linked_pairs, never_met(model, comparisons, alone));
    let others: f64 = by_weight.iter().map(|(&w, t)| t.pairs as f64 * probability(w.saturating_neg())).sum();
    let certain = clusters.clusters.iter().flat_map(|c| &c.members).filter(|m| m.class == MatchClass::Certain).count() as u64;
    let mut abstained = BTreeMap::new();
    for pair in &clusters.abstained {
        *abstained.entry(pair.reason).or_default() += 1;
    }
    Report {
        parties: party_reports(records, comparisons, &cluster_of, clusters),
        blocks: *blocks,
        candidates,
        candidates_within,
        non_matching_meetings_per_record: (2.0 * others / (records.len() as f64).max(1.0)).max(0.0),
        across: model.across,
        within: model.within,
        weights: weights(model, comparisons, alone),
        histogram: histogram(&by_weight),
        clusters: clusters.clusters.len() as u64,
        certain_members: certain,
        probable_members: cluster_of.len() as u64 - certain,
        linked_pairs,
        precision,
        recall,
        abstained,
        reach: reach(records.len(), comparisons),
    }
}

/// Cross-party pairs of one weight.
#[derive(Default)]
struct Tally {
    pairs: u64,
    linked: u64,
}

fn count_linked_pairs(records: &Records<'_>, clusters: &Clusters) -> u64 {
    let mut pairs = 0;
    for cluster in &clusters.clusters {
        let mut by_party: BTreeMap<usize, u64> = BTreeMap::new();
        for member in &cluster.members {
            *by_party.entry(records.party(member.record)).or_default() += 1;
        }
        let all: u64 = by_party.values().sum();
        let within: u64 = by_party.values().map(|n| n * (n - 1) / 2).sum();
        pairs += if records.parties() == 1 { within } else { all * (all - 1) / 2 - within };
    }
    pairs
}

fn quality(by_weight: &BTreeMap<i32, Tally>, linked_pairs: u64, never_met: f64) -> (Estimate, Estimate) {
    let (mut matches, mut right, mut linked, mut variance) = (0.0, 0.0, 0.0, 0.0);
    for (&weight, tally) in by_weight {
        let p = probability(weight);
        matches += p * tally.pairs as f64;
        right += p * tally.linked as f64;
        linked += tally.linked as f64;
        variance += p * (1.0 - p) * tally.linked as f64;
    }
    // Pairs linked by way of a third record, without having met, are taken to be right as often as those that met.
    let unmet_linked = (linked_pairs as f64 - linked).max(0.0);
    let share = if linked > 0.0 { right / linked } else { 1.0 };
    let error = if linked > 0.0 { 1.96 * variance.sqrt() / linked } else { 1.0 };
    let precision = Estimate { value: share, low: (share - error).max(0.0), high: (share + error).min(1.0) };
    let found = right + share * unmet_linked;
    let of = |never_met: f64| {
        let all = matches + never_met.max(share * unmet_linked);
        if all > 0.0 { (found / all).min(1.0) } else { 1.0 }
    };
    (precision, Estimate { value: of(never_met), low: of(2.0 * never_met), high: of(0.0) })
}

/// Estimated matches of two parties that met in no block, from the errors of those that met. Zero when the layout has
/// fewer than three of surname, given name and date, since every pair with an error may then go unseen.
fn never_met(model: &Model, comparisons: &Comparisons, alone: bool) -> f64 {
    let position = |kind| model.dimensions.iter().position(|d| d.kind == kind);
    let (Some(surname), Some(given), Some(date)) =
        (position(DimensionKind::Surname), position(DimensionKind::Given), position(DimensionKind::Date))
    else {
        return 0.0;
    };
    let mut patterns: BTreeMap<ComparisonVector, u64> = BTreeMap::new();
    for row in comparisons.rows.iter().filter(|row| row.within == alone) {
        *patterns.entry(row.vector).or_default() += 1;
    }
    // Matches by which of the three have an error: bit 0 surname, bit 1 given name, bit 2 date.
    let mut seen = [0.0; 8];
    for (vector, pairs) in patterns {
        let errors = [
            vector.level(surname) < name_level::PHONETIC_CLOSE,
            vector.level(given) < name_level::PHONETIC_CLOSE,
            vector.level(date) < date_level::EQUAL_DEFAULT,
        ];
        let cell = errors.iter().rev().fold(0, |cell, &error| 2 * cell + usize::from(error));
        if let Some(sum) = seen.get_mut(cell) {
            *sum += pairs as f64 * model.posterior(alone, &vector).matched;
        }
    }
    let [none, s, g, sg, d, sd, gd, sgd] = seen;
    if none <= 0.0 {
        return 0.0;
    }
    let unseen = |expected: f64, seen: f64| (expected - seen).max(0.0);
    unseen(s * g / none, sg) + unseen(s * d / none, sd) + unseen(g * d / none, gd) + unseen(s * g * d / (none * none), sgd)
}

fn party_reports(
    records: &Records<'_>,
    comparisons: &Comparisons,
    clustered: &BTreeMap<RecordIndex, usize>,
    clusters: &Clusters,
) -> Vec<PartyReport> {
    let mut met = vec![false; records.len()];
    for row in &comparisons.rows {
        for record in [row.a, row.b] {
            if let Some(flag) = met.get_mut(record as usize) {
                *flag = true;
            }
        }
    }
    // Of a pair abstained from for a rival, the side that has one is the record of which a third has two.
    let mut partners: BTreeMap<(RecordIndex, usize), BTreeSet<RecordIndex>> = BTreeMap::new();
    for pair in clusters.abstained.iter().filter(|p| p.reason == Reason::Rival) {
        for (third, rival) in [(pair.a, pair.b), (pair.b, pair.a)] {
            partners.entry((third, records.party(rival))).or_default().insert(rival);
        }
    }
    let rivals: BTreeSet<RecordIndex> = partners.into_values().filter(|rivals| rivals.len() > 1).flatten().collect();
    let of = |party| {
        let range = records.of_party(party);
        PartyReport {
            records: range.len() as u64,
            met: met.get(range.start as usize..range.end as usize).unwrap_or(&[]).iter().filter(|&&m| m).count() as u64,
            linked: clustered.range(range.clone()).count() as u64,
            rivals: rivals.range(range).count() as u64,
        }
    };
    (0..records.parties()).map(of).collect()
}

fn weights(model: &Model, comparisons: &Comparisons, alone: bool) -> Vec<DimensionReport> {
    let mut pairs: Vec<Vec<u64>> = model.dimensions.iter().map(|d| vec![0; d.m.len()]).collect();
    for row in comparisons.rows.iter().filter(|row| row.within == alone) {
        for (at, counts) in pairs.iter_mut().enumerate() {
            if let Some(count) = counts.get_mut(usize::from(row.vector.level(at))) {
                *count += 1;
            }
        }
    }
    let dimension = |(d, pairs): (&crate::classify::DimensionModel, Vec<u64>)| {
        let rows = (0u8..).zip(d.m.iter().zip(&d.u).zip(pairs)).skip(1);
        DimensionReport {
            dimension: d.name.clone(),
            levels: rows
                .map(|(level, ((&m, &u), pairs))| LevelReport {
                    level: d.kind.level_name(level),
                    m,
                    u,
                    weight_bits: d.weight_bits(level),
                    pairs,
                })
                .collect(),
        }
    };
    model.dimensions.iter().zip(pairs).map(dimension).collect()
}

fn histogram(by_weight: &BTreeMap<i32, Tally>) -> Vec<Bin> {
    let mut bins: Vec<Bin> = (HISTOGRAM_FROM..HISTOGRAM_TO).map(|from_bits| Bin { from_bits, pairs: 0 }).collect();
    for (&weight, tally) in by_weight {
        let bin = weight.div_euclid(1000).clamp(HISTOGRAM_FROM, HISTOGRAM_TO - 1) - HISTOGRAM_FROM;
        if let Some(bin) = usize::try_from(bin).ok().and_then(|bin| bins.get_mut(bin)) {
            bin.pairs += tally.pairs;
        }
    }
    bins
}

/// Sizes of the candidate graph's components, hop by hop to the end.
fn reach(records: usize, comparisons: &Comparisons) -> Reach {
    let mut parent: Vec<u32> = (0..u32::try_from(records).unwrap_or(u32::MAX)).collect();
    fn root(parent: &mut [u32], mut at: u32) -> u32 {
        while let Some(&up) = parent.get(at as usize) {
            if up == at {
                break;
            }
            let further = parent.get(up as usize).copied().unwrap_or(up);
            if let Some(place) = parent.get_mut(at as usize) {
                *place = further;
            }
            at = further;
        }
        at
    }
    for row in &comparisons.rows {
        let (x, y) = (root(&mut parent, row.a), root(&mut parent, row.b));
        if let Some(place) = parent.get_mut(x.max(y) as usize) {
            *place = x.min(y);
        }
    }
    let mut sizes = vec![0u64; records];
    for record in 0..parent.len() as u32 {
        if let Some(size) = sizes.get_mut(root(&mut parent, record) as usize) {
            *size += 1;
        }
    }
    sizes.retain(|&size| size > 0);
    sizes.sort_unstable();
    let total = records as f64;
    let expected = |known: i32| {
        let reached: f64 = sizes.iter().map(|&s| s as f64 * (1.0 - (1.0 - s as f64 / total).powi(known))).sum();
        if total > 0.0 { reached / total } else { 0.0 }
    };
    Reach { largest_component: sizes.last().copied().unwrap_or(0), from_20_known: expected(20), from_100_known: expected(100) }
}
