//! What the custodian keeps, until when, and its deletion: link tables, the registry's records and persons, settled pairs,
//! digests of evaluations, records of runs that never ended, and everything once the agreement has ended.
//!
//! Each rule is one transaction that deletes and notes the certificate ([`linkage_common::deletion::table`]); done again it
//! finds nothing. A person goes with the last record, row and supersession that names it. Counts of evaluations stay until the
//! end: without them a party could ask for an old month's budget once more.

use std::path::Path;

use jiff::ToSpan;
use jiff::civil::Date;
use linkage_agreement::{Period, RunId};
use linkage_common::deletion::series::Series;
use linkage_common::deletion::{Cause, DataSet, Draft, table};
use linkage_common::error::ServiceError;
use linkage_common::retention::{Pace, everything_over, first_kept, tell_failures};
use linkage_common::store::{Connection, db, id};
use sqlx::Row;

use crate::service::Custodian;
use crate::store::Store;

/// Tables that go with the agreement, and what certificates call them.
const TABLES: [(&str, &str); 17] = [
    ("handles", "DELETE FROM handles"),
    ("handles", "DELETE FROM record_batches"),
    ("handles", "DELETE FROM record_uploads"),
    ("clusters", "DELETE FROM cluster_batches"),
    ("link-rows", "DELETE FROM link_rows"),
    ("link-rows", "DELETE FROM set_aside_rows"),
    ("supersessions", "DELETE FROM supersessions"),
    ("references", "DELETE FROM refs"),
    ("references", "DELETE FROM set_aside_refs"),
    ("references", "DELETE FROM withdrawn_refs"),
    ("points", "DELETE FROM person_points"),
    ("points", "DELETE FROM ref_points"),
    ("points", "DELETE FROM point_domains"),
    ("persons", "DELETE FROM persons"),
    ("dispositions", "DELETE FROM dispositions"),
    ("evaluations", "DELETE FROM evaluations"),
    ("runs", "DELETE FROM runs"),
];

/// The custodian's rounds and certificates.
#[derive(Debug)]
pub struct Retention {
    pace: Pace,
    series: Series,
}

impl Retention {
    /// Of a custodian whose own folder is `data_dir`.
    pub fn new(data_dir: &Path) -> Self {
        Self { pace: Pace::of(data_dir), series: Series::new(data_dir) }
    }

    /// Looks for what is over its term when a round is due; what fails is in the log and is tried again.
    pub(crate) async fn round(&mut self, custodian: &Custodian) {
        let begun = self.pace.begin(&custodian.store.pool, &custodian.audit, &custodian.signer, &custodian.gate).await;
        if let Some(pruned) = begun {
            tell_failures([pruned, self.delete_over_term(custodian).await]);
        }
    }

    /// Deletes what is over its term today, with a certificate for each rule.
    ///
    /// # Errors
    /// The database or the disk.
    pub async fn delete_over_term(&self, custodian: &Custodian) -> Result<(), ServiceError> {
        let (gate, store) = (&custodian.gate, &custodian.store);
        let (today, retention) = (gate.today(), &gate.agreement().retention);
        let draft = |rule: &str, value: Option<u32>, cause: Cause| Draft {
            rule: rule.to_owned(),
            value: value.map(u64::from),
            cause,
            as_of: today,
            run: None,
            data: Vec::new(),
        };
        let ending = gate.ending()?;
        if everything_over(&ending, retention.after_end_days(), today) {
            let cause = ending.by.map_or(Cause::End, Cause::Termination);
            store.delete_everything(draft("agreement.end", Some(retention.after_end_days()), cause)).await?;
        } else {
            let term = |rule, value| draft(rule, Some(value), Cause::Term);
            let (tables, archive) = (retention.link_tables_months, retention.archive_months);
            store.delete_tables(first_kept(tables, today), term("retention.link_tables_months", tables)).await?;
            store.delete_references(first_kept(archive, today), term("retention.archive_months", archive)).await?;
            store.delete_expired_pairs(today, draft("dispositions.expiry", None, Cause::Term)).await?;
            let days = retention.open_runs_days().saturating_add(retention.encodings_days);
            let before = today.checked_sub(i64::from(days).days()).unwrap_or(Date::MIN);
            store.delete_lost_runs(today, before, term("retention.open_runs_days", retention.open_runs_days())).await?;
        }
        table::certify(&store.pool, &self.series, &custodian.signer, gate.agreement(), gate.timestamp()).await
    }
}

/// Notes, while a run is taken into the registry, for which month its records were delivered: each one present in it for the
/// run's month, and one that was never dated for it as well.
pub(crate) async fn seen(connection: &mut Connection, run: &RunId) -> Result<(), ServiceError> {
    let row = sqlx::query("SELECT period FROM runs WHERE run_id = $1").bind(run.as_str()).fetch_one(&mut *connection).await;
    let month: Option<String> = row.map_err(db)?.get(0);
    sqlx::query(
        "UPDATE refs SET last_month = $1 WHERE last_month < $1 AND (last_month = '' OR EXISTS
         (SELECT 1 FROM handle_refs r JOIN handles h ON h.id = r.record
          WHERE r.run_id = $2 AND r.party = refs.party AND r.ref = refs.ref AND h.present <> 0))",
    )
    .bind(month.unwrap_or_default())
    .bind(run.as_str())
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

async fn delete(connection: &mut Connection, statement: &'static str, bound: Option<&str>) -> Result<u64, ServiceError> {
    let query = sqlx::query(statement);
    let query = match bound {
        Some(value) => query.bind(value),
        None => query,
    };
    Ok(query.execute(connection).await.map_err(db)?.rows_affected())
}

/// Adds so many records of a set, if any.
fn add(draft: &mut Draft, set: &str, records: u64) {
    if records == 0 {
        return;
    }
    match draft.data.iter_mut().find(|data| data.set == set) {
        Some(data) => data.records = Some(data.records.unwrap_or(0) + records),
        None => draft.data.push(DataSet::records(set, records)),
    }
}

/// Deletes persons that nothing names any more, and points of what is gone.
async fn delete_unnamed(connection: &mut Connection, draft: &mut Draft) -> Result<(), ServiceError> {
    let persons = "DELETE FROM persons WHERE number NOT IN (SELECT person FROM refs UNION SELECT person FROM link_rows
                   UNION SELECT person FROM set_aside_refs UNION SELECT person FROM set_aside_rows
                   UNION SELECT old_person FROM supersessions UNION SELECT new_person FROM supersessions)";
    add(draft, "persons", delete(&mut *connection, persons, None).await?);
    for points in [
        "DELETE FROM person_points WHERE person NOT IN (SELECT number FROM persons)",
        "DELETE FROM ref_points WHERE ref NOT IN (SELECT ref FROM refs UNION SELECT ref FROM link_rows)",
    ] {
        add(draft, "points", delete(&mut *connection, points, None).await?);
    }
    Ok(())
}

/// Whether a run waits to be taken into the registry: its records' persons are then not to be touched.
async fn registering(connection: &mut Connection) -> Result<bool, ServiceError> {
    let row = sqlx::query("SELECT 1 FROM runs WHERE state = 'clustered'").fetch_optional(connection).await;
    Ok(row.map_err(db)?.is_some())
}

impl Store {
    /// Deletes link tables of months before `first`; the run's name stays, so that it is not used again.
    async fn delete_tables(&self, first: Period, mut draft: Draft) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("delete_tables").await.map_err(db)?;
        if registering(&mut tx).await? {
            return Ok(());
        }
        let over = sqlx::query("SELECT run_id, period, first_row, row_count FROM runs WHERE state = 'ready' AND period < $1");
        let over = over.bind(first.to_string()).fetch_all(&mut *tx).await.map_err(db)?;
        if over.is_empty() {
            return Ok(());
        }
        let mut months: Vec<Period> = Vec::new();
        for row in &over {
            let run: String = row.get(0);
            months.push(id(&row.get::<String, _>(1))?);
            let (from, count): (i64, i64) = (row.get(2), row.get(3));
            for rows in [
                "DELETE FROM link_rows WHERE id >= $1 AND id < $2",
                "DELETE FROM set_aside_rows WHERE row_id >= $1 AND row_id < $2",
            ] {
                let rows = sqlx::query(rows).bind(from).bind(from + count).execute(&mut *tx).await.map_err(db)?;
                add(&mut draft, "link-rows", rows.rows_affected());
            }
            add(&mut draft, "supersessions", delete(&mut tx, "DELETE FROM supersessions WHERE run_id = $1", Some(&run)).await?);
            delete(&mut tx, "DELETE FROM record_uploads WHERE run_id = $1", Some(&run)).await?;
            sqlx::query("UPDATE runs SET state = 'expired', report = $2 WHERE run_id = $1")
                .bind(&run)
                .bind(&[][..])
                .execute(&mut *tx)
                .await
                .map_err(db)?;
        }
        draft.data.insert(0, DataSet::records("link-tables", over.len() as u64).of_months(months));
        delete_unnamed(&mut tx, &mut draft).await?;
        table::note(&mut tx, &draft).await?;
        tx.commit().await.map_err(db)
    }

    /// Deletes references of records last delivered for a month before `first`, and digests of evaluations of such months.
    async fn delete_references(&self, first: Period, mut draft: Draft) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("delete_references").await.map_err(db)?;
        if registering(&mut tx).await? {
            return Ok(());
        }
        let first = first.to_string();
        for refs in [
            "DELETE FROM refs WHERE last_month <> '' AND last_month < $1",
            "DELETE FROM set_aside_refs WHERE last_month <> '' AND last_month < $1",
        ] {
            add(&mut draft, "references", delete(&mut tx, refs, Some(&first)).await?);
        }
        if !draft.data.is_empty() {
            delete_unnamed(&mut tx, &mut draft).await?;
        }
        let evaluations = delete(&mut tx, "DELETE FROM evaluations WHERE period < $1", Some(&first)).await?;
        add(&mut draft, "evaluations", evaluations);
        if draft.data.is_empty() {
            return Ok(());
        }
        table::note(&mut tx, &draft).await?;
        tx.commit().await.map_err(db)
    }

    /// Deletes settled pairs past the day that their owners gave.
    async fn delete_expired_pairs(&self, today: Date, mut draft: Draft) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("delete_expired_pairs").await.map_err(db)?;
        let halves = delete(&mut tx, "DELETE FROM dispositions WHERE expiry < $1", Some(&today.to_string())).await?;
        if halves == 0 {
            return Ok(());
        }
        add(&mut draft, "dispositions", halves);
        table::note(&mut tx, &draft).await?;
        tx.commit().await.map_err(db)
    }

    /// Forgets the records of runs that were first seen before the day `before` and that no broker has ended since.
    async fn delete_lost_runs(&self, today: Date, before: Date, draft: Draft) -> Result<(), ServiceError> {
        sqlx::query("UPDATE runs SET since = $1 WHERE state = 'collecting' AND since = ''")
            .bind(today.to_string())
            .execute(&self.pool)
            .await
            .map_err(db)?;
        let lost = sqlx::query("SELECT run_id FROM runs WHERE state = 'collecting' AND since <> '' AND since < $1");
        let lost = lost.bind(before.to_string()).fetch_all(&self.pool).await.map_err(db)?;
        for row in &lost {
            let run: RunId = id(&row.get::<String, _>(0))?;
            let records = self.close(&run).await?;
            let mut tx = self.pool.begin("note_lost_run").await.map_err(db)?;
            let draft = Draft { run: Some(run.clone()), data: vec![DataSet::records("handles", records)], ..draft.clone() };
            table::note(&mut tx, &draft).await?;
            tx.commit().await.map_err(db)?;
            tracing::warn!(run = %run, records, "a run that nobody ended is forgotten");
        }
        Ok(())
    }

    /// Deletes all rows but certificates and receipts.
    async fn delete_everything(&self, mut draft: Draft) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("delete_everything").await.map_err(db)?;
        // Counted as handles.
        delete(&mut tx, "DELETE FROM handle_refs", None).await?;
        for (set, statement) in TABLES {
            add(&mut draft, set, delete(&mut tx, statement, None).await?);
        }
        add(&mut draft, "budgets", delete(&mut tx, "DELETE FROM budgets", None).await?);
        if draft.data.is_empty() {
            return Ok(());
        }
        table::note(&mut tx, &draft).await?;
        tx.commit().await.map_err(db)
    }
}
