//! Whoever reads a command's output may leave early (`linkage evaluate … | head`): no panic, no noise, the work is done.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use tempfile::TempDir;

/// Links of a few persons and their truth.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let links = "person,party,local_id,match_class,probability\np1,a,1,1,900\np1,b,1,1,900\np2,a,2,0,0\n";
    std::fs::write(folder.path().join("links.csv"), links).unwrap();
    std::fs::write(folder.path().join("truth.csv"), "party,local_id,person_id\na,1,P1\nb,1,P1\na,2,P2\n").unwrap();
    folder
}

fn linkage(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linkage"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command
}
const EVALUATE: [&str; 5] = ["evaluate", "--links", "links.csv", "--truth", "truth.csv"];
const FAILING: [&str; 5] = ["evaluate", "--links", "absent.csv", "--truth", "truth.csv"];

/// A pipe that nobody reads any more.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn a_reader_that_went_away_is_no_fault() {
    let folder = folder();
    let output = linkage(folder.path(), &EVALUATE).stdout(closed()).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
    // With the reader still there the same command prints.
    let whole = linkage(folder.path(), &EVALUATE).stderr(Stdio::null()).output().unwrap();
    assert!(whole.status.success() && whole.stdout.starts_with(b"{"));
}

#[test]
fn files_are_written_and_exit_codes_kept_all_the_same() {
    let folder = folder();
    let status = |arguments: &[&str]| -> ExitStatus {
        linkage(folder.path(), arguments).stdout(closed()).stderr(closed()).status().unwrap()
    };
    assert_eq!(status(&["agreement", "init", "--out", "convention.toml"]).code(), Some(0));
    assert!(folder.path().join("convention.toml").is_file());
    // Every fault is a line, and the check still fails.
    assert_eq!(status(&["agreement", "check", "convention.toml"]).code(), Some(3));
    assert_eq!(status(&FAILING).code(), Some(1));
    // Progress goes to standard error.
    assert_eq!(status(&["synth", "--persons", "200", "--parties", "2", "--months", "1", "--out", "population"]).code(), Some(0));
    assert!(folder.path().join("population/truth/truth.csv").is_file());
    assert_eq!(status(&["--help"]).code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_is_cut_short_by_a_full_disk_is_a_failure() {
    let folder = folder();
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = linkage(folder.path(), &EVALUATE).stdout(full()).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("sortie standard incomplète"), "{message}");
}
