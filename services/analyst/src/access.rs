//! The access log: who asked for what, when, and what came of it.
//!
//! One line of JSON for each question, view, export and decision, in one file a month (`access/AAAA-MM.jsonl`), appended
//! and synchronised before the answer leaves: what cannot be noted is not shown. It holds identities of those who look,
//! titles and digests, never a figure, a pseudonym or a document. Months past the agreement's
//! `retention.access_log_months` are deleted by [`crate::retention`].
//!
//! Lines are numbered and chained by hashes ([`chain`]); the audit log, which partners countersign, is told the head of the
//! chain every hour, so that a line that was removed or changed is found ([`AccessLog::verify`]).

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use linkage_agreement::Period;
use linkage_common::audit::months;
use linkage_common::clock::Clock;
use linkage_common::error::{ErrorKind, ServiceError};
use linkage_common::fsx;
use serde::{Deserialize, Serialize};

pub use chain::Head;
use chain::{Anchor, Tail};
pub(crate) use verify::{DELETED, HEAD};
pub use verify::{Fault, FaultKind, Report};

mod chain;
#[cfg(test)]
mod tests;
mod verify;

/// Most characters kept of a subject.
const SUBJECT: usize = 300;
/// Most characters kept of what names somebody.
const NAME: usize = 512;
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
    /// The account that runs this process: its number, which it cannot choose, and what the environment calls it.
    pub fn console() -> Self {
        let number = format!("uid {}", rustix::process::getuid().as_raw());
        let said = ["LOGNAME", "USER"].iter().find_map(|name| std::env::var(name).ok());
        let plain = |c: &char| c.is_ascii_alphanumeric() || "-_.@".contains(*c);
        let said: String = said.unwrap_or_default().chars().filter(plain).take(64).collect();
        Self::Console(if said.is_empty() { number } else { format!("{number} ({said})") })
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
    /// Somebody may come in and act again.
    Enable,
    /// Somebody may not any more.
    Disable,
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
            Self::Enable => "activation d'un compte",
            Self::Disable => "désactivation d'un compte",
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
    /// Number, from 1; 0 for a line from before lines were chained.
    #[serde(default)]
    pub n: u64,
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

    /// Notes one access, durably.
    ///
    /// # Errors
    /// It could not be written; what was asked for must then not be shown.
    pub fn note(&self, access: &Access<'_>) -> Result<(), ServiceError> {
        let (at, today) = (self.clock.now().as_second(), Period::of(self.clock.today()));
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let _locked = months::lock(&self.folder)?;
        let tail = Tail::of(&self.folder)?;
        let line = Line {
            n: tail.head.number + 1,
            at,
            who: bounded(access.who),
            action: access.action,
            subject: access.subject.chars().take(SUBJECT).collect(),
            query: access.query.map(str::to_owned),
            publication: access.publication.map(str::to_owned),
            outcome: access.outcome,
        };
        let mut text = chain::write(&line, &tail.head).map_err(ServiceError::internal)?;
        text.push('\n');
        // A clock that was set back does not put lines before earlier ones.
        let month = tail.month.map_or(today, |last| last.max(today));
        let path = months::path(&self.folder, month);
        let new = tail.month != Some(month);
        let mut file = months::open_appending(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        if new {
            fsx::sync_dir(&self.folder)?;
        }
        Ok(())
    }

    /// The months that are kept, rising.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn months(&self) -> Result<Vec<Period>, ServiceError> {
        Ok(months::months(&self.folder)?)
    }

    /// The last line's number and the chain's value there; number 0 where nothing is chained yet.
    ///
    /// # Errors
    /// The log cannot be read, or is damaged at its end.
    pub fn head(&self) -> Result<Head, ServiceError> {
        let _locked = months::lock(&self.folder)?;
        Ok(Tail::of(&self.folder)?.head)
    }

    /// Where the chain goes on once `month` is deleted; none when nothing in it is chained.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged at its end.
    pub(crate) fn end_of(&self, month: Period) -> Result<Option<Head>, ServiceError> {
        let _locked = months::lock(&self.folder)?;
        chain::end_of(&months::path(&self.folder, month))
    }

    /// The lines of a month in order, and how many were unreadable.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn lines(&self, month: Period) -> Result<(Vec<Line>, u64), ServiceError> {
        let read = match months::lines(&months::path(&self.folder, month)) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
            Err(error) => return Err(error.into()),
        };
        let (mut lines, mut unreadable) = (Vec::new(), 0);
        for line in read {
            let (_, line, _) = line?;
            match serde_json::from_slice(&line) {
                Ok(line) => lines.push(line),
                Err(_) if line.is_empty() => {}
                Err(_) => unreadable += 1,
            }
        }
        Ok((lines, unreadable))
    }

    /// Deletes a month, and keeps where the chain goes on.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn forget(&self, month: Period) -> Result<(), ServiceError> {
        let _locked = months::lock(&self.folder)?;
        let path = months::path(&self.folder, month);
        if let Some(end) = chain::end_of(&path)? {
            Anchor::keep(&self.folder, &end)?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Names come from outside: what is kept of them is bounded.
fn bounded(who: &Who) -> Who {
    let short = |name: &str| name.chars().take(NAME).collect();
    match who {
        Who::Certificate(uri) => Who::Certificate(short(uri)),
        Who::Login(name) => Who::Login(short(name)),
        Who::Console(account) => Who::Console(short(account)),
    }
}
