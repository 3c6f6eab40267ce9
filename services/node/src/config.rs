//! The node's configuration file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use linkage_agreement::PartyId;
use linkage_common::AgreementFiles;
use linkage_common::audit::AuditConfig;
use linkage_common::config::SecretSource;
use linkage_common::ops::OpsConfig;
use linkage_common::tls::TlsFiles;
use serde::Deserialize;

/// `node.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Which of the agreement's parties this is.
    pub party: PartyId,
    /// Folder of the encrypted state; created when missing, readable by the service only.
    pub state_dir: PathBuf,
    /// Folder that deliveries are put into, as `AAAA-MM/FILE`; read by `linkage node serve`.
    #[serde(default)]
    pub inbox_dir: Option<PathBuf>,
    /// Attributes that this party sends, of those that the agreement lists; all of them when absent.
    #[serde(default)]
    pub attributes: Option<Vec<String>>,
    /// The column mapping that the operator confirmed; a party that delivers filters or keys has none.
    #[serde(default)]
    pub mapping: PathBuf,
    /// The pass set's file, where the agreement names one by its digest (`pass_set = "NAME@…"`).
    #[serde(default)]
    pub pass_set: Option<PathBuf>,
    /// The clkhash schema's file, where the agreement has `[encoding.clk]` and this party delivers names.
    #[serde(default)]
    pub clk_schema: Option<PathBuf>,
    /// The file of the clkhash secret, for the same; mode 0600.
    #[serde(default)]
    pub clk_secret: Option<PathBuf>,
    /// The key of keyed hash keys that the partners share (32 bytes, base64), where the agreement says `keyed = true` and
    /// this party delivers names.
    #[serde(default)]
    pub hash_keys_key: Option<SecretSource>,
    /// For a party that delivers filters or keys: whether each delivery has its line file `NAME-lignes.csv` beside it.
    #[serde(default)]
    pub line_file: bool,
    /// The broker's address, `https://host:port`.
    pub broker_url: String,
    /// The custodian's address, `https://host:port`.
    pub custodian_url: String,
    /// Addresses of analysts' sides, by their identifiers, whose audit logs this node countersigns as well.
    #[serde(default)]
    pub analyst_urls: BTreeMap<PartyId, String>,
    /// Minutes between two countersignatures of the others' audit logs; 0 for every look at the broker.
    #[serde(default = "checkpoint_minutes")]
    pub checkpoint_minutes: u32,
    /// The signed agreement.
    pub agreement: AgreementFiles,
    /// The audit log; in a folder of its own beside the data without this section.
    #[serde(default)]
    pub audit: AuditConfig,
    /// Certificate, key, authority.
    pub tls: TlsFiles,
    /// The listener of probes and metrics; none without this section.
    #[serde(default)]
    pub ops: Option<OpsConfig>,
    /// Key of the state at rest, AES-256 (32 bytes, base64).
    pub storage_key: SecretSource,
    /// Ed25519 key that signs contributions (32 bytes, base64).
    pub signing_key: SecretSource,
    /// X25519 key that contributions are sealed to (32 bytes, base64).
    pub sealing_key: SecretSource,
    /// This party's contribution to the group key (32 bytes, base64), for those who draw it elsewhere; drawn here when absent.
    #[serde(default)]
    pub group_contribution: Option<SecretSource>,
}

/// Once an hour.
fn checkpoint_minutes() -> u32 {
    60
}
