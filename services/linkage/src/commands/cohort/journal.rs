//! `linkage cohort journal`: what was put forward and published, with its seals checked.

use std::path::PathBuf;

use clap::Args;
use linkage_agreement::Period;
use linkage_analyst::access::{Access, Action, Outcome, Who};
use linkage_analyst::desk::Desk;
use linkage_analyst::export::day;
use serde_json::{Value, json};

use super::config;
use super::publish::{facts, line};
use crate::CheckFailed;
use crate::cli::{print_json, say};

/// Which journal.
#[derive(Debug, Args)]
pub struct JournalArgs {
    /// Configuration file of the analyst's side.
    #[arg(long)]
    config: PathBuf,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the journal, the latest first. An altered one is a fault (exit code 3).
pub async fn run(args: JournalArgs) -> anyhow::Result<()> {
    let desk = Desk::of(&config(&args.config)?).await?;
    let who = Who::console();
    desk.access().note(&Access {
        who: &who,
        action: Action::View,
        subject: "journal",
        query: None,
        publication: None,
        outcome: Outcome::Done,
    })?;
    let gate = desk.gate();
    let all = desk.journal().list(0, u32::MAX).await?;
    let checked = desk.journal().check(gate.agreement(), &gate.agreement_hash()).await?;
    let month = Period::of(gate.today());
    let spent = desk.journal().spent(desk.analyst(), month).await?;
    let withdrawals = desk.journal().withdrawals().await?;
    let budget = gate.agreement().disclosure.tables_per_month();
    if args.json {
        print_json(&json!({
            "publications": all.iter().map(facts).collect::<Vec<Value>>(), "month": month, "spent": spent, "budget": budget,
            "withdrawals": withdrawals.iter().map(|(at, publications)| json!({ "at": at, "publications": publications })).collect::<Vec<Value>>(),
            "entries": checked.entries, "altered": checked.altered, "unsigned": checked.unsigned,
        }))?;
    } else {
        for publication in &all {
            say(&format!("{}  {}", day(publication.at), line(publication)));
            say(&format!("    par {} ; motif : {}", publication.by, publication.justification.replace('\n', " ")));
        }
        for (at, publications) in &withdrawals {
            say(&format!(
                "{}  demande d'une personne concernée suivie : {publications} publication(s) reposent sur sa fiche",
                day(*at)
            ));
        }
        say(&format!("Budget de {month} : {spent} tableau(x) sur {budget}"));
        say(&format!(
            "{} entrée(s), chaînage et signatures vérifiés : {} altérée(s), {} signature(s) fausse(s)",
            checked.entries, checked.altered, checked.unsigned
        ));
    }
    if checked.altered + checked.unsigned > 0 { Err(CheckFailed.into()) } else { Ok(()) }
}
