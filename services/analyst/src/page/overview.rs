//! The overview: what is here, month by month and party by party, how well it is linked, what was published.

use std::sync::{Arc, Mutex, PoisonError};

use linkage_agreement::RunId;
use linkage_cohort::Shown;
use linkage_cohort::study::Study;
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use maud::{Markup, html};
use serde::Deserialize;

use super::guard::Visit;
use super::journal::listed;
use super::lang::{Lang, fill};
use super::views::{capital, stock_of_all};
use super::{Page, chart, table};

/// Bytes of a run's report.
const REPORT_BYTES: u64 = 64 << 20;
/// Publications shown.
const RECENT: u32 = 5;

/// What is shown of a run's report; figures of an older version that has none are left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Report {
    parties: Vec<String>,
    linkage: Linkage,
    past_epoch: Option<PastEpoch>,
}

/// Records that took no part, by party of the report; none where hidden or not stated.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PastEpoch {
    parties: Vec<Option<u64>>,
    all: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Linkage {
    precision: Option<Estimate>,
    recall: Option<Estimate>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Estimate {
    value: f64,
    low: f64,
    high: f64,
}

/// What is shown of the run shown last: a report may be large and does not change.
#[derive(Default)]
pub(super) struct Estimates(Mutex<Option<(RunId, Arc<Report>)>>);

impl Estimates {
    fn of(&self, page: &Page, run: &RunId) -> Result<Arc<Report>, ServiceError> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, report)) = held.as_ref().filter(|(known, _)| known == run) {
            return Ok(Arc::clone(report));
        }
        let path = page.tables.run_folder(run).join("report.json");
        if !path.try_exists()? {
            return Ok(Arc::default());
        }
        let bytes = fsx::read_limited(&path, REPORT_BYTES).map_err(ServiceError::internal)?;
        let report: Arc<Report> = Arc::new(serde_json::from_slice(&bytes).map_err(ServiceError::internal)?);
        *held = Some((run.clone(), Arc::clone(&report)));
        Ok(report)
    }
}

/// Months in reading order from the first held to the last, those without a run among them.
fn calendar(study: &Study) -> Vec<(String, Option<usize>)> {
    let (Some(first), Some(last)) = (study.months.first(), study.months.last()) else { return Vec::new() };
    let mut months = Vec::new();
    let mut at = 0;
    for index in first.period.index()..=last.period.index() {
        let held = study.months.get(at).filter(|m| m.period.index() == index);
        if let Some(held) = held {
            months.push((held.period.to_string(), Some(at)));
            at += 1;
        } else {
            // Indices count from January 1900.
            months.push((format!("{}-{:02}", 1900 + index / 12, index % 12 + 1), None));
        }
    }
    months
}

fn deliveries(lang: Lang, study: &Study) -> Markup {
    let t = lang.texts();
    html! {
        h2 { (t.deliveries) }
        div.wide tabindex="0" role="group" aria-label=(t.deliveries) {
            table {
                caption { (t.deliveries_caption) }
                thead { tr {
                    th.text scope="col" { (capital(t.month)) }
                    th.text scope="col" { (capital(t.run)) }
                    @for party in &study.parties { th.text scope="col" { (party) } }
                } }
                tbody { @for (name, at) in calendar(study).into_iter().rev() {
                    tr {
                        th.text scope="row" { (name) }
                        @match at.and_then(|at| study.months.get(at)) {
                            None => { td.missing.text colspan=(study.parties.len() + 1) { (t.no_run) } },
                            Some(month) => {
                                td.text { (month.run) }
                                @for at in 0..study.parties.len() {
                                    @if month.delivered.get(at).copied().unwrap_or(false) { td.text { (t.delivered) } } @else { td.missing.text { (t.not_delivered) } }
                                }
                            }
                        }
                    }
                } }
            }
        }
    }
}

fn quality(page: &Page, lang: Lang, study: &Study) -> Result<Markup, ServiceError> {
    let t = lang.texts();
    let Some(last) = study.months.last() else { return Ok(html! {}) };
    let report = page.estimates.of(page, &last.run)?;
    let rows = [(t.precision, report.linkage.precision), (t.recall, report.linkage.recall)];
    Ok(html! {
        h2 { (t.quality) }
        @if rows.iter().all(|(_, e)| e.is_none()) { p { (t.no_quality) } } @else {
            div.wide tabindex="0" role="group" aria-label=(t.quality) {
                table {
                    caption { (fill(t.quality_caption, &[last.run.as_str()])) }
                    thead { tr { th.text scope="col" { (capital(t.measure_column)) } th scope="col" { (capital(t.estimate)) } th scope="col" { (capital(t.interval)) } } }
                    tbody { @for (name, estimate) in rows { @if let Some(e) = estimate {
                        tr { th.text scope="row" { (capital(name)) } td { (lang.percent(e.value)) } td { (lang.percent(e.low)) " – " (lang.percent(e.high)) } }
                    } } }
                }
            }
        }
        (left_out(lang, &report))
    })
}

/// Records that took no part in the run, from the second epoch of the OPRF key on; nothing before it, nor of a report of a version
/// that did not count them.
fn left_out(lang: Lang, report: &Report) -> Markup {
    let t = lang.texts();
    let Some(past) = &report.past_epoch else { return html! {} };
    let shown = |count: Option<u64>| count.map_or_else(|| t.secret_or_unknown.to_owned(), |count| lang.count(count));
    html! {
        h3 { (t.left_out) }
        p { (t.left_out_note) }
        div.wide tabindex="0" role="group" aria-label=(t.left_out) {
            table {
                thead { tr { th.text scope="col" { (t.partner) } th scope="col" { (t.left_out_records) } } }
                tbody {
                    @for (party, count) in report.parties.iter().zip(&past.parties) {
                        tr { th.text scope="row" { (party) } td { (shown(*count)) } }
                    }
                    tr { th.text scope="row" { (capital(t.all_partners)) } td { (shown(past.all)) } }
                }
            }
        }
    }
}

/// The overview's content.
pub(super) async fn content(page: &Page, visit: &Visit) -> Result<Markup, ServiceError> {
    let (lang, t) = (visit.lang, visit.lang.texts());
    let study = page.study().await?;
    let runs = match &page.runs {
        Some(runs) => runs.content(lang).await,
        None => html! {},
    };
    let (Some(last), Some(stock)) = (study.months.last(), stock_of_all(lang, &study)) else {
        return Ok(html! { p { (t.empty) } (runs) });
    };
    let shown = page.answer(visit, &stock).await;
    let publications = page.desk.journal().list(0, RECENT).await?;
    let published = page.desk.journal().count().await?;
    let latest = shown.as_ref().ok().and_then(|s| s.cells.last().copied());
    Ok(html! {
        p { (fill(t.latest, &[&last.period.to_string()])) }
        div.tiles {
            div.tile { b {
                @match latest {
                    Some(Shown::Value { value, .. }) => (lang.number(value)),
                    Some(Shown::Hidden) => (t.secret),
                    _ => (t.missing),
                }
            } span { (t.persons_latest) } }
            div.tile { b { (lang.count(study.months.len() as u64)) } span { (t.months_held) } }
            div.tile { b { (lang.count(study.parties.len() as u64)) } span { (t.partners) } }
            div.tile { b { (lang.count(published)) } span { (t.publications_count) } }
        }
        @match &shown {
            Err(error) => { div.notice.warn role="alert" { p lang="fr" { (capital(&error.message)) } } },
            Ok(shown) => {
                h2 { (t.stock_title) }
                @let names: Vec<String> = shown.dimensions.first().map(|d| d.categories.iter().map(|c| table::category(lang, c)).collect()).unwrap_or_default();
                @let points = (0..names.len()).filter_map(|p| shown.cell(&[p])).collect();
                (chart::lines(lang, "stock", t.stock_title, &names, &[chart::Series { name: t.persons.to_owned(), points }]))
                details { summary { (t.show_table) } (table::table(lang, shown)) }
            }
        }
        (runs)
        (quality(page, lang, &study)?)
        (deliveries(lang, &study))
        h2 { (t.recent_publications) }
        (listed(lang, &publications))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(report: &str) -> String {
        left_out(Lang::Fr, &serde_json::from_str(report).unwrap()).into_string()
    }

    #[test]
    fn records_left_out_are_told_with_what_is_hidden() {
        let linkage = r#""linkage":{"parties":[],"precision":null}"#;
        let html = shown(&format!(
            r#"{{"parties":["ccas","siao"],{linkage},"past_epoch":{{"epoch":2,"parties":[1839,null],"all":null}}}}"#
        ));
        for says in
            ["ne peut plus encoder", "<th class=\"text\" scope=\"row\">ccas</th><td>1\u{202f}839</td>", "secret ou non dit"]
        {
            assert!(html.contains(says), "{says}: {html}");
        }
        // A report of the first epoch, or of a version that did not count them.
        for before in [format!(r#"{{"parties":["ccas","siao"],{linkage}}}"#), "{}".to_owned()] {
            assert_eq!(shown(&before), "");
        }
    }
}
