//! Stage 1, from identities to archived records: block keys, block secrets, field filters, padding, decoys. The one step
//! that needs names.
//!
//! Records are taken in an order drawn at random, decoys among them, and go chunk by chunk to whoever keeps them: memory
//! holds one chunk, and with a custodian the block secrets (module [`secrets`]).

pub mod levels;
pub mod secrets;

use std::sync::{Mutex, PoisonError};

use linkage_agreement::{Agreement, Layout, Period, RecordRef};
use linkage_crypto::derive::{BlockSecret, SharedKey};
use linkage_encoding::records::{RecordWriter, shuffle};
use linkage_encoding::{BlockInputs, Identity, KeyMaker, PassSet};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, Rng, SeedableRng};
use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::archive::ArchivedRecord;
use crate::error::NodeError;
use crate::oprf::Evaluator;
use crate::progress::Progress;
pub use levels::level_frequencies;
use secrets::Secrets;
pub use secrets::{EvaluationCache, Kept, NoCache};

/// Records that leave stage 1 together: whole segments of the archive, some 30 MB.
const CHUNK: usize = 8192;
/// Records that one core takes at a time.
const PIECE: usize = 256;

/// What stage 1 makes of some of a delivery's new and changed records.
pub struct EncodedChunk {
    /// Records, in random order, decoys among them.
    pub records: Vec<ArchivedRecord>,
    /// References of the decoys.
    pub decoys: Vec<RecordRef>,
}

/// Encodes `identities` and adds the agreement's share of decoys; `sink` receives all records, chunk by chunk.
#[expect(clippy::too_many_arguments, reason = "a delivery, the agreement's terms, where secrets come from and where records go")]
pub async fn encode(
    agreement: &Agreement,
    passes: &PassSet,
    identities: &[(RecordRef, &Identity)],
    period: Period,
    evaluator: &mut Evaluator,
    cache: &mut impl EvaluationCache,
    progress: &Progress,
    mut sink: impl FnMut(EncodedChunk) -> Result<(), NodeError>,
) -> Result<(), NodeError> {
    let layout = agreement.layout();
    let makers = Makers::new(agreement, passes);
    let writers = Pool::default();
    let secrets = match evaluator.shared() {
        Some(_) => None,
        None => Some(Secrets::evaluate(&makers, identities, period, evaluator, cache, &progress.step("oprf")).await?),
    };
    let source = match (evaluator.shared(), &secrets) {
        (Some(key), _) => Source::Shared(key, &makers),
        (None, Some(secrets)) => Source::Evaluated(secrets),
        (None, None) => return Ok(()),
    };
    let step = progress.step("encode");
    let order = drawn_order(identities.len(), agreement.encoding.decoys_percent as usize);
    let mut done = 0;
    step.at(0, order.len() as u64);
    for chunk in order.chunks(CHUNK) {
        let pieces: Vec<EncodedChunk> = chunk
            .par_chunks(PIECE)
            .map(|piece| encode_piece(&layout, &writers, identities, piece, &source))
            .collect::<Result<_, _>>()?;
        let mut encoded = EncodedChunk { records: Vec::with_capacity(chunk.len()), decoys: Vec::new() };
        for piece in pieces {
            encoded.records.extend(piece.records);
            encoded.decoys.extend(piece.decoys);
        }
        sink(encoded)?;
        done += chunk.len() as u64;
        step.at(done, order.len() as u64);
    }
    Ok(())
}

/// Where a record's block secrets come from.
enum Source<'s> {
    /// A key that all parties share.
    Shared(&'s SharedKey, &'s Makers<'s>),
    /// The custodian's evaluations.
    Evaluated(&'s Secrets),
}

/// A place in the order of the records: which identity, and whether it stands for a decoy.
#[derive(Clone, Copy)]
struct Drawn {
    identity: u32,
    decoy: bool,
}

/// All records once and decoys of records drawn at random, in an order that says nothing of the file.
fn drawn_order(records: usize, decoys_percent: usize) -> Vec<Drawn> {
    let mut rng = local_rng();
    let decoys = records * decoys_percent / 100;
    let mut order: Vec<Drawn> = (0..records as u32).map(|identity| Drawn { identity, decoy: false }).collect();
    order.extend((0..decoys).map(|_| Drawn { identity: (rng.next_u64() % records as u64) as u32, decoy: true }));
    shuffle(&mut order, &mut rng);
    order
}

fn encode_piece(
    layout: &Layout,
    writers: &Pool<RecordWriter>,
    identities: &[(RecordRef, &Identity)],
    piece: &[Drawn],
    source: &Source,
) -> Result<EncodedChunk, NodeError> {
    let mut rng = local_rng();
    let real = real_secrets(identities, piece, source);
    let mut writer = writers.take().map_or_else(|| RecordWriter::new(layout), Ok)?;
    let mut encoded = EncodedChunk { records: Vec::with_capacity(piece.len()), decoys: Vec::new() };
    for (drawn, real) in piece.iter().zip(&real) {
        let Some((reference, identity)) = identities.get(drawn.identity as usize) else { continue };
        let reference = if drawn.decoy { random_ref(&mut rng) } else { *reference };
        let mut entries = Zeroizing::new(Vec::new());
        let header = writer.write(identity, real, &mut rng, &mut entries)?;
        if drawn.decoy {
            encoded.decoys.push(reference);
        }
        encoded.records.push(ArchivedRecord { reference, header, entries });
    }
    writers.put(writer);
    Ok(encoded)
}

/// The secrets of each record's blocks; a decoy is in none.
fn real_secrets(identities: &[(RecordRef, &Identity)], piece: &[Drawn], source: &Source) -> Vec<Vec<BlockSecret>> {
    match source {
        Source::Evaluated(secrets) => {
            piece.iter().map(|drawn| if drawn.decoy { Vec::new() } else { secrets.of(drawn.identity as usize) }).collect()
        }
        Source::Shared(key, makers) => makers.with(|maker, inputs| {
            for (drawn, (_, identity)) in piece.iter().filter_map(|drawn| Some((drawn, identities.get(drawn.identity as usize)?)))
            {
                if drawn.decoy {
                    inputs.skip();
                } else {
                    maker.inputs(identity, inputs);
                }
            }
            let mut all = inputs.iter();
            inputs
                .per_record()
                .map(|count| all.by_ref().take(count).map(|input| BlockSecret::shared(key, input)).collect())
                .collect()
        }),
    }
}

/// Tools that are at nobody's work: as many as cores have been at work, so that what they keep of words serves on.
struct Pool<T>(Mutex<Vec<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Pool<T> {
    fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
    fn put(&self, tool: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(tool);
    }
}

/// Makers of block keys.
pub(crate) struct Makers<'a> {
    agreement: &'a Agreement,
    passes: &'a PassSet,
    idle: Pool<(KeyMaker, BlockInputs)>,
}

impl<'a> Makers<'a> {
    fn new(agreement: &'a Agreement, passes: &'a PassSet) -> Self {
        Self { agreement, passes, idle: Pool::default() }
    }

    /// Lends a maker, and room for inputs.
    fn with<T>(&self, work: impl FnOnce(&mut KeyMaker, &mut BlockInputs) -> T) -> T {
        let (mut maker, mut inputs) = self.idle.take().unwrap_or_else(|| {
            let (terms, encoding) = (&self.agreement.agreement, &self.agreement.encoding);
            let maker = KeyMaker::new(self.passes, encoding.expected_records, encoding.tokens_per_record as usize);
            (maker, BlockInputs::new(terms.id.as_str(), self.agreement.oprf_epoch()))
        });
        let result = work(&mut maker, &mut inputs);
        inputs.clear();
        self.idle.put((maker, inputs));
        result
    }
}

/// A generator in this process, seeded by the system: a record draws some twenty numbers.
fn local_rng() -> ChaCha20Rng {
    let mut seed = Zeroizing::new([0; 32]);
    linkage_common::rng().fill_bytes(seed.as_mut_slice());
    ChaCha20Rng::from_seed(*seed)
}

/// Draws a record reference.
pub fn random_ref(rng: &mut impl CryptoRng) -> RecordRef {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    RecordRef(bytes)
}

#[cfg(test)]
mod tests;
