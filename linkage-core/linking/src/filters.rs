//! Kernels over Bloom filters: popcounts, and set sizes estimated from them.
//!
//! A filter of `m` bits holding `n` q-grams with `k` bits each has about `X = m (1 - exp(-k n / m))` bits set, so
//! `n = -m/k ln(1 - X/m)` (Swamidass & Baldi, J. Chem. Inf. Model. 2007). Intersections come from sizes of unions:
//! |A and B| = |A| + |B| - |A or B|. Comparing estimated sizes instead of bits takes out the saturation that makes
//! long names look alike. Sizes are fixed point (`ONE` = one q-gram), so that sums do not depend on their order.

/// One q-gram in fixed point.
pub(crate) const ONE: u32 = 256;

/// Estimated set size for every popcount of a filter of fixed width.
#[derive(Debug, Clone)]
pub(crate) struct SizeTable(Vec<u32>);

impl SizeTable {
    pub(crate) fn new(filter_bits: usize, hash_count: usize) -> Self {
        let (m, k) = (filter_bits as f64, hash_count as f64);
        let size = |ones: usize| {
            // A full filter has no finite estimate: half a bit less stands for it.
            let x = (ones as f64).min(m - 0.5);
            (-(m / k) * (1.0 - x / m).ln() * f64::from(ONE)).round() as u32
        };
        Self((0..=filter_bits).map(size).collect())
    }
    /// Estimated size, in 1/256 of a q-gram, of a set whose filter has `ones` bits set.
    pub(crate) fn size(&self, ones: u32) -> u32 {
        self.0.get(ones as usize).or(self.0.last()).copied().unwrap_or(0)
    }
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
    union: u64,
    blocks: u32,
    differ: bool,
}

impl Overlap {
    /// Adds one block's filters, of `ones_a` and `ones_b` bits set.
    pub(crate) fn add(&mut self, table: &SizeTable, a: &[u8], b: &[u8], ones_a: u32, ones_b: u32) {
        self.size_a += u64::from(table.size(ones_a));
        self.size_b += u64::from(table.size(ones_b));
        self.union += u64::from(table.size(ones_of_union(a, b)));
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
        (self.size_a + self.size_b).saturating_sub(self.union)
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
    /// Estimated size of the smaller set, in 1/256 of a q-gram.
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
    use super::*;

    #[test]
    fn sizes_undo_saturation() {
        let table = SizeTable::new(256, 8);
        assert_eq!(table.size(0), 0);
        // 10 q-grams with 8 bits each leave about 256 (1 - exp(-80/256)) = 68.7 bits.
        let ten = f64::from(table.size(69)) / f64::from(ONE);
        assert!((9.9..10.2).contains(&ten), "{ten}");
        assert!(table.size(256) > table.size(255));
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
        assert!((650..690).contains(&inside.dice()), "{}", inside.dice());
        assert_eq!(inside.sides(), std::cmp::Ordering::Less);
        assert!(overlap(&small, &apart).containment() < 80);
        assert!(overlap(&small, &small).identical());
        assert!(!overlap(&small, &[0; 8]).present());
    }
}
