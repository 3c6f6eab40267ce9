//! When a class of data has reached its term: the agreement's days and months as dates, and the pace of the rounds that delete.
//!
//! Everything here is a function of dates. A thing kept for `n` days from a day is there on the `n`th day after it and gone
//! on the next; a thing of a month kept for `n` months is there on the last day of the `n`th month after its own.
//! Days are those of UTC, as everywhere in an agreement.

mod trust;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::ToSpan;
use jiff::civil::Date;
use linkage_agreement::{PartyId, Period};

use crate::audit::AuditLog;
use crate::deletion::{Cause, DataSet, Draft, table};
use crate::error::ServiceError;
use crate::gate::Gate;
use crate::signer::Signer;
use crate::store::Pool;

use trust::Trust;
pub use trust::{confirm, last_believed};

/// How often a role looks for what has reached its term.
pub const EVERY: Duration = Duration::from_secs(3600);
/// How soon it looks again after a clock that it did not believe: a peer may have been heard meanwhile.
const AGAIN: Duration = Duration::from_secs(5);

/// The agreement's end, by its date or by a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// First day without the agreement.
    pub on: Date,
    /// The party whose notice ends it; none when its last day has passed.
    pub by: Option<PartyId>,
}

/// Whether what is kept for `days` days since `since` is over its term on `today`.
pub fn days_over(since: Date, days: u32, today: Date) -> bool {
    // A day that no calendar holds is not reached.
    since.checked_add(i64::from(days).days()).is_ok_and(|last| today > last)
}

/// Whether what is kept for `months` months since the day `since` is over its term on `today`.
pub fn months_over(since: Date, months: u32, today: Date) -> bool {
    since.checked_add(i64::from(months).months()).is_ok_and(|last| today > last)
}

/// Whether what belongs to `period` and is kept for `months` months is over its term on `today`.
pub fn period_over(period: Period, months: u32, today: Date) -> bool {
    period.index().saturating_add(months) < Period::of(today).index()
}

/// The first month that is not over its term yet: those before it are.
pub fn first_kept(months: u32, today: Date) -> Period {
    let index = Period::of(today).index().saturating_sub(months);
    let (year, month) = (1900 + index / 12, index % 12 + 1);
    // Months come out of the same range as they went in.
    Period::new(u16::try_from(year).unwrap_or(1900), u8::try_from(month).unwrap_or(1)).unwrap_or(Period::of(today))
}

/// Whether everything of an agreement that ends so is to be deleted on `today`.
pub fn everything_over(ending: &Ending, after_end_days: u32, today: Date) -> bool {
    // The last day with the agreement is the day before.
    days_over(ending.on, after_end_days, today.tomorrow().unwrap_or(today))
}

/// The pace of a role's rounds, and its trust in the clock ([`confirm`] says how it is gained again).
#[derive(Debug)]
pub struct Pace {
    trust: Trust,
    next: Option<Instant>,
    /// The month in which the audit log was last looked at: it is verified whole each time.
    pruned: Option<Period>,
}

impl Pace {
    /// Of the role whose own folder is `home`: there it keeps the last moment that was vouched for.
    pub fn of(home: &Path) -> Self {
        Self { trust: Trust::of(home), next: None, pruned: None }
    }

    /// Whether a round is due, `now` (seconds since 1970) being the agreement's time. None is by a clock that is not believed.
    pub fn due(&mut self, at: Instant, now: i64) -> bool {
        if self.next.is_some_and(|next| at < next) {
            return false;
        }
        let believed = self.believes(at, now);
        self.next = Some(at + if believed { EVERY } else { AGAIN });
        if believed {
            self.trust.keep(at, now);
        }
        believed
    }

    /// Whether anything may be deleted because the clock shows `now`.
    pub fn believes(&mut self, at: Instant, now: i64) -> bool {
        self.trust.believes(at, now)
    }

    /// Begins the round of a role that has a database, when one is due: what of the audit log is over its term is deleted, and
    /// noted in `pool`. The role deletes the rest itself, whatever came of this, and tells both by [`tell_failures`].
    pub async fn begin(
        &mut self,
        pool: &Pool,
        log: &AuditLog,
        signer: &Arc<Signer>,
        gate: &Gate,
    ) -> Option<Result<(), ServiceError>> {
        if !self.due(Instant::now(), gate.now()) {
            return None;
        }
        Some(match self.prune(log, signer, gate).await {
            Ok(Some(draft)) => table::note_outside(pool, &draft).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        })
    }

    /// Deletes months of the audit log that are over their term, at start and once in a month; gives what was deleted, to be
    /// certified.
    ///
    /// # Errors
    /// A log that does not verify; the disk.
    pub async fn prune(&mut self, log: &AuditLog, signer: &Arc<Signer>, gate: &Gate) -> Result<Option<Draft>, ServiceError> {
        let today = gate.today();
        if self.pruned == Some(Period::of(today)) {
            return Ok(None);
        }
        let (log, signer) = (log.clone(), signer.clone());
        let pruned = tokio::task::spawn_blocking(move || log.prune(&signer)).await.map_err(ServiceError::internal)??;
        self.pruned = Some(Period::of(today));
        Ok((pruned.months > 0).then(|| Draft {
            rule: "retention.access_log_months".to_owned(),
            value: Some(u64::from(gate.agreement().retention.access_log_months)),
            cause: Cause::Term,
            as_of: today,
            run: None,
            data: vec![DataSet { files: Some(pruned.months), ..DataSet::records("audit-log", pruned.entries) }],
        }))
    }
}

/// Puts what failed of a round into the log: it is tried again in the next one.
pub fn tell_failures(round: impl IntoIterator<Item = Result<(), ServiceError>>) {
    for error in round.into_iter().filter_map(Result::err) {
        tracing::error!(%error, "data over their term could not all be deleted; tried again");
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_term_is_over_on_the_day_after_its_last_one() {
        let since = date(2024, 1, 31);
        assert_eq!([date(2024, 3, 1), date(2024, 3, 2)].map(|today| days_over(since, 30, today)), [false, true]);
        assert_eq!([date(2024, 2, 29), date(2024, 3, 1)].map(|today| months_over(since, 1, today)), [false, true]);
        assert_eq!([date(2026, 1, 31), date(2026, 2, 1)].map(|today| months_over(since, 24, today)), [false, true]);
        let month: Period = "2024-01".parse().unwrap();
        assert_eq!([date(2029, 1, 31), date(2029, 2, 1)].map(|today| period_over(month, 60, today)), [false, true]);
        assert!(!days_over(Date::MAX, 1, Date::MAX));
        for today in [date(2029, 1, 31), date(2029, 2, 1), date(2029, 12, 31)] {
            let first = first_kept(60, today);
            assert!(!period_over(first, 60, today));
            assert!(period_over(Period::of(date(first.year() as i16, 1, 1)), 60, today) || first.to_string().ends_with("-01"));
        }
        assert_eq!(first_kept(60, date(2029, 2, 1)).to_string(), "2024-02");
    }

    #[test]
    fn the_end_deletes_at_once_or_after_the_days_that_the_agreement_gives() {
        let ending = Ending { on: date(2025, 1, 1), by: None };
        let days = [date(2024, 12, 31), date(2025, 1, 1), date(2025, 1, 30), date(2025, 1, 31)];
        assert_eq!(days.map(|today| everything_over(&ending, 0, today)), [false, true, true, true]);
        assert_eq!(days.map(|today| everything_over(&ending, 30, today)), [false, false, false, true]);
    }

    #[test]
    fn a_round_is_due_every_hour_and_by_a_clock_that_leaps_none() {
        let dir = tempfile::tempdir().unwrap();
        let (start, now) = (Instant::now(), 1_700_000_000);
        let after = |seconds: u64| (start + Duration::from_secs(seconds), now + seconds as i64);
        let due = |pace: &mut Pace, (at, now): (Instant, i64)| pace.due(at, now);
        confirm(dir.path(), jiff::Timestamp::from_second(now).unwrap()).unwrap();
        let mut pace = Pace::of(dir.path());
        assert!(due(&mut pace, after(0)) && !due(&mut pace, after(1_800)) && due(&mut pace, after(3_600)));
        let (at, then) = after(7_200);
        assert!(!pace.due(at, then + 10 * 365 * 86_400));
        assert!(!pace.due(at + AGAIN, then + 10 * 365 * 86_400));
        // A process that is started anew believes it no more.
        assert!(!Pace::of(dir.path()).due(at, then + 10 * 365 * 86_400));
        // Set right again it is followed at once, and set back it deletes less.
        assert!(pace.due(at + 2 * AGAIN, then));
        assert!(pace.due(at + 2 * EVERY, 0));
    }
}
