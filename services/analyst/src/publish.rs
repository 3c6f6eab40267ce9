//! What is published: tables with the question and the release that they come from, their identifier and fingerprint.
//!
//! The document is JSON bytes, made once and kept to the byte: the fingerprint is over them, a producer's signature is over
//! the fingerprint, and what a producer looks at is read from them. The identifier follows from agreement, analyst, question
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
const QUESTION_LABEL: &[u8] = b"linkage question v1\n";
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
    /// Requests of persons (objection, restriction and its lifting) that changed the study since: figures before and after
    /// are of two releases.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub withdrawals: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What is asked: one query, or the queries of a ready-made report, whose tables are protected together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Question {
    /// A query that somebody composed.
    Query(Query),
    /// A report.
    Report {
        /// Its title.
        title: String,
        /// Its queries, in order; each is one table.
        queries: Vec<Query>,
    },
}

impl Question {
    /// Title.
    pub fn title(&self) -> &str {
        match self {
            Self::Query(query) => &query.title,
            Self::Report { title, .. } => title,
        }
    }
    /// The queries, in order.
    pub fn queries(&self) -> &[Query] {
        match self {
            Self::Query(query) => std::slice::from_ref(query),
            Self::Report { queries, .. } => queries,
        }
    }
    /// Digest: the first eight bytes, hexadecimal. Names a question in the access log.
    ///
    /// # Errors
    /// `Internal`: it has no JSON form.
    pub fn digest(&self) -> Result<String, ServiceError> {
        Ok(short(Sha256::new().chain_update(QUESTION_LABEL).chain_update(json(self)?)))
    }
}

/// Tables as they are put forward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Hash of the agreement, hexadecimal.
    pub agreement: String,
    /// The analyst that publishes.
    pub analyst: PartyId,
    /// What was asked.
    pub question: Question,
    /// Of what.
    pub release: Release,
    /// Parties whose data the tables hold and whose approval they need; none where the agreement wants no approval.
    pub producers: Vec<PartyId>,
    /// The answers, after disclosure control: one for each query.
    pub tables: Vec<PublicTable>,
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
        let parts = json(&(&self.agreement, &self.analyst, &self.question, &self.release))?;
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

/// The parties whose data the answer to `question` holds, in the agreement's order.
///
/// Those that a query names, when it counts persons by the presence of their records and nothing else; all of them
/// otherwise: households, breakdowns and every other measure draw on every party's records.
pub fn producers(question: &Question, agreement: &Agreement) -> Vec<PartyId> {
    let mut named = BTreeSet::new();
    let all = !question.queries().iter().all(|query| holds_only_named(query, &mut named));
    agreement.party.iter().map(|p| p.id.clone()).filter(|party| all || named.contains(party)).collect()
}

fn holds_only_named(query: &Query, named: &mut BTreeSet<PartyId>) -> bool {
    query.unit == Unit::Persons
        && query.breakdown.is_empty()
        && query.of.is_none()
        && matches!(
            query.measure,
            Measure::Count | Measure::Stock | Measure::Entries | Measure::Exits | Measure::Returns | Measure::Durations
        )
        && query.population.as_ref().is_some_and(|population| bounded(population, named))
}

/// Collects the parties that `population` names; whether it can hold nobody whom none of them holds.
fn bounded(population: &Population, named: &mut BTreeSet<PartyId>) -> bool {
    match population {
        Population::Record(Condition { party, .. }) => {
            named.extend(party.clone());
            party.is_some()
        }
        Population::Any { any } => {
            let mut kept_within = true;
            for set in any {
                kept_within &= bounded(set, named);
            }
            kept_within
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn question(more: &str) -> Question {
        let text = format!("title = \"t\"\nmeasure = \"count\"\nperiods = {{ from = \"2024-01\", to = \"2024-01\" }}\n{more}");
        Question::Query(Query::from_toml(&text).unwrap())
    }

    #[test]
    fn producers_are_those_named_where_nothing_of_others_is_told() {
        let key = SigningKey::generate(&mut linkage_common::rng());
        let agreement = crate::testing::agreement(&[("ccas", &key), ("siao", &key), ("caf", &key)]);
        let asked = |more: &str| {
            let names: Vec<String> = producers(&question(more), &agreement).iter().map(ToString::to_string).collect();
            names.join(" ")
        };
        for (population, expected) in [
            ("", "ccas siao caf"),
            ("population = { party = 'siao' }", "siao"),
            ("population = { where = { sexe = ['1'] } }", "ccas siao caf"),
            ("population = { any = [{ party = 'siao' }, { party = 'ccas', where = { sexe = ['1'] } }] }", "ccas siao"),
            ("population = { any = [{ party = 'siao' }, { where = { sexe = ['1'] } }] }", "ccas siao caf"),
            ("population = { all = [{ party = 'siao' }, { party = 'ccas' }] }", "ccas siao"),
            ("population = { all = [{ party = 'siao' }, { not = { party = 'ccas' } }] }", "ccas siao"),
            ("population = { all = [{ party = 'siao' }, { where = { sexe = ['1'] } }] }", "ccas siao caf"),
            ("population = { all = [{ not = { party = 'ccas' } }] }", "ccas siao caf"),
            ("population = { not = { party = 'ccas' } }", "ccas siao caf"),
            ("unit = 'households'\npopulation = { party = 'siao' }", "ccas siao caf"),
            ("breakdown = ['sexe']\npopulation = { party = 'siao' }", "ccas siao caf"),
        ] {
            assert_eq!(asked(population), expected, "{population}");
        }
        let queries = |mores: &[&str]| mores.iter().flat_map(|m| question(m).queries().to_vec()).collect::<Vec<_>>();
        let report = |mores: &[&str]| Question::Report { title: "r".to_owned(), queries: queries(mores) };
        let siao = "population = { party = 'siao' }";
        assert_eq!(producers(&report(&[siao, "population = { party = 'caf' }"]), &agreement).len(), 2);
        assert_eq!(producers(&report(&[siao, ""]), &agreement).len(), 3);
    }

    #[test]
    fn reasons_are_short_texts() {
        assert_eq!(reason("  a\nb ").unwrap(), "a\nb");
        for wrong in ["", " \n", "a\u{7}b", &"x".repeat(MAX_REASON + 1)] {
            assert!(reason(wrong).is_err());
        }
    }

    #[test]
    fn identifiers_are_sixteen_digits_and_follow_from_what_is_asked() {
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", "../../../../etc/x"] {
            assert!(wrong.parse::<PublicationId>().is_err());
        }
        let document = |more: &str, runs: &[&str]| Document {
            agreement: "00".to_owned(),
            analyst: "etude".parse().unwrap(),
            question: question(more),
            release: Release { runs: runs.iter().map(|r| r.parse().unwrap()).collect(), withdrawals: 0 },
            producers: vec![],
            tables: vec![crate::testing::table("t")],
        };
        let base = document("", &["r1"]);
        assert_eq!(Document::from_bytes(&base.to_bytes().unwrap()), Ok(base.clone()));
        let changed = Document { tables: vec![], ..base.clone() };
        assert_eq!(base.id(), changed.id());
        assert_ne!(Fingerprint::of(&base.to_bytes().unwrap()), Fingerprint::of(&changed.to_bytes().unwrap()));
        for other in [document("", &["r1", "r2"]), document("grain = 'year'", &["r1"])] {
            assert_ne!(base.id(), other.id());
        }
        assert_ne!(base.id(), Document { agreement: "01".to_owned(), ..base }.id());
        assert!(Document::from_bytes(b"{}").is_err());
    }
}
