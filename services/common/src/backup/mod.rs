//! Backups of a role's state: one sealed file each, and how a state that comes from one takes the place of what is there.
//!
//! A backup is read and written on the role's own machine; whoever keeps the file can open it no more than those it passes through
//! ([`seal`]), and only what the role has signed is taken for its own ([`Unverified`]). It holds keys, so that the recovery
//! key opens everything that the role could: that key is kept offline. Contents:
//! [`Manifest`]. [`Staging`] puts a restored state in the old one's place, so that a process killed anywhere leaves the old state,
//! or one that says that it is half restored and is completed by the same command. Processes that share a database learn of it there
//! ([`note_begun`]).

mod archive;
mod database;
mod error;
mod leftovers;
mod noted;
pub mod seal;
mod staging;
#[cfg(test)]
mod tests;

pub use archive::{
    AUDIT, Content, Facts, FileFacts, Manifest, SETTINGS, STATE, Source, Unverified, allow_open_files, read, write,
};
pub use database::{COPIES, Copies, copy_database};
pub use error::BackupError;
pub use leftovers::{room, sweep};
pub use noted::{last_noted, note_begun, note_complete};
pub use staging::{FOLDER, Origin, Plan, Staging, completed, half_restored, whole};
