//! End-to-end tests: the federation on loopback, and what hostile peers and bad input come to.
//!
//! [`fixture`] sets up an agreement and its roles in this process, [`wire`] speaks to them by hand.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test's helper: a failure here is the test's"
)]

pub mod fakes;
pub mod faults;
pub mod federation;
pub mod fixture;
pub mod needles;
pub mod proxy;
pub mod wire;
