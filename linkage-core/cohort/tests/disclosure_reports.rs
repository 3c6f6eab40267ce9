//! The ready-made reports of made-up studies under suppression, one after the other, against an attacker who reads them all and
//! knows what they say of one another: months, quarters and years, parties and their combinations, everybody and those at one
//! party, persons and households.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod attacker;
#[path = "query/naive.rs"]
mod naive;
mod population;

use std::collections::{BTreeMap, BTreeSet};

use attacker::Relation::{AtLeast, Equal};
use attacker::{Equation, Finding, Meaning, cells, solve};
use linkage_agreement::Period;
use linkage_agreement::model::Rule;
use linkage_cohort::disclosure::cell_key::Noise;
use linkage_cohort::disclosure::{Policy, Published, Refused, protect_beside};
use linkage_cohort::interval::ErrorRates;
use linkage_cohort::query::{Query, evaluate};
use linkage_cohort::reports::{Kind, Request, plan};
use linkage_cohort::study::{Row, Study};
use linkage_cohort::{Category, FigureTable, Method, PublicTable, Shown, Unit};
use naive::{MonthRows, Rows, attribute};
use population::Random;

const MINIMUM: u64 = 11;
const POLICY: Policy = Policy { method: Method::Suppression, minimum: MINIMUM, dominance_percent: 85, round_to: 1 };

/// Persons who come and go at some parties over some months.
fn study(random: &mut Random, persons: u32, parties: u64, months: u32) -> Rows {
    let codes = |values: &[&str]| Rule::Code { values: values.iter().map(|v| (*v).to_owned()).collect() };
    let housing = ["RUE", "HOTEL", "LOGEMENT"];
    // Most are at the first party, few at the last, and few at several.
    let at: Vec<BTreeSet<u64>> = (0..persons)
        .map(|_| {
            let first = random.below(parties).min(random.below(parties));
            let second = (random.below(4) == 0).then(|| random.below(parties));
            [first].into_iter().chain(second).collect()
        })
        .collect();
    let there: Vec<u64> = (0..persons)
        .map(|_| {
            let (from, length) = (random.below(u64::from(months)), 1 + random.below(u64::from(months)));
            let gap = if random.below(30) == 0 { 1 << (from + 1) } else { 0 };
            if random.below(2) == 0 { !0 } else { ((1 << length) - 1) << from & !gap }
        })
        .collect();
    let values: Vec<u16> = (0..persons).map(|_| random.below(3).min(random.below(3)) as u16).collect();
    let row = |person: u32, party: u64| Row {
        person,
        party: party as u8,
        record: person * 8 + party as u32,
        household: Some(person / 2),
        match_class: 1,
        probability: 10_000,
        attributes: vec![Some(values[person as usize])],
    };
    let month = |number: u32| MonthRows {
        period: format!("2024-{:02}", number + 1),
        delivered: vec![true; parties as usize],
        rows: (0..persons)
            .filter(|p| there[*p as usize] >> number & 1 == 1)
            .flat_map(|p| at[p as usize].iter().map(move |party| row(p, *party)))
            .collect(),
        compositions: vec![Some(0); persons.div_ceil(2) as usize],
    };
    Rows {
        parties: (0..parties).map(|p| format!("p{p}")).collect(),
        attributes: vec![attribute("hebergement", codes(&housing), &housing)],
        persons,
        households: persons.div_ceil(2),
        classes: vec!["menage".to_owned()],
        months: (0..months).map(month).collect(),
    }
}

/// A report as it was answered: its queries, raw tables and public ones.
struct Answered {
    queries: Vec<Query>,
    raw: Vec<FigureTable>,
    shown: Vec<PublicTable>,
}

/// Asks for a report beside those answered before; none where nothing of it can be shown.
fn ask(rows: &Rows, study: &Study, kind: Kind, month: u32, party: Option<u64>, before: &[Answered]) -> Option<Answered> {
    let population = party.map(|party| {
        let text = format!(
            "title = 't'\nmeasure = 'count'\nperiods = {{ from = '2024-01', to = '2024-01' }}\npopulation = {{ party = 'p{party}' }}"
        );
        Query::from_toml(&text).unwrap().population.unwrap()
    });
    let request = Request { report: kind, period: format!("2024-{month:02}").parse().unwrap(), population };
    let queries = plan(&request, study).unwrap().queries();
    assert!(queries.iter().all(Query::counts_a_whole));
    let (keys, given) = (rows.keys(), rows.given());
    let raw: Vec<FigureTable> = queries.iter().map(|q| evaluate(q, study, given.inputs(&keys)).unwrap()).collect();
    let named: Vec<(&FigureTable, &str)> = raw.iter().map(|table| (table, "")).collect();
    let published: Vec<Published> =
        before.iter().flat_map(|b| b.raw.iter().zip(&b.shown).map(|(raw, shown)| Published::of(raw, shown, 0))).collect();
    match protect_beside(&published, &named, &POLICY, &ErrorRates::default(), &Noise::new()) {
        Ok(made) => Some(Answered { queries, raw, shown: made.into_iter().map(|made| made.table).collect() }),
        Err(Refused::AllHidden { .. } | Refused::Conflict { .. }) => None,
        Err(other) => panic!("{other}"),
    }
}

/// A figure as a reader understands it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Figure {
    unit: bool,
    measure: &'static str,
    population: String,
    months: (u32, u32),
    /// Values that are not totals.
    by: BTreeMap<String, String>,
}

impl Figure {
    fn name(&self) -> Meaning {
        format!("{self:?}")
    }
    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other
    }
    fn without(&self, dimension: &str) -> Self {
        self.with(|f| {
            f.by.remove(dimension);
        })
    }
}

/// The months of a period of 2024, of which `held` are there.
fn months(text: &str, held: u32) -> (u32, u32) {
    if let Ok(month) = text.parse::<Period>() {
        return (u32::from(month.month()), u32::from(month.month()));
    }
    match text.split_once("-T") {
        Some((_, quarter)) => (quarter.parse::<u32>().unwrap() * 3 - 2, (quarter.parse::<u32>().unwrap() * 3).min(held)),
        None => (1, held),
    }
}

fn figure(query: &Query, table: &PublicTable, at: &[usize], held: u32) -> Figure {
    let measure = match table.measure.as_str() {
        "stock" | "count" => "count",
        "entries" => "entries",
        "returns" => "returns",
        _ => "exits",
    };
    let mut by = BTreeMap::new();
    let mut period = (0, 0);
    for (dimension, index) in table.dimensions.iter().zip(at) {
        match &dimension.categories[*index] {
            Category::Value(text) if dimension.name == "period" => period = months(text, held),
            Category::Value(text) => {
                by.insert(dimension.name.clone(), text.clone());
            }
            Category::Total => {}
            other => {
                by.insert(dimension.name.clone(), format!("{other:?}"));
            }
        }
    }
    let population = query.population.as_ref().map(|p| format!("{p:?}")).unwrap_or_default();
    Figure { unit: table.unit == Unit::Persons, measure, population, months: period, by }
}

/// What the attacker makes of all that was shown, and the truth.
struct Known {
    shown: BTreeMap<Figure, f64>,
    hidden: BTreeSet<Figure>,
    truth: BTreeMap<Meaning, f64>,
}

impl Known {
    fn of(answered: &[Answered], held: u32) -> Self {
        let mut known = Self { shown: BTreeMap::new(), hidden: BTreeSet::new(), truth: BTreeMap::new() };
        for report in answered {
            for ((query, raw), table) in report.queries.iter().zip(&report.raw).zip(&report.shown) {
                for ((at, shown), raw) in cells(table).into_iter().zip(&table.cells).zip(&raw.cells) {
                    let figure = figure(query, table, &at, held);
                    match shown {
                        Shown::Missing => continue,
                        Shown::Hidden => {
                            known.hidden.insert(figure.clone());
                        }
                        Shown::Value { value, .. } => {
                            known.shown.insert(figure.clone(), *value);
                        }
                    }
                    known.truth.insert(figure.name(), raw.value);
                }
            }
        }
        known
    }
    fn has(&self, figure: &Figure) -> bool {
        self.shown.contains_key(figure) || self.hidden.contains(figure)
    }
    fn all(&self) -> Vec<&Figure> {
        self.shown.keys().chain(&self.hidden).collect()
    }

    /// Everything that the figures say of one another; and, beside them, the counts that stand in no table.
    fn relations(&self, parties: u64) -> (Vec<Equation>, BTreeMap<Meaning, f64>) {
        let (mut found, mut implied): (Vec<Equation>, BTreeMap<Meaning, f64>) = (Vec::new(), BTreeMap::new());
        let term = |figure: &Figure, sign: f64| (figure.name(), sign);
        let at = |figure: &Figure, party: u64| {
            figure.with(|f| {
                f.by.insert("party".to_owned(), format!("p{party}"));
            })
        };
        let mut lines: BTreeMap<Figure, BTreeMap<String, Vec<&Figure>>> = BTreeMap::new();
        for figure in self.all() {
            for dimension in figure.by.keys() {
                lines.entry(figure.without(dimension)).or_default().entry(dimension.clone()).or_default().push(figure);
            }
        }
        for (whole, dimensions) in &lines {
            for (dimension, parts) in dimensions {
                if dimension == "party" {
                    continue;
                }
                found.push((Equal, parts.iter().map(|p| term(p, 1.0)).chain([term(whole, -1.0)]).collect()));
                // Of combinations, those with one party.
                for party in (0..parties).filter(|_| dimension == "parties") {
                    let own = |f: &&&Figure| f.by["parties"].split(" + ").any(|p| p == format!("p{party}"));
                    let sum = parts.iter().filter(own).map(|p| term(p, 1.0)).chain([term(&at(whole, party), -1.0)]);
                    found.push((Equal, sum.collect()));
                }
            }
        }
        for figure in self.all() {
            let (first, last) = figure.months;
            let month = |number: u32| figure.with(|f| f.months = (number, number));
            let flow = |figure: &Figure, measure: &'static str| figure.with(|f| f.measure = measure);
            // What is not known to a party, and what several know.
            if figure.measure == "count" && !figure.by.contains_key("party") && !figure.by.contains_key("parties") {
                for party in 0..parties {
                    let own = at(figure, party);
                    let unknown = format!("not at p{party}: {}", figure.name());
                    if self.has(&own) {
                        found.push((Equal, vec![term(figure, 1.0), term(&own, -1.0), (unknown.clone(), -1.0)]));
                        implied.insert(unknown, self.truth[&figure.name()] - self.truth[&own.name()]);
                    }
                }
                let each: Vec<Figure> = (0..parties).map(|party| at(figure, party)).filter(|_| figure.by.is_empty()).collect();
                if !each.is_empty() && each.iter().all(|own| self.has(own)) {
                    let several = format!("at several: {}", figure.name());
                    let sum = each.iter().map(|own| term(own, 1.0)).chain([term(figure, -1.0), (several.clone(), -1.0)]);
                    found.push((Equal, sum.collect()));
                    let truth: f64 = each.iter().map(|own| self.truth[&own.name()]).sum();
                    implied.insert(several, truth - self.truth[&figure.name()]);
                }
            }
            // Everybody, and those at one party, in one month.
            let all = figure.with(|f| f.population = String::new());
            if figure.measure == "count"
                && !figure.population.is_empty()
                && first == last
                && self.has(&all)
                && !figure.by.contains_key("party")
            {
                let unknown = format!("not there: {}", figure.name());
                found.push((Equal, vec![term(&all, 1.0), term(figure, -1.0), (unknown.clone(), -1.0)]));
                implied.insert(unknown, self.truth[&all.name()] - self.truth[&figure.name()]);
            }
            // Households and their persons.
            if !figure.unit && figure.measure == "count" {
                found.push((AtLeast, vec![term(&figure.with(|f| f.unit = true), 1.0), term(figure, -1.0)]));
            }
            // A month and the one before; of values that change, nothing follows.
            let flows = figure.by.keys().all(|d| d == "party");
            if figure.measure == "count" && first == last && first > 1 && flows {
                let moves = [("entries", -1.0), ("returns", -1.0), ("exits", 1.0)].map(|(m, sign)| term(&flow(figure, m), sign));
                found.push((Equal, [term(figure, 1.0), term(&month(first - 1), -1.0)].into_iter().chain(moves).collect()));
            }
            // Longer periods, month by month and quarter by quarter.
            let cuts = [1, 3]
                .map(|length| (first..=last).step_by(length).map(|m| (m, (m + length as u32 - 1).min(last))).collect::<Vec<_>>());
            for cut in cuts.into_iter().filter(|cut| cut.len() > 1) {
                let of = |measure: &'static str, from: usize| -> Vec<Figure> {
                    cut.iter().skip(from).map(|months| flow(figure, measure).with(|f| f.months = *months)).collect()
                };
                let parts = of(figure.measure, 0);
                let sum = |parts: &[Figure], sign: f64| parts.iter().map(|p| term(p, sign)).collect::<Vec<_>>();
                let with = |lists: &[Vec<(Meaning, f64)>]| lists.concat();
                let own = |sign: f64| vec![term(figure, sign)];
                // Nobody enters in the first month held.
                let late = usize::from(cut[0] == (1, 1));
                match figure.measure {
                    "entries" => {
                        found.push((Equal, with(&[sum(&parts[late..], 1.0), own(-1.0)])));
                        let known: Vec<Figure> = parts.into_iter().filter(|p| self.has(p)).collect();
                        found.push((AtLeast, with(&[sum(&known, -1.0), own(1.0)])));
                    }
                    measure => {
                        let parts = if measure == "count" { parts } else { parts[late..].to_vec() };
                        found.extend(parts.iter().map(|p| (AtLeast, vec![term(figure, 1.0), term(p, -1.0)])));
                        found.push((AtLeast, with(&[sum(&parts, 1.0), own(-1.0)])));
                        let (entries, returns) = (of("entries", 1), of("returns", 1));
                        match measure {
                            "count" if flows => {
                                let there = with(&[sum(&parts[..1], 1.0), sum(&entries, 1.0), own(-1.0)]);
                                found.push((AtLeast, with(&[there, sum(&returns, 1.0)])));
                                for (at, part) in parts.iter().enumerate() {
                                    let later: Vec<Figure> = of("entries", at + 1).into_iter().filter(|e| self.has(e)).collect();
                                    found.push((AtLeast, with(&[own(1.0), vec![term(part, -1.0)], sum(&later, -1.0)])));
                                }
                            }
                            "exits" if cut[0].0 == cut[0].1 => {
                                found.push((AtLeast, with(&[own(1.0), sum(&parts, -1.0), sum(&returns, 1.0)])));
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        (found, implied)
    }
}

#[derive(Debug, Default)]
struct Tally {
    reports: usize,
    refused: usize,
    small: usize,
    hidden: usize,
    recovered: usize,
    bounded: usize,
}

impl Tally {
    fn attack(&mut self, answered: &[Answered], parties: u64, held: u32) {
        let known = Known::of(answered, held);
        let (equations, implied) = known.relations(parties);
        let mut truth = known.truth.clone();
        let shown: BTreeMap<Meaning, f64> = known.shown.iter().map(|(f, value)| (f.name(), *value)).collect();
        let mut hidden: BTreeMap<Meaning, f64> = known.hidden.iter().map(|f| (f.name(), 1.0)).collect();
        // What stands in no table may be nobody, for all that one knows.
        hidden.extend(implied.keys().map(|name| (name.clone(), 0.0)));
        truth.extend(implied);
        let small = |value: f64| value > 0.0 && value < MINIMUM as f64;
        self.reports += answered.len();
        self.hidden += known.hidden.len();
        self.small += truth.values().filter(|value| small(**value)).count();
        for (name, Finding { least, most, solved }) in solve(&shown, hidden, equations) {
            let value = truth[&name];
            assert!(least <= value + 1e-6 && value <= most + 1e-6, "the attacker errs: {name} {least} {most} {value}");
            if small(value) && (solved || most - least < 1e-6) {
                println!("recovered: {name} = {value}");
                self.recovered += 1;
            } else if small(value) && (most < MINIMUM as f64 - 1e-6 || most - least < MINIMUM as f64 - 1.0 - 1e-6) {
                println!("bounded: {name} = {value} in {least} to {most}");
                self.bounded += 1;
            }
        }
    }
    fn holds(&self) {
        println!("{self:?}");
        assert_eq!((self.recovered, self.bounded), (0, 0), "{self:?}");
        assert!(self.small > 2 * self.reports && self.refused * 4 < self.reports, "{self:?}");
    }
    /// Reports asked for one after the other, of ever another study.
    fn run(&mut self, seed: u64, rounds: u32, parties: u64, held: u32, reports: &[(Kind, u32, Option<u64>)]) {
        let mut random = Random(seed);
        for round in 0..rounds {
            let rows = study(&mut random, 60 + 12 * (round % 12), parties, held);
            let study = rows.study();
            let mut answered: Vec<Answered> = Vec::new();
            for (kind, month, party) in reports {
                match ask(&rows, &study, *kind, *month, *party, &answered) {
                    Some(made) => answered.push(made),
                    None => self.refused += 1,
                }
            }
            self.attack(&answered, parties, held);
        }
    }
}

#[test]
fn parties_and_their_combinations_give_nothing_away() {
    let mut tally = Tally::default();
    for parties in 2..5 {
        tally.run(1, 12, parties, 2, &[(Kind::MonthlyNeeds, 2, None)]);
    }
    tally.holds();
}

#[test]
fn quarters_in_a_row_give_nothing_away() {
    let mut tally = Tally::default();
    tally.run(2, 12, 3, 6, &[(Kind::QuarterlyActivity, 3, None), (Kind::QuarterlyActivity, 6, None)]);
    tally.holds();
}

#[test]
fn a_year_after_its_quarters_gives_nothing_away() {
    let quarters = [3, 6].map(|month| (Kind::QuarterlyActivity, month, None));
    let mut tally = Tally::default();
    tally.run(3, 8, 3, 6, &[quarters[0], quarters[1], (Kind::Annual, 6, None)]);
    tally.run(4, 8, 3, 6, &[(Kind::Annual, 6, None), quarters[1], quarters[0]]);
    tally.holds();
}

#[test]
fn everybody_and_those_at_one_party_give_nothing_away() {
    let mut tally = Tally::default();
    tally.run(5, 12, 3, 2, &[(Kind::MonthlyNeeds, 2, None), (Kind::MonthlyNeeds, 2, Some(0)), (Kind::MonthlyNeeds, 1, Some(1))]);
    tally.holds();
}
