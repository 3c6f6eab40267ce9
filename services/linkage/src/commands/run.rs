//! `linkage run`: what the coordinator opens and everyone may look at.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use linkage_agreement::{PartyId, Period, RunId};
use linkage_common::order::RunTerms;
use linkage_node::{Node, NodeError};
use linkage_proto::v1::{self, runs_client::RunsClient};
use serde_json::{Value, json};
use linkage_common::tls::Channel;

use super::config;
use crate::cli::{print_json, say};

/// Through whose node.
#[derive(Debug, Args)]
pub struct Through {
    /// Configuration file of a partner's node.
    #[arg(long)]
    config: PathBuf,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// Commands on runs.
#[derive(Debug, Subcommand)]
pub enum RunCommand {
    /// Open a run; for the agreement's coordinator.
    Open {
        #[command(flatten)]
        through: Through,
        /// Name of the run; used once only.
        #[arg(long)]
        run: RunId,
        /// The month.
        #[arg(long)]
        period: Period,
        /// Parties that take part; all when absent.
        #[arg(long)]
        party: Vec<PartyId>,
        /// Reference party: analysts receive only persons of whom it has a record.
        #[arg(long)]
        reference: Option<PartyId>,
        /// Have the broker keep the encodings for increments, for the agreement's encodings_days.
        #[arg(long, conflicts_with = "since")]
        keep: bool,
        /// Open an increment of this kept run: nodes send only what is new or changed since.
        #[arg(long, value_name = "RUN")]
        since: Option<RunId>,
    },
    /// End a run that is not closed and delete what it holds, or delete what a closed one keeps; for the coordinator.
    Cancel {
        #[command(flatten)]
        through: Through,
        /// The run.
        #[arg(long)]
        run: RunId,
    },
    /// State of one run.
    Status {
        #[command(flatten)]
        through: Through,
        /// The run.
        #[arg(long)]
        run: RunId,
    },
    /// All runs.
    List {
        #[command(flatten)]
        through: Through,
    },
}

/// A state's name.
pub fn state_name(state: v1::RunState) -> &'static str {
    match state {
        v1::RunState::Unspecified => "inconnu",
        v1::RunState::Collecting => "collecte",
        v1::RunState::Linking => "rapprochement",
        v1::RunState::Delivering => "remise",
        v1::RunState::Closed => "clos",
        v1::RunState::Cancelled => "annulé",
        v1::RunState::Failed => "en échec",
    }
}

fn facts(run: &v1::RunStatus) -> Value {
    json!({
        "run": run.run_id, "period": run.period, "state": state_name(run.state()), "step": run.step,
        "parties": run.parties, "committed": run.committed, "reason": run.reason,
        "reference_party": (!run.reference_party.is_empty()).then_some(&run.reference_party),
        "base_run": (!run.base_run.is_empty()).then_some(&run.base_run), "held": run.held,
    })
}

fn line(run: &v1::RunStatus) -> String {
    let mut text = format!(
        "{} ({}) : {}, {}/{} partenaires ont envoyé",
        run.run_id,
        run.period,
        state_name(run.state()),
        run.committed.len(),
        run.parties.len()
    );
    if !run.reference_party.is_empty() {
        text.push_str(&format!(" ; partenaire de référence : {}", run.reference_party));
    }
    if !run.base_run.is_empty() {
        text.push_str(&format!(" ; complément de {}", run.base_run));
    }
    if run.held {
        text.push_str(" ; encodages gardés pour des compléments");
    }
    if !run.reason.is_empty() {
        text.push_str(&format!(" ; {}", run.reason));
    }
    text
}

/// A client of the broker through a node.
pub fn client(node: &Node) -> Result<RunsClient<Channel>, NodeError> {
    Ok(RunsClient::new(node.peers()?.broker))
}

/// Runs a command.
pub async fn run(command: RunCommand) -> anyhow::Result<()> {
    let through = match &command {
        RunCommand::Open { through, .. }
        | RunCommand::Cancel { through, .. }
        | RunCommand::Status { through, .. }
        | RunCommand::List { through } => through,
    };
    let (json, node) = (through.json, Node::open(config(&through.config)?)?);
    let mut client = client(&node)?;
    let agreement = Some(node.gate.reference());
    let refused = |status: tonic::Status| NodeError::broker(&status);
    let runs = match command {
        RunCommand::Open { run, period, party, reference, keep, since, .. } => {
            let terms = RunTerms::new(run, period, party).referring_to(reference).adding_to(since).kept(keep);
            vec![client.open_run(node.opening(terms)?).await.map_err(refused)?.into_inner()]
        }
        RunCommand::Cancel { run, .. } => {
            vec![client.cancel_run(v1::RunRequest { agreement, run_id: run.to_string() }).await.map_err(refused)?.into_inner()]
        }
        RunCommand::Status { run, .. } => {
            vec![client.get_run(v1::RunRequest { agreement, run_id: run.to_string() }).await.map_err(refused)?.into_inner()]
        }
        RunCommand::List { .. } => client.list_runs(v1::ListRunsRequest { agreement }).await.map_err(refused)?.into_inner().runs,
    };
    if json {
        return print_json(&runs.iter().map(facts).collect::<Vec<_>>());
    }
    for run in &runs {
        say(&line(run));
    }
    Ok(())
}
