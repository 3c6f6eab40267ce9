//! What a party sent to a run that is kept, and what an increment of that run has to send.
//!
//! Kept is, for every record sent, its reference and the keyed digest of its identity as the archive's index has it: enough to
//! tell what is new, changed or gone since. Bound to the agreement's hash, as tokens are; forgotten once the broker says that it
//! holds the run no more, once it may not hold it any more, whatever it says, and once another agreement is in force.

use std::collections::{HashMap, HashSet};

use jiff::civil::Date;
use linkage_agreement::{Handle, RecordRef, RunId};
use linkage_common::retention::days_over;
use linkage_common::tls::Channel;
use linkage_proto::v1::{self, runs_client::RunsClient};
use linkage_proto::{MAX_BATCH_BYTES, MAX_RUNS_NAMED};

use super::encodings::PlacedSegment;
use crate::archive::Index;
use crate::error::NodeError;
use crate::node::Node;
use crate::stage_two::RunSeed;
use crate::vault::Vault;

const FOLDER: &str = "sent";
const HASH_LEN: usize = 32;
/// A day, `AAAA-MM-JJ`.
const DAY_LEN: usize = 10;
const ENTRY_LEN: usize = 32;

/// Keyed digest of an identity, as in [`crate::archive::Indexed::content`].
pub(super) type Content = [u8; 16];

/// The records sent to a kept run.
pub(super) struct Sent(HashMap<RecordRef, Content>);

impl Sent {
    /// Of a kept run; `None` when this party did not take part in it, or has forgotten.
    ///
    /// # Errors
    /// A file that is not what this program writes; one of another agreement.
    pub(super) fn load(vault: &Vault, agreement_hash: &[u8; HASH_LEN], run: &RunId) -> Result<Option<Self>, NodeError> {
        let name = format!("{FOLDER}/{run}");
        let Some(bytes) = vault.get(&name)? else { return Ok(None) };
        let damaged = || NodeError::Damaged(name.clone());
        let (hash, _, entries) = parts(&bytes).ok_or_else(damaged)?;
        if hash != agreement_hash {
            return Ok(None);
        }
        if entries.len() % ENTRY_LEN != 0 {
            return Err(damaged());
        }
        let read = |entry: &[u8]| {
            let (reference, content) = entry.split_at_checked(16)?;
            Some((RecordRef::from_slice(reference)?, content.try_into().ok()?))
        };
        entries.chunks_exact(ENTRY_LEN).map(|entry| read(entry).ok_or_else(damaged)).collect::<Result<_, _>>().map(Self).map(Some)
    }

    /// What is kept of the records of `segments`, sent on `day`, packed for [`keep`].
    pub(super) fn pack(agreement_hash: &[u8; HASH_LEN], day: Date, segments: &[PlacedSegment], index: &Index) -> Vec<u8> {
        let mut sent: Vec<RecordRef> = segments.iter().flat_map(|s| &s.records).map(|record| record.reference).collect();
        sent.sort_unstable();
        let mut bytes = agreement_hash.to_vec();
        bytes.extend_from_slice(day.to_string().as_bytes());
        for reference in sent {
            let content = index.records.get(&reference).map(|at| at.content).unwrap_or_default();
            bytes.extend_from_slice(&reference.0);
            bytes.extend_from_slice(&content);
        }
        bytes
    }

    /// The handle of a record with this identity: the base's when it is as it was sent, else one of its own, so that nobody
    /// sees which record was changed.
    pub(super) fn handle(&self, seed: &RunSeed, reference: &RecordRef, content: &Content) -> Handle {
        match self.0.get(reference) {
            Some(sent) if sent != content => seed.changed_handle(reference, content),
            _ => seed.handle(reference),
        }
    }

    /// Whether the broker has the record as it is.
    pub(super) fn has(&self, reference: &RecordRef, content: &Content) -> bool {
        self.0.get(reference) == Some(content)
    }

    /// Handles of the records that were sent and are not in `still`, the records that take part as they were sent.
    ///
    /// # Errors
    /// `Refused` when there are more than one message holds.
    pub(super) fn removed(&self, seed: &RunSeed, still: &HashSet<RecordRef>) -> Result<Vec<Handle>, NodeError> {
        let gone = self.0.keys().filter(|reference| !still.contains(*reference));
        let mut handles: Vec<Handle> = gone.map(|reference| seed.handle(reference)).collect();
        handles.sort_unstable();
        if handles.len() * Handle::LEN > MAX_BATCH_BYTES {
            return Err(NodeError::Refused(
                "trop de fiches changées ou retirées depuis le traitement de base pour un complément : demandez au coordonnateur un traitement complet".to_owned(),
            ));
        }
        Ok(handles)
    }
}

/// Agreement's hash, day and entries of a file.
fn parts(bytes: &[u8]) -> Option<(&[u8], Date, &[u8])> {
    let (hash, rest) = bytes.split_at_checked(HASH_LEN)?;
    let (day, entries) = rest.split_at_checked(DAY_LEN)?;
    Some((hash, std::str::from_utf8(day).ok()?.parse().ok()?, entries))
}

/// Keeps what was sent to a run; the same again, or of a later attempt, in its place.
pub(super) fn keep(vault: &Vault, run: &RunId, packed: &[u8]) -> Result<(), NodeError> {
    vault.put(&format!("{FOLDER}/{run}"), packed)
}

impl Node {
    /// Forgets what was sent to runs that the broker, by its list of `runs`, will never have an increment of.
    pub(crate) fn forget_sent(&self, runs: &[v1::RunStatus]) -> Result<(), NodeError> {
        let over = |run: &v1::RunStatus| {
            matches!(run.state(), v1::RunState::Closed | v1::RunState::Cancelled | v1::RunState::Failed)
                && !run.held
                && run.step.is_empty()
        };
        for name in self.vault.list(FOLDER)? {
            let of = name.rsplit('/').next().unwrap_or_default();
            if runs.iter().any(|run| run.run_id == of && over(run)) {
                self.vault.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Asks for the runs under way and, by name, for those that something is kept of: a run that is merely absent from a list
    /// makes [`Self::forget_sent`] forget nothing. A broker of an earlier version answers with all runs, which does as well.
    pub(crate) fn runs_asked(&self) -> Result<v1::ListRunsRequest, NodeError> {
        let kept = self.vault.list(FOLDER)?;
        let run = |name: &String| name.rsplit('/').next().and_then(|run| run.parse::<RunId>().ok());
        let also = kept.iter().filter_map(run).take(MAX_RUNS_NAMED).map(|run| run.to_string()).collect();
        Ok(v1::ListRunsRequest { agreement: Some(self.gate.reference()), under_way: true, also })
    }

    /// As [`Self::forget_sent`], by the broker's list as it is now: for a node that is asked by hand and makes no rounds.
    pub(super) async fn forget_sent_now(&self, broker: Channel) -> Result<(), NodeError> {
        let listed = RunsClient::new(broker).list_runs(self.runs_asked()?).await.map_err(|s| NodeError::broker(&s))?;
        self.forget_sent(&listed.into_inner().runs)
    }

    /// Forgets what was sent under another agreement, and what no broker may hold any more: a run is given up or ends within
    /// `open_runs_days` of its opening, and its encodings are deleted `encodings_days` later.
    pub(crate) fn forget_sent_over_term(&self) -> Result<(), NodeError> {
        let (today, hash, retention) = (self.gate.today(), self.gate.agreement_hash(), &self.gate.agreement().retention);
        let days = retention.open_runs_days().saturating_add(retention.encodings_days);
        for name in self.vault.list(FOLDER)? {
            let Some(bytes) = self.vault.get(&name)? else { continue };
            let stays = parts(&bytes).is_some_and(|(of, day, _)| of == hash && !days_over(day, days, today));
            if !stays {
                self.vault.remove(&name)?;
            }
        }
        Ok(())
    }
}
