//! Households of one month after another.

use linkage_agreement::Period;

use super::HORIZON_MONTHS;
use super::ages::{Age, Ages};
use super::composition::Composition;
use super::homes::{NOWHERE, homes};
use super::memory::{Before, parts};
use super::numbers::{Claim, number};
use super::units::{Joined, Membership, Units, join};

/// Rows of a month, one a record: slices of the same length, persons rising.
#[derive(Debug, Clone, Copy)]
pub struct MonthRows<'a> {
    /// The month.
    pub period: Period,
    /// By party, whether it delivered.
    pub delivered: &'a [bool],
    /// Number of the person.
    pub person: &'a [u32],
    /// Party.
    pub party: &'a [u8],
    /// The party's household reference, distinct between parties.
    pub reference: &'a [Option<u32>],
    /// Ages that the row's date of birth tells.
    pub ages: &'a [Ages],
    /// Composition that the party says.
    pub composition: &'a [Option<Composition>],
}

/// One household of a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Household {
    /// Its number, kept over the months.
    pub number: u32,
    /// Its persons with rows: residents, and minors who reside in their other home.
    pub size: u32,
    /// Its class; none when unknown.
    pub composition: Option<Composition>,
    /// Whether some party names it; else it is a person without a reference, or several who were last named together.
    pub referenced: bool,
}

/// Households of a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonthHouseholds {
    /// Number of each row's household, in the rows' order.
    pub rows: Vec<u32>,
    /// The households, by number.
    pub households: Vec<Household>,
    /// Persons without a reference who stay in a household that others are named in.
    pub remembered: u64,
    /// References with more persons than a household has; their rows count as without one.
    pub too_large: u64,
    /// Persons without a reference who stay in no such household.
    pub unnamed: u64,
    /// Persons whom a file without references knows, and whose household another file names.
    pub named_elsewhere: u64,
    /// Households of these.
    pub households_elsewhere: u64,
}

/// Fewer persons say nothing about how the others live.
const ENOUGH: u64 = 100;

impl MonthHouseholds {
    /// How many households there are, if persons without a reference live with one another as do those of the same
    /// files whose household is known: of these, fewer households than persons. Too high by those who live with
    /// somebody who has a reference (docs/households.md).
    pub fn expected(&self) -> u64 {
        let named = self.households.iter().filter(|h| h.referenced).count() as u64;
        if self.named_elsewhere < ENOUGH {
            return self.households.len() as u64;
        }
        named + (self.unnamed * self.households_elsewhere + self.named_elsewhere / 2) / self.named_elsewhere
    }
}

/// No number yet.
const NONE: u32 = u32::MAX;

/// What is remembered of a person.
#[derive(Clone, Copy)]
struct Last {
    /// Number of their household, and when they had it.
    number: u32,
    seen: u32,
    /// Number of the household in which a reference last named them.
    named: u32,
    /// When references last put them there, rather than memory.
    joint: u32,
}

const UNSEEN: Last = Last { number: NONE, seen: 0, named: NONE, joint: 0 };

/// A membership of an earlier month.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    reference: u32,
    /// Number in the study.
    person: u32,
    party: u8,
    since: u32,
    seen: u32,
}

/// Resolves months in rising order, and carries numbers and memory from one to the next.
#[derive(Default)]
pub struct Tracker {
    last: Vec<Last>,
    /// By reference and person.
    held: Vec<Held>,
    next: u32,
}

impl Tracker {
    /// Numbers given so far are below this.
    pub fn count(&self) -> u32 {
        self.next
    }

    /// Households of the next month.
    pub fn month(&mut self, rows: &MonthRows<'_>) -> MonthHouseholds {
        let now = rows.period.index();
        let persons = Persons::of(rows);
        let mut memberships = self.memberships(rows, &persons, now);
        let units = Units::new(&mut memberships, persons.numbers.len());
        let joined = join(&units, &persons.age);
        let homes = homes(&units, &joined, &persons.age);
        let placed = self.place(&persons, &units, &joined, &homes, now);

        // A row is in the household that its own reference names, if anybody resides there.
        let of_row = |row: usize| -> u32 {
            let local = persons.of_row.get(row).copied().unwrap_or(NONE);
            let own = placed.of_person.get(local as usize).copied().unwrap_or(NONE);
            let Some(Some(reference)) = rows.reference.get(row) else { return own };
            let home = homes.get(local as usize).copied().unwrap_or(NOWHERE);
            let elsewhere = |unit: &u32| joined.of_unit.get(*unit as usize) != Some(&home);
            if !units.of_person(local).iter().any(elsewhere) {
                return own;
            }
            let household = units.unit(*reference).and_then(|unit| joined.of_unit.get(unit as usize));
            household.and_then(|h| placed.dense.get(*h as usize)).copied().filter(|d| *d != NONE).unwrap_or(own)
        };
        let dense_rows: Vec<u32> = (0..rows.person.len()).map(of_row).collect();
        let households = describe(rows, &persons, &joined, &placed, &dense_rows);
        let number = |dense: &u32| placed.numbers.get(*dense as usize).copied().unwrap_or(NONE);
        let numbers = dense_rows.iter().map(number).collect();
        let mut elsewhere: Vec<(u32, u32)> = rows
            .reference
            .iter()
            .zip(&persons.of_row)
            .filter(|(reference, person)| reference.is_none() && homes.get(**person as usize) != Some(&NOWHERE))
            .filter_map(|(_, person)| Some((*placed.of_person.get(*person as usize)?, *person)))
            .collect();
        elsewhere.sort_unstable();
        elsewhere.dedup();
        MonthHouseholds {
            rows: numbers,
            households,
            remembered: placed.remembered,
            too_large: units.too_large,
            unnamed: homes.iter().filter(|home| **home == NOWHERE).count() as u64 - placed.remembered,
            named_elsewhere: elsewhere.len() as u64,
            households_elsewhere: elsewhere.chunk_by(|a, b| a.0 == b.0).count() as u64,
        }
    }

    /// Who is named under which reference, and since when; replaces what is held of earlier months.
    fn memberships(&mut self, rows: &MonthRows<'_>, persons: &Persons, now: u32) -> Vec<Membership> {
        let silent = |party: u8| rows.delivered.get(usize::from(party)) == Some(&false);
        let mut memberships: Vec<Membership> = rows
            .reference
            .iter()
            .zip(rows.party)
            .zip(&persons.of_row)
            .filter_map(|((reference, party), person)| {
                Some(Membership { reference: (*reference)?, person: *person, party: *party, since: now })
            })
            .collect();
        let silent_now: Vec<Held> =
            self.held.iter().filter(|h| silent(h.party) && now - h.seen.min(now) <= HORIZON_MONTHS).copied().collect();
        memberships.extend(silent_now.iter().filter_map(|h| {
            let person = persons.numbers.binary_search(&h.person).ok()? as u32;
            Some(Membership { reference: h.reference, person, party: h.party, since: h.since })
        }));
        memberships.sort_unstable();
        memberships.dedup_by_key(|m| (m.reference, m.person));
        let global = |m: &Membership| persons.numbers.get(m.person as usize).copied().unwrap_or(NONE);
        let mut held = self.held.iter().peekable();
        for m in &mut memberships {
            let key = (m.reference, global(m));
            while held.next_if(|h| (h.reference, h.person) < key).is_some() {}
            if let Some(before) = held.peek().filter(|h| (h.reference, h.person) == key) {
                m.since = before.since;
            }
        }
        self.held = memberships
            .iter()
            .filter(|m| !silent(m.party))
            .map(|m| Held { reference: m.reference, person: global(m), party: m.party, since: m.since, seen: now })
            .chain(silent_now)
            .collect();
        self.held.sort_unstable();
        memberships
    }

    /// Numbers the households and places those whom no reference names.
    fn place(&mut self, persons: &Persons, units: &Units<'_>, joined: &Joined, homes: &[u32], now: u32) -> Placed {
        let last = |this: &Self, person: u32| this.last.get(person as usize).copied().unwrap_or(UNSEEN);
        let claims = |this: &Self, of_person: &[u32]| -> Vec<Claim> {
            persons
                .numbers
                .iter()
                .zip(of_person)
                .filter(|(_, household)| **household != NONE)
                .map(|(person, household)| (last(this, *person), *person, *household))
                .filter(|(last, ..)| last.number != NONE)
                .map(|(last, person, household)| Claim { number: last.number, household, seen: last.seen, person })
                .collect()
        };
        let first = number(claims(self, homes), joined.members.len());
        let went = |number: u32| -> Option<u32> {
            let at = first.went.binary_search_by_key(&number, |w| w.0).ok()?;
            first.went.get(at).map(|w| w.1)
        };
        let before: Vec<Option<Before>> = persons
            .numbers
            .iter()
            .map(|person| last(self, *person))
            .map(|last| (last.number != NONE).then_some(Before { number: last.number, joint: last.joint }))
            .collect();
        let parts = parts(units, joined, homes, &before, went, now);
        let (dense, mut numbers) = self.numbered(homes, &first.kept, &parts);
        let named = numbers.len() as u32;
        let of_household = |household: u32| dense.get(household as usize).copied().unwrap_or(NONE);
        let mut of_person: Vec<u32> = homes.iter().map(|home| of_household(*home)).collect();

        // Those whom no reference names: with the household in which one last named them, or by themselves.
        let mut alone: Vec<(bool, u32, u32)> = Vec::new();
        let mut remembered = 0;
        let mut attached = Vec::new();
        for (local, (place, person)) in (0u32..).zip(of_person.iter_mut().zip(&persons.numbers)) {
            if *place != NONE {
                continue;
            }
            let last = last(self, *person);
            if last.named == NONE || now - last.joint.min(now) > HORIZON_MONTHS {
                alone.push((true, local, local));
            } else if let Some(household) = went(last.named) {
                *place = of_household(household);
                attached.push(*person);
                remembered += 1;
            } else {
                alone.push((false, last.named, local));
            }
        }
        alone.sort_unstable();
        let mut unnamed = vec![NONE; of_person.len()];
        let mut groups = 0;
        for group in alone.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            for (.., local) in group {
                if let Some(place) = unnamed.get_mut(*local as usize) {
                    *place = groups;
                }
            }
            groups += 1;
        }
        let mut free = claims(self, &unnamed);
        free.retain(|claim| went(claim.number).is_none());
        for kept in number(free, groups as usize).kept {
            numbers.push(kept.unwrap_or_else(|| self.mint()));
        }
        for (place, group) in of_person.iter_mut().zip(&unnamed).filter(|(_, group)| **group != NONE) {
            *place = named + group;
        }

        let is_part = |home: u32| parts.binary_search_by_key(&home, |p| p.0).is_ok();
        for (person, (place, home)) in persons.numbers.iter().zip(of_person.iter().zip(homes)) {
            let number = numbers.get(*place as usize).copied().unwrap_or(NONE);
            let at = *person as usize;
            if self.last.len() <= at {
                self.last.resize(at + 1, UNSEEN);
            }
            let Some(last) = self.last.get_mut(at) else { continue };
            (last.number, last.seen) = (number, now);
            if *home != NOWHERE {
                last.named = number;
                if !is_part(*home) {
                    last.joint = now;
                }
            }
        }
        // Their household may bear another number by now.
        for person in attached {
            if let Some(last) = self.last.get_mut(person as usize) {
                last.named = last.number;
            }
        }
        Placed { numbers, dense, of_person, named, remembered }
    }

    fn mint(&mut self) -> u32 {
        let minted = self.next;
        self.next += 1;
        minted
    }

    /// Positions and numbers of the households in which somebody resides; `parts` have those that they stay with.
    fn numbered(&mut self, homes: &[u32], kept: &[Option<u32>], parts: &[(u32, u32)]) -> (Vec<u32>, Vec<u32>) {
        let mut dense = vec![NONE; kept.len()];
        for home in homes {
            if let Some(place) = dense.get_mut(*home as usize) {
                *place = 0;
            }
        }
        for (part, _) in parts {
            if let Some(place) = dense.get_mut(*part as usize) {
                *place = NONE;
            }
        }
        let mut numbers = Vec::new();
        for (place, kept) in dense.iter_mut().zip(kept).filter(|(place, _)| **place == 0) {
            *place = numbers.len() as u32;
            numbers.push(kept.unwrap_or_else(|| self.mint()));
        }
        for (part, rest) in parts {
            let rest = dense.get(*rest as usize).copied().unwrap_or(NONE);
            if let Some(place) = dense.get_mut(*part as usize) {
                *place = rest;
            }
        }
        (dense, numbers)
    }
}

/// Persons of a month: local numbers from 0 in rising order.
struct Persons {
    numbers: Vec<u32>,
    of_row: Vec<u32>,
    ages: Vec<Ages>,
    age: Vec<Age>,
}

impl Persons {
    fn of(rows: &MonthRows<'_>) -> Self {
        let mut numbers = rows.person.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        let mut at = 0;
        let of_row: Vec<u32> = rows
            .person
            .iter()
            .map(|person| {
                if numbers.get(at) != Some(person) {
                    at = numbers.binary_search(person).unwrap_or(at);
                }
                at as u32
            })
            .collect();
        // Of several dates of birth, the one that most rows have.
        let mut told: Vec<(u32, Ages)> =
            of_row.iter().copied().zip(rows.ages.iter().copied()).filter(|(_, ages)| *ages != Ages::UNKNOWN).collect();
        told.sort_unstable();
        let mut ages = vec![Ages::UNKNOWN; numbers.len()];
        for of_person in told.chunk_by(|a, b| a.0 == b.0) {
            let most = of_person.chunk_by(|a, b| a == b).max_by_key(|same| same.len()).and_then(|same| same.first());
            if let Some((place, (_, told))) = most.and_then(|m| Some((ages.get_mut(m.0 as usize)?, m))) {
                *place = *told;
            }
        }
        let age = ages.iter().map(|a| a.age()).collect();
        Self { numbers, of_row, ages, age }
    }
}

/// Where persons are.
struct Placed {
    /// Number of each household that somebody resides in: those that a reference names, then the others.
    numbers: Vec<u32>,
    /// Position among these of each household that references make; [`NONE`] where nobody resides.
    dense: Vec<u32>,
    /// Position among these of each person's.
    of_person: Vec<u32>,
    /// How many of them a reference names.
    named: u32,
    remembered: u64,
}

/// Size and composition of every household.
fn describe(rows: &MonthRows<'_>, persons: &Persons, joined: &Joined, placed: &Placed, of_row: &[u32]) -> Vec<Household> {
    let mut members: Vec<(u32, u32)> = (0u32..).zip(&placed.of_person).map(|(person, place)| (*place, person)).collect();
    for (dense, listed) in placed.dense.iter().zip(&joined.members).filter(|(dense, _)| **dense != NONE) {
        // Minors of two homes are of both; most households have none.
        let elsewhere = |person: &u32| {
            persons.age.get(*person as usize) == Some(&Age::Minor) && placed.of_person.get(*person as usize) != Some(dense)
        };
        members.extend(listed.iter().filter(|person| elsewhere(person)).map(|person| (*dense, *person)));
    }
    members.sort_unstable();
    let mut said: Vec<(u32, u8, Composition)> = of_row
        .iter()
        .zip(rows.party)
        .zip(rows.composition)
        .filter_map(|((place, party), class)| Some((*place, *party, (*class)?)))
        .collect();
    said.sort_unstable();
    let mut said = said.as_slice();
    let mut households: Vec<Household> = members
        .chunk_by(|a, b| a.0 == b.0)
        .filter_map(|household| {
            let place = household.first()?.0;
            let ages: Vec<Ages> =
                household.iter().map(|(_, p)| persons.ages.get(*p as usize).copied().unwrap_or(Ages::UNKNOWN)).collect();
            // Both lists are in the households' order.
            let until = said.partition_point(|s| s.0 <= place);
            let (here, rest) = said.split_at(until);
            said = rest;
            let mut votes = [0u8; 5];
            for of_party in here.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
                let most = of_party.chunk_by(|a, b| a == b).max_by_key(|same| same.len()).and_then(|same| same.first());
                if let Some(vote) = most.and_then(|m| votes.get_mut(m.2 as usize)) {
                    *vote = vote.saturating_add(1);
                }
            }
            let referenced = place < placed.named;
            Some(Household {
                number: placed.numbers.get(place as usize).copied()?,
                size: household.len() as u32,
                composition: Composition::of(votes, &ages),
                referenced,
            })
        })
        .collect();
    households.sort_unstable_by_key(|h| h.number);
    households
}
