//! An analyst's database that comes from a backup: whoever was switched off since stays off.
//!
//! Accounts that the backup has on are open again otherwise, the moment the page is. One that was switched on again since the backup
//! stays as the backup has it: who manages accounts switches it on once more.

use linkage_common::database::Place;
use linkage_common::error::ServiceError;
use linkage_common::store::{Pool, checkpoint, db};
use serde::{Deserialize, Serialize};
use sqlx::Row;

use crate::journal::Journal;

/// The first version of the schema that has accounts.
const USERS: i64 = 4;

/// Somebody who was switched off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchedOff {
    kind: String,
    name: String,
    label: String,
    first_seen: i64,
    last_seen: i64,
    logins: i64,
    changed_at: Option<i64>,
    changed_by: Option<String>,
    reason: Option<String>,
}

/// Who is switched off in the database at `former`, which is only read, whatever its version; one of before accounts has none.
///
/// # Errors
/// The database's.
pub async fn switched_off(former: &Place) -> Result<Vec<SwitchedOff>, ServiceError> {
    let pool = Pool::connect(former, "").await?;
    if (1..USERS).contains(&pool.version().await?) {
        return Ok(Vec::new());
    }
    let query =
        "SELECT kind, name, label, first_seen, last_seen, logins, changed_at, changed_by, reason FROM users WHERE enabled = 0";
    let rows = sqlx::query(query).fetch_all(&pool).await.map_err(db)?;
    pool.close().await;
    let off = rows.iter().map(|row| SwitchedOff {
        kind: row.get(0),
        name: row.get(1),
        label: row.get(2),
        first_seen: row.get(3),
        last_seen: row.get(4),
        logins: row.get(5),
        changed_at: row.get(6),
        changed_by: row.get(7),
        reason: row.get(8),
    });
    Ok(off.collect())
}

/// Switches off in the database at `restored` whoever is in `off`, and closes it: its file is then whole. May be repeated.
/// Returns how many were on, or not known.
///
/// # Errors
/// The database's; one of a newer schema.
pub async fn keep_switched_off(off: Vec<SwitchedOff>, restored: &Place) -> Result<u64, ServiceError> {
    let pool = Journal::open_at(restored).await?.pool;
    let mut tx = pool.begin("keep_switched_off").await.map_err(db)?;
    let mut switched = 0;
    for one in off {
        let done = sqlx::query(
            "INSERT INTO users (kind, name, label, first_seen, last_seen, logins, enabled, changed_at, changed_by, reason)
             VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9)
             ON CONFLICT (kind, name) DO UPDATE SET enabled = 0, changed_at = excluded.changed_at,
             changed_by = excluded.changed_by, reason = excluded.reason WHERE users.enabled = 1",
        )
        .bind(one.kind)
        .bind(one.name)
        .bind(one.label)
        .bind(one.first_seen)
        .bind(one.last_seen)
        .bind(one.logins)
        .bind(one.changed_at)
        .bind(one.changed_by)
        .bind(one.reason)
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        switched += done.rows_affected();
    }
    tx.commit().await.map_err(db)?;
    checkpoint(&pool).await?;
    pool.close().await;
    Ok(switched)
}

#[cfg(test)]
mod tests {
    use linkage_test_databases::{On, on_both};

    use super::*;
    use crate::access::Who;
    use crate::journal::FILE;
    use crate::users::{Switch, UserId, Users};

    on_both!(whoever_was_switched_off_since_the_backup_stays_off);

    async fn whoever_was_switched_off_since_the_backup_stays_off(on: On) {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [old, new] = dirs.each_ref().map(|dir| Place::of(on.url().as_deref(), &dir.path().join(FILE)).unwrap());
        let login = |name: &str| Who::Login(name.to_owned());
        let manager = login("manager");
        let users = async |place: &Place| Users::of(&Journal::open_at(place).await.unwrap());
        // As they were when the backup was made: two may come in, one may not.
        for place in [&old, &new] {
            let users = users(place).await;
            for (name, at) in [("gone", 100), ("stays", 110), ("back", 120)] {
                users.come_in(&login(name), name, at).await.unwrap();
            }
            let switch = |name: &str, on| (UserId::of(&login(name)), on);
            let (id, on) = switch("back", false);
            users.switch(Switch { id: &id, on, by: &manager, reason: "absence", unseen: false }, 200).await.unwrap();
        }
        // Since: one was switched off, one who never came in too, one on again.
        let since = users(&old).await;
        for (name, on, unseen) in [("gone", false, false), ("never", false, true), ("back", true, false)] {
            let switch = Switch { id: &UserId::of(&login(name)), on, by: &manager, reason: "départ", unseen };
            since.switch(switch, 300).await.unwrap();
        }
        drop(since);
        let off = switched_off(&old).await.unwrap();
        assert_eq!(keep_switched_off(off.clone(), &new).await.unwrap(), 2);
        assert_eq!(keep_switched_off(off, &new).await.unwrap(), 0);
        let restored = users(&new).await;
        let mut open = Vec::new();
        for name in ["gone", "stays", "back", "never"] {
            open.push(restored.admit(&login(name)).await.is_ok());
        }
        assert_eq!(open, [false, true, false, false]);
        let held = restored.list().await.unwrap().into_iter().find(|user| user.id.name == "gone").unwrap();
        let change = held.changed.unwrap();
        assert_eq!((change.at, change.reason.as_str(), held.logins, held.last_seen), (300, "départ", 1, Some(100)));
    }
}
