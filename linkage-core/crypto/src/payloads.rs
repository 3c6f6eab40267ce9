//! Stage 1 of a record's payloads: the same q-grams and slot values under the key of every block that the record is in.
//!
//! Constructions in [`crate::fields`], one value at a time; here a record's evaluations are laid out once, and each block's
//! key is applied to all of them in one go. Deriving that key is four SHA-256 compressions that wait for each other, so
//! the steps of several entries are taken in turn, as in stage 2 ([`crate::entries`]).
//!
//! What is drawn from a block's key lies in this type only: each turn overwrites the former one's, the last is erased on
//! drop.

use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherEncBackend, BlockCipherEncClosure, BlockSizeUser, InOutBuf};

use crate::derive::{Block, BlockSecret, PrfKey};
use crate::fields::{
    CLASS_BOUNDS, CLASSES, FOLDED_LEN, FieldError, FilterSize, MAX_HASH_COUNT, class_weights, gram_block, levelling_block,
    nonzero, slot_block,
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
        FilterSize::new(filter_bits)?;
        if !(1..=MAX_HASH_COUNT).contains(&hash_count) {
            return Err(FieldError::HashCount);
        }
        let record = Record {
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
                match (record.filter_bits / 64, record.hash_count) {
                    (1, ..=4) => lane.key.visit(Payload::<1, 4> { record, payload }),
                    (1, _) => lane.key.visit(Payload::<1, 8> { record, payload }),
                    (2, ..=4) => lane.key.visit(Payload::<2, 4> { record, payload }),
                    (2, _) => lane.key.visit(Payload::<2, 8> { record, payload }),
                    (4, ..=4) => lane.key.visit(Payload::<4, 4> { record, payload }),
                    (4, _) => lane.key.visit(Payload::<4, 8> { record, payload }),
                    (_, ..=4) => lane.key.visit(Payload::<8, 4> { record, payload }),
                    _ => lane.key.visit(Payload::<8, 8> { record, payload }),
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
}

/// One entry's payload, written by a key's cipher: filters of `W` words of 64 bits, whose q-grams set at most `K` bits.
///
/// All of it is one visit to the cipher: its wide keys are made once, and what is inlined into the visit is compiled for
/// the vector registers that the cipher found in the processor.
struct Payload<'p, const W: usize, const K: usize> {
    record: &'p mut Record,
    payload: &'p mut [u8],
}

impl<const W: usize, const K: usize> BlockSizeUser for Payload<'_, W, K> {
    type BlockSize = U16;
}

impl<const W: usize, const K: usize> BlockCipherEncClosure for Payload<'_, W, K> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, cipher: &B) {
        let Self { record, payload } = self;
        // Laid out to be as long.
        let Ok(blocks) = InOutBuf::new(&record.asked, &mut record.drawn) else { return };
        let (wide, rest) = blocks.into_chunks();
        for blocks in wide {
            cipher.encrypt_par_blocks(blocks);
        }
        cipher.encrypt_tail_blocks(rest);
        let (filters, slots) = payload.split_at_mut((record.filters.len() * 8 * W).min(payload.len()));
        let (filters, _) = filters.as_chunks_mut::<8>();
        let (filters, _) = filters.as_chunks_mut::<W>();
        let mut drawn = record.drawn.as_slice();
        for ((filter, bytes), levelling) in record.filters.iter().zip(&mut *filters).zip(record.levelling.as_chunks_mut().0) {
            let (grams, rest) = drawn.split_at(filter.grams.min(drawn.len()));
            drawn = rest;
            let words = gathered::<W, K>(grams, record.hash_count);
            let blocks: &mut [Block; LEVELLING] = levelling;
            for (block, counter) in blocks.iter_mut().zip(0..) {
                let mut asked = self::levelling(&words, counter);
                cipher.encrypt_block_inplace(&mut asked);
                *block = asked;
            }
            *bytes = words.map(u64::to_le_bytes);
        }
        for ((filter, bytes), drawn) in record.filters.iter().zip(&mut *filters).zip(record.levelling.as_chunks().0) {
            let blocks: &[Block; LEVELLING] = drawn;
            if let Some(weight) = filter.weight {
                *bytes = levelled(cipher, bytes.map(u64::from_le_bytes), weight, blocks).map(u64::to_le_bytes);
            }
        }
        for ((slot, block), present) in slots.as_chunks_mut::<2>().0.iter_mut().zip(drawn).zip(&record.present) {
            *slot = if *present { nonzero(block).to_le_bytes() } else { [0, 0] };
        }
    }
}

/// The filter that q-grams make: the first `hash_count` places of each block, of the `K` that are looked at. Bits of the
/// same rank are gathered in one lane, so that no step waits for another.
#[inline(always)]
fn gathered<const W: usize, const K: usize>(grams: &[Block], hash_count: usize) -> [u64; W] {
    let mut lanes = [[0; K]; W];
    for gram in grams {
        let places: [u64; K] = places::<W, K>(gram);
        for (lanes, first) in lanes.iter_mut().zip((0..).step_by(64)) {
            for (lane, place) in lanes.iter_mut().zip(&places) {
                *lane |= bit(place.wrapping_sub(first));
            }
        }
    }
    lanes.map(|lanes| lanes.iter().take(hash_count).fold(0, |word, lane| word | lane))
}

/// The first `K` places of a block, in a filter of `W` words.
#[inline(always)]
fn places<const W: usize, const K: usize>(block: &Block) -> [u64; K] {
    const { assert!(K <= 8 && W.is_power_of_two()) };
    let mut places = [0; K];
    for (place, bytes) in places.iter_mut().zip(block.as_chunks::<2>().0) {
        *place = u64::from(u16::from_le_bytes(*bytes)) & (64 * W as u64 - 1);
    }
    places
}

/// The bit at `place` of a word; none where that is not in the word.
#[inline(always)]
fn bit(place: u64) -> u64 {
    if place < 64 { 1 << place } else { 0 }
}

/// A filter brought to its weight as [`crate::fields::level_filter`] does; `drawn` are the first blocks of places.
///
/// Clearing is setting in the complement. All places of a block are gone through, and what the filter is after the last
/// one that leaves it light enough is kept: no jump waits for a bit.
#[inline(always)]
fn levelled<B: BlockCipherEncBackend<BlockSize = U16>, const W: usize>(
    cipher: &B,
    filter: [u64; W],
    target: u32,
    drawn: &[Block; LEVELLING],
) -> [u64; W] {
    let weight: u32 = filter.iter().map(|word| word.count_ones()).sum();
    let flip = if weight < target { 0 } else { u64::MAX };
    let mut words = filter.map(|word| word ^ flip);
    let mut missing = weight.abs_diff(target);
    for block in drawn {
        if missing == 0 {
            break;
        }
        words = set(words, &places::<W, 8>(block), &mut missing);
    }
    if missing > 0 {
        words = levelled_later(cipher, &filter, words, missing);
    }
    words.map(|word| word ^ flip)
}

/// What [`levelled`] does beyond the blocks that were drawn beforehand.
#[cold]
fn levelled_later<B: BlockCipherEncBackend<BlockSize = U16>, const W: usize>(
    cipher: &B,
    filter: &[u64; W],
    mut words: [u64; W],
    mut missing: u32,
) -> [u64; W] {
    let mut later = (LEVELLING as u8..=u8::MAX).map(|counter| {
        let mut block = levelling(filter, counter);
        cipher.encrypt_block_inplace(&mut block);
        places::<W, 8>(&block)
    });
    let mut in_order = (0..64 * W as u64).map(|place| [place; 8]);
    while missing > 0 {
        let Some(places) = later.next().or_else(|| in_order.next()) else { break };
        words = set(words, &places, &mut missing);
    }
    words
}

/// Sets bits at `places` in their order until `missing` ones, which are counted down, were set that had not been.
#[inline(always)]
fn set<const W: usize>(words: [u64; W], places: &[u64; 8], missing: &mut u32) -> [u64; W] {
    let (mut all, mut kept) = (words, words);
    let (mut fresh, mut count) = (0, 0);
    for place in places {
        let mut is_fresh = 0;
        for (word, first) in all.iter_mut().zip((0..).step_by(64)) {
            let bit = bit(place.wrapping_sub(first));
            is_fresh |= bit & !*word;
            *word |= bit;
        }
        fresh += u32::from(is_fresh != 0);
        let keep = fresh <= *missing;
        count = if keep { fresh } else { count };
        for (kept, word) in kept.iter_mut().zip(&all) {
            *kept = if keep { *word } else { *kept };
        }
    }
    *missing -= count;
    kept
}

/// The levelling block of a filter, folded word by word, and a counter.
#[inline(always)]
fn levelling<const W: usize>(words: &[u64; W], counter: u8) -> Block {
    const FOLDED: u32 = 8 * FOLDED_LEN as u32;
    let mut folded = 0;
    for (word, number) in words.iter().zip(0..) {
        let at = 64 * number % FOLDED;
        folded ^= u128::from(*word) << at ^ u128::from(*word) >> (FOLDED - at);
    }
    levelling_block(counter, folded)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fields::{level_filter, set_grams, slots};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        /// Up to 150 q-grams: eight bits of each fill a filter, so that levelling draws many more blocks than beforehand.
        #[test]
        fn payloads_written_together_are_those_made_value_by_value(
            size in 0..4usize,
            hash_count in 1..=8usize,
            counts in prop::collection::vec(prop_oneof![0..12usize, 0..150usize], 0..4),
            values in prop::collection::vec((any::<u8>(), any::<Option<u64>>()), 0..30),
            secrets in prop::collection::vec(any::<[u8; 32]>(), 0..7),
        ) {
            let filter_bits = 64 << size;
            let grams: Vec<Vec<String>> =
                counts.iter().map(|count| (0..*count).map(|gram| format!("{count}-{gram}")).collect()).collect();
            let mut writer = PayloadWriter::new(filter_bits, hash_count).unwrap();
            writer.clear();
            for (grams, domain) in grams.iter().zip(0..) {
                writer.filter(domain, grams.iter().map(String::as_str)).unwrap();
            }
            values.iter().for_each(|(domain, value)| writer.slot(*domain, *value));

            let (mut written, mut expected) = (Vec::new(), Vec::new());
            for secret in &secrets {
                let key = BlockSecret::from_bytes(secret).field_key();
                expected.extend_from_slice(secret);
                for (grams, domain) in grams.iter().zip(0..) {
                    let mut filter = vec![0; filter_bits / 8];
                    set_grams(&key, domain, grams.iter().map(String::as_str), hash_count, &mut filter).unwrap();
                    level_filter(&key, grams.len(), hash_count, &mut filter).unwrap();
                    expected.extend(filter);
                }
                let mut slot_values = vec![0; values.len()];
                slots(&key, values.iter().copied(), &mut slot_values);
                expected.extend(slot_values.into_iter().flat_map(u16::to_le_bytes));
                written.extend_from_slice(secret);
                written.resize(expected.len(), 0xa5);
            }
            writer.fill(&mut written).unwrap();
            prop_assert_eq!(written, expected);
        }
    }
}
