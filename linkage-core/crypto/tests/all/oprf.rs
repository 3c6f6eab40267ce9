//! RFC 9497 and RFC 9496 vectors; everything that an evaluation must refuse.

use curve25519_dalek::ristretto::RistrettoPoint;
use linkage_crypto::keyfile::KeyFileError;
use linkage_crypto::oprf::*;
use sha2::{Digest, Sha512};

use crate::support::*;

/// The group order, little-endian: the smallest scalar that is not canonical.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0x10,
];

#[test]
fn rfc_9497_every_vector() {
    let mut checked = 0;
    for suite in vectors("rfc9497/ristretto255-sha512.json")["suites"].as_array().unwrap() {
        let verifiable = suite["mode"] == 1;
        let mode = if verifiable { Mode::Voprf } else { Mode::Oprf };
        let key = ServerKey::derive(mode, &array(&suite["seed"]), &bytes(&suite["key_info"])).unwrap();
        assert_eq!(*key.to_bytes(), array(&suite["skSm"]));
        assert_eq!(ServerKey::from_bytes(&array(&suite["skSm"])).unwrap().public_key(), key.public_key());
        if verifiable {
            assert_eq!(key.public_key().to_bytes(), array(&suite["pkSm"]));
        }
        for vector in suite["vectors"].as_array().unwrap() {
            let inputs = list(&vector["input"]);
            let blinded = list(&vector["blinded_element"]).concat();
            let evaluated = list(&vector["evaluation_element"]).concat();
            let mut blinds = Scalars::new(list(&vector["blind"]));
            let outputs = if verifiable {
                let (state, sent) = Blinder::blind(&inputs, &mut blinds).unwrap();
                assert_eq!(sent, blinded);
                let mut r = Scalars::new([bytes(&vector["proof_random_scalar"])]);
                let answer = key.evaluate(&sent, &mut r).unwrap();
                assert_eq!(answer, Evaluation { elements: evaluated, proof: array(&vector["proof"]) });
                state.finalize(&PublicKey::from_bytes(&array(&suite["pkSm"])).unwrap(), &answer).unwrap()
            } else {
                let (state, sent) = BaseBlinder::blind(&inputs, &mut blinds).unwrap();
                assert_eq!(sent, blinded);
                assert_eq!(key.evaluate_without_proof(&sent).unwrap(), evaluated);
                state.finalize(&evaluated).unwrap()
            };
            let outputs: Vec<Vec<u8>> = outputs.iter().map(|output| output.as_bytes().to_vec()).collect();
            assert_eq!(outputs, list(&vector["output"]));
            checked += 1;
        }
    }
    assert_eq!(checked, 5);
}

#[test]
fn rfc_9496_encodings() {
    let file = vectors("rfc9496/ristretto255.json");
    for (i, encoding) in file["multiples_of_generator"].as_array().unwrap().iter().enumerate() {
        let mut scalar = [0; 32];
        scalar[0] = i as u8;
        let encoding: [u8; 32] = array(encoding);
        if i == 0 {
            assert_eq!(PublicKey::from_bytes(&encoding), Err(OprfError::InvalidPublicKey), "identity");
            assert_eq!(ServerKey::from_bytes(&scalar).unwrap_err(), OprfError::InvalidScalar, "zero");
        } else {
            let key = ServerKey::from_bytes(&scalar).unwrap();
            assert_eq!(PublicKey::from_bytes(&encoding).unwrap(), *key.public_key());
            assert_eq!(key.public_key().to_bytes(), encoding);
        }
    }
    for vector in file["one_way_map"].as_array().unwrap() {
        let uniform: [u8; 64] = Sha512::digest(vector["sha512_of"].as_str().unwrap()).into();
        assert_eq!(RistrettoPoint::from_uniform_bytes(&uniform).compress().to_bytes(), array::<32>(&vector["point"]));
    }
}

#[test]
fn invalid_elements_are_refused_on_both_sides() {
    let mut rng = rng(1);
    let key = ServerKey::generate(&mut rng);
    let (state, sent) = Blinder::blind(&["un", "deux"], &mut rng).unwrap();
    let answer = key.evaluate(&sent, &mut rng).unwrap();
    let file = vectors("rfc9496/ristretto255.json");
    let mut invalid: Vec<Vec<u8>> = file["invalid_encodings"].as_object().unwrap().values().flat_map(list).collect();
    assert_eq!(invalid.len(), 29);
    invalid.push(vec![0; 32]);
    for encoding in invalid {
        let refused = OprfError::InvalidElement { index: 1 };
        let mut altered = sent.clone();
        altered[32..].copy_from_slice(&encoding);
        assert_eq!(key.evaluate(&altered, &mut rng).unwrap_err(), refused);
        assert_eq!(key.evaluate_without_proof(&altered).unwrap_err(), refused);
        let mut altered = answer.clone();
        altered.elements[32..].copy_from_slice(&encoding);
        assert_eq!(state.finalize(key.public_key(), &altered).unwrap_err(), refused);
        let encoding: [u8; 32] = encoding.try_into().unwrap();
        assert_eq!(PublicKey::from_bytes(&encoding).unwrap_err(), OprfError::InvalidPublicKey);
    }
}

#[test]
fn scalars_not_below_the_order_are_refused() {
    let mut below = ORDER;
    below[0] -= 1;
    assert!(ServerKey::from_bytes(&below).is_ok());
    for scalar in [ORDER, [0xff; 32], [0; 32]] {
        assert_eq!(ServerKey::from_bytes(&scalar).unwrap_err(), OprfError::InvalidScalar);
        let line = linkage_crypto::keyfile::encode(&scalar);
        assert_eq!(ServerKey::from_key_file(&line).unwrap_err(), KeyFileError::Value);
    }
}

#[test]
fn an_altered_answer_gives_nothing() {
    let mut rng = rng(2);
    let key = ServerKey::generate(&mut rng);
    let other = ServerKey::generate(&mut rng);
    let inputs: Vec<Vec<u8>> = (0..5u8).map(|i| vec![i; 3]).collect();
    let (state, sent) = Blinder::blind(&inputs, &mut rng).unwrap();
    assert_eq!(state.count(), 5);
    let answer = key.evaluate(&sent, &mut rng).unwrap();
    let refusal = |evaluation: &Evaluation| state.finalize(key.public_key(), evaluation).unwrap_err();
    assert!(state.finalize(key.public_key(), &answer).is_ok());

    // every bit of the proof
    for bit in 0..512 {
        let mut altered = answer.clone();
        altered.proof[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(refusal(&altered), OprfError::ProofRefused, "bit {bit}");
    }
    // c or s increased by the group order: the same residue in another encoding
    for half in 0..2 {
        let mut altered = answer.clone();
        let mut carry = 0;
        for (byte, add) in altered.proof[32 * half..32 * half + 32].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        assert_eq!(refusal(&altered), OprfError::ProofRefused);
    }
    // a bit of an element: no longer canonical, or another element
    for bit in 0..256 {
        let mut altered = answer.clone();
        altered.elements[64 + bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(refusal(&altered), OprfError::ProofRefused | OprfError::InvalidElement { index: 2 }));
    }
    // elements in another order
    let mut swapped = answer.clone();
    swapped.elements[..64].rotate_left(32);
    assert_eq!(refusal(&swapped), OprfError::ProofRefused);
    // a batch evaluated with another key, with its own proof or this one's; the other key for verification
    let foreign = other.evaluate(&sent, &mut rng).unwrap();
    assert_eq!(refusal(&foreign), OprfError::ProofRefused);
    assert_eq!(refusal(&Evaluation { proof: answer.proof, ..foreign.clone() }), OprfError::ProofRefused);
    assert_eq!(state.finalize(other.public_key(), &answer).unwrap_err(), OprfError::ProofRefused);
    // one element from another key, among good ones
    let mut mixed = answer;
    mixed.elements[..32].copy_from_slice(&foreign.elements[..32]);
    assert_eq!(refusal(&mixed), OprfError::ProofRefused);
    // the good answer to another batch
    let (_, elsewhere) = Blinder::blind(&inputs, &mut rng).unwrap();
    assert_eq!(refusal(&key.evaluate(&elsewhere, &mut rng).unwrap()), OprfError::ProofRefused);
}

#[test]
fn lengths_and_counts_are_checked() {
    let mut rng = rng(3);
    let key = ServerKey::generate(&mut rng);
    let (state, sent) = Blinder::blind(&["a", "b"], &mut rng).unwrap();
    let answer = key.evaluate(&sent, &mut rng).unwrap();
    let with = |elements: &[u8]| Evaluation { elements: elements.to_vec(), ..answer.clone() };
    let refusal = |evaluation: &Evaluation| state.finalize(key.public_key(), evaluation).unwrap_err();

    assert_eq!(refusal(&with(&answer.elements[..63])), OprfError::Unpacked);
    assert_eq!(refusal(&with(&[])), OprfError::EmptyBatch);
    assert_eq!(refusal(&with(&answer.elements[..32])), OprfError::WrongCount { sent: 2, received: 1 });
    let three = [answer.elements.as_slice(), &answer.elements[..32]].concat();
    assert_eq!(refusal(&with(&three)), OprfError::WrongCount { sent: 2, received: 3 });

    assert_eq!(key.evaluate(&[], &mut rng).unwrap_err(), OprfError::EmptyBatch);
    assert_eq!(key.evaluate(&sent[..33], &mut rng).unwrap_err(), OprfError::Unpacked);
    assert_eq!(key.evaluate(&vec![0; 32 * (MAX_BATCH + 1)], &mut rng).unwrap_err(), OprfError::BatchTooLarge);
    let none: [&str; 0] = [];
    assert_eq!(Blinder::blind(&none, &mut rng).unwrap_err(), OprfError::EmptyBatch);
    assert_eq!(Blinder::blind(&vec![""; MAX_BATCH + 1], &mut rng).unwrap_err(), OprfError::BatchTooLarge);
    let long = vec![vec![], vec![0; MAX_INPUT_LEN + 1]];
    assert_eq!(Blinder::blind(&long, &mut rng).unwrap_err(), OprfError::InputTooLong { index: 1 });
    assert!(Blinder::blind(&[vec![], vec![0; MAX_INPUT_LEN]], &mut rng).is_ok());
}

#[test]
fn outputs_depend_on_key_and_input_only() {
    let mut rng = rng(4);
    let key = ServerKey::generate(&mut rng);
    let inputs: Vec<String> = (0..300).map(|i| format!("entrée {i}")).collect();
    let evaluate = |inputs: &[String], key: &ServerKey, rng: &mut rand_chacha::ChaCha20Rng| {
        let (state, sent) = Blinder::blind(inputs, rng).unwrap();
        let answer = key.evaluate(&sent, rng).unwrap();
        (sent, state.finalize(key.public_key(), &answer).unwrap())
    };
    let (sent, together) = evaluate(&inputs, &key, &mut rng);
    let (sent_again, again) = evaluate(&inputs, &key, &mut rng);
    assert!(together == again);
    assert!(sent.chunks(32).zip(sent_again.chunks(32)).all(|(a, b)| a != b), "blinded anew");
    for i in [0, 1, 299] {
        assert!(evaluate(&inputs[i..=i], &key, &mut rng).1[0] == together[i]);
    }
    let (_, elsewhere) = evaluate(&inputs, &ServerKey::generate(&mut rng), &mut rng);
    assert!(together.iter().zip(&elsewhere).all(|(a, b)| a != b));
    // key file and base64 forms
    assert_eq!(ServerKey::from_key_file(&key.to_key_file()).unwrap().public_key(), key.public_key());
    assert_eq!(PublicKey::from_base64(&key.public_key().to_base64()).unwrap(), *key.public_key());
}

#[test]
fn the_largest_batch_is_one_proof() {
    let mut rng = rng(5);
    let key = ServerKey::generate(&mut rng);
    let inputs: Vec<[u8; 2]> = (0..MAX_BATCH as u16).map(u16::to_be_bytes).collect();
    let (state, sent) = Blinder::blind(&inputs, &mut rng).unwrap();
    let answer = key.evaluate(&sent, &mut rng).unwrap();
    let outputs = state.finalize(key.public_key(), &answer).unwrap();
    let distinct: std::collections::BTreeSet<&[u8; 64]> =
        outputs.iter().map(linkage_crypto::oprf::OprfOutput::as_bytes).collect();
    assert_eq!(distinct.len(), MAX_BATCH);
}
