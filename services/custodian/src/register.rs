//! Taking a clustered run into the registry.
//!
//! What the run says and what the registry knows of its references is read first, without holding anybody up: a clustered
//! run takes no more records, and one worker registers. Then everything is written in one transaction, in bulk: a
//! statement for each of millions of rows would hold the database for minutes. Records are numbers meanwhile; their sealed
//! attributes go from table to table without being held.

use linkage_agreement::{PartyId, PersonId, RunId};
use linkage_common::error::ServiceError;
use linkage_common::store::{Connection, InsertRows, Kind, Pool, db};
use sqlx::Row;
use tokio_stream::StreamExt;

use crate::plan::{Held, Linked, Linking, Plan};
use crate::registry::{Assignment, Change, Person};
use crate::store::{ROWS_PER_INSERT, SMALL_CACHE, Store, blocking, note_missing_references, optional_party, sixteen};

/// Page cache while a run is registered, 256 MiB: trees of millions of references are gone through at random.
const LARGE_CACHE: &str = "PRAGMA cache_size = -262144";

/// A run as it is read.
struct Read {
    parties: Vec<PartyId>,
    reference_party: Option<u8>,
    linked: Linked,
    registry: Registry,
}

/// What tells one state of the registry from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Registry {
    /// The newest person.
    newest: Person,
    /// The last run taken in.
    position: i64,
    /// The last request of a person that was carried out.
    withdrawals: i64,
}

impl Store {
    /// Takes a clustered run into the registry, in one transaction: persons, supersessions, link table; then forgets the
    /// run's handles and clusters. Records of parties that do not take part in the run are forgotten unread; of a run with a
    /// reference party, the table holds the persons of whom that party has a record in the run, delivered for the month or
    /// departed. Killed anywhere, it has happened wholly or not at all. Returns how many persons the run's records are.
    pub async fn register(&self, run: &RunId, mut mint: impl FnMut() -> PersonId) -> Result<u64, ServiceError> {
        let mut connection = self.pool.acquire().await.map_err(db)?;
        set_cache(&self.pool, &mut connection, LARGE_CACHE).await?;
        let registered = self.register_on(&mut connection, run, &mut mint).await;
        // After an error as well: the connection goes back to the others.
        let reset = set_cache(&self.pool, &mut connection, SMALL_CACHE).await;
        let persons = registered?;
        reset?;
        Ok(persons)
    }

    async fn register_on(
        &self,
        connection: &mut Connection,
        run: &RunId,
        mint: &mut impl FnMut() -> PersonId,
    ) -> Result<u64, ServiceError> {
        let mut tx = self.pool.begin_on(connection).await.map_err(db)?;
        note_missing_references(&mut tx, run).await?;
        tx.commit().await.map_err(db)?;
        let read = read(connection, run).await?;
        let (read, plan) = blocking(move || {
            let plan = read.linked.plan(read.registry.newest, read.reference_party);
            Ok((read, plan))
        })
        .await?;
        let mut tx = self.pool.begin_on(connection).await.map_err(db)?;
        write(&mut tx, run, &read, &plan, mint).await?;
        tx.commit().await.map_err(db)?;
        Ok(plan.assignment.persons.len() as u64)
    }
}

async fn set_cache(pool: &Pool, connection: &mut Connection, size: &'static str) -> Result<(), ServiceError> {
    if pool.kind() == Kind::Sqlite {
        for pragma in [size, "PRAGMA shrink_memory"] {
            sqlx::query(pragma).execute(&mut *connection).await.map_err(db)?;
        }
    }
    Ok(())
}

async fn registry(connection: &mut Connection) -> Result<Registry, ServiceError> {
    let row = sqlx::query(
        "SELECT (SELECT coalesce(max(number), 0) FROM persons), (SELECT coalesce(max(position), 0) FROM runs),
             (SELECT coalesce(max(number), 0) FROM withdrawals)",
    )
    .fetch_one(connection)
    .await
    .map_err(db)?;
    Ok(Registry { newest: row.get(0), position: row.get(1), withdrawals: row.get(2) })
}

async fn read(connection: &mut Connection, run: &RunId) -> Result<Read, ServiceError> {
    let registry = registry(connection).await?;
    let row = sqlx::query("SELECT parties, reference_party FROM runs WHERE run_id = $1")
        .bind(run.as_str())
        .fetch_one(&mut *connection)
        .await
        .map_err(db)?;
    let mut parties: Vec<PartyId> =
        serde_json::from_str(&row.get::<String, _>(0)).map_err(|_| ServiceError::internal("malformed parties in the store"))?;
    parties.sort();
    parties.dedup();
    // An agreement has a hundred at most; records of one without a number would be left out in silence.
    if parties.len() > usize::from(u8::MAX) {
        return Err(ServiceError::internal("more parties in a run than an agreement may have"));
    }
    let place = |party: &str| parties.iter().position(|known| known.as_str() == party).and_then(|at| u8::try_from(at).ok());
    let reference_party = optional_party(&row, 1)?
        .map(|party| place(party.as_str()).ok_or_else(|| ServiceError::internal("the reference party takes no part in the run")));
    let reference_party = reference_party.transpose()?;

    let mut records = Vec::new();
    let mut rows = sqlx::query(
        "SELECT h.id, h.party, h.handle, h.ref, h.present, r.person, coalesce(r.shown, 0)
         FROM handles h LEFT JOIN refs r ON r.ref = h.ref AND r.party = h.party WHERE h.run_id = $1",
    )
    .bind(run.as_str())
    .fetch(&mut *connection);
    while let Some(row) = rows.next().await {
        let row = row.map_err(db)?;
        let Some(party) = place(row.get::<&str, _>(1)) else { continue };
        records.push(Held {
            party,
            handle: sixteen(row.get(2))?,
            reference: sixteen(row.get(3))?,
            row: row.get(0),
            known: row.get(5),
            shown: row.get::<i64, _>(6) != 0,
            present: row.get::<i64, _>(4) != 0,
        });
    }
    drop(rows);

    let mut linking = blocking(move || Ok(Linking::new(records))).await?;
    let mut batches = sqlx::query("SELECT clusters FROM cluster_batches WHERE run_id = $1 ORDER BY sequence")
        .bind(run.as_str())
        .fetch(connection);
    while let Some(batch) = batches.next().await {
        let packed: Vec<u8> = batch.map_err(db)?.get(0);
        linking = blocking(move || {
            linking.add(&crate::service::unpack_clusters(&packed)?);
            Ok(linking)
        })
        .await?;
    }
    let linked = blocking(move || Ok(linking.finish())).await?;
    Ok(Read { parties, reference_party, linked, registry })
}

async fn write(
    connection: &mut Connection,
    run: &RunId,
    read: &Read,
    plan: &Plan,
    mint: &mut impl FnMut() -> PersonId,
) -> Result<(), ServiceError> {
    let state: String = sqlx::query("SELECT state FROM runs WHERE run_id = $1")
        .bind(run.as_str())
        .fetch_one(&mut *connection)
        .await
        .map_err(db)?
        .get(0);
    let now = registry(connection).await?;
    if now.withdrawals != read.registry.withdrawals {
        return Err(ServiceError::unavailable("une fiche a été retirée entre-temps ; le traitement est repris"));
    }
    // A run that minted nobody may have moved references all the same.
    if state != "clustered" || now != read.registry {
        return Err(ServiceError::internal("another process registered meanwhile"));
    }
    let assigned = &plan.assignment.persons;
    let persons: Vec<(Person, PersonId)> =
        assigned.iter().filter(|person| **person > now.newest).map(|person| (*person, mint())).collect();
    for persons in persons.chunks(ROWS_PER_INSERT) {
        let insert = InsertRows::new("INSERT INTO persons (number, person)", persons, |row, (number, person)| {
            row.bind(*number).bind(&person.0[..]);
        });
        insert.execute(connection).await.map_err(db)?;
    }

    let records = &read.linked.records;
    let party = |record: &Held| read.parties.get(usize::from(record.party)).map_or("", PartyId::as_str);
    let has_row = |at: usize| plan.has_row.get(at) == Some(&true);
    let new: Vec<(&Held, Person, bool)> = plan
        .order
        .iter()
        .filter_map(|at| Some((records.get(*at)?, *plan.person_of.get(*at)?, has_row(*at))))
        .filter(|(record, ..)| record.known.is_none())
        .collect();
    for new in new.chunks(ROWS_PER_INSERT) {
        let insert = InsertRows::new("INSERT INTO refs (ref, party, person, shown)", new, |row, (record, person, shown)| {
            row.bind(&record.reference[..]).bind(party(record)).bind(*person).bind(i64::from(*shown));
        });
        insert.execute(connection).await.map_err(db)?;
    }
    drop(new);
    supersede(connection, run, read, &plan.assignment).await?;
    crate::retention::seen(connection, run).await?;

    sqlx::query("CREATE TEMP TABLE taken (id BIGINT, record BIGINT, person BIGINT, match_class BIGINT, probability BIGINT)")
        .execute(&mut *connection)
        .await
        .map_err(db)?;
    // After the ids of every table, those of rows that were withdrawn since too: put back, they must find theirs free.
    let ids = "SELECT coalesce(max(first_row + row_count), 0) FROM runs";
    let first = sqlx::query(ids).fetch_one(&mut *connection).await.map_err(db)?.get::<i64, _>(0).max(1);
    let rows: Vec<usize> = plan.order.iter().copied().filter(|at| has_row(*at)).collect();
    for (chunk, base) in rows.chunks(ROWS_PER_INSERT).zip((first..).step_by(ROWS_PER_INSERT)) {
        let insert = "INSERT INTO taken (id, record, person, match_class, probability)";
        let insert = InsertRows::new(insert, chunk.iter().zip(base..), |row, (at, id)| {
            let (class, probability) = read.linked.links.get(*at).copied().unwrap_or((0, 0));
            row.bind(id)
                .bind(records.get(*at).map(|record| record.row))
                .bind(plan.person_of.get(*at).copied())
                .bind(i64::from(class))
                .bind(i64::from(probability));
        });
        insert.execute(connection).await.map_err(db)?;
    }
    // After the supersession list, which is of the rows of before.
    if rows.iter().any(|at| records.get(*at).is_some_and(|record| record.known.is_some() && !record.shown)) {
        sqlx::query(
            "UPDATE refs SET shown = 1 WHERE shown = 0
             AND (ref, party) IN (SELECT h.ref, h.party FROM taken t JOIN handles h ON h.id = t.record)",
        )
        .execute(&mut *connection)
        .await
        .map_err(db)?;
    }
    for statement in [
        "INSERT INTO link_rows (id, party, ref, person, match_class, probability, sealed)
         SELECT t.id, h.party, h.ref, t.person, t.match_class, t.probability, h.sealed
         FROM taken t JOIN handles h ON h.id = t.record ORDER BY t.id",
        "DROP TABLE taken",
    ] {
        sqlx::query(statement).execute(&mut *connection).await.map_err(db)?;
    }
    sqlx::query(
        "UPDATE runs SET state = 'ready', position = (SELECT coalesce(max(position), 0) + 1 FROM runs), first_row = $1,
         row_count = $2 WHERE run_id = $3",
    )
    .bind(first)
    .bind(rows.len() as i64)
    .bind(run.as_str())
    .execute(&mut *connection)
    .await
    .map_err(db)?;
    for forget in [
        "DELETE FROM handles WHERE run_id = $1",
        "DELETE FROM handle_refs WHERE run_id = $1",
        "DELETE FROM cluster_batches WHERE run_id = $1",
        "DELETE FROM record_batches WHERE run_id = $1",
    ] {
        sqlx::query(forget).bind(run.as_str()).execute(&mut *connection).await.map_err(db)?;
    }
    Ok(())
}

/// Writes the supersession list, and moves known references to the persons that they are now: first those that left their
/// person, then all of a merged one's, also of parties that took no part in the run. A line is told to analysts when a row that
/// they have may bear its old person: no table says more than its rows, not even how many others are one.
async fn supersede(connection: &mut Connection, run: &RunId, read: &Read, assignment: &Assignment) -> Result<(), ServiceError> {
    let mut lines: Vec<(Person, Person, Option<[u8; 16]>, bool)> = Vec::new();
    for change in &assignment.supersessions {
        let Change::Split(moved) = &change.change else { continue };
        for number in moved {
            let Some(record) = read.linked.records.get(*number as usize) else { continue };
            let party = read.parties.get(usize::from(record.party)).map_or("", PartyId::as_str);
            sqlx::query("UPDATE refs SET person = $1 WHERE ref = $2 AND party = $3")
                .bind(change.new)
                .bind(&record.reference[..])
                .bind(party)
                .execute(&mut *connection)
                .await
                .map_err(db)?;
            lines.push((change.old, change.new, Some(record.reference), record.shown));
        }
    }
    for change in assignment.supersessions.iter().filter(|change| change.change == Change::Merge) {
        let shown = sqlx::query(
            "SELECT 1 FROM refs WHERE person = $1 AND shown <> 0
             UNION ALL SELECT 1 FROM set_aside_refs WHERE person = $1 AND shown <> 0 LIMIT 1",
        )
        .bind(change.old)
        .fetch_optional(&mut *connection)
        .await
        .map_err(db)?;
        lines.push((change.old, change.new, None, shown.is_some()));
        // Records set aside go along: put back, they are of the person that they would have been.
        for moved in ["UPDATE refs SET person = $1 WHERE person = $2", "UPDATE set_aside_refs SET person = $1 WHERE person = $2"]
        {
            sqlx::query(moved).bind(change.new).bind(change.old).execute(&mut *connection).await.map_err(db)?;
        }
    }
    lines.sort_unstable();
    for lines in lines.chunks(ROWS_PER_INSERT) {
        let insert = "INSERT INTO supersessions (run_id, old_person, new_person, ref, told)";
        let insert = InsertRows::new(insert, lines, |row, (old, new, reference, told)| {
            row.bind(run.as_str()).bind(*old).bind(*new).bind(reference.as_ref().map(|r| &r[..])).bind(i64::from(*told));
        });
        insert.execute(connection).await.map_err(db)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "register_tests.rs"]
mod tests;
