//! Entry for the register of processing activities (RGPD, article 30).

use super::document::{Document, TO_COMPLETE};
use super::{Sources, words};

/// The register entry that every controller copies into its own register; the last section is for processors.
pub(super) fn document(sources: &Sources<'_>) -> Document {
    let a = sources.agreement();
    let terms = &a.agreement;
    let controllers = a.party.iter().map(|p| [p.name.clone(), p.id.to_string(), p.dpo_contact.clone()]);
    let identity = words::fields(&a.identity);
    let attributes = a.attribute.iter().map(|attribute| [attribute.name.clone(), words::rule(&attribute.rule)]);
    let analysts = a
        .analyst
        .iter()
        .map(|analyst| [analyst.name.clone(), analyst.dpo_contact.clone(), analyst.purpose.clone(), words::rights(analyst)]);
    let document = Document::new("01-registre", "Fiche de registre (RGPD, article 30)")
        .text(format!(
            "Convention « {} », identifiant {}, version {}, empreinte {}. Fiche établie le {}.",
            terms.title,
            terms.id,
            terms.version,
            hex::encode(sources.signed.hash().as_bytes()),
            words::day(sources.today)
        ))
        .heading("Responsables du traitement")
        .text(
            "Chaque partenaire est responsable du traitement de son propre fichier. Pour le rapprochement, dont ils fixent ensemble \
             finalités et moyens par la convention, ils sont responsables conjoints (article 26).",
        )
        .table(["Organisme", "Identifiant", "Délégué à la protection des données"], controllers)
        .text(format!("{TO_COMPLETE} : adresse, téléphone et représentant de chaque organisme."))
        .text(format!(
            "Accord des responsables conjoints (article 26, 1) : la convention dit qui fournit et qui reçoit quoi, pour quelle durée ; \
             {TO_COMPLETE} : qui informe les personnes et qui répond à leurs demandes."
        ))
        .heading("Finalités")
        .text(words::sentence(&terms.purpose));
    let document = if terms.forbidden_uses.is_empty() {
        document.text("La convention n'interdit expressément aucun autre usage.")
    } else {
        document.text("Usages que la convention interdit à tous les destinataires :").list(terms.forbidden_uses.clone())
    };
    document
        .heading("Base légale")
        .text(words::sentence(&terms.legal_basis))
        .heading("Catégories de personnes concernées")
        .text(format!(
            "Personnes inscrites dans les fichiers des partenaires pour un mois compris entre {} et la fin de la convention, {} ; \
             certaines en situation de vulnérabilité. {TO_COMPLETE} : publics accueillis, mineurs compris ou non.",
            terms.first_period,
            words::day(terms.end)
        ))
        .heading("Catégories de données")
        .text(format!(
            "Données d'identité, lues chez le partenaire et qui n'en sortent jamais en clair : {identity}. Elles y sont transformées \
             en jetons et en filtres sous clés. L'identifiant local n'en sort pas : une référence tirée au hasard le remplace ; la \
             référence de ménage n'en sort que sous un condensat à clé propre au partenaire."
        ))
        .text("Attributs transmis aux équipes d'étude, après la minimisation que le logiciel du partenaire applique :")
        .table(["Colonne du fichier", "Ce qui en est transmis"], attributes)
        .text(format!(
            "Données des articles 9 et 10 : {TO_COMPLETE} (l'inscription même dans certains fichiers peut révéler une donnée de santé \
             ou une situation pénale)."
        ))
        .heading("Destinataires")
        .text(format!(
            "Opérateur du rapprochement : {} ({}). Il reçoit jetons et filtres, jamais un nom, une clé ou un attribut.",
            a.broker.name, a.broker.dpo_contact
        ))
        .text(format!(
            "Tiers de confiance : {} ({}). Il reçoit des références aléatoires, des attributs scellés qu'il ne peut ouvrir, et tient le \
             registre qui dit quelles références sont d'une même personne.",
            a.custodian.name, a.custodian.dpo_contact
        ))
        .table(["Équipe d'étude", "Délégué à la protection des données", "Finalité des pseudonymes", "Droits"], analysts)
        .heading("Transferts hors de l'Union européenne")
        .text(format!(
            "Le logiciel n'appelle aucun service extérieur aux rôles ci-dessus. {TO_COMPLETE} : lieu d'hébergement de chaque rôle."
        ))
        .heading("Durées de conservation")
        .text("Voir le document « Durées de conservation » du présent dossier ; les durées viennent de la convention signée.")
        .heading("Mesures de sécurité (article 32)")
        .text("Voir le document « Mesures de sécurité » du présent dossier.")
        .heading("Registre des sous-traitants (article 30, 2)")
        .text(format!(
            "À reprendre par l'opérateur du rapprochement et par le tiers de confiance : catégories de traitements effectués pour le \
             compte des responsables (appariement pseudonyme ; tenue du registre et évaluation sous clé), responsables ci-dessus, mêmes \
             durées, mesures et transferts. Contrat de l'article 28, 3 : {TO_COMPLETE} (référence et date)."
        ))
}
