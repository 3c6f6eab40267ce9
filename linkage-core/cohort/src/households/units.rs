//! References of a month, and which of them are one household.
//!
//! Agglomerative by falling weight: pairs of references that share persons are taken from the strongest on, and joined
//! when the households that they have become by then are one by the rule. A household holds one reference of each
//! party at most, so two households that a party holds apart are never glued by what others say; only references of one
//! party with the very same persons (a file opened twice) are one. The order is total: the same rows, the same
//! households. Cost is linear in rows, but for sorting.

use super::ages::Age;
use super::rule;

/// That a party names a person under a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Membership {
    /// The reference.
    pub(super) reference: u32,
    /// Local number of the person.
    pub(super) person: u32,
    /// Whose reference it is.
    pub(super) party: u8,
    /// Month since which it has been so (see [`linkage_agreement::Period::index`]).
    pub(super) since: u32,
}

/// The references of a month with their persons.
pub(super) struct Units<'a> {
    memberships: &'a [Membership],
    /// Where each unit's memberships begin; one more at the end.
    starts: Vec<u32>,
    members: Vec<u32>,
    /// For each person, in order, the units that name them: `of_person[person_starts[p]..person_starts[p + 1]]`.
    person_starts: Vec<u32>,
    of_person: Vec<u32>,
    /// Units that name too many persons to be a household.
    pub(super) too_large: u64,
}

impl<'a> Units<'a> {
    /// Of `memberships` in order, each there once, of `persons` persons.
    pub(super) fn new(memberships: &'a mut Vec<Membership>, persons: usize) -> Self {
        let mut too_large = 0;
        let crowded: Vec<u32> = memberships
            .chunk_by(|a, b| a.reference == b.reference)
            .filter(|unit| unit.len() > rule::MAX_MEMBERS)
            .filter_map(|unit| unit.first().map(|m| m.reference))
            .collect();
        if !crowded.is_empty() {
            too_large = crowded.len() as u64;
            memberships.retain(|m| crowded.binary_search(&m.reference).is_err());
        }
        let memberships: &'a [Membership] = memberships;
        let mut starts = vec![0];
        let mut person_starts = vec![0u32; persons + 1];
        for unit in memberships.chunk_by(|a, b| a.reference == b.reference) {
            starts.push(starts.last().copied().unwrap_or(0) + unit.len() as u32);
        }
        for m in memberships {
            if let Some(next) = person_starts.get_mut(m.person as usize + 1) {
                *next += 1;
            }
        }
        let mut sum = 0;
        for start in &mut person_starts {
            sum += *start;
            *start = sum;
        }
        let mut of_person = vec![0u32; memberships.len()];
        let mut at = person_starts.clone();
        for (unit, members) in memberships.chunk_by(|a, b| a.reference == b.reference).enumerate() {
            for m in members {
                if let Some(place) = at.get_mut(m.person as usize) {
                    if let Some(slot) = of_person.get_mut(*place as usize) {
                        *slot = unit as u32;
                    }
                    *place += 1;
                }
            }
        }
        let members = memberships.iter().map(|m| m.person).collect();
        Self { memberships, starts, members, person_starts, of_person, too_large }
    }

    pub(super) fn count(&self) -> usize {
        self.starts.len() - 1
    }
    fn range(starts: &[u32], at: usize) -> std::ops::Range<usize> {
        let place = |at: usize| starts.get(at).map_or(0, |s| *s as usize);
        place(at)..place(at + 1)
    }
    /// Memberships of a unit.
    pub(super) fn memberships(&self, unit: u32) -> &[Membership] {
        self.memberships.get(Self::range(&self.starts, unit as usize)).unwrap_or_default()
    }
    /// Persons of a unit, rising.
    pub(super) fn members(&self, unit: u32) -> &[u32] {
        self.members.get(Self::range(&self.starts, unit as usize)).unwrap_or_default()
    }
    /// Units that name a person, rising.
    pub(super) fn of_person(&self, person: u32) -> &[u32] {
        self.of_person.get(Self::range(&self.person_starts, person as usize)).unwrap_or_default()
    }
    pub(super) fn party(&self, unit: u32) -> u8 {
        self.memberships(unit).first().map_or(0, |m| m.party)
    }
    /// The unit of a reference.
    pub(super) fn unit(&self, reference: u32) -> Option<u32> {
        let at = self.memberships.partition_point(|m| m.reference < reference);
        let held = self.memberships.get(at).is_some_and(|m| m.reference == reference);
        // Units begin where their first membership stands.
        held.then(|| self.starts.partition_point(|s| (*s as usize) <= at).saturating_sub(1) as u32)
    }
}

/// Two units that share persons.
struct Pair {
    weight: (u32, u32, u32),
    units: (u32, u32),
}

/// Household of every unit, numbered from 0 in the order of their first units, and each one's persons, rising.
pub(super) struct Joined {
    pub(super) of_unit: Vec<u32>,
    pub(super) members: Vec<Vec<u32>>,
}

/// Joins units to households.
pub(super) fn join(units: &Units<'_>, ages: &[Age]) -> Joined {
    let age = |person: u32| ages.get(person as usize).copied().unwrap_or(Age::Unknown);
    let mut forest = Forest::new(units);
    for (a, b) in twins(units, ages.len()) {
        forest.join(a, b);
    }
    let mut open = pairs(units, ages);
    // A pair that is no household yet may become one when either has joined others; a chain of such pairs is cut short
    // after as many rounds as a household can have parties.
    for _ in 0..rule::MAX_REFERENCES {
        let before = forest.joins;
        open.retain(|pair| {
            let (a, b) = (forest.root(pair.units.0), forest.root(pair.units.1));
            if a == b || forest.share_a_party(a, b) {
                return false;
            }
            if rule::one_household(forest.members(a), forest.members(b), age) {
                forest.join(a, b);
                return false;
            }
            true
        });
        if forest.joins == before || open.is_empty() {
            break;
        }
    }
    forest.households()
}

/// Units of one party with the very same persons.
fn twins(units: &Units<'_>, persons: usize) -> Vec<(u32, u32)> {
    let mut twins = Vec::new();
    for person in 0..persons as u32 {
        let of = units.of_person(person);
        if of.len() < 2 || of.len() > rule::MAX_REFERENCES {
            continue;
        }
        for (at, a) in of.iter().enumerate() {
            for b in of.iter().skip(at + 1) {
                // Once, from the first person of both.
                let first = units.members(*a).first() == Some(&person);
                if first && units.party(*a) == units.party(*b) && units.members(*a) == units.members(*b) {
                    twins.push((*a, *b));
                }
            }
        }
    }
    twins
}

/// Pairs of units of different parties that share persons, the strongest first.
fn pairs(units: &Units<'_>, ages: &[Age]) -> Vec<Pair> {
    let mut meetings: Vec<(u32, u32, bool)> = Vec::new();
    for (person, age) in (0u32..).zip(ages) {
        let of = units.of_person(person);
        if of.len() < 2 || of.len() > rule::MAX_REFERENCES {
            continue;
        }
        for (at, a) in of.iter().enumerate() {
            for b in of.iter().skip(at + 1).filter(|b| units.party(**b) != units.party(*a)) {
                meetings.push((*a, *b, *age != Age::Minor));
            }
        }
    }
    meetings.sort_unstable();
    let mut pairs: Vec<Pair> = meetings
        .chunk_by(|x, y| (x.0, x.1) == (y.0, y.1))
        .filter_map(|meeting| {
            let &(a, b, _) = meeting.first()?;
            let grown = meeting.iter().filter(|m| m.2).count() as u32;
            let weight = rule::weight(grown, meeting.len() as u32, units.members(a).len(), units.members(b).len());
            Some(Pair { weight, units: (a, b) })
        })
        .collect();
    pairs.sort_unstable_by(|x, y| y.weight.cmp(&x.weight).then(x.units.cmp(&y.units)));
    pairs
}

/// Units joined so far (Tarjan 1975: union by the smaller number, paths halved).
struct Forest<'u, 'a> {
    units: &'u Units<'a>,
    parent: Vec<u32>,
    /// Persons and parties of each root that is more than one unit.
    joined: Vec<Option<Box<Several>>>,
    joins: u64,
}

/// Parties, a bit each.
type Parties = [u64; 4];

struct Several {
    members: Vec<u32>,
    parties: Parties,
}

impl<'u, 'a> Forest<'u, 'a> {
    fn new(units: &'u Units<'a>) -> Self {
        let count = units.count();
        Self { units, parent: (0..count as u32).collect(), joined: (0..count).map(|_| None).collect(), joins: 0 }
    }
    fn root(&mut self, unit: u32) -> u32 {
        let mut at = unit;
        while let Some(&above) = self.parent.get(at as usize) {
            if above == at {
                break;
            }
            let top = self.parent.get(above as usize).copied().unwrap_or(above);
            if let Some(place) = self.parent.get_mut(at as usize) {
                *place = top;
            }
            at = top;
        }
        at
    }
    fn several(&self, root: u32) -> Option<&Several> {
        self.joined.get(root as usize)?.as_deref()
    }
    fn members(&self, root: u32) -> &[u32] {
        self.several(root).map_or_else(|| self.units.members(root), |s| &s.members)
    }
    fn parties(&self, root: u32) -> Parties {
        self.several(root).map_or_else(
            || {
                let party = self.units.party(root);
                std::array::from_fn(|word| if usize::from(party / 64) == word { 1 << (party % 64) } else { 0 })
            },
            |s| s.parties,
        )
    }
    fn share_a_party(&self, a: u32, b: u32) -> bool {
        self.parties(a).iter().zip(self.parties(b)).any(|(a, b)| a & b != 0)
    }
    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return;
        }
        let (first, second) = (a.min(b), a.max(b));
        let members = rule::in_either(self.members(first), self.members(second));
        let (p, q) = (self.parties(first), self.parties(second));
        let parties = std::array::from_fn(|word| p.get(word).unwrap_or(&0) | q.get(word).unwrap_or(&0));
        if let Some(place) = self.joined.get_mut(second as usize) {
            *place = None;
        }
        if let Some(place) = self.joined.get_mut(first as usize) {
            *place = Some(Box::new(Several { members, parties }));
        }
        if let Some(place) = self.parent.get_mut(second as usize) {
            *place = first;
        }
        self.joins += 1;
    }
    fn households(mut self) -> Joined {
        let mut number = vec![u32::MAX; self.parent.len()];
        let mut of_unit = Vec::with_capacity(self.parent.len());
        let mut members = Vec::new();
        for unit in 0..self.parent.len() as u32 {
            // The root is the smallest of its units, so it has its number first.
            let root = self.root(unit);
            if root == unit {
                if let Some(place) = number.get_mut(unit as usize) {
                    *place = members.len() as u32;
                }
                let several = self.joined.get_mut(unit as usize).and_then(Option::take);
                members.push(several.map_or_else(|| self.units.members(root).to_vec(), |s| s.members));
            }
            of_unit.push(number.get(root as usize).copied().unwrap_or(u32::MAX));
        }
        Joined { of_unit, members }
    }
}
