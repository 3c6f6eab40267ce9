//! Data flows: what goes from which role to which, in what form, and what the recipient learns.

use super::Sources;
use super::document::Document;

/// Every flow of the protocol, with the organisations of this agreement.
pub(super) fn document(sources: &Sources<'_>) -> Document {
    let a = sources.agreement();
    let (broker, custodian) = (&a.broker.name, &a.custodian.name);
    let flow = |from: &str, to: &str, what: &str, learns: &str| [from, to, what, learns].map(str::to_owned);
    let partners = "Chaque partenaire";
    let mut rows = vec![
        flow(
            partners,
            custodian,
            "Points aveuglés de l'OPRF (RFC 9497), un par clé de bloc",
            "Combien d'évaluations ; rien de leur contenu",
        ),
        flow(
            custodian,
            partners,
            "Points évalués, avec une preuve que la clé est la bonne",
            "De quoi faire ses propres jetons, dans la limite de son quota",
        ),
        flow(
            partners,
            broker,
            "Par fiche : une référence fraîche à chaque traitement, des classes de qualité, des jetons et des filtres sous clé ; fiches leurres comprises",
            "Ce que mesure le document « Ce que l'opérateur apprend »",
        ),
        flow(
            partners,
            broker,
            "Contributions à la clé de groupe, commune aux partenaires, scellées pour un autre partenaire et signées",
            "Rien : il les relaie sans pouvoir les ouvrir",
        ),
        flow(
            partners,
            custodian,
            "Par fiche : référence durable aléatoire, présence dans le mois, attributs minimisés et scellés pour chaque équipe d'étude",
            "Nombre exact de fiches et leur présence, par référence ; aucun attribut",
        ),
        flow(
            broker,
            custodian,
            "Groupes de références du traitement, classe et probabilité de chaque lien",
            "Le graphe des liens, par références",
        ),
        flow(
            partners,
            custodian,
            "Décisions sur des paires que deux partenaires ont tranchées ; demandes des personnes (opposition, limitation, rectification), par référence",
            "Quelle référence est visée ; ni qui elle est, ni pourquoi",
        ),
        flow(
            custodian,
            broker,
            "Paires tranchées par leurs propriétaires",
            "Quelles paires de références sont confirmées ou refusées",
        ),
    ];
    for analyst in &a.analyst {
        rows.push(flow(
            custodian,
            &analyst.name,
            "Tables de liens : demi-pseudonymes, attributs scellés pour cette équipe, mois, partenaire, classe de lien ; lignes à retirer à la demande des \
             personnes",
            "Pseudonymes propres à sa finalité et attributs minimisés ; aucun nom, aucun identifiant local ; non le motif d'un retrait",
        ));
        rows.push(flow(
            broker,
            &analyst.name,
            "Nom, mois, état et terme prévu des traitements en cours",
            "Où en sont les traitements",
        ));
        rows.push(flow(
            &analyst.name,
            "Partenaires producteurs et public",
            "Tableaux publiés, après contrôle de divulgation ; aux producteurs d'abord, quand la convention demande leur accord",
            "Des effectifs au-dessus du seuil de la convention",
        ));
    }
    rows.push(flow(
        "Courtier, tiers de confiance, équipes d'étude",
        "Chaque partenaire",
        "Accusés signés des demandes des personnes ; points de contrôle des journaux d'audit, que les partenaires contresignent ; état des traitements",
        "Que la demande a été suivie ; que le journal n'est pas réécrit ; rien d'une fiche",
    ));
    Document::new("02-flux", "Flux de données, rôles et destinataires")
        .text(format!(
            "Toutes les liaisons sont chiffrées et authentifiées des deux côtés (TLS mutuel, un certificat par rôle, nommé dans la convention). \
             Aucun autre flux n'existe : un partenaire ne reçoit jamais de fiche d'un autre. Opérateur et tiers de confiance sont des \
             organismes distincts ({broker} ; {custodian}) : le logiciel ne peut pas les empêcher de mettre leurs données en commun, la \
             convention et les contrats de l'article 28 doivent le leur interdire."
        ))
        .table(["De", "Vers", "Ce qui passe", "Ce que le destinataire apprend"], rows)
        .heading("Qui détient quoi")
        .table(
            ["Donnée", "Détenteur", "Clé sous laquelle elle est au repos"],
            [
                ["Noms et dates de naissance", "Le partenaire seul", "Clé de stockage du partenaire (AES-256-GCM)"],
                ["Archive d'encodages", "Le partenaire seul", "Clé de stockage du partenaire"],
                ["Clé de groupe, commune aux partenaires", "Les partenaires seuls", "Scellée à chacun (HPKE, RFC 9180)"],
                ["Clé de l'OPRF", "Le tiers de confiance seul", "Fichier ou variable de secret du tiers de confiance"],
                ["Jetons et filtres d'un traitement", "L'opérateur, le temps du traitement", "Inutilisables sans les clés des partenaires"],
                ["Registre des personnes, par références", "Le tiers de confiance seul", "Références aléatoires ; attributs scellés"],
                ["Tables pseudonymes", "L'équipe d'étude seule", "Pseudonymes qui demandent les clés des deux côtés"],
            ]
            .map(|row| row.map(str::to_owned)),
        )
}
