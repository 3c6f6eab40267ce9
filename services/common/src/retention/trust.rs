//! Whether the clock may be believed when it says that something has reached its term.
//!
//! What is deleted does not come back, and a clock that is set years ahead by mistake would delete everything. A clock that has
//! leapt is therefore believed only when a peer's clock shows the same moment, or when the operator has said so. A leap is seen
//! against the time that has passed in this process, and against the last moment that was believed, which is kept in
//! `clock.json` of the role's folder, so that a clock that was wrong when the process started is seen too.

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
const FILE: &str = "clock.json";
const LIMIT: u64 = 4 << 10;
/// How often a doubt is told.
const TOLD_EVERY: Duration = Duration::from_secs(3600);

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    /// The last moment that was believed.
    seen: Timestamp,
}

/// The last moment that was believed, as the disk has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// None yet: the role is new.
    Never,
    /// Seconds since 1970.
    At(i64),
    /// The file is there and says nothing.
    Unknown,
}

/// A role's trust in its clock.
#[derive(Debug)]
pub(super) struct Trust {
    mark: PathBuf,
    peers: Arc<PeerClocks>,
    /// A moment that was believed, and since when.
    base: Option<(Instant, i64)>,
    told: Option<Instant>,
}

impl Trust {
    /// Of the role whose own folder is `home`.
    pub(super) fn of(home: &Path) -> Self {
        Self { mark: home.join(FILE), peers: PeerClocks::of_process().clone(), base: None, told: None }
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
        if let Some((start, then)) = self.base {
            let passed = i64::try_from(at.saturating_duration_since(start).as_secs()).unwrap_or(i64::MAX);
            if now.saturating_sub(then) <= passed.saturating_add(LEAP) {
                return true;
            }
        }
        let seen = self.seen();
        let believed = match (seen, self.peers.agree(now, at, LEAP)) {
            (_, Some(true)) => true,
            // The first start of a role: there is nothing to delete yet.
            (Seen::Never, heard) => self.base.is_none() && heard.is_none(),
            (Seen::At(seen), _) => {
                // Within a process, the mark is as old as its last round unless the operator has renewed it.
                let allowed = if self.base.is_none() { ABSENCE } else { LEAP };
                now.saturating_sub(seen) <= allowed
            }
            (Seen::Unknown, _) => false,
        };
        if believed {
            self.base = Some((at, now));
        } else if self.told.is_none_or(|told| at.saturating_duration_since(told) >= TOLD_EVERY) {
            self.told = Some(at);
            metrics().failed("retention");
            let ahead_days = match seen {
                Seen::At(seen) => now.saturating_sub(seen) / 86_400,
                Seen::Never | Seen::Unknown => 0,
            };
            tracing::error!(
                ahead_days,
                mark = %self.mark.display(),
                "the clock has leapt ahead and no peer's clock shows the same: nothing is deleted by it. If it is right, run « linkage retention confirm --config FILE »"
            );
        }
        believed
    }

    /// Writes down that `now` was believed. The mark never goes back.
    pub(super) fn keep(&self, now: i64) {
        if matches!(self.seen(), Seen::At(seen) if seen >= now) {
            return;
        }
        if let Err(error) = Timestamp::from_second(now).map_err(ServiceError::internal).and_then(|now| write(&self.mark, now)) {
            tracing::warn!(%error, "the last moment that was believed could not be written down; tried again");
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

    #[test]
    fn a_clock_that_leaps_is_not_believed_before_a_peer_or_the_operator_confirms_it() {
        let dir = tempfile::tempdir().unwrap();
        let (peers, start) = (Arc::<PeerClocks>::default(), Instant::now());
        let mut trust = started(dir.path(), &peers);
        assert!(trust.believes(start, NOW));
        trust.keep(NOW);
        let year = NOW + 365 * 86_400;
        assert!(!trust.believes(start + HOUR, NOW + 3_600 + LEAP + 1));
        assert!(!trust.believes(start + HOUR, year));
        // Set right, or back, it is followed.
        assert!(trust.believes(start + HOUR, NOW + 3_600) && trust.believes(start + HOUR, 0));
        // A peer that shows another time confirms nothing, one that shows the same does.
        peers.heard("a", Timestamp::from_second(NOW).unwrap(), start);
        assert!(!trust.believes(start + HOUR, year));
        peers.heard("b", Timestamp::from_second(year - 100).unwrap(), start + HOUR);
        assert!(trust.believes(start + HOUR, year));
        assert!(trust.believes(start + HOUR, year + LEAP) && !trust.believes(start + HOUR, year + 3 * LEAP));
        confirm(dir.path(), Timestamp::from_second(year + 3 * LEAP).unwrap()).unwrap();
        assert!(trust.believes(start + HOUR, year + 3 * LEAP));
    }

    #[test]
    fn a_clock_that_is_wrong_from_the_start_is_seen_by_the_mark() {
        let dir = tempfile::tempdir().unwrap();
        let (peers, start) = (Arc::<PeerClocks>::default(), Instant::now());
        started(dir.path(), &peers).keep(NOW);
        let ten_years = NOW + 3_650 * 86_400;
        assert!(!started(dir.path(), &peers).believes(start, ten_years));
        assert_eq!(last_believed(dir.path()), Timestamp::from_second(NOW).ok());
        // A service that was stopped for a month goes on by itself, later only when somebody knows better.
        assert!(started(dir.path(), &peers).believes(start, NOW + ABSENCE));
        assert!(!started(dir.path(), &peers).believes(start, NOW + ABSENCE + 1));
        let mut trust = started(dir.path(), &peers);
        assert!(!trust.believes(start, ten_years));
        peers.heard("a", Timestamp::from_second(ten_years).unwrap(), start);
        assert!(trust.believes(start, ten_years));
        // The mark does not go back with the clock.
        trust.keep(ten_years);
        trust.keep(NOW);
        assert!(started(dir.path(), &Arc::default()).believes(start, ten_years));
    }

    #[test]
    fn a_clock_that_was_behind_until_the_machine_asked_for_the_time_needs_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let (peers, start) = (Arc::<PeerClocks>::default(), Instant::now());
        started(dir.path(), &peers).keep(NOW);
        let mut trust = started(dir.path(), &peers);
        assert!(trust.believes(start, 0));
        trust.keep(0);
        assert!(trust.believes(start + HOUR, NOW + 7_200));
    }

    #[test]
    fn a_new_role_or_a_damaged_mark_is_held_to_the_peers() {
        let dir = tempfile::tempdir().unwrap();
        let (peers, start) = (Arc::<PeerClocks>::default(), Instant::now());
        assert!(started(dir.path(), &peers).believes(start, NOW));
        peers.heard("a", Timestamp::from_second(NOW).unwrap(), start);
        assert!(!started(dir.path(), &peers).believes(start, NOW + 30 * LEAP));
        fsx::write_atomic(&dir.path().join(FILE), b"{\"seen\":").unwrap();
        assert!(started(dir.path(), &peers).believes(start, NOW));
        assert!(!started(dir.path(), &Arc::default()).believes(start, NOW));
        confirm(dir.path(), Timestamp::from_second(NOW).unwrap()).unwrap();
        assert!(started(dir.path(), &Arc::default()).believes(start, NOW));
    }
}
