//! The report of one or more runs: on the terminal, as `report.json`, and as a self-contained `report.html` in French.

use std::collections::BTreeMap;
use std::path::Path;

use linkage_agreement::{PartyId, Period, Pseudonym, RunId};
use linkage_cohort::{LinkRow, MatchClass, disclose, overlap};
use linkage_common::fsx;
use linkage_node::delivery::DeliverySummary;
use linkage_synth::evaluate::Evaluation;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cli::{say, table};
use crate::links::Link;

/// What a party's delivery came to.
#[derive(Debug, Clone, Serialize)]
pub struct PartyCounts {
    /// Party.
    pub party: String,
    /// Rows of the file.
    pub lines: u64,
    /// Records that take part.
    pub records: u64,
    /// Lines set aside.
    pub set_aside: u64,
    /// Lines set aside, by reason.
    pub reasons: BTreeMap<String, u64>,
}

impl PartyCounts {
    /// The counts of one delivery.
    pub fn of(party: &PartyId, summary: &DeliverySummary) -> Self {
        Self {
            party: party.to_string(),
            lines: summary.lines,
            records: summary.records,
            set_aside: summary.set_aside,
            reasons: summary.reasons.clone(),
        }
    }
}

/// Persons, and by combination of parties.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// Distinct persons.
    pub persons: u64,
    /// Records linked to another one.
    pub linked_records: u64,
    /// Persons by exact combination of parties; none where suppressed.
    pub overlap: Vec<(Vec<String>, Option<u64>)>,
    /// Smallest count shown.
    pub minimum_cell: u64,
}

impl Found {
    /// From the links of a trial.
    pub fn of<K: std::hash::Hash + Eq + Clone + AsRef<[u8]>>(
        links: &[Link<K>],
        period: Period,
        run: &RunId,
        minimum_cell: u64,
    ) -> anyhow::Result<Self> {
        let mut rows = Vec::with_capacity(links.len());
        for link in links {
            let mut person = Pseudonym::default();
            person.0.copy_from_slice(&Sha256::digest(link.person.as_ref())[..16]);
            rows.push(LinkRow {
                person,
                party: link.party.parse()?,
                record: Pseudonym::default(),
                period,
                match_class: MatchClass::from_code(u32::from(link.match_class)).unwrap_or(MatchClass::Single),
                probability: u32::from(link.probability),
                run: run.clone(),
            });
        }
        let table = disclose(&overlap(&rows), minimum_cell);
        Ok(Self {
            persons: table.persons,
            linked_records: links.iter().filter(|l| l.match_class > 0).count() as u64,
            overlap: table.cells.into_iter().map(|c| (c.parties.iter().map(ToString::to_string).collect(), c.persons)).collect(),
            minimum_cell,
        })
    }
}

/// All that is known of one run.
#[derive(Debug, Clone, Serialize)]
pub struct RunFindings {
    /// The run.
    pub run: String,
    /// Month.
    pub period: Period,
    /// Deliveries.
    pub parties: Vec<PartyCounts>,
    /// Persons.
    pub found: Found,
    /// Against the truth, where there is one.
    pub evaluation: Option<Evaluation>,
    /// The broker's report without labels.
    pub linkage: Value,
}

/// Writes `report.json` and `report.html` to `out`.
pub fn write(out: &Path, title: &str, runs: &[RunFindings]) -> anyhow::Result<()> {
    let json = match runs {
        [one] => serde_json::to_vec_pretty(one)?,
        all => serde_json::to_vec_pretty(&serde_json::json!({ "runs": all }))?,
    };
    fsx::write_atomic(&out.join("report.json"), &json)?;
    fsx::write_atomic(&out.join("report.html"), document(title, runs).into_string().as_bytes())?;
    Ok(())
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |s| format!("{:.1} %", 100.0 * s).replace('.', ","))
}

fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

fn suppressed(persons: Option<u64>, minimum: u64) -> String {
    persons.map_or_else(|| format!("< {minimum} ou secret"), count)
}

/// Prints the findings for people.
pub fn print(runs: &[RunFindings]) {
    for run in runs {
        say(&format!("\nMois {} (traitement {})", run.period, run.run));
        let rows: Vec<Vec<String>> =
            run.parties.iter().map(|p| vec![p.party.clone(), count(p.lines), count(p.records), count(p.set_aside)]).collect();
        say(&table(&["partenaire", "lignes lues", "fiches", "écartées"], &rows));
        say(&format!(
            "  Personnes distinctes : {} ; fiches rapprochées d'une autre : {}",
            count(run.found.persons),
            count(run.found.linked_records)
        ));
        if let Some(e) = &run.evaluation {
            say(&format!(
                "  Contre la vérité connue ({} paires entre partenaires) : précision {}, rappel {} ; personnes réelles : {}",
                count(e.cross_party.true_pairs),
                percent(e.cross_party.precision),
                percent(e.cross_party.recall),
                count(e.persons_true)
            ));
        }
    }
    if let Some(last) = runs.last() {
        say(&format!("\nPersonnes par combinaison exacte de partenaires, {}", last.period));
        let rows: Vec<Vec<String>> = last
            .found
            .overlap
            .iter()
            .map(|(parties, persons)| vec![parties.join(" + "), suppressed(*persons, last.found.minimum_cell)])
            .collect();
        say(&table(&["partenaires", "personnes"], &rows));
    }
}

const STYLE: &str = "
:root{--ink:#1b2733;--soft:#5b6b7a;--line:#d8dfe6;--fill:#f5f7f9;--accent:#0b5d7a;--good:#2b7a4b}
*{box-sizing:border-box}body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);margin:0;background:#fff}
main{max-width:960px;margin:0 auto;padding:2rem 1.25rem 4rem}h1{font-size:1.7rem;margin:0 0 .25rem}
h2{font-size:1.25rem;margin:2.5rem 0 .5rem;border-top:2px solid var(--accent);padding-top:1rem}h3{font-size:1rem;margin:1.5rem 0 .4rem}
p{max-width:70ch}.soft{color:var(--soft)}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;margin:.4rem 0}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:right}th:first-child,td:first-child{text-align:left}
th{font-weight:600;color:var(--soft);font-size:.85rem}.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:.75rem;margin:1rem 0}
.tile{background:var(--fill);border-radius:8px;padding:.8rem 1rem}.tile b{display:block;font-size:1.5rem}.tile span{color:var(--soft);font-size:.85rem}
svg{max-width:100%;height:auto}details{margin:.5rem 0}summary{cursor:pointer;color:var(--accent)}
";

fn document(title: &str, runs: &[RunFindings]) -> Markup {
    html! {
        (DOCTYPE)
        html lang="fr" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main {
                h1 { (title) }
                p.soft { "Rapprochement entre partenaires sans échange de noms : chaque personne est comptée une fois, sous pseudonyme. Aucun nom, aucune date de naissance et aucun identifiant local ne figure dans ce rapport." }
                @for run in runs { (section(run)) }
            } }
        }
    }
}

fn section(run: &RunFindings) -> Markup {
    let estimate = |name: &str| {
        let at = |part: &str| run.linkage.get(name).and_then(|e| e.get(part)).and_then(Value::as_f64);
        (at("value"), at("low"), at("high"))
    };
    let (precision, recall) = (estimate("precision"), estimate("recall"));
    html! {
        h2 { "Mois " (run.period) " " span.soft { "(traitement " (run.run) ")" } }
        div.tiles {
            div.tile { b { (count(run.found.persons)) } span { "personnes distinctes" } }
            div.tile { b { (count(run.parties.iter().map(|p| p.records).sum())) } span { "fiches de " (run.parties.len()) " partenaires" } }
            div.tile { b { (percent(precision.0)) } span { "précision estimée sans vérité connue (" (percent(precision.1)) " à " (percent(precision.2)) ")" } }
            div.tile { b { (percent(recall.0)) } span { "rappel estimé sans vérité connue (" (percent(recall.1)) " à " (percent(recall.2)) ")" } }
        }
        @if let Some(e) = &run.evaluation {
            div.tiles {
                div.tile { b { (count(e.persons_true)) } span { "personnes réelles (vérité connue)" } }
                div.tile { b { (count(e.cross_party.true_pairs)) } span { "paires vraies entre partenaires" } }
                div.tile { b { (percent(e.cross_party.precision)) } span { "précision contre la vérité connue" } }
                div.tile { b { (percent(e.cross_party.recall)) } span { "rappel contre la vérité connue" } }
            }
        }
        h3 { "Livraisons : il est rendu compte de chaque ligne" }
        table {
            thead { tr { th { "Partenaire" } th { "Lignes lues" } th { "Fiches retenues" } th { "Écartées" } } }
            tbody { @for p in &run.parties { tr { td { (p.party) } td { (count(p.lines)) } td { (count(p.records)) } td { (count(p.set_aside)) } } } }
        }
        @let reasons: Vec<_> = run.parties.iter().flat_map(|p| p.reasons.iter().map(move |(r, n)| (&p.party, r, n))).collect();
        @if !reasons.is_empty() {
            details { summary { "Motifs de mise à l'écart" }
                table { tbody { @for (party, reason, n) in reasons { tr { td { (party) " : " (reason) } td { (count(*n)) } } } } }
            }
        }
        h3 { "Personnes par combinaison exacte de partenaires" }
        table {
            thead { tr { th { "Partenaires" } th { "Personnes" } } }
            tbody { @for (parties, persons) in &run.found.overlap {
                tr { td { (parties.join(" + ")) } td { (suppressed(*persons, run.found.minimum_cell)) } }
            } }
        }
        p.soft { "Les effectifs inférieurs à " (run.found.minimum_cell) " sont masqués, et avec eux ceux qui permettraient de les retrouver par différence." }
        @if let Some(e) = &run.evaluation { @if !e.by_tag.is_empty() {
            h3 { "Cas difficiles (vérité connue)" }
            table {
                thead { tr { th { "Cas" } th { "Paires vraies" } th { "Précision" } th { "Rappel" } } }
                tbody { @for tag in &e.by_tag { tr {
                    td { (case(&tag.tag)) } td { (count(tag.pairs.true_pairs)) } td { (percent(tag.pairs.precision)) } td { (percent(tag.pairs.recall)) }
                } } }
            }
        } }
        h3 { "Distribution des poids" }
        (histogram(&run.linkage))
        p.soft { "Nombre de paires par poids d'évidence (bits, échelle logarithmique). À droite, les paires que les champs disent être une même personne." }
        (weights(&run.linkage))
    }
}

/// A tag of the truth, in words.
fn case(tag: &str) -> &str {
    match tag {
        "homonyme" => "homonymes (mêmes nom et prénom)",
        "homonyme_meme_annee" => "homonymes nés la même année",
        "homonyme_meme_mois" => "homonymes nés le même mois",
        "homonyme_meme_ddn" => "homonymes nés le même jour",
        "jumeau" => "jumeaux",
        "parent_enfant_meme_nom" => "parent et enfant de mêmes nom et prénom",
        "fratrie" => "frères et sœurs",
        "date_defaut" => "date de naissance par défaut (01/01, 31/12)",
        "translitteration" => "noms translittérés",
        "nom_usage" => "nom d'usage",
        "ne_etranger" => "nés à l'étranger",
        "sans_papiers" => "sans papiers",
        "particule" => "noms à particule",
        "prenom_compose" => "prénoms composés",
        other => other,
    }
}

/// Bars of the score histogram.
fn histogram(linkage: &Value) -> Markup {
    let bins: Vec<(i64, f64)> = linkage
        .get("histogram")
        .and_then(Value::as_array)
        .map(|bins| bins.iter().filter_map(|b| Some((b.get("from_bits")?.as_i64()?, b.get("pairs")?.as_f64()?))).collect())
        .unwrap_or_default();
    let top = bins.iter().map(|b| (1.0 + b.1).ln()).fold(1.0, f64::max);
    let width = 900.0 / bins.len().max(1) as f64;
    html! {
        svg viewBox="0 0 900 170" role="img" aria-label="Histogramme des poids" {
            @for (i, (from, pairs)) in bins.iter().enumerate() {
                @let height = 130.0 * (1.0 + pairs).ln() / top;
                rect x=(format!("{:.1}", i as f64 * width)) y=(format!("{:.1}", 140.0 - height)) width=(format!("{:.1}", (width - 1.0).max(0.5)))
                    height=(format!("{height:.1}")) fill=(if *from >= 0 { "#0b5d7a" } else { "#b8c4ce" }) {}
                @if from % 10 == 0 {
                    text x=(format!("{:.1}", i as f64 * width)) y="160" font-size="12" fill="#5b6b7a" { (from) }
                }
            }
        }
    }
}

/// Weights by field and level.
fn weights(linkage: &Value) -> Markup {
    let dimensions = linkage.get("weights").and_then(Value::as_array).cloned().unwrap_or_default();
    html! {
        details { summary { "Poids par champ et niveau de ressemblance" }
            @for dimension in &dimensions {
                h3 { (dimension.get("dimension").and_then(Value::as_str).unwrap_or("")) }
                table {
                    thead { tr { th { "Niveau" } th { "m" } th { "u" } th { "Poids (bits)" } th { "Paires" } } }
                    tbody { @for level in dimension.get("levels").and_then(Value::as_array).into_iter().flatten() {
                        @let number = |name: &str| level.get(name).and_then(Value::as_f64).unwrap_or(0.0);
                        tr {
                            td { (level.get("level").and_then(Value::as_str).unwrap_or("")) }
                            td { (format!("{:.4}", number("m"))) } td { (format!("{:.6}", number("u"))) }
                            td { (format!("{:+.1}", number("weight_bits"))) } td { (count(number("pairs") as u64)) }
                        }
                    } }
                }
            }
        }
    }
}
