//! A role's database: SQLite in a file of its own, or PostgreSQL, under one pool and one text of SQL.
//!
//! Statements are written once, with `$1` placeholders and types that both have; where the two differ, [`Pool::kind`] says
//! which it is. Numbers are read as `i64`, truth values kept as 0 and 1.
//!
//! Writers are in line in both: [`Pool::begin`] takes the database's write lock (`BEGIN IMMEDIATE`; an advisory lock of the
//! transaction in PostgreSQL) before anything is read, so that what a transaction reads holds until it commits, and none
//! ever fails for another's sake. What may fail is the beginning, for a lock held too long or a server that restarts: it is
//! repeated, and named in the log. A transaction whose connection is lost in its middle has not happened, and its caller is
//! told to repeat it.
//!
//! * SQLite: write-ahead log with `synchronous = FULL`: a commit that was acknowledged survives a loss of power. A node
//!   forgets a batch once the broker has acknowledged it, so `NORMAL`, which may lose the last commits, would lose records
//!   (<https://sqlite.org/pragma.html#pragma_synchronous>). `secure_delete`: deleted rows are overwritten with zeros, since
//!   agreements promise deletion; [`checkpoint`] does the same for the write-ahead log. The file has mode 0600; SQLite gives
//!   its journal and log the same.
//! * PostgreSQL: commits are synchronous by its defaults. Deleted rows leave its pages when they are vacuumed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyQueryResult, AnyStatement, AnyTypeInfo};
use sqlx::migrate::Migrator;
use sqlx::{Any, AnyPool, ConnectOptions as _, Either, Execute, Executor, Row as _, SqlStr};

use crate::batches::HeldBatch;
use crate::database::{Place, Server};
use crate::error::ServiceError;
use crate::fsx;

mod error;
mod rows;
#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use rows::{InsertRows, Values};

/// A connection, or the one of a transaction.
pub type Connection = sqlx::AnyConnection;
/// A row that was read.
pub type Row = sqlx::any::AnyRow;
/// A transaction under way: rolled back unless committed.
pub type Transaction<'c> = sqlx::Transaction<'c, Any>;

/// Connections to a SQLite file: it lets one write at a time; the others read.
const CONNECTIONS: u32 = 8;
/// How long a connection is waited for.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a server is tried when a process starts, once a second.
const START_ATTEMPTS: u32 = 30;
/// How often a transaction is begun before its caller is told to repeat it.
const ATTEMPTS: u32 = 4;
/// First pause before it is begun again; it doubles each time, and as much again at random is added.
const PAUSE: Duration = Duration::from_millis(100);

/// Of every connection to SQLite, before anything else: a writer waits for another one ten seconds.
const SQLITE_SESSION: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;";
/// Of every connection to PostgreSQL. A replica that vanished with its machine gives its lock back when the server notices.
const POSTGRES_SESSION: &str = "SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s';
    SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;
    SET client_min_messages = warning;";

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A SQLite file.
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
}

/// The schema of a role, in both databases' words, made by `sqlx::migrate!()` in the role's crate.
#[derive(Debug)]
pub struct Schema {
    /// The role, for messages.
    pub role: &'static str,
    /// For SQLite.
    pub sqlite: Migrator,
    /// For PostgreSQL; versions are those of SQLite's.
    pub postgres: Migrator,
    /// What else a connection to SQLite is told, as `PRAGMA cache_size`; may be empty.
    pub sqlite_session: &'static str,
}

impl Schema {
    /// The migrations of one of the databases.
    pub fn of(&self, kind: Kind) -> &Migrator {
        match kind {
            Kind::Sqlite => &self.sqlite,
            Kind::Postgres => &self.postgres,
        }
    }
    /// This program's version.
    pub fn latest(&self) -> i64 {
        self.sqlite.iter().map(|migration| migration.version).max().unwrap_or_default()
    }
    /// The oldest version that a database can be brought back to.
    pub fn oldest(&self, kind: Kind) -> i64 {
        let ways_back = self.of(kind).iter().filter(|migration| migration.migration_type.is_down_migration());
        let ways_back: Vec<i64> = ways_back.map(|migration| migration.version).collect();
        let forward = self.of(kind).iter().filter(|migration| !migration.migration_type.is_down_migration());
        forward.map(|migration| migration.version).filter(|version| !ways_back.contains(version)).max().unwrap_or_default()
    }
}

/// The pool of connections to a role's database.
#[derive(Clone)]
pub struct Pool {
    inner: AnyPool,
    place: Arc<Place>,
    retries: Arc<AtomicU64>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("place", &self.place).field("size", &self.inner.size()).finish_non_exhaustive()
    }
}

impl Pool {
    /// Opens the database at `place` and brings it to `schema`; a SQLite file is made when absent, as are its directories.
    ///
    /// # Errors
    /// [`StoreError::Open`], [`StoreError::Refused`], [`StoreError::Migration`] for a schema newer than this program, which
    /// is then left as it is.
    pub async fn open(place: &Place, schema: &Schema) -> Result<Self, StoreError> {
        let pool = Self::connect(place, schema.sqlite_session).await?;
        pool.migrate(schema).await?;
        Ok(pool)
    }

    /// Opens the database at `place` with the schema that it has.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn connect(place: &Place, sqlite_session: &'static str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let inner = match place {
            Place::File(path) => open_file(path, sqlite_session).await?,
            Place::Server(server) => open_server(server).await?,
        };
        Ok(Self { inner, place: Arc::new(place.clone()), retries: Arc::default() })
    }

    /// Which database it is.
    pub fn kind(&self) -> Kind {
        match *self.place {
            Place::File(_) => Kind::Sqlite,
            Place::Server(_) => Kind::Postgres,
        }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// How many transactions had to be begun again so far.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Closes all connections: a SQLite file is then whole without its write-ahead log.
    pub async fn close(&self) {
        self.inner.close().await;
    }

    /// A connection, for what is read over several statements.
    ///
    /// # Errors
    /// None could be had in time.
    pub async fn acquire(&self) -> Result<sqlx::pool::PoolConnection<Any>, sqlx::Error> {
        self.inner.acquire().await
    }

    /// Begins a transaction that writes: no other one is under way until it ends. `name` says in the log what is done.
    ///
    /// # Errors
    /// The lock could not be had, or the server not be reached, over several attempts.
    pub async fn begin(&self, name: &'static str) -> Result<Transaction<'static>, sqlx::Error> {
        let mut attempt = 1;
        loop {
            match self.begin_once().await {
                Ok(transaction) => return Ok(transaction),
                Err(error) => self.pause(name, attempt, error).await?,
            }
            attempt += 1;
        }
    }

    /// As [`Self::begin`], on a connection that is held already, and in one attempt.
    ///
    /// # Errors
    /// The lock could not be had.
    pub async fn begin_on<'c>(&self, connection: &'c mut Connection) -> Result<Transaction<'c>, sqlx::Error> {
        let mut transaction = sqlx::Connection::begin_with(connection, self.begin_words()).await?;
        self.lock(&mut transaction).await?;
        Ok(transaction)
    }

    /// Begins a transaction that reads one state of the database, whatever is written meanwhile.
    ///
    /// # Errors
    /// The database's.
    pub async fn snapshot(&self) -> Result<Transaction<'static>, sqlx::Error> {
        let words = match self.kind() {
            Kind::Sqlite => "BEGIN",
            Kind::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        self.inner.begin_with(words).await
    }

    async fn begin_once(&self) -> Result<Transaction<'static>, sqlx::Error> {
        let mut transaction = self.inner.begin_with(self.begin_words()).await?;
        self.lock(&mut transaction).await?;
        Ok(transaction)
    }

    fn begin_words(&self) -> &'static str {
        match self.kind() {
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }

    /// PostgreSQL's write lock: of the schema, until the transaction ends.
    async fn lock(&self, connection: &mut Connection) -> Result<(), sqlx::Error> {
        if self.kind() == Kind::Postgres {
            // The first number is this program's: other programs' advisory locks have others.
            sqlx::query("SELECT pg_advisory_xact_lock(1818848875, hashtext(current_schema()))").execute(connection).await?;
        }
        Ok(())
    }

    /// Waits before attempt `attempt + 1`, or gives the error back that ended the last one.
    async fn pause(&self, name: &'static str, attempt: u32, error: sqlx::Error) -> Result<(), sqlx::Error> {
        let passing = match StoreError::from(error) {
            StoreError::Unreachable(error) => StoreError::Unreachable(error),
            StoreError::Busy => StoreError::Busy,
            StoreError::Other(error) => return Err(error),
            StoreError::DiskFull => return Err(sqlx::Error::Io(std::io::ErrorKind::StorageFull.into())),
            other => return Err(sqlx::Error::Configuration(other.into())),
        };
        if attempt >= ATTEMPTS {
            return Err(match passing {
                StoreError::Unreachable(error) => error,
                _ => sqlx::Error::PoolTimedOut,
            });
        }
        self.retries.fetch_add(1, Ordering::Relaxed);
        crate::metrics::metrics().database_retry(name);
        tracing::warn!(transaction = name, attempt, cause = %passing, "the transaction is begun again");
        let pause = PAUSE * 2_u32.pow(attempt - 1);
        // Without randomness two replicas would meet again.
        let jitter = getrandom::u64().unwrap_or_default() % (pause.as_millis() as u64 + 1);
        tokio::time::sleep(pause + Duration::from_millis(jitter)).await;
        Ok(())
    }

    /// The newest migration that the database has had; 0 for an empty one.
    ///
    /// # Errors
    /// The database's.
    pub async fn version(&self) -> Result<i64, StoreError> {
        let there = match self.kind() {
            Kind::Sqlite => "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'",
            Kind::Postgres => "SELECT count(*) FROM pg_class WHERE oid = to_regclass('_sqlx_migrations')",
        };
        if sqlx::query_scalar::<_, i64>(there).fetch_one(self).await? == 0 {
            return Ok(0);
        }
        Ok(sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations").fetch_one(self).await?)
    }

    /// Brings the schema to `target`, forward or back. Back, what later versions added is deleted.
    ///
    /// # Errors
    /// [`StoreError::NoWayBack`] below the oldest version that can be gone back to, and as [`Self::migrate`].
    pub async fn migrate_to(&self, schema: &Schema, target: i64) -> Result<(), StoreError> {
        let version = self.version().await?;
        if target >= version {
            return self.bring_to(schema, target).await;
        }
        if version > schema.latest() {
            return Err(StoreError::Migration(sqlx::migrate::MigrateError::VersionMissing(version)));
        }
        let oldest = schema.oldest(self.kind());
        if target < oldest {
            return Err(StoreError::NoWayBack { oldest });
        }
        self.bring_to(schema, target).await
    }

    /// Brings the schema to this program's version. One process migrates at a time.
    ///
    /// A service and a command may open a new database at the same moment. SQLite gives a migrator no lock that lasts over
    /// several transactions, so one beside the file is held: not on it, for the system forgets SQLite's own locks on a file as
    /// soon as the process closes any other descriptor of it (<https://sqlite.org/howtocorrupt.html>, section 2.2).
    /// PostgreSQL has a lock of the session, which the migrator takes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn migrate(&self, schema: &Schema) -> Result<(), StoreError> {
        let (mut connection, lock) = self.alone_to_migrate().await?;
        // Directly: of what a migrator asks of its connection otherwise the compiler cannot tell that it may change threads.
        let migrated = schema.of(self.kind()).run_direct(None, &mut *connection, false).await;
        Self::migrated(connection, lock, migrated).await
    }

    async fn bring_to(&self, schema: &Schema, target: i64) -> Result<(), StoreError> {
        let (mut connection, lock) = self.alone_to_migrate().await?;
        let migrator = schema.of(self.kind());
        let migrated = match migrator.run_to(target, &mut *connection).await {
            Ok(()) => migrator.undo(&mut *connection, target).await,
            refused => refused,
        };
        Self::migrated(connection, lock, migrated).await
    }

    async fn alone_to_migrate(&self) -> Result<(sqlx::pool::PoolConnection<Any>, Option<std::fs::File>), StoreError> {
        let lock = match &*self.place {
            Place::File(path) => Some(lock_of(path).await?),
            Place::Server(_) => None,
        };
        let mut connection = self.acquire().await?;
        if self.kind() == Kind::Postgres {
            // Another replica may migrate for longer than a transaction waits for its lock.
            sqlx::query("SET lock_timeout = '30min'").execute(&mut *connection).await?;
        }
        Ok((connection, lock))
    }

    async fn migrated(
        connection: sqlx::pool::PoolConnection<Any>,
        lock: Option<std::fs::File>,
        migrated: Result<(), sqlx::migrate::MigrateError>,
    ) -> Result<(), StoreError> {
        // With it goes the session's lock, which a migrator that failed keeps, and its long patience.
        let closed = connection.close().await;
        drop(lock);
        migrated?;
        Ok(closed?)
    }
}

impl<'p> Executor<'p> for &'_ Pool {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<AnyQueryResult, Row>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Any>,
    {
        self.inner.fetch_many(query)
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<Row>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Any>,
    {
        self.inner.fetch_optional(query)
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [AnyTypeInfo]) -> BoxFuture<'e, Result<AnyStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        self.inner.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<Any>, sqlx::Error>>
    where
        'p: 'e,
    {
        self.inner.describe(sql)
    }
}

/// A SQLite file with the schema that it has.
///
/// # Errors
/// [`StoreError::Open`], or [`StoreError::DiskFull`].
pub async fn open_sqlite(path: &Path) -> Result<Pool, StoreError> {
    Pool::connect(&Place::File(path.to_owned()), "").await
}

async fn open_file(path: &Path, session: &'static str) -> Result<AnyPool, StoreError> {
    let unusable = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Open { path: path.to_owned(), source };
    create_private(path).map_err(|e| if fsx::is_disk_full(&e) { StoreError::DiskFull } else { unusable(e.into()) })?;
    let options: AnyConnectOptions = sqlite_url(path).parse().map_err(|e: sqlx::Error| unusable(e.into()))?;
    let known = |e: sqlx::Error| match StoreError::from(e) {
        StoreError::Other(e) => unusable(e.into()),
        known => known,
    };
    // A new file passes to the write-ahead log here. Of two processes that ask for it together SQLite refuses one, at once.
    let lock = lock_of(path).await?;
    let opened = first(&options, [SQLITE_SESSION, session]).await.map_err(known);
    drop(lock);
    opened?;
    Ok(pool_of(options, CONNECTIONS, [SQLITE_SESSION, session]))
}

async fn open_server(server: &Server) -> Result<AnyPool, StoreError> {
    let refused = |e: sqlx::Error| match StoreError::from(e) {
        StoreError::Other(e) => StoreError::Refused { server: server.to_string(), source: e.into() },
        known => known,
    };
    let options: AnyConnectOptions = server.url().parse().map_err(refused)?;
    let session = [POSTGRES_SESSION, ""];
    let mut attempts = 0;
    // A server that starts at the same time as this process is waited for.
    while let Err(error) = first(&options, session).await.map_err(refused) {
        attempts += 1;
        if !error.is_passing() || attempts >= START_ATTEMPTS {
            return Err(error);
        }
        tracing::warn!(%server, cause = %error, "the database's server is waited for");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(pool_of(options, server.connections, session))
}

/// Connects once and ends: a pool would try for long whatever the reason, and not tell it.
async fn first(options: &AnyConnectOptions, session: [&'static str; 2]) -> Result<(), sqlx::Error> {
    let mut connection = options.connect().await?;
    for words in session {
        connection.execute(words).await?;
    }
    sqlx::Connection::close(connection).await
}

fn pool_of(options: AnyConnectOptions, connections: u32, session: [&'static str; 2]) -> AnyPool {
    let pool = AnyPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT).after_connect(
        move |connection, _| {
            Box::pin(async move {
                for words in session {
                    (&mut *connection).execute(words).await?;
                }
                Ok(())
            })
        },
    );
    pool.connect_lazy_with(options)
}

/// The address of a file: every byte but letters, digits and a few signs is escaped, so that `?`, `#` and `%` stay part of
/// the name.
fn sqlite_url(path: &Path) -> String {
    let mut url = "sqlite://".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => url.push(char::from(*byte)),
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url
}

async fn lock_of(path: &Path) -> Result<std::fs::File, StoreError> {
    let database: PathBuf = path.to_owned();
    let lock = tokio::task::spawn_blocking(move || lock_beside(&database)).await.map_err(std::io::Error::other).flatten();
    lock.map_err(|e| StoreError::Open { path: path.to_owned(), source: e.into() })
}

/// Moves SQLite's write-ahead log into the database and empties it, so that what was deleted is on no page of it.
/// PostgreSQL cleans its pages by itself.
///
/// # Errors
/// [`StoreError::Busy`] when a reader keeps the log in use.
pub async fn checkpoint(pool: &Pool) -> Result<(), StoreError> {
    if pool.kind() == Kind::Postgres {
        return Ok(());
    }
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
pub fn held_batches(rows: &[Row]) -> Vec<HeldBatch> {
    let held =
        |row: &Row| HeldBatch { sequence: row.get::<i64, _>(0) as u32, records: row.get::<i64, _>(1) as u64, digest: row.get(2) };
    rows.iter().map(held).collect()
}

/// As [`checkpoint`], after a deletion that has taken place already: a log in use is emptied at the next occasion.
pub async fn scrub(pool: &Pool) {
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
