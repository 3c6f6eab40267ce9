//! `linkage clk encode`: a CSV file to filters, row by row, on all threads, in the file's order.
//!
//! Neither the file nor its filters are held: rounds of rows are read while the round before is encoded. All rows or none: a
//! row that is left out would shift the indices of the others.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use linkage_clk::Diffusion;
use linkage_clk_encode::{Encoder, RowError, Schema, Worker};
use linkage_common::config::SecretSource;
use linkage_common::fsx;
use rayon::prelude::*;

use crate::bars::Bars;
use crate::cli::say;

/// Rows that a thread encodes in a round: about 1 MB of text and filters.
const BATCH: usize = 4096;
/// Before each filter but the file's first.
const SEPARATOR: &[u8] = b", ";

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
    /// Make every bit the XOR of this many (8 or more) of the filter's bits: harder to reverse, lower coefficients (docs/clk.md).
    #[arg(long, requires = "diffusion_key")]
    diffusion: Option<u16>,
    /// File of the diffusion's key that the partners share (32 bytes, base64); mode 600.
    #[arg(long, requires = "diffusion")]
    diffusion_key: Option<PathBuf>,
    /// File of the filters, {"clks": ["base64", ...]}.
    #[arg(long)]
    out: PathBuf,
}

/// Encodes a file.
pub(super) fn run(args: &EncodeArgs) -> anyhow::Result<()> {
    let schema = Schema::parse(&super::super::text(&args.schema)?).with_context(|| args.schema.display().to_string())?;
    let secret = fsx::read_private(&args.secret_file, 1 << 16)?;
    let secret = secret.strip_suffix(b"\n").unwrap_or(&secret);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.is_empty() {
        bail!("{} : secret vide", args.secret_file.display());
    }
    let encoder = Encoder::new(schema, secret)?;
    let layer = match (args.diffusion, &args.diffusion_key) {
        (Some(t), Some(key)) => Some(Diffusion::new(&*SecretSource::from_file(key).read_key()?, encoder.schema().bits(), t)?),
        _ => None,
    };
    let mut rows = Rows::open(args, &encoder)?;
    let count = fsx::write_atomic_with(&args.out, |file| encode(&encoder, layer.as_ref(), &mut rows, file)).map_err(|error| {
        match error.downcast_ref::<std::io::Error>() {
            Some(_) => error.context(format!("{} : écriture impossible", args.out.display())),
            None => error,
        }
    })?;
    say(&format!("{count} fiches, filtres de {} bits : {}", encoder.schema().bits(), args.out.display()));
    if let Some(t) = args.diffusion {
        say(&format!("Diffusion, t = {t} : les coefficients sont plus bas qu'entre filtres simples ; adaptez le seuil."));
    }
    say("Ces filtres sont réidentifiables : transmettez-les comme des données nominatives (docs/clk.md).");
    Ok(())
}

/// Writes the filters of all rows; tells how many.
fn encode(encoder: &Encoder, layer: Option<&Diffusion>, rows: &mut Rows, out: &mut File) -> anyhow::Result<usize> {
    let threads = rayon::current_num_threads();
    let mut workers: Vec<Lane> = (0..threads).map(|_| Lane::of(encoder)).collect();
    let bars = Bars::new(false);
    let (mut round, mut next) = (vec![Batch::default(); threads], vec![Batch::default(); threads]);
    let (mut done, mut fault) = (0, rows.fill(&mut round));
    out.write_all(b"{\"clks\": [")?;
    loop {
        let mut read = Ok(());
        let encoded = || -> Result<(), (usize, RowError)> {
            let lanes = workers.par_iter_mut().zip(&round);
            // Every batch to its end or first fault, so that the fault told is the first of the file.
            lanes.for_each(|(lane, batch)| lane.encode(batch, layer));
            workers.iter_mut().find_map(|lane| lane.fault.take()).map_or(Ok(()), Err)
        };
        let (encoded, ()) = rayon::join(encoded, || {
            if fault.is_ok() {
                read = rows.fill(&mut next);
            }
        });
        if let Err((row, error)) = encoded {
            return Err(error).with_context(|| format!("{}, fiche {}", rows.name, row + 1));
        }
        fault?;
        for lane in &workers {
            let separator = if done == 0 { SEPARATOR.len() } else { 0 };
            out.write_all(lane.text.get(separator..).unwrap_or_default())?;
            done += lane.rows;
        }
        if next.iter().all(Batch::is_empty) && read.is_ok() {
            break;
        }
        bars.set("encodage", rows.reader.position().byte(), rows.bytes.max(rows.reader.position().byte() + 1));
        std::mem::swap(&mut round, &mut next);
        fault = read;
    }
    bars.finish();
    out.write_all(b"]}\n")?;
    Ok(done)
}

/// Some rows on end.
#[derive(Default, Clone)]
struct Batch {
    /// Number of the first row, from 0.
    first: usize,
    /// How many of `rows` are in use; the others keep their memory for a later round.
    filled: usize,
    rows: Vec<csv::StringRecord>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.filled == 0
    }
}

/// The file, read row by row.
struct Rows {
    name: String,
    reader: csv::Reader<File>,
    /// The file's length.
    bytes: u64,
    read: usize,
}

impl Rows {
    fn open(args: &EncodeArgs, encoder: &Encoder) -> anyhow::Result<Self> {
        let name = args.input.display().to_string();
        let file = File::open(&args.input).with_context(|| format!("{name} : lecture impossible"))?;
        let bytes = file.metadata().map_or(0, |facts| facts.len());
        let mut reader = csv::ReaderBuilder::new().flexible(true).buffer_capacity(1 << 18).from_reader(file);
        // What csv says of a fault could repeat a cell.
        let header = reader.headers().map_err(|_| anyhow!("{name} : en-tête illisible ; enregistrez le fichier en CSV UTF-8"))?;
        if !header.iter().eq(encoder.schema().columns()) {
            let columns: Vec<_> = encoder.schema().columns().collect();
            bail!("{name} : l'en-tête n'est pas celui du schéma ; attendu : {}", columns.join(","));
        }
        Ok(Self { name, reader, bytes, read: 0 })
    }

    /// Fills batches with the next rows; a row that cannot be read is told after those before it.
    fn fill(&mut self, batches: &mut [Batch]) -> anyhow::Result<()> {
        batches.iter_mut().for_each(|batch| batch.filled = 0);
        for batch in batches {
            batch.first = self.read;
            while batch.filled < BATCH {
                if batch.rows.len() == batch.filled {
                    batch.rows.push(csv::StringRecord::new());
                }
                let Some(row) = batch.rows.get_mut(batch.filled) else { break };
                let unreadable =
                    |_| anyhow!("{} : fiche {} illisible ; enregistrez le fichier en CSV UTF-8", self.name, self.read + 1);
                if !self.reader.read_record(row).map_err(unreadable)? {
                    return Ok(());
                }
                batch.filled += 1;
                self.read += 1;
            }
        }
        Ok(())
    }
}

/// One thread's worker and the text of its batch.
struct Lane<'e> {
    worker: Worker<'e>,
    filter: Vec<u8>,
    text: Vec<u8>,
    base64: String,
    rows: usize,
    /// The batch's first fault, with the row's number from 0.
    fault: Option<(usize, RowError)>,
}

impl<'e> Lane<'e> {
    fn of(encoder: &'e Encoder) -> Self {
        let worker = encoder.worker();
        Self { worker, filter: Vec::new(), text: Vec::new(), base64: String::new(), rows: 0, fault: None }
    }

    fn encode(&mut self, batch: &Batch, layer: Option<&Diffusion>) {
        self.text.clear();
        self.rows = batch.filled;
        for (at, row) in batch.rows.iter().take(batch.filled).enumerate() {
            let cells = (0..row.len()).map(|cell| row.get(cell).unwrap_or_default());
            if let Err(error) = self.worker.encode(cells, &mut self.filter) {
                self.fault = Some((batch.first + at, error));
                return;
            }
            if let Some(layer) = layer {
                // The layer was made for the schema's length.
                let _ = layer.apply(&mut self.filter);
            }
            self.base64.clear();
            STANDARD.encode_string(&self.filter, &mut self.base64);
            for part in [SEPARATOR, b"\"", self.base64.as_bytes(), b"\""] {
                self.text.extend_from_slice(part);
            }
        }
    }
}
