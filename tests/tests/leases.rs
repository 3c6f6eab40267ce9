//! A worker of the broker that is killed again and again over one run: how often the run is tried, and what becomes of it then.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use linkage_broker::store::Store;
use linkage_proto::v1::{self, RunState};
use linkage_tests::fixture::{World, proper, run, until};
use linkage_tests::wire::{AtBroker, AtCustodian, batches};

/// Leases in a row of which nothing comes after which a run is given up.
const MOST: u32 = 20;

async fn found(peer: &AtBroker<'_>, name: &str, wanted: impl Fn(&v1::RunStatus) -> bool) -> v1::RunStatus {
    until(name, || async {
        let status = peer.clone().run(name).await;
        wanted(&status).then_some(status)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_kills_its_workers_is_given_up_after_twenty_and_not_before() {
    let world = World::new();
    let served = world.serve_broker();
    let mut ccas = AtBroker::party(&world, "ccas").await;
    let mut siao = AtBroker::party(&world, "siao").await;
    // Both runs come as far as the custodian, which is not there, and wait.
    for name in ["vain", "enfin"] {
        ccas.open(name, &["ccas", "siao"]).await;
        ccas.upload(name, &batches(&world, 0, &[3])).await;
        siao.upload(name, &batches(&world, 100, &[3])).await;
        found(&ccas, name, |status| status.step == "settle" && status.reason.contains("en attente")).await;
    }
    served.stop().await;

    // Workers that say nothing more once they have leased a run, each a replica of its own. Their clock is of 1970: by now all
    // leases have run out. The twentieth of the first run is a long one, so that the others come to the second.
    let store = Store::open(&world.path("broker/broker.sqlite")).await.unwrap();
    let mut tries: BTreeMap<String, u32> = BTreeMap::new();
    let mut now = 0;
    while tries.get("enfin") != Some(&(MOST - 1)) {
        now += 10;
        let last = tries.get("vain") == Some(&(MOST - 1));
        let (leased, _, so_often) =
            store.lease(&format!("killed-{now}"), now, if last { 5_000 } else { 1 }).await.unwrap().unwrap();
        tries.insert(leased.id.to_string(), so_often);
    }
    assert_eq!(tries["vain"], MOST);
    drop(store);

    let _served = (world.serve_broker(), world.serve_custodian());
    for (name, first) in [("ccas", 0), ("siao", 100)] {
        let mut node = AtCustodian::party(&world, name).await;
        node.upload("enfin", name, &[(first, first), (first + 1, first + 1), (first + 2, first + 2)]).await;
    }
    let ccas = AtBroker::party(&world, "ccas").await;
    let given_up = found(&ccas, "vain", |status| status.state() == RunState::Failed).await;
    proper(&given_up.reason, "interrompu 20 fois");
    // One lease fewer, and the run is linked as if nothing had been.
    found(&ccas, "enfin", |status| status.state() == RunState::Closed).await;
    // What was given up is deleted all the same.
    let store = Store::open(&world.path("broker/broker.sqlite")).await.unwrap();
    let deleted = until("the deletion", || async { store.deletion(&run("vain")).await.unwrap() }).await;
    assert!(deleted.contains("\"encodings\""), "{deleted}");
}
