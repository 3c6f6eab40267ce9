//! One month's file: its columns as Parquet, and its rows after a supersession list.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt8Type, UInt16Type, UInt32Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, RecordBatch};
use arrow_schema::{DataType, Schema};
use linkage_cohort::study::Column;
use linkage_cohort::supersede::Successors;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::Broken;

/// Rows of a row group.
const ROW_GROUP: usize = 1 << 20;

/// The columns that every month has.
const FIXED: [Column; 6] =
    [Column::Person, Column::Party, Column::Record, Column::Household, Column::MatchClass, Column::Probability];

/// A month's columns; attributes under their numbers in the study's files.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) persons: Vec<u32>,
    pub(super) parties: Vec<u8>,
    pub(super) records: Vec<u32>,
    pub(super) households: Vec<Option<u32>>,
    pub(super) classes: Vec<u8>,
    pub(super) probabilities: Vec<u16>,
    pub(super) attributes: Vec<(usize, Vec<Option<u16>>)>,
}

impl Columns {
    /// All columns in one batch, its rows in order.
    pub(super) fn into_batch(self) -> Result<RecordBatch, Broken> {
        let mut columns: Vec<(Column, ArrayRef)> = vec![
            (Column::Person, primitive::<UInt32Type>(self.persons)),
            (Column::Party, primitive::<UInt8Type>(self.parties)),
            (Column::Record, primitive::<UInt32Type>(self.records)),
            (Column::Household, Arc::new(self.households.into_iter().collect::<PrimitiveArray<UInt32Type>>())),
            (Column::MatchClass, primitive::<UInt8Type>(self.classes)),
            (Column::Probability, primitive::<UInt16Type>(self.probabilities)),
        ];
        for (number, codes) in self.attributes {
            columns.push((Column::Attribute(number), Arc::new(codes.into_iter().collect::<PrimitiveArray<UInt16Type>>())));
        }
        let schema = Schema::new(columns.iter().map(|(column, _)| column.field()).collect::<Vec<_>>());
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        ordered(&RecordBatch::try_new(Arc::new(schema), arrays)?)
    }
}

fn primitive<T: ArrowPrimitiveType>(values: Vec<T::Native>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter_values(values))
}

/// The rows in rising order of person, party, record.
fn ordered(batch: &RecordBatch) -> Result<RecordBatch, Broken> {
    let (persons, parties, records) = (
        values::<UInt32Type>(batch, Column::Person)?,
        values::<UInt8Type>(batch, Column::Party)?,
        values::<UInt32Type>(batch, Column::Record)?,
    );
    let mut keys: Vec<(u32, u8, u32, u32)> = persons
        .iter()
        .zip(parties)
        .zip(records)
        .zip(0..)
        .map(|(((person, party), record), row)| (*person, *party, *record, row))
        .collect();
    if keys.is_sorted() {
        return Ok(batch.clone());
    }
    keys.sort_unstable();
    let arrays = batch.columns().iter().map(|array| permuted(array, &keys)).collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(batch.schema(), arrays)?)
}

fn permuted(array: &ArrayRef, keys: &[(u32, u8, u32, u32)]) -> Result<ArrayRef, Broken> {
    fn of<T: ArrowPrimitiveType>(array: &ArrayRef, keys: &[(u32, u8, u32, u32)]) -> ArrayRef {
        let array = array.as_primitive::<T>();
        let row = |key: &(u32, u8, u32, u32)| key.3 as usize;
        if array.null_count() == 0 {
            let values = array.values();
            return Arc::new(PrimitiveArray::<T>::from_iter_values(keys.iter().filter_map(|key| values.get(row(key)).copied())));
        }
        Arc::new(keys.iter().map(|key| array.is_valid(row(key)).then(|| array.value(row(key)))).collect::<PrimitiveArray<T>>())
    }
    match array.data_type() {
        DataType::UInt8 => Ok(of::<UInt8Type>(array, keys)),
        DataType::UInt16 => Ok(of::<UInt16Type>(array, keys)),
        DataType::UInt32 => Ok(of::<UInt32Type>(array, keys)),
        _ => Err(Broken::Damaged("type".to_owned())),
    }
}

fn values<T: ArrowPrimitiveType>(batch: &RecordBatch, column: Column) -> Result<&[T::Native], Broken> {
    let name = column.name();
    let array = batch.column_by_name(&name).and_then(|array| array.as_primitive_opt::<T>());
    array.map(|array| &**array.values()).ok_or(Broken::Damaged(name))
}

/// A month's file.
pub(super) fn write(batch: &RecordBatch) -> Result<Vec<u8>, Broken> {
    // Persons rise: their differences take a few bits each. Records and households are as good as random.
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_data_page_row_count_limit(ROW_GROUP);
    for column in [Column::Person, Column::Record, Column::Household] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column.name()), false);
    }
    let properties =
        properties.set_column_encoding(ColumnPath::from(Column::Person.name()), Encoding::DELTA_BINARY_PACKED).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties))?;
    writer.write(batch)?;
    writer.close()?;
    Ok(bytes)
}

/// What was in the rows that were taken out.
#[derive(Debug, Default)]
pub(super) struct TakenOut {
    pub(super) rows: u64,
    pub(super) persons: Vec<u32>,
    pub(super) households: Vec<u32>,
}

/// A month's file, open: it can be read also when a later generation has deleted its name.
#[derive(Debug)]
pub(super) struct MonthFile {
    file: File,
    metadata: ArrowReaderMetadata,
    rows: usize,
}

impl MonthFile {
    /// Reads the footer. `rows` must be what it says.
    pub(super) fn open(file: File, rows: u64) -> Result<Self, Broken> {
        let metadata = ArrowReaderMetadata::load(&file, parquet::arrow::arrow_reader::ArrowReaderOptions::new())?;
        if metadata.metadata().file_metadata().num_rows() != rows as i64 {
            return Err(Broken::Damaged("rows".to_owned()));
        }
        Ok(Self { file, metadata, rows: rows as usize })
    }
    /// The columns `wanted` that the file has, in this order; none for one that it has not.
    pub(super) fn read(&self, wanted: &[Column]) -> Result<Vec<Option<ArrayRef>>, Broken> {
        let names: Vec<String> = wanted.iter().map(|column| column.name()).collect();
        let here: Vec<usize> = self
            .metadata
            .schema()
            .fields()
            .iter()
            .enumerate()
            .filter_map(|(at, field)| names.contains(field.name()).then_some(at))
            .collect();
        if self.rows == 0 || here.is_empty() {
            let empty = |name: &String| {
                let field = self.metadata.schema().field_with_name(name).ok()?;
                Some(arrow_array::new_empty_array(field.data_type()))
            };
            return Ok(names.iter().map(empty).collect());
        }
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), here);
        let file = self.file.try_clone()?;
        let mut reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_projection(mask)
            .with_batch_size(self.rows)
            .build()?;
        let batch = reader.next().ok_or_else(|| Broken::Damaged("rows".to_owned()))??;
        if batch.num_rows() != self.rows {
            return Err(Broken::Damaged("rows".to_owned()));
        }
        Ok(names.iter().map(|name| batch.column_by_name(name).cloned()).collect())
    }
    /// All rows, each under its person after `successors`, and the parties of the rows that changed; none when none does.
    pub(super) fn succeed(&self, successors: &Successors<u32>) -> Result<Option<(RecordBatch, BTreeSet<u8>)>, Broken> {
        let missing = || Broken::Damaged("column".to_owned());
        let held = self.read(&FIXED[..3])?;
        let [Some(persons), Some(parties), Some(records)] = held.as_slice() else { return Err(missing()) };
        let persons = persons.as_primitive_opt::<UInt32Type>().ok_or_else(missing)?;
        let parties = parties.as_primitive_opt::<UInt8Type>().ok_or_else(missing)?;
        let records = records.as_primitive_opt::<UInt32Type>().ok_or_else(missing)?;
        let mut changed = BTreeSet::new();
        let after: Vec<u32> = persons
            .values()
            .iter()
            .zip(records.values())
            .zip(parties.values())
            .map(|((person, record), party)| {
                let now = successors.of(*person, *record);
                if now != *person {
                    changed.insert(*party);
                }
                now
            })
            .collect();
        if changed.is_empty() {
            return Ok(None);
        }
        let columns: Vec<Column> = FIXED.into_iter().chain(self.attributes()).collect();
        let mut arrays = self.read(&columns)?.into_iter().collect::<Option<Vec<_>>>().ok_or_else(missing)?;
        if let Some(first) = arrays.first_mut() {
            *first = primitive::<UInt32Type>(after);
        }
        let schema = Schema::new(columns.iter().map(|column| column.field()).collect::<Vec<_>>());
        let batch = ordered(&RecordBatch::try_new(Arc::new(schema), arrays)?)?;
        Ok(Some((batch, changed)))
    }
    /// The rows without those of `records`: the batch, and persons and households of the rows taken out; none when there is none.
    pub(super) fn without(&self, records: &[u32]) -> Result<Option<(RecordBatch, TakenOut)>, Broken> {
        let missing = || Broken::Damaged("column".to_owned());
        let columns: Vec<Column> = FIXED.into_iter().chain(self.attributes()).collect();
        let held = self.read(&[Column::Record])?;
        let [Some(of)] = held.as_slice() else { return Err(missing()) };
        let of = of.as_primitive_opt::<UInt32Type>().ok_or_else(missing)?;
        if !of.values().iter().any(|record| records.contains(record)) {
            return Ok(None);
        }
        let arrays = self.read(&columns)?.into_iter().collect::<Option<Vec<_>>>().ok_or_else(missing)?;
        let schema = Schema::new(columns.iter().map(|column| column.field()).collect::<Vec<_>>());
        let batch = RecordBatch::try_new(Arc::new(schema), arrays)?;
        let (persons, of) = (values::<UInt32Type>(&batch, Column::Person)?, values::<UInt32Type>(&batch, Column::Record)?);
        let households = batch.column_by_name(&Column::Household.name()).and_then(|c| c.as_primitive_opt::<UInt32Type>());
        let households = households.ok_or_else(missing)?;
        let mut taken = TakenOut::default();
        let mut kept: Vec<(u32, u8, u32, u32)> = Vec::with_capacity(of.len());
        for ((record, person), row) in of.iter().zip(persons).zip(0_u32..) {
            if records.contains(record) {
                taken.rows += 1;
                taken.persons.push(*person);
                let at = row as usize;
                taken.households.extend(households.is_valid(at).then(|| households.value(at)));
            } else {
                kept.push((0, 0, 0, row));
            }
        }
        let arrays = batch.columns().iter().map(|array| permuted(array, &kept)).collect::<Result<_, _>>()?;
        Ok(Some((RecordBatch::try_new(batch.schema(), arrays)?, taken)))
    }
    /// Those of `numbers` that stand in a column.
    pub(super) fn holding(&self, column: Column, numbers: &BTreeSet<u32>) -> Result<BTreeSet<u32>, Broken> {
        let missing = || Broken::Damaged("column".to_owned());
        let held = self.read(&[column])?;
        let [Some(held)] = held.as_slice() else { return Err(missing()) };
        let held = held.as_primitive_opt::<UInt32Type>().ok_or_else(missing)?;
        Ok(held.iter().flatten().filter(|number| numbers.contains(number)).collect())
    }
    /// The attributes that the file holds.
    fn attributes(&self) -> impl Iterator<Item = Column> {
        let number = |name: &str| name.strip_prefix('a').and_then(|number| number.parse().ok()).map(Column::Attribute);
        self.metadata.schema().fields().iter().filter_map(move |field| number(field.name()))
    }
}
