//! The custodian's durable state: handles and clusters of runs under way. Budgets, the registry and link tables are in
//! [`crate::budgets`], [`crate::register`] and [`crate::link_tables`].
//!
//! One method is one transaction. Record references and person ids are random; sealed attributes stay sealed.

use linkage_agreement::{Handle, PartyId, Period, RecordRef, RunId};
use linkage_common::batches::{HeldBatch, manifest_digest};
use linkage_common::database::Place;
use linkage_common::error::ServiceError;
use linkage_common::store::{Connection, InsertRows, Pool, Row as StoreRow, Schema, db, held_batches, id};
use sqlx::Row;
use tokio_stream::StreamExt;

/// The custodian's schema.
pub static SCHEMA: Schema = Schema {
    role: "custodian",
    sqlite: sqlx::migrate!("./migrations"),
    postgres: sqlx::migrate!("./migrations/postgres"),
    sqlite_session: SMALL_CACHE,
};

/// Page cache of a connection, 32 MiB.
pub(crate) const SMALL_CACHE: &str = "PRAGMA cache_size = -32768";

/// Rows that one statement inserts: what a statement costs by itself is then a small part. SQLite binds at most 32,766
/// values to one, six a row.
pub(crate) const ROWS_PER_INSERT: usize = 256;

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

/// A committed upload of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordUpload {
    /// Digest over the batches' digests.
    pub digest: Vec<u8>,
    /// Records in it.
    pub records: u64,
    /// The run's month, as this party's order names it.
    pub period: Period,
    /// The run's reference party, likewise.
    pub reference_party: Option<PartyId>,
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

/// The custodian's database.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) pool: Pool,
}

impl Store {
    /// Opens the SQLite database at `path`, creating and migrating it as needed.
    pub async fn open(path: &std::path::Path) -> Result<Self, ServiceError> {
        Self::open_at(&Place::File(path.to_owned())).await
    }

    /// Opens the database at `place`, migrating it as needed.
    pub async fn open_at(place: &Place) -> Result<Self, ServiceError> {
        Ok(Self { pool: Pool::open(place, &SCHEMA).await? })
    }

    /// State of a run here: `None`, `collecting`, `clustered`, `ready` or `closed`.
    pub async fn run_state(&self, run: &RunId) -> Result<Option<String>, ServiceError> {
        let row = sqlx::query("SELECT state FROM runs WHERE run_id = $1")
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        Ok(row.map(|row| row.get(0)))
    }

    /// The record batches of one party that are held.
    pub async fn record_batches(&self, run: &RunId, party: &PartyId) -> Result<Vec<HeldBatch>, ServiceError> {
        let rows = sqlx::query(
            "SELECT sequence, records, digest FROM record_batches WHERE run_id = $1 AND party = $2 ORDER BY sequence",
        )
        .bind(run.as_str())
        .bind(party.as_str())
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        Ok(held_batches(&rows))
    }

    /// Stores a batch of records after those of before. Repeating it changes nothing; another batch under its number is a
    /// conflict. More than `limit` records of the party in the run are refused, however many streams they come in.
    pub async fn put_records(
        &self,
        run: &RunId,
        party: &PartyId,
        batch: &HeldBatch,
        records: &[RunRecord],
        limit: u64,
    ) -> Result<(), ServiceError> {
        // An upload of no record is one empty batch. Any other one would be a row that no limit on records counts.
        if records.is_empty() && batch.sequence != 0 {
            return Err(ServiceError::invalid(
                "un lot sans fiche ne peut être que le premier d'un envoi ; vérifiez la version du logiciel du nœud",
            ));
        }
        let mut tx = self.pool.begin("put_records").await.map_err(db)?;
        sqlx::query("INSERT INTO runs (run_id, state) VALUES ($1, 'collecting') ON CONFLICT DO NOTHING")
            .bind(run.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        let held: Option<Vec<u8>> =
            sqlx::query("SELECT digest FROM record_batches WHERE run_id = $1 AND party = $2 AND sequence = $3")
                .bind(run.as_str())
                .bind(party.as_str())
                .bind(i64::from(batch.sequence))
                .fetch_optional(&mut *tx)
                .await
                .map_err(db)?
                .map(|row| row.get(0));
        if batch.is_repeated(held.as_deref())? {
            return Ok(());
        }
        let committed = sqlx::query("SELECT 1 FROM record_uploads WHERE run_id = $1 AND party = $2")
            .bind(run.as_str())
            .bind(party.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
        if committed.is_some() {
            return Err(ServiceError::conflict(
                "ce partenaire a clos son envoi pour ce traitement ; ouvrez un nouveau traitement pour le compléter",
            ));
        }
        refuse_unless_collecting(&mut tx, run).await?;
        let so_far: i64 =
            sqlx::query("SELECT CAST(coalesce(sum(records), 0) AS BIGINT) FROM record_batches WHERE run_id = $1 AND party = $2")
                .bind(run.as_str())
                .bind(party.as_str())
                .fetch_one(&mut *tx)
                .await
                .map_err(db)?
                .get(0);
        if so_far.unsigned_abs().saturating_add(batch.records) > limit {
            return Err(ServiceError::exhausted(format!(
                "la convention prévoit au plus {limit} fiches de ce partenaire dans un traitement ; un avenant peut relever ce nombre"
            )));
        }
        sqlx::query("INSERT INTO record_batches (run_id, party, sequence, digest, records) VALUES ($1, $2, $3, $4, $5)")
            .bind(run.as_str())
            .bind(party.as_str())
            .bind(i64::from(batch.sequence))
            .bind(&batch.digest)
            .bind(batch.records as i64)
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        for records in records.chunks(ROWS_PER_INSERT) {
            let insert = "INSERT INTO handles (run_id, party, handle, ref, present, sealed)";
            let insert = InsertRows::new(insert, records, |row, record| {
                row.bind(run.as_str())
                    .bind(party.as_str())
                    .bind(&record.handle.0[..])
                    .bind(&record.reference.0[..])
                    .bind(i64::from(record.present))
                    .bind(&record.sealed[..]);
            });
            insert.execute(&mut tx).await.map_err(db)?;
        }
        tx.commit().await.map_err(db)
    }

    /// A party's committed upload, if there is one.
    pub async fn record_upload(&self, run: &RunId, party: &PartyId) -> Result<Option<RecordUpload>, ServiceError> {
        let row =
            sqlx::query("SELECT digest, records, period, reference_party FROM record_uploads WHERE run_id = $1 AND party = $2")
                .bind(run.as_str())
                .bind(party.as_str())
                .fetch_optional(&self.pool)
                .await
                .map_err(db)?;
        row.map(|row| {
            Ok(RecordUpload {
                digest: row.get(0),
                records: row.get::<i64, _>(1) as u64,
                period: id(&row.get::<String, _>(2))?,
                reference_party: optional_party(&row, 3)?,
            })
        })
        .transpose()
    }

    /// Commits a party's records; `sealed_keys` is a JSON object from analyst to hexadecimal. A handle or a reference that it
    /// has sent twice is a conflict. Holds 40 bytes a record in memory.
    pub async fn commit_records(
        &self,
        run: &RunId,
        party: &PartyId,
        upload: &RecordUpload,
        sealed_keys: &str,
    ) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("commit_records").await.map_err(db)?;
        refuse_unless_collecting(&mut tx, run).await?;
        let done = sqlx::query(
            "INSERT INTO record_uploads (run_id, party, period, digest, records, sealed_keys, reference_party)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        )
        .bind(run.as_str())
        .bind(party.as_str())
        .bind(upload.period.to_string())
        .bind(&upload.digest)
        .bind(upload.records as i64)
        .bind(sealed_keys)
        .bind(upload.reference_party.as_ref().map(PartyId::as_str))
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        if done.rows_affected() == 0 {
            return Err(ServiceError::conflict(
                "ce partenaire a clos son envoi pour ce traitement au même instant ; vérifiez-le par le même appel",
            ));
        }
        if note_references(&mut tx, run, party).await? {
            return Err(ServiceError::conflict(
                "une fiche figure deux fois dans ce traitement ; ouvrez un nouveau traitement et renvoyez chaque fiche une fois",
            ));
        }
        tx.commit().await.map_err(db)
    }

    /// Parties of a run that have committed their records, with the period and the reference party that each declared.
    pub async fn committed(&self, run: &RunId) -> Result<Vec<(PartyId, String, Option<PartyId>)>, ServiceError> {
        let rows = sqlx::query("SELECT party, period, reference_party FROM record_uploads WHERE run_id = $1")
            .bind(run.as_str())
            .fetch_all(&self.pool)
            .await
            .map_err(db)?;
        rows.iter().map(|row| Ok((party_of(row, 0)?, row.get(1), optional_party(row, 2)?))).collect()
    }

    /// Stores a batch of clusters; `false` when the run's clusters were complete before. Repeating it changes nothing.
    pub async fn put_clusters(
        &self,
        run: &RunId,
        sequence: u32,
        last: bool,
        digest: &[u8],
        clusters: &[u8],
    ) -> Result<bool, ServiceError> {
        let mut tx = self.pool.begin("put_clusters").await.map_err(db)?;
        let state = sqlx::query("SELECT state FROM runs WHERE run_id = $1").bind(run.as_str()).fetch_optional(&mut *tx).await;
        match state.map_err(db)?.map(|row| row.get::<String, _>(0)).as_deref() {
            Some("collecting") => {}
            Some("clustered" | "ready") => return Ok(false),
            _ => return Err(ServiceError::conflict("ce traitement a été annulé ou a échoué ; ouvrez-en un autre")),
        }
        sqlx::query("INSERT INTO cluster_batches (run_id, sequence, last, digest, clusters) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING")
            .bind(run.as_str())
            .bind(i64::from(sequence))
            .bind(i64::from(last))
            .bind(digest)
            .bind(clusters)
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        let held: Vec<u8> = sqlx::query("SELECT digest FROM cluster_batches WHERE run_id = $1 AND sequence = $2")
            .bind(run.as_str())
            .bind(i64::from(sequence))
            .fetch_one(&mut *tx)
            .await
            .map_err(db)?
            .get(0);
        if held != digest {
            return Err(ServiceError::conflict("d'autres groupes sont détenus sous ce numéro ; ouvrez un nouveau traitement"));
        }
        tx.commit().await.map_err(db)?;
        Ok(true)
    }

    /// Marks a run as having all its clusters, once batches 0..=last are all there; `false` when they are not, or it was before.
    pub async fn clusters_complete(
        &self,
        run: &RunId,
        period: Period,
        parties: &[PartyId],
        reference_party: Option<&PartyId>,
        report: &[u8],
    ) -> Result<bool, ServiceError> {
        let parties: Vec<&str> = parties.iter().map(PartyId::as_str).collect();
        let parties = serde_json::to_string(&parties).map_err(|_| ServiceError::internal("parties as JSON"))?;
        let mut tx = self.pool.begin("clusters_complete").await.map_err(db)?;
        let rows = sqlx::query("SELECT sequence, last, digest FROM cluster_batches WHERE run_id = $1 ORDER BY sequence")
            .bind(run.as_str())
            .fetch_all(&mut *tx)
            .await
            .map_err(db)?;
        let whole = rows.iter().zip(0_i64..).all(|(row, position)| {
            row.get::<i64, _>(0) == position && (row.get::<i64, _>(1) != 0) == (position + 1 == rows.len() as i64)
        });
        if rows.is_empty() || !whole {
            return Ok(false);
        }
        let digest = manifest_digest(rows.iter().map(|row| row.get::<Vec<u8>, _>(2)));
        let done = sqlx::query(
            "UPDATE runs SET state = 'clustered', period = $1, parties = $2, reference_party = $3, report = $4, clusters_digest = $5
             WHERE run_id = $6 AND state = 'collecting'",
        )
        .bind(period.to_string())
        .bind(parties)
        .bind(reference_party.map(PartyId::as_str))
        .bind(report)
        .bind(digest.as_slice())
        .bind(run.as_str())
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(done.rows_affected() > 0)
    }

    /// The digest of a run's clusters, over its batches' digests; empty before they are complete.
    pub async fn clusters_digest(&self, run: &RunId) -> Result<Vec<u8>, ServiceError> {
        let row = sqlx::query("SELECT clusters_digest FROM runs WHERE run_id = $1")
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        Ok(row.map(|row| row.get(0)).unwrap_or_default())
    }

    /// Forgets a run that ended without clusters and refuses its records from now on; returns how many were forgotten.
    /// A run whose clusters are here stays as it is.
    pub async fn close(&self, run: &RunId) -> Result<u64, ServiceError> {
        let mut tx = self.pool.begin("close").await.map_err(db)?;
        sqlx::query("INSERT INTO runs (run_id, state) VALUES ($1, 'closed') ON CONFLICT (run_id) DO UPDATE SET state = 'closed' WHERE runs.state = 'collecting'")
            .bind(run.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        let state: String = sqlx::query("SELECT state FROM runs WHERE run_id = $1")
            .bind(run.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(db)?
            .get(0);
        if state != "closed" {
            return Ok(0);
        }
        let forgotten = sqlx::query("DELETE FROM handles WHERE run_id = $1")
            .bind(run.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db)?
            .rows_affected();
        for forget in [
            "DELETE FROM handle_refs WHERE run_id = $1",
            "DELETE FROM cluster_batches WHERE run_id = $1",
            "DELETE FROM record_batches WHERE run_id = $1",
            "DELETE FROM record_uploads WHERE run_id = $1",
        ] {
            sqlx::query(forget).bind(run.as_str()).execute(&mut *tx).await.map_err(db)?;
        }
        tx.commit().await.map_err(db)?;
        Ok(forgotten)
    }

    /// Runs whose clusters are complete and not yet taken into the registry.
    pub async fn clustered(&self) -> Result<Vec<RunId>, ServiceError> {
        let rows = sqlx::query("SELECT run_id FROM runs WHERE state = 'clustered' ORDER BY rowid")
            .fetch_all(&self.pool)
            .await
            .map_err(db)?;
        rows.iter().map(|row| id(&row.get::<String, _>(0))).collect()
    }
}

/// Notes the references of uploads that a replica of before migration 11 committed, which goes on during an update: it notes none, and
/// finds no record sent twice any more. Of those the first one counts.
pub(crate) async fn note_missing_references(connection: &mut Connection, run: &RunId) -> Result<(), ServiceError> {
    let missing = sqlx::query(
        "SELECT u.party FROM record_uploads u WHERE u.run_id = $1
         AND NOT EXISTS (SELECT 1 FROM handle_refs r WHERE r.run_id = u.run_id AND r.party = u.party)
         AND EXISTS (SELECT 1 FROM handles h WHERE h.run_id = u.run_id AND h.party = u.party)",
    );
    for row in missing.bind(run.as_str()).fetch_all(&mut *connection).await.map_err(db)? {
        note_references(connection, run, &party_of(&row, 0)?).await?;
    }
    Ok(())
}

/// Notes where each reference of a party's upload is, in the order of the references: by batches, which come in another order,
/// nearly every record would touch a page of the tree of its own. Says whether a handle or a reference came twice, and leaves the
/// later ones of a reference out.
async fn note_references(connection: &mut Connection, run: &RunId, party: &PartyId) -> Result<bool, ServiceError> {
    let mut handles: Vec<[u8; 16]> = Vec::new();
    let mut references: Vec<([u8; 16], i64)> = Vec::new();
    let mut rows = sqlx::query("SELECT handle, ref, id FROM handles WHERE run_id = $1 AND party = $2")
        .bind(run.as_str())
        .bind(party.as_str())
        .fetch(&mut *connection);
    while let Some(row) = rows.next().await {
        let row = row.map_err(db)?;
        handles.push(sixteen(row.get(0))?);
        references.push((sixteen(row.get(1))?, row.get(2)));
    }
    drop(rows);
    let (references, later, twice) = blocking(move || {
        handles.sort_unstable();
        references.sort_unstable();
        let later: Vec<i64> = references.array_windows().filter(|[a, b]| a.0 == b.0).map(|[_, b]| b.1).collect();
        references.dedup_by_key(|(reference, _)| *reference);
        let twice = !later.is_empty() || handles.array_windows().any(|[a, b]| a == b);
        Ok((references, later, twice))
    })
    .await?;
    for record in later {
        sqlx::query("DELETE FROM handles WHERE id = $1").bind(record).execute(&mut *connection).await.map_err(db)?;
    }
    for references in references.chunks(ROWS_PER_INSERT) {
        let insert = "INSERT INTO handle_refs (run_id, party, ref, record)";
        let insert = InsertRows::new(insert, references, |row, (reference, record)| {
            row.bind(run.as_str()).bind(party.as_str()).bind(&reference[..]).bind(*record);
        });
        insert.execute(connection).await.map_err(db)?;
    }
    Ok(twice)
}

/// Work that takes a core for long, beside the runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
) -> Result<T, ServiceError> {
    tokio::task::spawn_blocking(work).await.map_err(ServiceError::internal)?
}

async fn refuse_unless_collecting(connection: &mut Connection, run: &RunId) -> Result<(), ServiceError> {
    let row = sqlx::query("SELECT state FROM runs WHERE run_id = $1")
        .bind(run.as_str())
        .fetch_optional(connection)
        .await
        .map_err(db)?;
    match row.map(|row| row.get::<String, _>(0)).as_deref() {
        None | Some("collecting") => Ok(()),
        Some(_) => Err(ServiceError::conflict(
            "ce traitement est clos ou annulé et ne prend plus de fiches ; attendez le prochain (linkage run list)",
        )),
    }
}

pub(crate) fn party_of(row: &StoreRow, column: usize) -> Result<PartyId, ServiceError> {
    id(&row.get::<String, _>(column))
}

/// The party in a column that may have none.
pub(crate) fn optional_party(row: &StoreRow, column: usize) -> Result<Option<PartyId>, ServiceError> {
    row.get::<Option<String>, _>(column).as_deref().map(id).transpose()
}

pub(crate) fn sixteen(bytes: &[u8]) -> Result<[u8; 16], ServiceError> {
    bytes.try_into().map_err(|_| ServiceError::internal("malformed identifier in the store"))
}

pub(crate) fn bytes16(row: &StoreRow, column: usize) -> Result<[u8; 16], ServiceError> {
    row.get::<Vec<u8>, _>(column).try_into().map_err(|_| ServiceError::internal("malformed identifier in the store"))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
