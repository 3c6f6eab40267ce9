//! Measures figures of linked data against the truth: are they within their linkage-error intervals?
//!
//! `accuracy TRUTH.csv CANONICAL-FOLDER 2024-01=TRIAL-FOLDER 2024-02=TRIAL-FOLDER ...`, the folders being outputs of
//! `linkage trial` (links.csv, report.json), one for each month. Persons are carried from month to month as the
//! custodian's registry does: by the records that clusters share, the oldest number surviving a merge, the larger part
//! keeping it on a split; records that a split moves take their earlier months along. Prints Markdown.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::read_to_string;
use std::sync::Arc;

use linkage_agreement::model::Rule;
use linkage_agreement::{PartyId, Period, Pseudonym};
use linkage_cohort::disclosure::cell_key::Noise;
use linkage_cohort::disclosure::{Policy, protect};
use linkage_cohort::interval::{ErrorRates, Estimate, RunRates};
use linkage_cohort::query::{Inputs, Query, evaluate};
use linkage_cohort::study::{AttributeColumn, InMemory, Month, Row, Study, month_batch};
use linkage_cohort::{Category, Dimension, FigureTable, Method, Shown};

type Record = (String, String);

const ATTRIBUTES: [&str; 2] = ["sexe", "hebergement"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [truth, canonical, trials @ ..] = arguments.as_slice() else {
        println!("accuracy TRUTH.csv CANONICAL-FOLDER MONTH=TRIAL-FOLDER ...");
        return;
    };
    let trials: Vec<(Period, &str)> =
        trials.iter().map(|t| t.split_once('=').map(|(p, d)| (p.parse().unwrap(), d)).unwrap()).collect();
    let periods: Vec<Period> = trials.iter().map(|(p, _)| *p).collect();
    let mut people: BTreeMap<Period, BTreeMap<Record, u32>> = BTreeMap::new();
    let mut numbers: HashMap<String, u32> = HashMap::new();
    for line in csv(&read_to_string(truth).unwrap()) {
        let next = numbers.len() as u32;
        let person = *numbers.entry(line["person_id"].clone()).or_insert(next);
        let month: Period = line["month"].parse().unwrap();
        people.entry(month).or_default().insert((line["party"].clone(), line["local_id"].clone()), person);
    }
    let (linked, rates) = linked(&trials, &people);
    let mut attributes: BTreeMap<(Period, Record), Vec<String>> = BTreeMap::new();
    let parties: BTreeSet<String> = people.values().flat_map(|m| m.keys().map(|(p, _)| p.clone())).collect();
    for period in &periods {
        for party in &parties {
            for line in csv(&read_to_string(format!("{canonical}/{party}_{period}.csv")).unwrap()) {
                let values = ATTRIBUTES.iter().map(|a| line[*a].clone()).collect();
                attributes.insert((*period, (party.clone(), line["local_id"].clone())), values);
            }
        }
    }
    let parties: Vec<String> = parties.into_iter().collect();
    let make = |of: &BTreeMap<Period, BTreeMap<Record, u32>>| study(&periods, &parties, of, &attributes);
    let (truth, linked) = (make(&people), make(&linked));
    println!(
        "| query | figures | exact | mean error | truth in interval | mean width | flagged |\n|---|---|---|---|---|---|---|"
    );
    let (first, last) = (periods[0], periods[periods.len() - 1]);
    let mut details = Vec::new();
    for (name, rest) in queries() {
        let text = format!("title = \"{name}\"\nperiods = {{ from = \"{first}\", to = \"{last}\" }}\n{rest}");
        let query = Query::from_toml(&text).unwrap();
        details.push((name, compare(name, &query, &truth, &linked, &rates)));
    }
    for (name, lines) in details {
        println!("\n{name}\n\n| period | linked | interval | truth |\n|---|---|---|---|");
        lines.iter().for_each(|line| println!("{line}"));
    }
}

fn queries() -> Vec<(&'static str, &'static str)> {
    vec![
        ("stock", "measure = \"stock\""),
        ("stock by sex", "measure = \"stock\"\nbreakdown = [\"sexe\"]"),
        ("stock by housing", "measure = \"stock\"\nbreakdown = [\"hebergement\"]"),
        ("stock by party", "measure = \"stock\"\nbreakdown = [\"party\"]"),
        ("stock of siao", "measure = \"stock\"\n[population]\nparty = \"siao\""),
        ("stock of ccas by housing", "measure = \"stock\"\nbreakdown = [\"hebergement\"]\n[population]\nparty = \"ccas\""),
        ("overlaps", "measure = \"stock\"\nbreakdown = [\"parties\"]"),
        ("stock of ccas and siao", "measure = \"stock\"\n[population]\nall = [{ party = \"ccas\" }, { party = \"siao\" }]"),
        ("stock without caf", "measure = \"stock\"\n[population]\nnot = { party = \"caf\" }"),
        ("entries", "measure = \"entries\""),
        ("exits", "measure = \"exits\""),
        ("returns", "measure = \"returns\""),
        ("entries at ccas or siao", "measure = \"entries\"\n[population]\nany = [{ party = \"ccas\" }, { party = \"siao\" }]"),
        ("exits at ccas or siao", "measure = \"exits\"\n[population]\nany = [{ party = \"ccas\" }, { party = \"siao\" }]"),
        ("count by quarter", "measure = \"count\"\ngrain = \"quarter\""),
    ]
}

/// Lines of a CSV file by header; quotes are known, line breaks inside them are not.
fn csv(text: &str) -> Vec<HashMap<String, String>> {
    let fields = |line: &str| {
        let (mut fields, mut quoted) = (vec![String::new()], false);
        for c in line.chars() {
            match c {
                '"' => quoted = !quoted,
                ',' if !quoted => fields.push(String::new()),
                c => fields.last_mut().unwrap().push(c),
            }
        }
        fields
    };
    let mut lines = text.lines();
    let header = fields(lines.next().unwrap().trim_start_matches('\u{feff}'));
    lines.map(|line| header.iter().cloned().zip(fields(line)).collect()).collect()
}

/// Persons of all months, as the registry carries them, and what the reports estimate.
fn linked(
    trials: &[(Period, &str)],
    delivered: &BTreeMap<Period, BTreeMap<Record, u32>>,
) -> (BTreeMap<Period, BTreeMap<Record, u32>>, ErrorRates) {
    let mut of_record: BTreeMap<Record, u32> = BTreeMap::new();
    let mut present: Vec<(Period, Vec<Record>)> = Vec::new();
    let mut rates = Vec::new();
    let mut next = 0;
    for (period, folder) in trials {
        let mut clusters: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        for line in csv(&read_to_string(format!("{folder}/links.csv")).unwrap()) {
            clusters.entry(line["person"].clone()).or_default().push((line["party"].clone(), line["local_id"].clone()));
        }
        // Records that left their lists take part in the run and have no row.
        let is_present = |record: &&Record| delivered[period].contains_key(*record);
        present.push((*period, clusters.values().flatten().filter(is_present).cloned().collect()));
        // Claims by size of the part: the larger part keeps the number; a cluster with several takes the oldest it may.
        let mut claims: Vec<(usize, u32, &String)> = Vec::new();
        for (name, records) in &clusters {
            let mut held: BTreeMap<u32, usize> = BTreeMap::new();
            records.iter().filter_map(|r| of_record.get(r)).for_each(|id| *held.entry(*id).or_default() += 1);
            claims.extend(held.into_iter().map(|(id, n)| (n, id, name)));
        }
        claims.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut holder: BTreeMap<u32, &String> = BTreeMap::new();
        claims.iter().for_each(|(_, id, name)| {
            holder.entry(*id).or_insert(name);
        });
        let mut kept: BTreeMap<&String, BTreeSet<u32>> = BTreeMap::new();
        holder.iter().for_each(|(id, name)| {
            kept.entry(name).or_default().insert(*id);
        });
        let mut merged: HashMap<u32, u32> = HashMap::new();
        let mut assigned: Vec<(Record, u32)> = Vec::new();
        for (name, records) in &clusters {
            let ids = kept.remove(name).unwrap_or_default();
            let id = ids.first().copied().unwrap_or_else(|| {
                next += 1;
                next
            });
            merged.extend(ids.into_iter().map(|old| (old, id)));
            assigned.extend(records.iter().map(|r| (r.clone(), id)));
        }
        of_record.values_mut().for_each(|id| *id = merged.get(id).copied().unwrap_or(*id));
        of_record.extend(assigned);
        let persons = clusters.values().filter(|records| records.iter().any(|r| is_present(&r))).count();
        rates.push((*period, run_rates(folder, delivered[period].len() as f64 / persons.max(1) as f64)));
    }
    let month = |records: Vec<Record>| records.into_iter().map(|r| (r.clone(), of_record[&r])).collect();
    (present.into_iter().map(|(period, records)| (period, month(records))).collect(), ErrorRates::new(rates))
}

fn run_rates(folder: &str, per_person: f64) -> RunRates {
    let report: serde_json::Value = serde_json::from_str(&read_to_string(format!("{folder}/report.json")).unwrap()).unwrap();
    let linkage = &report["linkage"];
    let ends =
        |name: &str| Estimate { low: linkage[name]["low"].as_f64().unwrap(), high: linkage[name]["high"].as_f64().unwrap() };
    let sum = |name: &str| linkage["parties"].as_array().unwrap().iter().map(|p| p[name].as_f64().unwrap()).sum::<f64>();
    RunRates { precision: ends("precision"), recall: ends("recall"), linked_share: sum("linked") / sum("records"), per_person }
}

fn study(
    periods: &[Period],
    parties: &[String],
    people: &BTreeMap<Period, BTreeMap<Record, u32>>,
    attributes: &BTreeMap<(Period, Record), Vec<String>>,
) -> Study {
    let mut records: BTreeMap<Record, u32> = BTreeMap::new();
    let mut values: Vec<Vec<String>> = vec![Vec::new(); ATTRIBUTES.len()];
    let mut persons = 0;
    let (mut months, mut batches) = (Vec::new(), Vec::new());
    for period in periods {
        let mut rows = Vec::new();
        for (record, person) in &people[period] {
            let Some(given) = attributes.get(&(*period, record.clone())) else { continue };
            let number = records.len() as u32;
            persons = persons.max(person + 1);
            let code = |(at, value): (usize, &String)| {
                (!value.is_empty()).then(|| {
                    let known = values[at].iter().position(|v| v == value);
                    known.unwrap_or_else(|| {
                        values[at].push(value.clone());
                        values[at].len() - 1
                    }) as u16
                })
            };
            rows.push(Row {
                person: *person,
                party: parties.iter().position(|p| *p == record.0).unwrap() as u8,
                record: *records.entry(record.clone()).or_insert(number),
                household: None,
                match_class: 1,
                probability: 10_000,
                attributes: given.iter().enumerate().map(code).collect(),
            });
        }
        let delivered = vec![true; parties.len()];
        months.push(Month { period: *period, run: format!("r{period}").parse().unwrap(), delivered, rows: rows.len() as u64 });
        batches.push(month_batch(rows, ATTRIBUTES.len()).unwrap());
    }
    let column = |(name, values): (&&str, Vec<String>)| {
        let mut codes = values.clone();
        codes.sort();
        AttributeColumn { name: (*name).to_owned(), rule: Rule::Code { values: codes }, values }
    };
    let pseudonyms: Arc<[Pseudonym]> = (0..persons).map(|n| Pseudonym(u128::from(n).to_be_bytes())).collect();
    Study {
        parties: parties.iter().map(|p| p.parse::<PartyId>().unwrap()).collect(),
        attributes: ATTRIBUTES.iter().zip(values).map(column).collect(),
        months,
        persons,
        source: Box::new(InMemory { months: batches, pseudonyms }),
    }
}

/// Values of a table by the categories of their cells.
fn by_category(table: &FigureTable) -> BTreeMap<Vec<Category>, f64> {
    places(&table.dimensions).into_iter().zip(table.cells.iter().map(|f| f.value)).collect()
}

/// Categories of every cell.
fn places(dimensions: &[Dimension]) -> Vec<Vec<Category>> {
    dimensions.iter().fold(vec![Vec::new()], |all: Vec<Vec<Category>>, d| {
        let with = |at: &Vec<Category>| d.categories.iter().map(|c| at.iter().cloned().chain([c.clone()]).collect()).collect();
        all.iter().flat_map(|at| -> Vec<Vec<Category>> { with(at) }).collect()
    })
}

fn compare(name: &str, query: &Query, truth: &Study, linked: &Study, rates: &ErrorRates) -> Vec<String> {
    let figures = |study: &Study| {
        let keys: Vec<u64> = (0..u64::from(study.persons)).collect();
        evaluate(query, study, Inputs { person_keys: &keys, households: None }).unwrap()
    };
    let (truth, raw) = (by_category(&figures(truth)), figures(linked));
    let policy = Policy { method: Method::Suppression, minimum: 1, dominance_percent: 100, round_to: 1 };
    let shown = protect(&raw, "", &policy, rates, &Noise::new()).unwrap();
    let (mut figures, mut exact, mut error, mut within, mut with, mut width, mut flagged) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    let mut lines = Vec::new();
    for (place, cell) in places(&raw.dimensions).into_iter().zip(&shown.cells) {
        // An empty cell has no interval: there is nothing to go by.
        let Shown::Value { value, interval, uncertain } = *cell else { continue };
        let real = truth.get(&place).copied().unwrap_or(0.0);
        if value == 0.0 && real == 0.0 {
            continue;
        }
        figures += 1.0;
        exact += f64::from(u8::from(real == value));
        error += (value - real).abs() / real.max(1.0);
        flagged += f64::from(u8::from(uncertain));
        if let Some([low, high]) = interval {
            with += 1.0;
            within += f64::from(u8::from(low <= real && real <= high));
            width += (high - low) / value.max(1.0);
            if place.len() == 1 {
                let Category::Value(period) = &place[0] else { continue };
                lines.push(format!("| {period} | {value} | {low} to {high} | {real} |"));
            }
        }
    }
    let mean = |sum: f64, of: f64| if of > 0.0 { format!("{:.1} %", 100.0 * sum / of) } else { "–".to_owned() };
    println!(
        "| {name} | {figures} | {exact} | {} | {within} of {with} | {} | {flagged} |",
        mean(error, figures),
        mean(width, with)
    );
    lines
}
