//! The audit logs of a federation of processes: what a run leaves at every role, that nobody is in them, that partners
//! countersign them, that a log written anew is found out, and that a process killed while it appends breaks nothing.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use linkage_tests::federation::{Federation, Role, files, linkage, linkage_ok, wait_for};
use linkage_tests::needles::{Kind, Needles};
use serde_json::Value;

const MONTH: &str = "2024-01";
const RUN: &str = "journal";

/// A role's audit folder.
fn folder(federation: &Federation, role: &Role) -> PathBuf {
    let key = if matches!(role, Role::Node(_)) { "state_dir" } else { "data_dir" };
    PathBuf::from(federation.setting(role, key)).join("audit/principal")
}

fn command(federation: &Federation, role: &Role, what: &[&str]) -> std::process::Output {
    let config = federation.config(role);
    linkage(["audit"].iter().chain(what).copied().chain(["--config", config.to_str().unwrap()]))
}

fn report(federation: &Federation, role: &Role) -> Value {
    let output = command(federation, role, &["verify", "--json"]);
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["report"].clone()
}

fn entries(federation: &Federation, role: &Role, filters: &[&str]) -> Vec<Value> {
    let shown = command(federation, role, &[&["show", "--json"], filters].concat());
    serde_json::from_slice(&shown.stdout).unwrap()
}

/// What was done of the run, with records where there are any.
fn of_run(federation: &Federation, role: &Role) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for entry in entries(federation, role, &["--run", RUN]) {
        if entry["outcome"] == "done" {
            *found.entry(entry["what"].as_str().unwrap().to_owned()).or_default() += entry["records"].as_u64().unwrap_or(0);
        }
    }
    found
}

/// Countersigns at every look.
fn look_often(federation: &Federation) {
    for node in federation.nodes() {
        let path = federation.config(&node);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("checkpoint_minutes = 0\n{text}")).unwrap();
    }
}

fn countersigned_by_all(federation: &mut Federation, role: &Role, beyond: u64) {
    wait_for(&format!("{role:?} countersigned beyond {beyond} by all"), || {
        federation.check();
        let marks = report(federation, role)["countersigned"].clone();
        let beyond = |party: &String| marks[party].as_u64().is_some_and(|n| n > beyond);
        federation.parties.iter().all(beyond).then_some(())
    });
}

/// Nothing of the delivery is in any file of any audit folder.
fn nobody_in(federation: &Federation) {
    let canonical: Vec<PathBuf> = files(&federation.folder.join("donnees/canonical")).into_iter().map(|f| f.1).collect();
    let needles = Needles::of_canonical(canonical.iter().map(PathBuf::as_path), &federation.public_text());
    assert!(needles.count() > 500, "{}", needles.count());
    let planted = needles.samples(Kind::Name, 3).concat();
    assert!(!needles.scan(&planted).is_empty(), "the search finds nothing");
    let mut searched = 0;
    for role in federation.roles() {
        for (name, path) in files(&folder(federation, &role)) {
            let (hits, length) = needles.scan_file(&path);
            assert!(hits.is_empty(), "{role:?} {name}: {hits:?}");
            searched += length;
        }
    }
    println!("{} needles, none in {searched} bytes of audit logs", needles.count());
}

#[test]
fn a_run_is_entered_everywhere_and_countersigned_and_no_log_can_be_written_anew() {
    let mut federation = Federation::set_up(300, 1, 7);
    look_often(&federation);
    federation.start_all();
    federation.deliver(MONTH);
    federation.wait_ingested(MONTH);
    federation.open_run(RUN, MONTH);
    federation.wait_closed(RUN);
    let coordinator = federation.parties[0].clone();

    // What each role did and was asked, with counts.
    wait_for("the analyst has fetched", || {
        (!entries(&federation, &Role::Custodian, &["--what", "GetLinkTable"]).is_empty()).then_some(())
    });
    let broker = of_run(&federation, &Role::Broker);
    let custodian = of_run(&federation, &Role::Custodian);
    let asked: BTreeSet<&str> = broker.keys().map(String::as_str).collect();
    for what in ["Runs/OpenRun", "Runs/PutBatches", "Runs/CommitUpload", "run.compared", "run.clustered", "run.delivered"] {
        assert!(asked.contains(what), "{what}: {asked:?}");
    }
    assert!(broker["Runs/CommitUpload"] > 300 && broker["Runs/PutBatches"] == broker["Runs/CommitUpload"], "{broker:?}");
    let mut taken_part = 0;
    for node in federation.nodes() {
        let done = of_run(&federation, &node);
        assert!(done["run.taken-part"] > 0, "{node:?}: {done:?}");
        taken_part += done["run.taken-part"];
        let taken_in = entries(&federation, &node, &["--what", "delivery.taken-in"]);
        assert_eq!((taken_in.len(), taken_in[0]["period"].as_str()), (1, Some(MONTH)), "{node:?}");
        assert!(taken_in[0]["fields"].as_array().unwrap().iter().any(|f| f == "composition"), "{:?}", taken_in[0]);
    }
    assert_eq!(taken_part, broker["Runs/CommitUpload"]);
    for what in ["Registry/CommitRecords", "Registry/PutClusters", "Registry/GetLinkTable", "run.registered"] {
        assert!(custodian.contains_key(what), "{what}: {custodian:?}");
    }
    assert!(custodian["Registry/GetLinkTable"] > 0, "rows handed over: {custodian:?}");
    let evaluated = entries(&federation, &Role::Custodian, &["--what", "Oprf/Evaluate"]);
    let by: BTreeSet<&str> = evaluated.iter().map(|e| e["who"].as_str().unwrap()).collect();
    assert_eq!(by.len(), federation.parties.len(), "{by:?}");
    // Looks every half second are few lines.
    let looks = entries(&federation, &Role::Broker, &["--what", "Runs/ListRuns"]);
    assert!((1..=4 * federation.parties.len()).contains(&looks.len()), "{}", looks.len());
    // A refusal, with its caller and code.
    let other = federation.config(&Role::Node(federation.parties[1].clone()));
    let refused = linkage(["run", "open", "--run", "intrus", "--period", MONTH, "--config", other.to_str().unwrap()]);
    assert!(!refused.status.success());
    let refusals =
        || entries(&federation, &Role::Broker, &["--not-done", "--what", "Runs/OpenRun", "--who", &federation.parties[1]]);
    let code = wait_for("the refusal is entered", || refusals().first().map(|e| e["code"].clone()));
    assert_eq!(code, "PermissionDenied");

    for role in [Role::Broker, Role::Custodian, Role::Analyst] {
        countersigned_by_all(&mut federation, &role, 0);
    }
    nobody_in(&federation);
    let exported = federation.folder.join("journal.csv");
    let config = federation.config(&Role::Broker);
    linkage_ok(["audit", "export", "--config", config.to_str().unwrap(), "--out", exported.to_str().unwrap()]);
    let text = fs::read_to_string(&exported).unwrap();
    assert!(text.starts_with("numero;instant;qui;") && text.lines().count() > 20 && text.contains("Runs/OpenRun"), "{text}");

    // Killed while calls come, again and again: the chain goes on, and so does what partners have countersigned.
    for _ in 0..5 {
        std::thread::sleep(std::time::Duration::from_millis(300));
        federation.kill(&Role::Broker);
        federation.start(&Role::Broker);
    }
    let head = report(&federation, &Role::Broker);
    assert_eq!(head["fault"], Value::Null, "{head}");
    let path = folder(&federation, &Role::Broker);
    federation.stop(&Role::Broker);
    // Half a line, as a loss of power leaves it.
    let (_, last) = files(&path).into_iter().rfind(|(name, _)| name.starts_with("20") && name.ends_with(".jsonl")).unwrap();
    let whole = fs::read(&last).unwrap();
    fs::write(&last, [&whole[..], &whole[..40]].concat()).unwrap();
    assert_eq!(report(&federation, &Role::Broker)["half_line"], true);
    federation.start(&Role::Broker);
    countersigned_by_all(&mut federation, &Role::Broker, head["last"].as_u64().unwrap());
    let cut = entries(&federation, &Role::Broker, &["--what", "audit.half-line-cut"]);
    assert_eq!(cut.len(), 1);

    // One line removed: verify says where, exit code 3. From the longer of two months' files, where a month ends in the meantime.
    federation.stop(&Role::Broker);
    let months = files(&path).into_iter().filter(|(name, _)| name.starts_with("20") && name.ends_with(".jsonl"));
    let texts = months.map(|(_, month)| (fs::read_to_string(&month).unwrap(), month));
    let (text, month) = texts.max_by_key(|(text, _)| text.len()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let removed = serde_json::from_str::<Value>(lines[4]).unwrap()["n"].clone();
    let without: String = lines.iter().enumerate().filter(|(at, _)| *at != 4).map(|(_, l)| format!("{l}\n")).collect();
    fs::write(&month, &without).unwrap();
    let verified = command(&federation, &Role::Broker, &["verify"]);
    assert_eq!(verified.status.code(), Some(3));
    let said = String::from_utf8(verified.stdout).unwrap();
    let place = format!("{}, ligne 5 : il manque l'entrée n° {removed}", month.display());
    assert!(said.contains(&place), "{said}");

    // The whole log taken away, countersignatures and all, and begun anew: every partner sees it and countersigns no more.
    fs::remove_dir_all(&path).unwrap();
    federation.start(&Role::Broker);
    for node in federation.nodes() {
        wait_for(&format!("{node:?} raises the alarm"), || {
            federation.check();
            federation.log_text(&node).contains("the audit log is not the one that was countersigned").then_some(())
        });
        let alarms = entries(&federation, &node, &["--what", "checkpoint.rewritten"]);
        assert!(alarms.iter().all(|e| e["outcome"] == "refused" && e["peer"].as_str().unwrap().ends_with("/broker/broker")));
        assert!(!alarms.is_empty(), "{node:?}");
    }
    assert_eq!(report(&federation, &Role::Broker)["countersigned"], serde_json::json!({}));
    let witnessed = command(&federation, &Role::Node(coordinator.clone()), &["witnessed"]);
    assert!(String::from_utf8(witnessed.stdout).unwrap().contains("ALERTE"));

    // The coordinator accepts the new beginning, the others do not.
    let coordinator = Role::Node(coordinator);
    federation.stop(&coordinator);
    assert!(command(&federation, &coordinator, &["accept", "--role", "broker"]).status.success());
    federation.start(&coordinator);
    let marks = wait_for("the coordinator countersigns again", || {
        let marks = report(&federation, &Role::Broker)["countersigned"].as_object().unwrap().clone();
        (!marks.is_empty()).then_some(marks)
    });
    assert_eq!(marks.keys().collect::<Vec<_>>(), [&federation.parties[0]]);
    for role in federation.roles() {
        assert_eq!(report(&federation, &role)["fault"], Value::Null, "{role:?}");
    }
    federation.stop_all();
}
