//! `linkage cohort`: figures from the link tables of an analyst's side, after disclosure control.

mod overlap;
mod rates;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use linkage_agreement::Period;
use linkage_analyst::config::AnalystConfig;
use linkage_analyst::tables::Tables;
use linkage_common::clock::SystemClock;
use linkage_common::gate::Gate;

use super::config;

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
        CohortCommand::Overlap { config, period, json } => overlap::overlap(&config, period, json),
        CohortCommand::Rates { config, period, json } => rates::rates(&config, period, json),
    }
}

/// The tables and the smallest count that may be shown, while the agreement is in force.
fn open(path: &Path) -> anyhow::Result<(Tables, u64)> {
    let config: AnalystConfig = config(path)?;
    let gate = Gate::load(&config.agreement, std::sync::Arc::new(SystemClock))?;
    gate.in_force()?;
    Ok((Tables::open(&config.data_dir)?, u64::from(gate.agreement().disclosure.minimum_cell)))
}
