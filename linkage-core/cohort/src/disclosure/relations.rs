//! Relations between tables, of one report or of several: the same cells by month and by year, by party and by combination of
//! parties, of everybody and of those at one party.
//!
//! A figure is found by its [`Spot`], in whatever table it stands, so that a quarter shown in March and its months shown in
//! January are held against one another. Of a figure that stands in several tables the last is taken. As everywhere in
//! [`super::system`], a relation is believed only where the figures fulfil it.
//!
//! Two kinds of count stand in no table and follow from two that do: those whom one party does not know (all less its own), and those
//! known to several (all parties' less all). Small ones are as secret as if they were shown.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use linkage_agreement::Period;

use super::system::System;
use crate::figures::{Category, Dimension, FigureTable, Note, Unit, Whom};

/// A table and a cell of it.
type Place = (usize, usize);

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Measured {
    /// Units in the population: `count`, and `stock` of the last month alone.
    Count,
    Entries,
    Returns,
    Exits,
}

impl Measured {
    fn of(measure: &str) -> Option<Self> {
        match measure {
            "count" | "stock" => Some(Self::Count),
            "entries" => Some(Self::Entries),
            "returns" => Some(Self::Returns),
            "exits" => Some(Self::Exits),
            _ => None,
        }
    }
}

/// Which figure it is, whatever table it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Spot {
    unit: Unit,
    measured: Measured,
    population: u64,
    /// First and last month, as [`Period::index`].
    months: [u32; 2],
    /// Digest of the categories but for the period.
    rest: u64,
}

/// The figures of all tables.
struct Index<'t> {
    tables: &'t [&'t FigureTable],
    places: HashMap<Spot, Place>,
    /// Spots in the order of the tables, so that nothing depends on the map's.
    spots: Vec<Spot>,
}

/// The digest of categories, those of one dimension left out.
fn rest_of(dimensions: &[Dimension], without: Option<usize>, at: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut left = at;
    for (number, dimension) in dimensions.iter().enumerate().rev() {
        let length = dimension.categories.len().max(1);
        if Some(number) != without {
            (&dimension.name, dimension.categories.get(left % length)).hash(&mut hasher);
        }
        left /= length;
    }
    hasher.finish()
}

/// The months that each period of a table stands for; those that a note names where only some were counted.
pub(super) fn periods(table: &FigureTable) -> Vec<Option<[u32; 2]>> {
    let months = |category: &Category| {
        let Category::Value(text) = category else { return None };
        let partial = table.notes.iter().find_map(|note| match note {
            Note::Partial { name, from, to } if name == text => Some([from.index(), to.index()]),
            _ => None,
        });
        let [first, last] = match (partial, text.parse::<Period>()) {
            (Some(partial), _) => partial,
            (None, Ok(month)) => [month.index(); 2],
            (None, Err(_)) => whole(text)?,
        };
        // A stock is that of the period's last month.
        Some(if table.measure == "stock" { [last; 2] } else { [first, last] })
    };
    table.dimensions.first().map(|d| d.categories.iter().map(months).collect()).unwrap_or_default()
}

/// The months of a quarter or a year.
fn whole(text: &str) -> Option<[u32; 2]> {
    let (year, quarter) = match text.split_once("-T") {
        Some((year, quarter)) => (year, Some(quarter.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let year = year.parse().ok()?;
    let (first, length) = match quarter {
        Some(quarter) => (Period::new(year, quarter.checked_mul(3)?.checked_sub(2)?)?, 3),
        None => (Period::new(year, 1)?, 12),
    };
    Some([first.index(), first.index() + length - 1])
}

impl<'t> Index<'t> {
    fn of(tables: &'t [&'t FigureTable]) -> Self {
        let mut index = Self { tables, places: HashMap::new(), spots: Vec::new() };
        for number in 0..tables.len() {
            index.each(number, None, |index, spot, place| {
                if index.places.insert(spot, place).is_none() {
                    index.spots.push(spot);
                }
            });
        }
        index
    }
    /// The figures of a table that can be said, with their spots as if it had not the dimension `without`.
    fn each(&mut self, number: usize, without: Option<usize>, mut found: impl FnMut(&mut Self, Spot, Place)) {
        let Some(table) = self.tables.get(number).copied() else { return };
        let (Some(measured), Some((_, others))) = (Measured::of(&table.measure), table.dimensions.split_first()) else { return };
        let size = others.iter().map(|d| d.categories.len()).product::<usize>();
        let without = without.and_then(|at| at.checked_sub(1));
        let rests: Vec<u64> = (0..size).map(|at| rest_of(others, without, at)).collect();
        for (period, months) in periods(table).into_iter().enumerate() {
            let Some(months) = months else { continue };
            for (at, rest) in rests.iter().enumerate() {
                let place = (number, period * size + at);
                if self.tables.get(number).and_then(|t| t.cells.get(place.1)).is_some_and(|figure| !figure.missing) {
                    let spot = Spot { unit: table.unit, measured, population: table.population, months, rest: *rest };
                    found(self, spot, place);
                }
            }
        }
    }
    fn at(&self, spot: Spot) -> Option<Place> {
        self.places.get(&spot).copied()
    }
    /// The figures of one measure that `whole` is cut into, those of as long, or of as short, periods as there are; some of its months
    /// may be in none.
    fn pieces(&self, whole: Spot, longest: bool) -> Vec<Spot> {
        let [mut first, last] = whole.months;
        let mut pieces = Vec::new();
        while first <= last {
            let ends: Vec<u32> = (first..=last.min(first + 2)).filter(|end| [first, *end] != whole.months).collect();
            let piece = |end: &u32| Some(Spot { months: [first, *end], ..whole }).filter(|spot| self.at(*spot).is_some());
            let found = if longest { ends.iter().rev().find_map(piece) } else { ends.iter().find_map(piece) };
            first = found.map_or(first, |spot| spot.months[1]) + 1;
            pieces.extend(found);
        }
        pieces
    }
    fn places(&self, spots: impl IntoIterator<Item = Spot>) -> Option<Vec<Place>> {
        spots.into_iter().map(|spot| self.at(spot)).collect()
    }
}

/// Number of a table, and its figures by combination of parties.
type Combined = (usize, Vec<(BTreeSet<String>, Place)>);

/// Terms of a relation: figures, and how often each counts.
fn terms(places: &[Place], sign: f64) -> impl Iterator<Item = (Place, f64)> {
    places.iter().map(move |place| (*place, sign))
}

impl System {
    /// What tables tell of one another.
    pub(super) fn relate(&mut self, tables: &[&FigureTable]) {
        let mut index = Index::of(tables);
        self.flows(&index);
        self.grains(&index);
        self.units(&index);
        self.by_party(&mut index);
    }

    /// Stock, entries, returns and exits of months in a row.
    fn flows(&mut self, index: &Index<'_>) {
        for spot in index.spots.iter().filter(|spot| spot.measured == Measured::Count && spot.months[0] == spot.months[1]) {
            let Some(month_before) = spot.months[0].checked_sub(1) else { continue };
            let (now, before) = (index.at(*spot), index.at(Spot { months: [month_before; 2], ..*spot }));
            let flow = |measured| index.at(Spot { measured, ..*spot });
            let (entries, returns, exits) = (flow(Measured::Entries), flow(Measured::Returns), flow(Measured::Exits));
            let (Some(now), Some(before)) = (now, before) else { continue };
            let lacking_in = entries.is_none() || returns.is_none();
            let of = |place: Option<Place>, sign| place.map(|place| (place, sign));
            let moves = [of(entries, -1.0), of(returns, -1.0), of(exits, 1.0)];
            let sum: Vec<(Place, f64)> = [(now, 1.0), (before, -1.0)].into_iter().chain(moves.into_iter().flatten()).collect();
            match (lacking_in, exits) {
                (true, None) => {}
                (true, Some(_)) => self.not_negative(index.tables, &sum, false),
                (false, None) => {
                    let less: Vec<(Place, f64)> = sum.into_iter().map(|(place, sign)| (place, -sign)).collect();
                    self.not_negative(index.tables, &less, false);
                }
                (false, Some(_)) => self.nothing(index.tables, &sum),
            }
        }
    }

    /// Longer periods and the shorter ones that they are made of.
    fn grains(&mut self, index: &Index<'_>) {
        for spot in index.spots.iter().filter(|spot| spot.months[0] < spot.months[1]) {
            let Some(whole) = index.at(*spot) else { continue };
            let longest = index.pieces(*spot, true);
            let shortest = index.pieces(*spot, false);
            if shortest != longest {
                self.cut(index, *spot, whole, &shortest);
            }
            self.cut(index, *spot, whole, &longest);
        }
    }

    fn cut(&mut self, index: &Index<'_>, spot: Spot, whole: Place, pieces: &[Spot]) {
        let tables = index.tables;
        let Some(places) = index.places(pieces.iter().copied()) else { return };
        let in_a_row = |pair: &[Spot]| matches!(pair, [a, b] if a.months[1] + 1 == b.months[0]);
        let ends = pieces.first().zip(pieces.last()).map(|(first, last)| [first.months[0], last.months[1]]);
        let complete = ends == Some(spot.months) && pieces.windows(2).all(in_a_row);
        let less = |parts: &[(Place, f64)]| parts.iter().map(|(place, sign)| (*place, -sign)).collect::<Vec<_>>();
        let parts: Vec<(Place, f64)> = terms(&places, 1.0).chain([(whole, -1.0)]).collect();
        if spot.measured == Measured::Entries {
            if complete {
                self.nothing(tables, &parts);
            } else {
                self.not_negative(tables, &less(&parts), false);
            }
            return;
        }
        for place in &places {
            self.not_negative(tables, &[(whole, 1.0), (*place, -1.0)], false);
        }
        if complete {
            self.not_negative(tables, &parts, false);
        }
        let of = |measured: Measured, pieces: &[Spot]| -> Vec<Option<Place>> {
            pieces.iter().map(|piece| index.at(Spot { measured, ..*piece })).collect()
        };
        let all = |places: Vec<Option<Place>>| places.into_iter().collect::<Option<Vec<Place>>>();
        if spot.measured != Measured::Count {
            // Who left twice came back between, and who came back twice left between; month by month.
            let months = |piece: &Spot| piece.months[0] == piece.months[1];
            for run in pieces.chunk_by(|a, b| a.months[1] + 1 == b.months[0]).filter(|run| run.iter().all(months)) {
                let (other, from) = if spot.measured == Measured::Exits { (Measured::Returns, 1) } else { (Measured::Exits, 0) };
                let between = run.get(from..).and_then(|run| all(of(other, run)));
                if let (Some(between), Some(run)) = (between, index.places(run.iter().copied())) {
                    let sum = terms(&run, -1.0).chain(terms(&between, 1.0)).chain([(whole, 1.0)]);
                    self.not_negative(tables, &sum.collect::<Vec<_>>(), false);
                }
            }
            return;
        }
        // Who was there in a piece, or entered later, counts; whoever else counts was there before, or came back.
        if tables.get(whole.0).is_none_or(|table| table.dimensions.iter().skip(1).any(|d| d.name != "party")) {
            return;
        }
        for (at, place) in places.iter().enumerate() {
            let later = pieces.get(at + 1..).unwrap_or_default();
            let entries: Vec<Place> = of(Measured::Entries, later).into_iter().flatten().collect();
            let there: Vec<(Place, f64)> = terms(&entries, 1.0).chain([(*place, 1.0), (whole, -1.0)]).collect();
            self.not_negative(tables, &less(&there), false);
            let returns = all(of(Measured::Returns, later)).filter(|_| complete && at == 0 && entries.len() == later.len());
            if let Some(returns) = returns {
                self.not_negative(tables, &there.into_iter().chain(terms(&returns, 1.0)).collect::<Vec<_>>(), false);
            }
        }
    }

    /// Households and the persons in them: one at least in each.
    fn units(&mut self, index: &Index<'_>) {
        let counts = |spot: &&Spot| spot.unit == Unit::Households && spot.measured == Measured::Count;
        for spot in index.spots.iter().filter(counts) {
            let persons = index.at(Spot { unit: Unit::Persons, ..*spot });
            if let (Some(persons), Some(households)) = (persons, index.at(*spot)) {
                self.not_negative(index.tables, &[(persons, 1.0), (households, -1.0)], false);
            }
        }
    }

    /// Everybody, those at each party, those at exactly some.
    fn by_party(&mut self, index: &mut Index<'_>) {
        let tables = index.tables;
        let dimension = |table: &FigureTable, name: &str| table.dimensions.iter().position(|d| d.name == name);
        // Combinations of parties, of the last table that has them.
        let mut combined: HashMap<Spot, Combined> = HashMap::new();
        for (number, table) in tables.iter().enumerate() {
            let Some(at) = dimension(table, "parties") else { continue };
            index.each(number, Some(at), |_, spot, place| {
                let Some(Category::Value(text)) = category(table, at, place.1) else { return };
                let parties = text.split(" + ").map(str::to_owned).collect();
                let entry = combined.entry(spot).or_default();
                if entry.0 != number {
                    *entry = (number, Vec::new());
                }
                entry.1.push((parties, place));
            });
        }
        for (number, table) in tables.iter().enumerate() {
            let Some(at) = dimension(table, "party") else { continue };
            let mut of_all: Vec<(Spot, Vec<Place>)> = Vec::new();
            let mut by_combination: Vec<Vec<(Place, f64)>> = Vec::new();
            index.each(number, Some(at), |_, spot, place| {
                let Some(Category::Value(party)) = category(table, at, place.1) else { return };
                match of_all.last_mut().filter(|(last, _)| *last == spot) {
                    Some((_, places)) => places.push(place),
                    None => of_all.push((spot, vec![place])),
                }
                if let Some((_, combinations)) = combined.get(&spot) {
                    let of: Vec<Place> =
                        combinations.iter().filter(|(p, _)| p.contains(party)).map(|(_, place)| *place).collect();
                    by_combination.push(terms(&of, 1.0).chain([(place, -1.0)]).collect());
                }
            });
            by_combination.into_iter().for_each(|sum| self.nothing(tables, &sum));
            if Measured::of(&table.measure) != Some(Measured::Count) {
                continue;
            }
            for (spot, places) in of_all {
                let Some(all) = index.at(spot) else { continue };
                for place in &places {
                    self.not_negative(tables, &[(all, 1.0), (*place, -1.0)], true);
                }
                // Where parties' own records give values, a person may have one at each.
                let every = table.dimensions.get(at).is_some_and(|d| d.categories.len() == places.len());
                if every && table.dimensions.len() == 2 {
                    self.not_negative(tables, &terms(&places, 1.0).chain([(all, -1.0)]).collect::<Vec<_>>(), true);
                }
            }
        }
        // Those at one party by their values, and everybody by theirs, in one month.
        let whom = |place: Place| tables.get(place.0).map(|table| table.whom);
        let count = |spot: &&Spot| spot.population != 0 && spot.measured == Measured::Count && spot.months[0] == spot.months[1];
        for spot in index.spots.iter().filter(count) {
            let (part, all) = (index.at(*spot), index.at(Spot { population: 0, ..*spot }));
            let (Some(part), Some(all)) = (part, all) else { continue };
            if (whom(part), whom(all)) == (Some(Whom::OneParty), Some(Whom::Everybody)) {
                self.not_negative(tables, &[(all, 1.0), (part, -1.0)], true);
            }
        }
    }
}

/// The category of a cell in one dimension.
fn category(table: &FigureTable, dimension: usize, cell: usize) -> Option<&Category> {
    let stride: usize = table.dimensions.iter().skip(dimension + 1).map(|d| d.categories.len()).product();
    let categories = &table.dimensions.get(dimension)?.categories;
    categories.get(cell / stride.max(1) % categories.len().max(1))
}
