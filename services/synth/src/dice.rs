//! Seeded draws: one independent ChaCha8 stream per purpose, so that a change in one place leaves the others alone.
//!
//! Floating-point draws compare a 53-bit fraction with a constant and never call the platform's mathematics library,
//! whose last digit differs between systems: the same seed gives the same bytes everywhere.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// A stream of draws. Not for secrets: everything follows from the seed.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of `seed` for `purpose`.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        let mut key = [0u8; 32];
        let (seed_part, rest) = key.split_at_mut(8);
        seed_part.copy_from_slice(&seed.to_le_bytes());
        rest[..8].copy_from_slice(&mix(purpose).to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0. The bias of the multiplication is below 2^-32.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Uniform in `low..=high`.
    pub(crate) fn between(&mut self, low: i32, high: i32) -> i32 {
        low + self.below((high - low).max(0) as usize + 1) as i32
    }

    /// Uniform in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of a constant, non-empty list.
    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// A place in `weights`, in proportion to them.
    pub(crate) fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut left = self.below(weights.iter().sum::<u32>() as usize) as u32;
        for (at, weight) in weights.iter().enumerate() {
            if left < *weight {
                return at;
            }
            left -= weight;
        }
        0
    }

    /// A count with this mean (at most 12), as the sum of thirty-two small chances: near enough to Poisson without `exp`.
    pub(crate) fn count(&mut self, mean: f64) -> u32 {
        (0..32).map(|_| u32::from(self.chance(mean / 32.0))).sum()
    }
}

/// FNV-1a of a purpose.
fn mix(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Items drawn in proportion to their counts.
#[derive(Default)]
pub(crate) struct Weighted<T> {
    items: Vec<T>,
    upto: Vec<u64>,
}

impl<T> Weighted<T> {
    /// Adds an item; one of weight 0 is never drawn.
    pub(crate) fn push(&mut self, item: T, weight: u64) {
        let before = self.upto.last().copied().unwrap_or(0);
        self.items.push(item);
        self.upto.push(before + weight);
    }

    /// One item, unless there is none.
    pub(crate) fn draw(&self, dice: &mut Dice) -> Option<&T> {
        let total = *self.upto.last()?;
        let ticket = dice.below(total as usize) as u64;
        self.items.get(self.upto.partition_point(|upto| *upto <= ticket))
    }
}
