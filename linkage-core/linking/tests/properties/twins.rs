//! Twins who stand side by side in every list that knows them, and persons who go by two given names.

use linkage_linking::{Clusters, Dispositions, Met, classify, cluster, decide, meet_in_memory, settle};

use crate::SETTINGS;
use crate::crowd::{Chance, Held, Run, full_layout, given_name, layout_without_sex, person, retyped};
use crate::support::Person;

const CROWD: usize = 400;

/// Persons by kind: the crowd, then both twins of every pair, then persons under two given names.
struct Kinds {
    twins: usize,
    renamed: usize,
}

/// Three lists. Twins are of one sex and differ in the given name only; a list holds both or none. Who goes by two given
/// names goes by the second one in the last list.
fn run(seed: u64, kinds: &Kinds, sex: bool, duplicate_free: bool) -> Run {
    let mut chance = Chance::new(seed);
    let other_name = |chance: &mut Chance, of: &Person, sex: usize| -> Person {
        let (given, class) = given_name(chance, sex);
        Person { given, sex: sex.to_string(), classes: [of.classes[0], of.classes[1], class], ..of.clone() }
    };
    let mut people: Vec<Person> = (0..CROWD + kinds.twins).map(|_| person(&mut chance)).collect();
    for first in CROWD..CROWD + kinds.twins {
        let sex = if chance.percent(66.0) { people[first].sex.parse().unwrap() } else { 1 + chance.below(2) };
        let second = other_name(&mut chance, &people[first].clone(), sex);
        people.push(second);
    }
    people.extend((0..kinds.renamed).map(|_| person(&mut chance)));
    let second_names: Vec<Person> = people.iter().map(|p| other_name(&mut chance, p, p.sex.parse().unwrap())).collect();
    let parties = (0..3).map(|party| {
        let mut held = vec![false; people.len()];
        held[..CROWD + kinds.twins].fill_with(|| chance.percent(60.0));
        for first in CROWD..CROWD + kinds.twins {
            held[first + kinds.twins] = held[first];
        }
        let renamed = CROWD + 2 * kinds.twins;
        held[renamed..].fill(party != 1);
        let mut list: Vec<Held> = Vec::new();
        for who in (0..people.len()).filter(|&who| held[who]) {
            let as_known = if who >= renamed && party == 2 { &second_names[who] } else { &people[who] };
            // Twins without errors of their own: the given name is all that tells them apart.
            let record = if who < CROWD { retyped(&mut chance, as_known) } else { as_known.clone() };
            list.push(Held { who, record });
        }
        chance.shuffle(&mut list);
        list
    });
    let parties = parties.collect();
    Run { layout: if sex { full_layout() } else { layout_without_sex() }, parties, duplicate_free }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    /// Pairs of twins that share a cluster.
    twins: usize,
    /// Persons under two given names whose two records share a cluster.
    renamed: usize,
    /// Pairs of two persons, whoever they are, that share a cluster.
    wrong: u32,
    /// Pairs decided otherwise after the second look, and the most that a pair gained, in thousandths of a bit.
    changed: usize,
    gained: i32,
}

fn count(run: &Run, kinds: &Kinds, clusters: &Clusters) -> Counts {
    let names = run.names();
    let figures = run.figures(clusters);
    let mut out = Counts { wrong: figures.linked - figures.right, ..Counts::default() };
    for cluster in &clusters.clusters {
        let who: Vec<usize> = cluster.members.iter().map(|m| names[m.record as usize].1).collect();
        let twins = CROWD..CROWD + kinds.twins;
        out.twins += who.iter().filter(|w| twins.contains(w) && who.contains(&(**w + kinds.twins))).count().min(1);
        let renamed = CROWD + 2 * kinds.twins;
        out.renamed += who.iter().filter(|&&w| w >= renamed && who.iter().filter(|&&x| x == w).count() == 2).count() / 2;
    }
    out
}

/// Counts by the pairs alone, and with the second look.
fn both(run: &Run, kinds: &Kinds) -> [Counts; 2] {
    run.with_input(|input, frequencies| {
        let Met { records, comparisons, .. } = meet_in_memory(&run.layout, input, SETTINGS.block_cap).unwrap();
        let model = classify(&records, &comparisons, frequencies).unwrap();
        let decided = decide(&records, &comparisons, &model, &SETTINGS, &Dispositions::default());
        let alone = cluster(&records, &decided, &Dispositions::default()).unwrap();
        let (again, settled) = settle(&records, &comparisons, &model, &SETTINGS, &Dispositions::default()).unwrap();
        let changed = decided.iter().zip(&again).filter(|(x, y)| x.outcome != y.outcome).count();
        let gained = decided.iter().zip(&again).map(|(x, y)| (y.millibits - x.millibits).abs()).max().unwrap_or(0);
        [count(run, kinds, &alone), Counts { changed, gained, ..count(run, kinds, &settled) }]
    })
}

/// Sums over twenty populations with so many pairs of twins and so many persons under two given names.
fn sums(twins: usize, renamed: usize, sex: bool, duplicate_free: bool) -> [Counts; 2] {
    let kinds = Kinds { twins, renamed };
    let mut sums = [Counts::default(); 2];
    for seed in 1..21 {
        for (sum, counts) in sums.iter_mut().zip(both(&run(seed, &kinds, sex, duplicate_free), &kinds)) {
            sum.twins += counts.twins;
            sum.renamed += counts.renamed;
            sum.wrong += counts.wrong;
            sum.changed += counts.changed;
            sum.gained = sum.gained.max(counts.gained);
        }
    }
    sums
}

#[test]
fn who_stands_beside_whom_tells_one_person_from_twins() {
    let [alone, again] = sums(4, 4, true, true);
    assert_eq!((alone.twins, again.twins), (0, 0), "of 80 pairs");
    assert!(again.renamed >= 70 && alone.renamed <= 60, "of 80: {alone:?}, then {again:?}");
    assert!(again.wrong <= alone.wrong, "{alone:?}, then {again:?}");
}

#[test]
fn without_a_sex_as_well() {
    let [alone, again] = sums(4, 4, false, true);
    assert_eq!((alone.twins, again.twins), (0, 0), "of 80 pairs");
    assert!(again.renamed >= 40 && alone.renamed <= 20, "of 80: {alone:?}, then {again:?}");
    assert!(again.wrong <= alone.wrong, "{alone:?}, then {again:?}");
}

#[test]
fn lists_that_may_hold_a_person_twice_do_not_take_twins_for_one() {
    for sex in [true, false] {
        let [alone, again] = sums(4, 4, sex, false);
        assert_eq!(again.twins, 0, "of 80 pairs, sex {sex}");
        assert!(again.renamed >= 45, "of 80: {again:?}");
        assert!(again.wrong <= alone.wrong, "{alone:?}, then {again:?}");
    }
}

/// Where no twins are known, only what is expected of them beforehand counts: -log2(.3) = 1.74 bits at most.
#[test]
fn without_twins_there_is_little_to_learn() {
    for renamed in [4, 0] {
        let [alone, again] = sums(0, renamed, true, true);
        assert!(again.gained <= 1_740, "{again:?}");
        assert!(again.wrong <= alone.wrong, "{alone:?}, then {again:?}");
        assert!(again.changed <= again.renamed - alone.renamed + 1, "{alone:?}, then {again:?}");
    }
}
