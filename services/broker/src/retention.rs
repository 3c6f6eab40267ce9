//! What the broker ends by itself: runs that were never completed, snapshots over their term, and everything once the
//! agreement has ended; and the certificates of what it deleted.
//!
//! Encodings are deleted by the worker's last step, at a run's end or when a held run's days are over ([`crate::kept`]). Here is
//! decided which runs come to that step without anybody asking. Several brokers may do it at once: each change is one
//! transaction, and done again it finds nothing.

use std::path::Path;
use std::time::Instant;

use linkage_agreement::RunId;
use linkage_common::deletion::series::Series;
use linkage_common::deletion::{Cause, DataSet, Draft, table};
use linkage_common::error::ServiceError;
use linkage_common::retention::{Pace, everything_over, first_kept, tell_failures};
use linkage_common::store::{db, id};
use sqlx::Row;

use crate::service::Broker;
use crate::store::{State, Store};

/// Seconds of a day.
const DAY_S: i64 = 86_400;
/// Tables that go with the agreement, in an order that keeps references whole; certificates stay.
const TABLES: [&str; 6] = [
    "DELETE FROM jobs",
    "DELETE FROM batches",
    "DELETE FROM uploads",
    "DELETE FROM snapshots",
    "DELETE FROM contributions",
    "DELETE FROM runs",
];

/// The broker's rounds and certificates.
#[derive(Debug)]
pub struct Retention {
    pace: Pace,
    series: Series,
}

impl Retention {
    /// Of a broker whose own folder is `data_dir`.
    pub fn new(data_dir: &Path) -> Self {
        Self { pace: Pace::of(data_dir), series: Series::new(data_dir) }
    }

    /// Whether anything may be deleted because the clock shows `now`.
    pub(crate) fn believes(&mut self, now: i64) -> bool {
        self.pace.believes(Instant::now(), now)
    }

    /// Signs what was deleted and is not certified yet.
    ///
    /// # Errors
    /// The database or the disk.
    pub async fn certify(&self, broker: &Broker) -> Result<(), ServiceError> {
        let gate = &broker.gate;
        table::certify(&broker.store.pool, &self.series, &broker.signer, gate.agreement(), gate.timestamp()).await
    }

    /// Looks for what is over its term when a round is due; what fails is in the log and is tried again.
    pub(crate) async fn round(&mut self, broker: &Broker) {
        let begun = self.pace.begin(&broker.store.pool, &broker.audit, &broker.signer, &broker.gate).await;
        if let Some(pruned) = begun {
            tell_failures([pruned, self.delete_over_term(broker).await]);
        }
    }

    /// Ends or deletes what is over its term today; the worker deletes what ended runs hold.
    ///
    /// # Errors
    /// The database or the disk.
    pub async fn delete_over_term(&self, broker: &Broker) -> Result<(), ServiceError> {
        let (gate, store) = (&broker.gate, &broker.store);
        self.certify(broker).await?;
        let (today, retention) = (gate.today(), &gate.agreement().retention);
        let ending = gate.ending()?;
        if everything_over(&ending, retention.after_end_days(), today) {
            for run in store.running(i64::MAX).await? {
                store.end_run(&run, State::Failed, "la convention a pris fin").await?;
            }
            store.expire(i64::MAX).await?;
            let cause = ending.by.map_or(Cause::End, Cause::Termination);
            let draft = Draft {
                rule: "agreement.end".to_owned(),
                value: Some(u64::from(retention.after_end_days())),
                cause,
                as_of: today,
                run: None,
                data: Vec::new(),
            };
            store.delete_everything(draft).await?;
        } else {
            let days = i64::from(retention.open_runs_days());
            for run in store.running(gate.now() - days * DAY_S).await? {
                let reason = format!("non terminé {days} jours après son ouverture (open_runs_days de la convention)");
                if store.end_run(&run, State::Failed, &reason).await? {
                    tracing::warn!(run = %run, days, "run given up: it has not ended in its time");
                }
            }
            let months = retention.link_tables_months;
            let draft = Draft {
                rule: "retention.link_tables_months".to_owned(),
                value: Some(u64::from(months)),
                cause: Cause::Term,
                as_of: today,
                run: None,
                data: Vec::new(),
            };
            store.delete_snapshots(&first_kept(months, today).to_string(), draft).await?;
        }
        broker.work.notify_one();
        self.certify(broker).await
    }
}

impl Store {
    /// Runs that have not ended and were opened at `before` (seconds since 1970) or earlier.
    async fn running(&self, before: i64) -> Result<Vec<RunId>, ServiceError> {
        let rows = sqlx::query(
            "SELECT run_id FROM runs WHERE state IN ('collecting', 'linking', 'delivering') AND opened_at <= $1 ORDER BY run_id",
        )
        .bind(before)
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        rows.iter().map(|row| id(&row.get::<String, _>(0))).collect()
    }

    /// Deletes what is kept of the reports of runs of months before `first`.
    async fn delete_snapshots(&self, first: &str, mut draft: Draft) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("delete_snapshots").await.map_err(db)?;
        let done = sqlx::query("DELETE FROM snapshots WHERE period < $1").bind(first).execute(&mut *tx).await.map_err(db)?;
        if done.rows_affected() > 0 {
            draft.data.push(DataSet::records("snapshots", done.rows_affected()));
            table::note(&mut tx, &draft).await?;
        }
        tx.commit().await.map_err(db)
    }

    /// Deletes all rows but certificates, once no run holds anything any more.
    async fn delete_everything(&self, mut draft: Draft) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("delete_everything").await.map_err(db)?;
        let jobs: i64 = sqlx::query("SELECT count(*) FROM jobs").fetch_one(&mut *tx).await.map_err(db)?.get(0);
        if jobs > 0 {
            return Ok(());
        }
        let mut rows = 0;
        for delete in TABLES {
            rows += sqlx::query(delete).execute(&mut *tx).await.map_err(db)?.rows_affected();
        }
        if rows > 0 {
            draft.data.push(DataSet::records("registers", rows));
            table::note(&mut tx, &draft).await?;
        }
        tx.commit().await.map_err(db)
    }
}
