//! Three years of six parties' runs with links that were wrong and are put right: persons carried, merged, split and found
//! again, from the custodian's registry over the wire to the analyst's study and its figures, against the truth.
//!
//! The linkage itself is played: clusters are what it would find, with the mistakes that the test wants. Store, registry,
//! hand-over, fetch, study, supersession lists and queries are the real ones. All mistakes are put right before the last
//! run, so that every figure of every month must be the true one.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt16Type, UInt32Type};
use linkage_agreement::{PartyId, Period, PersonId, Pseudonym};
use linkage_analyst::fetch_once;
use linkage_analyst::study::{StudyStore, TakenRun};
use linkage_analyst::tables::Tables;
use linkage_cohort::Category;
use linkage_cohort::query::{Inputs, Query, evaluate};
use linkage_cohort::study::{Column, Study};
use linkage_cohort::supersede::apply;
use linkage_common::batches::HeldBatch;
use linkage_common::error::ErrorKind;
use linkage_custodian::service::unpack_records;
use linkage_custodian::store::{RecordUpload, Store};
use linkage_tests::fixture::{World, run, until};
use linkage_tests::wire::{AttributeKeys, cluster, entry, handle, reference};
use rand_core::Rng;

const PARTIES: [&str; 6] = ["ccas", "siao", "caf", "departement", "adil", "hopital"];
const MONTHS: u64 = 36;
const PERSONS: u64 = 20_000;
/// The party that sends nothing for one month, and the month.
const MISSING: (usize, u64) = (4, 17);

/// A stay of a person with a party, under a local id of its own.
struct Stay {
    party: usize,
    person: u64,
    from: u64,
    to: u64,
    /// From and until which month its identity is taken wrongly, and for whom: nobody known, or the next person.
    wrong: Option<(u64, u64, Wrong)>,
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
            Some((from, until, wrong)) if (from..until).contains(&month) => match wrong {
                Wrong::Missed => 1_000_000 + at as u64,
                Wrong::Joined => (self.person + 1) % PERSONS,
            },
            _ => self.person,
        }
    }
    fn present(&self, month: u64) -> bool {
        (self.from..=self.to).contains(&month)
    }
    /// Whether its party tells of it in a month: the archive holds it ever after.
    fn sent(&self, month: u64) -> bool {
        self.from <= month && (self.party, month) != MISSING
    }
}

fn stays() -> Vec<Stay> {
    let mut state = 7u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut stays: Vec<Stay> = Vec::new();
    for person in 0..PERSONS {
        let first = stays.len();
        for _ in 0..=draw(3) {
            let from = draw(MONTHS);
            let to = (from + 1 + draw(12)).min(MONTHS - 1);
            // A party has one record of a person at a time: who comes back does so under a new local id.
            let party = draw(PARTIES.len() as u64) as usize;
            if stays.iter().skip(first).any(|s| s.party == party && s.from <= to + 1 && from <= s.to + 1) {
                continue;
            }
            // Wrong from the start, or from a correction that was none, until it is put right; at the end nothing is wrong.
            let begin = if draw(2) == 0 { from } else { from + 1 + draw(6) };
            let wrong = match draw(16) {
                0 => Some((begin, begin + 1 + draw(12), Wrong::Missed)),
                1 => Some((begin, begin + 1 + draw(12), Wrong::Joined)),
                _ => None,
            };
            stays.push(Stay { party, person, from, to, wrong: wrong.filter(|(_, until, _)| *until < MONTHS) });
        }
    }
    stays
}

fn period(month: u64) -> Period {
    Period::new(2024 + (month / 12) as u16, (month % 12 + 1) as u8).unwrap()
}

/// Children of a person, who is asked again every January.
fn children(person: u64, month: u64) -> u64 {
    (person * 7 + month / 12) % 5
}

/// One month at the custodian: records as the nodes send them, clusters as the broker does, then the registry.
async fn month(world: &World, store: &Store, stays: &[Stay], month: u64) {
    let id = run(&period(month).to_string());
    let handle_of = |at: usize| handle(month * 1_000_000 + at as u64);
    let known: Vec<usize> = (0..stays.len()).filter(|at| stays[*at].sent(month)).collect();
    let mut parties: Vec<PartyId> = Vec::new();
    for (number, party) in PARTIES.iter().enumerate().filter(|(number, _)| (*number, month) != MISSING) {
        let party: PartyId = party.parse().unwrap();
        let keys = AttributeKeys::draw(world);
        let entries: Vec<u8> = known
            .iter()
            .filter(|at| stays[**at].party == number)
            .flat_map(|at| {
                let (stay, handle, reference) = (&stays[*at], handle_of(*at), reference(*at as u64));
                if stay.present(month) {
                    let values = [format!("P{}", stay.person), children(stay.person, month).to_string()];
                    keys.entry(handle, reference, &values.each_ref().map(String::as_str))
                } else {
                    entry(handle, reference, 0)
                }
            })
            .collect();
        let records = unpack_records(&entries, world.agreement.analyst.len()).unwrap();
        let count = records.len() as u64;
        let held = HeldBatch { sequence: 0, records: count, digest: vec![0; 32] };
        store.put_records(&id, &party, &held, &records, count).await.unwrap();
        let sealed: HashMap<String, String> =
            keys.sealed(world, id.as_str(), party.as_str()).into_iter().map(|(who, key)| (who, hex::encode(key))).collect();
        let upload = RecordUpload { digest: vec![0; 32], records: count, period: period(month), reference_party: None };
        store.commit_records(&id, &party, &upload, &serde_json::to_string(&sealed).unwrap()).await.unwrap();
        parties.push(party);
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

/// Figures by category, beside the period's; none for what cannot be said.
type Figures = BTreeMap<(String, String), Option<f64>>;

/// A query's figures, but for totals and cells of nobody.
fn asked(study: &Study, rest: &str) -> Figures {
    let (first, last) = (period(0), period(MONTHS - 1));
    let text = format!("title = \"x\"\nperiods = {{ from = \"{first}\", to = \"{last}\" }}\n{rest}");
    let keys = vec![0; study.persons as usize];
    let inputs = Inputs { person_keys: &keys, households: None };
    let table = evaluate(&Query::from_toml(&text).unwrap(), study, inputs).unwrap();
    let mut figures = Figures::new();
    let columns = table.dimensions.get(1).map_or(&[Category::Total][..], |dimension| &dimension.categories);
    let name = |category: &Category| match category {
        Category::Value(text) => Some(text.clone()),
        Category::Total if columns.len() == 1 => Some(String::new()),
        _ => None,
    };
    for (period, cells) in table.dimensions[0].categories.iter().zip(table.cells.chunks(columns.len())) {
        for (column, cell) in columns.iter().zip(cells) {
            let figure = (!cell.missing).then_some(cell.value);
            if let (Some(period), Some(column), true) = (name(period), name(column), figure != Some(0.0)) {
                figures.insert((period, column), figure);
            }
        }
    }
    figures
}

/// Who is where, month by month: by true person, the parties that know them.
struct Truth(Vec<BTreeMap<u64, BTreeSet<usize>>>);

impl Truth {
    fn of(stays: &[Stay]) -> Self {
        let month = |month: u64| {
            let mut persons: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
            for stay in stays.iter().filter(|stay| stay.present(month) && stay.sent(month)) {
                persons.entry(stay.person).or_default().insert(stay.party);
            }
            persons
        };
        Self((0..MONTHS).map(month).collect())
    }

    /// Figures of all months, of which that with a party missing says nothing.
    fn figures(&self, of: impl Fn(u64, &BTreeMap<u64, BTreeSet<usize>>) -> BTreeMap<String, u64>) -> Figures {
        let mut figures = Figures::new();
        for (month, persons) in (0..).zip(&self.0) {
            for (column, count) in of(month, persons) {
                let known = (month != MISSING.1).then_some(count as f64);
                figures.insert((period(month).to_string(), column), known);
            }
        }
        figures
    }

    /// Entries, exits and returns by month: known where this month and the one before are.
    fn flows(&self) -> [Figures; 3] {
        let mut flows = [Figures::new(), Figures::new(), Figures::new()];
        let mut before: BTreeSet<u64> = BTreeSet::new();
        let mut last: BTreeSet<u64> = BTreeSet::new();
        for (month, persons) in (0..).zip(&self.0) {
            let now: BTreeSet<u64> = persons.keys().copied().collect();
            let known = month > 0 && month != MISSING.1 && month != MISSING.1 + 1;
            let entries = now.difference(&before).count();
            let exits = last.difference(&now).count();
            let returns = now.iter().filter(|person| before.contains(person) && !last.contains(person)).count();
            for (figures, count) in flows.iter_mut().zip([entries, exits, returns]) {
                if !known || count > 0 {
                    figures.insert((period(month).to_string(), String::new()), known.then_some(count as f64));
                }
            }
            if month != MISSING.1 {
                before.extend(&now);
                last = now;
            }
        }
        flows
    }
}

fn counted<K: ToString>(keys: impl Iterator<Item = K>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key.to_string()).or_default() += 1);
    counts
}

fn check_figures(study: &Study, stays: &[Stay]) {
    let truth = Truth::of(stays);
    let whole = |count: u64| BTreeMap::from([(String::new(), count)]);
    let known = truth.figures(|_, persons| whole(persons.len() as u64));
    assert!(known.values().flatten().all(|count| *count > 500.0), "{known:?}");
    assert_eq!(asked(study, "measure = \"stock\""), known);
    for (measure, true_figures) in ["entries", "exits", "returns"].iter().zip(truth.flows()) {
        assert_eq!(asked(study, &format!("measure = \"{measure}\"")), true_figures, "{measure}");
        // The first month has no flows, the month with a gap and the one after it neither.
        assert_eq!(true_figures.values().filter(|figure| figure.is_none()).count(), 3, "{measure}");
        assert!(true_figures.values().flatten().sum::<f64>() > 1_000.0, "{measure}");
    }

    // By party the gap is that party's alone: missing there, not zero.
    let mut by_party = truth.figures(|_, persons| counted(persons.values().flatten().map(|party| PARTIES[*party])));
    let gap = period(MISSING.1).to_string();
    for (number, party) in PARTIES.iter().enumerate() {
        let count = truth.0[MISSING.1 as usize].values().filter(|parties| parties.contains(&number)).count() as f64;
        by_party.insert((gap.clone(), (*party).to_owned()), (number != MISSING.0).then_some(count));
    }
    assert_eq!(asked(study, "measure = \"stock\"\nbreakdown = [\"party\"]"), by_party);

    // Overlaps: every combination of parties. What a gap makes of combinations is in no figure.
    let join = |parties: &BTreeSet<usize>| parties.iter().map(|party| PARTIES[*party]).collect::<Vec<_>>().join(" + ");
    let overlaps = truth.figures(|_, persons| counted(persons.values().map(join)));
    let without_gap = |figures: Figures| -> Figures { figures.into_iter().filter(|(at, _)| at.0 != gap).collect() };
    let found = asked(study, "measure = \"stock\"\nbreakdown = [\"parties\"]");
    assert!(found.iter().all(|((month, _), figure)| figure.is_some() == (*month != gap)), "{found:?}");
    let overlaps = without_gap(overlaps);
    assert!(overlaps.keys().any(|(_, parties)| parties.matches('+').count() == 2), "persons of three parties");
    assert_eq!(without_gap(found), overlaps);

    // Attributes, as they were in the month.
    let by_children = truth.figures(|month, persons| counted(persons.keys().map(|person| children(*person, month))));
    let found = asked(study, "measure = \"stock\"\nbreakdown = [\"nb_enfants\"]");
    assert_eq!(without_gap(found), without_gap(by_children));
    let sum = truth.figures(|month, persons| whole(persons.keys().map(|person| children(*person, month)).sum()));
    assert_eq!(asked(study, "measure = \"sum\"\nof = \"nb_enfants\""), sum);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_years_of_runs_come_to_the_truth() {
    let world = World::of(&PARTIES, |agreement| agreement.analyst.truncate(1));
    let stays = stays();
    // Persons who come back to a party under a new local id, after a month or more.
    let mut at_party: BTreeMap<(u64, usize), u64> = BTreeMap::new();
    stays.iter().for_each(|s| *at_party.entry((s.person, s.party)).or_default() += 1);
    assert!(at_party.values().filter(|stays| **stays > 1).count() > 1_000);
    let corrected = |wrong: Wrong| stays.iter().filter(|s| s.wrong.is_some_and(|(.., kind)| kind == wrong)).count();
    assert!(corrected(Wrong::Missed) > 1_000 && corrected(Wrong::Joined) > 1_000);

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
        held.push(month);
    }
    check_figures(&study, &stays);
    // It was not so from the start: runs merged and split, and earlier months were changed by it.
    let runs = store.runs().unwrap();
    let sum = |of: fn(&TakenRun) -> u64| runs.iter().map(of).sum::<u64>();
    let (merges, splits, touched) = (sum(|r| r.changes.merges), sum(|r| r.changes.splits), sum(|r| r.touched.len() as u64));
    assert!(merges > 500 && splits > 500 && touched > 100, "{merges} {splits} {touched}");

    // The tables of each run as they came are of their time; with all lists they are the study. Lists followed once more
    // change nothing.
    let tables = Tables::open(&config.data_dir).unwrap();
    let lists: Vec<_> = tables.in_order().unwrap().iter().map(|run| tables.supersessions(run).unwrap()).collect();
    let pseudonyms = study.source.pseudonyms().unwrap();
    let mut moved = 0;
    for (at, month) in held.iter().enumerate() {
        let links = tables.links(&study.months[at].run).unwrap();
        let mut persons: Vec<Pseudonym> = links.iter().map(|row| row.person).collect();
        let mut applied = Vec::new();
        moved += apply(persons.iter_mut().zip(links.iter().map(|row| row.record)), &lists, &mut applied);
        assert_eq!(apply(persons.iter_mut().zip(links.iter().map(|row| row.record)), &lists, &mut applied), 0);
        persons.sort_unstable();
        let mut expected: Vec<Pseudonym> = month.iter().map(|(number, _)| pseudonyms[*number as usize]).collect();
        expected.sort_unstable();
        assert_eq!(persons, expected, "month {at}");
    }
    assert!(moved > 500, "{moved}");
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
