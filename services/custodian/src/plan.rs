//! What a clustered run comes to, from what was read of it: which records are one person, and which of them have a row.
//!
//! No database and no clock here: this is the work that takes a core for seconds, and is done beside the runtime. What comes of
//! records and clusters depends on their content only.

use linkage_agreement::Handle;

use crate::registry::{self, Assignment, Clusters, Person};
use crate::store::Member;

/// A record linked to no other.
const UNLINKED: u32 = u32::MAX;

/// One record of the run.
pub struct Held {
    /// Position of its party among the run's.
    pub party: u8,
    /// Its name within the agreement.
    pub reference: [u8; 16],
    /// Its name within the run.
    pub handle: [u8; 16],
    /// Row of its handle.
    pub row: i64,
    /// Its person until now.
    pub known: Option<Person>,
    /// Whether it is known and had a row in an earlier table.
    pub shown: bool,
    /// Whether it was delivered for the run's month.
    pub present: bool,
}

/// Records that are being linked by clusters.
pub struct Linking {
    records: Vec<Held>,
    by_handle: Vec<([u8; 16], u32)>,
    links: Vec<(u8, u16)>,
    groups: Vec<Vec<u32>>,
    group_of: Vec<u32>,
}

/// Records with what links them.
pub struct Linked {
    /// By party, then by reference: a record's number is its place.
    pub records: Vec<Held>,
    /// Class and probability by record; 0 for one without link.
    pub links: Vec<(u8, u16)>,
    /// The records that are one person.
    pub clusters: Clusters,
}

/// What is to be written.
pub struct Plan {
    /// Persons and what became of them.
    pub assignment: Assignment,
    /// By record: its person.
    pub person_of: Vec<Person>,
    /// By record: whether the table has its row.
    pub has_row: Vec<bool>,
    /// The records by reference, which is the order of the trees and says nothing of them.
    pub order: Vec<usize>,
}

impl Linking {
    /// None of `records` linked yet. A handle that two of them have names neither.
    pub fn new(mut records: Vec<Held>) -> Self {
        records.sort_unstable_by_key(|record| (record.party, record.reference));
        let mut by_handle: Vec<([u8; 16], u32)> =
            records.iter().zip(0..).map(|(record, number)| (record.handle, number)).collect();
        by_handle.sort_unstable();
        // Nobody knows whom of two a cluster means.
        let unique: Vec<_> = by_handle.chunk_by(|a, b| a.0 == b.0).filter_map(|same| <[_; 1]>::try_from(same).ok()).collect();
        let by_handle = unique.into_iter().flatten().collect();
        let count = records.len();
        Self { records, by_handle, links: vec![(0, 0); count], groups: Vec::new(), group_of: vec![UNLINKED; count] }
    }

    fn number_of(&self, handle: &Handle) -> Option<u32> {
        let at = self.by_handle.binary_search_by(|(known, _)| known.cmp(&handle.0)).ok()?;
        self.by_handle.get(at).map(|(_, number)| *number)
    }

    /// Links what each cluster names. Members without a record here are decoys (or a broker's error): they name nobody. A member
    /// of two clusters stays in the first.
    pub fn add(&mut self, clusters: &[Vec<Member>]) {
        for cluster in clusters {
            let mut members: Vec<(u32, u8, u16)> = Vec::with_capacity(cluster.len());
            for member in cluster {
                let free = |number: &u32| {
                    self.group_of.get(*number as usize) == Some(&UNLINKED) && !members.iter().any(|(other, ..)| other == number)
                };
                if let Some(number) = self.number_of(&member.handle).filter(free) {
                    members.push((number, member.match_class, member.probability));
                }
            }
            if members.len() < 2 {
                continue;
            }
            let group = self.groups.len() as u32;
            for (number, class, probability) in &members {
                self.links.get_mut(*number as usize).into_iter().for_each(|link| *link = (*class, *probability));
                self.group_of.get_mut(*number as usize).into_iter().for_each(|of| *of = group);
            }
            self.groups.push(members.into_iter().map(|(number, ..)| number).collect());
        }
    }

    /// Every record in its cluster, those that no cluster names alone; in the order of their smallest record.
    pub fn finish(mut self) -> Linked {
        let mut clusters = Clusters::default();
        for (group, number) in self.group_of.iter().zip(0..) {
            match self.groups.get_mut(*group as usize) {
                None => clusters.push([number]),
                Some(members) if !members.is_empty() => clusters.push(std::mem::take(members)),
                Some(_) => {}
            }
        }
        Linked { records: self.records, links: self.links, clusters }
    }
}

impl Linked {
    /// Persons are numbered after `newest`; of a run with a reference party, only persons of whom it has a record have rows.
    pub fn plan(&self, newest: Person, reference_party: Option<u8>) -> Plan {
        let known: Vec<Option<Person>> = self.records.iter().map(|record| record.known).collect();
        let assignment = registry::assign(&self.clusters, &known, newest);
        let mut person_of = vec![0; self.records.len()];
        let mut has_row = vec![false; self.records.len()];
        for (cluster, person) in self.clusters.iter().zip(&assignment.persons) {
            let record = |number: &u32| self.records.get(*number as usize);
            let of_reference = |number: &u32| record(number).map(|record| record.party) == reference_party;
            let shown = reference_party.is_none() || cluster.iter().any(of_reference);
            for number in cluster {
                let row = shown && record(number).is_some_and(|record| record.present);
                person_of.get_mut(*number as usize).into_iter().for_each(|place| *place = *person);
                has_row.get_mut(*number as usize).into_iter().for_each(|place| *place = row);
            }
        }
        let mut order: Vec<usize> = (0..self.records.len()).collect();
        order.sort_unstable_by_key(|at| self.records.get(*at).map(|record| (record.reference, record.party)));
        Plan { assignment, person_of, has_row, order }
    }
}
