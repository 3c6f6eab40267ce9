//! The broker's durable state: runs, uploads, leases, relayed key contributions, deletion records.
//!
//! One method is one transaction. Encodings are in the blob store under `runs/RUN/`; this database holds counts and
//! digests only, and nothing that names a person or a record.

use linkage_agreement::{PartyId, Period, RunId};
use linkage_common::error::ServiceError;
use sqlx::{Row, SqlitePool};

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
    fn as_str(self) -> &'static str {
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

/// The steps of a run's work, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Records that share tokens become candidate pairs, compared inside their blocks.
    Compare,
    /// Pairs are weighed and clustered.
    Cluster,
    /// Clusters go to the custodian.
    Deliver,
    /// Encodings are deleted and the deletion signed.
    Delete,
}

impl Step {
    /// The step's name, for people and for the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Compare => "compare",
            Self::Cluster => "cluster",
            Self::Deliver => "deliver",
            Self::Delete => "delete",
        }
    }
    fn parse(text: &str) -> Result<Self, ServiceError> {
        [Self::Compare, Self::Cluster, Self::Deliver, Self::Delete]
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| ServiceError::internal("unknown step in the store"))
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
    /// State.
    pub state: State,
    /// Step under way or next.
    pub step: String,
    /// Why it failed or was cancelled.
    pub reason: String,
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
}

/// A batch that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBatch {
    /// Position.
    pub sequence: u32,
    /// Records in it.
    pub records: u64,
    /// SHA-256.
    pub digest: Vec<u8>,
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

/// The broker's database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
}

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

fn db(error: sqlx::Error) -> ServiceError {
    ServiceError::from(error)
}

fn id<T: std::str::FromStr>(text: &str) -> Result<T, ServiceError> {
    text.parse().map_err(|_| ServiceError::internal("malformed identifier in the store"))
}

impl Store {
    /// Opens the database at `path`, creating and migrating it as needed.
    pub async fn open(path: &std::path::Path) -> Result<Self, ServiceError> {
        let pool = linkage_common::store::open_sqlite(path).await?;
        linkage_common::store::migrate(&pool, &MIGRATIONS).await?;
        Ok(Self { pool })
    }

    /// Inserts a run. `Ok(false)` when the same run is there already; `Conflict` when the id was used for another.
    pub async fn insert_run(&self, run: &Run, agreement: &[u8], now: i64) -> Result<bool, ServiceError> {
        let parties: Vec<&str> = run.parties.iter().map(PartyId::as_str).collect();
        let parties = serde_json::to_string(&parties).map_err(|_| ServiceError::internal("parties as JSON"))?;
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(db)?;
        let known = sqlx::query("SELECT agreement, period, parties FROM runs WHERE run_id = ?")
            .bind(run.id.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
        if let Some(row) = known {
            let same = row.get::<Vec<u8>, _>(0) == agreement
                && row.get::<String, _>(1) == run.period.to_string()
                && row.get::<String, _>(2) == parties;
            return if same {
                Ok(false)
            } else {
                Err(ServiceError::conflict("this run identifier was used before; choose another"))
            };
        }
        sqlx::query(
            "INSERT INTO runs (run_id, agreement, period, parties, state, step, opened_at) VALUES (?, ?, ?, ?, ?, '', ?)",
        )
        .bind(run.id.as_str())
        .bind(agreement)
        .bind(run.period.to_string())
        .bind(parties)
        .bind(State::Collecting.as_str())
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(true)
    }

    fn run_of(row: &sqlx::sqlite::SqliteRow) -> Result<Run, ServiceError> {
        let parties: Vec<PartyId> = serde_json::from_str(&row.get::<String, _>("parties"))
            .map_err(|_| ServiceError::internal("malformed parties in the store"))?;
        Ok(Run {
            id: id(&row.get::<String, _>("run_id"))?,
            period: id(&row.get::<String, _>("period"))?,
            parties,
            state: State::parse(&row.get::<String, _>("state"))?,
            step: row.get("step"),
            reason: row.get("reason"),
        })
    }

    /// One run; `NotFound` when there is none of that name.
    pub async fn run(&self, run: &RunId) -> Result<Run, ServiceError> {
        let row = sqlx::query("SELECT * FROM runs WHERE run_id = ?")
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?
            .ok_or_else(|| ServiceError::not_found("no run of this identifier; `linkage run list` shows those that there are"))?;
        Self::run_of(&row)
    }

    /// All runs, oldest first.
    pub async fn runs(&self) -> Result<Vec<Run>, ServiceError> {
        let rows = sqlx::query("SELECT * FROM runs ORDER BY opened_at, rowid").fetch_all(&self.pool).await.map_err(db)?;
        rows.iter().map(Self::run_of).collect()
    }

    /// Parties whose upload to `run` is committed.
    pub async fn committed(&self, run: &RunId) -> Result<Vec<Upload>, ServiceError> {
        let rows = sqlx::query("SELECT * FROM uploads WHERE run_id = ? ORDER BY party")
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
                })
            })
            .collect()
    }

    /// The batches of one party that are held, by rising sequence.
    pub async fn batches(&self, run: &RunId, party: &PartyId) -> Result<Vec<HeldBatch>, ServiceError> {
        let rows = sqlx::query("SELECT sequence, records, digest FROM batches WHERE run_id = ? AND party = ? ORDER BY sequence")
            .bind(run.as_str())
            .bind(party.as_str())
            .fetch_all(&self.pool)
            .await
            .map_err(db)?;
        Ok(rows
            .iter()
            .map(|row| HeldBatch {
                sequence: row.get::<i64, _>(0) as u32,
                records: row.get::<i64, _>(1) as u64,
                digest: row.get(2),
            })
            .collect())
    }

    /// One batch that is held, if it is.
    pub async fn batch(&self, run: &RunId, party: &PartyId, sequence: u32) -> Result<Option<HeldBatch>, ServiceError> {
        let row = sqlx::query("SELECT records, digest FROM batches WHERE run_id = ? AND party = ? AND sequence = ?")
            .bind(run.as_str())
            .bind(party.as_str())
            .bind(i64::from(sequence))
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        Ok(row.map(|row| HeldBatch { sequence, records: row.get::<i64, _>(0) as u64, digest: row.get(1) }))
    }

    /// Notes a batch whose blob is stored. Repeating the same one changes nothing; one of another digest is a conflict.
    pub async fn insert_batch(&self, run: &RunId, party: &PartyId, batch: &HeldBatch) -> Result<(), ServiceError> {
        sqlx::query(
            "INSERT INTO batches (run_id, party, sequence, records, digest) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(run.as_str())
        .bind(party.as_str())
        .bind(i64::from(batch.sequence))
        .bind(batch.records as i64)
        .bind(&batch.digest)
        .execute(&self.pool)
        .await
        .map_err(db)?;
        match self.batch(run, party, batch.sequence).await? {
            Some(held) if held.digest == batch.digest => Ok(()),
            _ => Err(ServiceError::conflict("another batch is held under this sequence number")),
        }
    }

    /// Commits an upload; when it is the last one awaited, the run passes to linking and a job is created.
    pub async fn commit_upload(&self, run: &Run, upload: &Upload) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(db)?;
        sqlx::query("INSERT INTO uploads (run_id, party, batches, records, digest, level_frequencies) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(run.id.as_str())
            .bind(upload.party.as_str())
            .bind(i64::from(upload.batches))
            .bind(upload.records as i64)
            .bind(&upload.digest)
            .bind(&upload.level_frequencies)
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        let committed: i64 = sqlx::query("SELECT count(*) FROM uploads WHERE run_id = ?")
            .bind(run.id.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(db)?
            .get(0);
        if committed as usize == run.parties.len() {
            sqlx::query("UPDATE runs SET state = 'linking', step = 'compare' WHERE run_id = ? AND state = 'collecting'")
                .bind(run.id.as_str())
                .execute(&mut *tx)
                .await
                .map_err(db)?;
            sqlx::query("INSERT INTO jobs (run_id) VALUES (?) ON CONFLICT DO NOTHING")
                .bind(run.id.as_str())
                .execute(&mut *tx)
                .await
                .map_err(db)?;
        }
        tx.commit().await.map_err(db)
    }

    /// Ends a run that is not final yet: it only remains to delete what it holds. `Ok(false)` when it was final already.
    pub async fn end_run(&self, run: &RunId, state: State, reason: &str) -> Result<bool, ServiceError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(db)?;
        let done = sqlx::query(
            "UPDATE runs SET state = ?, step = 'delete', reason = ? WHERE run_id = ? AND state IN ('collecting', 'linking', 'delivering')",
        )
        .bind(state.as_str())
        .bind(reason)
        .bind(run.as_str())
        .execute(&mut *tx)
        .await
        .map_err(db)?
        .rows_affected()
            > 0;
        if done {
            sqlx::query("INSERT INTO jobs (run_id) VALUES (?) ON CONFLICT (run_id) DO UPDATE SET not_before = 0")
                .bind(run.as_str())
                .execute(&mut *tx)
                .await
                .map_err(db)?;
        }
        tx.commit().await.map_err(db)?;
        Ok(done)
    }

    /// Leases a job that nobody works on to `owner` until `now + lease_s`.
    pub async fn lease(&self, owner: &str, now: i64, lease_s: i64) -> Result<Option<(Run, Step)>, ServiceError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(db)?;
        let row = sqlx::query(
            "SELECT r.* FROM jobs j JOIN runs r USING (run_id)
             WHERE (j.lease_until <= ? OR j.owner = ?) AND j.not_before <= ? ORDER BY r.opened_at, r.rowid LIMIT 1",
        )
        .bind(now)
        .bind(owner)
        .bind(now)
        .fetch_optional(&mut *tx)
        .await
        .map_err(db)?;
        let Some(row) = row else { return Ok(None) };
        let run = Self::run_of(&row)?;
        let step = Step::parse(&run.step)?;
        sqlx::query("UPDATE jobs SET owner = ?, lease_until = ? WHERE run_id = ?")
            .bind(owner)
            .bind(now + lease_s)
            .bind(run.id.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(Some((run, step)))
    }

    /// Prolongs a lease; `false` when it was lost to another worker.
    pub async fn renew(&self, run: &RunId, owner: &str, until: i64) -> Result<bool, ServiceError> {
        let done = sqlx::query("UPDATE jobs SET lease_until = ? WHERE run_id = ? AND owner = ?")
            .bind(until)
            .bind(run.as_str())
            .bind(owner)
            .execute(&self.pool)
            .await
            .map_err(db)?;
        Ok(done.rows_affected() > 0)
    }

    /// Moves a run from the step just done to the next, if `owner` still holds the lease and nobody ended the run meanwhile.
    pub async fn advance(&self, run: &RunId, owner: &str, from: Step, to: Step) -> Result<(), ServiceError> {
        let state = if to == Step::Deliver {
            State::Delivering
        } else if to == Step::Delete {
            State::Closed
        } else {
            State::Linking
        };
        sqlx::query(
            "UPDATE runs SET step = ?, state = ? WHERE run_id = ? AND step = ?
             AND EXISTS (SELECT 1 FROM jobs WHERE jobs.run_id = runs.run_id AND jobs.owner = ?)",
        )
        .bind(to.as_str())
        .bind(state.as_str())
        .bind(run.as_str())
        .bind(from.as_str())
        .bind(owner)
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(())
    }

    /// How often a run's step has been tried in vain.
    pub async fn attempts(&self, run: &RunId) -> Result<u32, ServiceError> {
        let row = sqlx::query("SELECT attempts FROM jobs WHERE run_id = ?")
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        Ok(row.map_or(0, |row| row.get::<i64, _>(0) as u32))
    }

    /// Gives a lease back after a fault that may pass.
    pub async fn postpone(&self, run: &RunId, owner: &str, not_before: i64) -> Result<(), ServiceError> {
        sqlx::query(
            "UPDATE jobs SET owner = '', lease_until = 0, attempts = attempts + 1, not_before = ? WHERE run_id = ? AND owner = ?",
        )
        .bind(not_before)
        .bind(run.as_str())
        .bind(owner)
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(())
    }

    /// Ends a job whose encodings are deleted: records the signed deletion and forgets batches and level frequencies.
    pub async fn finish(&self, run: &RunId, statement: &str, signature: &[u8], now: i64) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(db)?;
        sqlx::query(
            "INSERT INTO deletions (run_id, statement, signature, deleted_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(run.as_str())
        .bind(statement)
        .bind(signature)
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        for forget in [
            "DELETE FROM batches WHERE run_id = ?",
            "UPDATE uploads SET level_frequencies = x'' WHERE run_id = ?",
            "DELETE FROM jobs WHERE run_id = ?",
            "UPDATE runs SET step = '' WHERE run_id = ?",
        ] {
            sqlx::query(forget).bind(run.as_str()).execute(&mut *tx).await.map_err(db)?;
        }
        tx.commit().await.map_err(db)
    }

    /// The signed deletion of a run: statement and signature.
    pub async fn deletion(&self, run: &RunId) -> Result<Option<(String, Vec<u8>)>, ServiceError> {
        let row = sqlx::query("SELECT statement, signature FROM deletions WHERE run_id = ?")
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        Ok(row.map(|row| (row.get(0), row.get(1))))
    }

    /// Stores one party's contribution. A repeated identical one changes nothing; a different one is a conflict.
    pub async fn put_contributions(&self, agreement: &[u8], envelopes: &[Contribution]) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(db)?;
        for envelope in envelopes {
            sqlx::query(
                "INSERT INTO contributions (sender, recipient, agreement, envelope) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )
            .bind(envelope.from.as_str())
            .bind(envelope.to.as_str())
            .bind(agreement)
            .bind(&envelope.envelope)
            .execute(&mut *tx)
            .await
            .map_err(db)?;
            let held: Vec<u8> =
                sqlx::query("SELECT envelope FROM contributions WHERE agreement = ? AND sender = ? AND recipient = ?")
                    .bind(agreement)
                    .bind(envelope.from.as_str())
                    .bind(envelope.to.as_str())
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(db)?
                    .get(0);
            if held != envelope.envelope {
                return Err(ServiceError::conflict("this party has contributed to the group key already"));
            }
        }
        tx.commit().await.map_err(db)
    }

    /// Envelopes addressed to `party`, by sender.
    pub async fn contributions_for(&self, agreement: &[u8], party: &PartyId) -> Result<Vec<Contribution>, ServiceError> {
        let rows = sqlx::query("SELECT * FROM contributions WHERE agreement = ? AND recipient = ? ORDER BY sender")
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
        let rows = sqlx::query("SELECT DISTINCT sender FROM contributions WHERE agreement = ? ORDER BY sender")
            .bind(agreement)
            .fetch_all(&self.pool)
            .await
            .map_err(db)?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
