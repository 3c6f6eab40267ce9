//! What a record cannot do without, found from the values of the first rows when no header names it.
//!
//! Only columns that no header explained are looked at, and never one whose header speaks of another person or of what no
//! agreement may ask for. A guess has a low confidence and says in its reason that it was made from values: the operator
//! decides. Birth years are compared with the year `today` that the caller gives.

use std::collections::{BTreeMap, BTreeSet};

use linkage_encoding::tables;
use linkage_encoding::text::NameKind;

use super::headers::{BIRTH_PARTS, FULL_NAME, forbidden, squash};
use super::propose::{ProposedColumn, Table, date_format, percent};
use super::reference::{commune_code, is_given_name};
use super::values::{self, DateFormat};
use super::words;

/// Fewer values than this say nothing about a column.
const LEAST: usize = 5;
/// An identifier is not longer than this, in characters.
const LONGEST_ID: usize = 32;
/// Birth dates reach back before this year.
const OLD_BIRTH: i16 = 1990;
/// Surnames of a class up to this one are in the tables often enough to tell.
const KNOWN_SURNAME: u8 = 4;

/// Gives what is missing of identifier, names, birth date and sex the column whose values look like it.
pub(super) fn fill(table: &Table, today: i16, columns: &mut [ProposedColumn]) {
    let free = |columns: &[ProposedColumn]| -> Vec<usize> {
        let open = |c: &ProposedColumn| c.target.is_none() && !forbidden(&c.source) && !words::other(&c.source);
        columns.iter().enumerate().filter(|(_, c)| open(c)).map(|(i, _)| i).collect()
    };
    let has = |columns: &[ProposedColumn], target: &str| columns.iter().any(|c| c.target.as_deref() == Some(target));
    let [.., year] = BIRTH_PARTS;
    if !has(columns, "date_naissance") && !has(columns, year) {
        let births: Vec<usize> = free(columns).into_iter().filter(|i| are_births(&table.values(*i), today)).collect();
        if let [only] = births.as_slice() {
            take(columns, *only, "date_naissance", 50, "seule colonne de dates étalées sur une vie");
        }
    }
    if !has(columns, "local_id") {
        let rows = table.rows.len();
        if let Some(at) = free(columns).into_iter().find(|i| are_identifiers(&table.values(*i), rows)) {
            take(columns, at, "local_id", 50, "première colonne de codes tous différents et tous remplis");
        }
    }
    if !has(columns, "sexe")
        && let Some(at) = free(columns).into_iter().find(|i| are_sexes(&table.values(*i)))
    {
        take(columns, at, "sexe", 45, "deux valeurs, une par sexe");
    }
    guess_names(table, columns, &free, &has);
}

fn guess_names(
    table: &Table,
    columns: &mut [ProposedColumn],
    free: &dyn Fn(&[ProposedColumn]) -> Vec<usize>,
    has: &dyn Fn(&[ProposedColumn], &str) -> bool,
) {
    if has(columns, FULL_NAME) {
        return;
    }
    let find = |columns: &[ProposedColumn], fits: &dyn Fn(&[&str]) -> bool| {
        free(columns).into_iter().find(|i| {
            let values = table.values(*i);
            are_words(&values) && fits(&values)
        })
    };
    let named = has(columns, "nom_naissance") || has(columns, "nom_usage");
    if !named
        && !has(columns, "prenoms")
        && let Some(at) = find(columns, &are_full_names)
    {
        take(columns, at, FULL_NAME, 40, "un prénom courant et un autre mot par ligne");
        return;
    }
    if !has(columns, "prenoms")
        && let Some(at) = find(columns, &are_given_names)
    {
        take(columns, at, "prenoms", 40, "prénoms courants selon l'INSEE");
    }
    if !named && let Some(at) = find(columns, &are_surnames) {
        take(columns, at, "nom_naissance", 40, "noms de famille courants selon l'INSEE");
    }
}

fn take(columns: &mut [ProposedColumn], at: usize, target: &str, confidence: u8, why: &str) {
    if let Some(column) = columns.get_mut(at) {
        column.target = Some(target.to_owned());
        column.confidence = confidence;
        column.reason = format!("deviné d'après les valeurs, l'en-tête ne le dit pas ({why}) : à vérifier");
    }
}

/// Short codes, all there and all different, that are neither dates, telephone nor social security numbers.
fn are_identifiers(values: &[&str], rows: usize) -> bool {
    let code = |v: &str| {
        v.chars().count() <= LONGEST_ID
            && v.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '.'))
            && v.chars().any(|c| c.is_ascii_digit())
    };
    let telephone = |v: &str| {
        let digits: String = v.chars().filter(char::is_ascii_digit).collect();
        digits.len() == 10 && digits.starts_with('0') || digits.len() == 11 && digits.starts_with("33")
    };
    values.len() >= LEAST
        && values.len() == rows
        && values.iter().collect::<BTreeSet<_>>().len() == rows
        && values.iter().all(|v| code(v))
        && !date_format(values).is_some_and(|format| format != DateFormat::ExcelSerial)
        && percent(values, telephone) < 50
        && percent(values, values::looks_like_nir) < 50
}

/// Dates of which some lie before 1990 and none after `today`. A plain number is no date here: codes look the same.
fn are_births(values: &[&str], today: i16) -> bool {
    let Some(format) = date_format(values).filter(|format| *format != DateFormat::ExcelSerial) else { return false };
    let years: Vec<i16> = values.iter().filter_map(|v| format.to_iso(v)).filter_map(|iso| iso.get(..4)?.parse().ok()).collect();
    values.len() >= LEAST
        && years.len() * 10 >= values.len() * 9
        && years.iter().any(|year| *year < OLD_BIRTH)
        && years.iter().all(|year| *year <= today)
}

/// Two values, one for each sex.
fn are_sexes(values: &[&str]) -> bool {
    let mut read: BTreeMap<String, &str> = BTreeMap::new();
    for value in values {
        match values::sex(value) {
            Some("") => {}
            Some(sex) => {
                read.insert(squash(value), sex);
            }
            None => return false,
        }
    }
    values.len() >= LEAST && read.len() == 2 && read.values().collect::<BTreeSet<_>>().len() == 2
}

/// Words without digits, many different ones, not the names of communes.
fn are_words(values: &[&str]) -> bool {
    let distinct = values.iter().collect::<BTreeSet<_>>().len();
    let word = |v: &str| !v.is_empty() && !v.chars().any(|c| c.is_ascii_digit() || matches!(c, '@' | '_' | '/'));
    values.len() >= LEAST
        && distinct * 3 >= values.len().min(60)
        && percent(values, word) >= 95
        && percent(values, |v| commune_code(v, None).is_some()) < 50
}

fn are_given_names(values: &[&str]) -> bool {
    let given = |v: &str| v.split([' ', '-', ',']).next().is_some_and(is_given_name);
    percent(values, given) >= 60
}

fn are_surnames(values: &[&str]) -> bool {
    percent(values, |v| v.split([' ', '-']).any(is_surname)) >= 60 && !are_given_names(values)
}

fn are_full_names(values: &[&str]) -> bool {
    let full = |v: &str| {
        let words: Vec<&str> = v.split([' ', ',']).filter(|w| !w.is_empty()).collect();
        words.len() >= 2
            && words.iter().any(|w| w.split('-').any(is_given_name))
            && words.iter().any(|w| !w.split('-').any(is_given_name))
    };
    percent(values, full) >= 60
}

fn is_surname(word: &str) -> bool {
    let key = squash(word).to_ascii_uppercase();
    !key.is_empty() && tables::names().rarity(NameKind::Surname, &key) <= KNOWN_SURNAME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_codes_that_no_row_shares() {
        let rows = ["A/001", "A/002", "A/003", "A/004", "A/005"];
        assert!(are_identifiers(&rows, 5));
        assert!(!are_identifiers(&rows, 6), "one row has none");
        assert!(!are_identifiers(&["A1", "A1", "A2", "A3", "A4"], 5));
        assert!(!are_identifiers(&["A1", "A2", "A3", "A4"], 4), "too few to tell");
        assert!(!are_identifiers(&["Anna", "Berthe", "Clara", "Denise", "Elsa"], 5));
        assert!(!are_identifiers(&["01/02/1980", "02/02/1980", "03/02/1980", "04/02/1980", "05/02/1980"], 5));
        assert!(!are_identifiers(&["0612345678", "0612345679", "0612345670", "0612345671", "0612345672"], 5));
        let nir = ["2550814168025", "1550814168025", "1560814168025", "1570814168025", "1580814168025"];
        assert!(!are_identifiers(&nir, 5));
    }

    #[test]
    fn births_reach_back_and_not_ahead() {
        let births = ["01/02/1958", "02/02/1980", "03/12/1999", "04/02/2001", "25/02/2010"];
        assert!(are_births(&births, 2024));
        assert!(!are_births(&births, 2005));
        assert!(!are_births(&["01/02/2023", "02/02/2022", "03/12/2023", "04/02/2021", "25/02/2020"], 2024));
        assert!(!are_births(&["34172", "34032", "30189", "34003", "13055"], 2024), "codes of communes");
    }

    #[test]
    fn sexes_are_two_values() {
        assert!(are_sexes(&["1", "2", "2", "1", "1"]) && are_sexes(&["M.", "Mme", "Mme", "M.", ""]));
        for values in [["F", "F", "F", "F", "F"], ["1", "2", "3", "1", "2"], ["Mme", "Mlle", "Mme", "Mlle", "Mme"]] {
            assert!(!are_sexes(&values), "{values:?}");
        }
    }

    #[test]
    fn names_are_known_by_the_tables() {
        let given = ["Marie", "Nathalie", "Mamadou", "Jean-Pierre", "Fatoumata"];
        let surnames = ["Dupont", "Lefebvre", "Diallo", "Le Goff", "Moreau"];
        let full = ["DUPONT Marie", "LEFEBVRE Nathalie", "Mamadou Diallo", "LE GOFF Jean-Pierre", "Moreau Fatoumata"];
        let communes = ["Montpellier", "Béziers", "Sète", "Agde", "Lunel"];
        assert!(are_given_names(&given) && !are_surnames(&given) && !are_full_names(&given));
        assert!(are_surnames(&surnames) && !are_given_names(&surnames) && !are_full_names(&surnames));
        assert!(are_full_names(&full));
        assert!(are_words(&given) && are_words(&surnames) && !are_words(&communes));
    }
}
