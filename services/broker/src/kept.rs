//! Runs that are held after their close for increments, and until when.
//!
//! One run of an agreement is held at a time: a newer one that is closed takes its place. What is held is deleted, and the deletion
//! signed, as that of any run; here is only decided when. Increments that still collect against it end with it.

use linkage_agreement::RunId;
use linkage_common::error::ServiceError;
use linkage_common::store::{Connection, db};

use crate::store::{State, Store, end};

/// Why an increment ends whose base is deleted.
pub(crate) const NO_BASE: &str = "le traitement de base n'est plus détenu par le courtier ; ouvrez un traitement complet";

/// Has a held run deleted. `?1` is the run.
const RELEASE: [&str; 2] = [
    "UPDATE runs SET released = 1, held_until = NULL, step = 'delete' WHERE run_id = $1",
    "INSERT INTO jobs (run_id) VALUES ($1) ON CONFLICT DO NOTHING",
];

impl Store {
    /// Whether there is a run of that name.
    pub async fn knows(&self, run: &RunId) -> Result<bool, ServiceError> {
        let row = sqlx::query("SELECT 1 FROM runs WHERE run_id = $1").bind(run.as_str()).fetch_optional(&self.pool).await;
        Ok(row.map_err(db)?.is_some())
    }

    /// Whether a run is of the agreement with this hash.
    pub async fn is_under(&self, run: &RunId, agreement: &[u8]) -> Result<bool, ServiceError> {
        let row = sqlx::query("SELECT 1 FROM runs WHERE run_id = $1 AND agreement = $2")
            .bind(run.as_str())
            .bind(agreement)
            .fetch_optional(&self.pool)
            .await;
        Ok(row.map_err(db)?.is_some())
    }

    /// Holds a closed run that its coordinator ordered to be kept, until `until`; older held runs of its agreement are let go.
    /// `Ok(false)` when it is not to be held, or not any more.
    pub async fn hold(&self, run: &RunId, until: i64) -> Result<bool, ServiceError> {
        let mut tx = self.pool.begin("hold").await.map_err(db)?;
        let held = sqlx::query(
            "UPDATE runs SET held_until = $1, step = '' WHERE run_id = $2 AND kept = 1 AND released = 0 AND state = 'closed'",
        )
        .bind(until)
        .bind(run.as_str())
        .execute(&mut *tx)
        .await
        .map_err(db)?
        .rows_affected()
            > 0;
        if held {
            sqlx::query("DELETE FROM jobs WHERE run_id = $1").bind(run.as_str()).execute(&mut *tx).await.map_err(db)?;
            let older = "SELECT run_id FROM runs WHERE held_until IS NOT NULL AND run_id <> $1
                         AND agreement = (SELECT agreement FROM runs WHERE run_id = $1)";
            release_all(&mut tx, sqlx::query_scalar(older).bind(run.as_str())).await?;
        }
        tx.commit().await.map_err(db)?;
        Ok(held)
    }

    /// Has what a held run keeps deleted, or would keep once it is held; `Ok(false)` when it keeps nothing.
    pub async fn let_go(&self, run: &RunId) -> Result<bool, ServiceError> {
        let mut tx = self.pool.begin("let_go").await.map_err(db)?;
        let held = "SELECT run_id FROM runs WHERE held_until IS NOT NULL AND run_id = $1";
        let released = release_all(&mut tx, sqlx::query_scalar(held).bind(run.as_str())).await?;
        // Closed a moment ago: its deletion is under way as a job, and then holds nothing back.
        let spared = sqlx::query(
            "UPDATE runs SET released = 1 WHERE run_id = $1 AND kept = 1 AND state = 'closed' AND held_until IS NULL AND released = 0",
        )
        .bind(run.as_str())
        .execute(&mut *tx)
        .await
        .map_err(db)?
        .rows_affected();
        tx.commit().await.map_err(db)?;
        Ok(released > 0 || spared > 0)
    }

    /// Has those held runs deleted whose time is over.
    pub async fn expire(&self, now: i64) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("expire").await.map_err(db)?;
        let over = "SELECT run_id FROM runs WHERE held_until <= $1";
        release_all(&mut tx, sqlx::query_scalar(over).bind(now)).await?;
        tx.commit().await.map_err(db)
    }
}

type Runs<'q> = sqlx::query::QueryScalar<'q, sqlx::Any, String, sqlx::any::AnyArguments>;

async fn release_all(connection: &mut Connection, runs: Runs<'_>) -> Result<usize, ServiceError> {
    let runs = runs.fetch_all(&mut *connection).await.map_err(db)?;
    for run in &runs {
        for statement in RELEASE {
            sqlx::query(statement).bind(run).execute(&mut *connection).await.map_err(db)?;
        }
        // What still collects against it could never be linked, and would hold its uploads until its own time is over.
        let collecting = sqlx::query_scalar("SELECT run_id FROM runs WHERE base_run = $1 AND state = 'collecting'").bind(run);
        let collecting: Vec<String> = collecting.fetch_all(&mut *connection).await.map_err(db)?;
        for increment in &collecting {
            end(&mut *connection, increment, State::Failed, NO_BASE).await?;
        }
    }
    Ok(runs.len())
}
