//! How far a long step is, and how long it will last: for a progress bar in one process, for a status file between
//! processes, for the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Receives step name, done and total.
type Sink = dyn Fn(&'static str, u64, u64) + Send + Sync;

/// A line in the log this often, at most.
const LOGGED_EVERY: Duration = Duration::from_secs(30);
/// What a forecast needs to be worth something.
const LEAST_ELAPSED: Duration = Duration::from_secs(2);

/// Reports how far the step named at its making is. Holds counts only.
#[derive(Clone)]
pub struct Progress {
    step: &'static str,
    sink: Option<Arc<Sink>>,
    /// For a process that nobody watches.
    log: Option<Arc<Mutex<Log>>>,
}

impl Progress {
    /// Reports to nobody.
    pub fn silent() -> Self {
        Self { step: "", sink: None, log: None }
    }
    /// Reports to `sink`.
    pub fn to(sink: impl Fn(&'static str, u64, u64) + Send + Sync + 'static) -> Self {
        Self { sink: Some(Arc::new(sink)), ..Self::silent() }
    }
    /// A step that lasts is logged from time to time as well.
    #[must_use]
    pub fn logged(self) -> Self {
        Self { log: Some(Arc::default()), ..self }
    }
    /// The same receiver, for the step `name`.
    pub fn step(&self, name: &'static str) -> Self {
        Self { step: name, sink: self.sink.clone(), log: self.log.as_ref().map(|_| Arc::default()) }
    }
    /// `done` of `total`.
    pub fn at(&self, done: u64, total: u64) {
        if let Some(sink) = &self.sink {
            sink(self.step, done, total);
        }
        if let Some(log) = &self.log {
            log.lock().unwrap_or_else(PoisonError::into_inner).at(self.step, done, total);
        }
    }
}

/// When a step began and was last logged.
#[derive(Default)]
struct Log {
    forecast: Option<Forecast>,
    last: Option<Instant>,
}

impl Log {
    fn at(&mut self, step: &'static str, done: u64, total: u64) {
        let now = Instant::now();
        let forecast = self.forecast.get_or_insert_with(|| Forecast::starting(now, done));
        let last = self.last.get_or_insert(now);
        if done < total && now.duration_since(*last) >= LOGGED_EVERY {
            *last = now;
            let remaining = forecast.remaining(now, done, total).map_or(0, |left| left.as_secs());
            tracing::info!(step, done, total, remaining_seconds = remaining, "under way");
        }
    }
}

/// How long a step will last, from what it has done so far.
#[derive(Debug, Clone, Copy)]
pub struct Forecast {
    started: Instant,
    already: u64,
}

impl Forecast {
    /// For a step that had `already` done so much when it was first seen.
    pub fn starting(now: Instant, already: u64) -> Self {
        Self { started: now, already }
    }
    /// What remains; `None` while there is too little to go by, and when all is done.
    pub fn remaining(&self, now: Instant, done: u64, total: u64) -> Option<Duration> {
        let (made, left) = (done.saturating_sub(self.already), total.saturating_sub(done));
        let elapsed = now.saturating_duration_since(self.started);
        (elapsed >= LEAST_ELAPSED && made > 0 && left > 0).then(|| elapsed.mul_f64(left as f64 / made as f64))
    }
}

/// A duration as an operator reads it: `40 s`, `3 min`, `1 h 05`.
pub fn duration_text(duration: Duration) -> String {
    // Rounded up: what is left is never nothing.
    let seconds = duration.as_millis().div_ceil(1000).max(1);
    match (seconds, seconds.div_ceil(60)) {
        (..100, _) => format!("{seconds} s"),
        (_, minutes @ ..100) => format!("{minutes} min"),
        (_, minutes) => format!("{} h {:02}", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_follows_from_the_pace_so_far() {
        let start = Instant::now();
        let forecast = Forecast::starting(start, 100);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(forecast.remaining(after(10), 300, 1100), Some(Duration::from_secs(40)));
        assert_eq!(forecast.remaining(after(1), 300, 1100), None);
        assert_eq!(forecast.remaining(after(10), 100, 1100), None);
        assert_eq!(forecast.remaining(after(10), 1100, 1100), None);
    }

    #[test]
    fn durations_are_written_as_they_are_said() {
        let text = |seconds| duration_text(Duration::from_secs(seconds));
        assert_eq!(["40 s", "3 min", "1 h 45"].map(String::from), [text(40), text(170), text(6300)]);
        assert_eq!(duration_text(Duration::ZERO), "1 s");
    }
}
