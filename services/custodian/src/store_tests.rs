//! A run from its records to its link table, budgets, and the points of pseudonyms, on both databases.

use linkage_agreement::{PersonId, RecordRef};
use linkage_common::error::ErrorKind;
use linkage_test_databases::{On, on_both};

use super::*;
use crate::link_tables::Supersession;

on_both!(
    runs_become_link_tables_and_persons_stay_the_same,
    a_batch_is_held_once_and_its_number_is_taken,
    the_limit_holds_for_streams_sent_at_once,
    an_empty_batch_is_the_first_one_or_refused,
    what_a_replica_of_before_committed_has_its_references,
    a_handle_of_two_parties_names_neither_record,
    a_run_that_ended_without_clusters_is_forgotten,
    evaluations_are_charged_once,
    points_are_kept_by_domain,
    one_replica_registers_at_a_time,
);

/// Records that a party may send to a run.
const LIMIT: u64 = 10;

async fn store(on: On) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::of(on.url().as_deref(), &dir.path().join("custodian.sqlite")).unwrap();
    (dir, Store::open_at(&place).await.unwrap())
}

fn party(name: &str) -> PartyId {
    name.parse().unwrap()
}

fn parties() -> [PartyId; 2] {
    [party("ccas"), party("siao")]
}

fn run(name: &str) -> RunId {
    name.parse().unwrap()
}

fn month() -> Period {
    "2024-01".parse().unwrap()
}

/// The record with this number; its handle in a run is another number.
fn record(handle: u8, reference: u8, present: bool) -> RunRecord {
    RunRecord { handle: Handle([handle; 16]), reference: RecordRef([reference; 16]), present, sealed: vec![reference, handle] }
}

fn batch(sequence: u32, records: u64, digest: u8) -> HeldBatch {
    HeldBatch { sequence, records, digest: vec![digest; 32] }
}

fn upload(records: u64) -> RecordUpload {
    RecordUpload { digest: vec![3; 32], records, period: month(), reference_party: None }
}

fn packed(clusters: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for members in clusters {
        bytes.extend((members.len() as u16).to_le_bytes());
        for handle in *members {
            bytes.extend([*handle; 16]);
            bytes.push(1);
            bytes.extend(9_900_u16.to_le_bytes());
        }
    }
    bytes
}

impl Store {
    /// Takes a run of both parties into the registry; persons are named by `born` and the order in which they are minted.
    async fn taken(&self, name: &str, born: u8, records: [&[RunRecord]; 2], clusters: &[&[u8]]) -> u64 {
        for (party, records) in parties().iter().zip(records) {
            let count = records.len() as u64;
            self.put_records(&run(name), party, &batch(0, count, 1), records, LIMIT).await.unwrap();
            self.commit_records(&run(name), party, &upload(count), r#"{"etude":"00"}"#).await.unwrap();
        }
        self.put_clusters(&run(name), 0, true, &[9; 32], &packed(clusters)).await.unwrap();
        assert!(self.clusters_complete(&run(name), month(), &parties(), None, b"{}").await.unwrap());
        assert_eq!(self.clustered().await.unwrap(), [run(name)]);
        let mut minted = 0;
        let mint = || {
            minted += 1;
            PersonId([born + minted; 16])
        };
        self.register(&run(name), mint).await.unwrap()
    }
    /// Rows of a table: the record's and its person's first bytes, class, probability, what is sealed.
    async fn rows(&self, name: &str) -> Vec<(String, u8, u8, u8, u16, Vec<u8>)> {
        let rows = self.link_rows(&run(name), 0, 100).await.unwrap();
        rows.into_iter()
            .map(|r| (r.party.to_string(), r.reference.0[0], r.person.0[0], r.match_class, r.probability, r.sealed))
            .collect()
    }
}

async fn runs_become_link_tables_and_persons_stay_the_same(on: On) {
    let (_dir, store) = store(on).await;
    // Records 1 and 2 of ccas, 3 and 4 of siao; 2 and 3 are one person, 4 is departed.
    let first = [&[record(11, 1, true), record(12, 2, true)][..], &[record(13, 3, true), record(14, 4, false)]];
    assert_eq!(store.taken("r1", 100, first, &[&[12, 13]]).await, 3);
    let rows = store.rows("r1").await;
    let row = |party: &str, reference, person, class, probability, handle| {
        (party.to_owned(), reference, person, class, probability, vec![reference, handle])
    };
    assert_eq!(rows, [row("ccas", 1, 101, 0, 0, 11), row("ccas", 2, 102, 1, 9_900, 12), row("siao", 3, 102, 1, 9_900, 13)]);
    assert_eq!(store.link_rows(&run("r1"), 1, 1).await.unwrap().len(), 1);
    assert_eq!(store.link_rows(&run("r1"), 3, 9).await.unwrap().len(), 0);

    // Next: 1 and 2 are merged into the older person, 3 is alone and somebody new, 5 is new.
    let second =
        [&[record(21, 1, true), record(22, 2, true)][..], &[record(23, 3, true), record(24, 4, false), record(25, 5, true)]];
    store.taken("r2", 200, second, &[&[21, 22]]).await;
    let persons: Vec<(u8, u8)> = store.rows("r2").await.iter().map(|row| (row.1, row.2)).collect();
    assert_eq!(persons, [(1, 101), (2, 101), (3, 201), (5, 202)]);
    let lines = store.supersessions(&run("r2")).await.unwrap();
    let split = Supersession { old: PersonId([102; 16]), new: PersonId([201; 16]), moved: Some(RecordRef([3; 16])) };
    assert!(lines.contains(&split), "{lines:?}");
    let ready = store.ready().await.unwrap();
    let told: Vec<_> = ready.iter().map(|r| (r.run.to_string(), r.rows, r.position, r.changes)).collect();
    assert_eq!(told, [("r1".to_owned(), 3, 1, 0), ("r2".to_owned(), 4, 2, lines.len() as u64)]);
    let (report, keys) = store.run_papers(&run("r2")).await.unwrap();
    assert_eq!((&report[..], keys.len()), (&b"{}"[..], 2));
    assert_eq!(store.run_papers(&run("r3")).await.unwrap_err().kind, ErrorKind::NotFound);
    // What a run leaves behind is its table.
    assert_eq!(store.run_state(&run("r1")).await.unwrap().as_deref(), Some("ready"));
    assert_eq!(store.record_batches(&run("r1"), &parties()[0]).await.unwrap(), []);
}

async fn the_limit_holds_for_streams_sent_at_once(on: On) {
    let (_dir, store) = store(on).await;
    let sent: Vec<_> = (0..10)
        .map(|n| {
            let store = store.clone();
            let records = [record(2 * n, 2 * n, true), record(2 * n + 1, 2 * n + 1, true)];
            let batch = batch(u32::from(n), 2, n);
            tokio::spawn(async move {
                store.put_records(&run("r"), &party("ccas"), &batch, &records, LIMIT).await.map_err(|error| error.kind)
            })
        })
        .collect();
    let mut refused = 0;
    for task in sent {
        match task.await.unwrap() {
            Ok(()) => {}
            Err(kind) => {
                assert_eq!(kind, ErrorKind::Exhausted);
                refused += 1;
            }
        }
    }
    let held = store.record_batches(&run("r"), &party("ccas")).await.unwrap();
    assert_eq!((refused, held.len()), (5, 5));
    // What is held is so whatever the limit, its answer may have been lost; another party has its own.
    let again = &held[0];
    let n = u8::try_from(2 * again.sequence).unwrap();
    let records = [record(n, n, true), record(n + 1, n + 1, true)];
    store.put_records(&run("r"), &party("ccas"), again, &records, LIMIT).await.unwrap();
    store.put_records(&run("r"), &party("siao"), &batch(0, 2, 1), &records, LIMIT).await.unwrap();
}

async fn an_empty_batch_is_the_first_one_or_refused(on: On) {
    let (_dir, store) = store(on).await;
    let [ccas, siao] = parties();
    for sequence in [1, 2, u32::MAX] {
        let refused = store.put_records(&run("r"), &ccas, &batch(sequence, 0, 1), &[], LIMIT).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Invalid);
    }
    assert_eq!(store.record_batches(&run("r"), &ccas).await.unwrap(), []);
    // A party of which nobody is in the run sends it, and closes its upload.
    store.put_records(&run("r"), &siao, &batch(0, 0, 1), &[], LIMIT).await.unwrap();
    store.commit_records(&run("r"), &siao, &upload(0), "{}").await.unwrap();
    assert_eq!(store.record_upload(&run("r"), &siao).await.unwrap(), Some(upload(0)));
}

async fn a_batch_is_held_once_and_its_number_is_taken(on: On) {
    let (_dir, store) = store(on).await;
    let [ccas, siao] = parties();
    let (r, records) = (run("r"), [record(1, 1, true), record(2, 2, true)]);
    for _ in 0..2 {
        store.put_records(&r, &ccas, &batch(0, 2, 1), &records, LIMIT).await.unwrap();
    }
    let other = store.put_records(&r, &ccas, &batch(0, 2, 2), &records, LIMIT).await.unwrap_err();
    assert_eq!(other.kind, ErrorKind::Conflict);
    assert_eq!(store.record_batches(&r, &ccas).await.unwrap(), [batch(0, 2, 1)], "a refused batch left nothing");
    store.commit_records(&r, &ccas, &upload(2), "{}").await.unwrap();
    assert_eq!(store.commit_records(&r, &ccas, &upload(2), "{}").await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(
        store.put_records(&r, &ccas, &batch(1, 1, 3), &[record(3, 3, true)], LIMIT).await.unwrap_err().kind,
        ErrorKind::Conflict
    );
    assert_eq!(store.record_upload(&r, &ccas).await.unwrap(), Some(upload(2)));
    assert_eq!(store.record_upload(&r, &siao).await.unwrap(), None);
    assert_eq!(store.committed(&r).await.unwrap(), [(ccas.clone(), "2024-01".to_owned(), None)]);
    // A reference or a handle that was sent twice is found when the upload is complete, and leaves it open.
    for (name, again) in [("ref", record(3, 2, true)), ("handle", record(2, 3, true))] {
        let r = run(name);
        store.put_records(&r, &ccas, &batch(0, 2, 1), &records, LIMIT).await.unwrap();
        store.put_records(&r, &ccas, &batch(1, 1, 3), &[again], LIMIT).await.unwrap();
        assert_eq!(store.commit_records(&r, &ccas, &upload(3), "{}").await.unwrap_err().kind, ErrorKind::Conflict, "{name}");
        assert_eq!(store.record_upload(&r, &ccas).await.unwrap(), None);
        // Another party's are its own.
        store.put_records(&r, &siao, &batch(0, 2, 1), &records, LIMIT).await.unwrap();
        store.commit_records(&r, &siao, &upload(2), "{}").await.unwrap();
    }
    // Clusters are complete when each batch is there, and only the last one says that it is.
    store.put_clusters(&r, 1, true, &[2; 32], &packed(&[&[1, 2]])).await.unwrap();
    assert!(!store.clusters_complete(&r, month(), &parties(), None, b"").await.unwrap());
    store.put_clusters(&r, 0, false, &[1; 32], &[]).await.unwrap();
    assert_eq!(store.put_clusters(&r, 0, false, &[4; 32], &[]).await.unwrap_err().kind, ErrorKind::Conflict);
    assert!(store.clusters_complete(&r, month(), &parties(), None, b"").await.unwrap());
    assert_eq!(store.clusters_digest(&r).await.unwrap().len(), 32);
}

async fn what_a_replica_of_before_committed_has_its_references(on: On) {
    let (_dir, store) = store(on).await;
    let [ccas, siao] = parties();
    store.taken("r1", 1, [&[record(1, 1, true)], &[record(2, 2, true)]], &[&[1, 2]]).await;
    let r = run("r2");
    // `ccas` commits to a replica of before, which neither notes references nor finds the record sent twice.
    store.put_records(&r, &ccas, &batch(0, 2, 1), &[record(1, 1, true), record(3, 3, true)], LIMIT).await.unwrap();
    store.put_records(&r, &ccas, &batch(1, 1, 2), &[record(4, 3, true)], LIMIT).await.unwrap();
    sqlx::query("INSERT INTO record_uploads (run_id, party, period, digest, records, sealed_keys) VALUES ('r2', 'ccas', '2024-01', $1, 3, '{}')")
        .bind(&[1_u8; 32][..])
        .execute(&store.pool)
        .await
        .unwrap();
    store.put_records(&r, &siao, &batch(0, 1, 1), &[record(2, 2, true)], LIMIT).await.unwrap();
    store.commit_records(&r, &siao, &upload(1), "{}").await.unwrap();
    let noted = async || -> i64 {
        let count = "SELECT count(*) FROM handle_refs WHERE run_id = 'r2' AND party = 'ccas'";
        sqlx::query_scalar(count).fetch_one(&store.pool).await.unwrap()
    };
    assert_eq!(noted().await, 0);
    store.settled_pairs(&r, &parties(), jiff::civil::date(2024, 2, 1)).await.unwrap();
    assert_eq!(noted().await, 2);
    store.put_clusters(&r, 0, true, &[9; 32], &packed(&[&[1, 2]])).await.unwrap();
    assert!(store.clusters_complete(&r, month(), &parties(), None, b"").await.unwrap());
    sqlx::query("DELETE FROM handle_refs WHERE run_id = 'r2' AND party = 'ccas'").execute(&store.pool).await.unwrap();
    let mut minted = 50;
    let mint = || {
        minted += 1;
        PersonId([minted; 16])
    };
    assert_eq!(store.register(&r, mint).await.unwrap(), 2, "the two linked ones, and the one that came twice");
    assert_eq!(noted().await, 0, "forgotten with the run");
}

async fn a_handle_of_two_parties_names_neither_record(on: On) {
    let (_dir, store) = store(on).await;
    let (ccas, siao) = ([record(1, 1, true), record(2, 2, true)], [record(1, 3, true), record(4, 4, true)]);
    assert_eq!(store.taken("r", 1, [&ccas, &siao], &[&[1, 4], &[2, 1]]).await, 4, "nobody is linked by handle 1");
    let siao = [record(5, 3, true), record(4, 4, true)];
    assert_eq!(store.taken("s", 10, [&ccas, &siao], &[&[1, 4]]).await, 3);
}

async fn a_run_that_ended_without_clusters_is_forgotten(on: On) {
    let (_dir, store) = store(on).await;
    let [ccas, _] = parties();
    store.put_records(&run("r"), &ccas, &batch(0, 1, 1), &[record(1, 1, true)], LIMIT).await.unwrap();
    assert_eq!(store.close(&run("r")).await.unwrap(), 1);
    assert_eq!(store.close(&run("r")).await.unwrap(), 0);
    assert_eq!(store.close(&run("never")).await.unwrap(), 0);
    for name in ["r", "never"] {
        let late = store.put_records(&run(name), &ccas, &batch(0, 1, 1), &[record(1, 1, true)], LIMIT).await.unwrap_err();
        assert_eq!(late.kind, ErrorKind::Conflict);
    }
}

async fn evaluations_are_charged_once(on: On) {
    let (_dir, store) = store(on).await;
    let [ccas, _] = parties();
    let double = |declared: u64| declared * 2;
    assert_eq!(store.charge(&ccas, month(), &[1], 5, double).await.unwrap_err().kind, ErrorKind::Refused);
    assert_eq!(store.declare(&ccas, month(), 10).await.unwrap(), (10, 0));
    assert_eq!(store.declare(&ccas, month(), 4).await.unwrap(), (10, 0));
    store.affords(&ccas, month(), &[1], 20, double).await.unwrap();
    for _ in 0..2 {
        store.charge(&ccas, month(), &[1], 15, double).await.unwrap();
    }
    assert_eq!(store.charge(&ccas, month(), &[2], 6, double).await.unwrap_err().kind, ErrorKind::Exhausted);
    assert_eq!(store.declare(&ccas, month(), 11).await.unwrap(), (11, 15));
    // Asked at once, the budget is spent once.
    let asked: Vec<_> = (3..11_u8)
        .map(|digest| {
            let (store, ccas) = (store.clone(), ccas.clone());
            tokio::spawn(async move { store.charge(&ccas, month(), &[digest], 7, double).await.is_ok() })
        })
        .collect();
    let mut granted = 0;
    for task in asked {
        granted += u32::from(task.await.unwrap());
    }
    assert_eq!((granted, store.declare(&ccas, month(), 0).await.unwrap()), (1, (11, 22)));
}

async fn points_are_kept_by_domain(on: On) {
    let (_dir, store) = store(on).await;
    store.taken("r", 0, [&[record(1, 1, true)], &[record(2, 2, true)]], &[&[1, 2]]).await;
    let domain = store.point_domain(&[1; 32]).await.unwrap();
    assert_eq!(store.point_domain(&[1; 32]).await.unwrap(), domain);
    assert_ne!(store.point_domain(&[2; 32]).await.unwrap(), domain);
    let rows = store.handed_rows(&run("r"), 0, 9, domain).await.unwrap();
    assert!(rows.iter().all(|row| row.person_point.is_none() && row.record_point.is_none()));
    for _ in 0..2 {
        store.keep_points(domain, &[(rows[0].number, [5; 32])], &[(RecordRef([2; 16]), [6; 32])]).await.unwrap();
    }
    let known = store.handed_rows(&run("r"), 0, 9, domain).await.unwrap();
    let points: Vec<_> = known.iter().map(|row| (row.person_point, row.record_point)).collect();
    assert_eq!(points, [(Some([5; 32]), None), (Some([5; 32]), Some([6; 32]))]);
}

async fn one_replica_registers_at_a_time(on: On) {
    let (_dir, store) = store(on).await;
    let take = async |owner: &str, now: i64| store.take_lease("register", owner, now, now + 30).await.unwrap();
    assert!(take("a", 100).await);
    assert!(!take("b", 129).await);
    assert!(take("a", 120).await, "its owner prolongs it");
    assert!(!take("b", 149).await);
    assert!(take("b", 150).await, "the lease of a replica that says nothing runs out");
    assert!(!take("a", 151).await);
    store.give_lease_back("register", "a").await.unwrap();
    assert!(!take("a", 152).await, "what another holds is not given back");
    store.give_lease_back("register", "b").await.unwrap();
    assert!(take("a", 153).await);
}
