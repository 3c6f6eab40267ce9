//! Which replica takes runs into the registry, and until when.
//!
//! Persons are numbered by what the registry holds already, so that one replica registers at a time; another takes over once the
//! lease has run out. What a late owner still writes is refused by [`Store::register`] itself, in its transaction.

use linkage_common::error::ServiceError;
use linkage_common::store::db;

use crate::store::Store;

/// A lease that ends later than this was given before the clock was set back: it would not end in its time.
const SET_BACK_S: i64 = 2 * 3600;
/// The lease of whoever registers.
pub const REGISTER: &str = "register";

impl Store {
    /// Takes or prolongs a lease until `until`; `false` while another owner holds it.
    pub async fn take_lease(&self, name: &str, owner: &str, now: i64, until: i64) -> Result<bool, ServiceError> {
        let done = sqlx::query(
            "INSERT INTO leases (name, owner, until) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
             WHERE leases.until <= $4 OR leases.owner = excluded.owner OR leases.until > $5",
        )
        .bind(name)
        .bind(owner)
        .bind(until)
        .bind(now)
        .bind(until + SET_BACK_S)
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(done.rows_affected() > 0)
    }

    /// Gives a lease back, for another replica to begin at once.
    pub async fn give_lease_back(&self, name: &str, owner: &str) -> Result<(), ServiceError> {
        sqlx::query("DELETE FROM leases WHERE name = $1 AND owner = $2")
            .bind(name)
            .bind(owner)
            .execute(&self.pool)
            .await
            .map_err(db)?;
        Ok(())
    }
}
