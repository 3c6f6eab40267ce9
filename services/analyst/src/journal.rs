//! The journal of publications: what was put forward, by whom, what the producers said, what was published.
//!
//! Rows are added and never changed (the database refuses it), each entry sealed over the one before. One method is one
//! transaction, and each may be repeated: a process that dies in the middle leaves a journal without the entry or with it.
//! A publication counts against the budget of the month in which it was put forward, unless it is rejected.

use std::path::Path;

use jiff::civil::Date;
use linkage_agreement::{PartyId, Period};
use linkage_common::database::Place;
use linkage_common::error::ServiceError;
use linkage_common::store::{Connection, Pool, Schema, db};
use sqlx::Row;

use crate::publish::{Document, Fingerprint, PublicationId, Release, Verdict};
pub use listed::Listed;
pub use seals::Checked;
use seals::Entry;

mod listed;
mod seals;
#[cfg(test)]
mod tests;

/// The journal's schema.
pub static SCHEMA: Schema = Schema {
    role: "analyst",
    sqlite: sqlx::migrate!("./migrations"),
    postgres: sqlx::migrate!("./migrations/postgres"),
    sqlite_session: "",
};

/// The journal's file under an analyst's data folder.
pub const FILE: &str = "journal.sqlite";

/// What a publication has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for producers.
    Proposed,
    /// Published.
    Published,
    /// A producer rejected it.
    Rejected,
}

impl State {
    /// In words.
    pub fn french(self) -> &'static str {
        match self {
            Self::Proposed => "proposé",
            Self::Published => "publié",
            Self::Rejected => "rejeté",
        }
    }
}

/// A producer's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Who decided.
    pub party: PartyId,
    /// What.
    pub verdict: Verdict,
    /// When, seconds since 1970.
    pub at: i64,
    /// The party's signature.
    pub signature: Vec<u8>,
}

/// One publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// All but its document.
    pub listed: Listed,
    /// The document, to the byte.
    pub document: Vec<u8>,
}

impl std::ops::Deref for Publication {
    type Target = Listed;
    fn deref(&self) -> &Listed {
        &self.listed
    }
}

impl Publication {
    /// The document.
    ///
    /// # Errors
    /// `Internal`: it was written by this side and cannot be read.
    pub fn document(&self) -> Result<Document, ServiceError> {
        Document::from_bytes(&self.document).map_err(|_| ServiceError::internal("malformed document in the journal"))
    }
}

/// What is put forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Identifier.
    pub id: PublicationId,
    /// Whose budget it counts against.
    pub analyst: PartyId,
    /// Title.
    pub title: String,
    /// Tables in it, which count one by one.
    pub tables: u32,
    /// Why.
    pub justification: String,
    /// Who puts it forward.
    pub by: String,
    /// Parties whose approval it needs; none: published at once.
    pub producers: Vec<PartyId>,
    /// What it was computed from.
    pub release: Release,
    /// The document.
    pub document: Vec<u8>,
    /// What is kept to protect later tables beside these; never shown.
    pub kept: Option<Vec<u8>>,
}

/// When something is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970.
    pub at: i64,
    /// The day, UTC.
    pub today: Date,
}

/// The journal.
#[derive(Debug, Clone)]
pub struct Journal {
    pub(crate) pool: Pool,
}

impl Journal {
    /// Opens the journal in `data_dir`, creating and migrating it as needed.
    ///
    /// # Errors
    /// The database cannot be opened.
    pub async fn open(data_dir: &Path) -> Result<Self, ServiceError> {
        Self::open_at(&Place::File(data_dir.join(FILE))).await
    }

    /// Opens the journal at `place`, migrating it as needed.
    ///
    /// # Errors
    /// The database cannot be opened.
    pub async fn open_at(place: &Place) -> Result<Self, ServiceError> {
        Ok(Self { pool: Pool::open(place, &SCHEMA).await? })
    }

    /// Puts a table forward. The same identifier again changes nothing and costs nothing.
    ///
    /// # Errors
    /// `Exhausted` when `per_month` tables of the month are in the journal; says when the budget is renewed.
    pub async fn propose(&self, proposal: &Proposal, now: Moment, per_month: u32) -> Result<Publication, ServiceError> {
        let month = Period::of(now.today);
        let mut tx = self.pool.begin("propose").await.map_err(db)?;
        if let Some(held) = find(&mut tx, &proposal.id).await? {
            return Ok(held);
        }
        let spent = spent_in(&mut tx, &proposal.analyst, month).await?;
        if spent + u64::from(proposal.tables) > u64::from(per_month) {
            return Err(ServiceError::exhausted(format!(
                "budget de publication dépassé : {spent} tableau(x) sur {per_month} publiés ou proposés en {month}, {} de plus demandé(s) ; il est renouvelé le {}-01",
                proposal.tables,
                month.next()
            )));
        }
        let producers = serde_json::to_string(&proposal.producers).map_err(ServiceError::internal)?;
        sqlx::query(
            "INSERT INTO publications (id, analyst, month, title, tables, producers, document, fingerprint, kept, source)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(proposal.id.as_str())
        .bind(proposal.analyst.as_str())
        .bind(month.to_string())
        .bind(&proposal.title)
        .bind(i64::from(proposal.tables))
        .bind(producers)
        .bind(&proposal.document)
        .bind(&Fingerprint::of(&proposal.document).0[..])
        .bind(&proposal.kept)
        .bind(serde_json::to_string(&proposal.release).map_err(ServiceError::internal)?)
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        let entry = Entry {
            publication: &proposal.id,
            kind: "proposed",
            who: &proposal.by,
            party: None,
            at: now.at,
            reason: &proposal.justification,
            signature: None,
        };
        seals::add(&mut tx, &entry).await?;
        if proposal.producers.is_empty() {
            seals::add(&mut tx, &Entry { kind: "published", reason: "", ..entry }).await?;
        }
        let made = find(&mut tx, &proposal.id).await?.ok_or_else(unknown)?;
        tx.commit().await.map_err(db)?;
        Ok(made)
    }

    /// Enters what `party` says, its signature verified, and the publication itself once every producer has approved.
    /// The same decision again changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Refused` for a party whose approval is not asked; `Conflict` when it, or another, decided otherwise.
    pub async fn decide(
        &self,
        id: &PublicationId,
        party: &PartyId,
        who: &str,
        verdict: &Verdict,
        signature: &[u8],
        now: Moment,
    ) -> Result<Publication, ServiceError> {
        let mut tx = self.pool.begin("decide").await.map_err(db)?;
        let held = find(&mut tx, id).await?.ok_or_else(unknown)?;
        if !held.producers.contains(party) {
            return Err(ServiceError::refused(
                "l'accord de ce partenaire n'est pas demandé pour ce tableau ; il n'y a rien à décider : consultez la liste (linkage cohort proposals)",
            ));
        }
        if let Some(before) = held.decisions.iter().find(|d| d.party == *party) {
            return match (&before.verdict, verdict) {
                (Verdict::Approved, Verdict::Approved) | (Verdict::Rejected(_), Verdict::Rejected(_)) => Ok(held),
                _ => Err(ServiceError::conflict(
                    "ce partenaire s'est déjà prononcé en sens contraire et une décision est définitive ; l'analyste peut proposer un autre tableau",
                )),
            };
        }
        if held.state != State::Proposed {
            return Err(ServiceError::conflict(format!(
                "ce tableau est déjà {} ; il n'y a plus rien à décider",
                held.state.french()
            )));
        }
        let entry = Entry {
            publication: id,
            kind: if *verdict == Verdict::Approved { "approved" } else { "rejected" },
            who,
            party: Some(party),
            at: now.at,
            reason: verdict.reason(),
            signature: Some(signature),
        };
        seals::add(&mut tx, &entry).await?;
        if *verdict == Verdict::Approved && held.awaited() == [party] {
            seals::add(&mut tx, &Entry { kind: "published", party: None, reason: "", signature: None, ..entry }).await?;
        }
        let made = find(&mut tx, id).await?.ok_or_else(unknown)?;
        tx.commit().await.map_err(db)?;
        Ok(made)
    }

    /// One publication.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, id: &PublicationId) -> Result<Publication, ServiceError> {
        let mut connection = self.pool.acquire().await.map_err(db)?;
        find(&mut connection, id).await?.ok_or_else(unknown)
    }

    /// Publications without their documents, the latest first: `limit` of them after the first `skip`.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn list(&self, skip: u32, limit: u32) -> Result<Vec<Listed>, ServiceError> {
        listed::list(&self.pool, skip, limit).await
    }

    /// How many publications there are.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn count(&self) -> Result<u64, ServiceError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM publications").fetch_one(&self.pool).await.map_err(db)?;
        Ok(count.unsigned_abs())
    }

    /// What was kept of all publications, in order, to protect later tables beside them: what was rejected has been seen, too.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn kept(&self) -> Result<Vec<Vec<u8>>, ServiceError> {
        sqlx::query_scalar(
            "SELECT p.kept FROM publications p JOIN entries e ON e.publication = p.id AND e.kind = 'proposed'
             WHERE p.kept IS NOT NULL ORDER BY e.number",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(db)
    }

    /// Tables that count against an analyst's budget of `month`.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn spent(&self, analyst: &PartyId, month: Period) -> Result<u64, ServiceError> {
        let mut connection = self.pool.acquire().await.map_err(db)?;
        spent_in(&mut connection, analyst, month).await
    }
}

/// The answer where there is no such publication, or none that the caller may see.
pub(crate) fn unknown() -> ServiceError {
    ServiceError::not_found(
        "aucune publication de cet identifiant ; « linkage cohort journal » et « linkage cohort proposals » les listent",
    )
}

fn verdict(kind: &str, reason: &str) -> Verdict {
    if kind == "approved" { Verdict::Approved } else { Verdict::Rejected(reason.to_owned()) }
}

fn fingerprint_of(bytes: &[u8]) -> Result<Fingerprint, ServiceError> {
    Fingerprint::from_slice(bytes).ok_or_else(|| ServiceError::internal("malformed fingerprint in the journal"))
}

async fn spent_in(connection: &mut Connection, analyst: &PartyId, month: Period) -> Result<u64, ServiceError> {
    let spent: i64 = sqlx::query_scalar(
        "SELECT CAST(coalesce(sum(p.tables), 0) AS BIGINT) FROM publications p WHERE p.analyst = $1 AND p.month = $2
         AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.publication = p.id AND e.kind = 'rejected')",
    )
    .bind(analyst.as_str())
    .bind(month.to_string())
    .fetch_one(connection)
    .await
    .map_err(db)?;
    Ok(spent.unsigned_abs())
}

async fn find(connection: &mut Connection, wanted: &PublicationId) -> Result<Option<Publication>, ServiceError> {
    let row = sqlx::query("SELECT title, producers, document, fingerprint, source FROM publications WHERE id = $1")
        .bind(wanted.as_str())
        .fetch_optional(&mut *connection)
        .await
        .map_err(db)?;
    let Some(row) = row else { return Ok(None) };
    let entries = sqlx::query(
        "SELECT publication, kind, who, party, at, reason, signature FROM entries WHERE publication = $1 ORDER BY number",
    )
    .bind(wanted.as_str())
    .fetch_all(connection)
    .await
    .map_err(db)?;
    let document: Vec<u8> = row.get(2);
    let read = Document::from_bytes(&document).ok().filter(|_| Fingerprint::of(&document).0 == row.get::<&[u8], _>(3));
    let read = read.ok_or_else(altered)?;
    let columns = listed::Columns {
        id: wanted.clone(),
        title: row.get(0),
        producers: row.get(1),
        fingerprint: row.get(3),
        release: read.release.clone(),
    };
    let listed = columns.with(&entries.iter().collect::<Vec<_>>())?;
    // Columns decide whose approval is asked; the document is what was approved.
    if listed.producers != read.producers || listed.title != read.question.title() {
        return Err(altered());
    }
    Ok(Some(Publication { listed, document }))
}

fn altered() -> ServiceError {
    tracing::error!("the journal of publications was changed from outside");
    ServiceError::internal("the journal of publications was changed from outside; « linkage cohort journal » says where")
}
