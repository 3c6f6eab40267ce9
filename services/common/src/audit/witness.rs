//! A partner's look at the logs of others: that each goes on from where it was seen last.
//!
//! What was seen is kept beside the node's own log (`witness.json`) with the role's signature, before the countersignature is
//! sent: a role that shows another past later has signed both. A first look takes the head as it is. A log that does not lead
//! on from what was seen is never countersigned again until the node's operator says so ([`Witness::accept`]), since a
//! role whose state was put back by other means than `linkage backup restore` looks the same as one that rewrote its log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::tls::Channel;
use linkage_agreement::{RoleId, certificate_identity};
use linkage_proto::v1::audit_client::AuditClient;
use linkage_proto::v1::{self, AuditCheckpoint};
use serde::{Deserialize, Serialize};

use super::entry::{self, Act, Link};
use super::log::{AuditLog, held};
use super::marks::Checkpoint;
use super::segments::restoration;
use crate::error::ServiceError;
use crate::fsx::{self, FileError};
use crate::gate::Gate;
use crate::signer::Signer;

const FILE: &str = "witness.json";
const LIMIT: u64 = 16 << 20;
/// Pages asked for in one look; a log that grows faster than it is read is looked at again later.
const PAGES: usize = 4096;
const DAYS_OF_A_MONTH: i64 = 31;
const DAY: i64 = 86_400;

/// What a partner knows of one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The last head that it countersigned.
    pub checkpoint: Checkpoint,
    /// When, seconds since 1970, by this node's clock.
    pub seen: i64,
    /// Whether the role has the countersignature.
    pub handed_over: bool,
    /// A head signed by the role that does not lead on from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Checkpoint>,
    /// Of a log whose role was restored from a backup: whether this node has done what it has to do then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restoration_met: bool,
}

/// By role, then by log.
type State = BTreeMap<String, BTreeMap<String, Known>>;

/// What a look came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The first look: countersigned as it is.
    First(u64),
    /// It goes on from what was seen: countersigned up to here.
    Extended(u64),
    /// The role goes on in a new log, whose name says that it was restored from a backup: countersigned as it is.
    Restored(u64),
    /// Nothing new.
    Unchanged(u64),
    /// It does not go on from what was seen. Not countersigned.
    Rewritten {
        /// Number that was countersigned before.
        known: u64,
    },
}

/// A partner that countersigns.
pub struct Witness {
    gate: Arc<Gate>,
    log: AuditLog,
    signer: Signer,
    path: PathBuf,
    /// One look at a time.
    state: Mutex<State>,
}

/// Why a log was not countersigned.
enum Broken {
    /// It is not the log that was seen.
    Rewritten(Checkpoint),
    /// Not now.
    Passing(ServiceError),
}

impl From<ServiceError> for Broken {
    fn from(error: ServiceError) -> Self {
        Self::Passing(error)
    }
}

impl Witness {
    /// The witness of the node whose own log and signer these are.
    ///
    /// # Errors
    /// What was seen cannot be read.
    pub fn open(log: AuditLog, signer: Signer) -> Result<Self, ServiceError> {
        let path = log.place().folder.join(FILE);
        let state = match fsx::read_limited(&path, LIMIT) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| {
                ServiceError::configuration(format!("{} : fichier abîmé ; restaurez-le de la sauvegarde", path.display()))
            })?,
            Err(FileError::Missing { .. }) => State::new(),
            Err(error) => return Err(ServiceError::configuration(error)),
        };
        Ok(Self { gate: log.inner.gate.clone(), log, signer, path, state: Mutex::new(state) })
    }

    /// What is known, by role and log.
    pub fn known(&self) -> BTreeMap<String, BTreeMap<String, Known>> {
        held(&self.state).clone()
    }

    /// Logs of `role`, seen by now, that begin with a restoration which this node has not yet met ([`Self::restorations_met`]). They
    /// are known from the moment they are written down as seen, whatever becomes of the look.
    pub fn restorations(&self, role: &RoleId) -> Vec<String> {
        let state = held(&self.state);
        let logs = state.get(&role.to_string()).into_iter().flatten();
        logs.filter(|(log, known)| restoration(log).is_some() && !known.restoration_met).map(|(log, _)| log.clone()).collect()
    }

    /// Says that this node has done what it has to do when these logs of `role` were seen.
    ///
    /// # Errors
    /// It cannot be written; they are then named again.
    pub fn restorations_met(&self, role: &RoleId, met: &[String]) -> Result<(), ServiceError> {
        let mut state = held(&self.state);
        let logs = state.get_mut(&role.to_string()).into_iter().flatten();
        for (_, known) in logs.filter(|(log, _)| met.contains(log)) {
            known.restoration_met = true;
        }
        self.save(&state)
    }

    fn uri(&self, role: &RoleId) -> String {
        certificate_identity(&self.gate.agreement().agreement.id, role)
    }

    /// Looks at the log of `role`, and countersigns it when it goes on from what was seen.
    ///
    /// # Errors
    /// The role cannot be reached, refuses, or answers nonsense; nothing is changed.
    pub async fn look(&self, role: &RoleId, channel: Channel) -> Result<Seen, ServiceError> {
        let mut client = AuditClient::new(channel).max_decoding_message_size(2 * linkage_proto::MAX_MESSAGE_BYTES);
        // Which of the role's logs answers, and where it ends.
        let (_, signed) = self.ask(role, &mut client, 0).await?;
        let logs = held(&self.state).get(&role.to_string()).cloned().unwrap_or_default();
        let Some(known) = logs.get(&signed.log).cloned() else {
            if signed.number == 0 {
                return Ok(Seen::Unchanged(0));
            }
            // Processes of one role have a log each: a restoration is told of once.
            let moment = restoration(&signed.log);
            let restored = moment.is_some() && !logs.keys().any(|log| restoration(log) == moment);
            if restored {
                tracing::warn!(%role, log = signed.log, "this role was restored from a backup: what it had entered since is in another log; ask its operator");
                self.log.record(Act::own("checkpoint.restored").peer(&self.uri(role))).await?;
            } else if !logs.is_empty() {
                tracing::warn!(%role, log = signed.log, "a log of this role that was never seen before; expected of a new replica only");
                self.log.record(Act::own("checkpoint.new-log").peer(&self.uri(role))).await?;
            }
            let number = signed.number;
            self.countersign(role, &mut client, signed).await?;
            return Ok(if restored { Seen::Restored(number) } else { Seen::First(number) });
        };
        match self.follow(role, &mut client, &known).await {
            Ok(reached) if reached.number == known.checkpoint.number => {
                if !known.handed_over {
                    self.hand_over(role, &mut client, &known.checkpoint).await?;
                }
                Ok(Seen::Unchanged(reached.number))
            }
            Ok(reached) => {
                let number = reached.number;
                self.countersign(role, &mut client, reached).await?;
                Ok(Seen::Extended(number))
            }
            Err(Broken::Passing(error)) => Err(error),
            Err(Broken::Rewritten(shown)) => {
                let (was, is) = (known.checkpoint.number, shown.number);
                tracing::error!(%role, log = shown.log, was, is, "the audit log is not the one that was countersigned: not countersigned, ask its operator (docs/audit.md)");
                self.change(role, Known { conflict: Some(shown), ..known })?;
                self.log.record(Act::own("checkpoint.rewritten").peer(&self.uri(role)).refused()).await?;
                Ok(Seen::Rewritten { known: was })
            }
        }
    }

    /// Forgets what was seen of a role's logs, so that the next look is a first one; says how many were known.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn accept(&self, role: &RoleId) -> Result<usize, ServiceError> {
        let mut state = held(&self.state);
        let known = state.remove(&role.to_string()).map_or(0, |logs| logs.len());
        self.log.note(Act::own("checkpoint.restart-accepted").peer(&self.uri(role)))?;
        self.save(&state)?;
        Ok(known)
    }

    /// One answer, whose signature is the role's.
    async fn ask(
        &self,
        role: &RoleId,
        client: &mut AuditClient<Channel>,
        after: u64,
    ) -> Result<(AuditCheckpoint, Checkpoint), ServiceError> {
        let request = v1::GetCheckpointRequest { agreement: Some(self.gate.reference()), after };
        let answer = client.get_checkpoint(request).await.map_err(|s| ServiceError::from(&s))?.into_inner();
        let hash = self.gate.agreement_hash();
        let signed = Checkpoint::from_wire(&answer, &hash);
        signed.verify(self.gate.agreement(), &hash, role)?;
        Ok((answer, signed))
    }

    /// The head that the log leads to from what is known of it.
    async fn follow(&self, role: &RoleId, client: &mut AuditClient<Channel>, known: &Known) -> Result<Checkpoint, Broken> {
        let mut at = known.checkpoint.head()?;
        for _ in 0..PAGES {
            let (answer, signed) = self.ask(role, client, at.number).await?;
            if signed.log != known.checkpoint.log {
                return Err(ServiceError::unavailable("un autre processus de ce rôle a répondu ; nouvel essai plus tard").into());
            }
            if signed.number > at.number && answer.first > at.number && self.may_be_deleted(known) {
                // What was seen has reached its term there: from here on it is a first look again.
                return Ok(signed);
            }
            let reached = signed.head()?;
            let digests = answer.digests.as_ref().chunks_exact(32);
            let whole = digests.remainder().is_empty() && digests.len() as u64 == reached.number.saturating_sub(at.number);
            if reached.number < at.number || answer.first != at.number || !whole {
                return Err(Broken::Rewritten(signed));
            }
            let chain = digests.fold(at.chain, |chain, digest| {
                let digest: Link = digest.try_into().unwrap_or_default();
                entry::next(&chain, &digest)
            });
            if chain != reached.chain {
                return Err(Broken::Rewritten(signed));
            }
            if reached.number >= answer.head || reached.number == at.number {
                return Ok(signed);
            }
            at = reached;
        }
        Err(ServiceError::unavailable("le journal de ce rôle est trop long pour un seul regard ; nouvel essai plus tard").into())
    }

    /// Whether entries seen then may have reached the term of the access log by now.
    fn may_be_deleted(&self, known: &Known) -> bool {
        let months = i64::from(self.gate.agreement().retention.access_log_months);
        self.gate.now().saturating_sub(known.seen) > months * DAYS_OF_A_MONTH * DAY
    }

    pub(super) async fn countersign(
        &self,
        role: &RoleId,
        client: &mut AuditClient<Channel>,
        checkpoint: Checkpoint,
    ) -> Result<(), ServiceError> {
        let seen = self.gate.now();
        // What was done when another process of this role told of the same restoration was done for all.
        let moment = restoration(&checkpoint.log);
        let met = |(log, known): (&String, &Known)| known.restoration_met && restoration(log) == moment;
        let restoration_met = held(&self.state).get(&role.to_string()).is_some_and(|logs| logs.iter().any(met));
        let known = Known { checkpoint: checkpoint.clone(), seen, handed_over: false, conflict: None, restoration_met };
        self.change(role, known)?;
        self.log.record(Act::own("checkpoint.countersigned").peer(&self.uri(role))).await?;
        self.hand_over(role, client, &checkpoint).await
    }

    async fn hand_over(
        &self,
        role: &RoleId,
        client: &mut AuditClient<Channel>,
        checkpoint: &Checkpoint,
    ) -> Result<(), ServiceError> {
        let request = v1::PutCountersignatureRequest {
            agreement: Some(self.gate.reference()),
            checkpoint: Some(checkpoint.to_wire()?),
            countersignature: checkpoint.countersign(role, &self.signer)?.into(),
        };
        client.put_countersignature(request).await.map_err(|s| ServiceError::from(&s))?;
        let known = held(&self.state).get(&role.to_string()).and_then(|logs| logs.get(&checkpoint.log)).cloned();
        match known {
            Some(known) => self.change(role, Known { handed_over: true, ..known }),
            None => Ok(()),
        }
    }

    fn change(&self, role: &RoleId, known: Known) -> Result<(), ServiceError> {
        let mut state = held(&self.state);
        state.entry(role.to_string()).or_default().insert(known.checkpoint.log.clone(), known);
        self.save(&state)
    }

    fn save(&self, state: &State) -> Result<(), ServiceError> {
        let bytes = serde_json::to_vec_pretty(state).map_err(ServiceError::internal)?;
        Ok(fsx::write_atomic(&self.path, &bytes)?)
    }
}
