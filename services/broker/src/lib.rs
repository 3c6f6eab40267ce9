//! The broker: receives encodings, links them in leased steps, forgets them.
//!
//! It sees tokens, filters and rarity classes under handles that are random in each run. This crate cannot reach the code
//! that reads or encodes names, and holds no key to any of it.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod config;
pub mod held;
pub mod increments;
pub mod jobs;
mod kept;
pub mod outside;
pub mod past_epoch;
pub mod pipeline;
mod restored;
pub mod retention;
pub mod rights;
mod serve;
pub mod service;
pub mod snapshots;
pub mod spill;
mod status;
pub mod store;
pub mod worker;

pub use serve::serve;
