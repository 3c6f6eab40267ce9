//! Notice of termination (dénonciation): one party ends the agreement from a day on.
//!
//! Party p signs, with Ed25519, `linkage agreement termination v1\n` ‖ agreement hash (32 bytes) ‖ day of effect
//! (`AAAA-MM-JJ`, 10 bytes) ‖ p's identifier. It ends the signed version only: an amendment that every party signs
//! afterwards, that one included, is a new agreement between them.

use ed25519_dalek::{Signer as _, SigningKey};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::canonical::AgreementHash;
use crate::document::Fault;
use crate::ids::PartyId;
use crate::keys;
use crate::parse::{ParsedAgreement, read_typed};
use crate::schema;

/// What a notice's signed message starts with.
const DOMAIN: &[u8] = b"linkage agreement termination v1\n";

/// A notice as written; not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Termination {
    /// Identifier of the agreement.
    pub agreement: PartyId,
    /// The version that ends.
    pub agreement_hash: AgreementHash,
    /// Who ends it.
    pub party: PartyId,
    /// First day without the agreement.
    pub effective_on: Date,
    /// Ed25519 signature.
    pub signature: [u8; 64],
}

/// A notice whose signature is the party's and whose agreement is ours; what `permit_run` heeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTermination(Termination);

/// Why a notice does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TerminationError {
    /// It ends another agreement, or another version of it.
    #[error("the notice of termination names another agreement or version")]
    OtherAgreement,
    /// It is given by someone who is no party.
    #[error("{party} is no party to the agreement")]
    UnknownParty {
        /// The giver.
        party: PartyId,
    },
    /// Its signature does not verify.
    #[error("the notice's signature does not verify for party {party}")]
    BadSignature {
        /// The giver.
        party: PartyId,
    },
    /// The key offered for signing is not the party's.
    #[error("the signing key is not the one that the agreement gives for party {party}")]
    OtherKey {
        /// The party.
        party: PartyId,
    },
}

impl TerminationError {
    /// The same for operators, in French.
    pub fn french(&self) -> String {
        match self {
            Self::OtherAgreement => {
                "la dénonciation vise une autre convention ou une autre version : vérifier le fichier".to_owned()
            }
            Self::UnknownParty { party } => {
                format!("{party} n'est pas partenaire de la convention : sa dénonciation est sans effet")
            }
            Self::BadSignature { party } => {
                format!("la signature de la dénonciation de {party} est invalide : redemander le fichier")
            }
            Self::OtherKey { party } => {
                format!("la clé présentée n'est pas celle que la convention donne pour {party} : vérifier le fichier de clé")
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
struct File {
    termination: Entry,
}
#[derive(Serialize, Deserialize)]
struct Entry {
    agreement: PartyId,
    agreement_hash: String,
    party: PartyId,
    effective_on: Date,
    signature: String,
}

impl Termination {
    /// Signs a notice for `party` with its key, which must be the one that the agreement gives.
    pub fn sign(
        parsed: &ParsedAgreement,
        party: &PartyId,
        key: &SigningKey,
        effective_on: Date,
    ) -> Result<Self, TerminationError> {
        let member = parsed.agreement().party(party).ok_or_else(|| TerminationError::UnknownParty { party: party.clone() })?;
        if keys::verifying_key(&member.signing_key) != Some(key.verifying_key()) {
            return Err(TerminationError::OtherKey { party: party.clone() });
        }
        let signature = key.sign(&message(&parsed.hash(), effective_on, party)).to_bytes();
        let agreement = parsed.agreement().agreement.id.clone();
        Ok(Self { agreement, agreement_hash: parsed.hash(), party: party.clone(), effective_on, signature })
    }
    /// Accepts the notice when it ends exactly `parsed` and its party signed it.
    pub fn verify(self, parsed: &ParsedAgreement) -> Result<VerifiedTermination, TerminationError> {
        if self.agreement_hash != parsed.hash() || self.agreement != parsed.agreement().agreement.id {
            return Err(TerminationError::OtherAgreement);
        }
        let party = self.party.clone();
        let Some(member) = parsed.agreement().party(&party) else { return Err(TerminationError::UnknownParty { party }) };
        let signed = keys::verifying_key(&member.signing_key).is_some_and(|key| {
            let bytes = ed25519_dalek::Signature::from_bytes(&self.signature);
            key.verify_strict(&message(&self.agreement_hash, self.effective_on, &party), &bytes).is_ok()
        });
        if signed { Ok(VerifiedTermination(self)) } else { Err(TerminationError::BadSignature { party }) }
    }
    /// Reads the notice's file; on failure gives every fault. Verifies nothing yet.
    pub fn parse(text: &str, file: &str) -> Result<Self, Vec<Fault>> {
        let (_, File { termination: e }) = read_typed::<File>(text, file, &schema::TERMINATION, |_, _| {})?;
        Ok(Self {
            agreement: e.agreement,
            // The schema has read both once already; zeroes verify nowhere.
            agreement_hash: AgreementHash::from_hex(&e.agreement_hash).unwrap_or(AgreementHash([0; 32])),
            party: e.party,
            effective_on: e.effective_on,
            signature: keys::decode(&e.signature).unwrap_or([0; 64]),
        })
    }
    /// The file's text.
    pub fn to_toml(&self) -> String {
        format!(
            "# Dénonciation de la convention : à remettre à tous les partenaires, à l'opérateur du rapprochement et au tiers de confiance.\n\
             [termination]\nagreement = \"{}\"\nagreement_hash = \"{}\"\nparty = \"{}\"\neffective_on = \"{}\"\nsignature = \"{}\"\n",
            self.agreement,
            self.agreement_hash,
            self.party,
            self.effective_on,
            keys::encode(&self.signature),
        )
    }
}

impl VerifiedTermination {
    /// The notice.
    pub fn notice(&self) -> &Termination {
        &self.0
    }
}

fn message(hash: &AgreementHash, effective_on: Date, party: &PartyId) -> Vec<u8> {
    [DOMAIN, hash.as_bytes(), effective_on.to_string().as_bytes(), party.as_str().as_bytes()].concat()
}
