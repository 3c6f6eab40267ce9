//! What a role asks before it does something: is it in the agreement that every party signed?
//!
//! "Today" comes in as a parameter; nothing here reads a clock. Each refusal says what stands against the request, in
//! English for logs and the wire and in French for operators.

use std::fmt;

use jiff::civil::Date;

use crate::canonical::AgreementHash;
use crate::ids::{PartyId, Period, RunId};
use crate::model::Rule;
use crate::signature::{AgreementError, SignedAgreement};
use crate::termination::VerifiedTermination;

/// Who a certificate stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RoleId {
    /// A partner's node.
    Party(PartyId),
    /// The broker.
    Broker,
    /// The custodian.
    Custodian,
    /// An analyst.
    Analyst(PartyId),
}

impl fmt::Display for RoleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Party(id) => write!(f, "party/{id}"),
            Self::Broker => f.write_str("broker/broker"),
            Self::Custodian => f.write_str("custodian/custodian"),
            Self::Analyst(id) => write!(f, "analyst/{id}"),
        }
    }
}

/// The URI that the certificate of `role` carries: `linkage://AGREEMENT_ID/ROLE/ID`.
pub fn certificate_identity(agreement: &PartyId, role: &RoleId) -> String {
    format!("linkage://{agreement}/{role}")
}

/// What a run asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRequest {
    /// The agreement that the run is opened under.
    pub agreement_hash: AgreementHash,
    /// The run's name.
    pub run: RunId,
    /// The month linked.
    pub period: Period,
    /// Version of the encoding profile that the caller implements.
    pub profile_version: u32,
}

/// Why something is not permitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The run names another agreement or version.
    #[error("the request is for another agreement or another version of it")]
    OtherAgreement,
    /// The agreement starts later.
    #[error("the agreement is not in force before {start}")]
    NotYetInForce {
        /// First day.
        start: Date,
    },
    /// The agreement has ended.
    #[error("the agreement expired on {end}")]
    Expired {
        /// Last day.
        end: Date,
    },
    /// A party ended the agreement.
    #[error("party {party} terminated the agreement with effect from {effective_on}")]
    Terminated {
        /// Who ended it.
        party: PartyId,
        /// First day without it.
        effective_on: Date,
    },
    /// The month is before the first one agreed or after the agreement's end.
    #[error("period {period} is outside the agreement, which covers {first} to {last}")]
    PeriodNotCovered {
        /// The month asked for.
        period: Period,
        /// First month agreed.
        first: Period,
        /// Last month agreed.
        last: Period,
    },
    /// A party has not validly signed this version.
    #[error("party {party} has not signed this version of the agreement")]
    UnsignedParty {
        /// The party.
        party: PartyId,
    },
    /// The attribute is not in the agreement.
    #[error("attribute {name} is not in the agreement")]
    UnlistedAttribute {
        /// The canonical column's name.
        name: String,
    },
    /// No party of that name.
    #[error("{party} is no party to the agreement")]
    UnknownParty {
        /// The name.
        party: PartyId,
    },
    /// Only the coordinator opens, closes and cancels runs.
    #[error("{party} is not the coordinator; {coordinator} is")]
    NotCoordinator {
        /// Who asked.
        party: PartyId,
        /// Who may.
        coordinator: PartyId,
    },
    /// The caller implements another version of the encoding profile.
    #[error("profile version {asked} was asked for; the agreement has version {agreed}")]
    OtherProfileVersion {
        /// Version asked for.
        asked: u32,
        /// Version agreed.
        agreed: u32,
    },
}

impl Refusal {
    /// The same for operators, in French.
    pub fn french(&self) -> String {
        match self {
            Self::OtherAgreement => {
                "la demande vise une autre convention ou une autre version : charger la version signée en vigueur".to_owned()
            }
            Self::NotYetInForce { start } => format!("la convention n'entre en vigueur que le {start} : attendre cette date"),
            Self::Expired { end } => format!("la convention a expiré le {end} : signer un avenant pour la prolonger"),
            Self::Terminated { party, effective_on } => {
                format!(
                    "la convention a été dénoncée par {party} avec effet au {effective_on} : plus aucune exécution n'est possible"
                )
            }
            Self::PeriodNotCovered { period, first, last } => {
                format!("le mois {period} n'est pas couvert par la convention : choisir un mois de {first} à {last}")
            }
            Self::UnsignedParty { party } => {
                format!(
                    "le partenaire {party} n'a pas signé cette version de la convention : lui faire exécuter « linkage agreement sign »"
                )
            }
            Self::UnlistedAttribute { name } => {
                format!("l'attribut {name} n'est pas dans la convention : le retirer de la demande ou signer un avenant")
            }
            Self::UnknownParty { party } => format!("{party} n'est pas partenaire de la convention : vérifier l'identifiant"),
            Self::NotCoordinator { party, coordinator } => {
                format!("{party} n'est pas le coordonnateur : demander à {coordinator}")
            }
            Self::OtherProfileVersion { asked, agreed } => format!(
                "version {asked} du profil d'encodage demandée, la convention prévoit la version {agreed} : mettre le logiciel à la version convenue"
            ),
        }
    }
}

impl From<AgreementError> for Refusal {
    fn from(error: AgreementError) -> Self {
        match error {
            AgreementError::UnknownParty { party } => Self::UnknownParty { party },
            AgreementError::UnsignedParty { party }
            | AgreementError::OtherVersion { party }
            | AgreementError::BadSignature { party }
            | AgreementError::OtherKey { party } => Self::UnsignedParty { party },
        }
    }
}

impl SignedAgreement {
    /// Whether the run may take place today. Notices of other agreements or versions are passed over.
    pub fn permit_run(&self, request: &RunRequest, today: Date, terminations: &[VerifiedTermination]) -> Result<(), Refusal> {
        if request.agreement_hash != self.hash() {
            return Err(Refusal::OtherAgreement);
        }
        self.permit_today(today, terminations)?;
        let terms = &self.agreement().agreement;
        let (period, first, last) = (request.period, terms.first_period, Period::of(terms.end));
        if !(first..=last).contains(&period) {
            return Err(Refusal::PeriodNotCovered { period, first, last });
        }
        let (asked, agreed) = (request.profile_version, self.agreement().encoding.profile_version);
        if asked != agreed {
            return Err(Refusal::OtherProfileVersion { asked, agreed });
        }
        Ok(())
    }
    /// Whether the agreement is in force today: started, not ended, not terminated.
    pub fn permit_today(&self, today: Date, terminations: &[VerifiedTermination]) -> Result<(), Refusal> {
        let terms = &self.agreement().agreement;
        let ended = terminations
            .iter()
            .map(VerifiedTermination::notice)
            .filter(|n| n.agreement_hash == self.hash() && n.effective_on <= today)
            .min_by_key(|n| n.effective_on);
        if let Some(notice) = ended {
            return Err(Refusal::Terminated { party: notice.party.clone(), effective_on: notice.effective_on });
        }
        if today < terms.start {
            return Err(Refusal::NotYetInForce { start: terms.start });
        }
        if today > terms.end {
            return Err(Refusal::Expired { end: terms.end });
        }
        Ok(())
    }
    /// Whether every attribute named may travel to analysts.
    pub fn permit_attributes<S: AsRef<str>>(&self, names: &[S]) -> Result<(), Refusal> {
        let listed = |name: &str| self.agreement().attribute.iter().any(|a| a.name == name && a.rule != Rule::Drop);
        match names.iter().map(AsRef::as_ref).find(|name| !listed(name)) {
            Some(name) => Err(Refusal::UnlistedAttribute { name: name.to_owned() }),
            None => Ok(()),
        }
    }
    /// Whether `party` takes part.
    pub fn permit_party(&self, party: &PartyId) -> Result<(), Refusal> {
        match self.agreement().party(party) {
            Some(_) => Ok(()),
            None => Err(Refusal::UnknownParty { party: party.clone() }),
        }
    }
    /// Whether `party` may open, close and cancel runs.
    pub fn may_open_runs(&self, party: &PartyId) -> Result<(), Refusal> {
        self.permit_party(party)?;
        let coordinator = &self.agreement().agreement.coordinator;
        if party == coordinator {
            Ok(())
        } else {
            Err(Refusal::NotCoordinator { party: party.clone(), coordinator: coordinator.clone() })
        }
    }
    /// Who the certificate with this URI stands for; `None` for a stranger.
    pub fn role_of(&self, certificate_uri: &str) -> Option<RoleId> {
        let agreement = self.agreement();
        if agreement.broker.certificate_identity == certificate_uri {
            return Some(RoleId::Broker);
        }
        if agreement.custodian.certificate_identity == certificate_uri {
            return Some(RoleId::Custodian);
        }
        let party = agreement.party.iter().find(|p| p.certificate_identity == certificate_uri);
        let analyst = agreement.analyst.iter().find(|a| a.certificate_identity == certificate_uri);
        party.map(|p| RoleId::Party(p.id.clone())).or_else(|| analyst.map(|a| RoleId::Analyst(a.id.clone())))
    }
}
