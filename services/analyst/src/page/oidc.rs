//! Login at the organisation's identity provider: OpenID Connect, authorization code with PKCE (RFC 7636, S256).
//!
//! `state`, `nonce` and verifier are drawn for each login, held here and bound to the browser by a cookie; each serves
//! once. The provider's addresses and keys come from its discovery document and are kept for an hour; a key that is not
//! known is looked for again, at most every half minute, so that a provider may change keys and nobody can make this page
//! hammer it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use form_urlencoded::{Serializer, byte_serialize};
use jsonwebtoken::jwk::JwkSet;
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::config::OidcConfig;
use super::https::{Https, HttpsFault};
use super::session::{digest, random_text};
use super::token::{self, Expected, TokenFault};

/// Seconds for which discovery and keys are kept.
const KEEP_S: i64 = 3600;
/// Least seconds between two looks for an unknown key.
const LOOK_AGAIN_S: i64 = 30;
/// Seconds that a person has at the provider.
const LOGIN_S: i64 = 600;
/// Logins under way at a time.
const MOST_LOGINS: usize = 1000;

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginFault {
    /// The answer is of no login under way in this browser.
    #[error("no such login under way")]
    State,
    /// The provider says that the person was not let in.
    #[error("refused by the provider")]
    Denied,
    /// The provider does not answer, or not as it should.
    #[error("provider: {0}")]
    Provider(String),
    /// The token is not good.
    #[error("token: {0}")]
    Token(#[from] TokenFault),
}

impl From<HttpsFault> for LoginFault {
    fn from(fault: HttpsFault) -> Self {
        Self::Provider(fault.to_string())
    }
}

#[derive(Debug, Clone, Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

#[derive(Clone)]
struct Known {
    discovery: Discovery,
    keys: JwkSet,
    fetched: i64,
}

struct Pending {
    nonce: String,
    verifier: String,
    browser: [u8; 32],
    since: i64,
}

/// Where a login begins.
pub(super) struct Start {
    /// Where the browser is sent.
    pub(super) url: String,
    /// The cookie that binds the login to the browser.
    pub(super) cookie: String,
}

/// The query with which the provider sends the browser back.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Return {
    #[serde(default)]
    pub(super) state: String,
    #[serde(default)]
    pub(super) code: Option<String>,
    #[serde(default)]
    pub(super) error: Option<String>,
    /// RFC 9207.
    #[serde(default)]
    pub(super) iss: Option<String>,
}

/// One issuer.
pub(super) struct Oidc {
    config: OidcConfig,
    secret: Option<Zeroizing<String>>,
    redirect: String,
    https: Https,
    known: tokio::sync::Mutex<Option<Arc<Known>>>,
    pending: Mutex<HashMap<[u8; 32], Pending>>,
}

impl Oidc {
    /// Reads what the configuration names; the issuer is asked at the first login.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub(super) fn new(config: &OidcConfig, redirect: String) -> Result<Self, ServiceError> {
        let secret = match &config.client_secret_file {
            Some(path) => {
                let bytes = fsx::read_private(path, 4096).map_err(ServiceError::configuration)?;
                let text = std::str::from_utf8(&bytes)
                    .map_err(|_| ServiceError::configuration(format!("{} : le secret n'est pas un texte", path.display())))?;
                Some(Zeroizing::new(text.trim().to_owned()))
            }
            None => None,
        };
        let https = Https::new(&config.ca)?;
        Ok(Self {
            config: config.clone(),
            secret,
            redirect,
            https,
            known: tokio::sync::Mutex::default(),
            pending: Mutex::default(),
        })
    }

    async fn document<T: for<'d> Deserialize<'d>>(&self, url: &str) -> Result<T, LoginFault> {
        let bytes = self.https.get(url).await?;
        serde_json::from_slice(&bytes).map_err(|e| LoginFault::Provider(format!("{url}: {e}")))
    }

    /// What is known of the issuer, asked anew when it is older than `age` seconds.
    async fn known(&self, age: i64, now: i64) -> Result<Arc<Known>, LoginFault> {
        // Held while asking: many logins at once ask once.
        let mut held = self.known.lock().await;
        if let Some(known) = held.as_ref().filter(|known| now - known.fetched < age) {
            return Ok(known.clone());
        }
        let url = format!("{}/.well-known/openid-configuration", self.config.issuer.trim_end_matches('/'));
        let discovery: Discovery = self.document(&url).await?;
        if discovery.issuer != self.config.issuer {
            return Err(LoginFault::Provider("the discovery document names another issuer".to_owned()));
        }
        let all = [&discovery.authorization_endpoint, &discovery.token_endpoint, &discovery.jwks_uri];
        if all.iter().any(|url| !url.starts_with("https://")) {
            return Err(LoginFault::Provider("the discovery document names an address without TLS".to_owned()));
        }
        let keys = self.document(&discovery.jwks_uri).await?;
        let known = Arc::new(Known { discovery, keys, fetched: now });
        *held = Some(known.clone());
        Ok(known)
    }

    /// Begins a login.
    pub(super) async fn start(&self, now: i64) -> Result<Start, LoginFault> {
        let known = self.known(KEEP_S, now).await?;
        let [state, nonce, verifier, cookie] = [(); 4].map(|()| random_text());
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        let query = Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("scope", "openid")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", &self.redirect)
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .finish();
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|_, p| now - p.since <= LOGIN_S);
        // The oldest makes room: strangers who begin many cannot keep others from beginning one.
        if pending.len() >= MOST_LOGINS
            && let Some(oldest) = pending.iter().min_by_key(|(_, p)| p.since).map(|(key, _)| *key)
        {
            pending.remove(&oldest);
        }
        pending.insert(digest(&state), Pending { nonce, verifier, browser: digest(&cookie), since: now });
        let endpoint = &known.discovery.authorization_endpoint;
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        Ok(Start { url: format!("{endpoint}{joint}{query}"), cookie })
    }

    /// Ends a login: the person's claims.
    pub(super) async fn finish(&self, back: Return, cookie: Option<&str>, now: i64) -> Result<Map<String, Value>, LoginFault> {
        let pending = {
            let mut all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            all.remove(&digest(&back.state)).ok_or(LoginFault::State)?
        };
        if now - pending.since > LOGIN_S || cookie.map(digest) != Some(pending.browser) {
            return Err(LoginFault::State);
        }
        if back.iss.is_some_and(|iss| iss != self.config.issuer) {
            return Err(TokenFault::Issuer.into());
        }
        let code = match (back.error, back.code) {
            (None, Some(code)) => code,
            _ => return Err(LoginFault::Denied),
        };
        let known = self.known(KEEP_S, now).await?;
        let token = self.exchange(&known, &code, &pending.verifier).await?;
        match self.check(&token, &known, &pending.nonce, now) {
            Err(TokenFault::UnknownKey) if now - known.fetched >= LOOK_AGAIN_S => {
                let known = self.known(LOOK_AGAIN_S, now).await?;
                Ok(self.check(&token, &known, &pending.nonce, now)?)
            }
            checked => Ok(checked?),
        }
    }

    fn check(&self, token: &str, known: &Known, nonce: &str, now: i64) -> Result<Map<String, Value>, TokenFault> {
        let audience = self.config.audience.as_deref().unwrap_or(&self.config.client_id);
        let (issuer, client_id) = (self.config.issuer.as_str(), self.config.client_id.as_str());
        token::check(token, &known.keys, Expected { issuer, audience, client_id, nonce, now })
    }

    async fn exchange(&self, known: &Known, code: &str, verifier: &str) -> Result<Zeroizing<String>, LoginFault> {
        #[derive(Deserialize)]
        struct Answer {
            id_token: String,
        }
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect),
            ("code_verifier", verifier),
        ];
        let authorization = match &self.secret {
            // RFC 6749, section 2.3.1: both parts are form-encoded before they are joined.
            Some(secret) => {
                let part = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = Zeroizing::new(format!("{}:{}", part(&self.config.client_id), part(secret)));
                Some(Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
            }
            None => {
                fields.push(("client_id", &self.config.client_id));
                None
            }
        };
        let authorization = authorization.as_ref().map(|a| a.as_str());
        let form = Serializer::new(String::new()).extend_pairs(fields).finish();
        let bytes = self.https.post(&known.discovery.token_endpoint, authorization, form).await?;
        let answer: Answer =
            serde_json::from_slice(&bytes).map_err(|_| LoginFault::Provider("the answer holds no ID token".to_owned()))?;
        Ok(Zeroizing::new(answer.id_token))
    }

    /// The person's subject and roles.
    pub(super) fn person(&self, claims: &Map<String, Value>) -> (String, Vec<String>) {
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned();
        (subject, token::names_at(claims, &self.config.roles_claim))
    }

    /// What the issuer calls the person, for those who manage users: a subject is often a number.
    pub(super) fn label(claims: &Map<String, Value>) -> &str {
        let text = |claim| claims.get(claim).and_then(Value::as_str).filter(|text| !text.is_empty());
        text("preferred_username").or_else(|| text("name")).unwrap_or_default()
    }

    /// Names of the roles that give `cohorts` and `row-level`, and that let manage users.
    pub(super) fn role_names(&self, agreement: &str) -> [String; 3] {
        let name = |given: &Option<String>, right: &str| given.clone().unwrap_or_else(|| format!("{agreement}:{right}"));
        [
            name(&self.config.cohorts_role, "cohorts"),
            name(&self.config.row_level_role, "row-level"),
            name(&self.config.users_role, "users"),
        ]
    }
}
