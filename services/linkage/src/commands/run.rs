//! `linkage run`: what the coordinator opens and everyone may look at.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use linkage_agreement::{PartyId, Period, RunId};
use linkage_common::order::RunTerms;
use linkage_common::tls::Channel;
use linkage_node::{Node, NodeError};
use linkage_proto::v1::{self, runs_client::RunsClient};
use serde_json::{Value, json};

use super::config;
use crate::cli::{note, print_json, say};

/// Pause between two looks at a run that is followed.
const LOOK: Duration = Duration::from_secs(2);

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
        #[arg(long, required_unless_present = "name")]
        run: Option<RunId>,
        /// The run.
        #[arg(value_name = "RUN", conflicts_with = "run")]
        name: Option<RunId>,
        /// Look again until the run has ended, and print what changes.
        #[arg(long)]
        watch: bool,
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

/// Parties that have not sent everything yet.
fn awaited(run: &v1::RunStatus) -> Vec<&str> {
    run.parties.iter().filter(|party| !run.committed.contains(party)).map(String::as_str).collect()
}

/// A time as the broker tells it; none when it has nothing to tell.
fn at(seconds: i64) -> Option<Timestamp> {
    (seconds > 0).then(|| Timestamp::from_second(seconds).ok()).flatten()
}

/// Whether nothing more can happen to the run.
fn ended(run: &v1::RunStatus) -> bool {
    matches!(run.state(), v1::RunState::Closed | v1::RunState::Cancelled | v1::RunState::Failed)
}

/// How far the run is and when it may end, in words; nothing of one that has ended.
fn forecast_text(run: &v1::RunStatus) -> Option<String> {
    let forecast = run.forecast.as_ref().filter(|_| !ended(run))?;
    if run.state() == v1::RunState::Collecting {
        return Some(format!("attend encore {} ; prévision indisponible d'ici là", awaited(run).join(", ")));
    }
    let mut text = format!("étape {} sur {}", (forecast.done + 1).min(forecast.total), forecast.total);
    if forecast.step_since > 0 {
        text.push_str(&format!(", commencée il y a {}", lasting(forecast.as_of - forecast.step_since)));
    }
    text.push_str(&match at(forecast.expected_end) {
        Some(end) => format!(
            " ; fin prévue dans {} environ ({} UTC)",
            lasting(forecast.expected_end - forecast.as_of),
            end.strftime("%Y-%m-%d %H:%M")
        ),
        None => " ; prévision indisponible".to_owned(),
    });
    Some(text)
}

/// A length of time in words.
fn lasting(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s} s"),
        s @ 60..5400 => format!("{} min", (s + 30) / 60),
        s => format!("{} h {:02}", s / 3600, s % 3600 / 60),
    }
}

fn facts(run: &v1::RunStatus) -> Value {
    let forecast = run.forecast.as_ref();
    json!({
        "run": run.run_id, "period": run.period, "state": state_name(run.state()), "step": run.step,
        "parties": run.parties, "committed": run.committed, "reason": run.reason,
        "reference_party": (!run.reference_party.is_empty()).then_some(&run.reference_party),
        "base_run": (!run.base_run.is_empty()).then_some(&run.base_run), "held": run.held,
        "awaited": awaited(run),
        "done": forecast.map(|f| f.done), "total": forecast.map(|f| f.total),
        "step_since": forecast.and_then(|f| at(f.step_since)), "expected_end": forecast.and_then(|f| at(f.expected_end)),
        "forecast": forecast_text(run),
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
    if let Some(forecast) = forecast_text(run) {
        text.push_str(&format!(" ; {forecast}"));
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

/// Prints the run whenever what there is to say of it changes, until it has ended. A broker that is away is waited for.
async fn follow(mut client: RunsClient<Channel>, request: v1::RunRequest, json: bool) -> anyhow::Result<()> {
    let mut said = String::new();
    let mut away = false;
    loop {
        match client.get_run(request.clone()).await.map(tonic::Response::into_inner) {
            Ok(run) => {
                away = false;
                // The passing time alone is no change.
                let mut still = run.clone();
                still.forecast = still.forecast.map(|f| v1::RunForecast { as_of: 0, ..f });
                let news = format!("{still:?}");
                if news != said {
                    said = news;
                    say(&if json { facts(&run).to_string() } else { line(&run) });
                }
                if ended(&run) {
                    return Ok(());
                }
            }
            Err(status) => {
                let error = NodeError::broker(&status);
                if !error.is_passing() {
                    return Err(error.into());
                }
                if !std::mem::replace(&mut away, true) {
                    note(&format!("linkage : {error} ; nouvel essai"));
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
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
        RunCommand::Status { run, name, watch, .. } => {
            let run_id = run.or(name).map(|run| run.to_string()).unwrap_or_default();
            let request = v1::RunRequest { agreement, run_id };
            if watch {
                return follow(client, request, json).await;
            }
            vec![client.get_run(request).await.map_err(refused)?.into_inner()]
        }
        RunCommand::List { .. } => {
            let request = v1::ListRunsRequest { agreement, ..Default::default() };
            client.list_runs(request).await.map_err(refused)?.into_inner().runs
        }
    };
    if json {
        return print_json(&runs.iter().map(facts).collect::<Vec<_>>());
    }
    for run in &runs {
        say(&line(run));
    }
    Ok(())
}
