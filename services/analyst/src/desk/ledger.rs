//! The ledger of what was shown: cells with their units' keys, so that later answers do not tell by difference who is
//! in them (see `linkage_cohort::disclosure::audit`).
//!
//! One file (`shown.jsonl`, mode 0600) for all processes of an analyst's side: whoever answers holds it locked from reading
//! what was shown before until what is shown now is on disk, so that of two answers one knows the other. A cell that is
//! there already is not written again. The file is raw, and goes into backups with the secret of the cell keys.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use linkage_cohort::disclosure::audit::{Ledger, Remembered};
use linkage_common::error::ServiceError;
use sha2::{Digest, Sha256};

/// Name of the file.
const NAME: &str = "shown.jsonl";

/// What this process has read of the file.
pub(super) struct ShownBefore {
    path: PathBuf,
    ledger: Ledger,
    /// Digests of the cells' lines.
    known: HashSet<[u8; 16]>,
    /// Bytes read.
    read: u64,
}

/// The ledger, locked and up to date.
pub(super) struct Locked<'l> {
    file: File,
    before: &'l mut ShownBefore,
}

impl ShownBefore {
    /// Of nothing yet, for persons with these keys.
    pub(super) fn new(data_dir: &Path, person_keys: &[u64]) -> Self {
        Self { path: data_dir.join(NAME), ledger: Ledger::new(person_keys), known: HashSet::new(), read: 0 }
    }

    /// Waits for the file and takes in what others have shown since.
    pub(super) fn lock(&mut self) -> Result<Locked<'_>, ServiceError> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.path)?;
        file.lock()?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut new = Vec::new();
        file.read_to_end(&mut new)?;
        // What a killed process left is cut off: nothing of it was shown.
        let whole = new.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if whole < new.len() {
            file.set_len(self.read + whole as u64)?;
            new.truncate(whole);
        }
        let damaged = || {
            ServiceError::internal(
                "the ledger of what was shown (shown.jsonl) is damaged; restore it from a backup: without it answers could be compared",
            )
        };
        for line in new.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let cell: Remembered = serde_json::from_slice(line).map_err(|_| damaged())?;
            if self.known.insert(digest(line)) {
                self.ledger.extend([cell]);
            }
        }
        self.read += whole as u64;
        Ok(Locked { file, before: self })
    }
}

impl Locked<'_> {
    /// What was shown before.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.before.ledger
    }

    /// Remembers cells durably; only then may they be shown.
    pub(super) fn remember(self, cells: Vec<Remembered>) -> Result<(), ServiceError> {
        let mut file = self.file;
        let mut text = Vec::new();
        let mut new = Vec::new();
        for cell in cells {
            let line = serde_json::to_vec(&cell).map_err(ServiceError::internal)?;
            if self.before.known.insert(digest(&line)) {
                text.extend_from_slice(&line);
                text.push(b'\n');
                new.push(cell);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let written = file.write_all(&text).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Half a line may be there: the next to lock cuts it off, and this process reads the whole file again.
            (self.before.read, self.before.known) = (0, HashSet::new());
            return Err(error.into());
        }
        self.before.read += text.len() as u64;
        self.before.ledger.extend(new);
        Ok(())
    }
}

fn digest(line: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(line)[..16]);
    short
}
