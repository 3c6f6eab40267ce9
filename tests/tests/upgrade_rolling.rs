//! A rolling upgrade from an older program: one role after the other is replaced while runs are under way, in several orders,
//! and the older program refuses what the newer one has migrated.
//!
//! The older program is a binary of another commit, which a checkout does not hold: build one and name it.
//!
//! ```text
//! git worktree add /tmp/before COMMIT
//! (cd /tmp/before && cargo build --locked -p linkage)
//! LINKAGE_OLD_BIN=/tmp/before/target/debug/linkage cargo nextest run -p linkage-tests --test upgrade_rolling --run-ignored only
//! ```
//!
//! The older program sets the federation up: its configuration files, keys, databases and node folders are what the newer one
//! must take over. Between two replacements every mixture of versions brings a run to its end; after half of them a month is
//! delivered, so that nodes and custodian of either version evaluate for one another. Rows and persons are compared with those
//! of a federation that the newer program alone has served.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use linkage_tests::federation::{Federation, Role, files, linkage_ok, wait_for};
use serde_json::Value;

const MONTHS: [&str; 3] = ["2024-01", "2024-02", "2024-03"];
const PERSONS: u64 = 400;
const SEED: u64 = 131;

/// The roles that have a database.
const KEEPERS: [Role; 3] = [Role::Broker, Role::Custodian, Role::Analyst];

fn old_program() -> PathBuf {
    let path = std::env::var_os("LINKAGE_OLD_BIN").map(PathBuf::from);
    let path =
        path.unwrap_or_else(|| panic!("LINKAGE_OLD_BIN must name the binary of an older version: see the head of this file"));
    assert!(path.is_file(), "LINKAGE_OLD_BIN: {} is missing", path.display());
    path
}

/// A federation of the older program's, all its roles served by that program until they are replaced.
fn old_federation(old: &Path) -> Federation {
    let mut site = Federation::set_up_by(old, PERSONS, MONTHS.len().try_into().unwrap(), SEED);
    site.programs = site.roles().into_iter().map(|role| (role, old.to_owned())).collect();
    site
}

/// What an operator does before a role is replaced: the newer program asks for keys that the older one's configuration lacks
/// and would refuse. The former file stays beside it.
fn complete(site: &Federation, role: &Role) {
    let (config, key) = (site.config(role), site.home(role).join("cles/signing.key"));
    let text = fs::read_to_string(&config).unwrap();
    fs::write(former(&config), &text).unwrap();
    if key.is_file() && !text.contains("[signing_key]") {
        println!("{role:?}: [signing_key] added to its configuration");
        fs::write(config, format!("{text}\n[signing_key]\nfile = \"{}\"\n", key.display())).unwrap();
    }
}

/// The configuration as the older program had it.
fn former(config: &Path) -> PathBuf {
    config.with_file_name("avant.toml")
}

/// The records of each person over the runs of several months.
fn persons(site: &Federation, runs: &[(&str, &str)]) -> BTreeSet<BTreeSet<String>> {
    let mut persons: BTreeMap<Vec<u8>, BTreeSet<String>> = BTreeMap::new();
    for (run, month) in runs {
        for (party, id, person, ..) in site.rows(run, month) {
            persons.entry(person).or_default().insert(format!("{month} {party} {id}"));
        }
    }
    persons.into_values().collect()
}

/// What the newer program alone makes of the same deliveries: links of each month, persons over all.
struct Expected {
    links: BTreeMap<&'static str, String>,
    persons: BTreeSet<BTreeSet<String>>,
}

fn expected(old: &Path) -> Expected {
    let mut site = old_federation(old);
    site.programs.clear();
    site.roles().iter().for_each(|role| complete(&site, role));
    site.start_all();
    let mut links = BTreeMap::new();
    for month in MONTHS {
        site.deliver(month);
        site.wait_ingested(month);
        site.open_run(month, month);
        site.wait_closed(month);
        links.insert(month, site.links(month, month));
    }
    assert_eq!(links[MONTHS[0]], site.trial("controle", MONTHS[0]));
    site.stop_all();
    let persons = persons(&site, &MONTHS.map(|month| (month, month)));
    assert!(persons.iter().any(|records| records.len() > MONTHS.len()), "nobody was met twice");
    Expected { links, persons }
}

fn assert_closed(site: &mut Federation, run: &str, month: &str, expected: &Expected) {
    site.wait_closed(run);
    let links = site.links(run, month);
    assert!(links == expected.links[month], "run {run}: other links than those of the newer program alone");
    site.assert_once(run, &links);
}

/// No role may end in a panic, whatever it was told.
fn assert_no_panic(site: &Federation) {
    for role in site.roles() {
        let log = site.log_text(&role);
        assert!(!log.contains("panicked"), "{role:?}: {}", log.lines().find(|line| line.contains("panicked")).unwrap());
    }
}

/// Replaces roles in `order`, each while a run is under way that the mixture then ends; gives the runs of each month.
fn replace_in(order: &[Role], site: &mut Federation, expected: &Expected) {
    let mut first_of = BTreeMap::new();
    site.start_all();
    site.deliver(MONTHS[0]);
    site.wait_ingested(MONTHS[0]);
    for (n, role) in order.iter().enumerate() {
        let month = MONTHS[usize::from(2 * n >= order.len())];
        let run = format!("melange-{n}");
        let steps = site.log_text(&Role::Broker).matches("step started").count();
        if !first_of.contains_key(month) && month != MONTHS[0] {
            site.deliver(month);
            site.wait_ingested(month);
        }
        site.open_run(&run, month);
        // Now while records come in, now while they are compared.
        if n % 2 == 1 {
            wait_for("a step begins", || {
                site.check();
                (site.log_text(&Role::Broker).matches("step started").count() > steps).then_some(())
            });
        }
        site.stop(role);
        complete(site, role);
        site.programs.remove(role);
        site.start(role);
        assert_closed(site, &run, month, expected);
        println!("{run}: {role:?} replaced");
        first_of.entry(month).or_insert(run);
    }
    assert!(site.programs.is_empty(), "all are replaced");
    site.deliver(MONTHS[2]);
    site.wait_ingested(MONTHS[2]);
    site.open_run("apres", MONTHS[2]);
    assert_closed(site, "apres", MONTHS[2], expected);
    let runs = [(first_of[MONTHS[0]].as_str(), MONTHS[0]), (first_of[MONTHS[1]].as_str(), MONTHS[1]), ("apres", MONTHS[2])];
    assert!(persons(site, &runs) == expected.persons, "other persons than those of the newer program alone");
    assert_no_panic(site);
}

/// What the older program answers on a role's configuration.
fn ask(program: &Path, arguments: &[&str], config: &Path) -> Output {
    Command::new(program)
        .args(arguments)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .env("LINKAGE_LOG", "warn")
        .output()
        .unwrap()
}

/// The version of a role's database, where the older program can tell it.
fn version_of(program: &Path, config: &Path) -> Option<i64> {
    let output = ask(program, &["database", "status", "--json"], config);
    let facts: Value = serde_json::from_slice(&output.stdout).ok()?;
    facts["program"].as_i64()
}

/// Every file of a folder with its bytes, but for what opening a database leaves beside it.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let lasting = |name: &str| ![".sqlite-wal", ".sqlite-shm", ".lock"].iter().any(|end| name.ends_with(end));
    files(folder).into_iter().filter(|(name, _)| lasting(name)).map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

/// All roles are stopped. The older program refuses every database that has been brought further than it knows, says what to do,
/// and leaves it as it is. Gives the versions that it knows, where it can tell them.
fn older_program_refuses(old: &Path, site: &Federation) -> Vec<(Role, i64)> {
    let mut known = Vec::new();
    for role in KEEPERS {
        let config = site.config(&role);
        let facts: Value =
            serde_json::from_str(&linkage_ok(["database", "status", "--json", "--config", config.to_str().unwrap()])).unwrap();
        let version = version_of(old, &former(&config));
        known.extend(
            version.filter(|version| facts["oldest_back"].as_i64() <= Some(*version)).map(|version| (role.clone(), version)),
        );
        if version == facts["version"].as_i64() {
            println!("{role:?}: the same schema in both versions");
            continue;
        }
        let before = contents(&site.home(&role));
        let output = ask(old, &[role.command(), "serve"], &former(&config));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("{role:?}: {said}");
        assert!(!output.status.success() && said.contains("installez") && !said.contains("panicked"), "{role:?}: {said}");
        assert!(contents(&site.home(&role)) == before, "{role:?}: the older program has changed something");
    }
    known
}

/// What the older program says when it does not serve a role; nothing where it listens.
fn refusal(old: &Path, site: &Federation, role: &Role) -> Option<String> {
    let said = site.home(role).join("retour.log");
    let mut child = Command::new(old)
        .args([role.command(), "serve", "--config"])
        .arg(former(&site.config(role)))
        .stdin(Stdio::null())
        .stderr(fs::File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let text = || String::from_utf8_lossy(&fs::read(&said).unwrap()).into_owned();
    let refused = wait_for("the older program listens or ends", || {
        child.try_wait().unwrap().map(|_| true).or_else(|| text().contains("listening").then_some(false))
    });
    if !refused {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    refused.then(text)
}

/// All roles are stopped. The databases are brought back; the older program then serves the federation again, nodes included, or
/// says why it does not; and the newer one takes it over a second time.
fn back_and_forth(old: &Path, site: &mut Federation, known: &[(Role, i64)], expected: &Expected) {
    for (role, version) in known {
        let config = site.config(role);
        let version = version.to_string();
        linkage_ok(["database", "migrate", "--to", &version, "--back", "--config", config.to_str().unwrap()]);
    }
    let refusals: Vec<(&Role, String)> = KEEPERS.iter().filter_map(|role| Some((role, refusal(old, site, role)?))).collect();
    for (role, said) in &refusals {
        println!("no way back for {role:?}: {said}");
        assert!(said.contains("linkage : ") && !said.contains("panicked"), "{role:?}: {said}");
    }
    if !refusals.is_empty() {
        return;
    }
    site.programs = site.roles().into_iter().map(|role| (role, old.to_owned())).collect();
    site.start_all();
    site.open_run("retour", MONTHS[2]);
    assert_closed(site, "retour", MONTHS[2], expected);
    println!("served by the older program again");
    site.stop_all();
    site.programs.clear();
}

#[test]
#[ignore = "needs a binary of an older version: LINKAGE_OLD_BIN, see the head of this file"]
fn roles_are_replaced_one_at_a_time_while_runs_are_under_way() {
    let old = old_program();
    let expected = expected(&old);
    // The custodian first, as the guide has it; nodes first; whatever comes.
    let orders: [fn(&Federation) -> Vec<Role>; 3] = [
        |site| [Role::Custodian, Role::Broker, Role::Analyst].into_iter().chain(site.nodes()).collect(),
        |site| site.nodes().into_iter().rev().chain([Role::Analyst, Role::Broker, Role::Custodian]).collect(),
        |site| {
            let mut nodes = site.nodes();
            let rest = nodes.split_off(2);
            nodes.into_iter().chain([Role::Analyst]).chain(rest).chain([Role::Custodian, Role::Broker]).collect()
        },
    ];
    for order in orders {
        let mut site = old_federation(&old);
        let order = order(&site);
        println!("order: {order:?}");
        replace_in(&order, &mut site, &expected);
        site.stop_all();
        let known = older_program_refuses(&old, &site);
        if known.len() == KEEPERS.len() {
            back_and_forth(&old, &mut site, &known, &expected);
        } else {
            println!("no way back to a program that cannot tell its databases' versions, or to versions without one");
        }
        // What the older one has refused, the newer one goes on with.
        site.start_all();
        site.open_run("encore", MONTHS[2]);
        assert_closed(&mut site, "encore", MONTHS[2], &expected);
        site.stop_all();
        assert_no_panic(&site);
    }
}
