//! The page says what the report says, and nothing that is a value.

use super::*;

fn findings(linkage: Value) -> RunFindings {
    RunFindings {
        run: "r".to_owned(),
        period: "2024-02".parse().unwrap(),
        parties: vec![PartyCounts {
            party: "caf".to_owned(),
            lines: 100,
            records: 90,
            set_aside: 10,
            reasons: [("nom vide".to_owned(), 10)].into(),
        }],
        found: Found {
            persons: 80,
            linked_records: 20,
            overlap: vec![(vec!["caf".to_owned()], None)],
            minimum_cell: 11,
            noise: false,
        },
        evaluation: None,
        linkage,
        linkage_parties: vec!["caf".to_owned(), "ccas".to_owned()],
        fields: vec!["nom_naissance".to_owned(), "prenoms".to_owned(), "date_naissance".to_owned()],
        drift: None,
        dispositions: Some(serde_json::json!({ "confirmed": 3, "refuted": 2, "refused": 0 })),
        linked_rates: None,
        missed: None,
        hash_keys: None,
        clk: None,
        outside: None,
    }
}

fn report() -> Value {
    let group = |group: &str, records: Option<u64>, missed: f64| {
        let counts = records.map(|records| {
            serde_json::json!({ "records": records, "met": records, "linked": records / 2, "abstained": 3,
                "found_pairs": 40.0, "missed_met_pairs": missed, "missed_unmet_pairs": 0.0 })
        });
        serde_json::json!({ "group": group, "counts": counts })
    };
    serde_json::json!({
        "parties": [{ "records": 90, "rivals": 5 }, { "records": 1000, "rivals": 0 }],
        "blocks": { "kept": 100, "dropped": 4, "largest_dropped": 333, "largest_kept": 16 },
        "precision": { "value": 0.995, "low": 0.99, "high": 0.998 }, "recall": { "value": 0.97, "low": 0.95, "high": 0.98 },
        "weights": [{ "dimension": "date-2", "shipped_share": 0.2, "levels": [
            { "level": "equal", "m": 0.9, "u": 0.0001, "weight_bits": 13.1, "pairs": 50 }] }],
        "histogram": [{ "from_bits": -2, "pairs": 7, "refused": 7 }, { "from_bits": 5, "pairs": 50, "linked": 45, "abstained": 5 }],
        "abstained": { "refuted": 2, "rival": 5 },
        "bounds": { "link_millibits": 4322, "abstain_millibits": 0 },
        "patterns": [{ "example": "most_abstained", "reason": "twins", "pairs": 14, "prior_millibits": -11000,
            "steps": [{ "dimension": "date-2", "level": "equal", "millibits": 13100 }],
            "related_millibits": -1000, "total_millibits": 1100 }],
        "by_date_quality": [group("full", Some(80), 1.0), group("default", Some(40), 40.0), group("missing", None, 0.0)],
        "support": { "matches": 50.0, "shipped_priors_share": 0.375, "few_pairs": true },
    })
}

fn html(findings: RunFindings) -> String {
    document("Essai", &[findings]).unwrap().into_string()
}

#[test]
fn what_asks_for_a_look_comes_first() {
    let page = html(findings(report()));
    for said in [
        "Peu de paires",
        "37,5",
        "Doublons possibles",
        "Blocs abandonnés. ",
        "Lignes écartées. ",
        "Fiches « Date par défaut (01/01, 31/12) » : rappel 50,0",
        "Deux candidates à égalité",
        "Déjà écarté par les détenteurs",
        "seuil : lien (+4,3)",
        "jumeaux ou proches possibles, 14 paires",
        "Date de naissance",
        "< 11 ou secret",
        "Paires confirmées par leurs détenteurs</th><td>3<",
    ] {
        assert!(page.contains(said) || page.contains(&said.replace('<', "&lt;")), "{said} is missing");
    }
    assert!(page.find("À regarder") < page.find("Estimations") && page.find("Estimations") < page.find("<details"));
}

#[test]
fn a_quiet_run_says_so() {
    let mut quiet = report();
    quiet["support"]["few_pairs"] = false.into();
    quiet["parties"][0]["rivals"] = 0.into();
    quiet["blocks"]["dropped"] = 0.into();
    quiet["by_date_quality"] = serde_json::json!([]);
    let mut findings = findings(quiet);
    findings.parties[0].set_aside = 0;
    let page = html(findings);
    assert!(page.contains("Rien à signaler") && !page.contains("À regarder"));
}

#[test]
fn drift_is_told_in_words() {
    let shift = |before: f64, now: f64| serde_json::json!({ "before": before, "now": now });
    let flag = |kind: &str, subject: &str, level: &str, change: Value| serde_json::json!({ "kind": kind, "subject": subject, "level": level, "shift": change, "threshold": 0.1 });
    let mut findings = findings(report());
    findings.drift = Some(serde_json::json!({
        "previous_run": "2024-01", "previous_period": "2024-01",
        "dimensions": [{ "dimension": "date-2", "total_variation": 0.2, "psi": 0.41, "psi_threshold": 0.11,
            "moved_level": "equal default", "moved_m": shift(0.02, 0.3) }],
        "parties": [{ "party": "caf", "records": shift(100.0, 90.0), "linked_share": shift(0.5, 0.4) }],
        "matches_per_record": shift(0.4, 0.3), "precision": shift(0.99, 0.97), "recall": shift(0.98, 0.97), "dropped_share": shift(0.0, 0.0),
        "flags": [
            flag("levels_moved", "date-2", "", shift(0.0, 0.41)),
            flag("agreement_moved", "date-2", "equal default", shift(0.02, 0.3)),
            flag("records_moved", "caf", "", shift(100.0, 60.0)),
            flag("precision_fell", "", "", shift(0.99, 0.97)),
        ],
    }));
    let page = html(findings);
    for said in [
        "Changement depuis 2024-01",
        "indice PSI 0,41",
        "identique, date par défaut » passe de 2,0",
        "caf : le nombre de fiches passe de 100 à 60",
        "La précision estimée passe de 99,0",
    ] {
        assert!(page.contains(said), "{said} is missing");
    }
}

#[test]
fn the_page_stands_alone() {
    let page = html(findings(report()));
    for other in ["<script", "http://", "https://", "<link", "<img", "url("] {
        assert!(!page.contains(other), "{other}");
    }
    assert!(page.contains("default-src 'none'") && page.contains("lang=\"fr\""));
    assert_eq!(page.matches("<table").count(), page.matches("<caption").count() + 1, "all tables but that of reasons have one");
}

#[test]
fn a_report_of_an_older_version_is_shown_as_far_as_it_goes() {
    let page = html(findings(serde_json::json!({ "precision": { "value": 0.9, "low": 0.8, "high": 1.0 } })));
    assert!(page.contains("90,0"));
    assert!(document("x", &[findings(serde_json::json!({ "histogram": 3 }))]).is_err());
}

fn outside() -> Value {
    serde_json::json!({
        "profiles": { "ccas": "clk", "caf": "hash-keys" }, "threshold_permille": 800, "margin_permille": 30, "diffusion": 10,
        "keyed": false, "risk_accepted": true,
        "risk": { "clk_others_reidentified": [0.58, 1.0], "keys_read_back_in_10_s": 0.827 },
        "pairs": [{ "parties": [0, 1], "met": 1234, "linked": 1000, "open": 34, "expected_wrong": 12.34 }],
    })
}

#[test]
fn parties_without_names_are_named_with_the_risk_and_who_accepted_it() {
    let mut with = findings(report());
    assert!(!html(findings(report())).contains("réidentifiable"));
    with.outside = Some(outside());
    let page = html(with);
    for said in [
        "caf (clés de hachage), ccas (filtres clkhash)",
        "chaque fiche de tous les partenaires est partie avec un filtre clkhash et deux clés de hachage",
        "58 à 100",
        "82,7",
        "La convention l'accepte",
        "0,800",
        "diffusion de 10 bits",
        "caf + ccas",
        "12,3",
    ] {
        assert!(page.contains(said) || page.contains(&said.replace('\'', "&#39;")), "{said} is missing");
    }
    let mut refused = outside();
    refused["risk_accepted"] = false.into();
    let mut with = findings(report());
    with.outside = Some(refused);
    assert!(html(with).contains("prévenir les délégués"));
}

#[test]
fn a_trial_with_filters_says_what_they_give_away() {
    let counts = serde_json::from_value(outside()["pairs"].clone()).unwrap();
    let clk = ClkFindings {
        schema_sha256: "ab".repeat(32),
        bits: 1024,
        threshold_permille: 800,
        margin_permille: 30,
        without_filter: [("caf".to_owned(), 7)].into(),
        pairs: counts,
        open: [(linkage_linking::Reason::OutsideRival, 21)].into(),
    };
    let text = outside::summary(&clk);
    for said in ["1024 bits", "0,800", "1\u{202f}234", "58 à 100", "fichier de noms"] {
        assert!(text.contains(said), "{said} is missing: {text}");
    }
    let mut with = findings(Value::Null);
    with.clk = Some(clk);
    let page = html(with);
    for said in
        ["Ces filtres sont réidentifiables", "7 fiches n", "caf + ccas", "Filtre : deux candidates trop proches", "<td>21<"]
    {
        assert!(page.contains(said), "{said} is missing");
    }
}
