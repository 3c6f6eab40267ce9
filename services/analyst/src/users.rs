//! Who has come in to this side, and whether they may: accounts that are switched off and on.
//!
//! Whoever the issuer, a certificate or the machine lets in may come in until switched off here; then every door is closed, and
//! sessions that are open end with their next request, since each one looks here. A switch says who made it, when and why. One
//! who never came in is known only once switched. Rows of people who may come in go when they have not for as long as the access
//! log is kept; those switched off stay, or they could come in again.

use std::fmt;
use std::str::FromStr;

use linkage_common::error::ServiceError;
use linkage_common::store::{Pool, Row as StoreRow, db};
use serde::Serialize;
use sqlx::Row;

use crate::access::Who;
use crate::journal::Journal;
use crate::publish::reason;

/// Most characters kept of what the issuer calls somebody.
const LABEL: usize = 120;

/// How somebody comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// By the issuer.
    Login,
    /// By a certificate.
    Certificate,
    /// From an account of the machine.
    Console,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Login, Self::Certificate, Self::Console];

    fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Certificate => "certificate",
            Self::Console => "console",
        }
    }
}

/// Whom a switch is for: `login:SUBJECT`, `certificate:URI`, `console:uid N`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId {
    /// How they come in.
    pub kind: Kind,
    /// Under which name.
    pub name: String,
}

impl UserId {
    /// Whom an access is counted for. An account of the machine is its number, whatever it calls itself.
    pub fn of(who: &Who) -> Self {
        let (kind, name) = match who {
            Who::Login(subject) => (Kind::Login, subject.as_str()),
            Who::Certificate(uri) => (Kind::Certificate, uri.as_str()),
            Who::Console(account) => (Kind::Console, account.split_once(" (").map_or(account.as_str(), |(number, _)| number)),
        };
        Self { kind, name: name.to_owned() }
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.name)
    }
}

impl Serialize for UserId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl FromStr for UserId {
    type Err = ServiceError;
    fn from_str(text: &str) -> Result<Self, ServiceError> {
        let parted = text.split_once(':').filter(|(_, name)| !name.is_empty() && !name.chars().any(char::is_control));
        let found = parted.and_then(|(kind, name)| Some((Kind::ALL.into_iter().find(|k| k.name() == kind)?, name)));
        found.map(|(kind, name)| Self { kind, name: name.to_owned() }).ok_or_else(|| {
            ServiceError::invalid(
                "utilisateur attendu sous la forme login:SUJET, certificate:URI ou console:uid N ; « linkage analyst users list » les donne",
            )
        })
    }
}

/// Somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// What the issuer calls them; empty where nothing does.
    pub label: String,
    /// When they first came in, seconds since 1970; none when they never did.
    pub first_seen: Option<i64>,
    /// When they last did.
    pub last_seen: Option<i64>,
    /// How often.
    pub logins: u64,
    /// Whether they may.
    pub enabled: bool,
    /// The last switch: when, by whom, why.
    pub changed: Option<Change>,
}

/// A switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// When, seconds since 1970.
    pub at: i64,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl User {
    fn of(row: &StoreRow) -> Result<Self, ServiceError> {
        let (kind, name): (&str, &str) = (row.get(0), row.get(1));
        let changed: (Option<i64>, Option<String>, Option<String>) = (row.get(7), row.get(8), row.get(9));
        let seen = |at: i64| (at > 0).then_some(at);
        Ok(Self {
            id: format!("{kind}:{name}").parse().map_err(|_| ServiceError::internal("malformed row of users"))?,
            label: row.get(2),
            first_seen: seen(row.get(3)),
            last_seen: seen(row.get(4)),
            logins: row.get::<i64, _>(5).unsigned_abs(),
            enabled: row.get::<i64, _>(6) != 0,
            changed: match changed {
                (Some(at), Some(by), reason) => Some(Change { at, by, reason: reason.unwrap_or_default() }),
                _ => None,
            },
        })
    }
}

/// A switch as it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Switch<'s> {
    /// For whom.
    pub id: &'s UserId,
    /// On or off.
    pub on: bool,
    /// By whom.
    pub by: &'s Who,
    /// Why.
    pub reason: &'s str,
    /// Whether it may be for one who never came in.
    pub unseen: bool,
}

/// Those who have come in.
#[derive(Debug, Clone)]
pub struct Users {
    pool: Pool,
}

/// The answer to one who is switched off.
fn switched_off() -> ServiceError {
    ServiceError::refused("ce compte est désactivé ; adressez-vous à la personne qui gère les utilisateurs de cette étude")
}

impl Users {
    /// Those of the database of `journal`.
    pub fn of(journal: &Journal) -> Self {
        Self { pool: journal.pool.clone() }
    }

    /// Refuses one who is switched off.
    ///
    /// # Errors
    /// `Refused`; the database cannot be read.
    pub async fn admit(&self, who: &Who) -> Result<(), ServiceError> {
        let id = UserId::of(who);
        let enabled: Option<i64> = sqlx::query_scalar("SELECT enabled FROM users WHERE kind = $1 AND name = $2")
            .bind(id.kind.name())
            .bind(&id.name)
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        if enabled == Some(0) { Err(switched_off()) } else { Ok(()) }
    }

    /// Notes that somebody comes in, under what the issuer calls them.
    ///
    /// # Errors
    /// `Refused` for one who is switched off; the database cannot be written to.
    pub async fn come_in(&self, who: &Who, label: &str, at: i64) -> Result<(), ServiceError> {
        self.admit(who).await?;
        let id = UserId::of(who);
        let label: String = label.chars().filter(|c| !c.is_control()).take(LABEL).collect();
        sqlx::query(
            "INSERT INTO users (kind, name, label, first_seen, last_seen, logins, enabled) VALUES ($1, $2, $3, $4, $4, 1, 1)
             ON CONFLICT (kind, name) DO UPDATE SET label = excluded.label, last_seen = excluded.last_seen,
             logins = users.logins + 1, first_seen = CASE WHEN users.first_seen = 0 THEN excluded.first_seen ELSE users.first_seen END",
        )
        .bind(id.kind.name())
        .bind(&id.name)
        .bind(label)
        .bind(at)
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(())
    }

    /// All, those who came in last first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn list(&self) -> Result<Vec<User>, ServiceError> {
        let query = sqlx::query(
            "SELECT kind, name, label, first_seen, last_seen, logins, enabled, changed_at, changed_by, reason FROM users
             ORDER BY last_seen DESC, kind, name",
        );
        query.fetch_all(&self.pool).await.map_err(db)?.iter().map(User::of).collect()
    }

    /// Switches somebody off or on, from their next request on. To repeat it changes nothing but who said so last.
    ///
    /// # Errors
    /// `NotFound` for one who never came in, unless that is asked for; `Invalid` without a reason for switching off.
    pub async fn switch(&self, switch: Switch<'_>, at: i64) -> Result<User, ServiceError> {
        let why = if switch.on { switch.reason.trim().to_owned() } else { reason(switch.reason)? };
        let (kind, name) = (switch.id.kind.name(), &switch.id.name);
        let mut tx = self.pool.begin("switch").await.map_err(db)?;
        if switch.unseen {
            sqlx::query(
                "INSERT INTO users (kind, name, label, first_seen, last_seen, logins, enabled) VALUES ($1, $2, '', 0, 0, 0, 1)
                 ON CONFLICT (kind, name) DO NOTHING",
            )
            .bind(kind)
            .bind(name)
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        }
        let done = sqlx::query(
            "UPDATE users SET enabled = $1, changed_at = $2, changed_by = $3, reason = $4 WHERE kind = $5 AND name = $6",
        )
        .bind(i64::from(switch.on))
        .bind(at)
        .bind(switch.by.to_string())
        .bind(why)
        .bind(kind)
        .bind(name)
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        if done.rows_affected() == 0 {
            return Err(ServiceError::not_found(
                "personne de ce nom n'est venu ici ; « linkage analyst users list » donne les noms, --never-seen en admet un autre",
            ));
        }
        let row = sqlx::query(
            "SELECT kind, name, label, first_seen, last_seen, logins, enabled, changed_at, changed_by, reason FROM users
             WHERE kind = $1 AND name = $2",
        )
        .bind(kind)
        .bind(name)
        .fetch_one(&mut *tx)
        .await
        .map_err(db)?;
        let user = User::of(&row)?;
        tx.commit().await.map_err(db)?;
        Ok(user)
    }

    /// Deletes those who may come in and have not since `before`; everybody when the agreement is over. Returns how many.
    ///
    /// # Errors
    /// The database cannot be written to.
    pub async fn forget(&self, before: i64, all: bool) -> Result<u64, ServiceError> {
        let query = sqlx::query("DELETE FROM users WHERE $1 = 1 OR (enabled = 1 AND last_seen < $2)");
        let done = query.bind(i64::from(all)).bind(before).execute(&self.pool).await.map_err(db)?;
        Ok(done.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use linkage_common::database::Place;
    use linkage_common::error::ErrorKind;
    use linkage_test_databases::{On, on_both};

    use super::*;
    use crate::journal::FILE;

    on_both!(who_is_switched_off_is_refused_until_switched_on, rows_go_with_the_access_log_but_for_those_switched_off);

    async fn users(on: On) -> (tempfile::TempDir, Users) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(on.url().as_deref(), &dir.path().join(FILE)).unwrap();
        let users = Users::of(&Journal::open_at(&place).await.unwrap());
        (dir, users)
    }

    fn switch<'s>(id: &'s UserId, on: bool, by: &'s Who) -> Switch<'s> {
        Switch { id, on, by, reason: "départ", unseen: false }
    }

    async fn who_is_switched_off_is_refused_until_switched_on(on: On) {
        let (_dir, users) = users(on).await;
        let (ada, ida) = (Who::Login("sub-1".to_owned()), Who::Login("sub-2".to_owned()));
        users.come_in(&ada, "Ada L.\n", 100).await.unwrap();
        users.come_in(&ada, "Ada Lovelace", 200).await.unwrap();
        let id = UserId::of(&ada);
        let [held] = <[User; 1]>::try_from(users.list().await.unwrap()).unwrap();
        assert_eq!(
            (held.label.as_str(), held.first_seen, held.last_seen, held.logins),
            ("Ada Lovelace", Some(100), Some(200), 2)
        );
        assert!(held.enabled && held.changed.is_none());
        let nowhere = users.switch(switch(&UserId::of(&ida), false, &ada), 300).await.unwrap_err();
        assert_eq!(nowhere.kind, ErrorKind::NotFound);
        let mute = users.switch(Switch { reason: " ", ..switch(&id, false, &ida) }, 300).await.unwrap_err();
        assert_eq!(mute.kind, ErrorKind::Invalid);
        users.admit(&ada).await.unwrap();

        let off = users.switch(switch(&id, false, &ida), 300).await.unwrap();
        let change = Change { at: 300, by: "session sub-2".to_owned(), reason: "départ".to_owned() };
        assert_eq!((off.enabled, off.changed), (false, Some(change)));
        assert_eq!(users.admit(&ada).await.unwrap_err().kind, ErrorKind::Refused);
        assert_eq!(users.come_in(&ada, "", 400).await.unwrap_err().kind, ErrorKind::Refused);
        users.admit(&ida).await.unwrap();
        assert_eq!(users.list().await.unwrap()[0].last_seen, Some(200), "a refused login is none");
        users.switch(switch(&id, true, &ida), 500).await.unwrap();
        users.admit(&ada).await.unwrap();

        // One who never came in, switched off before.
        users.switch(Switch { unseen: true, ..switch(&UserId::of(&ida), false, &ada) }, 600).await.unwrap();
        assert!(users.come_in(&ida, "", 700).await.is_err());
    }

    async fn rows_go_with_the_access_log_but_for_those_switched_off(on: On) {
        let (_dir, users) = users(on).await;
        for (name, at) in [("a", 100), ("b", 100), ("c", 300)] {
            users.come_in(&Who::Login(name.to_owned()), "", at).await.unwrap();
        }
        let b = Who::Login("b".to_owned());
        users.switch(switch(&UserId::of(&b), false, &b), 100).await.unwrap();
        assert_eq!(users.forget(200, false).await.unwrap(), 1);
        let names = |all: &[User]| all.iter().map(|u| u.id.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&users.list().await.unwrap()), ["c", "b"]);
        assert_eq!(users.forget(200, true).await.unwrap(), 2);
    }

    #[test]
    fn a_name_is_read_back_and_the_console_is_its_number() {
        for who in [Who::Login("a:b c".to_owned()), Who::Certificate("linkage://x/analyst/y".to_owned())] {
            let id = UserId::of(&who);
            assert_eq!(id.to_string().parse::<UserId>().unwrap(), id);
        }
        let names = ["uid 7 (alice)", "uid 7 (bob)", "uid 7"].map(|name| UserId::of(&Who::Console(name.to_owned())).to_string());
        assert_eq!(names, ["console:uid 7"; 3].map(str::to_owned));
        for bad in ["alice", "login:", "autre:x", "login:a\nb"] {
            assert!(bad.parse::<UserId>().is_err(), "{bad}");
        }
    }
}
