//! Populations: who is in, month by month.
//!
//! Each condition becomes a bitmap of units for each month that it looks at; a population is made of these by words. A
//! month is *observed* for a population when every party that it rests on delivered: the parties that it names, or all
//! of them where a condition names none or a `not` takes everybody present for its ground. A month that is not observed
//! has no population: its figures are missing, and nobody enters or leaves by it.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::axes::Axis;
use super::bits::Bits;
use super::document::{Condition, Population, When};
use super::error::QueryError;
use super::frame::{Frame, Rows};
use crate::figures::Whom;
use crate::study::{Column, Study};

/// When a condition looks, seen from the month counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    When(When),
    /// Position of a month.
    Fixed(usize),
}

/// A condition in numbers.
struct Atom {
    party: Option<usize>,
    /// By attribute, whether each code is admitted.
    admitted: Vec<(usize, Vec<bool>)>,
    moment: Moment,
}

enum Tree {
    All(Vec<Tree>),
    Any(Vec<Tree>),
    Not(Box<Tree>),
    Atom(usize),
}

/// A population in numbers: everybody present where there is no tree.
pub(crate) struct Plan {
    atoms: Vec<Atom>,
    tree: Option<Tree>,
    /// Breakdown by party: one population for each, those of the whole with a record at the party.
    by_party: bool,
    /// Whether another part of the query needs every party.
    all_parties: bool,
}

/// What one month gives before words are combined.
struct Gathered {
    atoms: Vec<Option<Bits>>,
    present: Option<Bits>,
    parties: Vec<Bits>,
}

/// Who is in, by part (the whole, or each party in turn) and month.
pub(crate) struct Sets {
    /// By part, then by month of the study; none where the month is not observed or not asked for.
    pub parts: Vec<Vec<Option<Bits>>>,
}

impl Plan {
    /// The population of a query with the breakdowns `axes`; checked before.
    pub(crate) fn new(population: Option<&Population>, axes: &[Axis], all_parties: bool, study: &Study) -> Self {
        let mut atoms = Vec::new();
        let tree = population.map(|population| plant(population, study, &mut atoms));
        let all_parties = all_parties || axes.contains(&Axis::Parties);
        Self { atoms, tree, by_party: axes.contains(&Axis::Party), all_parties }
    }

    /// Number of parts.
    pub(crate) fn parts(&self, study: &Study) -> usize {
        if self.by_party { study.parties.len() } else { 1 }
    }

    /// Parties that must have delivered for a month of this part to be observed.
    fn needs(&self, part: usize, study: &Study) -> Vec<bool> {
        let mut needs = vec![self.all_parties; study.parties.len()];
        if let Some(need) = needs.get_mut(part).filter(|_| self.by_party) {
            *need = true;
        }
        match &self.tree {
            Some(tree) => self.tree_needs(tree, self.by_party, &mut needs),
            None if !self.by_party => needs.fill(true),
            None => {}
        }
        needs
    }

    /// Whom the population is, for intervals.
    pub(crate) fn whom(&self, study: &Study) -> Whom {
        let Some(tree) = &self.tree else { return Whom::Everybody };
        let now = self.atoms.iter().all(|atom| atom.moment == Moment::When(When::Same));
        let needed = self.needs(0, study).into_iter().filter(|needed| *needed).count();
        if now && needed == 1 && !self.by_party {
            return Whom::OneParty;
        }
        let met = self.met(tree).len() + usize::from(self.by_party);
        Whom::Population { parties: u32::try_from(met).unwrap_or(u32::MAX).max(1) }
    }

    /// Parties that every unit of the set must have met.
    fn met(&self, tree: &Tree) -> BTreeSet<usize> {
        match tree {
            Tree::All(sets) => sets.iter().flat_map(|set| self.met(set)).collect(),
            Tree::Any(sets) => {
                let all = sets.iter().map(|set| self.met(set));
                all.reduce(|some, others| some.intersection(&others).copied().collect()).unwrap_or_default()
            }
            Tree::Not(_) => BTreeSet::new(),
            Tree::Atom(at) => self.atoms.get(*at).and_then(|atom| atom.party).into_iter().collect(),
        }
    }

    /// `grounded`: whether what the set is met with holds only units that are present by parties named elsewhere.
    fn tree_needs(&self, tree: &Tree, grounded: bool, needs: &mut [bool]) {
        match tree {
            Tree::All(sets) => {
                let grounded = grounded || sets.iter().any(|set| self.is_ground(set));
                sets.iter().for_each(|set| self.tree_needs(set, grounded, needs));
            }
            Tree::Any(sets) => sets.iter().for_each(|set| self.tree_needs(set, grounded, needs)),
            Tree::Not(set) => {
                if !grounded {
                    needs.fill(true);
                }
                self.tree_needs(set, grounded, needs);
            }
            Tree::Atom(at) => {
                let Some(atom) = self.atoms.get(*at).filter(|atom| atom.moment == Moment::When(When::Same)) else { return };
                match atom.party.and_then(|party| needs.get_mut(party)) {
                    Some(need) => *need = true,
                    None => needs.fill(true),
                }
            }
        }
    }

    fn is_ground(&self, tree: &Tree) -> bool {
        match tree {
            Tree::All(sets) => sets.iter().any(|set| self.is_ground(set)),
            Tree::Any(sets) => sets.iter().all(|set| self.is_ground(set)),
            Tree::Not(_) => false,
            Tree::Atom(at) => self.atoms.get(*at).is_some_and(|atom| atom.moment == Moment::When(When::Same)),
        }
    }

    /// Parties that some figure of the query rests on.
    pub(crate) fn concerned(&self, study: &Study) -> Vec<bool> {
        let mut concerned = vec![false; study.parties.len()];
        let mut add = |party: Option<usize>| match party.and_then(|party| concerned.get_mut(party)) {
            Some(mark) => *mark = true,
            None => concerned.fill(true),
        };
        for part in 0..self.parts(study) {
            for (party, needed) in self.needs(part, study).into_iter().enumerate() {
                if needed {
                    add(Some(party));
                }
            }
        }
        self.atoms.iter().for_each(|atom| add(atom.party));
        concerned
    }

    /// Months, by index, that the population of the months `counted` looks at.
    pub(crate) fn looks_at(&self, counted: &BTreeSet<u32>, frame: &Frame<'_>) -> BTreeSet<u32> {
        let mut months = counted.clone();
        let (Some(first), Some(last)) = (counted.first(), counted.last()) else { return months };
        let (Some(start), Some(end)) = (frame.calendar.first(), frame.calendar.last()) else { return months };
        for atom in &self.atoms {
            match atom.moment {
                Moment::When(When::Same) => {}
                Moment::When(When::Previous) => months.extend(counted.iter().filter_map(|m| m.checked_sub(1))),
                Moment::When(When::Before) => months.extend(*start..*last),
                Moment::When(When::After) => months.extend(first + 1..=*end),
                Moment::When(When::Ever) => months.extend(*start..=*end),
                Moment::Fixed(at) => months.extend(frame.calendar.get(at)),
            }
        }
        months
    }

    /// Whether the condition can be told at the month at position `month`.
    fn told(atom: &Atom, month: usize, frame: &Frame<'_>) -> bool {
        let delivered = |month: usize| match atom.party {
            Some(party) => frame.delivered(month, party),
            None => (0..frame.study.parties.len()).all(|party| frame.delivered(month, party)),
        };
        match atom.moment {
            Moment::When(When::Same) | Moment::Fixed(_) => true,
            Moment::When(When::Previous) => previous(frame, month).is_some_and(delivered),
            Moment::When(When::Before) => (0..month).any(delivered),
            Moment::When(When::After) => (month + 1..frame.calendar.len()).any(delivered),
            Moment::When(When::Ever) => (0..frame.calendar.len()).any(delivered),
        }
    }

    /// The population of each of the months `counted`, given by index.
    pub(crate) fn sets(&self, counted: &BTreeSet<u32>, frame: &Frame<'_>) -> Result<Sets, QueryError> {
        let positions = |months: &BTreeSet<u32>| months.iter().filter_map(|m| frame.at(*m)).collect::<BTreeSet<usize>>();
        let (looked, counted) = (positions(&self.looks_at(counted, frame)), positions(counted));
        let wants: Vec<Vec<bool>> = self.atoms.iter().map(|atom| wanted(atom, &counted, frame)).collect();
        let gathered: Vec<(usize, Gathered)> = looked
            .into_par_iter()
            .map(|month| Ok((month, self.gather(month, counted.contains(&month), &wants, frame)?)))
            .collect::<Result<_, QueryError>>()?;
        let mut by_month: Vec<Option<Gathered>> = frame.calendar.iter().map(|_| None).collect();
        for (month, found) in gathered {
            if let Some(place) = by_month.get_mut(month) {
                *place = Some(found);
            }
        }
        let spread: Vec<Vec<Option<Bits>>> =
            (0..self.atoms.len()).into_par_iter().map(|at| self.spread(at, &counted, &by_month, frame)).collect();
        let parts = (0..self.parts(frame.study)).into_par_iter().map(|part| {
            let needs = self.needs(part, frame.study);
            let observed = |month: usize| {
                needs.iter().enumerate().all(|(party, needed)| !needed || frame.delivered(month, party))
                    && self.atoms.iter().all(|atom| Self::told(atom, month, frame))
            };
            let of = |month: usize| {
                let found = by_month.get(month)?.as_ref().filter(|_| counted.contains(&month) && observed(month))?;
                let whole = match &self.tree {
                    Some(tree) => Some(combine(tree, month, &spread, found, frame.size)),
                    None if self.by_party => None,
                    None => found.present.clone(),
                };
                match (whole, found.parties.get(part).filter(|_| self.by_party)) {
                    (Some(mut whole), Some(party)) => {
                        whole.keep(party);
                        Some(whole)
                    }
                    (whole, party) => whole.or_else(|| party.cloned()),
                }
            };
            (0..frame.calendar.len()).map(of).collect()
        });
        Ok(Sets { parts: parts.collect() })
    }

    /// Bitmaps of one month.
    fn gather(&self, month: usize, counted: bool, wants: &[Vec<bool>], frame: &Frame<'_>) -> Result<Gathered, QueryError> {
        let wanted = |at: usize| wants.get(at).and_then(|w| w.get(month)).copied().unwrap_or(false);
        let atoms = || self.atoms.iter().enumerate().filter(|(at, _)| wanted(*at));
        let mut columns = vec![Column::Party];
        columns.extend(atoms().flat_map(|(_, atom)| atom.admitted.iter().map(|(at, _)| Column::Attribute(*at))));
        let rows = frame.rows(month, &columns)?;
        let (units, parties) = (rows.units()?, rows.parties()?);
        let mut found = Gathered { atoms: vec![None; self.atoms.len()], present: None, parties: Vec::new() };
        for (at, atom) in atoms() {
            if let Some(place) = found.atoms.get_mut(at) {
                *place = Some(atom.units(&rows, frame.size)?);
            }
        }
        if counted && self.tree.as_ref().map_or(!self.by_party, negates) {
            let mut present = Bits::new(frame.size);
            units.iter().for_each(|unit| present.set(*unit));
            found.present = Some(present);
        }
        if counted && self.by_party {
            found.parties = vec![Bits::new(frame.size); frame.study.parties.len()];
            for (unit, party) in units.iter().zip(parties) {
                if let Some(set) = found.parties.get_mut(usize::from(*party)) {
                    set.set(*unit);
                }
            }
        }
        Ok(found)
    }

    /// The units of a condition as seen from each month counted.
    fn spread(
        &self,
        at: usize,
        counted: &BTreeSet<usize>,
        by_month: &[Option<Gathered>],
        frame: &Frame<'_>,
    ) -> Vec<Option<Bits>> {
        let own = |month: usize| by_month.get(month)?.as_ref()?.atoms.get(at)?.as_ref();
        let union = |months: &mut dyn Iterator<Item = usize>| {
            let mut union = Bits::new(frame.size);
            months.filter_map(own).for_each(|set| union.add(set));
            union
        };
        let months = 0..frame.calendar.len();
        let seen = |before: &mut dyn Iterator<Item = usize>| {
            let mut seen = Bits::new(frame.size);
            let mut by_month = vec![None; frame.calendar.len()];
            for month in before {
                if let Some(place) = by_month.get_mut(month).filter(|_| counted.contains(&month)) {
                    *place = Some(seen.clone());
                }
                if let Some(set) = own(month) {
                    seen.add(set);
                }
            }
            by_month
        };
        let same = |set: Option<&Bits>| months.clone().map(|m| set.filter(|_| counted.contains(&m)).cloned()).collect();
        match self.atoms.get(at).map(|atom| atom.moment) {
            None => Vec::new(),
            Some(Moment::When(When::Same)) => months.clone().map(|m| own(m).filter(|_| counted.contains(&m)).cloned()).collect(),
            Some(Moment::When(When::Previous)) => {
                let before = |m: usize| previous(frame, m).filter(|_| counted.contains(&m)).and_then(own);
                months.clone().map(|m| before(m).cloned()).collect()
            }
            Some(Moment::When(When::Before)) => seen(&mut months.clone()),
            Some(Moment::When(When::After)) => seen(&mut months.clone().rev()),
            Some(Moment::When(When::Ever)) => same(Some(&union(&mut months.clone()))),
            Some(Moment::Fixed(month)) => same(own(month)),
        }
    }
}

/// Months at which the condition's own records are looked at.
fn wanted(atom: &Atom, counted: &BTreeSet<usize>, frame: &Frame<'_>) -> Vec<bool> {
    let (first, last) = (counted.first().copied().unwrap_or(usize::MAX), counted.last().copied().unwrap_or(0));
    let next = |month: usize| counted.contains(&(month + 1)) && previous(frame, month + 1) == Some(month);
    let wanted = |month: usize| match atom.moment {
        Moment::When(When::Same) => counted.contains(&month),
        Moment::When(When::Previous) => next(month),
        Moment::When(When::Before) => month < last,
        Moment::When(When::After) => month > first,
        Moment::When(When::Ever) => true,
        Moment::Fixed(fixed) => month == fixed,
    };
    (0..frame.calendar.len()).map(wanted).collect()
}

/// Position of the calendar month before the one at `month`, where it is held.
fn previous(frame: &Frame<'_>, month: usize) -> Option<usize> {
    frame.at(frame.calendar.get(month)?.checked_sub(1)?)
}

fn plant(population: &Population, study: &Study, atoms: &mut Vec<Atom>) -> Tree {
    match population {
        Population::All { all } => Tree::All(all.iter().map(|set| plant(set, study, atoms)).collect()),
        Population::Any { any } => Tree::Any(any.iter().map(|set| plant(set, study, atoms)).collect()),
        Population::Not { not } => Tree::Not(Box::new(plant(not, study, atoms))),
        Population::Record(condition) => {
            atoms.push(Atom::new(condition, study));
            Tree::Atom(atoms.len() - 1)
        }
    }
}

fn negates(tree: &Tree) -> bool {
    match tree {
        Tree::All(sets) | Tree::Any(sets) => sets.iter().any(negates),
        Tree::Not(_) => true,
        Tree::Atom(_) => false,
    }
}

fn combine(tree: &Tree, month: usize, spread: &[Vec<Option<Bits>>], found: &Gathered, size: usize) -> Bits {
    match tree {
        Tree::All(sets) | Tree::Any(sets) => {
            let mut sets = sets.iter().map(|set| combine(set, month, spread, found, size));
            let mut result = sets.next().unwrap_or_else(|| Bits::new(size));
            for set in sets {
                if matches!(tree, Tree::All(_)) { result.keep(&set) } else { result.add(&set) }
            }
            result
        }
        Tree::Not(set) => {
            let mut result = found.present.clone().unwrap_or_else(|| Bits::new(size));
            result.remove(&combine(set, month, spread, found, size));
            result
        }
        Tree::Atom(at) => {
            spread.get(*at).and_then(|by_month| by_month.get(month)).cloned().flatten().unwrap_or_else(|| Bits::new(size))
        }
    }
}

impl Atom {
    fn new(condition: &Condition, study: &Study) -> Self {
        let admitted = condition.attributes.iter().filter_map(|(name, values)| {
            let at = study.attribute(name)?;
            let codes = study.attributes.get(at)?.values.iter().map(|value| values.contains(value)).collect();
            Some((at, codes))
        });
        Self {
            party: condition.party.as_ref().and_then(|party| study.party(party)),
            admitted: admitted.collect(),
            moment: condition.period.and_then(|period| study.month(period)).map_or(Moment::When(condition.when), Moment::Fixed),
        }
    }

    /// Units with a record of this month that fulfils it all.
    fn units(&self, rows: &Rows, size: usize) -> Result<Bits, QueryError> {
        let (units, parties) = (rows.units()?, rows.parties()?);
        let attributes: Vec<_> =
            self.admitted.iter().map(|(at, codes)| Ok((rows.attribute(*at)?, codes))).collect::<Result<_, QueryError>>()?;
        let mut set = Bits::new(size);
        for (row, (unit, party)) in units.iter().zip(parties).enumerate() {
            let here = self.party.is_none_or(|wanted| wanted == usize::from(*party));
            let admitted = || {
                attributes.iter().all(|(column, codes)| {
                    let code = column.values().get(row).filter(|_| !arrow_array::Array::is_null(column, row));
                    code.and_then(|code| codes.get(usize::from(*code))).copied().unwrap_or(false)
                })
            };
            if here && admitted() {
                set.set(*unit);
            }
        }
        Ok(set)
    }
}
