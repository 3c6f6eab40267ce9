//! Suppression of small counts in tables with margins, so that what is shown beside them does not narrow them.
//!
//! A cell below the minimum is hidden (primary suppression), and others with it (complementary suppression; Hundepool et
//! al., Statistical Disclosure Control, 2012, chapter 4) until each small count may, for all that is shown, be any small
//! count: there is a table with the same margins in which it is nothing or one, and another in which it is the greatest that is
//! hidden. The proof is by example: records change places between four hidden cells, or between two where the
//! totals of their lines are hidden as well. In each line that is drawn on a hidden cell is no small one, so that nothing is
//! gained by taking all that is hidden for small. Cells that are empty are shown as such: that nobody is in a cell tells
//! nothing of anybody. Where a line as a whole, its total being shown, is too small for this, all of it is hidden.

/// Which counts of a cell must not be small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Small {
    /// Their sum: the cell's counts are classes of its records, each record in one of them.
    Sum,
    /// Each of them.
    Each,
}

/// When a cell is small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Which counts.
    pub small: Small,
    /// Smallest count shown.
    pub minimum: u64,
}

/// How far a count, the sum of some of a cell's counts, must be able to move.
struct Need {
    of: std::ops::Range<usize>,
    down: u64,
    up: u64,
}

impl Rule {
    /// Of counts that are small below `minimum`, each by itself.
    pub fn each(minimum: u64) -> Self {
        Self { small: Small::Each, minimum }
    }
    /// Of classes whose sum is small below `minimum`.
    pub fn sum(minimum: u64) -> Self {
        Self { small: Small::Sum, minimum }
    }

    /// Whether a cell is too small to be shown.
    pub fn is_small<const N: usize>(self, cell: &[u64; N]) -> bool {
        match self.small {
            Small::Sum => sum(cell) < self.minimum,
            Small::Each => cell.iter().any(|count| *count < self.minimum),
        }
    }

    /// What must remain possible of a cell: 1, or nothing where a cell that is not empty may have none of a count, to the
    /// greatest small count.
    fn needs<const N: usize>(self, cell: &[u64; N]) -> Vec<Need> {
        let need = |of: std::ops::Range<usize>, count: u64, least: u64| Need {
            of,
            down: count.saturating_sub(least),
            up: (self.minimum - 1).saturating_sub(count),
        };
        match self.small {
            Small::Sum => vec![need(0..N, sum(cell), 1)],
            Small::Each => {
                let small = cell.iter().enumerate().filter(|(_, count)| **count < self.minimum);
                small.map(|(at, count)| need(at..at + 1, *count, 0)).collect()
            }
        }
    }
}

fn sum<const N: usize>(cell: &[u64; N]) -> u64 {
    cell.iter().sum()
}

/// How much of the classes `of` each of `cells` could give away, all of them alike, without becoming empty.
fn room<const N: usize>(cells: &[[u64; N]], of: std::ops::Range<usize>) -> u64 {
    let class = |at: usize| cells.iter().filter_map(|cell| cell.get(at)).min().copied().unwrap_or(0);
    let rest = cells.iter().map(|cell| sum(cell).saturating_sub(1)).min().unwrap_or(0);
    of.map(class).sum::<u64>().min(rest)
}

/// Hides in a line of `cells`, whose total is shown beside them, what must be hidden beyond what `hidden` says already.
pub fn protect_line<const N: usize>(cells: &[[u64; N]], hidden: &mut [bool], rule: Rule) {
    for (cell, hidden) in cells.iter().zip(hidden.iter_mut()) {
        *hidden |= sum(cell) > 0 && rule.is_small(cell);
    }
    while !line_is_safe(cells, hidden, rule) {
        let shown = cells.iter().zip(hidden.iter_mut()).filter(|(cell, hidden)| !**hidden && sum(cell) > 0);
        match shown.min_by_key(|(cell, _)| cell.iter().min().copied()) {
            None => return,
            Some((_, next)) => *next = true,
        }
    }
}

/// Whether each small cell of a line may be any small one, for the others that are hidden can make up for it.
fn line_is_safe<const N: usize>(cells: &[[u64; N]], hidden: &[bool], rule: Rule) -> bool {
    let concealed: Vec<&[u64; N]> =
        cells.iter().zip(hidden).filter(|(cell, hidden)| **hidden && sum(cell) > 0).map(|(cell, _)| cell).collect();
    let mut small = concealed.iter().enumerate().filter(|(_, cell)| rule.is_small(cell)).peekable();
    if small.peek().is_none() {
        return concealed.len() != 1;
    }
    concealed.iter().any(|cell| !rule.is_small(cell))
        && small.all(|(at, cell)| {
            let given = |of: &std::ops::Range<usize>| -> u64 {
                let others = concealed.iter().enumerate().filter(|(other, _)| *other != at);
                others.map(|(_, other)| room(&[**other], of.clone())).sum()
            };
            rule.needs(cell).iter().all(|need| given(&need.of) >= need.up)
        })
}

/// How records can change places without a shown figure changing.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Between four cells: the row and the column of the opposite one.
    Rectangle(usize, usize),
    /// With the cell of another column in the same row, the totals of both columns being hidden.
    Across(usize),
    /// With the cell of another row in the same column, the totals of both rows being hidden.
    Along(usize),
}

/// Row and column.
type At = (usize, usize);

struct Table<'t, const N: usize> {
    rows: &'t [Vec<[u64; N]>],
    width: usize,
    rule: Rule,
    hidden: Vec<Vec<bool>>,
    hidden_rows: Vec<bool>,
    hidden_columns: Vec<bool>,
}

impl<const N: usize> Table<'_, N> {
    fn cell(&self, (row, column): At) -> [u64; N] {
        self.rows.get(row).and_then(|cells| cells.get(column)).copied().unwrap_or([0; N])
    }
    fn is_hidden(&self, (row, column): At) -> bool {
        self.hidden.get(row).and_then(|cells| cells.get(column)).copied().unwrap_or(false)
    }
    /// Whether that changed anything.
    fn hide(&mut self, (row, column): At) -> bool {
        self.hidden.get_mut(row).and_then(|cells| cells.get_mut(column)).is_some_and(|hidden| !std::mem::replace(hidden, true))
    }
    fn hide_total(&mut self, column: usize) -> bool {
        self.hidden_columns.get_mut(column).is_some_and(|hidden| !std::mem::replace(hidden, true))
    }
    fn row_hidden(&self, row: usize) -> bool {
        self.hidden_rows.get(row).copied().unwrap_or(false)
    }
    fn column_hidden(&self, column: usize) -> bool {
        self.hidden_columns.get(column).copied().unwrap_or(false)
    }

    /// Every way for a cell; those along a row need totals of columns to be hidden that may not be yet.
    fn ways(&self, (row, column): At) -> impl Iterator<Item = Way> {
        let (height, width) = (self.rows.len(), self.width);
        let rows = move || (0..height).filter(move |other| *other != row);
        let columns = move || (0..width).filter(move |other| *other != column);
        let along: Vec<Way> = rows().filter(|other| self.row_hidden(row) && self.row_hidden(*other)).map(Way::Along).collect();
        rows().flat_map(move |k| columns().map(move |l| Way::Rectangle(k, l))).chain(along).chain(columns().map(Way::Across))
    }
    /// The other cells of a way: those from which the cell would take, then that which takes with it.
    fn others(at: At, way: Way) -> (Vec<At>, Option<At>) {
        match way {
            Way::Rectangle(row, column) => (vec![(at.0, column), (row, at.1)], Some((row, column))),
            Way::Across(column) => (vec![(at.0, column)], None),
            Way::Along(row) => (vec![(row, at.1)], None),
        }
    }
    fn cells_of(at: At, way: Way) -> Vec<At> {
        let (mut cells, opposite) = Self::others(at, way);
        cells.extend(opposite);
        cells
    }
    /// How far a way lets a count of the cell move, down and up.
    fn reach(&self, at: At, way: Way, of: &std::ops::Range<usize>) -> (u64, u64) {
        let (from, opposite) = Self::others(at, way);
        let from: Vec<[u64; N]> = from.into_iter().map(|at| self.cell(at)).collect();
        let down = match opposite.map(|at| self.cell(at)) {
            None => u64::MAX,
            Some(opposite) => {
                let both = [self.cell(at), opposite];
                let class = |at: usize| both.iter().filter_map(|cell| cell.get(at)).min().copied().unwrap_or(0);
                of.clone().map(class).sum::<u64>().min(sum(&opposite).saturating_sub(1))
            }
        };
        (down, room(&from, of.clone()))
    }
    fn is_open(&self, at: At, way: Way) -> bool {
        let totals = match way {
            Way::Across(column) => self.column_hidden(at.1) && self.column_hidden(column),
            Way::Rectangle(..) | Way::Along(_) => true,
        };
        totals && Self::cells_of(at, way).into_iter().all(|at| self.is_hidden(at) && sum(&self.cell(at)) > 0)
    }
    /// Whether a way lets a cell be any small one, and draws on cells that are not small.
    fn suffices(&self, at: At, way: Way) -> bool {
        let enough = |need: &Need| {
            let (down, up) = self.reach(at, way, &need.of);
            let drawn = Self::others(at, way).0;
            down >= need.down && up >= need.up && drawn.into_iter().all(|at| !self.rule.is_small(&self.cell(at)))
        };
        self.rule.needs(&self.cell(at)).iter().all(enough)
    }

    /// Hides what lets a small cell be any small one; returns whether anything had to be hidden.
    fn protect(&mut self, at: At) -> bool {
        if self.ways(at).any(|way| self.is_open(at, way) && self.suffices(at, way)) {
            return false;
        }
        let cost = |way: &Way| {
            let new = Self::cells_of(at, *way).into_iter().filter(|at| !self.is_hidden(*at));
            let (number, counts) = new.fold((0, 0), |(number, counts), at| (number + 1, counts + sum(&self.cell(at))));
            // A total says more than a cell.
            let totals = if let Way::Across(column) = way { vec![at.1, *column] } else { Vec::new() };
            (totals.into_iter().filter(|column| !self.column_hidden(*column)).count(), number, counts)
        };
        let filled = |way: &Way| Self::cells_of(at, *way).into_iter().all(|at| sum(&self.cell(at)) > 0);
        let best = self.ways(at).filter(|way| filled(way) && self.suffices(at, *way)).min_by_key(cost);
        let (cells, totals): (Vec<At>, Vec<usize>) = match best {
            Some(way @ Way::Across(column)) => (Self::cells_of(at, way), vec![at.1, column]),
            Some(way) => (Self::cells_of(at, way), Vec::new()),
            None => ((0..self.width).map(|column| (at.0, column)).collect(), (0..self.width).collect()),
        };
        let cells = cells.into_iter().filter(|at| self.hide(*at)).count();
        cells + totals.into_iter().filter(|column| self.hide_total(*column)).count() > 0
    }
}

/// Which cells of a table to hide, and which totals of columns: `rows` of equal length, with the totals of rows and of the whole
/// shown beside them. A row whose total is in `hidden_rows` is hidden whole.
pub fn protect_table<const N: usize>(rows: &[Vec<[u64; N]>], hidden_rows: &[bool], rule: Rule) -> (Vec<Vec<bool>>, Vec<bool>) {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let column = |at: usize| -> Vec<[u64; N]> { rows.iter().map(|row| row.get(at).copied().unwrap_or([0; N])).collect() };
    let totals: Vec<[u64; N]> = (0..width).map(|at| total(&column(at))).collect();
    let mut hidden_columns = vec![false; width];
    protect_line(&totals, &mut hidden_columns, rule);
    let hidden = |row: usize, cells: &[[u64; N]]| -> Vec<bool> {
        let whole = hidden_rows.get(row).copied().unwrap_or(false);
        // A total that is hidden would be the sum of cells that are not.
        let is = |(cell, column): (&[u64; N], &bool)| whole || *column || sum(cell) > 0 && rule.is_small(cell);
        cells.iter().zip(&hidden_columns).map(is).collect()
    };
    let hidden = rows.iter().enumerate().map(|(row, cells)| hidden(row, cells)).collect();
    let mut table = Table { rows, width, rule, hidden, hidden_rows: hidden_rows.to_vec(), hidden_columns };
    loop {
        let mut changed = false;
        for row in 0..rows.len() {
            for column in 0..width {
                let cell = table.cell((row, column));
                if sum(&cell) > 0 && rule.is_small(&cell) {
                    changed |= table.protect((row, column));
                }
            }
        }
        if !changed {
            return (table.hidden, table.hidden_columns);
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
#[path = "disclosure_tests.rs"]
mod tests;
