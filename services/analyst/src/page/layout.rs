//! The frame of every page: landmarks, skip link, navigation, language, leaving.

use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;
use linkage_agreement::model::AnalystRight;
use maud::{DOCTYPE, Markup, html};

use super::Page;
use super::guard::Visit;
use super::lang::Lang;

/// Places of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Overview,
    Flows,
    Overlaps,
    Paths,
    Query,
    Reports,
    Publications,
    Data,
    Users,
}

const PLACES: [(Place, &str); 9] = [
    (Place::Overview, "/"),
    (Place::Flows, "/flux"),
    (Place::Overlaps, "/recouvrements"),
    (Place::Paths, "/parcours"),
    (Place::Query, "/requete"),
    (Place::Reports, "/rapports"),
    (Place::Publications, "/publications"),
    (Place::Data, "/donnees"),
    (Place::Users, "/utilisateurs"),
];

fn name(lang: Lang, place: Place) -> &'static str {
    let t = lang.texts();
    match place {
        Place::Overview => t.overview,
        Place::Flows => t.flows,
        Place::Overlaps => t.overlaps,
        Place::Paths => t.paths,
        Place::Query => t.query,
        Place::Reports => t.reports,
        Place::Publications => t.publications,
        Place::Data => t.data,
        Place::Users => t.users,
    }
}

fn other(lang: Lang) -> (Lang, &'static str) {
    match lang {
        Lang::Fr => (Lang::En, "English"),
        Lang::En => (Lang::Fr, "Français"),
    }
}

fn document(lang: Lang, title: &str, header: &Markup, content: &Markup) -> Markup {
    let t = lang.texts();
    html! {
        (DOCTYPE)
        html lang=(lang.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) " – Trait d’union" }
                link rel="stylesheet" href="/style.css";
                link rel="icon" href="/icone.svg" type="image/svg+xml";
            }
            body {
                a.skip href="#contenu" { (t.skip) }
                (header)
                main #contenu tabindex="-1" { (content) }
                footer { p { (t.footer) } }
            }
        }
    }
}

fn switch(lang: Lang, at: &str) -> Markup {
    let (to, name) = other(lang);
    let back: String = form_urlencoded::byte_serialize(at.as_bytes()).collect();
    html! { a href=(format!("/langue/{}?retour={back}", to.code())) lang=(to.code()) hreflang=(to.code()) { (name) } }
}

/// A page for a visitor who is logged in.
pub(super) fn page(page: &Page, visit: &Visit, place: Place, title: &str, content: &Markup) -> Response {
    let (lang, t) = (visit.lang, visit.lang.texts());
    let visitor = &visit.session.visitor;
    let shown = |place| match place {
        Place::Data => visitor.may(AnalystRight::RowLevel),
        Place::Users => visitor.manages,
        _ => true,
    };
    let header = html! {
        header.top {
            div.brand { a href="/" { "Trait d’union" } " " span.soft { (page.gate.agreement().agreement.title) } }
            div.who {
                span.soft title=(t.you_are) { (visitor.who) }
                (switch(lang, &visit.at))
                form method="post" action="/sortie" {
                    input type="hidden" name="csrf" value=(visit.session.csrf);
                    button.plain type="submit" { (t.leave) }
                }
            }
        }
        nav.places aria-label=(t.navigation) { ul {
            @for (p, href) in PLACES {
                @if shown(p) {
                    li { a href=(href) aria-current=[(p == place).then_some("page")] { (name(lang, p)) } }
                }
            }
        } }
    };
    let content = html! { h1 { (title) } (content) };
    Html(document(lang, title, &header, &content).into_string()).into_response()
}

/// A page for a stranger: it names neither the agreement nor anything in it.
pub(super) fn outside(lang: Lang, status: StatusCode, title: &str, content: &Markup) -> Response {
    let header = html! { header.top { div.brand { span { "Trait d’union" } } div.who { (switch(lang, "/connexion")) } } };
    let content = html! { h1 { (title) } (content) };
    (status, Html(document(lang, title, &header, &content).into_string())).into_response()
}

/// A refusal, in words, without a figure.
pub(super) fn refusal(lang: Lang, status: StatusCode, message: &str) -> Response {
    let t = lang.texts();
    let content =
        html! { div.notice.warn role="alert" { p { (super::views::capital(message)) } } p { a href="/" { (t.back_to_start) } } };
    outside(lang, status, t.refused, &content)
}
