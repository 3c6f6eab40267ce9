//! The custodian ("tiers de confiance"): oblivious evaluations, the registry of persons, pseudonyms.
//!
//! It sees blinded points, which handle belongs to which random record reference, clusters, and attributes sealed to
//! others. This crate cannot reach the code that reads names, encodes them or compares encodings.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod budgets;
pub mod config;
pub mod dispositions;
pub mod hand_over;
pub mod leases;
pub mod link_tables;
#[cfg(test)]
mod migration_tests;
pub mod oprf_keys;
pub mod plan;
mod register;
pub mod registry;
mod restored;
pub mod retention;
pub mod rights;
mod serve;
pub mod service;
pub mod store;
pub mod terms;

pub use serve::serve;
