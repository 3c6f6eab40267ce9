//! A custodian whose database is on a server: the backup holds the rest, the host has put the database back. The server is written to
//! when the state goes in its place, and not by a restoration that is refused.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use linkage_common::database::Place;
use linkage_common::fsx;
use linkage_common::store::Pool;
use linkage_test_databases::On;
use linkage_tests::federation::{Federation, Role, linkage, linkage_ok};
use serde_json::Value;

/// Positions of the runs in a registry.
fn positions(url: &str) -> Vec<Option<i64>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let pool = Pool::connect(&Place::of(Some(url), &PathBuf::new()).unwrap(), "").await.unwrap();
        sqlx::query_scalar("SELECT position FROM runs ORDER BY run_id").fetch_all(&pool).await.unwrap()
    })
}

fn insert(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let pool = Pool::connect(&Place::of(Some(url), &PathBuf::new()).unwrap(), "").await.unwrap();
        sqlx::query("INSERT INTO runs (run_id, state, position) VALUES ('un', 'ready', 7)").execute(&pool).await.unwrap();
    });
}

#[test]
fn a_database_on_a_server_is_settled_with_the_state_that_goes_with_it() {
    if On::Postgres.is_missing() {
        return;
    }
    let (url, empty) = (On::Postgres.url().unwrap(), On::Postgres.url().unwrap());
    let mut federation = Federation::set_up(60, 1, 47);
    let safe = federation.folder.join("coffre");
    linkage_ok(["backup", "keys", "--out", safe.to_str().unwrap()]);
    let (role, address) = (Role::Custodian, federation.folder.join("adresse"));
    let config = federation.config(&role);
    fsx::write_atomic(&address, url.as_bytes()).unwrap();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}\n[database]\nurl = {{ file = \"{}\" }}\n", address.display())).unwrap();
    federation.start(&role);
    federation.stop(&role);
    insert(&url);
    let (config, key, file) = (config.to_str().unwrap(), safe.join("secours.key"), safe.join("tiers"));
    let (key, file, public) = (key.to_str().unwrap(), file.to_str().unwrap(), safe.join("secours.pub"));
    let made = ["backup", "create", "--json", "--config", config, "--to", public.to_str().unwrap(), "--out", file];
    let made: Value = serde_json::from_str(&linkage_ok(made)).unwrap();
    assert_eq!(made["facts"]["database_elsewhere"], true, "{made}");
    let home = PathBuf::from(federation.setting(&role, "data_dir"));
    fs::rename(&home, home.with_extension("ancien")).unwrap();

    let restore = || linkage(["backup", "restore", "--json", "--config", config, "--key", key, file]);
    let errors = |output: &Output| String::from_utf8(output.stderr.clone()).unwrap();
    fsx::write_atomic(&address, empty.as_bytes()).unwrap();
    let refused = restore();
    assert!(!refused.status.success() && errors(&refused).contains("pg_restore"), "{}", errors(&refused));
    fsx::write_atomic(&address, url.as_bytes()).unwrap();
    assert_eq!(positions(&url), [Some(7)]);
    let restored = restore();
    assert!(restored.status.success(), "{}", errors(&restored));
    let settled = positions(&url);
    assert!(matches!(settled[..], [Some(position)] if position > 1_700_000_000), "{settled:?}");
    // The state is newer than the backup now: refused, and the database is as it was.
    fs::write(home.join("reste"), "x").unwrap();
    let again = restore();
    assert!(!again.status.success() && errors(&again).contains("plus récent"), "{}", errors(&again));
    assert_eq!(positions(&url), settled);
}
