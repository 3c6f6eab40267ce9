//! Logs of lines in files of months: `AAAA-MM.jsonl`, in the order of their names, appended under a lock.
//!
//! A log holds whole lines only. A process that is killed may leave half a line at the end of a file, which whoever appends next
//! cuts off ([`last_line`]) and a reader passes over ([`lines`]). What the lines say, and how they are chained, is the log's own.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use linkage_agreement::Period;

const ENDING: &str = "jsonl";
/// No line of any log is longer: names are of the agreement, texts from outside are bounded.
pub(super) const LONGEST_LINE: u64 = 1 << 20;

/// Holds a log against other writers until the file is dropped.
///
/// # Errors
/// The folder cannot be written.
pub fn lock(folder: &Path) -> io::Result<File> {
    let file = open_appending(&folder.join("lock"))?;
    file.lock()?;
    Ok(file)
}

/// The months that a log has files of, rising.
///
/// # Errors
/// The folder cannot be read.
pub fn months(folder: &Path) -> io::Result<Vec<Period>> {
    let mut months = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == ENDING) {
            months.extend(path.file_stem().and_then(|s| s.to_str()?.parse::<Period>().ok()));
        }
    }
    months.sort_unstable();
    Ok(months)
}

/// The file of a month.
pub fn path(folder: &Path, month: Period) -> PathBuf {
    folder.join(format!("{month}.{ENDING}"))
}

/// Every line of a file with its number from 1, its end taken off; whether it is whole. Only the last can be half a line: what is
/// longer than any line comes in pieces, which count as lines that nobody can read.
///
/// # Errors
/// The file cannot be opened; in the iterator, cannot be read.
pub fn lines(path: &Path) -> io::Result<impl Iterator<Item = io::Result<(u64, Vec<u8>, bool)>> + use<>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut number = 0;
    let mut next = move || {
        let mut line = Vec::new();
        if (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        number += 1;
        let ended = line.last() == Some(&b'\n');
        if ended {
            line.pop();
        }
        Ok(Some((number, line, ended || !reader.fill_buf()?.is_empty())))
    };
    Ok(std::iter::from_fn(move || next().transpose()))
}

/// The end of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastLine {
    /// Its last whole line without its end, where it has any.
    pub line: Option<Vec<u8>>,
    /// Bytes of the file.
    pub length: u64,
    /// Whether half a line was cut off after it.
    pub cut: bool,
}

/// The end of a file whose lines have at most `longest` bytes, half a line cut off; none when the last is longer. For the holder of
/// the lock.
///
/// # Errors
/// The file cannot be read or cut.
pub fn last_line(path: &Path, longest: u64) -> io::Result<Option<LastLine>> {
    let mut file = open_appending(path)?;
    let from = file.metadata()?.len().saturating_sub(longest);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    (&mut file).take(longest).read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    if whole == 0 && from > 0 {
        return Ok(None);
    }
    let (cut, length) = (whole < bytes.len(), from + whole as u64);
    if cut {
        file.set_len(length)?;
        file.sync_data()?;
    }
    bytes.truncate(whole.saturating_sub(1));
    let line = if whole == 0 { None } else { bytes.rsplit(|b| *b == b'\n').next().map(<[u8]>::to_vec) };
    Ok(Some(LastLine { line, length, cut }))
}

/// A file to append to, made private where there is none.
///
/// # Errors
/// It cannot be made or opened.
pub fn open_appending(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fsx::write_atomic;

    #[test]
    fn lines_are_whole_but_for_the_last_and_what_is_too_long_is_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("2026-11.jsonl");
        let read = |text: &[u8]| -> Vec<(u64, usize, bool)> {
            write_atomic(&file, text).unwrap();
            lines(&file).unwrap().map(|line| line.unwrap()).map(|(number, line, whole)| (number, line.len(), whole)).collect()
        };
        assert_eq!(read(b"ab\n\nc\n"), [(1, 2, true), (2, 0, true), (3, 1, true)]);
        assert_eq!(read(b"ab\nc"), [(1, 2, true), (2, 1, false)]);
        assert_eq!(read(b""), []);
        // What is put before a line without an end of its own is seen.
        let long = LONGEST_LINE as usize;
        assert_eq!(read(&[vec![b'x'; long].as_slice(), b"ab\n"].concat()), [(1, long, true), (2, 2, true)]);
        assert_eq!(read(&vec![b'x'; long]), [(1, long, false)]);
    }

    #[test]
    fn the_last_line_is_whole_and_what_follows_it_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("2026-11.jsonl");
        let last = |text: &str| {
            write_atomic(&file, text.as_bytes()).unwrap();
            let last = last_line(&file, 8).unwrap()?;
            assert_eq!(last.length, std::fs::metadata(&file).unwrap().len());
            Some((last.line.map(|line| String::from_utf8(line).unwrap()), last.length, last.cut))
        };
        assert_eq!(last(""), Some((None, 0, false)));
        assert_eq!(last("half"), Some((None, 0, true)));
        assert_eq!(last("one\ntwo\n"), Some((Some("two".to_owned()), 8, false)));
        assert_eq!(last("many more\ntwo\nha"), Some((Some("two".to_owned()), 14, true)));
        assert_eq!(last("one\nlonger than eight"), None);
    }
}
