//! The single commands that the README shows, on a demonstration's kept folder.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::path::Path;
use std::process::Output;

use linkage_tests::federation::{Federation, Role, linkage, linkage_ok};
use serde_json::Value;

const MONTHS: [&str; 2] = ["2024-01", "2024-02"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

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

/// Accounts of the analyst's side, and its access log with one line removed.
fn accounts_and_access_log(analyst: &str, home: &Path) {
    let users = |args: &[&str]| linkage(["analyst", "users"].iter().chain(args).chain(&["--config", analyst]));
    let unknown = users(&["disable", "login:sujet", "--reason", "départ"]);
    assert_eq!(unknown.status.code(), Some(1), "{}", said(&unknown));
    assert!(said(&unknown).contains("--never-seen"), "{}", said(&unknown));
    assert_eq!(users(&["disable", "sujet", "--reason", "départ"]).status.code(), Some(2), "no account's name");
    assert!(users(&["disable", "login:sujet", "--reason", "départ", "--never-seen"]).status.success());
    let list = json(&linkage_ok(["analyst", "users", "list", "--json", "--config", analyst]));
    assert_eq!((&list[0]["id"], &list[0]["enabled"]), (&Value::from("login:sujet"), &Value::from(false)), "{list}");
    assert!(users(&["enable", "login:sujet"]).status.success());
    assert!(said(&users(&["list"])).contains("actif"));

    let verify = || linkage(["analyst", "access", "verify", "--config", analyst]);
    let sound = verify();
    assert!(sound.status.success(), "{}", said(&sound));
    assert!(said(&sound).contains("intact") && said(&sound).contains("Le journal d'audit en a pris note"), "{}", said(&sound));
    let file = fs::read_dir(home.join("donnees/access"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(&file, [&lines[..1], &lines[2..]].concat().join("\n") + "\n").unwrap();
    let removed = verify();
    assert_eq!(removed.status.code(), Some(3), "{}", said(&removed));
    assert!(said(&removed).contains("ligne 2") && said(&removed).contains("n° 2 est attendue"), "{}", said(&removed));
    // Only the first is left: the chain holds, but the audit log knows of more.
    fs::write(&file, format!("{}\n", lines[0])).unwrap();
    assert!(said(&verify()).contains("tronqué"), "{}", said(&verify()));
    fs::write(&file, &text).unwrap();
    assert!(verify().status.success());
}

#[test]
fn single_commands_work_on_what_a_demonstration_keeps() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("site");
    let keep = folder.to_str().unwrap();
    let shown = linkage_ok(["demo", "--persons", "600", "--months", "2", "--seed", "51", "--keep", keep]);
    assert!(shown.contains("link_table.csv") && shown.contains("report.html"), "{shown}");
    assert!(folder.join("report.html").is_file());
    let again = linkage(["demo", "--keep", keep]);
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("n'est pas vide"), "{}", said(&again));

    let mut federation = Federation::adopt(folder.clone(), 51, Some(temporary));
    let path = |role: &Role| federation.config(role).display().to_string();
    let coordinator = federation.coordinator().display().to_string();
    let analyst = path(&Role::Analyst);

    // A node's own commands need nobody else.
    let mut fingerprints: Vec<Value> = Vec::new();
    for node in federation.nodes() {
        let status = json(&linkage_ok(["node", "status", "--json", "--config", &path(&node)]));
        let periods: Vec<&str> = status["deliveries"].as_array().unwrap().iter().map(|d| d["period"].as_str().unwrap()).collect();
        assert_eq!(periods, MONTHS);
        for delivery in status["deliveries"].as_array().unwrap() {
            let count = |key: &str| delivery[key].as_u64().unwrap();
            assert_eq!(count("lines"), count("records") + count("set_aside"), "every line is accounted for");
        }
        assert_eq!(status["names_held"], true);
        fingerprints.push(status["fingerprint"].clone());
        assert!(linkage_ok(["node", "status", "--config", &path(&node)]).contains("Des noms sont encore détenus"));
    }
    fingerprints.dedup();
    assert!(fingerprints.len() == 1 && fingerprints[0].is_string(), "{fingerprints:?}");

    // Figures come from the analyst's own disk.
    for month in MONTHS {
        let overlap = json(&linkage_ok(["cohort", "overlap", "--json", "--period", month, "--config", &analyst]));
        let table = &overlap["tables"][0]["table"];
        let minimum = table["minimum"].as_f64().unwrap();
        let shown: Vec<f64> = table["cells"].as_array().unwrap().iter().filter_map(|c| c["value"].as_f64()).collect();
        assert!(shown.len() > 1 && shown.iter().all(|&n| n == 0.0 || n >= minimum), "{overlap}");
        assert!(linkage_ok(["cohort", "rates", "--period", month, "--config", &analyst]).contains("siao"));
    }
    let never = linkage(["cohort", "overlap", "--period", "2031-01", "--config", &analyst]);
    assert_eq!(never.status.code(), Some(1), "{}", said(&never));

    accounts_and_access_log(&analyst, &federation.home(&Role::Analyst));

    // The agreement.
    let agreement = folder.join("convention.toml").display().to_string();
    let signatures = folder.join("convention.signatures.toml").display().to_string();
    assert!(linkage_ok(["agreement", "check", &agreement, "--signatures", &signatures]).contains("signée par tous"));
    let shown = json(&linkage_ok(["agreement", "show", "--json", &agreement]));
    assert_eq!(shown["agreement"]["party"].as_array().unwrap().len(), 5);
    assert_eq!(shown["hash"].as_str().unwrap().len(), 64);
    let changed = folder.join("convention-modifiee.toml");
    let text = fs::read_to_string(&agreement).unwrap();
    fs::write(&changed, text.replacen("tokens_per_record = 20", "tokens_per_record = 19", 1)).unwrap();
    let unsigned = linkage(["agreement", "check", changed.to_str().unwrap(), "--signatures", &signatures]);
    assert_eq!(unsigned.status.code(), Some(3), "{}", said(&unsigned));

    // The data protection pack, from the configurations in use and the last run's report.
    let roles: Vec<String> =
        [Role::Broker, Role::Custodian, Role::Analyst, Role::Node("caf".to_owned())].iter().map(path).collect();
    let report = folder.join("report.json").display().to_string();
    let out = folder.join("dossier");
    let mut pack = vec!["pack", "--json", "--report", &report, "--out", out.to_str().unwrap()];
    pack.extend(roles.iter().flat_map(|file| ["--config", file.as_str()]));
    let written = json(&linkage_ok(&pack));
    assert_eq!(written["documents"].as_array().unwrap().len(), 7);
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    assert!(read("05-operateur.md").contains("fiches qu'il peut relier") && !read("05-operateur.md").contains("non mesuré"));
    let measures = read("04-mesures.md");
    assert!(measures.contains("fichier lisible par le service seul, 256 bits") && measures.contains("« crl »"), "{measures}");
    assert!(read("01-registre.md").contains(&shown["hash"].as_str().unwrap().to_owned()));
    // Nothing of where secrets are: this folder is in no document.
    let whole = read("dossier.html");
    assert!(!whole.contains(keep) && whole.contains("06-information") && !whole.contains("<script"));
    let key = federation.home(&Role::Broker).join("cles/signing.key");
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    linkage_ok(&pack);
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert!(read("04-mesures.md").contains("À CORRIGER : absente, lisible par d'autres"));
    let other = linkage([
        "pack",
        "--agreement",
        &changed.display().to_string(),
        "--signatures",
        &signatures,
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(other.status.code(), Some(1), "{}", said(&other));

    // A breach: what the logs show of two days, of the roles that are told.
    let breach = folder.join("violation.md");
    let mut told =
        vec!["breach", "report", "--json", "--from", "2020-01-01", "--to", "2099-12-31", "--out", breach.to_str().unwrap()];
    told.extend(["--config", roles[0].as_str(), "--config", roles[1].as_str()]);
    let facts = json(&linkage_ok(&told));
    for role in facts["roles"].as_array().unwrap() {
        let about = role["records_about"].as_u64().unwrap();
        assert!(role["log_intact"] == true && about > 0 && about % 100 == 0, "{facts}");
        assert_eq!(role["periods"], serde_json::json!(MONTHS), "{facts}");
    }
    let text = fs::read_to_string(&breach).unwrap();
    let of_broker = text.lines().any(|line| line.contains("Rôle concerné : ") && line.contains("(broker"));
    assert!(text.contains("36 heures (convention)") && of_broker && !text.contains(keep), "{text}");
    assert_eq!(linkage(&told).status.code(), Some(1), "a report that was begun is not replaced");

    // The pass set on a partner's own file.
    let caf = Role::Node("caf".to_owned());
    let delivery = federation.deliveries(MONTHS[0]).into_iter().find(|d| d.party == "caf").unwrap();
    let input = format!("caf={}", delivery.file.display());
    let mapping = federation.home(&caf).join("correspondance.toml").display().to_string();
    let checked = json(&linkage_ok([
        "passes",
        "check",
        "--json",
        "--input",
        &input,
        "--mapping",
        &mapping,
        "--agreement",
        &agreement,
        "--pass-set",
        "fr-1",
    ]));
    assert_eq!(checked["accepted"], true, "{checked}");
    assert!(checked["passes"].as_array().unwrap().iter().all(|p| p["accepted"] == true), "{checked}");
    let coarse = folder.join("trop-large.toml");
    fs::write(&coarse, COARSE).unwrap();
    let refused = linkage([
        "passes",
        "check",
        "--json",
        "--input",
        &input,
        "--mapping",
        &mapping,
        "--agreement",
        &agreement,
        "--pass-set",
        coarse.to_str().unwrap(),
    ]);
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    let figures = json(&String::from_utf8(refused.stdout).unwrap());
    assert_eq!(figures["accepted"], false);
    assert!(!figures["faults"].as_array().unwrap().is_empty(), "{figures}");
    let pass = &figures["passes"][0];
    assert!(pass["collision_entropy_bits"].as_f64().unwrap() < pass["least_bits"].as_f64().unwrap(), "{figures}");
    println!("fr-1: {} meetings a record; coarse: {}", checked["meetings_per_record"], figures["meetings_per_record"]);

    // Commands that ask other roles.
    federation.start_all();
    let runs = json(&linkage_ok(["run", "list", "--json", "--config", &coordinator]));
    let of = |run: &Value| (run["run"].as_str().unwrap().to_owned(), run["state"].as_str().unwrap().to_owned());
    let mut listed: Vec<_> = runs.as_array().unwrap().iter().map(of).collect();
    listed.sort();
    assert_eq!(listed, MONTHS.map(|m| (m.to_owned(), "clos".to_owned())));
    let stranger = Role::Node(federation.parties[1].clone());
    let config = federation.config(&stranger).display().to_string();
    let not_coordinator = linkage(["run", "open", "--run", "autre", "--period", MONTHS[0], "--config", &config]);
    assert_eq!(not_coordinator.status.code(), Some(1));

    // A link table that was lost is fetched again, the same.
    let table = federation.tables(MONTHS[0]).join("link_table.csv");
    let before = fs::read(&table).unwrap();
    federation.stop(&Role::Analyst);
    fs::remove_dir_all(federation.tables(MONTHS[0])).unwrap();
    let fetched = linkage_ok(["analyst", "fetch", "--config", &analyst]);
    assert!(fetched.starts_with("1 table"), "{fetched}");
    assert_eq!(fs::read(&table).unwrap(), before);
    assert!(linkage_ok(["analyst", "fetch", "--config", &analyst]).starts_with("0 table"));

    // Another party's file is refused in words, without any of its content.
    federation.stop(&caf);
    let siao = federation.deliveries(MONTHS[1]).into_iter().find(|d| d.party == "siao").unwrap();
    let config = federation.config(&caf).display().to_string();
    let wrong = linkage(["node", "ingest", "--period", MONTHS[1], "--config", &config, siao.file.to_str().unwrap()]);
    assert_eq!(wrong.status.code(), Some(1));
    let message = said(&wrong);
    let first_line = fs::read_to_string(&siao.file).unwrap().lines().nth(1).unwrap().to_owned();
    assert!(message.contains("colonne"), "{message}");
    assert!(first_line.split(',').filter(|cell| cell.len() > 4).all(|cell| !message.contains(cell)), "{message}");
    let missing = linkage(["node", "ingest", "--period", MONTHS[1], "--config", &config, "/nulle/part.csv"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(said(&missing).contains("/nulle/part.csv"), "{}", said(&missing));
    println!("wrong file: {}", message.trim());
    // What was taken in before is untouched.
    let status = json(&linkage_ok(["node", "status", "--json", "--config", &config]));
    assert_eq!(status["deliveries"].as_array().unwrap().len(), 2);
    federation.stop_all();
}
