//! Header names of French files (and FEBRL's English ones) to canonical columns.
//!
//! Names are compared without accents, case or separators. A name known as a whole is worth 95; one that holds the right
//! words less (see `words`); what the values of the first rows say then raises or lowers it (see `propose`).

pub(crate) use linkage_agreement::{fold, squash};

use super::words;

/// Canonical columns, in the order in which records have them.
pub const CANONICAL: [&str; 30] = [
    "local_id",
    "local_household_id",
    "nom_naissance",
    "nom_usage",
    "prenoms",
    "sexe",
    "date_naissance",
    "code_lieu_naissance",
    "lieu_naissance",
    "pays_naissance",
    "commune_residence",
    "code_postal",
    "nationalite",
    "composition",
    "nb_personnes",
    "nb_enfants",
    "statut",
    "hebergement",
    "ressources",
    "type_accompagnement",
    "date_entree",
    "date_sortie",
    "date_dernier_contact",
    "date_deces",
    "street_number",
    "address_1",
    "address_2",
    "suburb",
    "postcode",
    "state",
];

/// Target of a column that holds names and given names together; gives `nom_naissance`, `nom_usage` and `prenoms`.
pub const FULL_NAME: &str = "nom_complet";

/// Targets of the columns that give `date_naissance` in parts: day, month, year. The year must be there.
pub const BIRTH_PARTS: [&str; 3] = ["jour_naissance", "mois_naissance", "annee_naissance"];

/// Names known as a whole, folded, a blank between them.
const KNOWN: &[(&str, &str)] = &[
    (
        "local_id",
        "localid id ndossier nodossier numdossier numerodossier numerodedossier iddossier idpersonne \
         numpersonne numeropersonne identifiantpersonne matricule matriculecaf matriculeallocataire \
         identifiant identifiantlocal identifiantde idde numerode numallocataire numeroallocataire \
         nallocataire recid recordid idusager numusager idbeneficiaire numbeneficiaire numerobeneficiaire \
         idindividu numindividu codepersonne iddemandeur reference refpersonne ref idinterne numerointerne \
         iddossierpersonne nip ipp idjeune idpatient idadherent nadherent numadherent numeroadherent \
         ippatient idclient codeusager codeadherent numpatient npatient patientid personid clientid",
    ),
    (
        "local_household_id",
        "localhouseholdid nfoyer nofoyer numfoyer numerofoyer idfoyer idmenage menage nmenage nummenage \
         numeromenage matriculefoyer foyer idfamille numfamille numerofamille codefoyer codemenage \
         codefamille identifiantfoyer identifiantmenage dossierfamille dossierfoyer refmenage reffoyer",
    ),
    (
        "nom_naissance",
        "nomnaissance nomdenaissance nomnais nomnaiss nompatronymique patronyme nomfamille nomdefamille \
         surname lastname familyname nomjeunefille nomdejeunefille nomjf",
    ),
    (
        "nom_usage",
        "nomusage nomdusage nomusuel nommarital nomepouse nomdepouse nomepoux nomdepoux nommariage nommarie \
         nomutilise nomdusageoumarital usage",
    ),
    (
        "prenoms",
        "prenoms prenom premierprenom prenom1 listeprenoms givenname givennames firstname \
         forename",
    ),
    (
        FULL_NAME,
        "nomcomplet nomprenom nomprenoms nometprenom nometprenoms nomsetprenoms prenomnom prenometnom \
         fullname identite identitecomplete nomprenomusager nomprenombeneficiaire",
    ),
    ("sexe", "sexe codesexe cdsexe sex gender genre civilite civ codecivilite titre hf fh mf hommefemme"),
    (
        "date_naissance",
        "datenaissance datedenaissance ddn dtnais dtnaiss dtnaissance datenais datenaiss datnais datnaiss \
         dnais naissance neele nele dateofbirth dob birthdate datedenaiss",
    ),
    (
        "code_lieu_naissance",
        "codelieunaissance codecommunenaiss codecommunenaissance codeinseenaissance inseenaissance inseenais \
         inseenaiss codenaissance codelieunais codegeonais codeinseelieunaissance cdcomnais codcomnais",
    ),
    (
        "lieu_naissance",
        "lieunaissance lieudenaissance lieunais lieunaiss villenaissance villedenaissance communenaissance \
         communedenaissance communenaiss libcomnais libellelieunaissance placeofbirth birthplace",
    ),
    ("pays_naissance", "paysnaissance paysdenaissance paysnais paysnaiss libpaysnais countryofbirth birthcountry"),
    (
        "commune_residence",
        "communeresidence communederesidence commune communeinsee inseeresid inseeresidence communeresid \
         codeinseeresidence codecommuneresidence codeinsee codecommune insee ville villeresidence residence \
         depcom communeactuelle communedomicile communededomiciliation communerattachement",
    ),
    ("code_postal", "codepostal cp codpostal cdpostal cpostal"),
    ("nationalite", "nationalite nat nation codenationalite cdnat libnationalite groupenationalite nationality"),
    (
        "composition",
        "composition situationfamiliale sitfam sitfamiliale compositionmenage compositionfamiliale \
         compositionfoyer typemenage typologiemenage typologie",
    ),
    (
        "nb_personnes",
        "nbpersonnes nbpersonnesaufoyer nbpersonnesfoyer nbpersonnesmenage nbpers nbpersfoyer nombrepersonnes \
         nombredepersonnes nombredepersonnesaufoyer taillemenage taillefoyer",
    ),
    (
        "nb_enfants",
        "nbenfants nbenf nombreenfants nombredenfants enfants enfantsacharge nbenfantsacharge \
         nombredenfantsacharge",
    ),
    ("statut", "statut statutprofessionnel situationprofessionnelle sitpro statutemploi situationemploi"),
    (
        "hebergement",
        "hebergement logement situationhebergement situationlogement typelogement typehebergement \
         modehebergement situationresidentielle statutlogement conditionlogement",
    ),
    (
        "ressources",
        "ressources ressourcesmensuelles ressmens ressourcestranche trancheressources revenus revenu \
         revenusmensuels montantressources totalressources",
    ),
    (
        "type_accompagnement",
        "typeaccompagnement typedaccompagnement typedaide typeaide typedemande typededemande dispositif \
         prestation modalitesuivi accompagnement mesure typemesure typeprestation aide",
    ),
    (
        "date_entree",
        "dateentree datedentree dateouverture datedouverture datedebut datededebut dtdebut dtentree dtouv \
         dateinscription datedinscription dateadmission",
    ),
    (
        "date_sortie",
        "datesortie datedesortie datefermeture datedefermeture datefin datedefin dtfin dtsortie dtferm \
         datecessation dateradiation",
    ),
    // How long a record is kept (agreement, [retention]); never an identity or an attribute.
    (
        "date_dernier_contact",
        "datederniercontact dateduderniercontact datedudernierpassage dtderniercontact dtdercontact datedernierpassage lastcontact",
    ),
    ("date_deces", "datedeces datededeces datedudeces dtdeces decedele dateofdeath deathdate"),
    ("street_number", "streetnumber"),
    ("address_1", "address1"),
    ("address_2", "address2"),
    ("suburb", "suburb"),
    ("postcode", "postcode"),
    ("state", "state"),
];

/// Columns never taken, whatever else they are called.
const FORBIDDEN: &[&str] = &[
    "numsecu",
    "numerosecu",
    "securitesociale",
    "assurancemaladie",
    "socsec",
    "socialsecurity",
    "numss",
    "telephone",
    "portable",
    "courriel",
    "email",
];

/// Words that make a column one that is never taken.
const FORBIDDEN_WORDS: &[&str] =
    &["nir", "nia", "nss", "ssn", "secu", "tel", "phone", "gsm", "mobile", "fax", "mail", "mel", "iban", "bic", "rib"];

/// Canonical columns that `header` may stand for, with a confidence in percent, best first; empty when none.
pub(crate) fn candidates(header: &str) -> Vec<(&'static str, u8)> {
    let key = squash(header);
    if key.is_empty() || forbidden(header) {
        return Vec::new();
    }
    // A title tells the sex less well than a column of its own.
    let worth = if key.starts_with("civ") || key == "titre" { 90 } else { 95 };
    let known: Vec<_> = KNOWN
        .iter()
        .filter(|(_, names)| names.split_ascii_whitespace().any(|name| name == key))
        .map(|(target, _)| (*target, worth))
        .collect();
    if !known.is_empty() {
        return known;
    }
    match key.as_str() {
        // Both are settled by what else the file has.
        "nom" | "name" => return vec![("nom_naissance", 80), ("nom_usage", 70)],
        "dossier" => return vec![("local_household_id", 75), ("local_id", 70)],
        _ => {}
    }
    words::candidates(header)
}

/// Whether a column holds what no agreement may ask for (social security number, telephone, address of mail or bank).
pub(crate) fn forbidden(header: &str) -> bool {
    let key = squash(header);
    FORBIDDEN.iter().any(|name| key.contains(name))
        || words::words(header).iter().any(|word| FORBIDDEN_WORDS.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn french_headers_find_their_column() {
        let cases = [
            ("N° dossier", "local_id"),
            ("Nom de jeune fille", "nom_naissance"),
            ("NOM_MARITAL", "nom_usage"),
            ("DTNAIS", "date_naissance"),
            ("IDENTIFIANT_DE", "local_id"),
            ("id_menage", "local_household_id"),
            ("INSEE_RESID", "commune_residence"),
            ("Civilité", "sexe"),
            ("LIEUNAIS", "lieu_naissance"),
            ("SITFAM", "composition"),
            ("Date naissance (JJ/MM/AAAA)", "date_naissance"),
            ("Nom et prénom du bénéficiaire", FULL_NAME),
            ("Prénom de l'usager", "prenoms"),
            ("Nº de la personne", "local_id"),
            ("DATE DE SORTIE DU DISPOSITIF", "date_sortie"),
            ("given_name", "prenoms"),
            ("rec_id", "local_id"),
        ];
        for (header, target) in cases {
            assert_eq!(candidates(header).first().map(|c| c.0), Some(target), "{header}");
        }
    }

    #[test]
    fn other_headers_find_none() {
        for header in [
            "ROLE",
            "",
            "12/03/1980",
            "Observations",
            "NIR",
            "NIR usager",
            "soc_sec_id",
            "N° de sécurité sociale",
            "Téléphone de la personne",
            "Tél. patient",
            "Adresse mail",
        ] {
            assert_eq!(candidates(header), [], "{header}");
        }
    }

    #[test]
    fn every_target_is_one_of_the_mapping() {
        for target in KNOWN.iter().map(|k| k.0).chain(words::targets()) {
            assert!(target == FULL_NAME || BIRTH_PARTS.contains(&target) || CANONICAL.contains(&target), "{target}");
        }
    }
}
