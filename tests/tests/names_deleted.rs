//! Once names are deleted, no file of a node's state holds one, and the months that were taken in are linked as before.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::path::PathBuf;

use linkage_common::config::SecretSource;
use linkage_crypto::storage::{Place, StorageKey};
use linkage_tests::federation::{Federation, Role, files, linkage_ok};
use linkage_tests::needles::Needles;

const MONTH: &str = "2024-01";

/// Plaintexts, plain files and file names below a node's folder: what was found, files opened, bytes searched.
fn search(federation: &Federation, party: &str, needles: &Needles) -> (Vec<String>, usize, usize) {
    let node = Role::Node(party.to_owned());
    let home = federation.home(&node);
    let key = StorageKey::from_bytes(&SecretSource::from_file(home.join("cles/storage.key")).read_key().unwrap());
    let state = PathBuf::from(federation.setting(&node, "state_dir"));
    let (mut found, mut opened, mut searched) = (Vec::new(), 0, 0);
    for (name, path) in files(&home) {
        let mut bytes = fs::read(&path).unwrap();
        if path.extension().is_some_and(|e| e == "enc") {
            let within = path.strip_prefix(&state).unwrap().with_extension("").display().to_string();
            bytes = key.open(Place { table: &within, row: b"" }, &bytes).unwrap().to_vec();
            opened += 1;
        }
        searched += bytes.len();
        found.extend(needles.scan(&bytes).iter().map(|hit| format!("{party}/{name}: {hit:?}")));
        found.extend(needles.scan(name.as_bytes()).iter().map(|hit| format!("{party}, name of a file: {hit:?}")));
    }
    (found, opened, searched)
}

#[test]
fn a_node_without_names_holds_none_and_links_as_before() {
    let mut federation = Federation::set_up(800, 1, 31);
    let canonical: Vec<PathBuf> = files(&federation.folder.join("donnees/canonical")).into_iter().map(|f| f.1).collect();
    let needles = Needles::of_canonical(canonical.iter().map(PathBuf::as_path), &federation.public_text());
    let expected = federation.trial("avec-noms", MONTH);

    federation.start_all();
    federation.deliver(MONTH);
    federation.open_run("avec-noms", MONTH);
    federation.wait_closed("avec-noms");
    federation.wait_ingested(MONTH);
    let with_names = federation.links("avec-noms", MONTH);
    assert_eq!(with_names, expected);
    for node in federation.nodes() {
        federation.stop(&node);
    }

    // The search finds what is there: names are held until they are deleted, sealed, in one file of each node.
    for party in &federation.parties {
        let (found, opened, _) = search(&federation, party, &needles);
        assert!(opened >= 6, "{party}: {opened} sealed files");
        let sealed_names = format!("{party}/etat/names/{MONTH}.enc: ");
        assert!(found.len() > 100, "{party}: {} found before deletion", found.len());
        assert!(
            found.iter().all(|f| f.starts_with(&sealed_names)),
            "{party}: {:?}",
            found.iter().find(|f| !f.starts_with(&sealed_names))
        );
    }

    for party in &federation.parties {
        let config = federation.config(&Role::Node(party.clone()));
        let status = || -> serde_json::Value {
            serde_json::from_str(&linkage_ok(["node", "status", "--json", "--config", config.to_str().unwrap()])).unwrap()
        };
        assert_eq!(status()["names_held"], true);
        linkage_ok(["node", "delete-names", "--config", config.to_str().unwrap()]);
        assert_eq!(status()["names_held"], false);
    }
    // The truth stays, with the harness: it turns references back into local ids.
    for party in federation.parties.iter().map(String::as_str).chain(["canonical"]) {
        fs::remove_dir_all(federation.folder.join("donnees").join(party)).unwrap();
    }
    let (mut total_opened, mut total_searched) = (0, 0);
    for party in &federation.parties {
        let (found, opened, searched) = search(&federation, party, &needles);
        assert_eq!(found, Vec::<String>::new());
        total_opened += opened;
        total_searched += searched;
    }

    federation.start_all();
    federation.open_run("sans-noms", MONTH);
    federation.wait_closed("sans-noms");
    let without_names = federation.links("sans-noms", MONTH);
    assert_eq!(without_names, with_names);
    federation.assert_once("sans-noms", &without_names);
    federation.stop_all();
    for party in &federation.parties {
        assert_eq!(search(&federation, party, &needles).0, Vec::<String>::new(), "after a run without names");
    }
    println!("{} needles; {total_opened} sealed files opened, {total_searched} bytes searched", needles.count());
}
