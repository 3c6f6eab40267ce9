//! Choosing a pass set on records whose truth is known: greedy, then one pass or parameter at a time.
//!
//! Contract: the persons are parted in two halves by a digest of their names in the truth; the set is chosen on one half
//! and the figures that count come from the other, so that a set cannot flatter itself. The aim is recall of blocking
//! (the share of one person's records that meet), a pair with a doubtful date counting twice because such persons are
//! the ones missed, under a bound on the expected meetings of a record with records of others at the agreement's size.
//! Meetings seen in n records are scaled to the size N by (N - 1) / (n - 1), which is too much where they come from
//! families and homonyms of one town, whose number per record does not grow. Deterministic: the same records in the same
//! order give the same set. For use where all files lie in one hand; no partner ever needs it.

use std::collections::{HashMap, HashSet};

use linkage_agreement::DateQuality;
use serde::Serialize;

use crate::identity::Identity;
use crate::keys::{BlockKey, KeyMaker};
use crate::passes::{Pass, PassSet, When};
use crate::pool::pool;

/// Records that the search looks at; more take longer and choose no better.
const MOST_SEARCHED: usize = 14_000;
/// Bits beyond the size at which a pass of the pool may stand.
const MARGINS: [f32; 3] = [2.0, 4.0, 6.0];
/// The same for passes of doubtful dates alone: one record in ten has such a date.
const DOUBTFUL_MARGINS: [f32; 3] = [0.5, 1.0, 3.0];
/// Passes of the pool that are tried in earnest at every step.
const TRIED: usize = 2;
/// What a pair with a doubtful date weighs.
const DOUBTFUL_WEIGHT: f64 = 2.0;
/// What all allowed meetings together cost, in recall: of two sets alike, the one that exposes less.
const MEETING_COST: f64 = 0.002;
/// Recall that a change must add to be made, and the pairs that it must add.
const LEAST_GAIN: f64 = 0.000_05;
const LEAST_PAIRS: f64 = 2.0;
/// What meetings beyond the aim cost, in recall, for as many again as are allowed.
const EXCESS_COST: f64 = 0.1;
/// Passes of the pool whose keys are made at a time.
const CHUNK: usize = 32;
/// Passes that a set may have.
const MOST_PASSES: usize = 48;

/// A record with what the truth says of it.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// Its identity.
    pub identity: Identity,
    /// Whose list it is in.
    pub party: usize,
    /// The person, as a number that means nothing else.
    pub person: u64,
}

/// What a set is chosen for.
#[derive(Debug, Clone, Copy)]
pub struct Aims {
    /// Records of all parties together.
    pub expected_records: u64,
    /// Most expected meetings of a record with records of other persons.
    pub meetings: f64,
    /// Tokens of a record.
    pub tokens: usize,
    /// Records of the largest block that is compared.
    pub block_cap: usize,
}

/// How well a set does on records with truth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Records measured.
    pub records: usize,
    /// Pairs of records of one person in two parties.
    pub true_pairs: usize,
    /// Share of them that meet.
    pub recall: f64,
    /// The same by what the dates of a pair are worth; the worse of the two counts.
    pub by_date: Vec<DateFigures>,
    /// Expected meetings of a record with records of others at the agreement's size.
    pub meetings_per_record: f64,
    /// Keys that a record has, on average.
    pub keys_per_record: f64,
}

/// Pairs of one quality of dates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DateFigures {
    /// `full`, `default`, `partial` or `missing`.
    pub dates: &'static str,
    /// Pairs of records of one person.
    pub true_pairs: usize,
    /// Share of them that meet.
    pub recall: f64,
}

/// A step of the search.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What was done: a pass taken or left out, a parameter changed.
    pub change: String,
    /// The figures on the half that is searched.
    pub figures: Figures,
}

/// What the search found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The set.
    pub set: PassSet,
    /// Its figures on the half that it was chosen on.
    pub searched: Figures,
    /// Its figures on the other half.
    pub held_out: Figures,
    /// Those of the starting set on the other half.
    pub start_held_out: Figures,
}

/// Why nothing was searched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// Too few pairs to choose on.
    #[error("{0} paires vraies dans la moitié étudiée, 100 au moins : donner plus de fiches ou vérifier la vérité")]
    TooFewPairs(usize),
}

/// Figures of a set on records with truth.
pub fn measure(records: &[Labelled], set: &PassSet, aims: &Aims) -> Figures {
    Sample::new(records.iter().collect()).measure(set, aims).0
}

/// Chooses a set. `start` gives its name, its parameters and the passes that are tried beside the pool's; `progress` is
/// told every step.
///
/// # Errors
/// [`SearchError`] when there is nothing to choose on.
pub fn search(records: &[Labelled], start: &PassSet, aims: &Aims, progress: &mut dyn FnMut(&Step)) -> Result<Found, SearchError> {
    let (mut searched, held_out): (Vec<_>, Vec<_>) = records.iter().partition(|r| spread(r.person).is_multiple_of(2));
    let held_out = Sample::new(held_out);
    let share = searched.len().div_ceil(MOST_SEARCHED) as u64;
    searched.retain(|r| (spread(r.person) / 2).is_multiple_of(share.max(1)));
    let sample = Sample::new(searched);
    if sample.matches.len() < 100 {
        return Err(SearchError::TooFewPairs(sample.matches.len()));
    }
    let mut searcher = Searcher::new(&sample, start, *aims, progress);
    searcher.take_passes();
    searcher.refine();
    let set = searcher.best.set;
    Ok(Found {
        searched: searcher.best.figures,
        held_out: held_out.measure(&set, aims).0,
        start_held_out: held_out.measure(start, aims).0,
        set,
    })
}

type Pair = (u32, u32);

/// Records and the pairs of them that are one person's.
struct Sample<'r> {
    records: Vec<&'r Labelled>,
    matches: HashSet<Pair>,
}

impl<'r> Sample<'r> {
    fn new(records: Vec<&'r Labelled>) -> Self {
        let mut people: HashMap<u64, Vec<u32>> = HashMap::new();
        for (i, record) in (0u32..).zip(&records) {
            people.entry(record.person).or_default().push(i);
        }
        let mut sample = Self { records, matches: HashSet::new() };
        sample.matches = people.values().flat_map(|list| sample.across(list)).collect();
        sample
    }

    /// Pairs of a block's records that lie in two parties.
    fn across(&self, list: &[u32]) -> Vec<Pair> {
        let party = |i: u32| self.records.get(i as usize).map(|r| r.party);
        let pairs = list.iter().enumerate().flat_map(|(at, &a)| list.iter().skip(at + 1).map(move |&b| (a.min(b), a.max(b))));
        pairs.filter(|&(a, b)| party(a) != party(b)).collect()
    }

    fn quality(&self, (a, b): Pair) -> DateQuality {
        let of = |i: u32| self.records.get(i as usize).map_or(DateQuality::Missing, |r| r.identity.date_quality());
        match (of(a), of(b)) {
            (DateQuality::Full, other) | (other, DateQuality::Full) => other,
            (DateQuality::Missing, _) | (_, DateQuality::Missing) => DateQuality::Missing,
            (one, _) => one,
        }
    }

    fn weight(&self, pair: Pair) -> f64 {
        if self.quality(pair) == DateQuality::Full { 1.0 } else { DOUBTFUL_WEIGHT }
    }

    /// The figures of a set and the pairs that meet.
    fn measure(&self, set: &PassSet, aims: &Aims) -> (Figures, HashSet<Pair>) {
        let mut blocks: HashMap<BlockKey, Vec<u32>> = HashMap::new();
        let mut keys = 0;
        let mut maker = KeyMaker::new(set, aims.expected_records, aims.tokens);
        for (i, record) in (0u32..).zip(&self.records) {
            for scored in maker.scored(&record.identity) {
                keys += 1;
                blocks.entry(scored.key).or_default().push(i);
            }
        }
        let small = blocks.values().filter(|list| (2..=aims.block_cap).contains(&list.len()));
        let met: HashSet<Pair> = small.flat_map(|list| self.across(list)).collect();
        let found = self.matches.iter().filter(|p| met.contains(p)).count();
        let mut by_date = Vec::new();
        for (quality, dates) in [
            (DateQuality::Full, "full"),
            (DateQuality::Default, "default"),
            (DateQuality::Partial, "partial"),
            (DateQuality::Missing, "missing"),
        ] {
            let of: Vec<&Pair> = self.matches.iter().filter(|p| self.quality(**p) == quality).collect();
            let found = of.iter().filter(|p| met.contains(**p)).count();
            by_date.push(DateFigures { dates, true_pairs: of.len(), recall: found as f64 / of.len().max(1) as f64 });
        }
        let n = self.records.len().max(2) as f64;
        let scale = aims.expected_records.max(2) as f64 - 1.0;
        let figures = Figures {
            records: self.records.len(),
            true_pairs: self.matches.len(),
            recall: found as f64 / self.matches.len().max(1) as f64,
            by_date,
            meetings_per_record: 2.0 * (met.len() - found) as f64 / n * scale / (n - 1.0),
            keys_per_record: keys as f64 / n,
        };
        (figures, met)
    }
}

/// A number's bits, well mixed (splitmix64, Steele and others, OOPSLA 2014).
fn spread(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A set with what it reaches.
struct State {
    set: PassSet,
    figures: Figures,
    met: HashSet<Pair>,
    worth: f64,
}

/// A pass that may be taken, and the pairs that it makes meet with the bits that their keys tell.
struct Choice {
    pass: Pass,
    pairs: Vec<(Pair, f32)>,
    key_bits: Vec<f32>,
}

struct Searcher<'s, 'r> {
    sample: &'s Sample<'r>,
    aims: Aims,
    all_weight: f64,
    choices: Vec<Choice>,
    best: State,
    progress: &'s mut dyn FnMut(&Step),
}

impl<'s, 'r> Searcher<'s, 'r> {
    fn new(sample: &'s Sample<'r>, start: &PassSet, aims: Aims, progress: &'s mut dyn FnMut(&Step)) -> Self {
        let mut passes = start.pass.clone();
        let more = pool(sample.records.iter().map(|r| &r.identity));
        passes.extend(more.into_iter().filter(|p| !start.pass.iter().any(|own| own.is_like(p))));
        let mut choices = Vec::with_capacity(passes.len());
        for chunk in passes.chunks(CHUNK) {
            choices.extend(choices_of(sample, start, chunk, &aims));
        }
        let mut set = start.clone();
        set.pass.clear();
        let (figures, met) = sample.measure(&set, &aims);
        let all_weight = sample.matches.iter().map(|p| sample.weight(*p)).sum();
        Self { sample, aims, all_weight, choices, best: State { set, figures, met, worth: 0.0 }, progress }
    }

    fn state(&self, set: PassSet) -> State {
        let (figures, met) = self.sample.measure(&set, &self.aims);
        let found: f64 = self.sample.matches.iter().filter(|p| met.contains(p)).map(|p| self.sample.weight(*p)).sum();
        let meetings = figures.meetings_per_record / self.aims.meetings;
        let cost = MEETING_COST * meetings + EXCESS_COST * (meetings - 1.0).max(0.0);
        State { worth: found / self.all_weight - cost, set, figures, met }
    }

    fn least_gain(&self) -> f64 {
        LEAST_GAIN.max(LEAST_PAIRS / self.all_weight)
    }

    fn accept(&mut self, state: State, change: String) {
        self.best = state;
        (self.progress)(&Step { change, figures: self.best.figures.clone() });
    }

    /// Takes the pass that helps most for what it costs, as long as one helps.
    fn take_passes(&mut self) {
        while self.best.set.pass.len() < MOST_PASSES {
            let mut promising = self.promising();
            promising.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id)));
            promising.dedup_by(|a, b| a.1.id == b.1.id);
            let mut best: Option<(State, String)> = None;
            for (_, pass) in promising.into_iter().take(TRIED) {
                for place in [self.best.set.pass.len(), 0] {
                    let mut set = self.best.set.clone();
                    let change = format!("+ {}", pass.id);
                    set.pass.insert(place, pass.clone());
                    let state = self.state(set);
                    if best.as_ref().is_none_or(|(b, _)| state.worth > b.worth) {
                        best = Some((state, change));
                    }
                }
            }
            match best {
                Some((state, change)) if state.worth >= self.best.worth + self.least_gain() => self.accept(state, change),
                _ => break,
            }
        }
    }

    /// Passes not yet taken, at every margin, with what they promise: pairs gained for meetings and keys spent.
    fn promising(&self) -> Vec<(f64, Pass)> {
        let n = self.sample.records.len() as f64;
        let scale = self.aims.expected_records as f64 / n;
        let mut promising = Vec::new();
        for choice in self.choices.iter().filter(|c| !self.best.set.pass.iter().any(|own| own.is_like(&c.pass))) {
            for margin in margins(&choice.pass) {
                let least = (self.aims.expected_records.max(2) as f32).log2() + margin;
                let (mut gain, mut meetings) = (0.0, 0.0);
                for (pair, bits) in &choice.pairs {
                    if (*bits >= least || !choice.pass.gated) && !self.best.met.contains(pair) {
                        if self.sample.matches.contains(pair) {
                            gain += self.sample.weight(*pair);
                        } else {
                            meetings += 2.0 * scale / n;
                        }
                    }
                }
                let keys = choice.key_bits.iter().filter(|bits| **bits >= least).count() as f64 / n;
                let gain = gain / self.all_weight;
                if gain >= self.least_gain() {
                    let cost = meetings / self.aims.meetings + keys / self.aims.tokens.max(1) as f64 / 2.0 + 0.002;
                    let pass = Pass { margin_bits: Some(margin), ..choice.pass.clone() };
                    promising.push((gain / cost, pass));
                }
            }
        }
        promising
    }

    /// Leaves out passes that add nothing, then moves margins, places and parameters by one step, twice over.
    fn refine(&mut self) {
        for _ in 0..2 {
            for index in (0..self.best.set.pass.len()).rev() {
                let mut set = self.best.set.clone();
                let gone = set.pass.remove(index);
                let state = self.state(set);
                if state.worth + self.least_gain() / 2.0 > self.best.worth {
                    self.accept(state, format!("- {}", gone.id));
                }
            }
            for index in 0..self.best.set.pass.len() {
                for by in [1.0, -1.0] {
                    self.try_change(|set| {
                        let base = set.margin_bits;
                        let pass = set.pass.get_mut(index)?;
                        let margin = (pass.margin_bits.unwrap_or(base) + by).max(0.0);
                        pass.margin_bits = Some(margin);
                        Some(format!("{} : marge {margin}", pass.id))
                    });
                }
                self.try_change(|set| {
                    let pass = (index > 0).then(|| set.pass.remove(index))?;
                    let change = format!("{} : rang {}", pass.id, index / 2 + 1);
                    set.pass.insert(index / 2, pass);
                    Some(change)
                });
            }
            for by in [1.0, -1.0] {
                self.try_change(|set| {
                    set.name_cap_bits += by;
                    Some(format!("plafond d'un nom {}", set.name_cap_bits))
                });
                self.try_change(|set| {
                    set.rank_weight = (set.rank_weight + 2.0 * by).max(0.0);
                    Some(format!("poids du rang {}", set.rank_weight))
                });
            }
        }
    }

    fn try_change(&mut self, change: impl FnOnce(&mut PassSet) -> Option<String>) {
        let mut set = self.best.set.clone();
        let Some(change) = change(&mut set) else { return };
        let state = self.state(set);
        if state.worth >= self.best.worth + self.least_gain() / 2.0 {
            self.accept(state, change);
        }
    }
}

fn margins(pass: &Pass) -> Vec<f32> {
    match (pass.gated, pass.when) {
        (false, _) => vec![0.0],
        (true, When::Any) => MARGINS.to_vec(),
        (true, When::DoubtfulDate) => DOUBTFUL_MARGINS.to_vec(),
    }
}

/// The pairs that each of some passes makes meet, at the least margin that it may have.
fn choices_of(sample: &Sample, start: &PassSet, passes: &[Pass], aims: &Aims) -> Vec<Choice> {
    let mut set = start.clone();
    set.pass = passes.to_vec();
    for pass in &mut set.pass {
        pass.margin_bits = margins(pass).first().copied();
    }
    let mut keys: Vec<HashMap<BlockKey, (f32, Vec<u32>)>> = vec![HashMap::new(); passes.len()];
    let mut maker = KeyMaker::new(&set, aims.expected_records, 0);
    for (i, record) in (0u32..).zip(&sample.records) {
        for scored in maker.all(&record.identity) {
            let Some(blocks) = keys.get_mut(scored.pass) else { continue };
            let (bits, members) = blocks.entry(scored.key).or_insert((scored.bits, Vec::new()));
            *bits = bits.min(scored.bits);
            if members.last() != Some(&i) {
                members.push(i);
            }
        }
    }
    passes
        .iter()
        .zip(keys)
        .map(|(pass, blocks)| {
            let mut best: HashMap<Pair, f32> = HashMap::new();
            for (bits, members) in blocks.values().filter(|(_, members)| members.len() <= aims.block_cap) {
                for pair in sample.across(members) {
                    let known = best.entry(pair).or_insert(*bits);
                    *known = known.max(*bits);
                }
            }
            let key_bits = blocks.values().flat_map(|(bits, members)| std::iter::repeat_n(*bits, members.len())).collect();
            Choice { pass: pass.clone(), pairs: best.into_iter().collect(), key_bits }
        })
        .collect()
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
