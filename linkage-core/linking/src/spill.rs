//! Room for what does not fit in memory: Arrow batches written once and taken back once.
//!
//! Core crates do no input or output: a service gives the files. What is written is part of the uploads (tokens, or
//! field filters), and is to be kept and deleted like them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use arrow_array::RecordBatch;

/// Where a batch belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Tokens of one partition of the token space.
    Tokens(u32),
    /// Payloads of one group of records.
    Payloads(u32),
}

/// Keeps batches outside memory.
pub trait Spill<E>: Sync {
    /// Keeps `batch` at `place`, beside what is there.
    fn write(&self, place: Place, batch: &RecordBatch) -> Result<(), E>;
    /// All batches of `place`, in any order; they are not needed again.
    fn take(&self, place: Place) -> Result<Vec<RecordBatch>, E>;
}

/// Keeps batches in memory.
#[derive(Debug, Default)]
pub struct Held(Mutex<BTreeMap<Place, Vec<RecordBatch>>>);

impl<E> Spill<E> for Held {
    fn write(&self, place: Place, batch: &RecordBatch) -> Result<(), E> {
        // A poisoned lock belongs to a thread that panicked between two complete states of the map.
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.entry(place).or_default().push(batch.clone());
        Ok(())
    }
    fn take(&self, place: Place) -> Result<Vec<RecordBatch>, E> {
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(all.remove(&place).unwrap_or_default())
    }
}
