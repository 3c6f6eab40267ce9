//! The rows of a link table.

use linkage_agreement::{PartyId, Period, Pseudonym, RunId};

/// How sure the link of a record to its person is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchClass {
    /// The record is linked to no other.
    Single,
    /// Linked beyond reasonable doubt.
    Certain,
    /// Linked; the expected cost of a false link is below that of a missed one.
    Probable,
}

impl MatchClass {
    /// The name used in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Certain => "certain",
            Self::Probable => "probable",
        }
    }
    /// The class of a wire code: 0 single, 1 certain, 2 probable.
    pub fn from_code(code: u32) -> Option<Self> {
        [Self::Single, Self::Certain, Self::Probable].get(code as usize).copied()
    }
    /// Reads the name used in tables.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Single, Self::Certain, Self::Probable].into_iter().find(|c| c.as_str() == text)
    }
}

/// One record of one party in one period, under pseudonyms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRow {
    /// The person, the same in every party and run of this agreement and purpose.
    pub person: Pseudonym,
    /// The party whose record this is.
    pub party: PartyId,
    /// The record, the same in every run.
    pub record: Pseudonym,
    /// The month.
    pub period: Period,
    /// How sure the link is.
    pub match_class: MatchClass,
    /// Probability of the link in ten-thousandths; 0 for a record without link.
    pub probability: u32,
    /// The run that made the row.
    pub run: RunId,
}
