//! Keys of persons: what cell keys are sums of.
//!
//! A person's key is a number that looks random to whoever lacks the secret and stays the same for the agreement's life,
//! so that the same persons have the same cell key, and with it the same noise, in every table, month and release
//! (Thompson, Broadfoot, Elazar 2013). Who knew the keys could take the noise off again: the
//! secret is the analyst's, kept in a file, and shown nowhere.

use hmac::{Hmac, KeyInit, Mac};
use linkage_agreement::Pseudonym;
use sha2::Sha256;

const LABEL: &[u8] = b"linkage/disclosure/1/person";

/// Keys of persons, by number: the first 8 bytes, little-endian, of HMAC-SHA256(secret, label, pseudonym).
///
/// Merged and split persons keep the keys of the pseudonyms that they bear after the supersession: a table made before
/// it and one made after it hold different sets.
pub fn person_keys(secret: &[u8; 32], pseudonyms: &[Pseudonym]) -> Vec<u64> {
    let Ok(mut labelled) = Hmac::<Sha256>::new_from_slice(secret) else { return vec![0; pseudonyms.len()] };
    labelled.update(LABEL);
    let key = |pseudonym: &Pseudonym| {
        let mut mac = labelled.clone();
        mac.update(pseudonym.as_ref());
        mac.finalize().into_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    pseudonyms.iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_depend_on_secret_and_pseudonym_alone() {
        let persons: Vec<Pseudonym> = (0..50u8).map(|n| Pseudonym([n; 16])).collect();
        let keys = person_keys(&[7; 32], &persons);
        assert_eq!(keys, person_keys(&[7; 32], &persons));
        assert_eq!(keys[3], person_keys(&[7; 32], &persons[3..4])[0], "whatever else is in the list");
        let other = person_keys(&[8; 32], &persons);
        assert!(keys.iter().zip(&other).all(|(a, b)| a != b));
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), 50);
    }

    #[test]
    fn vector() {
        // python3: hmac.new(bytes([7]*32), b"linkage/disclosure/1/person" + bytes([1]*16), "sha256").digest()[:8]
        assert_eq!(person_keys(&[7; 32], &[Pseudonym([1; 16])]), [VECTOR]);
    }
    const VECTOR: u64 = 0x6857_b68c_2436_7d4a;
}
