//! The retention table, from the agreement.

use super::document::Document;
use super::{Sources, words};

/// Every class of data, how long it is kept and who deletes it.
pub(super) fn document(sources: &Sources<'_>) -> Document {
    let a = sources.agreement();
    let r = &a.retention;
    let row = |data: &str, place: &str, term: String, key: &str| [data.to_owned(), place.to_owned(), term, key.to_owned()];
    let mut rows = vec![
        row(
            "Noms et dates tels que livrés",
            "Partenaire",
            format!("{} après la prise en charge de la livraison", words::days(r.names_days)),
            "names_days",
        ),
        row(
            "Archive chiffrée d'encodages",
            "Partenaire",
            format!("{} après la dernière livraison de la fiche", words::months(r.archive_months)),
            "archive_months",
        ),
        row(
            "Registre des personnes, par références",
            "Tiers de confiance",
            format!("{} après la dernière livraison de la fiche", words::months(r.archive_months)),
            "archive_months",
        ),
        row(
            "Jetons et filtres d'un traitement",
            "Opérateur",
            format!("{} au plus après la clôture", words::days(r.encodings_days)),
            "encodings_days",
        ),
        row(
            "Traitement ouvert qui ne s'est pas terminé",
            "Opérateur, tiers de confiance",
            format!("{} après son ouverture", words::days(r.open_runs_days())),
            "open_runs_days",
        ),
        row(
            "Tables de liens et attributs",
            "Tiers de confiance, équipes d'étude",
            format!("{} après le mois concerné", words::months(r.link_tables_months)),
            "link_tables_months",
        ),
        row(
            "Journaux d'audit et des accès",
            "Tous les rôles",
            format!("{} glissants", words::months(r.access_log_months)),
            "access_log_months",
        ),
        row("Journal technique", "Tous les rôles", words::days(r.system_log_days), "system_log_days"),
        row("Tableaux publiés et journal des publications", "Équipes d'étude", "publics : conservés".to_owned(), "(aucune)"),
    ];
    if let Some(months) = r.last_contact_months {
        rows.push(row(
            "Fiche d'une personne sans contact",
            "Partenaire",
            format!("{} après le dernier contact", words::months(months)),
            "last_contact_months",
        ));
    }
    if let Some(months) = r.deceased_months {
        rows.push(row(
            "Fiche d'une personne décédée",
            "Partenaire",
            format!("{} après le décès", words::months(months)),
            "deceased_months",
        ));
    }
    rows.push(row(
        "Liste d'opposition (condensats à clé, sans nom)",
        "Partenaire",
        "survit à la fiche qu'elle tient à l'écart".to_owned(),
        "(aucune)",
    ));
    rows.push(row(
        "Tout ce qui précède, à la fin ou à la dénonciation de la convention",
        "Tous les rôles",
        match r.after_end_days() {
            0 => format!("dès le lendemain du {}", words::day(a.agreement.end)),
            days => format!("{} après le {}", words::days(days), words::day(a.agreement.end)),
        },
        "after_end_days",
    ));
    Document::new("03-conservation", "Durées de conservation")
        .text(
            "Les durées sont celles de la convention signée. Chaque rôle les applique de lui-même et signe, pour chaque suppression, un \
             certificat que « linkage certificate verify » vérifie.",
        )
        .table(["Données", "Où", "Durée", "Clé de la convention"], rows)
        .text(
            "Une suppression efface les lignes des bases et les fichiers ; elle ne peut pas atteindre les sauvegardes déjà faites : leur \
             durée de vie est à fixer au plus à la durée de la classe la plus courte qu'elles contiennent.",
        )
}
