//! What a study on disk says of itself: `meta.json`, the one file whose replacement makes the others the study.

use std::path::Path;

use linkage_agreement::{PartyId, Period, RunId};
use linkage_cohort::supersede::Changes;
use linkage_common::fsx;
use serde::{Deserialize, Serialize};

use super::Broken;

/// Version of the layout; another one is rebuilt.
const VERSION: u32 = 1;
/// Name of the file.
const NAME: &str = "meta.json";
/// Most bytes of it.
const LIMIT: u64 = 64 << 20;

/// A file of the study. Its name is never used again for other content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileFacts {
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// One month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MonthFacts {
    pub(super) period: Period,
    pub(super) run: RunId,
    pub(super) reference_party: Option<PartyId>,
    pub(super) delivered: Vec<PartyId>,
    pub(super) rows: u64,
    pub(super) file: FileFacts,
}

/// A month of which a later run changed rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// The month.
    pub period: Period,
    /// Parties whose records bear another person now.
    pub parties: Vec<PartyId>,
}

/// A run that the study has taken in, and what it changed of earlier months.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenRun {
    /// The run.
    pub run: RunId,
    /// Its month.
    pub period: Period,
    /// Its place in the order of the custodian's runs.
    pub position: u64,
    /// How much it changed.
    pub changes: Changes,
    /// Which months held rows that it changed.
    pub touched: Vec<Touched>,
}

/// The study.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    version: u32,
    /// Grows with every change.
    pub(super) generation: u64,
    /// Parties, in the agreement's order: codes in the files.
    pub(super) parties: Vec<PartyId>,
    /// Attributes in the order in which they were first met: a month's file holds those of its time.
    pub(super) attributes: Vec<String>,
    /// Months, rising.
    pub(super) months: Vec<MonthFacts>,
    /// Runs, in the custodian's order.
    pub(super) runs: Vec<TakenRun>,
    /// Requests by which records were taken out or put back, so that figures before and after are told apart.
    #[serde(default)]
    pub(super) withdrawals: u64,
    /// Pseudonyms of persons, of records, names of households, by number; values of attributes, by code.
    pub(super) dictionaries: Option<[FileFacts; 4]>,
}

impl Meta {
    /// Of a study without months.
    pub(super) fn new(parties: Vec<PartyId>) -> Self {
        Self {
            version: VERSION,
            generation: 0,
            parties,
            attributes: Vec::new(),
            months: Vec::new(),
            runs: Vec::new(),
            withdrawals: 0,
            dictionaries: None,
        }
    }
    /// What lies in `folder`; none when nothing does.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, Broken> {
        let bytes = match fsx::read_limited(&folder.join(NAME), LIMIT) {
            Ok(bytes) => bytes,
            Err(fsx::FileError::Unreadable { kind: std::io::ErrorKind::NotFound, .. } | fsx::FileError::Missing { .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(Broken::Damaged(error.to_string())),
        };
        let meta: Self = serde_json::from_slice(&bytes).map_err(|e| Broken::Damaged(e.to_string()))?;
        if meta.version != VERSION {
            return Err(Broken::Damaged("version".to_owned()));
        }
        Ok(Some(meta))
    }
    /// Makes this the study of `folder`, and deletes files that are of none.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Broken> {
        let bytes = serde_json::to_vec(self).map_err(|e| Broken::Damaged(e.to_string()))?;
        fsx::write_atomic(&folder.join(NAME), &bytes)?;
        self.sweep(folder)
    }
    /// The files of the study.
    pub(super) fn files(&self) -> impl Iterator<Item = &FileFacts> {
        self.months.iter().map(|m| &m.file).chain(self.dictionaries.iter().flatten())
    }
    /// Deletes what a killed process or an earlier generation left.
    fn sweep(&self, folder: &Path) -> Result<(), Broken> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let ours = |known: &str| name.to_str() == Some(known);
            if !ours(NAME) && !ours(super::LOCK) && !self.files().any(|file| ours(&file.name)) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}
