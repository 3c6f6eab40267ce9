//! The access log: who asked for what, when, and what came of it.
//!
//! One line of JSON for each question, view, export and decision, in one file a month (`access/AAAA-MM.jsonl`), appended
//! and synchronised before the answer leaves: what cannot be noted is not shown. It holds identities of those who look,
//! titles and digests, never a figure, a pseudonym or a document. Months past the agreement's
//! `retention.access_log_months` are deleted by [`crate::retention`].

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use linkage_agreement::Period;
use linkage_common::clock::Clock;
use linkage_common::error::{ErrorKind, ServiceError};
use linkage_common::fsx;
use serde::{Deserialize, Serialize};

/// Most characters kept of a subject.
const SUBJECT: usize = 300;
/// Ending of the files.
const ENDING: &str = "jsonl";

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// The holder of a certificate, by its URI.
    Certificate(String),
    /// Somebody who logged in to the page, as the issuer names them.
    Login(String),
    /// An account of the machine that the analyst's side runs on, through the command line.
    Console(String),
}

impl Who {
    /// The account that runs this process, as its environment names it.
    pub fn console() -> Self {
        let account = ["LOGNAME", "USER"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
        Self::Console(account.unwrap_or_else(|| "compte inconnu".to_owned()))
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(uri) => f.write_str(uri),
            Self::Login(name) => write!(f, "session {name}"),
            Self::Console(account) => write!(f, "console {account}"),
        }
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A query was asked.
    Query,
    /// A page or a list was looked at.
    View,
    /// Figures left as a file.
    Export,
    /// A table was put forward for publication.
    Publish,
    /// A producer approved.
    Approve,
    /// A producer rejected.
    Reject,
    /// A session began.
    Login,
}

impl Action {
    /// In words.
    pub fn french(self) -> &'static str {
        match self {
            Self::Query => "requête",
            Self::View => "consultation",
            Self::Export => "export",
            Self::Publish => "publication",
            Self::Approve => "approbation",
            Self::Reject => "rejet",
            Self::Login => "connexion",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Done.
    Done,
    /// Refused: not allowed, not well formed, over a limit.
    Refused,
    /// A fault of this side.
    Failed,
}

impl Outcome {
    /// What a result comes to.
    pub fn of<T>(result: &Result<T, ServiceError>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(error) if matches!(error.kind, ErrorKind::Internal | ErrorKind::Unavailable) => Self::Failed,
            Err(_) => Self::Refused,
        }
    }
    /// In words.
    pub fn french(self) -> &'static str {
        match self {
            Self::Done => "fait",
            Self::Refused => "refusé",
            Self::Failed => "en échec",
        }
    }
}

/// One line, as the caller states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access<'a> {
    /// Who.
    pub who: &'a Who,
    /// What.
    pub action: Action,
    /// Title of the query, name of the page or of the file.
    pub subject: &'a str,
    /// Digest of the query document, where there is one.
    pub query: Option<&'a str>,
    /// The publication, where there is one.
    pub publication: Option<&'a str>,
    /// What came of it.
    pub outcome: Outcome,
}

/// One line, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When, seconds since 1970.
    pub at: i64,
    /// Who.
    pub who: Who,
    /// What.
    pub action: Action,
    /// See [`Access::subject`].
    pub subject: String,
    /// See [`Access::query`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// See [`Access::publication`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publication: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
}

/// The log.
#[derive(Clone)]
pub struct AccessLog {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    /// One line at a time in this process; between processes each line is one write of an appending file.
    writing: Arc<Mutex<()>>,
}

impl AccessLog {
    /// Opens (and creates) the log in `data_dir`.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(data_dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, ServiceError> {
        let folder = data_dir.join("access");
        fsx::create_private_dir(&folder)?;
        Ok(Self { folder, clock, writing: Arc::default() })
    }

    fn path(&self, month: Period) -> PathBuf {
        self.folder.join(format!("{month}.{ENDING}"))
    }

    /// Notes one access, durably.
    ///
    /// # Errors
    /// It could not be written; what was asked for must then not be shown.
    pub fn note(&self, access: &Access<'_>) -> Result<(), ServiceError> {
        let line = Line {
            at: self.clock.now().as_second(),
            who: access.who.clone(),
            action: access.action,
            subject: access.subject.chars().take(SUBJECT).collect(),
            query: access.query.map(str::to_owned),
            publication: access.publication.map(str::to_owned),
            outcome: access.outcome,
        };
        let mut text = serde_json::to_vec(&line).map_err(ServiceError::internal)?;
        text.push(b'\n');
        let path = self.path(Period::of(self.clock.today()));
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = open_appending(&path)?;
        // A process that was killed may have left half a line: the next one must not be joined to it.
        if !ends_a_line(&mut file)? {
            text.insert(0, b'\n');
        }
        file.write_all(&text)?;
        Ok(file.sync_data()?)
    }

    /// Notes what `result` came to and passes it on; an access that cannot be noted is refused.
    ///
    /// # Errors
    /// That of `result`, or that of [`Self::note`].
    pub fn noted<T>(&self, mut access: Access<'_>, result: Result<T, ServiceError>) -> Result<T, ServiceError> {
        access.outcome = Outcome::of(&result);
        self.note(&access)?;
        result
    }

    /// The months that are kept, rising.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn months(&self) -> Result<Vec<Period>, ServiceError> {
        let mut months = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == ENDING) {
                months.extend(path.file_stem().and_then(|s| s.to_str()?.parse::<Period>().ok()));
            }
        }
        months.sort_unstable();
        Ok(months)
    }

    /// The lines of a month in order, and how many were unreadable.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn lines(&self, month: Period) -> Result<(Vec<Line>, u64), ServiceError> {
        let file = match File::open(self.path(month)) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
            Err(error) => return Err(error.into()),
        };
        let (mut lines, mut unreadable) = (Vec::new(), 0);
        for line in BufReader::new(file).split(b'\n') {
            match serde_json::from_slice(&line?) {
                Ok(line) => lines.push(line),
                Err(error) if error.is_eof() && error.column() == 0 => {}
                Err(_) => unreadable += 1,
            }
        }
        Ok((lines, unreadable))
    }

    /// Deletes a month.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn forget(&self, month: Period) -> Result<(), ServiceError> {
        match std::fs::remove_file(self.path(month)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn open_appending(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn ends_a_line(file: &mut File) -> std::io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use linkage_common::clock::MockClock;

    use super::*;

    fn clock(day: &str) -> MockClock {
        MockClock::at(format!("{day}T12:00:00Z").parse().unwrap())
    }

    fn access<'a>(who: &'a Who, subject: &'a str) -> Access<'a> {
        Access { who, action: Action::Query, subject, query: Some("ab12"), publication: None, outcome: Outcome::Done }
    }

    #[test]
    fn lines_are_kept_in_order_and_half_a_line_joins_no_other() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), clock("2026-11-22"));
        let log = AccessLog::open(dir.path(), Arc::new(clock.clone())).unwrap();
        let month: Period = "2026-11".parse().unwrap();
        let who = Who::Login("a\"b\nc".to_owned());
        log.note(&access(&who, "première\nligne")).unwrap();
        std::io::Write::write_all(&mut open_appending(&log.path(month)).unwrap(), b"{\"at\":12").unwrap();
        let refused: Result<(), ServiceError> = log.noted(access(&who, "deux"), Err(ServiceError::invalid("non ; corrigez")));
        assert_eq!(refused, Err(ServiceError::invalid("non ; corrigez")));
        let (lines, unreadable) = log.lines(month).unwrap();
        assert_eq!(unreadable, 1);
        assert_eq!(
            lines.iter().map(|l| (l.subject.as_str(), l.outcome)).collect::<Vec<_>>(),
            [("première\nligne", Outcome::Done), ("deux", Outcome::Refused)]
        );
        assert!(lines.iter().all(|l| l.who == who && l.at == clock.now().as_second()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(log.path(month)).unwrap().permissions().mode() & 0o077, 0);
        }
    }
}
