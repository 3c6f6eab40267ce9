//! Record references and sealed attributes, as the batches that the custodian receives.
//!
//! A manifest states the batches' digests and comes before them, in case they were sent before; so the batches are made
//! twice, from the same randomness, and never held together.

use std::collections::HashMap;

use hmac::{Hmac, KeyInit, Mac};
use linkage_agreement::RecordRef;
use linkage_common::attributes::{PLACE, pad};
use linkage_common::error::ServiceError;
use linkage_crypto::seal::SealingPublicKey;
use linkage_crypto::storage::StorageKey;
use linkage_proto::MAX_BATCH_BYTES;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::encodings::PlacedSegment;
use crate::error::NodeError;
use crate::node::DeliveredRecord;

/// Household and attributes of every record delivered, as JSON of one length: a length would tell a value.
pub(super) struct Attributes {
    delivered: Vec<DeliveredRecord>,
    by_reference: HashMap<RecordRef, usize>,
    longest: usize,
}

impl Attributes {
    /// Of a delivery's records.
    pub(super) fn new(delivered: Vec<DeliveredRecord>) -> Result<Self, NodeError> {
        let mut by_reference = HashMap::with_capacity(delivered.len());
        let mut longest = 0;
        for (position, record) in delivered.iter().enumerate() {
            longest = longest.max(json(record)?.len());
            let reference = RecordRef::from_hex(&record.reference);
            by_reference.insert(reference.ok_or_else(|| NodeError::Damaged("livraison".to_owned()))?, position);
        }
        Ok(Self { delivered, by_reference, longest })
    }

    /// Of one record; `None` when it is not in the delivery.
    fn of(&self, reference: &RecordRef) -> Result<Option<Vec<u8>>, NodeError> {
        let record = self.by_reference.get(reference).and_then(|position| self.delivered.get(*position));
        let Some(record) = record else { return Ok(None) };
        let mut json = json(record)?;
        pad(&mut json, self.longest);
        Ok(Some(json))
    }
}

fn json(record: &DeliveredRecord) -> Result<Vec<u8>, NodeError> {
    let values: Vec<Option<&str>> =
        std::iter::once(record.household.as_deref()).chain(record.attributes.iter().map(Option::as_deref)).collect();
    serde_json::to_vec(&values).map_err(|_| NodeError::Configuration("attributs".to_owned()))
}

/// What the batches are made of; the same twice.
pub(super) struct RecordSource {
    /// Records, in order.
    pub(super) segments: Vec<PlacedSegment>,
    /// What is sealed.
    pub(super) attributes: Attributes,
    /// Where all randomness comes from; it depends on everything that is sealed.
    seed: Zeroizing<[u8; 32]>,
    /// What sealed keys are bound to.
    pub(super) info: Vec<u8>,
    /// Analysts and their public keys, in the agreement's order.
    pub(super) analysts: Vec<(String, String)>,
}

impl RecordSource {
    /// Of these records, for these analysts, from the `seed` of the run.
    ///
    /// The same run may be sent again after the archive has changed. Keys and nonces of AES-GCM must not meet other plaintext
    /// then (NIST SP 800-38D, section 8), so they come from the seed and from all that is sealed: the same again gives the
    /// same bytes, and anything else gives keys that have nothing to do with the former.
    pub(super) fn new(
        seed: &[u8; 32],
        segments: Vec<PlacedSegment>,
        attributes: Attributes,
        info: Vec<u8>,
        analysts: Vec<(String, String)>,
    ) -> Result<Self, NodeError> {
        let mut source = Self { segments, attributes, seed: Zeroizing::new([0; 32]), info, analysts };
        let mut bound: Hmac<Sha256> =
            KeyInit::new_from_slice(seed).map_err(|_| NodeError::Configuration("attributs".to_owned()))?;
        let mut add = |part: &[u8]| {
            bound.update(&(part.len() as u64).to_le_bytes());
            bound.update(part);
        };
        for (analyst, key) in &source.analysts {
            add(analyst.as_bytes());
            add(key.as_bytes());
        }
        for (handle, reference) in source.records() {
            add(&handle);
            add(&reference.0);
            add(&source.attributes.of(&reference)?.unwrap_or_default());
        }
        source.seed.copy_from_slice(&bound.finalize().into_bytes());
        Ok(source)
    }

    /// Handle and reference of every record that is not a decoy, in order.
    fn records(&self) -> impl Iterator<Item = ([u8; 16], RecordRef)> + Send + '_ {
        self.segments.iter().flat_map(|s| &s.records).filter(|r| !r.decoy).map(|r| (r.handle.0, r.reference))
    }

    /// A key for every analyst, and the batches that are sealed under them.
    pub(super) fn batches(&self) -> Result<RecordBatches<'_>, NodeError> {
        let mut rng = ChaCha20Rng::from_seed(*self.seed);
        let mut keys = Vec::new();
        let mut sealed_keys = HashMap::new();
        for (analyst, public) in &self.analysts {
            let key = StorageKey::generate(&mut rng);
            let public = SealingPublicKey::from_base64(public).map_err(ServiceError::configuration)?;
            let bytes = linkage_crypto::keyfile::decode(&key.to_key_file()).map_err(ServiceError::configuration)?;
            sealed_keys.insert(analyst.clone(), public.seal(&self.info, &[], bytes.as_slice(), &mut rng)?.into());
            keys.push(key);
        }
        Ok(RecordBatches {
            attributes: &self.attributes,
            records: Box::new(self.records()),
            keys,
            rng,
            sealed_keys,
            begun: Some(Vec::new()),
            referenced: 0,
            present: 0,
        })
    }
}

/// Batches, one after the other; at least one, and empty when there are no records.
pub(super) struct RecordBatches<'s> {
    attributes: &'s Attributes,
    records: Box<dyn Iterator<Item = ([u8; 16], RecordRef)> + Send + 's>,
    keys: Vec<StorageKey>,
    rng: ChaCha20Rng,
    /// Every analyst's key, sealed to the analyst.
    pub(super) sealed_keys: HashMap<String, bytes::Bytes>,
    /// The batch under way; `None` after the last.
    begun: Option<Vec<u8>>,
    /// Records so far.
    pub(super) referenced: u64,
    /// Of these, with attributes.
    pub(super) present: u64,
}

impl RecordBatches<'_> {
    fn entry(&mut self, handle: [u8; 16], reference: &RecordRef) -> Result<Vec<u8>, NodeError> {
        let mut entry = Vec::new();
        entry.extend_from_slice(&handle);
        entry.extend_from_slice(&reference.0);
        let attributes = self.attributes.of(reference)?;
        entry.push(u8::from(attributes.is_some()));
        if let Some(plain) = attributes {
            self.present += 1;
            for key in &self.keys {
                let sealed = key
                    .seal(PLACE, &plain, &mut self.rng)
                    .map_err(|source| NodeError::State { file: "attributs".to_owned(), source })?;
                entry.extend_from_slice(&(sealed.len() as u16).to_le_bytes());
                entry.extend_from_slice(&sealed);
            }
        }
        self.referenced += 1;
        Ok(entry)
    }
}

impl Iterator for RecordBatches<'_> {
    type Item = Result<Vec<u8>, NodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut batch = self.begun.take()?;
        while let Some((handle, reference)) = self.records.next() {
            let entry = match self.entry(handle, &reference) {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            if batch.len() + entry.len() > MAX_BATCH_BYTES {
                self.begun = Some(entry);
                return Some(Ok(batch));
            }
            batch.extend_from_slice(&entry);
        }
        Some(Ok(batch))
    }
}

#[cfg(test)]
mod tests {
    use linkage_agreement::Handle;
    use linkage_crypto::seal::SealingKey;

    use super::super::encodings::Placed;
    use super::*;

    fn source(values: &[&str]) -> RecordSource {
        let delivered = |(n, value): (usize, &&str)| DeliveredRecord {
            reference: RecordRef([n as u8 + 1; 16]).to_hex(),
            household: None,
            attributes: vec![Some((*value).to_owned())],
        };
        let attributes = Attributes::new(values.iter().enumerate().map(delivered).collect()).unwrap();
        let placed = |n: usize| Placed {
            position: n as u32,
            reference: RecordRef([n as u8 + 1; 16]),
            handle: Handle([n as u8; 16]),
            decoy: false,
            held: false,
        };
        let segments = vec![PlacedSegment { number: 0, records: (0..values.len()).map(placed).collect() }];
        let key = SealingKey::from_bytes(&[9; 32]).public_key().to_base64();
        RecordSource::new(&[3; 32], segments, attributes, b"info".to_vec(), vec![("etude".to_owned(), key)]).unwrap()
    }

    fn bytes(source: &RecordSource) -> Vec<u8> {
        source.batches().unwrap().map(Result::unwrap).collect::<Vec<_>>().concat()
    }

    #[test]
    fn the_same_gives_the_same_bytes_and_a_change_leaves_no_key_or_nonce_as_it_was() {
        let first = source(&["RUE", "HEB", "LOG"]);
        assert_eq!(bytes(&first), bytes(&source(&["RUE", "HEB", "LOG"])));
        let changed = source(&["RUE", "LOG", "LOG"]);
        let keys = |s: &RecordSource| s.batches().unwrap().sealed_keys;
        assert_ne!(keys(&first), keys(&changed));
        // What follows the handle, the reference, the flag and the length: nonce and ciphertext.
        let entry = bytes(&first).len() / 3;
        for (a, b) in bytes(&first).chunks(entry).zip(bytes(&changed).chunks(entry)) {
            assert_eq!(a[..35], b[..35]);
            assert_ne!(a[35..47], b[35..47]);
        }
    }
}
