//! `linkage cohort`: figures from the link tables of an analyst's side, after disclosure control.

mod access;
mod approve;
mod changes;
mod journal;
mod overlap;
mod publish;
mod query;
mod rates;
mod report;
mod supersede;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use linkage_agreement::Period;
use linkage_analyst::config::AnalystConfig;
use linkage_analyst::export::Format;
use linkage_analyst::study::StudyStore;
use linkage_cohort::query::MAX_BYTES;
use linkage_cohort::study::Study;
use linkage_common::clock::SystemClock;
use linkage_common::fsx;
use linkage_common::gate::Gate;

use super::config;

/// Commands on cohorts.
#[derive(Debug, Subcommand)]
pub enum CohortCommand {
    /// The protected answer to a query, as a preview.
    Query(query::QueryArgs),
    /// A ready-made report, as a file.
    Report(report::ReportArgs),
    /// Put the answer to a query forward for publication.
    Publish(publish::PublishArgs),
    /// Write a publication to a file; a draft says that it is one.
    Export(publish::ExportArgs),
    /// What was put forward and published, its seals checked.
    Journal(journal::JournalArgs),
    /// Who asked for what, when.
    Access(access::AccessArgs),
    /// A partner: what the analyst has put forward; one table with its figures.
    Proposals(approve::ProposalsArgs),
    /// A partner: approve a table that holds its data.
    Approve(approve::ApproveArgs),
    /// A partner: reject a table that holds its data.
    Reject(approve::RejectArgs),
    /// Bring a table of one's own up to the persons of the last run.
    Supersede(supersede::SupersedeArgs),
    /// What each run merged and split, and which months hold rows that changed.
    Changes(changes::ChangesArgs),
    /// Make the study again: from the tables of the runs, or from the custodian.
    Rebuild(changes::RebuildArgs),
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
pub async fn run(command: CohortCommand) -> anyhow::Result<()> {
    match command {
        CohortCommand::Query(args) => query::run(args).await,
        CohortCommand::Report(args) => report::run(args).await,
        CohortCommand::Publish(args) => publish::publish(args).await,
        CohortCommand::Export(args) => publish::export(args).await,
        CohortCommand::Journal(args) => journal::run(args).await,
        CohortCommand::Access(args) => access::run(args).await,
        CohortCommand::Proposals(args) => approve::proposals(args).await,
        CohortCommand::Approve(args) => approve::approve(args).await,
        CohortCommand::Reject(args) => approve::reject(args).await,
        CohortCommand::Supersede(args) => supersede::run(&args),
        CohortCommand::Changes(args) => changes::changes(&args),
        CohortCommand::Rebuild(args) => changes::rebuild(&args).await,
        CohortCommand::Overlap { config, period, json } => overlap::overlap(&config, period, json),
        CohortCommand::Rates { config, period, json } => rates::rates(&config, period, json),
    }
}

/// The study and the smallest count that may be shown, while the agreement is in force.
fn open(path: &Path) -> anyhow::Result<(Arc<Study>, u64)> {
    let config: AnalystConfig = config(path)?;
    let gate = Gate::load(&config.agreement, Arc::new(SystemClock))?;
    gate.in_force()?;
    let study = StudyStore::open(&config.data_dir, gate.agreement())?.study()?;
    Ok((study, u64::from(gate.agreement().disclosure.minimum_cell)))
}

/// A query document's bytes; what is too long is refused by whoever reads them.
fn query_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    Ok(fsx::read_limited(path, 2 * MAX_BYTES as u64)?)
}

/// The form that a file's ending stands for.
fn format_of(path: &Path) -> anyhow::Result<Format> {
    Ok(path.extension().and_then(|e| e.to_str()).unwrap_or_default().parse()?)
}
