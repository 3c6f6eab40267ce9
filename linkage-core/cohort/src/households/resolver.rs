//! Households of a study.

use std::borrow::Borrow;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{UInt8Type, UInt16Type, UInt32Type};
use linkage_agreement::Period;

use super::ages::Ages;
use super::composition::Composition;
use super::month::{MonthHouseholds, MonthRows, Tracker};
use crate::study::{Column, Households, NO_CLASS, SourceError, Study};

/// Attribute that tells ages.
pub const BIRTH: &str = "date_naissance";
/// Attribute that tells what the parties know of the household's composition.
pub const COMPOSITION: &str = "composition";

/// Resolves the households of a study's months as they are asked for, and keeps them. A month needs those before it:
/// the first question about the last month takes as long as all months together.
pub struct Resolver<S> {
    study: S,
    classes: Vec<String>,
    resolved: Mutex<Resolved>,
}

#[derive(Default)]
struct Resolved {
    tracker: Tracker,
    months: Vec<Answer>,
}

/// What is kept of a month.
#[derive(Clone)]
struct Answer {
    rows: Arc<[u32]>,
    compositions: Arc<[u8]>,
    summary: Summary,
}

/// Households of a month in figures, for those who judge the data; they are not protected and must not be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Households.
    pub households: u64,
    /// How many there are, if persons without a reference live as those of the same files whose household is known (see
    /// [`MonthHouseholds::expected`]).
    pub expected: u64,
    /// Those that some party's reference names.
    pub referenced: u64,
    /// Persons without a reference who stay in a household that others are named in.
    pub remembered: u64,
    /// References with more persons than a household has; their rows count as without one.
    pub too_large: u64,
}

impl<S: Borrow<Study>> Resolver<S> {
    /// Of a study, which it holds or borrows. Ages come from the attribute [`BIRTH`], what parties say from
    /// [`COMPOSITION`]; without the first, half of all persons decides in place of adults, and compositions rest on the
    /// second alone.
    pub fn new(study: S) -> Self {
        let classes = Composition::ALL.iter().map(|class| class.as_str().to_owned()).collect();
        Self { study, classes, resolved: Mutex::default() }
    }

    /// Figures of the month at position `month`.
    ///
    /// # Errors
    /// The study's data are damaged or gone.
    pub fn summary(&self, month: usize) -> Result<Summary, SourceError> {
        Ok(self.month(month)?.summary)
    }

    fn month(&self, month: usize) -> Result<Answer, SourceError> {
        // A panic elsewhere leaves whole months behind, or the month that was being resolved not there.
        let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        while resolved.months.len() <= month {
            let rows = MonthColumns::read(self.study.borrow(), resolved.months.len())?;
            let made = resolved.tracker.month(&rows.as_rows());
            let answer = Answer::of(made, resolved.tracker.count());
            resolved.months.push(answer);
        }
        resolved.months.get(month).cloned().ok_or_else(|| SourceError(format!("month {month}")))
    }
}

impl Answer {
    fn of(made: MonthHouseholds, count: u32) -> Self {
        let mut compositions = vec![NO_CLASS; count as usize];
        for household in &made.households {
            if let Some((place, class)) = compositions.get_mut(household.number as usize).zip(household.composition) {
                *place = class as u8;
            }
        }
        let summary = Summary {
            households: made.households.len() as u64,
            expected: made.expected(),
            referenced: made.households.iter().filter(|h| h.referenced).count() as u64,
            remembered: made.remembered,
            too_large: made.too_large,
        };
        Self { rows: made.rows.into(), compositions: compositions.into(), summary }
    }
}

impl<S: Borrow<Study> + Send + Sync> Households for Resolver<S> {
    fn count(&self) -> u32 {
        // Numbers are given month by month. A month that cannot be read is refused when its rows are asked for.
        if let Some(last) = self.study.borrow().months.len().checked_sub(1) {
            let _ = self.month(last);
        }
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner).tracker.count()
    }
    fn of_rows(&self, month: usize) -> Result<Arc<[u32]>, SourceError> {
        Ok(self.month(month)?.rows)
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn compositions(&self, month: usize) -> Result<Arc<[u8]>, SourceError> {
        Ok(self.month(month)?.compositions)
    }
}

/// A month's rows as the source gives them.
struct MonthColumns<'a> {
    period: Period,
    delivered: &'a [bool],
    person: Vec<u32>,
    party: Vec<u8>,
    reference: Vec<Option<u32>>,
    ages: Vec<Ages>,
    composition: Vec<Option<Composition>>,
}

impl<'a> MonthColumns<'a> {
    fn read(study: &'a Study, at: usize) -> Result<Self, SourceError> {
        let month = study.months.get(at).ok_or_else(|| SourceError(format!("month {at}")))?;
        let (birth, composition) = (study.attribute(BIRTH), study.attribute(COMPOSITION));
        let mut wanted = vec![Column::Person, Column::Party, Column::Household];
        wanted.extend([birth, composition].into_iter().flatten().map(Column::Attribute));
        let batch = study.source.columns(at, &wanted)?;
        let broken = |column: Column| SourceError(column.name());
        let person = column(&batch, Column::Person)?.as_primitive_opt::<UInt32Type>().ok_or_else(|| broken(Column::Person))?;
        let party = column(&batch, Column::Party)?.as_primitive_opt::<UInt8Type>().ok_or_else(|| broken(Column::Party))?;
        let reference =
            column(&batch, Column::Household)?.as_primitive_opt::<UInt32Type>().ok_or_else(|| broken(Column::Household))?;
        // Each value is read once, not once a row.
        let ages = |value: &String| Ages::of_attribute(value, month.period);
        let ages = decoded(study, &batch, birth, ages)?;
        let composition = decoded(study, &batch, composition, |value| Composition::parse(value))?;
        Ok(Self {
            period: month.period,
            delivered: &month.delivered,
            person: person.values().to_vec(),
            party: party.values().to_vec(),
            reference: reference.iter().collect(),
            ages: ages.into_iter().map(|a| a.unwrap_or(Ages::UNKNOWN)).collect(),
            composition: composition.into_iter().map(Option::flatten).collect(),
        })
    }
    fn as_rows(&self) -> MonthRows<'_> {
        MonthRows {
            period: self.period,
            delivered: self.delivered,
            person: &self.person,
            party: &self.party,
            reference: &self.reference,
            ages: &self.ages,
            composition: &self.composition,
        }
    }
}

fn column(batch: &RecordBatch, wanted: Column) -> Result<&arrow_array::ArrayRef, SourceError> {
    batch.column_by_name(&wanted.name()).ok_or_else(|| SourceError(wanted.name()))
}

/// What `read` makes of each row's value of an attribute; none without a value, or without the attribute.
fn decoded<T: Copy>(
    study: &Study,
    batch: &RecordBatch,
    attribute: Option<usize>,
    read: impl Fn(&String) -> T,
) -> Result<Vec<Option<T>>, SourceError> {
    let Some(at) = attribute else { return Ok(vec![None; batch.num_rows()]) };
    let wanted = Column::Attribute(at);
    let codes = column(batch, wanted)?.as_primitive_opt::<UInt16Type>().ok_or_else(|| SourceError(wanted.name()))?;
    let values: Vec<T> = study.attributes.get(at).map(|a| a.values.iter().map(read).collect()).unwrap_or_default();
    Ok(codes.iter().map(|code| values.get(usize::from(code?)).copied()).collect())
}
