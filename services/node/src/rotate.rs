//! A new storage key: every file of the state is opened under the old key and sealed under the new one.
//!
//! The new key lies beside the old one from before the first file is sealed until it takes its place, so that a process killed
//! anywhere leaves files that open under one of the two keys; the same command ends what was begun. A marker keeps every other
//! use of the state from beginning meanwhile, and a lock that each of them holds keeps this from beginning while one is under
//! way: it would go on writing under the old key. Keyed digests (of local ids, of household references) stay as they are: the
//! key they are made by is kept in the state from then on.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linkage_common::config::{SecretSource, write_secret};
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use linkage_crypto::storage::{Place, StorageError, StorageKey};
use rand_core::Rng;
use zeroize::Zeroizing;

use crate::config::NodeConfig;
use crate::error::NodeError;
use crate::vault::{LIMIT, LOCAL, Vault};

const MARKER: &str = "storage-rotation";
const IN_USE: &str = "in-use";
const ENDING: &str = ".enc";

/// What a rotation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Files sealed under the new key, by this call and by one that was interrupted.
    pub files: u64,
    /// Whether it ended what another call had begun.
    pub resumed: bool,
    /// The file of the new key.
    pub key: PathBuf,
}

/// Refuses a state whose rotation was begun and not ended; else keeps one from beginning for as long as what it gives is kept.
pub(crate) fn in_use(state: &Path) -> Result<File, NodeError> {
    let lock = open_lock(state)?;
    let refused = || {
        NodeError::NotReady(
            "la clé de stockage est en cours de renouvellement : relancez « linkage keys rotate-storage », qui achève ce qui a été commencé".to_owned(),
        )
    };
    match lock.try_lock_shared() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(refused()),
        Err(fs::TryLockError::Error(error)) => return Err(error.into()),
    }
    if state.join(MARKER).try_exists()? { Err(refused()) } else { Ok(lock) }
}

fn open_lock(state: &Path) -> Result<File, NodeError> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    Ok(options.open(state.join(IN_USE))?)
}

/// Replaces the storage key of a node that is stopped. With `new_key`, the key of that file, which the configuration is to name
/// afterwards; else one that is drawn here and takes the file's place, the old one being overwritten and removed.
///
/// # Errors
/// `NotReady` while the state is used; whatever a file or the disk refuses. The same call may be repeated.
pub fn rotate_storage_key(config: &NodeConfig, new_key: Option<&Path>) -> Result<Rotated, NodeError> {
    rotate(config, new_key, &mut |_| Ok(()))
}

/// A point at which a killed process leaves something on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    KeyDrawn,
    Marked,
    Sealed,
    OldKept,
    Exchanged,
    Destroyed,
}

type At<'a> = &'a mut dyn FnMut(Step) -> Result<(), NodeError>;

fn rotate(config: &NodeConfig, new_key: Option<&Path>, at: At<'_>) -> Result<Rotated, NodeError> {
    let state = &config.state_dir;
    if !state.try_exists()? {
        return Err(NodeError::NotReady(format!("{} : ce nœud n'a pas encore d'état, donc rien à renouveler", state.display())));
    }
    let lock = open_lock(state)?;
    let busy = || {
        NodeError::NotReady(
            "le nœud est en service, ou une autre commande travaille sur son état : arrêtez-le, puis relancez".to_owned(),
        )
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(busy()),
        Err(fs::TryLockError::Error(error)) => return Err(error.into()),
    }
    let _alone = Vault::lock_folder(state, Duration::ZERO).map_err(|_| busy())?;
    let marker = state.join(MARKER);
    let resumed = marker.try_exists()?;
    let done = match (new_key, &config.storage_key.file) {
        (Some(next), _) => {
            let current = config.storage_key.read_key().map_err(ServiceError::configuration)?;
            let files = seal_all(state, &marker, &current, next, at)?;
            Rotated { files, resumed, key: next.to_owned() }
        }
        (None, Some(current)) => {
            let files = exchange(state, &marker, current, resumed, at)?;
            Rotated { files, resumed, key: current.clone() }
        }
        (None, None) => {
            return Err(NodeError::Configuration(
                "« storage_key » vient d'une variable d'environnement, qui ne peut être remplacée d'ici : écrivez la nouvelle clé dans un fichier (mode 0600) et donnez-le par --new-key, puis changez la variable".to_owned(),
            ));
        }
    };
    remove(&marker)?;
    fsx::sync_dir(state)?;
    Ok(done)
}

/// A name beside the key's own.
fn beside(key: &Path, ending: &str) -> PathBuf {
    let mut name = key.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    key.with_file_name(name)
}

fn exchange(state: &Path, marker: &Path, current: &Path, resumed: bool, at: At<'_>) -> Result<u64, NodeError> {
    let (next, old) = (beside(current, ".new"), beside(current, ".old"));
    let folder = match current.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let drawn = next.try_exists()?;
    if !resumed && old.try_exists()? {
        return Err(NodeError::Configuration(format!(
            "{} existe : déplacez ou supprimez ce fichier, puis relancez",
            old.display()
        )));
    }
    let read =
        |path: &Path| SecretSource::from_file(path).read_key().map_err(|e| NodeError::from(ServiceError::configuration(e)));
    let mut files = 0;
    // Without the new key beside it, a rotation that was begun has exchanged the two already.
    if drawn || !resumed {
        if !drawn {
            let mut key = Zeroizing::new([0; 32]);
            linkage_common::rng().fill_bytes(key.as_mut_slice());
            write_secret(&next, &key)?;
            fsx::sync_dir(folder)?;
        }
        at(Step::KeyDrawn)?;
        let key = read(current)?;
        files = seal_all(state, marker, &key, &next, at)?;
        if !old.try_exists()? {
            // A second name of the same bytes, so that they can be overwritten once the first stands for the new key.
            fs::hard_link(current, &old).or_else(|_| write_secret(&old, &key))?;
        }
        fsx::sync_dir(folder)?;
        at(Step::OldKept)?;
        fs::rename(&next, current)?;
        fsx::sync_dir(folder)?;
        at(Step::Exchanged)?;
    }
    if old.try_exists()? {
        if read(&old).is_ok_and(|kept| read(current).is_ok_and(|key| *kept == *key)) {
            return Err(NodeError::Configuration(format!(
                "{} et {} tiennent la même clé : rien n'a été détruit ; prévenez le support",
                old.display(),
                current.display()
            )));
        }
        // On disks that write elsewhere (SSD, snapshots) the old bytes may stay: docs/rotation.md says so.
        fsx::destroy(&old)?;
        fsx::sync_dir(folder)?;
    }
    at(Step::Destroyed)?;
    Ok(files)
}

fn remove(path: &Path) -> Result<(), NodeError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Seals every file of the state under the key in `next`; those that are already are counted only.
fn seal_all(state: &Path, marker: &Path, current: &[u8; 32], next: &Path, at: At<'_>) -> Result<u64, NodeError> {
    let next_key = SecretSource::from_file(next).read_key().map_err(ServiceError::configuration)?;
    if *next_key == *current {
        return Err(NodeError::Configuration(format!(
            "{} tient la clé de stockage actuelle : tirez-en une autre",
            next.display()
        )));
    }
    fsx::write_atomic(marker, b"linkage keys rotate-storage\n")?;
    at(Step::Marked)?;
    let keys = Keys { current: StorageKey::from_bytes(current), next: StorageKey::from_bytes(&next_key) };
    // First what all digests are made by: it follows from the old key until then.
    if !state.join(format!("{LOCAL}{ENDING}")).try_exists()? {
        keys.write(state, LOCAL, &*Vault::local_key_of(current))?;
    }
    at(Step::Sealed)?;
    let mut names = Vec::new();
    sealed_files(state, "", &mut names)?;
    names.sort();
    for name in &names {
        keys.reseal(state, name)?;
        at(Step::Sealed)?;
    }
    Ok(names.len() as u64)
}

struct Keys {
    current: StorageKey,
    next: StorageKey,
}

impl Keys {
    fn write(&self, state: &Path, name: &str, bytes: &[u8]) -> Result<(), NodeError> {
        let sealed = self.next.seal(Place { table: name, row: b"" }, bytes, &mut linkage_common::rng());
        let sealed = sealed.map_err(|source| NodeError::State { file: name.to_owned(), source })?;
        Ok(fsx::write_atomic(&state.join(format!("{name}{ENDING}")), &sealed)?)
    }

    fn reseal(&self, state: &Path, name: &str) -> Result<(), NodeError> {
        let path = state.join(format!("{name}{ENDING}"));
        let read = || fsx::read_limited(&path, LIMIT).map_err(|error| NodeError::Configuration(error.to_string()));
        let place = Place { table: name, row: b"" };
        match self.next.open_owned(place, read()?) {
            Ok(_) => return Ok(()),
            Err(StorageError::WrongKey) => {}
            Err(source) => return Err(NodeError::State { file: name.to_owned(), source }),
        }
        let plain =
            self.current.open_owned(place, read()?).map_err(|source| NodeError::State { file: name.to_owned(), source })?;
        self.write(state, name, &plain)
    }
}

/// Names of all sealed files below `folder` of the state, as they are bound to; what a killed writer left is removed.
fn sealed_files(state: &Path, folder: &str, names: &mut Vec<String>) -> Result<(), NodeError> {
    for entry in fs::read_dir(state.join(folder))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let place = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        if entry.file_type()?.is_dir() {
            sealed_files(state, &place, names)?;
        } else if name.starts_with('.') && name.ends_with(".tmp") {
            remove(&entry.path())?;
        } else if let Some(stem) = place.strip_suffix(ENDING) {
            names.push(stem.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
