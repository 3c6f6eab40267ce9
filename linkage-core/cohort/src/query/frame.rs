//! A study seen in units: rows of a month, each with the number of the person or household that it counts for.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{PrimitiveArray, RecordBatch, types};

use super::error::QueryError;
use super::evaluate::Inputs;
use crate::figures::Unit;
use crate::study::{Column, Households, NO_HOUSEHOLD, SourceError, Study};

/// A study and what its units are.
pub(crate) struct Frame<'a> {
    /// The study.
    pub study: &'a Study,
    /// Keys and households.
    pub inputs: Inputs<'a>,
    /// What is counted.
    pub unit: Unit,
    /// Unit numbers are below this.
    pub size: usize,
    /// Months of the study, as [`linkage_agreement::Period::index`].
    pub calendar: Vec<u32>,
}

impl<'a> Frame<'a> {
    /// The study in `unit`s.
    pub(crate) fn new(study: &'a Study, inputs: Inputs<'a>, unit: Unit) -> Result<Self, QueryError> {
        if inputs.person_keys.len() < study.persons as usize {
            return Err(QueryError::Keys);
        }
        let calendar = study.months.iter().map(|m| m.period.index()).collect();
        let mut frame = Self { study, inputs, unit, size: study.persons as usize, calendar };
        if unit == Unit::Households {
            frame.size = frame.households()?.count() as usize;
        }
        Ok(frame)
    }

    /// The households.
    pub(crate) fn households(&self) -> Result<&'a dyn Households, QueryError> {
        self.inputs.households.ok_or(QueryError::NoHouseholds)
    }

    /// Position of the month with this index, where it is held.
    pub(crate) fn at(&self, index: u32) -> Option<usize> {
        self.calendar.binary_search(&index).ok()
    }

    /// Whether the party delivered for the month at position `month`.
    pub(crate) fn delivered(&self, month: usize, party: usize) -> bool {
        self.study.months.get(month).and_then(|m| m.delivered.get(party)).copied().unwrap_or(false)
    }

    /// The columns `wanted` of the month at position `month`, with the units.
    pub(crate) fn rows(&self, month: usize, wanted: &[Column]) -> Result<Rows, QueryError> {
        let mut columns = wanted.to_vec();
        if self.unit == Unit::Persons {
            columns.push(Column::Person);
        }
        columns.sort_unstable();
        columns.dedup();
        // A batch without columns would have no rows.
        if columns.is_empty() {
            columns.push(Column::Party);
        }
        let batch = self.study.source.columns(month, &columns)?;
        let households = match self.unit {
            Unit::Persons => None,
            Unit::Households => Some(self.households()?.of_rows(month)?),
        };
        let rows = Rows { batch, households, own: None };
        let units = rows.units()?;
        let within = |unit: u32| (unit as usize) < self.size || (self.unit == Unit::Households && unit == NO_HOUSEHOLD);
        if units.len() != rows.batch.num_rows() || !units.iter().all(|unit| within(*unit)) {
            return Err(SourceError(format!("mois {month}")).into());
        }
        Ok(rows)
    }
}

/// Rows of one month.
pub(crate) struct Rows {
    batch: RecordBatch,
    households: Option<Arc<[u32]>>,
    /// The party whose records alone give values.
    pub own: Option<usize>,
}

impl Rows {
    /// Unit of each row; [`NO_HOUSEHOLD`], which is in no set, for a row in no household.
    pub(crate) fn units(&self) -> Result<&[u32], SourceError> {
        match &self.households {
            Some(households) => Ok(households),
            None => self.persons(),
        }
    }
    /// Person of each row.
    pub(crate) fn persons(&self) -> Result<&[u32], SourceError> {
        Ok(self.column::<types::UInt32Type>(Column::Person)?.values())
    }
    /// Party of each row.
    pub(crate) fn parties(&self) -> Result<&[u8], SourceError> {
        Ok(self.column::<types::UInt8Type>(Column::Party)?.values())
    }
    /// Code of an attribute, by row.
    pub(crate) fn attribute(&self, at: usize) -> Result<&PrimitiveArray<types::UInt16Type>, SourceError> {
        self.column(Column::Attribute(at))
    }

    fn column<T: ArrowPrimitiveType>(&self, column: Column) -> Result<&PrimitiveArray<T>, SourceError> {
        let name = column.name();
        self.batch.column_by_name(&name).and_then(|array| array.as_primitive_opt::<T>()).ok_or(SourceError(name))
    }
}
