//! How frequent a name is in France: the embedded INSEE tables.
//!
//! Frequencies are public, the same at every node, and say how much a shared name tells: its *surprisal*, -log2 of the
//! share of people who bear it. They decide which block keys are fine enough (see [`crate::passes`]) and a name's
//! rarity class. Surnames: births 1891-2000, edition 2008; given names: births since 1930, edition 2022. Built by
//! `tests/tools/name_tables.py`, which describes the format; decoded once, on first use.
//!
//! INSEE's tables cover births in France, and services meet many people born elsewhere. The people served are therefore
//! taken as a mixture of origins (`data/origins.txt`), and names as independent within one origin only: a pair of names
//! tells -log2 of the sum over origins of share x first name's frequency x second name's. Without that, common West
//! African pairs of names were taken to be a hundred times rarer than they are and met without need.

use std::collections::HashMap;
use std::io::Read;
use std::sync::OnceLock;

use flate2::read::GzDecoder;
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use crate::phonetic::sound;
use crate::text::{NameKind, name_words};

static SURNAMES: &[u8] = include_bytes!("../data/surnames.bin.gz");
static GIVEN_NAMES: &[u8] = include_bytes!("../data/given_names.bin.gz");
static ORIGINS: &str = include_str!("../data/origins.txt");

/// The most origins that the tables hold; the first is France.
pub(crate) const MOST_ORIGINS: usize = 9;
/// Share of an origin's people who bear a listed name, and one that is marked as very common.
const LISTED: f32 = 0.004;
const VERY_COMMON: f32 = 0.015;

/// How frequent something is among the people of each origin.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Frequencies([f32; MOST_ORIGINS]);

impl Frequencies {
    /// At least `2^-bits` everywhere: what is taken for a name that was never seen.
    #[must_use]
    pub fn at_least(self, bits: f32) -> Self {
        let least = (-bits).exp2();
        Self(self.0.map(|f| f.max(least)))
    }
    /// Both together, independent within each origin.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut both = self.0;
        both.iter_mut().zip(other.0).for_each(|(a, b)| *a *= b);
        Self(both)
    }
    /// By origin, in the order of [`NameTables::origins`].
    pub(crate) fn by_origin(&self) -> &[f32; MOST_ORIGINS] {
        &self.0
    }
    fn add(&mut self, origin: usize, share: f32) {
        if let Some(f) = self.0.get_mut(origin) {
            *f += share;
        }
    }
}

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

/// A table of public words. Its keys are fixed with the software, so that no input makes it slow.
type Table<V> = HashMap<Box<str>, V, FixedState>;

/// A word of the tables.
#[derive(Debug, Clone, Copy, Default)]
struct Word {
    /// Share of people who bear it as a surname, and as a given name.
    surname: f32,
    given: f32,
    /// Either, by origin.
    by_origin: Frequencies,
}

/// The decoded tables.
pub struct NameTables {
    /// In the order of the public tables, so that sums over them are the same everywhere to the last bit.
    words: Vec<(Box<str>, Word)>,
    places: Table<u32>,
    views: [OnceLock<Table<Frequencies>>; View::COUNT],
    /// Share of each origin among the people served.
    origins: [f32; MOST_ORIGINS],
    /// Given names written in one word that are mostly written in two (JEANPIERRE).
    compounds: Table<(Box<str>, Box<str>)>,
}

/// The tables, decoded on first use.
pub fn names() -> &'static NameTables {
    static TABLES: OnceLock<NameTables> = OnceLock::new();
    TABLES.get_or_init(|| NameTables::decode(SURNAMES, GIVEN_NAMES, ORIGINS))
}

/// Every name of the tables whole, as it is written there, with the share of the people served who bear it; most frequent
/// first, one name possibly in several places. What anybody can list from public sources.
pub fn listed(kind: NameKind) -> Vec<(String, f32)> {
    let mut tables = NameTables::empty(0);
    let lists = tables.read_origins(ORIGINS);
    let share_of = |origin: usize| tables.origins.get(origin).copied().unwrap_or(0.0);
    let entries = unpack(if kind == NameKind::Surname { SURNAMES } else { GIVEN_NAMES });
    let total: f32 = entries.iter().map(|(_, count)| count).sum();
    let mut listed: Vec<(String, f32)> = entries.into_iter().map(|(name, count)| (name, count / total * share_of(0))).collect();
    listed
        .extend(lists.into_iter().filter(|list| list.1 == kind).map(|(origin, _, name, share)| (name, share * share_of(origin))));
    listed.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    listed
}

impl NameTables {
    fn empty(words: usize) -> Self {
        Self {
            words: Vec::with_capacity(words),
            places: Table::with_capacity_and_hasher(words, FixedState::default()),
            views: [const { OnceLock::new() }; View::COUNT],
            origins: [0.0; MOST_ORIGINS],
            compounds: Table::default(),
        }
    }

    /// Decodes the tables. A damaged one yields the names before the damage; the embedded ones are checked by a test.
    fn decode(surnames: &[u8], given: &[u8], origins: &str) -> Self {
        let mut tables = Self::empty(230_000);
        let lists = tables.read_origins(origins);
        let mut compounds = Vec::new();
        for (kind, packed) in [(NameKind::Surname, surnames), (NameKind::Given, given)] {
            let entries = unpack(packed);
            let total: f32 = entries.iter().map(|(_, count)| count).sum();
            for (name, count) in &entries {
                let parts = name_words(name, kind);
                if let (NameKind::Given, [first, second]) = (kind, parts.as_slice()) {
                    compounds.push((format!("{first}{second}"), first.as_str().into(), second.as_str().into(), count / total));
                }
                parts.into_iter().for_each(|word| tables.add(kind, word, 0, count / total));
            }
        }
        for (origin, kind, word, share) in lists {
            tables.add(kind, word, origin, share);
        }
        let more_frequent =
            |joined: &str, share: f32| tables.word(joined).is_none_or(|own| own.given < share && own.surname < share);
        tables.compounds = compounds
            .into_iter()
            .filter(|(joined, _, _, share)| more_frequent(joined, *share))
            .map(|(joined, first, second, _)| (joined.into(), (first, second)))
            .collect();
        tables
    }

    fn add(&mut self, kind: NameKind, word: String, origin: usize, share: f32) {
        let of_people = share * self.origins.get(origin).copied().unwrap_or(0.0);
        let word: Box<str> = word.into();
        let place = *self.places.entry(word.clone()).or_insert(self.words.len() as u32) as usize;
        if place == self.words.len() {
            self.words.push((word, Word::default()));
        }
        let Some((_, word)) = self.words.get_mut(place) else { return };
        match kind {
            NameKind::Surname => word.surname += of_people,
            NameKind::Given => word.given += of_people,
        }
        word.by_origin.add(origin, share);
    }

    /// Takes the shares of the origins and returns their names: origin, kind, word, share.
    fn read_origins(&mut self, text: &str) -> Vec<(usize, NameKind, String, f32)> {
        let mut lists = Vec::new();
        let mut count = 0;
        for line in text.lines() {
            let mut items = line.split_whitespace();
            let kind = match items.next() {
                Some("origin") => {
                    if let (Some(share), Some(permille)) = (self.origins.get_mut(count), items.nth(1)) {
                        *share = permille.parse().unwrap_or(0.0) / 1000.0;
                    }
                    count += 1;
                    continue;
                }
                Some("surnames") => NameKind::Surname,
                Some("given") => NameKind::Given,
                _ => continue,
            };
            for item in items {
                let (name, share) = item.strip_prefix('*').map_or((item, LISTED), |name| (name, VERY_COMMON));
                lists.extend(name_words(name, kind).into_iter().map(|word| (count - 1, kind, word, share)));
            }
        }
        lists
    }

    fn word(&self, word: &str) -> Option<&Word> {
        self.words.get(*self.places.get(word)? as usize).map(|(_, found)| found)
    }

    /// How frequent a view of a name word is, whether surname or given name, by origin; zero where never seen.
    pub fn frequencies(&self, view: View, part: &str) -> Frequencies {
        self.view(view).get(part).copied().unwrap_or_default()
    }

    /// Share of each origin among the people served.
    pub(crate) fn origins(&self) -> &[f32; MOST_ORIGINS] {
        &self.origins
    }

    /// Surprisal in bits: -log2 of the share of the people served; infinite for what was never seen.
    pub fn surprisal(&self, frequencies: Frequencies) -> f32 {
        surprisal_of(self.origins.iter().zip(frequencies.0).map(|(origin, f)| origin * f).sum())
    }

    /// Rarity class of a surname or given name: 1 very common (more than 1 in 500 people) to 5 rare (less than 1 in
    /// 50,000, or never seen). A misspelt name looks rare: two names that agree have the class of the commoner.
    pub fn rarity(&self, kind: NameKind, word: &str) -> u8 {
        let found = self.word(word).copied().unwrap_or_default();
        let share = if kind == NameKind::Surname { found.surname } else { found.given };
        match share {
            s if s > 2e-3 => 1,
            s if s > 5e-4 => 2,
            s if s > 1e-4 => 3,
            s if s > 2e-5 => 4,
            _ => 5,
        }
    }

    /// Every word that is borne as a surname or as a given name, with the share of people.
    #[cfg(test)]
    pub(crate) fn shares(&self, kind: NameKind) -> impl Iterator<Item = (&str, f32)> {
        self.words
            .iter()
            .map(move |(word, share)| (word.as_ref(), if kind == NameKind::Surname { share.surname } else { share.given }))
    }

    /// The two names of a compound given name that was written in one word.
    pub fn compound(&self, word: &str) -> Option<(&str, &str)> {
        self.compounds.get(word).map(|(first, second)| (first.as_ref(), second.as_ref()))
    }

    fn view(&self, view: View) -> &Table<Frequencies> {
        self.views[view as usize].get_or_init(|| {
            let mut parts: Table<Frequencies> = Table::default();
            for (word, found) in &self.words {
                let part = parts.entry(view.of(word).into()).or_default();
                part.0.iter_mut().zip(found.by_origin.0).for_each(|(sum, f)| *sum += f);
            }
            parts
        })
    }
}

/// Surprisal in bits of a share of the people served.
pub(crate) fn surprisal_of(share: f32) -> f32 {
    -share.min(1.0).log2()
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
    fn listed_names_are_whole_and_the_frequent_come_first() {
        let surnames = listed(NameKind::Surname);
        assert!(surnames.len() > 180_000 && surnames.is_sorted_by(|a, b| a.1 >= b.1));
        assert!(surnames.iter().take(100).any(|(name, _)| name == "MARTIN"));
        assert!(surnames.iter().any(|(name, _)| name == "DA SILVA"));
        assert!(listed(NameKind::Given).iter().take(50).any(|(name, _)| name == "MARIE"));
    }

    #[test]
    fn common_names_tell_less_than_rare_ones() {
        let tables = names();
        let bits = |view: View, word: &str| tables.surprisal(tables.frequencies(view, &view.of(word)));
        assert!(bits(View::Word, "MARTIN") < bits(View::Word, "QUEMET"));
        assert!(bits(View::Word, "QQQ").is_infinite());
        assert!((7.0..10.0).contains(&bits(View::Word, "MARTIN")));
        assert_eq!(tables.rarity(NameKind::Surname, "MARTIN"), 1);
        assert_eq!(tables.rarity(NameKind::Given, "MARIE"), 1);
        assert_eq!(tables.rarity(NameKind::Surname, "QQQ"), 5);
        for view in [View::Sound, View::Letters, View::Prefix3, View::Initial, View::Ending2] {
            assert!(bits(view, "MARTIN") <= bits(View::Word, "MARTIN") + 1e-3, "{view:?}");
        }
    }

    #[test]
    fn names_of_one_origin_come_together() {
        let tables = names();
        assert_eq!(tables.origins.iter().filter(|share| **share > 0.0).count(), MOST_ORIGINS);
        assert!((0.9..1.1).contains(&tables.origins.iter().sum::<f32>()));
        let of = |word: &str| tables.frequencies(View::Word, word);
        let together = tables.surprisal(of("DIALLO").and(of("MAMADOU")));
        let apart = tables.surprisal(of("DIALLO")) + tables.surprisal(of("MAMADOU"));
        assert!(together + 2.0 < apart, "{together} {apart}");
        assert_eq!(Frequencies::default().at_least(13.0), Frequencies([(-13.0f32).exp2(); MOST_ORIGINS]));
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
