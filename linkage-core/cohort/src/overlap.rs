//! Persons by combination of parties: who is in whose files.

use std::collections::{BTreeMap, BTreeSet};

use linkage_agreement::disclosure::{Rule, protect_line};
use linkage_agreement::{PartyId, Pseudonym};

use crate::table::LinkRow;

/// Persons found in the files of exactly these parties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The combination, sorted.
    pub parties: Vec<PartyId>,
    /// Distinct persons; `None` when suppressed.
    pub persons: Option<u64>,
}

/// An overlap table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// One cell for each combination that occurs, by number of parties, then by name.
    pub cells: Vec<Cell>,
    /// Distinct persons over all cells.
    pub persons: u64,
}

/// Counts distinct persons by the exact combination of parties that hold them. Figures are raw: see [`disclose`].
pub fn overlap<'r>(rows: impl IntoIterator<Item = &'r LinkRow>) -> Overlap {
    let mut parties_of: BTreeMap<Pseudonym, BTreeSet<&PartyId>> = BTreeMap::new();
    for row in rows {
        parties_of.entry(row.person).or_default().insert(&row.party);
    }
    let persons = parties_of.len() as u64;
    let mut counts: BTreeMap<(usize, Vec<&PartyId>), u64> = BTreeMap::new();
    for parties in parties_of.into_values() {
        let parties: Vec<&PartyId> = parties.into_iter().collect();
        *counts.entry((parties.len(), parties)).or_default() += 1;
    }
    let cells = counts
        .into_iter()
        .map(|((_, parties), count)| Cell { parties: parties.into_iter().cloned().collect(), persons: Some(count) })
        .collect();
    Overlap { cells, persons }
}

/// Suppresses every cell below `minimum`, and, since the total is shown beside the cells, others with them, the smallest
/// first, until each small one may be any small one.
pub fn disclose(table: &Overlap, minimum: u64) -> Overlap {
    let counts: Vec<[u64; 1]> = table.cells.iter().map(|cell| [cell.persons.unwrap_or(0)]).collect();
    let mut hidden: Vec<bool> = table.cells.iter().map(|cell| cell.persons.is_none()).collect();
    protect_line(&counts, &mut hidden, Rule::sum(minimum));
    let cells = table
        .cells
        .iter()
        .zip(hidden)
        .map(|(cell, hidden)| Cell { parties: cell.parties.clone(), persons: cell.persons.filter(|_| !hidden) })
        .collect();
    Overlap { cells, persons: table.persons }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::MatchClass;

    fn row(person: u8, party: &str) -> LinkRow {
        LinkRow {
            person: Pseudonym([person; 16]),
            party: party.parse().unwrap(),
            record: Pseudonym([0; 16]),
            period: "2024-01".parse().unwrap(),
            match_class: MatchClass::Single,
            probability: 0,
            run: "r".parse().unwrap(),
        }
    }
    fn figures(table: &Overlap) -> Vec<(String, Option<u64>)> {
        let name = |c: &Cell| c.parties.iter().map(linkage_agreement::PartyId::as_str).collect::<Vec<_>>().join("+");
        table.cells.iter().map(|c| (name(c), c.persons)).collect()
    }
    fn table(counts: &[(&str, u64)]) -> Overlap {
        let cells = counts.iter().map(|(p, n)| Cell { parties: vec![p.parse().unwrap()], persons: Some(*n) }).collect();
        Overlap { cells, persons: counts.iter().map(|c| c.1).sum() }
    }

    #[test]
    fn a_person_counts_once_in_the_exact_combination() {
        let rows = [row(1, "caf"), row(1, "ccas"), row(1, "caf"), row(2, "ccas"), row(3, "caf"), row(3, "ccas")];
        let made = overlap(&rows);
        assert_eq!(made.persons, 3);
        assert_eq!(figures(&made), [("ccas".to_owned(), Some(1)), ("caf+ccas".to_owned(), Some(2))]);
    }

    #[test]
    fn a_single_small_cell_takes_the_next_smallest_with_it() {
        let made = disclose(&table(&[("a", 3), ("b", 40), ("c", 20)]), 11);
        assert_eq!(made.cells.iter().map(|c| c.persons).collect::<Vec<_>>(), [None, Some(40), None]);
    }

    #[test]
    fn small_cells_whose_sum_is_small_are_protected_too() {
        let made = disclose(&table(&[("a", 3), ("b", 4), ("c", 20), ("d", 30)]), 11);
        assert_eq!(made.cells.iter().map(|c| c.persons).collect::<Vec<_>>(), [None, None, None, Some(30)]);
        let made = disclose(&table(&[("a", 6), ("b", 7), ("c", 20), ("d", 30)]), 11);
        assert_eq!(made.cells.iter().map(|c| c.persons).collect::<Vec<_>>(), [None, None, None, Some(30)]);
    }

    #[test]
    fn nothing_is_hidden_when_all_is_large() {
        let made = table(&[("a", 11), ("b", 40)]);
        assert_eq!(disclose(&made, 11), made);
    }
}
