//! The block secrets of a whole delivery, evaluated obliviously: each distinct input once, those kept from earlier
//! deliveries not at all.
//!
//! Inputs hold names and there are some twenty a record, so none is held for long: the delivery's inputs are put in the
//! order of their keyed digests, eight bytes of each, and made again group by group when their turn comes. That order is
//! also the one in which the custodian is asked, which counts and times requests: it follows no file. A group is kept
//! before the next begins; after an interruption the same groups make the same batches, from the same seeds, of what was not
//! kept, and the custodian does not charge the same bytes twice.

use linkage_agreement::{Period, RecordRef};
use linkage_crypto::derive::BlockSecret;
use linkage_encoding::Identity;
use rand_core::Rng;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::{Makers, PIECE};
use crate::error::NodeError;
use crate::oprf::{BATCH, Evaluator, Input};
use crate::progress::Progress;

/// A keyed digest of an input.
pub type Digest = [u8; 16];
/// Parts of the cache: by the first six bits of the digest.
pub const PARTS: usize = 1 << PART_BITS;
const PART_BITS: usize = 6;
/// Keys of a group, about: half a minute of evaluations is the most that an interruption costs.
const GROUP: usize = 1 << 18;

/// The part of the cache that a digest belongs to.
pub fn part_of(digest: &Digest) -> usize {
    usize::from(digest[0] >> (8 - PART_BITS))
}

/// An evaluation, under its input's digest.
pub struct Kept {
    /// The digest.
    pub digest: Digest,
    /// The block secret.
    pub secret: BlockSecret,
}

/// Evaluations kept from earlier deliveries, under keyed digests of their inputs.
pub trait EvaluationCache: Sync {
    /// A digest of an input that nobody can make or try without this node's key.
    fn digest(&self, input: &[u8]) -> Digest;
    /// What is kept of a part, by digest.
    fn part(&self, part: usize) -> Result<Vec<Kept>, NodeError>;
    /// Keeps evaluations that were just made, all or none; by digest.
    fn keep(&mut self, made: &[Kept]) -> Result<(), NodeError>;
    /// A secret for one purpose. A node killed between asking and keeping asks again with the same bytes: the blinding of
    /// requests therefore comes from here.
    fn secret(&self, purpose: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]>;
}

/// Keeps nothing, and every secret is fresh: for a trial.
pub struct NoCache(Zeroizing<[u8; 32]>);

impl NoCache {
    /// Digests under a key of its own.
    #[expect(clippy::new_without_default, reason = "draws a key")]
    pub fn new() -> Self {
        Self(fresh_secret())
    }
}

impl EvaluationCache for NoCache {
    fn digest(&self, input: &[u8]) -> Digest {
        let full: [u8; 32] = Sha256::new().chain_update(self.0.as_slice()).chain_update(input).finalize().into();
        let mut digest = [0; 16];
        digest.copy_from_slice(&full[..16]);
        digest
    }
    fn part(&self, _: usize) -> Result<Vec<Kept>, NodeError> {
        Ok(Vec::new())
    }
    fn keep(&mut self, _: &[Kept]) -> Result<(), NodeError> {
        Ok(())
    }
    fn secret(&self, _: &str, _: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        fresh_secret()
    }
}

fn fresh_secret() -> Zeroizing<[u8; 32]> {
    let mut secret = Zeroizing::new([0; 32]);
    linkage_common::rng().fill_bytes(secret.as_mut_slice());
    secret
}

/// One key of one record, ordered by its input's digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    order: u64,
    record: u32,
    key: u32,
}

impl Asked {
    fn group(&self, groups: usize) -> usize {
        // Groups are a power of two and at most as many as the cache has parts.
        (self.order >> (64 - PART_BITS)) as usize * groups / PARTS
    }
}

/// An input whose turn has come.
struct Due {
    digest: Digest,
    /// Place of its secret.
    place: usize,
    input: Input,
}

/// The block secrets of every record of a delivery.
pub(crate) struct Secrets {
    /// Where each record's secrets end.
    ends: Vec<usize>,
    secrets: Vec<[u8; 32]>,
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.secrets.zeroize();
    }
}

impl Secrets {
    /// The secrets of a record's blocks, the most useful first.
    pub(crate) fn of(&self, record: usize) -> Vec<BlockSecret> {
        let (start, end) = self.range(record);
        self.secrets.get(start..end).unwrap_or_default().iter().map(BlockSecret::from_bytes).collect()
    }

    fn range(&self, record: usize) -> (usize, usize) {
        let start = record.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        (start, self.ends.get(record).copied().unwrap_or(start))
    }

    /// Evaluates the inputs of all records.
    pub(crate) async fn evaluate(
        makers: &Makers<'_>,
        identities: &[(RecordRef, &Identity)],
        period: Period,
        evaluator: &mut Evaluator,
        cache: &mut impl EvaluationCache,
        progress: &Progress,
    ) -> Result<Self, NodeError> {
        let (mut asked, ends) = ask(makers, identities, cache);
        let total = asked.len();
        let mut all = Self { secrets: vec![[0; 32]; total], ends };
        asked.par_sort_unstable();
        progress.at(0, total as u64);
        let groups = (total / GROUP).next_power_of_two().min(PARTS);
        let mut done = 0;
        for group in asked.chunk_by(|a, b| a.group(groups) == b.group(groups)) {
            let mut due = all.due(makers, identities, group, cache);
            let kept = kept_of(&due, cache)?;
            let fresh = fresh_of(&mut due, &kept);
            let report =
                |evaluated: usize, of: usize| progress.at((done + group.len() * evaluated / of.max(1)) as u64, total as u64);
            let made = evaluate_fresh(fresh, period, evaluator, cache, report).await?;
            cache.keep(&made)?;
            all.place(&due, &kept, &made)?;
            done += group.len();
            progress.at(done as u64, total as u64);
        }
        Ok(all)
    }

    /// Makes a group's inputs again, by digest; each record's keys once.
    fn due(
        &self,
        makers: &Makers,
        identities: &[(RecordRef, &Identity)],
        group: &[Asked],
        cache: &impl EvaluationCache,
    ) -> Vec<Due> {
        let mut by_record = group.to_vec();
        by_record.par_sort_unstable_by_key(|asked| (asked.record, asked.key));
        let records: Vec<&[Asked]> = by_record.chunk_by(|a, b| a.record == b.record).collect();
        let of_piece = |piece: &[&[Asked]]| {
            makers.with(|maker, inputs| {
                let mut due = Vec::new();
                for record in piece {
                    let Some((number, (_, identity))) =
                        record.first().and_then(|a| Some((a.record as usize, identities.get(a.record as usize)?)))
                    else {
                        continue;
                    };
                    inputs.clear();
                    maker.inputs(identity, inputs);
                    let wanted = |key: usize| record.iter().any(|asked| asked.key as usize == key);
                    for (key, input) in inputs.iter().enumerate().filter(|(key, _)| wanted(*key)) {
                        let place = self.range(number).0 + key;
                        due.push(Due { digest: cache.digest(input), place, input: Zeroizing::new(input.to_vec()) });
                    }
                }
                due
            })
        };
        let mut due: Vec<Due> = records.par_chunks(PIECE).flat_map_iter(of_piece).collect();
        due.par_sort_unstable_by_key(|due| (due.digest, due.place));
        due
    }

    /// Puts a group's secrets to their places.
    fn place(&mut self, due: &[Due], kept: &[Kept], made: &[Kept]) -> Result<(), NodeError> {
        for due in due {
            let found = find(made, &due.digest).or_else(|| find(kept, &due.digest));
            let lost = || NodeError::Configuration("évaluation perdue entre la demande et la réponse".to_owned());
            *self.secrets.get_mut(due.place).ok_or_else(lost)? = *found.ok_or_else(lost)?.secret.as_bytes();
        }
        Ok(())
    }
}

/// Every key of every record, and where each record's keys end.
fn ask(makers: &Makers, identities: &[(RecordRef, &Identity)], cache: &impl EvaluationCache) -> (Vec<Asked>, Vec<usize>) {
    let (mut asked, mut ends) = (Vec::new(), Vec::with_capacity(identities.len()));
    // Pieces of some ten thousand records at a time, so that the list is never held twice.
    for (window, records) in identities.chunks(64 * PIECE).enumerate() {
        let pieces: Vec<(Vec<Asked>, Vec<usize>)> = records
            .par_chunks(PIECE)
            .enumerate()
            .map(|(piece, records)| {
                makers.with(|maker, inputs| {
                    records.iter().for_each(|(_, identity)| maker.inputs(identity, inputs));
                    let first = (window * 64 + piece) * PIECE;
                    let places =
                        inputs.per_record().enumerate().flat_map(|(at, count)| (0..count).map(move |key| (first + at, key)));
                    let order = |input: &[u8]| {
                        let [a, b, c, d, e, f, g, h, ..] = cache.digest(input);
                        u64::from_be_bytes([a, b, c, d, e, f, g, h])
                    };
                    let ask = |((record, key), input): ((usize, usize), &[u8])| Asked {
                        order: order(input),
                        record: record as u32,
                        key: key as u32,
                    };
                    (places.zip(inputs.iter()).map(ask).collect(), inputs.per_record().collect())
                })
            })
            .collect();
        for (piece, counts) in pieces {
            asked.extend(piece);
            for count in counts {
                ends.push(ends.last().copied().unwrap_or(0) + count);
            }
        }
    }
    (asked, ends)
}

/// What the cache holds of the parts that a group touches, by digest.
fn kept_of(due: &[Due], cache: &impl EvaluationCache) -> Result<Vec<Kept>, NodeError> {
    let (Some(first), Some(last)) = (due.first(), due.last()) else { return Ok(Vec::new()) };
    let mut kept = Vec::new();
    for part in part_of(&first.digest)..=part_of(&last.digest) {
        kept.extend(cache.part(part)?);
    }
    Ok(kept)
}

/// Takes out the inputs that have to be evaluated, each once, in order.
fn fresh_of(due: &mut [Due], kept: &[Kept]) -> Vec<(Digest, Input)> {
    let mut fresh = Vec::new();
    for equals in due.chunk_by_mut(|a, b| a.digest == b.digest) {
        if let Some(first) = equals.first_mut()
            && find(kept, &first.digest).is_none()
        {
            fresh.push((first.digest, std::mem::take(&mut first.input)));
        }
    }
    fresh
}

fn find<'k>(kept: &'k [Kept], digest: &Digest) -> Option<&'k Kept> {
    kept.binary_search_by_key(digest, |kept| kept.digest).ok().and_then(|at| kept.get(at))
}

async fn evaluate_fresh(
    fresh: Vec<(Digest, Input)>,
    period: Period,
    evaluator: &mut Evaluator,
    cache: &impl EvaluationCache,
    report: impl Fn(usize, usize),
) -> Result<Vec<Kept>, NodeError> {
    let month = period.to_string();
    let (digests, inputs): (Vec<Digest>, Vec<Input>) = fresh.into_iter().unzip();
    let seed = |batch: &[Input]| {
        let mut parts = vec![month.as_bytes()];
        parts.extend(batch.iter().map(|input| input.as_slice()));
        cache.secret("blinding", &parts)
    };
    let seeds = inputs.chunks(BATCH).map(seed).collect();
    let of = inputs.len();
    let secrets = evaluator.evaluate(period, inputs, seeds, |evaluated| report(evaluated, of)).await?;
    Ok(digests.into_iter().zip(secrets).map(|(digest, secret)| Kept { digest, secret }).collect())
}
