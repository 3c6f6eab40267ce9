//! What the analyst's side keeps, until when, and its deletion: tables and months of the study, months of the access log, and
//! everything once the agreement has ended.
//!
//! The journal of publications stays: what it holds was published. The ledger of what was shown stays until the end, for it
//! is what keeps two answers from giving a person away together; it holds keys of sets of persons and figures, no pseudonym.
//! Every deletion has a certificate in `certificates/` ([`linkage_common::deletion`]).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use jiff::civil::Date;
use linkage_agreement::{Period, RunId};
use linkage_common::audit::{Act, AuditLog};
use linkage_common::deletion::series::Series;
use linkage_common::deletion::{Cause, DataSet, Draft};
use linkage_common::error::ServiceError;
use linkage_common::gate::Gate;
use linkage_common::retention::{Pace, everything_over, first_kept, period_over};
use linkage_common::signer::Signer;

use crate::access::{AccessLog, DELETED, HEAD};
use crate::study::StudyStore;
use crate::tables::Tables;
use crate::users::Users;

const TABLES_RULE: &str = "retention.link_tables_months";
const ACCESS_RULE: &str = "retention.access_log_months";
const END_RULE: &str = "agreement.end";
/// Files of the desk that go with the agreement: what was shown, and the secret of the cell keys.
const DESK_FILES: [&str; 5] = ["shown.jsonl", "reports.jsonl", "persons.keys", "asked.json", "cell-keys.secret"];

/// Whether an analyst may hold a table of this month today.
pub fn may_hold(gate: &Gate, period: Period) -> bool {
    !period_over(period, gate.agreement().retention.link_tables_months, gate.today())
}

/// What it needs to delete what an analyst's side holds.
#[derive(Clone)]
pub struct Keeper {
    /// Agreement, terminations and clock.
    pub gate: Arc<Gate>,
    /// The folder.
    pub data_dir: PathBuf,
    /// Tables of runs.
    pub tables: Tables,
    /// Months.
    pub study: StudyStore,
    /// Who asked for what.
    pub access: AccessLog,
    /// Signs certificates.
    pub signer: Arc<Signer>,
    /// What was asked and done.
    pub audit: AuditLog,
    /// Who has come in.
    pub users: Users,
    /// The line of the access log that the audit log was last told of.
    pub told: Arc<AtomicU64>,
}

impl Keeper {
    /// Deletes what is over its term today, with a certificate for each rule.
    ///
    /// # Errors
    /// The disk; what was begun is gone on with next time.
    pub fn delete_over_term(&self) -> Result<(), ServiceError> {
        let (today, retention) = (self.gate.today(), &self.gate.agreement().retention);
        let series = Series::new(&self.data_dir);
        for (number, draft) in series.pending()? {
            self.carry_out(&draft)?;
            series.complete(&self.signer, self.gate.agreement(), number, &draft, self.gate.timestamp())?;
        }
        // The log of who looked at the data outlives them.
        self.delete(&series, ACCESS_RULE, retention.access_log_months, Cause::Term, today)?;
        let ending = self.gate.ending()?;
        if everything_over(&ending, retention.after_end_days(), today) {
            let cause = ending.by.map_or(Cause::End, Cause::Termination);
            return self.delete(&series, END_RULE, retention.after_end_days(), cause, today);
        }
        self.delete(&series, TABLES_RULE, retention.link_tables_months, Cause::Term, today)
    }

    fn delete(&self, series: &Series, rule: &str, value: u32, cause: Cause, as_of: Date) -> Result<(), ServiceError> {
        let mut draft = Draft { rule: rule.to_owned(), value: Some(u64::from(value)), cause, as_of, run: None, data: Vec::new() };
        draft.data = self.due(&draft)?;
        draft.data.retain(|set| !set.is_empty());
        if draft.data.is_empty() {
            return Ok(());
        }
        let number = series.begin(&draft)?;
        self.carry_out(&draft)?;
        series.complete(&self.signer, self.gate.agreement(), number, &draft, self.gate.timestamp())
    }

    fn due(&self, draft: &Draft) -> Result<Vec<DataSet>, ServiceError> {
        if draft.rule == ACCESS_RULE {
            let months = self.access_due(draft)?;
            return Ok(vec![DataSet::files("access-log", months.len() as u64).of_months(months)]);
        }
        let runs = self.runs_due(draft)?;
        let months: Vec<(Period, u64)> = self.study.months()?.into_iter().filter(|(month, _)| over(draft, *month)).collect();
        let rows: u64 = months.iter().map(|(_, rows)| rows).sum();
        let mut data = vec![
            DataSet::files("tables", runs.len() as u64).of_months(runs.iter().map(|(_, month)| *month)),
            DataSet::records("study", rows).of_months(months.iter().map(|(month, _)| *month)),
        ];
        if draft.rule == END_RULE {
            let desk = DESK_FILES.into_iter().filter(|name| self.data_dir.join(name).is_file()).count();
            data.push(DataSet::files("ledger", desk as u64));
        }
        Ok(data)
    }

    fn carry_out(&self, draft: &Draft) -> Result<(), ServiceError> {
        if draft.rule == ACCESS_RULE {
            return self.access_due(draft)?.into_iter().try_for_each(|month| self.forget_access(month));
        }
        for (run, _) in self.runs_due(draft)? {
            self.tables.forget(&run)?;
        }
        self.study.forget_months(|month| over(draft, month))?;
        if draft.rule == END_RULE {
            // The pseudonyms of no month are names still.
            self.study.clear()?;
            for name in DESK_FILES {
                remove(&self.data_dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Tells the audit log where the access log goes on, then deletes a month of it.
    fn forget_access(&self, month: Period) -> Result<(), ServiceError> {
        if let Some(end) = self.access.end_of(month)? {
            self.audit.note(Act::own(DELETED).period(month).records(end.number).digest(&end.value))?;
        }
        self.access.forget(month)
    }

    /// Tells the audit log, which partners countersign, the head of the access log.
    ///
    /// # Errors
    /// One of the logs cannot be read or written to.
    pub fn tell_head(&self) -> Result<(), ServiceError> {
        let head = self.access.head()?;
        if self.told.load(Ordering::Acquire) != head.number {
            self.audit.note(Act::own(HEAD).records(head.number).digest(&head.value))?;
            self.told.store(head.number, Ordering::Release);
        }
        Ok(())
    }

    /// Deletes who has not come in for as long as the access log is kept; everybody at the end of the agreement.
    async fn forget_users(&self, series: &Series) -> Result<(), ServiceError> {
        let (today, retention) = (self.gate.today(), &self.gate.agreement().retention);
        let all = everything_over(&self.gate.ending()?, retention.after_end_days(), today);
        let first = first_kept(retention.access_log_months, today).to_string();
        let before = format!("{first}-01T00:00:00Z").parse::<jiff::Timestamp>().map_err(ServiceError::internal)?;
        let gone = self.users.forget(before.as_second(), all).await?;
        if gone == 0 {
            return Ok(());
        }
        let draft = Draft {
            rule: if all { END_RULE } else { ACCESS_RULE }.to_owned(),
            value: Some(u64::from(if all { retention.after_end_days() } else { retention.access_log_months })),
            cause: if all { Cause::End } else { Cause::Term },
            as_of: today,
            run: None,
            data: vec![DataSet::records("users", gone)],
        };
        series.certify(&self.signer, self.gate.agreement(), &draft, self.gate.timestamp())
    }

    fn runs_due(&self, draft: &Draft) -> Result<Vec<(RunId, Period)>, ServiceError> {
        let mut due = Vec::new();
        for run in self.tables.runs()? {
            let period = self.tables.facts(&run)?.period;
            if over(draft, period) {
                due.push((run, period));
            }
        }
        Ok(due)
    }

    fn access_due(&self, draft: &Draft) -> Result<Vec<Period>, ServiceError> {
        Ok(self.access.months()?.into_iter().filter(|month| over(draft, *month)).collect())
    }

    /// Deletes what is over its term when a round is due; what fails is in the log and is tried again.
    pub(crate) async fn round(&self, pace: &mut Pace) {
        if !pace.due(Instant::now(), self.gate.now()) {
            return;
        }
        let series = Series::new(&self.data_dir);
        let pruned = pace.prune(&self.audit, &self.signer, &self.gate).await.and_then(|draft| match draft {
            Some(draft) => series.certify(&self.signer, self.gate.agreement(), &draft, self.gate.timestamp()),
            None => Ok(()),
        });
        let users = self.forget_users(&series).await;
        let keeper = self.clone();
        let work = move || {
            let told = keeper.tell_head();
            keeper.delete_over_term().and(told)
        };
        let done = tokio::task::spawn_blocking(work).await;
        for done in [pruned, users, done.map_err(ServiceError::internal).flatten()] {
            if let Err(error) = done {
                tracing::error!(%error, "data over their term could not all be deleted; tried again");
            }
        }
    }
}

fn over(draft: &Draft, period: Period) -> bool {
    let months = draft.value.and_then(|months| u32::try_from(months).ok()).unwrap_or(u32::MAX);
    draft.rule == END_RULE || period_over(period, months, draft.as_of)
}

fn remove(path: &std::path::Path) -> Result<(), ServiceError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
