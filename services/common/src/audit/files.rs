//! The files of an audit log: one a month, appended under a lock, whole lines only.
//!
//! `AAAA-MM.jsonl` hold the entries, in the order of their names; `lock` is held by whoever writes, so that a service and the
//! commands on its data make one chain; `anchor.json` keeps the chain's value where old months were deleted. A process that
//! is killed may leave half a line at the end: it is cut off before anything is appended, and an entry says so. A whole line
//! that cannot be read is never cut off: it is for `linkage audit verify` to show, and nothing is appended after it.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use linkage_agreement::Period;
use serde::{Deserialize, Serialize};

use super::entry::{self, Entry, Line, Link};
use super::months::{self, LONGEST_LINE, LastLine};
use crate::fsx;

const ANCHOR: &str = "anchor.json";

/// Number and chain value of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number; 0 before the first entry.
    pub number: u64,
    /// The chain's value there.
    pub chain: Link,
}

/// What is kept of the months that were deleted: the place at which the log goes on, signed by its role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Number of the last entry deleted.
    pub number: u64,
    /// The chain's value there, hexadecimal.
    pub chain: String,
    /// When they were deleted, seconds since 1970.
    pub at: i64,
    /// Hash of the agreement under which the role signs, hexadecimal.
    pub agreement: String,
    /// The role's signature, hexadecimal.
    pub signature: String,
}

impl Anchor {
    /// Where the log goes on; `None` for a value that is none.
    pub fn head(&self) -> Option<Head> {
        let mut chain = [0; 32];
        hex::decode_to_slice(&self.chain, &mut chain).ok()?;
        Some(Head { number: self.number, chain })
    }
}

/// A log's folder, for one writer.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    start: Link,
    /// The last file, its length and the head there, as this writer left it.
    known: Option<Tail>,
    /// What the end looked like, until an entry says so.
    found: Found,
}

#[derive(Debug, Clone)]
struct Tail {
    month: Option<Period>,
    length: u64,
    head: Head,
}

/// What the end of the log looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The log as it was left.
    Whole,
    /// Half a line, cut off.
    HalfALine,
    /// Fewer entries than this writer had written.
    Fewer,
}

impl Files {
    pub(super) fn open(folder: &Path, start: Link) -> io::Result<Self> {
        fsx::create_private_dir(folder)?;
        let mut files = Self { folder: folder.to_owned(), start, known: None, found: Found::Whole };
        let _locked = files.lock()?;
        files.look()?;
        Ok(files)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Holds the log against other writers until the file is dropped.
    pub(super) fn lock(&self) -> io::Result<File> {
        months::lock(&self.folder)
    }

    /// The log's head, all of it on disk.
    pub(super) fn head(&mut self) -> io::Result<Head> {
        let _locked = self.lock()?;
        self.look()?;
        Ok(self.tail().head)
    }

    fn tail(&self) -> Tail {
        self.known.clone().unwrap_or(Tail { month: None, length: 0, head: Head { number: 0, chain: self.start } })
    }

    /// Reads the end of the log, unless it is where this writer left it. For the holder of the lock.
    fn look(&mut self) -> io::Result<()> {
        let months = months::months(&self.folder)?;
        if let Some(known) = &self.known {
            let last = months.last().copied();
            let length = last.map_or(Ok(0), |m| std::fs::metadata(months::path(&self.folder, m)).map(|m| m.len()))?;
            if (last, length) == (known.month, known.length) {
                return Ok(());
            }
        }
        let before = self.known.take().map_or(0, |known| known.head.number);
        let mut tail = Tail { month: months.last().copied(), length: 0, head: Head { number: 0, chain: self.start } };
        let mut entries = None;
        for month in months.iter().rev() {
            let (line, length, cut) = last_line(&months::path(&self.folder, *month))?;
            if cut {
                self.found = Found::HalfALine;
            }
            if Some(*month) == tail.month {
                tail.length = length;
            }
            if let Some(line) = line {
                entries = Some(Head { number: line.entry.n, chain: line.chain });
                break;
            }
        }
        tail.head = match (entries, read_anchor(&self.folder)?.as_ref().map(Anchor::head)) {
            (Some(head), _) => head,
            (None, Some(anchored)) => anchored.ok_or_else(|| damaged(&self.folder.join(ANCHOR)))?,
            (None, None) => tail.head,
        };
        if tail.head.number < before {
            self.found = Found::Fewer;
        }
        self.known = Some(tail);
        Ok(())
    }

    /// Appends the first of `entries`, all that go into one file, numbers and chains them; returns how many. They are on
    /// disk then. `noted` makes the entry that says what the end of the log looked like, and counts as none of `entries`.
    pub(super) fn append(&mut self, entries: &[Entry], noted: impl Fn(Found) -> io::Result<Entry>) -> io::Result<usize> {
        let _locked = self.lock()?;
        self.look()?;
        let tail = self.tail();
        let Some(first) = entries.first() else { return Ok(0) };
        // A clock that was set back does not put entries before earlier ones.
        let month = month_of(first.at).max(tail.month.unwrap_or(month_of(first.at)));
        let mut head = tail.head;
        let mut text = String::new();
        let mut add = |entry: &Entry| -> io::Result<()> {
            let entry = Entry { n: head.number + 1, ..entry.clone() };
            let (line, chain) = entry::write(&entry, &head.chain)?;
            text.push_str(&line);
            text.push('\n');
            head = Head { number: entry.n, chain };
            Ok(())
        };
        if self.found != Found::Whole {
            add(&noted(self.found)?)?;
        }
        let together = entries.iter().take_while(|e| month_of(e.at) <= month).count().max(1);
        for entry in entries.iter().take(together) {
            add(entry)?;
        }
        let path = months::path(&self.folder, month);
        let (new, length) = if tail.month == Some(month) { (false, tail.length) } else { (true, 0) };
        // Whatever happens below, the end is looked at again.
        self.known = None;
        let mut file = months::open_appending(&path)?;
        if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_data()) {
            // Best effort: what stays is cut off by the next writer.
            let _ = file.set_len(length);
            return Err(error);
        }
        if new {
            fsx::sync_dir(&self.folder)?;
        }
        self.known = Some(Tail { month: Some(month), length: length + text.len() as u64, head });
        self.found = Found::Whole;
        Ok(together)
    }

    /// Forgets where the end was: files were changed under the lock.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }
}

/// The last whole line of a file, the file's length, and whether half a line was cut off.
fn last_line(path: &Path) -> io::Result<(Option<Line>, u64, bool)> {
    let LastLine { line, length, cut } = months::last_line(path, LONGEST_LINE)?.ok_or_else(|| damaged(path))?;
    let line = line.map(|line| entry::read(&line).ok_or_else(|| damaged(path))).transpose()?;
    Ok((line, length, cut))
}

fn damaged(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "{} : journal d'audit abîmé, ou écrit par une version plus récente du programme ; exécutez linkage audit verify, qui dit à quelle ligne",
            path.display()
        ),
    )
}

/// The month of a time.
pub(super) fn month_of(at: i64) -> Period {
    let at = jiff::Timestamp::from_second(at).unwrap_or_default();
    Period::of(jiff::tz::Offset::UTC.to_datetime(at).date())
}

/// The anchor, where months have been deleted.
pub(super) fn read_anchor(folder: &Path) -> io::Result<Option<Anchor>> {
    let path = folder.join(ANCHOR);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|_| damaged(&path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn write_anchor(folder: &Path, anchor: &Anchor) -> io::Result<()> {
    fsx::write_atomic(&folder.join(ANCHOR), &serde_json::to_vec(anchor)?)
}
