//! Clusters of a few records, by weights given.

use linkage_agreement::{FieldKind, Layout};

use super::*;
use crate::PartyInput;

type Open = (u32, u32, Reason);

/// Clusters and abstained pairs of `parties` with two records each, given pairs and their bits. Pairs of 4 bits and
/// more are links.
fn clusters(duplicate_free: bool, parties: usize, pairs: &[(u32, u32, i32)]) -> (Vec<Vec<u32>>, Vec<Open>) {
    let layout = Layout::new(&[FieldKind::BirthName, FieldKind::BirthDate], 64, 2, 4);
    let bytes = vec![0; 2 * layout.record_len()];
    let input: Vec<_> = (0..parties).map(|_| PartyInput::block_scoped(&layout, duplicate_free, vec![&bytes[..]])).collect();
    let records = Records::new(&layout, &input).unwrap();
    let decided: Vec<Decided> = pairs
        .iter()
        .map(|&(a, b, bits)| {
            let outcome = if bits >= 4 { Outcome::Link } else { Outcome::Refuse };
            Decided { a, b, millibits: bits * 1000, outcome }
        })
        .collect();
    let out = cluster(&records, &decided, &Dispositions::default()).unwrap();
    assert_eq!(Clusters::from_bytes(&out.to_bytes()).unwrap(), out);
    let packed = out.to_bytes();
    assert_eq!(Clusters::from_bytes(&packed[..packed.len() - 1]), Err(LinkError::Packed("truncated")));
    let members = |c: &Cluster| c.members.iter().map(|m| m.record).collect();
    (out.clusters.iter().map(members).collect(), out.abstained.iter().map(|p| (p.a, p.b, p.reason)).collect())
}

#[test]
fn joins_a_person_across_parties() {
    let (groups, open) = clusters(true, 3, &[(0, 2, 10), (2, 4, 9), (0, 4, 8), (1, 3, 6)]);
    assert_eq!(groups, [vec![0, 2, 4], vec![1, 3]]);
    assert_eq!(open, []);
}

#[test]
fn refuses_two_records_of_a_duplicate_free_party() {
    let pairs = [(0, 2, 12), (1, 2, 9)];
    assert_eq!(clusters(true, 2, &pairs), (vec![vec![0, 2]], vec![(1, 2, Reason::DuplicateFreeParty)]));
    assert_eq!(clusters(false, 2, &[(0, 2, 12), (1, 2, 9), (0, 1, 7)]).0, [vec![0, 1, 2]]);
}

#[test]
fn cuts_a_chain_through_one_weak_edge() {
    // Two groups of three, joined by one pair only: the eight pairs that did not meet outweigh it.
    let strong = [(0, 2, 15), (0, 4, 15), (2, 4, 15), (1, 3, 15), (1, 5, 15), (3, 5, 15)];
    let chain: Vec<_> = strong.into_iter().chain([(0, 3, 5)]).collect();
    assert_eq!(clusters(false, 3, &chain), (vec![vec![0, 2, 4], vec![1, 3, 5]], vec![(0, 3, Reason::Contradicted)]));
    // One strong pair between two records of a person each is enough, though the others did not meet: of four parties.
    let strong = [(0, 2, 15), (4, 6, 15), (0, 4, 14)];
    assert_eq!(clusters(false, 4, &strong).0, [vec![0, 2, 4, 6]]);
    // When the person would stand twice in two lists, one pair is not enough, and all of them are.
    let beside = [(0, 2, 15), (1, 3, 15), (0, 1, 14)];
    assert_eq!(clusters(false, 2, &beside).0, [vec![0, 2], vec![1, 3]]);
    let all: Vec<_> = beside.into_iter().chain([(0, 3, 14), (1, 2, 14), (2, 3, 14)]).collect();
    assert_eq!(clusters(false, 2, &all).0, [vec![0, 1, 2, 3]]);
}

#[test]
fn heeds_contrary_evidence() {
    let pairs = [(0, 2, 12), (2, 4, 5), (0, 4, -20)];
    assert_eq!(clusters(true, 3, &pairs), (vec![vec![0, 2]], vec![(2, 4, Reason::Contradicted)]));
}

#[test]
fn takes_equal_weights_together() {
    // 0 fits 2 and 3 of one party equally well: neither, whichever comes first.
    let (groups, open) = clusters(true, 2, &[(0, 2, 9), (0, 3, 9)]);
    assert!(groups.is_empty());
    assert_eq!(open, [(0, 2, Reason::Tie), (0, 3, Reason::Tie)]);
    // Equal weights that exclude nothing are all taken.
    assert_eq!(clusters(true, 3, &[(0, 2, 9), (2, 4, 9), (0, 4, 9)]).0, [vec![0, 2, 4]]);
}
