//! What was sent last month, sent again: nothing of it is taken twice, into that month's run or into this one's.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use linkage_agreement::RoleId;
use linkage_crypto::oprf::Blinder;
use linkage_proto::v1::{self, RunState};
use linkage_tests::fixture::{PERIOD, World, refused, until};
use linkage_tests::wire::{AtBroker, AtCustodian, AttributeKeys, batches, entry, handle, reference};
use tonic::Code;

const BOTH: [&str; 2] = ["ccas", "siao"];
const LATER: &str = "2024-02";

async fn closed(broker: &AtBroker<'_>, run: &str) {
    until("the run is closed", || async { (broker.clone().run(run).await.state() == RunState::Closed).then_some(()) }).await;
}

#[tokio::test]
async fn a_batch_of_last_month_is_not_taken_again() {
    let world = World::new();
    let (_broker, _custodian) = (world.serve_broker(), world.serve_custodian());
    let mut ccas = AtBroker::party(&world, "ccas").await;
    ccas.open("janvier", &BOTH).await;
    let sent: Vec<Vec<Vec<u8>>> = [0, 100].map(|first| batches(&world, first, &[2, 1])).to_vec();
    let mut custodians = Vec::new();
    for (number, party) in BOTH.into_iter().enumerate() {
        let records: Vec<(u64, u64)> = (0..3).map(|n| (100 * number as u64 + n, 100 * number as u64 + n)).collect();
        let mut custodian = AtCustodian::party(&world, party).await;
        custodian.upload("janvier", party, &records).await;
        custodians.push(custodian);
        AtBroker::party(&world, party).await.upload("janvier", &sent[number]).await;
    }
    closed(&ccas, "janvier").await;
    let mut study = AtCustodian::of(&world, &linkage_tests::fixture::analyst("etude")).await;
    until("the link table", || {
        let mut study = study.clone();
        async move { study.tables().await.iter().any(|t| t.run_id == "janvier").then_some(()) }
    })
    .await;
    let before = study.table("janvier").await.unwrap().1;
    assert_eq!(before.len(), 6);

    // Into the run that is closed: batches, manifest, clusters' records.
    let old = |sequence: u32| ccas.batch("janvier", sequence, &sent[0][sequence as usize]);
    let replayed = vec![old(0), old(1)];
    let mut peer = ccas.clone();
    refused(peer.put(replayed.clone()).await, Code::FailedPrecondition, "ne prend plus d'envoi");
    let manifest = ccas.manifest("janvier", &sent[0]);
    // The manifest that was taken is answered as it was then.
    assert!(ccas.commit(manifest.clone()).await.unwrap().committed);
    let entries = entry(handle(0), reference(0), 0);
    let again = custodians[0].batch("janvier", 0, &entries);
    assert!(custodians[0].put(vec![again]).await.is_err());
    // The order of that month opens nothing new: it is answered as that run.
    let order = world.opening("janvier", PERIOD, &BOTH);
    assert_eq!(ccas.runs.open_run(order).await.unwrap().into_inner().state(), RunState::Closed);

    // Under this month's run: an order of another month is no order of this one's.
    let mut forged = world.opening("janvier", PERIOD, &BOTH);
    forged.run_id = "fevrier".to_owned();
    forged.period = LATER.to_owned();
    assert!(ccas.runs.open_run(forged).await.is_err());
    let this = world.opening("fevrier", LATER, &BOTH);
    assert_eq!(ccas.runs.open_run(this).await.unwrap().into_inner().state(), RunState::Collecting);
    let fresh = batches(&world, 500, &[2, 1]);
    let batch = ccas.batch("fevrier", 0, &fresh[0]);
    ccas.put(vec![batch]).await.unwrap();
    // Where the node has sent its batch, last month's is another one; where it has not, the manifest does not hold it.
    let other = ccas.batch("fevrier", 0, &sent[0][0]);
    refused(ccas.put(vec![other]).await, Code::FailedPrecondition, "un autre lot");
    let planted = ccas.batch("fevrier", 1, &sent[0][1]);
    ccas.put(vec![planted]).await.unwrap();
    let honest = ccas.manifest("fevrier", &fresh);
    assert!(ccas.commit(honest).await.is_err(), "a manifest that does not say what is held");
    assert!(!ccas.held("fevrier").await.committed);
    // Last month's manifest says what this run does not hold.
    let stale = v1::CommitUploadRequest { run_id: "fevrier".to_owned(), ..manifest };
    assert!(ccas.commit(stale).await.is_err());
    assert_eq!(study.table("janvier").await.unwrap().1, before);
    assert_eq!(study.tables().await.len(), 1);
}

#[tokio::test]
async fn an_evaluation_asked_again_is_the_same_and_costs_nothing() {
    let world = World::new();
    let _custodian = world.serve_custodian();
    let mut ccas = AtCustodian::of(&world, &RoleId::Party("ccas".parse().unwrap())).await;
    ccas.declare(10).await.unwrap();
    let blinded = Blinder::blind(&[b"un".to_vec(), b"deux".to_vec()], &mut linkage_common::rng()).unwrap().1;
    let first = ccas.evaluate(&blinded).await.unwrap();
    let again = ccas.evaluate(&blinded).await.unwrap();
    assert_eq!((first.evaluated, ccas.declare(0).await.unwrap().used), (again.evaluated, 2));
}

#[tokio::test]
async fn keys_of_last_months_attributes_open_nothing_of_this_month() {
    let world = World::new();
    let _custodian = world.serve_custodian();
    let mut ccas = AtCustodian::party(&world, "ccas").await;
    let keys = AttributeKeys::draw(&world);
    let entries = keys.entry(handle(1), reference(1), &["personne seule", "0"]);
    for run in ["janvier", "fevrier"] {
        let batch = ccas.batch(run, 0, &entries);
        ccas.put(vec![batch]).await.unwrap();
    }
    // The sealed keys name the run (HPKE's info): the analyst would not open those of another one.
    let of_january = keys.sealed(&world, "janvier", "ccas");
    let of_february = keys.sealed(&world, "fevrier", "ccas");
    let info = linkage_crypto::seal::attributes_info(world.hash.as_bytes(), "fevrier", "ccas");
    let key = linkage_crypto::seal::SealingKey::from_bytes(&world.key(&linkage_tests::fixture::analyst("etude"), "sealing"));
    assert!(key.open(&info, &[], &of_january["etude"]).is_err());
    assert!(key.open(&info, &[], &of_february["etude"]).is_ok());
}
