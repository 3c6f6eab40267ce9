//! The ways in, over real TLS: certificates of a real authority, and an identity provider that signs with real keys.

mod accounts;
mod provider;
mod refusals;
mod site;

use http::StatusCode;
use linkage_agreement::model::AnalystRight;
use serde_json::json;

use provider::{Provider, Signing};
use site::{Answer, Browser, Site};

const ROLE: &str = "essai:cohorts";

#[tokio::test]
async fn a_stranger_is_sent_to_the_door_and_told_nothing() {
    let site = Site::start(|_| {}).await;
    let browser = site.browser(None);
    for path in ["/", "/requete", "/publications"] {
        let answer = browser.get(path).await;
        assert_eq!((answer.status, answer.location.as_str()), (StatusCode::SEE_OTHER, "/connexion"), "{path}");
        assert_eq!(answer.body, "");
    }
    for path in ["/connexion", "/nulle-part"] {
        let answer = browser.get(path).await;
        for told in [site.title.as_str(), "ccas", "siao", "etude", "convention"] {
            assert!(!answer.body.contains(told), "{path} tells {told}");
        }
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.header("strict-transport-security").starts_with("max-age"));
    }
    assert_eq!(browser.get("/nulle-part").await.status, StatusCode::NOT_FOUND);
    let elsewhere = browser.ask("GET", "/connexion", &[("host", "evil.example")], "").await;
    assert_eq!(elsewhere.status, StatusCode::MISDIRECTED_REQUEST);
    site.stop().await;
}

#[tokio::test]
async fn an_analysts_certificate_opens_and_no_other_does() {
    let site = Site::start(|_| {}).await;
    let mut analyst = site.browser(Some("etude"));
    assert_eq!(analyst.follow("/connexion/certificat").await.location, "/");
    let page = analyst.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains(&site.title));
    // The cookie alone is worth nothing.
    let mut thief = site.browser(None);
    thief.cookies.clone_from(&analyst.cookies);
    assert_eq!(thief.get("/").await.location, "/connexion");
    for other in [Some("autre"), Some("ccas"), None] {
        let answer = site.browser(other).get("/connexion/certificat").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{other:?}");
        assert!(!answer.body.contains(&site.title));
    }
    site.stop().await;
}

#[tokio::test]
async fn forms_need_the_token_of_their_session_and_this_origin() {
    let site = Site::start(|_| {}).await;
    let mut browser = site.browser(Some("etude"));
    browser.follow("/connexion/certificat").await;
    let token = browser.get("/").await.token();
    let origin = site.origin();
    let refused = browser.ask("POST", "/sortie", &[("origin", &origin)], "csrf=autre").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let body = format!("csrf={token}");
    for foreign in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        assert_eq!(browser.ask("POST", "/sortie", &[foreign], &body).await.status, StatusCode::FORBIDDEN, "{foreign:?}");
    }
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    let left = browser.ask("POST", "/sortie", &[("origin", &origin)], &body).await;
    assert_eq!(left.location, "/connexion");
    assert_eq!(browser.get("/").await.location, "/connexion");
    let large = "csrf=".to_owned() + &"a".repeat(200 << 10);
    assert_ne!(browser.ask("POST", "/sortie", &[("origin", &origin)], &large).await.status, StatusCode::OK);
    site.stop().await;
}

#[tokio::test]
async fn the_link_opens_once_and_only_when_it_is_asked_for() {
    let site = Site::start(|page| page.local_link = true).await;
    let link = site.link.clone().unwrap();
    let path = link.strip_prefix(&site.origin()).unwrap();
    assert_eq!(site.browser(None).get("/entree?jeton=faux").await.status, StatusCode::FORBIDDEN);
    let mut first = site.browser(None);
    assert_eq!(first.follow(path).await.location, "/");
    assert_eq!(first.get("/").await.status, StatusCode::OK);
    assert_eq!(site.browser(None).get(path).await.status, StatusCode::FORBIDDEN);
    site.stop().await;
    let closed = Site::start(|_| {}).await;
    assert_eq!(closed.link, None);
    assert_eq!(closed.browser(None).get("/entree?jeton=").await.status, StatusCode::FORBIDDEN);
    closed.stop().await;
}

#[tokio::test]
async fn languages_follow_the_browser_and_the_switch_leads_nowhere_else() {
    let site = Site::start(|_| {}).await;
    let mut browser = site.browser(None);
    assert!(browser.get("/connexion").await.body.contains("lang=\"fr\""));
    let english = browser.ask("GET", "/connexion", &[("accept-language", "en-GB")], "").await;
    assert!(english.body.contains("lang=\"en\"") && english.body.contains("Log in"));
    for (back, to) in
        [("/connexion", "/connexion"), ("//evil.example", "/"), ("https://evil.example", "/"), ("/%5Cevil.example", "/")]
    {
        assert_eq!(browser.get(&format!("/langue/en?retour={back}")).await.location, to, "{back}");
    }
    browser.follow("/langue/en?retour=/connexion").await;
    assert!(browser.get("/connexion").await.body.contains("lang=\"en\""));
    site.stop().await;
}

/// Logs in at `provider` with the claims that `change` makes of good ones.
async fn login(site: &Site, provider: &Provider, change: impl FnOnce(&mut Signing)) -> (Browser, Answer) {
    let mut browser = site.browser(None);
    let away = browser.follow("/connexion/fournisseur").await;
    let back = provider.sign_in(&away.location, change);
    let path = back.strip_prefix(&site.origin()).unwrap().to_owned();
    let answer = browser.follow(&path).await;
    (browser, answer)
}

#[tokio::test]
async fn a_person_of_the_provider_gets_the_rights_of_the_role_and_no_more() {
    for algorithm in ["RS256", "ES256"] {
        let provider = Provider::start(algorithm).await;
        let site = Site::start_with(&provider, |_| {}).await;
        let (browser, answer) = login(&site, &provider, |s| s.claims["roles"] = json!([ROLE])).await;
        assert_eq!(answer.location, "/", "{algorithm}: {}", answer.body);
        assert_eq!(browser.get("/").await.status, StatusCode::OK);
        assert_eq!(site.rights(&browser), [AnalystRight::Cohorts]);
        let (browser, _) = login(&site, &provider, |s| s.claims["roles"] = json!([ROLE, "essai:row-level", "admin"])).await;
        // The agreement's own rights are the bound.
        let given = site.given();
        assert!(site.rights(&browser).iter().all(|right| given.contains(right)));
        site.stop().await;
    }
}

#[tokio::test]
async fn tokens_that_are_not_good_are_refused_without_a_figure() {
    let provider = Provider::start("ES256").await;
    let site = Site::start_with(&provider, |_| {}).await;
    let now = provider.now();
    type Change = Box<dyn FnOnce(&mut Signing)>;
    let bad: Vec<(&str, Change)> = vec![
        ("expired", Box::new(move |s| s.claims["exp"] = json!(now - 120))),
        ("not yet valid", Box::new(move |s| s.claims["nbf"] = json!(now + 600))),
        ("without an end", Box::new(|s| drop(s.claims.as_object_mut().unwrap().remove("exp")))),
        ("wrong audience", Box::new(|s| s.claims["aud"] = json!("autre-application"))),
        (
            "for several, asked by another",
            Box::new(|s| {
                s.claims["aud"] = json!(["page", "autre"]);
                s.claims["azp"] = json!("autre");
            }),
        ),
        ("wrong issuer", Box::new(|s| s.claims["iss"] = json!("https://evil.example"))),
        ("another login's nonce", Box::new(|s| s.claims["nonce"] = json!("autre"))),
        ("unsigned", Box::new(|s| s.algorithm = Some("none"))),
        ("signed with the public key as a secret", Box::new(|s| s.algorithm = Some("HS256"))),
        ("by an unknown key", Box::new(|s| s.kid = Some("inconnue"))),
        ("by another key of the same name", Box::new(|s| s.stranger = true)),
        ("without a subject", Box::new(|s| drop(s.claims.as_object_mut().unwrap().remove("sub")))),
        ("of another agreement", Box::new(|s| s.claims["roles"] = json!(["autre:cohorts", "autre:row-level"]))),
        ("without roles", Box::new(|s| drop(s.claims.as_object_mut().unwrap().remove("roles")))),
        ("not entitled: row-level without cohorts", Box::new(|s| s.claims["roles"] = json!(["essai:row-level"]))),
    ];
    for (what, change) in bad {
        let (browser, answer) = login(&site, &provider, change).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}");
        for told in [site.title.as_str(), "ccas", "siao"] {
            assert!(!answer.body.contains(told), "{what}: {told}");
        }
        assert_eq!(browser.get("/").await.location, "/connexion", "{what}");
    }
    // Not vacuous: the same login, unchanged, opens.
    let (_, good) = login(&site, &provider, |_| {}).await;
    assert_eq!(good.location, "/");
    site.stop().await;
}

#[tokio::test]
async fn an_answer_belongs_to_one_login_of_one_browser() {
    let provider = Provider::start("ES256").await;
    let site = Site::start_with(&provider, |_| {}).await;
    let mut browser = site.browser(None);
    let away = browser.follow("/connexion/fournisseur").await;
    let back = provider.sign_in(&away.location, |_| {});
    let path = back.strip_prefix(&site.origin()).unwrap().to_owned();
    let other = site.browser(None).get(&path).await;
    assert_eq!(other.status, StatusCode::FORBIDDEN, "another browser");
    assert_eq!(browser.get(&path).await.status, StatusCode::FORBIDDEN, "a state serves once");
    assert_eq!(browser.get("/connexion/retour?state=x&code=y").await.status, StatusCode::FORBIDDEN);
    // The provider checks the verifier against the challenge: a code alone is worth nothing elsewhere.
    assert!(provider.verified() == 0);
    site.stop().await;
}

#[tokio::test]
async fn a_provider_may_change_its_key_and_may_be_away() {
    let provider = Provider::start("ES256").await;
    let site = Site::start_with(&provider, |_| {}).await;
    assert_eq!(login(&site, &provider, |_| {}).await.1.location, "/");
    provider.change_key();
    // Asked again for an unknown key no more often than every half minute.
    assert_eq!(login(&site, &provider, |_| {}).await.1.status, StatusCode::FORBIDDEN);
    site.advance(31);
    provider.advance(31);
    assert_eq!(login(&site, &provider, |_| {}).await.1.location, "/");
    provider.stop();
    site.advance(3601);
    let away = site.browser(None).get("/connexion/fournisseur").await;
    assert_eq!(away.status, StatusCode::BAD_GATEWAY);
    site.stop().await;
}
