//! A run's order: the coordinator's signature over what a run is, which the broker relays and every node verifies.
//!
//! Without it a broker could make up runs, and have every party encode its archive under as many run keys as it likes.
//! The signed message is `"linkage run order v1\n" ‖ agreement hash (32) ‖ period (7) ‖ run id length (1) ‖ run id ‖`
//! and, for each party in rising order, `length (1) ‖ party`; then, each only of a run that has it and in this order, the
//! reference party as `0 ‖ 1 ‖ length (1) ‖ party`, the base run as `0 ‖ 2 ‖ length (1) ‖ run id`, and `0 ‖ 3 ‖ 0` for a run that
//! is kept. No party's length is 0, so no list of parties reads as such a field. Ed25519 (RFC 8032), the coordinator's key
//! of the agreement.

use std::str::FromStr;

use linkage_agreement::{Agreement, InvalidId, PartyId, Period, RunId};
use linkage_crypto::signing::{SIGNATURE_LEN, SigningKey, VerifyingKey};

use linkage_proto::v1::{AgreementRef, OpenRunRequest};

use crate::batches::parse;
use crate::error::ServiceError;

/// Tags of the fields that a message has only when the run has them.
const REFERENCE_PARTY: u8 = 1;
const BASE_RUN: u8 = 2;
const KEPT: u8 = 3;

/// What a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunTerms {
    /// The run.
    pub run: RunId,
    /// Its month.
    pub period: Period,
    /// Parties that take part, rising, each once.
    pub parties: Vec<PartyId>,
    /// The one whose persons alone reach analysts, if the run has one.
    pub reference_party: Option<PartyId>,
    /// Of an increment, the run that it adds to.
    pub base_run: Option<RunId>,
    /// Whether the broker keeps the run's encodings for increments.
    pub kept: bool,
}

impl RunTerms {
    /// A run of `parties`, in any order.
    pub fn new(run: RunId, period: Period, mut parties: Vec<PartyId>) -> Self {
        parties.sort();
        parties.dedup();
        Self { run, period, parties, reference_party: None, base_run: None, kept: false }
    }

    /// The same with a reference party, or none.
    pub fn referring_to(self, reference_party: Option<PartyId>) -> Self {
        Self { reference_party, ..self }
    }

    /// The same as an increment of `base_run`, or a run of its own.
    pub fn adding_to(self, base_run: Option<RunId>) -> Self {
        Self { base_run, ..self }
    }

    /// The same, kept for increments or not.
    pub fn kept(self, kept: bool) -> Self {
        Self { kept, ..self }
    }

    /// Refuses terms that no order may have.
    fn check(&self, agreement: &Agreement) -> Result<(), ServiceError> {
        if self.reference_party.as_ref().is_some_and(|party| !self.parties.contains(party)) {
            return Err(ServiceError::invalid(
                "le partenaire de référence ne prend pas part à ce traitement ; nommez-le parmi les partenaires",
            ));
        }
        if self.base_run.is_some() && self.kept {
            return Err(ServiceError::invalid(
                "un complément ne peut servir de base : gardez un traitement complet, et donnez-lui autant de compléments qu'il faut",
            ));
        }
        if (self.base_run.is_some() || self.kept) && agreement.annex_len() > 0 {
            return Err(ServiceError::refused(
                "cette convention a des partenaires sans noms, dont les filtres ou clés se comparent tous entre eux : pas de complément possible, ouvrez un traitement complet",
            ));
        }
        Ok(())
    }

    fn message(&self, agreement_hash: &[u8; 32]) -> Vec<u8> {
        let mut message = [b"linkage run order v1\n".as_slice(), agreement_hash, self.period.to_string().as_bytes()].concat();
        // Identifiers hold at most 64 bytes.
        let mut push = |text: &str| {
            message.push(text.len() as u8);
            message.extend_from_slice(text.as_bytes());
        };
        push(self.run.as_str());
        self.parties.iter().for_each(|party| push(party.as_str()));
        let reference = self.reference_party.as_ref().map(|party| (REFERENCE_PARTY, party.as_str()));
        let base = self.base_run.as_ref().map(|run| (BASE_RUN, run.as_str()));
        for (tag, text) in [reference, base, self.kept.then_some((KEPT, ""))].into_iter().flatten() {
            message.extend([0, tag, text.len() as u8]);
            message.extend_from_slice(text.as_bytes());
        }
        message
    }
}

/// A run as its coordinator ordered it; holding one means that the signature was verified or just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOrder {
    /// What was ordered.
    pub terms: RunTerms,
    /// The coordinator's signature.
    pub signature: [u8; SIGNATURE_LEN],
}

impl RunOrder {
    /// Orders a run.
    pub fn sign(agreement_hash: &[u8; 32], terms: RunTerms, key: &SigningKey) -> Self {
        let signature = key.sign(&terms.message(agreement_hash));
        Self { terms, signature }
    }

    /// The request that opens the run.
    pub fn opening(&self, agreement: AgreementRef) -> OpenRunRequest {
        OpenRunRequest {
            agreement: Some(agreement),
            run_id: self.terms.run.to_string(),
            period: self.terms.period.to_string(),
            parties: self.terms.parties.iter().map(ToString::to_string).collect(),
            order_signature: self.signature.to_vec().into(),
            reference_party: named(self.terms.reference_party.as_ref()),
            base_run: named(self.terms.base_run.as_ref()),
            keep: self.terms.kept,
        }
    }

    /// Takes over an order that was relayed.
    ///
    /// # Errors
    /// `Refused` when it does not bear the signature of the agreement's coordinator, or asks for increments that the agreement
    /// cannot have; `Invalid` when its reference party does not take part, or an increment is to be kept.
    pub fn verify(
        agreement: &Agreement,
        agreement_hash: &[u8; 32],
        terms: RunTerms,
        signature: &[u8],
    ) -> Result<Self, ServiceError> {
        let refused = || {
            ServiceError::refused(
                "ce traitement ne porte pas la signature du coordonnateur de la convention ; demandez-lui de l'ouvrir",
            )
        };
        let coordinator = agreement.party(&agreement.agreement.coordinator).ok_or_else(refused)?;
        let key = VerifyingKey::from_base64(&coordinator.signing_key).map_err(|_| refused())?;
        let signature: [u8; SIGNATURE_LEN] = signature.try_into().map_err(|_| refused())?;
        key.verify(&terms.message(agreement_hash), &signature).map_err(|_| refused())?;
        terms.check(agreement)?;
        Ok(Self { terms, signature })
    }
}

/// An identifier as messages carry it: empty for none.
pub fn named(id: Option<&impl ToString>) -> String {
    id.map(ToString::to_string).unwrap_or_default()
}

/// The reference party that a message names, if it names one.
///
/// # Errors
/// `Invalid` when it is no identifier.
pub fn reference_party(named: &str) -> Result<Option<PartyId>, ServiceError> {
    optional(named)
}

/// The base run that a message names, if it names one.
///
/// # Errors
/// `Invalid` when it is no identifier.
pub fn base_run(named: &str) -> Result<Option<RunId>, ServiceError> {
    optional(named)
}

fn optional<T: FromStr<Err = InvalidId>>(named: &str) -> Result<Option<T>, ServiceError> {
    if named.is_empty() { Ok(None) } else { parse(named).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PartyId {
        text.parse().unwrap()
    }

    fn terms(run: &str, period: &str, parties: &[&str], reference: Option<&str>) -> RunTerms {
        let parties = parties.iter().map(|p| id(p)).collect();
        RunTerms::new(run.parse().unwrap(), period.parse().unwrap(), parties).referring_to(reference.map(id))
    }

    #[test]
    fn no_two_orders_have_one_message() {
        let messages = [
            terms("r", "2024-01", &["a", "bc"], None).message(&[1; 32]),
            terms("r", "2024-01", &["a", "bc"], None).message(&[2; 32]),
            terms("r2", "2024-01", &["a", "bc"], None).message(&[1; 32]),
            terms("r", "2024-02", &["a", "bc"], None).message(&[1; 32]),
            terms("r", "2024-01", &["ab", "c"], None).message(&[1; 32]),
            terms("r", "2024-01", &["a"], None).message(&[1; 32]),
            terms("r", "2024-01", &["a", "bc"], Some("a")).message(&[1; 32]),
            terms("r", "2024-01", &["a", "bc"], Some("bc")).message(&[1; 32]),
            terms("r", "2024-01", &["a", "a", "bc"], Some("b")).message(&[1; 32]),
            terms("r", "2024-01", &["a", "bc"], None).adding_to(Some("a".parse().unwrap())).message(&[1; 32]),
            terms("r", "2024-01", &["a", "bc"], Some("a")).adding_to(Some("a".parse().unwrap())).message(&[1; 32]),
            terms("r", "2024-01", &["a", "bc"], None).kept(true).message(&[1; 32]),
            terms("r", "2024-01", &["a", "bc"], None).adding_to(Some("a".parse().unwrap())).kept(true).message(&[1; 32]),
        ];
        for (i, message) in messages.iter().enumerate() {
            assert!(!messages[..i].contains(message), "{i}");
        }
    }

    #[test]
    fn a_plain_order_is_signed_as_before_there_were_others() {
        let head = [b"linkage run order v1\n".as_slice(), &[1; 32], b"2024-01\x01r\x01a\x02bc"].concat();
        assert_eq!(terms("r", "2024-01", &["bc", "a"], None).message(&[1; 32]), head);
        let named = [&head[..], b"\x00\x01\x02bc"].concat();
        assert_eq!(terms("r", "2024-01", &["bc", "a"], Some("bc")).message(&[1; 32]), named);
        let adding = terms("r", "2024-01", &["bc", "a"], Some("bc")).adding_to(Some("r0".parse().unwrap()));
        assert_eq!(adding.message(&[1; 32]), [&named[..], b"\x00\x02\x02r0"].concat());
        let kept = terms("r", "2024-01", &["bc", "a"], None).kept(true);
        assert_eq!(kept.message(&[1; 32]), [&head[..], b"\x00\x03\x00"].concat());
    }
}
