//! What happens to people from month to month: moves, marriages, births, deaths, work, housing, a date put right.

use super::months::Month;
use super::population::{Maker, NEVER, Population, STATUSES, day_of};
use super::tags::Tags;

/// Births in a year per thousand persons of the whole simulation.
const BIRTHS_PER_YEAR: u64 = 12;
/// Yearly chances.
const MOVE: f64 = 0.16;
const MARRIAGE: f64 = 0.03;
const WORK: f64 = 0.3;
const INCOME: f64 = 0.4;
const HOUSING: f64 = 0.3;
const DATE_PUT_RIGHT: f64 = 0.06;

/// One event of a person's life.
pub(crate) struct Event {
    pub(crate) person: u32,
    pub(crate) what: &'static str,
    pub(crate) detail: String,
}

/// How many of `persons` are born within a simulation of `months` months.
pub(crate) fn births_within(persons: u64, months: u32) -> u64 {
    persons * BIRTHS_PER_YEAR * u64::from(months.saturating_sub(1)) / 12_000
}

impl Maker<'_> {
    /// Lets one month pass, with this many births.
    pub(crate) fn pass_month(&mut self, people: &mut Population, month: Month, births: u64) -> Vec<Event> {
        let mut events = Vec::new();
        for household in 0..people.households.len() as u32 {
            self.household_month(people, household, month, &mut events);
        }
        for at in 0..people.persons.len() as u32 {
            self.person_month(people, at, month, &mut events);
        }
        self.births(people, month, births, &mut events);
        events
    }

    fn household_month(&mut self, people: &mut Population, number: u32, month: Month, events: &mut Vec<Event>) {
        let moves = self.dice.chance(MOVE / 12.0);
        let other_housing = self.dice.chance(HOUSING / 12.0);
        let marries = self.dice.chance(MARRIAGE / 12.0);
        if !(moves || other_housing || marries) {
            return;
        }
        let Some(household) = people.households.get_mut(number as usize) else { return };
        let Some(&head) = household.members.iter().find(|at| people.persons[**at as usize].lives(month.index)) else { return };
        if moves {
            household.commune = self.places.residence(&mut self.dice);
            events.push(Event {
                person: head,
                what: "demenagement",
                detail: self.places.commune(household.commune).code.to_string(),
            });
        }
        if other_housing {
            household.housing = self.housing(f64::from(household.need), 0.3);
            events.push(Event {
                person: head,
                what: "hebergement",
                detail: super::population::HOUSING[usize::from(household.housing)].to_owned(),
            });
        }
        let both_live = household.members.iter().take(2).all(|at| people.persons[*at as usize].lives(month.index));
        if marries && household.couple && both_live {
            let members = household.members.clone();
            if self.marry(people, number) {
                for at in members.into_iter().take(2) {
                    let person = &mut people.persons[at as usize];
                    if !person.usage_name.is_empty() {
                        person.changes = person.changes.wrapping_add(1);
                        events.push(Event { person: at, what: "mariage", detail: person.usage_name.to_string() });
                    }
                }
            }
        }
    }

    fn person_month(&mut self, people: &mut Population, at: u32, month: Month, events: &mut Vec<Event>) {
        let Some(person) = people.persons.get_mut(at as usize).filter(|person| person.lives(month.index)) else { return };
        let age = person.age(month.first);
        let dies = match age {
            ..=49 => 0.001,
            50..=69 => 0.006,
            70..=84 => 0.03,
            _ => 0.11,
        };
        if self.dice.chance(dies / 12.0) {
            person.died_month = month.index;
            events.push(Event { person: at, what: "deces", detail: String::new() });
            return;
        }
        if age >= 16 && self.dice.chance(WORK / 12.0) {
            person.status = self.status(i32::from(age));
            events.push(Event { person: at, what: "statut", detail: STATUSES[usize::from(person.status)].to_owned() });
        }
        if age >= 18 && self.dice.chance(INCOME / 12.0) {
            person.income = self.income(person.status);
            events.push(Event { person: at, what: "ressources", detail: person.income.to_string() });
        }
        let still_default = matches!((person.born.month(), person.born.day()), (1, 1) | (12, 31));
        if person.tags.has(Tags::DEFAULT_DATE)
            && !person.tags.has(Tags::TWIN)
            && still_default
            && self.dice.chance(DATE_PUT_RIGHT / 12.0)
        {
            let date = self.date_in(person.born.year());
            person.born = date;
            person.changes = person.changes.wrapping_add(1);
            events.push(Event { person: at, what: "regularisation_ddn", detail: date.to_string() });
        }
    }

    /// Children come to women of 18 to 45 with a household; the few simulations too small for one take any adult.
    fn births(&mut self, people: &mut Population, month: Month, births: u64, events: &mut Vec<Event>) {
        let mut left = births;
        while left > 0 {
            let Some(head) = self.parent(people, month) else { return };
            let household = people.persons[head].household;
            let members = &people.households[household as usize].members;
            let sibling = members.iter().map(|at| &people.persons[*at as usize]).find(|person| person.child);
            let father = members.iter().map(|at| &people.persons[*at as usize]).find(|person| !person.child && !person.woman);
            let surname = match (sibling, father) {
                (Some(sibling), _) => sibling.birth_name.to_string(),
                (None, Some(father)) if people.households[household as usize].couple => father.birth_name.to_string(),
                _ => people.persons[head].birth_name.to_string(),
            };
            let day = 1 + self.dice.below(month.first.days_in_month() as usize) as i8;
            let born = day_of(month.first.year(), month.first.month(), day);
            let twins = left > 1 && self.dice.chance(super::population::TWIN_DELIVERIES);
            for _ in 0..1 + u64::from(twins) {
                events.push(Event { person: people.persons.len() as u32, what: "naissance", detail: born.to_string() });
                self.child(people, household, head, &surname, born, twins, month.index);
                left -= 1;
            }
            people.tag_siblings(household);
        }
    }

    fn parent(&mut self, people: &Population, month: Month) -> Option<usize> {
        let count = people.persons.len();
        for _ in 0..2_000 {
            let at = self.dice.below(count);
            let person = &people.persons[at];
            let young = people.households[person.household as usize].members.iter().any(|other| {
                let other = &people.persons[*other as usize];
                other.child && (month.first - other.born).get_days() < 300
            });
            if person.woman
                && !person.child
                && person.lives(month.index)
                && (18..=45).contains(&person.age(month.first))
                && !young
            {
                return Some(at);
            }
        }
        people.persons.iter().position(|person| !person.child && person.died_month == NEVER)
    }
}
