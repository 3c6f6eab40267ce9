//! Putting a role's state back.
//!
//! The whole backup is read and compared with its manifest before anything is written. Then it is held against what is there: role,
//! agreement, keys, schema, age, and which of both states is the newer one, which their audit logs tell. The state goes to its place by
//! [`Staging`]; the audit log goes on as a log of its own ([`linkage_common::audit::restored_name`]).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use linkage_agreement::{ParsedAgreement, RoleId};
use linkage_common::AgreementFiles;
use linkage_common::audit::{Act, AuditLog, Place as LogPlace, restoration, restored_name};
use linkage_common::backup::{self, AUDIT, BackupError, Facts, Origin, STATE, Staging, completed, half_restored};
use linkage_common::clock::{Clock as _, SystemClock};
use linkage_common::database::Place;
use linkage_common::fsx;
use linkage_common::gate::Gate;
use linkage_common::schema::Versions;
use linkage_crypto::seal::SealingKey;
use serde::Serialize;

use super::former::{self, Former};
use super::logs;
use super::role::{CONFIG, Kept, Role};
use super::trust::{Recognised, Settings, in_place, recognise};
use super::{RestoreArgs, private_key, time, unpack};
use crate::cli::{print_json, say};

/// What a partner sees of the role's log, beside the log.
const WITNESS: &str = "witness.json";

/// What a restoration came to.
#[derive(Debug, Default, Serialize)]
pub(super) struct Done {
    /// Whether the role's signature was verified on the backup that the state comes from.
    pub(super) signed: bool,
    /// Whether it ended one that was interrupted.
    pub(super) completed_earlier: bool,
    /// Whether the audit log that was there is newer than the backup's, and was kept.
    pub(super) newer_log_kept: bool,
    /// Persons on the objection list brought over from the former state.
    pub(super) objections_kept: usize,
    /// Accounts that are switched off since they were so in the former state.
    pub(super) accounts_off: u64,
    /// Requests that will be carried out again.
    pub(super) requests_repeated: usize,
    /// Runs that the broker ended.
    pub(super) runs_ended: u64,
    /// Files of configuration and keys that were written.
    pub(super) settings_written: Vec<String>,
}

pub(super) async fn run(args: RestoreArgs) -> anyhow::Result<()> {
    let key = private_key(&args.key)?;
    let (mut role, backup) = if args.config.try_exists()? {
        let role = Role::read(&args.config)?;
        let backup = recognise(&args.file, &key, Some(in_place(&role)?), &args.trust)?;
        (role, backup)
    } else {
        let backup = recognise(&args.file, &key, None, &args.trust)?;
        (saved_role(&args, &backup.settings)?, backup)
    };
    let mut done = Done::default();
    role.expect(backup.settings.keys());
    fits(&role, &backup.manifest.facts, &backup.settings, args.accept_expired)?;
    if let Some(former) = &args.former {
        former::is_of(&role, former)?;
    }
    if args.former_key.is_some() && role.node.is_none() {
        bail!("--former-key est la clé de stockage d'un nœud : {} n'en a pas, relancez sans elle", role.id);
    }
    let former_database = args.former_database.as_deref().map(|file| former::former_database(&role, file)).transpose()?;
    let first = role.audit.first(&role.home)?;
    let alone = first.alone()?.with_context(|| {
        format!("{} : le service tourne, ou une commande sur ses données : arrêtez-le, puis relancez", role.home.display())
    })?;
    let staging = Staging::begin(&role.home)?;
    if half_restored(&role.home)? {
        done.completed_earlier = true;
    } else {
        prepare(&args, &key, &role, &backup, &staging, former_database.as_ref(), &mut done).await?;
    }
    // An interrupted restoration may have been that of another file: what is told is what is in place.
    let origin = finish(&role, staging, alone, &mut done).await?;
    tell(&role, origin.as_ref(), &done, &args)?;
    if origin.is_none_or(|origin| origin != backup.origin()) {
        bail!(
            "une restauration interrompue a été achevée ; elle n'était pas celle de {}, ou rien ne dit qu'elle l'était. L'état en place est celui qui est décrit ci-dessus ; si ce n'est pas celui que vous vouliez, ne démarrez pas le service, déplacez le dossier et relancez cette commande",
            args.file.display()
        );
    }
    Ok(())
}

/// The role of the configuration that is saved, which is written with the other files once all of it fits. What it names elsewhere
/// than beside itself is for the operator to see first: a restoration writes to it.
fn saved_role(args: &RestoreArgs, settings: &Settings) -> anyhow::Result<Role> {
    let saved = settings.get(CONFIG).context("la sauvegarde ne contient pas de configuration : écrivez-la")?;
    let for_a_moment = tempfile::tempdir()?;
    let path = for_a_moment.path().join("configuration.toml");
    fsx::write_atomic(&path, saved)?;
    let role = Role::read_for(&args.config, &path).context("configuration de la sauvegarde")?;
    let folder = std::path::absolute(&args.config)?;
    let outside = role.outside(folder.parent().unwrap_or(Path::new("/")))?;
    if !outside.is_empty() && !args.paths_accepted {
        let paths: Vec<String> = outside.iter().map(|path| format!("\n  {}", path.display())).collect();
        bail!(
            "la configuration de la sauvegarde nomme, hors du dossier de {}, ces chemins où la restauration écrirait : {}\nLisez-les ; s'ils sont bien ceux de ce rôle, relancez avec --paths-accepted. Sinon écrivez la configuration vous-même. Rien n'est changé",
            args.config.display(),
            paths.concat()
        );
    }
    Ok(role)
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

/// Makes the new state ready; from its last line on it counts.
async fn prepare(
    args: &RestoreArgs,
    key: &SealingKey,
    role: &Role,
    backup: &Recognised,
    staging: &Staging,
    former_database: Option<&Place>,
    done: &mut Done,
) -> anyhow::Result<()> {
    let (state, audit, settings) = (staging.state(), staging.logs(), &backup.settings);
    let again = backup::read::<anyhow::Error>(
        &args.file,
        key,
        |again| if *again == backup.manifest.facts { Ok(()) } else { Err(BackupError::NotABackup.into()) },
        |name, bytes| {
            let path = match (name.strip_prefix(STATE), name.strip_prefix(AUDIT)) {
                (Some(below), _) => state.join(below),
                (_, Some(below)) => audit.join(below),
                _ => return Ok(()),
            };
            unpack(&path, bytes).with_context(|| path.display().to_string())
        },
    )?;
    backup.is_still(again)?;
    let last = logs::choose(args, role, staging, done)?;
    logs::whole(&audit, &saved_gate(settings)?, &role.id, args.accept_faulty_log)?;
    if let Some((server @ Place::Server(_), schema)) = &role.database {
        match Versions::of(server, schema).await? {
            Versions { found: None, .. } => bail!(
                "{server} : base vide ou absente ; restaurez-la d'abord par les outils de l'hébergeur (pg_restore), puis relancez. Rien n'est changé"
            ),
            Versions { found: Some(found), known } if found > known => bail!(
                "{server} : schéma {found}, ce programme connaît les versions jusqu'à {known} ; installez la version qui l'a écrit. Rien n'est changé"
            ),
            Versions { .. } => {}
        }
    }
    let now = SystemClock.now();
    let first = role.audit.first(&role.home)?;
    let log = restored_name(&first.log, now);
    if log <= last.log {
        bail!("le journal d'audit a déjà repris à une date postérieure : vérifiez l'horloge de cette machine");
    }
    let replaced = staging.replaces()?.then(|| role.home.clone());
    let former = Former {
        folder: args.former.as_deref().or(replaced.as_deref()),
        key: args.former_key.as_deref(),
        database: former_database,
    };
    former::settle(role, settings, staging, former, restoration(&log).unwrap_or_default(), done).await?;
    // The configuration last: a restoration killed before that one is repeated as it was begun.
    let (configuration, others): (Vec<_>, Vec<_>) = role.settings.iter().partition(|setting| setting.label == CONFIG);
    for setting in others.into_iter().chain(configuration) {
        if let (Kept::File(path), Some(saved), None) = (&setting.place, settings.get(&setting.label), setting.read()?) {
            staging.outside()?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let made = folder.map_or(Ok(()), fsx::create_private_dir);
            made.and_then(|()| fsx::write_atomic(path, saved)).with_context(|| {
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
    Ok(staging.ready(&role.audit.folder(&role.home), &log, &last.log, last.head.number, backup.origin())?)
}

/// The agreement in the backup, which is the one in place where there is one.
fn saved_gate(settings: &Settings) -> anyhow::Result<Gate> {
    let for_a_moment = tempfile::tempdir()?;
    let file = |label: &str| -> anyhow::Result<PathBuf> {
        let saved = settings.get(label).with_context(|| format!("« {label} » absent de la sauvegarde"))?;
        let path = for_a_moment.path().join(label);
        fsx::write_atomic(&path, saved)?;
        Ok(path)
    };
    let files = AgreementFiles { agreement: file("agreement")?, signatures: file("signatures")?, terminations: None };
    Ok(Gate::load(&files, Arc::new(SystemClock))?)
}

/// The last steps, which may be repeated: the state is put in place, and the log goes on. Gives the backup that the state comes from.
async fn finish(role: &Role, staging: Staging, alone: fs::File, done: &mut Done) -> anyhow::Result<Option<Origin>> {
    let server = role.database.as_ref().map(|(place, _)| place).filter(|place| matches!(place, Place::Server(_)));
    let plan = staging.plan()?;
    let moment = restoration(&plan.log).unwrap_or_default();
    if let Some(server) = server {
        former::begin_database(role, server, moment).await.with_context(|| to_be_repeated(server))?;
    }
    staging.finish()?;
    done.signed = plan.origin.as_ref().is_some_and(|origin| origin.signed);
    let folder: PathBuf = plan.audit.join(&plan.log);
    fsx::create_private_dir(&folder)?;
    let (seen, kept) = (plan.audit.join(&plan.after).join(WITNESS), folder.join(WITNESS));
    if seen.is_file() && !kept.try_exists()? {
        fsx::write_atomic(&kept, &fs::read(seen)?)?;
    }
    if let Some(server) = server {
        // The host has put it back; what it holds is changed only now that the rest of the state goes with it.
        former::settle_database(role, server, &staging, moment, done).await.with_context(|| to_be_repeated(server))?;
    }
    // The log is opened as by a service, which cannot begin yet: the folder says that it is half restored.
    drop(alone);
    let gate = Arc::new(Gate::load(&role.agreement, Arc::new(SystemClock))?);
    let log = AuditLog::open(&LogPlace { folder, log: plan.log }, gate, role.id.clone())?.by_operator();
    if log.head()?.number == 0 {
        log.note(Act::own("backup.restored").records(plan.entry))?;
    }
    completed(staging)?;
    Ok(plan.origin)
}

fn to_be_repeated(server: &Place) -> String {
    format!(
        "{server} : la base n'a pu être mise d'accord avec l'état restauré, et le service ne démarre pas tant qu'elle ne l'est pas. Une fois la cause levée, relancez la même commande, qui achève"
    )
}

fn tell(role: &Role, origin: Option<&Origin>, done: &Done, args: &RestoreArgs) -> anyhow::Result<()> {
    let facts = origin.map(|origin| &origin.facts);
    if args.json {
        return print_json(&serde_json::json!({ "facts": facts, "done": done }));
    }
    if done.completed_earlier {
        say("Une restauration interrompue a été achevée ; rien n'a été repris du fichier donné cette fois.");
    }
    match facts {
        Some(facts) => {
            say(&format!("{} restauré à l'état du {} (entrée n° {} du journal)", role.id, time(facts.at), facts.entry));
            say(&if done.signed {
                format!("  Signature de {} vérifiée, sous la convention {}", role.id, facts.agreement)
            } else {
                "  Sans signature : rien ne dit qui a fait cette sauvegarde".to_owned()
            });
        }
        None => {
            say(&format!("{} restauré ; la version du programme qui l'a commencé n'a pas noté de quelle sauvegarde", role.id));
        }
    }
    for path in &done.settings_written {
        say(&format!("  Repris de la sauvegarde : {path}"));
    }
    if done.objections_kept + done.requests_repeated > 0 || args.former.is_some() && matches!(role.id, RoleId::Party(_)) {
        say(&format!(
            "  Repris de l'ancien état : {} inscription(s) sur la liste d'opposition ; {} demande(s) de personnes seront exécutées de nouveau au démarrage",
            done.objections_kept, done.requests_repeated
        ));
    }
    if done.accounts_off > 0 {
        say(&format!("  {} compte(s) désactivé(s) depuis la sauvegarde le reste(nt)", done.accounts_off));
    }
    if role.database_elsewhere() && args.former_database.is_none() && matches!(role.id, RoleId::Analyst(_)) {
        say(
            "  Comptes : ceux qui ont été désactivés depuis la sauvegarde de la base sont de nouveau actifs ; désactivez-les avant de rouvrir la page (linkage analyst users disable)",
        );
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
    if role.database_elsewhere() {
        say("  La base PostgreSQL, que l'hébergeur a restaurée, est mise d'accord avec le reste");
    }
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
