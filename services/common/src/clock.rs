//! The time, as a parameter: retention, expiry and leases are tested without waiting.

use std::sync::{Arc, Mutex, PoisonError};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_mock_clock_share_its_time() {
        let clock = MockClock::at("2024-02-28T23:59:00Z".parse().unwrap());
        let seen_elsewhere: Arc<dyn Clock> = Arc::new(clock.clone());
        clock.advance(SignedDuration::from_mins(1));
        assert_eq!(seen_elsewhere.now(), "2024-02-29T00:00:00Z".parse().unwrap());
        assert_eq!(seen_elsewhere.today(), jiff::civil::date(2024, 2, 29));
    }
}
