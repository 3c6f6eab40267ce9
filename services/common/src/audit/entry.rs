//! One entry of an audit log, its bytes and its place in the chain.
//!
//! An entry is a line of JSON whose last member is the chain's value: `{"n":…,…,"salt":"…","chain":"…"}`. The value is
//! `SHA-256(label ‖ value of the entry before ‖ digest)`, the digest `SHA-256(label ‖ the line up to `,"chain"`)`: it is of the
//! bytes as they stand, so that no canonical form is needed. 128 random bits in each entry keep a digest that is shown to
//! partners from being tried against guesses of what the entry says.

use std::borrow::Cow;
use std::fmt;

use linkage_agreement::{Period, RunId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tonic::Code;

use crate::error::{ErrorKind, ServiceError};

/// A value of the chain, or a digest.
pub(crate) type Link = [u8; 32];

/// Most bytes kept of a certificate's URI.
const MAX_WHO: usize = 256;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Done.
    Done,
    /// Refused: not allowed, not well formed, over a limit, not there.
    Refused,
    /// A fault of this side, or not possible now.
    Failed,
    /// The caller went away, or took too long, before the end.
    Cut,
}

impl Outcome {
    /// In words.
    pub fn french(self) -> &'static str {
        match self {
            Self::Done => "fait",
            Self::Refused => "refusé",
            Self::Failed => "en échec",
            Self::Cut => "interrompu",
        }
    }
    /// What an answer of this code comes to.
    pub fn of(code: Code) -> Self {
        match code {
            Code::Ok => Self::Done,
            Code::PermissionDenied
            | Code::Unauthenticated
            | Code::NotFound
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::Aborted
            | Code::OutOfRange
            | Code::ResourceExhausted
            | Code::Unimplemented => Self::Refused,
            Code::Cancelled | Code::DeadlineExceeded => Self::Cut,
            Code::Unknown | Code::Internal | Code::Unavailable | Code::DataLoss => Self::Failed,
        }
    }
}

/// What is to be entered, as those state it who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    pub(super) who: Option<String>,
    pub(super) peer: Option<String>,
    pub(super) what: Cow<'static, str>,
    pub(super) run: Option<String>,
    pub(super) period: Option<String>,
    pub(super) records: Option<u64>,
    pub(super) fields: Vec<String>,
    pub(super) digest: Option<String>,
    pub(super) outcome: Outcome,
    pub(super) code: Option<Cow<'static, str>>,
    pub(super) count: u64,
}

impl Act {
    /// An act of this role itself, or of its operator on the command line: `what` in the form `object.verb`.
    pub fn own(what: &'static str) -> Self {
        Self::new(None, Cow::Borrowed(what))
    }
    /// A peer's call of a method.
    pub(super) fn call(who: &str, method: String) -> Self {
        Self::new(Some(shown(who)), Cow::Owned(method))
    }
    fn new(who: Option<String>, what: Cow<'static, str>) -> Self {
        Self {
            who,
            peer: None,
            what,
            run: None,
            period: None,
            records: None,
            fields: Vec::new(),
            digest: None,
            outcome: Outcome::Done,
            code: None,
            count: 1,
        }
    }
    /// With whom, by the URI of the other's certificate.
    #[must_use]
    pub fn peer(mut self, uri: &str) -> Self {
        self.peer = Some(shown(uri));
        self
    }
    /// The run it is about.
    #[must_use]
    pub fn run(mut self, run: &RunId) -> Self {
        self.run = Some(run.to_string());
        self
    }
    /// The month it is about.
    #[must_use]
    pub fn period(mut self, period: Period) -> Self {
        self.period = Some(period.to_string());
        self
    }
    /// How many records.
    #[must_use]
    pub fn records(mut self, records: u64) -> Self {
        self.records = Some(records);
        self
    }
    /// Names of the agreement's fields or attributes.
    #[must_use]
    pub fn fields<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.fields = names.into_iter().map(Into::into).collect();
        self
    }
    /// A value by which something kept elsewhere is recognised.
    #[must_use]
    pub fn digest(mut self, digest: &[u8; 32]) -> Self {
        self.digest = Some(hex::encode(digest));
        self
    }
    /// What came of it; the error's kind is kept, its text is not.
    #[must_use]
    pub fn outcome<T>(mut self, result: &Result<T, ServiceError>) -> Self {
        if let Err(error) = result {
            self.set_code(error.kind.code());
        }
        self
    }
    /// It did not come off, for a reason that is this side's or passing.
    #[must_use]
    pub fn failed(mut self) -> Self {
        self.set_code(ErrorKind::Internal.code());
        self
    }
    /// It was refused.
    #[must_use]
    pub fn refused(mut self) -> Self {
        self.set_code(ErrorKind::Refused.code());
        self
    }
    pub(super) fn set_code(&mut self, code: Code) {
        self.outcome = Outcome::of(code);
        self.code = (code != Code::Ok).then(|| Cow::Owned(format!("{code:?}")));
    }
}

/// A certificate's URI as it may be kept: no control character, bounded.
fn shown(uri: &str) -> String {
    uri.chars().filter(char::is_ascii_graphic).take(MAX_WHO).collect()
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Number, from 1.
    pub n: u64,
    /// When, seconds since 1970.
    pub at: i64,
    /// The URI of the peer's certificate, or this role's own, or `operator`: the command line on this role's data.
    pub who: String,
    /// With whom, of an act of this role's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// gRPC method, or act in the form `object.verb`.
    pub what: String,
    /// Hash of the agreement in force here, hexadecimal.
    pub agreement: String,
    /// Run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Month, `AAAA-MM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<String>,
    /// Records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Fields or attributes of the agreement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// What something kept elsewhere is recognised by, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
    /// gRPC code, unless it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// How many times, where the same was entered together; the time is that of the last.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub count: u64,
    /// 128 random bits, hexadecimal.
    pub salt: String,
}

fn once() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_once(count: &u64) -> bool {
    *count == 1
}

/// A line as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it says.
    pub entry: Entry,
    /// Digest of the entry's bytes.
    pub digest: Link,
    /// The chain's value as the line has it; whether it holds is for the reader to compute.
    pub chain: Link,
}

const CHAIN: &str = ",\"chain\":\"";

/// The chain's value before the first entry.
pub(super) fn start(role: &impl fmt::Display, log: &str) -> Link {
    let mut hash = Sha256::new();
    for part in [&b"linkage audit log v1\0"[..], role.to_string().as_bytes(), b"\0", log.as_bytes()] {
        hash.update(part);
    }
    hash.finalize().into()
}

/// The chain's value after an entry of this digest.
pub(super) fn next(chain: &Link, digest: &Link) -> Link {
    let mut hash = Sha256::new();
    for part in [&b"linkage audit chain v1\0"[..], chain, digest] {
        hash.update(part);
    }
    hash.finalize().into()
}

fn digest(entry: &str) -> Link {
    let mut hash = Sha256::new();
    hash.update(b"linkage audit entry v1\0");
    hash.update(entry.as_bytes());
    hash.finalize().into()
}

/// Writes `entry` after an entry whose chain value is `chain`: the line without its end, and the new value.
///
/// # Errors
/// The entry has no JSON form.
pub fn write(entry: &Entry, chain: &Link) -> Result<(String, Link), serde_json::Error> {
    let mut line = serde_json::to_string(entry)?;
    // The closing brace, put back after the chain's value.
    line.pop();
    let value = next(chain, &digest(&line));
    line.push_str(CHAIN);
    line.push_str(&hex::encode(value));
    line.push_str("\"}");
    Ok((line, value))
}

/// Reads a line without its end; `None` when it is none of ours.
pub fn read(line: &[u8]) -> Option<Line> {
    let (entry, value) = std::str::from_utf8(line).ok()?.strip_suffix("\"}")?.rsplit_once(CHAIN)?;
    let mut chain = [0; 32];
    hex::decode_to_slice(value, &mut chain).ok()?;
    // One spelling only: what is not hashed must not vary.
    if hex::encode(chain) != value {
        return None;
    }
    Some(Line { digest: digest(entry), chain, entry: serde_json::from_str(&format!("{entry}}}")).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(who: &str) -> Entry {
        Entry {
            n: 7,
            at: 1_763_800_000,
            who: who.to_owned(),
            peer: None,
            what: "run.linked".to_owned(),
            agreement: "ab".repeat(32),
            run: Some("2024-01".to_owned()),
            period: None,
            records: Some(12),
            fields: vec!["composition".to_owned()],
            digest: None,
            outcome: Outcome::Done,
            code: None,
            count: 1,
            salt: "cd".repeat(16),
        }
    }

    #[test]
    fn a_line_reads_back_and_any_changed_byte_changes_digest_or_value() {
        // The peer's name tries to look like the end of a line.
        let before = start(&"broker/broker", "principal");
        let (line, value) = write(&entry("x\",\"chain\":\"00\"}"), &before).unwrap();
        let read_back = read(line.as_bytes()).unwrap();
        assert_eq!(read_back.entry, entry("x\",\"chain\":\"00\"}"));
        assert_eq!((read_back.chain, next(&before, &read_back.digest)), (value, value));
        for at in 0..line.len() {
            let mut changed = line.clone().into_bytes();
            changed[at] ^= 1;
            let Some(other) = read(&changed) else { continue };
            assert_ne!((other.digest, other.chain), (read_back.digest, read_back.chain), "byte {at}");
        }
        assert_eq!(read(line.to_uppercase().as_bytes()), None);
    }

    #[test]
    fn logs_of_other_roles_and_names_start_elsewhere() {
        let starts = [start(&"broker/broker", "a"), start(&"broker/broker", "b"), start(&"custodian/custodian", "a")];
        assert!(starts[0] != starts[1] && starts[0] != starts[2]);
    }

    #[test]
    fn what_a_certificate_says_is_kept_without_what_could_not_be_in_a_uri() {
        assert_eq!(Act::call("linkage://x/\npartié", String::new()).who.unwrap(), "linkage://x/parti");
        assert_eq!(Act::call(&"u".repeat(1000), String::new()).who.unwrap().len(), MAX_WHO);
    }
}
