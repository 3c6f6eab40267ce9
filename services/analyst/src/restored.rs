//! An analyst's database that comes from a backup: whoever was switched off since stays off.
//!
//! Accounts that the backup has on are open again otherwise, the moment the page is. One that was switched on again since the backup
//! stays as the backup has it: who manages accounts switches it on once more.

use linkage_common::database::Place;
use linkage_common::error::ServiceError;
use linkage_common::store::{checkpoint, db};
use sqlx::Row;

use crate::journal::Journal;

type Switched = (String, String, String, i64, i64, i64, Option<i64>, Option<String>, Option<String>);

/// Switches off in the database `restored` whoever is off in `former`, and closes both: their files are then whole. May be repeated.
/// Returns how many were on, or not known.
///
/// # Errors
/// The databases'; one of a newer schema.
pub async fn keep_switched_off(former: &Place, restored: &Place) -> Result<u64, ServiceError> {
    let former = Journal::open_at(former).await?.pool;
    let query =
        "SELECT kind, name, label, first_seen, last_seen, logins, changed_at, changed_by, reason FROM users WHERE enabled = 0";
    let rows = sqlx::query(query).fetch_all(&former).await.map_err(db)?;
    let off = rows.iter().map(|row| -> Switched {
        (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), row.get(5), row.get(6), row.get(7), row.get(8))
    });
    let off: Vec<Switched> = off.collect();
    former.close().await;
    let pool = Journal::open_at(restored).await?.pool;
    let mut tx = pool.begin("keep_switched_off").await.map_err(db)?;
    let mut switched = 0;
    for (kind, name, label, first_seen, last_seen, logins, at, by, reason) in off {
        let done = sqlx::query(
            "INSERT INTO users (kind, name, label, first_seen, last_seen, logins, enabled, changed_at, changed_by, reason)
             VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9)
             ON CONFLICT (kind, name) DO UPDATE SET enabled = 0, changed_at = excluded.changed_at,
             changed_by = excluded.changed_by, reason = excluded.reason WHERE users.enabled = 1",
        )
        .bind(kind)
        .bind(name)
        .bind(label)
        .bind(first_seen)
        .bind(last_seen)
        .bind(logins)
        .bind(at)
        .bind(by)
        .bind(reason)
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
    use super::*;
    use crate::access::Who;
    use crate::journal::FILE;
    use crate::users::{Switch, UserId, Users};

    #[tokio::test]
    async fn whoever_was_switched_off_since_the_backup_stays_off() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [old, new] = dirs.each_ref().map(|dir| Place::File(dir.path().join(FILE)));
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
        assert_eq!(keep_switched_off(&old, &new).await.unwrap(), 2);
        assert_eq!(keep_switched_off(&old, &new).await.unwrap(), 0);
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
