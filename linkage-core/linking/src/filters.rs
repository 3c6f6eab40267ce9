//! Kernels over Bloom filters: popcounts, and set sizes estimated from them.
//!
//! A filter of `m` bits holding `n` q-grams with `k` bits each has about `X = m (1 - exp(-k n / m))` bits set, so
//! `n = -m/k ln(1 - X/m)` (Swamidass & Baldi, J. Chem. Inf. Model. 2007). Filters arrive levelled
//! (`linkage_crypto::fields::level_filter`): of a filter's own size only the class shows. So each filter has two
//! numbers: how many q-grams it looks like (`room`, by the formula), and how many it holds on average (`size`, the
//! middle of the class). What levelling added to two different filters agrees by chance only, like the bits of as many
//! other q-grams, so that |A and B| = room(A) + room(B) - |A or B| needs no correction; coefficients divide by sizes.
//! Comparing estimated sizes instead of bits takes out the saturation that makes long names look alike. Numbers are
//! fixed point (`ONE` = one q-gram), so that sums do not depend on their order.

use linkage_crypto::fields::{CLASS_BOUNDS, CLASSES, class_weights};

/// One q-gram in fixed point.
pub(crate) const ONE: u32 = 256;

/// Estimated numbers of q-grams for every popcount of a filter of fixed width.
#[derive(Debug, Clone)]
pub(crate) struct SizeTable {
    /// What the formula gives: of a union, or of what a levelled filter looks like.
    sets: Vec<u32>,
    /// The middle of the class that a levelled filter of this popcount belongs to.
    classes: Vec<u32>,
}

impl SizeTable {
    /// The parameters are those of a layout that was checked (`check_layout`).
    pub(crate) fn new(filter_bits: usize, hash_count: usize) -> Self {
        let (m, k) = (filter_bits as f64, hash_count as f64);
        let set = |ones: usize| {
            // A full filter has no finite estimate: half a bit less stands for it.
            let x = (ones as f64).min(m - 0.5);
            (-(m / k) * (1.0 - x / m).ln() * f64::from(ONE)).round() as u32
        };
        let weights = class_weights(filter_bits, hash_count).unwrap_or_default();
        // A popcount that no honest node sends counts as the next class.
        let class = |ones: usize| match ones {
            0 => 0,
            _ => middle(weights.iter().position(|&weight| ones <= usize::from(weight)).unwrap_or(CLASSES - 1)),
        };
        Self { sets: (0..=filter_bits).map(set).collect(), classes: (0..=filter_bits).map(class).collect() }
    }
    fn set(&self, ones: u32) -> u64 {
        self.sets.get(ones as usize).or(self.sets.last()).copied().unwrap_or(0).into()
    }
    fn class(&self, ones: u32) -> u64 {
        self.classes.get(ones as usize).or(self.classes.last()).copied().unwrap_or(0).into()
    }
}

/// The middle of a class. Names of three letters and fewer, the first class, have mostly three or four q-grams.
fn middle(class: usize) -> u32 {
    let bound = |class: usize| CLASS_BOUNDS.get(class).map_or(0, |&bound| bound as u32);
    let least = class.checked_sub(1).map_or(3, |before| bound(before) + 1);
    (least + bound(class)) * ONE / 2
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.chunks_exact(8).map(|chunk| chunk.try_into().map_or(0, u64::from_le_bytes))
}

/// Bits set.
pub(crate) fn ones(filter: &[u8]) -> u32 {
    words(filter).map(u64::count_ones).sum()
}

/// Bits set in either.
pub(crate) fn ones_of_union(a: &[u8], b: &[u8]) -> u32 {
    words(a).zip(words(b)).map(|(x, y)| (x | y).count_ones()).sum()
}

/// What is known of the overlap of two sets, summed over the blocks in which a pair met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Overlap {
    size_a: u64,
    size_b: u64,
    /// Of both sides together.
    room: u64,
    union: u64,
    blocks: u32,
    differ: bool,
}

impl Overlap {
    /// Adds one block's filters, of `ones_a` and `ones_b` bits set.
    pub(crate) fn add(&mut self, table: &SizeTable, a: &[u8], b: &[u8], ones_a: u32, ones_b: u32) {
        self.size_a += table.class(ones_a);
        self.size_b += table.class(ones_b);
        self.room += table.set(ones_a) + table.set(ones_b);
        self.union += table.set(ones_of_union(a, b));
        self.blocks += 1;
        self.differ |= a != b;
    }
    /// Whether both sides have q-grams.
    pub(crate) fn present(&self) -> bool {
        self.size_a > 0 && self.size_b > 0
    }
    /// Whether the filters were the same in every block.
    pub(crate) fn identical(&self) -> bool {
        self.present() && !self.differ
    }
    fn intersection(&self) -> u64 {
        self.room.saturating_sub(self.union)
    }
    /// Dice coefficient of the estimated sets, in thousandths.
    pub(crate) fn dice(&self) -> u32 {
        let total = self.size_a + self.size_b;
        (2000 * self.intersection()).checked_div(total).map_or(0, |d| d.min(1000) as u32)
    }
    /// Overlap coefficient (intersection over the smaller set), in thousandths.
    pub(crate) fn containment(&self) -> u32 {
        let smaller = self.size_a.min(self.size_b);
        (1000 * self.intersection()).checked_div(smaller).map_or(0, |d| d.min(1000) as u32)
    }
    /// Size of the smaller set, in 1/256 of a q-gram: the middle of its class.
    pub(crate) fn smaller(&self) -> u32 {
        let mean = self.size_a.min(self.size_b).checked_div(u64::from(self.blocks)).unwrap_or(0);
        u32::try_from(mean).unwrap_or(u32::MAX)
    }
    /// How the sizes of the two sides compare.
    pub(crate) fn sides(&self) -> std::cmp::Ordering {
        self.size_a.cmp(&self.size_b)
    }
}

#[cfg(test)]
mod tests {
    use linkage_crypto::derive::PrfKey;
    use linkage_crypto::fields::{level_filter, set_grams};

    use super::*;

    #[test]
    fn sizes_undo_saturation() {
        let table = SizeTable::new(256, 8);
        assert_eq!(table.set(0), 0);
        // 10 q-grams with 8 bits each leave about 256 (1 - exp(-80/256)) = 68.7 bits.
        let ten = table.set(69) as f64 / f64::from(ONE);
        assert!((9.9..10.2).contains(&ten), "{ten}");
        assert!(table.set(256) > table.set(255));
    }

    #[test]
    fn a_weight_stands_for_the_middle_of_its_class() {
        let table = SizeTable::new(128, 4);
        let weights = class_weights(128, 4).unwrap();
        let middles = [3.5, 5.5, 7.5, 9.5, 12.0, 15.5, 20.0, 25.5, 32.5];
        for (weight, middle) in weights.into_iter().zip(middles) {
            assert_eq!(table.class(weight.into()) as f64 / f64::from(ONE), middle);
        }
        assert_eq!(table.class(0), 0);
        assert_eq!(table.class(1), table.class(weights[0].into()));
        assert_eq!(table.class(128), table.class(weights[8].into()));
    }

    #[test]
    fn overlap_of_contained_and_disjoint_sets() {
        let table = SizeTable::new(64, 1);
        let small = 0x0f_u64.to_le_bytes();
        let large = 0xff_u64.to_le_bytes();
        let apart = 0xf0_u64.to_le_bytes();
        let overlap = |a: &[u8], b: &[u8]| {
            let mut o = Overlap::default();
            o.add(&table, a, b, ones(a), ones(b));
            o
        };
        let inside = overlap(&small, &large);
        assert_eq!(inside.containment(), 1000);
        // About four shared q-grams between sets of 3.5 and 7.5.
        assert!((740..780).contains(&inside.dice()), "{}", inside.dice());
        assert_eq!(inside.sides(), std::cmp::Ordering::Less);
        assert!(overlap(&small, &apart).containment() < 90);
        assert!(overlap(&small, &small).identical());
        assert!(!overlap(&small, &[0; 8]).present());
    }

    /// Sets of `a` and `b` q-grams of which `both` are shared, levelled, over `blocks` keys.
    fn simulated(bits: usize, k: usize, [a, b, both]: [usize; 3], seed: u64, blocks: u64) -> Overlap {
        let table = SizeTable::new(bits, k);
        let grams: Vec<String> = (0..a + b - both).map(|n| format!("{seed}-{n}")).collect();
        let mut overlap = Overlap::default();
        for block in 0..blocks {
            let key = PrfKey::from_bytes(&u128::from(seed << 8 | block).to_le_bytes());
            let filter = |grams: &[String]| {
                let mut filter = vec![0; bits / 8];
                set_grams(&key, 0, grams.iter().map(String::as_str), k, &mut filter).unwrap();
                level_filter(&key, grams.len(), k, &mut filter).unwrap();
                filter
            };
            let (x, y) = (filter(&grams[..a]), filter(&grams[a - both..]));
            overlap.add(&table, &x, &y, ones(&x), ones(&y));
        }
        overlap
    }

    #[test]
    fn intersections_of_levelled_filters_are_not_biased() {
        for (bits, k) in [(128, 4), (256, 8)] {
            for [a, b, both] in [[3, 4, 2], [5, 8, 4], [7, 7, 5], [9, 14, 9], [12, 11, 6], [18, 30, 15], [8, 9, 1]] {
                let blocks = 200;
                let sum: u64 = (0..10).map(|seed| simulated(bits, k, [a, b, both], seed, blocks).intersection()).sum();
                let mean = sum as f64 / f64::from(ONE) / (10 * blocks) as f64;
                assert!((mean - both as f64).abs() < 0.35, "{bits} bits: {a}, {b}, {both} shared: {mean}");
            }
        }
    }

    #[test]
    fn coefficients_of_levelled_filters_are_nearly_unbiased() {
        // Whole classes of sizes as names have them, a quarter to three quarters of the smaller one shared; twelve blocks a pair.
        let (mut dice, mut containment, mut pairs) = (0.0, 0.0, 0.0);
        for seed in 0..3000 {
            let draw = |n: u64, below: u64| (seed * 7919 + n * 104_729) % 1_000_003 % below;
            let (a, b) = (5 + draw(1, 18) as usize, 5 + draw(2, 18) as usize);
            let smaller = a.min(b);
            let both = smaller / 4 + draw(3, smaller as u64 / 2 + 1) as usize;
            let overlap = simulated(128, 4, [a, b, both], seed, 12);
            dice += f64::from(overlap.dice()) / 1000.0 - 2.0 * both as f64 / (a + b) as f64;
            containment += f64::from(overlap.containment()) / 1000.0 - both as f64 / smaller as f64;
            pairs += 1.0;
        }
        assert!((dice / pairs).abs() < 0.01, "Dice coefficient off by {}", dice / pairs);
        assert!((containment / pairs).abs() < 0.02, "containment off by {}", containment / pairs);
    }
}
