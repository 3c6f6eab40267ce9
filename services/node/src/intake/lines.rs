//! Bytes to rows of fields, with memory bounded by one record whatever the file holds.
//!
//! Quoting follows RFC 4180, and is lenient where files are: text after a closing quotation mark is kept, a quotation
//! mark inside a bare field is text. A stray opening mark could otherwise swallow the rest of the file into one field:
//! a quoted record ends after 100 physical lines or 1 MiB, and must have the header's number of fields; failing that
//! its first line alone is set aside and the others are read again as lines of their own.

use std::collections::VecDeque;
use std::io::{self, Read};

use super::charset::{Charset, UTF8_MARK, marked};

/// Longest line, and longest quoted record, in bytes.
pub(crate) const MAX_LINE: usize = 1 << 20;
/// Most physical lines of a quoted record.
const MAX_RECORD_LINES: usize = 100;
const BUFFER: usize = 64 << 10;

enum LineRead {
    End,
    Line,
    TooLong,
}

/// Physical lines without their ends (LF or CRLF).
struct LineReader<R> {
    inner: R,
    buffer: Box<[u8]>,
    at: usize,
    filled: usize,
}

impl<R: Read> LineReader<R> {
    fn new(inner: R) -> Self {
        Self { inner, buffer: vec![0; BUFFER].into_boxed_slice(), at: 0, filled: 0 }
    }

    /// Reads the next line into `line`; a line over the limit is passed over without being held.
    fn next_line(&mut self, line: &mut Vec<u8>) -> io::Result<LineRead> {
        line.clear();
        let (mut started, mut too_long) = (false, false);
        loop {
            if self.at == self.filled {
                (self.at, self.filled) = (0, 0);
                self.filled = match self.inner.read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                    Err(error) => return Err(error),
                    Ok(0) if !started => return Ok(LineRead::End),
                    Ok(0) => break,
                    Ok(read) => read,
                };
                continue;
            }
            started = true;
            let window = &self.buffer[self.at..self.filled];
            let end = window.iter().position(|b| *b == b'\n');
            let taken = end.unwrap_or(window.len());
            if too_long || line.len() + taken > MAX_LINE {
                too_long = true;
            } else {
                line.extend_from_slice(&window[..taken]);
            }
            self.at += taken + usize::from(end.is_some());
            if end.is_some() {
                break;
            }
        }
        if too_long {
            line.clear();
            return Ok(LineRead::TooLong);
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(LineRead::Line)
    }
}

/// One row: its fields, unquoted, not yet decoded.
#[derive(Default)]
pub(crate) struct Row {
    /// Physical line on which the row starts, from 1.
    pub(crate) line: u64,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Row {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    pub(crate) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(self.ends.iter().copied()).map(|(start, end)| &self.bytes[start..end])
    }
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
    fn end_field(&mut self) {
        self.ends.push(self.bytes.len());
    }
}

/// What `RowReader::next_row` found; `Row::line` tells where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowRead {
    End,
    Row,
    Blank,
    TooLong,
    UnclosedQuote,
}

enum Held {
    Line(Vec<u8>),
    TooLong,
}

/// Rows of a delimited text.
pub(crate) struct RowReader<R> {
    lines: LineReader<R>,
    separator: u8,
    expected: Option<usize>,
    line: u64,
    pending: VecDeque<Held>,
    current: Vec<u8>,
    mark: Option<Charset>,
}

impl<R: Read> RowReader<R> {
    pub(crate) fn new(inner: R, separator: u8) -> Self {
        let lines = LineReader::new(inner);
        Self { lines, separator, expected: None, line: 0, pending: VecDeque::new(), current: Vec::new(), mark: None }
    }

    /// The encoding that a byte order mark on the first line announces. The mark itself is left out of the text.
    pub(crate) fn mark(&self) -> Option<Charset> {
        self.mark
    }

    /// Number of fields that a record over several lines must have.
    pub(crate) fn expect_fields(&mut self, fields: usize) {
        self.expected = Some(fields);
    }

    pub(crate) fn inner(&self) -> &R {
        &self.lines.inner
    }

    /// Bytes set aside for lines and rows, for the test of the memory bound.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        let pending = |h: &Held| if let Held::Line(line) = h { line.capacity() } else { 0 };
        self.lines.buffer.len() + self.current.capacity() + self.pending.iter().map(pending).sum::<usize>()
    }

    pub(crate) fn next_row(&mut self, row: &mut Row) -> io::Result<RowRead> {
        row.clear();
        let first = self.take_line()?;
        row.line = self.line;
        match first {
            LineRead::End => return Ok(RowRead::End),
            LineRead::TooLong => return Ok(RowRead::TooLong),
            LineRead::Line => {}
        }
        let mut open = split(&self.current, self.separator, row, false);
        if !open {
            // Spreadsheets leave rows of bare separators behind.
            let blank = row.bytes.iter().all(u8::is_ascii_whitespace);
            return Ok(if blank { RowRead::Blank } else { RowRead::Row });
        }
        let mut held: Vec<Held> = Vec::new();
        let mut size = self.current.len();
        while open && held.len() < MAX_RECORD_LINES && size <= MAX_LINE {
            match self.take_line()? {
                LineRead::End => break,
                LineRead::TooLong => {
                    held.push(Held::TooLong);
                    break;
                }
                LineRead::Line => {
                    size += self.current.len();
                    row.bytes.push(b'\n');
                    open = split(&self.current, self.separator, row, true);
                    held.push(Held::Line(std::mem::take(&mut self.current)));
                }
            }
        }
        if !open && self.expected.is_none_or(|fields| fields == row.len()) {
            return Ok(RowRead::Row);
        }
        self.line = row.line;
        for line in held.into_iter().rev() {
            self.pending.push_front(line);
        }
        Ok(RowRead::UnclosedQuote)
    }

    fn take_line(&mut self) -> io::Result<LineRead> {
        let read = match self.pending.pop_front() {
            Some(Held::Line(line)) => {
                self.current = line;
                LineRead::Line
            }
            Some(Held::TooLong) => LineRead::TooLong,
            None => self.lines.next_line(&mut self.current)?,
        };
        if !matches!(read, LineRead::End) {
            self.line += 1;
        }
        if self.line == 1 && self.mark.is_none() {
            self.mark = marked(&self.current);
            if self.mark == Some(Charset::Utf8) {
                self.current.drain(..UTF8_MARK.len());
            }
        }
        Ok(read)
    }
}

/// Adds the fields of `line` to `row`; true when a quoted field is still open at its end.
fn split(line: &[u8], separator: u8, row: &mut Row, open: bool) -> bool {
    enum At {
        Start,
        Bare,
        Quoted,
        Closed,
    }
    let mut at = if open { At::Quoted } else { At::Start };
    for &byte in line {
        at = match (at, byte) {
            (At::Start, b'"') => At::Quoted,
            (At::Quoted, b'"') => At::Closed,
            (At::Quoted, _) => {
                row.bytes.push(byte);
                At::Quoted
            }
            (At::Closed, b'"') => {
                row.bytes.push(b'"');
                At::Quoted
            }
            (At::Start | At::Bare | At::Closed, _) if byte == separator => {
                row.end_field();
                At::Start
            }
            (At::Start | At::Bare | At::Closed, _) => {
                row.bytes.push(byte);
                At::Bare
            }
        };
    }
    if matches!(at, At::Quoted) {
        return true;
    }
    row.end_field();
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[u8], expected: usize) -> Vec<(u64, RowRead, Vec<String>)> {
        let mut reader = RowReader::new(text, b';');
        reader.expect_fields(expected);
        let (mut row, mut all) = (Row::default(), Vec::new());
        loop {
            let read = reader.next_row(&mut row).unwrap();
            if read == RowRead::End {
                return all;
            }
            let fields = if read == RowRead::Row {
                row.fields().map(|f| String::from_utf8_lossy(f).into_owned()).collect()
            } else {
                Vec::new()
            };
            all.push((row.line, read, fields));
        }
    }
    fn row(line: u64, fields: &[&str]) -> (u64, RowRead, Vec<String>) {
        (line, RowRead::Row, fields.iter().map(|f| (*f).to_owned()).collect())
    }

    #[test]
    fn line_ends_quotes_and_newlines_in_fields() {
        let text = b"a;b\r\n\"x;1\";\"say \"\"hi\"\"\"\n\"two\nlines\";z\r\n;\r\n\r\nlast;\xC3\xA9";
        assert_eq!(
            rows(text, 2),
            [
                row(1, &["a", "b"]),
                row(2, &["x;1", "say \"hi\""]),
                row(3, &["two\nlines", "z"]),
                (5, RowRead::Blank, vec![]),
                (6, RowRead::Blank, vec![]),
                row(7, &["last", "é"]),
            ]
        );
    }

    #[test]
    fn a_stray_quotation_mark_costs_its_own_line_only() {
        let text = b"a;b\n\"stray;c\nd;e\nf;\"g\"\nh;i\n";
        let read = rows(text, 2);
        assert_eq!(read[1], (2, RowRead::UnclosedQuote, vec![]));
        assert_eq!(read[2..], [row(3, &["d", "e"]), row(4, &["f", "g"]), row(5, &["h", "i"])]);
    }

    #[test]
    fn a_quotation_mark_open_to_the_end_gives_the_lines_back() {
        let mut text = b"\"open;a\n".to_vec();
        for _ in 0..500 {
            text.extend_from_slice(b"b;c\n");
        }
        let read = rows(&text, 2);
        assert_eq!(read.len(), 501);
        assert_eq!(read.iter().filter(|r| r.1 == RowRead::Row).count(), 500);
        assert_eq!(read[500].0, 501);
    }

    /// Gives `left` bytes `A`, then a line end and one good row.
    struct Endless {
        left: usize,
        after: &'static [u8],
    }
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.left == 0 {
                return self.after.read(buffer);
            }
            let count = buffer.len().min(self.left);
            buffer[..count].fill(b'A');
            self.left -= count;
            Ok(count)
        }
    }

    #[test]
    fn a_line_of_one_gigabyte_is_one_line_and_no_memory() {
        let mut reader = RowReader::new(Endless { left: 1 << 30, after: b"\nx;y\n" }, b';');
        let mut row = Row::default();
        assert_eq!(reader.next_row(&mut row).unwrap(), RowRead::TooLong);
        assert_eq!(row.line, 1);
        assert!(reader.held_bytes() + row.bytes.capacity() <= 4 * MAX_LINE, "{}", reader.held_bytes());
        assert_eq!(reader.next_row(&mut row).unwrap(), RowRead::Row);
        assert_eq!((row.line, row.len()), (2, 2));
        assert_eq!(reader.next_row(&mut row).unwrap(), RowRead::End);
    }
}
