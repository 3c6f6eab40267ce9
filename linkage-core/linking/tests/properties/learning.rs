//! The classifier on any comparisons whatever: finite, in bounds, and no evidence where there is nothing to compare.

use linkage_agreement::{FieldKind, Layout};
use linkage_linking::classify::{Shares, classify};
use linkage_linking::{
    Comparison, ComparisonVector, Comparisons, Dimensions, Dispositions, LevelFrequencies, MAX_DIMENSIONS, Model, Outcome,
    PartyInput, Records, decide, settle,
};
use proptest::prelude::*;

use crate::SETTINGS;

/// Records of each of three parties.
const SIZE: u32 = 30;

fn layouts() -> Vec<Layout> {
    use FieldKind::*;
    let fields: [&[FieldKind]; 8] = [
        &[BirthName, UsageName, GivenNames, BirthDate, Sex, Place, Place],
        &[GivenNames, BirthName, BirthDate, Text, Category, Text],
        &[BirthName],
        &[GivenNames],
        &[BirthDate],
        &[Sex],
        &[Place],
        &[Category, Text],
    ];
    fields.into_iter().map(|fields| Layout::new(fields, 64, 2, 4)).collect()
}

fn learn<T>(
    layout: &Layout,
    duplicate_free: bool,
    rows: Vec<Comparison>,
    then: impl FnOnce(&Records, &Comparisons, &Model) -> T,
) -> T {
    let bytes = vec![0; SIZE as usize * layout.record_len()];
    let input: Vec<_> = (0..3).map(|_| PartyInput::block_scoped(layout, duplicate_free, vec![&bytes[..]])).collect();
    let records = Records::new(layout, &input).unwrap();
    let comparisons = Comparisons { rows };
    let model = classify(&records, &comparisons, &LevelFrequencies::new(layout)).unwrap();
    then(&records, &comparisons, &model)
}

/// Pairs (a, b) of ninety records, each with its vector: any levels, or levels that exist.
fn rows(layout: &Layout, pairs: &[(u32, u32, [u8; MAX_DIMENSIONS])], wild: bool) -> Vec<Comparison> {
    let dimensions = Dimensions::of(layout);
    let vector = |levels: &[u8; MAX_DIMENSIONS]| {
        let mut vector = ComparisonVector(*levels);
        if !wild {
            vector = ComparisonVector::default();
            for ((place, level), dimension) in vector.0.iter_mut().zip(levels).zip(dimensions.iter()) {
                *place = level % dimension.kind.levels() as u8;
            }
        }
        vector
    };
    let mut rows: Vec<Comparison> = pairs
        .iter()
        .filter(|(a, b, _)| a != b)
        .map(|(a, b, levels)| Comparison {
            a: *a.min(b),
            b: *a.max(b),
            within: a / SIZE == b / SIZE,
            met: 1,
            vector: vector(levels),
        })
        .collect();
    rows.sort();
    rows.dedup_by_key(|row| (row.a, row.b));
    rows
}

fn sound(model: &Model) -> Result<(), TestCaseError> {
    for Shares { pairs, matches, twins, namesakes, doubles } in [model.across, model.within] {
        for share in [matches, twins, namesakes, doubles] {
            prop_assert!(share.is_finite() && (0.0..=1.0).contains(&share), "{share} of {pairs}");
        }
        prop_assert!(matches <= 0.5 && doubles <= 0.011 * matches, "{matches} {doubles}");
        prop_assert!(matches + twins + namesakes + doubles <= 1.0, "{matches} {twins} {namesakes} {doubles}");
    }
    for dimension in &model.dimensions {
        prop_assert_eq!(dimension.weight_bits(0), 0.0, "missing is no evidence");
        for table in [&dimension.m, &dimension.u] {
            prop_assert!(table.iter().all(|p| p.is_finite() && *p > 0.0 && *p <= 1.0), "{} {table:?}", dimension.name);
            let sum: f64 = table.iter().skip(1).sum();
            prop_assert!((sum - 1.0).abs() < 1e-6, "{} sums to {sum}", dimension.name);
        }
        prop_assert!((1..dimension.m.len() as u8).all(|level| dimension.weight_bits(level).is_finite()));
    }
    prop_assert!((1..=100).contains(&model.rounds));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_comparisons_teach_something_finite(
        at in 0..8usize,
        pairs in proptest::collection::vec((0..3 * SIZE, 0..3 * SIZE, any::<[u8; MAX_DIMENSIONS]>()), 0..300),
        same in proptest::option::of(any::<[u8; MAX_DIMENSIONS]>()),
        wild: bool,
        duplicate_free: bool,
    ) {
        let layout = &layouts()[at];
        let pairs: Vec<_> = pairs.into_iter().map(|(a, b, levels)| (a, b, same.unwrap_or(levels))).collect();
        let rows = rows(layout, &pairs, wild);
        learn(layout, duplicate_free, rows, |records, comparisons, model| {
            sound(model)?;
            for row in &comparisons.rows {
                let p = model.posterior(row.within, &row.vector);
                let shares = [p.matched, p.twins, p.namesakes, p.doubles];
                prop_assert!(shares.iter().all(|p| (0.0..=1.0).contains(p)), "{p:?}");
                prop_assert!(shares.iter().sum::<f64>() <= 1.0 + 1e-9, "{p:?}");
                // The weight is the odds of that probability.
                let weight = f64::from(model.weight_millibits(row.within, &row.vector)) / 1000.0;
                prop_assert!((1.0 / (1.0 + (-weight).exp2()) - p.matched).abs() < 1e-3, "{weight} {p:?}");
            }
            let (decided, clusters) = settle(records, comparisons, model, &SETTINGS, &Dispositions::default()).unwrap();
            prop_assert!(decided.iter().all(|pair| pair.millibits.abs() <= 110_000));
            prop_assert!(clusters.clusters.iter().all(|c| (0.0..=1.0).contains(&c.probability)));
            Ok(())
        })?;
    }

    /// Each level that is missing on one side takes nothing away and adds nothing: the weight of a vector is that of the
    /// levels there are. And nothing at all leaves the odds that any pair has.
    #[test]
    fn nothing_to_compare_is_no_evidence(
        at in 0..8usize,
        pairs in proptest::collection::vec((0..3 * SIZE, 0..3 * SIZE, any::<[u8; MAX_DIMENSIONS]>()), 0..200),
        missing in 0..8usize,
    ) {
        let layout = &layouts()[at];
        let without: Vec<_> = pairs.iter().map(|&(a, b, mut levels)| { levels[missing] = 0; (a, b, levels) }).collect();
        let dimension = |model: &Model| model.dimensions.get(missing).map(|d| d.m.clone());
        let learnt = learn(layout, true, rows(layout, &without, false), |_, _, model| {
            let odds = model.across.matches / (1.0 - model.across.matches);
            let weight = f64::from(model.weight_millibits(false, &ComparisonVector::default())) / 1000.0;
            prop_assert!((weight - odds.log2()).abs() < 0.05, "{weight} {odds}");
            Ok(dimension(model))
        })?;
        // A dimension that is always missing keeps its shipped table.
        let shipped = learn(layout, true, Vec::new(), |_, _, model| dimension(model));
        for (learnt, shipped) in learnt.into_iter().flatten().zip(shipped.into_iter().flatten()) {
            prop_assert!((learnt - shipped).abs() < 1e-12);
        }
    }
}

/// No pair at all, pairs with nothing to compare, pairs all alike: the shipped tables decide, and nothing is linked that
/// has nothing in common.
#[test]
fn nothing_in_common_is_never_linked() {
    for layout in layouts() {
        let all: Vec<_> = (0..SIZE).flat_map(|a| (SIZE..2 * SIZE).map(move |b| (a, b, [0; MAX_DIMENSIONS]))).collect();
        for (pairs, levels) in [(0, 0), (all.len(), 0), (all.len(), 1)] {
            let alike: Vec<_> = all.iter().take(pairs).map(|&(a, b, _)| (a, b, [levels; MAX_DIMENSIONS])).collect();
            learn(&layout, true, rows(&layout, &alike, false), |records, comparisons, model| {
                sound(model).unwrap();
                let decided = decide(records, comparisons, model, &SETTINGS, &Dispositions::default());
                assert_eq!(decided.len(), pairs);
                assert!(decided.iter().all(|pair| pair.outcome == Outcome::Refuse), "{levels}");
            });
        }
    }
}

/// With the shipped tables, the same name weighs more than a like one, and that more than another; a rarer one more than
/// a common one; and so for dates and places.
#[test]
fn shipped_weights_rise_with_agreement() {
    use linkage_linking::levels::{date_level as date, name_level as name, place_level as place};
    let layout = &layouts()[0];
    learn(layout, true, Vec::new(), |_, _, model| {
        let rising = |dimension: usize, levels: &[u8]| {
            let weights: Vec<f64> = levels.iter().map(|&level| model.dimensions[dimension].weight_bits(level)).collect();
            assert!(weights.is_sorted_by(|x, y| x < y), "{}: {weights:?}", model.dimensions[dimension].name);
        };
        for names in [0, 1] {
            let (exact, high) = (name::EXACT + 4, name::HIGH + 2);
            rising(names, &[name::DIFFERENT, name::POOR, name::LOW, high, exact]);
            rising(names, &[name::EXACT, name::EXACT + 1, name::EXACT + 2, name::EXACT + 3]);
        }
        rising(2, &[date::DIFFERENT, date::SAME_YEAR, date::DAY_OFF, date::EQUAL]);
        rising(3, &[1, 2]);
        rising(4, &[place::DIFFERENT, place::REGION, place::COMMUNE]);
    });
}
