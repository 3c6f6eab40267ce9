//! A record's entries: exactly as many as the agreement has tokens, real and padding in random order.
//!
//! A padding entry is a real payload under a random secret, so that neither the archive nor the broker can tell it from a
//! real one before a token meets. A decoy record is a real identity with random secrets throughout: its tokens never
//! meet, and it hides how many records a party sent.

use linkage_agreement::Layout;
use linkage_crypto::derive::BlockSecret;
use linkage_crypto::payloads::PayloadWriter;
use rand_core::CryptoRng;
use zeroize::Zeroize;

use crate::fields::{EncodeError, Prepared, WordFacts};
use crate::identity::Identity;
use crate::memo::Memo;

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
    let secrets = padded(layout, real, rng);
    let mut entries = Vec::with_capacity(secrets.len());
    for secret in secrets {
        let mut payload = vec![0; layout.payload_len];
        prepared.encode(layout, &secret, &mut payload)?;
        entries.push(StageOneEntry { secret, payload });
    }
    Ok(StageOneRecord { header: prepared.header(), entries })
}

/// Encodes one record after the other as [`encode_record`] does, into entries as the archive holds them.
pub struct RecordWriter {
    layout: Layout,
    payloads: PayloadWriter,
    words: Memo<WordFacts>,
}

impl std::fmt::Debug for RecordWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecordWriter(..)")
    }
}

impl RecordWriter {
    /// For records of one layout.
    ///
    /// # Errors
    /// [`EncodeError::Parameters`] when the profile does not allow its filters.
    pub fn new(layout: &Layout) -> Result<Self, EncodeError> {
        let payloads = PayloadWriter::new(layout.filter_bits, layout.hash_count)?;
        Ok(Self { layout: layout.clone(), payloads, words: Memo::default() })
    }

    /// Adds a record's entries to `out`, secret (32 bytes) and payload of each one after the other; gives the header.
    ///
    /// # Errors
    /// [`EncodeError`] when identity and layout do not belong together.
    pub fn write<R: CryptoRng + ?Sized>(
        &mut self,
        identity: &Identity,
        real: &[BlockSecret],
        rng: &mut R,
        out: &mut Vec<u8>,
    ) -> Result<u32, EncodeError> {
        let mut facts = |word: &str| self.words.get(word, WordFacts::of).copied().unwrap_or_else(|| WordFacts::of(word));
        let prepared = Prepared::with(&self.layout, identity, &mut facts)?;
        prepared.lay_out(&mut self.payloads)?;
        let start = out.len();
        let entry = BlockSecret::LEN + self.layout.payload_len;
        out.reserve_exact(self.layout.tokens_per_record * entry);
        for secret in padded(&self.layout, real, rng) {
            out.extend_from_slice(secret.as_bytes());
            out.resize(out.len() + self.layout.payload_len, 0);
        }
        self.payloads.fill(out.get_mut(start..).unwrap_or_default())?;
        Ok(prepared.header())
    }
}

/// The secrets of a record's entries: the real ones as far as there is room, random ones, in random order.
fn padded<R: CryptoRng + ?Sized>(layout: &Layout, real: &[BlockSecret], rng: &mut R) -> Vec<BlockSecret> {
    let mut secrets = Vec::with_capacity(layout.tokens_per_record);
    secrets.extend(real.iter().take(layout.tokens_per_record).map(|secret| BlockSecret::from_bytes(secret.as_bytes())));
    while secrets.len() < layout.tokens_per_record {
        secrets.push(BlockSecret::generate(rng));
    }
    shuffle(&mut secrets, rng);
    secrets
}

/// Encodes a decoy: a real identity in no block at all.
///
/// # Errors
/// [`EncodeError`] when identity and layout do not belong together.
pub fn encode_decoy<R: CryptoRng + ?Sized>(
    layout: &Layout,
    identity: &Identity,
    rng: &mut R,
) -> Result<StageOneRecord, EncodeError> {
    encode_record(layout, identity, &[], rng)
}

/// Fisher and Yates; a 64-bit draw makes the bias of the remainder negligible for any list that fits in memory.
pub fn shuffle<T, R: CryptoRng + ?Sized>(list: &mut [T], rng: &mut R) {
    for i in (1..list.len()).rev() {
        let j = (rng.next_u64() % (i as u64 + 1)) as usize;
        list.swap(i, j);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use linkage_agreement::FieldKind;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::fields::encode_payload;
    use crate::identity::FieldValue;

    fn layout() -> Layout {
        Layout::new(&[FieldKind::BirthName, FieldKind::GivenNames, FieldKind::BirthDate], 128, 4, 12)
    }
    fn identity() -> Identity {
        Identity::from_values(vec![
            (FieldKind::BirthName, FieldValue::Name(vec!["QUEMET".into()])),
            (FieldKind::GivenNames, FieldValue::Name(vec!["CAROLINE".into()])),
            (FieldKind::BirthDate, FieldValue::Date(None)),
        ])
    }
    fn rng(seed: u64) -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(seed)
    }
    fn real(count: u8) -> Vec<BlockSecret> {
        (0..count).map(|i| BlockSecret::from_bytes(&[i; 32])).collect()
    }

    #[test]
    fn every_record_has_as_many_entries_and_padding_looks_real() {
        let layout = layout();
        for count in [0, 5, 12, 30] {
            let record = encode_record(&layout, &identity(), &real(count), &mut rng(1)).unwrap();
            assert_eq!(record.entries.len(), 12);
            let kept = record.entries.iter().filter(|e| real(count).contains(&e.secret)).count();
            assert_eq!(kept, usize::from(count).min(12));
            for entry in &record.entries {
                assert_eq!(entry.payload, encode_payload(&layout, &identity(), &entry.secret).unwrap());
            }
            let distinct: HashSet<[u8; 32]> = record.entries.iter().map(|e| *e.secret.as_bytes()).collect();
            assert_eq!(distinct.len(), 12);
        }
    }

    #[test]
    fn records_written_one_after_the_other_are_those_encoded_alone() {
        let mut other = identity();
        for layout in [layout(), Layout::new(&layout().fields.iter().map(|f| f.kind).collect::<Vec<_>>(), 512, 8, 7)] {
            let mut writer = RecordWriter::new(&layout).unwrap();
            for (seed, count) in [(1, 0), (2, 5), (3, 30)] {
                let (mut out, mut one_rng) = (Vec::new(), rng(seed));
                let header = writer.write(&other, &real(count), &mut one_rng, &mut out).unwrap();
                let alone = encode_record(&layout, &other, &real(count), &mut rng(seed)).unwrap();
                let entries: Vec<u8> =
                    alone.entries.iter().flat_map(|e| [e.secret.as_bytes().as_slice(), &e.payload].concat()).collect();
                assert!(header == alone.header && out == entries, "{count}");
                other = Identity::from_values(vec![
                    (FieldKind::BirthName, FieldValue::Name(vec!["A".into(), "ABRACADABRANTESQUE".into()])),
                    (FieldKind::GivenNames, FieldValue::Name(Vec::new())),
                    (FieldKind::BirthDate, FieldValue::Date(crate::date::parse("12/03/1990", None).unwrap())),
                ]);
            }
        }
    }

    #[test]
    fn the_order_tells_nothing_and_one_seed_gives_one_record() {
        let places = |seed| {
            let record = encode_record(&layout(), &identity(), &real(4), &mut rng(seed)).unwrap();
            record.entries.iter().map(|e| real(4).contains(&e.secret)).collect::<Vec<_>>()
        };
        assert_eq!(places(1), places(1));
        let first: usize = (0..400).filter(|seed| places(*seed)[0]).count();
        assert!((90..180).contains(&first), "{first} of 400, a third expected");
    }

    #[test]
    fn a_decoy_shares_the_header_and_no_block() {
        let decoy = encode_decoy(&layout(), &identity(), &mut rng(1)).unwrap();
        let record = encode_record(&layout(), &identity(), &real(12), &mut rng(2)).unwrap();
        assert_eq!((decoy.header, decoy.entries.len()), (record.header, 12));
        assert!(decoy.entries.iter().all(|d| record.entries.iter().all(|e| e.secret != d.secret)));
    }

    #[test]
    fn debug_shows_nothing() {
        let record = encode_record(&layout(), &identity(), &real(1), &mut rng(1)).unwrap();
        assert!(format!("{record:?}").starts_with("StageOneRecord { header: "));
        assert!(format!("{:?}", record.entries[0]) == "StageOneEntry(..)");
    }
}
