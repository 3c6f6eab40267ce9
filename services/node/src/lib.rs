//! The partner's node: reads deliveries, encodes them, uploads runs.
//!
//! [`intake`] reads files of any format, [`delivery`] turns them into rows, [`stage_one`] into archived encodings (the one
//! step that needs names), [`stage_two`] and [`upload`] take part in a run without them; [`dispositions`] tells which pairs
//! its officers have settled with others. [`node`] holds the encrypted state, [`serve`] works by itself. The node makes outbound connections only.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::disallowed_methods))]

pub mod archive;
pub mod attributes;
mod ceremony;
pub mod config;
pub mod delivery;
pub mod dispositions;
pub mod error;
pub mod intake;
pub mod node;
pub mod oprf;
mod passes;
pub mod progress;
mod serve;
pub mod stage_one;
pub mod stage_two;
mod upload;
pub mod vault;

pub use error::NodeError;
pub use node::Node;
pub use serve::{Peers, serve};
pub use upload::Participation;
