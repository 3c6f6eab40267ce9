//! A request being carried out on the custodian's tables, within one transaction: runs under way, registry, link tables.
//!
//! Every step finds done what is done already, and touches no record but the party's own.

use linkage_agreement::{RecordRef, RunId};
use linkage_common::error::ServiceError;
use linkage_common::store::{Connection, db, id};
use sqlx::Row;

use super::Counts;
use crate::registry::Person;
use crate::store::bytes16;

/// A run whose link table is here: its name, first row and number of ids.
pub(super) type TableOf = (String, i64, i64);

/// A request being carried out.
pub(super) struct Work<'w> {
    pub(super) tx: &'w mut Connection,
    pub(super) party: &'w str,
    pub(super) counts: Counts,
    /// References that are the party's.
    pub(super) known: Vec<RecordRef>,
    /// Runs whose tables hold a restored record again.
    pub(super) runs: Vec<String>,
}

impl Work<'_> {
    /// Forgets the party's upload to runs that still collect.
    pub(super) async fn forget_uploads(&mut self, runs: &[RunId]) -> Result<(), ServiceError> {
        for run in runs {
            let collects = sqlx::query("SELECT 1 FROM runs WHERE run_id = $1 AND state = 'collecting'")
                .bind(run.as_str())
                .fetch_optional(&mut *self.tx)
                .await
                .map_err(db)?;
            if collects.is_none() {
                continue;
            }
            let mut forgotten = 0;
            for forget in [
                "DELETE FROM handles WHERE run_id = $1 AND party = $2",
                "DELETE FROM handle_refs WHERE run_id = $1 AND party = $2",
                "DELETE FROM record_batches WHERE run_id = $1 AND party = $2",
                "DELETE FROM record_uploads WHERE run_id = $1 AND party = $2",
            ] {
                let done = sqlx::query(forget).bind(run.as_str()).bind(self.party).execute(&mut *self.tx).await.map_err(db)?;
                forgotten += done.rows_affected();
            }
            self.counts.uploads += i64::from(forgotten > 0);
        }
        Ok(())
    }

    /// A handle that the custodian does not know is a decoy's for it: whatever the run comes to, the record is not in it.
    pub(super) async fn out_of_runs_under_way(&mut self, reference: &RecordRef) -> Result<(), ServiceError> {
        let runs = sqlx::query("SELECT run_id FROM runs WHERE state IN ('collecting', 'clustered')")
            .fetch_all(&mut *self.tx)
            .await
            .map_err(db)?;
        for run in &runs {
            let mut forgotten = 0;
            for forget in [
                "DELETE FROM handle_refs WHERE run_id = $1 AND party = $2 AND ref = $3",
                "DELETE FROM handles WHERE run_id = $1 AND party = $2 AND ref = $3",
            ] {
                let run: String = run.get(0);
                let done = sqlx::query(forget).bind(run).bind(self.party).bind(&reference.0[..]).execute(&mut *self.tx).await;
                forgotten = done.map_err(db)?.rows_affected();
            }
            self.counts.under_way += forgotten as i64;
        }
        Ok(())
    }

    async fn person(&mut self, select: &'static str, reference: &RecordRef) -> Result<Option<Person>, ServiceError> {
        person_of(self.tx, select, reference, self.party).await
    }

    async fn each(&mut self, statement: &'static str, reference: &RecordRef) -> Result<i64, ServiceError> {
        let done = sqlx::query(statement).bind(&reference.0[..]).bind(self.party).execute(&mut *self.tx).await.map_err(db)?;
        Ok(done.rows_affected() as i64)
    }

    pub(super) async fn delete(&mut self, reference: &RecordRef) -> Result<(), ServiceError> {
        let person = self.person("SELECT person FROM refs WHERE ref = $1 AND party = $2", reference).await?;
        let aside = self.person("SELECT person FROM set_aside_refs WHERE ref = $1 AND party = $2", reference).await?;
        let rows = self.take_rows(reference, false).await?;
        let rows_aside = self.each("DELETE FROM set_aside_rows WHERE ref = $1 AND party = $2", reference).await?;
        if person.is_none() && aside.is_none() && rows + rows_aside == 0 {
            return Ok(());
        }
        self.counts.references += 1;
        self.counts.rows += rows + rows_aside;
        self.known.push(*reference);
        self.each("DELETE FROM refs WHERE ref = $1 AND party = $2", reference).await?;
        self.each("DELETE FROM set_aside_refs WHERE ref = $1 AND party = $2", reference).await?;
        self.counts.dispositions +=
            self.each("DELETE FROM dispositions WHERE (ref = $1 OR second_ref = $1) AND party = $2", reference).await?;
        // Which splits moved it: of no use without it.
        sqlx::query("DELETE FROM supersessions WHERE ref = $1")
            .bind(&reference.0[..])
            .execute(&mut *self.tx)
            .await
            .map_err(db)?;
        self.forget_points(reference).await?;
        for person in [person, aside].into_iter().flatten() {
            self.forget_person(person).await?;
        }
        Ok(())
    }

    pub(super) async fn set_aside(&mut self, reference: &RecordRef) -> Result<(), ServiceError> {
        let person = self.person("SELECT person FROM refs WHERE ref = $1 AND party = $2", reference).await?;
        let rows = self.take_rows(reference, true).await?;
        self.counts.rows += rows;
        if person.is_none() {
            return Ok(());
        }
        self.counts.references += 1;
        self.known.push(*reference);
        let aside = "INSERT INTO set_aside_refs (party, ref, person, shown, last_month)
                     SELECT party, ref, person, shown, last_month FROM refs WHERE ref = $1 AND party = $2 ON CONFLICT DO NOTHING";
        self.each(aside, reference).await?;
        self.each("DELETE FROM refs WHERE ref = $1 AND party = $2", reference).await?;
        self.forget_points(reference).await
    }

    pub(super) async fn restore(&mut self, reference: &RecordRef) -> Result<(), ServiceError> {
        let aside = self.person("SELECT person FROM set_aside_refs WHERE ref = $1 AND party = $2", reference).await?;
        let Some(mut person) = aside else { return Ok(()) };
        self.counts.references += 1;
        self.known.push(*reference);
        // Persons that were merged meanwhile took theirs along; merges go to an older person, so this ends.
        while let Some(row) =
            sqlx::query("SELECT new_person FROM supersessions WHERE old_person = $1 AND ref IS NULL AND new_person < $1 ORDER BY id DESC LIMIT 1")
                .bind(person)
                .fetch_optional(&mut *self.tx)
                .await
                .map_err(db)?
        {
            person = row.get(0);
        }
        sqlx::query(
            "INSERT INTO refs (ref, party, person, shown, last_month)
             SELECT ref, party, $3, shown, last_month FROM set_aside_refs WHERE ref = $1 AND party = $2 ON CONFLICT DO NOTHING",
        )
        .bind(&reference.0[..])
        .bind(self.party)
        .bind(person)
        .execute(&mut *self.tx)
        .await
        .map_err(db)?;
        for (run, first, span) in tables(self.tx).await? {
            let done = sqlx::query(
                "INSERT INTO link_rows (id, party, ref, person, match_class, probability, sealed)
                 SELECT row_id, party, ref, person, match_class, probability, sealed FROM set_aside_rows
                 WHERE party = $1 AND ref = $2 AND row_id >= $3 AND row_id < $4 ON CONFLICT DO NOTHING",
            )
            .bind(self.party)
            .bind(&reference.0[..])
            .bind(first)
            .bind(first + span)
            .execute(&mut *self.tx)
            .await
            .map_err(db)?
            .rows_affected() as i64;
            if done > 0 {
                self.counts.rows += done;
                self.gap(&run, -done).await?;
                self.runs.push(run);
            }
        }
        self.each("DELETE FROM set_aside_rows WHERE ref = $1 AND party = $2", reference).await?;
        self.each("DELETE FROM set_aside_refs WHERE ref = $1 AND party = $2", reference).await?;
        Ok(())
    }

    /// Takes a record's rows out of all link tables, to the side where they are to be kept.
    async fn take_rows(&mut self, reference: &RecordRef, keep: bool) -> Result<i64, ServiceError> {
        let mut taken = 0;
        for table in tables(self.tx).await? {
            let Some(row) = find_row(self.tx, &table, reference, self.party).await? else { continue };
            if keep {
                sqlx::query(
                    "INSERT INTO set_aside_rows (row_id, party, ref, person, match_class, probability, sealed)
                     SELECT id, party, ref, person, match_class, probability, sealed FROM link_rows WHERE id = $1
                     ON CONFLICT DO NOTHING",
                )
                .bind(row)
                .execute(&mut *self.tx)
                .await
                .map_err(db)?;
            }
            sqlx::query("DELETE FROM link_rows WHERE id = $1").bind(row).execute(&mut *self.tx).await.map_err(db)?;
            self.gap(&table.0, 1).await?;
            taken += 1;
        }
        Ok(taken)
    }

    /// Notes that a run's ids have so many rows less than they count.
    async fn gap(&mut self, run: &str, rows: i64) -> Result<(), ServiceError> {
        let done = sqlx::query("UPDATE runs SET withdrawn = withdrawn + $1 WHERE run_id = $2");
        done.bind(rows).bind(run).execute(&mut *self.tx).await.map_err(db).map(drop)
    }

    async fn forget_points(&mut self, reference: &RecordRef) -> Result<(), ServiceError> {
        for domain in domains(self.tx).await? {
            sqlx::query("DELETE FROM ref_points WHERE domain = $1 AND ref = $2")
                .bind(domain)
                .bind(&reference.0[..])
                .execute(&mut *self.tx)
                .await
                .map_err(db)?;
        }
        Ok(())
    }

    /// Forgets a person whom no record holds any more, unless a supersession list names it.
    async fn forget_person(&mut self, person: Person) -> Result<(), ServiceError> {
        let done = sqlx::query(
            "DELETE FROM persons WHERE number = $1 AND NOT EXISTS (SELECT 1 FROM refs WHERE person = $1)
             AND NOT EXISTS (SELECT 1 FROM set_aside_refs WHERE person = $1)
             AND NOT EXISTS (SELECT 1 FROM supersessions WHERE old_person = $1 OR new_person = $1)",
        )
        .bind(person)
        .execute(&mut *self.tx)
        .await
        .map_err(db)?
        .rows_affected() as i64;
        self.counts.persons += done;
        if done == 0 {
            return Ok(());
        }
        // Numbers of persons are given again when the newest is forgotten: no point may stand under one.
        for domain in domains(self.tx).await? {
            sqlx::query("DELETE FROM person_points WHERE domain = $1 AND person = $2")
                .bind(domain)
                .bind(person)
                .execute(&mut *self.tx)
                .await
                .map_err(db)?;
        }
        Ok(())
    }
}

/// The domains that points are kept under.
async fn domains(connection: &mut Connection) -> Result<Vec<i64>, ServiceError> {
    let rows = sqlx::query("SELECT number FROM point_domains").fetch_all(connection).await.map_err(db)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

pub(super) async fn person_of(
    connection: &mut Connection,
    select: &'static str,
    reference: &RecordRef,
    party: &str,
) -> Result<Option<Person>, ServiceError> {
    let row = sqlx::query(select).bind(&reference.0[..]).bind(party).fetch_optional(connection).await.map_err(db)?;
    Ok(row.map(|row| row.get(0)))
}

/// The link tables that are held.
pub(super) async fn tables(connection: &mut Connection) -> Result<Vec<TableOf>, ServiceError> {
    let rows = sqlx::query("SELECT run_id, first_row, row_count FROM runs WHERE state = 'ready' ORDER BY position")
        .fetch_all(connection)
        .await
        .map_err(db)?;
    rows.iter().map(|row| Ok((id::<RunId>(&row.get::<String, _>(0))?.to_string(), row.get(1), row.get(2)))).collect()
}

/// The row of a record in a link table: its rows are in the order of reference and party, with gaps.
pub(super) async fn find_row(
    connection: &mut Connection,
    (_, first, span): &TableOf,
    reference: &RecordRef,
    party: &str,
) -> Result<Option<i64>, ServiceError> {
    let (mut from, mut to) = (*first, first + span);
    while from < to {
        let middle = from + (to - from) / 2;
        let row = sqlx::query("SELECT id, ref, party FROM link_rows WHERE id >= $1 AND id < $2 ORDER BY id LIMIT 1")
            .bind(middle)
            .bind(to)
            .fetch_optional(&mut *connection)
            .await
            .map_err(db)?;
        let Some(row) = row else {
            to = middle;
            continue;
        };
        let (found, of): ([u8; 16], String) = (bytes16(&row, 1)?, row.get(2));
        match (found, of.as_str()).cmp(&(reference.0, party)) {
            std::cmp::Ordering::Equal => return Ok(Some(row.get(0))),
            std::cmp::Ordering::Less => from = row.get::<i64, _>(0) + 1,
            std::cmp::Ordering::Greater => to = middle,
        }
    }
    Ok(None)
}
