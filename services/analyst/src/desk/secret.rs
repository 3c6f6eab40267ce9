//! The secret of the cell keys: drawn at first start, kept for the agreement's life.
//!
//! The noise of every figure follows from it, so that figures stay the same over queries and releases; whoever has it can
//! take the noise off. It never leaves `cell-keys.secret` (mode 0600) in the analyst's data folder, and is to be in its
//! backups: with another one, a table asked again bears other noise, and the two together tell more than either.

use std::fs;
use std::io;
use std::path::Path;

use linkage_common::config::{SECRET_LEN, SecretSource, write_secret};
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use rand_core::Rng as _;
use zeroize::Zeroizing;

/// Name of the file.
const NAME: &str = "cell-keys.secret";

/// The secret.
pub(super) struct CellSecret(Zeroizing<[u8; SECRET_LEN]>);

impl CellSecret {
    /// Reads the secret in `data_dir`; draws it when there is none. Of processes that start together one draws.
    pub(super) fn open(data_dir: &Path) -> Result<Self, ServiceError> {
        fsx::create_private_dir(data_dir)?;
        let path = data_dir.join(NAME);
        if !path.try_exists()? {
            let mut drawn = Zeroizing::new([0; SECRET_LEN]);
            linkage_common::rng().fill_bytes(&mut *drawn);
            let own = data_dir.join(format!("{NAME}.{:016x}", linkage_common::rng().next_u64()));
            write_secret(&own, &drawn)?;
            // A link is made whole or not at all, and never in place of a file.
            let linked = fs::hard_link(&own, &path);
            fs::remove_file(&own)?;
            match linked {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
                _ => fsx::sync_dir(data_dir)?,
            }
        }
        SecretSource::from_file(path).read_key().map(Self).map_err(ServiceError::configuration)
    }

    pub(super) fn bytes(&self) -> &[u8; SECRET_LEN] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_drawn_once_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("analyst");
        let first = CellSecret::open(&data).unwrap();
        assert_ne!(*first.bytes(), [0; SECRET_LEN]);
        assert_eq!(CellSecret::open(&data).unwrap().bytes(), first.bytes());
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
        assert_ne!(CellSecret::open(&dir.path().join("other")).unwrap().bytes(), first.bytes());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let path = data.join(NAME);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            assert!(CellSecret::open(&data).is_err());
        }
    }

    #[test]
    fn processes_that_start_together_hold_one() {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<[u8; SECRET_LEN]> = std::thread::scope(|scope| {
            let opened: Vec<_> = (0..8).map(|_| scope.spawn(|| CellSecret::open(dir.path()).map(|s| *s.bytes()))).collect();
            opened.into_iter().filter_map(|t| t.join().unwrap().ok()).collect()
        });
        let last = CellSecret::open(dir.path()).unwrap();
        assert!(!all.is_empty() && all.iter().all(|s| s == last.bytes()));
    }
}
