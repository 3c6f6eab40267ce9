//! Every filter of one party against every one of the other, and the greedy one-to-one solution.
//!
//! The pairs, their scores and their order are those of anonlink 0.15.3 (`find_candidate_pairs` with
//! `dice_coefficient_accelerated` and no `k`; `similarities/dice.cpp`): the score is `2 * inter / (pa + pb)` rounded once to a
//! double; a pair is kept when that double is at least the threshold; before that, anonlink drops pairs whose popcounts differ
//! by more than `2 * pa * (1 / threshold - 1)`, cut to an integer, and the rounding of that bound is repeated here since it can
//! cost a pair that lies on the threshold. A filter of the first party without bits meets nobody unless the threshold is 0.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::blocks::{Groups, Quads, SHIFT, order, split};
use crate::filters::Filters;
use crate::kernels::{Kernel, LANES, ROWS};

/// Bytes of the second party's tile: with four rows of the first it stays in 32 KiB of level-1 cache.
const TILE_BYTES: usize = 24 << 10;
/// Rows of the first party that one thread takes at a time: 512 KiB of 1024-bit filters, within level-2 cache.
const CHUNK_ROWS: usize = 4096;

/// Why two parties' filters were not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// Not between 0 and 1.
    #[error("le seuil doit être compris entre 0 et 1")]
    Threshold,
    /// The two files' filters are not of one length.
    #[error(
        "filtres de {a} bits dans le premier fichier et de {b} bits dans le second : les deux partenaires doivent suivre le même schéma"
    )]
    Lengths {
        /// Bits on the first side.
        a: usize,
        /// Bits on the second side.
        b: usize,
    },
    /// More pairs than the caller has room for.
    #[error(
        "plus de {limit} paires atteignent le seuil ; relevez le seuil, ou la limite (--max-pairs, 16 octets de mémoire par paire)"
    )]
    TooManyPairs {
        /// The caller's limit.
        limit: usize,
    },
}

/// Least Dice coefficient of a pair, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Threshold(f64);

impl Threshold {
    /// Takes 0 to 1.
    ///
    /// # Errors
    /// For any other value and for what is not a number.
    pub fn new(value: f64) -> Result<Self, CompareError> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(CompareError::Threshold) }
    }

    /// What a filter of this popcount adds to the count that its pairs need, in fixed point. Rounded down and one unit less, so
    /// that a pair whose double score is rounded up to the threshold is not lost.
    pub(crate) fn part(self, popcount: u32) -> i64 {
        let half = f64::from(1u32 << (SHIFT - 1));
        // At most 2^15 * 2^19: the cast is exact after the floor.
        #[expect(clippy::cast_possible_truncation, reason = "below 2^35")]
        let part = (self.0 * f64::from(popcount) * half).floor() as i64;
        part - 1
    }

    /// Largest difference of popcounts that anonlink lets through to the comparison.
    fn most_difference(self, popcount: u32) -> u32 {
        if self.0 > 0.0 {
            // The cast cuts and saturates, as the C++ conversion does for all values that it defines.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturating, never negative")]
            let most = (f64::from(2 * popcount) * (1.0 / self.0 - 1.0)) as u32;
            most
        } else {
            u32::MAX
        }
    }
}

/// A pair that reaches the threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Index in the first party's file, from 0.
    pub a: u32,
    /// Index in the second party's file, from 0.
    pub b: u32,
    /// Dice coefficient.
    pub score: f64,
}

/// How to compare.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Threads.
    pub threads: NonZeroUsize,
    /// Kernel, [`Kernel::best`] as a rule.
    pub kernel: Kernel,
    /// Most pairs to hold, 16 bytes each.
    pub max_pairs: usize,
}

/// All pairs that reach the threshold, by falling score, then index in `a`, then in `b`. `progress` is told the filters of
/// `a` that are done and how many there are, from any thread.
///
/// # Errors
/// When the lengths differ or more than `max_pairs` pairs reach the threshold.
pub fn compare(
    a: &Filters,
    b: &Filters,
    threshold: Threshold,
    options: &Options,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Pair>, CompareError> {
    if a.is_empty() || b.is_empty() {
        return Ok(Vec::new());
    }
    if a.bits() != b.bits() {
        return Err(CompareError::Lengths { a: a.bits(), b: b.bits() });
    }
    let (order_a, order_b) = (order(a), order(b));
    let split = split((a, &order_a), (b, &order_b), threshold);
    let groups = Groups::of(b, &order_b, threshold, split);
    let job = Job { a, b, order_a, order_b, threshold, options, split, groups };
    let threads = options.threads.get();
    let all = job.order_a.len();
    let chunk = CHUNK_ROWS.min(all.div_ceil(4 * threads)).next_multiple_of(ROWS).max(ROWS);
    let chunks = all.div_ceil(chunk);
    let (next, done, kept, full) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut pairs = Vec::new();
        while !full.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= chunks {
                break;
            }
            let rows = at * chunk..((at + 1) * chunk).min(all);
            let before = pairs.len();
            let room = options.max_pairs.saturating_sub(kept.load(Ordering::Relaxed));
            job.rows(rows.clone(), before + room, &mut pairs);
            let found = pairs.len() - before;
            if kept.fetch_add(found, Ordering::Relaxed) + found > options.max_pairs {
                full.store(true, Ordering::Relaxed);
            }
            progress(done.fetch_add(rows.len(), Ordering::Relaxed) + rows.len(), all);
        }
        pairs
    };
    let mut pairs = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(chunks)).map(|_| scope.spawn(work)).collect();
        let mut pairs = work();
        for other in others {
            match other.join() {
                Ok(more) => pairs.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        pairs
    });
    if pairs.len() > options.max_pairs {
        return Err(CompareError::TooManyPairs { limit: options.max_pairs });
    }
    pairs.sort_unstable_by(|x, y| y.score.total_cmp(&x.score).then(x.a.cmp(&y.a)).then(x.b.cmp(&y.b)));
    Ok(pairs)
}

/// Each record's best free partner: pairs in the order of [`compare`], each taken when neither record is taken yet. For two
/// parties this is what anonlink's `greedy_solve` gives: a group of two cannot grow, since no pair is within one party.
pub fn greedy(pairs: &[Pair]) -> Vec<Pair> {
    let size = |index: fn(&Pair) -> u32| pairs.iter().map(index).max().map_or(0, |most| most as usize + 1);
    let mut taken_a = vec![false; size(|p| p.a)];
    let mut taken_b = vec![false; size(|p| p.b)];
    let mut chosen = Vec::new();
    for pair in pairs {
        if let (Some(a), Some(b)) = (taken_a.get_mut(pair.a as usize), taken_b.get_mut(pair.b as usize))
            && !*a
            && !*b
        {
            (*a, *b) = (true, true);
            chosen.push(*pair);
        }
    }
    chosen
}

struct Job<'f> {
    a: &'f Filters,
    b: &'f Filters,
    order_a: Vec<u32>,
    order_b: Vec<u32>,
    threshold: Threshold,
    options: &'f Options,
    split: usize,
    groups: Groups,
}

impl Job<'_> {
    /// Compares some places of `order_a` with all of `b`, until there are more than `most` pairs.
    fn rows(&self, rows: std::ops::Range<usize>, most: usize, pairs: &mut Vec<Pair>) {
        let words = self.a.words();
        let quads = Quads::of(self.a, self.order_a.get(rows.clone()).unwrap_or_default(), self.threshold, self.split);
        let tile = (TILE_BYTES / (words * LANES * 8)).max(1);
        let mut first_group = 0;
        for (group_words, group_bounds) in self.groups.words.chunks(tile * words).zip(self.groups.bounds.chunks(tile)) {
            for (quad, (row_words, row_bounds)) in quads.words.chunks_exact(words).zip(&quads.bounds).enumerate() {
                for (group, (lanes, lane_bounds)) in group_words.chunks_exact(words).zip(group_bounds).enumerate() {
                    let Some(test) = row_bounds.test(*lane_bounds, self.split) else { continue };
                    let masks = self.options.kernel.masks(row_words, lanes, test);
                    if masks != [0; ROWS] {
                        self.passed(rows.start + quad * ROWS, (first_group + group) * LANES, masks, pairs);
                    }
                }
                if pairs.len() > most {
                    return;
                }
            }
            first_group += tile;
        }
    }

    /// Decides on the pairs that passed the kernel, as anonlink does. Places are those in `order_a` and `order_b`.
    #[cold]
    fn passed(&self, first_a: usize, first_b: usize, masks: [u32; ROWS], pairs: &mut Vec<Pair>) {
        for (a, mut mask) in (first_a..).zip(masks) {
            while mask != 0 {
                let b = first_b + mask.trailing_zeros() as usize;
                mask &= mask - 1;
                // Empty rows and lanes beyond the last filter pass where nothing is needed.
                if let (Some(a), Some(b)) = (self.order_a.get(a), self.order_b.get(b)) {
                    pairs.extend(self.pair(*a, *b));
                }
            }
        }
    }

    fn pair(&self, a: u32, b: u32) -> Option<Pair> {
        let (row_a, row_b) = (a as usize, b as usize);
        let (count_a, count_b) = (*self.a.counts().get(row_a)?, *self.b.counts().get(row_b)?);
        let pair = |score| Some(Pair { a, b, score });
        if count_a == 0 {
            return if self.threshold.0 > 0.0 { None } else { pair(0.0) };
        }
        if count_a.abs_diff(count_b) > self.threshold.most_difference(count_a) {
            return None;
        }
        let both: u32 = self.a.row(row_a).iter().zip(self.b.row(row_b)).map(|(x, y)| (x & y).count_ones()).sum();
        let score = f64::from(2 * both) / f64::from(count_a + count_b);
        if score >= self.threshold.0 { pair(score) } else { None }
    }
}
