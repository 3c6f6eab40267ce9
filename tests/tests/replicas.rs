//! Two brokers and two custodians over one PostgreSQL and one object store, behind a balancer: one of each is killed in
//! mid-run, the database is restarted, and the run ends with the links of an undisturbed one.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stderr)]

use std::fs::OpenOptions;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use linkage_test_databases::{ObjectServer, On, OwnServer, objects_are_missing};
use linkage_tests::federation::{Federation, Role, binary, free_port, wait_for};

const MONTH: &str = "2024-01";

/// One process of a role.
struct Replica {
    process: Child,
    log: PathBuf,
    listen: String,
}

impl Replica {
    /// Replica `number` of a role: the role's configuration with an address and a folder of its own, and `more`.
    fn start(federation: &Federation, role: &Role, number: usize, more: &str) -> Self {
        let home = federation.home(role);
        let listen = format!("127.0.0.1:{}", free_port());
        let data = home.join(format!("replica-{number}"));
        let text = std::fs::read_to_string(federation.config(role)).unwrap();
        let text = text
            .replacen(&format!("listen = \"{}\"", federation.setting(role, "listen")), &format!("listen = \"{listen}\""), 1)
            .replacen(
                &format!("data_dir = \"{}\"", federation.setting(role, "data_dir")),
                &format!("data_dir = \"{}\"", data.display()),
                1,
            );
        let config = home.join(format!("replica-{number}.toml"));
        linkage_common::fsx::write_atomic(&config, format!("{text}\n{more}").as_bytes()).unwrap();
        let log = home.join(format!("replica-{number}.log"));
        let process = Command::new(binary())
            .args([role.command(), "serve", "--config"])
            .arg(&config)
            .env("LINKAGE_EXIT_WITH_PARENT", "1")
            .env("LINKAGE_LOG", "info")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(OpenOptions::new().create(true).append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        let mut replica = Self { process, log, listen };
        wait_for(&format!("{role:?} {number} listens"), || {
            assert!(replica.process.try_wait().unwrap().is_none(), "{role:?} {number} ended:\n{}", replica.text());
            replica.text().contains("listening").then_some(())
        });
        replica
    }
    fn text(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap().success());
    }
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let text = self.text();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("--- end of {}\n{}", self.log.display(), lines[lines.len().saturating_sub(25)..].join("\n"));
        }
    }
}

/// Passes connections to `at` on to those of `targets` that answer, in turn.
fn balance(at: &str, targets: [String; 2]) {
    let listener = TcpListener::bind(at).unwrap();
    std::thread::spawn(move || {
        static TURN: AtomicUsize = AtomicUsize::new(0);
        for client in listener.incoming().flatten() {
            let turn = TURN.fetch_add(1, Ordering::Relaxed);
            let Some(server) = (0..2).find_map(|n| TcpStream::connect(&targets[(turn + n) % 2]).ok()) else { continue };
            for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
                });
            }
        }
    });
}

fn secret(path: &Path, text: &str) -> String {
    linkage_common::fsx::write_atomic(path, text.as_bytes()).unwrap();
    format!("{{ file = \"{}\" }}", path.display())
}

#[test]
fn a_run_survives_its_replicas_and_its_database() {
    if On::Postgres.is_missing() || objects_are_missing() {
        return;
    }
    let (database, objects) = (OwnServer::start(&[]), ObjectServer::start());
    let mut federation = Federation::set_up(900, 1, 77);
    let expected = federation.trial("r1", MONTH);
    let (of_broker, of_custodian) = (database.database(), database.database());
    federation.custodian_database = Some(of_custodian.clone());
    let key = secret(&federation.folder.join("s3.key"), "test");
    let section = |name: &str, url: &str| format!("[database]\nurl = {}\n", secret(&federation.folder.join(name), url));
    let broker_sections = format!(
        "{}[objects]\nendpoint = \"{}\"\nbucket = \"linkage\"\naccess_key = {key}\nsecret_key = {key}\n",
        section("broker.url", &of_broker),
        objects.endpoint()
    );
    let custodian_sections = section("custodian.url", &of_custodian);
    let two = |role: Role, more: &str| [1, 2].map(|number| Replica::start(&federation, &role, number, more));
    let mut custodians = two(Role::Custodian, &custodian_sections);
    let mut brokers = two(Role::Broker, &broker_sections);
    balance(&federation.setting(&Role::Custodian, "listen"), [custodians[0].listen.clone(), custodians[1].listen.clone()]);
    balance(&federation.setting(&Role::Broker, "listen"), [brokers[0].listen.clone(), brokers[1].listen.clone()]);
    federation.start(&Role::Analyst);
    for node in federation.nodes() {
        federation.start(&node);
    }
    federation.deliver(MONTH);
    federation.open_run("r1", MONTH);
    // While nodes encode and send.
    wait_for("an upload is committed", || {
        federation.check();
        federation.nodes().iter().any(|node| federation.log_text(node).contains("upload committed")).then_some(())
    });
    custodians[0].kill();
    // The broker that links is killed, wherever it is then. One that was through before it stood still goes on with another run.
    let mut run = "r1".to_owned();
    let working = loop {
        let mark = format!("step started run={run} ");
        let working = wait_for("a step begins", || {
            federation.check();
            brokers.iter().position(|broker| broker.text().contains(&mark))
        });
        brokers[working].signal("-STOP");
        if !brokers[working].text().contains(&format!("step done run={run} step=\"delete\"")) {
            break working;
        }
        brokers[working].signal("-CONT");
        run.push_str("-encore");
        federation.open_run(&run, MONTH);
    };
    brokers[working].kill();
    database.crash();
    database.resume();
    federation.wait_closed(&run);
    // The last step, deletion, comes after the run is closed.
    let other = &brokers[1 - working];
    wait_for("the other broker takes over", || other.text().contains("step done").then_some(()));
    let links = federation.links(&run, MONTH);
    assert_eq!(links, expected);
    federation.assert_once(&run, &links);
    for broker in &brokers {
        let folder = broker.log.with_extension("");
        assert!(
            !folder.join("broker.sqlite").is_file() && !folder.join("uploads").is_dir(),
            "state outside of the shared stores"
        );
    }
}
