//! Attributes minimised by the agreement's rules, at the node, before anything is sealed.
//!
//! What leaves is what the rule can say and nothing else: a value that the rule has no word for is left out and listed
//! by line and attribute, never sent as it stands. A blank value, or a column that the party does not have, is simply
//! missing.
//!
//! | rule | what leaves |
//! |---|---|
//! | month, year | `AAAA-MM`, `AAAA` |
//! | age band | `18-24`, `65+`, `<18` below the first bound; age at the period's first day |
//! | commune, department | INSEE code; `01` to `95`, `2A`, `2B`, `971`..., `99` abroad |
//! | nationality class | `FR`, `UE`, `HUE` |
//! | amount band | `500-999`, `1500+`, `<0` below the first bound |
//! | code | the listed code, in the agreement's writing |
//! | count | the number, at most `max` |
//! | map | the code that the value stands for |
//! | inside | `inside` or `outside` the places listed |
//! | drop | nothing, and no place is kept for it |

mod nationality;

use std::collections::{HashMap, HashSet};

use linkage_agreement::ids::Period;
use linkage_agreement::model::{Attribute, Rule};

pub use nationality::{NationalityClass, nationality_class};

use linkage_agreement::squash;

use crate::intake::{RawRecord, amount, commune_code, five_characters, is_insee, iso_date, year_month};

/// A record's attributes after minimisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minimised {
    /// One value for each attribute of the agreement that leaves, in its order; none when missing or outside the rule.
    pub values: Vec<Option<String>>,
    /// Attributes with a value that the rule has no word for.
    pub outside: Vec<String>,
}

/// The agreement's attribute rules, bound to the columns of one delivery.
pub struct Minimiser {
    rules: Vec<Bound>,
    postcode: Option<usize>,
}

struct Bound {
    name: String,
    column: Option<usize>,
    rule: Compiled,
}

enum Compiled {
    Month,
    Year,
    Age {
        from: Vec<i64>,
        period: Period,
    },
    Commune,
    Department,
    Nationality,
    Amount {
        from: Vec<i64>,
    },
    /// Both rules that list values: `code`, where each stands for itself, and `map`.
    Code(HashMap<String, String>),
    Inside(HashSet<String>),
    Count(u32),
}

impl Minimiser {
    /// Binds `attributes` to the canonical `columns` of a delivery for `period`.
    pub fn new(attributes: &[Attribute], columns: &[String], period: Period) -> Self {
        let position = |name: &str| columns.iter().position(|c| c == name);
        let bound = |attribute: &Attribute| {
            let rule = match &attribute.rule {
                Rule::Month => Compiled::Month,
                Rule::Year => Compiled::Year,
                Rule::AgeBand { from_years } => {
                    Compiled::Age { from: from_years.iter().map(|y| i64::from(*y)).collect(), period }
                }
                Rule::Commune => Compiled::Commune,
                Rule::Department => Compiled::Department,
                Rule::NationalityClass => Compiled::Nationality,
                Rule::AmountBand { from } => Compiled::Amount { from: from.clone() },
                Rule::Code { values } => Compiled::Code(values.iter().map(|v| (squash(v), v.clone())).collect()),
                Rule::Count { max } => Compiled::Count(*max),
                Rule::Map { values } => Compiled::Code(values.iter().map(|(v, code)| (squash(v), code.clone())).collect()),
                Rule::Inside { codes } => Compiled::Inside(codes.iter().cloned().collect()),
                Rule::Drop => return None,
            };
            Some(Bound { name: attribute.name.clone(), column: position(&attribute.name), rule })
        };
        Self { rules: attributes.iter().filter_map(bound).collect(), postcode: position("code_postal") }
    }

    /// Attributes of the agreement that the delivery has no column for.
    pub fn absent(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter(|r| r.column.is_none()).map(|r| r.name.as_str())
    }

    /// Applies the rules to one record.
    pub fn minimise(&self, record: &RawRecord) -> Minimised {
        let value = |column: Option<usize>| column.and_then(|c| record.values.get(c)).map(|v| v.trim()).filter(|v| !v.is_empty());
        let mut minimised = Minimised { values: Vec::with_capacity(self.rules.len()), outside: Vec::new() };
        for bound in &self.rules {
            let text = value(bound.column);
            let kept = text.and_then(|text| bound.rule.apply(text, value(self.postcode)));
            if text.is_some() && kept.is_none() {
                minimised.outside.push(bound.name.clone());
            }
            minimised.values.push(kept);
        }
        minimised
    }
}

impl Compiled {
    fn apply(&self, text: &str, postcode: Option<&str>) -> Option<String> {
        match self {
            Self::Month => year_month(text).filter(|(_, month)| *month > 0).map(|(year, month)| format!("{year:04}-{month:02}")),
            Self::Year => year_month(text).map(|(year, _)| format!("{year:04}")),
            Self::Age { from, period } => ages(text, *period).and_then(|(least, most)| band(from, least, most)),
            Self::Commune => commune(text, postcode),
            Self::Department => department(text, postcode),
            Self::Nationality => nationality_class(text).map(|class| class.as_str().to_owned()),
            Self::Amount { from } => amount_band(from, text),
            Self::Code(codes) => codes.get(&squash(text)).cloned(),
            Self::Inside(codes) => inside(codes, text, postcode),
            Self::Count(max) => text.parse::<u32>().ok().map(|count| count.min(*max).to_string()),
        }
    }
}

/// Whole years at the period's first day, least and most when day or month are not known; none for a date to come or
/// more than 130 years away.
fn ages(text: &str, period: Period) -> Option<(i64, i64)> {
    let iso = iso_date(text)?;
    let part = |from: usize, to: usize| iso.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let at = |birthday: (i64, i64)| i64::from(period.year()) - year - i64::from((i64::from(period.month()), 1) < birthday);
    let or = |value: i64, unknown: i64| if value == 0 { unknown } else { value };
    let (least, most) = (at((or(month, 12), or(day, 31))), at((or(month, 1), or(day, 1))));
    (least >= 0 && most <= 130).then_some((least, most))
}

/// The band that holds every value of `low..=high`; none when two bands share it, or without bounds.
fn band(from: &[i64], low: i64, high: i64) -> Option<String> {
    let index = |value: i64| from.iter().take_while(|bound| **bound <= value).count();
    let at = index(low);
    if at != index(high) {
        return None;
    }
    let above = from.get(at);
    match (at.checked_sub(1).and_then(|below| from.get(below)), above) {
        (Some(first), Some(next)) if first + 1 == *next => Some(first.to_string()),
        (Some(first), Some(next)) => Some(format!("{first}-{}", next - 1)),
        (Some(first), None) => Some(format!("{first}+")),
        (None, Some(next)) => Some(format!("<{next}")),
        (None, None) => None,
    }
}

/// An amount's band; the file may hold bands itself (`501-1000`, `1500+`), which must lie in one of the rule's.
fn amount_band(from: &[i64], text: &str) -> Option<String> {
    let whole = |text: &str| {
        let plain = amount(text.trim());
        let (units, cents) = plain.split_once('.').unwrap_or((&plain, ""));
        let value = units.parse::<i64>().ok().filter(|_| cents.bytes().all(|b| b.is_ascii_digit()))?;
        Some(if plain.starts_with('-') && !cents.is_empty() { value - 1 } else { value })
    };
    if let Some(value) = whole(text) {
        return band(from, value, value);
    }
    if let Some(least) = text.strip_suffix('+') {
        return band(from, whole(least)?, i64::MAX);
    }
    let (low, high) = text.split_once('-')?;
    let (low, high) = (whole(low)?, whole(high)?);
    if low <= high { band(from, low, high) } else { None }
}

fn commune(text: &str, postcode: Option<&str>) -> Option<String> {
    if is_insee(text) { Some(five_characters(text)) } else { commune_code(text, postcode) }
}

fn department(text: &str, postcode: Option<&str>) -> Option<String> {
    department_of(&commune(text, postcode)?)
}

fn inside(codes: &HashSet<String>, text: &str, postcode: Option<&str>) -> Option<String> {
    let code = commune(text, postcode)?;
    let listed = codes.contains(&code) || codes.contains(&department_of(&code)?);
    Some(if listed { "inside" } else { "outside" }.to_owned())
}

/// The département of a commune's code.
fn department_of(code: &str) -> Option<String> {
    let length = if code.starts_with("97") || code.starts_with("98") { 3 } else { 2 };
    code.get(..length).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimise(rule: Rule, text: &str) -> Minimised {
        let attributes = [Attribute { name: "a".to_owned(), rule }];
        let period = Period::new(2024, 3).unwrap();
        let minimiser = Minimiser::new(&attributes, &["a".to_owned()], period);
        minimiser.minimise(&RawRecord { line: 2, values: vec![text.to_owned()] })
    }
    fn kept(rule: Rule, text: &str) -> Option<String> {
        let minimised = minimise(rule, text);
        assert_eq!(minimised.outside.is_empty(), minimised.values != [None] || text.is_empty());
        minimised.values.into_iter().next().unwrap()
    }
    fn is(rule: Rule, text: &str, expected: &str) {
        assert_eq!(kept(rule, text).unwrap_or_default(), expected, "{text}");
    }

    #[test]
    fn dates_keep_month_or_year_only() {
        is(Rule::Month, "1987-05-04", "1987-05");
        is(Rule::Month, "00/05/1987", "1987-05");
        is(Rule::Month, "1987-02-31", "");
        is(Rule::Year, "04/05/1987", "1987");
        is(Rule::Year, "1987", "1987");
        is(Rule::Year, "inconnue", "");
        is(Rule::Month, "1987-00-00", "");
        is(Rule::Year, "1987-00-00", "1987");
    }

    #[test]
    fn ages_are_those_of_the_periods_first_day() {
        let bands = || Rule::AgeBand { from_years: vec![0, 18, 25, 65] };
        is(bands(), "2006-03-01", "18-24");
        is(bands(), "2006-03-02", "0-17");
        is(bands(), "1950-01-01", "65+");
        is(bands(), "2024-03-02", "");
        is(bands(), "1880-01-01", "");
        is(bands(), "1987", "");
        is(bands(), "1987-00-00", "25-64");
        is(bands(), "2006-00-00", "");
        is(Rule::AgeBand { from_years: vec![18] }, "2020-01-01", "<18");
    }

    #[test]
    fn places() {
        is(Rule::Commune, "34172", "34172");
        is(Rule::Commune, "1004", "01004");
        is(Rule::Commune, "Montpellier", "34172");
        is(Rule::Commune, "12 rue des Lilas", "");
        is(Rule::Department, "2a004", "2A");
        is(Rule::Department, "97411", "974");
        is(Rule::Department, "99352", "99");
    }

    #[test]
    fn amounts_and_bands_of_amounts() {
        let bands = || Rule::AmountBand { from: vec![0, 1, 501, 1001] };
        is(bands(), "1 840,50 €", "1001+");
        is(bands(), "0", "0");
        is(bands(), "-12,50", "<0");
        is(bands(), "501-1000", "501-1000");
        is(bands(), "400-600", "");
        is(bands(), "1500+", "1001+");
        is(bands(), "Jeanne", "");
    }

    #[test]
    fn codes_counts_and_nationalities() {
        let codes = || Rule::Code { values: vec!["couple avec enfants".to_owned(), "RSA".to_owned()] };
        is(codes(), "Couple avec enfants", "couple avec enfants");
        is(codes(), "rsa", "RSA");
        is(codes(), "marié à Jeanne", "");
        is(Rule::Count { max: 6 }, "9", "6");
        is(Rule::Count { max: 6 }, "-1", "");
        is(Rule::NationalityClass, "Hors U.E.", "HUE");
        is(Rule::NationalityClass, "Martien", "");
    }

    #[test]
    fn mapped_values_leave_as_their_codes_only() {
        let values = [("Domicile fixe", "logé"), ("À la rue", "sans logement"), ("Campement / squat", "sans logement")];
        let map = || Rule::Map { values: values.iter().map(|(v, c)| ((*v).to_owned(), (*c).to_owned())).collect() };
        is(map(), "DOMICILE FIXE", "logé");
        is(map(), "a la rue", "sans logement");
        is(map(), "campement/squat", "sans logement");
        is(map(), "logé", "");
        is(map(), "chez Jeanne", "");
    }

    #[test]
    fn places_are_inside_or_outside_and_nothing_more() {
        let inside = || Rule::Inside { codes: vec!["34".to_owned(), "30189".to_owned(), "2A".to_owned(), "974".to_owned()] };
        is(inside(), "34172", "inside");
        is(inside(), "Montpellier", "inside");
        is(inside(), "30189", "inside");
        is(inside(), "30007", "outside");
        is(inside(), "2a004", "inside");
        is(inside(), "2B033", "outside");
        is(inside(), "97411", "inside");
        is(inside(), "97105", "outside");
        is(inside(), "99352", "outside");
        is(inside(), "12 rue des Lilas", "");
    }

    #[test]
    fn what_is_dropped_has_no_place_among_the_values() {
        let attributes =
            [Attribute { name: "a".to_owned(), rule: Rule::Drop }, Attribute { name: "b".to_owned(), rule: Rule::Year }];
        let columns = ["a".to_owned(), "b".to_owned()];
        let minimiser = Minimiser::new(&attributes, &columns, Period::new(2024, 1).unwrap());
        let record = RawRecord { line: 2, values: vec!["Jeanne".to_owned(), "1987".to_owned()] };
        assert_eq!(minimiser.minimise(&record), Minimised { values: vec![Some("1987".to_owned())], outside: vec![] });
        let minimiser = Minimiser::new(&attributes, &columns[1..], Period::new(2024, 1).unwrap());
        assert_eq!(minimiser.absent().count(), 0, "a column that never leaves is not missed");
    }

    #[test]
    fn blank_or_absent_is_missing_and_not_outside() {
        assert_eq!(minimise(Rule::Month, " "), Minimised { values: vec![None], outside: vec![] });
        let attributes = [Attribute { name: "b".to_owned(), rule: Rule::Month }];
        let minimiser = Minimiser::new(&attributes, &["a".to_owned()], Period::new(2024, 1).unwrap());
        assert_eq!(minimiser.absent().collect::<Vec<_>>(), ["b"]);
        let record = RawRecord { line: 2, values: vec!["x".to_owned()] };
        assert_eq!(minimiser.minimise(&record), Minimised { values: vec![None], outside: vec![] });
        assert_eq!(minimise(Rule::Month, "x"), Minimised { values: vec![None], outside: vec!["a".to_owned()] });
    }
}
