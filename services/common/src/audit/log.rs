//! The log that a running role writes.
//!
//! Those who write at the same time share one synchronisation of the disk: whoever gets the file writes what all have queued.
//! What could not be written stays queued and is tried again before anything else; until it is written, calls are refused
//! ([`AuditLog::ready`]): what cannot be entered is not done.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linkage_agreement::{RoleId, certificate_identity};

use super::config::Place;
use super::entry::{self, Act, Entry, Outcome};
use super::files::{Files, Found, Head};
use super::fold::Folds;
use super::segments;
use crate::error::ServiceError;
use crate::fsx;
use crate::gate::Gate;

/// What the command line is called in entries.
pub(super) const OPERATOR: &str = "operator";

/// A role's audit log. Clones share it.
#[derive(Clone)]
pub struct AuditLog {
    pub(super) inner: Arc<Inner>,
    /// Whether acts are those of an operator on the command line.
    operator: bool,
}

pub(super) struct Inner {
    pub(super) gate: Arc<Gate>,
    pub(super) role: RoleId,
    pub(super) log: String,
    /// The role's own URI.
    own: String,
    queue: Mutex<Queue>,
    pub(super) files: Mutex<Files>,
    folds: Mutex<Folds>,
    /// The last attempt to write failed.
    failing: AtomicBool,
    /// No backup is restored meanwhile.
    _in_use: std::fs::File,
}

#[derive(Default)]
struct Queue {
    /// Not written yet, in order.
    waiting: Vec<Entry>,
    /// How many were ever queued, and written.
    queued: u64,
    written: u64,
}

pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuditLog({}, {})", self.inner.role, self.inner.log)
    }
}

impl AuditLog {
    /// Opens (and creates) the log of `role` at `place`.
    ///
    /// # Errors
    /// The folder cannot be written to, or the log's end cannot be read: the message says what to do.
    pub fn open(place: &Place, gate: Arc<Gate>, role: RoleId) -> Result<Self, ServiceError> {
        let in_use = place.in_use().map_err(|e| cannot_start(&place.folder, &e))?;
        let files = Files::open(&place.folder, entry::start(&role, &place.log)).map_err(|e| cannot_start(&place.folder, &e))?;
        let own = certificate_identity(&gate.agreement().agreement.id, &role);
        let inner = Inner {
            gate,
            role,
            log: place.log.clone(),
            own,
            queue: Mutex::default(),
            files: Mutex::new(files),
            folds: Mutex::default(),
            failing: AtomicBool::new(false),
            _in_use: in_use,
        };
        Ok(Self { inner: Arc::new(inner), operator: false })
    }

    /// The log to go on in when the role's database was last restored from a backup at `moment`, as that database says. Where the
    /// restoration was made under the name of another process, this log does not know of it: it goes on as another one, whose first
    /// entry says so, and partners see that the role was restored whichever process answers them.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Self::note`].
    pub fn since(self, moment: Option<&str>) -> Result<Self, ServiceError> {
        let (here, role) = (self.place(), self.inner.role.clone());
        let log = moment.map(|moment| segments::after(&here.log, moment)).filter(|log| *log > here.log);
        let audit = match (log, here.folder.parent()) {
            (Some(log), Some(dir)) => Self::open(&Place { folder: dir.join(&log), log }, self.inner.gate.clone(), role.clone())?,
            _ => self,
        };
        // A process that was killed may have made the folder and entered nothing.
        if segments::restoration(&audit.inner.log).is_some() && audit.head()?.number == 0 {
            let before =
                audit.place().before().and_then(|before| segments::position(&role, &before)).map_err(|e| unusable(&e))?;
            audit.note(Act::own("backup.restored").records(before.map_or(0, |at| at.head.number)))?;
        }
        Ok(audit)
    }

    /// The same log, for acts of an operator on the command line.
    #[must_use]
    pub fn by_operator(mut self) -> Self {
        self.operator = true;
        self
    }

    /// The same log, for acts of the role itself.
    #[must_use]
    pub fn by_role(mut self) -> Self {
        self.operator = false;
        self
    }

    /// Enters an act; it is on disk when this returns.
    ///
    /// # Errors
    /// `Exhausted` on a full disk, `Unavailable` when the log cannot be written to. It is tried again before the next entry.
    pub fn note(&self, act: Act) -> Result<(), ServiceError> {
        let ticket = self.queue([(self.inner.gate.now(), act)])?;
        self.written(ticket)
    }

    /// As [`Self::note`], without holding up a thread of the runtime.
    ///
    /// # Errors
    /// As [`Self::note`].
    pub async fn record(&self, act: Act) -> Result<(), ServiceError> {
        let log = self.clone();
        tokio::task::spawn_blocking(move || log.note(act)).await.map_err(ServiceError::internal)?
    }

    /// Enters an act that may be counted together with others like it, on disk within a moment.
    pub(super) fn fold(&self, act: Act) {
        let due = held(&self.inner.folds).take(act, self.inner.gate.now());
        self.soon(due);
    }

    /// Enters an act without waiting for the disk.
    pub(super) fn soon(&self, due: impl IntoIterator<Item = (i64, Act)>) {
        let queued = match self.queue(due) {
            Ok(queued) => queued,
            Err(_) => return self.inner.failing.store(true, Ordering::Release),
        };
        if held(&self.inner.queue).written >= queued {
            return;
        }
        let log = self.clone();
        let write = move || {
            if let Err(error) = log.written(queued) {
                tracing::error!(%error, "the audit log cannot be written to; calls are refused until it can");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(write)),
            Err(_) => write(),
        }
    }

    /// Refuses while the log cannot be written to.
    pub(super) async fn ready(&self) -> Result<(), ServiceError> {
        if !self.inner.failing.load(Ordering::Acquire) {
            return Ok(());
        }
        let log = self.clone();
        let flush = move || {
            let queued = held(&log.inner.queue).queued;
            log.written(queued)
        };
        tokio::task::spawn_blocking(flush).await.map_err(ServiceError::internal)?
    }

    /// Enters what is still counted; for the end of a process.
    ///
    /// # Errors
    /// As [`Self::note`].
    pub fn close(&self) -> Result<(), ServiceError> {
        let due = held(&self.inner.folds).all();
        let queued = self.queue(due)?;
        self.written(queued)
    }

    /// The log's head.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn head(&self) -> Result<Head, ServiceError> {
        held(&self.inner.files).head().map_err(|e| unusable(&e))
    }

    /// Whose log this is.
    pub fn role(&self) -> &RoleId {
        &self.inner.role
    }

    /// The log's folder and name.
    pub fn place(&self) -> Place {
        Place { folder: held(&self.inner.files).folder().to_owned(), log: self.inner.log.clone() }
    }

    /// Queues acts; returns how many have ever been.
    fn queue(&self, acts: impl IntoIterator<Item = (i64, Act)>) -> Result<u64, ServiceError> {
        let mut entries = Vec::new();
        for (at, act) in acts {
            entries.push(self.entry(at, act).map_err(ServiceError::internal)?);
        }
        let mut queue = held(&self.inner.queue);
        queue.queued += entries.len() as u64;
        queue.waiting.extend(entries);
        Ok(queue.queued)
    }

    /// Waits until the first `ticket` entries queued are on disk, writing them if nobody else does.
    fn written(&self, ticket: u64) -> Result<(), ServiceError> {
        let role = self.clone().by_role();
        let mut files = held(&self.inner.files);
        loop {
            let mut queue = held(&self.inner.queue);
            if queue.written >= ticket {
                return Ok(());
            }
            let mut batch = std::mem::take(&mut queue.waiting);
            drop(queue);
            let done = files.append(&batch, |found| {
                let what = match found {
                    Found::Fewer => "audit.entries-missing",
                    Found::HalfALine | Found::Whole => "audit.half-line-cut",
                };
                role.entry(self.inner.gate.now(), Act::own(what).failed())
            });
            let mut queue = held(&self.inner.queue);
            match done {
                Ok(written) => {
                    batch.drain(..written.min(batch.len()));
                    queue.written += written as u64;
                    self.inner.failing.store(false, Ordering::Release);
                }
                Err(error) => {
                    batch.append(&mut queue.waiting);
                    queue.waiting = batch;
                    self.inner.failing.store(true, Ordering::Release);
                    return Err(unusable(&error));
                }
            }
            batch.append(&mut queue.waiting);
            queue.waiting = batch;
        }
    }

    fn entry(&self, at: i64, act: Act) -> io::Result<Entry> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        let own = || if self.operator { OPERATOR.to_owned() } else { self.inner.own.clone() };
        Ok(Entry {
            // Given when it is written.
            n: 0,
            at,
            who: act.who.unwrap_or_else(own),
            peer: act.peer,
            what: act.what.into_owned(),
            agreement: hex::encode(self.inner.gate.agreement_hash()),
            run: act.run,
            period: act.period,
            records: act.records,
            fields: act.fields,
            digest: act.digest,
            outcome: act.outcome,
            code: act.code.map(std::borrow::Cow::into_owned).filter(|_| act.outcome != Outcome::Done),
            count: act.count,
            salt: hex::encode(salt),
        })
    }
}

/// What a failure to read or write the log comes to, for a peer; its cause stays in this role's log.
pub(super) fn unusable(error: &io::Error) -> ServiceError {
    tracing::error!(%error, "the audit log cannot be used");
    if fsx::is_disk_full(error) {
        return ServiceError::exhausted(
            "disque plein chez le destinataire : son journal d'audit ne peut être tenu, rien n'est fait ; réessayez une fois la place faite",
        );
    }
    ServiceError::unavailable(
        "ce service ne peut tenir son journal d'audit et refuse tout appel ; prévenez son opérateur (linkage audit verify)",
    )
}

/// For the operator who starts the role.
fn cannot_start(folder: &Path, error: &io::Error) -> ServiceError {
    match error.kind() {
        io::ErrorKind::InvalidData => ServiceError::configuration(error),
        _ => ServiceError::configuration(format!(
            "{} : journal d'audit inutilisable ({error}) ; vérifiez le dossier et les droits du compte qui exécute le service",
            folder.display()
        )),
    }
}
