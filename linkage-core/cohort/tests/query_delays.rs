//! Delays: a study counted by hand, and random ones against an evaluation that shares no code with the engine.
#![allow(clippy::unwrap_used, clippy::panic, clippy::unused_self, missing_docs)]

#[path = "query/naive.rs"]
mod naive;

use std::collections::BTreeMap;

use linkage_agreement::model::Rule;
use linkage_cohort::query::{Condition, Grain, Measure, Population, Query, QueryError, Range, When, evaluate};
use linkage_cohort::study::Row;
use linkage_cohort::{Category, FigureTable, Note, Unit};
use naive::{MonthRows, Naive, Rows, attribute};

fn row(person: u32, party: u8, sex: Option<u16>) -> Row {
    Row {
        person,
        party,
        record: person * 4 + u32::from(party),
        household: Some(person / 2),
        match_class: 1,
        probability: 10_000,
        attributes: vec![sex],
    }
}

fn rows(persons: u32, months: Vec<(u32, Vec<bool>, Vec<Row>)>) -> Rows {
    let month = |(index, delivered, rows): (u32, Vec<bool>, Vec<Row>)| {
        let period = format!("{}-{:02}", 2023 + index / 12, index % 12 + 1);
        MonthRows { period, delivered, rows, compositions: vec![None; persons as usize / 2 + 1] }
    };
    Rows {
        parties: ["ase", "ccas", "siao"].map(str::to_owned).to_vec(),
        attributes: vec![attribute("sexe", Rule::Code { values: ["1", "2"].map(str::to_owned).to_vec() }, &["1", "2"])],
        persons,
        households: persons / 2 + 1,
        classes: Vec::new(),
        months: months.into_iter().map(month).collect(),
    }
}

/// A month from who is with whom: persons by party.
fn month(index: u32, delivered: [bool; 3], with: [&[u32]; 3]) -> (u32, Vec<bool>, Vec<Row>) {
    let rows = (0u8..).zip(with).flat_map(|(party, persons)| persons.iter().map(move |p| row(*p, party, None))).collect();
    (index, delivered.to_vec(), rows)
}

fn at(party: &str, period: Option<&str>) -> Population {
    let period = period.map(|p| p.parse().unwrap());
    Population::Record(Condition { party: Some(party.parse().unwrap()), attributes: [].into(), when: When::Same, period })
}

fn query(from: &str, to: &str, grain: Grain, population: Option<Population>) -> Query {
    Query {
        title: "Délais".to_owned(),
        unit: Unit::Persons,
        measure: Measure::Delays,
        of: None,
        periods: Range { from: from.parse().unwrap(), to: to.parse().unwrap() },
        grain,
        breakdown: Vec::new(),
        population,
    }
}

fn asked(rows: &Rows, query: &Query) -> FigureTable {
    let (keys, given) = (rows.keys(), rows.given());
    evaluate(query, &rows.study(), given.inputs(&keys)).unwrap()
}

/// Units by names of period, party, delay and outcome, cells with none left out.
fn filled(table: &FigureTable) -> BTreeMap<String, u64> {
    let names: Vec<Vec<String>> = table
        .dimensions
        .iter()
        .map(|d| {
            let name = |c: &Category| match c {
                Category::Value(value) => value.clone(),
                other => format!("{other:?}"),
            };
            d.categories.iter().map(name).collect()
        })
        .collect();
    let mut all = vec![Vec::new()];
    for names in &names {
        all = all.into_iter().flat_map(|before: Vec<&str>| names.iter().map(move |n| [&before[..], &[n]].concat())).collect();
    }
    let cells = all.into_iter().zip(&table.cells).filter(|(at, f)| f.units > 0 && !at.contains(&"Total"));
    cells.map(|(at, figure)| (at.join(" "), figure.units)).collect()
}

fn expected(cells: &[(&str, u64)]) -> BTreeMap<String, u64> {
    cells.iter().map(|(at, units)| ((*at).to_owned(), *units)).collect()
}

const ALL: [bool; 3] = [true; 3];

/// Persons 0 and 1 are with the first party from the first month on, 2 and 3 come in the second, 4 in the fourth.
/// Person 2 had met the ccas before; person 3 meets it two months later and the siao at once; person 4 meets nobody.
fn example() -> Rows {
    rows(
        6,
        vec![
            month(0, ALL, [&[0, 1], &[2], &[]]),
            month(1, ALL, [&[0, 1, 2, 3], &[], &[3]]),
            month(2, ALL, [&[2, 3], &[], &[]]),
            month(3, ALL, [&[3, 4], &[3, 0], &[5]]),
            month(4, [true, true, false], [&[4], &[0], &[]]),
        ],
    )
}

#[test]
fn delays_counted_by_hand() {
    let table = asked(&example(), &query("2023-01", "2023-05", Grain::Year, Some(at("ase", None))));
    let names: Vec<&str> = table.dimensions.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["period", "party", "delay", "outcome"]);
    assert_eq!(
        filled(&table),
        expected(&[
            ("2023 ase 0 found", 3),
            ("2023 ccas before found", 1),
            ("2023 ccas 2 found", 1),
            // Followed in April and May.
            ("2023 ccas 1 not-found", 1),
            ("2023 siao 0 found", 1),
            // Followed to April, the last month that the siao delivered: from February, and in April alone.
            ("2023 siao 2 not-found", 1),
            ("2023 siao 0 not-found", 1),
        ])
    );
    assert_eq!(
        table.notes,
        [
            Note::Partial { name: "2023".to_owned(), from: "2023-02".parse().unwrap(), to: "2023-05".parse().unwrap() },
            Note::NotDelivered { period: "2023-05".parse().unwrap(), party: "siao".parse().unwrap() },
        ]
    );
    assert!(table.cells.iter().all(|cell| !cell.missing));
}

#[test]
fn a_population_of_a_fixed_month_begins_there() {
    let fixed = |from: &str| query(from, "2023-04", Grain::Year, Some(at("ase", Some("2023-01"))));
    let table = asked(&example(), &fixed("2023-01"));
    let cells = [("2023 ase 0 found", 2), ("2023 ccas 3 found", 1), ("2023 ccas 4-6 not-found", 1), ("2023 siao 3 not-found", 2)];
    assert_eq!(filled(&table), expected(&cells));
    // Nobody begins after it.
    let later = asked(&example(), &fixed("2023-02"));
    assert_eq!(filled(&later), expected(&[]));
    assert!(later.cells.iter().all(|cell| !cell.missing));
}

#[test]
fn beginnings_that_were_not_observed_are_left_out_or_missing() {
    let mut months = vec![
        month(0, ALL, [&[0], &[], &[]]),
        month(1, [false, true, true], [&[], &[1], &[]]),
        month(2, ALL, [&[0, 1], &[], &[]]),
        month(3, ALL, [&[0, 1, 2], &[], &[]]),
    ];
    let ask = |rows: &Rows| asked(rows, &query("2023-01", "2023-04", Grain::Month, Some(at("ase", None))));
    let table = ask(&rows(4, months.clone()));
    // Person 1 came in February or in March.
    let april = [("2023-04 ase 0 found", 1), ("2023-04 ccas 0 not-found", 1), ("2023-04 siao 0 not-found", 1)];
    assert_eq!(filled(&table), expected(&april));
    let by_period = table.cells.len() / 4;
    let missing: Vec<bool> = table.cells.chunks(by_period).map(|cells| cells.iter().all(|c| c.missing)).collect();
    assert_eq!(missing, [true, true, true, false]);
    // Of a party that delivers nothing from then on nothing is said, of the others it is.
    months[3].1 = vec![true, true, false];
    let table = ask(&rows(4, months));
    let by_party: Vec<bool> = table.cells[3 * by_period..].chunks(by_period / 3).map(|c| c[0].missing).collect();
    assert_eq!(by_party, [false, false, true]);
}

#[test]
fn parties_are_no_breakdown_of_delays() {
    for name in ["party", "parties"] {
        let mut query = query("2023-01", "2023-05", Grain::Year, None);
        query.breakdown = vec![name.to_owned()];
        let (rows, keys) = (example(), example().keys());
        let refused = evaluate(&query, &rows.study(), rows.given().inputs(&keys)).unwrap_err();
        assert_eq!(refused, QueryError::BreakdownRefused { name: name.to_owned(), measure: "delays" });
    }
}

struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Units by delay, whether they were found, and sex.
type Cells = BTreeMap<(&'static str, bool, Option<u16>), u64>;

/// Cells by plain loops: none where nothing can be said.
fn plain(rows: &Rows, query: &Query, first: u32, last: u32, party: usize) -> Option<Cells> {
    let months = &rows.months;
    let index = |m: usize| months[m].period.parse::<linkage_agreement::Period>().unwrap().index();
    let units = if query.unit == Unit::Persons { rows.persons } else { rows.households };
    let of = |row: &Row| if query.unit == Unit::Persons { Some(row.person) } else { row.household };
    let with =
        |unit: u32, m: usize, party: usize| months[m].rows.iter().any(|r| of(r) == Some(unit) && usize::from(r.party) == party);
    let (named, fixed) = match &query.population {
        Some(Population::Record(c)) => {
            (c.party.as_ref().map(|p| rows.parties.iter().position(|n| n == p.as_str()).unwrap()), c.period)
        }
        _ => (None, None),
    };
    let fixed = fixed.map(|p| (0..months.len()).find(|m| index(*m) == p.index()).unwrap());
    let observed = |m: usize| fixed.is_some() || named.map_or(months[m].delivered.iter().all(|d| *d), |p| months[m].delivered[p]);
    let inside = |unit: u32, m: usize| {
        let m = fixed.unwrap_or(m);
        named.map_or((0..3).any(|p| with(unit, m, p)), |p| with(unit, m, p))
    };
    let last_delivered = (0..months.len()).rfind(|m| months[*m].delivered[party])?;
    let begins = |m: usize| {
        let before = (0..m).rfind(|b| observed(*b));
        observed(m)
            && fixed
                .map_or(before.is_some_and(|b| index(b) + 1 == index(m)), |f| f == m || (f < m && index(m - 1) + 1 == index(m)))
    };
    let told: Vec<usize> =
        (0..months.len()).filter(|m| (first..=last).contains(&index(*m)) && begins(*m) && *m <= last_delivered).collect();
    if told.is_empty() {
        return None;
    }
    let mut cells = BTreeMap::new();
    for unit in 0..units {
        let start = fixed.unwrap_or(0);
        let Some(begin) = (start..months.len()).find(|m| observed(*m) && inside(unit, *m)) else { continue };
        if !told.contains(&begin) {
            continue;
        }
        let found = (0..months.len()).find(|m| with(unit, *m, party));
        let delay = |months: u32| match months {
            0 => "0",
            1 => "1",
            2 => "2",
            3 => "3",
            4..=6 => "4-6",
            7..=12 => "7-12",
            _ => "13+",
        };
        let (name, is_found) = match found {
            Some(found) if found < begin => ("before", true),
            Some(found) => (delay(index(found) - index(begin)), true),
            None => (delay(index(last_delivered) - index(begin)), false),
        };
        let mut records: Vec<&Row> = months[begin].rows.iter().filter(|r| of(r) == Some(unit)).collect();
        records.sort_by_key(|r| (r.party, r.attributes[0]));
        let sex = records.iter().find_map(|r| r.attributes[0]);
        *cells.entry((name, is_found, sex)).or_insert(0) += 1;
    }
    Some(cells)
}

#[test]
fn delays_agree_with_plain_loops() {
    let mut seen = 0;
    for seed in 0..1500 {
        let mut draw = Draw(seed * 7919 + 1);
        let faulty = draw.chance(50);
        let persons = 2 + draw.below(8) as u32;
        let (mut index, mut months) = (draw.below(3) as u32, Vec::new());
        for _ in 0..2 + draw.below(16) {
            let delivered: Vec<bool> = (0..3).map(|_| !(faulty && draw.chance(12))).collect();
            let mut made = Vec::new();
            for (person, party) in (0..persons).flat_map(|p| (0u8..3).map(move |party| (p, party))) {
                let sex = (!draw.chance(30)).then(|| draw.below(2) as u16);
                if draw.chance(12) && delivered[usize::from(party)] {
                    made.push(row(person, party, sex));
                }
            }
            months.push((index, delivered, made));
            index += 1 + u32::from(faulty && draw.chance(8));
        }
        let rows = rows(persons, months);
        let period = |m: usize| rows.months[m].period.clone();
        let (a, b) = (draw.below(rows.months.len() as u64) as usize, draw.below(rows.months.len() as u64) as usize);
        let population = match draw.below(3) {
            0 => None,
            1 => Some(at(["ase", "ccas", "siao"][draw.below(3) as usize], None)),
            _ => {
                let month = draw.below(rows.months.len() as u64) as usize;
                let party = draw.below(3) as usize;
                if !rows.months[month].delivered[party] {
                    continue;
                }
                Some(at(&rows.parties[party], Some(&period(month))))
            }
        };
        let grain = [Grain::Month, Grain::Quarter, Grain::Year][draw.below(3) as usize];
        let mut query = query(&period(a.min(b)), &period(a.max(b)), grain, population);
        if draw.chance(40) {
            query.unit = Unit::Households;
        }
        let by_sex = draw.chance(50);
        if by_sex {
            query.breakdown = vec!["sexe".to_owned()];
        }
        let table = asked(&rows, &query);
        for (at, (_, first, last)) in (Naive { rows: &rows, query: &query }).periods().into_iter().enumerate() {
            for party in 0..3 {
                let plain = plain(&rows, &query, first, last, party);
                for (sex, delay, outcome) in (0..4)
                    .flat_map(|s| (0..9).flat_map(move |d| (0..3).map(move |o| (s, d, o))))
                    .filter(|(s, ..)| by_sex || *s == 3)
                {
                    let place = if by_sex { vec![at, sex, party, delay, outcome] } else { vec![at, party, delay, outcome] };
                    let cell = table.cell(&place).unwrap();
                    let Some(plain) = &plain else {
                        assert!(cell.missing && cell.units == 0, "seed {seed}");
                        continue;
                    };
                    let name = ["before", "0", "1", "2", "3", "4-6", "7-12", "13+"].get(delay);
                    let wanted: u64 = plain
                        .iter()
                        .filter(|((d, ..), _)| name.is_none_or(|name| name == d))
                        .filter(|((_, found, _), _)| outcome == 2 || *found == (outcome == 0))
                        .filter(|((_, _, s), _)| match (sex, s) {
                            (3, _) => true,
                            (2, None) => true,
                            (sex, Some(s)) => sex == usize::from(*s),
                            _ => false,
                        })
                        .map(|(_, units)| units)
                        .sum();
                    assert_eq!((cell.units, cell.missing), (wanted, false), "seed {seed} {place:?} {}", query.to_toml().unwrap());
                    seen += wanted;
                }
            }
        }
    }
    assert!(seen > 10_000, "{seen}");
}
