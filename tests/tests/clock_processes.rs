//! Roles whose process sees another time than the rest of the federation: a day ahead, a day behind, a leap of a year and back.
//!
//! libfaketime (<https://github.com/wolfcw/libfaketime>) stands between the process and the system's clock and reads the shift
//! from a file before each answer, so that a clock is set while the role runs, as a mistaken operator or time server does.
//! The monotonic clock goes on as it is, as on a real machine. `tests/run.sh` installs it; `LINKAGE_FAKETIME` names it elsewhere,
//! `LINKAGE_NO_FAKETIME=1` says that it is known not to be there. What each refusal says is asserted: an operator must be led to
//! the clock.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use linkage_common::fsx;
use linkage_common::retention::last_believed;
use linkage_tests::federation::{Federation, Role, files, wait_for};

const MONTH: &str = "2024-01";
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The library; none where it is known to be missing.
fn library() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("LINKAGE_FAKETIME") {
        return Some(path.into());
    }
    let folders = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let found =
        folders.chain(["/usr/lib".into(), "/usr/lib64".into()]).map(|folder| folder.join(LIBRARY)).find(|path| path.is_file());
    assert!(
        found.is_some() || std::env::var_os("LINKAGE_NO_FAKETIME").is_some_and(|v| v == "1"),
        "libfaketime is missing: install it (Debian: libfaketime), or set LINKAGE_NO_FAKETIME=1 to leave these tests out knowingly"
    );
    if found.is_none() {
        println!("LINKAGE_NO_FAKETIME=1: clocks of processes are not tested here");
    }
    found
}

/// A federation whose roles' clocks can be set one by one.
struct Clocks {
    site: Federation,
}

impl Clocks {
    fn set_up(library: &Path, seed: u64) -> Self {
        let mut site = Federation::set_up(120, 1, seed);
        for role in site.roles() {
            let shift = site.home(&role).join("horloge");
            let variables = [
                ("LD_PRELOAD", library.display().to_string()),
                ("FAKETIME_TIMESTAMP_FILE", shift.display().to_string()),
                ("FAKETIME_NO_CACHE", "1".to_owned()),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ];
            site.environment_of.insert(role.clone(), variables.map(|(name, value)| (name.to_owned(), value)).to_vec());
        }
        let clocks = Self { site };
        for role in clocks.site.roles() {
            clocks.set(&role, 0);
        }
        clocks
    }

    /// Sets a role's clock `hours` ahead of the others', at once.
    fn set(&self, role: &Role, hours: i64) {
        fsx::write_atomic(&self.site.home(role).join("horloge"), format!("{hours:+}h\n").as_bytes()).unwrap();
    }

    /// What an operator of the role is answered on the machine with that clock.
    fn said(&self, role: &Role, arguments: &[&str]) -> (bool, String) {
        let mut command = self.site.command_of(role);
        command.args(arguments).arg("--config").arg(self.site.config(role)).stdin(Stdio::null()).env("LINKAGE_LOG", "warn");
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.success(), text)
    }

    fn restart(&mut self, role: &Role) {
        self.site.stop(role);
        self.site.start(role);
    }

    /// A line of the role's log after its first `from` bytes.
    fn logs(&mut self, role: &Role, from: usize, what: &str) {
        wait_for(&format!("{role:?} logs: {what}"), || {
            self.site.check();
            self.site.log_text(role).get(from..).is_some_and(|log| log.contains(what)).then_some(())
        });
    }

    /// Every role's audit log holds together.
    fn assert_audit(&self) {
        for role in self.site.roles() {
            let (fine, said) = self.said(&role, &["audit", "verify"]);
            assert!(fine, "{role:?}: {said}");
        }
    }
}

#[test]
fn a_node_a_day_ahead_takes_part_and_goes_on_when_it_is_set_right() {
    let Some(library) = library() else { return };
    let mut clocks = Clocks::set_up(&library, 107);
    let expected = clocks.site.trial("controle", MONTH);
    let node = Role::Node(clocks.site.parties[1].clone());
    clocks.set(&node, 26);
    clocks.site.start_all();
    clocks.site.deliver(MONTH);
    clocks.site.wait_ingested(MONTH);
    clocks.site.open_run("avance", MONTH);
    clocks.site.wait_closed("avance");
    assert_eq!(clocks.site.links("avance", MONTH), expected);
    let (_, said) = clocks.said(&node, &["doctor"]);
    assert!(said.contains("horloge"), "{said}");
    clocks.set(&node, 0);
    clocks.site.open_run("juste", MONTH);
    clocks.site.wait_closed("juste");
    assert_eq!(clocks.site.links("juste", MONTH), expected);
    clocks.site.stop_all();
    clocks.assert_audit();
}

#[test]
fn a_broker_a_day_behind_is_refused_with_clear_words_and_goes_on_when_it_is_set_right() {
    let Some(library) = library() else { return };
    let mut clocks = Clocks::set_up(&library, 109);
    let expected = clocks.site.trial("controle", MONTH);
    // Every certificate begins an hour before the site was made: by this clock, tomorrow.
    clocks.set(&Role::Broker, -26);
    clocks.site.start_all();
    clocks.site.deliver(MONTH);
    clocks.site.wait_ingested(MONTH);
    let coordinator = Role::Node(clocks.site.parties[0].clone());
    let (fine, said) = clocks.said(&coordinator, &["run", "open", "--run", "retard", "--period", MONTH]);
    println!("{said}");
    assert!(!fine && said.contains("horloge"), "{said}");
    for node in clocks.site.nodes() {
        clocks.logs(&node, 0, "horloge");
    }
    let (fine, said) = clocks.said(&Role::Broker, &["doctor"]);
    println!("{said}");
    assert!(!fine && said.contains("horloge"), "{said}");
    clocks.set(&Role::Broker, 0);
    clocks.site.open_run("juste", MONTH);
    clocks.site.wait_closed("juste");
    assert_eq!(clocks.site.links("juste", MONTH), expected);
    clocks.site.stop_all();
    clocks.assert_audit();
}

/// What a role holds in files, by name; what comes and goes by itself is left out, as is the study, made again with each run.
fn held(site: &Federation, role: &Role) -> BTreeSet<String> {
    let lasting = |name: &String| {
        let kept = [".enc", ".sqlite", ".csv", ".parquet"].iter().any(|end| name.ends_with(end));
        kept && !name.contains("/study/")
    };
    files(&site.home(role)).into_iter().map(|(name, _)| name).filter(lasting).collect()
}

#[test]
fn a_clock_that_leaps_a_year_ahead_and_comes_back_deletes_nothing_and_ends_no_run() {
    const YEAR: i64 = 365 * 24;
    let Some(library) = library() else { return };
    let mut clocks = Clocks::set_up(&library, 113);
    let expected = clocks.site.trial("controle", MONTH);
    let node = Role::Node(clocks.site.parties[1].clone());
    clocks.site.start_all();
    clocks.site.deliver(MONTH);
    clocks.site.wait_ingested(MONTH);
    clocks.site.open_run("avant", MONTH);
    clocks.site.wait_closed("avant");
    let rows = clocks.site.rows("avant", MONTH);
    for role in [Role::Custodian, Role::Broker, Role::Analyst, node.clone()] {
        let folder = clocks.site.setting(&role, if role == node { "state_dir" } else { "data_dir" });
        let mark = wait_for("the clock is vouched for", || last_believed(Path::new(&folder)));
        let before = held(&clocks.site, &role);
        let from = clocks.site.log_text(&role).len();
        clocks.set(&role, YEAR);
        // A round of deletion at once, by the wrong clock.
        clocks.restart(&role);
        clocks.logs(&role, from, "nothing is deleted by it");
        let run = format!("saut-{}", role.command());
        let coordinator = Role::Node(clocks.site.parties[0].clone());
        let (fine, said) = clocks.said(&coordinator, &["run", "open", "--run", &run, "--period", MONTH]);
        println!("{role:?}: {fine} {said}");
        clocks.set(&role, 0);
        if !fine {
            clocks.site.open_run(&run, MONTH);
        }
        clocks.site.wait_closed(&run);
        assert_eq!(clocks.site.links(&run, MONTH), expected, "{role:?}");
        let after = held(&clocks.site, &role);
        let gone: Vec<&String> = before.difference(&after).collect();
        assert!(gone.is_empty(), "{role:?}: {gone:?}");
        let now = last_believed(Path::new(&folder)).unwrap();
        assert!(now >= mark && now.duration_since(mark).as_hours() < 24, "{role:?}: {mark} {now}");
    }
    assert_eq!(clocks.site.rows("avant", MONTH), rows);
    // The same leap with the operator's word for it: there was something to delete.
    let before = held(&clocks.site, &node);
    clocks.site.stop_all();
    clocks.assert_audit();
    clocks.set(&node, YEAR);
    let (fine, said) = clocks.said(&node, &["retention", "confirm"]);
    assert!(fine, "{said}");
    clocks.site.start(&node);
    wait_for("what is over its term goes", || (!held(&clocks.site, &node).is_superset(&before)).then_some(()));
    clocks.site.stop_all();
}
