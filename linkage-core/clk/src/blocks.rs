//! Filters in blocks for the kernels, in rising order of popcount, and what a block's pairs need.
//!
//! Filters of like popcount stand together, so one number is needed of all pairs of a block, and blocks whose popcounts are too
//! far apart for the threshold are passed over without a look at their bits. Both are bounds: a pair that they let through
//! is decided on by the caller, and none that reaches the threshold is lost.

use crate::compare::Threshold;
use crate::filters::Filters;
use crate::kernels::{LANES, ROWS, Test, Words};

/// Binary places of the fixed point. Counts stay below 2^16, so sums stay below 2^37.
pub(crate) const SHIFT: u32 = 20;

/// Indices of the filters that are compared, by rising popcount.
pub(crate) fn order(filters: &Filters) -> Vec<u32> {
    let mut order: Vec<u32> = filters.compared().collect();
    order.sort_by_key(|index| filters.counts().get(*index as usize).copied());
    order
}

/// What a block's own filters say of its pairs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// What the least popcount adds to the bits that a pair needs.
    part: i64,
    /// Greatest popcount.
    most: u32,
    /// Greatest popcount of the words after the split.
    rest: u32,
}

impl Bounds {
    fn of(filters: &Filters, block: &[u32], threshold: Threshold, split: usize) -> Self {
        let count = |index: &u32| filters.counts().get(*index as usize).copied().unwrap_or(0);
        let rest = |index: &u32| filters.row(*index as usize).iter().skip(split).map(|word| word.count_ones()).sum();
        Self {
            part: threshold.part(block.first().map_or(0, count)),
            most: block.last().map_or(0, count),
            rest: block.iter().map(rest).max().unwrap_or(0),
        }
    }

    /// What the pairs of two blocks are tested for; nothing when no pair can have enough bits in common.
    #[inline]
    pub(crate) fn test(self, other: Self, split: usize) -> Option<Test> {
        // Rounded up: the count is a whole number. Below 2^17 after the shift.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^17")]
        let need = ((self.part + other.part + (1 << SHIFT) - 1) >> SHIFT).max(0) as u32;
        (need <= self.most.min(other.most)).then(|| Test { need, split, early: need.saturating_sub(self.rest.min(other.rest)) })
    }
}

/// Filters of the second party in groups of [`LANES`], words interleaved. Lanes beyond the last filter are empty.
pub(crate) struct Groups {
    pub(crate) words: Vec<Words>,
    pub(crate) bounds: Vec<Bounds>,
}

impl Groups {
    pub(crate) fn of(filters: &Filters, order: &[u32], threshold: Threshold, split: usize) -> Self {
        let groups = order.len().div_ceil(LANES);
        let mut words = Vec::with_capacity(groups * filters.words());
        let mut bounds = Vec::with_capacity(groups);
        for group in order.chunks(LANES) {
            let rows: [&[u64]; LANES] = rows(filters, group);
            words.extend(interleaved(&rows, filters.words()).map(Words));
            bounds.push(Bounds::of(filters, group, threshold, split));
        }
        Self { words, bounds }
    }
}

/// Filters of the first party in fours, words interleaved. Rows beyond the last filter are empty.
pub(crate) struct Quads {
    pub(crate) words: Vec<[u64; ROWS]>,
    pub(crate) bounds: Vec<Bounds>,
}

impl Quads {
    pub(crate) fn of(filters: &Filters, order: &[u32], threshold: Threshold, split: usize) -> Self {
        let quads = order.len().div_ceil(ROWS);
        let mut words = Vec::with_capacity(quads * filters.words());
        let mut bounds = Vec::with_capacity(quads);
        for quad in order.chunks(ROWS) {
            let rows: [&[u64]; ROWS] = rows(filters, quad);
            words.extend(interleaved(&rows, filters.words()));
            bounds.push(Bounds::of(filters, quad, threshold, split));
        }
        Self { words, bounds }
    }
}

fn rows<'f, const N: usize>(filters: &'f Filters, block: &[u32]) -> [&'f [u64]; N] {
    std::array::from_fn(|at| block.get(at).map_or(&[][..], |index| filters.row(*index as usize)))
}

fn interleaved<const N: usize>(rows: &[&[u64]; N], words: usize) -> impl Iterator<Item = [u64; N]> {
    (0..words).map(|word| std::array::from_fn(|at| rows.get(at).and_then(|row| row.get(word)).copied().unwrap_or(0)))
}

/// After how many words kernels look whether to go on: where a sample of blocks says that it costs least. It changes no
/// result.
pub(crate) fn split(a: (&Filters, &[u32]), b: (&Filters, &[u32]), threshold: Threshold) -> usize {
    /// Blocks of each side in the sample.
    const SAMPLE: usize = 16;
    /// What a look costs, in words.
    const LOOK: f64 = 0.7;
    let words = a.0.words();
    // Not worth a sample.
    if a.1.len() < SAMPLE * ROWS || b.1.len() < SAMPLE * LANES {
        return words;
    }
    let mut left = vec![0u32; words];
    let mut seen = 0u32;
    for quad in every(a.1, ROWS, SAMPLE) {
        for group in every(b.1, LANES, SAMPLE) {
            let bounds = (Bounds::of(a.0, quad, threshold, 0), Bounds::of(b.0, group, threshold, 0));
            let Some(test) = bounds.0.test(bounds.1, 0) else { continue };
            seen += 1;
            let mut counts = vec![0u32; quad.len() * group.len()];
            let rests = [Rests::of(a.0, quad), Rests::of(b.0, group)];
            for (word, left) in left.iter_mut().enumerate() {
                let pairs = quad.iter().flat_map(|x| group.iter().map(move |y| (a.0.row(*x as usize), b.0.row(*y as usize))));
                for (count, (x, y)) in counts.iter_mut().zip(pairs) {
                    *count += x.get(word).zip(y.get(word)).map_or(0, |(x, y)| (x & y).count_ones());
                }
                let [x, y] = rests.each_ref().map(|rests| rests.after(word));
                *left += u32::from(counts.iter().all(|count| count + x.min(y) < test.need));
            }
        }
    }
    // Words that a block costs when it is looked at after `at` of them.
    let cost = |(at, left): (usize, u32)| {
        let (at, all) = (at as f64, words as f64);
        at + LOOK + (all - at) * f64::from(seen - left) / f64::from(seen.max(1))
    };
    let looks = (1..).zip(left);
    looks
        .map(|look| (look.0, cost(look)))
        .filter(|(_, cost)| *cost < words as f64)
        .min_by(|x, y| x.1.total_cmp(&y.1))
        .map_or(words, |(at, _)| at)
}

/// `count` blocks of `size` filters, evenly spaced.
fn every(order: &[u32], size: usize, count: usize) -> impl Iterator<Item = &[u32]> {
    let step = (order.len() / size / count).max(1);
    order.chunks(size).step_by(step).take(count)
}

/// A block's greatest popcounts after each word.
struct Rests(Vec<u32>);

impl Rests {
    fn of(filters: &Filters, block: &[u32]) -> Self {
        let mut most = vec![0; filters.words()];
        for index in block {
            let mut rest = 0;
            for (word, most) in filters.row(*index as usize).iter().zip(&mut most).rev() {
                *most = rest.max(*most);
                rest += word.count_ones();
            }
        }
        Self(most)
    }

    fn after(&self, word: usize) -> u32 {
        self.0.get(word).copied().unwrap_or(0)
    }
}
