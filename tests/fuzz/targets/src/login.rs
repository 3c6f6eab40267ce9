//! Who is at the other end: certificates, requests for them, revocation lists, ID tokens.

use std::path::PathBuf;
use std::sync::LazyLock;

use linkage_analyst::page::token::{Expected, check, names_at};
use linkage_common::authority::Validity;
use linkage_common::authority::office::{self, Office};
use linkage_common::tls::{Dates, uri_of};
use rustls::pki_types::CertificateDer;

use crate::{silent, took};

/// The key that the provider of these tests publishes; tokens that it has signed are seeds.
const KEYS: &str = include_str!("provider.json");
const NOW: i64 = 1_775_012_400;

/// A certificate as a peer presents it (DER), and the same bytes as the text of a certificate or a revocation list.
pub fn certificate(bytes: &[u8]) {
    match uri_of(&CertificateDer::from(bytes)) {
        Ok(uri) => {
            took();
            assert!(!uri.is_empty());
        }
        Err(error) => silent(&error),
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = (Dates::of_pem(text), office::uri_text(text));
    if let Ok(serial) = office::serial_text(text) {
        assert!(serial.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}

/// A request for a certificate (PKCS #10): certified only for the one name that it asks for.
pub fn certificate_request(bytes: &[u8]) {
    static CA: LazyLock<(PathBuf, Office)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().expect("a temporary folder").keep();
        let now = jiff::Timestamp::from_second(NOW).expect("a moment");
        let office = Office::create(&folder, "Essai", now, None).expect("an authority");
        (folder, office)
    });
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let validity = Validity::days(jiff::Timestamp::from_second(NOW).expect("a moment"), 30);
    let uri = "linkage://essai-2026/party/ccas";
    if let Ok(issued) = CA.1.issue_for(text, uri, validity) {
        took();
        assert_eq!(office::uri_text(&issued.certificate).expect("it has one name"), uri);
    }
    assert!(CA.1.issue_for(text, "linkage://essai-2026/broker", validity).is_err(), "no seed asks for the broker's name");
}

/// An ID token: under the provider's keys, and under keys that the first line of the input holds.
pub fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let expected = Expected {
        issuer: "https://connexion.example",
        audience: "linkage",
        client_id: "linkage",
        nonce: "n-0S6_WzA2Mj",
        now: NOW,
    };
    let keys = serde_json::from_str(KEYS).expect("a set of keys");
    let (first, rest) = text.split_once('\n').unwrap_or((text, text));
    if let Ok(claims) = check(rest.trim_end(), &keys, expected) {
        took();
        assert_eq!(claims.get("sub").and_then(|sub| sub.as_str()), Some("sub-1"), "claims that the provider did not sign");
        let _ = (names_at(&claims, "roles"), names_at(&claims, "realm_access.roles"));
    }
    if let Ok(keys) = serde_json::from_str(first) {
        let _ = check(rest.trim_end(), &keys, expected);
    }
}
