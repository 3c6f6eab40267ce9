//! Annex to the data protection impact assessment (AIPD; RGPD, article 35), in the order of the CNIL's method (PIA, 2018).

use super::document::{Document, TO_COMPLETE};
use super::{Sources, words};

/// Description, necessity, risks with the measures that answer them; the ratings are the controllers' to give.
pub(super) fn document(sources: &Sources<'_>) -> Document {
    let a = sources.agreement();
    let criteria = [
        "croisement ou combinaison d'ensembles de données",
        "personnes vulnérables",
        "données sensibles ou à caractère hautement personnel",
        "traitement à grande échelle",
    ];
    let risk = |event: &str, source: &str, impact: &str, measures: &str| {
        [
            event.to_owned(),
            source.to_owned(),
            impact.to_owned(),
            measures.to_owned(),
            format!("{TO_COMPLETE} : gravité, vraisemblance"),
        ]
    };
    let mut risks = vec![
        risk(
            "Accès illégitime : noms chez un partenaire",
            "vol de machine, agent non habilité",
            "révélation de l'inscription à un service social",
            "état chiffré ; noms supprimés après le délai de la convention ; droits de fichiers contrôlés au démarrage",
        ),
        risk(
            "Accès illégitime : données de l'opérateur",
            "opérateur curieux, intrusion",
            "similarités sans nom ; pas d'essai de noms possible sans les clés des partenaires et du tiers de confiance",
            "filtres par bloc, OPRF, leurres, suppression après chaque traitement avec certificat ; chiffres mesurés au document 5",
        ),
        risk(
            "Accès illégitime : tables de l'équipe d'étude",
            "analyste curieux, fuite de fichier",
            "une combinaison rare d'attributs peut faire reconnaître une personne par qui la connaît",
            "minimisation ; droit « row-level » réservé ; contrôle de divulgation des tableaux ; traces par personne",
        ),
        risk(
            "Entente de deux organismes",
            "opérateur et partenaire ; tiers de confiance et équipe d'étude",
            "connaissance des autres services qui suivent une personne",
            "séparation des organismes, interdiction à porter dans la convention et les contrats, journaux contresignés ; le logiciel seul ne l'empêche pas",
        ),
        risk(
            "Modification non désirée : faux liens",
            "homonymes, erreurs de saisie, opérateur malveillant",
            "effectifs faux ; aucune décision individuelle n'en dépend",
            "abstention entre homonymes, intervalle d'erreur sur chaque effectif, pages de qualité par traitement",
        ),
        risk(
            "Disparition des données",
            "panne, suppression par erreur",
            "séries interrompues ; les fichiers des partenaires restent la source",
            "écritures atomiques, sauvegarde et restauration par rôle, reprise après arrêt brutal",
        ),
    ];
    if a.party.iter().any(|p| p.profile.is_some()) {
        risks.push(risk(
            "Ré-identification par filtres ou clés comparables entre toutes les fiches",
            "opérateur, intrusion chez lui",
            "ré-identification de la majorité des personnes par les attaques publiées",
            "risque accepté par les signataires dans la convention ; à réduire en faisant livrer des noms à ces partenaires",
        ));
    }
    let attributes = a.travelling_attributes();
    let forbidden = if a.agreement.forbidden_uses.is_empty() {
        "Un pseudonyme par finalité."
    } else {
        "Usages interdits inscrits dans la convention ; un pseudonyme par finalité."
    };
    Document::new("07-aipd", "Annexe à l'analyse d'impact (AIPD)")
        .text(
            "Éléments que la convention et le logiciel permettent d'écrire, dans l'ordre de la méthode de la CNIL. L'appréciation des risques, l'avis du délégué et \
             celui des personnes concernées restent à porter par les responsables du traitement.",
        )
        .heading("Pourquoi une AIPD")
        .text("Critères des lignes directrices WP 248 que le traitement remplit, sous réserve de votre appréciation :")
        .list(criteria)
        .heading("Nécessité et proportionnalité")
        .table(
            ["Principe", "Comment il est respecté"],
            [
                ["Finalité déterminée (article 5, 1, b)".to_owned(), format!("{} {}", words::sentence(&a.agreement.purpose), forbidden)],
                ["Licéité (articles 6, 9, 10)".to_owned(), a.agreement.legal_basis.clone()],
                [
                    "Minimisation (article 5, 1, c)".to_owned(),
                    format!("identité jamais transmise en clair ({}) ; {} attributs transmis, chacun sous une règle", words::fields(&a.identity), attributes.len()),
                ],
                ["Exactitude (article 5, 1, d)".to_owned(), "corrections prises en compte au traitement suivant ; fusions et scissions listées aux équipes d'étude".to_owned()],
                ["Conservation limitée (article 5, 1, e)".to_owned(), "document 3 de ce dossier".to_owned()],
                ["Information et droits (articles 12 à 21)".to_owned(), "document 6 ; accès, rectification, opposition et limitation par « linkage rights », avec reçus signés de chaque rôle".to_owned()],
                ["Sous-traitance (article 28)".to_owned(), format!("{TO_COMPLETE} : contrats de l'opérateur et du tiers de confiance")],
                ["Transferts".to_owned(), format!("{TO_COMPLETE} : hébergement")],
            ],
        )
        .heading("Risques pour les personnes")
        .table(["Événement redouté", "Sources", "Impacts possibles", "Mesures existantes", "Appréciation"], risks)
        .heading("Avis")
        .list([
            format!("{TO_COMPLETE} : avis du délégué à la protection des données."),
            format!("{TO_COMPLETE} : avis des personnes concernées ou de leurs représentants (article 35, 9)."),
            format!("{TO_COMPLETE} : décision et date de revue."),
        ])
}
