//! Suppression of small counts in tables with margins, so that subtraction does not give them back.
//!
//! A cell below the minimum is hidden (primary suppression). As its line's total is shown, others are hidden with it
//! until at least two are, and until what is hidden together is no small count itself (complementary suppression;
//! Hundepool et al., Statistical Disclosure Control, 2012, chapter 4). Cells that are empty are shown as such: that
//! nobody is in a cell tells nothing of anybody. A cell may have several counts (linked and not linked): it is
//! small when any of them is.

/// Hides in a line of `cells`, whose total is shown beside them, what must be hidden beyond what `hidden` says already.
/// Returns whether anything changed. Lines of one table are to be protected in turn until none changes.
pub fn protect_line<const N: usize>(cells: &[[u64; N]], hidden: &mut [bool], minimum: u64) -> bool {
    let counts = |cell: &[u64; N]| cell.iter().sum::<u64>() > 0;
    let mut changed = false;
    for (cell, hidden) in cells.iter().zip(hidden.iter_mut()) {
        if !*hidden && counts(cell) && is_small(cell, minimum) {
            *hidden = true;
            changed = true;
        }
    }
    loop {
        let concealed =
            || cells.iter().zip(hidden.iter()).filter(|(cell, hidden)| **hidden && counts(cell)).map(|(cell, _)| cell);
        let number = concealed().count();
        if number == 0 {
            return changed;
        }
        let mut sums = [0; N];
        for cell in concealed() {
            for (sum, count) in sums.iter_mut().zip(cell) {
                *sum += count;
            }
        }
        if number > 1 && !is_small(&sums, minimum) {
            return changed;
        }
        let shown = cells.iter().zip(hidden.iter_mut()).filter(|(cell, hidden)| !**hidden && counts(cell));
        match shown.min_by_key(|(cell, _)| cell.iter().min().copied()) {
            None => return changed,
            Some((_, next)) => *next = true,
        }
        changed = true;
    }
}

/// Whether one of a cell's counts is below `minimum`.
pub fn is_small<const N: usize>(cell: &[u64; N], minimum: u64) -> bool {
    cell.iter().any(|count| *count < minimum)
}

/// Which cells of a table to hide: `rows` of equal length, with the totals of rows, of columns and of the whole shown
/// beside them. A row whose total is in `hidden_rows` is hidden whole.
pub fn protect_table<const N: usize>(rows: &[Vec<[u64; N]>], hidden_rows: &[bool], minimum: u64) -> (Vec<Vec<bool>>, Vec<bool>) {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let column = |at: usize| -> Vec<[u64; N]> { rows.iter().map(|row| row.get(at).copied().unwrap_or([0; N])).collect() };
    let totals: Vec<[u64; N]> = (0..width).map(|at| total(&column(at))).collect();
    let mut hidden_totals = vec![false; width];
    protect_line(&totals, &mut hidden_totals, minimum);
    let mut hidden: Vec<Vec<bool>> =
        (0..rows.len()).map(|row| vec![hidden_rows.get(row).copied().unwrap_or(false); width]).collect();
    // A total that is hidden would be the sum of cells that are not.
    for (at, _) in hidden_totals.iter().enumerate().filter(|(_, hidden)| **hidden) {
        hidden.iter_mut().filter_map(|row| row.get_mut(at)).for_each(|cell| *cell = true);
    }
    loop {
        let mut changed = false;
        for (row, hidden) in rows.iter().zip(&mut hidden) {
            changed |= protect_line(row, hidden, minimum);
        }
        for at in 0..width {
            let mut line: Vec<bool> = hidden.iter().map(|row| row.get(at).copied().unwrap_or(false)).collect();
            if protect_line(&column(at), &mut line, minimum) {
                changed = true;
                for (row, now) in hidden.iter_mut().zip(line) {
                    if let Some(cell) = row.get_mut(at) {
                        *cell = now;
                    }
                }
            }
        }
        if !changed {
            return (hidden, hidden_totals);
        }
    }
}

/// The sum of cells.
pub fn total<const N: usize>(cells: &[[u64; N]]) -> [u64; N] {
    let mut sums = [0; N];
    for cell in cells {
        for (sum, count) in sums.iter_mut().zip(cell) {
            *sum += count;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(counts: &[u64]) -> Vec<bool> {
        let cells: Vec<[u64; 1]> = counts.iter().map(|n| [*n]).collect();
        let mut hidden = vec![false; cells.len()];
        protect_line(&cells, &mut hidden, 11);
        hidden
    }

    #[test]
    fn a_small_cell_takes_others_with_it() {
        assert_eq!(line(&[3, 40, 20]), [true, false, true]);
        assert_eq!(line(&[3, 4, 20, 30]), [true, true, true, false]);
        assert_eq!(line(&[6, 7, 20]), [true, true, false]);
        assert_eq!(line(&[11, 40, 0]), [false; 3]);
        assert_eq!(line(&[3, 0, 40]), [true, false, true], "an empty cell protects nothing");
        assert_eq!(line(&[3]), [true]);
    }

    #[test]
    fn both_counts_of_a_cell_matter() {
        let mut hidden = [false; 3];
        protect_line(&[[50, 2], [40, 30], [90, 20]], &mut hidden, 11);
        assert_eq!(hidden, [true, false, true], "nearly all linked tells of each");
    }

    proptest! {
        /// Nothing small is shown, and no line has one hidden cell, or a small sum of hidden ones, beside a shown total.
        #[test]
        fn no_subtraction_gives_a_small_count(rows in prop::collection::vec(prop::collection::vec([0u64..60, 0u64..60], 4), 1..6)) {
            let (hidden, hidden_totals) = protect_table(&rows, &[], 11);
            let check = |cells: Vec<[u64; 2]>, hidden: Vec<bool>, total_shown: bool| {
                let filled = |cell: &[u64; 2]| cell != &[0, 0];
                assert!(cells.iter().zip(&hidden).all(|(c, h)| *h || !filled(c) || !is_small(c, 11)));
                let concealed: Vec<[u64; 2]> =
                    cells.iter().zip(&hidden).filter(|(c, h)| **h && filled(c)).map(|(c, _)| *c).collect();
                let all = cells.iter().filter(|c| filled(c)).count();
                if total_shown && !concealed.is_empty() && concealed.len() < all {
                    assert!(concealed.len() > 1 && !is_small(&total(&concealed), 11));
                }
            };
            for (row, hidden) in rows.iter().zip(&hidden) {
                check(row.clone(), hidden.clone(), true);
            }
            for at in 0..4 {
                let column: Vec<_> = rows.iter().map(|r| r[at]).collect();
                check(column, hidden.iter().map(|h| h[at]).collect(), !hidden_totals[at]);
            }
        }
    }
}
