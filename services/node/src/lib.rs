//! The partner's node: reads deliveries, encodes them, uploads runs.
//!
//! [`intake`] reads files of any format, [`delivery`] turns them into rows, [`stage_one`] into archived encodings (the one
//! step that needs names), [`stage_two`] and [`upload`] take part in a run without them; [`dispositions`] tells which pairs
//! its officers have settled with others. A party that has clkhash filters or hash keys instead of names delivers those; everyone's
//! records then carry an [`annex`]. [`node`] holds the encrypted state, [`serve`] works by itself. The node makes outbound connections only.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::disallowed_methods))]

pub mod annex;
pub mod archive;
pub mod attributes;
mod cache;
mod ceremony;
mod clk_delivery;
pub mod config;
pub mod delivery;
pub mod dispositions;
mod encoded;
mod epoch;
pub mod error;
pub mod intake;
mod key_delivery;
pub mod key_file;
mod line_file;
pub mod node;
pub mod oprf;
mod passes;
pub mod progress;
mod retention;
pub mod rights;
mod rotate;
mod serve;
pub mod stage_one;
pub mod stage_two;
pub mod untrusted;
mod upload;
pub mod vault;
mod watch;

pub use ceremony::GroupStatus;
pub use epoch::ReEncoded;
pub use error::NodeError;
pub use node::Node;
pub use rotate::{Rotated, rotate_storage_key};
pub use serve::{Peers, serve};
pub use upload::Participation;
