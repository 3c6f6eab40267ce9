//! Households that parties describe differently: what must be one, what must stay two, and what keeps its number.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use linkage_agreement::Period;
use linkage_agreement::model::Rule;
use linkage_cohort::households::{Age, Ages, Composition, Household, MAX_MEMBERS, MonthHouseholds, MonthRows, Resolver, Tracker};
use linkage_cohort::study::{AttributeColumn, Households as _, InMemory, Month, NO_CLASS, Row, SourceError, Study, month_batch};

const CCAS: u8 = 0;
const CAF: u8 = 1;
const SIAO: u8 = 2;
const FT: u8 = 3;

/// Persons by number: below 50 grown, from 50 children, from 100 of unknown age.
fn ages(person: u32) -> Ages {
    match person {
        0..50 => Ages::between(30, 30),
        50..100 => Ages::between(7, 7),
        _ => Ages::UNKNOWN,
    }
}

/// A file of one party: its reference (0 for none) and the persons under it.
type File<'a> = (u8, u32, &'a [u32]);

/// A month's answer beside the rows it was made of.
struct Answer {
    rows: Vec<(u32, u8, u32)>,
    made: MonthHouseholds,
}

impl Answer {
    /// Persons by household, from all rows of theirs.
    fn groups(&self) -> BTreeSet<BTreeSet<u32>> {
        let of =
            |number: u32| self.rows.iter().zip(&self.made.rows).filter(|(_, n)| **n == number).map(|(row, _)| row.0).collect();
        self.made.households.iter().map(|h| of(h.number)).collect()
    }
    /// Household of the row of `person` at `party`.
    fn of(&self, person: u32, party: u8) -> u32 {
        let at = self.rows.iter().position(|row| (row.0, row.1) == (person, party)).unwrap();
        self.made.rows[at]
    }
    fn household(&self, number: u32) -> Household {
        *self.made.households.iter().find(|h| h.number == number).unwrap()
    }
}

struct Months {
    tracker: Tracker,
    period: Period,
}

impl Months {
    fn new() -> Self {
        Self { tracker: Tracker::default(), period: "2024-01".parse().unwrap() }
    }
    fn next(&mut self, files: &[File<'_>]) -> Answer {
        self.next_without(files, None)
    }
    /// A month for which `silent` delivered nothing.
    fn next_without(&mut self, files: &[File<'_>], silent: Option<u8>) -> Answer {
        let mut rows: Vec<(u32, u8, u32)> =
            files.iter().flat_map(|(party, reference, persons)| persons.iter().map(|p| (*p, *party, *reference))).collect();
        rows.sort_unstable();
        let delivered: Vec<bool> = (0..4).map(|party| Some(party) != silent).collect();
        let person: Vec<u32> = rows.iter().map(|r| r.0).collect();
        let party: Vec<u8> = rows.iter().map(|r| r.1).collect();
        let reference: Vec<Option<u32>> = rows.iter().map(|r| (r.2 != 0).then_some(r.2)).collect();
        let ages: Vec<Ages> = person.iter().map(|p| ages(*p)).collect();
        let made = self.tracker.month(&MonthRows {
            period: self.period,
            delivered: &delivered,
            person: &person,
            party: &party,
            reference: &reference,
            ages: &ages,
            composition: &vec![None; rows.len()],
        });
        self.period = self.period.next();
        assert_eq!(made.rows.len(), rows.len());
        // Over rows and over the list of households: the same ones.
        let seen: BTreeSet<u32> = made.rows.iter().copied().collect();
        assert_eq!(seen, made.households.iter().map(|h| h.number).collect());
        Answer { rows, made }
    }
}

fn one_month(files: &[File<'_>]) -> Answer {
    Months::new().next(files)
}

fn groups(expected: &[&[u32]]) -> BTreeSet<BTreeSet<u32>> {
    expected.iter().map(|g| g.iter().copied().collect()).collect()
}

#[test]
fn parties_that_name_parts_of_a_household_count_it_once() {
    // The head alone, a child alone, all of them, the other parent.
    let made = one_month(&[(CCAS, 1, &[1]), (CAF, 2, &[1, 2, 50, 51]), (SIAO, 3, &[51]), (FT, 4, &[2])]);
    assert_eq!(made.groups(), groups(&[&[1, 2, 50, 51]]));
    assert_eq!(made.made.households[0].size, 4);
    assert_eq!(made.made.households[0].composition, Some(Composition::CoupleWithChildren));
}

#[test]
fn persons_without_a_reference_follow_those_who_have_one_or_are_alone() {
    let made = one_month(&[(FT, 0, &[1, 2, 3]), (CAF, 2, &[1, 50])]);
    assert_eq!(made.groups(), groups(&[&[1, 50], &[2], &[3]]));
    assert!(!made.household(made.of(2, FT)).referenced);
}

#[test]
fn a_child_in_two_homes_leaves_two_households_and_is_one_person() {
    let made = one_month(&[(CAF, 1, &[1, 50]), (CCAS, 2, &[2, 50])]);
    assert_eq!(made.groups(), groups(&[&[1, 50], &[2, 50]]));
    let (mothers, fathers) = (made.of(1, CAF), made.of(2, CCAS));
    assert_ne!(mothers, fathers);
    // Each file's row of the child is in the home that the file is about.
    assert_eq!((made.of(50, CAF), made.of(50, CCAS)), (mothers, fathers));
    for home in [mothers, fathers] {
        assert_eq!(made.household(home).composition, Some(Composition::SingleParent));
        assert_eq!(made.household(home).size, 2);
    }
}

#[test]
fn a_child_in_two_homes_does_not_move_when_the_other_parents_file_is_opened_later() {
    let mut months = Months::new();
    let first = months.next(&[(CAF, 1, &[1, 50]), (FT, 0, &[50])]);
    let second = months.next(&[(CAF, 1, &[1, 50]), (CCAS, 2, &[2, 50]), (FT, 0, &[50])]);
    assert_eq!(first.of(50, FT), second.of(50, FT));
    assert_eq!(second.of(50, FT), second.of(1, CAF));
}

#[test]
fn two_files_that_a_third_one_holds_together_are_one() {
    let made = one_month(&[(CAF, 1, &[1, 50]), (CCAS, 2, &[2, 50]), (SIAO, 3, &[1, 2, 50])]);
    assert_eq!(made.groups(), groups(&[&[1, 2, 50]]));
}

#[test]
fn a_separation_that_one_party_knows_makes_two_although_another_holds_the_old_household() {
    let mut months = Months::new();
    let together: &[File<'_>] = &[(CAF, 1, &[1, 2, 50, 51]), (CCAS, 2, &[1, 2, 50, 51])];
    let before = months.next(together).of(1, CAF);
    let made = months.next(&[(CAF, 1, &[1, 2, 50, 51]), (CCAS, 2, &[1, 50, 51]), (CCAS, 3, &[2])]);
    assert_eq!(made.made.households.len(), 2);
    // The parent who stays with the children keeps the number; the file that was opened last says where the other is.
    assert_eq!(made.of(1, CCAS), before);
    assert_eq!(made.of(50, CAF), before);
    assert_ne!(made.of(2, CCAS), before);
    assert_eq!(made.household(before).composition, Some(Composition::SingleParent));
    // Nobody says that they live alone.
    assert_eq!(made.household(made.of(2, CCAS)).composition, None);
}

#[test]
fn a_new_partner_does_not_glue_the_former_one_on() {
    let mut months = Months::new();
    let before = months.next(&[(CAF, 1, &[1, 2])]);
    let made = months.next(&[(CAF, 1, &[1, 2]), (CCAS, 2, &[1, 3])]);
    assert_eq!(made.made.households.len(), 2);
    // Person 1 lives where the newer file says.
    assert_eq!(made.of(3, CCAS), made.of(1, CCAS));
    assert_ne!(made.of(2, CAF), made.of(1, CCAS));
    assert_eq!(made.household(made.of(1, CCAS)).size, 2);
    assert_eq!(made.household(made.of(2, CAF)).size, 1);
    assert!([made.of(1, CCAS), made.of(2, CAF)].contains(&before.of(1, CAF)));
}

#[test]
fn an_old_file_whose_persons_all_moved_is_no_household() {
    // 1 lived alone with a child and moved in with 2; the party of the old file still has it.
    let mut months = Months::new();
    months.next(&[(CAF, 1, &[1, 50])]);
    let made = months.next(&[(CAF, 1, &[1, 50]), (CAF, 2, &[1, 2, 3])]);
    assert_eq!(made.made.households.len(), 1, "{:?}", made.made);
    assert_eq!(made.of(50, CAF), made.of(2, CAF));
}

#[test]
fn the_same_household_under_two_references_of_a_party_is_one_but_different_ones_stay_apart() {
    let made = one_month(&[(CCAS, 1, &[1, 2]), (CCAS, 2, &[1, 2])]);
    assert_eq!(made.groups(), groups(&[&[1, 2]]));
    // Two that share one adult of two are two, whatever others say.
    let made = one_month(&[(CCAS, 1, &[1, 2]), (CCAS, 2, &[1, 3]), (CAF, 3, &[1, 2, 3])]);
    assert_eq!(made.made.households.len(), 2);
}

#[test]
fn chains_over_three_parties() {
    // Parts of one household, each joined through the next.
    let made = one_month(&[(CCAS, 1, &[1]), (CAF, 2, &[1, 2]), (SIAO, 3, &[2])]);
    assert_eq!(made.groups(), groups(&[&[1, 2]]));
    // Couples that share one person each: no chain of them becomes one household.
    let made = one_month(&[(CCAS, 1, &[1, 2]), (CAF, 2, &[2, 3]), (SIAO, 3, &[3, 4]), (FT, 4, &[4, 5])]);
    assert!(made.made.households.len() >= 3, "{:?}", made.made);
    assert!(made.made.households.iter().all(|h| h.size <= 2));
}

#[test]
fn a_false_link_glues_no_large_households() {
    let made = one_month(&[(CAF, 1, &[1, 50, 51, 52]), (CCAS, 2, &[1, 60, 61])]);
    assert_eq!(made.made.households.len(), 2);
    let made = one_month(&[(CAF, 1, &[1, 2, 50, 51]), (CCAS, 2, &[2, 3, 60, 61])]);
    assert_eq!(made.made.households.len(), 2);
}

#[test]
fn with_ages_unknown_half_of_the_smaller_is_enough() {
    let made = one_month(&[(CAF, 1, &[100, 101]), (CCAS, 2, &[100, 102])]);
    assert_eq!(made.made.households.len(), 1);
    let made = one_month(&[(CAF, 1, &[100, 101, 102]), (CCAS, 2, &[100, 103, 104])]);
    assert_eq!(made.made.households.len(), 2);
}

#[test]
fn a_centre_is_not_a_household() {
    let crowd: Vec<u32> = (0..=MAX_MEMBERS as u32).collect();
    let made = one_month(&[(SIAO, 1, &crowd), (CAF, 2, &[1, 2])]);
    assert_eq!(made.made.too_large, 1);
    assert_eq!(made.made.households.len(), crowd.len() - 1);
    let made = one_month(&[(SIAO, 1, &crowd[1..])]);
    assert_eq!((made.made.too_large, made.made.households.len()), (0, 1));
}

#[test]
fn a_household_keeps_its_number_while_most_of_it_stays() {
    let mut months = Months::new();
    let first = months.next(&[(CAF, 1, &[1, 2, 50]), (CAF, 2, &[3])]);
    // Under another reference, with a newborn, and the grandmother of a household that ends.
    let second = months.next(&[(CAF, 7, &[1, 2, 3, 50, 51])]);
    assert_eq!(second.of(51, CAF), first.of(1, CAF));
    // Away for two months, and back.
    months.next(&[(CAF, 9, &[4])]);
    months.next(&[(CAF, 9, &[4])]);
    let back = months.next(&[(CAF, 9, &[4]), (CCAS, 11, &[1, 2])]);
    assert_eq!(back.of(1, CCAS), first.of(1, CAF));
    assert_eq!(months.tracker.count(), 3);
}

#[test]
fn who_loses_every_reference_stays_in_the_last_household_for_a_year() {
    let mut months = Months::new();
    let first = months.next(&[(CAF, 1, &[1, 2, 50]), (FT, 0, &[2])]);
    let home = first.of(2, FT);
    for _ in 0..12 {
        let made = months.next(&[(CAF, 1, &[1, 50]), (FT, 0, &[2])]);
        assert_eq!((made.of(2, FT), made.made.remembered), (home, 1));
    }
    let made = months.next(&[(CAF, 1, &[1, 50]), (FT, 0, &[2])]);
    assert_ne!(made.of(2, FT), home);
    assert_eq!(made.made.remembered, 0);
}

#[test]
fn those_who_were_named_together_stay_together_when_no_reference_is_left() {
    let mut months = Months::new();
    let first = months.next(&[(CAF, 1, &[1, 2]), (FT, 0, &[1, 2, 3])]);
    let made = months.next(&[(FT, 0, &[1, 2, 3])]);
    assert_eq!(made.of(1, FT), made.of(2, FT));
    assert_eq!(made.of(1, FT), first.of(1, CAF));
    assert_eq!(made.of(3, FT), first.of(3, FT));
}

#[test]
fn a_party_that_delivers_nothing_separates_nobody() {
    let mut months = Months::new();
    let first = months.next(&[(CAF, 1, &[1, 2, 50]), (CCAS, 2, &[1]), (SIAO, 3, &[2])]);
    let silent = months.next_without(&[(CCAS, 2, &[1]), (SIAO, 3, &[2])], Some(CAF));
    assert_eq!(silent.groups(), groups(&[&[1, 2]]));
    assert_eq!(silent.of(1, CCAS), first.of(1, CAF));
    assert_eq!(silent.made.households.len(), 1);
}

#[test]
fn a_file_that_is_closed_separates_nobody_for_a_year() {
    let mut months = Months::new();
    let first = months.next(&[(CAF, 1, &[1, 2, 50]), (CCAS, 2, &[1]), (SIAO, 3, &[2])]);
    let parts: &[File<'_>] = &[(CCAS, 2, &[1]), (SIAO, 3, &[2])];
    for _ in 0..12 {
        assert_eq!(months.next(parts).groups(), groups(&[&[1, 2]]));
    }
    let later = months.next(parts);
    assert_eq!(later.groups(), groups(&[&[1], &[2]]));
    assert_eq!(later.of(1, CCAS), first.of(1, CAF));
}

#[test]
fn a_file_opened_since_parts_them_and_so_does_a_party_that_holds_them_apart() {
    for parted in [[(CCAS, 2, &[1][..]), (SIAO, 4, &[2])], [(CCAS, 2, &[1]), (CCAS, 4, &[2])]] {
        let mut months = Months::new();
        months.next(&[(CAF, 1, &[1, 2]), (CCAS, 2, &[1]), (SIAO, 3, &[2])]);
        assert_eq!(months.next(&parted).groups(), groups(&[&[1], &[2]]), "{parted:?}");
    }
    // Two files of one party that another's file held together.
    let mut months = Months::new();
    months.next(&[(CAF, 1, &[1, 2]), (CCAS, 2, &[1]), (CCAS, 3, &[2])]);
    assert_eq!(months.next(&[(CCAS, 2, &[1]), (CCAS, 3, &[2])]).made.households.len(), 2);
}

#[test]
fn persons_without_a_reference_are_expected_to_live_as_those_of_their_files_do() {
    // 120 persons whose household is known, two and two, and 30 of whom the same file says nothing more.
    let couples: Vec<Vec<u32>> = (0..60).map(|at| vec![100 + 2 * at, 101 + 2 * at]).collect();
    let others: Vec<u32> = (100..250).collect();
    let mut files: Vec<File<'_>> = couples.iter().zip(1..).map(|(couple, at)| (CAF, at, couple.as_slice())).collect();
    files.push((FT, 0, &others));
    let made = one_month(&files).made;
    assert_eq!((made.households.len(), made.unnamed, made.expected()), (90, 30, 75));
    assert_eq!((made.named_elsewhere, made.households_elsewhere), (120, 60));
    // Fewer say nothing.
    let made = one_month(&files[10..]).made;
    assert_eq!((made.named_elsewhere, made.expected()), (100, 75));
    let made = one_month(&files[11..]).made;
    assert_eq!((made.named_elsewhere, made.expected()), (98, 101));
}

#[test]
fn ages_as_tests_take_them() {
    assert_eq!([ages(1).age(), ages(50).age(), ages(100).age()], [Age::Adult, Age::Minor, Age::Unknown]);
}

/// A study of two months: a couple with a child known to two parties, and a person alone.
fn study(rows: Vec<Vec<Row>>) -> Study {
    let periods = ["2024-01", "2024-02"];
    let months = periods.iter().zip(&rows).map(|(period, rows)| Month {
        period: period.parse().unwrap(),
        run: format!("{period}-full").parse().unwrap(),
        delivered: vec![true; 2],
        rows: rows.len() as u64,
    });
    Study {
        parties: vec!["ccas".parse().unwrap(), "caf".parse().unwrap()],
        attributes: vec![
            AttributeColumn {
                name: "composition".to_owned(),
                rule: Rule::Code { values: vec!["personne seule".to_owned(), "couple avec enfants".to_owned()] },
                values: vec!["personne seule".to_owned(), "couple avec enfants".to_owned()],
            },
            AttributeColumn {
                name: "date_naissance".to_owned(),
                rule: Rule::Month,
                values: vec!["1990-05".to_owned(), "2015-02".to_owned(), "1988-01".to_owned()],
            },
        ],
        months: months.collect(),
        persons: 4,
        source: Box::new(InMemory {
            months: rows.into_iter().map(|rows| month_batch(rows, 2).unwrap()).collect(),
            pseudonyms: Arc::from([]),
        }),
    }
}

fn row(person: u32, party: u8, household: Option<u32>, said: Option<u16>, born: u16) -> Row {
    let record = person * 10 + u32::from(party);
    Row { person, party, record, household, match_class: 0, probability: 0, attributes: vec![said, Some(born)] }
}

#[test]
fn a_study_is_resolved_month_by_month_in_any_order() {
    let january = vec![
        row(0, 0, Some(0), Some(1), 0),
        row(0, 1, Some(1), None, 0),
        row(1, 1, Some(1), None, 1),
        row(3, 0, Some(2), None, 2),
    ];
    let february = vec![row(0, 0, Some(0), Some(1), 0), row(2, 0, Some(0), None, 2), row(3, 0, Some(2), Some(0), 2)];
    let held = study(vec![january, february]);
    let resolver = Resolver::new(&held);
    // The last month first: the earlier one is resolved on the way.
    assert_eq!(*resolver.of_rows(1).unwrap(), [0, 0, 1]);
    assert_eq!(*resolver.of_rows(0).unwrap(), [0, 0, 0, 1]);
    assert_eq!(resolver.count(), 2);
    let class = |month: usize, household: usize| {
        let code = resolver.compositions(month).unwrap()[household];
        (code != NO_CLASS).then(|| resolver.classes()[usize::from(code)].clone())
    };
    // The party names the head alone and says that the household is a couple with children.
    assert_eq!(class(0, 0).as_deref(), Some("couple avec enfants"));
    assert_eq!((class(0, 1), class(1, 1).as_deref()), (None, Some("personne seule")));
    let summary = resolver.summary(0).unwrap();
    assert_eq!((summary.households, summary.referenced, summary.remembered), (2, 2, 0));
    assert_eq!(resolver.of_rows(2).unwrap_err(), SourceError("month 2".to_owned()));
    // The same answers whatever the order of questions.
    let again = Resolver::new(&held);
    assert_eq!(again.of_rows(0).unwrap(), resolver.of_rows(0).unwrap());
    assert_eq!(again.of_rows(1).unwrap(), resolver.of_rows(1).unwrap());
}

#[test]
fn what_does_not_depend_on_the_order_of_numbers_does_not_change_with_it() {
    // The same files under shuffled reference numbers: the same households.
    let files: [(u8, &[u32]); 6] =
        [(CAF, &[1, 2, 50]), (CCAS, &[1]), (SIAO, &[2, 50]), (CAF, &[3, 51]), (CCAS, &[4, 51]), (SIAO, &[5, 6])];
    let expected = one_month(&files.iter().zip(1..).map(|((party, persons), at)| (*party, at, *persons)).collect::<Vec<_>>());
    for turn in 1..6u32 {
        let turned: Vec<File<'_>> =
            files.iter().zip(0..).map(|((party, persons), at)| (*party, 1 + (at * 5 + turn) % 6, *persons)).collect();
        assert_eq!(one_month(&turned).groups(), expected.groups(), "{turn}");
    }
}
