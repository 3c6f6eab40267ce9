//! What becomes of steps that meet faults, and of the leases under which they are done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use linkage_common::database::Place;
use linkage_test_databases::{On, on_both};

use super::*;
use crate::store::Upload;

on_both!(a_lease_is_kept_no_longer_than_its_step_or_its_owner);

fn of(kind: ErrorKind) -> ServiceError {
    ServiceError::new(kind, "message")
}

#[test]
fn pauses_grow_to_a_limit() {
    assert_eq!([0, 1, 2, 8, 9, 40].map(pause_s), [1, 2, 4, 256, 300, 300]);
}

#[test]
fn a_peer_that_is_away_is_waited_for_and_a_contradiction_ends_the_run() {
    for step in [Step::Compare, Step::Settle, Step::Cluster, Step::Deliver] {
        for kind in [ErrorKind::Unavailable, ErrorKind::Exhausted] {
            assert_eq!(verdict(step, &of(kind), u32::MAX), Verdict::Postpone);
        }
        for kind in [ErrorKind::Refused, ErrorKind::Internal] {
            assert_eq!(verdict(step, &of(kind), MAX_ATTEMPTS - 1), Verdict::Postpone);
            assert_eq!(verdict(step, &of(kind), MAX_ATTEMPTS), Verdict::Fail);
        }
        for kind in [ErrorKind::Conflict, ErrorKind::Invalid, ErrorKind::NotFound, ErrorKind::TooLarge] {
            assert_eq!(verdict(step, &of(kind), 0), Verdict::Fail);
        }
    }
}

#[test]
fn a_deletion_is_tried_again_and_never_fails_the_run() {
    for kind in [ErrorKind::Conflict, ErrorKind::Invalid, ErrorKind::Refused, ErrorKind::Internal] {
        assert_eq!(verdict(Step::Delete, &of(kind), u32::MAX), Verdict::Postpone);
    }
}

/// A store with one run that waits to be compared.
async fn waiting(on: On) -> (tempfile::TempDir, Store, RunId) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::of(on.url().as_deref(), &dir.path().join("broker.sqlite")).unwrap();
    let store = Store::open_at(&place).await.unwrap();
    let run = Run {
        id: "r".parse().unwrap(),
        period: "2024-01".parse().unwrap(),
        parties: vec!["ccas".parse().unwrap()],
        reference_party: None,
        base_run: None,
        kept: false,
        held: false,
        state: State::Collecting,
        step: String::new(),
        reason: String::new(),
        order_signature: vec![7; 64],
    };
    store.insert_run(&run, b"agreement", 1).await.unwrap();
    let upload = Upload {
        party: "ccas".parse().unwrap(),
        batches: 0,
        records: 0,
        digest: vec![1; 32],
        level_frequencies: Vec::new(),
        removed: Vec::new(),
        past_epoch: None,
    };
    store.commit_upload(&run, &upload).await.unwrap();
    (dir, store, run.id)
}

async fn a_lease_is_kept_no_longer_than_its_step_or_its_owner(on: On) {
    let (_dir, store, run) = waiting(on).await;
    let every = Duration::from_millis(5);
    let asked = Arc::new(AtomicU64::new(0));
    let keep = |owner: &str, until: i64| {
        let asked = asked.clone();
        keep_lease(store.clone(), run.clone(), owner.to_owned(), every, move || {
            asked.fetch_add(1, Ordering::Relaxed);
            until
        })
    };
    // A task that leaks never lets go of what it counts in.
    let ended = async || {
        let wait = async {
            while Arc::strong_count(&asked) > 1 {
                tokio::time::sleep(every).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.is_ok()
    };
    let leased = async |owner: &str, now: i64| store.lease(owner, now, 30).await.unwrap().is_some();

    assert!(leased("a", 100).await);
    let keeper = keep("a", 500);
    // The second time it asks, the first one is done.
    while asked.load(Ordering::Relaxed) < 2 {
        tokio::time::sleep(every).await;
    }
    assert!(!leased("b", 130).await, "prolonged while the step is under way");
    drop(keeper);
    assert!(ended().await, "the lease of a step that was left is kept");

    // Of a worker whose lease another one took over, its step under way or not.
    assert!(leased("b", 600).await);
    let late = keep("a", 900);
    assert!(ended().await, "a lease that was lost is asked for again and again");
    drop(late);
    assert!(leased("a", 630).await, "nobody prolonged it");
}
