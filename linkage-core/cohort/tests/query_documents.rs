//! Query documents: what is read, what is refused and how.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "query/naive.rs"]
mod naive;

use linkage_agreement::model::Rule;
use linkage_cohort::Unit;
use linkage_cohort::query::{
    Condition, Grain, Inputs, MAX_BYTES, MAX_DEPTH, Measure, Population, Query, QueryError, Range, Unreadable, When, check,
    evaluate,
};
use linkage_cohort::study::Study;
use naive::{MonthRows, Rows, attribute};
use proptest::prelude::*;

const PLAIN: &str = r#"
title = "Personnes sans domicile, par mois et par sexe"
unit = "households"
measure = "stock"
periods = { from = "2024-01", to = "2024-04" }
grain = "quarter"
breakdown = ["sexe"]

[population]
all = [
  { party = "siao" },
  { where = { sexe = ["1"] }, when = "before" },
  { not = { any = [{ party = "caf", period = "2024-01" }] } },
]
"#;

fn study() -> Study {
    let month = |period: &str, delivered: [bool; 2]| MonthRows {
        period: period.to_owned(),
        delivered: delivered.to_vec(),
        rows: Vec::new(),
        compositions: Vec::new(),
    };
    Rows {
        parties: ["siao", "caf"].map(str::to_owned).to_vec(),
        attributes: vec![
            attribute("sexe", Rule::Code { values: ["1", "2"].map(str::to_owned).to_vec() }, &["2"]),
            attribute("commune", Rule::Commune, &["34172", "2A004"]),
            attribute("nb_enfants", Rule::Count { max: 12 }, &["3", "0"]),
            attribute("ressources", Rule::AmountBand { from: vec![0, 500] }, &["0-499"]),
            attribute("entree", Rule::Month, &["2024-01"]),
        ],
        persons: 3,
        households: 0,
        classes: Vec::new(),
        months: vec![month("2024-01", [true, true]), month("2024-02", [true, false]), month("2024-04", [true, true])],
    }
    .study()
}

fn minimal(change: impl FnOnce(&mut Query)) -> Query {
    let mut query =
        Query::from_toml("title = \"Essai\"\nmeasure = \"count\"\nperiods = { from = \"2024-01\", to = \"2024-04\" }\n").unwrap();
    change(&mut query);
    query
}

fn refused(change: impl FnOnce(&mut Query)) -> QueryError {
    let query = minimal(change);
    let error = check(&query, &study()).unwrap_err();
    let inputs = Inputs { person_keys: &[1, 2, 3], households: None };
    assert_eq!(evaluate(&query, &study(), inputs), Err(error.clone()), "an evaluation checks first");
    error
}

fn some(toml: &str) -> Option<Population> {
    let text = format!(
        "title = \"E\"\nmeasure = \"count\"\nperiods = {{ from = \"2024-01\", to = \"2024-01\" }}\npopulation = {toml}\n"
    );
    let read = Query::from_toml(&text).unwrap().population;
    assert!(read.is_some());
    read
}

#[test]
fn a_document_says_what_is_asked() {
    let query = Query::from_toml(PLAIN).unwrap();
    let wanted = Query {
        title: "Personnes sans domicile, par mois et par sexe".to_owned(),
        unit: Unit::Households,
        measure: Measure::Stock,
        of: None,
        periods: Range { from: "2024-01".parse().unwrap(), to: "2024-04".parse().unwrap() },
        grain: Grain::Quarter,
        breakdown: vec!["sexe".to_owned()],
        population: Some(Population::All {
            all: vec![
                Population::Record(Condition {
                    party: Some("siao".parse().unwrap()),
                    attributes: [].into(),
                    when: When::Same,
                    period: None,
                }),
                Population::Record(Condition {
                    party: None,
                    attributes: [("sexe".to_owned(), vec!["1".to_owned()])].into(),
                    when: When::Before,
                    period: None,
                }),
                Population::Not {
                    not: Box::new(Population::Any {
                        any: vec![Population::Record(Condition {
                            party: Some("caf".parse().unwrap()),
                            attributes: [].into(),
                            when: When::Same,
                            period: Some("2024-01".parse().unwrap()),
                        })],
                    }),
                },
            ],
        }),
    };
    assert_eq!(query, wanted);
    assert_eq!(Query::from_toml(&query.to_toml().unwrap()), Ok(query.clone()));
    assert_eq!(Query::from_json(&query.to_json().unwrap()), Ok(query.clone()));
    assert_eq!(check(&query, &study()), Ok(()));
}

#[test]
fn what_is_not_said_has_a_default() {
    let query = minimal(|_| {});
    assert_eq!((query.unit, query.grain, query.population, query.breakdown.len()), (Unit::Persons, Grain::Month, None, 0));
}

#[test]
fn a_malformed_document_is_refused_with_its_place() {
    let head = "title = \"Essai\"\nmeasure = \"count\"\nperiods = { from = \"2024-01\", to = \"2024-04\" }\n";
    for (text, line, column, message) in [
        ("title = \"Essai\nmeasure = 1", 1, 15, ""),
        ("title = \"Essai\"\nmeasure = \"median\"\n", 2, 11, "valeur inconnue `median`, possibles : `count`"),
        ("title = \"Essai\"\nmeasure = \"count\"\n", 1, 1, "il manque la clé `periods`"),
        ("title = \"É\"\nmeasure = \"count\"\nperiods = { from = \"2024-13\", to = \"2024-04\" }", 3, 20, "mois illisible"),
        (&format!("{head}colour = 1\n"), 4, 1, "clé inconnue `colour`, possibles : `title`"),
        (&format!("{head}title = \"Deux\"\n"), 4, 1, "clé écrite deux fois"),
        (&format!("{head}breakdown = \"sexe\"\n"), 4, 13, "valeur d'une autre forme : string \"sexe\", attendu : a sequence"),
        (&format!("{head}population = {{ party = \"SIAO\" }}\n"), 4, 24, "nom de partenaire illisible"),
        (&format!("{head}population = {{ party = \"siao\", all = [] }}\n"), 4, 14, "un ensemble s'écrit avec"),
        (&format!("{head}population = {{}}\n"), 4, 14, "un ensemble s'écrit avec"),
        (
            &format!("{head}population = {{ partie = \"siao\" }}\n"),
            4,
            16,
            "clé inconnue `partie`, possibles : `all`, `any`, `not`",
        ),
    ] {
        match Query::from_toml(text) {
            Err(Unreadable::Malformed { line: l, column: c, message: m }) => {
                assert!(m.starts_with(message), "{text}\n{m}");
                assert_eq!((l, c), (line, column), "{text}\n{m}");
            }
            other => panic!("{text}\n{other:?}"),
        }
    }
    match Query::from_json("{\n  \"title\": \"Essai\",\n  \"mesure\": 1 }").unwrap_err() {
        Unreadable::Malformed { line: 3, message, .. } => {
            assert!(message.starts_with("clé inconnue `mesure`, possibles :") && !message.contains(" at line"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn documents_are_bounded() {
    let long = format!("title = \"{}\"", "a".repeat(MAX_BYTES));
    assert_eq!(Query::from_toml(&long), Err(Unreadable::TooLong));
    assert_eq!(Query::from_json(&long), Err(Unreadable::TooLong));
    let nested = |depth: usize, open: &str, close: &str| {
        let set = format!("{}{{\"party\":\"siao\"}}{}", open.repeat(depth), close.repeat(depth));
        let periods = "{\"from\":\"2024-01\",\"to\":\"2024-01\"}";
        format!("{{\"title\":\"E\",\"measure\":\"count\",\"periods\":{periods},\"population\":{set}}}")
    };
    for (open, close) in [("{\"not\":", "}"), ("{\"all\":[", "]}"), ("{\"any\":[", "]}")] {
        assert!(Query::from_json(&nested(MAX_DEPTH - 1, open, close)).is_ok());
        assert_eq!(Query::from_json(&nested(MAX_DEPTH, open, close)), Err(Unreadable::TooDeep));
        assert!(matches!(Query::from_json(&nested(5000, open, close)), Err(Unreadable::Malformed { .. })));
    }
    let toml = format!("population = {}{{}}{}", "{ not = ".repeat(5000), " }".repeat(5000));
    assert!(matches!(Query::from_toml(&toml), Err(Unreadable::Malformed { .. })));
}

#[test]
fn a_long_message_is_cut() {
    let text = format!("measure = \"{}\"", "x".repeat(5000));
    let message = Query::from_toml(&text).unwrap_err().to_string();
    assert!(message.chars().count() < 350, "{message}");
}

#[test]
fn what_the_study_has_not_is_refused_by_name() {
    let parties = || vec!["siao".parse().unwrap(), "caf".parse().unwrap()];
    let names = || ["sexe", "commune", "nb_enfants", "ressources", "entree"].map(str::to_owned).to_vec();
    assert_eq!(
        refused(|q| q.population = some("{ party = \"ccas\" }")),
        QueryError::UnknownParty { party: "ccas".parse().unwrap(), known: parties() }
    );
    assert_eq!(
        refused(|q| q.population = some("{ not = { where = { couleur = [\"x\"] } } }")),
        QueryError::UnknownAttribute { name: "couleur".to_owned(), known: names() }
    );
    assert_eq!(
        refused(|q| q.population = some("{ where = { sexe = [\"1\", \"3\"] } }")),
        QueryError::UnknownValue {
            attribute: "sexe".to_owned(),
            value: "3".to_owned(),
            known: vec!["1".to_owned(), "2".to_owned()]
        }
    );
    assert_eq!(
        refused(|q| q.population = some("{ where = { sexe = [] } }")),
        QueryError::NoValue { attribute: "sexe".to_owned() }
    );
    let builtin = ["party", "parties", "age", "sex", "composition-menage"].map(str::to_owned);
    assert_eq!(
        refused(|q| q.breakdown = vec!["couleur".to_owned()]),
        QueryError::UnknownBreakdown { name: "couleur".to_owned(), known: builtin.into_iter().chain(names()).collect() }
    );
    assert_eq!(
        refused(|q| q.breakdown = vec!["age".to_owned()]),
        QueryError::UnknownAttribute { name: "date_naissance".to_owned(), known: names() }
    );
    assert_eq!(
        refused(|q| (q.measure, q.of) = (Measure::Sum, Some("couleur".to_owned()))),
        QueryError::UnknownAttribute { name: "couleur".to_owned(), known: names() }
    );
}

#[test]
fn values_that_the_rule_can_give_are_admitted_though_none_occurs() {
    for (name, value, admitted) in [
        ("sexe", "1", true),
        ("commune", "34000", true),
        ("commune", "3400", false),
        ("commune", "2a004", false),
        ("nb_enfants", "12", true),
        ("nb_enfants", "13", false),
        ("nb_enfants", "07", false),
        ("ressources", "<0", true),
        ("ressources", "500+", true),
        ("ressources", "0-500", false),
        ("entree", "2020-02", true),
        ("entree", "2020", false),
    ] {
        let query = minimal(|q| q.population = some(&format!("{{ where = {{ {name} = [\"{value}\"] }} }}")));
        assert_eq!(check(&query, &study()).is_ok(), admitted, "{name} {value}");
    }
}

#[test]
fn months_that_are_not_held_or_not_delivered_are_refused() {
    let period = |text: &str| text.parse().unwrap();
    let not_held =
        |text: &str| QueryError::PeriodNotHeld { period: period(text), first: period("2024-01"), last: period("2024-04") };
    assert_eq!(refused(|q| q.periods.from = period("2023-12")), not_held("2023-12"));
    assert_eq!(refused(|q| q.periods.to = period("2024-03")), not_held("2024-03"));
    assert_eq!(refused(|q| q.population = some("{ period = \"2024-05\" }")), not_held("2024-05"));
    assert_eq!(
        refused(|q| (q.periods.from, q.periods.to) = (period("2024-04"), period("2024-01"))),
        QueryError::PeriodOrder { from: period("2024-04"), to: period("2024-01") }
    );
    for text in ["{ party = \"caf\", period = \"2024-02\" }", "{ period = \"2024-02\" }"] {
        assert_eq!(
            refused(|q| q.population = some(text)),
            QueryError::NotDelivered { period: period("2024-02"), party: "caf".parse().unwrap() }
        );
    }
    assert_eq!(check(&minimal(|q| q.population = some("{ party = \"siao\", period = \"2024-02\" }")), &study()), Ok(()));
    assert_eq!(refused(|q| q.population = some("{ period = \"2024-01\", when = \"before\" }")), QueryError::WhenAndPeriod);
    let mut empty = study();
    empty.months.clear();
    assert_eq!(check(&minimal(|_| {}), &empty), Err(QueryError::NoMonth));
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    assert_eq!(refused(|q| q.title = " ".to_owned()), QueryError::Title);
    assert_eq!(refused(|q| q.title = "a\nb".to_owned()), QueryError::Title);
    assert_eq!(refused(|q| q.title = "a".repeat(201)), QueryError::Title);
    assert_eq!(refused(|q| q.population = Some(Population::Any { any: Vec::new() })), QueryError::EmptySet);
    let many = |count: usize| format!("{{ any = [{}] }}", "{ party = \"siao\" }, ".repeat(count));
    assert_eq!(refused(|q| q.population = some(&many(65))), QueryError::TooManyConditions);
    assert_eq!(check(&minimal(|q| q.population = some(&many(64))), &study()), Ok(()));
    assert_eq!(
        refused(|q| q.breakdown = own(&["party", "sexe", "commune", "nb_enfants", "ressources"])),
        QueryError::TooManyBreakdowns
    );
    assert_eq!(
        refused(|q| q.breakdown = own(&["sexe", "party", "sexe"])),
        QueryError::BreakdownTwice { name: "sexe".to_owned() }
    );
    for measure in [Measure::Transitions, Measure::Paths] {
        for name in ["party", "parties"] {
            assert_eq!(
                refused(|q| (q.measure, q.breakdown) = (measure, own(&[name]))),
                QueryError::BreakdownRefused { name: name.to_owned(), measure: measure.name() }
            );
        }
    }
    assert_eq!(refused(|q| q.measure = Measure::Sum), QueryError::OfMissing);
    assert_eq!(refused(|q| q.of = Some("sexe".to_owned())), QueryError::OfUseless);
    for name in ["sexe", "ressources", "entree"] {
        assert_eq!(
            refused(|q| (q.measure, q.of) = (Measure::Sum, Some(name.to_owned()))),
            QueryError::NotANumber { attribute: name.to_owned() }
        );
    }
    assert_eq!(refused(|q| (q.measure, q.grain) = (Measure::Transitions, Grain::Year)), QueryError::OnePeriod);
}

#[test]
fn a_cross_that_is_too_large_is_refused() {
    let mut study = study();
    study.attributes[1].values = (0..2000).map(|n| format!("{:05}", 10_000 + n)).collect();
    let query = minimal(|q| q.breakdown = ["commune", "ressources", "sexe"].map(str::to_owned).to_vec());
    let cells = 4 * 2002 * 5 * 4;
    assert_eq!(check(&query, &study), Err(QueryError::TooManyCells { cells }));
    let query = minimal(|q| (q.measure, q.of) = (Measure::Transitions, Some("commune".to_owned())));
    assert_eq!(check(&query, &study), Err(QueryError::TooManyCells { cells: 4 * 2003 * 2003 }));
}

#[test]
fn households_and_keys_must_be_there() {
    let query = minimal(|q| q.unit = Unit::Households);
    let inputs = |keys| Inputs { person_keys: keys, households: None };
    assert_eq!(evaluate(&query, &study(), inputs(&[1, 2, 3])), Err(QueryError::NoHouseholds));
    let query = minimal(|q| q.breakdown = vec!["composition-menage".to_owned()]);
    assert_eq!(evaluate(&query, &study(), inputs(&[1, 2, 3])), Err(QueryError::NoHouseholds));
    assert_eq!(evaluate(&minimal(|_| {}), &study(), inputs(&[1, 2])), Err(QueryError::Keys));
}

fn any_population() -> impl Strategy<Value = Population> {
    let party = proptest::option::of("[a-z][a-z0-9-]{0,8}");
    let values = proptest::collection::btree_map("[a-z][a-z_0-9]{0,8}", proptest::collection::vec(".{0,5}", 0..3), 0..3);
    let when = prop::sample::select(vec![When::Same, When::Previous, When::Before, When::After, When::Ever]);
    let record = (party, values, when, proptest::option::of(0u32..3000)).prop_map(|(party, attributes, when, period)| {
        let period = period.and_then(|p| format!("{}-{:02}", 1900 + p / 12, p % 12 + 1).parse().ok());
        Population::Record(Condition { party: party.map(|p| p.parse().unwrap()), attributes, when, period })
    });
    record.prop_recursive(6, 30, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|all| Population::All { all }),
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|any| Population::Any { any }),
            inner.prop_map(|not| Population::Not { not: Box::new(not) }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(population in any_population(), title in "[^\u{0}]{0,40}", of in proptest::option::of("[a-z]{1,5}")) {
        let query = minimal(|q| (q.title, q.of, q.population) = (title, of, Some(population)));
        prop_assert_eq!(Query::from_toml(&query.to_toml().unwrap()), Ok(query.clone()));
        prop_assert_eq!(Query::from_json(&query.to_json().unwrap()), Ok(query));
    }

    #[test]
    fn nothing_written_ends_the_process(text in "\\PC{0,200}", cut in 0usize..400, put in "\\PC{0,3}") {
        let _ = (Query::from_toml(&text), Query::from_json(&text));
        let cut = PLAIN.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(PLAIN.len());
        let (before, after) = PLAIN.split_at(cut);
        let _ = Query::from_toml(&format!("{before}{put}{after}"));
        let _ = Query::from_toml(before);
    }
}
