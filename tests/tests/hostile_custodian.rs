//! Evaluations, records and clusters as no honest peer would send them: what the custodian answers, and what it holds.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use linkage_agreement::RoleId;
use linkage_broker::pipeline::{Member, pack_clusters};
use linkage_crypto::oprf::Blinder;
use linkage_custodian::service::{unpack_clusters, unpack_records};
use linkage_proto::v1;
use linkage_tests::federation::files;
use linkage_tests::fixture::{PERIOD, World, analyst, refused, until};
use linkage_tests::wire::{AtCustodian, AttributeKeys, cluster, entry, handle, reference};
use proptest::prelude::*;
use tonic::Code;

fn blinded(count: usize) -> Vec<u8> {
    let inputs: Vec<Vec<u8>> = (0..count).map(|n| format!("input {n}").into_bytes()).collect();
    Blinder::blind(&inputs, &mut linkage_common::rng()).unwrap().1
}

#[tokio::test]
async fn a_batch_that_is_refused_gives_no_evaluation_and_costs_nothing() {
    let world = World::new();
    let _served = world.serve_custodian();
    let mut ccas = AtCustodian::party(&world, "ccas").await;
    refused(ccas.evaluate(&blinded(1)).await, Code::PermissionDenied, "déclarez-le");
    assert_eq!(ccas.declare(10).await.unwrap(), v1::DeclareResponse { budget: 44, used: 0 });
    let good = blinded(2);
    let spoilt = |element: [u8; 32]| [&good[..32], &element, &good[32..]].concat();
    let mut noncanonical = [0xff; 32];
    noncanonical[31] = 0x7f;
    let mut negative = [0; 32];
    negative[0] = 1;
    for (batch, says) in [
        (Vec::new(), "de 1 à 4096"),
        (good[..63].to_vec(), "de 1 à 4096"),
        ([&good[..], &[0]].concat(), "de 1 à 4096"),
        (vec![0; 4097 * 32], "de 1 à 4096"),
        (spoilt([0; 32]), "n° 1"),
        (spoilt([0xff; 32]), "n° 1"),
        (spoilt(noncanonical), "n° 1"),
        (spoilt(negative), "n° 1"),
    ] {
        refused(ccas.evaluate(&batch).await, Code::InvalidArgument, says);
    }
    assert_eq!(ccas.declare(0).await.unwrap(), v1::DeclareResponse { budget: 44, used: 0 });
    assert_eq!(ccas.evaluate(&good).await.unwrap().evaluated.len(), 64);
    assert_eq!(ccas.declare(0).await.unwrap().used, 2);
    let wrong = v1::EvaluateRequest { agreement: world.reference(), period: "2023-12".into(), blinded: good.into() };
    refused(ccas.oprf.evaluate(wrong).await, Code::PermissionDenied, "2023-12");
}

#[tokio::test]
async fn no_more_evaluations_than_declared_and_no_more_declared_than_agreed() {
    let world = World::new();
    let _served = world.serve_custodian();
    let mut ccas = AtCustodian::party(&world, "ccas").await;
    refused(ccas.declare(101).await, Code::ResourceExhausted, "avenant");
    refused(ccas.declare(u64::MAX).await, Code::ResourceExhausted, "avenant");
    assert_eq!(ccas.declare(10).await.unwrap().budget, 44);
    let first = blinded(40);
    let answer = ccas.evaluate(&first).await.unwrap();
    // Repeated: answered again (with a fresh proof) and counted once.
    assert_eq!(ccas.evaluate(&first).await.unwrap().evaluated, answer.evaluated);
    assert_eq!(ccas.declare(10).await.unwrap().used, 40);
    refused(ccas.evaluate(&blinded(5)).await, Code::ResourceExhausted, "44");
    assert_eq!(ccas.declare(10).await.unwrap().used, 40);
    let second = blinded(4);
    ccas.evaluate(&second).await.unwrap();
    refused(ccas.evaluate(&blinded(1)).await, Code::ResourceExhausted, "44");
    assert_eq!(ccas.evaluate(&first).await.unwrap().evaluated, answer.evaluated, "what was paid for is given again");
    assert_eq!(ccas.declare(11).await.unwrap(), v1::DeclareResponse { budget: 48, used: 44 });
    assert_eq!(ccas.declare(1).await.unwrap().budget, 48, "a declaration is never lowered");
    ccas.evaluate(&blinded(4)).await.unwrap();
    // Another party's budget is its own.
    let mut siao = AtCustodian::party(&world, "siao").await;
    refused(siao.evaluate(&first).await, Code::PermissionDenied, "déclarez-le");
    // At once, not more than the budget in sum.
    siao.declare(10).await.unwrap();
    let calls: Vec<_> = (0..8).map(|_| blinded(10)).collect();
    let asked: Vec<_> = calls
        .into_iter()
        .map(|batch| {
            let (mut oprf, agreement) = (siao.oprf.clone(), world.reference());
            tokio::spawn(async move {
                oprf.evaluate(v1::EvaluateRequest { agreement, period: PERIOD.into(), blinded: batch.into() }).await.is_ok()
            })
        })
        .collect();
    let mut given = 0;
    for call in asked {
        given += usize::from(call.await.unwrap());
    }
    assert_eq!((given, siao.declare(0).await.unwrap().used), (4, 40));
}

#[tokio::test]
async fn a_broken_batch_of_records_is_refused_whole() {
    let world = World::new();
    let _served = world.serve_custodian();
    let mut ccas = AtCustodian::party(&world, "ccas").await;
    let keys = AttributeKeys::draw(&world);
    let good = keys.entry(handle(1), reference(1), &["personne seule", "0"]);
    let absent = entry(handle(2), reference(2), 0);
    let mut oversize = entry(handle(3), reference(3), 1);
    for _ in 0..2 {
        oversize.extend_from_slice(&4097_u16.to_le_bytes());
        oversize.extend_from_slice(&[0; 4097]);
    }
    for (entries, code, says) in [
        ([&absent[..], &good[..good.len() - 1]].concat(), Code::InvalidArgument, "au milieu"),
        ([&good[..], &absent[..32]].concat(), Code::InvalidArgument, "au milieu"),
        ([&absent[..], &entry(handle(3), reference(3), 1)].concat(), Code::InvalidArgument, "au milieu"),
        ([&absent[..], &entry(handle(3), reference(3), 2)].concat(), Code::InvalidArgument, "0 ou 1"),
        ([&absent[..], &oversize].concat(), Code::OutOfRange, "4 Kio"),
        (absent.repeat(201), Code::ResourceExhausted, "avenant"),
    ] {
        let batch = ccas.batch("r", 0, &entries);
        refused(ccas.put(vec![batch]).await, code, says);
    }
    let mut batch = ccas.batch("r", 0, &good);
    batch.digest = vec![0; 32].into();
    refused(ccas.put(vec![batch]).await, Code::InvalidArgument, "empreinte");
    refused(ccas.put(vec![]).await, Code::InvalidArgument, "aucun lot");
    let batch = ccas.batch("r", 0, &vec![0; (1 << 20) + 1]);
    refused(ccas.put(vec![batch]).await, Code::OutOfRange, "1 Mio");
    let mixed = vec![ccas.batch("r", 0, &good), ccas.batch("r2", 0, &absent)];
    refused(ccas.put(mixed).await, Code::InvalidArgument, "un seul traitement");
    // Of all this only the good first message of the last stream is held; the same again is fine, another is not.
    let batch = ccas.batch("r", 0, &good);
    let held = v1::RecordsStatus { held: vec![0], records: 1, committed: false };
    assert_eq!(ccas.put(vec![batch]).await.unwrap(), held);
    let other = ccas.batch("r", 0, &absent);
    refused(ccas.put(vec![other]).await, Code::FailedPrecondition, "un autre lot");
    let mut siao = AtCustodian::party(&world, "siao").await;
    let own = siao.batch("r", 0, &entry(handle(11), reference(1), 0));
    assert_eq!(siao.put(vec![own]).await.unwrap().records, 1, "references are each party's own");
    // A record that was sent twice is found when the upload is complete.
    for (name, again) in [("r3", entry(handle(2), reference(9), 0)), ("r4", entry(handle(9), reference(2), 0))] {
        let twice = [&absent[..], &again].concat();
        let batch = ccas.batch(name, 0, &twice);
        ccas.put(vec![batch]).await.unwrap();
        let manifest = ccas.manifest(name, "ccas", &keys, &twice, 2);
        refused(ccas.commit(manifest).await, Code::FailedPrecondition, "deux fois");
    }
}

#[tokio::test]
async fn records_are_committed_as_held_with_a_key_for_every_analyst_and_no_other() {
    let world = World::new();
    let _served = world.serve_custodian();
    let mut ccas = AtCustodian::party(&world, "ccas").await;
    let keys = AttributeKeys::draw(&world);
    let entries = keys.entry(handle(1), reference(1), &["personne seule", "0"]);
    let right = ccas.manifest("r", "ccas", &keys, &entries, 1);
    refused(ccas.commit(right.clone()).await, Code::FailedPrecondition, "le lot 0 manque");
    let batch = ccas.batch("r", 0, &entries);
    ccas.put(vec![batch]).await.unwrap();
    let with = |change: &dyn Fn(&mut v1::CommitRecordsRequest)| {
        let mut request = right.clone();
        change(&mut request);
        request
    };
    for (request, code, says) in [
        (with(&|r| r.sealed_keys.clear()), Code::InvalidArgument, "clé d'attributs"),
        (with(&|r| drop(r.sealed_keys.remove("audit"))), Code::InvalidArgument, "clé d'attributs"),
        (
            with(&|r| drop(r.sealed_keys.insert("inconnu".into(), vec![0; 80].into()))),
            Code::InvalidArgument,
            "seuls destinataires",
        ),
        (with(&|r| drop(r.sealed_keys.insert("audit".into(), vec![0; 257].into()))), Code::InvalidArgument, "256 octets"),
        (with(&|r| r.batches = 2), Code::FailedPrecondition, "le lot 1 manque"),
        (with(&|r| r.batches = 0), Code::FailedPrecondition, "ne correspond pas"),
        (with(&|r| r.records = 2), Code::FailedPrecondition, "ne correspond pas"),
        (with(&|r| r.digest = vec![0; 32].into()), Code::FailedPrecondition, "ne correspond pas"),
        (with(&|r| r.period = "2023-12".into()), Code::PermissionDenied, "2023-12"),
        (with(&|r| r.period = "hier".into()), Code::InvalidArgument, "period"),
    ] {
        refused(ccas.commit(request).await, code, says);
    }
    assert!(ccas.commit(right.clone()).await.unwrap().committed);
    assert!(ccas.commit(right.clone()).await.unwrap().committed);
    refused(ccas.commit(with(&|r| r.digest = vec![0; 32].into())).await, Code::FailedPrecondition, "déjà clos");
    let late = ccas.batch("r", 1, &entry(handle(2), reference(2), 0));
    refused(ccas.put(vec![late]).await, Code::FailedPrecondition, "clos son envoi");
}

/// Both parties' records of a run: two each, numbered from `first`.
async fn two_parties(world: &World, run: &str, first: u64) {
    for (name, shift) in [("ccas", 0), ("siao", 10)] {
        let mut node = AtCustodian::party(world, name).await;
        node.upload(run, name, &[(first + shift, shift), (first + shift + 1, shift + 1)]).await;
    }
}

/// Whether `bytes` stand anywhere in the custodian's files.
fn on_disk(world: &World, bytes: &[u8]) -> bool {
    files(&world.path("custodian"))
        .iter()
        .map(|(_, file)| std::fs::read(file).unwrap())
        .any(|file| file.windows(bytes.len()).any(|window| window == bytes))
}

async fn ready(study: &AtCustodian<'_>, run: &str) -> v1::LinkTableInfo {
    until("the link table", || async {
        let mut study = study.clone();
        study.tables().await.into_iter().find(|t| t.run_id == run)
    })
    .await
}

#[tokio::test]
async fn clusters_wait_for_the_records_and_are_taken_once() {
    let world = World::new();
    let _served = world.serve_custodian();
    let mut broker = AtCustodian::of(&world, &RoleId::Broker).await;
    let mut study = AtCustodian::of(&world, &analyst("etude")).await;
    let both = ["ccas", "siao"];
    let packed = cluster(&[handle(100), handle(110)]);
    let right = broker.clusters("r", &both, &packed);
    refused(broker.put_clusters(vec![right.clone()]).await, Code::Unavailable, "pas encore clos");
    let mut ccas = AtCustodian::party(&world, "ccas").await;
    ccas.upload("r", "ccas", &[(100, 0), (101, 1)]).await;
    refused(broker.put_clusters(vec![right.clone()]).await, Code::Unavailable, "pas encore clos");
    let mut siao = AtCustodian::party(&world, "siao").await;
    siao.upload("r", "siao", &[(110, 10), (111, 11)]).await;

    let with = |change: &dyn Fn(&mut v1::ClusterBatch)| {
        let mut batch = right.clone();
        change(&mut batch);
        batch
    };
    let zero = |at: usize, value: u8| {
        let mut packed = packed.clone();
        packed[at] = value;
        packed
    };
    for (batches, code, says) in [
        (vec![], Code::InvalidArgument, "dernier lot"),
        (vec![with(&|b| b.clusters = packed[..packed.len() - 1].to_vec().into())], Code::InvalidArgument, "au milieu"),
        (vec![with(&|b| b.clusters = vec![5].into())], Code::InvalidArgument, "au milieu"),
        (vec![with(&|b| b.clusters = zero(0, 3).into())], Code::InvalidArgument, "au milieu"),
        (vec![with(&|b| b.clusters = zero(18, 0).into())], Code::InvalidArgument, "hors limites"),
        (vec![with(&|b| b.clusters = zero(18, 3).into())], Code::InvalidArgument, "hors limites"),
        (vec![with(&|b| b.clusters = zero(20, 0xff).into())], Code::InvalidArgument, "hors limites"),
        (vec![with(&|b| b.clusters = vec![0; (1 << 20) + 2].into())], Code::OutOfRange, "1 Mio"),
        (vec![with(&|b| b.report = vec![0; (1 << 20) + 1].into())], Code::OutOfRange, "1 Mio"),
        (vec![with(&|b| b.parties.clear())], Code::InvalidArgument, "aucun partenaire"),
        (vec![with(&|b| b.parties.push("caf".into()))], Code::Unavailable, "pas encore clos"),
        (vec![with(&|b| b.period = "2024-02".into())], Code::FailedPrecondition, "autre mois"),
    ] {
        refused(broker.put_clusters(batches).await, code, says);
    }
    assert_eq!(study.tables().await, []);
    refused(study.table("r").await, Code::NotFound, "linkage run list");

    // Unknown handles are decoys: ignored. One twice counts once. A member of two clusters stays in the first.
    let decoys = cluster(&[handle(900), handle(901)]);
    let doubled = cluster(&[handle(100), handle(100), handle(110), handle(900)]);
    let again = cluster(&[handle(110), handle(111)]);
    let all = [&decoys[..], &doubled, &again].concat();
    let batches = |split: usize| {
        vec![
            with(&|b| {
                b.clusters = all[..split].to_vec().into();
                b.last = false;
                b.report = vec![].into();
            }),
            with(&|b| {
                b.clusters = all[split..].to_vec().into();
                b.sequence = 1;
            }),
        ]
    };
    let sent = batches(decoys.len());
    refused(broker.put_clusters(sent[..1].to_vec()).await, Code::InvalidArgument, "dernier lot");
    broker.put_clusters(sent.clone()).await.unwrap();
    assert_eq!(ready(&study, "r").await.rows, 4);
    broker.put_clusters(sent.clone()).await.unwrap();
    refused(broker.put_clusters(batches(decoys.len() + doubled.len())).await, Code::FailedPrecondition, "déjà pris en compte");
    refused(broker.put_clusters(sent[..1].to_vec()).await, Code::FailedPrecondition, "déjà pris en compte");

    let (first, rows) = study.table("r").await.unwrap();
    assert_eq!((first.sealed_keys.len(), first.report.as_ref(), first.supersessions.len()), (2, b"{}".as_slice(), 0));
    let linked: Vec<_> = rows.iter().filter(|r| r.match_class == 1).collect();
    assert_eq!(linked.len(), 2);
    assert_eq!(linked[0].person_point, linked[1].person_point);
    let persons: std::collections::HashSet<_> = rows.iter().map(|r| &r.person_point).collect();
    assert_eq!(persons.len(), 3);
    // Late records do not enter a run that is over.
    let mut caf = AtCustodian::party(&world, "caf").await;
    let late = caf.batch("r", 0, &entry(handle(1), reference(1), 0));
    refused(caf.put(vec![late]).await, Code::FailedPrecondition, "clos ou annulé");
}

#[tokio::test]
async fn a_party_outside_the_run_does_not_enter_its_table() {
    let world = World::new();
    let _served = world.serve_custodian();
    two_parties(&world, "r", 100).await;
    let mut caf = AtCustodian::party(&world, "caf").await;
    caf.upload("r", "caf", &[(50, 50)]).await;
    let mut broker = AtCustodian::of(&world, &RoleId::Broker).await;
    let clusters = broker.clusters("r", &["ccas", "siao"], &cluster(&[handle(100), handle(50)]));
    broker.put_clusters(vec![clusters]).await.unwrap();
    let mut study = AtCustodian::of(&world, &analyst("etude")).await;
    assert_eq!(ready(&study, "r").await.rows, 4);
    let (first, rows) = study.table("r").await.unwrap();
    assert!(rows.iter().all(|row| row.party != "caf" && row.match_class == 0));
    assert!(!first.sealed_keys.contains_key("caf"));
}

#[tokio::test]
async fn a_closed_run_is_forgotten_and_one_with_clusters_is_not() {
    let world = World::new();
    let _served = world.serve_custodian();
    two_parties(&world, "r1", 100).await;
    two_parties(&world, "r2", 200).await;
    assert!(on_disk(&world, &handle(100).0));
    let mut broker = AtCustodian::of(&world, &RoleId::Broker).await;
    let clusters = broker.clusters("r2", &["ccas", "siao"], &cluster(&[handle(200), handle(210)]));
    broker.put_clusters(vec![clusters]).await.unwrap();
    let study = AtCustodian::of(&world, &analyst("etude")).await;
    ready(&study, "r2").await;
    let close = |run: &str| v1::CloseRunRequest { agreement: world.reference(), run_id: run.to_owned() };
    let mut forgotten = Vec::new();
    for run in ["r1", "r1", "r2", "never"] {
        forgotten.push(broker.registry.close_run(close(run)).await.unwrap().into_inner().records);
    }
    assert_eq!(forgotten, [4, 0, 0, 0]);
    // Of neither run a handle is left on any page of database or log; the registry's references are.
    until("the log to be emptied", || async {
        (!on_disk(&world, &handle(100).0) && !on_disk(&world, &handle(200).0)).then_some(())
    })
    .await;
    assert!(on_disk(&world, &reference(10).0));
    let clusters = broker.clusters("r1", &["ccas", "siao"], &cluster(&[handle(100), handle(110)]));
    refused(broker.put_clusters(vec![clusters]).await, Code::FailedPrecondition, "annulé");
    assert_eq!(ready(&study, "r2").await.rows, 4);
    refused(broker.registry.close_run(close("../r2")).await, Code::InvalidArgument, "run identifier");
}

proptest! {
    /// The broker packs clusters as the custodian reads them, in batches that each hold whole clusters.
    #[test]
    fn clusters_are_unpacked_as_they_were_packed(
        clusters in proptest::collection::vec(
            proptest::collection::vec((any::<u64>(), 1_u8..=2, 0_u16..=10_000), 2..6), 0..20),
        limit in 150_usize..400,
    ) {
        let packed: Vec<Vec<Member>> = clusters
            .iter()
            .map(|c| c.iter().map(|&(n, match_class, probability)| Member { handle: handle(n), match_class, probability }).collect())
            .collect();
        let batches = pack_clusters(&packed, limit);
        prop_assert!(!batches.is_empty() && batches.iter().all(|b| b.len() <= limit));
        let mut read = Vec::new();
        for batch in &batches {
            read.extend(unpack_clusters(batch).unwrap());
        }
        let read: Vec<Vec<Member>> = read
            .iter()
            .map(|c| c.iter().map(|m| Member { handle: m.handle, match_class: m.match_class, probability: m.probability }).collect())
            .collect();
        prop_assert_eq!(read, packed);
    }

    /// Whatever comes, the readers give an error or what was sent; they never panic.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), analysts in 0_usize..4) {
        if let Ok(clusters) = unpack_clusters(&bytes) {
            prop_assert_eq!(clusters.iter().map(|c| 2 + 19 * c.len()).sum::<usize>(), bytes.len());
        }
        if let Ok(records) = unpack_records(&bytes, analysts) {
            prop_assert_eq!(records.iter().map(|r| 33 + r.sealed.len()).sum::<usize>(), bytes.len());
        }
    }
}

#[tokio::test]
async fn clusters_sent_twice_at_once_are_taken_once() {
    let world = World::new();
    let _served = world.serve_custodian();
    two_parties(&world, "r", 100).await;
    let mut broker = AtCustodian::of(&world, &RoleId::Broker).await;
    let batch = |sequence: u32, of: u64| v1::ClusterBatch {
        sequence,
        last: sequence == 1,
        ..broker.clusters("r", &["ccas", "siao"], &cluster(&[handle(of), handle(of + 10)]))
    };
    let (first, second, other) = (batch(0, 100), batch(1, 101), batch(1, 102));
    // One call stands still after its first batch, as after a connection that was lost; its repetition overtakes it.
    let open = |broker: &AtCustodian<'_>| {
        let (send, receive) = tokio::sync::mpsc::channel(2);
        let mut registry = broker.registry.clone();
        let call = tokio::spawn(async move { registry.put_clusters(tokio_stream::wrappers::ReceiverStream::new(receive)).await });
        (send, call)
    };
    let (slow, slow_call) = open(&broker);
    let (wrong, wrong_call) = open(&broker);
    slow.send(first.clone()).await.unwrap();
    wrong.send(first.clone()).await.unwrap();
    // Nothing shows that they have arrived; were they late, this would test less and pass all the same.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    broker.put_clusters(vec![first, second.clone()]).await.unwrap();
    slow.send(second).await.unwrap();
    wrong.send(other).await.unwrap();
    drop((slow, wrong));
    slow_call.await.unwrap().unwrap();
    refused(wrong_call.await.unwrap(), Code::FailedPrecondition, "déjà pris en compte");
    let study = AtCustodian::of(&world, &analyst("etude")).await;
    ready(&study, "r").await;
}

#[tokio::test]
async fn a_party_has_a_few_uploads_open_at_most() {
    let world = World::new();
    let _served = world.serve_custodian();
    let mut ccas = AtCustodian::party(&world, "ccas").await;
    let keys = AttributeKeys::draw(&world);
    let entries = keys.entry(handle(1), reference(1), &["personne seule", "0"]);
    let batch = |ccas: &AtCustodian<'_>, run: usize| ccas.batch(&format!("r{run}"), 0, &entries);
    for run in 0..8 {
        let batch = batch(&ccas, run);
        ccas.put(vec![batch]).await.unwrap();
    }
    let ninth = batch(&ccas, 8);
    refused(ccas.put(vec![ninth.clone()]).await, Code::ResourceExhausted, "envois ouverts");
    let again = batch(&ccas, 3);
    ccas.put(vec![again]).await.unwrap();
    // Another party has its own; one that is committed makes room, and so does a run that ended.
    let mut siao = AtCustodian::party(&world, "siao").await;
    siao.upload("r8", "siao", &[(2, 2)]).await;
    let manifest = ccas.manifest("r0", "ccas", &keys, &entries, 1);
    ccas.commit(manifest).await.unwrap();
    ccas.put(vec![ninth]).await.unwrap();
    let tenth = batch(&ccas, 9);
    refused(ccas.put(vec![tenth.clone()]).await, Code::ResourceExhausted, "envois ouverts");
    let mut broker = AtCustodian::of(&world, &RoleId::Broker).await;
    let close = v1::CloseRunRequest { agreement: world.reference(), run_id: "r5".to_owned() };
    broker.registry.close_run(close).await.unwrap();
    ccas.put(vec![tenth]).await.unwrap();
}
