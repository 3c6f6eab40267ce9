//! `linkage clk`: clkhash files of partners that can send nothing else (docs/clk.md).

use std::fs::File;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use linkage_clk::{Filters, Kernel, Options, Pair, Threshold, compare, greedy, read_clks};
use linkage_common::fsx;
use serde_json::json;

use crate::bars::Bars;
use crate::cli::{print_json, say};

mod encode;

/// Commands on clkhash files. These filters are re-identifiable: docs/clk.md.
#[derive(Debug, Subcommand)]
pub enum ClkCommand {
    /// Compare two files of filters, every one with every other; write the pairs that reach the threshold.
    Compare(CompareArgs),
    /// Encode a CSV file by a linkage schema of version 3, bit for bit as clkhash 0.18.3.
    Encode(encode::EncodeArgs),
}

/// Arguments of `linkage clk compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// First file, {"clks": ["base64", ...]}.
    a: PathBuf,
    /// Second file, made with the same schema and secret.
    b: PathBuf,
    /// Least Dice coefficient of a pair, 0 to 1.
    #[arg(long)]
    threshold: f64,
    /// Keep each record's best free partner only (greedy, by falling coefficient).
    #[arg(long)]
    one_to_one: bool,
    /// File of the pairs: index_a,index_b,score; indices from 0.
    #[arg(long)]
    out: PathBuf,
    /// Most pairs to hold, 16 bytes of memory each.
    #[arg(long, default_value_t = 20_000_000)]
    max_pairs: usize,
    /// Set filters that have no bit or all bits set aside, and list them, instead of refusing the file.
    #[arg(long)]
    skip_empty: bool,
    /// Use this kernel instead of the fastest that the processor has; `linkage doctor` lists them.
    #[arg(long)]
    kernel: Option<String>,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs a command.
pub fn run(command: &ClkCommand) -> anyhow::Result<()> {
    match command {
        ClkCommand::Compare(args) => compare_files(args),
        ClkCommand::Encode(args) => encode::run(args),
    }
}

fn compare_files(args: &CompareArgs) -> anyhow::Result<()> {
    let threshold = Threshold::new(args.threshold)?;
    let threads = NonZeroUsize::new(rayon::current_num_threads()).unwrap_or(NonZeroUsize::MIN);
    let kernel = args.kernel.as_deref().map_or_else(|| Ok(Kernel::best()), kernel_of)?;
    let (a, b) = (filters(&args.a, args.skip_empty)?, filters(&args.b, args.skip_empty)?);
    let options = Options { threads, kernel, max_pairs: args.max_pairs };
    let bars = Bars::new(args.json);
    let start = Instant::now();
    let mut pairs = compare(&a, &b, threshold, &options, &|done, total| bars.set("comparaison", done as u64, total as u64))?;
    bars.finish();
    let seconds = start.elapsed().as_secs_f64();
    let reached = pairs.len();
    if args.one_to_one {
        pairs = greedy(&pairs);
    }
    write_pairs(&args.out, &pairs)?;
    if args.json {
        return print_json(&json!({
            "filters": [a.len(), b.len()],
            "bits": a.bits(),
            "set_aside": [ends(&a), ends(&b)],
            "kernel": options.kernel.name(),
            "threads": threads,
            "seconds": seconds,
            "reached": reached,
            "written": pairs.len(),
        }));
    }
    for (path, filters) in [(&args.a, &a), (&args.b, &b)] {
        say(&format!("{} : {} filtres de {} bits", path.display(), filters.len(), filters.bits()));
        let (aside, compared) = (ends(filters), filters.len() - ends(filters).len());
        if !aside.is_empty() {
            say(&format!(
                "  {compared} comparés ; {} écartés, sans aucun bit ou tous les bits à 1 : {}",
                aside.len(),
                list(&aside)
            ));
        }
    }
    let speed = a.len() as f64 * b.len() as f64 / seconds.max(1e-9) / 1e6;
    say(&format!("{reached} paires au seuil, {} écrites : {}", pairs.len(), args.out.display()));
    say(&format!("noyau {}, {threads} fils, {seconds:.2} s, {speed:.0} millions de paires par seconde", options.kernel.name()));
    Ok(())
}

/// The kernel of that name, if this processor can run it.
fn kernel_of(name: &str) -> anyhow::Result<Kernel> {
    let kernels = Kernel::available();
    let names: Vec<_> = kernels.iter().map(|kernel| kernel.name()).collect();
    let found = kernels.iter().find(|kernel| kernel.name() == name).copied();
    found.ok_or_else(|| anyhow!("noyau « {name} » inconnu ou hors de portée de ce processeur ; possibles : {}", names.join(", ")))
}

/// Reads a file. Filters with no bit or all bits set say nothing of a person: refused, or left out of the comparison.
fn filters(path: &Path, skip_empty: bool) -> anyhow::Result<Filters> {
    let file = File::open(path).with_context(|| format!("{} : lecture impossible", path.display()))?;
    let mut filters = read_clks(file).with_context(|| path.display().to_string())?;
    if skip_empty {
        filters.set_ends_aside();
    } else if !ends(&filters).is_empty() {
        let told = |what, places: Vec<usize>| match places.len() {
            0 => None,
            count => Some(format!("{count} {what} (indices {})", list(places.get(..5).unwrap_or(&places)))),
        };
        let told = [told("sans aucun bit", filters.zeros().collect()), told("avec tous les bits à 1", filters.ones().collect())];
        let told: Vec<_> = told.into_iter().flatten().collect();
        bail!(
            "{} : filtres qui ne disent rien d'une personne : {} ; demandez un nouveau fichier au partenaire, ou écartez-les \
             par --skip-empty",
            path.display(),
            told.join(", ")
        );
    }
    Ok(filters)
}

/// Indices of the filters with no bit or all bits set, in order.
fn ends(filters: &Filters) -> Vec<usize> {
    let mut ends: Vec<usize> = filters.zeros().chain(filters.ones()).collect();
    ends.sort_unstable();
    ends
}

fn list(places: &[usize]) -> String {
    places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Scores with the digits that Python's `repr` gives, so that they read back as the same double.
fn write_pairs(path: &Path, pairs: &[Pair]) -> anyhow::Result<()> {
    let mut out = Vec::with_capacity(32 * pairs.len() + 32);
    writeln!(out, "index_a,index_b,score")?;
    for pair in pairs {
        writeln!(out, "{},{},{:?}", pair.a, pair.b, pair.score)?;
    }
    fsx::write_atomic(path, &out).with_context(|| format!("{} : écriture impossible", path.display()))
}
