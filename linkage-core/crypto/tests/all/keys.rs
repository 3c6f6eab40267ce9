//! Envelopes, sealing, signatures, pseudonyms, storage and key files: what works, and what must be refused.

use linkage_crypto::derive::{BlockSecret, RunKey, SharedKey};
use linkage_crypto::group::{Contribution, ENVELOPE_LEN, GroupError, GroupKey, Route};
use linkage_crypto::keyfile::{self, KeyFileError};
use linkage_crypto::oprf::{Blinder, OprfError, ServerKey};
use linkage_crypto::pseudonym::{AnalystScalar, CustodianScalar, Domain, PseudonymError, PseudonymPoint};
use linkage_crypto::seal::{self, SealError, SealingKey, SealingPublicKey, attributes_info};
use linkage_crypto::signing::{SignatureError, SigningKey, VerifyingKey};
use linkage_crypto::storage::{self, Place, StorageError, StorageKey};

use proptest::prelude::*;

use crate::support::rng;

const AGREEMENT: [u8; 32] = [0xa1; 32];

#[test]
fn envelopes_reach_their_recipient_only() {
    let mut rng = rng(11);
    let (sign_a, sign_b) = (SigningKey::generate(&mut rng), SigningKey::generate(&mut rng));
    let (seal_b, seal_c) = (SealingKey::generate(&mut rng), SealingKey::generate(&mut rng));
    let contribution = Contribution::generate(&mut rng);
    let route = Route { agreement: &AGREEMENT, from: "ccas", to: "siao" };
    let envelope = route.seal(&contribution, &seal_b.public_key(), &sign_a, &mut rng).unwrap();
    assert_eq!(envelope.len(), ENVELOPE_LEN);
    let from_a = sign_a.verifying_key();
    assert!(route.open(&envelope, &from_a, &seal_b).unwrap() == contribution);

    let refused =
        |route: Route<'_>, envelope: &[u8], key: &VerifyingKey, seal: &SealingKey| route.open(envelope, key, seal).unwrap_err();
    assert_eq!(refused(route, &envelope, &sign_b.verifying_key(), &seal_b), GroupError::Signature);
    assert_eq!(refused(route, &envelope, &from_a, &seal_c), GroupError::Seal(SealError::Refused));
    for other in [
        Route { from: "siao", to: "ccas", ..route },
        Route { to: "caf", ..route },
        Route { from: "caf", ..route },
        Route { agreement: &[0; 32], ..route },
    ] {
        assert_eq!(refused(other, &envelope, &from_a, &seal_b), GroupError::Signature);
    }
    for at in 0..envelope.len() {
        let mut altered = envelope.clone();
        altered[at] ^= 1;
        assert_eq!(refused(route, &altered, &from_a, &seal_b), GroupError::Signature, "byte {at}");
    }
    assert_eq!(refused(route, &envelope[1..], &from_a, &seal_b), GroupError::Length);
    assert_eq!(refused(route, &[], &from_a, &seal_b), GroupError::Length);
    // re-signed by an attacker who is the announced sender: still sealed for another route
    let elsewhere = Route { to: "caf", ..route };
    let resealed = elsewhere.seal(&contribution, &seal_b.public_key(), &sign_a, &mut rng).unwrap();
    assert_eq!(refused(route, &resealed, &from_a, &seal_b), GroupError::Signature);
    for id in ["", "a\0b", "x".repeat(256).as_str()] {
        let route = Route { from: id, ..route };
        let sealed = route.seal(&contribution, &seal_b.public_key(), &sign_a, &mut rng);
        assert_eq!(sealed.unwrap_err(), GroupError::PartyId);
    }
}

#[test]
fn group_key_needs_every_contribution() {
    let mut rng = rng(12);
    let [a, b, c] = [(); 3].map(|()| Contribution::generate(&mut rng));
    let combine = |parts: &[(&str, &Contribution)]| GroupKey::combine(&AGREEMENT, parts);
    let key = combine(&[("a", &a), ("b", &b), ("c", &c)]).unwrap();
    assert!(combine(&[("c", &c), ("a", &a), ("b", &b)]).unwrap() == key, "order does not matter");
    for other in [
        combine(&[("a", &a), ("b", &b)]),
        combine(&[("a", &a), ("b", &b), ("c", &a)]),
        combine(&[("a", &b), ("b", &a), ("c", &c)]),
        combine(&[("aa", &a), ("b", &b), ("c", &c)]),
        GroupKey::combine(&[0; 32], &[("a", &a), ("b", &b), ("c", &c)]),
    ] {
        let other = other.unwrap();
        assert!(other != key);
        assert_ne!(other.fingerprint(), key.fingerprint());
    }
    assert_eq!(combine(&[]).unwrap_err(), GroupError::TooFew);
    assert_eq!(combine(&[("a", &a)]).unwrap_err(), GroupError::TooFew);
    assert_eq!(combine(&[("a", &a), ("b", &b), ("a", &c)]).unwrap_err(), GroupError::Duplicate);
    assert_eq!(combine(&[("", &a), ("b", &b)]).unwrap_err(), GroupError::PartyId);

    let text = key.fingerprint().to_string();
    let groups: Vec<&str> = text.split(' ').collect();
    assert_eq!(groups.len(), 6);
    assert!(groups.iter().all(|group| group.len() == 4 && group.bytes().all(|byte| byte.is_ascii_digit())));
}

#[test]
fn runs_and_blocks_have_entries_of_their_own() {
    let key = GroupKey::from_bytes(&[3; 32]);
    let (x, y) = (BlockSecret::from_bytes(&[1; 32]), BlockSecret::from_bytes(&[2; 32]));
    let run = key.run_key(&AGREEMENT, "2024-01");
    let token = run.entry_keys(&x).0;
    assert_eq!(run.entry_keys(&x).0, token);
    assert_ne!(run.entry_keys(&y).0, token);
    assert_ne!(key.run_key(&AGREEMENT, "2024-02").entry_keys(&x).0, token);
    assert_ne!(key.run_key(&[0; 32], "2024-01").entry_keys(&x).0, token);
    assert_ne!(run.entry_keys(&x).1.prf(&[0; 16]), x.field_key().prf(&[0; 16]));
    let shared = SharedKey::from_bytes(&[4; 32]);
    assert!(BlockSecret::shared(&shared, b"ab") != BlockSecret::shared(&shared, b"ac"));
    assert!(BlockSecret::shared(&shared, b"ab") != BlockSecret::shared(&SharedKey::from_bytes(&[5; 32]), b"ab"));
}

#[test]
fn sealed_messages_open_for_their_use_only() {
    let mut rng = rng(13);
    let key = SealingKey::generate(&mut rng);
    let info = attributes_info(&AGREEMENT, "2024-01", "ccas");
    let sealed = key.public_key().seal(&info, &[7; 16], b"attributs", &mut rng).unwrap();
    assert_eq!(sealed.len(), 9 + seal::OVERHEAD);
    assert_eq!(key.open(&info, &[7; 16], &sealed).unwrap().as_slice(), b"attributs");
    assert_ne!(key.public_key().seal(&info, &[7; 16], b"attributs", &mut rng).unwrap(), sealed);

    let same = SealingKey::from_key_file(&key.to_key_file()).unwrap();
    assert_eq!(same.open(&info, &[7; 16], &sealed).unwrap().as_slice(), b"attributs");
    assert_eq!(SealingPublicKey::from_base64(&key.public_key().to_base64()).unwrap(), key.public_key());

    assert_eq!(SealingKey::generate(&mut rng).open(&info, &[7; 16], &sealed).unwrap_err(), SealError::Refused);
    assert_eq!(key.open(&info, &[8; 16], &sealed).unwrap_err(), SealError::Refused);
    for other in [
        attributes_info(&AGREEMENT, "2024-02", "ccas"),
        attributes_info(&AGREEMENT, "2024-01", "siao"),
        attributes_info(&[0; 32], "2024-01", "ccas"),
    ] {
        assert_eq!(key.open(&other, &[7; 16], &sealed).unwrap_err(), SealError::Refused);
    }
    for at in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        assert_eq!(key.open(&info, &[7; 16], &altered).unwrap_err(), SealError::Refused, "byte {at}");
    }
    assert_eq!(key.open(&info, &[7; 16], &sealed[..sealed.len() - 1]).unwrap_err(), SealError::Refused);
    assert_eq!(key.open(&info, &[7; 16], &sealed[..47]).unwrap_err(), SealError::Truncated);
    assert_eq!(key.open(&info, &[7; 16], &[]).unwrap_err(), SealError::Truncated);
    // the encapsulated key of small order gives a shared secret that anyone knows
    assert_eq!(key.open(&info, &[7; 16], &[0; 48]).unwrap_err(), SealError::Refused);
    let small_order = SealingPublicKey::from_bytes(&[0; 32]);
    assert_eq!(small_order.seal(&info, &[], b"x", &mut rng).unwrap_err(), SealError::RecipientKey);
}

#[test]
fn signatures_are_verified_strictly() {
    // RFC 8032, section 7.1, test 2
    let seed = hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").unwrap();
    let key = SigningKey::from_bytes(&seed.try_into().unwrap());
    assert_eq!(hex::encode(key.verifying_key().to_bytes()), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    let signature = key.sign(&[0x72]);
    assert_eq!(
        hex::encode(signature),
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    );
    let verifying = VerifyingKey::from_base64(&key.verifying_key().to_base64()).unwrap();
    assert_eq!(verifying.verify(&[0x72], &signature), Ok(()));
    assert_eq!(verifying.verify(&[0x73], &signature), Err(SignatureError::Refused));
    for at in 0..64 {
        let mut altered = signature;
        altered[at] ^= 1;
        assert_eq!(verifying.verify(&[0x72], &altered), Err(SignatureError::Refused), "byte {at}");
    }
    let other = SigningKey::generate(&mut rng(14)).verifying_key();
    assert_eq!(other.verify(&[0x72], &signature), Err(SignatureError::Refused));
    // small order: the neutral element, for which one signature is valid for every message
    let mut neutral = [0; 32];
    neutral[0] = 1;
    assert_eq!(VerifyingKey::from_bytes(&neutral), Err(SignatureError::Key));
    assert_eq!(VerifyingKey::from_bytes(&[0; 32]), Err(SignatureError::Key));
    assert_eq!(VerifyingKey::from_base64("AAAA"), Err(SignatureError::Key));
    assert_eq!(*SigningKey::from_key_file(&key.to_key_file()).unwrap().to_bytes(), *key.to_bytes());
}

#[test]
fn pseudonyms_depend_on_both_roles_and_the_domain() {
    let mut rng = rng(15);
    let (custodian, analyst) = (CustodianScalar::generate(&mut rng), AnalystScalar::generate(&mut rng));
    let ids: Vec<[u8; 16]> = (0..40).map(|i| [i; 16]).collect();
    let domain = Domain::persons("a", "p");
    let points = custodian.points(&domain, &ids);
    let names = analyst.pseudonyms(&points).unwrap();
    assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), 40);

    let same_custodian = CustodianScalar::from_key_file(&custodian.to_key_file()).unwrap();
    let same_analyst = AnalystScalar::from_bytes(&analyst.to_bytes()).unwrap();
    assert_eq!(same_analyst.pseudonyms(&same_custodian.points(&domain, &ids[7..8])).unwrap(), names[7..8]);

    for other in [Domain::persons("b", "p"), Domain::persons("a", "q"), Domain::records("a", "p")] {
        assert_ne!(custodian.points(&other, &ids[..1]), points[..1]);
    }
    assert_ne!(CustodianScalar::generate(&mut rng).points(&domain, &ids[..1]), points[..1]);
    assert_ne!(AnalystScalar::generate(&mut rng).pseudonyms(&points[..1]).unwrap(), names[..1]);

    let refused = Err(PseudonymError::InvalidPoint { index: 1 });
    assert_eq!(analyst.pseudonyms(&[points[0], PseudonymPoint([0; 32])]), refused);
    assert_eq!(analyst.pseudonyms(&[points[0], PseudonymPoint([0xff; 32])]), refused);
    assert_eq!(analyst.pseudonyms(&[]), Ok(vec![]));
    assert_eq!(CustodianScalar::from_bytes(&[0; 32]).unwrap_err(), KeyFileError::Value);
    assert_eq!(AnalystScalar::from_bytes(&[0xff; 32]).unwrap_err(), KeyFileError::Value);
}

#[test]
fn stored_values_open_in_their_place_only() {
    let mut rng = rng(16);
    let key = StorageKey::generate(&mut rng);
    let place = Place { table: "archive", row: b"ref-1" };
    let stored = key.seal(place, b"contenu", &mut rng).unwrap();
    assert_eq!(stored.len(), 7 + storage::OVERHEAD);
    assert_eq!(key.open(place, &stored).unwrap().as_slice(), b"contenu");
    assert_eq!(StorageKey::from_key_file(&key.to_key_file()).unwrap().open(place, &stored).unwrap().as_slice(), b"contenu");
    assert_ne!(key.seal(place, b"contenu", &mut rng).unwrap(), stored);

    for elsewhere in [
        Place { row: b"ref-2", ..place },
        Place { table: "journal", ..place },
        Place { table: "archiver", row: b"ef-1" },
        Place { table: "archive", row: b"" },
    ] {
        assert_eq!(key.open(elsewhere, &stored).unwrap_err(), StorageError::Refused);
    }
    assert_eq!(StorageKey::generate(&mut rng).open(place, &stored).unwrap_err(), StorageError::WrongKey);
    for at in 0..stored.len() {
        let mut altered = stored.clone();
        altered[at] ^= 1;
        let expected = match at {
            0 => StorageError::Version,
            1..5 => StorageError::WrongKey,
            _ => StorageError::Refused,
        };
        assert_eq!(key.open(place, &altered).unwrap_err(), expected, "byte {at}");
    }
    assert_eq!(key.open(place, &stored[..stored.len() - 1]).unwrap_err(), StorageError::Refused);
    assert_eq!(key.open(place, &stored[..storage::OVERHEAD - 1]).unwrap_err(), StorageError::Truncated);
    assert_eq!(key.open(place, &[]).unwrap_err(), StorageError::Truncated);
    let long = "t".repeat(65_536);
    assert_eq!(key.seal(Place { table: &long, row: b"" }, b"", &mut rng).unwrap_err(), StorageError::TooLong);
}

#[test]
fn key_files_are_one_line_of_32_bytes() {
    let line = keyfile::encode(&[0xab; 32]);
    assert_eq!(line.as_str(), "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=\n");
    assert_eq!(*keyfile::decode(&line).unwrap(), [0xab; 32]);
    assert_eq!(*keyfile::decode("  q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=\r\n").unwrap(), [0xab; 32]);
    let decode = |text: &str| keyfile::decode(text).unwrap_err();
    assert_eq!(decode(""), KeyFileError::Length);
    assert_eq!(decode("q6urq6s="), KeyFileError::Length);
    assert_eq!(decode("q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6ur"), KeyFileError::Length);
    assert_eq!(decode("q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s"), KeyFileError::NotBase64, "padding is required");
    assert_eq!(decode("q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6t="), KeyFileError::NotBase64, "trailing bits");
    assert_eq!(decode("-----BEGIN PRIVATE KEY-----"), KeyFileError::NotBase64);
    assert_eq!(decode("q6urq6urq6urq6urq6ur\nq6urq6urq6urq6urq6urq6s="), KeyFileError::NotBase64, "one line");
}

#[test]
fn debug_shows_no_secret() {
    let mut rng = rng(17);
    let (state, _) = Blinder::blind(&["DUPONT"], &mut rng).unwrap();
    let shown = [
        format!("{:?}", BlockSecret::generate(&mut rng)),
        format!("{:?}", BlockSecret::from_bytes(&[1; 32]).field_key()),
        format!("{:?}", SharedKey::generate(&mut rng)),
        format!("{:?}", RunKey::from_bytes(&[1; 32])),
        format!("{:?}", GroupKey::from_bytes(&[1; 32])),
        format!("{:?}", Contribution::generate(&mut rng)),
        format!("{:?}", ServerKey::generate(&mut rng)),
        format!("{state:?}"),
        format!("{:?}", SealingKey::generate(&mut rng)),
        format!("{:?}", SigningKey::generate(&mut rng)),
        format!("{:?}", StorageKey::generate(&mut rng)),
        format!("{:?}", CustodianScalar::generate(&mut rng)),
        format!("{:?}", AnalystScalar::generate(&mut rng)),
    ];
    for text in shown {
        assert!(text.ends_with("(..)") && !text.bytes().any(|byte| byte.is_ascii_digit()), "{text}");
    }
    assert!(!OprfError::InputTooLong { index: 3 }.to_string().contains("DUPONT"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_arrives_is_refused_without_panic(data in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,60}") {
        let mut rng = rng(18);
        let route = Route { agreement: &AGREEMENT, from: "ccas", to: "siao" };
        let (signing, sealing) = (SigningKey::generate(&mut rng), SealingKey::generate(&mut rng));
        prop_assert!(route.open(&data, &signing.verifying_key(), &sealing).is_err());
        prop_assert!(sealing.open(b"info", b"", &data).is_err());
        let place = Place { table: &text, row: &data };
        prop_assert!(StorageKey::generate(&mut rng).open(place, &data).is_err());
        prop_assert!(keyfile::decode(&text).is_err());
        let key = ServerKey::generate(&mut rng);
        // Random bytes are an element about once in sixteen tries: evaluated then, refused otherwise.
        let whole = data.len().is_multiple_of(32) && !data.is_empty();
        prop_assert!(whole || key.evaluate(&data, &mut rng).is_err());
        if let Ok(answer) = key.evaluate(&data, &mut rng) {
            prop_assert_eq!(answer.elements.len(), data.len());
        }
    }
}
