//! Link tables: what [`crate::register`] made of runs, and what analysts read of them.

use linkage_agreement::{PartyId, Period, PersonId, RecordRef, RunId};
use linkage_common::error::ServiceError;
use linkage_common::store::{InsertRows, Row as StoreRow, db, id};
use sqlx::Row;

use crate::registry::Person;
use crate::store::{ROWS_PER_INSERT, Store, bytes16, optional_party, party_of};

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
    /// As in [`crate::store::RunRecord::sealed`].
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
    /// Place in the order of runs.
    pub position: u64,
    /// Lines of the supersession list.
    pub changes: u64,
}

/// Half of a pseudonym.
pub type Point = [u8; 32];

/// A row of a link table as it is handed over: with the points that are known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedRow {
    /// The row.
    pub row: LinkRow,
    /// Number of its person.
    pub number: Person,
    /// The person's point, if it was computed before.
    pub person_point: Option<Point>,
    /// The record's point, if it was computed before.
    pub record_point: Option<Point>,
}

/// One line of a supersession list: a person merged, or a record that a split moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supersession {
    /// Person in earlier tables.
    pub old: PersonId,
    /// Person in this run's table.
    pub new: PersonId,
    /// The record moved; none for a merge.
    pub moved: Option<RecordRef>,
}

impl Store {
    /// Runs whose link table is ready, in the order in which they became so.
    pub async fn ready(&self) -> Result<Vec<ReadyRun>, ServiceError> {
        let rows = sqlx::query(
            "SELECT run_id, period, parties, reference_party, row_count - withdrawn, position,
             (SELECT count(*) FROM supersessions s WHERE s.run_id = runs.run_id AND s.told = 1)
             FROM runs WHERE state = 'ready' ORDER BY position",
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
                    position: row.get::<i64, _>(5) as u64,
                    changes: row.get::<i64, _>(6) as u64,
                })
            })
            .collect()
    }

    /// A page of a link table's rows, in an order that says nothing of the records: by random reference. Offset and limit
    /// count ids ([`Self::row_span`]): a page has fewer rows where records were withdrawn.
    pub async fn link_rows(&self, run: &RunId, offset: u64, limit: u64) -> Result<Vec<LinkRow>, ServiceError> {
        // No domain has this number.
        Ok(self.handed_rows(run, offset, limit, 0).await?.into_iter().map(|handed| handed.row).collect())
    }

    /// How many ids a run's link table takes: its rows, and gaps where records were withdrawn.
    pub async fn row_span(&self, run: &RunId) -> Result<u64, ServiceError> {
        let row = sqlx::query("SELECT row_count FROM runs WHERE run_id = $1 AND state = 'ready'")
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        Ok(row.map_or(0, |row| row.get::<i64, _>(0).unsigned_abs()))
    }

    /// As [`Self::link_rows`], with the points of a domain that are known.
    pub async fn handed_rows(&self, run: &RunId, offset: u64, limit: u64, domain: i64) -> Result<Vec<HandedRow>, ServiceError> {
        let rows = sqlx::query(
            "SELECT l.party, l.ref, p.person, l.match_class, l.probability, l.sealed, l.person, pp.point, rp.point
             FROM runs
             JOIN link_rows l ON l.id >= runs.first_row + $2 AND l.id < runs.first_row + runs.row_count
                  AND l.id < runs.first_row + $2 + $3
             JOIN persons p ON p.number = l.person
             LEFT JOIN person_points pp ON pp.domain = $4 AND pp.person = l.person
             LEFT JOIN ref_points rp ON rp.domain = $4 AND rp.ref = l.ref
             WHERE runs.run_id = $1 AND runs.state = 'ready' ORDER BY l.id",
        )
        .bind(run.as_str())
        .bind(offset as i64)
        .bind(limit as i64)
        .bind(domain)
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        let point = |row: &StoreRow, column: usize| row.get::<Option<&[u8]>, _>(column).and_then(|point| point.try_into().ok());
        rows.iter()
            .map(|row| {
                Ok(HandedRow {
                    row: LinkRow {
                        party: party_of(row, 0)?,
                        reference: RecordRef(bytes16(row, 1)?),
                        person: PersonId(bytes16(row, 2)?),
                        match_class: row.get::<i64, _>(3) as u8,
                        probability: row.get::<i64, _>(4) as u16,
                        sealed: row.get(5),
                    },
                    number: row.get(6),
                    person_point: point(row, 7),
                    record_point: point(row, 8),
                })
            })
            .collect()
    }

    /// The number of the domain whose fixed id has the point `probe`: points that are kept under it are of this scalar,
    /// agreement and purpose.
    pub async fn point_domain(&self, probe: &Point) -> Result<i64, ServiceError> {
        let select = "SELECT number FROM point_domains WHERE probe = $1";
        let known = sqlx::query(select).bind(&probe[..]).fetch_optional(&self.pool).await.map_err(db)?;
        if let Some(row) = known {
            return Ok(row.get(0));
        }
        sqlx::query("INSERT INTO point_domains (probe) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(&probe[..])
            .execute(&self.pool)
            .await
            .map_err(db)?;
        Ok(sqlx::query(select).bind(&probe[..]).fetch_one(&self.pool).await.map_err(db)?.get(0))
    }

    /// Keeps points of persons and of records, so that they are not computed again.
    pub async fn keep_points(
        &self,
        domain: i64,
        persons: &[(Person, Point)],
        records: &[(RecordRef, Point)],
    ) -> Result<(), ServiceError> {
        if persons.is_empty() && records.is_empty() {
            return Ok(());
        }
        let mut tx = self.pool.begin("keep_points").await.map_err(db)?;
        for persons in persons.chunks(ROWS_PER_INSERT) {
            let insert = "INSERT INTO person_points (domain, person, point)";
            let insert = InsertRows::new(insert, persons, |row, (person, point)| {
                row.bind(domain).bind(*person).bind(&point[..]);
            });
            insert.or_nothing().execute(&mut tx).await.map_err(db)?;
        }
        for records in records.chunks(ROWS_PER_INSERT) {
            let insert = "INSERT INTO ref_points (domain, ref, point)";
            let insert = InsertRows::new(insert, records, |row, (reference, point)| {
                row.bind(domain).bind(&reference.0[..]).bind(&point[..]);
            });
            insert.or_nothing().execute(&mut tx).await.map_err(db)?;
        }
        tx.commit().await.map_err(db)
    }

    /// A run's supersession list as far as analysts are told of it, lines of one pair of persons together.
    pub async fn supersessions(&self, run: &RunId) -> Result<Vec<Supersession>, ServiceError> {
        let rows = sqlx::query(
            "SELECT o.person, n.person, s.ref FROM supersessions s JOIN persons o ON o.number = s.old_person
             JOIN persons n ON n.number = s.new_person WHERE s.run_id = $1 AND s.told = 1 ORDER BY s.id",
        )
        .bind(run.as_str())
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        rows.iter()
            .map(|row| {
                let moved: Option<Vec<u8>> = row.get(2);
                let malformed = || ServiceError::internal("malformed identifier in the store");
                let moved = moved.map(|bytes| RecordRef::from_slice(&bytes).ok_or_else(malformed)).transpose()?;
                Ok(Supersession { old: PersonId(bytes16(row, 0)?), new: PersonId(bytes16(row, 1)?), moved })
            })
            .collect()
    }

    /// The report of a run, and each party's attribute keys (JSON object from analyst to hexadecimal).
    pub async fn run_papers(&self, run: &RunId) -> Result<(Vec<u8>, Vec<(PartyId, String)>), ServiceError> {
        let row = sqlx::query("SELECT report, parties FROM runs WHERE run_id = $1")
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?
            .ok_or_else(|| {
                ServiceError::not_found("aucun traitement de cet identifiant ; « linkage run list » montre ceux qui existent")
            })?;
        let parties: Vec<PartyId> = match row.get::<Option<&str>, _>(1) {
            Some(parties) => {
                serde_json::from_str(parties).map_err(|_| ServiceError::internal("malformed parties in the store"))?
            }
            None => Vec::new(),
        };
        let rows = sqlx::query("SELECT party, sealed_keys FROM record_uploads WHERE run_id = $1 ORDER BY party")
            .bind(run.as_str())
            .fetch_all(&self.pool)
            .await
            .map_err(db)?;
        let mut keys = rows.iter().map(|row| Ok((party_of(row, 0)?, row.get(1)))).collect::<Result<Vec<_>, ServiceError>>()?;
        keys.retain(|(party, _)| parties.contains(party));
        Ok((row.get(0), keys))
    }
}
