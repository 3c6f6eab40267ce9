//! Leased steps: which worker does what of which run, and until when.
//!
//! A job exists from the last upload, or the end of a run by hand or fault, until its encodings are deleted. A worker owns it
//! for the time of a lease; whoever finds the lease run out may take the step over, and what the late owner then reports
//! changes nothing.

use linkage_agreement::RunId;
use linkage_common::error::ServiceError;
use linkage_common::store::db;
use sqlx::Row;

use crate::store::{Run, State, Store};

/// A lease or a pause that ends later than this was given before the clock was set back: it would not end in its time.
const SET_BACK_S: i64 = 2 * 3600;

/// The steps of a run's work, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Records that share tokens become candidate pairs, compared inside their blocks.
    Compare,
    /// The custodian says which pairs of the run their owners have settled.
    Settle,
    /// Pairs are weighed and clustered.
    Cluster,
    /// Clusters go to the custodian.
    Deliver,
    /// Encodings are deleted and the deletion signed.
    Delete,
}

impl Step {
    /// The step's name, for people and for the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Compare => "compare",
            Self::Settle => "settle",
            Self::Cluster => "cluster",
            Self::Deliver => "deliver",
            Self::Delete => "delete",
        }
    }
    pub(crate) fn parse(text: &str) -> Result<Self, ServiceError> {
        [Self::Compare, Self::Settle, Self::Cluster, Self::Deliver, Self::Delete]
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| ServiceError::internal("unknown step in the store"))
    }
}

impl Store {
    /// Leases a job that nobody works on to `owner` until `now + lease_s`. Gives how often it was leased since something came of
    /// it, this time included; what was leased in vain a few times gives way to other runs.
    pub async fn lease(&self, owner: &str, now: i64, lease_s: i64) -> Result<Option<(Run, Step, u32)>, ServiceError> {
        let mut tx = self.pool.begin("lease").await.map_err(db)?;
        let row = sqlx::query(
            "SELECT r.*, j.tries AS tries FROM jobs j JOIN runs r USING (run_id)
             WHERE (j.lease_until <= $1 OR j.owner = $2 OR j.lease_until > $3) AND (j.not_before <= $4 OR j.not_before > $5) 
             ORDER BY CASE WHEN j.tries < 3 THEN 0 ELSE 1 END, r.opened_at, r.rowid LIMIT 1",
        )
        .bind(now)
        .bind(owner)
        .bind(now + lease_s + SET_BACK_S)
        .bind(now)
        .bind(now + SET_BACK_S)
        .fetch_optional(&mut *tx)
        .await
        .map_err(db)?;
        let Some(row) = row else { return Ok(None) };
        let run = Self::run_of(&row)?;
        let (step, tries) = (Step::parse(&run.step)?, row.get::<i64, _>("tries") as u32 + 1);
        sqlx::query("UPDATE jobs SET owner = $1, lease_until = $2, tries = tries + 1 WHERE run_id = $3")
            .bind(owner)
            .bind(now + lease_s)
            .bind(run.id.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(Some((run, step, tries)))
    }

    /// Prolongs a lease; `false` when it was lost to another worker.
    pub async fn renew(&self, run: &RunId, owner: &str, until: i64) -> Result<bool, ServiceError> {
        let done = sqlx::query("UPDATE jobs SET lease_until = $1 WHERE run_id = $2 AND owner = $3")
            .bind(until)
            .bind(run.as_str())
            .bind(owner)
            .execute(&self.pool)
            .await
            .map_err(db)?;
        Ok(done.rows_affected() > 0)
    }

    /// Moves a run from the step just done to the next, if `owner` still holds the lease and nobody ended the run meanwhile.
    pub async fn advance(&self, run: &RunId, owner: &str, from: Step, to: Step) -> Result<(), ServiceError> {
        let state = if to == Step::Deliver {
            State::Delivering
        } else if to == Step::Delete {
            State::Closed
        } else {
            State::Linking
        };
        let mut tx = self.pool.begin("advance").await.map_err(db)?;
        let moved = sqlx::query(
            "UPDATE runs SET step = $1, state = $2, reason = '' WHERE run_id = $3 AND step = $4
             AND EXISTS (SELECT 1 FROM jobs WHERE jobs.run_id = runs.run_id AND jobs.owner = $5)",
        )
        .bind(to.as_str())
        .bind(state.as_str())
        .bind(run.as_str())
        .bind(from.as_str())
        .bind(owner)
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        if moved.rows_affected() > 0 {
            // The next step has not been tried yet.
            sqlx::query("UPDATE jobs SET attempts = 0, tries = 0 WHERE run_id = $1")
                .bind(run.as_str())
                .execute(&mut *tx)
                .await
                .map_err(db)?;
        }
        tx.commit().await.map_err(db)
    }

    /// How often a run's step has been tried in vain.
    pub async fn attempts(&self, run: &RunId) -> Result<u32, ServiceError> {
        let row = sqlx::query("SELECT attempts FROM jobs WHERE run_id = $1")
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        Ok(row.map_or(0, |row| row.get::<i64, _>(0) as u32))
    }

    /// Gives a lease back after a fault that may pass; `reason` is shown while the run waits, and not once it has ended.
    pub async fn postpone(&self, run: &RunId, owner: &str, not_before: i64, reason: &str) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("postpone").await.map_err(db)?;
        let mine = sqlx::query(
            "UPDATE jobs SET owner = '', lease_until = 0, attempts = attempts + 1, tries = 0, not_before = $1 WHERE run_id = $2 AND owner = $3",
        )
        .bind(not_before)
        .bind(run.as_str())
        .bind(owner)
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        if mine.rows_affected() > 0 {
            sqlx::query("UPDATE runs SET reason = $1 WHERE run_id = $2 AND state IN ('linking', 'delivering')")
                .bind(reason)
                .bind(run.as_str())
                .execute(&mut *tx)
                .await
                .map_err(db)?;
        }
        tx.commit().await.map_err(db)
    }

    /// Frees the lease of a run that has just been ended, for its deletion to begin at once.
    pub async fn release(&self, run: &RunId, owner: &str) -> Result<(), ServiceError> {
        sqlx::query("UPDATE jobs SET owner = '', lease_until = 0, attempts = 0, tries = 0, not_before = 0 WHERE run_id = $1 AND owner = $2")
            .bind(run.as_str())
            .bind(owner)
            .execute(&self.pool)
            .await
            .map_err(db)?;
        Ok(())
    }

    /// Ends the job of a run whose deletion is recorded: nothing remains to do.
    pub async fn finish(&self, run: &RunId) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("finish").await.map_err(db)?;
        for end in ["DELETE FROM jobs WHERE run_id = $1", "UPDATE runs SET step = '' WHERE run_id = $1"] {
            sqlx::query(end).bind(run.as_str()).execute(&mut *tx).await.map_err(db)?;
        }
        tx.commit().await.map_err(db)
    }
}
