//! Whether an ID token is good (OpenID Connect Core 1.0, section 3.1.3.7).
//!
//! Signature by a key of the issuer's set, with RS256 or ES256 and nothing else; issuer, audience, times, nonce. Time is
//! the role's clock, so `jsonwebtoken` is told not to look at the machine's.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

/// Seconds by which the issuer's clock may differ.
const LEEWAY_S: i64 = 30;

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It is none, or its header or a claim cannot be read.
    #[error("malformed")]
    Malformed,
    /// Signed otherwise than by RS256 or ES256, or not at all.
    #[error("algorithm not accepted")]
    Algorithm,
    /// By a key that the issuer does not publish.
    #[error("unknown key")]
    UnknownKey,
    /// The signature is not that key's.
    #[error("wrong signature")]
    Signature,
    /// Of another issuer.
    #[error("wrong issuer")]
    Issuer,
    /// For somebody else.
    #[error("wrong audience")]
    Audience,
    /// No longer valid.
    #[error("expired")]
    Expired,
    /// Not valid yet.
    #[error("not valid yet")]
    NotYet,
    /// Of another login.
    #[error("wrong nonce")]
    Nonce,
}

/// What a token must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'e> {
    /// The issuer.
    pub issuer: &'e str,
    /// What `aud` must hold.
    pub audience: &'e str,
    /// What `azp` must be where it is given.
    pub client_id: &'e str,
    /// The nonce of this login.
    pub nonce: &'e str,
    /// Seconds since 1970.
    pub now: i64,
}

/// The claims of a good token.
///
/// # Errors
/// The first fault found.
pub fn check(token: &str, keys: &JwkSet, expected: Expected<'_>) -> Result<Map<String, Value>, TokenFault> {
    let header = decode_header(token).map_err(|_| TokenFault::Malformed)?;
    if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) {
        return Err(TokenFault::Algorithm);
    }
    let key = key(keys, header.kid.as_deref())?;
    let key = DecodingKey::from_jwk(key).map_err(|_| TokenFault::UnknownKey)?;
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.audience]);
    validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
    validation.validate_exp = false;
    let claims = decode::<Map<String, Value>>(token, &key, &validation).map_err(|e| match e.kind() {
        ErrorKind::InvalidSignature => TokenFault::Signature,
        ErrorKind::InvalidIssuer => TokenFault::Issuer,
        ErrorKind::InvalidAudience => TokenFault::Audience,
        ErrorKind::InvalidAlgorithm => TokenFault::Algorithm,
        _ => TokenFault::Malformed,
    })?;
    let claims = claims.claims;
    times(&claims, expected.now)?;
    // A token for several must say for whom it was asked.
    let several = claims.get("aud").and_then(Value::as_array).is_some_and(|aud| aud.len() > 1);
    match claims.get("azp").map(Value::as_str) {
        Some(azp) if azp != Some(expected.client_id) => return Err(TokenFault::Audience),
        None if several => return Err(TokenFault::Audience),
        _ => {}
    }
    if claims.get("nonce").and_then(Value::as_str) != Some(expected.nonce) {
        return Err(TokenFault::Nonce);
    }
    Ok(claims)
}

fn key<'k>(keys: &'k JwkSet, kid: Option<&str>) -> Result<&'k Jwk, TokenFault> {
    let mut signing =
        keys.keys.iter().filter(|k| !matches!(k.common.public_key_use, Some(PublicKeyUse::Encryption)) && k.is_supported());
    match kid {
        Some(kid) => signing.find(|k| k.common.key_id.as_deref() == Some(kid)).ok_or(TokenFault::UnknownKey),
        // Without a name, only where there is no choice.
        None => match (signing.next(), signing.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(TokenFault::UnknownKey),
        },
    }
}

fn times(claims: &Map<String, Value>, now: i64) -> Result<(), TokenFault> {
    let at = |name: &str| claims.get(name).map(|v| v.as_i64().or_else(|| v.as_f64().map(|f| f as i64)));
    match at("exp") {
        Some(Some(exp)) if now < exp.saturating_add(LEEWAY_S) => {}
        Some(Some(_)) => return Err(TokenFault::Expired),
        _ => return Err(TokenFault::Malformed),
    }
    for name in ["nbf", "iat"] {
        match at(name) {
            Some(Some(from)) if now < from.saturating_sub(LEEWAY_S) => return Err(TokenFault::NotYet),
            Some(None) => return Err(TokenFault::Malformed),
            _ => {}
        }
    }
    Ok(())
}

/// The strings at a claim; dots lead into objects, and one string may hold several names between spaces.
pub fn names_at(claims: &Map<String, Value>, path: &str) -> Vec<String> {
    // A claim may bear dots in its own name (`https://example.org/roles`).
    let mut found = claims.get(path);
    if found.is_none() {
        let mut steps = path.split('.');
        found = steps.next().and_then(|first| claims.get(first));
        for step in steps {
            found = found.and_then(|value| value.get(step));
        }
    }
    match found {
        Some(Value::String(names)) => names.split_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_found_where_providers_put_them() {
        let claims = serde_json::json!({
            "roles": ["a", 3, "b"], "scope": "x y", "realm_access": { "roles": ["k"] }, "https://e.org/roles": ["h"]
        });
        let claims = claims.as_object().unwrap();
        assert_eq!(names_at(claims, "roles"), ["a", "b"]);
        assert_eq!(names_at(claims, "scope"), ["x", "y"]);
        assert_eq!(names_at(claims, "realm_access.roles"), ["k"]);
        assert_eq!(names_at(claims, "https://e.org/roles"), ["h"]);
        assert_eq!(names_at(claims, "nothing.there"), Vec::<String>::new());
    }
}
