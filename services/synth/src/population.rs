//! The people: households, names that families share, dates, places, papers; twins, namesakes, default dates.
//!
//! A model of its own, kept simple: shares are round figures close to what French social services report, not
//! estimates. No person is real; names are drawn word by word from frequency tables.

use jiff::civil::Date;

use super::dice::Dice;
use super::names::Names;
use super::origins::{Origin, origins};
use super::places::{Birthplace, Places, country};
use super::tags::Tags;

/// Share of persons who are given the names of another one.
pub(crate) const NAMESAKES: f64 = 0.03;
/// Among them, in per cent: any other date, same year, same year and month, same date.
pub(crate) const NAMESAKE_DATES: [u32; 4] = [55, 25, 12, 8];
/// Share of deliveries that bring twins (3 % of children: Insee).
pub(crate) const TWIN_DELIVERIES: f64 = 0.016;
/// Share of children who bear the first given name of the parent whose surname they have.
pub(crate) const SAME_NAME_AS_PARENT: f64 = 0.02;
/// A month that never comes.
pub(crate) const NEVER: u16 = u16::MAX;

/// Situations (column `statut`).
pub(crate) const STATUSES: [&str; 7] = ["ENFANT", "DEMANDEUR_EMPLOI", "SALARIE", "INACTIF", "RETRAITE", "AAH", "FORMATION"];
/// Kinds of housing (column `hebergement`).
pub(crate) const HOUSING: [&str; 9] = [
    "LOGEMENT_AUTONOME",
    "HEBERGE_TIERS",
    "HEBERGEMENT_URGENCE",
    "HOTEL",
    "LOGEMENT_ADAPTE",
    "RUE",
    "CHRS",
    "CAMPEMENT_SQUAT",
    "INSTITUTION",
];

/// Nationality, as far as agreements let it travel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nationality {
    French,
    EuropeanUnion,
    Other,
}

impl Nationality {
    pub(crate) fn word(self) -> &'static str {
        ["FR", "UE", "HUE"][self as usize]
    }
}

/// One person as they are.
pub(crate) struct Person {
    pub(crate) household: u32,
    /// Upper case with accents.
    pub(crate) birth_name: Box<str>,
    /// Empty when the birth name is used.
    pub(crate) usage_name: Box<str>,
    /// First one first, joined by `|`.
    pub(crate) given: Box<str>,
    pub(crate) woman: bool,
    pub(crate) born: Date,
    pub(crate) birthplace: Birthplace,
    pub(crate) nationality: Nationality,
    pub(crate) origin: u8,
    pub(crate) child: bool,
    pub(crate) tags: Tags,
    pub(crate) status: u8,
    pub(crate) income: u16,
    /// Month of birth within the simulation; 0 for those who are there from the start.
    pub(crate) born_month: u16,
    /// Month of death, or [`NEVER`].
    pub(crate) died_month: u16,
    /// Counts the changes of name and date, so that a record can see that it is behind.
    pub(crate) changes: u8,
}

impl Person {
    pub(crate) fn age(&self, at: Date) -> i16 {
        let had_birthday = (at.month(), at.day()) >= (self.born.month(), self.born.day());
        at.year() - self.born.year() - i16::from(!had_birthday)
    }
    pub(crate) fn lives(&self, month: u16) -> bool {
        self.born_month <= month && month < self.died_month
    }
    pub(crate) fn first_given(&self) -> &str {
        self.given.split('|').next().unwrap_or("")
    }
}

/// People who live together.
pub(crate) struct Household {
    pub(crate) commune: u16,
    pub(crate) housing: u8,
    /// The first two members are a couple.
    pub(crate) couple: bool,
    /// How much the household needs help, 0 to 1: what makes its presence in several parties go together.
    pub(crate) need: f32,
    pub(crate) members: Vec<u32>,
}

/// Everyone.
pub(crate) struct Population {
    pub(crate) persons: Vec<Person>,
    pub(crate) households: Vec<Household>,
}

/// What draws people.
pub(crate) struct Maker<'a> {
    pub(crate) names: &'a Names,
    pub(crate) places: &'a Places,
    /// First day of the first month.
    pub(crate) start: Date,
    pub(crate) dice: Dice,
}

/// A household's make-up and the share of households, per cent.
#[derive(Clone, Copy)]
enum Kind {
    Alone,
    LoneParent,
    Family,
    Couple,
    OldAlone,
    OldCouple,
    Shared,
}
const KINDS: [(Kind, u32); 7] = [
    (Kind::Alone, 30),
    (Kind::LoneParent, 17),
    (Kind::Family, 28),
    (Kind::Couple, 9),
    (Kind::OldAlone, 8),
    (Kind::OldCouple, 4),
    (Kind::Shared, 4),
];

impl Maker<'_> {
    /// Exactly `count` persons in households.
    pub(crate) fn population(&mut self, count: usize) -> Population {
        let mut people = Population { persons: Vec::with_capacity(count), households: Vec::with_capacity(count / 2) };
        while people.persons.len() < count {
            self.household(&mut people, count);
        }
        self.namesakes(&mut people);
        people
    }

    fn household(&mut self, people: &mut Population, count: usize) {
        let kind = KINDS[self.dice.weighted(&KINDS.map(|(_, weight)| weight))].0;
        let origin = self.dice.weighted(&origins().iter().map(|origin| origin.weight).collect::<Vec<_>>());
        let (low, high) = match kind {
            Kind::Alone | Kind::Shared => (18, 66),
            Kind::LoneParent => (19, 54),
            Kind::Family => (22, 56),
            Kind::Couple => (20, 68),
            Kind::OldAlone | Kind::OldCouple => (66, 98),
        };
        let age = self.dice.between(low, high).min(self.dice.between(low, high + 20));
        let number = people.households.len() as u32;
        let need = self.dice.unit() as f32;
        let housing = self.housing(f64::from(need), origins()[origin].born_abroad);
        let couple = matches!(kind, Kind::Family | Kind::Couple | Kind::OldCouple);
        people.households.push(Household {
            commune: self.places.residence(&mut self.dice),
            housing,
            couple,
            need,
            members: Vec::new(),
        });

        let woman = match kind {
            Kind::LoneParent => self.dice.chance(0.84),
            Kind::OldAlone => self.dice.chance(0.68),
            Kind::Alone => self.dice.chance(0.38),
            _ => self.dice.chance(0.5),
        };
        let first = self.adult(number, origin, woman, age);
        let head = people.persons.len();
        people.join(first);
        if couple && people.persons.len() < count {
            let partner_origin = if self.dice.chance(0.85) { origin } else { self.dice.weighted(&[40, 20, 8, 5, 8, 6, 6]) };
            let partner_woman = if self.dice.chance(0.97) { !woman } else { woman };
            let partner_age = (age + self.dice.between(-6, 5)).clamp(18, 98);
            let partner = self.adult(number, partner_origin, partner_woman, partner_age);
            people.join(partner);
            if self.dice.chance(0.62) {
                self.marry(people, number);
            }
        } else if matches!(kind, Kind::Shared) {
            for _ in 0..self.dice.between(1, 2) {
                if people.persons.len() < count {
                    let woman = self.dice.chance(0.4);
                    let age = self.dice.between(18, 60);
                    let other = self.adult(number, origin, woman, age);
                    people.join(other);
                }
            }
        } else if let Some(person) =
            people.persons.get_mut(head).filter(|person| person.woman && age > 30 && self.dice.chance(0.12))
        {
            // Widowed or divorced, and keeping the name.
            person.usage_name = self.names.surname(&origins()[origin], origin, &mut self.dice).into();
        }
        if matches!(kind, Kind::LoneParent | Kind::Family) {
            self.children(people, number, head, origin, count);
        }
    }

    /// The children of a new household: one surname for all, ages that a mother can have given birth at.
    fn children(&mut self, people: &mut Population, household: u32, head: usize, origin: usize, count: usize) {
        let members = people.households[household as usize].members.clone();
        let parent = |woman: bool| members.iter().map(|at| &people.persons[*at as usize]).find(|person| person.woman == woman);
        let mother_born = parent(true).or(parent(false)).map_or(1980, |person| person.born.year());
        let father_name = match parent(false) {
            Some(father) => father.birth_name.to_string(),
            None => self.names.surname(&origins()[origin], origin, &mut self.dice),
        };
        let mother_name = parent(true).map_or_else(|| father_name.clone(), |mother| mother.birth_name.to_string());
        let surname =
            match self.dice.weighted(if people.households[household as usize].couple { &[80, 12, 8] } else { &[45, 48, 7] }) {
                0 => father_name,
                1 => mother_name,
                _ if mother_name == father_name => father_name,
                _ => format!("{mother_name} {father_name}"),
            };
        let this_year = self.start.year();
        let last = (mother_born + 45).min(this_year);
        let mut year = mother_born + 18 + self.dice.between(0, 12) as i16;
        let wanted = [1, 2, 3, 4, 5][self.dice.weighted(&[36, 38, 17, 6, 3])];
        // Grown-up children have left.
        year = year.max(this_year - 17).min(last);
        let mut made = 0;
        while made < wanted && year <= last && people.persons.len() < count {
            let twins = self.dice.chance(TWIN_DELIVERIES) && people.persons.len() + 1 < count;
            let born = self.date_in(year);
            for _ in 0..1 + usize::from(twins) {
                self.child(people, household, head, &surname, born, twins, 0);
                made += 1;
            }
            year += self.dice.between(1, 4) as i16;
        }
        people.tag_siblings(household);
    }

    /// Adds one child; `twin` makes it the twin of the child before it, if that one has the same date.
    #[allow(clippy::too_many_arguments)] // every one is a fact about the child
    pub(crate) fn child(
        &mut self,
        people: &mut Population,
        household: u32,
        head: usize,
        surname: &str,
        born: Date,
        twin: bool,
        month: u16,
    ) {
        let parent = &people.persons[head];
        let origin_at = usize::from(parent.origin);
        let origin = &origins()[origin_at];
        let woman = self.dice.chance(0.49);
        // Families that came from abroad came one to twenty years ago.
        let before_arrival = parent.birthplace.is_abroad() && born.year() < self.start.year() - self.dice.between(1, 20) as i16;
        let birthplace = if before_arrival { parent.birthplace } else { self.places.birth_in_france(true, &mut self.dice) };
        let nationality = if before_arrival || (parent.nationality != Nationality::French && self.dice.chance(0.5)) {
            parent.nationality
        } else {
            Nationality::French
        };
        let without_papers = before_arrival && parent.tags.has(Tags::NO_PAPERS);
        let members = people.households[household as usize].members.clone();
        let namesake = members.iter().map(|at| *at as usize).find(|at| {
            let adult = &people.persons[*at];
            !adult.child && adult.woman == woman && *adult.birth_name == *surname
        });
        let like_parent = namesake.filter(|_| self.dice.chance(SAME_NAME_AS_PARENT));
        let mut given = self.names.given_names(origin, woman, born.year(), before_arrival, &mut self.dice);
        if let Some(at) = like_parent {
            given[0] = people.persons[at].first_given().to_owned();
        }
        let taken = |name: &str| {
            members.iter().any(|at| people.persons[*at as usize].child && people.persons[*at as usize].first_given() == name)
        };
        for _ in 0..20 {
            if like_parent.is_none() && taken(&given[0]) {
                given = self.names.given_names(origin, woman, born.year(), before_arrival, &mut self.dice);
            }
        }
        let mut person = Person {
            household,
            birth_name: surname.into(),
            usage_name: "".into(),
            given: given.join("|").into(),
            woman,
            born,
            birthplace,
            nationality,
            origin: origin_at as u8,
            child: true,
            tags: Tags::default(),
            status: 0,
            income: 0,
            born_month: month,
            died_month: NEVER,
            changes: 0,
        };
        if without_papers {
            person.tags.set(Tags::NO_PAPERS);
            if self.dice.chance(origin.default_date * 0.5) {
                self.default_date(&mut person);
            }
        }
        if twin {
            person.tags.set(Tags::TWIN);
            // The twin may have been given a default date before: they share it.
            if let Some(other) = members
                .last()
                .map(|at| &people.persons[*at as usize])
                .filter(|other| other.tags.has(Tags::TWIN) && other.born.year() == born.year())
            {
                person.born = other.born;
                if other.tags.has(Tags::DEFAULT_DATE) {
                    person.tags.set(Tags::DEFAULT_DATE);
                } else {
                    person.tags.clear(Tags::DEFAULT_DATE);
                }
            }
        }
        if let Some(at) = like_parent {
            person.tags.set(Tags::LIKE_PARENT);
            people.persons[at].tags.set(Tags::LIKE_PARENT);
        }
        people.join(person);
    }

    fn adult(&mut self, household: u32, origin_at: usize, woman: bool, age: i32) -> Person {
        let origin = &origins()[origin_at];
        let dice = &mut self.dice;
        let abroad = dice.chance(origin.born_abroad);
        let year = (i32::from(self.start.year()) - age) as i16;
        let birthplace = if abroad { Places::birth_abroad(origin, dice) } else { self.places.birth_in_france(false, dice) };
        let nationality = nationality(origin, birthplace, dice);
        let surname = self.names.surname(origin, origin_at, dice);
        let given = self.names.given_names(origin, woman, year, abroad, dice);
        let without_papers = abroad && nationality == Nationality::Other && dice.chance(origin.without_papers * 1.9);
        let born = self.date_in(year.max(1925));
        let status = self.status(age);
        let mut person = Person {
            household,
            birth_name: surname.into(),
            usage_name: "".into(),
            given: given.join("|").into(),
            woman,
            born,
            birthplace,
            nationality,
            origin: origin_at as u8,
            child: false,
            tags: Tags::default(),
            status,
            income: self.income(status),
            born_month: 0,
            died_month: NEVER,
            changes: 0,
        };
        let share = if without_papers { origin.default_date } else { origin.default_date / 6.0 };
        if abroad && self.dice.chance(share) {
            self.default_date(&mut person);
        }
        if without_papers {
            person.tags.set(Tags::NO_PAPERS);
        }
        if !woman && self.dice.chance(0.01) {
            person.usage_name = self.names.surname(origin, origin_at, &mut self.dice).into();
        }
        person
    }

    /// Gives the women of a couple (seldom a man) a usage name; false when there was nothing to change.
    pub(crate) fn marry(&mut self, people: &mut Population, household: u32) -> bool {
        let &[first, second, ..] = people.households[household as usize].members.as_slice() else { return false };
        let (wife, husband) = if people.persons[first as usize].woman { (first, second) } else { (second, first) };
        let theirs = people.persons[husband as usize].birth_name.clone();
        let person = &mut people.persons[wife as usize];
        let takes = if !person.woman {
            0.02
        } else if person.origin == 0 {
            0.68
        } else {
            0.42
        };
        if *person.birth_name == *theirs || !person.usage_name.is_empty() || !self.dice.chance(takes) {
            return false;
        }
        person.usage_name = if self.dice.chance(0.14) { format!("{}-{theirs}", person.birth_name).into() } else { theirs };
        true
    }

    /// 1 January, in one case of seven 31 December.
    fn default_date(&mut self, person: &mut Person) {
        let (month, day) = if self.dice.chance(0.15) { (12, 31) } else { (1, 1) };
        let date = day_of(person.born.year(), month, day);
        if date < self.start {
            person.born = date;
            person.tags.set(Tags::DEFAULT_DATE);
        }
    }

    /// Any day of a year, before the simulation starts.
    pub(crate) fn date_in(&mut self, year: i16) -> Date {
        let month = self.dice.between(1, 12) as i8;
        let date = day_of(year, month, 1 + self.dice.below(usize::from(day_of(year, month, 1).days_in_month() as u8)) as i8);
        if date < self.start { date } else { day_of(year - 1, date.month(), date.day()) }
    }

    pub(crate) fn housing(&mut self, need: f64, foreign: f64) -> u8 {
        let hard = (need * need * 60.0 + foreign * need * 40.0) as u32;
        self.dice.weighted(&[160, 18 + hard / 4, hard / 3, hard / 4, 4 + hard / 8, hard / 8, hard / 10, hard / 12, 2]) as u8
    }

    pub(crate) fn status(&mut self, age: i32) -> u8 {
        match age {
            ..=15 => 0,
            16..=25 => [1, 2, 3, 6][self.dice.weighted(&[35, 25, 15, 25])],
            26..=61 => [1, 2, 3, 5, 6][self.dice.weighted(&[32, 38, 18, 8, 4])],
            62..=66 => [1, 2, 3, 4][self.dice.weighted(&[12, 20, 18, 50])],
            _ => 4,
        }
    }

    /// Euros a month.
    pub(crate) fn income(&mut self, status: u8) -> u16 {
        let amount = match STATUSES.get(usize::from(status)) {
            Some(&"SALARIE") => self.dice.between(600, 1900),
            Some(&"RETRAITE") => self.dice.between(700, 1600),
            Some(&"AAH") => self.dice.between(900, 1100),
            Some(&"DEMANDEUR_EMPLOI") => [0, self.dice.between(350, 1300)][usize::from(self.dice.chance(0.75))],
            Some(&"INACTIF" | &"FORMATION") => [0, self.dice.between(200, 800)][usize::from(self.dice.chance(0.5))],
            _ => 0,
        };
        // Desks round to tens or hundreds more often than not.
        let round = [1, 10, 50, 100][self.dice.weighted(&[45, 20, 15, 20])];
        (amount / round * round) as u16
    }

    /// Makes adults who live alone namesakes of others: other date, same year, same month or same date.
    fn namesakes(&mut self, people: &mut Population) {
        let alone: Vec<u32> = people
            .households
            .iter()
            .filter(|household| household.members.len() == 1)
            .filter_map(|household| household.members.first().copied())
            .collect();
        let adults: Vec<u32> = (0..people.persons.len() as u32).filter(|at| !people.persons[*at as usize].child).collect();
        if alone.is_empty() || adults.len() < 2 {
            return;
        }
        for _ in 0..(people.persons.len() as f64 * NAMESAKES / 2.0).round() as usize {
            let (copy, model) = (*self.dice.pick(&alone) as usize, *self.dice.pick(&adults) as usize);
            let source = &people.persons[model];
            let (year, month, day) = (source.born.year(), source.born.month(), source.born.day());
            let is_default = source.tags.has(Tags::DEFAULT_DATE);
            let (birth_name, woman, origin, birthplace, nationality) =
                (source.birth_name.clone(), source.woman, source.origin, source.birthplace, source.nationality);
            let given = if self.dice.chance(0.5) { source.given.clone() } else { source.first_given().into() };
            if copy == model || people.persons[copy].tags.has(Tags::HOMONYM) || source.tags.has(Tags::HOMONYM) {
                continue;
            }
            let relation = self.dice.weighted(&NAMESAKE_DATES);
            let born = match relation {
                0 => {
                    let shift = *self.dice.pick(&[-9, -4, 3, 6]);
                    self.date_in((year + shift).clamp(1925, self.start.year() - 19))
                }
                1 => self.date_in(year),
                2 => day_of(year, month, self.dice.between(1, 28) as i8),
                _ => day_of(year, month, day),
            };
            // Another place of birth of the same kind: the name is all that they share.
            let birthplace = if birthplace.is_abroad() {
                Places::birth_abroad(&origins()[usize::from(origin)], &mut self.dice)
            } else {
                self.places.birth_in_france(false, &mut self.dice)
            };
            people.persons[model].tags.set(Tags::HOMONYM);
            let person = &mut people.persons[copy];
            person.tags = Tags::default();
            person.tags.set(Tags::HOMONYM);
            if is_default && relation == 3 {
                person.tags.set(Tags::DEFAULT_DATE);
            }
            (person.birth_name, person.usage_name, person.given, person.woman) = (birth_name, "".into(), given, woman);
            (person.origin, person.birthplace, person.nationality, person.born) = (origin, birthplace, nationality, born);
        }
    }
}

fn nationality(origin: &Origin, birthplace: Birthplace, dice: &mut Dice) -> Nationality {
    match birthplace {
        Birthplace::Commune(_) => Nationality::French,
        Birthplace::Abroad { .. } if origin.french_given >= 1.0 || dice.chance(0.25) => Nationality::French,
        Birthplace::Abroad { country: number, .. } if country(number).european_union => Nationality::EuropeanUnion,
        Birthplace::Abroad { .. } => Nationality::Other,
    }
}

impl Population {
    fn join(&mut self, person: Person) {
        let number = self.persons.len() as u32;
        self.households[person.household as usize].members.push(number);
        self.persons.push(person);
    }

    /// Marks the children of a household who have one surname.
    pub(crate) fn tag_siblings(&mut self, household: u32) {
        let members = &self.households[household as usize].members;
        let children: Vec<u32> = members.iter().copied().filter(|at| self.persons[*at as usize].child).collect();
        if children.len() > 1 {
            for at in children {
                self.persons[at as usize].tags.set(Tags::SIBLING);
            }
        }
    }
}

/// A calendar day; the last one of its month when the month is shorter.
pub(crate) fn day_of(year: i16, month: i8, day: i8) -> Date {
    let first = Date::new(year, month, 1).unwrap_or(Date::ZERO);
    Date::new(year, month, day.clamp(1, first.days_in_month())).unwrap_or(first)
}
