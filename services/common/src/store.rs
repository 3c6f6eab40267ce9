//! SQLite opened the one way that every role needs.
//!
//! * Write-ahead log with `synchronous = FULL`: a commit that was acknowledged survives a loss of power. A
//!   node forgets a batch once the broker has acknowledged it, so `NORMAL`, which may lose the last commits,
//!   would lose records (<https://sqlite.org/pragma.html#pragma_synchronous>).
//! * `secure_delete`: deleted rows are overwritten with zeros, since agreements promise deletion;
//!   [`checkpoint`] does the same for the write-ahead log.
//! * The file has mode 0600; SQLite gives its journal and log the same.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::Row;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous};

use crate::batches::HeldBatch;
use crate::error::ServiceError;
use crate::fsx;

/// How long a writer waits for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// SQLite lets one connection write at a time; the others read.
const CONNECTIONS: u32 = 8;

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room is left.
    #[error("disque plein ; faites de la place, rien n'a été écrit à moitié")]
    DiskFull,
    /// Another writer held the database for too long.
    #[error("base de données occupée ; réessayez")]
    Busy,
    /// The file cannot be opened as a database.
    #[error("{} : base de données impossible à ouvrir ; vérifiez le chemin et les droits, ou restaurez une sauvegarde", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite or the system answered.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The schema cannot be brought to this program's version.
    #[error(
        "le schéma de la base n'est pas celui de cette version du programme ; installez la version qui l'a écrite, ou une plus récente"
    )]
    Migration(#[source] MigrateError),
    /// Anything else.
    #[error("la base de données a refusé une opération")]
    Other(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if fsx::is_disk_full_in(&error) {
            return Self::DiskFull;
        }
        // The low byte of the (extended) result code is the primary one: https://sqlite.org/rescode.html
        let primary = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .and_then(|code| code.parse::<u32>().ok())
            .map(|code| code & 0xff);
        match primary {
            Some(13) => Self::DiskFull,
            Some(5 | 6) => Self::Busy,
            _ => Self::Other(error),
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) => match Self::from(error) {
                Self::Other(error) => Self::Migration(MigrateError::Execute(error)),
                known => known,
            },
            other => Self::Migration(other),
        }
    }
}

/// Opens the database at `path`, made when absent (as are its directories).
///
/// # Errors
/// [`StoreError::Open`], or [`StoreError::DiskFull`].
pub async fn open_sqlite(path: &Path) -> Result<SqlitePool, StoreError> {
    create_private(path).map_err(|e| {
        if fsx::is_disk_full(&e) { StoreError::DiskFull } else { StoreError::Open { path: path.to_owned(), source: e.into() } }
    })?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("secure_delete", "ON");
    SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await.map_err(|e| match StoreError::from(e) {
        StoreError::Other(e) => StoreError::Open { path: path.to_owned(), source: e.into() },
        known => known,
    })
}

/// Brings the schema to the version of `migrator`, made by `sqlx::migrate!()` in the role's crate.
///
/// A service and a command may open a new database at the same moment. SQLite gives a migrator no lock that lasts over
/// several transactions, so one beside the file is held: not on it, for the system forgets SQLite's own locks on a file as
/// soon as the process closes any other descriptor of it (<https://sqlite.org/howtocorrupt.html>, section 2.2).
///
/// # Errors
/// [`StoreError`].
pub async fn migrate(pool: &SqlitePool, migrator: &Migrator) -> Result<(), StoreError> {
    let database = pool.connect_options().get_filename().to_owned();
    let lock = tokio::task::spawn_blocking(move || lock_beside(&database)).await.map_err(std::io::Error::other).flatten();
    let lock = lock.map_err(|e| StoreError::Open { path: pool.connect_options().get_filename().to_owned(), source: e.into() })?;
    let migrated = migrator.run(pool).await.map_err(StoreError::from);
    drop(lock);
    migrated
}

/// Moves the write-ahead log into the database and empties it, so that what was deleted is on no page of it.
///
/// # Errors
/// [`StoreError::Busy`] when a reader keeps the log in use.
pub async fn checkpoint(pool: &SqlitePool) -> Result<(), StoreError> {
    let (busy, _, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(pool).await?;
    if busy == 0 { Ok(()) } else { Err(StoreError::Busy) }
}

/// A failed statement, as a role answers it.
pub fn db(error: sqlx::Error) -> ServiceError {
    ServiceError::from(error)
}

/// An identifier that this role wrote itself.
///
/// # Errors
/// `Internal`: the file was changed by something else.
pub fn id<T: FromStr>(text: &str) -> Result<T, ServiceError> {
    text.parse().map_err(|_| ServiceError::internal("malformed identifier in the store"))
}

/// Batches from rows of sequence, records, digest.
pub fn held_batches(rows: &[SqliteRow]) -> Vec<HeldBatch> {
    let held = |row: &SqliteRow| HeldBatch {
        sequence: row.get::<i64, _>(0) as u32,
        records: row.get::<i64, _>(1) as u64,
        digest: row.get(2),
    };
    rows.iter().map(held).collect()
}

/// As [`checkpoint`], after a deletion that has taken place already: a log in use is emptied at the next occasion.
pub async fn scrub(pool: &SqlitePool) {
    if let Err(error) = checkpoint(pool).await {
        tracing::warn!(%error, "the write-ahead log could not be emptied now; deleted rows stay on its pages until it is");
    }
}

fn create_private(path: &Path) -> std::io::Result<()> {
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        fsx::create_private_dir(dir)?;
    }
    open_private(path).map(drop)
}

/// Waits for the lock beside `database`; it is held until the file is closed, by whatever end the process comes to.
fn lock_beside(database: &Path) -> std::io::Result<std::fs::File> {
    let file = open_private(&database.with_added_extension("lock"))?;
    file.lock()?;
    Ok(file)
}

fn open_private(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_settings_hold_on_every_connection() {
        let dir = tempfile::tempdir().unwrap();
        let pool = open_sqlite(&dir.path().join("new/dir/role.db")).await.unwrap();
        let first = pool.acquire().await.unwrap();
        for mut connection in [first, pool.acquire().await.unwrap()] {
            for (pragma, expected) in [
                ("PRAGMA synchronous", 2),
                ("PRAGMA foreign_keys", 1),
                ("PRAGMA secure_delete", 1),
                ("PRAGMA busy_timeout", 10_000),
            ] {
                let value: i64 = sqlx::query_scalar(pragma).fetch_one(&mut *connection).await.unwrap();
                assert_eq!(value, expected, "{pragma}");
            }
            let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await.unwrap();
            assert_eq!(mode, "wal");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn no_file_of_the_database_can_be_read_by_others_and_deleted_rows_are_gone_from_all() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let pool = open_sqlite(&dir.path().join("role.db")).await.unwrap();
        sqlx::query("CREATE TABLE t (v TEXT)").execute(&pool).await.unwrap();
        sqlx::query("INSERT INTO t VALUES ('a token to forget')").execute(&pool).await.unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.file_name());
        }
        sqlx::query("DELETE FROM t").execute(&pool).await.unwrap();
        checkpoint(&pool).await.unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(8).any(|w| w == b"a token "));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn those_who_open_a_new_database_together_all_find_it_migrated() {
        let dir = tempfile::tempdir().unwrap();
        let migrations = dir.path().join("migrations");
        std::fs::create_dir(&migrations).unwrap();
        for number in 1..=4 {
            let file = migrations.join(format!("{number}_t.sql"));
            std::fs::write(file, format!("CREATE TABLE t{number} (v INTEGER); INSERT INTO t{number} VALUES (1);")).unwrap();
        }
        let migrator = Migrator::new(migrations).await.unwrap();
        for round in 0..10 {
            let path = dir.path().join(format!("{round}.db"));
            let open = || async {
                let pool = open_sqlite(&path).await?;
                migrate(&pool, &migrator).await?;
                Ok::<i64, StoreError>(sqlx::query_scalar("SELECT count(*) FROM t4").fetch_one(&pool).await?)
            };
            let counts = futures::future::join_all((0..6).map(|_| open())).await;
            assert!(counts.iter().all(|c| matches!(c, Ok(1))), "{counts:?}");
        }
    }

    #[tokio::test]
    async fn a_full_database_is_a_full_disk_and_a_foreign_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let pool = open_sqlite(&dir.path().join("small.db")).await.unwrap();
        let mut connection = pool.acquire().await.unwrap();
        sqlx::query("CREATE TABLE t (v BLOB)").execute(&mut *connection).await.unwrap();
        sqlx::query("PRAGMA max_page_count = 4").execute(&mut *connection).await.unwrap();
        let error = sqlx::query("INSERT INTO t VALUES (zeroblob(1000000))").execute(&mut *connection).await.unwrap_err();
        assert!(matches!(StoreError::from(error), StoreError::DiskFull));

        let foreign = dir.path().join("foreign.db");
        std::fs::write(&foreign, [b'x'; 4096]).unwrap();
        assert!(matches!(open_sqlite(&foreign).await, Err(StoreError::Open { path, .. }) if path == foreign));
    }
}
