//! What the report says of records that took no part in a run: those of a former epoch of the OPRF key that their node cannot
//! encode again (docs/rotation.md).
//!
//! Only the nodes know their number. A count below the agreement's smallest is hidden, and then the sum is hidden as well:
//! beside it the shown counts would leave the hidden ones to few numbers, three of them with a sum of 30 to a single one.

use linkage_agreement::Agreement;
use serde::Serialize;

use crate::store::Upload;

/// Records of a former epoch, as the nodes stated them. Counts only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PastEpoch {
    /// The epoch that took part.
    pub epoch: u32,
    /// By party, in the order of the report's `parties`; none where hidden, or where the node, of an earlier version, did not say.
    pub parties: Vec<Option<u64>>,
    /// Of all parties; none where one of them is hidden, or did not say.
    pub all: Option<u64>,
}

impl PastEpoch {
    /// What the uploads of a run left out; none in the first epoch, which has no former one.
    pub fn of(agreement: &Agreement, uploads: &[Upload]) -> Option<Self> {
        let stated: Vec<Option<u64>> = uploads.iter().map(|upload| upload.past_epoch).collect();
        let epoch = agreement.oprf_epoch();
        (epoch > 1).then(|| Self::hiding(epoch, &stated, u64::from(agreement.disclosure.minimum_cell)))
    }

    fn hiding(epoch: u32, stated: &[Option<u64>], minimum: u64) -> Self {
        let parties: Vec<Option<u64>> =
            stated.iter().map(|count| count.filter(|count| *count == 0 || *count >= minimum)).collect();
        // Nothing is shown of all where one is missing: the sum of the others would be taken for it, or give it back.
        let all = parties.iter().try_fold(0_u64, |sum, count| Some(sum.saturating_add((*count)?)));
        Self { epoch, parties, all }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn hiding(stated: &[Option<u64>]) -> (Vec<Option<u64>>, Option<u64>) {
        let made = PastEpoch::hiding(2, stated, 11);
        (made.parties, made.all)
    }

    #[test]
    fn small_counts_are_hidden_and_so_is_what_would_give_them_back() {
        assert_eq!(hiding(&[Some(40), Some(0), Some(20)]), (vec![Some(40), Some(0), Some(20)], Some(60)));
        assert_eq!(hiding(&[Some(3), Some(40), Some(20)]), (vec![None, Some(40), Some(20)], None));
        assert_eq!(hiding(&[Some(10), Some(10), Some(10)]), (vec![None, None, None], None));
        assert_eq!(hiding(&[Some(0), Some(0)]), (vec![Some(0), Some(0)], Some(0)));
    }

    #[test]
    fn what_a_node_did_not_say_is_not_taken_for_none() {
        assert_eq!(hiding(&[Some(40), None]), (vec![Some(40), None], None));
        assert_eq!(hiding(&[Some(4), None]), (vec![None, None], None));
    }

    /// Whoever knows how counts are hidden, and tries every run that would have been shown just so, finds every small number
    /// possible.
    #[test]
    fn a_hidden_count_may_be_any_small_one() {
        const MINIMUM: u64 = 4;
        // Every run of three parties with counts below `most`.
        let runs = |most: u64| {
            (0..most.pow(3)).map(move |number| [number % most, number / most % most, number / most / most].map(Some).to_vec())
        };
        for stated in runs(6) {
            let seen = PastEpoch::hiding(2, &stated, MINIMUM);
            let mut possible = vec![BTreeSet::new(); stated.len()];
            for run in runs(8).filter(|run| PastEpoch::hiding(2, run, MINIMUM) == seen) {
                possible.iter_mut().zip(run).for_each(|(possible, count)| possible.extend(count));
            }
            for (count, possible) in seen.parties.iter().zip(&possible) {
                let whole: BTreeSet<u64> = count.map_or_else(|| (1..MINIMUM).collect(), |count| BTreeSet::from([count]));
                assert_eq!(possible, &whole, "{stated:?}");
            }
        }
    }
}
