//! `linkage keys`: a role draws its own keys on its own machine and publishes the public parts in the agreement.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use linkage_common::config::{load_config, write_secret};
use linkage_common::{fsx, rng};
use linkage_crypto::oprf::ServerKey;
use linkage_crypto::pseudonym::{AnalystScalar, CustodianScalar};
use linkage_crypto::seal::SealingKey;
use linkage_crypto::signing::SigningKey;
use linkage_node::config::NodeConfig;
use linkage_node::rotate_storage_key;
use rand_core::Rng;

use crate::cli::say;

/// Roles that have keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// A partner's node.
    #[value(help = "Nœud d'un partenaire")]
    Party,
    /// The broker.
    #[value(help = "Courtier")]
    Broker,
    /// The custodian.
    #[value(help = "Tiers de confiance")]
    Custodian,
    /// An analyst.
    #[value(help = "Équipe d'étude")]
    Analyst,
}

/// Commands on keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Draw the keys of a role; print what goes into the agreement. Existing keys are never replaced.
    New {
        /// The role.
        #[arg(long, value_enum)]
        role: RoleName,
        /// Folder of the key files, each readable by its owner only.
        #[arg(long)]
        out: PathBuf,
    },
    /// Replace the storage key of a stopped node: its whole state is sealed under a new one. Repeat it if it was interrupted.
    RotateStorage {
        /// Configuration file of the node.
        #[arg(long)]
        config: PathBuf,
        /// File of a key drawn elsewhere, which the configuration is to name afterwards; drawn here when absent.
        #[arg(long)]
        new_key: Option<PathBuf>,
    },
}

/// Runs a command.
pub fn run(command: KeysCommand) -> anyhow::Result<()> {
    match command {
        KeysCommand::New { role, out } => new(role, &out),
        KeysCommand::RotateStorage { config, new_key } => rotate_storage(&config, new_key.as_deref()),
    }
}

fn rotate_storage(path: &Path, new_key: Option<&Path>) -> anyhow::Result<()> {
    if !load_config::<toml::Table>(path)?.contains_key("storage_key") {
        bail!(
            "{} : ce rôle n'a pas de clé de stockage ; seuls les nœuds chiffrent leur état (chiffrez ce disque par le système)",
            path.display()
        );
    }
    let done = rotate_storage_key(&load_config::<NodeConfig>(path)?, new_key)?;
    let again = if done.resumed { " (renouvellement interrompu, achevé)" } else { "" };
    say(&format!("{} fichiers chiffrés avec la nouvelle clé de stockage{again}", done.files));
    say(&match new_key {
        None => format!(
            "{} tient la nouvelle clé ; l'ancienne est détruite. Faites une sauvegarde, puis détruisez les précédentes : elles contiennent l'ancienne clé.",
            done.key.display()
        ),
        Some(_) => format!(
            "Écrivez maintenant {} dans storage_key de {}, puis détruisez l'ancienne clé.",
            done.key.display(),
            path.display()
        ),
    });
    Ok(())
}

fn new(role: RoleName, out: &Path) -> anyhow::Result<()> {
    if out.join("signing.key").try_exists()? {
        bail!("{} contient déjà des clés : choisissez un autre dossier, ou supprimez-les vous-même", out.display());
    }
    fsx::create_private_dir(out)?;
    let mut rng = rng();
    let signing = SigningKey::generate(&mut rng);
    write_secret(&out.join("signing.key"), &signing.to_bytes())?;
    say(&format!("signing_key = \"{}\"", signing.verifying_key().to_base64()));
    if matches!(role, RoleName::Party | RoleName::Analyst) {
        let sealing = SealingKey::generate(&mut rng);
        write_secret(&out.join("sealing.key"), &sealing.to_bytes())?;
        say(&format!("sealing_key = \"{}\"", sealing.public_key().to_base64()));
    }
    match role {
        RoleName::Party => {
            let mut key = zeroize::Zeroizing::new([0; 32]);
            rng.fill_bytes(key.as_mut_slice());
            write_secret(&out.join("storage.key"), &key)?;
        }
        RoleName::Custodian => {
            let oprf = ServerKey::generate(&mut rng);
            write_secret(&out.join("oprf.key"), &oprf.to_bytes())?;
            write_secret(&out.join("pseudonym.key"), &CustodianScalar::generate(&mut rng).to_bytes())?;
            say(&format!("oprf_public_key = \"{}\"", oprf.public_key().to_base64()));
        }
        RoleName::Analyst => write_secret(&out.join("pseudonym.key"), &AnalystScalar::generate(&mut rng).to_bytes())?,
        RoleName::Broker => {}
    }
    Ok(())
}
