//! Classification: how likely a candidate pair is one person, with no labels.
//!
//! Fellegi & Sunter (JASA 1969) with chance agreement u counted by the nodes, and agreement m and the share of
//! matches by EM over the distinct comparison vectors of the pairs that met (Winkler 1988). The share is of *all*
//! comparable pairs, met or not: u is of random pairs, and a pair that did not meet has no part in the matches.
//!
//! Dimensions are taken as independent within a class, which fails where two persons share names, residence or date
//! because they are related. So a pair that is no match may be of four classes, not one:
//! * *unrelated*: every dimension by chance;
//! * *twins*: surname, date and home as within one person, given name by chance, sex as among twins;
//! * *namesakes*: both names as within one person; some of one family (parent and child of one name: years apart, home
//!   mostly in common), most strangers (homonyms);
//! * *doubles*: namesakes who share the date of birth as well, and are told apart by birth place and home alone.
//!
//! The shares of the last three are estimated along, bounded by the share of matches so that the classes cannot change
//! roles. Given names go by fashion, so that namesakes are more often of one year than chance would have it.

use rayon::prelude::*;

use crate::levels::date_level::{DEFAULT_SAME_YEAR, DIFFERENT, EQUAL_DEFAULT, MONTH_OFF, SAME_YEAR, YEAR_OFF};
use crate::levels::{Dimension, DimensionKind, code_level, name_level};
use crate::pack::{Reader, Writer};
use crate::vectors::Vectors;
use crate::{ComparisonVector, Dimensions, LevelFrequencies, LinkError, Records, prior};

/// Weight of the shipped chance agreements, in pairs.
const PRIOR_CHANCE_PAIRS: f64 = 2_000.0;
/// Weight of the shipped agreements among matches, in matches for each dimension.
pub(crate) const PRIOR_MATCHES: f64 = 30.0;
/// Share of twins that are of one sex: identical ones, a third, and half of the others (Weinberg's rule).
const TWINS_ONE_SEX: f64 = 0.66;
/// How often twins have home and place of birth in common beyond chance.
const TWINS_HOME: f64 = 0.7;
/// Share of namesakes who are of one family.
const FAMILY: f64 = 0.2;
/// How often namesakes of one family have home and place of birth in common beyond chance, and how often strangers have.
const FAMILY_HOME: f64 = 0.6;
const FAMILY_BIRTHPLACE: f64 = 0.4;
const STRANGERS_HOME: f64 = 0.4;
const STRANGERS_BIRTHPLACE: f64 = 0.1;
/// Largest shares of twins and of namesakes, in matches: across parties, and within one, where a person rarely is twice.
const MOST_RELATED: [f64; 2] = [0.2, 2.0];
/// Largest share of doubles, in matches.
const MOST_DOUBLES: f64 = 0.01;
/// Twins for each match across parties, before data: births of twins are 1.6 % of births, and not all are in two lists.
const PRIOR_TWINS: f64 = 0.005;
/// Pairs of twins for each record of a list, before data: half of the twins are both in it.
const PRIOR_TWINS_LISTED: f64 = 0.004;
/// Namesakes for each match, before data: one father in fifty has a son of his own given name, and not all are in two
/// lists.
const PRIOR_NAMESAKES: f64 = 0.01;
/// Doubles for each match, before data.
const PRIOR_DOUBLES: f64 = 0.001;
/// Weight of these three, in matches.
const PRIOR_RELATED: f64 = 300.0;
/// How much more often than by chance strangers of one name are of one year, and namesakes of one family.
const STRANGERS_ONE_YEAR: f64 = 4.0;
const FAMILY_ONE_YEAR: f64 = 0.05;
const MAX_ROUNDS: u32 = 100;
/// Patterns that one task of a round takes.
const PATTERNS_AT_ONCE: usize = 4096;

/// One pair that met, compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Comparison {
    /// The record with the smaller number.
    pub a: u32,
    /// The record with the larger number.
    pub b: u32,
    /// Whether both records are of one party.
    pub within: bool,
    /// Blocks in which the two met; 255 stands for more.
    pub met: u8,
    /// Levels of agreement.
    pub vector: ComparisonVector,
}

/// All pairs that met, compared, in rising order of (a, b): the output of the comparison step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparisons {
    /// One row per pair.
    pub rows: Vec<Comparison>,
}

impl Comparisons {
    const KIND: u8 = b'C';

    /// Packs: kind, version, number of rows, rows of 26 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new(Self::KIND);
        out.u64(self.rows.len() as u64);
        for row in &self.rows {
            out.u32(row.a);
            out.u32(row.b);
            out.u8(u8::from(row.within));
            out.u8(row.met);
            out.bytes(&row.vector.0);
        }
        out.finish()
    }
    /// Unpacks and checks the order.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LinkError> {
        let mut input = Reader::new(Self::KIND, bytes)?;
        let count = input.count(26)?;
        let mut rows = Vec::with_capacity(count);
        for _ in 0..count {
            rows.push(Comparison {
                a: input.u32()?,
                b: input.u32()?,
                within: input.u8()? != 0,
                met: input.u8()?,
                vector: ComparisonVector(input.array16()?),
            });
        }
        input.finish()?;
        if rows.iter().any(|r| r.a >= r.b) || rows.windows(2).any(|w| matches!(w, [x, y] if (x.a, x.b) >= (y.a, y.b))) {
            return Err(LinkError::Packed("pairs out of order"));
        }
        Ok(Self { rows })
    }
}

/// What was learnt of one dimension. Level 0, missing, has m = u = 1: no evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct DimensionModel {
    /// What the dimension compares.
    pub kind: DimensionKind,
    /// Its name.
    pub name: String,
    /// Agreement among matches by level.
    pub m: Vec<f64>,
    /// Agreement by chance by level.
    pub u: Vec<f64>,
    /// Agreement among strangers of one name by level: of a date; empty for other dimensions.
    pub strangers: Vec<f64>,
    /// The same among namesakes of one family.
    pub family: Vec<f64>,
}

/// Shares of the classes among all comparable pairs of one kind (across parties, or within one).
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Shares {
    /// Comparable pairs, met or not.
    pub pairs: f64,
    /// Share of matches.
    pub matches: f64,
    /// Share of twins and other relatives who agree on the date.
    pub twins: f64,
    /// Share of namesakes.
    pub namesakes: f64,
    /// Share of doubles: namesakes of one date of birth.
    pub doubles: f64,
}

/// The classifier of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// By dimension.
    pub dimensions: Vec<DimensionModel>,
    /// Pairs of two parties.
    pub across: Shares,
    /// Pairs within a party that may hold duplicates.
    pub within: Shares,
    /// Rounds of EM.
    pub rounds: u32,
}

/// Learns the classifier from the pairs that met and the nodes' level frequencies. Deterministic: sums run over
/// distinct vectors in their order, not over records.
pub fn classify(records: &Records, comparisons: &Comparisons, frequencies: &LevelFrequencies) -> Result<Model, LinkError> {
    frequencies.check(records.layout())?;
    let dimensions = Dimensions::of(records.layout());
    let patterns = Vectors::of(&comparisons.rows).distinct;
    let mut model = Model {
        dimensions: dimensions
            .iter()
            .enumerate()
            .map(|(at, d)| {
                let mut m = prior::match_agreement(d.kind);
                if let Some(missing) = m.first_mut() {
                    *missing = 1.0;
                }
                let u = frequencies.chance(at, &prior::chance(d.kind), PRIOR_CHANCE_PAIRS);
                DimensionModel::new(d, m, u)
            })
            .collect(),
        across: Shares::default(),
        within: Shares::default(),
        rounds: 0,
    };
    (model.across, model.within) = first_shares(records);
    let listed: usize = (0..records.parties()).filter(|&p| !records.duplicate_free(p)).map(|p| records.of_party(p).len()).sum();
    while model.rounds < MAX_ROUNDS {
        let before = (model.across.matches, model.within.matches);
        model.maximise(&patterns, listed as f64 * PRIOR_TWINS_LISTED);
        model.rounds += 1;
        let still = |old: f64, new: f64| (new - old).abs() <= 1e-7 * old;
        if still(before.0, model.across.matches) && still(before.1, model.within.matches) {
            break;
        }
    }
    Ok(model)
}

/// Where EM starts: three tenths of the smaller list of every two, one in fifty records twice in a list.
fn first_shares(records: &Records) -> (Shares, Shares) {
    let sizes: Vec<(f64, bool)> =
        (0..records.parties()).map(|p| (records.of_party(p).len() as f64, records.duplicate_free(p))).collect();
    // Summed in order of size, so that the order of parties leaves no trace in the last bit.
    let mut sorted = sizes;
    sorted.sort_by(|x, y| x.0.total_cmp(&y.0).then(x.1.cmp(&y.1)));
    let (mut across, mut expected_across, mut within, mut expected_within) = (0.0, 0.0, 0.0, 0.0);
    for (n, &(size, duplicate_free)) in sorted.iter().enumerate() {
        for &(larger, _) in sorted.iter().skip(n + 1) {
            across += size * larger;
            expected_across += 0.3 * size;
        }
        if !duplicate_free {
            within += size * (size - 1.0).max(0.0) / 2.0;
            expected_within += 0.02 * size;
        }
    }
    let shares = |pairs: f64, expected: f64| {
        let matches = if pairs > 0.0 { (expected / pairs).clamp(1e-12, 0.5) } else { 1e-12 };
        Shares { pairs, matches, twins: 0.02 * matches, namesakes: 0.02 * matches, doubles: PRIOR_DOUBLES * matches }
    };
    (shares(across, expected_across), shares(within, expected_within))
}

/// A date among namesakes: chance, with dates of one year so many times as frequent. Two who share the whole date are
/// doubles, so that the levels of equality stay at chance. It is not learnt from the pairs: a mistyped date of one person
/// would pass for a namesake's.
fn namesake_dates(u: &[f64], one_year: f64) -> Vec<f64> {
    let drawn = |(level, &u): (usize, &f64)| match u8::try_from(level) {
        Ok(SAME_YEAR | DEFAULT_SAME_YEAR..YEAR_OFF | MONTH_OFF..EQUAL_DEFAULT) => one_year * u,
        _ => u,
    };
    let mut dates: Vec<f64> = u.iter().enumerate().map(drawn).collect();
    // What years drawn together gain, different dates lose.
    let gained: f64 = dates.iter().skip(1).sum::<f64>() - u.iter().skip(1).sum::<f64>();
    if let Some(different) = dates.get_mut(usize::from(DIFFERENT)) {
        *different = (*different - gained).max(*different / 2.0);
    }
    dates
}

/// Sums of one round of EM: by dimension and level among matches; matched, twins, namesakes and doubles.
struct Expected {
    counts: Vec<Vec<f64>>,
    across: [f64; 4],
    within: [f64; 4],
}

impl Expected {
    fn add(&mut self, other: &Self) {
        let mine = self.counts.iter_mut().flatten().chain(&mut self.across).chain(&mut self.within);
        let others = other.counts.iter().flatten().chain(&other.across).chain(&other.within);
        mine.zip(others).for_each(|(sum, part)| *sum += part);
    }
}

/// Natural logarithms of the likelihood of one vector in each class.
struct Likelihoods {
    matched: f64,
    twins: f64,
    namesakes: f64,
    doubles: f64,
    unrelated: f64,
}

/// Probabilities of the classes other than "unrelated".
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Posterior {
    /// One person.
    pub matched: f64,
    /// Twins, or relatives who agree on the date.
    pub twins: f64,
    /// Namesakes.
    pub namesakes: f64,
    /// Namesakes of one date of birth.
    pub doubles: f64,
}

impl Model {
    const KIND: u8 = b'F';

    /// Log2 odds that a pair is one person's, in thousandths of a bit (whole, so that no later sum depends on order).
    pub fn weight_millibits(&self, within: bool, vector: &ComparisonVector) -> i32 {
        let [matched, against @ ..] = self.joint(within, vector);
        let odds = matched - log_sum(against);
        (odds / std::f64::consts::LN_2 * 1000.0).round().clamp(-100_000.0, 100_000.0) as i32
    }

    /// Probabilities of the classes for one vector.
    pub fn posterior(&self, within: bool, vector: &ComparisonVector) -> Posterior {
        let joint = self.joint(within, vector);
        let all = log_sum(joint);
        let [matched, twins, namesakes, doubles, _] = joint.map(|class| (class - all).exp());
        Posterior { matched, twins, namesakes, doubles }
    }

    /// Logarithms of the joint probabilities of the vector and each class: matched, twins, namesakes, doubles, unrelated.
    fn joint(&self, within: bool, vector: &ComparisonVector) -> [f64; 5] {
        let shares = if within { &self.within } else { &self.across };
        let l = self.likelihoods(vector);
        let rest = (1.0 - shares.matches - shares.twins - shares.namesakes - shares.doubles).max(1e-9);
        let of = |likelihood: f64, share: f64| likelihood + share.max(1e-300).ln();
        [
            of(l.matched, shares.matches),
            of(l.twins, shares.twins),
            of(l.namesakes, shares.namesakes),
            of(l.doubles, shares.doubles),
            l.unrelated + rest.ln(),
        ]
    }

    fn likelihoods(&self, vector: &ComparisonVector) -> Likelihoods {
        let mut l = Likelihoods { matched: 0.0, twins: 0.0, namesakes: f64::NEG_INFINITY, doubles: 0.0, unrelated: 0.0 };
        // Codes and texts are parts of one address: related persons have all of it in common or nothing.
        let (mut address_m, mut address_u) = (1.0, 1.0);
        let (mut family, mut strangers) = (FAMILY.ln(), (1.0 - FAMILY).ln());
        let has = |kind| self.dimensions.iter().any(|d| d.kind == kind);
        for (at, dimension) in self.dimensions.iter().enumerate() {
            let level = vector.level(at);
            // Exchanged names are counted once, at the surname.
            if level == 0
                || (dimension.kind == DimensionKind::Given && level >= name_level::SWAPPED_CLOSE && has(DimensionKind::Surname))
            {
                continue;
            }
            let (m, u) = (probability(&dimension.m, level), probability(&dimension.u, level));
            let home = |shared: f64| shared * m + (1.0 - shared) * u;
            let (of_twins, of_family, of_strangers, of_doubles) = match dimension.kind {
                DimensionKind::Surname if level >= name_level::SWAPPED_CLOSE => (u, m, m, m),
                DimensionKind::Surname => (m, m, m, m),
                DimensionKind::Given => (u, m, m, m),
                DimensionKind::Date => (m, probability(&dimension.family, level), probability(&dimension.strangers, level), m),
                DimensionKind::Sex if level == code_level::EQUAL => (TWINS_ONE_SEX, m, m, m),
                DimensionKind::Sex => (1.0 - TWINS_ONE_SEX, m, m, m),
                DimensionKind::Place => (home(TWINS_HOME), home(FAMILY_BIRTHPLACE), home(STRANGERS_BIRTHPLACE), u),
                DimensionKind::Category | DimensionKind::Text => {
                    address_m *= m;
                    address_u *= u;
                    (1.0, 1.0, 1.0, 1.0)
                }
            };
            l.matched += m.ln();
            l.unrelated += u.ln();
            l.twins += of_twins.ln();
            family += of_family.ln();
            strangers += of_strangers.ln();
            l.doubles += of_doubles.ln();
        }
        let address = |shared: f64| (shared * address_m + (1.0 - shared) * address_u).ln();
        l.twins += address(TWINS_HOME);
        l.namesakes = log_sum([family + address(FAMILY_HOME), strangers + address(STRANGERS_HOME)]);
        l.doubles += address_u.ln();
        // Without a given name twins, and without a date namesakes, could not be told from one person.
        if !has(DimensionKind::Given) {
            l.twins = f64::NEG_INFINITY;
        }
        if !has(DimensionKind::Date) {
            l.namesakes = f64::NEG_INFINITY;
            l.doubles = f64::NEG_INFINITY;
        }
        l
    }

    /// What `patterns` are expected to hold of each class, and of each level among matches.
    fn expected(&self, patterns: &[(bool, ComparisonVector, u64)]) -> Expected {
        let counts = self.dimensions.iter().map(|d| vec![0.0; d.m.len()]).collect();
        let mut sums = Expected { counts, across: [0.0; 4], within: [0.0; 4] };
        for &(is_within, vector, pairs) in patterns {
            let p = self.posterior(is_within, &vector);
            let pairs = pairs as f64;
            let classes = if is_within { &mut sums.within } else { &mut sums.across };
            for (sum, share) in classes.iter_mut().zip([p.matched, p.twins, p.namesakes, p.doubles]) {
                *sum += pairs * share;
            }
            for (at, table) in sums.counts.iter_mut().enumerate() {
                if let Some(count) = table.get_mut(usize::from(vector.level(at))) {
                    *count += pairs * p.matched;
                }
            }
        }
        sums
    }

    /// One round of EM. `twins_listed` is how many pairs of twins the lists that may hold duplicates are expected to hold.
    fn maximise(&mut self, patterns: &[(bool, ComparisonVector, u64)], twins_listed: f64) {
        // Parts of one size, put together in order: the last bit depends on no number of cores.
        let parts: Vec<Expected> = patterns.par_chunks(PATTERNS_AT_ONCE).map(|part| self.expected(part)).collect();
        let mut parts = parts.into_iter();
        let mut whole = parts.next().unwrap_or_else(|| self.expected(&[]));
        parts.for_each(|part| whole.add(&part));
        let Expected { counts, across, within } = whole;
        let has_sex = self.dimensions.iter().any(|d| d.kind == DimensionKind::Sex);
        let kinds = [(&mut self.across, across), (&mut self.within, within)];
        let prior_twins = [PRIOR_TWINS, twins_listed / within[0].max(1.0)];
        for (((shares, [matched, twins, namesakes, doubles]), most), prior_twins) in
            kinds.into_iter().zip(MOST_RELATED).zip(prior_twins)
        {
            let prior_twins = prior_twins.min(most);
            if shares.pairs > 0.0 {
                shares.matches = (matched / shares.pairs).clamp(1e-15, 0.5);
                let bounded = |sum: f64, prior: f64, most: f64| {
                    let share = (sum + prior * PRIOR_RELATED) / (matched + PRIOR_RELATED);
                    share.min(most) * shares.matches
                };
                let related = |sum, prior| bounded(sum, prior, most);
                // Twins of one sex look like one person under two given names; those of two sexes give them away.
                shares.twins = if has_sex { related(twins, prior_twins) } else { prior_twins * shares.matches };
                shares.namesakes = related(namesakes, PRIOR_NAMESAKES);
                shares.doubles = bounded(doubles, PRIOR_DOUBLES, MOST_DOUBLES);
            }
        }
        for (dimension, counts) in self.dimensions.iter_mut().zip(&counts) {
            let prior = prior::match_agreement(dimension.kind);
            let present: f64 = counts.iter().skip(1).sum();
            for ((m, count), share) in dimension.m.iter_mut().zip(counts).zip(prior).skip(1) {
                *m = (count + PRIOR_MATCHES * share) / (present + PRIOR_MATCHES);
            }
        }
    }

    /// Packs: kind, version, shares, rounds, dimensions with m and u.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new(Self::KIND);
        for shares in [&self.across, &self.within] {
            for value in [shares.pairs, shares.matches, shares.twins, shares.namesakes, shares.doubles] {
                out.f64(value);
            }
        }
        out.u32(self.rounds);
        out.u64(self.dimensions.len() as u64);
        for dimension in &self.dimensions {
            for value in dimension.m.iter().chain(&dimension.u) {
                out.f64(*value);
            }
        }
        out.finish()
    }
    /// Unpacks a model of `dimensions`.
    pub fn from_bytes(dimensions: &Dimensions, bytes: &[u8]) -> Result<Self, LinkError> {
        let mut input = Reader::new(Self::KIND, bytes)?;
        let mut shares = || -> Result<Shares, LinkError> {
            let (pairs, matches, twins) = (input.f64()?, input.f64()?, input.f64()?);
            Ok(Shares { pairs, matches, twins, namesakes: input.f64()?, doubles: input.f64()? })
        };
        let (across, within) = (shares()?, shares()?);
        let rounds = input.u32()?;
        if input.count(16)? != dimensions.len() {
            return Err(LinkError::Packed("a model of other dimensions"));
        }
        let mut models = Vec::with_capacity(dimensions.len());
        for dimension in dimensions.iter() {
            let mut table = || (0..dimension.kind.levels()).map(|_| input.f64()).collect::<Result<Vec<f64>, _>>();
            let (m, u) = (table()?, table()?);
            models.push(DimensionModel::new(dimension, m, u));
        }
        input.finish()?;
        Ok(Self { dimensions: models, across, within, rounds })
    }
}

impl DimensionModel {
    fn new(dimension: &Dimension, m: Vec<f64>, u: Vec<f64>) -> Self {
        let dates = |one_year| if dimension.kind == DimensionKind::Date { namesake_dates(&u, one_year) } else { Vec::new() };
        let (strangers, family) = (dates(STRANGERS_ONE_YEAR), dates(FAMILY_ONE_YEAR));
        Self { kind: dimension.kind, name: dimension.name.clone(), m, strangers, family, u }
    }
    /// Weight of a level in bits: log2(m / u).
    pub fn weight_bits(&self, level: u8) -> f64 {
        (probability(&self.m, level) / probability(&self.u, level)).log2()
    }
}

fn probability(table: &[f64], level: u8) -> f64 {
    table.get(usize::from(level)).copied().unwrap_or(1.0).max(1e-12)
}

/// Logarithm of a sum given by logarithms.
fn log_sum<const N: usize>(logs: [f64; N]) -> f64 {
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + logs.iter().map(|l| (l - largest).exp()).sum::<f64>().ln()
}
