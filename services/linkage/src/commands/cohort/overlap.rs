//! `linkage cohort overlap`: persons by exact combination of parties in a month, asked for like any other query.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use linkage_agreement::Period;
use linkage_analyst::access::Who;
use linkage_analyst::desk::Desk;
use linkage_analyst::export::Format;
use linkage_cohort::Unit;
use linkage_cohort::query::{Grain, Measure, Query, Range};

use super::config;
use super::query::{draft_text, show};
use crate::cli::say;

/// Which month, and how it is shown.
#[derive(Debug, Args)]
pub struct OverlapArgs {
    /// Configuration file of the analyst's side.
    #[arg(long)]
    config: PathBuf,
    /// The month.
    #[arg(long)]
    period: Period,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

/// The question.
pub fn query(period: Period) -> Query {
    Query {
        title: format!("Personnes par combinaison exacte de partenaires, {period}"),
        unit: Unit::Persons,
        measure: Measure::Stock,
        of: None,
        periods: Range { from: period, to: period },
        grain: Grain::Month,
        breakdown: vec!["parties".to_owned()],
        population: None,
    }
}

/// Runs it.
pub async fn run(args: OverlapArgs) -> anyhow::Result<()> {
    let desk = Arc::new(Desk::of(&config(&args.config)?).await?);
    let query = query(args.period);
    let who = Who::console();
    let answer = desk.answer_query(&query, &who).await?;
    if args.json {
        say(draft_text(&desk, &answer, Format::Json, &who)?.trim_end());
    } else {
        show(&answer);
    }
    Ok(())
}
