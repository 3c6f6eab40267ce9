//! The audit log of a role: what was asked of it and done, when, by whom, and what came of it.
//!
//! Append-only and chained by hashes ([`Entry`]; after Schneier and Kelsey, "Secure audit logs to support computer
//! forensics", ACM TISSEC 2(2), 1999), with checkpoints that partners countersign ([`Checkpoint`], [`Witness`]; Crosby and
//! Wallach, "Efficient data structures for tamper-evident logging", USENIX Security 2009, section 2). What a partner has
//! countersigned cannot be rewritten unseen; entries since the last countersignature can, by whoever holds the role's disk.
//! An entry holds no identity, no local identifier, no pseudonym and no text from outside: peers by their certificates,
//! methods that exist, runs and months as parsed, counts, and names of the agreement's fields.
//!
//! [`AuditLog::around`] enters every call of a peer; handlers add what they alone know through [`Facts`]; a role's own acts
//! are entered by [`AuditLog::record`].

mod config;
mod entry;
mod files;
mod fold;
mod layer;
mod log;
mod marks;
pub mod months;
mod prune;
mod segments;
mod service;
mod verify;
mod witness;

#[cfg(test)]
mod tests;

pub use config::{AuditConfig, Place, ReplicaName};
pub use entry::{Act, Entry, Line, Outcome, read as read_line, write as write_line};
pub use files::{Anchor, Head};
pub use layer::{AuditLayer, Facts};
pub use log::AuditLog;
pub use marks::{Checkpoint, Countersigned};
pub use prune::Pruned;
pub use segments::{Position, contains, parts, position, restoration, restored_name};
pub use service::PAGE;
pub use verify::{Fault, FaultKind, Report, each, verify};
pub use witness::{Known, Seen, Witness};
