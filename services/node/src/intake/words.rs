//! Headers that no dictionary holds, read word by word.
//!
//! A header is cut into words (blanks, signs, capitals inside a word, letters from digits; a word nobody knows is cut
//! again if known words fill it). A rule names its target, the groups of words that must be there and the words that
//! may be. What else stands in the header decides: words that say whose column it is ("usager", "patient") or lead from
//! one to the next are free, words that another rule lives on ("naissance" in "code postal de naissance") or that speak
//! of another person or thing ("référent", "mère", "création") refuse the rule, unknown words lower its worth.

use std::sync::OnceLock;

use super::headers::{FULL_NAME, fold};

/// Worth of a header of known words only; a rule may be worth less.
const KNOWN_WORDS: u8 = 85;
/// What each unknown word takes away, two at most.
const UNKNOWN_WORD: u8 = 12;

/// Words with a blank between, one of which must be there; `*` stands for any ending.
type Group = &'static str;

struct Rule {
    target: &'static str,
    worth: u8,
    all: &'static [Group],
    may: Group,
    /// No unknown word beside.
    whole: bool,
}

const fn rule(target: &'static str, all: &'static [Group], may: Group) -> Rule {
    Rule { target, worth: KNOWN_WORDS, all, may, whole: false }
}

impl Rule {
    const fn worth(mut self, worth: u8) -> Self {
        self.worth = worth;
        self
    }
    const fn whole(mut self) -> Self {
        self.whole = true;
        self
    }
}

const NAME: Group = "nom noms name";
const GIVEN: Group = "prenom prenoms forename forenames";
const FURTHER: Group = "\
    2 3 4 5 deuxieme second seconde troisieme quatrieme autre autres middle suivant suivants secondaire secondaires";
const USUAL: Group = "usage usuel usuelle utilise utilisee courant prefere choisi preferred used";
const BIRTH: Group = "naiss* nais birth birthdate birthday";
const BORN: Group = "ne nee";
const DATE: Group = "date dates dat dt";
const CODE: Group = "code codes cod cd insee cog";
const TOWN: Group = "commune communes ville villes com localite municipalite city town insee";
const LIVES: Group = "resid* domicil* actuel actuelle habit* adresse rattach* vie logement hebergement home";
const IDENTIFIER: Group = "\
    id ident identifiant identification identifier num numero no n nr number matricule code cod ref refs reference \
    cle";
const HOUSEHOLD: Group = "menage* foyer* famil* fam household";
const COUNT: Group = "nb nbr nbre nombre";
const ENTRY: Group = "\
    entree entrees entr debut deb ouv ouvert* inscription inscrit inscrite admission admis arriv* start begin entry";
const EXIT: Group = "sortie sorties sort fin ferm* cess* clot* depart radiation end exit echeance";
const VISIT: Group = "passage contact visite rdv rendez accueil consultation venue";
const STAY: Group = "\
    dispositif accompagnement mesure suivi prise charge structure service parcours prestation hebergement dossier \
    droit droits programme centre etablissement";
const DATE_FORMAT: Group = "jj mm aaaa jjmmaaaa aaaammjj dd yyyy format iso";
const LABEL: Group = "code cod cd lib libelle nom type groupe";
const DAY: Group = "jour jj day";
const MONTH: Group = "mois month";
const YEAR: Group = "annee an year aaaa";

const RULES: &[Rule] = &[
    rule("date_naissance", &[DATE, BIRTH], DATE_FORMAT),
    rule("date_naissance", &["ddn dob dnais dnaiss dtnais dtnaiss datnais datnaiss birthdate"], DATE_FORMAT),
    rule("date_naissance", &[BIRTH], DATE_FORMAT).worth(78).whole(),
    rule("date_naissance", &[BORN, "le"], DATE_FORMAT).worth(80).whole(),
    rule("jour_naissance", &[DAY, BIRTH], "j").whole(),
    rule("mois_naissance", &[MONTH, BIRTH], "mm m").whole(),
    rule("annee_naissance", &[YEAR, BIRTH], "aaaa").whole(),
    rule("pays_naissance", &["pays country", "naiss* nais birth origine origin"], LABEL),
    rule("code_lieu_naissance", &[CODE, BIRTH], "lieu ville commune com ou pays geographique place"),
    rule("lieu_naissance", &["lieu ville commune com localite place city town", BIRTH], "lib libelle nom"),
    rule("lieu_naissance", &[BORN, "a"], "").worth(75).whole(),
    rule(FULL_NAME, &[NAME, GIVEN], "complet usage naissance famille"),
    rule(FULL_NAME, &["identite"], "complete").worth(75).whole(),
    rule(FULL_NAME, &[NAME, "complet complets full"], ""),
    rule("nom_naissance", &[NAME, "naiss* nais birth fille jf patron* famille family maiden last"], ""),
    rule("nom_naissance", &["surname patronyme lastname"], "famille").worth(80),
    rule(
        "nom_usage",
        &[NAME, "usage usuel utilise used preferred marit* marie mariee mariage married epou* ep epx courant"],
        "conjugal",
    ),
    // Which of the two is settled by what else the file has.
    rule("nom_naissance", &[NAME], "majuscule majuscules").worth(78).whole(),
    rule("nom_usage", &[NAME], "majuscule majuscules").worth(68).whole(),
    rule("prenoms", &[GIVEN], "premier 1 etat civil complet complets liste tous naissance"),
    rule("prenoms", &["given first", "name names"], ""),
    rule("prenoms", &[GIVEN, USUAL], "").worth(68),
    rule("prenoms", &["prenom prenoms forename forenames name names", FURTHER], "").worth(65).whole(),
    rule("sexe", &["sexe sex gender genre"], LABEL),
    rule("sexe", &["civilite civ"], LABEL).worth(80),
    rule("sexe", &["h m homme masculin", "f femme feminin"], "sexe").worth(80).whole(),
    rule("nationalite", &["nationalit* citoyennete"], "code cd lib libelle groupe ue pays"),
    rule("code_postal", &["cp zip postcode"], "code ville commune resid* domicil* actuel adresse"),
    rule("code_postal", &["code cod cd", "postal"], "ville commune resid* domicil* actuel adresse"),
    rule(
        "commune_residence",
        &["commune ville insee com lieu city town depcom", LIVES],
        "code cod cd lib libelle nom cog commune ville insee",
    ),
    rule("commune_residence", &[TOWN], "code cod cd lib libelle nom cog").worth(80).whole(),
    rule("composition", &["situation sit compo composition type typologie configuration", HOUSEHOLD], "code"),
    rule(
        "nb_personnes",
        &[COUNT, "pers personne personnes membre membres occupant occupants"],
        "foyer menage famille logement total composant",
    )
    .whole(),
    rule("nb_personnes", &["taille", HOUSEHOLD], "").whole(),
    rule("nb_personnes", &["pers"], "foyer menage famille").worth(70).whole(),
    rule("nb_enfants", &[COUNT, "enf enfant enfants children"], "charge foyer menage mineur mineurs"),
    rule("date_entree", &[DATE, ENTRY], STAY),
    rule("date_entree", &[ENTRY], STAY).worth(72).whole(),
    rule("date_entree", &["premier premiere 1", VISIT], "date er").worth(60).whole(),
    rule("date_sortie", &[DATE, EXIT], STAY),
    rule("date_sortie", &[EXIT], STAY).worth(72).whole(),
    rule("date_sortie", &["dernier derniere", VISIT], "date").worth(60).whole(),
    rule("local_household_id", &[IDENTIFIER, HOUSEHOLD], "dossier unique logement"),
    rule(
        "local_id",
        &[
            IDENTIFIER,
            "personne personnes pers dossier dos usager jeune patient benef beneficiaire adherent allocataire alloc \
             individu individuel demandeur interne fiche client assure resident candidat stagiaire participant local unique \
             record person enregistrement",
        ],
        "permanent",
    ),
    rule("local_id", &["ipp nip"], "identifiant permanent"),
    rule("local_id", &["id ident identifiant matricule ref reference num numero n no"], "unique").worth(72).whole(),
    rule(
        "hebergement",
        &["heberg* logement habitat housing"],
        "mode type situation sit statut nature condition* code lib libelle actuel actuelle",
    )
    .worth(75),
    rule("statut", &["statut situation sit", "pro profession* emploi activite travail employment"], "code"),
    rule("statut", &["situation statut"], "actuelle actuel").worth(60).whole(),
    rule("ressources", &["ressourc* ress revenu* income"], "mensuel* mens tranche montant total* foyer menage net nets"),
    rule(
        "type_accompagnement",
        &["accompagnement dispositif prestation mesure suivi programme service uf aide"],
        "type nature mode modalite lib libelle code demande demandee",
    )
    .worth(62)
    .whole(),
];

/// Words that lead from one to the next, and words for the person that the row is about.
const FREE: Group = "\
    de du des d l la le les un une a au aux et ou en sur pour dans actuel actuelle e s er ere eme of the personne \
    personnes pers usager usagers usagere jeune jeunes patient patiente patients beneficiaire beneficiaires benef \
    adherent adherente adherents allocataire alloc individu demandeur demandeuse client cliente resident assure \
    accueilli accueillie accompagne accompagnee suivie heberge hebergee domicilie domiciliee concernee stagiaire \
    candidat participant person";

/// Words for another person, or for something else than the person's identity and stay.
const OTHER: Group = "\
    pere mere parent parents parental conjoint conjointe concubin partenaire enfant enfants frere soeur tuteur \
    tutrice curateur tutelle mandataire representant representante aidant proche prevenir contact referent referente \
    referents responsable conseiller conseillere intervenant intervenante travailleur travailleuse assistant \
    assistante social sociale agent agents gestionnaire instructeur instructrice prescripteur orienteur orientation \
    interlocuteur utilisateur operateur redacteur medecin docteur traitant structure antenne site agence organisme \
    association etablissement employeur entreprise ecole banque bailleur proprietaire service equipe centre creation \
    cree creee modification modif modifie maj jour saisie export extraction edition envoi signature import deces \
    decede mariage divorce naturalisation sejour titre carte passeport piece permis visa france territoire contrat \
    bail surnom pseudo alias mother father spouse partner worker doctor created updated modified emergency next kin \
    guardian";

/// The words of a header, folded.
pub(super) fn words(header: &str) -> Vec<String> {
    let header = header.replace("(e)", "e").replace("(E)", "E").replace("(s)", "").replace("(S)", "");
    let mut spaced = String::with_capacity(header.len() + 8);
    let mut before: Option<char> = None;
    for letter in header.chars() {
        let turns = before.is_some_and(|b| {
            (b.is_lowercase() && letter.is_uppercase())
                || (b.is_alphabetic() && letter.is_ascii_digit())
                || (b.is_ascii_digit() && letter.is_alphabetic())
        });
        if turns {
            spaced.push(' ');
        }
        spaced.push(letter);
        before = Some(letter);
    }
    let folded = fold(&spaced);
    folded.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).flat_map(cut).collect()
}

/// A word that nobody knows, cut into known ones when they fill it.
fn cut(word: &str) -> Vec<String> {
    let known = vocabulary();
    if word.len() < 5 || known.iter().any(|k| fits(k, word)) {
        return vec![word.to_owned()];
    }
    // The words that fill the first `i` bytes, the last word as long as can be.
    let mut filled: Vec<Option<Vec<String>>> = vec![Some(Vec::new())];
    for end in 1..=word.len() {
        let found = (0..end.saturating_sub(1)).find_map(|from| {
            let part = word.get(from..end)?;
            let mut parts = filled.get(from)?.clone()?;
            known.iter().any(|k| k.trim_end_matches('*') == part).then(|| {
                parts.push(part.to_owned());
                parts
            })
        });
        filled.push(found);
    }
    filled.pop().flatten().unwrap_or_else(|| vec![word.to_owned()])
}

fn vocabulary() -> &'static Vec<&'static str> {
    static WORDS: OnceLock<Vec<&'static str>> = OnceLock::new();
    WORDS.get_or_init(|| {
        let ruled = RULES.iter().flat_map(|rule| rule.all.iter().chain([&rule.may]));
        ruled.chain([&FREE, &OTHER]).flat_map(|group| group.split_ascii_whitespace()).filter(|word| word.len() > 1).collect()
    })
}

/// Whether `word` is what a group's `pattern` says.
fn fits(pattern: &str, word: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == word, |start| word.starts_with(start))
}

fn holds(group: Group, word: &str) -> bool {
    group.split_ascii_whitespace().any(|pattern| fits(pattern, word))
}

/// Targets that the header's words may stand for, with a confidence in percent, best first, two at most.
pub(super) fn candidates(header: &str) -> Vec<(&'static str, u8)> {
    let words = words(header);
    let mut found: Vec<(&'static str, u8)> = Vec::new();
    for rule in RULES {
        if let Some(worth) = worth(rule, &words)
            && !found.iter().any(|(target, _)| *target == rule.target)
        {
            found.push((rule.target, worth));
        }
    }
    found.sort_by_key(|(_, worth)| u8::MAX - worth);
    found.truncate(2);
    found
}

fn worth(rule: &Rule, words: &[String]) -> Option<u8> {
    if !rule.all.iter().all(|group| words.iter().any(|word| holds(group, word))) {
        return None;
    }
    let mut unknown = 0u8;
    for word in words {
        if rule.all.iter().any(|group| holds(group, word)) || holds(rule.may, word) || holds(FREE, word) {
            continue;
        }
        let elsewhere = RULES.iter().any(|other| other.all.iter().any(|group| holds(group, word)));
        if elsewhere || holds(OTHER, word) || rule.whole {
            return None;
        }
        unknown = unknown.saturating_add(1);
    }
    Some(rule.worth.saturating_sub(UNKNOWN_WORD * unknown.min(2)))
}

/// Every target that a rule names.
#[cfg(test)]
pub(super) fn targets() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.target)
}

/// Whether the header speaks of another person or of something else than the person: never taken, not by its values either.
pub(super) fn other(header: &str) -> bool {
    words(header).iter().any(|word| holds(OTHER, word))
}

/// Whether the header is a name without a word on which: "Nom", "Nom de l'usager".
pub(super) fn bare_name(header: &str) -> bool {
    let words = words(header);
    words.iter().any(|w| holds(NAME, w)) && words.iter().all(|w| holds(NAME, w) || w.starts_with("majuscule") || holds(FREE, w))
}

/// Whether the header holds given names after the first: "Prénom 2", "Autres prénoms".
pub(super) fn further_given(header: &str) -> bool {
    words(header).iter().any(|word| holds(FURTHER, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(header: &str) -> Option<&'static str> {
        candidates(header).first().map(|c| c.0)
    }

    #[test]
    fn headers_are_read_word_by_word() {
        let cases = [
            ("Identifiant jeune", "local_id"),
            ("N° de l'adhérent(e)", "local_id"),
            ("NUMDOSSIERUSAGER", "local_id"),
            ("Ref. bénéficiaire", "local_id"),
            ("N° dossier familial", "local_household_id"),
            ("Code foyer", "local_household_id"),
            ("Nom utilisé", "nom_usage"),
            ("Nom (marital)", "nom_usage"),
            ("Nom d'épouse", "nom_usage"),
            ("Nom de la jeune fille", "nom_naissance"),
            ("Nom du jeune", "nom_naissance"),
            ("NomUsager", "nom_naissance"),
            ("Prénoms état civil", "prenoms"),
            ("Prénom 2", "prenoms"),
            ("Middle name", "prenoms"),
            ("DDN patient", "date_naissance"),
            ("Né(e) le", "date_naissance"),
            ("Né-e le", "date_naissance"),
            ("DateNaissanceUsager", "date_naissance"),
            ("Année de naissance", "annee_naissance"),
            ("Jour naissance", "jour_naissance"),
            ("Né(e) à", "lieu_naissance"),
            ("Commune ou pays de naissance (INSEE)", "code_lieu_naissance"),
            ("Pays d'origine", "pays_naissance"),
            ("Code pays de naissance", "pays_naissance"),
            ("H/F", "sexe"),
            ("CP résidence", "code_postal"),
            ("Commune (INSEE)", "commune_residence"),
            ("Pers.", "nb_personnes"),
            ("Entrée", "date_entree"),
            ("Premier passage", "date_entree"),
            ("Fin de prise en charge", "date_sortie"),
            ("Date de clôture du dossier", "date_sortie"),
        ];
        for (header, target) in cases {
            assert_eq!(best(header), Some(target), "{header} {:?}", words(header));
        }
    }

    #[test]
    fn other_people_and_other_dates_are_refused() {
        for header in [
            "Nom du référent",
            "Nom de naissance de la mère",
            "Prénom père",
            "PRENOMCONJOINT",
            "Nom de jeune fille de la mère",
            "Date de naissance du conjoint",
            "Nom du médecin traitant",
            "Nom structure",
            "Code antenne",
            "N° conseiller",
            "Personne à contacter : nom",
            "Date de création",
            "Date de mise à jour",
            "Date d'entrée en France",
            "Date de fin de titre de séjour",
            "Code postal de naissance",
            "CP employeur",
            "Nom de la commune d'accueil du public",
            "Surnom",
            "Nombre",
            "Financement",
            "Suivi par",
            "Adresse postale",
            "Mother's maiden name",
        ] {
            assert_eq!(candidates(header), [], "{header} {:?}", words(header));
        }
    }

    #[test]
    fn glued_words_come_apart_only_when_known_words_fill_them() {
        assert_eq!(words("DATECREATION"), ["date", "creation"]);
        assert_eq!(words("prenom2"), ["prenom", "2"]);
        assert_eq!(words("DENOMINATION"), ["denomination"]);
        assert_eq!(words("Né(e) le"), ["nee", "le"]);
        assert_eq!(words("N°"), ["n"]);
        assert!(words("").is_empty());
    }

    #[test]
    fn free_words_are_no_other_persons() {
        assert!(FREE.split_ascii_whitespace().all(|word| !holds(OTHER, word)));
        assert!(bare_name("Nom de l'usager") && bare_name("NOM") && !bare_name("Nom de naissance") && !bare_name("Usager"));
    }
}
