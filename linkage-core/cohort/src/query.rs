//! Queries: a small document in, a table of figures out.

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
pub use read::{MAX_BYTES, MAX_DEPTH};
