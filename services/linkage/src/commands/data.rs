//! `linkage synth` and `linkage evaluate`.

use std::fs::File;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use linkage_agreement::Period;
use linkage_synth::{SynthOptions, generate};

use crate::bars::Bars;
use crate::cli::{print_json, say};

/// Arguments of `linkage synth`.
#[derive(Debug, Args)]
pub struct SynthArgs {
    /// Persons in all.
    #[arg(long, default_value_t = 5000)]
    persons: u64,
    /// Parties, 2 to 8.
    #[arg(long, default_value_t = 5)]
    parties: usize,
    /// Monthly deliveries.
    #[arg(long, default_value_t = 3)]
    months: u32,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Month of the first delivery.
    #[arg(long, default_value = "2024-01")]
    base_month: Period,
    /// Mean number of slips in a record.
    #[arg(long, default_value_t = 0.25)]
    error_rate: f64,
    /// Folder of the files; best empty or new.
    #[arg(long)]
    out: PathBuf,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// Generates a population.
pub fn synth(args: &SynthArgs) -> anyhow::Result<()> {
    let options = SynthOptions {
        persons: args.persons,
        parties: args.parties,
        months: args.months,
        seed: args.seed,
        base_month: args.base_month,
        error_rate: args.error_rate,
    };
    let bars = Bars::new(args.json);
    let summary = generate(&options, &args.out, &mut |done, total| bars.set("population, fichiers", done, total))?;
    bars.finish();
    if args.json {
        return print_json(&summary);
    }
    for file in &summary.files {
        say(&format!("  {:<16} {}  {:>8} fiches  {}", file.party, file.month, file.records, file.raw.display()));
    }
    say(&format!("{} personnes, {} fiches ; vérité : {}", summary.persons, summary.records, args.out.join("truth").display()));
    Ok(())
}

/// Arguments of `linkage evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// `person,party,local_id,match_class,probability`.
    #[arg(long)]
    links: PathBuf,
    /// `party,month,local_id,person_id`, or the same without month.
    #[arg(long)]
    truth: PathBuf,
    /// The month, when the truth has several.
    #[arg(long)]
    period: Option<Period>,
    /// `person_id,…,tags`, for figures by tag.
    #[arg(long)]
    persons: Option<PathBuf>,
}

/// Measures links against a truth; JSON on standard output.
pub fn evaluate(args: &EvaluateArgs) -> anyhow::Result<()> {
    let open = |path: &PathBuf| File::open(path).with_context(|| path.display().to_string());
    let mut persons = args.persons.as_ref().map(open).transpose()?;
    let period = args.period.map(|p| p.to_string());
    let found = linkage_synth::evaluate::evaluate(
        open(&args.links)?,
        open(&args.truth)?,
        persons.as_mut().map(|f| f as &mut dyn std::io::Read),
        period.as_deref(),
    )?;
    print_json(&found)
}
