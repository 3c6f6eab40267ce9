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
    write("b.json", r#"{"clks": ["AAAAAAAAAAA="]}"#);
    assert!(compare("--strict").unwrap_err().contains("filtre 0"));
    assert!(compare("--one-to-one").unwrap_err().contains("1024 bits"));
}
