//! `linkage broker|custodian|analyst serve`.

use std::path::PathBuf;

use clap::Subcommand;

use super::{config, shutdown};
use crate::cli::say;

/// The one command of broker and custodian.
#[derive(Debug, Subcommand)]
pub enum ServeCommand {
    /// Serve until stopped.
    Serve {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
    },
}

/// Commands of the analyst's side.
#[derive(Debug, Subcommand)]
pub enum AnalystCommand {
    /// Serve until stopped; fetches link tables as they become ready.
    Serve {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Fetch the link tables that are ready, once.
    Fetch {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
    },
}

/// Runs the broker.
pub async fn broker(command: ServeCommand) -> anyhow::Result<()> {
    let ServeCommand::Serve { config: path } = command;
    Ok(linkage_broker::serve(config(&path)?, shutdown()).await?)
}

/// Runs the custodian.
pub async fn custodian(command: ServeCommand) -> anyhow::Result<()> {
    let ServeCommand::Serve { config: path } = command;
    Ok(linkage_custodian::serve(config(&path)?, shutdown()).await?)
}

/// Runs the analyst's side.
pub async fn analyst(command: AnalystCommand) -> anyhow::Result<()> {
    match command {
        AnalystCommand::Serve { config: path } => {
            let announce = |link: &str| say(&format!("Page, lien à usage unique : {link}"));
            Ok(linkage_analyst::serve_announcing(config(&path)?, announce, shutdown()).await?)
        }
        AnalystCommand::Fetch { config: path } => {
            let runs = linkage_analyst::fetch_once(&config(&path)?).await?;
            say(&format!("{} table(s) de liens reçue(s)", runs.len()));
            Ok(())
        }
    }
}
