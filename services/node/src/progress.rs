//! How far a long step is: for a progress bar in one process, for a status file between processes.

use std::sync::Arc;

/// Receives step name, done and total.
type Sink = dyn Fn(&'static str, u64, u64) + Send + Sync;

/// Reports how far the step named at its making is. Holds counts only.
#[derive(Clone)]
pub struct Progress {
    step: &'static str,
    sink: Option<Arc<Sink>>,
}

impl Progress {
    /// Reports to nobody.
    pub fn silent() -> Self {
        Self { step: "", sink: None }
    }
    /// Reports to `sink`.
    pub fn to(sink: impl Fn(&'static str, u64, u64) + Send + Sync + 'static) -> Self {
        Self { step: "", sink: Some(Arc::new(sink)) }
    }
    /// The same receiver, for the step `name`.
    pub fn step(&self, name: &'static str) -> Self {
        Self { step: name, sink: self.sink.clone() }
    }
    /// `done` of `total`.
    pub fn at(&self, done: u64, total: u64) {
        if let Some(sink) = &self.sink {
            sink(self.step, done, total);
        }
    }
}
