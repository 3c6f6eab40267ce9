//! Starting a role: listening, health, randomness, and configuration faults as errors.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;

use rand_core::UnwrapErr;
use tonic::service::RoutesBuilder;

use crate::error::ServiceError;
use crate::tls::{self, ServerTls, TlsFiles};

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

/// Serves the routes of a role with the gRPC health service beside them, until `shutdown` resolves.
///
/// # Errors
/// An address that cannot be listened on, or TLS files that cannot be used; a server that ends by itself.
pub async fn serve_on(
    listen: SocketAddr,
    files: &TlsFiles,
    mut routes: RoutesBuilder,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServiceError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    routes.add_service(health);
    let tls = ServerTls::load(files, None).map_err(ServiceError::configuration)?;
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .map_err(|e| ServiceError::configuration(format!("{listen} : écoute impossible ({e}) ; le port est-il déjà pris ?")))?;
    tracing::info!(address = %listen, "listening");
    tls::serve(listener, tls, routes.routes(), shutdown).await.map_err(ServiceError::internal)
}
