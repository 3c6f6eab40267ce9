//! A file's bytes on their way in: digested, and turned from UTF-16 to UTF-8 where the mapping says so.
//!
//! `FileGuard` is what tells that a file was still being written: length, modification time and SHA-256 are taken while
//! reading and compared with a second reading at the end. A same-length change within one tick of the clock shows in
//! the digest only, which is why the second reading is not optional.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::error::IntakeError;

/// Counts and digests what passes.
pub(crate) struct ByteSource<R> {
    inner: R,
    digest: Sha256,
    length: u64,
    utf16: Option<Utf16>,
}

impl<R: Read> ByteSource<R> {
    pub(crate) fn new(inner: R, utf16: bool) -> Self {
        Self { inner, digest: Sha256::new(), length: 0, utf16: utf16.then(Utf16::default) }
    }

    /// Bytes read so far and their SHA-256.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint { length: self.length, digest: self.digest.clone().finalize().into() }
    }

    fn read_raw(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.digest.update(buffer.get(..read).unwrap_or_default());
        self.length += read as u64;
        Ok(read)
    }
}

impl<R: Read> Read for ByteSource<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut utf16) = self.utf16.take() else { return self.read_raw(buffer) };
        let mut outcome = Ok(());
        while utf16.ready().is_empty() && !utf16.ended {
            let mut raw = [0u8; 8192];
            match self.read_raw(&mut raw) {
                Ok(read) => utf16.feed(raw.get(..read).unwrap_or_default()),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        let given = outcome.and_then(|()| utf16.ready().read(buffer));
        utf16.given += *given.as_ref().unwrap_or(&0);
        self.utf16 = Some(utf16);
        given
    }
}

/// Length and digest of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) length: u64,
    pub(crate) digest: [u8; 32],
}

/// UTF-16 to UTF-8, a piece at a time. A lone surrogate or half a unit becomes 0xFF, which no UTF-8 text holds, so that
/// its record is set aside rather than altered.
#[derive(Default)]
struct Utf16 {
    big_endian: Option<bool>,
    half: Option<u8>,
    high: Option<u16>,
    out: Vec<u8>,
    given: usize,
    ended: bool,
}

impl Utf16 {
    fn ready(&self) -> &[u8] {
        self.out.get(self.given..).unwrap_or_default()
    }

    /// Takes the next bytes; none means the end.
    fn feed(&mut self, raw: &[u8]) {
        self.out.clear();
        self.given = 0;
        if raw.is_empty() {
            self.ended = true;
            if self.half.take().is_some() || self.high.take().is_some() {
                self.out.push(0xFF);
            }
            return;
        }
        for &byte in raw {
            let Some(first) = self.half.take() else {
                self.half = Some(byte);
                continue;
            };
            let pair = [first, byte];
            let big = match self.big_endian {
                Some(big) => big,
                None => {
                    // Without a mark the first letter tells: a header begins with a Latin one, or a quotation mark.
                    let big = pair == [0xFE, 0xFF] || first == 0;
                    self.big_endian = Some(big);
                    if matches!(pair, [0xFE, 0xFF] | [0xFF, 0xFE]) {
                        continue;
                    }
                    big
                }
            };
            self.unit(if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) });
        }
    }

    fn unit(&mut self, unit: u16) {
        let pair = match (self.high.take(), unit) {
            (None, 0xD800..=0xDBFF) => {
                self.high = Some(unit);
                return;
            }
            (None, _) => char::from_u32(u32::from(unit)),
            (Some(high), 0xDC00..=0xDFFF) => {
                char::from_u32(0x1_0000 + ((u32::from(high) - 0xD800) << 10) + (u32::from(unit) - 0xDC00))
            }
            (Some(_), _) => {
                self.out.push(0xFF);
                return self.unit(unit);
            }
        };
        match pair {
            Some(letter) => self.out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            None => self.out.push(0xFF),
        }
    }
}

/// Remembers a file as it was when the reading began.
pub(crate) struct FileGuard {
    path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
}

impl FileGuard {
    pub(crate) fn open(path: &Path) -> Result<(File, Self), IntakeError> {
        let file = File::open(path)?;
        let before = file.metadata()?;
        if before.is_dir() {
            return Err(IntakeError::Io(io::ErrorKind::IsADirectory));
        }
        let guard = Self { path: path.to_owned(), length: before.len(), modified: before.modified().ok() };
        Ok((file, guard))
    }

    /// Refuses when the file is no longer the one that gave `read`.
    pub(crate) fn verify(&self, read: Fingerprint) -> Result<(), IntakeError> {
        let same = |now: &Metadata| now.len() == self.length && now.modified().ok() == self.modified;
        let mut file = File::open(&self.path).map_err(|_| IntakeError::Changed)?;
        if read.length != self.length || !same(&file.metadata()?) {
            return Err(IntakeError::Changed);
        }
        let mut again = ByteSource::new(&mut file, false);
        io::copy(&mut again, &mut io::sink())?;
        let unchanged = again.fingerprint() == read && same(&file.metadata()?);
        if unchanged { Ok(()) } else { Err(IntakeError::Changed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(raw: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        ByteSource::new(raw, true).read_to_end(&mut out).unwrap();
        out
    }
    fn utf16(text: &str, big: bool) -> Vec<u8> {
        let bytes = |u: u16| if big { u.to_be_bytes() } else { u.to_le_bytes() };
        std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(bytes).collect()
    }

    #[test]
    fn utf16_of_both_orders_becomes_utf8() {
        let text = "Hélène;𝄞;œuf\n".repeat(3000);
        assert_eq!(converted(&utf16(&text, false)), text.as_bytes());
        assert_eq!(converted(&utf16(&text, true)), text.as_bytes());
    }

    #[test]
    fn utf16_without_a_mark_is_read_in_its_order() {
        for big in [false, true] {
            assert_eq!(converted(&utf16("\"id\";né\n", big)[2..]), "\"id\";né\n".as_bytes());
        }
    }

    #[test]
    fn broken_utf16_can_be_told() {
        let mut raw = utf16("a", false);
        raw.extend_from_slice(&[0x00, 0xD8, b'b', 0x00, b'c']);
        assert_eq!(converted(&raw), b"a\xFFb\xFF");
    }

    #[test]
    fn digest_is_that_of_the_file_not_of_the_text() {
        let raw = utf16("abc", false);
        let mut source = ByteSource::new(raw.as_slice(), true);
        io::copy(&mut source, &mut io::sink()).unwrap();
        let expected: [u8; 32] = Sha256::digest(&raw).into();
        assert_eq!(source.fingerprint(), Fingerprint { length: raw.len() as u64, digest: expected });
    }
}
