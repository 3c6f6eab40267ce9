//! Every kernel that this CPU can run gives the portable one's bits; the comparison is the plain double loop's.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;

use linkage_clk::{CompareError, Filters, Kernel, LANES, Options, Pair, ROWS, Test, Threshold, Words, compare};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Filters of `words` words; from `seed`, sparse, dense, equal to an earlier one, empty and full among them.
fn filters(count: usize, words: usize, seed: u64) -> Filters {
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let mut made: Vec<Vec<u64>> = Vec::new();
    for at in 0..count {
        let row: Vec<u64> = match draw.next_u32() % 8 {
            0 => vec![0; words],
            1 => vec![u64::MAX; words],
            2 if at > 0 => made[draw.next_u32() as usize % at].clone(),
            3 => (0..words).map(|_| draw.next_u64() & draw.next_u64()).collect(),
            4 if at > 0 => made[draw.next_u32() as usize % at].iter().map(|w| w ^ (1 << (draw.next_u32() % 64))).collect(),
            _ => (0..words).map(|_| draw.next_u64()).collect(),
        };
        made.push(row);
    }
    let mut filters = Filters::new();
    for row in &made {
        filters.push(&row.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>()).unwrap();
    }
    filters
}

fn options(kernel: Kernel, threads: usize) -> Options {
    Options { threads: NonZeroUsize::new(threads).unwrap(), kernel, max_pairs: 1 << 24 }
}

/// What the kernels must add up to, from the definition of the Dice coefficient alone.
fn plainly(a: &Filters, b: &Filters, threshold: f64) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for x in 0..a.len() {
        for y in 0..b.len() {
            let both: u32 = a.row(x).iter().zip(b.row(y)).map(|(v, w)| (v & w).count_ones()).sum();
            let (p, q) = (a.counts()[x], b.counts()[y]);
            let score = if p == 0 { 0.0 } else { f64::from(2 * both) / f64::from(p + q) };
            if score >= threshold {
                pairs.push(Pair { a: x as u32, b: y as u32, score });
            }
        }
    }
    pairs.sort_by(|x, y| y.score.total_cmp(&x.score));
    pairs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn kernels_agree(words in 1usize..=64, split in 0usize..=70, seed: u64, need in 0.0f64..1.0, loose in 0u32..3) {
        let (rows, lanes) = (filters(ROWS, words, seed), filters(LANES, words, seed ^ 1));
        let quad: Vec<[u64; ROWS]> = (0..words).map(|w| std::array::from_fn(|r| rows.row(r)[w])).collect();
        let group: Vec<Words> = (0..words).map(|w| Words(std::array::from_fn(|l| lanes.row(l)[w]))).collect();
        let both = |r: usize, l: usize, from: usize| -> u32 {
            rows.row(r).iter().zip(lanes.row(l)).skip(from).map(|(v, w)| (v & w).count_ones()).sum()
        };
        let pairs = || (0..ROWS).flat_map(|r| (0..LANES).map(move |l| (r, l)));
        // A count that occurs, so that pairs lie on the very edge; an early bound that loses none of them, tight or loose.
        let mut counts: Vec<u32> = pairs().map(|(r, l)| both(r, l, 0)).collect();
        counts.sort_unstable();
        let need = counts[(need * counts.len() as f64) as usize];
        let rest = pairs().map(|(r, l)| both(r, l, split)).max().unwrap();
        let test = Test { need, split, early: need.saturating_sub(rest + loose) };
        let expected: [u32; ROWS] =
            std::array::from_fn(|r| (0..LANES).map(|l| u32::from(both(r, l, 0) >= need) << l).sum());
        prop_assert!(expected != [0; ROWS]);
        prop_assert_eq!(Kernel::portable().masks(&quad, &group, test), expected);
        for kernel in Kernel::available() {
            prop_assert_eq!(kernel.masks(&quad, &group, test), expected, "{}", kernel.name());
        }
        // More than there are: nothing passes, wherever it is found out.
        for early in [0, 1 << 16] {
            let test = Test { need: 1 << 16, split, early };
            for kernel in Kernel::available() {
                prop_assert_eq!(kernel.masks(&quad, &group, test), [0; ROWS], "{}", kernel.name());
            }
        }
    }

    #[test]
    fn comparison_is_the_double_loop(
        words in prop_oneof![1usize..=4, Just(16), Just(64)],
        // About the edges of rows, lanes and tiles: 96 filters fill a tile at 16 words, 24 at 64.
        a in prop_oneof![1usize..12, 60usize..70],
        b in prop_oneof![1usize..40, 90usize..130],
        seed: u64,
        // Powers of two, where anonlink's bound on the popcounts has no rounding.
        threshold in prop_oneof![Just(0.0), Just(0.25), Just(0.5), Just(1.0)],
        threads in 1usize..4,
    ) {
        let (first, second) = (filters(a, words, seed), filters(b, words, seed ^ 1));
        let expected = plainly(&first, &second, threshold);
        for kernel in Kernel::available() {
            let found = compare(&first, &second, Threshold::new(threshold).unwrap(), &options(kernel, threads), &|_, _| {});
            prop_assert_eq!(found.unwrap(), expected.clone(), "{}", kernel.name());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Enough filters for a sample that tells kernels to leave blocks early.
    #[test]
    fn leaving_early_loses_no_pair(
        words in prop_oneof![Just(1usize), Just(3), Just(16), Just(32)],
        a in 64usize..90,
        b in 512usize..600,
        seed: u64,
        threshold in prop_oneof![Just(0.5), Just(1.0)],
    ) {
        let (first, second) = (filters(a, words, seed), filters(b, words, seed ^ 1));
        let expected = plainly(&first, &second, threshold);
        for kernel in Kernel::available() {
            let found = compare(&first, &second, Threshold::new(threshold).unwrap(), &options(kernel, 2), &|_, _| {});
            prop_assert_eq!(found.unwrap(), expected.clone(), "{}", kernel.name());
        }
    }
}

#[test]
fn kernels_are_found() {
    let names: Vec<_> = Kernel::available().iter().map(|k| k.name()).collect();
    assert_eq!(names.last(), Some(&"portable"));
    assert_eq!(Kernel::best().name(), names[0]);
    // A kernel that ignores its input would agree with nothing here.
    let words = [Words([u64::MAX; LANES])];
    for kernel in Kernel::available() {
        let masks = kernel.masks(&[[u64::MAX, 1, 0, u64::MAX]], &words, Test { need: 64, split: 1, early: 64 });
        assert_eq!(masks, [u32::MAX, 0, 0, u32::MAX], "{}", kernel.name());
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let run = |a: &Filters, b: &Filters, max_pairs| {
        let options = Options { max_pairs, ..options(Kernel::best(), 2) };
        compare(a, b, Threshold::new(0.0).unwrap(), &options, &|_, _| {})
    };
    let (a, b) = (filters(20, 2, 1), filters(30, 2, 2));
    assert_eq!(run(&a, &filters(3, 4, 1), 1000), Err(CompareError::Lengths { a: 128, b: 256 }));
    assert_eq!(run(&a, &b, 599), Err(CompareError::TooManyPairs { limit: 599 }));
    assert_eq!(run(&a, &b, 600).map(|pairs| pairs.len()), Ok(600));
    assert_eq!(run(&a, &Filters::new(), 0), Ok(vec![]));
    for wrong in [-0.1, 1.000_001, f64::NAN, f64::INFINITY] {
        assert_eq!(Threshold::new(wrong), Err(CompareError::Threshold));
    }
}

#[test]
fn ends_that_are_set_aside_meet_nobody_and_shift_no_index() {
    let mut made = [Filters::new(), Filters::new()];
    for side in &mut made {
        for row in [[0; 4], [1, 2, 3, 4], [255; 4], [1, 2, 3, 5]] {
            side.push(&row).unwrap();
        }
    }
    let [mut a, b] = made;
    let met = |a: &Filters| -> Vec<(u32, u32)> {
        let pairs = compare(a, &b, Threshold::new(0.2).unwrap(), &options(Kernel::best(), 1), &|_, _| {}).unwrap();
        let mut pairs: Vec<_> = pairs.iter().map(|pair| (pair.a, pair.b)).collect();
        pairs.sort_unstable();
        pairs
    };
    assert!(met(&a).contains(&(2, 2)));
    a.set_ends_aside();
    assert_eq!(met(&a), [(1, 1), (1, 2), (1, 3), (3, 1), (3, 2), (3, 3)]);
    assert_eq!((a.zeros().collect::<Vec<_>>(), a.ones().collect::<Vec<_>>()), (vec![0], vec![2]));
    let mut only_ends = Filters::new();
    only_ends.push(&[0; 4]).unwrap();
    only_ends.set_ends_aside();
    assert_eq!(met(&only_ends), []);
}
