//! The report of one or more runs: on the terminal, as `report.json`, and as a self-contained `report.html` in French.

mod charts;
mod hash_keys;
pub mod labels;
pub mod outside;
mod parts;
mod rates;
mod technical;
mod view;

use std::collections::BTreeMap;
use std::path::Path;

use linkage_agreement::{PartyId, Period, Pseudonym, RunId};
use linkage_cohort::{LinkRow, MatchClass, disclose, overlap};
use linkage_common::fsx;
use linkage_node::delivery::DeliverySummary;
use linkage_synth::evaluate::{Evaluation, PairFigures};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cli::{say, table};
use crate::fairness::{LinkedRates, Missed};
use crate::links::Link;
use crate::trial::{ClkFindings, HashKeysFindings};
use labels::{count, optional};

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
    /// Whether the figures of `overlap` bear the noise of the analyst's side; they are exact in a trial.
    pub noise: bool,
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
            noise: false,
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
    /// Parties in the order of `linkage.parties`.
    pub linkage_parties: Vec<String>,
    /// Columns of the agreement's identity fields, in order: what dimensions are named after.
    pub fields: Vec<String>,
    /// Against the run of the month before, where there was one.
    pub drift: Option<Value>,
    /// What came of the pairs that their owners have settled.
    pub dispositions: Option<Value>,
    /// Who is linked with another party, by sex and age.
    pub linked_rates: Option<LinkedRates>,
    /// Who is missed, against the truth, where there is one.
    pub missed: Option<Missed>,
    /// What hash keys did, where they were the profile; `linkage` is then null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_keys: Option<HashKeysFindings>,
    /// What clkhash filters did, where they were the profile; `linkage` is then null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clk: Option<ClkFindings>,
    /// What came of parties that deliver filters or hash keys in a run of names, where there are any: the broker's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outside: Option<Value>,
}

impl RunFindings {
    /// Pairs against the truth: of two parties, or all of them when there is one party.
    fn truth(&self) -> Option<PairFigures> {
        self.evaluation.as_ref().map(|e| if self.parties.len() == 1 { e.all_pairs } else { e.cross_party })
    }
}

/// Writes `report.json` and `report.html` to `out`.
pub fn write(out: &Path, title: &str, runs: &[RunFindings]) -> anyhow::Result<()> {
    let json = match runs {
        [one] => serde_json::to_vec_pretty(one)?,
        all => serde_json::to_vec_pretty(&serde_json::json!({ "runs": all }))?,
    };
    fsx::write_atomic(&out.join("report.json"), &json)?;
    fsx::write_atomic(&out.join("report.html"), document(title, runs)?.into_string().as_bytes())?;
    Ok(())
}

fn suppressed(persons: Option<u64>, minimum: u64) -> String {
    persons.map_or_else(|| labels::suppressed(minimum), count)
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
        if let (Some(e), Some(truth)) = (&run.evaluation, run.truth()) {
            say(&format!(
                "  Contre la vérité connue ({} paires{}) : précision {}, rappel {} ; personnes réelles : {}",
                count(truth.true_pairs),
                if run.parties.len() == 1 { "" } else { " entre partenaires" },
                optional(truth.precision),
                optional(truth.recall),
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
        let minimum = last.found.minimum_cell;
        say(&if last.found.noise {
            format!(
                "  Tel que l'étude le reçoit : effectifs de moins de {minimum} tus, les autres avec un léger bruit, toujours le même."
            )
        } else {
            format!("  Effectifs de moins de {minimum} tus, et ceux qui les feraient retrouver par différence.")
        });
    }
}

fn document(title: &str, runs: &[RunFindings]) -> anyhow::Result<Markup> {
    let sections: Vec<Markup> = runs.iter().map(parts::section).collect::<anyhow::Result<_>>()?;
    Ok(html! {
        (DOCTYPE)
        html lang="fr" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(include_str!("page/style.css"))) }
            }
            body { main {
                h1 { (title) }
                p.soft { "Rapprochement entre partenaires sans échange de noms : chaque personne est comptée une fois, sous pseudonyme. Aucun nom, aucune date de naissance et aucun identifiant local ne figure dans ce rapport. Les effectifs trop petits y sont masqués." }
                @if runs.len() > 1 {
                    nav aria-label="Mois" { @for run in runs { a href=(format!("#mois-{}", run.period)) { "Mois " (run.period) } } }
                }
                @for section in sections { (section) }
            } }
        }
    })
}

#[cfg(test)]
#[path = "page/tests.rs"]
mod tests;
