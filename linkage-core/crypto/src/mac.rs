//! HMAC-SHA256 (RFC 2104) under a key that is prepared once.
//!
//! A message of at most 55 bytes costs two compressions, one for each hash. They are called directly (FIPS 180-4,
//! section 6.2.2), since a hasher that takes any message copies, pads and erases its buffer for every one, which takes
//! longer than the compressions. Steps of several messages can be taken in turn, which a processor overlaps.

use sha2::block_api::compress256;

/// A SHA-256 state between two blocks; as the last one, the hash.
pub(crate) type State = [u32; 8];
/// One block of a message.
pub(crate) type MessageBlock = [u8; 64];

/// The state before the first block: FIPS 180-4, section 5.3.3.
const INITIAL: State = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// Where the last block of a message holds its length in bits.
const LENGTH_AT: usize = 56;

/// The states of both hashes after the key's block, erased on drop.
#[derive(Clone)]
pub(crate) struct Keyed {
    inner: State,
    outer: State,
    /// Bytes that the inner hash has taken.
    taken: usize,
}

impl Keyed {
    /// Prepares the states for a key of at most 64 bytes; HMAC itself pads shorter ones with zeros.
    pub(crate) fn new<const LEN: usize>(key: &[u8; LEN]) -> Self {
        const { assert!(LEN <= 64) };
        let (mut inner, mut outer) = ([0x36; 64], [0x5c; 64]);
        for ((inner, outer), key) in inner.iter_mut().zip(&mut outer).zip(key) {
            *inner ^= key;
            *outer ^= key;
        }
        let keyed = Self { inner: after(&INITIAL, &inner), outer: after(&INITIAL, &outer), taken: 64 };
        erase(&mut inner);
        erase(&mut outer);
        keyed
    }

    /// The states for messages that all begin with `block`, which is taken once.
    pub(crate) fn begun(&self, block: &MessageBlock) -> Self {
        Self { inner: after(&self.inner, block), outer: self.outer, taken: self.taken + block.len() }
    }

    /// HMAC-SHA256 of the parts, one after the other.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut state = self.inner;
        let mut block = [0; 64];
        let mut filled = 0;
        let mut len = self.taken;
        for part in parts {
            len += part.len();
            let mut rest = *part;
            while !rest.is_empty() {
                let (_, room) = block.split_at_mut(filled);
                let (now, later) = rest.split_at(rest.len().min(room.len()));
                room.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
                filled += now.len();
                if filled == block.len() {
                    compress256(&mut state, &[block]);
                    filled = 0;
                }
                rest = later;
            }
        }
        pad(&mut block, filled);
        if filled >= LENGTH_AT {
            compress256(&mut state, &[block]);
            block = [0; 64];
        }
        put_length(&mut block, len);
        compress256(&mut state, &[block]);
        let mut last = outer_block(&state);
        let mac = bytes(&self.outer(&last));
        erase(&mut state);
        erase(&mut block);
        erase(&mut last);
        mac
    }

    /// The inner hash of a message of one block, as [`one_block`] pads it; of a state that nothing was begun with.
    pub(crate) fn inner(&self, block: &MessageBlock) -> State {
        after(&self.inner, block)
    }
    /// The outer hash, of the block that [`outer_block`] makes of the inner one: the MAC.
    pub(crate) fn outer(&self, block: &MessageBlock) -> State {
        after(&self.outer, block)
    }
}

impl Drop for Keyed {
    fn drop(&mut self) {
        erase(&mut self.inner);
        erase(&mut self.outer);
    }
}

/// A block for messages of `len` bytes, at most 55, that the caller writes to its beginning.
pub(crate) const fn one_block(len: usize) -> MessageBlock {
    assert!(len < LENGTH_AT);
    let mut block = [0; 64];
    block[len] = 0x80;
    let bits = (8 * (64 + len)) as u16;
    [block[62], block[63]] = bits.to_be_bytes();
    block
}

/// The outer hash's block: the inner hash and its padding.
#[inline]
pub(crate) fn outer_block(inner: &State) -> MessageBlock {
    const PADDED: MessageBlock = one_block(32);
    let mut block = PADDED;
    put(inner, &mut block);
    block
}

/// A hash's bytes: its words, big-endian.
#[inline]
pub(crate) fn bytes(hash: &State) -> [u8; 32] {
    let mut bytes = [0; 32];
    put(hash, &mut bytes);
    bytes
}

#[inline]
fn put(hash: &State, to: &mut [u8]) {
    for (to, word) in to.as_chunks_mut::<4>().0.iter_mut().zip(hash) {
        *to = word.to_be_bytes();
    }
}

/// Overwrites a secret by zeros in a way that the compiler keeps. Whole arrays at once: `zeroize` writes elements one by
/// one, which for bytes takes longer than what is computed with them here.
pub(crate) fn erase<T: Copy + Default>(secret: &mut [T]) {
    secret.fill(T::default());
    zeroize::optimization_barrier(secret);
}

fn after(state: &State, block: &MessageBlock) -> State {
    let mut state = *state;
    compress256(&mut state, &[*block]);
    state
}

/// Ends a message whose last block holds `filled` bytes: a bit 1, then zeros.
fn pad(block: &mut MessageBlock, filled: usize) {
    let (_, rest) = block.split_at_mut(filled);
    rest.fill(0);
    if let Some(first) = rest.first_mut() {
        *first = 0x80;
    }
}

/// Writes the length of a message of `len` bytes to its last block.
fn put_length(block: &mut MessageBlock, len: usize) {
    let (_, room) = block.split_at_mut(LENGTH_AT);
    room.copy_from_slice(&(8 * len as u64).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;
    use sha2::Sha256;

    fn elsewhere(key: &[u8], message: &[u8]) -> [u8; 32] {
        Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(message).finalize().into_bytes().into()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Every length up to three blocks: padding and its second block begin at 55 and 56.
        #[test]
        fn macs_are_those_of_a_general_implementation(key: [u8; 32], fill: u8, cuts in prop::collection::vec(0..200usize, 0..4)) {
            for len in 0..200 {
                let message: Vec<u8> = (0..len).map(|i| fill.wrapping_mul(i as u8)).collect();
                let mut places: Vec<usize> = cuts.iter().map(|cut| (*cut).min(len)).chain([0, len]).collect();
                places.sort_unstable();
                let parts: Vec<&[u8]> = places.windows(2).map(|w| &message[w[0]..w[1]]).collect();
                prop_assert_eq!(Keyed::new(&key).mac(&parts), elsewhere(&key, &message));
            }
        }

        #[test]
        fn a_message_begun_before(key: [u8; 32], first: [u8; 64], rest in prop::collection::vec(any::<u8>(), 0..150)) {
            let message = [first.as_slice(), &rest].concat();
            prop_assert_eq!(Keyed::new(&key).begun(&first).mac(&[&rest]), elsewhere(&key, &message));
        }

        #[test]
        fn a_message_of_one_block_step_by_step(key: [u8; 64], message: [u8; 33]) {
            let mut block = one_block(33);
            block[..33].copy_from_slice(&message);
            let keyed = Keyed::new(&key);
            let stepped = bytes(&keyed.outer(&outer_block(&keyed.inner(&block))));
            prop_assert_eq!(stepped, elsewhere(&key, &message));
        }
    }
}
