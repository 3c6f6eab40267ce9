//! Deleting months that have reached their term, so that what stays can still be verified.

use linkage_agreement::Period;

use super::config::Place;
use super::entry::{self, Act};
use super::files::{self, Anchor, Files, Head};
use super::log::{AuditLog, held, unusable};
use super::months;
use super::{marks, verify};
use crate::error::ServiceError;
use crate::fsx;
use crate::signer::Signer;

/// What was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Whole months.
    pub months: u64,
    /// Entries.
    pub entries: u64,
}

impl AuditLog {
    /// Deletes whole months before the last `access_log_months` of the agreement, by the Gate's clock. The chain's value at the
    /// cut is signed and kept first; an interrupted deletion is ended by the next. An entry says how many were deleted.
    ///
    /// # Errors
    /// `Conflict` when the log does not verify: what is wrong must be seen before its traces go. A file cannot be deleted.
    pub fn prune(&self, signer: &Signer) -> Result<Pruned, ServiceError> {
        let mut pruned = Pruned::default();
        let place = self.place();
        for part in place.before().map_err(|e| unusable(&e))? {
            let mut files = Files::open(&part.folder, entry::start(self.role(), &part.log)).map_err(|e| unusable(&e))?;
            let of_part = self.prune_part(&part, &mut files, signer)?;
            pruned = Pruned { months: pruned.months + of_part.months, entries: pruned.entries + of_part.entries };
        }
        let own = self.prune_part(&place, &mut held(&self.inner.files), signer)?;
        pruned = Pruned { months: pruned.months + own.months, entries: pruned.entries + own.entries };
        if pruned.months > 0 {
            self.note(Act::own("audit.months-deleted").records(pruned.entries))?;
            tracing::info!(months = pruned.months, entries = pruned.entries, "months of the audit log deleted");
        }
        Ok(pruned)
    }

    fn prune_part(&self, place: &Place, files: &mut Files, signer: &Signer) -> Result<Pruned, ServiceError> {
        let gate = &self.inner.gate;
        let kept = gate.agreement().retention.access_log_months;
        let now = Period::of(gate.today()).index();
        let old = |month: &Period| month.index().saturating_add(kept) < now;
        let locked = files.lock().map_err(|e| unusable(&e))?;
        let report = verify(place, gate, &self.inner.role).map_err(|e| unusable(&e))?;
        if let Some(fault) = report.fault {
            tracing::error!(%fault, "the audit log does not verify; nothing of it is deleted");
            return Err(ServiceError::conflict(
                "le journal d'audit n'est pas intact ; exécutez linkage audit verify, rien n'en est supprimé",
            ));
        }
        let mut pruned = Pruned::default();
        let mut last: Option<Head> = None;
        let mut gone = Vec::new();
        for month in months::months(&place.folder).map_err(|e| unusable(&e))?.into_iter().take_while(|m| old(m)) {
            let file = months::path(&place.folder, month);
            let (mut entries, mut end, mut all_old) = (0, None, true);
            for line in months::lines(&file).map_err(|e| unusable(&e))? {
                let (_, bytes, _) = line.map_err(|e| unusable(&e))?;
                if let Some(line) = entry::read(&bytes) {
                    entries += 1;
                    // A clock that was set back leaves later entries in the file of an earlier day's month.
                    all_old &= old(&files::month_of(line.entry.at));
                    end = Some(Head { number: line.entry.n, chain: line.chain });
                }
            }
            if !all_old {
                break;
            }
            last = end.or(last);
            pruned.months += 1;
            pruned.entries += entries;
            gone.push(file);
        }
        let Some(head) = last else { return Ok(Pruned::default()) };
        if report.pruned_until.is_none_or(|until| until < head.number) {
            let anchor = Anchor::sign(&place.log, &head, gate.now(), &gate.agreement_hash(), signer);
            files::write_anchor(&place.folder, &anchor).map_err(|e| unusable(&e))?;
        }
        for file in &gone {
            std::fs::remove_file(file).map_err(|e| unusable(&e))?;
        }
        fsx::sync_dir(&place.folder).map_err(|e| unusable(&e))?;
        marks::rewrite(&place.folder, None, |c| c.checkpoint.number > head.number).map_err(|e| unusable(&e))?;
        files.forget();
        drop(locked);
        Ok(pruned)
    }
}
