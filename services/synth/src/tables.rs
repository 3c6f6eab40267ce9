//! Reading for [`evaluate`](crate::evaluate): tables by column name, and dense numbers in place of texts.

use std::collections::HashMap;
use std::io::Read;

use super::evaluate::{EvaluateError, Input, MAX_TAGS};

/// Dense numbers for texts, in order of first sight.
#[derive(Default)]
pub(crate) struct Numbering(HashMap<Box<[u8]>, u32>);

impl Numbering {
    pub(crate) fn number(&mut self, text: &[u8]) -> u32 {
        if let Some(number) = self.0.get(text) {
            return *number;
        }
        let number = self.len();
        self.0.insert(text.into(), number);
        number
    }
    pub(crate) fn find(&self, text: &[u8]) -> Option<u32> {
        self.0.get(text).copied()
    }
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }
}

/// Record numbers by party and local id.
#[derive(Default)]
pub(crate) struct Records {
    pub(crate) parties: Numbering,
    by_party: Vec<Numbering>,
    numbers: Vec<Vec<u32>>,
    count: u32,
}

impl Records {
    /// Adds a record; false when it was there already.
    pub(crate) fn add(&mut self, party: u32, local_id: &[u8]) -> bool {
        let party = party as usize;
        if self.by_party.len() <= party {
            self.by_party.resize_with(party + 1, Numbering::default);
            self.numbers.resize_with(party + 1, Vec::new);
        }
        let before = self.by_party[party].len();
        if self.by_party[party].number(local_id) < before {
            return false;
        }
        self.numbers[party].push(self.count);
        self.count += 1;
        true
    }
    pub(crate) fn find(&self, party: &[u8], local_id: &[u8]) -> Option<usize> {
        let party = self.parties.find(party)? as usize;
        let within = self.by_party.get(party)?.find(local_id)? as usize;
        self.numbers.get(party)?.get(within).map(|number| *number as usize)
    }
}

/// Tags as bits, by person number.
pub(crate) struct Tags {
    pub(crate) names: Vec<String>,
    bits: Vec<u64>,
}

impl Tags {
    pub(crate) fn read(source: impl Read, persons: &Numbering) -> Result<Self, EvaluateError> {
        let mut table = Table::open(source, Input::Persons)?;
        let person_at = table.column("person_id")?;
        let tags_at = table.column("tags")?;
        let mut numbering = Numbering::default();
        let mut tags = Self { names: Vec::new(), bits: vec![0; persons.len() as usize] };
        while table.next()?.is_some() {
            let Some(bits) = persons.find(table.field(person_at)).and_then(|person| tags.bits.get_mut(person as usize)) else {
                continue;
            };
            for tag in table.field(tags_at).split(|byte| *byte == b'|').filter(|tag| !tag.is_empty()) {
                let bit = numbering.number(tag) as usize;
                if bit >= MAX_TAGS {
                    return Err(EvaluateError::TooManyTags);
                }
                if bit == tags.names.len() {
                    tags.names.push(shown(tag));
                }
                *bits |= 1 << bit;
            }
        }
        Ok(tags)
    }
    pub(crate) fn bits(&self, person: u32) -> u64 {
        self.bits.get(person as usize).copied().unwrap_or(0)
    }
    pub(crate) fn has(&self, person: u32, bit: usize) -> bool {
        self.bits(person) >> bit & 1 == 1
    }
}

/// Text of a table as people see it; cells are compared as bytes.
#[expect(clippy::disallowed_methods, reason = "headers, periods and tags hold no name")]
pub(crate) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A comma-separated table read by column name, one reused row at a time.
pub(crate) struct Table<R> {
    file: Input,
    reader: csv::Reader<R>,
    header: Vec<String>,
    row: csv::ByteRecord,
}

impl<R: Read> Table<R> {
    pub(crate) fn open(source: R, file: Input) -> Result<Self, EvaluateError> {
        let mut reader = csv::ReaderBuilder::new().buffer_capacity(1 << 16).from_reader(source);
        let header = reader.byte_headers().map_err(|error| unreadable(file, &error))?;
        let header = header.iter().map(|name| shown(name).trim_start_matches('\u{feff}').trim().to_ascii_lowercase()).collect();
        Ok(Self { file, reader, header, row: csv::ByteRecord::new() })
    }
    pub(crate) fn find(&self, column: &str) -> Option<usize> {
        self.header.iter().position(|name| name == column)
    }
    pub(crate) fn column(&self, column: &'static str) -> Result<usize, EvaluateError> {
        self.find(column).ok_or(EvaluateError::MissingColumn { file: self.file, column })
    }
    /// Reads the next row and returns its line, or nothing at the end.
    pub(crate) fn next(&mut self) -> Result<Option<u64>, EvaluateError> {
        match self.reader.read_byte_record(&mut self.row) {
            Ok(true) => Ok(Some(self.row.position().map_or(0, csv::Position::line))),
            Ok(false) => Ok(None),
            Err(error) => Err(unreadable(self.file, &error)),
        }
    }
    pub(crate) fn field(&self, at: usize) -> &[u8] {
        self.row.get(at).unwrap_or_default()
    }
}

fn unreadable(file: Input, error: &csv::Error) -> EvaluateError {
    let line = error.position().map_or(0, csv::Position::line);
    let reason = match error.kind() {
        csv::ErrorKind::Io(_) => "lecture interrompue",
        csv::ErrorKind::UnequalLengths { .. } => "nombre de champs différent de l'en-tête",
        csv::ErrorKind::Utf8 { .. } => "texte qui n'est pas en UTF-8",
        _ => "structure CSV incorrecte",
    };
    EvaluateError::Unreadable { file, line, reason }
}
