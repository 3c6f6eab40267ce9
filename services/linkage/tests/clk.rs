//! `linkage clk`: two files encoded and compared, and files that are refused.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Standard output, or standard error of a command that failed with exit code 1.
fn linkage(folder: &Path, arguments: &str) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linkage"));
    command.args(arguments.split(' ')).current_dir(folder).stdin(Stdio::null()).env("LINKAGE_LOG", "warn");
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        return Ok(text(output.stdout));
    }
    assert_eq!(output.status.code(), Some(1), "{}", text(output.stderr));
    Err(text(output.stderr))
}

const SCHEMA: &str = r#"{"version": 3, "clkConfig": {"l": 1024, "kdf": {"type": "HKDF"}}, "features": [
    {"identifier": "nom", "format": {"type": "string"},
     "hashing": {"comparison": {"type": "ngram", "n": 2}, "strategy": {"bitsPerFeature": 200}}},
    {"identifier": "naissance", "format": {"type": "date", "format": "%Y-%m-%d"},
     "hashing": {"comparison": {"type": "ngram", "n": 1, "positional": true}, "strategy": {"bitsPerFeature": 200}}}]}"#;

#[test]
fn files_are_encoded_and_compared() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let mode = |mode| std::fs::set_permissions(folder.join("secret"), std::fs::Permissions::from_mode(mode)).unwrap();
    write("schema.json", SCHEMA);
    write("secret", "un essai\n");
    write("a.csv", "nom,naissance\nDUVAL,1987-11-03\nMARTIN,1990-01-02\n");
    write("b.csv", "nom,naissance\nNGUYEN,1955-05-05\nDUVALL,1987-11-03\nDUVAL,1987-11-03\n");
    write("c.csv", "nom,naissance\nDUVAL,1987-11-03\nMARTIN,1990-02-30\n");

    let encode = |name: &str| {
        linkage(folder, &format!("clk encode --schema schema.json --input {name}.csv --secret-file secret --out {name}.json"))
    };
    mode(0o644);
    assert!(encode("a").unwrap_err().contains("chmod 600"));
    mode(0o600);
    assert!(encode("a").unwrap().contains("2 fiches"));
    encode("b").unwrap();
    let refused = encode("c").unwrap_err();
    assert!(refused.contains("fiche 2") && refused.contains("naissance") && !refused.contains("1990"), "{refused}");
    assert!(!folder.join("c.json").try_exists().unwrap());

    let compare = |more: &str| linkage(folder, &format!("clk compare a.json b.json --threshold 0.7 --out pairs.csv {more}"));
    let rows = || std::fs::read_to_string(folder.join("pairs.csv")).unwrap();
    assert!(compare("--threads 2").unwrap().contains("2 paires au seuil"));
    let both = rows();
    assert!(both.starts_with("index_a,index_b,score\n0,2,1.0\n0,1,0."), "{both}");
    compare("--threads 1 --one-to-one").unwrap();
    assert_eq!(rows(), "index_a,index_b,score\n0,2,1.0\n");
    assert!(compare("--max-pairs 1").unwrap_err().contains("--max-pairs"));

    let whole = std::fs::read_to_string(folder.join("b.json")).unwrap();
    write("b.json", whole.get(..whole.len() / 2).unwrap());
    let refused = compare("--one-to-one").unwrap_err();
    assert!(refused.contains("b.json") && refused.contains("tronqué"), "{refused}");
    write("b.json", r#"{"clks": ["AAAAAAAAAAE="]}"#);
    assert!(compare("--one-to-one").unwrap_err().contains("1024 bits"));
    assert!(compare("--kernel mmx").unwrap_err().contains("portable"));
}

#[test]
fn filters_that_say_nothing_are_refused_or_set_aside() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("a.json", r#"{"clks": ["AAAAAAAAAAA=", "AAAAAAAAAA8=", "//////////8="]}"#);
    write("b.json", r#"{"clks": ["AAAAAAAAAA8="]}"#);
    let compare = |more: &str| linkage(folder, &format!("clk compare a.json b.json --threshold 0.1 --out pairs.csv {more}"));
    let refused = compare("--threads 1").unwrap_err();
    assert!(refused.contains("indices 0") && refused.contains("indices 2") && refused.contains("--skip-empty"), "{refused}");
    assert!(!folder.join("pairs.csv").try_exists().unwrap());
    let told = compare("--skip-empty").unwrap();
    assert!(told.contains("1 comparés ; 2 écartés") && told.contains("0, 2"), "{told}");
    assert_eq!(std::fs::read_to_string(folder.join("pairs.csv")).unwrap(), "index_a,index_b,score\n1,0,1.0\n");
    // Every kernel of this machine, and what the doctor says of them.
    let facts: serde_json::Value = serde_json::from_str(&linkage(folder, "--threads 3 doctor --json").unwrap()).unwrap();
    assert_eq!((&facts["threads"], &facts["threads_from"]), (&3.into(), &"--threads".into()));
    let kernels = facts["kernels"].as_array().unwrap().iter().filter(|kernel| kernel["runs"] == true);
    let names: Vec<_> = kernels.map(|kernel| kernel["name"].as_str().unwrap()).collect();
    assert_eq!((names.first(), names.last()), (facts["kernel"].as_str().as_ref(), Some(&"portable")));
    for name in names {
        let told: serde_json::Value =
            serde_json::from_str(&compare(&format!("--skip-empty --kernel {name} --json")).unwrap()).unwrap();
        assert_eq!((&told["kernel"], &told["written"]), (&name.into(), &1.into()));
        assert_eq!(told["set_aside"], serde_json::json!([[0, 2], []]));
    }
    assert!(linkage(folder, "doctor").unwrap().contains("Noyau de comparaison"));
}

#[test]
fn filters_are_diffused_and_encoded_alike_by_any_number_of_threads() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let private = |name: &str| {
        std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("schema.json", SCHEMA);
    for (name, text) in [("secret", "un essai\n"), ("key", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n")] {
        write(name, text);
        private(name);
    }
    // More rows than two threads take in a round.
    let rows: String = (0..9000).map(|at| format!("N{at},19{}-01-0{}\n", 10 + at % 90, 1 + at % 9)).collect();
    write("a.csv", &format!("nom,naissance\n{rows}"));
    let encode = |out: &str, more: &str| {
        let told =
            linkage(folder, &format!("clk encode --schema schema.json --input a.csv --secret-file secret --out {out} {more}"));
        told.map(|_| std::fs::read_to_string(folder.join(out)).unwrap())
    };
    let plain = encode("plain.json", "--threads 1").unwrap();
    assert_eq!(plain.matches('"').count(), 2 * 9001);
    assert!(plain.starts_with("{\"clks\": [\"") && plain.ends_with("\"]}\n"));
    assert_eq!(encode("plain.json", "--threads 2").unwrap(), plain);
    let diffused = encode("diffused.json", "--diffusion 8 --diffusion-key key").unwrap();
    assert!(diffused.len() == plain.len() && diffused != plain);
    assert!(encode("x.json", "--diffusion 7 --diffusion-key key").unwrap_err().contains("au moins 8"));
    // The first fault of the file, though a later batch has one too.
    let faulty = rows.replace("N8200,", "N8200,,").replace("N700,19", "N700,x");
    write("a.csv", &format!("nom,naissance\n{faulty}"));
    let refused = encode("x.json", "--threads 2").unwrap_err();
    assert!(refused.contains("fiche 701") && !refused.contains("x.json"), "{refused}");
    assert!(!folder.join("x.json").try_exists().unwrap());
}
