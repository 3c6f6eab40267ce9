//! The section of a run by hash keys: there are no weights to show, but what the keys miss and what they give away.

use maud::{Markup, html};

use super::labels::{count, optional};
use super::{RunFindings, parts};
use crate::trial::HashKeysFindings;

/// What stands in place of the weights and estimates.
pub fn section(run: &RunFindings, keys: &HashKeysFindings) -> Markup {
    html! {
        section id=(format!("mois-{}", run.period)) aria-label=(format!("Mois {}", run.period)) {
            h2 { "Mois " (run.period) " " span.soft { "(traitement " (run.run) ", empreintes SHA-256)" } }
            div.tiles {
                div.tile { b { (count(run.found.persons)) } span { "personnes distinctes" @if let Some(e) = &run.evaluation { ", " (count(e.persons_true)) " en vérité" } } }
                div.tile { b { (count(run.parties.iter().map(|p| p.records).sum())) } span { "fiches de " (run.parties.len()) " partenaires, dont " (count(run.found.linked_records)) " rapprochées d'une autre" } }
                @if let Some(truth) = run.truth() {
                    div.tile { b { (optional(truth.precision)) } span { "précision contre la vérité connue" } }
                    div.tile { b { (optional(truth.recall)) } span { "rappel contre la vérité connue" } }
                }
            }
            div.notice.warn { p { strong { "Ces empreintes ne protègent pas. " } "Noms et dates de naissance se retrouvent en secondes avec des tables publiques (" code { "linkage attack dictionary" } ") : un fichier d'empreintes se traite comme un fichier de noms. Une faute de frappe suffit en outre à manquer une personne." } }
            h3 { "Ce que trouve chaque clé" }
            table {
                caption { "Une clé portée plusieurs fois chez un partenaire ne rapproche personne chez lui : le choix serait dû au hasard." }
                thead { tr { th scope="col" { "Clé" } th scope="col" { "Paires" } th scope="col" { "Clés ambiguës" } th scope="col" { "Précision" } th scope="col" { "Rappel" } } }
                tbody {
                    tr { th scope="row" { "primaire seule" } td { (count(keys.links.primary_pairs)) } td { (count(keys.links.ambiguous_primary)) }
                        td { (optional(keys.primary_only.as_ref().and_then(|e| e.cross_party.precision))) } td { (optional(keys.primary_only.as_ref().and_then(|e| e.cross_party.recall))) } }
                    tr { th scope="row" { "primaire, puis secondaire" } td { (count(keys.links.primary_pairs + keys.links.secondary_pairs)) } td { (count(keys.links.ambiguous_secondary)) }
                        td { (optional(run.truth().and_then(|t| t.precision))) } td { (optional(run.truth().and_then(|t| t.recall))) } }
                }
            }
            (parts::deliveries(run))
            (parts::combinations(run))
            (parts::hard_cases(run))
        }
    }
}
