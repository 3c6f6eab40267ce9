//! What analysts are told of persons that changed is what the rows they have need, and no more.

use std::collections::{BTreeMap, BTreeSet};

use linkage_agreement::{Handle, Period, RecordRef};
use linkage_common::batches::HeldBatch;
use linkage_common::database::Place;
use linkage_common::error::ErrorKind;
use linkage_common::receipt::{RequestId, Signed};
use linkage_test_databases::{On, on_both};

use super::*;
use crate::link_tables::Supersession;
use crate::rights::{Kind as Asked, Withdrawal};
use crate::store::RunRecord;

on_both!(
    a_list_names_nobody_whom_no_row_bears,
    lists_lead_every_row_to_its_person_and_hold_no_line_without_a_row,
    what_was_read_before_another_run_was_taken_in_is_not_written,
    rows_that_are_put_back_find_their_ids_free,
);

/// A record: its party's position, its reference, whether it is of the month.
type Delivered = (usize, u8, bool);

struct Registry {
    _dir: tempfile::TempDir,
    store: Store,
    parties: Vec<PartyId>,
    /// Persons minted and requests made.
    drawn: u64,
}

fn run(name: &str) -> RunId {
    name.parse().unwrap()
}

impl Registry {
    async fn new(on: On) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(on.url().as_deref(), &dir.path().join("custodian.sqlite")).unwrap();
        let store = Store::open_at(&place).await.unwrap();
        let parties = ["ccas", "siao"].map(|id| id.parse().unwrap()).to_vec();
        Self { _dir: dir, store, parties, drawn: 0 }
    }

    /// A run with all its clusters; handles are references.
    async fn clustered(&self, name: &str, records: &[Delivered], clusters: &[&[u8]], reference: Option<usize>) {
        for (at, party) in self.parties.iter().enumerate() {
            let mine = |&&(of, ..): &&Delivered| of == at;
            let records: Vec<RunRecord> = records
                .iter()
                .filter(mine)
                .map(|&(_, reference, present)| RunRecord {
                    handle: Handle([reference; 16]),
                    reference: RecordRef([reference; 16]),
                    present,
                    sealed: vec![reference],
                })
                .collect();
            let batch = HeldBatch { sequence: 0, records: records.len() as u64, digest: vec![1; 32] };
            self.store.put_records(&run(name), party, &batch, &records, 1_000).await.unwrap();
        }
        let member = |handle: &u8| [&[*handle; 16][..], &[1], &9_900_u16.to_le_bytes()].concat();
        let packed: Vec<u8> = clusters
            .iter()
            .flat_map(|members| {
                [(members.len() as u16).to_le_bytes().to_vec(), members.iter().flat_map(member).collect::<Vec<u8>>()].concat()
            })
            .collect();
        self.store.put_clusters(&run(name), 0, true, &[9; 32], &packed).await.unwrap();
        let month: Period = "2024-01".parse().unwrap();
        let reference = reference.map(|at| &self.parties[at]);
        assert!(self.store.clusters_complete(&run(name), month, &self.parties, reference, b"{}").await.unwrap());
    }

    async fn register(&mut self, name: &str) -> u64 {
        let drawn = &mut self.drawn;
        let mint = || {
            *drawn += 1;
            PersonId(u128::from(*drawn).to_be_bytes())
        };
        self.store.register(&run(name), mint).await.unwrap()
    }

    /// Takes a run into the registry; returns its list, whose length the table's announcement tells.
    async fn taken(&mut self, name: &str, records: &[Delivered], clusters: &[&[u8]], of: Option<usize>) -> Vec<Supersession> {
        self.clustered(name, records, clusters, of).await;
        self.register(name).await;
        let list = self.store.supersessions(&run(name)).await.unwrap();
        let ready = self.store.ready().await.unwrap();
        assert_eq!(ready.last().map(|last| (&last.run, last.changes)), Some((&run(name), list.len() as u64)));
        list
    }

    /// Reference and person of each row.
    async fn rows(&self, name: &str) -> Vec<(u8, PersonId)> {
        let rows = self.store.link_rows(&run(name), 0, 1_000).await.unwrap();
        rows.into_iter().map(|row| (row.reference.0[0], row.person)).collect()
    }

    async fn person_of(&self, reference: u8) -> Option<PersonId> {
        let row = sqlx::query("SELECT p.person FROM refs r JOIN persons p ON p.number = r.person WHERE r.ref = $1")
            .bind(&[reference; 16][..])
            .fetch_optional(&self.store.pool)
            .await
            .unwrap();
        row.map(|row| PersonId(sixteen(row.get(0)).unwrap()))
    }

    async fn ask(&mut self, kind: Asked, party: usize, reference: u8) {
        self.drawn += 1;
        let request = RequestId::from_slice(&u128::from(self.drawn).to_be_bytes()).unwrap();
        let (party, references) = (self.parties[party].clone(), vec![RecordRef([reference; 16])]);
        let asked = Withdrawal { party, request, kind, references, restarted: vec![] };
        self.store.withdraw(&asked, |_| Ok(Signed { statement: vec![], signature: vec![] })).await.unwrap();
    }
}

async fn a_list_names_nobody_whom_no_row_bears(on: On) {
    let mut registry = Registry::new(on).await;
    // ccas has 1 to 5, siao 10 and is the reference party: the table holds 1 and 10 only.
    let all: Vec<Delivered> = vec![(0, 1, true), (0, 2, true), (0, 3, true), (0, 4, false), (0, 5, true), (1, 10, true)];
    assert_eq!(registry.taken("r1", &all, &[&[1, 10], &[2, 3, 4, 5]], Some(1)).await, []);
    assert_eq!(registry.rows("r1").await.len(), 2);
    assert_eq!(registry.taken("r2", &all, &[&[1, 10], &[3, 4]], Some(1)).await, [], "a split of a person without rows");
    assert_ne!(registry.person_of(3).await, registry.person_of(2).await);
    assert_eq!(
        registry.taken("r3", &all, &[&[1, 10], &[2, 3, 4, 5]], Some(1)).await,
        [],
        "nor is it told that they are one again"
    );
    assert_eq!(registry.person_of(3).await, registry.person_of(2).await);

    // Without reference party, 2, 3 and 5 have rows; 4 has departed and has none.
    assert_eq!(registry.taken("r4", &all, &[&[1, 10], &[2, 3, 4, 5]], None).await, []);
    assert_eq!(
        registry.taken("r5", &all, &[&[1, 10, 4], &[2, 3, 5]], Some(1)).await,
        [],
        "no row of 4 bears the person it leaves"
    );
    let (before, now) = (registry.person_of(3).await.unwrap(), registry.person_of(1).await.unwrap());
    let moved = |old, new| Supersession { old, new, moved: Some(RecordRef([3; 16])) };
    assert_eq!(registry.taken("r6", &all, &[&[1, 10, 3, 4], &[2, 5]], Some(1)).await, [moved(before, now)]);
    // Rows of 2, 3 and 5 are in tables of before, so that it is told what becomes of 3, though this table leaves both out.
    assert_eq!(registry.taken("r7", &all, &[&[1, 10, 4], &[2, 3, 5]], Some(1)).await, [moved(now, before)]);
    let list = registry.taken("r8", &all, &[&[1, 10, 2, 3, 4, 5]], Some(1)).await;
    assert_eq!(list, [Supersession { old: before, new: now, moved: None }]);
}

/// Many runs drawn at random, with and without a reference party, and records set aside and put back between them.
async fn lists_lead_every_row_to_its_person_and_hold_no_line_without_a_row(on: On) {
    let mut state = 7_u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % below
    };
    let mut registry = Registry::new(on).await;
    let mut aside: BTreeSet<u8> = BTreeSet::new();
    // By run: its list, and all rows that its table ever had.
    let mut runs: Vec<(String, Vec<Supersession>, BTreeMap<u8, PersonId>)> = Vec::new();
    let (mut told, mut kept) = (0, 0);
    for number in 0..45_u8 {
        // New records come and old ones go: of those that stay, all have had a row before long.
        let party_of = |reference: u8| usize::from(reference.is_multiple_of(2));
        let (first, last) = (1 + number / 2, 11 + number / 2);
        let reference = first + draw(11) as u8;
        if aside.remove(&reference) {
            registry.ask(Asked::Restore, party_of(reference), reference).await;
        } else if registry.person_of(reference).await.is_some() && aside.len() < 3 {
            registry.ask(Asked::SetAside, party_of(reference), reference).await;
            aside.insert(reference);
        }
        let mut records: Vec<Delivered> = Vec::new();
        let mut groups: Vec<Vec<u8>> = vec![vec![]; 7];
        for reference in (first..=last).filter(|reference| !aside.contains(reference)) {
            if draw(8) > 0 {
                records.push((party_of(reference), reference, draw(3) > 1));
                groups[draw(7)].push(reference);
            }
        }
        let clusters: Vec<&[u8]> = groups.iter().filter(|group| group.len() > 1).map(Vec::as_slice).collect();
        let name = format!("r{number}");
        let list = registry.taken(&name, &records, &clusters, Some(draw(8) % 3).filter(|at| *at < 2)).await;
        let rows = registry.rows(&name).await.into_iter().collect();
        runs.push((name, list, rows));
        let all: i64 = sqlx::query("SELECT count(*) FROM supersessions").fetch_one(&registry.store.pool).await.unwrap().get(0);

        // The rows of every table under the lists after it, as an analyst follows them.
        let mut followed: Vec<(u8, PersonId)> = Vec::new();
        told = 0;
        for (name, list, rows) in &runs {
            for line in list {
                let mut any = false;
                for (reference, person) in &mut followed {
                    if *person == line.old && line.moved.is_some_and(|moved| moved.0[0] == *reference) {
                        (*person, any) = (line.new, true);
                    }
                }
                assert!(any || line.moved.is_none(), "{name}: a move of no row: {line:?}");
            }
            for line in list.iter().filter(|line| line.moved.is_none()) {
                let of_it = followed.iter_mut().filter(|(_, person)| *person == line.old);
                assert!(of_it.map(|(_, person)| *person = line.new).count() > 0, "{name}: a merge of no row: {line:?}");
            }
            told += list.len() as i64;
            followed.extend(rows.iter().map(|(reference, person)| (*reference, *person)));
            // What is put back is under the person of then, and the lists since are the same.
            let held = registry.rows(name).await;
            let there: BTreeMap<u8, PersonId> = rows.clone().into_iter().filter(|(r, _)| !aside.contains(r)).collect();
            assert_eq!(held.into_iter().collect::<BTreeMap<_, _>>(), there, "{name}");
        }
        for (reference, person) in followed.into_iter().filter(|(reference, _)| !aside.contains(reference)) {
            assert_eq!(Some(person), registry.person_of(reference).await, "after r{number}: {reference}");
        }
        kept = all;
    }
    assert!(told > 20 && kept > told + 20, "{told} of {kept}: the test tells nothing");
}

async fn what_was_read_before_another_run_was_taken_in_is_not_written(on: On) {
    let mut registry = Registry::new(on).await;
    let records: Vec<Delivered> = vec![(0, 1, true), (0, 2, true), (1, 10, true)];
    registry.taken("r1", &records, &[&[1, 10]], None).await;
    for name in ["r2", "r3"] {
        registry.clustered(name, &records, &[&[1, 10], &[2]], None).await;
    }
    let store = registry.store.clone();
    let mut connection = store.pool.acquire().await.unwrap();
    let early = read(&mut connection, &run("r2")).await.unwrap();
    let plan = early.linked.plan(early.registry.newest, None);
    // It mints nobody, so that the newest person stays.
    let minted = registry.drawn;
    registry.register("r3").await;
    assert_eq!(registry.drawn, minted);
    let mut tx = store.pool.begin_on(&mut connection).await.unwrap();
    let refused = write(&mut tx, &run("r2"), &early, &plan, &mut || PersonId([0; 16])).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Internal);
    drop(tx);
    drop(connection);
    registry.register("r2").await;
    assert_eq!(registry.rows("r2").await, registry.rows("r3").await);
}

async fn rows_that_are_put_back_find_their_ids_free(on: On) {
    let mut registry = Registry::new(on).await;
    let records: Vec<Delivered> = vec![(0, 1, true), (0, 2, true), (1, 10, true)];
    registry.taken("r1", &records, &[&[1, 10]], None).await;
    let whole = registry.rows("r1").await;
    // The last rows of the last table are taken out, and another table comes.
    for (party, reference) in [(0, 2), (1, 10)] {
        registry.ask(Asked::SetAside, party, reference).await;
    }
    registry.taken("r2", &records[..1], &[], None).await;
    assert_eq!((registry.rows("r1").await.len(), registry.rows("r2").await.len()), (1, 1));
    for (party, reference) in [(0, 2), (1, 10)] {
        registry.ask(Asked::Restore, party, reference).await;
    }
    assert_eq!((registry.rows("r1").await, registry.rows("r2").await.len()), (whole, 1));
}
