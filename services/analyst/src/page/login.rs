//! The ways in: a certificate, the identity provider, the one-time link; and the way out.
//!
//! Whatever way, a visitor's rights are at most those that the agreement gives the analyst. A certificate must be an
//! analyst's of this agreement; a person of the provider must bear a role that names this agreement. Nobody else is told
//! more than that this door is closed.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Extension, Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, StatusCode};
use linkage_agreement::RoleId;
use linkage_agreement::model::AnalystRight;
use linkage_common::error::{ErrorKind, ServiceError};
use maud::html;
use serde::Deserialize;

use super::Page;
use super::guard::{self, LANG_COOKIE, LOGIN_COOKIE, SESSION_COOKIE, Visit, set_cookie, with_cookie};
use super::lang::Lang;
use super::layout;
use super::listen::Peer;
use super::oidc::{LoginFault, Oidc, Return};
use super::session::{Entry, Visitor, digest};
use super::token::TokenFault;
use crate::access::{Access, Action, Outcome, Who};

/// The link that opens the page once.
pub(super) struct OneTime(Mutex<Option<[u8; 32]>>);

impl OneTime {
    /// None: no link opens.
    pub(super) fn new(token: Option<&str>) -> Self {
        Self(Mutex::new(token.map(digest)))
    }
    fn take(&self, token: &str) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let good = held.is_some_and(|held| held == digest(token));
        if good {
            *held = None;
        }
        good
    }
}

/// What the agreement gives the analyst whose page this is.
fn rights(page: &Page) -> Vec<AnalystRight> {
    page.gate.agreement().analyst.iter().find(|a| a.id == page.analyst).map(|a| a.may.clone()).unwrap_or_default()
}

/// `GET /connexion`.
pub(super) async fn form(State(page): State<Arc<Page>>, Extension(peer): Extension<Peer>, headers: HeaderMap) -> Response {
    let lang = guard::lang(&headers);
    let t = lang.texts();
    let content = html! {
        p { (t.login_intro) }
        ul.ways {
            @if page.oidc.is_some() { li { a.button href="/connexion/fournisseur" { (t.login_oidc) } } }
            @if page.config.certificates {
                @if peer.certificate.is_some() {
                    li { a.button href="/connexion/certificat" { (t.login_certificate) } }
                } @else {
                    li { p.soft { (t.login_no_certificate) } }
                }
            }
            @if page.config.local_link { li { p.soft { (t.login_link) } } }
        }
    };
    layout::outside(lang, StatusCode::OK, t.login, &content)
}

/// Notes the login and opens the session; `label`: what the issuer calls the visitor.
async fn admit(page: &Page, lang: Lang, visitor: Visitor, label: &str) -> Response {
    let open = visitor.may(AnalystRight::Cohorts);
    if open && let Err(error) = page.desk.users().come_in(&visitor.who, label, page.gate.now()).await {
        let (who, outcome) = (&visitor.who, Outcome::of::<()>(&Err(error.clone())));
        let access = Access { who, action: Action::Login, subject: "page", query: None, publication: None, outcome };
        return match page.desk.enter(&access) {
            Ok(()) => switched_off(lang, &error),
            Err(error) => failure(lang, &error),
        };
    }
    let outcome = if open { Outcome::Done } else { Outcome::Refused };
    let access = Access { who: &visitor.who, action: Action::Login, subject: "page", query: None, publication: None, outcome };
    if let Err(error) = page.desk.enter(&access) {
        return failure(lang, &error);
    }
    if !open {
        return layout::refusal(lang, StatusCode::FORBIDDEN, lang.texts().no_access);
    }
    let cookie = page.sessions.open(visitor, page.gate.now());
    with_cookie(Redirect::to("/").into_response(), &set_cookie(SESSION_COOKIE, &cookie, None))
}

/// What one who is switched off is told; or what kept this side from looking.
pub(super) fn switched_off(lang: Lang, error: &ServiceError) -> Response {
    match error.kind {
        ErrorKind::Refused => layout::refusal(lang, StatusCode::FORBIDDEN, lang.texts().switched_off),
        _ => failure(lang, error),
    }
}

/// A fault of this side, in words.
pub(super) fn failure(lang: Lang, error: &ServiceError) -> Response {
    layout::refusal(lang, StatusCode::INTERNAL_SERVER_ERROR, &error.message)
}

fn closed(page: &Page, peer: &Peer, lang: Lang) -> Option<Response> {
    let slow = !page.login_rate.take(peer.address.ip(), page.gate.now());
    slow.then(|| layout::refusal(lang, StatusCode::TOO_MANY_REQUESTS, lang.texts().too_many_logins))
}

/// `GET /connexion/certificat`.
pub(super) async fn certificate(State(page): State<Arc<Page>>, Extension(peer): Extension<Peer>, headers: HeaderMap) -> Response {
    let lang = guard::lang(&headers);
    if let Some(refused) = closed(&page, &peer, lang) {
        return refused;
    }
    let refused = || layout::refusal(lang, StatusCode::FORBIDDEN, lang.texts().no_access);
    let Some(uri) = peer.certificate.filter(|_| page.config.certificates) else { return refused() };
    let Some(RoleId::Analyst(analyst)) = page.gate.signed().role_of(&uri) else {
        tracing::warn!(uri, "page: the agreement names no analyst of this certificate");
        return refused();
    };
    // Pseudonyms, drafts and budget are this analyst's: another one's purpose is another, and it is told nothing.
    if analyst != page.analyst {
        tracing::warn!(uri, "page: the certificate is of another analyst");
        return refused();
    }
    let rights = rights(&page);
    let (who, manages) = (Who::Certificate(uri.clone()), page.config.certificates_manage);
    admit(&page, lang, Visitor { who, analyst, rights, manages, entry: Entry::Certificate(uri) }, "").await
}

/// Query of the one-time link.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Token {
    #[serde(default)]
    jeton: String,
}

/// `GET /entree?jeton=…`.
pub(super) async fn link(
    State(page): State<Arc<Page>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Query(token): Query<Token>,
) -> Response {
    let lang = guard::lang(&headers);
    if let Some(refused) = closed(&page, &peer, lang) {
        return refused;
    }
    if !peer.address.ip().is_loopback() || !page.link.take(&token.jeton) {
        return layout::refusal(lang, StatusCode::FORBIDDEN, lang.texts().link_used);
    }
    let (analyst, who) = (page.analyst.clone(), Who::console());
    let rights = rights(&page);
    // Whoever reads the service's terminal has its command line, too.
    admit(&page, lang, Visitor { who, analyst, rights, manages: true, entry: Entry::Link }, "").await
}

/// `GET /connexion/fournisseur`.
pub(super) async fn provider(State(page): State<Arc<Page>>, Extension(peer): Extension<Peer>, headers: HeaderMap) -> Response {
    let lang = guard::lang(&headers);
    if let Some(refused) = closed(&page, &peer, lang) {
        return refused;
    }
    let Some(oidc) = &page.oidc else { return layout::refusal(lang, StatusCode::NOT_FOUND, lang.texts().not_found) };
    match oidc.start(page.gate.now()).await {
        Ok(start) => with_cookie(Redirect::to(&start.url).into_response(), &set_cookie(LOGIN_COOKIE, &start.cookie, Some(600))),
        Err(fault) => refuse_login(lang, &fault),
    }
}

/// `GET /connexion/retour`: where the provider sends the browser back.
pub(super) async fn back(
    State(page): State<Arc<Page>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Query(back): Query<Return>,
) -> Response {
    let lang = guard::lang(&headers);
    if let Some(refused) = closed(&page, &peer, lang) {
        return refused;
    }
    let Some(oidc) = &page.oidc else { return layout::refusal(lang, StatusCode::NOT_FOUND, lang.texts().not_found) };
    let claims = match oidc.finish(back, guard::cookie(&headers, LOGIN_COOKIE), page.gate.now()).await {
        Ok(claims) => claims,
        Err(fault) => return refuse_login(lang, &fault),
    };
    let (subject, roles) = oidc.person(&claims);
    let [cohorts, rows, users] = oidc.role_names(page.gate.agreement().agreement.id.as_str());
    let borne = |right: &AnalystRight| match right {
        AnalystRight::Cohorts => roles.contains(&cohorts),
        AnalystRight::RowLevel => roles.contains(&rows),
    };
    let rights = rights(&page).into_iter().filter(borne).collect();
    let manages = roles.contains(&users);
    let visitor = Visitor { who: Who::Login(subject), analyst: page.analyst.clone(), rights, manages, entry: Entry::Oidc };
    with_cookie(admit(&page, lang, visitor, Oidc::label(&claims)).await, &set_cookie(LOGIN_COOKIE, "", Some(0)))
}

fn refuse_login(lang: Lang, fault: &LoginFault) -> Response {
    let t = lang.texts();
    tracing::warn!(%fault, "page: login refused");
    let (status, message) = match fault {
        LoginFault::State => (StatusCode::FORBIDDEN, t.login_again),
        LoginFault::Denied => (StatusCode::FORBIDDEN, t.login_denied),
        LoginFault::Provider(_) => (StatusCode::BAD_GATEWAY, t.provider_silent),
        LoginFault::Token(TokenFault::Expired | TokenFault::NotYet) => (StatusCode::FORBIDDEN, t.token_expired),
        LoginFault::Token(TokenFault::Audience) => (StatusCode::FORBIDDEN, t.token_audience),
        LoginFault::Token(_) => (StatusCode::FORBIDDEN, t.token_refused),
    };
    layout::refusal(lang, status, message)
}

/// A form without anything but its token.
#[derive(Debug, Deserialize)]
pub(super) struct Confirm {
    csrf: String,
}

/// `POST /sortie`.
pub(super) async fn leave(
    State(page): State<Arc<Page>>,
    visit: Visit,
    headers: HeaderMap,
    Form(form): Form<Confirm>,
) -> Response {
    if !visit.confirms(&form.csrf) {
        return layout::refusal(visit.lang, StatusCode::FORBIDDEN, visit.lang.texts().form_expired);
    }
    if let Some(cookie) = guard::cookie(&headers, SESSION_COOKIE) {
        page.sessions.close(cookie);
    }
    with_cookie(Redirect::to("/connexion").into_response(), &set_cookie(SESSION_COOKIE, "", Some(0)))
}

/// Query of the language switch.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Back {
    #[serde(default)]
    retour: String,
}

/// `GET /langue/{code}`.
pub(super) async fn language(Path(code): Path<String>, Query(back): Query<Back>) -> Response {
    // Back to a place of this page only: `//host` and `/\host` lead elsewhere.
    let local = back.retour.starts_with('/')
        && !back.retour.starts_with("//")
        && back.retour.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let to = if local { back.retour.as_str() } else { "/" };
    let response = Redirect::to(to).into_response();
    match Lang::of(&code) {
        Some(lang) => with_cookie(response, &set_cookie(LANG_COOKIE, lang.code(), Some(31_536_000))),
        None => response,
    }
}
