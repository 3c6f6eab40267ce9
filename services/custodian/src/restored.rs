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
