//! Halves and pairs on a database of the test's own.

use jiff::civil::date;
use linkage_common::batches::HeldBatch;
use linkage_common::database::Place;
use linkage_common::error::ErrorKind;
use linkage_test_databases::{On, on_both};

use super::*;
use crate::store::{RecordUpload, RunRecord};

const TODAY: Date = date(2026, 3, 10);

on_both!(
    both_owners_say_so_or_nothing_is_settled,
    a_contradiction_holds_for_nobody_until_one_owner_gives_way,
    the_earlier_day_ends_it_and_what_has_expired_is_deleted,
    only_pairs_wholly_in_the_run_are_told,
    a_pair_within_one_list_is_its_owners_alone,
    either_owner_may_withdraw_its_own_half,
    a_party_holds_a_limited_number_and_keeps_what_it_had,
);

fn id(text: &str) -> PartyId {
    text.parse().unwrap()
}

fn half(dossier: u8, partner: &str, reference: u8, verdict: Verdict) -> Half {
    let (reference, second) = (RecordRef([reference; 16]), None);
    Half { dossier: [dossier; DOSSIER_LEN], partner: id(partner), reference, second, verdict, expiry: date(2026, 12, 31) }
}

/// A store that holds run `r`: records 1 and 2 of `ccas` (handles 11, 12), 1 of `siao` (21), 1 of `caf` (31).
async fn store(on: On) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::of(on.url().as_deref(), &dir.path().join("custodian.sqlite")).unwrap();
    let store = Store::open_at(&place).await.unwrap();
    for (party, records) in [("ccas", &[(11, 1), (12, 2)][..]), ("siao", &[(21, 1)]), ("caf", &[(31, 1)])] {
        let records: Vec<RunRecord> = records
            .iter()
            .map(|&(handle, reference)| RunRecord {
                handle: Handle([handle; 16]),
                reference: RecordRef([reference; 16]),
                present: true,
                sealed: Vec::new(),
            })
            .collect();
        let batch = HeldBatch { sequence: 0, records: records.len() as u64, digest: vec![0; 32] };
        let (run, party) = ("r".parse().unwrap(), id(party));
        store.put_records(&run, &party, &batch, &records, 100).await.unwrap();
        let upload = RecordUpload {
            digest: vec![0; 32],
            records: batch.records,
            period: "2026-01".parse().unwrap(),
            reference_party: None,
        };
        store.commit_records(&run, &party, &upload, "{}").await.unwrap();
    }
    (dir, store)
}

impl Store {
    async fn put(&self, party: &str, halves: &[Half]) {
        self.put_dispositions(&id(party), halves, TODAY).await.unwrap();
    }
    /// The settled pairs of run `r` by the first byte of each handle, for the parties named.
    async fn told(&self, parties: &[&str], today: Date) -> Vec<(u8, u8, Verdict)> {
        let parties: Vec<PartyId> = parties.iter().map(|p| id(p)).collect();
        let found = self.settled_pairs(&"r".parse().unwrap(), &parties, today).await.unwrap();
        found.pairs.iter().map(|(a, b, verdict)| (a.0[0], b.0[0], *verdict)).collect()
    }
    async fn states(&self, party: &str) -> Vec<(u8, HalfState)> {
        let states = self.disposition_states(&id(party), TODAY).await.unwrap();
        states.into_iter().map(|(dossier, state)| (dossier[0], state)).collect()
    }
}

const ALL: [&str; 3] = ["ccas", "siao", "caf"];

async fn both_owners_say_so_or_nothing_is_settled(on: On) {
    let (_dir, store) = store(on).await;
    store.put("ccas", &[half(1, "siao", 1, Verdict::Refuted)]).await;
    assert_eq!(store.told(&ALL, TODAY).await, []);
    assert_eq!(store.states("ccas").await, [(1, HalfState::Waiting)]);
    // The same dossier of a third party, or one that names a third party, is no other half.
    store.put("caf", &[half(1, "ccas", 1, Verdict::Refuted)]).await;
    store.put("siao", &[half(1, "caf", 1, Verdict::Refuted)]).await;
    assert_eq!(store.told(&ALL, TODAY).await, []);
    store.put("siao", &[half(1, "ccas", 1, Verdict::Refuted)]).await;
    assert_eq!(store.told(&ALL, TODAY).await, [(11, 21, Verdict::Refuted)]);
    assert_eq!([store.states("ccas").await, store.states("siao").await], [[(1, HalfState::InForce)], [(1, HalfState::InForce)]]);
    assert_eq!(store.states("caf").await, [(1, HalfState::Waiting)]);
    // Repeated, in force all the same and once.
    store.put("siao", &[half(1, "ccas", 1, Verdict::Refuted)]).await;
    assert_eq!(store.told(&ALL, TODAY).await, [(11, 21, Verdict::Refuted)]);
}

async fn a_contradiction_holds_for_nobody_until_one_owner_gives_way(on: On) {
    let (_dir, store) = store(on).await;
    store.put("ccas", &[half(1, "siao", 1, Verdict::Refuted)]).await;
    store.put("siao", &[half(1, "ccas", 1, Verdict::Confirmed)]).await;
    assert_eq!(store.told(&ALL, TODAY).await, []);
    assert_eq!(store.states("ccas").await, [(1, HalfState::Contradicted)]);
    store.put("ccas", &[half(1, "siao", 1, Verdict::Confirmed)]).await;
    assert_eq!(store.told(&ALL, TODAY).await, [(11, 21, Verdict::Confirmed)]);
    // Another dossier on the same pair says the contrary: the pair is told to nobody, and counted.
    for (party, partner) in [("ccas", "siao"), ("siao", "ccas")] {
        store.put(party, &[half(2, partner, 1, Verdict::Refuted)]).await;
    }
    let found = store.settled_pairs(&"r".parse().unwrap(), &[id("ccas"), id("siao")], TODAY).await.unwrap();
    assert_eq!(found, SettledPairs { pairs: vec![], contradicted: 1, expired: 0 });
}

async fn the_earlier_day_ends_it_and_what_has_expired_is_deleted(on: On) {
    let (_dir, store) = store(on).await;
    let until = |day, mut half: Half| {
        half.expiry = day;
        half
    };
    store.put("ccas", &[until(date(2026, 3, 20), half(1, "siao", 1, Verdict::Refuted))]).await;
    store.put("siao", &[until(date(2026, 9, 1), half(1, "ccas", 1, Verdict::Refuted))]).await;
    assert_eq!(store.told(&ALL, date(2026, 3, 20)).await.len(), 1);
    let later = date(2026, 3, 21);
    let found = store.settled_pairs(&"r".parse().unwrap(), &[id("ccas"), id("siao")], later).await.unwrap();
    assert_eq!((found.pairs.len(), found.expired), (0, 1));
    assert_eq!((store.states("ccas").await, store.states("siao").await), (vec![], vec![(1, HalfState::Waiting)]));
    // Prolonged by both, it is in force again.
    store.put("ccas", &[half(1, "siao", 1, Verdict::Refuted)]).await;
    assert_eq!(store.told(&ALL, later).await.len(), 1);
}

async fn only_pairs_wholly_in_the_run_are_told(on: On) {
    let (_dir, store) = store(on).await;
    store.put("ccas", &[half(1, "siao", 1, Verdict::Refuted), half(2, "siao", 9, Verdict::Refuted)]).await;
    store.put("siao", &[half(1, "ccas", 1, Verdict::Refuted), half(2, "ccas", 1, Verdict::Refuted)]).await;
    assert_eq!(store.states("ccas").await, [(1, HalfState::InForce), (2, HalfState::InForce)]);
    assert_eq!(store.told(&ALL, TODAY).await, [(11, 21, Verdict::Refuted)]);
    assert_eq!(store.told(&["ccas", "caf"], TODAY).await, []);
    let elsewhere = store.settled_pairs(&"r2".parse().unwrap(), &[id("ccas"), id("siao")], TODAY).await.unwrap();
    assert_eq!(elsewhere, SettledPairs::default());
}

async fn a_pair_within_one_list_is_its_owners_alone(on: On) {
    let (_dir, store) = store(on).await;
    let mut own = half(1, "ccas", 2, Verdict::Confirmed);
    own.second = Some(RecordRef([1; 16]));
    store.put("ccas", &[own]).await;
    assert_eq!(store.states("ccas").await, [(1, HalfState::InForce)]);
    assert_eq!(store.told(&ALL, TODAY).await, [(11, 12, Verdict::Confirmed)]);
}

async fn either_owner_may_withdraw_its_own_half(on: On) {
    let (_dir, store) = store(on).await;
    store.put("ccas", &[half(1, "siao", 1, Verdict::Refuted)]).await;
    store.put("siao", &[half(1, "ccas", 1, Verdict::Refuted)]).await;
    let withdraw =
        async |party: &str, dossier: u8| store.withdraw_dispositions(&id(party), &[[dossier; DOSSIER_LEN]]).await.unwrap();
    assert_eq!([withdraw("caf", 1).await, withdraw("siao", 7).await], [0, 0]);
    assert_eq!(store.told(&ALL, TODAY).await.len(), 1);
    assert_eq!([withdraw("siao", 1).await, withdraw("siao", 1).await], [1, 0]);
    assert_eq!(store.told(&ALL, TODAY).await, []);
    assert_eq!((store.states("ccas").await, store.states("siao").await), (vec![(1, HalfState::Waiting)], vec![]));
}

async fn a_party_holds_a_limited_number_and_keeps_what_it_had(on: On) {
    let (_dir, store) = store(on).await;
    let many = |from: u64, count: u64| -> Vec<Half> {
        let numbered = |n: u64| {
            let mut made = half(0, "siao", 1, Verdict::Refuted);
            made.dossier[..8].copy_from_slice(&n.to_le_bytes());
            made
        };
        (from..from + count).map(numbered).collect()
    };
    store.put("ccas", &many(0, MAX_HELD)).await;
    let more = store.put_dispositions(&id("ccas"), &many(MAX_HELD - 1, 2), TODAY).await.unwrap_err();
    assert_eq!(more.kind, ErrorKind::Exhausted);
    assert_eq!(store.disposition_states(&id("ccas"), TODAY).await.unwrap().len() as u64, MAX_HELD);
    // Replacing is no more; another party has its own limit.
    store.put("ccas", &many(5, 2)).await;
    store.put("siao", &many(0, 1)).await;
    // What has expired makes room.
    let later = date(2027, 1, 1);
    let fresh = Half { expiry: date(2027, 6, 1), ..half(1, "siao", 1, Verdict::Refuted) };
    store.put_dispositions(&id("ccas"), &[fresh], later).await.unwrap();
    assert_eq!(store.disposition_states(&id("ccas"), later).await.unwrap().len(), 1);
}
