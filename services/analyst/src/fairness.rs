//! Who is linked with another party, by sex and age: where a linkage leaves some out more than others.
//!
//! The broker cannot know; the analyst can, when the agreement lets sex or birth date travel. Whether a person is in
//! another party's files is as sensitive as any attribute, so that both outcomes are suppressed where they are few.

use std::collections::HashMap;

use linkage_agreement::{PartyId, Pseudonym, RunId};
use linkage_cohort::{AgeBand, LinkRow, RateTable, Sensitive, Sex, Subject, rates};
use linkage_common::error::ServiceError;
use serde::Serialize;

use crate::tables::Tables;

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

/// The rates of one run; figures below `minimum` are suppressed.
pub fn linked_rates(tables: &Tables, run: &RunId, minimum: u64) -> Result<LinkedRates, ServiceError> {
    let links = tables.links(run)?;
    let attributes = tables.attribute_columns(run, &[SEX, BIRTH_DATE])?;
    let (Some(sexes), Some(births)) = (attributes.first(), attributes.get(1)) else {
        return Ok(LinkedRates { by_sex: None, by_age: None });
    };
    let linked = linked_elsewhere(&links);
    let by_sex = sexes.as_ref().map(|values| {
        let group = |row: &LinkRow| Sex::of_attribute(values.get(&row.record).map(String::as_str));
        rates(subjects(&links, &linked, group), &Sex::ALL, minimum, Sensitive::Outcome)
    });
    let by_age = births.as_ref().map(|values| {
        let group = |row: &LinkRow| AgeBand::of_attribute(values.get(&row.record).map(String::as_str), row.period);
        rates(subjects(&links, &linked, group), &AgeBand::ALL, minimum, Sensitive::Outcome)
    });
    Ok(LinkedRates { by_sex, by_age })
}

/// Whether each row's person is in another party's files too.
fn linked_elsewhere(links: &[LinkRow]) -> Vec<bool> {
    let mut first: HashMap<Pseudonym, (&PartyId, bool)> = HashMap::new();
    for row in links {
        let (party, several) = first.entry(row.person).or_insert((&row.party, false));
        *several |= *party != &row.party;
    }
    links.iter().map(|row| first.get(&row.person).is_some_and(|(_, several)| *several)).collect()
}

fn subjects<'l, G>(
    links: &'l [LinkRow],
    linked: &'l [bool],
    group: impl Fn(&LinkRow) -> G + 'l,
) -> impl Iterator<Item = Subject<'l, G>> {
    links.iter().zip(linked).map(move |(row, linked)| Subject {
        party: &row.party,
        group: group(row),
        out_of: 1,
        found: u64::from(*linked),
    })
}

#[cfg(test)]
mod tests {
    use linkage_cohort::MatchClass;

    use super::*;
    use crate::tables::{AttributeRow, RunTables};

    /// `women` and `men` records in each of two parties, the first `both` of each linked across.
    fn tables(columns: &[&str]) -> RunTables {
        let (mut links, mut attributes) = (Vec::new(), Vec::new());
        for (party, name) in ["caf", "ccas"].into_iter().enumerate() {
            for n in 0..100u8 {
                let mut person = Pseudonym([n; 16]);
                if n % 50 >= 20 + n / 50 * 10 {
                    person.0[0] = 200 + party as u8;
                }
                let mut record = Pseudonym([n; 16]);
                record.0[15] = 100 + party as u8;
                links.push(LinkRow {
                    person,
                    party: name.parse().unwrap(),
                    record,
                    period: "2024-01".parse().unwrap(),
                    match_class: MatchClass::Single,
                    probability: 0,
                    run: "r".parse().unwrap(),
                });
                let value = |column: &&str| match *column {
                    SEX => Some(if n < 50 { "2" } else { "1" }.to_owned()),
                    BIRTH_DATE => (n % 2 == 0).then(|| "1980-05".to_owned()),
                    _ => Some("x,\"y\"".to_owned()),
                };
                attributes.push(AttributeRow { record, household: None, values: columns.iter().map(value).collect() });
            }
        }
        RunTables {
            run: "r".parse().unwrap(),
            links,
            attribute_names: columns.iter().map(|c| (*c).to_owned()).collect(),
            attributes,
            supersessions: vec![],
            report: b"{}".to_vec(),
            reference_party: None,
        }
    }

    fn made(columns: &[&str]) -> LinkedRates {
        let dir = tempfile::tempdir().unwrap();
        let store = Tables::open(dir.path()).unwrap();
        store.write(&tables(columns)).unwrap();
        linked_rates(&store, &"r".parse().unwrap(), 11).unwrap()
    }

    #[test]
    fn rates_follow_from_the_tables_on_disk() {
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
