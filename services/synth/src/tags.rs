//! Why a person is hard to tell from others: the words in the column `tags` of `truth_persons.csv`.

use std::collections::HashMap;

use jiff::civil::Date;

use super::errors::particle;
use super::names::Names;
use super::population::Population;
use super::text;

macro_rules! tags {
    ($($name:ident $bit:literal $word:literal)*) => {
        /// Words of `truth_persons.csv`, column `tags`.
        #[derive(Clone, Copy, Default, PartialEq, Eq)]
        pub(crate) struct Tags(u32);
        impl Tags {
            $(pub(crate) const $name: Self = Self(1 << $bit);)*
            const WORDS: &'static [(Self, &'static str)] = &[$((Self::$name, $word)),*];
        }
    };
}
tags! {
    HOMONYM 0 "homonyme" HOMONYM_YEAR 1 "homonyme_meme_annee" HOMONYM_MONTH 2 "homonyme_meme_mois" HOMONYM_DATE 3 "homonyme_meme_ddn"
    TWIN 4 "jumeau" LIKE_PARENT 5 "parent_enfant_meme_nom" SIBLING 6 "fratrie" DEFAULT_DATE 7 "date_defaut" SPELLINGS 8 "translitteration"
    USAGE_NAME 9 "nom_usage" BORN_ABROAD 10 "ne_etranger" NO_PAPERS 11 "sans_papiers" PARTICLE 12 "particule" COMPOUND 13 "prenom_compose"
}

impl Tags {
    pub(crate) fn set(&mut self, tag: Self) {
        self.0 |= tag.0;
    }
    pub(crate) fn clear(&mut self, tag: Self) {
        self.0 &= !tag.0;
    }
    pub(crate) fn has(self, tag: Self) -> bool {
        self.0 & tag.0 != 0
    }
    /// The words, joined by `|`.
    pub(crate) fn words(self) -> String {
        let words: Vec<&str> = Self::WORDS.iter().filter(|(tag, _)| self.has(*tag)).map(|(_, word)| *word).collect();
        words.join("|")
    }
}

impl Population {
    /// Sets every tag that follows from the final state: namesakes are all those who have the same birth name and first
    /// given name, planned or not.
    pub(crate) fn finish_tags(&mut self, names: &Names) {
        let mut groups: HashMap<(String, String), Vec<u32>> = HashMap::new();
        for (at, person) in self.persons.iter_mut().enumerate() {
            for (tag, holds) in [
                (Tags::USAGE_NAME, !person.usage_name.is_empty()),
                (Tags::BORN_ABROAD, person.birthplace.is_abroad()),
                (
                    Tags::SPELLINGS,
                    person.origin != 0
                        && (names.has_spellings(&person.birth_name)
                            || names.has_spellings(person.given.split('|').next().unwrap_or(""))),
                ),
                (Tags::PARTICLE, particle(&person.birth_name).is_some()),
                (Tags::COMPOUND, person.given.split('|').next().unwrap_or("").contains(['-', ' '])),
            ] {
                if holds {
                    person.tags.set(tag);
                } else {
                    person.tags.clear(tag);
                }
            }
            groups.entry((text::plain(&person.birth_name), text::plain(person.first_given()))).or_default().push(at as u32);
        }
        for group in groups.values_mut() {
            for tag in [Tags::HOMONYM, Tags::HOMONYM_YEAR, Tags::HOMONYM_MONTH, Tags::HOMONYM_DATE] {
                for at in group.iter() {
                    self.persons[*at as usize].tags.clear(tag);
                }
            }
            if group.len() < 2 {
                continue;
            }
            let mut dated: Vec<(Date, u32)> = group.iter().map(|at| (self.persons[*at as usize].born, *at)).collect();
            dated.sort_unstable();
            for (_, at) in &dated {
                self.persons[*at as usize].tags.set(Tags::HOMONYM);
            }
            for (one, other) in dated.iter().zip(dated.iter().skip(1)) {
                let same_year = one.0.year() == other.0.year();
                let same_month = same_year && one.0.month() == other.0.month();
                for at in [one.1, other.1] {
                    let tags = &mut self.persons[at as usize].tags;
                    for (tag, holds) in [
                        (Tags::HOMONYM_YEAR, same_year),
                        (Tags::HOMONYM_MONTH, same_month),
                        (Tags::HOMONYM_DATE, one.0 == other.0),
                    ] {
                        if holds {
                            tags.set(tag);
                        }
                    }
                }
            }
        }
    }
}
