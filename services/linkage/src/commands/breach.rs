//! `linkage breach report`: what a controller has to say of a personal data breach (RGPD, article 33, 3), from the audit logs
//! of the roles concerned, in French.
//!
//! It states categories, approximate numbers, what the logs show between two days, likely consequences and measures, and the
//! hours that are left: 36 of the conventions to tell the other signatories, 72 of article 33 to tell the CNIL. What the logs
//! cannot know is asked for, « À COMPLÉTER ». Numbers are rounded up to hundreds: the law asks for approximate ones, and a report
//! travels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, Subcommand};
use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use linkage_agreement::{Agreement, RoleId};
use linkage_analyst::config::AnalystConfig;
use linkage_analyst::study::StudyStore;
use linkage_common::audit::{self, Entry, Outcome};
use linkage_common::clock::{Clock as _, SystemClock};
use linkage_common::fsx;
use serde_json::json;

use super::audit::Log;
use super::pack::document::{Document, TO_COMPLETE};
use crate::cli::{print_json, say};

/// Hours that the conventions give to tell the other signatories.
const CONVENTION_HOURS: i64 = 36;
/// Hours that RGPD, article 33, 1, gives to tell the supervisory authority.
const ARTICLE_33_HOURS: i64 = 72;
/// What numbers are rounded up to.
const ROUNDED_TO: u64 = 100;

/// Commands on breaches.
#[derive(Debug, Subcommand)]
pub enum BreachCommand {
    /// Write the report of a breach, to be completed.
    Report(ReportArgs),
}

/// Arguments of `linkage breach report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Configuration of a role that is concerned; repeat it for several.
    #[arg(long = "config", value_name = "FILE", required = true)]
    configs: Vec<PathBuf>,
    /// First day of the breach (AAAA-MM-JJ, UTC).
    #[arg(long)]
    from: Date,
    /// Last day (AAAA-MM-JJ, UTC).
    #[arg(long)]
    to: Date,
    /// When it became known, which the hours count from (AAAA-MM-JJTHH:MM:SSZ); now when absent.
    #[arg(long)]
    known_at: Option<Timestamp>,
    /// The report, Markdown; an existing one is never replaced.
    #[arg(long)]
    out: PathBuf,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// What the log of one role shows.
#[derive(Default)]
struct Findings {
    /// By caller and method or act: how often done, and refused or failed, and records of what was done.
    acts: BTreeMap<(String, String), [u64; 3]>,
    runs: BTreeSet<String>,
    periods: BTreeSet<String>,
    /// Most records that one act of each caller was about, in the time asked for, and in the whole log.
    records: BTreeMap<String, u64>,
    records_ever: BTreeMap<String, u64>,
    entries: u64,
}

/// About how many records and persons a role held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    records: u64,
    persons: u64,
}

impl Findings {
    fn take(&mut self, entry: &Entry, within: bool) {
        let done = entry.outcome == Outcome::Done;
        // Evaluations count block keys, of which a record has several.
        let about = entry.records.filter(|_| done && !entry.what.starts_with("Oprf/"));
        if let Some(records) = about {
            let most = self.records_ever.entry(entry.who.clone()).or_default();
            *most = (*most).max(records);
        }
        if !within {
            return;
        }
        self.entries += 1;
        self.runs.extend(entry.run.clone());
        self.periods.extend(entry.period.clone());
        let counts = self.acts.entry((entry.who.clone(), entry.what.clone())).or_default();
        let [did, refused, records] = counts;
        if done {
            *did += entry.count;
            *records += entry.records.unwrap_or(0);
            if let Some(n) = about {
                let most = self.records.entry(entry.who.clone()).or_default();
                *most = (*most).max(n);
            }
        } else {
            *refused += entry.count;
        }
    }
    /// About how many records the role handled: in that time, or, if nothing happened in it, ever. A node's acts are all about its own
    /// list; broker and custodian hold what each partner sent. The log of an analyst's side counts accesses, not records.
    fn about(&self, role: &RoleId) -> Option<Extent> {
        let of = if self.records.is_empty() { &self.records_ever } else { &self.records };
        let records = match role {
            RoleId::Party(_) => of.values().copied().max()?,
            RoleId::Broker | RoleId::Custodian => of.iter().filter(|(who, _)| who.contains("/party/")).map(|(_, n)| n).sum(),
            RoleId::Analyst(_) => return None,
        };
        Some(Extent { records: rounded(records), persons: rounded(records) })
    }
}

/// What an analyst's side holds now: rows of all months, and no more persons than these.
fn held_by_analyst(path: &Path, agreement: &Agreement) -> anyhow::Result<Option<Extent>> {
    let config: AnalystConfig = super::config(path)?;
    let study = StudyStore::open(&config.data_dir, agreement)?.study()?;
    let records: u64 = study.months.iter().map(|month| month.rows).sum();
    Ok((records > 0).then(|| Extent { records: rounded(records), persons: rounded(u64::from(study.persons)) }))
}

fn rounded(n: u64) -> u64 {
    n.div_ceil(ROUNDED_TO).saturating_mul(ROUNDED_TO)
}

/// Runs a command.
pub fn run(command: &BreachCommand) -> anyhow::Result<()> {
    let BreachCommand::Report(args) = command;
    if args.to < args.from {
        bail!("--to est avant --from : donnez le premier, puis le dernier jour de la violation");
    }
    if args.out.try_exists()? {
        bail!("{} existe déjà ; choisissez un autre nom : un rapport commencé n'est jamais remplacé", args.out.display());
    }
    let known = args.known_at.unwrap_or_else(|| SystemClock.now());
    let mut document = head(args, known)?;
    let mut facts = Vec::new();
    for path in &args.configs {
        let log = Log::open(path)?;
        let intact = log.verify()?.fault.is_none();
        let mut findings = Findings::default();
        audit::each(&log.place, |_, _, entry| {
            let day = Timestamp::from_second(entry.at).map(|at| Offset::UTC.to_datetime(at).date());
            findings.take(&entry, day.is_ok_and(|day| day >= args.from && day <= args.to));
            Ok::<(), std::io::Error>(())
        })?;
        let agreement = log.gate.agreement();
        let extent = match &log.role {
            RoleId::Analyst(_) => held_by_analyst(path, agreement)?,
            role => findings.about(role),
        };
        facts.push(json!({
            "role": log.role.to_string(),
            "log_intact": intact,
            "entries": findings.entries,
            "records_about": extent.map(|extent| extent.records),
            "persons_about": extent.map(|extent| extent.persons),
            "runs": findings.runs,
            "periods": findings.periods,
        }));
        document = of_role(document, &log.role, agreement, &findings, extent, intact);
    }
    let document = tail(document);
    fsx::write_atomic(&args.out, document.markdown().as_bytes())?;
    if args.json {
        return print_json(&json!({ "known_at": known.to_string(), "roles": facts, "to_complete": document.to_complete() }));
    }
    say(&format!(
        "{} écrit ; {} passages « À COMPLÉTER ». À dire aux signataires avant le {}, à la CNIL avant le {} (UTC).",
        args.out.display(),
        document.to_complete(),
        deadline(known, CONVENTION_HOURS)?,
        deadline(known, ARTICLE_33_HOURS)?
    ));
    Ok(())
}

fn deadline(known: Timestamp, hours: i64) -> anyhow::Result<String> {
    let at = known.checked_add(SignedDuration::from_hours(hours))?;
    Ok(Offset::UTC.to_datetime(at).strftime("%Y-%m-%d à %H:%M").to_string())
}

fn head(args: &ReportArgs, known: Timestamp) -> anyhow::Result<Document> {
    Ok(Document::new("violation", "Violation de données à caractère personnel (RGPD, article 33)")
        .table(
            ["Échéance", "Avant le (UTC)", "À qui"],
            [
                [
                    format!("{CONVENTION_HOURS} heures (convention)"),
                    deadline(known, CONVENTION_HOURS)?,
                    "autres signataires de la convention, par leurs délégués".to_owned(),
                ],
                [
                    format!("{ARTICLE_33_HOURS} heures (article 33, 1)"),
                    deadline(known, ARTICLE_33_HOURS)?,
                    "CNIL, par le responsable du traitement, sauf absence de risque".to_owned(),
                ],
                [
                    "sans délai (article 34)".to_owned(),
                    "dès que le risque est jugé élevé".to_owned(),
                    "personnes concernées".to_owned(),
                ],
            ],
        )
        .heading("Nature de la violation")
        .text(format!(
            "Du {} au {}. {TO_COMPLETE} : confidentialité, intégrité ou disponibilité ; ce qui s'est passé ; comment on l'a su.",
            args.from, args.to
        )))
}

fn of_role(
    document: Document,
    role: &RoleId,
    agreement: &Agreement,
    findings: &Findings,
    extent: Option<Extent>,
    intact: bool,
) -> Document {
    let (categories, consequences) = role_words(role, agreement);
    let (records, persons) = match extent {
        Some(Extent { records, persons }) => (
            format!("environ {} ({})", thousands(records), counted(role)),
            format!("au plus {} : une personne peut avoir plusieurs fiches", thousands(persons)),
        ),
        None => {
            let unknown = format!("{TO_COMPLETE} : le journal et les fichiers n'en montrent pas le nombre");
            (unknown.clone(), unknown)
        }
    };
    let dash = |set: &BTreeSet<String>| {
        if set.is_empty() { "aucun".to_owned() } else { set.iter().cloned().collect::<Vec<_>>().join(", ") }
    };
    let mut document = document.heading(format!("Rôle concerné : {} ({role})", role_name(role, agreement))).table(
        ["Objet", "Réponse"],
        [
            ["Catégories de données".to_owned(), categories],
            [
                "Catégories de personnes".to_owned(),
                "personnes inscrites dans les fichiers des partenaires, dont des personnes vulnérables".to_owned(),
            ],
            ["Nombre approximatif d'enregistrements".to_owned(), records],
            ["Nombre approximatif de personnes".to_owned(), persons],
            [
                "Traitements et mois touchés dans la période".to_owned(),
                format!("{} ; mois : {}", dash(&findings.runs), dash(&findings.periods)),
            ],
            ["Conséquences probables".to_owned(), consequences.to_owned()],
            [
                "Journal d'audit".to_owned(),
                if intact {
                    format!("intact ({} entrées dans la période)", findings.entries)
                } else {
                    "ALTÉRÉ : « linkage audit verify » dit où ; les lignes ci-dessous ne font pas foi".to_owned()
                },
            ],
        ],
    );
    if findings.acts.is_empty() {
        document = document.text("Le journal ne montre aucun acte dans la période.");
    } else {
        let row = |((who, what), [done, refused, records]): (&(String, String), &[u64; 3])| {
            [who.clone(), what.clone(), thousands(*done), thousands(*refused), thousands(rounded(*records))]
        };
        document = document.table(
            ["Qui (certificat)", "Acte", "Faits", "Refusés ou en échec", "Fiches (à la centaine supérieure)"],
            findings.acts.iter().map(row),
        );
    }
    document
}

/// Who a role is, by the agreement's name of the organisation.
fn role_name(role: &RoleId, agreement: &Agreement) -> String {
    match role {
        RoleId::Party(id) => {
            let name = agreement.party.iter().find(|p| p.id == *id).map_or(id.as_str(), |p| p.name.as_str());
            format!("partenaire, {name}")
        }
        RoleId::Broker => format!("opérateur du rapprochement, {}", agreement.broker.name),
        RoleId::Custodian => format!("tiers de confiance, {}", agreement.custodian.name),
        RoleId::Analyst(id) => {
            let name = agreement.analyst.iter().find(|a| a.id == *id).map_or(id.as_str(), |a| a.name.as_str());
            format!("équipe d'étude, {name}")
        }
    }
}

/// How the number of records was had.
fn counted(role: &RoleId) -> &'static str {
    match role {
        RoleId::Party(_) => "plus grande livraison ou plus grand envoi que montre le journal, à la centaine supérieure",
        RoleId::Broker | RoleId::Custodian => {
            "somme, par partenaire, du plus grand envoi que montre le journal, à la centaine supérieure"
        }
        RoleId::Analyst(_) => "lignes de tous les mois que détient l'étude, à la centaine supérieure",
    }
}

/// A number with spaces between its thousands.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// Categories of data at a role, and what their disclosure may lead to.
fn role_words(role: &RoleId, agreement: &Agreement) -> (String, &'static str) {
    let attributes: Vec<String> = agreement.travelling_attributes().into_iter().map(|a| a.name).collect();
    let attributes = attributes.join(", ");
    match role {
        RoleId::Party(_) => (
            format!(
                "identité des personnes tant que leurs noms ne sont pas supprimés ; archive d'encodages ; attributs ({attributes})"
            ),
            "révélation de l'inscription à un service social ; sans la clé de stockage, l'état chiffré ne livre que des tailles et des mois ; avec elle, \
             l'archive se laisse relire par dictionnaire même après la suppression des noms",
        ),
        RoleId::Broker => (
            "jetons et filtres sous clés, classes de qualité ; ni nom, ni attribut".to_owned(),
            "pas de ré-identification sans les clés des partenaires et du tiers de confiance ; avec la complicité d'un partenaire, connaissance des autres \
             services qui suivent ses propres usagers",
        ),
        RoleId::Custodian => (
            format!("registre des personnes par références aléatoires ; présence par mois ; attributs scellés ({attributes})"),
            "parcours entre services par références, sans nom ; une combinaison rare peut être reconnue ; si la clé de l'OPRF est prise, la convention doit \
             changer de clé",
        ),
        RoleId::Analyst(_) => (
            format!("lignes pseudonymes et attributs minimisés ({attributes})"),
            "une combinaison rare d'attributs peut faire reconnaître une personne par qui la connaît, et révéler les services qui la suivent",
        ),
    }
}

fn tail(document: Document) -> Document {
    document
        .heading("Mesures prises ou proposées")
        .list([
            format!("{TO_COMPLETE} : coupure de l'accès (certificat révoqué, liste de révocation distribuée, compte désactivé)."),
            format!("{TO_COMPLETE} : remplacement des clés prises (stockage, signature, scellement ; clé commune et clé de l'OPRF s'il y a lieu)."),
            format!("{TO_COMPLETE} : suppression, avec certificat, de ce qui n'a plus à être détenu."),
            format!("{TO_COMPLETE} : conservation des journaux d'audit (« linkage audit export ») et de leurs contresignatures."),
        ])
        .heading("Contact")
        .text(format!("{TO_COMPLETE} : nom et coordonnées du délégué à la protection des données ou d'un autre point de contact."))
        .heading("Information des personnes (article 34)")
        .text(format!("{TO_COMPLETE} : risque élevé ou non, et pourquoi ; le cas échéant, texte et moyen de l'information."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(who: &str, what: &str, records: Option<u64>, outcome: Outcome) -> Entry {
        let line = json!({ "n": 1, "at": 0, "who": who, "what": what, "agreement": "00", "records": records, "outcome": outcome, "salt": "" });
        serde_json::from_value(line).unwrap()
    }

    #[test]
    fn numbers_are_of_the_time_asked_for_and_never_exact() {
        let (a, b, analyst) = ("linkage://c/party/a", "linkage://c/party/b", "linkage://c/analyst/e");
        let all = |records| Some(Extent { records, persons: records });
        let mut findings = Findings::default();
        findings.take(&entry(a, "Put", Some(950), Outcome::Done), false);
        assert_eq!((findings.about(&RoleId::Broker), findings.entries), (all(1_000), 0));
        findings.take(&entry(a, "Put", Some(120), Outcome::Done), true);
        findings.take(&entry(a, "Put", Some(130), Outcome::Done), true);
        findings.take(&entry(b, "Put", Some(131), Outcome::Done), true);
        findings.take(&entry(b, "Put", Some(9_000), Outcome::Refused), true);
        // Neither what an analyst fetched nor evaluations are records that a partner sent.
        findings.take(&entry(analyst, "Registry/GetLinkTable", Some(5_000), Outcome::Done), true);
        findings.take(&entry(a, "Oprf/Evaluate", Some(1_024), Outcome::Done), true);
        assert_eq!(findings.about(&RoleId::Custodian), all(300));
        assert_eq!(findings.about(&RoleId::Analyst("e".parse().unwrap())), None);
        assert_eq!(findings.acts[&(a.to_owned(), "Put".to_owned())], [2, 0, 250]);
        assert_eq!(findings.acts[&(b.to_owned(), "Put".to_owned())], [1, 1, 131]);
        let mut own = Findings::default();
        own.take(&entry("operator", "delivery.taken-in", Some(120), Outcome::Done), true);
        own.take(&entry(a, "run.taken-part", Some(130), Outcome::Done), true);
        assert_eq!(own.about(&RoleId::Party("a".parse().unwrap())), all(200));
        assert_eq!(thousands(1_234_567), "1\u{202f}234\u{202f}567");
    }

    #[test]
    fn hours_count_from_when_it_became_known() {
        let known: Timestamp = "2026-11-22T22:30:00Z".parse().unwrap();
        assert_eq!(deadline(known, CONVENTION_HOURS).unwrap(), "2026-11-24 à 10:30");
    }
}
