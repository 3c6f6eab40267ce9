//! Runs with a reference party: analysts receive the persons of whom it has a record, and nobody between them and the
//! coordinator can change that.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};

use linkage_agreement::{PartyId, RoleId};
use linkage_common::order::RunTerms;
use linkage_node::Node;
use linkage_proto::v1;
use linkage_tests::federation::{Federation, linkage};
use linkage_tests::fixture::{PERIOD, World, analyst, refused, until};
use linkage_tests::wire::{AtBroker, AtCustodian, AttributeKeys, cluster, entry, handle, reference};
use serde_json::Value;
use tonic::Code;

fn id(text: &str) -> PartyId {
    text.parse().unwrap()
}

fn terms(run: &str, reference: Option<&str>) -> RunTerms {
    RunTerms::new(run.parse().unwrap(), PERIOD.parse().unwrap(), vec![id("siao"), id("ccas")]).referring_to(reference.map(id))
}

/// Sends and commits a party's records of a run with a reference party; those of `departed` are not of the month.
async fn upload(world: &World, run: &str, party: &str, named: &str, records: &[(u64, u64)], departed: &[(u64, u64)]) {
    let mut node = AtCustodian::party(world, party).await;
    let keys = AttributeKeys::draw(world);
    let mut entries: Vec<u8> =
        records.iter().flat_map(|&(h, r)| keys.entry(handle(h), reference(r), &["personne seule", "0"])).collect();
    entries.extend(departed.iter().flat_map(|&(h, r)| entry(handle(h), reference(r), 0)));
    let batch = node.batch(run, 0, &entries);
    node.put(vec![batch]).await.unwrap();
    let manifest = node.manifest(run, party, &keys, &entries, (records.len() + departed.len()) as u64);
    let named = v1::CommitRecordsRequest { reference_party: named.to_owned(), ..manifest };
    assert!(node.commit(named.clone()).await.unwrap().committed);
    assert!(node.commit(named.clone()).await.unwrap().committed);
    let other = v1::CommitRecordsRequest { reference_party: String::new(), ..named.clone() };
    refused(node.commit(other).await, Code::FailedPrecondition, "déjà clos");
    let stranger = v1::CommitRecordsRequest { reference_party: "departement".to_owned(), ..named };
    refused(node.commit(stranger).await, Code::PermissionDenied, "pas dans la convention");
}

#[tokio::test]
async fn persons_without_a_record_of_the_reference_party_never_enter_the_table() {
    let world = World::new();
    let _served = world.serve_custodian();
    // siao refers: person A is in both lists, B is at siao alone, C at ccas alone, D was at siao once and is at ccas now.
    upload(&world, "r", "ccas", "siao", &[(100, 1), (102, 3), (103, 4)], &[]).await;
    upload(&world, "r", "siao", "siao", &[(110, 1), (111, 2)], &[(113, 4)]).await;
    let mut broker = AtCustodian::of(&world, &RoleId::Broker).await;
    let packed = [cluster(&[handle(100), handle(110)]), cluster(&[handle(103), handle(113)])].concat();
    let right = v1::ClusterBatch { reference_party: "siao".to_owned(), ..broker.clusters("r", &["ccas", "siao"], &packed) };
    broker.put_clusters(vec![right]).await.unwrap();
    let study = AtCustodian::of(&world, &analyst("etude")).await;
    let info = until("the link table", || async { study.clone().tables().await.into_iter().find(|t| t.run_id == "r") }).await;
    assert_eq!((info.rows, info.reference_party.as_str()), (4, "siao"));
    let (_, rows) = study.clone().table("r").await.unwrap();
    let mut persons: BTreeMap<Vec<u8>, Vec<&str>> = BTreeMap::new();
    for row in &rows {
        persons.entry(row.person_point.to_vec()).or_default().push(&row.party);
    }
    let mut groups: Vec<Vec<&str>> = persons.into_values().collect();
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups.sort();
    assert_eq!(groups, [vec!["ccas"], vec!["ccas", "siao"], vec!["siao"]], "D by ccas alone, A by both, B by siao alone");

    // The registry carries C all the same: a later run without reference party finds its four persons and mints none.
    upload_again(&world).await;
    let mut broker = AtCustodian::of(&world, &RoleId::Broker).await;
    let packed = [cluster(&[handle(200), handle(210)]), cluster(&[handle(203), handle(213)])].concat();
    let right = broker.clusters("r2", &["ccas", "siao"], &packed);
    broker.put_clusters(vec![right]).await.unwrap();
    let info = until("the second table", || async { study.clone().tables().await.into_iter().find(|t| t.run_id == "r2") }).await;
    assert_eq!((info.rows, info.reference_party.as_str()), (6, ""));
    let (first, all) = study.clone().table("r2").await.unwrap();
    assert!(first.supersessions.is_empty());
    let points = |rows: &[v1::LinkRow]| rows.iter().map(|r| r.person_point.to_vec()).collect::<BTreeSet<_>>();
    assert!(points(&rows).is_subset(&points(&all)) && points(&all).len() == 4);
}

async fn upload_again(world: &World) {
    for (party, records) in [("ccas", [(200, 1), (202, 3), (203, 4)]), ("siao", [(210, 1), (211, 2), (213, 4)])] {
        AtCustodian::party(world, party).await.upload("r2", party, &records).await;
    }
}

#[tokio::test]
async fn whoever_names_another_reference_party_than_the_rest_ends_the_run() {
    let world = World::new();
    let _served = world.serve_custodian();
    upload(&world, "r", "ccas", "siao", &[(100, 1)], &[]).await;
    upload(&world, "r", "siao", "siao", &[(110, 1)], &[]).await;
    let mut broker = AtCustodian::of(&world, &RoleId::Broker).await;
    let right = broker.clusters("r", &["ccas", "siao"], &cluster(&[handle(100), handle(110)]));
    let naming = |named: &str| v1::ClusterBatch { reference_party: named.to_owned(), ..right.clone() };
    for (named, code, says) in [
        ("", Code::FailedPrecondition, "même partenaire de référence"),
        ("ccas", Code::FailedPrecondition, "même partenaire de référence"),
        ("caf", Code::InvalidArgument, "ne prend pas part"),
        ("SIAO", Code::InvalidArgument, "party identifier"),
    ] {
        refused(broker.put_clusters(vec![naming(named)]).await, code, says);
    }
    let mut study = AtCustodian::of(&world, &analyst("etude")).await;
    assert_eq!(study.tables().await, []);
    // One party of the two says otherwise: nobody is believed.
    upload(&world, "r2", "ccas", "siao", &[(200, 1)], &[]).await;
    upload(&world, "r2", "siao", "ccas", &[(210, 1)], &[]).await;
    for named in ["", "ccas", "siao"] {
        let batch = v1::ClusterBatch { run_id: "r2".to_owned(), ..naming(named) };
        refused(broker.put_clusters(vec![batch]).await, Code::FailedPrecondition, "même partenaire de référence");
    }
    broker.put_clusters(vec![naming("siao")]).await.unwrap();
}

#[tokio::test]
async fn the_coordinators_signature_covers_the_reference_party() {
    let world = World::new();
    let _served = world.serve_broker();
    let mut ccas = AtBroker::party(&world, "ccas").await;
    let agreement = world.reference().unwrap();
    let right = world.ordered(terms("r", Some("siao"))).opening(agreement.clone());
    let naming = |named: &str| v1::OpenRunRequest { reference_party: named.to_owned(), ..right.clone() };
    let stranger = world.ordered(terms("r", Some("caf"))).opening(agreement.clone());
    for (request, code, says) in [
        (naming(""), Code::PermissionDenied, "signature"),
        (naming("ccas"), Code::PermissionDenied, "signature"),
        (naming("-"), Code::InvalidArgument, "party identifier"),
        (stranger, Code::InvalidArgument, "ne prend pas part"),
    ] {
        refused(ccas.runs.open_run(request).await, code, says);
    }
    for _ in 0..2 {
        let opened = ccas.runs.open_run(right.clone()).await.unwrap().into_inner();
        assert_eq!(opened.reference_party, "siao");
    }
    let without = world.ordered(terms("r", None)).opening(agreement);
    refused(ccas.runs.open_run(without).await, Code::FailedPrecondition, "déjà servi");

    // A broker that drops or changes the field finds no node that takes part.
    let node = Node::open(world.node_config("siao")).unwrap();
    let relayed = ccas.run("r").await;
    assert_eq!(node.gate.order(&relayed).unwrap().terms, terms("r", Some("siao")));
    for named in ["", "ccas"] {
        let other = v1::RunStatus { reference_party: named.to_owned(), ..relayed.clone() };
        let error = node.gate.order(&other).unwrap_err();
        assert!(error.message.contains("signature du coordonnateur"), "{error}");
    }
}

/// Party and record of each row, by person.
fn by_person(rows: &[Vec<String>]) -> BTreeMap<&str, Vec<(&str, &str)>> {
    let mut persons: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for row in rows {
        persons.entry(&row[0]).or_default().push((&row[1], &row[2]));
    }
    persons
}

#[test]
fn a_federation_gives_exactly_the_rows_of_persons_linked_to_the_reference_party() {
    let mut federation = Federation::set_up(400, 2, 34_005);
    let (months, reference) = (["2024-01", "2024-02"], federation.parties[1].clone());
    federation.start_all();
    for month in months {
        federation.deliver(month);
        federation.wait_ingested(month);
    }
    // The same month without and with the reference party: the pseudonyms are the analyst's own and stay the same.
    federation.open_run("tous", months[1]);
    federation.wait_closed("tous");
    federation.open_run_with("cohorte", months[1], &["--reference", &reference]);
    federation.wait_closed("cohorte");
    assert_eq!(federation.run_status("cohorte").unwrap()["reference_party"], reference);
    assert_eq!(federation.run_status("tous").unwrap()["reference_party"], Value::Null);

    let all = federation.link_table("tous");
    let shown = federation.link_table("cohorte");
    let (all, shown) = (by_person(&all), by_person(&shown));
    assert!(!shown.is_empty() && shown.len() < all.len());
    for (person, rows) in &shown {
        assert_eq!(rows, &all[person], "a person of the cohort has all rows");
    }
    // Every person that the reference party delivered this month is there; the others there are persons of its history.
    let of_reference = |rows: &[(&str, &str)]| rows.iter().any(|(party, _)| *party == reference);
    assert!(all.iter().filter(|(_, rows)| of_reference(rows)).all(|(person, _)| shown.contains_key(person)));
    let departed: Vec<_> = shown.iter().filter(|(_, rows)| !of_reference(rows)).collect();
    assert!(!departed.is_empty(), "some have left the list of {reference} between the two months and are at others");
    // They are in the reference party's list of the month before.
    federation.open_run("avant", months[0]);
    federation.wait_closed("avant");
    let before = federation.link_table("avant");
    let before = by_person(&before);
    for (person, _) in departed {
        assert!(before.get(person).is_some_and(|rows| of_reference(rows)), "not of the cohort");
    }
    let facts: Value = serde_json::from_slice(&std::fs::read(federation.tables("cohorte").join("run.json")).unwrap()).unwrap();
    assert_eq!(facts["reference_party"], reference);

    // Not of the run, hence refused before anything is asked.
    let config = federation.coordinator();
    let config = config.to_str().unwrap();
    let parties = ["--party", &federation.parties[0], "--party", &federation.parties[2], "--reference", &reference];
    let fixed = ["run", "open", "--run", "autre", "--period", months[1], "--config", config];
    let output = linkage(fixed.iter().chain(&parties));
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("ne prend pas part"));
    federation.stop_all();
}
