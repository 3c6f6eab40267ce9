//! A registry that comes from a backup: what it must not repeat.
//!
//! Person ids are 128 random bits and given once, restored or not. A link table's position is counted, and analysts may hold tables of
//! runs that the restored registry does not know: positions go on far above any of theirs, since analysts put tables in that order.
//! A fixed step would give the same positions after the second restoration of one backup as after the first; no registry makes a
//! run a second, so the second of the restoration is above whatever was given before it.

use linkage_agreement::RunId;
use linkage_common::backup::{last_noted, note_begun, note_complete};
use linkage_common::clock::{Clock as _, SystemClock};
use linkage_common::database::Place;
use linkage_common::error::ServiceError;
use linkage_common::store::{Connection, Pool, checkpoint, db};

use crate::store::Store;

/// More runs than are registered between two backups.
const GAP: i64 = 10_000;
/// Stands for the runs that a registry without any may have had after its backup. No run has this id.
const UNKNOWN: &str = "";

impl Store {
    /// The last restoration of this registry ([`linkage_common::backup::last_noted`]).
    ///
    /// # Errors
    /// `Configuration` while one is not complete; the database's.
    pub async fn restored(&self) -> Result<Option<String>, ServiceError> {
        last_noted(&self.pool).await
    }

    /// Keeps the registry from being worked on until the restoration `moment` is settled.
    ///
    /// # Errors
    /// The database's.
    pub async fn begin_restored(&self, moment: &str) -> Result<(), ServiceError> {
        note_begun(&self.pool, moment).await
    }

    /// Makes a registry, restored at `moment`, one that may go on, and closes it: its file is then whole. The same one again changes
    /// nothing.
    ///
    /// # Errors
    /// The database's.
    pub async fn settle_restored(self, moment: &str) -> Result<(), ServiceError> {
        self.settle_restored_at(moment, SystemClock.now().as_second()).await
    }

    /// As [`Self::settle_restored`], at `now`, in seconds since 1970.
    async fn settle_restored_at(self, moment: &str, now: i64) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("settle_restored").await.map_err(db)?;
        if note_complete(&mut tx, moment).await? {
            raise_positions(&mut tx, now).await.map_err(db)?;
        }
        tx.commit().await.map_err(db)?;
        checkpoint(&self.pool).await?;
        self.pool.close().await;
        Ok(())
    }

    /// The database at `place` with the schema that it has: to look at, not to work with.
    ///
    /// # Errors
    /// The database's.
    pub async fn as_it_is(place: &Place) -> Result<Self, ServiceError> {
        Ok(Self { pool: Pool::connect(place, "").await? })
    }

    /// Whether a run of that name was ever begun here.
    ///
    /// # Errors
    /// The database's.
    pub async fn knows(&self, run: &RunId) -> Result<bool, ServiceError> {
        let row = sqlx::query("SELECT 1 FROM runs WHERE run_id = $1").bind(run.as_str()).fetch_optional(&self.pool).await;
        Ok(row.map_err(db)?.is_some())
    }
}

/// Has positions go on above all that were ever given.
async fn raise_positions(connection: &mut Connection, now: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO runs (run_id, state, position) SELECT $1, 'expired', 0
         WHERE NOT EXISTS (SELECT 1 FROM runs WHERE position IS NOT NULL)",
    )
    .bind(UNKNOWN)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE runs SET position = CASE WHEN position + $1 > $2 THEN position + $1 ELSE $2 END
         WHERE position = (SELECT max(position) FROM runs)",
    )
    .bind(GAP)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use linkage_common::database::Place;
    use linkage_test_databases::{On, on_both};

    use super::*;

    on_both!(
        positions_go_on_above_those_that_analysts_may_hold,
        a_registry_without_runs_does_not_begin_with_the_first_position_again,
    );

    async fn positions_go_on_above_those_that_analysts_may_hold(on: On) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(on.url().as_deref(), &dir.path().join("custodian.sqlite")).unwrap();
        let store = Store::open_at(&place).await.unwrap();
        for (name, position) in [("a", Some(1_i64)), ("b", Some(2)), ("c", None)] {
            sqlx::query("INSERT INTO runs (run_id, state, position) VALUES ($1, 'ready', $2)")
                .bind(name)
                .bind(position)
                .execute(&store.pool)
                .await
                .unwrap();
        }
        store.settle_restored_at("a", 1_800_000_000).await.unwrap();
        let positions = async || {
            let again = Store::open_at(&place).await.unwrap();
            let of = sqlx::query_scalar("SELECT position FROM runs ORDER BY run_id");
            let positions: Vec<Option<i64>> = of.fetch_all(&again.pool).await.unwrap();
            (again, positions)
        };
        let (again, given) = positions().await;
        assert_eq!(given, [Some(1), Some(1_800_000_000), None], "in the order that they had");
        // Ended a second time, by whoever finds it half done.
        again.settle_restored_at("a", 1_900_000_000).await.unwrap();
        let (again, given) = positions().await;
        assert_eq!(given, [Some(1), Some(1_800_000_000), None]);
        // Another one, with a clock that went back.
        again.settle_restored_at("b", 1_700_000_000).await.unwrap();
        assert_eq!(positions().await.1, [Some(1), Some(1_800_000_000 + GAP), None]);
    }

    async fn a_registry_without_runs_does_not_begin_with_the_first_position_again(on: On) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(on.url().as_deref(), &dir.path().join("custodian.sqlite")).unwrap();
        Store::open_at(&place).await.unwrap().settle_restored_at("a", 1_800_000_000).await.unwrap();
        let again = Store::open_at(&place).await.unwrap();
        let next = "SELECT coalesce(max(position), 0) + 1 FROM runs";
        let next: i64 = sqlx::query_scalar(next).fetch_one(&again.pool).await.unwrap();
        assert_eq!(next, 1_800_000_001);
        assert!(again.ready().await.unwrap().is_empty(), "nothing that anybody is told of");
        again.settle_restored_at("b", 1_900_000_000).await.unwrap();
        let again = Store::open_at(&place).await.unwrap();
        let all: Vec<i64> = sqlx::query_scalar("SELECT position FROM runs").fetch_all(&again.pool).await.unwrap();
        assert_eq!(all, [1_900_000_000]);
    }
}
