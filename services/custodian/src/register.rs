//! Taking a clustered run into the registry.
//!
//! What the run says and what the registry knows of its references is read first, without holding anybody up: a clustered
//! run takes no more records, and one worker registers. Then everything is written in one transaction, in bulk: a
//! statement for each of millions of rows would hold the database for minutes. Records are numbers meanwhile; their sealed
//! attributes go from table to table without being held.

use linkage_agreement::{Handle, PartyId, PersonId, RunId};
use linkage_common::error::ServiceError;
use linkage_common::store::{Connection, InsertRows, Kind, Pool, db};
use sqlx::Row;
use tokio_stream::StreamExt;

use crate::registry::{self, Assignment, Change, Clusters, Person};
use crate::store::{ROWS_PER_INSERT, SMALL_CACHE, Store, optional_party};

/// Page cache while a run is registered, 256 MiB: trees of millions of references are gone through at random.
const LARGE_CACHE: &str = "PRAGMA cache_size = -262144";
/// A record linked to no other.
const UNLINKED: u32 = u32::MAX;

/// One record of the run.
struct Held {
    /// Position of its party among the run's.
    party: u8,
    reference: [u8; 16],
    handle: [u8; 16],
    /// Row of its handle.
    row: i64,
    known: Option<Person>,
    present: bool,
}

/// A run as it is read.
struct Read {
    parties: Vec<PartyId>,
    reference_party: Option<u8>,
    /// By party, then by reference: a record's number is its place.
    records: Vec<Held>,
    /// Class and probability by record; 0 for one without link.
    links: Vec<(u8, u16)>,
    clusters: Clusters,
    newest: Person,
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
        let read = read(&mut connection, run).await?;
        let known: Vec<Option<Person>> = read.records.iter().map(|record| record.known).collect();
        let assignment = registry::assign(&read.clusters, &known, read.newest);
        let mut tx = self.pool.begin_on(&mut connection).await.map_err(db)?;
        write(&mut tx, run, &read, &assignment, &mut mint).await?;
        tx.commit().await.map_err(db)?;
        set_cache(&self.pool, &mut connection, SMALL_CACHE).await?;
        Ok(assignment.persons.len() as u64)
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

async fn read(connection: &mut Connection, run: &RunId) -> Result<Read, ServiceError> {
    let row = sqlx::query(
        "SELECT parties, reference_party, (SELECT coalesce(max(number), 0) FROM persons),
             (SELECT coalesce(max(number), 0) FROM withdrawals) FROM runs WHERE run_id = $1",
    )
    .bind(run.as_str())
    .fetch_one(&mut *connection)
    .await
    .map_err(db)?;
    let mut parties: Vec<PartyId> =
        serde_json::from_str(&row.get::<String, _>(0)).map_err(|_| ServiceError::internal("malformed parties in the store"))?;
    parties.sort();
    parties.dedup();
    let place = |party: &str| parties.iter().position(|known| known.as_str() == party).and_then(|at| u8::try_from(at).ok());
    let reference_party = optional_party(&row, 1)?
        .map(|party| place(party.as_str()).ok_or_else(|| ServiceError::internal("the reference party takes no part in the run")));
    let reference_party = reference_party.transpose()?;
    let (newest, withdrawals) = (row.get(2), row.get(3));

    let mut records = Vec::new();
    let mut rows = sqlx::query(
        "SELECT h.rowid, h.party, h.handle, h.ref, h.present, r.person
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
            present: row.get::<i64, _>(4) != 0,
        });
    }
    drop(rows);
    records.sort_unstable_by_key(|record| (record.party, record.reference));

    let mut by_handle: Vec<([u8; 16], u32)> = records.iter().zip(0..).map(|(record, number)| (record.handle, number)).collect();
    by_handle.sort_unstable();
    let number_of = |handle: &Handle| {
        let at = by_handle.binary_search_by(|(known, _)| known.cmp(&handle.0)).ok()?;
        by_handle.get(at).map(|(_, number)| *number)
    };
    let mut links = vec![(0, 0); records.len()];
    let mut groups: Vec<Vec<u32>> = Vec::new();
    let mut group_of = vec![UNLINKED; records.len()];
    let mut batches = sqlx::query("SELECT clusters FROM cluster_batches WHERE run_id = $1 ORDER BY sequence")
        .bind(run.as_str())
        .fetch(connection);
    while let Some(batch) = batches.next().await {
        for cluster in crate::service::unpack_clusters(batch.map_err(db)?.get(0))? {
            // Members without a record here are decoys (or a broker's error): they name nobody. A member of two clusters
            // stays in the first.
            let mut members: Vec<(u32, u8, u16)> = Vec::with_capacity(cluster.len());
            for member in &cluster {
                let free = |number: &u32| {
                    group_of.get(*number as usize) == Some(&UNLINKED) && !members.iter().any(|(other, ..)| other == number)
                };
                if let Some(number) = number_of(&member.handle).filter(free) {
                    members.push((number, member.match_class, member.probability));
                }
            }
            if members.len() < 2 {
                continue;
            }
            for (number, class, probability) in &members {
                links.get_mut(*number as usize).into_iter().for_each(|link| *link = (*class, *probability));
                group_of.get_mut(*number as usize).into_iter().for_each(|group| *group = groups.len() as u32);
            }
            groups.push(members.into_iter().map(|(number, ..)| number).collect());
        }
    }
    // In the order of their smallest record: what comes of them depends on their content only.
    let mut clusters = Clusters::default();
    for (group, number) in group_of.iter().zip(0..) {
        match groups.get_mut(*group as usize) {
            None => clusters.push([number]),
            Some(members) if !members.is_empty() => clusters.push(std::mem::take(members)),
            Some(_) => {}
        }
    }
    Ok(Read { parties, reference_party, records, links, clusters, newest, withdrawals })
}

async fn write(
    connection: &mut Connection,
    run: &RunId,
    read: &Read,
    assignment: &Assignment,
    mint: &mut impl FnMut() -> PersonId,
) -> Result<(), ServiceError> {
    let state: String = sqlx::query("SELECT state FROM runs WHERE run_id = $1")
        .bind(run.as_str())
        .fetch_one(&mut *connection)
        .await
        .map_err(db)?
        .get(0);
    let newest: Person =
        sqlx::query("SELECT coalesce(max(number), 0) FROM persons").fetch_one(&mut *connection).await.map_err(db)?.get(0);
    let withdrawals: i64 =
        sqlx::query("SELECT coalesce(max(number), 0) FROM withdrawals").fetch_one(&mut *connection).await.map_err(db)?.get(0);
    if withdrawals != read.withdrawals {
        return Err(ServiceError::unavailable("une fiche a été retirée entre-temps ; le traitement est repris"));
    }
    if state != "clustered" || newest != read.newest {
        return Err(ServiceError::internal("another process registered meanwhile"));
    }
    let persons: Vec<(Person, PersonId)> =
        assignment.persons.iter().filter(|person| **person > newest).map(|person| (*person, mint())).collect();
    for persons in persons.chunks(ROWS_PER_INSERT) {
        let insert = InsertRows::new("INSERT INTO persons (number, person)", persons, |row, (number, person)| {
            row.bind(*number).bind(&person.0[..]);
        });
        insert.execute(connection).await.map_err(db)?;
    }

    let mut person_of = vec![0; read.records.len()];
    let mut shown = vec![read.reference_party.is_none(); read.records.len()];
    for (cluster, person) in read.clusters.iter().zip(&assignment.persons) {
        let party = |number: &u32| read.records.get(*number as usize).map(|record| record.party);
        let of_reference = read.reference_party.is_some() && cluster.iter().any(|number| party(number) == read.reference_party);
        for number in cluster {
            person_of.get_mut(*number as usize).into_iter().for_each(|place| *place = *person);
            shown.get_mut(*number as usize).into_iter().for_each(|place| *place |= of_reference);
        }
    }
    // By reference, which is the order of the trees and says nothing of the records.
    let mut order: Vec<usize> = (0..read.records.len()).collect();
    order.sort_unstable_by_key(|at| read.records.get(*at).map(|record| (record.reference, record.party)));
    let party = |record: &Held| read.parties.get(usize::from(record.party)).map_or("", PartyId::as_str);
    let new: Vec<(&Held, Person)> = order
        .iter()
        .filter_map(|at| Some((read.records.get(*at)?, *person_of.get(*at)?)))
        .filter(|(record, _)| record.known.is_none())
        .collect();
    for new in new.chunks(ROWS_PER_INSERT) {
        let insert = InsertRows::new("INSERT INTO refs (ref, party, person)", new, |row, (record, person)| {
            row.bind(&record.reference[..]).bind(party(record)).bind(*person);
        });
        insert.execute(connection).await.map_err(db)?;
    }
    drop(new);
    supersede(connection, run, read, assignment).await?;
    crate::retention::seen(connection, run).await?;

    sqlx::query("CREATE TEMP TABLE taken (id BIGINT, handle BIGINT, person BIGINT, match_class BIGINT, probability BIGINT)")
        .execute(&mut *connection)
        .await
        .map_err(db)?;
    let first: i64 =
        sqlx::query("SELECT coalesce(max(id), 0) + 1 FROM link_rows").fetch_one(&mut *connection).await.map_err(db)?.get(0);
    let present: Vec<usize> = order
        .into_iter()
        .filter(|at| read.records.get(*at).is_some_and(|record| record.present) && shown.get(*at) == Some(&true))
        .collect();
    for (chunk, base) in present.chunks(ROWS_PER_INSERT).zip((first..).step_by(ROWS_PER_INSERT)) {
        let insert = "INSERT INTO taken (id, handle, person, match_class, probability)";
        let insert = InsertRows::new(insert, chunk.iter().zip(base..), |row, (at, id)| {
            let (class, probability) = read.links.get(*at).copied().unwrap_or((0, 0));
            row.bind(id)
                .bind(read.records.get(*at).map(|record| record.row))
                .bind(person_of.get(*at).copied())
                .bind(i64::from(class))
                .bind(i64::from(probability));
        });
        insert.execute(connection).await.map_err(db)?;
    }
    for statement in [
        "INSERT INTO link_rows (id, party, ref, person, match_class, probability, sealed)
         SELECT t.id, h.party, h.ref, t.person, t.match_class, t.probability, h.sealed
         FROM taken t JOIN handles h ON h.rowid = t.handle ORDER BY t.id",
        "DROP TABLE taken",
    ] {
        sqlx::query(statement).execute(&mut *connection).await.map_err(db)?;
    }
    sqlx::query(
        "UPDATE runs SET state = 'ready', position = (SELECT coalesce(max(position), 0) + 1 FROM runs), first_row = $1,
         row_count = $2 WHERE run_id = $3",
    )
    .bind(first)
    .bind(present.len() as i64)
    .bind(run.as_str())
    .execute(&mut *connection)
    .await
    .map_err(db)?;
    for forget in [
        "DELETE FROM handles WHERE run_id = $1",
        "DELETE FROM cluster_batches WHERE run_id = $1",
        "DELETE FROM record_batches WHERE run_id = $1",
    ] {
        sqlx::query(forget).bind(run.as_str()).execute(&mut *connection).await.map_err(db)?;
    }
    Ok(())
}

/// Writes the supersession list, and moves known references to the persons that they are now: first those that left their
/// person, then all of a merged one's, also of parties that took no part in the run.
async fn supersede(connection: &mut Connection, run: &RunId, read: &Read, assignment: &Assignment) -> Result<(), ServiceError> {
    let mut lines: Vec<(Person, Person, Option<[u8; 16]>)> = Vec::new();
    for change in &assignment.supersessions {
        match &change.change {
            Change::Merge => lines.push((change.old, change.new, None)),
            Change::Split(moved) => {
                for number in moved {
                    let Some(record) = read.records.get(*number as usize) else { continue };
                    let party = read.parties.get(usize::from(record.party)).map_or("", PartyId::as_str);
                    sqlx::query("UPDATE refs SET person = $1 WHERE ref = $2 AND party = $3")
                        .bind(change.new)
                        .bind(&record.reference[..])
                        .bind(party)
                        .execute(&mut *connection)
                        .await
                        .map_err(db)?;
                    lines.push((change.old, change.new, Some(record.reference)));
                }
            }
        }
    }
    for change in assignment.supersessions.iter().filter(|change| change.change == Change::Merge) {
        sqlx::query("UPDATE refs SET person = $1 WHERE person = $2")
            .bind(change.new)
            .bind(change.old)
            .execute(&mut *connection)
            .await
            .map_err(db)?;
    }
    lines.sort_unstable();
    for lines in lines.chunks(ROWS_PER_INSERT) {
        let insert = "INSERT INTO supersessions (run_id, old_person, new_person, ref)";
        let insert = InsertRows::new(insert, lines, |row, (old, new, reference)| {
            row.bind(run.as_str()).bind(*old).bind(*new).bind(reference.as_ref().map(|r| &r[..]));
        });
        insert.execute(connection).await.map_err(db)?;
    }
    Ok(())
}

fn sixteen(bytes: &[u8]) -> Result<[u8; 16], ServiceError> {
    bytes.try_into().map_err(|_| ServiceError::internal("malformed identifier in the store"))
}
