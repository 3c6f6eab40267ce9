//! The technical parts, folded: typical pairs, weights, blocks, change since the previous month, the candidate graph.

use maud::{Markup, html};

use super::charts;
use super::labels::{self, bits, count, decimal, fine_percent, percent};
use super::parts::Shown;
use super::view::{Dimension, Drift, Shift, Waterfall};

/// All of them.
pub fn details(shown: &Shown<'_>) -> Markup {
    let fields = &shown.run.fields;
    let linkage = &shown.linkage;
    html! {
        @if !linkage.patterns.is_empty() {
            details { summary { "Comment un poids se forme : paires typiques" }
                p { "Chaque tableau montre une façon de se ressembler, jamais une valeur, commune à plusieurs paires (au moins " (shown.run.found.minimum_cell) "). On part des chances a priori, puis chaque champ ajoute ou retire des bits." }
                @for waterfall in &linkage.patterns { (waterfall_table(waterfall, fields)) }
            }
        }
        details { summary { "Poids par champ et niveau de ressemblance" }
            p { "m : part de ce niveau parmi les fiches d'une même personne ; u : par hasard. Le poids est log₂(m / u)." }
            @for dimension in &linkage.weights { (weights(dimension, fields)) }
        }
        @if let Some(drift) = &shown.drift {
            details open[!drift.flags.is_empty()] { summary { "Changements depuis " (drift.previous_period) } (drift_tables(drift, fields)) }
        }
        details { summary { "Blocs, paires comparées et portée" } (blocks(shown)) }
    }
}

fn waterfall_table(w: &Waterfall, fields: &[String]) -> Markup {
    let mut at = w.prior_millibits;
    let mut rows: Vec<(String, String, i32, i32, i32)> =
        vec![("Chances a priori".to_owned(), "avant toute comparaison".to_owned(), w.prior_millibits, 0, w.prior_millibits)];
    for step in &w.steps {
        let next = at.saturating_add(step.millibits);
        rows.push((labels::dimension(&step.dimension, fields), labels::level(&step.level), step.millibits, at, next));
        at = next;
    }
    // Less than what is shown as a tenth of a bit is nothing.
    if w.related_millibits.abs() >= 50 {
        let next = at.saturating_add(w.related_millibits);
        let what = "ce que jumeaux, homonymes et champs liés entre eux expliquent aussi bien".to_owned();
        rows.push(("Sosies possibles".to_owned(), what, w.related_millibits, at, next));
    }
    let ends = || rows.iter().flat_map(|r| [r.3, r.4]).chain([0, w.total_millibits]);
    let range = (ends().min().unwrap_or(0), ends().max().unwrap_or(0));
    html! {
        div.wide { table {
            caption {
                strong { (labels::example(&w.example)) } @if let Some(reason) = &w.reason { " : " (labels::reason(reason).0.to_lowercase()) }
                ", " (count(w.pairs)) " paires"
            }
            thead { tr { th scope="col" { "Étape" } th.text scope="col" { "Ressemblance" } th scope="col" { "Bits" } th.text scope="col" { "" } } }
            tbody {
                @for (name, level, millibits, before, after) in &rows { tr {
                    th scope="row" { (name) } td.text { (level) } td { (bits(*millibits)) } td.text { (charts::step(*before, *after, range, false)) }
                } }
                tr.all { th scope="row" { "Poids total" } td.text { "" } td { (bits(w.total_millibits)) } td.text { (charts::step(0, w.total_millibits, range, true)) } }
            }
        } }
    }
}

fn weights(dimension: &Dimension, fields: &[String]) -> Markup {
    html! {
        div.wide { table {
            caption { strong { (labels::dimension(&dimension.dimension, fields)) }
                @if let Some(share) = dimension.shipped_share { ", dont " (percent(share)) " de m vient des tables livrées" } }
            thead { tr { th scope="col" { "Niveau" } th scope="col" { "m" } th scope="col" { "u" } th scope="col" { "Poids (bits)" } th scope="col" { "Paires comparées" } } }
            tbody { @for level in &dimension.levels { tr {
                th scope="row" { (labels::level(&level.level)) }
                td { (decimal(level.m, 4)) } td { (decimal(level.u, 6)) } td { (bits((1000.0 * level.weight_bits).round() as i32)) } td { (count(level.pairs)) }
            } } }
        } }
    }
}

fn drift_tables(drift: &Drift, fields: &[String]) -> Markup {
    let row = |name: &str, shift: Shift, show: fn(f64) -> String| {
        html! { tr { th scope="row" { (name) } td { (show(shift.before)) } td { (show(shift.now)) } } }
    };
    html! {
        p { "Comparé au traitement " (drift.previous_run) " (" (drift.previous_period) "). "
            @if drift.flags.is_empty() { "Rien ne dépasse les seuils." } @else { (drift.flags.len()) " changement(s) au-delà des seuils, repris en tête de mois." } }
        div.wide { table {
            caption { "L'ensemble." }
            thead { tr { th scope="col" { "Figure" } th scope="col" { "Avant" } th scope="col" { "Maintenant" } } }
            tbody {
                (row("Précision estimée", drift.precision, fine_percent))
                (row("Rappel estimé", drift.recall, fine_percent))
                (row("Liens attendus par fiche", drift.matches_per_record, |v| decimal(v, 3)))
                (row("Blocs abandonnés", drift.dropped_share, fine_percent))
            }
        } }
        div.wide { table {
            caption { "Par partenaire." }
            thead { tr { th scope="col" { "Partenaire" } th scope="col" { "Fiches avant" } th scope="col" { "Fiches" } th scope="col" { "Rapprochées avant" } th scope="col" { "Rapprochées" } } }
            tbody { @for p in &drift.parties { tr {
                th scope="row" { (p.party) } td { (count(p.records.before as u64)) } td { (count(p.records.now as u64)) } td { (percent(p.linked_share.before)) } td { (percent(p.linked_share.now)) }
            } } }
        } }
        div.wide { table {
            caption { "Par champ : comment les fiches rapprochées se ressemblent. Variation totale : 0 inchangé, 100 % rien de commun. PSI : signalé au-delà du seuil, qui tient compte du nombre de paires." }
            thead { tr { th scope="col" { "Champ" } th scope="col" { "Variation totale" } th scope="col" { "PSI" } th scope="col" { "Seuil" } th.text scope="col" { "Niveau qui a le plus bougé (m)" } } }
            tbody { @for d in &drift.dimensions { tr {
                th scope="row" { (labels::dimension(&d.dimension, fields)) } td { (percent(d.total_variation)) } td { (decimal(d.psi, 3)) } td { (decimal(d.psi_threshold, 3)) }
                td.text { (labels::level(&d.moved_level)) " : " (percent(d.moved_m.before)) " → " (percent(d.moved_m.now)) }
            } } }
        } }
    }
}

fn blocks(shown: &Shown<'_>) -> Markup {
    let linkage = &shown.linkage;
    let row = |name: &str, value: String| html! { tr { th scope="row" { (name) } td { (value) } } };
    html! {
        table {
            caption { "Seules les fiches qui partagent un bloc (une clé faite de morceaux du nom et de la date) sont comparées." }
            thead { tr { th scope="col" { "Mesure" } th scope="col" { "Valeur" } } }
            tbody {
                (row("Blocs comparés", count(linkage.blocks.kept)))
                (row("Fiches du plus grand bloc comparé", count(linkage.blocks.largest_kept)))
                (row("Blocs abandonnés, trop grands", count(linkage.blocks.dropped)))
                (row("Fiches du plus grand bloc abandonné", count(linkage.blocks.largest_dropped)))
                (row("Paires comparées entre partenaires", count(linkage.candidates)))
                (row("Paires comparées chez un même partenaire", count(linkage.candidates_within)))
                (row("Rencontres avec une autre personne, par fiche", decimal(linkage.non_matching_meetings_per_record, 2)))
                (row("Paires rapprochées", count(linkage.linked_pairs)))
                @if let Some(settled) = &shown.dispositions {
                    (row("Paires confirmées par leurs détenteurs", count(settled.confirmed)))
                    (row("Paires écartées par leurs détenteurs", count(settled.refuted)))
                    (row("Confirmations qui contredisent une paire écartée", count(settled.refused)))
                }
                (row("Groupes de deux fiches ou plus", count(linkage.clusters)))
                (row("Fiches rapprochées avec certitude", count(linkage.certain_members)))
                (row("Fiches rapprochées avec probabilité", count(linkage.probable_members)))
            }
        }
        table {
            caption { "Portée : ce que le graphe des rencontres laisserait atteindre à un courtier qui connaîtrait déjà quelques personnes." }
            thead { tr { th scope="col" { "Mesure" } th scope="col" { "Valeur" } } }
            tbody {
                (row("Fiches de la plus grande composante", count(linkage.reach.largest_component)))
                (row("Part atteinte depuis 20 fiches connues", percent(linkage.reach.from_20_known)))
                (row("Part atteinte depuis 100 fiches connues", percent(linkage.reach.from_100_known)))
            }
        }
    }
}
