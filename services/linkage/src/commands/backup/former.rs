//! What a restoration takes over from the state that it replaces, and what no state from the past may go on with.
//!
//! Objections, requests of persons, certificates, what analysts were shown and who was switched off count whichever state knows them.
//! Each role's own rules are in its crate; here is only where the files are.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use linkage_agreement::RoleId;
use linkage_common::audit::parts;
use linkage_common::backup::{FOLDER, Staging};
use linkage_common::database::Place;
use linkage_common::fsx;
use zeroize::Zeroizing;

use super::KEY_LIMIT;
use super::restore::Done;
use super::role::Role;
use super::trust::Settings;

const CERTIFICATES: &str = "certificates";
/// The analyst's log of who asked what.
pub(super) const ACCESS: &str = "access";
/// Files of lines at an analyst's that say what was shown: whatever either state knows counts.
pub(super) const LEDGERS: [&str; 2] = ["shown.jsonl", "reports.jsonl"];

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
}

/// What each role has to do with a state that comes from the past, before it is put in place.
pub(super) async fn settle(
    role: &Role,
    settings: &Settings,
    staging: &Staging,
    former: Former<'_>,
    done: &mut Done,
) -> anyhow::Result<()> {
    let (state, key) = (staging.state(), former.key);
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
                accounts(role, former, staging, done).await?;
            }
        }
        RoleId::Broker | RoleId::Custodian => {}
    }
    if let Some(place) = staged_database(role, state)? {
        settle_database(role, &place, done).await?;
    }
    Ok(())
}

/// What a database that comes from the past must not go on with. May be repeated.
pub(super) async fn settle_database(role: &Role, place: &Place, done: &mut Done) -> anyhow::Result<()> {
    match role.id {
        RoleId::Broker => done.runs_ended = linkage_broker::store::Store::open_at(place).await?.settle_restored().await?,
        RoleId::Custodian => linkage_custodian::store::Store::open_at(place).await?.settle_restored().await?,
        RoleId::Party(_) | RoleId::Analyst(_) => {}
    }
    Ok(())
}

/// The database just unpacked, where it is a file.
fn staged_database(role: &Role, state: &Path) -> anyhow::Result<Option<Place>> {
    let Some((path, _)) = role.own_database() else { return Ok(None) };
    let file = state.join(path.file_name().context("nom de la base")?);
    Ok(file.is_file().then_some(Place::File(file)))
}

/// Keeps accounts off that were switched off since the backup. The former database is read from a copy, which may be migrated.
async fn accounts(role: &Role, former: &Path, staging: &Staging, done: &mut Done) -> anyhow::Result<()> {
    let (Some((path, _)), Some(restored)) = (role.own_database(), staged_database(role, &staging.state())?) else {
        return Ok(());
    };
    let name = path.file_name().context("nom de la base")?;
    if !former.join(name).is_file() {
        return Ok(());
    }
    let copies = tempfile::tempdir_in(role.home.join(FOLDER))?;
    let mut log = name.to_owned();
    log.push("-wal");
    for name in [name, log.as_os_str()] {
        match fs::copy(former.join(name), copies.path().join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).context("base de l'ancien état"),
            _ => {}
        }
    }
    let copy = Place::File(copies.path().join(name));
    done.accounts_off = linkage_analyst::restored::keep_switched_off(&copy, &restored).await.context(
        "la base de l'ancien état n'est pas lisible : comptes désactivés depuis la sauvegarde inconnus ; relancez sans --former pour y renoncer, et désactivez-les avant de rouvrir la page",
    )?;
    Ok(())
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
