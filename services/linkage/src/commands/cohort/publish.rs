//! `linkage cohort publish|export`: tables put forward for publication, and their files.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use linkage_agreement::PartyId;
use linkage_analyst::access::Who;
use linkage_analyst::desk::{Desk, read_query};
use linkage_analyst::journal::{Listed, State};
use linkage_analyst::publish::{PublicationId, Question};
use linkage_common::fsx;
use serde_json::{Value, json};

use super::{config, query_file};
use crate::cli::{print_json, say};

/// What is published, and why.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// Query document, TOML or JSON.
    file: PathBuf,
    /// Configuration file of the analyst's side.
    #[arg(long)]
    config: PathBuf,
    /// Why it is published, for the journal and the producers.
    #[arg(long)]
    justification: String,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// Which publication leaves as a file.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Identifier of the publication.
    id: String,
    /// Configuration file of the analyst's side.
    #[arg(long)]
    config: PathBuf,
    /// The file to write; its ending says the form: csv, xlsx, html, json.
    #[arg(long)]
    output: PathBuf,
}

/// A publication as facts.
pub fn facts(publication: &Listed) -> Value {
    let decisions: Vec<Value> = publication
        .decisions
        .iter()
        .map(|d| json!({ "party": d.party, "approved": d.verdict.reason().is_empty(), "reason": d.verdict.reason(), "at": d.at }))
        .collect();
    json!({
        "id": publication.id, "state": state(publication.state), "title": publication.title,
        "justification": publication.justification, "by": publication.by, "at": publication.at,
        "published_at": publication.published_at, "producers": publication.producers, "decisions": decisions,
        "fingerprint": hex::encode(publication.fingerprint.0),
    })
}

fn state(state: State) -> &'static str {
    match state {
        State::Proposed => "proposed",
        State::Published => "published",
        State::Rejected => "rejected",
    }
}

/// A publication on one line.
pub fn line(publication: &Listed) -> String {
    let mut text = format!("{}  {}  « {} »", publication.id, publication.state.french(), publication.title);
    let awaited: Vec<&str> = publication.awaited().into_iter().map(PartyId::as_str).collect();
    if publication.state == State::Proposed {
        text.push_str(&format!(" ; attend l'accord de {}", awaited.join(", ")));
    }
    for decision in publication.decisions.iter().filter(|d| !d.verdict.reason().is_empty()) {
        text.push_str(&format!(" ; rejeté par {} : {}", decision.party, decision.verdict.reason()));
    }
    text
}

/// Puts a table forward.
pub async fn publish(args: PublishArgs) -> anyhow::Result<()> {
    let desk = Arc::new(Desk::of(&config(&args.config)?).await?);
    let question = Question::Query(read_query(&query_file(&args.file)?)?);
    let made = desk.publish(&question, &args.justification, &Who::console()).await?;
    if args.json {
        return print_json(&facts(&made));
    }
    say(&line(&made));
    say(&format!("Empreinte : {}", made.fingerprint));
    let terms = &desk.gate().agreement().disclosure;
    let month = linkage_agreement::Period::of(desk.gate().today());
    let spent = desk.journal().spent(desk.analyst(), month).await?;
    say(&format!("Budget de {month} : {spent} tableau(x) sur {}", terms.tables_per_month()));
    Ok(())
}

/// Writes a publication's file.
pub async fn export(args: ExportArgs) -> anyhow::Result<()> {
    let desk = Desk::of(&config(&args.config)?).await?;
    let id: PublicationId = args.id.parse()?;
    let bytes = desk.export(&id, super::format_of(&args.output)?, &Who::console()).await?;
    fsx::write_atomic(&args.output, &bytes)?;
    let published = desk.journal().get(&id).await?.state == State::Published;
    let kind = if published { "Publication écrite" } else { "Brouillon écrit (non publié)" };
    say(&format!("{kind} : {}", args.output.display()));
    Ok(())
}
