//! Typical pairs as waterfalls: the prior odds, then what each field's level adds, to the total that decided.
//!
//! A pattern is a comparison vector, levels of agreement without any value. Those of fewer pairs than the smallest count
//! are never shown; where all are as rare, those that differ in how common the names are, or in fields other than names and
//! date, become one, at its mean weight. The weights of fields add up only where nothing but chance speaks against a match; twins and
//! namesakes do as well, and fields that belong together are counted once: a last step says what that takes back.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ReportTerms;
use super::kinds::Kinds;
use super::outcomes::Fate;
use crate::decide::Reason;
use crate::levels::name_level;
use crate::{ComparisonVector, DimensionKind, Model};

/// How far under the bound a refused pair is still worth a look, in thousandths of a bit.
const NEAR_MILLIBITS: i32 = 10_000;
/// Level of a field that a pattern says nothing of; its weight is the mean.
const VARIOUS: &str = "various";
/// Endings of level names that say how common the name agreed upon is.
const RARITIES: [&str; 3] = [" common", " middling", " rare"];

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
    /// Pairs of this pattern and outcome; when a level names no rarity class where others do, of all classes together.
    pub pairs: u64,
    /// Log2 odds before anything is compared, in thousandths of a bit.
    pub prior_millibits: i32,
    /// By dimension.
    pub steps: Vec<Step>,
    /// What twins, namesakes and fields that belong together take back or add.
    pub related_millibits: i32,
    /// The pairs' weight; the mean of all classes' weights where they stand together.
    pub total_millibits: i32,
}

/// Pairs that look alike: one vector's, or those of several that differ in how common the names are only.
#[derive(Clone)]
struct Pattern {
    weight: i32,
    /// Name of the level and its weight in thousandths of a bit, by dimension.
    levels: Vec<(String, i32)>,
    pairs: u64,
}

/// Typical pairs of every outcome.
pub(super) fn waterfalls(model: &Model, kinds: &Kinds, alone: bool, terms: &ReportTerms) -> Vec<Waterfall> {
    let mut counts: BTreeMap<(Fate, i32, ComparisonVector), u64> = BTreeMap::new();
    for kind in kinds.all.iter().filter(|kind| kind.within == alone) {
        *counts.entry((kind.fate, kind.millibits, kind.vector)).or_default() += kind.pairs;
    }
    // By rising weight within a fate.
    let mut by_fate: BTreeMap<Fate, Vec<Pattern>> = BTreeMap::new();
    for ((fate, weight, vector), pairs) in counts {
        by_fate.entry(fate).or_default().push(Pattern { weight, levels: levels(model, &vector), pairs });
    }
    let dimensions: Vec<DimensionKind> = model.dimensions.iter().map(|d| d.kind).collect();
    let prior = model.weight_millibits(alone, &ComparisonVector::default());
    let mut out: Vec<Waterfall> = Vec::new();
    let mut show = |example, reason, pattern: Option<&Pattern>| {
        let made = pattern.map(|pattern| waterfall(model, prior, example, reason, pattern));
        let again = |w: &Waterfall| out.iter().any(|o| (o.reason, &o.steps) == (w.reason, &w.steps));
        if let Some(made) = made.filter(|w| !again(w)) {
            out.push(made);
        }
    };
    for (fate, patterns) in &by_fate {
        match fate {
            Fate::Linked => {
                let shown = frequent(patterns, &dimensions, terms.minimum_cell);
                let median = median(patterns);
                show(Example::MostLinked, None, most(&shown));
                show(Example::MedianLinked, None, shown.iter().min_by_key(|p| p.weight.abs_diff(median)));
                show(Example::LightestLinked, None, shown.first());
            }
            Fate::Abstained(reason) => {
                show(Example::MostAbstained, Some(*reason), most(&frequent(patterns, &dimensions, terms.minimum_cell)));
            }
            Fate::Refused => {
                let from = terms.settings.abstain_millibits().saturating_sub(NEAR_MILLIBITS);
                let near: Vec<Pattern> = patterns.iter().filter(|p| p.weight >= from).cloned().collect();
                show(Example::RefusedNearBound, None, most(&frequent(&near, &dimensions, terms.minimum_cell)));
            }
        }
    }
    out
}

/// What a level of a dimension is called.
type Stage = dyn Fn(&str, DimensionKind) -> String;

/// Patterns of `minimum` pairs or more, by rising weight. When there is none, those that patterns come to which differ in
/// how common the names are only; then those which agree in names and date alike, whatever the other fields say.
fn frequent(patterns: &[Pattern], kinds: &[DimensionKind], minimum: u64) -> Vec<Pattern> {
    let name = |level: &str, _: DimensionKind| level.to_owned();
    let family = |level: &str, _: DimensionKind| without_rarity(level).to_owned();
    let main = |level: &str, kind: DimensionKind| {
        let is_main = matches!(kind, DimensionKind::Surname | DimensionKind::Given | DimensionKind::Date);
        if is_main { without_rarity(level).to_owned() } else { VARIOUS.to_owned() }
    };
    for stage in [&name as &Stage, &family, &main] {
        let mut merged: BTreeMap<Vec<String>, Vec<&Pattern>> = BTreeMap::new();
        for pattern in patterns {
            let names = pattern.levels.iter().zip(kinds).map(|((level, _), kind)| stage(level, *kind));
            merged.entry(names.collect()).or_default().push(pattern);
        }
        let mut found: Vec<Pattern> = merged.into_iter().map(|(names, members)| mean(names, &members)).collect();
        found.retain(|p| p.pairs >= minimum);
        found.sort_by_key(|p| p.weight);
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

/// The mean of patterns, each as often as it has pairs.
fn mean(names: Vec<String>, members: &[&Pattern]) -> Pattern {
    let pairs: u64 = members.iter().map(|p| p.pairs).sum();
    let of = |figure: &dyn Fn(&Pattern) -> i32| {
        let sum: i64 = members.iter().map(|p| i64::from(figure(p)) * p.pairs as i64).sum();
        (sum as f64 / (pairs as f64).max(1.0)).round() as i32
    };
    let level = |(at, name): (usize, String)| (name, of(&|p: &Pattern| p.levels.get(at).map_or(0, |l| l.1)));
    Pattern { weight: of(&|p: &Pattern| p.weight), levels: names.into_iter().enumerate().map(level).collect(), pairs }
}

/// A level's name without what it says of the names' rarity.
fn without_rarity(level: &str) -> &str {
    let level = level.split_once(" class ").map_or(level, |(base, _)| base);
    RARITIES.iter().find_map(|ending| level.strip_suffix(ending)).unwrap_or(level)
}

fn most(patterns: &[Pattern]) -> Option<&Pattern> {
    patterns.iter().max_by_key(|p| (p.pairs, p.weight))
}

/// The weight of the pair in the middle.
fn median(patterns: &[Pattern]) -> i32 {
    let all: u64 = patterns.iter().map(|p| p.pairs).sum();
    let mut before = 0;
    let middle = patterns.iter().find(|p| {
        before += p.pairs;
        2 * before >= all
    });
    middle.map_or(0, |p| p.weight)
}

fn levels(model: &Model, vector: &ComparisonVector) -> Vec<(String, i32)> {
    let has_surname = model.dimensions.iter().any(|d| d.kind == DimensionKind::Surname);
    let level = |(at, d): (usize, &crate::classify::DimensionModel)| {
        let level = vector.level(at);
        // Exchanged names are counted at the surname.
        let counted = d.kind == DimensionKind::Given && level >= name_level::SWAPPED_CLOSE && has_surname;
        let millibits = if level == 0 || counted { 0 } else { (1000.0 * d.weight_bits(level)).round() as i32 };
        (d.kind.level_name(level), millibits)
    };
    model.dimensions.iter().enumerate().map(level).collect()
}

fn waterfall(model: &Model, prior: i32, example: Example, reason: Option<Reason>, pattern: &Pattern) -> Waterfall {
    let step = |(d, (level, millibits)): (&crate::classify::DimensionModel, &(String, i32))| Step {
        dimension: d.name.clone(),
        level: level.clone(),
        millibits: *millibits,
    };
    let sum = pattern.levels.iter().fold(prior, |sum, level| sum.saturating_add(level.1));
    Waterfall {
        example,
        reason,
        pairs: pattern.pairs,
        prior_millibits: prior,
        steps: model.dimensions.iter().zip(&pattern.levels).map(step).collect(),
        related_millibits: pattern.weight.saturating_sub(sum),
        total_millibits: pattern.weight,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const KINDS: &[DimensionKind] = &[DimensionKind::Surname, DimensionKind::Sex];

    fn pattern(level: &str, millibits: i32, weight: i32, pairs: u64) -> Pattern {
        Pattern { weight, levels: vec![(level.to_owned(), millibits), ("equal".to_owned(), 1_000)], pairs }
    }

    #[test]
    fn rare_patterns_are_shown_together_or_not_at_all() {
        let few = [
            pattern("exact class 2", 4_000, 5_000, 6),
            pattern("exact class 5", 9_000, 9_500, 6),
            pattern("low", -500, -900, 10),
        ];
        let merged = frequent(&few, KINDS, 11);
        assert_eq!(merged.len(), 1);
        assert_eq!((merged[0].pairs, merged[0].weight), (12, 7_250));
        assert_eq!(merged[0].levels, [("exact".to_owned(), 6_500), ("equal".to_owned(), 1_000)]);
        // One that is frequent by itself is shown as it is, and the others not.
        let one = [pattern("exact class 2", 4_000, 5_000, 6), pattern("exact class 5", 9_000, 9_500, 11)];
        assert_eq!(frequent(&one, KINDS, 11).iter().map(|p| p.weight).collect::<Vec<_>>(), [9_500]);
        assert!(frequent(&few[..1], KINDS, 11).is_empty());
        // As a last resort the other fields are left open.
        let other = [
            pattern("low", -500, -900, 8),
            Pattern { levels: vec![("low".to_owned(), -500), ("different".to_owned(), -3_000)], ..pattern("low", 0, -5_100, 8) },
        ];
        let merged = frequent(&other, KINDS, 11);
        assert_eq!((merged[0].pairs, merged[0].weight), (16, -3_000));
        assert_eq!(merged[0].levels, [("low".to_owned(), -500), (VARIOUS.to_owned(), -1_000)]);
    }

    #[test]
    fn every_level_of_names_is_named_without_rarity_by_its_family() {
        let names: BTreeSet<String> = (0..25).map(|l| without_rarity(&DimensionKind::Surname.level_name(l)).to_owned()).collect();
        for family in ["exact", "high", "contained", "phonetic-close", "swapped", "different"] {
            assert!(names.contains(family), "{names:?}");
        }
        assert!(!names.iter().any(|n| n.contains("class") || n.contains("rare")), "{names:?}");
    }

    #[test]
    fn the_median_is_of_pairs() {
        assert_eq!(median(&[pattern("low", 0, -5, 1), pattern("low", 0, 3, 1), pattern("low", 0, 9, 5)]), 9);
        assert_eq!(median(&[]), 0);
    }
}
