//! A role's certificates in its database, for roles of which several processes may serve: one series over all of them.
//!
//! The draft goes into the table in the very transaction that deletes, so that one is never without the other; it is signed
//! after, once the log of the database is emptied. Each process copies what is signed into its own folder
//! ([`super::series`]), where operators find it.

use linkage_agreement::{Agreement, RunId};
use sqlx::Row;

use super::series::Series;
use super::{Draft, sign};
use crate::error::ServiceError;
use crate::signer::Signer;
use crate::store::{Connection, Pool, db, scrub};

/// Notes within a transaction what it deletes. A draft for a run that has one changes nothing.
///
/// # Errors
/// The database's.
pub async fn note(connection: &mut Connection, draft: &Draft) -> Result<(), ServiceError> {
    let text = serde_json::to_string(draft).map_err(ServiceError::internal)?;
    sqlx::query(
        "INSERT INTO certificates (number, run_id, draft)
         SELECT coalesce(max(number), 0) + 1, $1, $2 FROM certificates HAVING NOT EXISTS (SELECT 1 FROM certificates c WHERE c.run_id = $1)",
    )
    .bind(draft.run.as_ref().map(|run| run.as_str().to_owned()))
    .bind(text)
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// As [`note`], for what was deleted outside the database.
///
/// # Errors
/// The database's.
pub async fn note_outside(pool: &Pool, draft: &Draft) -> Result<(), ServiceError> {
    let mut tx = pool.begin("note_deletion").await.map_err(db)?;
    note(&mut tx, draft).await?;
    tx.commit().await.map_err(db)
}

/// Signs what was noted and is not signed yet, and copies what is signed into `series`.
///
/// # Errors
/// The database's, or the disk's.
pub async fn certify(
    pool: &Pool,
    series: &Series,
    signer: &Signer,
    agreement: &Agreement,
    now: jiff::Timestamp,
) -> Result<(), ServiceError> {
    let open = sqlx::query("SELECT number, draft FROM certificates WHERE document = '' ORDER BY number");
    let open = open.fetch_all(pool).await.map_err(db)?;
    if !open.is_empty() {
        // Before it is certified nothing of it is on any page of the log.
        scrub(pool).await;
    }
    for row in &open {
        let (number, draft): (i64, String) = (row.get(0), row.get(1));
        let draft: Draft = serde_json::from_str(&draft).map_err(ServiceError::internal)?;
        let document = sign(signer, agreement, &draft, number.unsigned_abs(), now)?;
        let signed = sqlx::query("UPDATE certificates SET document = $1 WHERE number = $2 AND document = ''")
            .bind(document)
            .bind(number)
            .execute(pool)
            .await
            .map_err(db)?;
        if signed.rows_affected() > 0 {
            tracing::info!(number, rule = draft.rule, cause = ?draft.cause, "data deleted, certificate signed");
        }
    }
    let last = i64::try_from(series.last()?).map_err(ServiceError::internal)?;
    let new = sqlx::query("SELECT number, document FROM certificates WHERE number > $1 AND document <> '' ORDER BY number");
    for row in new.bind(last).fetch_all(pool).await.map_err(db)? {
        let document: String = row.get(1);
        series.mirror(row.get::<i64, _>(0).unsigned_abs(), &document)?;
    }
    Ok(())
}

/// The certificate of a run's data, once it is signed.
///
/// # Errors
/// The database's.
pub async fn of_run(pool: &Pool, run: &RunId) -> Result<Option<String>, ServiceError> {
    let row = sqlx::query("SELECT document FROM certificates WHERE run_id = $1 AND document <> ''")
        .bind(run.as_str())
        .fetch_optional(pool)
        .await
        .map_err(db)?;
    Ok(row.map(|row| row.get(0)))
}
