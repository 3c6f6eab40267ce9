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

    /// Tables of a report under suppression, and what is kept of them; none where too many reports are kept already. The
    /// tables are protected without keeping others waiting, and anew where another report was answered meanwhile.
    pub(super) fn suppressed(
        &self,
        named: &[(&FigureTable, &str)],
        policy: &Policy,
        published: &[Vec<u8>],
    ) -> Result<Option<Suppressed>, ServiceError> {
        for _ in 0..TRIES {
            let Some(beside) = self.shown().lock()?.reports(published)? else { return Ok(None) };
            let made = disclosure::protect_beside(&beside, named, policy, &self.rates, &Noise::new());
            let (tables, remembered) = apart(made.map_err(|error| nothing_shown(&error))?);
            let kept: Vec<Published> = named.iter().zip(&tables).map(|((raw, _), shown)| Published::of(raw, shown)).collect();
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
