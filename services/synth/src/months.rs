//! One party's register from month to month: who comes in, leaves and returns, and what becomes of what was typed.
//!
//! A record keeps its slips as long as it lives, until somebody corrects it; a person who comes back after leaving
//! sometimes gets a new number and is typed anew.

use std::collections::HashMap;

use jiff::civil::Date;

use super::dice::Dice;
use super::errors::{Desk, SlipSet, Typed};
use super::parties::Party;
use super::population::{Person, Population, day_of};
use super::tags::Tags;

/// Chance in a month that a record's slips are found and corrected.
const CORRECTION: f64 = 0.012;
/// Chance in a month that somebody who left comes back.
const RETURN: f64 = 0.025;
/// Share of those who come back under a new number.
const NEW_NUMBER: f64 = 0.5;

/// One record of a register.
pub(crate) struct Record {
    pub(crate) person: u32,
    pub(crate) household: u32,
    /// Order of creation within the register.
    pub(crate) serial: u32,
    /// What the local id is made of: unique within the register.
    pub(crate) number: u32,
    pub(crate) typed: Typed,
    pub(crate) slips: SlipSet,
    pub(crate) entered: Date,
    pub(crate) left: Option<Date>,
    pub(crate) programme: u8,
    /// Commune of residence as the register knows it.
    pub(crate) commune: u16,
    /// How many of the person's changes have reached the record.
    changes: u8,
}

/// A record was typed, retyped or corrected.
pub(crate) struct Typing {
    pub(crate) person: u32,
    pub(crate) number: u32,
    pub(crate) what: String,
}

/// The register of one party.
pub(crate) struct Register {
    pub(crate) party: &'static Party,
    pub(crate) active: Vec<Record>,
    gone: Vec<Record>,
    /// By person: ever recorded here.
    known: Vec<bool>,
    /// By person: records in `active`.
    present: Vec<u8>,
    serial: u32,
    pub(crate) seed: u64,
    /// Scale of `Party::draw` that makes the presence right.
    scale: f64,
    dice: Dice,
}

/// One month's first and last day.
#[derive(Clone, Copy)]
pub(crate) struct Month {
    pub(crate) index: u16,
    pub(crate) first: Date,
}

impl Month {
    fn any_day(self, dice: &mut Dice) -> Date {
        day_of(self.first.year(), self.first.month(), 1 + dice.below(self.first.days_in_month() as usize) as i8)
    }
}

impl Register {
    /// The register in its first month, with the people it has known for some time.
    pub(crate) fn open(
        party: &'static Party,
        people: &Population,
        desk: &Desk<'_>,
        month: Month,
        seed: u64,
        typings: &mut Vec<Typing>,
    ) -> Self {
        let mut register = Self {
            party,
            active: Vec::new(),
            gone: Vec::new(),
            known: vec![false; people.persons.len()],
            present: vec![0; people.persons.len()],
            serial: 0,
            seed,
            scale: 0.0,
            dice: Dice::new(seed, party.id),
        };
        register.scale = register.scale_for(people, month);
        register.enrol(people, desk, month, 1.0, typings);
        register.follow(people, desk, month, typings);
        register.sort();
        register
    }

    /// Goes through one more month.
    pub(crate) fn advance(&mut self, people: &Population, desk: &Desk<'_>, month: Month, typings: &mut Vec<Typing>) {
        self.known.resize(people.persons.len(), false);
        self.present.resize(people.persons.len(), 0);
        self.archive_leavers();
        self.follow(people, desk, month, typings);
        self.readmit(people, desk, month, typings);
        self.enrol(people, desk, month, 1.0 / self.party.stay_months, typings);
        self.sort();
    }

    /// Numbers have no visible order, so that a file's order says nothing about the person.
    fn sort(&mut self) {
        self.active.sort_unstable_by_key(|record| record.number);
    }

    /// The scale under which the expected share of people present is the party's, chances being at most 0.97.
    fn scale_for(&self, people: &Population, month: Month) -> f64 {
        let wanted = people.persons.iter().filter(|person| person.lives(month.index)).count() as f64 * self.party.presence;
        let mut scale = self.party.presence;
        for _ in 0..6 {
            let mut expected = 0.0;
            self.each_unit(people, month, |_, members, draw| expected += (scale * draw).min(0.97) * members.len() as f64);
            if expected > 0.0 {
                scale *= wanted / expected;
            }
        }
        scale
    }

    /// Calls `visit` with every unit that enrols together (a household, or one person) and its draw.
    fn each_unit(&self, people: &Population, month: Month, mut visit: impl FnMut(u32, &[u32], f64)) {
        for (number, household) in people.households.iter().enumerate() {
            let person = |at: &u32| people.persons.get(*at as usize).filter(|person| person.lives(month.index));
            let draw = |person: &Person| match person.age(month.first) {
                age if age < self.party.from_age => 0.0,
                age => (self.party.draw)(person, household, age),
            };
            if self.party.by_household {
                if let Some(head) = household.members.iter().find_map(person) {
                    visit(number as u32, &household.members, draw(head));
                }
            } else {
                for at in &household.members {
                    if let Some(person) = person(at) {
                        visit(number as u32, &[*at], draw(person));
                    }
                }
            }
        }
    }

    /// Takes in people who were never here, with `share` of the chance of the first month.
    fn enrol(&mut self, people: &Population, desk: &Desk<'_>, month: Month, share: f64, typings: &mut Vec<Typing>) {
        let first_month = month.index == 0;
        let mut newcomers: Vec<(u32, Date)> = Vec::new();
        let mut dice = std::mem::replace(&mut self.dice, Dice::new(0, ""));
        self.each_unit(people, month, |_, members, draw| {
            let here = |at: &u32| self.present.get(*at as usize).is_some_and(|count| *count > 0);
            let missing = members.iter().any(|at| !self.known.get(*at as usize).is_some_and(|known| *known));
            // Somebody who joins a household that is here (a birth) follows it.
            let chance = if members.len() > 1 && members.iter().any(here) { 0.5 } else { (self.scale * draw).min(0.97) * share };
            if missing && dice.chance(chance) {
                let day =
                    if first_month { earlier_day(month, self.party.stay_months, &mut dice) } else { month.any_day(&mut dice) };
                newcomers.extend(members.iter().map(|at| (*at, day)));
            }
        });
        for (at, day) in newcomers {
            let Some(person) = people.persons.get(at as usize).filter(|person| person.lives(month.index)) else { continue };
            if self.known.get(at as usize).is_some_and(|known| *known) || dice.chance(0.02) {
                continue;
            }
            // Nobody comes before birth, nor before the age from which the party takes people.
            let entered = day.max(day_of(person.born.year() + self.party.from_age, person.born.month(), person.born.day()));
            let programme = dice.below(self.party.programmes.len()) as u8;
            let copies = 1 + usize::from(dice.chance(self.party.duplicates));
            for _ in 0..copies {
                self.add(at, people, desk, entered, programme, &mut dice, typings);
            }
        }
        self.dice = dice;
    }

    #[allow(clippy::too_many_arguments)] // every one is a fact about the record
    fn add(
        &mut self,
        at: u32,
        people: &Population,
        desk: &Desk<'_>,
        entered: Date,
        programme: u8,
        dice: &mut Dice,
        typings: &mut Vec<Typing>,
    ) {
        let Some(person) = people.persons.get(at as usize) else { return };
        let (typed, slips) = desk.type_person(person, dice);
        let number = self.party.scatter(self.serial, self.seed, 1);
        typings.push(Typing { person: at, number, what: slips.words() });
        let commune = people.households.get(person.household as usize).map_or(0, |household| household.commune);
        self.active.push(Record {
            person: at,
            household: person.household,
            serial: self.serial,
            number,
            typed,
            slips,
            entered,
            left: None,
            programme,
            commune,
            changes: person.changes,
        });
        self.serial += 1;
        if let Some(known) = self.known.get_mut(at as usize) {
            *known = true;
        }
        if let Some(present) = self.present.get_mut(at as usize) {
            *present = present.saturating_add(1);
        }
    }

    /// Those who left last month are no longer in the file.
    fn archive_leavers(&mut self) {
        let (gone, active): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.active).into_iter().partition(|record| record.left.is_some());
        self.active = active;
        for record in gone {
            if let Some(present) = self.present.get_mut(record.person as usize) {
                *present = present.saturating_sub(1);
            }
            self.gone.push(record);
        }
    }

    /// Departures, deaths, news from people's lives, corrections.
    fn follow(&mut self, people: &Population, desk: &Desk<'_>, month: Month, typings: &mut Vec<Typing>) {
        let dice = &mut self.dice;
        let clean = Desk { rate: 0.0, ..*desk };
        let mut households: HashMap<u32, Option<Date>> = HashMap::new();
        for record in &mut self.active {
            let Some(person) = people.persons.get(record.person as usize) else { continue };
            if !person.lives(month.index) {
                // Word of a death takes time to come.
                if dice.chance(0.6) {
                    record.left = Some(month.any_day(dice));
                }
                continue;
            }
            let mut leaving = || dice.chance(1.0 / self.party.stay_months).then(|| month.any_day(dice));
            record.left =
                if self.party.by_household { *households.entry(record.household).or_insert_with(leaving) } else { leaving() };
            record.left = record.left.map(|day| day.max(record.entered));
            if person.changes != record.changes && dice.chance(self.party.update) {
                let (typed, _) = clean.type_person(person, dice);
                record.typed.usage_name = typed.usage_name;
                if person.tags.has(Tags::DEFAULT_DATE) {
                    record.typed.born = typed.born;
                }
                record.changes = person.changes;
                typings.push(Typing { person: record.person, number: record.number, what: "mise_a_jour".into() });
            }
            let commune = people.households.get(person.household as usize).map_or(record.commune, |household| household.commune);
            if commune != record.commune && dice.chance(self.party.update) {
                record.commune = commune;
            }
            if record.slips.count > 0 && dice.chance(CORRECTION) {
                record.typed = clean.type_person(person, dice).0;
                record.slips = SlipSet::default();
                record.changes = person.changes;
                typings.push(Typing { person: record.person, number: record.number, what: "correction".into() });
            }
        }
    }

    /// Some of those who left come back, half of them under a new number.
    fn readmit(&mut self, people: &Population, desk: &Desk<'_>, month: Month, typings: &mut Vec<Typing>) {
        let mut dice = std::mem::replace(&mut self.dice, Dice::new(0, ""));
        let mut staying = Vec::with_capacity(self.gone.len());
        for mut record in std::mem::take(&mut self.gone) {
            let lives = people.persons.get(record.person as usize).is_some_and(|person| person.lives(month.index));
            let here = self.present.get(record.person as usize).is_some_and(|count| *count > 0);
            // At least one delivery goes by without them.
            let was_away = record.left.is_some_and(|day| (month.first - day).get_days() > 31);
            if !lives || here || !was_away || !dice.chance(RETURN) {
                staying.push(record);
                continue;
            }
            let entered = month.any_day(&mut dice);
            if dice.chance(NEW_NUMBER) {
                self.add(record.person, people, desk, entered, record.programme, &mut dice, typings);
            } else {
                (record.entered, record.left) = (entered, None);
                if let Some(present) = self.present.get_mut(record.person as usize) {
                    *present = present.saturating_add(1);
                }
                self.active.push(record);
            }
        }
        self.gone = staying;
        self.dice = dice;
    }
}

/// When somebody who is here in the first month came: stays end by chance, so past ones have no fixed length either.
fn earlier_day(month: Month, stay_months: f64, dice: &mut Dice) -> Date {
    let mut back = 0;
    while back < 180 && !dice.chance(1.0 / stay_months) {
        back += 1;
    }
    let months = i32::from(month.first.year()) * 12 + i32::from(month.first.month()) - 1 - back;
    let first = day_of((months / 12) as i16, (months % 12 + 1) as i8, 1);
    Month { index: 0, first }.any_day(dice)
}
