//! Linkage-error rates of a study's months, from the broker's reports of their runs.

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use linkage_cohort::interval::{ErrorRates, Estimate, RunRates};
use linkage_cohort::study::{Column, Study};
use linkage_common::error::ServiceError;
use serde::Deserialize;

use crate::tables::Tables;

/// What is read of a report (docs/report.md).
#[derive(Deserialize)]
struct Report {
    linkage: Linkage,
}

#[derive(Deserialize)]
struct Linkage {
    parties: Vec<Party>,
    precision: Ends,
    recall: Ends,
}

#[derive(Deserialize)]
struct Party {
    records: u64,
    linked: u64,
}

#[derive(Deserialize)]
struct Ends {
    low: f64,
    high: f64,
}

/// The rates of every month whose run has a report with estimates. The figures of other months bear no interval.
pub(super) fn of(data_dir: &Path, study: &Study) -> Result<ErrorRates, ServiceError> {
    let tables = Tables::open(data_dir)?;
    let rates = |month: &linkage_cohort::study::Month| {
        let bytes = linkage_common::fsx::read_limited(&tables.run_folder(&month.run).join("report.json"), LIMIT).ok()?;
        rates_of(&bytes)
    };
    let mut found = Vec::new();
    for (at, month) in study.months.iter().enumerate() {
        if let Some(rates) = rates(month) {
            let per_person = month.rows as f64 / persons_of(study, at)?.max(1) as f64;
            found.push((month.period, RunRates { per_person, ..rates }));
        }
    }
    Ok(ErrorRates::new(found))
}

/// Persons of the month at position `month`: rows stand in the order of their persons.
fn persons_of(study: &Study, month: usize) -> Result<u64, ServiceError> {
    let column = study.source.columns(month, &[Column::Person]).map_err(ServiceError::internal)?;
    let persons = column.column(0).as_primitive::<UInt32Type>().values();
    Ok(persons.chunk_by(|a, b| a == b).count() as u64)
}

/// Most bytes of a report.
const LIMIT: u64 = 64 << 20;

fn rates_of(report: &[u8]) -> Option<RunRates> {
    let Report { linkage } = serde_json::from_slice(report).ok()?;
    let (records, linked) = linkage.parties.iter().fold((0, 0), |(r, l), party| (r + party.records, l + party.linked));
    let ends = |ends: &Ends| Estimate { low: ends.low, high: ends.high };
    let linked_share = if records == 0 { 0.0 } else { linked as f64 / records as f64 };
    Some(RunRates { precision: ends(&linkage.precision), recall: ends(&linkage.recall), linked_share, per_person: 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_read_where_there_are_any() {
        let report =
            br#"{"parties":["a","b"],"linkage":{"parties":[{"records":60,"linked":10,"met":3},{"records":40,"linked":15}],
            "precision":{"value":0.99,"low":0.98,"high":0.995},"recall":{"value":0.9,"low":0.88,"high":0.92}}}"#;
        let ends = |low, high| Estimate { low, high };
        let expected = RunRates { precision: ends(0.98, 0.995), recall: ends(0.88, 0.92), linked_share: 0.25, per_person: 1.0 };
        assert_eq!(rates_of(report), Some(expected));
        for other in [&b"{}"[..], b"{\"linkage\":null}", b"", b"{\"linkage\":{\"parties\":[]}}"] {
            assert_eq!(rates_of(other), None);
        }
    }
}
