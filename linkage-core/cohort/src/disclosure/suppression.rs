//! Suppression: which cells of tables to hide so that nothing small can be worked out.
//!
//! The attacker solves the whole linear system of all tables with what is shown in it, knowing that hidden counts are at
//! least one. Every cell that is sensitive by itself must remain possible up to the minimum and down to one for him (a
//! sum: by its largest contribution either way).
//!
//! For each such cell and direction a linear programme finds the change of cells, cheapest in what it newly hides, that
//! moves the cell so far and keeps every relation and every shown figure (Kelly, Golden, Assad, *Cell suppression*,
//! Networks 1992; Fischetti and Salazar, *Solving the cell suppression problem*, Management Science 2001). The
//! cells that change are hidden. The changed table is itself a table that the attacker cannot tell from the true one: the
//! protection is proved by example, and stays so whatever is hidden later. Every hidden cell is part of such a change,
//! hence none can be worked out exactly.
//!
//! Programmes are solved in the neighbourhood of the cell, which is widened as long as they fail.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::simplex::{Column, minimise};
use super::system::{Needs, State, System};
use super::{Policy, Refused};
use crate::figures::FigureTable;
use crate::public::{PublicTable, Shown};

/// A table that was published under suppression: what it takes to protect it beside later ones. It is raw: it stays in
/// the analyst's data folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// The raw table.
    table: FigureTable,
    /// By cell, whether it was hidden.
    hidden: Vec<bool>,
    /// How often persons had been taken out of the study, or put back.
    #[serde(default)]
    edition: u64,
}

impl Published {
    /// Of a raw table and what was shown of it, made when persons had been taken out of the study, or put back, `edition` times.
    pub fn of(raw: &FigureTable, shown: &PublicTable, edition: u64) -> Self {
        Self { table: raw.clone(), hidden: shown.cells.iter().map(|cell| *cell == Shown::Hidden).collect(), edition }
    }
    /// Whether a table of the study as it is in `edition` would tell, beside this one, who has been taken out since: it is of
    /// months that this one covers, or of the one after.
    pub fn tells_apart(&self, table: &FigureTable, edition: u64) -> bool {
        let months = |table: &FigureTable| {
            let all: Vec<[u32; 2]> = super::relations::periods(table).into_iter().flatten().collect();
            Some((all.iter().map(|m| m[0]).min()?, all.iter().map(|m| m[1]).max()?))
        };
        let overlap = |((first, last), (from, to)): ((u32, u32), (u32, u32))| from <= last + 1 && first <= to + 1;
        self.edition != edition && months(&self.table).zip(months(table)).is_some_and(overlap)
    }
    /// Number of its cells.
    pub fn cells(&self) -> usize {
        self.hidden.len()
    }
}

/// Most sensitive cells of tables that are protected together: each takes up to two programmes.
const MOST_SENSITIVE: usize = 2000;
/// Variables of the neighbourhoods tried, in turn.
const NEIGHBOURS: [usize; 4] = [120, 400, 1200, 4000];
/// Gain of moving the cell to be protected by one: above the cost of any way round.
const GAIN: f64 = 1e6;
/// Cost of moving a cell that is hidden already, so that changes stay small.
const HIDDEN_COST: f64 = 1e-3;
const MOVED: f64 = 1e-6;

/// Which cells of `tables` to hide, given what was `published`.
pub(super) fn patterns(tables: &[&FigureTable], policy: &Policy, published: &[Published]) -> Result<Vec<Vec<bool>>, Refused> {
    let all: Vec<&FigureTable> = published.iter().map(|p| &p.table).chain(tables.iter().copied()).collect();
    let mut system = System::of(&all, published.len(), policy);
    settle(&mut system, published);
    let touched = touched(&system, published.len());
    let hidden = system.variables.iter().zip(touched).enumerate();
    let hidden = hidden.filter(|(_, (v, touched))| *touched && v.state == State::Hidden).map(|(at, (v, _))| (at, v));
    let primaries: Vec<(usize, Needs)> = hidden.filter_map(|(at, v)| Some((at, v.needs?))).collect();
    if primaries.len() > MOST_SENSITIVE {
        return Err(Refused::TooFine { small: primaries.len(), most: MOST_SENSITIVE });
    }
    let mut reached = vec![Reached::default(); system.variables.len()];
    for (at, needs) in &primaries {
        let down = reached.get(*at).copied().unwrap_or_default().down;
        if down + MOVED < needs.down {
            let change = NEIGHBOURS.iter().find_map(|most| shift(&system, *at, -1.0, needs.down, *most));
            apply(&mut system, &mut reached, change.unwrap_or_default());
        }
        let Reached { up, down } = reached.get(*at).copied().unwrap_or_default();
        let need = needs.up.max(needs.width - down);
        if up + MOVED < need {
            let change = NEIGHBOURS.iter().find_map(|most| shift(&system, *at, 1.0, need, *most));
            apply(&mut system, &mut reached, change.ok_or(Refused::Conflict { minimum: policy.minimum })?);
        }
    }
    let is_hidden = |cell: &Option<usize>| cell.and_then(|v| system.variables.get(v)).is_some_and(|v| v.state == State::Hidden);
    Ok(system.cells.iter().skip(published.len()).map(|cells| cells.iter().map(is_hidden).collect()).collect())
}

/// How far changes that are proved to be possible have moved a variable.
#[derive(Debug, Clone, Copy, Default)]
struct Reached {
    up: f64,
    down: f64,
}

/// Hides what a change moves.
fn apply(system: &mut System, reached: &mut [Reached], change: Vec<(usize, f64)>) {
    for (variable, by) in change {
        if let Some(reached) = reached.get_mut(variable) {
            reached.up = reached.up.max(by);
            reached.down = reached.down.max(-by);
        }
        if let Some(variable) = system.variables.get_mut(variable).filter(|v| v.state == State::Open) {
            variable.state = State::Hidden;
        }
    }
}

/// Fixes what was shown, hides what was hidden or is sensitive.
fn settle(system: &mut System, published: &[Published]) {
    let System { variables, cells, .. } = system;
    for (table, cells) in published.iter().zip(cells.iter()) {
        for (hidden, cell) in table.hidden.iter().zip(cells) {
            let Some(variable) = cell.and_then(|v| variables.get_mut(v)) else { continue };
            // What one table showed and another hid is known.
            if !hidden {
                variable.state = State::Fixed;
            } else if variable.state == State::Open {
                variable.state = State::Hidden;
            }
        }
    }
    for variable in variables.iter_mut().filter(|v| v.state == State::Open && v.needs.is_some()) {
        variable.state = State::Hidden;
    }
}

/// The cheapest change that moves variable `target` by `need` in the direction of `sign`; none where the `most`
/// variables nearest to it do not allow it. Downwards, by as much as can be when these are all.
fn shift(system: &System, target: usize, sign: f64, need: f64, most: usize) -> Option<Vec<(usize, f64)>> {
    let near = neighbours(system, target, most);
    let mut rows: BTreeMap<usize, usize> = BTreeMap::new();
    for variable in &near {
        for equation in system.variables.get(*variable).map(|v| v.equations.as_slice()).unwrap_or_default() {
            let next = rows.len();
            rows.entry(*equation).or_insert(next);
        }
    }
    let mut columns = Vec::with_capacity(2 * near.len());
    let mut owners = Vec::with_capacity(2 * near.len());
    for at in &near {
        let variable = system.variables.get(*at)?;
        let mut terms = Vec::with_capacity(variable.equations.len());
        for equation in &variable.equations {
            let coefficient = system.equations.get(*equation)?.iter().find(|(v, _)| v == at).map_or(0.0, |(_, c)| *c);
            terms.push((*rows.get(equation)?, coefficient));
        }
        for direction in [1.0, -1.0] {
            if *at == target && direction != sign {
                continue;
            }
            let free = if direction > 0.0 { f64::INFINITY } else { (variable.value - variable.least).max(0.0) };
            let (upper, cost) = match variable.state {
                _ if *at == target => (need, -GAIN),
                State::Slack => (free, 0.0),
                State::Hidden => (free, HIDDEN_COST),
                State::Open | State::Fixed => (free, variable.cost),
            };
            columns.push(Column { terms: terms.iter().map(|(row, c)| (*row, c * direction)).collect(), upper, cost });
            owners.push((*at, direction));
        }
    }
    let solution = minimise(rows.len(), &columns)?;
    let mut change: BTreeMap<usize, f64> = BTreeMap::new();
    for ((variable, direction), by) in owners.iter().zip(solution) {
        *change.entry(*variable).or_default() += direction * by;
    }
    // A published neighbour may stop it short; downwards, what is lacking is made up for upwards.
    let whole = near.len() < most && sign < 0.0;
    let moved = change.get(&target).copied().unwrap_or(0.0).abs();
    (moved + MOVED >= need || whole).then(|| change.into_iter().filter(|(_, by)| by.abs() > MOVED).collect())
}

/// Which variables the new tables have a bearing on: those in them, and what relations tie to these by way of what is
/// not known. What was proved of the others stays proved.
fn touched(system: &System, published: usize) -> Vec<bool> {
    let mut touched = vec![false; system.variables.len()];
    let new = system.cells.iter().skip(published).flatten().filter_map(|cell| *cell);
    let mut queue: Vec<usize> = new.chain(system.stirred.iter().copied()).collect();
    while let Some(at) = queue.pop() {
        let (Some(seen), Some(variable)) = (touched.get_mut(at), system.variables.get(at)) else { continue };
        if std::mem::replace(seen, true) || variable.state == State::Fixed {
            continue;
        }
        queue.extend(variable.equations.iter().filter_map(|e| system.equations.get(*e)).flatten().map(|(other, _)| *other));
    }
    touched
}

/// The variables that may change, nearest first.
fn neighbours(system: &System, target: usize, most: usize) -> Vec<usize> {
    let mut seen = vec![false; system.variables.len()];
    let mut queue = VecDeque::from([target]);
    let mut near = Vec::new();
    seen.get_mut(target).into_iter().for_each(|s| *s = true);
    while let Some(at) = queue.pop_front() {
        if near.len() >= most {
            break;
        }
        near.push(at);
        let equations = system.variables.get(at).map(|v| v.equations.as_slice()).unwrap_or_default();
        for (other, _) in equations.iter().filter_map(|e| system.equations.get(*e)).flatten() {
            let may = system.variables.get(*other).is_some_and(|v| v.state != State::Fixed);
            if may && seen.get_mut(*other).is_some_and(|s| !std::mem::replace(s, true)) {
                queue.push_back(*other);
            }
        }
    }
    near
}
