//! A run's rows in columns: what a link table and its attributes are in memory.
//!
//! A month of a million records is some 60 bytes a row: texts are kept once each, under codes. Rows stand in the order in
//! which they came until [`Rows::order`] gives one that says nothing of it.

use std::collections::HashMap;

use linkage_agreement::{PartyId, Pseudonym};
use linkage_cohort::MatchClass;

/// Code of no text.
const NONE: u32 = u32::MAX;

/// A column of texts, each distinct one held once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    values: Vec<String>,
    numbers: HashMap<String, u32>,
    codes: Vec<u32>,
}

impl Texts {
    /// Adds a row.
    pub fn push(&mut self, text: Option<&str>) {
        let code = match text {
            None => NONE,
            Some(text) => match self.numbers.get(text) {
                Some(known) => *known,
                None => {
                    let next = self.values.len() as u32;
                    self.values.push(text.to_owned());
                    self.numbers.insert(text.to_owned(), next);
                    next
                }
            },
        };
        self.codes.push(code);
    }
    /// The text of a row.
    pub fn get(&self, row: usize) -> Option<&str> {
        self.values.get(self.code(row)? as usize).map(String::as_str)
    }
    /// The position of a row's text among [`Self::values`].
    pub fn code(&self, row: usize) -> Option<u32> {
        self.codes.get(row).copied().filter(|code| *code != NONE)
    }
    /// The distinct texts, as they appeared.
    pub fn values(&self) -> &[String] {
        &self.values
    }
}

/// One record of one party, as it is added to [`Rows`].
#[derive(Debug, Clone, Copy)]
pub struct NewRow<'r> {
    /// The person.
    pub person: Pseudonym,
    /// Position of the party among the run's.
    pub party: u8,
    /// The record.
    pub record: Pseudonym,
    /// How sure the link is.
    pub match_class: MatchClass,
    /// Probability of the link in ten-thousandths; 0 for a record without link.
    pub probability: u16,
    /// The party's household reference, under a name that only this party's rows share.
    pub household: Option<&'r str>,
    /// Values of the attributes, in the agreement's order.
    pub values: &'r [Option<&'r str>],
}

/// A run's rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// Person of each row.
    pub persons: Vec<Pseudonym>,
    /// Party of each row: its position among the run's parties.
    pub parties: Vec<u8>,
    /// Record of each row.
    pub records: Vec<Pseudonym>,
    /// Match class of each row.
    pub classes: Vec<MatchClass>,
    /// Probability of each row's link in ten-thousandths.
    pub probabilities: Vec<u16>,
    /// Household of each row.
    pub households: Texts,
    /// Values by attribute, in the agreement's order.
    pub attributes: Vec<Texts>,
}

impl Rows {
    /// None yet, with `attributes` attributes.
    pub fn new(attributes: usize) -> Self {
        Self { attributes: vec![Texts::default(); attributes], ..Self::default() }
    }
    /// Adds a row; values beyond the attributes are dropped, ones that are not there are missing.
    pub fn push(&mut self, row: NewRow<'_>) {
        self.persons.push(row.person);
        self.parties.push(row.party);
        self.records.push(row.record);
        self.classes.push(row.match_class);
        self.probabilities.push(row.probability);
        self.households.push(row.household);
        for (at, column) in self.attributes.iter_mut().enumerate() {
            column.push(row.values.get(at).copied().flatten());
        }
    }
    /// The rows that are not of `records`.
    pub fn without(&self, records: &[Pseudonym]) -> Self {
        let mut kept = Self::new(self.attributes.len());
        for (at, record) in self.records.iter().enumerate().filter(|(_, record)| !records.contains(record)) {
            let values: Vec<Option<&str>> = self.attributes.iter().map(|column| column.get(at)).collect();
            let row = (|| {
                Some(NewRow {
                    person: *self.persons.get(at)?,
                    party: *self.parties.get(at)?,
                    record: *record,
                    match_class: *self.classes.get(at)?,
                    probability: *self.probabilities.get(at)?,
                    household: self.households.get(at),
                    values: &values,
                })
            })();
            row.into_iter().for_each(|row| kept.push(row));
        }
        kept
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.persons.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.persons.is_empty()
    }
    /// Rows by person, name of the party, record.
    pub fn order(&self, parties: &[PartyId]) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        let key = |row: &u32| {
            let row = *row as usize;
            let party = self.parties.get(row).and_then(|party| parties.get(usize::from(*party)));
            (self.persons.get(row), party, self.records.get(row))
        };
        order.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        order
    }
}
