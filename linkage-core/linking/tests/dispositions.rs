//! Pairs settled by their owners against every kind of evidence: never together when refuted, always when confirmed.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use linkage_agreement::{FieldKind, Layout};
use linkage_linking::{
    Applied, Clusters, Decided, Dispositions, LinkError, MatchClass, Outcome, PartyInput, Reason, Records, cluster,
};
use proptest::prelude::*;

type Pair = (u32, u32);
/// Clusters, pairs left open, counts of settled pairs.
type Found = (Vec<Vec<u32>>, Vec<(u32, u32, Reason)>, Applied);

/// Clusters `sizes.len()` parties of so many records. A pair of 4 bits and more is a link, one of 0 and more is open.
fn clusters(
    duplicate_free: bool,
    sizes: &[usize],
    pairs: &[(u32, u32, i32)],
    confirmed: &[Pair],
    refuted: &[Pair],
) -> Result<Clusters, LinkError> {
    let layout = Layout::new(&[FieldKind::BirthName, FieldKind::BirthDate], 64, 2, 4);
    let bytes: Vec<Vec<u8>> = sizes.iter().map(|n| vec![0; n * layout.record_len()]).collect();
    let input: Vec<_> = bytes.iter().map(|b| PartyInput::block_scoped(&layout, duplicate_free, vec![b])).collect();
    let records = Records::new(&layout, &input).unwrap();
    let decide = |&(a, b, bits): &(u32, u32, i32)| {
        let outcome = match bits {
            4.. => Outcome::Link,
            0..4 => Outcome::Abstain(Reason::Uncertain),
            _ => Outcome::Refuse,
        };
        Decided { a: a.min(b), b: a.max(b), millibits: bits * 1000, outcome }
    };
    let decided: Vec<Decided> = pairs.iter().map(decide).collect();
    let dispositions = Dispositions::new(confirmed.iter().copied(), refuted.iter().copied())?;
    let out = cluster(&records, &decided, &dispositions)?;
    assert_eq!(Clusters::from_bytes(&out.to_bytes()).unwrap(), out);
    Ok(out)
}

fn found(out: &Clusters) -> Found {
    let members = out.clusters.iter().map(|c| c.members.iter().map(|m| m.record).collect()).collect();
    (members, out.abstained.iter().map(|p| (p.a, p.b, p.reason)).collect(), out.dispositions)
}

/// Three parties of two records: 0 1, 2 3, 4 5.
fn three(duplicate_free: bool, pairs: &[(u32, u32, i32)], confirmed: &[Pair], refuted: &[Pair]) -> Found {
    found(&clusters(duplicate_free, &[2, 2, 2], pairs, confirmed, refuted).unwrap())
}

fn applied(confirmed: u64, refuted: u64, refused: u64) -> Applied {
    Applied { confirmed, refuted, refused }
}

#[test]
fn a_refuted_pair_is_settled_and_not_left_open() {
    assert_eq!(three(true, &[(0, 2, 30)], &[], &[]).0, [vec![0, 2]]);
    assert_eq!(three(true, &[(0, 2, 30)], &[], &[(2, 0)]), (vec![], vec![], applied(0, 1, 0)));
    assert_eq!(three(true, &[(0, 2, 2)], &[], &[]).1, [(0, 2, Reason::Uncertain)]);
    assert_eq!(three(true, &[(0, 2, 2)], &[], &[(0, 2)]), (vec![], vec![], applied(0, 1, 0)));
}

#[test]
fn a_refuted_pair_does_not_meet_again_by_way_of_others() {
    let pairs = [(0, 4, 20), (2, 4, 12), (0, 2, 9)];
    assert_eq!(three(true, &pairs, &[], &[]).0, [vec![0, 2, 4]]);
    let apart = (vec![vec![0, 4]], vec![(2, 4, Reason::Refuted)], applied(0, 1, 0));
    assert_eq!(three(true, &pairs, &[], &[(0, 2)]), apart);
    // Also when the two never met.
    assert_eq!(three(true, &pairs[..2], &[], &[(0, 2)]), apart);
    // Joins of equal weight exclude one another.
    let tie = vec![(0, 4, Reason::Tie), (2, 4, Reason::Tie)];
    assert_eq!(three(true, &[(0, 4, 12), (2, 4, 12)], &[], &[(0, 2)]), (vec![], tie, applied(0, 1, 0)));
}

#[test]
fn a_confirmed_pair_is_joined_whatever_its_weight() {
    for pairs in [&[][..], &[(0, 2, -30)], &[(0, 2, 2)], &[(0, 2, 9)]] {
        let out = clusters(true, &[2, 2, 2], pairs, &[(2, 0)], &[]).unwrap();
        assert_eq!(found(&out), (vec![vec![0, 2]], vec![], applied(1, 0, 0)), "{pairs:?}");
        assert!(out.clusters[0].members.iter().all(|m| m.class == MatchClass::Certain && m.probability == 1.0));
        assert_eq!(out.clusters[0].probability, 1.0);
    }
}

#[test]
fn others_join_a_confirmed_group_by_their_own_weight() {
    let out = clusters(true, &[2, 2, 2], &[(0, 2, -3), (0, 4, 5), (2, 4, 5)], &[(0, 2)], &[]).unwrap();
    assert_eq!(found(&out), (vec![vec![0, 2, 4]], vec![], applied(1, 0, 0)));
    let classes: Vec<_> = out.clusters[0].members.iter().map(|m| (m.record, m.class)).collect();
    assert_eq!(classes, [(0, MatchClass::Certain), (2, MatchClass::Certain), (4, MatchClass::Probable)]);
    assert!(out.clusters[0].probability < 1.0);
    // A lone weak edge does not outweigh the other half, which it never met.
    let weak = three(true, &[(0, 4, 4), (2, 4, -9)], &[(0, 2)], &[]);
    assert_eq!(weak, (vec![vec![0, 2]], vec![(0, 4, Reason::Contradicted)], applied(1, 0, 0)));
}

#[test]
fn owners_know_better_than_the_promise_of_a_list_without_duplicates() {
    // Two records of one duplicate-free party; then a third party's record follows, and no second one of its party.
    let pairs = [(0, 2, 12), (1, 2, 11), (1, 3, 9)];
    let all = three(true, &pairs, &[(0, 1)], &[]);
    assert_eq!(all, (vec![vec![0, 1, 2]], vec![(1, 3, Reason::DuplicateFreeParty)], applied(1, 0, 0)));
    // By way of a confirmed record of another party as well.
    assert_eq!(three(true, &[], &[(0, 2), (1, 2)], &[]).0, [vec![0, 1, 2]]);
}

#[test]
fn confirmations_that_contradict_a_refuted_pair_are_refused_and_weights_decide() {
    let confirmed = [(0, 2), (2, 4), (1, 3)];
    let out = three(true, &[(0, 2, 12), (2, 4, 2)], &confirmed, &[(0, 4)]);
    assert_eq!(out, (vec![vec![0, 2], vec![1, 3]], vec![(2, 4, Reason::Refuted)], applied(1, 1, 2)));
}

#[test]
fn pairs_of_records_that_do_not_exist_are_an_error() {
    for (confirmed, refuted) in [(vec![(0, 6)], vec![]), (vec![], vec![(6, 7)])] {
        let out = clusters(true, &[2, 2, 2], &[], &confirmed, &refuted);
        assert!(matches!(out, Err(LinkError::NoSuchRecord(6 | 7))), "{out:?}");
    }
}

const RECORDS: u32 = 12;

/// Pairs by weight, confirmed and refuted pairs among twelve records, none both confirmed and refuted.
type Case = (Vec<(u32, u32, i32)>, Vec<Pair>, Vec<Pair>);

fn cases() -> impl Strategy<Value = Case> {
    let pair = (0..RECORDS, 0..RECORDS).prop_filter("two records", |(a, b)| a != b).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let weights = proptest::collection::btree_map(pair.clone(), -12..16, 0..40);
    let settled = proptest::collection::btree_map(pair, any::<bool>(), 0..10);
    (weights, settled).prop_map(|(weights, settled)| {
        let of = |wanted| settled.iter().filter(|&(_, &v)| v == wanted).map(|(&pair, _)| pair).collect();
        (weights.into_iter().map(|((a, b), bits)| (a, b, bits)).collect(), of(true), of(false))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Refuted pairs are apart; confirmed ones together, but for those that were refused and counted; a duplicate-free
    /// party has two records in a cluster only where confirmations put them there.
    #[test]
    fn what_owners_say_holds((pairs, confirmed, refuted) in cases(), duplicate_free: bool) {
        let out = clusters(duplicate_free, &[4, 4, 4], &pairs, &confirmed, &refuted).unwrap();
        let of: BTreeMap<u32, usize> =
            (0..).zip(&out.clusters).flat_map(|(n, c)| c.members.iter().map(move |m| (m.record, n))).collect();
        prop_assert_eq!(of.len(), out.clusters.iter().map(|c| c.members.len()).sum::<usize>());
        let together = |&(a, b): &Pair| of.contains_key(&a) && of.get(&a) == of.get(&b);
        prop_assert!(!refuted.iter().any(together));
        let apart = confirmed.iter().filter(|pair| !together(pair)).count() as u64;
        prop_assert!(apart <= out.dispositions.refused);
        prop_assert_eq!(out.dispositions.confirmed + out.dispositions.refused, confirmed.len() as u64);
        if duplicate_free && confirmed.is_empty() {
            for cluster in &out.clusters {
                let parties: BTreeSet<u32> = cluster.members.iter().map(|m| m.record / 4).collect();
                prop_assert_eq!(parties.len(), cluster.members.len());
            }
        }
        prop_assert!(out.abstained.iter().all(|p| !refuted.contains(&(p.a, p.b))));
    }

    /// Records numbered otherwise, within their parties and over them: the same clusters, classes and pairs left open.
    #[test]
    fn order_does_not_matter((pairs, confirmed, refuted) in cases(), duplicate_free: bool, order in Just((0..RECORDS).collect::<Vec<_>>()).prop_shuffle()) {
        // Parties in the order of their first record keep their records: the thirds of `by_party`.
        let mut by_party = order.clone();
        by_party.sort_by_key(|record| order.iter().position(|other| other / 4 == record / 4));
        let new = |record: u32| by_party.iter().position(|r| *r == record).unwrap() as u32;
        let renamed = |pairs: &[Pair]| pairs.iter().map(|&(a, b)| (new(b), new(a))).collect::<Vec<_>>();
        let moved: Vec<_> = pairs.iter().rev().map(|&(a, b, bits)| (new(a), new(b), bits)).collect();
        let one = clusters(duplicate_free, &[4, 4, 4], &pairs, &confirmed, &refuted).unwrap();
        let two = clusters(duplicate_free, &[4, 4, 4], &moved, &renamed(&confirmed), &renamed(&refuted)).unwrap();
        let canonical = |out: &Clusters, name: &dyn Fn(u32) -> u32| {
            let clusters: BTreeSet<Vec<(u32, bool, u64)>> = out
                .clusters
                .iter()
                .map(|c| {
                    let mut members: Vec<_> = c
                        .members
                        .iter()
                        .map(|m| (name(m.record), m.class == MatchClass::Certain, m.probability.to_bits()))
                        .collect();
                    members.sort_unstable();
                    members
                })
                .collect();
            let open: BTreeSet<(BTreeSet<u32>, i32, Reason)> =
                out.abstained.iter().map(|p| ([name(p.a), name(p.b)].into(), p.millibits, p.reason)).collect();
            (clusters, open, out.dispositions)
        };
        prop_assert_eq!(canonical(&one, &|record| record), canonical(&two, &|record| by_party[record as usize]));
    }
}
