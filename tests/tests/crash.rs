//! Whatever is killed, whenever: the run ends, and with the links of an undisturbed one.
//!
//! Roles are killed with SIGKILL at every step that their logs and status files name, then started again. Which step a kill
//! met is read from the log afterwards, so that coverage is known and not hoped for. Links are compared to the byte with those
//! of an undisturbed trial of the same seed. Kills at random moments are in `soak.rs`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use linkage_tests::federation::{Federation, Role, wait_for};

const MONTH: &str = "2024-01";
const PERSONS: u64 = 1500;
const SEED: u64 = 61;
/// How often a step that is over before the kill is tried again, with a further run.
const TRIES: usize = 12;

/// Kills so far, by what they met.
#[derive(Default)]
struct Kills(BTreeMap<String, usize>);

impl Kills {
    fn add(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }
    fn total(&self) -> usize {
        self.0.values().sum()
    }
    fn met(&self, what: &str) -> bool {
        self.0.contains_key(what)
    }
}

/// Waits with as little delay as can be, to act within a step; `false` when `ended` came first.
fn spin(mut reached: impl FnMut() -> bool, mut ended: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if reached() {
            return true;
        }
        if ended() || started.elapsed() > Duration::from_secs(300) {
            return false;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The broker's step that its log shows as started and not done in the lines after `from` bytes.
fn step_under_way(log: &str) -> Option<String> {
    let last = log.lines().rev().find(|l| l.contains("step started") || l.contains("step done"))?;
    let step = last.split("step=\"").nth(1)?.split('"').next()?.to_owned();
    last.contains("step started").then_some(step)
}

/// What a node's status file says, unless it says it since before `this` began.
fn node_step(federation: &Federation, node: &Role) -> Option<String> {
    let path = PathBuf::from(federation.setting(node, "state_dir")).join("status.json");
    let status: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    Some(status["step"].as_str()?.to_owned())
}

/// Whether a node is beyond this step of its delivery and upload.
fn is_beyond(federation: &Federation, node: &Role, step: &str) -> bool {
    let place = |step: &str| ["read", "oprf", "encode", "upload"].iter().position(|known| *known == step);
    node_step(federation, node).is_some_and(|now| place(&now) > place(step))
}

fn assert_as_undisturbed(federation: &mut Federation, run: &str, expected: &str) {
    federation.wait_closed(run);
    let links = federation.links(run, MONTH);
    assert_eq!(links, expected, "run {run}");
    federation.assert_once(run, &links);
}

/// Nodes at each step of a delivery and of an upload. The custodian counts the evaluations of a killed delivery once.
fn kill_nodes(federation: &mut Federation, kills: &mut Kills) {
    let nodes = federation.nodes();
    // Another run's upload ends with the same status; here every step is new to a node.
    let plan = [("read", 2), ("oprf", 3), ("encode", 2), ("upload", 2)];
    federation.deliver(MONTH);
    federation.open_run("noeuds", MONTH);
    for (step, at) in plan {
        let node = &nodes[at % nodes.len()];
        // A step that is over between two looks holds up none of the others.
        let reached = spin(|| node_step(federation, node).is_some_and(|s| s == step), || is_beyond(federation, node, step));
        federation.kill(node);
        kills.add(if reached { format!("node {step}") } else { "node, later".to_owned() });
        federation.start(node);
    }
    // A delivery that is killed again and again: the budget of evaluations holds.
    let node = nodes[4].clone();
    for _ in 0..3 {
        let done = |f: &Federation| f.log_text(&node).contains("upload committed");
        if spin(|| node_step(federation, &node).is_some_and(|s| s == "oprf"), || done(federation)) {
            std::thread::sleep(Duration::from_millis(150));
        }
        federation.kill(&node);
        kills.add(format!("node {}", node_step(federation, &node).unwrap_or_else(|| "start".to_owned())));
        federation.start(&node);
    }
}

/// The broker at each step of a run. A dead worker's lease lasts half a minute: meanwhile other runs go on, so each step is
/// met in a run of its own, and all are waited for together.
fn kill_broker_at_each_step(federation: &mut Federation, kills: &mut Kills) -> Vec<String> {
    let mut runs = Vec::new();
    let mut wanted: BTreeSet<&str> = ["compare", "cluster", "deliver", "delete"].into();
    for number in 0..TRIES {
        let Some(step) = wanted.first().copied() else { break };
        let run = format!("courtier-{number}");
        federation.open_run(&run, MONTH);
        let mark = format!("step started run={run} step=\"{step}\"");
        let last = format!("step done run={run} step=\"delete\"");
        spin(|| federation.log_text(&Role::Broker).contains(&mark), || federation.log_text(&Role::Broker).contains(&last));
        federation.kill(&Role::Broker);
        let met = step_under_way(&federation.log_text(&Role::Broker));
        kills.add(format!("broker {}", met.as_deref().unwrap_or("between steps")));
        if let Some(met) = met {
            wanted.retain(|w| *w != met);
        }
        federation.start(&Role::Broker);
        runs.push(run);
    }
    assert!(wanted.is_empty(), "no kill met these steps of the broker: {wanted:?}");
    runs
}

/// The custodian while it evaluates, takes records, registers; the analyst while it fetches.
fn kill_custodian_and_analyst(federation: &mut Federation, kills: &mut Kills) -> Vec<String> {
    let mut runs = Vec::new();
    let marks = [
        (Role::Custodian, Role::Custodian, "records committed"),
        (Role::Custodian, Role::Broker, "step started"),
        (Role::Analyst, Role::Custodian, "link table ready"),
        (Role::Analyst, Role::Custodian, "link table handed over"),
    ];
    for (number, (killed, watched, mark)) in marks.into_iter().enumerate() {
        let run = format!("tiers-{number}");
        federation.open_run(&run, MONTH);
        let line = |log: &str| log.lines().any(|l| l.contains(mark) && l.contains(&format!("run={run} ")));
        spin(|| line(&federation.log_text(&watched)), || false);
        federation.kill(&killed);
        kills.add(format!("{} at “{mark}”", killed.command()));
        federation.start(&killed);
        runs.push(run);
    }
    runs
}

/// What the custodian counts when nobody is killed.
fn undisturbed_evaluations() -> BTreeMap<String, i64> {
    let mut federation = Federation::set_up(PERSONS, 1, SEED);
    federation.start_all();
    federation.deliver(MONTH);
    federation.wait_ingested(MONTH);
    federation.evaluations(MONTH)
}

#[test]
fn killed_roles_finish_with_the_links_of_an_undisturbed_run() {
    let mut federation = Federation::set_up(PERSONS, 1, SEED);
    let expected = federation.trial("controle", MONTH);
    let mut kills = Kills::default();
    federation.start_all();
    wait_for("the group key", || {
        federation.check();
        let derived = |node: &Role| federation.log_text(node).contains("group key derived");
        federation.nodes().iter().all(derived).then_some(())
    });

    kill_nodes(&mut federation, &mut kills);
    assert_as_undisturbed(&mut federation, "noeuds", &expected);
    // The same requests again are the same bytes: killed deliveries cost no evaluation more than undisturbed ones.
    assert_eq!(federation.evaluations(MONTH), undisturbed_evaluations());

    let mut runs = kill_broker_at_each_step(&mut federation, &mut kills);
    runs.extend(kill_custodian_and_analyst(&mut federation, &mut kills));
    println!("kills so far: {:?}", kills.0);
    for run in &runs {
        assert_as_undisturbed(&mut federation, run, &expected);
    }
    federation.stop_all();
    for step in ["broker compare", "broker cluster", "broker deliver", "broker delete", "node oprf", "node upload"] {
        assert!(kills.met(step), "no kill met {step}: {:?}", kills.0);
    }
    assert!(kills.total() >= 12, "{}", kills.total());
    println!(
        "{} kills in {} runs, all with the {} rows of the undisturbed one",
        kills.total(),
        runs.len() + 1,
        expected.lines().count() - 1
    );
}
