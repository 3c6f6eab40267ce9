//! The gate of a role: who calls, under which agreement, and whether that agreement allows it today.
//!
//! Every handler passes through here before it reads its request. A call that names another agreement, comes from a
//! certificate that the agreement does not name, or comes outside the agreement's dates, ends here.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use linkage_agreement::permit::{RoleId, RunRequest};
use linkage_agreement::signature::SignedAgreement;
use linkage_agreement::termination::VerifiedTermination;
use linkage_agreement::{Agreement, PartyId, Period, RunId};
use linkage_proto::v1::AgreementRef;
use tonic::{Request, Status};

use crate::agreement_files::AgreementFiles;
use crate::authz;
use crate::clock::Clock;
use crate::error::ServiceError;

/// The signed agreement of a role, its notices of termination and its clock.
pub struct Gate {
    signed: SignedAgreement,
    files: AgreementFiles,
    terminations: std::sync::RwLock<(Option<SystemTime>, Vec<VerifiedTermination>)>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate(..)")
    }
}

impl Gate {
    /// Loads and verifies the agreement's files: every party must have signed this very text.
    pub fn load(files: &AgreementFiles, clock: Arc<dyn Clock>) -> Result<Self, ServiceError> {
        let signed = files.load_signed_agreement().map_err(ServiceError::configuration)?;
        let gate = Self { signed, files: files.clone(), terminations: Default::default(), clock };
        gate.refresh_terminations()?;
        Ok(gate)
    }

    /// Reads the notices of termination again when their folder has changed: a notice takes effect without a restart.
    fn refresh_terminations(&self) -> Result<(), ServiceError> {
        let changed = self.files.terminations.as_deref().and_then(changed_at);
        let seen = self.terminations.read().map_or(None, |t| t.0);
        if self.files.terminations.is_none() || (changed.is_some() && changed == seen) {
            return Ok(());
        }
        let notices = self.files.load_terminations(&self.signed).map_err(ServiceError::configuration)?;
        if let Ok(mut held) = self.terminations.write() {
            *held = (changed, notices);
        }
        Ok(())
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
        let held = self.terminations.read().map_err(|_| ServiceError::internal("terminations lock"))?;
        Ok(self.signed.permit_today(self.clock.today(), &held.1)?)
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
        let held = self.terminations.read().map_err(|_| ServiceError::internal("terminations lock"))?;
        Ok(self.signed.permit_run(&request, self.clock.today(), &held.1)?)
    }

    /// Who calls, before the request names an agreement (streams).
    pub fn peer<T>(&self, request: &Request<T>) -> Result<RoleId, Status> {
        authz::peer_role(request, &self.signed)
    }

    fn same_agreement(&self, named: Option<&AgreementRef>) -> Result<(), ServiceError> {
        if named.is_none_or(|named| named.hash.as_ref() != self.signed.hash().as_bytes()) {
            return Err(ServiceError::refused(
                "la demande vise une autre convention ou une autre version que celle détenue ici ; comparez les empreintes (linkage agreement show)",
            ));
        }
        self.in_force()
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
    ServiceError::refused(format!("le rôle {role} n'a pas accès à cette opération"))
}

fn changed_at(folder: &Path) -> Option<SystemTime> {
    std::fs::metadata(folder).and_then(|m| m.modified()).ok()
}
