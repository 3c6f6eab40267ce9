//! Households: who lives with whom, from the parties' household references, counted once over the parties.
//!
//! A party's household reference names some of the persons of a household: all of them, the head alone, or those who
//! lived there when the file was last looked at. References of different parties are one household when enough of
//! their persons are the same ([`rule`] says what is enough), so that a false link, a former partner or a child with
//! two homes glue nothing together. Every row is in one household, every person *resides* in one, and a household in
//! which nobody resides is none: what is counted over rows and what is counted over persons is the same.
//!
//! A household keeps its number from month to month as long as most of its persons stay together ([`numbers`]). Persons
//! whose parties give no reference stay in the household in which a reference last named them, for a year at most, and so
//! do parts of a household that its closed files held together ([`memory`]); references of a party that delivered
//! nothing for the month stand as they stood. docs/households.md has the measured
//! errors against the truth.

mod ages;
mod composition;
mod homes;
mod memory;
mod month;
mod numbers;
mod resolver;
mod rule;
mod units;

pub use ages::{Age, Ages};
pub use composition::Composition;
pub use month::{Household, MonthHouseholds, MonthRows, Tracker};
pub use resolver::{BIRTH, COMPOSITION, Resolver, Summary};
pub use rule::{MAX_MEMBERS, MAX_REFERENCES};

/// Months for which a person without a reference stays in the household in which a reference last named them, and for
/// which references of a party that delivers nothing are kept.
pub const HORIZON_MONTHS: u32 = 12;
