//! `linkage cohort query`: the protected answer to a query, as a preview.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use linkage_analyst::access::Who;
use linkage_analyst::desk::{Answer, Desk, read_query};
use linkage_analyst::export::grid::grid;
use linkage_analyst::export::{Format, Part, Standing, labels};
use linkage_analyst::publish::Question;
use linkage_cohort::{PublicTable, Shown};
use linkage_common::fsx;

use super::{config, query_file};
use crate::cli::{say, table};

/// What is asked, and how it is shown.
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// Query document, TOML or JSON.
    file: PathBuf,
    /// Configuration file of the analyst's side.
    #[arg(long)]
    config: PathBuf,
    /// Print the answer as JSON.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print the answer as CSV.
    #[arg(long)]
    csv: bool,
    /// Write the answer to a file, marked as a draft; its ending says the form: csv, xlsx, html, json.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Runs it.
pub async fn run(args: QueryArgs) -> anyhow::Result<()> {
    let desk = Arc::new(Desk::of(&config(&args.config)?).await?);
    let who = Who::console();
    let question = Question::Query(read_query(&query_file(&args.file)?)?);
    let answer = desk.answer(&question, &who).await?;
    if let Some(output) = &args.output {
        fsx::write_atomic(output, &draft(&desk, &answer, super::format_of(output)?, &who)?)?;
        say(&format!("Brouillon écrit : {}", output.display()));
    }
    match (args.json, args.csv) {
        (true, _) => say(draft_text(&desk, &answer, Format::Json, &who)?.trim_end()),
        (_, true) => say(draft_text(&desk, &answer, Format::Csv, &who)?.trim_end()),
        _ if args.output.is_none() => show(&answer),
        _ => {}
    }
    Ok(())
}

fn draft(desk: &Desk, answer: &Answer, format: Format, who: &Who) -> anyhow::Result<Vec<u8>> {
    let parts: Vec<Part<'_>> = answer.tables.iter().map(Part::plain).collect();
    Ok(desk.export_draft(answer, &parts, format, who)?)
}

/// The answer as a draft in one of the forms that are text.
pub fn draft_text(desk: &Desk, answer: &Answer, format: Format, who: &Who) -> anyhow::Result<String> {
    Ok(String::from_utf8(draft(desk, answer, format, who)?)?)
}

/// Prints an answer.
pub fn show(answer: &Answer) {
    for table in &answer.tables {
        show_table(table, &Standing::Draft);
    }
    let runs: Vec<&str> = answer.release.runs.iter().map(linkage_agreement::RunId::as_str).collect();
    say(&format!("Données : traitements {}", runs.join(", ")));
}

/// Prints a table with what is to be read with it.
pub fn show_table(shown: &PublicTable, standing: &Standing) {
    say(&format!("{} ({})", shown.title, standing.french()));
    say(&labels::measure(shown.unit, &shown.measure));
    let grid = grid(shown);
    let heads: Vec<&str> = grid.heads.iter().chain(&grid.columns).map(String::as_str).collect();
    let cell = |cell: &Shown| match labels::interval(cell) {
        Some(interval) => format!("{} [{interval}]", labels::cell(cell)),
        None => labels::cell(cell),
    };
    let rows: Vec<Vec<String>> =
        grid.rows.iter().map(|row| row.heads.iter().cloned().chain(row.cells.iter().map(cell)).collect()).collect();
    say(&table(&heads, &rows));
    for line in labels::legend(shown).into_iter().chain([labels::method(shown)]).chain(shown.notes.iter().map(labels::note)) {
        say(&line);
    }
}
