//! The OPRF key of each epoch: which file it is in, how the next one is drawn, when a former one is destroyed.
//!
//! The agreement names the public part of one key and its epoch; that key alone evaluates. The next one lies beside it, as
//! `NAME-EPOCH.ENDING`, from before the amendment that names it, so that loading the amendment is all that a change of epoch
//! takes. A former key is of no use to anybody who means well once every party has loaded the amendment: whoever has it can
//! undo block secrets of its epoch, as far as the other keys go (docs/threat-model.md).

use std::fs;
use std::path::{Path, PathBuf};

use linkage_agreement::{Agreement, PartyId, RoleId, certificate_identity};
use linkage_common::audit::{self, Act, AuditLog};
use linkage_common::config::{SecretSource, write_secret};
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use linkage_common::gate::Gate;
use linkage_crypto::oprf::ServerKey;

use crate::config::CustodianConfig;

/// A key that was drawn for an epoch to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextKey {
    /// Its epoch.
    pub epoch: u32,
    /// Its public part, base64.
    pub public_key: String,
    /// Its file.
    pub file: PathBuf,
}

/// Where the key of an epoch lies beside the configured one.
fn beside(configured: &Path, epoch: u32) -> PathBuf {
    let mut name = configured.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{epoch}"));
    if let Some(ending) = configured.extension() {
        name.push(".");
        name.push(ending);
    }
    configured.with_file_name(name)
}

fn read(source: &SecretSource) -> Result<ServerKey, ServiceError> {
    ServerKey::from_bytes(&*source.read_key().map_err(ServiceError::configuration)?)
        .map_err(|_| ServiceError::invalid("« oprf_key » n'est pas une clé OPRF valable ; restaurez-la de sa sauvegarde"))
}

/// Where the key of the agreement's epoch is: the configured place, or beside it.
///
/// # Errors
/// Neither is the key that the agreement names.
pub fn source(configured: &SecretSource, agreement: &Agreement) -> Result<SecretSource, ServiceError> {
    let named = |source: &SecretSource| Ok(read(source)?.public_key().to_base64() == agreement.custodian.oprf_public_key);
    let first: Result<bool, ServiceError> = named(configured);
    if matches!(first, Ok(true)) {
        return Ok(configured.clone());
    }
    if let Some(file) = &configured.file {
        let other = beside(file, agreement.oprf_epoch());
        if other.try_exists()? && named(&SecretSource::from_file(&other))? {
            return Ok(SecretSource::from_file(other));
        }
    }
    first?;
    Err(ServiceError::refused("la clé OPRF n'est pas celle dont la convention nomme la partie publique ; vérifiez « oprf_key »"))
}

/// The key of the agreement's epoch.
///
/// # Errors
/// As [`source`].
pub fn load(configured: &SecretSource, agreement: &Agreement) -> Result<ServerKey, ServiceError> {
    read(&source(configured, agreement)?)
}

fn file_of(config: &CustodianConfig) -> Result<&Path, ServiceError> {
    config.oprf_key.file.as_deref().ok_or_else(|| {
        ServiceError::invalid(
            "« oprf_key » vient d'une variable d'environnement : tirez la clé suivante par « linkage keys new », et changez la variable avec l'avenant",
        )
    })
}

/// Draws the key of the epoch after the agreement's; one that was drawn before is given again.
///
/// # Errors
/// The configured key is not the agreement's, is no file, or the new one cannot be written.
pub fn next(config: &CustodianConfig) -> Result<NextKey, ServiceError> {
    let parsed = config.agreement.load_agreement().map_err(ServiceError::configuration)?;
    let agreement = parsed.agreement();
    load(&config.oprf_key, agreement)?;
    let epoch = agreement.oprf_epoch() + 1;
    let file = beside(file_of(config)?, epoch);
    let key = if file.try_exists()? {
        read(&SecretSource::from_file(&file))?
    } else {
        let key = ServerKey::generate(&mut linkage_common::rng());
        write_secret(&file, &key.to_bytes())?;
        key
    };
    Ok(NextKey { epoch, public_key: key.public_key().to_base64(), file })
}

/// Destroys the key of the former epoch; the agreement's takes its place in the file that the configuration names. Gives the parties
/// still waited for, none when it is done. Repeating it changes nothing.
///
/// A party is waited for until it has called this custodian under the agreement's present version, by the audit log: from
/// then on it cannot go back to the former key. `despite` destroys the key in any case.
///
/// # Errors
/// The agreement's key is not there, or a file cannot be changed.
pub async fn destroy_former(
    config: &CustodianConfig,
    gate: &std::sync::Arc<Gate>,
    despite: bool,
) -> Result<Vec<PartyId>, ServiceError> {
    let agreement = gate.agreement();
    let configured = file_of(config)?;
    let old = configured.with_extension("former");
    let current = source(&config.oprf_key, agreement)?;
    if current.file.as_deref() != Some(configured) {
        let waited = waited_for(config, gate)?;
        if !waited.is_empty() && !despite {
            return Ok(waited);
        }
        let Some(file) = &current.file else { return Ok(Vec::new()) };
        if configured.try_exists()? && !old.try_exists()? {
            // A second name of the same bytes, so that they can be overwritten once the first stands for the new key.
            fs::hard_link(configured, &old)?;
        }
        fs::rename(file, configured)?;
    }
    if old.try_exists()? {
        // Exchanged already, by this call or by one that was interrupted: the former key is this one.
        if read(&SecretSource::from_file(&old))?.public_key().to_base64() == agreement.custodian.oprf_public_key {
            return Err(ServiceError::refused(format!(
                "{} tient la clé que la convention nomme : rien n'a été détruit",
                old.display()
            )));
        }
        fsx::destroy(&old)?;
        let log = AuditLog::open(&config.audit.place(&config.data_dir)?, gate.clone(), RoleId::Custodian)?.by_operator();
        log.record(Act::own("oprf-key.destroyed")).await?;
    }
    Ok(Vec::new())
}

/// Parties of the agreement that have not called under its present version.
fn waited_for(config: &CustodianConfig, gate: &Gate) -> Result<Vec<PartyId>, ServiceError> {
    let agreement = gate.agreement();
    let hash = hex::encode(gate.agreement_hash());
    let uri = |id: &PartyId| certificate_identity(&agreement.agreement.id, &RoleId::Party(id.clone()));
    let mut waited: Vec<PartyId> = agreement.party.iter().map(|party| party.id.clone()).collect();
    audit::each(&config.audit.place(&config.data_dir)?, |_, _, entry| {
        if entry.agreement == hash {
            waited.retain(|id| uri(id) != entry.who);
        }
        Ok::<(), ServiceError>(())
    })?;
    Ok(waited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_an_epoch_lies_beside_the_configured_one() {
        assert_eq!(beside(Path::new("/x/oprf.key"), 2), Path::new("/x/oprf-2.key"));
        assert_eq!(beside(Path::new("oprf"), 3), Path::new("oprf-3"));
    }
}
