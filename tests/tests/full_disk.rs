//! A role whose disk is full says so, keeps what it has, and goes on by itself once there is room.
//!
//! The disk is a small tmpfs mounted over the role's folder, which takes root. Without that right the test fails, unless
//! `LINKAGE_NO_MOUNT=1` says that it is known not to be there.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use linkage_tests::federation::{Federation, Role, files, wait_for};

const MONTH: &str = "2024-01";

/// A disk of its own size; unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    /// Mounts a disk of `kib` KiB on `folder`; `None` when mounting is not allowed and that is known.
    fn mount(folder: &Path, kib: u32) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let options = format!("size={kib}k,mode=0700");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "linkage-test"]).arg(folder).output().unwrap();
        if output.status.success() {
            return Some(Self(folder.to_owned()));
        }
        assert!(
            std::env::var_os("LINKAGE_NO_MOUNT").is_some_and(|v| v == "1"),
            "a tmpfs cannot be mounted ({}): run this test as root, or set LINKAGE_NO_MOUNT=1 to leave it out knowingly",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        println!("LINKAGE_NO_MOUNT=1: full disks are not tested here");
        None
    }

    fn resize(&self, kib: u32) {
        let options = format!("remount,size={kib}k");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn digests(folder: &Path) -> Vec<(String, Vec<u8>)> {
    files(folder).into_iter().map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

#[test]
fn a_node_on_a_full_disk_keeps_the_delivery_and_goes_on_when_there_is_room() {
    let mut federation = Federation::set_up(800, 1, 41);
    let largest = federation.parties.iter().find(|p| *p == "caf").unwrap().clone();
    let node = Role::Node(largest);
    let state = PathBuf::from(federation.setting(&node, "state_dir"));
    // Room for keys and the delivery itself, not for its encodings.
    let Some(disk) = Disk::mount(&state, 256) else { return };
    federation.start_all();
    wait_for("the group key", || federation.log_text(&node).contains("group key derived").then_some(()));
    let before: Vec<_> = digests(&state.join("keys"));
    federation.deliver(MONTH);
    federation.open_run("plein", MONTH);
    wait_for("the node says that its disk is full", || {
        federation.check();
        federation.log_text(&node).contains("disque plein").then_some(())
    });
    let inbox = federation.home(&node).join("depot").join(MONTH);
    assert_eq!(fs::read_dir(&inbox).unwrap().count(), 1, "the delivery waits in the inbox");
    assert_eq!(digests(&state.join("keys")), before, "what was there is there");
    // It tries again now and then: what is half written then does not stay.
    wait_for("nothing half written is left", || {
        let half_written = files(&state).iter().any(|(name, _)| name.ends_with(".tmp"));
        (!half_written).then_some(())
    });
    assert!(!state.join(format!("deliveries/{MONTH}.enc")).exists());
    assert_eq!(federation.run_status("plein").unwrap()["state"], "collecte");

    disk.resize(64 << 10);
    federation.wait_closed("plein");
    let links = federation.links("plein", MONTH);
    assert_eq!(links, federation.trial("plein", MONTH));
    federation.assert_once("plein", &links);
    // Encoding again after the fault costs no second budget: the same requests are not charged twice.
    let used = federation.evaluations(MONTH);
    let said = federation.log_text(&node).matches("disque plein").count();
    federation.stop_all();
    println!(
        "node: {said} notices of a full disk, then {} rows as in the trial; evaluations {used:?}",
        links.lines().count() - 1
    );
}

#[test]
fn a_broker_on_a_full_disk_refuses_uploads_until_there_is_room() {
    let mut federation = Federation::set_up(800, 1, 43);
    let data = PathBuf::from(federation.setting(&Role::Broker, "data_dir"));
    // Room for the database and some uploads, not for all: five parties send about 2.4 MB.
    let Some(disk) = Disk::mount(&data, 1400) else { return };
    federation.start_all();
    federation.deliver(MONTH);
    federation.open_run("plein", MONTH);
    let nodes = federation.nodes();
    wait_for("a node or the broker says that the broker's disk is full", || {
        federation.check();
        let mut logs = nodes.iter().chain([&Role::Broker]).map(|role| federation.log_text(role));
        logs.any(|log| log.contains("disque plein")).then_some(())
    });
    let status = wait_for("the broker answers", || federation.run_status("plein"));
    assert_eq!(status["state"], "collecte", "{status}");

    disk.resize(64 << 10);
    federation.wait_closed("plein");
    let links = federation.links("plein", MONTH);
    assert_eq!(links, federation.trial("plein", MONTH));
    federation.assert_once("plein", &links);
    federation.stop_all();
    println!("broker: full, then {} rows as in the trial", links.lines().count() - 1);
}
