//! A stream sealed to a public key, in blocks, so that a cut, a changed byte and a block in another's place are found and named.
//!
//! `linkage backup v1⏎ ‖ sealed content key (80) ‖ blocks`. The content key is drawn for the file and sealed by HPKE (RFC 9180, base
//! mode, [`linkage_crypto::seal`]). A block is up to 1 MiB under AES-256-GCM ([`linkage_crypto::storage`]), bound to its number and to
//! whether it is the last: what STREAM does with its nonces (Hoang, Reyhanitabar, Rogaway, Vizár, "Online authenticated-encryption
//! and its nonce-reuse misuse-resistance", CRYPTO 2015, section 7) the associated data does here, and nonces are random.
//! Base mode does not say who made a backup: the signature inside does ([`super::Unverified`]). It is sealed with the rest, so that
//! whoever holds the file learns nothing of who signed; the holder of the recovery key could seal it to another, which gives nobody more.

use std::io::{self, Read, Write};

use linkage_crypto::seal::{ENCAPSULATED_LEN, OVERHEAD as SEAL_OVERHEAD, SealingKey, SealingPublicKey};
use linkage_crypto::storage::{OVERHEAD, Place, StorageKey};
use zeroize::Zeroizing;

use super::BackupError;
use crate::role::rng;

const MAGIC: &[u8] = b"linkage backup v1\n";
const INFO: &[u8] = b"linkage backup v1 content key";
const TABLE: &str = "linkage backup v1";
/// Bytes of a block but the last, before it is sealed.
const BLOCK: usize = 1 << 20;
const SEALED_KEY: usize = 32 + SEAL_OVERHEAD;
/// Blocks among which the true number of a misplaced one is looked for.
const SEARCHED: u64 = 4096;

const _: () = assert!(ENCAPSULATED_LEN == 32);

fn row(number: u64, last: bool) -> [u8; 9] {
    let mut row = [0; 9];
    for (to, from) in row.iter_mut().zip(number.to_be_bytes().into_iter().chain([u8::from(last)])) {
        *to = from;
    }
    row
}

/// Seals what is written to it. [`Self::finish`] must be called: without its last block the stream reads as cut.
pub struct SealWriter<W: Write> {
    out: W,
    key: StorageKey,
    waiting: Zeroizing<Vec<u8>>,
    number: u64,
    block: usize,
}

impl<W: Write> SealWriter<W> {
    /// A stream into `out` that the holder of the private part of `to` can open.
    ///
    /// # Errors
    /// The system's; a public key that nothing can be sealed to.
    pub fn new(out: W, to: &SealingPublicKey) -> io::Result<Self> {
        Self::in_blocks(out, to, BLOCK)
    }

    pub(super) fn in_blocks(mut out: W, to: &SealingPublicKey, block: usize) -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(io::Error::other)?;
        let sealed = to.seal(INFO, &[], bytes.as_slice(), &mut rng()).map_err(io::Error::other)?;
        out.write_all(MAGIC)?;
        out.write_all(&sealed)?;
        Ok(Self {
            out,
            key: StorageKey::from_bytes(&bytes),
            waiting: Zeroizing::new(Vec::with_capacity(2 * block)),
            number: 0,
            block,
        })
    }

    fn put(&mut self, length: usize, last: bool) -> io::Result<()> {
        let plain = self.waiting.get(..length).unwrap_or_default();
        let place = Place { table: TABLE, row: &row(self.number, last) };
        let sealed = self.key.seal(place, plain, &mut rng()).map_err(io::Error::other)?;
        self.out.write_all(&sealed)?;
        self.number += 1;
        self.waiting.drain(..length);
        Ok(())
    }

    /// Writes the last block; gives what was written to back.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(mut self) -> io::Result<W> {
        self.put(self.waiting.len(), true)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W: Write> Write for SealWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.block);
        self.waiting.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        // One byte stays at least: which block is the last is known at the end only.
        while self.waiting.len() > self.block {
            self.put(self.block, false)?;
        }
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Opens what [`SealWriter`] wrote. Nothing of a block is given out before the block is found to be what was written.
pub struct SealReader<R: Read> {
    input: R,
    key: StorageKey,
    /// The next block, sealed; its successor is read before it is opened, to know whether it is the last.
    next: Vec<u8>,
    number: u64,
    plain: Zeroizing<Vec<u8>>,
    at: usize,
    block: usize,
    ended: bool,
}

impl<R: Read> SealReader<R> {
    /// Reads the head of `input`.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn new(input: R, key: &SealingKey) -> Result<Self, BackupError> {
        Self::in_blocks(input, key, BLOCK)
    }

    pub(super) fn in_blocks(mut input: R, key: &SealingKey, block: usize) -> Result<Self, BackupError> {
        if filled(&mut input, MAGIC.len())? != MAGIC {
            return Err(BackupError::NotABackup);
        }
        let sealed = filled(&mut input, SEALED_KEY)?;
        if sealed.len() < SEALED_KEY {
            return Err(BackupError::Truncated { block: 1 });
        }
        let opened = key.open(INFO, &[], &sealed).map_err(|_| BackupError::OtherKey)?;
        let bytes: &[u8; 32] = opened.as_slice().try_into().map_err(|_| BackupError::OtherKey)?;
        let next = filled(&mut input, block + OVERHEAD)?;
        let key = StorageKey::from_bytes(bytes);
        Ok(Self { input, key, next, number: 0, plain: Zeroizing::default(), at: 0, block, ended: false })
    }

    fn open(&self, sealed: &[u8], number: u64, last: bool) -> Option<Zeroizing<Vec<u8>>> {
        self.key.open(Place { table: TABLE, row: &row(number, last) }, sealed).ok()
    }

    fn advance(&mut self) -> Result<(), BackupError> {
        let full = self.block + OVERHEAD;
        let following = if self.next.len() == full { filled(&mut self.input, full)? } else { Vec::new() };
        let sealed = std::mem::replace(&mut self.next, following);
        let last = self.next.is_empty();
        self.plain = self.open(&sealed, self.number, last).ok_or_else(|| self.fault(&sealed, last))?;
        (self.at, self.number, self.ended) = (0, self.number + 1, last);
        Ok(())
    }

    fn fault(&self, sealed: &[u8], last: bool) -> BackupError {
        let block = self.number + 1;
        if sealed.is_empty() {
            return BackupError::Truncated { block };
        }
        if self.open(sealed, self.number, !last).is_some() {
            return if last { BackupError::Truncated { block: block + 1 } } else { BackupError::Trailing { block } };
        }
        let is = |number: &u64| self.open(sealed, *number, false).or_else(|| self.open(sealed, *number, true)).is_some();
        match (0..SEARCHED).find(is) {
            Some(found) => BackupError::Moved { block, found: found + 1 },
            None if last => BackupError::Cut { block },
            None => BackupError::Altered { block },
        }
    }
}

impl<R: Read> Read for SealReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.plain.len() {
            if self.ended {
                return Ok(0);
            }
            self.advance()?;
        }
        let rest = self.plain.get(self.at..).unwrap_or_default();
        let taken = rest.len().min(into.len());
        for (to, from) in into.iter_mut().zip(rest) {
            *to = *from;
        }
        self.at += taken;
        Ok(taken)
    }
}

/// Up to `length` bytes: fewer at the end only.
fn filled(input: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    input.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
