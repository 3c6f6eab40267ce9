//! The ready-made reports by the command line: every kind in every form, drafts and publications, and what is refused.
//!
//! The custodian, the analyst's side and their channels are real; a run's clusters are made by hand. The command line is the
//! binary itself.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

use linkage_agreement::RoleId;
use linkage_analyst::fetch_once;
use linkage_tests::federation::{linkage, linkage_ok};
use linkage_tests::fixture::{World, analyst, run, until};
use linkage_tests::wire::{AtCustodian, cluster, handle};
use serde_json::Value;

const ETUDE: &str = "etude";
/// Persons at both, at `ccas` alone, at `siao` alone.
const PERSONS: [u64; 3] = [20, 15, 25];
const KINDS: [&str; 4] = ["besoins-du-mois", "activite-du-trimestre", "rapport-annuel", "cohorte-de-reference"];
/// Those of the two parties that delivered: of all together nothing can be said.
const NAMED: &str = "population = { any = [{ party = \"ccas\" }, { party = \"siao\" }] }\n";
const COHORT: &str = "population = { party = \"ccas\", period = \"2024-01\" }\n";

/// An analyst who has the tables of one month, for which `caf` delivered nothing, and the path of its configuration.
async fn with_tables() -> (World, String) {
    let world = World::altered(|_| {});
    let served = world.serve_custodian();
    let [both, ccas, siao] = PERSONS;
    let of = |shift: u64, n: u64| (1..=n).map(|i| (shift + i, shift + i)).collect::<Vec<_>>();
    AtCustodian::party(&world, "ccas").await.upload("r1", "ccas", &of(1_000, both + ccas)).await;
    AtCustodian::party(&world, "siao").await.upload("r1", "siao", &of(2_000, both + siao)).await;
    let clusters: Vec<u8> = (1..=both).flat_map(|i| cluster(&[handle(1_000 + i), handle(2_000 + i)])).collect();
    let mut broker = AtCustodian::of(&world, &RoleId::Broker).await;
    let batch = broker.clusters("r1", &["ccas", "siao"], &clusters);
    broker.put_clusters(vec![batch]).await.unwrap();
    let study = AtCustodian::of(&world, &analyst(ETUDE)).await;
    until("the link table", || async { study.clone().tables().await.first().map(drop) }).await;
    let config = world.analyst_config(ETUDE);
    assert_eq!(fetch_once(&config).await.unwrap(), [run("r1")]);
    drop((broker, study));
    served.stop().await;
    let key = |kind: &str| world.secret(&analyst(ETUDE), kind).file.unwrap();
    let files = (&config.agreement, &config.tls);
    let text = format!(
        "analyst = \"{ETUDE}\"\nlisten = \"{}\"\ndata_dir = {:?}\ncustodian_url = \"{}\"\nsealing_key = {{ file = {:?} }}\n\
         pseudonym_key = {{ file = {:?} }}\nsigning_key = {{ file = {:?} }}\n[agreement]\nagreement = {:?}\nsignatures = {:?}\nterminations = {:?}\n[tls]\nca = {:?}\n\
         certificate = {:?}\nkey = {:?}\n",
        config.listen,
        config.data_dir,
        config.custodian_url,
        key("sealing"),
        key("pseudonym"),
        key("signing"),
        files.0.agreement,
        files.0.signatures,
        files.0.terminations.as_ref().unwrap(),
        files.1.ca,
        files.1.certificate,
        files.1.key
    );
    let file = text_file(&world, "analyst.toml", &text);
    (world, file)
}

fn path_text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn text_file(world: &World, name: &str, text: &str) -> String {
    let path: PathBuf = world.path(name);
    std::fs::write(&path, text).unwrap();
    path_text(&path)
}

/// The command line's words for a report written to `out`.
fn asked<'a>(kind: &'a str, config: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["cohort", "report", kind, "--config", config, "--out", out][..], more].concat()
}

#[tokio::test]
async fn every_report_is_written_in_every_form_as_a_draft() {
    let (world, config) = with_tables().await;
    let (named, cohort) = (text_file(&world, "services.toml", NAMED), text_file(&world, "cohorte.toml", COHORT));
    for kind in KINDS {
        for form in ["html", "csv", "json", "xlsx"] {
            let out = path_text(&world.path(&format!("{kind}.{form}")));
            let population = if kind == "cohorte-de-reference" { &cohort } else { &named };
            let said = linkage_ok(asked(kind, &config, &out, &["--period", "2024-01", "--population", population]));
            assert!(said.contains("(Brouillon, non publié)"), "{said}");
            let bytes = std::fs::read(&out).unwrap();
            if form == "xlsx" {
                assert!(bytes.starts_with(b"PK"));
                continue;
            }
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains("Brouillon, non publié"), "{kind} {form}");
            assert!(text.contains("siao"), "{kind} {form}");
        }
    }
    let read = |name: &str| std::fs::read_to_string(world.path(name)).unwrap();
    let needs = read("besoins-du-mois.csv");
    // A population that somebody composed bears noise, of five at most, whatever the agreement says of reports.
    for (line, count) in [
        ("Personnes,2024-01,Présentes,", 60.0),
        ("Par service,2024-01,ccas,Présentes,", 35.0),
        ("Par service,2024-01,siao,Présentes,", 45.0),
    ] {
        let rest = needs.lines().find_map(|l| l.strip_prefix(line)).unwrap();
        let figure: f64 = rest.split(',').next().unwrap().parse().unwrap();
        assert!((figure - count).abs() <= 5.0, "{line}{rest}");
    }
    assert!(read("besoins-du-mois.json").contains("\"cell-key\""));
    for line in [
        "Par service,2024-01,caf,Présentes,n.d.,",
        "Recouvrements entre services,2024-01,ensemble,n.d.,",
        "# 2024-01 : caf n'a rien livré.",
        "Personnes,2024-01,Entrées,n.d.,",
    ] {
        assert!(needs.lines().any(|l| l.starts_with(line)), "{line} is not in {needs}");
    }
    let annual = read("rapport-annuel.html");
    assert!(annual.contains("Sections absentes") && annual.contains("« Résultats » (attribut resultat)"));
    assert!(annual.contains("Pour lire ce rapport") && annual.contains("Rapport établi le "));
    assert!(annual.contains("2024 : de 2024-01 à 2024-01 seulement."));
    let cohort: Value = serde_json::from_str(&read("cohorte-de-reference.json")).unwrap();
    let life = cohort["tables"].as_array().unwrap().iter().find(|t| t["table"]["measure"] == "delays").unwrap();
    let figures: Vec<f64> = life["table"]["cells"].as_array().unwrap().iter().filter_map(|c| c["value"].as_f64()).collect();
    // All 35 in their own month at the ccas; 20 of them at the siao.
    for wanted in [35.0_f64, 20.0] {
        assert!(figures.iter().any(|figure| (figure - wanted).abs() <= 5.0), "{figures:?}");
    }
}

#[tokio::test]
async fn a_report_of_one_party_is_exact_and_a_composed_one_is_not() {
    let (world, config) = with_tables().await;
    let all = text_file(&world, "ccas.toml", "population = { party = \"ccas\" }\n");
    let some = text_file(&world, "some.toml", "population = { all = [{ party = \"ccas\" }, { not = { party = \"siao\" } }] }\n");
    let out = path_text(&world.path("rapport.json"));
    for (population, method) in [(&all, "suppression"), (&some, "cell-key")] {
        linkage_ok(asked("besoins-du-mois", &config, &out, &["--period", "2024-01", "--population", population]));
        let text = std::fs::read_to_string(&out).unwrap();
        let made: Value = serde_json::from_str(&text).unwrap();
        let methods: Vec<&Value> = made["tables"].as_array().unwrap().iter().map(|t| &t["table"]["method"]).collect();
        assert!(!methods.is_empty() && methods.iter().all(|m| **m == method), "{methods:?}");
    }
    // The draft under suppression is kept, once, for later reports to be protected beside it.
    let kept = || std::fs::read_to_string(world.analyst_config(ETUDE).data_dir.join("reports.jsonl")).unwrap();
    assert_eq!(kept().lines().count(), 1);
    linkage_ok(asked("besoins-du-mois", &config, &out, &["--period", "2024-01", "--population", &all]));
    assert_eq!(kept().lines().count(), 1);
    linkage_ok(asked("rapport-annuel", &config, &out, &["--period", "2024-01", "--population", &all]));
    assert_eq!(kept().lines().count(), 2);
}

#[tokio::test]
async fn a_report_that_is_published_says_so_from_then_on() {
    let (world, config) = with_tables().await;
    let out = path_text(&world.path("rapport.csv"));
    let draft = linkage_ok(asked("rapport-annuel", &config, &out, &["--period", "2024-01"]));
    assert!(draft.contains("Brouillon"), "{draft}");
    let more = ["--period", "2024-06", "--publish", "Comité de pilotage"];
    let said = linkage_ok(asked("rapport-annuel", &config, &out, &more));
    assert!(said.contains("publié") && !said.contains("Brouillon"), "{said}");
    let published = std::fs::read_to_string(&out).unwrap();
    assert!(!published.contains("Brouillon") && published.contains("Publié le "), "{published}");
    // Any month of the year asks for the same report, which is not computed or entered again.
    let again = linkage_ok(asked("rapport-annuel", &config, &out, &["--period", "2024-11"]));
    assert!(again.contains("Publié le "), "{again}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), published);
    let journal: Value = serde_json::from_str(&linkage_ok(["cohort", "journal", "--config", &config, "--json"])).unwrap();
    assert_eq!(journal.to_string().matches("Comité de pilotage").count(), 1, "{journal}");
    // Another report is another publication.
    let other = linkage_ok(asked("besoins-du-mois", &config, &out, &["--period", "2024-01"]));
    assert!(other.contains("Brouillon"), "{other}");
}

#[tokio::test]
async fn a_report_that_cannot_be_had_is_refused_without_a_file() {
    let (world, config) = with_tables().await;
    let out = path_text(&world.path("refuse.html"));
    let broken = text_file(&world, "broken.toml", "population = { party = \"ccas\", parti = 1 }\n");
    let unknown = text_file(&world, "unknown.toml", "population = { party = \"caf\", where = { couleur = [\"bleu\"] } }\n");
    let more = text_file(&world, "more.toml", &format!("{COHORT}title = \"x\"\n"));
    for (kind, rest, reason) in [
        ("rapport-mensuel", &["--period", "2024-01"][..], "les rapports sont : besoins-du-mois"),
        ("besoins-du-mois", &["--period", "2024-02"], "mois disponibles : de 2024-01 à 2024-01"),
        ("cohorte-de-reference", &["--period", "2024-01"], "donnez-en la définition"),
        ("rapport-annuel", &["--period", "2024-01", "--population", &broken], "ligne 1"),
        ("rapport-annuel", &["--period", "2024-01", "--population", &unknown], "requête refusée"),
        ("rapport-annuel", &["--period", "2024-01", "--population", &more], "clé inconnue"),
        ("rapport-annuel", &["--period", "2024-01", "--format", "docx"], "format inconnu"),
    ] {
        let refused = linkage(asked(kind, &config, &out, rest));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && said.contains(reason), "{kind} {rest:?} : {said}");
        assert!(!Path::new(&out).try_exists().unwrap());
    }
}
