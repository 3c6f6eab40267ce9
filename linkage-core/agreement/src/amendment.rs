//! What must hold between an agreement and the amendment (avenant) that replaces it: same identifier, next version, and the
//! epoch of the OPRF key raised by one exactly when that key is another one.
//!
//! A key that changed under the same epoch would make block secrets that look comparable and are not; an epoch that skips
//! one, or goes back, would have nodes take encodings of one key for those of another.

use crate::model::Agreement;

/// What stands between two texts as agreement and amendment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmendmentFault {
    /// Another agreement.
    #[error("the two texts have different identifiers")]
    OtherAgreement,
    /// Not the next version.
    #[error("version {found} does not follow version {former}")]
    Version {
        /// Of the former text.
        former: u32,
        /// Of the amendment.
        found: u32,
    },
    /// The epoch neither stays nor is raised by one.
    #[error("epoch {found} of the OPRF key does not follow epoch {former}")]
    Epoch {
        /// Of the former text.
        former: u32,
        /// Of the amendment.
        found: u32,
    },
    /// Another OPRF key under the same epoch.
    #[error("another OPRF key under the same epoch")]
    KeyWithoutEpoch,
    /// Another epoch of the same OPRF key.
    #[error("another epoch of the same OPRF key")]
    EpochWithoutKey,
}

impl AmendmentFault {
    /// The fault in words, and what to do.
    pub fn french(self) -> String {
        match self {
            Self::OtherAgreement => {
                "les deux textes n'ont pas le même identifiant : comparer avec la version précédente de la même convention"
                    .to_owned()
            }
            Self::Version { former, found } => {
                format!("la version {found} ne suit pas la version {former} : écrire version = {}", former.saturating_add(1))
            }
            Self::Epoch { former, found } => format!(
                "l'époque {found} de la clé de l'OPRF ne suit pas l'époque {former} : un avenant la garde, ou écrit oprf_epoch = {}",
                former.saturating_add(1)
            ),
            Self::KeyWithoutEpoch => {
                "oprf_public_key a changé sans oprf_epoch : une nouvelle clé de l'OPRF ouvre une nouvelle époque".to_owned()
            }
            Self::EpochWithoutKey => {
                "oprf_epoch a changé sans oprf_public_key : une nouvelle époque demande une nouvelle clé de l'OPRF".to_owned()
            }
        }
    }
}

impl Agreement {
    /// Every fault of this text as an amendment of `former`; none when it may replace it.
    pub fn amendment_faults(&self, former: &Agreement) -> Vec<AmendmentFault> {
        let mut faults = Vec::new();
        if self.agreement.id != former.agreement.id {
            faults.push(AmendmentFault::OtherAgreement);
        }
        let (before, version) = (former.agreement.version, self.agreement.version);
        if Some(version) != before.checked_add(1) {
            faults.push(AmendmentFault::Version { former: before, found: version });
        }
        let (before, epoch) = (former.oprf_epoch(), self.oprf_epoch());
        let same_key = self.custodian.oprf_public_key == former.custodian.oprf_public_key;
        if epoch != before && Some(epoch) != before.checked_add(1) {
            faults.push(AmendmentFault::Epoch { former: before, found: epoch });
        } else if epoch == before && !same_key {
            faults.push(AmendmentFault::KeyWithoutEpoch);
        } else if epoch != before && same_key {
            faults.push(AmendmentFault::EpochWithoutKey);
        }
        faults
    }
}
