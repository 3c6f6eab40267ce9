//! Pairs that their owners have settled: what the custodian takes from whom, and what becomes of them from run to run.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use linkage_agreement::RoleId;
use linkage_proto::v1::{self, DispositionState, DispositionVerdict};
use linkage_tests::federation::{Federation, Role, files, linkage, linkage_ok};
use linkage_tests::fixture::{World, analyst, refused};
use linkage_tests::wire::{AtCustodian, handle, reference};
use serde_json::Value;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tonic::Code;

const CONFIRMED: DispositionVerdict = DispositionVerdict::Confirmed;
const REFUTED: DispositionVerdict = DispositionVerdict::Refuted;

fn packed(a: u64, b: u64, verdict: u8) -> Vec<u8> {
    let (a, b) = (handle(a).min(handle(b)), handle(a).max(handle(b)));
    [&a.0[..], &b.0, &[verdict]].concat()
}

#[tokio::test]
async fn the_broker_is_told_of_a_run_what_both_owners_say() {
    let world = World::new();
    let _served = world.serve_custodian();
    let mut broker = AtCustodian::of(&world, &RoleId::Broker).await;
    let mut ccas = AtCustodian::party(&world, "ccas").await;
    let mut siao = AtCustodian::party(&world, "siao").await;
    let both = ["ccas", "siao"];
    refused(broker.settled("r", &both).await, Code::Unavailable, "pas encore clos");
    ccas.upload("r", "ccas", &[(100, 1), (101, 2)]).await;
    refused(broker.settled("r", &both).await, Code::Unavailable, "pas encore clos");
    siao.upload("r", "siao", &[(110, 1)]).await;
    assert_eq!(broker.settled("r", &both).await.unwrap(), Vec::<u8>::new());

    let waiting = [DispositionState::Waiting];
    assert_eq!(ccas.settle(vec![ccas.half(1, "siao", 1, REFUTED)]).await.unwrap(), waiting);
    assert_eq!(broker.settled("r", &both).await.unwrap(), Vec::<u8>::new());
    let contrary = vec![siao.half(1, "ccas", 1, CONFIRMED)];
    assert_eq!(siao.settle(contrary).await.unwrap(), [DispositionState::Contradicted]);
    assert_eq!(broker.settled("r", &both).await.unwrap(), Vec::<u8>::new());
    for _ in 0..2 {
        let half = vec![siao.half(1, "ccas", 1, REFUTED)];
        assert_eq!(siao.settle(half).await.unwrap(), [DispositionState::InForce]);
        assert_eq!(broker.settled("r", &both).await.unwrap(), packed(100, 110, 2));
    }
    let mut own = ccas.half(2, "ccas", 1, CONFIRMED);
    own.references.push(reference(2).0.to_vec().into());
    assert_eq!(ccas.settle(vec![own]).await.unwrap(), [DispositionState::InForce]);
    let mut all: Vec<Vec<u8>> = vec![packed(100, 110, 2), packed(100, 101, 1)];
    all.sort();
    assert_eq!(broker.settled("r", &both).await.unwrap(), all.concat());
    let count = v1::CountDispositionsRequest { agreement: world.reference() };
    let counts = ccas.dispositions.count_dispositions(count.clone()).await.unwrap().into_inner();
    assert_eq!(counts, v1::DispositionCounts { waiting: 0, in_force: 2, contradicted: 0 });

    // Either takes its own half back; nobody another's.
    let mut caf = AtCustodian::party(&world, "caf").await;
    let withdraw = |dossiers: &[u8]| v1::WithdrawDispositionsRequest {
        agreement: world.reference(),
        dossiers: dossiers.iter().map(|d| vec![*d; 32].into()).collect(),
    };
    for (peer, withdrawn) in [(&mut caf, 0), (&mut siao, 1)] {
        for withdrawn in [withdrawn, 0] {
            let answer = peer.dispositions.withdraw_dispositions(withdraw(&[1, 9])).await.unwrap();
            assert_eq!(answer.into_inner().withdrawn, withdrawn);
        }
    }
    assert_eq!(broker.settled("r", &both).await.unwrap(), packed(100, 101, 1));
    let counts = ccas.dispositions.count_dispositions(count).await.unwrap().into_inner();
    assert_eq!(counts, v1::DispositionCounts { waiting: 1, in_force: 1, contradicted: 0 });
    // Of a run that is over nothing is told.
    let close = v1::CloseRunRequest { agreement: world.reference(), run_id: "r".to_owned() };
    broker.registry.close_run(close).await.unwrap();
    refused(broker.settled("r", &both).await, Code::FailedPrecondition, "clos ou annulé");
}

#[tokio::test]
async fn what_is_malformed_or_not_the_agreements_is_refused_whole() {
    let world = World::new();
    let _served = world.serve_custodian();
    let mut ccas = AtCustodian::party(&world, "ccas").await;
    let good = ccas.half(1, "siao", 1, REFUTED);
    let with = |change: &dyn Fn(&mut v1::Disposition)| {
        let mut half = good.clone();
        change(&mut half);
        half
    };
    let two = |half: &mut v1::Disposition| half.references.push(reference(2).0.to_vec().into());
    for (half, code, says) in [
        (with(&|d| d.partner = "departement".into()), Code::PermissionDenied, "pas dans la convention"),
        (with(&|d| d.partner = "SIAO".into()), Code::InvalidArgument, "party identifier"),
        (with(&|d| d.dossier = vec![1; 31].into()), Code::InvalidArgument, "32 octets"),
        (with(&|d| d.references.clear()), Code::InvalidArgument, "une fiche de l'appelant"),
        (with(&|d| d.references = vec![vec![1; 15].into()]), Code::InvalidArgument, "une fiche de l'appelant"),
        (with(&two), Code::InvalidArgument, "une fiche de l'appelant"),
        (with(&|d| d.partner = "ccas".into()), Code::InvalidArgument, "une fiche de l'appelant"),
        (
            with(&|d| {
                d.partner = "ccas".into();
                d.references.push(d.references[0].clone());
            }),
            Code::InvalidArgument,
            "une fiche de l'appelant",
        ),
        (with(&|d| d.verdict = 0), Code::InvalidArgument, "confirme ou réfute"),
        (with(&|d| d.verdict = 3), Code::InvalidArgument, "confirme ou réfute"),
        (with(&|d| d.expiry = "31/12/2098".into()), Code::InvalidArgument, "AAAA-MM-JJ"),
        (with(&|d| d.expiry = "20981231".into()), Code::InvalidArgument, "AAAA-MM-JJ"),
        (with(&|d| d.expiry = "2020-01-01".into()), Code::InvalidArgument, "fin de la convention"),
        (with(&|d| d.expiry = "2100-01-01".into()), Code::InvalidArgument, "fin de la convention"),
    ] {
        let answer = ccas.settle(vec![ccas.half(7, "siao", 1, REFUTED), half]).await;
        refused(answer, code, says);
    }
    refused(ccas.settle(vec![good.clone(); 2_001]).await, Code::OutOfRange, "2000 décisions");
    let count = v1::CountDispositionsRequest { agreement: world.reference() };
    let counts = ccas.dispositions.count_dispositions(count.clone()).await.unwrap().into_inner();
    assert_eq!(counts, v1::DispositionCounts::default(), "nothing of a refused request is held");

    // Owners put in, the broker asks; nobody does the other's.
    for role in [RoleId::Broker, analyst("etude")] {
        let mut peer = AtCustodian::of(&world, &role).await;
        refused(peer.settle(vec![good.clone()]).await, Code::PermissionDenied, "");
        refused(peer.dispositions.count_dispositions(count.clone()).await, Code::PermissionDenied, "");
        let withdraw = v1::WithdrawDispositionsRequest { agreement: world.reference(), dossiers: vec![] };
        refused(peer.dispositions.withdraw_dispositions(withdraw).await, Code::PermissionDenied, "");
    }
    refused(ccas.settled("r", &["ccas"]).await, Code::PermissionDenied, "n'a pas accès");
    let mut study = AtCustodian::of(&world, &analyst("etude")).await;
    refused(study.settled("r", &["ccas"]).await, Code::PermissionDenied, "n'a pas accès");
    let stranger = v1::PutDispositionsRequest { agreement: None, dispositions: vec![] };
    refused(ccas.dispositions.put_dispositions(stranger).await, Code::PermissionDenied, "autre convention");
}

const MONTH: &str = "2024-01";
/// A record: party and local id.
type Record = (String, String);

/// The records of every person of a run.
fn persons(links: &str) -> BTreeMap<String, BTreeSet<Record>> {
    let mut persons: BTreeMap<String, BTreeSet<Record>> = BTreeMap::new();
    for line in links.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        persons.entry(cells[0].to_owned()).or_default().insert((cells[1].to_owned(), cells[2].to_owned()));
    }
    persons
}

fn together(links: &str, pair: &[Record; 2]) -> bool {
    persons(links).values().any(|records| pair.iter().all(|record| records.contains(record)))
}

/// Has both owners put a pair in under one code, each on its own machine; facts of the second.
fn put_in(federation: &Federation, pair: &[Record; 2], code: &str, verdict: &str) -> Value {
    let mut facts = Value::Null;
    for ((party, local_id), (partner, _)) in pair.iter().zip(pair.iter().rev()) {
        let file: PathBuf = federation.folder.join(format!("{party}-decisions.csv"));
        let text = format!(
            "identifiant_local;partenaire;dossier;verdict;echeance\n{local_id};{partner};{code};{verdict};{}\ninconnu;{partner};{code};{verdict};2020-01-01\n",
            last_day(federation)
        );
        fs::write(&file, text).unwrap();
        let config = federation.config(&Role::Node(party.clone()));
        let command = ["node", "dispositions", "--json", "--config", config.to_str().unwrap(), "--input", file.to_str().unwrap()];
        facts = serde_json::from_str(&linkage_ok(command)).unwrap();
        assert_eq!((&facts["lines"], &facts["taken"], &facts["set_aside"]), (&2.into(), &1.into(), &1.into()), "{facts}");
        let report = fs::read_to_string(
            PathBuf::from(federation.setting(&Role::Node(party.clone()), "state_dir")).join("reports/decisions.csv"),
        )
        .unwrap();
        assert!(report.contains("3;\"échéance passée") || report.contains("3;échéance passée"), "{report}");
        assert!(!report.contains(local_id) && !report.contains(code), "{report}");
    }
    facts
}

fn last_day(federation: &Federation) -> String {
    let text = fs::read_to_string(federation.folder.join("convention.toml")).unwrap();
    text.lines().find_map(|l| l.strip_prefix("end = ")).unwrap().trim_matches('"').to_owned()
}

fn run(federation: &mut Federation, name: &str) -> (String, Value) {
    federation.open_run(name, MONTH);
    federation.wait_closed(name);
    let report = fs::read_to_string(federation.tables(name).join("report.json")).unwrap();
    (federation.links(name, MONTH), serde_json::from_str::<Value>(&report).unwrap()["dispositions"].clone())
}

#[test]
fn settled_pairs_hold_through_later_runs_until_they_expire_or_are_withdrawn() {
    let mut federation = Federation::set_up(600, 1, 47);
    federation.start_all();
    federation.deliver(MONTH);
    let (first, applied) = run(&mut federation, "un");
    assert_eq!(applied, serde_json::json!({ "confirmed": 0, "refuted": 0, "refused": 0 }));
    let found = persons(&first);
    let pair = |records: Vec<&Record>| -> [Record; 2] { [records[0].clone(), records[1].clone()] };
    let linked = pair(found.values().find(|records| records.len() == 2).unwrap().iter().collect());
    // Two persons of two parties whom no weight would join: their owners say that they are one.
    let alone: Vec<&Record> = found.values().filter(|records| records.len() == 1).flatten().collect();
    let apart = pair(vec![alone[0], alone.iter().find(|(party, _)| *party != alone[0].0).unwrap()]);

    let facts = put_in(&federation, &linked, "K7F2-9QX3", "refute");
    assert_eq!((&facts["in_force"], &facts["waiting"]), (&1.into(), &0.into()));
    put_in(&federation, &apart, "M4T8-2WD6", "confirme");
    // A half alone, of which the partner knows nothing.
    let half = [linked[0].clone(), apart.iter().find(|(party, _)| *party != linked[0].0).unwrap().clone()];
    let lonely = federation.folder.join("seule.csv");
    fs::write(
        &lonely,
        format!(
            "identifiant_local;partenaire;dossier;verdict;echeance\n{};{};Z9Z9-1111;confirme;{}\n",
            half[0].1,
            half[1].0,
            last_day(&federation)
        ),
    )
    .unwrap();
    let config = federation.config(&Role::Node(half[0].0.clone()));
    let facts =
        linkage_ok(["node", "dispositions", "--json", "--config", config.to_str().unwrap(), "--input", lonely.to_str().unwrap()]);
    assert_eq!(serde_json::from_str::<Value>(&facts).unwrap()["waiting"], 1);

    for name in ["deux", "trois"] {
        let (links, applied) = run(&mut federation, name);
        assert!(!together(&links, &linked), "{name}");
        assert!(together(&links, &apart), "{name}");
        assert_eq!(applied, serde_json::json!({ "confirmed": 1, "refuted": 1, "refused": 0 }));
        // Nobody else's persons have changed.
        let others = |links: &str| -> BTreeSet<BTreeSet<Record>> {
            let of = persons(links).into_values();
            of.filter(|records| !linked.iter().chain(&apart).any(|r| records.contains(r))).collect()
        };
        assert_eq!(others(&links), others(&first), "{name}");
    }

    // No role, and no file that a node keeps, holds a code; the custodian and the broker no local identifier either.
    let homes = [Role::Broker, Role::Custodian, Role::Analyst].map(|role| federation.home(&role));
    let states = federation.nodes().into_iter().map(|node| PathBuf::from(federation.setting(&node, "state_dir")));
    for (folder, of_node) in homes.into_iter().map(|h| (h, false)).chain(states.map(|s| (s, true))) {
        for (name, path) in files(&folder) {
            let Ok(bytes) = fs::read(path) else { continue };
            let holds = |text: &str| bytes.windows(text.len()).any(|w| w.eq_ignore_ascii_case(text.as_bytes()));
            assert!(!["K7F29QX3", "K7F2-9QX3", "M4T82WD6", "M4T8-2WD6"].iter().any(|code| holds(code)), "{name}");
            let ids = linked.iter().chain(&apart).map(|(_, id)| id).filter(|id| !of_node && id.len() >= 6);
            assert_eq!(ids.filter(|id| holds(id)).count(), 0, "{name}");
        }
    }

    // The refuted pair expires (in the custodian's own file, since its clock cannot be moved); the confirmed one is
    // taken back by one of its owners.
    let database = PathBuf::from(federation.setting(&Role::Custodian, "data_dir")).join("custodian.sqlite");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = SqliteConnectOptions::new().filename(database).connect().await.unwrap();
        let expire = "UPDATE dispositions SET expiry = '2024-01-31' WHERE verdict = 2";
        assert_eq!(sqlx::query(expire).execute(&mut connection).await.unwrap().rows_affected(), 2);
    });
    let config = federation.config(&Role::Node(apart[1].0.clone()));
    let withdraw =
        |code: &str| linkage(["node", "dispositions", "--json", "--config", config.to_str().unwrap(), "--withdraw", code]);
    let answer: Value = serde_json::from_slice(&withdraw("m4t8 2wd6").stdout).unwrap();
    assert_eq!(answer["withdrawn"], 1);
    assert!(!withdraw("MARTIN").status.success(), "a name is no code");
    let (last, applied) = run(&mut federation, "quatre");
    assert_eq!(applied, serde_json::json!({ "confirmed": 0, "refuted": 0, "refused": 0 }));
    assert_eq!(persons(&last).into_values().collect::<BTreeSet<_>>(), found.into_values().collect());
    let config = federation.config(&Role::Node(apart[0].0.clone()));
    let list: Value =
        serde_json::from_str(&linkage_ok(["node", "dispositions", "--json", "--config", config.to_str().unwrap(), "--list"]))
            .unwrap();
    assert_eq!(list["in_force"], 0, "{list}");
    federation.stop_all();
}
