//! Three years of runs with links that were wrong and are put right: persons carried, merged, split and found again, from
//! the custodian's registry over the wire to the analyst's study, against the truth.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt16Type, UInt32Type};
use linkage_agreement::{PartyId, Period, PersonId, Pseudonym};
use linkage_analyst::fetch_once;
use linkage_analyst::study::StudyStore;
use linkage_analyst::tables::Tables;
use linkage_cohort::study::{Column, Study};
use linkage_cohort::supersede::apply;
use linkage_common::batches::HeldBatch;
use linkage_common::error::ErrorKind;
use linkage_custodian::service::unpack_records;
use linkage_custodian::store::{RecordUpload, Store};
use linkage_tests::fixture::{World, run, until};
use linkage_tests::wire::{AttributeKeys, cluster, entry, handle, reference};
use rand_core::Rng;

const PARTIES: [&str; 3] = ["ccas", "siao", "caf"];
const MONTHS: u64 = 36;
const PERSONS: u64 = 4_000;

/// A stay of a person with a party, under a local id of its own.
struct Stay {
    party: usize,
    person: u64,
    from: u64,
    to: u64,
    /// Until which month it is linked wrongly, and to what: nothing, or the next person.
    wrong: Option<(u64, Wrong)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Wrong {
    Missed,
    Joined,
}

impl Stay {
    /// What the linkage takes it for in a month.
    fn label(&self, at: usize, month: u64) -> u64 {
        match self.wrong {
            Some((until, Wrong::Missed)) if month < until => 1_000_000 + at as u64,
            Some((until, Wrong::Joined)) if month < until => (self.person + 1) % PERSONS,
            _ => self.person,
        }
    }
    fn present(&self, month: u64) -> bool {
        (self.from..=self.to).contains(&month)
    }
}

fn stays() -> Vec<Stay> {
    let mut state = 7u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut stays = Vec::new();
    for person in 0..PERSONS {
        for _ in 0..=draw(3) {
            let from = draw(MONTHS);
            let (party, to) = (draw(3) as usize, (from + 1 + draw(8)).min(MONTHS - 1));
            let until = from + 1 + draw(12);
            let wrong = match draw(20) {
                0 => Some((until, Wrong::Missed)),
                1 => Some((until, Wrong::Joined)),
                _ => None,
            };
            // What is wrong in the last run stays so: here all is put right before.
            stays.push(Stay { party, person, from, to, wrong: wrong.filter(|(until, _)| *until < MONTHS) });
        }
    }
    stays
}

fn period(month: u64) -> Period {
    Period::new(2024 + (month / 12) as u16, (month % 12 + 1) as u8).unwrap()
}

/// One month at the custodian: records as the nodes send them, clusters as the broker does, then the registry.
async fn month(world: &World, store: &Store, stays: &[Stay], month: u64) {
    let id = run(&period(month).to_string());
    let parties = PARTIES.map(|p| p.parse::<PartyId>().unwrap());
    let handle_of = |at: usize| handle(month * 1_000_000 + at as u64);
    let known: Vec<usize> = (0..stays.len()).filter(|at| stays[*at].from <= month).collect();
    for (number, party) in parties.iter().enumerate() {
        let keys = AttributeKeys::draw(world);
        let entries: Vec<u8> = known
            .iter()
            .filter(|at| stays[**at].party == number)
            .flat_map(|at| {
                let (handle, reference) = (handle_of(*at), reference(*at as u64));
                let truth = format!("P{}", stays[*at].person);
                if stays[*at].present(month) {
                    keys.entry(handle, reference, &[&truth, "0"])
                } else {
                    entry(handle, reference, 0)
                }
            })
            .collect();
        let records = unpack_records(&entries, 2).unwrap();
        let count = records.len() as u64;
        let held = HeldBatch { sequence: 0, records: count, digest: vec![0; 32] };
        store.put_records(&id, party, &held, &records).await.unwrap();
        let sealed: HashMap<String, String> =
            keys.sealed(world, id.as_str(), party.as_str()).into_iter().map(|(who, key)| (who, hex::encode(key))).collect();
        let upload = RecordUpload { digest: vec![0; 32], records: count, period: period(month), reference_party: None };
        store.commit_records(&id, party, &upload, &serde_json::to_string(&sealed).unwrap()).await.unwrap();
    }
    let mut groups: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    known.iter().for_each(|at| groups.entry(stays[*at].label(*at, month)).or_default().push(*at));
    let packed: Vec<u8> = groups
        .values()
        .filter(|group| group.len() > 1)
        .flat_map(|group| cluster(&group.iter().map(|at| handle_of(*at)).collect::<Vec<_>>()))
        .collect();
    store.put_clusters(&id, 0, true, &[0; 32], &packed).await.unwrap();
    assert!(store.clusters_complete(&id, period(month), &parties, None, b"{}").await.unwrap());
    let mut rng = linkage_common::rng();
    let mint = || {
        let mut id = PersonId::default();
        rng.fill_bytes(&mut id.0);
        id
    };
    assert_eq!(store.register(&id, mint).await.unwrap(), groups.len() as u64);
}

/// Rows of a month: the person's number and the true person, who travels as an attribute here.
fn rows(study: &Study, at: usize) -> Vec<(u32, u64)> {
    let batch = study.source.columns(at, &[Column::Person, Column::Attribute(0)]).unwrap();
    let persons = batch.column(0).as_primitive::<UInt32Type>();
    let codes = batch.column(1).as_primitive::<UInt16Type>();
    let truth = |code: u16| study.attributes[0].values[usize::from(code)].strip_prefix('P').unwrap().parse().unwrap();
    persons.values().iter().zip(codes.values()).map(|(person, code)| (*person, truth(*code))).collect()
}

#[tokio::test]
async fn three_years_of_runs_come_to_the_truth() {
    let world = World::new();
    let stays = stays();
    let store = Store::open(&world.custodian_config().data_dir.join("custodian.sqlite")).await.unwrap();
    for number in 0..MONTHS {
        month(&world, &store, &stays, number).await;
    }
    drop(store);
    let _served = world.serve_custodian();
    let config = world.analyst_config("etude");
    // The first attempts may find nobody listening yet.
    let fetched = until("the link tables", || async {
        match fetch_once(&config).await {
            Err(error) if error.kind == ErrorKind::Unavailable => None,
            other => Some(other.unwrap()),
        }
    })
    .await;
    assert_eq!(fetched.len(), MONTHS as usize);

    let store = StudyStore::open(&config.data_dir, &world.agreement).unwrap();
    let study = store.study().unwrap();
    assert_eq!(study.months.len(), MONTHS as usize);
    // One number for each true person over all months, whatever the stay, and one true person for each number.
    let (mut number_of, mut person_of) = (HashMap::new(), HashMap::new());
    let mut held = Vec::new();
    for at in 0..study.months.len() {
        let month = rows(&study, at);
        for (number, person) in &month {
            assert_eq!(number_of.entry(*person).or_insert(*number), number, "month {at}: person {person} is two");
            assert_eq!(person_of.entry(*number).or_insert(*person), person, "month {at}: two persons are one");
        }
        let truth: BTreeSet<u64> = stays.iter().filter(|s| s.present(at as u64)).map(|s| s.person).collect();
        assert_eq!(month.iter().map(|row| row.1).collect::<BTreeSet<_>>(), truth, "month {at}");
        held.push(month);
    }
    // It was not so from the start: runs merged and split, and earlier months were changed by it.
    let runs = store.runs().unwrap();
    let sum = |of: fn(&linkage_analyst::study::TakenRun) -> u64| runs.iter().map(of).sum::<u64>();
    let (merges, splits, touched) = (sum(|r| r.changes.merges), sum(|r| r.changes.splits), sum(|r| r.touched.len() as u64));
    assert!(merges > 100 && splits > 100 && touched > 100, "{merges} {splits} {touched}");

    // The tables of each run as they came are of their time; with all lists they are the study.
    let tables = Tables::open(&config.data_dir).unwrap();
    let lists: Vec<_> = tables.in_order().unwrap().iter().map(|run| tables.supersessions(run).unwrap()).collect();
    let pseudonyms = study.source.pseudonyms().unwrap();
    let mut moved = 0;
    for (at, month) in held.iter().enumerate() {
        let links = tables.links(&study.months[at].run).unwrap();
        let mut persons: Vec<Pseudonym> = links.iter().map(|row| row.person).collect();
        moved += apply(persons.iter_mut().zip(links.iter().map(|row| row.record)), &lists, &mut Vec::new());
        persons.sort_unstable();
        let mut expected: Vec<Pseudonym> = month.iter().map(|(number, _)| pseudonyms[*number as usize]).collect();
        expected.sort_unstable();
        assert_eq!(persons, expected, "month {at}");
    }
    assert!(moved > 100, "{moved}");
    // Made again from the tables it is the same.
    store.rebuild(&tables).unwrap();
    let again = store.study().unwrap();
    let names = again.source.pseudonyms().unwrap();
    let named = |month: &[(u32, u64)], names: &[Pseudonym]| -> BTreeSet<(Pseudonym, u64)> {
        month.iter().map(|(number, truth)| (names[*number as usize], *truth)).collect()
    };
    for (at, month) in held.iter().enumerate() {
        assert_eq!(named(&rows(&again, at), &names), named(month, &pseudonyms), "month {at}");
    }
}
