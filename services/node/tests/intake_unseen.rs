//! Files of parties never seen, in the manner of many French and English exports: the proposal is accepted as it stands
//! and must map every column. People are made up from common names; the rows are generated here.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use std::path::{Path, PathBuf};

use linkage_agreement::ids::PartyId;
use linkage_node::intake::{Intake, IntakeError, IntakeLine, MappingError, MappingProposal, propose};

const SURNAMES: [&str; 12] = [
    "Dupont", "Lefebvre", "Diallo", "Moreau", "Benali", "Le Goff", "Garcia", "Traoré", "Fontaine", "Nguyen", "Roussel",
    "Da Silva",
];
const GIVEN: [&str; 9] = ["Marie", "Mamadou", "Nathalie", "Jean-Pierre", "Fatoumata", "Kevin", "Sophie", "Ahmed", "Christine"];
const TOWNS: [(&str, &str, &str); 4] =
    [("Montpellier", "34172", "34000"), ("Béziers", "34032", "34500"), ("Nîmes", "30189", "30000"), ("Sète", "34301", "34200")];
const ROWS: usize = 24;

/// What a column of a made-up file holds.
#[derive(Clone, Copy)]
enum V {
    Id(&'static str),
    Shared(&'static str),
    Surname,
    Usage,
    Given,
    Given2,
    Full,
    OtherSurname,
    OtherGiven,
    Sex(&'static str, &'static str),
    Born,
    BornIso,
    BornCompact,
    Day,
    Month,
    Year,
    OtherBorn,
    Recent,
    RecentOrBlank,
    Town,
    Insee,
    Postcode,
    Country,
    Nationality,
    Count,
    Amount,
    Nir,
    Phone,
    Mail,
    Text(&'static [&'static str]),
    Blank,
}

fn cell(kind: V, row: usize) -> String {
    let pick = |list: &[&'static str], step: usize| list[row * step % list.len()].to_owned();
    let (day, month, year) = (row * 7 % 28 + 1, row * 5 % 12 + 1, 1941 + row * 17 % 70);
    let town = TOWNS[row * 3 % TOWNS.len()];
    match kind {
        V::Id(start) => format!("{start}{:05}", 10_417 + row * 37),
        V::Shared(start) => format!("{start}{:04}", 2000 + row / 3),
        V::Surname => pick(&SURNAMES, 5),
        V::Usage if row.is_multiple_of(4) => pick(&SURNAMES, 7),
        V::Given => pick(&GIVEN, 1),
        V::Given2 if row.is_multiple_of(3) => pick(&GIVEN, 4),
        V::Full => format!("{} {}", pick(&SURNAMES, 5).to_uppercase(), pick(&GIVEN, 1)),
        V::OtherSurname => pick(&SURNAMES, 11),
        V::OtherGiven => pick(&GIVEN, 5),
        V::Sex(man, woman) => if [1, 3, 5, 7].contains(&(row % GIVEN.len())) { man } else { woman }.to_owned(),
        V::Born => format!("{day:02}/{month:02}/{year}"),
        V::BornIso => format!("{year}-{month:02}-{day:02}"),
        V::BornCompact => format!("{year}{month:02}{day:02}"),
        V::Day => day.to_string(),
        V::Month => month.to_string(),
        V::Year => year.to_string(),
        V::OtherBorn => format!("{day:02}/{month:02}/{}", 1925 + row * 13 % 40),
        V::Recent => format!("{day:02}/{month:02}/2023"),
        V::RecentOrBlank if row.is_multiple_of(2) => format!("{day:02}/{month:02}/2024"),
        V::Town => town.0.to_owned(),
        V::Insee => town.1.to_owned(),
        V::Postcode => town.2.to_owned(),
        V::Country => pick(&["France", "Sénégal", "Maroc", "France"], 1),
        V::Nationality => pick(&["Française", "UE", "Hors UE"], 1),
        V::Count => (row % 4 + 1).to_string(),
        V::Amount => (row * 91 % 1700).to_string(),
        V::Nir => format!("{}{:02}{month:02}34172{:03}", 1 + row % 2, year % 100, 100 + row),
        V::Phone => format!("06123456{:02}", 10 + row),
        V::Mail => format!("boite{row}@exemple.test"),
        V::Text(list) => pick(list, 1),
        V::Usage | V::Given2 | V::RecentOrBlank | V::Blank => String::new(),
    }
}

/// A file of `ROWS` rows: header, what each column holds, what it must be mapped to (blank: not taken).
type Columns<'a> = &'a [(&'a str, V, &'a str)];

fn write(dir: &Path, columns: Columns<'_>, separator: &str) -> PathBuf {
    let path = dir.join("export.csv");
    let mut text = columns.iter().map(|c| c.0).collect::<Vec<_>>().join(separator);
    for row in 0..ROWS {
        text.push_str("\r\n");
        text.push_str(&columns.iter().map(|c| cell(c.1, row)).collect::<Vec<_>>().join(separator));
    }
    std::fs::write(&path, text + "\r\n").unwrap();
    path
}

fn party() -> PartyId {
    "inconnu".parse().unwrap()
}

fn proposed(columns: Columns<'_>) -> MappingProposal {
    let dir = tempfile::tempdir().unwrap();
    propose(&party(), &write(dir.path(), columns, ";")).unwrap()
}

/// Asserts every column's target; returns the records read with the proposal as it stands.
fn check(name: &str, columns: Columns<'_>) -> (Vec<String>, Vec<Vec<String>>) {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), columns, ";");
    let proposal = propose(&party(), &path).unwrap_or_else(|e| panic!("{name}: {e}"));
    for (got, (header, _, wanted)) in proposal.columns.iter().zip(columns) {
        assert_eq!(got.target.as_deref().unwrap_or_default(), *wanted, "{name}, {header}: {}", got.reason);
    }
    let mapping = proposal.mapping.confirm();
    let mut intake = Intake::open(&path, &mapping).unwrap();
    let names = intake.columns().to_vec();
    let records = (&mut intake).map(|line| match line.unwrap() {
        IntakeLine::Record(record) => record.values,
        IntakeLine::SetAside { line, reason } => panic!("{name}, line {line}: {reason}"),
    });
    let records: Vec<_> = records.collect();
    let summary = intake.finish().unwrap();
    assert_eq!((summary.records, summary.unread.len()), (ROWS as u64, 0), "{name}: {:?}", summary.unread);
    (names, records)
}

#[test]
fn files_of_french_services_are_mapped_whole() {
    use V::*;
    const HOUSING: V = Text(&["Locataire", "Hôtel", "CHRS", "Sans abri"]);
    const KIND: V = Text(&["ADI", "DOMICILIATION", "COLIS"]);
    const FAMILY: V = Text(&["personne seule", "couple avec enfants"]);
    const WORK: V = Text(&["SALARIE", "INACTIF"]);
    let files: [(&str, Columns<'_>); 15] = [
        (
            "CCAS",
            &[
                ("N° usager", Id(""), "local_id"),
                ("Civ.", Sex("M.", "Mme"), "sexe"),
                ("Nom de l'usager", Surname, "nom_usage"),
                ("Nom de naissance de l'usager", Usage, "nom_naissance"),
                ("Prénom de l'usager", Given, "prenoms"),
                ("Né(e) le", Born, "date_naissance"),
                ("Né(e) à", Town, "lieu_naissance"),
                ("Ville de résidence", Town, "commune_residence"),
                ("CP", Postcode, "code_postal"),
                ("Tél. portable", Phone, ""),
                ("Adresse mail", Mail, ""),
                ("Nom du référent", OtherSurname, ""),
                ("Date de création de la fiche", Recent, ""),
                ("Type d'aide demandée", KIND, "type_accompagnement"),
            ],
        ),
        (
            "SIAO",
            &[
                ("Identifiant personne", Id(""), "local_id"),
                ("Identifiant du ménage", Shared("G"), "local_household_id"),
                ("Nom", Surname, "nom_naissance"),
                ("Nom d'usage / marital", Usage, "nom_usage"),
                ("Prénom(s)", Given, "prenoms"),
                ("Genre de la personne", Sex("Homme", "Femme"), "sexe"),
                ("Date de naissance (JJ/MM/AAAA)", Born, "date_naissance"),
                ("Pays de naissance de la personne", Country, "pays_naissance"),
                ("Nationalité (groupe)", Nationality, "nationalite"),
                ("Composition du ménage", FAMILY, "composition"),
                ("Situation d'hébergement actuelle", HOUSING, "hebergement"),
                ("Structure d'accueil", Text(&["Abri", "Relais"]), ""),
                ("Date d'admission dans la structure", Recent, "date_entree"),
                ("Date de fin de prise en charge", RecentOrBlank, "date_sortie"),
            ],
        ),
        (
            "115",
            &[
                ("Réf. appelant", Id("R"), "local_id"),
                ("Nom prénom", Full, "nom_complet"),
                ("H/F", Sex("H", "F"), "sexe"),
                ("DDN", Born, "date_naissance"),
                ("Pays d'origine", Country, "pays_naissance"),
                ("Nb pers.", Count, "nb_personnes"),
                ("Premier contact", Recent, "date_entree"),
                ("Dernier contact", RecentOrBlank, "date_sortie"),
            ],
        ),
        (
            "association",
            &[
                ("Code adhérent", Id("AD-"), "local_id"),
                ("NOM (majuscules)", Surname, "nom_naissance"),
                ("Prénom 1", Given, "prenoms"),
                ("Prénom 2", Given2, "prenoms"),
                ("Autres prénoms", Blank, "prenoms"),
                ("Sexe (H/F)", Sex("H", "F"), "sexe"),
                ("Naissance", Born, "date_naissance"),
                ("Ville", Town, "commune_residence"),
                ("Personne à prévenir", OtherSurname, ""),
                ("Date d'adhésion", Recent, ""),
                ("Observations", Text(&["ok", "à revoir"]), ""),
            ],
        ),
        (
            "hôpital",
            &[
                ("IPP patient", Id("8"), "local_id"),
                ("Nom de naissance", Surname, "nom_naissance"),
                ("Nom utilisé", Usage, "nom_usage"),
                ("Prénoms état civil", Given, "prenoms"),
                ("Prénom usuel", OtherGiven, ""),
                ("Sexe administratif", Sex("M", "F"), "sexe"),
                ("DDN patient", Born, "date_naissance"),
                ("Commune de naissance (libellé)", Town, "lieu_naissance"),
                ("Code INSEE de naissance", Insee, "code_lieu_naissance"),
                ("NIR", Nir, ""),
                ("Médecin traitant", OtherSurname, ""),
                ("UF", Text(&["PASS", "URGENCES"]), "type_accompagnement"),
                ("Admission", Recent, "date_entree"),
                ("Sortie", RecentOrBlank, "date_sortie"),
            ],
        ),
        (
            "mission locale",
            &[
                ("Identifiant jeune", Id("ML"), "local_id"),
                ("Nom du jeune", Surname, "nom_naissance"),
                ("Nom d'usage du jeune", Usage, "nom_usage"),
                ("Prénom du jeune", Given, "prenoms"),
                ("Civilité du jeune", Sex("Monsieur", "Madame"), "sexe"),
                ("Date de naiss.", Born, "date_naissance"),
                ("Commune ou pays de naissance (INSEE)", Insee, "code_lieu_naissance"),
                ("Commune (INSEE)", Insee, "commune_residence"),
                ("Conseiller référent", OtherSurname, ""),
                ("Antenne", Text(&["Nord", "Sud"]), ""),
                ("Situation professionnelle actuelle", WORK, "statut"),
                ("Mode d'hébergement", HOUSING, "hebergement"),
                ("Date d'inscription ML", Recent, "date_entree"),
            ],
        ),
        (
            "Département",
            &[
                ("MATRICULE_RSA", Id("D34-"), "local_id"),
                ("NUM_DOSSIER_FAMILIAL", Shared("F"), "local_household_id"),
                ("NOM_PATRONYMIQUE", Surname, "nom_naissance"),
                ("NOM_EPOUX", Usage, "nom_usage"),
                ("PRENOMS_BENEFICIAIRE", Given, "prenoms"),
                ("CD_SEXE", Sex("1", "2"), "sexe"),
                ("DT_NAISSANCE", BornIso, "date_naissance"),
                ("CD_INSEE_COMMUNE_RESID", Insee, "commune_residence"),
                ("LIB_NATIONALITE", Nationality, "nationalite"),
                ("DT_OUVERTURE_DROIT", Recent, "date_entree"),
                ("DT_CLOTURE_DROIT", RecentOrBlank, "date_sortie"),
                ("DT_MAJ", Recent, ""),
                ("AGENT_INSTRUCTEUR", OtherSurname, ""),
            ],
        ),
        (
            "CAF",
            &[
                ("NUMALLOCATAIRE", Id("00"), "local_id"),
                ("NUMFOYER", Shared(""), "local_household_id"),
                ("NOMNAISSANCE", Surname, "nom_naissance"),
                ("NOMMARITAL", Usage, "nom_usage"),
                ("PRENOMUSAGER", Given, "prenoms"),
                ("SEXE", Sex("1", "2"), "sexe"),
                ("DATENAISSANCEUSAGER", BornCompact, "date_naissance"),
                ("NOMCONJOINT", OtherSurname, ""),
                ("PRENOMCONJOINT", OtherGiven, ""),
                ("DATENAISSANCECONJOINT", OtherBorn, ""),
                ("NBENFANTSACHARGE", Count, "nb_enfants"),
                ("RESSOURCESMENSUELLES", Amount, "ressources"),
            ],
        ),
        (
            "mairie",
            &[
                ("N°", Id(""), "local_id"),
                ("Nom de famille", Surname, "nom_naissance"),
                ("Nom d'épouse", Usage, "nom_usage"),
                ("1er prénom", Given, "prenoms"),
                ("2e prénom", Given2, "prenoms"),
                ("Jour de naissance", Day, "jour_naissance"),
                ("Mois de naissance", Month, "mois_naissance"),
                ("Année de naissance", Year, "annee_naissance"),
                ("Nom de la mère", OtherSurname, ""),
                ("Prénom du père", OtherGiven, ""),
                ("Date de mise à jour", Recent, ""),
            ],
        ),
        (
            "CPAS",
            &[
                ("N° de dossier individuel", Id("B"), "local_id"),
                ("N° registre national (NISS)", Nir, ""),
                ("Nom bénéficiaire", Surname, "nom_naissance"),
                ("Prénom bénéficiaire", Given, "prenoms"),
                ("Né le", Born, "date_naissance"),
                ("Code postal résidence", Postcode, "code_postal"),
                ("Localité", Town, "commune_residence"),
                ("Assistant social : nom", OtherSurname, ""),
                ("Date début d'accompagnement", Recent, "date_entree"),
                ("Date fin d'accompagnement", RecentOrBlank, "date_sortie"),
            ],
        ),
        (
            "camel case",
            &[
                ("idUsager", Id("U"), "local_id"),
                ("idFamille", Shared("F"), "local_household_id"),
                ("nomNaissance", Surname, "nom_naissance"),
                ("nomUsage", Usage, "nom_usage"),
                ("prenomUsager", Given, "prenoms"),
                ("dateNaissanceUsager", BornIso, "date_naissance"),
                ("codePostalResidence", Postcode, "code_postal"),
                ("paysNaissanceUsager", Country, "pays_naissance"),
                ("idReferent", Shared("R"), ""),
                ("dateCreation", Recent, ""),
            ],
        ),
        (
            "centre d'hébergement",
            &[
                ("Matricule résident", Id("CH"), "local_id"),
                ("Identité du résident", Full, "nom_complet"),
                ("Sexe", Sex("Masculin", "Féminin"), "sexe"),
                ("Date naiss", Born, "date_naissance"),
                ("Nationalité du résident", Nationality, "nationalite"),
                ("Date d'entrée dans le dispositif", Recent, "date_entree"),
                ("Date de sortie du dispositif", RecentOrBlank, "date_sortie"),
                ("Motif de sortie", Text(&["logement", "départ"]), ""),
                ("Date de fin de titre de séjour", RecentOrBlank, ""),
            ],
        ),
        (
            "English",
            &[
                ("Patient ID", Id("P"), "local_id"),
                ("Last Name", Surname, "nom_naissance"),
                ("First Name", Given, "prenoms"),
                ("Middle Name", Given2, "prenoms"),
                ("Gender", Sex("Male", "Female"), "sexe"),
                ("Date of Birth", BornIso, "date_naissance"),
                ("City of birth", Town, "lieu_naissance"),
                ("Home city", Town, "commune_residence"),
                ("Zip code", Postcode, "code_postal"),
                ("Mobile phone", Phone, ""),
                ("Mother's maiden name", OtherSurname, ""),
                ("Last updated", Recent, ""),
            ],
        ),
        (
            "FEBRL",
            &[
                ("rec_id", Id("rec-"), "local_id"),
                ("given_name", Given, "prenoms"),
                ("surname", Surname, "nom_naissance"),
                ("street_number", Count, "street_number"),
                ("address_1", Text(&["wallaby place", "kangaroo close"]), "address_1"),
                ("suburb", Text(&["nowhere", "elsewhere"]), "suburb"),
                ("postcode", Postcode, "postcode"),
                ("state", Text(&["sa", "nt"]), "state"),
                ("date_of_birth", BornCompact, "date_naissance"),
                ("soc_sec_id", Nir, ""),
            ],
        ),
        (
            "codes and names of places",
            &[
                ("Id", Id("I"), "local_id"),
                ("N° dossier", Shared("D"), "local_household_id"),
                ("Nom de jeune fille", Surname, "nom_naissance"),
                ("Prénoms", Given, "prenoms"),
                ("Date de naissance", Born, "date_naissance"),
                ("Commune", Town, ""),
                ("Commune de résidence (code INSEE)", Insee, "commune_residence"),
                ("Commune structure", Town, ""),
                ("CP de naissance", Postcode, ""),
            ],
        ),
    ];
    for (name, columns) in files {
        check(name, columns);
    }
}

#[test]
fn given_names_and_dates_in_several_columns_are_joined() {
    let (names, records) = check(
        "joined",
        &[
            ("Id", V::Id("I"), "local_id"),
            ("Nom", V::Surname, "nom_naissance"),
            ("Prénom 1", V::Given, "prenoms"),
            ("Prénom 2", V::Given2, "prenoms"),
            ("Jour naissance", V::Day, "jour_naissance"),
            ("Mois naissance", V::Month, "mois_naissance"),
            ("Année naissance", V::Year, "annee_naissance"),
        ],
    );
    assert_eq!(names, ["local_id", "nom_naissance", "prenoms", "date_naissance"]);
    for (row, record) in records.iter().enumerate() {
        let given = format!("{} {}", cell(V::Given, row), cell(V::Given2, row));
        assert_eq!((record[2].as_str(), &record[3]), (given.trim(), &cell(V::BornIso, row)));
    }
}

#[test]
fn what_no_header_names_is_found_by_its_values_and_says_so() {
    let columns: Columns<'_> = &[
        ("Clef interne SI", V::Id("K-"), "local_id"),
        ("Zone A", V::Surname, "nom_naissance"),
        ("Zone B", V::Given, "prenoms"),
        ("Zone C", V::Sex("M.", "Mme"), "sexe"),
        ("Zone D", V::Born, "date_naissance"),
        ("Zone E", V::Town, ""),
        ("Zone F", V::Recent, ""),
        ("Zone G", V::Phone, ""),
        ("Zone H", V::Nir, ""),
        ("Zone I", V::Count, ""),
    ];
    check("no header says anything", columns);
    for column in proposed(columns).columns.iter().filter(|c| c.target.is_some()) {
        assert!(column.confidence <= 50 && column.reason.contains("deviné d'après les valeurs"), "{}", column.source);
    }
    check(
        "full names",
        &[("Clef", V::Id(""), "local_id"), ("Qui", V::Full, "nom_complet"), ("Quand", V::Born, "date_naissance")],
    );
    // Identifier and birth date alone are missing.
    check(
        "half",
        &[
            ("Nom", V::Surname, "nom_naissance"),
            ("Prénom", V::Given, "prenoms"),
            ("Tampon", V::Id(""), "local_id"),
            ("Anniversaire", V::Born, "date_naissance"),
            ("Fait le", V::Recent, ""),
        ],
    );
}

#[test]
fn columns_of_other_people_are_never_the_persons() {
    use V::*;
    // Without a column of its own, the person's name is not taken from the referent's or the mother's, whatever it looks like.
    let others: [(&str, V); 10] = [
        ("Nom du référent", Surname),
        ("Prénom de la mère", Given),
        ("Nom de jeune fille de la mère", Surname),
        ("Date de naissance du conjoint", Born),
        ("Civilité du responsable", Sex("M.", "Mme")),
        ("Nom et prénom du père", Full),
        ("N° conseiller", Id("C")),
        ("Id structure", Id("S")),
        ("Commune de l'antenne", Town),
        ("Date de création", Born),
    ];
    for (header, kind) in others {
        let columns: Columns<'_> = &[
            ("N° dossier", Id("D"), "local_id"),
            ("Nom", Usage, "nom_naissance"),
            ("Date d'entrée", Recent, "date_entree"),
            (header, kind, ""),
        ];
        check(header, columns);
    }
    let dir = tempfile::tempdir().unwrap();
    let columns: Columns<'_> =
        &[("N° dossier", Id("D"), ""), ("Nom du médecin", Surname, ""), ("Prénom du médecin", Given, ""), ("DDN", Born, "")];
    let error = propose(&party(), &write(dir.path(), columns, ";")).unwrap_err();
    assert_eq!(error, IntakeError::Mapping(MappingError::TargetMissing("nom_naissance")));
    let columns: Columns<'_> = &[("NIR", Nir, ""), ("Portable", Phone, ""), ("Nom", Surname, ""), ("Prénom", Given, "")];
    let error = propose(&party(), &write(dir.path(), columns, ";")).unwrap_err();
    assert_eq!(error, IntakeError::Mapping(MappingError::TargetMissing("local_id")));
    // Nor is a social security number that calls itself an identifier.
    let columns: Columns<'_> = &[("Identifiant", Nir, ""), ("Nom", Surname, ""), ("Prénom", Given, "")];
    let error = propose(&party(), &write(dir.path(), columns, ";")).unwrap_err();
    assert_eq!(error, IntakeError::Mapping(MappingError::TargetMissing("local_id")));
}

#[test]
fn of_two_columns_for_one_target_the_better_is_kept_and_the_other_says_so() {
    let proposal = proposed(&[
        ("Id", V::Id("I"), ""),
        ("Nom", V::Surname, ""),
        ("Prénom usuel", V::OtherGiven, ""),
        ("Prénom", V::Given, ""),
        ("Nom", V::OtherSurname, ""),
        ("Prénom", V::OtherGiven, ""),
    ]);
    let thought: Vec<_> = proposal.columns.iter().map(|c| (c.target.as_deref(), c.reason.as_str())).collect();
    assert_eq!(thought[2], (None, "« Prénom » convient mieux pour prenoms"));
    assert_eq!(thought[3].0, Some("prenoms"));
    assert_eq!(
        (thought[4], thought[5]),
        ((None, "en-tête déjà présent plus à gauche"), (None, "en-tête déjà présent plus à gauche"))
    );
}

#[test]
fn files_without_a_header_stay_refused() {
    use V::*;
    let dir = tempfile::tempdir().unwrap();
    let kinds: [&[V]; 4] = [
        &[Id("D"), Surname, Given, Born, Insee],
        &[Id(""), Surname, Given, BornCompact, Sex("M", "F")],
        &[Surname, Given, Sex("1", "2"), BornIso, Postcode],
        &[Id("D"), Text(&["LOGEMENT", "HEBERGEMENT"]), Text(&["SUIVI", "MESURE"]), Surname, Given, Born],
    ];
    for kinds in kinds {
        let header: Vec<String> = kinds.iter().map(|kind| cell(*kind, ROWS)).collect();
        let columns: Vec<(&str, V, &str)> = header.iter().zip(kinds).map(|(h, kind)| (h.as_str(), *kind, "")).collect();
        let error = propose(&party(), &write(dir.path(), &columns, ";")).unwrap_err();
        assert_eq!(error, IntakeError::NoHeader { line: 1 });
    }
}

#[test]
fn parts_of_a_birth_date_are_checked_in_a_mapping() {
    let columns: Columns<'_> = &[
        ("Id", V::Id("I"), ""),
        ("Nom", V::Surname, ""),
        ("Jour naissance", V::Day, ""),
        ("Année naissance", V::Year, ""),
        ("Autre", V::Born, ""),
    ];
    let proposal = proposed(columns);
    let text = proposal.to_toml();
    assert_eq!(linkage_node::intake::Mapping::parse(&text).unwrap(), proposal.mapping);
    let year = "target = \"annee_naissance\"";
    let without = text.replace(year, "");
    assert_eq!(linkage_node::intake::Mapping::parse(&without), Err(MappingError::TargetMissing("annee_naissance")));
    let both = text.replace("source = \"Autre\"", "source = \"Autre\"\ntarget = \"date_naissance\"");
    assert_ne!(both, text);
    assert_eq!(linkage_node::intake::Mapping::parse(&both), Err(MappingError::TargetTwice("date_naissance".to_owned())));
}
