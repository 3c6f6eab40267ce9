//! What a database's answer means to a role.
//!
//! SQLite answers with numbers (<https://sqlite.org/rescode.html>), PostgreSQL with SQLSTATE classes
//! (<https://www.postgresql.org/docs/current/errcodes-appendix.html>). What may pass by itself is told apart from what never
//! will: callers repeat the former. No message shows an address with a password, or a bound value.

use std::path::PathBuf;

use sqlx::migrate::MigrateError;
use sqlx::postgres::PgDatabaseError;

use crate::fsx;

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room is left.
    #[error("disque plein ; faites de la place, rien n'a été écrit à moitié")]
    DiskFull,
    /// Another writer held the database for too long.
    #[error("base de données occupée ; réessayez")]
    Busy,
    /// The database's server does not answer, or is being restarted.
    #[error("serveur de base de données injoignable ; vérifiez qu'il est en marche et que le réseau y mène")]
    Unreachable(#[source] sqlx::Error),
    /// The file cannot be opened as a database.
    #[error("{} : base de données impossible à ouvrir ; vérifiez le chemin et les droits, ou restaurez une sauvegarde", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite or the system answered.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server refused the connection.
    #[error(
        "{server} : connexion à la base de données refusée ; vérifiez le nom de la base, le compte, son mot de passe et « sslrootcert »"
    )]
    Refused {
        /// Host, port and name of the database.
        server: String,
        /// What the server answered.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The schema cannot be brought back that far.
    #[error(
        "la base ne peut revenir en deçà de la version {oldest} de son schéma ; pour aller plus loin, restaurez une sauvegarde"
    )]
    NoWayBack {
        /// The oldest version.
        oldest: i64,
    },
    /// The schema cannot be brought to this program's version.
    #[error(
        "le schéma de la base n'est pas celui de cette version du programme ; installez la version qui l'a écrite, ou une plus récente (linkage database status)"
    )]
    Migration(#[source] MigrateError),
    /// Anything else.
    #[error("la base de données a refusé une opération")]
    Other(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether the same may pass when it is done again.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Busy | Self::Unreachable(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if fsx::is_disk_full_in(&error) {
            return Self::DiskFull;
        }
        match &error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => return Self::Unreachable(error),
            _ => {}
        }
        let Some(answer) = error.as_database_error() else { return Self::Other(error) };
        let code = answer.code().unwrap_or_default().into_owned();
        if answer.try_downcast_ref::<PgDatabaseError>().is_some() {
            return match code.as_str() {
                "53100" => Self::DiskFull,
                // Serialisation failure, deadlock, lock not available in time.
                "40001" | "40P01" | "55P03" => Self::Busy,
                // Shutdown, crash, starting up, too many connections, session ended for idling; class 08 is a lost connection.
                "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "25P03" => Self::Unreachable(error),
                code if code.starts_with("08") => Self::Unreachable(error),
                _ => Self::Other(error),
            };
        }
        // The low byte of the (extended) result code is the primary one.
        match code.parse::<u32>().map(|code| code & 0xff) {
            Ok(13) => Self::DiskFull,
            Ok(5 | 6) => Self::Busy,
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
            MigrateError::ExecuteMigration(error, version) => match Self::from(error) {
                Self::Other(error) => Self::Migration(MigrateError::ExecuteMigration(error, version)),
                known => known,
            },
            other => Self::Migration(other),
        }
    }
}
