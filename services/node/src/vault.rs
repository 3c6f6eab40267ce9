//! The node's state at rest: every file sealed under the storage key and bound to its own name.
//!
//! A file is written whole or not at all. File names hold periods, runs and numbers only. What a file of local ids or
//! block keys would give away is kept as keyed digests ([`Vault::digest`]), which only this node's key can make.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use linkage_common::fsx;
use linkage_crypto::storage::{Place, StorageKey};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::NodeError;

/// Largest state file read, in bytes.
pub(crate) const LIMIT: u64 = 4 << 30;
/// The key of digests and local randomness, once the storage key it followed from was replaced ([`crate::rotate`]).
pub(crate) const LOCAL: &str = "local";

/// For digests and local randomness: derived from the first storage key, and kept when that is replaced.
#[derive(Zeroize, ZeroizeOnDrop)]
struct LocalKey([u8; 32]);

/// The state folder and its keys.
pub struct Vault {
    folder: PathBuf,
    key: StorageKey,
    local: LocalKey,
}

/// The right to change the state, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct StateLock {
    _file: fs::File,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(..)")
    }
}

impl Vault {
    /// Opens (and creates) the folder.
    pub fn open(folder: &Path, storage_key: &[u8; 32]) -> Result<Self, NodeError> {
        fsx::create_private_dir(folder)?;
        let (key, local) = (StorageKey::from_bytes(storage_key), LocalKey::of(storage_key));
        let mut vault = Self { folder: folder.to_owned(), key, local };
        if let Some(kept) = vault.get(LOCAL)? {
            vault.local = LocalKey(kept.as_slice().try_into().map_err(|_| NodeError::Damaged(LOCAL.to_owned()))?);
        }
        Ok(vault)
    }

    /// What digests are made by under a storage key that none has preceded.
    pub(crate) fn local_key_of(storage_key: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(LocalKey::of(storage_key).0)
    }

    /// Keeps every other process from changing the state until what it returns is dropped, waiting for `patience` for the one
    /// that does now. Index, references and segments are read, changed and written back: of two that do so at a time the
    /// later one would undo the other's work.
    ///
    /// # Errors
    /// `NotReady` when another process is still at work.
    pub fn lock(&self, patience: Duration) -> Result<StateLock, NodeError> {
        Self::lock_folder(&self.folder, patience)
    }

    /// The same of the ceremony alone, which goes on while deliveries are taken in: of two draws one would be lost once it was sent.
    pub(crate) fn lock_ceremony(&self, patience: Duration) -> Result<StateLock, NodeError> {
        Self::lock_file(&self.folder.join("ceremony.lock"), patience)
    }

    /// As [`Self::lock`], of a folder whose key is not at hand.
    pub(crate) fn lock_folder(folder: &Path, patience: Duration) -> Result<StateLock, NodeError> {
        Self::lock_file(&folder.join("lock"), patience)
    }

    fn lock_file(path: &Path, patience: Duration) -> Result<StateLock, NodeError> {
        let mut options = fs::OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(StateLock { _file: file }),
                Err(fs::TryLockError::WouldBlock) if begun.elapsed() < patience => std::thread::sleep(Duration::from_millis(50)),
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(NodeError::NotReady(
                        "le nœud travaille déjà (service ou autre commande) : réessayez quand il a fini".to_owned(),
                    ));
                }
                Err(fs::TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.enc"))
    }

    /// Seals `bytes` as the file `name` (a relative path without ending).
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), NodeError> {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            fsx::create_private_dir(parent)?;
        }
        let sealed = self
            .key
            .seal(Place { table: name, row: b"" }, bytes, &mut linkage_common::rng())
            .map_err(|source| NodeError::State { file: name.to_owned(), source })?;
        Ok(fsx::write_atomic(&path, &sealed)?)
    }

    /// Opens the file `name`; `None` when there is none.
    pub fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, NodeError> {
        let sealed = match fsx::read_limited(&self.path(name), LIMIT) {
            Ok(sealed) => sealed,
            Err(fsx::FileError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(NodeError::Configuration(error.to_string())),
        };
        let opened = self
            .key
            .open_owned(Place { table: name, row: b"" }, sealed)
            .map_err(|source| NodeError::State { file: name.to_owned(), source })?;
        Ok(Some(opened))
    }

    /// Whether the file `name` is there.
    pub fn has(&self, name: &str) -> bool {
        self.path(name).is_file()
    }

    /// Removes the file `name`; nothing when there is none.
    pub fn remove(&self, name: &str) -> Result<(), NodeError> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Names of the files in a sub-folder, sorted.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, NodeError> {
        let mut names = Vec::new();
        match fs::read_dir(self.folder.join(folder)) {
            Ok(entries) => {
                for entry in entries {
                    if let Some(stem) = entry?.file_name().to_str().and_then(|n| n.strip_suffix(".enc")) {
                        names.push(format!("{folder}/{stem}"));
                    }
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        names.sort();
        Ok(names)
    }

    /// A keyed digest of `parts` for one purpose; parts are length-prefixed, so that their boundaries count.
    pub fn digest(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 16] {
        let mut out = [0; 16];
        out.copy_from_slice(&self.secret(purpose, parts)[..16]);
        out
    }

    /// A secret that only this node can make, for one purpose.
    pub fn secret(&self, purpose: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        derive(&self.local, purpose, parts)
    }

    /// The same from the storage key alone, for a trial that keeps no state.
    pub fn local_secret(storage_key: &[u8; 32], purpose: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        derive(&LocalKey::of(storage_key), purpose, parts)
    }
}

impl LocalKey {
    fn of(storage_key: &[u8; 32]) -> Self {
        Self(hmac_sha256(storage_key, &[b"linkage/node/1/local"]))
    }
}

fn derive(local: &LocalKey, purpose: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let lengths: Vec<[u8; 8]> = parts.iter().map(|p| (p.len() as u64).to_le_bytes()).collect();
    let mut message: Vec<&[u8]> = vec![purpose.as_bytes(), &[0]];
    for (part, length) in parts.iter().zip(&lengths) {
        message.push(length);
        message.push(part);
    }
    Zeroizing::new(hmac_sha256(&local.0, &message))
}

/// HMAC-SHA256 of the concatenation of `message` (RFC 2104).
pub(crate) fn hmac_sha256(key: &[u8; 32], message: &[&[u8]]) -> [u8; 32] {
    // A key of 32 bytes fits HMAC's block: this cannot fail, and the loop over an empty result would be as wrong as a panic.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in message {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_opens_under_its_own_name_and_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path(), &[1; 32]).unwrap();
        vault.put("archive/index", b"content").unwrap();
        assert_eq!(vault.get("archive/index").unwrap().unwrap().as_slice(), b"content");
        assert_eq!(vault.list("archive").unwrap(), ["archive/index"]);
        fs::copy(dir.path().join("archive/index.enc"), dir.path().join("archive/other.enc")).unwrap();
        assert!(matches!(vault.get("archive/other"), Err(NodeError::State { .. })));
        assert!(matches!(Vault::open(dir.path(), &[2; 32]).unwrap().get("archive/index"), Err(NodeError::State { .. })));
        vault.remove("archive/index").unwrap();
        assert!(vault.get("archive/index").unwrap().is_none());
    }

    #[test]
    fn one_at_a_time_changes_the_state() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path(), &[1; 32]).unwrap();
        let held = vault.lock(Duration::ZERO).unwrap();
        let other = Vault::open(dir.path(), &[1; 32]).unwrap();
        assert!(matches!(other.lock(Duration::from_millis(60)), Err(NodeError::NotReady(_))));
        let ceremony = other.lock_ceremony(Duration::ZERO).unwrap();
        assert!(matches!(vault.lock_ceremony(Duration::ZERO), Err(NodeError::NotReady(_))));
        drop((held, ceremony));
        other.lock(Duration::ZERO).unwrap();
        vault.lock_ceremony(Duration::ZERO).unwrap();
    }

    #[test]
    fn digests_differ_by_purpose_part_boundaries_and_key() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path(), &[1; 32]).unwrap();
        let d = vault.digest("a", &[b"xy", b"z"]);
        assert_ne!(d, vault.digest("b", &[b"xy", b"z"]));
        assert_ne!(d, vault.digest("a", &[b"x", b"yz"]));
        assert_ne!(d, Vault::open(dir.path(), &[2; 32]).unwrap().digest("a", &[b"xy", b"z"]));
    }
}
