//! The ready views: overview, stock and flows, overlaps, paths.

use std::sync::Arc;

use axum::extract::{Query as Address, State};
use axum::response::Response;
use linkage_agreement::{PartyId, Period};
use linkage_cohort::query::{Condition, Grain, Measure, Population, Query, Range, When};
use linkage_cohort::study::Study;
use linkage_cohort::{Category, PublicTable, Shown, Unit};
use linkage_common::error::ServiceError;
use maud::{Markup, html};
use serde::Deserialize;

use super::Page;
use super::build::{files, months, parties, select};
use super::form::{in_address, word};
use super::guard::Visit;
use super::lang::{Lang, fill};
use super::layout::{self, Place};
use super::login::failure;
use super::{chart, table};

/// What a view is asked for; what is absent or unknown gets the view's own choice.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    unite: String,
    #[serde(default)]
    partenaire: String,
    #[serde(default)]
    du: String,
    #[serde(default)]
    au: String,
    #[serde(default)]
    mois: String,
}

/// A query by month, without breakdown.
fn monthly(title: &str, unit: Unit, measure: Measure, periods: Range) -> Query {
    Query {
        title: title.to_owned(),
        unit,
        measure,
        of: None,
        periods,
        grain: Grain::Month,
        breakdown: Vec::new(),
        population: None,
    }
}

/// The stock of all months, as the overview and the page's preparation ask it.
pub(super) fn stock_of_all(lang: Lang, study: &Study) -> Option<Query> {
    let periods = Range { from: study.months.first()?.period, to: study.months.last()?.period };
    Some(monthly(lang.texts().stock_title, Unit::Persons, Measure::Stock, periods))
}

fn notice(error: &ServiceError, lang: Lang) -> Markup {
    html! { div.notice.warn role="alert" { p lang="fr" { (capital(&error.message)) } p { (lang.texts().no_figure) } } }
}

/// The figures of a drawing, folded, with the links to their files.
fn folded(lang: Lang, query: &Query, shown: &PublicTable) -> Markup {
    html! {
        details { summary { (lang.texts().show_table) } (table::table(lang, shown)) }
        @if let Ok(address) = in_address(query) { (files(lang, &address)) p.screen { a href=(format!("/requete?q={address}")) { (lang.texts().open_in_builder) } } }
    }
}

fn period_names(lang: Lang, shown: &PublicTable) -> Vec<String> {
    shown.dimensions.first().map(|d| d.categories.iter().map(|c| table::category(lang, c)).collect()).unwrap_or_default()
}

fn series(name: &str, shown: &PublicTable, periods: usize) -> chart::Series {
    chart::Series { name: name.to_owned(), points: (0..periods).filter_map(|p| shown.cell(&[p])).collect() }
}

/// Reads a view's page out of its content, or the fault that kept it from being made.
async fn made(
    page: &Page,
    visit: &Visit,
    place: Place,
    title: &str,
    content: impl Future<Output = Result<Markup, ServiceError>>,
) -> Response {
    match content.await {
        Ok(content) => layout::page(page, visit, place, title, &content),
        Err(error) => failure(visit.lang, &error),
    }
}

/// `GET /`.
pub(super) async fn overview(State(page): State<Arc<Page>>, visit: Visit) -> Response {
    let title = visit.lang.texts().overview;
    made(&page, &visit, Place::Overview, title, async {
        page.seen(&visit, title)?;
        super::overview::content(&page, &visit).await
    })
    .await
}

/// The months chosen, within those held; the last two years when nothing else is said.
fn range(study: &Study, choice: &Choice) -> Option<Range> {
    let (first, last) = (study.months.first()?.period, study.months.last()?.period);
    let recent = study.months.get(study.months.len().saturating_sub(24))?.period;
    let held = |text: &str| text.parse::<Period>().ok().filter(|p| study.month(*p).is_some());
    let to = held(&choice.au).unwrap_or(last);
    let from = held(&choice.du).unwrap_or(recent);
    Some(if from <= to { Range { from, to } } else { Range { from: first, to } })
}

/// `GET /flux`.
pub(super) async fn flows(State(page): State<Arc<Page>>, visit: Visit, Address(choice): Address<Choice>) -> Response {
    let title = visit.lang.texts().flows;
    made(&page, &visit, Place::Flows, title, flows_content(&page, &visit, &choice)).await
}

async fn flows_content(page: &Page, visit: &Visit, choice: &Choice) -> Result<Markup, ServiceError> {
    let (lang, t) = (visit.lang, visit.lang.texts());
    let study = page.study().await?;
    let Some(periods) = range(&study, choice) else { return Ok(html! { p { (t.empty) } }) };
    let households = choice.unite == "households";
    let unit = if households { Unit::Households } else { Unit::Persons };
    let party: Option<PartyId> = choice.partenaire.parse().ok().filter(|p| study.party(p).is_some());
    let population = party.clone().map(|party| {
        Population::Record(Condition { party: Some(party), attributes: Default::default(), when: When::Same, period: None })
    });
    let asked = |title: &str, measure| {
        let title = party.as_ref().map_or_else(|| title.to_owned(), |p| format!("{title} ({p})"));
        Query { population: population.clone(), ..monthly(&title, unit, measure, periods) }
    };
    let stock = asked(if households { t.stock_households_title } else { t.stock_title }, Measure::Stock);
    let stock_shown = page.answer(visit, &stock).await;
    let mut moves = Vec::new();
    for measure in [Measure::Entries, Measure::Exits, Measure::Returns] {
        let query = asked(&format!("{} – {}", t.moves_title, table::dimension(lang, measure.name())), measure);
        let shown = page.answer(visit, &query).await;
        moves.push((measure, query, shown));
    }
    let units = [("persons".to_owned(), t.persons.to_owned()), ("households".to_owned(), t.households.to_owned())];
    Ok(html! {
        form method="get" action="/flux" {
            fieldset { legend { (t.filter) } div.fields {
                (select("unite", "unite", t.counted, &units, &word(&unit)))
                (select("partenaire", "partenaire", t.partner, &parties(page, t.all_partners), party.as_ref().map_or("", PartyId::as_str)))
                (select("du", "du", t.from_month, &months(&study), &periods.from.to_string()))
                (select("au", "au", t.to_month, &months(&study), &periods.to.to_string()))
                div { button type="submit" { (t.choose) } }
            } }
        }
        h2 { (stock.title) }
        @match &stock_shown {
            Err(error) => (notice(error, lang)),
            Ok(shown) => {
                @let names = period_names(lang, shown);
                (chart::lines(lang, "stock", &stock.title, &names, &[series(table::unit(lang, unit), shown, names.len())]))
                (folded(lang, &stock, shown))
            }
        }
        h2 { (t.moves_title) @if let Some(party) = &party { " (" (party) ")" } }
        @let drawn: Vec<(&str, &PublicTable)> = moves.iter().filter_map(|(m, _, shown)| shown.as_ref().ok().map(|s| (m.name(), s))).collect();
        @if let Some((_, first)) = drawn.first() {
            @let names = period_names(lang, first);
            @let all: Vec<chart::Series> = drawn.iter().map(|(m, s)| series(&table::dimension(lang, m), s, names.len())).collect();
            (chart::lines(lang, "flux", t.moves_title, &names, &all))
        }
        p.soft { (t.entries_note) }
        @for (measure, query, shown) in &moves {
            h3 { (capital(&table::dimension(lang, measure.name()))) }
            @match shown {
                Err(error) => (notice(error, lang)),
                Ok(shown) => (folded(lang, query, shown)),
            }
        }
    })
}

/// With a capital at its beginning.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn month_of(study: &Study, choice: &Choice) -> Option<Period> {
    let held = choice.mois.parse::<Period>().ok().filter(|p| study.month(*p).is_some());
    held.or_else(|| study.months.last().map(|m| m.period))
}

/// `GET /recouvrements`.
pub(super) async fn overlaps(State(page): State<Arc<Page>>, visit: Visit, Address(choice): Address<Choice>) -> Response {
    let title = visit.lang.texts().overlaps;
    made(&page, &visit, Place::Overlaps, title, overlaps_content(&page, &visit, &choice)).await
}

async fn overlaps_content(page: &Page, visit: &Visit, choice: &Choice) -> Result<Markup, ServiceError> {
    let (lang, t) = (visit.lang, visit.lang.texts());
    let study = page.study().await?;
    let Some(month) = month_of(&study, choice) else { return Ok(html! { p { (t.empty) } }) };
    let title = fill(t.overlap_title, &[&month.to_string()]);
    let periods = Range { from: month, to: month };
    let query = Query { breakdown: vec!["parties".to_owned()], ..monthly(&title, Unit::Persons, Measure::Stock, periods) };
    let shown = page.answer(visit, &query).await;
    let names: Vec<String> = study.parties.iter().map(ToString::to_string).collect();
    Ok(html! {
        (month_form("/recouvrements", lang, &study, month))
        h2 { (title) }
        @match &shown {
            Err(error) => (notice(error, lang)),
            Ok(shown) => { (chart::upset(lang, "recouvrements", &title, &names, combinations(shown))) (folded(lang, &query, shown)) }
        }
    })
}

fn month_form(action: &str, lang: Lang, study: &Study, month: Period) -> Markup {
    let t = lang.texts();
    html! {
        form method="get" action=(action) {
            fieldset { legend { (t.filter) } div.fields {
                (select("mois", "mois", &capital(t.month), &months(study), &month.to_string()))
                div { button type="submit" { (t.choose) } }
            } }
        }
    }
}

fn combinations(shown: &PublicTable) -> Vec<chart::Combination> {
    let Some(dimension) = shown.dimensions.get(1) else { return Vec::new() };
    let named = dimension.categories.iter().enumerate().filter_map(|(at, category)| match category {
        Category::Value(value) => Some((at, value.split(" + ").map(str::to_owned).collect())),
        _ => None,
    });
    named.map(|(at, parties)| chart::Combination { parties, shown: shown.cell(&[0, at]).unwrap_or(Shown::Missing) }).collect()
}

/// `GET /parcours`.
pub(super) async fn paths(State(page): State<Arc<Page>>, visit: Visit, Address(choice): Address<Choice>) -> Response {
    let title = visit.lang.texts().paths;
    made(&page, &visit, Place::Paths, title, paths_content(&page, &visit, &choice)).await
}

async fn paths_content(page: &Page, visit: &Visit, choice: &Choice) -> Result<Markup, ServiceError> {
    let (lang, t) = (visit.lang, visit.lang.texts());
    let study = page.study().await?;
    let (Some(month), Some(first)) = (month_of(&study, choice), study.months.first().map(|m| m.period)) else {
        return Ok(html! { p { (t.empty) } });
    };
    let title = fill(t.paths_title, &[&first.to_string(), &month.to_string()]);
    let query = monthly(&title, Unit::Persons, Measure::Paths, Range { from: month, to: month });
    let shown = page.answer(visit, &query).await;
    let before = study.months.iter().rev().map(|m| m.period).find(|p| *p < month);
    let moved = match before {
        None => None,
        Some(before) => {
            let title = fill(t.transitions_title, &[&before.to_string(), &month.to_string()]);
            let query = monthly(&title, Unit::Persons, Measure::Transitions, Range { from: before, to: month });
            let shown = page.answer(visit, &query).await;
            Some((query, shown))
        }
    };
    Ok(html! {
        (month_form("/parcours", lang, &study, month))
        h2 { (title) }
        p.soft { (t.paths_note) }
        @match &shown {
            Err(error) => (notice(error, lang)),
            Ok(shown) => {
                @let (flows, hidden) = paths_of(lang, shown);
                @if flows.is_empty() { p { (t.no_paths) } } @else {
                    (chart::ribbon(lang, "parcours", &title, &[t.first_service, t.second_service, t.third_service], &flows, hidden))
                }
                (folded(lang, &query, shown))
            }
        }
        @if let Some((query, shown)) = &moved {
            h2 { (query.title) }
            p.soft { (t.transitions_note) }
            @match shown {
                Err(error) => (notice(error, lang)),
                Ok(shown) => {
                    @let (flows, hidden) = transitions_of(lang, shown);
                    @if flows.is_empty() { p { (t.no_paths) } } @else {
                        @let ends: Vec<String> = [query.periods.from, query.periods.to].iter().map(ToString::to_string).collect();
                        (chart::ribbon(lang, "passages", &query.title, &ends.iter().map(String::as_str).collect::<Vec<_>>(), &flows, hidden))
                    }
                    (folded(lang, query, shown))
                }
            }
        }
    })
}

/// The paths of the last period, each to the end that has no other service.
fn paths_of(lang: Lang, shown: &PublicTable) -> (Vec<chart::Flow>, u64) {
    let Some(dimension) = shown.dimensions.last() else { return (Vec::new(), 0) };
    let last = shown.dimensions.first().map_or(0, |d| d.categories.len().saturating_sub(1));
    let (mut flows, mut hidden) = (Vec::new(), 0);
    for (at, category) in dimension.categories.iter().enumerate() {
        let Category::Value(path) = category else { continue };
        match shown.cell(&[last, at]) {
            Some(Shown::Value { value, .. }) if value > 0.0 => {
                let mut steps: Vec<String> = path.split(" > ").map(|s| s.replace('&', " + ")).collect();
                if steps.len() < 3 {
                    steps.push(lang.texts().stops.to_owned());
                }
                flows.push(chart::Flow { steps, value });
            }
            Some(Shown::Hidden) => hidden += 1,
            _ => {}
        }
    }
    (flows, hidden)
}

/// The changes into the last period.
fn transitions_of(lang: Lang, shown: &PublicTable) -> (Vec<chart::Flow>, u64) {
    let [periods, from, to] = shown.dimensions.as_slice() else { return (Vec::new(), 0) };
    let (mut flows, mut hidden) = (Vec::new(), 0);
    for period in 0..periods.categories.len() {
        for (f, before) in from.categories.iter().enumerate().filter(|(_, c)| **c != Category::Total) {
            for (a, after) in to.categories.iter().enumerate().filter(|(_, c)| **c != Category::Total) {
                match shown.cell(&[period, f, a]) {
                    Some(Shown::Value { value, .. }) if value > 0.0 => {
                        let steps = vec![table::category(lang, before), table::category(lang, after)];
                        flows.push(chart::Flow { steps, value });
                    }
                    Some(Shown::Hidden) => hidden += 1,
                    _ => {}
                }
            }
        }
    }
    (flows, hidden)
}
