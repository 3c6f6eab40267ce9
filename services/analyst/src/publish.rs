//! What is published: a table with the query and the release that it comes from, its identifier and its fingerprint.
//!
//! The document is JSON bytes, made once and kept to the byte: the fingerprint is over them, a producer's signature is over
//! the fingerprint, and what a producer looks at is read from them. The identifier follows from agreement, analyst, query
//! and release, so that asking twice for one thing is one publication. Signatures are Ed25519 (RFC 8032) by the keys of
//! the agreement; each message begins with a label of its own.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use linkage_agreement::{Agreement, PartyId, RunId};
use linkage_cohort::query::{Condition, Measure, Population, Query};
use linkage_cohort::{PublicTable, Unit};
use linkage_common::error::ServiceError;
use linkage_crypto::signing::{SIGNATURE_LEN, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const ID_LABEL: &[u8] = b"linkage publication id v1\n";
const QUERY_LABEL: &[u8] = b"linkage query v1\n";
const FINGERPRINT_LABEL: &[u8] = b"linkage publication v1\n";
const APPROVAL_LABEL: &[u8] = b"linkage publication approval v1\n";
const REJECTION_LABEL: &[u8] = b"linkage publication rejection v1\n";
/// Characters of an identifier.
const ID_LEN: usize = 16;
/// Most characters of a justification or a reason.
pub const MAX_REASON: usize = 2_000;

/// A publication's identifier: 16 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicationId(String);

impl PublicationId {
    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for PublicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl FromStr for PublicationId {
    type Err = ServiceError;
    fn from_str(text: &str) -> Result<Self, ServiceError> {
        if text.len() == ID_LEN && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ServiceError::invalid(
                "un identifiant de publication compte 16 chiffres hexadécimaux ; « linkage cohort journal » les donne",
            ))
        }
    }
}
impl TryFrom<String> for PublicationId {
    type Error = ServiceError;
    fn try_from(text: String) -> Result<Self, ServiceError> {
        text.parse()
    }
}
impl From<PublicationId> for String {
    fn from(id: PublicationId) -> Self {
        id.0
    }
}

/// What a study was when a figure was computed: the runs whose link tables and supersessions are applied, in that order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The runs.
    pub runs: Vec<RunId>,
}

/// A table as it is put forward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Hash of the agreement, hexadecimal.
    pub agreement: String,
    /// The analyst that publishes.
    pub analyst: PartyId,
    /// What was asked.
    pub query: Query,
    /// Of what.
    pub release: Release,
    /// Parties whose data the table holds and whose approval it needs; none where the agreement wants no approval.
    pub producers: Vec<PartyId>,
    /// The answer, after disclosure control.
    pub table: PublicTable,
}

/// SHA-256 of a document under its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of the bytes of a document.
    pub fn of(document: &[u8]) -> Self {
        Self(Sha256::new().chain_update(FINGERPRINT_LABEL).chain_update(document).finalize().into())
    }
    /// Reads exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}
impl fmt::Display for Fingerprint {
    /// As people compare it: eight groups of four hexadecimal digits, the first half of the digest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, pair) in self.0.chunks(2).take(8).enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{}", hex::encode(pair))?;
        }
        Ok(())
    }
}

/// Digest of a query document: the first eight bytes, hexadecimal. Names a query in the access log.
///
/// # Errors
/// `Internal`: a query has no JSON form.
pub fn query_digest(query: &Query) -> Result<String, ServiceError> {
    Ok(short(Sha256::new().chain_update(QUERY_LABEL).chain_update(json(query)?)))
}

fn short(digest: Sha256) -> String {
    let mut text = hex::encode(digest.finalize());
    text.truncate(ID_LEN);
    text
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, ServiceError> {
    serde_json::to_vec(value).map_err(ServiceError::internal)
}

impl Document {
    /// The publication's identifier.
    ///
    /// # Errors
    /// `Internal`: a query has no JSON form.
    pub fn id(&self) -> Result<PublicationId, ServiceError> {
        let parts = json(&(&self.agreement, &self.analyst, &self.query, &self.release))?;
        Ok(PublicationId(short(Sha256::new().chain_update(ID_LABEL).chain_update(parts))))
    }
    /// The bytes that are kept, sent and approved.
    ///
    /// # Errors
    /// `Internal`: a table has no JSON form.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ServiceError> {
        json(self)
    }
    /// Reads a document that was kept or received.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ServiceError> {
        serde_json::from_slice(bytes).map_err(|_| {
            ServiceError::invalid("ce document de publication est illisible ; vérifiez que les logiciels sont de la même version")
        })
    }
}

/// What a producer says of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be published.
    Approved,
    /// It may not, and why.
    Rejected(String),
}

impl Verdict {
    /// The reason of a rejection.
    pub fn reason(&self) -> &str {
        match self {
            Self::Approved => "",
            Self::Rejected(reason) => reason,
        }
    }
    /// The message that `party` signs.
    fn message(&self, agreement_hash: &[u8; 32], fingerprint: &Fingerprint, party: &PartyId) -> Vec<u8> {
        let label = if *self == Self::Approved { APPROVAL_LABEL } else { REJECTION_LABEL };
        let mut message = [label, agreement_hash, &fingerprint.0, party.as_str().as_bytes()].concat();
        if let Self::Rejected(reason) = self {
            // No identifier holds a zero byte.
            message.push(0);
            message.extend_from_slice(reason.as_bytes());
        }
        message
    }
    /// Signs it as `party`.
    pub fn sign(
        &self,
        agreement_hash: &[u8; 32],
        fingerprint: &Fingerprint,
        party: &PartyId,
        key: &SigningKey,
    ) -> [u8; SIGNATURE_LEN] {
        key.sign(&self.message(agreement_hash, fingerprint, party))
    }
    /// Verifies the signature of `party`.
    ///
    /// # Errors
    /// `Refused` when it is not that party's, over this very table and verdict.
    pub fn verify(
        &self,
        agreement: &Agreement,
        agreement_hash: &[u8; 32],
        fingerprint: &Fingerprint,
        party: &PartyId,
        signature: &[u8],
    ) -> Result<(), ServiceError> {
        let refused = || {
            ServiceError::refused(
                "la signature n'est pas celle du partenaire sur ce tableau ; relisez-le (linkage cohort proposals) et décidez de nouveau",
            )
        };
        let key = agreement.party(party).and_then(|p| VerifyingKey::from_base64(&p.signing_key).ok()).ok_or_else(refused)?;
        let signature: [u8; SIGNATURE_LEN] = signature.try_into().map_err(|_| refused())?;
        key.verify(&self.message(agreement_hash, fingerprint, party), &signature).map_err(|_| refused())
    }
}

/// A justification or a reason without what surrounds it.
///
/// # Errors
/// `Invalid` when it is empty, too long, or holds control characters.
pub fn reason(text: &str) -> Result<String, ServiceError> {
    let text = text.trim();
    let proper = |c: char| !c.is_control() || c == '\n';
    if text.is_empty() || text.chars().count() > MAX_REASON || !text.chars().all(proper) {
        return Err(ServiceError::invalid(format!(
            "un motif est attendu, de 1 à {MAX_REASON} caractères ; indiquez-le en clair, sans donnée sur une personne"
        )));
    }
    Ok(text.to_owned())
}

/// The parties whose data the answer to `query` holds, in the agreement's order: those that it names, when it counts
/// persons by the presence of their records and nothing else, all of them otherwise. Households, breakdowns, states, sums
/// and paths draw on every party's records.
pub fn producers(query: &Query, agreement: &Agreement) -> Vec<PartyId> {
    let by_presence = query.unit == Unit::Persons
        && query.breakdown.is_empty()
        && query.of.is_none()
        && !matches!(query.measure, Measure::Transitions | Measure::Paths | Measure::Sum);
    let named = query.population.as_ref().filter(|_| by_presence).and_then(|population| {
        let mut named = BTreeSet::new();
        bounded(population, &mut named).then_some(named)
    });
    let holds = |party: &PartyId| named.as_ref().is_none_or(|named| named.contains(party));
    agreement.party.iter().map(|p| p.id.clone()).filter(holds).collect()
}

/// Collects the parties that `population` names; whether it can hold nobody whom none of them holds.
fn bounded(population: &Population, named: &mut BTreeSet<PartyId>) -> bool {
    match population {
        Population::Record(Condition { party, .. }) => {
            named.extend(party.clone());
            party.is_some()
        }
        Population::Any { any } => any.iter().fold(true, |all, set| bounded(set, named) && all),
        // Everybody present, but for some.
        Population::Not { .. } => false,
        Population::All { all } => {
            let mut kept_within = false;
            for set in all {
                match set {
                    Population::Not { not } => {
                        if !bounded(not, named) {
                            return false;
                        }
                    }
                    set => {
                        if !bounded(set, named) {
                            return false;
                        }
                        kept_within = true;
                    }
                }
            }
            kept_within
        }
    }
}
