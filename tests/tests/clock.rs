//! A clock that is set forward or back: leases are found again, and nothing is deleted by a leap that nobody confirms.
//!
//! Trust in the clock itself is tested in `linkage_common::retention`, certificates and the agreement's dates in
//! `services/common/tests`, sessions of the page beside them. Rates are counted by a clock that cannot be set.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::Path;
use std::sync::Arc;

use linkage_agreement::{PartyId, RoleId};
use linkage_broker::jobs::Step;
use linkage_broker::retention::Retention;
use linkage_broker::service::Broker;
use linkage_broker::store::{Run, State, Store, Upload};
use linkage_broker::worker::Worker;
use linkage_common::MockClock;
use linkage_common::audit::{AuditConfig, AuditLog};
use linkage_common::batches::HeldBatch;
use linkage_common::blob::{BlobName, BlobStore};
use linkage_common::clock::Clock as _;
use linkage_common::database::Place;
use linkage_common::gate::Gate;
use linkage_common::metrics::metrics;
use linkage_common::retention::{confirm, last_believed};
use linkage_common::signer::Signer;
use linkage_proto::v1::dispositions_client::DispositionsClient;
use linkage_proto::v1::registry_client::RegistryClient;
use linkage_test_databases::{On, on_both};
use linkage_tests::federation::{Federation, Role, linkage_ok, wait_for};
use linkage_tests::fixture::{World, id, until};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

on_both!(a_brokers_lease_and_pause_end_although_the_clock_was_set_back, a_custodians_lease_ends_although_the_clock_was_set_back,);

const NOW: i64 = 1_706_700_000;
const DAY: i64 = 86_400;

fn run_of(name: &str) -> Run {
    Run {
        id: name.parse().unwrap(),
        period: "2024-01".parse().unwrap(),
        parties: vec![id("ccas"), id("siao")],
        reference_party: None,
        base_run: None,
        kept: false,
        held: false,
        state: State::Collecting,
        step: String::new(),
        reason: String::new(),
        order_signature: vec![1; 64],
    }
}

async fn a_brokers_lease_and_pause_end_although_the_clock_was_set_back(on: On) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::of(on.url().as_deref(), &dir.path().join("broker.sqlite")).unwrap();
    let store = Store::open_at(&place).await.unwrap();
    let run = run_of("r");
    store.insert_run(&run, b"agreement", NOW).await.unwrap();
    for party in [id("ccas"), id("siao")] {
        let batch = HeldBatch { sequence: 0, records: 1, digest: vec![1; 32] };
        store.insert_batch(&run, &party, &batch, 100).await.unwrap();
        let upload = Upload {
            party,
            batches: 1,
            records: 1,
            digest: vec![1; 32],
            level_frequencies: b"{}".to_vec(),
            removed: Vec::new(),
            past_epoch: Some(0),
        };
        store.commit_upload(&run, &upload).await.unwrap();
    }
    let lease = async |owner: &str, now: i64| store.lease(owner, now, 30).await.unwrap().map(|(_, step, _)| step);
    assert_eq!(lease("dead", NOW).await, Some(Step::Compare));
    assert_eq!(lease("b", NOW + 29).await, None);
    // Corrections by a time server take nothing from a worker that lives.
    assert_eq!(lease("b", NOW - 600).await, None);
    // A lease of tomorrow is nobody's.
    assert_eq!(lease("b", NOW - DAY).await, Some(Step::Compare));
    // Set right again, it has run out; what a late owner reports changes nothing.
    assert_eq!(lease("c", NOW).await, Some(Step::Compare));
    store.advance(&run.id, "b", Step::Compare, Step::Settle).await.unwrap();
    assert_eq!(store.run(&run.id).await.unwrap().step, "compare");
    // A day ahead: taken over at once, and the former owner changes nothing.
    assert_eq!(lease("d", NOW + DAY).await, Some(Step::Compare));
    store.advance(&run.id, "c", Step::Compare, Step::Settle).await.unwrap();
    assert_eq!(store.run(&run.id).await.unwrap().step, "compare");
    // A pause that would last until tomorrow.
    store.postpone(&run.id, "d", NOW + DAY + 60, "attente").await.unwrap();
    assert_eq!(lease("e", NOW + DAY).await, None);
    assert_eq!(lease("e", NOW).await, Some(Step::Compare));
}

async fn a_custodians_lease_ends_although_the_clock_was_set_back(on: On) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::of(on.url().as_deref(), &dir.path().join("custodian.sqlite")).unwrap();
    let store = linkage_custodian::store::Store::open_at(&place).await.unwrap();
    let take = async |owner: &str, now: i64| store.take_lease("register", owner, now, now + 30).await.unwrap();
    assert!(take("dead", NOW).await && !take("b", NOW + 29).await && !take("b", NOW - 600).await);
    assert!(take("b", NOW - DAY).await);
    assert!(!take("c", NOW - DAY + 29).await && take("c", NOW).await);
}

fn start(world: &World, broker: &Broker, home: &Path) -> JoinHandle<()> {
    let (url, uri) = (world.url(&RoleId::Custodian), world.uri(&RoleId::Custodian));
    let channel = linkage_common::tls::connect_lazy(&url, &world.tls(&RoleId::Broker), &uri).unwrap();
    let worker = Worker {
        broker: broker.clone(),
        outputs: BlobStore::local(&home.join("outputs")).unwrap(),
        spill: home.join("spill"),
        held: home.join("held"),
        memory_bytes: 1 << 28,
        custodian: RegistryClient::new(channel.clone()),
        dispositions: DispositionsClient::new(channel),
        shared: false,
        retention: Retention::new(home),
        owner: "essai".to_owned(),
    };
    tokio::spawn(worker.run())
}

/// A broker with a run that is open, whose operator has confirmed its clock once, and a clock that shows ten years more after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_whose_clock_is_ten_years_ahead_deletes_nothing_until_its_operator_confirms_it() {
    let world = World::new();
    let clock = MockClock::at("2024-02-01T12:00:00Z".parse().unwrap());
    let home = world.path("broker");
    let gate = Arc::new(Gate::load(&world.files(), Arc::new(clock.clone())).unwrap());
    let blobs = BlobStore::local(&home.join("uploads")).unwrap();
    let signing = world.secret(&RoleId::Broker, "signing");
    let signer = Arc::new(Signer::load(&signing, &world.agreement, *world.hash.as_bytes(), RoleId::Broker).unwrap());
    let broker = Broker {
        gate: gate.clone(),
        store: Store::open(&home.join("broker.sqlite")).await.unwrap(),
        blobs: blobs.clone(),
        signer,
        audit: AuditLog::open(&AuditConfig::default().place(&home).unwrap(), gate.clone(), RoleId::Broker).unwrap(),
        work: Arc::new(Notify::new()),
    };
    let (ccas, run): (PartyId, Run) = (id("ccas"), run_of("ouverte"));
    broker.store.insert_run(&run, &gate.agreement_hash(), gate.now()).await.unwrap();
    blobs.put(&BlobName::new(&run.id, &ccas, 0), vec![0xab; 4_000].into()).await.unwrap();
    confirm(&home, clock.now()).unwrap();

    clock.set("2034-02-01T12:00:00Z".parse().unwrap());
    let wrong = start(&world, &broker, &home);
    until("the doubt is told", || async { metrics().render().unwrap().contains("task=\"retention\"").then_some(()) }).await;
    broker.work.notify_one();
    assert_eq!(broker.store.run(&run.id).await.unwrap().state, State::Collecting);
    assert!(home.join("uploads/ouverte").is_dir());
    assert_eq!(last_believed(&home), Some("2024-02-01T12:00:00Z".parse().unwrap()));
    wrong.abort();

    confirm(&home, clock.now()).unwrap();
    let right = start(&world, &broker, &home);
    until("the run is given up", || async { (broker.store.run(&run.id).await.unwrap().state == State::Failed).then_some(()) })
        .await;
    right.abort();
}

#[test]
fn a_node_that_was_away_for_years_believes_its_clock_again_once_it_hears_a_peer() {
    let mut site = Federation::set_up(60, 1, 103);
    let [first, second] = [0, 1].map(|n| Role::Node(site.parties[n].clone()));
    let mark = |role: &Role| std::path::PathBuf::from(site.setting(role, "state_dir"));
    let homes = [mark(&first), mark(&second)];
    let long_ago = "2016-01-01T00:00:00Z".parse().unwrap();
    for home in &homes {
        linkage_common::fsx::create_private_dir(home).unwrap();
        confirm(home, long_ago).unwrap();
    }
    let doubted = |site: &Federation, role: &Role| site.log_text(role).contains("nothing is deleted by it");
    for role in [&first, &second] {
        site.start(role);
        wait_for("the doubt", || doubted(&site, role).then_some(()));
    }
    assert_eq!(homes.each_ref().map(|home| last_believed(home)), [Some(long_ago); 2]);
    // The second node's operator says that it is right.
    site.stop(&second);
    let config = site.config(&second);
    let said: serde_json::Value =
        serde_json::from_str(&linkage_ok(["retention", "confirm", "--json", "--config", config.to_str().unwrap()])).unwrap();
    assert_eq!(said["before"], "2016-01-01T00:00:00Z");
    assert!(last_believed(&homes[1]) > Some(long_ago));
    // The first one hears broker and custodian.
    site.start(&Role::Custodian);
    site.start(&Role::Broker);
    wait_for("the clock is believed", || (last_believed(&homes[0]) > Some(long_ago)).then_some(()));
    site.stop_all();
}
