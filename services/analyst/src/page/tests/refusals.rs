//! Refused questions: bounded by account, in work and in the access log.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;

use super::provider::Provider;
use super::site::Site;
use super::{ROLE, login};
use crate::access::{Action, Outcome};
use crate::refusals::AT_ONCE;

/// Of the refusal that nothing is looked at any more.
const OFTEN: &str = "questions de ce compte ont été refusées";

#[tokio::test]
async fn an_account_whose_questions_are_refused_too_often_has_to_wait_and_no_other_does() {
    let provider = Provider::start("ES256").await;
    let site = Site::start_with(&provider, |_| {}).await;
    let person = async |subject: &str| {
        let (browser, _) = login(&site, &provider, |s| {
            (s.claims["sub"], s.claims["roles"]) = (subject.into(), serde_json::json!([ROLE]));
        })
        .await;
        browser
    };
    let (wild, calm) = (person("sub-1").await, person("sub-2").await);
    // Of a month that nobody holds.
    let query = r#"{"title":"x","measure":"stock","periods":{"from":"2024-01","to":"2024-01"}}"#;
    let path = format!("/tableau/csv?q={}", URL_SAFE_NO_PAD.encode(query));
    let refused =
        || site.access().into_iter().filter(|l| l.action == Action::Query && l.outcome == Outcome::Refused).count() as u64;
    for n in 0..AT_ONCE {
        let answer = wild.get(&path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{n}: {}", answer.body);
        assert!(!answer.body.contains(OFTEN), "{n}");
    }
    assert_eq!(refused(), AT_ONCE);
    for _ in 0..5 {
        let answer = wild.get(&path).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert!(answer.body.contains(OFTEN), "{}", answer.body);
    }
    assert_eq!(refused(), AT_ONCE, "counted, not entered");
    assert!(!calm.get(&path).await.body.contains(OFTEN));
    assert_eq!(refused(), AT_ONCE + 1);
    // What is no question still opens.
    assert_eq!(wild.get("/publications").await.status, StatusCode::OK);
    site.stop().await;
}
