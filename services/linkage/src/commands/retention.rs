//! `linkage retention`: the operator's word on a role's clock.
//!
//! A role deletes nothing by a clock that has leapt (docs/conservation.md): what is deleted does not come back. When no peer's clock
//! can be heard that shows the same, only somebody who has looked at it can say that it is right.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use linkage_common::clock::{Clock as _, SystemClock};
use linkage_common::retention::{confirm, last_believed};
use serde::Deserialize;
use serde_json::json;

use super::config;
use crate::cli::{print_json, say};

/// Commands on the deletions of a role.
#[derive(Debug, Subcommand)]
pub enum RetentionCommand {
    /// Say that this machine's clock is right, after it was looked at: deletions go on by it.
    Confirm {
        /// Configuration file of the role.
        #[arg(long)]
        config: PathBuf,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Of a role's configuration, what says where its own folder is.
#[derive(Debug, Deserialize)]
struct AnyRole {
    #[serde(default)]
    state_dir: Option<PathBuf>,
    #[serde(default)]
    data_dir: Option<PathBuf>,
}

fn home(path: &Path) -> anyhow::Result<PathBuf> {
    let role: AnyRole = config(path)?;
    role.state_dir.or(role.data_dir).ok_or_else(|| {
        anyhow::anyhow!("{} : ni « state_dir » ni « data_dir » : donnez la configuration d'un rôle", path.display())
    })
}

/// Runs the command.
///
/// # Errors
/// The configuration, or the folder, cannot be used.
pub fn run(command: RetentionCommand) -> anyhow::Result<()> {
    let RetentionCommand::Confirm { config, json } = command;
    let (home, now) = (home(&config)?, SystemClock.now());
    let before = last_believed(&home);
    confirm(&home, now)?;
    if json {
        return print_json(&json!({"now": now, "before": before}));
    }
    let before = before.map_or_else(|| "aucune".to_owned(), |before| before.to_string());
    say(&format!(
        "Horloge confirmée : {now} (dernière date crue : {before}). Le service reprend ses suppressions à son prochain passage."
    ));
    Ok(())
}
