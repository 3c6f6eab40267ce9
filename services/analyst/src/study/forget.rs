//! Taking months out of the study, and with them the pseudonyms that no other month has.
//!
//! Numbers stay what they are, since other months use them; the name of a number that none uses any more is drawn at random.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use linkage_agreement::Period;
use linkage_cohort::study::Column;
use linkage_common::error::ServiceError;
use rand_core::Rng;

use super::meta::Meta;
use super::month::MonthFile;
use super::{Broken, StudyStore};

/// Which columns hold numbers of persons, records and households, in the order of the dictionaries.
const NUMBERED: [Column; 3] = [Column::Person, Column::Record, Column::Household];

impl StudyStore {
    /// The months that the study holds, and their rows.
    ///
    /// # Errors
    /// The disk, or a damaged study.
    pub fn months(&self) -> Result<Vec<(Period, u64)>, ServiceError> {
        let meta = self.meta()?;
        Ok(meta.iter().flat_map(|meta| &meta.months).map(|month| (month.period, month.rows)).collect())
    }

    /// Forgets the months that are `over`. Killed anywhere, the study is the old one or the new one.
    ///
    /// # Errors
    /// The disk, or a damaged study.
    pub fn forget_months(&self, over: impl Fn(Period) -> bool) -> Result<(), ServiceError> {
        let _lock = self.lock()?;
        Ok(self.forget_locked(over)?)
    }

    fn forget_locked(&self, over: impl Fn(Period) -> bool) -> Result<(), Broken> {
        let Some(mut meta) = self.meta()? else { return Ok(()) };
        let before = meta.months.len();
        meta.months.retain(|month| !over(month.period));
        if meta.months.len() == before {
            return Ok(());
        }
        meta.generation += 1;
        let mut dictionaries = self.dictionaries(&meta)?;
        let [persons, records, households] = self.used(&meta)?;
        let mut rng = linkage_common::rng();
        let mut draw = || {
            let mut name = [0; 16];
            rng.fill_bytes(&mut name);
            name
        };
        dictionaries.persons.blank_all_but(&persons, &mut draw);
        dictionaries.records.blank_all_but(&records, &mut draw);
        dictionaries.households.blank_all_but(&households, &mut draw);
        meta.dictionaries = Some([
            self.write(&meta, "persons", &dictionaries.persons.to_bytes())?,
            self.write(&meta, "records", &dictionaries.records.to_bytes())?,
            self.write(&meta, "households", &dictionaries.households.to_bytes())?,
            self.write(&meta, "values.json", &serde_json::to_vec(&dictionaries.values).map_err(ServiceError::internal)?)?,
        ]);
        meta.write(&self.folder)
    }

    /// The numbers that months use.
    fn used(&self, meta: &Meta) -> Result<[Vec<bool>; 3], Broken> {
        let mut used = [const { Vec::new() }; 3];
        for month in &meta.months {
            let columns = MonthFile::open(self.file(&month.file)?, month.rows)?.read(&NUMBERED)?;
            for (column, used) in columns.into_iter().zip(&mut used) {
                let Some(column) = column else { continue };
                let numbers = column.as_primitive_opt::<UInt32Type>().ok_or_else(|| Broken::Damaged("column".to_owned()))?;
                for number in numbers.iter().flatten() {
                    let at = number as usize;
                    if used.len() <= at {
                        used.resize(at + 1, false);
                    }
                    used.get_mut(at).into_iter().for_each(|used| *used = true);
                }
                debug_assert_eq!(column.len() as u64, month.rows);
            }
        }
        Ok(used)
    }
}
