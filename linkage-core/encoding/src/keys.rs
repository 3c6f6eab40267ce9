//! The block keys of one identity: candidates of every pass, those that tell enough, none implied by another.
//!
//! Contract and rules in [`crate::passes`]. Keys hold name parts: they are zeroised on drop and their `Debug` shows the
//! pass only. This runs once per record and epoch, before the OPRF, which costs far more.

use std::fmt;
use std::sync::Arc;

use linkage_agreement::{DateQuality, FieldKind};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::identity::{FieldValue, Identity};
use crate::passes::{Extra, Pass, PassSet, When};
use crate::phonetic::sound;
use crate::place::{FRANCE, Place, commune_bits};
use crate::tables::{self, Frequencies, View};

/// Bits that two surnames tell less than independent names: brothers and sisters share both.
const FAMILY_BITS: f32 = 5.0;
/// Words of surnames and of given names that enter the pool.
const MOST_SURNAMES: usize = 4;
const MOST_GIVEN: usize = 3;
/// Separates the parts of a key.
const SEPARATOR: &str = "\u{1f}";

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
        let pieces: [&[u8]; 5] = [
            b"linkage/block-scoped/1/input",
            agreement_id.as_bytes(),
            epoch.as_bytes(),
            self.pass.as_bytes(),
            self.parts.as_bytes(),
        ];
        pieces.join(&0)
    }
    #[cfg(test)]
    pub(crate) fn of_parts(pass: &str, parts: &str) -> Self {
        Self { pass: pass.into(), parts: parts.to_owned() }
    }
}

impl fmt::Debug for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockKey({}, ..)", self.pass)
    }
}

/// The block keys of an identity, the most useful first, at most `max`, for an agreement of `expected_records`.
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
    let pool = Pool::new(identity, set);
    let candidates = candidates(identity, set, &pool, expected_records);
    // Candidates come in the order of their passes.
    let of_pass = |pass: usize| {
        let start = candidates.partition_point(|c| c.pass < pass);
        let end = candidates.partition_point(|c| c.pass <= pass);
        (start..end).filter_map(|i| Some((i, candidates.get(i)?)))
    };
    let is_implied = |i: usize, tight: &Candidate| {
        let by =
            |(j, loose): (usize, &Candidate)| i != j && tight.implied_by(loose, set) && (j < i || !loose.implied_by(tight, set));
        set.implies.get(tight.pass).into_iter().flatten().any(|&loose| of_pass(loose).any(by))
    };
    let mut order: Vec<(usize, &Candidate)> = candidates.iter().enumerate().collect();
    order.sort_by(|(_, a), (_, b)| a.score.total_cmp(&b.score));
    let mut keys: Vec<ScoredKey> = Vec::with_capacity(max.min(order.len()));
    for equals in order.chunk_by(|(_, a), (_, b)| a.score.total_cmp(&b.score).is_eq()) {
        if keys.len() >= max {
            break;
        }
        let tells = equals.iter().filter(|(i, candidate)| !is_implied(*i, candidate));
        let mut found: Vec<ScoredKey> = tells.filter_map(|(_, candidate)| candidate.scored(identity, set, &pool)).collect();
        found.sort_by(|x, y| x.key.cmp(&y.key));
        for scored in found {
            if keys.len() < max && !keys.iter().any(|k| k.key == scored.key) {
                keys.push(scored);
            }
        }
    }
    keys
}

/// Every key that tells enough, implied or not; for choosing among passes.
pub(crate) fn all_keys(identity: &Identity, set: &PassSet, expected_records: u64) -> Vec<ScoredKey> {
    let pool = Pool::new(identity, set);
    let candidates = candidates(identity, set, &pool, expected_records);
    candidates.iter().filter_map(|candidate| candidate.scored(identity, set, &pool)).collect()
}

/// The keys that tell enough, of every pass that the identity has the parts for.
fn candidates(identity: &Identity, set: &PassSet, pool: &Pool, expected_records: u64) -> Vec<Candidate> {
    let doubtful = identity.date_quality() != DateQuality::Full;
    let date = identity.birth_date();
    let mut found = Vec::with_capacity(64);
    for (index, pass) in set.pass.iter().enumerate() {
        if pass.when == When::DoubtfulDate && !doubtful || pass.date.of(date).is_none() {
            continue;
        }
        for (extra, extra_bits) in extra_parts(identity, pass) {
            let given = pass.date.bits() + extra_bits;
            let least = set.threshold(pass, expected_records) - given;
            let mut add = |words: [Option<usize>; 2], rank: f32, bits: f32| {
                if bits >= least {
                    found.push(Candidate {
                        pass: index,
                        words,
                        extra,
                        score: index as f32 + rank * set.rank_weight,
                        bits: bits + given,
                    });
                }
            };
            match *pass.names.as_slice() {
                [] => add([None, None], 0.0, 0.0),
                [view] => (0..pool.words.len()).for_each(|a| add([Some(a), None], pool.rank(a), pool.bits(a, view))),
                [first, second] => {
                    for (a, b) in (0..pool.words.len()).flat_map(|a| (0..pool.words.len()).map(move |b| (a, b))) {
                        // Two words in one view are unordered, in two views ordered.
                        if a < b || a > b && first != second {
                            add([Some(a), Some(b)], pool.pair_rank(a, b), pool.pair_bits(a, first, b, second));
                        }
                    }
                }
                _ => {}
            }
        }
    }
    found
}

/// Bits that a country of birth tells about people whose names already tell where they come from.
const COUNTRY_BITS: f32 = 1.0;

/// Where a further part is taken from: a field, by number, and which of its levels.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Source {
    field: usize,
    level: Level,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Whole,
    Country,
}

/// What the further part of a pass can be taken from, and the bits that it tells; a lone `None` when it has none.
fn extra_parts(identity: &Identity, pass: &Pass) -> Vec<(Option<Source>, f32)> {
    let Some(extra) = pass.extra else { return vec![(None, 0.0)] };
    let sources = (0..identity.fields().len())
        .flat_map(|field| [Level::Whole, Level::Country].map(|level| Source { field, level }))
        .filter_map(|source| Some((Some(source), extra_bits(identity, extra, source, pass.extra_bits)?)));
    sources.collect()
}

/// Bits that a further part tells, at most `most`; `None` when the identity does not have it.
fn extra_bits(identity: &Identity, extra: Extra, source: Source, most: f32) -> Option<f32> {
    let mut part = extra_text(identity, extra, source)?;
    part.zeroize();
    let (_, value) = identity.fields().nth(source.field)?;
    let of_place = |place: &Place| match (&place.department, &place.commune) {
        (Some(department), Some(commune)) => commune_bits(department, commune, most),
        _ => most,
    };
    Some(match (extra, value, source.level) {
        (Extra::Commune, FieldValue::Category(Some(code)), _) => of_place(&Place::read(code, "", "")),
        (Extra::Place, _, Level::Country) => COUNTRY_BITS.min(most),
        (Extra::Place, FieldValue::Place(place), Level::Whole) => of_place(place),
        _ => most,
    })
}

/// The further part that a source gives, with the field's number, so that two fields share no block.
fn extra_text(identity: &Identity, extra: Extra, source: Source) -> Option<String> {
    let Source { field, level } = source;
    match (extra, identity.fields().nth(field)?.1, level) {
        (Extra::Category, FieldValue::Category(Some(code)), Level::Whole) => Some(format!("{field}:{code}")),
        (Extra::Text, FieldValue::Text(words), Level::Whole) if !words.is_empty() => {
            Some(format!("{field}:{}", sound(&words.concat())))
        }
        (Extra::Commune, FieldValue::Category(Some(code)), Level::Whole) => {
            let place = Place::read(code, "", "");
            Some(format!("{field}:{}:{}", place.department.as_deref()?, place.commune.as_deref()?))
        }
        (Extra::Place, FieldValue::Place(place), Level::Whole) => Some(format!("{field}:{}", place.commune.as_deref()?)),
        (Extra::Place, FieldValue::Place(place), Level::Country) => {
            Some(format!("{field}={}", place.country.as_deref().filter(|c| *c != FRANCE)?))
        }
        _ => None,
    }
}

/// A key that tells enough, its parts named but not yet written out.
struct Candidate {
    pass: usize,
    words: [Option<usize>; 2],
    extra: Option<Source>,
    score: f32,
    bits: f32,
}

impl Candidate {
    /// Whether every record that has this key has the other one as well.
    fn implied_by(&self, loose: &Self, set: &PassSet) -> bool {
        let may = set.implies.get(self.pass).is_some_and(|looser| looser.contains(&loose.pass));
        if !may || loose.extra.is_some() && loose.extra != self.extra {
            return false;
        }
        let (Some(tight_pass), Some(loose_pass)) = (set.pass.get(self.pass), set.pass.get(loose.pass)) else { return false };
        let has = |(word, view): (&Option<usize>, &View)| {
            self.words.iter().zip(&tight_pass.names).any(|(w, v)| w == word && v.refines(*view))
        };
        loose.words.iter().zip(&loose_pass.names).all(has)
    }

    fn scored(&self, identity: &Identity, set: &PassSet, pool: &Pool) -> Option<ScoredKey> {
        Some(ScoredKey { key: self.key(identity, set, pool)?, pass: self.pass, bits: self.bits })
    }

    fn key(&self, identity: &Identity, set: &PassSet, pool: &Pool) -> Option<BlockKey> {
        let pass: &Pass = set.pass.get(self.pass)?;
        let mut names: Vec<&str> = self
            .words
            .iter()
            .flatten()
            .zip(&pass.names)
            .filter_map(|(w, view)| Some(pool.part(*w, *view)?.text.as_str()))
            .collect();
        if let [first, second] = *pass.names.as_slice()
            && first == second
        {
            names.sort_unstable();
        }
        let mut date = pass.date.of(identity.birth_date())?;
        let mut extra = match (pass.extra, self.extra) {
            (Some(extra), Some(source)) => extra_text(identity, extra, source)?,
            _ => String::new(),
        };
        let all = names.into_iter().chain([date.as_str(), extra.as_str()]).filter(|p| !p.is_empty());
        let parts = all.collect::<Vec<_>>().join(SEPARATOR);
        date.zeroize();
        extra.zeroize();
        Some(BlockKey { pass: Arc::clone(set.ids.get(self.pass)?), parts })
    }
}

/// A view of a word and how frequent it is.
struct Part {
    view: View,
    text: String,
    frequencies: Frequencies,
    bits: f32,
}

/// The name words of an identity in every view that the pass set takes.
struct Pool {
    words: Vec<PoolWord>,
}

struct PoolWord {
    word: String,
    surname: bool,
    index: usize,
    views: Vec<Part>,
}

impl Pool {
    fn new(identity: &Identity, set: &PassSet) -> Self {
        let mut words: Vec<PoolWord> = Vec::with_capacity(MOST_SURNAMES + MOST_GIVEN);
        let mut add = |word: &str, surname, index| {
            if words.iter().any(|w| w.word == word) {
                return;
            }
            let views = set.views.iter().map(|&view| {
                let text = view.of(word);
                let frequencies = tables::names().frequencies(view, &text).at_least(set.name_cap_bits);
                Part { view, text, frequencies, bits: tables::names().surprisal(frequencies) }
            });
            words.push(PoolWord { word: word.to_owned(), surname, index, views: views.collect() });
        };
        let surnames = identity.words(FieldKind::BirthName).chain(identity.words(FieldKind::UsageName));
        for (index, word) in surnames.take(MOST_SURNAMES).enumerate() {
            add(word, true, index);
        }
        for (index, word) in identity.words(FieldKind::GivenNames).take(MOST_GIVEN).enumerate() {
            add(word, false, index);
        }
        Self { words }
    }

    fn part(&self, index: usize, view: View) -> Option<&Part> {
        self.words.get(index)?.views.iter().find(|p| p.view == view)
    }
    /// Surprisal of one word.
    fn bits(&self, a: usize, view: View) -> f32 {
        self.part(a, view).map_or(0.0, |p| p.bits)
    }
    /// Surprisal of two words together.
    fn pair_bits(&self, a: usize, first: View, b: usize, second: View) -> f32 {
        let (Some(one), Some(other)) = (self.part(a, first), self.part(b, second)) else { return 0.0 };
        let surnames = [a, b].into_iter().all(|i| self.words.get(i).is_some_and(|w| w.surname));
        tables::names().surprisal(one.frequencies.and(other.frequencies)) - if surnames { FAMILY_BITS } else { 0.0 }
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
            for part in &mut word.views {
                part.text.zeroize();
            }
        }
    }
}
