//! Deletion certificates: what a role states, signed, that it has deleted, when and by which rule.
//!
//! A certificate is a text of lines that is also one JSON object. Its last part lists the SHA-256 of every line before it,
//! and the role's signature ([`crate::signer`], label `deletion`) is over these digests. So whoever verifies a certificate
//! with a changed byte is told the line: a line that does not fit its digest was changed when the signature holds over the
//! digests, a digest was changed when the signature holds over the lines' own, and where neither holds both places are named.
//!
//! It holds names of data sets, counts, months and runs, and nothing about a person. Certificates of a role are numbered
//! from 1 without a gap, so that one that is missing shows. They are written after the deletion ([`series`]).

pub mod series;
pub mod table;

use jiff::Timestamp;
use jiff::civil::Date;
use linkage_agreement::{Agreement, PartyId, Period, RoleId, RunId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::ServiceError;
use crate::signer::{Signer, verify};

/// The signature's label.
const LABEL: &str = "deletion";
/// The first words of every certificate.
const STATEMENT: &str = "linkage deletion certificate v1";
/// The line that parts statement and digests.
const DIGESTS: &str = "  \"lines\": [";
/// Longest certificate, in bytes.
pub const LIMIT: u64 = 1 << 20;

/// One kind of data deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSet {
    /// What it is, as docs/conservation.md names it.
    pub set: String,
    /// Records, rows or persons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Files or objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// First month concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Period>,
    /// Last month concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Period>,
}

impl DataSet {
    /// So many records of `set`.
    pub fn records(set: &str, records: u64) -> Self {
        Self { set: set.to_owned(), records: Some(records), files: None, from: None, to: None }
    }
    /// So many files of `set`.
    pub fn files(set: &str, files: u64) -> Self {
        Self { set: set.to_owned(), records: None, files: Some(files), from: None, to: None }
    }
    /// The same, of these months.
    #[must_use]
    pub fn of_months(mut self, months: impl IntoIterator<Item = Period>) -> Self {
        for month in months {
            self.from = Some(self.from.map_or(month, |first| first.min(month)));
            self.to = Some(self.to.map_or(month, |last| last.max(month)));
        }
        self
    }
    /// Whether anything of it was there.
    pub fn is_empty(&self) -> bool {
        self.records.unwrap_or(0) == 0 && self.files.unwrap_or(0) == 0
    }
}

/// Why a role deletes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The rule's term is over.
    Term,
    /// The agreement's last day has passed.
    End,
    /// The party gave notice.
    Termination(PartyId),
    /// A run has ended.
    RunEnded,
    /// The role's operator asked for it.
    Operator,
    /// The record's owner withdrew it.
    Withdrawal,
}

/// What is to be deleted, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// The agreement's key, `retention.names_days`, or what stands in its place.
    pub rule: String,
    /// What the agreement says under it.
    pub value: Option<u64>,
    /// Why now.
    pub cause: Cause,
    /// The day by which terms were counted.
    pub as_of: Date,
    /// The run, for the data of one.
    pub run: Option<RunId>,
    /// What.
    pub data: Vec<DataSet>,
}

/// What a certificate states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Always [`STATEMENT`].
    pub statement: String,
    /// The agreement's identifier.
    pub agreement: PartyId,
    /// Its version.
    pub version: u32,
    /// Its hash, hexadecimal.
    pub agreement_hash: String,
    /// Who deleted, as in certificates' identities.
    pub role: String,
    /// Number among the role's certificates, from 1.
    pub number: u64,
    /// When, UTC.
    pub deleted_at: Timestamp,
    /// See [`Draft::rule`].
    pub rule: String,
    /// See [`Draft::value`].
    pub value: Option<u64>,
    /// See [`Draft::cause`].
    pub cause: Cause,
    /// See [`Draft::as_of`].
    pub as_of: Date,
    /// See [`Draft::run`].
    pub run: Option<RunId>,
    /// See [`Draft::data`].
    pub data: Vec<DataSet>,
    /// SHA-256 of every line before this list, hexadecimal.
    lines: Vec<String>,
    /// Over the digests, hexadecimal.
    signature: String,
}

/// Why a certificate was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A line is not the one that was signed.
    #[error("ligne {line} : {why}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// It is of another agreement, or of another version of this one.
    #[error(
        "ce certificat est signé sous une autre convention ou une autre version (empreinte {named}) ; donnez les fichiers de celle-là"
    )]
    OtherAgreement {
        /// The hash that it names.
        named: String,
    },
    /// Nothing in it looks like a certificate.
    #[error("ce fichier n'est pas un certificat de suppression, ou il en manque une grande partie")]
    NotACertificate,
}

/// Signs certificate `number`: `draft` has been carried out at `now`.
///
/// # Errors
/// `Internal`.
pub fn sign(signer: &Signer, agreement: &Agreement, draft: &Draft, number: u64, now: Timestamp) -> Result<String, ServiceError> {
    let text = |value: &str| json(&value);
    let mut lines = vec!["{".to_owned()];
    let mut member = |name: &str, value: String| lines.push(format!("  \"{name}\": {value},"));
    member("statement", text(STATEMENT)?);
    member("agreement", json(&agreement.agreement.id)?);
    member("version", json(&agreement.agreement.version)?);
    member("agreement_hash", text(&hex::encode(signer.agreement_hash()))?);
    member("role", text(&signer.role().to_string())?);
    member("number", json(&number)?);
    member("deleted_at", json(&now)?);
    member("rule", text(&draft.rule)?);
    member("value", json(&draft.value)?);
    member("cause", json(&draft.cause)?);
    member("as_of", json(&draft.as_of)?);
    member("run", json(&draft.run)?);
    lines.push("  \"data\": [".to_owned());
    for (set, left) in draft.data.iter().zip((0..draft.data.len()).rev()) {
        lines.push(format!("    {}{}", json(set)?, if left > 0 { "," } else { "" }));
    }
    lines.push("  ],".to_owned());
    let digests: Vec<[u8; 32]> = lines.iter().map(|line| Sha256::digest(line).into()).collect();
    let signature = signer.sign(LABEL, &digests.concat());
    lines.push(DIGESTS.to_owned());
    for at in 0..digests.len() {
        lines.push(digest_line(&digests, at));
    }
    lines.extend(["  ],".to_owned(), format!("  \"signature\": \"{}\"", hex::encode(signature)), "}".to_owned(), String::new()]);
    Ok(lines.join("\n"))
}

fn json(value: &impl Serialize) -> Result<String, ServiceError> {
    serde_json::to_string(value).map_err(ServiceError::internal)
}

fn digest_line(digests: &[[u8; 32]], at: usize) -> String {
    let digest = digests.get(at).map(hex::encode).unwrap_or_default();
    format!("    \"{digest}\"{}", if at + 1 < digests.len() { "," } else { "" })
}

/// Verifies a certificate under the keys that the agreement names.
///
/// # Errors
/// [`CertificateError`], with the line that was changed.
pub fn read(text: &str, agreement: &Agreement, hash: &[u8; 32]) -> Result<Certificate, CertificateError> {
    let fault = |line: usize, why: &str| CertificateError::Line { line, why: why.to_owned() };
    let lines: Vec<&str> = text.split('\n').collect();
    let begin = lines.iter().position(|line| *line == DIGESTS).ok_or_else(|| without_digests(&lines))?;
    let (stated, rest) = lines.split_at_checked(begin).ok_or(CertificateError::NotACertificate)?;
    let rest = rest.get(1..).unwrap_or_default();
    let digests: Vec<[u8; 32]> = stated.iter().map(|line| Sha256::digest(line).into()).collect();
    let differing: Vec<usize> =
        (0..begin).filter(|at| rest.get(*at).is_none_or(|line| *line != digest_line(&digests, *at))).collect();
    let tail = rest.get(begin..).unwrap_or_default();
    if let Some(&first) = differing.first() {
        if tail.first() != Some(&"  ],") || tail.len() != 4 {
            return Err(fault(first + 1, "une ligne manque, est en trop ou a été changée à cet endroit"));
        }
        let listed: Option<Vec<[u8; 32]>> = rest.iter().take(begin).map(|line| listed_digest(line)).collect();
        let signed = |digests: &[[u8; 32]]| signer_of(tail, digests, agreement, hash).is_some();
        let why = if listed.as_deref().is_some_and(signed) {
            "cette ligne n'est pas celle qui a été signée : elle a été changée depuis".to_owned()
        } else if signed(&digests) {
            return Err(fault(begin + 2 + first, "cette empreinte n'est pas celle de sa ligne : elle a été changée depuis"));
        } else {
            format!("cette ligne, ou son empreinte à la ligne {}, a été changée depuis la signature", begin + 2 + first)
        };
        return Err(CertificateError::Line { line: first + 1, why });
    }
    let closing = begin + 2 + begin;
    for (at, expected) in [(0, "  ],"), (2, "}"), (3, "")] {
        if tail.get(at) != Some(&expected) {
            return Err(fault(closing + at, "cette ligne n'est pas celle d'un certificat : elle a été changée, ou elle manque"));
        }
    }
    if tail.get(1).and_then(|line| listed_signature(line)).is_none() {
        return Err(fault(closing + 1, "cette ligne n'est pas celle d'une signature : elle a été changée"));
    }
    if tail.len() > 4 {
        return Err(fault(closing + 4, "cette ligne est en trop : un certificat finit avant elle"));
    }
    let certificate: Certificate =
        serde_json::from_str(text).map_err(|error| fault(error.line().max(1), "contenu illisible dans un certificat"))?;
    if certificate.statement != STATEMENT {
        return Err(CertificateError::NotACertificate);
    }
    if certificate.agreement_hash != hex::encode(hash) {
        return Err(CertificateError::OtherAgreement { named: certificate.agreement_hash });
    }
    match signer_of(tail, &digests, agreement, hash) {
        Some(role) if role.to_string() == certificate.role => Ok(certificate),
        Some(_) => Err(fault(6, "le certificat est signé par un autre rôle que celui qu'il nomme")),
        None => Err(fault(
            closing + 1,
            "signature refusée : elle a été changée, ou elle n'est pas du rôle que le certificat nomme ; toutes les autres lignes s'accordent entre elles",
        )),
    }
}

/// Where the line is missing that parts statement and digests.
fn without_digests(lines: &[&str]) -> CertificateError {
    // As many lines as digests, and five beside: the list's first and last, the signature, the end and what follows it.
    let at = lines.len().saturating_sub(5) / 2;
    let is_digest = |line: Option<&&str>| line.is_some_and(|line| listed_digest(line).is_some());
    if lines.len() >= 7 && is_digest(lines.get(at + 1)) && !is_digest(lines.get(at)) {
        return CertificateError::Line { line: at + 1, why: format!("la ligne attendue est {}", DIGESTS.trim()) };
    }
    CertificateError::NotACertificate
}

fn listed_digest(line: &str) -> Option<[u8; 32]> {
    let text = line.strip_prefix("    \"")?;
    let text = text.strip_suffix("\",").or_else(|| text.strip_suffix('"'))?;
    hex::decode(text).ok()?.try_into().ok()
}

fn listed_signature(line: &str) -> Option<Vec<u8>> {
    let text = line.strip_prefix("  \"signature\": \"")?.strip_suffix('"')?;
    // Capitals would be the same bytes in another text.
    hex::decode(text).ok().filter(|bytes| hex::encode(bytes) == text)
}

/// Whose signature in a certificate's last lines holds over `digests`.
fn signer_of(tail: &[&str], digests: &[[u8; 32]], agreement: &Agreement, hash: &[u8; 32]) -> Option<RoleId> {
    let signature = listed_signature(tail.get(1)?)?;
    let roles = [RoleId::Broker, RoleId::Custodian]
        .into_iter()
        .chain(agreement.party.iter().map(|party| RoleId::Party(party.id.clone())))
        .chain(agreement.analyst.iter().map(|analyst| RoleId::Analyst(analyst.id.clone())));
    let signed = digests.concat();
    roles.into_iter().find(|role| verify(agreement, hash, role, LABEL, &signed, &signature).is_ok())
}

#[cfg(test)]
#[path = "deletion/tests.rs"]
mod tests;
