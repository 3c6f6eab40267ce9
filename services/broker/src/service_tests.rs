//! Batches whose blob is written while their run ends: what is deleted with them, and what is not.

use linkage_agreement::PartyId;
use linkage_common::batches::HeldBatch;
use linkage_common::blob::{BlobName, BlobPrefix, BlobStore};
use linkage_common::database::Place;
use linkage_common::error::ErrorKind;
use linkage_test_databases::{On, on_both};

use super::note_batch;
use crate::jobs::Step;
use crate::store::{Run, State, Store, Upload};

const LIMIT: u64 = 100;

on_both!(
    a_batch_that_comes_late_to_a_held_base_takes_nothing_else_with_it,
    a_batch_that_comes_late_to_a_cancelled_run_leaves_no_blob,
);

struct Bench {
    _dir: tempfile::TempDir,
    store: Store,
    blobs: BlobStore,
    run: Run,
}

fn party(name: &str) -> PartyId {
    name.parse().unwrap()
}

fn batch(sequence: u32, digest: u8) -> HeldBatch {
    HeldBatch { sequence, records: 10, digest: vec![digest; 32] }
}

impl Bench {
    /// A run that is to be kept, with two batches of each party.
    async fn new(on: On) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(on.url().as_deref(), &dir.path().join("broker.sqlite")).unwrap();
        let run = Run {
            id: "r".parse().unwrap(),
            period: "2024-01".parse().unwrap(),
            parties: vec![party("ccas"), party("siao")],
            reference_party: None,
            base_run: None,
            kept: true,
            held: false,
            state: State::Collecting,
            step: String::new(),
            reason: String::new(),
            order_signature: vec![7; 64],
        };
        let blobs = BlobStore::local(&dir.path().join("uploads")).unwrap();
        let bench = Self { store: Store::open_at(&place).await.unwrap(), blobs, run, _dir: dir };
        assert!(bench.store.insert_run(&bench.run, b"agreement", 1).await.unwrap());
        for name in ["ccas", "siao"] {
            for sequence in 0..2 {
                bench.sent(name, &batch(sequence, 1)).await.unwrap();
            }
        }
        bench
    }

    /// As a batch goes that was admitted before: its blob, then its row.
    async fn sent(&self, name: &str, held: &HeldBatch) -> Result<(), ErrorKind> {
        self.blobs.put(&BlobName::new(&self.run.id, &party(name), u64::from(held.sequence)), vec![7; 10].into()).await.unwrap();
        let noted = note_batch(&self.store, &self.blobs, &self.run, &party(name), held, LIMIT).await;
        noted.map_err(|error| error.kind)
    }

    async fn stored(&self) -> Vec<(String, u64)> {
        let listed = self.blobs.list(&BlobPrefix::Run(self.run.id.clone())).await.unwrap();
        let mut names: Vec<_> = listed.into_iter().map(|(name, _)| (name.party.to_string(), name.number)).collect();
        names.sort();
        names
    }

    /// The run, closed and held.
    async fn held(&self) {
        for name in ["ccas", "siao"] {
            let upload = Upload {
                party: party(name),
                batches: 2,
                records: 20,
                digest: vec![1; 32],
                level_frequencies: b"{}".to_vec(),
                removed: Vec::new(),
                past_epoch: Some(0),
            };
            self.store.commit_upload(&self.run, &upload).await.unwrap();
        }
        self.store.lease("a", 100, 30).await.unwrap().unwrap();
        let steps = [Step::Compare, Step::Settle, Step::Cluster, Step::Deliver, Step::Delete];
        for (from, to) in steps.iter().zip(&steps[1..]) {
            self.store.advance(&self.run.id, "a", *from, *to).await.unwrap();
        }
        assert!(self.store.hold(&self.run.id, 1_000).await.unwrap());
    }
}

fn all() -> Vec<(String, u64)> {
    [("ccas", 0), ("ccas", 1), ("siao", 0), ("siao", 1)].map(|(name, number)| (name.to_owned(), number)).to_vec()
}

async fn a_batch_that_comes_late_to_a_held_base_takes_nothing_else_with_it(on: On) {
    let bench = Bench::new(on).await;
    bench.held().await;
    assert_eq!(bench.sent("ccas", &batch(2, 1)).await, Err(ErrorKind::Conflict));
    assert_eq!(bench.stored().await, all());
    // Another one under a number that is noted: what is there may be the one that was noted.
    assert_eq!(bench.sent("ccas", &batch(1, 2)).await, Err(ErrorKind::Conflict));
    // The same one again, its answer lost.
    assert_eq!(bench.sent("siao", &batch(0, 1)).await, Ok(()));
    assert_eq!(bench.stored().await, all());
    assert!(bench.store.run(&bench.run.id).await.unwrap().held);
}

async fn a_batch_that_comes_late_to_a_cancelled_run_leaves_no_blob(on: On) {
    let bench = Bench::new(on).await;
    assert!(bench.store.end_run(&bench.run.id, State::Cancelled, "annulé").await.unwrap());
    // Its deletion has passed by: nothing would ever delete what comes now.
    bench.blobs.delete_prefix(&BlobPrefix::Run(bench.run.id.clone())).await.unwrap();
    assert_eq!(bench.sent("ccas", &batch(2, 1)).await, Err(ErrorKind::Conflict));
    assert_eq!(bench.stored().await, []);
}
