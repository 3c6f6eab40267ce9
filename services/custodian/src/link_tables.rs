//! From a run's handles and clusters to persons and link tables, and what analysts read of them.

use std::collections::{HashMap, HashSet};

use linkage_agreement::{Handle, PartyId, Period, PersonId, RecordRef, RunId};
use linkage_common::error::ServiceError;
use linkage_common::store::{db, id};
use sqlx::Row;

use crate::registry::{self, Change, Known, PartyRef};
use crate::store::{Member, RunRecord, Store, bytes16, optional_party, party_of};

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
    /// The one whose persons alone the table holds.
    pub reference_party: Option<PartyId>,
    /// Rows.
    pub rows: u64,
}

impl Store {
    /// Takes a clustered run into the registry, in one transaction: persons, supersessions, link table; then forgets the
    /// run's handles and clusters. Records of parties that do not take part in the run are forgotten unread; of a run with a
    /// reference party, the table holds the persons of whom that party has a record in the run, delivered for the month or
    /// departed. Killed anywhere, it has happened wholly or not at all.
    pub async fn register(&self, run: &RunId, mut mint: impl FnMut() -> PersonId) -> Result<u64, ServiceError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(db)?;
        let mut records: HashMap<Handle, (PartyId, RunRecord)> = HashMap::new();
        for row in sqlx::query(
            "SELECT party, handle, ref, present, sealed FROM handles
             WHERE run_id = ?1 AND party IN (SELECT value FROM json_each((SELECT parties FROM runs WHERE run_id = ?1)))",
        )
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
            let mut named = HashSet::new();
            let members: Vec<&Member> = cluster
                .iter()
                .filter(|m| records.contains_key(&m.handle) && !links.contains_key(&m.handle) && named.insert(m.handle))
                .collect();
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
        let reference = sqlx::query("SELECT reference_party FROM runs WHERE run_id = ?")
            .bind(run.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(db)?;
        let reference = optional_party(&reference, 0)?;
        for (group, (person, new)) in grouped.iter().zip(&assignment.persons) {
            let of_reference = |handle: &Handle| records.get(handle).map(|(party, _)| party) == reference.as_ref();
            let shown = reference.is_none() || group.iter().any(of_reference);
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
                if record.present && shown {
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
            "SELECT run_id, period, parties, reference_party, (SELECT count(*) FROM link_rows l WHERE l.run_id = runs.run_id) FROM runs WHERE state = 'ready' ORDER BY position",
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
                    reference_party: optional_party(row, 3)?,
                    rows: row.get::<i64, _>(4) as u64,
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

    /// The report of a run, and each party's attribute keys (JSON object from analyst to hexadecimal).
    pub async fn run_papers(&self, run: &RunId) -> Result<(Vec<u8>, Vec<(PartyId, String)>), ServiceError> {
        let report = sqlx::query("SELECT report FROM runs WHERE run_id = ?")
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?
            .ok_or_else(|| {
                ServiceError::not_found("aucun traitement de cet identifiant ; « linkage run list » montre ceux qui existent")
            })?
            .get(0);
        let rows = sqlx::query(
            "SELECT party, sealed_keys FROM record_uploads
             WHERE run_id = ?1 AND party IN (SELECT value FROM json_each((SELECT parties FROM runs WHERE run_id = ?1)))",
        )
        .bind(run.as_str())
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        let keys = rows.iter().map(|row| Ok((party_of(row, 0)?, row.get(1)))).collect::<Result<_, ServiceError>>()?;
        Ok((report, keys))
    }
}
