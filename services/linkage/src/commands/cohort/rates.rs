//! `linkage cohort rates`: who is known to another party too, by sex and age: where a linkage leaves some out more than others.
//!
//! Two questions for each attribute, persons by party and those of them who are known elsewhere as well, asked like any
//! other query: the figures bear the same noise and stand in the same log.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use linkage_agreement::{PartyId, Period};
use linkage_analyst::access::Who;
use linkage_analyst::desk::{Answer, Desk};
use linkage_analyst::export::{Format, labels};
use linkage_cohort::query::{Condition, Grain, Measure, Population, Query, Range};
use linkage_cohort::{PublicTable, Shown, Unit};
use serde_json::{Value, json};

use super::config;
use super::query::draft_text;
use crate::cli::{print_json, say, table};
use crate::page::labels::percent;

/// The breakdown, the attribute that it is read from, and what is said without it.
const GROUPS: [(&str, &str, &str); 2] = [
    ("sex", "sexe", "Par sexe : la convention ne laisse pas passer cet attribut"),
    ("age", "date_naissance", "Par âge : la convention ne laisse pas passer la date de naissance"),
];

/// Which month, and how it is shown.
#[derive(Debug, Args)]
pub struct RatesArgs {
    /// Configuration file of the analyst's side.
    #[arg(long)]
    config: PathBuf,
    /// The month.
    #[arg(long)]
    period: Period,
    /// Print the answers as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub async fn run(args: RatesArgs) -> anyhow::Result<()> {
    let desk = Arc::new(Desk::of(&config(&args.config)?).await?);
    let study = desk.study()?;
    let who = Who::console();
    let mut facts = serde_json::Map::new();
    for (group, attribute, absent) in GROUPS {
        if study.attribute(attribute).is_none() {
            if !args.json {
                say(absent);
            }
            continue;
        }
        let known = desk.answer_query(&query(group, args.period, None), &who).await?;
        let elsewhere = desk.answer_query(&query(group, args.period, Some(known_twice(&study.parties))), &who).await?;
        if args.json {
            let of = |answer: &Answer| -> anyhow::Result<Value> {
                Ok(serde_json::from_str(&draft_text(&desk, answer, Format::Json, &who)?)?)
            };
            facts.insert(group.to_owned(), json!({ "known": of(&known)?, "elsewhere": of(&elsewhere)? }));
        } else if let (Some(known), Some(elsewhere)) = (known.tables.first(), elsewhere.tables.first()) {
            show(known, elsewhere, args.period);
        }
    }
    if args.json { print_json(&Value::Object(facts)) } else { Ok(()) }
}

fn query(group: &str, period: Period, population: Option<Population>) -> Query {
    let whom = if population.is_some() { "connues aussi d'un autre partenaire" } else { "connues" };
    Query {
        title: format!("Personnes {whom}, par partenaire, {period}"),
        unit: Unit::Persons,
        measure: Measure::Stock,
        of: None,
        periods: Range { from: period, to: period },
        grain: Grain::Month,
        breakdown: vec!["party".to_owned(), group.to_owned()],
        population,
    }
}

/// Those whom two parties or more know.
fn known_twice(parties: &[PartyId]) -> Population {
    let at = |party: &PartyId| Population::Record(Condition { party: Some(party.clone()), ..Condition::default() });
    let pairs = parties.iter().enumerate().flat_map(|(n, a)| parties.iter().skip(n + 1).map(move |b| (a, b)));
    Population::Any { any: pairs.map(|(a, b)| Population::All { all: vec![at(a), at(b)] }).collect() }
}

/// Shares, party by party; a share is secret when one of its two figures is.
fn show(known: &PublicTable, elsewhere: &PublicTable, period: Period) {
    let [_, parties, groups] = known.dimensions.as_slice() else { return };
    say(&format!("{period} : part des personnes de chaque partenaire qu'un autre connaît aussi"));
    let heads: Vec<String> =
        std::iter::once("partenaire".to_owned()).chain(groups.categories.iter().map(labels::category)).collect();
    // The second table may lack a category that nobody of it has.
    let found = |party: usize, group: usize| -> Option<Shown> {
        let place = |at: usize, category| elsewhere.dimensions.get(at)?.categories.iter().position(|c| c == category);
        elsewhere.cell(&[0, place(1, parties.categories.get(party)?)?, place(2, groups.categories.get(group)?)?])
    };
    let cell = |party: usize, group: usize| match (known.cell(&[0, party, group]), found(party, group)) {
        (Some(Shown::Value { value: 0.0, .. }), _) => "–".to_owned(),
        (Some(Shown::Value { value: all, .. }), Some(Shown::Value { value, .. })) => {
            format!("{} de {}", percent((value / all).min(1.0)), labels::number(all))
        }
        (Some(Shown::Missing), _) | (_, Some(Shown::Missing)) => labels::cell(&Shown::Missing),
        _ => labels::cell(&Shown::Hidden),
    };
    let rows: Vec<Vec<String>> = parties
        .categories
        .iter()
        .enumerate()
        .map(|(n, party)| {
            std::iter::once(labels::category(party)).chain((0..groups.categories.len()).map(|group| cell(n, group))).collect()
        })
        .collect();
    say(&table(&heads.iter().map(String::as_str).collect::<Vec<_>>(), &rows));
    for line in labels::legend(known).into_iter().chain([labels::method(known)]) {
        say(&line);
    }
}
