//! Reading a log again: whether its chain holds, and whether it is what partners countersigned.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use linkage_agreement::{PartyId, RoleId};
use serde::Serialize;

use super::config::Place;
use super::entry::{self, Entry, Line, Link};
use super::files::{self, Anchor, Head};
use super::marks;
use super::months;
use crate::gate::Gate;

/// What a log comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Entries read, up to the first fault.
    pub entries: u64,
    /// Number of the first and last entry read.
    pub first: Option<u64>,
    /// See `first`.
    pub last: Option<u64>,
    /// Time of the last entry read, seconds since 1970.
    pub last_at: Option<i64>,
    /// The chain's value there, hexadecimal.
    pub head: String,
    /// Entries before this one and this one have reached their term and are deleted.
    pub pruned_until: Option<u64>,
    /// Last entry that each partner has countersigned.
    pub countersigned: BTreeMap<String, u64>,
    /// Signatures made under an agreement that is not the one in force: their values are compared, the signatures are not.
    pub other_agreements: u64,
    /// Half a line at the end, which the role will cut off: it was killed, or writes now.
    pub half_line: bool,
    /// The first fault.
    pub fault: Option<Fault>,
}

/// Where a log is not what it was; `K` says what may be wrong with a log of its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault<K = FaultKind> {
    /// File.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: u64,
    /// What is wrong.
    #[serde(flatten)]
    pub kind: K,
}

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum FaultKind {
    /// The line is no entry.
    Unreadable,
    /// Entries before this one are not there.
    Missing {
        /// Number that should stand here.
        expected: u64,
        /// Number that does.
        found: u64,
    },
    /// The entry stood before already, or was put in.
    OutOfOrder {
        /// Number that should stand here.
        expected: u64,
        /// Number that does.
        found: u64,
    },
    /// The entry, or its value, was changed; or the one before with its value.
    Changed {
        /// Its number.
        number: u64,
    },
    /// Up to this entry the log is not the one that was countersigned.
    Rewritten {
        /// Its number.
        number: u64,
        /// Who has countersigned it.
        by: PartyId,
    },
    /// The log ends here although more was countersigned.
    CutOff {
        /// Number countersigned.
        number: u64,
        /// By whom.
        by: PartyId,
    },
    /// The countersignature cannot be read, or is not its signers'.
    Signature,
    /// The anchor cannot be read, or is not signed by this role.
    Anchor,
}

impl<K: fmt::Display> fmt::Display for Fault<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ligne {} : {}", self.file.display(), self.line, self.kind)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("cette ligne n'est pas une entrée du journal"),
            Self::Missing { expected, found } if *found == expected + 1 => {
                write!(f, "il manque l'entrée n° {expected}, retirée ou déplacée (ici se trouve le n° {found})")
            }
            Self::Missing { expected, found } => {
                write!(
                    f,
                    "il manque les entrées n° {expected} à {}, retirées ou déplacées (ici se trouve le n° {found})",
                    found - 1
                )
            }
            Self::OutOfOrder { expected, found } => {
                write!(f, "entrée répétée, déplacée ou ajoutée : le n° {expected} est attendu, ici se trouve le n° {found}")
            }
            Self::Changed { number } => {
                write!(f, "l'entrée n° {number} a été modifiée, ou celle qui la précède avec sa valeur de chaînage")
            }
            Self::Rewritten { number, by } => {
                write!(f, "journal réécrit : jusqu'à l'entrée n° {number}, ce n'est pas celui que {by} a contresigné")
            }
            Self::CutOff { number, by } => {
                write!(f, "journal tronqué : il s'arrête ici, {by} a contresigné jusqu'à l'entrée n° {number}")
            }
            Self::Signature => f.write_str("contresignature illisible ou fausse"),
            Self::Anchor => f.write_str("l'ancre des mois supprimés n'est pas signée par ce rôle, ou est illisible"),
        }
    }
}

/// What was countersigned at a number.
struct Mark {
    chain: Link,
    by: PartyId,
}

/// Verifies the log of `role` at `place`: chain, anchor, countersignatures.
///
/// # Errors
/// A file cannot be read at all. What is wrong with the log is in the report.
pub fn verify(place: &Place, gate: &Gate, role: &RoleId) -> io::Result<Report> {
    let folder = &place.folder;
    let start = Head { number: 0, chain: entry::start(role, &place.log) };
    let mut report = Report {
        entries: 0,
        first: None,
        last: None,
        last_at: None,
        head: String::new(),
        pruned_until: None,
        countersigned: BTreeMap::new(),
        other_agreements: 0,
        half_line: false,
        fault: None,
    };
    let mut at = match anchored(place, gate, role, &mut report) {
        Ok(head) => head.unwrap_or(start),
        Err(fault) => return Ok(Report { fault: Some(fault), ..report }),
    };
    report.pruned_until = Some(at.number).filter(|n| *n > 0);
    let marks = match marks(place, gate, role, at.number, &mut report)? {
        Ok(marks) => marks,
        Err(fault) => return Ok(Report { fault: Some(fault), ..report }),
    };
    let pruned = at;
    let mut last_place = (folder.clone(), 0);
    for month in months::months(folder)? {
        let file = months::path(folder, month);
        for line in months::lines(&file)? {
            let (number, bytes, ended) = line?;
            if !ended {
                report.half_line = true;
                continue;
            }
            let found = |kind| Some(Fault { file: file.clone(), line: number, kind });
            let Some(line) = entry::read(&bytes) else {
                report.fault = found(FaultKind::Unreadable);
                return Ok(report);
            };
            if line.entry.n <= pruned.number && report.first.is_none() {
                // Deleting was interrupted: the anchor covers it.
                continue;
            }
            report.fault = follow(&mut at, &line, &marks).and_then(found);
            if report.fault.is_some() {
                return Ok(report);
            }
            report.entries += 1;
            report.first = report.first.or(Some(line.entry.n));
            (report.last, report.last_at) = (Some(line.entry.n), Some(line.entry.at));
            report.head = hex::encode(line.chain);
            last_place = (file.clone(), number);
        }
    }
    if let Some((number, mark)) = marks.iter().next_back().filter(|(number, _)| **number > at.number) {
        let kind = FaultKind::CutOff { number: *number, by: mark.by.clone() };
        report.fault = Some(Fault { file: last_place.0, line: last_place.1, kind });
    }
    Ok(report)
}

/// One line more: moves `at` on, or says why not.
fn follow(at: &mut Head, line: &Line, marks: &BTreeMap<u64, Mark>) -> Option<FaultKind> {
    let (expected, found) = (at.number + 1, line.entry.n);
    if found > expected {
        return Some(FaultKind::Missing { expected, found });
    }
    if found < expected {
        return Some(FaultKind::OutOfOrder { expected, found });
    }
    if entry::next(&at.chain, &line.digest) != line.chain {
        return Some(FaultKind::Changed { number: found });
    }
    *at = Head { number: found, chain: line.chain };
    let mark = marks.get(&found).filter(|mark| mark.chain != line.chain)?;
    Some(FaultKind::Rewritten { number: found, by: mark.by.clone() })
}

fn anchored(place: &Place, gate: &Gate, role: &RoleId, report: &mut Report) -> Result<Option<Head>, Fault> {
    let fault = || Fault { file: place.folder.join("anchor.json"), line: 1, kind: FaultKind::Anchor };
    let Some(anchor) = files::read_anchor(&place.folder).map_err(|_| fault())? else { return Ok(None) };
    if anchor.agreement == hex::encode(gate.agreement_hash()) {
        anchor.verify(&place.log, gate.agreement(), &gate.agreement_hash(), role).map_err(|_| fault())?;
    } else {
        report.other_agreements += 1;
    }
    Anchor::head(&anchor).map(Some).ok_or_else(fault)
}

/// What was countersigned of entries after `pruned`, by number.
fn marks(
    place: &Place,
    gate: &Gate,
    role: &RoleId,
    pruned: u64,
    report: &mut Report,
) -> io::Result<Result<BTreeMap<u64, Mark>, Fault>> {
    let mut marks = BTreeMap::new();
    let hash = gate.agreement_hash();
    for (line, countersigned) in marks::countersigned(&place.folder)? {
        let fault = || Fault { file: marks::file(&place.folder), line, kind: FaultKind::Signature };
        let Some(countersigned) = countersigned else { return Ok(Err(fault())) };
        let checkpoint = &countersigned.checkpoint;
        let Ok(head) = checkpoint.head() else { return Ok(Err(fault())) };
        if checkpoint.agreement != hex::encode(hash) {
            report.other_agreements += 1;
        } else if checkpoint.log != place.log || countersigned.verify(gate.agreement(), &hash, role).is_err() {
            return Ok(Err(fault()));
        }
        if head.number > pruned {
            let last = report.countersigned.entry(countersigned.party.to_string()).or_default();
            *last = (*last).max(head.number);
            marks.insert(head.number, Mark { chain: head.chain, by: countersigned.party });
        }
    }
    Ok(Ok(marks))
}

/// Every entry of a log that can be read, in order, with file and line: those of its earlier parts first.
///
/// # Errors
/// A file cannot be read, or what `take` returns.
pub fn each<E: From<io::Error>>(place: &Place, mut take: impl FnMut(&Path, u64, Entry) -> Result<(), E>) -> Result<(), E> {
    let mut months = Vec::new();
    for part in place.before()?.iter().chain([place]) {
        months.extend(months::months(&part.folder)?.into_iter().map(|month| months::path(&part.folder, month)));
    }
    for file in months {
        for line in months::lines(&file)? {
            let (number, bytes, _) = line?;
            if let Some(line) = entry::read(&bytes) {
                take(&file, number, line.entry)?;
            }
        }
    }
    Ok(())
}

/// Digests of the entries in (`after`, `until`], and the chain's value at the last.
pub(super) fn digests(folder: &Path, after: u64, until: u64) -> io::Result<(Vec<Link>, Option<Head>)> {
    let mut months = months::months(folder)?;
    // Files whose first entry comes after the one asked for are read; of those before, the last only.
    let first = |file: &Path| -> io::Result<Option<u64>> {
        let line = months::lines(file)?.next().transpose()?;
        Ok(line.and_then(|(_, bytes, _)| entry::read(&bytes)).map(|line| line.entry.n))
    };
    let mut from = months.len();
    while from > 0 {
        from -= 1;
        let file = months.get(from).map(|month| months::path(folder, *month));
        if file.map_or(Ok(None), |file| first(&file))?.is_some_and(|n| n <= after + 1) {
            break;
        }
    }
    let (mut digests, mut last) = (Vec::new(), None);
    for month in months.drain(from..) {
        for line in months::lines(&months::path(folder, month))? {
            let (_, bytes, ended) = line?;
            let Some(line) = entry::read(&bytes).filter(|_| ended) else { continue };
            if line.entry.n > until {
                return Ok((digests, last));
            }
            if line.entry.n > after {
                digests.push(line.digest);
                last = Some(Head { number: line.entry.n, chain: line.chain });
            }
        }
    }
    Ok((digests, last))
}
