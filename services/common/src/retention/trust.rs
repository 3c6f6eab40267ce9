//! Whether the clock may be believed when it says that something has reached its term.
//!
//! What is deleted does not come back, and a clock that is set years ahead by mistake would delete everything. A clock is
//! therefore believed only as far as time has passed since the last moment that a peer's clock or the operator has vouched for;
//! that moment is kept in `clock.json` of the role's folder, so that a clock that was wrong when the process started is seen
//! too. A role without that file, new or with a folder of its own that does not last, believes nothing before it has heard a
//! peer: what is new has nothing to delete, and a replica that is new shares a database that is not.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::PeerClocks;
use crate::error::ServiceError;
use crate::fsx::{self, FileError};
use crate::metrics::metrics;

/// Seconds that the clock may run ahead of the time that has passed, or of a peer's clock.
pub(super) const LEAP: i64 = 86_400;
/// Seconds that a role may have been stopped, or alone, for its clock to be believed without a peer.
pub(super) const ABSENCE: i64 = 31 * 86_400;
/// How long a peer is waited for before a clock is believed after such an absence.
const PATIENCE: Duration = Duration::from_secs(60);
const FILE: &str = "clock.json";
const LIMIT: u64 = 4 << 10;
/// How often a doubt is told.
const TOLD_EVERY: Duration = Duration::from_secs(3600);

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    /// The last moment that was vouched for, and the time that has passed since.
    seen: Timestamp,
}

/// The last moment that was vouched for, as the disk has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// None yet: the role, or its folder, is new.
    Never,
    /// Seconds since 1970.
    At(i64),
    /// The file is there and says nothing.
    Unknown,
}

/// A moment of the clock, and when it was in this process.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Instant,
    shown: i64,
}

impl Moment {
    /// What a clock that is right shows at `at`.
    fn then(self, at: Instant) -> i64 {
        let passed = i64::try_from(at.saturating_duration_since(self.at).as_secs()).unwrap_or(i64::MAX);
        self.shown.saturating_add(passed)
    }
    fn reaches(self, at: Instant, now: i64) -> bool {
        now.saturating_sub(self.then(at)) <= LEAP
    }
}

/// A role's trust in its clock.
#[derive(Debug)]
pub(super) struct Trust {
    mark: PathBuf,
    peers: Arc<PeerClocks>,
    /// When it was first asked.
    first: Option<Instant>,
    /// Whether it has believed anything yet: an absence is over then.
    going: bool,
    /// What was believed without anybody's word, after an absence.
    alone: Option<Moment>,
    /// What a peer, the operator or the mark has vouched for.
    vouched: Option<Moment>,
    /// The mark as this process has read or written it: another one is the operator's.
    known: Option<i64>,
    told: Option<Instant>,
}

impl Trust {
    /// Of the role whose own folder is `home`.
    pub(super) fn of(home: &Path) -> Self {
        Self {
            mark: home.join(FILE),
            peers: PeerClocks::of_process().clone(),
            first: None,
            going: false,
            alone: None,
            vouched: None,
            known: None,
            told: None,
        }
    }

    fn seen(&self) -> Seen {
        match fsx::read_limited(&self.mark, LIMIT) {
            Ok(bytes) => serde_json::from_slice::<Mark>(&bytes).map_or(Seen::Unknown, |mark| Seen::At(mark.seen.as_second())),
            Err(FileError::Missing { .. }) => Seen::Never,
            Err(_) => Seen::Unknown,
        }
    }

    /// Whether `now` (seconds since 1970) is to be believed at the moment `at` of this process.
    pub(super) fn believes(&mut self, at: Instant, now: i64) -> bool {
        let believed = self.judge(at, now);
        self.going |= believed;
        believed
    }

    fn judge(&mut self, at: Instant, now: i64) -> bool {
        let waited = at.saturating_duration_since(*self.first.get_or_insert(at)) >= PATIENCE;
        // What was believed moves nothing by itself: a clock that gains some hours with each round, or a month with each start,
        // is seen in the end.
        if [self.vouched, self.alone].into_iter().flatten().any(|moment| moment.reaches(at, now)) {
            return true;
        }
        let seen = self.seen();
        if let Seen::At(shown) = seen
            && self.known != Some(shown)
        {
            (self.known, self.vouched) = (Some(shown), Some(Moment { at, shown }));
        }
        let heard = self.peers.agree(now, at, LEAP);
        if heard == Some(true) {
            (self.vouched, self.alone) = (Some(Moment { at, shown: now }), None);
            return true;
        }
        if self.vouched.is_some_and(|moment| moment.reaches(at, now)) {
            return true;
        }
        let absent = !self.going && matches!(seen, Seen::At(shown) if now.saturating_sub(shown) <= ABSENCE);
        if absent && heard.is_none() && waited {
            self.alone = Some(Moment { at, shown: now });
            return true;
        }
        // Nobody was heard yet, and somebody will be: no reason for alarm.
        let early = match seen {
            Seen::Never => at.saturating_duration_since(self.first.unwrap_or(at)) < TOLD_EVERY,
            Seen::At(_) => absent && !waited,
            Seen::Unknown => false,
        };
        if !(early && heard.is_none()) && self.told.is_none_or(|told| at.saturating_duration_since(told) >= TOLD_EVERY) {
            self.told = Some(at);
            metrics().failed("retention");
            let ahead_days = match seen {
                Seen::At(seen) => now.saturating_sub(seen) / 86_400,
                Seen::Never | Seen::Unknown => 0,
            };
            tracing::error!(
                ahead_days,
                mark = %self.mark.display(),
                "the clock has leapt ahead, or was never confirmed, and no peer's clock shows the same: nothing is deleted by it. If it is right, run « linkage retention confirm --config FILE »"
            );
        }
        false
    }

    /// Writes down how far the clock is vouched for at `at`, when it shows `now` and is believed. The mark never goes back.
    pub(super) fn keep(&mut self, at: Instant, now: i64) {
        if self.peers.agree(now, at, LEAP) == Some(true) {
            (self.vouched, self.alone) = (Some(Moment { at, shown: now }), None);
        }
        let Some(vouched) = self.vouched else { return };
        let now = now.min(vouched.then(at));
        if matches!(self.seen(), Seen::At(seen) if seen >= now) {
            return;
        }
        match Timestamp::from_second(now).map_err(ServiceError::internal).and_then(|now| write(&self.mark, now)) {
            Ok(()) => self.known = Some(now),
            Err(error) => tracing::warn!(%error, "the last moment that was believed could not be written down; tried again"),
        }
    }
}

fn write(mark: &Path, seen: Timestamp) -> Result<(), ServiceError> {
    let bytes = serde_json::to_vec(&Mark { seen }).map_err(ServiceError::internal)?;
    Ok(fsx::write_atomic(mark, &bytes)?)
}

/// The operator of the role whose own folder is `home` has looked at the clock, which shows `now`: it is believed from here on,
/// by a running service too.
///
/// # Errors
/// The file cannot be written.
pub fn confirm(home: &Path, now: Timestamp) -> Result<(), ServiceError> {
    write(&home.join(FILE), now)
}

/// The last moment at which the role whose own folder is `home` believed its clock.
pub fn last_believed(home: &Path) -> Option<Timestamp> {
    match Trust::of(home).seen() {
        Seen::At(seen) => Timestamp::from_second(seen).ok(),
        Seen::Never | Seen::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;
    const HOUR: Duration = Duration::from_secs(3600);

    fn started(home: &Path, peers: &Arc<PeerClocks>) -> Trust {
        Trust { peers: peers.clone(), ..Trust::of(home) }
    }

    fn stamp(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn marked(home: &Path) -> Option<i64> {
        last_believed(home).map(Timestamp::as_second)
    }

    #[test]
    fn a_clock_that_leaps_is_not_believed_before_a_peer_or_the_operator_confirms_it() {
        let dir = tempfile::tempdir().unwrap();
        let (peers, start) = (Arc::<PeerClocks>::default(), Instant::now());
        confirm(dir.path(), stamp(NOW)).unwrap();
        let mut trust = started(dir.path(), &peers);
        assert!(trust.believes(start, NOW));
        trust.keep(start, NOW);
        let year = NOW + 365 * 86_400;
        assert!(!trust.believes(start + HOUR, NOW + 3_600 + LEAP + 1));
        assert!(!trust.believes(start + HOUR, year));
        // Set right, or back, it is followed.
        assert!(trust.believes(start + HOUR, NOW + 3_600) && trust.believes(start + HOUR, 0));
        // A peer that shows another time confirms nothing, one that shows the same does.
        peers.heard("a", stamp(NOW), start);
        assert!(!trust.believes(start + HOUR, year));
        peers.heard("b", stamp(year - 100), start + HOUR);
        assert!(trust.believes(start + HOUR, year));
        assert!(trust.believes(start + HOUR, year + LEAP) && !trust.believes(start + HOUR, year + 3 * LEAP));
        confirm(dir.path(), stamp(year + 3 * LEAP)).unwrap();
        assert!(trust.believes(start + HOUR, year + 3 * LEAP));
    }

    #[test]
    fn a_clock_that_is_wrong_from_the_start_is_seen_by_the_mark() {
        let dir = tempfile::tempdir().unwrap();
        let (peers, start) = (Arc::<PeerClocks>::default(), Instant::now());
        confirm(dir.path(), stamp(NOW)).unwrap();
        let ten_years = NOW + 3_650 * 86_400;
        assert!(!started(dir.path(), &peers).believes(start, ten_years));
        assert_eq!(marked(dir.path()), Some(NOW));
        // A service that was stopped for a month goes on by itself when nobody answers, later only when somebody knows better.
        let mut alone = started(dir.path(), &peers);
        assert!(!alone.believes(start, NOW + ABSENCE) && alone.believes(start + PATIENCE, NOW + ABSENCE));
        let mut late = started(dir.path(), &peers);
        assert!(!late.believes(start, NOW + ABSENCE + 1) && !late.believes(start + PATIENCE, NOW + ABSENCE + 1));
        let mut trust = started(dir.path(), &peers);
        assert!(!trust.believes(start, ten_years));
        peers.heard("a", stamp(ten_years), start);
        assert!(trust.believes(start, ten_years));
        // The mark does not go back with the clock.
        trust.keep(start, ten_years);
        trust.keep(start, NOW);
        assert!(started(dir.path(), &Arc::default()).believes(start, ten_years));
    }

    #[test]
    fn a_clock_that_gains_step_by_step_gains_a_day_or_a_month_in_all() {
        let dir = tempfile::tempdir().unwrap();
        let (peers, start) = (Arc::<PeerClocks>::default(), Instant::now());
        confirm(dir.path(), stamp(NOW)).unwrap();
        let mut trust = started(dir.path(), &peers);
        let believed = (0_u32..40).filter(|hour| {
            let (at, now) = (start + *hour * HOUR, NOW + i64::from(*hour) * (3_600 + 82_800));
            let believed = trust.believes(at, now);
            if believed {
                trust.keep(at, now);
            }
            believed
        });
        assert_eq!(believed.count(), 2);
        // By starts, nobody being heard.
        confirm(dir.path(), stamp(NOW)).unwrap();
        let month = |n: i64| {
            let mut trust = started(dir.path(), &peers);
            trust.believes(start, NOW + n * 30 * 86_400);
            let (at, now) = (start + PATIENCE, NOW + n * 30 * 86_400);
            let believed = trust.believes(at, now);
            if believed {
                trust.keep(at, now);
            }
            believed
        };
        assert_eq!([0, 1, 2, 3].map(month), [true, true, false, false]);
        // A peer that shows another time: not even the month.
        peers.heard("a", stamp(NOW), start);
        assert_eq!([0, 1].map(month), [true, false]);
    }

    #[test]
    fn a_clock_that_was_behind_until_the_machine_asked_for_the_time_needs_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let (peers, start) = (Arc::<PeerClocks>::default(), Instant::now());
        confirm(dir.path(), stamp(NOW)).unwrap();
        let mut trust = started(dir.path(), &peers);
        assert!(trust.believes(start, 0));
        trust.keep(start, 0);
        assert!(trust.believes(start + HOUR, NOW + 7_200));
    }

    #[test]
    fn a_role_without_a_mark_or_with_a_damaged_one_is_held_to_the_peers() {
        let dir = tempfile::tempdir().unwrap();
        let (peers, start) = (Arc::<PeerClocks>::default(), Instant::now());
        // Its store may hold years: another replica's, or its own from before there were marks.
        let mut trust = started(dir.path(), &peers);
        assert!(!trust.believes(start, NOW + 30 * LEAP) && !trust.believes(start + HOUR, NOW + 30 * LEAP));
        assert_eq!(marked(dir.path()), None);
        peers.heard("a", stamp(NOW), start);
        assert!(!trust.believes(start, NOW + 30 * LEAP));
        assert!(trust.believes(start, NOW + 60));
        trust.keep(start, NOW + 60);
        assert_eq!(marked(dir.path()), Some(NOW + 60));
        fsx::write_atomic(&dir.path().join(FILE), b"{\"seen\":").unwrap();
        assert!(started(dir.path(), &peers).believes(start, NOW));
        assert!(!started(dir.path(), &Arc::default()).believes(start, NOW));
        confirm(dir.path(), stamp(NOW)).unwrap();
        assert!(started(dir.path(), &Arc::default()).believes(start, NOW));
    }
}
