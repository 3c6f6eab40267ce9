//! The journal of publications: what was put forward, by whom, what the producers said, what was published.
//!
//! Rows are added and never changed (the database refuses it), each entry sealed over the one before. One method is one
//! transaction, and each may be repeated: a process that dies in the middle leaves a journal without the entry or with it.
//! A publication counts against the budget of the month in which it was put forward, unless it is rejected.

use std::path::Path;

use jiff::civil::Date;
use linkage_agreement::{Agreement, PartyId, Period};
use linkage_common::database::Place;
use linkage_common::error::ServiceError;
use linkage_common::store::{Connection, Pool, Row as StoreRow, Schema, db, id};
use sha2::{Digest, Sha256};
use sqlx::Row;

use crate::publish::{Document, Fingerprint, PublicationId, Verdict};

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
    /// Identifier.
    pub id: PublicationId,
    /// State.
    pub state: State,
    /// Title.
    pub title: String,
    /// Why.
    pub justification: String,
    /// Who put it forward.
    pub by: String,
    /// When, seconds since 1970.
    pub at: i64,
    /// When it was published.
    pub published_at: Option<i64>,
    /// Parties whose approval it needs.
    pub producers: Vec<PartyId>,
    /// What they said, in the order in which they did.
    pub decisions: Vec<Decision>,
    /// The document, to the byte.
    pub document: Vec<u8>,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
}

impl Publication {
    /// The document.
    ///
    /// # Errors
    /// `Internal`: it was written by this side and cannot be read.
    pub fn document(&self) -> Result<Document, ServiceError> {
        Document::from_bytes(&self.document).map_err(|_| ServiceError::internal("malformed document in the journal"))
    }
    /// Producers that have said nothing yet.
    pub fn awaited(&self) -> Vec<&PartyId> {
        self.producers.iter().filter(|p| self.decisions.iter().all(|d| d.party != **p)).collect()
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

/// What the journal holds, checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Entries.
    pub entries: u64,
    /// Entries whose seal, or whose publication's fingerprint, does not hold: something else wrote to the file.
    pub altered: u64,
    /// Decisions whose signature does not hold under the agreement's keys.
    pub unsigned: u64,
}

/// The journal.
#[derive(Debug, Clone)]
pub struct Journal {
    pub(crate) pool: Pool,
}

/// One entry, without its number and seal.
struct Entry<'e> {
    publication: &'e PublicationId,
    kind: &'e str,
    who: &'e str,
    party: Option<&'e PartyId>,
    at: i64,
    reason: &'e str,
    signature: Option<&'e [u8]>,
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
            "INSERT INTO publications (id, analyst, month, title, tables, producers, document, fingerprint, kept)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
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
        add(&mut tx, &entry).await?;
        if proposal.producers.is_empty() {
            add(&mut tx, &Entry { kind: "published", reason: "", ..entry }).await?;
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
        add(&mut tx, &entry).await?;
        if *verdict == Verdict::Approved && held.awaited() == [party] {
            add(&mut tx, &Entry { kind: "published", party: None, reason: "", signature: None, ..entry }).await?;
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

    /// All publications, the latest first.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn list(&self) -> Result<Vec<Publication>, ServiceError> {
        let mut tx = self.pool.snapshot().await.map_err(db)?;
        let ids: Vec<String> = sqlx::query_scalar("SELECT publication FROM entries WHERE kind = 'proposed' ORDER BY number DESC")
            .fetch_all(&mut *tx)
            .await
            .map_err(db)?;
        let mut all = Vec::with_capacity(ids.len());
        for text in ids {
            all.extend(find(&mut tx, &id(&text)?).await?);
        }
        Ok(all)
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

    /// Checks seals, fingerprints and signatures over the whole journal.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn check(&self, agreement: &Agreement, agreement_hash: &[u8; 32]) -> Result<Checked, ServiceError> {
        let mut tx = self.pool.snapshot().await.map_err(db)?;
        let rows = sqlx::query(
            "SELECT e.number, e.publication, e.kind, e.who, e.party, e.at, e.reason, e.signature, e.seal, p.document, p.fingerprint
             FROM entries e JOIN publications p ON p.id = e.publication ORDER BY e.number",
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(db)?;
        let (mut checked, mut before) = (Checked::default(), Vec::new());
        for row in &rows {
            let fingerprint = Fingerprint::of(row.get(9));
            let publication: PublicationId = id(row.get(1))?;
            let party: Option<PartyId> = row.get::<Option<&str>, _>(4).map(id).transpose()?;
            let (number, kind): (i64, &str) = (row.get(0), row.get(2));
            let signature: Option<&[u8]> = row.get(7);
            checked.entries += 1;
            let entry = Entry {
                publication: &publication,
                kind,
                who: row.get(3),
                party: party.as_ref(),
                at: row.get(5),
                reason: row.get(6),
                signature,
            };
            let seal = seal(&before, number, &entry, &fingerprint);
            let held: &[u8] = row.get(8);
            checked.altered +=
                u64::from(seal != held || row.get::<&[u8], _>(10) != fingerprint.0 || number.unsigned_abs() != checked.entries);
            before = held.to_vec();
            let of_this_agreement =
                Document::from_bytes(row.get(9)).is_ok_and(|document| document.agreement == hex::encode(agreement_hash));
            if let (Some(party), Some(signature), true) = (&party, signature, of_this_agreement) {
                let verdict = verdict(kind, row.get(6));
                let holds = verdict.verify(agreement, agreement_hash, &fingerprint, party, signature).is_ok();
                checked.unsigned += u64::from(!holds);
            }
        }
        Ok(checked)
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

fn seal(before: &[u8], number: i64, entry: &Entry<'_>, fingerprint: &Fingerprint) -> Vec<u8> {
    let mut digest = Sha256::new().chain_update(b"linkage journal v1\n").chain_update(number.to_le_bytes());
    let (at, party) = (entry.at.to_le_bytes(), entry.party.map_or("", PartyId::as_str));
    let texts = [entry.publication.as_str(), entry.kind, entry.who, party, entry.reason].map(str::as_bytes);
    for part in texts.into_iter().chain([before, &at, entry.signature.unwrap_or_default(), &fingerprint.0]) {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().to_vec()
}

async fn add(connection: &mut Connection, entry: &Entry<'_>) -> Result<(), ServiceError> {
    let last: Option<(i64, Vec<u8>)> = sqlx::query_as("SELECT number, seal FROM entries ORDER BY number DESC LIMIT 1")
        .fetch_optional(&mut *connection)
        .await
        .map_err(db)?;
    let (number, before) = last.map_or((1, Vec::new()), |(number, seal)| (number + 1, seal));
    let fingerprint: Vec<u8> = sqlx::query_scalar("SELECT fingerprint FROM publications WHERE id = $1")
        .bind(entry.publication.as_str())
        .fetch_one(&mut *connection)
        .await
        .map_err(db)?;
    let fingerprint = fingerprint_of(&fingerprint)?;
    sqlx::query(
        "INSERT INTO entries (number, publication, kind, who, party, at, reason, signature, seal) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(number)
    .bind(entry.publication.as_str())
    .bind(entry.kind)
    .bind(entry.who)
    .bind(entry.party.map(PartyId::as_str))
    .bind(entry.at)
    .bind(entry.reason)
    .bind(entry.signature)
    .bind(seal(&before, number, entry, &fingerprint))
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
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
    let Some(row) = sqlx::query("SELECT title, producers, document, fingerprint FROM publications WHERE id = $1")
        .bind(wanted.as_str())
        .fetch_optional(&mut *connection)
        .await
        .map_err(db)?
    else {
        return Ok(None);
    };
    let entries =
        sqlx::query("SELECT kind, who, party, at, reason, signature FROM entries WHERE publication = $1 ORDER BY number")
            .bind(wanted.as_str())
            .fetch_all(connection)
            .await
            .map_err(db)?;
    let of_kind = |kind: &str| entries.iter().find(|e| e.get::<&str, _>(0) == kind);
    let proposed = of_kind("proposed").ok_or_else(|| ServiceError::internal("a publication without a proposal"))?;
    let published = of_kind("published");
    let state = match (published, of_kind("rejected")) {
        (Some(_), _) => State::Published,
        (None, Some(_)) => State::Rejected,
        (None, None) => State::Proposed,
    };
    let decision = |row: &StoreRow| -> Option<Result<Decision, ServiceError>> {
        let party: &str = row.get::<Option<&str>, _>(2)?;
        Some(id(party).map(|party| Decision {
            party,
            verdict: verdict(row.get(0), row.get(4)),
            at: row.get(3),
            signature: row.get::<Option<Vec<u8>>, _>(5).unwrap_or_default(),
        }))
    };
    Ok(Some(Publication {
        id: wanted.clone(),
        state,
        title: row.get(0),
        justification: proposed.get(4),
        by: proposed.get(1),
        at: proposed.get(3),
        published_at: published.map(|e| e.get(3)),
        producers: serde_json::from_str(row.get(1)).map_err(|_| ServiceError::internal("malformed producers in the journal"))?,
        decisions: entries.iter().filter_map(decision).collect::<Result<_, _>>()?,
        document: row.get(2),
        fingerprint: fingerprint_of(row.get(3))?,
    }))
}
