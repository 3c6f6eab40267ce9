//! Making a backup while the role serves.
//!
//! All files are opened at one moment, for a node under the lock of its state, and read from then on: a file that is replaced
//! stays what it was, and of one that is added to the beginning is taken. Logs are opened first: what is in the state may then be newer
//! than the last entry, and never older. The audit log says that one was begun, and at the end what came
//! of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use linkage_common::audit::{Act, AuditLog, Place, parts};
use linkage_common::backup::{self, AUDIT, Content, Copies, Facts, Manifest, SETTINGS, STATE, Source};
use linkage_common::clock::{Clock as _, SystemClock};
use linkage_common::gate::Gate;
use linkage_common::schema::Versions;
use linkage_common::signer::Signer;
use linkage_common::store::Pool;
use linkage_crypto::seal::SealingPublicKey;
use linkage_node::Node;

use super::logs::{BEGUN, CREATED};
use super::names::Names;
use super::role::Role;
use super::{Target, elsewhere};
use crate::cli::{note, print_json, say};

/// How long a node's own work is waited for; its lock is then held for as long as it takes to open files.
const PATIENCE: Duration = Duration::from_secs(120);
const COUNTERSIGNATURES: &str = "countersignatures.jsonl";

pub(super) async fn run(config: &Path, target: &Target, to: &SealingPublicKey, json: bool) -> anyhow::Result<()> {
    let role = Role::read(config)?;
    let folder = target.existing_folder()?;
    let now = SystemClock.now();
    let schema = match &role.database {
        Some((place, schema)) => match Versions::of(place, schema).await? {
            Versions { found: None, .. } => bail!("{place} : la base n'existe pas encore, il n'y a rien à sauvegarder"),
            Versions { found, .. } => found,
        },
        None => None,
    };
    let gate = Arc::new(Gate::load(&role.agreement, Arc::new(SystemClock))?);
    role.check_keys(gate.agreement())?;
    let signer = Signer::load(&role.signing_key, gate.agreement(), gate.agreement_hash(), role.id.clone())?;
    let names = Names::of(&role.id, &gate.agreement().agreement.id);
    let out = target.out.clone().unwrap_or_else(|| folder.join(names.at(now)));
    if out.try_exists()? {
        bail!("{} existe déjà : une sauvegarde n'en remplace jamais une autre, indiquez un autre nom", out.display());
    }
    // For a node as for any command on its state: a rotation of keys keeps it out.
    let node = role.node.clone().map(Node::open).transpose()?;
    let log = AuditLog::open(&role.audit.place(&role.home)?, gate.clone(), role.id.clone())?.by_operator();
    log.note(Act::own(BEGUN))?;
    let made =
        make(&role, &gate, &log, node.as_ref(), Making { out: &out, folder: &folder, names: &names, to, signer, schema, now })
            .await;
    let act = Act::own(CREATED);
    let manifest = match made {
        Ok(manifest) => manifest,
        Err(error) => {
            if let Err(unwritten) = log.note(act.failed()) {
                note(&format!("L'échec n'a pu être inscrit au journal d'audit : {unwritten}"));
            }
            return Err(error);
        }
    };
    log.note(act).with_context(|| format!("{} : sauvegarde faite, mais non inscrite au journal d'audit", out.display()))?;
    let (deleted, unnamed) = match target.keep_days {
        Some(days) => expire(&names, &folder, now.as_second() - i64::from(days) * 86_400)?,
        None => (0, 0),
    };
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    if unnamed > 0 {
        note(&format!(
            "{unnamed} sauvegarde(s) de {} dont le nom, d'avant les empreintes, ne dit pas de quel rôle elles sont : leur délai est passé, supprimez-les vous-même si elles sont de ce rôle",
            folder.display()
        ));
    }
    if json {
        return print_json(&serde_json::json!({
            "file": out, "facts": manifest.facts, "files": manifest.files.len(), "bytes": bytes, "deleted": deleted,
            "unnamed": unnamed,
        }));
    }
    say(&format!("Sauvegarde de {} : {}, {} fichier(s), {bytes} octets", role.id, out.display(), manifest.files.len()));
    if deleted > 0 {
        say(&format!("  {deleted} sauvegarde(s) plus ancienne(s) supprimée(s)"));
    }
    elsewhere(role.database_elsewhere(), role.objects);
    Ok(())
}

impl Target {
    /// The folder that the file goes to.
    fn existing_folder(&self) -> anyhow::Result<PathBuf> {
        let above = self.out.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
        let folder = self.folder.as_deref().or(above).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            bail!(
                "{0} : dossier introuvable, rien n'est sauvegardé ; montez le volume des sauvegardes, ou créez ce dossier (mkdir -p -m 700 {0}), puis relancez",
                folder.display()
            );
        }
        Ok(folder.to_owned())
    }
}

/// What a backup is made of beside the role.
struct Making<'m> {
    out: &'m Path,
    folder: &'m Path,
    names: &'m Names,
    to: &'m SealingPublicKey,
    signer: Signer,
    schema: Option<i64>,
    now: Timestamp,
}

async fn make(role: &Role, gate: &Gate, log: &AuditLog, node: Option<&Node>, making: Making<'_>) -> anyhow::Result<Manifest> {
    let copies = Copies::begin(&role.home)?;
    // No other backup of this role is under way from here on: what has its names is nobody's.
    let own = |name: &str| making.out.file_name().is_some_and(|out| out == name) || making.names.moment(name).is_some();
    let left = backup::sweep(making.folder, own).with_context(|| making.folder.display().to_string())?;
    if left > 0 {
        let folder = making.folder.display();
        note(&format!("{left} sauvegarde(s) inachevée(s), d'un travail interrompu, supprimée(s) de {folder}"));
    }
    let head = log.head()?;
    let facts = Facts {
        format: Facts::FORMAT,
        role: role.id.to_string(),
        agreement: hex::encode(gate.agreement_hash()),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        schema: making.schema,
        at: making.now.as_second(),
        log: log.place().log,
        entry: head.number,
        chain: hex::encode(head.chain),
        database_elsewhere: role.database_elsewhere(),
        objects_elsewhere: role.objects,
    };
    backup::allow_open_files();
    let mut sources = settings(role)?;
    let lock = node.map(|node| node.vault.lock(PATIENCE)).transpose()?;
    logs(role, &log.place(), &mut sources)?;
    database(role, &copies, &mut sources).await?;
    files(&role.home, "", &mut |relative, path| {
        if role.takes(relative) && path.is_file() {
            sources.extend(Source::open(format!("{STATE}{relative}"), path)?);
        }
        Ok(())
    })?;
    drop(lock);
    backup::room(making.folder, sources.iter().map(Source::bytes).sum())?;
    let (path, to, signer) = (making.out.to_owned(), *making.to, making.signer);
    tokio::task::spawn_blocking(move || backup::write(&path, &to, &signer, facts, sources))
        .await?
        .with_context(|| making.out.display().to_string())
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

/// Opens the files of the audit logs in an order that leaves no gap when they are written to meanwhile: countersignatures before the
/// entries that they cover, the anchor after the months that it follows.
fn logs(role: &Role, place: &Place, sources: &mut Vec<Source>) -> anyhow::Result<()> {
    let (folder, own) = (role.audit.folder(&role.home), parts(&role.audit.folder(&role.home), &place.log)?);
    let mut found = Vec::new();
    files(&folder, "", &mut |relative, path| {
        // Replicas have a log each; a backup of one of them is of all.
        let named = |part: &Place| relative.split('/').next() == Some(part.log.as_str());
        let taken = role.database_elsewhere() && relative.contains('/') || own.iter().any(named);
        let ending = path.extension().and_then(|e| e.to_str());
        let order = match ending {
            Some("jsonl") if path.ends_with(COUNTERSIGNATURES) => 0,
            Some("jsonl") => 1,
            Some("json") => 2,
            _ => return Ok(()),
        };
        if taken {
            found.push((order, relative.to_owned(), path.to_owned()));
        }
        Ok(())
    })?;
    found.sort();
    for (_, relative, path) in found {
        sources.extend(Source::open(format!("{AUDIT}{relative}"), &path)?);
    }
    Ok(())
}

/// A copy of the database as it is now.
async fn database(role: &Role, copies: &Copies, sources: &mut Vec<Source>) -> anyhow::Result<()> {
    let Some((path, schema)) = role.own_database() else { return Ok(()) };
    let name = path.file_name().and_then(|name| name.to_str()).context("nom de la base")?;
    // No copy is larger than the file with what waits in its log.
    let bytes = |path: PathBuf| fs::metadata(path).map_or(0, |held| held.len());
    backup::room(&role.home, bytes(path.clone()) + bytes(path.with_file_name(format!("{name}-wal"))))?;
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

/// Deletes this role's backups whose name says that they were made before `since`; returns how many, and how many of its kind have
/// a name that does not say whose they are.
fn expire(names: &Names, folder: &Path, since: i64) -> anyhow::Result<(usize, usize)> {
    let old = names.older(folder, since)?;
    for path in &old.own {
        fs::remove_file(path).with_context(|| path.display().to_string())?;
    }
    Ok((old.own.len(), old.unnamed.len()))
}
