//! A new storage key: every file of the state is opened under the old key and sealed under the new one.
//!
//! The new key lies beside the old one from before the first file is sealed until it takes its place, so that a process killed
//! anywhere leaves files that open under one of the two keys; the same command ends what was begun, and only the same: a marker
//! says which it was. It keeps every other use of the state from beginning meanwhile, and a lock that each of them holds keeps this from beginning while one is under
//! way: it would go on writing under the old key. Keyed digests (of local ids, of household references) stay as they are: the
//! key they are made by is kept in the state from then on.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linkage_common::backup;
use linkage_common::config::{SecretSource, write_secret};
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use linkage_crypto::storage::{Place, StorageError, StorageKey};
use rand_core::Rng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::NodeConfig;
use crate::error::NodeError;
use crate::vault::{LIMIT, LOCAL, Vault, hmac_sha256};

const MARKER: &str = "storage-rotation";
const IN_USE: &str = "in-use";
const ENDING: &str = ".enc";
/// Folders within one another in a state, at most: a link to one above it would have no end.
const DEPTH: usize = 8;
/// Largest marker, in bytes.
const MARKER_LIMIT: u64 = 1 << 16;

/// What the marker says of the rotation that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begun {
    /// File of the new key where it was drawn elsewhere; none where it takes the place of the old one.
    new_key: Option<PathBuf>,
    /// Keyed digest of the new key, hexadecimal: it tells whether another is the same and nothing of its bytes.
    digest: String,
}

impl Begun {
    fn read(marker: &Path) -> Result<Option<Self>, NodeError> {
        let bytes = match fsx::read_limited(marker, MARKER_LIMIT) {
            Ok(bytes) => bytes,
            Err(fsx::FileError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(NodeError::Configuration(error.to_string())),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|_| NodeError::Damaged(MARKER.to_owned()))
    }

    fn write(&self, marker: &Path) -> Result<(), NodeError> {
        let bytes = serde_json::to_vec(self).map_err(|_| NodeError::Damaged(MARKER.to_owned()))?;
        Ok(fsx::write_atomic(marker, &bytes)?)
    }

    /// The command that ends it.
    fn command(&self) -> String {
        let option = self.new_key.as_ref().map(|path| format!(" --new-key {}", path.display())).unwrap_or_default();
        format!("« linkage keys rotate-storage{option} »")
    }

    /// Refuses to end it in another way, or with another key.
    fn refuse_other(&self, new_key: Option<&Path>) -> Result<(), NodeError> {
        let same = match (new_key, &self.new_key) {
            (None, None) => true,
            (Some(path), Some(_)) => digest(&*read_key(path)?) == self.digest,
            _ => false,
        };
        if same {
            return Ok(());
        }
        Err(NodeError::NotReady(format!(
            "un autre renouvellement a été commencé, avec une autre clé : une partie de l'état est déjà sous celle-là ; relancez {}, qui achève ce qui a été commencé",
            self.command()
        )))
    }
}

fn digest(key: &[u8; 32]) -> String {
    hex::encode(hmac_sha256(key, &[b"linkage/node/1/storage-rotation"]))
}

fn read_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, NodeError> {
    Ok(SecretSource::from_file(path).read_key().map_err(ServiceError::configuration)?)
}

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
    let refused = |command: &str| {
        NodeError::NotReady(format!(
            "la clé de stockage est en cours de renouvellement : relancez {command}, qui achève ce qui a été commencé"
        ))
    };
    match lock.try_lock_shared() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(refused("« linkage keys rotate-storage »")),
        Err(fs::TryLockError::Error(error)) => return Err(error.into()),
    }
    match Begun::read(&state.join(MARKER))? {
        Some(begun) => Err(refused(&begun.command())),
        None => Ok(lock),
    }
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
    let begun = Begun::read(&marker)?;
    let resumed = begun.is_some();
    if let Some(begun) = &begun {
        begun.refuse_other(new_key)?;
    }
    let done = match (new_key, &config.storage_key.file) {
        (Some(next), _) => {
            let current = config.storage_key.read_key().map_err(ServiceError::configuration)?;
            // The configuration may name the new key already: then all must be under it.
            let named = resumed && *current == *read_key(next)?;
            let files =
                if named { sealed_under(state, &current)? } else { seal_all(state, &marker, &current, (next, true), at)? };
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
    let files;
    // Without the new key beside it, a rotation that was begun has exchanged the two already.
    if drawn || !resumed {
        if !drawn {
            let mut key = Zeroizing::new([0; 32]);
            linkage_common::rng().fill_bytes(key.as_mut_slice());
            write_secret(&next, &key)?;
            fsx::sync_dir(folder)?;
        }
        at(Step::KeyDrawn)?;
        let key = read_key(current)?;
        files = seal_all(state, marker, &key, (&next, false), at)?;
        if !old.try_exists()? {
            // A second name of the same bytes, so that they can be overwritten once the first stands for the new key.
            fs::hard_link(current, &old).or_else(|_| write_secret(&old, &key))?;
        }
        fsx::sync_dir(folder)?;
        at(Step::OldKept)?;
        fs::rename(&next, current)?;
        fsx::sync_dir(folder)?;
        at(Step::Exchanged)?;
    } else {
        // The old key is about to go: it must open nothing any more.
        files = sealed_under(state, &*read_key(current)?)?;
    }
    if old.try_exists()? {
        if read_key(&old).is_ok_and(|kept| read_key(current).is_ok_and(|key| *kept == *key)) {
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

/// Seals every file of the state under the key of a file, which was drawn elsewhere or not; those that are already are counted
/// only.
fn seal_all(
    state: &Path,
    marker: &Path,
    current: &[u8; 32],
    (next, elsewhere): (&Path, bool),
    at: At<'_>,
) -> Result<u64, NodeError> {
    let next_key = read_key(next)?;
    if *next_key == *current {
        return Err(NodeError::Configuration(format!(
            "{} tient la clé de stockage actuelle : tirez-en une autre",
            next.display()
        )));
    }
    // What cannot be gone through is refused before anything is begun.
    let mut names = sealed_files(state)?;
    let new_key = if elsewhere { Some(std::path::absolute(next)?) } else { None };
    Begun { new_key, digest: digest(&next_key) }.write(marker)?;
    at(Step::Marked)?;
    let keys = Keys { current: StorageKey::from_bytes(current), next: StorageKey::from_bytes(&next_key) };
    // First what all digests are made by: it follows from the old key until then.
    if !state.join(format!("{LOCAL}{ENDING}")).try_exists()? {
        keys.write(state, LOCAL, &*Vault::local_key_of(current))?;
        names.push(LOCAL.to_owned());
    }
    at(Step::Sealed)?;
    for name in &names {
        keys.reseal(state, name)?;
        at(Step::Sealed)?;
    }
    Ok(names.len() as u64)
}

/// Counts the files of the state, each of which must open under `key`.
fn sealed_under(state: &Path, key: &[u8; 32]) -> Result<u64, NodeError> {
    let (vault, names) = (Vault::open(state, key)?, sealed_files(state)?);
    for name in &names {
        vault.get(name)?;
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

/// Names of all sealed files of the state, as they are bound to, sorted; what a killed writer left is removed. Folders on
/// another disk, behind a link, are of the state too; copies that a backup or a restoration makes ready are not.
fn sealed_files(state: &Path) -> Result<Vec<String>, NodeError> {
    let mut names = Vec::new();
    in_folder(state, "", DEPTH, &mut names)?;
    names.sort();
    Ok(names)
}

fn in_folder(state: &Path, folder: &str, depth: usize, names: &mut Vec<String>) -> Result<(), NodeError> {
    let refused = |path: &Path, why: &str| {
        NodeError::Configuration(format!(
            "{} : {why} ; corrigez ou supprimez ce lien de l'état, puis relancez : rien n'a été détruit",
            path.display()
        ))
    };
    for entry in fs::read_dir(state.join(folder))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if folder.is_empty() && (name == backup::FOLDER || name == backup::COPIES) {
            continue;
        }
        let place = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let linked = entry.file_type()?.is_symlink();
        let kind = match fs::metadata(entry.path()) {
            Err(_) if linked => return Err(refused(&entry.path(), "lien symbolique qui ne mène à rien de lisible")),
            kind => kind?,
        };
        if kind.is_dir() {
            let left = depth.checked_sub(1).ok_or_else(|| refused(&entry.path(), "dossiers emboîtés sans fin"))?;
            in_folder(state, &place, left, names)?;
        } else if name.starts_with('.') && name.ends_with(".tmp") {
            remove(&entry.path())?;
        } else if let Some(stem) = place.strip_suffix(ENDING) {
            if linked {
                // What is written takes the place of the link: the file behind it would stay under the old key.
                return Err(refused(&entry.path(), "fichier de l'état remplacé par un lien symbolique"));
            }
            names.push(stem.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
