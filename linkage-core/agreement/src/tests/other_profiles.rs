//! Parties that deliver filters or keys instead of names: what the agreement must say of them, and what records become.

use super::faults::{edit, faults};
use super::{agreement, id, parsed};
use crate::model::{ClkEncoding, HashKeyEncoding, PartyProfile};
use crate::{Agreement, ParsedAgreement, RecordShape, template_fr};

/// siao delivers filters, caf hash keys.
fn mixed() -> Agreement {
    let mut mixed = agreement();
    mixed.party[1].profile = Some(PartyProfile::Clk);
    mixed.party[2].profile = Some(PartyProfile::HashKeys);
    mixed.encoding.clk = Some(ClkEncoding {
        schema_sha256: "0f".repeat(32),
        bits: 1024,
        threshold_permille: 800,
        margin_permille: 20,
        diffusion: 0,
        risk_accepted: true,
    });
    mixed.encoding.hash_keys = Some(HashKeyEncoding { keyed: false, risk_accepted: true });
    mixed
}

#[track_caller]
fn finds(from: &str, to: &str, path: &str, message: &str) {
    let (text, line, column) = edit(&mixed().to_toml(), 0, from, to);
    let found = faults(&text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].line, found[0].column, found[0].path.as_str()), (line, column, path), "{}", found[0]);
    assert!(found[0].message.contains(message), "{}", found[0]);
}

#[test]
fn an_agreement_with_both_is_written_and_read_back() {
    let text = mixed().to_toml();
    assert!(text.contains("profile = \"hash-keys\"") && text.contains("\n[encoding.clk]\n"), "{text}");
    let parsed = ParsedAgreement::parse(&text, "x").unwrap_or_else(|f| panic!("{f:#?}"));
    assert_eq!(parsed.agreement(), &mixed());
}

#[test]
fn what_is_absent_leaves_no_trace_in_the_hash() {
    let canonical = String::from_utf8(parsed().canonical_bytes().to_vec()).unwrap();
    assert!(!canonical.contains("\"clk\"") && !canonical.contains("hash_keys") && !canonical.contains("null"), "{canonical}");
    assert_eq!(canonical.matches("\"profile\"").count(), 1);
    let mut hashes = vec![parsed().hash(), ParsedAgreement::parse(&mixed().to_toml(), "x").unwrap().hash()];
    let changes: [fn(&mut ClkEncoding); 5] = [
        |clk| clk.schema_sha256 = "0e".repeat(32),
        |clk| clk.bits = 960,
        |clk| clk.threshold_permille = 801,
        |clk| clk.margin_permille = 21,
        |clk| clk.diffusion = 8,
    ];
    for change in changes {
        let mut changed = mixed();
        change(changed.encoding.clk.as_mut().unwrap());
        hashes.push(ParsedAgreement::parse(&changed.to_toml(), "x").unwrap().hash());
    }
    let mut keyed = mixed();
    keyed.encoding.hash_keys.as_mut().unwrap().keyed = true;
    hashes.push(ParsedAgreement::parse(&keyed.to_toml(), "x").unwrap().hash());
    let all = hashes.len();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), all);
}

#[test]
fn records_have_the_shape_of_their_party() {
    let (plain, mixed) = (agreement(), mixed());
    assert_eq!(plain.shape(&id("ccas")), plain.layout().shape());
    assert_eq!((plain.annex_len(), mixed.annex_len()), (0, 128 + 64));
    assert_eq!(mixed.shape(&id("ccas")), RecordShape { entries: 20, annex_len: 192 });
    for other in ["siao", "caf"] {
        assert_eq!(mixed.shape(&id(other)), RecordShape { entries: 0, annex_len: 192 });
        assert_eq!(mixed.shape(&id(other)).record_len(&mixed.layout()), 20 + 192);
    }
    assert_eq!(mixed.shape(&id("inconnu")), RecordShape { entries: 20, annex_len: 192 });
    let annex = mixed.annex();
    assert_eq!((annex.clk, annex.hash_keys), (Some(0..128), Some(128..192)));
}

#[test]
fn the_risk_must_be_accepted() {
    let (clk, keys) = ("risk_accepted = true\n\n[encoding.hash_keys]", "keyed = false\nrisk_accepted = true");
    finds(clk, "risk_accepted = ⟦false\n\n[encoding.hash_keys]", "encoding.clk.risk_accepted", "58 à 100 %");
    finds(clk, "risk_accepted = ⟦1\n\n[encoding.hash_keys]", "encoding.clk.risk_accepted", "true ou false");
    finds(keys, "keyed = false\nrisk_accepted = ⟦false", "encoding.hash_keys.risk_accepted", "83 %");
    finds("[encoding.hash_keys]\nkeyed = false\n", "⟦[encoding.hash_keys]\n", "encoding.hash_keys.keyed", "clé manquante");
}

#[test]
fn sections_and_parties_go_together() {
    for (party, path) in [(1, "encoding.clk"), (2, "encoding.hash_keys")] {
        let mut without = mixed();
        without.party[party].profile = None;
        let found = faults(&without.to_toml());
        assert_eq!((found.len(), found[0].path.as_str()), (1, path), "{found:#?}");
        assert!(found[0].message.contains("section inutile"), "{found:#?}");
    }
    finds("profile = \"clk\"\n", "profile = ⟦\"clks\"\n", "party[2].profile", "vouliez-vous écrire \"clk\"");
    finds("profile = \"clk\"\n", "profile = ⟦\"block-scoped\"\n", "party[2].profile", "valeurs admises");
    let mut bare = mixed();
    (bare.encoding.clk, bare.encoding.hash_keys) = (None, None);
    let found = faults(&bare.to_toml());
    let paths: Vec<&str> = found.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(paths, ["party[2].profile", "party[3].profile"], "{found:#?}");
    assert!(found[0].message.contains("[encoding.clk]") && found[1].message.contains("[encoding.hash_keys]"), "{found:#?}");
    let mut nobody = mixed();
    nobody.party[0].profile = Some(PartyProfile::Clk);
    let found = faults(&nobody.to_toml());
    assert_eq!((found.len(), found[0].path.as_str()), (1, "party"), "{found:#?}");
}

#[test]
fn parameters_of_filters() {
    let schema = format!("\"{}\"", "0f".repeat(32));
    for wrong in ["\"\"".to_owned(), format!("\"{}\"", "0F".repeat(32)), format!("\"sha256:{}\"", "0f".repeat(32))] {
        finds(&schema, &format!("⟦{wrong}"), "encoding.clk.schema_sha256", "64 chiffres hexadécimaux");
    }
    for wrong in [0, 63, 100, 2_112] {
        finds("bits = 1024", &format!("bits = ⟦{wrong}"), "encoding.clk.bits", "multiple de 64");
    }
    for wrong in 1..8 {
        finds("diffusion = 0", &format!("diffusion = ⟦{wrong}"), "encoding.clk.diffusion", "8 au moins");
    }
    finds("diffusion = 0", "diffusion = ⟦65", "encoding.clk.diffusion", "de 0 à 64");
    finds("threshold_permille = 800", "threshold_permille = ⟦1001", "encoding.clk.threshold_permille", "de 300 à 1000");
    finds("margin_permille = 20", "margin_permille = ⟦-1", "encoding.clk.margin_permille", "de 0 à 1000");
    let mut small = mixed();
    small.encoding.clk.as_mut().unwrap().bits = 64;
    small.encoding.clk.as_mut().unwrap().diffusion = 33;
    let found = faults(&small.to_toml());
    assert_eq!((found.len(), found[0].path.as_str()), (1, "encoding.clk.diffusion"), "{found:#?}");
    small.encoding.clk.as_mut().unwrap().diffusion = 32;
    assert_eq!(faults(&small.to_toml()), []);
}

/// The template proposes the sections as comments; with their marks removed they are what the schema wants.
#[test]
fn the_template_says_what_is_accepted() {
    let template = template_fr();
    for words in ["ré-identif", "58 à 100 %", "83 %", "tous les partenaires", "signataires"] {
        assert!(template.contains(words), "{words}");
    }
    let mut sections = String::new();
    for section in ["# [encoding.clk]", "# [encoding.hash_keys]"] {
        let (_, after) = template.split_once(section).unwrap();
        sections.push_str(section.trim_start_matches("# "));
        let lines = after.lines().skip(1).take_while(|line| line.starts_with("# "));
        for line in lines.filter(|line| line.contains(" = ")) {
            sections.push_str(&format!("\n{}", line.trim_start_matches("# ")));
        }
        sections.push_str("\n\n");
    }
    let sections = sections.replace("À COMPLÉTER", &"0f".repeat(32)).replace("risk_accepted = false", "risk_accepted = true");
    let mut mixed = mixed();
    (mixed.encoding.clk, mixed.encoding.hash_keys) = (None, None);
    let text = mixed.to_toml().replace("[decision]", &format!("{sections}[decision]"));
    assert_eq!(faults(&text), [], "{sections}");
}
