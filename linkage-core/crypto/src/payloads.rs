//! Stage 1 of a record's payloads: the same q-grams and slot values under the key of every block that the record is in.
//!
//! Constructions in [`crate::fields`], one value at a time; here a record's evaluations are laid out once, and each block's
//! key is applied to all of them in one go. Deriving that key is four SHA-256 compressions that wait for each other, so
//! the steps of several entries are taken in turn, as in stage 2 ([`crate::entries`]).
//!
//! What is drawn from a block's key lies in this type only: each turn overwrites the former one's, the last is erased on
//! drop.

use crate::derive::{Block, BlockSecret, PrfKey};
use crate::fields::{
    CLASS_BOUNDS, CLASSES, FieldError, FilterSize, MAX_HASH_COUNT, class_weights, gram_block, levelling_block, nonzero,
    slot_block,
};
use crate::label;
use crate::mac::{self, Keyed, MessageBlock, State, erase};
use crate::secret::redacted;

/// Entries whose steps are taken in turn.
const LANES: usize = 4;
/// Levelling blocks of a filter that are drawn with those of the others; hardly any filter needs more.
const LEVELLING: usize = 2;
/// Blocks that wide registers take at once; fewer than that are taken one by one.
const AT_ONCE: usize = 64;
/// Blocks beyond a multiple of [`AT_ONCE`] that are worth filling up.
const WORTH: usize = 20;
/// What a block's field key is derived with, as the one block that it is.
const FIELD_FILTERS: MessageBlock = {
    let text = label!("field filters");
    let mut block = mac::one_block(text.len());
    let mut at = 0;
    while at < text.len() {
        block[at] = text[at];
        at += 1;
    }
    block
};

/// Writes the payloads of one record after the other.
pub struct PayloadWriter {
    record: Record,
    lanes: [Lane; LANES],
}
redacted!(PayloadWriter);

/// A record's evaluations, laid out.
struct Record {
    size: FilterSize,
    filter_bits: usize,
    hash_count: usize,
    weights: [u16; CLASSES],
    filters: Vec<Filter>,
    /// Which slots have a value.
    present: Vec<bool>,
    /// The blocks of all q-grams, filter by filter, and of all slots.
    grams: Vec<Block>,
    slots: Vec<Block>,
    /// Both, one after the other, and what a key makes of them.
    asked: Vec<Block>,
    drawn: Vec<Block>,
    levelling: Vec<Block>,
}

/// How many q-grams a filter holds, and how many bits it is to have set; none where it stays empty.
#[derive(Clone, Copy)]
struct Filter {
    grams: usize,
    weight: Option<u32>,
}

/// One entry's derivation.
struct Lane {
    keyed: Keyed,
    state: State,
    block: MessageBlock,
    key: PrfKey,
}

impl PayloadWriter {
    /// For filters of `filter_bits` in which a q-gram sets `hash_count` bits.
    ///
    /// # Errors
    /// [`FieldError`] when the profile does not allow them.
    pub fn new(filter_bits: usize, hash_count: usize) -> Result<Self, FieldError> {
        let size = FilterSize::new(filter_bits)?;
        if !(1..=MAX_HASH_COUNT).contains(&hash_count) {
            return Err(FieldError::HashCount);
        }
        let record = Record {
            size,
            filter_bits,
            hash_count,
            weights: class_weights(filter_bits, hash_count)?,
            filters: Vec::new(),
            present: Vec::new(),
            grams: Vec::new(),
            slots: Vec::new(),
            asked: Vec::new(),
            drawn: Vec::new(),
            levelling: Vec::new(),
        };
        let lane = || Lane { keyed: Keyed::new(&[0; 32]), state: [0; 8], block: [0; 64], key: PrfKey::from_bytes(&[0; 16]) };
        Ok(Self { record, lanes: std::array::from_fn(|_| lane()) })
    }

    /// Begins another record.
    pub fn clear(&mut self) {
        self.record.filters.clear();
        self.record.present.clear();
        self.record.grams.clear();
        self.record.slots.clear();
    }

    /// Adds a filter of distinct q-grams; see [`crate::fields::set_grams`] and [`crate::fields::level_filter`].
    ///
    /// # Errors
    /// [`FieldError::GramTooLong`].
    pub fn filter<'g>(&mut self, domain: u8, grams: impl IntoIterator<Item = &'g str>) -> Result<(), FieldError> {
        let record = &mut self.record;
        let before = record.grams.len();
        for gram in grams {
            record.grams.push(gram_block(domain, gram)?);
        }
        let grams = record.grams.len() - before;
        let class = CLASS_BOUNDS.iter().position(|bound| grams <= *bound).unwrap_or(CLASSES - 1);
        let weight = record.weights.get(class).filter(|_| grams > 0).map(|weight| u32::from(*weight));
        record.filters.push(Filter { grams, weight });
        Ok(())
    }

    /// Adds a slot; see [`crate::fields::slot`].
    pub fn slot(&mut self, domain: u8, value: Option<u64>) {
        self.record.slots.push(slot_block(domain, value.unwrap_or(0)));
        self.record.present.push(value.is_some());
    }

    /// Fills the record's entries: each holds a block secret (32 bytes) and room for the payload under it, filters first,
    /// then slots, as they were added.
    ///
    /// # Errors
    /// [`FieldError::EntryLength`] when these are not whole entries.
    pub fn fill(&mut self, entries: &mut [u8]) -> Result<(), FieldError> {
        let entry = self.record.lay_out();
        if !entries.len().is_multiple_of(entry) {
            return Err(FieldError::EntryLength);
        }
        for turn in entries.chunks_mut(LANES * entry) {
            let lanes = self.keys(turn, entry);
            let (lanes, record) = (self.lanes.iter().take(lanes), &mut self.record);
            for (lane, entry) in lanes.zip(turn.chunks_exact_mut(entry)) {
                let (_, payload) = entry.split_at_mut(BlockSecret::LEN);
                match record.filter_bits / 64 {
                    1 => record.write::<1>(&lane.key, payload),
                    2 => record.write::<2>(&lane.key, payload),
                    4 => record.write::<4>(&lane.key, payload),
                    _ => record.write::<8>(&lane.key, payload),
                }
            }
        }
        Ok(())
    }

    /// The field keys of up to [`LANES`] entries, step by step ([`BlockSecret::field_key`]); gives how many.
    fn keys(&mut self, entries: &[u8], entry: usize) -> usize {
        let secrets = entries.chunks_exact(entry).filter_map(|entry| entry.first_chunk::<{ BlockSecret::LEN }>());
        let mut busy = 0;
        for (lane, secret) in self.lanes.iter_mut().zip(secrets) {
            lane.keyed = Keyed::new(secret);
            busy += 1;
        }
        let (lanes, _) = self.lanes.split_at_mut(busy);
        for lane in &mut *lanes {
            lane.state = lane.keyed.inner(&FIELD_FILTERS);
        }
        for lane in &mut *lanes {
            lane.block = mac::outer_block(&lane.state);
        }
        for lane in &mut *lanes {
            lane.state = lane.keyed.outer(&lane.block);
        }
        for lane in &mut *lanes {
            lane.key = PrfKey::from_half(&mac::bytes(&lane.state), 0);
        }
        busy
    }
}

impl Record {
    /// Lays all evaluations out; gives the bytes of an entry.
    fn lay_out(&mut self) -> usize {
        self.asked.clear();
        self.asked.extend_from_slice(&self.grams);
        self.asked.extend_from_slice(&self.slots);
        if self.asked.len() % AT_ONCE >= WORTH {
            self.asked.resize(self.asked.len().next_multiple_of(AT_ONCE), Block::default());
        }
        self.drawn.resize(self.asked.len(), Block::default());
        self.levelling.resize(self.filters.len() * LEVELLING, Block::default());
        BlockSecret::LEN + self.filters.len() * self.filter_bits / 8 + 2 * self.present.len()
    }

    /// Writes the payload under a key; filters have `W` words of 64 bits.
    fn write<const W: usize>(&mut self, key: &PrfKey, payload: &mut [u8]) {
        key.prf_blocks_to(&self.asked, &mut self.drawn);
        let (filters, slots) = payload.split_at_mut((self.filters.len() * 8 * W).min(payload.len()));
        let (filters, _) = filters.as_chunks_mut::<8>();
        let (filters, _) = filters.as_chunks_mut::<W>();
        let mut drawn = self.drawn.as_slice();
        for ((filter, bytes), levelling) in self.filters.iter().zip(&mut *filters).zip(self.levelling.chunks_exact_mut(LEVELLING))
        {
            let (grams, rest) = drawn.split_at(filter.grams.min(drawn.len()));
            drawn = rest;
            let mut words = [0; W];
            for gram in grams {
                for place in self.size.positions(gram).into_iter().take(self.hash_count) {
                    set(&mut words, place);
                }
            }
            let folded = folded(&words);
            for (block, counter) in levelling.iter_mut().zip(0..) {
                *block = levelling_block(counter, &folded);
            }
            *bytes = words.map(u64::to_le_bytes);
        }
        key.prf_blocks(&mut self.levelling);
        for ((filter, bytes), drawn) in self.filters.iter().zip(&mut *filters).zip(self.levelling.chunks_exact(LEVELLING)) {
            if let Some(weight) = filter.weight {
                *bytes = self.levelled(key, bytes.map(u64::from_le_bytes), weight, drawn).map(u64::to_le_bytes);
            }
        }
        for ((slot, block), present) in slots.as_chunks_mut::<2>().0.iter_mut().zip(drawn).zip(&self.present) {
            *slot = if *present { nonzero(block).to_le_bytes() } else { [0, 0] };
        }
    }

    /// A filter brought to its weight as [`crate::fields::level_filter`] does; `drawn` are the first blocks of places.
    fn levelled<const W: usize>(&self, key: &PrfKey, filter: [u64; W], target: u32, drawn: &[Block]) -> [u64; W] {
        let weight: u32 = filter.iter().map(|word| word.count_ones()).sum();
        let (setting, mut missing) = (weight < target, weight.abs_diff(target));
        let mut words = filter;
        for block in drawn {
            for place in self.size.positions(block) {
                if missing == 0 {
                    return words;
                }
                missing -= u32::from(turn(&mut words, place, setting));
            }
        }
        let folded = folded(&filter);
        let later = (LEVELLING as u8..=u8::MAX).flat_map(|counter| {
            let mut block = levelling_block(counter, &folded);
            key.prf_blocks(std::slice::from_mut(&mut block));
            self.size.positions(&block)
        });
        for place in later.chain(0..=self.size.mask) {
            if missing == 0 {
                break;
            }
            missing -= u32::from(turn(&mut words, place, setting));
        }
        words
    }
}

/// Sets the bit at `place`. Every word is written, so that no jump or store waits for the place.
#[inline]
fn set<const W: usize>(words: &mut [u64; W], place: u16) {
    for (word, number) in words.iter_mut().zip(0..) {
        *word |= u64::from(place >> 6 == number) << (place & 63);
    }
}

/// Sets or clears the bit at `place`; whether that changed it.
#[inline]
fn turn<const W: usize>(words: &mut [u64; W], place: u16, setting: bool) -> bool {
    let Some(word) = words.get_mut(usize::from(place >> 6)) else { return false };
    let bit = 1 << (place & 63);
    let changes = (*word & bit == 0) == setting;
    *word ^= if changes { bit } else { 0 };
    changes
}

/// A filter folded to 14 bytes by XOR.
fn folded<const W: usize>(words: &[u64; W]) -> [u8; 14] {
    let mut folded = [0; 14];
    let bytes = words.map(u64::to_le_bytes);
    for part in bytes.as_flattened().chunks(folded.len()) {
        folded.iter_mut().zip(part).for_each(|(to, byte)| *to ^= byte);
    }
    folded
}

impl Drop for PayloadWriter {
    fn drop(&mut self) {
        for lane in &mut self.lanes {
            erase(&mut lane.state);
            erase(&mut lane.block);
        }
        let record = &mut self.record;
        let blocks = [&mut record.grams, &mut record.slots, &mut record.asked, &mut record.drawn, &mut record.levelling];
        blocks.into_iter().flatten().for_each(|block| erase(block));
    }
}
