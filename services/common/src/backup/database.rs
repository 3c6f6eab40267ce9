//! A copy of a database in one file, made while others write to it.

use std::path::Path;

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
