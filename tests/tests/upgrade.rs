//! Two runs at once, everything stopped in their middle, the databases taken back to an older schema and forward again: both
//! end with the links of an undisturbed run.
//!
//! Going back and forward is what an upgrade in mid-run does to the data: the older program's schema is there, with runs under
//! way in it, and the newer program takes it over.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use linkage_tests::federation::{Federation, Role, linkage, linkage_ok, wait_for};
use serde_json::Value;

const MONTH: &str = "2024-01";
const RUNS: [&str; 2] = ["jumelle-a", "jumelle-b"];

/// The facts of a role's database, and the exit code of the question.
fn database(site: &Federation, role: &Role) -> (Value, Option<i32>) {
    let config = site.config(role);
    let output = linkage(["database", "status", "--json", "--config", config.to_str().unwrap()]);
    (serde_json::from_slice(&output.stdout).unwrap(), output.status.code())
}

#[test]
fn runs_under_way_go_on_after_an_upgrade() {
    let mut site = Federation::set_up(500, 1, 97);
    let expected = site.trial("controle", MONTH);
    site.start_all();
    site.deliver(MONTH);
    for run in RUNS {
        site.open_run(run, MONTH);
    }
    // Somewhere in the middle: one run's work has begun, the other's uploads come in.
    wait_for("a step begins", || {
        site.check();
        site.log_text(&Role::Broker).contains("step started").then_some(())
    });
    site.stop_all();
    for role in [Role::Broker, Role::Custodian, Role::Analyst] {
        let (facts, code) = database(&site, &role);
        let [version, oldest] = ["version", "oldest_back"].map(|key| facts[key].as_i64().unwrap());
        assert_eq!((version, code), (facts["program"].as_i64().unwrap(), Some(0)));
        let before = (version - 1).max(oldest).to_string();
        let config = site.config(&role);
        let arguments = ["database", "migrate", "--to", &before, "--config", config.to_str().unwrap()];
        assert!(!linkage(arguments).status.success(), "back without being told so");
        linkage_ok(arguments.into_iter().chain(["--back"]));
        let (facts, code) = database(&site, &role);
        assert!(facts["version"].as_i64().unwrap() < version && code == Some(3), "{facts}");
        println!("{}: {version}, back to {}", role.command(), facts["version"]);
    }
    // The custodian's operator brings the schema forward before, the others' services do it when they start.
    let config = site.config(&Role::Custodian);
    linkage_ok(["database", "migrate", "--config", config.to_str().unwrap()]);
    site.start_all();
    for run in RUNS {
        site.wait_closed(run);
        let links = site.links(run, MONTH);
        assert_eq!(links, expected, "run {run}");
        site.assert_once(run, &links);
    }
    site.stop_all();
}
