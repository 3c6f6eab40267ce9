//! Pass sets: from an identity to the block keys by which it meets others.
//!
//! A *pass* combines views of one or two name words with parts of the date of birth, and possibly a code or a text. Name
//! words form one pool, surnames and given names together and pairs unordered, so that swapped names, usage names and
//! second given names still meet. A key is emitted only when its *surprisal*, from public tables, reaches
//! log2(expected records) + margin: a rare name meets with little of the date, a common one needs most of it. That bounds
//! the expected non-matching meetings of every key by 2^-margin, whatever the agreement's size (PROTOCOL section 4).
//!
//! A key that is implied by a looser one of the same record is left out: whoever shares it shares the looser one too.
//! What remains is ordered by the pass set's order and how prominent the words are, and cut to the tokens of a record.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use linkage_agreement::{DateQuality, FieldKind};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::date::BirthDate;
use crate::identity::{FieldValue, Identity};
use crate::phonetic::sound;
use crate::tables::{self, Frequencies, View};

/// Bits of a year of birth, a month and a day: births of the living spread over about 64 years, 11.7 months, 29 days.
const YEAR_BITS: f32 = 6.0;
const MONTH_BITS: f32 = 3.55;
const DAY_BITS: f32 = 4.85;
/// Bits that two surnames tell less than independent names: brothers and sisters share both.
const FAMILY_BITS: f32 = 5.0;

/// Words of surnames and of given names that enter the pool.
const MOST_SURNAMES: usize = 4;
const MOST_GIVEN: usize = 3;

/// The pass sets that come with the profile, as TOML.
const EMBEDDED: [&str; 2] = [include_str!("../passes/fr-1.toml"), include_str!("../passes/generic-1.toml")];

/// Which part of the date of birth a pass takes. All but years need a date that stands for itself, not for an unknown
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatePart {
    /// Nothing.
    #[default]
    None,
    /// Year, month, day.
    Full,
    /// Year, and month and day in either order.
    Swapped,
    /// Year and month.
    YearMonth,
    /// Year and day.
    YearDay,
    /// Month and day.
    MonthDay,
    /// Year.
    Year,
    /// A band of four years.
    FourYears,
    /// A band of four years that starts two years later, so that years two apart share one or the other.
    FourYearsShifted,
}

impl DatePart {
    fn bits(self) -> f32 {
        match self {
            Self::None => 0.0,
            Self::Full => YEAR_BITS + MONTH_BITS + DAY_BITS,
            Self::Swapped => YEAR_BITS + MONTH_BITS + DAY_BITS - 1.0,
            Self::YearMonth => YEAR_BITS + MONTH_BITS,
            Self::YearDay => YEAR_BITS + DAY_BITS,
            Self::MonthDay => MONTH_BITS + DAY_BITS,
            Self::Year => YEAR_BITS,
            Self::FourYears | Self::FourYearsShifted => YEAR_BITS - 2.0,
        }
    }

    /// The part as text; `None` when the date does not have it.
    fn of(self, date: Option<BirthDate>) -> Option<String> {
        if self == Self::None {
            return Some(String::new());
        }
        let date = date.filter(BirthDate::year_known)?;
        let y = date.year;
        Some(match self {
            Self::None => String::new(),
            Self::Year => y.to_string(),
            Self::FourYears => (y / 4).to_string(),
            Self::FourYearsShifted => ((y + 2) / 4).to_string(),
            Self::YearMonth if date.quality == DateQuality::Partial => format!("{y}-{}", date.month?),
            _ => {
                let (m, d) = date.trusted_month_day()?;
                match self {
                    Self::Full => format!("{y}-{m}-{d}"),
                    Self::Swapped => format!("{y}-{}-{}", m.min(d), m.max(d)),
                    Self::YearMonth => format!("{y}-{m}"),
                    Self::YearDay => format!("{y}-{d}"),
                    _ => format!("{m}-{d}"),
                }
            }
        })
    }

    /// Whether a date with this part always has month and day that stand for themselves.
    fn is_trusted(self) -> bool {
        matches!(self, Self::Full | Self::Swapped | Self::YearDay | Self::MonthDay)
    }

    /// Whether two dates that share this part always share `other` as well.
    fn refines(self, other: Self) -> bool {
        use DatePart::*;
        self == other
            || match self {
                Full => true,
                Swapped | YearMonth | YearDay => matches!(other, None | Year | FourYears | FourYearsShifted),
                Year => matches!(other, None | FourYears | FourYearsShifted),
                MonthDay | FourYears | FourYearsShifted => other == None,
                None => false,
            }
    }
}

/// A further part of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extra {
    /// The value of a category field (postcode), each such field by itself.
    Category,
    /// The phonetic code of a text field (suburb), each such field by itself.
    Text,
}

/// Whose dates a pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Every record.
    #[default]
    Any,
    /// Records whose date is missing, partial or a default.
    DoubtfulDate,
}

/// One pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    /// Its name, part of the key: two passes share no block.
    pub id: String,
    /// Views of name words: none, one, or two of different words.
    #[serde(default)]
    pub names: Vec<View>,
    /// Part of the date of birth.
    #[serde(default)]
    pub date: DatePart,
    /// Further part.
    #[serde(default)]
    pub extra: Option<Extra>,
    /// Bits that the further part is taken to tell.
    #[serde(default)]
    pub extra_bits: f32,
    /// Whose dates it is for.
    #[serde(default)]
    pub when: When,
    /// `false` emits every key whatever it tells; such a pass is judged by its collisions alone.
    #[serde(default = "yes")]
    pub gated: bool,
    /// Margin of this pass, in bits, where it differs from the set's.
    #[serde(default)]
    pub margin_bits: Option<f32>,
}

fn yes() -> bool {
    true
}

/// A pass set: what the agreement's `pass_set` names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassSet {
    /// Its name.
    pub id: String,
    /// Bits that a key must tell beyond log2 of the expected records.
    pub margin_bits: f32,
    /// The most that one name word is taken to tell, in bits: what an unseen one tells.
    pub name_cap_bits: f32,
    /// How many passes further down the list a key of less prominent words stands.
    pub rank_weight: f32,
    /// The passes, the most useful first.
    pub pass: Vec<Pass>,
    /// The names of the passes, shared by their keys.
    #[serde(skip)]
    ids: Vec<Arc<str>>,
}

/// Why a pass set is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PassSetError {
    /// No embedded set has the name.
    #[error("jeu de passes inconnu « {0} » : choisir fr-1 ou generic-1, ou donner un fichier TOML")]
    Unknown(String),
    /// The TOML text is not a pass set.
    #[error("jeu de passes illisible : {0}")]
    Toml(String),
    /// A rule is broken.
    #[error("passe « {pass} » refusée : {rule}")]
    Rule {
        /// The pass, or the set.
        pass: String,
        /// What must hold.
        rule: &'static str,
    },
}

impl PassSet {
    /// A set that comes with the profile.
    ///
    /// # Errors
    /// [`PassSetError::Unknown`] for any other name.
    pub fn named(id: &str) -> Result<Self, PassSetError> {
        for text in EMBEDDED {
            let set = Self::from_toml(text)?;
            if set.id == id {
                return Ok(set);
            }
        }
        Err(PassSetError::Unknown(id.to_owned()))
    }

    /// Reads a set from TOML.
    ///
    /// # Errors
    /// [`PassSetError`] with the line at fault or the rule that is broken.
    pub fn from_toml(text: &str) -> Result<Self, PassSetError> {
        let mut set: Self = toml::from_str(text).map_err(|e| PassSetError::Toml(e.to_string()))?;
        let broken = |pass: &str, rule| Err(PassSetError::Rule { pass: pass.to_owned(), rule });
        let is_slug = |id: &str| {
            (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.'))
        };
        let bits = |value: f32| (0.0..=64.0).contains(&value);
        if !is_slug(&set.id) || !(1..=64).contains(&set.pass.len()) {
            return broken(&set.id, "un nom de 1 à 32 caractères a-z 0-9 - + . et de 1 à 64 passes");
        }
        if !(bits(set.margin_bits) && bits(set.name_cap_bits) && bits(set.rank_weight)) {
            return broken(&set.id, "marges et plafonds entre 0 et 64 bits");
        }
        let mut seen = HashSet::new();
        for pass in &set.pass {
            if !is_slug(&pass.id) || !seen.insert(pass.id.as_str()) {
                return broken(&pass.id, "un nom unique de 1 à 32 caractères a-z 0-9 - + .");
            }
            if pass.names.len() > 2 || pass.names.is_empty() && pass.date == DatePart::None && pass.extra.is_none() {
                return broken(&pass.id, "un ou deux mots de nom au plus, et au moins une partie");
            }
            if !bits(pass.extra_bits) || !pass.margin_bits.is_none_or(bits) {
                return broken(&pass.id, "marges et plafonds entre 0 et 64 bits");
            }
        }
        set.ids = set.pass.iter().map(|p| p.id.as_str().into()).collect();
        Ok(set)
    }

    /// Surprisal, in bits, that a key of `pass` must reach among `expected_records`; minus infinity when not gated.
    pub fn threshold(&self, pass: &Pass, expected_records: u64) -> f32 {
        if pass.gated { (expected_records.max(2) as f32).log2() + pass.margin_bits.unwrap_or(self.margin_bits) } else { f32::NEG_INFINITY }
    }
}

/// What names one block: a pass and its parts. Zeroised on drop; `Debug` shows the pass only.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Zeroize, ZeroizeOnDrop)]
pub struct BlockKey {
    #[zeroize(skip)]
    pass: Arc<str>,
    parts: String,
}

impl BlockKey {
    /// The pass.
    pub fn pass(&self) -> &str {
        &self.pass
    }
    /// The input of the key's OPRF evaluation: `linkage/block-scoped/1/input`, agreement, epoch in decimal, pass and
    /// parts, separated by 0x00, the parts among themselves by 0x1f. It tells names: erase it after use.
    pub fn oprf_input(&self, agreement_id: &str, epoch: u32) -> Vec<u8> {
        let epoch = epoch.to_string();
        let pieces: [&[u8]; 5] =
            [b"linkage/block-scoped/1/input", agreement_id.as_bytes(), epoch.as_bytes(), self.pass.as_bytes(), self.parts.as_bytes()];
        pieces.join(&0)
    }
}

impl fmt::Debug for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockKey({}, ..)", self.pass)
    }
}

/// The block keys of an identity, the most useful first, at most `max`.
pub fn block_keys(identity: &Identity, set: &PassSet, expected_records: u64, max: usize) -> Vec<BlockKey> {
    scored_keys(identity, set, expected_records, max).into_iter().map(|k| k.key).collect()
}

/// A block key with what it is taken to tell.
pub(crate) struct ScoredKey {
    pub(crate) key: BlockKey,
    /// Index of the pass.
    pub(crate) pass: usize,
    /// Surprisal in bits.
    pub(crate) bits: f32,
}

pub(crate) fn scored_keys(identity: &Identity, set: &PassSet, expected_records: u64, max: usize) -> Vec<ScoredKey> {
    let mut pool = Pool::new(identity, set.name_cap_bits);
    let doubtful = identity.date_quality() != DateQuality::Full;
    let mut candidates: Vec<Candidate> = Vec::with_capacity(64);
    for (index, pass) in set.pass.iter().enumerate() {
        if pass.when == When::DoubtfulDate && !doubtful {
            continue;
        }
        let Some(date) = pass.date.of(identity.birth_date()) else { continue };
        let least = set.threshold(pass, expected_records) - pass.date.bits() - pass.extra_bits;
        for extra in extras(identity, pass.extra) {
            let mut add = |words: [Option<usize>; 2], rank: f32, bits: f32, names: String| {
                if bits >= least {
                    candidates.push(Candidate {
                        pass: index,
                        words,
                        extra: extra.0,
                        score: index as f32 + rank * set.rank_weight,
                        bits: bits + pass.date.bits() + pass.extra_bits,
                        parts: [&names, &date, &extra.1].into_iter().filter(|p| !p.is_empty()).map(String::as_str).collect::<Vec<_>>().join("\u{1f}"),
                    });
                }
            };
            match *pass.names.as_slice() {
                [] => add([None, None], 0.0, 0.0, String::new()),
                [view] => {
                    for a in 0..pool.words.len() {
                        let part = pool.part(a, view);
                        let (bits, text) = (tables::names().surprisal(part.frequencies), part.text.clone());
                        add([Some(a), None], pool.rank(a), bits, text);
                    }
                }
                [first, second] => {
                    for a in 0..pool.words.len() {
                        for b in 0..pool.words.len() {
                            if a == b || first == second && b < a {
                                continue;
                            }
                            let one = pool.part(a, first).clone();
                            let other = pool.part(b, second).clone();
                            let (one, other) = if first == second && other.text < one.text { (other, one) } else { (one, other) };
                            let text = format!("{}\u{1f}{}", one.text, other.text);
                            let family = if pool.are_surnames(a, b) { FAMILY_BITS } else { 0.0 };
                            let bits = tables::names().surprisal(one.frequencies.and(other.frequencies)) - family;
                            let words = [Some(a), Some(b)];
                            add(words, pool.pair_rank(a, b), bits, text);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    let implied: Vec<bool> = candidates
        .iter()
        .enumerate()
        .map(|(i, tight)| candidates.iter().enumerate().any(|(j, loose)| i != j && tight.implied_by(loose, set) && (j < i || !loose.implied_by(tight, set))))
        .collect();
    let mut kept: Vec<Candidate> = candidates.into_iter().zip(implied).filter_map(|(c, implied)| (!implied).then_some(c)).collect();
    kept.sort_by(|a, b| a.score.total_cmp(&b.score).then_with(|| a.parts.cmp(&b.parts)));
    let mut keys: Vec<ScoredKey> = Vec::with_capacity(max.min(kept.len()));
    for candidate in &mut kept {
        if keys.len() == max {
            break;
        }
        let Some(id) = set.ids.get(candidate.pass) else { continue };
        let key = BlockKey { pass: Arc::clone(id), parts: std::mem::take(&mut candidate.parts) };
        if !keys.iter().any(|k| k.key == key) {
            keys.push(ScoredKey { key, pass: candidate.pass, bits: candidate.bits });
        }
    }
    keys
}

/// The values of the further part, each with the number of its field; one empty value when the pass has none.
fn extras(identity: &Identity, extra: Option<Extra>) -> Vec<(usize, String)> {
    let Some(extra) = extra else { return vec![(0, String::new())] };
    identity
        .fields()
        .enumerate()
        .filter_map(|(i, (_, value))| {
            let text = match (extra, value) {
                (Extra::Category, FieldValue::Category(Some(code))) => code.clone(),
                (Extra::Text, FieldValue::Text(words)) if !words.is_empty() => sound(&words.concat()),
                _ => return None,
            };
            Some((i + 1, format!("{i}:{text}")))
        })
        .collect()
}

/// A key that tells enough.
struct Candidate {
    pass: usize,
    words: [Option<usize>; 2],
    extra: usize,
    score: f32,
    bits: f32,
    parts: String,
}

impl Candidate {
    /// Whether every record that has this key has the other one as well.
    fn implied_by(&self, loose: &Self, set: &PassSet) -> bool {
        let (Some(tight_pass), Some(loose_pass)) = (set.pass.get(self.pass), set.pass.get(loose.pass)) else { return false };
        let same_dates = loose_pass.when == When::Any || tight_pass.when == loose_pass.when;
        let month_of_partial = loose_pass.date == DatePart::YearMonth && !tight_pass.date.is_trusted() && tight_pass.date != DatePart::YearMonth;
        let words = || self.words.iter().zip(&tight_pass.names);
        same_dates
            && !month_of_partial
            && tight_pass.date.refines(loose_pass.date)
            && (loose_pass.extra.is_none() || loose_pass.extra == tight_pass.extra && loose.extra == self.extra)
            && loose.words.iter().zip(&loose_pass.names).all(|(word, view)| words().any(|(w, v)| w == word && v.refines(*view)))
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        self.parts.zeroize();
    }
}

/// A view of a word and how frequent it is.
#[derive(Clone)]
struct Part {
    text: String,
    frequencies: Frequencies,
}

/// The name words of an identity, with views made when first asked for.
struct Pool {
    words: Vec<PoolWord>,
    cap: f32,
}

struct PoolWord {
    word: String,
    surname: bool,
    index: usize,
    views: [Option<Part>; View::COUNT],
}

impl Pool {
    fn new(identity: &Identity, cap: f32) -> Self {
        let mut words: Vec<PoolWord> = Vec::with_capacity(MOST_SURNAMES + MOST_GIVEN);
        let mut add = |word: &str, surname, index| {
            if !words.iter().any(|w| w.word == word) {
                words.push(PoolWord { word: word.to_owned(), surname, index, views: [const { None }; View::COUNT] });
            }
        };
        let surnames = identity.words(FieldKind::BirthName).chain(identity.words(FieldKind::UsageName));
        for (index, word) in surnames.take(MOST_SURNAMES).enumerate() {
            add(word, true, index);
        }
        for (index, word) in identity.words(FieldKind::GivenNames).take(MOST_GIVEN).enumerate() {
            add(word, false, index);
        }
        Self { words, cap }
    }

    fn part(&mut self, index: usize, view: View) -> &Part {
        let cap = self.cap;
        let word = &mut self.words[index];
        let slot = &mut word.views[view as usize];
        slot.get_or_insert_with(|| {
            let text = view.of(&word.word);
            let frequencies = tables::names().frequencies(view, &text).at_least(cap);
            Part { text, frequencies }
        })
    }

    fn are_surnames(&self, a: usize, b: usize) -> bool {
        [a, b].into_iter().all(|i| self.words.get(i).is_some_and(|w| w.surname))
    }
    /// 0 for the first surname and the first given name.
    fn rank(&self, a: usize) -> f32 {
        self.words.get(a).map_or(0.0, |w| w.index as f32)
    }
    /// 0 for the first surname with the first given name; pairs of one kind come later.
    fn pair_rank(&self, a: usize, b: usize) -> f32 {
        let same = match (self.words.get(a), self.words.get(b)) {
            (Some(a), Some(b)) => a.surname == b.surname,
            _ => true,
        };
        self.rank(a) + self.rank(b) + if same { 1.0 } else { 0.0 }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for word in &mut self.words {
            word.word.zeroize();
            for part in word.views.iter_mut().flatten() {
                part.text.zeroize();
            }
        }
    }
}

#[cfg(test)]
#[path = "passes_tests.rs"]
mod tests;
