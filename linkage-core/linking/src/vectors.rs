//! The distinct comparison vectors of a run: some hundred thousand at most, however many pairs there are. What depends on
//! the vector alone is worked out once for each.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::ComparisonVector;
use crate::classify::Comparison;

/// Rows that one task counts.
const CHUNK: usize = 1 << 16;

/// Distinct vectors, of pairs within a party and of others.
#[derive(Debug)]
pub(crate) struct Vectors {
    /// In order, with the number of pairs of each.
    pub(crate) distinct: Vec<(bool, ComparisonVector, u64)>,
    /// By row: which one.
    of_row: Vec<u32>,
}

impl Vectors {
    pub(crate) fn of(rows: &[Comparison]) -> Self {
        let count = |chunk: &[Comparison]| {
            let mut found: HashMap<(bool, ComparisonVector), u64> = HashMap::new();
            for row in chunk {
                *found.entry((row.within, row.vector)).or_default() += 1;
            }
            found
        };
        let add = |mut all: HashMap<_, u64>, part: HashMap<_, u64>| {
            part.into_iter().for_each(|(vector, pairs)| *all.entry(vector).or_default() += pairs);
            all
        };
        let found = rows.par_chunks(CHUNK).map(count).reduce(HashMap::new, add);
        let mut distinct: Vec<_> = found.into_iter().map(|((within, vector), pairs)| (within, vector, pairs)).collect();
        distinct.par_sort_unstable();
        let numbers: HashMap<(bool, ComparisonVector), u32> =
            distinct.iter().map(|&(within, vector, _)| (within, vector)).zip(0..).collect();
        let number = |row: &Comparison| numbers.get(&(row.within, row.vector)).copied().unwrap_or_default();
        Self { of_row: rows.par_iter().map(number).collect(), distinct }
    }

    /// What `of` gives for each distinct vector.
    pub(crate) fn map<T: Send>(&self, of: impl Fn(bool, &ComparisonVector) -> T + Sync) -> Vec<T> {
        self.distinct.par_iter().map(|(within, vector, _)| of(*within, vector)).collect()
    }
    /// By row: the number of its vector in `distinct`.
    pub(crate) fn of_rows(&self) -> &[u32] {
        &self.of_row
    }
}
