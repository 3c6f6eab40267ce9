//! `linkage cohort supersede`: an analyst's own table, brought up to the persons of the last run.
//!
//! The table has columns `person` and `record` as in the link tables; all others stay as they are. Which runs it has
//! followed is kept in the key-value metadata of a Parquet file and in a file beside a CSV: a list followed twice would
//! change nothing in turn, but could out of turn.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use clap::Args;
use linkage_agreement::{Pseudonym, RunId};
use linkage_analyst::config::AnalystConfig;
use linkage_analyst::fetch::row_level;
use linkage_analyst::tables::Tables;
use linkage_cohort::supersede::{List, apply};
use linkage_common::clock::SystemClock;
use linkage_common::fsx;
use linkage_common::gate::Gate;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::config;
use crate::cli::say;

/// Key of the metadata, and ending of the file beside a CSV.
const APPLIED: &str = "linkage.supersessions";
/// Most bytes of the file beside a CSV.
const LIMIT: u64 = 1 << 20;

/// What `linkage cohort supersede` is told.
#[derive(Debug, Args)]
pub struct SupersedeArgs {
    /// Configuration file of the analyst's side.
    #[arg(long)]
    config: PathBuf,
    /// The table, .parquet or .csv, with columns person and record.
    #[arg(long)]
    table: PathBuf,
    /// Where it goes, in the same form.
    #[arg(long)]
    out: PathBuf,
}

/// Brings the table up to the persons of the last run.
pub fn run(args: &SupersedeArgs) -> anyhow::Result<()> {
    let config: AnalystConfig = config(&args.config)?;
    let gate = Gate::load(&config.agreement, Arc::new(SystemClock))?;
    gate.in_force()?;
    if !row_level(&gate, &config.analyst) {
        bail!("la convention ne vous donne pas accès aux lignes (droit « row-level ») : il n'y a pas de table à mettre à jour");
    }
    let tables = Tables::open(&config.data_dir)?;
    let mut lists = Vec::new();
    for run in tables.in_order()? {
        lists.push(tables.supersessions(&run)?);
    }
    let ending = |path: &Path| path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let done = match (ending(&args.table).as_str(), ending(&args.out).as_str()) {
        ("parquet", "parquet") => of_parquet(&args.table, &args.out, &lists)?,
        ("csv", "csv") => of_csv(&args.table, &args.out, &lists)?,
        _ => bail!("--table et --out portent tous deux .parquet ou tous deux .csv ; renommez l'un des fichiers"),
    };
    say(&format!(
        "{} : {} lignes sur {} portent une autre personne ; {} listes suivies, dont {} nouvelles",
        args.out.display(),
        done.changed,
        done.rows,
        lists.len(),
        done.new_lists
    ));
    Ok(())
}

/// What was done.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    rows: usize,
    changed: u64,
    new_lists: usize,
}

fn missing(column: &str, table: &Path) -> anyhow::Error {
    anyhow::anyhow!(
        "{} : il manque la colonne « {column} » ; chaque ligne doit nommer sa personne (person) et sa fiche (record), comme link_table",
        table.display()
    )
}

fn unreadable(table: &Path, row: usize) -> anyhow::Error {
    anyhow::anyhow!(
        "{} : ligne {row}, un pseudonyme n'a pas ses 32 chiffres hexadécimaux ; repartez des tables d'origine",
        table.display()
    )
}

/// Follows the lists that are due; persons and records are hexadecimal.
fn follow(persons: &mut [Pseudonym], records: &[Pseudonym], lists: &[List<Pseudonym>], applied: &mut Vec<RunId>) -> Done {
    let before = applied.len();
    let changed = apply(persons.iter_mut().zip(records.iter().copied()), lists, applied);
    Done { rows: persons.len(), changed, new_lists: applied.len() - before }
}

fn of_parquet(table: &Path, out: &Path, lists: &[List<Pseudonym>]) -> anyhow::Result<Done> {
    let file = File::open(table).with_context(|| format!("{} : lecture impossible", table.display()))?;
    let damaged = || format!("{} : ce fichier n'est pas un Parquet lisible", table.display());
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).with_context(damaged)?;
    let mut metadata = reader.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let known = metadata.iter().find(|pair| pair.key == APPLIED).and_then(|pair| pair.value.as_deref()).unwrap_or("");
    let mut applied = runs(known, table)?;
    let schema = reader.schema().clone();
    for column in ["person", "record"] {
        schema.index_of(column).map_err(|_| missing(column, table))?;
    }
    let mut batches = Vec::new();
    let (mut persons, mut records) = (Vec::new(), Vec::new());
    for batch in reader.build().with_context(damaged)? {
        let batch = batch.with_context(damaged)?;
        for (column, names) in [("person", &mut persons), ("record", &mut records)] {
            let cells =
                batch.column_by_name(column).and_then(|c| c.as_string_opt::<i32>()).ok_or_else(|| missing(column, table))?;
            for cell in cells {
                let row = names.len() + 1;
                names.push(cell.and_then(Pseudonym::from_hex).ok_or_else(|| unreadable(table, row))?);
            }
        }
        batches.push(batch);
    }
    let done = follow(&mut persons, &records, lists, &mut applied);
    metadata.retain(|pair| pair.key != APPLIED && pair.key != "ARROW:schema");
    metadata.push(KeyValue::new(APPLIED.to_owned(), text(&applied)));
    let properties =
        WriterProperties::builder().set_compression(Compression::SNAPPY).set_key_value_metadata(Some(metadata)).build();
    fsx::write_atomic_with(out, |file| -> anyhow::Result<()> {
        let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))?;
        let mut persons = persons.iter();
        for batch in &batches {
            let cells: StringArray = persons.by_ref().take(batch.num_rows()).map(|person| Some(person.to_hex())).collect();
            let array = |(at, column): (usize, &ArrayRef)| -> ArrayRef {
                if schema.field(at).name() == "person" { Arc::new(cells.clone()) } else { column.clone() }
            };
            let columns = batch.columns().iter().enumerate().map(array).collect();
            writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
        }
        writer.close()?;
        Ok(())
    })?;
    Ok(done)
}

fn of_csv(table: &Path, out: &Path, lists: &[List<Pseudonym>]) -> anyhow::Result<Done> {
    let mut reader = csv::Reader::from_path(table).with_context(|| format!("{} : lecture impossible", table.display()))?;
    let heads = reader.headers()?.clone();
    let at = |column: &str| heads.iter().position(|head| head == column).ok_or_else(|| missing(column, table));
    let (person, record) = (at("person")?, at("record")?);
    let beside = beside(table);
    let known = if beside.is_file() { fsx::read_text(&beside, LIMIT)? } else { String::new() };
    let mut applied = runs(&known, table)?;
    let (mut rows, mut persons, mut records) = (Vec::new(), Vec::new(), Vec::new());
    for row in reader.records() {
        let row = row.with_context(|| format!("{} : ligne {} illisible", table.display(), rows.len() + 1))?;
        for (at, names) in [(person, &mut persons), (record, &mut records)] {
            let number = names.len() + 1;
            names.push(row.get(at).and_then(Pseudonym::from_hex).ok_or_else(|| unreadable(table, number))?);
        }
        rows.push(row);
    }
    let done = follow(&mut persons, &records, lists, &mut applied);
    // The table first: killed in between, its lists are followed again, all in order, which changes nothing.
    fsx::write_atomic_with(out, |file| -> anyhow::Result<()> {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(&heads)?;
        for (row, now) in rows.iter().zip(&persons) {
            let now = now.to_hex();
            writer.write_record(row.iter().enumerate().map(|(at, cell)| if at == person { now.as_str() } else { cell }))?;
        }
        writer.flush()?;
        Ok(())
    })?;
    fsx::write_atomic(&self::beside(out), text(&applied).as_bytes())?;
    Ok(done)
}

/// The file beside a CSV that says which lists it has followed.
fn beside(table: &Path) -> PathBuf {
    let mut name = table.as_os_str().to_owned();
    name.push(".");
    name.push(APPLIED);
    PathBuf::from(name)
}

fn text(applied: &[RunId]) -> String {
    applied.iter().map(RunId::as_str).collect::<Vec<_>>().join("\n")
}

fn runs(text: &str, table: &Path) -> anyhow::Result<Vec<RunId>> {
    let read: Result<_, _> = text.lines().map(str::parse).collect();
    read.with_context(|| {
        format!("{} : la liste des traitements suivis est illisible ; repartez des tables d'origine", table.display())
    })
}

#[cfg(test)]
mod tests {
    use linkage_cohort::supersede::Move;

    use super::*;

    fn name(n: u8) -> Pseudonym {
        Pseudonym([n; 16])
    }
    /// Two runs: 5 becomes 7, then record 50 of 7 becomes 5 again.
    fn lists() -> Vec<List<Pseudonym>> {
        let moved = Move { old: name(7), new: name(5), record: name(50) };
        vec![
            List { run: "r1".parse().unwrap(), merges: vec![(name(5), name(7))], moves: vec![] },
            List { run: "r2".parse().unwrap(), merges: vec![], moves: vec![moved] },
        ]
    }
    fn csv(rows: &[(u8, u8)]) -> String {
        let line = |(person, record): &(u8, u8)| format!("\"a, b\",{},{}\n", name(*record).to_hex(), name(*person).to_hex());
        format!("note,record,person\n{}", rows.iter().map(line).collect::<String>())
    }

    #[test]
    fn a_csv_follows_the_lists_once_and_keeps_its_other_columns() {
        let dir = tempfile::tempdir().unwrap();
        let (table, out) = (dir.path().join("t.csv"), dir.path().join("u.csv"));
        fsx::write_atomic(&table, csv(&[(5, 50), (5, 51), (6, 60)]).as_bytes()).unwrap();
        assert_eq!(of_csv(&table, &out, &lists()[..1]).unwrap(), Done { rows: 3, changed: 2, new_lists: 1 });
        assert_eq!(std::fs::read_to_string(&out).unwrap(), csv(&[(7, 50), (7, 51), (6, 60)]));
        assert_eq!(of_csv(&out, &out, &lists()).unwrap(), Done { rows: 3, changed: 1, new_lists: 1 });
        assert_eq!(std::fs::read_to_string(&out).unwrap(), csv(&[(5, 50), (7, 51), (6, 60)]));
        // The first list again would take record 50 back to 7.
        assert_eq!(of_csv(&out, &out, &lists()[..1]).unwrap(), Done { rows: 3, changed: 0, new_lists: 0 });
    }

    #[test]
    fn a_parquet_file_remembers_in_itself() {
        let dir = tempfile::tempdir().unwrap();
        let (table, out) = (dir.path().join("t.parquet"), dir.path().join("u.parquet"));
        let column =
            |cells: &[u8]| -> ArrayRef { Arc::new(cells.iter().map(|n| Some(name(*n).to_hex())).collect::<StringArray>()) };
        let numbers: ArrayRef = Arc::new(arrow_array::Int64Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_from_iter([
            ("age", numbers.clone()),
            ("person", column(&[5, 5, 6])),
            ("record", column(&[50, 51, 60])),
        ])
        .unwrap();
        let mut writer = ArrowWriter::try_new(File::create(&table).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        assert_eq!(of_parquet(&table, &out, &lists()).unwrap(), Done { rows: 3, changed: 1, new_lists: 2 });
        let read = |path: &Path| {
            ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap().next().unwrap().unwrap()
        };
        let made = read(&out);
        assert_eq!((made.column(0), made.column(1)), (&numbers, &column(&[5, 7, 6])));
        assert_eq!(of_parquet(&out, &out, &lists()[..1]).unwrap(), Done { rows: 3, changed: 0, new_lists: 0 });
    }

    #[test]
    fn a_table_without_records_or_with_other_names_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("t.csv");
        let says = |text: &str| {
            fsx::write_atomic(&table, text.as_bytes()).unwrap();
            of_csv(&table, &dir.path().join("u.csv"), &lists()).unwrap_err().to_string()
        };
        assert!(says("person,n\n1,2\n").contains("« record »"));
        assert!(says("record,n\n1,2\n").contains("« person »"));
        assert!(says("person,record\n1,2\n").contains("ligne 1"));
        assert!(!dir.path().join("u.csv").try_exists().unwrap());
    }
}
