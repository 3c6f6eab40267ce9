//! One run's section: the summary and what to look at first, then who is counted and who is missed, then the technical
//! parts, folded.

use std::collections::BTreeMap;

use anyhow::Context;
use linkage_synth::evaluate::PairFigures;
use maud::{Markup, html};

use super::labels::{self, count, decimal, fine_percent, optional, percent, points};
use super::view::{Dispositions, Drift, Estimate, Flag, Linkage, Outside};
use super::{RunFindings, charts, hash_keys, outside, rates, suppressed, technical};

/// Share of a party's records with a rival in the same list from which it is worth a question.
const RIVALS: f64 = 0.01;
/// Gap of recall between a group and all from which it is worth a look.
const GAP: f64 = 0.03;
/// Share of blocks dropped from which it is worth a look.
const DROPPED: f64 = 0.001;
/// Share of lines set aside from which it is worth a look.
const SET_ASIDE: f64 = 0.05;

/// Rows from which a table is folded.
const LONG: usize = 12;

/// A run as the page shows it.
pub struct Shown<'f> {
    pub run: &'f RunFindings,
    pub linkage: Linkage,
    pub drift: Option<Drift>,
    pub dispositions: Option<Dispositions>,
    /// Pairs against the truth: of two parties, or all of them when there is one party.
    pub truth: Option<PairFigures>,
}

/// The section of one run.
pub fn section(run: &RunFindings) -> anyhow::Result<Markup> {
    if let Some(keys) = &run.hash_keys {
        return Ok(hash_keys::section(run, keys));
    }
    if let Some(clk) = &run.clk {
        return Ok(outside::section(run, clk));
    }
    let linkage: Linkage = serde_json::from_value(run.linkage.clone()).context("report of the broker")?;
    let drift = run.drift.clone().map(serde_json::from_value).transpose().context("drift")?;
    let dispositions = run.dispositions.clone().map(serde_json::from_value).transpose().context("dispositions")?;
    let outside: Option<Outside> = run.outside.clone().map(serde_json::from_value).transpose().context("outside")?;
    let shown = Shown { run, linkage, drift, dispositions, truth: run.truth() };
    Ok(html! {
        section id=(format!("mois-{}", run.period)) aria-label=(format!("Mois {}", run.period)) {
            h2 { "Mois " (run.period) " " span.soft { "(traitement " (run.run) ")" } }
            (summary(&shown))
            (attention(&shown))
            @if let Some(outside) = &outside { (outside::notice(outside, &run.linkage_parties)) }
            (estimates(&shown))
            (deliveries(run))
            (combinations(run))
            (rates::who_is_missed(&shown))
            (left_open(shown.linkage.abstained.clone()))
            (hard_cases(run))
            h3 { "Distribution des poids" }
            p { "Chaque paire de fiches comparée reçoit un poids en bits : un bit de plus double les chances qu'il s'agisse d'une même personne. Au-dessus du seuil de lien, la paire est rapprochée, sauf si une autre fiche convient aussi bien ; entre les deux seuils, elle est laissée ouverte." }
            div.wide { (charts::histogram(&shown.linkage.histogram, shown.linkage.bounds)) }
            p.soft { "Hauteurs sur une échelle logarithmique ; chaque barre couvre un bit. Une paire rapprochée à gauche des seuils l'est par une troisième fiche qui ressemble aux deux ; une paire ouverte à droite l'est pour une fiche rivale ou contraire." }
            (technical::details(&shown))
        }
    })
}

fn summary(shown: &Shown<'_>) -> Markup {
    let run = shown.run;
    let (precision, recall) = (shown.linkage.precision, shown.linkage.recall);
    let against = |truth: Option<f64>| html! { @if let Some(truth) = truth { "vérité connue : " (percent(truth)) } @else { "sans vérité connue" } };
    html! {
        div.tiles {
            div.tile { b { (count(run.found.persons)) } span { "personnes distinctes" @if let Some(e) = &run.evaluation { ", " (count(e.persons_true)) " en vérité" } } }
            div.tile { b { (count(run.parties.iter().map(|p| p.records).sum())) } span { "fiches de " (run.parties.len()) " partenaire" @if run.parties.len() > 1 { "s" } ", dont " (count(run.found.linked_records)) " rapprochées d'une autre" } }
            div.tile { b { (percent(precision.value)) } span { "précision estimée : part des liens qui sont justes (" (against(shown.truth.and_then(|t| t.precision))) ")" } }
            div.tile { b { (percent(recall.value)) } span { "rappel estimé : part des liens à trouver qui le sont (" (against(shown.truth.and_then(|t| t.recall))) ")" } }
        }
    }
}

/// What asks for a look, most general first.
fn attention(shown: &Shown<'_>) -> Markup {
    let mut notes: Vec<Markup> = Vec::new();
    let linkage = &shown.linkage;
    if let Some(support) = linkage.support.filter(|s| s.few_pairs) {
        notes.push(html! {
            strong { "Peu de paires. " } "Les poids sont appris sur " (count(support.matches.round() as u64)) " paires seulement ; "
            (percent(support.shipped_priors_share)) " viennent des tables livrées avec le logiciel. Les estimations valent comme ordre de grandeur."
        });
    }
    if let Some(drift) = &shown.drift {
        for flag in &drift.flags {
            notes.push(html! { strong { "Changement depuis " (drift.previous_period) ". " } (drift_note(flag, shown)) });
        }
    }
    for party in &shown.run.parties {
        let share = party.set_aside as f64 / (party.lines as f64).max(1.0);
        if share > SET_ASIDE {
            notes.push(html! { strong { "Lignes écartées. " } (party.party) " : " (percent(share)) " des lignes livrées ne prennent pas part ; voir les motifs plus bas." });
        }
    }
    for (name, party) in shown.run.linkage_parties.iter().zip(&linkage.parties) {
        if party.rivals as f64 > RIVALS * party.records as f64 {
            notes.push(html! {
                strong { "Doublons possibles. " } (name) " : " (count(party.rivals)) " fiches sont en concurrence avec une autre de la même liste pour une même personne, alors que la convention dit cette liste sans doublon."
            });
        }
    }
    let blocks = linkage.blocks.kept + linkage.blocks.dropped;
    if linkage.blocks.dropped as f64 > DROPPED * blocks as f64 {
        notes.push(html! {
            strong { "Blocs abandonnés. " } (count(linkage.blocks.dropped)) " groupes de fiches trop grands n'ont pas été comparés (le plus grand : " (count(linkage.blocks.largest_dropped)) " fiches) : des personnes à noms fréquents peuvent être manquées."
        });
    }
    for (group, recall, all) in rates::behind(shown, GAP) {
        notes.push(html! { strong { "Moins bien retrouvées. " } "Fiches « " (group) " » : rappel " (percent(recall)) ", contre " (percent(all)) " pour toutes." });
    }
    html! {
        @if notes.is_empty() {
            div.notice { p { strong { "Rien à signaler. " } "Aucun des contrôles automatiques ne demande de vérification." } }
        } @else {
            div.notice.warn { p { strong { "À regarder" } } ul { @for note in notes { li { (note) } } } }
        }
    }
}

/// A change since the previous run, in words, with what to check.
fn drift_note(flag: &Flag, shown: &Shown<'_>) -> Markup {
    let field = || labels::dimension(&flag.subject, &shown.run.fields);
    let from_to = |shift: super::view::Shift| format!("de {} à {}", percent(shift.before), percent(shift.now));
    html! {
        @match flag.kind.as_str() {
            "levels_moved" => { (field()) " : les fiches rapprochées ne se ressemblent plus de la même façon (indice PSI " (decimal(flag.shift.now, 2)) ", seuil " (decimal(flag.threshold, 2)) "). Vérifier si un partenaire a changé de logiciel ou de format." }
            "agreement_moved" => { (field()) " : le niveau « " (labels::level(&flag.level)) " » passe " (from_to(flag.shift)) " des personnes retrouvées. Vérifier la saisie de ce champ." }
            "matches_moved" => { "Le nombre de liens attendus par fiche passe de " (decimal(flag.shift.before, 3)) " à " (decimal(flag.shift.now, 3)) ". Vérifier que chaque liste est entière." }
            "precision_fell" => { "La précision estimée passe " (from_to(flag.shift)) ". Regarder les niveaux qui ont changé avant d'utiliser la table de liens." }
            "recall_fell" => { "Le rappel estimé passe " (from_to(flag.shift)) ". Regarder les champs devenus vides ou écrits autrement." }
            "linked_share_moved" => { (flag.subject) " : la part de fiches rapprochées passe " (from_to(flag.shift)) ". Vérifier la livraison de ce partenaire." }
            "records_moved" => { (flag.subject) " : le nombre de fiches passe de " (count(flag.shift.before as u64)) " à " (count(flag.shift.now as u64)) ". Vérifier que le fichier est entier." }
            "blocks_dropped" => { "La part de blocs abandonnés passe " (from_to(flag.shift)) ". Une valeur répétée (nom ou date de remplissage) en est souvent la cause." }
            "party_new" => { (flag.subject) " prend part pour la première fois." }
            "party_gone" => { (flag.subject) " ne prend plus part." }
            "fields_changed" => { (field()) " : champ comparé dans un seul des deux mois." }
            other => { (other) }
        }
    }
}

/// Estimates beside the truth.
fn estimates(shown: &Shown<'_>) -> Markup {
    let truth = shown.truth;
    let rows: [(&str, Estimate, Option<f64>); 2] = [
        ("Précision", shown.linkage.precision, truth.and_then(|t| t.precision)),
        ("Rappel", shown.linkage.recall, truth.and_then(|t| t.recall)),
    ];
    let from = charts::scale_from(rows.iter().flat_map(|(_, e, t)| [Some(e.low), *t]).flatten());
    html! {
        h3 { "Estimations" }
        div.wide { table {
            caption {
                "Estimées sans vérité connue, à partir des seules ressemblances ; l'intervalle suppose le modèle juste."
                @if truth.is_some() { " Le trait vert est la valeur exacte, que seul un essai ou une démonstration peut connaître." }
            }
            thead { tr { th scope="col" { "Figure" } th scope="col" { "Estimée" } th scope="col" { "Intervalle" }
                @if truth.is_some() { th scope="col" { "Vérité" } th scope="col" { "Écart" } } th.text scope="col" { "" } } }
            tbody { @for (name, estimate, exact) in rows { tr {
                th scope="row" { (name) }
                td { (fine_percent(estimate.value)) }
                td { (fine_percent(estimate.low)) " – " (fine_percent(estimate.high)) }
                @if truth.is_some() { td { (exact.map_or_else(|| "–".to_owned(), fine_percent)) } td { (exact.map_or_else(|| "–".to_owned(), |exact| points(estimate.value - exact))) } }
                td.text { (charts::interval(estimate, exact, from)) }
            } } }
        } }
    }
}

pub fn deliveries(run: &RunFindings) -> Markup {
    let reasons: Vec<_> = run.parties.iter().flat_map(|p| p.reasons.iter().map(move |(r, n)| (&p.party, r, n))).collect();
    html! {
        h3 { "Livraisons" }
        div.wide { table {
            caption { "Il est rendu compte de chaque ligne livrée." }
            thead { tr { th scope="col" { "Partenaire" } th scope="col" { "Lignes lues" } th scope="col" { "Fiches retenues" } th scope="col" { "Écartées" } } }
            tbody { @for p in &run.parties { tr { th scope="row" { (p.party) } td { (count(p.lines)) } td { (count(p.records)) } td { (count(p.set_aside)) } } } }
        } }
        @if !reasons.is_empty() {
            details { summary { "Motifs de mise à l'écart" }
                table {
                    thead { tr { th scope="col" { "Partenaire" } th.text scope="col" { "Motif" } th scope="col" { "Lignes" } } }
                    tbody { @for (party, reason, n) in reasons { tr { th scope="row" { (party) } td.text { (reason) } td { (count(*n)) } } } }
                }
            }
        }
    }
}

pub fn combinations(run: &RunFindings) -> Markup {
    let found = &run.found;
    let table = html! {
        table {
            caption {
                "Les effectifs inférieurs à " (found.minimum_cell) " sont masqués"
                @if found.noise { " ; les autres sont ceux que l'étude obtient, avec leur léger bruit, toujours le même pour les mêmes personnes." }
                @else { ", et avec eux ceux qui permettraient de les retrouver par différence." }
            }
            thead { tr { th scope="col" { "Partenaires" } th scope="col" { "Personnes" } } }
            tbody { @for (parties, persons) in &found.overlap {
                tr { th scope="row" { (parties.join(" + ")) } td.secret[persons.is_none()] { (suppressed(*persons, found.minimum_cell)) } }
            } }
        }
    };
    html! {
        h3 { "Personnes par combinaison exacte de partenaires" }
        @if found.overlap.len() > LONG { details { summary { (found.overlap.len()) " combinaisons" } (table) } } @else { (table) }
    }
}

/// Pairs left open, by reason.
pub fn left_open(abstained: BTreeMap<String, u64>) -> Markup {
    let mut reasons: Vec<_> = abstained.into_iter().collect();
    reasons.sort_by(|x, y| y.1.cmp(&x.1).then_with(|| x.0.cmp(&y.0)));
    let all: u64 = reasons.iter().map(|r| r.1).sum();
    html! {
        h3 { "Paires laissées ouvertes" }
        @if reasons.is_empty() {
            p { "Aucune : chaque paire a été rapprochée ou écartée." }
        } @else {
            div.wide { table {
                caption { "Le logiciel s'abstient plutôt que de deviner ; les détenteurs des fiches peuvent trancher." }
                thead { tr { th scope="col" { "Motif" } th scope="col" { "Paires" } th scope="col" { "Part" } th.text scope="col" { "Ce que cela veut dire" } } }
                tbody { @for (reason, n) in reasons { @let (name, meaning) = labels::reason(&reason); tr {
                    th scope="row" { (name) } td { (count(n)) } td { (percent(n as f64 / all.max(1) as f64)) " " (charts::bar(n as f64 / all.max(1) as f64)) } td.text { (meaning) }
                } } }
            } }
        }
    }
}

pub fn hard_cases(run: &RunFindings) -> Markup {
    let Some(evaluation) = run.evaluation.as_ref().filter(|e| !e.by_tag.is_empty()) else { return html! {} };
    html! {
        h3 { "Cas difficiles" }
        div.wide { table {
            caption { "Contre la vérité connue. Une paire rapprochée compte dans un cas quand l'une des deux personnes en relève." }
            thead { tr { th scope="col" { "Cas" } th scope="col" { "Paires vraies" } th scope="col" { "Précision" } th scope="col" { "Rappel" } } }
            tbody { @for tag in &evaluation.by_tag { tr {
                th scope="row" { (labels::case(&tag.tag)) } td { (count(tag.pairs.true_pairs)) } td { (optional(tag.pairs.precision)) } td { (optional(tag.pairs.recall)) }
            } } }
        } }
    }
}
