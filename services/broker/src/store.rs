//! The broker's durable state: runs, uploads, relayed key contributions, deletion certificates; leases are in [`crate::jobs`].
//!
//! One method is one transaction. Encodings are in the blob store under `runs/RUN/`; this database holds counts and
//! digests only, and nothing that names a person or a record.

use linkage_agreement::{PartyId, Period, RunId};
use linkage_common::batches::HeldBatch;
use linkage_common::database::Place;
use linkage_common::deletion::{Draft, table};
use linkage_common::error::ServiceError;
use linkage_common::store::{Connection, Pool, Schema, db, held_batches, id};
use sqlx::Row;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Parties upload.
    Collecting,
    /// The worker links.
    Linking,
    /// Clusters go to the custodian.
    Delivering,
    /// Ended; encodings deleted.
    Closed,
    /// Ended by the coordinator; encodings deleted.
    Cancelled,
    /// Ended by a fault that a repetition cannot mend; encodings deleted.
    Failed,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Collecting => "collecting",
            Self::Linking => "linking",
            Self::Delivering => "delivering",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
    fn parse(text: &str) -> Result<Self, ServiceError> {
        [Self::Collecting, Self::Linking, Self::Delivering, Self::Closed, Self::Cancelled, Self::Failed]
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| ServiceError::internal("unknown run state in the store"))
    }
    /// Whether nothing more can happen to the run.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Closed | Self::Cancelled | Self::Failed)
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Identifier.
    pub id: RunId,
    /// Month.
    pub period: Period,
    /// Parties that take part, sorted.
    pub parties: Vec<PartyId>,
    /// The one whose persons alone reach analysts.
    pub reference_party: Option<PartyId>,
    /// Of an increment, the run that it adds to.
    pub base_run: Option<RunId>,
    /// Whether it is kept for increments once it is closed.
    pub kept: bool,
    /// Whether it is held for increments now.
    pub held: bool,
    /// State.
    pub state: State,
    /// Step under way or next.
    pub step: String,
    /// Why it failed or was cancelled.
    pub reason: String,
    /// The coordinator's signature over the run's order.
    pub order_signature: Vec<u8>,
}

/// One party's committed upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The party.
    pub party: PartyId,
    /// Number of batches.
    pub batches: u32,
    /// Number of records, decoys among them.
    pub records: u64,
    /// Digest over the batches' digests.
    pub digest: Vec<u8>,
    /// The party's level frequencies (JSON).
    pub level_frequencies: Vec<u8>,
    /// Of an increment, the base's handles that the party took out.
    pub removed: Vec<u8>,
    /// Records left out as of a former epoch; none where the node did not say.
    pub past_epoch: Option<u64>,
}

/// A relayed contribution to the group key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contribution {
    /// Sender.
    pub from: PartyId,
    /// Recipient.
    pub to: PartyId,
    /// Encapsulated key, sealed contribution, signature; opaque here.
    pub envelope: Vec<u8>,
}

/// Whether a batch may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    New,
    /// This very batch is held.
    Held,
}

/// The refusal of what comes after a party, or the run, has been closed to uploads.
pub(crate) fn closed_to_uploads() -> ServiceError {
    ServiceError::conflict("ce traitement ne prend plus d'envoi de ce partenaire ; le coordinateur peut en ouvrir un autre")
}

/// The broker's database.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) pool: Pool,
}

/// The broker's schema.
pub static SCHEMA: Schema = Schema {
    role: "broker",
    sqlite: sqlx::migrate!("./migrations"),
    postgres: sqlx::migrate!("./migrations/postgres"),
    sqlite_session: "",
};

impl Store {
    /// Opens the SQLite database at `path`, creating and migrating it as needed.
    pub async fn open(path: &std::path::Path) -> Result<Self, ServiceError> {
        Self::open_at(&Place::File(path.to_owned())).await
    }

    /// Opens the database at `place`, migrating it as needed.
    pub async fn open_at(place: &Place) -> Result<Self, ServiceError> {
        Ok(Self { pool: Pool::open(place, &SCHEMA).await? })
    }

    /// Inserts a run. `Ok(false)` when the same run is there already; `Conflict` when the id was used for another.
    pub async fn insert_run(&self, run: &Run, agreement: &[u8], now: i64) -> Result<bool, ServiceError> {
        let parties: Vec<&str> = run.parties.iter().map(PartyId::as_str).collect();
        let parties = serde_json::to_string(&parties).map_err(|_| ServiceError::internal("parties as JSON"))?;
        let mut tx = self.pool.begin("insert_run").await.map_err(db)?;
        let known = sqlx::query("SELECT * FROM runs WHERE run_id = $1")
            .bind(run.id.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
        if let Some(row) = known {
            let known = Self::run_of(&row)?;
            let same = row.get::<Vec<u8>, _>("agreement") == agreement
                && (known.period, &known.parties, &known.reference_party) == (run.period, &run.parties, &run.reference_party)
                && (&known.base_run, known.kept) == (&run.base_run, run.kept);
            return if same {
                Ok(false)
            } else {
                Err(ServiceError::conflict("cet identifiant de traitement a déjà servi ; choisissez-en un autre"))
            };
        }
        sqlx::query(
            "INSERT INTO runs (run_id, agreement, period, parties, reference_party, base_run, kept, order_signature, state, step, opened_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '', $10)",
        )
        .bind(run.id.as_str())
        .bind(agreement)
        .bind(run.period.to_string())
        .bind(parties)
        .bind(run.reference_party.as_ref().map(PartyId::as_str))
        .bind(run.base_run.as_ref().map(RunId::as_str))
        .bind(i64::from(run.kept))
        .bind(&run.order_signature)
        .bind(State::Collecting.as_str())
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(true)
    }

    pub(crate) fn run_of(row: &linkage_common::store::Row) -> Result<Run, ServiceError> {
        let parties: Vec<PartyId> = serde_json::from_str(&row.get::<String, _>("parties"))
            .map_err(|_| ServiceError::internal("malformed parties in the store"))?;
        Ok(Run {
            id: id(&row.get::<String, _>("run_id"))?,
            period: id(&row.get::<String, _>("period"))?,
            parties,
            reference_party: row.get::<Option<String>, _>("reference_party").as_deref().map(id).transpose()?,
            base_run: row.get::<Option<String>, _>("base_run").as_deref().map(id).transpose()?,
            kept: row.get::<i64, _>("kept") != 0,
            held: row.get::<Option<i64>, _>("held_until").is_some(),
            state: State::parse(&row.get::<String, _>("state"))?,
            step: row.get("step"),
            reason: row.get("reason"),
            order_signature: row.get("order_signature"),
        })
    }

    /// One run; `NotFound` when there is none of that name.
    pub async fn run(&self, run: &RunId) -> Result<Run, ServiceError> {
        let row = sqlx::query("SELECT * FROM runs WHERE run_id = $1")
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?
            .ok_or_else(|| {
                ServiceError::not_found("aucun traitement de cet identifiant ; « linkage run list » montre ceux qui existent")
            })?;
        Self::run_of(&row)
    }

    /// All runs, oldest first.
    pub async fn runs(&self) -> Result<Vec<Run>, ServiceError> {
        let rows = sqlx::query("SELECT * FROM runs ORDER BY opened_at, rowid").fetch_all(&self.pool).await.map_err(db)?;
        rows.iter().map(Self::run_of).collect()
    }

    /// Parties whose upload to `run` is committed.
    pub async fn committed(&self, run: &RunId) -> Result<Vec<Upload>, ServiceError> {
        let rows = sqlx::query("SELECT * FROM uploads WHERE run_id = $1 ORDER BY party")
            .bind(run.as_str())
            .fetch_all(&self.pool)
            .await
            .map_err(db)?;
        rows.iter()
            .map(|row| {
                Ok(Upload {
                    party: id(&row.get::<String, _>("party"))?,
                    batches: row.get::<i64, _>("batches") as u32,
                    records: row.get::<i64, _>("records") as u64,
                    digest: row.get("digest"),
                    level_frequencies: row.get("level_frequencies"),
                    removed: row.get("removed"),
                    past_epoch: row.get::<Option<i64>, _>("past_epoch").map(i64::unsigned_abs),
                })
            })
            .collect()
    }

    /// The batches of one party that are held, by rising sequence.
    pub async fn batches(&self, run: &RunId, party: &PartyId) -> Result<Vec<HeldBatch>, ServiceError> {
        let rows =
            sqlx::query("SELECT sequence, records, digest FROM batches WHERE run_id = $1 AND party = $2 ORDER BY sequence")
                .bind(run.as_str())
                .bind(party.as_str())
                .fetch_all(&self.pool)
                .await
                .map_err(db)?;
        Ok(held_batches(&rows))
    }

    /// Whether a batch may be stored: the run collects, the party has not committed, `limit` records are not exceeded.
    /// `Conflict` when another batch is held under its number.
    pub async fn admit_batch(
        &self,
        run: &Run,
        party: &PartyId,
        batch: &HeldBatch,
        limit: u64,
    ) -> Result<Admission, ServiceError> {
        let mut connection = self.pool.acquire().await.map_err(db)?;
        admit(&mut connection, run, party, batch, limit).await
    }

    /// Notes a batch whose blob is stored, if it is admitted still. Repeating the same one changes nothing.
    pub async fn insert_batch(&self, run: &Run, party: &PartyId, batch: &HeldBatch, limit: u64) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("insert_batch").await.map_err(db)?;
        if admit(&mut tx, run, party, batch, limit).await? == Admission::Held {
            return Ok(());
        }
        sqlx::query("INSERT INTO batches (run_id, party, sequence, records, digest) VALUES ($1, $2, $3, $4, $5)")
            .bind(run.id.as_str())
            .bind(party.as_str())
            .bind(i64::from(batch.sequence))
            .bind(batch.records as i64)
            .bind(&batch.digest)
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Commits an upload; when it is the last one awaited, the run passes to linking and a job is created. `Conflict` when
    /// the run has ended or the party has committed meanwhile.
    pub async fn commit_upload(&self, run: &Run, upload: &Upload) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("commit_upload").await.map_err(db)?;
        collects(&mut tx, &run.id, &upload.party).await?;
        sqlx::query("INSERT INTO uploads (run_id, party, batches, records, digest, level_frequencies, removed, past_epoch) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
            .bind(run.id.as_str())
            .bind(upload.party.as_str())
            .bind(i64::from(upload.batches))
            .bind(upload.records as i64)
            .bind(&upload.digest)
            .bind(&upload.level_frequencies)
            .bind(&upload.removed)
            .bind(upload.past_epoch.map(|count| count as i64))
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        let committed: i64 = sqlx::query("SELECT count(*) FROM uploads WHERE run_id = $1")
            .bind(run.id.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(db)?
            .get(0);
        if committed as usize == run.parties.len() {
            sqlx::query("UPDATE runs SET state = 'linking', step = 'compare' WHERE run_id = $1 AND state = 'collecting'")
                .bind(run.id.as_str())
                .execute(&mut *tx)
                .await
                .map_err(db)?;
            sqlx::query("INSERT INTO jobs (run_id) VALUES ($1) ON CONFLICT DO NOTHING")
                .bind(run.id.as_str())
                .execute(&mut *tx)
                .await
                .map_err(db)?;
        }
        tx.commit().await.map_err(db)
    }

    /// Ends a run that is not final yet: it only remains to delete what it holds. `Ok(false)` when it was final already.
    pub async fn end_run(&self, run: &RunId, state: State, reason: &str) -> Result<bool, ServiceError> {
        let mut tx = self.pool.begin("end_run").await.map_err(db)?;
        let done = end(&mut tx, run.as_str(), state, reason).await?;
        tx.commit().await.map_err(db)?;
        Ok(done)
    }

    /// Notes the deletion of a run's encodings, to be certified, and forgets batches, level frequencies and exact counts
    /// of what was left out, which the report has where they are not small. A repetition keeps
    /// the first note. The job stays until [`Self::finish`].
    pub async fn record_deletion(&self, run: &RunId, draft: &Draft) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("record_deletion").await.map_err(db)?;
        table::note(&mut tx, draft).await?;
        sqlx::query("DELETE FROM batches WHERE run_id = $1").bind(run.as_str()).execute(&mut *tx).await.map_err(db)?;
        sqlx::query("UPDATE uploads SET level_frequencies = $2, removed = $2, past_epoch = NULL WHERE run_id = $1")
            .bind(run.as_str())
            .bind(&[][..])
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// The certificate of a run's deletion, once it is signed.
    pub async fn deletion(&self, run: &RunId) -> Result<Option<String>, ServiceError> {
        table::of_run(&self.pool, run).await
    }

    /// Stores one party's contribution. A repeated identical one changes nothing; a different one is a conflict.
    pub async fn put_contributions(&self, agreement: &[u8], envelopes: &[Contribution]) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("put_contributions").await.map_err(db)?;
        for envelope in envelopes {
            sqlx::query(
                "INSERT INTO contributions (sender, recipient, agreement, envelope) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            )
            .bind(envelope.from.as_str())
            .bind(envelope.to.as_str())
            .bind(agreement)
            .bind(&envelope.envelope)
            .execute(&mut *tx)
            .await
            .map_err(db)?;
            let held: Vec<u8> =
                sqlx::query("SELECT envelope FROM contributions WHERE agreement = $1 AND sender = $2 AND recipient = $3")
                    .bind(agreement)
                    .bind(envelope.from.as_str())
                    .bind(envelope.to.as_str())
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(db)?
                    .get(0);
            if held != envelope.envelope {
                return Err(ServiceError::conflict(
                    "ce partenaire a déjà contribué à la clé de groupe ; sa première contribution reste en vigueur, restaurez-la d'une sauvegarde ou préparez un avenant",
                ));
            }
        }
        tx.commit().await.map_err(db)
    }

    /// Envelopes addressed to `party`, by sender.
    pub async fn contributions_for(&self, agreement: &[u8], party: &PartyId) -> Result<Vec<Contribution>, ServiceError> {
        let rows = sqlx::query("SELECT * FROM contributions WHERE agreement = $1 AND recipient = $2 ORDER BY sender")
            .bind(agreement)
            .bind(party.as_str())
            .fetch_all(&self.pool)
            .await
            .map_err(db)?;
        rows.iter()
            .map(|row| {
                Ok(Contribution {
                    from: id(&row.get::<String, _>("sender"))?,
                    to: id(&row.get::<String, _>("recipient"))?,
                    envelope: row.get("envelope"),
                })
            })
            .collect()
    }

    /// Parties that have contributed.
    pub async fn contributed(&self, agreement: &[u8]) -> Result<Vec<String>, ServiceError> {
        let rows = sqlx::query("SELECT DISTINCT sender FROM contributions WHERE agreement = $1 ORDER BY sender")
            .bind(agreement)
            .fetch_all(&self.pool)
            .await
            .map_err(db)?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

/// As [`Store::end_run`].
pub(crate) async fn end(connection: &mut Connection, run: &str, state: State, reason: &str) -> Result<bool, ServiceError> {
    let done = sqlx::query(
        "UPDATE runs SET state = $1, step = 'delete', reason = $2 WHERE run_id = $3 AND state IN ('collecting', 'linking', 'delivering')",
    )
    .bind(state.as_str())
    .bind(reason)
    .bind(run)
    .execute(&mut *connection)
    .await
    .map_err(db)?
    .rows_affected()
        > 0;
    if done {
        sqlx::query("INSERT INTO jobs (run_id) VALUES ($1) ON CONFLICT (run_id) DO UPDATE SET not_before = 0, tries = 0")
            .bind(run)
            .execute(connection)
            .await
            .map_err(db)?;
    }
    Ok(done)
}

/// Refuses when `run` does not collect any more, or `party` has committed.
async fn collects(connection: &mut Connection, run: &RunId, party: &PartyId) -> Result<(), ServiceError> {
    let open = sqlx::query(
        "SELECT 1 FROM runs WHERE run_id = $1 AND state = 'collecting'
         AND NOT EXISTS (SELECT 1 FROM uploads u WHERE u.run_id = runs.run_id AND u.party = $2)",
    )
    .bind(run.as_str())
    .bind(party.as_str())
    .fetch_optional(connection)
    .await
    .map_err(db)?;
    open.map(drop).ok_or_else(closed_to_uploads)
}

/// As [`Store::admit_batch`]. A batch that is held is so whatever has happened since: its answer may have been lost.
async fn admit(
    connection: &mut Connection,
    run: &Run,
    party: &PartyId,
    batch: &HeldBatch,
    limit: u64,
) -> Result<Admission, ServiceError> {
    let held: Option<Vec<u8>> = sqlx::query("SELECT digest FROM batches WHERE run_id = $1 AND party = $2 AND sequence = $3")
        .bind(run.id.as_str())
        .bind(party.as_str())
        .bind(i64::from(batch.sequence))
        .fetch_optional(&mut *connection)
        .await
        .map_err(db)?
        .map(|row| row.get(0));
    if batch.is_repeated(held.as_deref())? {
        return Ok(Admission::Held);
    }
    collects(connection, &run.id, party).await?;
    let so_far: i64 =
        sqlx::query("SELECT CAST(coalesce(sum(records), 0) AS BIGINT) FROM batches WHERE run_id = $1 AND party = $2")
            .bind(run.id.as_str())
            .bind(party.as_str())
            .fetch_one(connection)
            .await
            .map_err(db)?
            .get(0);
    if (so_far as u64).saturating_add(batch.records) > limit {
        return Err(ServiceError::exhausted(format!(
            "la convention prévoit au plus {limit} fiches de ce partenaire dans un traitement, leurres compris ; un avenant peut relever ce nombre"
        )));
    }
    Ok(Admission::New)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
