//! `linkage cohort`: figures from the link tables of an analyst's side, after disclosure control.

use std::path::PathBuf;

use clap::Subcommand;
use linkage_agreement::{PartyId, Period};
use linkage_analyst::config::AnalystConfig;
use linkage_analyst::service::overlap_of;
use linkage_analyst::tables::Tables;
use linkage_common::clock::SystemClock;
use linkage_common::gate::Gate;
use serde_json::json;

use super::config;
use crate::cli::{print_json, say, table};

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
}

/// Runs a command.
pub fn run(command: CohortCommand) -> anyhow::Result<()> {
    let CohortCommand::Overlap { config: path, period, json } = command;
    let config: AnalystConfig = config(&path)?;
    let gate = Gate::load(&config.agreement, std::sync::Arc::new(SystemClock))?;
    gate.in_force()?;
    let minimum = u64::from(gate.agreement().disclosure.minimum_cell);
    let (run, found) = overlap_of(&Tables::open(&config.data_dir)?, period, minimum)?;
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
