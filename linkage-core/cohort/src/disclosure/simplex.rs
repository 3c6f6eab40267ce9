//! The simplex method with bounded variables, dense, for the small programmes of suppression.
//!
//! Minimises `cost · y` subject to `A y = 0` and `0 <= y <= upper`, from `y = 0`, which is feasible: no first phase is
//! needed (Chvátal, Linear Programming, 1983, chapter 8). The entering variable is that of greatest gain; after a run of
//! steps that move nothing, the first by number (Bland 1977), which cannot cycle.

const EPSILON: f64 = 1e-9;
/// Steps without progress after which the first variable by number enters.
const STALLED: usize = 40;

/// One variable.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    /// Coefficients: row, value.
    pub(super) terms: Vec<(usize, f64)>,
    /// Upper bound; may be infinite.
    pub(super) upper: f64,
    /// Cost of one unit.
    pub(super) cost: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Lower,
    Upper,
    Basic,
}

/// The values of an optimal solution; `None` where there is none (unbounded) or the steps run out.
pub(super) fn minimise(rows: usize, columns: &[Column]) -> Option<Vec<f64>> {
    let mut solver = Solver::new(rows, columns);
    let most = 50 * (rows + columns.len()) + 1000;
    let mut stalled = 0;
    for _ in 0..most {
        let Some(entering) = solver.entering(stalled > STALLED) else { return Some(solver.values()) };
        let moved = solver.step(entering, stalled > STALLED)?;
        stalled = if moved > EPSILON { 0 } else { stalled + 1 };
    }
    None
}

struct Solver {
    width: usize,
    tableau: Vec<f64>,
    reduced: Vec<f64>,
    upper: Vec<f64>,
    place: Vec<Place>,
    /// By row, the basic variable; numbers from `width` are artificial ones, fixed at 0.
    basis: Vec<usize>,
    value: Vec<f64>,
}

impl Solver {
    fn new(rows: usize, columns: &[Column]) -> Self {
        let width = columns.len();
        let mut tableau = vec![0.0; rows * width];
        for (at, column) in columns.iter().enumerate() {
            for (row, coefficient) in &column.terms {
                if let Some(entry) = tableau.get_mut(row * width + at) {
                    *entry += coefficient;
                }
            }
        }
        Self {
            width,
            tableau,
            reduced: columns.iter().map(|c| c.cost).collect(),
            upper: columns.iter().map(|c| c.upper).collect(),
            place: vec![Place::Lower; width],
            basis: (width..width + rows).collect(),
            value: vec![0.0; rows],
        }
    }
    fn upper_of(&self, variable: usize) -> f64 {
        self.upper.get(variable).copied().unwrap_or(0.0)
    }
    fn entry(&self, row: usize, column: usize) -> f64 {
        self.tableau.get(row * self.width + column).copied().unwrap_or(0.0)
    }
    fn entering(&self, first: bool) -> Option<usize> {
        let gain = |at: usize| {
            let reduced = self.reduced.get(at).copied().unwrap_or(0.0);
            match self.place.get(at) {
                Some(Place::Lower) => -reduced,
                Some(Place::Upper) => reduced,
                _ => 0.0,
            }
        };
        let mut candidates = (0..self.width).filter(|at| gain(*at) > EPSILON && self.upper_of(*at) > EPSILON);
        if first { candidates.next() } else { candidates.max_by(|a, b| gain(*a).total_cmp(&gain(*b))) }
    }
    /// Moves the entering variable as far as it goes and says how far; `None` when it goes without end.
    fn step(&mut self, entering: usize, first: bool) -> Option<f64> {
        let sign = if self.place.get(entering) == Some(&Place::Upper) { -1.0 } else { 1.0 };
        let mut far = self.upper_of(entering);
        let mut leaving: Option<(usize, f64)> = None;
        for (row, (basic, value)) in self.basis.iter().zip(&self.value).enumerate() {
            let slope = self.entry(row, entering) * sign;
            let room = if slope > EPSILON {
                value / slope
            } else if slope < -EPSILON {
                (self.upper_of(*basic) - value) / -slope
            } else {
                continue;
            };
            let room = room.max(0.0);
            let tie = (room - far).abs() <= EPSILON;
            let better = match leaving {
                _ if room < far - EPSILON => true,
                Some((other, pivot)) if tie => {
                    if first {
                        self.basis.get(other).is_some_and(|b| basic < b)
                    } else {
                        slope.abs() > pivot
                    }
                }
                None => tie,
                Some(_) => false,
            };
            if better {
                far = room.min(far);
                leaving = Some((row, slope.abs()));
            }
        }
        if far.is_infinite() {
            return None;
        }
        for row in 0..self.basis.len() {
            let change = self.entry(row, entering) * sign * far;
            if let Some(value) = self.value.get_mut(row) {
                *value -= change;
            }
        }
        match leaving {
            None => {
                let other = if sign > 0.0 { Place::Upper } else { Place::Lower };
                self.place.get_mut(entering).into_iter().for_each(|place| *place = other);
            }
            Some((row, _)) => self.pivot(row, entering, sign, far),
        }
        Some(far)
    }
    fn pivot(&mut self, row: usize, entering: usize, sign: f64, far: f64) {
        let Some(left) = self.basis.get(row).copied() else { return };
        let at_upper = self.entry(row, entering) * sign < 0.0;
        if let Some(place) = self.place.get_mut(left) {
            *place = if at_upper { Place::Upper } else { Place::Lower };
        }
        let start = if sign > 0.0 { 0.0 } else { self.upper_of(entering) };
        if let (Some(basic), Some(value)) = (self.basis.get_mut(row), self.value.get_mut(row)) {
            *basic = entering;
            *value = start + sign * far;
        }
        if let Some(place) = self.place.get_mut(entering) {
            *place = Place::Basic;
        }
        let pivot = self.entry(row, entering);
        let width = self.width;
        let Some(line) = self.tableau.get(row * width..(row + 1) * width) else { return };
        let line: Vec<f64> = line.iter().map(|entry| entry / pivot).collect();
        let clear = |target: &mut [f64]| {
            let factor = target.get(entering).copied().unwrap_or(0.0);
            if factor != 0.0 {
                for (entry, of_line) in target.iter_mut().zip(&line) {
                    *entry -= factor * of_line;
                    if entry.abs() < 1e-12 {
                        *entry = 0.0;
                    }
                }
            }
        };
        for (number, target) in self.tableau.chunks_exact_mut(width).enumerate() {
            if number == row {
                target.copy_from_slice(&line);
            } else {
                clear(target);
            }
        }
        clear(&mut self.reduced);
    }
    fn values(&self) -> Vec<f64> {
        let mut values: Vec<f64> =
            self.place.iter().zip(&self.upper).map(|(place, upper)| if *place == Place::Upper { *upper } else { 0.0 }).collect();
        for (basic, value) in self.basis.iter().zip(&self.value) {
            if let Some(slot) = values.get_mut(*basic) {
                *slot = *value;
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(terms: &[(usize, f64)], upper: f64, cost: f64) -> Column {
        Column { terms: terms.to_vec(), upper, cost }
    }

    #[test]
    fn finds_the_cheapest_way_round() {
        // Flow of at most 4 on an arc 0 -> 1 that must come back: by a dear arc, or by two cheap ones of which one holds 3.
        let columns = [
            column(&[(0, -1.0), (1, 1.0)], 4.0, -100.0),
            column(&[(1, -1.0), (0, 1.0)], f64::INFINITY, 5.0),
            column(&[(1, -1.0), (2, 1.0)], 3.0, 1.0),
            column(&[(2, -1.0), (0, 1.0)], f64::INFINITY, 1.0),
        ];
        assert_eq!(minimise(3, &columns), Some(vec![4.0, 1.0, 3.0, 3.0]));
    }

    #[test]
    fn nothing_moves_without_a_way_round() {
        let columns = [column(&[(0, 1.0)], 4.0, -100.0), column(&[(1, 1.0)], 9.0, 1.0)];
        assert_eq!(minimise(2, &columns), Some(vec![0.0, 0.0]));
    }

    #[test]
    fn gain_without_end_is_told() {
        let columns = [column(&[(0, 1.0)], f64::INFINITY, -1.0), column(&[(0, -1.0)], f64::INFINITY, 0.5)];
        assert_eq!(minimise(1, &columns), None);
    }
}
