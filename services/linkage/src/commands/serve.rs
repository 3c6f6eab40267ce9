//! `linkage broker|custodian|analyst serve`, and the custodian's OPRF keys.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use clap::Subcommand;
use linkage_agreement::PartyId;
use linkage_common::clock::SystemClock;
use linkage_common::gate::Gate;
use linkage_custodian::config::CustodianConfig;
use linkage_custodian::oprf_keys;

use super::{analyst, config, shutdown};
use crate::cli::say;

/// The one command of the broker.
#[derive(Debug, Subcommand)]
pub enum ServeCommand {
    /// Serve until stopped.
    Serve {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
    },
}

/// Commands of the custodian.
#[derive(Debug, Subcommand)]
pub enum CustodianCommand {
    /// Serve until stopped.
    Serve {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// OPRF keys, one for each epoch: draw the next one, destroy the former one.
    #[command(subcommand)]
    OprfKey(OprfKeyCommand),
}

/// Commands on OPRF keys.
#[derive(Debug, Subcommand)]
pub enum OprfKeyCommand {
    /// Draw the key of the next epoch beside the present one; print what the amendment says of it.
    Next {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Destroy the key of the former epoch, once every party has called under the amendment.
    DestroyFormer {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Also while parties are waited for that cannot or will not come.
        #[arg(long)]
        despite: bool,
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
    /// Who has come in; switch accounts off and on, sessions that are open included.
    #[command(subcommand)]
    Users(analyst::UsersCommand),
    /// The access log.
    #[command(subcommand)]
    Access(analyst::AccessCommand),
}

/// Runs the broker.
pub async fn broker(command: ServeCommand) -> anyhow::Result<()> {
    let ServeCommand::Serve { config: path } = command;
    Ok(linkage_broker::serve(config(&path)?, shutdown()).await?)
}

/// Runs the custodian.
pub async fn custodian(command: CustodianCommand) -> anyhow::Result<()> {
    match command {
        CustodianCommand::Serve { config: path } => Ok(linkage_custodian::serve(config(&path)?, shutdown()).await?),
        CustodianCommand::OprfKey(OprfKeyCommand::Next { config: path }) => {
            let next = oprf_keys::next(&config(&path)?)?;
            say(&format!(
                "{} : clé de l'époque {}. À écrire dans l'avenant :\n[custodian]\noprf_public_key = \"{}\"\n[encoding]\noprf_epoch = {}",
                next.file.display(),
                next.epoch,
                next.public_key,
                next.epoch
            ));
            Ok(())
        }
        CustodianCommand::OprfKey(OprfKeyCommand::DestroyFormer { config: path, despite }) => {
            let config: CustodianConfig = config(&path)?;
            let gate = Arc::new(Gate::load(&config.agreement, Arc::new(SystemClock))?);
            let waited = oprf_keys::destroy_former(&config, &gate, despite).await?;
            if waited.is_empty() {
                say(&format!(
                    "Aucune clé d'une époque antérieure n'est plus détenue ici ; celle de l'époque {} reste.",
                    gate.agreement().oprf_epoch()
                ));
                return Ok(());
            }
            let names: Vec<&str> = waited.iter().map(PartyId::as_str).collect();
            bail!(
                "n'ont pas encore appelé sous cette version de la convention : {} ; attendez qu'ils l'aient chargée, ou --despite",
                names.join(", ")
            )
        }
    }
}

/// Runs the analyst's side.
pub async fn analyst(command: AnalystCommand) -> anyhow::Result<()> {
    match command {
        AnalystCommand::Serve { config: path } => {
            let announce = |link: &str| say(&format!("Page, lien à usage unique : {link}"));
            Ok(linkage_analyst::serve_announcing(config(&path)?, announce, shutdown()).await?)
        }
        AnalystCommand::Users(command) => analyst::users(command).await,
        AnalystCommand::Access(command) => analyst::access(command),
        AnalystCommand::Fetch { config: path } => {
            let runs = linkage_analyst::fetch_once(&config(&path)?).await?;
            say(&format!("{} table(s) de liens reçue(s)", runs.len()));
            Ok(())
        }
    }
}
