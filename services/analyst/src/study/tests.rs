//! Studies on disk: made run by run, made again, damaged and killed.

use std::collections::BTreeMap;

use arrow_array::Array as _;
use arrow_array::cast::AsArray;
use arrow_array::types::{UInt8Type, UInt16Type, UInt32Type};
use linkage_agreement::Pseudonym;
use linkage_agreement::model::Rule;
use linkage_cohort::MatchClass;
use linkage_cohort::study::Column;
use linkage_cohort::supersede::{Changes, List, Move};

use super::*;
use crate::rows::{NewRow, Rows};
use crate::tables::RunFacts;

const PARTIES: [&str; 3] = ["ccas", "siao", "caf"];

fn attribute(name: &str) -> Attribute {
    Attribute { name: name.to_owned(), rule: Rule::Month }
}

fn open(dir: &Path) -> StudyStore {
    let parties = PARTIES.map(|p| p.parse().unwrap()).to_vec();
    StudyStore::of(dir, parties, vec![attribute("sexe"), attribute("composition")]).unwrap()
}

fn name(n: u32) -> Pseudonym {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    Pseudonym(bytes)
}

/// A run of `ccas` and `siao`; rows are person, party, record.
fn run(run: &str, position: u64, rows: &[(u32, u8, u32)]) -> RunTables {
    let mut made = Rows::new(2);
    for &(person, party, record) in rows {
        let household = format!("h{}", record % 2);
        made.push(NewRow {
            person: name(person),
            party,
            record: name(record),
            match_class: MatchClass::Probable,
            probability: 9_000,
            household: Some(household.as_str()).filter(|_| record != 9),
            values: &[Some(if record % 2 == 0 { "1" } else { "2" }), None],
        });
    }
    let id: RunId = run.parse().unwrap();
    RunTables {
        facts: RunFacts {
            run: id.clone(),
            period: run.get(..7).unwrap().parse().unwrap(),
            parties: vec!["siao".parse().unwrap(), "ccas".parse().unwrap()],
            reference_party: None,
            position,
            attributes: vec!["sexe".to_owned(), "composition".to_owned()],
        },
        rows: made,
        supersessions: List { run: id, merges: vec![], moves: vec![] },
        report: b"{}".to_vec(),
    }
}

/// What a month holds: person, party, record under their pseudonyms and names.
fn rows(study: &Study, at: usize) -> Vec<(u32, String, u32)> {
    let wanted = [Column::Person, Column::Party, Column::Record];
    let batch = study.source.columns(at, &wanted).unwrap();
    let pseudonyms = study.source.pseudonyms().unwrap();
    let number = |p: &Pseudonym| u32::from_le_bytes(p.0[..4].try_into().unwrap());
    let (persons, parties, records) = (
        batch.column(0).as_primitive::<UInt32Type>(),
        batch.column(1).as_primitive::<UInt8Type>(),
        batch.column(2).as_primitive::<UInt32Type>(),
    );
    let keys: Vec<_> = (0..batch.num_rows()).map(|r| (persons.value(r), parties.value(r), records.value(r))).collect();
    assert!(keys.is_sorted());
    keys.iter()
        .map(|(person, party, record)| {
            (number(&pseudonyms[*person as usize]), study.parties[usize::from(*party)].to_string(), *record)
        })
        .collect()
}

/// As [`rows`], without the records' numbers.
fn persons(study: &Study, at: usize) -> Vec<(u32, String)> {
    let mut persons: Vec<_> = rows(study, at).into_iter().map(|(person, party, _)| (person, party)).collect();
    persons.sort();
    persons
}

fn all(study: &Study) -> Vec<Vec<(u32, String, u32)>> {
    (0..study.months.len()).map(|at| rows(study, at)).collect()
}

#[test]
fn rows_come_back_under_numbers_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!((store.study().unwrap().months.len(), store.runs().unwrap().len()), (0, 0));
    assert_eq!(store.add(&run("2024-01", 1, &[(7, 0, 70), (5, 1, 50), (5, 0, 9)])).unwrap(), Added::Taken);
    let study = store.study().unwrap();
    assert_eq!(study.months[0].delivered, [true, true, false]);
    assert_eq!((study.months[0].rows, study.persons), (3, 2));
    // Numbers as they appeared: person 7 is 0, record 70 is 0.
    assert_eq!(rows(&study, 0), [(7, "siao".to_owned(), 0), (5, "ccas".to_owned(), 1), (5, "siao".to_owned(), 2)]);
    let batch = study
        .source
        .columns(0, &[Column::Attribute(1), Column::Household, Column::Attribute(0), Column::MatchClass, Column::Probability])
        .unwrap();
    assert_eq!(batch.column(0).null_count(), 3);
    let households = batch.column(1).as_primitive::<UInt32Type>();
    assert_eq!((households.null_count(), households.is_null(2)), (1, true));
    assert_ne!(households.value(0), households.value(1), "two parties' households of one name are two");
    let codes = batch.column(2).as_primitive::<UInt16Type>();
    assert_eq!(
        codes.iter().map(|c| study.attributes[0].values[usize::from(c.unwrap())].as_str()).collect::<Vec<_>>(),
        ["1", "1", "2"]
    );
    assert_eq!(batch.column(3).as_primitive::<UInt8Type>().value(0), 2);
    assert_eq!(batch.column(4).as_primitive::<UInt16Type>().value(0), 9_000);
}

/// Three months; the third merges 5 into 7 and makes record 71 of 7 person 8.
fn three() -> [RunTables; 3] {
    let mut third = run("2024-03", 3, &[(7, 1, 50), (8, 0, 71), (7, 1, 70)]);
    third.supersessions.merges = vec![(name(5), name(7)), (name(404), name(405))];
    third.supersessions.moves =
        vec![Move { old: name(7), new: name(8), record: name(71) }, Move { old: name(7), new: name(8), record: name(404) }];
    [run("2024-01", 1, &[(7, 1, 70), (7, 0, 71), (5, 1, 50)]), run("2024-02", 2, &[(7, 1, 70), (6, 0, 60)]), third]
}

#[test]
fn supersessions_reach_earlier_months_and_say_which() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let [first, second, third] = three();
    store.add(&first).unwrap();
    let before = store.study().unwrap();
    store.add(&second).unwrap();
    store.add(&third).unwrap();
    let study = store.study().unwrap();
    let is = |rows: &[(u32, &str)]| rows.iter().map(|(p, party)| (*p, (*party).to_owned())).collect::<Vec<_>>();
    assert_eq!(persons(&study, 0), is(&[(7, "ccas"), (7, "ccas"), (8, "siao")]));
    assert_eq!(persons(&study, 1), is(&[(6, "siao"), (7, "ccas")]));
    assert_eq!(persons(&study, 2), is(&[(7, "ccas"), (7, "ccas"), (8, "siao")]));
    // Records keep their numbers: 70 is the same in all months.
    let taken = store.runs().unwrap().pop().unwrap();
    assert_eq!(taken.changes, Changes { merges: 2, splits: 1, persons: 5, records: 2 });
    let touched = Touched { period: "2024-01".parse().unwrap(), parties: vec!["ccas".parse().unwrap(), "siao".parse().unwrap()] };
    assert_eq!(taken.touched, [touched]);
    // Who reads the study of before goes on reading it, although its files are gone.
    assert_eq!(persons(&before, 0), is(&[(5, "ccas"), (7, "ccas"), (7, "siao")]));
}

#[test]
fn a_run_twice_changes_nothing_and_one_that_comes_late_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let [first, second, third] = three();
    for run in [&first, &third] {
        assert_eq!(store.add(run).unwrap(), Added::Taken);
    }
    let held = all(&store.study().unwrap());
    assert_eq!(store.add(&third).unwrap(), Added::Known);
    assert_eq!(store.add(&second).unwrap(), Added::Unfit);
    assert_eq!(all(&store.study().unwrap()), held);
}

#[test]
fn the_last_run_of_a_month_is_the_months_but_for_a_part_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let reference = |mut run: RunTables| {
        run.facts.reference_party = Some("ccas".parse().unwrap());
        run
    };
    let runs = [
        reference(run("2024-01.a", 1, &[(1, 1, 10)])),
        reference(run("2024-01.b", 2, &[(2, 1, 20)])),
        run("2024-01.c", 3, &[(3, 1, 30)]),
        run("2024-01.d", 4, &[(4, 1, 40)]),
        reference(run("2024-01.e", 5, &[(5, 1, 50)])),
    ];
    let mut shown = Vec::new();
    for run in &runs {
        store.add(run).unwrap();
        let study = store.study().unwrap();
        shown.push((study.months.len(), study.months[0].run.to_string()));
    }
    let run = |name: &str| (1, format!("2024-01.{name}"));
    assert_eq!(shown, [run("a"), run("b"), run("c"), run("d"), run("d")]);
    assert_eq!(store.runs().unwrap().len(), 5);
}

#[test]
fn an_attribute_that_came_with_an_amendment_is_missing_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = run("2024-01", 1, &[(1, 0, 10)]);
    first.facts.attributes = vec!["composition".to_owned(), "sexe".to_owned()];
    first.rows.attributes.truncate(1);
    let store = open(dir.path());
    store.add(&first).unwrap();
    store.add(&run("2024-02", 2, &[(1, 0, 10)])).unwrap();
    let study = store.study().unwrap();
    let values = |month: usize, at: usize| -> Vec<Option<String>> {
        let batch = study.source.columns(month, &[Column::Attribute(at)]).unwrap();
        let text = |code: u16| study.attributes[at].values[usize::from(code)].clone();
        batch.column(0).as_primitive::<UInt16Type>().iter().map(|code| code.map(text)).collect()
    };
    assert_eq!([values(0, 0), values(0, 1)], [vec![None], vec![Some("1".to_owned())]]);
    assert_eq!([values(1, 0), values(1, 1)], [vec![Some("1".to_owned())], vec![None]]);
}

/// Every file of a study, by name.
fn files(dir: &Path) -> BTreeMap<String, PathBuf> {
    std::fs::read_dir(dir.join("study"))
        .unwrap()
        .map(|e| e.unwrap())
        .map(|e| (e.file_name().into_string().unwrap(), e.path()))
        .filter(|(name, _)| name != LOCK)
        .collect()
}

#[test]
fn a_damaged_study_is_made_again_from_the_tables() {
    let dir = tempfile::tempdir().unwrap();
    let (store, tables) = (open(dir.path()), Tables::open(dir.path()).unwrap());
    for run in three() {
        store.add(&run).unwrap();
        tables.write(&run, true).unwrap();
    }
    let sound: Vec<_> = (0..3).map(|at| persons(&store.study().unwrap(), at)).collect();
    let names: Vec<String> = files(dir.path()).into_keys().collect();
    assert_eq!(names.len(), 8, "{names:?}");
    for place in 0..names.len() {
        for damage in ["gone", "cut", "changed"] {
            let held = files(dir.path());
            let (name, path) = held.iter().nth(place).unwrap();
            let mut bytes = std::fs::read(path).unwrap();
            match damage {
                "gone" => std::fs::remove_file(path).unwrap(),
                "cut" => fsx::write_atomic(path, &bytes[..bytes.len() - 1]).unwrap(),
                _ if name.ends_with(".json") || name.ends_with(".parquet") => {
                    let last = bytes.len() - 2;
                    bytes[last] ^= 0xff;
                    fsx::write_atomic(path, &bytes).unwrap();
                }
                // Names of 16 bytes are random: no change of one can be seen.
                _ => continue,
            }
            let study = open(dir.path()).study().unwrap();
            let again: Vec<_> = (0..study.months.len()).map(|at| persons(&study, at)).collect();
            assert_eq!(again, sound, "{name} {damage}");
        }
    }
    std::fs::remove_dir_all(dir.path().join("study")).unwrap();
    assert_eq!(open(dir.path()).study().unwrap().months.len(), 3);
}

#[test]
fn readers_see_the_study_before_or_the_one_made_again_and_nothing_between() {
    let dir = tempfile::tempdir().unwrap();
    let (store, tables) = (open(dir.path()), Tables::open(dir.path()).unwrap());
    for run in three() {
        tables.write(&run, true).unwrap();
        store.add(&run).unwrap();
    }
    let reader = open(dir.path());
    let before = all(&reader.study().unwrap());
    let generation = || store.meta().unwrap().unwrap().generation;
    let was = generation();
    // Made again up to its second run and then not further: as if it had been killed there.
    let second = tables.in_order().unwrap()[1].clone();
    let damaged = tables.run_folder(&second).join("link_table.parquet");
    let whole = std::fs::read(&damaged).unwrap();
    fsx::write_atomic(&damaged, b"PAR1").unwrap();
    assert!(store.rebuild(&tables).is_err());
    assert_eq!((generation(), all(&reader.study().unwrap())), (was, before.clone()));
    assert_eq!(all(&open(dir.path()).study().unwrap()), before);
    fsx::write_atomic(&damaged, &whole).unwrap();
    store.rebuild(&tables).unwrap();
    assert!(generation() > was);
    // Numbers of records follow the order of the tables' rows.
    let again = reader.study().unwrap();
    let held = |rows: &[(u32, String, u32)]| rows.iter().map(|(person, party, _)| (*person, party.clone())).collect::<Vec<_>>();
    let before: Vec<_> = before.iter().map(|rows| held(rows)).collect();
    assert_eq!(all(&again).iter().map(|rows| held(rows)).collect::<Vec<_>>(), before);
    // What lay there on the way is gone.
    let meta = store.meta().unwrap().unwrap();
    let kept: Vec<String> = meta.files().map(|file| file.name.clone()).collect();
    let lying: Vec<String> = files(dir.path()).into_keys().filter(|name| name.contains('-') && !kept.contains(name)).collect();
    assert_eq!(lying, Vec::<String>::new());
}

/// Where [`child`] adds runs; none when the tests run by themselves.
const CHILD: &str = "LINKAGE_STUDY_CHILD";

/// Not a test of its own: what [`killed_anywhere`] starts and kills.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let store = open(Path::new(&dir));
    let next = store.runs().unwrap().last().map_or(1, |run| run.position) + 1;
    for position in next.. {
        let mut run = run(&format!("2024-{:02}.{position}", position % 12 + 1), position, &[(7, 1, 70), (8, 0, 71)]);
        // Persons 7 and 8 change places in every month before.
        let (old, new) = if position % 2 == 0 { (7, 8) } else { (8, 7) };
        run.supersessions.moves = vec![Move { old: name(old), new: name(new), record: name(70) }];
        if position % 2 == 0 {
            run.rows.persons.swap(0, 1);
        }
        store.add(&run).unwrap();
    }
}

#[test]
fn killed_anywhere_the_study_is_an_old_one_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).add(&run("2024-01.1", 1, &[(7, 1, 70), (8, 0, 71)])).unwrap();
    let mut most = 0;
    // Longer each time; on a slow machine until something was added.
    for pause in 0..400u64 {
        if pause >= 12 && most > 12 {
            break;
        }
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "study::tests::child"])
            .env(CHILD, dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(60 + 17 * pause));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(dir.path());
        let study = store.study().unwrap();
        let last = store.runs().unwrap().last().unwrap().position;
        most = most.max(last);
        // Record 70 bears one person in every month: the one after the last run.
        let expected = if last.is_multiple_of(2) { 8 } else { 7 };
        for at in 0..study.months.len() {
            let held = rows(&study, at);
            assert!(held.contains(&(expected, "ccas".to_owned(), 0)), "run {last}, month {at}: {held:?}");
        }
    }
    assert!(most > 12, "only {most} runs were added in all");
}
