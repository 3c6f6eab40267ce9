//! Every fault is found, at its line and column, and all at once.

use proptest::prelude::*;

use super::{agreement, verification};
use crate::{Fault, ParsedAgreement, keys, template_fr};

pub(super) fn faults(text: &str) -> Vec<Fault> {
    ParsedAgreement::parse(text, "convention.toml").err().unwrap_or_default()
}

/// Replaces the `nth` (from 0) occurrence of `from`; a `⟦` in `to` is where the fault must stand.
pub(super) fn edit(text: &str, nth: usize, from: &str, to: &str) -> (String, usize, usize) {
    let (at, _) = text.match_indices(from).nth(nth).unwrap_or_else(|| panic!("{from} is not in the text"));
    let (before, after) = text.split_at(at);
    let edited = format!("{before}{to}{}", after.strip_prefix(from).unwrap());
    let (before, _) = edited.split_once('⟦').unwrap();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    (edited.replace('⟦', ""), line, column)
}

#[track_caller]
fn finds(nth: usize, from: &str, to: &str, path: &str, message: &str) {
    let (text, line, column) = edit(&agreement().to_toml(), nth, from, to);
    let found = faults(&text);
    assert_eq!(found.len(), 1, "{found:#?}");
    let fault = &found[0];
    assert_eq!((fault.line, fault.column, fault.path.as_str()), (line, column, path), "{fault}");
    assert!(fault.message.contains(message), "{fault}");
    assert_eq!(fault.to_string(), format!("convention.toml:{line}:{column} : {path} : {}", fault.message));
}

#[test]
fn the_base_agreement_has_none() {
    assert_eq!(faults(&agreement().to_toml()), []);
}

#[test]
fn keys_misspelt_missing_or_of_the_wrong_type() {
    finds(0, "purpose = \"Essai", "⟦porpose = 1\npurpose = \"Essai", "agreement.porpose", "vouliez-vous écrire purpose ?");
    finds(0, "minimum_cell", "⟦couleur = 1\nminimum_cell", "disclosure.couleur", "clés admises ici : minimum_cell");
    finds(0, "version = 1\n", "version = ⟦\"1\"\n", "agreement.version", "un nombre entier, sans guillemets");
    finds(0, "version = 1\n", "version = ⟦1.0\n", "agreement.version", "nombre à virgule refusé");
    finds(0, "max_records = 5000", "max_records = ⟦9007199254740992", "party[1].max_records", "trop grand");
    finds(1, "duplicate_free = false", "duplicate_free = ⟦\"non\"", "party[3].duplicate_free", "true ou false");
    finds(0, "forbidden_uses = []", "forbidden_uses = ⟦\"aucun\"", "agreement.forbidden_uses", "une liste entre crochets");
    finds(0, "\"2024-01-01\"", "⟦2024-01-01T08:00:00", "agreement.start", "écrire la date seule");
    finds(0, "[disclosure]\nminimum_cell = 11\n", "⟦[disclosure]\n", "disclosure.minimum_cell", "clé manquante");
    finds(0, "schema = 1\n", "schema = ⟦2\n", "schema", "seule la valeur 1");
    let (text, ..) = edit(&agreement().to_toml(), 0, "[disclosure]\nminimum_cell = 11\n", "⟦");
    assert_eq!(faults(&text).iter().map(|f| (f.line, f.path.as_str())).collect::<Vec<_>>(), [(1, "disclosure")]);
}

#[test]
fn syntax_errors() {
    let cases = [
        ("title = \"Essai de rapprochement\"", "title = ⟦Essai", "texte sans guillemets"),
        ("version = 1\n", "version = 1\n⟦version = 2\n", "clé ou table déjà écrite"),
        ("[encoding]", "[encoding⟦", "crochet non fermé"),
    ];
    for (from, to, message) in cases {
        let (text, line, _) = edit(&agreement().to_toml(), 0, from, to);
        let found = faults(&text);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0].line, line, "{}", found[0]);
        assert!(found[0].message.contains(message), "{}", found[0]);
    }
}

#[test]
fn terms() {
    finds(0, "\"2026-12-31\"", "⟦\"2023-12-31\"", "agreement.end", "finit avant de commencer");
    finds(0, "\"2026-12-31\"", "⟦\"2026-02-30\"", "agreement.end", "date invalide");
    finds(0, "\"2026-12-31\"", "⟦\"20261231\"", "agreement.end", "date invalide");
    finds(0, "\"2023-06\"", "⟦\"2027-01\"", "agreement.first_period", "postérieur à la fin");
    finds(0, "\"2023-06\"", "⟦\"2023-13\"", "agreement.first_period", "mois invalide");
    finds(0, "coordinator = \"ccas\"", "coordinator = ⟦\"cca\"", "agreement.coordinator", "coordonnateur inconnu");
    finds(0, "title = \"Essai de rapprochement\"", "title = ⟦\"  \"", "agreement.title", "texte vide");
    finds(0, "title = \"Essai de rapprochement\"", "title = ⟦\"\\u0000\"", "agreement.title", "caractère de contrôle");
    finds(0, "history_months = 60", "history_months = ⟦0", "agreement.history_months", "de 1 à 240");
}

#[test]
fn pass_sets() {
    let digest = "0f".repeat(32);
    let named = agreement().to_toml().replacen("pass_set = \"fr-1\"", &format!("pass_set = \"choisi@{digest}\""), 1);
    assert_eq!(
        ParsedAgreement::parse(&named, "convention.toml").unwrap().agreement().encoding.pass_set,
        format!("choisi@{digest}")
    );
    for wrong in ["choisi.toml", "FR-1", "choisi@", &format!("choisi@{digest}0"), &format!("choisi@{}", digest.to_uppercase())] {
        finds(0, "\"fr-1\"", &format!("⟦\"{wrong}\""), "encoding.pass_set", "jeu de passes invalide");
    }
}

#[test]
fn members() {
    let (text, line, column) = edit(&agreement().to_toml(), 0, "id = \"siao\"", "id = ⟦\"ccas\"");
    let found = faults(&text);
    let at: Vec<_> = found.iter().map(|f| (f.line, f.column, f.path.as_str())).collect();
    assert_eq!(at, [(line, column, "party[2].id"), (line + 3, 24, "party[2].certificate_identity")], "{found:#?}");
}

#[test]
fn shared_or_wrong_keys_and_certificates() {
    let (second, third) = (verification(2), verification(3));
    finds(0, &format!("\"{third}\""), &format!("⟦\"{second}\""), "party[3].signing_key", "clé déjà employée par un autre");
    finds(0, &format!("\"{second}\""), "⟦\"AAAA\"", "party[2].signing_key", "clé Ed25519 invalide");
    let two = format!("⟦\"{}\"", keys::encode(&[[2u8].as_slice(), &[0; 31]].concat()));
    finds(0, &format!("\"{second}\""), &two, "party[2].signing_key", "clé Ed25519 invalide");
    let sealing = |n: u8| format!("\"{}\"", keys::encode(&[n; 32]));
    finds(0, &sealing(6), &format!("⟦{}", sealing(1)), "analyst[1].sealing_key", "clé déjà employée");
    finds(0, &sealing(3), &format!("⟦{}", sealing(0)), "party[3].sealing_key", "clé X25519 invalide");
    let oprf = agreement().custodian.oprf_public_key;
    finds(0, &format!("\"{oprf}\""), &format!("⟦{}", sealing(255)), "custodian.oprf_public_key", "clé OPRF invalide");
    finds(
        0,
        "\"linkage://essai/party/caf\"",
        "⟦\"linkage://essai/partner/caf\"",
        "party[3].certificate_identity",
        "écrire \"linkage://essai/party/caf\"",
    );
    finds(
        0,
        "\"linkage://essai/broker/broker\"",
        "⟦\"linkage://essai/broker/b\"",
        "broker.certificate_identity",
        "broker/broker",
    );
    finds(0, "may = [\"cohorts\", \"row-level\"]", "may = ⟦[]", "analyst[1].may", "de 1 à 2");
    finds(0, "may = [\"cohorts\", \"row-level\"]", "may = [⟦\"cohort\"]", "analyst[1].may[1]", "écrire \"cohorts\"");
    finds(
        0,
        "may = [\"cohorts\", \"row-level\"]",
        "may = [\"cohorts\", ⟦\"cohorts\"]",
        "analyst[1].may[2]",
        "droit déjà accordé",
    );
}

#[test]
fn fewer_than_two_parties() {
    let mut one = agreement();
    one.party.truncate(1);
    let found = faults(&one.to_toml());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].path, "party");
    assert!(one.to_toml().lines().nth(found[0].line - 1).unwrap().contains("[[party]]"));
}

#[test]
fn identity_fields() {
    finds(0, "kind = \"usage_name\"", "kind = ⟦\"birth_name\"", "identity.field[2].kind", "qu'une fois");
    finds(0, "kind = \"usage_name\"", "kind = ⟦\"usage_nam\"", "identity.field[2].kind", "écrire \"usage_name\"");
    finds(0, "column = \"nom_usage\"", "column = ⟦\"nom_naissance\"", "identity.field[2].column", "colonne déjà employée");
    finds(0, "column = \"nom_usage\"", "column = ⟦\"Nom Usage\"", "identity.field[2].column", "nom de colonne invalide");
    finds(
        0,
        "column = \"nom_usage\"",
        "column = \"nom_usage\"\n⟦name_column = \"x\"",
        "identity.field[2].name_column",
        "genre place",
    );
    let place = "[[identity.field]]\nkind = \"place\"\n";
    let to = place.replace("[[", "⟦[[");
    finds(0, &format!("{place}column = \"code_lieu_naissance\"\n"), &to, "identity.field[6].column", "clé manquante");
}

#[test]
fn identity_without_name_or_birth_date_or_with_too_many_fields() {
    let mut text = agreement();
    text.identity.field.retain(|f| !f.kind.is_name());
    assert!(faults(&text.to_toml()).iter().any(|f| f.path == "identity.field" && f.message.contains("aucun nom")));
    let mut text = agreement();
    text.identity.field.retain(|f| f.kind != crate::FieldKind::BirthDate);
    assert!(faults(&text.to_toml()).iter().any(|f| f.path == "identity.field" && f.message.contains("birth_date")));
    let mut text = agreement();
    for i in 0..11 {
        text.identity.field.push(crate::model::IdentityField::new(crate::FieldKind::BirthName, &format!("nom_{i}")));
    }
    assert!(faults(&text.to_toml()).iter().any(|f| f.path == "identity.field" && f.message.contains("au plus 10")));
}

#[test]
fn encoding_decision_retention_and_disclosure_ranges() {
    for (from, to) in [
        ("filter_bits = 128", "filter_bits = ⟦100"),
        ("filter_bits = 128", "filter_bits = ⟦32"),
        ("filter_bits = 128", "filter_bits = ⟦1024"),
        ("hash_count = 4", "hash_count = ⟦9"),
        ("hash_count = 4", "hash_count = ⟦0"),
        ("tokens_per_record = 20", "tokens_per_record = ⟦3"),
        ("tokens_per_record = 20", "tokens_per_record = ⟦65"),
        ("decoys_percent = 5", "decoys_percent = ⟦51"),
        ("decoys_percent = 5", "decoys_percent = ⟦-1"),
        ("block_cap = 12", "block_cap = ⟦1"),
        ("block_cap = 12", "block_cap = ⟦1001"),
        ("expected_records = 15000", "expected_records = ⟦1"),
        ("profile = \"block-scoped\"", "profile = ⟦\"clk\""),
    ] {
        finds(0, from, to, &format!("encoding.{}", from.split(' ').next().unwrap()), "");
    }
    for (from, to) in [
        ("false_link_cost = 20", "false_link_cost = ⟦0"),
        ("false_link_cost = 20", "false_link_cost = ⟦1001"),
        ("lead_margin_decibits = 30", "lead_margin_decibits = ⟦-1"),
        ("abstain_floor_permille = 300", "abstain_floor_permille = ⟦1001"),
    ] {
        finds(0, from, to, &format!("decision.{}", from.split(' ').next().unwrap()), "");
    }
    for key in
        ["names_days = 30", "archive_months = 60", "encodings_days = 7", "link_tables_months = 60", "access_log_months = 6"]
    {
        let name = key.split(' ').next().unwrap();
        finds(0, key, &format!("{name} = ⟦0"), &format!("retention.{name}"), "hors bornes");
    }
    for (line, message) in [
        ("open_runs_days = ⟦0", "de 1 à 3660"),
        ("last_contact_months = ⟦0", "de 1 à 240"),
        ("deceased_months = ⟦241", "de 0 à 240"),
        ("after_end_days = ⟦-1", "de 0 à 3660"),
    ] {
        let name = line.split(' ').next().unwrap();
        finds(0, "system_log_days = 90", &format!("system_log_days = 90\n{line}"), &format!("retention.{name}"), message);
    }
    finds(0, "minimum_cell = 11", "minimum_cell = ⟦4", "disclosure.minimum_cell", "de 5 à 1000");
    for (line, message) in [
        ("method = ⟦\"cell-keys\"", "écrire \"cell-key\""),
        ("method = ⟦true", "un texte entre guillemets"),
        ("approval = ⟦\"oui\"", "true ou false"),
        ("tables_per_month = ⟦0", "de 1 à 10000"),
        ("tables_per_month = ⟦10001", "de 1 à 10000"),
        ("dominance_percent = ⟦49", "de 50 à 100"),
        ("dominance_percent = ⟦101", "de 50 à 100"),
        ("round_to = ⟦2", "valeurs admises : 1, 5, 10"),
        ("round_to = ⟦\"5\"", "un nombre entier"),
    ] {
        let name = line.split(' ').next().unwrap();
        finds(0, "minimum_cell = 11", &format!("minimum_cell = 11\n{line}"), &format!("disclosure.{name}"), message);
    }
}

#[test]
fn attribute_rules() {
    let rule = |to: &str, path: &str, message: &str| {
        finds(0, "{ kind = \"count\", max = 6 }", to, &format!("attribute[5].rule{path}"), message);
    };
    rule("{ kind = \"count\", max = ⟦0 }", ".max", "hors bornes");
    rule("⟦{ kind = \"count\" }", ".max", "clé manquante");
    rule("{ kind = ⟦\"counts\" }", ".kind", "écrire \"count\"");
    rule("⟦{ max = 6 }", ".kind", "indiquer kind");
    rule("⟦\"count\"", "", "une règle entre accolades");
    rule("{ kind = \"month\", ⟦max = 6 }", ".max", "aucune autre clé");
    rule("{ kind = \"code\", values = ⟦[] }", ".values", "de 1 à");
    rule("{ kind = \"code\", values = [\"1\", ⟦\"1\"] }", ".values[2]", "code déjà listé");
    rule("{ kind = \"amount-band\", from = [0, 5, ⟦5] }", ".from[3]", "croître");
    rule("{ kind = \"age-band\", from_years = [18, ⟦0] }", ".from_years[2]", "croître");
    rule("{ kind = \"age-band\", from_years = [⟦-1] }", ".from_years[1]", "hors bornes");
    rule("{ kind = \"map\", values = ⟦{} }", ".values", "de 1 à");
    rule("{ kind = \"map\", values = ⟦[\"a\"] }", ".values", "une table entre accolades");
    rule("{ kind = \"map\", values = { a = ⟦1 } }", ".values.a", "un texte entre guillemets");
    rule("{ kind = \"map\", values = { a = ⟦\" \" } }", ".values.a", "texte vide");
    rule("{ kind = \"map\", values = { ⟦\" \" = \"x\" } }", ".values. ", "texte vide");
    rule("{ kind = \"map\", values = { ⟦\"--\" = \"x\" } }", ".values.--", "sans lettre ni chiffre");
    rule(
        "{ kind = \"map\", values = { \"À la rue\" = \"x\", b = \"x\", ⟦\"a la-rue\" = \"y\" } }",
        ".values.a la-rue",
        "même valeur que celle de la ligne",
    );
    rule("⟦{ kind = \"map\" }", ".values", "clé manquante");
    rule("{ kind = \"inside\", codes = ⟦[] }", ".codes", "de 1 à");
    rule("{ kind = \"inside\", codes = [\"34\", ⟦\"34 000\"] }", ".codes[2]", "code INSEE invalide");
    rule("{ kind = \"inside\", codes = [\"34\", \"2A\", ⟦\"34\"] }", ".codes[3]", "code déjà listé");
    rule("{ kind = \"inside\", codes = [⟦34] }", ".codes[1]", "un texte entre guillemets");
    rule("{ kind = \"drop\", ⟦max = 6 }", ".max", "aucune autre clé");
    finds(0, "name = \"statut\"", "name = ⟦\"nb_enfants\"", "attribute[6].name", "attribut déjà listé");
}

#[test]
fn identities_do_not_travel_as_attributes() {
    let refused = [
        ("nom_naissance", "{ kind = \"code\", values = [\"x\"] }"),
        ("prenoms", "{ kind = \"month\" }"),
        ("local_id", "{ kind = \"count\", max = 9 }"),
        ("surname", "{ kind = \"code\", values = [\"x\"] }"),
        ("lieu_naissance", "{ kind = \"commune\" }"),
        ("date_of_birth", "{ kind = \"code\", values = [\"x\"] }"),
        ("code_lieu_naissance", "{ kind = \"code\", values = [\"x\"] }"),
        ("pays_naissance", "{ kind = \"code\", values = [\"x\"] }"),
        ("sexe", "{ kind = \"count\", max = 2 }"),
        ("prenoms", "{ kind = \"map\", values = { x = \"y\" } }"),
        ("lieu_naissance", "{ kind = \"inside\", codes = [\"34\"] }"),
        ("code_lieu_naissance", "{ kind = \"map\", values = { x = \"y\" } }"),
        ("pays_naissance", "{ kind = \"inside\", codes = [\"34\"] }"),
    ];
    for (name, rule) in refused {
        let to = format!("name = \"{name}\"\nrule = {}", rule.replacen("kind = ", "kind = ⟦", 1));
        finds(0, "name = \"nb_enfants\"\nrule = { kind = \"count\", max = 6 }", &to, "attribute[5].rule.kind", "identifiante");
    }
    for (name, rule) in [
        ("code_lieu_naissance", "{ kind = \"department\" }"),
        ("pays_naissance", "{ kind = \"nationality-class\" }"),
        ("sexe", "{ kind = \"code\", values = [\"1\", \"2\"] }"),
        ("sexe", "{ kind = \"map\", values = { \"1\" = \"H\", \"2\" = \"F\" } }"),
        ("code_lieu_naissance", "{ kind = \"inside\", codes = [\"34\", \"34172\", \"2A\"] }"),
        ("nom_naissance", "{ kind = \"drop\" }"),
        ("local_id", "{ kind = \"drop\" }"),
        ("sexe", "{ kind = \"drop\" }"),
    ] {
        let to = format!("⟦name = \"{name}\"\nrule = {rule}");
        let from = "name = \"nb_enfants\"\nrule = { kind = \"count\", max = 6 }";
        assert_eq!(faults(&edit(&agreement().to_toml(), 0, from, &to).0), [], "{name}");
    }
    let from = "name = \"date_naissance\"\nrule = { kind = \"month\" }";
    for rule in ["code\", values = [\"x\"]", "count\", max = 3", "commune\""] {
        let to = format!("name = \"date_naissance\"\nrule = {{ kind = ⟦\"{rule} }}");
        finds(0, from, &to, "attribute[1].rule.kind", "month, year ou age-band");
    }
}

#[test]
fn faults_of_all_sections_come_together_and_in_file_order() {
    let text = agreement()
        .to_toml()
        .replace("schema = 1", "schema = 7")
        .replace("filter_bits = 128", "filter_bits = 100")
        .replace("coordinator = \"ccas\"", "coordinator = \"x\"")
        .replace("minimum_cell = 11", "minimum_cel = 11");
    let paths: Vec<_> = faults(&text).into_iter().map(|f| f.path).collect();
    assert_eq!(
        paths,
        ["schema", "agreement.coordinator", "encoding.filter_bits", "disclosure.minimum_cell", "disclosure.minimum_cel"]
    );
}

#[test]
fn messages_repeat_no_value() {
    let text = agreement().to_toml().replace("\"2023-06\"", "\"SECRET\"").replace("dpo@exemple.fr", "SECRET\\u0001");
    let found = faults(&text);
    assert_eq!(found.len(), 7);
    assert!(found.iter().all(|f| !f.to_string().contains("SECRET")));
}

#[test]
fn a_file_of_the_wrong_kind_is_one_fault() {
    let large = "#".repeat((1 << 20) + 1);
    for (text, message) in [(large.as_str(), "1 Mio"), ("nom;prenom\nX;Y\n", "syntaxe TOML"), ("[[[", "syntaxe TOML")] {
        let found = faults(text);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains(message), "{}", found[0]);
    }
    assert!(faults("").iter().all(|f| f.line == 1 && f.message.contains("clé manquante")));
}

proptest! {
    /// Whatever stands in the file, reading it ends in faults or an agreement, never in a panic, and lines exist.
    #[test]
    fn arbitrary_edits_never_panic(at in 0usize..20_000, len in 0usize..40, new in "[\\PC\\n\\[\\]{}=\"',.#0-9é-]{0,12}") {
        for text in [agreement().to_toml(), template_fr()] {
            let chars: Vec<char> = text.chars().collect();
            let at = at % chars.len();
            let end = (at + len).min(chars.len());
            let edited: String = chars[..at].iter().copied().chain(new.chars()).chain(chars[end..].iter().copied()).collect();
            let lines = edited.matches('\n').count() + 1;
            for fault in faults(&edited) {
                prop_assert!((1..=lines).contains(&fault.line));
                prop_assert!(fault.column >= 1);
            }
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = ParsedAgreement::parse(&text, "x");
    }
}
