//! SIGKILL for every role at random steps of runs: each run ends with the links of an undisturbed one, and nothing twice.
//!
//! Ten kills in CI, spread over all roles; `LINKAGE_SOAK=100` for a hundred. Whom, when and for how long follows from a seed that is
//! printed (`LINKAGE_SEED` repeats it), the step that a kill met is read from the logs. What is killed at each known step, one by
//! one, is tested in `crash.rs`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use linkage_tests::faults::Seeded;
use linkage_tests::federation::{Federation, Role};

const MONTH: &str = "2024-01";
const PERSONS: u64 = 600;
const SEED: u64 = 67;
const KILLS_OF_A_RUN: usize = 2;

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |n| n.parse().unwrap())
}

/// What the logs say of a run as it goes on: where a line of it may be waited for.
const MARKS: [(&str, &str); 8] = [
    ("node", "upload committed"),
    ("custodian", "records committed"),
    ("broker", "step=\"compare\""),
    ("broker", "step=\"settle\""),
    ("broker", "step=\"cluster\""),
    ("broker", "step=\"deliver\""),
    ("custodian", "link table ready"),
    ("custodian", "link table handed over"),
];

/// Whether a role of this kind has said so of this run.
fn said(federation: &Federation, kind: &str, mark: &str, run: &str) -> bool {
    let of_run = format!("run={run} ");
    let roles = federation.roles();
    let mut logs = roles.iter().filter(|role| role.command() == kind).map(|role| federation.log_text(role));
    logs.any(|log| log.lines().any(|line| line.contains(mark) && format!("{line} ").contains(&of_run)))
}

/// The furthest mark of a run.
fn reached(federation: &Federation, run: &str) -> &'static str {
    let mut marks = MARKS.iter().rev();
    marks.find(|(kind, mark)| said(federation, kind, mark, run)).map_or("opened", |(_, mark)| mark)
}

/// Every role before any comes again, in an order that the seed decides.
fn deal(random: &mut Seeded, roles: &[Role]) -> Vec<Role> {
    let mut all = roles.to_vec();
    for last in (1..all.len()).rev() {
        all.swap(last, random.below(last as u64 + 1) as usize);
    }
    all
}

#[test]
fn roles_killed_at_random_steps_leave_the_same_links_and_nothing_twice() {
    let (kills, seed) = (variable("LINKAGE_SOAK", 10) as usize, variable("LINKAGE_SEED", 0x50AC));
    println!("LINKAGE_SEED={seed} LINKAGE_SOAK={kills}");
    let mut random = Seeded::new(seed);
    let mut federation = Federation::set_up(PERSONS, 1, SEED);
    let expected = federation.trial("controle", MONTH);
    let roles = federation.roles();
    federation.start_all();
    federation.deliver(MONTH);
    let started = Instant::now();
    let mut deck = Vec::new();
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    let mut runs: Vec<String> = Vec::new();
    let mut done = 0;
    while done < kills {
        let run = format!("endurance-{}", runs.len());
        federation.open_run(&run, MONTH);
        for _ in 0..KILLS_OF_A_RUN.min(kills - done) {
            if deck.is_empty() {
                deck = deal(&mut random, &roles);
            }
            let role = deck.pop().unwrap();
            // A step of the run, or of an earlier one that its worker still owes; then a moment more.
            let (kind, mark) = *random.of(&MARKS);
            let limit = Duration::from_millis(4_000);
            let waited = Instant::now();
            while !said(&federation, kind, mark, &run) && waited.elapsed() < limit {
                std::thread::sleep(Duration::from_millis(2));
            }
            std::thread::sleep(Duration::from_micros(random.below(30_000)));
            federation.kill(&role);
            *met.entry(format!("{} at “{}”", role.command(), reached(&federation, &run))).or_default() += 1;
            std::thread::sleep(Duration::from_millis(random.below(300)));
            federation.start(&role);
            done += 1;
        }
        runs.push(run);
    }
    println!("{done} kills in {} runs: {met:?}", runs.len());
    for run in &runs {
        federation.wait_closed(run);
        let table = federation.links(run, MONTH);
        assert_eq!(table, expected, "run {run}, seed {seed}");
        federation.assert_once(run, &table);
    }
    federation.stop_all();
    println!(
        "{done} kills, {} runs, each with the {} rows of the undisturbed one, in {} s",
        runs.len(),
        expected.lines().count() - 1,
        started.elapsed().as_secs()
    );
    for kind in ["node", "broker", "custodian", "analyst"] {
        assert!(met.keys().any(|what| what.starts_with(kind)), "no {kind} was killed: {met:?}");
    }
}
