//! Two runs at once, everything stopped in their middle, the databases taken back to an older schema and forward again: both
//! end with the links of an undisturbed run.
//!
//! Going back and forward is what an upgrade in mid-run does to the data: the older program's schema is there, with runs under
//! way in it, and the newer program takes it over. `upgrade_rolling.rs` replaces a real older program.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;

use linkage_common::database::Place;
use linkage_common::store::Pool;
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

/// Notes a migration that no program knows yet, or takes the note away.
fn note_a_later_version(file: &Path, there: bool) {
    let change = if there {
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
            SELECT version + 100, description, success, checksum, execution_time FROM _sqlx_migrations ORDER BY version DESC LIMIT 1"
    } else {
        "DELETE FROM _sqlx_migrations WHERE version > 100"
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let pool = Pool::connect(&Place::of(None, file).unwrap(), "").await.unwrap();
        assert_eq!(sqlx::query(change).execute(&pool).await.unwrap().rows_affected(), 1);
        pool.close().await;
    });
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
    // What a later program has migrated is not served by this one, which says what to do and goes on once it is as it was.
    let data = Path::new(&site.setting(&Role::Broker, "data_dir")).join("broker.sqlite");
    note_a_later_version(&data, true);
    let config = site.config(&Role::Broker);
    let refused = linkage(["broker", "serve", "--config", config.to_str().unwrap()]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("linkage : le schéma de la base") && said.contains("linkage database status"), "{said}");
    note_a_later_version(&data, false);
    site.start(&Role::Broker);
    site.stop_all();
}
