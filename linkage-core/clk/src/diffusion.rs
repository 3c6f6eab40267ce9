//! A linear diffusion layer over filters: every bit that leaves is the XOR of `t` bits that enter.
//!
//! Armknecht, Heng, Schnell, *Strengthening Privacy-Preserving Record Linkage using Diffusion*, PoPETs 2023(2), the section
//! on the extension of Bloom filters by a linear diffusion layer: a bit of a plain filter belongs to few n-grams, so frequent
//! patterns show through; after diffusion a bit depends on `t` unrelated ones. As in the authors' published code, positions are
//! dealt from shuffled decks of all positions and a deck is used up before the next, so that every bit that enters is
//! used equally often: exactly `t` times here, where as many bits leave as enter. What is their pseudo-random generator is
//! written out here, so that two implementations draw the same:
//!
//! * Draws are 32-bit numbers, little-endian, eight from each `HMAC-SHA256(key, "linkage/clk/1/diffusion" || 0x00 || bits u32 LE
//!   || t u16 LE || counter u32 LE)`, counter = 0, 1, ... A number below `n` is `v % n` for the first draw
//!   `v < 2^32 - 2^32 % n`; draws beyond are dropped, so no position is favoured.
//! * A deck is 0, 1, ..., bits - 1, shuffled: for `i` from bits - 1 down to 1, places `i` and `below(i + 1)` are swapped.
//! * Output bits 0, 1, ... take `t` positions each, one after the other: the first of the deck that this output bit does not have
//!   yet. A new deck is shuffled when the old one is empty.
//!
//! Bit `p` of a filter is byte `p / 8`, bit `p % 8` from the lowest. The layer keeps no Dice coefficient: a pair whose filters
//! differ in a share `h` of their bits differs in about `(1 - (1 - 2h)^t) / 2` after it, so thresholds are lower
//! (docs/clk.md). Known answer: tests/clk/diffusion.json, recomputed by tests/clk/diffusion.py.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::filters::MAX_BYTES;

const LABEL: &[u8] = b"linkage/clk/1/diffusion\0";

/// Fewest bits that make one: below, the paper's attacks still find persons.
pub const LEAST_DIFFUSION: u16 = 8;

/// Why a diffusion layer was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiffusionError {
    /// Fewer than [`LEAST_DIFFUSION`] bits a bit.
    #[error("diffusion : au moins {LEAST_DIFFUSION} bits d'entrée par bit de sortie, et non {0}")]
    TooFew(u16),
    /// More bits a bit than half of the filter.
    #[error("diffusion : {t} bits d'entrée par bit de sortie, c'est plus que la moitié d'un filtre de {bits} bits")]
    TooMany {
        /// Bits a bit.
        t: u16,
        /// The filter's length in bits.
        bits: usize,
    },
    /// A length that is no whole number of bytes, or more than [`MAX_BYTES`].
    #[error("diffusion : longueur de {0} bits ; il faut un nombre entier d'octets, {MAX_BYTES} au plus")]
    Length(usize),
}

/// The layer of one key, length and `t`. It is as secret as the key: redacted in `Debug`, erased on drop.
#[derive(Clone)]
pub struct Diffusion {
    bytes: usize,
    /// For each [`Block`] of the filter that leaves and each bit that enters, the bits of the block that it changes.
    columns: Vec<Block>,
}

/// 512 bits of a filter: few enough to stay in registers while they are added up.
type Block = [u64; 8];
const BLOCK: usize = 512;

impl Diffusion {
    /// Draws the layer for filters of `bits` bits, `t` of which make one.
    ///
    /// # Errors
    /// When `t` is below [`LEAST_DIFFUSION`] or above half of `bits`, or when `bits` is no length of a filter.
    pub fn new(key: &[u8; 32], bits: usize, t: u16) -> Result<Self, DiffusionError> {
        if !bits.is_multiple_of(8) || bits > MAX_BYTES * 8 {
            return Err(DiffusionError::Length(bits));
        }
        if t < LEAST_DIFFUSION {
            return Err(DiffusionError::TooFew(t));
        }
        if usize::from(t) > bits / 2 {
            return Err(DiffusionError::TooMany { t, bits });
        }
        let mut columns = vec![Block::default(); bits.div_ceil(BLOCK) * bits];
        // The bound on `bits` makes it fit.
        let mut decks = Decks::new(key, u32::try_from(bits).unwrap_or(u32::MAX), t);
        let mut taken = Zeroizing::new(Vec::with_capacity(t.into()));
        for out in 0..bits {
            taken.clear();
            for _ in 0..t {
                let position = decks.deal(&taken);
                taken.push(position);
                let block = columns.get_mut(out / BLOCK * bits + position as usize);
                if let Some(word) = block.and_then(|block| block.get_mut(out % BLOCK / 64)) {
                    *word |= 1 << (out % 64);
                }
            }
        }
        Ok(Self { bytes: bits / 8, columns })
    }

    /// Length of the filters in bits.
    pub fn bits(&self) -> usize {
        self.bytes * 8
    }

    /// Replaces a filter by its diffusion. About a microsecond for 512 bits set of 1,024.
    ///
    /// # Errors
    /// With the filter's length in bits when it is another than the layer's; the filter is left as it was.
    pub fn apply(&self, filter: &mut [u8]) -> Result<(), DiffusionError> {
        if filter.len() != self.bytes {
            return Err(DiffusionError::Length(filter.len() * 8));
        }
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        let words: Zeroizing<Vec<u64>> = Zeroizing::new(filter.chunks(8).map(word).collect());
        for (out, columns) in filter.chunks_mut(BLOCK / 8).zip(self.columns.chunks_exact(self.bits())) {
            let mut sum = Block::default();
            for (word, columns) in words.iter().zip(columns.chunks(64)) {
                let mut left = *word;
                while left != 0 {
                    let column = columns.get(left.trailing_zeros() as usize).copied().unwrap_or_default();
                    left &= left - 1;
                    sum.iter_mut().zip(column).for_each(|(sum, word)| *sum ^= word);
                }
            }
            out.iter_mut().zip(sum.iter().flat_map(|word| word.to_le_bytes())).for_each(|(to, from)| *to = from);
            sum.zeroize();
        }
        Ok(())
    }
}

impl Drop for Diffusion {
    fn drop(&mut self) {
        self.columns.zeroize();
    }
}

impl std::fmt::Debug for Diffusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Diffusion(..)")
    }
}

/// Shuffled decks of all positions, one after the other.
struct Decks {
    keyed: Hmac<Sha256>,
    parameters: [u8; 6],
    counter: u32,
    /// Draws of the last block that were not used, the next one last.
    draws: Zeroizing<Vec<u32>>,
    bits: u32,
    deck: Zeroizing<Vec<u32>>,
}

impl Decks {
    fn new(key: &[u8; 32], bits: u32, t: u16) -> Self {
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        let keyed = Hmac::new(&block);
        block.zeroize();
        let mut parameters = [0; 6];
        let values = bits.to_le_bytes().into_iter().chain(t.to_le_bytes());
        parameters.iter_mut().zip(values).for_each(|(to, from)| *to = from);
        Self { keyed, parameters, counter: 0, draws: Zeroizing::default(), bits, deck: Zeroizing::default() }
    }

    /// The first position of the deck that is not in `taken`.
    fn deal(&mut self, taken: &[u32]) -> u32 {
        loop {
            if let Some(at) = self.deck.iter().position(|position| !taken.contains(position)) {
                return self.deck.remove(at);
            }
            // The deck is empty: its positions all differ, and there are more of them than one bit takes.
            let bits = self.bits;
            self.deck.clear();
            self.deck.extend(0..bits);
            for last in (1..bits).rev() {
                let other = self.below(last + 1);
                self.deck.swap(last as usize, other as usize);
            }
        }
    }

    /// A number below `n`, each as likely.
    fn below(&mut self, n: u32) -> u32 {
        let end = (1u64 << 32) - (1u64 << 32) % u64::from(n);
        loop {
            let draw = self.draw();
            if u64::from(draw) < end {
                return draw % n;
            }
        }
    }

    fn draw(&mut self) -> u32 {
        if let Some(draw) = self.draws.pop() {
            return draw;
        }
        let counter = self.counter.to_le_bytes();
        self.counter += 1;
        let keyed = self.keyed.clone().chain_update(LABEL).chain_update(self.parameters).chain_update(counter);
        let mut block: [u8; 32] = keyed.finalize().into_bytes().into();
        let (draws, _) = block.as_chunks::<4>();
        self.draws.extend(draws.iter().rev().map(|draw| u32::from_le_bytes(*draw)));
        block.zeroize();
        self.draws.pop().unwrap_or_default()
    }
}
