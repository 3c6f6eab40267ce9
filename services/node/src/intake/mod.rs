//! The file intake of a node: any delivery to canonical records, with every line accounted for.
//!
//! ```text
//! propose(party, path) -> MappingProposal -> operator reviews -> Mapping (confirmed)
//! Intake::open(path, &mapping) -> Record | SetAside, line by line -> finish() -> IntakeSummary
//! ```
//!
//! What is promised:
//! * **The counts add up.** A *line* is one row after the header: a record over several physical lines counts once and
//!   is known by its first, a blank line counts as one set aside. `lines = records + set_aside`, always.
//! * **Memory is bounded by a record**, not by the file (16 bytes a record for duplicates apart); workbooks by declared
//!   limits.
//! * **All or nothing.** A delivery is good when `finish` says so, and only then: a file that changed while it was read,
//!   or that is not in the declared encoding, is refused there, and the caller must keep nothing of its records.
//! * **No value in a message.** Errors and reasons hold counts, line numbers and header names.

mod charset;
mod error;
mod guess;
mod headers;
mod lines;
mod mapping;
mod names;
mod plan;
mod propose;
mod reference;
mod report;
mod source;
mod values;
mod words;
mod workbook;

pub(crate) use headers::squash;
pub(crate) use lines::{Row, RowRead, RowReader};
pub(crate) use reference::commune_code;
pub(crate) use source::{ByteSource, FileGuard};
pub(crate) use values::{amount, five_characters, is_insee, iso_date, year_month};

pub use charset::{Charset, CharsetGuess};
pub use error::{IntakeError, MappingError, SetAsideReason, WorkbookError};
pub use headers::{BIRTH_PARTS, CANONICAL, FULL_NAME};
pub use mapping::{ColumnMapping, Conversion, FileFormat, FileKind, Mapping, Separator};
pub use names::NameOrder;
pub use propose::{MappingProposal, ProposedColumn, propose};
pub use report::SetAsideReport;
pub use values::DateFormat;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek};
use std::path::Path;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use charset::CharsetCheck;
use plan::{Plan, column_names};
use source::Fingerprint;

/// One record under the canonical columns of [`Intake::columns`]. Holds a person's identity: `Debug` shows the line only.
#[derive(Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// First physical line of the record in the file, from 1.
    pub line: u64,
    /// One value for each canonical column; blank when missing.
    pub values: Vec<String>,
}

impl fmt::Debug for RawRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRecord").field("line", &self.line).finish_non_exhaustive()
    }
}

/// What became of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntakeLine {
    /// A record.
    Record(RawRecord),
    /// A line that gives none.
    SetAside {
        /// First physical line, from 1.
        line: u64,
        /// Why.
        reason: SetAsideReason,
    },
}

/// What a whole delivery came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntakeSummary {
    /// Rows after the header; `records + set_aside`.
    pub lines: u64,
    /// Records given.
    pub records: u64,
    /// Lines set aside.
    pub set_aside: u64,
    /// Lines set aside by reason.
    pub reasons: BTreeMap<SetAsideReason, u64>,
    /// Canonical columns with values that could not be read and were left blank, with their number.
    pub unread: Vec<(String, u64)>,
    /// Records declared as Windows-1252 in which a sign stands where ISO-8859-15 has a letter.
    pub doubtful_encoding: u64,
    /// SHA-256 of the file.
    pub digest: [u8; 32],
}

/// A delivery being read.
pub struct Intake<R: Read = File> {
    rows: Rows<R>,
    guard: Option<FileGuard>,
    charset: Charset,
    plan: Plan,
    fields: usize,
    seen: SeenIds,
    check: CharsetCheck,
    row: Row,
    ended: bool,
    records: u64,
    reasons: BTreeMap<SetAsideReason, u64>,
}

enum Rows<R> {
    Text(RowReader<ByteSource<R>>),
    Sheet { rows: std::vec::IntoIter<(u64, Vec<String>)>, read: Fingerprint },
}

impl Intake<File> {
    /// Opens a delivery with a confirmed mapping and checks its header.
    pub fn open(path: &Path, mapping: &Mapping) -> Result<Self, IntakeError> {
        check_mapping(mapping)?;
        let (mut file, guard) = FileGuard::open(path)?;
        let mut start = [0u8; 8];
        let known = read_start(&mut file, &mut start)?;
        let start = start.get(..known).unwrap_or_default();
        if start.is_empty() {
            return Err(IntakeError::Empty);
        }
        if workbook::is_workbook(start) != (mapping.file.kind == FileKind::Workbook) {
            return Err(IntakeError::OtherKind);
        }
        file.rewind()?;
        let mut intake = match mapping.file.kind {
            FileKind::Text => Self::from_text(file, mapping)?,
            FileKind::Workbook => {
                let (bytes, read) = read_limited(&mut file)?;
                Self::from_workbook(&bytes, read, mapping)?
            }
        };
        intake.guard = Some(guard);
        Ok(intake)
    }
}

impl Intake<Cursor<Zeroizing<Vec<u8>>>> {
    /// Reads a delivery that is held in memory; there is no file that could change meanwhile.
    pub(crate) fn from_bytes(bytes: Zeroizing<Vec<u8>>, mapping: &Mapping) -> Result<Self, IntakeError> {
        check_mapping(mapping)?;
        match mapping.file.kind {
            FileKind::Text => Self::from_text(Cursor::new(bytes), mapping),
            FileKind::Workbook => {
                let read = ByteSource::new(bytes.as_slice(), false).fingerprint();
                Self::from_workbook(&bytes, read, mapping)
            }
        }
    }
}

impl<R: Read> Intake<R> {
    fn from_workbook(bytes: &[u8], read: Fingerprint, mapping: &Mapping) -> Result<Self, IntakeError> {
        let sheet = workbook::read_sheet(bytes, mapping.file.sheet.as_deref())?;
        let mut rows = sheet.rows.into_iter();
        let (line, header) = rows.next().ok_or(IntakeError::Empty)?;
        let names = column_names(&header);
        let plan = Plan::new(mapping, &names, line)?;
        Self::new(Rows::Sheet { rows, read }, Charset::Utf8, plan, names.len())
    }

    /// Reads a delimited text from any source. Without a file there is nothing to tell that it changed.
    pub fn from_reader(reader: R, mapping: &Mapping) -> Result<Self, IntakeError> {
        check_mapping(mapping)?;
        if mapping.file.kind != FileKind::Text {
            return Err(IntakeError::OtherKind);
        }
        Self::from_text(reader, mapping)
    }

    fn from_text(reader: R, mapping: &Mapping) -> Result<Self, IntakeError> {
        let (Some(charset), Some(separator)) = (mapping.file.encoding, mapping.file.separator) else {
            return Err(MappingError::Format.into());
        };
        let mut rows = RowReader::new(ByteSource::new(reader, charset == Charset::Utf16), separator.byte());
        let mut row = Row::default();
        let mut check = CharsetCheck::default();
        let header = read_header(&mut rows, &mut row, charset, &mut check)?;
        let names = column_names(&header);
        let plan = Plan::new(mapping, &names, row.line)?;
        rows.expect_fields(names.len());
        let mut intake = Self::new(Rows::Text(rows), charset, plan, names.len())?;
        intake.check = check;
        Ok(intake)
    }

    fn new(rows: Rows<R>, charset: Charset, plan: Plan, fields: usize) -> Result<Self, IntakeError> {
        Ok(Self {
            rows,
            guard: None,
            charset,
            plan,
            fields,
            seen: SeenIds::new()?,
            check: CharsetCheck::default(),
            row: Row::default(),
            ended: false,
            records: 0,
            reasons: BTreeMap::new(),
        })
    }

    /// Canonical columns of the records, in canonical order.
    pub fn columns(&self) -> &[String] {
        self.plan.columns()
    }

    /// Ends the reading: the one place that says whether the delivery is good. On an error nothing of it may be kept.
    pub fn finish(self) -> Result<IntakeSummary, IntakeError> {
        if !self.ended {
            return Err(IntakeError::Unfinished);
        }
        let read = match &self.rows {
            Rows::Text(rows) => rows.inner().fingerprint(),
            Rows::Sheet { read, .. } => *read,
        };
        if let Some(guard) = &self.guard {
            guard.verify(read)?;
        }
        let set_aside = self.reasons.values().sum();
        let lines = self.records + set_aside;
        if lines == 0 {
            return Err(IntakeError::HeaderOnly);
        }
        if self.check.old() {
            return Err(IntakeError::OldCharset);
        }
        if let Some((suggested, records)) = self.check.verdict(self.charset) {
            return Err(IntakeError::WrongCharset { declared: self.charset, suggested, records });
        }
        let doubtful_encoding = if self.charset == Charset::Windows1252 { self.check.looks_8859_15() } else { 0 };
        let unread = self.plan.unread();
        Ok(IntakeSummary {
            lines,
            records: self.records,
            set_aside,
            reasons: self.reasons,
            unread,
            doubtful_encoding,
            digest: read.digest,
        })
    }

    fn next_line(&mut self) -> Result<Option<IntakeLine>, IntakeError> {
        let (line, outcome) = match &mut self.rows {
            Rows::Sheet { rows, .. } => match rows.next() {
                None => (0, None),
                Some((line, fields)) => (line, Some(Ok(fields))),
            },
            Rows::Text(rows) => {
                let read = rows.next_row(&mut self.row)?;
                let outcome = match read {
                    RowRead::End => None,
                    RowRead::Blank => Some(Err(SetAsideReason::Blank)),
                    RowRead::TooLong => Some(Err(SetAsideReason::TooLong)),
                    RowRead::UnclosedQuote => Some(Err(SetAsideReason::UnclosedQuote)),
                    RowRead::Row => Some(decode_row(&self.row, self.charset, self.fields, &mut self.check)),
                };
                (self.row.line, outcome)
            }
        };
        let Some(outcome) = outcome else {
            self.ended = true;
            return Ok(None);
        };
        Ok(Some(match outcome.and_then(|fields| self.accept(fields)) {
            Ok(values) => {
                self.records += 1;
                IntakeLine::Record(RawRecord { line, values })
            }
            Err(reason) => {
                *self.reasons.entry(reason).or_default() += 1;
                IntakeLine::SetAside { line, reason }
            }
        }))
    }

    fn accept(&mut self, mut fields: Vec<String>) -> Result<Vec<String>, SetAsideReason> {
        if fields.iter().skip(self.fields).any(|f| !f.trim().is_empty()) {
            return Err(SetAsideReason::TooManyFields { found: fields.len(), expected: self.fields });
        }
        fields.resize(self.fields, String::new());
        let values = self.plan.convert(&fields);
        let id = values.get(self.plan.id()).map(String::as_str).unwrap_or_default();
        if id.is_empty() {
            return Err(SetAsideReason::EmptyLocalId);
        }
        if !self.seen.insert(id) {
            return Err(SetAsideReason::DuplicateLocalId);
        }
        Ok(values)
    }
}

impl<R: Read> Iterator for Intake<R> {
    type Item = Result<IntakeLine, IntakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended { None } else { self.next_line().transpose() }
    }
}

/// A text row's fields, decoded; trailing blank fields beyond the header are a spreadsheet's and pass.
fn decode_row(row: &Row, charset: Charset, expected: usize, check: &mut CharsetCheck) -> Result<Vec<String>, SetAsideReason> {
    let found = row.len();
    let decoded: Option<Vec<String>> = row.fields().map(|field| charset.decode(field)).collect();
    check.record(row.bytes(), decoded.is_some());
    if found < expected {
        return Err(SetAsideReason::TooFewFields { found, expected });
    }
    decoded.ok_or(SetAsideReason::Undecodable)
}

fn check_mapping(mapping: &Mapping) -> Result<(), IntakeError> {
    mapping.validate()?;
    if mapping.confirmed { Ok(()) } else { Err(IntakeError::NotConfirmed) }
}

/// The first row that is not blank, decoded.
fn read_header<R: Read>(
    rows: &mut RowReader<R>,
    row: &mut Row,
    charset: Charset,
    check: &mut CharsetCheck,
) -> Result<Vec<String>, IntakeError> {
    loop {
        match rows.next_row(row)? {
            RowRead::End => return Err(IntakeError::Empty),
            RowRead::Blank => {}
            RowRead::TooLong | RowRead::UnclosedQuote => return Err(IntakeError::NoHeader { line: row.line }),
            RowRead::Row => break,
        }
    }
    if let Some(mark) = rows.mark()
        && mark != charset
        && charset != Charset::Utf16
    {
        return Err(IntakeError::WrongCharset { declared: charset, suggested: Some(mark), records: 0 });
    }
    if row.bytes().contains(&0) && charset != Charset::Utf16 {
        return Err(IntakeError::WrongCharset { declared: charset, suggested: Some(Charset::Utf16), records: 0 });
    }
    if row.bytes().contains(&b'\r') {
        return Err(IntakeError::CarriageReturns);
    }
    let decoded: Option<Vec<String>> = row.fields().map(|field| charset.decode(field)).collect();
    check.record(row.bytes(), decoded.is_some());
    let suggested = check.verdict(charset).and_then(|(suggested, _)| suggested);
    match decoded {
        Some(header) if suggested.is_none() => Ok(header),
        Some(_) => Err(IntakeError::WrongCharset { declared: charset, suggested, records: 0 }),
        None => {
            let suggested = (charset == Charset::Utf8).then_some(Charset::Windows1252);
            Err(IntakeError::WrongCharset { declared: charset, suggested, records: 0 })
        }
    }
}

fn read_start(file: &mut File, start: &mut [u8]) -> io::Result<usize> {
    let mut known = 0;
    while let Some(rest) = start.get_mut(known..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => known += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(known)
}

/// A small text as its operator saved it, in UTF-8 where it was in UTF-16; other encodings as they are.
pub(crate) fn utf8_of(bytes: &[u8]) -> io::Result<zeroize::Zeroizing<Vec<u8>>> {
    let mut text = zeroize::Zeroizing::new(Vec::with_capacity(bytes.len()));
    ByteSource::new(bytes, charset::is_utf16(bytes)).read_to_end(&mut text)?;
    Ok(text)
}

/// A workbook's bytes, one more than the limit at most, so that the limit's breach shows.
fn read_limited(file: &mut File) -> Result<(Vec<u8>, Fingerprint), IntakeError> {
    let mut source = ByteSource::new(file, false);
    let mut bytes = Vec::new();
    (&mut source).take(workbook::MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok((bytes, source.fingerprint()))
}

/// The local identifiers seen, as 16 bytes each of a digest under a key that is drawn for this reading and never leaves it.
struct SeenIds {
    keyed: Sha256,
    seen: HashSet<[u8; 16]>,
}

impl SeenIds {
    fn new() -> Result<Self, IntakeError> {
        let mut key = zeroize::Zeroizing::new([0u8; 32]);
        getrandom::fill(key.as_mut()).map_err(|_| IntakeError::Io(io::ErrorKind::Other))?;
        Ok(Self { keyed: Sha256::new_with_prefix(key.as_slice()), seen: HashSet::new() })
    }

    /// False when `id` was seen before.
    fn insert(&mut self, id: &str) -> bool {
        let mut digest = self.keyed.clone();
        digest.update(id.as_bytes());
        let full: [u8; 32] = digest.finalize().into();
        let mut short = [0u8; 16];
        short.iter_mut().zip(full).for_each(|(to, from)| *to = from);
        self.seen.insert(short)
    }
}
