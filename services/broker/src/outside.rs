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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use linkage_agreement::defaults::{Members, Term};
    use linkage_agreement::model::{Analyst, ClkEncoding, Custodian, HashKeyEncoding, Identity, IdentityField, Party, Role};
    use linkage_agreement::{FieldKind, Handle};
    use linkage_linking::{Held, LevelFrequencies};

    use super::*;
    use crate::pipeline::{Linked, Uploads, cluster_run, compare};

    const CLK: usize = 16;

    /// caf delivers names, ccas filters, siao keys.
    fn agreement() -> Agreement {
        let party = |id: &str, profile| Party {
            id: id.parse().unwrap(),
            name: id.to_owned(),
            dpo_contact: String::new(),
            certificate_identity: String::new(),
            signing_key: String::new(),
            sealing_key: String::new(),
            duplicate_free: true,
            max_records: 100,
            profile,
        };
        let none = String::new;
        let members = Members {
            party: vec![party("caf", None), party("ccas", Some(PartyProfile::Clk)), party("siao", Some(PartyProfile::HashKeys))],
            broker: Role { name: none(), dpo_contact: none(), certificate_identity: none(), signing_key: none() },
            custodian: Custodian {
                name: none(),
                dpo_contact: none(),
                certificate_identity: none(),
                signing_key: none(),
                oprf_public_key: none(),
            },
            analyst: Vec::<Analyst>::new(),
        };
        let fields = [(FieldKind::BirthName, "nom_naissance"), (FieldKind::BirthDate, "date_naissance")];
        let identity = Identity { field: fields.map(|(kind, column)| IdentityField::new(kind, column)).to_vec() };
        let day = "2024-01-01".parse().unwrap();
        let term = Term { start: day, end: day, first_period: "2024-01".parse().unwrap() };
        let mut agreement = Agreement::for_trial("essai".parse().unwrap(), members, identity, Vec::new(), term).unwrap();
        agreement.encoding.clk = Some(ClkEncoding {
            schema_sha256: none(),
            bits: 8 * CLK as u32,
            threshold_permille: 800,
            margin_permille: 30,
            diffusion: 0,
            risk_accepted: true,
        });
        agreement.encoding.hash_keys = Some(HashKeyEncoding { keyed: false, risk_accepted: true });
        agreement
    }

    /// A record of `party` with a handle, entries that meet nobody, and an annex: a filter and a key, 0 for none.
    fn record(agreement: &Agreement, party: &PartyId, handle: u8, filter: u8, key: u8) -> Vec<u8> {
        let (layout, shape) = (agreement.layout(), agreement.shape(party));
        let mut record = vec![handle; 16];
        record.extend([0; 4]);
        for entry in 0..shape.entries {
            record.extend([handle; 8]);
            record.extend((entry as u64).to_le_bytes());
            record.extend(vec![0; layout.payload_len]);
        }
        record.extend([filter; CLK]);
        record.extend([[key; 32], [key; 32]].concat());
        assert_eq!(record.len(), shape.record_len(&layout));
        record
    }

    fn link(agreement: &Agreement, uploads: &[(&str, &[[u8; 3]])]) -> Linked {
        let parties: Vec<(PartyId, Vec<u32>)> =
            uploads.iter().map(|(party, records)| (party.parse().unwrap(), vec![records.len() as u32])).collect();
        let batches: Vec<Bytes> = uploads
            .iter()
            .zip(&parties)
            .map(|((_, records), (party, _))| {
                records.iter().flat_map(|&[handle, filter, key]| record(agreement, party, handle, filter, key)).collect()
            })
            .collect();
        let source = Uploads::new(agreement, &parties, |number| Ok(batches[number].clone()));
        let compared = compare(agreement, &source, &Held::default(), u64::MAX).unwrap();
        let levels = serde_json::to_vec(&LevelFrequencies::new(&agreement.layout())).unwrap();
        let parties: Vec<_> = parties.into_iter().map(|(party, _)| (party, levels.clone())).collect();
        cluster_run(agreement, &parties, &compared, &[]).unwrap()
    }

    #[test]
    fn parties_of_all_profiles_are_linked_in_one_run() {
        let agreement = agreement();
        // Person 1 at all three, person 2 by her filter only, person 3 by his key only; 4 has nothing to be met by.
        let linked = link(
            &agreement,
            &[
                ("caf", &[[1, 0x0f, 7], [2, 0x33, 8], [3, 0x55, 9], [4, 0, 0]]),
                ("ccas", &[[11, 0x0f, 0], [12, 0x33, 0], [14, 0, 0]]),
                ("siao", &[[21, 0, 7], [23, 0, 9], [24, 0, 0]]),
            ],
        );
        let groups: Vec<Vec<u8>> = linked.clusters.iter().map(|c| c.iter().map(|m| m.handle.0[0]).collect()).collect();
        assert_eq!(groups, [vec![1, 11, 21], vec![2, 12], vec![3, 23]]);
        let members = || linked.clusters.iter().flatten();
        assert!(members().all(|m| m.match_class == 2 && m.probability < 9_950 && m.handle != Handle::default()));
        let report = linked.outside.unwrap();
        assert_eq!(report.profiles.keys().map(PartyId::as_str).collect::<Vec<_>>(), ["ccas", "siao"]);
        let counts: Vec<_> = report.pairs.iter().map(|c| (c.parties, c.met, c.linked, c.open)).collect();
        assert_eq!(counts, [([0, 1], 2, 2, 0), ([0, 2], 2, 2, 0)]);
        assert_eq!(report.risk, Risk { clk_others_reidentified: Some([0.58, 1.0]), keys_read_back_in_10_s: Some(0.827) });
        assert!(report.risk_accepted && linked.report.linked_pairs == 5);
    }

    #[test]
    fn namesakes_are_left_open_and_said_to_be() {
        let agreement = agreement();
        let linked = link(&agreement, &[("caf", &[[1, 0x0f, 0], [2, 0x0f, 0]]), ("ccas", &[[11, 0x0f, 0]]), ("siao", &[])]);
        assert_eq!(linked.clusters, Vec::<Vec<crate::pipeline::Member>>::new());
        assert_eq!(linked.report.abstained, [(linkage_linking::Reason::OutsideRival, 2)].into());
        assert_eq!(linked.outside.unwrap().pairs[0].open, 2);
    }

    #[test]
    fn a_run_of_names_alone_has_no_such_report() {
        let mut agreement = agreement();
        agreement.party.truncate(1);
        (agreement.encoding.clk, agreement.encoding.hash_keys) = (None, None);
        let records = Records::new(&agreement.layout(), &[]).unwrap();
        assert!(Outside::of(&agreement, &records, &Dispositions::default()).unwrap().is_none());
    }
}
