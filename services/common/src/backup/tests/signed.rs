//! Who made a backup: forged, changed, signed by another role or under another agreement, of the version before signatures.

use std::io::{Read as _, Write as _};

use jiff::civil::date;
use linkage_agreement::model::{Agreement, Analyst, AnalystRight, Custodian, Identity, Party, Role};
use linkage_agreement::{Members, ParsedAgreement, Period, RoleId, Term, certificate_identity, keys, signature};
use sha2::{Digest as _, Sha256};

use super::super::archive::unpack;
use super::*;
use crate::config::{SecretSource, write_secret};
use crate::signer::Signer;

fn number(role: &RoleId) -> u8 {
    match role {
        RoleId::Broker => 3,
        RoleId::Custodian => 4,
        RoleId::Party(id) if id.as_str() == "ccas" => 1,
        _ => 2,
    }
}

fn party(name: &str) -> RoleId {
    RoleId::Party(name.parse().unwrap())
}

/// An agreement of `ccas` and `caf` whose broker has the key of this number.
fn agreement_with(broker: u8) -> ParsedAgreement {
    let id: linkage_agreement::PartyId = "essai".parse().unwrap();
    let public = |n: u8| keys::encode(signature::SigningKey::from_bytes(&[n; 32]).verifying_key().as_bytes());
    let member = |role: &RoleId, n| Role {
        name: "Organisme".to_owned(),
        dpo_contact: "dpo@organisme.example".to_owned(),
        certificate_identity: certificate_identity(&id, role),
        signing_key: public(n),
    };
    let sealing = |n: u8| {
        let mut point = [0; 32];
        point[0] = n;
        keys::encode(&point)
    };
    let node = |name: &str| {
        let Role { name: full, dpo_contact, certificate_identity, signing_key } = member(&party(name), number(&party(name)));
        Party {
            id: name.parse().unwrap(),
            name: full,
            dpo_contact,
            certificate_identity,
            signing_key,
            sealing_key: sealing(9 + name.len() as u8),
            duplicate_free: true,
            max_records: 1000,
            profile: None,
        }
    };
    let Role { name, dpo_contact, certificate_identity, signing_key } = member(&RoleId::Custodian, number(&RoleId::Custodian));
    let oprf = linkage_crypto::oprf::ServerKey::derive(linkage_crypto::oprf::Mode::Voprf, &[7; 32], b"essai").unwrap();
    let oprf_public_key = oprf.public_key().to_base64();
    let analyst = RoleId::Analyst("etude".parse().unwrap());
    let study = member(&analyst, 5);
    let analyst = Analyst {
        id: "etude".parse().unwrap(),
        name: study.name,
        dpo_contact: study.dpo_contact,
        certificate_identity: study.certificate_identity,
        signing_key: study.signing_key,
        sealing_key: sealing(20),
        purpose: "essai".to_owned(),
        may: vec![AnalystRight::Cohorts],
    };
    let members = Members {
        party: vec![node("ccas"), node("caf")],
        broker: member(&RoleId::Broker, broker),
        custodian: Custodian { name, dpo_contact, certificate_identity, signing_key, oprf_public_key },
        analyst: vec![analyst],
    };
    let term = Term { start: date(2024, 1, 1), end: date(2040, 12, 31), first_period: Period::new(2024, 1).unwrap() };
    let agreement = Agreement::for_trial(id, members, Identity::french(), Vec::new(), term).unwrap();
    ParsedAgreement::parse(&agreement.to_toml(), "convention.toml").unwrap()
}

pub(super) fn agreement() -> ParsedAgreement {
    agreement_with(number(&RoleId::Broker))
}

fn signer_under(agreement: &ParsedAgreement, role: RoleId, key: u8) -> Signer {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signing.key");
    write_secret(&path, &[key; 32]).unwrap();
    Signer::load(&SecretSource::from_file(path), agreement.agreement(), *agreement.hash().as_bytes(), role).unwrap()
}

pub(super) fn signer(role: RoleId) -> Signer {
    let key = number(&role);
    signer_under(&agreement(), role, key)
}

const FILES: [(&str, &[u8]); 2] = [("settings/agreement", b"text"), ("state/db.sqlite", b"rows")];

fn packed_by(by: &Signer, facts: Facts) -> Vec<u8> {
    pack(SealWriter::new(Vec::new(), &key().public_key()).unwrap(), by, facts, these(&FILES)).unwrap().0
}

fn read(sealed: &[u8]) -> Result<Unverified, BackupError> {
    unpack::<BackupError>(SealReader::new(sealed, &key())?, |_| Ok(()), |_, _| Ok(()))
}

fn plain(sealed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    SealReader::new(sealed, &key()).unwrap().read_to_end(&mut plain).unwrap();
    plain
}

fn sealed_again(plain: &[u8]) -> Vec<u8> {
    let mut writer = SealWriter::new(Vec::new(), &key().public_key()).unwrap();
    writer.write_all(plain).unwrap();
    writer.finish().unwrap()
}

fn refused() -> BackupError {
    BackupError::Signature { role: "broker/broker".to_owned() }
}

#[test]
fn only_what_the_role_has_signed_is_its_backup() {
    let agreed = agreement();
    let backup = packed_by(&signer(RoleId::Broker), facts());
    let manifest = read(&backup).unwrap().signed(&agreed, &RoleId::Broker).unwrap();
    assert_eq!((manifest.facts.clone(), manifest.files.len()), (facts(), 2));
    assert_eq!(read(&backup).unwrap().unsigned(&RoleId::Broker), Err(refused()), "a signature is to be verified");
    // By other roles of the same agreement, and as what another role says.
    for other in [RoleId::Custodian, party("ccas")] {
        let claimed = packed_by(&signer(other), facts());
        assert_eq!(read(&claimed).unwrap().signed(&agreed, &RoleId::Broker), Err(refused()));
    }
    let other_role = |found: &str| BackupError::OtherRole { found: found.to_owned(), expected: "broker/broker".to_owned() };
    for role in ["custodian/custodian", "party/ccas", "party/other", ""] {
        let claimed = packed_by(&signer(RoleId::Broker), Facts { role: role.to_owned(), ..facts() });
        assert_eq!(read(&claimed).unwrap().signed(&agreed, &RoleId::Broker), Err(other_role(role)));
    }
    for role in [RoleId::Custodian, party("ccas"), party("other")] {
        let claimed = packed_by(&signer(RoleId::Broker), Facts { role: role.to_string(), ..facts() });
        assert_eq!(read(&claimed).unwrap().signed(&agreed, &role), Err(BackupError::Signature { role: role.to_string() }));
    }
    // What another role has made and signed as its own is that role's, and nobody else's.
    let theirs = packed_by(&signer(party("ccas")), Facts { role: party("ccas").to_string(), ..facts() });
    read(&theirs).unwrap().signed(&agreed, &party("ccas")).unwrap();
    assert_eq!(read(&theirs).unwrap().signed(&agreed, &RoleId::Broker), Err(other_role("party/ccas")));
    // Under an agreement of somebody else's making, in which the role has another key.
    let made_up = agreement_with(8);
    let own_facts = Facts { agreement: made_up.hash().to_string(), ..facts() };
    let forged = packed_by(&signer_under(&made_up, RoleId::Broker, 8), own_facts);
    read(&forged).unwrap().signed(&made_up, &RoleId::Broker).unwrap();
    let found = made_up.hash().to_string();
    assert_eq!(read(&forged).unwrap().signed(&agreed, &RoleId::Broker), Err(BackupError::OtherAgreement { found }));
    let claimed = packed_by(&signer_under(&made_up, RoleId::Broker, 8), facts());
    assert_eq!(read(&claimed).unwrap().signed(&agreed, &RoleId::Broker), Err(refused()));
}

/// What a backup consists of, to be put together again.
struct Parts {
    facts: Facts,
    files: Vec<(String, Vec<u8>)>,
    manifest: Manifest,
    signature: Vec<u8>,
}

impl Parts {
    fn of(sealed: &[u8]) -> Self {
        let mut files = Vec::new();
        let all = unpack::<BackupError>(
            SealReader::new(sealed, &key()).unwrap(),
            |_| Ok(()),
            |name, bytes| {
                let mut read = Vec::new();
                bytes.read_to_end(&mut read)?;
                files.push((name.to_owned(), read));
                Ok(())
            },
        );
        let manifest = all.unwrap().signed(&agreement(), &RoleId::Broker).unwrap();
        let plain = plain(sealed);
        Self { facts: manifest.facts.clone(), files, manifest, signature: plain[plain.len() - 64..].to_vec() }
    }

    /// As anybody can who has the public part of the recovery key; the manifest tells what is in it.
    fn sealed(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let json = |bytes: &mut Vec<u8>, text: Vec<u8>| {
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text);
        };
        json(&mut bytes, serde_json::to_vec(&self.facts).unwrap());
        self.manifest.facts = self.facts;
        self.manifest.files.clear();
        for (name, content) in &self.files {
            bytes.extend((name.len() as u16).to_le_bytes());
            bytes.extend(name.as_bytes());
            bytes.extend((content.len() as u64).to_le_bytes());
            bytes.extend(content);
            let sha256 = hex::encode(Sha256::digest(content));
            self.manifest.files.push(FileFacts { name: name.clone(), bytes: content.len() as u64, sha256 });
        }
        bytes.extend([0, 0]);
        json(&mut bytes, serde_json::to_vec(&self.manifest).unwrap());
        bytes.extend(self.signature);
        sealed_again(&bytes)
    }
}

#[test]
fn whatever_is_changed_and_sealed_again_is_refused() {
    let genuine = packed_by(&signer(RoleId::Broker), facts());
    let parts = || Parts::of(&genuine);
    read(&parts().sealed()).unwrap().signed(&agreement(), &RoleId::Broker).unwrap();
    let changes: [fn(&mut Parts); 7] = [
        |parts| parts.files[1].1 = b"more rows".to_vec(),
        |parts| parts.files.push(("state/more".to_owned(), Vec::new())),
        |parts| drop(parts.files.pop()),
        |parts| parts.files.swap(0, 1),
        |parts| parts.facts.at += 86_400,
        |parts| parts.facts.entry = 0,
        |parts| parts.signature[5] ^= 1,
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut changed = parts();
        change(&mut changed);
        assert_eq!(read(&changed.sealed()).unwrap().signed(&agreement(), &RoleId::Broker), Err(refused()), "change {number}");
    }
    let cut = Parts { signature: vec![0; 63], ..parts() };
    assert_eq!(read(&cut.sealed()), Err(BackupError::Malformed { what: "fin" }));
    let longer = Parts { signature: vec![0; 65], ..parts() };
    assert_eq!(read(&longer.sealed()), Err(BackupError::Malformed { what: "suite" }));
}

#[test]
fn the_version_before_signatures_is_never_taken_for_a_signed_one() {
    let genuine = packed_by(&signer(RoleId::Broker), facts());
    let before = |signature: Vec<u8>| {
        let parts = Parts::of(&genuine);
        Parts { facts: Facts { format: 1, ..parts.facts.clone() }, signature, ..parts }.sealed()
    };
    let old = read(&before(Vec::new())).unwrap();
    assert!(old.is_unsigned());
    assert_eq!(old.signed(&agreement(), &RoleId::Broker), Err(BackupError::Unsigned));
    assert_eq!(read(&before(Vec::new())).unwrap().unsigned(&RoleId::Broker).unwrap().files.len(), 2);
    let other = BackupError::OtherRole { found: "broker/broker".to_owned(), expected: "custodian/custodian".to_owned() };
    assert_eq!(read(&before(Vec::new())).unwrap().unsigned(&RoleId::Custodian), Err(other));
    assert_eq!(read(&before(Parts::of(&genuine).signature)), Err(BackupError::Malformed { what: "suite" }));
    let later = Parts { facts: Facts { format: 3, ..facts() }, ..Parts::of(&genuine) };
    assert_eq!(read(&later.sealed()), Err(BackupError::NotABackup));
}
