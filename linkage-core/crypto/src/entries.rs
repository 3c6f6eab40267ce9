//! Stage 2 of archived entries: their tokens and payloads in one run.
//!
//! An entry's derivation is two SHA-256 compressions that wait for each other, then an AES key schedule that waits for
//! them. So the same step is taken for several entries before the next step: a processor then computes them side by side.
//!
//! What could undo a permutation (block secrets, entry keys, masks) lies in this type only. Each turn overwrites the
//! former one's, and the last is erased on drop: to erase it for every entry would take as long as to compute it.

use crate::derive::{Block, BlockSecret, PrfKey, RunKey};
use crate::fields::{FieldError, FilterSize, MAX_SLOTS, nonzero, remap_block};
use crate::mac::{self, MessageBlock, State, erase};
use crate::permutation::{MASK_BLOCKS, Masks};
use crate::secret::redacted;

/// Bytes of a token.
pub const TOKEN_LEN: usize = 16;
/// Entries whose steps are taken in turn.
const LANES: usize = 4;

/// Where filters and slots lie in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadShape {
    /// Bits of each filter: 64, 128, 256 or 512.
    pub filter_bits: usize,
    /// Bytes of all filters together; slots follow.
    pub slots_at: usize,
    /// Bytes of the payload.
    pub len: usize,
}

/// Writes the entries of one run.
pub struct EntryBlinder {
    run: RunKey,
    shape: PayloadShape,
    /// For every lane the blocks of masks and slots; a turn writes its slots' values to them.
    asked: Vec<Block>,
    /// What the entry's key makes of them.
    drawn: Vec<Block>,
    lanes: [Lane; LANES],
}

/// One entry's derivation.
struct Lane {
    block: MessageBlock,
    state: State,
    mac: [u8; 32],
    key: PrfKey,
}

impl EntryBlinder {
    /// Prepares for payloads of one shape.
    ///
    /// # Errors
    /// [`FieldError`] when the shape is none that the profile allows.
    pub fn new(run: &RunKey, shape: PayloadShape) -> Result<Self, FieldError> {
        FilterSize::new(shape.filter_bits)?;
        if !shape.slots_at.is_multiple_of(shape.filter_bits / 8) {
            return Err(FieldError::FilterLength);
        }
        let slots = shape.len.checked_sub(shape.slots_at).ok_or(FieldError::FilterLength)?;
        if !slots.is_multiple_of(2) || slots > 2 * MAX_SLOTS {
            return Err(FieldError::SlotLength);
        }
        let masks = match shape.filter_bits / 64 {
            1 => Masks::<1>::BLOCKS,
            2 => Masks::<2>::BLOCKS,
            4 => Masks::<4>::BLOCKS,
            _ => Masks::<8>::BLOCKS,
        };
        let masks = MASK_BLOCKS.iter().take(masks).map(|block| Block::from(*block));
        let slots = (0..=u8::MAX).take(slots / 2).map(|index| remap_block(index, [0, 0]));
        let blocks: Vec<Block> = masks.chain(slots).collect();
        let asked = blocks.repeat(LANES);
        let lane = || Lane { block: [0; 64], state: [0; 8], mac: [0; 32], key: PrfKey::from_bytes(&[0; 16]) };
        Ok(Self { run: run.clone(), shape, drawn: asked.clone(), asked, lanes: std::array::from_fn(|_| lane()) })
    }

    /// Writes entries as the run sees them: `archived` holds `block secret (32) | payload` of every entry, `out` has
    /// room for `token (16) | payload` of each. Token and key of the permutation: [`RunKey::entry_keys`].
    ///
    /// # Errors
    /// [`FieldError::EntryLength`] when these are not whole entries, as many in `out` as in `archived`.
    pub fn blind(&mut self, archived: &[u8], out: &mut [u8]) -> Result<(), FieldError> {
        let (from_len, to_len) = (BlockSecret::LEN + self.shape.len, TOKEN_LEN + self.shape.len);
        if !archived.len().is_multiple_of(from_len) || out.len() != archived.len() / from_len * to_len {
            return Err(FieldError::EntryLength);
        }
        for (from, to) in archived.chunks(LANES * from_len).zip(out.chunks_mut(LANES * to_len)) {
            match self.shape.filter_bits / 64 {
                1 => self.turn::<1>(from, to),
                2 => self.turn::<2>(from, to),
                4 => self.turn::<4>(from, to),
                _ => self.turn::<8>(from, to),
            }
        }
        Ok(())
    }

    /// Up to [`LANES`] entries, step by step.
    fn turn<const W: usize>(&mut self, archived: &[u8], out: &mut [u8]) {
        let PayloadShape { slots_at, len, .. } = self.shape;
        let (from_len, to_len) = (BlockSecret::LEN + len, TOKEN_LEN + len);
        let blocks = Masks::<W>::BLOCKS + (len - slots_at) / 2;
        let count = archived.len() / from_len;
        let (lanes, _) = self.lanes.split_at_mut(count.min(LANES));

        for ((lane, entry), asked) in
            lanes.iter_mut().zip(archived.chunks_exact(from_len)).zip(self.asked.chunks_exact_mut(blocks))
        {
            let Some((secret, payload)) = entry.split_first_chunk() else { return };
            lane.block = RunKey::entry_block(secret);
            let (_, slots) = payload.split_at(slots_at);
            let (_, asked) = asked.split_at_mut(Masks::<W>::BLOCKS);
            for (block, [low, high]) in asked.iter_mut().zip(slots.as_chunks::<2>().0) {
                (block[2], block[3]) = (*low, *high);
            }
        }
        for lane in &mut *lanes {
            lane.state = self.run.keyed().inner(&lane.block);
        }
        for lane in &mut *lanes {
            lane.block = mac::outer_block(&lane.state);
        }
        for lane in &mut *lanes {
            lane.state = self.run.keyed().outer(&lane.block);
        }
        for lane in &mut *lanes {
            lane.mac = mac::bytes(&lane.state);
        }
        for lane in &mut *lanes {
            lane.key.renew(&lane.mac);
        }
        for ((lane, asked), drawn) in lanes.iter().zip(self.asked.chunks_exact(blocks)).zip(self.drawn.chunks_exact_mut(blocks)) {
            lane.key.prf_blocks_to(asked, drawn);
        }
        for (((lane, from), to), drawn) in lanes
            .iter()
            .zip(archived.chunks_exact(from_len))
            .zip(out.chunks_exact_mut(to_len))
            .zip(self.drawn.chunks_exact(blocks))
        {
            let (token, payload) = to.split_at_mut(TOKEN_LEN);
            token.iter_mut().zip(&lane.mac).for_each(|(to, from)| *to = *from);
            let (_, archived) = from.split_at(BlockSecret::LEN);
            let (old_filters, old_slots) = archived.split_at(slots_at);
            let (filters, slots) = payload.split_at_mut(slots_at);
            let (masks, values) = drawn.split_at(Masks::<W>::BLOCKS);
            Masks::<W>::of(masks).permute_all(old_filters, filters);
            let old_slots = old_slots.as_chunks::<2>().0;
            for ((slot, old), value) in slots.as_chunks_mut::<2>().0.iter_mut().zip(old_slots).zip(values) {
                *slot = if *old == [0, 0] { [0, 0] } else { nonzero(value).to_le_bytes() };
            }
        }
    }
}

impl Drop for EntryBlinder {
    fn drop(&mut self) {
        for lane in &mut self.lanes {
            erase(&mut lane.block);
            erase(&mut lane.state);
            erase(&mut lane.mac);
        }
        self.asked.iter_mut().chain(&mut self.drawn).for_each(|block| erase(block));
    }
}
redacted!(EntryBlinder);
