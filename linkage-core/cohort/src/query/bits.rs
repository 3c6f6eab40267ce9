//! Sets of units as bitmaps over their dense numbers.

/// A set of numbers below a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    /// The empty set of numbers below `size`.
    pub(crate) fn new(size: usize) -> Self {
        Self(vec![0; size.div_ceil(64)])
    }
    /// Puts `unit` in; a number beyond the bound is none.
    pub(crate) fn set(&mut self, unit: u32) {
        if let Some(word) = self.0.get_mut(unit as usize / 64) {
            *word |= 1 << (unit % 64);
        }
    }
    /// Whether `unit` is in.
    pub(crate) fn has(&self, unit: u32) -> bool {
        self.0.get(unit as usize / 64).is_some_and(|word| word >> (unit % 64) & 1 == 1)
    }
    /// Puts all of `other` in.
    pub(crate) fn add(&mut self, other: &Self) {
        self.zip(other, |a, b| a | b);
    }
    /// Leaves what is in `other` too.
    pub(crate) fn keep(&mut self, other: &Self) {
        self.zip(other, |a, b| a & b);
    }
    /// Takes all of `other` out.
    pub(crate) fn remove(&mut self, other: &Self) {
        self.zip(other, |a, b| a & !b);
    }
    /// What is in and not in `other`.
    pub(crate) fn without(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & !b).collect())
    }
    /// The numbers in, rising.
    pub(crate) fn ones(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(&self.0).flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(at * 64 + bit)
            })
        })
    }
    fn zip(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            *a = with(*a, *b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[u32]) -> Bits {
        let mut bits = Bits::new(200);
        numbers.iter().for_each(|n| bits.set(*n));
        bits
    }

    #[test]
    fn sets_are_what_was_put_in() {
        let set = of(&[0, 63, 64, 130, 199, 5000]);
        assert_eq!(set.ones().collect::<Vec<_>>(), [0, 63, 64, 130, 199]);
        assert!(set.has(63) && set.has(199) && !set.has(1) && !set.has(5000));
        assert_eq!(Bits::new(0).ones().count(), 0);
        assert_eq!(set.without(&of(&[64, 65])).ones().collect::<Vec<_>>(), [0, 63, 130, 199]);
        let (mut added, mut kept, mut removed) = (set.clone(), set.clone(), set);
        added.add(&of(&[1]));
        kept.keep(&of(&[63, 65]));
        removed.remove(&of(&[0, 199]));
        assert_eq!(added.ones().collect::<Vec<_>>(), [0, 1, 63, 64, 130, 199]);
        assert_eq!(kept.ones().collect::<Vec<_>>(), [63]);
        assert_eq!(removed.ones().collect::<Vec<_>>(), [63, 64, 130]);
    }
}
