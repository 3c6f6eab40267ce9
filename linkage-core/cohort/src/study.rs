//! The study: every record of every month that an analyst holds of one agreement, in columns.
//!
//! Persons, records and households bear dense numbers in place of pseudonyms, so that a set of persons is a bitmap and
//! a month of a million records is a few megabytes a column. Where the columns come from (memory, Parquet on disk) is
//! the [`Source`]'s business; a query asks it for the columns that it needs, month by month. A party that delivered
//! nothing for a month is *missing* there, which is not the same as a party with no records.

use std::sync::Arc;

use arrow_array::{RecordBatch, UInt8Array, UInt16Array, UInt32Array};
use arrow_schema::{DataType, Field, Schema};
use linkage_agreement::model::Rule;
use linkage_agreement::{PartyId, Period, Pseudonym, RunId};

/// One column of a month's rows. A row is one record of one party.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// Number of the person, `u32`. Rows stand in rising order of person, party, record.
    Person,
    /// Position of the party in [`Study::parties`], `u8`.
    Party,
    /// Number of the record, the same in every month, `u32`.
    Record,
    /// Number of the party's household reference, the same in every month; distinct between parties, `u32`. Null where
    /// the party gave none.
    Household,
    /// [`crate::MatchClass`] as its wire code, `u8`.
    MatchClass,
    /// Probability of the record's link in ten-thousandths, 0 without one, `u16`.
    Probability,
    /// Code of an attribute: its position in [`AttributeColumn::values`], `u16`. Null where missing.
    Attribute(usize),
}

impl Column {
    /// Name in schemas and files; an attribute's is `a` and its position.
    pub fn name(self) -> String {
        match self {
            Self::Person => "person".to_owned(),
            Self::Party => "party".to_owned(),
            Self::Record => "record".to_owned(),
            Self::Household => "household".to_owned(),
            Self::MatchClass => "match_class".to_owned(),
            Self::Probability => "probability".to_owned(),
            Self::Attribute(at) => format!("a{at}"),
        }
    }
    /// Its Arrow field.
    pub fn field(self) -> Field {
        let (kind, nullable) = match self {
            Self::Person | Self::Record => (DataType::UInt32, false),
            Self::Household => (DataType::UInt32, true),
            Self::Party | Self::MatchClass => (DataType::UInt8, false),
            Self::Probability => (DataType::UInt16, false),
            Self::Attribute(_) => (DataType::UInt16, true),
        };
        Field::new(self.name(), kind, nullable)
    }
}

/// An attribute that travels, and the values that occur.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeColumn {
    /// Name, as in the agreement.
    pub name: String,
    /// How it is minimised: which values it can have, and their order in tables.
    pub rule: Rule,
    /// Values by code. Codes are given as values appear; tables put them in the order of the agreement's rule.
    pub values: Vec<String>,
}

/// One month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Month {
    /// The month.
    pub period: Period,
    /// The run whose link table this is.
    pub run: RunId,
    /// By party, whether it delivered.
    pub delivered: Vec<bool>,
    /// Rows.
    pub rows: u64,
}

/// Why a source could not give what it should hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("les données de l'étude sont illisibles ({0}) ; reconstruisez-les : linkage cohort rebuild")]
pub struct SourceError(pub String);

/// Gives columns of months. It is asked for several months at once, from several threads.
pub trait Source: Send + Sync {
    /// The columns `wanted`, in this order, of the month at position `month` in [`Study::months`].
    ///
    /// # Errors
    /// The data are damaged or gone.
    fn columns(&self, month: usize, wanted: &[Column]) -> Result<RecordBatch, SourceError>;
    /// Pseudonym of every person, by number.
    ///
    /// # Errors
    /// The data are damaged or gone.
    fn pseudonyms(&self) -> Result<Arc<[Pseudonym]>, SourceError>;
}

/// Number of no household: [`Households::of_rows`] gives it for rows that are in none.
pub const NO_HOUSEHOLD: u32 = u32::MAX;
/// Class of households whose composition is not known.
pub const NO_CLASS: u8 = u8::MAX;

/// Households of a study: who lives with whom, month by month. It is asked for several months at once, from several
/// threads.
pub trait Households: Send + Sync {
    /// Household numbers are below this; a household keeps its number over the months.
    fn count(&self) -> u32;
    /// Household of each row of the month at position `month`, in the rows' order; [`NO_HOUSEHOLD`] for a row in none.
    /// Rows of one person may be in different households.
    ///
    /// # Errors
    /// The study's data are damaged or gone.
    fn of_rows(&self, month: usize) -> Result<Arc<[u32]>, SourceError>;
    /// Names of the classes of composition, in the order of tables.
    fn classes(&self) -> &[String];
    /// Class of each household in the month at position `month`, by household number, as a position in
    /// [`Self::classes`]; [`NO_CLASS`] where it is not known.
    ///
    /// # Errors
    /// The study's data are damaged or gone.
    fn compositions(&self, month: usize) -> Result<Arc<[u8]>, SourceError>;
}

/// All that an analyst holds of one agreement.
pub struct Study {
    /// Parties, in the agreement's order.
    pub parties: Vec<PartyId>,
    /// Attributes, in the agreement's order.
    pub attributes: Vec<AttributeColumn>,
    /// Months, rising; a month of which no run is here stands not among them.
    pub months: Vec<Month>,
    /// Persons: their numbers are below this. Numbers of persons merged into others are held by nobody.
    pub persons: u32,
    /// Where the columns are.
    pub source: Box<dyn Source>,
}

impl Study {
    /// Position of a month.
    pub fn month(&self, period: Period) -> Option<usize> {
        self.months.binary_search_by_key(&period, |m| m.period).ok()
    }
    /// Position of a party.
    pub fn party(&self, party: &PartyId) -> Option<usize> {
        self.parties.iter().position(|p| p == party)
    }
    /// Position of an attribute.
    pub fn attribute(&self, name: &str) -> Option<usize> {
        self.attributes.iter().position(|a| a.name == name)
    }
}

/// A source in memory: one batch a month, with all columns.
pub struct InMemory {
    /// By month.
    pub months: Vec<RecordBatch>,
    /// By person.
    pub pseudonyms: Arc<[Pseudonym]>,
}

impl Source for InMemory {
    fn columns(&self, month: usize, wanted: &[Column]) -> Result<RecordBatch, SourceError> {
        let broken = |what: String| SourceError(what);
        let batch = self.months.get(month).ok_or_else(|| broken(format!("month {month}")))?;
        let at: Vec<usize> =
            wanted.iter().map(|c| batch.schema().index_of(&c.name()).map_err(|_| broken(c.name()))).collect::<Result<_, _>>()?;
        batch.project(&at).map_err(|e| broken(e.to_string()))
    }
    fn pseudonyms(&self) -> Result<Arc<[Pseudonym]>, SourceError> {
        Ok(self.pseudonyms.clone())
    }
}

/// One record of a month, as rows are given to [`month_batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// See [`Column::Person`].
    pub person: u32,
    /// See [`Column::Party`].
    pub party: u8,
    /// See [`Column::Record`].
    pub record: u32,
    /// See [`Column::Household`].
    pub household: Option<u32>,
    /// See [`Column::MatchClass`].
    pub match_class: u8,
    /// See [`Column::Probability`].
    pub probability: u16,
    /// Codes, by attribute.
    pub attributes: Vec<Option<u16>>,
}

/// All columns of a month, its rows put in order.
pub fn month_batch(mut rows: Vec<Row>, attributes: usize) -> Result<RecordBatch, SourceError> {
    rows.sort_unstable_by_key(|r| (r.person, r.party, r.record));
    let mut columns =
        vec![Column::Person, Column::Party, Column::Record, Column::Household, Column::MatchClass, Column::Probability];
    columns.extend((0..attributes).map(Column::Attribute));
    let schema = Arc::new(Schema::new(columns.iter().map(|c| c.field()).collect::<Vec<_>>()));
    let array = |column: &Column| -> arrow_array::ArrayRef {
        match *column {
            Column::Person => Arc::new(rows.iter().map(|r| Some(r.person)).collect::<UInt32Array>()),
            Column::Record => Arc::new(rows.iter().map(|r| Some(r.record)).collect::<UInt32Array>()),
            Column::Household => Arc::new(rows.iter().map(|r| r.household).collect::<UInt32Array>()),
            Column::Party => Arc::new(rows.iter().map(|r| Some(r.party)).collect::<UInt8Array>()),
            Column::MatchClass => Arc::new(rows.iter().map(|r| Some(r.match_class)).collect::<UInt8Array>()),
            Column::Probability => Arc::new(rows.iter().map(|r| Some(r.probability)).collect::<UInt16Array>()),
            Column::Attribute(at) => {
                Arc::new(rows.iter().map(|r| r.attributes.get(at).copied().flatten()).collect::<UInt16Array>())
            }
        }
    };
    RecordBatch::try_new(schema, columns.iter().map(array).collect()).map_err(|e| SourceError(e.to_string()))
}
