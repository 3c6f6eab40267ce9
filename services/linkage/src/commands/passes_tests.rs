#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use linkage_synth::{SynthOptions, generate};

use super::*;

fn population(folder: &Path) {
    generate(&SynthOptions::new(2_400, 3, 1, 5).unwrap(), folder, &mut |_, _| ()).unwrap();
}
fn arguments(folder: &Path, name: &str) -> SearchArgs {
    let file = |party: &str| (party.parse().unwrap(), folder.join(format!("{party}/{party}_2024-01.csv")));
    SearchArgs {
        input: vec![file("ccas"), file("siao"), file("departement")],
        truth: folder.join("truth/truth.csv"),
        period: None,
        mapping: Vec::new(),
        agreement: None,
        pass_set: None,
        expected_records: Some(20_000),
        meetings: 0.5,
        name: name.to_owned(),
        out: folder.join("choisi.toml"),
        json: true,
    }
}

#[test]
fn a_searched_set_is_written_and_passes_the_check() {
    let folder = tempfile::tempdir().unwrap();
    population(folder.path());
    let args = arguments(folder.path(), "choisi");
    choose(&args).unwrap();
    let (set, reference) = pass_set(args.out.to_str().unwrap()).unwrap();
    assert!(set.id == "choisi" && set.pass.len() >= 3);
    let text = std::fs::read_to_string(&args.out).unwrap();
    assert_eq!(PassSet::agreed(&reference, Some(&text)), Ok(set));
    // An agreement that names the file is no use without it.
    let encoding = Encoding { pass_set: reference, ..Encoding::default() };
    assert!(format!("{:#}", given_or_agreed(None, &encoding).unwrap_err()).contains("--pass-set"));
    check(&args.input[0], None, None, args.out.to_str(), Some(20_000), true).unwrap();
}

#[test]
fn a_name_that_no_set_may_have_and_a_month_without_rows_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    population(folder.path());
    assert!(choose(&arguments(folder.path(), "Nom À Moi")).unwrap_err().to_string().contains("a-z"));
    assert!(!folder.path().join("choisi.toml").is_file());
    let mut args = arguments(folder.path(), "choisi");
    args.period = Some("2031-01".parse().unwrap());
    assert!(choose(&args).unwrap_err().to_string().contains("paires vraies"));
}

#[test]
fn a_truth_with_months_needs_one() {
    let folder = tempfile::tempdir().unwrap();
    let truth = folder.path().join("truth.csv");
    std::fs::write(&truth, "party,month,local_id,person_id\na,2024-01,1,P1\na,2024-02,1,P1\nb,2024-01,7,P1\n").unwrap();
    assert!(persons(&truth, None).unwrap_err().to_string().contains("--period"));
    let known = persons(&truth, Some("2024-01".parse().unwrap())).unwrap();
    assert_eq!(known.len(), 2);
    assert_eq!(known[&("a".to_owned(), "1".to_owned())], known[&("b".to_owned(), "7".to_owned())]);
    std::fs::write(&truth, "party,local_id\na,1\n").unwrap();
    assert!(persons(&truth, None).unwrap_err().to_string().contains("person_id"));
}
