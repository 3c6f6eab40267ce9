//! Rights of persons: what a party may withdraw at custodian and broker, over the wire; and an objection, a restriction and
//! its lifting through a federation of real processes, killed in between.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use linkage_agreement::{RecordRef, RoleId};
use linkage_common::config::load_config;
use linkage_common::receipt::{Action, Receipt, RequestId, Signed};
use linkage_node::Node;
use linkage_proto::v1::{self, WithdrawalKind, rights_client::RightsClient, run_rights_client::RunRightsClient};
use linkage_tests::federation::{Federation, Role, binary, files, linkage_ok, wait_for};
use linkage_tests::fixture::{World, analyst, party, refused, until};
use linkage_tests::wire::{AtBroker, AtCustodian, batches, cluster, handle, reference};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Row as _};
use tonic::Code;

const DELETE: WithdrawalKind = WithdrawalKind::Delete;
const SET_ASIDE: WithdrawalKind = WithdrawalKind::SetAside;
const RESTORE: WithdrawalKind = WithdrawalKind::Restore;

fn withdraw(world: &World, request: u8, kind: WithdrawalKind, references: &[u64]) -> v1::WithdrawRequest {
    v1::WithdrawRequest {
        agreement: world.reference(),
        request_id: vec![request; 16].into(),
        kind: kind.into(),
        references: references.iter().map(|r| reference(*r).0.to_vec().into()).collect(),
        restarted: Vec::new(),
    }
}

fn signed(receipt: &v1::SignedReceipt) -> Signed {
    Signed { statement: receipt.statement.to_vec(), signature: receipt.signature.to_vec() }
}

/// The receipt of `role`, verified.
fn receipt(world: &World, role: &RoleId, request: u8, given: &Signed) -> Receipt {
    Receipt::verify(&world.agreement, world.hash.as_bytes(), role, RequestId([request; 16]), given).unwrap()
}

/// Run `run` of ccas (records 1, 2, 3) and siao (records 1, 2): the first two are linked.
async fn link(world: &World, run: &str) {
    let base = run.bytes().map(u64::from).sum::<u64>() * 100;
    AtCustodian::party(world, "ccas").await.upload(run, "ccas", &[(base + 1, 1), (base + 2, 2), (base + 3, 3)]).await;
    AtCustodian::party(world, "siao").await.upload(run, "siao", &[(base + 11, 11), (base + 12, 12)]).await;
    let pairs = [[base + 1, base + 11], [base + 2, base + 12]];
    let clusters: Vec<u8> = pairs.iter().flat_map(|pair| cluster(&pair.map(handle))).collect();
    let mut broker = AtCustodian::of(world, &RoleId::Broker).await;
    let batch = broker.clusters(run, &["ccas", "siao"], &clusters);
    broker.put_clusters(vec![batch]).await.unwrap();
}

/// Rows of a table for an analyst: party, person point, record point.
async fn rows(world: &World, run: &str) -> BTreeSet<(String, Vec<u8>, Vec<u8>)> {
    let study = AtCustodian::of(world, &analyst("etude")).await;
    let table = until("the link table", || {
        let mut study = study.clone();
        async move { study.tables().await.into_iter().find(|t| t.run_id == run) }
    })
    .await;
    let (_, rows) = study.clone().table(run).await.unwrap();
    assert_eq!(table.rows, rows.len() as u64, "rows announced and handed over");
    rows.into_iter().map(|row| (row.party, row.person_point.to_vec(), row.record_point.to_vec())).collect()
}

#[tokio::test]
async fn a_record_goes_from_registry_and_tables_and_comes_back_when_a_restriction_is_lifted() {
    let world = World::new();
    let _served = world.serve_custodian();
    link(&world, "a").await;
    let before = rows(&world, "a").await;
    assert_eq!(before.len(), 5);
    let mut ccas = RightsClient::new(world.connect(&RoleId::Custodian, &party("ccas")).await);
    let mut siao = RightsClient::new(world.connect(&RoleId::Custodian, &party("siao")).await);

    // Another party's reference is no reference of this party, and no analyst is told of it.
    let answer = signed(&siao.withdraw(withdraw(&world, 1, DELETE, &[1])).await.unwrap().into_inner());
    let of_other = receipt(&world, &RoleId::Custodian, 1, &answer);
    assert!(of_other.counts.values().all(|count| *count == 0), "{of_other:?}");
    assert_eq!(rows(&world, "a").await, before);

    // Restricted: out of the table; others' rows stay as they are. A repeated request changes nothing.
    let first = signed(&ccas.withdraw(withdraw(&world, 2, SET_ASIDE, &[1])).await.unwrap().into_inner());
    let given = receipt(&world, &RoleId::Custodian, 2, &first);
    assert_eq!((given.action, given.counts["references"], given.counts["link_rows"]), (Action::SetAside, 1, 1));
    assert_eq!(signed(&ccas.withdraw(withdraw(&world, 2, SET_ASIDE, &[1])).await.unwrap().into_inner()), first);
    let without = rows(&world, "a").await;
    assert!(without.is_subset(&before));
    let gone: Vec<_> = before.difference(&without).cloned().collect();
    assert_eq!((gone.len(), gone[0].0.as_str()), (1, "ccas"));
    refused(ccas.withdraw(withdraw(&world, 2, DELETE, &[1])).await, Code::FailedPrecondition, "déjà servi");
    // A changed byte, another role, another request: no receipt.
    let verify = |role: &RoleId, request: u8, given: &Signed| {
        Receipt::verify(&world.agreement, world.hash.as_bytes(), role, RequestId([request; 16]), given).is_ok()
    };
    for at in 0..first.statement.len() {
        let mut changed = first.clone();
        changed.statement[at] ^= 1;
        assert!(!verify(&RoleId::Custodian, 2, &changed), "byte {at}");
    }
    for at in 0..first.signature.len() {
        let mut changed = first.clone();
        changed.signature[at] ^= 0x10;
        assert!(!verify(&RoleId::Custodian, 2, &changed), "byte {at} of the signature");
    }
    assert!(
        verify(&RoleId::Custodian, 2, &first) && !verify(&RoleId::Broker, 2, &first) && !verify(&RoleId::Custodian, 3, &first)
    );

    // A run meanwhile knows nothing of it, and its partner's record keeps its person.
    let person_of = |rows: &BTreeSet<(String, Vec<u8>, Vec<u8>)>, record: &[u8]| {
        rows.iter().find(|row| row.2 == record).map(|row| row.1.clone())
    };
    let restored = ccas.withdraw(withdraw(&world, 4, RESTORE, &[1])).await.unwrap().into_inner();
    assert_eq!(receipt(&world, &RoleId::Custodian, 4, &signed(&restored)).counts["link_rows"], 1);
    assert_eq!(rows(&world, "a").await, before, "the same pseudonyms");
    link(&world, "b").await;
    let next = rows(&world, "b").await;
    assert_eq!(person_of(&next, &gone[0].2), person_of(&before, &gone[0].2), "the same person in a later run");

    // Deleted: of no table any more; who only that record held is forgotten, whom another one holds is not.
    let deleted = ccas.withdraw(withdraw(&world, 5, DELETE, &[1, 3])).await.unwrap().into_inner();
    let given = receipt(&world, &RoleId::Custodian, 5, &signed(&deleted));
    assert_eq!((given.counts["references"], given.counts["link_rows"], given.counts["persons_forgotten"]), (2, 4, 1));
    for run in ["a", "b"] {
        let rows = rows(&world, run).await;
        assert_eq!(rows.len(), 3, "{run}");
        assert!(rows.iter().all(|row| row.2 != gone[0].2), "{run}");
    }
    let asked = |references: &[u64]| v1::DescribeRequest {
        agreement: world.reference(),
        references: references.iter().map(|r| reference(*r).0.to_vec().into()).collect(),
    };
    let described = ccas.describe(asked(&[1, 3])).await.unwrap().into_inner();
    assert_eq!(described, v1::DescribeResponse::default());
    let described = ccas.describe(asked(&[2])).await.unwrap().into_inner();
    assert_eq!((described.registered, described.runs.len()), (true, 2));
    assert_eq!(siao.describe(asked(&[2])).await.unwrap().into_inner(), v1::DescribeResponse::default());
}

#[tokio::test]
async fn a_run_under_way_comes_to_nothing_of_a_withdrawn_record() {
    let world = World::new();
    let (_broker, _custodian) = (world.serve_broker(), world.serve_custodian());
    let mut ccas = AtBroker::party(&world, "ccas").await;
    ccas.open("a", &["ccas", "siao"]).await;
    let sent = batches(&world, 100, &[3, 2]);
    ccas.upload("a", &sent).await;
    let mut at_custodian = AtCustodian::party(&world, "ccas").await;
    at_custodian.upload("a", "ccas", &[(101, 1), (102, 2), (103, 3)]).await;

    // The broker forgets the whole upload, committed as it was, and says so once.
    let mut rights = RunRightsClient::new(world.connect(&RoleId::Broker, &party("ccas")).await);
    let asked = v1::WithdrawUploadsRequest { agreement: world.reference(), request_id: vec![7; 16].into() };
    let answer = rights.withdraw_uploads(asked.clone()).await.unwrap().into_inner();
    let given = receipt(&world, &RoleId::Broker, 7, &signed(&answer.receipt.clone().unwrap()));
    assert_eq!((given.counts["uploads_forgotten"], given.counts["records_forgotten"]), (1, 5));
    assert_eq!(answer.restarted, ["a"]);
    assert!(!ccas.held("a").await.committed && ccas.held("a").await.held.is_empty());
    assert_eq!(files(&world.path("broker").join("uploads")).len(), 0);
    let mut at_rights = RightsClient::new(world.connect(&RoleId::Custodian, &party("ccas")).await);
    let request = v1::WithdrawRequest { restarted: answer.restarted.clone(), ..withdraw(&world, 7, DELETE, &[1]) };
    let deleted = at_rights.withdraw(request).await.unwrap().into_inner();
    assert_eq!(receipt(&world, &RoleId::Custodian, 7, &signed(&deleted)).counts["uploads_forgotten"], 1);
    // It is sent again without the record; the same request again forgets nothing more.
    ccas.upload("a", &batches(&world, 101, &[2, 2])).await;
    at_custodian.upload("a", "ccas", &[(102, 2), (103, 3)]).await;
    assert_eq!(rights.withdraw_uploads(asked).await.unwrap().into_inner(), answer);
    assert!(ccas.held("a").await.committed);

    // Once the broker links, the custodian drops the record: its handle is like a decoy's.
    let mut siao = AtCustodian::party(&world, "siao").await;
    siao.upload("a", "siao", &[(111, 11), (112, 12)]).await;
    let late = at_rights.withdraw(withdraw(&world, 8, DELETE, &[2])).await.unwrap().into_inner();
    assert_eq!(receipt(&world, &RoleId::Custodian, 8, &signed(&late)).counts["records_under_way"], 1);
    let mut broker = AtCustodian::of(&world, &RoleId::Broker).await;
    let pairs = [[102, 111], [103, 112]];
    let clusters: Vec<u8> = pairs.iter().flat_map(|pair| cluster(&pair.map(handle))).collect();
    let batch = broker.clusters("a", &["ccas", "siao"], &clusters);
    broker.put_clusters(vec![batch]).await.unwrap();
    let rows = rows(&world, "a").await;
    assert_eq!(rows.iter().filter(|row| row.0 == "ccas").count(), 1);
    assert_eq!(rows.len(), 3);
}

#[tokio::test]
async fn only_owners_ask_and_only_analysts_answer() {
    let world = World::new();
    let (_broker, _custodian) = (world.serve_broker(), world.serve_custodian());
    let uploads = v1::WithdrawUploadsRequest { agreement: world.reference(), request_id: vec![1; 16].into() };
    for role in [RoleId::Broker, analyst("etude")] {
        let mut rights = RightsClient::new(world.connect(&RoleId::Custodian, &role).await);
        refused(rights.withdraw(withdraw(&world, 1, DELETE, &[1])).await, Code::PermissionDenied, "n'a pas accès");
        let describe = v1::DescribeRequest { agreement: world.reference(), references: vec![] };
        refused(rights.describe(describe).await, Code::PermissionDenied, "");
        let receipts = v1::ReceiptsRequest { agreement: world.reference(), request_id: vec![1; 16].into() };
        refused(rights.get_receipts(receipts).await, Code::PermissionDenied, "n'a pas accès");
    }
    let mut of_custodian = RunRightsClient::new(world.connect(&RoleId::Broker, &RoleId::Custodian).await);
    refused(of_custodian.withdraw_uploads(uploads.clone()).await, Code::PermissionDenied, "n'a pas accès");
    let mut ccas = RightsClient::new(world.connect(&RoleId::Custodian, &party("ccas")).await);
    let list = v1::ListWithdrawalsRequest { agreement: world.reference() };
    refused(ccas.list_withdrawals(list.clone()).await, Code::PermissionDenied, "n'a pas accès");

    let with = |change: &dyn Fn(&mut v1::WithdrawRequest)| {
        let mut request = withdraw(&world, 1, DELETE, &[1]);
        change(&mut request);
        request
    };
    for (request, code, says) in [
        (with(&|r| r.agreement = None), Code::PermissionDenied, "autre convention"),
        (with(&|r| r.kind = 0), Code::InvalidArgument, "ce qui est à faire"),
        (with(&|r| r.request_id = vec![1; 15].into()), Code::InvalidArgument, "16 octets"),
        (with(&|r| r.references = vec![vec![1; 15].into()]), Code::InvalidArgument, "16 octets"),
        (with(&|r| r.references = vec![vec![1; 16].into(); 101]), Code::OutOfRange, "100 fiches"),
    ] {
        refused(ccas.withdraw(request).await, code, says);
    }
    // Receipts are an analyst's own, of a request that is here, signed by it.
    link(&world, "a").await;
    rows(&world, "a").await;
    ccas.withdraw(withdraw(&world, 1, DELETE, &[1])).await.unwrap();
    let mut study = RightsClient::new(world.connect(&RoleId::Custodian, &analyst("etude")).await);
    let listed = study.list_withdrawals(list).await.unwrap().into_inner().withdrawals;
    assert_eq!((listed.len(), listed[0].record_points.len(), listed[0].restored), (1, 1, false));
    let forged = v1::SignedReceipt { statement: b"{}".to_vec().into(), signature: vec![0; 64].into() };
    let put = |request: u8| v1::PutReceiptRequest {
        agreement: world.reference(),
        request_id: vec![request; 16].into(),
        receipt: Some(forged.clone()),
    };
    refused(study.put_receipt(put(1)).await, Code::PermissionDenied, "accusé refusé");
    refused(study.put_receipt(put(9)).await, Code::NotFound, "aucune demande");
    refused(ccas.put_receipt(put(1)).await, Code::PermissionDenied, "n'a pas accès");
}

const MONTHS: [&str; 2] = ["2024-01", "2024-02"];

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

/// The persons of a run without some records.
fn without(links: &str, records: &[&Record]) -> BTreeSet<BTreeSet<Record>> {
    let mut groups: Vec<BTreeSet<Record>> = persons(links).into_values().collect();
    groups.iter_mut().for_each(|group| group.retain(|record| !records.contains(&record)));
    groups.into_iter().filter(|group| !group.is_empty()).collect()
}

/// `linkage rights` at a record's node; the local id on standard input.
fn rights(federation: &Federation, action: &str, record: &Record, options: &[&str]) -> Output {
    let config = federation.config(&Role::Node(record.0.clone()));
    let mut child = Command::new(binary())
        .args(["rights", action, "--json", "--config", config.to_str().unwrap()])
        .args(options)
        .env("LINKAGE_LOG", "info")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{}\n", record.1).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    for text in [&output.stdout, &output.stderr] {
        assert!(!String::from_utf8_lossy(text).contains(&record.1), "{action} shows the local id");
    }
    output
}

/// The same, with every receipt in.
fn rights_done(federation: &Federation, action: &str, record: &Record) -> Value {
    let begun = Instant::now();
    let output = rights(federation, action, record, &["--wait", "300"]);
    assert!(output.status.success(), "{action}: {}", String::from_utf8_lossy(&output.stderr));
    println!("{action}: all receipts in {:.1} s", begun.elapsed().as_secs_f32());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn count(facts: &Value, role: &str, name: &str) -> i64 {
    let receipts = facts["receipts"].as_array().unwrap();
    let of_role = receipts.iter().find(|r| r["role"].as_str().unwrap().starts_with(role));
    assert!(of_role.is_some(), "no receipt of {role}: {facts}");
    of_role.unwrap()["counts"][name].as_i64().unwrap()
}

fn reference_of(federation: &Federation, record: &Record) -> Option<RecordRef> {
    let node = Node::open(load_config(&federation.config(&Role::Node(record.0.clone()))).unwrap()).unwrap();
    node.references_of(std::iter::once(record.1.as_str())).unwrap()[0]
}

/// Rows of the custodian's tables that hold a reference.
fn held_by_custodian(federation: &Federation, reference: &RecordRef) -> i64 {
    let path = PathBuf::from(federation.setting(&Role::Custodian, "data_dir")).join("custodian.sqlite");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = SqliteConnectOptions::new().filename(path).read_only(true).connect().await.unwrap();
        let mut held = 0;
        for select in [
            "SELECT count(*) FROM refs WHERE ref = ?",
            "SELECT count(*) FROM handles WHERE ref = ?",
            "SELECT count(*) FROM link_rows WHERE ref = ?",
            "SELECT count(*) FROM dispositions WHERE ref = ?",
            "SELECT count(*) FROM ref_points WHERE ref = ?",
            "SELECT count(*) FROM withdrawn_refs WHERE ref = ?",
            "SELECT count(*) FROM set_aside_refs WHERE ref = ?",
            "SELECT count(*) FROM set_aside_rows WHERE ref = ?",
        ] {
            held += sqlx::query(select).bind(&reference.0[..]).fetch_one(&mut connection).await.unwrap().get::<i64, _>(0);
        }
        held
    })
}

/// The analyst's rows of a run, each as one text.
fn table(federation: &Federation, run: &str) -> BTreeSet<String> {
    federation.link_table(run).into_iter().map(|row| row.join(",")).collect()
}

/// Files of a folder that hold bytes.
fn holding(folder: &Path, needles: &[Vec<u8>]) -> Vec<String> {
    let holds = |path: &Path| {
        let bytes = fs::read(path).unwrap_or_default();
        needles.iter().any(|needle| bytes.windows(needle.len()).any(|window| window == needle))
    };
    files(folder).into_iter().filter(|(_, path)| holds(path)).map(|(name, _)| name).collect()
}

fn run(federation: &mut Federation, name: &str, month: &str) -> String {
    federation.open_run(name, month);
    federation.wait_closed(name);
    federation.links(name, month)
}

/// Lines of a party's CSV delivery that hold a local id as a cell.
fn lines_of(text: &str, id: &str) -> Vec<String> {
    text.lines()
        .filter(|line| line.split([';', ',', '\t', '|']).any(|cell| cell.trim_matches('"') == id))
        .map(str::to_owned)
        .collect()
}

#[test]
fn an_objection_reaches_every_role_and_a_restriction_can_be_lifted() {
    let mut federation = Federation::set_up(500, 2, 73);
    federation.start_all();
    for month in MONTHS {
        federation.deliver(month);
        federation.wait_ingested(month);
    }
    let first = run(&mut federation, "un", MONTHS[0]);
    let second = run(&mut federation, "deux", MONTHS[1]);
    // Linked with another party's record, in both months, from a party whose file is a plain text.
    let deliveries = federation.deliveries(MONTHS[1]);
    let text_of = |party: &str| {
        let file = deliveries.iter().find(|d| d.party == party).unwrap().file.clone();
        (fs::read_to_string(&file).ok(), file)
    };
    let in_first: BTreeSet<Record> = persons(&first).into_values().flatten().collect();
    let chosen: Vec<Record> = persons(&second)
        .into_values()
        .filter(|records| records.len() > 1)
        .flatten()
        .filter(|record| in_first.contains(record) && record.1.len() >= 5)
        .filter(|(party, id)| text_of(party).0.is_some_and(|text| lines_of(&text, id).len() == 1))
        .collect();
    let victim = chosen[0].clone();
    let restricted = chosen
        .iter()
        .find(|r| **r != victim && persons(&second).values().all(|p| !(p.contains(&victim) && p.contains(*r))))
        .unwrap()
        .clone();
    let late = chosen.iter().find(|r| r.0 == victim.0 && **r != victim && **r != restricted).unwrap().clone();

    // The local id is taken from standard input or a private file, and from nowhere else.
    let flag = rights(&federation, "status", &(victim.0.clone(), "inconnu".to_owned()), &["--local-id", "x"]);
    assert!(!flag.status.success() && String::from_utf8_lossy(&flag.stderr).contains("historique"));
    let id_file = federation.folder.join("identifiant");
    fs::write(&id_file, &victim.1).unwrap();
    fs::set_permissions(&id_file, fs::Permissions::from_mode(0o644)).unwrap();
    let from_file = ["--local-id-file", id_file.to_str().unwrap()];
    assert!(!rights(&federation, "access", &victim, &from_file).status.success(), "a file that others may read");
    fs::set_permissions(&id_file, fs::Permissions::from_mode(0o600)).unwrap();
    let copy = federation.folder.join("copie.txt");
    let to_copy = [from_file[0], from_file[1], "--output", copy.to_str().unwrap()];
    assert!(rights(&federation, "access", &victim, &to_copy).status.success());
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let text: Value = serde_json::from_slice(&fs::read(&copy).unwrap()).unwrap();
    assert_eq!((text["runs"].as_array().unwrap().len(), text["identities"].as_object().unwrap().len()), (2, 2), "{text}");
    assert!(text["recipients"].as_array().unwrap().len() >= 3);

    // Custodian and analyst are killed: the request is kept, and says who is missing.
    let reference = reference_of(&federation, &victim).unwrap();
    let before = [table(&federation, "un"), table(&federation, "deux")];
    federation.kill(&Role::Custodian);
    federation.kill(&Role::Analyst);
    let output = rights(&federation, "object", &victim, &["--wait", "2"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("tiers de confiance, analyste"), "{output:?}");
    federation.start(&Role::Custodian);
    wait_for("the custodian's receipt", || {
        let status: Value = serde_json::from_slice(&rights(&federation, "status", &victim, &[]).stdout).unwrap();
        let missing = status["requests"][0]["missing"].as_array().unwrap().len();
        (missing == 1).then_some(())
    });
    federation.kill(&Role::Custodian);
    federation.start(&Role::Custodian);
    federation.start(&Role::Analyst);
    let facts = rights_done(&federation, "object", &victim);
    assert_eq!(facts["complete"], true, "{facts}");
    assert_eq!((count(&facts, "custodian", "references"), count(&facts, "custodian", "link_rows")), (1, 2));
    assert_eq!((count(&facts, "analyst", "link_rows"), count(&facts, "analyst", "study_rows")), (2, 2));
    assert_eq!(rights_done(&federation, "object", &victim)["request"], facts["request"], "the same again is the same request");

    // Nowhere any more: node, custodian, tables and study.
    assert_eq!(reference_of(&federation, &victim), None);
    assert_eq!(held_by_custodian(&federation, &reference), 0);
    let held: Value = serde_json::from_slice(&rights(&federation, "access", &victim, &[]).stdout).unwrap();
    assert_eq!((&held["held"], &held["listed"][0][0]), (&false.into(), &"objection".into()), "{held}");
    let mut pseudonyms: BTreeSet<String> = BTreeSet::new();
    for (run, before) in ["un", "deux"].into_iter().zip(&before) {
        let after = table(&federation, run);
        assert!(after.is_subset(before) && after.len() + 1 == before.len(), "{run}");
        let gone = before.difference(&after).next().unwrap();
        assert!(gone.contains(&format!(",{},", victim.0)), "{gone}");
        pseudonyms.insert(gone.split(',').nth(2).unwrap().to_owned());
    }
    assert_eq!(pseudonyms.len(), 1, "one record pseudonym over both months");
    let pseudonym = pseudonyms.into_iter().next().unwrap();
    let needles = [pseudonym.as_bytes().to_vec(), hex::decode(&pseudonym).unwrap()];
    assert_eq!(holding(&federation.home(&Role::Analyst), &needles), Vec::<String>::new());

    // Delivered again, under its own local id and under a new one: set aside, line by line.
    let (text, file) = text_of(&victim.0);
    let (text, line) = (text.clone().unwrap(), lines_of(&text.unwrap(), &victim.1).remove(0));
    let again = federation.folder.join(file.file_name().unwrap());
    fs::write(&again, format!("{}\n{}\n", text.trim_end(), line.replacen(&victim.1, "ZZ99887", 1))).unwrap();
    federation.put(&victim.0, MONTHS[1], &again);
    let config = federation.config(&Role::Node(victim.0.clone()));
    let month = wait_for("the second delivery", || {
        let status: Value =
            serde_json::from_str(&linkage_ok(["node", "status", "--json", "--config", config.to_str().unwrap()])).unwrap();
        let month = status["deliveries"].as_array().unwrap().iter().find(|d| d["period"] == MONTHS[1]).unwrap().clone();
        (month["reasons"]["opposition"] == 2).then_some(month)
    });
    assert_eq!(month["lines"].as_u64().unwrap(), month["records"].as_u64().unwrap() + month["set_aside"].as_u64().unwrap());
    let state = PathBuf::from(federation.setting(&Role::Node(victim.0.clone()), "state_dir"));
    let report = fs::read_to_string(state.join(format!("reports/{}-ecartees.csv", MONTHS[1]))).unwrap();
    assert_eq!(report.matches(";opposition").count(), 2, "{report}");
    assert!(!state.join(format!("names/{}.enc", MONTHS[1])).is_file(), "the file as delivered holds the person");

    // A restriction, and its end: the same rows, the same pseudonyms.
    let before = [table(&federation, "un"), table(&federation, "deux")];
    rights_done(&federation, "restrict", &restricted);
    for (run, before) in ["un", "deux"].into_iter().zip(&before) {
        assert_eq!(table(&federation, run).len() + 1, before.len(), "{run}");
    }
    let third = run(&mut federation, "trois", MONTHS[1]);
    assert!(persons(&third).values().flatten().all(|record| *record != victim && *record != restricted));
    // Nearly: what is decided of others rests on estimates over all records, two less now.
    let others = |links: &str| without(links, &[&victim, &restricted]);
    let moved = others(&third).symmetric_difference(&others(&second)).count();
    assert!(moved <= 6, "{moved} persons of others are not as they were");
    rights_done(&federation, "lift", &restricted);
    assert_eq!([table(&federation, "un"), table(&federation, "deux")], before);

    // A run that still collects: the record is in the upload of a party that has committed.
    let other = federation.parties.iter().find(|p| **p != victim.0).unwrap().clone();
    federation.kill(&Role::Node(other.clone()));
    federation.open_run("quatre", MONTHS[1]);
    wait_for("the upload is committed", || {
        let status = federation.run_status("quatre")?;
        status["committed"].as_array()?.iter().any(|p| *p == victim.0.as_str()).then_some(())
    });
    let output = rights(&federation, "object", &late, &["--wait", "300"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(count(&serde_json::from_slice(&output.stdout).unwrap(), "broker", "uploads_forgotten"), 1);
    federation.start(&Role::Node(other));
    federation.wait_closed("quatre");
    let fourth = federation.links("quatre", MONTHS[1]);
    assert!(persons(&fourth).values().flatten().all(|record| *record != victim && *record != late));
    // The lifted one is back in later runs as well.
    assert!(persons(&fourth).values().flatten().any(|record| *record == restricted));

    // No log holds a local id.
    for role in federation.roles() {
        let log = federation.log_text(&role);
        for record in [&victim, &restricted, &late] {
            let cells = log.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_');
            assert!(!cells.into_iter().any(|word| word == record.1), "{role:?}");
        }
    }
}
