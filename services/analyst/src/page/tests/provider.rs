//! An identity provider: discovery, keys, authorization and token endpoints over TLS, tokens signed with real keys.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Form, State};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use http::StatusCode;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use linkage_common::authority::{DevAuthority, Validity};
use linkage_common::clock::{Clock as _, SystemClock};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

/// A token about to be signed.
pub(super) struct Signing {
    pub(super) claims: Value,
    pub(super) algorithm: Option<&'static str>,
    pub(super) kid: Option<&'static str>,
    pub(super) stranger: bool,
}

struct Key {
    kid: String,
    pair: rcgen::KeyPair,
}

struct Inner {
    algorithm: Algorithm,
    address: SocketAddr,
    key: Mutex<Key>,
    codes: Mutex<HashMap<String, (String, String)>>,
    now: Mutex<i64>,
    verified: Mutex<u32>,
}

pub(super) struct Provider {
    inner: Arc<Inner>,
    task: tokio::task::JoinHandle<()>,
    /// Authority of its TLS certificate, PEM.
    pub(super) ca: String,
}

fn key(algorithm: Algorithm, kid: &str) -> Key {
    let pair = match algorithm {
        Algorithm::RS256 => rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap(),
        _ => rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap(),
    };
    Key { kid: kid.to_owned(), pair }
}

/// Reads one DER element: its content and what follows.
fn der(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (len, at) = match bytes[1] {
        n if n < 0x80 => (usize::from(n), 2),
        n => {
            let more = usize::from(n & 0x7f);
            (bytes[2..2 + more].iter().fold(0, |len, b| len << 8 | usize::from(*b)), 2 + more)
        }
    };
    (&bytes[at..at + len], &bytes[at + len..])
}

fn jwk(algorithm: Algorithm, key: &Key) -> Value {
    use rcgen::PublicKeyData as _;
    let raw = key.pair.der_bytes();
    if algorithm == Algorithm::RS256 {
        // RSAPublicKey (RFC 8017, appendix A.1.1): modulus, exponent.
        let (content, _) = der(raw);
        let (n, rest) = der(content);
        let (e, _) = der(rest);
        json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": key.kid, "n": B64.encode(&n[1..]), "e": B64.encode(e) })
    } else {
        let (x, y) = raw[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": key.kid, "x": B64.encode(x), "y": B64.encode(y) })
    }
}

impl Inner {
    fn issuer(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
    fn sign(&self, signing: &Signing) -> String {
        let held = self.key.lock().unwrap();
        let other = key(self.algorithm, "autre");
        let pair = if signing.stranger { &other.pair } else { &held.pair };
        let kid = signing.kid.unwrap_or(&held.kid).to_owned();
        let part = |value: &Value| B64.encode(value.to_string());
        match signing.algorithm {
            Some("none") => format!("{}.{}.", part(&json!({ "alg": "none", "typ": "JWT" })), part(&signing.claims)),
            Some("HS256") => {
                use rcgen::PublicKeyData as _;
                let header = Header { kid: Some(kid), ..Header::new(Algorithm::HS256) };
                encode(&header, &signing.claims, &EncodingKey::from_secret(pair.der_bytes())).unwrap()
            }
            _ => {
                let header = Header { kid: Some(kid), ..Header::new(self.algorithm) };
                let der = pair.serialize_der();
                let key = match self.algorithm {
                    Algorithm::RS256 => EncodingKey::from_rsa_der(&rsa_private(&der)),
                    _ => EncodingKey::from_ec_der(&der),
                };
                encode(&header, &signing.claims, &key).unwrap()
            }
        }
    }
}

/// RSAPrivateKey out of PKCS #8 (RFC 5208): version, algorithm, octets.
fn rsa_private(pkcs8: &[u8]) -> Vec<u8> {
    let (content, _) = der(pkcs8);
    let (_, rest) = der(content);
    let (_, rest) = der(rest);
    der(rest).0.to_vec()
}

fn answer(status: StatusCode, value: &Value) -> Response {
    Response::builder().status(status).header("content-type", "application/json").body(Body::from(value.to_string())).unwrap()
}

async fn token(State(inner): State<Arc<Inner>>, Form(form): Form<HashMap<String, String>>) -> Response {
    let known = inner.codes.lock().unwrap().remove(&form["code"]);
    let Some((challenge, token)) = known else { return answer(StatusCode::BAD_REQUEST, &json!({})) };
    let right = form["grant_type"] == "authorization_code"
        && form["client_id"] == "page"
        && form["redirect_uri"].ends_with("/connexion/retour")
        && B64.encode(Sha256::digest(form["code_verifier"].as_bytes())) == challenge;
    if !right {
        return answer(StatusCode::BAD_REQUEST, &json!({ "error": "invalid_grant" }));
    }
    *inner.verified.lock().unwrap() += 1;
    answer(StatusCode::OK, &json!({ "id_token": token, "token_type": "Bearer", "access_token": "x" }))
}

impl Provider {
    pub(super) async fn start(algorithm: &str) -> Self {
        let algorithm = algorithm.parse().unwrap();
        let authority = DevAuthority::create("Fournisseur d'essai", SystemClock.now()).unwrap();
        let (certificate, private) = authority.issue_local_server(Validity::days(SystemClock.now(), 1)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inner = Arc::new(Inner {
            algorithm,
            address: listener.local_addr().unwrap(),
            key: Mutex::new(key(algorithm, "k1")),
            codes: Mutex::default(),
            now: Mutex::new(super::site::NOW.parse::<jiff::Timestamp>().unwrap().as_second()),
            verified: Mutex::default(),
        });
        let router = Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(async |State(inner): State<Arc<Inner>>| {
                    let issuer = inner.issuer();
                    answer(
                        StatusCode::OK,
                        &json!({
                            "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
                            "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys")
                        }),
                    )
                }),
            )
            .route(
                "/keys",
                get(async |State(inner): State<Arc<Inner>>| {
                    answer(StatusCode::OK, &json!({ "keys": [jwk(inner.algorithm, &inner.key.lock().unwrap())] }))
                }),
            )
            .route("/token", post(token))
            .with_state(inner.clone());
        let chain = vec![rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let private = PrivatePkcs8KeyDer::from_pem_slice(private.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, private.into())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, router) = (acceptor.clone(), router.clone());
                tokio::spawn(async move {
                    let Ok(io) = acceptor.accept(socket).await else { return };
                    let service = hyper_util::service::TowerToHyperService::new(router);
                    let io = hyper_util::rt::TokioIo::new(io);
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                });
            }
        });
        Self { inner, task, ca: authority.certificate_pem().to_owned() }
    }

    pub(super) fn issuer(&self) -> String {
        self.inner.issuer()
    }
    pub(super) fn now(&self) -> i64 {
        *self.inner.now.lock().unwrap()
    }
    pub(super) fn advance(&self, seconds: i64) {
        *self.inner.now.lock().unwrap() += seconds;
    }
    pub(super) fn verified(&self) -> u32 {
        *self.inner.verified.lock().unwrap()
    }
    pub(super) fn change_key(&self) {
        *self.inner.key.lock().unwrap() = key(self.inner.algorithm, "k2");
    }
    pub(super) fn stop(&self) {
        self.task.abort();
    }

    /// What the authorization endpoint does once a person has logged in there: the address that the browser is sent to.
    pub(super) fn sign_in(&self, url: &str, change: impl FnOnce(&mut Signing)) -> String {
        let (endpoint, query) = url.split_once('?').unwrap();
        assert_eq!(endpoint, format!("{}/authorize", self.issuer()));
        let asked: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert_eq!([&asked["response_type"], &asked["code_challenge_method"], &asked["scope"]], ["code", "S256", "openid"]);
        let now = self.now();
        let claims = json!({
            "iss": self.issuer(), "aud": asked["client_id"], "sub": "personne-7", "nonce": asked["nonce"],
            "iat": now, "exp": now + 300, "roles": ["essai:cohorts"]
        });
        let mut signing = Signing { claims, algorithm: None, kid: None, stranger: false };
        change(&mut signing);
        let code = format!("code-{}", asked["state"]);
        let token = self.inner.sign(&signing);
        self.inner.codes.lock().unwrap().insert(code.clone(), (asked["code_challenge"].clone(), token));
        format!("{}?state={}&code={code}", asked["redirect_uri"], asked["state"])
    }
}
