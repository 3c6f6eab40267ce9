//! Taking records out of the study (RGPD, articles 18 and 21): their rows of every month, their names, and those of persons
//! and households that no other row bears.
//!
//! Numbers are places in the dictionaries, so a name that goes gives its place to random bytes, which are nobody's. As with a
//! run, new files come first and `meta.json` last: killed anywhere, the study is the old one or the new one.

use std::collections::BTreeSet;

use linkage_agreement::{Pseudonym, RunId};
use linkage_cohort::study::Column;
use linkage_common::error::ServiceError;
use rand_core::Rng;

use super::month::{self, MonthFile};
use super::numbers::Numbers;
use super::{Broken, Meta, StudyStore};

/// What the study holds of records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Rows.
    pub rows: u64,
    /// Months with such rows.
    pub months: u64,
    /// The runs that these months are of.
    pub runs: Vec<RunId>,
}

impl StudyStore {
    /// What the study holds of `records`.
    ///
    /// # Errors
    /// The disk, or a study that is damaged.
    pub fn find_records(&self, records: &[Pseudonym]) -> Result<Found, ServiceError> {
        let _lock = self.lock()?;
        Ok(self.work(records, false)?)
    }

    /// Takes `records` out, and counts the request in [`StudyStore::withdrawals`] when anything of them was here.
    ///
    /// # Errors
    /// As [`Self::find_records`].
    pub fn take_out(&self, records: &[Pseudonym]) -> Result<Found, ServiceError> {
        let _lock = self.lock()?;
        Ok(self.work(records, true)?)
    }

    /// Counts a request that the study follows by being made again.
    ///
    /// # Errors
    /// The disk.
    pub fn count_request(&self) -> Result<(), ServiceError> {
        let _lock = self.lock()?;
        let Some(mut meta) = self.meta()? else { return Ok(()) };
        meta.generation += 1;
        meta.withdrawals += 1;
        Ok(meta.write(&self.folder)?)
    }

    fn work(&self, records: &[Pseudonym], take_out: bool) -> Result<Found, Broken> {
        let mut found = Found::default();
        let Some(mut meta) = self.meta()? else { return Ok(found) };
        let mut dictionaries = self.dictionaries(&meta)?;
        let numbers: Vec<u32> = records.iter().filter_map(|record| dictionaries.records.known(record)).collect();
        if numbers.is_empty() {
            return Ok(found);
        }
        meta.generation += 1;
        meta.withdrawals += 1;
        let (mut persons, mut households) = (BTreeSet::new(), BTreeSet::new());
        for at in 0..meta.months.len() {
            let Some(month) = meta.months.get(at) else { continue };
            let held = MonthFile::open(self.file(&month.file)?, month.rows)?;
            let Some((batch, taken)) = held.without(&numbers)? else { continue };
            found.rows += taken.rows;
            found.months += 1;
            found.runs.push(month.run.clone());
            persons.extend(taken.persons);
            households.extend(taken.households);
            if take_out {
                let rows = month.rows - taken.rows;
                let file = self.write(&meta, &format!("{}.parquet", month.period), &month::write(&batch)?)?;
                if let Some(month) = meta.months.get_mut(at) {
                    (month.file, month.rows) = (file, rows);
                }
            }
        }
        if !take_out {
            return Ok(found);
        }
        for number in numbers {
            forget(&mut dictionaries.records, number);
        }
        for number in self.alone(&meta, Column::Person, persons)? {
            forget(&mut dictionaries.persons, number);
        }
        for number in self.alone(&meta, Column::Household, households)? {
            forget(&mut dictionaries.households, number);
        }
        meta.dictionaries = Some(self.write_dictionaries(&meta, &dictionaries)?);
        meta.write(&self.folder)?;
        Ok(found)
    }

    /// Those of `numbers` that no month's column holds any more.
    fn alone(&self, meta: &Meta, column: Column, mut numbers: BTreeSet<u32>) -> Result<BTreeSet<u32>, Broken> {
        for month in &meta.months {
            if numbers.is_empty() {
                break;
            }
            let held = MonthFile::open(self.file(&month.file)?, month.rows)?.holding(column, &numbers)?;
            numbers.retain(|number| !held.contains(number));
        }
        Ok(numbers)
    }
}

fn forget(names: &mut Numbers, number: u32) {
    let mut name = [0; 16];
    linkage_common::rng().fill_bytes(&mut name);
    names.rename(number, name);
}
