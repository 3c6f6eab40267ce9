//! Who is linked and who is missed, for an operator who owns all the files: trial and demonstration.
//!
//! Against a known truth, recall is counted from each record's side: of the records of the same person at other parties,
//! how many were found. Groups come from the files themselves and stay in this process; what leaves are tables after
//! suppression.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context;
use linkage_agreement::{DateQuality, PartyId, Period};
use linkage_cohort::{AgeBand, RateTable, Sensitive, Sex, Subject, rates};
use linkage_encoding::Identity;
use linkage_encoding::identity::Sex as IdentitySex;
use linkage_node::delivery::Delivery;
use serde::Serialize;

use crate::links::Link;

/// Qualities of a date of birth, in the order of tables.
const DATE_QUALITIES: [&str; 4] = ["full", "default", "partial", "missing"];

/// The groups that a record belongs to.
#[derive(Debug, Clone, Copy)]
struct Groups {
    sex: Sex,
    age: AgeBand,
    date: &'static str,
}

/// Groups of records by party and local id.
#[derive(Default)]
pub struct Traits {
    of: HashMap<(String, String), Groups>,
    parties: HashMap<String, PartyId>,
}

impl Traits {
    /// Notes the records of a delivery.
    pub fn add(&mut self, party: &PartyId, delivery: &Delivery, period: Period) {
        self.parties.insert(party.to_string(), party.clone());
        for row in &delivery.rows {
            self.of.insert((party.to_string(), row.local_id.clone()), groups(&row.identity, period));
        }
    }

    fn subject(&self, party: &str, local_id: &str, out_of: u64, found: u64) -> Option<(Groups, Subject<'_, ()>)> {
        let groups = self.of.get(&(party.to_owned(), local_id.to_owned()))?;
        Some((*groups, Subject { party: self.parties.get(party)?, group: (), out_of, found }))
    }
}

fn groups(identity: &Identity, period: Period) -> Groups {
    Groups {
        sex: match identity.sex() {
            Some(IdentitySex::Woman) => Sex::Women,
            Some(IdentitySex::Man) => Sex::Men,
            None => Sex::Unknown,
        },
        age: identity.birth_date().map_or(AgeBand::Unknown, |date| AgeBand::born(period, date.year, date.month)),
        date: match identity.date_quality() {
            DateQuality::Full => "full",
            DateQuality::Default => "default",
            DateQuality::Partial => "partial",
            DateQuality::Missing => "missing",
        },
    }
}

fn table<G: Copy + PartialEq>(
    counted: &[(Groups, Subject<'_, ()>)],
    group: impl Fn(&Groups) -> G,
    all: &[G],
    minimum: u64,
    sensitive: Sensitive,
) -> RateTable<G> {
    let subjects =
        counted.iter().map(|(groups, s)| Subject { party: s.party, group: group(groups), out_of: s.out_of, found: s.found });
    rates(subjects, all, minimum, sensitive)
}

/// Share of records linked with another party, by party and group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkedRates {
    /// By sex.
    pub by_sex: RateTable<Sex>,
    /// By age at the month's first day.
    pub by_age: RateTable<AgeBand>,
}

/// Records linked with another party, by sex and age. Whether a person is in another party's files is as sensitive as any
/// attribute: both outcomes are suppressed where they are few.
pub fn linked<K: std::hash::Hash + Eq>(links: &[Link<K>], traits: &Traits, minimum: u64) -> LinkedRates {
    let mut parties: HashMap<&K, (&str, bool)> = HashMap::new();
    for link in links {
        let (first, several) = parties.entry(&link.person).or_insert((&link.party, false));
        *several |= *first != link.party;
    }
    let found = |link: &Link<K>| u64::from(parties.get(&link.person).is_some_and(|(_, several)| *several));
    let counted: Vec<_> = links.iter().filter_map(|l| traits.subject(&l.party, &l.local_id, 1, found(l))).collect();
    LinkedRates {
        by_sex: table(&counted, |g| g.sex, &Sex::ALL, minimum, Sensitive::Outcome),
        by_age: table(&counted, |g| g.age, &AgeBand::ALL, minimum, Sensitive::Outcome),
    }
}

/// Recall by group against a truth: `records` have a record of the same person elsewhere, `out_of` such partners, of
/// which `found` were linked with them.
#[derive(Debug, Clone, Serialize)]
pub struct Missed {
    /// By sex.
    pub by_sex: RateTable<Sex>,
    /// By age at the month's first day.
    pub by_age: RateTable<AgeBand>,
    /// By quality of the date of birth.
    pub by_date_quality: RateTable<&'static str>,
}

/// Measures `links` against the truth of `period`, record by record. Partners are records of other parties; any other
/// record of the person, when there is one party only.
pub fn missed<K: std::hash::Hash + Eq>(
    links: &[Link<K>],
    truth: &Path,
    period: Period,
    traits: &Traits,
    minimum: u64,
) -> anyhow::Result<Missed> {
    let text = std::fs::read_to_string(truth).with_context(|| truth.display().to_string())?;
    let found: HashMap<(&str, &str), &K> = links.iter().map(|l| ((l.party.as_str(), l.local_id.as_str()), &l.person)).collect();
    let alone = traits.parties.len() == 1;
    let mut counted = Vec::new();
    for mut records in persons(&text, period)?.into_values() {
        // The truth may know of parties that took no part.
        records.retain(|(party, _)| traits.parties.contains_key(*party));
        for (party, local_id) in &records {
            let person = found.get(&(*party, *local_id));
            let partners = || records.iter().filter(|r| if alone { r.1 != *local_id } else { r.0 != *party });
            let out_of = partners().count() as u64;
            let right = partners().filter(|r| person.is_some() && found.get(*r) == person).count() as u64;
            if out_of > 0 {
                counted.extend(traits.subject(party, local_id, out_of, right));
            }
        }
    }
    Ok(Missed {
        by_sex: table(&counted, |g| g.sex, &Sex::ALL, minimum, Sensitive::Records),
        by_age: table(&counted, |g| g.age, &AgeBand::ALL, minimum, Sensitive::Records),
        by_date_quality: table(&counted, |g| g.date, &DATE_QUALITIES, minimum, Sensitive::Records),
    })
}

/// Records by true person.
type Persons<'t> = HashMap<&'t str, Vec<(&'t str, &'t str)>>;

fn persons(truth: &str, period: Period) -> anyhow::Result<Persons<'_>> {
    fn unquoted(cell: &str) -> &str {
        cell.trim_matches('"')
    }
    let mut lines = truth.trim_start_matches('\u{feff}').lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').map(unquoted).collect();
    let position = |name: &str| header.iter().position(|c| *c == name);
    let at = |name: &str| position(name).with_context(|| format!("fichier de vérité : la colonne « {name} » manque"));
    let (party, local_id, person) = (at("party")?, at("local_id")?, at("person_id")?);
    let month = position("month").or_else(|| position("period"));
    let wanted = period.to_string();
    let mut persons: Persons<'_> = HashMap::new();
    for line in lines {
        let cells: Vec<&str> = line.split(',').map(unquoted).collect();
        let cell = |at: usize| cells.get(at).copied().unwrap_or_default();
        if month.is_none_or(|at| cell(at) == wanted) {
            persons.entry(cell(person)).or_default().push((cell(party), cell(local_id)));
        }
    }
    Ok(persons)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traits() -> Traits {
        let mut traits = Traits::default();
        for party in ["a", "b"] {
            traits.parties.insert(party.to_owned(), party.parse().unwrap());
            for n in 0..60 {
                let groups = Groups {
                    sex: if n % 2 == 0 { Sex::Women } else { Sex::Men },
                    age: AgeBand::From30,
                    date: if n < 30 { "full" } else { "default" },
                };
                traits.of.insert((party.to_owned(), n.to_string()), groups);
            }
        }
        traits
    }

    #[test]
    fn recall_is_counted_from_each_record() {
        // Records of both parties with one number are one person; those from 40 on were not linked.
        let links: Vec<Link<u32>> = ["a", "b"]
            .into_iter()
            .flat_map(|party| {
                (0..60u32).map(move |n| Link {
                    person: if n < 40 { n } else { 1000 * (1 + u32::from(party == "b")) + n },
                    party: party.to_owned(),
                    local_id: n.to_string(),
                    match_class: 0,
                    probability: 0,
                })
            })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let truth = dir.path().join("truth.csv");
        let mut text = "party,month,local_id,person_id\n".to_owned();
        for n in 0..60 {
            text += &format!("a,2024-01,{n},P{n}\nb,2024-01,{n},P{n}\na,2024-02,{n},X\n");
        }
        linkage_common::fsx::write_atomic(&truth, text.as_bytes()).unwrap();
        let made = missed(&links, &truth, "2024-01".parse().unwrap(), &traits(), 11).unwrap();
        let all = made.by_date_quality.rows.last().unwrap();
        let rate = |at: usize| all.groups[at].map(|r| (r.records, r.out_of, r.found));
        assert_eq!([rate(0), rate(1)], [Some((60, 60, 60)), Some((60, 60, 20))], "who has a default date is missed");
        assert_eq!(made.by_sex.rows.last().unwrap().all.map(|r| r.found), Some(80));
        let linked = linked(&links, &traits(), 11);
        assert_eq!(linked.by_age.rows.last().unwrap().all.map(|r| r.found), Some(80));
    }

    #[test]
    fn a_truth_without_its_columns_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let truth = dir.path().join("truth.csv");
        linkage_common::fsx::write_atomic(&truth, b"party,local_id\na,1\n").unwrap();
        let none: [Link<u32>; 0] = [];
        let error = missed(&none, &truth, "2024-01".parse().unwrap(), &traits(), 11).unwrap_err();
        assert!(error.to_string().contains("person_id"));
    }
}
