//! Files of hash keys as partners hand them over today, read line by line; every line is a record or has a reason.
//!
//! `numero_ligne;cle_primaire;cle_secondaire`, keys as 64 hexadecimal digits, empty where there is none; columns in any
//! order, `;`, `,` or tabulation between them. Such a file is re-identifiable (docs/hash-keys.md): no message repeats a key.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};

/// Columns of a key file.
pub const COLUMNS: [&str; 3] = ["numero_ligne", "cle_primaire", "cle_secondaire"];
/// Longest line that is read as one of a key file.
pub const MAX_LINE: usize = 4096;

/// Why a key file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// The system refused to read on.
    #[error("lecture impossible ({0})")]
    Io(io::ErrorKind),
    /// Nothing in it.
    #[error("fichier vide")]
    Empty,
    /// The first line names other columns.
    #[error("la première ligne doit nommer les colonnes {}, séparées par « ; »", COLUMNS.join(", "))]
    Header,
}

impl From<io::Error> for KeyFileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

/// One line's keys; one of them at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLine {
    /// The file's own number of the line.
    pub number: String,
    /// Of name, given names and date.
    pub primary: Option<[u8; 32]>,
    /// Of name, month and year.
    pub secondary: Option<[u8; 32]>,
}

/// The lines of a key file after its header: physical line, from 2, and its keys or why it is set aside.
pub struct KeyLines<R: Read> {
    reader: BufReader<R>,
    header: Header,
    seen: HashSet<String>,
    line: Vec<u8>,
    number: u64,
}

impl<R: Read> KeyLines<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(reader: R) -> Result<Self, KeyFileError> {
        let (mut reader, mut line) = (BufReader::new(reader), Vec::new());
        if !next_line(&mut reader, &mut line)? {
            return Err(KeyFileError::Empty);
        }
        let header = Header::read(line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line)).ok_or(KeyFileError::Header)?;
        Ok(Self { reader, header, seen: HashSet::new(), line, number: 1 })
    }

    /// The source, once all lines are read.
    pub fn into_inner(self) -> R {
        self.reader.into_inner()
    }
}

impl<R: Read> Iterator for KeyLines<R> {
    type Item = Result<(u64, Result<KeyLine, &'static str>), KeyFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        match next_line(&mut self.reader, &mut self.line) {
            Ok(false) => None,
            Ok(true) => {
                self.number += 1;
                Some(Ok((self.number, self.header.record(&self.line, &mut self.seen))))
            }
            Err(error) => Some(Err(error.into())),
        }
    }
}

/// The next line without its end, at most one byte more than [`MAX_LINE`] of it; false at the end of the file.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut read = reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', line)?;
    let found = read > 0;
    if line.last() == Some(&b'\n') {
        line.pop();
        line.pop_if(|last| *last == b'\r');
        return Ok(true);
    }
    // The rest of a line that is too long is passed over in pieces.
    let mut rest = Vec::new();
    while read > MAX_LINE && rest.last() != Some(&b'\n') {
        rest.clear();
        read = reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut rest)?;
    }
    Ok(found)
}

/// Where a key file has its columns.
struct Header {
    separator: char,
    columns: [usize; 3],
}

impl Header {
    fn read(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let separator = [';', ',', '\t'].into_iter().find(|s| line.contains(*s))?;
        let names: Vec<String> = line.split(separator).map(|name| bare(name).to_lowercase()).collect();
        let [number, primary, secondary] = COLUMNS.map(|column| names.iter().position(|name| name == column));
        Some(Self { separator, columns: [number?, primary?, secondary?] })
    }

    fn record(&self, line: &[u8], seen: &mut HashSet<String>) -> Result<KeyLine, &'static str> {
        if line.len() > MAX_LINE {
            return Err("ligne trop longue");
        }
        let line = std::str::from_utf8(line).map_err(|_| "ligne qui n'est pas en UTF-8")?;
        let cells: Vec<&str> = line.split(self.separator).map(bare).collect();
        let [number, primary, secondary] = self.columns.map(|at| cells.get(at).copied());
        let (Some(number), Some(primary), Some(secondary)) = (number, primary, secondary) else {
            return Err("colonnes manquantes");
        };
        if number.is_empty() {
            return Err("numéro de ligne absent");
        }
        let record = KeyLine { number: number.to_owned(), primary: key(primary)?, secondary: key(secondary)? };
        if record.primary.is_none() && record.secondary.is_none() {
            return Err("aucune clé");
        }
        if !seen.insert(record.number.clone()) {
            return Err("numéro de ligne déjà lu plus haut");
        }
        Ok(record)
    }
}

fn bare(cell: &str) -> &str {
    let cell = cell.trim();
    cell.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(cell)
}

fn key(cell: &str) -> Result<Option<[u8; 32]>, &'static str> {
    if cell.is_empty() {
        return Ok(None);
    }
    let mut key = [0; 32];
    hex::decode_to_slice(cell, &mut key).map_err(|_| "clé qui n'est pas de 64 chiffres hexadécimaux")?;
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_keys_or_a_reason() {
        let (a, b) = ("0a".repeat(32), "FF".repeat(32));
        let long = "x".repeat(3 * MAX_LINE);
        let text = format!(
            "\u{FEFF}numero_ligne;cle_secondaire;cle_primaire\r\n1;{a};{b}\r\n2;{a};\n\"3\";;\n4;xyz;\n5;{a}\n;{a};{b}\n1;{a};{b}\n{long}\n6;;\"{b}\"\n"
        );
        let bytes = [text.as_bytes(), b"7;\xFF;\n"].concat();
        let lines: Vec<_> = KeyLines::new(bytes.as_slice()).unwrap().map(Result::unwrap).collect();
        assert_eq!(lines.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (2..=11).collect::<Vec<_>>());
        let taken: Vec<&KeyLine> = lines.iter().filter_map(|(_, line)| line.as_ref().ok()).collect();
        assert_eq!(taken.iter().map(|line| line.number.as_str()).collect::<Vec<_>>(), ["1", "2", "6"]);
        assert_eq!((taken[0].primary, taken[0].secondary), (Some([255; 32]), Some([10; 32])));
        assert_eq!((taken[1].primary, taken[2].secondary), (None, None));
        let reasons: HashSet<&str> = lines.iter().filter_map(|(_, line)| line.as_ref().err().copied()).collect();
        assert_eq!(reasons.len(), 7, "{reasons:?}");
    }

    #[test]
    fn other_columns_are_refused() {
        let refused = |text: &str| KeyLines::new(text.as_bytes()).err();
        assert_eq!(refused(""), Some(KeyFileError::Empty));
        for text in ["a;b;c\n", "numero_ligne;cle_primaire\n", "\u{1}\n"] {
            assert_eq!(refused(text), Some(KeyFileError::Header), "{text:?}");
        }
    }
}
