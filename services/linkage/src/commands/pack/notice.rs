//! Model notice for the persons concerned (RGPD, articles 13 and 14), in plain French.

use super::document::{Document, TO_COMPLETE};
use super::{Sources, words};

/// The notice that each partner completes and gives or posts up.
pub(super) fn document(sources: &Sources<'_>) -> Document {
    let a = sources.agreement();
    let partners: Vec<&str> = a.party.iter().map(|p| p.name.as_str()).collect();
    let analysts: Vec<&str> = a.analyst.iter().map(|analyst| analyst.name.as_str()).collect();
    // What a convention does not forbid is not promised to anybody.
    let uses = match a.agreement.forbidden_uses.as_slice() {
        [] => format!(
            "Aucune décision à votre sujet n'est prise par ce logiciel. {TO_COMPLETE} : usages interdits (la convention n'en nomme aucun)."
        ),
        uses => {
            format!("Aucune décision à votre sujet n'est prise par ce logiciel. La convention interdit de : {}.", lower(uses))
        }
    };
    Document::new("06-information", "Information des personnes (modèle)")
        .text(format!("À afficher, à remettre et à publier par chaque partenaire. {TO_COMPLETE} : nom et logo de l'organisme qui informe."))
        .heading("Vos informations servent aussi à compter les besoins, sans donner votre nom")
        .text(format!(
            "Vous êtes connu de nos services. {} participent ensemble à une étude : « {} ». Son but : {}",
            partners.join(", "),
            a.agreement.title,
            words::sentence(&a.agreement.purpose)
        ))
        .text(
            "Pour ne pas vous compter deux fois, un programme remplace votre nom et votre date de naissance, chez nous, par un code dont les autres ne \
             peuvent pas tirer votre nom. Les autres organismes ne reçoivent pas votre dossier. Votre nom ne sort pas de nos services.",
        )
        .text(format!(
            "Deux organismes nous aident, sans voir votre nom : {} compare les codes, {} en fait le compte.",
            a.broker.name, a.custodian.name
        ))
        .text(format!(
            "Les personnes qui font l'étude ({}) voient des lignes sans nom avec quelques renseignements simplifiés, par exemple un mois de naissance. \
             Elles publient des nombres, jamais un cas isolé.",
            analysts.join(", ")
        ))
        .heading("Cela ne change rien à vos droits ni à vos aides")
        .text(uses)
        .heading("Combien de temps")
        .text(format!(
            "Le code est gardé chez nous {} au plus après le dernier mois où vous étiez dans nos listes, et les lignes sans nom {}.",
            words::months(a.retention.archive_months),
            words::months(a.retention.link_tables_months)
        ))
        .heading("Vos droits")
        .list([
            "demander ce que nous avons sur vous et où cela est allé (accès) ;",
            "faire corriger une erreur (rectification) ;",
            "refuser de participer, à tout moment, pour une raison qui tient à votre situation (opposition) : vos lignes sont alors retirées partout, et \
             vous n'êtes plus pris dans les envois suivants ; les nombres déjà publiés ne changent pas ;",
            "demander que vos informations ne soient plus utilisées le temps d'une vérification (limitation).",
        ])
        .text(format!(
            "Parlez-en à l'accueil ou écrivez au délégué à la protection des données : {TO_COMPLETE} (adresse de votre organisme). Chaque organisme ne peut \
             répondre que de ce qu'il sait de vous : si plusieurs vous connaissent, adressez-vous à chacun."
        ))
        .text(format!("Base légale : {}", words::sentence(&a.agreement.legal_basis)))
        .text("Si la réponse ne vous convient pas : Commission nationale de l'informatique et des libertés (CNIL), 3 place de Fontenoy, TSA 80715, 75334 Paris cedex 07, cnil.fr.")
        .heading("Quelles informations, d'où elles viennent")
        .text(format!(
            "Elles viennent de nos propres dossiers. Servent à faire le code : {}. Sont transmis à l'étude, simplifiés : {}.",
            words::plain_fields(&a.identity),
            words::plain_attributes(a)
        ))
        .text(format!("{TO_COMPLETE} : dans quel pays elles sont hébergées."))
}

/// Uses as one sentence goes on: each without its capital and its full stop.
fn lower(uses: &[String]) -> String {
    let one = |text: &String| {
        let mut letters = text.trim().trim_end_matches('.').chars();
        letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
    };
    uses.iter().map(one).collect::<Vec<_>>().join(" ; ")
}
