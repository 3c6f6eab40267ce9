//! The OPRF key of each epoch: which file it is in, how the next one is drawn, when a former one is destroyed.
//!
//! The agreement names the public part of one key and its epoch; that key alone evaluates. The next one lies beside it, as
//! `NAME-EPOCH.ENDING`, from before the amendment that names it, so that loading the amendment is all that a change of epoch
//! takes. A former key is of no use to anybody who means well once every party has loaded the amendment: whoever has it can
//! undo block secrets of its epoch, as far as the other keys go (docs/threat-model.md).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use linkage_agreement::{Agreement, PartyId, RoleId, certificate_identity};
use linkage_common::audit::{self, Act, AuditLog, Outcome};
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
pub fn beside(configured: &Path, epoch: u32) -> PathBuf {
    let mut name = configured.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{epoch}"));
    if let Some(ending) = configured.extension() {
        name.push(".");
        name.push(ending);
    }
    configured.with_file_name(name)
}

/// The keys that lie beside the configured one, in order of their epochs; whether they are valid is not looked at.
///
/// # Errors
/// The folder cannot be read.
pub fn drawn(configured: &Path) -> io::Result<BTreeMap<u32, PathBuf>> {
    let folder = configured.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries?,
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let name = entry?.file_name();
        let stem = Path::new(&name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let Some(epoch) = stem.rsplit('-').next().and_then(|epoch| epoch.parse().ok()) else { continue };
        let file = beside(configured, epoch);
        if file.file_name() == Some(&name) {
            found.insert(epoch, file);
        }
    }
    Ok(found)
}

fn read(source: &SecretSource) -> Result<ServerKey, ServiceError> {
    ServerKey::from_bytes(&*source.read_key().map_err(ServiceError::configuration)?)
        .map_err(|_| ServiceError::invalid("« oprf_key » n'est pas une clé OPRF valable ; restaurez-la de sa sauvegarde"))
}

/// Whether it is the key that the agreement names.
fn is_named(source: &SecretSource, agreement: &Agreement) -> Result<bool, ServiceError> {
    Ok(read(source)?.public_key().to_base64() == agreement.custodian.oprf_public_key)
}

/// Where the key of the agreement's epoch is: the configured place, or beside it.
///
/// # Errors
/// Neither is the key that the agreement names.
pub fn source(configured: &SecretSource, agreement: &Agreement) -> Result<SecretSource, ServiceError> {
    let first = is_named(configured, agreement);
    if matches!(first, Ok(true)) {
        return Ok(configured.clone());
    }
    if let Some(file) = &configured.file {
        let other = beside(file, agreement.oprf_epoch());
        if other.try_exists()? && is_named(&SecretSource::from_file(&other), agreement)? {
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

/// Destroys every key of a former epoch; the agreement's takes its place in the file that the configuration names. Gives the parties
/// still waited for, none when it is done. Repeating it changes nothing, and ends what was interrupted: from the moment that the
/// configured file is overwritten until it is replaced, the agreement's key is found beside it ([`source`]).
///
/// A party is waited for until this custodian has answered it under the agreement's present version, by the audit log: from
/// then on it cannot go back to the former key. `despite` destroys the keys in any case.
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
    let current = source(&config.oprf_key, agreement)?;
    let moves = current.file.as_deref().filter(|file| *file != configured);
    let mut former: Vec<PathBuf> = Vec::new();
    // A second name that an earlier version of this program gave to a former key before it overwrote it.
    let second = configured.with_extension("former");
    if second != configured && second.try_exists()? {
        former.push(second);
    }
    former.extend(drawn(configured)?.into_iter().filter(|(epoch, _)| *epoch < agreement.oprf_epoch()).map(|(_, file)| file));
    if moves.is_some() && configured.try_exists()? {
        former.push(configured.to_owned());
    }
    if former.is_empty() && moves.is_none() {
        return Ok(Vec::new());
    }
    for file in &former {
        // What is no key, or no longer one since its overwriting was interrupted, is not the agreement's.
        if matches!(is_named(&SecretSource::from_file(file), agreement), Ok(true)) {
            return Err(ServiceError::refused(format!(
                "{} tient la clé que la convention nomme : rien n'a été détruit",
                file.display()
            )));
        }
    }
    let log = AuditLog::open(&config.audit.place(&config.data_dir)?, gate.clone(), RoleId::Custodian)?.by_operator();
    let waited = waited_for(config, gate)?;
    if !waited.is_empty() && !despite {
        return Ok(waited);
    }
    for file in &former {
        fsx::destroy(file)?;
    }
    log.record(Act::own("oprf-key.destroyed")).await?;
    if let Some(file) = moves {
        fs::rename(file, configured)?;
    }
    if let Some(folder) = configured.parent() {
        fsx::sync_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?;
    }
    Ok(Vec::new())
}

/// Parties of the agreement that were not answered under its present version. A refused call says nothing: what is entered is this
/// custodian's own version, and the caller may hold the former one.
fn waited_for(config: &CustodianConfig, gate: &Gate) -> Result<Vec<PartyId>, ServiceError> {
    let agreement = gate.agreement();
    let hash = hex::encode(gate.agreement_hash());
    let uri = |id: &PartyId| certificate_identity(&agreement.agreement.id, &RoleId::Party(id.clone()));
    let mut waited: Vec<PartyId> = agreement.party.iter().map(|party| party.id.clone()).collect();
    audit::each(&config.audit.place(&config.data_dir)?, |_, _, entry| {
        if entry.agreement == hash && entry.outcome == Outcome::Done {
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

    #[test]
    fn keys_beside_the_configured_one_are_found_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["oprf.key", "oprf-2.key", "oprf-10.key", "oprf-03.key", "oprf-4.pub", "autre-2.key", ".oprf-5.key.0.tmp"] {
            write_secret(&at(name), &[1; 32]).unwrap();
        }
        let found = BTreeMap::from([(2, at("oprf-2.key")), (10, at("oprf-10.key"))]);
        assert_eq!(drawn(&at("oprf.key")).unwrap(), found);
        assert_eq!(drawn(&at("absent/oprf.key")).unwrap(), BTreeMap::new());
    }
}
