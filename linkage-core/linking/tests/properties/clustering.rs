//! What holds of clusters for any weights whatever.
//!
//! `plain` renders the rule of src/cluster.rs as it is told there, pair by pair and join by join, for inputs without joins
//! of equal weight; the engine must agree with it. Average linkage: Sokal & Michener (1958).

use std::collections::{BTreeMap, BTreeSet};

use linkage_agreement::{FieldKind, Layout};
use linkage_linking::{Clusters, Decided, Dispositions, Outcome, PartyInput, Reason, Records, cluster};
use proptest::prelude::*;

type Pair = (u32, u32);
type Groups = BTreeSet<BTreeSet<u32>>;

/// Weight from which a pair is a link, in thousandths of a bit; from zero it is left open.
const LINK: i32 = 4_000;

/// Parties' sizes and promises, weights of pairs, pairs settled.
#[derive(Debug, Clone, Default)]
struct Case {
    parties: Vec<(u32, bool)>,
    weights: BTreeMap<Pair, i32>,
    confirmed: BTreeSet<Pair>,
    refuted: BTreeSet<Pair>,
}

impl Case {
    /// Parties of so many records each, which hold each person once or not, and pairs with their weights.
    fn new(parties: &[(u32, bool)], weights: impl IntoIterator<Item = (u32, u32, i32)>) -> Self {
        let weights = weights.into_iter().map(|(a, b, weight)| ((a.min(b), a.max(b)), weight)).collect();
        Self { parties: parties.to_vec(), weights, ..Self::default() }
    }
    fn records(&self) -> u32 {
        self.parties.iter().map(|p| p.0).sum()
    }
    fn party(&self, record: u32) -> usize {
        let mut last = 0;
        self.parties
            .iter()
            .position(|p| {
                last += p.0;
                record < last
            })
            .unwrap()
    }
    fn duplicate_free(&self, record: u32) -> bool {
        self.parties[self.party(record)].1
    }
    /// Drops pairs that no run would compare: of one party that holds each person once.
    fn comparable(mut self) -> Self {
        let case = self.clone();
        self.weights.retain(|&(a, b), _| case.party(a) != case.party(b) || !case.duplicate_free(a));
        self
    }
    /// Without the last party.
    fn without_last(&self) -> Self {
        let mut case = self.clone();
        case.parties.pop();
        let records = case.records();
        case.weights.retain(|&(_, b), _| b < records);
        case.confirmed.retain(|&(_, b)| b < records);
        case.refuted.retain(|&(_, b)| b < records);
        case
    }
    fn dispositions(&self) -> Dispositions {
        Dispositions::new(self.confirmed.iter().copied(), self.refuted.iter().copied()).unwrap()
    }
    fn cluster(&self) -> Clusters {
        let layout = Layout::new(&[FieldKind::BirthName, FieldKind::BirthDate], 64, 2, 4);
        let bytes: Vec<Vec<u8>> = self.parties.iter().map(|p| vec![0; p.0 as usize * layout.record_len()]).collect();
        let input: Vec<_> = bytes
            .iter()
            .zip(&self.parties)
            .map(|(b, &(_, duplicate_free))| PartyInput::block_scoped(&layout, duplicate_free, vec![b]))
            .collect();
        let records = Records::new(&layout, &input).unwrap();
        let decide = |(&(a, b), &millibits): (&Pair, &i32)| {
            let outcome = match millibits {
                LINK.. => Outcome::Link,
                0..LINK => Outcome::Abstain(Reason::Uncertain),
                _ => Outcome::Refuse,
            };
            Decided { a, b, millibits, outcome }
        };
        let decided: Vec<Decided> = self.weights.iter().map(decide).collect();
        cluster(&records, &decided, &self.dispositions()).unwrap()
    }
    fn groups(&self) -> Groups {
        groups(&self.cluster())
    }
}

fn groups(clusters: &Clusters) -> Groups {
    clusters.clusters.iter().map(|c| c.members.iter().map(|m| m.record).collect()).collect()
}

/// The group of a record; itself alone when it is in none.
fn group_of(groups: &Groups, record: u32) -> BTreeSet<u32> {
    groups.iter().find(|g| g.contains(&record)).cloned().unwrap_or_else(|| [record].into())
}

/// One join of `plain`: the two groups, and their mean weight in millionths of a bit.
struct Step {
    joined: BTreeSet<u32>,
    mean: i64,
}

/// The rule, rendered plainly, without confirmed pairs. `None` when two joins are of equal weight.
fn plain(case: &Case) -> Option<(Groups, Vec<Step>)> {
    let mut groups: Vec<BTreeSet<u32>> = (0..case.records()).map(|record| [record].into()).collect();
    let mut steps = Vec::new();
    loop {
        let mut best: Option<((i64, i32), usize, usize)> = None;
        for x in 0..groups.len() {
            for y in x + 1..groups.len() {
                let Some(join) = join(case, &groups[x], &groups[y]) else { continue };
                match best {
                    Some((key, ..)) if key == join => return None,
                    Some((key, ..)) if key > join => {}
                    _ => best = Some((join, x, y)),
                }
            }
        }
        let Some(((mean, _), x, y)) = best else { break };
        let other = groups.swap_remove(y);
        groups[x].extend(other);
        steps.push(Step { joined: groups[x].clone(), mean });
    }
    Some((groups.into_iter().filter(|g| g.len() > 1).collect(), steps))
}

/// Mean weight and heaviest link of two groups that may be joined.
fn join(case: &Case, x: &BTreeSet<u32>, y: &BTreeSet<u32>) -> Option<(i64, i32)> {
    let (mut sum, mut met, mut links, mut heaviest) = (0, 0, 0, None);
    for &a in x {
        for &b in y {
            let pair = (a.min(b), a.max(b));
            let weight = case.weights.get(&pair);
            if case.refuted.contains(&pair) || case.party(a) == case.party(b) && case.duplicate_free(a) {
                return None;
            }
            sum += i64::from(*weight.unwrap_or(&-2_000));
            let link = weight.filter(|w| **w >= LINK);
            heaviest = heaviest.max(link);
            met += usize::from(weight.is_some());
            links += usize::from(link.is_some());
        }
    }
    let parties = |group: &BTreeSet<u32>| -> BTreeSet<usize> { group.iter().map(|&r| case.party(r)).collect() };
    let twice = if case.parties.len() == 1 { 0 } else { parties(x).intersection(&parties(y)).count().min(2) as i64 };
    let mean = (1000 * sum).div_euclid((x.len() * y.len()) as i64);
    (mean > 4_000_000 * twice && 2 * links >= met).then_some(())?;
    Some((mean, *heaviest?))
}

/// `least` to four parties of one to four records. Weights at random in steps of `step` thousandths of a bit: large steps make
/// equal ones. `settled` pairs at most.
fn cases(least: usize, step: i32, settled: usize) -> impl Strategy<Value = Case> {
    let sizes = if least == 1 { 2..5u32 } else { 1..5u32 };
    proptest::collection::vec((sizes, any::<bool>()), least..5).prop_flat_map(move |parties| {
        let records: u32 = parties.iter().map(|p| p.0).sum();
        let pair = (0..records, 0..records).prop_filter("two records", |(a, b)| a != b).prop_map(|(a, b)| (a.min(b), a.max(b)));
        let weight = (-12_000 / step..20_000 / step).prop_map(move |n| n * step);
        let weights = proptest::collection::btree_map(pair.clone(), weight, 0..60);
        let settled = proptest::collection::btree_map(pair, any::<bool>(), 0..=settled);
        (weights, settled).prop_map(move |(weights, settled)| {
            let of = |wanted| settled.iter().filter(|&(_, &v)| v == wanted).map(|(&pair, _)| pair).collect();
            Case { parties: parties.clone(), weights, confirmed: of(true), refuted: of(false) }.comparable()
        })
    })
}

/// The sets that confirmed pairs hold together.
fn confirmed_sets(case: &Case) -> Groups {
    let mut sets: Vec<BTreeSet<u32>> = Vec::new();
    for &(a, b) in &case.confirmed {
        let (touching, mut apart): (Vec<_>, Vec<_>) = sets.into_iter().partition(|s| s.contains(&a) || s.contains(&b));
        apart.push(touching.into_iter().flatten().chain([a, b]).collect());
        sets = apart;
    }
    sets.into_iter().collect()
}

/// The records that `pairs` lead to from `first`.
fn reached<'p>(pairs: impl Iterator<Item = &'p Pair>, first: u32) -> BTreeSet<u32> {
    let pairs: Vec<&Pair> = pairs.collect();
    let mut reached = BTreeSet::from([first]);
    while let Some((a, b)) = pairs.iter().find(|(a, b)| reached.contains(a) != reached.contains(b)) {
        reached.extend([a, b]);
    }
    reached
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let groups = case.groups();
    let confirmed = confirmed_sets(case);
    for group in &groups {
        let within = |pair: &&Pair| group.contains(&pair.0) && group.contains(&pair.1);
        prop_assert!(!case.refuted.iter().any(|pair| within(&pair)), "a refuted pair in {group:?}");
        for (&a, &b) in group.iter().flat_map(|a| group.range(a + 1..).map(move |b| (a, b))) {
            if case.party(a) == case.party(b) && case.duplicate_free(a) {
                let settled = confirmed.iter().any(|set| set.contains(&a) && set.contains(&b));
                prop_assert!(settled, "{a} and {b} of a party that holds each person once in {group:?}");
            }
        }
        let links = case.weights.iter().filter(|(_, w)| **w >= LINK).map(|(pair, _)| pair);
        let whole = reached(links.chain(&case.confirmed).filter(within), *group.first().unwrap());
        prop_assert_eq!(&whole, group, "held together by links");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// The engine joins what the plain rendering joins.
    #[test]
    fn clusters_are_those_of_the_rule(mut case in cases(1, 1, 4)) {
        case.confirmed.clear();
        if let Some((groups, _)) = plain(&case) {
            prop_assert_eq!(case.groups(), groups);
        }
    }

    /// No refuted pair in a cluster; no two records of a party that holds each person once, unless confirmed; every
    /// cluster holds together by links and confirmed pairs. Also with equal weights.
    #[test]
    fn clusters_keep_to_what_is_promised(case in prop_oneof![cases(1, 1, 6), cases(1, 2_000, 6), cases(1, 6_000, 6)]) {
        check(&case)?;
    }

    /// Two records that are together without a party stay so with it, unless one of its records has as heavy a pair, among
    /// the records that hang together with them, as the weakest join that put the two together. The pair may be with a
    /// third record: who takes the partner of another sets that one free. (A list alone is looked through for duplicates by
    /// another measure.)
    #[test]
    fn another_party_breaks_no_stronger_link(case in cases(3, 1, 0)) {
        let before = case.without_last();
        let Some((without, steps)) = plain(&before) else { return Ok(()) };
        let (with, new) = (case.groups(), before.records()..case.records());
        for group in &without {
            let first = *group.first().unwrap();
            let own: Vec<&Step> = steps.iter().filter(|s| s.joined.is_subset(group)).collect();
            for (&a, &b) in group.iter().flat_map(|a| group.range(a + 1..).map(move |b| (a, b))) {
                if group_of(&with, a).contains(&b) {
                    continue;
                }
                let upto = own.iter().position(|s| s.joined.contains(&a) && s.joined.contains(&b)).unwrap();
                let weakest = own[..=upto].iter().map(|s| s.mean).min().unwrap();
                let near = reached(case.weights.keys(), first);
                let of_new = case.weights.iter().filter(|((x, y), _)| new.contains(y) && near.contains(x));
                let heaviest = of_new.map(|(_, &weight)| i64::from(weight) * 1000).max();
                prop_assert!(heaviest >= Some(weakest), "{a} and {b} apart by {heaviest:?}: {without:?}, {with:?}");
            }
        }
    }

    /// Weak links in a row, and records that are not neighbours speak against one another: never more than two together.
    #[test]
    fn weak_links_make_no_chain(
        links in proptest::collection::vec(0..1_500i32, 2..12),
        equal: bool,
        against in 6_000..30_000i32,
        duplicate_free: bool,
    ) {
        let records = links.len() as u32 + 1;
        let weight = |(n, more): (u32, &i32)| (n, n + 1, LINK + if equal { 500 } else { *more });
        let apart = (0..records).flat_map(|a| (a + 2..records).map(move |b| (a, b, -against)));
        let case = Case::new(&vec![(1, duplicate_free); records as usize], (0..).zip(&links).map(weight).chain(apart));
        let groups = case.groups();
        prop_assert!(groups.iter().all(|g| g.len() <= 2), "{groups:?}");
    }
}

fn sets(groups: &[&[u32]]) -> Groups {
    groups.iter().map(|g| g.iter().copied().collect()).collect()
}

/// Whatever is joined at unequal weights is joined at equal ones, and no more.
#[test]
fn equal_weights_are_no_looser_than_unequal_ones() {
    // Two links, and the ends speak against one another.
    for (first, second, groups) in [(9_000, 9_001, &[&[1, 2][..]][..]), (9_000, 9_000, &[])] {
        let case = Case::new(&[(1, false); 3], [(0, 1, first), (1, 2, second), (0, 2, -12_000)]);
        assert_eq!(case.groups(), sets(groups), "{first} {second}");
    }
    // Two persons of three records each, one pair of theirs as heavy as the others.
    let all = |bridge| {
        let within = [(0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)].map(|(a, b)| (a, b, 9_000));
        let apart = (0..3).flat_map(|a| (3..6).map(move |b| (a, b, if (a, b) == (2, 3) { bridge } else { -5_000 })));
        Case::new(&[(1, false); 6], within.into_iter().chain(apart)).groups()
    };
    assert_eq!(all(8_999), sets(&[&[0, 1, 2], &[3, 4, 5]]));
    assert!(all(9_000).iter().all(|g| g.len() <= 3), "{:?}", all(9_000));
}

/// A list that holds a person many times over, all entries alike: one cluster, as when they differ a little.
#[test]
fn a_person_many_times_in_one_list_is_one_cluster() {
    for times in 2..9 {
        for spread in [0, 1] {
            let pairs = (0..times).flat_map(|a| (a + 1..times).map(move |b| (a, b)));
            let weights = (0..).zip(pairs).map(|(n, (a, b))| (a, b, 9_000 + spread * n));
            let case = Case::new(&[(times, false), (1, false)], weights);
            assert_eq!(case.groups(), [(0..times).collect()].into(), "{times} times, {spread}");
        }
    }
}
