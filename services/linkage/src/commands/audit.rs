//! `linkage audit`: reading the audit log of a role, on the machine that has it.
//!
//! The role is told by its configuration. Nothing is written but the file asked for; a log that does not verify ends every
//! command with exit code 3, its first fault on standard error.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use linkage_agreement::RoleId;
use linkage_analyst::config::AnalystConfig;
use linkage_broker::config::BrokerConfig;
use linkage_common::audit::{self, AuditConfig, Entry, Outcome, Place, Report};
use linkage_common::clock::SystemClock;
use linkage_common::gate::Gate;
use linkage_common::{AgreementFiles, fsx};
use linkage_custodian::config::CustodianConfig;
use linkage_node::Node;
use linkage_node::config::NodeConfig;
use serde_json::json;

use super::config;
use crate::CheckFailed;
use crate::cli::{note, print_json, say, table};

/// Commands on audit logs.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Verify chain, checkpoints and countersignatures; says file and line of the first fault.
    Verify {
        /// Configuration file of the role.
        #[arg(long)]
        config: PathBuf,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print entries.
    Show {
        #[command(flatten)]
        which: Which,
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write entries to a file, for a data protection officer.
    Export {
        #[command(flatten)]
        which: Which,
        /// Form of the file.
        #[arg(long, value_enum, default_value = "csv")]
        format: Format,
        /// The file; replaced when it is there.
        #[arg(long)]
        out: PathBuf,
    },
    /// Of a node: what it has countersigned of the others' logs.
    Witnessed {
        /// Configuration file of the node.
        #[arg(long)]
        config: PathBuf,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Of a node: accept that the log of a role begins anew (restored from a backup), once its operator has explained it.
    Accept {
        /// Configuration file of the node.
        #[arg(long)]
        config: PathBuf,
        /// The role: broker, custodian, or analyst/NAME.
        #[arg(long, value_parser = role_named)]
        role: RoleId,
    },
}

/// Which entries.
#[derive(Debug, Args)]
pub struct Which {
    /// Configuration file of the role.
    #[arg(long)]
    config: PathBuf,
    /// First day (AAAA-MM-JJ, UTC).
    #[arg(long)]
    since: Option<Date>,
    /// Last day (AAAA-MM-JJ, UTC).
    #[arg(long)]
    until: Option<Date>,
    /// Only entries whose caller holds this text.
    #[arg(long)]
    who: Option<String>,
    /// Only entries whose method or act holds this text.
    #[arg(long)]
    what: Option<String>,
    /// Only entries of this run.
    #[arg(long)]
    run: Option<String>,
    /// Only what was not done: refused, failed, cut off.
    #[arg(long)]
    not_done: bool,
}

/// Form of an export.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    /// Semicolons, UTF-8, one line an entry.
    #[value(help = "Points-virgules, UTF-8, une ligne par entrée")]
    Csv,
    /// JSON Lines.
    Jsonl,
}

fn role_named(text: &str) -> Result<RoleId, String> {
    match (text, text.strip_prefix("analyst/")) {
        ("broker", _) => Ok(RoleId::Broker),
        ("custodian", _) => Ok(RoleId::Custodian),
        (_, Some(id)) => Ok(RoleId::Analyst(id.parse().map_err(|e: linkage_agreement::InvalidId| e.to_string())?)),
        _ => Err("attendu : broker, custodian ou analyst/NOM".to_owned()),
    }
}

/// A role's log, for reading.
pub(super) struct Log {
    pub(super) place: Place,
    pub(super) gate: Arc<Gate>,
    pub(super) role: RoleId,
}

impl Log {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let text = super::text(path)?;
        let keys: toml::Table = toml::from_str(&text).with_context(|| path.display().to_string())?;
        let log = |agreement: &AgreementFiles, audit: &AuditConfig, home: &Path, role: RoleId| {
            let gate = Gate::load(agreement, Arc::new(SystemClock))?;
            Ok(Self { place: audit.place(home)?, gate: Arc::new(gate), role })
        };
        // Each kind of configuration has a key that no other has.
        if keys.contains_key("party") {
            let c: NodeConfig = config(path)?;
            log(&c.agreement, &c.audit, &c.state_dir, RoleId::Party(c.party.clone()))
        } else if keys.contains_key("analyst") {
            let c: AnalystConfig = config(path)?;
            log(&c.agreement, &c.audit, &c.data_dir, RoleId::Analyst(c.analyst.clone()))
        } else if keys.contains_key("oprf_key") {
            let c: CustodianConfig = config(path)?;
            log(&c.agreement, &c.audit, &c.data_dir, RoleId::Custodian)
        } else {
            let c: BrokerConfig = config(path)?;
            log(&c.agreement, &c.audit, &c.data_dir, RoleId::Broker)
        }
    }

    pub(super) fn verify(&self) -> anyhow::Result<Report> {
        if !self.place.folder.is_dir() {
            bail!("{} : aucun journal d'audit ici ; vérifiez « data_dir » et « audit »", self.place.folder.display());
        }
        audit::verify(&self.place, &self.gate, &self.role).with_context(|| self.place.folder.display().to_string())
    }

    /// The parts before a restoration from a backup, each with its report.
    fn before(&self) -> anyhow::Result<Vec<(String, Report)>> {
        let parts = self.place.before().with_context(|| self.place.folder.display().to_string())?;
        let verified = |part: Place| Ok((part.log.clone(), audit::verify(&part, &self.gate, &self.role)?));
        parts.into_iter().map(verified).collect()
    }

    /// The entries asked for.
    fn entries(&self, which: &Which) -> anyhow::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        audit::each::<std::io::Error>(&self.place, |_, _, entry| {
            if which.takes(&entry) {
                entries.push(entry);
            }
            Ok(())
        })
        .with_context(|| self.place.folder.display().to_string())?;
        Ok(entries)
    }
}

impl Which {
    fn takes(&self, entry: &Entry) -> bool {
        let day = Offset::UTC.to_datetime(time(entry.at)).date();
        let holds = |text: &str, part: &Option<String>| part.as_ref().is_none_or(|part| text.contains(part.as_str()));
        self.since.is_none_or(|since| day >= since)
            && self.until.is_none_or(|until| day <= until)
            && holds(&entry.who, &self.who)
            && holds(&entry.what, &self.what)
            && self.run.as_ref().is_none_or(|run| entry.run.as_ref() == Some(run))
            && (!self.not_done || entry.outcome != Outcome::Done)
    }
}

fn time(at: i64) -> Timestamp {
    Timestamp::from_second(at).unwrap_or_default()
}

/// Runs a command.
pub fn run(command: AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::Verify { config, json } => verify(&Log::open(&config)?, json),
        AuditCommand::Show { which, json } => {
            let log = Log::open(&which.config)?;
            let report = log.verify()?;
            let entries = log.entries(&which)?;
            if json {
                print_json(&entries)?;
            } else {
                show(&entries);
            }
            intact(&report)
        }
        AuditCommand::Export { which, format, out } => {
            let log = Log::open(&which.config)?;
            let report = log.verify()?;
            let entries = log.entries(&which)?;
            fsx::write_atomic_with(&out, |file| export(&entries, format, file)).with_context(|| out.display().to_string())?;
            say(&format!("{} entrée(s) : {}", entries.len(), out.display()));
            intact(&report)
        }
        AuditCommand::Witnessed { config: path, json } => {
            let known = Node::open(config(&path)?)?.witness()?.known();
            if json {
                return print_json(&known);
            }
            for (role, logs) in &known {
                for (log, known) in logs {
                    let state = match (&known.conflict, known.handed_over) {
                        (Some(_), _) => "ALERTE : le journal présenté depuis ne le prolonge pas",
                        (None, true) => "contresigné",
                        (None, false) => "contresigné, pas encore remis",
                    };
                    say(&format!("  {role} ({log}) : entrée n° {}, {}, {state}", known.checkpoint.number, time(known.seen)));
                }
            }
            if known.is_empty() {
                say("Aucun journal n'a encore été contresigné.");
            }
            Ok(())
        }
        AuditCommand::Accept { config: path, role } => {
            let known = Node::open(config(&path)?)?.witness()?.accept(&role)?;
            say(&match known {
                0 => format!("Aucun journal de {role} n'était connu."),
                n => format!("{n} journal(aux) de {role} oublié(s) : le prochain regard contresigne ce qui est présenté."),
            });
            say("Redémarrez le nœud s'il est en service.");
            Ok(())
        }
    }
}

fn intact(report: &Report) -> anyhow::Result<()> {
    let Some(fault) = &report.fault else { return Ok(()) };
    note(&fault.to_string());
    Err(CheckFailed.into())
}

fn verify(log: &Log, json: bool) -> anyhow::Result<()> {
    let report = log.verify()?;
    let before = log.before()?;
    let bad = before.iter().map(|(_, report)| report).chain([&report]).any(|report| report.fault.is_some());
    if json {
        let part = |(log, report): &(String, Report)| json!({ "log": log, "report": report });
        let before: Vec<_> = before.iter().map(part).collect();
        print_json(&json!({ "role": log.role.to_string(), "log": log.place.log, "report": report, "before": before }))?;
        return if bad { Err(CheckFailed.into()) } else { Ok(()) };
    }
    for (name, report) in &before {
        match &report.fault {
            Some(fault) => say(&format!("Partie « {name} » du journal de {} : EN DÉFAUT\n  {fault}", log.role)),
            None => say(&format!(
                "Partie « {name} » : intacte, {} entrées jusqu'au n° {} ; le journal est repris après une restauration sous un autre nom",
                report.entries,
                report.last.or(report.pruned_until).unwrap_or_default()
            )),
        }
    }
    told(log, &report)?;
    if bad { Err(CheckFailed.into()) } else { Ok(()) }
}

/// Says what the part that is written to comes to.
fn told(log: &Log, report: &Report) -> anyhow::Result<()> {
    if let Some(fault) = &report.fault {
        say(&format!("Journal d'audit de {} : EN DÉFAUT", log.role));
        say(&format!("  {fault}"));
        return Err(CheckFailed.into());
    }
    let (Some(first), Some(last), Some(at)) = (report.first, report.last, report.last_at) else {
        say(&format!("Journal d'audit de {} : vide.", log.role));
        return Ok(());
    };
    say(&format!("Journal d'audit de {} : intact, {} entrées, n° {first} à {last} ({})", log.role, report.entries, time(at)));
    say(&format!("  Valeur de chaînage : {}", report.head));
    if let Some(until) = report.pruned_until {
        say(&format!("  Entrées jusqu'au n° {until} arrivées à leur terme et supprimées (ancre signée)"));
    }
    for (party, number) in &report.countersigned {
        say(&format!("  Contresigné par {party} jusqu'à l'entrée n° {number}"));
    }
    if report.countersigned.is_empty() && !matches!(log.role, RoleId::Party(_)) {
        say("  Pas encore contresigné : rien n'empêche à ce stade de le réécrire en entier");
    }
    if report.other_agreements > 0 {
        say(&format!("  {} signature(s) faites sous une autre version de la convention, non vérifiées", report.other_agreements));
    }
    if report.half_line {
        say("  Dernière ligne inachevée : écriture en cours, ou service arrêté brutalement ; elle sera coupée et notée");
    }
    Ok(())
}

fn show(entries: &[Entry]) {
    let some = |text: &Option<String>| text.clone().unwrap_or_default();
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|e| {
            let outcome = match &e.code {
                Some(code) => format!("{} ({code})", e.outcome.french()),
                None => e.outcome.french().to_owned(),
            };
            let times = if e.count == 1 { String::new() } else { format!("×{}", e.count) };
            let records = e.records.map_or_else(String::new, |n| n.to_string());
            let (what, who) = (e.what.clone(), e.who.clone());
            vec![format!("{} {}", e.n, time(e.at)), who, what, some(&e.run), some(&e.period), records, outcome, times]
        })
        .collect();
    say(&table(&["entrée", "qui", "quoi", "traitement", "mois", "fiches", "issue", "fois"], &rows));
}

fn export(entries: &[Entry], format: Format, file: &mut std::fs::File) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(file);
    if matches!(format, Format::Jsonl) {
        for entry in entries {
            serde_json::to_writer(&mut out, entry)?;
            out.write_all(b"\n")?;
        }
        return out.flush();
    }
    let mut csv = csv::WriterBuilder::new().delimiter(b';').from_writer(out);
    csv.write_record([
        "numero",
        "instant",
        "qui",
        "avec_qui",
        "quoi",
        "convention",
        "traitement",
        "mois",
        "fiches",
        "champs",
        "empreinte",
        "issue",
        "code",
        "fois",
    ])?;
    for e in entries {
        let some = |text: &Option<String>| text.clone().unwrap_or_default();
        csv.write_record([
            e.n.to_string(),
            time(e.at).to_string(),
            e.who.clone(),
            some(&e.peer),
            e.what.clone(),
            e.agreement.clone(),
            some(&e.run),
            some(&e.period),
            e.records.map_or_else(String::new, |n| n.to_string()),
            e.fields.join(" "),
            some(&e.digest),
            e.outcome.french().to_owned(),
            some(&e.code),
            e.count.to_string(),
        ])?;
    }
    csv.flush()
}
