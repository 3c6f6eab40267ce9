//! Calls that come again and again, entered once and counted.
//!
//! Nodes look for runs twice a second; a peer that is refused may try as often as it likes. The first of a kind is entered as
//! it comes; its repetitions within the window are counted, and entered as one when the window is over, the log closes, or too
//! many kinds are held. A process that is killed loses counts of the window under way, never that the peer called.

use std::collections::HashMap;

use super::entry::{Act, Outcome};

/// Seconds over which answered reads are counted together.
const READS: i64 = 3600;
/// Seconds over which refusals and failures are.
const REFUSALS: i64 = 60;
/// Kinds held at a time.
const KINDS: usize = 1024;
/// Seconds between two looks for windows that are over.
const SWEEP: i64 = 10;

type Kind = (Option<String>, String, Option<String>, Outcome, Option<String>);

fn kind(act: &Act) -> Kind {
    (act.who.clone(), act.what.to_string(), act.run.clone(), act.outcome, act.code.as_ref().map(ToString::to_string))
}

#[derive(Debug)]
struct Window {
    since: i64,
    /// Time of the last repetition, and how many there were.
    last: i64,
    repeated: u64,
    act: Act,
}

impl Window {
    fn over(&self, now: i64) -> bool {
        let length = if self.act.outcome == Outcome::Done { READS } else { REFUSALS };
        !(0..length).contains(&now.saturating_sub(self.since))
    }
    fn entry(self) -> Option<(i64, Act)> {
        (self.repeated > 0).then_some((self.last, Act { count: self.repeated, ..self.act }))
    }
}

/// Windows under way.
#[derive(Debug, Default)]
pub(super) struct Folds {
    windows: HashMap<Kind, Window>,
    swept: i64,
}

impl Folds {
    /// Takes one more act; returns what is to be entered now, with its time.
    pub(super) fn take(&mut self, act: Act, now: i64) -> Vec<(i64, Act)> {
        let mut due = Vec::new();
        if self.windows.len() >= KINDS {
            due = self.all();
        } else if !(0..SWEEP).contains(&now.saturating_sub(self.swept)) {
            self.swept = now;
            let over: Vec<Kind> = self.windows.iter().filter(|(_, w)| w.over(now)).map(|(k, _)| k.clone()).collect();
            due.extend(over.iter().filter_map(|kind| self.windows.remove(kind)?.entry()));
        }
        let kind = kind(&act);
        match self.windows.get_mut(&kind) {
            Some(window) if !window.over(now) => {
                window.repeated += 1;
                window.last = now;
                window.act = act;
            }
            _ => {
                let window = Window { since: now, last: now, repeated: 0, act: act.clone() };
                due.extend(self.windows.insert(kind, window).and_then(Window::entry));
                due.push((now, act));
            }
        }
        due
    }

    /// Ends all windows.
    pub(super) fn all(&mut self) -> Vec<(i64, Act)> {
        let mut due: Vec<_> = self.windows.drain().filter_map(|(_, window)| window.entry()).collect();
        due.sort_by_key(|(at, act)| (*at, act.what.clone()));
        due
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn read(who: &str) -> Act {
        Act::call(who, "Runs/ListRuns".to_owned())
    }

    fn counts(due: &[(i64, Act)]) -> Vec<(i64, u64)> {
        due.iter().map(|(at, act)| (*at, act.count)).collect()
    }

    #[test]
    fn the_first_is_entered_at_once_and_the_others_together() {
        let mut folds = Folds::default();
        assert_eq!(counts(&folds.take(read("a"), 0)), [(0, 1)]);
        for at in 1..READS {
            assert_eq!(folds.take(read("a"), at), []);
        }
        assert_eq!(counts(&folds.take(read("b"), READS - 1)), [(READS - 1, 1)]);
        // The window is over: what was counted, then the first of the next one.
        assert_eq!(counts(&folds.take(read("a"), READS)), [(READS - 1, (READS - 1).unsigned_abs()), (READS, 1)]);
        assert_eq!(folds.all(), []);
    }

    #[test]
    fn what_is_refused_is_another_kind_with_a_shorter_window() {
        let mut folds = Folds::default();
        let mut refused = read("a");
        refused.set_code(Code::PermissionDenied);
        assert_eq!(folds.take(read("a"), 0).len(), 1);
        assert_eq!(counts(&folds.take(refused.clone(), 0)), [(0, 1)]);
        assert_eq!(folds.take(refused.clone(), 5), []);
        assert_eq!(counts(&folds.take(read("b"), REFUSALS + 1)), [(5, 1), (REFUSALS + 1, 1)]);
        // A clock that is set back ends windows too: none lasts for ever.
        assert_eq!(counts(&folds.take(refused, -1000)), [(-1000, 1)]);
    }

    #[test]
    fn callers_cannot_make_it_grow() {
        let mut folds = Folds::default();
        for n in 0..3 * KINDS {
            folds.take(read(&n.to_string()), 0);
            folds.take(read(&n.to_string()), 0);
        }
        assert!(folds.windows.len() <= KINDS);
    }
}
