//! clkhash files, compared as anonlink compares them: for partners that can send only what they have today.
//!
//! A cryptographic long-term key (CLK; Schnell, Bachteler, Reiher 2011) is one Bloom filter for a whole record. **It is
//! re-identifiable**: every filter can be compared with every other, so pattern mining, graph matching or a few known pairs
//! open it (docs/clk.md). This crate sees no name; [`Diffusion`] is the one part with a key. It reads `{"clks": [...]}` ([`read_clks`]), finds all pairs
//! whose Dice coefficient reaches a threshold ([`compare`]), the same pairs with the same scores in the same order as
//! anonlink 0.15.3's `find_candidate_pairs` with `dice_coefficient_accelerated`, and takes from them each record's best
//! free partner ([`greedy`]), as anonlink's `greedy_solve` does.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod blocks;
mod compare;
mod diffusion;
mod filters;
mod kernels;
mod read;

pub use compare::{CompareError, Options, Pair, Threshold, compare, greedy};
pub use diffusion::{Diffusion, DiffusionError, LEAST_DIFFUSION};
pub use filters::{FilterError, Filters, MAX_BYTES};
pub use kernels::{Kernel, LANES, ROWS, Test, Words};
pub use read::{ReadError, read_clks};
