//! Publications: the list, one publication with the producers' decisions, putting a table forward, its files.

use std::sync::Arc;

use axum::extract::{Form, Path, Query as Address, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, header};
use linkage_agreement::Period;
use linkage_common::error::{ErrorKind, ServiceError};
use maud::{Markup, html};
use serde::Deserialize;

use super::Page;
use super::build::Asked;
use super::form::of_address;
use super::guard::Visit;
use super::lang::{Lang, fill};
use super::layout::{self, Place};
use super::login::failure;
use super::views::capital;
use super::{build, table};
use crate::export::{Format, Part, day};
use crate::journal::{Listed, State as Standing};
use crate::publish::{PublicationId, Question, Verdict};

/// Publications of a list.
const AT_ONCE: u32 = 100;

/// A refusal or a fault, with its status.
pub(super) fn refused(lang: Lang, error: &ServiceError) -> Response {
    let status = match error.kind {
        ErrorKind::Refused => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Exhausted => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    layout::refusal(lang, status, &error.message)
}

/// A file's answer.
pub(super) fn file(name: &str, format: Format, bytes: Vec<u8>) -> Response {
    let disposition = format!("attachment; filename=\"{name}.{}\"", format.ending());
    ([(header::CONTENT_TYPE, format.media_type().to_owned()), (header::CONTENT_DISPOSITION, disposition)], bytes).into_response()
}

fn state(lang: Lang, standing: Standing) -> &'static str {
    let t = lang.texts();
    match standing {
        Standing::Proposed => t.state_proposed,
        Standing::Published => t.state_published,
        Standing::Rejected => t.state_rejected,
    }
}

fn awaited(publication: &Listed) -> String {
    publication.awaited().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The list of publications.
pub(super) fn listed(lang: Lang, publications: &[Listed]) -> Markup {
    let t = lang.texts();
    html! {
        @if publications.is_empty() { p { (t.no_publication) } } @else {
            div.wide tabindex="0" role="group" aria-label=(t.publications) {
                table {
                    caption { (t.publications_caption) }
                    thead { tr {
                        th.text scope="col" { (capital(t.title_field)) }
                        th.text scope="col" { (t.day) }
                        th.text scope="col" { (t.state) }
                        th.text scope="col" { (t.awaited) }
                    } }
                    tbody { @for p in publications {
                        tr {
                            th.text scope="row" { a href=(format!("/publications/{}", p.id)) { (p.title) } }
                            td.text { (day(p.at)) }
                            td.text { span.state { (state(lang, p.state)) } }
                            td.text { @if p.state == Standing::Proposed { (awaited(p)) } @else { "–" } }
                        }
                    } }
                }
            }
        }
    }
}

/// Where a list begins, counted from the latest.
#[derive(Debug, Default, Deserialize)]
pub(super) struct From {
    #[serde(default)]
    depuis: u32,
}

/// `GET /publications`.
pub(super) async fn list(State(page): State<Arc<Page>>, visit: Visit, Address(from): Address<From>) -> Response {
    let (lang, t) = (visit.lang, visit.lang.texts());
    let made = async {
        page.seen(&visit, t.publications)?;
        let month = Period::of(page.gate.today());
        let spent = page.desk.journal().spent(&page.analyst, month).await?;
        let journal = page.desk.journal();
        Ok::<_, ServiceError>((journal.list(from.depuis, AT_ONCE).await?, journal.count().await?, spent, month))
    };
    let (publications, count, spent, month) = match made.await {
        Ok(made) => made,
        Err(error) => return failure(lang, &error),
    };
    let terms = &page.gate.agreement().disclosure;
    let content = html! {
        p { (fill(t.budget, &[&lang.count(spent), &lang.count(u64::from(terms.tables_per_month())), &month.to_string()])) }
        p { @if terms.needs_approval() { (t.approval_needed) } @else { (t.approval_not_needed) } }
        (listed(lang, &publications))
        @let older = from.depuis.saturating_add(AT_ONCE);
        @if from.depuis > 0 || u64::from(older) < count {
            nav aria-label=(t.publications) { ul.ways {
                @if from.depuis > 0 { li { a rel="prev" href=(format!("/publications?depuis={}", from.depuis.saturating_sub(AT_ONCE))) { (t.later) } } }
                @if u64::from(older) < count { li { a rel="next" href=(format!("/publications?depuis={older}")) { (t.earlier) } } }
            } }
        }
    };
    layout::page(&page, &visit, Place::Publications, t.publications, &content)
}

/// `GET /publications/{id}`.
pub(super) async fn one(State(page): State<Arc<Page>>, visit: Visit, Path(id): Path<String>) -> Response {
    let (lang, t) = (visit.lang, visit.lang.texts());
    let made = async {
        let id: PublicationId = id.parse()?;
        let held = page.desk.journal().get(&id).await?;
        page.seen(&visit, &held.title)?;
        let document = held.document()?;
        Ok::<_, ServiceError>((held, document))
    };
    let (held, document) = match made.await {
        Ok(made) => made,
        Err(error) => return refused(lang, &error),
    };
    let content = html! {
        p { span.state { (state(lang, held.state)) } " " (day(held.at)) ", " (held.by) }
        p { (t.justification) " : " (held.justification) }
        p { (t.fingerprint) " : " code { (held.fingerprint) } }
        @if !held.producers.is_empty() {
            h2 { (t.decisions) }
            div.wide tabindex="0" role="group" aria-label=(t.decisions) {
                table {
                    caption { (t.decisions_caption) }
                    thead { tr { th.text scope="col" { (t.partner) } th.text scope="col" { (t.decision) } th.text scope="col" { (t.day) } } }
                    tbody { @for party in &held.producers {
                        @let decision = held.decisions.iter().find(|d| d.party == *party);
                        tr {
                            th.text scope="row" { (party) }
                            @match decision {
                                None => { td.missing.text { (t.awaited) } td.text { "–" } },
                                Some(d) => {
                                    td.text { @if d.verdict == Verdict::Approved { (t.approved) } @else { (t.state_rejected) " : " (d.verdict.reason()) } }
                                    td.text { (day(d.at)) }
                                }
                            }
                        }
                    } }
                }
            }
            @if held.state == Standing::Proposed { p.soft { (fill(t.how_to_approve, &[held.id.as_str()])) } }
        }
        p.screen { (t.download) }
        ul.files { @for format in Format::ALL {
            li { a href=(format!("/publications/{}/{}", held.id, format.ending())) { (format.ending().to_uppercase()) } }
        } }
        @for shown in &document.tables {
            h2 { (shown.title) }
            @if let Some(drawing) = build::drawing(lang, shown) { (drawing) }
            (table::table(lang, shown))
        }
    };
    layout::page(&page, &visit, Place::Publications, &held.title, &content)
}

/// `GET /publications/{id}/{format}`.
pub(super) async fn export(State(page): State<Arc<Page>>, visit: Visit, Path((id, format)): Path<(String, String)>) -> Response {
    let made = async {
        let (id, format): (PublicationId, Format) = (id.parse()?, format.parse()?);
        let bytes = page.desk.export(&id, format, &visit.session.visitor.who).await?;
        Ok::<_, ServiceError>(file(&format!("publication-{id}"), format, bytes))
    };
    made.await.unwrap_or_else(|error| refused(visit.lang, &error))
}

/// `GET /tableau/{format}`: the answer to a query as a file, marked as a draft.
pub(super) async fn draft(
    State(page): State<Arc<Page>>,
    visit: Visit,
    Path(format): Path<String>,
    Address(asked): Address<Asked>,
) -> Response {
    let who = &visit.session.visitor.who;
    let made = async {
        let (format, query): (Format, _) = (format.parse()?, of_address(&asked.q)?);
        let answer = page.ask(&Question::Query(query), who).await?;
        let parts: Vec<Part<'_>> = answer.tables.iter().map(Part::plain).collect();
        Ok::<_, ServiceError>(file("tableau", format, page.desk.export_draft(&answer, &parts, format, who)?))
    };
    made.await.unwrap_or_else(|error| refused(visit.lang, &error))
}

/// A table put forward.
#[derive(Debug, Deserialize)]
pub(super) struct Forward {
    csrf: String,
    q: String,
    motif: String,
}

/// `POST /publications`.
pub(super) async fn publish(State(page): State<Arc<Page>>, visit: Visit, Form(forward): Form<Forward>) -> Response {
    if !visit.confirms(&forward.csrf) {
        return layout::refusal(visit.lang, StatusCode::FORBIDDEN, visit.lang.texts().form_expired);
    }
    let made = async {
        let question = Question::Query(of_address(&forward.q)?);
        page.desk.publish(&question, &forward.motif, &visit.session.visitor.who).await
    };
    match made.await {
        Ok(publication) => Redirect::to(&format!("/publications/{}", publication.id)).into_response(),
        Err(error) => refused(visit.lang, &error),
    }
}
