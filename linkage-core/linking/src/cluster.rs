//! Clusters across any number of parties, by falling weight.
//!
//! Average linkage: two groups are joined when the mean weight over all pairs between them is above zero, and well above
//! it when a list has records in both, and when half of the pairs that met are links by themselves. A pair that did not
//! meet is no evidence of difference, yet pairs of one person meet nearly always: each counts as `UNMET_MILLIBITS`, so that
//! one weak edge cannot chain two large groups. A join that would put two records of a duplicate-free party together is
//! refused.
//!
//! Pairs that their owners have settled come first ([`Dispositions`]): confirmed pairs are joined before any weight, also
//! against a duplicate-free party, which its owner knows better than its agreement; no join puts a refuted pair together.
//!
//! Records that no link joins, directly or by way of others, have nothing to do with one another: components of the graph are
//! clustered apart, on all cores. The result depends on weights only. Joins of equal weight are taken as one batch: a batch whose joins exclude one
//! another is refused whole, and abstained from.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use rayon::prelude::*;

use crate::decide::{Decided, Outcome, Reason, probability};
use crate::dispositions::{Applied, Dispositions, Verdict};
use crate::pack::{Reader, Writer};
use crate::{LinkError, RecordIndex, Records};

mod parts;

use parts::{Part, PartOf, Parts};

/// What a pair that did not meet counts for, in thousandths of a bit.
const UNMET_MILLIBITS: i64 = -2_000;
/// Mean weight, in millionths of a bit, that a join needs for every list in which the person would then stand twice: one
/// list entry in sixteen is a duplicate at most, while twins and namesakes often stand side by side in one list. More than
/// two lists ask for no more: who comes back to several services under new numbers is in all of them twice.
const TWICE_MICROBITS: i64 = 4_000_000;
const MOST_TWICE: usize = 2;
/// Largest batch of equal joins, in groups, of which every division in two is looked at: 511 of them.
const MOST_DIVIDED: usize = 10;
/// Probability of a join from which its members are certain.
const CERTAIN: f64 = 0.995;

/// How sure a member's place in its cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchClass {
    /// Probability .995 or more, and no pair of the cluster speaks against it.
    Certain,
    /// Less.
    Probable,
}

/// A record in a cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member {
    /// The record.
    pub record: RecordIndex,
    /// How sure its place is.
    pub class: MatchClass,
    /// Probability that it is the same person as the member it fits best.
    pub probability: f64,
}

/// Records of one person: two or more, in rising order.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// The records.
    pub members: Vec<Member>,
    /// Probability that every join of the cluster is right.
    pub probability: f64,
}

/// A pair left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Abstained {
    /// The record with the smaller number.
    pub a: RecordIndex,
    /// The record with the larger number.
    pub b: RecordIndex,
    /// Log2 odds that the two are one person's, in thousandths of a bit.
    pub millibits: i32,
    /// Why.
    pub reason: Reason,
}

/// The clusters in order of their first record, and the pairs left open in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Clusters {
    /// Clusters of two records or more.
    pub clusters: Vec<Cluster>,
    /// Pairs left open; those that their owners have settled are not.
    pub abstained: Vec<Abstained>,
    /// What came of the pairs that their owners have settled.
    pub dispositions: Applied,
}

/// Weights between two groups.
#[derive(Debug, Clone, Copy, Default)]
struct Between {
    sum: i64,
    met: i64,
    /// Pairs that are links by themselves.
    links: i64,
    /// Heaviest pair that is a link by itself.
    link: Option<i32>,
    /// Whether a pair is refuted.
    refuted: bool,
}

impl Between {
    fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.met += other.met;
        self.links += other.links;
        self.link = self.link.max(other.link);
        self.refuted |= other.refuted;
    }
    /// Whether half the pairs that met are links by themselves: one strong pair does not outvote several doubtful ones.
    fn is_borne_out(&self) -> bool {
        2 * self.links >= self.met
    }
    /// Mean weight over all pairs between groups of `pairs` pairs, in millionths of a bit.
    fn mean(&self, pairs: i64) -> i64 {
        (1000 * (self.sum + UNMET_MILLIBITS * (pairs - self.met))).div_euclid(pairs.max(1))
    }
    /// That mean, when it is enough to join two groups, with records of `twice` lists in both, and nothing forbids it.
    fn suffice(&self, pairs: i64, twice: usize) -> Option<i64> {
        let mean = self.mean(pairs);
        (mean > TWICE_MICROBITS * twice.min(MOST_TWICE) as i64 && self.is_borne_out() && !self.refuted).then_some(mean)
    }
}

/// Groups records by the decided pairs and by what their owners have settled.
///
/// Errors: a settled pair names a record that is not in `records`.
pub fn cluster(records: &Records, decided: &[Decided], dispositions: &Dispositions) -> Result<Clusters, LinkError> {
    dispositions.check(records.len())?;
    let (must_link, refused) = dispositions.must_link();
    let parts = Parts::of(records.len(), decided, dispositions, &must_link);
    let made: Vec<Part> = parts.parts.par_iter().map(|part| parts.cluster(part, records, decided, dispositions)).collect();
    let (confirmed, refuted) = (dispositions.confirmed().count() as u64 - refused, dispositions.refuted().count() as u64);
    let mut out = Clusters { dispositions: Applied { confirmed, refuted, refused }, ..Clusters::default() };
    for part in made {
        out.clusters.extend(part.clusters);
        out.abstained.extend(part.abstained);
    }
    // What is not between two records that have a link is left open by its own weight alone.
    let loose = decided.iter().filter(|pair| !parts.is_linked(pair.a) || !parts.is_linked(pair.b));
    for pair in loose.filter(|pair| !dispositions.is_refuted(pair.a, pair.b)) {
        if let Outcome::Abstain(reason) = pair.outcome {
            out.abstained.push(Abstained { a: pair.a, b: pair.b, millibits: pair.millibits, reason });
        }
    }
    out.clusters.par_sort_unstable_by_key(|c| c.members.first().map(|m| m.record));
    out.abstained.par_sort_unstable();
    Ok(out)
}

#[derive(Debug)]
struct Group {
    /// In rising order; empty once merged into another.
    members: Vec<RecordIndex>,
    /// Parties that have a record in it; `taken` are the duplicate-free ones among them.
    listed: BTreeSet<usize>,
    taken: BTreeSet<usize>,
    near: BTreeMap<usize, Between>,
    /// Heaviest link of every join made by weight.
    joins: Vec<i32>,
    /// Raised whenever the group changes: older joins of the queue are void.
    version: u32,
}

impl Group {
    /// Probability that every join is right, each taken by its heaviest link; a confirmed one is. Multiplied in order of weight, so that
    /// the order of joins leaves no trace in the last bit.
    fn probability(&self) -> f64 {
        let mut joins = self.joins.clone();
        joins.sort_unstable();
        joins.into_iter().map(probability).product()
    }
}

struct Groups {
    groups: Vec<Group>,
    of_record: BTreeMap<RecordIndex, usize>,
    /// Groups whose join was refused because equal joins exclude one another, by their records.
    tied: BTreeSet<(RecordIndex, RecordIndex)>,
}

/// A possible join: mean weight, then heaviest link; then the two groups and their versions, which order nothing that
/// shows, since all joins of equal weight and link are taken together.
type Join = (i64, i32, Reverse<(usize, u32, usize, u32)>);

impl Groups {
    fn new(records: &Records, decided: &[Decided], part: &PartOf<'_>) -> Self {
        let links = decided.iter().filter(|p| p.outcome == Outcome::Link).map(|p| (p.a, p.b));
        let linked: BTreeSet<RecordIndex> = links.chain(part.confirmed.iter().copied()).flat_map(|(a, b)| [a, b]).collect();
        // Where duplicates of one list are all there is to find, a second entry is no surprise.
        let alone = records.parties() == 1;
        let mut groups = Vec::with_capacity(linked.len());
        let mut of_record = BTreeMap::new();
        for record in linked {
            let party = records.party(record);
            of_record.insert(record, groups.len());
            groups.push(Group {
                members: vec![record],
                listed: if alone { BTreeSet::new() } else { [party].into() },
                taken: records.duplicate_free(party).then_some(party).into_iter().collect(),
                near: BTreeMap::new(),
                joins: Vec::new(),
                version: 0,
            });
        }
        let met = decided.iter().map(|pair| {
            let link = (pair.outcome == Outcome::Link).then_some(pair.millibits);
            let links = i64::from(pair.outcome == Outcome::Link);
            ((pair.a, pair.b), Between { sum: i64::from(pair.millibits), met: 1, links, link, refuted: false })
        });
        let refuted = part.refuted.iter().map(|&pair| (pair, Between { refuted: true, ..Between::default() }));
        for ((a, b), between) in met.chain(refuted) {
            let (Some(&a), Some(&b)) = (of_record.get(&a), of_record.get(&b)) else { continue };
            for (from, to) in [(a, b), (b, a)] {
                if let Some(group) = groups.get_mut(from) {
                    group.near.entry(to).or_default().add(between);
                }
            }
        }
        Self { groups, of_record, tied: BTreeSet::new() }
    }

    /// The clusters, and the pairs left open between their records and others.
    fn outcome(&self, decided: &[Decided], part: &PartOf<'_>, dispositions: &Dispositions) -> Part {
        let mut out = Part { clusters: Vec::new(), abstained: Vec::new() };
        let mut clustered = BTreeMap::new();
        for group in self.groups.iter().filter(|group| group.members.len() >= 2) {
            let number = out.clusters.len();
            clustered.extend(group.members.iter().map(|&record| (record, number)));
            let members = group.members.iter().map(|&record| Member { record, class: MatchClass::Probable, probability: 0.0 });
            out.clusters.push(Cluster { members: members.collect(), probability: group.probability() });
        }
        let mut contrary = BTreeSet::new();
        for pair in decided {
            let verdict = dispositions.verdict(pair.a, pair.b);
            let (a, b) = (clustered.get(&pair.a), clustered.get(&pair.b));
            if let (Some(&number), true) = (a, a == b) {
                let Some(cluster) = out.clusters.get_mut(number) else { continue };
                for member in cluster.members.iter_mut().filter(|m| m.record == pair.a || m.record == pair.b) {
                    member.probability = member.probability.max(probability(pair.millibits));
                }
                if pair.millibits < 0 && verdict != Some(Verdict::Confirmed) {
                    contrary.insert(number);
                }
                continue;
            }
            let reason = match (verdict, pair.outcome) {
                // Settled by its owners: nothing is left open.
                (Some(Verdict::Refuted), _) => continue,
                // Confirmed and yet refused: its owners have to look at it again.
                (Some(Verdict::Confirmed), _) => Reason::Refuted,
                (None, Outcome::Abstain(reason)) => reason,
                (None, Outcome::Link) => self.why_refused(pair),
                (None, Outcome::Refuse) => continue,
            };
            out.abstained.push(Abstained { a: pair.a, b: pair.b, millibits: pair.millibits, reason });
        }
        let sure: BTreeSet<RecordIndex> = part.must_link.iter().flat_map(|set| set.iter().copied()).collect();
        for (number, cluster) in out.clusters.iter_mut().enumerate() {
            for member in &mut cluster.members {
                let confirmed = sure.contains(&member.record);
                if confirmed {
                    member.probability = 1.0;
                }
                let certain = confirmed || member.probability >= CERTAIN && !contrary.contains(&number);
                member.class = if certain { MatchClass::Certain } else { MatchClass::Probable };
            }
        }
        out
    }

    /// The join of groups `x` and `y`, when one of their pairs is a link, none is refuted and the mean weight is above
    /// zero.
    fn possible(&self, x: usize, y: usize) -> Option<Join> {
        let (gx, gy) = (self.groups.get(x)?, self.groups.get(y)?);
        let between = gx.near.get(&y)?;
        let pairs = (gx.members.len() * gy.members.len()) as i64;
        let mean = between.suffice(pairs, gx.listed.intersection(&gy.listed).count())?;
        let (low, high) = if x < y { ((x, gx.version), (y, gy.version)) } else { ((y, gy.version), (x, gx.version)) };
        Some((mean, between.link?, Reverse((low.0, low.1, high.0, high.1))))
    }

    fn is_current(&self, join: &Join) -> bool {
        let Reverse((x, version_x, y, version_y)) = join.2;
        let current = |n: usize, version| self.groups.get(n).is_some_and(|g| g.version == version && !g.members.is_empty());
        current(x, version_x) && current(y, version_y)
    }

    /// Joins the groups of records that belong together by confirmation, whatever else speaks against it.
    fn join_confirmed(&mut self, records: &BTreeSet<RecordIndex>) {
        let numbers: BTreeSet<usize> = records.iter().filter_map(|record| self.of_record.get(record)).copied().collect();
        if let Some(&into) = numbers.first() {
            for &from in numbers.iter().skip(1) {
                self.merge(into, from, None);
            }
        }
    }

    fn agglomerate(&mut self) {
        let mut queue: BinaryHeap<Join> = BinaryHeap::new();
        for (x, group) in self.groups.iter().enumerate() {
            queue.extend(group.near.range(x + 1..).filter_map(|(&y, _)| self.possible(x, y)));
        }
        while let Some(top) = queue.pop() {
            let mut batch = vec![top];
            while queue.peek().is_some_and(|next| (next.0, next.1) == (top.0, top.1)) {
                batch.extend(queue.pop());
            }
            batch.retain(|join| self.is_current(join));
            for joined in connected(&batch) {
                if let Some(changed) = self.join_all(&joined, top.1) {
                    let near = self.groups.get(changed).into_iter().flat_map(|g| g.near.keys());
                    queue.extend(near.filter_map(|&y| self.possible(changed, y)));
                }
            }
        }
    }

    /// Joins the groups of one connected batch, or none of them. Returns the group that grew.
    fn join_all(&mut self, numbers: &BTreeSet<usize>, link: i32) -> Option<usize> {
        let mut taken = BTreeSet::new();
        let conflict = numbers.iter().filter_map(|&n| self.groups.get(n)).any(|g| g.taken.iter().any(|&p| !taken.insert(p)));
        if conflict || !self.coherent(numbers) {
            if numbers.len() > 2 {
                self.note_tie(numbers);
            }
            return None;
        }
        let (&into, rest) = numbers.iter().next().map(|first| (first, numbers.iter().skip(1)))?;
        for &from in rest {
            self.merge(into, from, Some(link));
        }
        Some(into)
    }

    /// Whether the groups of a batch may stand in one cluster: however they are divided in two, the halves are such that
    /// they would be joined. So equal weights join no chain that unequal ones would not. Of a batch of many groups, which
    /// can be divided in too many ways, every two have to be such.
    fn coherent(&self, numbers: &BTreeSet<usize>) -> bool {
        let numbers: Vec<usize> = numbers.iter().copied().collect();
        if numbers.len() > MOST_DIVIDED {
            return numbers.iter().enumerate().all(|(n, &x)| numbers.iter().skip(n + 1).all(|&y| self.belong(&[x], &[y])));
        }
        // The first group is always on the side of the bits that are not set.
        (1..1usize << numbers.len().saturating_sub(1)).all(|division| {
            let side = |&(n, _): &(usize, usize)| n > 0 && division >> (n - 1) & 1 == 1;
            let (there, here): (Vec<_>, Vec<_>) = numbers.iter().copied().enumerate().partition(side);
            let groups = |half: Vec<(usize, usize)>| half.into_iter().map(|(_, group)| group).collect::<Vec<_>>();
            self.belong(&groups(here), &groups(there))
        })
    }

    /// Whether the mean weight between the groups `xs` and `ys` is enough, and no pair of theirs is refuted.
    fn belong(&self, xs: &[usize], ys: &[usize]) -> bool {
        let of = |numbers: &[usize]| numbers.iter().filter_map(|&n| self.groups.get(n)).collect::<Vec<_>>();
        let (left, right) = (of(xs), of(ys));
        let mut all = Between::default();
        for between in left.iter().flat_map(|group| ys.iter().filter_map(|y| group.near.get(y))) {
            all.add(*between);
        }
        let members = |groups: &[&Group]| groups.iter().map(|g| g.members.len()).sum::<usize>() as i64;
        let lists = |groups: &[&Group]| groups.iter().flat_map(|g| g.listed.iter().copied()).collect::<BTreeSet<usize>>();
        all.suffice(members(&left) * members(&right), lists(&left).intersection(&lists(&right)).count()).is_some()
    }

    /// Takes group `from` into `into`, by a join of heaviest link `link`; none for a confirmed one.
    fn merge(&mut self, into: usize, from: usize, link: Option<i32>) {
        let Some(source) = self.groups.get_mut(from) else { return };
        let members = std::mem::take(&mut source.members);
        let near = std::mem::take(&mut source.near);
        let (listed, taken) = (std::mem::take(&mut source.listed), std::mem::take(&mut source.taken));
        let joins = std::mem::take(&mut source.joins);
        source.version += 1;
        for (&other, &between) in near.iter().filter(|&(&other, _)| other != into) {
            if let Some(group) = self.groups.get_mut(other) {
                group.near.remove(&from);
                group.near.entry(into).or_default().add(between);
            }
        }
        for record in &members {
            self.of_record.insert(*record, into);
        }
        if let Some(group) = self.groups.get_mut(into) {
            group.near.remove(&from);
            for (other, between) in near.into_iter().filter(|&(other, _)| other != into) {
                group.near.entry(other).or_default().add(between);
            }
            group.members.extend(members);
            group.members.sort_unstable();
            group.listed.extend(listed);
            group.taken.extend(taken);
            group.joins.extend(joins);
            group.joins.extend(link);
            group.version += 1;
        }
    }

    fn note_tie(&mut self, numbers: &BTreeSet<usize>) {
        let members: Vec<RecordIndex> =
            numbers.iter().filter_map(|&n| self.groups.get(n)).flat_map(|g| g.members.iter().copied()).collect();
        for (n, &a) in members.iter().enumerate() {
            for &b in members.iter().skip(n + 1) {
                self.tied.insert((a.min(b), a.max(b)));
            }
        }
    }

    fn why_refused(&self, pair: &Decided) -> Reason {
        if self.tied.contains(&(pair.a, pair.b)) {
            return Reason::Tie;
        }
        let (x, y) = (self.of_record.get(&pair.a), self.of_record.get(&pair.b));
        let group = |number: Option<&usize>| number.and_then(|&n| self.groups.get(n));
        match (group(x), group(y)) {
            (Some(x), _) if y.and_then(|y| x.near.get(y)).is_some_and(|between| between.refuted) => Reason::Refuted,
            (Some(x), Some(y)) if !x.taken.is_disjoint(&y.taken) => Reason::DuplicateFreeParty,
            _ => Reason::Contradicted,
        }
    }
}

/// The connected components of a batch of joins, as sets of groups.
fn connected(batch: &[Join]) -> Vec<BTreeSet<usize>> {
    let mut set_of: BTreeMap<usize, usize> = BTreeMap::new();
    let mut sets: Vec<BTreeSet<usize>> = Vec::new();
    for Reverse((x, _, y, _)) in batch.iter().map(|join| join.2) {
        let [of_x, of_y] = [x, y].map(|group| {
            *set_of.entry(group).or_insert_with(|| {
                sets.push([group].into());
                sets.len() - 1
            })
        });
        if of_x != of_y {
            // The smaller set joins the larger one.
            let size = |n: usize| sets.get(n).map_or(0, BTreeSet::len);
            let (into, from) = if size(of_x) < size(of_y) { (of_y, of_x) } else { (of_x, of_y) };
            let moved = sets.get_mut(from).map(std::mem::take).unwrap_or_default();
            set_of.extend(moved.iter().map(|&group| (group, into)));
            if let Some(set) = sets.get_mut(into) {
                set.extend(moved);
            }
        }
    }
    sets.retain(|set| !set.is_empty());
    sets
}

impl Clusters {
    const KIND: u8 = b'K';

    /// By record of `records`: the number of its cluster.
    pub(crate) fn numbers(&self, records: usize) -> Vec<Option<u32>> {
        let mut numbers = vec![None; records];
        for (number, cluster) in (0..).zip(&self.clusters) {
            for member in &cluster.members {
                if let Some(place) = numbers.get_mut(member.record as usize) {
                    *place = Some(number);
                }
            }
        }
        numbers
    }

    /// Packs: kind, version, clusters with members, pairs left open, counts of settled pairs.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new(Self::KIND);
        out.u64(self.clusters.len() as u64);
        for cluster in &self.clusters {
            out.f64(cluster.probability);
            out.u64(cluster.members.len() as u64);
            for member in &cluster.members {
                out.u32(member.record);
                out.u8(u8::from(member.class == MatchClass::Probable));
                out.f64(member.probability);
            }
        }
        out.u64(self.abstained.len() as u64);
        for pair in &self.abstained {
            out.u32(pair.a);
            out.u32(pair.b);
            out.i32(pair.millibits);
            out.u8(pair.reason as u8);
        }
        let applied = self.dispositions;
        for count in [applied.confirmed, applied.refuted, applied.refused] {
            out.u64(count);
        }
        out.finish()
    }
    /// Unpacks.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LinkError> {
        let mut input = Reader::new(Self::KIND, bytes)?;
        let mut out = Self::default();
        for _ in 0..input.count(16)? {
            let probability = input.f64()?;
            let count = input.count(13)?;
            let mut members = Vec::with_capacity(count);
            for _ in 0..count {
                let record = input.u32()?;
                let class = if input.u8()? == 0 { MatchClass::Certain } else { MatchClass::Probable };
                members.push(Member { record, class, probability: input.f64()? });
            }
            out.clusters.push(Cluster { members, probability });
        }
        for _ in 0..input.count(13)? {
            let (a, b, millibits) = (input.u32()?, input.u32()?, input.i32()?);
            out.abstained.push(Abstained { a, b, millibits, reason: Reason::from_code(input.u8()?)? });
        }
        out.dispositions = Applied { confirmed: input.u64()?, refuted: input.u64()?, refused: input.u64()? };
        input.finish()?;
        Ok(out)
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
