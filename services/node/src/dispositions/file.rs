//! The file in which a data officer writes what was agreed with another: read line by line, every line accounted for.
//!
//! Columns, in any order, `;`, `,` or tabulation between them: identifiant_local, partenaire, dossier, verdict, echeance.
//! A line is taken, or set aside with its number and a reason that holds no value of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use jiff::civil::Date;
use linkage_agreement::{PartyId, RecordRef};
use linkage_common::fsx;
use zeroize::Zeroizing;

use super::{Code, Verdict};
use crate::error::NodeError;
use crate::intake::{Charset, Row, RowRead, RowReader, Separator, SetAsideReason, iso_date, squash, utf8_of};

/// Largest file read, in bytes.
const MAX_FILE: u64 = 32 << 20;
const COLUMNS: [&str; 5] = ["identifiantlocal", "partenaire", "dossier", "verdict", "echeance"];

/// Why a line is set aside, for the officer who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The line itself cannot be read.
    Line(SetAsideReason),
    /// No delivery of this node named the record.
    UnknownRecord,
    /// Not a party of the agreement.
    UnknownPartner,
    /// Too short, too long, or of letters alone.
    Code,
    /// Neither of the two verdicts.
    Verdict,
    /// Not a date.
    Date,
    /// Before today.
    Past,
    /// After the agreement's last day.
    BeyondAgreement,
    /// A dossier on more lines than it has records of this party.
    DossierTwice,
    /// A pair within the party's own list with one line only.
    OneOfTwo,
    /// A pair within the party's own list that names one record twice, or whose two lines differ.
    OwnPair,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Line(reason) => return reason.fmt(f),
            Self::UnknownRecord => {
                "identifiant local absent de toutes les livraisons de ce nœud : reprendre celui du fichier livré, zéros compris"
            }
            Self::UnknownPartner => "partenaire absent de la convention : écrire son identifiant court (linkage agreement show)",
            Self::Code => {
                "code de dossier refusé : 8 à 64 lettres et chiffres tirés au hasard, dont un chiffre au moins, sans nom ni date"
            }
            Self::Verdict => "verdict illisible : écrire « confirme » ou « refute »",
            Self::Date => "échéance illisible : l'écrire AAAA-MM-JJ",
            Self::Past => "échéance passée : convenir d'une date à venir",
            Self::BeyondAgreement => "échéance au-delà de la fin de la convention : convenir d'une date antérieure",
            Self::DossierTwice => {
                "dossier cité plusieurs fois : une ligne par dossier, deux si les deux fiches sont de votre liste"
            }
            Self::OneOfTwo => "paire de votre propre liste avec une seule ligne : ajouter la ligne de l'autre fiche",
            Self::OwnPair => {
                "les deux lignes de cette paire nomment la même fiche, ou diffèrent par le verdict ou l'échéance : les accorder"
            }
        })
    }
}

/// A dossier of the file, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) code: Code,
    pub(super) partner: PartyId,
    pub(super) references: Vec<RecordRef>,
    pub(super) verdict: Verdict,
    pub(super) expiry: Date,
    /// Lines that it stands on.
    pub(super) lines: Vec<u64>,
}

/// What a file holds: dossiers, and lines set aside in rising order. The header does not count.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FileRead {
    pub(super) agreed: Vec<Agreed>,
    pub(super) aside: Vec<(u64, Fault)>,
}

/// One line, read.
struct Entry {
    line: u64,
    reference: RecordRef,
    verdict: Verdict,
    expiry: Date,
}

/// What the reading needs to know.
pub(super) struct Context<'a, F> {
    /// Parties of the agreement, this one among them.
    pub(super) parties: BTreeSet<PartyId>,
    pub(super) party: &'a PartyId,
    pub(super) today: Date,
    /// The agreement's last day.
    pub(super) last_day: Date,
    /// The reference of a local identifier.
    pub(super) reference: F,
}

impl<F: Fn(&str) -> Option<RecordRef>> Context<'_, F> {
    /// Reads the file at `path`.
    pub(super) fn read(&self, path: &Path) -> Result<FileRead, NodeError> {
        let bytes = fsx::read_limited(path, MAX_FILE).map_err(|e| NodeError::Configuration(e.to_string()))?;
        self.read_bytes(&Zeroizing::new(bytes))
    }

    pub(super) fn read_bytes(&self, bytes: &[u8]) -> Result<FileRead, NodeError> {
        let refused = |why: &str| {
            NodeError::Refused(format!(
                "fichier de décisions refusé, {why} : la première ligne nomme les colonnes identifiant_local;partenaire;dossier;verdict;echeance"
            ))
        };
        let text = utf8_of(bytes)?;
        let charset = if std::str::from_utf8(&text).is_ok() { Charset::Utf8 } else { Charset::Windows1252 };
        let first = text.split(|b| *b == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
        let count = |separator: &Separator| first.iter().filter(|b| **b == separator.byte()).count();
        let separator = Separator::ALL.into_iter().max_by_key(count).unwrap_or(Separator::Semicolon);
        let mut rows = RowReader::new(text.as_slice(), separator.byte());
        let mut row = Row::default();
        loop {
            match rows.next_row(&mut row)? {
                RowRead::Blank => {}
                RowRead::Row => break,
                RowRead::End => return Err(refused("vide")),
                RowRead::TooLong | RowRead::UnclosedQuote => return Err(refused("en-tête illisible")),
            }
        }
        let header: Vec<String> = row.fields().map(|field| squash(&charset.decode(field).unwrap_or_default())).collect();
        let position = |name: &str| header.iter().position(|column| column == name);
        let Some(columns) = COLUMNS.map(position).into_iter().collect::<Option<Vec<usize>>>() else {
            return Err(refused("il manque une colonne"));
        };
        rows.expect_fields(header.len());

        let mut read = FileRead::default();
        let mut entries: BTreeMap<(PartyId, Code), Vec<Entry>> = BTreeMap::new();
        loop {
            let outcome = match rows.next_row(&mut row)? {
                RowRead::End => break,
                RowRead::Blank => Err(Fault::Line(SetAsideReason::Blank)),
                RowRead::TooLong => Err(Fault::Line(SetAsideReason::TooLong)),
                RowRead::UnclosedQuote => Err(Fault::Line(SetAsideReason::UnclosedQuote)),
                RowRead::Row => self.entry(&row, charset, &columns, header.len()),
            };
            match outcome {
                Ok((partner, code, entry)) => entries.entry((partner, code)).or_default().push(entry),
                Err(fault) => read.aside.push((row.line, fault)),
            }
        }
        for ((partner, code), entries) in entries {
            let lines: Vec<u64> = entries.iter().map(|e| e.line).collect();
            match whole(&entries, partner == *self.party) {
                Ok((verdict, expiry)) => {
                    let references = entries.iter().map(|e| e.reference).collect();
                    read.agreed.push(Agreed { code, partner, references, verdict, expiry, lines });
                }
                Err(fault) => read.aside.extend(lines.into_iter().map(|line| (line, fault))),
            }
        }
        read.agreed.sort_by(|a, b| a.lines.cmp(&b.lines));
        read.aside.sort_unstable();
        Ok(read)
    }

    fn entry(&self, row: &Row, charset: Charset, columns: &[usize], fields: usize) -> Result<(PartyId, Code, Entry), Fault> {
        let found = row.len();
        if found < fields {
            return Err(Fault::Line(SetAsideReason::TooFewFields { found, expected: fields }));
        }
        let decoded: Option<Vec<Zeroizing<String>>> =
            row.fields().map(|field| charset.decode(field).map(Zeroizing::new)).collect();
        let decoded = decoded.ok_or(Fault::Line(SetAsideReason::Undecodable))?;
        if decoded.iter().skip(fields).any(|field| !field.trim().is_empty()) {
            return Err(Fault::Line(SetAsideReason::TooManyFields { found, expected: fields }));
        }
        let mut values = columns.iter().map(|at| decoded.get(*at).map(|field| field.trim()).unwrap_or_default());
        let mut next = || values.next().unwrap_or_default();
        let (local_id, partner, code, verdict, expiry) = (next(), next(), next(), next(), next());
        if local_id.is_empty() {
            return Err(Fault::Line(SetAsideReason::EmptyLocalId));
        }
        let partner: PartyId = partner.to_lowercase().parse().map_err(|_| Fault::UnknownPartner)?;
        if !self.parties.contains(&partner) {
            return Err(Fault::UnknownPartner);
        }
        let code = Code::read(code).ok_or(Fault::Code)?;
        let verdict = match squash(verdict).as_str() {
            "confirme" | "confirmee" => Verdict::Confirmed,
            "refute" | "refutee" => Verdict::Refuted,
            _ => return Err(Fault::Verdict),
        };
        let expiry: Date = iso_date(expiry).and_then(|day| day.parse().ok()).ok_or(Fault::Date)?;
        if expiry < self.today {
            return Err(Fault::Past);
        }
        if expiry > self.last_day {
            return Err(Fault::BeyondAgreement);
        }
        let reference = (self.reference)(local_id).ok_or(Fault::UnknownRecord)?;
        Ok((partner, code, Entry { line: row.line, reference, verdict, expiry }))
    }
}

/// Verdict and date of a dossier, whose lines must be one, or the two of a pair within the party's own list.
fn whole(entries: &[Entry], own: bool) -> Result<(Verdict, Date), Fault> {
    match (entries, own) {
        ([one], false) => Ok((one.verdict, one.expiry)),
        ([_], true) => Err(Fault::OneOfTwo),
        ([a, b], true) => {
            let accord = a.reference != b.reference && a.verdict == b.verdict && a.expiry == b.expiry;
            if accord { Ok((a.verdict, a.expiry)) } else { Err(Fault::OwnPair) }
        }
        _ => Err(Fault::DossierTwice),
    }
}
