//! Study of a reference cohort: who of it is found at the others, where, and after how long.

use super::{Asker, Content, Report, ReportError, Request, anybody, held, section, words};
use crate::figures::Unit;
use crate::query::{Condition, Grain, Measure, Population, When};
use crate::study::Study;

pub(super) fn plan(request: &Request, study: &Study) -> Result<Report, ReportError> {
    let cohort = request.population.clone().ok_or(ReportError::NoCohort)?;
    let first = study.months.first().map_or(request.period, |m| m.period);
    let periods = held(study, first, request.period)?;
    // Whoever was in the cohort in some month stays in it: what became of those who left is the question.
    let followed = ever(cohort.clone()).map(|ever| Population::All { all: vec![ever, anybody(None)] });
    let whole = followed.as_ref().unwrap_or(&cohort);
    let own = Asker { periods, grain: Grain::Month, population: Some(&cohort) };
    let months = Asker { periods, grain: Grain::Month, population: Some(whole) };
    let years = Asker { periods, grain: Grain::Year, population: Some(whole) };
    let entered = Asker { periods, grain: Grain::Year, population: Some(&cohort) };
    let persons = |asker: &Asker<'_>, title: &str, measure, by: &[&str]| asker.by(title, Unit::Persons, measure, by);
    let mut lines = vec![("Dans la cohorte".to_owned(), persons(&own, "La cohorte : membres", Measure::Stock, &[]))];
    let text = if followed.is_some() {
        lines.push((
            "Passées par la cohorte, présentes".to_owned(),
            persons(&months, "La cohorte : passées et présentes", Measure::Stock, &[]),
        ));
        "Personnes qui répondent à la définition dans le mois ; puis celles qui y répondent ou y ont répondu en un mois \
         quelconque et sont connues d’au moins un service dans le mois. Les tableaux par service et les parcours portent sur ces \
         dernières."
    } else {
        "Personnes qui répondent à la définition dans le mois. La définition combine plusieurs conditions : les tableaux par \
         service et les parcours portent sur celles qui y répondent dans le mois."
    };
    let sections = vec![
        section("La cohorte", text, Content::Lines(lines)),
        section(
            "Trouvées où, et au bout de combien de temps",
            "Mois écoulés entre l’entrée dans la cohorte et la première présence à chaque service, par année d’entrée. Une personne \
             qui n’est pas trouvée compte à la durée pendant laquelle elle a pu être suivie, jusqu’au dernier mois livré par le \
             service. Celles qui étaient déjà dans la cohorte au premier mois disponible n’y figurent pas, leur entrée n’étant pas \
             connue, sauf si la définition fixe un mois.",
            Content::Table(persons(&entered, "Délai jusqu’à la première présence", Measure::Delays, &[])),
        ),
        section(
            "Présence par service, mois par mois",
            "Une personne connue de deux services figure sous les deux.",
            Content::Table(persons(&months, "Présentes, par service", Measure::Stock, &["party"])),
        ),
        section(
            "Services connus ensemble",
            "Personnes connues dans l’année d’exactement ces services.",
            Content::Table(persons(&years, "Services connus ensemble", Measure::Count, &["parties"])),
        ),
        section(
            "Parcours",
            "Services dans l’ordre de la première présence depuis le premier mois disponible, trois étapes au plus ; « & » joint les \
             services rencontrés le même mois.",
            Content::Table(persons(&years, "Parcours", Measure::Paths, &[])),
        ),
    ];
    Ok(Report { title: format!("Cohorte de référence, suivie jusqu’en {}", words::month(periods.to)), sections })
}

/// Those who are in the set in any month; none where that cannot be said in words of a query.
fn ever(population: Population) -> Option<Population> {
    match population {
        Population::Any { any } => Some(Population::Any { any: any.into_iter().map(ever).collect::<Option<_>>()? }),
        Population::Record(condition) if condition.period.is_some() || condition.when == When::Ever => {
            Some(Population::Record(condition))
        }
        Population::Record(condition) if condition.when == When::Same => {
            Some(Population::Record(Condition { when: When::Ever, ..condition }))
        }
        // Some month with both halves is not two months with one each.
        Population::All { .. } | Population::Not { .. } | Population::Record(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(toml: &str) -> Population {
        #[derive(serde::Deserialize)]
        struct Only {
            population: Population,
        }
        toml::from_str::<Only>(toml).unwrap().population
    }

    #[test]
    fn a_cohort_is_followed_after_it_was_left_where_that_can_be_said() {
        let cases = [
            ("{ party = 'ase' }", Some("{ party = 'ase', when = 'ever' }")),
            ("{ party = 'ase', period = '2024-01' }", Some("{ party = 'ase', period = '2024-01' }")),
            (
                "{ any = [{ party = 'ase' }, { party = 'siao', when = 'ever' }] }",
                Some("{ any = [{ party = 'ase', when = 'ever' }, { party = 'siao', when = 'ever' }] }"),
            ),
            ("{ all = [{ party = 'ase' }, { party = 'siao' }] }", None),
            ("{ not = { party = 'ase' } }", None),
            ("{ party = 'ase', when = 'previous' }", None),
            ("{ any = [{ party = 'ase' }, { not = { party = 'siao' } }] }", None),
        ];
        for (cohort, wanted) in cases {
            let made = ever(of(&format!("population = {cohort}")));
            assert_eq!(made, wanted.map(|w| of(&format!("population = {w}"))), "{cohort}");
        }
    }
}
