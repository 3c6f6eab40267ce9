//! The agreement that targets need beside the fuzzer's bytes: three parties, keys that are numbers, nothing drawn at random.

use std::sync::LazyLock;

use jiff::civil::date;
use linkage_agreement::model::{Analyst, AnalystRight, Attribute, Custodian, Identity, Party, Role};
use linkage_agreement::signature::{self, sign};
use linkage_agreement::{
    Agreement, Members, ParsedAgreement, PartyId, RoleId, Signatures, Term, Termination, certificate_identity,
};
use linkage_common::config::{SecretSource, write_secret};
use linkage_common::signer::Signer;
use linkage_crypto::oprf::ServerKey;
use linkage_crypto::seal::SealingKey;
use linkage_crypto::signing::SigningKey;

/// The parties; the first is the coordinator.
pub(crate) const PARTIES: [&str; 3] = ["ccas", "siao", "caf"];

/// The agreement, read back from its text, and its hash.
pub(crate) static AGREEMENT: LazyLock<(Agreement, [u8; 32])> = LazyLock::new(|| {
    let parsed = ParsedAgreement::parse(&made().to_toml(), "convention.toml").expect("the agreement has no fault");
    (parsed.agreement().clone(), *parsed.hash().as_bytes())
});

/// The agreement as a file, everyone's signatures, and a party's notice of termination.
pub fn agreement_files() -> (String, String, String) {
    let text = made().to_toml();
    let parsed = ParsedAgreement::parse(&text, "convention.toml").expect("the agreement has no fault");
    let key = |party: &PartyId| signature::SigningKey::from_bytes(&signing_key(&RoleId::Party(party.clone())));
    let parties = parsed.agreement().party.iter().map(|party| party.id.clone());
    let signatures: Signatures =
        parties.map(|party| sign(&parsed, &party, &key(&party), date(2026, 1, 2)).expect("the party's key")).collect();
    let party = PARTIES[1].parse().expect("an identifier");
    let notice = Termination::sign(&parsed, &party, &key(&party), date(2027, 1, 1)).expect("the party's key");
    (text, signatures.to_toml(), notice.to_toml())
}

/// A role's signing key: a number, repeated.
pub(crate) fn signing_key(role: &RoleId) -> [u8; 32] {
    [match role {
        RoleId::Broker => 1,
        RoleId::Custodian => 2,
        RoleId::Analyst(_) => 3,
        RoleId::Party(party) => 4 + PARTIES.iter().position(|p| *p == party.as_str()).unwrap_or(0) as u8,
    }; 32]
}

/// What a role signs with.
pub(crate) fn signer(role: RoleId) -> Signer {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("key");
    write_secret(&path, &signing_key(&role)).expect("a key file");
    Signer::load(&SecretSource::from_file(path), &AGREEMENT.0, AGREEMENT.1, role).expect("the agreement's key")
}

/// The custodian's OPRF key.
pub(crate) fn oprf_key() -> ServerKey {
    ServerKey::derive(linkage_crypto::oprf::Mode::Voprf, &[9; 32], b"essai").expect("a key")
}

fn made() -> Agreement {
    let id = "essai-2026".parse().expect("an identifier");
    let identity = |role: &RoleId| certificate_identity(&id, role);
    let signing = |role: &RoleId| SigningKey::from_bytes(&signing_key(role)).verifying_key().to_base64();
    let sealing = |number: u8| SealingKey::from_bytes(&[number; 32]).public_key().to_base64();
    let dpo = "dpo@service.example".to_owned();
    let party = |(number, name): (u8, &str)| {
        let role = RoleId::Party(name.parse().expect("an identifier"));
        Party {
            id: name.parse().expect("an identifier"),
            name: name.to_uppercase(),
            dpo_contact: dpo.clone(),
            certificate_identity: identity(&role),
            signing_key: signing(&role),
            sealing_key: sealing(20 + number),
            duplicate_free: true,
            max_records: 1000,
            profile: None,
        }
    };
    let analyst = RoleId::Analyst("etude".parse().expect("an identifier"));
    let members = Members {
        party: (0..).zip(PARTIES).map(party).collect(),
        broker: Role {
            name: "Courtier".to_owned(),
            dpo_contact: dpo.clone(),
            certificate_identity: identity(&RoleId::Broker),
            signing_key: signing(&RoleId::Broker),
        },
        custodian: Custodian {
            name: "Tiers de confiance".to_owned(),
            dpo_contact: dpo.clone(),
            certificate_identity: identity(&RoleId::Custodian),
            signing_key: signing(&RoleId::Custodian),
            oprf_public_key: oprf_key().public_key().to_base64(),
        },
        analyst: vec![Analyst {
            id: "etude".parse().expect("an identifier"),
            name: "Étude".to_owned(),
            dpo_contact: dpo.clone(),
            certificate_identity: identity(&analyst),
            signing_key: signing(&analyst),
            sealing_key: sealing(30),
            purpose: "suivi".to_owned(),
            may: vec![AnalystRight::Cohorts],
        }],
    };
    let term = Term { start: date(2026, 1, 1), end: date(2028, 12, 31), first_period: "2026-01".parse().expect("a month") };
    Agreement::for_trial(id.clone(), members, Identity::french(), Attribute::french(), term).expect("two parties and an analyst")
}
