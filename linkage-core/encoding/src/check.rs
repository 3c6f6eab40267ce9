//! Whether a pass set is fine enough for an agreement's size, measured on one partner's own records.
//!
//! Coarse passes let the broker compare, and so re-identify, far more than a linkage needs: with them 20 known pairs
//! exposed 25 % of all persons at 300,000 records, though they looked perfect at 2,000 (docs/threat-model.md). Judged are:
//! the collision entropy of each pass (Rényi, order 2: -log2 of the chance that two records of different persons share
//! a block), which must be at least log2(N) + 2 bits, and at least 22 where nothing gates the keys; and the expected
//! meetings of a record with records of others, at most 1 and preferably 0.3. What cannot be measured because a list is
//! small is taken from the public name tables. The report holds counts only and may leave the node.

use std::collections::{HashMap, HashSet};

use linkage_agreement::FieldKind;
use serde::Serialize;

use crate::identity::Identity;
use crate::keys::{BlockKey, KeyMaker};
use crate::passes::PassSet;
use crate::phonetic::sound;

/// Least collision entropy of a pass that nothing gates, in bits.
pub const LEAST_UNGATED_BITS: f64 = 22.0;
/// Bits of collision entropy beyond log2 of the records.
pub const LEAST_MARGIN_BITS: f64 = 2.0;
/// Most expected meetings of a record with records of other persons, all passes together.
pub const MOST_MEETINGS: f64 = 1.0;
/// The meetings that a set should stay below.
pub const TARGET_MEETINGS: f64 = 0.3;
/// Fewer colliding pairs than this are no measurement.
const FEW_PAIRS: f64 = 10.0;
/// Duplicates in a list that were not told from other persons, per record.
const HIDDEN_DUPLICATES: f64 = 0.005;
/// Pairs of larger blocks are counted, not looked at.
const LARGEST_COMPARED_BLOCK: usize = 100;

/// The figures of one pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PassFigures {
    /// The pass.
    pub pass: String,
    /// Keys that a record has, on average.
    pub keys_per_record: f64,
    /// Pairs of records of different persons that share a block, in the measured list.
    pub colliding_pairs: u64,
    /// Collision entropy in bits; from the name tables when `measured` is false.
    pub collision_entropy_bits: f64,
    /// Least collision entropy allowed.
    pub least_bits: f64,
    /// Whether the list holds enough colliding pairs to measure the entropy.
    pub measured: bool,
    /// Expected meetings of a record with records of others, at the agreement's size.
    pub meetings_per_record: f64,
    /// Records in the largest block.
    pub largest_block: usize,
    /// Blocks above the cap, which a run drops.
    pub blocks_over_cap: usize,
    /// Whether the pass is fine enough.
    pub accepted: bool,
}

/// The figures of a pass set and the verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PassCheck {
    /// The pass set.
    pub pass_set: String,
    /// Records of all parties together that the agreement expects.
    pub expected_records: u64,
    /// Records of the list that was measured.
    pub measured_records: usize,
    /// Keys that a record has, on average.
    pub keys_per_record: f64,
    /// Records without any key: they can never be linked.
    pub records_without_key: usize,
    /// Expected meetings of a record with records of others at the agreement's size, each counted once.
    pub meetings_per_record: f64,
    /// Figures by pass.
    pub passes: Vec<PassFigures>,
    /// Why the set is refused, with the figures, in French; empty when it is accepted.
    pub faults: Vec<String>,
    /// What should be better, in French.
    pub warnings: Vec<String>,
    /// The verdict.
    pub accepted: bool,
}

/// Measures a pass set on one party's identities for an agreement of `expected_records`, `max` tokens a record and
/// blocks of at most `block_cap`.
pub fn check_passes(identities: &[Identity], set: &PassSet, expected_records: u64, max: usize, block_cap: usize) -> PassCheck {
    let n = identities.len();
    let mut blocks: Vec<HashMap<BlockKey, Vec<usize>>> = vec![HashMap::new(); set.pass.len()];
    let mut predicted = vec![0.0f64; set.pass.len()];
    let (mut keys, mut without) = (0, 0);
    let mut maker = KeyMaker::new(set, expected_records, max);
    for (index, identity) in identities.iter().enumerate() {
        let scored = maker.scored(identity);
        keys += scored.len();
        without += usize::from(scored.is_empty());
        for key in scored {
            if let (Some(blocks), Some(rate)) = (blocks.get_mut(key.pass), predicted.get_mut(key.pass)) {
                *rate += f64::from(-key.bits).exp2() / n as f64;
                blocks.entry(key.key).or_default().push(index);
            }
        }
    }
    let persons: Vec<Person> = identities.iter().map(Person::new).collect();
    let pairs = (n as f64 * (n as f64 - 1.0) / 2.0).max(1.0);
    let size = expected_records.max(2) as f64;
    let mut met: HashSet<(usize, usize)> = HashSet::new();
    let mut predicted_meetings = 0.0;
    let mut passes = Vec::with_capacity(set.pass.len());
    for ((pass, blocks), predicted) in set.pass.iter().zip(&blocks).zip(predicted) {
        let mut colliding = 0u64;
        for members in blocks.values().filter(|members| members.len() > 1) {
            if members.len() > LARGEST_COMPARED_BLOCK {
                colliding += (members.len() * (members.len() - 1) / 2) as u64;
                continue;
            }
            for (at, &a) in members.iter().enumerate() {
                for &b in members.iter().skip(at + 1) {
                    let same = matches!((persons.get(a), persons.get(b)), (Some(a), Some(b)) if a.is_likely(b));
                    if !same {
                        colliding += 1;
                        if members.len() <= block_cap {
                            met.insert((a, b));
                        }
                    }
                }
            }
        }
        let seen = Seen::new(colliding, n, pairs);
        let (measured, rate) = (seen.is_enough(), if seen.is_enough() { seen.rate() } else { predicted });
        // A pass without keys collides never; one collision in 2^64 says as much in a number.
        let entropy = -rate.max((-64.0f64).exp2()).log2();
        let least = size.log2() + LEAST_MARGIN_BITS;
        let least = if pass.gated { least } else { least.max(LEAST_UNGATED_BITS) };
        predicted_meetings += rate * (size - 1.0);
        passes.push(PassFigures {
            pass: pass.id.clone(),
            keys_per_record: blocks.values().map(Vec::len).sum::<usize>() as f64 / n.max(1) as f64,
            colliding_pairs: colliding,
            collision_entropy_bits: entropy,
            least_bits: least,
            measured,
            meetings_per_record: rate * (size - 1.0),
            largest_block: blocks.values().map(Vec::len).max().unwrap_or(0),
            blocks_over_cap: blocks.values().filter(|members| members.len() > block_cap).count(),
            accepted: if measured { seen.least_rate() } else { rate }.log2() <= -least,
        });
    }
    // Pairs that met in several passes count once where there are enough of them; else passes add up.
    let seen = Seen::new(met.len() as u64, n, pairs);
    let (meetings, surely) = if seen.is_enough() {
        (seen.rate() * (size - 1.0), seen.least_rate() * (size - 1.0))
    } else {
        (predicted_meetings, predicted_meetings)
    };
    let (faults, warnings) = verdict(&passes, meetings, surely, n, without);
    PassCheck {
        pass_set: set.id.clone(),
        expected_records,
        measured_records: n,
        keys_per_record: keys as f64 / n.max(1) as f64,
        records_without_key: without,
        meetings_per_record: meetings,
        passes,
        accepted: faults.is_empty(),
        faults,
        warnings,
    }
}

/// Pairs seen to collide in a list, and what they say about any two records.
struct Seen {
    /// Without the duplicates that such a list is expected to hide.
    pairs: f64,
    hidden: f64,
    of: f64,
}

impl Seen {
    fn new(count: u64, records: usize, of: f64) -> Self {
        let hidden = HIDDEN_DUPLICATES * records as f64;
        Self { pairs: (count as f64 - hidden).max(0.0), hidden, of }
    }
    /// Whether they are a measurement: clearly more than chance and hidden duplicates make.
    fn is_enough(&self) -> bool {
        self.pairs >= FEW_PAIRS.max(self.hidden)
    }
    fn rate(&self) -> f64 {
        self.pairs / self.of
    }
    /// The rate that is exceeded with near certainty, two standard deviations below: a small list of families must not
    /// refuse a set for a dozen chance pairs, and a coarse set has thousands.
    fn least_rate(&self) -> f64 {
        (self.pairs - 2.0 * (self.pairs + self.hidden).sqrt()).max(0.0) / self.of
    }
}

fn verdict(passes: &[PassFigures], meetings: f64, surely: f64, records: usize, without: usize) -> (Vec<String>, Vec<String>) {
    let mut faults = Vec::new();
    let mut warnings = Vec::new();
    if records < 2 {
        faults.push("moins de deux enregistrements : mesurer le jeu de passes sur un fichier réel".to_owned());
    }
    for p in passes.iter().filter(|p| !p.accepted) {
        faults.push(format!(
            "passe « {} » trop grossière : entropie de collision {:.1} bits, il en faut {:.1} ({:.2} rencontres attendues par enregistrement, plus grand bloc {})",
            p.pass, p.collision_entropy_bits, p.least_bits, p.meetings_per_record, p.largest_block
        ));
    }
    if surely > MOST_MEETINGS {
        faults.push(format!(
            "{meetings:.2} rencontres attendues par enregistrement avec d'autres personnes, {MOST_MEETINGS:.0} au plus : augmenter margin_bits ou retirer des passes"
        ));
    } else if meetings > TARGET_MEETINGS {
        warnings.push(format!(
            "{meetings:.2} rencontres attendues par enregistrement avec d'autres personnes ; viser {TARGET_MEETINGS}"
        ));
    }
    if without > 0 {
        warnings.push(format!(
            "{without} enregistrements sans aucune clé de bloc : ils ne seront pas rapprochés ; compléter noms et dates"
        ));
    }
    (faults, warnings)
}

/// What tells two records of one person from two persons, for duplicates inside a party's list.
struct Person {
    sounds: Vec<String>,
    date: Option<(u16, Option<u8>, Option<u8>)>,
}

impl Person {
    fn new(identity: &Identity) -> Self {
        let kinds = [FieldKind::BirthName, FieldKind::UsageName, FieldKind::GivenNames];
        let sounds = kinds.into_iter().flat_map(|kind| identity.words(kind)).map(sound).collect();
        Self { sounds, date: identity.birth_date().map(|d| (d.year, d.month, d.day)) }
    }

    /// Two names alike, and a date that agrees in two components or is unknown on one side.
    fn is_likely(&self, other: &Self) -> bool {
        let names = self.sounds.iter().filter(|s| other.sounds.contains(s)).count();
        let date = match (self.date, other.date) {
            (Some((y, m, d)), Some((oy, om, od))) => usize::from(y == oy) + usize::from(m == om) + usize::from(d == od) >= 2,
            _ => true,
        };
        names >= 2 && date || names >= 1 && self.date.is_some() && self.date == other.date
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::date;
    use crate::identity::FieldValue;
    use crate::tables::names;
    use crate::text::NameKind;

    /// Coarse on purpose: an initial and a year.
    const COARSE: &str = "id = 'coarse-demo'\nmargin_bits = 0.0\nname_cap_bits = 13.0\nrank_weight = 6.0\n
        [[pass]]\nid = 'initial+y'\nnames = ['initial']\ndate = 'year'\ngated = false\n
        [[pass]]\nid = 's2'\nnames = ['sound', 'sound']";

    /// People with names as frequent as the tables say, surnames and given names independent.
    fn people(count: u64) -> Vec<Identity> {
        let mut state = 7u64;
        let mut draw = |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % most
        };
        let sorted = |kind| {
            let mut shares: Vec<(&str, f32)> = names().shares(kind).filter(|(_, share)| *share > 0.0).collect();
            shares.sort_unstable_by_key(|(word, _)| *word);
            let mut sum = 0.0;
            shares
                .iter()
                .map(|(word, share)| {
                    sum += share;
                    (*word, sum)
                })
                .collect::<Vec<_>>()
        };
        let (surnames, given) = (sorted(NameKind::Surname), sorted(NameKind::Given));
        let pick = |list: &[(&str, f32)], at: u64| {
            let at = at as f32 / 1e6 * list[list.len() - 1].1;
            FieldValue::Name(vec![list[list.partition_point(|(_, sum)| *sum < at).min(list.len() - 1)].0.to_owned()])
        };
        (0..count)
            .map(|_| {
                let birth = format!("{}-{:02}-{:02}", 1940 + draw(70), 1 + draw(12), 2 + draw(27));
                Identity::from_values(vec![
                    (FieldKind::BirthName, pick(&surnames, draw(1_000_000))),
                    (FieldKind::GivenNames, pick(&given, draw(1_000_000))),
                    (FieldKind::BirthDate, FieldValue::Date(date::parse(&birth, None).unwrap())),
                ])
            })
            .collect()
    }

    #[test]
    fn a_coarse_set_is_refused_with_figures() {
        let set = PassSet::from_toml(COARSE).unwrap();
        let report = check_passes(&people(2_000), &set, 300_000, 20, 12);
        assert!(!report.accepted);
        let pass = &report.passes[0];
        assert!(pass.measured && !pass.accepted && pass.collision_entropy_bits < 14.0 && pass.meetings_per_record > 100.0);
        assert!(report.faults.iter().any(|f| f.contains("initial+y") && f.contains("22.0")));
    }

    #[test]
    fn the_embedded_set_is_accepted() {
        let set = PassSet::named("fr-1").unwrap();
        let report = check_passes(&people(2_000), &set, 15_000, 20, 12);
        assert!(report.accepted, "{:?}", report.faults);
        assert_eq!(report.records_without_key, 0);
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.contains("\"collision_entropy_bits\"") && !json.contains("MARIE"));
    }

    #[test]
    fn an_empty_list_proves_nothing() {
        assert!(!check_passes(&[], &PassSet::named("fr-1").unwrap(), 15_000, 20, 12).accepted);
    }
}
