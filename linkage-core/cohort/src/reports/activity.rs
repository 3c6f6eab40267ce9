//! Quarterly table of activity.

use linkage_agreement::Period;

use super::{Asker, Content, Report, ReportError, Request, before, columns, held, section, with_attribute};
use crate::figures::Unit;
use crate::query::{Grain, Measure};
use crate::study::Study;

pub(super) fn plan(request: &Request, study: &Study) -> Result<Report, ReportError> {
    let (first, last) = quarter(request.period);
    let (periods, population) = (held(study, first, last)?, request.population.as_ref());
    let whole = Asker { periods, grain: Grain::Quarter, population };
    let months = Asker { periods, grain: Grain::Month, population };
    let accompanied = |measure| ("Accompagnées", measure);
    let mut quarter = whole.flows("Trimestre", accompanied(Measure::Count), &[]);
    quarter.push((
        "Ménages accompagnés".to_owned(),
        whole.by("Trimestre : ménages accompagnés", Unit::Households, Measure::Count, &[]),
    ));
    let sections = vec![
        section(
            "Ensemble du trimestre",
            "Personnes distinctes accompagnées au moins un mois du trimestre par au moins un service, chacune comptée une fois ; \
             entrées, retours et sorties constatés dans le trimestre.",
            Content::Lines(quarter),
        ),
        section(
            "Mois par mois",
            "Personnes distinctes accompagnées dans le mois, entrées, revenues et sorties dans le mois. Sortie : accompagnée le \
             mois précédent, absente ce mois-ci.",
            Content::Lines(months.flows("Mois par mois", accompanied(Measure::Stock), &[])),
        ),
        section(
            "Par service",
            "Les mêmes effectifs pour chaque service ; une personne connue de deux services figure sur deux lignes.",
            Content::Lines(months.flows("Par service", accompanied(Measure::Stock), &["party"])),
        ),
        section(
            "Accompagnements en cours",
            "Personnes dont un accompagnement ou un contrat de ce type est en cours dans le mois, d’après les fiches du service. \
             Une personne qui en a plusieurs au même service compte pour le premier.",
            with_attribute(study, columns::SUPPORT, || {
                let by = ["party", columns::SUPPORT];
                Content::ByParty(months.by("Accompagnements en cours", Unit::Persons, Measure::Stock, &by))
            }),
        ),
    ];
    let number = match first.month().div_ceil(3) {
        1 => "1er".to_owned(),
        number => format!("{number}e"),
    };
    Ok(Report { title: format!("Tableau d’activité, {number} trimestre {}", first.year()), sections })
}

/// First and last month of the calendar quarter that holds `period`.
fn quarter(period: Period) -> (Period, Period) {
    let first = before(period, u32::from((period.month() - 1) % 3));
    (first, first.next().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_begin_in_january_april_july_and_october() {
        for (month, first, last) in [
            ("2024-01", "2024-01", "2024-03"),
            ("2024-03", "2024-01", "2024-03"),
            ("2024-04", "2024-04", "2024-06"),
            ("2023-12", "2023-10", "2023-12"),
            ("1900-02", "1900-01", "1900-03"),
        ] {
            let period = |text: &str| text.parse::<Period>().unwrap();
            assert_eq!(quarter(period(month)), (period(first), period(last)));
        }
    }
}
