//! Linkage-error intervals: how far missed and false links may have moved a figure.

use std::collections::BTreeMap;

use linkage_agreement::Period;
use serde::{Deserialize, Serialize};

use crate::figures::FigureTable;
use crate::public::PublicTable;

/// An estimate of the run's report, with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What the broker's report of one run estimates of its links, over pairs of two parties.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RunRates {
    /// Share of linked pairs that are right.
    pub precision: Estimate,
    /// Share of right pairs that are linked.
    pub recall: Estimate,
    /// Share of records that are linked to another one.
    pub linked_share: f64,
}

/// Estimates by month. Without any, figures bear no interval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorRates {
    runs: BTreeMap<Period, RunRates>,
}

impl ErrorRates {
    /// The estimates of the runs of these months.
    pub fn new(runs: impl IntoIterator<Item = (Period, RunRates)>) -> Self {
        Self { runs: runs.into_iter().collect() }
    }
}

/// Gives every figure shown its interval.
pub(crate) fn attach(_raw: &FigureTable, _shown: &mut PublicTable, _errors: &ErrorRates, _round_to: u64) {}
