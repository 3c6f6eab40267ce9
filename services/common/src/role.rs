//! Starting a role: listening, health, randomness, and configuration faults as errors.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;

use rand_core::UnwrapErr;
use tonic::service::RoutesBuilder;

use crate::error::ServiceError;
use crate::tls::{self, Limits, ServerTls, TlsFiles};

/// The system's randomness. A system without randomness ends the process: no key may be drawn on it.
pub fn rng() -> UnwrapErr<getrandom::SysRng> {
    UnwrapErr(getrandom::SysRng)
}

impl ServiceError {
    /// A fault of this role's own configuration, shown to its operator and never sent to a peer.
    pub fn configuration(error: impl fmt::Display) -> Self {
        Self::invalid(error.to_string())
    }
}

/// Where and how a role listens, from its configuration.
#[derive(Debug, Clone, Copy)]
pub struct Listening<'c> {
    /// Address.
    pub address: SocketAddr,
    /// Certificate, key, authority.
    pub tls: &'c TlsFiles,
    /// Revocation lists of the authorities, PEM; certificates on them are refused. Read again when the file changes.
    pub crl: Option<&'c Path>,
    /// Limits on connections and requests.
    pub limits: &'c Limits,
}

/// Serves the routes of a role with the gRPC health service beside them, until `shutdown` resolves.
///
/// # Errors
/// An address that cannot be listened on, or TLS files that cannot be used; a server that ends by itself.
pub async fn serve_on(
    listening: Listening<'_>,
    mut routes: RoutesBuilder,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServiceError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    routes.add_service(health);
    let tls = ServerTls::load(listening.tls, listening.crl).map_err(ServiceError::configuration)?;
    tls::watch_dates(listening.tls, listening.crl);
    let address = listening.address;
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|e| ServiceError::configuration(format!("{address} : écoute impossible ({e}) ; le port est-il déjà pris ?")))?;
    tracing::info!(%address, "listening");
    tls::serve_with_limits(listener, tls, routes.routes(), listening.limits, shutdown).await.map_err(ServiceError::internal)
}
