//! What a block's key makes of field values: q-gram positions, levelled filters and slots (stage 1), their keyed
//! permutation (stage 2).
//!
//! Each evaluation is one AES-128 block whose first byte tells the uses apart: 1 q-gram, 2 slot, 3 mask of the
//! permutation, 4 remapped slot, 5 levelling. Within one entry all filters go through the same permutation, so that two
//! names stay comparable crosswise; across blocks and runs nothing is comparable but the number of bits set, which no
//! permutation changes. [`level_filter`] therefore brings it to one of nine values (docs/adr/0014).

use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use crate::derive::{Block, PrfKey};
pub use crate::permutation::{FilterPermutation, permute_filter};

/// The longest q-gram, in bytes of UTF-8.
pub const MAX_GRAM_LEN: usize = 13;
/// The most bits that one q-gram can set.
pub const MAX_HASH_COUNT: usize = 8;
/// The domain that all name fields share; text field number i has domain `1 + i`.
pub const NAME_DOMAIN: u8 = 0;
/// The most slots of one payload.
pub const MAX_SLOTS: usize = 256;
/// The most q-grams of each class of filters, a filter of more being in the last: all that its weight tells.
pub const CLASS_BOUNDS: [usize; CLASSES] = [4, 6, 8, 10, 13, 17, 22, 28, 36];
/// How many classes of filters there are, absent ones apart.
pub const CLASSES: usize = 9;

/// Slot domains: two slots can be compared only when they belong to one.
pub mod slot_domain {
    /// Calendar year.
    pub const YEAR: u8 = 1;
    /// Day or month: one domain, so that a swap shows.
    pub const DAY_OR_MONTH: u8 = 2;
    /// `year / 2`.
    pub const HALF: u8 = 3;
    /// `(year + 1) / 2`.
    pub const HALF_SHIFTED: u8 = 4;
    /// `year / 10`.
    pub const DECADE: u8 = 5;
    /// `year % 10`.
    pub const YEAR_UNIT: u8 = 6;
    /// `day / 10`.
    pub const DAY_TENS: u8 = 7;
    /// `day % 10`.
    pub const DAY_UNIT: u8 = 8;
    /// Sex.
    pub const SEX: u8 = 9;
    /// Phonetic code of a name.
    pub const PHONETIC: u8 = 10;
    /// Country.
    pub const COUNTRY: u8 = 11;
    /// Département.
    pub const DEPARTMENT: u8 = 12;
    /// Commune.
    pub const COMMUNE: u8 = 13;
    /// Category field number i (i-th field of the agreement) has domain `CATEGORY + i`.
    pub const CATEGORY: u8 = 14;
}

/// Why field bytes were refused: a mistake of the calling code or of the agreement's check, never of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The q-gram is longer than [`MAX_GRAM_LEN`].
    #[error("bigramme de plus de 13 octets")]
    GramTooLong,
    /// `filter_bits` is not 64, 128, 256 or 512.
    #[error("taille de filtre refusée : 64, 128, 256 ou 512 bits")]
    FilterBits,
    /// `hash_count` is not in 1..=8.
    #[error("nombre de bits par bigramme refusé : de 1 à 8")]
    HashCount,
    /// The bytes are not whole filters of the size.
    #[error("longueur de filtre inattendue")]
    FilterLength,
    /// The bytes are not whole entries, or not as many in as out.
    #[error("longueur d'entrées inattendue")]
    EntryLength,
    /// The bytes are not whole slots, or more than [`MAX_SLOTS`].
    #[error("longueur de cases inattendue")]
    SlotLength,
}

/// The eight positions of a q-gram in a filter of `filter_bits`; the first `hash_count` are used.
/// E = AES(\[1, domain, length, gram, zeros\]) read as 8 u16 LE, each mod `filter_bits`.
pub fn gram_positions(key: &PrfKey, domain: u8, gram: &str, filter_bits: usize) -> Result<[u16; 8], FieldError> {
    let size = FilterSize::new(filter_bits)?;
    let mut block = gram_block(domain, gram)?;
    key.prf_blocks(std::slice::from_mut(&mut block));
    Ok(size.positions(&block))
}

/// Sets the bits of every q-gram in `filter` (a filter of `8 * filter.len()` bits, bit p at byte p/8, bit p%8).
/// Evaluates eight q-grams side by side; several calls on one filter add up.
pub fn set_grams<'g>(
    key: &PrfKey,
    domain: u8,
    grams: impl IntoIterator<Item = &'g str>,
    hash_count: usize,
    filter: &mut [u8],
) -> Result<(), FieldError> {
    let size = FilterSize::new(filter.len() * 8)?;
    if !(1..=MAX_HASH_COUNT).contains(&hash_count) {
        return Err(FieldError::HashCount);
    }
    let mut grams = grams.into_iter();
    let mut blocks = [Block::default(); 8];
    loop {
        let mut filled = 0;
        for (block, gram) in blocks.iter_mut().zip(&mut grams) {
            *block = gram_block(domain, gram)?;
            filled += 1;
        }
        let filled_blocks = blocks.get_mut(..filled).unwrap_or_default();
        key.prf_blocks(filled_blocks);
        for block in filled_blocks.iter() {
            for position in size.positions(block).into_iter().take(hash_count) {
                if let Some(byte) = filter.get_mut(usize::from(position / 8)) {
                    *byte |= 1 << (position % 8);
                }
            }
        }
        if filled < blocks.len() {
            return Ok(());
        }
    }
}

/// How many bits are set in a levelled filter of each class of [`CLASS_BOUNDS`]; rising.
///
/// What `bound * hash_count` independent draws are expected to set, in 32-bit fixed point without a float, so that two
/// implementations cannot differ: `empty = filter_bits << 32`, `bound * hash_count` times `empty -= empty /
/// filter_bits` (rounded down), and the weight is `filter_bits - ((empty + (1 << 31)) >> 32)`.
pub fn class_weights(filter_bits: usize, hash_count: usize) -> Result<[u16; CLASSES], FieldError> {
    let size = FilterSize::new(filter_bits)?;
    let of_size = CLASS_WEIGHTS.get(size.log2 - 6).ok_or(FieldError::FilterBits)?;
    hash_count.checked_sub(1).and_then(|k| of_size.get(k)).copied().ok_or(FieldError::HashCount)
}

/// Sets or clears bits of a filter that holds `gram_count` distinct q-grams until its weight is that of their class.
///
/// Places are those of AES(\[5, counter, the filter as it came folded to 14 bytes by XOR\]), counter = 0, 1, ..., 255,
/// read as 8 u16 LE, each mod the filter's bits, then all in rising order; one that is already right is passed over.
/// The filter's own content is in the block, so that equal names are levelled equally and different names
/// independently: what is added to two filters agrees by chance only, which the estimate of sizes accounts for.
///
/// No q-grams: nothing is changed, since an absent value shows anyway.
pub fn level_filter(key: &PrfKey, gram_count: usize, hash_count: usize, filter: &mut [u8]) -> Result<(), FieldError> {
    let size = FilterSize::new(filter.len() * 8)?;
    let weights = class_weights(filter.len() * 8, hash_count)?;
    if gram_count == 0 {
        return Ok(());
    }
    let class = CLASS_BOUNDS.iter().position(|bound| gram_count <= *bound).unwrap_or(CLASSES - 1);
    let target = weights.get(class).copied().map_or(0, u32::from);
    let weight: u32 = filter.iter().map(|byte| byte.count_ones()).sum();
    let (setting, mut missing) = (weight < target, weight.abs_diff(target));

    let mut folded = [0u8; 16];
    for part in filter.chunks(FOLDED_LEN) {
        folded.iter_mut().zip(part).for_each(|(to, byte)| *to ^= byte);
    }
    let mut places = (0..=u8::MAX).flat_map(|counter| {
        let mut block = levelling_block(counter, u128::from_le_bytes(folded));
        key.prf_blocks(std::slice::from_mut(&mut block));
        size.positions(&block)
    });
    let mut in_order = 0..=size.mask;
    while missing > 0 {
        let Some(place) = places.next().or_else(|| in_order.next()) else { break };
        let Some(byte) = filter.get_mut(usize::from(place / 8)) else { break };
        let bit = 1 << (place % 8);
        if (*byte & bit == 0) == setting {
            *byte ^= bit;
            missing -= 1;
        }
    }
    folded.zeroize();
    Ok(())
}

/// [`class_weights`] of 64, 128, 256 and 512 bits, for 1 to 8 bits per q-gram.
const CLASS_WEIGHTS: [[[u16; CLASSES]; MAX_HASH_COUNT]; 4] = {
    let mut table = [[[0; CLASSES]; MAX_HASH_COUNT]; 4];
    let mut at = 0;
    while at < 4 * MAX_HASH_COUNT * CLASSES {
        let (size, k, class) = (at / (MAX_HASH_COUNT * CLASSES), at / CLASSES % MAX_HASH_COUNT, at % CLASSES);
        let bits = 64u64 << size;
        let mut empty = bits << 32;
        let mut draws = CLASS_BOUNDS[class] * (k + 1);
        while draws > 0 {
            empty -= empty / bits;
            draws -= 1;
        }
        table[size][k][class] = (bits - ((empty + (1 << 31)) >> 32)) as u16;
        at += 1;
    }
    table
};

/// A slot: first u16 LE of AES(\[2, slot domain, value u64 LE, zeros\]), 0 replaced by 1 (0 stands for missing).
pub fn slot(key: &PrfKey, domain: u8, value: u64) -> u16 {
    let mut out = [0];
    slots(key, [(domain, Some(value))], &mut out);
    out[0]
}

/// Fills `out` with the slots of `values` (slot domain, value), in order; `None` and what `values` lacks become 0.
/// Evaluates sixteen side by side.
pub fn slots(key: &PrfKey, values: impl IntoIterator<Item = (u8, Option<u64>)>, out: &mut [u16]) {
    let mut values = values.into_iter();
    for chunk in out.chunks_mut(16) {
        let mut blocks = [Block::default(); 16];
        let mut present = [false; 16];
        let taken = values.by_ref().take(chunk.len());
        for ((block, present), (domain, value)) in blocks.iter_mut().zip(&mut present).zip(taken) {
            *block = slot_block(domain, value.unwrap_or(0));
            *present = value.is_some();
        }
        key.prf_blocks(blocks.get_mut(..chunk.len()).unwrap_or_default());
        for ((slot, block), present) in chunk.iter_mut().zip(&blocks).zip(present) {
            *slot = if present { nonzero(block) } else { 0 };
        }
    }
}

/// How a textual value enters a slot: the first 8 bytes, little-endian, of SHA-256 of its UTF-8 text.
pub fn text_value(text: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    digest[..8].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// A slot's value in one run: first u16 LE of AES(\[4, index, value u16 LE, zeros\]), 0 replaced by 1; 0 stays 0.
/// `index` counts all slots of the payload.
pub fn remap_slot(key: &PrfKey, index: u8, value: u16) -> u16 {
    if value == 0 {
        return 0;
    }
    let mut block = remap_block(index, value.to_le_bytes());
    key.prf_blocks(std::slice::from_mut(&mut block));
    nonzero(&block)
}

/// Remaps all slots of a payload in place, sixteen side by side; `slots` holds u16 LE, at most [`MAX_SLOTS`] of them.
pub fn remap_slots(key: &PrfKey, slots: &mut [u8]) -> Result<(), FieldError> {
    if !slots.len().is_multiple_of(2) || slots.len() > 2 * MAX_SLOTS {
        return Err(FieldError::SlotLength);
    }
    let mut index = 0u8;
    for chunk in slots.chunks_mut(32) {
        let mut blocks = [Block::default(); 16];
        for (block, slot) in blocks.iter_mut().zip(chunk.as_chunks::<2>().0) {
            *block = remap_block(index, *slot);
            index = index.wrapping_add(1);
        }
        key.prf_blocks(blocks.get_mut(..chunk.len() / 2).unwrap_or_default());
        for (block, slot) in blocks.iter().zip(chunk.as_chunks_mut::<2>().0) {
            if *slot != [0, 0] {
                *slot = nonzero(block).to_le_bytes();
            }
        }
    }
    Ok(())
}

/// Stage 2 of one payload in place: every filter before `slots_at` permuted, every slot from there on remapped.
/// `key` is the second half of [`crate::derive::RunKey::entry_keys`].
pub fn permute_payload(key: &PrfKey, filter_bits: usize, slots_at: usize, payload: &mut [u8]) -> Result<(), FieldError> {
    let (filters, slots) = payload.split_at_mut_checked(slots_at).ok_or(FieldError::FilterLength)?;
    let permutation = FilterPermutation::new(key, filter_bits)?;
    if !filters.len().is_multiple_of(filter_bits / 8) {
        return Err(FieldError::FilterLength);
    }
    for filter in filters.chunks_exact_mut(filter_bits / 8) {
        permutation.permute_filter(filter)?;
    }
    remap_slots(key, slots)
}

/// A filter size that the profile allows.
#[derive(Clone, Copy)]
pub(crate) struct FilterSize {
    pub(crate) mask: u16,
    log2: usize,
}

impl FilterSize {
    pub(crate) fn new(filter_bits: usize) -> Result<Self, FieldError> {
        match filter_bits {
            64 => Ok(Self { mask: 63, log2: 6 }),
            128 => Ok(Self { mask: 127, log2: 7 }),
            256 => Ok(Self { mask: 255, log2: 8 }),
            512 => Ok(Self { mask: 511, log2: 9 }),
            _ => Err(FieldError::FilterBits),
        }
    }
    pub(crate) fn positions(self, block: &Block) -> [u16; 8] {
        let mut positions = [0; 8];
        for (position, bytes) in positions.iter_mut().zip(block.as_chunks::<2>().0) {
            *position = u16::from_le_bytes(*bytes) & self.mask;
        }
        positions
    }
}

pub(crate) fn gram_block(domain: u8, gram: &str) -> Result<Block, FieldError> {
    let gram = gram.as_bytes();
    let mut block = [0; 16];
    let room = block.get_mut(3..3 + gram.len()).ok_or(FieldError::GramTooLong)?;
    room.copy_from_slice(gram);
    block[0] = 1;
    block[1] = domain;
    block[2] = gram.len() as u8;
    Ok(block.into())
}

pub(crate) fn slot_block(domain: u8, value: u64) -> Block {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    Block::from([2, domain, a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0])
}

/// Bytes that a filter is folded to.
pub(crate) const FOLDED_LEN: usize = 14;

/// What of `folded` reaches beyond [`FOLDED_LEN`] bytes falls out. One number, so that the block is made in a register.
#[inline(always)]
pub(crate) fn levelling_block(counter: u8, folded: u128) -> Block {
    Block::from((folded << 16 | u128::from(counter) << 8 | 5).to_le_bytes())
}

pub(crate) fn remap_block(index: u8, [low, high]: [u8; 2]) -> Block {
    Block::from([4, index, low, high, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

pub(crate) fn nonzero(block: &Block) -> u16 {
    u16::from_le_bytes([block[0], block[1]]).max(1)
}
