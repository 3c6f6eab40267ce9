//! The `[page]` section of the analyst's configuration.
//!
//! Without it there is no page. At least one way in must be set: certificates, an OIDC issuer, or the one-time link that
//! a page on the loopback interface may print.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::Uri;
use linkage_common::error::ServiceError;
use linkage_common::tls::TlsFiles;
use serde::Deserialize;

/// `[page]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Address that browsers use, `https://host` or `https://host:port`; requests that name another host are refused.
    pub public_url: String,
    /// Certificate and key of the web server, and the authority of client certificates. The role's own when absent.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    /// Whether the certificates of the agreement's analysts open the page.
    #[serde(default = "yes")]
    pub certificates: bool,
    /// Whether whoever comes in with the analyst's certificate may switch users off and on.
    #[serde(default)]
    pub certificates_manage: bool,
    /// The broker's address, `https://host:port`: the overview then shows the runs under way with their forecast.
    #[serde(default)]
    pub broker_url: Option<String>,
    /// Prints, at start, a link that opens the page once. On the loopback interface only.
    #[serde(default)]
    pub local_link: bool,
    /// Login at the organisation's identity provider.
    #[serde(default)]
    pub oidc: Option<OidcConfig>,
    /// Minutes without a request after which a session ends.
    #[serde(default = "idle")]
    pub idle_minutes: u32,
    /// Hours after which a session ends in any case.
    #[serde(default = "hours")]
    pub session_hours: u32,
}

/// `[page.oidc]`: OpenID Connect Core 1.0, authorization code flow with PKCE (RFC 7636).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// The issuer, exactly as in its tokens.
    pub issuer: String,
    /// This page's client identifier at the issuer.
    pub client_id: String,
    /// File with the client's secret, private; absent for a public client.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// What `aud` must hold; the client identifier when absent.
    #[serde(default)]
    pub audience: Option<String>,
    /// Authorities that the issuer's TLS certificate may come from, PEM.
    pub ca: PathBuf,
    /// Claim with the person's roles; dots lead into objects (`realm_access.roles`).
    #[serde(default = "roles")]
    pub roles_claim: String,
    /// Role that gives the right `cohorts`; `AGREEMENT:cohorts` when absent.
    #[serde(default)]
    pub cohorts_role: Option<String>,
    /// Role that gives the right `row-level`; `AGREEMENT:row-level` when absent.
    #[serde(default)]
    pub row_level_role: Option<String>,
    /// Role that lets switch users off and on; `AGREEMENT:users` when absent.
    #[serde(default)]
    pub users_role: Option<String>,
}

fn yes() -> bool {
    true
}
fn idle() -> u32 {
    30
}
fn hours() -> u32 {
    8
}
fn roles() -> String {
    "roles".to_owned()
}

impl PageConfig {
    /// Checks what one key alone does not show.
    ///
    /// # Errors
    /// What to correct.
    pub(crate) fn check(&self) -> Result<(), ServiceError> {
        let wrong = |message: &'static str| Err(ServiceError::invalid(message));
        if self.host().is_none() {
            return wrong("[page] public_url : une adresse https://hôte[:port] sans chemin est attendue");
        }
        if self.local_link && !self.listen.ip().is_loopback() {
            return wrong(
                "[page] local_link n'est permis que sur la boucle locale ; corrigez « listen » ou retirez « local_link »",
            );
        }
        if !self.certificates && !self.local_link && self.oidc.is_none() {
            return wrong("[page] : aucun moyen d'entrer ; gardez « certificates », ou ajoutez [page.oidc]");
        }
        if self.idle_minutes == 0 || self.session_hours == 0 {
            return wrong("[page] idle_minutes et session_hours : au moins 1");
        }
        if self.oidc.as_ref().is_some_and(|oidc| !oidc.issuer.starts_with("https://")) {
            return wrong("[page.oidc] issuer : une adresse https:// est attendue");
        }
        Ok(())
    }

    /// Host and port, as browsers name them in `Host`.
    pub(crate) fn host(&self) -> Option<String> {
        let uri: Uri = self.public_url.parse().ok()?;
        let plain = uri.scheme_str() == Some("https") && matches!(uri.path(), "/" | "") && uri.query().is_none();
        let authority = uri.authority().filter(|a| plain && !a.as_str().contains('@'))?;
        // Browsers leave the default port out.
        Some(match authority.port_u16() {
            Some(443) | None => authority.host().to_owned(),
            Some(port) => format!("{}:{port}", authority.host()),
        })
    }

    /// `https://host[:port]`, without a slash at its end.
    pub(crate) fn origin(&self) -> String {
        format!("https://{}", self.host().unwrap_or_default())
    }
}
