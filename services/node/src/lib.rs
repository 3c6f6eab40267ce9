//! The partner's node: reads deliveries, encodes them, uploads runs
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod attributes;
pub mod intake;
