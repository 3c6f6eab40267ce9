//! Which audit log a restoration goes on in, and whether that log is whole.
//!
//! The logs tell which of two states is the newer one: the log that contains the other's head. A newer state is not replaced, nor one
//! of another history; that it was saved since makes it no newer. A log that is newer than the backup's is kept.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use linkage_agreement::RoleId;
use linkage_common::audit::{self, Place as LogPlace, Position, contains, parts, position};
use linkage_common::backup::Staging;
use linkage_common::fsx;
use linkage_common::gate::Gate;

use super::former::{ACCESS, LEDGERS};
use super::restore::Done;
use super::role::Role;
use super::{RestoreArgs, time};
use crate::cli::note;

/// Acts that say that a backup is begun, and what came of it; one that was killed has the first only.
pub(super) const BEGUN: &str = "backup.begun";
/// See [`BEGUN`].
pub(super) const CREATED: &str = "backup.created";

/// Which log goes on: the backup's, or a newer one that is still there. Refuses an older backup over a newer state.
pub(super) fn choose(args: &RestoreArgs, role: &Role, staging: &Staging, done: &mut Done) -> anyhow::Result<Position> {
    let name = role.audit.first(&role.home)?.log;
    let saved = parts(&staging.logs(), &name)?;
    let backed_up = position(&role.id, &saved)?.with_context(|| {
        format!("la sauvegarde ne contient pas de journal d'audit au nom de « {name} » : donnez à LINKAGE_REPLICA (ou à « replica ») le nom que montre « linkage backup verify »")
    })?;
    let folder = role.audit.folder(&role.home);
    let there = parts(&folder, &name)?;
    // Of other replicas, what is there is as new or newer.
    for entry in fs::read_dir(staging.logs())? {
        let other = entry?;
        let own = saved.iter().any(|part| part.folder == other.path());
        if !own && folder.join(other.file_name()).try_exists()? {
            fs::remove_dir_all(other.path())?;
        }
    }
    let newest = position(&role.id, &there)?;
    let aside = format!(
        "Si c'est bien ce que vous voulez, déplacez d'abord le dossier (mv {0} {0}.ancien), puis relancez avec --former {0}.ancien : oppositions, suppressions et journal en seront repris",
        role.home.display()
    );
    match (newest, staging.replaces()?) {
        (None, true) => bail!(
            "{} contient un état sans journal d'audit : rien ne dit s'il est plus récent que la sauvegarde. {aside}",
            role.home.display()
        ),
        (None, false) => {}
        // What an analyst asks on its own machine is in its access log at once, and in the audit log within the hour.
        (Some(newest), true) if contains(&saved, &newest)? && has_more_lines(&role.home, &staging.state())? => bail!(
            "l'état en place est plus récent que la sauvegarde (des questions ou des accès y ont été inscrits depuis) : refusé, rien n'est changé. {aside}"
        ),
        (Some(newest), _) if contains(&saved, &newest)? => {}
        (Some(newest), replaces) if contains(&there, &backed_up)? => {
            let only_saved = only_saved_since(&there, &backed_up)? && !has_more_lines(&role.home, &staging.state())?;
            if replaces && !only_saved {
                bail!(
                    "l'état en place est plus récent que la sauvegarde (journal à l'entrée n° {} de « {} », sauvegarde du {} à l'entrée n° {}) : refusé, rien n'est changé. {aside}",
                    newest.head.number,
                    newest.log,
                    time(saved_at(&saved)?),
                    backed_up.head.number
                );
            }
            done.newer_log_kept = true;
            forget(staging)?;
            return Ok(newest);
        }
        (Some(_), _) => bail!(
            "le journal d'audit en place et celui de la sauvegarde n'ont pas la même histoire : ce n'est pas une sauvegarde de cet état. {aside}"
        ),
    }
    let Some(former) = &args.former else { return Ok(backed_up) };
    let theirs = parts(&former.join("audit"), &name)?;
    match position(&role.id, &theirs) {
        Ok(Some(newest)) if contains(&theirs, &backed_up)? => {
            forget(staging)?;
            for part in &theirs {
                copy_log(part, &staging.logs().join(&part.log))?;
            }
            done.newer_log_kept = true;
            Ok(newest)
        }
        Ok(None) => Ok(backed_up),
        _ => {
            note(
                "Le journal d'audit de l'ancien dossier n'est pas lisible, ou n'est pas la suite de celui de la sauvegarde : gardez-le à part.",
            );
            Ok(backed_up)
        }
    }
}

/// Whether a log has gone on since `at` with nothing but backups being made: the state is then as it was.
fn only_saved_since(parts: &[LogPlace], at: &Position) -> anyhow::Result<bool> {
    let mut only = true;
    for part in parts.iter().filter(|part| part.log >= at.log) {
        // With its earlier parts; each is told by the folder that the file is in.
        audit::each::<std::io::Error>(part, |file, _, entry| {
            let here = file.parent() == Some(part.folder.as_path());
            let later = part.log > at.log || entry.n > at.head.number;
            only &= !(here && later) || [BEGUN, CREATED].contains(&entry.what.as_str());
            Ok(())
        })?;
    }
    Ok(only)
}

/// Refuses logs, about to be put in place, that are not what was entered and countersigned.
pub(super) fn whole(folder: &Path, gate: &Gate, role: &RoleId, accept: bool) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (true, Some(log)) = (entry.file_type()?.is_dir(), entry.file_name().to_str().map(str::to_owned)) else { continue };
        let place = LogPlace { folder: entry.path(), log };
        let Some(mut fault) = audit::verify(&place, gate, role)?.fault else { continue };
        // As it will be named where it is put.
        fault.file = fault.file.strip_prefix(folder).map(Path::to_owned).unwrap_or(fault.file);
        if !accept {
            bail!(
                "le journal d'audit à remettre en place n'est pas intact : {fault}. Prenez une autre sauvegarde ; à défaut, gardez ce fichier comme preuve, prévenez les partenaires et relancez avec --accept-faulty-log en le consignant"
            );
        }
        note(&format!("Journal d'audit remis en place avec ce défaut, accepté à votre demande : {fault}"));
    }
    Ok(())
}

/// When the last entry of a log was made.
fn saved_at(parts: &[LogPlace]) -> anyhow::Result<i64> {
    let mut last = 0;
    if let Some(part) = parts.last() {
        audit::each::<std::io::Error>(part, |_, _, entry| {
            last = entry.at;
            Ok(())
        })?;
    }
    Ok(last)
}

/// The logs of the backup are not written: newer ones are there.
fn forget(staging: &Staging) -> std::io::Result<()> {
    fs::remove_dir_all(staging.logs())?;
    fsx::create_private_dir(&staging.logs())
}

fn copy_log(part: &LogPlace, to: &Path) -> anyhow::Result<()> {
    fsx::create_private_dir(to)?;
    for entry in fs::read_dir(&part.folder)? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.extension().is_some_and(|e| e == "jsonl" || e == "json"), path.file_name()) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

/// Whether a file of lines in `home` that is only added to has more than in `state`.
fn has_more_lines(home: &Path, state: &Path) -> anyhow::Result<bool> {
    let mut names: Vec<PathBuf> = LEDGERS.iter().map(PathBuf::from).collect();
    if home.join(ACCESS).is_dir() {
        for entry in fs::read_dir(home.join(ACCESS))? {
            names.push(Path::new(ACCESS).join(entry?.file_name()));
        }
    }
    let length = |path: PathBuf| fs::metadata(path).map_or(0, |held| held.len());
    let longer =
        |name: &PathBuf| name.extension().is_some_and(|e| e == "jsonl") && length(home.join(name)) > length(state.join(name));
    Ok(names.iter().any(longer))
}
