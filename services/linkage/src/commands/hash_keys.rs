//! `linkage hash-keys`: files of today's hash keys, for partners that can send nothing else, and linking of files received.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use linkage_agreement::{ParsedAgreement, PartyId, RunId};
use linkage_common::config::SecretSource;
use linkage_crypto::derive::RunKey;
use linkage_crypto::group::GroupKey;
use linkage_hash_keys::{GivenNames, Hashing};
use linkage_linking::hash_keys::{By, KeyLinks};
use linkage_linking::{KeyRecord, link_keys};
use linkage_node::intake::SetAsideReport;
use serde_json::json;

use crate::cli::{print_json, say, table};
use crate::key_files::{self, KeyFile};
use crate::links::{Link, write_links};
use crate::page::PartyCounts;
use crate::page::labels::count;
use crate::trial::mappings;

/// What is taken for the given name in the primary key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum GivenNamesArg {
    /// The whole field without its spaces, what the conventions say to the letter.
    #[default]
    #[value(help = "Le champ entier sans ses espaces, ce que les conventions disent à la lettre")]
    All,
    /// Its first word, a hyphen joining.
    #[value(help = "Son premier mot, le trait d'union joignant")]
    First,
}

impl From<GivenNamesArg> for GivenNames {
    fn from(arg: GivenNamesArg) -> Self {
        match arg {
            GivenNamesArg::All => Self::All,
            GivenNamesArg::First => Self::First,
        }
    }
}

/// Commands on files of hash keys.
#[derive(Debug, Subcommand)]
pub enum HashKeysCommand {
    /// Make the key file of a delivery. Without --group-key its keys are SHA-256: anybody can read most names back.
    Make {
        /// The party and its file, `PARTY=FILE`.
        #[arg(long, value_parser = crate::cli::party_file)]
        input: (PartyId, PathBuf),
        /// The column mapping instead of the proposed one.
        #[arg(long)]
        mapping: Option<PathBuf>,
        /// The key file. Beside it: NAME-lignes.csv, whose record each line is, which stays with the party;
        /// NAME-ecartees.csv, lines set aside.
        #[arg(long)]
        out: PathBuf,
        /// What is taken for the given name.
        #[arg(long, value_enum, default_value = "all")]
        given_names: GivenNamesArg,
        /// Keyed form, HMAC-SHA-256 under the run's key: file of the group key that the parties share (32 bytes, base64).
        #[arg(long, requires_all = ["agreement", "run"])]
        group_key: Option<PathBuf>,
        /// The agreement that the run's key is derived for.
        #[arg(long, requires = "group_key")]
        agreement: Option<PathBuf>,
        /// The run that the key is for.
        #[arg(long, requires = "group_key")]
        run: Option<RunId>,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Link key files received: primary keys before secondary ones, nobody by chance.
    Link {
        /// A party and its key file, `PARTY=FILE`; once for each party.
        #[arg(long, required = true, value_parser = crate::cli::party_file)]
        input: Vec<(PartyId, PathBuf)>,
        /// The links, by the line numbers of the key files. Beside it: PARTY-cles-ecartees.csv, lines set aside.
        #[arg(long)]
        out: PathBuf,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command.
pub fn run(command: HashKeysCommand) -> anyhow::Result<()> {
    match command {
        HashKeysCommand::Make { input, mapping, out, given_names, group_key, agreement, run, json } => {
            let run_key = match (group_key, agreement, run) {
                (Some(group_key), Some(agreement), Some(run)) => Some(run_key(&group_key, &agreement, &run)?),
                _ => None,
            };
            make(input, mapping, &out, given_names.into(), run_key.as_ref(), json)
        }
        HashKeysCommand::Link { input, out, json } => link(&input, &out, json),
    }
}

/// K_run of the agreement and run, from the group key in a file.
fn run_key(group_key: &Path, agreement: &Path, run: &RunId) -> anyhow::Result<RunKey> {
    let text = super::text(agreement)?;
    let parsed = ParsedAgreement::parse(&text, &agreement.display().to_string())
        .map_err(|faults| anyhow::anyhow!(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    let group = GroupKey::from_bytes(&*SecretSource::from_file(group_key).read_key()?);
    Ok(group.run_key(parsed.hash().as_bytes(), run.as_str()))
}

fn make(
    input: (PartyId, PathBuf),
    mapping: Option<PathBuf>,
    out: &Path,
    given_names: GivenNames,
    run_key: Option<&RunKey>,
    json: bool,
) -> anyhow::Result<()> {
    let stem = out.file_stem().and_then(|stem| stem.to_str()).context("--out doit nommer un fichier")?;
    let beside = |what: &str| out.with_file_name(format!("{stem}-{what}.csv"));
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("{} : dossier impossible à créer", folder.display()))?;
    let party = input.0.clone();
    let given: Vec<(PartyId, PathBuf)> = mapping.into_iter().map(|path| (party.clone(), path)).collect();
    let inputs = [input];
    let mappings = mappings(&inputs, &given, folder, json)?;
    let mapping = mappings.get(&party).context("mapping")?;
    let hashing = run_key.map_or(Hashing::Plain, Hashing::Keyed);
    let mut report = SetAsideReport::create(&beside("ecartees"))?;
    let made =
        key_files::make(&party, &inputs[0].1, mapping, given_names, hashing, &mut report).with_context(|| party.to_string())?;
    report.finish()?;
    key_files::write(&made.rows, out, &beside("lignes"))?;
    if json {
        return print_json(&json!({ "keyed": run_key.is_some(), "given_names": given_names, "counts": made.counts }));
    }
    say(&counted(&[&made.counts.delivery]));
    for (remark, n) in &made.counts.remarks {
        say(&format!("  {remark} : {}", count(*n)));
    }
    say(&format!("Clés : {}\nÀ garder chez vous, ne jamais joindre : {}", out.display(), beside("lignes").display()));
    if run_key.is_none() {
        say(
            "Attention : ces empreintes sont sans clé ; la plupart des noms s'en retrouvent en secondes (linkage attack dictionary).",
        );
    }
    Ok(())
}

/// Lines of the parties' files, for people.
fn counted(parties: &[&PartyCounts]) -> String {
    let rows: Vec<Vec<String>> =
        parties.iter().map(|p| vec![p.party.clone(), count(p.lines), count(p.records), count(p.set_aside)]).collect();
    table(&["partenaire", "lignes lues", "fiches", "écartées"], &rows)
}

fn link(inputs: &[(PartyId, PathBuf)], out: &Path, json: bool) -> anyhow::Result<()> {
    if inputs.len() < 2 {
        bail!("il faut les fichiers de deux partenaires au moins : --input PARTENAIRE=FICHIER pour chacun");
    }
    let mut files: Vec<KeyFile> = Vec::new();
    for (party, path) in inputs {
        if files.iter().any(|file| file.counts.party == party.as_str()) {
            bail!("le partenaire {party} est donné deux fois : un fichier par partenaire");
        }
        let mut report = SetAsideReport::create(&out.with_file_name(format!("{party}-cles-ecartees.csv")))?;
        files.push(key_files::read(party.as_str(), path, Some(&mut report))?);
        report.finish()?;
    }
    let records: Vec<Vec<KeyRecord>> = files.iter_mut().map(|file| std::mem::take(&mut file.records)).collect();
    let found = link_keys(&records)?;
    let names: Vec<(&str, Vec<&str>)> =
        files.iter().map(|f| (f.counts.party.as_str(), f.numbers.iter().map(String::as_str).collect())).collect();
    let mut links = links(&found, &names);
    write_links(out, &mut links)?;
    let linked = links.iter().filter(|link| link.match_class > 0).count();
    let counts: Vec<&PartyCounts> = files.iter().map(|file| &file.counts).collect();
    if json {
        return print_json(&json!({ "parties": counts, "links": found.counts, "linked_records": linked }));
    }
    say(&counted(&counts));
    say(&summary(&found));
    say(&format!("Fiches rapprochées d'une autre : {}\nLiens : {}", count(linked as u64), out.display()));
    Ok(())
}

/// What linking did, for people.
pub fn summary(found: &KeyLinks) -> String {
    let c = &found.counts;
    format!(
        "  Paires par la clé primaire : {} ; par la clé secondaire : {}\n  Clés portées plusieurs fois chez un partenaire, donc \
         non rapprochées : {} primaires, {} secondaires ; paires contradictoires laissées : {}",
        count(c.primary_pairs),
        count(c.secondary_pairs),
        count(c.ambiguous_primary),
        count(c.ambiguous_secondary),
        count(c.contradictory_pairs)
    )
}

/// One link for each record of `parties` (party and the records' own identifiers). A person is known by its number here.
pub fn links(found: &KeyLinks, parties: &[(&str, Vec<&str>)]) -> Vec<Link<[u8; 8]>> {
    let mut linked = std::collections::HashMap::new();
    for (group, person) in found.groups.iter().zip(0u64..) {
        for member in group {
            // Neither key states a probability: the links file leaves it blank.
            let match_class = if member.by == By::Primary { 1 } else { 2 };
            linked.insert((member.party, member.record), (person, match_class));
        }
    }
    let mut next = found.groups.len() as u64;
    let mut links = Vec::new();
    for (number, (party, records)) in parties.iter().enumerate() {
        for (record, local_id) in records.iter().enumerate() {
            let (person, match_class) = linked.get(&(number, record)).copied().unwrap_or_else(|| {
                next += 1;
                (next - 1, 0)
            });
            links.push(Link {
                person: person.to_le_bytes(),
                party: (*party).to_owned(),
                local_id: (*local_id).to_owned(),
                match_class,
                probability: 0,
            });
        }
    }
    links
}
