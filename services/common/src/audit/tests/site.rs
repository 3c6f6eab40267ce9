//! A broker's folder, its agreement with `ccas` and `caf`, and a clock.

use jiff::civil::date;
use linkage_agreement::model::{Agreement, Analyst, AnalystRight, Custodian, Identity, Party, Role};
use linkage_agreement::{Members, ParsedAgreement, Period, Signatures, Term, certificate_identity, keys, sign, signature};

use super::*;
use crate::AgreementFiles;

pub(super) struct Site {
    dir: TempDir,
    pub(super) clock: MockClock,
    pub(super) gate: Arc<Gate>,
}

/// Every role's signing key is its number.
fn key(number: u8) -> signature::SigningKey {
    signature::SigningKey::from_bytes(&[number; 32])
}

fn number(role: &RoleId) -> u8 {
    match role {
        RoleId::Broker => 3,
        RoleId::Party(id) if id.as_str() == "ccas" => 1,
        RoleId::Party(_) => 2,
        _ => 4,
    }
}

fn agreement() -> Agreement {
    let id = |text: &str| text.parse::<linkage_agreement::PartyId>().unwrap();
    let public = |number: u8| keys::encode(key(number).verifying_key().as_bytes());
    let sealing = |number: u8| {
        let mut point = [0; 32];
        point[0] = number;
        keys::encode(&point)
    };
    let role = |role: &RoleId| Role {
        name: "Organisme".to_owned(),
        dpo_contact: "dpo@organisme.example".to_owned(),
        certificate_identity: certificate_identity(&id("essai"), role),
        signing_key: public(number(role)),
    };
    let party = |name: &str| {
        let Role { name: full, dpo_contact, certificate_identity, signing_key } = role(&RoleId::Party(id(name)));
        let sealing_key = sealing(9 + name.len() as u8);
        let (duplicate_free, max_records, profile) = (true, 1000, None);
        Party {
            id: id(name),
            name: full,
            dpo_contact,
            certificate_identity,
            signing_key,
            sealing_key,
            duplicate_free,
            max_records,
            profile,
        }
    };
    let custodian = role(&RoleId::Custodian);
    let analyst = role(&RoleId::Analyst(id("etude")));
    let oprf = linkage_crypto::oprf::ServerKey::derive(linkage_crypto::oprf::Mode::Voprf, &[7; 32], b"essai").unwrap();
    let members = Members {
        party: vec![party("ccas"), party("caf")],
        broker: role(&RoleId::Broker),
        custodian: Custodian {
            name: custodian.name,
            dpo_contact: custodian.dpo_contact,
            certificate_identity: custodian.certificate_identity,
            signing_key: custodian.signing_key,
            oprf_public_key: oprf.public_key().to_base64(),
        },
        analyst: vec![Analyst {
            id: id("etude"),
            name: analyst.name,
            dpo_contact: analyst.dpo_contact,
            certificate_identity: analyst.certificate_identity,
            signing_key: public(5),
            sealing_key: sealing(20),
            purpose: "essai".to_owned(),
            may: vec![AnalystRight::Cohorts],
        }],
    };
    let term = Term { start: date(2024, 1, 1), end: date(2040, 12, 31), first_period: Period::new(2024, 1).unwrap() };
    let mut agreement = Agreement::for_trial(id("essai"), members, Identity::french(), Vec::new(), term).unwrap();
    agreement.retention.access_log_months = 6;
    agreement
}

impl Site {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let text = agreement().to_toml();
        let parsed = ParsedAgreement::parse(&text, "convention.toml").unwrap();
        let signed = |name: &str, n| sign(&parsed, &name.parse().unwrap(), &key(n), date(2024, 1, 2)).unwrap();
        let signatures: Signatures = [signed("ccas", 1), signed("caf", 2)].into_iter().collect();
        std::fs::write(at("convention.toml"), &text).unwrap();
        std::fs::write(at("signatures.toml"), signatures.to_toml()).unwrap();
        let files = AgreementFiles { agreement: at("convention.toml"), signatures: at("signatures.toml"), terminations: None };
        let clock = MockClock::at("2026-01-10T12:00:00Z".parse().unwrap());
        let gate = Arc::new(Gate::load(&files, Arc::new(clock.clone())).unwrap());
        Self { dir, clock, gate }
    }

    pub(super) fn place(&self) -> Place {
        AuditConfig::default().place(self.dir.path()).unwrap()
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.place().folder
    }

    pub(super) fn log(&self) -> AuditLog {
        AuditLog::open(&self.place(), self.gate.clone(), RoleId::Broker).unwrap()
    }

    pub(super) fn verify(&self) -> Report {
        verify(&self.place(), &self.gate, &RoleId::Broker).unwrap()
    }

    pub(super) fn signer_of(&self, role: RoleId) -> Signer {
        let path = self.dir.path().join(format!("{}.key", number(&role)));
        write_secret(&path, &[number(&role); 32]).unwrap();
        Signer::load(&SecretSource::from_file(path), self.gate.agreement(), self.gate.agreement_hash(), role).unwrap()
    }

    pub(super) fn signer(&self) -> Signer {
        self.signer_of(RoleId::Broker)
    }

    /// The head of `log`, countersigned by a partner and taken in.
    pub(super) fn countersign(&self, log: &AuditLog, party: &str) {
        let (hash, at) = (self.gate.agreement_hash(), self.gate.now());
        let checkpoint = Checkpoint::sign("principal", &log.head().unwrap(), at, &hash, &self.signer());
        let party = party.parse().unwrap();
        let signer = self.signer_of(RoleId::Party(linkage_agreement::PartyId::clone(&party)));
        let countersignature = hex::encode(checkpoint.countersign(&RoleId::Broker, &signer).unwrap());
        log.take_countersignature(Countersigned { checkpoint, party, countersignature, received: at }).unwrap();
    }
}
