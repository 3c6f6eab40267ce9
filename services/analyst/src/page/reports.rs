//! The ready-made reports: the list with what each is asked for, and one report with its tables and files.

use std::sync::Arc;

use axum::extract::{Form, Path, Query as Address, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use linkage_agreement::{PartyId, Period};
use linkage_cohort::query::{Condition, Population, When};
use linkage_cohort::reports::{self, Kind, Request};
use linkage_cohort::study::Study;
use linkage_common::error::ServiceError;
use maud::{Markup, html};
use serde::Deserialize;

use super::Page;
use super::build::{months, parties, select};
use super::guard::Visit;
use super::journal::{file, refused};
use super::lang::{Lang, fill};
use super::layout::{self, Place};
use super::login::failure;
use super::table;
use super::views::capital;
use crate::export::Format;
use crate::publish::Question;
use crate::reports::report;

/// What a report is asked for.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    mois: String,
    #[serde(default)]
    partenaire: String,
}

impl Choice {
    fn address(&self, kind: Kind, tail: &str) -> String {
        let pairs = form_urlencoded::Serializer::new(String::new())
            .append_pair("mois", &self.mois)
            .append_pair("partenaire", &self.partenaire)
            .finish();
        format!("/rapports/{}{tail}?{pairs}", kind.as_str())
    }
}

/// What is asked for and the question that it makes.
struct Planned {
    kind: Kind,
    choice: Choice,
    request: Request,
    question: Question,
}

async fn plan(page: &Page, kind: &str, choice: Choice) -> Result<Planned, ServiceError> {
    let unknown = || ServiceError::not_found("ce rapport n'existe pas ; la rubrique « Rapports » donne la liste");
    let kind = Kind::parse(kind).ok_or_else(unknown)?;
    let study = page.study().await?;
    let period: Period = choice
        .mois
        .parse()
        .map_err(|_| ServiceError::invalid("le mois du rapport est vide ou inconnu ; choisissez-le dans la liste"))?;
    let party = Some(choice.partenaire.as_str()).filter(|p| !p.is_empty());
    let party: Option<PartyId> =
        party.map(|p| p.parse().map_err(|_| ServiceError::invalid("ce partenaire est inconnu"))).transpose()?;
    let population = party.map(|party| {
        Population::Record(Condition { party: Some(party), attributes: Default::default(), when: When::Same, period: None })
    });
    let request = Request { report: kind, period, population };
    let report = reports::plan(&request, &study).map_err(|e| ServiceError::invalid(e.to_string()))?;
    let question = Question::Report { title: report.title.clone(), queries: report.queries() };
    Ok(Planned { kind, choice, request, question })
}

fn choosing(page: &Page, lang: Lang, study: &Study, kind: Kind, chosen: &Choice) -> Markup {
    let t = lang.texts();
    let last = study.months.last().map(|m| m.period.to_string()).unwrap_or_default();
    let month = if chosen.mois.is_empty() { &last } else { &chosen.mois };
    let cohort = kind == Kind::ReferenceCohort;
    let none = if cohort { t.choose_party } else { t.all_partners };
    let id = |field: &str| format!("{}-{field}", kind.as_str());
    let month_label =
        if matches!(kind, Kind::QuarterlyActivity | Kind::Annual) { t.any_month_of.to_owned() } else { capital(t.month) };
    html! {
        form method="get" action=(format!("/rapports/{}", kind.as_str())) {
            fieldset { legend lang="fr" { (kind.title()) } div.fields {
                (select(&id("mois"), "mois", &month_label, &months(study), month))
                (select(&id("partenaire"), "partenaire", if cohort { t.cohort_of } else { t.partner }, &parties(page, none), &chosen.partenaire))
                div { button type="submit" { (t.choose) } }
            } }
        }
    }
}

/// `GET /rapports`.
pub(super) async fn list(State(page): State<Arc<Page>>, visit: Visit) -> Response {
    let (lang, t) = (visit.lang, visit.lang.texts());
    let study = match page.study().await {
        Ok(study) => study,
        Err(error) => return failure(lang, &error),
    };
    if let Err(error) = page.seen(&visit, t.reports) {
        return failure(lang, &error);
    }
    let content = html! {
        @if study.months.is_empty() { p { (t.empty) } } @else {
            p { (t.reports_intro) }
            @for kind in Kind::ALL { h2 lang="fr" { (kind.title()) } (choosing(&page, lang, &study, kind, &Choice::default())) }
        }
    };
    layout::page(&page, &visit, Place::Reports, t.reports, &content)
}

/// The report on a cohort, asked for without one: the form again, with what it lacks.
async fn without_cohort(page: &Page, visit: &Visit, choice: &Choice) -> Response {
    let kind = Kind::ReferenceCohort;
    match page.study().await {
        Ok(study) => {
            let content = html! {
                div.notice.warn role="alert" { p { (visit.lang.texts().cohort_without_party) } }
                (choosing(page, visit.lang, &study, kind, choice))
            };
            layout::page(page, visit, Place::Reports, kind.title(), &content)
        }
        Err(error) => failure(visit.lang, &error),
    }
}

/// `GET /rapports/{kind}`.
pub(super) async fn one(
    State(page): State<Arc<Page>>,
    visit: Visit,
    Path(kind): Path<String>,
    Address(choice): Address<Choice>,
) -> Response {
    let (lang, t) = (visit.lang, visit.lang.texts());
    if Kind::parse(&kind) == Some(Kind::ReferenceCohort) && choice.partenaire.is_empty() {
        return without_cohort(&page, &visit, &choice).await;
    }
    let made = async {
        let planned = plan(&page, &kind, choice).await?;
        let made = report(&page.desk, &planned.request, &visit.session.visitor.who).await?;
        Ok::<_, ServiceError>((planned, made, page.study().await?))
    };
    let (planned, report, study) = match made.await {
        Ok(made) => made,
        Err(error) => return refused(lang, &error),
    };
    let content = html! {
        (choosing(&page, lang, &study, planned.kind, &planned.choice))
        p { (t.download) }
        ul.files { @for format in Format::ALL {
            li { a href=(planned.choice.address(planned.kind, &format!("/{}", format.ending()))) { (format.ending().to_uppercase()) } }
        } }
        div lang="fr" { @for section in &report.sections {
            h2 { (section.heading) }
            p { (section.text) }
            @if let Some(name) = &section.absent { div.notice { p { (fill(t.absent_attribute, &[&table::dimension(lang, name)])) } } }
            @for shown in &section.tables { (table::table(lang, shown)) }
        } }
        h2 { (t.publish) }
        form method="post" action=(planned.choice.address(planned.kind, "")) {
            input type="hidden" name="csrf" value=(visit.session.csrf);
            div.field { label for="motif" { (t.justification) } input.long #motif type="text" name="motif" maxlength="2000" required; }
            p { button type="submit" { (t.publish_button) } }
        }
    };
    layout::page(&page, &visit, Place::Reports, &report.title, &content)
}

/// `GET /rapports/{kind}/{format}`.
pub(super) async fn export(
    State(page): State<Arc<Page>>,
    visit: Visit,
    Path((kind, format)): Path<(String, String)>,
    Address(choice): Address<Choice>,
) -> Response {
    let who = &visit.session.visitor.who;
    let made = async {
        let format: Format = format.parse()?;
        let planned = plan(&page, &kind, choice).await?;
        let made = report(&page.desk, &planned.request, who).await?;
        Ok::<_, ServiceError>(file(planned.kind.as_str(), format, made.file(&page.desk, format, who)?))
    };
    made.await.unwrap_or_else(|error| refused(visit.lang, &error))
}

/// A report put forward.
#[derive(Debug, Deserialize)]
pub(super) struct Forward {
    csrf: String,
    motif: String,
}

/// `POST /rapports/{kind}`.
pub(super) async fn publish(
    State(page): State<Arc<Page>>,
    visit: Visit,
    Path(kind): Path<String>,
    Address(choice): Address<Choice>,
    Form(forward): Form<Forward>,
) -> Response {
    if !visit.confirms(&forward.csrf) {
        return layout::refusal(visit.lang, StatusCode::FORBIDDEN, visit.lang.texts().form_expired);
    }
    let made = async {
        let planned = plan(&page, &kind, choice).await?;
        page.desk.publish(&planned.question, &forward.motif, &visit.session.visitor.who).await
    };
    match made.await {
        Ok(publication) => Redirect::to(&format!("/publications/{}", publication.id)).into_response(),
        Err(error) => refused(visit.lang, &error),
    }
}
