//! Filters of the annexes, every one with every other, by the kernels of linkage-clk.

use linkage_clk::{CompareError, Filters, Options, Threshold, compare};

use super::{Effort, MAX_PAIRS, OutsideError, OutsidePair, OutsideParty, OutsideTerms, party_pairs, starts};
use crate::RecordIndex;

/// The filters of all parties; records without one are left out.
pub(super) struct Parties {
    starts: Vec<RecordIndex>,
    parties: Vec<Party>,
}

struct Party {
    filters: Filters,
    /// By filter, its record; rising.
    records: Vec<RecordIndex>,
}

impl Parties {
    pub(super) fn of(parties: &[OutsideParty<'_>], terms: &OutsideTerms) -> Result<Self, OutsideError> {
        let starts = starts(parties)?;
        let place = terms.places.clk.clone().ok_or(OutsideError::Terms)?;
        let mut all = Vec::with_capacity(parties.len());
        for (party, &start) in parties.iter().zip(&starts) {
            let mut held = Party { filters: Filters::new(), records: Vec::new() };
            for (annex, record) in party.annexes.iter().zip(start..) {
                let wrong = OutsideError::AnnexLength { len: annex.len(), expected: terms.places.len };
                let filter = annex.get(place.clone()).filter(|_| annex.len() == terms.places.len).ok_or(wrong)?;
                if filter.iter().any(|byte| *byte != 0) {
                    held.filters.push(filter).map_err(|_| OutsideError::Terms)?;
                    held.records.push(record);
                }
            }
            all.push(held);
        }
        Ok(Self { starts, parties: all })
    }

    /// Records of party number `party` that have a filter.
    pub(super) fn len(&self, party: usize) -> usize {
        self.parties.get(party).map_or(0, |p| p.records.len())
    }

    /// Pairs of parties `p` and `q` (which may be one) from `floor` on, in the order of the records.
    pub(super) fn pairs(&self, p: usize, q: usize, floor: f64, effort: Effort) -> Result<Vec<OutsidePair>, OutsideError> {
        let (Some(first), Some(second)) = (self.parties.get(p), self.parties.get(q)) else { return Ok(Vec::new()) };
        // A little lower, and cut by the coefficient itself: linkage-clk repeats anonlink's rounding of its bound on
        // popcounts, by which a pair on the threshold is kept or lost by which side it stands on.
        let threshold = Threshold::new((floor - 1e-6).clamp(0.0, 1.0)).map_err(|_| OutsideError::Terms)?;
        let options = Options { threads: effort.threads, kernel: effort.kernel, max_pairs: MAX_PAIRS };
        let found = compare(&first.filters, &second.filters, threshold, &options, &|_, _| ()).map_err(|e| match e {
            CompareError::TooManyPairs { limit } => OutsideError::TooManyPairs(limit),
            _ => OutsideError::Terms,
        })?;
        let record = |party: &Party, at: u32| party.records.get(at as usize).copied();
        let mut pairs: Vec<OutsidePair> = found
            .into_iter()
            .filter(|pair| pair.score >= floor && (p != q || pair.a < pair.b))
            .filter_map(|pair| Some(OutsidePair { a: record(first, pair.a)?, b: record(second, pair.b)?, score: pair.score }))
            .collect();
        pairs.sort_unstable_by_key(|pair| (pair.a, pair.b));
        Ok(pairs)
    }

    /// Dice coefficient of two records of any parties; 0 when one has no filter.
    pub(super) fn score(&self, a: RecordIndex, b: RecordIndex) -> f64 {
        let (Some((row_a, count_a)), Some((row_b, count_b))) = (self.filter(a), self.filter(b)) else { return 0.0 };
        let both: u32 = row_a.iter().zip(row_b).map(|(x, y)| (x & y).count_ones()).sum();
        f64::from(2 * both) / f64::from(count_a + count_b).max(1.0)
    }

    fn filter(&self, record: RecordIndex) -> Option<(&[u64], u32)> {
        let party = self.parties.get(self.starts.partition_point(|&start| start <= record).checked_sub(1)?)?;
        let at = party.records.binary_search(&record).ok()?;
        Some((party.filters.row(at), *party.filters.counts().get(at)?))
    }
}

/// All pairs with a record of a party that is outside the blocks, of two parties or of one whose list may hold a person
/// twice, whose filters' Dice coefficient reaches the threshold: exhaustively, in the order of the records.
///
/// # Errors
/// Annexes of a wrong length; terms that cannot be used; more than 20 million pairs of two parties.
pub fn clk_pairs(parties: &[OutsideParty<'_>], terms: &OutsideTerms, effort: Effort) -> Result<Vec<OutsidePair>, OutsideError> {
    let filters = Parties::of(parties, terms)?;
    let mut all = Vec::new();
    for (p, q) in party_pairs(parties) {
        all.extend(filters.pairs(p, q, terms.threshold(), effort)?);
    }
    all.sort_unstable_by_key(|pair| (pair.a, pair.b));
    Ok(all)
}
