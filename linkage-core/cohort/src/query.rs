//! Queries: a small document in, a table of figures out.

mod axes;
mod check;
pub mod document;
mod error;
mod evaluate;
mod periods;
mod read;

pub use check::{MAX_BREAKDOWNS, MAX_CELLS, MAX_CONDITIONS, check};
pub use document::{Condition, Grain, Measure, Population, Query, Range, When};
pub use error::{QueryError, Unreadable};
pub use evaluate::{Inputs, evaluate};
pub use read::{MAX_BYTES, MAX_DEPTH};
