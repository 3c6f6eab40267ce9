//! Link tables on disk: one folder a run, written whole or not at all, as CSV and as Parquet.
//!
//! `link_table` holds person pseudonym, party, record pseudonym, period, match class, probability and run;
//! `attributes` holds record pseudonym, household pseudonym and the agreement's minimised attributes;
//! `supersessions` the persons that a run merged and the records that it moved; `report.json` the broker's report without
//! labels; `run.json` what the run was: month, parties, place among the runs. The first three are rows of persons: they are
//! written for analysts whose agreement allows `row-level` only.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{Array as _, ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{DataType, Field, Schema};
use linkage_agreement::{PartyId, Period, Pseudonym, RunId};
use linkage_cohort::supersede::{List, Move};
use linkage_cohort::{LinkRow, MatchClass};
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use crate::rows::{NewRow, Rows, Texts};

/// What `run.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFacts {
    /// The run.
    pub run: RunId,
    /// Its month.
    pub period: Period,
    /// Parties that took part; one without rows delivered none for the month.
    pub parties: Vec<PartyId>,
    /// The party whose persons alone the tables hold, of a run with a reference party.
    pub reference_party: Option<PartyId>,
    /// Place in the order in which the custodian took runs in: that in which supersessions apply.
    pub position: u64,
    /// Names of the attributes, as in the agreement.
    pub attributes: Vec<String>,
}

/// All that came of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunTables {
    /// What it was.
    pub facts: RunFacts,
    /// Link table and attributes.
    pub rows: Rows,
    /// Persons merged, records moved.
    pub supersessions: List<Pseudonym>,
    /// The run's report (JSON).
    pub report: Vec<u8>,
}

/// The folder of all runs.
#[derive(Debug, Clone)]
pub struct Tables {
    folder: PathBuf,
}

/// Names of the tables without their ending.
const LINK_TABLE: &str = "link_table";
const ATTRIBUTES: &str = "attributes";
const SUPERSESSIONS: &str = "supersessions";
/// Name of the file of what a run was.
const RUN_FACTS: &str = "run.json";
/// Rows written to Parquet at a time.
const ROWS_AT_ONCE: usize = 65_536;
/// Most bytes of a small file.
const LIMIT: u64 = 16 << 20;

fn damaged() -> ServiceError {
    ServiceError::internal("a table on disk is damaged; fetch it again")
}

impl Tables {
    /// Opens (and creates) the folder.
    pub fn open(data_dir: &Path) -> Result<Self, ServiceError> {
        let folder = data_dir.join("tables");
        fsx::create_private_dir(&folder)?;
        Ok(Self { folder })
    }

    /// Where a run's tables lie.
    pub fn run_folder(&self, run: &RunId) -> PathBuf {
        self.folder.join(run.as_str())
    }

    /// Whether a run is here.
    pub fn has(&self, run: &RunId) -> bool {
        self.run_folder(run).join(RUN_FACTS).is_file()
    }

    /// The runs that are here, by name.
    pub fn runs(&self) -> Result<Vec<RunId>, ServiceError> {
        let mut runs = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            if let Some(run) = entry?.file_name().to_str().and_then(|name| name.parse().ok())
                && self.has(&run)
            {
                runs.push(run);
            }
        }
        runs.sort();
        Ok(runs)
    }

    /// The runs that are here, in the custodian's order.
    pub fn in_order(&self) -> Result<Vec<RunId>, ServiceError> {
        let mut runs = self
            .runs()?
            .into_iter()
            .map(|run| Ok((self.facts(&run)?.position, run)))
            .collect::<Result<Vec<_>, ServiceError>>()?;
        runs.sort();
        Ok(runs.into_iter().map(|(_, run)| run).collect())
    }

    /// What a run was.
    pub fn facts(&self, run: &RunId) -> Result<RunFacts, ServiceError> {
        let bytes = fsx::read_limited(&self.run_folder(run).join(RUN_FACTS), LIMIT).map_err(|_| missing())?;
        serde_json::from_slice(&bytes).map_err(|_| damaged())
    }

    /// The reference party of a run whose tables are here: they hold persons only of whom it has a record.
    pub fn reference_party(&self, run: &RunId) -> Result<Option<PartyId>, ServiceError> {
        Ok(self.facts(run)?.reference_party)
    }

    /// Writes what came of a run beside its place and moves it there as one; replaces what a killed process left. Tables
    /// of persons are written where the agreement gives the analyst the `row_level`.
    pub fn write(&self, tables: &RunTables, row_level: bool) -> Result<PathBuf, ServiceError> {
        let run = &tables.facts.run;
        let folder = self.run_folder(run);
        // A leading underscore is no run identifier: an unfinished folder is never read.
        let draft = self.folder.join(format!("_{run}"));
        if draft.try_exists()? {
            fs::remove_dir_all(&draft)?;
        }
        fsx::create_private_dir(&draft)?;
        if row_level {
            write_table(&draft, LINK_TABLE, &link_columns(tables))?;
            write_table(&draft, ATTRIBUTES, &attribute_columns(tables))?;
            write_table(&draft, SUPERSESSIONS, &supersession_columns(&tables.supersessions))?;
        }
        fsx::write_atomic(&draft.join(RUN_FACTS), &serde_json::to_vec(&tables.facts).map_err(ServiceError::internal)?)?;
        fsx::write_atomic(&draft.join("report.json"), &tables.report)?;
        fsx::sync_dir(&draft)?;
        if folder.try_exists()? {
            fs::remove_dir_all(&folder)?;
        }
        fs::rename(&draft, &folder)?;
        fsx::sync_dir(&self.folder)?;
        Ok(folder)
    }

    /// The runs whose tables name one of `records`, with the parties of its rows and their number.
    pub fn find_records(&self, records: &[Pseudonym]) -> Result<Vec<(RunId, Vec<PartyId>, u64)>, ServiceError> {
        let mut found = Vec::new();
        for run in self.runs()? {
            if !self.run_folder(&run).join(format!("{LINK_TABLE}.parquet")).is_file() {
                continue;
            }
            let (mut parties, mut rows) = (Vec::new(), 0);
            for batch in self.batches(&run, LINK_TABLE)? {
                let batch = batch?;
                let (of, party) = (texts(&batch, "record")?, texts(&batch, "party")?);
                for row in 0..batch.num_rows() {
                    if records.contains(&pseudonym(cell(of, row))?) {
                        rows += 1;
                        parties.push(parsed(cell(party, row))?);
                    }
                }
            }
            if rows > 0 || self.supersessions(&run)?.moves.iter().any(|moved| records.contains(&moved.record)) {
                found.push((run, parties, rows));
            }
        }
        Ok(found)
    }

    /// Writes a run's tables again without rows and moves of `records`.
    pub fn take_out(&self, run: &RunId, records: &[Pseudonym]) -> Result<(), ServiceError> {
        let Some(mut tables) = self.read(run)? else { return Ok(()) };
        tables.rows = tables.rows.without(records);
        tables.supersessions.moves.retain(|moved| !records.contains(&moved.record));
        self.write(&tables, true).map(drop)
    }

    /// Forgets a run, so that it is fetched again.
    pub fn forget(&self, run: &RunId) -> Result<(), ServiceError> {
        Ok(fs::remove_dir_all(self.run_folder(run))?)
    }

    /// Reads back what was written of a run; none where its rows are not here.
    pub fn read(&self, run: &RunId) -> Result<Option<RunTables>, ServiceError> {
        let facts = self.facts(run)?;
        if !self.run_folder(run).join(format!("{LINK_TABLE}.parquet")).is_file() {
            return Ok(None);
        }
        let (mut records, mut households) = (Vec::new(), Texts::default());
        let mut attributes = vec![Texts::default(); facts.attributes.len()];
        for batch in self.batches(run, ATTRIBUTES)? {
            let batch = batch?;
            for record in texts(&batch, "record")? {
                records.push(pseudonym(record)?);
            }
            texts(&batch, "household")?.iter().for_each(|name| households.push(name));
            for (name, values) in facts.attributes.iter().zip(&mut attributes) {
                texts(&batch, name)?.iter().for_each(|value| values.push(value));
            }
        }
        let mut rows = Rows::new(facts.attributes.len());
        let mut used = vec![false; records.len()];
        for row in self.links(run)? {
            // Two parties may have a record of one name: each takes the next line of it.
            let mut at = records.partition_point(|record| *record < row.record);
            while used.get(at) == Some(&true) {
                at += 1;
            }
            if records.get(at) != Some(&row.record) {
                return Err(damaged());
            }
            used.get_mut(at).into_iter().for_each(|used| *used = true);
            let values: Vec<Option<&str>> = attributes.iter().map(|column| column.get(at)).collect();
            let party = facts.parties.iter().position(|party| *party == row.party).ok_or_else(damaged)?;
            rows.push(NewRow {
                person: row.person,
                party: u8::try_from(party).map_err(|_| damaged())?,
                record: row.record,
                match_class: row.match_class,
                probability: u16::try_from(row.probability).map_err(|_| damaged())?,
                household: households.get(at),
                values: &values,
            });
        }
        let report = fsx::read_limited(&self.run_folder(run).join("report.json"), LIMIT).map_err(|_| damaged())?;
        Ok(Some(RunTables { facts, rows, supersessions: self.supersessions(run)?, report }))
    }

    /// A run's link table.
    pub fn links(&self, run: &RunId) -> Result<Vec<LinkRow>, ServiceError> {
        let mut links = Vec::new();
        for batch in self.batches(run, LINK_TABLE)? {
            let batch = batch?;
            let column = |name: &str| texts(&batch, name);
            let (persons, parties, records) = (column("person")?, column("party")?, column("record")?);
            let (periods, classes, runs) = (column("period")?, column("match_class")?, column("run")?);
            let probabilities =
                batch.column_by_name("probability").and_then(|c| c.as_primitive_opt::<UInt32Type>()).ok_or_else(damaged)?;
            for row in 0..batch.num_rows() {
                links.push(LinkRow {
                    person: pseudonym(cell(persons, row))?,
                    party: parsed(cell(parties, row))?,
                    record: pseudonym(cell(records, row))?,
                    period: parsed(cell(periods, row))?,
                    match_class: cell(classes, row).and_then(MatchClass::parse).ok_or_else(damaged)?,
                    probability: probabilities.value(row),
                    run: parsed(cell(runs, row))?,
                });
            }
        }
        Ok(links)
    }

    /// A run's supersession list.
    pub fn supersessions(&self, run: &RunId) -> Result<List<Pseudonym>, ServiceError> {
        let mut list = List { run: run.clone(), merges: Vec::new(), moves: Vec::new() };
        for batch in self.batches(run, SUPERSESSIONS)? {
            let batch = batch?;
            let column = |name: &str| texts(&batch, name);
            let (olds, news, changes, records) =
                (column("old_person")?, column("new_person")?, column("change")?, column("record")?);
            for row in 0..batch.num_rows() {
                let (old, new) = (pseudonym(cell(olds, row))?, pseudonym(cell(news, row))?);
                match cell(changes, row) {
                    Some("merge") => list.merges.push((old, new)),
                    Some("split") => list.moves.push(Move { old, new, record: pseudonym(cell(records, row))? }),
                    _ => return Err(damaged()),
                }
            }
        }
        Ok(list)
    }

    fn batches(
        &self,
        run: &RunId,
        name: &str,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, ServiceError>> + use<>, ServiceError> {
        let file = fs::File::open(self.run_folder(run).join(format!("{name}.parquet"))).map_err(|_| missing())?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|b| b.with_batch_size(ROWS_AT_ONCE).build());
        Ok(reader.map_err(|_| damaged())?.map(|batch| batch.map_err(|_| damaged())))
    }
}

fn missing() -> ServiceError {
    ServiceError::not_found("aucune table de liens de ce traitement n'est ici ; « linkage analyst fetch » la rapporte")
}

fn texts<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b StringArray, ServiceError> {
    batch.column_by_name(name).and_then(|c| c.as_string_opt::<i32>()).ok_or_else(damaged)
}

fn cell(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

fn pseudonym(cell: Option<&str>) -> Result<Pseudonym, ServiceError> {
    cell.and_then(Pseudonym::from_hex).ok_or_else(damaged)
}

fn parsed<T: std::str::FromStr>(cell: Option<&str>) -> Result<T, ServiceError> {
    cell.and_then(|text| text.parse().ok()).ok_or_else(damaged)
}

/// One column: its name, how many cells it has, and what they are.
struct Column<'t> {
    name: &'t str,
    rows: usize,
    cells: Cells<'t>,
}

enum Cells<'t> {
    Text(Box<dyn Fn(usize) -> Option<String> + 't>),
    Number(Box<dyn Fn(usize) -> u32 + 't>),
}

fn text<'t>(name: &'t str, rows: usize, cell: impl Fn(usize) -> Option<String> + 't) -> Column<'t> {
    Column { name, rows, cells: Cells::Text(Box::new(cell)) }
}

/// Rows by pseudonym: the order in which they came says nothing any more.
fn link_columns(tables: &RunTables) -> Vec<Column<'_>> {
    let (rows, facts) = (&tables.rows, &tables.facts);
    let order: Arc<[u32]> = rows.order(&facts.parties).into();
    let at = move |row: usize| order.get(row).map(|row| *row as usize);
    let count = rows.len();
    let (at1, at2, at3, at4, at5) = (at.clone(), at.clone(), at.clone(), at.clone(), at);
    vec![
        text("person", count, move |row| Some(rows.persons.get(at1(row)?)?.to_hex())),
        text("party", count, move |row| Some(facts.parties.get(usize::from(*rows.parties.get(at2(row)?)?))?.to_string())),
        text("record", count, move |row| Some(rows.records.get(at3(row)?)?.to_hex())),
        text("period", count, move |_| Some(facts.period.to_string())),
        text("match_class", count, move |row| Some(rows.classes.get(at4(row)?)?.as_str().to_owned())),
        Column {
            name: "probability",
            rows: count,
            cells: Cells::Number(Box::new(move |row| {
                at5(row).and_then(|row| rows.probabilities.get(row)).map_or(0, |p| u32::from(*p))
            })),
        },
        text("run", count, move |_| Some(facts.run.to_string())),
    ]
}

/// Rows by record, those of one record in the link table's order.
fn attribute_columns(tables: &RunTables) -> Vec<Column<'_>> {
    let rows = &tables.rows;
    let mut order = rows.order(&tables.facts.parties);
    order.sort_by_key(|row| rows.records.get(*row as usize));
    let order: Arc<[u32]> = order.into();
    let at = move |row: usize| order.get(row).map(|row| *row as usize);
    let (at1, at2) = (at.clone(), at.clone());
    let mut columns = vec![
        text("record", rows.len(), move |row| Some(rows.records.get(at1(row)?)?.to_hex())),
        text("household", rows.len(), move |row| rows.households.get(at2(row)?).map(str::to_owned)),
    ];
    for (name, values) in tables.facts.attributes.iter().zip(&rows.attributes) {
        let at = at.clone();
        columns.push(text(name, rows.len(), move |row| values.get(at(row)?).map(str::to_owned)));
    }
    columns
}

fn supersession_columns(list: &List<Pseudonym>) -> Vec<Column<'_>> {
    let merges = list.merges.iter().map(|(old, new)| (*old, *new, None));
    let moves = list.moves.iter().map(|m| (m.old, m.new, Some(m.record)));
    let mut rows: Vec<(Pseudonym, Pseudonym, Option<Pseudonym>)> = merges.chain(moves).collect();
    rows.sort_unstable();
    let rows: Arc<[_]> = rows.into();
    let count = rows.len();
    let (rows1, rows2, rows3) = (rows.clone(), rows.clone(), rows.clone());
    vec![
        text("old_person", count, move |row| Some(rows1.get(row)?.0.to_hex())),
        text("new_person", count, move |row| Some(rows2.get(row)?.1.to_hex())),
        text("change", count, move |row| Some(if rows3.get(row)?.2.is_some() { "split" } else { "merge" }.to_owned())),
        text("record", count, move |row| rows.get(row)?.2.map(|record| record.to_hex())),
    ]
}

fn write_table(folder: &Path, name: &str, columns: &[Column<'_>]) -> Result<(), ServiceError> {
    fsx::write_atomic_with(&folder.join(format!("{name}.csv")), |file| csv(columns, file))?;
    fsx::write_atomic_with(&folder.join(format!("{name}.parquet")), |file| parquet(columns, file))
}

fn csv(columns: &[Column<'_>], file: &mut fs::File) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(file);
    let names: Vec<String> = columns.iter().map(|column| quoted(column.name)).collect();
    writeln!(out, "{}", names.join(","))?;
    for row in 0..columns.iter().map(|column| column.rows).max().unwrap_or(0) {
        for (position, column) in columns.iter().enumerate() {
            if position > 0 {
                out.write_all(b",")?;
            }
            match &column.cells {
                Cells::Text(cell) => out.write_all(quoted(&cell(row).unwrap_or_default()).as_bytes())?,
                Cells::Number(cell) => write!(out, "{}", cell(row))?,
            }
        }
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// A CSV cell, quoted where RFC 4180 asks for it, and never read as a formula by a spreadsheet.
fn quoted(cell: &str) -> String {
    let cell = if cell.starts_with(['=', '+', '@']) { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

fn parquet(columns: &[Column<'_>], file: &mut fs::File) -> Result<(), ServiceError> {
    let field = |column: &Column<'_>| match column.cells {
        Cells::Text(_) => Field::new(column.name, DataType::Utf8, true),
        Cells::Number(_) => Field::new(column.name, DataType::UInt32, false),
    };
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(ServiceError::internal)?;
    let rows = columns.iter().map(|column| column.rows).max().unwrap_or(0);
    for first in (0..rows).step_by(ROWS_AT_ONCE) {
        let range = first..rows.min(first + ROWS_AT_ONCE);
        let array = |column: &Column<'_>| -> ArrayRef {
            match &column.cells {
                Cells::Text(cell) => Arc::new(range.clone().map(cell).collect::<StringArray>()),
                Cells::Number(cell) => Arc::new(range.clone().map(cell).collect::<UInt32Array>()),
            }
        };
        let batch = RecordBatch::try_new(schema.clone(), columns.iter().map(array).collect()).map_err(ServiceError::internal)?;
        writer.write(&batch).map_err(written)?;
    }
    writer.close().map_err(written)?;
    Ok(())
}

/// A table that could not be written: a full disk is told as one.
fn written(error: parquet::errors::ParquetError) -> ServiceError {
    match error {
        parquet::errors::ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(io) => (*io).into(),
            Err(other) => ServiceError::internal(other),
        },
        other => ServiceError::internal(other),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run of one row.
    pub(crate) fn tables() -> RunTables {
        let mut rows = Rows::new(1);
        rows.push(NewRow {
            person: Pseudonym([1; 16]),
            party: 0,
            record: Pseudonym([2; 16]),
            match_class: MatchClass::Certain,
            probability: 9_990,
            household: None,
            values: &[Some("=a,\"b\"")],
        });
        let run: RunId = "2024-01-full".parse().unwrap();
        RunTables {
            facts: RunFacts {
                run: run.clone(),
                period: "2024-01".parse().unwrap(),
                parties: vec!["ccas".parse().unwrap()],
                reference_party: Some("ccas".parse().unwrap()),
                position: 1,
                attributes: vec!["composition".to_owned()],
            },
            rows,
            supersessions: List {
                run,
                merges: vec![(Pseudonym([7; 16]), Pseudonym([1; 16]))],
                moves: vec![Move { old: Pseudonym([4; 16]), new: Pseudonym([5; 16]), record: Pseudonym([6; 16]) }],
            },
            report: b"{}".to_vec(),
        }
    }

    #[test]
    fn a_table_is_read_back_as_written_and_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = Tables::open(dir.path()).unwrap();
        let made = tables();
        assert!(!store.has(&made.facts.run));
        store.write(&made, true).unwrap();
        let folder = store.write(&made, true).unwrap();
        assert!(store.has(&made.facts.run));
        assert_eq!(store.read(&made.facts.run).unwrap().unwrap(), made);
        assert_eq!(store.reference_party(&made.facts.run).unwrap(), made.facts.reference_party);
        assert_eq!(store.runs().unwrap(), std::slice::from_ref(&made.facts.run));
        let line = |name: &str, at| fs::read_to_string(folder.join(name)).unwrap().lines().nth(at).unwrap().to_owned();
        let hex = |n: &str| n.repeat(16);
        assert_eq!(line("attributes.csv", 1), format!("{},,\"'=a,\"\"b\"\"\"", hex("02")));
        assert_eq!(line("supersessions.csv", 0), "old_person,new_person,change,record");
        assert_eq!(line("supersessions.csv", 1), format!("{},{},split,{}", hex("04"), hex("05"), hex("06")));
        assert_eq!(line("supersessions.csv", 2), format!("{},{},merge,", hex("07"), hex("01")));
    }

    #[test]
    fn without_the_right_no_row_of_a_person_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = Tables::open(dir.path()).unwrap();
        let made = tables();
        let folder = store.write(&made, false).unwrap();
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["report.json", "run.json"]);
        assert_eq!(store.read(&made.facts.run).unwrap(), None);
        assert!(store.has(&made.facts.run) && store.links(&made.facts.run).is_err());
    }

    #[test]
    fn what_a_killed_process_left_is_not_a_table() {
        let dir = tempfile::tempdir().unwrap();
        let store = Tables::open(dir.path()).unwrap();
        fs::create_dir(dir.path().join("tables/_2024-01-full")).unwrap();
        assert_eq!(store.runs().unwrap(), []);
        store.write(&tables(), true).unwrap();
        assert!(!dir.path().join("tables/_2024-01-full").try_exists().unwrap());
    }
}
