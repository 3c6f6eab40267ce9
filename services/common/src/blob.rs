//! Batches and results too large for the database, as objects with names that say nothing.
//!
//! A name is a run, a party and a number: nothing about a person can enter it, because no other type fits.
//! `put` is whole or absent, and durable when it returns: object_store's local implementation renames a
//! finished file but does not synchronise it, so that is done here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use linkage_agreement::{PartyId, RunId};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::fsx;
use crate::objects::{ObjectsConfig, ObjectsError};

/// The name of one object: `RUN/PARTY/NUMBER`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobName {
    /// The run it belongs to.
    pub run: RunId,
    /// The party it comes from or goes to.
    pub party: PartyId,
    /// Its number among the party's.
    pub number: u64,
}

/// What [`BlobStore::list`] and [`BlobStore::delete_prefix`] range over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobPrefix {
    /// Every object of a run.
    Run(RunId),
    /// Every object of a party within a run.
    Party(RunId, PartyId),
}

/// Why an object could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No room is left.
    #[error("disque plein ; faites de la place, rien n'a été écrit à moitié")]
    DiskFull,
    /// There is no such object.
    #[error("bloc introuvable")]
    NotFound,
    /// The folder cannot be used.
    #[error("{} : dossier inutilisable ; vérifiez qu'il existe et que le compte du service peut y écrire", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The configuration of the object store cannot be used.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The object store does not answer.
    #[error("dépôt d'objets injoignable ; vérifiez qu'il est en marche et que le réseau y mène")]
    Unreachable(#[source] object_store::Error),
    /// Anything else.
    #[error("le dépôt de blocs a refusé une opération")]
    Other(#[source] object_store::Error),
}

/// Whether an error comes of a connection rather than of an answer.
fn is_connection(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.is::<object_store::client::HttpError>() {
            return true;
        }
        next = cause.source();
    }
    false
}

impl From<object_store::Error> for BlobError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            error if fsx::is_disk_full_in(&error) => Self::DiskFull,
            error if is_connection(&error) => Self::Unreachable(error),
            error => Self::Other(error),
        }
    }
}

/// Objects under one folder, or in another store that `object_store` knows.
#[derive(Debug, Clone)]
pub struct BlobStore {
    store: Arc<dyn ObjectStore>,
    folder: Option<PathBuf>,
}

impl BlobStore {
    /// Objects as files under `folder`, made when absent.
    ///
    /// # Errors
    /// [`BlobError::Folder`].
    pub fn local(folder: &Path) -> Result<Self, BlobError> {
        let refused = |source: Box<dyn std::error::Error + Send + Sync>| BlobError::Folder { path: folder.to_owned(), source };
        fsx::create_private_dir(folder).map_err(|e| refused(e.into()))?;
        let folder = folder.canonicalize().map_err(|e| refused(e.into()))?;
        let store = LocalFileSystem::new_with_prefix(&folder).map_err(|e| refused(e.into()))?.with_automatic_cleanup(true);
        Ok(Self { store: Arc::new(store), folder: Some(folder) })
    }

    /// Objects under `place` in the store that a configuration names, or as files under `data_dir/place` without one.
    ///
    /// # Errors
    /// [`BlobError::Folder`], [`BlobError::Objects`].
    pub fn open(objects: Option<&ObjectsConfig>, data_dir: &Path, place: &str) -> Result<Self, BlobError> {
        match objects {
            None => Self::local(&data_dir.join(place)),
            Some(objects) => Ok(Self::new(Arc::new(PrefixStore::new(objects.store()?, place)))),
        }
    }

    /// Objects in any store whose `put` is durable when it returns.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, folder: None }
    }

    /// Keeps `bytes` under `name`, in place of what was there.
    ///
    /// # Errors
    /// [`BlobError::DiskFull`]; nothing is then under the name but what was there before.
    pub async fn put(&self, name: &BlobName, bytes: Bytes) -> Result<(), BlobError> {
        self.store.put(&name.path(), bytes.into()).await?;
        if let Some(folder) = &self.folder {
            let file = folder.join(name.path().as_ref());
            let root = folder.clone();
            let synced = tokio::task::spawn_blocking(move || sync_up_to(&file, &root)).await;
            synced.map_err(std::io::Error::other).flatten().map_err(|e| {
                if fsx::is_disk_full(&e) {
                    BlobError::DiskFull
                } else {
                    BlobError::Folder { path: folder.clone(), source: e.into() }
                }
            })?;
        }
        Ok(())
    }

    /// The bytes under `name`.
    ///
    /// # Errors
    /// [`BlobError::NotFound`].
    pub async fn get(&self, name: &BlobName) -> Result<Bytes, BlobError> {
        Ok(self.store.get(&name.path()).await?.bytes().await?)
    }

    /// Some of the bytes under `name`; fewer when it holds fewer.
    ///
    /// # Errors
    /// [`BlobError::NotFound`].
    pub async fn get_range(&self, name: &BlobName, range: std::ops::Range<u64>) -> Result<Bytes, BlobError> {
        Ok(self.store.get_range(&name.path(), range).await?)
    }

    /// Names and sizes in bytes, sorted by name. Objects with a name that this program never gives are left out.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn list(&self, prefix: &BlobPrefix) -> Result<Vec<(BlobName, u64)>, BlobError> {
        let metas: Vec<_> = self.store.list(Some(&prefix.path())).try_collect().await?;
        let mut found: Vec<_> =
            metas.into_iter().filter_map(|meta| Some((BlobName::parse(&meta.location)?, meta.size))).collect();
        found.sort();
        Ok(found)
    }

    /// Deletes the object under `name`; nothing when there is none.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn delete(&self, name: &BlobName) -> Result<(), BlobError> {
        match self.store.delete(&name.path()).await {
            Err(error) if !matches!(error, object_store::Error::NotFound { .. }) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Deletes every object under `prefix` and says how many there were, with what a killed process left half written: it bears
    /// a name that no list shows. Safe to repeat.
    ///
    /// # Errors
    /// [`BlobError`]; some objects may then be gone already.
    pub async fn delete_prefix(&self, prefix: &BlobPrefix) -> Result<u64, BlobError> {
        let metas: Vec<_> = self.store.list(Some(&prefix.path())).try_collect().await?;
        let mut deleted = 0;
        for meta in metas {
            match self.store.delete(&meta.location).await {
                Ok(()) => deleted += 1,
                // Someone else who deletes the same run got there first.
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(folder) = &self.folder {
            let rest = folder.join(prefix.path().as_ref());
            let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(rest)).await;
            match removed.map_err(std::io::Error::other).flatten() {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(BlobError::Folder { path: folder.clone(), source: error.into() });
                }
                _ => {}
            }
        }
        Ok(deleted)
    }
}

impl BlobName {
    /// The name of object `number` of `party` in `run`.
    pub fn new(run: &RunId, party: &PartyId, number: u64) -> Self {
        Self { run: run.clone(), party: party.clone(), number }
    }
    fn path(&self) -> ObjectPath {
        ObjectPath::from_iter([self.run.as_str(), self.party.as_str(), &format!("{:020}", self.number)])
    }
    fn parse(path: &ObjectPath) -> Option<Self> {
        let mut parts = path.as_ref().split('/');
        let name = Self {
            run: parts.next()?.parse().ok()?,
            party: parts.next()?.parse().ok()?,
            number: parts.next().filter(|n| n.len() == 20)?.parse().ok()?,
        };
        parts.next().is_none().then_some(name)
    }
}

impl BlobPrefix {
    fn path(&self) -> ObjectPath {
        match self {
            Self::Run(run) => ObjectPath::from_iter([run.as_str()]),
            Self::Party(run, party) => ObjectPath::from_iter([run.as_str(), party.as_str()]),
        }
    }
}

/// Synchronises `file` and every directory from it up to `root`: its name must survive as well.
fn sync_up_to(file: &Path, root: &Path) -> std::io::Result<()> {
    std::fs::File::open(file)?.sync_all()?;
    let mut dir = file.parent();
    while let Some(path) = dir {
        fsx::sync_dir(path)?;
        if path == root {
            break;
        }
        dir = path.parent();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(run: &str, party: &str, number: u64) -> BlobName {
        BlobName::new(&run.parse().unwrap(), &party.parse().unwrap(), number)
    }

    #[tokio::test]
    async fn objects_are_found_listed_in_order_and_deleted_by_run() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::local(&dir.path().join("blobs")).unwrap();
        for (party, number) in [("siao", 0), ("ccas", 10), ("ccas", 9)] {
            store.put(&name("2024-01.full", party, number), Bytes::from(vec![7; number as usize])).await.unwrap();
        }
        store.put(&name("2024-01", "ccas", 1), Bytes::from_static(b"other run")).await.unwrap();
        store.put(&name("2024-01", "ccas", 1), Bytes::from_static(b"put twice")).await.unwrap();
        assert_eq!(store.get(&name("2024-01", "ccas", 1)).await.unwrap().as_ref(), b"put twice");

        let run: RunId = "2024-01.full".parse().unwrap();
        assert_eq!(
            store.list(&BlobPrefix::Run(run.clone())).await.unwrap(),
            [(name("2024-01.full", "ccas", 9), 9), (name("2024-01.full", "ccas", 10), 10), (name("2024-01.full", "siao", 0), 0)]
        );
        let party = BlobPrefix::Party(run.clone(), "ccas".parse().unwrap());
        assert_eq!(store.delete_prefix(&party).await.unwrap(), 2);
        assert_eq!(store.delete_prefix(&party).await.unwrap(), 0);
        assert_eq!(store.delete_prefix(&BlobPrefix::Run(run)).await.unwrap(), 1);
        assert!(matches!(store.get(&name("2024-01.full", "siao", 0)).await, Err(BlobError::NotFound)));
        assert_eq!(store.get(&name("2024-01", "ccas", 1)).await.unwrap().as_ref(), b"put twice");
    }

    #[tokio::test]
    async fn what_a_killed_process_left_half_written_goes_with_its_run() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::local(dir.path()).unwrap();
        for (run, party) in [("r", "ccas"), ("r", "siao"), ("r2", "ccas")] {
            store.put(&name(run, party, 0), Bytes::from_static(b"whole")).await.unwrap();
            // The name under which the local store writes before it renames.
            let staged = dir.path().join(run).join(party).join("00000000000000000001#1");
            std::fs::write(staged, b"half").unwrap();
        }
        let staged = |run: &str, party: &str| dir.path().join(run).join(party).join("00000000000000000001#1").is_file();
        let run: RunId = "r".parse().unwrap();
        assert_eq!(store.list(&BlobPrefix::Run(run.clone())).await.unwrap().len(), 2, "no list shows them");
        assert_eq!(store.delete_prefix(&BlobPrefix::Party(run.clone(), "ccas".parse().unwrap())).await.unwrap(), 1);
        assert_eq!([staged("r", "ccas"), staged("r", "siao")], [false, true]);
        assert_eq!(store.delete_prefix(&BlobPrefix::Run(run.clone())).await.unwrap(), 1);
        assert_eq!(store.delete_prefix(&BlobPrefix::Run(run)).await.unwrap(), 0);
        assert!(!dir.path().join("r").is_dir() && staged("r2", "ccas"));
        for _ in 0..2 {
            store.delete(&name("r2", "ccas", 0)).await.unwrap();
        }
        assert!(matches!(store.get(&name("r2", "ccas", 0)).await, Err(BlobError::NotFound)) && staged("r2", "ccas"));
    }

    #[test]
    fn a_full_disk_is_told_apart_at_any_depth() {
        #[derive(Debug, thiserror::Error)]
        #[error("copy")]
        struct Wrapped(#[source] std::io::Error);
        let full = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(Wrapped(std::io::Error::from(std::io::ErrorKind::StorageFull))),
        };
        assert!(matches!(BlobError::from(full), BlobError::DiskFull));
    }

    #[test]
    fn a_folder_that_is_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(BlobStore::local(&path), Err(BlobError::Folder { path: p, .. }) if p == path));
    }
}
