//! Stage 1 of small deliveries: each record once, in its own blocks, whatever the source of the secrets.

use std::collections::{BTreeMap, HashMap, HashSet};

use linkage_agreement::ParsedAgreement;
use linkage_crypto::oprf::{Blinder, ServerKey};
use linkage_encoding::{Normaliser, block_keys};

use super::secrets::{Digest, part_of};
use super::*;
use crate::archive::SECRET_LEN;

const PERIOD: &str = "2024-01";

fn agreement() -> Agreement {
    let text = include_str!("../../../../tests/vectors/agreement/convention.toml");
    ParsedAgreement::parse(text, "convention.toml").unwrap().agreement().clone()
}

/// People of the same few names, so that blocks are shared, and the first of them twice.
fn identities(agreement: &Agreement, count: usize) -> Vec<(RecordRef, Identity)> {
    let columns: Vec<String> = agreement.identity.field.iter().map(|f| f.column.clone()).collect();
    let normaliser = Normaliser::new(&agreement.identity.field, &columns).unwrap();
    let names = ["Dupont", "Ben Haddou", "Quemet", "Diallo", "Lefèvre"];
    let row = |n: usize| -> Vec<String> {
        let value = |column: &String| match column.as_str() {
            "nom_naissance" => names[n % 5].to_owned(),
            "prenoms" => ["Marie", "Caroline", "Mamadou"][n % 3].to_owned(),
            "date_naissance" => format!("19{:02}-{:02}-{:02}", 40 + n % 50, 2 + n % 9, 2 + n % 20),
            _ => String::new(),
        };
        columns.iter().map(value).collect()
    };
    let reference = |n: usize| RecordRef(std::array::from_fn(|i| (n >> (8 * (i % 2))) as u8));
    (0..count).map(|n| (reference(n), normaliser.normalise(&row(if n + 1 == count { 0 } else { n })).unwrap())).collect()
}

/// Keeps evaluations in memory, and how many were made each time.
#[derive(Default)]
struct Memory {
    kept: BTreeMap<Digest, [u8; 32]>,
    times: Vec<usize>,
}

impl EvaluationCache for Memory {
    fn digest(&self, input: &[u8]) -> Digest {
        crate::vault::hmac_sha256(&[5; 32], &[input])[..16].try_into().unwrap()
    }
    fn part(&self, part: usize) -> Result<Vec<Kept>, NodeError> {
        let of_part = self.kept.iter().filter(|(digest, _)| part_of(digest) == part);
        Ok(of_part.map(|(digest, secret)| Kept { digest: *digest, secret: BlockSecret::from_bytes(secret) }).collect())
    }
    fn keep(&mut self, made: &[Kept]) -> Result<(), NodeError> {
        assert!(made.is_sorted_by(|a, b| a.digest < b.digest));
        self.times.push(made.len());
        self.kept.extend(made.iter().map(|kept| (kept.digest, *kept.secret.as_bytes())));
        Ok(())
    }
    fn secret(&self, purpose: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(crate::vault::hmac_sha256(&[6; 32], &[&[purpose.as_bytes()], parts].concat()))
    }
}

/// Every record's secrets, by reference, and the decoys.
async fn encoded(
    agreement: &Agreement,
    identities: &[(RecordRef, Identity)],
    evaluator: &mut Evaluator,
    cache: &mut Memory,
) -> (HashMap<RecordRef, HashSet<[u8; 32]>>, Vec<RecordRef>) {
    let set = PassSet::named("fr-1").unwrap();
    let given: Vec<(RecordRef, &Identity)> = identities.iter().map(|(reference, identity)| (*reference, identity)).collect();
    let entry = SECRET_LEN + agreement.layout().payload_len;
    let (mut records, mut decoys) = (HashMap::new(), Vec::new());
    let sink = |chunk: EncodedChunk| {
        for record in chunk.records {
            assert_eq!(record.entries.len(), agreement.layout().tokens_per_record * entry);
            let secrets = record.entries.chunks(entry).map(|e| e[..SECRET_LEN].try_into().unwrap()).collect();
            assert!(records.insert(record.reference, secrets).is_none());
        }
        decoys.extend(chunk.decoys);
        Ok(())
    };
    let progress = Progress::silent();
    encode(agreement, &set, &given, PERIOD.parse().unwrap(), evaluator, cache, &progress, sink).await.unwrap();
    (records, decoys)
}

fn inputs(agreement: &Agreement, identity: &Identity) -> Vec<Vec<u8>> {
    let encoding = &agreement.encoding;
    let set = PassSet::named("fr-1").unwrap();
    let keys = block_keys(identity, &set, encoding.expected_records, encoding.tokens_per_record as usize);
    keys.iter().map(|key| key.oprf_input(agreement.agreement.id.as_str(), agreement.oprf_epoch())).collect()
}

#[tokio::test]
async fn every_record_is_encoded_once_in_its_blocks_with_decoys_in_none() {
    let agreement = agreement();
    let identities = identities(&agreement, 700);
    let server = ServerKey::from_bytes(&[9; 32]).unwrap();
    let oprf = |input: &Vec<u8>| {
        let mut rng = local_rng();
        let (state, sent) = Blinder::blind(std::slice::from_ref(input), &mut rng).unwrap();
        let answer = server.evaluate(&sent, &mut rng).unwrap();
        *BlockSecret::from_oprf(&state.finalize(server.public_key(), &answer).unwrap()[0]).as_bytes()
    };
    let shared = |input: &Vec<u8>| *BlockSecret::shared(&SharedKey::from_bytes(&[3; 32]), input).as_bytes();
    let key = ServerKey::from_bytes(&[9; 32]).unwrap();
    for with_custodian in [false, true] {
        let mut evaluator = if with_custodian {
            Evaluator::Local(Box::new(ServerKey::from_bytes(&key.to_bytes()).unwrap()))
        } else {
            Evaluator::Shared(SharedKey::from_bytes(&[3; 32]))
        };
        let (records, decoys) = encoded(&agreement, &identities, &mut evaluator, &mut Memory::default()).await;
        assert_eq!(decoys.len(), 700 * agreement.encoding.decoys_percent as usize / 100);
        assert_eq!(records.len(), identities.len() + decoys.len());
        let real: HashSet<[u8; 32]> =
            identities.iter().flat_map(|(_, identity)| inputs(&agreement, identity)).map(|i| shared(&i)).collect();
        for (reference, identity) in identities.iter().step_by(if with_custodian { 90 } else { 1 }) {
            let expected: HashSet<[u8; 32]> =
                inputs(&agreement, identity).iter().map(|i| if with_custodian { oprf(i) } else { shared(i) }).collect();
            assert!(!expected.is_empty() && expected.is_subset(&records[reference]));
        }
        assert!(decoys.iter().all(|decoy| records[decoy].is_disjoint(&real)));
    }
}

#[tokio::test]
async fn an_input_is_evaluated_once_and_never_again() {
    let agreement = agreement();
    let mut identities = identities(&agreement, 40);
    let distinct: HashSet<Vec<u8>> = identities.iter().flat_map(|(_, identity)| inputs(&agreement, identity)).collect();
    let mut evaluator = Evaluator::Local(Box::new(ServerKey::from_bytes(&[9; 32]).unwrap()));
    let mut cache = Memory::default();
    let (first, _) = encoded(&agreement, &identities, &mut evaluator, &mut cache).await;
    assert_eq!((cache.times.as_slice(), cache.kept.len()), ([distinct.len()].as_slice(), distinct.len()));
    // Another custodian's key shows that nothing is asked again; the order of a file says nothing.
    identities.reverse();
    let mut other = Evaluator::Local(Box::new(ServerKey::from_bytes(&[8; 32]).unwrap()));
    let (second, _) = encoded(&agreement, &identities, &mut other, &mut cache).await;
    assert_eq!(cache.times, [distinct.len(), 0]);
    for (reference, identity) in &identities {
        let real = inputs(&agreement, identity).len();
        assert_eq!(first[reference].intersection(&second[reference]).count(), real);
    }
}
