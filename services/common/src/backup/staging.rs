//! Putting a restored state in the place of the one that is there.
//!
//! Everything is made ready in `.restore/` within the role's own folder (a volume cannot be renamed, and a rename does not leave its
//! file system). Then `ready.json` is written: from there on the new state is the one that counts. Old entries are moved to
//! `.restore/old`, new ones to their places, and each move can be told from the names alone: a process that was killed is
//! followed by another that ends its work. Before `ready.json`, the old state is whole and `.restore/` is rubbish; after, nothing
//! may open the state until the moves are done ([`whole`]). `audit/`, if it is in the folder, stays: logs are only added to.
//! Configuration and keys that are missing are written before the new state counts, elsewhere: with them a service could begin on no
//! state at all, so that from then on nothing opens the state either ([`Staging::outside`]).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Facts;
use crate::error::ServiceError;
use crate::fsx;

/// The folder, in the role's own.
pub const FOLDER: &str = ".restore";
const READY: &str = "ready.json";
const OUTSIDE: &str = "outside";
const LOCK: &str = "lock";
const NEW: &str = "new";
const OLD: &str = "old";
const LOGS: &str = "audit";
const LATER: &str = "later";
const LIMIT: u64 = 16 << 20;
/// What stays in the folder: logs are only added to, locks hold nothing, and the last is the file system's own.
const STAYS: [&str; 6] = [FOLDER, super::COPIES, "audit", "lock", "in-use", "lost+found"];

/// The backup that a restored state comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// What it says of itself.
    pub facts: Facts,
    /// Whether the role's signature on it was verified.
    pub signed: bool,
}

/// What a restoration has still to do once the new state is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Folder of the audit logs.
    pub audit: PathBuf,
    /// Name of the log that the role goes on in.
    pub log: String,
    /// The log that it comes after, and its last entry.
    pub after: String,
    /// See `after`.
    pub entry: u64,
    /// Where the new state comes from: who ends the restoration may hold another file. None when the version before this one made it
    /// ready, which did not say.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// Entries of the folder that are replaced.
    old: Vec<String>,
    /// Entries that replace them.
    new: Vec<String>,
}

/// A restoration being made ready. Nobody else makes one in the same folder meanwhile.
pub struct Staging {
    home: PathBuf,
    _lock: File,
}

fn locked(home: &Path) -> io::Result<Option<File>> {
    let folder = home.join(FOLDER);
    fsx::create_private_dir(&folder)?;
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(folder.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

fn under_way() -> ServiceError {
    ServiceError::configuration("une restauration est en cours dans ce dossier : attendez qu'elle ait fini, puis réessayez")
}

/// Whether the state in `home` is half an old and half a new one.
///
/// # Errors
/// The folder cannot be read.
pub fn half_restored(home: &Path) -> io::Result<bool> {
    home.join(FOLDER).join(READY).try_exists()
}

/// Whether a restoration in `home` has changed anything, here or elsewhere.
fn has_begun(home: &Path) -> io::Result<bool> {
    Ok(half_restored(home)? || home.join(FOLDER).join(OUTSIDE).try_exists()?)
}

/// Refuses a state that is half restored, or being restored. What a restoration left that had not begun to change anything is
/// removed, as is what a backup that was killed left: it would keep data that the state no longer has.
///
/// # Errors
/// `Configuration`, with what to do.
pub fn whole(home: &Path) -> Result<(), ServiceError> {
    super::Copies::sweep(home)?;
    let folder = home.join(FOLDER);
    if !folder.try_exists().map_err(ServiceError::configuration)? {
        return Ok(());
    }
    let Some(_lock) = locked(home).map_err(ServiceError::configuration)? else { return Err(under_way()) };
    if has_begun(home).map_err(ServiceError::configuration)? {
        return Err(ServiceError::configuration(format!(
            "{} : restauration inachevée, cet état n'est ni l'ancien ni le nouveau ; relancez la même commande « linkage backup restore », qui l'achève (docs/sauvegarde.md)",
            home.display()
        )));
    }
    fs::remove_dir_all(&folder).map_err(ServiceError::configuration)
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.into_string().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "nom de fichier illisible"))?;
        if !STAYS.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Moves `name`, unless it was moved before.
fn moved(from: &Path, to: &Path, name: &str) -> io::Result<()> {
    if to.join(name).symlink_metadata().is_ok() {
        return Ok(());
    }
    match fs::rename(from.join(name), to.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Staging {
    /// Begins in `home`, made when absent. What an earlier attempt left is removed, unless the new state counts already: then the
    /// attempt is to be ended by [`Self::finish`].
    ///
    /// # Errors
    /// Another process restores here now; the disk.
    pub fn begin(home: &Path) -> Result<Self, ServiceError> {
        fsx::create_private_dir(home)?;
        let lock = locked(home)?.ok_or_else(under_way)?;
        let staging = Self { home: home.to_owned(), _lock: lock };
        if !half_restored(home)? {
            for name in [NEW, OLD, LOGS, LATER] {
                match fs::remove_dir_all(staging.folder().join(name)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                    _ => {}
                }
                fsx::create_private_dir(&staging.folder().join(name))?;
            }
        }
        Ok(staging)
    }

    fn folder(&self) -> PathBuf {
        self.home.join(FOLDER)
    }
    /// Where the new state is made.
    pub fn state(&self) -> PathBuf {
        self.folder().join(NEW)
    }
    /// Where the files of audit logs are put that are to be written.
    pub fn logs(&self) -> PathBuf {
        self.folder().join(LOGS)
    }
    /// Where what is found out beforehand is kept for what is to be done after the moves: who ends the restoration may be given less.
    pub fn later(&self) -> PathBuf {
        self.folder().join(LATER)
    }

    /// Says that files elsewhere are about to be written.
    ///
    /// # Errors
    /// The disk.
    pub fn outside(&self) -> Result<(), ServiceError> {
        Ok(fsx::write_atomic(&self.folder().join(OUTSIDE), b"")?)
    }

    /// Whether there is a state to be replaced.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn replaces(&self) -> Result<bool, ServiceError> {
        Ok(!names(&self.home)?.is_empty())
    }

    /// From here on the new state, which comes from `origin`, counts. `log` is the audit log to go on in, after entry `entry` of `after`,
    /// all of them in `audit`.
    ///
    /// # Errors
    /// The disk; then the old state counts.
    pub fn ready(&self, audit: &Path, log: &str, after: &str, entry: u64, origin: Origin) -> Result<(), ServiceError> {
        sync(&self.state())?;
        sync(&self.logs())?;
        sync(&self.later())?;
        fsx::sync_dir(&self.folder())?;
        let plan = Plan {
            audit: audit.to_owned(),
            log: log.to_owned(),
            after: after.to_owned(),
            entry,
            origin: Some(origin),
            old: names(&self.home)?,
            new: names(&self.state())?,
        };
        let bytes = serde_json::to_vec(&plan).map_err(ServiceError::internal)?;
        Ok(fsx::write_atomic(&self.folder().join(READY), &bytes)?)
    }

    /// What is left to do, once the new state is ready.
    ///
    /// # Errors
    /// It is not ready; the disk.
    pub fn plan(&self) -> Result<Plan, ServiceError> {
        let bytes = fsx::read_limited(&self.folder().join(READY), LIMIT).map_err(ServiceError::configuration)?;
        serde_json::from_slice(&bytes).map_err(ServiceError::internal)
    }

    /// Does what is left to do with the files; may be repeated. The audit log is for the caller to go on in, before
    /// [`completed`].
    ///
    /// # Errors
    /// The disk; it is to be repeated.
    pub fn finish(&self) -> Result<Plan, ServiceError> {
        let plan = self.plan()?;
        let (old, new) = (self.folder().join(OLD), self.state());
        for name in &plan.old {
            moved(&self.home, &old, name)?;
        }
        fsx::sync_dir(&old)?;
        fsx::sync_dir(&self.home)?;
        for name in plan.new.iter().filter(|name| new.join(name).symlink_metadata().is_ok()) {
            fs::rename(new.join(name), self.home.join(name))?;
        }
        fsx::sync_dir(&self.home)?;
        fsx::create_private_dir(&plan.audit)?;
        copy_all(&self.logs(), &plan.audit)?;
        Ok(plan)
    }
}

impl Drop for Staging {
    /// What has changed nothing yet is rubbish at once: it would lie beside a state that goes on.
    fn drop(&mut self) {
        if let Ok(false) = has_begun(&self.home)
            && let Err(error) = fs::remove_dir_all(self.folder())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "what a restoration made ready could not be removed; the next start does it");
        }
    }
}

/// Says that a restoration is at its end, and removes what it replaced.
///
/// # Errors
/// The disk.
pub fn completed(staging: Staging) -> Result<(), ServiceError> {
    // The mark first: without it nothing is moved again, and what stays is removed at the next start.
    fs::remove_file(staging.folder().join(READY))?;
    fsx::sync_dir(&staging.folder())?;
    fs::remove_dir_all(staging.folder())?;
    drop(staging);
    Ok(())
}

/// Copies files over those in `to`, each whole or not at all.
fn copy_all(from: &Path, to: &Path) -> Result<(), ServiceError> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fsx::create_private_dir(&target)?;
            copy_all(&entry.path(), &target)?;
        } else {
            let mut file = File::open(entry.path())?;
            fsx::write_atomic_with(&target, |out| io::copy(&mut file, out).map(drop))?;
        }
    }
    Ok(())
}

/// Synchronises a folder and all below.
fn sync(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    fsx::sync_dir(folder)
}
