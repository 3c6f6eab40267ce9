//! Leases, admissions and endings, over times that a test sets.

use linkage_common::error::ErrorKind;
use linkage_test_databases::{On, on_both};

use super::*;
use crate::jobs::Step;

const LIMIT: u64 = 100;

struct Bench {
    _dir: tempfile::TempDir,
    place: Place,
    store: Store,
}

on_both!(
    a_step_is_never_leased_to_two_workers_at_once,
    workers_that_ask_at_once_get_different_runs,
    only_the_owner_of_the_lease_moves_a_run_on,
    a_step_that_waits_says_why_and_starts_afresh_once_done,
    a_run_ended_during_a_step_only_remains_to_be_deleted,
    nothing_is_admitted_after_commit_or_end,
    the_limit_holds_for_batches_sent_at_once,
    a_kept_run_is_held_until_its_time_is_over,
    a_kept_run_gives_way_to_a_newer_one_and_to_the_coordinator,
    increments_that_collect_end_with_their_base,
    leases_of_which_nothing_comes_are_counted_and_give_way,
    what_a_party_left_out_is_kept_with_its_upload_and_unknown_of_an_earlier_version,
    whoever_asks_for_runs_under_way_is_told_of_no_others_but_those_named,
    a_list_of_all_runs_has_an_end_and_leaves_out_none_of_which_anything_remains,
);

fn run_of(name: &str) -> Run {
    Run {
        id: name.parse().unwrap(),
        period: "2024-01".parse().unwrap(),
        parties: vec![ccas(), siao()],
        reference_party: None,
        base_run: None,
        kept: false,
        held: false,
        state: State::Collecting,
        step: String::new(),
        reason: String::new(),
        order_signature: vec![7; 64],
    }
}

fn ccas() -> PartyId {
    "ccas".parse().unwrap()
}

fn siao() -> PartyId {
    "siao".parse().unwrap()
}

fn batch(sequence: u32, digest: u8) -> HeldBatch {
    HeldBatch { sequence, records: 10, digest: vec![digest; 32] }
}

fn upload(party: PartyId) -> Upload {
    Upload {
        party,
        batches: 1,
        records: 10,
        digest: vec![1; 32],
        level_frequencies: b"{}".to_vec(),
        removed: Vec::new(),
        past_epoch: Some(0),
    }
}

impl Bench {
    async fn new(on: On) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(on.url().as_deref(), &dir.path().join("broker.sqlite")).unwrap();
        let store = Store::open_at(&place).await.unwrap();
        Self { _dir: dir, place, store }
    }
    async fn opened(&self, name: &str) -> Run {
        let run = run_of(name);
        assert!(self.store.insert_run(&run, b"agreement", 1).await.unwrap());
        run
    }
    /// A run that both parties have committed.
    async fn linking(&self, name: &str) -> Run {
        let run = self.opened(name).await;
        for party in [ccas(), siao()] {
            self.store.insert_batch(&run, &party, &batch(0, 1), LIMIT).await.unwrap();
            self.store.commit_upload(&run, &upload(party)).await.unwrap();
        }
        self.store.run(&run.id).await.unwrap()
    }
    async fn leased(&self, owner: &str, now: i64) -> Option<(String, Step)> {
        self.store.lease(owner, now, 30).await.unwrap().map(|(run, step, _)| (run.id.to_string(), step))
    }
}

async fn a_step_is_never_leased_to_two_workers_at_once(on: On) {
    let bench = Bench::new(on).await;
    let run = bench.linking("r").await;
    let step = || Some(("r".to_owned(), Step::Compare));
    assert_eq!(bench.leased("a", 100).await, step());
    for now in [100, 110, 129] {
        assert_eq!(bench.leased("b", now).await, None, "{now}");
    }
    assert!(bench.store.renew(&run.id, "a", 160).await.unwrap());
    assert_eq!(bench.leased("b", 159).await, None);
    assert_eq!(bench.leased("b", 160).await, step(), "the lease of a worker that says nothing runs out");
    assert!(!bench.store.renew(&run.id, "a", 500).await.unwrap());
    assert_eq!(bench.leased("a", 189).await, None);
}

async fn workers_that_ask_at_once_get_different_runs(on: On) {
    let bench = Bench::new(on).await;
    for name in ["r1", "r2", "r3"] {
        bench.linking(name).await;
    }
    let asked: Vec<_> = (0..8)
        .map(|n| {
            let store = bench.store.clone();
            tokio::spawn(
                async move { store.lease(&format!("worker{n}"), 100, 30).await.unwrap().map(|(run, ..)| run.id.to_string()) },
            )
        })
        .collect();
    let mut leased = Vec::new();
    for task in asked {
        leased.extend(task.await.unwrap());
    }
    leased.sort();
    assert_eq!(leased, ["r1", "r2", "r3"]);
}

async fn only_the_owner_of_the_lease_moves_a_run_on(on: On) {
    let bench = Bench::new(on).await;
    let run = bench.linking("r").await;
    bench.leased("a", 100).await.unwrap();
    bench.leased("b", 200).await.unwrap();
    bench.store.advance(&run.id, "a", Step::Compare, Step::Cluster).await.unwrap();
    assert_eq!(bench.store.run(&run.id).await.unwrap(), run, "the late owner changes nothing");
    bench.store.advance(&run.id, "b", Step::Cluster, Step::Deliver).await.unwrap();
    assert_eq!(bench.store.run(&run.id).await.unwrap(), run, "no step is skipped");
    bench.store.advance(&run.id, "b", Step::Compare, Step::Cluster).await.unwrap();
    bench.store.advance(&run.id, "b", Step::Compare, Step::Cluster).await.unwrap();
    assert_eq!(bench.store.run(&run.id).await.unwrap().step, "cluster");
    bench.store.advance(&run.id, "b", Step::Cluster, Step::Deliver).await.unwrap();
    assert_eq!(bench.store.run(&run.id).await.unwrap().state, State::Delivering);
    bench.store.advance(&run.id, "b", Step::Deliver, Step::Delete).await.unwrap();
    assert_eq!(bench.store.run(&run.id).await.unwrap().state, State::Closed);
}

async fn a_step_that_waits_says_why_and_starts_afresh_once_done(on: On) {
    let bench = Bench::new(on).await;
    let run = bench.linking("r").await;
    for (attempt, now) in [(1, 100), (2, 200)] {
        bench.leased("a", now).await.unwrap();
        bench.store.postpone(&run.id, "a", now + 50, "en attente").await.unwrap();
        assert_eq!(bench.store.attempts(&run.id).await.unwrap(), attempt);
        assert_eq!(bench.leased("a", now + 49).await, None);
    }
    assert_eq!(bench.store.run(&run.id).await.unwrap().reason, "en attente");
    bench.leased("a", 250).await.unwrap();
    bench.store.advance(&run.id, "a", Step::Compare, Step::Cluster).await.unwrap();
    assert_eq!(bench.store.run(&run.id).await.unwrap().reason, "");
    assert_eq!(bench.store.attempts(&run.id).await.unwrap(), 0);
}

async fn a_run_ended_during_a_step_only_remains_to_be_deleted(on: On) {
    let bench = Bench::new(on).await;
    let run = bench.linking("r").await;
    bench.leased("a", 100).await.unwrap();
    assert!(bench.store.end_run(&run.id, State::Cancelled, "annulé").await.unwrap());
    assert!(!bench.store.end_run(&run.id, State::Failed, "autre").await.unwrap());
    bench.store.advance(&run.id, "a", Step::Compare, Step::Cluster).await.unwrap();
    bench.store.postpone(&run.id, "a", 0, "en attente").await.unwrap();
    let ended = bench.store.run(&run.id).await.unwrap();
    assert_eq!((ended.state, ended.step.as_str(), ended.reason.as_str()), (State::Cancelled, "delete", "annulé"));
    assert_eq!(bench.leased("b", 131).await, Some(("r".to_owned(), Step::Delete)));
    let draft = |rule: &str| linkage_common::deletion::Draft {
        rule: rule.to_owned(),
        value: None,
        cause: linkage_common::deletion::Cause::RunEnded,
        as_of: jiff::civil::date(2024, 1, 1),
        run: Some(run.id.clone()),
        data: Vec::new(),
    };
    bench.store.record_deletion(&run.id, &draft("first")).await.unwrap();
    bench.store.record_deletion(&run.id, &draft("second")).await.unwrap();
    let noted: Vec<(i64, String)> =
        sqlx::query_as("SELECT number, draft FROM certificates").fetch_all(&bench.store.pool).await.unwrap();
    assert_eq!(noted.len(), 1);
    assert!(noted[0].0 == 1 && noted[0].1.contains("first"));
    assert_eq!(bench.store.deletion(&run.id).await.unwrap(), None);
    assert_eq!(bench.store.batches(&run.id, &ccas()).await.unwrap(), []);
    assert!(bench.store.committed(&run.id).await.unwrap().iter().all(|u| u.level_frequencies.is_empty()));
    bench.store.finish(&run.id).await.unwrap();
    assert_eq!(bench.leased("b", 1_000).await, None);
}

async fn nothing_is_admitted_after_commit_or_end(on: On) {
    let bench = Bench::new(on).await;
    let kind = |result: Result<(), ServiceError>| result.map_err(|e| e.kind);
    let run = bench.opened("r").await;
    bench.store.insert_batch(&run, &ccas(), &batch(0, 1), LIMIT).await.unwrap();
    bench.store.commit_upload(&run, &upload(ccas())).await.unwrap();
    assert_eq!(kind(bench.store.commit_upload(&run, &upload(ccas())).await), Err(ErrorKind::Conflict));
    assert_eq!(kind(bench.store.insert_batch(&run, &ccas(), &batch(1, 1), LIMIT).await), Err(ErrorKind::Conflict));
    bench.store.insert_batch(&run, &ccas(), &batch(0, 1), LIMIT).await.unwrap();
    bench.store.insert_batch(&run, &siao(), &batch(0, 1), LIMIT).await.unwrap();
    assert!(bench.store.end_run(&run.id, State::Cancelled, "annulé").await.unwrap());
    assert_eq!(kind(bench.store.insert_batch(&run, &siao(), &batch(1, 1), LIMIT).await), Err(ErrorKind::Conflict));
    assert_eq!(kind(bench.store.commit_upload(&run, &upload(siao())).await), Err(ErrorKind::Conflict));
}

async fn the_limit_holds_for_batches_sent_at_once(on: On) {
    let bench = Bench::new(on).await;
    let run = bench.opened("r").await;
    let sent: Vec<_> = (0..20)
        .map(|n| {
            let (store, run) = (bench.store.clone(), run.clone());
            tokio::spawn(async move { store.insert_batch(&run, &ccas(), &batch(n, 1), LIMIT).await.map_err(|e| e.kind) })
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
    assert_eq!(refused, 10);
    assert_eq!(bench.store.batches(&run.id, &ccas()).await.unwrap().len(), 10);
}

/// A kept run on the point of being held, with its step leased to "a".
async fn closed(bench: &Bench, name: &str) -> RunId {
    let run = Run { kept: true, ..run_of(name) };
    assert!(bench.store.insert_run(&run, b"agreement", 1).await.unwrap());
    for party in [ccas(), siao()] {
        bench.store.commit_upload(&run, &upload(party)).await.unwrap();
    }
    assert!(bench.leased("a", 100).await.is_some());
    for (from, to) in [
        (Step::Compare, Step::Settle),
        (Step::Settle, Step::Cluster),
        (Step::Cluster, Step::Deliver),
        (Step::Deliver, Step::Delete),
    ] {
        bench.store.advance(&run.id, "a", from, to).await.unwrap();
    }
    run.id
}

async fn a_kept_run_is_held_until_its_time_is_over(on: On) {
    let bench = Bench::new(on).await;
    let run = closed(&bench, "r").await;
    assert!(bench.store.hold(&run, 1_000).await.unwrap());
    assert!(bench.store.hold(&run, 1_000).await.unwrap(), "a step done again");
    assert!(bench.store.run(&run).await.unwrap().held);
    bench.store.expire(999).await.unwrap();
    assert_eq!(bench.leased("b", 999).await, None, "nothing is left to do");
    for _ in 0..2 {
        bench.store.expire(1_000).await.unwrap();
    }
    assert_eq!(bench.leased("b", 1_000).await, Some(("r".to_owned(), Step::Delete)));
    assert!(!bench.store.hold(&run, 2_000).await.unwrap(), "what has expired is deleted, not held again");
    let now = bench.store.run(&run).await.unwrap();
    assert_eq!((now.state, now.held, now.kept), (State::Closed, false, true));
    bench.store.finish(&run).await.unwrap();
    assert!(!bench.store.let_go(&run).await.unwrap());
}

async fn a_kept_run_gives_way_to_a_newer_one_and_to_the_coordinator(on: On) {
    let bench = Bench::new(on).await;
    let first = closed(&bench, "r1").await;
    assert!(bench.store.hold(&first, 1_000).await.unwrap());
    let second = closed(&bench, "r2").await;
    assert!(bench.store.hold(&second, 1_000).await.unwrap());
    assert!(!bench.store.run(&first).await.unwrap().held && bench.store.run(&second).await.unwrap().held);
    assert_eq!(bench.leased("b", 131).await, Some(("r1".to_owned(), Step::Delete)));
    bench.store.finish(&first).await.unwrap();
    assert!(bench.store.let_go(&second).await.unwrap());
    assert!(!bench.store.let_go(&second).await.unwrap());
    assert_eq!(bench.leased("b", 131).await, Some(("r2".to_owned(), Step::Delete)));
    bench.store.finish(&second).await.unwrap();

    // Let go between its close and its being held.
    let third = closed(&bench, "r3").await;
    assert!(bench.store.let_go(&third).await.unwrap());
    assert!(!bench.store.hold(&third, 1_000).await.unwrap());
    // A run that nobody ordered to be kept is never held.
    let run = bench.linking("r4").await;
    assert!(bench.store.end_run(&run.id, State::Cancelled, "annulé").await.unwrap());
    assert!(!bench.store.hold(&run.id, 1_000).await.unwrap() && !bench.store.let_go(&run.id).await.unwrap());
}

async fn increments_that_collect_end_with_their_base(on: On) {
    let bench = Bench::new(on).await;
    let base = closed(&bench, "r1").await;
    assert!(bench.store.hold(&base, 1_000).await.unwrap());
    for (name, of) in [("i1", Some("r1")), ("i2", Some("r1")), ("i3", Some("r9")), ("r2", None)] {
        let run = Run { base_run: of.map(|base| base.parse().unwrap()), ..run_of(name) };
        assert!(bench.store.insert_run(&run, b"agreement", 2).await.unwrap());
    }
    // This one is being linked: its step finds that the base is gone.
    let linking = bench.store.run(&"i2".parse().unwrap()).await.unwrap();
    for party in [ccas(), siao()] {
        bench.store.commit_upload(&linking, &upload(party)).await.unwrap();
    }
    assert!(bench.store.let_go(&base).await.unwrap());
    let mut states = Vec::new();
    for name in ["i1", "i2", "i3", "r2"] {
        let run = bench.store.run(&name.parse().unwrap()).await.unwrap();
        states.push((run.state, run.step, run.reason.contains("n'est plus détenu")));
    }
    let open = || (State::Collecting, String::new(), false);
    let ended = (State::Failed, "delete".to_owned(), true);
    assert_eq!(states, [ended, (State::Linking, "compare".to_owned(), false), open(), open()]);
    let mut leased = Vec::new();
    for owner in ["a", "b", "c", "d"] {
        leased.extend(bench.leased(owner, 100).await.map(|(run, step)| (run, step == Step::Delete)));
    }
    assert_eq!(leased, [("r1".to_owned(), true), ("i1".to_owned(), true), ("i2".to_owned(), false)]);
}

async fn leases_of_which_nothing_comes_are_counted_and_give_way(on: On) {
    let bench = Bench::new(on).await;
    let (first, second) = (bench.linking("r1").await, bench.linking("r2").await);
    let lease = async |now: i64| {
        let (run, _, tries) = bench.store.lease("a", now, 30).await.unwrap().unwrap();
        (run.id.to_string(), tries)
    };
    // Its worker is killed each time; then the other run has its turn, and is not starved.
    for tries in 1..4 {
        assert_eq!(lease(100 * i64::from(tries)).await, ("r1".to_owned(), tries));
    }
    assert_eq!(lease(400).await, ("r2".to_owned(), 1));
    bench.store.advance(&second.id, "a", Step::Compare, Step::Settle).await.unwrap();
    assert_eq!(lease(500).await, ("r2".to_owned(), 1), "what came to something begins anew");
    bench.store.postpone(&second.id, "a", 5_000, "en attente").await.unwrap();
    assert_eq!(lease(600).await, ("r1".to_owned(), 4));
    bench.store.postpone(&first.id, "a", 700, "en attente").await.unwrap();
    assert_eq!(lease(700).await, ("r1".to_owned(), 1), "a fault is told, and counted as one");
    assert_eq!(bench.store.attempts(&first.id).await.unwrap(), 1);
    bench.store.release(&first.id, "a").await.unwrap();
    assert_eq!(lease(800).await, ("r1".to_owned(), 1));
}

async fn what_a_party_left_out_is_kept_with_its_upload_and_unknown_of_an_earlier_version(on: On) {
    let bench = Bench::new(on).await;
    let (run, pool) = (bench.opened("r").await, &bench.store.pool);
    let counts = async |store: &Store| -> Vec<Option<u64>> {
        store.committed(&run.id).await.unwrap().into_iter().map(|upload| upload.past_epoch).collect()
    };
    for (party, past_epoch) in [(ccas(), Some(12)), (siao(), None)] {
        bench.store.commit_upload(&run, &Upload { past_epoch, ..upload(party) }).await.unwrap();
    }
    assert_eq!(counts(&bench.store).await, [Some(12), None]);
    // It ends with the encodings of its run.
    let ended = bench.opened("q").await;
    bench.store.commit_upload(&ended, &Upload { past_epoch: Some(3), ..upload(ccas()) }).await.unwrap();
    let draft = linkage_common::deletion::Draft {
        rule: "retention.encodings_days".to_owned(),
        value: None,
        cause: linkage_common::deletion::Cause::RunEnded,
        as_of: jiff::civil::date(2024, 1, 1),
        run: Some(ended.id.clone()),
        data: Vec::new(),
    };
    bench.store.record_deletion(&ended.id, &draft).await.unwrap();
    assert_eq!(bench.store.committed(&ended.id).await.unwrap()[0].past_epoch, None);
    assert_eq!(counts(&bench.store).await, [Some(12), None]);
    // Back to the version before and forward again: the uploads are there, the counts are not known.
    pool.migrate_to(&SCHEMA, 8).await.unwrap();
    pool.migrate_to(&SCHEMA, 9).await.unwrap();
    let again = Store::open_at(&bench.place).await.unwrap();
    assert_eq!(counts(&again).await, [None, None]);
}

impl Bench {
    /// A run that was ended; its deletion is done when nothing `remains`.
    async fn ended(&self, name: &str, remains: bool) -> Run {
        let run = self.opened(name).await;
        assert!(self.store.end_run(&run.id, State::Cancelled, "annulé").await.unwrap());
        if !remains {
            self.store.finish(&run.id).await.unwrap();
        }
        run
    }
    /// What a list says: each run's name and who has committed.
    async fn listed(&self, under_way: bool, also: &[&str]) -> Vec<(String, Vec<String>)> {
        let also: Vec<RunId> = also.iter().map(|name| name.parse().unwrap()).collect();
        let listed = self.store.listed(under_way, &also).await.unwrap();
        let names = |parties: Vec<PartyId>| parties.iter().map(ToString::to_string).collect();
        listed.into_iter().map(|(run, committed)| (run.id.to_string(), names(committed))).collect()
    }
}

async fn whoever_asks_for_runs_under_way_is_told_of_no_others_but_those_named(on: On) {
    let bench = Bench::new(on).await;
    let said = |name: &str, committed: &[&str]| (name.to_owned(), committed.iter().map(ToString::to_string).collect::<Vec<_>>());
    bench.ended("r1", false).await;
    bench.linking("r2").await;
    bench.ended("r3", true).await;
    let half = bench.opened("r4").await;
    bench.store.commit_upload(&half, &upload(siao())).await.unwrap();
    bench.opened("r5").await;
    let both = ["ccas", "siao"];
    let open = [said("r2", &both), said("r4", &["siao"]), said("r5", &[])];
    assert_eq!(bench.listed(true, &[]).await, open);
    // A name that is part of another one, and one that nobody knows, are no other run's.
    assert_eq!(bench.listed(true, &["r", "r55", "1"]).await, open);
    let [two, four, five] = open;
    assert_eq!(
        bench.listed(true, &["r3", "r5", "r1"]).await,
        [said("r1", &[]), two.clone(), said("r3", &[]), four.clone(), five.clone()]
    );
    assert_eq!(bench.listed(false, &[]).await, [said("r1", &[]), two, said("r3", &[]), four, five]);
    for (name, parties) in [("r2", &both[..]), ("r4", &both[1..]), ("r5", &[])] {
        let committed = bench.store.committed_parties(&name.parse().unwrap()).await.unwrap();
        assert_eq!(committed.iter().map(PartyId::as_str).collect::<Vec<_>>(), parties);
    }
}

async fn a_list_of_all_runs_has_an_end_and_leaves_out_none_of_which_anything_remains(on: On) {
    let bench = Bench::new(on).await;
    let most = usize::try_from(crate::status::MOST_ENDED).unwrap();
    bench.opened("collects").await;
    bench.ended("deletes", true).await;
    for n in 0..=most {
        let number = format!("r{n}");
        sqlx::query(
            "INSERT INTO runs (run_id, agreement, period, parties, order_signature, state, step, opened_at)
             SELECT $1, agreement, period, parties, order_signature, 'closed', '', 2 FROM runs WHERE run_id = 'collects'",
        )
        .bind(number)
        .execute(&bench.store.pool)
        .await
        .unwrap();
    }
    let listed = bench.listed(false, &[]).await;
    let names: Vec<&str> = listed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), most + 2, "of those that have ended, the latest");
    assert_eq!((names[0], names[1], names[2], names[most + 1]), ("collects", "deletes", "r1", format!("r{most}").as_str()));
}
