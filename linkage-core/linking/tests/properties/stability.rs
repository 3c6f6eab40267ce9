//! A whole linkage of the same records in another order: the same clusters, probabilities, classes, pairs left open and
//! report, to the last bit.
//!
//! Populations have what a careless order of work would trip over: duplicates, rivals and ties of equal weight, twins and
//! persons under two given names, parties of equal size, some that hold each person once among others that do not, and
//! pairs settled by their owners that contradict one another.

use std::collections::{BTreeMap, BTreeSet};

use linkage_linking::{Dispositions, LevelFrequencies, Linkage, MatchClass, PartyInput, Reason, link};
use proptest::prelude::*;

use crate::SETTINGS;
use crate::crowd::{Chance, full_layout, given_name, keys, list, person};
use crate::support::{Person, record};

/// A record by party and position, wherever it stands in the input.
type Name = (usize, usize);
type Names = BTreeSet<Name>;
/// The members of a cluster: classes, and probabilities as bits.
type Members = BTreeMap<Name, (MatchClass, u64)>;

struct Party {
    duplicate_free: bool,
    records: Vec<Person>,
}

/// Four parties, two of which are of one size, and pairs settled by their owners.
struct Case {
    parties: Vec<Party>,
    confirmed: Vec<[Name; 2]>,
    refuted: Vec<[Name; 2]>,
}

impl Case {
    fn new(seed: u64, settled: usize) -> Self {
        let mut chance = Chance::new(seed);
        let mut people: Vec<Person> = (0..40).map(|_| person(&mut chance)).collect();
        for of in 0..6 {
            let (given, class) = given_name(&mut chance, of);
            people.push(Person { given, classes: [people[of].classes[0], 0, class], ..people[of].clone() });
        }
        let mut parties: Vec<Party> = (0..4)
            .map(|_| {
                let mut records: Vec<Person> = list(&mut chance, &people, 70.0).into_iter().map(|h| h.record).collect();
                // The same again, letter by letter: rivals of equal weight, or duplicates.
                for _ in 0..chance.below(5) {
                    records.push(records[chance.below(records.len())].clone());
                }
                let again: Vec<Person> = (0..chance.below(3)).map(|_| people[chance.below(people.len())].clone()).collect();
                records.extend(again.iter().flat_map(|p| [p.clone(), p.clone(), p.clone()]));
                Party { duplicate_free: chance.percent(50.0), records }
            })
            .collect();
        let even = parties[0].records.len().min(parties[1].records.len());
        parties[0].records.truncate(even);
        parties[1].records.truncate(even);
        let mut pair = || {
            let name = |chance: &mut Chance| {
                let party = chance.below(4);
                (party, chance.below(parties[party].records.len()))
            };
            [name(&mut chance), name(&mut chance)]
        };
        let mut drawn: Vec<[Name; 2]> = (0..2 * settled).map(|_| pair()).filter(|[a, b]| a != b).collect();
        drawn.sort();
        drawn.dedup_by_key(|[a, b]| (*a.min(b), *a.max(b)));
        let refuted = drawn.split_off(drawn.len() / 2);
        let unsettled = |[a, b]: &[Name; 2]| !refuted.contains(&[*a, *b]) && !refuted.contains(&[*b, *a]);
        let confirmed = drawn.into_iter().filter(unsettled).collect();
        Self { parties, confirmed, refuted }
    }

    /// Links the records in the order of `seed`, in other batches and under other handles; as they are when it is 0.
    fn link(&self, seed: u64) -> Canonical {
        let layout = full_layout();
        let mut chance = Chance::new(seed);
        let mut order = |len: usize| {
            let mut order: Vec<usize> = (0..len).collect();
            if seed != 0 {
                chance.shuffle(&mut order);
            }
            order
        };
        let party_order = order(self.parties.len());
        let mut names: Vec<Name> = Vec::new();
        let mut batches: Vec<Vec<Vec<u8>>> = Vec::new();
        for &party in &party_order {
            let mut of_party = vec![Vec::new()];
            for n in order(self.parties[party].records.len()) {
                names.push((party, n));
                let person = &self.parties[party].records[n];
                let handle = seed.wrapping_mul(1_000_003) ^ (party as u64) << 32 ^ n as u64;
                let bytes = record(&layout, person, &keys(person), handle);
                of_party.last_mut().unwrap().extend(bytes);
                // Batches of any size, none at all among them.
                for _ in 0..order(5).first().map_or(0, |&cut| cut.saturating_sub(2)) {
                    of_party.push(Vec::new());
                }
            }
            batches.push(of_party);
        }
        let input: Vec<_> = party_order
            .iter()
            .zip(&batches)
            .map(|(&party, batches)| {
                let batches = batches.iter().map(Vec::as_slice).collect();
                PartyInput::block_scoped(&layout, self.parties[party].duplicate_free, batches)
            })
            .collect();
        let number = |name: Name| names.iter().position(|n| *n == name).unwrap() as u32;
        let pairs = |pairs: &[[Name; 2]]| pairs.iter().map(|&[a, b]| (number(a), number(b))).collect::<Vec<_>>();
        let dispositions = Dispositions::new(pairs(&self.confirmed), pairs(&self.refuted)).unwrap();
        let out = link(&layout, &input, &LevelFrequencies::new(&layout), &SETTINGS, &dispositions).unwrap();
        Canonical::new(&out, &names, &party_order)
    }
}

/// A linkage's result by what records are, not by where they stand. Probabilities as bits.
struct Canonical {
    clusters: BTreeMap<Names, (u64, Members)>,
    abstained: BTreeSet<(Names, i32, Reason)>,
    model: Vec<u64>,
    report: serde_json::Value,
    /// Counts of groups that are shown, by party (or `all`), table and group. Which group is hidden so that another one
    /// cannot be worked out is a free choice between groups of equal size, and taken by their order.
    groups: BTreeMap<String, serde_json::Value>,
}

impl Canonical {
    fn new(out: &Linkage, names: &[Name], party_order: &[usize]) -> Self {
        let name = |record: u32| names[record as usize];
        let mut report = serde_json::to_value(&out.report).unwrap();
        let place = |party: usize| party_order.iter().position(|&p| p == party).unwrap();
        report["parties"] = (0..party_order.len()).map(|party| report["parties"][place(party)].clone()).collect();
        let mut groups = BTreeMap::new();
        for table in ["by_date_quality", "by_rarity"] {
            let mut take = |party: &str, value: &mut serde_json::Value| {
                for group in value[table].take().as_array().unwrap() {
                    if !group["counts"].is_null() {
                        groups.insert(format!("{party} {table} {}", group["group"]), group["counts"].clone());
                    }
                }
            };
            for party in 0..party_order.len() {
                take(&party.to_string(), &mut report["parties"][party]);
            }
            take("all", &mut report);
        }
        let clusters = out.clusters.clusters.iter().map(|cluster| {
            let members: Members = cluster.members.iter().map(|m| (name(m.record), (m.class, m.probability.to_bits()))).collect();
            (members.keys().copied().collect(), (cluster.probability.to_bits(), members))
        });
        let abstained = out.clusters.abstained.iter().map(|p| ([name(p.a), name(p.b)].into(), p.millibits, p.reason));
        Self {
            clusters: clusters.collect(),
            abstained: abstained.collect(),
            model: out.model.dimensions.iter().flat_map(|d| d.m.iter().chain(&d.u)).map(|p| p.to_bits()).collect(),
            report,
            groups,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn order_leaves_no_trace(population: u64, settled in 0..12usize, seeds in proptest::array::uniform2(1u64..)) {
        let case = Case::new(population, settled);
        let as_it_is = case.link(0);
        prop_assert!(!as_it_is.clusters.is_empty());
        for seed in seeds {
            let moved = case.link(seed);
            prop_assert_eq!(&as_it_is.clusters, &moved.clusters);
            prop_assert_eq!(&as_it_is.abstained, &moved.abstained);
            prop_assert_eq!(&as_it_is.model, &moved.model);
            for (figure, value) in as_it_is.report.as_object().unwrap() {
                prop_assert_eq!(value, &moved.report[figure], "{}", figure);
            }
            for (group, counts) in &as_it_is.groups {
                prop_assert!(moved.groups.get(group).is_none_or(|other| other == counts), "{group}: {counts}");
            }
        }
    }
}

/// The report of a run in which nobody is found shows no minus before a zero.
#[test]
fn nothing_found_is_zero() {
    let layout = full_layout();
    let mut chance = Chance::new(7);
    let one = |seed: u64| record(&layout, &person(&mut chance), &[format!("block {seed}")], seed);
    let records: Vec<Vec<u8>> = (0..40).map(one).collect();
    for parties in [vec![], vec![records[..20].concat()], vec![records[..20].concat(), records[20..].concat()]] {
        let input: Vec<_> = parties.iter().map(|p| PartyInput::block_scoped(&layout, true, vec![p])).collect();
        let out = link(&layout, &input, &LevelFrequencies::new(&layout), &SETTINGS, &Dispositions::default()).unwrap();
        assert_eq!(out.clusters.clusters, []);
        let report = serde_json::to_string(&out.report).unwrap();
        assert!(!report.contains("-0.0,") && !report.contains("-0.0}"), "{report}");
    }
}
