//! Columns of months from their files, read when asked for and kept while there is room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::Schema;
use linkage_agreement::Pseudonym;
use linkage_cohort::study::{Column, Source, SourceError};

use super::Broken;
use super::month::MonthFile;
use super::numbers::names;

/// Bytes of columns that are kept.
const BUDGET: usize = 512 << 20;

/// A study's columns on disk.
pub(super) struct OnDisk {
    /// By month; a file has one place where it is read, hence one reader at a time.
    pub(super) months: Vec<Mutex<MonthFile>>,
    /// Rows by month.
    pub(super) rows: Vec<u64>,
    /// Number in the files of each attribute of the agreement.
    pub(super) attributes: Vec<Option<usize>>,
    /// The persons' file.
    pub(super) persons: Mutex<Option<std::fs::File>>,
    pub(super) pseudonyms: OnceLock<Arc<[Pseudonym]>>,
    pub(super) kept: Mutex<Kept>,
}

/// Columns that were read.
#[derive(Default)]
pub(super) struct Kept {
    columns: HashMap<(usize, Column), (u64, ArrayRef)>,
    bytes: usize,
    clock: u64,
}

impl Kept {
    fn get(&mut self, key: &(usize, Column)) -> Option<ArrayRef> {
        self.clock += 1;
        let (used, array) = self.columns.get_mut(key)?;
        *used = self.clock;
        Some(array.clone())
    }
    fn put(&mut self, key: (usize, Column), array: &ArrayRef) {
        self.clock += 1;
        let size = array.get_array_memory_size();
        if let Some((_, before)) = self.columns.insert(key, (self.clock, array.clone())) {
            self.bytes -= before.get_array_memory_size();
        }
        self.bytes += size;
        while self.bytes > BUDGET {
            let Some(oldest) = self.columns.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| *key) else { return };
            if let Some((_, gone)) = self.columns.remove(&oldest) {
                self.bytes -= gone.get_array_memory_size();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OnDisk {
    /// The column as the files number it; none for an attribute that no file has.
    fn in_files(&self, column: Column) -> Option<Column> {
        match column {
            Column::Attribute(at) => self.attributes.get(at).copied().flatten().map(Column::Attribute),
            other => Some(other),
        }
    }
    fn read(&self, month: usize, wanted: &[Column]) -> Result<Vec<ArrayRef>, Broken> {
        let damaged = || Broken::Damaged(format!("month {month}"));
        let (file, rows) = self.months.get(month).zip(self.rows.get(month)).ok_or_else(damaged)?;
        let mut arrays: Vec<Option<ArrayRef>> = {
            let mut kept = lock(&self.kept);
            wanted.iter().map(|column| kept.get(&(month, *column))).collect()
        };
        let lacking: Vec<Column> = wanted.iter().zip(&arrays).filter(|(_, array)| array.is_none()).map(|(c, _)| *c).collect();
        let asked: Vec<Column> = lacking.iter().filter_map(|column| self.in_files(*column)).collect();
        let mut found: HashMap<Column, ArrayRef> = HashMap::new();
        if !asked.is_empty() {
            let read = lock(file).read(&asked)?;
            found.extend(asked.iter().copied().zip(read).filter_map(|(column, array)| Some((column, array?))));
        }
        let mut kept = lock(&self.kept);
        for (column, slot) in wanted.iter().zip(&mut arrays) {
            if slot.is_none() {
                let array = match self.in_files(*column).and_then(|column| found.get(&column).cloned()) {
                    Some(array) => array,
                    // An attribute that the agreement did not have yet: missing for every record.
                    None if matches!(column, Column::Attribute(_)) => {
                        arrow_array::new_null_array(column.field().data_type(), *rows as usize)
                    }
                    None => return Err(damaged()),
                };
                kept.put((month, *column), &array);
                *slot = Some(array);
            }
        }
        arrays.into_iter().collect::<Option<_>>().ok_or_else(damaged)
    }
}

impl Source for OnDisk {
    fn columns(&self, month: usize, wanted: &[Column]) -> Result<RecordBatch, SourceError> {
        let broken = |e: Broken| SourceError(e.to_string());
        let arrays = self.read(month, wanted).map_err(broken)?;
        let schema = Schema::new(wanted.iter().map(|column| column.field()).collect::<Vec<_>>());
        let options = arrow_array::RecordBatchOptions::new().with_row_count(self.rows.get(month).map(|rows| *rows as usize));
        RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options).map_err(|e| SourceError(e.to_string()))
    }
    fn pseudonyms(&self) -> Result<Arc<[Pseudonym]>, SourceError> {
        if let Some(known) = self.pseudonyms.get() {
            return Ok(known.clone());
        }
        let read = || -> Result<Arc<[Pseudonym]>, Broken> {
            let mut persons = lock(&self.persons);
            let Some(file) = persons.as_mut() else { return Ok(Arc::new([])) };
            let mut bytes = Vec::new();
            std::io::Seek::rewind(file)?;
            std::io::Read::read_to_end(file, &mut bytes)?;
            Ok(names(&bytes)?.into_iter().map(Pseudonym).collect())
        };
        let made = read().map_err(|e| SourceError(e.to_string()))?;
        Ok(self.pseudonyms.get_or_init(|| made).clone())
    }
}
