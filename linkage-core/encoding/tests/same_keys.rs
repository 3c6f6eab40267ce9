//! The inputs of the block keys of a whole population, pinned: two versions of the software meet in the same blocks.
//!
//! A change here changes which blocks two partners share, and so needs a new version of the encoding profile.
#![allow(clippy::unwrap_used)]

mod population;

use linkage_agreement::Layout;
use linkage_crypto::derive::BlockSecret;
use linkage_encoding::fields::Prepared;
use linkage_encoding::records::RecordWriter;
use linkage_encoding::{PassSet, block_keys};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sha2::{Digest, Sha256};

/// How many keys, and a digest of every input with its length, record by record.
fn digest(set: &str, with_text: bool, expected_records: u64, max: usize) -> (usize, String) {
    let set = PassSet::named(set).unwrap();
    let mut digest = Sha256::new();
    let mut count = 0;
    for identity in population::identities(1500, 7, with_text) {
        let keys = block_keys(&identity, &set, expected_records, max);
        count += keys.len();
        digest.update((keys.len() as u32).to_le_bytes());
        for key in keys {
            let input = key.oprf_input("agreement-1", 3);
            digest.update((input.len() as u32).to_le_bytes());
            digest.update(&input);
        }
    }
    (count, hex(&digest.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(16).map(|b| format!("{b:02x}")).collect()
}

#[test]
fn the_keys_of_a_population_are_those_of_the_profile() {
    let found: Vec<(usize, String)> = [
        ("fr-1", false, 1_000_000, 20),
        ("fr-1", true, 20_000, 8),
        ("fr-1", false, 400_000, 200),
        ("generic-1", true, 50_000, 20),
    ]
    .map(|(set, text, n, max)| digest(set, text, n, max))
    .to_vec();
    let pinned = [
        (23191, "fc1fe6b9ad12a2520e4fbedc52686376"),
        (11671, "c8eb0d76fd0d06cedadd8b594e938e35"),
        (47056, "c72078bc3220d67a882d68eff043e7c7"),
        (25158, "8e5110ffe08736ab417df3e7130a5734"),
    ];
    assert_eq!(found, pinned.map(|(count, digest)| (count, digest.to_owned())));
}

#[test]
fn the_payloads_of_a_population_are_those_of_the_profile() {
    let mut digest = Sha256::new();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for identity in population::identities(1500, 8, true) {
        let kinds: Vec<_> = identity.fields().map(|(kind, _)| kind).collect();
        let layout = Layout::new(&kinds, 256, 4, 20);
        let prepared = Prepared::new(&layout, &identity).unwrap();
        digest.update(prepared.header().to_le_bytes());
        for secret in [[1; 32], [2; 32]] {
            let mut payload = vec![0; layout.payload_len];
            prepared.encode(&layout, &BlockSecret::from_bytes(&secret), &mut payload).unwrap();
            digest.update(&payload);
        }
        // All blocks at once make the same payloads.
        let mut entries = Vec::new();
        let header = RecordWriter::new(&layout).unwrap().write(&identity, &[], &mut rng, &mut entries).unwrap();
        assert_eq!(header, prepared.header());
        for entry in entries.chunks(32 + layout.payload_len) {
            let (secret, written) = entry.split_at(32);
            let mut payload = vec![0; layout.payload_len];
            prepared.encode(&layout, &BlockSecret::from_bytes(secret.try_into().unwrap()), &mut payload).unwrap();
            assert_eq!(written, payload);
        }
    }
    assert_eq!(hex(&digest.finalize()), "77b97c25aec58a66f4be4d8a80c8c012");
}
