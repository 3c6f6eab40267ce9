//! Every parser that takes bytes from outside, as a function that a fuzzer calls with any bytes, and CI with a corpus.
//!
//! A target panics when what must hold does not: no panic of the parser's own; what was read, written and read again is the same;
//! limits hold; and no message repeats what may be a person's. For the last, targets of files that hold identities put a word that
//! no message has ([`canary`]) in the place of every byte 0x01, and look for it in all that would be shown or logged.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a target fails by a panic"
)]

use std::sync::atomic::{AtomicU64, Ordering};

mod delivery;
mod documents;
mod fixed;
mod linking;
mod login;
mod signed;
mod wire;

pub use delivery::{clk_schema, decisions, delivery, filters, identity, key_file, line_file, proposal, workbook};
pub use documents::{agreement, mapping, pass_set, publication, query, signatures, termination};
pub use fixed::agreement_files;
pub use linking::{packed, packed_samples, records};
pub use login::{certificate, certificate_request, token};
pub use signed::{audit_line, audit_sample, deletion_certificate, receipt, samples};
pub use wire::{elements, messages, unpacked};

/// A target.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const ALL: [(&str, Target); 27] = [
    ("agreement", agreement),
    ("audit_line", audit_line),
    ("certificate", certificate),
    ("certificate_request", certificate_request),
    ("clk_schema", clk_schema),
    ("decisions", decisions),
    ("deletion_certificate", deletion_certificate),
    ("delivery", delivery),
    ("elements", elements),
    ("filters", filters),
    ("identity", identity),
    ("key_file", key_file),
    ("line_file", line_file),
    ("mapping", mapping),
    ("messages", messages),
    ("packed", packed),
    ("pass_set", pass_set),
    ("proposal", proposal),
    ("publication", publication),
    ("query", query),
    ("receipt", receipt),
    ("records", records),
    ("signatures", signatures),
    ("termination", termination),
    ("token", token),
    ("unpacked", unpacked),
    ("workbook", workbook),
];

static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Inputs so far that a parser took for what it reads: seeds that none takes would test refusals alone.
pub fn taken() -> u64 {
    TAKEN.load(Ordering::Relaxed)
}

/// Notes that a parser took its input.
pub(crate) fn took() {
    TAKEN.fetch_add(1, Ordering::Relaxed);
}

/// What stands for a person's data: letters that no message, column or library has.
pub(crate) const CANARY: &str = "Qzxvwjk";

/// `bytes` with [`CANARY`] in the place of every byte 0x01.
pub(crate) fn canary(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            1 => out.extend_from_slice(CANARY.as_bytes()),
            other => out.push(*other),
        }
    }
    out
}

/// Fails when `shown` holds [`CANARY`], however it is spelled.
#[track_caller]
pub(crate) fn silent(shown: &impl std::fmt::Display) {
    let text = shown.to_string().to_lowercase();
    assert!(!text.contains(&CANARY.to_lowercase()), "a message repeats what may be a person's: {text}");
}

/// As [`silent`], of what a log shows of a value.
#[track_caller]
pub(crate) fn silent_debug(shown: &impl std::fmt::Debug) {
    silent(&format!("{shown:?}"));
}

/// What targets require of every text that is shown, for the test that this can fail.
pub fn must_be_silent(shown: &str) {
    silent(&shown);
}
