//! Hash keys of the annexes, by equality: primary before secondary, by the rules of [`crate::hash_keys`].
//!
//! Two parties at a time: what a chain over a third party contradicts is the clusters' to find. A key that one of two
//! parties holds several times links nobody (which of its records would be chance): its pairs are left open.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use linkage_agreement::AnnexPlaces;

use super::{LEAST_MILLIBITS, MOST_MILLIBITS, OutsideError, OutsideParty, party_pairs, starts};
use crate::RecordIndex;
use crate::decide::{Decided, Outcome, Reason};
use crate::hash_keys::{By, KeyRecord, link_keys};

/// Pairs of one ambiguous key that are listed at most.
const MOST_LISTED: usize = 16;
/// Other persons with the same name, month and year of birth, met by a record that has found itself, before data: one in
/// two hundred.
const PRIOR_OTHERS: f64 = 0.2;
const PRIOR_FOUND: f64 = 40.0;

/// Two records with an equal key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyMeeting {
    /// The records, the weight and what is decided.
    pub decided: Decided,
    /// By which key they met.
    pub by: By,
}

/// The pairs of equal keys with a record of a party that is outside the blocks, of two parties, in the order of the records.
///
/// # Errors
/// Annexes of a wrong length; an agreement without hash keys.
pub fn key_pairs(parties: &[OutsideParty<'_>], places: &AnnexPlaces) -> Result<Vec<KeyMeeting>, OutsideError> {
    let starts = starts(parties)?;
    let place = places.hash_keys.clone().ok_or(OutsideError::Terms)?;
    let keys: Vec<Vec<KeyRecord>> =
        parties.iter().map(|party| keys_of(party, places.len, &place)).collect::<Result<_, OutsideError>>()?;
    let mut meetings = BTreeMap::new();
    for (p, q) in party_pairs(parties).into_iter().filter(|(p, q)| p != q) {
        let (Some(first), Some(second), Some(&start_p), Some(&start_q)) =
            (keys.get(p), keys.get(q), starts.get(p), starts.get(q))
        else {
            continue;
        };
        for (x, y, by, millibits, outcome) in between(first, second)? {
            let (a, b) = (start_p + x as RecordIndex, start_q + y as RecordIndex);
            meetings.entry((a, b)).or_insert(KeyMeeting { decided: Decided { a, b, millibits, outcome }, by });
        }
    }
    Ok(meetings.into_values().collect())
}

fn keys_of(party: &OutsideParty<'_>, len: usize, place: &Range<usize>) -> Result<Vec<KeyRecord>, OutsideError> {
    let key = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).ok().filter(|key| *key != [0; 32]);
    party
        .annexes
        .iter()
        .map(|annex| {
            let wrong = OutsideError::AnnexLength { len: annex.len(), expected: len };
            let both = annex.get(place.clone()).filter(|_| annex.len() == len).and_then(|keys| keys.split_at_checked(32));
            let (primary, secondary) = both.ok_or(wrong)?;
            Ok(KeyRecord { primary: key(primary), secondary: key(secondary) })
        })
        .collect()
}

/// Records of the two lists, by which key they met, weight and outcome.
type Row = (usize, usize, By, i32, Outcome);

fn between(first: &[KeyRecord], second: &[KeyRecord]) -> Result<Vec<Row>, OutsideError> {
    let lists = [first.to_vec(), second.to_vec()];
    let linked = link_keys(&lists).map_err(|_| OutsideError::Terms)?;
    let primary = Holders::of(first, second, |record| record.primary);
    let secondary = Holders::of(first, second, |record| record.secondary);
    let weight = secondary_weight(first, second, &primary, &secondary);
    let mut rows = Vec::new();
    for group in &linked.groups {
        if let [x, y] = group.as_slice() {
            let outcome = |millibits| if millibits > 0 { Outcome::Link } else { Outcome::Abstain(Reason::OutsideUncertain) };
            let millibits = if x.by == By::Primary { MOST_MILLIBITS } else { weight };
            rows.push((x.record, y.record, x.by, millibits, outcome(millibits)));
        }
    }
    // Ambiguous ones: a secondary key counts where neither record met anybody by its primary key.
    let met = |record: Option<&KeyRecord>| record.and_then(|r| r.primary).is_some_and(|key| primary.shared(&key));
    for (holders, by) in [(&primary, By::Primary), (&secondary, By::Secondary)] {
        for (xs, ys) in holders.0.values().filter(|(xs, ys)| !xs.is_empty() && !ys.is_empty() && xs.len() + ys.len() > 2) {
            let rivals = (xs.len().max(ys.len()) - 1) as f64;
            let millibits = ((-rivals.log2() * 1000.0).round() as i32).max(LEAST_MILLIBITS);
            let pairs = xs.iter().flat_map(|x| ys.iter().map(move |y| (*x, *y)));
            let open = pairs.filter(|&(x, y)| by == By::Primary || !met(first.get(x)) && !met(second.get(y)));
            // Many holders of one key are a filler, and nobody's case to look at.
            let open: Vec<_> = open.take(MOST_LISTED + 1).collect();
            if open.len() <= MOST_LISTED {
                rows.extend(open.into_iter().map(|(x, y)| (x, y, by, millibits, Outcome::Abstain(Reason::KeyShared))));
            }
        }
    }
    Ok(rows)
}

/// The records that hold a key, in the first list and in the second.
type Both = (Vec<usize>, Vec<usize>);

/// Who holds each key.
struct Holders(HashMap<[u8; 32], Both>);

impl Holders {
    fn of(first: &[KeyRecord], second: &[KeyRecord], key: impl Fn(&KeyRecord) -> Option<[u8; 32]>) -> Self {
        let mut all: HashMap<[u8; 32], Both> = HashMap::new();
        for (number, key) in first.iter().enumerate().filter_map(|(n, r)| Some((n, key(r)?))) {
            all.entry(key).or_default().0.push(number);
        }
        for (number, key) in second.iter().enumerate().filter_map(|(n, r)| Some((n, key(r)?))) {
            if let Some(holders) = all.get_mut(&key) {
                holders.1.push(number);
            }
        }
        Self(all)
    }
    fn shared(&self, key: &[u8; 32]) -> bool {
        self.0.get(key).is_some_and(|(xs, ys)| !xs.is_empty() && !ys.is_empty())
    }
}

/// Weight of a link by secondary key, in thousandths of a bit: records that found themselves by their primary key tell how
/// often another person of the other list has the same secondary key; as often, records that did not find themselves are
/// expected to be linked to another person.
fn secondary_weight(first: &[KeyRecord], second: &[KeyRecord], primary: &Holders, secondary: &Holders) -> i32 {
    let shared = |record: &KeyRecord| record.primary.is_some_and(|key| primary.shared(&key));
    let side = |records: &[KeyRecord], others: &[KeyRecord], there: fn(&Both) -> &[usize]| {
        let (mut found, mut strangers) = (0.0, 0.0);
        for record in records.iter().filter(|record| shared(record)) {
            found += 1.0;
            let holders = record.secondary.and_then(|key| secondary.0.get(&key)).map_or(&[][..], there);
            strangers +=
                holders.iter().filter(|other| others.get(**other).is_some_and(|o| o.primary != record.primary)).count() as f64;
        }
        let free = records.len() as f64 - found;
        ((strangers + PRIOR_OTHERS) / (found + PRIOR_FOUND), free, free / (records.len() as f64).max(1.0))
    };
    let (rate_a, free_a, share_a) = side(first, second, |holders| &holders.1);
    let (rate_b, free_b, share_b) = side(second, first, |holders| &holders.0);
    // A stranger is linked only when he has not found himself either.
    let wrong = f64::midpoint(rate_a * free_a * share_b, rate_b * free_b * share_a).max(1e-9);
    let unmet = |at: Option<&usize>, records: &[KeyRecord]| at.and_then(|at| records.get(*at)).is_some_and(|r| !shared(r));
    let single = |(xs, ys): &&Both| xs.len() == 1 && ys.len() == 1 && unmet(xs.first(), first) && unmet(ys.first(), second);
    let links = secondary.0.values().filter(single).count() as f64;
    let odds = ((links - wrong) / wrong).max(1e-3);
    ((odds.log2() * 1000.0).round() as i32).clamp(LEAST_MILLIBITS, MOST_MILLIBITS)
}
