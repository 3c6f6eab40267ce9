//! Carrying persons through runs: which person each cluster of record references is.
//!
//! A person id is random and never derived from an identity. It follows the references: a cluster that holds
//! references known from earlier runs keeps their person. On a merge the oldest person survives; on a split the part
//! that holds more of the person's references keeps it, and the other parts are new persons. Every change is in the
//! supersession list, with the references that a split moved, so that tables made before can be read with those made after.
//!
//! Persons and references are numbers here: a registry holds millions of both.

use std::collections::HashMap;

/// A person: smaller is older.
pub type Person = i64;

/// Clusters of references, each reference a number that is in one cluster at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clusters {
    members: Vec<u32>,
    ends: Vec<u32>,
}

impl Clusters {
    /// Adds a cluster.
    pub fn push(&mut self, members: impl IntoIterator<Item = u32>) {
        self.members.extend(members);
        self.ends.push(self.members.len() as u32);
    }
    /// The clusters, as they were added.
    pub fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let mut from = 0;
        self.ends.iter().map(move |end| {
            let cluster = self.members.get(from..*end as usize).unwrap_or_default();
            from = *end as usize;
            cluster
        })
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// What became of a person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The old person is now part of the new one.
    Merge,
    /// Part of the old person is now the new one: these of its references.
    Split(Vec<u32>),
}

/// One entry of the supersession list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Supersession {
    /// Person in earlier tables.
    pub old: Person,
    /// Person in this run's table.
    pub new: Person,
    /// What happened.
    pub change: Change,
}

/// The person of every cluster, and what changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// For each cluster, in the order given: its person. Those above the newest known one are new.
    pub persons: Vec<Person>,
    /// Changes, sorted.
    pub supersessions: Vec<Supersession>,
}

/// A known person held by a cluster, with how many of its references.
struct Holding {
    person: Person,
    cluster: u32,
    references: u32,
}

/// Gives each cluster a person. `known` holds by reference the person that it was before; new persons are numbered from
/// `newest` + 1 on, in the order of the clusters.
///
/// Numbers of references stand for an order of theirs that does not change from run to run: ties go to the cluster with
/// the smallest one.
pub fn assign(clusters: &Clusters, known: &[Option<Person>], newest: Person) -> Assignment {
    let person_of = |reference: &u32| known.get(*reference as usize).copied().flatten();
    let holdings = holdings(clusters, person_of);
    let smallest: Vec<u32> = clusters.iter().map(|cluster| cluster.iter().min().copied().unwrap_or(u32::MAX)).collect();
    let keeper = |of_person: &[Holding]| {
        let rank = |holding: &Holding| (holding.references, std::cmp::Reverse(smallest.get(holding.cluster as usize).copied()));
        of_person.iter().max_by_key(|holding| rank(holding)).map(|holding| (holding.cluster, holding.person))
    };
    let by_person = || holdings.chunk_by(|a, b| a.person == b.person);
    // The oldest of the persons that a cluster keeps is the cluster's; the others are merged into it.
    let mut kept: Vec<(u32, Person)> = by_person().filter_map(keeper).collect();
    kept.sort_unstable();
    let mut persons = vec![0; clusters.len()];
    let mut supersessions = Vec::new();
    for of_cluster in kept.chunk_by(|a, b| a.0 == b.0) {
        let Some(((cluster, oldest), others)) = of_cluster.split_first() else { continue };
        if let Some(person) = persons.get_mut(*cluster as usize) {
            *person = *oldest;
        }
        supersessions.extend(others.iter().map(|(_, old)| Supersession { old: *old, new: *oldest, change: Change::Merge }));
    }
    let mut next = newest;
    for person in persons.iter_mut().filter(|person| **person == 0) {
        next += 1;
        *person = next;
    }
    // References that came to a cluster from persons kept elsewhere: those persons were split.
    let mut parts: HashMap<u32, Vec<Person>> = HashMap::new();
    for of_person in by_person().filter(|of_person| of_person.len() > 1) {
        let keeper = keeper(of_person).map(|(cluster, _)| cluster);
        for holding in of_person.iter().filter(|holding| Some(holding.cluster) != keeper) {
            parts.entry(holding.cluster).or_default().push(holding.person);
        }
    }
    for ((cluster, at), new) in clusters.iter().zip(0..).zip(&persons) {
        for old in parts.remove(&at).unwrap_or_default() {
            let mut moved: Vec<u32> = cluster.iter().filter(|reference| person_of(reference) == Some(old)).copied().collect();
            moved.sort_unstable();
            supersessions.push(Supersession { old, new: *new, change: Change::Split(moved) });
        }
    }
    supersessions.sort();
    Assignment { persons, supersessions }
}

/// Who holds whom, by person, then by cluster.
fn holdings(clusters: &Clusters, person_of: impl Fn(&u32) -> Option<Person>) -> Vec<Holding> {
    let mut pairs: Vec<(Person, u32)> = Vec::new();
    for (cluster, at) in clusters.iter().zip(0..) {
        pairs.extend(cluster.iter().filter_map(&person_of).map(|person| (person, at)));
    }
    pairs.sort_unstable();
    let holding = |same: &[(Person, u32)]| {
        same.first().map(|&(person, cluster)| Holding { person, cluster, references: same.len() as u32 })
    };
    pairs.chunk_by(|a, b| a == b).filter_map(holding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clusters(of: &[&[u32]]) -> Clusters {
        let mut clusters = Clusters::default();
        of.iter().for_each(|members| clusters.push(members.iter().copied()));
        clusters
    }
    fn known(entries: &[(usize, Person)]) -> Vec<Option<Person>> {
        let mut known = vec![None; 10];
        entries.iter().for_each(|&(reference, person)| known[reference] = Some(person));
        known
    }
    fn merge(old: Person, new: Person) -> Supersession {
        Supersession { old, new, change: Change::Merge }
    }
    fn split(old: Person, new: Person, moved: &[u32]) -> Supersession {
        Supersession { old, new, change: Change::Split(moved.to_vec()) }
    }

    #[test]
    fn a_cluster_without_history_is_a_new_person() {
        let made = assign(&clusters(&[&[1, 2], &[3]]), &known(&[]), 100);
        assert_eq!(made, Assignment { persons: vec![101, 102], supersessions: vec![] });
    }

    #[test]
    fn a_person_follows_its_references() {
        let made = assign(&clusters(&[&[1, 9]]), &known(&[(1, 5)]), 100);
        assert_eq!(made, Assignment { persons: vec![5], supersessions: vec![] });
    }

    #[test]
    fn on_a_merge_the_oldest_survives() {
        let made = assign(&clusters(&[&[1, 2, 3]]), &known(&[(1, 7), (2, 7), (3, 4)]), 100);
        assert_eq!(made, Assignment { persons: vec![4], supersessions: vec![merge(7, 4)] });
    }

    #[test]
    fn on_a_split_the_larger_part_keeps_the_person_and_the_other_references_are_listed() {
        let made = assign(&clusters(&[&[1], &[2, 3]]), &known(&[(1, 4), (2, 4), (3, 4)]), 100);
        assert_eq!(made, Assignment { persons: vec![101, 4], supersessions: vec![split(4, 101, &[1])] });
    }

    #[test]
    fn a_tie_goes_to_the_smallest_reference_whatever_the_order() {
        let known = known(&[(1, 4), (2, 4)]);
        assert_eq!(assign(&clusters(&[&[1], &[2]]), &known, 100).persons, [4, 101]);
        assert_eq!(assign(&clusters(&[&[2], &[1]]), &known, 100).persons, [101, 4]);
    }

    #[test]
    fn a_reference_that_changes_persons_is_a_split_of_the_one_it_left() {
        // 1,2 were person 4; 3,4 were person 6; reference 2 is now found to belong with 3 and 4.
        let made = assign(&clusters(&[&[1], &[2, 3, 4]]), &known(&[(1, 4), (2, 4), (3, 6), (4, 6)]), 100);
        assert_eq!(made, Assignment { persons: vec![4, 6], supersessions: vec![split(4, 6, &[2])] });
    }

    #[test]
    fn a_person_may_be_merged_and_split_at_once() {
        // 1,2,3 were 7; 4,5 were 4; now 1,2,4 are one and 3,5 another, which has 9, never seen before, with it.
        let before = known(&[(1, 7), (2, 7), (3, 7), (4, 4), (5, 4)]);
        let made = assign(&clusters(&[&[1, 2, 4], &[3, 5, 9]]), &before, 100);
        assert_eq!(made.persons, [4, 101]);
        assert_eq!(made.supersessions, [split(4, 101, &[5]), merge(7, 4), split(7, 101, &[3])]);
    }

    /// Whatever the clusters, each reference's new person follows from its old one and the list.
    #[test]
    fn the_list_leads_every_reference_to_its_new_person() {
        let mut state = 1u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..2_000 {
            let known: Vec<Option<Person>> = (0..8).map(|_| Some(draw(5) as Person).filter(|p| *p > 0)).collect();
            let mut groups: Vec<Vec<u32>> = vec![vec![]; 5];
            (0..8).for_each(|reference| groups[draw(5) as usize].push(reference));
            groups.retain(|group| !group.is_empty());
            let clusters = clusters(&groups.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let made = assign(&clusters, &known, 100);
            for (group, person) in groups.iter().zip(&made.persons) {
                for reference in group {
                    let Some(mut now) = known[*reference as usize] else { continue };
                    let moved = |s: &&Supersession| {
                        s.old == now && matches!(&s.change, Change::Split(moved) if moved.contains(reference))
                    };
                    if let Some(split) = made.supersessions.iter().find(moved) {
                        now = split.new;
                    }
                    if let Some(merge) = made.supersessions.iter().find(|s| s.old == now && s.change == Change::Merge) {
                        now = merge.new;
                    }
                    assert_eq!(now, *person, "{known:?} {groups:?} {made:?}");
                }
            }
            let mut distinct = made.persons.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), made.persons.len());
        }
    }
}
