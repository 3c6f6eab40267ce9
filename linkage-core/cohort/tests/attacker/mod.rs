//! An attacker on published tables: knows what they say, how they add up, that counts are whole and not negative, and
//! that hidden cells are not empty. Works from [`PublicTable`]s alone and shares no code with what it attacks; bounds by
//! another crate's simplex (microlp), exact recovery by elimination modulo a prime.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

use std::collections::BTreeMap;

use linkage_cohort::{Category, PublicTable, Shown};
use microlp::{ComparisonOp, OptimizationDirection, Problem, SolveOutcome};

/// What a figure means, as a reader understands it: measure, and the values that are not totals.
pub(crate) type Meaning = String;

/// What the attacker finds out of a hidden figure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// Whether the equations alone give it.
    pub(crate) solved: bool,
}

/// A linear relation: the terms add up to `sum` or (for `AtLeast`) to no less.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Relation {
    Equal,
    AtLeast,
}
pub(crate) type Equation = (Relation, Vec<(Meaning, f64)>);

fn meaning(table: &PublicTable, at: &[usize]) -> Meaning {
    let mut parts: Vec<String> = Vec::new();
    for (dimension, index) in table.dimensions.iter().zip(at) {
        match &dimension.categories[*index] {
            Category::Total => {}
            other => parts.push(format!("{}={other:?}", dimension.name)),
        }
    }
    parts.sort();
    format!("{}|{}", table.measure, parts.join("|"))
}

pub(crate) fn cells(table: &PublicTable) -> Vec<Vec<usize>> {
    table.dimensions.iter().fold(vec![Vec::new()], |all, dimension| {
        all.iter()
            .flat_map(|at| (0..dimension.categories.len()).map(|i| at.iter().copied().chain([i]).collect()).collect::<Vec<_>>())
            .collect()
    })
}

/// Lines whose parts add up to, or cover, their total.
fn lines(table: &PublicTable) -> Vec<Equation> {
    let mut found = Vec::new();
    for (which, dimension) in table.dimensions.iter().enumerate() {
        let Some(total) = dimension.categories.iter().position(|c| *c == Category::Total) else { continue };
        for at in cells(table).into_iter().filter(|at| at[which] == total) {
            let part = |index: usize| {
                let mut at = at.clone();
                at[which] = index;
                meaning(table, &at)
            };
            let parts: Vec<Meaning> = (0..dimension.categories.len()).filter(|i| *i != total).map(part).collect();
            let whole = meaning(table, &at);
            let sum = parts.iter().map(|p| (p.clone(), 1.0)).chain([(whole.clone(), -1.0)]).collect();
            if dimension.partition {
                found.push((Relation::Equal, sum));
            } else {
                found.push((Relation::AtLeast, sum));
                found.extend(parts.iter().map(|p| (Relation::AtLeast, vec![(whole.clone(), 1.0), (p.clone(), -1.0)])));
            }
        }
    }
    found
}

/// `stock(m) = stock(m-1) + entries(m) + returns(m) - exits(m)`, cell by cell of the stock's table.
fn flows(tables: &[PublicTable]) -> Vec<Equation> {
    let mut found = Vec::new();
    for stock in tables.iter().filter(|t| t.measure == "stock") {
        for at in cells(stock).into_iter().filter(|at| at[0] > 0) {
            let mut before = at.clone();
            before[0] -= 1;
            let now = meaning(stock, &at);
            let other = |measure: &str| now.replacen("stock", measure, 1);
            let others = [(meaning(stock, &before), -1.0), (other("entries"), -1.0), (other("exits"), 1.0), (now.clone(), 1.0)];
            // Returns that nobody tells of are not negative.
            found.push((Relation::AtLeast, others.to_vec()));
            found.push((Relation::Equal, others.into_iter().chain([(other("returns"), -1.0)]).collect()));
        }
    }
    found
}

/// Everything that can be found out of the hidden figures of tables.
pub(crate) fn attack(tables: &[PublicTable]) -> BTreeMap<Meaning, Finding> {
    let mut known: BTreeMap<Meaning, f64> = BTreeMap::new();
    let mut hidden: BTreeMap<Meaning, usize> = BTreeMap::new();
    for table in tables {
        for (at, shown) in cells(table).into_iter().zip(&table.cells) {
            match shown {
                Shown::Value { value, .. } => {
                    known.insert(meaning(table, &at), *value);
                }
                Shown::Hidden => {
                    let next = hidden.len();
                    hidden.entry(meaning(table, &at)).or_insert(next);
                }
                Shown::Missing => {}
            }
        }
    }
    let mut equations: Vec<Equation> = tables.iter().flat_map(lines).collect();
    equations.extend(flows(tables));
    solve(&known, hidden.into_keys().map(|meaning| (meaning, 1.0)).collect(), equations)
}

/// What can be found out of the `hidden` figures, each of which is known to be no less than it says.
pub(crate) fn solve(
    known: &BTreeMap<Meaning, f64>,
    mut hidden: BTreeMap<Meaning, f64>,
    equations: Vec<Equation>,
) -> BTreeMap<Meaning, Finding> {
    // What one table shows is no longer hidden in another.
    hidden.retain(|meaning, _| !known.contains_key(meaning));
    let least: Vec<f64> = hidden.values().copied().collect();
    let hidden: BTreeMap<Meaning, usize> = hidden.into_keys().zip(0..).collect();
    // Constants on the right; relations that speak of what stands in no table are of no use.
    let mut rows: Vec<(Relation, BTreeMap<usize, f64>, f64)> = Vec::new();
    for (relation, terms) in equations {
        let mut right = 0.0;
        let mut left: BTreeMap<usize, f64> = BTreeMap::new();
        let mut told = true;
        for (meaning, coefficient) in terms {
            match (known.get(&meaning), hidden.get(&meaning)) {
                (Some(value), _) => right -= coefficient * value,
                (None, Some(at)) => *left.entry(*at).or_default() += coefficient,
                (None, None) => told = false,
            }
        }
        left.retain(|_, c| *c != 0.0);
        if told && !left.is_empty() {
            rows.push((relation, left, right));
        }
    }
    let solved = solved(&rows, hidden.len());
    let bound = |at: usize, direction: OptimizationDirection| {
        let mut problem = Problem::new(direction);
        let variables: Vec<_> = least
            .iter()
            .enumerate()
            .map(|(v, least)| problem.add_var(f64::from(u8::from(v == at)), (*least, f64::INFINITY)))
            .collect();
        for (relation, left, right) in &rows {
            let terms: Vec<_> = left.iter().map(|(v, c)| (variables[*v], *c)).collect();
            problem.add_constraint(terms, if *relation == Relation::Equal { ComparisonOp::Eq } else { ComparisonOp::Ge }, *right);
        }
        match problem.solve() {
            Ok(SolveOutcome::Solution(solution)) => solution.objective(),
            Err(microlp::Error::Unbounded) => f64::INFINITY,
            other => panic!("the true table is possible: {other:?}"),
        }
    };
    hidden
        .iter()
        .map(|(meaning, at)| {
            let finding = Finding {
                least: bound(*at, OptimizationDirection::Minimize),
                most: bound(*at, OptimizationDirection::Maximize),
                solved: solved[*at],
            };
            (meaning.clone(), finding)
        })
        .collect()
}

const PRIME: i128 = (1 << 61) - 1;

/// Which unknowns the equations give, by elimination modulo a prime: those whose unit vector is in the row space.
fn solved(rows: &[(Relation, BTreeMap<usize, f64>, f64)], unknowns: usize) -> Vec<bool> {
    let mut matrix: Vec<Vec<i128>> = rows
        .iter()
        .filter(|(relation, ..)| *relation == Relation::Equal)
        .map(|(_, left, _)| (0..unknowns).map(|v| (left.get(&v).copied().unwrap_or(0.0) as i128).rem_euclid(PRIME)).collect())
        .collect();
    let mut row = 0;
    for column in 0..unknowns {
        let Some(pivot) = (row..matrix.len()).find(|r| matrix[*r][column] != 0) else { continue };
        matrix.swap(row, pivot);
        let inverse = power(matrix[row][column], PRIME - 2);
        matrix[row].iter_mut().for_each(|x| *x = *x * inverse % PRIME);
        let line = matrix[row].clone();
        for (_, other) in matrix.iter_mut().enumerate().filter(|(number, _)| *number != row) {
            let factor = other[column];
            if factor != 0 {
                other.iter_mut().zip(&line).for_each(|(x, y)| *x = (*x - factor * y).rem_euclid(PRIME));
            }
        }
        row += 1;
    }
    let mut found = vec![false; unknowns];
    for line in matrix {
        let filled: Vec<usize> = line.iter().enumerate().filter(|(_, x)| **x != 0).map(|(at, _)| at).collect();
        if let [only] = filled[..] {
            found[only] = true;
        }
    }
    found
}

fn power(base: i128, mut exponent: i128) -> i128 {
    let (mut result, mut base) = (1, base % PRIME);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result * base % PRIME;
        }
        base = base * base % PRIME;
        exponent >>= 1;
    }
    result
}

/// By meaning, the figures of raw tables.
pub(crate) fn truth(tables: &[(&linkage_cohort::FigureTable, &PublicTable)]) -> BTreeMap<Meaning, f64> {
    let each = |(raw, shown): &(&linkage_cohort::FigureTable, &PublicTable)| {
        cells(shown).into_iter().zip(&raw.cells).map(|(at, figure)| (meaning(shown, &at), figure.value)).collect::<Vec<_>>()
    };
    tables.iter().flat_map(each).collect()
}
