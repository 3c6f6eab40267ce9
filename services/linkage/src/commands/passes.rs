//! `linkage passes check`: is the pass set fine enough for the agreement's size, on a partner's own data?

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use linkage_agreement::PartyId;
use linkage_agreement::model::{Encoding, Identity as Fields};
use linkage_encoding::check::check_passes;
use linkage_encoding::{Identity, Normaliser, PassSet};
use linkage_node::intake::{Intake, IntakeLine, Mapping, propose};

use super::{agreement, text};
use crate::CheckFailed;
use crate::cli::{print_json, say, table};

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
}

/// Runs a command.
pub fn run(command: PassesCommand) -> anyhow::Result<()> {
    let PassesCommand::Check { input: (party, file), mapping, agreement: terms, pass_set, expected_records, json } = command;
    let (fields, encoding) = match terms {
        Some(path) => {
            let parsed = agreement::parse(&path)?;
            (parsed.agreement().identity.clone(), parsed.agreement().encoding.clone())
        }
        None => (Fields::french(), Encoding::default()),
    };
    let named = pass_set.as_deref().unwrap_or(&encoding.pass_set);
    let set = if named.ends_with(".toml") { PassSet::from_toml(&text(Path::new(named))?)? } else { PassSet::named(named)? };
    let mapping = match mapping {
        Some(path) => Mapping::load(&path)?,
        None => propose(&party, &file)?.mapping.confirm(),
    };
    let mut intake = Intake::open(&file, &mapping).with_context(|| file.display().to_string())?;
    let normaliser = Normaliser::new(&fields.field, intake.columns())?;
    let mut identities: Vec<Identity> = Vec::new();
    for line in &mut intake {
        if let IntakeLine::Record(record) = line?
            && let Ok(identity) = normaliser.normalise(&record.values)
        {
            identities.push(identity);
        }
    }
    intake.finish()?;
    let size = expected_records.unwrap_or(encoding.expected_records);
    let check = check_passes(&identities, &set, size, encoding.tokens_per_record as usize, encoding.block_cap as usize);
    if json {
        print_json(&check)?;
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
    }
    if check.accepted { Ok(()) } else { Err(CheckFailed.into()) }
}
