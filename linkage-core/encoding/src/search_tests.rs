use linkage_agreement::FieldKind;

use super::*;
use crate::date;
use crate::identity::FieldValue;
use crate::tables::names;
use crate::text::NameKind;

const AIMS: Aims = Aims { expected_records: 20_000, meetings: 0.3, tokens: 12, block_cap: 12 };

/// Persons in two lists. One in five has a name that differs by its ending in the second list, one in seven a default
/// date there, one in nine another year.
fn records() -> Vec<Labelled> {
    let mut state = 11u64;
    let mut draw = |most: usize| {
        state = spread(state);
        state as usize % most
    };
    let words = |kind| -> Vec<&str> {
        let mut words: Vec<(&str, f32)> = names().shares(kind).filter(|(w, share)| *share > 1e-5 && w.len() > 5).collect();
        words.sort_unstable_by_key(|(word, _)| *word);
        words.into_iter().map(|(word, _)| word).collect()
    };
    let (surnames, given) = (words(NameKind::Surname), words(NameKind::Given));
    let mut records = Vec::new();
    for person in 0..600u64 {
        let (surname, first) = (surnames[draw(surnames.len())], given[draw(given.len())]);
        let birth = (1940 + draw(70), 1 + draw(12), 2 + draw(27));
        for party in 0..2 {
            let other = party == 1;
            let cut = if other && person % 5 == 0 { surname.len() - 2 } else { surname.len() };
            let birth = match person {
                p if other && p % 7 == 0 => (birth.0, 1, 1),
                p if other && p % 9 == 0 => (birth.0 + 4, birth.1, birth.2),
                _ => birth,
            };
            let birth = date::parse(&format!("{}-{:02}-{:02}", birth.0, birth.1, birth.2), None).unwrap();
            let identity = Identity::from_values(vec![
                (FieldKind::BirthName, FieldValue::Name(vec![surname.get(..cut).unwrap().to_owned()])),
                (FieldKind::GivenNames, FieldValue::Name(vec![first.to_owned()])),
                (FieldKind::BirthDate, FieldValue::Date(birth)),
            ]);
            records.push(Labelled { identity, party, person });
        }
    }
    records
}

fn poor() -> PassSet {
    let text = "id = 'poor'\nmargin_bits = 4.0\nname_cap_bits = 11.0\nrank_weight = 6.0\n
        [[pass]]\nid = 's2+date'\nnames = ['sound', 'sound']\ndate = 'full'";
    PassSet::from_toml(text).unwrap()
}

#[test]
fn the_search_finds_what_a_poor_set_misses_and_says_so_on_other_persons() {
    let (records, mut steps) = (records(), Vec::new());
    let found = search(&records, &poor(), &AIMS, &mut |step| steps.push(step.clone())).unwrap();
    assert!(found.start_held_out.recall < 0.75, "{:?}", found.start_held_out);
    assert!(found.held_out.recall > 0.97 && found.held_out.meetings_per_record <= 2.0 * AIMS.meetings, "{:?}", found.held_out);
    assert!(found.held_out.keys_per_record <= AIMS.tokens as f64);
    assert_eq!(found.searched.records + found.held_out.records, records.len());
    let default = found.held_out.by_date.iter().find(|d| d.dates == "default").unwrap();
    assert!(default.true_pairs > 20 && default.recall > 0.9, "{default:?}");
    assert!(steps.iter().any(|s| s.change.starts_with("+ ")));
    // The same again, and the set as a file.
    let again = search(&records, &poor(), &AIMS, &mut |_| ()).unwrap();
    assert_eq!(again.set, found.set);
    let read = PassSet::from_toml(&found.set.to_toml().unwrap()).unwrap();
    assert_eq!(read, found.set);
    assert_eq!(measure(&records, &read, &AIMS), measure(&records, &found.set, &AIMS));
}

#[test]
fn nothing_is_chosen_on_too_few_pairs() {
    let few: Vec<Labelled> = records().into_iter().take(100).collect();
    assert!(matches!(search(&few, &poor(), &AIMS, &mut |_| ()), Err(SearchError::TooFewPairs(n)) if n < 100));
}
