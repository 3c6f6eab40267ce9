//! How often records of two different persons agree by chance: level frequencies counted at the nodes.
//!
//! Each node compares random pairs of its own records, encoded under a throw-away block key, and sends only how often
//! each level came up. A small count could point at a few persons, so counts under `SMALL_COUNT` are suppressed and
//! the others rounded to its multiples: the number of pairs drawn is known, and exact counts would give away what
//! was suppressed by subtraction.

use std::collections::BTreeMap;

use linkage_agreement::Layout;
use serde::{Deserialize, Serialize};

use crate::levels::{DimensionKind, date_level, name_level};
use crate::{ComparisonVector, Dimensions, LinkError};

/// Counts under this are suppressed.
pub const SMALL_COUNT: u64 = 5;

/// Frequencies of the levels of one dimension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DimensionFrequencies {
    /// The dimension's name (`Dimension::name`).
    pub dimension: String,
    /// Pairs by level.
    pub counts: Vec<u64>,
    /// For each level, the pairs drawn by the nodes that suppressed its count.
    pub suppressed_pairs: Vec<u64>,
    /// For each level, the number of nodes that suppressed its count.
    pub suppressed_by: Vec<u32>,
}

/// Frequencies of all dimensions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelFrequencies {
    /// Random pairs compared.
    pub pairs: u64,
    /// By dimension, in the order of `Dimensions`.
    pub dimensions: Vec<DimensionFrequencies>,
}

impl LevelFrequencies {
    /// No pair yet, for the dimensions of `layout`.
    pub fn new(layout: &Layout) -> Self {
        let table = |d: &crate::levels::Dimension| DimensionFrequencies {
            dimension: d.name.clone(),
            counts: vec![0; d.kind.levels()],
            suppressed_pairs: vec![0; d.kind.levels()],
            suppressed_by: vec![0; d.kind.levels()],
        };
        Self { pairs: 0, dimensions: Dimensions::of(layout).iter().map(table).collect() }
    }

    /// Counts one random pair. Returns `false`, and counts nothing, when the two are so alike that they must be one
    /// person twice in the list (same surname, given name and date): drawn pairs of duplicates would make the rarest
    /// agreements look common, and two persons drawn at random never agree like that.
    pub fn observe(&mut self, dimensions: &Dimensions, vector: &ComparisonVector) -> bool {
        if is_duplicate(dimensions, vector) {
            return false;
        }
        self.pairs += 1;
        for (at, table) in self.dimensions.iter_mut().enumerate() {
            if let Some(count) = table.counts.get_mut(usize::from(vector.level(at))) {
                *count += 1;
            }
        }
        true
    }

    /// Suppresses small counts and rounds the others to multiples of `SMALL_COUNT`; to be called once, before the
    /// table leaves the node.
    pub fn suppress(&mut self) {
        for table in &mut self.dimensions {
            let cells = table.counts.iter_mut().zip(&mut table.suppressed_pairs).zip(&mut table.suppressed_by);
            for ((count, pairs), nodes) in cells {
                if *count < SMALL_COUNT {
                    *count = 0;
                    *pairs = self.pairs;
                    *nodes = 1;
                } else {
                    *count = (*count + SMALL_COUNT / 2) / SMALL_COUNT * SMALL_COUNT;
                }
            }
        }
    }

    /// Adds another node's table. Errors when it is not of the same dimensions.
    pub fn merge(&mut self, other: &Self) -> Result<(), LinkError> {
        self.check_like(other)?;
        self.pairs = self.pairs.saturating_add(other.pairs);
        for (mine, theirs) in self.dimensions.iter_mut().zip(&other.dimensions) {
            for (to, from) in mine.counts.iter_mut().zip(&theirs.counts) {
                *to = to.saturating_add(*from);
            }
            for (to, from) in mine.suppressed_pairs.iter_mut().zip(&theirs.suppressed_pairs) {
                *to = to.saturating_add(*from);
            }
            for (to, from) in mine.suppressed_by.iter_mut().zip(&theirs.suppressed_by) {
                *to = to.saturating_add(*from);
            }
        }
        Ok(())
    }

    /// Refuses a table of other dimensions, or one whose counts exceed its pairs.
    pub fn check(&self, layout: &Layout) -> Result<(), LinkError> {
        Self::new(layout).check_like(self)
    }

    fn check_like(&self, other: &Self) -> Result<(), LinkError> {
        let alike = self.dimensions.len() == other.dimensions.len()
            && self.dimensions.iter().zip(&other.dimensions).all(|(x, y)| {
                x.dimension == y.dimension
                    && x.counts.len() == y.counts.len()
                    && x.suppressed_pairs.len() == y.suppressed_pairs.len()
                    && x.suppressed_by.len() == y.suppressed_by.len()
            });
        if !alike {
            return Err(LinkError::Frequencies("not the dimensions of this agreement"));
        }
        // Rounding may lift every level by half a step per node.
        let possible = |d: &DimensionFrequencies| {
            d.counts.iter().all(|&c| c <= other.pairs.saturating_mul(2)) && d.suppressed_pairs.iter().all(|&p| p <= other.pairs)
        };
        if other.dimensions.iter().all(possible) { Ok(()) } else { Err(LinkError::Frequencies("counts above the pairs drawn")) }
    }

    /// Chance agreement u by dimension and level, among pairs where the dimension is present on both sides (level 0 is
    /// 1 and carries no evidence). `prior` smooths with the weight of `prior_pairs` pairs; a suppressed count is taken
    /// as what the prior expects there, within what suppression allows (0.5 to 4 for each node).
    pub(crate) fn chance(&self, dimension: usize, prior: &[f64], prior_pairs: f64) -> Vec<f64> {
        let table = self.dimensions.get(dimension);
        let mut expected: Vec<f64> = Vec::with_capacity(prior.len());
        for (level, &share) in prior.iter().enumerate() {
            let cell = |cells: fn(&DimensionFrequencies) -> &Vec<u64>| {
                table.and_then(|t| cells(t).get(level)).map_or(0.0, |&value| value as f64)
            };
            let nodes = table.and_then(|t| t.suppressed_by.get(level)).map_or(0.0, |&n| f64::from(n));
            let hidden = if nodes > 0.0 { (share * cell(|t| &t.suppressed_pairs)).clamp(0.5 * nodes, 4.0 * nodes) } else { 0.0 };
            expected.push(if level == 0 { 0.0 } else { cell(|t| &t.counts) + hidden + share * prior_pairs });
        }
        let total: f64 = expected.iter().sum();
        let mut chance: Vec<f64> = expected.iter().map(|e| (e / total.max(f64::MIN_POSITIVE)).max(1e-9)).collect();
        if let Some(missing) = chance.first_mut() {
            *missing = 1.0;
        }
        chance
    }

    /// The counts by dimension name, for reports.
    pub fn by_name(&self) -> BTreeMap<&str, &[u64]> {
        self.dimensions.iter().map(|d| (d.dimension.as_str(), d.counts.as_slice())).collect()
    }
}

fn is_duplicate(dimensions: &Dimensions, vector: &ComparisonVector) -> bool {
    let at_least = |kind, level: u8| dimensions.position(kind).is_some_and(|at| vector.level(at) >= level);
    at_least(DimensionKind::Surname, name_level::CONTAINED)
        && at_least(DimensionKind::Given, name_level::CONTAINED)
        && at_least(DimensionKind::Date, date_level::MONTH_OFF)
}

#[cfg(test)]
mod tests {
    use linkage_agreement::FieldKind;

    use super::*;

    fn layout() -> Layout {
        Layout::new(&[FieldKind::BirthName, FieldKind::GivenNames, FieldKind::BirthDate, FieldKind::Sex], 128, 4, 8)
    }

    fn vector(levels: &[u8]) -> ComparisonVector {
        let mut vector = ComparisonVector::default();
        vector.0[..levels.len()].copy_from_slice(levels);
        vector
    }

    #[test]
    fn suppresses_rounds_and_merges() {
        let layout = layout();
        let dimensions = Dimensions::of(&layout);
        let mut one = LevelFrequencies::new(&layout);
        for n in 0..103 {
            let sex = if n < 3 { 0 } else { 1 + u8::from(n % 2 == 0) };
            assert!(one.observe(&dimensions, &vector(&[1, 1, 1, sex])));
        }
        assert!(!one.observe(&dimensions, &vector(&[16, 16, 15, 2])), "a duplicate is left out");
        let exact = one.clone();
        one.suppress();
        assert_eq!(one.dimensions[3].counts, [0, 50, 50]);
        assert_eq!(one.dimensions[3].suppressed_pairs, [103, 0, 0]);
        assert_eq!(one.dimensions[0].counts[1], 105, "rounded");
        let mut sum = exact;
        sum.merge(&one).unwrap();
        assert_eq!(sum.pairs, 206);
        assert_eq!(sum.dimensions[3].counts, [3, 100, 100]);
        assert_eq!(sum.dimensions[3].suppressed_by, [1, 0, 0]);
        let text = serde_json::to_string(&sum).unwrap();
        assert_eq!(serde_json::from_str::<LevelFrequencies>(&text).unwrap(), sum);

        let u = sum.chance(3, &[0.0, 0.4, 0.6], 0.0);
        assert_eq!((u[0], u[1], u[2]), (1.0, 0.5, 0.5));
        let only_prior = LevelFrequencies::new(&layout).chance(3, &[0.0, 0.4, 0.6], 10.0);
        assert!((only_prior[1] - 0.4).abs() < 1e-12);
        let hidden = one.chance(2, &crate::prior::chance(DimensionKind::Date), 0.0);
        assert!(hidden[15] >= 0.5 / 130.0 && hidden[15] < 4.0 / 100.0);
    }

    #[test]
    fn refuses_other_dimensions_and_impossible_counts() {
        let layout = layout();
        let other = Layout::new(&[FieldKind::BirthName, FieldKind::BirthDate], 128, 4, 8);
        let mut table = LevelFrequencies::new(&layout);
        let wrong = LinkError::Frequencies("not the dimensions of this agreement");
        assert_eq!(table.merge(&LevelFrequencies::new(&other)), Err(wrong.clone()));
        assert_eq!(table.check(&other), Err(wrong));
        table.dimensions[0].counts[3] = 1;
        assert_eq!(table.check(&layout), Err(LinkError::Frequencies("counts above the pairs drawn")));
    }
}
