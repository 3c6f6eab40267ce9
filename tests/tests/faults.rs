//! Bad lines between all roles: every run ends, with the links of an undisturbed one.
//!
//! Each of the links (nodes to broker and custodian, broker and analyst to custodian) goes through a proxy that cuts, truncates,
//! delays or silences its first connections, or loses the answers to requests that arrived. `LINKAGE_SOAK=N` harms N
//! connections of each link, `LINKAGE_SEED` repeats a failure.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::net::SocketAddr;
use std::time::Duration;

use linkage_tests::faults::{BadLines, Weather};
use linkage_tests::federation::{Federation, Role, free_port};

const MONTH: &str = "2024-01";

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |n| n.parse().unwrap())
}

/// Puts a bad line between every pair of roles that talk; how many there are.
fn harm(federation: &Federation, lines: &BadLines) -> usize {
    let mut links: Vec<(Role, Role, &str)> =
        vec![(Role::Broker, Role::Custodian, "custodian_url"), (Role::Analyst, Role::Custodian, "custodian_url")];
    for node in federation.nodes() {
        links.push((node.clone(), Role::Broker, "broker_url"));
        links.push((node, Role::Custodian, "custodian_url"));
    }
    for (client, server, key) in &links {
        let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let target = federation.setting(server, "listen").parse().unwrap();
        lines.start(&format!("{} -> {}", client.home(), server.home()), listen, target);
        federation.set(client, key, &format!("https://{listen}"));
    }
    links.len()
}

#[test]
fn runs_over_bad_lines_end_with_the_links_of_an_undisturbed_one() {
    let (faulty, seed) = (variable("LINKAGE_SOAK", 3), variable("LINKAGE_SEED", 0xBAD));
    println!("LINKAGE_SEED={seed} LINKAGE_SOAK={faulty}");
    let mut federation = Federation::set_up(500, 1, 71);
    let expected = federation.trial("controle", MONTH);
    let lines = BadLines::new(Weather { seed, faulty, silence: Duration::from_millis(700) });
    let links = harm(&federation, &lines);
    federation.start_all();
    federation.deliver(MONTH);
    let mut runs = Vec::new();
    // Connections stand as long as nothing harms them: a run uses up a few.
    for number in 0..20 {
        let run = format!("orage-{number}");
        federation.open_run(&run, MONTH);
        federation.wait_closed(&run);
        let table = federation.links(&run, MONTH);
        assert_eq!(table, expected, "run {run}, seed {seed}: {:?}", lines.met());
        federation.assert_once(&run, &table);
        runs.push(run);
        if lines.met().len() >= 7 {
            break;
        }
    }
    let met = lines.met();
    assert_eq!(met.len(), 7, "not every fault was met: {met:?}");
    let told = federation.roles().iter().map(|role| federation.log_text(role).matches("tried again").count()).sum::<usize>();
    assert!(told > 0, "faults took effect and no role said so");
    federation.stop_all();
    println!(
        "{links} links, faults met {met:?}, {told} lines say « tried again », {} runs with the same {} rows",
        runs.len(),
        expected.lines().count() - 1
    );
}
