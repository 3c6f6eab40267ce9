//! Which runs there are, how far each is, and when it may be expected to end.
//!
//! A forecast rests on what the same steps of earlier runs of the agreement took, in proportion to the records where the work
//! grows with them. Where there are none, where a step waits for somebody or takes longer than the earlier ones, there is no
//! forecast: a wrong hour is worse than none. It is told to the minute, so that it says little of the number of records.

use linkage_agreement::{PartyId, RunId};
use linkage_common::error::ServiceError;
use linkage_common::metrics::metrics;
use linkage_common::store::{db, id};
use linkage_proto::v1;
use sqlx::Row;

use crate::jobs::Step;
use crate::store::{Run, State, Store};

/// Earlier steps that a forecast looks back on.
const PAST_ROWS: i64 = 100;
/// Of each step, how many: the latest ones, since machines change.
const PAST_OF_STEP: usize = 5;
/// Runs that have ended and hold nothing any more: how many of them a list tells of, the latest ones.
pub(crate) const MOST_ENDED: i64 = 500;
/// A forecast is told in whole minutes.
const MINUTE_S: i64 = 60;
/// The steps of a run, in order. A run ends, for those who wait for it, when the last but one is done.
const STEPS: [Step; 5] = [Step::Compare, Step::Settle, Step::Cluster, Step::Deliver, Step::Delete];

/// What a step of an earlier run took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Past {
    step: Step,
    seconds: i64,
    records: u64,
}

impl Store {
    /// Tells the metrics how many runs are in each state.
    pub(crate) async fn count_runs(&self) -> Result<(), ServiceError> {
        let rows = sqlx::query("SELECT state, count(*) FROM runs GROUP BY state").fetch_all(&self.pool).await.map_err(db)?;
        let counted = |state: State| {
            let row = rows.iter().find(|row| row.get::<String, _>(0) == state.as_str());
            (state.as_str(), row.map_or(0, |row| usize::try_from(row.get::<i64, _>(1)).unwrap_or_default()))
        };
        let all = [State::Collecting, State::Linking, State::Delivering, State::Closed, State::Cancelled, State::Failed];
        metrics().runs(all.map(counted));
        Ok(())
    }

    /// Runs, oldest first, each with the parties that have committed their upload: all under way, those of `also`, and unless
    /// it is `under_way` that is asked for, those that are held or to be deleted and the [`MOST_ENDED`] latest of the others. Nodes ask
    /// for this twice a second: one statement, which reads none of what parties committed.
    pub(crate) async fn listed(&self, under_way: bool, also: &[RunId]) -> Result<Vec<(Run, Vec<PartyId>)>, ServiceError> {
        // No run's name has a comma or a wildcard, and no party's a blank.
        let also = also.iter().fold(",".to_owned(), |text, run| text + run.as_str() + ",");
        let rows = sqlx::query(
            "SELECT r.*, (SELECT string_agg(u.party, ' ') FROM uploads u WHERE u.run_id = r.run_id) AS committed FROM runs r
             WHERE r.state IN ('collecting', 'linking', 'delivering') OR $1 LIKE '%,' || r.run_id || ',%'
             OR ($2 > 0 AND (r.step <> '' OR r.held_until IS NOT NULL OR r.run_id IN
                (SELECT e.run_id FROM runs e WHERE e.state IN ('closed', 'cancelled', 'failed')
                 ORDER BY e.opened_at DESC, e.rowid DESC LIMIT $2)))
             ORDER BY r.opened_at, r.rowid",
        )
        .bind(also)
        .bind(if under_way { 0 } else { MOST_ENDED })
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        rows.iter()
            .map(|row| {
                let names = row.get::<Option<String>, _>("committed").unwrap_or_default();
                let mut committed = names.split_whitespace().map(id).collect::<Result<Vec<PartyId>, _>>()?;
                committed.sort();
                Ok((Self::run_of(row)?, committed))
            })
            .collect()
    }

    /// Parties that have committed their upload to `run`, without what they committed.
    pub(crate) async fn committed_parties(&self, run: &RunId) -> Result<Vec<PartyId>, ServiceError> {
        let rows = sqlx::query("SELECT party FROM uploads WHERE run_id = $1 ORDER BY party")
            .bind(run.as_str())
            .fetch_all(&self.pool)
            .await
            .map_err(db)?;
        rows.iter().map(|row| id(&row.get::<String, _>(0))).collect()
    }

    /// A step begins, perhaps anew.
    pub(crate) async fn step_began(&self, run: &RunId, step: Step, now: i64) -> Result<(), ServiceError> {
        sqlx::query(
            "INSERT INTO step_times (run_id, step, began) VALUES ($1, $2, $3)
             ON CONFLICT (run_id, step) DO UPDATE SET began = excluded.began, ended = NULL",
        )
        .bind(run.as_str())
        .bind(step.as_str())
        .bind(now)
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(())
    }

    /// The step is done.
    pub(crate) async fn step_ended(&self, run: &RunId, step: Step, now: i64) -> Result<(), ServiceError> {
        sqlx::query("UPDATE step_times SET ended = $1 WHERE run_id = $2 AND step = $3")
            .bind(now)
            .bind(run.as_str())
            .bind(step.as_str())
            .execute(&self.pool)
            .await
            .map_err(db)?;
        Ok(())
    }

    /// Records of all parties in a run, decoys among them.
    pub(crate) async fn records_of(&self, run: &RunId) -> Result<u64, ServiceError> {
        let row = sqlx::query("SELECT CAST(coalesce(sum(records), 0) AS BIGINT) FROM uploads WHERE run_id = $1")
            .bind(run.as_str())
            .fetch_one(&self.pool)
            .await
            .map_err(db)?;
        Ok(u64::try_from(row.get::<i64, _>(0)).unwrap_or_default())
    }

    async fn began(&self, run: &RunId, step: Step) -> Result<Option<i64>, ServiceError> {
        let row = sqlx::query("SELECT began FROM step_times WHERE run_id = $1 AND step = $2")
            .bind(run.as_str())
            .bind(step.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Steps of closed runs of the same kind, the latest first.
    async fn past(&self, run: &Run) -> Result<Vec<Past>, ServiceError> {
        let rows = sqlx::query(
            "SELECT t.step, t.ended - t.began,
                (SELECT CAST(coalesce(sum(u.records), 0) AS BIGINT) FROM uploads u WHERE u.run_id = t.run_id)
             FROM step_times t JOIN runs r ON r.run_id = t.run_id
             WHERE r.state = 'closed' AND t.ended IS NOT NULL AND (r.base_run IS NULL) = $1
             AND r.agreement = (SELECT agreement FROM runs WHERE run_id = $2)
             ORDER BY t.ended DESC LIMIT $3",
        )
        .bind(run.base_run.is_none())
        .bind(run.id.as_str())
        .bind(PAST_ROWS)
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        rows.iter()
            .map(|row| {
                let step = Step::parse(&row.get::<String, _>(0))?;
                Ok(Past { step, seconds: row.get(1), records: u64::try_from(row.get::<i64, _>(2)).unwrap_or_default() })
            })
            .collect()
    }

    /// How far `run` is at `now`; `committed` parties have sent everything.
    pub(crate) async fn forecast(&self, run: &Run, committed: usize, now: i64) -> Result<v1::RunForecast, ServiceError> {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let of_steps = count(STEPS.len());
        let mut told = v1::RunForecast { as_of: now, total: of_steps, ..Default::default() };
        match run.state {
            State::Collecting => (told.done, told.total) = (count(committed), count(run.parties.len())),
            State::Closed => told.done = of_steps,
            State::Cancelled | State::Failed => {}
            State::Linking | State::Delivering => {
                let step = Step::parse(&run.step)?;
                let began = self.began(&run.id, step).await?;
                told.done = count(STEPS.iter().take_while(|s| **s != step).count());
                told.step_since = began.unwrap_or_default();
                if run.reason.is_empty() {
                    let (records, past) = (self.records_of(&run.id).await?, self.past(run).await?);
                    told.expected_end = expected_end(now, step, began.unwrap_or(now), records, &past).unwrap_or_default();
                }
            }
        }
        Ok(told)
    }
}

/// When the steps from `step` on will be done, rounded up to the minute.
fn expected_end(now: i64, step: Step, began: i64, records: u64, past: &[Past]) -> Option<i64> {
    let mut left = 0;
    for ahead in STEPS.into_iter().skip_while(|s| *s != step).filter(|s| *s != Step::Delete) {
        left += expected_seconds(ahead, records, past)?;
        if ahead == step {
            left -= (now - began).max(0);
            if left < 0 {
                return None;
            }
        }
    }
    Some((now + left).div_euclid(MINUTE_S).saturating_add(1) * MINUTE_S)
}

/// The median of what this step took, brought to this number of records.
fn expected_seconds(step: Step, records: u64, past: &[Past]) -> Option<i64> {
    let scaled = |past: &Past| match (step, past.records) {
        (Step::Settle, _) | (_, 0) => past.seconds,
        (_, theirs) => {
            let scaled = i128::from(past.seconds) * i128::from(records) / i128::from(theirs);
            i64::try_from(scaled).unwrap_or(i64::MAX / 8)
        }
    };
    let mut took: Vec<i64> = past.iter().filter(|past| past.step == step).take(PAST_OF_STEP).map(scaled).collect();
    took.sort_unstable();
    took.get(took.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(step: Step, seconds: i64, records: u64) -> Past {
        Past { step, seconds, records }
    }

    #[test]
    fn what_earlier_runs_took_is_brought_to_this_ones_size() {
        let known: Vec<Past> = [(Step::Compare, 600), (Step::Settle, 10), (Step::Cluster, 100), (Step::Deliver, 50)]
            .map(|(s, t)| past(s, t, 1000))
            .into();
        // Twice the records: 1200 - 200 + 10 + 200 + 100, and up to the next minute.
        assert_eq!(expected_end(10_200, Step::Compare, 10_000, 2000, &known), Some(11_520));
        assert_eq!(expected_end(6000, Step::Deliver, 6000, 1000, &known), Some(6060));
    }

    #[test]
    fn nothing_is_forecast_without_a_past_or_beyond_it() {
        let known = [past(Step::Deliver, 50, 1000)];
        assert_eq!(expected_end(0, Step::Compare, 0, 1000, &known), None);
        assert_eq!(expected_end(0, Step::Deliver, 0, 1000, &[]), None);
        assert_eq!(expected_end(51, Step::Deliver, 0, 1000, &known), None);
    }

    #[test]
    fn one_odd_run_does_not_carry_the_forecast() {
        let known = [100, 90, 9000, 110, 95, 5].map(|t| past(Step::Cluster, t, 10));
        // The sixth is too long ago.
        assert_eq!(expected_seconds(Step::Cluster, 10, &known), Some(100));
    }
}
