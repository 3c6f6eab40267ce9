//! The study on disk: the rows of all months in columns under dense numbers, in `study/` of the analyst's folder.
//!
//! One Parquet file a month, with the last run of the month (a run with a reference party does not take the place of one
//! without), the persons, records and households by number, the values of the attributes by code, and `meta.json`, which
//! says what belongs together. A run is taken in by writing new files beside the old ones and replacing `meta.json` last:
//! killed anywhere, the study is the old one or the new one. Its supersessions are applied to earlier months on the way.
//! A study that is damaged or gone is made again from the tables of the runs, or fetched again where there are none.

mod dictionaries;
mod forget;
mod meta;
mod month;
mod numbers;
mod source;
#[cfg(test)]
mod tests;
mod withdraw;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use linkage_agreement::model::{Agreement, Attribute};
use linkage_agreement::{PartyId, RunId};
use linkage_cohort::study::{AttributeColumn, Month, Study};
use linkage_cohort::supersede::Successors;
use linkage_common::error::ServiceError;
use linkage_common::fsx;

use crate::tables::{RunTables, Tables};
use dictionaries::{Dictionaries, read_values};
use meta::{FileFacts, Meta, MonthFacts};
pub use meta::{TakenRun, Touched};
use month::MonthFile;
use numbers::Numbers;
use source::{Kept, OnDisk};
pub use withdraw::Found;

/// Name of the file that one writer at a time locks.
const LOCK: &str = "lock";
/// How often a reader looks again when a writer took its files away.
const LOOKS: u32 = 5;

/// Why a study could not be read or written.
#[derive(Debug, thiserror::Error)]
enum Broken {
    /// It is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// Nothing is wrong with the study.
    #[error(transparent)]
    Failed(#[from] ServiceError),
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}
impl From<parquet::errors::ParquetError> for Broken {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::Damaged(error.to_string())
    }
}
impl From<arrow_schema::ArrowError> for Broken {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self::Damaged(error.to_string())
    }
}
impl From<Broken> for ServiceError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Damaged(what) => Self::internal(linkage_cohort::study::SourceError(what)),
            Broken::Failed(error) => error,
        }
    }
}

/// What became of a run that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is in.
    Taken,
    /// It was in already; nothing changed.
    Known,
    /// It cannot be added: a later run is in, and supersessions only follow one another in order, or the study is damaged.
    /// It must be made again.
    Unfit,
}

/// A study that was read, and its generation.
type Opened = (u64, Arc<Study>);

/// The study of one agreement on disk.
#[derive(Clone)]
pub struct StudyStore {
    folder: PathBuf,
    parties: Arc<[PartyId]>,
    attributes: Arc<[Attribute]>,
    open: Arc<Mutex<Option<Opened>>>,
}

impl StudyStore {
    /// Opens the study in `data_dir`; makes it again from the runs' tables when it is damaged, absent or of other parties. Parties
    /// that an amendment left out come after those of the agreement: what they delivered while they were in it stays.
    ///
    /// # Errors
    /// The disk.
    pub fn open(data_dir: &Path, agreement: &Agreement) -> Result<Self, ServiceError> {
        let mut parties: Vec<PartyId> = agreement.party.iter().map(|p| p.id.clone()).collect();
        // What cannot be read here is found damaged below.
        let mut former = Meta::read(&data_dir.join("study")).ok().flatten().map(|meta| meta.parties).unwrap_or_default();
        let tables = Tables::open(data_dir)?;
        for run in tables.runs()? {
            former.extend(tables.facts(&run).map(|facts| facts.parties).unwrap_or_default());
        }
        for party in former {
            if !parties.contains(&party) {
                parties.push(party);
            }
        }
        Self::of(data_dir, parties, agreement.travelling_attributes())
    }

    fn of(data_dir: &Path, parties: Vec<PartyId>, attributes: Vec<Attribute>) -> Result<Self, ServiceError> {
        let folder = data_dir.join("study");
        fsx::create_private_dir(&folder)?;
        let store = Self { folder, parties: parties.into(), attributes: attributes.into(), open: Arc::default() };
        let tables = Tables::open(data_dir)?;
        match store.sound() {
            Ok(true) => {}
            Ok(false) if tables.in_order()?.is_empty() => {}
            Err(Broken::Failed(error)) => return Err(error),
            Ok(false) | Err(Broken::Damaged(_)) => {
                let _lock = store.lock()?;
                // Another process may have made it again while this one waited.
                if !matches!(store.sound(), Ok(true)) {
                    tracing::warn!("the study is absent or damaged; it is made again from the runs' tables");
                    store.rebuild_locked(&tables)?;
                }
            }
        }
        Ok(store)
    }

    /// Whether there is a study, and all of it can be read.
    fn sound(&self) -> Result<bool, Broken> {
        let mut look = 0;
        loop {
            look += 1;
            let Some(meta) = self.meta()? else { return Ok(false) };
            match self.load(&meta) {
                Ok(_) => return Ok(true),
                Err(Broken::Damaged(_)) if look < LOOKS && self.overtaken(&meta)? => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether another process has written a generation since `meta` was read, and so deleted files of that one.
    fn overtaken(&self, meta: &Meta) -> Result<bool, Broken> {
        Ok(self.meta()?.is_some_and(|now| now.generation != meta.generation))
    }

    /// The study as it is on disk now.
    ///
    /// # Errors
    /// It was damaged since it was opened.
    pub fn study(&self) -> Result<Arc<Study>, ServiceError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut look = 0;
        loop {
            look += 1;
            let meta = self.meta()?.unwrap_or_else(|| Meta::new(self.parties.to_vec()));
            if let Some((generation, study)) = open.as_ref()
                && *generation == meta.generation
            {
                return Ok(study.clone());
            }
            match self.load(&meta) {
                Ok(study) => {
                    let study = Arc::new(study);
                    *open = Some((meta.generation, study.clone()));
                    return Ok(study);
                }
                Err(Broken::Damaged(_)) if look < LOOKS && self.overtaken(&meta)? => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The runs taken in, in the custodian's order, and what each changed.
    pub fn runs(&self) -> Result<Vec<TakenRun>, ServiceError> {
        Ok(self.meta()?.map(|meta| meta.runs).unwrap_or_default())
    }

    /// How many requests by which records were taken out or put back it has followed.
    pub fn withdrawals(&self) -> Result<u64, ServiceError> {
        Ok(self.meta()?.map(|meta| meta.withdrawals).unwrap_or_default())
    }

    /// Whether a run is taken in.
    pub fn has(&self, run: &RunId) -> Result<bool, ServiceError> {
        Ok(self.runs()?.iter().any(|taken| taken.run == *run))
    }

    /// Takes a run in, its supersessions applied to earlier months.
    ///
    /// # Errors
    /// The disk, or an attribute with more values than fit.
    pub fn add(&self, run: &RunTables) -> Result<Added, ServiceError> {
        let _lock = self.lock()?;
        match self.add_locked(run) {
            Err(Broken::Damaged(_)) => Ok(Added::Unfit),
            other => Ok(other?),
        }
    }

    /// Makes the study again from the tables of the runs.
    pub fn rebuild(&self, tables: &Tables) -> Result<(), ServiceError> {
        let _lock = self.lock()?;
        self.rebuild_locked(tables)
    }

    fn rebuild_locked(&self, tables: &Tables) -> Result<(), ServiceError> {
        let mut meta = self.emptied();
        for run in tables.in_order()? {
            let Some(run) = tables.read(&run)? else { continue };
            let before: Vec<FileFacts> = meta.files().cloned().collect();
            self.take(&mut meta, &run)?;
            // Readers see the whole study or the one before: only files that no reader has seen go on the way.
            for file in before.iter().filter(|file| meta.files().all(|kept| kept.name != file.name)) {
                std::fs::remove_file(self.folder.join(&file.name))?;
            }
        }
        Ok(meta.write(&self.folder)?)
    }

    /// Forgets the study: every run is fetched again.
    pub fn clear(&self) -> Result<(), ServiceError> {
        let _lock = self.lock()?;
        Ok(self.clear_locked()?)
    }

    fn clear_locked(&self) -> Result<(), Broken> {
        self.emptied().write(&self.folder)
    }

    /// A study without months, in a generation that no reader has seen: what one has open is of another study.
    fn emptied(&self) -> Meta {
        let before = self.meta().ok().flatten();
        let mut empty = Meta::new(self.parties.to_vec());
        empty.generation = before.as_ref().map_or(0, |meta| meta.generation) + 1;
        empty.withdrawals = before.map_or(0, |meta| meta.withdrawals);
        empty
    }

    fn lock(&self) -> Result<File, ServiceError> {
        let file = File::options().create(true).append(true).open(self.folder.join(LOCK))?;
        file.lock()?;
        Ok(file)
    }

    /// What the study says of itself; damaged when it is of other parties than the agreement's, or of others before them.
    fn meta(&self) -> Result<Option<Meta>, Broken> {
        let meta = Meta::read(&self.folder)?;
        if meta.as_ref().is_some_and(|meta| !self.parties.starts_with(&meta.parties)) {
            return Err(Broken::Damaged("parties".to_owned()));
        }
        Ok(meta)
    }

    fn file(&self, facts: &FileFacts) -> Result<File, Broken> {
        let file = File::open(self.folder.join(&facts.name)).map_err(|_| Broken::Damaged(facts.name.clone()))?;
        if file.metadata()?.len() != facts.bytes {
            return Err(Broken::Damaged(facts.name.clone()));
        }
        Ok(file)
    }

    fn bytes(&self, facts: &FileFacts) -> Result<Vec<u8>, Broken> {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut self.file(facts)?, &mut bytes)?;
        Ok(bytes)
    }

    fn load(&self, meta: &Meta) -> Result<Study, Broken> {
        let mut months = Vec::new();
        let mut files = Vec::new();
        for month in &meta.months {
            files.push(Mutex::new(MonthFile::open(self.file(&month.file)?, month.rows)?));
            months.push(Month {
                period: month.period,
                run: month.run.clone(),
                delivered: self.parties.iter().map(|party| month.delivered.contains(party)).collect(),
                rows: month.rows,
            });
        }
        let (persons, values) = match &meta.dictionaries {
            None => (None, Vec::new()),
            Some([persons, records, households, values]) => {
                self.file(records)?;
                self.file(households)?;
                (Some(persons), read_values(&self.bytes(values)?)?)
            }
        };
        let numbers: Vec<Option<usize>> =
            self.attributes.iter().map(|attribute| meta.attributes.iter().position(|name| *name == attribute.name)).collect();
        let attributes = self
            .attributes
            .iter()
            .zip(&numbers)
            .map(|(attribute, number)| AttributeColumn {
                name: attribute.name.clone(),
                rule: attribute.rule.clone(),
                values: number.and_then(|number| values.get(number)).cloned().unwrap_or_default(),
            })
            .collect();
        let source = OnDisk {
            months: files,
            rows: meta.months.iter().map(|month| month.rows).collect(),
            attributes: numbers,
            persons: Mutex::new(persons.map(|facts| self.file(facts)).transpose()?),
            pseudonyms: OnceLock::new(),
            kept: Mutex::new(Kept::default()),
        };
        Ok(Study {
            parties: self.parties.to_vec(),
            attributes,
            months,
            persons: persons.map_or(0, |facts| (facts.bytes / 16) as u32),
            source: Box::new(source),
        })
    }

    fn add_locked(&self, run: &RunTables) -> Result<Added, Broken> {
        let mut meta = self.meta()?.unwrap_or_else(|| Meta::new(self.parties.to_vec()));
        let added = self.take(&mut meta, run)?;
        if added == Added::Taken {
            meta.write(&self.folder)?;
        }
        Ok(added)
    }

    /// Takes a run into `meta`, whose files are written; what is the study stays what it was until `meta` is.
    fn take(&self, meta: &mut Meta, run: &RunTables) -> Result<Added, Broken> {
        let facts = &run.facts;
        if meta.runs.iter().any(|taken| taken.run == facts.run) {
            return Ok(Added::Known);
        }
        if meta.runs.iter().any(|taken| taken.position >= facts.position) {
            return Ok(Added::Unfit);
        }
        meta.generation += 1;
        meta.parties = self.parties.to_vec();
        let mut dictionaries = self.dictionaries(meta)?;
        let list = dictionaries.list(&run.supersessions);
        let touched = self.succeed(meta, &Successors::new(&list))?;
        let columns = dictionaries.columns(run, &meta.parties, &mut meta.attributes)?;
        let whole = |month: &MonthFacts| month.period == facts.period && month.reference_party.is_none();
        if facts.reference_party.is_none() || !meta.months.iter().any(whole) {
            let rows = columns.persons.len() as u64;
            let file = self.write(meta, &format!("{}.parquet", facts.period), &month::write(&columns.into_batch()?)?)?;
            meta.months.retain(|month| month.period != facts.period);
            meta.months.push(MonthFacts {
                period: facts.period,
                run: facts.run.clone(),
                reference_party: facts.reference_party.clone(),
                delivered: facts.parties.clone(),
                rows,
                file,
            });
            meta.months.sort_by_key(|month| month.period);
        }
        meta.dictionaries = Some(self.write_dictionaries(meta, &dictionaries)?);
        meta.runs.push(TakenRun {
            run: facts.run.clone(),
            period: facts.period,
            position: facts.position,
            changes: run.supersessions.changes(),
            touched,
        });
        Ok(Added::Taken)
    }

    fn dictionaries(&self, meta: &Meta) -> Result<Dictionaries, Broken> {
        let Some([persons, records, households, values]) = &meta.dictionaries else { return Ok(Dictionaries::default()) };
        Ok(Dictionaries {
            persons: Numbers::read(&self.bytes(persons)?)?,
            records: Numbers::read(&self.bytes(records)?)?,
            households: Numbers::read(&self.bytes(households)?)?,
            values: read_values(&self.bytes(values)?)?,
        })
    }

    fn write_dictionaries(&self, meta: &Meta, dictionaries: &Dictionaries) -> Result<[FileFacts; 4], Broken> {
        Ok([
            self.write(meta, "persons", &dictionaries.persons.to_bytes())?,
            self.write(meta, "records", &dictionaries.records.to_bytes())?,
            self.write(meta, "households", &dictionaries.households.to_bytes())?,
            self.write(meta, "values.json", &serde_json::to_vec(&dictionaries.values).map_err(ServiceError::internal)?)?,
        ])
    }

    /// Applies a list to every month; returns those of which rows changed.
    fn succeed(&self, meta: &mut Meta, successors: &Successors<u32>) -> Result<Vec<Touched>, Broken> {
        let mut touched = Vec::new();
        if successors.is_empty() {
            return Ok(touched);
        }
        for at in 0..meta.months.len() {
            let Some(month) = meta.months.get(at) else { continue };
            let held = MonthFile::open(self.file(&month.file)?, month.rows)?;
            let Some((batch, parties)) = held.succeed(successors)? else { continue };
            let parties = parties.iter().filter_map(|party| meta.parties.get(usize::from(*party)).cloned()).collect();
            touched.push(Touched { period: month.period, parties });
            let file = self.write(meta, &format!("{}.parquet", month.period), &month::write(&batch)?)?;
            if let Some(month) = meta.months.get_mut(at) {
                month.file = file;
            }
        }
        Ok(touched)
    }

    /// Writes a file under a name of this generation.
    fn write(&self, meta: &Meta, name: &str, bytes: &[u8]) -> Result<FileFacts, Broken> {
        let name = format!("{}-{name}", meta.generation);
        fsx::write_atomic(&self.folder.join(&name), bytes)?;
        Ok(FileFacts { name, bytes: bytes.len() as u64 })
    }
}
