//! Linking on hash keys received (profile `hash-keys`): primary before secondary, nobody linked by chance. No names here.
//!
//! Rules, for every two parties:
//! 1. **Primary.** Records with the same primary key are linked when each party holds that key once.
//! 2. **Secondary.** A record that met nobody at the other party by its primary key is tried by the secondary one, against
//!    records there that met nobody either; again each party must hold that key once *among all its records*, so that a
//!    twin that found its own link does not make the other twin's key unique.
//! 3. **Ambiguous.** A key that one party holds several times links nobody of that party: which of its records would be a
//!    matter of chance. Counted where two parties or more hold the key.
//! 4. **Contradiction.** Where the links chain two records of one party together, all the secondary links of that chain are
//!    left out, not the last one that came: the result depends on no order. Primary links never contradict.
//!
//! Keys are compared for equality only: SHA-256 and HMAC-SHA-256 keys link alike, but never with each other.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

/// The most parties: a record notes the parties that it met in the bits of one word.
pub const MAX_PARTIES: usize = 64;

/// The keys of one record; none where it could not be made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyRecord {
    /// Of name, given name and date of birth.
    pub primary: Option<[u8; 32]>,
    /// Of name, month and year of birth.
    pub secondary: Option<[u8; 32]>,
}

/// By which key a record was linked, at best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// A primary key.
    Primary,
    /// Secondary keys only.
    Secondary,
}

/// A record that is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyMember {
    /// Its party's number in the input.
    pub party: usize,
    /// Its number among the party's records.
    pub record: usize,
    /// By which key.
    pub by: By,
}

/// What linking did, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct KeyCounts {
    /// Pairs linked by the primary key.
    pub primary_pairs: u64,
    /// Pairs linked by the secondary key.
    pub secondary_pairs: u64,
    /// Primary keys that two parties or more hold, one of them several times.
    pub ambiguous_primary: u64,
    /// Secondary keys that would have linked, but are held several times by a party.
    pub ambiguous_secondary: u64,
    /// Pairs by secondary key that were left out because their chain holds two records of one party.
    pub contradictory_pairs: u64,
}

/// Groups of linked records, sorted, each of two or more and of at most one record of a party.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyLinks {
    /// The groups.
    pub groups: Vec<Vec<KeyMember>>,
    /// In numbers.
    pub counts: KeyCounts,
}

/// Too many parties for one linkage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} parties: hash keys are linked among {MAX_PARTIES} at most")]
pub struct TooManyParties(pub usize);

/// Links the records of `parties`, by the rules above.
///
/// # Errors
/// [`TooManyParties`].
pub fn link_keys(parties: &[Vec<KeyRecord>]) -> Result<KeyLinks, TooManyParties> {
    if parties.len() > MAX_PARTIES {
        return Err(TooManyParties(parties.len()));
    }
    let mut linking = Linking::new(parties);
    linking.primary(holders(parties, |record| record.primary));
    let pairs = linking.secondary(holders(parties, |record| record.secondary));
    Ok(linking.finish(&pairs))
}

/// A record: party and number.
type At = (usize, usize);
/// Who holds a key: by party, the numbers of its records.
type Holders = BTreeMap<usize, Vec<usize>>;

/// The holders of every key that two parties or more hold, in the order of the first holder.
fn holders(parties: &[Vec<KeyRecord>], key: impl Fn(&KeyRecord) -> Option<[u8; 32]>) -> Vec<Holders> {
    let mut by_key: HashMap<[u8; 32], Holders> = HashMap::new();
    for (party, records) in parties.iter().enumerate() {
        for (number, record) in records.iter().enumerate() {
            if let Some(key) = key(record) {
                by_key.entry(key).or_default().entry(party).or_default().push(number);
            }
        }
    }
    let mut shared: Vec<Holders> = by_key.into_values().filter(|holders| holders.len() > 1).collect();
    shared.sort_unstable();
    shared
}

/// The parties that hold a key once, with their record.
fn single(holders: &Holders) -> Vec<At> {
    holders
        .iter()
        .filter_map(|(party, records)| if let [one] = records.as_slice() { Some((*party, *one)) } else { None })
        .collect()
}

struct Linking {
    /// First record of each party in one numbering of all.
    starts: Vec<usize>,
    /// Bit p: met somebody at party p by the primary key.
    met: Vec<u64>,
    /// Groups by primary key.
    primary: Groups,
    counts: KeyCounts,
}

impl Linking {
    fn new(parties: &[Vec<KeyRecord>]) -> Self {
        let mut total = 0;
        let starts = parties
            .iter()
            .map(|records| {
                let start = total;
                total += records.len();
                start
            })
            .collect();
        Self { starts, met: vec![0; total], primary: Groups::new(total), counts: KeyCounts::default() }
    }

    fn number(&self, (party, record): At) -> usize {
        self.starts.get(party).copied().unwrap_or(0) + record
    }

    fn primary(&mut self, shared: Vec<Holders>) {
        for holders in shared {
            let parties: u64 = holders.keys().map(|party| 1 << party).sum();
            for (party, records) in &holders {
                for record in records {
                    let number = self.number((*party, *record));
                    if let Some(met) = self.met.get_mut(number) {
                        *met |= parties & !(1 << party);
                    }
                }
            }
            let single = single(&holders);
            self.counts.ambiguous_primary += u64::from(single.len() < holders.len());
            if let Some((first, rest)) = single.split_first() {
                for other in rest {
                    self.primary.join(self.number(*first), self.number(*other));
                }
            }
            self.counts.primary_pairs += (single.len() * single.len().saturating_sub(1) / 2) as u64;
        }
    }

    /// Pairs by secondary key, contradictory ones among them.
    fn secondary(&mut self, shared: Vec<Holders>) -> Vec<(usize, usize)> {
        let mut pairs = Vec::new();
        for holders in shared {
            let unmet = |at: At, other: usize| self.met.get(self.number(at)).is_some_and(|met| met & (1 << other) == 0);
            let single = single(&holders);
            for (i, a) in single.iter().enumerate() {
                for b in single.iter().skip(i + 1) {
                    if unmet(*a, b.0) && unmet(*b, a.0) {
                        pairs.push((self.number(*a), self.number(*b)));
                    }
                }
            }
            // Ambiguous only where somebody was still looking for a link at the party that holds the key several times.
            let many = |party: &usize| holders.get(party).is_some_and(|records| records.len() > 1);
            let asked = holders.iter().any(|(party, records)| {
                holders.keys().filter(|other| *other != party && (many(other) || many(party))).any(|other| {
                    records.iter().any(|record| unmet((*party, *record), *other))
                        && holders.get(other).into_iter().flatten().any(|record| unmet((*other, *record), *party))
                })
            });
            self.counts.ambiguous_secondary += u64::from(asked);
        }
        pairs
    }

    fn finish(mut self, pairs: &[(usize, usize)]) -> KeyLinks {
        let party_of: Vec<usize> = {
            let mut party = 0;
            (0..self.met.len())
                .map(|number| {
                    while self.starts.get(party + 1).is_some_and(|next| *next <= number) {
                        party += 1;
                    }
                    party
                })
                .collect()
        };
        let mut all = self.primary.clone();
        for (a, b) in pairs {
            all.join(*a, *b);
        }
        let mut parties_of_group: HashMap<usize, (u64, bool)> = HashMap::new();
        for (number, party) in party_of.iter().enumerate() {
            let (seen, twice) = parties_of_group.entry(all.root(number)).or_default();
            *twice |= *seen & (1 << party) != 0;
            *seen |= 1 << party;
        }
        let by_primary: Vec<bool> = self.primary.shared();
        let mut groups = self.primary;
        for (a, b) in pairs {
            if parties_of_group.get(&all.root(*a)).is_some_and(|(_, twice)| *twice) {
                self.counts.contradictory_pairs += 1;
            } else {
                self.counts.secondary_pairs += 1;
                groups.join(*a, *b);
            }
        }
        let mut members: BTreeMap<usize, Vec<KeyMember>> = BTreeMap::new();
        for (number, party) in party_of.iter().enumerate() {
            let record = number - self.starts.get(*party).copied().unwrap_or(0);
            let by = if by_primary.get(number) == Some(&true) { By::Primary } else { By::Secondary };
            members.entry(groups.root(number)).or_default().push(KeyMember { party: *party, record, by });
        }
        let groups = members.into_values().filter(|group| group.len() > 1).collect();
        KeyLinks { groups, counts: self.counts }
    }
}

/// Union-find; the root is the smallest member.
#[derive(Clone)]
struct Groups {
    parent: Vec<usize>,
}

impl Groups {
    fn new(count: usize) -> Self {
        Self { parent: (0..count).collect() }
    }

    fn root(&mut self, mut at: usize) -> usize {
        while let Some(&parent) = self.parent.get(at).filter(|parent| **parent != at) {
            let above = self.parent.get(parent).copied().unwrap_or(parent);
            if let Some(place) = self.parent.get_mut(at) {
                *place = above;
            }
            at = above;
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if let Some(place) = self.parent.get_mut(a.max(b)) {
            *place = a.min(b);
        }
    }

    /// Whether each member has another one in its group.
    fn shared(&mut self) -> Vec<bool> {
        let roots: Vec<usize> = (0..self.parent.len()).map(|at| self.root(at)).collect();
        let mut sizes = vec![0u32; roots.len()];
        for root in &roots {
            if let Some(size) = sizes.get_mut(*root) {
                *size += 1;
            }
        }
        roots.iter().map(|root| sizes.get(*root).is_some_and(|size| *size > 1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(primary: u8, secondary: u8) -> KeyRecord {
        let key = |n: u8| (n > 0).then_some([n; 32]);
        KeyRecord { primary: key(primary), secondary: key(secondary) }
    }
    fn groups(parties: &[Vec<KeyRecord>]) -> Vec<Vec<(usize, usize)>> {
        let found = link_keys(parties).unwrap();
        found.groups.iter().map(|group| group.iter().map(|m| (m.party, m.record)).collect()).collect()
    }

    #[test]
    fn primary_before_secondary() {
        let parties = [vec![record(1, 9), record(2, 8)], vec![record(1, 9), record(3, 8)]];
        let found = link_keys(&parties).unwrap();
        let member = |party, record, by| KeyMember { party, record, by };
        assert_eq!(
            found.groups,
            [
                vec![member(0, 0, By::Primary), member(1, 0, By::Primary)],
                vec![member(0, 1, By::Secondary), member(1, 1, By::Secondary)]
            ]
        );
        assert_eq!(found.counts, KeyCounts { primary_pairs: 1, secondary_pairs: 1, ..KeyCounts::default() });
    }

    #[test]
    fn who_met_somebody_is_not_tried_again_there_but_elsewhere() {
        // At party 1 the record meets by primary; the other record there that shares its secondary key finds nobody.
        assert_eq!(groups(&[vec![record(1, 9)], vec![record(1, 7), record(2, 9)]]), [[(0, 0), (1, 0)]]);
        // At party 2 it met nobody, and is tried by the secondary key.
        assert_eq!(groups(&[vec![record(1, 9)], vec![record(1, 7)], vec![record(3, 9)]]), [[(0, 0), (1, 0), (2, 0)]]);
    }

    #[test]
    fn a_key_held_twice_links_nobody_of_that_party() {
        let parties = [vec![record(1, 9), record(1, 9)], vec![record(1, 9)], vec![record(1, 9)]];
        let found = link_keys(&parties).unwrap();
        assert_eq!(found.groups.len(), 1);
        assert!(found.groups[0].iter().all(|m| m.party > 0));
        assert_eq!(found.counts, KeyCounts { primary_pairs: 1, ambiguous_primary: 1, ..KeyCounts::default() });
        // A twin whose brother found his own link does not get the brother's secondary key for herself.
        let twins = [vec![record(1, 9), record(2, 9)], vec![record(1, 9)], vec![record(3, 9)]];
        let found = link_keys(&twins).unwrap();
        assert_eq!(found.groups.len(), 1);
        assert_eq!(found.counts.ambiguous_secondary, 1);
    }

    #[test]
    fn a_chain_that_contradicts_itself_keeps_its_primary_links_only() {
        // 0.0 = 1.0 by primary; 1.0 - 2.0 by secondary; 2.0 = 0.1 by primary would make 0.0 and 0.1 one person.
        let parties = [vec![record(1, 8), record(2, 7)], vec![record(1, 9)], vec![record(2, 9)]];
        let found = link_keys(&parties).unwrap();
        assert_eq!(groups(&parties), [[(0, 0), (1, 0)], [(0, 1), (2, 0)]]);
        assert_eq!(found.counts, KeyCounts { primary_pairs: 2, contradictory_pairs: 1, ..KeyCounts::default() });
    }

    #[test]
    fn the_order_of_records_and_parties_changes_nothing() {
        let parties = [vec![record(1, 8), record(2, 7), record(5, 5)], vec![record(1, 9), record(6, 5)], vec![record(2, 9)]];
        let turned: Vec<Vec<KeyRecord>> = parties.iter().rev().map(|p| p.iter().rev().copied().collect()).collect();
        let mut back: Vec<Vec<(usize, usize)>> = groups(&turned)
            .into_iter()
            .map(|group| {
                let mut group: Vec<_> = group.into_iter().map(|(p, r)| (2 - p, parties[2 - p].len() - 1 - r)).collect();
                group.sort_unstable();
                group
            })
            .collect();
        back.sort_unstable();
        assert_eq!(back, groups(&parties));
    }

    #[test]
    fn no_key_and_too_many_parties() {
        assert_eq!(groups(&[vec![record(0, 0)], vec![record(0, 0)]]), Vec::<Vec<(usize, usize)>>::new());
        assert_eq!(link_keys(&vec![Vec::new(); 65]), Err(TooManyParties(65)));
    }
}
