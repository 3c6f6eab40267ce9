//! Link tables over changing clusters, and tables that were tampered with: what the analyst's side makes of them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use linkage_agreement::{Pseudonym, RoleId};
use linkage_analyst::fetch_once;
use linkage_analyst::tables::Tables;
use linkage_cohort::LinkRow;
use linkage_crypto::oprf::{Mode, ServerKey};
use linkage_proto::v1::{self, cohorts_client::CohortsClient};
use linkage_tests::fakes::{Fake, FakeCustodian};
use linkage_tests::fixture::{PERIOD, World, analyst, proper, refused, run, until};
use linkage_tests::wire::{AtCustodian, AttributeKeys, cluster, handle, reference};
use tonic::Code;

const BOTH: [&str; 2] = ["ccas", "siao"];

/// A run of three records of each party (`ccas` 1 to 3, `siao` 11 to 13), linked as `clusters` of reference numbers say.
async fn linked(world: &World, name: &str, shift: u64, clusters: &[&[u64]]) {
    for (who, numbers) in [("ccas", [1, 2, 3]), ("siao", [11, 12, 13])] {
        let mut node = AtCustodian::party(world, who).await;
        node.upload(name, who, &numbers.map(|n| (shift + n, n))).await;
    }
    let mut broker = AtCustodian::of(world, &RoleId::Broker).await;
    let packed: Vec<u8> =
        clusters.iter().flat_map(|c| cluster(&c.iter().map(|n| handle(shift + n)).collect::<Vec<_>>())).collect();
    let batch = broker.clusters(name, &BOTH, &packed);
    broker.put_clusters(vec![batch]).await.unwrap();
    let study = AtCustodian::of(world, &analyst("etude")).await;
    until("the link table", || async {
        let mut study = study.clone();
        study.tables().await.into_iter().find(|t| t.run_id == name)
    })
    .await;
}

fn tables(world: &World, who: &str) -> Tables {
    Tables::open(&world.path(who)).unwrap()
}

/// The person of every record, by record pseudonym.
fn persons(rows: &[LinkRow]) -> BTreeMap<Pseudonym, Pseudonym> {
    rows.iter().map(|row| (row.record, row.person)).collect()
}

/// A run's supersessions: old, new, change.
fn supersessions(tables: &Tables, name: &str) -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(tables.run_folder(&run(name)).join("supersessions.csv")).unwrap();
    text.lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            (cells[0].to_owned(), cells[1].to_owned(), cells[2].to_owned())
        })
        .collect()
}

#[tokio::test]
async fn pseudonyms_are_stable_and_merges_and_splits_are_listed() {
    let world = World::new();
    let _served = world.serve_custodian();
    linked(&world, "r1", 1_000, &[&[1, 11], &[2, 12]]).await;
    linked(&world, "r2", 2_000, &[&[12, 2], &[11, 1]]).await;
    linked(&world, "r3", 3_000, &[&[1, 11, 2, 12]]).await;
    linked(&world, "r4", 4_000, &[&[1, 11, 2]]).await;
    let config = world.analyst_config("etude");
    assert_eq!(fetch_once(&config).await.unwrap(), [run("r1"), run("r2"), run("r3"), run("r4")]);
    assert_eq!(fetch_once(&config).await.unwrap(), []);
    let store = tables(&world, "etude");
    let by_run: Vec<_> = ["r1", "r2", "r3", "r4"].map(|r| persons(&store.links(&run(r)).unwrap())).into();
    let records: Vec<Vec<_>> = by_run.iter().map(|p| p.keys().copied().collect()).collect();
    assert_eq!(records[0].len(), 6);
    assert!(records.iter().all(|r| *r == records[0]), "a record keeps its pseudonym");
    let count = |p: &BTreeMap<Pseudonym, Pseudonym>| p.values().collect::<HashSet<_>>().len();
    assert_eq!(by_run.iter().map(count).collect::<Vec<_>>(), [4, 4, 3, 4]);
    assert_eq!(by_run[0], by_run[1], "the same clusters give the same persons");
    assert_eq!((supersessions(&store, "r1"), supersessions(&store, "r2")), (vec![], vec![]));

    // r3: of the two persons one survives, and every record of both is it.
    let merged = supersessions(&store, "r3");
    assert_eq!(merged.len(), 1);
    let (old, new, change) = &merged[0];
    assert_eq!(change, "merge");
    let before: HashSet<String> = by_run[1].values().map(Pseudonym::to_hex).collect();
    let after: HashSet<String> = by_run[2].values().map(Pseudonym::to_hex).collect();
    assert!(before.contains(old) && before.contains(new) && after.contains(new) && !after.contains(old));
    assert_eq!(by_run[2].values().filter(|p| p.to_hex() == *new).count(), 4);

    // r4: the larger part keeps the person, the other record is a new one.
    let split = supersessions(&store, "r4");
    assert_eq!(split.len(), 1);
    let (old, fresh, change) = &split[0];
    assert_eq!((change.as_str(), old), ("split", new));
    assert_eq!(by_run[3].values().filter(|p| p.to_hex() == *new).count(), 3);
    assert_eq!(by_run[3].values().filter(|p| p.to_hex() == *fresh).count(), 1);
    assert!(!before.contains(fresh) && !after.contains(fresh));
}

#[tokio::test]
async fn two_analysts_tables_have_no_pseudonym_in_common() {
    let world = World::new();
    let _served = world.serve_custodian();
    linked(&world, "r", 1_000, &[&[1, 11]]).await;
    for who in ["etude", "audit"] {
        assert_eq!(fetch_once(&world.analyst_config(who)).await.unwrap(), [run("r")]);
    }
    let all = |who| {
        let rows = tables(&world, who).links(&run("r")).unwrap();
        rows.iter().flat_map(|r| [r.person, r.record]).collect::<HashSet<_>>()
    };
    let (study, audit) = (all("etude"), all("audit"));
    assert_eq!((study.len(), audit.len()), (11, 11));
    assert!(study.is_disjoint(&audit));
    // Each is handed what is sealed to it; the other's keys do not open for it.
    let mut at = AtCustodian::of(&world, &analyst("etude")).await;
    let mut other = AtCustodian::of(&world, &analyst("audit")).await;
    let (mine, rows) = at.table("r").await.unwrap();
    let (theirs, their_rows) = other.table("r").await.unwrap();
    assert_ne!(mine.sealed_keys, theirs.sealed_keys);
    let sealed = |rows: &[v1::LinkRow]| rows.iter().map(|r| r.sealed_attributes.clone()).collect::<HashSet<_>>();
    assert!(sealed(&rows).is_disjoint(&sealed(&their_rows)));
}

/// A true link table as `etude` receives it, and the false custodian that hands it over unchanged.
async fn captured(world: &World) -> (FakeCustodian, Vec<v1::LinkTableChunk>) {
    let served = world.serve_custodian();
    linked(world, "r", 1_000, &[&[1, 11]]).await;
    let mut other = AtCustodian::of(world, &analyst("audit")).await;
    let (theirs, their_rows) = other.table("r").await.unwrap();
    let mut study = AtCustodian::of(world, &analyst("etude")).await;
    let tables = study.tables().await;
    let (first, rows) = study.table("r").await.unwrap();
    drop((study, other));
    served.stop().await;
    let key = Arc::new(ServerKey::derive(Mode::Voprf, &[7; 32], b"other").unwrap());
    let chunks = vec![v1::LinkTableChunk { rows, ..first }];
    (FakeCustodian { key, tables, chunks }, vec![v1::LinkTableChunk { rows: their_rows, ..theirs }])
}

#[tokio::test]
async fn a_table_that_was_tampered_with_is_refused_and_nothing_is_written() {
    let world = World::new();
    let (fake, others) = captured(&world).await;
    let config = world.analyst_config("etude");
    let custodian = world.custodian_config();
    let change = |change: &dyn Fn(&mut v1::LinkTableChunk)| {
        let mut chunks = fake.chunks.clone();
        change(&mut chunks[0]);
        chunks
    };
    let altered = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes.into()
    };
    let cases: Vec<(Vec<v1::LinkTableChunk>, &str)> = vec![
        (change(&|c| c.rows[2].person_point = vec![0xff; 32].into()), "point de pseudonyme"),
        (change(&|c| c.rows[2].person_point = vec![0; 32].into()), "point de pseudonyme"),
        (change(&|c| c.rows[2].record_point = vec![0; 32].into()), "point de pseudonyme"),
        (change(&|c| c.rows[2].record_point = vec![1; 31].into()), "convention"),
        (change(&|c| c.rows[2].sealed_attributes = altered(&c.rows[2].sealed_attributes, 40)), "altérée"),
        (change(&|c| c.rows[2].sealed_attributes = altered(&c.rows[2].sealed_attributes, 0)), "version inconnue"),
        (change(&|c| c.rows[2].sealed_attributes = vec![].into()), "tronquée"),
        (change(&|c| c.rows[2].party = "caf".to_owned()), "convention"),
        (change(&|c| c.rows[2].match_class = 9), "convention"),
        (change(&|c| drop(c.sealed_keys.remove("ccas"))), "convention"),
        (change(&|c| drop(c.sealed_keys.insert("ccas".into(), vec![1; 80].into()))), "scellé"),
        (change(&|c| drop(c.sealed_keys.insert("ccas".into(), vec![1; 20].into()))), "tronqué"),
        // Said to be of another agreement.
        (change(&|c| c.agreement_hash = vec![7; 32].into()), "scellé"),
        (change(&|c| c.agreement_hash = vec![7; 31].into()), "convention"),
        (
            change(&|c| {
                c.agreement_hash = vec![7; 32].into();
                c.attributes[1] = "../etc".to_owned();
            }),
            "convention",
        ),
        (
            change(&|c| {
                c.agreement_hash = vec![7; 32].into();
                c.attributes[1] = c.attributes[0].clone();
            }),
            "convention",
        ),
        // Another analyst's table.
        (others, "scellé"),
        // Cut short.
        (vec![], "incomplète"),
        (change(&|c| drop(c.rows.pop())), "incomplète"),
        (change(&|c| c.rows.clear()), "incomplète"),
        (
            vec![fake.chunks[0].clone(), v1::LinkTableChunk { rows: fake.chunks[0].rows.clone(), ..Default::default() }],
            "incomplète",
        ),
    ];
    for (chunks, says) in cases {
        let server = Fake::serve(custodian.listen, &custodian.tls, FakeCustodian { chunks, ..fake.clone() }.routes()).await;
        let error = fetch_once(&config).await.unwrap_err();
        proper(&error.message, says);
        assert_eq!(tables(&world, "etude").runs().unwrap(), [], "{says}");
        drop(server);
    }
    let mut wrong = fake.clone();
    wrong.tables[0].run_id = "../../etc".to_owned();
    let server = Fake::serve(custodian.listen, &custodian.tls, wrong.routes()).await;
    proper(&fetch_once(&config).await.unwrap_err().message, "identifiant valable");
    drop(server);
    // As it was, it is taken.
    let _server = Fake::serve(custodian.listen, &custodian.tls, fake.routes()).await;
    assert_eq!(fetch_once(&config).await.unwrap(), [run("r")]);
}

#[tokio::test]
async fn more_attributes_than_agreed_are_refused_and_hold_up_no_other_table() {
    let world = World::new();
    let _served = world.serve_custodian();
    for (name, values) in [("r1", &["personne seule", "0", "MARZOUKI"][..]), ("r2", &["personne seule"]), ("r3", &["a", "b"])] {
        let keys = AttributeKeys::draw(&world);
        let shift = u64::from(name.as_bytes()[1]) * 10;
        let entries = keys.entry(handle(shift), reference(1), values);
        let mut ccas = AtCustodian::party(&world, "ccas").await;
        let batch = ccas.batch(name, 0, &entries);
        ccas.put(vec![batch]).await.unwrap();
        let manifest = ccas.manifest(name, "ccas", &keys, &entries, 1);
        ccas.commit(manifest).await.unwrap();
        let mut siao = AtCustodian::party(&world, "siao").await;
        siao.upload(name, "siao", &[(shift + 1, 11)]).await;
        let mut broker = AtCustodian::of(&world, &RoleId::Broker).await;
        let batch = broker.clusters(name, &BOTH, &cluster(&[handle(shift), handle(shift + 1)]));
        broker.put_clusters(vec![batch]).await.unwrap();
    }
    let study = AtCustodian::of(&world, &analyst("etude")).await;
    until("the link tables", || async {
        let mut study = study.clone();
        (study.tables().await.len() == 3).then_some(())
    })
    .await;
    let error = fetch_once(&world.analyst_config("etude")).await.unwrap_err();
    proper(&error.message, "ne correspond pas à la convention");
    assert_eq!(tables(&world, "etude").runs().unwrap(), [run("r3")]);
}

#[tokio::test]
async fn figures_are_given_for_months_that_are_here_and_only_above_the_minimum() {
    let world = World::new();
    let _served = (world.serve_custodian(), world.serve_analyst("etude"));
    let mut cohorts = CohortsClient::new(world.connect(&analyst("etude"), &analyst("etude")).await);
    let request = |period: &str| {
        let text = format!(
            "title = \"Réunis\"\nmeasure = \"count\"\nbreakdown = [\"parties\"]\nperiods = {{ from = \"{period}\", to = \"{period}\" }}"
        );
        v1::QueryRequest { agreement: world.reference(), document: text.into_bytes().into() }
    };
    refused(cohorts.query(request(PERIOD)).await, Code::InvalidArgument, "aucun mois");
    refused(cohorts.query(request("2024")).await, Code::InvalidArgument, "mois illisible");
    linked(&world, "r", 1_000, &[&[1, 11]]).await;
    // Five persons, and nobody more than once in a cell: all that could be shown is below the minimum.
    until("the refusal", || async {
        let answer = cohorts.clone().query(request(PERIOD)).await;
        match answer {
            Err(status) if status.message().contains("aucun mois") => {
                // Sixty refusals are as many as an account has at once.
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                None
            }
            Err(status) => {
                proper(status.message(), "masquées");
                Some(())
            }
            Ok(answer) => {
                let table = answer.into_inner().table.unwrap();
                let figures = table.cells.iter().filter_map(|cell| match cell.kind.as_ref().unwrap() {
                    v1::table_cell::Kind::Figure(figure) => Some(figure.value),
                    _ => None,
                });
                assert!(figures.into_iter().all(|n| n == 0.0 || n >= 5.0), "{table:?}");
                Some(())
            }
        }
    })
    .await;
    refused(cohorts.query(request("2024-02")).await, Code::InvalidArgument, "2024-02");
}
