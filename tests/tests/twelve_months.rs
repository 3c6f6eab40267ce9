//! A year of monthly deliveries through real processes: records that left their lists go on taking part out of the nodes'
//! archives, also when their names are deleted, and whoever comes back under a new local id is the person of before.
//!
//! The synthetic population moves, corrects its papers, leaves and returns; the harness owns every disk and knows the truth.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use linkage_agreement::{Agreement, ParsedAgreement, Pseudonym, RecordRef};
use linkage_analyst::study::StudyStore;
use linkage_analyst::tables::Tables;
use linkage_cohort::Category;
use linkage_cohort::query::{Inputs, Query, evaluate};
use linkage_cohort::study::Study;
use linkage_cohort::supersede::apply;
use linkage_common::config::{SecretSource, load_config};
use linkage_crypto::pseudonym::{AnalystScalar, CustodianScalar, Domain};
use linkage_node::Node;
use linkage_node::config::NodeConfig;
use linkage_tests::federation::{Federation, Role, linkage_ok};

const MONTHS: usize = 12;
const PERSONS: u64 = 300;
/// After how many months all names are deleted at the nodes.
const NAMES_GO: usize = 6;

fn month(at: usize) -> String {
    format!("2024-{:02}", at + 1)
}

/// A party's record: party and local id.
type Record = (String, String);

/// True person of every record, and the months in which it was delivered.
struct Truth(BTreeMap<Record, (String, BTreeSet<usize>)>);

impl Truth {
    fn read(federation: &Federation) -> Self {
        let text = std::fs::read_to_string(federation.folder.join("donnees/truth/truth.csv")).unwrap();
        let mut records: BTreeMap<Record, (String, BTreeSet<usize>)> = BTreeMap::new();
        for line in text.lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            let at = (0..MONTHS).find(|at| month(*at) == cells[1]).unwrap();
            let of = records.entry((cells[0].to_owned(), cells[2].to_owned()));
            of.or_insert_with(|| (cells[3].to_owned(), BTreeSet::new())).1.insert(at);
        }
        Self(records)
    }

    fn months(&self, record: &Record) -> &BTreeSet<usize> {
        &self.0[record].1
    }

    fn persons(&self, at: usize) -> BTreeSet<&str> {
        self.0.values().filter(|(_, months)| months.contains(&at)).map(|(person, _)| person.as_str()).collect()
    }

    /// Who came back to a party under another local id: the record that had gone, and the new one.
    fn back_under_new_id(&self) -> Vec<(&Record, &Record)> {
        let mut of_person: BTreeMap<(&str, &str), Vec<&Record>> = BTreeMap::new();
        for (record, (person, _)) in &self.0 {
            of_person.entry((&record.0, person)).or_default().push(record);
        }
        let mut back = Vec::new();
        for mut records in of_person.into_values() {
            records.sort_by_key(|record| self.months(record).first());
            let gone = |pair: &&[&Record]| self.months(pair[0]).last() < self.months(pair[1]).first();
            back.extend(records.windows(2).filter(gone).map(|pair| (pair[0], pair[1])));
        }
        back
    }

    /// Entries, exits and returns of persons over all months but the first.
    fn flows(&self) -> [usize; 3] {
        let (mut before, mut last) = (self.persons(0), self.persons(0));
        let mut flows = [0; 3];
        for at in 1..MONTHS {
            let now = self.persons(at);
            let back = now.iter().filter(|person| before.contains(*person) && !last.contains(*person)).count();
            let seen = [now.difference(&before).count(), last.difference(&now).count(), back];
            flows.iter_mut().zip(seen).for_each(|(sum, seen)| *sum += seen);
            before.extend(&now);
            last = now;
        }
        flows
    }
}

fn opened(federation: &Federation, party: &str) -> Node {
    let config: NodeConfig = load_config(&federation.config(&Role::Node(party.to_owned()))).unwrap();
    Node::open(config).unwrap()
}

/// What a node says it sent for a run: records in all, and those delivered for the run's month.
fn sent(federation: &Federation, party: &str, run: &str) -> (usize, usize) {
    let text = federation.log_text(&Role::Node(party.to_owned()));
    let line = text.lines().find(|line| line.contains(&format!("upload committed run={run} "))).unwrap();
    let number = |name: &str| line.split(name).nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    (number("referenced="), number("present="))
}

/// Pseudonyms of records, made of both halves: nobody outside a test holds the two scalars.
fn pseudonyms(federation: &Federation, agreement: &Agreement, references: &[RecordRef]) -> Vec<Pseudonym> {
    let key = |role: &Role| SecretSource::from_file(federation.home(role).join("cles/pseudonym.key")).read_key().unwrap();
    let domain = Domain::records(agreement.agreement.id.as_str(), &agreement.analyst[0].purpose);
    let halves = CustodianScalar::from_bytes(&key(&Role::Custodian)).unwrap();
    let points = halves.points(&domain, references.iter().map(|reference| &reference.0));
    let finished = AnalystScalar::from_bytes(&key(&Role::Analyst)).unwrap().pseudonyms(&points).unwrap();
    finished.into_iter().map(Pseudonym).collect()
}

/// Sum over all months of a measure of everybody, and its figure of each month.
fn figures(study: &Study, measure: &str) -> Vec<Option<f64>> {
    let text = format!(
        "title = \"x\"\nmeasure = \"{measure}\"\nperiods = {{ from = \"{}\", to = \"{}\" }}\n",
        month(0),
        month(MONTHS - 1)
    );
    let keys = vec![0; study.persons as usize];
    let inputs = Inputs { person_keys: &keys, households: None };
    let table = evaluate(&Query::from_toml(&text).unwrap(), study, inputs).unwrap();
    let months = table.dimensions[0].categories.iter().zip(&table.cells);
    months.filter(|(at, _)| **at != Category::Total).map(|(_, cell)| (!cell.missing).then_some(cell.value)).collect()
}

#[test]
fn a_year_over_the_wire_finds_who_comes_back() {
    let mut federation = Federation::set_up(PERSONS, MONTHS as u32, 34_018);
    let truth = Truth::read(&federation);
    federation.start_all();
    for at in 0..MONTHS {
        if at == NAMES_GO {
            for node in federation.nodes() {
                federation.stop(&node);
                linkage_ok(["node", "delete-names", "--config", federation.config(&node).to_str().unwrap()]);
            }
            federation.start_all();
        }
        federation.deliver(&month(at));
        federation.open_run(&month(at), &month(at));
        federation.wait_closed(&month(at));
    }
    federation.stop_all();

    let text = std::fs::read_to_string(federation.folder.join("convention.toml")).unwrap();
    let agreement = ParsedAgreement::parse(&text, "convention.toml").unwrap().agreement().clone();
    let mut record_of: HashMap<Pseudonym, &Record> = HashMap::new();
    for party in &federation.parties {
        let node = opened(&federation, party);
        let own: Vec<&Record> = truth.0.keys().filter(|record| record.0 == *party).collect();
        let references = node.references_of(own.iter().map(|record| record.1.as_str())).unwrap();
        let known: Vec<(&Record, RecordRef)> = own.into_iter().zip(references).filter_map(|(r, n)| Some((r, n?))).collect();
        // In every run, all that the party ever delivered took part, and what it delivered for the month was there.
        for at in 0..MONTHS {
            let ever = known.iter().filter(|(record, _)| truth.months(record).first() <= Some(&at)).count();
            let now = known.iter().filter(|(record, _)| truth.months(record).contains(&at)).count();
            assert_eq!(sent(&federation, party, &month(at)), (ever, now), "{party} {}", month(at));
        }
        let references: Vec<RecordRef> = known.iter().map(|(_, reference)| *reference).collect();
        let names = pseudonyms(&federation, &agreement, &references);
        record_of.extend(names.into_iter().zip(known.into_iter().map(|(record, _)| record)));
    }

    // The analyst's tables, as they were handed over month by month and brought up to the last run by the lists.
    let data = PathBuf::from(federation.setting(&Role::Analyst, "data_dir"));
    let tables = Tables::open(&data).unwrap();
    let runs = tables.in_order().unwrap();
    assert_eq!(runs.iter().map(ToString::to_string).collect::<Vec<_>>(), (0..MONTHS).map(month).collect::<Vec<_>>());
    let lists: Vec<_> = runs.iter().map(|run| tables.supersessions(run).unwrap()).collect();
    let mut person_of: BTreeMap<&Record, BTreeSet<Pseudonym>> = BTreeMap::new();
    for (at, run) in runs.iter().enumerate() {
        let rows = tables.links(run).unwrap();
        let mut persons: Vec<Pseudonym> = rows.iter().map(|row| row.person).collect();
        apply(persons.iter_mut().zip(rows.iter().map(|row| row.record)), &lists, &mut Vec::new());
        for (row, person) in rows.iter().zip(persons) {
            let record = record_of[&row.record];
            assert!(truth.months(record).contains(&at), "a record that has gone is in the table of {run}");
            person_of.entry(record).or_default().insert(person);
        }
    }
    assert!(person_of.values().all(|persons| persons.len() == 1), "a record is one person in all months");

    let back = truth.back_under_new_id();
    let found = back.iter().filter(|(old, new)| person_of[old] == person_of[new]).count();
    let late = back.iter().filter(|(_, new)| truth.months(new).first() >= Some(&NAMES_GO)).count();
    println!("back under a new local id: {found} of {} found, {late} of them after the names were deleted", back.len());
    assert!(back.len() >= 12 && late >= 6, "{} {late}", back.len());
    // What the desk mistypes on the way back may hide somebody.
    assert!(found * 10 >= back.len() * 8, "{found} of {}", back.len());

    // Figures of the study, against the truth.
    let study = StudyStore::open(&data, &agreement).unwrap().study().unwrap();
    for (at, linked) in figures(&study, "stock").into_iter().enumerate() {
        let (linked, real) = (linked.unwrap(), truth.persons(at).len() as f64);
        println!("{}: {linked} persons, truly {real}", month(at));
        assert!((linked - real).abs() <= 0.03 * real, "{}: {linked} {real}", month(at));
    }
    for (measure, real) in ["entries", "exits", "returns"].iter().zip(truth.flows()) {
        let months = figures(&study, measure);
        assert_eq!(months.iter().filter(|figure| figure.is_none()).count(), 1, "the first month has no {measure}");
        let linked: f64 = months.iter().flatten().sum();
        println!("{measure}: {linked}, truly {real}");
        assert!((linked - real as f64).abs() <= 0.2 * real as f64 + 2.0, "{measure}: {linked} {real}");
    }
}
