//! `linkage cohort access`: who asked for what, when.

use std::path::PathBuf;

use clap::Args;
use linkage_agreement::Period;
use linkage_analyst::desk::Desk;
use serde_json::json;

use super::config;
use crate::cli::{print_json, say, table};

/// Which month of which log.
#[derive(Debug, Args)]
pub struct AccessArgs {
    /// Configuration file of the analyst's side.
    #[arg(long)]
    config: PathBuf,
    /// The month; the current one when absent.
    #[arg(long)]
    month: Option<Period>,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// Prints a month of the access log.
pub async fn run(args: AccessArgs) -> anyhow::Result<()> {
    let desk = Desk::of(&config(&args.config)?).await?;
    let month = args.month.unwrap_or_else(|| Period::of(desk.gate().today()));
    let (lines, unreadable) = desk.access().lines(month)?;
    let kept = desk.access().months()?;
    if args.json {
        return print_json(&json!({ "month": month, "months": kept, "lines": lines, "unreadable": unreadable }));
    }
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let at = jiff::Timestamp::from_second(line.at).map_or_else(|_| String::new(), |at| at.to_string());
            let what = line.publication.as_ref().or(line.query.as_ref()).cloned().unwrap_or_default();
            vec![
                at,
                line.who.to_string(),
                line.action.french().to_owned(),
                line.outcome.french().to_owned(),
                what,
                line.subject.clone(),
            ]
        })
        .collect();
    say(&table(&["quand (UTC)", "qui", "quoi", "issue", "requête ou publication", "objet"], &rows));
    let months: Vec<String> = kept.iter().map(ToString::to_string).collect();
    say(&format!("{} accès en {month} ; mois conservés : {}", lines.len(), months.join(", ")));
    if unreadable > 0 {
        say(&format!("{unreadable} ligne(s) illisible(s) : un arrêt brutal pendant l'écriture, ou un fichier modifié"));
    }
    Ok(())
}
