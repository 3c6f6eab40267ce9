//! The parties: whom each one knows, how its desks type, and what its register can hold.

use super::population::{Household, Person, STATUSES};
use super::tags::Tags;
use jiff::civil::Date;

/// How a register writes names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// Upper case without exception.
    Upper,
    /// Surnames mostly upper case, given names mostly capitalised.
    Mixed,
    /// Capitalised.
    Title,
}

/// One party and its habits. Shares are of records unless stated.
pub(crate) struct Party {
    /// Identifier, as in agreements.
    pub(crate) id: &'static str,
    /// Share of the population that is present in the first month.
    pub(crate) presence: f64,
    /// Whole households enrol together.
    pub(crate) by_household: bool,
    /// Youngest age taken.
    pub(crate) from_age: i16,
    /// Mean length of a stay, months.
    pub(crate) stay_months: f64,
    /// Corruptions per record, relative to the error rate asked for.
    pub(crate) errors: f64,
    /// Persons recorded a second time.
    pub(crate) duplicates: f64,
    /// Chance in a month that a change in a person's life reaches the record.
    pub(crate) update: f64,
    /// Records that keep their accents.
    pub(crate) accents: f64,
    /// Records that keep their hyphens.
    pub(crate) hyphens: f64,
    pub(crate) case: Case,
    /// Persons with a usage name whose usage name stands in the place of the birth name.
    pub(crate) usage_as_birth: f64,
    /// Records with every given name.
    pub(crate) all_given: f64,
    /// Longest surname and given names, characters.
    pub(crate) surname_length: usize,
    pub(crate) given_length: usize,
    /// Values of `type_accompagnement`.
    pub(crate) programmes: &'static [&'static str],
    /// How much likelier a person of this kind is to be known here.
    pub(crate) draw: fn(&Person, &Household, i16) -> f64,
}

/// All parties, in the order in which `--parties K` takes them.
pub(crate) const PARTIES: [Party; 8] = [
    Party {
        id: "ccas",
        presence: 0.26,
        by_household: true,
        from_age: 0,
        stay_months: 15.0,
        errors: 1.2,
        duplicates: 0.025,
        update: 0.5,
        accents: 0.85,
        hyphens: 0.75,
        case: Case::Mixed,
        usage_as_birth: 0.45,
        all_given: 0.1,
        surname_length: 40,
        given_length: 30,
        programmes: &["ACCOMPAGNEMENT_SOCIAL_GLOBAL", "DOMICILIATION", "AIDE_ALIMENTAIRE", "AIDE_FACULTATIVE"],
        draw: |_, household, _| {
            0.4 + 1.8 * need(household) * need(household) + if household.members.len() == 1 { 0.2 } else { 0.0 }
        },
    },
    Party {
        id: "siao",
        presence: 0.12,
        by_household: true,
        from_age: 0,
        stay_months: 9.0,
        errors: 1.6,
        duplicates: 0.05,
        update: 0.45,
        accents: 0.7,
        hyphens: 0.6,
        case: Case::Mixed,
        usage_as_birth: 0.2,
        all_given: 0.06,
        surname_length: 60,
        given_length: 60,
        programmes: &["DEMANDE_115", "INSERTION", "IML", "LOGEMENT_ADAPTE"],
        draw: |person, household, _| {
            0.05 + 3.0 * need(household) * need(household) * if household.housing == 0 { 0.25 } else { 1.0 }
                + f64::from(u8::from(person.tags.has(Tags::NO_PAPERS)))
        },
    },
    Party {
        id: "departement",
        presence: 0.28,
        by_household: false,
        from_age: 0,
        stay_months: 26.0,
        errors: 0.8,
        duplicates: 0.02,
        update: 0.6,
        accents: 0.0,
        hyphens: 0.85,
        case: Case::Upper,
        usage_as_birth: 0.12,
        all_given: 0.3,
        surname_length: 25,
        given_length: 20,
        programmes: &["RSA", "ASLL_FSL", "APA", "PCH", "ASE"],
        draw: |person, household, age| match age {
            ..=17 => 0.2,
            75.. => 1.6,
            _ => (0.3 + 1.4 * need(household)) * if person.tags.has(Tags::NO_PAPERS) { 0.3 } else { 1.0 },
        },
    },
    Party {
        id: "francetravail",
        presence: 0.27,
        by_household: false,
        from_age: 16,
        stay_months: 14.0,
        errors: 0.55,
        duplicates: 0.008,
        update: 0.7,
        accents: 0.1,
        hyphens: 0.9,
        case: Case::Upper,
        usage_as_birth: 0.08,
        all_given: 0.05,
        surname_length: 30,
        given_length: 15,
        programmes: &["GUIDE", "RENFORCE", "SUIVI", "GLOBAL"],
        draw: |person, household, age| match (age, STATUSES.get(usize::from(person.status))) {
            (68.., _) => 0.0,
            (_, Some(&"DEMANDEUR_EMPLOI")) => {
                if person.tags.has(Tags::NO_PAPERS) {
                    0.2
                } else {
                    1.6
                }
            }
            (_, Some(&"RETRAITE")) => 0.02,
            _ => 0.25 + 0.6 * need(household),
        },
    },
    Party {
        id: "caf",
        presence: 0.55,
        by_household: true,
        from_age: 0,
        stay_months: 50.0,
        errors: 0.4,
        duplicates: 0.006,
        update: 0.8,
        accents: 0.0,
        hyphens: 0.0,
        case: Case::Upper,
        usage_as_birth: 0.05,
        all_given: 0.15,
        surname_length: 40,
        given_length: 30,
        programmes: &["AL", "AF", "ASF", "RSA", "AAH", "PPA"],
        draw: |person, household, age| {
            (if household.members.len() > 2 { 1.3 } else { 0.7 } + 0.6 * need(household))
                * if age > 67 { 0.4 } else { 1.0 }
                * if person.tags.has(Tags::NO_PAPERS) { 0.3 } else { 1.0 }
        },
    },
    Party {
        id: "mission-locale",
        presence: 0.05,
        by_household: false,
        from_age: 16,
        stay_months: 12.0,
        errors: 1.1,
        duplicates: 0.02,
        update: 0.5,
        accents: 0.9,
        hyphens: 0.8,
        case: Case::Title,
        usage_as_birth: 0.15,
        all_given: 0.03,
        surname_length: 60,
        given_length: 60,
        programmes: &["PACEA", "CEJ", "ACCUEIL"],
        draw: |_, household, age| if age <= 25 { 0.4 + 1.2 * need(household) } else { 0.0 },
    },
    Party {
        id: "association",
        presence: 0.09,
        by_household: true,
        from_age: 0,
        stay_months: 7.0,
        errors: 2.0,
        duplicates: 0.06,
        update: 0.3,
        accents: 0.6,
        hyphens: 0.5,
        case: Case::Mixed,
        usage_as_birth: 0.5,
        all_given: 0.02,
        surname_length: 60,
        given_length: 60,
        programmes: &["COLIS", "ACCUEIL_JOUR", "VESTIAIRE", "COURS_DE_FRANCAIS"],
        draw: |person, household, _| {
            0.1 + 2.4 * need(household) * need(household) + if person.birthplace.is_abroad() { 0.8 } else { 0.0 }
        },
    },
    Party {
        id: "hopital",
        presence: 0.06,
        by_household: false,
        from_age: 0,
        stay_months: 4.0,
        errors: 1.0,
        duplicates: 0.04,
        update: 0.4,
        accents: 0.0,
        hyphens: 0.7,
        case: Case::Upper,
        usage_as_birth: 0.1,
        all_given: 0.2,
        surname_length: 30,
        given_length: 20,
        programmes: &["PASS", "URGENCES", "MEDECINE", "MATERNITE"],
        draw: |_, household, age| 0.4 + f64::from(age.max(0)) / 60.0 + 0.5 * need(household),
    },
];

fn need(household: &Household) -> f64 {
    f64::from(household.need)
}

impl Party {
    /// The mean number of corruptions of a record of `person`, when `rate` was asked for.
    pub(crate) fn mean_errors(&self, person: &Person, at: Date, rate: f64) -> f64 {
        let foreign = if person.birthplace.is_abroad() { 1.4 } else { 0.9 };
        let papers = if person.tags.has(Tags::NO_PAPERS) { 1.3 } else { 1.0 };
        let child = if person.age(at) < 18 { 0.8 } else { 1.0 };
        rate * self.errors * foreign * papers * child
    }

    /// The number in the first column of a record: unique in the party for every serial, and without visible order.
    pub(crate) fn scatter(&self, serial: u32, seed: u64, salt: u32) -> u32 {
        // A product with an odd number and an exclusive or are bijections of 32-bit numbers, so is this.
        let key = (seed as u32 ^ (seed >> 32) as u32).wrapping_mul(0x9e37_79b1) ^ salt;
        let party = self.id.bytes().fold(key, |key, byte| key.rotate_left(5) ^ u32::from(byte));
        let mut x = serial.wrapping_mul(0x85eb_ca6b) ^ party;
        x ^= x >> 15;
        x = x.wrapping_mul(0x2c1b_3c6d);
        x ^= x >> 13;
        x.wrapping_add(party.rotate_left(16))
    }

    /// A record's number as the party writes it.
    pub(crate) fn local_id(&self, number: u32) -> String {
        match self.id {
            "ccas" => format!("D{number:010}"),
            "siao" => format!("1{number:010}"),
            "departement" => format!("D34-{number:010}"),
            "francetravail" => format!("{number:010}{}", char::from(b'A' + (number % 23) as u8)),
            "caf" => format!("{number:010}"),
            "mission-locale" => format!("ML{number:010}"),
            "association" => format!("A/{number:010}"),
            _ => format!("8{number:010}"),
        }
    }

    /// A household's number as the party writes it; empty where it keeps none.
    pub(crate) fn household_id(&self, number: u32) -> String {
        match self.id {
            "ccas" => format!("F{number:010}"),
            "siao" => format!("5{number:010}"),
            "departement" => format!("D34-F{number:010}"),
            "caf" => format!("{number:010}"),
            "association" => format!("M{number:010}"),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::PARTIES;

    #[test]
    fn scattered_numbers_never_meet() {
        for (party, seed) in PARTIES.iter().zip([0, 1, u64::MAX, 7, 1 << 40, 3, 4, 5]) {
            let numbers: HashSet<u32> = (0..300_000).map(|serial| party.scatter(serial, seed, 1)).collect();
            assert_eq!(numbers.len(), 300_000);
        }
    }
}
