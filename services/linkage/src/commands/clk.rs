//! `linkage clk`: clkhash files of partners that can send nothing else (docs/clk.md).

use std::fs::File;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use linkage_clk::{Filters, Kernel, Options, Pair, Threshold, compare, greedy, read_clks};
use linkage_clk_encode::{Encoder, Schema};
use linkage_common::fsx;
use serde_json::json;

use crate::bars::Bars;
use crate::cli::{print_json, say};

/// Commands on clkhash files. These filters are re-identifiable: docs/clk.md.
#[derive(Debug, Subcommand)]
pub enum ClkCommand {
    /// Compare two files of filters, every one with every other; write the pairs that reach the threshold.
    Compare(CompareArgs),
    /// Encode a CSV file by a linkage schema of version 3, bit for bit as clkhash 0.18.3.
    Encode(EncodeArgs),
}

/// Arguments of `linkage clk encode`.
#[derive(Debug, Args)]
pub struct EncodeArgs {
    /// Linkage schema (JSON, version 3).
    #[arg(long)]
    schema: PathBuf,
    /// CSV file, UTF-8, comma, with a header that is the schema's identifiers in order.
    #[arg(long)]
    input: PathBuf,
    /// File of the secret that the partners share, never the one who compares; mode 600. A line break at its end does not count.
    #[arg(long)]
    secret_file: PathBuf,
    /// File of the filters, {"clks": ["base64", ...]}.
    #[arg(long)]
    out: PathBuf,
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
    /// Threads; all cores if not given.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Most pairs to hold, 16 bytes of memory each.
    #[arg(long, default_value_t = 20_000_000)]
    max_pairs: usize,
    /// Refuse a file with a filter that has no bit or all bits set. Otherwise they are told and compared.
    #[arg(long)]
    strict: bool,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs a command.
pub fn run(command: &ClkCommand) -> anyhow::Result<()> {
    match command {
        ClkCommand::Compare(args) => compare_files(args),
        ClkCommand::Encode(args) => encode_file(args),
    }
}

/// All rows or none: a row that is left out would shift the indices of the others.
fn encode_file(args: &EncodeArgs) -> anyhow::Result<()> {
    let schema = Schema::parse(&super::text(&args.schema)?).with_context(|| args.schema.display().to_string())?;
    let secret = fsx::read_private(&args.secret_file, 1 << 16)?;
    let secret = secret.strip_suffix(b"\n").unwrap_or(&secret);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.is_empty() {
        bail!("{} : secret vide", args.secret_file.display());
    }
    let encoder = Encoder::new(schema, secret)?;
    let input = args.input.display();
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_path(&args.input)
        .with_context(|| format!("{input} : lecture impossible"))?;
    // What csv says of a fault could repeat a cell.
    let header = reader.headers().map_err(|_| anyhow!("{input} : en-tête illisible ; enregistrez le fichier en CSV UTF-8"))?;
    if !header.iter().eq(encoder.schema().columns()) {
        let columns: Vec<_> = encoder.schema().columns().collect();
        bail!("{input} : l'en-tête n'est pas celui du schéma ; attendu : {}", columns.join(","));
    }
    let mut out = b"{\"clks\": [".to_vec();
    let (mut row, mut rows) = (csv::StringRecord::new(), 0usize);
    while reader
        .read_record(&mut row)
        .map_err(|_| anyhow!("{input} : fiche {} illisible ; enregistrez le fichier en CSV UTF-8", rows + 1))?
    {
        rows += 1;
        let cells: Vec<&str> = row.iter().collect();
        let filter = encoder.encode(cells.into_iter()).with_context(|| format!("{input}, fiche {rows}"))?;
        write!(out, "{}\"{}\"", if rows > 1 { ", " } else { "" }, STANDARD.encode(filter))?;
    }
    out.extend_from_slice(b"]}\n");
    fsx::write_atomic(&args.out, &out).with_context(|| format!("{} : écriture impossible", args.out.display()))?;
    say(&format!("{rows} fiches, filtres de {} bits : {}", encoder.schema().bits(), args.out.display()));
    say("Ces filtres sont réidentifiables : transmettez-les comme des données nominatives (docs/clk.md).");
    Ok(())
}

fn compare_files(args: &CompareArgs) -> anyhow::Result<()> {
    let threshold = Threshold::new(args.threshold)?;
    let threads = match args.threads {
        Some(threads) => threads,
        None => std::thread::available_parallelism()?,
    };
    let (a, b) = (filters(&args.a, args.strict)?, filters(&args.b, args.strict)?);
    let options = Options { threads, kernel: Kernel::best(), max_pairs: args.max_pairs };
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
            "empty": [a.zeros().count(), b.zeros().count()],
            "full": [a.ones().count(), b.ones().count()],
            "kernel": options.kernel.name(),
            "threads": threads,
            "seconds": seconds,
            "reached": reached,
            "written": pairs.len(),
        }));
    }
    for (path, filters) in [(&args.a, &a), (&args.b, &b)] {
        say(&format!("{} : {} filtres de {} bits", path.display(), filters.len(), filters.bits()));
        if let Some(told) = told(filters.zeros()) {
            say(&format!("  sans aucun bit, donc jamais rapprochés : {told}"));
        }
        if let Some(told) = told(filters.ones()) {
            say(&format!("  tous les bits à 1, à vérifier chez le partenaire : {told}"));
        }
    }
    let speed = a.len() as f64 * b.len() as f64 / seconds.max(1e-9) / 1e6;
    say(&format!("{reached} paires au seuil, {} écrites : {}", pairs.len(), args.out.display()));
    say(&format!("noyau {}, {threads} fils, {seconds:.2} s, {speed:.0} millions de paires par seconde", options.kernel.name()));
    Ok(())
}

fn filters(path: &Path, strict: bool) -> anyhow::Result<Filters> {
    let file = File::open(path).with_context(|| format!("{} : lecture impossible", path.display()))?;
    let filters = read_clks(file).with_context(|| path.display().to_string())?;
    if strict {
        if let Some(at) = filters.zeros().next() {
            bail!("{} : le filtre {at} n'a aucun bit à 1 ; retirez --strict pour l'écarter seulement", path.display());
        }
        if let Some(at) = filters.ones().next() {
            bail!("{} : le filtre {at} a tous ses bits à 1 ; demandez un nouveau fichier au partenaire", path.display());
        }
    }
    Ok(filters)
}

/// How many and the first of them; nothing when there is none.
fn told(places: impl Iterator<Item = usize>) -> Option<String> {
    let (mut first, mut count) = (Vec::new(), 0usize);
    for place in places {
        count += 1;
        if first.len() < 5 {
            first.push(place.to_string());
        }
    }
    let more = if count > first.len() { ", …" } else { "" };
    (count > 0).then(|| format!("{count} (indices {}{more})", first.join(", ")))
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
