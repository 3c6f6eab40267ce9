//! Published and project vectors, and what must be refused, through the crate's public interface.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod fields;
mod keys;
mod oprf;
mod project;
mod support;
