//! An agreement that names a pass set by its file's digest: without the very file no delivery is taken in, and nothing of
//! it is lost; with it, the same delivery goes on.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::PathBuf;

use linkage_crypto::derive::SharedKey;
use linkage_node::node::Node;
use linkage_node::oprf::Evaluator;
use linkage_node::progress::Progress;
use linkage_tests::fixture::{PERSONAL, World, period};
use sha2::{Digest, Sha256};

const FINE: &str = r#"
id = "choisi"
margin_bits = 2.5
name_cap_bits = 13.0
rank_weight = 6.0

[[pass]]
id = "mots+date"
names = ["word", "word"]
date = "full"
"#;
/// An initial and a year, emitted however frequent: large blocks of strangers.
const COARSE: &str = r#"
id = "trop-large"
margin_bits = 0.0
name_cap_bits = 13.0
rank_weight = 6.0

[[pass]]
id = "initiale+annee"
names = ["initial"]
date = "year"
gated = false
"#;

fn world(text: &str, name: &str) -> World {
    let reference = format!("{name}@{}", hex::encode(Sha256::digest(text)));
    World::altered(|agreement| agreement.encoding.pass_set = reference)
}

/// A node of `world` with `pass_set` in its configuration.
fn node(world: &World, pass_set: Option<PathBuf>) -> Node {
    let mut config = world.node_config("ccas");
    config.pass_set = pass_set;
    Node::open(config).unwrap()
}

async fn take_in(node: &Node, file: &std::path::Path) -> Result<u64, String> {
    let mut evaluator = Evaluator::Shared(SharedKey::from_bytes(&[7; 32]));
    let taken = node.ingest(file, period(), &mut evaluator, &Progress::silent()).await;
    taken.map(|summary| summary.records).map_err(|error| error.to_string())
}

#[track_caller]
fn nothing_was_kept(node: &Node, message: &str) {
    assert!(!node.names_held().unwrap() && node.periods().unwrap().is_empty());
    for state in ["names", "archive"] {
        assert_eq!(node.vault.list(state).unwrap(), Vec::<String>::new());
    }
    assert!(PERSONAL.iter().all(|word| !message.contains(word)), "{message}");
}

#[tokio::test]
async fn a_delivery_waits_for_the_agreed_file() {
    let world = world(FINE, "choisi");
    let delivery = world.deliver("ccas", 40);
    let as_delivered = std::fs::read(&delivery).unwrap();

    let unconfigured = node(&world, None);
    let refusal = take_in(&unconfigured, &delivery).await.unwrap_err();
    assert!(refusal.contains("« choisi@") && refusal.contains("pass_set = "), "{refusal}");
    nothing_was_kept(&unconfigured, &refusal);

    // The node runs on; only the file changes.
    let path = world.path("choisi.toml");
    let node = node(&world, Some(path.clone()));
    let refusal = take_in(&node, &delivery).await.unwrap_err();
    assert!(refusal.contains("choisi.toml : fichier introuvable"), "{refusal}");
    nothing_was_kept(&node, &refusal);
    for other in [FINE.replace("2.5", "2.4"), format!("{FINE}\n"), "id =".to_owned(), COARSE.to_owned()] {
        std::fs::write(&path, &other).unwrap();
        let refusal = take_in(&node, &delivery).await.unwrap_err();
        assert!(refusal.contains("n'est pas celui de la convention"), "{refusal}");
        assert!(refusal.contains(&hex::encode(Sha256::digest(FINE))), "{refusal}");
        nothing_was_kept(&node, &refusal);
    }
    std::fs::write(&path, vec![b'#'; 300 << 10]).unwrap();
    let refusal = take_in(&node, &delivery).await.unwrap_err();
    assert!(refusal.contains("trop grand"), "{refusal}");
    nothing_was_kept(&node, &refusal);

    std::fs::write(&path, FINE).unwrap();
    assert_eq!(take_in(&node, &delivery).await, Ok(40));
    assert_eq!(node.periods().unwrap(), [period()]);
    assert_eq!(std::fs::read(&delivery).unwrap(), as_delivered);
}

#[tokio::test]
async fn an_agreed_file_that_is_too_coarse_or_faulty_encodes_nothing() {
    let coarse = world(COARSE, "trop-large");
    let delivery = coarse.deliver("ccas", 100);
    let path = coarse.path("jeu.toml");
    std::fs::write(&path, COARSE).unwrap();
    let node_of_coarse = node(&coarse, Some(path));
    let refusal = take_in(&node_of_coarse, &delivery).await.unwrap_err();
    assert!(refusal.contains("« initiale+annee » trop grossière") && refusal.contains("avenant"), "{refusal}");
    nothing_was_kept(&node_of_coarse, &refusal);

    let typed = FINE.replace("\"full\"", "\"fulll\"");
    let faulty = world(&typed, "choisi");
    let delivery = faulty.deliver("ccas", 4);
    let path = faulty.path("jeu.toml");
    std::fs::write(&path, &typed).unwrap();
    let node = node(&faulty, Some(path));
    let refusal = take_in(&node, &delivery).await.unwrap_err();
    assert!(refusal.contains("ligne 10"), "{refusal}");
    nothing_was_kept(&node, &refusal);
}

#[tokio::test]
async fn a_file_beside_a_set_that_comes_with_the_software_is_not_looked_at() {
    let world = World::new();
    let delivery = world.deliver("ccas", 4);
    assert_eq!(take_in(&node(&world, Some(world.path("absent.toml"))), &delivery).await, Ok(4));
}
