//! Increments: what is new since a run that is kept, over the wire; what is refused; what is deleted when.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use linkage_agreement::RunId;
use linkage_broker::store::Store;
use linkage_common::order::RunTerms;
use linkage_proto::v1::{self, RunState};
use linkage_tests::federation::{Federation, Role, files, linkage, wait_for};
use linkage_tests::fixture::{PERIOD, World, analyst, refused, until};
use linkage_tests::wire::{AtBroker, AtCustodian, handle, record};
use serde_json::{Value, json};
use tonic::Code;

const BOTH: [&str; 2] = ["ccas", "siao"];

fn terms(run: &str, parties: &[&str]) -> RunTerms {
    let parties = parties.iter().map(|p| p.parse().unwrap()).collect();
    RunTerms::new(run.parse().unwrap(), PERIOD.parse().unwrap(), parties)
}

fn opening(world: &World, terms: RunTerms) -> v1::OpenRunRequest {
    world.ordered(terms).opening(world.reference().unwrap())
}

fn since(base: &str, run: &str) -> RunTerms {
    terms(run, &BOTH).adding_to(Some(base.parse().unwrap()))
}

async fn open(broker: &mut AtBroker<'_>, request: v1::OpenRunRequest) -> v1::RunStatus {
    broker.runs.open_run(request).await.unwrap().into_inner()
}

async fn state(peer: &mut AtBroker<'_>, run: &str, wanted: RunState) -> v1::RunStatus {
    let peer = &*peer;
    until("state of the run", || async move {
        let mut peer = peer.clone();
        let status = peer.run(run).await;
        (status.state() == wanted && status.step.is_empty()).then_some(status)
    })
    .await
}

/// Records that a party says it leaves out as of a past epoch: others of an increment than of its base.
fn left_out(world: &World, run: &str, party: usize) -> u64 {
    let counts = if run == "base" { [15, 20] } else { [40, 12] };
    if world.agreement.oprf_epoch() == 1 { 0 } else { counts[party] }
}

/// Both parties' part of a run: handle and person of each record; and of an increment the handles taken out, and the records
/// whose references the custodian gets beside those sent.
async fn take_part(world: &World, run: &str, sent: [&[(u64, u64)]; 2], removed: [&[u64]; 2], held: [&[(u64, u64)]; 2]) {
    for (number, party) in BOTH.into_iter().enumerate() {
        let all: Vec<(u64, u64)> = sent[number].iter().chain(held[number]).copied().collect();
        let references: Vec<(u64, u64)> = all.iter().map(|&(handle, person)| (handle, 1_000 * number as u64 + person)).collect();
        AtCustodian::party(world, party).await.upload(run, party, &references).await;
        let mut broker = AtBroker::party(world, party).await;
        let batches: Vec<Vec<u8>> = sent[number].iter().map(|&(n, person)| record(world, n, person)).collect();
        if !batches.is_empty() {
            let messages = batches.iter().zip(0..).map(|(b, n)| broker.batch(run, n, b)).collect();
            broker.put(messages).await.unwrap();
        }
        let packed: Vec<u8> = removed[number].iter().flat_map(|&n| handle(n).0).collect();
        let past_epoch = Some(left_out(world, run, number));
        let manifest = v1::CommitUploadRequest { removed: packed.into(), past_epoch, ..broker.manifest(run, &batches) };
        for _ in 0..2 {
            assert!(broker.commit(manifest.clone()).await.unwrap().committed);
        }
    }
}

/// Rows of a link table by person: the parties' names.
async fn groups(world: &World, run: &str) -> Vec<Vec<String>> {
    let mut study = AtCustodian::of(world, &analyst("etude")).await;
    let study = &mut study;
    until("the link table", || {
        let mut study = study.clone();
        async move { study.tables().await.iter().any(|t| t.run_id == run).then_some(()) }
    })
    .await;
    let (_, rows) = study.table(run).await.unwrap();
    let mut persons: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
    for row in rows {
        persons.entry(row.person_point.to_vec()).or_default().push(row.party);
    }
    let mut groups: Vec<Vec<String>> = persons.into_values().collect();
    groups.iter_mut().for_each(|group| group.sort());
    groups.sort();
    groups
}

fn count(groups: &[Vec<String>], of: &[&str]) -> usize {
    groups.iter().filter(|group| group.iter().map(String::as_str).eq(of.iter().copied())).count()
}

/// Files of encodings and outputs that the broker has of a run.
fn held_files(world: &World, run: &str) -> usize {
    ["uploads", "outputs", "held"].iter().map(|folder| files(&world.path("broker").join(folder).join(run)).len()).sum()
}

#[tokio::test]
async fn what_is_new_joins_what_is_held_until_it_is_let_go() {
    let world = World::altered(|agreement| agreement.encoding.oprf_epoch = Some(2));
    let (_broker, _custodian) = (world.serve_broker(), world.serve_custodian());
    let mut ccas = AtBroker::party(&world, "ccas").await;
    let early = opening(&world, since("base", "trop-tot"));
    refused(ccas.runs.open_run(early.clone()).await, Code::NotFound, "linkage run list");
    open(&mut ccas, opening(&world, terms("base", &BOTH).kept(true))).await;
    refused(ccas.runs.open_run(early.clone()).await, Code::FailedPrecondition, "pas encore clos");
    // Persons 1 to 20 at ccas, 11 to 30 at siao: 10 at both.
    let first: Vec<(u64, u64)> = (1..=20).map(|p| (100 + p, p)).collect();
    let second: Vec<(u64, u64)> = (11..=30).map(|p| (200 + p, p)).collect();
    take_part(&world, "base", [&first, &second], [&[], &[]], [&[], &[]]).await;
    let base = state(&mut ccas, "base", RunState::Closed).await;
    assert!(base.keep && base.held);
    let of_base = groups(&world, "base").await;
    assert_eq!((count(&of_base, &BOTH), of_base.len()), (10, 30));
    let kept = held_files(&world, "base");
    assert!(kept > 40, "{kept}");

    // ccas adds persons 21 to 23 (known at siao) and 40; one of its records, person 11's, is now person 41's; siao adds 1.
    let new = [(321, 21), (322, 22), (323, 23), (340, 40), (341, 41)];
    let still: Vec<(u64, u64)> = first.iter().filter(|(_, person)| *person != 11).copied().collect();
    for run in ["plus", "encore"] {
        for _ in 0..2 {
            let status = open(&mut ccas, opening(&world, since("base", run))).await;
            assert_eq!((status.base_run.as_str(), status.keep, status.held), ("base", false, false));
        }
        take_part(&world, run, [&new, &[(401, 1)]], [&[111], &[]], [&still, &second]).await;
        state(&mut ccas, run, RunState::Closed).await;
        let of_run = groups(&world, run).await;
        // 12 to 20 as before, 21 to 23 and 1 now; alone 2 to 10, 40, 41 at ccas, 11 and 24 to 30 at siao.
        assert_eq!((count(&of_run, &BOTH), count(&of_run, &["ccas"]), count(&of_run, &["siao"])), (13, 11, 8), "{run}");
        assert_eq!(held_files(&world, run), 0, "an increment leaves nothing");
        assert_eq!(held_files(&world, "base"), kept, "and its base as it was");
    }
    let mut reports = BTreeMap::new();
    for run in ["base", "plus"] {
        let (first_chunk, _) = AtCustodian::of(&world, &analyst("etude")).await.table(run).await.unwrap();
        reports.insert(run, serde_json::from_slice::<Value>(&first_chunk.report).unwrap());
    }
    // What its own uploads left out, not what the base's did.
    for (run, parties, all) in [("base", [15, 20], 35), ("plus", [40, 12], 52)] {
        assert_eq!(reports[run]["past_epoch"], json!({ "epoch": 2, "parties": parties, "all": all }), "{run}");
    }
    let report = &reports["plus"];
    let figures = &report["increment"];
    assert_eq!(
        (&figures["base_run"], &figures["new_records"], &figures["removed_records"], &figures["records"]),
        (&"base".into(), &6.into(), &1.into(), &45.into())
    );
    assert!(figures["clusters_kept"].as_u64().unwrap() >= 8, "{figures}");

    // Let go: deleted with a signed record, and no base any more.
    refused(AtBroker::party(&world, "siao").await.cancel("base").await, Code::PermissionDenied, "");
    for _ in 0..2 {
        assert_eq!(ccas.cancel("base").await.unwrap().state(), RunState::Closed);
    }
    let store = Store::open(&world.path("broker/broker.sqlite")).await.unwrap();
    let id: RunId = "base".parse().unwrap();
    until("the deletion", || async { store.deletion(&id).await.unwrap() }).await;
    assert_eq!(held_files(&world, "base"), 0);
    assert!(!ccas.run("base").await.held);
    refused(ccas.runs.open_run(opening(&world, since("base", "tard"))).await, Code::FailedPrecondition, "plus détenu");
    assert_eq!(
        open(&mut ccas, opening(&world, since("base", "plus"))).await.state(),
        RunState::Closed,
        "as it was answered before"
    );
}

#[tokio::test]
async fn two_increments_of_one_base_and_a_full_run_may_be_open_at_once() {
    let world = World::new();
    let (_broker, _custodian) = (world.serve_broker(), world.serve_custodian());
    let mut ccas = AtBroker::party(&world, "ccas").await;
    open(&mut ccas, opening(&world, terms("base", &BOTH).kept(true))).await;
    let first: Vec<(u64, u64)> = (1..=20).map(|p| (100 + p, p)).collect();
    let second: Vec<(u64, u64)> = (11..=30).map(|p| (200 + p, p)).collect();
    take_part(&world, "base", [&first, &second], [&[], &[]], [&[], &[]]).await;
    state(&mut ccas, "base", RunState::Closed).await;
    let new: [(u64, u64); 3] = [(321, 21), (322, 22), (340, 40)];
    let none: [(u64, u64); 0] = [];
    for run in ["plus", "encore"] {
        open(&mut ccas, opening(&world, since("base", run))).await;
    }
    open(&mut ccas, opening(&world, terms("tout", &BOTH))).await;
    // All of them together: 11 to 20 as before, 21 and 22 now.
    let all: Vec<(u64, u64)> = first.iter().chain(&new).copied().collect();
    tokio::join!(
        take_part(&world, "plus", [&new, &none], [&[], &[]], [&first, &second]),
        take_part(&world, "tout", [&all, &second], [&[], &[]], [&[], &[]]),
        take_part(&world, "encore", [&new, &none], [&[], &[]], [&first, &second]),
    );
    for run in ["plus", "encore", "tout"] {
        state(&mut ccas, run, RunState::Closed).await;
        let of_run = groups(&world, run).await;
        assert_eq!((count(&of_run, &BOTH), of_run.len()), (12, 31), "{run}");
    }
}

#[tokio::test]
async fn a_kept_run_is_held_until_a_newer_one_is_closed() {
    let world = World::new();
    let (_broker, _custodian) = (world.serve_broker(), world.serve_custodian());
    let mut ccas = AtBroker::party(&world, "ccas").await;
    for (run, first) in [("un", 100), ("deux", 500)] {
        open(&mut ccas, opening(&world, terms(run, &BOTH).kept(true))).await;
        take_part(&world, run, [&[(first, 1), (first + 1, 2)], &[(first + 10, 1)]], [&[], &[]], [&[], &[]]).await;
        assert!(state(&mut ccas, run, RunState::Closed).await.held);
    }
    until("the older one is deleted", || async { (held_files(&world, "un") == 0).then_some(()) }).await;
    assert!(!ccas.run("un").await.held && ccas.run("deux").await.held);
    assert!(held_files(&world, "deux") > 0);
}

#[tokio::test]
async fn an_increment_that_fits_no_base_is_refused_or_fails() {
    let world = World::new();
    let (_broker, _custodian) = (world.serve_broker(), world.serve_custodian());
    let mut ccas = AtBroker::party(&world, "ccas").await;
    open(&mut ccas, opening(&world, terms("base", &BOTH).kept(true))).await;
    take_part(&world, "base", [&[(101, 1), (102, 2)], &[(201, 1)]], [&[], &[]], [&[], &[]]).await;
    state(&mut ccas, "base", RunState::Closed).await;
    open(&mut ccas, opening(&world, terms("simple", &BOTH))).await;
    open(&mut ccas, opening(&world, since("base", "plus"))).await;

    let right = opening(&world, since("base", "autre"));
    for (request, code, says) in [
        (opening(&world, since("plus", "autre")), Code::InvalidArgument, "--keep"),
        (opening(&world, since("simple", "autre")), Code::InvalidArgument, "--keep"),
        (opening(&world, since("base", "autre").kept(true)), Code::InvalidArgument, "ne peut servir de base"),
        (
            opening(&world, terms("autre", &["ccas", "caf"]).adding_to(Some("base".parse().unwrap()))),
            Code::FailedPrecondition,
            "les partenaires",
        ),
        // The signature covers all of it.
        (v1::OpenRunRequest { base_run: String::new(), ..right.clone() }, Code::PermissionDenied, "signature"),
        (v1::OpenRunRequest { base_run: "simple".to_owned(), ..right.clone() }, Code::PermissionDenied, "signature"),
        (v1::OpenRunRequest { keep: true, ..opening(&world, terms("autre", &BOTH)) }, Code::PermissionDenied, "signature"),
        (v1::OpenRunRequest { base_run: "../x".to_owned(), ..right.clone() }, Code::InvalidArgument, "run identifier"),
        // One identifier, one order.
        (opening(&world, terms("base", &BOTH)), Code::FailedPrecondition, "déjà servi"),
        (opening(&world, terms("plus", &BOTH)), Code::FailedPrecondition, "déjà servi"),
    ] {
        refused(ccas.runs.open_run(request).await, code, says);
    }

    // Handles taken out of a run that is no increment, and cut ones.
    let with = |run: &str, removed: Vec<u8>| v1::CommitUploadRequest { removed: removed.into(), ..ccas.manifest(run, &[]) };
    for (request, code) in [
        (with("simple", handle(101).0.to_vec()), Code::InvalidArgument),
        (with("plus", vec![0; 15]), Code::InvalidArgument),
        (with("plus", vec![0; (1 << 20) + 16]), Code::OutOfRange),
    ] {
        let says = if code == Code::OutOfRange { "1 Mio" } else { "fiches retirées" };
        refused(ccas.clone().commit(request).await, code, says);
    }

    // Another party's record, one that is nobody's, the same twice; a new record under a handle that is held.
    type Case<'c> = (&'c str, [&'c [(u64, u64)]; 2], [&'c [u64]; 2], &'c str);
    let cases: [Case<'_>; 4] = [
        ("vol", [&[], &[]], [&[201], &[]], "retire des fiches"),
        ("personne", [&[], &[]], [&[999], &[]], "retire des fiches"),
        ("deux-fois", [&[], &[]], [&[101, 101], &[]], "retire des fiches"),
        ("double", [&[(102, 7)], &[]], [&[], &[]], "deux fois"),
    ];
    for (run, sent, removed, says) in cases {
        open(&mut ccas, opening(&world, since("base", run))).await;
        let held: [&[(u64, u64)]; 2] = if run == "double" { [&[], &[]] } else { [&[(102, 2)], &[(201, 1)]] };
        take_part(&world, run, sent, removed, held).await;
        let failed = state(&mut ccas, run, RunState::Failed).await;
        assert!(failed.reason.contains(says), "{run}: {}", failed.reason);
    }
    assert!(ccas.run("base").await.held, "an increment that fails leaves its base as it was");
}

const MONTHS: [&str; 2] = ["2024-01", "2024-02"];

/// The analyst's rows without the run's name.
fn rows(federation: &Federation, run: &str) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> =
        federation.link_table(run).into_iter().map(|row| row.into_iter().filter(|cell| cell != run).collect()).collect();
    rows.sort();
    rows
}

/// The records of each person, from `links.csv`.
fn persons(links: &str) -> BTreeSet<BTreeSet<String>> {
    let mut persons: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for line in links.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        persons.entry(cells[0]).or_default().insert(format!("{}/{}", cells[1], cells[2]));
    }
    persons.into_values().collect()
}

fn uploaded(federation: &Federation, run: &str) -> u64 {
    let started = format!("upload committed run={run} ");
    let log: String = federation.nodes().iter().map(|node| federation.log_text(node)).collect();
    let count = |line: &str| line.split("uploaded=").nth(1)?.split(' ').next()?.parse::<u64>().ok();
    log.lines().filter(|line| line.contains(&started)).filter_map(count).sum()
}

#[test]
fn base_and_increment_give_what_a_full_run_gives_whoever_is_killed() {
    let mut federation = Federation::set_up(600, 2, 34_007);
    federation.start_all();
    federation.deliver(MONTHS[0]);
    federation.wait_ingested(MONTHS[0]);
    federation.open_run_with("base", MONTHS[0], &["--keep"]);
    federation.wait_closed("base");
    wait_for("the base is held", || federation.run_status("base").filter(|s| s["held"] == true).map(drop));

    federation.deliver(MONTHS[1]);
    federation.wait_ingested(MONTHS[1]);
    federation.open_run_with("plus", MONTHS[1], &["--since", "base"]);
    federation.wait_closed("plus");
    federation.open_run("tout", MONTHS[1]);
    federation.wait_closed("tout");

    let (plus, full) = (federation.links("plus", MONTHS[1]), federation.links("tout", MONTHS[1]));
    federation.assert_once("plus", &plus);
    assert_eq!(plus.lines().count(), full.lines().count());
    let (of_plus, of_full) = (persons(&plus), persons(&full));
    // Weights are the base's: pairs at the very edge of the decision may fall on its other side.
    let differing = of_full.symmetric_difference(&of_plus).count();
    println!(
        "{} persons, {differing} groups differ; uploaded {} instead of {}",
        of_full.len(),
        uploaded(&federation, "plus"),
        uploaded(&federation, "tout")
    );
    assert!(differing * 100 <= of_full.len(), "{differing} groups of {} differ", of_full.len());
    assert!(uploaded(&federation, "plus") * 2 < uploaded(&federation, "tout"));
    let report: Value = serde_json::from_slice(&std::fs::read(federation.tables("plus").join("report.json")).unwrap()).unwrap();
    assert!(report["increment"]["new_records"].as_u64().unwrap() > 0);
    assert!(report["increment"]["removed_records"].as_u64().unwrap() > 0, "some identities were corrected between the months");

    // The broker killed at every step of another increment of the same base: the same table.
    federation.open_run_with("encore", MONTHS[1], &["--since", "base"]);
    for step in ["settle", "cluster", "deliver"] {
        let mark = format!("step started run=encore step=\"{step}\"");
        wait_for(step, || federation.log_text(&Role::Broker).contains(&mark).then_some(()));
        federation.kill(&Role::Broker);
        federation.start(&Role::Broker);
    }
    federation.wait_closed("encore");
    assert_eq!(rows(&federation, "encore"), rows(&federation, "plus"));

    // What is held is deleted on the coordinator's word, at the nodes too.
    let config = federation.coordinator();
    let config = config.to_str().unwrap();
    assert!(linkage(["run", "cancel", "--run", "base", "--config", config]).status.success());
    let broker = federation.setting(&Role::Broker, "data_dir");
    let left = |folder: &str| files(&Path::new(&broker).join(folder)).len();
    wait_for("the deletion", || (left("uploads") + left("outputs") + left("held") == 0).then_some(()));
    let sent = |node: &Role| files(&Path::new(&federation.setting(node, "state_dir")).join("sent")).len();
    wait_for("the nodes forget", || federation.nodes().iter().all(|node| sent(node) == 0).then_some(()));
    let output = linkage(["run", "open", "--run", "tard", "--period", MONTHS[1], "--since", "base", "--config", config]);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("détenu"));
    federation.stop_all();
}
