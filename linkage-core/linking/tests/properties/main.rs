//! Properties and stability of the linking engine, on random inputs and on made-up populations of known truth.
//!
//! * `stability`: a whole linkage does not depend on the order of records, batches and parties, to the last bit.
//! * `clustering`: what holds of clusters for any weights whatever, against a plain rendering of the rule.
//! * `learning`: the classifier stays finite and in bounds for any comparisons whatever.
//! * `figures`: precision, recall, their estimates and calibration, on small runs and on a larger one.
//! * `twins`: twins who stand side by side are told from one person under two given names.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod clustering;
mod crowd;
mod figures;
mod learning;
mod stability;
mod twins;

use linkage_linking::Settings;

const SETTINGS: Settings = Settings { block_cap: 16, false_link_cost: 20, lead_margin_decibits: 30, abstain_floor_permille: 300 };
