//! The candidates of one record: which keys tell enough, which of them another makes needless, and their texts.
//!
//! Candidates are bits of small tables and numbers that sort as they rank; only those that are taken are written out.

use linkage_agreement::FieldKind;
use zeroize::Zeroize;

use crate::further::Source;
use crate::identity::Identity;
use crate::keys::WORDS;
use crate::memo::Taken;
use crate::passes::DatePart;
use crate::plan::{Names, Plan, Planned};
use crate::tables::{self, MOST_ORIGINS, View, surprisal_of};
use crate::words::{Views, Words};

/// Bits that two surnames tell less than independent names: brothers and sisters share both.
const FAMILY_BITS: f32 = 5.0;
/// Words of surnames and of given names that enter the pool.
const MOST_SURNAMES: usize = 4;
const MOST_GIVEN: usize = 3;
/// Places for pairs of words.
const PAIRS: usize = WORDS * WORDS;
/// Separates the parts of a key.
const SEPARATOR: char = '\u{1f}';

/// A candidate as one number whose order is that of the candidates: score, then pass, source of the further part and place
/// of the words, which is the order in which they are found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate(u64);

impl Candidate {
    fn new(score: f32, pass: usize, source: usize, place: usize) -> Self {
        // The order of numbers as `f32::total_cmp` has it, for those below zero too.
        let bits = score.to_bits();
        let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        Self(u64::from(ordered) << 32 | (pass as u64) << 18 | (source as u64) << 6 | place as u64)
    }
    pub(crate) fn score(self) -> u32 {
        (self.0 >> 32) as u32
    }
    fn pass(self) -> usize {
        (self.0 >> 18 & 0xfff) as usize
    }
    fn source(self) -> usize {
        (self.0 >> 6 & 0xfff) as usize
    }
    fn place(self) -> usize {
        (self.0 & 0x3f) as usize
    }
    /// What sorts candidates by pass, source and words.
    pub(crate) fn found(self) -> u64 {
        self.0 & ((1 << 30) - 1)
    }
}

/// A key as written: its pass, where its parts lie, the bits that it tells.
#[derive(Clone, Copy)]
pub(crate) struct Made {
    pub(crate) pass: usize,
    start: usize,
    end: usize,
    pub(crate) bits: f32,
}

/// A word of the pool.
struct Pooled {
    taken: Taken<Views>,
    surname: bool,
    index: usize,
}

/// All that is known of one record while its keys are made.
#[derive(Default)]
pub(crate) struct Record {
    words: Vec<Pooled>,
    /// How far down the list a key of one word, of two words stands.
    ranks: [f32; WORDS],
    pair_ranks: Vec<f32>,
    /// For every pair of views, the surprisal of every pair of words.
    pair_bits: Vec<[f32; PAIRS]>,
    /// Dates and further parts.
    pub(crate) texts: String,
    dates: [Option<(usize, usize)>; DatePart::ALL.len()],
    /// For every further part, its sources.
    pub(crate) sources: Vec<Vec<Source>>,
    /// For every pass and source, the places of the words whose keys tell enough.
    present: Vec<u64>,
    stride: usize,
    pub(crate) candidates: Vec<Candidate>,
    /// The parts of the keys that were written.
    parts: String,
    /// Keys of one score.
    group: Vec<Made>,
    /// Keys taken.
    pub(crate) made: Vec<Made>,
}

impl Drop for Record {
    fn drop(&mut self) {
        self.texts.zeroize();
        self.parts.zeroize();
    }
}

impl Record {
    /// The text of a key's parts.
    pub(crate) fn parts(&self, made: &Made) -> &str {
        self.parts.get(made.start..made.end).unwrap_or_default()
    }

    /// Room for the next record.
    pub(crate) fn clear(&mut self, words: &mut Words) {
        self.words.drain(..).for_each(|w| words.keep(w.taken));
        self.texts.clear();
        self.sources.iter_mut().for_each(Vec::clear);
        self.candidates.clear();
        self.parts.clear();
        self.group.clear();
        self.made.clear();
    }

    /// The pool of name words: surnames and given names together, each word once.
    pub(crate) fn take_words(&mut self, identity: &Identity, words: &mut Words) {
        let surnames = identity.words(FieldKind::BirthName).chain(identity.words(FieldKind::UsageName));
        let given = identity.words(FieldKind::GivenNames);
        let surnames = surnames.take(MOST_SURNAMES).enumerate().map(|(index, word)| (word, true, index));
        for (word, surname, index) in surnames.chain(given.take(MOST_GIVEN).enumerate().map(|(i, word)| (word, false, i))) {
            if !self.words.iter().any(|w| w.taken.word() == word) {
                self.words.push(Pooled { taken: words.take(word), surname, index });
            }
        }
    }

    /// What does not depend on a pass: ranks, surprisals of pairs, texts of dates.
    pub(crate) fn weigh(&mut self, identity: &Identity, plan: &Plan) {
        self.pair_ranks.resize(PAIRS, 0.0);
        for (a, one) in self.words.iter().enumerate() {
            let index = one.index as f32;
            self.ranks[a] = index * plan.rank_weight;
            for (b, other) in self.words.iter().enumerate() {
                // 0 for the first surname with the first given name; pairs of one kind come later.
                let same = if one.surname == other.surname { 1.0 } else { 0.0 };
                self.pair_ranks[a * WORDS + b] = (index + other.index as f32 + same) * plan.rank_weight;
            }
        }
        self.pair_bits.resize(plan.pairs.len(), [0.0; PAIRS]);
        for (views, bits) in plan.pairs.iter().zip(&mut self.pair_bits) {
            pair_bits(&self.words, *views, bits);
        }
        let date = identity.birth_date();
        for (part, range) in DatePart::ALL.iter().zip(&mut self.dates) {
            let start = self.texts.len();
            *range = part.write(date, &mut self.texts).then_some((start, self.texts.len()));
        }
    }

    /// The candidates of every pass that the identity has the parts for.
    pub(crate) fn find(&mut self, plan: &Plan, doubtful: bool) {
        self.stride = self.sources.iter().map(Vec::len).max().unwrap_or(0).max(1);
        self.present.clear();
        self.present.resize(plan.passes.len() * self.stride, 0);
        let words = self.words.len();
        for (index, pass) in plan.passes.iter().enumerate() {
            if pass.doubtful_only && !doubtful || self.dates[pass.date as usize].is_none() {
                continue;
            }
            let sources = pass.extra.map_or(1, |extra| self.sources.get(extra).map_or(0, Vec::len));
            for source in 0..sources {
                let least = pass.threshold - self.given(pass, source);
                let present = match pass.names {
                    Names::None => u64::from(0.0 >= least),
                    Names::One(view) => {
                        let enough = |w: &Pooled| u64::from(w.taken.value().bits(view) >= least);
                        self.words.iter().rev().fold(0, |places, w| places << WORDS | enough(w))
                    }
                    Names::Two { pair, views } => {
                        let unordered = views[0] == views[1];
                        let bits = self.pair_bits.get(pair).unwrap_or(&[0.0; PAIRS]);
                        places_of_enough(bits, words, unordered, least)
                    }
                    Names::Many => 0,
                };
                self.present[index * self.stride + source] = present;
                self.push_all(index, pass, source, present);
            }
        }
    }

    fn push_all(&mut self, index: usize, pass: &Planned, source: usize, mut places: u64) {
        while places != 0 {
            let place = places.trailing_zeros() as usize;
            places &= places - 1;
            let rank = match pass.names {
                Names::One(_) => self.ranks[place / WORDS],
                Names::Two { .. } => self.pair_ranks[place],
                Names::None | Names::Many => 0.0,
            };
            self.candidates.push(Candidate::new(index as f32 + rank, index, source, place));
        }
    }

    /// Bits that the date and the further part tell.
    fn given(&self, pass: &Planned, source: usize) -> f32 {
        let source = pass.extra.and_then(|extra| self.sources.get(extra)?.get(source));
        pass.date.bits() + source.map_or(0.0, |source| source.bits(pass.extra_bits))
    }

    /// Whether every record that has the candidate's key has one of another candidate as well.
    pub(crate) fn is_implied(&self, plan: &Plan, tight: Candidate) -> bool {
        let Some(pass) = plan.passes.get(tight.pass()) else { return false };
        pass.implied_by.iter().any(|implied| {
            let mut place = implied.words.place(tight.place());
            if let Some(Planned { names: Names::Two { views: [first, second], .. }, .. }) = plan.passes.get(implied.loose)
                && first == second
                && place / WORDS > place % WORDS
            {
                place = place % WORDS * WORDS + place / WORDS;
            }
            let source = if implied.with_extra { tight.source() } else { 0 };
            self.present.get(implied.loose * self.stride + source).is_some_and(|present| present >> place & 1 == 1)
        })
    }

    /// Writes a candidate's key to the group.
    pub(crate) fn write(&mut self, plan: &Plan, candidate: Candidate) {
        let Some(pass) = plan.passes.get(candidate.pass()) else { return };
        let start = self.parts.len();
        let place = candidate.place();
        let word = |at: usize, view: View| self.words.get(at).map_or("", |w| w.taken.value().text(view));
        let (names, told) = match pass.names {
            Names::One(view) => {
                (["", word(place / WORDS, view)], self.words.get(place / WORDS).map_or(0.0, |w| w.taken.value().bits(view)))
            }
            Names::Two { pair, views } => {
                let mut names = [word(place / WORDS, views[0]), word(place % WORDS, views[1])];
                if views[0] == views[1] {
                    names.sort_unstable();
                }
                (names, self.pair_bits.get(pair).map_or(0.0, |bits| bits[place]))
            }
            Names::None | Names::Many => (["", ""], 0.0),
        };
        let text = |range: Option<(usize, usize)>| range.and_then(|(start, end)| self.texts.get(start..end)).unwrap_or_default();
        let source = pass.extra.and_then(|extra| self.sources.get(extra)?.get(candidate.source()));
        let all = [names[0], names[1], text(self.dates[pass.date as usize]), text(source.map(|s| (s.start, s.end)))];
        for part in all.into_iter().filter(|part| !part.is_empty()) {
            if self.parts.len() > start {
                self.parts.push(SEPARATOR);
            }
            self.parts.push_str(part);
        }
        let bits = told + self.given(pass, candidate.source());
        self.group.push(Made { pass: candidate.pass(), start, end: self.parts.len(), bits });
    }

    /// Takes the group's keys, in the order of their texts, as long as there is room and none is there already.
    pub(crate) fn take_group(&mut self, plan: &Plan, max: usize) {
        let mut group = std::mem::take(&mut self.group);
        if group.len() > 1 {
            group.sort_by(|x, y| plan.order(x.pass).cmp(&plan.order(y.pass)).then_with(|| self.parts(x).cmp(self.parts(y))));
        }
        for made in group.drain(..) {
            let same = |known: &Made| plan.order(known.pass) == plan.order(made.pass) && self.parts(known) == self.parts(&made);
            if self.made.len() < max && !self.made.iter().any(same) {
                self.made.push(made);
            }
        }
        self.group = group;
    }

    /// Takes the group's keys as they are.
    pub(crate) fn take_all(&mut self) {
        self.made.append(&mut self.group);
    }
}

/// The places of the pairs that tell `least` bits: those whose first word comes before the second, or all of two words.
fn places_of_enough(bits: &[f32; PAIRS], words: usize, unordered: bool, least: f32) -> u64 {
    let mut places = 0;
    for a in 0..words {
        for b in if unordered { a + 1 } else { 0 }..words {
            let place = a * WORDS + b;
            places |= u64::from(bits[place] >= least && a != b) << place;
        }
    }
    places
}

/// Surprisal of every two words together, each in its view: names are independent within one origin.
fn pair_bits(words: &[Pooled], [first, second]: [View; 2], bits: &mut [f32; PAIRS]) {
    let mut seconds = [[0.0f32; WORDS]; MOST_ORIGINS];
    for (b, word) in words.iter().enumerate() {
        for (row, f) in seconds.iter_mut().zip(word.taken.value().frequencies(second).by_origin()) {
            row[b] = *f;
        }
    }
    let origins = tables::names().origins();
    for (a, (one, row)) in words.iter().zip(bits.as_chunks_mut::<WORDS>().0).enumerate() {
        let mut shares = [0.0f32; WORDS];
        for ((origin, f), others) in origins.iter().zip(one.taken.value().frequencies(first).by_origin()).zip(&seconds) {
            for (share, other) in shares.iter_mut().zip(others) {
                *share += origin * (f * other);
            }
        }
        let from = if first == second { a + 1 } else { 0 };
        for ((bits, share), other) in row.iter_mut().zip(shares).zip(words).skip(from) {
            *bits = surprisal_of(share) - if one.surname && other.surname { FAMILY_BITS } else { 0.0 };
        }
    }
}
