//! Synthetic French social-service populations with their truth, and the measure of a linkage against that truth.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod evaluate;
