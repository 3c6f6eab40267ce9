//! What a restoration takes over from the state that it replaces, and what no state from the past may go on with.
//!
//! Objections, requests of persons, certificates, what analysts were shown and who was switched off count whichever state knows them.
//! Each role's own rules are in its crate; here is only where the files are. A database on a server is written to after the files are in
//! their places: what it is to be told is found out before ([`Staging::later`]).

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use linkage_agreement::RoleId;
use linkage_common::audit::parts;
use linkage_common::backup::{FOLDER, Staging};
use linkage_common::config::SecretSource;
use linkage_common::database::Place;
use linkage_common::fsx::{self, FileError};
use zeroize::Zeroizing;

use super::KEY_LIMIT;
use super::restore::Done;
use super::role::Role;
use super::trust::Settings;

const CERTIFICATES: &str = "certificates";
/// Accounts that are to be switched off, until they are.
const ACCOUNTS: &str = "accounts.json";
const ACCOUNTS_LIMIT: u64 = 16 << 20;
/// The analyst's log of who asked what.
pub(super) const ACCESS: &str = "access";
/// Files of lines at an analyst's that say what was shown: whatever either state knows counts.
pub(super) const LEDGERS: [&str; 3] = ["shown.jsonl", "reports.jsonl", "persons.keys"];

/// Refuses a folder that is not the role's: nothing would be taken over from it, and nobody would know.
pub(super) fn is_of(role: &Role, former: &Path) -> anyhow::Result<()> {
    if !former.is_dir() {
        bail!("{} : dossier introuvable", former.display());
    }
    let mut any = parts(&former.join("audit"), &role.audit.first(&role.home)?.log)?.iter().any(|part| part.folder.is_dir());
    any |= ["archive", "rights", CERTIFICATES, ACCESS].iter().any(|name| former.join(name).is_dir());
    if let Some(name) = role.own_database().and_then(|(path, _)| path.file_name()) {
        any |= former.join(name).is_file();
    }
    if !any {
        bail!(
            "{} : ni journal d'audit ni état de ce rôle ici, rien n'en serait repris ; indiquez le dossier que la configuration nommait (« state_dir » ou « data_dir »), là où il a été déplacé",
            former.display()
        );
    }
    Ok(())
}

/// The state that is replaced, and the key that it is stored under where that is not the backup's.
pub(super) struct Former<'f> {
    pub(super) folder: Option<&'f Path>,
    pub(super) key: Option<&'f Path>,
    /// An analyst's former database on a server.
    pub(super) database: Option<&'f Place>,
}

/// The former database whose address is in `file`.
pub(super) fn former_database(role: &Role, file: &Path) -> anyhow::Result<Place> {
    let RoleId::Analyst(_) = role.id else {
        bail!("--former-database ne sert qu'à l'étude, dont les comptes en sont repris : relancez sans elle");
    };
    let address = SecretSource::from_file(file).read_text()?;
    let former = Place::of(Some(&address), Path::new("")).with_context(|| file.display().to_string())?;
    if let Some((place, _)) = &role.database
        && place.to_string() == former.to_string()
    {
        bail!(
            "--former-database : {former} est la base que la configuration nomme, où la sauvegarde est remise ; indiquez l'ancienne, sous le nom où elle a été mise de côté"
        );
    }
    Ok(former)
}

/// What each role has to do with a state that comes from the past, before it is put in place.
pub(super) async fn settle(
    role: &Role,
    settings: &Settings,
    staging: &Staging,
    former: Former<'_>,
    moment: &str,
    done: &mut Done,
) -> anyhow::Result<()> {
    let (state, key, database) = (staging.state(), former.key, former.database);
    let (state, former) = (state.as_path(), former.folder);
    match &role.id {
        RoleId::Party(_) => {
            let storage = settings.get("storage_key").context("la sauvegarde ne contient pas la clé de stockage")?;
            let storage = key_in(storage).context("clé de stockage de la sauvegarde")?;
            let later = match key {
                Some(path) => key_in(&fsx::read_private(path, KEY_LIMIT)?).with_context(|| path.display().to_string())?,
                None => storage.clone(),
            };
            let settled = linkage_node::rights::settle(state, former.map(|folder| (folder, &*later)), &storage).context(
                "l'ancien état n'est pas lisible. Si la clé de stockage a été renouvelée depuis la sauvegarde, donnez par --former-key celle sous laquelle cet ancien dossier est scellé : la clé renouvelée, en service à l'arrêt du nœud, et non celle de la sauvegarde ; sinon, déplacez-le et relancez sans --former pour y renoncer",
            )?;
            (done.objections_kept, done.requests_repeated) = (settled.listed, settled.requests);
            if let Some(former) = former {
                certificates(former, state)?;
            }
        }
        RoleId::Analyst(_) => {
            for name in LEDGERS {
                if let Some(former) = former {
                    add_lines(&former.join(name), &state.join(name))?;
                }
            }
            if let Some(former) = former {
                longer_files(&former.join(ACCESS), &state.join(ACCESS))?;
            }
            let copies = tempfile::tempdir_in(role.home.join(FOLDER))?;
            let mut off = Vec::new();
            for place in
                former.map(|former| copied_database(role, former, copies.path())).transpose()?.flatten().iter().chain(database)
            {
                off.extend(linkage_analyst::restored::switched_off(place).await.with_context(|| {
                    format!("base de l'ancien état illisible ({place}) : comptes désactivés depuis la sauvegarde inconnus ; relancez sans --former, ou sans --former-database, pour y renoncer, et désactivez-les avant de rouvrir la page")
                })?);
            }
            fsx::write_atomic(&staging.later().join(ACCOUNTS), &serde_json::to_vec(&off)?)?;
        }
        RoleId::Broker | RoleId::Custodian => {}
    }
    if let Some(place) = staged_database(role, state)? {
        settle_database(role, &place, staging, moment, done).await?;
    }
    Ok(())
}

/// Tells a database on a server that it is being restored: no process of the role begins on it until that is done.
pub(super) async fn begin_database(role: &Role, place: &Place, moment: &str) -> anyhow::Result<()> {
    match role.id {
        RoleId::Broker => linkage_broker::store::Store::open_at(place).await?.begin_restored(moment).await?,
        RoleId::Custodian => linkage_custodian::store::Store::open_at(place).await?.begin_restored(moment).await?,
        // Of these there is one process, which its folder keeps from beginning.
        RoleId::Party(_) | RoleId::Analyst(_) => {}
    }
    Ok(())
}

/// What a database that comes from the past must not go on with. May be repeated.
pub(super) async fn settle_database(
    role: &Role,
    place: &Place,
    staging: &Staging,
    moment: &str,
    done: &mut Done,
) -> anyhow::Result<()> {
    match role.id {
        RoleId::Broker => done.runs_ended = linkage_broker::store::Store::open_at(place).await?.settle_restored(moment).await?,
        RoleId::Custodian => linkage_custodian::store::Store::open_at(place).await?.settle_restored(moment).await?,
        RoleId::Analyst(_) => {
            let off = match fsx::read_limited(&staging.later().join(ACCOUNTS), ACCOUNTS_LIMIT) {
                Ok(bytes) => serde_json::from_slice(&bytes).context("comptes désactivés depuis la sauvegarde")?,
                // Made ready by the version before, which had none for a server.
                Err(FileError::Missing { .. }) => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            done.accounts_off = linkage_analyst::restored::keep_switched_off(off, place).await?;
        }
        RoleId::Party(_) => {}
    }
    Ok(())
}

/// The database just unpacked, where it is a file.
fn staged_database(role: &Role, state: &Path) -> anyhow::Result<Option<Place>> {
    let Some((path, _)) = role.own_database() else { return Ok(None) };
    let file = state.join(path.file_name().context("nom de la base")?);
    Ok(file.is_file().then_some(Place::File(file)))
}

/// A copy, in `to`, of the former state's database, where it was a file: reading it then changes nothing in that state.
fn copied_database(role: &Role, former: &Path, to: &Path) -> anyhow::Result<Option<Place>> {
    let Some((path, _)) = role.own_database() else { return Ok(None) };
    let name = path.file_name().context("nom de la base")?;
    if !former.join(name).is_file() {
        return Ok(None);
    }
    let mut log = name.to_owned();
    log.push("-wal");
    for name in [name, log.as_os_str()] {
        match fs::copy(former.join(name), to.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).context("base de l'ancien état"),
            _ => {}
        }
    }
    Ok(Some(Place::File(to.join(name))))
}

fn key_in(bytes: &[u8]) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    Ok(linkage_crypto::keyfile::decode(std::str::from_utf8(bytes)?)?)
}

/// Keeps certificates of deletions that the backup does not know.
fn certificates(former: &Path, state: &Path) -> anyhow::Result<()> {
    let (from, to) = (former.join(CERTIFICATES), state.join(CERTIFICATES));
    if !from.is_dir() {
        return Ok(());
    }
    fsx::create_private_dir(&to)?;
    for entry in fs::read_dir(&from)? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.extension().is_some_and(|e| e == "json"), path.file_name())
            && !to.join(name).try_exists()?
        {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

/// Takes the files of `from` over that go on where those of `to` end, and those that `to` does not have.
fn longer_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    fsx::create_private_dir(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let (true, Some(name)) = (path.is_file(), path.file_name()) else { continue };
        let (theirs, ours) = (fs::read(&path)?, to.join(name));
        let held = if ours.is_file() { fs::read(&ours)? } else { Vec::new() };
        if theirs.len() > held.len() && theirs.starts_with(&held) {
            fsx::write_atomic(&ours, &theirs)?;
        }
    }
    Ok(())
}

/// Adds the whole lines of `from` to `to` that it does not have.
fn add_lines(from: &Path, to: &Path) -> anyhow::Result<()> {
    let read = |path: &Path| -> anyhow::Result<Vec<u8>> {
        match fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            bytes => bytes.with_context(|| path.display().to_string()),
        }
    };
    let (mut kept, more) = (read(to)?, read(from)?);
    let known: std::collections::HashSet<Vec<u8>> = kept.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    for line in more.split_inclusive(|b| *b == b'\n').filter(|line| line.ends_with(b"\n")) {
        if !known.contains(line) {
            kept.extend_from_slice(line);
        }
    }
    if kept.is_empty() { Ok(()) } else { Ok(fsx::write_atomic(to, &kept)?) }
}
