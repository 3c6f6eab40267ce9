//! An increment gives what a run over everything gives with the same classifier.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use arrow_array::RecordBatch;
use linkage_agreement::Handle;
use linkage_linking::tokens::Partitions;
use linkage_linking::{
    Base, Clusters, Dispositions, Held, HeldRecords, InMemory, LevelFrequencies, LinkError, Met, PartyInput, RecordIndex,
    Records, Settings, TokenIndex, classify, increment, index_tokens, meet_in_memory, settle,
};
use support::{Person, block_keys, layout, mix, record};

const SETTINGS: Settings = Settings { block_cap: 16, false_link_cost: 20, lead_margin_decibits: 30, abstain_floor_permille: 500 };

struct Index(Partitions, BTreeMap<u32, Vec<RecordBatch>>);

impl TokenIndex<LinkError> for Index {
    fn partitions(&self) -> Partitions {
        self.0
    }
    fn partition(&self, number: u32) -> Result<Vec<RecordBatch>, LinkError> {
        Ok(self.1.get(&number).cloned().unwrap_or_default())
    }
}

struct Sent(Vec<Vec<u8>>);

impl HeldRecords<LinkError> for Sent {
    fn record(&self, record: RecordIndex) -> Result<Vec<u8>, LinkError> {
        self.0.get(record as usize).cloned().ok_or(LinkError::NoSuchRecord(record))
    }
}

/// A word of `syllables`.
fn word(mut number: u64, syllables: u32) -> String {
    let mut next = |letters: &str| {
        let letter = letters.chars().nth((number % letters.len() as u64) as usize);
        number /= letters.len() as u64;
        letter
    };
    (0..syllables).flat_map(|_| [next("BDFGKLMNPRSTV"), next("AEIOU")]).flatten().collect()
}

fn person(n: u64) -> Person {
    let of = |what: &[u8]| mix(&[what, &n.to_le_bytes()]);
    let date = (1930 + (of(b"y") % 70) as u16, 1 + (of(b"m") % 12) as u8, 2 + (of(b"d") % 26) as u8);
    Person::new(&word(of(b"surname"), 4), &word(of(b"given"), 3), date)
}

/// Records of `persons` in list `list`.
fn side(list: u64, persons: impl Iterator<Item = u64>) -> Vec<Vec<u8>> {
    let one =
        |n: u64| record(&layout(128, 4, 8), &person(n), &block_keys(&person(n)), mix(&[&list.to_le_bytes(), &n.to_le_bytes()]));
    persons.map(one).collect()
}

fn met(lists: &[Vec<Vec<u8>>]) -> Met {
    with_input(lists, |input| meet_in_memory(&layout(128, 4, 8), input, SETTINGS.block_cap).unwrap())
}

fn with_input<T>(lists: &[Vec<Vec<u8>>], then: impl FnOnce(&[PartyInput<'_>]) -> T) -> T {
    let layout = layout(128, 4, 8);
    let packed: Vec<Vec<u8>> = lists.iter().map(|list| list.concat()).collect();
    let input: Vec<_> = packed.iter().map(|bytes| PartyInput::block_scoped(&layout, false, vec![bytes])).collect();
    then(&input)
}

type Named = BTreeSet<Vec<(Handle, u64)>>;

/// Clusters by handles and probabilities.
fn named(records: &Records, clusters: &Clusters) -> Named {
    let member = |m: &linkage_linking::Member| (records.handle(m.record).unwrap(), m.probability.to_bits());
    let sorted = |mut members: Vec<_>| {
        members.sort_unstable();
        members
    };
    clusters.clusters.iter().map(|c| sorted(c.members.iter().map(member).collect())).collect()
}

#[test]
fn what_is_new_joins_what_is_held() {
    let (layout, nothing) = (layout(128, 4, 8), Dispositions::default());
    let base = [side(0, 0..600), side(1, 300..900), side(2, 500..800)];
    let held = met(&base);
    let model = classify(&held.records, &held.comparisons, &LevelFrequencies::new(&layout)).unwrap();
    let (_, before) = settle(&held.records, &held.comparisons, &model, &SETTINGS, &nothing).unwrap();

    let kept = Mutex::new(BTreeMap::new());
    let partitions = with_input(&base, |input| {
        index_tokens(&InMemory::new(&layout, input).unwrap(), &Held::default(), |number, batch| {
            kept.lock().unwrap().insert(number, vec![batch.clone()]);
            Ok(())
        })
        .unwrap()
    });
    let index = Index(partitions, kept.into_inner().unwrap());
    let sent = Sent(base.concat());

    // The third list delivers for the first time whom the others know and persons who are new to all; one record leaves.
    let removed = BTreeSet::from([310, 605]);
    let new = [side(0, 870..960), Vec::new(), side(2, (100..160).chain(940..980))];
    let first = with_input(&new, |input| {
        let base = Base {
            records: held.records.clone(),
            comparisons: &held.comparisons,
            model: &model,
            settled: &nothing,
            memory_bytes: u64::MAX,
        };
        increment(base, &index, &sent, &InMemory::new(&layout, input).unwrap(), &removed, &SETTINGS, &nothing).unwrap()
    });

    let rest = |list: &[Vec<u8>], from: u32| -> Vec<Vec<u8>> {
        list.iter().zip(from..).filter(|(_, n)| !removed.contains(n)).map(|(r, _)| r.clone()).collect()
    };
    let whole =
        [[rest(&base[0], 0), new[0].clone()].concat(), rest(&base[1], 600), [rest(&base[2], 1200), new[2].clone()].concat()];
    let all = met(&whole);
    let (_, expected) = settle(&all.records, &all.comparisons, &model, &SETTINGS, &nothing).unwrap();

    let touched: BTreeSet<Handle> = first.touched.iter().map(|&r| first.records.handle(r).unwrap()).collect();
    let untouched = named(&held.records, &before).into_iter().filter(|c| c.iter().all(|(handle, _)| !touched.contains(handle)));
    let after: Named = untouched.chain(named(&first.records, &first.clusters)).collect();
    assert_eq!(after, named(&all.records, &expected));
    // Not vacuous: most of what is held was left alone, and new records found theirs.
    assert!(first.touched.len() < 900, "{}", first.touched.len());
    assert!(first.clusters.clusters.len() > 80, "{}", first.clusters.clusters.len());

    // Several of one run stand side by side, each with all that is new since: nothing of the first is held.
    let refused = with_input(&new, |input| {
        let base = Base {
            records: held.records.clone(),
            comparisons: &held.comparisons,
            model: &model,
            settled: &nothing,
            memory_bytes: 0,
        };
        increment(base, &index, &sent, &InMemory::new(&layout, input).unwrap(), &removed, &SETTINGS, &nothing)
    });
    let Err(LinkError::Memory { least }) = refused else { panic!("a budget of nothing is refused") };
    assert!(least > 1_000);
    let enough = |memory_bytes| {
        with_input(&new, |input| {
            let base = Base {
                records: held.records.clone(),
                comparisons: &held.comparisons,
                model: &model,
                settled: &nothing,
                memory_bytes,
            };
            increment(base, &index, &sent, &InMemory::new(&layout, input).unwrap(), &removed, &SETTINGS, &nothing)
        })
    };
    // What is known before records are read is not all.
    let Err(LinkError::Memory { least: all }) = enough(least) else { panic!("payloads take memory as well") };
    assert!(all > least);
    assert_eq!(enough(all).unwrap().clusters, first.clusters);
}

#[test]
fn records_of_other_parties_do_not_follow() {
    let two = met(&[side(0, 0..5), side(1, 0..5)]).records;
    let one = met(&[side(0, 0..5)]).records;
    assert_eq!(two.clone().followed_by(one), Err(LinkError::Packed("records of other parties")));
    let both = two.clone().followed_by(two).unwrap();
    assert_eq!([0, 4, 5, 9, 10, 14, 15, 19].map(|record| both.party(record)), [0, 0, 1, 1, 0, 0, 1, 1]);
    assert_eq!((both.len(), both.of_party(1), both.of_party(2)), (20, 5..10, 0..0));
}
