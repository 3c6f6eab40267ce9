//! Annual report.

use linkage_agreement::Period;

use super::{Asker, Content, Report, ReportError, Request, columns, held, section, with_attribute};
use crate::figures::Unit;
use crate::query::{Grain, Measure};
use crate::study::Study;

pub(super) fn plan(request: &Request, study: &Study) -> Result<Report, ReportError> {
    let year = request.period.year();
    let bounds = Period::new(year, 1).zip(Period::new(year, 12)).unwrap_or((request.period, request.period));
    let periods = held(study, bounds.0, bounds.1)?;
    let year_long = Asker { periods, grain: Grain::Year, population: request.population.as_ref() };
    let count = |title: &str, unit: Unit, by: &[&str]| year_long.by(title, unit, Measure::Count, by);
    let table = |title: &str, by: &[&str]| Content::Table(count(title, Unit::Persons, by));
    let accompanied = ("Accompagnées", Measure::Count);
    let mut whole = year_long.flows("Année", accompanied, &[]);
    whole.push(("Ménages accompagnés".to_owned(), count("Année : ménages accompagnés", Unit::Households, &[])));
    let age = || with_attribute(study, columns::BIRTH_DATE, || table("Par âge", &["age"]));
    let sections = vec![
        section(
            "Ensemble de l’année",
            "Personnes et ménages distincts accompagnés au moins un mois de l’année civile par au moins un service, chacun compté \
             une fois ; entrées, retours et sorties constatés dans l’année.",
            Content::Lines(whole),
        ),
        section(
            "Par service",
            "Les mêmes effectifs pour chaque service ; une personne connue de deux services figure sur deux lignes.",
            Content::Lines(year_long.flows("Par service", accompanied, &["party"])),
        ),
        section("Par âge", "Âge au premier jour du dernier mois de présence dans l’année.", age()),
        section(
            "Par sexe",
            "Sexe déclaré par le premier service qui le connaît.",
            with_attribute(study, columns::SEX, || table("Par sexe", &["sex"])),
        ),
        section(
            "Par âge et sexe",
            "Croisement des deux tableaux qui précèdent.",
            with_attribute(study, columns::BIRTH_DATE, || {
                with_attribute(study, columns::SEX, || table("Par âge et sexe", &["age", "sex"]))
            }),
        ),
        section(
            "Situation familiale",
            "Composition du ménage au dernier mois de présence : seul ou en couple, avec ou sans enfant, telle que les services la \
             déclarent et que le rapprochement la montre.",
            Content::Lines(vec![
                ("Personnes".to_owned(), count("Situation familiale : personnes", Unit::Persons, &["composition-menage"])),
                ("Ménages".to_owned(), count("Situation familiale : ménages", Unit::Households, &["composition-menage"])),
            ]),
        ),
        section(
            "Type de demande",
            "Accompagnement demandé ou en cours au dernier mois de présence au service, d’après ses fiches.",
            with_attribute(study, columns::SUPPORT, || {
                Content::ByParty(count("Type de demande", Unit::Persons, &["party", columns::SUPPORT]))
            }),
        ),
        section(
            "Résultats",
            "Issue de l’accompagnement, d’après les fiches du service qui la transmet.",
            with_attribute(study, columns::OUTCOME, || {
                Content::ByParty(count("Résultats", Unit::Persons, &["party", columns::OUTCOME]))
            }),
        ),
        section(
            "Situation à la sortie",
            "Personnes sorties dans l’année, par situation d’hébergement au dernier mois de présence.",
            with_attribute(study, columns::HOUSING, || {
                let title = "Situation d’hébergement à la sortie";
                Content::Table(year_long.by(title, Unit::Persons, Measure::Exits, &[columns::HOUSING]))
            }),
        ),
        section(
            "Services connus",
            "Personnes connues dans l’année d’exactement ces services.",
            table("Services connus", &["parties"]),
        ),
    ];
    Ok(Report { title: format!("Rapport annuel {year}"), sections })
}
