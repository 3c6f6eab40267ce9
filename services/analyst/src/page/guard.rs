//! What every request passes: host, rate, time limit; and what every answer bears.
//!
//! Threats: a page of another origin that makes the visitor's browser ask (CSRF, framing, DNS rebinding), script planted
//! in a value, answers kept by caches. Hence the policy without script (CSP level 3), `SameSite` cookies, a token in every
//! form, the check of `Host`, and `no-store`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use linkage_agreement::model::AnalystRight;
use linkage_common::error::ErrorKind;

use super::Page;
use super::lang::Lang;
use super::layout;
use super::listen::Peer;
use super::login::{failure, switched_off};
use super::session::{Session, digest};
use crate::access::{Access, Action, Outcome};
use crate::users::UserId;

/// Name of the session's cookie: the prefix binds it to this host and to TLS (RFC 6265bis, section 4.1.3.2).
pub(super) const SESSION_COOKIE: &str = "__Host-session";
/// Name of the cookie that binds a login under way to its browser.
pub(super) const LOGIN_COOKIE: &str = "__Host-connexion";
/// Name of the language's cookie.
pub(super) const LANG_COOKIE: &str = "__Host-langue";
/// Longest work on one request.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// Places at which a question is asked.
const ASKING: [&str; 6] = ["/tableau/", "/requete", "/rapports/", "/flux", "/recouvrements", "/parcours"];

const HEADERS: [(&str, &str); 9] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("strict-transport-security", "max-age=31536000"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
];

/// The value of a cookie.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// A `Set-Cookie` for this host alone; `max_age` in seconds, none for as long as the browser runs.
pub(super) fn set_cookie(name: &str, value: &str, max_age: Option<u32>) -> String {
    let age = max_age.map(|s| format!("; Max-Age={s}")).unwrap_or_default();
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{age}")
}

/// Adds a `Set-Cookie` to an answer.
pub(super) fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

/// The language of a request.
pub(super) fn lang(headers: &HeaderMap) -> Lang {
    cookie(headers, LANG_COOKIE).and_then(Lang::of).unwrap_or_else(|| {
        Lang::preferred(headers.get(header::ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok()).unwrap_or_default())
    })
}

/// The outermost layer.
pub(super) async fn guard(State(page): State<Arc<Page>>, request: Request<Body>, next: Next) -> Response {
    let lang = lang(request.headers());
    let mut response = match refuse(&page, &request) {
        Some(status) => layout::refusal(lang, status, lang.texts().refused_request),
        None => match tokio::time::timeout(REQUEST_LIMIT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => layout::refusal(lang, StatusCode::SERVICE_UNAVAILABLE, lang.texts().too_slow),
        },
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refuse(page: &Page, request: &Request<Body>) -> Option<StatusCode> {
    let Some(peer) = request.extensions().get::<Peer>() else { return Some(StatusCode::INTERNAL_SERVER_ERROR) };
    if !page.rate.take(peer.address.ip(), page.gate.now()) {
        return Some(StatusCode::TOO_MANY_REQUESTS);
    }
    // A name that somebody else's server points at this address must not open the page (DNS rebinding).
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok());
    if host.is_none_or(|host| !host.eq_ignore_ascii_case(&page.host)) {
        return Some(StatusCode::MISDIRECTED_REQUEST);
    }
    // Nor may a page of another site ask questions through a link: each one counts, and stands in the log under the visitor.
    let asks = ASKING.iter().any(|place| request.uri().path().starts_with(place));
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    if asks && matches!(site, Some(b"cross-site" | b"same-site")) {
        return Some(StatusCode::FORBIDDEN);
    }
    // A form of another origin never gets as far as its token.
    let same = |name: &str, value: &str| request.headers().get(name).is_none_or(|v| v.as_bytes() == value.as_bytes());
    if request.method() == Method::POST && (!same("origin", &page.origin) || !same("sec-fetch-site", "same-origin")) {
        return Some(StatusCode::FORBIDDEN);
    }
    None
}

/// A visitor who is logged in: what handlers behind the login take.
pub(super) struct Visit {
    /// Who, and the token of its forms.
    pub(super) session: Session,
    /// Language.
    pub(super) lang: Lang,
    /// Path and query asked for, where the language switch leads back to.
    pub(super) at: String,
}

impl Visit {
    /// Whether a form brought back the session's token.
    pub(super) fn confirms(&self, token: &str) -> bool {
        digest(token) == digest(&self.session.csrf)
    }
}

impl FromRequestParts<Arc<Page>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, page: &Arc<Page>) -> Result<Self, Response> {
        let lang = lang(&parts.headers);
        let certificate = parts.extensions.get::<Peer>().and_then(|p| p.certificate.as_deref());
        let found = cookie(&parts.headers, SESSION_COOKIE).and_then(|c| page.sessions.find(c, certificate, page.gate.now()));
        // The same answer whatever was asked for.
        let Some(session) = found else { return Err(Redirect::to("/connexion").into_response()) };
        if !session.visitor.may(AnalystRight::Cohorts) {
            return Err(layout::refusal(lang, StatusCode::FORBIDDEN, lang.texts().no_access));
        }
        // Looked up for each request, so that a switch acts on sessions that are open.
        if let Err(error) = page.desk.users().admit(&session.visitor.who).await {
            if error.kind == ErrorKind::Refused {
                page.sessions.close_of(&UserId::of(&session.visitor.who));
                let (who, action, outcome) = (&session.visitor.who, Action::View, Outcome::Refused);
                let access = Access { who, action, subject: "page", query: None, publication: None, outcome };
                page.desk.enter(&access).map_err(|error| failure(lang, &error))?;
            }
            return Err(switched_off(lang, &error));
        }
        if let Err(error) = page.gate.in_force() {
            return Err(layout::refusal(lang, StatusCode::FORBIDDEN, &error.message));
        }
        let at = if parts.method == Method::GET { parts.uri.path_and_query().map_or("/", |p| p.as_str()) } else { "/" };
        Ok(Self { session, lang, at: at.to_owned() })
    }
}
