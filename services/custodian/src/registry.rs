//! Carrying persons through runs: which person each cluster of record references is.
//!
//! A person id is random and never derived from an identity. It follows the references: a cluster that holds
//! references known from earlier runs keeps their person. On a merge the oldest person survives; on a split the part
//! that holds more of the person's references keeps it, and the other parts are new persons. Every change is in the
//! supersession list, so that tables made before can be read with those made after.

use std::collections::HashMap;

use linkage_agreement::{PartyId, PersonId, RecordRef};

/// A record reference and the party it belongs to.
pub type PartyRef = (PartyId, RecordRef);

/// A person known before, and its place in the order of age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The person.
    pub person: PersonId,
    /// Smaller is older.
    pub born: i64,
}

/// What became of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The old person is now part of the new one.
    Merge,
    /// Part of the old person is now the new one.
    Split,
}

/// One line of the supersession list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Supersession {
    /// Person in earlier tables.
    pub old: PersonId,
    /// Person in this run's table.
    pub new: PersonId,
    /// What happened.
    pub change: Change,
}

/// The person of every cluster, and what changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// For each cluster, in the order given: its person, and whether it was minted now.
    pub persons: Vec<(PersonId, bool)>,
    /// Changes, sorted.
    pub supersessions: Vec<Supersession>,
}

/// Gives each cluster (its references, none twice, none in two clusters) a person.
///
/// `known` holds the person of every reference registered before; `mint` draws a new random id. The result depends on
/// the clusters' content only, not on their order, but for which random id a new person gets.
pub fn assign(clusters: &[Vec<PartyRef>], known: &HashMap<PartyRef, Known>, mut mint: impl FnMut() -> PersonId) -> Assignment {
    // Which cluster holds how many references of each known person; ties go to the cluster with the smallest reference.
    let mut holders: HashMap<PersonId, (i64, HashMap<usize, usize>)> = HashMap::new();
    for (index, cluster) in clusters.iter().enumerate() {
        for reference in cluster {
            if let Some(k) = known.get(reference) {
                *holders.entry(k.person).or_insert_with(|| (k.born, HashMap::new())).1.entry(index).or_default() += 1;
            }
        }
    }
    let smallest = |index: usize| clusters[index].iter().min();
    let mut claimed: HashMap<usize, Vec<(i64, PersonId)>> = HashMap::new();
    for (person, (born, counts)) in &holders {
        let keeper = counts.iter().max_by(|a, b| a.1.cmp(b.1).then_with(|| smallest(*b.0).cmp(&smallest(*a.0))));
        if let Some((index, _)) = keeper {
            claimed.entry(*index).or_default().push((*born, *person));
        }
    }
    let mut persons = Vec::with_capacity(clusters.len());
    let mut supersessions = Vec::new();
    for index in 0..clusters.len() {
        let mut candidates = claimed.remove(&index).unwrap_or_default();
        candidates.sort();
        let (person, new) = match candidates.first() {
            Some(&(_, oldest)) => (oldest, false),
            None => (mint(), true),
        };
        supersessions.extend(candidates.iter().skip(1).map(|&(_, old)| Supersession { old, new: person, change: Change::Merge }));
        // References that came here from persons kept elsewhere: those persons were split.
        for (old, (_, counts)) in holders.iter().filter(|(_, (_, counts))| counts.contains_key(&index)) {
            if *old != person && !candidates.iter().any(|(_, p)| p == old) && counts.len() > 1 {
                supersessions.push(Supersession { old: *old, new: person, change: Change::Split });
            }
        }
        persons.push((person, new));
    }
    supersessions.sort();
    Assignment { persons, supersessions }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(n: u8) -> PartyRef {
        ("ccas".parse().unwrap(), RecordRef([n; 16]))
    }
    fn person(n: u8) -> PersonId {
        PersonId([n; 16])
    }
    fn known(entries: &[(u8, u8)]) -> HashMap<PartyRef, Known> {
        entries.iter().map(|&(r, p)| (reference(r), Known { person: person(p), born: i64::from(p) })).collect()
    }
    fn minting() -> impl FnMut() -> PersonId {
        let mut next = 100;
        move || {
            next += 1;
            person(next)
        }
    }

    #[test]
    fn a_cluster_without_history_is_a_new_person() {
        let made = assign(&[vec![reference(1), reference(2)], vec![reference(3)]], &HashMap::new(), minting());
        assert_eq!(made.persons, [(person(101), true), (person(102), true)]);
        assert!(made.supersessions.is_empty());
    }

    #[test]
    fn a_person_follows_its_references() {
        let made = assign(&[vec![reference(1), reference(9)]], &known(&[(1, 5)]), minting());
        assert_eq!(made, Assignment { persons: vec![(person(5), false)], supersessions: vec![] });
    }

    #[test]
    fn on_a_merge_the_oldest_survives() {
        let made = assign(&[vec![reference(1), reference(2), reference(3)]], &known(&[(1, 7), (2, 7), (3, 4)]), minting());
        assert_eq!(made.persons, [(person(4), false)]);
        assert_eq!(made.supersessions, [Supersession { old: person(7), new: person(4), change: Change::Merge }]);
    }

    #[test]
    fn on_a_split_the_larger_part_keeps_the_person() {
        let clusters = [vec![reference(1)], vec![reference(2), reference(3)]];
        let made = assign(&clusters, &known(&[(1, 4), (2, 4), (3, 4)]), minting());
        assert_eq!(made.persons, [(person(101), true), (person(4), false)]);
        assert_eq!(made.supersessions, [Supersession { old: person(4), new: person(101), change: Change::Split }]);
    }

    #[test]
    fn a_tie_goes_to_the_smallest_reference_whatever_the_order() {
        let known = known(&[(1, 4), (2, 4)]);
        let forward = assign(&[vec![reference(1)], vec![reference(2)]], &known, minting());
        let backward = assign(&[vec![reference(2)], vec![reference(1)]], &known, minting());
        assert_eq!(forward.persons[0], (person(4), false));
        assert_eq!(backward.persons[1], (person(4), false));
    }

    #[test]
    fn a_reference_that_changes_persons_is_a_split_of_the_one_it_left() {
        // 1,2 were person 4; 3,4 were person 6; reference 2 is now found to belong with 3 and 4.
        let clusters = [vec![reference(1)], vec![reference(2), reference(3), reference(4)]];
        let made = assign(&clusters, &known(&[(1, 4), (2, 4), (3, 6), (4, 6)]), minting());
        assert_eq!(made.persons, [(person(4), false), (person(6), false)]);
        assert_eq!(made.supersessions, [Supersession { old: person(4), new: person(6), change: Change::Split }]);
    }
}
