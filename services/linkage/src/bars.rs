//! Progress and what remains: bars on a terminal, plain lines elsewhere, nothing where facts are printed as JSON.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use linkage_node::progress::{Forecast, Progress, duration_text};

use crate::cli::note;
use crate::page::labels::count;

/// A plain line this often for a step that lasts.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The bars of one command.
#[derive(Clone)]
pub struct Bars {
    multi: Option<MultiProgress>,
    steps: Arc<Mutex<HashMap<String, Step>>>,
    plain: bool,
}

/// A step under way.
struct Step {
    bar: ProgressBar,
    forecast: Forecast,
    /// When a plain line was last printed.
    told: Instant,
    total: u64,
    done: u64,
}

impl Step {
    fn new(bar: ProgressBar, now: Instant, done: u64, total: u64) -> Self {
        Self { bar, forecast: Forecast::starting(now, done), told: now, total, done }
    }
    /// `120 000/1 000 000, encore 40 s`.
    fn text(&self, now: Instant) -> String {
        let remaining = self.forecast.remaining(now, self.done, self.total);
        let remaining = remaining.map(|left| format!(", encore {}", duration_text(left))).unwrap_or_default();
        format!("{}/{}{remaining}", count(self.done), count(self.total))
    }
}

fn french(step: &str) -> &str {
    match step {
        "read" => "lecture",
        "oprf" => "évaluations",
        "encode" => "encodage",
        "upload" => "envoi",
        other => other,
    }
}

impl Bars {
    /// Bars on standard error when it is a terminal; silent when `quiet`.
    pub fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { multi: (terminal && !quiet).then(MultiProgress::new), steps: Arc::default(), plain: !terminal && !quiet }
    }

    /// Sets the bar `name` to `done` of `total`.
    pub fn set(&self, name: &str, done: u64, total: u64) {
        if self.multi.is_none() && !self.plain {
            return;
        }
        let now = Instant::now();
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let step = steps.entry(name.to_owned()).or_insert_with(|| Step::new(self.bar(name), now, done, total));
        let repeated = (step.done, step.total) == (done, total);
        if done < step.done || step.total != total {
            // The same step for another party or month.
            step.forecast = Forecast::starting(now, done);
            step.told = now;
        }
        (step.done, step.total) = (done, total);
        step.bar.set_length(total);
        step.bar.set_position(done);
        step.bar.set_message(step.text(now));
        if !self.plain || total == 0 {
            return;
        }
        if done >= total && (!repeated || !step.bar.is_finished()) {
            step.bar.finish();
            // A step of one is a step, not a number of something.
            note(&if total == 1 { format!("  {name} : fait") } else { format!("  {name} : {}", count(total)) });
        } else if done < total && now.duration_since(step.told) >= LINE_EVERY {
            step.told = now;
            note(&format!("  {name} : {}", step.text(now)));
        }
    }

    fn bar(&self, name: &str) -> ProgressBar {
        let Some(multi) = &self.multi else { return ProgressBar::hidden() };
        let bar = multi.add(ProgressBar::new(0));
        if let Ok(style) = ProgressStyle::with_template("  {prefix:24} {bar:30} {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        bar
    }

    /// A receiver for one process's steps.
    pub fn progress(&self) -> Progress {
        let bars = self.clone();
        Progress::to(move |step, done, total| bars.set(french(step), done, total))
    }

    /// A line above the bars.
    pub fn line(&self, text: &str) {
        match &self.multi {
            Some(multi) => {
                let _ = multi.println(text);
            }
            None if self.plain => note(text),
            None => {}
        }
    }

    /// The bar of a node's step.
    pub fn of_party(&self, party: &str, step: &str, done: u64, total: u64) {
        self.set(&format!("{party} {}", french(step)), done, total);
    }

    /// Takes the bars away.
    pub fn finish(&self) {
        if let Some(multi) = &self.multi {
            let _ = multi.clear();
        }
    }
}
