//! `linkage database`: the version of a role's schema, and bringing it forward or back.
//!
//! A role brings its database forward by itself when it starts. The command does it before (a chart's hook, an operator who wants
//! to see it done), and back before an older version of the program is installed. Exit code 3 from `status` says that the
//! database is not of this program's version.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Subcommand;
use linkage_analyst::config::AnalystConfig;
use linkage_broker::config::BrokerConfig;
use linkage_common::database::Place;
use linkage_common::store::{Kind, Pool, Schema};
use linkage_custodian::config::CustodianConfig;
use serde_json::json;

use super::config;
use crate::CheckFailed;
use crate::cli::{print_json, say};

/// Commands on a role's database.
#[derive(Debug, Subcommand)]
pub enum DatabaseCommand {
    /// Say where the database is and which version its schema has.
    Status {
        /// Configuration file of a broker, a custodian or an analyst's side.
        #[arg(long)]
        config: PathBuf,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Bring the schema to this program's version, or to another one.
    Migrate {
        /// Configuration file of a broker, a custodian or an analyst's side.
        #[arg(long)]
        config: PathBuf,
        /// The version to bring it to; this program's without it.
        #[arg(long, value_name = "VERSION")]
        to: Option<i64>,
        /// Go back to an older version: what later ones added is deleted. Stop every replica and back the database up before.
        #[arg(long)]
        back: bool,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// The place and the schema of the role whose configuration this is.
fn role_of(path: &Path) -> anyhow::Result<(Place, &'static Schema)> {
    let text = super::text(path)?;
    let keys: toml::Table = toml::from_str(&text).unwrap_or_default();
    // A file that is none of them is refused by the broker's reader, with file and line.
    Ok(if keys.contains_key("party") {
        bail!(
            "{} : c'est la configuration d'un nœud, qui n'a pas de base de données ; indiquez celle du courtier, du tiers de confiance ou de l'analyste",
            path.display()
        );
    } else if keys.contains_key("analyst") {
        (config::<AnalystConfig>(path)?.place()?, &linkage_analyst::journal::SCHEMA)
    } else if keys.contains_key("oprf_key") {
        (config::<CustodianConfig>(path)?.place()?, &linkage_custodian::store::SCHEMA)
    } else {
        (config::<BrokerConfig>(path)?.place()?, &linkage_broker::store::SCHEMA)
    })
}

/// Opens what is there; a file that is not would be made by opening it.
async fn open(place: &Place, schema: &Schema, make: bool) -> anyhow::Result<Pool> {
    if let (Place::File(path), false) = (place, make)
        && !path.try_exists()?
    {
        bail!(
            "{} : cette base n'existe pas encore ; le service la crée à son démarrage, « linkage database migrate » aussi",
            path.display()
        );
    }
    Ok(Pool::connect(place, schema.sqlite_session).await?)
}

/// Runs a command.
///
/// # Errors
/// What is wrong with configuration or database; [`CheckFailed`] for a schema of another version.
pub async fn run(command: DatabaseCommand) -> anyhow::Result<()> {
    match command {
        DatabaseCommand::Status { config, json } => {
            let (place, schema) = role_of(&config)?;
            let pool = open(&place, schema, false).await?;
            let version = pool.version().await?;
            tell(&pool, schema, version, json)?;
            if version == schema.latest() { Ok(()) } else { Err(CheckFailed.into()) }
        }
        DatabaseCommand::Migrate { config, to, back, json } => {
            let (place, schema) = role_of(&config)?;
            let pool = open(&place, schema, true).await?;
            let (version, target) = (pool.version().await?, to.unwrap_or(schema.latest()));
            if target > schema.latest() {
                bail!(
                    "ce programme connaît les versions jusqu'à {} ; installez-en un plus récent pour la version {target}",
                    schema.latest()
                );
            }
            if target < version && version <= schema.latest() && !back {
                bail!(
                    "revenir de la version {version} à la version {target} supprime ce que les versions suivantes ont ajouté ; arrêtez le service, sauvegardez la base, puis ajoutez --back"
                );
            }
            pool.migrate_to(schema, target).await?;
            tell(&pool, schema, pool.version().await?, json)
        }
    }
}

fn tell(pool: &Pool, schema: &Schema, version: i64, as_json: bool) -> anyhow::Result<()> {
    let (latest, oldest) = (schema.latest(), schema.oldest(pool.kind()));
    let kind = match pool.kind() {
        Kind::Sqlite => "SQLite",
        Kind::Postgres => "PostgreSQL",
    };
    if as_json {
        return print_json(&json!({
            "role": schema.role, "database": kind, "place": pool.place().to_string(),
            "version": version, "program": latest, "oldest_back": oldest,
        }));
    }
    say(&format!("{kind}, {} : version {version} du schéma", pool.place()));
    say(&match version.cmp(&latest) {
        std::cmp::Ordering::Equal => "C'est celle de ce programme.".to_owned(),
        std::cmp::Ordering::Less => {
            format!("Ce programme attend la version {latest} ; il l'y amène à son démarrage (ou : linkage database migrate).")
        }
        std::cmp::Ordering::Greater => format!(
            "Ce programme ne connaît que la version {latest} et la refuse ; installez une version plus récente du programme."
        ),
    });
    say(&format!("Retour possible jusqu'à la version {oldest} (linkage database migrate --to VERSION --back)."));
    Ok(())
}
