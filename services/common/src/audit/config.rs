//! Where a role keeps its audit log.

use std::path::{Path, PathBuf};

use linkage_agreement::RunId;
use serde::Deserialize;

use crate::error::ServiceError;

/// Name of the log of a role that is one process.
const ALONE: &str = "principal";
/// Environment variable that names the log where the configuration does not: replicas share their configuration.
const REPLICA: &str = "LINKAGE_REPLICA";

/// Name of one process of a role, and of its log: 1 to 64 of `a-z 0-9 - .`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ReplicaName(RunId);

/// The section `[audit]` of a role's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Folder of the logs; `audit` in the role's own folder when absent. It must outlive the process.
    pub dir: Option<PathBuf>,
    /// Which process of the role this is, where there are several; each has a log of its own. `LINKAGE_REPLICA` when absent.
    pub replica: Option<ReplicaName>,
}

/// A log's folder and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The folder of this log alone.
    pub folder: PathBuf,
    /// The log's name.
    pub log: String,
}

impl AuditConfig {
    /// Where the log is, for a role whose own folder is `home`: the last of its parts, where it was restored from backups.
    ///
    /// # Errors
    /// `Invalid` for a name in the environment that is none; `Configuration` while the state in `home` is half restored.
    pub fn place(&self, home: &Path) -> Result<Place, ServiceError> {
        crate::backup::whole(home)?;
        let first = self.first(home)?;
        let parts = super::segments::parts(&self.folder(home), &first.log).map_err(ServiceError::configuration)?;
        Ok(parts.into_iter().next_back().unwrap_or(first))
    }

    /// Folder of the logs.
    pub fn folder(&self, home: &Path) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| home.join("audit"))
    }

    /// Where the log is as long as it was never restored.
    ///
    /// # Errors
    /// `Invalid` for a name in the environment that is none.
    pub fn first(&self, home: &Path) -> Result<Place, ServiceError> {
        let log = match (&self.replica, std::env::var(REPLICA)) {
            (Some(name), _) => name.0.to_string(),
            (None, Ok(name)) if !name.is_empty() => {
                let named: Result<RunId, _> = name.parse();
                let named = named.map_err(|_| {
                    ServiceError::invalid("« LINKAGE_REPLICA » compte de 1 à 64 caractères parmi a-z 0-9 - . ; corrigez-la")
                })?;
                named.to_string()
            }
            _ => ALONE.to_owned(),
        };
        let folder = self.folder(home).join(&log);
        Ok(Place { folder, log })
    }
}
