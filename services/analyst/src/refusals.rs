//! How many refusals of one account are worked on, and enter the access log.
//!
//! A question that is refused costs what one costs that is answered, and each line of the access log is written through to the disk
//! and kept for months; different questions that are answered are bounded by month, those that are refused here. Of each account so
//! many are worked on and entered as they come, then one a minute: what comes between is refused unread and counted, and the
//! count is entered with the next. A question that is answered takes nothing. What is not entered yet when the service ends is not counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use linkage_common::error::ServiceError;

use crate::access::Who;

/// Refusals of one account that nothing is held against.
pub(crate) const AT_ONCE: u64 = 60;
/// One more after so long.
const EVERY: Duration = Duration::from_secs(60);
/// Accounts told apart: an agreement names fewer, and a page is of one organisation.
const ACCOUNTS: usize = 1024;

#[derive(Debug)]
struct Account {
    left: u64,
    /// When the first of those that are used up began to come back.
    since: Instant,
    counted: u64,
}

impl Account {
    fn refill(&mut self, at: Instant) {
        while self.left < AT_ONCE && at.saturating_duration_since(self.since) >= EVERY {
            self.left += 1;
            self.since += EVERY;
        }
        if self.left >= AT_ONCE {
            self.since = at;
        }
    }
}

/// Refusals of each account. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusals(Arc<Mutex<HashMap<Who, Account>>>);

impl Refusals {
    fn with<T>(&self, who: &Who, at: Instant, of: impl FnOnce(&mut Account) -> T) -> T {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= ACCOUNTS && !accounts.contains_key(who) {
            // Who has all of them again is as one that was never refused.
            accounts.retain(|_, account| {
                account.refill(at);
                account.left < AT_ONCE
            });
            if accounts.len() >= ACCOUNTS {
                accounts.clear();
            }
        }
        let account = accounts.entry(who.clone()).or_insert(Account { left: AT_ONCE, since: at, counted: 0 });
        account.refill(at);
        of(account)
    }

    /// Refuses a question of an account that has too many refusals behind it, at `at`.
    ///
    /// # Errors
    /// `Exhausted`, with the seconds to wait.
    pub(crate) fn permit(&self, who: &Who, at: Instant) -> Result<(), ServiceError> {
        let wait = self.with(who, at, |account| {
            (account.left == 0).then(|| EVERY.saturating_sub(at.saturating_duration_since(account.since)))
        });
        let Some(wait) = wait else { return Ok(()) };
        Err(ServiceError::exhausted(format!(
            "trop de questions de ce compte ont été refusées ({AT_ONCE}) ; corrigez la question d'après le motif du dernier refus : la \
             suivante sera examinée dans {} s, puis une par minute tant qu'elles sont refusées",
            wait.as_secs().max(1)
        )))
    }

    /// One more refusal of `who`, at `at`: `None` when it is only counted, otherwise how many were counted before it that have
    /// not been entered.
    pub(crate) fn take(&self, who: &Who, at: Instant) -> Option<u64> {
        self.with(who, at, |account| {
            if account.left == 0 {
                account.counted += 1;
                return None;
            }
            account.left -= 1;
            Some(std::mem::take(&mut account.counted))
        })
    }
}

#[cfg(test)]
mod tests {
    use linkage_common::error::ErrorKind;

    use super::*;

    #[test]
    fn so_many_of_each_account_are_entered_then_one_a_minute_and_the_others_counted() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let [wild, calm] = ["urn:a", "urn:b"].map(|uri| Who::Certificate(uri.to_owned()));
        let entered = (0..1_000).filter(|_| refusals.take(&wild, start).is_some()).count();
        assert_eq!(entered as u64, AT_ONCE);
        assert_eq!(refusals.take(&calm, start), Some(0));
        assert_eq!(refusals.take(&wild, start + EVERY), Some(1_000 - AT_ONCE));
        assert_eq!(refusals.take(&wild, start + EVERY), None);
        assert_eq!(refusals.take(&wild, start + 3 * EVERY), Some(1));
        assert_eq!(refusals.take(&wild, start + 3 * EVERY), Some(0));
        let later = start + 1_000 * EVERY;
        let entered = (0..1_000).filter(|_| refusals.take(&wild, later).is_some()).count();
        assert_eq!(entered as u64, AT_ONCE, "no more come back than there are");
    }

    #[test]
    fn who_is_refused_too_often_waits_and_what_is_answered_takes_nothing() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let who = Who::Login("sub-1".to_owned());
        for _ in 0..AT_ONCE {
            refusals.permit(&who, start).unwrap();
            refusals.permit(&who, start).unwrap();
            refusals.take(&who, start);
        }
        let refused = refusals.permit(&who, start + Duration::from_secs(20)).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Exhausted);
        assert!(refused.message.contains("dans 40 s"), "{refused}");
        for _ in 0..10 {
            refusals.permit(&who, start + EVERY).unwrap();
        }
    }

    #[test]
    fn accounts_cannot_make_it_grow() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        for n in 0..3 * ACCOUNTS {
            refusals.take(&Who::Certificate(n.to_string()), start);
        }
        assert!(refusals.0.lock().unwrap().len() <= ACCOUNTS);
    }
}
