//! Epochs of the custodian's OPRF key, at a node: what is encoded again when an amendment brings a new key, and what is not.
//!
//! The epoch is in every input of the function (docs/protocol.md, section 3), so that block secrets of two epochs never meet:
//! a record of a former epoch would stand in every run and be found by nobody. It is therefore not uploaded; it is counted,
//! and its person stays in the custodian's registry under its reference. What the node still holds names of is encoded again
//! month by month, the newest first; a month is done when its index is saved, and evaluations are kept group by group, so that
//! a process killed on the way asks for nothing twice.

use std::collections::{HashMap, HashSet};

use linkage_agreement::{Period, RecordRef};
use linkage_common::audit::Act;
use linkage_common::fsx;
use linkage_encoding::Identity;

use crate::annex::Annexes;
use crate::annex::named::NamedAnnexes;
use crate::archive::Index;
use crate::cache::{self, Cache};
use crate::delivery::{Row, read_kept};
use crate::error::NodeError;
use crate::intake::SetAsideReport;
use crate::node::{Node, Refs};
use crate::oprf::Evaluator;
use crate::passes;
use crate::progress::Progress;
use crate::rights::Screen;
use crate::stage_one::{self, EncodedChunk};

/// Epoch that the state was last brought to (4 bytes), and whether all was encoded again that could be (1).
pub(crate) const FILE: &str = "epoch";

/// What encoding again came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ReEncoded {
    /// Months gone through.
    pub months: u64,
    /// Records encoded again.
    pub records: u64,
    /// Records of former epochs left, whose names are gone.
    pub past_epoch: u64,
}

impl Node {
    /// Epoch of the state and whether nothing waits; none of a state that has no archive yet.
    fn epoch_reached(&self) -> Result<Option<(u32, bool)>, NodeError> {
        let Some(bytes) = self.vault.get(FILE)? else {
            return Ok(self.vault.has("archive/index").then_some((1, true)));
        };
        let damaged = || NodeError::Damaged(FILE.to_owned());
        let (epoch, done) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
        Ok(Some((u32::from_le_bytes(*epoch), done.first() == Some(&1))))
    }

    fn reach_epoch(&self, epoch: u32, done: bool) -> Result<(), NodeError> {
        let mut bytes = epoch.to_le_bytes().to_vec();
        bytes.push(u8::from(done));
        self.vault.put(FILE, &bytes)
    }

    /// Refuses an agreement whose epoch does not follow the one of this state.
    pub(crate) fn check_epoch(&self) -> Result<(), NodeError> {
        let epoch = self.gate.agreement().oprf_epoch();
        match self.epoch_reached()? {
            Some((reached, _)) if self.profile().is_none() && epoch != reached && epoch != reached.saturating_add(1) => {
                Err(NodeError::Refused(format!(
                    "la convention est à l'époque {epoch} de la clé de l'OPRF, l'état de ce nœud à l'époque {reached} : un avenant la garde ou la relève de un ; chargez la version signée en dernier, ou restaurez l'état qui va avec"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Brings the state to the agreement's epoch and gives it: evaluations of a former one serve nothing any more. For one who has
    /// the state alone.
    pub(crate) fn enter_epoch(&self) -> Result<u32, NodeError> {
        let epoch = self.gate.agreement().oprf_epoch();
        match self.epoch_reached()? {
            Some((reached, _)) if reached == epoch => {}
            Some(_) => {
                cache::clear(&self.vault)?;
                self.reach_epoch(epoch, false)?;
            }
            None if epoch > 1 => self.reach_epoch(epoch, true)?,
            None => {}
        }
        Ok(epoch)
    }

    /// Whether records of a former epoch may have to be encoded again.
    pub(crate) fn re_encoding_waits(&self) -> Result<bool, NodeError> {
        let epoch = self.gate.agreement().oprf_epoch();
        Ok(self.profile().is_none() && self.epoch_reached()?.is_some_and(|reached| reached != (epoch, true)))
    }

    /// Archived records of former epochs, decoys apart: they take part in no comparison.
    pub fn past_epoch(&self) -> Result<u64, NodeError> {
        if self.profile().is_some() {
            return Ok(0);
        }
        let epoch = self.gate.agreement().oprf_epoch();
        Ok(Index::load(&self.vault)?.past_epoch(epoch, |_| true))
    }

    /// Encodes again, under the OPRF key of the agreement's epoch, every record of a former one whose names are held. Repeating it
    /// does only what is left; killed anywhere, a month has been encoded again as a whole or not at all.
    ///
    /// # Errors
    /// Whatever stands against an evaluation; a month whose names cannot be read any more is left as it is, and logged.
    pub async fn re_encode(&self, evaluator: &mut Evaluator, progress: &Progress) -> Result<ReEncoded, NodeError> {
        self.gate.in_force()?;
        let _alone = self.alone().await?;
        let mut done = ReEncoded::default();
        if self.profile().is_some() {
            return Ok(done);
        }
        let epoch = self.enter_epoch()?;
        let mut months: Vec<Period> = Vec::new();
        for name in self.vault.list("names")? {
            months.extend(name.rsplit('/').next().and_then(|month| month.parse::<Period>().ok()));
        }
        // The newest month has the identity that counts.
        months.sort_unstable_by(|a, b| b.cmp(a));
        for period in months {
            match self.re_encode_month(period, epoch, evaluator, progress).await {
                Ok(None) => {}
                Ok(Some(records)) => {
                    done.months += 1;
                    done.records += records;
                    self.audit.record(Act::own("delivery.re-encoded").period(period).records(records)).await?;
                    tracing::info!(period = %period, records, epoch, "delivery encoded again");
                }
                Err(error @ (NodeError::Intake(_) | NodeError::Mapping(_) | NodeError::Columns(_))) => {
                    tracing::error!(period = %period, %error, "names held cannot be read: deliver the month again");
                }
                Err(error) => return Err(error),
            }
        }
        let mut index = Index::load(&self.vault)?;
        done.past_epoch = index.past_epoch(epoch, |_| true);
        // Decoys of a former epoch hide nothing: no record of theirs is uploaded.
        index.records.retain(|_, at| !at.decoy || at.epoch == epoch);
        index.save(&self.vault)?;
        index.drop_unnamed(&self.vault)?;
        Annexes::drop_unnamed(&self.vault, &index)?;
        if self.epoch_reached()?.is_some() {
            self.reach_epoch(epoch, true)?;
        }
        Ok(done)
    }

    /// The records of a month that are still of a former epoch; none when the month is of this one.
    async fn re_encode_month(
        &self,
        period: Period,
        epoch: u32,
        evaluator: &mut Evaluator,
        progress: &Progress,
    ) -> Result<Option<u64>, NodeError> {
        // A month without a state was interrupted before it was taken in: it is encoded when it is.
        let Some(mut state) = self.delivery(period)?.filter(|state| state.epoch != epoch) else { return Ok(None) };
        let Some(names) = self.vault.get(&format!("names/{period}"))? else { return Ok(None) };
        let agreement = self.gate.agreement();
        let annexes = NamedAnnexes::load(self)?;
        let passes = passes::agreed(&agreement.encoding, self.config.pass_set.as_deref())?;
        // The list of lines set aside stands as it was made.
        let path = self.report_path(period);
        if let Some(parent) = path.parent() {
            fsx::create_private_dir(parent)?;
        }
        let mut report = SetAsideReport::create(&path)?;
        let read = read_kept(agreement, &self.mapping()?, names, period, &Screen::load(&self.vault)?, &mut report);
        report.discard()?;
        let delivery = read?;

        let refs = Refs::load(&self.vault)?;
        let mut index = Index::load(&self.vault)?;
        let mut rows: HashMap<RecordRef, &Row> = HashMap::new();
        let mut changed: Vec<(RecordRef, &Identity)> = Vec::new();
        for row in &delivery.rows {
            let Some(reference) = refs.known(&self.vault, &row.local_id) else { continue };
            let former = |at: &crate::archive::Indexed| at.epoch != epoch;
            if index.records.get(&reference).is_some_and(former) && !index.is_void(&reference) {
                changed.push((reference, &row.identity));
            }
            rows.insert(reference, row);
        }
        let encoded = changed.len() as u64;
        if !changed.is_empty() {
            let contents: HashMap<RecordRef, [u8; 16]> = changed
                .iter()
                .filter_map(|(reference, _)| Some((*reference, self.content(rows.get(reference)?, annexes.as_ref()))))
                .collect();
            evaluator.declare(period, delivery.summary.records).await?;
            let mut cache = Cache::open(&self.vault)?;
            let mut decoys: HashSet<RecordRef> = HashSet::new();
            let mut appended: Vec<RecordRef> = Vec::with_capacity(changed.len());
            let keep = |chunk: EncodedChunk| {
                decoys.extend(chunk.decoys);
                appended.extend(chunk.records.iter().map(|record| record.reference));
                index.append(&self.vault, period, epoch, &chunk.records, |r| {
                    (contents.get(r).copied().unwrap_or_default(), decoys.contains(r))
                })
            };
            stage_one::encode(agreement, &passes, &changed, period, evaluator, &mut cache, progress, keep).await?;
            if let Some(annexes) = &annexes {
                annexes.write(&self.vault, &index, appended.into_iter(), &decoys, &rows, &delivery.identity_columns)?;
            }
            index.save(&self.vault)?;
            index.drop_unnamed(&self.vault)?;
            Annexes::drop_unnamed(&self.vault, &index)?;
        }
        state.epoch = epoch;
        self.keep_delivery(&state)?;
        Ok(Some(encoded))
    }
}
