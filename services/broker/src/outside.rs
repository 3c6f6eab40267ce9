//! Parties that deliver clkhash filters or hash keys: their pairs, decided on outside the blocks, and what the report says.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use linkage_agreement::{Agreement, PartyId, PartyProfile};
use linkage_common::error::ServiceError;
use linkage_linking::outside::{Effort, Kernel, OutsideError};
use linkage_linking::{
    Clusters, Decided, Dispositions, OutsideCounts, OutsideTerms, Records, outside_counts, outside_decided, outside_parties,
};
use serde::Serialize;

/// What the report says of a run with parties of another profile. Counts, names of parties, and what was accepted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutsideReport {
    /// The parties that deliver no names, with what they deliver.
    pub profiles: BTreeMap<PartyId, PartyProfile>,
    /// Least Dice coefficient of a link, in thousandths; where there are filters.
    pub threshold_permille: Option<u32>,
    /// Lead over every rival, in thousandths.
    pub margin_permille: Option<u32>,
    /// Bits that make each bit that leaves a node; 0 for none.
    pub diffusion: Option<u32>,
    /// Whether the keys delivered are HMACs; where there are keys.
    pub keyed: Option<bool>,
    /// Whether the signatories accepted, for all that is sent here, that it is re-identifiable.
    pub risk_accepted: bool,
    /// What was measured of the risk.
    pub risk: Risk,
    /// The pairs outside the blocks, by parties' numbers.
    pub pairs: Vec<OutsideCounts>,
}

/// What an attacker was measured to get, as shares; where the run sends what it is of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Risk {
    /// Of clkhash filters: least and most of all other persons re-identified from known pairs, over plain and hardened forms
    /// (docs/clk.md).
    pub clk_others_reidentified: Option<[f64; 2]>,
    /// Of unkeyed hash keys: lines of a file of which surname, month and year of birth were read back in 10 seconds
    /// (docs/hash-keys.md).
    pub keys_read_back_in_10_s: Option<f64>,
}

impl OutsideReport {
    fn of(agreement: &Agreement, pairs: Vec<OutsideCounts>) -> Self {
        let (clk, keys) = (agreement.encoding.clk.as_ref(), agreement.encoding.hash_keys.as_ref());
        Self {
            profiles: agreement.party.iter().filter_map(|p| Some((p.id.clone(), p.profile?))).collect(),
            threshold_permille: clk.map(|clk| clk.threshold_permille),
            margin_permille: clk.map(|clk| clk.margin_permille),
            diffusion: clk.map(|clk| clk.diffusion),
            keyed: keys.map(|keys| keys.keyed),
            risk_accepted: clk.is_none_or(|clk| clk.risk_accepted) && keys.is_none_or(|keys| keys.risk_accepted),
            risk: Risk { clk_others_reidentified: clk.map(|_| [0.58, 1.0]), keys_read_back_in_10_s: keys.map(|_| 0.827) },
            pairs,
        }
    }
}

/// The pairs of a run that were decided on outside the blocks.
pub(crate) struct Outside(Vec<Decided>);

impl Outside {
    /// Decides on them; none where all parties are block-scoped.
    ///
    /// # Errors
    /// Annexes that cannot be compared, with what to change.
    pub(crate) fn of(agreement: &Agreement, records: &Records, settled: &Dispositions) -> Result<Option<Self>, ServiceError> {
        let Some(terms) = OutsideTerms::of(agreement) else { return Ok(None) };
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let effort = Effort { threads, kernel: Kernel::best() };
        let decided = outside_decided(&outside_parties(records), &terms, effort, settled).map_err(|e| fault(&e))?;
        Ok(Some(Self(decided)))
    }
    /// The rows.
    pub(crate) fn rows(&self) -> &[Decided] {
        &self.0
    }
    /// What the clusters made of them.
    pub(crate) fn report(&self, agreement: &Agreement, records: &Records, clusters: &Clusters) -> OutsideReport {
        OutsideReport::of(agreement, outside_counts(records, &self.0, clusters))
    }
}

fn fault(error: &OutsideError) -> ServiceError {
    match error {
        OutsideError::TooManyPairs(_) => ServiceError::invalid(
            "trop de paires de filtres clkhash atteignent le seuil : relevez threshold_permille, ou abaissez margin_permille, par un avenant à la convention",
        ),
        _ => ServiceError::invalid(format!(
            "les filtres ou clés d'un partenaire ne peuvent être comparés ({error}) ; ouvrez un nouveau traitement"
        )),
    }
}
