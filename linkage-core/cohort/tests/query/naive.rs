//! A second evaluation of queries, written from docs/cohorts.md with sets and loops and nothing of the engine's: slow,
//! and as plain as can be.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use linkage_agreement::model::Rule;
use linkage_cohort::query::{Condition, Grain, Inputs, Measure, Population, Query, When};
use linkage_cohort::rates::AgeBand;
use linkage_cohort::study::{
    AttributeColumn, Households, InMemory, Month, NO_CLASS, NO_HOUSEHOLD, Row, SourceError, Study, month_batch,
};
use linkage_cohort::{Category, Figure, Unit};

/// A study as rows.
pub(crate) struct Rows {
    pub(crate) parties: Vec<String>,
    pub(crate) attributes: Vec<AttributeColumn>,
    pub(crate) persons: u32,
    pub(crate) households: u32,
    pub(crate) classes: Vec<String>,
    pub(crate) months: Vec<MonthRows>,
}

/// One month's rows, sorted as a study holds them.
pub(crate) struct MonthRows {
    pub(crate) period: String,
    pub(crate) delivered: Vec<bool>,
    pub(crate) rows: Vec<Row>,
    /// By household.
    pub(crate) compositions: Vec<Option<u8>>,
}

impl MonthRows {
    fn index(&self) -> u32 {
        self.period.parse::<linkage_agreement::Period>().unwrap().index()
    }
}

/// Households as the rows give them.
pub(crate) struct Given {
    rows: Vec<Arc<[u32]>>,
    compositions: Vec<Arc<[u8]>>,
    classes: Vec<String>,
    count: u32,
}

impl Given {
    pub(crate) fn inputs<'a>(&'a self, keys: &'a [u64]) -> Inputs<'a> {
        Inputs { person_keys: keys, households: Some(self) }
    }
}

impl Households for Given {
    fn count(&self) -> u32 {
        self.count
    }
    fn of_rows(&self, month: usize) -> Result<Arc<[u32]>, SourceError> {
        self.rows.get(month).cloned().ok_or(SourceError("mois".to_owned()))
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn compositions(&self, month: usize) -> Result<Arc<[u8]>, SourceError> {
        self.compositions.get(month).cloned().ok_or(SourceError("mois".to_owned()))
    }
}

pub(crate) fn attribute(name: &str, rule: Rule, values: &[&str]) -> AttributeColumn {
    AttributeColumn { name: name.to_owned(), rule, values: values.iter().map(|v| (*v).to_owned()).collect() }
}

impl Rows {
    pub(crate) fn study(&self) -> Study {
        let month = |m: &MonthRows| Month {
            period: m.period.parse().unwrap(),
            run: "r".parse().unwrap(),
            delivered: m.delivered.clone(),
            rows: m.rows.len() as u64,
        };
        let batches = self.months.iter().map(|m| month_batch(m.rows.clone(), self.attributes.len()).unwrap());
        Study {
            parties: self.parties.iter().map(|p| p.parse().unwrap()).collect(),
            attributes: self.attributes.clone(),
            months: self.months.iter().map(month).collect(),
            persons: self.persons,
            source: Box::new(InMemory { months: batches.collect(), pseudonyms: Vec::new().into() }),
        }
    }
    pub(crate) fn given(&self) -> Given {
        let of_rows = |m: &MonthRows| m.rows.iter().map(|r| r.household.unwrap_or(NO_HOUSEHOLD)).collect();
        Given {
            rows: self.months.iter().map(of_rows).collect(),
            compositions: self.months.iter().map(|m| m.compositions.iter().map(|c| c.unwrap_or(NO_CLASS)).collect()).collect(),
            classes: self.classes.clone(),
            count: self.households,
        }
    }
    pub(crate) fn keys(&self) -> Vec<u64> {
        (0..u64::from(self.persons)).map(|p| (p + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
    }
}

/// A unit that counts, with the month whose records describe it.
#[derive(Clone)]
struct Counts {
    unit: u32,
    month: usize,
    /// Categories of the dimensions after the breakdowns.
    beside: Vec<Category>,
    /// Months, and whether the end was seen.
    stay: Option<(u32, bool)>,
}

pub(crate) struct Naive<'r> {
    pub(crate) rows: &'r Rows,
    pub(crate) query: &'r Query,
}

impl Naive<'_> {
    fn at(&self, index: u32) -> Option<usize> {
        self.rows.months.iter().position(|m| m.index() == index)
    }
    fn index(&self, month: usize) -> u32 {
        self.rows.months[month].index()
    }
    fn party(&self, name: &str) -> usize {
        self.rows.parties.iter().position(|p| p == name).unwrap()
    }
    fn unit(&self, row: &Row) -> Option<u32> {
        match self.query.unit {
            Unit::Persons => Some(row.person),
            Unit::Households => row.household,
        }
    }
    fn everybody(&self) -> Vec<u32> {
        (0..if self.query.unit == Unit::Persons { self.rows.persons } else { self.rows.households }).collect()
    }
    fn records(&self, unit: u32, month: usize) -> Vec<&Row> {
        self.rows.months[month].rows.iter().filter(|r| self.unit(r) == Some(unit)).collect()
    }
    fn parties_of(&self, unit: u32, month: usize) -> BTreeSet<usize> {
        self.records(unit, month).iter().map(|r| usize::from(r.party)).collect()
    }
    fn fulfils(&self, condition: &Condition, unit: u32, month: usize) -> bool {
        self.records(unit, month).iter().any(|row| {
            condition.party.as_ref().is_none_or(|p| self.party(p.as_str()) == usize::from(row.party))
                && condition.attributes.iter().all(|(name, values)| {
                    let at = self.rows.attributes.iter().position(|a| a.name == *name).unwrap();
                    row.attributes[at].is_some_and(|code| values.contains(&self.rows.attributes[at].values[usize::from(code)]))
                })
        })
    }
    /// Positions of the months that a condition looks at from `month`.
    fn looks(&self, condition: &Condition, month: usize) -> Vec<usize> {
        if let Some(period) = condition.period {
            return vec![self.at(period.index()).unwrap()];
        }
        let all = 0..self.rows.months.len();
        match condition.when {
            When::Same => vec![month],
            When::Previous => self.at(self.index(month) - 1).into_iter().collect(),
            When::Before => all.filter(|m| *m < month).collect(),
            When::After => all.filter(|m| *m > month).collect(),
            When::Ever => all.collect(),
        }
    }
    fn member(&self, set: &Population, unit: u32, month: usize) -> bool {
        match set {
            Population::All { all } => all.iter().all(|s| self.member(s, unit, month)),
            Population::Any { any } => any.iter().any(|s| self.member(s, unit, month)),
            Population::Not { not } => !self.records(unit, month).is_empty() && !self.member(not, unit, month),
            Population::Record(c) => self.looks(c, month).iter().any(|m| self.fulfils(c, unit, *m)),
        }
    }
    fn is_ground(set: &Population) -> bool {
        match set {
            Population::All { all } => all.iter().any(Self::is_ground),
            Population::Any { any } => any.iter().all(Self::is_ground),
            Population::Not { .. } => false,
            Population::Record(c) => c.when == When::Same && c.period.is_none(),
        }
    }
    fn delivered(&self, condition: &Condition, month: usize) -> bool {
        let delivered = &self.rows.months[month].delivered;
        condition.party.as_ref().map_or(delivered.iter().all(|d| *d), |p| delivered[self.party(p.as_str())])
    }
    fn told(&self, set: &Population, month: usize, grounded: bool) -> bool {
        let all = self.rows.months[month].delivered.iter().all(|d| *d);
        match set {
            Population::All { all: sets } => {
                let grounded = grounded || sets.iter().any(Self::is_ground);
                sets.iter().all(|s| self.told(s, month, grounded))
            }
            Population::Any { any } => any.iter().all(|s| self.told(s, month, grounded)),
            Population::Not { not } => (grounded || all) && self.told(not, month, grounded),
            Population::Record(c) if c.period.is_some() => true,
            Population::Record(c) => self.looks(c, month).iter().any(|m| self.delivered(c, *m)),
        }
    }
    fn has(&self, name: &str) -> bool {
        self.query.breakdown.iter().any(|b| b == name)
    }
    /// The population of a month, or none when it cannot be told.
    fn population(&self, part: Option<usize>, month: usize) -> Option<BTreeSet<u32>> {
        let delivered = &self.rows.months[month].delivered;
        let all = delivered.iter().all(|d| *d);
        let states = self.query.measure == Measure::Transitions && self.query.of.is_none();
        if (self.has("parties") || states || self.query.measure == Measure::Paths) && !all {
            return None;
        }
        match (&self.query.population, part) {
            (Some(set), _) if !self.told(set, month, part.is_some()) => return None,
            (None, None) if !all => return None,
            _ => {}
        }
        if part.is_some_and(|p| !delivered[p]) {
            return None;
        }
        let inside = |unit: &u32| {
            let met = self.parties_of(*unit, month);
            let whole = self.query.population.as_ref().map_or(!met.is_empty(), |set| self.member(set, *unit, month));
            whole && part.is_none_or(|p| met.contains(&p))
        };
        Some(self.everybody().into_iter().filter(inside).collect())
    }

    /// Name, first and last month of each period.
    pub(crate) fn periods(&self) -> Vec<(String, u32, u32)> {
        let mut periods: Vec<(String, u32, u32)> = Vec::new();
        for index in self.query.periods.from.index()..=self.query.periods.to.index() {
            let (year, month) = (1900 + index / 12, index % 12);
            let name = match self.query.grain {
                Grain::Month => format!("{year}-{:02}", month + 1),
                Grain::Quarter => format!("{year}-T{}", month / 3 + 1),
                Grain::Year => year.to_string(),
            };
            match periods.last_mut().filter(|(known, ..)| *known == name) {
                Some((_, _, last)) => *last = index,
                None => periods.push((name, index, index)),
            }
        }
        periods
    }

    fn counts(unit: u32, month: usize) -> Counts {
        Counts { unit, month, beside: Vec::new(), stay: None }
    }

    /// Who counts in a period; none when nothing can be said.
    fn counted(&self, part: Option<usize>, first: u32, last: u32) -> Option<Vec<Counts>> {
        let population = |month: usize| self.population(part, month);
        let observed: Vec<(usize, BTreeSet<u32>)> =
            (0..self.rows.months.len()).filter_map(|m| Some((m, population(m)?))).collect();
        let mut by_unit: BTreeMap<u32, Counts> = BTreeMap::new();
        let mut said = false;
        match self.query.measure {
            Measure::Stock => {
                let (month, set) = observed.iter().find(|(m, _)| self.index(*m) == last)?;
                return Some(set.iter().map(|u| Self::counts(*u, *month)).collect());
            }
            Measure::Entries | Measure::Exits | Measure::Returns => {
                for pair in observed.windows(2) {
                    let ((before, was), (month, is)) = (&pair[0], &pair[1]);
                    if self.index(*before) + 1 < first || self.index(*month) > last {
                        continue;
                    }
                    said = true;
                    let earlier: BTreeSet<u32> =
                        observed.iter().filter(|(m, _)| m < month).flat_map(|(_, s)| s.iter().copied()).collect();
                    for unit in self.everybody() {
                        let (was, is, ever) = (was.contains(&unit), is.contains(&unit), earlier.contains(&unit));
                        let (event, read) = match self.query.measure {
                            Measure::Entries => (is && !ever, *month),
                            Measure::Exits => (was && !is, *before),
                            _ => (is && !was && ever, *month),
                        };
                        if event {
                            by_unit.insert(unit, Self::counts(unit, read));
                        }
                    }
                }
            }
            Measure::Durations => {
                // In falling order, so that a unit keeps the first stay that begins in the period.
                for (at, (month, is)) in observed.iter().enumerate().skip(1).rev() {
                    let (before, was) = &observed[at - 1];
                    let start = self.index(*month);
                    if self.index(*before) + 1 != start || start < first || start > last {
                        continue;
                    }
                    said = true;
                    for unit in is.difference(was) {
                        let after = observed.iter().skip(at).position(|(_, set)| !set.contains(unit));
                        let until = after.map_or(observed.len() - 1, |n| at + n - 1);
                        let months = self.index(observed[until].0) - start + 1;
                        let counts = Counts { stay: Some((months, after.is_some())), ..Self::counts(*unit, *month) };
                        by_unit.insert(*unit, counts);
                    }
                }
            }
            _ => {
                for (month, set) in observed.iter().filter(|(m, _)| (first..=last).contains(&self.index(*m))) {
                    said = true;
                    by_unit.extend(set.iter().map(|u| (*u, Self::counts(*u, *month))));
                }
            }
        }
        said.then(|| by_unit.into_values().collect())
    }

    /// The code that the unit's first party gives, of several the one that `rank` puts first.
    fn first(&self, unit: u32, month: usize, part: Option<usize>, rank: impl Fn(&Row) -> Option<u32>) -> Option<u32> {
        let own = |r: &&Row| part.is_none_or(|p| p == usize::from(r.party));
        self.records(unit, month).into_iter().filter(own).filter_map(|r| Some((r.party, rank(r)?))).min().map(|(_, rank)| rank)
    }
    fn attribute(&self, unit: u32, month: usize, part: Option<usize>, at: usize) -> Category {
        let column = &self.rows.attributes[at];
        let mut order: Vec<&String> = column.values.iter().collect();
        match &column.rule {
            Rule::Code { values } => order = values.iter().collect(),
            Rule::Count { .. } => order.sort_by_key(|v| v.parse::<u64>().unwrap()),
            _ => order.sort(),
        }
        let rank = |row: &Row| {
            let value = &column.values[usize::from(row.attributes[at]?)];
            order.iter().position(|v| *v == value).map(|p| p as u32)
        };
        self.first(unit, month, part, rank).map_or(Category::Unknown, |rank| Category::Value(order[rank as usize].clone()))
    }
    fn combination(&self, met: &BTreeSet<usize>) -> Category {
        let names: Vec<&str> = met.iter().map(|p| self.rows.parties[*p].as_str()).collect();
        if names.is_empty() { Category::Absent } else { Category::Value(names.join(" + ")) }
    }
    fn category(&self, breakdown: &str, counts: &Counts, first: u32, last: u32, part: Option<usize>) -> Category {
        let month = counts.month;
        match breakdown {
            "party" => Category::Value(self.rows.parties[part.unwrap()].clone()),
            "parties" if matches!(self.query.measure, Measure::Count | Measure::Sum) => {
                let months = (first..=last).filter_map(|i| self.at(i)).filter(|m| self.population(part, *m).is_some());
                self.combination(&months.flat_map(|m| self.parties_of(counts.unit, m)).collect())
            }
            "parties" => self.combination(&self.parties_of(counts.unit, month)),
            "age" => {
                let at = self.rows.attributes.iter().position(|a| a.name == "date_naissance").unwrap();
                let rank = |row: &Row| {
                    let value = &self.rows.attributes[at].values[usize::from(row.attributes[at]?)];
                    let band = AgeBand::of_attribute(Some(value), self.rows.months[month].period.parse().unwrap());
                    (band != AgeBand::Unknown).then(|| AgeBand::ALL.iter().position(|b| *b == band).unwrap() as u32)
                };
                let names = ["0-24", "25-29", "30-49", "50-59", "60+"];
                let band = self.first(counts.unit, month, part, rank);
                band.map_or(Category::Unknown, |band| Category::Value(names[band as usize].to_owned()))
            }
            "sex" => {
                let at = self.rows.attributes.iter().position(|a| a.name == "sexe").unwrap();
                // The rows' codes are 1 and 2; women come first.
                let rank = |row: &Row| {
                    let value = &self.rows.attributes[at].values[usize::from(row.attributes[at]?)];
                    ["2", "1"].iter().position(|code| code == value).map(|rank| rank as u32)
                };
                let sex = self.first(counts.unit, month, part, rank);
                sex.map_or(Category::Unknown, |sex| Category::Value(["femme", "homme"][sex as usize].to_owned()))
            }
            "composition-menage" => {
                let rank = |row: &Row| self.rows.months[month].compositions[row.household? as usize].map(u32::from);
                let class = self.first(counts.unit, month, part, rank);
                class.map_or(Category::Unknown, |c| Category::Value(self.rows.classes[c as usize].clone()))
            }
            name => self.attribute(counts.unit, month, part, self.rows.attributes.iter().position(|a| a.name == name).unwrap()),
        }
    }

    /// The units of a pair of periods with their states.
    fn moved(&self, first: (u32, u32), second: (u32, u32)) -> Option<Vec<Counts>> {
        let (from, to) = (self.counted(None, first.0, first.1)?, self.counted(None, second.0, second.1)?);
        let state = |counts: Option<&Counts>| match (counts, &self.query.of) {
            (None, _) => Category::Absent,
            (Some(c), None) => self.combination(&self.parties_of(c.unit, c.month)),
            (Some(c), Some(name)) => {
                self.attribute(c.unit, c.month, None, self.rows.attributes.iter().position(|a| a.name == *name).unwrap())
            }
        };
        let pair = |unit: u32| {
            let (from, to) = (from.iter().find(|c| c.unit == unit), to.iter().find(|c| c.unit == unit));
            let counts = from.or(to)?.clone();
            Some(Counts { beside: vec![state(from), state(to)], ..counts })
        };
        Some(self.everybody().into_iter().filter_map(pair).collect())
    }

    fn path(&self, unit: u32, last: u32) -> Category {
        let mut met = BTreeSet::new();
        let mut steps = Vec::new();
        for month in (0..self.rows.months.len()).filter(|m| self.index(*m) <= last) {
            let new: Vec<usize> = self.parties_of(unit, month).difference(&met).copied().collect();
            if !new.is_empty() {
                steps.push(new.iter().map(|p| self.rows.parties[*p].as_str()).collect::<Vec<_>>().join("&"));
                met.extend(new);
            }
        }
        steps.truncate(3);
        if steps.is_empty() { Category::Absent } else { Category::Value(steps.join(" > ")) }
    }

    fn key(&self, unit: u32, month: usize, keys: &[u64]) -> Option<u64> {
        if self.query.unit == Unit::Persons {
            return Some(keys[unit as usize]);
        }
        let persons: BTreeSet<u32> = self.records(unit, month).iter().map(|r| r.person).collect();
        // The key of a household that nobody is in is the engine's own affair.
        (!persons.is_empty()).then(|| persons.iter().fold(0u64, |sum, p| sum.wrapping_add(keys[*p as usize])))
    }

    /// The figure of the cell of these categories, period first; and whether its key can be told.
    pub(crate) fn figure(&self, cell: &[Category], keys: &[u64]) -> (Figure, bool) {
        let missing = (Figure { missing: true, ..Figure::default() }, true);
        let periods = self.periods();
        let at = periods.iter().position(|(name, ..)| cell[0] == Category::Value(name.clone())).unwrap();
        let (_, first, last) = periods[at].clone();
        let part = self.query.breakdown.iter().position(|b| b == "party").map(|d| match &cell[1 + d] {
            Category::Value(name) => self.party(name),
            other => unreachable!("{other:?}"),
        });
        let counted = match self.query.measure {
            Measure::Transitions => self.moved((first, last), (periods[at + 1].1, periods[at + 1].2)),
            Measure::Paths => self
                .counted(part, first, last)
                .map(|all| all.into_iter().map(|c| Counts { beside: vec![self.path(c.unit, last)], ..c }).collect()),
            _ => self.counted(part, first, last),
        };
        let Some(counted) = counted else { return missing };
        let same = |wanted: &Category, is: &Category| wanted == is || *wanted == Category::Total;
        let inside = |counts: &&Counts| {
            let axes = self.query.breakdown.iter().map(|b| self.category(b, counts, first, last, part));
            axes.chain(counts.beside.iter().cloned()).zip(&cell[1..]).all(|(is, wanted)| same(wanted, &is))
        };
        let inside: Vec<&Counts> = counted.iter().filter(inside).collect();
        let mut figure = Figure::default();
        let mut key_told = true;
        let mut amounts = Vec::new();
        for counts in &inside {
            if self.query.measure == Measure::Sum {
                let at = self.rows.attributes.iter().position(|a| Some(&a.name) == self.query.of.as_ref()).unwrap();
                let Category::Value(value) = self.attribute(counts.unit, counts.month, part, at) else { continue };
                amounts.push(value.parse::<u64>().unwrap());
            }
            figure.units += 1;
            match self.key(counts.unit, counts.month, keys) {
                Some(key) => figure.key = figure.key.wrapping_add(key),
                None => key_told = false,
            }
        }
        figure.value = figure.units as f64;
        if self.query.measure == Measure::Sum {
            amounts.sort_unstable_by(|a, b| b.cmp(a));
            figure.value = amounts.iter().sum::<u64>() as f64;
            figure.largest = [amounts.first().copied().unwrap_or(0), amounts.get(1).copied().unwrap_or(0)];
        }
        if self.query.measure == Measure::Durations {
            let running = match cell.last() {
                Some(Category::Value(q)) if q == "p25" => 0.75,
                Some(Category::Value(q)) if q == "p50" => 0.5,
                _ => 0.25,
            };
            let stays: Vec<(u32, bool)> = inside.iter().filter_map(|c| c.stay).collect();
            let found = (1..=60u32).find(|t| survival(&stays, *t) <= running + 1e-9);
            figure.value = found.map_or(0.0, f64::from);
            figure.missing = found.is_none() && !inside.is_empty();
        }
        (figure, key_told)
    }
}

/// The product over the months up to `until` of the shares of running stays that go on.
fn survival(stays: &[(u32, bool)], until: u32) -> f64 {
    let step = |t: u32| {
        let at_risk = stays.iter().filter(|(months, _)| *months >= t).count();
        let ended = stays.iter().filter(|(months, ended)| *months == t && *ended).count();
        if ended == 0 { 1.0 } else { 1.0 - ended as f64 / at_risk as f64 }
    };
    (1..=until).map(step).product()
}
