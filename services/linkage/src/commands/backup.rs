//! `linkage backup`: backups of roles, sealed to a key that is kept offline, and their restoration.
//!
//! What is in a backup and what is not, and how a restoration goes, is in docs/sauvegarde.md; the file's form in
//! [`linkage_common::backup`]. A backup is made while the role serves. Nothing here prints a key or a name.

mod create;
mod former;
mod logs;
mod names;
mod restore;
mod role;
mod trust;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use linkage_common::backup;
use linkage_common::{fsx, rng};
use linkage_crypto::seal::{SealingKey, SealingPublicKey};

use crate::cli::{print_json, say};
use role::Role;
use trust::{Recognised, Trust, in_place, recognise};

const KEY_LIMIT: u64 = 4096;
const PRIVATE: &str = "secours.key";
const PUBLIC: &str = "secours.pub";

/// Commands on backups.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Draw a recovery key: the private part is for a safe, the public one for the machines that are saved.
    Keys {
        /// Folder of the two files.
        #[arg(long)]
        out: PathBuf,
    },
    /// Save a role, while it serves.
    Create {
        /// Configuration file of the role.
        #[arg(long)]
        config: PathBuf,
        #[command(flatten)]
        target: Target,
        /// File of the recovery key's public part.
        #[arg(long, value_name = "FICHIER")]
        to: PathBuf,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Read a whole backup, compare every digest and the role's signature, and say what it is of.
    Verify {
        /// The backup.
        file: PathBuf,
        /// File of the recovery key's private part.
        #[arg(long, value_name = "FICHIER")]
        key: PathBuf,
        /// Configuration file of the role, whose agreement is in place.
        #[arg(long, value_name = "FICHIER")]
        config: Option<PathBuf>,
        #[command(flatten)]
        trust: Trust,
        /// Print the manifest as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put a role's state back, where there is none or an older one; the role is stopped.
    Restore(RestoreArgs),
    /// Write what is in a backup to an empty folder, keys in the clear: to put them where a restoration cannot.
    Extract {
        /// The backup.
        file: PathBuf,
        /// File of the recovery key's private part.
        #[arg(long, value_name = "FICHIER")]
        key: PathBuf,
        /// Folder, made private; it must not be there yet.
        #[arg(long)]
        out: PathBuf,
        /// Configuration file of the role, whose agreement is in place.
        #[arg(long, value_name = "FICHIER")]
        config: Option<PathBuf>,
        #[command(flatten)]
        trust: Trust,
    },
}

/// Where a backup goes.
#[derive(Debug, Args)]
pub struct Target {
    /// The file; an existing one is never replaced.
    #[arg(long, required_unless_present = "folder", conflicts_with_all = ["folder", "keep_days"])]
    out: Option<PathBuf>,
    /// A folder instead, in which the file is named for its moment.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Delete the folder's backups that are older than so many days, once the new one is there.
    #[arg(long, value_name = "JOURS", requires = "folder", value_parser = clap::value_parser!(u32).range(1..))]
    keep_days: Option<u32>,
}

/// What is restored, and where.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup.
    file: PathBuf,
    /// Configuration file of the role; written from the backup when it is not there.
    #[arg(long)]
    config: PathBuf,
    /// File of the recovery key's private part.
    #[arg(long, value_name = "FICHIER")]
    key: PathBuf,
    /// The role's folder as it was, moved aside: objections, certificates and audit log that are newer than the backup are
    /// brought over from it.
    #[arg(long, value_name = "DOSSIER")]
    former: Option<PathBuf>,
    /// File of the storage key that the folder of `--former`, a node's, is sealed under, where it was renewed after the backup: the
    /// renewed one, in service when the node was stopped.
    #[arg(long, value_name = "FICHIER", requires = "former")]
    former_key: Option<PathBuf>,
    /// File with the address of the former database of an analyst's side, where it is on a PostgreSQL server: left there under another
    /// name when the host put the restored one in its place. It is only read: accounts that were switched off since stay off.
    #[arg(long, value_name = "FICHIER")]
    former_database: Option<PathBuf>,
    #[command(flatten)]
    trust: Trust,
    /// Write where the configuration in the backup says, outside the folder of `--config` too; they are shown without this.
    #[arg(long)]
    paths_accepted: bool,
    /// Put an audit log back that does not verify.
    #[arg(long)]
    accept_faulty_log: bool,
    /// Restore a backup that is older than the agreement lets its contents be.
    #[arg(long)]
    accept_expired: bool,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs a command.
///
/// # Errors
/// What is wrong, and what to do.
pub async fn run(command: BackupCommand) -> anyhow::Result<()> {
    match command {
        BackupCommand::Keys { out } => keys(&out),
        BackupCommand::Create { config, target, to, json } => create::run(&config, &target, &public_key(&to)?, json).await,
        BackupCommand::Verify { file, key, config, trust, json } => {
            tell(&recognised(&file, &private_key(&key)?, config.as_deref(), &trust)?, json)
        }
        BackupCommand::Restore(args) => restore::run(args).await,
        BackupCommand::Extract { file, key, out, config, trust } => {
            if out.try_exists()? {
                bail!("{} existe déjà : indiquez un dossier neuf", out.display());
            }
            let key = private_key(&key)?;
            extract(&file, &key, &recognised(&file, &key, config.as_deref(), &trust)?, &out)
        }
    }
}

fn keys(out: &Path) -> anyhow::Result<()> {
    let (private, public) = (out.join(PRIVATE), out.join(PUBLIC));
    if private.try_exists()? || public.try_exists()? {
        bail!("{} contient déjà une clé de secours : choisissez un autre dossier", out.display());
    }
    fsx::create_private_dir(out)?;
    let key = SealingKey::generate(&mut rng());
    fsx::write_atomic(&private, key.to_key_file().as_bytes())?;
    fsx::write_atomic_public(&public, format!("{}\n", key.public_key().to_base64()).as_bytes())?;
    say(&format!("Clé de secours : {} (au coffre, hors ligne, en deux exemplaires) et {}", private.display(), public.display()));
    say("Sans la première, aucune sauvegarde ne se rouvre ; avec elle, qui tient une sauvegarde tient toutes les clés du rôle.");
    Ok(())
}

fn private_key(path: &Path) -> anyhow::Result<SealingKey> {
    let text = fsx::read_private(path, KEY_LIMIT)?;
    let text = std::str::from_utf8(&text).with_context(|| format!("{} : ce n'est pas une clé de secours", path.display()))?;
    SealingKey::from_key_file(text).with_context(|| path.display().to_string())
}

fn public_key(path: &Path) -> anyhow::Result<SealingPublicKey> {
    let text = fsx::read_text(path, KEY_LIMIT)?;
    SealingPublicKey::from_base64(text.trim()).with_context(|| path.display().to_string())
}

/// A backup held against the role whose configuration `config` is, and the agreement that it names.
fn recognised(file: &Path, key: &SealingKey, config: Option<&Path>, trust: &Trust) -> anyhow::Result<Recognised> {
    let there = config.map(|config| in_place(&Role::read(config)?)).transpose()?;
    recognise(file, key, there, trust)
}

fn extract(file: &Path, key: &SealingKey, backup: &Recognised, out: &Path) -> anyhow::Result<()> {
    fsx::create_private_dir(out)?;
    let again = backup::read::<anyhow::Error>(
        file,
        key,
        |_| Ok(()),
        |name, bytes| {
            unpack(&out.join(name), bytes)?;
            Ok(())
        },
    )?;
    backup.is_still(again)?;
    say(&format!(
        "{} fichier(s) dans {}, clés en clair : supprimez ce dossier après usage.",
        backup.manifest.files.len(),
        out.display()
    ));
    Ok(())
}

/// Writes a file of a backup, in private folders.
fn unpack(path: &Path, bytes: &mut dyn std::io::Read) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fsx::create_private_dir(folder)?;
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    std::io::copy(bytes, &mut options.open(path)?).map(drop)
}

fn time(at: i64) -> Timestamp {
    Timestamp::from_second(at).unwrap_or_default()
}

fn tell(backup: &Recognised, json: bool) -> anyhow::Result<()> {
    let manifest = &backup.manifest;
    if json {
        return print_json(manifest);
    }
    let facts = &manifest.facts;
    say(&format!("Sauvegarde intacte de {}, faite le {} par la version {}", facts.role, time(facts.at), facts.software));
    say(if backup.is_signed() {
        "  Signature de ce rôle vérifiée, avec la clé que sa convention nomme"
    } else {
        "  Sans signature : rien ne dit qui l'a faite"
    });
    say(&format!("  Convention : {}", facts.agreement));
    say(&format!("  Journal d'audit « {} » : entrée n° {}", facts.log, facts.entry));
    if let Some(schema) = facts.schema {
        say(&format!("  Schéma de la base : version {schema}"));
    }
    let mut kinds: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for file in &manifest.files {
        let kind = file.name.split('/').next().unwrap_or_default();
        let sums = kinds.entry(kind).or_default();
        *sums = (sums.0 + 1, sums.1 + file.bytes);
    }
    for (kind, (files, bytes)) in kinds {
        let kind = match kind {
            "settings" => "configuration, clés, convention",
            "audit" => "journal d'audit",
            _ => "état",
        };
        say(&format!("  {kind} : {files} fichier(s), {bytes} octets"));
    }
    elsewhere(facts.database_elsewhere, facts.objects_elsewhere);
    Ok(())
}

fn elsewhere(database: bool, objects: bool) {
    if database {
        say(
            "  La base PostgreSQL n'est pas dans ce fichier : sauvegardez-la par les outils de l'hébergeur (pg_dump), avant celui-ci.",
        );
    }
    if objects {
        say("  Le stockage d'objets n'est pas dans ce fichier, et n'a pas à l'être : il ne tient que des encodages en cours.");
    }
}
