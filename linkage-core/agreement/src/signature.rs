//! Detached signatures of an agreement, one per party, in a file beside it (`convention.signatures.toml`).
//!
//! Party p signs, with Ed25519 (RFC 8032), `linkage agreement signature v1\n` ‖ agreement hash (32 bytes) ‖ p's
//! identifier. The hash has a fixed length, so the message splits in one way only; the identifier keeps one party's
//! signature from standing for another's, were their keys ever the same. Verification is the strict one (no points of
//! small order, canonical scalars), so that all roles accept the same signatures. The date is for people: it is not
//! signed and nothing depends on it.

use std::collections::HashMap;

use ed25519_dalek::Signer as _;
pub use ed25519_dalek::SigningKey;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::canonical::AgreementHash;
use crate::document::{Fault, Faults, Node, element, join};
use crate::ids::PartyId;
use crate::keys;
use crate::model::Agreement;
use crate::parse::{ParsedAgreement, read_typed};
use crate::schema;

/// What a signed message starts with, so that it can stand for nothing else.
const DOMAIN: &[u8] = b"linkage agreement signature v1\n";

/// One party's signature of one version of the agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Who signed.
    pub party: PartyId,
    /// The version signed.
    pub agreement_hash: AgreementHash,
    /// Ed25519 signature.
    pub signature: [u8; 64],
    /// Day of signing, as the signer states it.
    pub signed_on: Date,
}

/// The signatures collected so far, at most one for each party.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signatures(Vec<Signature>);

/// Why an agreement does not count as signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgreementError {
    /// A party has not signed.
    #[error("party {party} has not signed the agreement")]
    UnsignedParty {
        /// The party.
        party: PartyId,
    },
    /// A party signed another version.
    #[error("party {party} signed another version of the agreement")]
    OtherVersion {
        /// The party.
        party: PartyId,
    },
    /// A signature does not verify.
    #[error("the signature of party {party} does not verify")]
    BadSignature {
        /// The party.
        party: PartyId,
    },
    /// A signature of someone who is no party.
    #[error("{party} signed but is no party to the agreement")]
    UnknownParty {
        /// The signer.
        party: PartyId,
    },
    /// The key offered for signing is not the party's.
    #[error("the signing key is not the one that the agreement gives for party {party}")]
    OtherKey {
        /// The party.
        party: PartyId,
    },
}

impl AgreementError {
    /// The same for operators, in French.
    pub fn french(&self) -> String {
        match self {
            Self::UnsignedParty { party } => {
                format!("le partenaire {party} n'a pas signé la convention : lui faire exécuter « linkage agreement sign »")
            }
            Self::OtherVersion { party } => {
                format!("le partenaire {party} a signé une autre version de la convention : lui faire signer celle-ci")
            }
            Self::BadSignature { party } => {
                format!("la signature du partenaire {party} est invalide : redemander son fichier de signature")
            }
            Self::UnknownParty { party } => {
                format!("{party} a signé sans être partenaire de la convention : retirer sa signature ou préparer un avenant")
            }
            Self::OtherKey { party } => {
                format!("la clé présentée n'est pas celle que la convention donne pour {party} : vérifier le fichier de clé")
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
struct File {
    signature: Vec<Entry>,
}
#[derive(Serialize, Deserialize)]
struct Entry {
    party: PartyId,
    agreement_hash: String,
    signature: String,
    signed_on: Date,
}

impl Signatures {
    /// Reads the signatures file; on failure gives every fault. Verifies nothing yet.
    pub fn parse(text: &str, file: &str) -> Result<Self, Vec<Fault>> {
        let (_, parsed) = read_typed::<File>(text, file, &schema::SIGNATURES, once_each)?;
        let read = |e: Entry| {
            Some(Signature {
                agreement_hash: AgreementHash::from_hex(&e.agreement_hash)?,
                signature: keys::decode(&e.signature)?,
                party: e.party,
                signed_on: e.signed_on,
            })
        };
        // The schema has read each hash and signature once already.
        Ok(Self(parsed.signature.into_iter().filter_map(read).collect()))
    }
    /// The file's text.
    pub fn to_toml(&self) -> String {
        let mut out =
            String::from("# Signatures de la convention, une par partenaire ; fichier tenu par « linkage agreement sign ».\n");
        if self.0.is_empty() {
            out.push_str("signature = []\n");
        }
        for s in &self.0 {
            out.push_str(&format!(
                "\n[[signature]]\nparty = \"{}\"\nagreement_hash = \"{}\"\nsignature = \"{}\"\nsigned_on = \"{}\"\n",
                s.party,
                s.agreement_hash,
                keys::encode(&s.signature),
                s.signed_on,
            ));
        }
        out
    }
    /// Adds a signature in place of an earlier one of the same party.
    pub fn add(&mut self, signature: Signature) {
        self.0.retain(|s| s.party != signature.party);
        self.0.push(signature);
    }
    /// The signatures, in file order.
    pub fn iter(&self) -> impl Iterator<Item = &Signature> {
        self.0.iter()
    }
    /// The signature of `party`.
    pub fn of(&self, party: &PartyId) -> Option<&Signature> {
        self.0.iter().find(|s| &s.party == party)
    }
}

impl FromIterator<Signature> for Signatures {
    fn from_iter<I: IntoIterator<Item = Signature>>(signatures: I) -> Self {
        let mut all = Self::default();
        signatures.into_iter().for_each(|s| all.add(s));
        all
    }
}

fn once_each(root: &Node, faults: &mut Faults<'_>) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (i, entry) in root.list_of("signature").iter().enumerate() {
        let Some(node) = entry.get("party") else { continue };
        let Some(party) = node.text() else { continue };
        match seen.get(party) {
            Some(first) => {
                let message = format!("ce partenaire a déjà une signature ligne {first} : garder la dernière seulement");
                faults.add(node.at, &join(&element("signature", i), "party"), message);
            }
            None => drop(seen.insert(party, faults.line(node.at))),
        }
    }
}

fn message(hash: &AgreementHash, party: &PartyId) -> Vec<u8> {
    [DOMAIN, hash.as_bytes(), party.as_str().as_bytes()].concat()
}

/// Signs `parsed` for `party` with its key, which must be the one that the agreement gives.
pub fn sign(parsed: &ParsedAgreement, party: &PartyId, key: &SigningKey, signed_on: Date) -> Result<Signature, AgreementError> {
    let member = parsed.agreement().party(party).ok_or_else(|| AgreementError::UnknownParty { party: party.clone() })?;
    if keys::verifying_key(&member.signing_key) != Some(key.verifying_key()) {
        return Err(AgreementError::OtherKey { party: party.clone() });
    }
    let agreement_hash = parsed.hash();
    let signature = key.sign(&message(&agreement_hash, party)).to_bytes();
    Ok(Signature { party: party.clone(), agreement_hash, signature, signed_on })
}

/// Whether `party` has signed exactly this agreement.
pub fn verify(parsed: &ParsedAgreement, party: &PartyId, signatures: &Signatures) -> Result<(), AgreementError> {
    let member = parsed.agreement().party(party).ok_or_else(|| AgreementError::UnknownParty { party: party.clone() })?;
    let signature = signatures.of(party).ok_or_else(|| AgreementError::UnsignedParty { party: party.clone() })?;
    if signature.agreement_hash != parsed.hash() {
        return Err(AgreementError::OtherVersion { party: party.clone() });
    }
    let wrong = || AgreementError::BadSignature { party: party.clone() };
    let key = keys::verifying_key(&member.signing_key).ok_or_else(wrong)?;
    let bytes = ed25519_dalek::Signature::from_bytes(&signature.signature);
    key.verify_strict(&message(&parsed.hash(), party), &bytes).map_err(|_| wrong())
}

/// An agreement that every party has signed; the only form that roles act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedAgreement(ParsedAgreement);

impl SignedAgreement {
    /// Accepts `parsed` when every party has signed exactly it and nobody else has. Parties are tried in the
    /// agreement's order; the first failure is given.
    pub fn verify(parsed: ParsedAgreement, signatures: &Signatures) -> Result<Self, AgreementError> {
        for party in &parsed.agreement().party {
            verify(&parsed, &party.id, signatures)?;
        }
        match signatures.iter().find(|s| parsed.agreement().party(&s.party).is_none()) {
            Some(stranger) => Err(AgreementError::UnknownParty { party: stranger.party.clone() }),
            None => Ok(Self(parsed)),
        }
    }
    /// The typed agreement.
    pub fn agreement(&self) -> &Agreement {
        self.0.agreement()
    }
    /// The hash that every party signed.
    pub fn hash(&self) -> AgreementHash {
        self.0.hash()
    }
    /// The agreement as parsed.
    pub fn parsed(&self) -> &ParsedAgreement {
        &self.0
    }
}
