//! The custodian's durable state: budgets, handles of runs under way, the registry, link tables.
//!
//! One method is one transaction. Record references and person ids are random; sealed attributes stay sealed.

use std::collections::HashMap;

use linkage_agreement::{Handle, PartyId, Period, PersonId, RecordRef, RunId};
use linkage_common::error::ServiceError;
use sqlx::{Row, SqlitePool};

use crate::registry::{self, Change, Known, PartyRef};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

fn db(error: sqlx::Error) -> ServiceError {
    ServiceError::from(error)
}

/// One record of a run, as its node sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// Name within the run.
    pub handle: Handle,
    /// Name within the agreement.
    pub reference: RecordRef,
    /// Whether the party delivered it for the run's period.
    pub present: bool,
    /// For every analyst, in the agreement's order: length (2, little-endian) and sealed attributes.
    pub sealed: Vec<u8>,
}

/// A batch of records or clusters that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBatch {
    /// Position.
    pub sequence: u32,
    /// Records in it.
    pub records: u64,
    /// SHA-256.
    pub digest: Vec<u8>,
}

/// A committed upload of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordUpload {
    /// Digest over the batches' digests.
    pub digest: Vec<u8>,
    /// Records in it.
    pub records: u64,
}

/// One member of a cluster as the broker sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name within the run.
    pub handle: Handle,
    /// Match class.
    pub match_class: u8,
    /// Probability in ten-thousandths.
    pub probability: u16,
}

/// A row of a link table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRow {
    /// Party.
    pub party: PartyId,
    /// The record.
    pub reference: RecordRef,
    /// The person.
    pub person: PersonId,
    /// Match class; 0 for a record without link.
    pub match_class: u8,
    /// Probability in ten-thousandths; 0 for a record without link.
    pub probability: u16,
    /// As in [`RunRecord::sealed`].
    pub sealed: Vec<u8>,
}

/// A run whose link table is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyRun {
    /// Identifier.
    pub run: RunId,
    /// Month.
    pub period: Period,
    /// Parties.
    pub parties: Vec<PartyId>,
    /// Rows.
    pub rows: u64,
}

/// The custodian's database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens the database at `path`, creating and migrating it as needed.
    pub async fn open(path: &std::path::Path) -> Result<Self, ServiceError> {
        let pool = linkage_common::store::open_sqlite(path).await?;
        linkage_common::store::migrate(&pool, &MIGRATIONS).await?;
        Ok(Self { pool })
    }

    /// Raises a party's declared records for a period (never lowers them); returns records declared and evaluations used.
    pub async fn declare(&self, party: &PartyId, period: Period, records: u64) -> Result<(u64, u64), ServiceError> {
        let row = sqlx::query(
            "INSERT INTO budgets (party, period, declared) VALUES (?, ?, ?)
             ON CONFLICT (party, period) DO UPDATE SET declared = max(declared, excluded.declared) RETURNING declared, used",
        )
        .bind(party.as_str())
        .bind(period.to_string())
        .bind(records as i64)
        .fetch_one(&self.pool)
        .await
        .map_err(db)?;
        Ok((row.get::<i64, _>(0) as u64, row.get::<i64, _>(1) as u64))
    }

    /// Charges a batch of `elements` evaluations, once for each distinct request. `budget_of` turns declared records into
    /// evaluations. `Exhausted` when the budget does not hold it, `Refused` when nothing was declared.
    pub async fn charge(
        &self,
        party: &PartyId,
        period: Period,
        digest: &[u8],
        elements: u64,
        budget_of: impl Fn(u64) -> u64,
    ) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(db)?;
        let row = sqlx::query("SELECT declared, used FROM budgets WHERE party = ? AND period = ?")
            .bind(party.as_str())
            .bind(period.to_string())
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?
            .ok_or_else(|| ServiceError::refused("declare the period's number of records before asking for evaluations"))?;
        let (declared, used) = (row.get::<i64, _>(0) as u64, row.get::<i64, _>(1) as u64);
        let fresh =
            sqlx::query("INSERT INTO evaluations (party, period, digest, elements) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING")
                .bind(party.as_str())
                .bind(period.to_string())
                .bind(digest)
                .bind(elements as i64)
                .execute(&mut *tx)
                .await
                .map_err(db)?
                .rows_affected()
                > 0;
        if fresh {
            let budget = budget_of(declared);
            if used + elements > budget {
                return Err(ServiceError::exhausted(format!(
                    "the period's budget of {budget} evaluations does not hold this batch ({used} used); the declared number of records is too small, or the same records are encoded again without their cache"
                )));
            }
            sqlx::query("UPDATE budgets SET used = used + ? WHERE party = ? AND period = ?")
                .bind(elements as i64)
                .bind(party.as_str())
                .bind(period.to_string())
                .execute(&mut *tx)
                .await
                .map_err(db)?;
        }
        tx.commit().await.map_err(db)
    }

    /// State of a run here: `None`, `collecting`, `clustered` or `ready`.
    pub async fn run_state(&self, run: &RunId) -> Result<Option<String>, ServiceError> {
        let row = sqlx::query("SELECT state FROM runs WHERE run_id = ?")
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        Ok(row.map(|row| row.get(0)))
    }

    /// The record batches of one party that are held.
    pub async fn record_batches(&self, run: &RunId, party: &PartyId) -> Result<Vec<HeldBatch>, ServiceError> {
        let rows =
            sqlx::query("SELECT sequence, records, digest FROM record_batches WHERE run_id = ? AND party = ? ORDER BY sequence")
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

    /// Stores a batch of records. Repeating it changes nothing; another batch under its number, or a handle or reference
    /// that is there already, is a conflict.
    pub async fn put_records(
        &self,
        run: &RunId,
        party: &PartyId,
        batch: &HeldBatch,
        records: &[RunRecord],
    ) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(db)?;
        sqlx::query("INSERT INTO runs (run_id, state) VALUES (?, 'collecting') ON CONFLICT DO NOTHING")
            .bind(run.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        let held: Option<Vec<u8>> =
            sqlx::query("SELECT digest FROM record_batches WHERE run_id = ? AND party = ? AND sequence = ?")
                .bind(run.as_str())
                .bind(party.as_str())
                .bind(i64::from(batch.sequence))
                .fetch_optional(&mut *tx)
                .await
                .map_err(db)?
                .map(|row| row.get(0));
        match held {
            Some(digest) if digest == batch.digest => return Ok(()),
            Some(_) => return Err(ServiceError::conflict("another batch is held under this sequence number")),
            None => {}
        }
        let committed = sqlx::query("SELECT 1 FROM record_uploads WHERE run_id = ? AND party = ?")
            .bind(run.as_str())
            .bind(party.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
        if committed.is_some() {
            return Err(ServiceError::refused("this party has committed its records of this run"));
        }
        sqlx::query("INSERT INTO record_batches (run_id, party, sequence, digest, records) VALUES (?, ?, ?, ?, ?)")
            .bind(run.as_str())
            .bind(party.as_str())
            .bind(i64::from(batch.sequence))
            .bind(&batch.digest)
            .bind(batch.records as i64)
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        for record in records {
            let done = sqlx::query("INSERT INTO handles (run_id, party, handle, ref, present, sealed) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")
                .bind(run.as_str())
                .bind(party.as_str())
                .bind(&record.handle.0[..])
                .bind(&record.reference.0[..])
                .bind(record.present)
                .bind(&record.sealed)
                .execute(&mut *tx)
                .await
                .map_err(db)?;
            if done.rows_affected() == 0 {
                return Err(ServiceError::conflict("a handle or a record reference stands twice in this run"));
            }
        }
        tx.commit().await.map_err(db)
    }

    /// A party's committed upload, if there is one.
    pub async fn record_upload(&self, run: &RunId, party: &PartyId) -> Result<Option<RecordUpload>, ServiceError> {
        let row = sqlx::query("SELECT digest, records FROM record_uploads WHERE run_id = ? AND party = ?")
            .bind(run.as_str())
            .bind(party.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        Ok(row.map(|row| RecordUpload { digest: row.get(0), records: row.get::<i64, _>(1) as u64 }))
    }

    /// Commits a party's records; `sealed_keys` is a JSON object from analyst to base64.
    pub async fn commit_records(
        &self,
        run: &RunId,
        party: &PartyId,
        period: Period,
        upload: &RecordUpload,
        sealed_keys: &str,
    ) -> Result<(), ServiceError> {
        sqlx::query("INSERT INTO record_uploads (run_id, party, period, digest, records, sealed_keys) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(run.as_str())
            .bind(party.as_str())
            .bind(period.to_string())
            .bind(&upload.digest)
            .bind(upload.records as i64)
            .bind(sealed_keys)
            .execute(&self.pool)
            .await
            .map_err(db)?;
        Ok(())
    }

    /// Parties of a run that have committed their records, with the period each declared.
    pub async fn committed(&self, run: &RunId) -> Result<Vec<(PartyId, String)>, ServiceError> {
        let rows = sqlx::query("SELECT party, period FROM record_uploads WHERE run_id = ?")
            .bind(run.as_str())
            .fetch_all(&self.pool)
            .await
            .map_err(db)?;
        rows.iter().map(|row| Ok((party_of(row, 0)?, row.get(1)))).collect()
    }

    /// Stores a batch of clusters. Repeating it changes nothing.
    pub async fn put_clusters(
        &self,
        run: &RunId,
        sequence: u32,
        last: bool,
        digest: &[u8],
        clusters: &[u8],
    ) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(db)?;
        sqlx::query("INSERT INTO cluster_batches (run_id, sequence, last, digest, clusters) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(run.as_str())
            .bind(i64::from(sequence))
            .bind(last)
            .bind(digest)
            .bind(clusters)
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        let held: Vec<u8> = sqlx::query("SELECT digest FROM cluster_batches WHERE run_id = ? AND sequence = ?")
            .bind(run.as_str())
            .bind(i64::from(sequence))
            .fetch_one(&mut *tx)
            .await
            .map_err(db)?
            .get(0);
        if held != digest {
            return Err(ServiceError::conflict("other clusters are held under this sequence number"));
        }
        tx.commit().await.map_err(db)
    }

    /// Marks a run as having all its clusters, once batches 0..=last are all there.
    pub async fn clusters_complete(
        &self,
        run: &RunId,
        period: Period,
        parties: &[PartyId],
        report: &[u8],
    ) -> Result<bool, ServiceError> {
        let parties: Vec<&str> = parties.iter().map(PartyId::as_str).collect();
        let parties = serde_json::to_string(&parties).map_err(|_| ServiceError::internal("parties as JSON"))?;
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(db)?;
        let row = sqlx::query(
            "SELECT count(*), coalesce(max(CASE WHEN last THEN sequence END), -1) FROM cluster_batches WHERE run_id = ?",
        )
        .bind(run.as_str())
        .fetch_one(&mut *tx)
        .await
        .map_err(db)?;
        let (held, last) = (row.get::<i64, _>(0), row.get::<i64, _>(1));
        if last < 0 || held != last + 1 {
            return Ok(false);
        }
        sqlx::query(
            "UPDATE runs SET state = 'clustered', period = ?, parties = ?, report = ? WHERE run_id = ? AND state = 'collecting'",
        )
        .bind(period.to_string())
        .bind(parties)
        .bind(report)
        .bind(run.as_str())
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(true)
    }

    /// Runs whose clusters are complete and not yet taken into the registry.
    pub async fn clustered(&self) -> Result<Vec<RunId>, ServiceError> {
        let rows = sqlx::query("SELECT run_id FROM runs WHERE state = 'clustered' ORDER BY rowid")
            .fetch_all(&self.pool)
            .await
            .map_err(db)?;
        rows.iter().map(|row| id(&row.get::<String, _>(0))).collect()
    }

    /// Takes a clustered run into the registry, in one transaction: persons, supersessions, link table; then forgets the
    /// run's handles and clusters. Killed anywhere, it has happened wholly or not at all.
    pub async fn register(&self, run: &RunId, mut mint: impl FnMut() -> PersonId) -> Result<u64, ServiceError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(db)?;
        let mut records: HashMap<Handle, (PartyId, RunRecord)> = HashMap::new();
        for row in sqlx::query("SELECT party, handle, ref, present, sealed FROM handles WHERE run_id = ?")
            .bind(run.as_str())
            .fetch_all(&mut *tx)
            .await
            .map_err(db)?
        {
            let handle = Handle(bytes16(&row, 1)?);
            let record = RunRecord { handle, reference: RecordRef(bytes16(&row, 2)?), present: row.get(3), sealed: row.get(4) };
            records.insert(handle, (party_of(&row, 0)?, record));
        }
        let mut packed = Vec::new();
        for row in sqlx::query("SELECT clusters FROM cluster_batches WHERE run_id = ? ORDER BY sequence")
            .bind(run.as_str())
            .fetch_all(&mut *tx)
            .await
            .map_err(db)?
        {
            packed.extend(crate::service::unpack_clusters(&row.get::<Vec<u8>, _>(0))?);
        }
        // Members without a record here are decoys (or a broker's error): they name nobody.
        let mut links: HashMap<Handle, (u8, u16)> = HashMap::new();
        let mut grouped: Vec<Vec<Handle>> = Vec::new();
        for cluster in packed {
            let members: Vec<&Member> =
                cluster.iter().filter(|m| records.contains_key(&m.handle) && !links.contains_key(&m.handle)).collect();
            if members.len() > 1 {
                links.extend(members.iter().map(|m| (m.handle, (m.match_class, m.probability))));
                grouped.push(members.iter().map(|m| m.handle).collect());
            }
        }
        let mut single: Vec<Handle> = records.keys().filter(|h| !links.contains_key(h)).copied().collect();
        single.sort_by_key(|h| records.get(h).map(|(party, r)| (party.clone(), r.reference)));
        grouped.extend(single.into_iter().map(|h| vec![h]));
        let key = |handle: &Handle| records.get(handle).map(|(party, r)| (party.clone(), r.reference));
        let clusters: Vec<Vec<PartyRef>> = grouped.iter().map(|group| group.iter().filter_map(key).collect()).collect();

        let mut known: HashMap<PartyRef, Known> = HashMap::new();
        for row in sqlx::query("SELECT r.party, r.ref, r.person, p.born FROM refs r JOIN persons p USING (person)")
            .fetch_all(&mut *tx)
            .await
            .map_err(db)?
        {
            known.insert(
                (party_of(&row, 0)?, RecordRef(bytes16(&row, 1)?)),
                Known { person: PersonId(bytes16(&row, 2)?), born: row.get(3) },
            );
        }
        let assignment = registry::assign(&clusters, &known, &mut mint);

        let mut born: i64 =
            sqlx::query("SELECT coalesce(max(born), 0) FROM persons").fetch_one(&mut *tx).await.map_err(db)?.get(0);
        for (group, (person, new)) in grouped.iter().zip(&assignment.persons) {
            if *new {
                born += 1;
                sqlx::query("INSERT INTO persons (person, born) VALUES (?, ?)")
                    .bind(&person.0[..])
                    .bind(born)
                    .execute(&mut *tx)
                    .await
                    .map_err(db)?;
            }
            for handle in group {
                let Some((party, record)) = records.get(handle) else { continue };
                sqlx::query("INSERT INTO refs (party, ref, person) VALUES (?, ?, ?) ON CONFLICT (party, ref) DO UPDATE SET person = excluded.person")
                    .bind(party.as_str())
                    .bind(&record.reference.0[..])
                    .bind(&person.0[..])
                    .execute(&mut *tx)
                    .await
                    .map_err(db)?;
                if record.present {
                    let (class, probability) = links.get(handle).copied().unwrap_or((0, 0));
                    sqlx::query("INSERT INTO link_rows (run_id, party, ref, person, match_class, probability, sealed) VALUES (?, ?, ?, ?, ?, ?, ?)")
                        .bind(run.as_str())
                        .bind(party.as_str())
                        .bind(&record.reference.0[..])
                        .bind(&person.0[..])
                        .bind(i64::from(class))
                        .bind(i64::from(probability))
                        .bind(&record.sealed)
                        .execute(&mut *tx)
                        .await
                        .map_err(db)?;
                }
            }
        }
        for change in &assignment.supersessions {
            sqlx::query("INSERT INTO supersessions (run_id, old_person, new_person, kind) VALUES (?, ?, ?, ?)")
                .bind(run.as_str())
                .bind(&change.old.0[..])
                .bind(&change.new.0[..])
                .bind(if change.change == Change::Merge { 1_i64 } else { 2 })
                .execute(&mut *tx)
                .await
                .map_err(db)?;
            if change.change == Change::Merge {
                // References outside this run follow the person they belong to.
                sqlx::query("UPDATE refs SET person = ? WHERE person = ?")
                    .bind(&change.new.0[..])
                    .bind(&change.old.0[..])
                    .execute(&mut *tx)
                    .await
                    .map_err(db)?;
            }
        }
        sqlx::query(
            "UPDATE runs SET state = 'ready', position = (SELECT coalesce(max(position), 0) + 1 FROM runs) WHERE run_id = ?",
        )
        .bind(run.as_str())
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        for forget in [
            "DELETE FROM handles WHERE run_id = ?",
            "DELETE FROM cluster_batches WHERE run_id = ?",
            "DELETE FROM record_batches WHERE run_id = ?",
        ] {
            sqlx::query(forget).bind(run.as_str()).execute(&mut *tx).await.map_err(db)?;
        }
        tx.commit().await.map_err(db)?;
        Ok(assignment.persons.len() as u64)
    }

    /// Runs whose link table is ready, in the order in which they became so.
    pub async fn ready(&self) -> Result<Vec<ReadyRun>, ServiceError> {
        let rows = sqlx::query(
            "SELECT run_id, period, parties, (SELECT count(*) FROM link_rows l WHERE l.run_id = runs.run_id) FROM runs WHERE state = 'ready' ORDER BY position",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        rows.iter()
            .map(|row| {
                Ok(ReadyRun {
                    run: id(&row.get::<String, _>(0))?,
                    period: id(&row.get::<String, _>(1))?,
                    parties: serde_json::from_str(&row.get::<String, _>(2))
                        .map_err(|_| ServiceError::internal("malformed parties in the store"))?,
                    rows: row.get::<i64, _>(3) as u64,
                })
            })
            .collect()
    }

    /// A page of a link table's rows, in an order that says nothing of the records: by random reference.
    pub async fn link_rows(&self, run: &RunId, offset: u64, limit: u64) -> Result<Vec<LinkRow>, ServiceError> {
        let rows = sqlx::query("SELECT party, ref, person, match_class, probability, sealed FROM link_rows WHERE run_id = ? ORDER BY ref, party LIMIT ? OFFSET ?")
            .bind(run.as_str())
            .bind(limit as i64)
            .bind(offset as i64)
            .fetch_all(&self.pool)
            .await
            .map_err(db)?;
        rows.iter()
            .map(|row| {
                Ok(LinkRow {
                    party: party_of(row, 0)?,
                    reference: RecordRef(bytes16(row, 1)?),
                    person: PersonId(bytes16(row, 2)?),
                    match_class: row.get::<i64, _>(3) as u8,
                    probability: row.get::<i64, _>(4) as u16,
                    sealed: row.get(5),
                })
            })
            .collect()
    }

    /// Persons replaced in a run: old, new, kind.
    pub async fn supersessions(&self, run: &RunId) -> Result<Vec<(PersonId, PersonId, u32)>, ServiceError> {
        let rows = sqlx::query("SELECT old_person, new_person, kind FROM supersessions WHERE run_id = ? ORDER BY rowid")
            .bind(run.as_str())
            .fetch_all(&self.pool)
            .await
            .map_err(db)?;
        rows.iter().map(|row| Ok((PersonId(bytes16(row, 0)?), PersonId(bytes16(row, 1)?), row.get::<i64, _>(2) as u32))).collect()
    }

    /// The report of a run, and each party's attribute keys (JSON object from analyst to base64).
    pub async fn run_papers(&self, run: &RunId) -> Result<(Vec<u8>, Vec<(PartyId, String)>), ServiceError> {
        let report = sqlx::query("SELECT report FROM runs WHERE run_id = ?")
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?
            .ok_or_else(|| ServiceError::not_found("no run of this identifier"))?
            .get(0);
        let rows = sqlx::query("SELECT party, sealed_keys FROM record_uploads WHERE run_id = ?")
            .bind(run.as_str())
            .fetch_all(&self.pool)
            .await
            .map_err(db)?;
        let keys = rows.iter().map(|row| Ok((party_of(row, 0)?, row.get(1)))).collect::<Result<_, ServiceError>>()?;
        Ok((report, keys))
    }
}

fn id<T: std::str::FromStr>(text: &str) -> Result<T, ServiceError> {
    text.parse().map_err(|_| ServiceError::internal("malformed identifier in the store"))
}

fn party_of(row: &sqlx::sqlite::SqliteRow, column: usize) -> Result<PartyId, ServiceError> {
    id(&row.get::<String, _>(column))
}

fn bytes16(row: &sqlx::sqlite::SqliteRow, column: usize) -> Result<[u8; 16], ServiceError> {
    row.get::<Vec<u8>, _>(column).try_into().map_err(|_| ServiceError::internal("malformed identifier in the store"))
}
