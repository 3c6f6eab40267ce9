//! Query documents read and written: TOML and JSON, bounded in length and depth.
//!
//! A document comes from anybody who may ask, so nothing of it may cost more than its length: both parsers limit their
//! own recursion (80 and 128 levels), and what they let through is counted here.

use std::collections::BTreeMap;

use linkage_agreement::{PartyId, Period};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::document::{Condition, Population, Query, When};
use super::error::Unreadable;

/// Longest document, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// Deepest nesting of sets.
pub const MAX_DEPTH: usize = 16;
/// Longest message of a parser that is passed on, in characters.
const MAX_MESSAGE: usize = 300;

/// A set as it is written: which form it is shows by its keys, and a wrong one is told by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    all: Option<Vec<Population>>,
    any: Option<Vec<Population>>,
    not: Option<Box<Population>>,
    party: Option<PartyId>,
    #[serde(rename = "where")]
    attributes: Option<BTreeMap<String, Vec<String>>>,
    when: Option<When>,
    period: Option<Period>,
}

impl TryFrom<Written> for Population {
    type Error = &'static str;

    fn try_from(set: Written) -> Result<Self, Self::Error> {
        let record = set.party.is_some() || set.attributes.is_some() || set.when.is_some() || set.period.is_some();
        match (set.all, set.any, set.not, record) {
            (Some(all), None, None, false) => Ok(Self::All { all }),
            (None, Some(any), None, false) => Ok(Self::Any { any }),
            (None, None, Some(not), false) => Ok(Self::Not { not }),
            (None, None, None, true) => Ok(Self::Record(Condition {
                party: set.party,
                attributes: set.attributes.unwrap_or_default(),
                when: set.when.unwrap_or_default(),
                period: set.period,
            })),
            _ => Err("un ensemble s'écrit avec « all », « any », « not », ou des conditions sur une fiche (party, where, when, \
                      period), une seule de ces formes à la fois"),
        }
    }
}

impl Query {
    /// Reads a query from TOML.
    ///
    /// # Errors
    /// [`Unreadable`], with line and column.
    pub fn from_toml(text: &str) -> Result<Self, Unreadable> {
        toml_document::<Self>(text)?.within_depth()
    }

    /// Reads a query from JSON.
    ///
    /// # Errors
    /// [`Unreadable`], with line and column.
    pub fn from_json(text: &str) -> Result<Self, Unreadable> {
        json_document::<Self>(text)?.within_depth()
    }

    /// The query as TOML, which [`Self::from_toml`] reads back.
    ///
    /// # Errors
    /// [`Unreadable::Unwritable`].
    pub fn to_toml(&self) -> Result<String, Unreadable> {
        toml::to_string(self).map_err(|error| Unreadable::Unwritable(error.to_string()))
    }

    /// The query as JSON, which [`Self::from_json`] reads back.
    ///
    /// # Errors
    /// [`Unreadable::Unwritable`].
    pub fn to_json(&self) -> Result<String, Unreadable> {
        serde_json::to_string(self).map_err(|error| Unreadable::Unwritable(error.to_string()))
    }

    fn within_depth(self) -> Result<Self, Unreadable> {
        if self.population.as_ref().map_or(0, depth) > MAX_DEPTH { Err(Unreadable::TooDeep) } else { Ok(self) }
    }
}

/// A document that holds a population and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Only {
    population: Population,
}

impl Population {
    /// Reads a document with the key `population` alone, in JSON when it begins with a brace, else in TOML.
    ///
    /// # Errors
    /// [`Unreadable`], with line and column.
    pub fn from_document(text: &str) -> Result<Self, Unreadable> {
        let json = text.trim_start().starts_with('{');
        let Only { population } = if json { json_document(text) } else { toml_document(text) }?;
        if depth(&population) > MAX_DEPTH { Err(Unreadable::TooDeep) } else { Ok(population) }
    }
}

fn toml_document<T: DeserializeOwned>(text: &str) -> Result<T, Unreadable> {
    within_length(text)?;
    toml::from_str(text).map_err(|error| {
        let (line, column) = place(text, error.span().map_or(0, |span| span.start));
        Unreadable::Malformed { line, column, message: in_french(error.message()) }
    })
}

fn json_document<T: DeserializeOwned>(text: &str) -> Result<T, Unreadable> {
    within_length(text)?;
    serde_json::from_str(text).map_err(|error| {
        let whole = error.to_string();
        // The parser ends its message with the place, which has fields of its own here.
        let message = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(message, _)| message);
        Unreadable::Malformed { line: error.line().max(1), column: error.column().max(1), message: in_french(message) }
    })
}

fn within_length(text: &str) -> Result<(), Unreadable> {
    if text.len() > MAX_BYTES { Err(Unreadable::TooLong) } else { Ok(()) }
}

/// Sets within sets; the parsers bound the recursion.
fn depth(set: &Population) -> usize {
    match set {
        Population::All { all: sets } | Population::Any { any: sets } => 1 + sets.iter().map(depth).max().unwrap_or(0),
        Population::Not { not } => 1 + depth(not),
        Population::Record(_) => 1,
    }
}

/// Line and column, from 1, of the byte at `at`.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = 1 + before.bytes().filter(|&b| b == b'\n').count();
    (line, 1 + before.rsplit('\n').next().unwrap_or_default().chars().count())
}

/// The faults that are met most, in the analysts' language; others as the parser words them.
fn in_french(message: &str) -> String {
    let message = message.trim_end().replace('\n', " ");
    let expected = |rest: &str| rest.replace("expected one of", "possibles :").replace("expected", "attendu :");
    let text = if let Some(rest) = message.strip_prefix("unknown field ") {
        format!("clé inconnue {}", expected(rest))
    } else if let Some(rest) = message.strip_prefix("missing field ") {
        format!("il manque la clé {rest}")
    } else if let Some(rest) = message.strip_prefix("unknown variant ") {
        format!("valeur inconnue {}", expected(rest))
    } else if let Some(rest) = message.strip_prefix("duplicate field").or_else(|| message.strip_prefix("duplicate key")) {
        format!("clé écrite deux fois{rest}")
    } else if let Some(rest) = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: ")) {
        format!("valeur d'une autre forme : {}", expected(rest))
    } else if let Some(rest) = message.strip_prefix("period: ") {
        format!("mois illisible ; il s'écrit AAAA-MM, par exemple 2024-01 ({rest})")
    } else if let Some(rest) = message.strip_prefix("party identifier: ") {
        format!("nom de partenaire illisible ; minuscules, chiffres et tirets, 32 caractères au plus ({rest})")
    } else {
        message
    };
    if text.chars().count() > MAX_MESSAGE { text.chars().take(MAX_MESSAGE).chain(['…']).collect() } else { text }
}
