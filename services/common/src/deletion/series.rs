//! A role's certificates in a folder, numbered from 1: `certificates/NUMBER.json`, and `NUMBER.pending` for what is under way.
//!
//! What is to be deleted is written down under its number before anything is deleted, and signed after. A process killed in
//! between finds it, deletes what is left by the same day's terms and signs what was written down: nothing is deleted without
//! a certificate, and no certificate comes before the deletion.

use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use linkage_agreement::Agreement;

use super::{Draft, LIMIT, sign};
use crate::error::ServiceError;
use crate::fsx;
use crate::signer::Signer;

const ENDING: &str = "json";
const PENDING: &str = "pending";
/// Digits of a number in a file's name, so that names sort as numbers do.
const DIGITS: usize = 8;

/// The certificates of a role.
#[derive(Debug, Clone)]
pub struct Series {
    folder: PathBuf,
}

/// The folder of certificates in a role's own.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("certificates")
}

impl Series {
    /// The certificates in `data_dir`; the folder is made with the first.
    pub fn new(data_dir: &Path) -> Self {
        Self { folder: folder(data_dir) }
    }

    fn path(&self, number: u64, ending: &str) -> PathBuf {
        self.folder.join(format!("{number:0DIGITS$}.{ending}"))
    }

    fn numbers(&self, endings: &[&str]) -> Result<Vec<u64>, ServiceError> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let of_ours = path.extension().and_then(|e| e.to_str()).is_some_and(|e| endings.contains(&e));
            if of_ours && let Some(number) = path.file_stem().and_then(|s| s.to_str()?.parse().ok()) {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// The certificates' files, in order.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn files(&self) -> Result<Vec<PathBuf>, ServiceError> {
        Ok(self.numbers(&[ENDING])?.into_iter().map(|number| self.path(number, ENDING)).collect())
    }

    /// Number of the newest certificate here; 0 for none.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn last(&self) -> Result<u64, ServiceError> {
        Ok(self.numbers(&[ENDING])?.last().copied().unwrap_or(0))
    }

    /// What was begun and is not certified, in order.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn pending(&self) -> Result<Vec<(u64, Draft)>, ServiceError> {
        let read = |number| {
            let bytes = fsx::read_limited(&self.path(number, PENDING), LIMIT).map_err(ServiceError::internal)?;
            Ok((number, serde_json::from_slice(&bytes).map_err(ServiceError::internal)?))
        };
        self.numbers(&[PENDING])?.into_iter().map(read).collect()
    }

    /// Writes down what is about to be deleted, under the next number.
    ///
    /// # Errors
    /// The disk; nothing may be deleted then.
    pub fn begin(&self, draft: &Draft) -> Result<u64, ServiceError> {
        fsx::create_private_dir(&self.folder)?;
        // A command and a service may delete at once: one number each.
        let lock = File::options().create(true).append(true).open(self.folder.join("lock"))?;
        lock.lock()?;
        let number = self.numbers(&[ENDING, PENDING])?.last().map_or(1, |last| last + 1);
        let bytes = serde_json::to_vec(draft).map_err(ServiceError::internal)?;
        fsx::write_atomic(&self.path(number, PENDING), &bytes)?;
        Ok(number)
    }

    /// Certifies number `number`, now that what was written down under it is deleted. Killed anywhere, it can be repeated.
    ///
    /// # Errors
    /// The disk.
    pub fn complete(
        &self,
        signer: &Signer,
        agreement: &Agreement,
        number: u64,
        draft: &Draft,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        let certificate = self.path(number, ENDING);
        if !certificate.try_exists()? {
            fsx::write_atomic(&certificate, sign(signer, agreement, draft, number, now)?.as_bytes())?;
        }
        match std::fs::remove_file(self.path(number, PENDING)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        tracing::info!(number, rule = draft.rule, cause = ?draft.cause, data = %summary(draft), "data deleted, certificate signed");
        Ok(())
    }

    /// Certifies what has been deleted already by something that keeps its own account of it.
    ///
    /// # Errors
    /// The disk.
    pub fn certify(&self, signer: &Signer, agreement: &Agreement, draft: &Draft, now: Timestamp) -> Result<(), ServiceError> {
        let number = self.begin(draft)?;
        self.complete(signer, agreement, number, draft, now)
    }

    /// Keeps a certificate that was made elsewhere (a database that several processes share).
    ///
    /// # Errors
    /// The disk.
    pub fn mirror(&self, number: u64, text: &str) -> Result<(), ServiceError> {
        let path = self.path(number, ENDING);
        if path.try_exists()? {
            return Ok(());
        }
        fsx::create_private_dir(&self.folder)?;
        Ok(fsx::write_atomic(&path, text.as_bytes())?)
    }
}

/// Sets and counts, for the log.
fn summary(draft: &Draft) -> String {
    let count = |n: Option<u64>, what: &str| n.map(|n| format!(" {n} {what}")).unwrap_or_default();
    let set = |d: &super::DataSet| format!("{}{}{}", d.set, count(d.records, "records"), count(d.files, "files"));
    draft.data.iter().map(set).collect::<Vec<_>>().join(", ")
}
