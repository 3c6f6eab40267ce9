//! Queries: a small document in, a table of figures out.
//!
//! What each figure means is specified in docs/cohorts.md. In short: a month is observed for a population when every
//! party that it rests on delivered; a month that is not observed has no population, so that its figures are missing and
//! nobody enters or leaves by it. Periods of several months are figured over what was observed of them. A unit counts
//! once in a period and has one value of each attribute there.
//!
//! ```text
//! document -> read -> check -> sets (who is in, by month) -> events (who counts, by values of which month)
//!                                   -> facts (values, keys, links of a month) -> cube -> table
//! ```
//!
//! Evaluation is pure and runs on rayon's threads: callers on an asynchronous runtime give it a thread that may block.

mod axes;
mod bits;
mod check;
mod cube;
mod delays;
pub mod document;
mod error;
mod evaluate;
mod events;
mod facts;
mod frame;
mod paths;
mod periods;
mod read;
mod sets;
mod states;
mod stays;
mod table;

pub use check::{MAX_BREAKDOWNS, MAX_CELLS, MAX_CONDITIONS, check};
pub use document::{Condition, Grain, Measure, Population, Query, Range, When};
pub use error::{QueryError, Unreadable};
pub use evaluate::{Inputs, evaluate};
pub use facts::household_keys;
pub use read::{MAX_BYTES, MAX_DEPTH};
