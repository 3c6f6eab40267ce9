//! What every role shares: configuration, mutual TLS, authorisation, telemetry, errors, storage seams.
//!
//! Nothing here knows what a name, a filter or a cohort is. The modules are the edges of a process: its
//! files ([`fsx`], [`config`], [`agreement_files`], [`database`], [`store`], [`blob`], [`backup`]), its peers ([`tls`], [`authz`], [`gate`], [`batches`], [`error`]), its signature
//! ([`signer`]), its clock ([`clock`]), its log ([`telemetry`]), and what its operators watch ([`ops`], [`metrics`]). [`authority`] makes certificates for demonstrations and tests.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::disallowed_methods))]

pub mod agreement_files;
pub mod attributes;
pub mod audit;
pub mod authority;
pub mod authz;
pub mod backup;
pub mod batches;
pub mod blob;
pub mod clock;
pub mod config;
pub mod database;
pub mod deletion;
pub mod error;
pub mod fsx;
pub mod gate;
pub mod metrics;
pub mod objects;
pub mod ops;
pub mod order;
pub mod rate;
pub mod receipt;
pub mod retention;
pub mod role;
pub mod schema;
pub mod signer;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod trace;

pub use agreement_files::{AgreementFileError, AgreementFiles};
pub use clock::{Clock, MockClock, PeerClocks, SystemClock};
pub use error::{ErrorKind, ServiceError};
pub use role::rng;
pub use tls::{PeerIdentity, TlsFiles};
