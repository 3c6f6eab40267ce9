//! Typical pairs as waterfalls: the prior odds, then what each field's level adds, to the total that decided.
//!
//! A pattern is a comparison vector, levels of agreement without any value. Those of fewer pairs than the smallest count
//! are never shown. The weights of fields add up only where nothing but chance speaks against a match; twins and
//! namesakes do as well, and fields that belong together are counted once: a last step says what that takes back.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::ReportTerms;
use super::outcomes::{Fate, Outcomes};
use crate::decide::{Decided, Reason};
use crate::levels::name_level;
use crate::{ComparisonVector, Comparisons, DimensionKind, Model};

/// How far under the bound a refused pair is still worth a look, in thousandths of a bit.
const NEAR_MILLIBITS: i32 = 10_000;

/// Why a pattern is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Example {
    /// The most frequent one among linked pairs.
    MostLinked,
    /// The one nearest to the median weight of linked pairs.
    MedianLinked,
    /// The lightest one among linked pairs.
    LightestLinked,
    /// The most frequent one left open for a reason.
    MostAbstained,
    /// The most frequent refused one not far under the bound.
    RefusedNearBound,
}

/// What one field adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The dimension's name.
    pub dimension: String,
    /// The level's name.
    pub level: String,
    /// log2(m / u) in thousandths of a bit; 0 where nothing was compared.
    pub millibits: i32,
}

/// One typical pair. `prior_millibits`, the steps and `related_millibits` add up to `total_millibits`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waterfall {
    /// Why it is shown.
    pub example: Example,
    /// Why pairs like it were left open, when they were.
    pub reason: Option<Reason>,
    /// Pairs of this pattern and outcome.
    pub pairs: u64,
    /// Log2 odds before anything is compared, in thousandths of a bit.
    pub prior_millibits: i32,
    /// By dimension.
    pub steps: Vec<Step>,
    /// What twins, namesakes and fields that belong together take back or add.
    pub related_millibits: i32,
    /// The pair's weight.
    pub total_millibits: i32,
}

/// Distinct patterns of one fate: weight, vector, pairs; in this order.
type Patterns = Vec<(i32, ComparisonVector, u64)>;

/// Typical pairs of every outcome.
pub(super) fn waterfalls(
    model: &Model,
    comparisons: &Comparisons,
    decided: &[Decided],
    outcomes: &Outcomes,
    alone: bool,
    terms: &ReportTerms,
) -> Vec<Waterfall> {
    let mut counts: BTreeMap<(Fate, i32, ComparisonVector), u64> = BTreeMap::new();
    for ((row, pair), fate) in comparisons.rows.iter().zip(decided).zip(&outcomes.fates) {
        if row.within == alone {
            *counts.entry((*fate, pair.millibits, row.vector)).or_default() += 1;
        }
    }
    let mut by_fate: BTreeMap<Fate, Patterns> = BTreeMap::new();
    for ((fate, weight, vector), pairs) in counts {
        by_fate.entry(fate).or_default().push((weight, vector, pairs));
    }
    let mut out = Vec::new();
    let mut seen: BTreeSet<(Fate, ComparisonVector)> = BTreeSet::new();
    let mut show = |example, fate, pattern: Option<(i32, ComparisonVector, u64)>| {
        let Some((weight, vector, pairs)) = pattern else { return };
        if seen.insert((fate, vector)) {
            let reason = if let Fate::Abstained(reason) = fate { Some(reason) } else { None };
            out.push(waterfall(model, alone, example, reason, (weight, vector, pairs)));
        }
    };
    for (fate, patterns) in &by_fate {
        let median = median(patterns);
        let shown: Patterns = patterns.iter().copied().filter(|p| p.2 >= terms.minimum_cell).collect();
        let most = |patterns: &Patterns| patterns.iter().copied().max_by_key(|&(weight, vector, pairs)| (pairs, weight, vector));
        match fate {
            Fate::Linked => {
                show(Example::MostLinked, *fate, most(&shown));
                let nearest = shown.iter().copied().min_by_key(|&(weight, vector, _)| (weight.abs_diff(median), weight, vector));
                show(Example::MedianLinked, *fate, nearest);
                show(Example::LightestLinked, *fate, shown.first().copied());
            }
            Fate::Abstained(_) => show(Example::MostAbstained, *fate, most(&shown)),
            Fate::Refused => {
                let from = terms.settings.abstain_millibits().saturating_sub(NEAR_MILLIBITS);
                let near: Patterns = shown.into_iter().filter(|p| p.0 >= from).collect();
                show(Example::RefusedNearBound, *fate, most(&near));
            }
        }
    }
    out
}

/// The weight of the pair in the middle.
fn median(patterns: &Patterns) -> i32 {
    let all: u64 = patterns.iter().map(|p| p.2).sum();
    let mut before = 0;
    let middle = patterns.iter().find(|p| {
        before += p.2;
        2 * before >= all
    });
    middle.map_or(0, |p| p.0)
}

fn waterfall(
    model: &Model,
    alone: bool,
    example: Example,
    reason: Option<Reason>,
    (total, vector, pairs): (i32, ComparisonVector, u64),
) -> Waterfall {
    let prior = model.weight_millibits(alone, &ComparisonVector::default());
    let has_surname = model.dimensions.iter().any(|d| d.kind == DimensionKind::Surname);
    let step = |(at, d): (usize, &crate::classify::DimensionModel)| {
        let level = vector.level(at);
        // Exchanged names are counted at the surname.
        let counted = d.kind == DimensionKind::Given && level >= name_level::SWAPPED_CLOSE && has_surname;
        let millibits = if level == 0 || counted { 0 } else { (1000.0 * d.weight_bits(level)).round() as i32 };
        Step { dimension: d.name.clone(), level: d.kind.level_name(level), millibits }
    };
    let steps: Vec<Step> = model.dimensions.iter().enumerate().map(step).collect();
    let sum = steps.iter().fold(prior, |sum, step| sum.saturating_add(step.millibits));
    Waterfall {
        example,
        reason,
        pairs,
        prior_millibits: prior,
        steps,
        related_millibits: total.saturating_sub(sum),
        total_millibits: total,
    }
}
