//! Progress: bars on a terminal, plain lines elsewhere, nothing where facts are printed as JSON.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use linkage_node::progress::Progress;

use crate::cli::note;

/// The bars of one command.
#[derive(Clone)]
pub struct Bars {
    multi: Option<MultiProgress>,
    bars: Arc<Mutex<HashMap<String, ProgressBar>>>,
    plain: bool,
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
        Self { multi: (terminal && !quiet).then(MultiProgress::new), bars: Arc::default(), plain: !terminal && !quiet }
    }

    /// Sets the bar `name` to `done` of `total`.
    pub fn set(&self, name: &str, done: u64, total: u64) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.multi {
            Some(multi) => {
                let bar = bars.entry(name.to_owned()).or_insert_with(|| {
                    let bar = multi.add(ProgressBar::new(total));
                    if let Ok(style) = ProgressStyle::with_template("  {prefix:24} {bar:30} {pos:>9}/{len:<9} {eta:>5}") {
                        bar.set_style(style);
                    }
                    bar.set_prefix(name.to_owned());
                    bar
                });
                bar.set_length(total);
                bar.set_position(done);
            }
            None if self.plain && done >= total && total > 0 => {
                let known = bars.entry(name.to_owned()).or_insert_with(ProgressBar::hidden);
                if known.length() != Some(total) || !known.is_finished() {
                    known.set_length(total);
                    known.finish();
                    note(&format!("  {name} : {total}"));
                }
            }
            None => {}
        }
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
