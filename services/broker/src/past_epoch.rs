//! What the report says of records that took no part in a run: those of a former epoch of the OPRF key that their node cannot
//! encode again (docs/rotation.md).
//!
//! Only the nodes know their number. Small counts are hidden as those of the groups of `linkage` are: the smallest is the
//! agreement's, and no subtraction from the sum gives one back.

use linkage_agreement::Agreement;
use linkage_agreement::disclosure::protect_table;
use serde::Serialize;

use crate::store::Upload;

/// Records of a former epoch, as the nodes stated them. Counts only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PastEpoch {
    /// The epoch that took part.
    pub epoch: u32,
    /// By party, in the order of the report's `parties`; none where hidden, or where the node, of an earlier version, did not say.
    pub parties: Vec<Option<u64>>,
    /// Of all parties; none where hidden, or where one of them did not say.
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
        let rows: Vec<Vec<[u64; 1]>> = stated.iter().map(|count| vec![[count.unwrap_or(0)]]).collect();
        let (hidden, hidden_all) = protect_table(&rows, &[], minimum);
        let parties = stated.iter().zip(hidden).map(|(count, hidden)| count.filter(|_| !hidden.contains(&true))).collect();
        // Nothing is shown of all where one is missing: the sum of the others would be taken for it.
        let all = stated.iter().try_fold(0_u64, |sum, count| Some(sum.saturating_add((*count)?)));
        Self { epoch, parties, all: all.filter(|_| !hidden_all.contains(&true)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hiding(stated: &[Option<u64>]) -> (Vec<Option<u64>>, Option<u64>) {
        let made = PastEpoch::hiding(2, stated, 11);
        (made.parties, made.all)
    }

    #[test]
    fn small_counts_are_hidden_and_so_is_what_would_give_them_back() {
        assert_eq!(hiding(&[Some(40), Some(0), Some(20)]), (vec![Some(40), Some(0), Some(20)], Some(60)));
        assert_eq!(hiding(&[Some(3), Some(40), Some(20)]), (vec![None, Some(40), None], Some(63)));
        assert_eq!(hiding(&[Some(3), Some(0), Some(0)]), (vec![None, None, None], None));
        assert_eq!(hiding(&[Some(10), Some(10), Some(10)]), (vec![None, None, None], Some(30)));
        assert_eq!(hiding(&[Some(0), Some(0)]), (vec![Some(0), Some(0)], Some(0)));
    }

    #[test]
    fn what_a_node_did_not_say_is_not_taken_for_none() {
        assert_eq!(hiding(&[Some(40), None]), (vec![Some(40), None], None));
        assert_eq!(hiding(&[Some(4), None]), (vec![None, None], None));
    }
}
