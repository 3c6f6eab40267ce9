//! From a query to a published table: the same figures everywhere, two roles, a budget, and a journal that a kill leaves whole.
//!
//! The custodian, the analyst's side and their channels are real; a run's clusters are made by hand. The command line is the
//! binary itself, on the same files as the service.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use linkage_agreement::RoleId;
use linkage_agreement::model::{Agreement, AnalystRight};
use linkage_analyst::config::AnalystConfig;
use linkage_analyst::fetch_once;
use linkage_analyst::publish::{Document, Fingerprint, Verdict};
use linkage_common::authority::Validity;
use linkage_common::tls::Channel;
use linkage_crypto::signing::SigningKey;
use linkage_proto::v1::{self, PublicationState, cohorts_client::CohortsClient, table_category, table_cell};
use linkage_tests::federation::{binary, linkage, linkage_ok};
use linkage_tests::fixture::{World, analyst, id, party, proper, refused, run, until};
use linkage_tests::wire::{AtCustodian, cluster, handle};
use serde_json::{Value, json};
use tonic::{Code, Status};

const ETUDE: &str = "etude";
/// Persons at both, at `ccas` alone, at `siao` alone.
const PERSONS: [u64; 3] = [20, 15, 25];
/// Persons at `caf`, whom nobody else has.
const CAF: u64 = 18;

/// A world whose analyst has the tables of one run of all three parties.
async fn with_tables(alter: impl FnOnce(&mut Agreement)) -> World {
    let world = World::altered(alter);
    let served = world.serve_custodian();
    let [both, ccas, siao] = PERSONS;
    let of = |shift: u64, n: u64| (1..=n).map(|i| (shift + i, shift + i)).collect::<Vec<_>>();
    AtCustodian::party(&world, "ccas").await.upload("r1", "ccas", &of(1_000, both + ccas)).await;
    AtCustodian::party(&world, "siao").await.upload("r1", "siao", &of(2_000, both + siao)).await;
    AtCustodian::party(&world, "caf").await.upload("r1", "caf", &of(3_000, CAF)).await;
    let clusters: Vec<u8> = (1..=both).flat_map(|i| cluster(&[handle(1_000 + i), handle(2_000 + i)])).collect();
    let mut broker = AtCustodian::of(&world, &RoleId::Broker).await;
    let batch = broker.clusters("r1", &["ccas", "siao", "caf"], &clusters);
    broker.put_clusters(vec![batch]).await.unwrap();
    let study = AtCustodian::of(&world, &analyst(ETUDE)).await;
    until("the link table", || async { study.clone().tables().await.first().map(drop) }).await;
    assert_eq!(fetch_once(&world.analyst_config(ETUDE)).await.unwrap(), [run("r1")]);
    drop((broker, study));
    served.stop().await;
    world
}

fn approving(agreement: &mut Agreement) {
    agreement.disclosure.approval = Some(true);
}

fn query(title: &str, more: &str) -> String {
    format!("title = \"{title}\"\nmeasure = \"count\"\nperiods = {{ from = \"2024-01\", to = \"2024-01\" }}\n{more}")
}

const BY_PARTIES: &str = "breakdown = [\"parties\"]\n";
const NAMED: &str = "population = { any = [{ party = \"ccas\" }, { party = \"siao\" }] }\n";

fn path_text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn sections(agreement: &linkage_common::AgreementFiles, tls: &linkage_common::tls::TlsFiles) -> String {
    let notices = agreement.terminations.as_ref().unwrap();
    format!(
        "[agreement]\nagreement = {:?}\nsignatures = {:?}\nterminations = {:?}\n[tls]\nca = {:?}\ncertificate = {:?}\nkey = {:?}\n",
        agreement.agreement, agreement.signatures, notices, tls.ca, tls.certificate, tls.key
    )
}

/// The analyst's configuration as a file.
fn analyst_file(world: &World, config: &AnalystConfig) -> String {
    let key = |kind: &str| path_text(&world.secret(&analyst(ETUDE), kind).file.unwrap());
    let text = format!(
        "analyst = \"{ETUDE}\"\nlisten = \"{}\"\ndata_dir = {:?}\ncustodian_url = \"{}\"\nsealing_key = {{ file = {:?} }}\npseudonym_key = {{ file = {:?} }}\nsigning_key = {{ file = {:?} }}\n{}",
        config.listen,
        config.data_dir,
        config.custodian_url,
        key("sealing"),
        key("pseudonym"),
        key("signing"),
        sections(&config.agreement, &config.tls)
    );
    let path = world.path("analyst.toml");
    std::fs::write(&path, text).unwrap();
    path_text(&path)
}

/// A node's configuration as a file.
fn node_file(world: &World, name: &str) -> String {
    let config = world.node_config(name);
    let key = |kind: &str| path_text(&world.secret(&party(name), kind).file.unwrap());
    let text = format!(
        "party = \"{name}\"\nstate_dir = {:?}\nbroker_url = \"{}\"\ncustodian_url = \"{}\"\nstorage_key = {{ file = {:?} }}\nsigning_key = {{ file = {:?} }}\nsealing_key = {{ file = {:?} }}\n{}",
        config.state_dir,
        config.broker_url,
        config.custodian_url,
        key("storage"),
        key("signing"),
        key("sealing"),
        sections(&config.agreement, &config.tls)
    );
    let path = world.path(&format!("{name}.toml"));
    std::fs::write(&path, text).unwrap();
    path_text(&path)
}

fn document(world: &World, name: &str, text: &str) -> PathBuf {
    let path = world.path(name);
    std::fs::write(&path, text).unwrap();
    path
}

async fn cohorts(world: &World, role: &RoleId) -> CohortsClient<Channel> {
    CohortsClient::new(world.connect(&analyst(ETUDE), role).await)
}

fn asking(world: &World, document: &str) -> v1::QueryRequest {
    v1::QueryRequest { agreement: world.reference(), document: document.as_bytes().to_vec().into() }
}

fn publishing(world: &World, document: &str) -> v1::PublishRequest {
    v1::PublishRequest {
        agreement: world.reference(),
        document: document.as_bytes().to_vec().into(),
        justification: "Rapport annuel".to_owned(),
    }
}

/// Asks for a publication and signs what is in it, as `name`.
async fn decision(world: &World, name: &str, publication: &str, verdict: &Verdict) -> Result<v1::Publication, Status> {
    let mut at = cohorts(world, &party(name)).await;
    let (agreement, id_text) = (world.reference(), publication.to_owned());
    let request = v1::GetPublicationRequest { agreement: agreement.clone(), id: id_text.clone() };
    let got = at.get_publication(request).await?.into_inner();
    let key = SigningKey::from_bytes(&world.key(&party(name), "signing"));
    let signature = verdict.sign(world.hash.as_bytes(), &Fingerprint::of(&got.document), &id(name), &key).to_vec().into();
    let made = match verdict {
        Verdict::Approved => at.approve(v1::ApproveRequest { agreement, id: id_text, signature }).await,
        Verdict::Rejected(reason) => {
            at.reject(v1::RejectRequest { agreement, id: id_text, reason: reason.clone(), signature }).await
        }
    };
    made.map(tonic::Response::into_inner)
}

fn json(output: &str) -> Value {
    serde_json::from_str(output).unwrap()
}

/// A table of the command line and one of the wire, in one form.
fn from_json(table: &Value) -> Vec<Value> {
    let categories = |d: &Value| (d["name"].clone(), d["categories"].clone());
    let mut out: Vec<Value> = table["dimensions"].as_array().unwrap().iter().map(|d| json!(categories(d))).collect();
    out.extend(table["cells"].as_array().unwrap().iter().map(|c| match c["cell"].as_str().unwrap() {
        "value" => json!([c["value"], c["interval"], c["uncertain"]]),
        other => json!(other),
    }));
    out.push(json!([table["title"], table["unit"], table["measure"], table["method"], table["minimum"]]));
    out
}

fn from_wire(table: &v1::PublicTable) -> Vec<Value> {
    let category = |c: &v1::TableCategory| match c.kind.as_ref().unwrap() {
        table_category::Kind::Value(value) => json!({ "value": value }),
        table_category::Kind::Unknown(_) => json!("unknown"),
        table_category::Kind::Absent(_) => json!("absent"),
        table_category::Kind::Others(_) => json!("others"),
        table_category::Kind::Total(_) => json!("total"),
    };
    let mut out: Vec<Value> =
        table.dimensions.iter().map(|d| json!((d.name.clone(), d.categories.iter().map(category).collect::<Vec<_>>()))).collect();
    out.extend(table.cells.iter().map(|c| match c.kind.as_ref().unwrap() {
        table_cell::Kind::Figure(f) => json!([f.value, f.low.zip(f.high), f.uncertain]),
        table_cell::Kind::Hidden(_) => json!("hidden"),
        table_cell::Kind::Missing(_) => json!("missing"),
    }));
    out.push(json!([table.title, table.unit, table.measure, table.method, table.minimum]));
    out
}

#[tokio::test]
async fn command_line_and_grpc_give_the_same_figures_again_and_again() {
    let world = with_tables(|_| {}).await;
    let config = world.analyst_config(ETUDE);
    let file = analyst_file(&world, &config);
    let _served = world.serve_analyst(ETUDE);
    let mut at = cohorts(&world, &analyst(ETUDE)).await;
    let text = query("Personnes par combinaison", BY_PARTIES);
    let path = path_text(&document(&world, "q.toml", &text));
    let answer = at.query(asking(&world, &text)).await.unwrap().into_inner();
    assert_eq!(answer.release.as_ref().unwrap().runs, ["r1"]);
    let wire = from_wire(answer.table.as_ref().unwrap());
    let shown = wire.iter().filter(|c| c.get(0).is_some_and(Value::is_f64)).count();
    assert!(shown >= 4, "{wire:?}");
    for _ in 0..2 {
        let printed = json(&linkage_ok(["cohort", "query", &path, "--config", &file, "--json"]));
        assert_eq!(from_json(&printed["tables"][0]["table"]), wire);
        assert_eq!((printed["published"].as_bool(), printed["release"]["runs"][0].as_str()), (Some(false), Some("r1")));
        let again = at.query(asking(&world, &text)).await.unwrap().into_inner();
        assert_eq!(again, answer);
    }
    // The same document as JSON is the same question.
    let as_json = json!({
        "title": "Personnes par combinaison", "measure": "count", "breakdown": ["parties"],
        "periods": { "from": "2024-01", "to": "2024-01" },
    });
    assert_eq!(at.query(asking(&world, &as_json.to_string())).await.unwrap().into_inner(), answer);
    let csv = linkage_ok(["cohort", "query", &path, "--config", &file, "--csv"]);
    assert!(csv.contains("Brouillon, non publié") && csv.contains("ccas + siao"), "{csv}");
    let screen = linkage_ok(["cohort", "query", &path, "--config", &file]);
    assert!(screen.contains("Brouillon") && screen.contains("traitements r1"), "{screen}");
    let months = at.list_periods(v1::ListPeriodsRequest { agreement: world.reference() }).await.unwrap().into_inner();
    assert_eq!(months.months.len(), 1);
    assert_eq!((months.months[0].period.as_str(), months.months[0].parties.len()), ("2024-01", 3));
}

// The command line waits for the service of this very process.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_table_is_published_once_every_producer_has_signed_it() {
    let world = with_tables(approving).await;
    let config = world.analyst_config(ETUDE);
    let file = analyst_file(&world, &config);
    let _served = world.serve_analyst(ETUDE);
    let path = path_text(&document(&world, "q.toml", &query("Présents", NAMED)));
    let publish = || {
        let args = ["cohort", "publish", &path, "--config", &file, "--justification", "Rapport annuel", "--json"];
        json(&linkage_ok(args))
    };
    let made = publish();
    let publication = made["id"].as_str().unwrap().to_owned();
    assert_eq!((made["state"].as_str(), &made["producers"]), (Some("proposed"), &json!(["ccas", "siao"])));
    assert_eq!(publish(), made);

    // Its files are drafts; a partner whose data it does not hold is not told of it.
    let output = path_text(&world.path("t.html"));
    let export = || linkage_ok(["cohort", "export", &publication, "--config", &file, "--output", &output]);
    assert!(export().contains("Brouillon"));
    assert!(std::fs::read_to_string(&output).unwrap().contains("Brouillon, non publié"));
    let caf = decision(&world, "caf", &publication, &Verdict::Approved).await;
    refused(caf, Code::NotFound, "aucune publication");
    let listed = |name: &'static str| {
        let world = &world;
        async move {
            let request = v1::ListPublicationsRequest { agreement: world.reference() };
            cohorts(world, &party(name)).await.list_publications(request).await.unwrap().into_inner().publications.len()
        }
    };
    assert_eq!((listed("caf").await, listed("ccas").await), (0, 1));

    // One producer decides through its node's command line, after looking at it.
    let ccas = node_file(&world, "ccas");
    let url = world.url(&analyst(ETUDE));
    let through = ["--config", &ccas, "--analyst-url", &url, "--analyst", ETUDE];
    let say = |words: &[&str]| linkage_ok(["cohort"].iter().chain(words).chain(&through));
    assert!(say(&["proposals"]).contains(&publication));
    let seen = say(&["proposals", &publication]);
    assert!(seen.contains("Présents") && seen.contains("Empreinte"), "{seen}");
    let unnamed = linkage(["cohort", "proposals", "--config", &ccas, "--analyst-url", &url]);
    assert!(String::from_utf8(unnamed.stderr).unwrap().contains("plusieurs analystes"));
    assert!(say(&["approve", &publication]).contains("ccas : accord"));
    assert!(say(&["approve", &publication]).contains("ccas : accord"));
    let turned = linkage(["cohort", "reject", &publication, "--reason", "non"].iter().chain(&through));
    assert!(!turned.status.success() && String::from_utf8(turned.stderr).unwrap().contains("définitive"));

    // A signature of somebody else, over something else, or of the other verdict, is none.
    let mut siao = cohorts(&world, &party("siao")).await;
    let fingerprint = |made: &Value| {
        let bytes = hex::decode(made["fingerprint"].as_str().unwrap()).unwrap();
        Fingerprint::from_slice(&bytes).unwrap()
    };
    let key = |name: &str| SigningKey::from_bytes(&world.key(&party(name), "signing"));
    let sign = |verdict: &Verdict, over: &Fingerprint, name: &str| {
        verdict.sign(world.hash.as_bytes(), over, &id("siao"), &key(name)).to_vec()
    };
    let right = sign(&Verdict::Approved, &fingerprint(&made), "siao");
    let wrong = [
        sign(&Verdict::Approved, &fingerprint(&made), "ccas"),
        sign(&Verdict::Approved, &Fingerprint([1; 32]), "siao"),
        sign(&Verdict::Rejected("non".to_owned()), &fingerprint(&made), "siao"),
        right[..63].to_vec(),
        vec![],
    ];
    let approving = |signature: Vec<u8>| v1::ApproveRequest {
        agreement: world.reference(),
        id: publication.clone(),
        signature: signature.into(),
    };
    for signature in wrong {
        refused(siao.approve(approving(signature)).await, Code::PermissionDenied, "signature");
    }
    let made = siao.approve(approving(right)).await.unwrap().into_inner();
    assert_eq!((made.state(), made.decisions.len()), (PublicationState::Published, 2));
    assert_eq!(listed("caf").await, 1);
    assert!(export().contains("Publication écrite"));
    let page = std::fs::read_to_string(&output).unwrap();
    assert!(!page.contains("Brouillon") && page.contains(&publication));

    // What any partner fetches is what was signed, and the journal holds.
    let request = v1::GetPublicationRequest { agreement: world.reference(), id: publication.clone() };
    let got = cohorts(&world, &party("caf")).await.get_publication(request).await.unwrap().into_inner();
    assert_eq!(Fingerprint::of(&got.document).0[..], got.fingerprint[..]);
    assert_eq!(Document::from_bytes(&got.document).unwrap().tables.len(), got.tables.len());
    let journal = json(&linkage_ok(["cohort", "journal", "--config", &file, "--json"]));
    assert_eq!((&journal["entries"], &journal["altered"], &journal["unsigned"]), (&json!(4), &json!(0), &json!(0)));
    let access = json(&linkage_ok(["cohort", "access", "--config", &file, "--json"]));
    let actions: Vec<(&str, &str)> = access["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| (l["action"].as_str().unwrap(), l["outcome"].as_str().unwrap()))
        .collect();
    for expected in [("publish", "done"), ("approve", "done"), ("approve", "refused"), ("reject", "refused"), ("export", "done")]
    {
        assert!(actions.contains(&expected), "{expected:?} is not in {actions:?}");
    }
    let uri = world.uri(&party("siao"));
    assert!(access["lines"].as_array().unwrap().iter().any(|l| l["who"]["certificate"] == json!(uri)));
}

#[tokio::test]
async fn a_rejected_table_stays_a_draft_and_gives_its_place_back() {
    let world = with_tables(|a| {
        approving(a);
        a.disclosure.tables_per_month = Some(1);
    })
    .await;
    let _served = world.serve_analyst(ETUDE);
    let mut at = cohorts(&world, &analyst(ETUDE)).await;
    // A breakdown draws on everybody's records: all parties are producers.
    let made = at.publish(publishing(&world, &query("Un", BY_PARTIES))).await.unwrap().into_inner();
    assert_eq!((made.state(), made.producers.len()), (PublicationState::Proposed, 3));
    let other = || publishing(&world, &query("Deux", NAMED));
    refused(at.publish(other()).await, Code::ResourceExhausted, "renouvelé le");
    let no = Verdict::Rejected("trop détaillé".to_owned());
    let rejected = decision(&world, "caf", &made.id, &no).await.unwrap();
    assert_eq!((rejected.state(), rejected.decisions[0].reason.as_str()), (PublicationState::Rejected, "trop détaillé"));
    assert_eq!(decision(&world, "caf", &made.id, &no).await.unwrap(), rejected);
    let late = decision(&world, "ccas", &made.id, &Verdict::Approved).await;
    refused(late, Code::FailedPrecondition, "rejeté");
    let empty = decision(&world, "ccas", &made.id, &Verdict::Rejected(String::new())).await;
    refused(empty, Code::InvalidArgument, "motif");
    assert_eq!(at.publish(other()).await.unwrap().into_inner().state(), PublicationState::Proposed);
    // The same question stays the rejected publication.
    let again = at.publish(publishing(&world, &query("Un", BY_PARTIES))).await.unwrap().into_inner();
    assert_eq!((again.id, again.state), (made.id, rejected.state));
}

#[tokio::test]
async fn the_budget_is_of_the_month_and_repetition_costs_nothing() {
    let world = with_tables(|a| a.disclosure.tables_per_month = Some(2)).await;
    let _served = world.serve_analyst(ETUDE);
    let mut at = cohorts(&world, &analyst(ETUDE)).await;
    let mut ids = Vec::new();
    for title in ["Un", "Deux", "Un", "Deux"] {
        let made = at.publish(publishing(&world, &query(title, ""))).await.unwrap().into_inner();
        assert_eq!((made.state(), made.decisions.len()), (PublicationState::Published, 0));
        assert_eq!(made.tables.len(), 1);
        ids.push(made.id);
    }
    assert_eq!((&ids[0], &ids[1]), (&ids[2], &ids[3]));
    refused(at.publish(publishing(&world, &query("Trois", ""))).await, Code::ResourceExhausted, "budget de publication dépassé");
    let unjustified = v1::PublishRequest { justification: " ".to_owned(), ..publishing(&world, &query("Un", "")) };
    refused(at.publish(unjustified).await, Code::InvalidArgument, "motif");
}

#[tokio::test]
async fn whoever_is_not_this_analyst_or_a_partner_learns_nothing() {
    let world = with_tables(|_| {}).await;
    let _served = world.serve_analyst(ETUDE);
    let text = query("Personnes", "");
    let published = cohorts(&world, &analyst(ETUDE)).await.publish(publishing(&world, &text)).await.unwrap().into_inner();
    let listing = || v1::ListPublicationsRequest { agreement: world.reference() };
    for role in [analyst("audit"), RoleId::Broker, RoleId::Custodian] {
        let mut at = cohorts(&world, &role).await;
        refused(at.query(asking(&world, &text)).await, Code::PermissionDenied, "n'a pas accès");
        refused(at.publish(publishing(&world, &text)).await, Code::PermissionDenied, "n'a pas accès");
        refused(at.list_publications(listing()).await, Code::PermissionDenied, "n'a pas accès");
        let fetch = v1::GetPublicationRequest { agreement: world.reference(), id: published.id.clone() };
        refused(at.get_publication(fetch).await, Code::PermissionDenied, "n'a pas accès");
        let months = v1::ListPeriodsRequest { agreement: world.reference() };
        refused(at.list_periods(months).await, Code::PermissionDenied, "n'a pas accès");
    }
    let mut partner = cohorts(&world, &party("siao")).await;
    refused(partner.query(asking(&world, &text)).await, Code::PermissionDenied, "n'a pas accès");
    refused(partner.publish(publishing(&world, &text)).await, Code::PermissionDenied, "n'a pas accès");
    assert_eq!(partner.list_publications(listing()).await.unwrap().into_inner().publications.len(), 1);
    let mut own = cohorts(&world, &analyst(ETUDE)).await;
    let approval = v1::ApproveRequest { agreement: world.reference(), id: published.id.clone(), signature: vec![0; 64].into() };
    refused(own.approve(approval).await, Code::PermissionDenied, "n'a pas accès");

    // Of another agreement, with a certificate of the same authority: the same words whatever it asks, and of no cohort.
    let uri = "linkage://autre/analyst/etude";
    let validity = Validity::days(jiff::Timestamp::now(), 1);
    let files = world.authority.issue_files(uri, validity, &world.path("other"), "certificate").unwrap();
    let mut other = CohortsClient::new(world.connect_with(&analyst(ETUDE), &files).await.unwrap());
    let says = "n'a aucun rôle dans la convention";
    refused(other.query(asking(&world, &text)).await, Code::PermissionDenied, says);
    let foreign = v1::QueryRequest { agreement: None, ..asking(&world, &text) };
    refused(other.query(foreign).await, Code::PermissionDenied, says);
    for id in [published.id.as_str(), "0123456789abcdef"] {
        let fetch = v1::GetPublicationRequest { agreement: world.reference(), id: id.to_owned() };
        refused(other.get_publication(fetch).await, Code::PermissionDenied, says);
    }
    // A member that names another version of the agreement.
    let stale = v1::QueryRequest { agreement: Some(v1::AgreementRef { hash: vec![1; 32].into() }), ..asking(&world, &text) };
    refused(own.query(stale).await, Code::PermissionDenied, "autre convention");
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_by_name_and_gives_no_figure() {
    let world = with_tables(|_| {}).await;
    let _served = world.serve_analyst(ETUDE);
    let mut at = cohorts(&world, &analyst(ETUDE)).await;
    let long = format!("{}# {}", query("Long", ""), "x".repeat(70_000));
    let deep = format!("population = {}{{ party = \"ccas\" }}{}", "{ not = ".repeat(40), " }".repeat(40));
    let cases: Vec<(String, Code, &str)> = vec![
        (query("Attribut", "breakdown = [\"ressources\"]"), Code::InvalidArgument, "ressources"),
        (query("Attribut", "population = { where = { ressources = [\"0\"] } }"), Code::InvalidArgument, "ressources"),
        (query("Partenaire", "population = { party = \"mairie\" }"), Code::InvalidArgument, "mairie"),
        (query("Mois", "population = { party = \"ccas\", period = \"2023-05\" }"), Code::InvalidArgument, "2023-05"),
        (query("Mois", "").replace("2024-01", "2031-07"), Code::InvalidArgument, "2031-07"),
        ("title = \"Incomplet\"".to_owned(), Code::InvalidArgument, "measure"),
        ("pas = [du toml".to_owned(), Code::InvalidArgument, "ligne 1"),
        ("{\"title\": 3}".to_owned(), Code::InvalidArgument, "ligne 1"),
        (query("Clé", "sql = \"DROP\""), Code::InvalidArgument, "sql"),
        (query("Profond", &deep), Code::InvalidArgument, "emboîte"),
        (long, Code::OutOfRange, "octets"),
        (String::new(), Code::InvalidArgument, "title"),
    ];
    for (text, code, says) in cases {
        refused(at.query(asking(&world, &text)).await, code, says);
        refused(at.publish(publishing(&world, &text)).await, code, says);
    }
    let latin = v1::QueryRequest { agreement: world.reference(), document: vec![0xe9, 0xff].into() };
    refused(at.query(latin).await, Code::InvalidArgument, "UTF-8");
    // Too many breakdowns for so few persons: nothing is left to show.
    let few = query("Trop fin", "population = { where = { nb_enfants = [\"5\"] } }\nbreakdown = [\"parties\"]");
    let nobody = at.query(asking(&world, &few)).await;
    assert!(nobody.map_or_else(|s| s.code() == Code::InvalidArgument, |a| no_small_figure(&a.into_inner())));
    let unknown = |id: &str| v1::GetPublicationRequest { agreement: world.reference(), id: id.to_owned() };
    refused(at.get_publication(unknown("0123456789abcdef")).await, Code::NotFound, "aucune publication");
    refused(at.get_publication(unknown("../../journal")).await, Code::InvalidArgument, "16 chiffres");
    // Nothing of all this is in the journal.
    let listing = v1::ListPublicationsRequest { agreement: world.reference() };
    assert_eq!(at.list_publications(listing).await.unwrap().into_inner().publications, []);
}

fn no_small_figure(answer: &v1::QueryResponse) -> bool {
    answer.table.iter().flat_map(|t| &t.cells).all(|c| match c.kind.as_ref().unwrap() {
        table_cell::Kind::Figure(f) => f.value == 0.0 || f.value >= 5.0,
        _ => true,
    })
}

#[tokio::test]
async fn an_analyst_without_the_right_asks_in_vain() {
    let world = with_tables(|a| a.analyst[0].may = vec![AnalystRight::RowLevel]).await;
    let file = analyst_file(&world, &world.analyst_config(ETUDE));
    let _served = world.serve_analyst(ETUDE);
    let text = query("Personnes", "");
    let mut at = cohorts(&world, &analyst(ETUDE)).await;
    refused(at.query(asking(&world, &text)).await, Code::PermissionDenied, "« cohorts »");
    refused(at.publish(publishing(&world, &text)).await, Code::PermissionDenied, "« cohorts »");
    let path = path_text(&document(&world, "q.toml", &text));
    let denied = linkage(["cohort", "query", &path, "--config", &file]);
    assert!(!denied.status.success() && denied.stdout.is_empty());
    proper(&String::from_utf8(denied.stderr).unwrap(), "« cohorts »");
}

fn wait(mut child: std::process::Child, millis: u64) -> Option<Output> {
    std::thread::sleep(Duration::from_millis(millis));
    let ended = child.try_wait().unwrap();
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    ended.map(|_| output)
}

#[tokio::test]
async fn a_process_killed_anywhere_leaves_the_journal_whole() {
    let world = with_tables(|a| a.disclosure.tables_per_month = Some(8)).await;
    let config = world.analyst_config(ETUDE);
    let file = analyst_file(&world, &config);
    let texts: Vec<String> = (0..8).map(|n| query(&format!("Tableau {n}"), "")).collect();
    let paths: Vec<String> =
        texts.iter().enumerate().map(|(n, text)| path_text(&document(&world, &format!("q{n}.toml"), text))).collect();
    let arguments =
        |path: &str| ["cohort", "publish", path, "--config", &file, "--justification", "Essai", "--json"].map(str::to_owned);
    let (mut ended, mut killed) = (0, 0);
    for round in 0..24u64 {
        let mut command = Command::new(binary());
        command.args(arguments(&paths[round as usize % 8])).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // From before the journal is opened to after the entry is made, on a fast machine and on a slow one.
        match wait(command.spawn().unwrap(), 5 << (round / 3)) {
            Some(output) if output.status.success() => ended += 1,
            Some(output) => panic!("{}", String::from_utf8(output.stderr).unwrap()),
            None => killed += 1,
        }
        let journal = json(&linkage_ok(["cohort", "journal", "--config", &file, "--json"]));
        let made = journal["publications"].as_array().unwrap();
        assert_eq!((&journal["altered"], &journal["spent"]), (&json!(0), &json!(made.len())));
        assert_eq!(journal["entries"], json!(2 * made.len()));
        assert!(made.iter().all(|p| p["state"] == json!("published")));
    }
    assert!(killed > 0, "{ended} ended");
    let ids = |_: u8| paths.iter().map(|p| json(&linkage_ok(arguments(p)))["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(1), ids(2));
    let journal = json(&linkage_ok(["cohort", "journal", "--config", &file, "--json"]));
    assert_eq!((&journal["spent"], &journal["entries"], &journal["altered"]), (&json!(8), &json!(16), &json!(0)));
    let access = json(&linkage_ok(["cohort", "access", "--config", &file, "--json"]));
    assert_eq!(access["unreadable"], json!(0));
}
