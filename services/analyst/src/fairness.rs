//! Who is linked with another party, by sex and age: where a linkage leaves some out more than others.
//!
//! The broker cannot know; the analyst can, when the agreement lets sex or birth date travel. Whether a person is in
//! another party's files is as sensitive as any attribute, so that both outcomes are suppressed where they are few.

use arrow_array::Array as _;
use arrow_array::cast::AsArray;
use arrow_array::types::{UInt8Type, UInt16Type, UInt32Type};
use linkage_agreement::{PartyId, Period};
use linkage_cohort::study::{AttributeColumn, Column, Study};
use linkage_cohort::{AgeBand, RateTable, Sensitive, Sex, Subject, rates};
use linkage_common::error::ServiceError;
use serde::Serialize;

/// Canonical columns of the two attributes.
const SEX: &str = "sexe";
const BIRTH_DATE: &str = "date_naissance";

/// Share of records linked with another party, by party and group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkedRates {
    /// By sex; none when the agreement lets no sex travel.
    pub by_sex: Option<RateTable<Sex>>,
    /// By age at the month's first day; none when the agreement lets no birth date travel.
    pub by_age: Option<RateTable<AgeBand>>,
}

/// The rates of one month; figures below `minimum` are suppressed.
pub fn linked_rates(study: &Study, period: Period, minimum: u64) -> Result<LinkedRates, ServiceError> {
    let month = study.month(period).ok_or_else(|| {
        ServiceError::not_found(
            "aucune table de liens de ce mois n'est ici ; « linkage run list » montre si son traitement est clos",
        )
    })?;
    let rows = Rows::of(study, month)?;
    let by_sex = match study.attribute(SEX) {
        None => None,
        Some(at) => {
            let group = |value: Option<&str>, _| Sex::of_attribute(value);
            Some(rates(rows.subjects(study, month, at, period, group)?, &Sex::ALL, minimum, Sensitive::Outcome))
        }
    };
    let by_age = match study.attribute(BIRTH_DATE) {
        None => None,
        Some(at) => {
            let subjects = rows.subjects(study, month, at, period, AgeBand::of_attribute)?;
            Some(rates(subjects, &AgeBand::ALL, minimum, Sensitive::Outcome))
        }
    };
    Ok(LinkedRates { by_sex, by_age })
}

/// Party of each row of a month, and whether its person is in another party's files too.
struct Rows {
    parties: Vec<u8>,
    linked: Vec<bool>,
}

impl Rows {
    fn of(study: &Study, month: usize) -> Result<Self, ServiceError> {
        let batch = study.source.columns(month, &[Column::Person, Column::Party]).map_err(ServiceError::internal)?;
        let persons = batch.column(0).as_primitive::<UInt32Type>().values();
        let parties = batch.column(1).as_primitive::<UInt8Type>().values();
        // Rows stand by person, then by party.
        let mut linked = Vec::with_capacity(persons.len());
        for rows in persons.chunk_by(|a, b| a == b) {
            let from = linked.len();
            let of_person = parties.get(from..from + rows.len()).unwrap_or_default();
            linked.resize(from + rows.len(), of_person.first() != of_person.last());
        }
        Ok(Self { parties: parties.to_vec(), linked })
    }
    fn subjects<'s, G: Copy>(
        &self,
        study: &'s Study,
        month: usize,
        attribute: usize,
        period: Period,
        group: impl Fn(Option<&str>, Period) -> G,
    ) -> Result<Vec<Subject<'s, G>>, ServiceError> {
        let batch = study.source.columns(month, &[Column::Attribute(attribute)]).map_err(ServiceError::internal)?;
        let codes = batch.column(0).as_primitive::<UInt16Type>();
        let values: &[String] = study.attributes.get(attribute).map_or(&[], |a: &AttributeColumn| &a.values);
        let groups: Vec<G> = values.iter().map(|value| group(Some(value), period)).collect();
        let none = group(None, period);
        let parties: Vec<&PartyId> = study.parties.iter().collect();
        let subject = |((row, party), linked): ((usize, &u8), &bool)| {
            let code = codes.is_valid(row).then(|| usize::from(codes.value(row)));
            let party: &'s PartyId = parties.get(usize::from(*party)).copied()?;
            let group = code.and_then(|code| groups.get(code)).copied().unwrap_or(none);
            Some(Subject { party, group, out_of: 1, found: u64::from(*linked) })
        };
        Ok((0..codes.len()).zip(&self.parties).zip(&self.linked).filter_map(subject).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use linkage_agreement::Pseudonym;
    use linkage_agreement::model::Rule;
    use linkage_cohort::study::{InMemory, Month, Row, month_batch};

    use super::*;

    /// `women` and `men` records in each of two parties, the first `both` of each linked across.
    fn study(names: &[&str]) -> Study {
        let values = |name: &str| -> Vec<String> {
            match name {
                SEX => vec!["2".to_owned(), "1".to_owned()],
                BIRTH_DATE => vec!["1980-05".to_owned()],
                _ => vec!["x,\"y\"".to_owned()],
            }
        };
        let mut rows = Vec::new();
        for party in 0..2u8 {
            for n in 0..100u8 {
                let alone = n % 50 >= 20 + n / 50 * 10;
                let code = |name: &&str| match *name {
                    SEX => Some(u16::from(n >= 50)),
                    BIRTH_DATE => (n % 2 == 0).then_some(0),
                    _ => Some(0),
                };
                rows.push(Row {
                    person: u32::from(n) + if alone { 200 * (1 + u32::from(party)) } else { 0 },
                    party,
                    record: u32::from(n) + 100 * u32::from(party),
                    household: None,
                    match_class: 0,
                    probability: 0,
                    attributes: names.iter().map(code).collect(),
                });
            }
        }
        let parties = vec!["caf".parse().unwrap(), "ccas".parse().unwrap()];
        let column = |name: &&str| AttributeColumn { name: (*name).to_owned(), rule: Rule::Month, values: values(name) };
        Study {
            parties,
            attributes: names.iter().map(column).collect(),
            months: vec![Month {
                period: "2024-01".parse().unwrap(),
                run: "r".parse().unwrap(),
                delivered: vec![true, true],
                rows: rows.len() as u64,
            }],
            persons: 600,
            source: Box::new(InMemory {
                months: vec![month_batch(rows, names.len()).unwrap()],
                pseudonyms: Arc::new([Pseudonym::default(); 600]),
            }),
        }
    }

    fn made(names: &[&str]) -> LinkedRates {
        linked_rates(&study(names), "2024-01".parse().unwrap(), 11).unwrap()
    }

    #[test]
    fn rates_follow_from_the_study() {
        let found = made(&["composition", SEX, BIRTH_DATE]);
        let sexes = found.by_sex.unwrap();
        let linked = |row: usize| -> Vec<Option<u64>> { sexes.rows[row].groups.iter().map(|r| r.map(|r| r.found)).collect() };
        assert_eq!([linked(0), linked(1)], [[Some(20), Some(30), Some(0)], [Some(20), Some(30), Some(0)]]);
        assert_eq!(sexes.rows[2].all.map(|r| (r.found, r.records)), Some((100, 200)));
        let ages = found.by_age.unwrap();
        assert_eq!(
            ages.rows[2].groups.iter().map(|r| r.map(|r| r.records)).collect::<Vec<_>>(),
            [Some(0), Some(0), Some(100), Some(0), Some(0), Some(100)]
        );
    }

    #[test]
    fn without_the_attributes_there_is_no_table() {
        assert_eq!(made(&["composition"]), LinkedRates { by_sex: None, by_age: None });
        assert!(made(&[SEX]).by_age.is_none());
    }
}
