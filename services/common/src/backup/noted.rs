//! Restorations, noted in the database that they put back.
//!
//! A role of several processes has one database, and for each process a folder and an audit log. Whoever restores it sees one folder: what
//! the others are to know is in the database (table `restorations`). One that is begun and not complete keeps them from starting;
//! of a complete one each enters in its own log that it took place ([`crate::audit::AuditLog::since`]). A restoration is called by its
//! moment ([`crate::audit::restoration`]).

use crate::error::ServiceError;
use crate::store::{Connection, Pool, db};

/// Notes that the restoration `moment` has begun. May be repeated.
///
/// # Errors
/// The database's.
pub async fn note_begun(pool: &Pool, moment: &str) -> Result<(), ServiceError> {
    let begun = "INSERT INTO restorations (moment, complete) VALUES ($1, 0) ON CONFLICT (moment) DO NOTHING";
    sqlx::query(begun).bind(moment).execute(pool).await.map_err(db)?;
    Ok(())
}

/// Notes, in the transaction of `connection`, that the restoration `moment` is complete, and that others that were not are given up.
/// Whether it was not complete before.
///
/// # Errors
/// The database's.
pub async fn note_complete(connection: &mut Connection, moment: &str) -> Result<bool, ServiceError> {
    let given_up = "DELETE FROM restorations WHERE complete = 0 AND moment <> $1";
    sqlx::query(given_up).bind(moment).execute(&mut *connection).await.map_err(db)?;
    let complete = "INSERT INTO restorations (moment, complete) VALUES ($1, 1)
         ON CONFLICT (moment) DO UPDATE SET complete = 1 WHERE restorations.complete = 0";
    Ok(sqlx::query(complete).bind(moment).execute(connection).await.map_err(db)?.rows_affected() > 0)
}

/// The last restoration that this database went through.
///
/// # Errors
/// `Configuration` while one is not complete; the database's.
pub async fn last_noted(pool: &Pool) -> Result<Option<String>, ServiceError> {
    let begun = "SELECT count(*) FROM restorations WHERE complete = 0";
    if sqlx::query_scalar::<_, i64>(begun).fetch_one(pool).await.map_err(db)? > 0 {
        return Err(ServiceError::configuration(format!(
            "{} : restauration inachevée de cette base ; relancez, là où elle a été commencée, la même commande « linkage backup restore », qui l'achève, ou recommencez-la si ce qu'elle avait préparé est perdu (docs/sauvegarde.md)",
            pool.place()
        )));
    }
    sqlx::query_scalar("SELECT max(moment) FROM restorations").fetch_one(pool).await.map_err(db)
}
