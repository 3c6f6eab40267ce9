//! The gate of a role: who calls, under which agreement, and whether that agreement allows it today.
//!
//! Every handler passes through here before it reads its request. A call that names another agreement, comes from a
//! certificate that the agreement does not name, or comes outside the agreement's dates, ends here.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use linkage_agreement::permit::{RoleId, RunRequest};
use linkage_agreement::signature::SignedAgreement;
use linkage_agreement::termination::VerifiedTermination;
use linkage_agreement::{Agreement, PartyId, Period, RunId};
use linkage_proto::v1::{self, AgreementRef};
use tonic::{Request, Status};

use crate::agreement_files::{AgreementFileError, AgreementFiles};
use crate::authz;
use crate::batches::parse;
use crate::clock::Clock;
use crate::error::ServiceError;
use crate::order::{RunOrder, RunTerms, base_run, reference_party};
use crate::retention::Ending;

/// A file that changed less than this ago may change once more without its stamp showing it: it is read again.
const SETTLED: Duration = Duration::from_secs(2);

/// The signed agreement of a role, its notices of termination and its clock.
pub struct Gate {
    signed: SignedAgreement,
    files: AgreementFiles,
    terminations: RwLock<Notices>,
    clock: Arc<dyn Clock>,
}

/// The notices as last read, and the stamp of what was read; none when it has to be read again in any case.
#[derive(Default)]
struct Notices {
    stamp: Option<Stamp>,
    verified: Vec<VerifiedTermination>,
}

/// What tells one content of the folder from another without reading it: every file's name, length and times.
type Stamp = Vec<(std::ffi::OsString, u64, SystemTime, i128)>;

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate(..)")
    }
}

impl Gate {
    /// Loads and verifies the agreement's files: every party must have signed this very text.
    pub fn load(files: &AgreementFiles, clock: Arc<dyn Clock>) -> Result<Self, ServiceError> {
        let signed = files.load_signed_agreement().map_err(ServiceError::configuration)?;
        let gate = Self { signed, files: files.clone(), terminations: RwLock::default(), clock };
        gate.read_terminations().map_err(ServiceError::configuration)?;
        Ok(gate)
    }

    /// Reads the notices of termination again when any file of their folder has changed: a notice takes effect without a
    /// restart, whether it is dropped into the folder, moved there or rewritten in place.
    fn read_terminations(&self) -> Result<(), AgreementFileError> {
        let Some(folder) = &self.files.terminations else { return Ok(()) };
        // Stamped before reading: a file that changes in between is read once too often, never once too few.
        let stamp = stamp(folder);
        let seen = |held: &Notices| stamp.is_some() && held.stamp == stamp;
        if seen(&self.terminations.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let verified = self.files.load_terminations(&self.signed)?;
        let mut held = self.terminations.write().unwrap_or_else(PoisonError::into_inner);
        *held = Notices { stamp: stamp.filter(settled), verified };
        Ok(())
    }

    /// As [`Self::read_terminations`], for what a peer asks: which file is at fault stays in this role's log.
    fn refresh_terminations(&self) -> Result<(), ServiceError> {
        self.read_terminations().map_err(|error| {
            tracing::error!(%error, "notices of termination cannot be read; every call is refused until they can");
            ServiceError::unavailable(
                "ce service ne peut lire ses avis de dénonciation et refuse tout appel ; prévenez son opérateur",
            )
        })
    }

    /// The agreement.
    pub fn agreement(&self) -> &Agreement {
        self.signed.agreement()
    }

    /// The agreement with its signatures.
    pub fn signed(&self) -> &SignedAgreement {
        &self.signed
    }

    /// The agreement's hash.
    pub fn agreement_hash(&self) -> [u8; 32] {
        *self.signed.hash().as_bytes()
    }

    /// What every request carries.
    pub fn reference(&self) -> AgreementRef {
        AgreementRef { hash: self.agreement_hash().to_vec().into() }
    }

    /// The order of a run as the broker relays it, once its signature is verified.
    ///
    /// # Errors
    /// `Invalid` identifiers, or `Refused` when the coordinator did not sign it.
    pub fn order(&self, status: &v1::RunStatus) -> Result<RunOrder, ServiceError> {
        let parties = status.parties.iter().map(|p| parse(p)).collect::<Result<_, _>>()?;
        let terms = RunTerms::new(parse(&status.run_id)?, parse(&status.period)?, parties)
            .referring_to(reference_party(&status.reference_party)?)
            .adding_to(base_run(&status.base_run)?)
            .kept(status.keep);
        RunOrder::verify(self.agreement(), &self.agreement_hash(), terms, &status.order_signature)
    }

    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        self.clock.now().as_second()
    }

    /// Today, UTC.
    pub fn today(&self) -> jiff::civil::Date {
        self.clock.today()
    }

    /// Refuses when the agreement is not in force today.
    pub fn in_force(&self) -> Result<(), ServiceError> {
        self.refresh_terminations()?;
        let held = self.terminations.read().unwrap_or_else(PoisonError::into_inner);
        Ok(self.signed.permit_today(self.clock.today(), &held.verified)?)
    }

    /// When the agreement ends: with its last day, or with the first notice's effect, on file or not yet.
    ///
    /// # Errors
    /// `Unavailable` when the notices cannot be read.
    pub fn ending(&self) -> Result<Ending, ServiceError> {
        self.refresh_terminations()?;
        let held = self.terminations.read().unwrap_or_else(PoisonError::into_inner);
        let by_date = Ending { on: self.agreement().agreement.end.tomorrow().unwrap_or(jiff::civil::Date::MAX), by: None };
        let notices = held.verified.iter().map(VerifiedTermination::notice);
        let first = notices.filter(|n| n.agreement_hash == self.signed.hash()).min_by_key(|n| n.effective_on);
        Ok(match first {
            Some(notice) if notice.effective_on < by_date.on => {
                Ending { on: notice.effective_on, by: Some(notice.party.clone()) }
            }
            _ => by_date,
        })
    }

    /// The moment on this role's clock.
    pub fn timestamp(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// Refuses when the agreement does not allow a run of this period today.
    pub fn run(&self, run: &RunId, period: Period) -> Result<(), ServiceError> {
        self.refresh_terminations()?;
        let request = RunRequest {
            agreement_hash: self.signed.hash(),
            run: run.clone(),
            period,
            profile_version: linkage_crypto::PROFILE_VERSION,
        };
        let held = self.terminations.read().unwrap_or_else(PoisonError::into_inner);
        Ok(self.signed.permit_run(&request, self.clock.today(), &held.verified)?)
    }

    /// Who calls, before the request names an agreement (streams).
    pub fn peer<T>(&self, request: &Request<T>) -> Result<RoleId, Status> {
        authz::peer_role(request, &self.signed)
    }

    fn same_agreement(&self, named: Option<&AgreementRef>) -> Result<(), ServiceError> {
        self.same_text(named)?;
        self.in_force()
    }

    fn same_text(&self, named: Option<&AgreementRef>) -> Result<(), ServiceError> {
        if named.is_none_or(|named| named.hash.as_ref() != self.signed.hash().as_bytes()) {
            return Err(ServiceError::refused(
                "la demande vise une autre convention ou une autre version que celle détenue ici ; comparez les empreintes (linkage agreement show)",
            ));
        }
        Ok(())
    }

    /// Who calls: any role of the agreement.
    pub fn member<T>(&self, request: &Request<T>, named: Option<&AgreementRef>) -> Result<RoleId, Status> {
        let role = self.peer(request)?;
        self.same_agreement(named)?;
        Ok(role)
    }

    /// The calling party.
    pub fn party<T>(&self, request: &Request<T>, named: Option<&AgreementRef>) -> Result<PartyId, Status> {
        let party = authz::peer_party(request, &self.signed)?;
        self.same_agreement(named)?;
        Ok(party)
    }

    /// The calling analyst.
    pub fn analyst<T>(&self, request: &Request<T>, named: Option<&AgreementRef>) -> Result<PartyId, Status> {
        let analyst = authz::peer_analyst(request, &self.signed)?;
        self.same_agreement(named)?;
        Ok(analyst)
    }

    /// The party that `role` is, for one message of a stream.
    pub fn party_of(&self, role: &RoleId, named: Option<&AgreementRef>) -> Result<PartyId, ServiceError> {
        self.same_agreement(named)?;
        match role {
            RoleId::Party(party) => Ok(party.clone()),
            other => Err(wrong_role(other)),
        }
    }

    /// Refuses when `role` is not the broker, for one message of a stream.
    pub fn broker_of(&self, role: &RoleId, named: Option<&AgreementRef>) -> Result<(), ServiceError> {
        self.same_agreement(named)?;
        match role {
            RoleId::Broker => Ok(()),
            other => Err(wrong_role(other)),
        }
    }

    /// Refuses when `role` is not the broker. For deletions, which the agreement's end does not stop.
    pub fn broker_deleting(&self, role: &RoleId, named: Option<&AgreementRef>) -> Result<(), ServiceError> {
        self.same_text(named)?;
        match role {
            RoleId::Broker => Ok(()),
            other => Err(wrong_role(other)),
        }
    }

    /// The party that `role` is. For deletions, which the agreement's end does not stop.
    pub fn party_deleting(&self, role: &RoleId, named: Option<&AgreementRef>) -> Result<PartyId, ServiceError> {
        self.same_text(named)?;
        match role {
            RoleId::Party(party) => Ok(party.clone()),
            other => Err(wrong_role(other)),
        }
    }

    /// The analyst that `role` is. For deletions, which the agreement's end does not stop.
    pub fn analyst_deleting(&self, role: &RoleId, named: Option<&AgreementRef>) -> Result<PartyId, ServiceError> {
        self.same_text(named)?;
        match role {
            RoleId::Analyst(analyst) => Ok(analyst.clone()),
            other => Err(wrong_role(other)),
        }
    }

    /// Refuses when `party` is not the coordinator.
    pub fn coordinator(&self, party: &PartyId) -> Result<(), ServiceError> {
        Ok(self.signed.may_open_runs(party)?)
    }

    /// Refuses a period outside the agreement.
    pub fn period(&self, period: Period) -> Result<(), ServiceError> {
        let any: RunId = "period".parse().map_err(ServiceError::internal)?;
        self.run(&any, period)
    }
}

fn wrong_role(role: &RoleId) -> ServiceError {
    tracing::warn!(%role, "request refused: the peer's role may not call this method");
    ServiceError::refused(format!(
        "le rôle {role} n'a pas accès à cette opération ; vérifiez le certificat de ce service et l'adresse appelée"
    ))
}

/// `None` when the folder cannot be looked at; reading it then says why.
fn stamp(folder: &Path) -> Option<Stamp> {
    let mut stamp = Vec::new();
    for entry in std::fs::read_dir(folder).ok()? {
        let entry = entry.ok()?;
        // Through a symbolic link, as reading goes.
        let metadata = std::fs::metadata(entry.path()).ok()?;
        // The time of change of the file's node can't be set by hand, that of its content can.
        #[cfg(unix)]
        let node = {
            use std::os::unix::fs::MetadataExt;
            i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec())
        };
        #[cfg(not(unix))]
        let node = 0;
        stamp.push((entry.file_name(), metadata.len(), metadata.modified().ok()?, node));
    }
    stamp.sort();
    Some(stamp)
}

/// Whether nothing in the folder changed so lately that a second change could bear the same times. By the machine's clock,
/// which writes those times.
#[expect(clippy::disallowed_methods, reason = "compared with times that the file system wrote, not with the agreement's")]
fn settled(stamp: &Stamp) -> bool {
    let now = SystemTime::now();
    stamp.iter().all(|(_, _, modified, node)| {
        let node = u64::try_from(*node / 1_000_000_000)
            .map_or(SystemTime::UNIX_EPOCH, |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s));
        [*modified, node].iter().all(|at| now.duration_since(*at).is_ok_and(|age| age > SETTLED))
    })
}
