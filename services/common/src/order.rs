//! A run's order: the coordinator's signature over what a run is, which the broker relays and every node verifies.
//!
//! Without it a broker could make up runs, and have every party encode its archive under as many run keys as it likes.
//! The signed message is `"linkage run order v1\n" ‖ agreement hash (32) ‖ period (7) ‖ run id length (1) ‖ run id ‖`
//! and, for each party in rising order, `length (1) ‖ party`. Ed25519 (RFC 8032), the coordinator's key of the agreement.

use linkage_agreement::{Agreement, PartyId, Period, RunId};
use linkage_crypto::signing::{SIGNATURE_LEN, SigningKey, VerifyingKey};

use linkage_proto::v1::{AgreementRef, OpenRunRequest};

use crate::error::ServiceError;

/// A run as its coordinator ordered it; holding one means that the signature was verified or just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOrder {
    /// The run.
    pub run: RunId,
    /// Its month.
    pub period: Period,
    /// Parties that take part, rising.
    pub parties: Vec<PartyId>,
    /// The coordinator's signature.
    pub signature: [u8; SIGNATURE_LEN],
}

impl RunOrder {
    /// Orders a run; `parties` in any order.
    pub fn sign(agreement_hash: &[u8; 32], run: RunId, period: Period, mut parties: Vec<PartyId>, key: &SigningKey) -> Self {
        parties.sort();
        parties.dedup();
        let signature = key.sign(&message(agreement_hash, &run, period, &parties));
        Self { run, period, parties, signature }
    }

    /// The request that opens the run.
    pub fn opening(&self, agreement: AgreementRef) -> OpenRunRequest {
        OpenRunRequest {
            agreement: Some(agreement),
            run_id: self.run.to_string(),
            period: self.period.to_string(),
            parties: self.parties.iter().map(ToString::to_string).collect(),
            order_signature: self.signature.to_vec().into(),
        }
    }

    /// Takes over an order that was relayed.
    ///
    /// # Errors
    /// `Refused` when it does not bear the signature of the agreement's coordinator.
    pub fn verify(
        agreement: &Agreement,
        agreement_hash: &[u8; 32],
        run: RunId,
        period: Period,
        mut parties: Vec<PartyId>,
        signature: &[u8],
    ) -> Result<Self, ServiceError> {
        let refused = || {
            ServiceError::refused(
                "ce traitement ne porte pas la signature du coordonnateur de la convention ; demandez-lui de l'ouvrir",
            )
        };
        parties.sort();
        parties.dedup();
        let coordinator = agreement.party(&agreement.agreement.coordinator).ok_or_else(refused)?;
        let key = VerifyingKey::from_base64(&coordinator.signing_key).map_err(|_| refused())?;
        let signature: [u8; SIGNATURE_LEN] = signature.try_into().map_err(|_| refused())?;
        key.verify(&message(agreement_hash, &run, period, &parties), &signature).map_err(|_| refused())?;
        Ok(Self { run, period, parties, signature })
    }
}

fn message(agreement_hash: &[u8; 32], run: &RunId, period: Period, parties: &[PartyId]) -> Vec<u8> {
    let mut message = [b"linkage run order v1\n".as_slice(), agreement_hash, period.to_string().as_bytes()].concat();
    // Identifiers hold at most 64 bytes.
    for text in std::iter::once(run.as_str()).chain(parties.iter().map(PartyId::as_str)) {
        message.push(text.len() as u8);
        message.extend_from_slice(text.as_bytes());
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_orders_have_one_message() {
        let id = |text: &str| text.parse::<PartyId>().unwrap();
        let period: Period = "2024-01".parse().unwrap();
        let base = message(&[1; 32], &"r".parse().unwrap(), period, &[id("a"), id("bc")]);
        for other in [
            message(&[2; 32], &"r".parse().unwrap(), period, &[id("a"), id("bc")]),
            message(&[1; 32], &"r2".parse().unwrap(), period, &[id("a"), id("bc")]),
            message(&[1; 32], &"r".parse().unwrap(), period.next(), &[id("a"), id("bc")]),
            message(&[1; 32], &"r".parse().unwrap(), period, &[id("ab"), id("c")]),
            message(&[1; 32], &"r".parse().unwrap(), period, &[id("a")]),
        ] {
            assert_ne!(base, other);
        }
    }
}
