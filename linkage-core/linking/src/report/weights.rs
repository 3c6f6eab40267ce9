//! Weights by dimension and level, with the pairs that met and were linked at each, and how much of them is shipped.

use serde::Serialize;

use super::kinds::Kinds;
use super::outcomes::Fate;
use crate::Model;
use crate::classify::DimensionModel;
use crate::classify::PRIOR_MATCHES;

/// One level's weight.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LevelReport {
    /// The level's name.
    pub level: String,
    /// Agreement among matches.
    pub m: f64,
    /// Agreement by chance.
    pub u: f64,
    /// log2(m / u).
    pub weight_bits: f64,
    /// Cross-party pairs that met at this level.
    pub pairs: u64,
    /// Those of them that were linked.
    pub linked: u64,
}

/// One dimension's weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DimensionReport {
    /// The dimension's name.
    pub dimension: String,
    /// Its levels, level 0 (missing) left out.
    pub levels: Vec<LevelReport>,
    /// Cross-party pairs that met with nothing to compare on one side.
    pub missing: u64,
    /// Those of them that were linked.
    pub missing_linked: u64,
    /// Share of m that comes from shipped tables and not from this run's matches, 0 to 1.
    pub shipped_share: f64,
}

pub(super) fn weights(model: &Model, kinds: &Kinds, alone: bool) -> Vec<DimensionReport> {
    let mut counts: Vec<Vec<(u64, u64)>> = model.dimensions.iter().map(|d| vec![(0, 0); d.m.len()]).collect();
    let mut present = vec![0.0; model.dimensions.len()];
    for kind in &kinds.all {
        let (vector, pairs) = (kind.vector, kind.pairs);
        let linked = if kind.fate == Fate::Linked { pairs } else { 0 };
        let matches = pairs as f64 * kind.matched;
        for (at, (counts, present)) in counts.iter_mut().zip(&mut present).enumerate() {
            if vector.level(at) > 0 {
                *present += matches;
            }
            if let Some(count) = counts.get_mut(usize::from(vector.level(at))).filter(|_| kind.within == alone) {
                count.0 += pairs;
                count.1 += linked;
            }
        }
    }
    let rows = model.dimensions.iter().zip(counts).zip(present);
    rows.map(|((d, counts), present)| dimension(d, &counts, present)).collect()
}

/// One dimension, from its pairs and linked pairs by level and the expected matches that have it on both sides.
fn dimension(d: &DimensionModel, counts: &[(u64, u64)], present: f64) -> DimensionReport {
    let (missing, missing_linked) = counts.first().copied().unwrap_or_default();
    let rows = (0u8..).zip(d.m.iter().zip(&d.u).zip(counts)).skip(1);
    let levels = rows.map(|(level, ((&m, &u), &(pairs, linked)))| LevelReport {
        level: d.kind.level_name(level),
        m,
        u,
        weight_bits: d.weight_bits(level),
        pairs,
        linked,
    });
    DimensionReport {
        dimension: d.name.clone(),
        levels: levels.collect(),
        missing,
        missing_linked,
        shipped_share: PRIOR_MATCHES / (PRIOR_MATCHES + present),
    }
}
