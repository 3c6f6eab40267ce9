//! A run's order: the coordinator's signature over what a run is, which the broker relays and every node verifies.
//!
//! Without it a broker could make up runs, and have every party encode its archive under as many run keys as it likes.
//! The signed message is `"linkage run order v1\n" ‖ agreement hash (32) ‖ period (7) ‖ run id length (1) ‖ run id ‖`
//! and, for each party in rising order, `length (1) ‖ party`; then, where there is a reference party,
//! `0 ‖ 1 ‖ length (1) ‖ reference party`: no party's length is 0, so no list of parties reads as such a field. Ed25519
//! (RFC 8032), the coordinator's key of the agreement.

use linkage_agreement::{Agreement, PartyId, Period, RunId};
use linkage_crypto::signing::{SIGNATURE_LEN, SigningKey, VerifyingKey};

use linkage_proto::v1::{AgreementRef, OpenRunRequest};

use crate::batches::parse;
use crate::error::ServiceError;

/// Tag of the reference party among the fields that a message has only when the run has them.
const REFERENCE_PARTY: u8 = 1;

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
}

impl RunTerms {
    /// A run of `parties`, in any order.
    pub fn new(run: RunId, period: Period, mut parties: Vec<PartyId>) -> Self {
        parties.sort();
        parties.dedup();
        Self { run, period, parties, reference_party: None }
    }

    /// The same with a reference party, or none.
    pub fn referring_to(self, reference_party: Option<PartyId>) -> Self {
        Self { reference_party, ..self }
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
        if let Some(party) = &self.reference_party {
            message.extend([0, REFERENCE_PARTY, party.as_str().len() as u8]);
            message.extend_from_slice(party.as_str().as_bytes());
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
            reference_party: self.terms.reference_party.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// Takes over an order that was relayed.
    ///
    /// # Errors
    /// `Refused` when it does not bear the signature of the agreement's coordinator; `Invalid` when its reference party does
    /// not take part.
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
        if terms.reference_party.as_ref().is_some_and(|party| !terms.parties.contains(party)) {
            return Err(ServiceError::invalid(
                "le partenaire de référence ne prend pas part à ce traitement ; nommez-le parmi les partenaires",
            ));
        }
        Ok(Self { terms, signature })
    }
}

/// The reference party that a message names, if it names one.
///
/// # Errors
/// `Invalid` when it is no identifier.
pub fn reference_party(named: &str) -> Result<Option<PartyId>, ServiceError> {
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
        ];
        for (i, message) in messages.iter().enumerate() {
            assert!(!messages[..i].contains(message), "{i}");
        }
    }

    #[test]
    fn an_order_without_reference_party_is_signed_as_before_there_were_any() {
        let head = [b"linkage run order v1\n".as_slice(), &[1; 32], b"2024-01\x01r\x01a\x02bc"].concat();
        assert_eq!(terms("r", "2024-01", &["bc", "a"], None).message(&[1; 32]), head);
        let named = [&head[..], b"\x00\x01\x02bc"].concat();
        assert_eq!(terms("r", "2024-01", &["bc", "a"], Some("bc")).message(&[1; 32]), named);
    }
}
