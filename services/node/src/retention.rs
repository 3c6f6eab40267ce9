//! What a node keeps, until when, and its deletion: names and evaluations, the archive, records of persons without contact
//! or deceased, and everything once the agreement has ended.
//!
//! Each rule says what is over its term on a day, and deletes it; the same day gives the same again after a process was
//! killed. Every deletion has a certificate (`linkage_common::deletion`), signed with the node's key. The objection list
//! (`rights/list`), the audit log and the certificates are no part of it: they outlive the records.

mod forget;
pub(crate) mod terms;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use jiff::civil::Date;
use linkage_agreement::{Period, RecordRef};
use linkage_common::deletion::series::Series;
use linkage_common::deletion::{Cause, DataSet, Draft};
use linkage_common::retention::{Pace, days_over, everything_over, period_over};
use serde::{Deserialize, Serialize};

use crate::archive::Index;
use crate::cache;
use crate::epoch;
use crate::error::NodeError;
use crate::node::Node;
use crate::vault::Vault;
use terms::{Terms, Why};

/// Since when names and evaluations are held.
const SINCE: &str = "retention";
const NAMES_RULE: &str = "retention.names_days";
const ARCHIVE_RULE: &str = "retention.archive_months";
const END_RULE: &str = "agreement.end";
/// All state but what outlives the agreement.
const FOLDERS: [&str; 8] = ["names", "cache", "archive", "annex", "deliveries", "runs", "sent", "keys"];
const FILES: [&str; 7] = ["refs", epoch::FILE, "dispositions", terms::FILE, SINCE, "rights/marks", "rights/requests"];

/// By file of `names`, and `cache`: the first day.
#[derive(Default, Serialize, Deserialize)]
struct Since(BTreeMap<String, Date>);

impl Since {
    fn load(vault: &Vault) -> Result<Self, NodeError> {
        let Some(bytes) = vault.get(SINCE)? else { return Ok(Self::default()) };
        serde_json::from_slice(&bytes).map_err(|_| NodeError::Damaged(SINCE.to_owned()))
    }
    fn save(&self, vault: &Vault) -> Result<(), NodeError> {
        let bytes = serde_json::to_vec(self).map_err(|_| NodeError::Damaged(SINCE.to_owned()))?;
        vault.put(SINCE, &bytes)
    }
    /// What is held now: what has no first day yet has it today, what is gone has none.
    fn current(vault: &Vault, today: Date) -> Result<Self, NodeError> {
        let mut since = Self::load(vault)?;
        let before = since.0.clone();
        let mut held = vault.list("names")?;
        if !vault.list(cache::FOLDER)?.is_empty() {
            held.push(cache::FOLDER.to_owned());
        }
        since.0.retain(|name, _| held.contains(name));
        for name in held {
            since.0.entry(name).or_insert(today);
        }
        if since.0 != before {
            since.save(vault)?;
        }
        Ok(since)
    }
}

/// Notes that a month's names were taken in today.
pub(crate) fn names_taken_in(vault: &Vault, period: Period, today: Date) -> Result<(), NodeError> {
    let mut since = Since::load(vault)?;
    since.0.insert(format!("names/{period}"), today);
    since.0.entry(cache::FOLDER.to_owned()).or_insert(today);
    since.save(vault)
}

fn months<'n>(names: impl IntoIterator<Item = &'n String>) -> Vec<Period> {
    names.into_iter().filter_map(|name| name.rsplit('/').next()?.parse().ok()).collect()
}

impl Node {
    /// Deletes what is over its term today, with a certificate for each rule.
    ///
    /// # Errors
    /// A file that cannot be read or deleted; what was begun is gone on with next time.
    pub async fn delete_over_term(&self) -> Result<(), NodeError> {
        let _alone = self.alone().await?;
        self.over_term()
    }

    /// As [`Self::delete_over_term`], for one who has the state alone.
    pub(crate) fn over_term(&self) -> Result<(), NodeError> {
        let (today, retention) = (self.gate.today(), &self.gate.agreement().retention);
        let series = Series::new(self.vault.folder());
        for (number, draft) in series.pending()? {
            self.carry_out_rule(&draft)?;
            self.certify(&series, number, &draft)?;
        }
        let ending = self.gate.ending()?;
        if everything_over(&ending, retention.after_end_days(), today) {
            let cause = ending.by.map_or(Cause::End, Cause::Termination);
            return self.delete_by_rule(END_RULE, u64::from(retention.after_end_days()), cause, today);
        }
        self.expired_dispositions()?;
        self.forget_objected()?;
        self.forget_sent_over_term()?;
        self.delete_by_rule(NAMES_RULE, u64::from(retention.names_days), Cause::Term, today)?;
        self.delete_by_rule(ARCHIVE_RULE, u64::from(retention.archive_months), Cause::Term, today)?;
        for why in [Why::LastContact, Why::Deceased] {
            if let Some(months) = why.months(retention) {
                self.delete_by_rule(why.rule(), u64::from(months), Cause::Term, today)?;
            }
        }
        Ok(())
    }

    /// Deletes names and evaluations now, whatever their term. Returns how many files were deleted.
    pub(crate) fn names_by_operator(&self) -> Result<u64, NodeError> {
        let (today, days) = (self.gate.today(), self.gate.agreement().retention.names_days);
        let files = self.vault.list("names")?.len() + self.vault.list(cache::FOLDER)?.len();
        self.delete_by_rule(NAMES_RULE, u64::from(days), Cause::Operator, today)?;
        Ok(files as u64)
    }

    fn delete_by_rule(&self, rule: &str, value: u64, cause: Cause, as_of: Date) -> Result<(), NodeError> {
        let mut draft = Draft { rule: rule.to_owned(), value: Some(value), cause, as_of, run: None, data: Vec::new() };
        draft.data = self.over_rule(&draft)?;
        if draft.data.is_empty() {
            return Ok(());
        }
        let series = Series::new(self.vault.folder());
        let number = series.begin(&draft)?;
        self.carry_out_rule(&draft)?;
        self.certify(&series, number, &draft)
    }

    fn certify(&self, series: &Series, number: u64, draft: &Draft) -> Result<(), NodeError> {
        Ok(series.complete(&self.signer()?, self.gate.agreement(), number, draft, self.gate.timestamp())?)
    }

    async fn prune_audit(&self, pace: &mut Pace) -> Result<(), NodeError> {
        let signer = Arc::new(self.signer()?);
        if let Some(draft) = pace.prune(&self.audit, &signer, &self.gate).await? {
            Series::new(self.vault.folder()).certify(&signer, self.gate.agreement(), &draft, self.gate.timestamp())?;
        }
        Ok(())
    }

    /// What a rule finds over its term; empty when nothing is.
    fn over_rule(&self, draft: &Draft) -> Result<Vec<DataSet>, NodeError> {
        let mut data = match draft.rule.as_str() {
            NAMES_RULE => {
                let (names, evaluations) = self.names_due(draft)?;
                vec![
                    DataSet::files("names", names.len() as u64).of_months(months(&names)),
                    DataSet::files("evaluations", evaluations.len() as u64),
                ]
            }
            ARCHIVE_RULE => {
                let index = Index::load(&self.vault)?;
                let over = archive_due(&index, draft);
                let decoys = over.iter().filter(|r| index.records.get(*r).is_some_and(|at| at.decoy)).count();
                let files = self.month_files_due(draft)?;
                vec![
                    DataSet::records("archive", (over.len() - decoys) as u64),
                    DataSet::records("decoys", decoys as u64),
                    DataSet::files("deliveries", files.len() as u64).of_months(months(&files)),
                ]
            }
            END_RULE => self.everything()?,
            _ => vec![DataSet::records("archive", self.terms_due(draft)?.len() as u64)],
        };
        data.retain(|set| !set.is_empty());
        Ok(data)
    }

    /// Deletes what a draft was written for; what is gone already is no fault.
    fn carry_out_rule(&self, draft: &Draft) -> Result<(), NodeError> {
        match draft.rule.as_str() {
            NAMES_RULE => {
                let (names, evaluations) = self.names_due(draft)?;
                for name in names.iter().chain(&evaluations) {
                    self.vault.remove(name)?;
                }
                Since::current(&self.vault, draft.as_of).map(drop)
            }
            ARCHIVE_RULE => {
                for name in self.month_files_due(draft)? {
                    self.vault.remove(&name)?;
                }
                for period in self.reports()?.into_iter().filter(|period| over(draft, *period)) {
                    remove_plain(&self.report_path(period))?;
                }
                let over = archive_due(&Index::load(&self.vault)?, draft);
                forget::records(self, &over)
            }
            END_RULE => self.remove_everything(),
            _ => forget::records(self, &self.terms_due(draft)?),
        }
    }

    /// Names, and all evaluations or none.
    fn names_due(&self, draft: &Draft) -> Result<(Vec<String>, Vec<String>), NodeError> {
        let days = draft.value.and_then(|days| u32::try_from(days).ok()).unwrap_or(u32::MAX);
        let over = |since: &Date| match draft.cause {
            Cause::Operator => *since <= draft.as_of,
            _ => days_over(*since, days, draft.as_of),
        };
        let since = Since::current(&self.vault, draft.as_of)?;
        let names = since.0.iter().filter(|(name, first)| *name != cache::FOLDER && over(first)).map(|(name, _)| name.clone());
        let evaluations = match since.0.get(cache::FOLDER) {
            Some(first) if over(first) => self.vault.list(cache::FOLDER)?,
            _ => Vec::new(),
        };
        Ok((names.collect(), evaluations))
    }

    /// Months' deliveries, and seeds of runs of such months, that are over.
    fn month_files_due(&self, draft: &Draft) -> Result<Vec<String>, NodeError> {
        let mut due: Vec<String> = Vec::new();
        for name in self.vault.list("deliveries")? {
            due.extend(months([&name]).first().filter(|period| over(draft, **period)).map(|_| name.clone()));
        }
        for name in self.vault.list("runs")? {
            // A seed, and the month that it is for.
            let kept = self.vault.get(&name)?.unwrap_or_default();
            let month = kept.get(32..).and_then(|text| std::str::from_utf8(text).ok()).and_then(|text| text.parse().ok());
            if month.is_some_and(|period| over(draft, period)) {
                due.push(name.clone());
                due.extend(name.strip_prefix("runs/").map(|run| format!("sent/{run}")).filter(|sent| self.vault.has(sent)));
            }
        }
        Ok(due)
    }

    fn terms_due(&self, draft: &Draft) -> Result<HashSet<RecordRef>, NodeError> {
        Ok(Terms::load(&self.vault)?.due(&draft.rule, draft.as_of))
    }

    /// Months with a list of lines set aside.
    fn reports(&self) -> Result<Vec<Period>, NodeError> {
        let folder = self.vault.folder().join("reports");
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut months = Vec::new();
        for entry in entries {
            months.extend(entry?.file_name().to_str().and_then(|n| n.strip_suffix("-ecartees.csv")?.parse::<Period>().ok()));
        }
        Ok(months)
    }

    /// Names of all state files that do not outlive the agreement.
    fn state_files(&self) -> Result<Vec<(String, Vec<String>)>, NodeError> {
        let mut sets = Vec::new();
        for folder in FOLDERS {
            sets.push((folder.to_owned(), self.vault.list(folder)?));
        }
        let mut rest: Vec<String> = FILES.into_iter().filter(|name| self.vault.has(name)).map(str::to_owned).collect();
        rest.extend(self.vault.list("rights")?.into_iter().filter(|name| name.starts_with("rights/aside-")));
        sets.push(("registers".to_owned(), rest));
        Ok(sets)
    }

    fn everything(&self) -> Result<Vec<DataSet>, NodeError> {
        let records = Index::load(&self.vault)?.records.len() as u64;
        let sets = self.state_files()?.into_iter().map(|(set, names)| {
            let of_months = if matches!(set.as_str(), "names" | "deliveries") { months(&names) } else { Vec::new() };
            let mut data = DataSet::files(&set, names.len() as u64).of_months(of_months);
            data.records = (set == "archive" && records > 0).then_some(records);
            data
        });
        let mut sets: Vec<DataSet> = sets.collect();
        sets.push(DataSet::files("reports", self.reports()?.len() as u64));
        Ok(sets)
    }

    fn remove_everything(&self) -> Result<(), NodeError> {
        for (_, names) in self.state_files()? {
            for name in names {
                self.vault.remove(&name)?;
            }
        }
        match std::fs::remove_dir_all(self.vault.folder().join("reports")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Deletes what is over its term when a round is due; what fails is in the log and is tried again.
pub(crate) async fn round(node: &Node, pace: &mut Pace) {
    if !pace.due(Instant::now(), node.gate.now()) {
        return;
    }
    let done = match node.delete_over_term().await {
        Ok(()) => node.prune_audit(pace).await,
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        tracing::error!(%error, "data over their term could not all be deleted; tried again");
    }
}

fn over(draft: &Draft, period: Period) -> bool {
    let months = draft.value.and_then(|months| u32::try_from(months).ok()).unwrap_or(u32::MAX);
    period_over(period, months, draft.as_of)
}

/// Records last delivered for a month that is over.
fn archive_due(index: &Index, draft: &Draft) -> HashSet<RecordRef> {
    let months = draft.value.and_then(|months| u32::try_from(months).ok()).unwrap_or(u32::MAX);
    let now = Period::of(draft.as_of).index();
    index.records.iter().filter(|(_, at)| at.last.saturating_add(months) < now).map(|(reference, _)| *reference).collect()
}

fn remove_plain(path: &std::path::Path) -> Result<(), NodeError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
