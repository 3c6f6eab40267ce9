//! What the broker keeps of a run to compare the next one with: a snapshot of its report, without handle or token.
//!
//! A run is compared with the latest run of an earlier month under the same agreement text, so that a month linked anew
//! is compared with the month before it, not with itself. Only the latest snapshots of each agreement are kept.

use linkage_agreement::{Period, RunId};
use linkage_common::error::ServiceError;
use linkage_common::store::{db, id};
use linkage_linking::{Drift, Snapshot, drift};
use serde::Serialize;
use sqlx::Row;

use crate::store::{Run, Store};

/// Snapshots kept for each agreement.
const KEPT: i64 = 24;

/// What a run says differently from an earlier one.
#[derive(Debug, Clone, Serialize)]
pub struct RunDrift {
    /// The earlier run.
    pub previous_run: RunId,
    /// Its month.
    pub previous_period: Period,
    /// The differences.
    #[serde(flatten)]
    pub drift: Drift,
}

impl Store {
    /// Keeps the snapshot of `run`, in place of an earlier one of the same run, and lets the oldest go.
    pub async fn keep_snapshot(&self, agreement: &[u8], run: &Run, snapshot: &Snapshot, now: i64) -> Result<(), ServiceError> {
        let text = serde_json::to_string(snapshot).map_err(ServiceError::internal)?;
        let mut tx = self.pool.begin("keep_snapshot").await.map_err(db)?;
        sqlx::query(
            "INSERT INTO snapshots (run_id, agreement, period, snapshot, made_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (run_id) DO UPDATE SET agreement = excluded.agreement, period = excluded.period,
             snapshot = excluded.snapshot, made_at = excluded.made_at",
        )
        .bind(run.id.as_str())
        .bind(agreement)
        .bind(run.period.to_string())
        .bind(text)
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        sqlx::query(
            "DELETE FROM snapshots WHERE agreement = $1 AND run_id NOT IN
             (SELECT run_id FROM snapshots WHERE agreement = $1 ORDER BY period DESC, made_at DESC, run_id DESC LIMIT $2)",
        )
        .bind(agreement)
        .bind(KEPT)
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Compares `current`, the snapshot of `run`, with the latest of an earlier month. None when there is none, or
    /// when it was written by a version that kept other figures.
    pub async fn drift_of(&self, agreement: &[u8], run: &Run, current: &Snapshot) -> Result<Option<RunDrift>, ServiceError> {
        let found = sqlx::query(
            "SELECT run_id, period, snapshot FROM snapshots WHERE agreement = $1 AND period < $2
             ORDER BY period DESC, made_at DESC, run_id DESC LIMIT 1",
        )
        .bind(agreement)
        .bind(run.period.to_string())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        let Some(row) = found else { return Ok(None) };
        let Ok(previous) = serde_json::from_str::<Snapshot>(&row.get::<String, _>("snapshot")) else {
            tracing::warn!(run = %run.id, "the previous run's snapshot is of another version; drift is not reported");
            return Ok(None);
        };
        Ok(Some(RunDrift {
            previous_run: id(&row.get::<String, _>("run_id"))?,
            previous_period: id(&row.get::<String, _>("period"))?,
            drift: drift(&previous, current),
        }))
    }
}

#[cfg(test)]
mod tests {
    use linkage_common::database::Place;
    use linkage_test_databases::{On, on_both};

    use super::*;
    use crate::store::State;

    on_both!(a_month_is_compared_with_the_month_before_under_the_same_agreement, old_snapshots_go);

    fn run(name: &str, period: &str) -> Run {
        Run {
            id: name.parse().unwrap(),
            period: period.parse().unwrap(),
            parties: vec!["ccas".parse().unwrap(), "siao".parse().unwrap()],
            reference_party: None,
            base_run: None,
            kept: false,
            held: false,
            state: State::Collecting,
            step: String::new(),
            reason: String::new(),
            order_signature: vec![7; 64],
        }
    }

    fn snapshot(records: u64) -> Snapshot {
        let party = serde_json::json!({ "records": records, "linked": 50 });
        serde_json::from_value(serde_json::json!({
            "parties": { "ccas": party, "siao": party }, "dimensions": {}, "matches": 50.0,
            "precision": 1.0, "recall": 1.0, "blocks": 10, "blocks_dropped": 0,
        }))
        .unwrap()
    }

    async fn a_month_is_compared_with_the_month_before_under_the_same_agreement(on: On) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(on.url().as_deref(), &dir.path().join("broker.sqlite")).unwrap();
        let store = Store::open_at(&place).await.unwrap();
        let months = [("a", "2024-01", 100), ("b", "2024-02", 100), ("b2", "2024-02", 110), ("c", "2024-03", 100)];
        for (now, (name, period, records)) in months.into_iter().enumerate() {
            let run = run(name, period);
            store.insert_run(&run, b"one", 1).await.unwrap();
            // Twice, as a step that was killed and done again.
            for _ in 0..2 {
                store.keep_snapshot(b"one", &run, &snapshot(records), now as i64).await.unwrap();
            }
        }
        let of = async |name: &str, period: &str, agreement: &[u8], records: u64| {
            store.drift_of(agreement, &run(name, period), &snapshot(records)).await.unwrap()
        };
        assert!(of("a", "2024-01", b"one", 100).await.is_none());
        let again = of("b3", "2024-02", b"one", 100).await.unwrap();
        assert_eq!((again.previous_run.as_str(), again.drift.flags.len()), ("a", 0));
        let third = of("c", "2024-03", b"one", 200).await.unwrap();
        assert_eq!((third.previous_run.as_str(), third.previous_period.to_string().as_str()), ("b2", "2024-02"));
        assert!(third.drift.flags.iter().any(|f| f.subject == "ccas"), "{:?}", third.drift.flags);
        assert!(of("c", "2024-03", b"other", 200).await.is_none());
        // One that another version wrote is passed over.
        sqlx::query("UPDATE snapshots SET snapshot = '{}' WHERE run_id = 'b2'").execute(&store.pool).await.unwrap();
        assert!(of("c", "2024-03", b"one", 200).await.is_none());
    }

    async fn old_snapshots_go(on: On) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(on.url().as_deref(), &dir.path().join("broker.sqlite")).unwrap();
        let store = Store::open_at(&place).await.unwrap();
        for month in 0..30 {
            let run = run(&format!("r{month}"), &format!("{}-{:02}", 2024 + month / 12, 1 + month % 12));
            store.insert_run(&run, b"one", 1).await.unwrap();
            store.keep_snapshot(b"one", &run, &snapshot(100), month).await.unwrap();
        }
        let kept: i64 = sqlx::query("SELECT count(*) FROM snapshots").fetch_one(&store.pool).await.unwrap().get(0);
        assert_eq!(kept, KEPT);
    }
}
