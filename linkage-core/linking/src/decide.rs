//! The decision on each pair: link, no link, or abstain.
//!
//! A link is worth its risk when its expected cost is below that of missing it: with a false link costing `c` missed
//! ones, when P >= c / (c + 1). The same name is never enough by itself: a record with several candidates in a party
//! whose list holds each person once is linked only when the best one leads by a margin. What is neither is abstained
//! from, with a reason, and left to people.

use linkage_agreement::Agreement;
use rayon::prelude::*;

use crate::classify::{Comparison, Comparisons, Model};
use crate::vectors::Vectors;
use crate::{ComparisonVector, Dispositions, LinkError, RecordIndex, Records};

/// The decision rule of the agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Blocks with more records are dropped.
    pub block_cap: u32,
    /// Missed links that one false link costs.
    pub false_link_cost: u32,
    /// Lead over rivals, in tenths of a bit.
    pub lead_margin_decibits: u32,
    /// Probability from which a pair that is not linked is abstained from, in thousandths.
    pub abstain_floor_permille: u32,
}

impl Settings {
    /// The rule that the agreement fixes.
    pub fn of(agreement: &Agreement) -> Self {
        Self {
            block_cap: agreement.encoding.block_cap,
            false_link_cost: agreement.decision.false_link_cost,
            lead_margin_decibits: agreement.decision.lead_margin_decibits,
            abstain_floor_permille: agreement.decision.abstain_floor_permille,
        }
    }
    /// Log2 odds from which a pair is linked, in thousandths of a bit.
    pub fn link_millibits(&self) -> i32 {
        (f64::from(self.false_link_cost.max(1)).log2() * 1000.0).round() as i32
    }
    /// Log2 odds from which a pair is abstained from, in thousandths of a bit.
    pub fn abstain_millibits(&self) -> i32 {
        let floor = (f64::from(self.abstain_floor_permille) / 1000.0).clamp(1e-6, 1.0 - 1e-6);
        (((floor / (1.0 - floor)).log2() * 1000.0).round() as i32).min(self.link_millibits())
    }
    pub(crate) fn margin_millibits(&self) -> i32 {
        i32::try_from(self.lead_margin_decibits.saturating_mul(100)).unwrap_or(i32::MAX)
    }
}

/// Why a pair is neither linked nor refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Reason {
    /// Too little evidence either way.
    Uncertain = 0,
    /// As likely twins, or other relatives of one birth date, as one person.
    Twins = 1,
    /// As likely two persons of one name as one person.
    Namesakes = 2,
    /// Another record of the same party fits almost as well, or better.
    Rival = 3,
    /// The link would join two records of a party that holds each person once.
    DuplicateFreeParty = 4,
    /// Other pairs of the two groups speak against joining them.
    Contradicted = 5,
    /// Several links of equal weight exclude one another.
    Tie = 6,
    /// The link would join two records that their owners have told apart.
    Refuted = 7,
    /// Outside the blocks: filters or keys alike, but too many other persons' are as well.
    OutsideUncertain = 8,
    /// Outside the blocks: another record's filter fits almost as well, or better.
    OutsideRival = 9,
    /// Outside the blocks: several records of one party hold the key.
    KeyShared = 10,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 11] = [
        Self::Uncertain,
        Self::Twins,
        Self::Namesakes,
        Self::Rival,
        Self::DuplicateFreeParty,
        Self::Contradicted,
        Self::Tie,
        Self::Refuted,
        Self::OutsideUncertain,
        Self::OutsideRival,
        Self::KeyShared,
    ];
    pub(crate) fn from_code(code: u8) -> Result<Self, LinkError> {
        Self::ALL.get(usize::from(code)).copied().ok_or(LinkError::Packed("an unknown reason"))
    }
}

/// What was decided on a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// To be linked, unless clustering refuses.
    Link,
    /// Left open.
    Abstain(Reason),
    /// Not linked.
    Refuse,
}

/// A pair with its weight and outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// The record with the smaller number.
    pub a: RecordIndex,
    /// The record with the larger number.
    pub b: RecordIndex,
    /// Log2 odds that the two are one person's, in thousandths of a bit.
    pub millibits: i32,
    /// What was decided.
    pub outcome: Outcome,
}

/// Probability of a weight in thousandths of a bit.
pub fn probability(millibits: i32) -> f64 {
    1.0 / (1.0 + (-f64::from(millibits) / 1000.0).exp2())
}

/// Decides on every pair, in the order of `comparisons`. A pair that its owners have refuted is nobody's rival.
pub fn decide(
    records: &Records,
    comparisons: &Comparisons,
    model: &Model,
    settings: &Settings,
    dispositions: &Dispositions,
) -> Vec<Decided> {
    let vectors = Vectors::of(&comparisons.rows);
    let of_vectors = vectors.map(|within, vector| {
        let millibits = model.weight_millibits(within, vector);
        let outcome = if millibits >= settings.link_millibits() {
            Outcome::Link
        } else if millibits >= settings.abstain_millibits() {
            Outcome::Abstain(reason(model, within, vector))
        } else {
            Outcome::Refuse
        };
        (millibits, outcome)
    });
    let of_row = |(row, vector): (&Comparison, &u32)| {
        let (millibits, outcome) = of_vectors.get(*vector as usize).copied().unwrap_or((i32::MIN, Outcome::Refuse));
        Decided { a: row.a, b: row.b, millibits, outcome }
    };
    let mut decided: Vec<Decided> = comparisons.rows.par_iter().zip(vectors.of_rows()).map(of_row).collect();
    let rivals = Rivals::of(records, &decided, dispositions);
    decided.par_iter_mut().filter(|pair| pair.outcome == Outcome::Link).for_each(|pair| {
        if !rivals.leads(records, pair, settings.margin_millibits()) {
            pair.outcome = Outcome::Abstain(Reason::Rival);
        }
    });
    decided
}

fn reason(model: &Model, within: bool, vector: &ComparisonVector) -> Reason {
    let p = model.posterior(within, vector);
    let namesakes = p.namesakes + p.doubles;
    let unrelated = 1.0 - p.matched - p.twins - namesakes;
    if p.twins >= namesakes && p.twins >= unrelated {
        Reason::Twins
    } else if namesakes >= unrelated {
        Reason::Namesakes
    } else {
        Reason::Uncertain
    }
}

/// Weights of every record's pairs towards duplicate-free parties, record by record.
struct Rivals {
    /// By record: where its pairs begin; the end of all at the end.
    starts: Vec<u32>,
    /// Party and weight of each pair, seen from the record.
    towards: Vec<(u32, i32)>,
}

impl Rivals {
    fn of(records: &Records, decided: &[Decided], dispositions: &Dispositions) -> Self {
        if (0..records.parties()).all(|party| !records.duplicate_free(party)) {
            return Self { starts: Vec::new(), towards: Vec::new() };
        }
        let sides = || {
            let rivals = decided.iter().filter(|pair| !dispositions.is_refuted(pair.a, pair.b));
            let both = rivals.flat_map(|pair| [(pair.a, pair.b, pair.millibits), (pair.b, pair.a, pair.millibits)]);
            both.map(|(record, other, millibits)| (record, records.party(other), millibits))
                .filter(|&(_, party, _)| records.duplicate_free(party))
        };
        let mut starts = vec![0u32; records.len() + 1];
        for (record, ..) in sides() {
            if let Some(count) = starts.get_mut(record as usize + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut towards = vec![(0, 0); sum as usize];
        let mut next = starts.clone();
        for (record, party, millibits) in sides() {
            if let Some(at) = next.get_mut(record as usize) {
                if let Some(place) = towards.get_mut(*at as usize) {
                    *place = (party as u32, millibits);
                }
                *at += 1;
            }
        }
        Self { starts, towards }
    }

    /// Whether the pair leads every other of its two records towards the same party by `margin`.
    fn leads(&self, records: &Records, pair: &Decided, margin: i32) -> bool {
        [(pair.a, pair.b), (pair.b, pair.a)].into_iter().all(|(record, other)| {
            let at = record as usize;
            let (Some(&from), Some(&to)) = (self.starts.get(at), self.starts.get(at + 1)) else { return true };
            let party = records.party(other) as u32;
            let all = self.towards.get(from as usize..to as usize).unwrap_or(&[]);
            // The pair itself is among them, once.
            let mut itself = false;
            let rivals = all.iter().filter(|(towards, _)| *towards == party).map(|(_, millibits)| *millibits).filter(|&w| {
                let skip = w == pair.millibits && !itself;
                itself |= skip;
                !skip
            });
            rivals.max().is_none_or(|runner_up| pair.millibits.saturating_sub(runner_up) >= margin.max(1))
        })
    }
}
