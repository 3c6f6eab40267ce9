//! What a desk types when it is told who somebody is: habits of the party, then slips.
//!
//! The kinds of slip are those that record linkage literature reports (Christen 2012, *Data Matching*, ch. 2; Hernández
//! and Stolfo 1998) and those of French files: usage name in the birth name's place, lost particles, default dates.

use jiff::civil::Date;

use super::dice::Dice;
use super::names::Names;
use super::parties::{Case, Party};
use super::places::{Birthplace, Places};
use super::population::{Person, day_of};
use super::text;

macro_rules! slips {
    ($($name:ident $weight:literal $word:literal)*) => {
        /// One kind of slip.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Slip { $($name),* }
        const SLIPS: &[(Slip, u32)] = &[$((Slip::$name, $weight)),*];
        impl Slip {
            const WORDS: &'static [&'static str] = &[$($word),*];
        }
    };
}
slips! {
    Keyboard 14 "clavier" Insertion 6 "insertion" Deletion 9 "suppression" Transposition 8 "transposition" Doubling 8 "double" Misread 4 "ocr"
    Phonetic 14 "phonetique" Swapped 4 "inversion_nom_prenom" DayMonth 5 "jour_mois" Digit 6 "ddn_chiffre" Year 4 "ddn_annee" NoDate 2 "ddn_manquante"
    DefaultDate 2 "ddn_defaut" OtherGiven 4 "prenom_autre" SecondGiven 2 "second_prenom" GivenCut 3 "prenom_tronque" NoGiven 1 "prenom_manquant"
    NameCut 2 "nom_tronque" WrongSex 3 "sexe_faux" NoSex 2 "sexe_manquant" WrongPlace 4 "lieu_faux" NoPlace 8 "lieu_manquant" Title 2 "civilite_dans_nom"
    UsageAsBirth 4 "usage_dans_naissance" Particle 4 "particule" Spaces 3 "espaces" Remark 1 "commentaire" Spelling 10 "translitteration"
}

/// The slips in one record.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SlipSet {
    seen: u32,
    /// How many, repeated ones too.
    pub(crate) count: u8,
}

impl SlipSet {
    fn add(&mut self, slip: Slip) {
        self.seen |= 1 << slip as u32;
        self.count = self.count.saturating_add(1);
    }
    /// The words, joined by `+`.
    pub(crate) fn words(self) -> String {
        let words: Vec<&str> =
            Slip::WORDS.iter().enumerate().filter(|(bit, _)| self.seen >> bit & 1 == 1).map(|(_, word)| *word).collect();
        words.join("+")
    }
}

/// An identity as a register holds it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Typed {
    pub(crate) birth_name: Box<str>,
    pub(crate) usage_name: Box<str>,
    pub(crate) given: Box<str>,
    /// 1 man, 2 woman, 0 not known.
    pub(crate) sex: u8,
    pub(crate) born: Option<Date>,
    pub(crate) birthplace: Option<Birthplace>,
}

/// What typing needs to know.
pub(crate) struct Desk<'a> {
    pub(crate) names: &'a Names,
    pub(crate) places: &'a Places,
    pub(crate) party: &'a Party,
    /// Corruptions per record asked for.
    pub(crate) rate: f64,
    pub(crate) today: Date,
}

impl Desk<'_> {
    /// Types a person, with the party's habits and a number of slips around its mean.
    pub(crate) fn type_person(&self, person: &Person, dice: &mut Dice) -> (Typed, SlipSet) {
        let mut slips = SlipSet::default();
        let mut typed = self.told(person, dice, &mut slips);
        for _ in 0..dice.count(self.party.mean_errors(person, self.today, self.rate).min(12.0)) {
            let weights: Vec<u32> = SLIPS.iter().map(|(_, weight)| *weight).collect();
            // A slip that has nothing to act on (no particle, no second given name) gives way to another one.
            for _ in 0..12 {
                let slip = SLIPS[dice.weighted(&weights)].0;
                if self.slip(slip, person, &mut typed, dice) {
                    slips.add(slip);
                    break;
                }
            }
        }
        self.write_as_party_does(&mut typed, dice);
        (typed, slips)
    }

    /// What the desk heard and its form has room for, before slips.
    fn told(&self, person: &Person, dice: &mut Dice, slips: &mut SlipSet) -> Typed {
        let mut birth_name = person.birth_name.to_string();
        let mut usage_name = person.usage_name.to_string();
        // Habits of the desk, not of the form: they fade out with the error rate.
        if !usage_name.is_empty() && dice.chance(self.party.usage_as_birth * (self.rate * 4.0).min(1.0)) {
            birth_name = std::mem::take(&mut usage_name);
            slips.add(Slip::UsageAsBirth);
        }
        let mut given = if dice.chance(self.party.all_given) {
            person.given.split('|').collect::<Vec<_>>().join([" ", ", ", ","][dice.weighted(&[6, 3, 1])])
        } else {
            person.first_given().to_owned()
        };
        for name in [&mut birth_name, &mut given] {
            let heard_otherwise = person.origin != 0 && dice.chance(0.08 * (self.rate * 4.0).min(1.0));
            if heard_otherwise && let Some(other) = self.names.other_spelling(name, dice) {
                *name = other;
                slips.add(Slip::Spelling);
            }
        }
        Typed {
            birth_name: birth_name.into(),
            usage_name: usage_name.into(),
            given: given.into(),
            sex: 1 + u8::from(person.woman),
            born: Some(person.born),
            birthplace: Some(person.birthplace),
        }
    }

    /// Tries one slip; false when it would change nothing.
    fn slip(&self, slip: Slip, person: &Person, typed: &mut Typed, dice: &mut Dice) -> bool {
        let before = typed.clone();
        match slip {
            Slip::Keyboard
            | Slip::Insertion
            | Slip::Deletion
            | Slip::Transposition
            | Slip::Doubling
            | Slip::Misread
            | Slip::Phonetic => {
                let field = match dice.weighted(&[50, 38, if typed.usage_name.is_empty() { 0 } else { 12 }]) {
                    0 => &mut typed.birth_name,
                    1 => &mut typed.given,
                    _ => &mut typed.usage_name,
                };
                if let Some(wrong) = misspell(slip, field, dice) {
                    *field = wrong.into();
                }
            }
            Slip::Spelling => {
                let field = if dice.chance(0.5) { &mut typed.birth_name } else { &mut typed.given };
                if let Some(other) = self.names.other_spelling(field, dice) {
                    *field = other.into();
                }
            }
            Slip::Swapped => std::mem::swap(&mut typed.birth_name, &mut typed.given),
            Slip::DayMonth => {
                typed.born = typed.born.map(|date| Date::new(date.year(), date.day(), date.month()).unwrap_or(date));
            }
            Slip::Digit => typed.born = typed.born.map(|date| wrong_digit(date, self.today, dice)),
            Slip::Year => {
                let shift = *dice.pick(&[-10, -1, -1, -1, 1, 1, 1, 10]);
                typed.born = typed
                    .born
                    .map(|date| day_of(date.year() + shift, date.month(), date.day()))
                    .map(|date| if date > self.today { person.born } else { date });
            }
            Slip::NoDate => typed.born = None,
            Slip::DefaultDate => {
                typed.born = typed.born.map(|date| if dice.chance(0.3) { day_of(1900, 1, 1) } else { day_of(date.year(), 1, 1) });
            }
            Slip::OtherGiven => {
                let origin = &super::origins::origins()[usize::from(person.origin)];
                typed.given =
                    self.names.given(origin, person.woman, person.born.year(), person.birthplace.is_abroad(), dice).into();
            }
            Slip::SecondGiven => {
                if let Some(second) = person.given.split('|').nth(1) {
                    typed.given = second.into();
                }
            }
            Slip::GivenCut => {
                let short = match typed.given.split_once(['-', ' ']) {
                    Some((first, rest)) if dice.chance(0.5) => format!("{}. {rest}", first.chars().next().unwrap_or('X')),
                    Some((first, _)) => first.to_owned(),
                    None => text::cut(&typed.given, 3),
                };
                typed.given = short.into();
            }
            Slip::NoGiven => typed.given = "".into(),
            Slip::NameCut => {
                let length = typed.birth_name.chars().count();
                if length > 6 {
                    typed.birth_name = text::cut(&typed.birth_name, 5 + dice.below(length - 6)).into();
                }
            }
            Slip::WrongSex => typed.sex = if typed.sex == 0 { 0 } else { 3 - typed.sex },
            Slip::NoSex => typed.sex = 0,
            Slip::WrongPlace => {
                typed.birthplace = match typed.birthplace {
                    Some(place) if place.is_abroad() => {
                        Some(Places::birth_abroad(&super::origins::origins()[usize::from(person.origin)], dice))
                    }
                    Some(_) => Some(self.places.birth_in_france(dice.chance(0.5), dice)),
                    None => None,
                };
            }
            Slip::NoPlace => typed.birthplace = None,
            Slip::Title => {
                let title = if person.woman { ["MME ", "MLLE ", "MADAME "] } else { ["M. ", "MR ", "MONSIEUR "] };
                if !["M. ", "MR ", "MO", "MME ", "MLLE ", "MADAME "].iter().any(|title| typed.birth_name.starts_with(title)) {
                    typed.birth_name = format!("{}{}", dice.pick(&title), typed.birth_name).into();
                }
            }
            Slip::UsageAsBirth => {
                if !typed.usage_name.is_empty() {
                    typed.birth_name = std::mem::take(&mut typed.usage_name);
                }
            }
            Slip::Particle => {
                if let Some((particle, rest)) = particle(&typed.birth_name) {
                    typed.birth_name =
                        if dice.chance(0.6) { rest.to_owned() } else { format!("{}{rest}", particle.trim_end()) }.into();
                }
            }
            Slip::Spaces => {
                let field = if dice.chance(0.5) { &mut typed.birth_name } else { &mut typed.given };
                *field = if dice.chance(0.5) { format!("{field} ") } else { field.replacen(' ', "  ", 1) }.into();
            }
            Slip::Remark => {
                let remark = *dice.pick(&["(suivi)", "(?)", "(à vérifier)", "(ancien dossier)", "(doublon ?)"]);
                if !typed.birth_name.contains('(') {
                    typed.birth_name = format!("{} {remark}", typed.birth_name).into();
                }
            }
        }
        *typed != before
    }

    /// Case, accents, hyphens and lengths of the party's form.
    fn write_as_party_does(&self, typed: &mut Typed, dice: &mut Dice) {
        let accents = dice.chance(self.party.accents);
        let hyphens = dice.chance(self.party.hyphens);
        let (upper_surname, upper_given) = match self.party.case {
            Case::Upper => (true, true),
            Case::Mixed => (dice.chance(0.7), dice.chance(0.15)),
            Case::Title => (false, false),
        };
        let written = |name: &str, upper: bool, length: usize| -> Box<str> {
            let mut name = if upper { name.to_uppercase() } else { text::title(name) };
            if !accents {
                name = text::fold(&name);
            }
            if !hyphens {
                name = name.replace('-', " ");
            }
            // A double space is a slip that the form lets through; only the length is the form's.
            if name.chars().count() > length { text::cut(&name, length).into() } else { name.into() }
        };
        typed.birth_name = written(&typed.birth_name, upper_surname, self.party.surname_length);
        typed.usage_name = written(&typed.usage_name, upper_surname, self.party.surname_length);
        typed.given = written(&typed.given, upper_given, self.party.given_length);
    }
}

/// A leading particle with its space or apostrophe, and the rest.
pub(crate) fn particle(name: &str) -> Option<(&str, &str)> {
    const PARTICLES: [&str; 20] = [
        "DE LA ", "DE ", "DU ", "DES ", "LE ", "LA ", "D'", "L'", "DA ", "DOS ", "BEN ", "EL ", "AL ", "AIT ", "OULD ", "N'",
        "M'", "VAN ", "VON ", "ABD ",
    ];
    PARTICLES
        .iter()
        .find(|particle| name.len() > particle.len() + 1 && name.starts_with(**particle))
        .map(|particle| name.split_at(particle.len()))
}

/// Rows of an AZERTY keyboard.
const KEYBOARD: [&str; 3] = ["azertyuiop", "qsdfghjklm", "wxcvbn"];
/// What is heard alike.
const SOUNDS: [(&str, &str); 30] = [
    ("ph", "f"),
    ("f", "ph"),
    ("qu", "k"),
    ("k", "c"),
    ("c", "k"),
    ("ou", "u"),
    ("u", "ou"),
    ("y", "i"),
    ("i", "y"),
    ("s", "z"),
    ("z", "s"),
    ("eau", "o"),
    ("au", "o"),
    ("o", "au"),
    ("ain", "in"),
    ("en", "an"),
    ("an", "en"),
    ("th", "t"),
    ("t", "th"),
    ("ll", "l"),
    ("ss", "s"),
    ("nn", "n"),
    ("ch", "sh"),
    ("ai", "e"),
    ("g", "j"),
    ("j", "g"),
    ("h", ""),
    ("x", "s"),
    ("ier", "ié"),
    ("w", "ou"),
];
/// What a scanner takes for another.
const SHAPES: [(&str, &str); 8] =
    [("rn", "m"), ("m", "rn"), ("o", "0"), ("i", "l"), ("l", "i"), ("n", "u"), ("u", "v"), ("e", "c")];

/// The word with one slip in it; nothing when the slip has no place in it. Keeps the case around the slip.
fn misspell(slip: Slip, word: &str, dice: &mut Dice) -> Option<String> {
    let letters: Vec<char> = word.chars().collect();
    let at = dice.below(letters.len());
    let here = *letters.get(at).filter(|letter| letter.is_alphabetic())?;
    let like = |letter: char| if here.is_uppercase() { letter.to_ascii_uppercase() } else { letter };
    let mut out = letters.clone();
    match slip {
        Slip::Keyboard => {
            let low = here.to_ascii_lowercase();
            let row = KEYBOARD.iter().find(|row| row.contains(low))?;
            let keys: Vec<char> = row.chars().collect();
            let key = keys.iter().position(|key| *key == low)?;
            let near: Vec<char> =
                [key.checked_sub(1), Some(key + 1)].into_iter().flatten().filter_map(|key| keys.get(key).copied()).collect();
            out[at] = like(*dice.pick(&near));
        }
        Slip::Insertion => out.insert(at + 1, like(*dice.pick(&['a', 'e', 'i', 'r', 's', 'n', 't', 'l', 'o', 'u']))),
        Slip::Deletion if letters.len() > 3 => drop(out.remove(at)),
        Slip::Transposition if letters.get(at + 1).is_some_and(|next| next.is_alphabetic() && *next != here) => {
            out.swap(at, at + 1);
        }
        Slip::Doubling => {
            if letters.get(at + 1) == Some(&here) {
                out.remove(at);
            } else {
                out.insert(at, here);
            }
        }
        Slip::Phonetic => return replace_one(word, &SOUNDS, dice),
        Slip::Misread => return replace_one(word, &SHAPES, dice),
        _ => return None,
    }
    Some(out.into_iter().collect())
}

/// Replaces one occurrence of one pair, chosen among those that occur.
fn replace_one(word: &str, pairs: &[(&str, &str)], dice: &mut Dice) -> Option<String> {
    let low = word.to_ascii_lowercase();
    let upper = word.chars().nth(1).is_some_and(char::is_uppercase);
    let found: Vec<(usize, &str, &str)> =
        pairs.iter().flat_map(|(from, to)| low.match_indices(from).map(move |(at, _)| (at, *from, *to))).collect();
    if found.is_empty() {
        return None;
    }
    let (at, from, to) = *dice.pick(&found);
    let to = if upper { to.to_uppercase() } else { to.to_owned() };
    // ASCII lower case keeps every byte's place, and the pairs are ASCII: the cut is at character boundaries.
    Some(format!("{}{to}{}", word.get(..at)?, word.get(at + from.len()..)?))
}

/// One digit of day, month or year typed wrong, the date still possible and, as forms check that, not after `latest`.
fn wrong_digit(date: Date, latest: Date, dice: &mut Dice) -> Date {
    let (year, month, day) = (date.year(), date.month(), date.day());
    for _ in 0..40 {
        let digit = dice.below(10) as i16;
        let wrong = match dice.below(4) {
            0 => Date::new(year - year % 10 + digit, month, day),
            1 => Date::new(year, month, day - day % 10 + digit as i8),
            2 => Date::new(year, month - month % 10 + digit as i8, day),
            _ => Date::new(year, month, day % 10 + 10 * (digit as i8 % 4)),
        };
        match wrong {
            Ok(wrong) if wrong != date && wrong <= latest => return wrong,
            _ => {}
        }
    }
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_changes_one_place_and_keeps_the_case() {
        let mut dice = Dice::new(1, "test");
        for slip in [Slip::Keyboard, Slip::Insertion, Slip::Deletion, Slip::Transposition, Slip::Doubling] {
            for _ in 0..200 {
                let Some(wrong) = misspell(slip, "LEFEBVRE", &mut dice) else { continue };
                assert!(wrong.chars().all(|c| c.is_ascii_uppercase()) && wrong != "LEFEBVRE");
                assert!(
                    wrong.len().abs_diff(8) == usize::from(matches!(slip, Slip::Insertion | Slip::Deletion | Slip::Doubling))
                );
            }
        }
        assert_eq!(misspell(Slip::Deletion, "LI", &mut dice), None);
        assert_eq!(misspell(Slip::Keyboard, "", &mut dice), None);
        assert_eq!(misspell(Slip::Phonetic, "É", &mut dice), None);
    }

    #[test]
    fn particles() {
        assert_eq!(particle("DE LA TOUR"), Some(("DE LA ", "TOUR")));
        assert_eq!(particle("D'ALMEIDA"), Some(("D'", "ALMEIDA")));
        assert_eq!(particle("BENALI"), None);
        assert_eq!(particle("DE "), None);
    }

    #[test]
    fn a_wrong_digit_is_still_a_date_of_the_past() {
        let mut dice = Dice::new(2, "test");
        for date in [day_of(1988, 2, 29), day_of(2023, 12, 31)] {
            for _ in 0..500 {
                let wrong = wrong_digit(date, day_of(2024, 1, 1), &mut dice);
                assert!(wrong != date && wrong <= day_of(2024, 1, 1));
            }
        }
    }
}
