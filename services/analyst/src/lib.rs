//! The analyst's side: link tables under pseudonyms, minimised attributes, cohorts.
//!
//! It receives pseudonyms made for it alone and attributes sealed to it. This crate cannot reach the code that encodes
//! names or compares encodings.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod access;
pub mod config;
pub mod desk;
pub mod export;
pub mod fetch;
pub mod journal;
pub mod page;
pub mod publish;
mod refusals;
pub mod reports;
pub mod restored;
pub mod retention;
pub mod rights;
pub mod rows;
mod serve;
pub mod service;
pub mod study;
pub mod tables;
#[cfg(test)]
mod testing;
pub mod users;
mod wire;

pub use serve::{fetch_once, rebuild, serve, serve_announcing};
