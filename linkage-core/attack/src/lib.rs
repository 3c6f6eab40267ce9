//! How much of a file of unkeyed hash keys public name tables reverse, and how fast. For the command line only.
//!
//! A hash cannot be inverted, but its input can be guessed when there are few of them. The secondary key has 190,000
//! listed surnames x 12 months x some 120 years: all of it is tried in seconds. Who is found there has a known surname,
//! month and year; for the primary key remain given names x days, likeliest first. Nothing of this is new (Culnane,
//! Rubinstein, Teague, "Vulnerabilities in the use of similarity tables in combination with pseudonymisation", 2017;
//! CNIL and AEPD on hashing as pseudonymisation, 2019): the point is to show it on the very file.
//!
//! **No identity leaves this crate**: what it found it keeps as positions in its lists, drops with the search, and tells
//! in counts only. Under HMAC with a key that the attacker does not have, the same search finds nothing.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod block;
mod search;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::time::Duration;

use linkage_encoding::tables::listed;
use linkage_encoding::text::NameKind;
use linkage_hash_keys::letters;
use serde::Serialize;

pub use search::reverse;

/// The keys of one line of a key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Of name, given name and date of birth.
    pub primary: Option<[u8; 32]>,
    /// Of name, month and year of birth.
    pub secondary: Option<[u8; 32]>,
}

/// Names to try, likeliest first, in the letters that keys are made of.
pub struct Dictionary {
    surnames: Vec<Box<str>>,
    given_names: Vec<Box<str>>,
}

impl Dictionary {
    /// The public tables: INSEE's surnames and given names, and names frequent among people born elsewhere.
    pub fn public() -> Self {
        Self::of(
            listed(NameKind::Surname).iter().map(|(name, _)| name.as_str()),
            listed(NameKind::Given).iter().map(|(name, _)| name.as_str()),
        )
    }

    /// Given lists, likeliest first. Names too long for one block of SHA-256 together with a date are left out.
    pub fn of<'n>(surnames: impl Iterator<Item = &'n str>, given_names: impl Iterator<Item = &'n str>) -> Self {
        Self { surnames: folded(surnames), given_names: folded(given_names) }
    }

    /// How many surnames and given names it holds.
    pub fn len(&self) -> (usize, usize) {
        (self.surnames.len(), self.given_names.len())
    }

    /// Whether there is no surname to try.
    pub fn is_empty(&self) -> bool {
        self.surnames.is_empty()
    }
}

fn folded<'n>(names: impl Iterator<Item = &'n str>) -> Vec<Box<str>> {
    let mut seen = HashSet::new();
    let mut list = Vec::new();
    for name in names {
        let name: Box<str> = letters(name).as_str().into();
        if !name.is_empty() && name.len() <= block::MAX_TEXT - block::DATE && seen.insert(name.clone()) {
            list.push(name);
        }
    }
    list
}

/// How long to search, and which years of birth are plausible.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Stop after this long.
    pub budget: Duration,
    /// First year of birth.
    pub first_year: u16,
    /// Last year of birth.
    pub last_year: u16,
}

/// How far a search has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Standing {
    /// Seconds since the start.
    pub seconds: f64,
    /// Texts hashed.
    pub tried: u64,
    /// Lines whose surname, month and year of birth are known.
    pub secondary_reversed: u64,
    /// Lines whose surname, given name and full date of birth are known.
    pub primary_reversed: u64,
}

/// What a search came to. Counts of lines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Findings {
    /// Lines with a primary key.
    pub primary_keys: u64,
    /// Lines with a secondary key.
    pub secondary_keys: u64,
    /// After each step.
    pub steps: Vec<Standing>,
    /// At the end.
    pub end: Standing,
    /// Whether the whole dictionary was tried within the budget.
    pub exhausted: bool,
}
