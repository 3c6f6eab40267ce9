//! Mutual TLS between the roles: who a peer is, is what its certificate's URI says.
//!
//! TLS 1.3 only, aws-lc-rs. Both ends present a certificate of the partners' authority; each certificate
//! names its holder by exactly one URI in the subject alternative name, the agreement says which URI is
//! which role, and DNS names are not looked at: whoever controls a name server gains nothing.
//! tonic's own TLS can neither reload certificates nor read revocation lists, so the acceptor is this
//! module's ([`ServerTls`], [`serve`]). Sessions are never resumed: a resumed session would not see that
//! its certificate has been revoked since.

mod client;
mod dates;
mod files;
mod identity;
mod look;
mod places;
mod retry;
mod server;
mod serving;

pub use client::{ConnectError, Refusal, connect, connect_lazy};
pub use dates::{Dates, FileDates, watch_dates};
pub use files::{TlsFileError, TlsFiles};
pub use identity::{IdentityError, PeerIdentity, uri_of};
pub use look::{Seen, look};
pub use places::{Activity, Place, Places, UnderWay, WhenFull, site};
pub use retry::retry;
pub use server::ServerTls;
pub use serving::{CalledMethod, Limits, ServeError, keep_current, serve, serve_with_limits};

pub use crate::trace::Channel;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// Makes aws-lc-rs the cryptography of every rustls in this process. Safe to call again.
pub fn install_crypto() {
    // An error says that one is installed already, which is what is wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
