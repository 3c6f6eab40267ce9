//! How often each similarity level occurs among random pairs of a party's own records: what chance agreement looks like.

use linkage_agreement::Layout;
use linkage_crypto::derive::BlockSecret;
use linkage_encoding::Identity;
use linkage_encoding::fields::Prepared;
use linkage_encoding::records::shuffle;
use linkage_linking::{Comparer, LevelFrequencies};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use crate::error::NodeError;

/// Identities among which random pairs are drawn.
const LEVEL_SAMPLE: usize = 20_000;
/// Random pairs drawn.
const LEVEL_PAIRS: u64 = 200_000;

/// How often each similarity level occurs among random pairs of `identities`, small counts suppressed. `seed` decides
/// the throw-away block key and the pairs, so that a repetition sends the same table.
pub fn level_frequencies(layout: &Layout, identities: &[&Identity], seed: &[u8; 32]) -> Result<LevelFrequencies, NodeError> {
    let mut rng = ChaCha20Rng::from_seed(*seed);
    let block = BlockSecret::generate(&mut rng);
    let mut chosen: Vec<&Identity> = identities.to_vec();
    shuffle(&mut chosen, &mut rng);
    chosen.truncate(LEVEL_SAMPLE);
    let encoded: Vec<(u32, Vec<u8>)> = chosen
        .par_iter()
        .map(|identity| {
            let prepared = Prepared::new(layout, identity)?;
            let mut payload = vec![0; layout.payload_len];
            prepared.encode(layout, &block, &mut payload)?;
            Ok((prepared.header(), payload))
        })
        .collect::<Result<_, NodeError>>()?;
    let comparer = Comparer::new(layout)?;
    let mut frequencies = LevelFrequencies::new(layout);
    let n = encoded.len() as u64;
    if n >= 2 {
        for _ in 0..LEVEL_PAIRS.min(n * (n - 1) / 2) {
            let a = rng.next_u64() % n;
            let b = (a + 1 + rng.next_u64() % (n - 1)) % n;
            let ((header_a, a), (header_b, b)) = (&encoded[a as usize], &encoded[b as usize]);
            let vector = comparer.compare(*header_a, *header_b, std::iter::once((a.as_slice(), b.as_slice())))?;
            frequencies.observe(comparer.dimensions(), &vector);
        }
    }
    frequencies.suppress();
    Ok(frequencies)
}
