//! How many refusals of one caller enter the access log.
//!
//! Each line of that log is written through to the disk and kept for months; a caller whose node runs wild is refused many times a
//! second. So many a minute are entered as they come, the others are counted, and the count is entered with the first
//! refusal of a later minute. The audit log counts every call anyway, folded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::access::Who;

/// Refusals of one caller that are entered in a minute.
const A_MINUTE: u64 = 30;
const MINUTE: Duration = Duration::from_secs(60);
/// Callers told apart: an agreement names fewer.
const CALLERS: usize = 1024;

#[derive(Debug)]
struct Window {
    since: Instant,
    refused: u64,
}

/// Refusals of each caller in its minute. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<Mutex<HashMap<Who, Window>>>);

impl Refusals {
    /// One more refusal of `who`, at `at`: `None` when it is only counted, otherwise how many were counted before it that have
    /// not been entered.
    pub(crate) fn take(&self, who: &Who, at: Instant) -> Option<u64> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= CALLERS && !windows.contains_key(who) {
            windows.clear();
        }
        let window = windows.entry(who.clone()).or_insert(Window { since: at, refused: 0 });
        let mut more = 0;
        if at.saturating_duration_since(window.since) >= MINUTE {
            more = window.refused.saturating_sub(A_MINUTE);
            *window = Window { since: at, refused: 0 };
        }
        window.refused += 1;
        (window.refused <= A_MINUTE).then_some(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_minute_of_each_caller_are_entered_and_the_others_counted() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let [wild, calm] = ["urn:a", "urn:b"].map(|uri| Who::Certificate(uri.to_owned()));
        let entered = (0..1_000).filter(|_| refusals.take(&wild, start).is_some()).count();
        assert_eq!(entered as u64, A_MINUTE);
        assert_eq!(refusals.take(&calm, start), Some(0));
        assert_eq!(refusals.take(&wild, start + MINUTE), Some(1_000 - A_MINUTE));
        assert_eq!(refusals.take(&wild, start + MINUTE), Some(0));
        assert_eq!(refusals.take(&calm, start + 2 * MINUTE), Some(0));
    }

    #[test]
    fn callers_cannot_make_it_grow() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        for n in 0..3 * CALLERS {
            refusals.take(&Who::Certificate(n.to_string()), start);
        }
        assert!(refusals.0.lock().unwrap().len() <= CALLERS);
    }
}
