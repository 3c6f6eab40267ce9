//! Monthly view of needs.

use super::{Asker, Content, Report, ReportError, Request, before, columns, held, section, with_attribute, words};
use crate::figures::Unit;
use crate::query::{Grain, Measure};
use crate::study::Study;

/// Months of history shown beside the month asked for.
const HISTORY: u32 = 12;

pub(super) fn plan(request: &Request, study: &Study) -> Result<Report, ReportError> {
    let population = request.population.as_ref();
    let month = held(study, request.period, request.period)?;
    let month = Asker { periods: month, grain: Grain::Month, population };
    let history = held(study, before(request.period, HISTORY), request.period)?;
    let history = Asker { periods: history, grain: Grain::Month, population };
    let households =
        [("Présents", Measure::Stock), ("Entrés", Measure::Entries), ("Revenus", Measure::Returns), ("Sortis", Measure::Exits)]
            .map(|(label, measure)| {
                (label.to_owned(), history.by(&format!("Ménages : {}", label.to_lowercase()), Unit::Households, measure, &[]))
            });
    let present = ("Présentes", Measure::Stock);
    let housing = |content: fn(&Asker<'_>) -> Content| with_attribute(study, columns::HOUSING, || content(&month));
    let sections = vec![
        section(
            "Personnes",
            "Personnes distinctes présentes dans le mois, chacune comptée une fois quel que soit le nombre de services qui la \
             connaissent. Entrée : première présence depuis le premier mois disponible. Retour : de nouveau présente après un \
             mois au moins d’absence. Sortie : présente le mois précédent, absente ce mois-ci.",
            Content::Lines(history.flows("Personnes", present, &[])),
        ),
        section(
            "Ménages",
            "Ménages distincts, comptés une fois sur l’ensemble des services ; mêmes définitions.",
            Content::Lines(households.into()),
        ),
        section(
            "Par service",
            "Une personne connue de deux services figure sur deux lignes. Les entrées, retours et sorties sont ceux du service.",
            Content::Lines(month.flows("Par service", present, &["party"])),
        ),
        section(
            "Par service, mois par mois",
            "Personnes présentes à chaque service dans le mois.",
            Content::Table(history.by("Personnes présentes, par service", Unit::Persons, Measure::Stock, &["party"])),
        ),
        section(
            "Par situation d’hébergement",
            "Situation déclarée par le premier service qui la connaît : celle du mois pour les présentes, les entrées et les \
             retours, celle du mois précédent pour les sorties.",
            housing(|month| {
                Content::Lines(month.flows("Par situation d’hébergement", ("Présentes", Measure::Stock), &[columns::HOUSING]))
            }),
        ),
        section(
            "Par service et situation d’hébergement",
            "Personnes présentes dans le mois, dans la situation que déclare chaque service.",
            housing(|month| {
                let title = "Personnes présentes, par service et situation d’hébergement";
                Content::Table(month.by(title, Unit::Persons, Measure::Stock, &["party", columns::HOUSING]))
            }),
        ),
        section(
            "Recouvrements entre services",
            "Personnes connues dans le mois d’exactement ces services.",
            Content::Table(month.by("Recouvrements entre services", Unit::Persons, Measure::Stock, &["parties"])),
        ),
    ];
    Ok(Report { title: format!("Vue mensuelle des besoins, {}", words::month(request.period)), sections })
}
