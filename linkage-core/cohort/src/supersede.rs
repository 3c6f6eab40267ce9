//! Supersession lists: bringing rows that bear the persons of an earlier run up to those of a later one.
//!
//! Each run says which persons it merged, and which records it moved from one person to another when it split one. A row
//! of person and record follows the lists run by run: a listed record that bears the person it was moved from bears the
//! one it was moved to; then whoever was merged is the person merged into. Moves come before merges: both are told in
//! terms of the persons before the run. Rows that follow every list bear the persons of the registry after the last one,
//! wherever they started. A list applied out of turn would not: [`apply`] therefore remembers which runs it has applied.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use linkage_agreement::RunId;
use serde::{Deserialize, Serialize};

/// A record that a run moved to another person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Move<K> {
    /// The person it was.
    pub old: K,
    /// The person it is.
    pub new: K,
    /// The record.
    pub record: K,
}

/// What one run changed. `K` names persons and records: pseudonyms, or a study's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<K> {
    /// The run.
    pub run: RunId,
    /// Persons merged: old, new.
    pub merges: Vec<(K, K)>,
    /// Records moved.
    pub moves: Vec<Move<K>>,
}

/// How much a run changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Persons merged into others.
    pub merges: u64,
    /// Persons of which a part became another person; one of which two parts did counts twice.
    pub splits: u64,
    /// Persons that gained or lost records.
    pub persons: u64,
    /// Records moved by splits.
    pub records: u64,
}

impl<K: Copy + Eq + Hash + Ord> List<K> {
    /// How much it changes.
    pub fn changes(&self) -> Changes {
        let splits: BTreeSet<(K, K)> = self.moves.iter().map(|m| (m.old, m.new)).collect();
        let persons: HashSet<K> = self.merges.iter().chain(&splits).flat_map(|&(old, new)| [old, new]).collect();
        Changes {
            merges: self.merges.len() as u64,
            splits: splits.len() as u64,
            persons: persons.len() as u64,
            records: self.moves.len() as u64,
        }
    }
}

/// A list, ready to be asked for the person of a row.
#[derive(Debug, Clone)]
pub struct Successors<K> {
    merged: HashMap<K, K>,
    moved: HashMap<(K, K), K>,
}

impl<K: Copy + Eq + Hash> Successors<K> {
    /// Of one list.
    pub fn new(list: &List<K>) -> Self {
        Self {
            merged: list.merges.iter().copied().collect(),
            moved: list.moves.iter().map(|m| ((m.record, m.old), m.new)).collect(),
        }
    }
    /// The person after the run of a row that bore `person` before it.
    pub fn of(&self, person: K, record: K) -> K {
        let moved = self.moved.get(&(record, person)).copied().unwrap_or(person);
        self.merged.get(&moved).copied().unwrap_or(moved)
    }
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.merged.is_empty() && self.moved.is_empty()
    }
}

/// Applies `lists`, in the order of their runs, to rows of person and record; those of runs in `applied` change nothing,
/// and the others are added to it. Returns how many rows bear another person now.
pub fn apply<'r, K: Copy + Eq + Hash + 'r>(
    rows: impl IntoIterator<Item = (&'r mut K, K)>,
    lists: &[List<K>],
    applied: &mut Vec<RunId>,
) -> u64 {
    let mut due = Vec::new();
    for list in lists {
        if !applied.contains(&list.run) {
            applied.push(list.run.clone());
            due.push(Successors::new(list));
        }
    }
    due.retain(|successors| !successors.is_empty());
    let mut changed = 0;
    for (person, record) in rows {
        let now = due.iter().fold(*person, |person, successors| successors.of(person, record));
        changed += u64::from(now != *person);
        *person = now;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(run: &str, merges: &[(u8, u8)], moves: &[(u8, u8, u8)]) -> List<u8> {
        let moves = moves.iter().map(|&(old, new, record)| Move { old, new, record }).collect();
        List { run: run.parse().unwrap(), merges: merges.to_vec(), moves }
    }
    /// Rows of person and record, each after the lists.
    fn after(rows: &[(u8, u8)], lists: &[List<u8>], applied: &mut Vec<RunId>) -> (Vec<u8>, u64) {
        let mut persons: Vec<u8> = rows.iter().map(|r| r.0).collect();
        let changed = apply(persons.iter_mut().zip(rows.iter().map(|r| r.1)), lists, applied);
        (persons, changed)
    }

    #[test]
    fn a_merge_takes_every_row_of_the_old_person_and_a_split_the_listed_records() {
        let lists = [list("r1", &[(7, 4)], &[(5, 9, 51)])];
        assert_eq!(after(&[(7, 70), (4, 40), (5, 50), (5, 51), (6, 51)], &lists, &mut vec![]), (vec![4, 4, 5, 9, 6], 2));
    }

    #[test]
    fn a_record_that_leaves_a_person_merged_in_the_same_run_does_not_follow_it() {
        // 7 and 4 became one person, but record 71 of 7 and 41 of 4 are a third.
        let lists = [list("r1", &[(7, 4)], &[(7, 9, 71), (4, 9, 41)])];
        assert_eq!(after(&[(7, 70), (7, 71), (4, 40), (4, 41)], &lists, &mut vec![]), (vec![4, 9, 4, 9], 3));
    }

    #[test]
    fn a_list_applied_twice_changes_nothing_also_after_later_ones() {
        let (first, second) = (list("r1", &[], &[(4, 9, 41)]), list("r2", &[], &[(9, 4, 41)]));
        let rows = [(4, 41)];
        let mut applied = vec![];
        assert_eq!(after(&rows, std::slice::from_ref(&first), &mut applied), (vec![9], 1));
        assert_eq!(after(&[(9, 41)], &[first.clone(), second.clone()], &mut applied), (vec![4], 1));
        assert_eq!(after(&rows, &[first, second], &mut applied), (vec![4], 0));
        assert_eq!(applied, ["r1".parse().unwrap(), "r2".parse().unwrap()]);
    }

    #[test]
    fn rows_of_any_run_end_at_the_same_person_when_they_follow_all_lists() {
        let lists = [
            list("r1", &[(7, 4)], &[]),
            list("r2", &[], &[(4, 9, 70)]),
            list("r3", &[(9, 2)], &[]),
            list("r4", &[], &[(2, 4, 70)]),
        ];
        // Record 70 was 7, then 4, 9, 2 and again 4.
        for person in [7, 4, 9, 2] {
            assert_eq!(after(&[(person, 70)], &lists, &mut vec![]).0, [4], "from {person}");
        }
    }

    #[test]
    fn changes_count_merges_parts_persons_and_records() {
        let changes = list("r1", &[(7, 4), (6, 4)], &[(5, 9, 51), (5, 9, 52), (5, 8, 53)]).changes();
        assert_eq!(changes, Changes { merges: 2, splits: 2, persons: 6, records: 3 });
        assert_eq!(list("r1", &[], &[]).changes(), Changes::default());
    }
}
