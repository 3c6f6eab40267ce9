//! Each rule of docs/cohorts.md on a study small enough to count by hand.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "query/naive.rs"]
mod naive;

use std::sync::Arc;

use linkage_agreement::model::Rule;
use linkage_cohort::query::{Query, QueryError, evaluate};
use linkage_cohort::study::{Column, InMemory, Row, Source, SourceError, month_batch};
use linkage_cohort::{Category, Figure, FigureTable, Note, Whom};
use naive::{MonthRows, Rows, attribute};

const SEXE: usize = 0;
const NAISSANCE: usize = 1;
const ENFANTS: usize = 2;
const LIEU: usize = 3;

/// A study of parties siao, caf and ccas: a line for each month, `person@party` for each record; `!party` where it
/// delivered nothing. Person 1 is a man born in 1950, 2 a woman born in 2001, 3 of unknown sex; the number of children is
/// the person's number.
fn study(months: &[(&str, &str)]) -> Rows {
    let parties = ["siao", "caf", "ccas"];
    let month = |(period, line): &(&str, &str)| {
        let mut delivered = vec![true; 3];
        let mut rows = Vec::new();
        for word in line.split_whitespace() {
            if let Some(party) = word.strip_prefix('!') {
                delivered[parties.iter().position(|p| *p == party).unwrap()] = false;
                continue;
            }
            let (person, party) = word.split_once('@').unwrap();
            let person: u32 = person.parse().unwrap();
            let party = parties.iter().position(|p| *p == party).unwrap() as u8;
            let known = |value: u16| [1, 2].contains(&person).then_some(value);
            rows.push(Row {
                person,
                party,
                record: person * 10 + u32::from(party),
                household: Some(person / 2),
                match_class: (person % 3) as u8,
                probability: 9_900,
                attributes: vec![known(person as u16 - 1), known(person as u16 - 1), Some(person as u16), Some(u16::from(party))],
            });
        }
        rows.sort_by_key(|r| (r.person, r.party, r.record));
        MonthRows { period: (*period).to_owned(), delivered, rows, compositions: vec![Some(0), Some(1), None, None] }
    };
    let codes = |values: &[&str]| Rule::Code { values: values.iter().map(|v| (*v).to_owned()).collect() };
    Rows {
        parties: parties.map(str::to_owned).to_vec(),
        attributes: vec![
            attribute("sexe", codes(&["F", "H", "X"]), &["H", "F"]),
            attribute("date_naissance", Rule::Year, &["1950", "2001"]),
            attribute("nb_enfants", Rule::Count { max: 12 }, &["0", "1", "2", "3", "4", "5", "6", "7"]),
            attribute("lieu", codes(&["s", "c", "k"]), &["s", "c", "k"]),
        ],
        persons: 8,
        households: 4,
        classes: ["seul", "famille"].map(str::to_owned).to_vec(),
        months: months.iter().map(month).collect(),
    }
}

fn query(body: &str) -> Query {
    Query::from_toml(&format!("title = \"Essai\"\n{body}\n")).unwrap()
}

fn ask(rows: &Rows, body: &str) -> FigureTable {
    let (study, given, keys) = (rows.study(), rows.given(), rows.keys());
    evaluate(&query(body), &study, given.inputs(&keys)).unwrap()
}

fn name(category: &Category) -> String {
    match category {
        Category::Value(name) => name.clone(),
        Category::Unknown => "?".to_owned(),
        Category::Absent => "-".to_owned(),
        Category::Others => "+".to_owned(),
        Category::Total => "=".to_owned(),
    }
}

/// Cells that hold something, `period/…/…: figure`; `.` for a cell that is missing.
fn told(table: &FigureTable) -> Vec<String> {
    let mut labels = vec![Vec::new()];
    for dimension in &table.dimensions {
        labels = labels
            .iter()
            .flat_map(|label: &Vec<String>| dimension.categories.iter().map(|c| [label.clone(), vec![name(c)]].concat()))
            .collect();
    }
    let cell = |(label, cell): (&Vec<String>, &Figure)| {
        let figure = if cell.missing { ".".to_owned() } else { cell.value.to_string() };
        (cell.missing || cell.units > 0).then(|| format!("{}: {figure}", label.join("/")))
    };
    labels.iter().zip(&table.cells).filter_map(cell).collect()
}

const PERIODS: &str = "periods = { from = \"2024-01\", to = \"2024-04\" }";

/// Person 1 stays at siao, 2 leaves in March and is back in April, 3 comes in February.
fn plain() -> Rows {
    study(&[
        ("2024-01", "1@siao 2@siao 2@caf"),
        ("2024-02", "1@siao 2@siao 3@ccas"),
        ("2024-03", "1@siao 3@ccas"),
        ("2024-04", "1@siao 2@caf 3@ccas 3@siao"),
    ])
}

#[test]
fn a_stock_is_the_last_month_and_a_count_any_month() {
    let table = ask(&plain(), &format!("measure = \"stock\"\n{PERIODS}"));
    assert_eq!(told(&table), ["2024-01: 2", "2024-02: 3", "2024-03: 2", "2024-04: 3"]);
    let quarter = format!("grain = \"quarter\"\n{PERIODS}");
    assert_eq!(told(&ask(&plain(), &format!("measure = \"stock\"\n{quarter}"))), ["2024-T1: 2", "2024-T2: 3"]);
    let table = ask(&plain(), &format!("measure = \"count\"\n{quarter}"));
    assert_eq!(told(&table), ["2024-T1: 3", "2024-T2: 3"]);
    let partial = Note::Partial { name: "2024-T2".to_owned(), from: "2024-04".parse().unwrap(), to: "2024-04".parse().unwrap() };
    assert_eq!(table.notes, [partial]);
    assert_eq!((table.measure.as_str(), table.dimensions.len()), ("count", 1));
}

#[test]
fn flows_are_between_months_and_the_first_has_none() {
    let flow = |measure: &str| told(&ask(&plain(), &format!("measure = \"{measure}\"\n{PERIODS}")));
    assert_eq!(flow("entries"), ["2024-01: .", "2024-02: 1"]);
    assert_eq!(flow("exits"), ["2024-01: .", "2024-03: 1"]);
    assert_eq!(flow("returns"), ["2024-01: .", "2024-04: 1"]);
    let table = ask(&plain(), &format!("measure = \"exits\"\ngrain = \"quarter\"\n{PERIODS}"));
    assert_eq!(told(&table), ["2024-T1: 1"]);
    let month = |text: &str| text.parse().unwrap();
    assert_eq!(
        table.notes,
        [("2024-T1", "2024-02", "2024-03"), ("2024-T2", "2024-04", "2024-04")].map(|(name, from, to)| Note::Partial {
            name: name.to_owned(),
            from: month(from),
            to: month(to)
        })
    );
}

#[test]
fn a_flow_by_party_is_into_and_out_of_the_party() {
    let flow = |measure: &str| told(&ask(&plain(), &format!("measure = \"{measure}\"\nbreakdown = [\"party\"]\n{PERIODS}")));
    let first = ["2024-01/siao: .", "2024-01/caf: .", "2024-01/ccas: ."];
    assert_eq!(flow("entries"), [&first[..], &["2024-02/ccas: 1", "2024-04/siao: 1"]].concat());
    assert_eq!(flow("exits"), [&first[..], &["2024-02/caf: 1", "2024-03/siao: 1"]].concat());
    assert_eq!(flow("returns"), [&first[..], &["2024-04/caf: 1"]].concat());
}

#[test]
fn a_month_that_a_party_misses_is_missing_and_moves_nobody() {
    let rows = study(&[
        ("2024-01", "1@siao 2@caf 4@siao"),
        ("2024-02", "1@siao !caf"),
        ("2024-03", "1@siao 2@caf 5@caf"),
        ("2024-04", "1@siao 5@caf"),
    ]);
    let ask = |body: &str| ask(&rows, &format!("{body}\n{PERIODS}"));
    let stock = ask("measure = \"stock\"");
    assert_eq!(told(&stock), ["2024-01: 3", "2024-02: .", "2024-03: 3", "2024-04: 2"]);
    let lacking = Note::NotDelivered { period: "2024-02".parse().unwrap(), party: "caf".parse().unwrap() };
    assert_eq!(stock.notes, std::slice::from_ref(&lacking));
    // 2 is there before and after: no exit, no return; 4 left and 5 came in February or March, nobody knows.
    assert_eq!(told(&ask("measure = \"exits\"")), ["2024-01: .", "2024-02: .", "2024-03: .", "2024-04: 1"]);
    assert_eq!(told(&ask("measure = \"returns\"")), ["2024-01: .", "2024-02: .", "2024-03: ."]);
    assert_eq!(told(&ask("measure = \"entries\"")), ["2024-01: .", "2024-02: .", "2024-03: ."]);
    // All of it happened in the first quarter.
    assert_eq!(told(&ask("measure = \"exits\"\ngrain = \"quarter\"")), ["2024-T1: 1", "2024-T2: 1"]);
    assert_eq!(told(&ask("measure = \"entries\"\ngrain = \"quarter\"")), ["2024-T1: 1"]);
    // What rests on other parties is whole.
    let siao = ask("measure = \"stock\"\npopulation = { party = \"siao\" }");
    assert_eq!(told(&siao), ["2024-01: 2", "2024-02: 1", "2024-03: 1", "2024-04: 1"]);
    assert_eq!(siao.notes, []);
    let by_party = ask("measure = \"stock\"\nbreakdown = [\"party\"]");
    let wanted = ["2024-01/siao: 2", "2024-01/caf: 1", "2024-02/siao: 1", "2024-02/caf: .", "2024-03/siao: 1", "2024-03/caf: 2"];
    assert_eq!(told(&by_party), [&wanted[..], &["2024-04/siao: 1", "2024-04/caf: 1"]].concat());
    assert_eq!(by_party.notes, [lacking]);
    // What takes caf's word is not.
    let without = ask("measure = \"stock\"\npopulation = { all = [{ party = \"siao\" }, { not = { party = \"caf\" } }] }");
    assert_eq!(told(&without), ["2024-01: 2", "2024-02: .", "2024-03: 1", "2024-04: 1"]);
    let without = ask("measure = \"stock\"\npopulation = { all = [{ party = \"siao\" }, { not = { party = \"ccas\" } }] }");
    assert_eq!(told(&without), ["2024-01: 2", "2024-02: 1", "2024-03: 1", "2024-04: 1"]);
    let alone = ask("measure = \"stock\"\npopulation = { not = { party = \"ccas\" } }");
    assert_eq!(told(&alone), ["2024-01: 3", "2024-02: .", "2024-03: 3", "2024-04: 2"]);
    let combined = ask("measure = \"stock\"\npopulation = { party = \"siao\" }\nbreakdown = [\"parties\"]");
    assert_eq!(told(&combined).iter().filter(|line| line.ends_with('.')).count(), combined.dimensions[1].categories.len());
    // Zero is not missing.
    assert_eq!(told(&ask("measure = \"stock\"\npopulation = { party = \"ccas\" }")), [""; 0]);
}

#[test]
fn a_month_without_a_run_is_missing() {
    let rows = study(&[("2024-01", "1@siao 2@caf"), ("2024-03", "1@siao"), ("2024-04", "1@siao 2@caf")]);
    let ask = |body: &str| ask(&rows, &format!("{body}\n{PERIODS}"));
    let table = ask("measure = \"stock\"");
    assert_eq!(told(&table), ["2024-01: 2", "2024-02: .", "2024-03: 1", "2024-04: 2"]);
    assert_eq!(table.notes, [Note::NoRun { period: "2024-02".parse().unwrap() }]);
    assert_eq!(told(&ask("measure = \"returns\"")), ["2024-01: .", "2024-02: .", "2024-03: .", "2024-04: 1"]);
    let previous = ask("measure = \"stock\"\npopulation = { party = \"caf\", when = \"previous\" }");
    assert_eq!(told(&previous), ["2024-01: .", "2024-02: .", "2024-03: ."]);
}

#[test]
fn conditions_look_at_other_months() {
    let stock = |set: &str| told(&ask(&plain(), &format!("measure = \"stock\"\n{PERIODS}\npopulation = {set}")));
    assert_eq!(stock("{ party = \"caf\", when = \"before\" }"), ["2024-01: .", "2024-02: 1", "2024-03: 1", "2024-04: 1"]);
    assert_eq!(stock("{ party = \"ccas\", when = \"after\" }"), ["2024-01: 1", "2024-02: 1", "2024-03: 1", "2024-04: ."]);
    assert_eq!(stock("{ party = \"caf\", when = \"ever\" }"), ["2024-01: 1", "2024-02: 1", "2024-03: 1", "2024-04: 1"]);
    assert_eq!(stock("{ party = \"siao\", when = \"previous\" }"), ["2024-01: .", "2024-02: 2", "2024-03: 2", "2024-04: 1"]);
    let found = "measure = \"stock\"\nbreakdown = [\"parties\"]\npopulation = { party = \"siao\", period = \"2024-01\" }";
    assert_eq!(
        told(&ask(&plain(), &format!("{PERIODS}\n{found}"))),
        [
            "2024-01/siao: 1",
            "2024-01/siao + caf: 1",
            "2024-01/=: 2",
            "2024-02/siao: 2",
            "2024-02/=: 2",
            "2024-03/siao: 1",
            "2024-03/-: 1",
            "2024-03/=: 2",
            "2024-04/siao: 1",
            "2024-04/caf: 1",
            "2024-04/=: 2"
        ]
    );
}

#[test]
fn one_record_must_fulfil_it_all() {
    let rows = study(&[("2024-01", "2@siao 3@caf"), ("2024-02", "2@siao 2@caf")]);
    let stock = |set: &str| {
        told(&ask(
            &rows,
            &format!("measure = \"stock\"\nperiods = {{ from = \"2024-01\", to = \"2024-02\" }}\npopulation = {set}"),
        ))
    };
    assert_eq!(stock("{ party = \"siao\", where = { lieu = [\"c\"] } }"), [""; 0]);
    assert_eq!(stock("{ all = [{ party = \"siao\" }, { where = { lieu = [\"c\"] } }] }"), ["2024-02: 1"]);
    assert_eq!(stock("{ any = [{ party = \"siao\" }, { where = { lieu = [\"c\"] } }] }"), ["2024-01: 2", "2024-02: 1"]);
    assert_eq!(stock("{ where = { sexe = [\"F\", \"X\"], lieu = [\"s\", \"c\"] } }"), ["2024-01: 1", "2024-02: 1"]);
    assert_eq!(stock("{ not = { where = { sexe = [\"F\"] } } }"), ["2024-01: 1"]);
}

#[test]
fn values_stand_in_the_order_of_the_rule_with_unknown_and_total_last() {
    let body = "measure = \"stock\"\nperiods = { from = \"2024-02\", to = \"2024-02\" }\nbreakdown = [\"sexe\", \"age\"]";
    let table = ask(&plain(), body);
    let names = |at: usize| table.dimensions[at].categories.iter().map(name).collect::<Vec<_>>();
    assert_eq!(names(1), ["F", "H", "X", "?", "="]);
    assert_eq!(names(2), ["0-24", "25-29", "30-49", "50-59", "60+", "?", "="]);
    assert_eq!(table.dimensions.iter().map(|d| d.partition).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(
        told(&table),
        ["F/0-24: 1", "F/=: 1", "H/60+: 1", "H/=: 1", "?/?: 1", "?/=: 1", "=/0-24: 1", "=/60+: 1", "=/?: 1", "=/=: 3"]
            .map(|line| format!("2024-02/{line}"))
    );
}

#[test]
fn the_first_party_that_gives_a_value_is_taken() {
    let mut rows = study(&[("2024-01", "4@siao 4@caf 4@ccas 5@ccas")]);
    rows.months[0].rows[0].attributes[LIEU] = None;
    let body = "measure = \"stock\"\nperiods = { from = \"2024-01\", to = \"2024-01\" }\nbreakdown = [\"lieu\"]";
    assert_eq!(told(&ask(&rows, body)), ["2024-01/c: 1", "2024-01/k: 1", "2024-01/=: 2"]);
    // A year of birth that tells no age does not stand in the way of one that does.
    let body = body.replace("lieu", "age");
    rows.attributes[NAISSANCE].values.push("1850".to_owned());
    for (at, code) in [(0, 2), (1, 0)] {
        rows.months[0].rows[at].attributes[NAISSANCE] = Some(code);
    }
    assert_eq!(told(&ask(&rows, &body)), ["2024-01/60+: 1", "2024-01/?: 1", "2024-01/=: 2"]);
}

#[test]
fn values_of_a_period_are_of_its_last_month_that_counts_and_combinations_of_all() {
    let mut rows = study(&[("2024-01", "2@siao"), ("2024-02", "2@caf"), ("2024-03", "1@siao")]);
    rows.months[0].rows[0].attributes[SEXE] = Some(0);
    let ask = |body: &str| {
        let body = format!("{body}\ngrain = \"quarter\"\nperiods = {{ from = \"2024-01\", to = \"2024-03\" }}");
        told(&ask(&rows, &body))
    };
    assert_eq!(ask("measure = \"count\"\nbreakdown = [\"sexe\"]"), ["2024-T1/F: 1", "2024-T1/H: 1", "2024-T1/=: 2"]);
    assert_eq!(
        ask("measure = \"count\"\nbreakdown = [\"parties\"]"),
        ["2024-T1/siao: 1", "2024-T1/siao + caf: 1", "2024-T1/=: 2"]
    );
    assert_eq!(ask("measure = \"count\"\nbreakdown = [\"party\"]"), ["2024-T1/siao: 2", "2024-T1/caf: 1"]);
}

#[test]
fn sums_take_each_unit_once_and_keep_the_two_largest() {
    let rows = study(&[("2024-01", "1@siao 1@caf 6@siao 4@caf"), ("2024-02", "1@caf 7@caf")]);
    let body = "measure = \"sum\"\nof = \"nb_enfants\"\nbreakdown = [\"sexe\"]\n";
    let table = ask(&rows, &format!("{body}grain = \"year\"\nperiods = {{ from = \"2024-01\", to = \"2024-02\" }}"));
    assert_eq!(told(&table), ["2024/H: 1", "2024/?: 17", "2024/=: 18"]);
    let total = table.cell(&[0, 4]).unwrap();
    assert_eq!((total.units, total.largest), (4, [7, 6]));
    let mut rows = rows;
    rows.months[1].rows[1].attributes[ENFANTS] = None;
    let table = ask(&rows, &format!("{body}grain = \"year\"\nperiods = {{ from = \"2024-01\", to = \"2024-02\" }}"));
    let total = table.cell(&[0, 4]).unwrap();
    assert_eq!((total.units, total.value, total.largest), (3, 11.0, [6, 4]));
}

#[test]
fn stays_that_began_unseen_are_left_out_and_running_ones_censored() {
    let rows = study(&[
        ("2024-01", "1@siao"),
        ("2024-02", "1@siao 2@siao 3@siao"),
        ("2024-03", "2@siao 3@siao 4@siao"),
        ("2024-04", "3@siao 4@siao"),
        ("2024-05", "3@siao"),
    ]);
    let body = "measure = \"durations\"\ngrain = \"year\"\nperiods = { from = \"2024-01\", to = \"2024-05\" }";
    let table = ask(&rows, body);
    // 2 and 4 stay two months; 3 at least four.
    assert_eq!(told(&table), ["2024/p25: 2", "2024/p50: 2", "2024/p75: ."]);
    assert_eq!(table.cells[2].units, 3);
    assert_eq!(table.dimensions.last().map(|d| (d.name.as_str(), d.partition)), Some(("quantile", false)));
    let by_sex = ask(&rows, &format!("{body}\nbreakdown = [\"sexe\"]"));
    assert_eq!(
        told(&by_sex).iter().filter(|line| !line.ends_with('.')).collect::<Vec<_>>(),
        ["2024/F/p25: 2", "2024/F/p50: 2", "2024/F/p75: 2", "2024/?/p25: 2", "2024/?/p50: 2", "2024/=/p25: 2", "2024/=/p50: 2"]
    );
    // The first month held begins no stay that can be told.
    let table = ask(&rows, "measure = \"durations\"\nperiods = { from = \"2024-01\", to = \"2024-02\" }");
    assert_eq!(told(&table)[..4], ["2024-01/p25: .", "2024-01/p50: .", "2024-01/p75: .", "2024-02/p25: 2"]);
}

#[test]
fn stays_go_on_over_months_that_nobody_saw() {
    let rows = study(&[
        ("2024-01", "7@siao"),
        ("2024-02", "1@siao 2@siao 7@siao"),
        ("2024-03", "!siao"),
        ("2024-04", "1@siao 3@siao"),
        ("2024-05", "4@siao"),
    ]);
    let table = ask(&rows, "measure = \"durations\"\ngrain = \"quarter\"\nperiods = { from = \"2024-01\", to = \"2024-05\" }");
    // 1 stays February to April; 2 is taken to have left after February; 3 began nobody knows when; 4 is still there.
    assert_eq!(told(&table)[..3], ["2024-T1/p25: 1", "2024-T1/p50: 1", "2024-T1/p75: 3"]);
    assert_eq!((table.cells[0].units, table.cells[3].units, table.cells[3].missing), (2, 1, true));
}

#[test]
fn transitions_go_from_a_period_to_the_next() {
    let table = ask(&plain(), &format!("measure = \"transitions\"\n{PERIODS}"));
    let names: Vec<String> = table.dimensions.iter().map(|d| d.name.clone()).collect();
    assert_eq!(names, ["period", "from", "to"]);
    let categories: Vec<String> = table.dimensions[1].categories.iter().map(name).collect();
    assert_eq!(categories, ["siao", "caf", "ccas", "siao + caf", "siao + ccas", "-", "="]);
    let plain_cells: Vec<String> = told(&table).into_iter().filter(|line| !line.contains('=')).collect();
    assert_eq!(
        plain_cells,
        [
            "2024-01/siao/siao: 1",
            "2024-01/siao + caf/siao: 1",
            "2024-01/-/ccas: 1",
            "2024-02/siao/siao: 1",
            "2024-02/siao/-: 1",
            "2024-02/ccas/ccas: 1",
            "2024-03/siao/siao: 1",
            "2024-03/ccas/siao + ccas: 1",
            "2024-03/-/caf: 1"
        ]
    );
    let table = ask(&plain(), &format!("measure = \"transitions\"\nof = \"sexe\"\n{PERIODS}"));
    let plain_cells: Vec<String> =
        told(&table).into_iter().filter(|line| !line.contains('=') && line.contains("2024-02")).collect();
    assert_eq!(plain_cells, ["2024-02/F/-: 1", "2024-02/H/H: 1", "2024-02/?/?: 1"]);
}

#[test]
fn paths_are_first_meetings_in_order() {
    let table = ask(&plain(), &format!("measure = \"paths\"\n{PERIODS}"));
    assert_eq!(
        told(&table),
        [
            "2024-01/siao: 1",
            "2024-01/siao&caf: 1",
            "2024-01/=: 2",
            "2024-02/ccas: 1",
            "2024-02/siao: 1",
            "2024-02/siao&caf: 1",
            "2024-02/=: 3",
            "2024-03/ccas: 1",
            "2024-03/siao: 1",
            "2024-03/=: 2",
            "2024-04/siao: 1",
            "2024-04/siao&caf: 1",
            "2024-04/ccas > siao: 1",
            "2024-04/=: 3"
        ]
    );
}

#[test]
fn households_count_once_and_bear_their_members_keys() {
    // Households 0 (person 1), 1 (2 and 3), 2 (4 and 5).
    let rows = study(&[("2024-01", "1@siao 2@siao 2@caf 3@caf 4@caf"), ("2024-02", "3@caf 5@siao")]);
    let periods = "unit = \"households\"\nperiods = { from = \"2024-01\", to = \"2024-02\" }";
    let keys = rows.keys();
    let table = ask(&rows, &format!("measure = \"stock\"\n{periods}"));
    assert_eq!(told(&table), ["2024-01: 3", "2024-02: 2"]);
    let sum = |persons: &[usize]| persons.iter().fold(0u64, |sum, p| sum.wrapping_add(keys[*p]));
    assert_eq!(table.cells[0].key, sum(&[1, 2, 3, 4]));
    assert_eq!(table.cells[1].key, sum(&[3, 5]));
    let stock = |set: &str| told(&ask(&rows, &format!("measure = \"stock\"\n{periods}\npopulation = {set}")));
    // A household is where one of its persons is: 1 is at siao by one person and at caf by two.
    assert_eq!(stock("{ all = [{ party = \"siao\" }, { party = \"caf\" }] }"), ["2024-01: 1"]);
    assert_eq!(stock("{ not = { party = \"caf\" } }"), ["2024-01: 1", "2024-02: 1"]);
    let table = ask(&rows, &format!("measure = \"stock\"\nbreakdown = [\"composition-menage\"]\n{periods}"));
    assert_eq!(
        told(&table),
        [
            "2024-01/seul: 1",
            "2024-01/famille: 1",
            "2024-01/?: 1",
            "2024-01/=: 3",
            "2024-02/famille: 1",
            "2024-02/?: 1",
            "2024-02/=: 2"
        ]
    );
    // Persons too can be told by their household.
    let table = ask(
        &rows,
        &format!("measure = \"stock\"\nbreakdown = [\"composition-menage\"]\n{}", periods.replace("households", "persons")),
    );
    assert_eq!(told(&table)[..4], ["2024-01/seul: 1", "2024-01/famille: 2", "2024-01/?: 1", "2024-01/=: 4"]);
}

#[test]
fn the_same_units_have_the_same_key() {
    let rows = plain();
    let of = |body: &str| ask(&rows, &format!("{body}\nperiods = {{ from = \"2024-01\", to = \"2024-01\" }}")).cells[0];
    let (stock, count) = (of("measure = \"stock\""), of("measure = \"count\"\npopulation = { party = \"siao\" }"));
    assert_eq!(stock.key, count.key);
    let keys = rows.keys();
    assert_eq!(stock.key, keys[1].wrapping_add(keys[2]));
}

#[test]
fn a_table_says_whom_it_counts() {
    let rows = plain();
    let whom = |body: &str| {
        let body = format!("measure = \"stock\"\n{body}\nperiods = {{ from = \"2024-02\", to = \"2024-02\" }}");
        ask(&rows, &body).whom
    };
    let of = |parties| Whom::Population { parties };
    for (body, expected) in [
        ("", Whom::Everybody),
        ("breakdown = [\"party\"]", Whom::Everybody),
        ("population = { party = \"siao\" }", Whom::OneParty),
        (
            "population = { all = [{ party = \"siao\" }, { not = { party = \"siao\", where = { sexe = [\"H\"] } } }] }",
            Whom::OneParty,
        ),
        ("population = { party = \"siao\" }\nbreakdown = [\"party\"]", of(2)),
        ("population = { party = \"siao\", when = \"ever\" }", of(1)),
        ("population = { any = [{ party = \"siao\" }, { party = \"caf\" }] }", of(1)),
        ("population = { all = [{ party = \"siao\" }, { party = \"caf\" }] }", of(2)),
        ("population = { not = { party = \"caf\" } }", of(1)),
        ("population = { where = { sexe = [\"H\"] } }", of(1)),
    ] {
        assert_eq!(whom(body), expected, "{body}");
    }
}

#[test]
fn a_damaged_study_is_refused_whole() {
    struct Gone;
    impl Source for Gone {
        fn columns(&self, _: usize, _: &[Column]) -> Result<arrow_array::RecordBatch, SourceError> {
            Err(SourceError("disque".to_owned()))
        }
        fn pseudonyms(&self) -> Result<Arc<[linkage_agreement::Pseudonym]>, SourceError> {
            Ok(Vec::new().into())
        }
    }
    let rows = plain();
    let (given, keys) = (rows.given(), rows.keys());
    let asked = query(&format!("measure = \"stock\"\n{PERIODS}"));
    let mut study = rows.study();
    study.source = Box::new(Gone);
    assert_eq!(evaluate(&asked, &study, given.inputs(&keys)), Err(QueryError::Source(SourceError("disque".to_owned()))));
    // A person beyond the last; a month without its columns; households that are not the rows'.
    let mut study = rows.study();
    study.persons = 3;
    assert!(matches!(evaluate(&asked, &study, given.inputs(&keys)), Err(QueryError::Source(_))));
    let mut study = rows.study();
    let bare = month_batch(Vec::new(), 4).unwrap().project(&[0]).unwrap();
    study.source = Box::new(InMemory { months: vec![bare; 4], pseudonyms: Vec::new().into() });
    assert!(matches!(evaluate(&asked, &study, given.inputs(&keys)), Err(QueryError::Source(_))));
    let mut other = plain();
    other.months[0].rows.pop();
    let by_household = query(&format!("unit = \"households\"\nmeasure = \"stock\"\n{PERIODS}"));
    let given = other.given();
    assert!(matches!(evaluate(&by_household, &rows.study(), given.inputs(&keys)), Err(QueryError::Source(_))));
}
