//! Made-up persons and the tables of them, with keys as the engine gives them.
#![allow(dead_code)]

use linkage_cohort::{Category, Dimension, Figure, FigureTable, Unit, Whom};

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
    /// Small values far more often than large ones, as in real tables.
    fn skewed(&mut self, bound: u64) -> u64 {
        let share = self.next() as f64 / u64::MAX as f64;
        ((share * share * bound as f64) as u64).min(bound - 1)
    }
}

pub(crate) struct Person {
    pub(crate) key: u64,
    pub(crate) attributes: Vec<u64>,
    pub(crate) parties: u64,
    pub(crate) months: u64,
}

pub(crate) struct Population {
    pub(crate) persons: Vec<Person>,
    pub(crate) values: Vec<u64>,
}

#[derive(Clone, Copy)]
pub(crate) struct Breakdown {
    pub(crate) attribute: usize,
    pub(crate) parties: u64,
}

pub(crate) fn dimension(name: &str, values: u64, total: bool, partition: bool) -> Dimension {
    let mut categories: Vec<Category> = (0..values).map(|v| Category::Value(v.to_string())).collect();
    if total {
        categories.push(Category::Total);
    }
    Dimension { name: name.to_owned(), categories, partition }
}

pub(crate) fn months(number: u64) -> Dimension {
    let categories = (1..=number).map(|m| Category::Value(format!("2024-{m:02}"))).collect();
    Dimension { name: "period".to_owned(), categories, partition: false }
}

/// Counts persons cell by cell; `places` gives the positions that a person counts at, totals apart.
pub(crate) fn count<'p>(
    measure: &str,
    dimensions: Vec<Dimension>,
    persons: impl Iterator<Item = &'p Person>,
    places: impl Fn(&Person) -> Vec<Vec<usize>>,
) -> FigureTable {
    let cells = dimensions.iter().map(|d| d.categories.len()).product();
    let mut table = FigureTable {
        unit: Unit::Persons,
        measure: measure.to_owned(),
        of: None,
        whom: Whom::Everybody,
        population: 0,
        dimensions,
        cells: vec![Figure::default(); cells],
        notes: Vec::new(),
    };
    for person in persons {
        let mut at: Vec<usize> = Vec::new();
        for place in places(person) {
            let both = table.dimensions.iter().zip(&place).fold(vec![Vec::new()], |all: Vec<Vec<usize>>, (dimension, index)| {
                let total = dimension.categories.iter().position(|c| *c == Category::Total);
                let choices: Vec<usize> = [*index].into_iter().chain(total).collect();
                all.iter()
                    .flat_map(|a| choices.iter().map(|c| a.iter().copied().chain([*c]).collect()).collect::<Vec<_>>())
                    .collect()
            });
            at.extend(both.iter().map(|place| table.position(place).unwrap()));
        }
        at.sort_unstable();
        at.dedup();
        for at in at {
            let figure = &mut table.cells[at];
            figure.units += 1;
            figure.value += 1.0;
            figure.key = figure.key.wrapping_add(person.key);
        }
    }
    table
}

impl Population {
    pub(crate) fn draw(random: &mut Random, persons: u64, values: &[u64]) -> Self {
        let persons = (0..persons)
            .map(|_| Person {
                key: random.next(),
                attributes: values.iter().map(|v| random.skewed(*v)).collect(),
                parties: 1 + random.skewed(15),
                months: (1 + random.below(31)) | (random.below(2) * 31),
            })
            .collect();
        Self { persons, values: values.to_vec() }
    }
    /// One period, by the attributes given, with all margins.
    pub(crate) fn table(&self, measure: &str, by: &[usize]) -> FigureTable {
        let attributes = by.iter().map(|a| dimension(&format!("attribute{a}"), self.values[*a], true, true));
        let dimensions = [months(1)].into_iter().chain(attributes).collect();
        count(measure, dimensions, self.persons.iter(), |person| {
            vec![[0].into_iter().chain(by.iter().map(|a| person.attributes[*a] as usize)).collect()]
        })
    }
    /// One period, by party and an attribute.
    pub(crate) fn parties_table(&self, by: Breakdown) -> FigureTable {
        let dimensions = vec![
            months(1),
            dimension("party", by.parties, true, false),
            dimension("attribute", self.values[by.attribute], true, true),
        ];
        count("count", dimensions, self.persons.iter(), |person| {
            let value = person.attributes[by.attribute] as usize;
            (0..by.parties).filter(|p| person.parties >> p & 1 == 1).map(|p| vec![0, p as usize, value]).collect()
        })
    }
    /// Stock, entries, exits and returns by month and attribute.
    pub(crate) fn flows(&self, number: u64) -> Vec<FigureTable> {
        let there = |person: &Person, month: u64| person.months >> month & 1 == 1;
        let before = |person: &Person, month: u64| (0..month).any(|m| there(person, m));
        let is = |measure: &str, person: &Person, month: u64| match measure {
            "stock" => there(person, month),
            "entries" => there(person, month) && !before(person, month),
            "returns" => there(person, month) && month > 0 && !there(person, month - 1) && before(person, month),
            _ => !there(person, month) && month > 0 && there(person, month - 1),
        };
        ["stock", "entries", "exits", "returns"]
            .into_iter()
            .map(|measure| {
                let dimensions = vec![months(number), dimension("attribute", self.values[0], true, true)];
                count(measure, dimensions, self.persons.iter(), |person| {
                    let value = person.attributes[0] as usize;
                    (0..number).filter(|m| is(measure, person, *m)).map(|m| vec![m as usize, value]).collect()
                })
            })
            .collect()
    }
}
