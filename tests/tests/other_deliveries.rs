//! Deliveries of clkhash files and key files, and the annexes that block-scoped parties' records carry for their sake: every
//! entry is accounted for, what may not be taken in leaves nothing behind, and equal persons get equal annexes.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use linkage_agreement::model::{ClkEncoding, HashKeyEncoding};
use linkage_agreement::{Agreement, PartyProfile, RoleId};
use linkage_clk_encode::{Encoder, Schema};
use linkage_common::config::{SecretSource, write_secret};
use linkage_crypto::derive::SharedKey;
use linkage_crypto::group::GroupKey;
use linkage_crypto::oprf::{Mode, ServerKey};
use linkage_hash_keys::{GivenNames, Hashing, Values, texts};
use linkage_linking::LevelFrequencies;
use linkage_node::delivery::DeliverySummary;
use linkage_node::oprf::Evaluator;
use linkage_node::progress::Progress;
use linkage_node::{Node, NodeError};
use linkage_tests::fakes::{Fake, FakeBroker, FakeCustodian};
use linkage_tests::fixture::{PERSONAL, World, party, period, refused as refused_at};
use linkage_tests::wire::AtBroker;
use sha2::{Digest, Sha256};
use tonic::Code;

const SCHEMA: &str = include_str!("../clk/federation-schema.json");
const SECRET: &[u8] = b"secret partage";

/// ccas delivers names, siao filters, caf keys.
fn world(keyed: bool) -> World {
    world_with(keyed, |_| {})
}

fn world_with(keyed: bool, also: impl FnOnce(&mut Agreement)) -> World {
    let world = World::altered(|agreement| {
        agreement.party[1].profile = Some(PartyProfile::Clk);
        agreement.party[2].profile = Some(PartyProfile::HashKeys);
        agreement.encoding.clk = Some(ClkEncoding {
            schema_sha256: hex::encode(Sha256::digest(SCHEMA)),
            bits: 1024,
            threshold_permille: 850,
            margin_permille: 20,
            diffusion: 0,
            risk_accepted: true,
        });
        agreement.encoding.hash_keys = Some(HashKeyEncoding { keyed, risk_accepted: true });
        also(agreement);
    });
    std::fs::write(world.path("schema.json"), SCHEMA).unwrap();
    linkage_common::fsx::write_atomic(&world.path("clk.secret"), SECRET).unwrap();
    write_secret(&world.path("cles.key"), &[5; 32]).unwrap();
    world
}

fn ccas(world: &World) -> Node {
    let mut config = world.node_config("ccas");
    config.clk_schema = Some(world.path("schema.json"));
    config.clk_secret = Some(world.path("clk.secret"));
    config.hash_keys_key = Some(SecretSource::from_file(world.path("cles.key")));
    Node::open(config).unwrap()
}

fn other(world: &World, name: &str, line_file: bool) -> Node {
    let mut config = world.node_config(name);
    config.line_file = line_file;
    // No mapping: there are no columns of names to map.
    config.mapping = PathBuf::new();
    Node::open(config).unwrap()
}

async fn take_in(node: &Node, file: &std::path::Path) -> Result<DeliverySummary, NodeError> {
    let mut evaluator = Evaluator::Shared(SharedKey::from_bytes(&[7; 32]));
    node.ingest(file, period(), &mut evaluator, &Progress::silent()).await
}

async fn refused(node: &Node, file: &std::path::Path, says: &str) {
    let message = take_in(node, file).await.unwrap_err().to_string();
    assert!(message.contains(says), "« {says} » is not in: {message}");
    assert!(PERSONAL.iter().all(|word| !message.contains(word)), "{message}");
    assert!(node.periods().unwrap().is_empty() && !node.names_held().unwrap());
    for state in ["names", "archive", "annex"] {
        assert_eq!(node.vault.list(state).unwrap(), Vec::<String>::new());
    }
}

/// The cells of the schema for a person of [`World::deliver`], as docs/guide-operateur.md asks for.
fn person(n: usize) -> [String; 4] {
    let suffix: String = [n / 26, n % 26].map(|l| char::from(b'A' + l as u8)).iter().collect();
    let (surname, given, date) =
        if n.is_multiple_of(2) { ("MARZOUKI", "YASMINA", "1971-03-09") } else { ("LE GOFFIC", "ANNICK", "1988-11-23") };
    [format!("{surname}{suffix}"), given.to_owned(), "2".to_owned(), date.to_owned()]
}

fn filter(n: usize) -> Vec<u8> {
    let encoder = Encoder::new(Schema::parse(SCHEMA).unwrap(), SECRET).unwrap();
    encoder.encode(person(n).iter().map(String::as_str)).unwrap()
}

fn clks(filters: &[Vec<u8>]) -> String {
    let filters: Vec<String> = filters.iter().map(|f| format!("\"{}\"", STANDARD.encode(f))).collect();
    format!("{{\"clks\": [{}]}}", filters.join(", "))
}

fn keys(n: usize) -> [[u8; 32]; 2] {
    let [surname, given, _, date] = person(n);
    let values = Values { birth_name: &surname, usage_name: "", given_names: &given, birth_date: &date };
    let keys = texts(values, GivenNames::All).unwrap().keys(Hashing::Plain);
    [keys.primary.unwrap(), keys.secondary]
}

fn key_file(persons: impl IntoIterator<Item = usize>) -> String {
    let mut text = "numero_ligne;cle_primaire;cle_secondaire\n".to_owned();
    for (line, n) in persons.into_iter().enumerate() {
        let [primary, secondary] = keys(n).map(hex::encode);
        text.push_str(&format!("{};{primary};{secondary}\n", line + 1));
    }
    text
}

fn write(world: &World, name: &str, text: &str) -> PathBuf {
    std::fs::write(world.path(name), text).unwrap();
    world.path(name)
}

#[tokio::test]
async fn every_filter_is_a_record_or_listed() {
    let world = world(false);
    let node = other(&world, "siao", false);
    let mut filters: Vec<Vec<u8>> = (0..6).map(filter).collect();
    filters[1] = vec![0; 128];
    filters[4] = vec![255; 128];
    let file = write(&world, "clks.json", &clks(&filters));
    let summary = take_in(&node, &file).await.unwrap();
    assert_eq!((summary.lines, summary.records, summary.set_aside), (6, 4, 2));
    assert_eq!(summary.reasons.values().copied().collect::<Vec<_>>(), [1, 1]);
    let listed = std::fs::read_to_string(node.report_path(period())).unwrap();
    assert!(listed.contains("\r\n2;filtre sans aucun bit") && listed.contains("\r\n5;filtre dont tous les bits"), "{listed}");
    assert_eq!(node.delivery(period()).unwrap().unwrap().records.len(), 4);
    assert!(!node.names_held().unwrap());

    // The same again changes nothing; in another order the records are the same persons.
    let archived = |node: &Node| (node.vault.list("archive").unwrap(), node.vault.list("annex").unwrap());
    let before = archived(&node);
    assert_eq!(before.1.len(), 1);
    assert_eq!(take_in(&node, &file).await.unwrap(), summary);
    filters.reverse();
    let references = |node: &Node| {
        let mut all: Vec<String> = node.delivery(period()).unwrap().unwrap().records.into_iter().map(|r| r.reference).collect();
        all.sort();
        all
    };
    let known = references(&node);
    take_in(&node, &write(&world, "clks.json", &clks(&filters))).await.unwrap();
    assert_eq!((references(&node), archived(&node)), (known, before));
    // Two equal filters are two records.
    filters.push(filter(0));
    let summary = take_in(&node, &write(&world, "clks.json", &clks(&filters))).await.unwrap();
    assert_eq!((summary.records, references(&node).len()), (5, 5));
}

#[tokio::test]
async fn a_clkhash_file_that_cannot_be_trusted_is_refused_with_its_place() {
    let world = world(false);
    let node = other(&world, "siao", false);
    let whole = clks(&[filter(0), filter(1)]);
    let cut: String = whole.chars().take(whole.len() - 20).collect();
    let broken = whole.replacen("=\", \"", "!\", \"", 1);
    let cases = [
        (cut, "fichier tronqué"),
        (broken, "le filtre 0 n'est pas du base64"),
        (clks(&[vec![3; 64], vec![5; 64]]), "filtres de 512 bits, la convention en prévoit 1024"),
        (clks(&[filter(0), vec![3; 64]]), "filtre 1"),
        ("{\"clks\": []}".to_owned(), "aucune fiche"),
        ("[]".to_owned(), "ce n'est pas un fichier de clkhash"),
        ("local_id,nom_naissance\n1,MARZOUKI\n".to_owned(), "ce n'est pas un fichier de clkhash"),
        (String::new(), "tronqué"),
    ];
    for (text, says) in cases {
        refused(&node, &write(&world, "clks.json", &text), says).await;
    }
    let many: Vec<Vec<u8>> = (0..101).map(filter).collect();
    refused(&node, &write(&world, "clks.json", &clks(&many)), "101 fiches").await;
    assert_eq!(take_in(&node, &write(&world, "clks.json", &whole)).await.unwrap().records, 2);
}

#[tokio::test]
async fn lines_beside_filters_give_local_ids_and_attributes() {
    let world = world(false);
    let node = other(&world, "siao", true);
    let filters: Vec<Vec<u8>> = (0..5).map(filter).collect();
    let file = write(&world, "clks.json", &clks(&filters));
    refused(&node, &file, "clks-lignes.csv manque").await;
    let header = "local_id;local_household_id;composition;nb_enfants\n";
    let four = format!("{header}a;f1;personne seule;1\nb;f1;autre chose;9\n\nd;;;x\n");
    write(&world, "clks-lignes.csv", &four);
    refused(&node, &file, "5 filtres ou lignes de clés, mais 4 lignes").await;
    for (text, says) in [
        ("local_id;nom_naissance\n", "colonne 2 inconnue"),
        ("MARZOUKI;Yasmina\n", "colonne 1 inconnue"),
        ("nb_enfants\n", "« local_id » absente"),
        ("local_id;local_id\n", "colonne 2 déjà nommée"),
        ("", "doit nommer les colonnes"),
    ] {
        write(&world, "clks-lignes.csv", text);
        refused(&node, &file, says).await;
    }
    write(&world, "clks-lignes.csv", &format!("{four}a;;;\n\n"));
    let summary = take_in(&node, &file).await.unwrap();
    assert_eq!((summary.lines, summary.records, summary.set_aside), (5, 3, 2));
    assert_eq!(summary.attributes_left_out, BTreeMap::from([("composition".to_owned(), 1), ("nb_enfants".to_owned(), 1)]));
    let state = node.delivery(period()).unwrap().unwrap();
    assert_eq!(state.records[0].attributes, [Some("personne seule".to_owned()), Some("1".to_owned())]);
    assert_eq!(state.records[1].attributes, [None, Some("6".to_owned())]);
    assert_eq!(state.records[0].household, state.records[1].household);
    assert!(node.references_of(["a", "b", "d"].into_iter()).unwrap().iter().all(Option::is_some));

    // A changed line file is another delivery; a changed filter another content of the same record.
    let before = node.references_of(["a"].into_iter()).unwrap();
    write(&world, "clks-lignes.csv", &format!("{header}a;f1;personne seule;2\nb;f1;;\nc;;;\nd;;;\ne;;;\n"));
    assert_eq!(take_in(&node, &file).await.unwrap().records, 5);
    assert_eq!(node.references_of(["a"].into_iter()).unwrap(), before);

    // A line file that the configuration does not expect is not left unread.
    let without = World::path(&world, "node-siao");
    std::fs::remove_dir_all(without).unwrap();
    refused(&other(&world, "siao", false), &file, "line_file = true").await;
}

#[tokio::test]
async fn every_line_of_a_key_file_is_a_record_or_listed() {
    let world = world(false);
    let node = other(&world, "caf", false);
    let text = format!("{}8;zz;\n9;;\nx\n", key_file(0..3));
    let summary = take_in(&node, &write(&world, "cles.csv", &text)).await.unwrap();
    assert_eq!((summary.lines, summary.records, summary.set_aside), (6, 3, 3));
    assert_eq!(summary.reasons.len(), 3);
    let listed = std::fs::read_to_string(node.report_path(period())).unwrap();
    assert!(["\r\n5;clé", "\r\n6;aucune clé", "\r\n7;colonnes manquantes"].iter().all(|line| listed.contains(line)), "{listed}");
    let levels: LevelFrequencies = serde_json::from_value(node.delivery(period()).unwrap().unwrap().level_frequencies).unwrap();
    assert_eq!(levels, LevelFrequencies::new(&world.agreement.layout()), "a party without names has no levels");
    let fresh = self::world(false);
    let node = other(&fresh, "caf", false);
    for (text, says) in [
        ("", "fichier vide"),
        ("local_id;nom_naissance\n", "doit nommer les colonnes"),
        ("numero_ligne;cle_primaire;cle_secondaire\n", "aucune fiche"),
    ] {
        refused(&node, &write(&fresh, "cles.csv", text), says).await;
    }
}

#[tokio::test]
async fn a_node_with_names_needs_the_agreed_schema_and_secrets() {
    let world = world(true);
    let delivery = world.deliver("ccas", 4);
    let with = |alter: &dyn Fn(&mut linkage_node::config::NodeConfig)| {
        let mut config = ccas(&world).config;
        alter(&mut config);
        Node::open(config).unwrap()
    };
    refused(&with(&|c| c.clk_schema = None), &delivery, "clk_schema = ").await;
    refused(&with(&|c| c.clk_secret = None), &delivery, "clk_secret = ").await;
    refused(&with(&|c| c.hash_keys_key = None), &delivery, "hash_keys_key = ").await;
    refused(&with(&|c| c.clk_schema = Some(world.path("absent.json"))), &delivery, "absent.json : fichier introuvable").await;
    for other in [SCHEMA.replace("1024", "512"), format!("{SCHEMA}\n"), "{".to_owned()] {
        write(&world, "schema.json", &other);
        refused(&ccas(&world), &delivery, &hex::encode(Sha256::digest(SCHEMA))).await;
    }
    write(&world, "schema.json", SCHEMA);
    for (secret, says) in [("", "vide"), ("\n", "vide")] {
        linkage_common::fsx::write_atomic(&world.path("clk.secret"), secret.as_bytes()).unwrap();
        refused(&ccas(&world), &delivery, says).await;
    }
    linkage_common::fsx::write_atomic_public(&world.path("clk.secret"), SECRET).unwrap();
    refused(&ccas(&world), &delivery, "clk.secret").await;
    // The service says so at once, before any delivery.
    let served = Box::pin(linkage_node::serve(ccas(&world).config, std::future::pending::<()>())).await.unwrap_err();
    assert!(served.to_string().contains("clk.secret"), "{served}");
    linkage_common::fsx::write_atomic(&world.path("clk.secret"), SECRET).unwrap();
    let summary = take_in(&ccas(&world), &delivery).await.unwrap();
    assert_eq!((summary.records, summary.remarks.len()), (4, 0), "{:?}", summary.remarks);
}

#[tokio::test]
async fn a_schema_that_asks_for_more_than_the_agreement_is_refused() {
    let wider = SCHEMA.replace("\"prenoms\"", "\"telephone\"");
    let world = World::altered(|agreement| {
        agreement.party[1].profile = Some(PartyProfile::Clk);
        agreement.encoding.clk = Some(ClkEncoding {
            schema_sha256: hex::encode(Sha256::digest(&wider)),
            bits: 1024,
            threshold_permille: 850,
            margin_permille: 20,
            diffusion: 0,
            risk_accepted: true,
        });
    });
    write(&world, "schema.json", &wider);
    linkage_common::fsx::write_atomic(&world.path("clk.secret"), SECRET).unwrap();
    let delivery = world.deliver("ccas", 4);
    refused(&ccas(&world), &delivery, "« telephone » n'est pas un champ d'identité").await;
}

/// A false broker and custodian, the ceremony done; what each party uploads to run `r`, decoys among it.
async fn uploads(world: &World, nodes: &[Node]) -> Vec<Vec<u8>> {
    let broker = FakeBroker::default();
    let config = world.broker_config();
    let _broker = Fake::serve(config.listen, &config.tls, broker.routes()).await;
    let config = world.custodian_config();
    let key = Arc::new(ServerKey::derive(Mode::Voprf, &[7; 32], b"other").unwrap());
    let custodian = FakeCustodian { key, tables: vec![], chunks: vec![] };
    let _custodian = Fake::serve(config.listen, &config.tls, custodian.routes()).await;
    for _ in 0..2 {
        for node in nodes {
            let channel = world.connect(&RoleId::Broker, &party(node.party().as_str())).await;
            node.advance_ceremony(channel).await.unwrap();
        }
    }
    let mut all = Vec::new();
    for node in nodes {
        let me = party(node.party().as_str());
        let (to_broker, to_custodian) = (world.connect(&RoleId::Broker, &me).await, world.connect(&RoleId::Custodian, &me).await);
        node.participate(&world.order("r", "2024-01", &[]), to_broker, to_custodian, &Progress::silent()).await.unwrap();
        let mut state = broker.state();
        all.push(std::mem::take(&mut state.batches).into_values().flat_map(|batch| batch.records.to_vec()).collect());
        state.manifest = None;
    }
    all
}

#[tokio::test]
async fn equal_persons_have_equal_annexes_under_the_runs_key() {
    let world = world(false);
    let nodes = [ccas(&world), other(&world, "siao", false), other(&world, "caf", false)];
    let delivery = world.deliver("ccas", 40);
    take_in(&nodes[0], &delivery).await.unwrap();
    take_in(&nodes[1], &write(&world, "clks.json", &clks(&(0..30).map(filter).collect::<Vec<_>>()))).await.unwrap();
    take_in(&nodes[2], &write(&world, "cles.csv", &key_file(20..50))).await.unwrap();
    let sent = uploads(&world, &nodes).await;

    let (layout, annex) = (world.agreement.layout(), 128 + 64);
    let annexes = |party: usize| -> Vec<Vec<u8>> {
        let shape = world.agreement.shape(nodes[party].party());
        let len = shape.record_len(&layout);
        assert_eq!(sent[party].len() % len, 0);
        sent[party].chunks_exact(len).map(|record| record[len - annex..].to_vec()).collect()
    };
    let (names, filters, keys_sent) = (annexes(0), annexes(1), annexes(2));
    let decoys = 40 * world.agreement.encoding.decoys_percent as usize / 100;
    assert_eq!((names.len(), filters.len(), keys_sent.len()), (40 + decoys, 30, 30));
    let parts = |annexes: &[Vec<u8>], from: usize, to: usize| -> std::collections::BTreeSet<Vec<u8>> {
        annexes.iter().map(|a| a[from..to].to_vec()).collect()
    };
    // A person of the clk party has the same filter at the party with names, and no keys; and the reverse.
    assert_eq!(parts(&filters, 0, 128).intersection(&parts(&names, 0, 128)).count(), 30);
    assert_eq!(parts(&filters, 128, 192), [vec![0; 64]].into());
    assert_eq!(parts(&keys_sent, 128, 160).intersection(&parts(&names, 128, 160)).count(), 20);
    assert_eq!(parts(&keys_sent, 160, 192).intersection(&parts(&names, 160, 192)).count(), 20);
    assert_eq!(parts(&keys_sent, 0, 128), [vec![0; 128]].into());
    // Nothing leaves as it was archived, and no decoy is without an annex.
    assert!(parts(&filters, 0, 128).is_disjoint(&(0..30).map(filter).collect()));
    assert!(parts(&keys_sent, 128, 160).is_disjoint(&(20..50).map(|n| keys(n)[0].to_vec()).collect()));
    assert!(names.iter().all(|annex| annex[..128] != [0; 128] && annex[128..160] != [0; 32] && annex[160..] != [0; 32]));
    assert_eq!(parts(&names, 128, 160).len(), 40 + decoys);
}

#[tokio::test]
async fn an_amendment_finds_records_without_annex_until_their_names_come_again() {
    // Taken in under an agreement of block-scoped parties; the amendment finds the same state.
    let before = World::new();
    let delivery = before.deliver("ccas", 20);
    take_in(&Node::open(before.node_config("ccas")).unwrap(), &delivery).await.unwrap();
    // The custodian's OPRF key stays: another one would be another epoch.
    let oprf_public_key = before.agreement.custodian.oprf_public_key.clone();
    let world = world_with(false, |agreement| agreement.custodian.oprf_public_key = oprf_public_key);
    let open = || {
        let (old, mut config) = (before.node_config("ccas"), ccas(&world).config);
        (config.state_dir, config.storage_key, config.mapping) = (old.state_dir, old.storage_key, old.mapping);
        Node::open(config).unwrap()
    };
    let nodes = [open(), other(&world, "siao", false), other(&world, "caf", false)];
    take_in(&nodes[1], &write(&world, "clks.json", &clks(&(0..20).map(filter).collect::<Vec<_>>()))).await.unwrap();
    take_in(&nodes[2], &write(&world, "cles.csv", &key_file(0..20))).await.unwrap();
    let layout = world.agreement.layout();
    let filters = |sent: &[Vec<u8>], party: usize| -> std::collections::BTreeSet<Vec<u8>> {
        let len = world.agreement.shape(nodes[party].party()).record_len(&layout);
        sent[party].chunks_exact(len).map(|record| record[len - 192..len - 64].to_vec()).collect()
    };
    let sent = uploads(&world, &nodes).await;
    assert_eq!(filters(&sent, 0), [vec![0; 128]].into());
    // The same file again is not the same delivery: its annexes are made, its records stay who they were.
    let of = |node: &Node| node.delivery(period()).unwrap().unwrap().records;
    let records = of(&nodes[0]);
    take_in(&nodes[0], &delivery).await.unwrap();
    assert_eq!(of(&nodes[0]), records);
    for node in &nodes {
        node.vault.remove("runs/r").unwrap();
    }
    let sent = uploads(&world, &nodes).await;
    assert_eq!(filters(&sent, 0).intersection(&filters(&sent, 1)).count(), 20);
    let archived = nodes[0].vault.list("archive").unwrap();
    take_in(&nodes[0], &delivery).await.unwrap();
    assert_eq!(nodes[0].vault.list("archive").unwrap(), archived);
}

#[tokio::test]
async fn keyed_keys_are_those_that_the_command_makes() {
    let world = world(true);
    let nodes = [ccas(&world), other(&world, "siao", false), other(&world, "caf", false)];
    let delivery = world.deliver("ccas", 4);
    take_in(&nodes[0], &delivery).await.unwrap();
    take_in(&nodes[1], &write(&world, "clks.json", &clks(&[filter(0)]))).await.unwrap();
    // linkage hash-keys make --group-key cles.key --agreement convention.toml --run cles
    let run = GroupKey::from_bytes(&[5; 32]).run_key(world.hash.as_bytes(), "cles");
    let mut text = "numero_ligne;cle_primaire;cle_secondaire\n".to_owned();
    for n in 0..4 {
        let [surname, given, _, date] = person(n);
        let values = Values { birth_name: &surname, usage_name: "", given_names: &given, birth_date: &date };
        let keys = texts(values, GivenNames::All).unwrap().keys(Hashing::Keyed(&run));
        text.push_str(&format!("{n};{};{}\n", hex::encode(keys.primary.unwrap()), hex::encode(keys.secondary)));
    }
    take_in(&nodes[2], &write(&world, "cles.csv", &text)).await.unwrap();
    let sent = uploads(&world, &nodes).await;
    let tails = |party: usize| -> std::collections::BTreeSet<Vec<u8>> {
        let len = world.agreement.shape(nodes[party].party()).record_len(&world.agreement.layout());
        sent[party].chunks_exact(len).map(|record| record[len - 64..].to_vec()).collect()
    };
    assert_eq!(tails(0), tails(2));
}

#[tokio::test]
async fn a_party_that_sends_records_of_another_shape_is_refused() {
    let world = world(false);
    let _broker = world.serve_broker();
    AtBroker::party(&world, "ccas").await.open("r", &["ccas", "siao", "caf"]).await;
    let layout = world.agreement.layout();
    let len = |party: &str| world.agreement.shape(&party.parse().unwrap()).record_len(&layout);
    let (names, filters) = (len("ccas"), len("siao"));
    assert_eq!((filters, len("caf")), (20 + 192, filters));
    // Records with entries from a party without names; without, from one with; without an annex; cut.
    for (party, record) in [("siao", names), ("caf", names), ("ccas", filters), ("ccas", names - 192), ("siao", 20), ("caf", 211)]
    {
        let mut at = AtBroker::party(&world, party).await;
        let batch = at.batch("r", 0, &vec![7; record]);
        let says = format!("fiches entières de {} octets", len(party));
        refused_at(at.put(vec![batch]).await, Code::InvalidArgument, &says);
        assert_eq!(at.held("r").await.records, 0);
    }
    for (party, len) in [("ccas", names), ("siao", filters), ("caf", filters)] {
        let mut at = AtBroker::party(&world, party).await;
        let batch = at.batch("r", 0, &vec![7; 3 * len]);
        assert_eq!(at.put(vec![batch]).await.unwrap().records, 3);
    }
}
