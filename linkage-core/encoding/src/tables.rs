//! How frequent a name is in France: the embedded INSEE tables.
//!
//! Frequencies are public, the same at every node, and say how much a shared name tells: its *surprisal*, -log2 of the
//! share of people who bear it. They decide which block keys are fine enough (see [`crate::passes`]) and a name's
//! rarity class. Surnames: births 1891-2000, edition 2008; given names: births since 1930, edition 2022. The tables
//! cover births in France: names from elsewhere are underestimated, so surprisals are capped by the pass set.
//! Built by `tests/tools/name_tables.py`, which describes the format; decoded once, on first use.

use std::collections::HashMap;
use std::io::Read;
use std::sync::OnceLock;

use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};

use crate::phonetic::sound;
use crate::text::{NameKind, name_words};

static SURNAMES: &[u8] = include_bytes!("../data/surnames.bin.gz");
static GIVEN_NAMES: &[u8] = include_bytes!("../data/given_names.bin.gz");

/// What a block key may take of a name word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// The whole word.
    Word,
    /// Its phonetic code.
    Sound,
    /// First letter and the sorted set of the others, five letters in all: steady when letters change places.
    Letters,
    /// First three letters.
    Prefix3,
    /// First two letters.
    Prefix2,
    /// First letter.
    Initial,
    /// Last three letters: steady when the head is damaged.
    Ending3,
    /// Last two letters.
    Ending2,
}

impl View {
    /// How many views there are.
    pub const COUNT: usize = 8;

    /// This view of an upper-case A-Z word.
    pub fn of(self, word: &str) -> String {
        match self {
            Self::Word => word.to_owned(),
            Self::Sound => sound(word),
            Self::Letters => letter_set(word),
            Self::Prefix3 => head(word, 3).to_owned(),
            Self::Prefix2 => head(word, 2).to_owned(),
            Self::Initial => head(word, 1).to_owned(),
            Self::Ending3 => tail(word, 3).to_owned(),
            Self::Ending2 => tail(word, 2).to_owned(),
        }
    }

    /// Whether two words that share this view always share `other` as well.
    pub fn refines(self, other: Self) -> bool {
        use View::*;
        self == other
            || matches!(
                (self, other),
                (Word, _) | (Prefix3, Prefix2 | Initial) | (Prefix2, Initial) | (Letters, Initial) | (Ending3, Ending2)
            )
    }
}

fn head(word: &str, len: usize) -> &str {
    word.get(..len.min(word.len())).unwrap_or(word)
}
fn tail(word: &str, len: usize) -> &str {
    word.get(word.len().saturating_sub(len)..).unwrap_or(word)
}

fn letter_set(word: &str) -> String {
    let (first, rest) = word.as_bytes().split_first().map_or((0, &[][..]), |(f, r)| (*f, r));
    let mut letters = rest.to_vec();
    letters.sort_unstable();
    letters.dedup();
    std::iter::once(first).filter(|b| *b != 0).chain(letters.into_iter().take(4)).map(char::from).collect()
}

/// The share of people who bear a word, as surname and as given name.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    surname: f32,
    given: f32,
}

/// The decoded tables.
pub struct NameTables {
    words: HashMap<Box<str>, Share>,
    views: [OnceLock<HashMap<Box<str>, f32>>; View::COUNT],
    /// Given names written in one word that are mostly written in two (JEANPIERRE).
    compounds: HashMap<Box<str>, (Box<str>, Box<str>)>,
}

/// The tables, decoded on first use.
pub fn names() -> &'static NameTables {
    static TABLES: OnceLock<NameTables> = OnceLock::new();
    TABLES.get_or_init(|| NameTables::decode(SURNAMES, GIVEN_NAMES))
}

impl NameTables {
    /// Decodes two tables. A damaged one yields the names before the damage; the embedded ones are checked by a test.
    fn decode(surnames: &[u8], given: &[u8]) -> Self {
        let mut words: HashMap<Box<str>, Share> = HashMap::with_capacity(230_000);
        let mut compounds = Vec::new();
        let entries = unpack(surnames);
        let total: f32 = entries.iter().map(|(_, count)| count).sum();
        for (name, count) in &entries {
            for word in name_words(name, NameKind::Surname) {
                words.entry(word.into()).or_default().surname += count / total;
            }
        }
        let entries = unpack(given);
        let total: f32 = entries.iter().map(|(_, count)| count).sum();
        for (name, count) in &entries {
            let parts = name_words(name, NameKind::Given);
            if let [first, second] = parts.as_slice() {
                compounds.push((format!("{first}{second}"), first.as_str().into(), second.as_str().into(), count / total));
            }
            for word in parts {
                words.entry(word.into()).or_default().given += count / total;
            }
        }
        let compounds = compounds
            .into_iter()
            .filter(|(joined, _, _, share)| words.get(joined.as_str()).is_none_or(|own| own.given < *share && own.surname < *share))
            .map(|(joined, first, second, _)| (joined.into(), (first, second)))
            .collect();
        Self { words, views: [const { OnceLock::new() }; View::COUNT], compounds }
    }

    /// Surprisal in bits of a view of a name word, whether surname or given name; infinite when never seen.
    pub fn bits(&self, view: View, part: &str) -> f32 {
        let share = match view {
            View::Word => self.words.get(part).map_or(0.0, |s| s.surname + s.given),
            _ => self.view(view).get(part).copied().unwrap_or(0.0),
        };
        -share.min(1.0).log2()
    }

    /// Rarity class of a surname or given name: 1 very common (more than 1 in 500 people) to 5 rare (less than 1 in
    /// 50,000, or never seen). A misspelt name looks rare: two names that agree have the class of the commoner.
    pub fn rarity(&self, kind: NameKind, word: &str) -> u8 {
        let share = self.words.get(word).copied().unwrap_or_default();
        let share = if kind == NameKind::Surname { share.surname } else { share.given };
        match share {
            s if s > 2e-3 => 1,
            s if s > 5e-4 => 2,
            s if s > 1e-4 => 3,
            s if s > 2e-5 => 4,
            _ => 5,
        }
    }

    /// Shares of a word as (surname, given name).
    pub fn shares(&self, word: &str) -> (f32, f32) {
        self.words.get(word).map_or((0.0, 0.0), |s| (s.surname, s.given))
    }

    /// The two names of a compound given name that was written in one word.
    pub fn compound(&self, word: &str) -> Option<(&str, &str)> {
        self.compounds.get(word).map(|(first, second)| (first.as_ref(), second.as_ref()))
    }

    fn view(&self, view: View) -> &HashMap<Box<str>, f32> {
        self.views[view as usize].get_or_init(|| {
            let mut shares: HashMap<Box<str>, f32> = HashMap::new();
            for (word, share) in &self.words {
                *shares.entry(view.of(word).into()).or_default() += share.surname + share.given;
            }
            shares
        })
    }
}

/// The entries of a table: name and count.
fn unpack(packed: &[u8]) -> Vec<(String, f32)> {
    let mut bytes = Vec::new();
    // An error leaves what was read before it.
    let _ = GzDecoder::new(packed).read_to_end(&mut bytes);
    let mut entries = Vec::with_capacity(bytes.len() / 8);
    let mut name = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some(([shared, length], tail)) = rest.split_first_chunk() {
        let Some((suffix, tail)) = tail.split_at_checked(usize::from(*length)) else { break };
        let Some((class, tail)) = tail.split_first() else { break };
        name.truncate(usize::from(*shared));
        name.extend_from_slice(suffix);
        let Ok(text) = String::from_utf8(name.clone()) else { break };
        entries.push((text, (f32::from(*class) / 8.0).exp2()));
        rest = tail;
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_tables_are_whole() {
        let surnames = unpack(SURNAMES);
        assert!(surnames.len() > 180_000, "{}", surnames.len());
        assert!(surnames.is_sorted_by(|a, b| a.0 < b.0));
        assert!(surnames.iter().all(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b == b' ')));
        assert!(unpack(GIVEN_NAMES).len() > 8_000);
    }

    #[test]
    fn common_names_tell_less_than_rare_ones() {
        let tables = names();
        assert!(tables.bits(View::Word, "MARTIN") < tables.bits(View::Word, "QUEMET"));
        assert!(tables.bits(View::Word, "QQQ").is_infinite());
        assert!((7.0..10.0).contains(&tables.bits(View::Word, "MARTIN")));
        assert_eq!(tables.rarity(NameKind::Surname, "MARTIN"), 1);
        assert_eq!(tables.rarity(NameKind::Given, "MARIE"), 1);
        assert_eq!(tables.rarity(NameKind::Surname, "QQQ"), 5);
        for view in [View::Sound, View::Letters, View::Prefix3, View::Initial, View::Ending2] {
            assert!(tables.bits(view, &view.of("MARTIN")) <= tables.bits(View::Word, "MARTIN"), "{view:?}");
        }
    }

    #[test]
    fn compound_given_names_come_apart() {
        assert_eq!(names().compound("JEANPIERRE"), Some(("JEAN", "PIERRE")));
        assert_eq!(names().compound("MARIE"), None);
    }

    #[test]
    fn a_damaged_table_is_no_panic() {
        assert!(unpack(&SURNAMES[..1000]).len() < 180_000);
        assert!(unpack(b"not gzip").is_empty());
    }

    #[test]
    fn views_of_short_words() {
        assert_eq!(View::Letters.of("MARTIN"), "MAINR");
        assert_eq!(View::Letters.of("MATRIN"), "MAINR");
        assert_eq!(View::Prefix3.of("LI"), "LI");
        assert_eq!(View::Ending2.of("A"), "A");
        assert_eq!(View::Letters.of(""), "");
    }
}
