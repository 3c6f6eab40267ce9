//! The query builder: form, preview of the protected table, document, files, publication.

use std::sync::Arc;

use axum::extract::{Form as Body, Query as Address, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use linkage_agreement::model::Rule;
use linkage_cohort::PublicTable;
use linkage_cohort::query::{Grain, Measure, Query, When};
use linkage_cohort::study::Study;
use linkage_common::error::ServiceError;
use maud::{Markup, html};
use serde::Deserialize;

use super::Page;
use super::form::{BREAKDOWNS, CONDITIONS, Form, in_address, of_address, word};
use super::guard::Visit;
use super::lang::{Lang, fill};
use super::layout::{self, Place};
use super::views::capital;
use super::{chart, table};
use crate::export::Format;

/// Most values of an attribute that the form lists.
const MOST_VALUES: usize = 60;
const MEASURES: [Measure; 10] = [
    Measure::Stock,
    Measure::Count,
    Measure::Entries,
    Measure::Exits,
    Measure::Returns,
    Measure::Durations,
    Measure::Transitions,
    Measure::Paths,
    Measure::Delays,
    Measure::Sum,
];
const WHENS: [When; 5] = [When::Same, When::Previous, When::Before, When::After, When::Ever];
const GRAINS: [Grain; 3] = [Grain::Month, Grain::Quarter, Grain::Year];
/// Breakdowns that are no attribute.
const BUILT_IN: [&str; 4] = ["party", "parties", "age", "composition-menage"];

/// One choice of a list: its value, its words.
pub(super) type Choice = (String, String);

/// A labelled list.
pub(super) fn select(id: &str, name: &str, label: &str, choices: &[Choice], chosen: &str) -> Markup {
    html! {
        div.field {
            label for=(id) { (label) }
            select id=(id) name=(name) {
                @for (value, words) in choices { option value=(value) selected[value == chosen] { (words) } }
            }
        }
    }
}

/// The months held, as choices.
pub(super) fn months(study: &Study) -> Vec<Choice> {
    study.months.iter().map(|m| (m.period.to_string(), m.period.to_string())).collect()
}

/// The parties, as choices, after one for none in particular.
pub(super) fn parties(page: &Page, none: &str) -> Vec<Choice> {
    let mut choices = vec![(String::new(), none.to_owned())];
    choices.extend(page.gate.agreement().party.iter().map(|p| {
        let words =
            if p.name.eq_ignore_ascii_case(p.id.as_str()) { p.id.to_string() } else { format!("{} – {}", p.id, p.name) };
        (p.id.to_string(), words)
    }));
    choices
}

fn words(lang: Lang, names: impl Iterator<Item = String>) -> Vec<Choice> {
    names.map(|name| (name.clone(), table::dimension(lang, &name))).collect()
}

fn condition(page: &Page, lang: Lang, study: &Study, form: &Form, number: usize) -> Markup {
    let t = lang.texts();
    let Some(held) = form.conditions.get(number - 1) else { return html! {} };
    let id = |field: &str| format!("c{number}.{field}");
    html! {
        details.condition open[number == 1 || !held.is_empty()] {
            summary { (fill(t.condition, &[&number.to_string()])) }
            div.fields {
                (select(&id("partenaire"), &id("partenaire"), t.record_of, &parties(page, t.any_partner), &held.party))
                (select(&id("quand"), &id("quand"), t.when, &words(lang, WHENS.iter().map(word)), &held.when))
                label.tick { input type="checkbox" name=(id("sauf")) value="1" checked[held.except]; (t.except) }
            }
            div.attributes { @for attribute in &study.attributes {
                @let chosen = |value: &str| held.values.iter().any(|v| v.split_once('=') == Some((attribute.name.as_str(), value)));
                @let values = listed(attribute);
                @if !values.is_empty() {
                    details.values open[values.iter().any(|v| chosen(v))] {
                        summary { (capital(&table::dimension(lang, &attribute.name))) }
                        fieldset.plain {
                            legend.hidden { (table::dimension(lang, &attribute.name)) }
                            @for value in &values {
                                label.tick { input type="checkbox" name=(id("valeur")) value=(format!("{}={value}", attribute.name)) checked[chosen(value)]; (value) }
                            }
                        }
                    }
                }
            } }
        }
    }
}

/// Values that the form lists: those of the rule, then others that occur.
fn listed(attribute: &linkage_cohort::study::AttributeColumn) -> Vec<String> {
    let mut values = match &attribute.rule {
        Rule::Code { values } => values.clone(),
        _ => Vec::new(),
    };
    let mut others: Vec<String> = attribute.values.iter().filter(|v| !values.contains(v)).cloned().collect();
    others.sort_by_cached_key(|v| (v.parse::<u64>().unwrap_or(u64::MAX), v.clone()));
    values.extend(others);
    values.truncate(MOST_VALUES);
    values
}

fn builder(page: &Page, lang: Lang, study: &Study, form: &Form) -> Markup {
    let t = lang.texts();
    let months = months(study);
    let attributes: Vec<String> = study.attributes.iter().map(|a| a.name.clone()).collect();
    let mut of = vec![(String::new(), t.none.to_owned())];
    of.extend(words(lang, attributes.iter().cloned()));
    let mut breakdowns = vec![(String::new(), t.no_breakdown.to_owned())];
    breakdowns.extend(words(lang, BUILT_IN.iter().map(|b| (*b).to_owned()).chain(attributes)));
    let units = [("persons".to_owned(), t.persons.to_owned()), ("households".to_owned(), t.households.to_owned())];
    html! {
        form method="get" action="/requete#apercu" {
            fieldset {
                legend { (t.what) }
                div.field { label for="titre" { (t.title_field) } input.long #titre type="text" name="titre" maxlength="200" value=(form.title); }
                div.fields {
                    (select("unite", "unite", t.counted, &units, &form.unit))
                    (select("mesure", "mesure", &capital(t.measure_column), &words(lang, MEASURES.iter().map(word)), &form.measure))
                    (select("attribut", "attribut", t.of_attribute, &of, &form.of))
                }
                div.fields {
                    (select("du", "du", t.from_month, &months, &form.from))
                    (select("au", "au", t.to_month, &months, &form.to))
                    (select("pas", "pas", t.grain, &words(lang, GRAINS.iter().map(word)), &form.grain))
                }
                div.fields {
                    @for number in 0..BREAKDOWNS {
                        @let id = format!("ventilation{}", number + 1);
                        (select(&id, "ventilation", &fill(t.breakdown, &[&(number + 1).to_string()]), &breakdowns, form.breakdown.get(number).map_or("", String::as_str)))
                    }
                }
            }
            fieldset {
                legend { (t.who_is_counted) }
                p.soft { (t.conditions_help) }
                div.fields {
                    (select("ensemble", "ensemble", t.together, &[("all".to_owned(), t.all_of.to_owned()), ("any".to_owned(), t.any_of.to_owned())], if form.any { "any" } else { "all" }))
                }
                @for number in 1..=CONDITIONS { (condition(page, lang, study, form, number)) }
            }
            p { button type="submit" { (t.preview_button) } }
        }
    }
}

/// A drawing of the table, where its form has one.
pub(super) fn drawing(lang: Lang, shown: &PublicTable) -> Option<Markup> {
    let [periods, rest @ ..] = shown.dimensions.as_slice() else { return None };
    if periods.name != "period" || periods.categories.len() < 2 || rest.len() > 1 {
        return None;
    }
    let names: Vec<String> = periods.categories.iter().map(|c| table::category(lang, c)).collect();
    let series: Vec<chart::Series> = match rest.first() {
        None => vec![chart::Series {
            name: table::unit(lang, shown.unit).to_owned(),
            points: (0..names.len()).filter_map(|p| shown.cell(&[p])).collect(),
        }],
        Some(d) if d.categories.len() <= 6 => d
            .categories
            .iter()
            .enumerate()
            .map(|(c, category)| chart::Series {
                name: table::category(lang, category),
                points: (0..names.len()).filter_map(|p| shown.cell(&[p, c])).collect(),
            })
            .collect(),
        Some(_) => return None,
    };
    Some(chart::lines(lang, "apercu-courbes", &shown.title, &names, &series))
}

/// Links to the files of a table.
pub(super) fn files(lang: Lang, address: &str) -> Markup {
    html! {
        p.screen { (lang.texts().download) }
        ul.files {
            @for format in Format::ALL {
                li { a href=(format!("/tableau/{}?q={address}", format.ending())) { (format.ending().to_uppercase()) } }
            }
        }
    }
}

async fn preview(page: &Page, visit: &Visit, query: &Query) -> Result<Markup, ServiceError> {
    let (lang, t) = (visit.lang, visit.lang.texts());
    let address = in_address(query)?;
    let document = query.to_toml().map_err(ServiceError::internal)?;
    let answered = page.answer(visit, query).await;
    Ok(html! {
        h2 #apercu { (t.preview) }
        @match &answered {
            Err(error) => { div.notice.warn role="alert" { p lang="fr" { (capital(&error.message)) } p { (t.no_figure) } } },
            Ok(answer) => {
                @if let Some(drawing) = drawing(lang, answer) { (drawing) }
                (table::table(lang, answer))
                (files(lang, &address))
                h3 { (t.publish) }
                form method="post" action="/publications" {
                    input type="hidden" name="csrf" value=(visit.session.csrf);
                    input type="hidden" name="q" value=(address);
                    div.field {
                        label for="motif" { (t.justification) }
                        input.long #motif type="text" name="motif" maxlength="2000" required;
                    }
                    p { button type="submit" { (t.publish_button) } }
                }
            }
        }
        h3 { (t.document) }
        pre tabindex="0" { (document) }
        p { a href=(format!("/requete/document?q={address}")) { (t.save_document) } }
    })
}

/// The builder, and below it what was `asked`; a document that was `pasted` and refused stays where it can be corrected.
async fn shown(page: &Page, visit: &Visit, asked: Option<Result<Query, ServiceError>>, form: Form, pasted: &str) -> Response {
    let (lang, t) = (visit.lang, visit.lang.texts());
    let study = match page.study().await {
        Ok(study) => study,
        Err(error) => return super::login::failure(lang, &error),
    };
    if study.months.is_empty() {
        return layout::page(page, visit, Place::Query, t.query, &html! { p { (t.empty) } });
    }
    let form = if form == Form::default() { Form::first(&study) } else { form };
    let below = match asked {
        None => html! {},
        Some(Err(error)) => {
            html! { div.notice.warn #apercu role="alert" { p lang="fr" { (capital(&error.message)) } p { (t.no_figure) } } }
        }
        Some(Ok(query)) => match preview(page, visit, &query).await {
            Ok(preview) => preview,
            Err(error) => return super::login::failure(lang, &error),
        },
    };
    let content = html! {
        p { (t.query_intro) }
        @if form.beyond { div.notice { p { (t.beyond_form) } } }
        (builder(page, lang, &study, &form))
        (below)
        details open[!pasted.is_empty()] {
            summary { (t.paste_document) }
            form method="post" action="/requete#apercu" {
                input type="hidden" name="csrf" value=(visit.session.csrf);
                label for="document" { (t.document_field) }
                textarea #document name="document" rows="12" spellcheck="false" { (pasted) }
                p { button type="submit" { (t.preview_button) } }
            }
        }
    };
    layout::page(page, visit, Place::Query, t.query, &content)
}

/// `GET /requete`: the form; with its fields, or `q`, the preview as well.
pub(super) async fn form(
    State(page): State<Arc<Page>>,
    visit: Visit,
    Address(pairs): Address<Vec<(String, String)>>,
) -> Response {
    let given = |name: &str| pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let (asked, form) = match (given("q"), given("mesure")) {
        (Some(q), _) => {
            let query = of_address(q);
            let form = query.as_ref().map(Form::of_query).unwrap_or_default();
            (Some(query), form)
        }
        (None, Some(_)) => {
            let form = Form::of_pairs(&pairs);
            (Some(form.query(visit.lang)), form)
        }
        (None, None) => match page.study().await {
            Ok(study) => (None, Form::first(&study)),
            Err(error) => return super::login::failure(visit.lang, &error),
        },
    };
    shown(&page, &visit, asked, form, "").await
}

/// A pasted document.
#[derive(Debug, Deserialize)]
pub(super) struct Pasted {
    csrf: String,
    document: String,
}

/// `POST /requete`: a document, TOML or JSON.
pub(super) async fn document(State(page): State<Arc<Page>>, visit: Visit, Body(pasted): Body<Pasted>) -> Response {
    if !visit.confirms(&pasted.csrf) {
        return layout::refusal(visit.lang, StatusCode::FORBIDDEN, visit.lang.texts().form_expired);
    }
    let text = pasted.document.trim_start();
    let read = if text.starts_with('{') { Query::from_json(text) } else { Query::from_toml(text) };
    let query = read.map_err(|e| ServiceError::invalid(e.to_string()));
    let form = query.as_ref().map(Form::of_query).unwrap_or_default();
    let refused = if query.is_err() { pasted.document.as_str() } else { "" };
    shown(&page, &visit, Some(query), form, refused).await
}

/// `q`, the query that an address holds.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    pub(super) q: String,
}

/// `GET /requete/document`: the document as a file. It holds no figure.
pub(super) async fn save(visit: Visit, Address(asked): Address<Asked>) -> Response {
    let query = of_address(&asked.q);
    match query.and_then(|q| q.to_toml().map_err(ServiceError::internal)) {
        Ok(text) => (
            [
                (header::CONTENT_TYPE, "application/toml; charset=utf-8"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"requete.toml\""),
            ],
            text,
        )
            .into_response(),
        Err(error) => layout::refusal(visit.lang, StatusCode::BAD_REQUEST, &error.message),
    }
}
