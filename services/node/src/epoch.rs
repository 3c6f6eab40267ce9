//! Epochs of the custodian's OPRF key, at a node: what is encoded again when an amendment brings a new key, and what is not.
//!
//! The epoch is in every input of the function (docs/protocol.md, section 3), so that block secrets of two epochs never meet:
//! a record of a former epoch would stand in every run and be found by nobody. It is therefore not uploaded; it is counted,
//! and its person stays in the custodian's registry under its reference. What the node still holds names of is encoded again
//! month by month, the newest first; a month is done when its index is saved, and evaluations are kept group by group, so that
//! a process killed on the way asks for nothing twice.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use linkage_agreement::{AmendmentFault, Period, RecordRef};
use linkage_common::audit::Act;
use linkage_common::fsx;
use linkage_encoding::Identity;
use sha2::{Digest, Sha256};

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

/// Epoch that the state was last brought to (4 bytes), whether all was encoded again that could be (1), SHA-256 of the OPRF
/// public key of that epoch as the agreement writes it (32; absent from states of former versions of this software).
pub(crate) const FILE: &str = "epoch";

/// Where the state stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reached {
    epoch: u32,
    done: bool,
    key: Option<[u8; 32]>,
}

impl Reached {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (epoch, rest) = bytes.split_first_chunk::<4>()?;
        let (done, key) = rest.split_first()?;
        let key = if key.is_empty() { None } else { Some(key.try_into().ok()?) };
        Some(Self { epoch: u32::from_le_bytes(*epoch), done: *done == 1, key })
    }

    /// What stands against an agreement with this epoch and key after this one.
    fn before(&self, epoch: u32, key: [u8; 32]) -> Option<AmendmentFault> {
        match (self.key.map(|former| former == key), epoch.cmp(&self.epoch)) {
            (_, Ordering::Less) => Some(AmendmentFault::Epoch { former: self.epoch, found: epoch }),
            (Some(false), Ordering::Equal) => Some(AmendmentFault::KeyWithoutEpoch),
            (Some(true), Ordering::Greater) => Some(AmendmentFault::EpochWithoutKey),
            _ => None,
        }
    }
}

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
    /// Where the state stands; none of a state that has no archive yet.
    fn epoch_reached(&self) -> Result<Option<Reached>, NodeError> {
        let Some(bytes) = self.vault.get(FILE)? else {
            return Ok(self.vault.has("archive/index").then_some(Reached { epoch: 1, done: true, key: None }));
        };
        Reached::parse(&bytes).map(Some).ok_or_else(|| NodeError::Damaged(FILE.to_owned()))
    }

    fn reach_epoch(&self, epoch: u32, done: bool) -> Result<(), NodeError> {
        let mut bytes = epoch.to_le_bytes().to_vec();
        bytes.push(u8::from(done));
        bytes.extend(self.agreed_key());
        self.vault.put(FILE, &bytes)
    }

    fn agreed_key(&self) -> [u8; 32] {
        Sha256::digest(&self.gate.agreement().custodian.oprf_public_key).into()
    }

    /// Refuses an agreement whose epoch is behind the one of this state, and one that changed only one of the OPRF's key and its
    /// epoch. A node that missed an epoch goes on with the one after it: each record has its own.
    pub(crate) fn check_epoch(&self) -> Result<(), NodeError> {
        let epoch = self.gate.agreement().oprf_epoch();
        let Some(mut reached) = self.epoch_reached()?.filter(|_| self.profile().is_none()) else { return Ok(()) };
        // Before there is an archive nothing was encoded that a key could be wrong for.
        reached.key = reached.key.filter(|_| self.vault.has("archive/index"));
        match reached.before(epoch, self.agreed_key()) {
            None => Ok(()),
            Some(AmendmentFault::Epoch { former, found }) => Err(NodeError::Refused(format!(
                "la convention est à l'époque {found} de la clé de l'OPRF, l'état de ce nœud à l'époque {former} : une époque ne redescend pas ; chargez la version signée en dernier, ou restaurez l'état qui va avec"
            ))),
            Some(fault) => Err(NodeError::Refused(format!(
                "la convention chargée ne suit pas celle sous laquelle ce nœud a encodé : {} ; chargez la version signée en dernier, ou préparez un avenant",
                fault.french()
            ))),
        }
    }

    /// Brings the state to the agreement's epoch and gives it: evaluations of a former one serve nothing any more. For one who has
    /// the state alone.
    pub(crate) fn enter_epoch(&self) -> Result<u32, NodeError> {
        let epoch = self.gate.agreement().oprf_epoch();
        match self.epoch_reached()? {
            Some(Reached { epoch: reached, done, key: None }) if reached == epoch => self.reach_epoch(epoch, done)?,
            Some(reached) if reached.epoch == epoch && reached.key == Some(self.agreed_key()) => {}
            Some(_) => {
                cache::clear(&self.vault)?;
                self.reach_epoch(epoch, false)?;
            }
            None => self.reach_epoch(epoch, true)?,
        }
        Ok(epoch)
    }

    /// Whether records of a former epoch may have to be encoded again.
    pub(crate) fn re_encoding_waits(&self) -> Result<bool, NodeError> {
        let epoch = self.gate.agreement().oprf_epoch();
        Ok(self.profile().is_none() && self.epoch_reached()?.is_some_and(|reached| reached.epoch != epoch || !reached.done))
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
    /// does only what is left; killed anywhere, a month has been encoded again as a whole or not at all. A month that something
    /// stands against holds up none of the others.
    ///
    /// # Errors
    /// At once, what passes by itself (the custodian away, a full disk); at the end, what stood first against a month, which is
    /// tried again by the next call. A month whose names cannot be read any more is left as it is, and logged.
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
        let mut outcome = Ok(());
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
                Err(error) if error.is_passing() && !error.is_refusal() => return Err(error),
                Err(error) => {
                    tracing::warn!(period = %period, %error, "delivery not encoded again; the other months go on");
                    outcome = outcome.and(Err(error));
                }
            }
        }
        let mut index = Index::load(&self.vault)?;
        done.past_epoch = index.past_epoch(epoch, |_| true);
        // Decoys of a former epoch hide nothing: no record of theirs is uploaded.
        index.records.retain(|_, at| !at.decoy || at.epoch == epoch);
        index.save(&self.vault)?;
        index.drop_unnamed(&self.vault)?;
        Annexes::drop_unnamed(&self.vault, &index)?;
        outcome?;
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
        // The list of lines set aside stands as it was made: this one is not finished.
        let path = self.report_path(period);
        if let Some(parent) = path.parent() {
            fsx::create_private_dir(parent)?;
        }
        let mut report = SetAsideReport::create(&path)?;
        let delivery = read_kept(agreement, &self.mapping()?, names, period, &Screen::load(&self.vault)?, &mut report)?;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_may_be_missed_and_changes_with_its_key_only() {
        let reached = |key| Reached { epoch: 2, done: true, key };
        let (same, other) = ([1; 32], [2; 32]);
        let known = reached(Some(same));
        assert_eq!(known.before(2, same), None);
        assert_eq!(known.before(3, other), None);
        assert_eq!(known.before(5, other), None, "a node that missed two");
        assert_eq!(known.before(1, other), Some(AmendmentFault::Epoch { former: 2, found: 1 }));
        assert_eq!(known.before(2, other), Some(AmendmentFault::KeyWithoutEpoch));
        assert_eq!(known.before(3, same), Some(AmendmentFault::EpochWithoutKey));
        assert_eq!((reached(None).before(2, other), reached(None).before(3, same)), (None, None), "of a former version");
        assert!(reached(None).before(1, same).is_some());
    }

    #[test]
    fn a_state_of_a_former_version_has_no_key_and_a_cut_one_is_damaged() {
        assert_eq!(Reached::parse(&[2, 0, 0, 0, 1]), Some(Reached { epoch: 2, done: true, key: None }));
        let whole = [&[2, 0, 0, 0, 0][..], &[7; 32]].concat();
        assert_eq!(Reached::parse(&whole), Some(Reached { epoch: 2, done: false, key: Some([7; 32]) }));
        for cut in [0, 3, 4, 6, 36] {
            assert_eq!(Reached::parse(&whole[..cut]), None, "{cut}");
        }
    }
}
