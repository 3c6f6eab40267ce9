//! The run's pairs counted by kind: pairs of one comparison vector, weight and fate are alike for every figure of the report.

use std::collections::HashMap;

use rayon::prelude::*;

use super::outcomes::Fate;
use crate::decide::Decided;
use crate::levels::{date_level, name_level};
use crate::vectors::Vectors;
use crate::{ComparisonVector, Comparisons, DimensionKind, Model};

/// Rows that one task counts.
const CHUNK: usize = 1 << 16;

/// Pairs that are alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kind {
    /// Whether both records are of one party.
    pub within: bool,
    pub vector: ComparisonVector,
    /// Number of the vector among those of the run.
    number: u32,
    pub millibits: i32,
    pub fate: Fate,
    pub pairs: u64,
    /// Probability of a match by the vector alone.
    pub matched: f64,
}

/// All kinds of a run.
pub(super) struct Kinds {
    /// In order of vector, weight and fate.
    pub all: Vec<Kind>,
    /// By row: which kind.
    pub of_row: Vec<u32>,
}

impl Kinds {
    /// Counts `decided` with what became of each.
    pub(super) fn of(model: &Model, comparisons: &Comparisons, decided: &[Decided], fates: &[Fate]) -> Self {
        type Key = (u32, i32, Fate);
        let vectors = Vectors::of(&comparisons.rows);
        let matched = vectors.map(|within, vector| model.posterior(within, vector).matched);
        let keys = || vectors.of_rows().par_iter().zip(decided).zip(fates).map(|((v, pair), fate)| (*v, pair.millibits, *fate));
        let counted = keys().fold_chunks(CHUNK, HashMap::new, |mut counts: HashMap<Key, u64>, key| {
            *counts.entry(key).or_default() += 1;
            counts
        });
        let counts = counted.reduce(HashMap::new, |mut all, part| {
            part.into_iter().for_each(|(key, pairs)| *all.entry(key).or_default() += pairs);
            all
        });
        let mut sorted: Vec<(Key, u64)> = counts.into_iter().collect();
        sorted.par_sort_unstable();
        let numbers: HashMap<Key, u32> = sorted.iter().map(|(key, _)| *key).zip(0..).collect();
        let kind = |((number, millibits, fate), pairs): (Key, u64)| {
            let &(within, vector, _) = vectors.distinct.get(number as usize)?;
            Some(Kind { within, vector, number, millibits, fate, pairs, matched: *matched.get(number as usize)? })
        };
        let of_row = keys().map(|key| numbers.get(&key).copied().unwrap_or_default()).collect();
        Self { all: sorted.into_iter().filter_map(kind).collect(), of_row }
    }
}

/// Estimated matches that met in no block, from the errors of those that met, each kind with its number of pairs. Zero when
/// the layout has fewer than three of surname, given name and date, since every pair with an error may then go unseen.
pub(super) fn never_met<'k>(model: &Model, kinds: impl Iterator<Item = (&'k Kind, u64)>) -> f64 {
    let position = |kind| model.dimensions.iter().position(|d| d.kind == kind);
    let (Some(surname), Some(given), Some(date)) =
        (position(DimensionKind::Surname), position(DimensionKind::Given), position(DimensionKind::Date))
    else {
        return 0.0;
    };
    // Matches by which of the three have an error: bit 0 surname, bit 1 given name, bit 2 date. Vector by vector, in order.
    let mut seen = [0.0; 8];
    let mut add = |kind: &Kind, pairs: u64| {
        let errors = [
            kind.vector.level(surname) < name_level::PHONETIC_CLOSE,
            kind.vector.level(given) < name_level::PHONETIC_CLOSE,
            kind.vector.level(date) < date_level::EQUAL_DEFAULT,
        ];
        let cell = errors.iter().rev().fold(0, |cell, &error| 2 * cell + usize::from(error));
        if let Some(sum) = seen.get_mut(cell) {
            *sum += pairs as f64 * kind.matched;
        }
    };
    let mut last: Option<(&Kind, u64)> = None;
    for (kind, pairs) in kinds {
        match &mut last {
            Some((of, sum)) if of.number == kind.number => *sum += pairs,
            _ => {
                if let Some((of, sum)) = last.replace((kind, pairs)) {
                    add(of, sum);
                }
            }
        }
    }
    if let Some((of, sum)) = last {
        add(of, sum);
    }
    let [none, s, g, sg, d, sd, gd, sgd] = seen;
    if none <= 0.0 {
        return 0.0;
    }
    let unseen = |expected: f64, seen: f64| (expected - seen).max(0.0);
    unseen(s * g / none, sg) + unseen(s * d / none, sd) + unseen(g * d / none, gd) + unseen(s * g * d / (none * none), sgd)
}
