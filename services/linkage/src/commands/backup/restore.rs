//! Putting a role's state back.
//!
//! The whole backup is read and compared with its manifest before anything is written. Then it is held against what is there: role,
//! agreement, keys, schema, age, and which of both states is the newer one, which their audit logs tell. The state goes to its place by
//! [`Staging`]; the audit log goes on as a log of its own ([`linkage_common::audit::restored_name`]).

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use linkage_agreement::{ParsedAgreement, RoleId};
use linkage_common::audit::{self, Act, AuditLog, Place as LogPlace, Position, contains, parts, position, restored_name};
use linkage_common::backup::{self, AUDIT, BackupError, Facts, SETTINGS, STATE, Staging, completed, half_restored};
use linkage_common::clock::{Clock as _, SystemClock};
use linkage_common::database::Place;
use linkage_common::fsx;
use linkage_common::gate::Gate;
use linkage_crypto::seal::SealingKey;
use serde::Serialize;
use zeroize::Zeroizing;

use super::role::{Kept, Role};
use super::{RestoreArgs, elsewhere, private_key, time, unpack};
use crate::cli::{note, print_json, say};

/// What a partner sees of the role's log, beside the log.
const WITNESS: &str = "witness.json";
const SETTING_LIMIT: u64 = 16 << 20;
const CERTIFICATES: &str = "certificates";
/// The analyst's log of who asked what.
const ACCESS: &str = "access";
/// Files of lines at an analyst's that say what was shown: whatever either state knows counts.
const LEDGERS: [&str; 2] = ["shown.jsonl", "reports.jsonl"];

type Settings = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// What a restoration came to.
#[derive(Debug, Default, Serialize)]
struct Done {
    /// Whether it ended one that was interrupted.
    completed_earlier: bool,
    /// Whether the audit log that was there is newer than the backup's, and was kept.
    newer_log_kept: bool,
    /// Persons on the objection list brought over from the former state.
    objections_kept: usize,
    /// Requests that will be carried out again.
    requests_repeated: usize,
    /// Runs that the broker ended.
    runs_ended: u64,
    /// Files of configuration and keys that were written.
    settings_written: Vec<String>,
}

pub(super) async fn run(args: RestoreArgs) -> anyhow::Result<()> {
    let key = private_key(&args.key)?;
    let mut settings = Settings::new();
    let manifest = backup::read::<anyhow::Error>(
        &args.file,
        &key,
        |_| Ok(()),
        |name, bytes| {
            if let Some(label) = name.strip_prefix(SETTINGS) {
                let mut read = Zeroizing::new(Vec::new());
                bytes.take(SETTING_LIMIT).read_to_end(&mut read)?;
                settings.insert(label.to_owned(), read);
            }
            Ok(())
        },
    )
    .with_context(|| args.file.display().to_string())?;
    let mut done = Done::default();
    if !args.config.try_exists()? {
        let saved = settings.get("config").context("la sauvegarde ne contient pas de configuration : écrivez-la")?;
        fsx::write_atomic(&args.config, saved)?;
        done.settings_written.push(args.config.display().to_string());
        note(&format!("{} : configuration reprise de la sauvegarde", args.config.display()));
    }
    let mut role = Role::read(&args.config)?;
    role.expect(settings.keys());
    fits(&role, &manifest.facts, &settings, args.accept_expired)?;
    if let Some(former) = &args.former {
        former_of(&role, former)?;
    }
    let first = role.audit.first(&role.home)?;
    let alone = first.alone()?.with_context(|| {
        format!("{} : le service tourne, ou une commande sur ses données : arrêtez-le, puis relancez", role.home.display())
    })?;
    let staging = Staging::begin(&role.home)?;
    if half_restored(&role.home)? {
        done.completed_earlier = true;
    } else {
        prepare(&args, &key, &role, &manifest.facts, &settings, &staging, &mut done).await?;
    }
    finish(&role, staging, alone)?;
    tell(&role, &manifest.facts, &done, args.former.is_some(), args.json)
}

/// Refuses a backup of another role, agreement or key, of a newer schema, or past its time.
fn fits(role: &Role, facts: &Facts, settings: &Settings, accept_expired: bool) -> anyhow::Result<()> {
    if role.id.to_string() != facts.role {
        bail!("cette sauvegarde est de {}, la configuration est de {} : prenez l'autre", facts.role, role.id);
    }
    if let (Some(version), Some((_, schema))) = (facts.schema, &role.database)
        && version > schema.latest()
    {
        bail!(
            "la base sauvegardée a le schéma {version}, ce programme connaît les versions jusqu'à {} : installez au moins la version {} du programme ; rien n'est changé",
            schema.latest(),
            facts.software
        );
    }
    let of = |label: &str| {
        let setting = role.settings.iter().find(|setting| setting.label == label);
        let there = setting.map(super::role::Setting::read).transpose()?.flatten();
        let bytes =
            there.or_else(|| settings.get(label).cloned()).with_context(|| format!("« {label} » absent de la sauvegarde"))?;
        Ok::<_, anyhow::Error>(String::from_utf8(bytes.to_vec())?)
    };
    let parsed = ParsedAgreement::parse(&of("agreement")?, "convention.toml")
        .map_err(|faults| anyhow::anyhow!("convention illisible : {} défaut(s)", faults.len()))?;
    if hex::encode(parsed.hash().as_bytes()) != facts.agreement {
        bail!(
            "cette sauvegarde a été faite sous une autre convention, ou une autre version ({}) : restaurez sous celle-là (linkage backup extract la donne), puis passez à l'avenant",
            facts.agreement
        );
    }
    for setting in role.settings.iter().filter(|setting| setting.key) {
        let (there, saved) = (setting.read()?, settings.get(&setting.label));
        if let (Some(there), Some(saved)) = (&there, saved)
            && there.trim_ascii() != saved.trim_ascii()
        {
            bail!(
                "{} (« {} ») : ce n'est pas la clé sauvegardée ; restaurer sous une autre clé donnerait un état illisible ou un rôle que la convention ne connaît pas. Remettez la bonne, ou déplacez le fichier : il sera repris de la sauvegarde",
                setting.shown(),
                setting.label
            );
        }
        if there.is_some() && saved.is_none() && setting.needed() {
            bail!(
                "{} (« {} ») : la sauvegarde n'a pas cette clé, que prend toute sauvegarde de ce rôle ; elle n'est pas de « linkage backup create », ou pas de ce rôle : ne la restaurez pas",
                setting.shown(),
                setting.label
            );
        }
        if there.is_none() && matches!(setting.place, Kept::Variable(_)) {
            bail!(
                "variable {} absente : sortez la clé « {} » de la sauvegarde (linkage backup extract) et donnez-la au service",
                setting.shown(),
                setting.label
            );
        }
    }
    let retention = &parsed.agreement().retention;
    let months = retention.access_log_months.min(retention.archive_months).min(retention.link_tables_months);
    let days = SystemClock.now().as_second().saturating_sub(facts.at).div_euclid(86_400);
    if days > i64::from(months) * 31 && !accept_expired {
        bail!(
            "cette sauvegarde a {days} jours : la convention ne laisse garder ce qu'elle contient que {months} mois. Prenez-en une plus récente et détruisez celle-ci, ou ajoutez --accept-expired en le consignant (la conservation s'applique au démarrage suivant)"
        );
    }
    Ok(())
}

/// Refuses a folder that is not the role's: nothing would be taken over from it, and nobody would know.
fn former_of(role: &Role, former: &Path) -> anyhow::Result<()> {
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

/// Makes the new state ready; from its last line on it counts.
async fn prepare(
    args: &RestoreArgs,
    key: &SealingKey,
    role: &Role,
    facts: &Facts,
    settings: &Settings,
    staging: &Staging,
    done: &mut Done,
) -> anyhow::Result<()> {
    let (state, logs) = (staging.state(), staging.logs());
    backup::read::<anyhow::Error>(
        &args.file,
        key,
        |again| if again == facts { Ok(()) } else { Err(BackupError::NotABackup.into()) },
        |name, bytes| {
            let path = match (name.strip_prefix(STATE), name.strip_prefix(AUDIT)) {
                (Some(below), _) => state.join(below),
                (_, Some(below)) => logs.join(below),
                _ => return Ok(()),
            };
            unpack(&path, bytes).with_context(|| path.display().to_string())
        },
    )?;
    let last = choose_logs(args, role, staging, done)?;
    let now = SystemClock.now();
    let first = role.audit.first(&role.home)?;
    let log = restored_name(&first.log, now)?;
    if log <= last.log {
        bail!("le journal d'audit a déjà repris à une date postérieure : vérifiez l'horloge de cette machine");
    }
    let replaced = staging.replaces()?.then(|| role.home.clone());
    for setting in &role.settings {
        if let (Kept::File(path), Some(saved), None) = (&setting.place, settings.get(&setting.label), setting.read()?) {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                fsx::create_private_dir(folder)?;
            }
            fsx::write_atomic(path, saved).with_context(|| {
                format!("{} : écriture impossible ; posez ce fichier vous-même (linkage backup extract)", path.display())
            })?;
            done.settings_written.push(path.display().to_string());
        }
    }
    if let Some(folder) = &role.agreement.terminations {
        fsx::create_private_dir(folder)?;
    }
    // What the service loads at its start; the old state still counts.
    let gate = Gate::load(&role.agreement, Arc::new(SystemClock))?;
    role.check_keys(gate.agreement())?;
    settle(role, settings, &state, args.former.as_deref().or(replaced.as_deref()), done).await?;
    Ok(staging.ready(&role.audit.folder(&role.home), &log, &last.log, last.head.number)?)
}

/// Which log goes on: the backup's, or a newer one that is still there. Refuses an older backup over a newer state.
fn choose_logs(args: &RestoreArgs, role: &Role, staging: &Staging, done: &mut Done) -> anyhow::Result<Position> {
    let name = role.audit.first(&role.home)?.log;
    let saved = parts(&staging.logs(), &name)?;
    let backed_up = position(&role.id, &saved)?.context("la sauvegarde ne contient pas de journal d'audit")?;
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
            if replaces {
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

/// What each role has to do with a state that comes from the past.
async fn settle(role: &Role, settings: &Settings, state: &Path, former: Option<&Path>, done: &mut Done) -> anyhow::Result<()> {
    match &role.id {
        RoleId::Party(_) => {
            let storage = settings.get("storage_key").context("la sauvegarde ne contient pas la clé de stockage")?;
            let storage = std::str::from_utf8(storage).context("clé de stockage")?;
            let storage = linkage_crypto::keyfile::decode(storage)?;
            let settled = linkage_node::rights::settle(state, former, &storage)
                .context("l'ancien état n'est pas lisible ; déplacez-le et relancez sans --former pour y renoncer")?;
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
        }
        RoleId::Broker | RoleId::Custodian => {
            let Some(place) = staged_database(role, state)? else { return Ok(()) };
            if role.id == RoleId::Broker {
                let store = linkage_broker::store::Store::open_at(&place).await?;
                done.runs_ended = store.settle_restored().await?;
            } else {
                let store = linkage_custodian::store::Store::open_at(&place).await?;
                store.settle_restored().await?;
            }
        }
    }
    Ok(())
}

/// The database that goes with the state: the file just unpacked, or the server's, which the host has restored before.
fn staged_database(role: &Role, state: &Path) -> anyhow::Result<Option<Place>> {
    match &role.database {
        Some((Place::File(path), _)) => {
            let file = state.join(path.file_name().context("nom de la base")?);
            Ok(file.is_file().then_some(Place::File(file)))
        }
        Some((server, _)) => Ok(Some(server.clone())),
        None => Ok(None),
    }
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

/// The last steps, which may be repeated: the state is put in place, and the log goes on.
fn finish(role: &Role, staging: Staging, alone: fs::File) -> anyhow::Result<()> {
    let plan = staging.finish()?;
    let folder: PathBuf = plan.audit.join(&plan.log);
    fsx::create_private_dir(&folder)?;
    let (seen, kept) = (plan.audit.join(&plan.after).join(WITNESS), folder.join(WITNESS));
    if seen.is_file() && !kept.try_exists()? {
        fsx::write_atomic(&kept, &fs::read(seen)?)?;
    }
    // The log is opened as by a service, which cannot begin yet: the folder says that it is half restored.
    drop(alone);
    let gate = Arc::new(Gate::load(&role.agreement, Arc::new(SystemClock))?);
    let log = AuditLog::open(&LogPlace { folder, log: plan.log }, gate, role.id.clone())?.by_operator();
    if log.head()?.number == 0 {
        log.note(Act::own("backup.restored").records(plan.entry))?;
    }
    Ok(completed(staging)?)
}

fn tell(role: &Role, facts: &Facts, done: &Done, former: bool, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&serde_json::json!({ "facts": facts, "done": done }));
    }
    if done.completed_earlier {
        say("Une restauration interrompue a été achevée ; rien d'autre n'a été repris de ce fichier.");
    }
    say(&format!("{} restauré à l'état du {} (entrée n° {} du journal)", role.id, time(facts.at), facts.entry));
    for path in &done.settings_written {
        say(&format!("  Repris de la sauvegarde : {path}"));
    }
    if done.objections_kept + done.requests_repeated > 0 || former && matches!(role.id, RoleId::Party(_)) {
        say(&format!(
            "  Repris de l'ancien état : {} inscription(s) sur la liste d'opposition ; {} demande(s) de personnes seront exécutées de nouveau au démarrage",
            done.objections_kept, done.requests_repeated
        ));
    }
    if done.newer_log_kept {
        say("  Le journal d'audit, plus récent que la sauvegarde, est gardé");
    }
    if done.runs_ended > 0 {
        say(&format!(
            "  {} traitement(s) clos : la sauvegarde ne contient aucun encodage, rouvrez-les sous un autre nom",
            done.runs_ended
        ));
    }
    elsewhere(role.database_elsewhere(), role.objects);
    say(
        "Démarrez le service : il applique aussitôt les durées de conservation, et ce qui est échu depuis la sauvegarde est supprimé.",
    );
    say(match role.id {
        RoleId::Party(_) => {
            "Oppositions et limitations postérieures à la sauvegarde, si l'ancien état n'a pu être repris : saisissez-les de nouveau avant la prochaine livraison (docs/sauvegarde.md)."
        }
        RoleId::Custodian => {
            "Les nœuds voient le nouveau journal à leur prochain regard et redemandent d'eux-mêmes les retraits ; sinon : linkage rights ask-again, chez chaque partenaire."
        }
        RoleId::Broker => {
            "Le prochain traitement est un traitement complet : aucun complément ne peut s'appuyer sur ceux d'avant."
        }
        RoleId::Analyst(_) => "Tables et étude sont redemandées au tiers de confiance, sans ce qui en a été retiré depuis.",
    });
    say("Prévenez les partenaires : ils verront que le journal d'audit reprend sous un autre nom (checkpoint.restored).");
    Ok(())
}
