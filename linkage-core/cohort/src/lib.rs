//! Link table to persons and overlaps; analyst's side.
//!
//! Works on pseudonyms only. Whatever leaves this crate as a figure has passed [`disclose`].
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod overlap;
pub mod rates;
pub mod table;

pub use overlap::{Cell, Overlap, disclose, overlap};
pub use rates::{AgeBand, Rate, RateRow, RateTable, Sensitive, Sex, Subject, rates};
pub use table::{LinkRow, MatchClass};
