//! The pairs, scores, order and greedy solutions that anonlink 0.15.3 gave (tests/clk/compare.py), with every kernel.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;

use linkage_clk::{Filters, Kernel, Options, Threshold, compare, greedy, read_clks};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    bits: usize,
    clks: [Vec<String>; 2],
    results: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    threshold: String,
    pairs: Vec<(u32, u32, String)>,
    greedy: Vec<(u32, u32)>,
}

fn party(clks: &[String]) -> Filters {
    read_clks(serde_json::json!({ "clks": clks }).to_string().as_bytes()).unwrap()
}

#[test]
fn pairs_scores_order_and_greedy_solution_are_anonlinks() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../../tests/clk/compare.json")).unwrap();
    let (mut pairs, mut chosen) = (0, 0);
    for case in &cases {
        let [a, b] = [party(&case.clks[0]), party(&case.clks[1])];
        assert_eq!(a.bits(), case.bits);
        for expected in &case.results {
            let threshold = Threshold::new(expected.threshold.parse().unwrap()).unwrap();
            for (kernel, threads) in Kernel::available().into_iter().zip([1, 2, 3].into_iter().cycle()) {
                let options = Options { threads: NonZeroUsize::new(threads).unwrap(), kernel, max_pairs: 1 << 20 };
                let found = compare(&a, &b, threshold, &options, &|_, _| {}).unwrap();
                let seen: Vec<_> = found.iter().map(|p| (p.a, p.b, format!("{:?}", p.score))).collect();
                assert_eq!(seen, expected.pairs, "{} bits, {}, {}", case.bits, expected.threshold, kernel.name());
                let mut one_to_one: Vec<_> = greedy(&found).iter().map(|p| (p.a, p.b)).collect();
                one_to_one.sort_unstable();
                assert_eq!(one_to_one, expected.greedy, "{} bits, {}", case.bits, expected.threshold);
            }
            pairs += expected.pairs.len();
            chosen += expected.greedy.len();
        }
    }
    assert!(pairs > 1000 && chosen > 300, "the fixture is too thin: {pairs} pairs, {chosen} chosen");
}
