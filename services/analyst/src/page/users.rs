//! Who has come in, and switching them off and on: for those whom the agreement's side entrusts with it.
//!
//! Others do not learn that the page exists. A switch acts on sessions that are open: each request looks whether its visitor
//! still may, and those of this process end at once.

use std::sync::Arc;

use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use linkage_common::error::ServiceError;
use maud::{Markup, html};
use serde::Deserialize;

use super::Page;
use super::guard::Visit;
use super::journal::refused;
use super::lang::{Lang, fill};
use super::layout::{self, Place};
use crate::export::day;
use crate::users::{Kind, Switch, User, UserId};

fn allowed(visit: &Visit) -> Result<(), ServiceError> {
    if visit.session.visitor.manages { Ok(()) } else { Err(ServiceError::not_found(visit.lang.texts().not_found)) }
}

fn kind(lang: Lang, kind: Kind) -> &'static str {
    let t = lang.texts();
    match kind {
        Kind::Login => t.by_login,
        Kind::Certificate => t.by_certificate,
        Kind::Console => t.by_console,
    }
}

/// `GET /utilisateurs`.
pub(super) async fn list(State(page): State<Arc<Page>>, visit: Visit) -> Response {
    let (lang, t) = (visit.lang, visit.lang.texts());
    let made = async {
        allowed(&visit)?;
        page.seen(&visit, t.users)?;
        page.desk.users().list().await
    };
    let users = match made.await {
        Ok(users) => users,
        Err(error) => return refused(lang, &error),
    };
    let own = UserId::of(&visit.session.visitor.who);
    let content = html! {
        p { (t.users_intro) }
        div.wide tabindex="0" role="group" aria-label=(t.users) {
            table {
                caption { (t.users_caption) }
                thead { tr {
                    th.text scope="col" { (t.user) }
                    th.text scope="col" { (t.way_in) }
                    th.text scope="col" { (t.last_seen) }
                    th scope="col" { (t.logins) }
                    th scope="col" { (t.open_sessions) }
                    th.text scope="col" { (t.state) }
                    th.text scope="col" { (t.switch_column) }
                } }
                tbody { @for (number, user) in users.iter().enumerate() { (row(&page, &visit, number, user, user.id == own)) } }
            }
        }
        p.soft { (t.users_console) }
    };
    layout::page(&page, &visit, Place::Users, t.users, &content)
}

fn row(page: &Page, visit: &Visit, number: usize, user: &User, own: bool) -> Markup {
    let (lang, t) = (visit.lang, visit.lang.texts());
    let called = if user.label.is_empty() { &user.id.name } else { &user.label };
    let field = format!("motif{number}");
    html! {
        tr {
            th.text scope="row" {
                (called)
                @if !user.label.is_empty() { br; span.soft { (user.id.name) } }
            }
            td.text { (kind(lang, user.id.kind)) }
            td.text { @match user.last_seen { Some(at) => (day(at)), None => "–" } }
            td { (lang.count(user.logins)) }
            td { (lang.count(page.sessions.count(&user.id))) }
            td.text {
                span.state { @if user.enabled { (t.user_enabled) } @else { (t.user_disabled) } }
                @if let Some(change) = &user.changed {
                    br; span.soft { (fill(t.switched, &[&day(change.at).to_string(), &change.by])) @if !change.reason.is_empty() { " : " (change.reason) } }
                }
            }
            td.text {
                @if own { span.soft { (t.own_account) } } @else {
                    form method="post" action="/utilisateurs" {
                        input type="hidden" name="csrf" value=(visit.session.csrf);
                        input type="hidden" name="compte" value=(user.id);
                        @if user.enabled {
                            input type="hidden" name="etat" value="desactive";
                            label.hidden for=(field) { (fill(t.reason_for, &[called])) }
                            input id=(field) type="text" name="motif" maxlength="300" required placeholder=(t.justification);
                            " " button type="submit" aria-label=(fill(t.disable_named, &[called])) { (t.disable) }
                        } @else {
                            input type="hidden" name="etat" value="active";
                            button type="submit" aria-label=(fill(t.enable_named, &[called])) { (t.enable) }
                        }
                    }
                }
            }
        }
    }
}

/// A switch, as its form brings it.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    csrf: String,
    compte: String,
    etat: String,
    #[serde(default)]
    motif: String,
}

/// `POST /utilisateurs`.
pub(super) async fn switch(State(page): State<Arc<Page>>, visit: Visit, Form(asked): Form<Asked>) -> Response {
    let (lang, t) = (visit.lang, visit.lang.texts());
    if !visit.confirms(&asked.csrf) {
        return layout::refusal(lang, StatusCode::FORBIDDEN, t.form_expired);
    }
    let made = async {
        allowed(&visit)?;
        let (id, by): (UserId, _) = (asked.compte.parse()?, &visit.session.visitor.who);
        let on = match asked.etat.as_str() {
            "active" => true,
            "desactive" => false,
            _ => return Err(ServiceError::invalid(t.form_expired)),
        };
        // Whoever manages cannot lock out the last one who does by a slip.
        if id == UserId::of(by) {
            return Err(ServiceError::refused(t.own_account));
        }
        page.desk.switch(Switch { id: &id, on, by, reason: &asked.motif, unseen: false }).await?;
        if !on {
            page.sessions.close_of(&id);
        }
        Ok(())
    };
    match made.await {
        Ok(()) => Redirect::to("/utilisateurs").into_response(),
        Err(error) => refused(lang, &error),
    }
}
