//! `linkage cohort report`: the ready-made reports as files.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use linkage_agreement::Period;
use linkage_analyst::access::Who;
use linkage_analyst::desk::Desk;
use linkage_analyst::export::Format;
use linkage_analyst::reports::report;
use linkage_cohort::query::Population;
use linkage_cohort::reports::{Kind, Request};
use linkage_common::fsx;

use super::{config, query_file};
use crate::cli::say;

/// Which report, of when, and where it is written.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// besoins-du-mois, activite-du-trimestre, rapport-annuel or cohorte-de-reference.
    #[arg(value_parser = kind)]
    report: Kind,
    /// Configuration file of the analyst's side.
    #[arg(long)]
    config: PathBuf,
    /// The month; any month of the quarter or year; for a cohort the last month followed.
    #[arg(long)]
    period: Period,
    /// Document with the key `population`, TOML or JSON: who is counted, or who is in the cohort.
    #[arg(long)]
    population: Option<PathBuf>,
    /// csv, xlsx, html or json; the ending of the file says it otherwise.
    #[arg(long)]
    format: Option<String>,
    /// The file to write.
    #[arg(long)]
    out: PathBuf,
    /// Put the report forward for publication as well, for this reason.
    #[arg(long, value_name = "JUSTIFICATION")]
    publish: Option<String>,
}

fn kind(text: &str) -> Result<Kind, String> {
    let names = Kind::ALL.map(Kind::as_str).join(", ");
    Kind::parse(text).ok_or_else(|| format!("rapport inconnu ; les rapports sont : {names}"))
}

/// Runs it.
pub async fn run(args: ReportArgs) -> anyhow::Result<()> {
    let format: Format = match &args.format {
        Some(format) => format.parse()?,
        None => super::format_of(&args.out)?,
    };
    let population = args.population.as_ref().map(|path| -> anyhow::Result<Population> {
        let bytes = query_file(path)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| anyhow::anyhow!("la population n'est pas un texte UTF-8 ; enregistrez-la en UTF-8"))?;
        Population::from_document(text).map_err(|error| anyhow::anyhow!("population illisible : {error}"))
    });
    let request = Request { report: args.report, period: args.period, population: population.transpose()? };
    let (desk, who) = (Arc::new(Desk::of(&config(&args.config)?).await?), Who::console());
    let mut made = report(&desk, &request, &who).await?;
    if let Some(justification) = &args.publish {
        let publication = desk.publish(&made.question, justification, &who).await?;
        say(&super::publish::line(&publication));
        made = report(&desk, &request, &who).await?;
    }
    fsx::write_atomic(&args.out, &made.file(&desk, format, &who)?)?;
    say(&format!("{} : {} ({})", made.title, args.out.display(), made.standing.french()));
    Ok(())
}
