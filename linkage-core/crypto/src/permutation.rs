//! The keyed butterfly network that all filters of one entry go through in stage 2.
//!
//! Stage s = 0..log2(bits) has distance d = bits >> (s + 1): the pairs (i, i + d) with (i & d) == 0, in rising i, are
//! swapped when the next mask bit is 1. Mask bits are those of AES(\[3, counter u32 LE, zeros\]), counter = 0, 1, ...,
//! bytes in order, least significant bit first.
//!
//! Distances of 64 and more swap between two 64-bit words under 64 mask bits; smaller ones swap inside a word under 32
//! mask bits, spread once to the places that they rule.

use crate::derive::{Block, PrfKey};
use crate::fields::{FieldError, FilterSize};
use crate::mac::erase;
use crate::secret::redacted;

/// Permutes one filter with a key's permutation. For several filters of one entry make a [`FilterPermutation`] once.
pub fn permute_filter(key: &PrfKey, filter: &mut [u8]) -> Result<(), FieldError> {
    FilterPermutation::new(key, filter.len() * 8)?.permute_filter(filter)
}

/// The network of one entry, its mask bits drawn.
pub struct FilterPermutation(BySize);
redacted!(FilterPermutation);

/// By how many words a filter has.
enum BySize {
    One(Masks<1>),
    Two(Masks<2>),
    Four(Masks<4>),
    Eight(Box<Masks<8>>),
}

impl FilterPermutation {
    /// Draws the masks for filters of 64, 128, 256 or 512 bits.
    pub fn new(key: &PrfKey, filter_bits: usize) -> Result<Self, FieldError> {
        FilterSize::new(filter_bits)?;
        Ok(Self(match filter_bits / 64 {
            1 => BySize::One(Masks::new(key)),
            2 => BySize::Two(Masks::new(key)),
            4 => BySize::Four(Masks::new(key)),
            _ => BySize::Eight(Box::new(Masks::new(key))),
        }))
    }

    /// Permutes one filter of the size that the permutation was made for, in place.
    pub fn permute_filter(&self, filter: &mut [u8]) -> Result<(), FieldError> {
        let whole = match &self.0 {
            BySize::One(masks) => masks.permute_one(filter),
            BySize::Two(masks) => masks.permute_one(filter),
            BySize::Four(masks) => masks.permute_one(filter),
            BySize::Eight(masks) => masks.permute_one(filter),
        };
        whole.ok_or(FieldError::FilterLength)
    }
}

/// Mask bits for filters of `W` 64-bit words, erased on drop: they would undo the permutation.
pub(crate) struct Masks<const W: usize> {
    /// Stages with d >= 64, one for each halving of `W`; the first `W / 2` of each are used.
    wide: [[u64; W]; 3],
    /// Stages with d = 32, 16, ..., 1.
    narrow: [[u64; W]; 6],
}

/// Blocks that mask bits are drawn from: at most 9 stages of 256 bits.
pub(crate) const MAX_MASK_BLOCKS: usize = 9 * 256 / 128;

impl<const W: usize> Masks<W> {
    /// How many blocks hold the mask bits.
    pub(crate) const BLOCKS: usize = (W * (W.ilog2() as usize + 6)).div_ceil(4);

    fn new(key: &PrfKey) -> Self {
        let mut blocks = MASK_BLOCKS.map(Block::from);
        let (drawn, _) = blocks.split_at_mut(Self::BLOCKS);
        key.prf_blocks(drawn);
        let masks = Self::of(drawn);
        drawn.iter_mut().for_each(|block| erase(block));
        masks
    }

    /// The masks of the blocks' bits.
    #[inline]
    pub(crate) fn of(blocks: &[Block]) -> Self {
        // Every stage takes 64 or 32 bits at a time and the wide stages come first, so reads stay aligned.
        let mut bits = blocks.iter().flat_map(|block| block.as_chunks::<4>().0).map(|part| u32::from_le_bytes(*part));
        let mut next = || u64::from(bits.next().unwrap_or_default());
        let mut masks = Self { wide: [[0; W]; 3], narrow: [[0; W]; 6] };
        for stage in masks.wide.iter_mut().take(W.ilog2() as usize) {
            for mask in stage.iter_mut().take(W / 2) {
                *mask = next() | next() << 32;
            }
        }
        for (stage, words) in masks.narrow.iter_mut().enumerate() {
            for mask in words {
                *mask = spread(next(), 32 >> stage);
            }
        }
        masks
    }

    /// Permutes one filter of `8 * W` bytes.
    #[inline]
    pub(crate) fn permute(&self, mut words: [u64; W]) -> [u64; W] {
        let mut distance = W / 2;
        for masks in self.wide.iter().take(W.ilog2() as usize) {
            let mut masks = masks.iter();
            for pair in words.chunks_exact_mut(2 * distance) {
                let (low, high) = pair.split_at_mut(distance);
                for ((a, b), mask) in low.iter_mut().zip(high).zip(&mut masks) {
                    let swapped = (*a ^ *b) & mask;
                    *a ^= swapped;
                    *b ^= swapped;
                }
            }
            distance /= 2;
        }
        for (stage, masks) in self.narrow.iter().enumerate() {
            let shift = 32 >> stage;
            for (word, mask) in words.iter_mut().zip(masks) {
                let swapped = (*word ^ *word >> shift) & mask;
                *word ^= swapped | swapped << shift;
            }
        }
        words
    }

    /// Permutes every filter of `from`, each of `8 * W` bytes, to its place in `to`.
    #[inline]
    pub(crate) fn permute_all(&self, from: &[u8], to: &mut [u8]) {
        let filters = from.as_chunks::<8>().0.as_chunks::<W>().0;
        for (from, to) in filters.iter().zip(to.as_chunks_mut::<8>().0.as_chunks_mut::<W>().0) {
            *to = self.permute(from.map(u64::from_le_bytes)).map(u64::to_le_bytes);
        }
    }

    fn permute_one(&self, filter: &mut [u8]) -> Option<()> {
        let (parts, []) = filter.as_chunks_mut::<8>() else { return None };
        let parts: &mut [[u8; 8]; W] = parts.try_into().ok()?;
        *parts = self.permute(parts.map(u64::from_le_bytes)).map(u64::to_le_bytes);
        Some(())
    }
}

impl<const W: usize> Drop for Masks<W> {
    fn drop(&mut self) {
        erase(self.wide.as_flattened_mut());
        erase(self.narrow.as_flattened_mut());
    }
}

/// The blocks that mask bits are drawn from.
pub(crate) const MASK_BLOCKS: [[u8; 16]; MAX_MASK_BLOCKS] = {
    let mut blocks = [[0; 16]; MAX_MASK_BLOCKS];
    let mut counter = 0;
    while counter < MAX_MASK_BLOCKS {
        blocks[counter][0] = 3;
        blocks[counter][1] = counter as u8;
        counter += 1;
    }
    blocks
};

/// Moves the low 32 bits to the places i with (i & distance) == 0, in order; the other places become 0.
#[inline]
fn spread(bits: u64, distance: u32) -> u64 {
    // Each step opens a gap of `step` zeros after every `step` bits.
    const STEPS: [(u32, u64); 5] = [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ];
    STEPS.iter().take_while(|(step, _)| *step >= distance).fold(bits, |x, (step, places)| (x | x << step) & places)
}
