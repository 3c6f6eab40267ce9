//! Tests over several modules: one valid agreement, and what becomes of it.

mod amendment;
mod enforcement;
mod faults;
mod other_profiles;
mod spellings;
mod template;
mod vectors;

use ed25519_dalek::SigningKey;

use crate::model::{Analyst, AnalystRight, Attribute, Custodian, Identity, Party, Role};
use crate::permit::{RoleId, certificate_identity};
use crate::{Agreement, Members, ParsedAgreement, PartyId, Signatures, Term, keys, sign};

/// RFC 9497 appendix A.1.2, pkSm of ristretto255-SHA512 in mode VOPRF.
const OPRF_KEY: &str = "c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e";

pub(super) fn id(text: &str) -> PartyId {
    text.parse().unwrap()
}

/// The signing key of the member numbered `n`.
pub(super) fn signing_key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

pub(super) fn verification(n: u8) -> String {
    keys::encode(signing_key(n).verifying_key().as_bytes())
}

fn member_url(role: &RoleId) -> String {
    certificate_identity(&id("essai"), role)
}

fn party(name: &str, n: u8) -> Party {
    Party {
        id: id(name),
        name: format!("Organisme {n}"),
        dpo_contact: "dpo@exemple.fr".to_owned(),
        certificate_identity: member_url(&RoleId::Party(id(name))),
        signing_key: verification(n),
        sealing_key: keys::encode(&[n; 32]),
        duplicate_free: n == 1,
        max_records: 5_000,
        profile: None,
    }
}

/// ccas (key 1, coordinator), siao (2), caf (3); broker 4, custodian 5, analyst observatoire 6.
pub(super) fn agreement() -> Agreement {
    let common = |n: u8, role: RoleId| Role {
        name: format!("Organisme {n}"),
        dpo_contact: "dpo@exemple.fr".to_owned(),
        certificate_identity: member_url(&role),
        signing_key: verification(n),
    };
    let (broker, custodian) = (common(4, RoleId::Broker), common(5, RoleId::Custodian));
    let members = Members {
        party: vec![party("ccas", 1), party("siao", 2), party("caf", 3)],
        broker,
        custodian: Custodian {
            name: custodian.name,
            dpo_contact: custodian.dpo_contact,
            certificate_identity: custodian.certificate_identity,
            signing_key: custodian.signing_key,
            oprf_public_key: keys::encode(&hex::decode(OPRF_KEY).unwrap()),
        },
        analyst: vec![Analyst {
            id: id("observatoire"),
            name: "Organisme 6".to_owned(),
            dpo_contact: "dpo@exemple.fr".to_owned(),
            certificate_identity: member_url(&RoleId::Analyst(id("observatoire"))),
            signing_key: verification(6),
            sealing_key: keys::encode(&[6; 32]),
            purpose: "observation".to_owned(),
            may: vec![AnalystRight::Cohorts, AnalystRight::RowLevel],
        }],
    };
    let term = Term {
        start: "2024-01-01".parse().unwrap(),
        end: "2026-12-31".parse().unwrap(),
        first_period: "2023-06".parse().unwrap(),
    };
    Agreement::for_trial(id("essai"), members, Identity::french(), Attribute::french(), term).unwrap()
}

pub(super) fn parsed() -> ParsedAgreement {
    ParsedAgreement::parse(&agreement().to_toml(), "convention.toml").unwrap()
}

pub(super) fn all_signatures(parsed: &ParsedAgreement) -> Signatures {
    let day = "2023-12-15".parse().unwrap();
    [("ccas", 1), ("siao", 2), ("caf", 3)]
        .into_iter()
        .map(|(name, n)| sign(parsed, &id(name), &signing_key(n), day).unwrap())
        .collect()
}
