//! `linkage passes`: is a pass set fine enough for the agreement's size, on a partner's own data; which set is best where
//! the truth is known.
//!
//! `check` runs at a partner, on its own file. `search` needs every party's file and the truth in one hand: test
//! populations, or a file that was linked by hand for the purpose. What either prints or writes holds no value of a record.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use linkage_agreement::model::{Encoding, Identity as Fields};
use linkage_agreement::{PartyId, Period};
use linkage_common::fsx;
use linkage_encoding::check::{PassCheck, check_passes};
use linkage_encoding::search::{Aims, DateFigures, Figures, Labelled, Step, search};
use linkage_encoding::{Identity, Normaliser, PassSet};
use linkage_node::intake::{Intake, IntakeLine, Mapping, propose};
use serde::Serialize;

use super::{agreement, text};
use crate::CheckFailed;
use crate::cli::{print_json, say, table};
use crate::trial::{infer, period_of};

/// Commands on pass sets.
#[derive(Debug, Subcommand)]
pub enum PassesCommand {
    /// Print collision entropy and expected meetings by pass; refuse a set that is too coarse (exit code 3).
    Check {
        /// A party and its file, `PARTY=FILE`.
        #[arg(long, value_parser = crate::cli::party_file)]
        input: (PartyId, PathBuf),
        /// Column mapping; proposed from the file when absent.
        #[arg(long)]
        mapping: Option<PathBuf>,
        /// The agreement, for fields, pass set and size.
        #[arg(long)]
        agreement: Option<PathBuf>,
        /// A named pass set, or a TOML file, instead of the agreement's.
        #[arg(long)]
        pass_set: Option<String>,
        /// Records of all parties together, instead of the agreement's.
        #[arg(long)]
        expected_records: Option<u64>,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Choose a pass set on files whose truth is known, report it on persons that it was not chosen on, and write it.
    Search(SearchArgs),
}

/// What `passes search` takes.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// A party and its file, `PARTY=FILE`; two or more.
    #[arg(long, value_parser = crate::cli::party_file, required = true)]
    input: Vec<(PartyId, PathBuf)>,
    /// The truth (`party,month,local_id,person_id`).
    #[arg(long)]
    truth: PathBuf,
    /// The month, when the truth has several; taken from the file names when absent.
    #[arg(long)]
    period: Option<Period>,
    /// A party's column mapping, `PARTY=FILE`; proposed from the file when absent.
    #[arg(long, value_parser = crate::cli::party_file)]
    mapping: Vec<(PartyId, PathBuf)>,
    /// The agreement, for fields, starting set, tokens and block cap; inferred from the columns when absent.
    #[arg(long)]
    agreement: Option<PathBuf>,
    /// A named pass set, or a TOML file, to start from instead of the agreement's.
    #[arg(long)]
    pass_set: Option<String>,
    /// Records of all parties together that the set is for; those of the files when absent.
    #[arg(long)]
    expected_records: Option<u64>,
    /// Expected meetings of a record with records of other persons that the set may have.
    #[arg(long, default_value_t = 0.3)]
    meetings: f64,
    /// Name of the set.
    #[arg(long, default_value = "choisi")]
    name: String,
    /// The TOML file to write.
    #[arg(long)]
    out: PathBuf,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs a command.
pub fn run(command: PassesCommand) -> anyhow::Result<()> {
    match command {
        PassesCommand::Check { input, mapping, agreement, pass_set, expected_records, json } => {
            check(&input, mapping.as_deref(), agreement.as_deref(), pass_set.as_deref(), expected_records, json)
        }
        PassesCommand::Search(args) => choose(&args),
    }
}

/// A named set, or one from a file, and the reference by which an agreement names it.
pub fn pass_set(named: &str) -> anyhow::Result<(PassSet, String)> {
    if !named.ends_with(".toml") {
        return Ok((PassSet::named(named)?, named.to_owned()));
    }
    let (set, reference) = PassSet::from_file(&text(Path::new(named))?).with_context(|| named.to_owned())?;
    Ok((set, reference.to_string()))
}

/// The set of `--pass-set`, else the agreement's, which must then be one that comes with the software.
fn given_or_agreed(given: Option<&str>, encoding: &Encoding) -> anyhow::Result<(PassSet, String)> {
    match given {
        Some(named) => pass_set(named),
        None => Ok((
            PassSet::agreed(&encoding.pass_set, None).context("donner le fichier de la convention par --pass-set FICHIER")?,
            encoding.pass_set.clone(),
        )),
    }
}

/// The line that a set's file needs in the agreement.
fn for_the_agreement(reference: &str) -> String {
    format!("À porter dans la convention : pass_set = \"{reference}\"")
}

fn mapping_of(party: &PartyId, file: &Path, given: Option<&Path>) -> anyhow::Result<Mapping> {
    Ok(match given {
        Some(path) => Mapping::load(path).with_context(|| path.display().to_string())?,
        None => propose(party, file).with_context(|| file.display().to_string())?.mapping.confirm(),
    })
}

/// Fields and parameters of an agreement.
fn terms(path: &Path) -> anyhow::Result<(Fields, Encoding)> {
    let parsed = agreement::parse(path)?;
    Ok((parsed.agreement().identity.clone(), parsed.agreement().encoding.clone()))
}

/// The identities of a file with their local ids, which are empty where the file has none; lines set aside are left out.
fn identities(file: &Path, mapping: &Mapping, fields: &Fields) -> anyhow::Result<Vec<(String, Identity)>> {
    let mut intake = Intake::open(file, mapping).with_context(|| file.display().to_string())?;
    let normaliser = Normaliser::new(&fields.field, intake.columns())?;
    let local_id = intake.columns().iter().position(|c| c == "local_id");
    let mut found = Vec::new();
    for line in &mut intake {
        if let IntakeLine::Record(record) = line?
            && let Ok(identity) = normaliser.normalise(&record.values)
        {
            found.push((local_id.and_then(|i| record.values.get(i)).cloned().unwrap_or_default(), identity));
        }
    }
    intake.finish()?;
    Ok(found)
}

/// A check's figures, and how an agreement names the set.
#[derive(Serialize)]
struct Checked<'c> {
    #[serde(flatten)]
    check: &'c PassCheck,
    reference: &'c str,
}

fn check(
    (party, file): &(PartyId, PathBuf),
    mapping: Option<&Path>,
    agreement: Option<&Path>,
    named: Option<&str>,
    expected_records: Option<u64>,
    json: bool,
) -> anyhow::Result<()> {
    let (fields, encoding) = agreement.map_or_else(|| Ok((Fields::french(), Encoding::default())), terms)?;
    let (set, reference) = given_or_agreed(named, &encoding)?;
    let mapping = mapping_of(party, file, mapping)?;
    let identities: Vec<Identity> = identities(file, &mapping, &fields)?.into_iter().map(|(_, identity)| identity).collect();
    let size = expected_records.unwrap_or(encoding.expected_records);
    let check = check_passes(&identities, &set, size, encoding.tokens_per_record as usize, encoding.block_cap as usize);
    if json {
        print_json(&Checked { check: &check, reference: &reference })?;
    } else {
        say(&format!(
            "Jeu de passes {}, mesuré sur {} fiches, pour {} fiches attendues de tous les partenaires",
            check.pass_set, check.measured_records, size
        ));
        let rows: Vec<Vec<String>> = check
            .passes
            .iter()
            .map(|p| {
                vec![
                    p.pass.clone(),
                    format!("{:.2}", p.keys_per_record),
                    format!("{:.1}", p.collision_entropy_bits),
                    format!("{:.1}", p.least_bits),
                    format!("{:.4}", p.meetings_per_record),
                    p.largest_block.to_string(),
                    if p.accepted { "oui" } else { "NON" }.to_owned(),
                ]
            })
            .collect();
        say(&table(
            &["passe", "clés/fiche", "entropie (bits)", "exigée", "rencontres/fiche", "plus grand bloc", "admise"],
            &rows,
        ));
        say(&format!(
            "Ensemble : {:.1} clés et {:.3} rencontres attendues par fiche",
            check.keys_per_record, check.meetings_per_record
        ));
        for warning in &check.warnings {
            say(&format!("Attention : {warning}"));
        }
        for fault in &check.faults {
            say(&format!("Refusé : {fault}"));
        }
        say(if check.accepted { "Jeu de passes admis." } else { "Jeu de passes refusé." });
        if check.accepted {
            say(&for_the_agreement(&reference));
        }
    }
    if check.accepted { Ok(()) } else { Err(CheckFailed.into()) }
}

/// Persons by party and local id, of one month where the truth has months; persons are numbered as they come.
fn persons(truth: &Path, period: Option<Period>) -> anyhow::Result<HashMap<(String, String), u64>> {
    let text = text(truth)?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().trim_start_matches('\u{feff}').split(',').collect();
    let column = |name: &str| header.iter().position(|c| *c == name);
    let needed = |name: &str| column(name).with_context(|| format!("vérité : la colonne « {name} » manque"));
    let (party, local_id, person) = (needed("party")?, needed("local_id")?, needed("person_id")?);
    let month = column("month").or_else(|| column("period"));
    if month.is_some() && period.is_none() {
        bail!("la vérité a des mois : en choisir un avec --period AAAA-MM");
    }
    let period = period.map(|p| p.to_string());
    let mut numbers: HashMap<String, u64> = HashMap::new();
    let mut persons = HashMap::new();
    for line in lines {
        let values: Vec<&str> = line.split(',').collect();
        let value = |i: usize| values.get(i).copied().unwrap_or_default();
        if month.is_some_and(|m| Some(value(m)) != period.as_deref()) {
            continue;
        }
        let next = numbers.len() as u64;
        let number = *numbers.entry(value(person).to_owned()).or_insert(next);
        persons.insert((value(party).to_owned(), value(local_id).to_owned()), number);
    }
    Ok(persons)
}

fn choose(args: &SearchArgs) -> anyhow::Result<()> {
    let given = |party: &PartyId| args.mapping.iter().find(|(id, _)| id == party).map(|(_, path)| path.as_path());
    let mappings: Vec<Mapping> =
        args.input.iter().map(|(party, file)| mapping_of(party, file, given(party))).collect::<anyhow::Result<_>>()?;
    let (fields, encoding) = match &args.agreement {
        Some(path) => terms(path)?,
        None => {
            let (fields, pass_set, _) = infer::fields(mappings.iter());
            (fields, Encoding { pass_set: pass_set.to_owned(), ..Encoding::default() })
        }
    };
    let (mut start, _) = given_or_agreed(args.pass_set.as_deref(), &encoding)?;
    let period = args.period.or_else(|| args.input.iter().find_map(|(_, file)| period_of(file)));
    let persons = persons(&args.truth, period)?;
    let mut records = Vec::new();
    let mut unknown = 0u64;
    for (number, ((party, file), mapping)) in args.input.iter().zip(&mappings).enumerate() {
        for (local_id, identity) in identities(file, mapping, &fields)? {
            match persons.get(&(party.to_string(), local_id)) {
                Some(&person) => records.push(Labelled { identity, party: number, person }),
                None => unknown += 1,
            }
        }
    }
    let aims = Aims {
        expected_records: args.expected_records.unwrap_or(records.len() as u64),
        meetings: args.meetings,
        tokens: encoding.tokens_per_record as usize,
        block_cap: encoding.block_cap as usize,
    };
    if unknown > 0 && !args.json {
        say(&format!("{unknown} fiches absentes de la vérité, laissées de côté"));
    }
    let mut progress = |step: &Step| {
        if !args.json {
            let figures = &step.figures;
            say(&format!(
                "  {:<32} rappel {:.4}  rencontres {:.3}  clés {:.1}",
                step.change, figures.recall, figures.meetings_per_record, figures.keys_per_record
            ));
        }
    };
    start.id.clone_from(&args.name);
    let found = search(&records, &start, &aims, &mut progress)?;
    let toml = found.set.to_toml()?;
    // The name comes from the command line: what `passes check` would refuse is not written.
    let (_, reference) = PassSet::from_file(&toml)?;
    fsx::write_atomic_public(&args.out, toml.as_bytes())?;
    if args.json {
        return print_json(&serde_json::json!({
            "pass_set": found.set.id,
            "reference": reference.to_string(),
            "passes": found.set.pass.len(),
            "expected_records": aims.expected_records,
            "searched": found.searched,
            "held_out": found.held_out,
            "start_held_out": found.start_held_out,
        }));
    }
    let row = |name: &str, figures: &Figures| {
        let mut cells =
            vec![name.to_owned(), figures.records.to_string(), figures.true_pairs.to_string(), format!("{:.4}", figures.recall)];
        let share =
            |d: &DateFigures| if d.true_pairs == 0 { "–".to_owned() } else { format!("{:.3} ({})", d.recall, d.true_pairs) };
        cells.extend(figures.by_date.iter().map(share));
        cells.extend([format!("{:.3}", figures.meetings_per_record), format!("{:.1}", figures.keys_per_record)]);
        cells
    };
    say(&table(
        &["", "fiches", "paires", "rappel", "dates complètes", "par défaut", "partielles", "absentes", "rencontres", "clés"],
        &[
            row("personnes étudiées", &found.searched),
            row("autres personnes", &found.held_out),
            row("jeu de départ, autres personnes", &found.start_held_out),
        ],
    ));
    say(&format!(
        "{} passes écrites dans {} ; à vérifier par « linkage passes check »",
        found.set.pass.len(),
        args.out.display()
    ));
    say(&for_the_agreement(&reference.to_string()));
    Ok(())
}

#[cfg(test)]
#[path = "passes_tests.rs"]
mod tests;
