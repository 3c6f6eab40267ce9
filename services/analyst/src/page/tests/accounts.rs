//! Switching accounts off and on: who may, at once for sessions that are open, and noted; questions from another site.

use http::StatusCode;
use serde_json::json;

use super::provider::Provider;
use super::site::{Browser, Site};
use super::{ROLE, login};
use crate::access::{Action, Outcome, Who};
use crate::users::UserId;

const USERS: &str = "essai:users";

fn form(csrf: &str, account: &str, more: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("csrf", csrf).append_pair("compte", account);
    form.extend_pairs(more).finish()
}

async fn post(site: &Site, browser: &Browser, path: &str, body: &str) -> (StatusCode, String) {
    let answer = browser.ask("POST", path, &[("origin", &site.origin())], body).await;
    (answer.status, answer.location)
}

#[tokio::test]
async fn who_is_switched_off_is_out_with_the_next_request_and_stays_out() {
    let provider = Provider::start("ES256").await;
    let site = Site::start_with(&provider, |_| {}).await;
    let (plain, _) = login(&site, &provider, |s| {
        (s.claims["sub"], s.claims["preferred_username"]) = (json!("sub-1"), json!("ada"));
        s.claims["roles"] = json!([ROLE]);
    })
    .await;
    let (manager, _) = login(&site, &provider, |s| {
        (s.claims["sub"], s.claims["roles"]) = (json!("sub-2"), json!([ROLE, USERS]));
    })
    .await;

    // Others neither see the page nor reach it.
    let overview = plain.get("/").await;
    assert!(!overview.body.contains("/utilisateurs"));
    assert_eq!(plain.get("/utilisateurs").await.status, StatusCode::NOT_FOUND);
    let (token, off) = (overview.token(), [("etat", "desactive"), ("motif", "départ")]);
    let tried = post(&site, &plain, "/utilisateurs", &form(&token, "login:sub-2", &off)).await;
    assert_eq!(tried.0, StatusCode::NOT_FOUND);

    let list = manager.get("/utilisateurs").await;
    assert_eq!(list.status, StatusCode::OK);
    for shown in ["ada", "sub-1", "sub-2", "Désactiver ada", "href=\"/utilisateurs\""] {
        assert!(list.body.contains(shown), "{shown}");
    }
    let token = list.token();
    let foreign = post(&site, &manager, "/utilisateurs", &form("autre", "login:sub-1", &off)).await;
    assert_eq!(foreign.0, StatusCode::FORBIDDEN, "a form of another session");
    for (account, more, status) in [
        ("login:sub-2", off.as_slice(), StatusCode::FORBIDDEN),
        ("login:sub-9", &off, StatusCode::NOT_FOUND),
        ("sub-1", &off, StatusCode::BAD_REQUEST),
        ("login:sub-1", &off[..1], StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(post(&site, &manager, "/utilisateurs", &form(&token, account, more)).await.0, status, "{account}");
    }
    assert_eq!(plain.get("/").await.status, StatusCode::OK);
    let done = post(&site, &manager, "/utilisateurs", &form(&token, "login:sub-1", &off)).await;
    assert_eq!(done, (StatusCode::SEE_OTHER, "/utilisateurs".to_owned()));
    assert_eq!(plain.get("/").await.location, "/connexion", "its session is gone");
    let (_, again) = login(&site, &provider, |s| s.claims["sub"] = json!("sub-1")).await;
    assert_eq!(again.status, StatusCode::FORBIDDEN);
    assert!(again.body.contains("désactivé") && !again.body.contains(&site.title));
    assert!(manager.get("/utilisateurs").await.body.contains("départ"));

    let on = form(&token, "login:sub-1", &[("etat", "active")]);
    assert_eq!(post(&site, &manager, "/utilisateurs", &on).await.0, StatusCode::SEE_OTHER);
    let (_, back) = login(&site, &provider, |s| s.claims["sub"] = json!("sub-1")).await;
    assert_eq!(back.location, "/");

    let manager = Who::Login("sub-2".to_owned());
    let noted = |action: Action, outcome: Outcome| {
        let lines = site.access();
        lines.iter().filter(|l| l.who == manager && l.action == action && l.outcome == outcome).count()
    };
    assert_eq!((noted(Action::Disable, Outcome::Done), noted(Action::Enable, Outcome::Done)), (1, 1));
    assert!(noted(Action::Disable, Outcome::Refused) >= 1, "an attempt at somebody unknown");
    let ada = Who::Login("sub-1".to_owned());
    assert!(site.access().iter().any(|l| l.who == ada && l.action == Action::Login && l.outcome == Outcome::Refused));
    site.stop().await;
}

#[tokio::test]
async fn a_switch_by_another_process_acts_on_open_sessions() {
    let site = Site::start(|_| {}).await;
    let mut browser = site.browser(Some("etude"));
    browser.follow("/connexion/certificat").await;
    let overview = browser.get("/").await;
    assert_eq!(overview.status, StatusCode::OK);
    assert_eq!(browser.get("/utilisateurs").await.status, StatusCode::NOT_FOUND, "not by a certificate unless it is said");
    let Who::Certificate(uri) = site.who(&browser) else { panic!("a certificate") };
    let id: UserId = format!("certificate:{uri}").parse().unwrap();
    site.switch_off(&id).await;
    let refused = browser.get("/").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.body.contains("désactivé") && !refused.body.contains(&site.title));
    assert_eq!(browser.get("/").await.location, "/connexion");
    assert_eq!(browser.follow("/connexion/certificat").await.status, StatusCode::FORBIDDEN);
    site.stop().await;

    let entrusted = Site::start(|page| page.certificates_manage = true).await;
    let mut browser = entrusted.browser(Some("etude"));
    browser.follow("/connexion/certificat").await;
    assert_eq!(browser.get("/utilisateurs").await.status, StatusCode::OK);
    entrusted.stop().await;
}

#[tokio::test]
async fn another_site_s_page_asks_no_question_through_a_link() {
    let site = Site::start(|_| {}).await;
    let mut browser = site.browser(Some("etude"));
    browser.follow("/connexion/certificat").await;
    let from = |place: &'static str| [("sec-fetch-site", place)];
    for path in ["/requete?q=x", "/tableau/csv?q=x", "/flux?du=2024-01", "/rapports/x", "/recouvrements", "/parcours"] {
        for place in ["cross-site", "same-site"] {
            let answer = browser.ask("GET", path, &from(place), "").await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {place}");
        }
        for place in ["none", "same-origin"] {
            let answer = browser.ask("GET", path, &from(place), "").await;
            assert_ne!(answer.status, StatusCode::FORBIDDEN, "{path} {place}");
        }
    }
    // Where a provider sends browsers back to, and the page that they are sent on to.
    assert_eq!(browser.ask("GET", "/", &from("cross-site"), "").await.status, StatusCode::OK);
    site.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_away_leaves_the_overview_as_it_is() {
    let site = Site::start(|page| page.broker_url = Some("https://localhost:1".to_owned())).await;
    let mut browser = site.browser(Some("etude"));
    browser.follow("/connexion/certificat").await;
    let overview = browser.get("/").await;
    assert_eq!(overview.status, StatusCode::OK);
    assert!(overview.body.contains("Le courtier ne répond pas"), "{}", overview.body);
    site.stop().await;
}
