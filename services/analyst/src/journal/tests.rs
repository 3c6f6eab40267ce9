//! The journal: budgets, approvals, repetition, and what an altered file shows.

use linkage_cohort::query::Query;
use linkage_common::error::ErrorKind;
use linkage_common::store::Kind;
use linkage_crypto::signing::SigningKey;
use linkage_test_databases::{On, on_both};
use tempfile::TempDir;

use super::*;
use crate::publish::{Question, Release};

on_both!(
    the_same_table_is_one_publication_and_the_budget_is_of_a_month,
    all_producers_approve_or_one_rejects_and_decisions_are_final,
    what_was_altered_behind_its_back_shows,
    signatures_are_checked_under_the_agreement_s_keys,
    columns_and_approvals_are_held_against_the_document,
    lists_hold_no_document_and_are_read_in_parts,
);

const HASH: [u8; 32] = [7; 32];

fn party(name: &str) -> PartyId {
    name.parse().unwrap()
}

fn moment(day: &str) -> Moment {
    let today: Date = day.parse().unwrap();
    Moment { at: format!("{day}T10:00:00Z").parse::<jiff::Timestamp>().unwrap().as_second(), today }
}

fn document(title: &str, producers: &[&str]) -> Document {
    let query: Query = serde_json::from_value(serde_json::json!({
        "title": title, "measure": "count", "periods": { "from": "2024-01", "to": "2024-01" }
    }))
    .unwrap();
    Document {
        agreement: hex::encode(HASH),
        analyst: party("etude"),
        question: Question::Query(query),
        release: Release { runs: vec!["r1".parse().unwrap()], withdrawals: 0 },
        producers: producers.iter().map(|p| party(p)).collect(),
        tables: vec![crate::testing::table(title)],
    }
}

fn proposal(title: &str, producers: &[&str]) -> Proposal {
    let document = document(title, producers);
    Proposal {
        id: document.id().unwrap(),
        analyst: document.analyst.clone(),
        title: title.to_owned(),
        tables: 1,
        justification: "Rapport annuel".to_owned(),
        by: "console essai".to_owned(),
        producers: document.producers.clone(),
        release: document.release.clone(),
        document: document.to_bytes().unwrap(),
        kept: None,
    }
}

async fn journal(on: On) -> (TempDir, Journal) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::of(on.url().as_deref(), &dir.path().join(FILE)).unwrap();
    let journal = Journal::open_at(&place).await.unwrap();
    (dir, journal)
}

async fn the_same_table_is_one_publication_and_the_budget_is_of_a_month(on: On) {
    let (_dir, journal) = journal(on).await;
    let may = moment("2026-05-31");
    let first = journal.propose(&proposal("a", &[]), may, 2).await.unwrap();
    assert_eq!((first.state, first.published_at), (State::Published, Some(may.at)));
    assert_eq!(first.document().unwrap(), document("a", &[]));
    let mut again = proposal("a", &[]);
    again.by = "quelqu'un d'autre".to_owned();
    assert_eq!(journal.propose(&again, moment("2026-06-10"), 2).await.unwrap(), first);
    journal.propose(&proposal("b", &[]), may, 2).await.unwrap();
    let refused = journal.propose(&proposal("c", &[]), may, 2).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Exhausted);
    assert!(refused.message.contains("renouvelé le 2026-06-01"), "{refused}");
    assert_eq!(journal.propose(&again, may, 2).await.unwrap(), first);
    let june = journal.propose(&proposal("c", &[]), moment("2026-06-01"), 2).await.unwrap();
    assert_eq!(journal.list(0, 10).await.unwrap().iter().map(|p| p.title.as_str()).collect::<Vec<_>>(), ["c", "b", "a"]);
    assert_eq!(journal.get(&june.id).await.unwrap(), june);
    // Tables count one by one, all or none.
    let mut report = proposal("r", &[]);
    (report.tables, report.kept) = (2, Some(vec![1, 2]));
    assert_eq!(journal.propose(&report, moment("2026-06-02"), 2).await.unwrap_err().kind, ErrorKind::Exhausted);
    assert_eq!(journal.kept().await.unwrap(), Vec::<Vec<u8>>::new());
    journal.propose(&report, moment("2026-07-02"), 2).await.unwrap();
    assert_eq!(journal.kept().await.unwrap(), [[1, 2]]);
    let months = ["2026-05", "2026-06"].map(|m| m.parse::<Period>().unwrap());
    assert_eq!(journal.spent(&party("etude"), months[0]).await.unwrap(), 2);
    assert_eq!(journal.spent(&party("etude"), months[1]).await.unwrap(), 1);
    assert_eq!(journal.spent(&party("audit"), months[0]).await.unwrap(), 0);
}

async fn all_producers_approve_or_one_rejects_and_decisions_are_final(on: On) {
    let (_dir, journal) = journal(on).await;
    let now = moment("2026-05-02");
    let waits = journal.propose(&proposal("a", &["ccas", "siao"]), now, 1).await.unwrap();
    assert_eq!((waits.state, waits.published_at, waits.awaited().len()), (State::Proposed, None, 2));
    let decide = |name: &'static str, verdict: Verdict, id: &PublicationId| {
        let (journal, id) = (journal.clone(), id.clone());
        async move { journal.decide(&id, &party(name), name, &verdict, &[1; 64], now).await }
    };
    let stranger = decide("caf", Verdict::Approved, &waits.id).await.unwrap_err();
    assert_eq!(stranger.kind, ErrorKind::Refused);
    let one = decide("ccas", Verdict::Approved, &waits.id).await.unwrap();
    assert_eq!((one.state, one.awaited()), (State::Proposed, vec![&party("siao")]));
    assert_eq!(decide("ccas", Verdict::Approved, &waits.id).await.unwrap(), one);
    let turned = decide("ccas", Verdict::Rejected("non".to_owned()), &waits.id).await.unwrap_err();
    assert_eq!(turned.kind, ErrorKind::Conflict);
    let both = decide("siao", Verdict::Approved, &waits.id).await.unwrap();
    assert_eq!((both.state, both.published_at), (State::Published, Some(now.at)));
    assert_eq!(decide("siao", Verdict::Approved, &waits.id).await.unwrap(), both);

    // A rejected table gives its place in the budget back; the others have nothing left to decide.
    let seen = Proposal { kept: Some(vec![9]), ..proposal("b", &["ccas", "siao"]) };
    let (may, next) = (journal.propose(&seen, now, 2).await.unwrap(), proposal("c", &["ccas"]));
    assert_eq!(journal.propose(&next, now, 2).await.unwrap_err().kind, ErrorKind::Exhausted);
    let rejected = decide("siao", Verdict::Rejected("trop fin".to_owned()), &may.id).await.unwrap();
    assert_eq!((rejected.state, rejected.published_at), (State::Rejected, None));
    assert_eq!(rejected.decisions[0].verdict.reason(), "trop fin");
    assert_eq!(journal.kept().await.unwrap(), [[9]], "what was rejected has been seen");
    assert_eq!(decide("ccas", Verdict::Approved, &may.id).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(journal.propose(&next, now, 2).await.unwrap().state, State::Proposed);
    let nowhere: PublicationId = "0123456789abcdef".parse().unwrap();
    assert_eq!(decide("ccas", Verdict::Approved, &nowhere).await.unwrap_err().kind, ErrorKind::NotFound);
}

async fn what_was_altered_behind_its_back_shows(on: On) {
    let (_dir, journal) = journal(on).await;
    let now = moment("2026-05-02");
    for title in ["a", "b", "c"] {
        journal.propose(&proposal(title, &[]), now, 9).await.unwrap();
    }
    let agreement = crate::testing::agreement(&[]);
    let sound = Checked { entries: 6, altered: 0, unsigned: 0 };
    assert_eq!(journal.check(&agreement, &HASH).await.unwrap(), sound);
    for change in [
        "UPDATE entries SET who = 'x'",
        "DELETE FROM entries",
        "UPDATE publications SET document = fingerprint",
        "DELETE FROM publications",
    ] {
        assert!(sqlx::query(change).execute(&journal.pool).await.is_err(), "{change}");
    }
    let by_hand = Pool::connect(journal.pool.place(), "").await.unwrap();
    let (triggers, other_figure) = match by_hand.kind() {
        Kind::Sqlite => (
            ["DROP TRIGGER entries_stay", "DROP TRIGGER publications_stay"],
            "UPDATE publications SET document = CAST(replace(document, '120.0', '121.0') AS BLOB) WHERE title = 'c'",
        ),
        Kind::Postgres => (
            ["DROP TRIGGER entries_stay ON entries", "DROP TRIGGER publications_stay ON publications"],
            "UPDATE publications SET document = convert_to(replace(convert_from(document, 'UTF8'), '120.0', '121.0'), 'UTF8')
             WHERE title = 'c'",
        ),
    };
    for trigger in triggers {
        sqlx::query(trigger).execute(&by_hand).await.unwrap();
    }
    sqlx::query("UPDATE entries SET reason = 'x' WHERE number = 3").execute(&by_hand).await.unwrap();
    assert_eq!(journal.check(&agreement, &HASH).await.unwrap(), Checked { altered: 1, ..sound });
    sqlx::query(other_figure).execute(&by_hand).await.unwrap();
    assert_eq!(journal.check(&agreement, &HASH).await.unwrap(), Checked { altered: 3, ..sound });
}

async fn signatures_are_checked_under_the_agreement_s_keys(on: On) {
    let (_dir, journal) = journal(on).await;
    let now = moment("2026-05-02");
    let keys = ["ccas", "siao"].map(|_| SigningKey::generate(&mut linkage_common::rng()));
    let agreement = crate::testing::agreement(&[("ccas", &keys[0]), ("siao", &keys[1])]);
    let waits = journal.propose(&proposal("a", &["ccas", "siao"]), now, 9).await.unwrap();
    let sign = |verdict: &Verdict, name: &str, key: &SigningKey| verdict.sign(&HASH, &waits.fingerprint, &party(name), key);
    let no = Verdict::Rejected("non".to_owned());
    let signature = sign(&Verdict::Approved, "ccas", &keys[0]);
    let holds = |verdict: &Verdict, hash: &[u8; 32], name: &str, signature: &[u8]| {
        verdict.verify(&agreement, hash, &waits.fingerprint, &party(name), signature).is_ok()
    };
    assert!(holds(&Verdict::Approved, &HASH, "ccas", &signature));
    assert!(!holds(&Verdict::Approved, &[8; 32], "ccas", &signature));
    assert!(!holds(&Verdict::Approved, &HASH, "siao", &signature));
    assert!(!holds(&Verdict::Approved, &HASH, "caf", &signature));
    assert!(!holds(&no, &HASH, "ccas", &signature));
    assert!(!holds(&Verdict::Approved, &HASH, "ccas", &signature[..63]));
    assert!(holds(&no, &HASH, "siao", &sign(&no, "siao", &keys[1])));
    assert!(!holds(&Verdict::Rejected("oui".to_owned()), &HASH, "siao", &sign(&no, "siao", &keys[1])));
    let other = Verdict::Approved.verify(&agreement, &HASH, &Fingerprint([1; 32]), &party("ccas"), &signature);
    assert_eq!(other.unwrap_err().kind, ErrorKind::Refused);

    journal.decide(&waits.id, &party("ccas"), "ccas", &Verdict::Approved, &signature, now).await.unwrap();
    assert_eq!(journal.check(&agreement, &HASH).await.unwrap(), Checked { entries: 2, altered: 0, unsigned: 0 });
    journal.decide(&waits.id, &party("siao"), "siao", &Verdict::Approved, &signature, now).await.unwrap();
    assert_eq!(journal.check(&agreement, &HASH).await.unwrap(), Checked { entries: 4, altered: 0, unsigned: 1 });
}

/// A connection past the triggers that keep the journal from being changed.
async fn by_hand(journal: &Journal) -> Pool {
    let by_hand = Pool::connect(journal.pool.place(), "").await.unwrap();
    for table in ["entries", "publications"] {
        let drop = match by_hand.kind() {
            Kind::Sqlite => format!("DROP TRIGGER {table}_stay"),
            Kind::Postgres => format!("DROP TRIGGER {table}_stay ON {table}"),
        };
        sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&by_hand).await.unwrap();
    }
    by_hand
}

async fn columns_and_approvals_are_held_against_the_document(on: On) {
    let (_dir, journal) = journal(on).await;
    let now = moment("2026-05-02");
    let agreement = crate::testing::agreement(&[]);
    let held = journal.propose(&Proposal { kept: Some(vec![1]), ..proposal("a", &["ccas"]) }, now, 9).await.unwrap();
    let sound = Checked { entries: 1, altered: 0, unsigned: 0 };
    assert_eq!(journal.check(&agreement, &HASH).await.unwrap(), sound);
    let by_hand = by_hand(&journal).await;
    const KEPT: &str = "x'01'";
    for (column, other, own) in [
        ("title", "'b'", "'a'"),
        ("analyst", "'autre'", "'etude'"),
        ("month", "'2026-04'", "'2026-05'"),
        ("tables", "0", "1"),
        ("producers", "'[]'", "'[\"ccas\"]'"),
        ("source", "'{\"runs\":[]}'", "'{\"runs\":[\"r1\"]}'"),
        ("kept", "NULL", KEPT),
    ] {
        let own = match (own, by_hand.kind()) {
            (KEPT, Kind::Postgres) => "'\\x01'::bytea",
            (own, _) => own,
        };
        let set = |value: &str| sqlx::AssertSqlSafe(format!("UPDATE publications SET {column} = {value}"));
        sqlx::query(set(other)).execute(&by_hand).await.unwrap();
        let found = journal.check(&agreement, &HASH).await.unwrap();
        assert_eq!(found, Checked { altered: 1, ..sound }, "{column}");
        if ["title", "producers"].contains(&column) {
            assert_eq!(journal.get(&held.id).await.unwrap_err().kind, ErrorKind::Internal, "{column}");
        }
        sqlx::query(set(own)).execute(&by_hand).await.unwrap();
        assert_eq!(journal.check(&agreement, &HASH).await.unwrap(), sound, "{column} as it was");
    }

    // An entry that publishes, its seal right, without the producer's approval.
    let mut tx = journal.pool.begin("forge").await.unwrap();
    let entry =
        Entry { publication: &held.id, kind: "published", who: "x", party: None, at: now.at, reason: "", signature: None };
    seals::add(&mut tx, &entry).await.unwrap();
    tx.commit().await.unwrap();
    let found = journal.check(&agreement, &HASH).await.unwrap();
    assert_eq!(found, Checked { entries: 2, altered: 1, unsigned: 0 });
    let shown = journal.get(&held.id).await.unwrap();
    assert_eq!((shown.state, shown.published_at), (State::Proposed, None));
}

async fn lists_hold_no_document_and_are_read_in_parts(on: On) {
    let (_dir, journal) = journal(on).await;
    let now = moment("2026-05-02");
    for title in ["a", "b", "c", "d"] {
        journal.propose(&proposal(title, &["ccas"]), now, 9).await.unwrap();
    }
    let third = proposal("c", &["ccas"]);
    journal.decide(&third.id, &party("ccas"), "ccas", &Verdict::Approved, &[1; 64], now).await.unwrap();
    assert_eq!(journal.count().await.unwrap(), 4);
    let part = journal.list(1, 2).await.unwrap();
    let states: Vec<(&str, State)> = part.iter().map(|p| (p.title.as_str(), p.state)).collect();
    assert_eq!(states, [("c", State::Published), ("b", State::Proposed)]);
    assert_eq!(part[0], journal.get(&third.id).await.unwrap().listed);
    assert!(journal.list(4, 2).await.unwrap().is_empty());
    // A row from before lists had a source reads it from its document.
    let by_hand = by_hand(&journal).await;
    sqlx::query("UPDATE publications SET source = NULL WHERE title = 'c'").execute(&by_hand).await.unwrap();
    assert_eq!(journal.list(1, 1).await.unwrap()[0], part[0]);
}
