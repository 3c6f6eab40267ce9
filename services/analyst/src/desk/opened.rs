//! A study with what every question takes of it, and the two ways in which tables of it are protected.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use linkage_cohort::disclosure::audit::Remembered;
use linkage_cohort::disclosure::cell_key::Noise;
use linkage_cohort::disclosure::{self, Policy, Protected, Published, Refused};
use linkage_cohort::households::Resolver;
use linkage_cohort::interval::ErrorRates;
use linkage_cohort::query::{Inputs, household_keys};
use linkage_cohort::study::{Households, Study};
use linkage_cohort::{FigureTable, PublicTable, Unit};
use linkage_common::error::ServiceError;

use super::ledger::ShownBefore;
use super::refused;
use crate::publish::Release;

/// How often a report is protected anew because another one was answered meanwhile.
const TRIES: usize = 5;

/// A study with what every question takes of it.
pub(super) struct Opened {
    pub study: Arc<Study>,
    pub release: Release,
    pub keys: Vec<u64>,
    pub households: Resolver<Arc<Study>>,
    /// Found when first asked for.
    pub household_keys: OnceLock<Vec<u64>>,
    pub rates: ErrorRates,
    pub shown: Mutex<ShownBefore>,
}

/// Tables of a report under suppression, and what is kept of them.
pub(super) type Suppressed = (Vec<PublicTable>, Vec<Published>);

/// Nothing can be shown, and why.
fn nothing_shown(error: &Refused) -> ServiceError {
    ServiceError::invalid(format!("rien ne peut être montré : {error}"))
}

/// Tables, and what is to be remembered of them.
fn apart(made: Vec<Protected>) -> (Vec<PublicTable>, Vec<Remembered>) {
    let (tables, remembered): (Vec<_>, Vec<_>) = made.into_iter().map(|made| (made.table, made.remembered)).unzip();
    (tables, remembered.into_iter().flatten().collect())
}

impl Opened {
    pub(super) fn inputs(&self) -> Inputs<'_> {
        let households: &dyn Households = &self.households;
        Inputs { person_keys: &self.keys, households: Some(households) }
    }

    pub(super) fn shown(&self) -> MutexGuard<'_, ShownBefore> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tables of a report under suppression, and what is kept of them; none where too many reports are kept already, or where
    /// somebody has been taken out of the study since one of them: two exact tables would tell who it was like. The
    /// tables are protected without keeping others waiting, and anew where another report was answered meanwhile.
    pub(super) fn suppressed(
        &self,
        named: &[(&FigureTable, &str)],
        policy: &Policy,
        published: &[Vec<u8>],
    ) -> Result<Option<Suppressed>, ServiceError> {
        for _ in 0..TRIES {
            let Some(beside) = self.shown().lock()?.reports(published)? else { return Ok(None) };
            let edition = self.release.withdrawals;
            if named.iter().any(|(table, _)| beside.iter().any(|kept| kept.tells_apart(table, edition))) {
                return Ok(None);
            }
            let made = disclosure::protect_beside(&beside, named, policy, &self.rates, &Noise::new());
            let (tables, remembered) = apart(made.map_err(|error| nothing_shown(&error))?);
            let kept: Vec<Published> =
                named.iter().zip(&tables).map(|((raw, _), shown)| Published::of(raw, shown, edition)).collect();
            let mut shown = self.shown();
            let mut locked = shown.lock()?;
            if locked.reports(published)?.is_some_and(|now| now.len() == beside.len()) {
                locked.remember(remembered, Some(&kept))?;
                return Ok(Some((tables, kept)));
            }
        }
        Err(ServiceError::conflict("d'autres rapports sont demandés en même temps ; redemandez celui-ci dans un instant"))
    }

    /// Tables that bear noise.
    pub(super) fn noisy(&self, named: &[(&FigureTable, &str)], policy: &Policy) -> Result<Vec<PublicTable>, ServiceError> {
        let of_households = named.iter().any(|(table, _)| table.unit == Unit::Households);
        if of_households && self.household_keys.get().is_none() {
            // Two that come here together find the same.
            let _ = self.household_keys.set(household_keys(&self.study, self.inputs()).map_err(|error| refused(&error))?);
        }
        let mut shown = self.shown();
        let mut locked = shown.lock()?;
        if let Some(keys) = self.household_keys.get().filter(|_| of_households && !locked.ledger().knows_households()) {
            locked.ledger().know_households(keys);
        }
        let noise = Noise::new().beside(locked.ledger());
        let made = disclosure::protect_beside(&[], named, policy, &self.rates, &noise);
        let (tables, remembered) = apart(made.map_err(|error| nothing_shown(&error))?);
        drop(noise);
        locked.remember(remembered, None)?;
        Ok(tables)
    }
}

#[cfg(test)]
mod tests {
    use linkage_cohort::study::InMemory;
    use linkage_cohort::{Category, Dimension, Figure, Method, Shown, Whom};

    use super::*;

    const POLICY: Policy = Policy { method: Method::Suppression, minimum: 11, dominance_percent: 85, round_to: 1 };

    /// The study of persons with these keys, after so many have been taken out.
    fn opened(dir: &std::path::Path, keys: &[u64], withdrawals: u64) -> Opened {
        let source = Box::new(InMemory { months: Vec::new(), pseudonyms: Vec::new().into() });
        let study = Arc::new(Study { parties: Vec::new(), attributes: Vec::new(), months: Vec::new(), persons: 0, source });
        Opened {
            study: study.clone(),
            release: Release { runs: Vec::new(), withdrawals },
            keys: keys.to_vec(),
            households: Resolver::new(study),
            household_keys: OnceLock::new(),
            rates: ErrorRates::default(),
            shown: Mutex::new(ShownBefore::new(dir, keys)),
        }
    }

    /// Persons by housing: every third is in each of three.
    fn housing(period: &str, keys: &[u64], everybody: &[u64]) -> FigureTable {
        let value = |name: &str| Category::Value(name.to_owned());
        let set = |of: &dyn Fn(usize) -> bool| {
            let in_it = everybody.iter().enumerate().filter(|(at, key)| of(*at) && keys.contains(key));
            in_it.fold(Figure::default(), |cell, (_, key)| Figure {
                units: cell.units + 1,
                value: cell.value + 1.0,
                key: cell.key.wrapping_add(*key),
                ..cell
            })
        };
        let mut cells: Vec<Figure> = (0..3).map(|which| set(&|at| at % 3 == which)).collect();
        cells.push(set(&|_| true));
        let categories = vec![value("RUE"), value("HOTEL"), value("LOGEMENT"), Category::Total];
        let dimension = |name: &str, categories| Dimension { name: name.to_owned(), categories, partition: true };
        FigureTable {
            unit: Unit::Persons,
            measure: "stock".to_owned(),
            of: None,
            whom: Whom::Everybody,
            population: 0,
            dimensions: vec![dimension("period", vec![value(period)]), dimension("hebergement", categories)],
            cells,
            notes: Vec::new(),
        }
    }

    /// As the desk does it: under suppression where that can be, else with noise.
    fn answer(opened: &Opened, table: &FigureTable, policy: &Policy) -> PublicTable {
        let named = [(table, "")];
        let suppressed =
            if policy.method == Method::Suppression { opened.suppressed(&named, policy, &[]).unwrap() } else { None };
        let mut tables = suppressed.map_or_else(|| opened.noisy(&named, &policy.for_query()).unwrap(), |(tables, _)| tables);
        tables.remove(0)
    }

    #[test]
    fn who_was_taken_out_is_not_told_by_the_next_answer() {
        let everybody: Vec<u64> = (1..=90).map(linkage_key).collect();
        for method in [Method::Suppression, Method::CellKey] {
            for gone in [0, 1, 44] {
                let dir = tempfile::tempdir().unwrap();
                let policy = Policy { method, ..POLICY };
                let left: Vec<u64> = everybody.iter().copied().filter(|key| *key != everybody[gone]).collect();
                let before = answer(&opened(dir.path(), &everybody, 0), &housing("2024-01", &everybody, &everybody), &policy);
                // Another process, which never knew the person.
                let later = opened(dir.path(), &left, 1);
                let after = answer(&later, &housing("2024-01", &left, &everybody), &policy);
                assert_eq!(before.cells, after.cells, "{method:?}");
                // The month after would tell it as well, by who left; later ones are exact again.
                let next = answer(&later, &housing("2024-02", &left[10..], &everybody), &policy);
                assert_eq!(next.method, Method::CellKey);
                let exact = answer(&later, &housing("2024-06", &left[20..], &everybody), &policy);
                assert_eq!(exact.method, method);
                assert!(method == Method::CellKey || exact.cells.last() == Some(&whole(69.0)));
            }
        }
    }

    /// Numbers that look random.
    fn linkage_key(number: u64) -> u64 {
        let digest = <sha2::Sha256 as sha2::Digest>::digest(number.to_le_bytes());
        u64::from_le_bytes(*digest.first_chunk().unwrap())
    }

    fn whole(value: f64) -> Shown {
        Shown::Value { value, interval: None, uncertain: false }
    }
}
