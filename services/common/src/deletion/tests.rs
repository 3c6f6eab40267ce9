use jiff::civil::date;
use linkage_crypto::signing::SigningKey;

use super::series::Series;
use super::*;
use crate::config::{SecretSource, write_secret};

fn agreement(broker: &SigningKey) -> Agreement {
    use linkage_agreement::model::{Analyst, AnalystRight, Custodian, Identity, Party, Role};
    use linkage_agreement::{Members, Term};
    let key = |n: u8| SigningKey::from_bytes(&[n; 32]).verifying_key().to_base64();
    let text = |t: &str| t.to_owned();
    let party = |name: &str, n: u8| Party {
        id: name.parse().unwrap(),
        name: text(name),
        dpo_contact: text("dpo"),
        certificate_identity: text("x"),
        signing_key: key(n),
        sealing_key: key(n),
        duplicate_free: true,
        max_records: 10,
        profile: None,
    };
    let members = Members {
        party: vec![party("ccas", 1), party("siao", 2)],
        broker: Role {
            name: text("b"),
            dpo_contact: text("d"),
            certificate_identity: text("b"),
            signing_key: broker.verifying_key().to_base64(),
        },
        custodian: Custodian {
            name: text("c"),
            dpo_contact: text("d"),
            certificate_identity: text("c"),
            signing_key: key(3),
            oprf_public_key: text(""),
        },
        analyst: vec![Analyst {
            id: "etude".parse().unwrap(),
            name: text("e"),
            dpo_contact: text("d"),
            certificate_identity: text("e"),
            signing_key: key(4),
            sealing_key: key(4),
            purpose: text("p"),
            may: vec![AnalystRight::Cohorts],
        }],
    };
    let term = Term { start: date(2024, 1, 1), end: date(2029, 12, 31), first_period: "2024-01".parse().unwrap() };
    Agreement::for_trial("essai".parse().unwrap(), members, Identity::french(), Vec::new(), term).unwrap()
}

struct Bench {
    dir: tempfile::TempDir,
    agreement: Agreement,
    hash: [u8; 32],
    signer: Signer,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::from_bytes(&[9; 32]);
    let agreement = agreement(&key);
    let path = dir.path().join("key");
    write_secret(&path, &key.to_bytes()).unwrap();
    let signer = Signer::load(&SecretSource::from_file(path), &agreement, [7; 32], RoleId::Broker).unwrap();
    Bench { dir, agreement, hash: [7; 32], signer }
}

fn draft() -> Draft {
    let months = ["2024-03", "2024-01"].map(|m| m.parse::<Period>().unwrap());
    Draft {
        rule: "retention.archive_months".to_owned(),
        value: Some(60),
        cause: Cause::Term,
        as_of: date(2029, 4, 1),
        run: None,
        data: vec![DataSet::records("archive", 12).of_months(months), DataSet::files("deliveries", 2)],
    }
}

fn now() -> Timestamp {
    "2029-04-01T03:00:00Z".parse().unwrap()
}

#[test]
fn a_certificate_says_what_was_deleted_and_by_whom() {
    let b = bench();
    let text = sign(&b.signer, &b.agreement, &draft(), 41, now()).unwrap();
    let read = read(&text, &b.agreement, &b.hash).unwrap();
    assert_eq!((read.role.as_str(), read.number, read.deleted_at), ("broker/broker", 41, now()));
    assert_eq!((read.rule, read.value, read.cause, read.data), (draft().rule, Some(60), Cause::Term, draft().data));
    let from = draft().data[0].from.unwrap();
    assert_eq!(from.to_string(), "2024-01");
}

#[test]
fn every_changed_byte_is_found_in_its_line() {
    let b = bench();
    let text = sign(&b.signer, &b.agreement, &draft(), 1, now()).unwrap();
    let mut line = 1;
    let digests_at = 1 + text.lines().position(|l| l == DIGESTS).unwrap();
    for (at, byte) in text.bytes().enumerate() {
        for other in [b'0', b'x', b' ', b'\n', b'"'] {
            if other == byte {
                continue;
            }
            let mut changed = text.clone().into_bytes();
            changed[at] = other;
            let changed = String::from_utf8(changed).unwrap();
            match read(&changed, &b.agreement, &b.hash) {
                // A line cut in two, or two joined, is found where it begins; so is one whose list of digests is not found.
                Err(CertificateError::Line { line: found, .. }) => {
                    let joined = byte == b'\n' || other == b'\n';
                    let near = found.abs_diff(line) <= 1;
                    assert!(found == line || joined && (near || found <= digests_at), "line {line}, byte {at}: {found}");
                }
                Err(CertificateError::NotACertificate) => assert!(byte == b'\n' || other == b'\n', "line {line}, byte {at}"),
                other => unreachable!("line {line}, byte {at}: {other:?}"),
            }
        }
        if byte == b'\n' {
            line += 1;
        }
    }
}

#[test]
fn lines_taken_out_or_added_are_found() {
    let b = bench();
    let text = sign(&b.signer, &b.agreement, &draft(), 1, now()).unwrap();
    let lines: Vec<&str> = text.split('\n').collect();
    for at in 0..lines.len() {
        let mut fewer = lines.clone();
        fewer.remove(at);
        assert!(read(&fewer.join("\n"), &b.agreement, &b.hash).is_err(), "{at}");
        let mut more = lines.clone();
        more.insert(at, "  \"note\": 1,");
        assert!(read(&more.join("\n"), &b.agreement, &b.hash).is_err(), "{at}");
    }
    let removed = [&lines[..8], &lines[9..]].concat().join("\n");
    assert!(matches!(read(&removed, &b.agreement, &b.hash), Err(CertificateError::Line { line: 9, .. })));
    assert_eq!(read("", &b.agreement, &b.hash), Err(CertificateError::NotACertificate));
}

#[test]
fn a_line_and_its_digest_changed_together_leave_the_signature_wrong() {
    let b = bench();
    let text = sign(&b.signer, &b.agreement, &draft(), 1, now()).unwrap();
    let forged = text.replace("\"records\":12", "\"records\":11");
    let (before, after) = (
        "    {\"set\":\"archive\",\"records\":12,\"from\":\"2024-01\",\"to\":\"2024-03\"},",
        "    {\"set\":\"archive\",\"records\":11,\"from\":\"2024-01\",\"to\":\"2024-03\"},",
    );
    assert!(text.contains(before) && forged.contains(after));
    let forged = forged.replace(&hex::encode(Sha256::digest(before)), &hex::encode(Sha256::digest(after)));
    let signature_line = 1 + text.lines().position(|l| l.starts_with("  \"signature\"")).unwrap();
    let Err(CertificateError::Line { line, why }) = read(&forged, &b.agreement, &b.hash) else { unreachable!() };
    assert_eq!(line, signature_line);
    assert!(why.contains("signature refusée"));
}

#[test]
fn another_agreement_is_named() {
    let b = bench();
    let text = sign(&b.signer, &b.agreement, &draft(), 1, now()).unwrap();
    assert_eq!(read(&text, &b.agreement, &[8; 32]), Err(CertificateError::OtherAgreement { named: hex::encode([7; 32]) }));
}

#[test]
fn what_was_begun_is_certified_once_however_often_it_is_completed() {
    let b = bench();
    let series = Series::new(b.dir.path());
    assert_eq!((series.files().unwrap().len(), series.pending().unwrap().len()), (0, 0));
    let first = series.begin(&draft()).unwrap();
    let second = series.begin(&draft()).unwrap();
    assert_eq!((first, second), (1, 2));
    assert_eq!(series.pending().unwrap(), [(1, draft()), (2, draft())]);
    series.complete(&b.signer, &b.agreement, 2, &draft(), now()).unwrap();
    // Killed before the note was removed: signed already, it is not signed again.
    let certified = std::fs::read(&series.files().unwrap()[0]).unwrap();
    fsx_write(&series.path_of(2), &draft());
    series.complete(&b.signer, &b.agreement, 2, &draft(), "2030-01-01T00:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(std::fs::read(&series.files().unwrap()[0]).unwrap(), certified);
    assert_eq!(series.pending().unwrap().len(), 1);
    assert_eq!(series.begin(&draft()).unwrap(), 3);
}

fn fsx_write(path: &std::path::Path, draft: &Draft) {
    crate::fsx::write_atomic(path, &serde_json::to_vec(draft).unwrap()).unwrap();
}

impl Series {
    fn path_of(&self, number: u64) -> std::path::PathBuf {
        self.files().unwrap()[0].with_file_name(format!("{number:08}.pending"))
    }
}
