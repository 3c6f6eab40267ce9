//! The access log's lines as they stand on disk: numbered, and chained by hashes.
//!
//! A line is JSON whose last member is the chain's value, `{"n":…,…,"chain":"…"}`:
//! `SHA-256("linkage access chain v1\0" ‖ value before ‖ SHA-256("linkage access line v1\0" ‖ the line up to ,"chain"))`, as in
//! the audit log (Schneier and Kelsey, ACM TISSEC 2(2), 1999), before the first line `SHA-256("linkage access log v1\0")`. Half a
//! line at the end is of a process that was killed before it showed anything, and is cut off. Logs from before the chain go
//! on: their lines stand before number 1.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use linkage_agreement::Period;
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Line;

/// Ending of the files.
const ENDING: &str = "jsonl";
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
        let months = months(folder)?;
        for month in months.iter().rev() {
            match last_line(&path(folder, *month))? {
                Last::Nothing => {}
                Last::Unchained => return Ok(Self { month: months.last().copied(), head: Head::start() }),
                Last::Chained(head) => return Ok(Self { month: months.last().copied(), head }),
            }
        }
        let head = Anchor::read(folder)?.unwrap_or_else(Head::start);
        Ok(Self { month: months.last().copied(), head })
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
    let mut file = open_appending(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LONGEST_LINE);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    (&mut file).take(LONGEST_LINE).read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    if whole == 0 && from > 0 {
        return Err(damaged(path));
    }
    if whole < bytes.len() {
        tracing::warn!("half a line at the end of the access log was cut off");
        file.set_len(from + whole as u64)?;
        file.sync_data()?;
    }
    bytes.truncate(whole.saturating_sub(1));
    let last = bytes.rsplit(|b| *b == b'\n').next().filter(|line| !line.is_empty());
    match last.map(read) {
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

/// Holds the log against other writers until the file is dropped.
pub(super) fn lock(folder: &Path) -> Result<File, ServiceError> {
    let file = open_appending(&folder.join("lock"))?;
    file.lock()?;
    Ok(file)
}

/// The months that the log has files of, rising.
pub(super) fn months(folder: &Path) -> Result<Vec<Period>, ServiceError> {
    let mut months = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == ENDING) {
            months.extend(path.file_stem().and_then(|s| s.to_str()?.parse::<Period>().ok()));
        }
    }
    months.sort_unstable();
    Ok(months)
}

/// The file of a month.
pub(super) fn path(folder: &Path, month: Period) -> PathBuf {
    folder.join(format!("{month}.{ENDING}"))
}

pub(super) fn open_appending(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
