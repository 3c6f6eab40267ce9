//! `linkage cohort`: figures from the link tables of an analyst's side, after disclosure control.

mod access;
mod approve;
mod changes;
mod journal;
pub mod overlap;
mod publish;
mod query;
mod rates;
mod report;
mod supersede;

use std::path::Path;

use clap::Subcommand;
use linkage_analyst::export::Format;
use linkage_cohort::query::MAX_BYTES;
use linkage_common::fsx;

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
    Overlap(overlap::OverlapArgs),
    /// Share of persons whom another party knows too, by party, sex and age, for one period.
    Rates(rates::RatesArgs),
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
        CohortCommand::Overlap(args) => overlap::run(args).await,
        CohortCommand::Rates(args) => rates::run(args).await,
    }
}

/// A query document's bytes; what is too long is refused by whoever reads them.
fn query_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    Ok(fsx::read_limited(path, 2 * MAX_BYTES as u64)?)
}

/// The form that a file's ending stands for.
fn format_of(path: &Path) -> anyhow::Result<Format> {
    Ok(path.extension().and_then(|e| e.to_str()).unwrap_or_default().parse()?)
}
