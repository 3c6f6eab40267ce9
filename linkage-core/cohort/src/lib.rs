//! Link table to persons and overlaps; analyst's side.
//!
//! Works on pseudonyms only. Whatever leaves this crate as a figure has passed [`disclose`].
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod disclosure;
pub mod figures;
pub mod households;
pub mod interval;
pub mod overlap;
pub mod public;
pub mod query;
pub mod rates;
pub mod reports;
pub mod study;
pub mod supersede;
pub mod table;

pub use figures::{Category, Dimension, Figure, FigureTable, Note, Unit, Whom};
pub use overlap::{Cell, Overlap, disclose, overlap};
pub use public::{Method, PublicTable, Shown};
pub use rates::{AgeBand, Rate, RateRow, RateTable, Sensitive, Sex, Subject, rates};
pub use table::{LinkRow, MatchClass};
