//! The analyst's side: link tables under pseudonyms, minimised attributes, cohorts.
//!
//! It receives pseudonyms made for it alone and attributes sealed to it. This crate cannot reach the code that encodes
//! names or compares encodings.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod config;
pub mod fairness;
pub mod fetch;
mod serve;
pub mod service;
pub mod tables;

pub use serve::{fetch_once, serve};
