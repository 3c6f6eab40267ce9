//! A copy of a database in one file, made while others write to it.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::ServiceError;
use crate::fsx;
use crate::store::{Pool, StoreError};

/// Copies a SQLite database into the file `to`, which must not be there: one state of it, without the pages of deleted rows
/// (<https://sqlite.org/lang_vacuum.html#vacuuminto>). Writers are not held up. The file is its owner's alone when its folder is.
///
/// # Errors
/// The database, or the disk.
pub async fn copy_database(pool: &Pool, to: &Path) -> Result<(), StoreError> {
    let unusable = |what: &str| StoreError::Open { path: to.to_owned(), source: what.to_owned().into() };
    let name = to.to_str().ok_or_else(|| unusable("chemin"))?;
    sqlx::query("VACUUM INTO $1").bind(name).execute(pool).await?;
    // The file is read back at once; what counts is the backup that it goes into.
    if let Some(folder) = to.parent() {
        fsx::sync_dir(folder).map_err(|e| StoreError::Open { path: to.to_owned(), source: e.into() })?;
    }
    Ok(())
}

/// The folder of copies, in the role's own: they are there for as long as they take to be made.
pub const COPIES: &str = ".backup";
const LOCK: &str = "lock";

/// A private folder for copies of databases, removed when it is dropped, or by whoever finds that its owner was killed.
pub struct Copies {
    folder: PathBuf,
    _lock: File,
}

impl Copies {
    /// In `home`, emptied of what a process that was killed left.
    ///
    /// # Errors
    /// Another backup of this role is under way; the disk.
    pub fn begin(home: &Path) -> Result<Self, ServiceError> {
        let folder = home.join(COPIES);
        fsx::create_private_dir(&folder)?;
        let lock = File::options().append(true).create(true).open(folder.join(LOCK))?;
        lock.try_lock().map_err(|_| {
            ServiceError::configuration(
                "une autre sauvegarde de ce rôle est en cours : attendez qu'elle ait fini, puis réessayez",
            )
        })?;
        let copies = Self { folder, _lock: lock };
        for entry in std::fs::read_dir(&copies.folder)? {
            let path = entry?.path();
            if !path.ends_with(LOCK) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(copies)
    }

    /// Path of a copy called `name`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Removes what a backup that was killed left in `home`.
    pub(super) fn sweep(home: &Path) -> Result<(), ServiceError> {
        if home.join(COPIES).try_exists()? {
            // One under way keeps its own.
            drop(Self::begin(home));
        }
        Ok(())
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, "the folder of a backup's copies could not be removed");
        }
    }
}
