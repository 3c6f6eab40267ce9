//! The network path and the in-process trial find the same links to the byte: all that processes, TLS, batches, handles and
//! stores add changes nothing. What one measures with `trial` therefore holds for the federation.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;

use linkage_tests::federation::{Federation, linkage_ok};

const SEED: u64 = 17;
const MONTHS: [&str; 2] = ["2024-01", "2024-02"];

/// `linkage demo` itself, twice; its first month is also what the trial finds. Later months of the demonstration link the
/// history too, which a trial of one month's files does not have.
#[test]
fn a_demonstration_repeats_to_the_byte_and_finds_what_the_trial_finds() {
    let kept: Vec<Federation> = (0..2)
        .map(|_| {
            let temporary = tempfile::tempdir().unwrap();
            let folder = temporary.path().join("site");
            let keep = folder.to_str().unwrap();
            linkage_ok(["demo", "--persons", "800", "--months", "2", "--seed", &SEED.to_string(), "--keep", keep]);
            Federation::adopt(folder, SEED, Some(temporary))
        })
        .collect();
    let links = |at: usize, month: &str| fs::read_to_string(kept[at].folder.join(format!("links-{month}.csv"))).unwrap();
    for month in MONTHS {
        assert_eq!(links(0, month), links(1, month), "{month}: two demonstrations of one seed");
        assert!(links(0, month).contains(",certain,"), "{month}: a demonstration without a link shows nothing");
    }
    let first = kept[0].trial(MONTHS[0], MONTHS[0]);
    assert_eq!(links(0, MONTHS[0]), first);
    // The harness turns references back into local ids as the demonstration does.
    assert_eq!(kept[0].links(MONTHS[0], MONTHS[0]), first);
    println!(
        "{} rows equal in {}, {} in {}",
        first.lines().count() - 1,
        MONTHS[0],
        links(0, MONTHS[1]).lines().count() - 1,
        MONTHS[1]
    );
}

/// Every month, in a federation that has no history: equal to the trial of that month.
#[test]
fn each_month_alone_equals_its_trial() {
    for month in MONTHS {
        let mut federation = Federation::set_up(800, 2, SEED);
        federation.start_all();
        federation.deliver(month);
        federation.open_run(month, month);
        federation.wait_closed(month);
        let links = federation.links(month, month);
        assert_eq!(links, federation.trial(month, month), "{month}");
        federation.assert_once(month, &links);
        federation.stop_all();
        println!("{month}: {} rows equal", links.lines().count() - 1);
    }
}

/// The comparison can fail: another seed, other data, other links.
#[test]
fn another_seed_gives_other_links() {
    let [one, other] = [SEED, SEED + 1].map(|seed| Federation::set_up(800, 1, seed).trial("2024-01", "2024-01"));
    assert_ne!(one, other);
}
