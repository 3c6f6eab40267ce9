//! The ledger of what was shown: cells with their units' keys, so that later answers do not tell by difference who is
//! in them (see `linkage_cohort::disclosure::audit`), and the reports that were answered under suppression, drafts as
//! well as publications, so that no two of them give away together what each hides.
//!
//! Two files (`shown.jsonl`, `reports.jsonl`, mode 0600), and the keys of persons by which cells are compared (`persons.keys`), for all processes of an analyst's side: whoever answers holds the
//! first locked from reading what was shown before until what is shown now is on disk, so that of two answers one knows the
//! other. What is there already is not written again. The files are raw, and go into backups with the secret of the cell keys.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use linkage_agreement::Period;
use linkage_cohort::disclosure::Published;
use linkage_cohort::disclosure::audit::{Ledger, Remembered};
use linkage_common::error::ServiceError;

use super::asked;
use super::lines::{Lines, digest, lines};

/// Cells shown.
const SHOWN: &str = "shown.jsonl";
/// Reports answered under suppression.
const REPORTS: &str = "reports.jsonl";
/// Keys of all persons who were ever in the study when something was shown, a line each. Who has been taken out must still be known
/// by it, or the difference between two answers would tell whom. Sums of them stand in the other files.
const PERSONS: &str = "persons.keys";
/// Most cells of reports that later ones are protected beside: beyond, reports bear noise like queries.
const MOST_KEPT: usize = 500_000;

/// What this process has read of the files.
pub(super) struct ShownBefore {
    data_dir: PathBuf,
    shown: Lines,
    ledger: Ledger,
    /// Keys of the persons of the study.
    own: Vec<u64>,
    persons: Lines,
    persons_known: BTreeSet<u64>,
    /// Digests of the cells' lines.
    known: HashSet<[u8; 16]>,
    reports: Lines,
    kept: Arc<Vec<Published>>,
    /// Digests of the reports' lines.
    kept_known: HashSet<[u8; 16]>,
}

/// The ledger, locked and up to date.
pub(super) struct Locked<'l> {
    file: File,
    before: &'l mut ShownBefore,
}

impl ShownBefore {
    /// Of nothing yet, for persons with these keys.
    pub(super) fn new(data_dir: &Path, person_keys: &[u64]) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            shown: Lines::new(data_dir.join(SHOWN)),
            ledger: Ledger::new(&[]),
            own: person_keys.to_vec(),
            persons: Lines::new(data_dir.join(PERSONS)),
            persons_known: BTreeSet::new(),
            known: HashSet::new(),
            reports: Lines::new(data_dir.join(REPORTS)),
            kept: Arc::default(),
            kept_known: HashSet::new(),
        }
    }

    /// Waits for the files and takes in what others have shown since.
    pub(super) fn lock(&mut self) -> Result<Locked<'_>, ServiceError> {
        let mut file = self.shown.open()?;
        file.lock()?;
        let news = self.shown.news(&mut file)?;
        if news.again {
            self.ledger.clear();
            self.known.clear();
        }
        for line in lines(&news.text) {
            let cell: Remembered = serde_json::from_slice(line).map_err(|_| damaged(SHOWN))?;
            if self.known.insert(digest(line)) {
                self.ledger.extend([cell]);
            }
        }
        let news = self.reports.news(&mut self.reports.open()?)?;
        if news.again {
            (self.kept, self.kept_known) = (Arc::default(), HashSet::new());
        }
        for line in lines(&news.text) {
            self.take_in(line, REPORTS)?;
        }
        self.know_persons()?;
        Ok(Locked { file, before: self })
    }

    /// Takes in the keys of persons that others know, and writes down those that none does; the first file is locked.
    fn know_persons(&mut self) -> Result<(), ServiceError> {
        let mut file = self.persons.open()?;
        let news = self.persons.news(&mut file)?;
        let before = self.persons_known.len();
        if news.again {
            self.persons_known.clear();
        }
        for line in lines(&news.text) {
            let key = std::str::from_utf8(line).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
            self.persons_known.insert(key.ok_or_else(|| damaged(PERSONS))?);
        }
        let new: Vec<u64> = self.own.iter().copied().filter(|key| self.persons_known.insert(*key)).collect();
        if !new.is_empty() {
            let text: String = new.iter().map(|key| format!("{key:016x}\n")).collect();
            self.persons.append(&mut file, text.as_bytes())?;
        }
        if news.again || self.persons_known.len() != before {
            self.ledger.know_persons(&self.persons_known.iter().copied().collect::<Vec<_>>());
        }
        Ok(())
    }

    fn take_in(&mut self, line: &[u8], name: &str) -> Result<(), ServiceError> {
        if self.kept_known.insert(digest(line)) {
            let tables: Vec<Published> = serde_json::from_slice(line).map_err(|_| damaged(name))?;
            Arc::make_mut(&mut self.kept).extend(tables);
        }
        Ok(())
    }
}

fn damaged(name: &str) -> ServiceError {
    ServiceError::internal(format!(
        "what was shown ({name}) is damaged; restore it from a backup: without it answers could be compared"
    ))
}

impl Locked<'_> {
    /// The cells shown before.
    pub(super) fn ledger(&mut self) -> &mut Ledger {
        &mut self.before.ledger
    }

    /// The reports answered under suppression, those of the journal (`published`) among them; none when they are too many
    /// for another to be protected beside them.
    pub(super) fn reports(&mut self, published: &[Vec<u8>]) -> Result<Option<Arc<Vec<Published>>>, ServiceError> {
        for document in published {
            self.before.take_in(document, "journal.sqlite")?;
        }
        let cells: usize = self.before.kept.iter().map(Published::cells).sum();
        Ok((cells <= MOST_KEPT).then(|| self.before.kept.clone()))
    }

    /// Counts a question against the bound of the month.
    pub(super) fn count(&self, month: Period, question: String) -> Result<(), ServiceError> {
        asked::count(&self.before.data_dir, month, question, asked::PER_MONTH)
    }

    /// Remembers cells, and the `report` that they are of where it was made under suppression, durably; only then may they
    /// be shown.
    pub(super) fn remember(self, cells: Vec<Remembered>, report: Option<&[Published]>) -> Result<(), ServiceError> {
        let Self { mut file, before } = self;
        if let Some(report) = report {
            let line = serde_json::to_vec(report).map_err(ServiceError::internal)?;
            if !before.kept_known.contains(&digest(&line)) {
                before.reports.append(&mut before.reports.open()?, &[line.as_slice(), b"\n"].concat())?;
                before.take_in(&line, REPORTS)?;
            }
        }
        let mut text = Vec::new();
        let mut new = Vec::new();
        for cell in cells {
            let line = serde_json::to_vec(&cell).map_err(ServiceError::internal)?;
            let digest = digest(&line);
            if !before.known.contains(&digest) {
                text.extend_from_slice(&line);
                text.push(b'\n');
                new.push((digest, cell));
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        before.shown.append(&mut file, &text)?;
        for (digest, cell) in new {
            if before.known.insert(digest) {
                before.ledger.extend([cell]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_persons_are_written_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let known = |keys: &[u64]| {
            let mut before = ShownBefore::new(dir.path(), keys);
            before.lock().unwrap();
            before.lock().unwrap();
            before.persons_known.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(known(&[7, 3]), [3, 7]);
        assert_eq!(known(&[7]), [3, 7], "who has been taken out");
        assert_eq!(known(&[7, u64::MAX]), [3, 7, u64::MAX]);
        let text = std::fs::read_to_string(dir.path().join(PERSONS)).unwrap();
        assert_eq!(text.lines().count(), 3);
        linkage_common::fsx::write_atomic(&dir.path().join(PERSONS), b"no key\n").unwrap();
        assert!(ShownBefore::new(dir.path(), &[7]).lock().is_err());
    }
}
