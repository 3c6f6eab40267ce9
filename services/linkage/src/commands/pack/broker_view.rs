//! What the broker learns: the figures of the last run, beside those that were measured once and for all.

use serde_json::Value;

use super::Sources;
use super::document::{Document, TO_COMPLETE};

/// Measured and general leaks.
pub(super) fn document(sources: &Sources<'_>) -> Document {
    let a = sources.agreement();
    let e = &a.encoding;
    let document = Document::new("05-operateur", "Ce que l'opérateur du rapprochement apprend")
        .text(
            "L'opérateur ne reçoit ni nom, ni date, ni attribut, ni clé. Ce qu'il reçoit reste une donnée personnelle (RGPD, article 4, 5) : un \
             opérateur curieux peut en tirer ce qui suit. Les chiffres généraux et leur méthode sont dans le modèle de menace du projet \
             (docs/threat-model.md, sections 3 et 9).",
        )
        .heading("Mesuré sur le dernier traitement");
    let document = match sources.report.and_then(linkage_of) {
        None => document.text(format!(
            "{TO_COMPLETE} : joindre le rapport du dernier traitement (--report report.json) pour obtenir les mesures faites sur vos données."
        )),
        Some(linkage) => document.table(["Mesure", "Valeur", "Ce qu'elle veut dire"], measured(linkage)),
    };
    let document = document.heading("Réglages de la convention qui limitent ces fuites").table(
        ["Réglage", "Valeur", "Effet"],
        [
            [
                "tokens_per_record".to_owned(),
                e.tokens_per_record.to_string(),
                "toutes les fiches envoient ce nombre de jetons, remplissage compris".to_owned(),
            ],
            [
                "decoys_percent".to_owned(),
                format!("{} %", e.decoys_percent),
                "fiches leurres : le nombre exact de fiches ne se lit pas".to_owned(),
            ],
            [
                "block_cap".to_owned(),
                e.block_cap.to_string(),
                "un bloc plus grand est écarté : on ne compare pas une foule d'homonymes".to_owned(),
            ],
            [
                "pass_set".to_owned(),
                e.pass_set.clone(),
                "clés de blocs assez fines pour que peu d'inconnus se rencontrent".to_owned(),
            ],
        ],
    );
    let risky = a.party.iter().any(|p| p.profile.is_some());
    let document = document.heading("Limites connues").list([
        "Il voit une classe de qualité et de rareté par fiche, et la classe de longueur des noms.",
        "Il peut reconnaître qu'une fiche d'un traitement est celle d'un autre traitement, sans savoir qui elle est.",
        "S'il mettait ses données en commun avec un partenaire, il apprendrait où les personnes de ce partenaire sont aussi inscrites : la convention \
         et les contrats doivent l'interdire, le logiciel ne peut pas l'empêcher.",
    ]);
    if risky {
        document.text(
            "ATTENTION : un partenaire livre des filtres clkhash ou des clés de hachage. Toutes les fiches de tous les partenaires deviennent alors \
             comparables entre elles ; les attaques publiées ré-identifient la majorité des personnes. Les signataires l'ont accepté dans la convention \
             (risk_accepted) ; l'analyse d'impact doit le dire.",
        )
    } else {
        document
    }
}

/// The broker's part of a report, in each of the forms that commands write.
fn linkage_of(report: &Value) -> Option<&Value> {
    report.get("linkage").or_else(|| report.get("runs")?.as_array()?.last()?.get("linkage"))
}

fn measured(linkage: &Value) -> Vec<[String; 3]> {
    let number = |path: &str| linkage.pointer(path).and_then(Value::as_f64);
    let percent =
        |value: Option<f64>| value.map_or("non mesuré".to_owned(), |v| format!("{:.2} %", v * 100.0).replace('.', ","));
    vec![
        [
            "Rencontres avec la fiche d'une autre personne, par fiche".to_owned(),
            number("/non_matching_meetings_per_record").map_or("non mesuré".to_owned(), |v| format!("{v:.2}").replace('.', ",")),
            "fiches d'inconnus qu'il peut comparer ; le jeu de passes est refusé au-delà de 1".to_owned(),
        ],
        [
            "Plus grande composante du graphe des rencontres".to_owned(),
            number("/reach/largest_component").map_or("non mesuré".to_owned(), |v| format!("{v:.0} fiches")),
            "fiches qu'il peut relier de proche en proche".to_owned(),
        ],
        [
            "Fiches atteintes à partir de 20 personnes connues".to_owned(),
            percent(number("/reach/from_20_known")),
            "part des fiches liées par une chaîne de rencontres à 20 personnes qu'il connaîtrait".to_owned(),
        ],
        [
            "Fiches atteintes à partir de 100 personnes connues".to_owned(),
            percent(number("/reach/from_100_known")),
            "la même part, pour 100 personnes connues".to_owned(),
        ],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_are_found_in_every_form_of_report_and_missing_ones_are_said() {
        let linkage =
            json!({ "non_matching_meetings_per_record": 0.182, "reach": { "largest_component": 18, "from_20_known": 0.0035 } });
        for report in [json!({ "linkage": linkage }), json!({ "runs": [{ "linkage": {} }, { "linkage": linkage }] })] {
            let rows = measured(linkage_of(&report).unwrap());
            let values: Vec<&str> = rows.iter().map(|row| row[1].as_str()).collect();
            assert_eq!(values, ["0,18", "18 fiches", "0,35 %", "non mesuré"]);
        }
        assert!(linkage_of(&json!({ "other": 1 })).is_none());
    }
}
