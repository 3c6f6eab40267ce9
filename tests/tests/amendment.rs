//! Runs of before an amendment: read as they were sealed, by those they were sealed to.
//!
//! The amendment orders parties, analysts and attributes otherwise, and its hash is another: a node sealed under the one before.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::Path;

use linkage_agreement::RoleId;
use linkage_agreement::model::AnalystRight;
use linkage_analyst::tables::Tables;
use linkage_analyst::{fetch_once, rebuild};
use linkage_tests::fixture::{ATTRIBUTES, World, analyst, refused, run, until};
use linkage_tests::wire::{AtCustodian, AttributeKeys, cluster, handle, reference};
use tonic::Code;

const BOTH: [&str; 2] = ["ccas", "siao"];

/// A run of a record of each party, one person.
async fn closed(world: &World, name: &str, shift: u64, values: &[&str]) {
    for (number, who) in (0..).zip(BOTH) {
        let mut node = AtCustodian::party(world, who).await;
        let keys = AttributeKeys::draw(world);
        let entries = keys.entry(handle(shift + number), reference(number), values);
        let batch = node.batch(name, 0, &entries);
        node.put(vec![batch]).await.unwrap();
        let manifest = node.manifest(name, who, &keys, &entries, 1);
        assert!(node.commit(manifest).await.unwrap().committed);
    }
    let mut broker = AtCustodian::of(world, &RoleId::Broker).await;
    let batch = broker.clusters(name, &BOTH, &cluster(&[handle(shift), handle(shift + 1)]));
    broker.put_clusters(vec![batch]).await.unwrap();
    let study = AtCustodian::of(world, &analyst("etude")).await;
    until("the link table", || async { study.clone().tables().await.into_iter().find(|table| table.run_id == name) }).await;
}

/// Names of a run's attributes, and each one's value in every row.
fn attributes(world: &World, who: &str, name: &str) -> Vec<(String, Vec<String>)> {
    let table = Tables::open(&world.path(who)).unwrap().read(&run(name)).unwrap().unwrap();
    let column = |at: usize| (0..table.rows.len()).map(|row| table.rows.attributes[at].get(row).unwrap().to_owned()).collect();
    table.facts.attributes.iter().enumerate().map(|(at, name)| (name.clone(), column(at))).collect()
}

fn lose(folder: &Path) {
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn analysts_fetch_runs_of_before_again_and_open_what_was_sealed_to_them() {
    let mut world = World::new();
    let served = world.serve_custodian();
    closed(&world, "r1", 1_000, &["personne seule", "2"]).await;
    // A run that is under way: one party has sent its records.
    AtCustodian::party(&world, "ccas").await.upload("r2", "ccas", &[(500, 0)]).await;
    for who in ["etude", "audit"] {
        assert_eq!(fetch_once(&world.analyst_config(who)).await.unwrap(), [run("r1")]);
    }
    served.stop().await;

    world.amend(|agreement| {
        agreement.party.reverse();
        agreement.analyst.reverse();
        agreement.attribute.reverse();
        agreement.analyst.iter_mut().filter(|a| a.id.as_str() == "audit").for_each(|a| a.may = vec![AnalystRight::Cohorts]);
    });
    let _served = world.serve_custodian();
    let mut siao = AtCustodian::party(&world, "siao").await;
    let late = siao.batch("r2", 0, &AttributeKeys::draw(&world).entry(handle(501), reference(1), &["0", "personne seule"]));
    refused(siao.put(vec![late]).await, Code::FailedPrecondition, "sous une autre convention");
    closed(&world, "r3", 3_000, &["5", "personne seule"]).await;

    let (study, audit) = (world.analyst_config("etude"), world.analyst_config("audit"));
    // One has lost all that it had; the other holds no rows any more and makes its study again.
    lose(&study.data_dir);
    assert_eq!(fetch_once(&study).await.unwrap(), [run("r1"), run("r3")]);
    let of = |name: &str, values: [&str; 2]| {
        let both = |value: &str| vec![value.to_owned(); 2];
        let names = if name == "r1" { ATTRIBUTES } else { [ATTRIBUTES[1], ATTRIBUTES[0]] };
        names.map(str::to_owned).into_iter().zip(values.map(both)).collect::<Vec<_>>()
    };
    assert_eq!(attributes(&world, "etude", "r1"), of("r1", ["personne seule", "2"]));
    assert_eq!(attributes(&world, "etude", "r3"), of("r3", ["5", "personne seule"]));
    lose(&audit.data_dir);
    assert_eq!(fetch_once(&audit).await.unwrap(), [run("r1"), run("r3")]);
    assert_eq!(rebuild(&audit).await.unwrap(), [run("r1"), run("r3")]);
}

#[tokio::test]
async fn an_analyst_is_not_told_of_runs_that_were_not_sealed_to_it() {
    let mut later = None;
    let mut world = World::altered(|agreement| later = agreement.analyst.pop());
    let served = world.serve_custodian();
    closed(&world, "r1", 1_000, &["personne seule", "2"]).await;
    served.stop().await;

    // In first place: whoever counted places would hand over what is another's.
    world.amend(|agreement| agreement.analyst.insert(0, later.take().unwrap()));
    let _served = world.serve_custodian();
    let mut audit = AtCustodian::of(&world, &analyst("audit")).await;
    assert_eq!(audit.tables().await, []);
    refused(audit.table("r1").await, Code::NotFound, "avant l'entrée de ce destinataire");
    closed(&world, "r2", 2_000, &["personne seule", "0"]).await;
    assert_eq!(fetch_once(&world.analyst_config("audit")).await.unwrap(), [run("r2")]);
    assert_eq!(fetch_once(&world.analyst_config("etude")).await.unwrap(), [run("r1"), run("r2")]);
    assert_eq!(attributes(&world, "etude", "r1")[1].1, ["2", "2"]);
}
