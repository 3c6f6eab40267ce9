//! Query documents: what is asked, as TOML or JSON.
//!
//! ```toml
//! title = "Personnes sans domicile, par mois et par sexe"
//! unit = "persons"                       # persons | households
//! measure = "stock"                      # count | stock | entries | exits | returns | durations | transitions | paths | delays | sum
//! periods = { from = "2024-01", to = "2024-12" }
//! grain = "month"                        # month | quarter | year
//! breakdown = ["sexe"]                   # party, parties, age, or an attribute of the agreement
//!
//! [population]
//! all = [ { party = "siao" }, { where = { hebergement = ["RUE", "ABRI"] } } ]
//! ```
//!
//! Reading a document checks its form; [`super::check`] holds it against the study: attributes, parties and months that
//! are not there are refused by name.

use std::collections::BTreeMap;

use linkage_agreement::{PartyId, Period};
use serde::{Deserialize, Serialize};

use crate::figures::Unit;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Title of the table.
    pub title: String,
    /// What is counted.
    #[serde(default = "persons")]
    pub unit: Unit,
    /// How it is counted.
    pub measure: Measure,
    /// The attribute that `sum` adds up, or whose states `transitions` follows (its absence: the parties).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// First and last month.
    pub periods: Range,
    /// Length of a period.
    #[serde(default = "month")]
    pub grain: Grain,
    /// Breakdowns, at most four.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breakdown: Vec<String>,
    /// Who is counted; everybody when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<Population>,
}

impl Query {
    /// Whether it counts everybody, or everybody at one party: no more of such sets can be had than there are parties.
    /// Any other population is one that somebody composed.
    pub fn counts_a_whole(&self) -> bool {
        match &self.population {
            None => true,
            Some(Population::Record(condition)) => {
                let Condition { party, attributes, when, period } = condition;
                party.is_some() && attributes.is_empty() && *when == When::Same && period.is_none()
            }
            Some(_) => false,
        }
    }
}

fn persons() -> Unit {
    Unit::Persons
}
fn month() -> Grain {
    Grain::Month
}

/// How units are counted in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Distinct units in the population in any month of the period.
    Count,
    /// Units in the population in the last month of the period.
    Stock,
    /// Units in it for the first time since the first month held.
    Entries,
    /// Units in it in a month and not in the next: counted in the period of the first month without them.
    Exits,
    /// Units in it again after at least one month out of it.
    Returns,
    /// Months of uninterrupted presence: quartiles (Kaplan and Meier 1958, so that stays that still last count as such).
    Durations,
    /// Units by state in the period and state in the next one.
    Transitions,
    /// Units by the services met, in the order of first meeting, up to three.
    Paths,
    /// Months from a unit's first month in the population to its first month with each party, as a life table.
    Delays,
    /// Sum of a whole-number attribute over units.
    Sum,
}

/// Length of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grain {
    /// A month.
    Month,
    /// A calendar quarter.
    Quarter,
    /// A calendar year.
    Year,
}

/// Months from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// First month.
    pub from: Period,
    /// Last month.
    pub to: Period,
}

/// When a condition must hold, seen from the month counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// In the month counted.
    #[default]
    Same,
    /// In the month before.
    Previous,
    /// In some earlier month.
    Before,
    /// In some later month.
    After,
    /// In any month held.
    Ever,
}

/// A set of units: one of the four forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "super::read::Written")]
pub enum Population {
    /// In all of these.
    All {
        /// The sets.
        all: Vec<Population>,
    },
    /// In at least one of these.
    Any {
        /// The sets.
        any: Vec<Population>,
    },
    /// Present in the month counted and not in this.
    Not {
        /// The set.
        not: Box<Population>,
    },
    /// With a record that fulfils all that is said.
    Record(Condition),
}

/// What must hold of one and the same record. A household is in a set when one of its persons is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The party whose record it is; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party: Option<PartyId>,
    /// By attribute, the values admitted.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Vec<String>>,
    /// When.
    #[serde(default)]
    pub when: When,
    /// A fixed month, in place of `when`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
}
