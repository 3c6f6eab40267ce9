//! What a table of noisy figures may say of nobody and of a few: which lines it has, and which of its cells are empty.
//!
//! A line that is there because somebody is in it tells as much as a figure; so does an empty cell beside one that is hidden.
//! Both are made to follow from the figures shown alone.

use super::rules::Kind;
use crate::figures::{Category, Dimension, Figure, FigureTable};
use crate::public::Shown;

/// Dimensions whose values are those that occurred.
const OCCURRED: [&str; 4] = ["parties", "path", "from", "to"];
/// States of transitions, which have these whether they occur or not.
const STATES: [&str; 2] = ["from", "to"];

/// The table with one line of others for the values that no figure is `shown` of; none where it has no dimension of what
/// occurred. The line is there even if it holds nobody, which would be telling.
pub(super) fn folded(table: &FigureTable, shown: &[Shown]) -> Option<FigureTable> {
    let strides = strides(&table.dimensions);
    let (mut dimensions, mut places) = (Vec::new(), Vec::new());
    for (dimension, stride) in table.dimensions.iter().zip(&strides) {
        let length = dimension.categories.len().max(1);
        let mut told = vec![false; length];
        for (at, cell) in shown.iter().enumerate() {
            if let (Shown::Value { value, .. }, Some(told)) = (cell, told.get_mut(at / stride % length)) {
                *told |= *value > 0.0;
            }
        }
        let (made, place) = without(dimension, &told);
        dimensions.push(made);
        places.push(place);
    }
    if dimensions == table.dimensions {
        return None;
    }
    let kind = Kind::of(&table.measure);
    let new_strides = self::strides(&dimensions);
    let size = dimensions.iter().map(|d| d.categories.len()).product();
    let mut cells = vec![Figure::default(); size];
    for (at, figure) in table.cells.iter().enumerate() {
        let lines = table.dimensions.iter().zip(&strides).zip(places.iter().zip(&new_strides));
        let place: usize = lines
            .map(|((dimension, stride), (places, new_stride))| {
                let index = at / stride % dimension.categories.len().max(1);
                places.get(index).map_or(0, |place| place * new_stride)
            })
            .sum();
        if let Some(cell) = cells.get_mut(place) {
            add(cell, figure);
        }
    }
    for (dimension, stride) in dimensions.iter().zip(&new_strides) {
        let of = |wanted: &Category| dimension.categories.iter().position(|category| category == wanted);
        let Some((others, total)) = of(&Category::Others).zip(of(&Category::Total)) else { continue };
        for at in (0..cells.len()).filter(|at| at / stride % dimension.categories.len() == others) {
            // No quantile of several sets follows from theirs, whether there are any or not.
            let unsaid = kind == Kind::Quantile || cells.get(at + (total - others) * stride).is_some_and(|total| total.missing);
            if let Some(cell) = cells.get_mut(at).filter(|_| unsaid) {
                *cell = Figure { missing: true, ..Figure::default() };
            }
        }
    }
    Some(FigureTable { dimensions, cells, ..table.clone() })
}

/// A dimension without the values that nothing is told of, and where each value goes.
fn without(dimension: &Dimension, told: &[bool]) -> (Dimension, Vec<usize>) {
    let occurred = OCCURRED.contains(&dimension.name.as_str()) && dimension.categories.last() == Some(&Category::Total);
    if !occurred {
        return (dimension.clone(), (0..dimension.categories.len()).collect());
    }
    let state = STATES.contains(&dimension.name.as_str());
    let kept = |category: &Category, told: bool| match category {
        Category::Total | Category::Unknown => true,
        Category::Absent if state => true,
        _ => told,
    };
    let mut categories = Vec::new();
    let mut places: Vec<Option<usize>> = Vec::new();
    for (category, told) in dimension.categories.iter().zip(told) {
        if *category == Category::Total {
            categories.push(Category::Others);
        }
        places.push(kept(category, *told).then_some(categories.len()));
        if kept(category, *told) {
            categories.push(category.clone());
        }
    }
    let others = categories.len().saturating_sub(2);
    let places = places.into_iter().map(|place| place.unwrap_or(others)).collect();
    (Dimension { categories, ..dimension.clone() }, places)
}

/// Adds a figure to a cell that may gather several.
fn add(cell: &mut Figure, figure: &Figure) {
    cell.units += figure.units;
    cell.value += figure.value;
    cell.key = cell.key.wrapping_add(figure.key);
    for amount in figure.largest {
        let [first, second] = cell.largest;
        cell.largest = if amount > first { [amount, first] } else { [first, second.max(amount)] };
    }
    cell.missing |= figure.missing;
}

/// Shows the empty cells of a table of everybody that are empty within lines whose totals are shown: of so many persons, none
/// is there. Where a total is hidden, its line's empty cells are as well, or they would tell of those few.
pub(super) fn show_empty(table: &FigureTable, cells: &mut [Shown], kind: Kind) {
    let strides = strides(&table.dimensions);
    let total = |dimension: &Dimension| dimension.categories.iter().position(|c| *c == Category::Total);
    let lines: Vec<(usize, usize, usize)> = table
        .dimensions
        .iter()
        .zip(&strides)
        .filter_map(|(dimension, stride)| Some((*stride, dimension.categories.len(), total(dimension)?)))
        .collect();
    let totals_of = |at: usize| {
        let of = move |(stride, length, total): &(usize, usize, usize)| {
            let index = at / stride % length;
            (index != *total).then(|| at + total * stride - index * stride)
        };
        lines.iter().filter_map(of)
    };
    let is_empty = |(_, figure): &(usize, &Figure)| figure.units == 0 && !figure.missing;
    let mut empty: Vec<(usize, usize)> =
        table.cells.iter().enumerate().filter(is_empty).map(|(at, _)| (totals_of(at).count(), at)).collect();
    // Totals before what they are totals of.
    empty.sort_unstable();
    for (_, at) in empty {
        let told = totals_of(at).all(|total| matches!(cells.get(total), Some(Shown::Value { .. } | Shown::Missing)));
        if let Some(cell) = cells.get_mut(at).filter(|_| told) {
            let zero = Shown::Value { value: 0.0, interval: None, uncertain: false };
            *cell = if kind == Kind::Quantile { Shown::Missing } else { zero };
        }
    }
}

/// How many cells lie between a value of each dimension and its next.
fn strides(dimensions: &[Dimension]) -> Vec<usize> {
    let mut strides = vec![1; dimensions.len()];
    let mut below = 1;
    for (stride, dimension) in strides.iter_mut().zip(dimensions).rev() {
        *stride = below;
        below *= dimension.categories.len().max(1);
    }
    strides
}
