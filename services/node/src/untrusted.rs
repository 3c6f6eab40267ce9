//! The readers of files from outside that need no state of a node, for tests that feed them anything at all (tests/fuzz).
//!
//! What they give is what the node itself makes of such a file, less the values: counts, and the reasons that its operator sees.

use std::io::Cursor;
use std::path::Path;

use jiff::civil::Date;
use linkage_agreement::{Agreement, PartyId, Period, RecordRef};
use zeroize::Zeroizing;

use crate::dispositions;
use crate::error::NodeError;
use crate::intake::{Intake, IntakeError, Mapping, SetAsideReason};
use crate::line_file;

/// A delivery that is held in memory.
///
/// # Errors
/// As [`Intake::open`].
pub fn delivery(bytes: Vec<u8>, mapping: &Mapping) -> Result<Intake<Cursor<Zeroizing<Vec<u8>>>>, IntakeError> {
    Intake::from_bytes(Zeroizing::new(bytes), mapping)
}

/// A line file: why lines of it are set aside.
///
/// # Errors
/// Whatever makes it unusable as a whole.
pub fn line_file(path: &Path, agreement: &Agreement, period: Period) -> Result<Vec<SetAsideReason>, NodeError> {
    let read = line_file::read(path, agreement, period)?;
    Ok(read.lines.into_iter().filter_map(|line| line.err().map(|(_, reason)| reason)).collect())
}

/// A file of settled pairs, at a node whose every record is known: why lines of it are set aside.
///
/// # Errors
/// Whatever makes it unusable as a whole.
pub fn decisions(
    bytes: &[u8],
    agreement: &Agreement,
    party: &PartyId,
    today: Date,
) -> Result<Vec<dispositions::Fault>, NodeError> {
    let reference = |id: &str| id.bytes().next().map(|first| RecordRef([first; 16]));
    dispositions::set_aside(bytes, agreement, party, today, reference)
}
