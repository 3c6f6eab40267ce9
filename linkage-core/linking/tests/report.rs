//! The report of a made-up linkage: waterfalls add up, groups are suppressed, nothing of a record is in it.
#![allow(clippy::unwrap_used)]

mod support;

use linkage_agreement::Layout;
use linkage_linking::classify::Shares;
use linkage_linking::join::BlockCounts;
use linkage_linking::report::{Example, GroupReport, ReportTerms};
use linkage_linking::{
    Clusters, Comparison, Comparisons, Decided, Dispositions, LevelFrequencies, Met, Model, PartyInput, Records, Report,
    Settings, classify, cluster, decide, meet_in_memory, report,
};
use support::{Person, block_keys, layout, mix, record};

const SETTINGS: Settings = Settings { block_cap: 16, false_link_cost: 20, lead_margin_decibits: 30, abstain_floor_permille: 500 };

/// A person of the crowd; every twelfth without a known day of birth, every fortieth without any date.
fn person(seed: u64) -> Person {
    let syllables = ["BA", "LOU", "MAR", "TIN", "DE", "SAR", "KOF", "RI", "VAN", "CHE", "NO", "GUI", "PAS", "TO", "LEM", "FUR"];
    let word = |part: u8| -> String {
        (0..3).map(|n| syllables[mix(&[&seed.to_le_bytes(), &[part, n]]) as usize % syllables.len()]).collect()
    };
    let n = mix(&[b"crowd", &seed.to_le_bytes()]);
    let year = 1930 + (n % 80) as u16;
    let mut person = Person::new(&word(0), &word(1), (year, 1 + (n >> 8) as u8 % 12, 1 + (n >> 16) as u8 % 28));
    person.classes = [1 + (n >> 24) as u8 % 7, 0, 3];
    if seed.is_multiple_of(12) {
        (person.date, person.default_date) = (Some((year, 1, 1)), true);
    }
    if seed % 40 == 1 {
        person.date = None;
    }
    person
}

/// One whole run of three parties of 400 records, each pair of which has 250 persons in common or none.
struct Run {
    layout: Layout,
    parties: Vec<Vec<u8>>,
}

impl Run {
    fn new() -> Self {
        let layout = layout(128, 4, 18);
        let party = |party: u64| -> Vec<u8> {
            let held = (150 * party..150 * party + 400).flat_map(|seed| {
                let mut person = person(seed);
                match mix(&[b"error", &seed.to_le_bytes(), &[party as u8]]) % 9 {
                    0 => person.birth.insert(2, 'X'),
                    1 => person.date = person.date.map(|(y, m, d)| (y, m, if person.default_date { d } else { 1 + d % 28 })),
                    _ => {}
                }
                record(&layout, &person, &block_keys(&person), party << 32 | seed)
            });
            held.collect()
        };
        let parties = (0..3).map(party).collect();
        Self { layout, parties }
    }

    fn with<T>(&self, look: impl FnOnce(&Records, &Comparisons, &Model, &[Decided], &Clusters, Report) -> T) -> T {
        let input: Vec<_> = self.parties.iter().map(|p| PartyInput::block_scoped(&self.layout, true, vec![p])).collect();
        let Met { records, blocks, comparisons } = meet_in_memory(&self.layout, &input, 16).unwrap();
        let model = classify(&records, &comparisons, &LevelFrequencies::new(&self.layout)).unwrap();
        let decided = decide(&records, &comparisons, &model, &SETTINGS, &Dispositions::default());
        let clusters = cluster(&records, &decided, &Dispositions::default()).unwrap();
        let terms = ReportTerms::new(SETTINGS);
        let made = report(&records, &blocks, &comparisons, &model, &decided, &clusters, &terms);
        look(&records, &comparisons, &model, &decided, &clusters, made)
    }
}

#[test]
fn a_waterfall_adds_up_to_the_weight_of_pairs_that_exist() {
    Run::new().with(|_, comparisons, model, decided, clusters, made| {
        assert!(made.patterns.iter().any(|w| w.example == Example::MostLinked), "{:?}", made.patterns);
        for waterfall in &made.patterns {
            let steps: i32 = waterfall.steps.iter().map(|s| s.millibits).sum();
            let sum = waterfall.prior_millibits + steps + waterfall.related_millibits;
            assert_eq!(sum, waterfall.total_millibits);
            assert!(waterfall.pairs >= 11, "{waterfall:?}");
            let is_of = |level: &str, family: &str| {
                let rest = level.strip_prefix(family);
                family == "various"
                    || rest.is_some_and(|rest| {
                        rest.is_empty() || rest.starts_with(" class") || [" common", " middling", " rare"].contains(&rest)
                    })
            };
            // Pairs that look like it; a level without rarity class stands for all classes.
            let alike = |row: &Comparison| {
                let levels = model.dimensions.iter().enumerate().map(|(at, d)| (d, d.kind.level_name(row.vector.level(at))));
                levels.zip(&waterfall.steps).all(|((d, level), step)| step.dimension == d.name && is_of(&level, &step.level))
            };
            let rows = comparisons.rows.iter().zip(decided).filter(|(row, _)| alike(row));
            let weights: Vec<i32> = rows.map(|(_, pair)| pair.millibits).collect();
            assert!(weights.len() as u64 >= waterfall.pairs, "{waterfall:?}");
            let (least, most) = (*weights.iter().min().unwrap(), *weights.iter().max().unwrap());
            assert!((least..=most).contains(&waterfall.total_millibits), "{waterfall:?}");
            if waterfall.steps.iter().any(|s| s.level.starts_with("exact class")) && weights.len() as u64 == waterfall.pairs {
                assert_eq!(least, most, "one pattern has one weight");
            }
        }
        assert!(!clusters.clusters.is_empty());
    });
}

#[test]
fn without_relatives_the_weights_of_fields_are_the_whole_weight() {
    Run::new().with(|records, comparisons, model, _, _, _| {
        let mut plain = model.clone();
        plain.across = Shares { pairs: model.across.pairs, matches: model.across.matches, ..Shares::default() };
        let decided = decide(records, comparisons, &plain, &SETTINGS, &Dispositions::default());
        let clusters = cluster(records, &decided, &Dispositions::default()).unwrap();
        let blocks = BlockCounts::default();
        let made = report(records, &blocks, comparisons, &plain, &decided, &clusters, &ReportTerms::new(SETTINGS));
        let most = made.patterns.iter().find(|w| w.example == Example::MostLinked).unwrap();
        assert!(most.related_millibits.abs() <= 8, "only rounding is left: {most:?}");
        assert!(most.steps.iter().all(|s| s.millibits != 0 || s.level == "missing"));
    });
}

#[test]
fn groups_add_up_and_small_ones_are_hidden() {
    let run = Run::new();
    run.with(|records, _, _, _, clusters, made| {
        let named = |groups: &[GroupReport], name: &str| groups.iter().find(|g| g.group == name).unwrap().counts;
        // 33 records of a party have a default date and 10 none: too few, so that the defaults are hidden with them.
        for party in &made.parties {
            assert_eq!(named(&party.by_date_quality, "missing"), None);
            let shown: u64 = party.by_date_quality.iter().filter_map(|g| g.counts).map(|c| c.records).sum();
            assert!(
                shown == 0
                    || party.records - shown >= 11 && party.by_date_quality.iter().filter(|g| g.counts.is_none()).count() >= 2
            );
            assert!(party.linked <= party.met && party.met <= party.records);
        }
        let full = named(&made.by_date_quality, "full").unwrap();
        // Ten at each of three parties: the sum, 30, would tell each of them, so that it is hidden, and another with it.
        assert_eq!(named(&made.by_date_quality, "missing"), None);
        let hidden = made.by_date_quality.iter().filter(|g| g.counts.is_none()).count();
        let all: u64 = made.by_date_quality.iter().filter_map(|g| g.counts).map(|c| c.records).sum();
        assert!(hidden == 2 && records.len() as u64 - all > 100, "{:?}", made.by_date_quality);
        assert!(full.linked > 500 && full.found_pairs > 300.0, "{full:?}");
        let rare: u64 = made.by_rarity.iter().filter_map(|g| g.counts).map(|c| c.linked).sum();
        assert_eq!(rare, clusters.clusters.iter().map(|c| c.members.len() as u64).sum::<u64>());
    });
}

#[test]
fn the_histogram_divides_pairs_by_fate() {
    Run::new().with(|_, _, _, _, clusters, made| {
        assert!(made.histogram.iter().all(|b| b.linked + b.abstained + b.refused == b.pairs));
        assert_eq!(made.histogram.iter().map(|b| b.abstained).sum::<u64>(), clusters.abstained.len() as u64);
        let linked: u64 = made.histogram.iter().map(|b| b.linked).sum();
        assert!(linked > 300 && linked <= made.linked_pairs);
        assert_eq!(made.bounds.link_millibits, SETTINGS.link_millibits());
        let names = made.weights.iter().map(|d| d.missing_linked + d.levels.iter().map(|l| l.linked).sum::<u64>());
        assert!(names.into_iter().all(|n| n == linked));
    });
}

#[test]
fn shipped_tables_weigh_as_much_as_the_report_says() {
    let layout = layout(128, 4, 18);
    let side = |party: u64, persons: std::ops::Range<u64>| -> Vec<u8> {
        persons
            .flat_map(|seed| record(&layout, &person(seed * 2 + 3), &block_keys(&person(seed * 2 + 3)), party << 32 | seed))
            .collect()
    };
    let made = |persons: u64| {
        let sides = [side(0, 0..persons), side(1, 0..persons)];
        let input: Vec<_> = sides.iter().map(|s| PartyInput::block_scoped(&layout, true, vec![s])).collect();
        linkage_linking::link(&layout, &input, &LevelFrequencies::new(&layout), &SETTINGS, &Dispositions::default())
            .unwrap()
            .report
    };
    let (small, large) = (made(40), made(900));
    assert!(small.support.few_pairs && !large.support.few_pairs, "{:?} {:?}", small.support, large.support);
    // All matches agree on sex: m = (n + P share) / (n + P), from which P follows.
    let sex = large.weights.iter().find(|d| d.dimension.starts_with("sex")).unwrap();
    let (m, share) = (sex.levels[1].m, 0.98);
    let matches = large.support.matches;
    let weight = matches * (1.0 - m) / (m - share);
    assert!((weight / (weight + matches) - sex.shipped_share).abs() < 0.01, "{weight} {sex:?}");
}

#[test]
fn the_report_holds_no_handle_and_no_token() {
    let run = Run::new();
    run.with(|records, _, _, _, _, made| {
        let text = serde_json::to_string(&made).unwrap();
        for record in 0..records.len() as u32 {
            assert!(!text.contains(&records.handle(record).unwrap().to_hex()));
        }
        for person in (0..700).map(person) {
            assert!(!text.contains(&person.birth) && !text.contains(&person.given));
        }
    });
}
