//! Names to normalised identities, block keys and field filters; node only.
//!
//! | module | what |
//! |---|---|
//! | [`text`] | folding and words of names as French services write them |
//! | [`phonetic`] | a French phonetic code that is steady on transliterations |
//! | [`date`] | dates of birth in every spelling, with how far each can be trusted |
//! | [`place`] | countries, départements and communes from codes, postcodes and names |
//! | [`tables`] | frequencies of names, from INSEE open data |
//! | [`identity`] | a record's values to an [`identity::Identity`], or the reason why not |
//! | [`passes`] | pass sets: an identity to the block keys that it meets others by |
//! | [`fields`] | stage 1 and stage 2 of one payload |
//! | [`records`] | a record's entries, padded; decoys |
//! | [`check`] | whether a pass set is fine enough for an agreement's size |
//! | [`search`] | a pass set for records whose truth is known |
//!
//! Everything here sees names. No message, `Debug` output or report made by this crate holds one: errors name a column
//! or a rule, never a value; identities and block keys are zeroised when dropped.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod candidates;
pub mod check;
pub mod date;
pub mod fields;
mod further;
pub mod identity;
mod keys;
mod memo;
pub mod passes;
pub mod phonetic;
pub mod place;
mod plan;
mod pool;
pub mod records;
pub mod search;
pub mod tables;
pub mod text;
mod words;

pub use date::{BirthDate, DateFormat};
pub use identity::{Identity, Normaliser, Remark, SetAside};
pub use keys::{BlockInputs, KeyMaker};
pub use passes::{BlockKey, PassSet, block_keys};
