//! `linkage cohort changes` and `linkage cohort rebuild`: what later runs changed of earlier months, and the study made
//! again.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use linkage_agreement::RunId;
use linkage_analyst::config::AnalystConfig;
use linkage_analyst::study::{StudyStore, TakenRun};
use linkage_common::clock::SystemClock;
use linkage_common::gate::Gate;
use serde_json::json;

use super::config;
use crate::cli::{print_json, say};

/// What `linkage cohort changes` is told.
#[derive(Debug, Args)]
pub struct ChangesArgs {
    /// Configuration file of the analyst's side.
    #[arg(long)]
    config: PathBuf,
    /// Only what was changed after this run.
    #[arg(long)]
    since: Option<RunId>,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// What `linkage cohort rebuild` is told.
#[derive(Debug, Args)]
pub struct RebuildArgs {
    /// Configuration file of the analyst's side.
    #[arg(long)]
    config: PathBuf,
}

/// Prints, run by run, how many persons were merged and split, and which months and partners hold rows that changed.
pub fn changes(args: &ChangesArgs) -> anyhow::Result<()> {
    let config: AnalystConfig = config(&args.config)?;
    let gate = Gate::load(&config.agreement, std::sync::Arc::new(SystemClock))?;
    gate.in_force()?;
    let runs = StudyStore::open(&config.data_dir, gate.agreement())?.runs()?;
    let from = match &args.since {
        None => 0,
        Some(since) => match runs.iter().position(|taken| taken.run == *since) {
            Some(at) => at + 1,
            None => bail!("le traitement {since} n'est pas ici ; « linkage cohort changes » sans --since montre ceux qui y sont"),
        },
    };
    let shown = runs.get(from..).unwrap_or_default();
    if args.json {
        return print_json(&json!({ "runs": shown }));
    }
    if shown.is_empty() {
        say("aucun traitement depuis lors");
    }
    for taken in shown {
        say(&line(taken));
    }
    Ok(())
}

/// One run in words. Months and partners are named without counts: how many of a partner's persons were merged is a figure
/// that has passed no disclosure control.
fn line(taken: &TakenRun) -> String {
    let count = |n: u64, one: &str, more: &str| format!("{n} {}", if n < 2 { one } else { more });
    let changes = &taken.changes;
    let what = format!("{}, {}", count(changes.merges, "fusion", "fusions"), count(changes.splits, "scission", "scissions"));
    let touched: Vec<String> = taken
        .touched
        .iter()
        .map(|t| {
            let parties: Vec<&str> = t.parties.iter().map(linkage_agreement::PartyId::as_str).collect();
            format!("{} ({})", t.period, parties.join(", "))
        })
        .collect();
    let cohorts = if touched.is_empty() { "aucune".to_owned() } else { touched.join(", ") };
    format!("{} ({}) : {what}, cohortes touchées : {cohorts}", taken.run, taken.period)
}

/// Makes the study again.
pub async fn rebuild(args: &RebuildArgs) -> anyhow::Result<()> {
    let config: AnalystConfig = config(&args.config)?;
    let fetched = linkage_analyst::rebuild(&config).await?;
    let gate = Gate::load(&config.agreement, std::sync::Arc::new(SystemClock))?;
    let study = StudyStore::open(&config.data_dir, gate.agreement())?.study()?;
    say(&format!(
        "étude reconstruite : {} mois, {} personnes ; {} traitements redemandés au tiers de confiance",
        study.months.len(),
        study.persons,
        fetched.len()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use linkage_analyst::study::Touched;
    use linkage_cohort::supersede::Changes;

    use super::*;

    #[test]
    fn a_run_is_told_in_one_line() {
        let mut taken = TakenRun {
            run: "2024-03-full".parse().unwrap(),
            period: "2024-03".parse().unwrap(),
            position: 3,
            changes: Changes { merges: 12, splits: 1, persons: 26, records: 4 },
            touched: vec![Touched {
                period: "2024-01".parse().unwrap(),
                parties: vec!["ccas".parse().unwrap(), "siao".parse().unwrap()],
            }],
        };
        assert_eq!(line(&taken), "2024-03-full (2024-03) : 12 fusions, 1 scission, cohortes touchées : 2024-01 (ccas, siao)");
        taken.changes = Changes::default();
        taken.touched.clear();
        assert_eq!(line(&taken), "2024-03-full (2024-03) : 0 fusion, 0 scission, cohortes touchées : aucune");
    }
}
