//! Queries: a small document in, a table of figures out.

pub mod document;

pub use document::{Condition, Grain, Measure, Population, Query, Range, When};
