//! What the report says of clkhash filters and hash keys: the section of a trial with filters only, and of a run in which some
//! parties deliver no names. First of all that such data are re-identifiable, by how much, and who accepted it.

use linkage_linking::OutsideCounts;
use maud::{Markup, html};

use super::labels::{self, count, decimal, optional, percent};
use super::view::Outside;
use super::{RunFindings, parts};
use crate::trial::ClkFindings;

/// Least and most of all other persons that were re-identified from known pairs, over plain, balanced, XOR-folded, Rule 90 and
/// BLIP forms of such filters (docs/clk.md).
const CLK_REIDENTIFIED: [f64; 2] = [0.58, 1.0];

/// What filters give away, in one sentence.
fn clk_risk([least, most]: [f64; 2]) -> String {
    format!(
        "Qui tient les filtres et connaît quelques personnes réidentifie {} à {}\u{a0}% des autres (mesuré sur les encodages simples, \
         équilibrés, repliés, Rule 90 et BLIP) ; l'attaque par graphes n'a besoin d'en connaître aucune.",
        decimal(100.0 * least, 0),
        decimal(100.0 * most, 0)
    )
}

/// What filters came to in a trial, for the terminal.
pub fn summary(clk: &ClkFindings) -> String {
    let sum = |of: fn(&OutsideCounts) -> u64| count(clk.pairs.iter().map(of).sum());
    let wrong: f64 = clk.pairs.iter().map(|pair| pair.expected_wrong).sum();
    format!(
        "\nFiltres clkhash ({} bits, schéma {})\n  Paires au seuil (Dice {}, avance {}) : {} ; rapprochées : {} ; laissées \
         ouvertes : {} ; fausses à craindre, estimation haute : {}\n  Risque mesuré : {}\n  Un fichier de filtres se traite comme un \
         fichier de noms (docs/clk.md).",
        clk.bits,
        clk.schema_sha256.get(..12).unwrap_or_default(),
        permille(clk.threshold_permille),
        permille(clk.margin_permille),
        sum(|pair| pair.met),
        sum(|pair| pair.linked),
        sum(|pair| pair.open),
        decimal(wrong, 0),
        clk_risk(CLK_REIDENTIFIED),
    )
}

/// The section of a trial with filters only.
pub fn section(run: &RunFindings, clk: &ClkFindings) -> Markup {
    let open = clk.open.iter().filter_map(|(reason, n)| Some((serde_json::to_value(reason).ok()?.as_str()?.to_owned(), *n)));
    let without: u64 = clk.without_filter.values().sum();
    html! {
        section id=(format!("mois-{}", run.period)) aria-label=(format!("Mois {}", run.period)) {
            h2 { "Mois " (run.period) " " span.soft { "(traitement " (run.run) ", filtres clkhash)" } }
            div.tiles {
                div.tile { b { (count(run.found.persons)) } span { "personnes distinctes" @if let Some(e) = &run.evaluation { ", " (count(e.persons_true)) " en vérité" } } }
                div.tile { b { (count(run.parties.iter().map(|p| p.records).sum())) } span { "fiches de " (run.parties.len()) " partenaires, dont " (count(run.found.linked_records)) " rapprochées d'une autre" } }
                @if let Some(truth) = run.truth() {
                    div.tile { b { (optional(truth.precision)) } span { "précision contre la vérité connue" } }
                    div.tile { b { (optional(truth.recall)) } span { "rappel contre la vérité connue" } }
                }
            }
            div.notice.warn { p { strong { "Ces filtres sont réidentifiables. " } (clk_risk(CLK_REIDENTIFIED)) " Un fichier de filtres se traite comme un fichier de noms." } }
            h3 { "Paires comparées par filtre" }
            p { "Filtres de " (clk.bits) " bits, chacun comparé à tous les autres. Rapprochées : coefficient de Dice d'au moins " (permille(clk.threshold_permille)) ", et avance d'au moins " (permille(clk.margin_permille)) " sur toute autre fiche. "
                @if without > 0 { (count(without)) " fiches n'ont pas de filtre (identité vide ou illisible pour le schéma) et ne sont rapprochées de personne." } }
            (pairs(&clk.pairs, &run.linkage_parties))
            (parts::deliveries(run))
            (parts::combinations(run))
            (parts::left_open(open.collect()))
            (parts::hard_cases(run))
        }
    }
}

/// What a run says of its parties that deliver no names.
pub fn notice(outside: &Outside, names: &[String]) -> Markup {
    let profiles: Vec<String> =
        outside.profiles.iter().map(|(party, profile)| format!("{party} ({})", labels::profile(profile))).collect();
    let sent = match (outside.risk.clk_others_reidentified.is_some(), outside.risk.keys_read_back_in_10_s.is_some()) {
        (true, true) => "un filtre clkhash et deux clés de hachage",
        (true, false) => "un filtre clkhash",
        _ => "deux clés de hachage",
    };
    html! {
        div.notice.warn {
            p { strong { "Partenaires sans noms à livrer. " } (profiles.join(", ")) ". Pour les comparer aux autres, chaque fiche de tous les partenaires est partie avec " (sent) ". "
                strong { "Ces données sont réidentifiables. " }
                @if let Some(risk) = outside.risk.clk_others_reidentified { (clk_risk(risk)) " " }
                @if let Some(share) = outside.risk.keys_read_back_in_10_s {
                    "D'un fichier de clés " @if outside.keyed == Some(true) { "sans secret (les vôtres en ont un, que les partenaires partagent), " } @else { "sans secret, " }
                    (percent(share)) " des lignes ont livré nom, mois et année de naissance en 10 secondes. "
                }
            }
            p {
                @if outside.risk_accepted { "La convention l'accepte, pour tous ses signataires (risk_accepted = true). " } @else { "La convention ne dit pas que ses signataires l'acceptent : prévenir les délégués à la protection des données. " }
                "La clé du traitement, que le courtier n'a pas, l'empêche d'essayer une liste de noms et de comparer deux traitements ; elle n'empêche ni les attaques sur les filtres, ni un partenaire complice."
            }
        }
        h3 { "Paires comparées par filtre ou par clé" }
        p {
            @if let (Some(threshold), Some(margin)) = (outside.threshold_permille, outside.margin_permille) {
                "Filtres : coefficient de Dice d'au moins " (permille(threshold)) ", avance d'au moins " (permille(margin)) " sur toute autre fiche"
                @if let Some(bits) = outside.diffusion.filter(|bits| *bits > 0) { ", diffusion de " (bits) " bits" } ". "
            }
            @if outside.keyed.is_some() { "Clés : égales, et portées une seule fois de chaque côté. " }
            "Le rappel estimé de ce rapport ne sait rien des paires de cette sorte qui manquent."
        }
        (pairs(&outside.pairs, names))
    }
}

fn pairs(pairs: &[OutsideCounts], names: &[String]) -> Markup {
    let name = |party: usize| names.get(party).map_or_else(|| party.to_string(), Clone::clone);
    html! {
        @if pairs.is_empty() { p { "Aucune paire n'atteint le seuil." } } @else {
            div.wide { table {
                caption { "Ces liens sont au mieux probables, jamais certains. Les fausses paires à craindre sont une estimation haute, faite sans vérité connue." }
                thead { tr { th scope="col" { "Partenaires" } th scope="col" { "Paires au seuil" } th scope="col" { "Rapprochées" } th scope="col" { "Laissées ouvertes" } th scope="col" { "Fausses à craindre" } } }
                tbody { @for pair in pairs { @let [a, b] = pair.parties; tr {
                    th scope="row" { (name(a)) @if a == b { " (doublons)" } @else { " + " (name(b)) } }
                    td { (count(pair.met)) } td { (count(pair.linked)) } td { (count(pair.open)) } td { (decimal(pair.expected_wrong, 1)) }
                } } }
            } }
        }
    }
}

fn permille(value: u32) -> String {
    decimal(f64::from(value) / 1000.0, 3)
}
