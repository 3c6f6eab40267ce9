//! Making a backup while the role serves.
//!
//! All files are opened at one moment, for a node under the lock of its state, and read from then on: a file that is replaced
//! stays what it was, and of one that is added to the beginning is taken. Logs are opened first: what is in the state may then be newer
//! than the last entry, and never older.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use linkage_common::audit::{Act, AuditLog, Place, parts};
use linkage_common::backup::{self, AUDIT, Content, Copies, Facts, SETTINGS, STATE, Source};
use linkage_common::clock::{Clock as _, SystemClock};
use linkage_common::gate::Gate;
use linkage_common::schema::Versions;
use linkage_common::store::Pool;
use linkage_crypto::seal::SealingPublicKey;
use linkage_node::Node;

use super::role::Role;
use super::{Target, elsewhere};
use crate::cli::{print_json, say};

/// How long a node's own work is waited for; its lock is then held for as long as it takes to open files.
const PATIENCE: Duration = Duration::from_secs(120);
const ENDING: &str = "linkage-backup";

pub(super) async fn run(config: &Path, target: &Target, to: &SealingPublicKey, json: bool) -> anyhow::Result<()> {
    let role = Role::read(config)?;
    let now = SystemClock.now();
    let out = match (&target.out, &target.folder) {
        (Some(out), _) => out.clone(),
        (None, Some(folder)) => folder.join(format!("{}-{}.{ENDING}", role.kind(), now.strftime("%Y%m%dT%H%M%SZ"))),
        (None, None) => bail!("indiquez --out ou --folder"),
    };
    if out.try_exists()? {
        bail!("{} existe déjà : une sauvegarde n'en remplace jamais une autre, indiquez un autre nom", out.display());
    }
    let schema = match &role.database {
        Some((place, schema)) => match Versions::of(place, schema).await? {
            Versions { found: None, .. } => bail!("{place} : la base n'existe pas encore, il n'y a rien à sauvegarder"),
            Versions { found, .. } => found,
        },
        None => None,
    };
    let gate = Arc::new(Gate::load(&role.agreement, Arc::new(SystemClock))?);
    role.check_keys(gate.agreement())?;
    // For a node as for any command on its state: a rotation of keys keeps it out.
    let node = role.node.clone().map(Node::open).transpose()?;
    let log = AuditLog::open(&role.audit.place(&role.home)?, gate.clone(), role.id.clone())?.by_operator();
    log.note(Act::own("backup.created"))?;
    let head = log.head()?;
    let facts = Facts {
        format: Facts::FORMAT,
        role: role.id.to_string(),
        agreement: hex::encode(gate.agreement_hash()),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        schema,
        at: now.as_second(),
        log: log.place().log,
        entry: head.number,
        chain: hex::encode(head.chain),
        database_elsewhere: role.database_elsewhere(),
        objects_elsewhere: role.objects,
    };
    backup::allow_open_files();
    let mut sources = settings(&role)?;
    let lock = node.as_ref().map(|node| node.vault.lock(PATIENCE)).transpose()?;
    let (logs, own) = (role.audit.folder(&role.home), parts(&role.audit.folder(&role.home), &log.place().log)?);
    files(&logs, "", &mut |relative, path| {
        // Replicas have a log each; a backup of one of them is of all.
        let named = |part: &Place| relative.split('/').next() == Some(part.log.as_str());
        let taken = role.database_elsewhere() && relative.contains('/') || own.iter().any(named);
        if taken && path.extension().is_some_and(|e| e == "jsonl" || e == "json") {
            sources.extend(Source::open(format!("{AUDIT}{relative}"), path)?);
        }
        Ok(())
    })?;
    database(&role, &mut sources).await?;
    files(&role.home, "", &mut |relative, path| {
        if role.takes(relative) && path.is_file() {
            sources.extend(Source::open(format!("{STATE}{relative}"), path)?);
        }
        Ok(())
    })?;
    drop(lock);
    let sealed_to = *to;
    let path = out.clone();
    let manifest = tokio::task::spawn_blocking(move || backup::write(&path, &sealed_to, facts, sources))
        .await?
        .with_context(|| out.display().to_string())?;
    let deleted = match (&target.folder, target.keep_days) {
        (Some(folder), Some(days)) => expire(folder, role.kind(), now.as_second() - i64::from(days) * 86_400)?,
        _ => 0,
    };
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    if json {
        return print_json(&serde_json::json!({
            "file": out, "facts": manifest.facts, "files": manifest.files.len(), "bytes": bytes, "deleted": deleted,
        }));
    }
    say(&format!("Sauvegarde de {} : {}, {} fichier(s), {bytes} octets", role.id, out.display(), manifest.files.len()));
    if deleted > 0 {
        say(&format!("  {deleted} sauvegarde(s) plus ancienne(s) supprimée(s)"));
    }
    elsewhere(role.database_elsewhere(), role.objects);
    Ok(())
}

fn settings(role: &Role) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for setting in &role.settings {
        match setting.read()? {
            Some(bytes) => sources.push(Source { name: format!("{SETTINGS}{}", setting.label), content: Content::Bytes(bytes) }),
            None if setting.key => bail!("{} : clé introuvable, la sauvegarde ne servirait à rien", setting.shown()),
            None => {}
        }
    }
    Ok(sources)
}

/// A copy of the database as it is now, opened and its name forgotten at once.
async fn database(role: &Role, sources: &mut Vec<Source>) -> anyhow::Result<()> {
    let Some((path, schema)) = role.own_database() else { return Ok(()) };
    let name = path.file_name().and_then(|name| name.to_str()).context("nom de la base")?;
    let copies = Copies::begin(&role.home)?;
    let copy = copies.path(name);
    let pool = Pool::connect(role.database.as_ref().map(|(place, _)| place).context("base")?, schema.sqlite_session).await?;
    backup::copy_database(&pool, &copy).await?;
    pool.close().await;
    sources.extend(Source::open(format!("{STATE}{name}"), &copy)?);
    Ok(())
}

/// Every file below `folder` with its path in it; those that vanish meanwhile are none.
fn files(folder: &Path, below: &str, each: &mut impl FnMut(&str, &Path) -> std::io::Result<()>) -> std::io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str() {
            found.push((if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") }, entry.path()));
        }
    }
    found.sort();
    for (relative, path) in found {
        if path.is_dir() {
            // The file system's own, which nobody else may read.
            if relative == "lost+found" {
                continue;
            }
            files(&path, &relative, each)?;
        } else {
            each(&relative, &path)?;
        }
    }
    Ok(())
}

/// Deletes backups of this kind of role whose name says that they were made before `since`.
fn expire(folder: &Path, kind: &str, since: i64) -> anyhow::Result<u64> {
    let mut deleted = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let moment = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-')).and_then(|rest| rest.strip_suffix(ENDING));
        let moment = moment.and_then(|moment| moment.strip_suffix("Z."));
        let made = moment.and_then(|moment| jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S", moment).ok());
        let made = made.and_then(|made| made.to_zoned(jiff::tz::TimeZone::UTC).ok());
        if made.is_some_and(|made| made.timestamp().as_second() < since) {
            fs::remove_file(&path)?;
            deleted += 1;
        }
    }
    Ok(deleted)
}
