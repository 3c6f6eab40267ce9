//! The access log's lines as they stand on disk: numbered, and chained by hashes.
//!
//! A line is JSON whose last member is the chain's value, `{"n":…,…,"chain":"…"}`:
//! `SHA-256("linkage access chain v1\0" ‖ value before ‖ SHA-256("linkage access line v1\0" ‖ the line up to ,"chain"))`, as in
//! the audit log (Schneier and Kelsey, ACM TISSEC 2(2), 1999), before the first line `SHA-256("linkage access log v1\0")`. Half a
//! line at the end is of a process that was killed before it showed anything, and is cut off. Logs from before the chain go
//! on: their lines stand before number 1.

use std::path::Path;

use linkage_agreement::Period;
use linkage_common::audit::months;
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Line;

const ANCHOR: &str = "anchor.json";
/// No line is longer: names and subjects are bounded, and an escaped character takes six bytes at most.
const LONGEST_LINE: u64 = 64 << 10;
const CHAIN: &str = ",\"chain\":\"";

/// Number and chain value of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number; 0 before the first.
    pub number: u64,
    /// The chain's value there.
    pub value: [u8; 32],
}

impl Head {
    /// Before the first line.
    pub(super) fn start() -> Self {
        Self { number: 0, value: Sha256::digest(b"linkage access log v1\0").into() }
    }
}

/// Where the log goes on after months that were deleted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Anchor {
    number: u64,
    chain: String,
}

impl Anchor {
    pub(super) fn read(folder: &Path) -> Result<Option<Head>, ServiceError> {
        let path = folder.join(ANCHOR);
        if !path.try_exists()? {
            return Ok(None);
        }
        let bytes = fsx::read_limited(&path, 4096).map_err(ServiceError::internal)?;
        let anchor: Self = serde_json::from_slice(&bytes).map_err(|_| damaged(&path))?;
        let mut value = [0; 32];
        hex::decode_to_slice(&anchor.chain, &mut value).map_err(|_| damaged(&path))?;
        Ok(Some(Head { number: anchor.number, value }))
    }

    /// Keeps where the log goes on, unless it went on from further already.
    pub(super) fn keep(folder: &Path, end: &Head) -> Result<(), ServiceError> {
        if Self::read(folder)?.is_some_and(|held| held.number >= end.number) {
            return Ok(());
        }
        let anchor = Self { number: end.number, chain: hex::encode(end.value) };
        Ok(fsx::write_atomic(&folder.join(ANCHOR), &serde_json::to_vec(&anchor).map_err(ServiceError::internal)?)?)
    }
}

/// The end of a log.
pub(super) struct Tail {
    /// Its last file.
    pub month: Option<Period>,
    /// Its last line.
    pub head: Head,
}

impl Tail {
    /// For the holder of the lock.
    pub(super) fn of(folder: &Path) -> Result<Self, ServiceError> {
        let held = months::months(folder)?;
        let month = held.last().copied();
        for of in held.iter().rev() {
            match last_line(&months::path(folder, *of))? {
                Last::Nothing => {}
                Last::Unchained => return Ok(Self { month, head: Head::start() }),
                Last::Chained(head) => return Ok(Self { month, head }),
            }
        }
        let head = Anchor::read(folder)?.unwrap_or_else(Head::start);
        Ok(Self { month, head })
    }
}

/// The last line of a month, where it is chained.
pub(super) fn end_of(path: &Path) -> Result<Option<Head>, ServiceError> {
    if !path.try_exists()? {
        return Ok(None);
    }
    Ok(match last_line(path)? {
        Last::Chained(head) => Some(head),
        Last::Nothing | Last::Unchained => None,
    })
}

enum Last {
    Nothing,
    /// From before lines were chained.
    Unchained,
    Chained(Head),
}

/// The last whole line of a file; half a line after it is cut off.
fn last_line(path: &Path) -> Result<Last, ServiceError> {
    let last = months::last_line(path, LONGEST_LINE)?.ok_or_else(|| damaged(path))?;
    if last.cut {
        tracing::warn!("half a line at the end of the access log was cut off");
    }
    match last.line.filter(|line| !line.is_empty()).map(|line| read(&line)) {
        None => Ok(Last::Nothing),
        Some(Some(Read { line, chain: Some((_, value)) })) => Ok(Last::Chained(Head { number: line.n, value })),
        Some(Some(Read { chain: None, .. })) => Ok(Last::Unchained),
        Some(None) => Err(damaged(path)),
    }
}

fn damaged(path: &Path) -> ServiceError {
    tracing::error!(path = %path.display(), "the access log is damaged");
    ServiceError::internal("the access log is damaged; « linkage analyst access verify » says where")
}

/// A line as read.
pub(super) struct Read {
    /// What it says.
    pub line: Line,
    /// Digest of its bytes, and the chain's value as it has it; none in a line from before lines were chained.
    pub chain: Option<([u8; 32], [u8; 32])>,
}

/// Reads a line without its end; `None` when it is none of ours.
pub(super) fn read(line: &[u8]) -> Option<Read> {
    let text = std::str::from_utf8(line).ok()?;
    let read: Line = serde_json::from_str(text).ok()?;
    if read.n == 0 {
        return Some(Read { line: read, chain: None });
    }
    let (entry, held) = text.strip_suffix("\"}")?.rsplit_once(CHAIN)?;
    let mut value = [0; 32];
    hex::decode_to_slice(held, &mut value).ok()?;
    // One spelling only: what is not hashed must not vary.
    (hex::encode(value) == held).then(|| Read { line: read, chain: Some((digest(entry), value)) })
}

fn digest(entry: &str) -> [u8; 32] {
    Sha256::new().chain_update(b"linkage access line v1\0").chain_update(entry).finalize().into()
}

/// The chain's value after a line of this digest.
pub(super) fn next(before: &[u8; 32], digest: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(b"linkage access chain v1\0").chain_update(before).chain_update(digest).finalize().into()
}

/// The text of `line` after `head`, without its end.
pub(super) fn write(line: &Line, head: &Head) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string(line)?;
    // The closing brace, put back after the chain's value.
    text.pop();
    let value = next(&head.value, &digest(&text));
    text.push_str(CHAIN);
    text.push_str(&hex::encode(value));
    text.push_str("\"}");
    Ok(text)
}
