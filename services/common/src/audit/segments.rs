//! The parts of a log that restorations from backups have left: each goes on in a log of its own, the ones before stay as they are.
//!
//! A state that comes from a backup does not know what was entered after. Going on under the same numbers would look like a log
//! rewritten, which is just what partners must be able to tell: so it goes on as another log, `NAME.restored-AAAAMMJJtHHMMSSmmmz` (UTC),
//! beside the one before. Its first entry is `backup.restored`, whose `records` is the last number of the log before. Partners see
//! a log that they did not know, whose name says why ([`super::Seen::Restored`]). Processes of a role that share a database and were not the
//! one that restored it do the same at their next start, from the moment that the database tells ([`super::AuditLog::since`]).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use linkage_agreement::RoleId;

use super::config::Place;
use super::entry;
use super::files::{self, Anchor, Head};
use super::months;

const MARK: &str = ".restored-";
/// Held by every process that keeps the log open.
const IN_USE: &str = "in-use";

/// Where a log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Its name.
    pub log: String,
    /// Number and value of its last entry.
    pub head: Head,
}

/// The name that a log had before it was restored for the first time.
fn base(log: &str) -> &str {
    log.split_once(MARK).map_or(log, |(base, _)| base)
}

/// The moment of the restoration that a log of this name begins with; none for one that does not. Logs of several processes of a
/// role that begin with the same one have it in common.
pub fn restoration(log: &str) -> Option<&str> {
    log.split_once(MARK).map(|(_, moment)| moment)
}

/// The name under which `log` goes on after the restoration `moment`.
pub(super) fn after(log: &str, moment: &str) -> String {
    format!("{}{MARK}{moment}", base(log))
}

/// The name under which `log` goes on when it is restored at `now`.
pub fn restored_name(log: &str, now: Timestamp) -> String {
    let millisecond = now.as_millisecond().rem_euclid(1000);
    after(log, &format!("{}{millisecond:03}z", now.strftime("%Y%m%dt%H%M%S")))
}

/// The parts of the log that is called `log` without any restoration, in `dir`, in order; the last is the one written to. None
/// when nothing has been written.
///
/// # Errors
/// The folder cannot be read.
pub fn parts(dir: &Path, log: &str) -> io::Result<Vec<Place>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if base(&name) == base(log) && entry.file_type()?.is_dir() {
            names.push(name);
        }
    }
    // The first has no mark, moments sort as texts.
    names.sort();
    Ok(names.into_iter().map(|log| Place { folder: dir.join(&log), log }).collect())
}

impl Place {
    /// The parts before this one, in order.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn before(&self) -> io::Result<Vec<Self>> {
        let Some(dir) = self.folder.parent() else { return Ok(Vec::new()) };
        Ok(parts(dir, &self.log)?.into_iter().filter(|part| part.log < self.log).collect())
    }

    /// Keeps a restoration from beginning while the log is open; a restoration keeps the log from being opened.
    pub(super) fn in_use(&self) -> io::Result<File> {
        let file = self.use_lock()?;
        match file.try_lock_shared() {
            Ok(()) => Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => Err(io::Error::other("une restauration est en cours")),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Keeps the role, and commands on its data, from opening the log; none while one of them has it open.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn alone(&self) -> io::Result<Option<File>> {
        let file = self.use_lock()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn use_lock(&self) -> io::Result<File> {
        let dir = self.folder.parent().map_or_else(PathBuf::new, Path::to_owned);
        crate::fsx::create_private_dir(&dir)?;
        months::open_appending(&dir.join(IN_USE))
    }
}

/// Where the last part with an entry ends; none when there is no entry at all.
///
/// # Errors
/// A file cannot be read, or is damaged.
pub fn position(role: &RoleId, parts: &[Place]) -> io::Result<Option<Position>> {
    for part in parts.iter().rev() {
        let mut last = files::read_anchor(&part.folder)?.as_ref().and_then(Anchor::head);
        walk(part, |head| last = Some(head))?;
        if let Some(head) = last.filter(|head| head.chain != entry::start(role, &part.log)) {
            return Ok(Some(Position { log: part.log.clone(), head }));
        }
    }
    Ok(None)
}

/// Whether a log of these parts has gone through `at`. What is deleted because it has reached its term is taken for granted.
///
/// # Errors
/// A file cannot be read.
pub fn contains(parts: &[Place], at: &Position) -> io::Result<bool> {
    let Some(part) = parts.iter().find(|part| part.log == at.log) else { return Ok(false) };
    if files::read_anchor(&part.folder)?.and_then(|anchor| anchor.head()).is_some_and(|head| head.number >= at.head.number) {
        return Ok(true);
    }
    let mut found = false;
    walk(part, |head| found |= head == at.head)?;
    Ok(found)
}

fn walk(part: &Place, mut each: impl FnMut(Head)) -> io::Result<()> {
    for month in months::months(&part.folder)? {
        for line in months::lines(&months::path(&part.folder, month))? {
            let (_, bytes, ended) = line?;
            if let Some(line) = entry::read(&bytes).filter(|_| ended) {
                each(Head { number: line.entry.n, chain: line.chain });
            }
        }
    }
    Ok(())
}
