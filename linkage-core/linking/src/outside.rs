//! Pairs with a record of a party that is outside the blocks: one that sent a clkhash filter or hash keys, and no entries.
//!
//! Such records meet nobody in a block. They are compared by what stands in every record's *annex*
//! ([`linkage_agreement::RecordShape`]): filters exhaustively by their Dice coefficient ([`clk_pairs`]), keys by equality,
//! primary before secondary ([`key_pairs`]). Pairs of two block-scoped parties are left to the blocks. An annex that is
//! absent (all zero) meets nobody.
//!
//! Nothing here has labels or fields, so [`outside_decided`] decides by what the agreement fixes: the least coefficient
//! and the lead over every rival, so that namesakes are left open and not guessed at. What it says of probability
//! (`weigh`) errs on the low side, and is capped: no such link is ever certain. Party pairs are taken one by one: a
//! further party changes nothing between two others. **Annexes are re-identifiable** (docs/clk.md, docs/hash-keys.md).

mod clk;
mod keys;
mod rivals;
#[cfg(test)]
mod tests;
mod weigh;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use linkage_agreement::{Agreement, AnnexPlaces};
use serde::{Deserialize, Serialize};

pub use clk::clk_pairs;
pub use keys::{KeyMeeting, key_pairs};
pub use linkage_clk::Kernel;

use crate::decide::{Decided, Outcome, Reason, probability};
use crate::{Clusters, Dispositions, RecordIndex, Records};
use weigh::Weights;

/// Most a pair outside the blocks weighs, in thousandths of a bit: a probability of 0.9949, below what is called certain.
pub const MOST_MILLIBITS: i32 = 7_600;
/// Least it weighs.
const LEAST_MILLIBITS: i32 = -10_000;
/// Pairs of two parties that are held at most: 320 MB.
const MAX_PAIRS: usize = 20_000_000;

/// Why annexes could not be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutsideError {
    /// An annex is not as long as the agreement says.
    #[error("an annex of {len} bytes instead of {expected}")]
    AnnexLength {
        /// Its length.
        len: usize,
        /// The agreement's.
        expected: usize,
    },
    /// The agreement's threshold or filter length cannot be used.
    #[error("a filter length or threshold that cannot be used")]
    Terms,
    /// Too many pairs reach the threshold.
    #[error("more than {0} pairs of two parties reach the threshold")]
    TooManyPairs(usize),
    /// More records than can be numbered.
    #[error("more than 4,294,967,295 records")]
    TooManyRecords,
}

/// The annexes of one party.
#[derive(Debug, Clone)]
pub struct OutsideParty<'a> {
    /// Whether it sent entries, by which it meets other such parties in blocks.
    pub block_scoped: bool,
    /// Whether the agreement says that its list holds each person once only.
    pub duplicate_free: bool,
    /// One for each of its records, in the order of records.
    pub annexes: Vec<&'a [u8]>,
}

/// The annexes of all parties of a run, in the order of their numbers.
pub fn outside_parties(records: &Records) -> Vec<OutsideParty<'_>> {
    (0..records.parties())
        .map(|party| OutsideParty {
            block_scoped: records.shape(party).entries > 0,
            duplicate_free: records.duplicate_free(party),
            annexes: records.of_party(party).map(|record| records.annex(record)).collect(),
        })
        .collect()
}

/// What the agreement fixes of pairs outside the blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideTerms {
    /// Where the parts of an annex lie.
    pub places: AnnexPlaces,
    /// Least Dice coefficient of a link, in thousandths.
    pub threshold_permille: u32,
    /// Lead over every rival, in thousandths; a tie is never a lead.
    pub margin_permille: u32,
}

impl OutsideTerms {
    /// What `agreement` fixes; none where all parties are block-scoped.
    pub fn of(agreement: &Agreement) -> Option<Self> {
        let clk = agreement.encoding.clk.as_ref();
        let terms = Self {
            places: agreement.annex(),
            threshold_permille: clk.map_or(1000, |clk| clk.threshold_permille),
            margin_permille: clk.map_or(0, |clk| clk.margin_permille),
        };
        (terms.places.len > 0).then_some(terms)
    }
    fn threshold(&self) -> f64 {
        f64::from(self.threshold_permille) / 1000.0
    }
    fn margin(&self) -> f64 {
        f64::from(self.margin_permille) / 1000.0
    }
    /// Least coefficient looked at: a rival within the margin of a pair at the threshold is seen.
    fn floor(&self) -> f64 {
        (self.threshold() - self.margin()).clamp(0.05, 0.999)
    }
    /// Coefficient from which two filters look like one person's, errors aside: half-way from the threshold to 1.
    fn alike(&self) -> f64 {
        f64::midpoint(self.threshold(), 1.0)
    }
}

/// How to compare; the result depends on neither.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Threads.
    pub threads: NonZeroUsize,
    /// Kernel of the comparison, [`Kernel::best`] as a rule.
    pub kernel: Kernel,
}

/// Two records by the coefficient of their filters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutsidePair {
    /// The record with the smaller number.
    pub a: RecordIndex,
    /// The record with the larger number.
    pub b: RecordIndex,
    /// Dice coefficient.
    pub score: f64,
}

/// First record of each party, and the number of all records at the end.
fn starts(parties: &[OutsideParty<'_>]) -> Result<Vec<RecordIndex>, OutsideError> {
    let mut starts = vec![0];
    let mut total = 0usize;
    for party in parties {
        total += party.annexes.len();
        starts.push(u32::try_from(total).map_err(|_| OutsideError::TooManyRecords)?);
    }
    Ok(starts)
}

/// The party pairs that are compared outside the blocks, the smaller number first; a party with itself where its list may
/// hold a person twice.
fn party_pairs(parties: &[OutsideParty<'_>]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (p, first) in parties.iter().enumerate() {
        for (q, second) in parties.iter().enumerate().skip(p) {
            if !(first.block_scoped && second.block_scoped) && (p != q || !first.duplicate_free) {
                pairs.push((p, q));
            }
        }
    }
    pairs
}

/// Decides on every pair outside the blocks whose filters reach the threshold or whose keys are equal, in the order of
/// the records. The rows stand beside those of [`crate::decide()`], which are of other pairs, and go into
/// [`crate::cluster()`] with them. Pairs that their owners have refuted are left out: they are nobody's rivals.
///
/// # Errors
/// Annexes of a wrong length; terms that cannot be used; more than 20 million pairs of two parties at the threshold.
pub fn outside_decided(
    parties: &[OutsideParty<'_>],
    terms: &OutsideTerms,
    effort: Effort,
    dispositions: &Dispositions,
) -> Result<Vec<Decided>, OutsideError> {
    let mut rows: BTreeMap<(RecordIndex, RecordIndex), Decided> = BTreeMap::new();
    let mut add = |row: Decided| {
        rows.entry((row.a, row.b)).and_modify(|known| *known = stronger(*known, row)).or_insert(row);
    };
    if terms.places.clk.is_some() {
        let filters = clk::Parties::of(parties, terms)?;
        for (p, q) in party_pairs(parties) {
            // Within one list relatives are many and doubles few: only what looks like one person is looked at.
            let floor = if p == q { terms.alike() } else { terms.floor() };
            let mut pairs = filters.pairs(p, q, floor, effort)?;
            pairs.retain(|pair| !dispositions.is_refuted(pair.a, pair.b));
            let one_each = |party: usize| parties.get(party).is_some_and(|p| p.duplicate_free);
            let rivals = rivals::Rivals::of(&pairs, &filters, terms.alike(), (one_each(p), one_each(q)), p == q);
            let weights = Weights::of(&pairs, &rivals, (filters.len(p), filters.len(q)), terms, p == q);
            pairs.iter().filter_map(|pair| by_filter(pair, &rivals, &weights, terms)).for_each(&mut add);
        }
    }
    if terms.places.hash_keys.is_some() {
        for meeting in key_pairs(parties, &terms.places)? {
            let Decided { a, b, .. } = meeting.decided;
            if !dispositions.is_refuted(a, b) {
                add(meeting.decided);
            }
        }
    }
    Ok(rows.into_values().collect())
}

/// The row that says more for the pair: one that links, then the heavier one.
fn stronger(x: Decided, y: Decided) -> Decided {
    let rank = |row: &Decided| match row.outcome {
        Outcome::Link => 2,
        Outcome::Abstain(_) => 1,
        Outcome::Refuse => 0,
    };
    if (rank(&y), y.millibits) > (rank(&x), x.millibits) { y } else { x }
}

/// What comes of a pair by its filters; nothing below the threshold.
fn by_filter(pair: &OutsidePair, rivals: &rivals::Rivals, weights: &Weights, terms: &OutsideTerms) -> Option<Decided> {
    // Sums and differences of coefficients are exact to far less than this.
    const ROUNDING: f64 = 1e-9;
    if pair.score < terms.threshold() {
        return None;
    }
    let scores = rivals.scores(pair);
    let millibits = weights.millibits(pair.score, &scores);
    let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (lead, margin) = (pair.score - best, terms.margin());
    let outcome = if lead > ROUNDING && lead + ROUNDING >= margin {
        if millibits > 0 { Outcome::Link } else { Outcome::Abstain(Reason::OutsideUncertain) }
    } else if lead < -ROUNDING && lead - ROUNDING <= -margin {
        Outcome::Refuse
    } else {
        Outcome::Abstain(Reason::OutsideRival)
    };
    // What is not linked weighs at most as much as an even chance: a rival fits as well.
    let millibits = if outcome == Outcome::Link { millibits } else { millibits.min(0) };
    Some(Decided { a: pair.a, b: pair.b, millibits, outcome })
}

/// What came of the pairs of two parties outside the blocks; of one party with itself where both numbers are the same.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OutsideCounts {
    /// The parties' numbers.
    pub parties: [usize; 2],
    /// Pairs whose filters reach the threshold or whose keys are equal.
    pub met: u64,
    /// Those whose records came into one cluster.
    pub linked: u64,
    /// Those left open.
    pub open: u64,
    /// Wrong ones to expect among those linked, by their probabilities, which err on the low side.
    pub expected_wrong: f64,
}

/// Counts the pairs of [`outside_decided`] by what the clusters made of them, by party pair.
pub fn outside_counts(records: &Records, decided: &[Decided], clusters: &Clusters) -> Vec<OutsideCounts> {
    let mut cluster_of = BTreeMap::new();
    for (number, cluster) in clusters.clusters.iter().enumerate() {
        cluster_of.extend(cluster.members.iter().map(|m| (m.record, number)));
    }
    let open: BTreeSet<_> = clusters.abstained.iter().map(|pair| (pair.a, pair.b)).collect();
    let mut counts: BTreeMap<[usize; 2], OutsideCounts> = BTreeMap::new();
    // Wrong ones are summed by weight, so that the order of records leaves no trace.
    let mut weights: BTreeMap<([usize; 2], i32), u64> = BTreeMap::new();
    for pair in decided {
        let parties = [records.party(pair.a), records.party(pair.b)];
        let zero = OutsideCounts { parties, met: 0, linked: 0, open: 0, expected_wrong: 0.0 };
        let count = counts.entry(parties).or_insert(zero);
        count.met += 1;
        if cluster_of.get(&pair.a).is_some_and(|number| cluster_of.get(&pair.b) == Some(number)) {
            count.linked += 1;
            *weights.entry((parties, pair.millibits)).or_default() += 1;
        } else if open.contains(&(pair.a, pair.b)) {
            count.open += 1;
        }
    }
    for ((parties, millibits), pairs) in weights {
        if let Some(count) = counts.get_mut(&parties) {
            count.expected_wrong += pairs as f64 * (1.0 - probability(millibits));
        }
    }
    counts.into_values().collect()
}
