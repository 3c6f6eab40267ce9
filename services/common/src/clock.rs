//! The time, as a parameter: retention, expiry and leases are tested without waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

/// Where a role reads the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Today, in UTC. Agreements count whole days, and no deadline of theirs depends on the hour.
    fn today(&self) -> Date {
        Offset::UTC.to_datetime(self.now()).date()
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
        Timestamp::now()
    }
}

/// A clock that stands still until it is moved. Clones share the time.
#[derive(Debug, Clone)]
pub struct MockClock(Arc<Mutex<Timestamp>>);

impl MockClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }
    /// Shows `now` from here on.
    pub fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
    /// Moves the time by `by`; it stops at the last moment that a timestamp can hold.
    pub fn advance(&self, by: SignedDuration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.saturating_add(by).unwrap_or(Timestamp::MAX);
    }
}

impl Clock for MockClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Peers that are remembered; a role has fewer.
const MAX_PEERS: usize = 64;

/// What the peers' clocks showed when they were last heard. They are asked before a leap of this machine's own clock is believed:
/// a false peer can then only confirm what that clock says anyway.
#[derive(Debug, Default)]
pub struct PeerClocks(Mutex<HashMap<String, (Instant, i64)>>);

impl PeerClocks {
    /// Those that this process hears.
    pub fn of_process() -> &'static Arc<Self> {
        static HEARD: OnceLock<Arc<PeerClocks>> = OnceLock::new();
        HEARD.get_or_init(Arc::default)
    }

    /// `peer` showed `theirs` at the moment `at`.
    pub fn heard(&self, peer: &str, theirs: Timestamp, at: Instant) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() >= MAX_PEERS && !heard.contains_key(peer) {
            let oldest = heard.iter().min_by_key(|(_, (at, _))| *at).map(|(peer, _)| peer.clone());
            heard.retain(|peer, _| Some(peer) != oldest.as_ref());
        }
        heard.insert(peer.to_owned(), (at, theirs.as_second()));
    }

    /// Whether any peer's clock shows `now` (seconds since 1970) at `at`, give or take `within` seconds; `None` when none was
    /// heard.
    pub fn agree(&self, now: i64, at: Instant, within: i64) -> Option<bool> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shows = |(since, theirs): &(Instant, i64)| {
            let passed = i64::try_from(at.saturating_duration_since(*since).as_secs()).unwrap_or(i64::MAX);
            now.abs_diff(theirs.saturating_add(passed)) <= within.unsigned_abs()
        };
        (!heard.is_empty()).then(|| heard.values().any(shows))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn peers_clocks_go_on_by_themselves_and_one_that_agrees_is_enough() {
        let (peers, start) = (PeerClocks::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(peers.agree(1_000, start, 60), None);
        peers.heard("a", Timestamp::from_second(1_000).unwrap(), start);
        assert_eq!(peers.agree(1_000 + 500 + 60, at(500), 60), Some(true));
        assert_eq!(peers.agree(1_000 + 500 - 61, at(500), 60), Some(false));
        peers.heard("b", Timestamp::from_second(9_000).unwrap(), start);
        assert_eq!([1_000, 5_000, 9_000].map(|now| peers.agree(now, start, 60)), [Some(true), Some(false), Some(true)]);
        for n in 0..2 * MAX_PEERS {
            peers.heard(&n.to_string(), Timestamp::from_second(5_000).unwrap(), at(1));
        }
        assert_eq!(peers.0.lock().unwrap().len(), MAX_PEERS);
    }

    #[test]
    fn clones_of_a_mock_clock_share_its_time() {
        let clock = MockClock::at("2024-02-28T23:59:00Z".parse().unwrap());
        let seen_elsewhere: Arc<dyn Clock> = Arc::new(clock.clone());
        clock.advance(SignedDuration::from_mins(1));
        assert_eq!(seen_elsewhere.now(), "2024-02-29T00:00:00Z".parse().unwrap());
        assert_eq!(seen_elsewhere.today(), jiff::civil::date(2024, 2, 29));
    }
}
