//! `linkage certificate`: deletion certificates, verified and listed.
//!
//! `verify` takes anybody's certificates and the agreement's files alone; `list` those of a role's own folder. Both end with
//! exit code 3 when a certificate does not hold, with file and line, or when `list` finds a number missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use linkage_common::AgreementFiles;
use linkage_common::deletion::series::Series;
use linkage_common::deletion::{self, Cause, Certificate, CertificateError, DataSet};
use linkage_common::fsx;
use serde::Deserialize;
use serde_json::{Value, json};

use super::config;
use crate::CheckFailed;
use crate::cli::{print_json, say, table};

/// Commands on deletion certificates.
#[derive(Debug, Subcommand)]
pub enum CertificateCommand {
    /// Verify certificates; names the line of one that was changed.
    Verify {
        /// Certificates, of one role or several.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The agreement that they were signed under.
        #[arg(long)]
        agreement: PathBuf,
        /// Its signatures.
        #[arg(long)]
        signatures: PathBuf,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List a role's certificates, verified, and the numbers that are missing.
    List {
        /// Configuration file of the role.
        #[arg(long)]
        config: PathBuf,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Of a role's configuration, what says where its certificates are.
#[derive(Debug, Deserialize)]
struct AnyRole {
    #[serde(default)]
    state_dir: Option<PathBuf>,
    #[serde(default)]
    data_dir: Option<PathBuf>,
    agreement: AgreementFiles,
}

/// What became of one file.
struct Checked {
    file: PathBuf,
    read: Result<Certificate, CertificateError>,
}

/// Runs the command.
pub fn run(command: CertificateCommand) -> anyhow::Result<()> {
    match command {
        CertificateCommand::Verify { files, agreement, signatures, json } => {
            let checked = check(files, &AgreementFiles { agreement, signatures, terminations: None })?;
            let missing = missing(&checked, |numbers| numbers.first().copied().unwrap_or(1));
            show(&checked, &missing, json)?;
            if checked.iter().any(|c| c.read.is_err()) { Err(CheckFailed.into()) } else { Ok(()) }
        }
        CertificateCommand::List { config: path, json } => {
            let role: AnyRole = config(&path)?;
            let home = role.state_dir.or(role.data_dir).ok_or_else(|| {
                anyhow::anyhow!("{} : ni « state_dir » ni « data_dir » : donnez la configuration d'un rôle", path.display())
            })?;
            let checked = check(Series::new(&home).files()?, &role.agreement)?;
            let missing = missing(&checked, |_| 1);
            show(&checked, &missing, json)?;
            let faulty = checked.iter().any(|c| c.read.is_err()) || missing.values().any(|numbers| !numbers.is_empty());
            if faulty { Err(CheckFailed.into()) } else { Ok(()) }
        }
    }
}

fn check(files: Vec<PathBuf>, agreement: &AgreementFiles) -> anyhow::Result<Vec<Checked>> {
    let signed = agreement.load_signed_agreement()?;
    let mut checked = Vec::new();
    for file in files {
        let text = fsx::read_text(&file, deletion::LIMIT)?;
        let read = deletion::read(&text, signed.agreement(), signed.hash().as_bytes());
        checked.push(Checked { file, read });
    }
    Ok(checked)
}

/// By role, the numbers from the one that `first` gives to its last that no valid certificate has.
fn missing(checked: &[Checked], first: impl Fn(&[u64]) -> u64) -> BTreeMap<String, Vec<u64>> {
    let mut by_role: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for certificate in checked.iter().filter_map(|c| c.read.as_ref().ok()) {
        by_role.entry(certificate.role.clone()).or_default().push(certificate.number);
    }
    for numbers in by_role.values_mut() {
        numbers.sort_unstable();
        let (from, to) = (first(numbers), numbers.last().copied().unwrap_or(0));
        *numbers = (from..=to).filter(|number| numbers.binary_search(number).is_err()).collect();
    }
    by_role
}

fn show(checked: &[Checked], missing: &BTreeMap<String, Vec<u64>>, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let facts: Vec<Value> = checked.iter().map(|c| facts(&c.file, &c.read)).collect();
        return print_json(&json!({ "certificates": facts, "missing": missing }));
    }
    let valid: Vec<Vec<String>> = checked.iter().filter_map(|c| c.read.as_ref().ok()).map(row).collect();
    if !valid.is_empty() {
        say(&table(&["rôle", "n°", "supprimé le (UTC)", "règle", "cause", "données"], &valid));
    }
    for c in checked {
        match &c.read {
            Ok(_) => {}
            Err(CertificateError::Line { line, why }) => say(&format!("{}:{line} : {why}", c.file.display())),
            Err(error) => say(&format!("{} : {error}", c.file.display())),
        }
    }
    let invalid = checked.len() - valid.len();
    say(&format!("{} certificat(s) valable(s), {invalid} refusé(s)", valid.len()));
    for (role, numbers) in missing.iter().filter(|(_, numbers)| !numbers.is_empty()) {
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        say(&format!("{role} : il manque le(s) numéro(s) {} de la série ; demandez-les à ce rôle", numbers.join(", ")));
    }
    Ok(())
}

fn facts(file: &Path, read: &Result<Certificate, CertificateError>) -> Value {
    match read {
        Ok(c) => json!({
            "file": file, "valid": true, "role": c.role, "number": c.number, "deleted_at": c.deleted_at, "rule": c.rule,
            "value": c.value, "cause": c.cause, "as_of": c.as_of, "run": c.run, "data": c.data,
        }),
        Err(CertificateError::Line { line, why }) => json!({ "file": file, "valid": false, "line": line, "reason": why }),
        Err(error) => json!({ "file": file, "valid": false, "reason": error.to_string() }),
    }
}

fn row(c: &Certificate) -> Vec<String> {
    let rule = match c.value {
        Some(value) => format!("{} = {value}", c.rule),
        None => c.rule.clone(),
    };
    let run = c.run.as_ref().map(|run| format!("traitement {run} : ")).unwrap_or_default();
    let data: Vec<String> = c.data.iter().map(set).collect();
    vec![
        c.role.clone(),
        c.number.to_string(),
        format!("{:.0}", c.deleted_at),
        rule,
        cause(&c.cause),
        format!("{run}{}", data.join(", ")),
    ]
}

fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Term => "terme échu".to_owned(),
        Cause::End => "fin de la convention".to_owned(),
        Cause::Termination(party) => format!("dénonciation par {party}"),
        Cause::RunEnded => "fin du traitement".to_owned(),
        Cause::Operator => "demande de l'opérateur".to_owned(),
        Cause::Withdrawal => "demande du partenaire".to_owned(),
    }
}

/// A set in words; docs/conservation.md says what is in each.
fn set_name(set: &str) -> &str {
    match set {
        "names" => "livraisons nominatives",
        "evaluations" => "évaluations",
        "archive" => "fiches archivées",
        "decoys" => "leurres",
        "deliveries" => "livraisons encodées",
        "encodings" => "jetons et filtres",
        "snapshots" => "chiffres de surveillance",
        "link-tables" => "tables de liens",
        "link-rows" => "lignes de tables de liens",
        "supersessions" => "remplacements",
        "references" => "références",
        "persons" => "personnes du registre",
        "points" => "points",
        "dispositions" => "décisions",
        "handles" => "fiches de traitements",
        "tables" => "tables de l'étude",
        "study" => "étude",
        "access-log" => "journal des accès",
        "audit-log" => "journal d'audit",
        "users" => "comptes",
        "ledger" => "livre des réponses",
        "registers" => "registres",
        "reports" => "listes de lignes écartées",
        other => other,
    }
}

fn set(data: &DataSet) -> String {
    let months = match (data.from, data.to) {
        (Some(from), Some(to)) if from == to => format!(" ({from})"),
        (Some(from), Some(to)) => format!(" ({from} à {to})"),
        _ => String::new(),
    };
    let counts: Vec<String> = [(data.records, "ligne(s)"), (data.files, "fichier(s)")]
        .into_iter()
        .filter_map(|(count, what)| Some(format!("{} {what}", count?)))
        .collect();
    format!("{} : {}{months}", set_name(&data.set), counts.join(", "))
}
