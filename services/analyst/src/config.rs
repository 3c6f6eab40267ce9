//! The analyst's configuration file.

use std::net::SocketAddr;
use std::path::PathBuf;

use linkage_agreement::PartyId;
use linkage_common::AgreementFiles;
use linkage_common::audit::AuditConfig;
use linkage_common::config::SecretSource;
use linkage_common::database::{DatabaseConfig, Place};
use linkage_common::error::ServiceError;
use linkage_common::ops::OpsConfig;
use linkage_common::tls::{Limits, TlsFiles};
use serde::Deserialize;

use crate::page::config::PageConfig;

/// `analyst.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnalystConfig {
    /// Which of the agreement's analysts this is.
    pub analyst: PartyId,
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Folder of the link tables; created when missing, readable by the service only.
    pub data_dir: PathBuf,
    /// The custodian's address, `https://host:port`.
    pub custodian_url: String,
    /// PostgreSQL server that keeps the database; without it, a SQLite file in `data_dir` does.
    #[serde(default)]
    pub database: Option<DatabaseConfig>,
    /// The signed agreement.
    pub agreement: AgreementFiles,
    /// The audit log; in a folder of its own beside the data without this section.
    #[serde(default)]
    pub audit: AuditConfig,
    /// Certificate, key, authority.
    pub tls: TlsFiles,
    /// Revocation lists of the authorities, PEM; read again when the file changes. Without it no certificate counts as revoked.
    #[serde(default)]
    pub crl: Option<PathBuf>,
    /// Limits on connections and requests; each has a default.
    #[serde(default)]
    pub limits: Limits,
    /// The listener of probes and metrics; none without this section.
    #[serde(default)]
    pub ops: Option<OpsConfig>,
    /// The page for browsers; none without this section.
    #[serde(default)]
    pub page: Option<PageConfig>,
    /// Key that attributes are sealed to (32 bytes, base64).
    pub sealing_key: SecretSource,
    /// The analyst's half of the pseudonyms (32 bytes, base64).
    pub pseudonym_key: SecretSource,
    /// Ed25519 key that signs deletion certificates, receipts and checkpoints (32 bytes, base64).
    pub signing_key: SecretSource,
}

impl AnalystConfig {
    /// Where the database is.
    ///
    /// # Errors
    /// `[database]` is wrong, or what it names cannot be read.
    pub fn place(&self) -> Result<Place, ServiceError> {
        DatabaseConfig::place(self.database.as_ref(), &self.data_dir.join(crate::journal::FILE))
            .map_err(ServiceError::configuration)
    }
}
