//! SHA-256 of short texts, one compression each: a padded block whose date is overwritten in place.
//!
//! FIPS 180-4: a text of at most 55 bytes, 0x80, zeros and the length in bits make one block. The digest is kept as the
//! eight words of the state, which is what targets are compared with.

use sha2::block_api::compress256;
use zeroize::Zeroize;

/// Longest text of one block.
pub(crate) const MAX_TEXT: usize = 55;
/// Digits of a full date.
pub(crate) const DATE: usize = 8;

/// FIPS 180-4, 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A digest as words.
pub(crate) type Words = [u32; 8];

/// The words of a digest's bytes.
pub(crate) fn words(digest: &[u8; 32]) -> Words {
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(digest.chunks_exact(4)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    words
}

/// A text that ends in digits, ready for hashing.
pub(crate) struct Text {
    block: [u8; 64],
    /// Where the digits start.
    at: usize,
}

impl Text {
    /// The parts, then `digits` digits to be set; `None` when that is over [`MAX_TEXT`].
    pub(crate) fn new(parts: &[&str], digits: usize) -> Option<Self> {
        let mut block = [0; 64];
        let mut at = 0;
        for part in parts {
            block.get_mut(at..at + part.len())?.copy_from_slice(part.as_bytes());
            at += part.len();
        }
        let end = at + digits;
        if end > MAX_TEXT {
            return None;
        }
        *block.get_mut(end)? = 0x80;
        block.get_mut(56..)?.copy_from_slice(&(8 * end as u64).to_be_bytes());
        Some(Self { block, at })
    }

    /// Writes a number of two digits, `offset` digits after the letters.
    pub(crate) fn two(&mut self, offset: usize, number: u16) {
        let at = self.at + offset;
        if let Some([tens, units]) = self.block.get_mut(at..at + 2) {
            (*tens, *units) = (b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8);
        }
    }

    /// Writes a year, `offset` digits after the letters.
    pub(crate) fn year(&mut self, offset: usize, year: u16) {
        self.two(offset, year / 100);
        self.two(offset + 2, year % 100);
    }

    pub(crate) fn hash(&self) -> Words {
        let mut state = INITIAL;
        compress256(&mut state, std::slice::from_ref(&self.block));
        state
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        self.block.zeroize();
    }
}
