//! Figures computed by hand, inputs that must be refused, and a comparison with plain enumeration of pairs.

use proptest::prelude::*;

use super::*;

const LINKS: &str = "person,party,local_id,match_class,probability\n\
    x,a,1,match,0.99\nx,b,1,match,0.99\nx,c,1,match,0.99\n\
    y,a,2,match,0.9\ny,b,2,match,0.9\n\
    z,a,3,non-match,1\n";
// Truth: p = {a1, b1}, q = {c1, a2}, r = {b2}, s = {a3, a4}; a4 has no row in the links.
const TRUTH: &str = "party,month,local_id,person_id,household_id\n\
    a,2024-01,1,p,h\nb,2024-01,1,p,h\nc,2024-01,1,q,h\na,2024-01,2,q,h\nb,2024-01,2,r,h\na,2024-01,3,s,h\na,2024-01,4,s,h\n";

fn run(links: &str, truth: &str, period: Option<&str>) -> Result<Evaluation, EvaluateError> {
    evaluate(links.as_bytes(), truth.as_bytes(), None, period)
}

#[test]
fn figures_by_hand() {
    let result = run(LINKS, TRUTH, None).unwrap();
    assert_eq!(result.period.as_deref(), Some("2024-01"));
    assert_eq!((result.records_evaluated, result.records_missing_in_links, result.records_missing_in_truth), (7, 1, 0));
    assert_eq!((result.persons_true, result.persons_found), (4, 4));
    // Cross-party truth: a1-b1, c1-a2. Linked: x gives 3, y gives 1. Correct: a1-b1.
    let cross = result.cross_party;
    assert_eq!((cross.true_pairs, cross.linked_pairs, cross.correct), (2, 4, 1));
    assert_eq!((cross.precision, cross.recall), (Some(0.25), Some(0.5)));
    assert_eq!(cross.f1, Some(2.0 * 0.25 * 0.5 / 0.75));
    // Within a party the truth has a3-a4 too.
    assert_eq!((result.all_pairs.true_pairs, result.all_pairs.linked_pairs, result.all_pairs.correct), (3, 4, 1));
    // No cluster of the truth is found exactly: p is in x with c1, q is torn, r is in y, s is torn.
    assert_eq!((result.clusters.truth, result.clusters.found, result.clusters.exact), (4, 4, 0));
    assert_eq!((result.linked_clusters.truth, result.linked_clusters.found), (3, 2));
    // Precision: a1 2/3, b1 2/3, c1 1/3, a2 1/2, b2 1/2, a3 1, a4 1. Recall: 1, 1, 1/2, 1/2, 1, 1/2, 1/2.
    let close = |value: Option<f64>, wanted: f64| (value.unwrap() - wanted).abs() < 1e-12;
    assert!(close(result.b_cubed.precision, (2.0 / 3.0 + 2.0 / 3.0 + 1.0 / 3.0 + 0.5 + 0.5 + 1.0 + 1.0) / 7.0));
    assert!(close(result.b_cubed.recall, 5.0 / 7.0));
}

#[test]
fn perfect_and_empty_linkages() {
    let truth = "party,local_id,person_id\na,1,p\nb,1,p\nb,2,q\n";
    let perfect = run("person,party,local_id\n7,a,1\n7,b,1\n8,b,2\n", truth, None).unwrap();
    assert_eq!(perfect.period, None);
    assert_eq!(
        (perfect.cross_party.precision, perfect.cross_party.recall, perfect.cross_party.f1),
        (Some(1.0), Some(1.0), Some(1.0))
    );
    assert_eq!((perfect.clusters.exact, perfect.linked_clusters.exact), (2, 1));
    let nothing = run("person,party,local_id\n", truth, None).unwrap();
    assert_eq!(nothing.records_missing_in_links, 3);
    assert_eq!((nothing.cross_party.precision, nothing.cross_party.recall, nothing.cross_party.f1), (None, Some(0.0), None));
}

#[test]
fn tags_by_hand() {
    let persons = "person_id,tags\np,homonyme\nq,homonyme|jumeau\ns,\nunknown,jumeau\n";
    let result = evaluate(LINKS.as_bytes(), TRUTH.as_bytes(), Some(&mut persons.as_bytes()), None).unwrap();
    let tags: Vec<_> = result
        .by_tag
        .iter()
        .map(|tag| (tag.tag.as_str(), tag.persons, tag.pairs.true_pairs, tag.pairs.linked_pairs, tag.pairs.correct))
        .collect();
    // homonyme: all of x's 3 pairs and y's pair a2-b2 touch p or q. jumeau (q): a1-c1, b1-c1, a2-b2.
    assert_eq!(tags, [("homonyme", 2, 2, 4, 1), ("jumeau", 1, 1, 3, 0)]);
}

#[test]
fn periods() {
    let truth = "party,period,local_id,person_id\na,2024-01,1,p\nb,2024-01,1,p\na,2024-02,1,p\nb,2024-02,1,q\n";
    let links = "person,party,local_id\nx,a,1\nx,b,1\n";
    assert_eq!(run(links, truth, None), Err(EvaluateError::SeveralPeriods(vec!["2024-01".into(), "2024-02".into()])));
    assert_eq!(run(links, truth, Some("2024-01")).unwrap().cross_party.correct, 1);
    assert_eq!(run(links, truth, Some("2024-02")).unwrap().cross_party.correct, 0);
    assert_eq!(run(links, truth, Some("2024-03")), Err(EvaluateError::EmptyPeriod));
    assert_eq!(run(links, "party,local_id,person_id\na,1,p\n", Some("2024-01")), Err(EvaluateError::NoPeriodColumn));
}

#[test]
fn refusals() {
    let truth = "party,local_id,person_id\na,1,p\n";
    let links = Input::Links;
    assert_eq!(
        run("person,party,local_id\nx,a,1\ny,a,1\n", truth, None),
        Err(EvaluateError::RecordTwice { file: links, line: 3 })
    );
    // Also for records that the truth does not have.
    assert_eq!(
        run("person,party,local_id\nx,z,1\ny,z,1\n", truth, None),
        Err(EvaluateError::RecordTwice { file: links, line: 3 })
    );
    assert_eq!(run("person,party\nx,a\n", truth, None), Err(EvaluateError::MissingColumn { file: links, column: "local_id" }));
    assert_eq!(run("", truth, None), Err(EvaluateError::MissingColumn { file: links, column: "person" }));
    assert_eq!(
        run("person,party,local_id\nx,a,1,5\n", truth, None),
        Err(EvaluateError::Unreadable { file: links, line: 2, reason: "nombre de champs différent de l'en-tête" })
    );
    assert_eq!(
        run("person,party,local_id\n", "party,local_id,person_id\na,1,p\na,1,q\n", None),
        Err(EvaluateError::RecordTwice { file: Input::Truth, line: 3 })
    );
}

#[test]
fn messages_hold_no_local_id() {
    let error =
        run("person,party,local_id\nx,a,SECRET77\ny,a,SECRET77\n", "party,local_id,person_id\na,SECRET77,p\n", None).unwrap_err();
    assert!(!error.to_string().contains("SECRET77") && error.to_string().contains("ligne 3"));
}

/// Counts by looking at every pair: the definition itself.
fn enumerate(records: &[(u8, u8, u8)], keep: impl Fn(usize, usize) -> bool) -> (u64, u64, u64) {
    let (mut truth, mut linked, mut correct) = (0, 0, 0);
    for i in 0..records.len() {
        for j in i + 1..records.len() {
            if keep(i, j) {
                let (same_person, same_found) = (records[i].0 == records[j].0, records[i].1 == records[j].1);
                truth += u64::from(same_person);
                linked += u64::from(same_found);
                correct += u64::from(same_person && same_found);
            }
        }
    }
    (truth, linked, correct)
}

proptest! {
    #[test]
    fn agrees_with_enumeration(records in prop::collection::vec((0u8..9, 0u8..9, 0u8..4), 0..60)) {
        let mut links = String::from("person,party,local_id\n");
        let mut truth = String::from("party,local_id,person_id\n");
        let mut persons = String::from("person_id,tags\n");
        for (at, (person, found, party)) in records.iter().enumerate() {
            links += &format!("f{found},p{party},{at}\n");
            truth += &format!("p{party},{at},t{person}\n");
        }
        for person in 0..9 {
            persons += &format!("t{person},{}\n", ["", "odd"][person % 2]);
        }
        let result = evaluate(links.as_bytes(), truth.as_bytes(), Some(&mut persons.as_bytes()), None).unwrap();
        let count = |pairs: PairFigures| (pairs.true_pairs, pairs.linked_pairs, pairs.correct);
        prop_assert_eq!(count(result.all_pairs), enumerate(&records, |_, _| true));
        let cross = |i: usize, j: usize| records[i].2 != records[j].2;
        prop_assert_eq!(count(result.cross_party), enumerate(&records, cross));
        let odd = |i: usize, j: usize| cross(i, j) && (records[i].0 % 2 == 1 || records[j].0 % 2 == 1);
        let wanted = enumerate(&records, odd);
        // A true pair is of one person, so "either side tagged" and "both sides tagged" agree on it.
        let got = result.by_tag.first().map_or((0, 0, 0), |tag| count(tag.pairs));
        prop_assert_eq!(got, wanted);
        // B-cubed from its definition.
        let n = records.len() as f64;
        let mut purity = 0.0;
        for (person, found, _) in &records {
            let cluster: Vec<_> = records.iter().filter(|other| other.1 == *found).collect();
            purity += cluster.iter().filter(|other| other.0 == *person).count() as f64 / cluster.len() as f64 / n;
        }
        prop_assert!(records.is_empty() || (result.b_cubed.precision.unwrap() - purity).abs() < 1e-9);
    }
}
