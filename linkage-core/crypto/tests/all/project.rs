//! The project's vectors, `tests/vectors/linkage-block-scoped-1.json`: every derivation of the profile.
//!
//! The test computes each value and compares the file with it. To write the file anew, after a deliberate change of the
//! profile (which then needs another version in the labels):
//! `LINKAGE_WRITE_VECTORS=1 cargo test -p linkage-crypto project`, then `python3 tests/vectors/check.py`, which
//! recomputes every value without this crate. What is sealed under fresh randomness is opened, not compared.

use hmac::{Hmac, KeyInit, Mac};
use linkage_crypto::derive::{BlockSecret, PrfKey, RunKey, SharedKey};
use linkage_crypto::fields;
use linkage_crypto::group::{Contribution, GroupKey, Route};
use linkage_crypto::oprf::{Blinder, OprfOutput, ServerKey};
use linkage_crypto::pseudonym::{AnalystScalar, CustodianScalar, Domain};
use linkage_crypto::seal::{SealingKey, attributes_info};
use linkage_crypto::signing::{SigningKey, VerifyingKey};
use linkage_crypto::storage::{Place, StorageKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::*;

const FILE: &str = "linkage-block-scoped-1.json";

#[test]
fn every_value_of_the_project_file() {
    let write = std::env::var_os("LINKAGE_WRITE_VECTORS").is_some();
    let stored = if write { json!({}) } else { vectors(FILE) };
    let computed = json!({
        "profile": format!("linkage/block-scoped/{}", linkage_crypto::PROFILE_VERSION),
        "oprf": oprf(),
        "block_secrets": block_secrets(),
        "group_key": group_key(),
        "run_keys": run_keys(),
        "field_keys": field_keys(),
        "grams": grams(),
        "levelled": levelled(),
        "slots": slots(),
        "entries": entries(),
        "permutations": permutations(),
        "remapped_slots": remapped_slots(),
        "payloads": payloads(),
        "pseudonyms": pseudonyms(),
        "agreement": agreement(),
        "group_envelope": group_envelope(&stored["group_envelope"]),
        "sealed_attributes": sealed_attributes(&stored["sealed_attributes"]),
        "stored_value": stored_value(&stored["stored_value"]),
    });
    if write {
        let text = serde_json::to_string_pretty(&computed).unwrap() + "\n";
        std::fs::write(vectors_path(FILE), text).unwrap();
        return;
    }
    let (stored, computed) = (stored.as_object().unwrap(), computed.as_object().unwrap());
    assert!(stored.keys().eq(computed.keys()));
    for (section, value) in computed {
        assert_eq!(&stored[section], value, "{section}");
    }
}

/// 32 bytes that differ from section to section.
fn fixed(name: &str) -> [u8; 32] {
    Sha256::digest(name).into()
}

fn half(bytes: [u8; 32]) -> [u8; 16] {
    std::array::from_fn(|i| bytes[i])
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(message).finalize().into_bytes().into()
}

fn hexes<'b>(all: impl IntoIterator<Item = &'b [u8]>) -> Vec<String> {
    all.into_iter().map(hex::encode).collect()
}

fn oprf() -> Value {
    let key = ServerKey::generate(&mut rng(20));
    let input = |key: &str| format!("linkage/block-scoped/1/input\0exemple-2024\x001\0nom-date\0{key}").into_bytes();
    let inputs = [input("d\x1fabc\x1f1980-02-29"), input("é\x1foe\x1f1975"), vec![]];
    let blinds: Vec<Vec<u8>> = (21..24).map(|seed| ServerKey::generate(&mut rng(seed)).to_bytes().to_vec()).collect();
    let r = ServerKey::generate(&mut rng(24)).to_bytes().to_vec();
    let (state, blinded) = Blinder::blind(&inputs, &mut Scalars::new(blinds.clone())).unwrap();
    let answer = key.evaluate(&blinded, &mut Scalars::new([r.clone()])).unwrap();
    let outputs = state.finalize(key.public_key(), &answer).unwrap();
    json!({
        "key": hex::encode(*key.to_bytes()),
        "public_key": hex::encode(key.public_key().to_bytes()),
        "inputs": hexes(inputs.iter().map(Vec::as_slice)),
        "blinds": hexes(blinds.iter().map(Vec::as_slice)),
        "proof_random_scalar": hex::encode(r),
        "blinded": hexes(blinded.chunks(32)),
        "evaluated": hexes(answer.elements.chunks(32)),
        "proof": hex::encode(answer.proof),
        "outputs": hexes(outputs.iter().map(|output| output.as_bytes().as_slice())),
    })
}

fn block_secrets() -> Value {
    let output: [u8; 64] = std::array::from_fn(|i| i as u8);
    let x = BlockSecret::from_oprf(&OprfOutput::from_bytes(&output));
    let key = fixed("shared key");
    let shared = ["", "linkage/block-scoped/1/input\0a\x001\0p\0é"].map(|input| {
        let x = BlockSecret::shared(&SharedKey::from_bytes(&key), input.as_bytes());
        json!({"shared_key": hex::encode(key), "input": hex::encode(input), "x": hex::encode(x.as_bytes())})
    });
    json!({
        "from_oprf": [{"oprf_output": hex::encode(output), "x": hex::encode(x.as_bytes())}],
        "shared": shared,
    })
}

fn group_key() -> Value {
    let agreement = fixed("agreement");
    let parts = ["siao", "ccas", "departement-59"].map(|id| (id, Contribution::from_bytes(&fixed(id))));
    let listed = parts.each_ref().map(|(id, contribution)| (*id, contribution));
    let key = GroupKey::combine(&agreement, &listed).unwrap();
    json!({
        "agreement_hash": hex::encode(agreement),
        "contributions": listed.map(|(id, c)| json!({"party": id, "contribution": hex::encode(c.as_bytes())})),
        "group_key": hex::encode(key.as_bytes()),
        "fingerprint": key.fingerprint().to_string(),
    })
}

fn run_keys() -> Value {
    let (agreement, group) = (fixed("agreement"), fixed("group key"));
    let keys = ["2024-01", "2024-01.b"].map(|run| {
        // The crate keeps K_run inside; what it derives from it must be what these bytes give.
        let mut k_run = [0; 32];
        let info = [b"linkage/block-scoped/1/run\0", run.as_bytes()].concat();
        hkdf::Hkdf::<Sha256>::new(Some(&agreement), &group).expand(&info, &mut k_run).unwrap();
        let x = BlockSecret::from_bytes(&fixed("x"));
        let inside = GroupKey::from_bytes(&group).run_key(&agreement, run).entry_keys(&x).0;
        assert_eq!(RunKey::from_bytes(&k_run).entry_keys(&x).0, inside);
        json!({"agreement_hash": hex::encode(agreement), "group_key": hex::encode(group), "run_id": run,
               "run_key": hex::encode(k_run)})
    });
    json!(keys)
}

fn field_keys() -> Value {
    let keys = ["x", "y"].map(|name| {
        let x = fixed(name);
        let key = half(hmac(&x, b"linkage/block-scoped/1/field filters"));
        let inside = BlockSecret::from_bytes(&x).field_key();
        assert_eq!(inside.prf(&[0; 16]), PrfKey::from_bytes(&key).prf(&[0; 16]));
        json!({"x": hex::encode(x), "key": hex::encode(key)})
    });
    json!(keys)
}

fn grams() -> Value {
    let key = half(fixed("field key"));
    let cases = [
        ("_d", 0u8, 256, 8),
        ("du", 0, 256, 8),
        ("éa", 0, 64, 3),
        ("du", 1, 512, 8),
        ("1234567890123", 200, 128, 1),
        ("", 0, 256, 8),
    ];
    let grams = cases.map(|(gram, domain, bits, hash_count): (&str, u8, usize, usize)| {
        let positions = fields::gram_positions(&PrfKey::from_bytes(&key), domain, gram, bits).unwrap();
        let mut filter = vec![0; bits / 8];
        fields::set_grams(&PrfKey::from_bytes(&key), domain, [gram], hash_count, &mut filter).unwrap();
        json!({"key": hex::encode(key), "domain": domain, "gram": gram, "filter_bits": bits, "hash_count": hash_count,
               "positions": positions[..hash_count], "filter": hex::encode(filter)})
    });
    json!(grams)
}

/// Filled, cleared, of every size, absent.
fn levelled() -> Value {
    let key = half(fixed("field key"));
    let cases = [(128, 4, 1), (128, 4, 7), (128, 4, 8), (512, 8, 60), (64, 3, 8), (256, 8, 17), (512, 1, 23), (128, 4, 0)];
    let cases = cases.map(|(bits, hash_count, count): (usize, usize, usize)| {
        let prf = PrfKey::from_bytes(&key);
        let grams: Vec<String> = (0..count).map(|n| format!("g{n}_")).collect();
        let mut filter = vec![0; bits / 8];
        fields::set_grams(&prf, 0, grams.iter().map(String::as_str), hash_count, &mut filter).unwrap();
        let natural = hex::encode(&filter);
        fields::level_filter(&prf, count, hash_count, &mut filter).unwrap();
        json!({"key": hex::encode(key), "domain": 0, "grams": grams, "filter_bits": bits, "hash_count": hash_count,
               "natural": natural, "levelled": hex::encode(filter)})
    });
    let weights = [64, 128, 256, 512].map(|bits| {
        let rows: Vec<_> = (1..=8).map(|k| fields::class_weights(bits, k).unwrap()).collect();
        json!({"filter_bits": bits, "by_hash_count": rows})
    });
    json!({"class_bounds": fields::CLASS_BOUNDS, "weights": weights, "filters": cases})
}

fn slots() -> Value {
    use fields::slot_domain::*;
    let key = half(fixed("field key"));
    let numbers = [
        (YEAR, 1980u64),
        (DAY_OR_MONTH, 2),
        (DAY_OR_MONTH, 29),
        (HALF, 990),
        (HALF_SHIFTED, 990),
        (DECADE, 198),
        (YEAR_UNIT, 0),
        (DAY_TENS, 2),
        (DAY_UNIT, 9),
        (SEX, 2),
        (CATEGORY + 7, u64::MAX),
    ];
    let numbers = numbers.map(|(domain, value)| {
        let slot = fields::slot(&PrfKey::from_bytes(&key), domain, value);
        json!({"key": hex::encode(key), "slot_domain": domain, "value": value, "slot": slot})
    });
    let texts = [(PHONETIC, "DPN"), (COUNTRY, "FRA"), (DEPARTMENT, "2A"), (COMMUNE, "59350"), (CATEGORY, "é")];
    let texts = texts.map(|(domain, text)| {
        let value = fields::text_value(text);
        let slot = fields::slot(&PrfKey::from_bytes(&key), domain, value);
        json!({"key": hex::encode(key), "slot_domain": domain, "text": text, "value": value, "slot": slot})
    });
    // A value whose first two bytes are zero, so that the replacement shows.
    let zero = (0u64..).find(|value| {
        let mut block = [0; 16];
        block[..2].copy_from_slice(&[2, YEAR]);
        block[2..10].copy_from_slice(&value.to_le_bytes());
        PrfKey::from_bytes(&key).prf(&block)[..2] == [0, 0]
    });
    let slot = fields::slot(&PrfKey::from_bytes(&key), YEAR, zero.unwrap());
    assert_eq!(slot, 1);
    let replaced = json!({"key": hex::encode(key), "slot_domain": YEAR, "value": zero, "slot": slot});
    json!([numbers.as_slice(), &texts, &[replaced]].concat())
}

fn entries() -> Value {
    let entries = [("run", "x"), ("run", "y"), ("other run", "x")].map(|(run, x)| {
        let (run, x) = (fixed(run), fixed(x));
        let (token, key) = RunKey::from_bytes(&run).entry_keys(&BlockSecret::from_bytes(&x));
        let pk: [u8; 16] = hmac(&run, &[x.as_slice(), &[1]].concat())[16..].try_into().unwrap();
        assert_eq!(key.prf(&[0; 16]), PrfKey::from_bytes(&pk).prf(&[0; 16]));
        json!({"run_key": hex::encode(run), "x": hex::encode(x), "token": hex::encode(token), "entry_key": hex::encode(pk)})
    });
    json!(entries)
}

fn permutations() -> Value {
    let cases = [64, 128, 256, 512].map(|bits: usize| {
        let key = half(fixed(&format!("entry key {bits}")));
        let filter: Vec<u8> = [fixed("filter"), fixed("filter, second half")].concat()[..bits / 8].to_vec();
        let mut permuted = filter.clone();
        fields::permute_filter(&PrfKey::from_bytes(&key), &mut permuted).unwrap();
        json!({"key": hex::encode(key), "filter": hex::encode(filter), "permuted": hex::encode(permuted)})
    });
    json!(cases)
}

fn remapped_slots() -> Value {
    let key = half(fixed("entry key"));
    let prf = PrfKey::from_bytes(&key);
    let zero = (0..=255u8).flat_map(|index| (1..=u16::MAX).map(move |value| (index, value))).find(|(index, value)| {
        let [low, high] = value.to_le_bytes();
        prf.prf(&[4, *index, low, high, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])[..2] == [0, 0]
    });
    let cases = [(0, 0), (0, 1), (1, 1), (16, 0xbeef), (255, u16::MAX), zero.unwrap()].map(|(index, value)| {
        let remapped = fields::remap_slot(&prf, index, value);
        json!({"key": hex::encode(key), "index": index, "value": value, "remapped": remapped})
    });
    json!(cases)
}

fn payloads() -> Value {
    let key = half(fixed("payload key"));
    let slots_at = 3 * 32;
    let payload: Vec<u8> = (0..slots_at + 2 * 21).map(|i| if i % 9 == 0 { 0 } else { (i * 37) as u8 }).collect();
    let mut permuted = payload.clone();
    fields::permute_payload(&PrfKey::from_bytes(&key), 256, slots_at, &mut permuted).unwrap();
    json!([{"key": hex::encode(key), "filter_bits": 256, "slots_at": slots_at, "payload": hex::encode(payload),
            "permuted": hex::encode(permuted)}])
}

fn pseudonyms() -> Value {
    let custodian = CustodianScalar::generate(&mut rng(30));
    let analyst = AnalystScalar::generate(&mut rng(31));
    let long = "étude ".repeat(50);
    let cases = [
        ("person", "exemple-2024", "parcours"),
        ("record", "exemple-2024", "parcours"),
        ("person", "exemple-2024", "flux"),
        ("person", "exemple-2024", long.as_str()),
    ];
    let cases = cases.map(|(kind, agreement, purpose)| {
        let domain = if kind == "person" { Domain::persons(agreement, purpose) } else { Domain::records(agreement, purpose) };
        let id = half(fixed("person id"));
        let points = custodian.points(&domain, [&id]);
        let pseudonym = analyst.pseudonyms(&points).unwrap()[0];
        json!({"kind": kind, "agreement_id": agreement, "purpose": purpose, "id": hex::encode(id),
               "custodian_scalar": hex::encode(*custodian.to_bytes()), "analyst_scalar": hex::encode(*analyst.to_bytes()),
               "point": hex::encode(points[0].0), "pseudonym": hex::encode(pseudonym)})
    });
    json!(cases)
}

/// The canonical form itself is the agreement crate's matter; here, what is hashed and signed.
fn agreement() -> Value {
    let canonical = "{\"agreement\":{\"end\":\"2026-12-31\",\"id\":\"exemple-2024\",\"title\":\"Convention d'exemple « été »\"},\
                     \"decision\":{\"false_link_cost\":20},\"party\":[{\"id\":\"ccas\"},{\"id\":\"siao\"}],\"schema\":1}";
    let document: Value = serde_json::from_str(canonical).unwrap();
    let hash: [u8; 32] = Sha256::new().chain_update("linkage agreement v1\n").chain_update(canonical).finalize().into();
    let key = SigningKey::from_bytes(&fixed("signing key"));
    let signature = key.sign(&[b"linkage agreement signature v1\n".as_slice(), &hash, b"ccas"].concat());
    json!({
        "document": document,
        "canonical": canonical,
        "hash": hex::encode(hash),
        "signature": {"seed": hex::encode(*key.to_bytes()), "public_key": hex::encode(key.verifying_key().to_bytes()),
                      "party": "ccas", "signature": hex::encode(signature)},
    })
}

fn group_envelope(stored: &Value) -> Value {
    let (agreement, contribution) = (fixed("agreement"), Contribution::from_bytes(&fixed("ccas")));
    let route = Route { agreement: &agreement, from: "ccas", to: "siao" };
    let sender = SigningKey::from_bytes(&fixed("signing key"));
    let recipient = SealingKey::from_bytes(&fixed("sealing key"));
    let envelope = match &stored["envelope"] {
        Value::Null => route.seal(&contribution, &recipient.public_key(), &sender, &mut rng(40)).unwrap(),
        envelope => bytes(envelope),
    };
    let from = VerifyingKey::from_bytes(&sender.verifying_key().to_bytes()).unwrap();
    let opened = route.open(&envelope, &from, &recipient).unwrap();
    json!({
        "agreement_hash": hex::encode(agreement), "from": "ccas", "to": "siao",
        "sender_public_key": hex::encode(from.to_bytes()),
        "recipient_private_key": hex::encode(*recipient.to_bytes()),
        "recipient_public_key": hex::encode(recipient.public_key().to_bytes()),
        "envelope": hex::encode(envelope), "contribution": hex::encode(opened.as_bytes()),
    })
}

fn sealed_attributes(stored: &Value) -> Value {
    let (agreement, handle, recipient) = (fixed("agreement"), half(fixed("handle")), SealingKey::from_bytes(&fixed("analyst")));
    let info = attributes_info(&agreement, "2024-01", "ccas");
    let sealed = match &stored["sealed"] {
        Value::Null => recipient.public_key().seal(&info, &handle, "{\"mois\":\"1980-02\"}".as_bytes(), &mut rng(41)).unwrap(),
        sealed => bytes(sealed),
    };
    let opened = recipient.open(&info, &handle, &sealed).unwrap();
    json!({
        "agreement_hash": hex::encode(agreement), "run_id": "2024-01", "party": "ccas", "handle": hex::encode(handle),
        "recipient_private_key": hex::encode(*recipient.to_bytes()),
        "sealed": hex::encode(sealed), "plaintext": hex::encode(&*opened),
    })
}

fn stored_value(stored: &Value) -> Value {
    let (bytes32, place) = (fixed("storage key"), Place { table: "archive.entries", row: b"ref-1" });
    let key = StorageKey::from_bytes(&bytes32);
    let value = match &stored["stored"] {
        Value::Null => key.seal(place, b"une valeur", &mut rng(42)).unwrap(),
        value => bytes(value),
    };
    let opened = key.open(place, &value).unwrap();
    json!({
        "key": hex::encode(bytes32), "table": place.table, "row": hex::encode(place.row),
        "stored": hex::encode(value), "plaintext": hex::encode(&*opened),
    })
}
