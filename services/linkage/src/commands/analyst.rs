//! `linkage analyst users|access`: who may come in to an analyst's side, and whether its access log is whole.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use linkage_analyst::access::{Access, AccessLog, Action, Outcome, Who};
use linkage_analyst::config::AnalystConfig;
use linkage_analyst::desk::Desk;
use linkage_analyst::export::day;
use linkage_analyst::users::{Switch, User, UserId};
use linkage_common::clock::SystemClock;
use serde_json::json;

use super::audit::Log;
use super::config;
use crate::CheckFailed;
use crate::cli::{note, print_json, say, table};

/// Commands on accounts.
#[derive(Debug, Subcommand)]
pub enum UsersCommand {
    /// Who has come in, the latest first.
    List {
        /// Configuration file of the analyst's side.
        #[arg(long)]
        config: PathBuf,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Close every door to an account, and the sessions that are open.
    Disable {
        #[command(flatten)]
        whom: Whom,
        /// Why, for the access log's readers.
        #[arg(long)]
        reason: String,
        /// Also one who never came in.
        #[arg(long)]
        never_seen: bool,
    },
    /// Let an account come in again.
    Enable {
        #[command(flatten)]
        whom: Whom,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// Whose account.
#[derive(Debug, Args)]
pub struct Whom {
    /// The account, as `list` gives it: login:SUBJECT, certificate:URI or "console:uid N".
    account: UserId,
    /// Configuration file of the analyst's side.
    #[arg(long)]
    config: PathBuf,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// Commands on the access log.
#[derive(Debug, Subcommand)]
pub enum AccessCommand {
    /// Verify its chain, and that it is the log that the audit log was told of; says file and line of the first fault.
    Verify {
        /// Configuration file of the analyst's side.
        #[arg(long)]
        config: PathBuf,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command on accounts.
pub async fn users(command: UsersCommand) -> anyhow::Result<()> {
    let (whom, on, reason, unseen) = match command {
        UsersCommand::List { config, json } => return list(&config, json).await,
        UsersCommand::Disable { whom, reason, never_seen } => (whom, false, reason, never_seen),
        UsersCommand::Enable { whom, reason } => (whom, true, reason, false),
    };
    let desk = Desk::of(&config(&whom.config)?).await?;
    let who = Who::console();
    let user = desk.switch(Switch { id: &whom.account, on, by: &who, reason: &reason, unseen }).await?;
    if whom.json {
        return print_json(&user);
    }
    say(&match (user.enabled, user.last_seen) {
        (true, _) => format!("{} : compte actif", user.id),
        (false, Some(_)) => format!("{} : compte désactivé ; ses sessions se ferment à leur prochaine demande", user.id),
        (false, None) => format!("{} : compte désactivé ; personne n'est encore venu sous ce nom", user.id),
    });
    Ok(())
}

async fn list(path: &std::path::Path, json: bool) -> anyhow::Result<()> {
    let desk = Arc::new(Desk::of(&config(path)?).await?);
    let who = Who::console();
    let (action, outcome) = (Action::View, Outcome::Done);
    desk.access().note(&Access { who: &who, action, subject: "utilisateurs", query: None, publication: None, outcome })?;
    let users = desk.users().list().await?;
    if json {
        return print_json(&users);
    }
    let seen = |user: &User| user.last_seen.map_or_else(|| "jamais".to_owned(), |at| day(at).to_string());
    let state = |user: &User| match &user.changed {
        Some(change) if !user.enabled => format!("désactivé le {} par {} : {}", day(change.at), change.by, change.reason),
        _ => if user.enabled { "actif" } else { "désactivé" }.to_owned(),
    };
    let row = |user: &User| vec![user.id.to_string(), user.label.clone(), seen(user), user.logins.to_string(), state(user)];
    say(&table(&["compte", "nom", "dernière connexion", "connexions", "état"], &users.iter().map(row).collect::<Vec<_>>()));
    say(&format!("{} compte(s)", users.len()));
    Ok(())
}

/// Runs a command on the access log. One that does not verify, or whose audit log does not, is a fault (exit code 3).
pub fn access(command: AccessCommand) -> anyhow::Result<()> {
    let AccessCommand::Verify { config: path, json } = command;
    let analyst: AnalystConfig = config(&path)?;
    let audit = Log::open(&path)?;
    // What it was told counts only if it is whole itself.
    let audited = if audit.place.folder.is_dir() { audit.verify()?.fault } else { None };
    let report = AccessLog::open(&analyst.data_dir, Arc::new(SystemClock))?.verify(&audit.place)?;
    let sound = report.fault.is_none() && audited.is_none();
    if json {
        print_json(&json!({ "access": report, "audit_fault": audited }))?;
        return if sound { Ok(()) } else { Err(CheckFailed.into()) };
    }
    if let Some(fault) = &audited {
        note(&format!("Journal d'audit : EN DÉFAUT ; {fault}"));
    }
    if let Some(fault) = &report.fault {
        say("Journal des accès : EN DÉFAUT");
        say(&format!("  {fault}"));
        return Err(CheckFailed.into());
    }
    match (report.first, report.last) {
        (Some(first), Some(last)) => {
            say(&format!("Journal des accès : intact, {} lignes, n° {first} à {last}", report.lines));
        }
        _ => say("Journal des accès : aucune ligne chaînée."),
    }
    match report.told {
        Some(number) => say(&format!("  Le journal d'audit en a pris note jusqu'à la ligne n° {number}")),
        None => say("  Le journal d'audit n'en a encore rien pris en note : rien n'empêche à ce stade de le réécrire en entier"),
    }
    if let Some(number) = report.deleted_until {
        say(&format!("  Lignes jusqu'au n° {number} arrivées à leur terme et supprimées"));
    }
    if report.unchained > 0 {
        say(&format!("  {} ligne(s) d'avant le chaînage, non vérifiables", report.unchained));
    }
    if sound { Ok(()) } else { Err(CheckFailed.into()) }
}
