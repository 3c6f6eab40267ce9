//! A record's entries: exactly as many as the agreement has tokens, real and padding in random order.
//!
//! A padding entry is a real payload under a random secret, so that neither the archive nor the broker can tell it from a
//! real one before a token meets. A decoy record is a real identity with random secrets throughout: its tokens never
//! meet, and it hides how many records a party sent.

use linkage_agreement::Layout;
use linkage_crypto::derive::BlockSecret;
use rand_core::CryptoRng;
use zeroize::Zeroize;

use crate::fields::{EncodeError, Prepared};
use crate::identity::Identity;

/// What stage 1 keeps of one record: all that later runs need.
#[derive(Debug)]
pub struct StageOneRecord {
    /// The header, in clear: date quality and rarity classes.
    pub header: u32,
    /// Exactly `tokens_per_record` entries, in random order.
    pub entries: Vec<StageOneEntry>,
}

/// One entry of the archive.
pub struct StageOneEntry {
    /// The block's secret.
    pub secret: BlockSecret,
    /// The payload under that secret, `payload_len` bytes.
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for StageOneEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StageOneEntry(..)")
    }
}
impl Drop for StageOneEntry {
    fn drop(&mut self) {
        self.payload.zeroize();
    }
}

/// Encodes a record in its blocks: the first `tokens_per_record` of `real`, then padding.
///
/// # Errors
/// [`EncodeError`] when identity and layout do not belong together.
pub fn encode_record<R: CryptoRng + ?Sized>(
    layout: &Layout,
    identity: &Identity,
    real: &[BlockSecret],
    rng: &mut R,
) -> Result<StageOneRecord, EncodeError> {
    let prepared = Prepared::new(layout, identity)?;
    let mut secrets: Vec<BlockSecret> =
        real.iter().take(layout.tokens_per_record).map(|secret| BlockSecret::from_bytes(secret.as_bytes())).collect();
    while secrets.len() < layout.tokens_per_record {
        secrets.push(BlockSecret::generate(rng));
    }
    shuffle(&mut secrets, rng);
    let mut entries = Vec::with_capacity(secrets.len());
    for secret in secrets {
        let mut payload = vec![0; layout.payload_len];
        prepared.encode(layout, &secret, &mut payload)?;
        entries.push(StageOneEntry { secret, payload });
    }
    Ok(StageOneRecord { header: prepared.header(), entries })
}

/// Encodes a decoy: a real identity in no block at all.
///
/// # Errors
/// [`EncodeError`] when identity and layout do not belong together.
pub fn encode_decoy<R: CryptoRng + ?Sized>(layout: &Layout, identity: &Identity, rng: &mut R) -> Result<StageOneRecord, EncodeError> {
    encode_record(layout, identity, &[], rng)
}

/// Fisher and Yates; a 64-bit draw makes the bias of the remainder negligible for any list that fits in memory.
fn shuffle<T, R: CryptoRng + ?Sized>(list: &mut [T], rng: &mut R) {
    for i in (1..list.len()).rev() {
        let j = (rng.next_u64() % (i as u64 + 1)) as usize;
        list.swap(i, j);
    }
}
