//! A federation of processes in which one partner has clkhash filters and one hash keys, and no names: both take part with
//! those who have, all are linked, and no name is anywhere but at its own node.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use linkage_agreement::model::{ClkEncoding, HashKeyEncoding};
use linkage_agreement::signature::SigningKey;
use linkage_agreement::{ParsedAgreement, PartyProfile, Signatures, sign};
use linkage_common::config::SecretSource;
use linkage_common::fsx;
use linkage_crypto::storage::{Place, StorageKey};
use linkage_encoding::text::plain_words;
use linkage_tests::federation::{Federation, Role, files, linkage_ok};
use linkage_tests::needles::Needles;
use sha2::{Digest, Sha256};

const MONTH: &str = "2024-01";
const RUN: &str = "mixte";
/// Delivers filters.
const CLK: &str = "siao";
/// Delivers keys.
const KEYS: &str = "departement";
const SCHEMA: &str = include_str!("../clk/federation-schema.json");

fn node(party: &str) -> Role {
    Role::Node(party.to_owned())
}

/// Puts settings before the first table of a role's configuration.
fn configure(federation: &Federation, party: &str, settings: &str) {
    let path = federation.config(&node(party));
    let text = fs::read_to_string(&path).unwrap();
    fsx::write_atomic(&path, format!("{settings}{text}").as_bytes()).unwrap();
}

/// Makes an agreement with both profiles of the site's, signed by all, and tells the nodes what they need.
fn amend(federation: &Federation) {
    let path = federation.folder.join("convention.toml");
    let text = fs::read_to_string(&path).unwrap();
    let mut agreement = ParsedAgreement::parse(&text, "convention.toml").unwrap().agreement().clone();
    for party in &mut agreement.party {
        party.profile = match party.id.as_str() {
            CLK => Some(PartyProfile::Clk),
            KEYS => Some(PartyProfile::HashKeys),
            _ => None,
        };
    }
    agreement.encoding.clk = Some(ClkEncoding {
        schema_sha256: hex::encode(Sha256::digest(SCHEMA)),
        bits: 1024,
        threshold_permille: 850,
        margin_permille: 20,
        diffusion: 0,
        risk_accepted: true,
    });
    agreement.encoding.hash_keys = Some(HashKeyEncoding { keyed: false, risk_accepted: true });
    let text = agreement.to_toml();
    let parsed = ParsedAgreement::parse(&text, "convention.toml").unwrap();
    let signatures: Signatures = federation
        .parties
        .iter()
        .map(|party| {
            let key = federation.home(&node(party)).join("cles/signing.key");
            let key = SigningKey::from_bytes(&SecretSource::from_file(key).read_key().unwrap());
            sign(&parsed, &party.parse().unwrap(), &key, "2024-01-02".parse().unwrap()).unwrap()
        })
        .collect();
    fsx::write_atomic(&path, text.as_bytes()).unwrap();
    fsx::write_atomic(&federation.folder.join("convention.signatures.toml"), signatures.to_toml().as_bytes()).unwrap();
    let shown = linkage_ok(["agreement", "show", path.to_str().unwrap()]);
    for words in ["siao : ", "livre des filtres clkhash", "livre des clés de hachage", "58 à 100 %", "83 %", "risque accepté"]
    {
        assert!(shown.contains(words), "« {words} » is not in: {shown}");
    }
    for party in &federation.parties {
        let home = federation.home(&node(party));
        if [CLK, KEYS].contains(&party.as_str()) {
            configure(federation, party, "line_file = true\n");
            continue;
        }
        let (schema, secret) = (home.join("schema.json"), home.join("cles/clkhash.secret"));
        fsx::write_atomic(&schema, SCHEMA.as_bytes()).unwrap();
        fsx::write_atomic(&secret, b"secret des partenaires\n").unwrap();
        configure(federation, party, &format!("clk_schema = {schema:?}\nclk_secret = {secret:?}\n"));
    }
}

/// Rows of a canonical file under its header.
fn canonical(federation: &Federation, party: &str) -> Vec<HashMap<String, String>> {
    let path = federation.folder.join(format!("donnees/canonical/{party}_{MONTH}.csv"));
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

/// The partner's own work with clkhash: filters of its file, and its line file. Gives the former's path.
fn filters(federation: &Federation, folder: &Path) -> PathBuf {
    let (mut cells, mut lines) =
        ("nom_naissance,prenoms,sexe,date_naissance\n".to_owned(), "local_id;local_household_id;composition\n".to_owned());
    for row in canonical(federation, CLK) {
        let name = |column: &str| plain_words(&row[column]).join(" ");
        let date = if row["date_naissance"].contains("-00") { "" } else { &row["date_naissance"] };
        cells.push_str(&format!("{},{},{},{date}\n", name("nom_naissance"), name("prenoms"), row["sexe"]));
        lines.push_str(&format!("{};{};{}\n", row["local_id"], row["local_household_id"], row["composition"]));
    }
    let path = |name: &str| folder.join(name);
    fsx::write_atomic(&path("personnes.csv"), cells.as_bytes()).unwrap();
    fsx::write_atomic(&path("schema.json"), SCHEMA.as_bytes()).unwrap();
    fsx::write_atomic(&path("secret"), b"secret des partenaires").unwrap();
    fsx::write_atomic(&path("filtres-lignes.csv"), lines.as_bytes()).unwrap();
    let mut arguments = vec!["clk".to_owned(), "encode".to_owned()];
    for (key, name) in
        [("--schema", "schema.json"), ("--input", "personnes.csv"), ("--secret-file", "secret"), ("--out", "filtres.json")]
    {
        arguments.extend([key.to_owned(), path(name).display().to_string()]);
    }
    linkage_ok(arguments);
    path("filtres.json")
}

/// The other's: the key file of its own delivery, and which line is whose.
fn keys(federation: &Federation, folder: &Path) -> PathBuf {
    let delivery = federation.deliveries(MONTH).into_iter().find(|d| d.party == KEYS).unwrap();
    let out = folder.join("cles.csv");
    let input = format!("{KEYS}={}", delivery.file.display());
    let mapping = federation.home(&node(KEYS)).join("correspondance.toml");
    linkage_ok(["hash-keys", "make", "--input", &input, "--mapping", mapping.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    out
}

/// Puts a delivery and its line file into a node's inbox, the line file first.
fn put(federation: &Federation, party: &str, file: &Path) {
    let stem = file.file_stem().unwrap().to_str().unwrap();
    federation.put(party, MONTH, &file.with_file_name(format!("{stem}-lignes.csv")));
    federation.put(party, MONTH, file);
}

/// Pairs of records of two parties that are one group's.
fn pairs(groups: &HashMap<(String, String), String>) -> BTreeSet<[(String, String); 2]> {
    let mut by_group: BTreeMap<&String, Vec<&(String, String)>> = BTreeMap::new();
    for (record, group) in groups {
        by_group.entry(group).or_default().push(record);
    }
    let mut pairs = BTreeSet::new();
    for records in by_group.values_mut() {
        records.sort();
        for (at, a) in records.iter().enumerate() {
            pairs.extend(records[at + 1..].iter().filter(|b| b.0 != a.0).map(|b| [(*a).clone(), (*b).clone()]));
        }
    }
    pairs
}

/// What of a file or folder, opened with the party's key where it is sealed, holds a needle.
fn search(folder: &Path, state: Option<(&Path, &StorageKey)>, needles: &Needles) -> Vec<String> {
    let mut found = Vec::new();
    for (name, path) in files(folder) {
        let mut bytes = fs::read(&path).unwrap();
        if let Some((state, key)) = state
            && path.extension().is_some_and(|e| e == "enc")
        {
            let within = path.strip_prefix(state).unwrap().with_extension("").display().to_string();
            bytes = key.open(Place { table: &within, row: b"" }, &bytes).unwrap().to_vec();
        }
        found.extend(needles.scan(&bytes).iter().map(|hit| format!("{name}: {hit:?}")));
    }
    found
}

#[test]
fn partners_with_filters_and_with_keys_take_part() {
    let mut federation = Federation::set_up(500, 1, 41);
    assert!(federation.parties[0] != CLK && federation.parties[0] != KEYS);
    let canonical_files: Vec<PathBuf> = files(&federation.folder.join("donnees/canonical")).into_iter().map(|f| f.1).collect();
    let needles = Needles::of_canonical(canonical_files.iter().map(PathBuf::as_path), &federation.public_text());
    amend(&federation);
    let own = tempfile::tempdir().unwrap();
    let (filters, keys) = (filters(&federation, own.path()), keys(&federation, own.path()));

    federation.start_all();
    for delivery in federation.deliveries(MONTH) {
        match delivery.party.as_str() {
            CLK => put(&federation, CLK, &filters),
            KEYS => put(&federation, KEYS, &keys),
            party => drop(federation.put(party, MONTH, &delivery.file)),
        }
    }
    federation.wait_ingested(MONTH);
    federation.open_run(RUN, MONTH);
    federation.wait_closed(RUN);

    // Everybody's records are in the table, and linked as far as annexes go.
    let links = federation.links(RUN, MONTH);
    federation.assert_once(RUN, &links);
    let cells = |line: &str| -> Vec<String> { line.split(',').map(str::to_owned).collect() };
    let linked: HashMap<(String, String), String> =
        links.lines().skip(1).map(cells).map(|c| ((c[1].clone(), c[2].clone()), c[0].clone())).collect();
    let truth_text = fs::read_to_string(federation.folder.join("donnees/truth/truth.csv")).unwrap();
    let truth: HashMap<(String, String), String> = truth_text
        .lines()
        .skip(1)
        .map(cells)
        .filter(|c| c[1] == MONTH && linked.contains_key(&(c[0].clone(), c[2].clone())))
        .map(|c| ((c[0].clone(), c[2].clone()), c[3].clone()))
        .collect();
    assert_eq!(truth.len(), linked.len());
    for party in &federation.parties {
        let records = linked.keys().filter(|(p, _)| p == party).count();
        assert!(records * 10 > canonical(&federation, party).len() * 9, "{party}: {records} records in the table");
    }
    let (found, true_pairs) = (pairs(&linked), pairs(&truth));
    for (party, least_recall) in [(CLK, 0.8), (KEYS, 0.7)] {
        let of = |set: &BTreeSet<[(String, String); 2]>| -> BTreeSet<[(String, String); 2]> {
            let other = if party == CLK { KEYS } else { CLK };
            let has = |pair: &&[(String, String); 2], name: &str| pair.iter().any(|record| record.0 == name);
            set.iter().filter(|pair| has(pair, party) && !has(pair, other)).cloned().collect()
        };
        let (found, true_pairs) = (of(&found), of(&true_pairs));
        let right = found.intersection(&true_pairs).count() as f64;
        let (precision, recall) = (right / found.len() as f64, right / true_pairs.len() as f64);
        println!("{party}: {} pairs found of {}, precision {precision:.3}, recall {recall:.3}", found.len(), true_pairs.len());
        assert!(precision > 0.97 && recall > least_recall, "{party}: precision {precision:.3}, recall {recall:.3}");
    }

    // A filter or key party holds no name, nor do those who link; the others hold theirs sealed, in one file.
    federation.stop_all();
    for role in [Role::Broker, Role::Custodian, Role::Analyst] {
        assert_eq!(search(&federation.home(&role), None, &needles), Vec::<String>::new(), "{role:?}");
    }
    assert_eq!(search(&federation.folder.join("journaux"), None, &needles), Vec::<String>::new());
    for party in &federation.parties {
        let home = federation.home(&node(party));
        let key = StorageKey::from_bytes(&SecretSource::from_file(home.join("cles/storage.key")).read_key().unwrap());
        let state = PathBuf::from(federation.setting(&node(party), "state_dir"));
        let found = search(&home, Some((&state, &key)), &needles);
        if [CLK, KEYS].contains(&party.as_str()) {
            assert_eq!(found, Vec::<String>::new(), "{party}");
        } else {
            assert!(found.len() > 100 && found.iter().all(|f| f.starts_with(&format!("etat/names/{MONTH}.enc: "))), "{party}");
        }
    }

    // Names deleted, the annexes stay: another run finds the same.
    for party in federation.parties.clone() {
        let config = federation.config(&node(&party));
        linkage_ok(["node", "delete-names", "--config", config.to_str().unwrap()]);
    }
    federation.start_all();
    federation.open_run("encore", MONTH);
    federation.wait_closed("encore");
    assert_eq!(federation.links("encore", MONTH), links);
    federation.stop_all();
}
