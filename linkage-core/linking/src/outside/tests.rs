use std::num::NonZeroUsize;

use linkage_agreement::{AnnexPlaces, FieldKind, Layout};
use proptest::prelude::*;

use super::*;
use crate::MatchClass;
use crate::hash_keys::By;

const BITS: usize = 256;

/// A party's annexes, owned.
#[derive(Debug, Clone, PartialEq)]
struct List {
    block_scoped: bool,
    duplicate_free: bool,
    annexes: Vec<Vec<u8>>,
}

fn list(duplicate_free: bool, annexes: &[Vec<u8>]) -> List {
    List { block_scoped: false, duplicate_free, annexes: annexes.to_vec() }
}
fn parties(lists: &[List]) -> Vec<OutsideParty<'_>> {
    lists
        .iter()
        .map(|list| OutsideParty {
            block_scoped: list.block_scoped,
            duplicate_free: list.duplicate_free,
            annexes: list.annexes.iter().map(Vec::as_slice).collect(),
        })
        .collect()
}
fn effort() -> Effort {
    Effort { threads: NonZeroUsize::MIN, kernel: Kernel::best() }
}
fn terms(threshold_permille: u32, margin_permille: u32) -> OutsideTerms {
    OutsideTerms { places: AnnexPlaces::new(Some(BITS), false), threshold_permille, margin_permille }
}
fn decided(lists: &[List], terms: &OutsideTerms) -> Vec<Decided> {
    outside_decided(&parties(lists), terms, effort(), &Dispositions::default()).unwrap()
}
fn outcomes(rows: &[Decided]) -> Vec<(u32, u32, Outcome)> {
    rows.iter().map(|row| (row.a, row.b, row.outcome)).collect()
}

/// The filter of a person: 60 places of 256, always the same ones.
fn person(number: u64) -> Vec<u8> {
    let mut filter = vec![0u8; BITS / 8];
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    for _ in 0..60 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bit = (state >> 33) as usize % BITS;
        filter[bit / 8] |= 1 << (bit % 8);
    }
    filter
}
/// A person's filter without the first `lost` of its bits.
fn worn(number: u64, lost: usize) -> Vec<u8> {
    let mut filter = person(number);
    let places = (0..BITS).filter(|bit| filter[bit / 8] >> (bit % 8) & 1 == 1).take(lost).collect::<Vec<_>>();
    places.into_iter().for_each(|bit| filter[bit / 8] &= !(1 << (bit % 8)));
    filter
}
/// The filter whose first `count` bits are set.
fn bits(count: usize) -> Vec<u8> {
    let mut filter = vec![0u8; BITS / 8];
    (0..count).for_each(|bit| filter[bit / 8] |= 1 << (bit % 8));
    filter
}
fn dice(x: &[u8], y: &[u8]) -> f64 {
    let ones = |bytes: &[u8]| bytes.iter().map(|b| b.count_ones()).sum::<u32>();
    let both: u32 = x.iter().zip(y).map(|(x, y)| (x & y).count_ones()).sum();
    f64::from(2 * both) / f64::from(ones(x) + ones(y)).max(1.0)
}

/// Who may be compared with whom, by the words of the module.
fn comparable(lists: &[List], p: usize, q: usize) -> bool {
    !(lists[p].block_scoped && lists[q].block_scoped) && (p != q || !lists[p].duplicate_free)
}

#[test]
fn a_lead_links_a_tie_is_left_open_and_what_is_well_beaten_is_not_linked() {
    let one = list(true, &[person(1)]);
    // Alone; then beside a namesake; then beside somebody who fits less well.
    assert_eq!(outcomes(&decided(&[one.clone(), list(true, &[worn(1, 4)])], &terms(800, 50))), [(0, 1, Outcome::Link)]);
    let open = Outcome::Abstain(Reason::OutsideRival);
    let namesakes = [one.clone(), list(true, &[worn(1, 4), worn(1, 4)])];
    assert_eq!(outcomes(&decided(&namesakes, &terms(800, 50))), [(0, 1, open), (0, 2, open)]);
    // No margin is asked for, and still a tie is none.
    assert_eq!(outcomes(&decided(&namesakes, &terms(800, 0))), [(0, 1, open), (0, 2, open)]);
    let beaten = [one, list(true, &[person(1), worn(1, 12)])];
    assert_eq!(outcomes(&decided(&beaten, &terms(800, 50))), [(0, 1, Outcome::Link), (0, 2, Outcome::Refuse)]);
    assert_eq!(outcomes(&decided(&beaten, &terms(800, 300))), [(0, 1, open), (0, 2, open)]);
    // A rival below the threshold is one all the same: coefficients 0.812 and 0.788.
    let below = [list(true, &[bits(60)]), list(true, &[bits(41), bits(39)])];
    assert_eq!(outcomes(&decided(&below, &terms(810, 50))), [(0, 1, open)]);
    assert_eq!(outcomes(&decided(&below, &terms(810, 20))), [(0, 1, Outcome::Link)]);
}

#[test]
fn the_margin_itself_is_enough() {
    // 10 and 6 of 10 bits: 1.0 against 0.75.
    let filter = |byte: u8, more: u8| [vec![byte, more], vec![0; 30]].concat();
    let lists = [list(true, &[filter(0xff, 3)]), list(true, &[filter(0xff, 3), filter(0x3f, 0)])];
    assert_eq!(dice(&lists[0].annexes[0], &lists[1].annexes[1]), 0.75);
    assert_eq!(decided(&lists, &terms(900, 250))[0].outcome, Outcome::Link);
    assert_eq!(decided(&lists, &terms(900, 251))[0].outcome, Outcome::Abstain(Reason::OutsideRival));
}

#[test]
fn doubles_of_a_list_that_may_hold_them_are_no_rivals_and_other_persons_are() {
    let one = list(true, &[person(1)]);
    let doubles = [one.clone(), list(false, &[person(1), worn(1, 2)])];
    let rows = decided(&doubles, &terms(800, 50));
    assert_eq!(outcomes(&rows), [(0, 1, Outcome::Link), (0, 2, Outcome::Link), (1, 2, Outcome::Link)]);
    // Less alike: within the list they are not compared, and towards the other one they are rivals.
    let mut relative = worn(1, 4);
    relative[31] ^= 0xff;
    let relatives = [one, list(false, &[worn(1, 9), relative])];
    assert!(dice(&relatives[1].annexes[0], &relatives[1].annexes[1]) < 0.9);
    let rows = decided(&relatives, &terms(800, 100));
    assert!(rows.len() == 2 && rows.iter().all(|row| row.outcome == Outcome::Abstain(Reason::OutsideRival)), "{rows:?}");
}

#[test]
fn a_refuted_pair_is_no_row_and_nobodys_rival() {
    let lists = [list(true, &[person(1)]), list(true, &[worn(1, 4), worn(1, 4)])];
    let refuted = Dispositions::new([], [(0, 2)]).unwrap();
    let rows = outside_decided(&parties(&lists), &terms(800, 50), effort(), &refuted).unwrap();
    assert_eq!(outcomes(&rows), [(0, 1, Outcome::Link)]);
}

#[test]
fn no_link_outside_the_blocks_is_ever_certain() {
    let annexes: Vec<Vec<u8>> = (0..300).map(person).collect();
    let lists = [list(true, &annexes), list(true, &annexes)];
    let rows = decided(&lists, &terms(800, 50));
    assert_eq!(rows.len(), 300);
    assert!(rows.iter().all(|row| row.outcome == Outcome::Link && row.millibits == MOST_MILLIBITS));
    let layout = Layout::new(&[FieldKind::BirthName, FieldKind::BirthDate], 64, 2, 1);
    let bytes = vec![0; 300 * layout.record_len()];
    let input = [&bytes, &bytes].map(|b| crate::PartyInput::block_scoped(&layout, true, vec![&b[..]]));
    let records = crate::Records::new(&layout, &input).unwrap();
    let clusters = crate::cluster(&records, &rows, &Dispositions::default()).unwrap();
    assert_eq!(clusters.clusters.len(), 300);
    assert!(clusters.clusters.iter().flat_map(|c| &c.members).all(|m| m.class == MatchClass::Probable));
    let counts = outside_counts(&records, &rows, &clusters);
    let [count] = counts.as_slice() else { panic!("{counts:?}") };
    assert_eq!((count.parties, count.met, count.linked, count.open), ([0, 1], 300, 300, 0));
    assert!((count.expected_wrong - 300.0 * (1.0 - probability(MOST_MILLIBITS))).abs() < 1e-9);
}

#[test]
fn relatives_of_those_who_found_themselves_make_a_likeness_worth_less() {
    // A hundred persons in both lists, twenty whose records are less alike, a hundred in one list only. In the second case
    // each of the first hundred has a relative in the second list, most of them little alike, some as much as the twenty.
    let first: Vec<Vec<u8>> = (0..120).chain(1_000..1_100).map(person).collect();
    let mut second: Vec<Vec<u8>> = (0..100).chain(2_000..2_100).map(person).collect();
    second.extend((100..120).map(|number| worn(number, 16)));
    let weight = |second: &[Vec<u8>]| {
        let rows = decided(&[list(true, &first), list(true, second)], &terms(700, 50));
        let row = rows.iter().find(|row| row.a == 100).copied().unwrap();
        assert_eq!((row.outcome, row.b), (Outcome::Link, 420));
        row.millibits
    };
    let without = weight(&second);
    second.extend((0..100).map(|number| worn(number, [26, 26, 26, 26, 22, 22, 22, 18, 18, 16][number as usize % 10])));
    let with = weight(&second);
    assert!(with + 1_500 < without, "{with} {without}");
}

/// Two keys of one byte each; 0 for none.
fn keys(primary: u8, secondary: u8) -> Vec<u8> {
    [[primary; 32], [secondary; 32]].concat()
}
fn key_rows(lists: &[List]) -> Vec<(u32, u32, By, Outcome)> {
    let found = key_pairs(&parties(lists), &AnnexPlaces::new(None, true)).unwrap();
    found.iter().map(|m| (m.decided.a, m.decided.b, m.by, m.decided.outcome)).collect()
}

#[test]
fn keys_link_primary_first_and_nobody_by_chance() {
    let lists = [list(true, &[keys(1, 9), keys(2, 8), keys(0, 0)]), list(true, &[keys(1, 8), keys(3, 8), keys(0, 0)])];
    // 0 and 3 by primary; then 1 and 4 by secondary? Not alone: 3 holds it too, though it has found itself.
    let open = Outcome::Abstain(Reason::KeyShared);
    assert_eq!(key_rows(&lists), [(0, 3, By::Primary, Outcome::Link), (1, 4, By::Secondary, open)]);
    let lists = [list(true, &[keys(1, 9), keys(2, 8)]), list(true, &[keys(1, 9), keys(3, 8)])];
    let found = key_rows(&lists);
    assert_eq!(found, [(0, 2, By::Primary, Outcome::Link), (1, 3, By::Secondary, Outcome::Link)]);
    let twice = [list(true, &[keys(1, 9)]), list(true, &[keys(1, 9), keys(1, 7)])];
    assert_eq!(key_rows(&twice), [(0, 1, By::Primary, open), (0, 2, By::Primary, open)]);
    // A filler that dozens hold is not listed pair by pair.
    let filler = [list(true, &[keys(1, 9)]), list(true, &vec![keys(1, 9); 17])];
    assert_eq!(key_rows(&filler), []);
    // Never within one list, and never between two parties that blocks compare.
    assert_eq!(key_rows(&[list(false, &[keys(1, 9), keys(1, 9)])]), []);
    let mut blocks = lists;
    blocks.iter_mut().for_each(|l| l.block_scoped = true);
    assert_eq!(key_rows(&blocks), []);
    blocks[0].block_scoped = false;
    assert_eq!(key_rows(&blocks), found);
}

#[test]
fn shared_secondary_keys_of_strangers_make_them_worth_less() {
    // Sixty persons found by their primary key, and one link by the secondary one.
    let key = |n: u8, m: u8| [[n; 32], [m; 32]].concat();
    let mut first: Vec<Vec<u8>> = (1..=60).map(|n| key(n, n)).collect();
    let mut second = first.clone();
    first.push(key(100, 200));
    second.push(key(101, 200));
    let weight = |first: &[Vec<u8>], second: &[Vec<u8>]| {
        let lists = [list(true, first), list(true, second)];
        let found = key_pairs(&parties(&lists), &AnnexPlaces::new(None, true)).unwrap();
        found.into_iter().find(|m| m.decided.a == 60 && m.by == By::Secondary).unwrap().decided
    };
    let without = weight(&first, &second);
    assert_eq!(without.outcome, Outcome::Link);
    // Strangers with the secondary key of everybody who has found himself.
    second.extend((1..=60).map(|n| key(100 + n, n)));
    let with = weight(&first, &second);
    assert!(with.millibits + 3_000 < without.millibits, "{with:?} {without:?}");
}

#[test]
fn what_cannot_be_read_is_refused() {
    let short = [list(true, &[vec![1; 32]]), list(true, &[vec![1; 31]])];
    let wrong = OutsideError::AnnexLength { len: 31, expected: 32 };
    assert_eq!(clk_pairs(&parties(&short), &terms(800, 0), effort()), Err(wrong.clone()));
    assert_eq!(outside_decided(&parties(&short), &terms(800, 0), effort(), &Dispositions::default()), Err(wrong));
    assert_eq!(key_pairs(&parties(&short), &AnnexPlaces::new(Some(BITS), false)), Err(OutsideError::Terms));
    let long = OutsideError::AnnexLength { len: 32, expected: 64 };
    assert_eq!(key_pairs(&parties(&short), &AnnexPlaces::new(None, true)), Err(long));
}

/// Up to three lists of few persons, worn or absent, with the flags that matter.
fn lists() -> impl Strategy<Value = Vec<List>> {
    let annex = (0u64..6, 0usize..16, 0u32..12).prop_map(|(number, lost, absent)| {
        let filter = if absent == 0 { vec![0; BITS / 8] } else { worn(number, lost) };
        let mut keys = keys(number as u8 + u8::from(lost > 12), (number / 2) as u8);
        if absent < 2 {
            keys[..32].fill(0);
        }
        [filter, keys].concat()
    });
    let one = (any::<bool>(), any::<bool>(), proptest::collection::vec(annex, 0..7))
        .prop_map(|(block_scoped, duplicate_free, annexes)| List { block_scoped, duplicate_free, annexes });
    proptest::collection::vec(one, 1..4)
}
fn both(threshold_permille: u32, margin_permille: u32) -> OutsideTerms {
    OutsideTerms { places: AnnexPlaces::new(Some(BITS), true), threshold_permille, margin_permille }
}
/// Rows by (party, record) of either side, the smaller party first by `name`.
type Named = BTreeMap<[(usize, usize); 2], (i32, Outcome)>;
fn named(lists: &[List], rows: &[Decided], name: impl Fn((usize, usize)) -> (usize, usize)) -> Named {
    let starts = starts(&parties(lists)).unwrap();
    let at = |record: u32| {
        let party = starts.partition_point(|&start| start <= record) - 1;
        // Empty lists share their start with the next one.
        name((party, (record - starts[party]) as usize))
    };
    rows.iter()
        .map(|row| {
            let mut pair = [at(row.a), at(row.b)];
            pair.sort_unstable();
            (pair, (row.millibits, row.outcome))
        })
        .collect()
}

proptest! {
    /// Exhaustively, whatever the kernel and the threads; absent filters meet nobody.
    #[test]
    fn pairs_are_those_of_a_plain_double_loop(lists in lists(), threshold in 300u32..=1000, threads in 1usize..3) {
        let terms = both(threshold, 0);
        let records: Vec<(usize, &Vec<u8>)> = lists.iter().enumerate().flat_map(|(p, l)| l.annexes.iter().map(move |a| (p, a))).collect();
        let mut expected = Vec::new();
        for (a, (p, x)) in records.iter().enumerate() {
            for (b, (q, y)) in records.iter().enumerate().skip(a + 1) {
                let score = dice(&x[..32], &y[..32]);
                let held = x[..32].iter().any(|b| *b != 0) && y[..32].iter().any(|b| *b != 0);
                if held && comparable(&lists, *p, *q) && score >= terms.threshold() {
                    expected.push(OutsidePair { a: a as u32, b: b as u32, score });
                }
            }
        }
        for kernel in Kernel::available() {
            let effort = Effort { threads: NonZeroUsize::new(threads).unwrap(), kernel };
            prop_assert_eq!(&clk_pairs(&parties(&lists), &terms, effort).unwrap(), &expected);
        }
    }

    #[test]
    fn the_order_of_records_and_parties_changes_nothing(lists in lists(), margin in 0u32..200) {
        let terms = both(750, margin);
        let turned: Vec<List> = lists.iter().rev().map(|l| List { annexes: l.annexes.iter().rev().cloned().collect(), ..l.clone() }).collect();
        let back = |(p, r): (usize, usize)| (lists.len() - 1 - p, turned[p].annexes.len() - 1 - r);
        let here = named(&lists, &decided(&lists, &terms), |at| at);
        prop_assert_eq!(here, named(&turned, &decided(&turned, &terms), back));
    }

    #[test]
    fn a_further_party_changes_nothing_between_others(lists in lists(), margin in 0u32..200) {
        let terms = both(750, margin);
        let fewer = &lists[..lists.len() - 1];
        let mut all = named(&lists, &decided(&lists, &terms), |at| at);
        all.retain(|pair, _| pair.iter().all(|(p, _)| *p < fewer.len()));
        prop_assert_eq!(all, named(fewer, &decided(fewer, &terms), |at| at));
    }

    /// Rows are of comparable records that have what they met by, in order, each pair once; never above the cap.
    #[test]
    fn rows_are_sound(lists in lists(), margin in 0u32..200) {
        let terms = both(750, margin);
        let rows = decided(&lists, &terms);
        prop_assert!(rows.windows(2).all(|w| (w[0].a, w[0].b) < (w[1].a, w[1].b)));
        for (pair, (millibits, outcome)) in named(&lists, &rows, |at| at) {
            let [(p, x), (q, y)] = pair;
            let (x, y) = (&lists[p].annexes[x], &lists[q].annexes[y]);
            prop_assert!(comparable(&lists, p, q));
            let held = |range: std::ops::Range<usize>| x[range.clone()] == y[range.clone()] && x[range].iter().any(|b| *b != 0);
            prop_assert!(dice(&x[..32], &y[..32]) >= 0.75 || p != q && (held(32..64) || held(64..96)));
            prop_assert!((LEAST_MILLIBITS..=MOST_MILLIBITS).contains(&millibits));
            prop_assert_eq!(outcome == Outcome::Link, millibits > 0);
        }
    }
}
