//! A pass set that was searched goes all the way: chosen, checked, named by an agreement, used by a trial.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn linkage(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linkage"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).env("LINKAGE_LOG", "warn");
    command.output().unwrap()
}

#[track_caller]
fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = linkage(folder, arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(output.stderr));
    text(output.stdout)
}

#[track_caller]
fn refused(folder: &Path, arguments: &[&str], why: &str) {
    let output = linkage(folder, arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {message}");
    assert!(message.contains(why), "{message}");
}

const INPUT: [&str; 6] = [
    "--input",
    "ccas=p/ccas/ccas_2024-01.csv",
    "--input",
    "siao=p/siao/siao_2024-01.csv",
    "--input",
    "departement=p/departement/departement_2024-01.csv",
];
const TRUTH: [&str; 2] = ["--truth", "p/truth/truth.csv"];

fn with<'a>(parts: &[&[&'a str]]) -> Vec<&'a str> {
    parts.concat()
}

#[test]
fn a_searched_set_serves_a_trial_and_the_agreement_fixes_it() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    done(folder, &["synth", "--persons", "3000", "--parties", "3", "--months", "1", "--seed", "5", "--out", "p"]);
    let search = ["passes", "search", "--expected-records", "20000", "--meetings", "0.5", "--out", "choisi.toml", "--json"];
    let found: Value = serde_json::from_str(&done(folder, &with(&[&search, &INPUT, &TRUTH]))).unwrap();
    let reference = found["reference"].as_str().unwrap().to_owned();
    assert!(reference.starts_with("choisi@") && reference.len() == 71, "{reference}");

    let check = ["passes", "check", "--input", INPUT[1], "--pass-set", "choisi.toml"];
    assert!(done(folder, &check).contains(&format!("À porter dans la convention : pass_set = \"{reference}\"")));
    let checked: Value = serde_json::from_str(&done(folder, &with(&[&check, &["--json"]]))).unwrap();
    assert_eq!((&checked["reference"], &checked["pass_set"]), (&found["reference"], &Value::from("choisi")));

    let trial = with(&[&["trial", "--no-oprf", "--seed", "3", "--json"], &INPUT]);
    let given = ["--pass-set", "choisi.toml"];
    let first: Value = serde_json::from_str(&done(folder, &with(&[&trial, &TRUTH, &given, &["--out", "essai"]]))).unwrap();
    let f1 = first["evaluation"]["cross_party"]["f1"].as_f64().unwrap();
    assert!(f1 > 0.9, "{f1}");
    let agreement = std::fs::read_to_string(folder.join("essai/agreement.toml")).unwrap();
    assert!(agreement.contains(&format!("pass_set = \"{reference}\"")), "{agreement}");

    // The agreement that came of it: with the file, without, and with another.
    let agreed = ["--agreement", "essai/agreement.toml", "--out", "encore"];
    done(folder, &with(&[&trial, &given, &agreed]));
    let links = |trial: &str| std::fs::read_to_string(folder.join(trial).join("links.csv")).unwrap().lines().count();
    assert_eq!(links("essai"), links("encore"));
    refused(folder, &with(&[&trial, &agreed]), "--pass-set FICHIER");
    refused(folder, &with(&[&trial, &agreed, &["--pass-set", "fr-1"]]), "la convention demande");
    let set = std::fs::read_to_string(folder.join("choisi.toml")).unwrap();
    std::fs::write(folder.join("change.toml"), format!("{set}\n")).unwrap();
    refused(folder, &with(&[&trial, &agreed, &["--pass-set", "change.toml"]]), "la convention demande");
    refused(folder, &["passes", "check", "--input", INPUT[1], "--agreement", "essai/agreement.toml"], "--pass-set FICHIER");
}
