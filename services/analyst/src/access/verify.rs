//! Whether the access log is whole, and what the audit log was told of it.
//!
//! The chain alone finds a line that was changed, or removed between others; whoever holds the disk could write it anew from
//! there. What the audit log was told ([`HEAD`], [`DELETED`]) cannot: partners countersign it. Lines since the audit log was last
//! told can be rewritten unseen, which is an hour's at most while the service runs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use linkage_common::audit::{self, Entry, Place, each, months};
use linkage_common::error::ServiceError;
use serde::Serialize;

use super::AccessLog;
use super::chain::{self, Anchor, Head};

/// The audit log's act that tells the head of the access log.
pub(crate) const HEAD: &str = "access.head";
/// The audit log's act that tells where the access log goes on, before months are deleted.
pub(crate) const DELETED: &str = "access.months-deleted";

/// What a log comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Chained lines read, up to the first fault.
    pub lines: u64,
    /// Lines from before lines were chained.
    pub unchained: u64,
    /// Number of the first and last line read.
    pub first: Option<u64>,
    /// See `first`.
    pub last: Option<u64>,
    /// Last line that the audit log was told of.
    pub told: Option<u64>,
    /// Lines up to this one have reached their term and are deleted.
    pub deleted_until: Option<u64>,
    /// The first fault.
    pub fault: Option<Fault>,
}

/// Where a log is not what it was.
pub type Fault = audit::Fault<FaultKind>;

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum FaultKind {
    /// The line is none of an access log, or none of a chain that has begun.
    Unreadable,
    /// Another number should stand here.
    Missing {
        /// Number that should.
        expected: u64,
        /// Number that does.
        found: u64,
    },
    /// The line was changed, or the one before with its value.
    Changed {
        /// Its number.
        number: u64,
    },
    /// Up to this line the log is not the one that the audit log was told of.
    Rewritten {
        /// Its number.
        number: u64,
    },
    /// The log ends here although the audit log was told of more.
    CutOff {
        /// Number that it was told of.
        number: u64,
    },
    /// Lines are missing at the beginning, of which the audit log was not told that they were deleted.
    Beginning {
        /// Number of the last of them.
        number: u64,
    },
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("cette ligne n'est pas une ligne chaînée du journal des accès"),
            Self::Missing { expected, found } => write!(
                f,
                "la ligne n° {expected} est attendue, ici se trouve le n° {found} : des lignes ont été retirées, déplacées ou ajoutées"
            ),
            Self::Changed { number } => {
                write!(f, "la ligne n° {number} a été modifiée, ou celle qui la précède avec sa valeur de chaînage")
            }
            Self::Rewritten { number } => {
                write!(
                    f,
                    "journal réécrit : jusqu'à la ligne n° {number}, ce n'est pas celui dont le journal d'audit a pris note"
                )
            }
            Self::CutOff { number } => {
                write!(f, "journal tronqué : il s'arrête ici, le journal d'audit a pris note de la ligne n° {number}")
            }
            Self::Beginning { number } => write!(
                f,
                "les lignes jusqu'au n° {number} manquent sans que le journal d'audit ait pris note de leur suppression"
            ),
        }
    }
}

/// What the audit log was told, by number: chain values, hexadecimal.
fn told(audit: &Place) -> Result<BTreeMap<u64, String>, ServiceError> {
    let mut told = BTreeMap::new();
    if !audit.folder.is_dir() {
        return Ok(told);
    }
    each::<std::io::Error>(audit, |_, _, entry: Entry| {
        if let (HEAD | DELETED, Some(number), Some(digest)) = (entry.what.as_str(), entry.records, entry.digest) {
            // What was told first holds.
            told.entry(number).or_insert(digest);
        }
        Ok(())
    })?;
    Ok(told)
}

impl AccessLog {
    /// Verifies the log: chain, beginning, and what the audit log was told. The audit log itself is not verified
    /// here.
    ///
    /// # Errors
    /// A file cannot be read at all. What is wrong with the log is in the report.
    pub fn verify(&self, audit: &Place) -> Result<Report, ServiceError> {
        self.verify_against(&told(audit)?)
    }

    /// The same, the audit log having been told `told`.
    pub(super) fn verify_against(&self, told: &BTreeMap<u64, String>) -> Result<Report, ServiceError> {
        let _locked = months::lock(&self.folder)?;
        let mut report = Report { told: told.keys().next_back().copied(), ..Report::default() };
        let anchor = Anchor::read(&self.folder)?;
        report.deleted_until = anchor.map(|head| head.number);
        let mut at = anchor.unwrap_or_else(Head::start);
        let mut place = (self.folder.join("anchor.json"), 1);
        let fault = |place: &(PathBuf, u64), kind| Some(Fault { file: place.0.clone(), line: place.1, kind });
        // Of older numbers the audit log may have reached its own term.
        let known = told.get(&at.number).map(|value| *value == hex::encode(at.value));
        if at.number > 0 && !known.unwrap_or_else(|| told.range(..at.number).next().is_none()) {
            report.fault = fault(&place, FaultKind::Beginning { number: at.number });
            return Ok(report);
        }
        for month in months::months(&self.folder)? {
            let file = months::path(&self.folder, month);
            for line in months::lines(&file)? {
                let (number, bytes, whole) = line?;
                // Half a line at the end is of a process that was killed: it is cut off when the next one is written.
                if bytes.is_empty() || !whole {
                    continue;
                }
                place = (file.clone(), number);
                report.fault = report.take(&mut at, &bytes, told).and_then(|kind| fault(&place, kind));
                if report.fault.is_some() {
                    return Ok(report);
                }
            }
        }
        if let Some(number) = report.told.filter(|number| *number > at.number) {
            report.fault = fault(&place, FaultKind::CutOff { number });
        }
        Ok(report)
    }
}

impl Report {
    /// One line more: moves `at` on, or says what is wrong.
    fn take(&mut self, at: &mut Head, bytes: &[u8], told: &BTreeMap<u64, String>) -> Option<FaultKind> {
        let begun = at.number > 0;
        let read = match chain::read(bytes) {
            Some(read) => read,
            // Before the chain, a process that was killed left half a line.
            None if !begun => {
                self.unchained += 1;
                return None;
            }
            None => return Some(FaultKind::Unreadable),
        };
        let Some((digest, value)) = read.chain else {
            self.unchained += 1;
            return begun.then_some(FaultKind::Unreadable);
        };
        let number = read.line.n;
        if self.first.is_none() && number <= at.number {
            // Deleting was interrupted: the anchor covers it.
            return None;
        }
        if number != at.number + 1 {
            return Some(FaultKind::Missing { expected: at.number + 1, found: number });
        }
        if chain::next(&at.value, &digest) != value {
            return Some(FaultKind::Changed { number });
        }
        *at = Head { number, value };
        self.lines += 1;
        self.first = self.first.or(Some(number));
        self.last = Some(number);
        let other = told.get(&number).is_some_and(|told| *told != hex::encode(value));
        other.then_some(FaultKind::Rewritten { number })
    }
}
