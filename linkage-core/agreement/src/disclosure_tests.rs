//! Suppression against somebody who tries every table that what is shown allows.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn line(counts: &[u64]) -> Vec<bool> {
    let cells: Vec<[u64; 1]> = counts.iter().map(|n| [*n]).collect();
    let mut hidden = vec![false; cells.len()];
    protect_line(&cells, &mut hidden, Rule::sum(11));
    hidden
}

#[test]
fn a_small_cell_takes_one_that_is_not_small_with_it() {
    assert_eq!(line(&[3, 40, 20]), [true, false, true]);
    assert_eq!(line(&[3, 4, 20, 30]), [true, true, true, false]);
    assert_eq!(line(&[10, 10, 10, 50]), [true; 4], "three that are small would be told by their sum");
    assert_eq!(line(&[1, 11, 12]), [true, true, false]);
    assert_eq!(line(&[11, 40, 0]), [false; 3]);
    assert_eq!(line(&[3, 0, 40]), [true, false, true], "an empty cell protects nothing");
    assert_eq!(line(&[3]), [true]);
}

#[test]
fn both_counts_of_a_cell_matter() {
    let mut hidden = [false; 3];
    protect_line(&[[50, 2], [40, 30], [90, 20]], &mut hidden, Rule::each(11));
    assert_eq!(hidden, [true, false, true], "nearly all linked tells of each");
}

/// What a reader is shown of one count of a table: cells and totals of columns, those of rows always.
struct Told {
    cells: Vec<Vec<Option<u64>>>,
    rows: Vec<u64>,
    columns: Vec<Option<u64>>,
    /// What hidden cells are at least.
    least: u64,
}

impl Told {
    fn of(rows: &[Vec<u64>], hidden: &[Vec<bool>], hidden_columns: &[bool], least: u64) -> Self {
        let show = |(count, hidden): (&u64, &bool)| (!hidden || *count == 0 && least > 0).then_some(*count);
        let column = |at: usize| rows.iter().map(|row| row[at]).sum::<u64>();
        Self {
            cells: rows.iter().zip(hidden).map(|(row, hidden)| row.iter().zip(hidden).map(show).collect()).collect(),
            rows: rows.iter().map(|row| row.iter().sum()).collect(),
            columns: hidden_columns.iter().enumerate().map(|(at, hidden)| (!hidden).then(|| column(at))).collect(),
            least,
        }
    }
    /// Tries every value of the cells from `at` on, and notes of each cell those that some possible table has.
    fn try_all(&self, at: usize, tried: &mut Vec<Vec<u64>>, possible: &mut [Vec<BTreeSet<u64>>]) {
        let width = self.columns.len();
        let (row, column) = (at / width, at % width);
        if row == self.rows.len() {
            for (possible, tried) in possible.iter_mut().flatten().zip(tried.iter().flatten()) {
                possible.insert(*tried);
            }
            return;
        }
        let left_in_row = self.rows[row] - tried[row].iter().take(column).sum::<u64>();
        let above: u64 = tried.iter().take(row).map(|row| row[column]).sum();
        let left = self.columns[column].map_or(left_in_row, |total| left_in_row.min(total.saturating_sub(above)));
        let range = match self.cells[row][column] {
            Some(shown) => shown..=shown,
            None => self.least..=left,
        };
        for value in range {
            let row_over = column + 1 == width && value != left_in_row;
            let column_over = row + 1 == self.rows.len() && self.columns[column].is_some_and(|total| above + value != total);
            if value <= left && !row_over && !column_over {
                tried[row][column] = value;
                self.try_all(at + 1, tried, possible);
            }
        }
        tried[row][column] = 0;
    }
    fn possible(&self) -> Vec<Vec<BTreeSet<u64>>> {
        let mut possible = vec![vec![BTreeSet::new(); self.columns.len()]; self.rows.len()];
        self.try_all(0, &mut vec![vec![0; self.columns.len()]; self.rows.len()], &mut possible);
        possible
    }
}

const MINIMUM: u64 = 3;

fn counts() -> impl Strategy<Value = u64> {
    prop_oneof![2 => 0u64..4, 1 => 4u64..9]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whoever tries every table with the figures shown finds each small count to be any small one.
    #[test]
    fn every_small_count_may_be_any_small_count(rows in prop::collection::vec(prop::collection::vec(counts(), 3), 1..4)) {
        let cells: Vec<Vec<[u64; 1]>> = rows.iter().map(|row| row.iter().map(|n| [*n]).collect()).collect();
        let (hidden, hidden_columns) = protect_table(&cells, &[], Rule::sum(MINIMUM));
        let possible = Told::of(&rows, &hidden, &hidden_columns, 1).possible();
        for (row, counts) in rows.iter().enumerate() {
            // A row that is small as a whole is told by its own total.
            let large = counts.iter().any(|n| *n >= 2 * MINIMUM);
            for (column, count) in counts.iter().enumerate().filter(|(_, n)| (1..MINIMUM).contains(*n)) {
                prop_assert!(hidden[row][column]);
                prop_assert!(possible[row][column].contains(count), "the truth is possible");
                prop_assert!(
                    !large || counts.iter().filter(|n| **n > 0).count() < 2 || (1..MINIMUM).all(|n| possible[row][column].contains(&n)),
                    "{rows:?} {hidden:?} {hidden_columns:?}: {count} is one of {:?}", possible[row][column]
                );
            }
        }
        // Totals that are hidden are as free.
        for (column, _) in hidden_columns.iter().enumerate().filter(|(_, hidden)| !**hidden) {
            let total: u64 = rows.iter().map(|row| row[column]).sum();
            prop_assert!(total == 0 || total >= MINIMUM);
        }
    }

    /// The same where each of two counts of a cell is secret: none of it may be told from few either.
    #[test]
    fn each_of_two_counts_may_be_any_small_count(rows in prop::collection::vec(prop::collection::vec([counts(), counts()], 3), 2)) {
        let (hidden, hidden_columns) = protect_table(&rows, &[], Rule::each(MINIMUM));
        for of in 0..2 {
            let one: Vec<Vec<u64>> = rows.iter().map(|row| row.iter().map(|cell| cell[of]).collect()).collect();
            // Empty cells are shown as such.
            let is_hidden = |row: usize, at: usize| hidden[row][at] && rows[row][at] != [0, 0];
            let hidden: Vec<Vec<bool>> = (0..rows.len()).map(|row| (0..3).map(|at| is_hidden(row, at)).collect()).collect();
            let possible = Told::of(&one, &hidden, &hidden_columns, 0).possible();
            for (row, cells) in rows.iter().enumerate() {
                let large = cells.iter().any(|cell| cell.iter().all(|n| *n >= 2 * MINIMUM));
                let filled = cells.iter().filter(|cell| **cell != [0, 0]).count();
                for (at, cell) in cells.iter().enumerate().filter(|(_, cell)| **cell != [0, 0] && cell[of] < MINIMUM) {
                    prop_assert!(hidden[row][at]);
                    prop_assert!(
                        !large || filled < 2 || (0..MINIMUM).all(|n| possible[row][at].contains(&n)),
                        "{rows:?} {hidden:?} {hidden_columns:?}: {} of {cell:?} is one of {:?}", cell[of], possible[row][at]
                    );
                }
            }
        }
    }
}

#[test]
fn somebody_who_tries_every_table_finds_what_small_cells_alone_hide() {
    // The figures of before: two hidden in each line, no sum of theirs small.
    let rows = [vec![3, 1, 20], vec![1, 3, 20]];
    let hidden = [vec![true, true, false], vec![true, true, false]];
    let possible = Told::of(&rows, &hidden, &[false; 3], 1).possible();
    assert_eq!(possible[0][0], BTreeSet::from([1, 2, 3]));
    let possible = Told::of(&[vec![10, 10, 10]], &[vec![true; 3]], &[true; 3], 1).possible();
    assert!(possible[0][0].iter().filter(|n| **n < 11).count() == 10, "and where all are small, only 10 adds up to 30");
}

#[test]
fn classes_of_records_do_not_narrow_their_sum() {
    // Two parties, three groups; records that met, and that did not.
    let rows = [vec![[10, 0], [0, 12], [200, 100]], vec![[0, 30], [0, 30], [200, 100]]];
    let (hidden, totals) = protect_table(&rows, &[], Rule::sum(11));
    assert!(hidden[0][0], "ten are few");
    // The second group cannot stand in for it: it has no record that met. The third can.
    assert!(hidden[0][2] && (hidden[1][2] || totals[2]), "{hidden:?} {totals:?}");
}
