//! Link tables on disk: one folder a run, written whole or not at all, as CSV and as Parquet.
//!
//! `link_table` holds person pseudonym, party, record pseudonym, period, match class, probability and run;
//! `attributes` holds record pseudonym, household pseudonym and the agreement's minimised attributes;
//! `supersessions.csv` the persons that a run replaced; `report.json` the broker's report without labels; `run.json` what
//! the run was restricted to.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{DataType, Field, Schema};
use linkage_agreement::{PartyId, Pseudonym, RunId};
use linkage_cohort::{LinkRow, MatchClass};
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

/// The minimised attributes of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeRow {
    /// The record.
    pub record: Pseudonym,
    /// The party's household reference, under a name that only this party's rows share.
    pub household: Option<String>,
    /// Values in the order of the agreement's attributes.
    pub values: Vec<Option<String>>,
}

/// A person that a run replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupersessionRow {
    /// Person in earlier tables.
    pub old: Pseudonym,
    /// Person in this one.
    pub new: Pseudonym,
    /// `merge` or `split`.
    pub change: &'static str,
}

/// All that came of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunTables {
    /// The run.
    pub run: RunId,
    /// The link table.
    pub links: Vec<LinkRow>,
    /// Names of the attributes, as in the agreement.
    pub attribute_names: Vec<String>,
    /// The attributes.
    pub attributes: Vec<AttributeRow>,
    /// Persons replaced.
    pub supersessions: Vec<SupersessionRow>,
    /// The run's report (JSON).
    pub report: Vec<u8>,
    /// The party whose persons alone the tables hold, of a run with a reference party.
    pub reference_party: Option<PartyId>,
}

/// What `run.json` holds.
#[derive(serde::Serialize, serde::Deserialize)]
struct RunFacts {
    reference_party: Option<PartyId>,
}

/// The folder of all runs.
#[derive(Debug, Clone)]
pub struct Tables {
    folder: PathBuf,
}

/// Name of the link table without its ending.
const LINK_TABLE: &str = "link_table";
/// Name of the file of what a run was restricted to.
const RUN_FACTS: &str = "run.json";

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

    /// Whether a run's tables are here.
    pub fn has(&self, run: &RunId) -> bool {
        self.run_folder(run).join("report.json").is_file()
    }

    /// The runs whose tables are here, by name.
    pub fn runs(&self) -> Result<Vec<RunId>, ServiceError> {
        let mut runs = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            if let Some(run) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                runs.push(run);
            }
        }
        runs.sort();
        Ok(runs)
    }

    /// The reference party of a run whose tables are here: they hold persons only of whom it has a record. Tables fetched
    /// before there were such runs say nothing, and have none.
    pub fn reference_party(&self, run: &RunId) -> Result<Option<PartyId>, ServiceError> {
        match fs::read(self.run_folder(run).join(RUN_FACTS)) {
            Ok(bytes) => {
                let facts: RunFacts = serde_json::from_slice(&bytes).map_err(ServiceError::internal)?;
                Ok(facts.reference_party)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a run's tables beside their place and moves them there as one; replaces what a killed process left.
    pub fn write(&self, tables: &RunTables) -> Result<PathBuf, ServiceError> {
        let folder = self.run_folder(&tables.run);
        // A leading underscore is no run identifier: an unfinished folder is never read.
        let draft = self.folder.join(format!("_{}", tables.run));
        if draft.try_exists()? {
            fs::remove_dir_all(&draft)?;
        }
        fsx::create_private_dir(&draft)?;
        write_table(&draft, LINK_TABLE, &link_columns(&tables.links))?;
        write_table(&draft, "attributes", &attribute_columns(tables))?;
        write_table(&draft, "supersessions", &supersession_columns(&tables.supersessions))?;
        let facts = RunFacts { reference_party: tables.reference_party.clone() };
        fsx::write_atomic(&draft.join(RUN_FACTS), &serde_json::to_vec(&facts).map_err(ServiceError::internal)?)?;
        fsx::write_atomic(&draft.join("report.json"), &tables.report)?;
        fsx::sync_dir(&draft)?;
        if folder.try_exists()? {
            fs::remove_dir_all(&folder)?;
        }
        fs::rename(&draft, &folder)?;
        fsx::sync_dir(&self.folder)?;
        Ok(folder)
    }

    /// Values of the attributes `wanted`, by record, in this order; none for one that the agreement lets not travel.
    pub fn attribute_columns(&self, run: &RunId, wanted: &[&str]) -> Result<Vec<Option<Values>>, ServiceError> {
        let broken = || ServiceError::internal("an attribute table on disk is damaged; fetch it again");
        let file = fs::File::open(self.run_folder(run).join("attributes.parquet"))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(ParquetRecordBatchReaderBuilder::build);
        let mut out: Vec<Option<Values>> = vec![None; wanted.len()];
        for batch in reader.map_err(|_| broken())? {
            let batch = batch.map_err(|_| broken())?;
            let column = |name: &str| batch.column_by_name(name).and_then(|c| c.as_any().downcast_ref::<StringArray>());
            let records = column("record").ok_or_else(broken)?;
            for (name, values) in wanted.iter().zip(&mut out) {
                let Some(cells) = column(name) else { continue };
                let values = values.get_or_insert_default();
                for (record, cell) in records.iter().zip(cells) {
                    let record = record.and_then(Pseudonym::from_hex).ok_or_else(broken)?;
                    if let Some(cell) = cell {
                        values.insert(record, cell.to_owned());
                    }
                }
            }
        }
        Ok(out)
    }

    /// Reads a run's link table back.
    pub fn links(&self, run: &RunId) -> Result<Vec<LinkRow>, ServiceError> {
        let text = fs::read_to_string(self.run_folder(run).join(format!("{LINK_TABLE}.csv"))).map_err(|_| {
            ServiceError::not_found("aucune table de liens de ce traitement n'est ici ; « linkage analyst fetch » la rapporte")
        })?;
        let broken = || ServiceError::internal("a link table on disk is damaged; fetch it again");
        text.lines()
            .skip(1)
            .map(|line| {
                let cells: Vec<&str> = line.split(',').collect();
                let &[person, party, record, period, class, probability, run] = cells.as_slice() else { return Err(broken()) };
                Ok(LinkRow {
                    person: Pseudonym::from_hex(person).ok_or_else(broken)?,
                    party: party.parse().map_err(|_| broken())?,
                    record: Pseudonym::from_hex(record).ok_or_else(broken)?,
                    period: period.parse().map_err(|_| broken())?,
                    match_class: MatchClass::parse(class).ok_or_else(broken)?,
                    probability: probability.parse().map_err(|_| broken())?,
                    run: run.parse().map_err(|_| broken())?,
                })
            })
            .collect()
    }
}

/// Values of one attribute by record.
pub type Values = HashMap<Pseudonym, String>;

/// One column: its name and its cells.
enum Column {
    Text(String, Vec<Option<String>>),
    Number(String, Vec<u32>),
}

fn text(name: &str, cells: impl Iterator<Item = String>) -> Column {
    Column::Text(name.to_owned(), cells.map(Some).collect())
}

fn link_columns(rows: &[LinkRow]) -> Vec<Column> {
    vec![
        text("person", rows.iter().map(|r| r.person.to_hex())),
        text("party", rows.iter().map(|r| r.party.to_string())),
        text("record", rows.iter().map(|r| r.record.to_hex())),
        text("period", rows.iter().map(|r| r.period.to_string())),
        text("match_class", rows.iter().map(|r| r.match_class.as_str().to_owned())),
        Column::Number("probability".to_owned(), rows.iter().map(|r| r.probability).collect()),
        text("run", rows.iter().map(|r| r.run.to_string())),
    ]
}

fn attribute_columns(tables: &RunTables) -> Vec<Column> {
    let rows = &tables.attributes;
    let mut columns = vec![
        text("record", rows.iter().map(|r| r.record.to_hex())),
        Column::Text("household".to_owned(), rows.iter().map(|r| r.household.clone()).collect()),
    ];
    for (index, name) in tables.attribute_names.iter().enumerate() {
        columns.push(Column::Text(name.clone(), rows.iter().map(|r| r.values.get(index).cloned().flatten()).collect()));
    }
    columns
}

fn supersession_columns(rows: &[SupersessionRow]) -> Vec<Column> {
    vec![
        text("old_person", rows.iter().map(|r| r.old.to_hex())),
        text("new_person", rows.iter().map(|r| r.new.to_hex())),
        text("change", rows.iter().map(|r| r.change.to_owned())),
    ]
}

fn write_table(folder: &Path, name: &str, columns: &[Column]) -> Result<(), ServiceError> {
    fsx::write_atomic(&folder.join(format!("{name}.csv")), csv(columns).as_bytes())?;
    fsx::write_atomic(&folder.join(format!("{name}.parquet")), &parquet(columns)?)?;
    Ok(())
}

fn csv(columns: &[Column]) -> String {
    let rows = columns
        .iter()
        .map(|c| match c {
            Column::Text(_, cells) => cells.len(),
            Column::Number(_, cells) => cells.len(),
        })
        .max();
    let names: Vec<String> = columns
        .iter()
        .map(|c| match c {
            Column::Text(n, _) | Column::Number(n, _) => quoted(n),
        })
        .collect();
    let mut out = names.join(",");
    out.push('\n');
    for row in 0..rows.unwrap_or(0) {
        for (position, column) in columns.iter().enumerate() {
            if position > 0 {
                out.push(',');
            }
            match column {
                Column::Text(_, cells) => out.push_str(&quoted(cells[row].as_deref().unwrap_or(""))),
                Column::Number(_, cells) => out.push_str(&cells[row].to_string()),
            }
        }
        out.push('\n');
    }
    out
}

/// A CSV cell, quoted where RFC 4180 asks for it, and never read as a formula by a spreadsheet.
fn quoted(cell: &str) -> String {
    let cell = if cell.starts_with(['=', '+', '@']) { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

fn parquet(columns: &[Column]) -> Result<Vec<u8>, ServiceError> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for column in columns {
        match column {
            Column::Text(name, cells) => {
                fields.push(Field::new(name, DataType::Utf8, true));
                arrays.push(Arc::new(cells.iter().map(Option::as_deref).collect::<StringArray>()));
            }
            Column::Number(name, cells) => {
                fields.push(Field::new(name, DataType::UInt32, false));
                arrays.push(Arc::new(UInt32Array::from(cells.clone())));
            }
        }
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(ServiceError::internal)?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema, Some(properties)).map_err(ServiceError::internal)?;
    writer.write(&batch).map_err(ServiceError::internal)?;
    writer.close().map_err(ServiceError::internal)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> RunTables {
        let row = LinkRow {
            person: Pseudonym([1; 16]),
            party: "ccas".parse().unwrap(),
            record: Pseudonym([2; 16]),
            period: "2024-01".parse().unwrap(),
            match_class: MatchClass::Certain,
            probability: 9_990,
            run: "2024-01-full".parse().unwrap(),
        };
        RunTables {
            run: "2024-01-full".parse().unwrap(),
            links: vec![row],
            attribute_names: vec!["composition".to_owned()],
            attributes: vec![AttributeRow {
                record: Pseudonym([2; 16]),
                household: None,
                values: vec![Some("=a,\"b\"".to_owned())],
            }],
            supersessions: vec![],
            report: b"{}".to_vec(),
            reference_party: Some("ccas".parse().unwrap()),
        }
    }

    #[test]
    fn a_table_is_read_back_as_written_and_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = Tables::open(dir.path()).unwrap();
        let made = tables();
        assert!(!store.has(&made.run));
        store.write(&made).unwrap();
        let folder = store.write(&made).unwrap();
        assert!(store.has(&made.run));
        assert_eq!(store.links(&made.run).unwrap(), made.links);
        assert_eq!(store.reference_party(&made.run).unwrap(), made.reference_party);
        assert_eq!(store.runs().unwrap(), std::slice::from_ref(&made.run));
        assert_eq!(
            fs::read_to_string(folder.join("attributes.csv")).unwrap().lines().nth(1).unwrap(),
            format!("{},,\"'=a,\"\"b\"\"\"", "02".repeat(16))
        );
    }

    #[test]
    fn what_a_killed_process_left_is_not_a_table() {
        let dir = tempfile::tempdir().unwrap();
        let store = Tables::open(dir.path()).unwrap();
        fs::create_dir(dir.path().join("tables/_2024-01-full")).unwrap();
        assert_eq!(store.runs().unwrap(), []);
        store.write(&tables()).unwrap();
        assert!(!dir.path().join("tables/_2024-01-full").try_exists().unwrap());
    }
}
