//! `linkage cohort rates`: who is linked with another party, by sex and age.

use std::path::Path;

use linkage_agreement::{PartyId, Period};
use linkage_analyst::fairness::linked_rates;
use linkage_analyst::service::overlap_of;
use linkage_cohort::{Rate, RateRow, RateTable};
use serde_json::json;

use super::open;
use crate::cli::{print_json, say, table};
use crate::page::labels;

/// Prints the rates of a month.
pub fn rates(path: &Path, period: Period, json: bool) -> anyhow::Result<()> {
    let (study, minimum) = open(path)?;
    let (run, _) = overlap_of(&study, period, minimum)?;
    let found = linked_rates(&study, period, minimum)?;
    if json {
        return print_json(&json!({ "run": run, "period": period, "minimum_cell": minimum, "linked_rates": found }));
    }
    say(&format!("{period} (traitement {run}) : part des fiches dont la personne est aussi chez un autre partenaire"));
    match &found.by_sex {
        Some(table) => print_rates(table, |g| labels::sex(*g), minimum),
        None => say("  par sexe : la convention ne laisse pas passer cet attribut"),
    }
    match &found.by_age {
        Some(table) => print_rates(table, |g| labels::age(*g), minimum),
        None => say("  par âge : la convention ne laisse pas passer la date de naissance"),
    }
    Ok(())
}

fn print_rates<G>(rates: &RateTable<G>, label: impl Fn(&G) -> &'static str, minimum: u64) {
    let heads: Vec<&str> = ["partenaire"].into_iter().chain(rates.groups.iter().map(label)).chain(["ensemble"]).collect();
    let cell = |rate: &Option<Rate>| match rate {
        Some(rate) if rate.records == 0 => "–".to_owned(),
        Some(rate) => format!("{} de {}", labels::percent(rate.found as f64 / rate.out_of as f64), labels::count(rate.records)),
        None => labels::suppressed(minimum),
    };
    let row = |row: &RateRow| {
        let party = row.party.as_ref().map_or("tous", PartyId::as_str).to_owned();
        [party].into_iter().chain(row.groups.iter().chain([&row.all]).map(cell)).collect()
    };
    let rows: Vec<Vec<String>> = rates.rows.iter().map(row).collect();
    say(&table(&heads, &rows));
}
