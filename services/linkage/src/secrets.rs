//! Keys for demonstrations and trials: drawn at random, or all from one seed so that a run can be repeated to the byte.
//!
//! A role in production draws its own keys on its own machine; nothing here is used for that.

use linkage_agreement::defaults::Members;
use linkage_agreement::model::{Analyst, AnalystRight, Custodian, Party, Role};
use linkage_agreement::{PartyId, RoleId, certificate_identity};
use linkage_crypto::oprf::{Mode, ServerKey};
use linkage_crypto::pseudonym::{AnalystScalar, CustodianScalar};
use linkage_crypto::seal::SealingKey;
use linkage_crypto::signing::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Where a trial's or demonstration's keys come from.
pub struct Secrets(Zeroizing<[u8; 32]>);

impl Secrets {
    /// All keys from `seed`, or from fresh randomness.
    pub fn new(seed: Option<u64>) -> Self {
        let mut root = Zeroizing::new([0; 32]);
        match seed {
            Some(seed) => *root = Sha256::digest([b"linkage seed ".as_slice(), &seed.to_le_bytes()].concat()).into(),
            None => linkage_common::rng().fill_bytes(root.as_mut_slice()),
        }
        Self(root)
    }

    /// The 32-byte secret called `name`.
    pub fn key(&self, name: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(Sha256::digest([self.0.as_slice(), name.as_bytes()].concat()).into())
    }

    fn rng(&self, name: &str) -> ChaCha20Rng {
        ChaCha20Rng::from_seed(*self.key(name))
    }

    /// A role's signing key.
    pub fn signing(&self, role: &str) -> SigningKey {
        SigningKey::from_bytes(&self.key(&format!("{role}/signing")))
    }

    /// A role's sealing key.
    pub fn sealing(&self, role: &str) -> SealingKey {
        SealingKey::from_bytes(&self.key(&format!("{role}/sealing")))
    }

    /// The custodian's OPRF key.
    pub fn oprf(&self) -> anyhow::Result<ServerKey> {
        Ok(ServerKey::derive(Mode::Voprf, &self.key("custodian/oprf"), b"trial")?)
    }

    /// The custodian's half of the pseudonyms.
    pub fn custodian_scalar(&self) -> CustodianScalar {
        CustodianScalar::generate(&mut self.rng("custodian/pseudonym"))
    }

    /// An analyst's half of the pseudonyms.
    pub fn analyst_scalar(&self, analyst: &str) -> AnalystScalar {
        AnalystScalar::generate(&mut self.rng(&format!("{analyst}/pseudonym")))
    }

    /// Members of a trial's or demonstration's agreement: the parties with their largest number of records, one broker,
    /// one custodian, one analyst called `etude`.
    pub fn members(&self, agreement: &PartyId, parties: &[(PartyId, u64)]) -> anyhow::Result<Members> {
        let analyst: PartyId = "etude".parse()?;
        let dpo = |who: &str| format!("dpo@{who}.exemple.fr");
        let identity = |role: RoleId| certificate_identity(agreement, &role);
        let signing = |role: &str| self.signing(role).verifying_key().to_base64();
        Ok(Members {
            party: parties
                .iter()
                .map(|(id, max_records)| Party {
                    id: id.clone(),
                    name: id.as_str().to_uppercase(),
                    dpo_contact: dpo(id.as_str()),
                    certificate_identity: identity(RoleId::Party(id.clone())),
                    signing_key: signing(&format!("party/{id}")),
                    sealing_key: self.sealing(&format!("party/{id}")).public_key().to_base64(),
                    duplicate_free: false,
                    max_records: *max_records,
                    profile: None,
                })
                .collect(),
            broker: Role {
                name: "Courtier".to_owned(),
                dpo_contact: dpo("courtier"),
                certificate_identity: identity(RoleId::Broker),
                signing_key: signing("broker"),
            },
            custodian: Custodian {
                name: "Tiers de confiance".to_owned(),
                dpo_contact: dpo("tiers-de-confiance"),
                certificate_identity: identity(RoleId::Custodian),
                signing_key: signing("custodian"),
                oprf_public_key: self.oprf()?.public_key().to_base64(),
            },
            analyst: vec![Analyst {
                id: analyst.clone(),
                name: "Équipe d'étude".to_owned(),
                dpo_contact: dpo("etude"),
                certificate_identity: identity(RoleId::Analyst(analyst)),
                signing_key: signing("analyst/etude"),
                sealing_key: self.sealing("analyst/etude").public_key().to_base64(),
                purpose: "suivi-mensuel".to_owned(),
                may: vec![AnalystRight::Cohorts, AnalystRight::RowLevel],
            }],
        })
    }
}
