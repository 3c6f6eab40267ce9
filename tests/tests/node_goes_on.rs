//! A node whose broker refuses one of its runs for good, or lists runs that are none: the others go on, its inbox too; and what it
//! remembers of runs is forgotten in time.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;

use linkage_agreement::RoleId;
use linkage_crypto::derive::SharedKey;
use linkage_crypto::oprf::ServerKey;
use linkage_node::Node;
use linkage_node::oprf::Evaluator;
use linkage_node::progress::Progress;
use linkage_proto::v1::{self, RunState};
use linkage_tests::fakes::{Fake, FakeBroker, FakeCustodian};
use linkage_tests::fixture::{World, party, period, until};
use tonic::Code;

const NAMES: [&str; 3] = ["ccas", "siao", "caf"];

/// A node of `ccas` with a delivery and the group key, its broker false, its custodian of the agreement's key.
async fn node_between(world: &World) -> (Node, FakeBroker, [Fake; 2]) {
    let broker = FakeBroker::default();
    let config = world.broker_config();
    let relay = Fake::serve(config.listen, &config.tls, broker.routes()).await;
    let key = ServerKey::from_bytes(&world.key(&RoleId::Custodian, "oprf")).unwrap();
    let custodian = FakeCustodian { key: Arc::new(key), tables: vec![], chunks: vec![] };
    let config = world.custodian_config();
    let custodian = Fake::serve(config.listen, &config.tls, custodian.routes()).await;
    let mut nodes: Vec<Node> = NAMES.iter().map(|name| Node::open(world.node_config(name)).unwrap()).collect();
    for _ in 0..2 {
        for node in &nodes {
            let channel = world.connect(&RoleId::Broker, &party(node.party().as_str())).await;
            node.advance_ceremony(channel).await.unwrap();
        }
    }
    let node = nodes.remove(0);
    let file = world.deliver("ccas", 6);
    let mut evaluator = Evaluator::Shared(SharedKey::from_bytes(&[1; 32]));
    node.ingest(&file, period(), &mut evaluator, &Progress::silent()).await.unwrap();
    (node, broker, [relay, custodian])
}

fn listed(world: &World, run: &str, state: RunState) -> v1::RunStatus {
    let opening = world.opening(run, "2024-01", &[]);
    v1::RunStatus {
        run_id: opening.run_id,
        period: opening.period,
        parties: opening.parties,
        order_signature: opening.order_signature,
        state: state.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_refused_for_good_holds_up_neither_the_others_nor_the_inbox() {
    let world = World::new();
    let (node, broker, _served) = node_between(&world).await;
    {
        let mut state = broker.state();
        // Before the good one in the list, and a name that is none.
        let no_name = v1::RunStatus { run_id: "../../r".to_owned(), ..listed(&world, "quota", RunState::Collecting) };
        state.runs = vec![no_name, listed(&world, "quota", RunState::Collecting), listed(&world, "good", RunState::Collecting)];
        state.refused = [("quota".to_owned(), Code::ResourceExhausted as i32)].into();
    }
    let mut config = node.config.clone();
    drop(node);
    let inbox = world.path("inbox");
    let delivered = inbox.join("2024-02/livraison.csv");
    std::fs::create_dir_all(delivered.parent().unwrap()).unwrap();
    std::fs::copy(world.path("ccas.csv"), &delivered).unwrap();
    config.inbox_dir = Some(inbox);
    let serving = tokio::spawn(linkage_node::serve(config, std::future::pending::<()>()));
    let uploaded = || async { broker.state().manifest.clone() };
    assert_eq!(until("the upload to the other run", uploaded).await.run_id, "good");
    until("the delivery to be taken in", || async { (!delivered.try_exists().unwrap()).then_some(()) }).await;
    serving.abort();
}

#[tokio::test]
async fn what_was_sent_is_forgotten_by_hand_too_and_after_its_days_whatever_the_broker_says() {
    let world = World::new();
    let (node, broker, _served) = node_between(&world).await;
    let kept = |name: &str, hash: &[u8; 32], day: &str| {
        node.vault.put(&format!("sent/{name}"), &[&hash[..], day.as_bytes(), &[0; 32]].concat()).unwrap();
    };
    let names = || {
        let mut names = node.vault.list("sent").unwrap();
        names.sort();
        names
    };
    let (ours, today) = (world.hash.as_bytes(), node.gate.today());
    // As long ago as a broker may hold it, and a day more.
    let retention = &world.agreement.retention;
    let most = i64::from(retention.open_runs_days() + retention.encodings_days);
    let ago = |days: i64| (0..days).try_fold(today, |day, _| day.yesterday()).unwrap().to_string();
    kept("base", ours, &ago(0));
    kept("last-day", ours, &ago(most));
    kept("over", ours, &ago(most + 1));
    kept("other-agreement", &[9; 32], &ago(0));
    node.delete_over_term().await.unwrap();
    assert_eq!(names(), ["sent/base", "sent/last-day"]);
    // Taking part by hand: the broker says that the base has ended.
    broker.state().runs = vec![listed(&world, "base", RunState::Closed), listed(&world, "good", RunState::Collecting)];
    let me = party("ccas");
    let (to_broker, to_custodian) = (world.connect(&RoleId::Broker, &me).await, world.connect(&RoleId::Custodian, &me).await);
    node.participate(&world.order("good", "2024-01", &[]), to_broker, to_custodian, &Progress::silent()).await.unwrap();
    assert_eq!(names(), ["sent/last-day"]);
}
