//! Files of hash keys go all the way: made, linked, measured in a trial, reversed by dictionary, and not under a key.

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
fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = linkage(folder, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8(output.stderr).unwrap());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refused(folder: &Path, arguments: &[&str], code: i32, why: &str) {
    let output = linkage(folder, arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    assert!(message.contains(why), "{message}");
}

const FILES: [(&str, &str); 2] = [("ccas", "ccas=p/ccas/ccas_2024-01.csv"), ("siao", "siao=p/siao/siao_2024-01.csv")];
const TRIAL: [&str; 7] = ["trial", "--profile", "hash-keys", "--input", FILES[0].1, "--input", FILES[1].1];

/// Makes the key files of both parties and links them; returns what linking did.
fn made_and_linked(folder: &Path, name: &str, more: &[&str]) -> Value {
    for (party, input) in FILES {
        let out = format!("{name}/{party}.csv");
        let made = json(folder, &[&["hash-keys", "make", "--input", input, "--out", &out][..], more].concat());
        let counts = &made["counts"];
        let count = |what: &str| counts[what].as_u64().unwrap();
        assert_eq!(count("lines"), count("records") + count("set_aside"), "{counts}");
        assert_eq!(made["keyed"], !more.is_empty());
        let text = std::fs::read_to_string(folder.join(&out)).unwrap();
        assert_eq!(text.lines().count() as u64, count("records") + 1);
        #[cfg(unix)]
        for file in [out, format!("{name}/{party}-lignes.csv")] {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(folder.join(&file).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        }
    }
    let [ccas, siao] = FILES.map(|(party, _)| format!("{party}={name}/{party}.csv"));
    let links = format!("{name}/links.csv");
    json(folder, &["hash-keys", "link", "--input", &ccas, "--input", &siao, "--out", &links])["links"].clone()
}

#[test]
fn key_files_are_made_linked_measured_and_reversed_but_not_under_a_key() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    json(folder, &["synth", "--persons", "1500", "--parties", "2", "--months", "1", "--seed", "11", "--out", "p"]);

    let trial = json(folder, &[&TRIAL[..], &["--truth", "p/truth/truth.csv", "--out", "t"]].concat());
    let keys = &trial["hash_keys"];
    let figure = |of: &Value, what: &str| of["cross_party"][what].as_f64().unwrap();
    let (both, alone) = (&trial["evaluation"], &keys["primary_only"]);
    assert!(figure(both, "recall") > figure(alone, "recall") && figure(alone, "recall") > 0.2, "{both} {alone}");
    assert!(figure(both, "recall") < 0.95 && figure(both, "precision") > 0.95, "{both}");
    let page = std::fs::read_to_string(folder.join("t/report.html")).unwrap();
    assert!(page.contains("Ces empreintes ne protègent pas"));

    // Files handed over give the links of the trial; so do keyed ones.
    let plain = made_and_linked(folder, "plain", &[]);
    assert_eq!(plain, keys["links"]);
    std::fs::write(folder.join("group.key"), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(folder.join("group.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let agreement = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/agreement/convention.toml");
    let key = ["--group-key", "group.key", "--agreement", agreement, "--run", "2024-01"];
    assert_eq!(made_and_linked(folder, "keyed", &key), plain);

    let attack = |keys: &str| {
        let years = ["--first-year", "1975", "--last-year", "1990", "--seconds", "10"];
        json(folder, &[&["attack", "dictionary", "--keys", keys][..], &years].concat())["findings"]["end"].clone()
    };
    let open = attack("plain/ccas.csv");
    assert!(open["secondary_reversed"].as_u64() > Some(50) && open["primary_reversed"].as_u64() > Some(20), "{open}");
    let closed = attack("keyed/ccas.csv");
    assert_eq!((&closed["secondary_reversed"], &closed["primary_reversed"]), (&Value::from(0), &Value::from(0)));
    assert!(closed["tried"].as_u64() > Some(1_000_000), "{closed}");
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_do() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    std::fs::write(folder.join("a.csv"), "nom;prenom\nx;y\n").unwrap();
    refused(folder, &["hash-keys", "link", "--input", "ccas=a.csv", "--out", "l.csv"], 1, "deux partenaires au moins");
    refused(folder, &["hash-keys", "link", "--input", "ccas=a.csv", "--input", "caf=a.csv", "--out", "l.csv"], 1, "cle_primaire");
    refused(folder, &["attack", "dictionary", "--keys", "absent.csv"], 1, "lecture impossible");
    refused(folder, &["hash-keys", "make", "--input", "ccas=a.csv", "--out", "k.csv", "--group-key", "g"], 2, "--agreement");
    refused(folder, &[&TRIAL[..], &["--no-oprf", "--out", "t"]].concat(), 1, "--no-oprf");
    refused(folder, &["trial", "--profile", "hash-keys", "--input", "ccas=a.csv", "--out", "t"], 1, "deux partenaires");
}
