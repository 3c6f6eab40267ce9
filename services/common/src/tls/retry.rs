//! Trying again, ever less often.

use std::error::Error;
use std::future::Future;
use std::time::{Duration, Instant};

use tonic::{Code, Status, TimeoutExpired};

use super::client::ConnectError;

/// Pauses that double from 100 ms to 5 s, each shortened at random by up to a half so that partners that
/// lost the same server do not all come back at once.
pub(super) struct Backoff {
    next: Duration,
}

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    pub(super) fn next_pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        // Without randomness the pause is only less spread.
        let share = getrandom::u32().unwrap_or(u32::MAX);
        whole / 2 + (whole / 2).mul_f64(f64::from(share) / f64::from(u32::MAX))
    }
}

/// Calls `operation` until it succeeds, fails for good, or `deadline` from now has passed.
///
/// Only [`Code::Unavailable`] is tried again, a call that met the end of its connection, and of a connection's
/// faults those that may pass. The operation must be idempotent: the answer that was lost may have been a success.
///
/// # Errors
/// The last status.
pub async fn retry<T, F, Fut>(deadline: Duration, mut operation: F) -> Result<T, Status>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Status>>,
{
    let give_up = Instant::now() + deadline;
    let mut backoff = Backoff::default();
    loop {
        let status = match operation().await {
            Ok(value) => return Ok(value),
            Err(status) => status,
        };
        let pause = backoff.next_pause();
        if !may_pass(&status) || Instant::now() + pause >= give_up {
            return Err(status);
        }
        tokio::time::sleep(pause).await;
    }
}

fn may_pass(status: &Status) -> bool {
    match (ConnectError::of(status), status.code()) {
        (Some(fault), _) => fault.is_passing(),
        (None, Code::Unavailable) => true,
        // hyper's word for a request that its connection closed upon; of this side, so it has a source here.
        (None, Code::Cancelled) => status.source().is_some_and(|source| !is_timeout(source)),
        (None, _) => false,
    }
}

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    error.is::<TimeoutExpired>() || error.source().is_some_and(is_timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(answers: &[Result<u8, Code>], deadline: Duration) -> (Result<u8, Code>, usize) {
        let mut calls = 0;
        let result = retry(deadline, || {
            let answer = answers[calls.min(answers.len() - 1)];
            calls += 1;
            async move { answer.map_err(|code| Status::new(code, "")) }
        })
        .await;
        (result.map_err(|s| s.code()), calls)
    }

    #[tokio::test]
    async fn only_what_may_pass_is_tried_again() {
        let unavailable = Err(Code::Unavailable);
        let long = Duration::from_secs(60);
        assert_eq!(run(&[unavailable, unavailable, Ok(5)], long).await, (Ok(5), 3));
        assert_eq!(run(&[unavailable, Err(Code::Internal), Ok(5)], long).await, (Err(Code::Internal), 2));
        assert_eq!(run(&[unavailable], Duration::ZERO).await, (unavailable, 1));
        // Sent by the peer, not met here.
        assert_eq!(run(&[Err(Code::Cancelled), Ok(5)], long).await, (Err(Code::Cancelled), 1));
        assert!(!may_pass(&Status::from_error(Box::new(TimeoutExpired(())))));
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let mut backoff = Backoff::default();
        for step in 0..20 {
            let whole = LONGEST.min(FIRST * 2u32.pow(step.min(10)));
            let pause = backoff.next_pause();
            assert!(whole / 2 <= pause && pause <= whole, "{step}: {pause:?}");
        }
    }
}
