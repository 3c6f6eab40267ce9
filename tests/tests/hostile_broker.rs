//! Uploads, manifests, runs and contributions as no honest node would send them: what the broker answers, and what it holds.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use linkage_agreement::model::HashKeyEncoding;
use linkage_agreement::{PartyProfile, RunId};
use linkage_broker::store::Store;
use linkage_proto::v1::{self, RunState};
use linkage_tests::fixture::{World, party, refused, run, until};
use linkage_tests::wire::{AtBroker, AtCustodian, batches, levels, record};
use tonic::Code;

/// Files under a folder, at any depth.
fn files(folder: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.map(|e| e.unwrap().path()).map(|p| if p.is_dir() { files(&p) } else { 1 }).sum()
}

async fn state(peer: &mut AtBroker<'_>, run: &str, wanted: RunState) -> v1::RunStatus {
    let peer = &*peer;
    until("state of the run", || async move {
        let mut peer = peer.clone();
        let status = peer.run(run).await;
        (status.state() == wanted).then_some(status)
    })
    .await
}

/// What the certificate of a run's deletion states, once it is there; verified, and nothing left.
async fn deleted(world: &World, id: &RunId) -> serde_json::Value {
    let store = Store::open(&world.path("broker/broker.sqlite")).await.unwrap();
    let text = until("the deletion", || async { store.deletion(id).await.unwrap() }).await;
    let read = |text: &str| linkage_common::deletion::read(text, &world.agreement, world.hash.as_bytes());
    let certificate = read(&text).unwrap();
    assert_eq!((certificate.role.as_str(), certificate.run.as_ref()), ("broker/broker", Some(id)));
    assert!(read(&text.replace("\"encodings\"", "\"encodingz\"")).is_err());
    for folder in ["broker/uploads", "broker/outputs"] {
        assert_eq!(files(&world.path(folder)), 0, "{folder}");
    }
    serde_json::to_value(&certificate.data[0]).unwrap()
}

#[tokio::test]
async fn batches_may_come_twice_and_in_any_order_but_not_in_two_versions() {
    let world = World::new();
    let _served = world.serve_broker();
    let mut ccas = AtBroker::party(&world, "ccas").await;
    ccas.open("r", &["ccas", "siao"]).await;
    let sent = batches(&world, 0, &[2, 3, 1]);
    for sequence in [2, 0, 2, 1, 0] {
        let batch = ccas.batch("r", sequence, &sent[sequence as usize]);
        ccas.put(vec![batch]).await.unwrap();
    }
    let whole = v1::UploadStatus { held: vec![0, 1, 2], records: 6, committed: false };
    assert_eq!(ccas.held("r").await, whole);
    let other = ccas.batch("r", 1, &sent[0]);
    refused(ccas.put(vec![other]).await, Code::FailedPrecondition, "un autre lot");
    assert_eq!(ccas.held("r").await, whole);
    let manifest = ccas.manifest("r", &sent);
    assert_eq!(ccas.commit(manifest).await.unwrap().records, 6);
}

#[tokio::test]
async fn a_broken_batch_is_refused_and_nothing_of_it_is_kept() {
    let world = World::new();
    let _served = world.serve_broker();
    let mut ccas = AtBroker::party(&world, "ccas").await;
    ccas.open("r", &["ccas", "siao"]).await;
    let len = world.agreement.layout().record_len();
    let entry = world.agreement.layout().entry_len();
    let good = record(&world, 1, 1);
    // Truncated; a byte too many; one token fewer and one more than the padded number; filters of twice the size.
    let wider = World::altered(|a| a.encoding.filter_bits = 128);
    let wrong = [
        good[..len - 1].to_vec(),
        [good.as_slice(), &[0]].concat(),
        good[..len - entry].to_vec(),
        [&good[..], &good[len - entry..]].concat(),
        record(&wider, 1, 1),
        Vec::new(),
    ];
    for records in wrong {
        let batch = ccas.batch("r", 0, &records);
        refused(ccas.put(vec![batch]).await, Code::InvalidArgument, "fiches entières");
    }
    let mut batch = ccas.batch("r", 0, &good);
    batch.digest = vec![0; 32].into();
    refused(ccas.put(vec![batch.clone()]).await, Code::InvalidArgument, "empreinte");
    batch.digest = vec![].into();
    refused(ccas.put(vec![batch]).await, Code::InvalidArgument, "empreinte");
    refused(ccas.put(vec![]).await, Code::InvalidArgument, "aucun lot");
    let mut batch = ccas.batch("R/../x", 0, &good);
    refused(ccas.put(vec![batch.clone()]).await, Code::InvalidArgument, "run identifier");
    batch.run_id = "unknown".to_owned();
    refused(ccas.put(vec![batch]).await, Code::NotFound, "linkage run list");
    assert_eq!(ccas.held("r").await, v1::UploadStatus::default());
    assert_eq!(files(&world.path("broker/uploads")), 0);
    ccas.upload("r", &[good]).await;
}

#[tokio::test]
async fn more_than_a_mebibyte_is_too_much() {
    let world = World::altered(|a| a.party[0].max_records = 100_000);
    let _served = world.serve_broker();
    let mut ccas = AtBroker::party(&world, "ccas").await;
    ccas.open("r", &["ccas", "siao"]).await;
    let len = world.agreement.layout().record_len();
    let most = (1 << 20) / len;
    for records in [most + 1, 4 * most] {
        let batch = ccas.batch("r", 0, &vec![7; records * len]);
        let answer = ccas.put(vec![batch]).await;
        assert_eq!(answer.unwrap_err().code(), Code::OutOfRange);
    }
    assert_eq!(ccas.held("r").await, v1::UploadStatus::default());
    let batch = ccas.batch("r", 0, &vec![7; most * len]);
    assert_eq!(ccas.put(vec![batch]).await.unwrap().records, most as u64);
}

#[tokio::test]
async fn one_stream_carries_one_run() {
    let world = World::new();
    let _served = world.serve_broker();
    let mut ccas = AtBroker::party(&world, "ccas").await;
    ccas.open("r1", &["ccas", "siao"]).await;
    ccas.open("r2", &["ccas", "siao"]).await;
    let sent = batches(&world, 0, &[1, 1]);
    let mixed = vec![ccas.batch("r1", 0, &sent[0]), ccas.batch("r2", 0, &sent[1])];
    refused(ccas.put(mixed).await, Code::InvalidArgument, "un seul traitement");
    assert_eq!(ccas.held("r2").await, v1::UploadStatus::default());
    ccas.upload("r1", &sent).await;
    ccas.upload("r2", &sent).await;
}

#[tokio::test]
async fn no_more_records_than_agreed() {
    let world = World::new();
    let _served = world.serve_broker();
    let mut ccas = AtBroker::party(&world, "ccas").await;
    ccas.open("r", &["ccas", "siao"]).await;
    let limit = world.agreement.run_record_limit(&"ccas".parse().unwrap());
    let sent = batches(&world, 0, &[limit - 1, 1, 1]);
    let messages = (0..3).map(|n| ccas.batch("r", n as u32, &sent[n])).collect();
    refused(ccas.put(messages).await, Code::ResourceExhausted, "avenant");
    assert_eq!(ccas.held("r").await, v1::UploadStatus { held: vec![0, 1], records: limit, committed: false });
    let manifest = ccas.manifest("r", &sent[..2]);
    ccas.commit(manifest).await.unwrap();
}

#[tokio::test]
async fn a_manifest_must_say_what_is_held() {
    let world = World::new();
    let _served = world.serve_broker();
    let mut ccas = AtBroker::party(&world, "ccas").await;
    ccas.open("r", &["ccas", "siao"]).await;
    let sent = batches(&world, 0, &[2, 3]);
    let right = ccas.manifest("r", &sent);
    let first = ccas.batch("r", 1, &sent[1]);
    ccas.put(vec![first]).await.unwrap();
    refused(ccas.commit(right.clone()).await, Code::FailedPrecondition, "le lot 0 manque");
    let second = ccas.batch("r", 0, &sent[0]);
    ccas.put(vec![second]).await.unwrap();
    for (wrong, says) in [
        (v1::CommitUploadRequest { batches: 3, ..right.clone() }, "le lot 2 manque"),
        (v1::CommitUploadRequest { batches: u32::MAX, ..right.clone() }, "le lot 2 manque"),
        (v1::CommitUploadRequest { batches: 1, ..right.clone() }, "ne correspond pas"),
        (v1::CommitUploadRequest { batches: 0, ..right.clone() }, "ne correspond pas"),
        (v1::CommitUploadRequest { records: 4, ..right.clone() }, "ne correspond pas"),
        (v1::CommitUploadRequest { digest: vec![0; 32].into(), ..right.clone() }, "ne correspond pas"),
        (v1::CommitUploadRequest { digest: vec![].into(), ..right.clone() }, "ne correspond pas"),
    ] {
        refused(ccas.commit(wrong).await, Code::FailedPrecondition, says);
    }
    let mut table: serde_json::Value = serde_json::from_slice(&levels(&world)).unwrap();
    let huge = vec![b' '; 65 << 10];
    let wider = World::altered(|a| {
        a.identity.field.pop();
    });
    table["more"] = 1.into();
    for (frequencies, code) in [
        (Vec::new(), Code::InvalidArgument),
        (b"{}".to_vec(), Code::InvalidArgument),
        (b"[1".to_vec(), Code::InvalidArgument),
        (levels(&wider).to_vec(), Code::InvalidArgument),
        (huge, Code::OutOfRange),
    ] {
        let wrong = v1::CommitUploadRequest { level_frequencies: frequencies.into(), ..right.clone() };
        refused(ccas.commit(wrong).await, code, "fréquences de niveaux");
    }
    // Nobody has records of an epoch before the first.
    for past_epoch in [1, 200, u64::MAX] {
        let wrong = v1::CommitUploadRequest { past_epoch: Some(past_epoch), ..right.clone() };
        refused(ccas.commit(wrong).await, Code::InvalidArgument, "première époque");
    }
    assert_eq!(ccas.held("r").await, v1::UploadStatus { held: vec![0, 1], records: 5, committed: false });

    assert!(ccas.commit(right.clone()).await.unwrap().committed);
    assert!(ccas.commit(right.clone()).await.unwrap().committed, "the same commit again is answered the same");
    let other = v1::CommitUploadRequest { digest: vec![1; 32].into(), ..right };
    refused(ccas.commit(other).await, Code::FailedPrecondition, "déjà clos");
    // After the commit: what is held may be repeated, nothing may be added.
    let again = ccas.batch("r", 0, &sent[0]);
    assert!(ccas.put(vec![again]).await.unwrap().committed);
    let late = ccas.batch("r", 2, &sent[0]);
    refused(ccas.put(vec![late]).await, Code::FailedPrecondition, "ne prend plus d'envoi");
    assert_eq!(ccas.held("r").await, v1::UploadStatus { held: vec![0, 1], records: 5, committed: true });
}

#[tokio::test]
async fn records_of_a_past_epoch_count_up_to_what_is_agreed() {
    let world = World::altered(|a| {
        a.encoding.oprf_epoch = Some(2);
        a.party[2].profile = Some(PartyProfile::HashKeys);
        a.encoding.hash_keys = Some(HashKeyEncoding { keyed: false, risk_accepted: true });
    });
    let _served = world.serve_broker();
    let mut ccas = AtBroker::party(&world, "ccas").await;
    ccas.open("r", &["ccas", "siao", "caf"]).await;
    let limit = world.agreement.run_record_limit(&"ccas".parse().unwrap());
    let stated = |past_epoch: Option<u64>| v1::CommitUploadRequest { past_epoch, ..ccas.manifest("r", &[]) };
    let (most, other) = (stated(Some(limit)), stated(Some(0)));
    assert!(ccas.commit(most).await.unwrap().committed);
    assert!(ccas.commit(other).await.unwrap().committed, "the same upload: its first count stays");
    let store = Store::open(&world.path("broker/broker.sqlite")).await.unwrap();
    assert_eq!(store.committed(&run("r")).await.unwrap()[0].past_epoch, Some(limit));
    // A node of an earlier version says nothing; what none can have in a run is taken for nothing said.
    let mut siao = AtBroker::party(&world, "siao").await;
    for (name, past_epoch) in [("s1", None), ("s2", Some(limit + 1)), ("s3", Some(i64::MAX as u64 + 1)), ("s4", Some(u64::MAX))] {
        ccas.open(name, &["ccas", "siao"]).await;
        let silent = v1::CommitUploadRequest { past_epoch, ..siao.manifest(name, &[]) };
        assert!(siao.commit(silent).await.unwrap().committed);
        assert_eq!(store.committed(&run(name)).await.unwrap()[0].past_epoch, None, "{name}");
    }
    // A party without names encodes nothing, and has nothing of a former epoch.
    let mut caf = AtBroker::party(&world, "caf").await;
    let wrong = v1::CommitUploadRequest { past_epoch: Some(1), ..caf.manifest("r", &[]) };
    refused(caf.commit(wrong).await, Code::InvalidArgument, "ne livre pas de noms");
}

#[tokio::test]
async fn a_run_is_opened_once_for_parties_and_months_of_the_agreement() {
    let world = World::new();
    let _served = world.serve_broker();
    let mut ccas = AtBroker::party(&world, "ccas").await;
    let opened = ccas.open("r", &["siao", "ccas", "siao"]).await;
    assert_eq!(opened.parties, ["ccas", "siao"]);
    assert_eq!(ccas.open("r", &["ccas", "siao"]).await, opened);
    let right = ccas.opening("r", &["ccas", "siao"]);
    for (wrong, code, says) in [
        (ccas.opening("r", &[]), Code::FailedPrecondition, "déjà servi"),
        (world.opening("r", "2024-02", &["ccas", "siao"]), Code::FailedPrecondition, "déjà servi"),
        // An order is good for the run, month and parties that it was signed for only.
        (v1::OpenRunRequest { parties: vec!["ccas".into(), "caf".into()], ..right.clone() }, Code::PermissionDenied, "signature"),
        (v1::OpenRunRequest { period: "2024-02".into(), ..right.clone() }, Code::PermissionDenied, "signature"),
        (v1::OpenRunRequest { run_id: "r2".into(), ..right.clone() }, Code::PermissionDenied, "signature"),
        (v1::OpenRunRequest { order_signature: vec![0; 64].into(), ..right.clone() }, Code::PermissionDenied, "signature"),
        (v1::OpenRunRequest { order_signature: vec![].into(), ..right.clone() }, Code::PermissionDenied, "signature"),
        (v1::OpenRunRequest { parties: vec![], ..right.clone() }, Code::InvalidArgument, "deux partenaires"),
        (ccas.opening("r2", &["ccas", "departement"]), Code::PermissionDenied, "pas dans la convention"),
        (ccas.opening("r2", &["ccas", "CCAS"]), Code::InvalidArgument, "party identifier"),
        (ccas.opening("r2", &["ccas"]), Code::InvalidArgument, "deux partenaires"),
        (ccas.opening("", &[]), Code::InvalidArgument, "run identifier"),
        (ccas.opening(&"r".repeat(65), &[]), Code::InvalidArgument, "run identifier"),
        (v1::OpenRunRequest { period: "2023-12".into(), ..ccas.opening("r2", &[]) }, Code::PermissionDenied, "2023-12"),
        (v1::OpenRunRequest { period: "2100-01".into(), ..ccas.opening("r2", &[]) }, Code::PermissionDenied, "2100-01"),
        (v1::OpenRunRequest { period: "janvier".into(), ..ccas.opening("r2", &[]) }, Code::InvalidArgument, "period"),
    ] {
        refused(ccas.runs.open_run(wrong).await, code, says);
    }
    let request = v1::ListRunsRequest { agreement: world.reference(), ..Default::default() };
    assert_eq!(ccas.runs.list_runs(request.clone()).await.unwrap().into_inner().runs, [opened]);
    let named = |also: Vec<String>| v1::ListRunsRequest { under_way: true, also, ..request.clone() };
    refused(ccas.runs.list_runs(named(vec!["r2".to_owned(); 101])).await, Code::InvalidArgument, "100 traitements");
    refused(ccas.runs.list_runs(named(vec!["R%".to_owned()])).await, Code::InvalidArgument, "run identifier");
    let request = v1::RunRequest { agreement: world.reference(), run_id: "r2".to_owned() };
    refused(ccas.runs.get_run(request).await, Code::NotFound, "linkage run list");
    refused(ccas.cancel("r2").await, Code::NotFound, "linkage run list");
}

#[tokio::test]
async fn the_same_handle_twice_ends_the_run_and_everything_is_deleted() {
    let world = World::new();
    let _served = (world.serve_broker(), world.serve_custodian());
    let mut ccas = AtBroker::party(&world, "ccas").await;
    let mut siao = AtBroker::party(&world, "siao").await;
    let mut node = AtCustodian::party(&world, "ccas").await;
    ccas.open("r", &["ccas", "siao"]).await;
    node.upload("r", "ccas", &[(1, 1), (2, 2)]).await;
    let twice = [record(&world, 1, 1), record(&world, 1, 2)].concat();
    ccas.upload("r", &[twice]).await;
    siao.upload("r", &batches(&world, 100, &[2])).await;
    let failed = state(&mut ccas, "r", RunState::Failed).await;
    linkage_tests::fixture::proper(&failed.reason, "deux fois");
    let statement = deleted(&world, &run("r")).await;
    assert_eq!(statement["records"], 4);
    assert_eq!(ccas.cancel("r").await.unwrap().state(), RunState::Failed, "a failure is not turned into something else");
    // The custodian has forgotten the run's handles and takes no more.
    let store = linkage_custodian::store::Store::open(&world.path("custodian/custodian.sqlite")).await.unwrap();
    until("the custodian", || async { (store.run_state(&run("r")).await.unwrap().as_deref() == Some("closed")).then_some(()) })
        .await;
    assert!(store.committed(&run("r")).await.unwrap().is_empty());
    let batch =
        node.batch("r", 1, &linkage_tests::wire::entry(linkage_tests::wire::handle(9), linkage_tests::wire::reference(9), 0));
    refused(node.put(vec![batch]).await, Code::FailedPrecondition, "clos ou annulé");
    // The federation works on.
    ccas.open("r2", &["ccas", "siao"]).await;
}

#[tokio::test]
async fn a_run_waits_for_the_custodian_says_why_and_then_closes() {
    let world = World::new();
    let _broker = world.serve_broker();
    let mut ccas = AtBroker::party(&world, "ccas").await;
    let mut siao = AtBroker::party(&world, "siao").await;
    ccas.open("r", &["ccas", "siao"]).await;
    ccas.upload("r", &batches(&world, 0, &[3])).await;
    siao.upload("r", &batches(&world, 100, &[3])).await;
    let waiting = |says: &'static str| {
        let ccas = ccas.clone();
        async move {
            until("the reason", || async {
                let mut ccas = ccas.clone();
                let status = ccas.run("r").await;
                (status.state() == RunState::Linking && status.reason.contains(says)).then_some(status)
            })
            .await
        }
    };
    let status = waiting("connexion impossible").await;
    assert_eq!(status.step, "settle");
    let _custodian = world.serve_custodian();
    waiting("n'a pas encore clos ses fiches").await;
    for (name, first) in [("ccas", 0), ("siao", 100)] {
        let mut node = AtCustodian::party(&world, name).await;
        node.upload("r", name, &[(first, first), (first + 1, first + 1), (first + 2, first + 2)]).await;
    }
    let closed = state(&mut ccas, "r", RunState::Closed).await;
    assert_eq!(closed.reason, "");
    let statement = deleted(&world, &run("r")).await;
    assert_eq!(statement["records"], 6);
    assert_eq!(statement["set"], "encodings");
    // Nothing brings a closed run back.
    assert_eq!(ccas.cancel("r").await.unwrap().state(), RunState::Closed);
    let late = ccas.batch("r", 5, &record(&world, 50, 50));
    refused(ccas.put(vec![late]).await, Code::FailedPrecondition, "ne prend plus d'envoi");
}

#[tokio::test]
async fn a_run_can_be_cancelled_while_it_collects_and_while_it_waits() {
    let world = World::new();
    let _broker = world.serve_broker();
    let mut ccas = AtBroker::party(&world, "ccas").await;
    let mut siao = AtBroker::party(&world, "siao").await;
    // Collecting, with an upload under way; no custodian: encodings are deleted all the same.
    ccas.open("r1", &["ccas", "siao"]).await;
    ccas.upload("r1", &batches(&world, 0, &[3])).await;
    assert_eq!(files(&world.path("broker/uploads")), 1);
    let cancelled = ccas.cancel("r1").await.unwrap();
    assert_eq!((cancelled.state(), cancelled.reason.as_str()), (RunState::Cancelled, "annulé par le coordinateur"));
    assert_eq!(deleted(&world, &run("r1")).await["records"], 3);
    assert_eq!(ccas.cancel("r1").await.unwrap().state(), RunState::Cancelled);
    let late = siao.batch("r1", 0, &record(&world, 50, 50));
    refused(siao.put(vec![late]).await, Code::FailedPrecondition, "ne prend plus d'envoi");
    let manifest = siao.manifest("r1", &[]);
    refused(siao.commit(manifest).await, Code::FailedPrecondition, "ne prend plus d'envoi");
    // Waiting for a custodian who is away.
    ccas.open("r2", &["ccas", "siao"]).await;
    ccas.upload("r2", &batches(&world, 0, &[3])).await;
    siao.upload("r2", &batches(&world, 100, &[3])).await;
    until("the wait", || async {
        let mut ccas = ccas.clone();
        ccas.run("r2").await.reason.contains("connexion impossible").then_some(())
    })
    .await;
    assert_eq!(ccas.cancel("r2").await.unwrap().state(), RunState::Cancelled);
    assert_eq!(deleted(&world, &run("r2")).await["records"], 6);
    assert_eq!(ccas.run("r2").await.reason, "annulé par le coordinateur");
    // Once the custodian is back it hears of both.
    let _custodian = world.serve_custodian();
    let mut node = AtCustodian::party(&world, "ccas").await;
    let store = linkage_custodian::store::Store::open(&world.path("custodian/custodian.sqlite")).await.unwrap();
    for name in ["r1", "r2"] {
        until("the custodian", || async {
            (store.run_state(&run(name)).await.unwrap().as_deref() == Some("closed")).then_some(())
        })
        .await;
    }
    let batch =
        node.batch("r1", 0, &linkage_tests::wire::entry(linkage_tests::wire::handle(1), linkage_tests::wire::reference(1), 0));
    refused(node.put(vec![batch]).await, Code::FailedPrecondition, "clos ou annulé");
}

#[tokio::test]
async fn a_run_without_any_record_ends_in_order() {
    let world = World::new();
    let _served = (world.serve_broker(), world.serve_custodian());
    let mut ccas = AtBroker::party(&world, "ccas").await;
    ccas.open("r", &["ccas", "siao"]).await;
    for name in ["ccas", "siao"] {
        let mut peer = AtBroker::party(&world, name).await;
        let manifest = peer.manifest("r", &[]);
        peer.commit(manifest).await.unwrap();
        let mut node = AtCustodian::party(&world, name).await;
        node.upload("r", name, &[]).await;
    }
    state(&mut ccas, "r", RunState::Closed).await;
    assert_eq!(deleted(&world, &run("r")).await["records"], 0);
}

#[tokio::test]
async fn contributions_are_complete_the_senders_own_and_final() {
    let world = World::new();
    let _served = world.serve_broker();
    let mut siao = AtBroker::party(&world, "siao").await;
    let envelope = |from: &str, to: &str, byte: u8, len: usize| v1::ContributionEnvelope {
        from: from.to_owned(),
        to: to.to_owned(),
        envelope: vec![byte; len].into(),
    };
    let right = vec![envelope("siao", "ccas", 1, 144), envelope("siao", "caf", 2, 144)];
    let wrong = [
        vec![],
        right[..1].to_vec(),
        vec![right[0].clone(), right[0].clone()],
        vec![right[0].clone(), envelope("siao", "siao", 2, 144)],
        vec![right[0].clone(), envelope("siao", "departement", 2, 144)],
        vec![right[0].clone(), envelope("siao", "", 2, 144)],
        vec![right[0].clone(), envelope("ccas", "caf", 2, 144)],
        vec![right[0].clone(), envelope("siao", "caf", 2, 143)],
        vec![right[0].clone(), envelope("siao", "caf", 2, 0)],
        [right.clone(), vec![right[0].clone()]].concat(),
    ];
    let put = |envelopes: Vec<v1::ContributionEnvelope>| v1::PutContributionRequest { agreement: world.reference(), envelopes };
    for envelopes in wrong {
        let answer = siao.keys.put_contribution(put(envelopes)).await;
        refused(answer, Code::InvalidArgument, "");
    }
    let mut ccas = AtBroker::of(&world, &party("ccas")).await;
    let get = || v1::GetContributionsRequest { agreement: world.reference() };
    assert_eq!(ccas.keys.get_contributions(get()).await.unwrap().into_inner(), v1::GetContributionsResponse::default());
    siao.keys.put_contribution(put(right.clone())).await.unwrap();
    siao.keys.put_contribution(put(right.clone())).await.unwrap();
    let second = vec![right[0].clone(), envelope("siao", "caf", 9, 144)];
    refused(siao.keys.put_contribution(put(second)).await, Code::FailedPrecondition, "déjà contribué");
    let held = ccas.keys.get_contributions(get()).await.unwrap().into_inner();
    assert_eq!((held.envelopes, held.contributed), (right[..1].to_vec(), vec!["siao".to_owned()]));
}
