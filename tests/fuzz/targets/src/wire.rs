//! What comes over the wire: messages (Protocol Buffers), batches packed in them, points of the group, sealed bytes.

use linkage_common::audit::Checkpoint;
use linkage_common::batches;
use linkage_common::order::{self, RunOrder, RunTerms};
use linkage_crypto::group::Route;
use linkage_crypto::oprf::{Blinder, ELEMENT_LEN, Evaluation, PROOF_LEN, PublicKey};
use linkage_crypto::pseudonym::{AnalystScalar, PseudonymPoint};
use linkage_crypto::seal::SealingKey;
use linkage_crypto::signing::{SigningKey, VerifyingKey};
use linkage_crypto::storage::{Place, StorageKey};
use linkage_custodian::service::{unpack_clusters, unpack_records};
use linkage_proto::v1;
use prost::Message;
use rand_core::SeedableRng as _;

use crate::fixed::{AGREEMENT, oprf_key};
use crate::{silent, took};

macro_rules! any_of {
    ($choice:expr, $bytes:expr; $($message:ident),+ $(,)?) => {{
        let all: &[fn(&[u8])] = &[$(round::<v1::$message>),+];
        if let Some(round) = all.get(usize::from($choice) % all.len()) {
            round($bytes);
        }
    }};
}

/// A message; the first byte chooses which. What is read of a run or a checkpoint goes on into what verifies it.
pub fn messages(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    any_of!(*choice, rest;
        RunStatus, AuditCheckpoint, OpenRunRequest, Batch, CommitUploadRequest, RecordBatch, CommitRecordsRequest, ClusterBatch,
        CloseRunRequest, LinkTableChunk, ListLinkTablesResponse, DeclareRequest, EvaluateRequest, EvaluateResponse,
        PutContributionRequest, GetContributionsResponse, PutDispositionsRequest, WithdrawDispositionsRequest, SettledPairs,
        WithdrawRequest, WithdrawUploadsRequest, ReceiptsResponse, DescribeResponse, ListWithdrawalsResponse, PutReceiptRequest,
        PutCountersignatureRequest, QueryRequest, PublishRequest, ApproveRequest, RejectRequest, Publication, ListRunsResponse,
        UploadStatus, ListPublicationsResponse);
    match choice {
        0 => {
            if let Ok(status) = v1::RunStatus::decode(rest) {
                run(&status);
            }
        }
        1 => {
            if let Ok(wire) = v1::AuditCheckpoint::decode(rest) {
                let read = Checkpoint::from_wire(&wire, &AGREEMENT.1);
                assert!(read.verify(&AGREEMENT.0, &AGREEMENT.1, &linkage_agreement::RoleId::Broker).is_err(), "nobody signed it");
            }
        }
        _ => {}
    }
}

fn round<M: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(read) = M::decode(bytes) {
        took();
        let written = read.encode_to_vec();
        let decoded = || M::decode(written.as_slice()).expect("what was written is a message");
        // A number that is none differs from itself.
        let again = decoded();
        assert!(again == read || again != decoded(), "{again:?} is not {read:?}");
    }
}

/// A run as a node takes it over from the broker.
fn run(status: &v1::RunStatus) {
    let read = || {
        let parties = status.parties.iter().map(|p| batches::parse(p)).collect::<Result<_, _>>()?;
        Ok::<_, linkage_common::error::ServiceError>(
            RunTerms::new(batches::run_id(&status.run_id)?, batches::period(&status.period)?, parties)
                .referring_to(order::reference_party(&status.reference_party)?)
                .adding_to(order::base_run(&status.base_run)?),
        )
    };
    if let Ok(terms) = read() {
        let signature = &status.order_signature;
        assert!(RunOrder::verify(&AGREEMENT.0, &AGREEMENT.1, terms, signature).is_err(), "the coordinator ordered no run");
    }
}

/// A batch of records' references and sealed attributes, or of clusters, as the custodian takes it apart.
pub fn unpacked(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let analysts = usize::from(choice & 3);
    if let Ok(records) = unpack_records(rest, analysts) {
        took();
        let length: usize = records.iter().map(|record| 33 + record.sealed.len()).sum();
        assert_eq!(length, rest.len());
    }
    if let Ok(clusters) = unpack_clusters(rest) {
        let members: usize = clusters.iter().map(Vec::len).sum();
        assert_eq!(2 * clusters.len() + 19 * members, rest.len());
        assert!(clusters.iter().flatten().all(|m| (1..=2).contains(&m.match_class) && m.probability <= 10_000));
    }
}

/// Points, proofs, sealed and stored bytes; the first byte chooses which.
pub fn elements(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let mut rng = rand_chacha::ChaCha20Rng::from_seed([7; 32]);
    match choice % 6 {
        // What a node sends: only points that are canonical come back.
        0 => match oprf_key().evaluate(rest, &mut rng) {
            Ok(Evaluation { elements, .. }) => {
                took();
                assert_eq!(elements.len(), rest.len());
            }
            Err(error) => silent(&error),
        },
        // What the custodian sends: nothing but its own answer is believed.
        1 => {
            let Some((proof, elements)) = rest.split_first_chunk::<PROOF_LEN>() else { return };
            let (state, blinded) = Blinder::blind(&[b"essai"], &mut rng).expect("one input");
            let key = oprf_key();
            let right = key.evaluate(&blinded, &mut rng).expect("one element");
            let answer = Evaluation { elements: elements.to_vec(), proof: *proof };
            assert!(state.finalize(key.public_key(), &answer).is_err() || answer.elements == right.elements);
        }
        2 => {
            if let Some(key) = rest.first_chunk::<ELEMENT_LEN>()
                && let Ok(key) = PublicKey::from_bytes(key)
            {
                assert_eq!(key.to_bytes().as_slice(), &rest[..ELEMENT_LEN]);
            }
        }
        3 => {
            let points: Vec<_> = rest.chunks_exact(32).map(|p| PseudonymPoint(p.try_into().expect("32 bytes"))).collect();
            let scalar = AnalystScalar::from_bytes(&[3; 32]).or_else(|_| AnalystScalar::from_bytes(&[1; 32]));
            if let Ok(pseudonyms) = scalar.expect("a scalar").pseudonyms(&points) {
                assert_eq!(pseudonyms.len(), points.len());
            }
        }
        4 => {
            let recipient = SealingKey::from_bytes(&[5; 32]);
            assert!(recipient.open(b"info", b"aad", rest).is_err(), "nobody sealed it");
            let route = Route { agreement: &AGREEMENT.1, from: "ccas", to: "siao" };
            let sender: VerifyingKey = SigningKey::from_bytes(&[4; 32]).verifying_key();
            assert!(route.open(rest, &sender, &recipient).is_err(), "nobody signed it");
        }
        _ => {
            let place = Place { table: "index", row: b"1" };
            assert!(StorageKey::from_bytes(&[6; 32]).open(place, rest).is_err(), "nobody stored it");
        }
    }
}
