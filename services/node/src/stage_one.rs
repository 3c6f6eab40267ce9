//! Stage 1, from identities to archived records: block keys, block secrets, field filters, padding, decoys, and how often
//! similarity levels occur by chance. The one step that needs names.

use std::collections::HashMap;

use linkage_agreement::{Agreement, Layout, Period, RecordRef};
use linkage_crypto::derive::BlockSecret;
use linkage_encoding::fields::Prepared;
use linkage_encoding::records::{StageOneRecord, encode_decoy, encode_record, shuffle};
use linkage_encoding::{Identity, PassSet, block_keys};
use linkage_linking::{Comparer, LevelFrequencies};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, Rng, SeedableRng};
use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::archive::{ArchivedRecord, SECRET_LEN};
use crate::error::NodeError;
use crate::oprf::{BATCH, Evaluator};
use crate::progress::Progress;

/// The custodian's key lives as long as the agreement; its epoch changes with a key rotation only.
const EPOCH: u32 = 1;
/// Identities among which random pairs are drawn.
const LEVEL_SAMPLE: usize = 20_000;
/// Random pairs drawn.
const LEVEL_PAIRS: u64 = 200_000;

/// Evaluations kept from earlier deliveries, under keyed digests of their inputs.
pub trait EvaluationCache {
    /// The block secret of an input evaluated before.
    fn get(&self, input: &[u8]) -> Option<BlockSecret>;
    /// Keeps evaluations that were just made.
    fn keep(&mut self, inputs: &[Vec<u8>], secrets: &[BlockSecret]) -> Result<(), NodeError>;
    /// A secret for one purpose. A node killed between asking and keeping asks again with the same bytes, which the
    /// custodian does not charge twice: order and blinding of requests therefore come from here.
    fn secret(&self, purpose: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]>;
}

/// Keeps nothing, and every secret is fresh: for a trial.
pub struct NoCache;

impl EvaluationCache for NoCache {
    fn get(&self, _: &[u8]) -> Option<BlockSecret> {
        None
    }
    fn keep(&mut self, _: &[Vec<u8>], _: &[BlockSecret]) -> Result<(), NodeError> {
        Ok(())
    }
    fn secret(&self, _: &str, _: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let mut secret = Zeroizing::new([0; 32]);
        linkage_common::rng().fill_bytes(secret.as_mut_slice());
        secret
    }
}

/// What stage 1 makes of a delivery's new and changed records.
pub struct Encoded {
    /// Records, in random order, decoys among them.
    pub records: Vec<ArchivedRecord>,
    /// References of the decoys.
    pub decoys: Vec<RecordRef>,
}

/// Encodes `identities` and adds the agreement's share of decoys.
pub async fn encode(
    agreement: &Agreement,
    passes: &PassSet,
    identities: &[(RecordRef, Identity)],
    period: Period,
    evaluator: &mut Evaluator,
    cache: &mut impl EvaluationCache,
    progress: &Progress,
) -> Result<Encoded, NodeError> {
    let layout = agreement.layout();
    let tokens = layout.tokens_per_record;
    let id = agreement.agreement.id.as_str();
    let inputs_of: Vec<Vec<Vec<u8>>> = identities
        .par_iter()
        .map(|(_, identity)| {
            block_keys(identity, passes, agreement.encoding.expected_records, tokens)
                .iter()
                .map(|k| k.oprf_input(id, EPOCH))
                .collect()
        })
        .collect();
    let secrets = block_secrets(&inputs_of, period, evaluator, cache, &progress.step("oprf")).await?;

    let step = progress.step("encode");
    let mut records: Vec<ArchivedRecord> = identities
        .par_iter()
        .zip(&inputs_of)
        .map(|((reference, identity), inputs)| {
            let real: Vec<BlockSecret> =
                inputs.iter().filter_map(|i| secrets.get(i.as_slice())).map(|s| BlockSecret::from_bytes(s.as_bytes())).collect();
            Ok(archived(*reference, &encode_record(&layout, identity, &real, &mut linkage_common::rng())?))
        })
        .collect::<Result<_, NodeError>>()?;
    let mut rng = linkage_common::rng();
    let mut decoys = Vec::new();
    for _ in 0..identities.len() * agreement.encoding.decoys_percent as usize / 100 {
        let (_, identity) = &identities[(rng.next_u64() % identities.len() as u64) as usize];
        let reference = random_ref(&mut rng);
        records.push(archived(reference, &encode_decoy(&layout, identity, &mut rng)?));
        decoys.push(reference);
    }
    shuffle(&mut records, &mut rng);
    step.at(identities.len() as u64, identities.len() as u64);
    Ok(Encoded { records, decoys })
}

/// The secret of every distinct input, from the cache or the evaluator.
async fn block_secrets<'i>(
    inputs_of: &'i [Vec<Vec<u8>>],
    period: Period,
    evaluator: &mut Evaluator,
    cache: &mut impl EvaluationCache,
    progress: &Progress,
) -> Result<HashMap<&'i [u8], BlockSecret>, NodeError> {
    let mut secrets: HashMap<&[u8], BlockSecret> = HashMap::new();
    let mut fresh: Vec<&[u8]> = Vec::new();
    let mut known = std::collections::HashSet::new();
    for input in inputs_of.iter().flatten() {
        if !known.insert(input.as_slice()) {
            continue;
        }
        match cache.get(input) {
            Some(secret) => {
                secrets.insert(input, secret);
            }
            None => fresh.push(input),
        }
    }
    // The custodian counts and times requests: in an order of their own they follow no file. The same order after an
    // interruption makes the same batches of what was not kept yet.
    let month = period.to_string();
    fresh.sort_by_cached_key(|input| *cache.secret("order of evaluations", &[month.as_bytes(), input]));
    let owned: Vec<Vec<u8>> = fresh.iter().map(|i| i.to_vec()).collect();
    let seeds: Vec<Zeroizing<[u8; 32]>> = owned
        .chunks(BATCH)
        .map(|batch| {
            let mut parts = vec![month.as_bytes()];
            parts.extend(batch.iter().map(Vec::as_slice));
            cache.secret("blinding", &parts)
        })
        .collect();
    progress.at(0, owned.len() as u64);
    let made = evaluator
        .evaluate(period, &owned, &seeds, progress, |from, batch| cache.keep(&owned[from..from + batch.len()], batch))
        .await?;
    secrets.extend(fresh.into_iter().zip(made));
    Ok(secrets)
}

fn archived(reference: RecordRef, record: &StageOneRecord) -> ArchivedRecord {
    let mut entries = Zeroizing::new(Vec::with_capacity(record.entries.len() * (SECRET_LEN + 128)));
    for entry in &record.entries {
        entries.extend_from_slice(entry.secret.as_bytes());
        entries.extend_from_slice(&entry.payload);
    }
    ArchivedRecord { reference, header: record.header, entries }
}

/// Draws a record reference.
pub fn random_ref(rng: &mut impl CryptoRng) -> RecordRef {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    RecordRef(bytes)
}

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
