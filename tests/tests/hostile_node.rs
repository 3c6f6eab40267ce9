//! A node among hostile peers: a broker that alters the key ceremony or loses uploads, a custodian with another key, a
//! delivery that may not be taken in.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;

use linkage_agreement::RoleId;
use linkage_crypto::derive::SharedKey;
use linkage_crypto::group::GroupError;
use linkage_crypto::oprf::{Mode, OprfError, ServerKey};
use linkage_node::oprf::Evaluator;
use linkage_node::progress::Progress;
use linkage_node::{Node, NodeError};
use linkage_proto::v1;
use linkage_tests::fakes::{Fake, FakeBroker, FakeCustodian};
use linkage_tests::fixture::{World, party, period, proper};
use linkage_tests::wire::{AtBroker, manifest};

const NAMES: [&str; 3] = ["ccas", "siao", "caf"];

fn nodes(world: &World) -> Vec<Node> {
    NAMES.iter().map(|name| Node::open(world.node_config(name)).unwrap()).collect()
}

async fn false_broker(world: &World, broker: &FakeBroker) -> Fake {
    let config = world.broker_config();
    Fake::serve(config.listen, &config.tls, broker.routes()).await
}

async fn advance(world: &World, node: &Node) -> Result<Option<String>, NodeError> {
    let channel = world.connect(&RoleId::Broker, &party(node.party().as_str())).await;
    Ok(node.advance_ceremony(channel).await?.map(|fingerprint| fingerprint.to_string()))
}

/// The ceremony, over a broker that relays well.
async fn agreed(world: &World, nodes: &[Node]) {
    for _ in 0..2 {
        for node in nodes {
            advance(world, node).await.unwrap();
        }
    }
    let fingerprints: Vec<_> = nodes.iter().map(|node| node.fingerprint().unwrap().unwrap().to_string()).collect();
    assert!(fingerprints.windows(2).all(|pair| pair[0] == pair[1]), "{fingerprints:?}");
}

#[tokio::test]
async fn an_envelope_altered_by_the_relay_is_refused_and_no_key_is_derived() {
    let world = World::new();
    let broker = FakeBroker::default();
    let _served = false_broker(&world, &broker).await;
    let nodes = nodes(&world);
    for node in &nodes[1..] {
        assert_eq!(advance(&world, node).await.unwrap(), None);
    }
    // In the encapsulated key, the sealed contribution, the signature.
    for at in [0, 40, 143] {
        broker.state().alter = Some(at);
        let error = advance(&world, &nodes[0]).await.unwrap_err();
        assert!(matches!(error, NodeError::Group(GroupError::Signature)), "{error}");
        proper(&error.to_string(), "prévenez ce partenaire");
        assert!(nodes[0].fingerprint().unwrap().is_none());
    }
    broker.state().alter = None;
    agreed(&world, &nodes).await;
    assert_eq!(broker.state().envelopes.len(), 6, "each contributed once");
}

#[tokio::test]
async fn an_envelope_in_another_partners_name_is_refused() {
    let world = World::new();
    let broker = FakeBroker::default();
    let _served = false_broker(&world, &broker).await;
    let nodes = nodes(&world);
    for node in &nodes {
        // The last two see envelopes that are not addressed to them as well, and must pick their own.
        let _ = advance(&world, node).await;
    }
    let right = broker.state().envelopes.clone();
    // What siao sent, passed off as caf's.
    for envelope in broker.state().envelopes.iter_mut().filter(|e| e.from == "caf" && e.to == "ccas") {
        let stolen = right.iter().find(|e| e.from == "siao" && e.to == "ccas").unwrap();
        envelope.envelope = stolen.envelope.clone();
    }
    let error = advance(&world, &nodes[0]).await.unwrap_err();
    assert!(matches!(error, NodeError::Group(GroupError::Signature)), "{error}");
    broker.state().envelopes = right;
    assert!(advance(&world, &nodes[0]).await.unwrap().is_some());
}

#[tokio::test]
async fn evaluations_under_another_key_are_refused_and_nothing_is_archived() {
    let world = World::new();
    let config = world.custodian_config();
    let key = Arc::new(ServerKey::derive(Mode::Voprf, &[7; 32], b"other").unwrap());
    let fake = FakeCustodian { key, tables: vec![], chunks: vec![] };
    let file = world.deliver("ccas", 4);
    let node = Node::open(world.node_config("ccas")).unwrap();
    let server = Fake::serve(config.listen, &config.tls, fake.routes()).await;
    let channel = world.connect(&RoleId::Custodian, &party("ccas")).await;
    let mut evaluator = Evaluator::custodian(&node.gate, channel).unwrap();
    let error = node.ingest(&file, period(), &mut evaluator, &Progress::silent()).await.unwrap_err();
    assert!(matches!(error, NodeError::Oprf(OprfError::ProofRefused)), "{error}");
    proper(&error.to_string(), "prévenez le tiers de confiance");
    assert!(node.delivery(period()).unwrap().is_none());
    assert!(node.vault.list("archive").unwrap().is_empty());
    assert!(!node.ready_for(period()).unwrap());
    drop(server);
    // The true custodian: the same delivery is taken in.
    let _served = world.serve_custodian();
    let mut evaluator = Evaluator::custodian(&node.gate, world.connect(&RoleId::Custodian, &party("ccas")).await).unwrap();
    let summary = node.ingest(&file, period(), &mut evaluator, &Progress::silent()).await.unwrap();
    assert_eq!((summary.records, summary.set_aside), (4, 0));
}

#[tokio::test]
async fn a_delivery_larger_than_agreed_or_of_another_time_is_refused_without_a_name() {
    let world = World::altered(|a| a.party[0].max_records = 3);
    let file = world.deliver("ccas", 4);
    let _served = false_broker(&world, &FakeBroker::default()).await;
    let mut nodes = nodes(&world);
    agreed(&world, &nodes).await;
    let node = nodes.remove(0);
    let mut evaluator = Evaluator::Shared(SharedKey::from_bytes(&[1; 32]));
    let error = node.ingest(&file, period(), &mut evaluator, &Progress::silent()).await.unwrap_err();
    proper(&error.to_string(), "4 fiches");
    let error = node.ingest(&file, "2023-12".parse().unwrap(), &mut evaluator, &Progress::silent()).await.unwrap_err();
    proper(&error.to_string(), "2023-12");
    assert!(node.delivery(period()).unwrap().is_none());
    assert!(!node.names_held().unwrap());
    let peers = node.peers().unwrap();
    let order = world.order("r", "2024-01", &[]);
    let error = node.participate(&order, peers.broker, peers.custodian, &Progress::silent()).await.unwrap_err();
    proper(&error.to_string(), "aucune livraison");
}

/// Records of 15 kB, so that a hundred or so fill several batches.
fn large_records() -> World {
    World::altered(|a| {
        a.encoding.tokens_per_record = 64;
        a.encoding.filter_bits = 512;
        a.encoding.decoys_percent = 10;
        for party in &mut a.party {
            party.max_records = 1_000;
        }
    })
}

/// A node with a delivery of 200 records and the group key, a false broker in front of it, and a false custodian.
async fn ready_to_upload(world: &World) -> (Node, FakeBroker, (Fake, Fake)) {
    let broker = FakeBroker::default();
    let served = false_broker(world, &broker).await;
    let mut nodes = nodes(world);
    agreed(world, &nodes).await;
    let node = nodes.remove(0);
    let file = world.deliver("ccas", 200);
    let mut evaluator = Evaluator::Shared(SharedKey::from_bytes(&[1; 32]));
    let summary = node.ingest(&file, period(), &mut evaluator, &Progress::silent()).await.unwrap();
    assert_eq!(summary.records, 200);
    let config = world.custodian_config();
    let key = Arc::new(ServerKey::derive(Mode::Voprf, &[7; 32], b"other").unwrap());
    let custodian = FakeCustodian { key, tables: vec![], chunks: vec![] };
    let custodian = Fake::serve(config.listen, &config.tls, custodian.routes()).await;
    (node, broker, (served, custodian))
}

async fn participate(world: &World, node: &Node, name: &str) -> Result<u64, NodeError> {
    let me = party("ccas");
    let (broker, custodian) = (world.connect(&RoleId::Broker, &me).await, world.connect(&RoleId::Custodian, &me).await);
    node.participate(&world.order(name, "2024-01", &[]), broker, custodian, &Progress::silent()).await.map(|p| p.uploaded)
}

fn bytes(batches: &std::collections::BTreeMap<u32, v1::Batch>) -> Vec<Vec<u8>> {
    batches.values().map(|b| b.records.to_vec()).collect()
}

#[tokio::test]
async fn an_interrupted_upload_goes_on_with_the_same_bytes() {
    let world = large_records();
    let (node, broker, _served) = ready_to_upload(&world).await;
    broker.state().lose_after = Some(1);
    let error = participate(&world, &node, "r").await.unwrap_err();
    assert!(matches!(error, NodeError::Peer { peer: "courtier", .. }), "{error}");
    let before = broker.state().batches.clone();
    assert_eq!(before.keys().copied().collect::<Vec<_>>(), [0]);
    assert!(broker.state().manifest.is_none());
    // Another process, as after a crash: only what is missing is sent.
    let node = Node::open(node.config).unwrap();
    broker.state().lose_after = None;
    assert_eq!(participate(&world, &node, "r").await.unwrap(), 220);
    let after = broker.state().batches.clone();
    let count = after.len() as u32;
    assert!(count > 2);
    assert_eq!(broker.state().received, (0..count).collect::<Vec<_>>());
    let sent = broker.state().manifest.take().unwrap();
    assert_eq!((sent.batches, sent.records, &sent.digest), (count, 220, &manifest(&bytes(&after))));

    // A broker that has lost everything is sent the same bytes again.
    broker.state().batches.clear();
    assert_eq!(participate(&world, &node, "r").await.unwrap(), 220);
    assert_eq!(broker.state().batches, after);
    assert_eq!(broker.state().manifest.take().unwrap(), sent);
    assert_eq!(before[&0], after[&0]);

    // Another run has other handles and tokens: the two uploads have no 16 bytes of either in common.
    broker.state().batches.clear();
    participate(&world, &node, "r2").await.unwrap();
    let layout = world.agreement.layout();
    let names = |batches: &std::collections::BTreeMap<u32, v1::Batch>| {
        let mut names = std::collections::HashSet::new();
        for record in bytes(batches).concat().chunks_exact(layout.record_len()) {
            names.insert(record[..16].to_vec());
            names.extend(record[20..].chunks_exact(layout.entry_len()).map(|entry| entry[..16].to_vec()));
        }
        names
    };
    let (first, second) = (names(&after), names(&broker.state().batches));
    assert!(first.len() > 220 && first.is_disjoint(&second));
}

#[tokio::test]
async fn a_node_that_lost_its_seed_contradicts_itself_and_is_refused() {
    let world = large_records();
    let (node, fake, served) = ready_to_upload(&world).await;
    participate(&world, &node, "r").await.unwrap();
    let first = fake.state().batches.clone();
    drop(served.0);
    let _broker = world.serve_broker();
    let mut at = AtBroker::party(&world, "ccas").await;
    at.open("r", &["ccas", "siao"]).await;
    let batch = at.batch("r", 0, &first[&0].records);
    at.put(vec![batch]).await.unwrap();
    node.vault.remove("runs/r").unwrap();
    let error = participate(&world, &node, "r").await.unwrap_err();
    proper(&error.to_string(), "ne correspond pas à la clôture");
    assert!(!at.held("r").await.committed);
    // A sequence held under other bytes is refused outright.
    let other = at.batch("r", 0, &first[&1].records);
    linkage_tests::fixture::refused(at.put(vec![other]).await, tonic::Code::FailedPrecondition, "un autre lot");
}

#[tokio::test]
async fn a_run_that_the_coordinator_did_not_order_is_refused() {
    let world = World::new();
    let node = Node::open(world.node_config("siao")).unwrap();
    let order = world.order("r", "2024-01", &["ccas", "siao"]);
    let relayed = v1::RunStatus {
        run_id: "r".into(),
        period: "2024-01".into(),
        parties: vec!["ccas".into(), "siao".into()],
        order_signature: order.signature.to_vec().into(),
        ..Default::default()
    };
    assert_eq!(node.gate.order(&relayed).unwrap(), order);
    let mut forged = order.signature;
    forged[0] ^= 1;
    for status in [
        v1::RunStatus { run_id: "r2".into(), ..relayed.clone() },
        v1::RunStatus { period: "2024-02".into(), ..relayed.clone() },
        v1::RunStatus { parties: vec!["ccas".into(), "siao".into(), "caf".into()], ..relayed.clone() },
        v1::RunStatus { order_signature: forged.to_vec().into(), ..relayed.clone() },
        v1::RunStatus { order_signature: vec![].into(), ..relayed },
    ] {
        let error = node.gate.order(&status).unwrap_err();
        proper(&error.to_string(), "signature du coordonnateur");
    }
}
