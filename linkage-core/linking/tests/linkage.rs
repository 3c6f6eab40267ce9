//! Whole linkages of small made-up populations: the hard cases, and independence of order.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use linkage_agreement::Layout;
use linkage_linking::{
    Clusters, Comparisons, Dispositions, InMemory, LevelFrequencies, Linkage, MatchClass, Met, Model, PartyInput, Reason,
    Records, ReportTerms, Settings, Source, classify, cluster, decide, link, meet_in_memory, report,
};
use support::{Person, block_keys, layout, mix, record};

const SETTINGS: Settings = Settings { block_cap: 16, false_link_cost: 20, lead_margin_decibits: 30, abstain_floor_permille: 500 };

/// A person, and block keys beyond those of the fixed passes.
type Entry = (Person, Vec<String>);

/// `count` persons of random names, dates and homes.
fn crowd(count: u64) -> Vec<Person> {
    let syllables = ["BA", "LOU", "MAR", "TIN", "DE", "SAR", "KOF", "RI", "VAN", "CHE", "NO", "GUI", "PAS", "TO", "LEM", "FUR"];
    let word = |seed: u64, part: u64| -> String {
        (0..3).map(|n| syllables[mix(&[&seed.to_le_bytes(), &[part as u8, n]]) as usize % syllables.len()]).collect()
    };
    let of = |seed: u64| {
        let n = mix(&[b"crowd", &seed.to_le_bytes()]);
        let date = (1930 + (n % 80) as u16, 1 + (n >> 8 & 0xff) as u8 % 12, 1 + (n >> 16 & 0xff) as u8 % 28);
        let mut person = Person::new(&word(seed, 0), &word(seed, 1), date);
        person.sex = (1 + (n >> 24 & 1)).to_string();
        person.home[2] = format!("34{:03}", n >> 32 & 0x3f);
        person.birth_place[2] = format!("C{}", n >> 40 & 0x1ff);
        person
    };
    (0..count).map(of).collect()
}

/// The person as another party may hold it: one in four with an error in the birth name, the date or the sex.
fn retyped(person: &Person, seed: u64) -> Person {
    let mut person = person.clone();
    match mix(&[b"error", &seed.to_le_bytes()]) % 12 {
        0 => person.birth.insert(2, 'X'),
        1 => {
            person.birth.pop();
        }
        2 => person.date = person.date.map(|(y, m, d)| (y, m, 1 + d % 28)),
        3 => person.sex = String::new(),
        _ => {}
    }
    person
}

fn plain(people: impl IntoIterator<Item = Person>) -> Vec<Entry> {
    people.into_iter().map(|p| (p, Vec::new())).collect()
}

fn packed(layout: &Layout, party: u64, entries: &[Entry]) -> Vec<Vec<u8>> {
    let one = |(n, (person, more)): (usize, &Entry)| {
        let mut keys = more.clone();
        keys.extend(block_keys(person));
        record(layout, person, &keys, party << 32 | n as u64)
    };
    entries.iter().enumerate().map(one).collect()
}

/// Links the cases (first records of each party) among a crowd of 400 that the parties share.
fn link_cases(duplicate_free: bool, cases: &[Vec<Entry>]) -> Linkage {
    let layout = layout(128, 4, 18);
    let people = crowd(400);
    let parties: Vec<Vec<u8>> = (0..)
        .zip(cases)
        .map(|(party, cases)| {
            let mut entries = cases.clone();
            let crowd = people.iter().skip(60 * party as usize).take(280).zip(1000 * party..);
            entries.extend(plain(crowd.map(|(person, seed)| retyped(person, seed))));
            packed(&layout, party, &entries).concat()
        })
        .collect();
    let input: Vec<PartyInput<'_>> = parties.iter().map(|p| PartyInput::block_scoped(&layout, duplicate_free, vec![p])).collect();
    link(&layout, &input, &LevelFrequencies::new(&layout), &SETTINGS, &Dispositions::default()).unwrap()
}

/// Number of a party's case, when every party has `cases` cases and a crowd of 280.
fn number(cases: usize, party: usize, case: usize) -> u32 {
    (party * (cases + 280) + case) as u32
}

fn are_linked(clusters: &Clusters, a: u32, b: u32) -> bool {
    let of = |r| clusters.clusters.iter().position(|c| c.members.iter().any(|m| m.record == r));
    of(a).is_some() && of(a) == of(b)
}

fn reason(clusters: &Clusters, a: u32, b: u32) -> Option<Reason> {
    clusters.abstained.iter().find(|p| (p.a, p.b) == (a, b)).map(|p| p.reason)
}

/// The first cases of two parties, linked with each other or not.
fn two(a: Person, b: Person) -> (bool, Option<Reason>) {
    // A pass over both names alone, as rare names have one: the pair meets whatever its dates.
    let met = vec!["both".to_owned()];
    let out = link_cases(true, &[vec![(a, met.clone())], vec![(b, met)]]);
    let (x, y) = (number(1, 0, 0), number(1, 1, 0));
    (are_linked(&out.clusters, x, y), reason(&out.clusters, x, y))
}

fn case() -> Person {
    Person { classes: [4, 4, 4], ..Person::new("GUIMARAES", "STEPHANIE", (1980, 6, 12)) }
}

#[test]
fn the_crowd_is_linked_and_the_estimates_hold() {
    let out = link_cases(true, &[Vec::new(), Vec::new(), Vec::new()]);
    let person = |record: u32| record % 280 + 60 * (record / 280);
    let (mut right, mut all) = (0, 0);
    for cluster in &out.clusters.clusters {
        for x in &cluster.members {
            for y in cluster.members.iter().filter(|y| y.record > x.record) {
                all += 1;
                right += u32::from(person(x.record) == person(y.record));
            }
        }
    }
    let truth = 2 * 220 + 160;
    assert_eq!(right, all, "no false link");
    assert!(right * 100 >= truth * 99, "{right} of {truth}");
    assert!(out.report.precision.value > 0.99, "{:?}", out.report.precision);
    assert!((out.report.recall.value - f64::from(right) / f64::from(truth)).abs() < 0.01, "{:?}", out.report.recall);
    assert_eq!(out.report.parties.iter().map(|p| p.records).collect::<Vec<_>>(), [280; 3]);
    assert_eq!(out.report.linked_pairs, u64::from(all));
    assert!(out.report.histogram.iter().map(|b| b.pairs).sum::<u64>() == out.report.candidates);
    assert!(serde_json::to_value(&out.report).unwrap()["abstained"].is_object());
}

#[test]
fn one_person_under_other_names_and_dates() {
    let married = Person { birth: "LECLERCQ".to_owned(), usage: "GUIMARAES".to_owned(), ..case() };
    assert!(two(case(), married).0);
    assert!(two(case(), Person { birth: "STEPHANIE".to_owned(), given: "GUIMARAES".to_owned(), ..case() }).0);
    assert!(two(case(), Person { date: Some((1980, 12, 6)), ..case() }).0);
    assert!(two(case(), Person { given: "STEPHANIE ANNE".to_owned(), date: Some((1981, 6, 12)), ..case() }).0);
    assert!(two(case(), Person { date: Some((1980, 1, 1)), default_date: true, ..case() }).0);
    assert!(two(case(), Person { sex: String::new(), birth_place: Default::default(), ..case() }).0);
}

#[test]
fn homonyms_are_not_linked() {
    let other = |date| Person { date: Some(date), birth_place: ["FR", "75", "PARIS"].map(str::to_owned), ..case() };
    assert!(!two(case(), other((1963, 2, 27))).0, "the same name is not enough");
    assert!(!two(case(), other((1980, 2, 27))).0, "nor with the year");
}

#[test]
fn twins_are_not_linked() {
    let twin = |sex: &str| Person { given: "BERNARD".to_owned(), sex: sex.to_owned(), ..case() };
    assert!(!two(case(), twin("2")).0);
    assert!(!two(case(), twin("1")).0);
    // Each twin goes with its own record.
    let both = vec![(case(), Vec::new()), (twin("1"), Vec::new())];
    let out = link_cases(true, &[both.clone(), both]);
    assert!(are_linked(&out.clusters, number(2, 0, 0), number(2, 1, 0)));
    assert!(are_linked(&out.clusters, number(2, 0, 1), number(2, 1, 1)));
    assert!(!are_linked(&out.clusters, number(2, 0, 0), number(2, 1, 1)));
}

#[test]
fn parent_and_child_of_one_name_are_not_linked() {
    let (linked, reason) = two(case(), Person { date: Some((2008, 3, 25)), ..case() });
    assert!(!linked);
    assert!(matches!(reason, None | Some(Reason::Namesakes)), "{reason:?}");
}

#[test]
fn rivals_in_a_duplicate_free_party_are_left_open() {
    let twice = vec![(case(), Vec::new()), (case(), Vec::new())];
    let out = link_cases(true, &[vec![(case(), Vec::new()), (crowd(900)[899].clone(), Vec::new())], twice]);
    let (x, y, z) = (number(2, 0, 0), number(2, 1, 0), number(2, 1, 1));
    assert_eq!((reason(&out.clusters, x, y), reason(&out.clusters, x, z)), (Some(Reason::Rival), Some(Reason::Rival)));
    assert_eq!(out.report.parties[1].rivals, 2);
    // Better evidence for one of them settles it.
    let unlike = Person { date: Some((1980, 6, 3)), home: ["FR", "75", "PARIS"].map(str::to_owned), ..case() };
    let settled = vec![(case(), Vec::new()), (unlike, Vec::new())];
    let out = link_cases(true, &[vec![(case(), Vec::new()), (crowd(900)[899].clone(), Vec::new())], settled]);
    assert!(are_linked(&out.clusters, x, y) && !are_linked(&out.clusters, x, z));
}

#[test]
fn duplicates_within_a_party_are_found() {
    let layout = layout(128, 4, 18);
    let people = crowd(300);
    let mut entries = plain(people.clone());
    entries.extend(plain(people.iter().take(60).zip(0..).map(|(p, seed)| retyped(p, seed))));
    let bytes = packed(&layout, 0, &entries).concat();
    let input = [PartyInput::block_scoped(&layout, false, vec![&bytes])];
    let out = link(&layout, &input, &LevelFrequencies::new(&layout), &SETTINGS, &Dispositions::default()).unwrap();
    let right = (0..60).filter(|&n| are_linked(&out.clusters, n, 300 + n)).count();
    assert!(right >= 59, "{right}");
    assert_eq!(out.clusters.clusters.len(), right);
    assert_eq!((out.report.candidates, out.report.linked_pairs), (0, right as u64));
    assert!(out.report.precision.value > 0.95 && out.report.precision.low > 0.9, "{:?}", out.report.precision);
}

#[test]
fn nothing_in_nothing_out() {
    let layout = layout(128, 4, 18);
    let none = link(&layout, &[], &LevelFrequencies::new(&layout), &SETTINGS, &Dispositions::default()).unwrap();
    assert_eq!(none.clusters, Clusters::default());
    let strangers = crowd(200);
    let halves: Vec<Vec<u8>> =
        strangers.chunks(100).zip(0..).map(|(half, n)| packed(&layout, n, &plain(half.to_vec())).concat()).collect();
    let input: Vec<_> = halves.iter().map(|h| PartyInput::block_scoped(&layout, true, vec![h])).collect();
    let out = link(&layout, &input, &LevelFrequencies::new(&layout), &SETTINGS, &Dispositions::default()).unwrap();
    assert_eq!(out.clusters.clusters, []);
    assert!(serde_json::to_string(&out.report).is_ok_and(|text| !text.contains("null")), "no figure is undefined");
}

#[test]
fn every_step_survives_packing() {
    let layout = layout(128, 4, 18);
    let people = crowd(120);
    let sides: Vec<Vec<u8>> = (0..2)
        .map(|party| packed(&layout, party, &plain(people.iter().zip(500 * party..).map(|(p, seed)| retyped(p, seed)))).concat())
        .collect();
    let input: Vec<_> = sides.iter().map(|s| PartyInput::block_scoped(&layout, true, vec![s])).collect();
    let Met { records, blocks, comparisons } = meet_in_memory(&layout, &input, 16).unwrap();
    let terms = InMemory::new(&layout, &input).unwrap().parties();
    let records = Records::from_bytes(&layout, terms, &records.to_bytes()).unwrap();
    let comparisons = Comparisons::from_bytes(&comparisons.to_bytes()).unwrap();
    let model = classify(&records, &comparisons, &LevelFrequencies::new(&layout)).unwrap();
    let dimensions = linkage_linking::Dimensions::of(&layout);
    let read = Model::from_bytes(&dimensions, &model.to_bytes()).unwrap();
    assert_eq!(read, model);
    assert!(Model::from_bytes(&dimensions, &model.to_bytes()[..40]).is_err());
    let decided = decide(&records, &comparisons, &read, &SETTINGS, &Dispositions::default());
    let clusters = Clusters::from_bytes(&cluster(&records, &decided, &Dispositions::default()).unwrap().to_bytes()).unwrap();
    let whole = link(&layout, &input, &LevelFrequencies::new(&layout), &SETTINGS, &Dispositions::default()).unwrap();
    assert_eq!(clusters, whole.clusters);
    assert_eq!(report(&records, &blocks, &comparisons, &read, &decided, &clusters, &ReportTerms::new(SETTINGS)), whole.report);
}

/// A record by party and position, wherever it stands in the input.
type Name = (usize, usize);
/// A cluster's probability, and its members' classes and probabilities, as bits.
type Cluster = (u64, BTreeMap<Name, (MatchClass, u64)>);
type Open = (BTreeSet<Name>, i32, Reason);

/// A linkage's result by what records are, not by where they stand.
#[derive(Debug, PartialEq)]
struct Canonical {
    clusters: BTreeMap<BTreeSet<Name>, Cluster>,
    abstained: BTreeSet<Open>,
    report: serde_json::Value,
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    /// Other handles, records, batches and parties in another order: the same partition, classes and figures.
    #[test]
    fn order_and_handles_do_not_matter(seed: u64, duplicate_free: bool) {
        let layout = layout(64, 2, 18);
        let people = crowd(90);
        let parties: Vec<Vec<Person>> = (0..3)
            .map(|party: u64| {
                let own = people.iter().skip(10 * party as usize).take(60).zip(100 * party..).map(|(p, s)| retyped(p, s));
                // Duplicates and rivals of equal weight: what a careless order of work would trip over.
                own.chain(people.iter().take(12).cloned()).chain(people.iter().skip(8).take(6).cloned()).collect()
            })
            .collect();
        let run = |seed: u64| {
            let order = |what: &str, len: usize| -> Vec<usize> {
                let mut order: Vec<usize> = (0..len).collect();
                order.sort_by_key(|n| if seed == 0 { *n as u64 } else { mix(&[what.as_bytes(), &seed.to_le_bytes(), &[*n as u8]]) });
                order
            };
            let party_order = order("parties", parties.len());
            let mut names = Vec::new();
            let mut batches = Vec::new();
            for &party in &party_order {
                let record_order = order(&format!("records {party}"), parties[party].len());
                let records: Vec<Vec<u8>> = record_order
                    .iter()
                    .map(|&n| {
                        names.push((party, n));
                        let person = &parties[party][n];
                        record(&layout, person, &block_keys(person), mix(&[&seed.to_le_bytes(), &[party as u8, n as u8]]))
                    })
                    .collect();
                let cut = 1 + seed as usize % records.len().max(2);
                batches.push(records.chunks(cut).map(<[std::vec::Vec<u8>]>::concat).collect::<Vec<_>>());
            }
            let input: Vec<_> = batches
                .iter()
                .map(|b| PartyInput::block_scoped(&layout, duplicate_free, b.iter().map(Vec::as_slice).collect()))
                .collect();
            let out = link(&layout, &input, &LevelFrequencies::new(&layout), &SETTINGS, &Dispositions::default()).unwrap();
            let name = |record: u32| names[record as usize];
            let mut report = serde_json::to_value(&out.report).unwrap();
            let in_order: Vec<_> = (0..parties.len())
                .map(|party| report["parties"][party_order.iter().position(|&p| p == party).unwrap()].clone())
                .collect();
            report["parties"] = in_order.into();
            Canonical {
                clusters: out
                    .clusters
                    .clusters
                    .iter()
                    .map(|c| {
                        let members: BTreeMap<_, _> =
                            c.members.iter().map(|m| (name(m.record), (m.class, m.probability.to_bits()))).collect();
                        (members.keys().copied().collect(), (c.probability.to_bits(), members))
                    })
                    .collect(),
                abstained: out
                    .clusters
                    .abstained
                    .iter()
                    .map(|p| ([name(p.a), name(p.b)].into(), p.millibits, p.reason))
                    .collect(),
                report,
            }
        };
        proptest::prop_assert_eq!(run(0), run(seed.max(1)));
    }
}
