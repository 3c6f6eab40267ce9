//! The run's report, made without labels: what was received, met, learnt, linked and left open.
//!
//! Figures on pairs are of pairs of two parties; of the pairs within it, when there is one party only.
//!
//! Precision and recall are estimated from the posteriors, those of a cluster's pairs borne out by its other pairs
//! (`report/quality.rs`). Matches that never met are estimated from the errors of those
//! that did: a pair with an error in one of surname, given name and date nearly always meets by the other two, so that
//! its frequency is seen whole; pairs with several errors are as frequent as independent errors make them, and what
//! is not seen of them did not meet (the reasoning of capture and recapture with the three as lists). Counts of blocks
//! met in were tried first (Chao, Scand. J. Statist. 1984) and found useless: blocks of one pair depend on one another.
//! Intervals are wide and simple: half to twice the error estimated, and none to twice the figure for what did not
//! meet. They say nothing of a model that is wrong.
//!
//! docs/report.md documents the JSON form, field by field.

mod groups;
mod kinds;
mod outcomes;
mod patterns;
mod quality;
mod weights;

use std::collections::{BTreeMap, BTreeSet};

use linkage_agreement::Agreement;
use serde::Serialize;

use crate::classify::{PRIOR_MATCHES, Shares};
use crate::cluster::Clusters;
use crate::decide::{Decided, Reason, Settings, probability};
use crate::join::BlockCounts;
use crate::payloads::Components;
use crate::{Comparisons, MatchClass, Model, RecordIndex, Records};
use groups::Sources;
pub use groups::{GroupCounts, GroupReport};
use kinds::{Kinds, never_met};
use outcomes::{Fate, Outcomes};
pub use patterns::{Example, Step, Waterfall};
pub use weights::{DimensionReport, LevelReport};

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

/// What a report needs of the agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportTerms {
    /// The decision rule.
    pub settings: Settings,
    /// Smallest count of a group of records, or of pairs of one pattern, that is shown.
    pub minimum_cell: u64,
}

impl ReportTerms {
    /// The terms of an agreement.
    pub fn of(agreement: &Agreement) -> Self {
        Self { settings: Settings::of(agreement), minimum_cell: u64::from(agreement.disclosure.minimum_cell) }
    }
    /// With the smallest count that agreements have by default.
    pub fn new(settings: Settings) -> Self {
        let default = linkage_agreement::model::Disclosure::default();
        Self { settings, minimum_cell: u64::from(default.minimum_cell) }
    }
}

/// One party's part.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// Records in a pair left open.
    pub abstained: u64,
    /// Expected right pairs among the linked ones of its records.
    pub found_pairs: f64,
    /// Expected matches of its records that were not linked, or did not meet.
    pub missed_pairs: f64,
    /// By quality of the date of birth.
    pub by_date_quality: Vec<GroupReport>,
    /// By rarity class of the rarest name.
    pub by_rarity: Vec<GroupReport>,
}

/// Pairs by weight: `from_bits <= weight < from_bits + 1`, the ends open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// Lower end in bits.
    pub from_bits: i32,
    /// Cross-party pairs that met.
    pub pairs: u64,
    /// Those linked.
    pub linked: u64,
    /// Those left open.
    pub abstained: u64,
    /// The others.
    pub refused: u64,
}

/// The bounds of the decision, in thousandths of a bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// Weight from which a pair is linked, unless a rival or its cluster speaks against it.
    pub link_millibits: i32,
    /// Weight from which a pair that is not linked is left open.
    pub abstain_millibits: i32,
}

/// Whether the run is large enough to speak for itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Support {
    /// Expected matches among the pairs that met: what weights are learnt from.
    pub matches: f64,
    /// Share of the weights that comes from shipped tables, 0 to 1.
    pub shipped_priors_share: f64,
    /// Whether that share is a tenth or more: estimates then say more of the tables than of the run.
    pub few_pairs: bool,
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
    /// The bounds that decided.
    pub bounds: Bounds,
    /// Typical pairs.
    pub patterns: Vec<Waterfall>,
    /// All parties' records by quality of the date of birth.
    pub by_date_quality: Vec<GroupReport>,
    /// All parties' records by rarity class of the rarest name.
    pub by_rarity: Vec<GroupReport>,
    /// Whether the run is large enough to speak for itself.
    pub support: Support,
    /// What the candidate graph would let a broker reach.
    pub reach: Reach,
}

const HISTOGRAM_FROM: i32 = -30;
const HISTOGRAM_TO: i32 = 50;
/// Share of shipped tables from which a run is called small.
const FEW_PAIRS: f64 = 0.1;

/// Makes the report from the outputs of all steps.
pub fn report(
    records: &Records,
    blocks: &BlockCounts,
    comparisons: &Comparisons,
    model: &Model,
    decided: &[Decided],
    clusters: &Clusters,
    terms: &ReportTerms,
) -> Report {
    let outcomes = Outcomes::of(records, comparisons, clusters);

    let kinds = Kinds::of(model, comparisons, decided, &outcomes.fates);

    // Sums run over distinct weights in order, so that the order of records leaves no trace.
    let alone = records.parties() == 1;
    let mut by_weight: BTreeMap<i32, Tally> = BTreeMap::new();
    let (mut candidates, mut candidates_within) = (0, 0);
    for kind in &kinds.all {
        if kind.within {
            candidates_within += kind.pairs;
        } else {
            candidates += kind.pairs;
        }
        if kind.within != alone {
            continue;
        }
        let tally = by_weight.entry(kind.millibits).or_default();
        tally.pairs += kind.pairs;
        match kind.fate {
            Fate::Linked => tally.linked += kind.pairs,
            Fate::Abstained(_) => tally.abstained += kind.pairs,
            Fate::Refused => {}
        }
    }
    let unlinked: f64 = by_weight.iter().map(|(&w, t)| (t.pairs - t.linked) as f64 * probability(w)).sum();
    let found = quality::linked_pairs(records, decided, clusters);
    let counted = kinds.all.iter().filter(|kind| kind.within == alone).map(|kind| (kind, kind.pairs));
    let (precision, recall) = found.estimates(unlinked, never_met(model, counted));
    let others: f64 = by_weight.iter().map(|(&w, t)| t.pairs as f64 * probability(w.saturating_neg())).sum();
    // From zero: the sum of no floats is minus zero, which would show.
    let matches = by_weight.iter().fold(0.0, |sum, (&w, t)| sum + t.pairs as f64 * probability(w));
    let members = || clusters.clusters.iter().flat_map(|c| &c.members);
    let certain = members().filter(|m| m.class == MatchClass::Certain).count() as u64;
    let mut abstained = BTreeMap::new();
    for pair in &clusters.abstained {
        *abstained.entry(pair.reason).or_default() += 1;
    }
    let sources = Sources { records, comparisons, model, kinds: &kinds, outcomes: &outcomes, alone };
    let (party_dates, by_date_quality) = sources.groups(&groups::DATE_QUALITY, terms.minimum_cell);
    let (party_rarities, by_rarity) = sources.groups(&groups::RARITY, terms.minimum_cell);
    let wholes = sources.counts(&groups::WHOLE).0.into_iter().map(|row| row.first().copied().unwrap_or_default().counts);
    let rivals = rivals(records, clusters);
    let parties =
        wholes.zip(party_dates).zip(party_rarities).zip(rivals).map(|(((whole, dates), rarities), rivals)| PartyReport {
            records: whole.records,
            met: whole.met,
            linked: whole.linked,
            rivals,
            abstained: whole.abstained,
            found_pairs: whole.found_pairs,
            missed_pairs: whole.missed_met_pairs + whole.missed_unmet_pairs,
            by_date_quality: dates,
            by_rarity: rarities,
        });
    let shipped = PRIOR_MATCHES / (PRIOR_MATCHES + matches);
    Report {
        parties: parties.collect(),
        blocks: *blocks,
        candidates,
        candidates_within,
        non_matching_meetings_per_record: (2.0 * others / (records.len() as f64).max(1.0)).max(0.0),
        across: model.across,
        within: model.within,
        weights: weights::weights(model, &kinds, alone),
        histogram: histogram(&by_weight),
        clusters: clusters.clusters.len() as u64,
        certain_members: certain,
        probable_members: members().count() as u64 - certain,
        linked_pairs: found.pairs,
        precision,
        recall,
        abstained,
        bounds: Bounds { link_millibits: terms.settings.link_millibits(), abstain_millibits: terms.settings.abstain_millibits() },
        patterns: patterns::waterfalls(model, &kinds, alone, terms),
        by_date_quality,
        by_rarity,
        support: Support { matches, shipped_priors_share: shipped, few_pairs: shipped >= FEW_PAIRS },
        reach: reach(records.len(), comparisons),
    }
}

/// Cross-party pairs of one weight.
#[derive(Default)]
struct Tally {
    pairs: u64,
    linked: u64,
    abstained: u64,
}

/// By party, the records that compete with another one of the party for a third.
fn rivals(records: &Records, clusters: &Clusters) -> Vec<u64> {
    // Of a pair abstained from for a rival, the side that has one is the record of which a third has two.
    let mut partners: BTreeMap<(RecordIndex, usize), BTreeSet<RecordIndex>> = BTreeMap::new();
    for pair in clusters.abstained.iter().filter(|p| p.reason == Reason::Rival) {
        for (third, rival) in [(pair.a, pair.b), (pair.b, pair.a)] {
            partners.entry((third, records.party(rival))).or_default().insert(rival);
        }
    }
    let rivals: BTreeSet<RecordIndex> = partners.into_values().filter(|rivals| rivals.len() > 1).flatten().collect();
    (0..records.parties()).map(|party| rivals.range(records.of_party(party)).count() as u64).collect()
}

fn histogram(by_weight: &BTreeMap<i32, Tally>) -> Vec<Bin> {
    let mut bins: Vec<Bin> = (HISTOGRAM_FROM..HISTOGRAM_TO)
        .map(|from_bits| Bin { from_bits, pairs: 0, linked: 0, abstained: 0, refused: 0 })
        .collect();
    for (&weight, tally) in by_weight {
        let bin = weight.div_euclid(1000).clamp(HISTOGRAM_FROM, HISTOGRAM_TO - 1) - HISTOGRAM_FROM;
        if let Some(bin) = usize::try_from(bin).ok().and_then(|bin| bins.get_mut(bin)) {
            bin.pairs += tally.pairs;
            bin.linked += tally.linked;
            bin.abstained += tally.abstained;
            bin.refused += tally.pairs - tally.linked - tally.abstained;
        }
    }
    bins
}

/// Sizes of the candidate graph's components, hop by hop to the end.
fn reach(records: usize, comparisons: &Comparisons) -> Reach {
    let mut components = Components::new(records);
    for row in &comparisons.rows {
        components.join(row.a, row.b);
    }
    let mut sizes = vec![0u64; records];
    for record in 0..u32::try_from(records).unwrap_or(u32::MAX) {
        if let Some(size) = sizes.get_mut(components.root(record) as usize) {
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
