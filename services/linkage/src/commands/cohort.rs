//! `linkage cohort`: figures from the link tables of an analyst's side, after disclosure control.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use linkage_agreement::{PartyId, Period};
use linkage_analyst::config::AnalystConfig;
use linkage_analyst::fairness::linked_rates;
use linkage_analyst::service::overlap_of;
use linkage_analyst::tables::Tables;
use linkage_cohort::{Rate, RateRow, RateTable};
use linkage_common::clock::SystemClock;
use linkage_common::gate::Gate;
use serde_json::json;

use super::config;
use crate::cli::{print_json, say, table};
use crate::page::labels;

/// Commands on cohorts.
#[derive(Debug, Subcommand)]
pub enum CohortCommand {
    /// Persons by combination of parties, for one period.
    Overlap {
        /// Configuration file of the analyst's side.
        #[arg(long)]
        config: PathBuf,
        /// The month.
        #[arg(long)]
        period: Period,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Share of records linked with another party, by party, sex and age, for one period.
    Rates {
        /// Configuration file of the analyst's side.
        #[arg(long)]
        config: PathBuf,
        /// The month.
        #[arg(long)]
        period: Period,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command.
pub fn run(command: CohortCommand) -> anyhow::Result<()> {
    match command {
        CohortCommand::Overlap { config, period, json } => overlap(&config, period, json),
        CohortCommand::Rates { config, period, json } => rates(&config, period, json),
    }
}

/// The tables and the smallest count that may be shown, while the agreement is in force.
fn open(path: &Path) -> anyhow::Result<(Tables, u64)> {
    let config: AnalystConfig = config(path)?;
    let gate = Gate::load(&config.agreement, std::sync::Arc::new(SystemClock))?;
    gate.in_force()?;
    Ok((Tables::open(&config.data_dir)?, u64::from(gate.agreement().disclosure.minimum_cell)))
}

fn rates(path: &Path, period: Period, json: bool) -> anyhow::Result<()> {
    let (tables, minimum) = open(path)?;
    let (run, _) = overlap_of(&tables, period, minimum)?;
    let found = linked_rates(&tables, &run, minimum)?;
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

fn overlap(path: &Path, period: Period, json: bool) -> anyhow::Result<()> {
    let (tables, minimum) = open(path)?;
    let (run, found) = overlap_of(&tables, period, minimum)?;
    if json {
        let cells: Vec<_> = found.cells.iter().map(|c| json!({ "parties": c.parties, "persons": c.persons })).collect();
        return print_json(
            &json!({ "run": run, "period": period, "persons": found.persons, "minimum_cell": minimum, "cells": cells }),
        );
    }
    say(&format!("{period} (traitement {run}) : {} personnes distinctes", found.persons));
    let rows: Vec<Vec<String>> = found
        .cells
        .iter()
        .map(|c| {
            let parties: Vec<&str> = c.parties.iter().map(PartyId::as_str).collect();
            vec![parties.join(" + "), c.persons.map_or_else(|| format!("< {minimum} ou secret"), |n| n.to_string())]
        })
        .collect();
    say(&table(&["partenaires", "personnes"], &rows));
    Ok(())
}
