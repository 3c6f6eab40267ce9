//! What backups leave behind, and what they need to begin: temporary files of processes that were killed, room on the disk.
//!
//! A backup is written under a temporary name ([`crate::fsx`]) and is as large as the state: what a killed process leaves would fill
//! the disk night after night. Whoever writes one holds a lock on it, so that only files without a writer are removed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use super::BackupError;
use crate::fsx;

/// Beside the files themselves: head, blocks' tags, manifest.
const MARGIN: u64 = 1 << 20;
/// Digits in the temporary name.
const DIGITS: usize = 16;

/// Marks a file as one that is being written.
pub(super) fn hold(file: &File) {
    if let Err(error) = file.try_lock() {
        tracing::debug!(%error, "no lock on a backup being written: this file system has none");
    }
}

/// The name that a temporary file is to have in the end.
fn intended(name: &str) -> Option<&str> {
    let (intended, digits) = name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?;
    (digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit())).then_some(intended)
}

/// Removes what processes that were killed left in `folder` of backups whose names are `own`; returns how many. What another process
/// writes now stays.
///
/// # Errors
/// The folder cannot be read or changed.
pub fn sweep(folder: &Path, own: impl Fn(&str) -> bool) -> io::Result<u64> {
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_str().and_then(intended).is_some_and(&own) {
            continue;
        }
        let file = match File::options().append(true).open(entry.path()) {
            // Its writer was done with it, or another sweeps.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            // Without locks nothing says whether it has a writer.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => continue,
            Err(TryLockError::Error(error)) => return Err(error),
        }
        match fs::remove_file(entry.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => removed += 1,
        }
    }
    Ok(removed)
}

/// Refuses to begin what writes `bytes` into `folder` when its disk has no room for them. Where the system does not say, writing will.
///
/// # Errors
/// [`BackupError::Room`].
pub fn room(folder: &Path, bytes: u64) -> Result<(), BackupError> {
    let needed = bytes.saturating_add(MARGIN);
    match fsx::free_bytes(folder) {
        Some(free) if free < needed => Err(BackupError::Room { folder: folder.to_owned(), needed, free }),
        _ => Ok(()),
    }
}
