//! A registry that comes from a backup: what it must not repeat.
//!
//! Person ids are 128 random bits and given once, restored or not. A link table's position is counted, and analysts may hold tables of
//! runs that the restored registry does not know: positions go on far above any of theirs, since analysts put tables in that order.

use linkage_common::error::ServiceError;
use linkage_common::store::{checkpoint, db};

use crate::store::Store;

/// More runs than are registered between two backups.
const GAP: i64 = 10_000;

impl Store {
    /// Makes a restored registry one that may go on, and closes it: its file is then whole. May be repeated.
    ///
    /// # Errors
    /// The database's.
    pub async fn settle_restored(self) -> Result<(), ServiceError> {
        sqlx::query("UPDATE runs SET position = position + $1 WHERE position = (SELECT max(position) FROM runs)")
            .bind(GAP)
            .execute(&self.pool)
            .await
            .map_err(db)?;
        checkpoint(&self.pool).await?;
        self.pool.close().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use linkage_common::database::Place;
    use linkage_test_databases::{On, on_both};

    use super::*;

    on_both!(positions_go_on_above_those_that_analysts_may_hold,);

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
        store.settle_restored().await.unwrap();
        let again = Store::open_at(&place).await.unwrap();
        let positions: Vec<Option<i64>> =
            sqlx::query_scalar("SELECT position FROM runs ORDER BY run_id").fetch_all(&again.pool).await.unwrap();
        assert_eq!(positions, [Some(1), Some(2 + GAP), None], "in the order that they had");
        let empty = tempfile::tempdir().unwrap();
        let none = Store::open_at(&Place::File(empty.path().join("custodian.sqlite"))).await.unwrap();
        none.settle_restored().await.unwrap();
    }
}
