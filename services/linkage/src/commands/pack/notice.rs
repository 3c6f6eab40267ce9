//! Model notice for the persons concerned (RGPD, articles 13 and 14), in plain French.

use super::document::{Document, TO_COMPLETE};
use super::{Sources, words};

/// The notice that each partner completes and gives or posts up.
pub(super) fn document(sources: &Sources<'_>) -> Document {
    let a = sources.agreement();
    let partners: Vec<&str> = a.party.iter().map(|p| p.name.as_str()).collect();
    let analysts: Vec<&str> = a.analyst.iter().map(|analyst| analyst.name.as_str()).collect();
    Document::new("06-information", "Information des personnes (modèle)")
        .text(format!("À afficher, à remettre et à publier par chaque partenaire. {TO_COMPLETE} : nom et logo de l'organisme qui informe."))
        .heading("Vos informations servent aussi à compter les besoins, sans donner votre nom")
        .text(format!(
            "Vous êtes connu de nos services. Nous participons avec {} à une étude : « {} ». Son but : {}",
            partners.join(", "),
            a.agreement.title,
            a.agreement.purpose
        ))
        .text(
            "Pour ne pas vous compter deux fois, un programme remplace votre nom et votre date de naissance, chez nous, par un code que personne d'autre \
             ne peut relire. Les autres organismes ne reçoivent pas votre dossier. Votre nom ne sort pas de nos services.",
        )
        .text(format!(
            "Les personnes qui font l'étude ({}) voient des lignes sans nom avec quelques renseignements simplifiés, par exemple un mois de naissance. \
             Elles publient des nombres, jamais un cas isolé.",
            analysts.join(", ")
        ))
        .heading("Cela ne change rien à vos droits ni à vos aides")
        .text("Aucune décision à votre sujet n'est prise avec cette étude. Il est interdit de s'en servir pour vous contrôler.")
        .heading("Combien de temps")
        .text(format!(
            "Le code est gardé chez nous {} au plus après votre dernière visite, et les lignes sans nom {}.",
            words::months(a.retention.archive_months),
            words::months(a.retention.link_tables_months)
        ))
        .heading("Vos droits")
        .list([
            "demander ce que nous avons sur vous et où cela est allé (accès) ;",
            "faire corriger une erreur (rectification) ;",
            "refuser de participer, à tout moment et sans donner de raison particulière autre que votre situation (opposition) : vos lignes sont alors \
             retirées partout, et vous n'êtes plus pris dans les envois suivants ;",
            "demander que vos informations ne soient plus utilisées le temps d'une vérification (limitation).",
        ])
        .text(format!(
            "Parlez-en à l'accueil ou écrivez au délégué à la protection des données : {TO_COMPLETE} (adresse de votre organisme). Base légale : {}",
            a.agreement.legal_basis
        ))
        .text("Si la réponse ne vous convient pas : Commission nationale de l'informatique et des libertés (CNIL), 3 place de Fontenoy, TSA 80715, 75334 Paris cedex 07, cnil.fr.")
        .heading("Si vous avez déjà reçu une information (article 14)")
        .text(format!(
            "Catégories de données concernées : {} ; renseignements transmis à l'étude : {}.",
            words::fields(&a.identity),
            a.travelling_attributes().iter().map(|attribute| attribute.name.clone()).collect::<Vec<_>>().join(", ")
        ))
}
