//! Origins: where a family comes from, what its names are, and how French desks write them.
//!
//! They stand in `data/origins.json`, which says where they come from: common names only, no list describes a person. Spellings of
//! one name are separated by `/`, the most usual one first. Countries carry INSEE's code (Code officiel géographique, pays). The
//! order counts: what is drawn from a list is a place in it.

use std::sync::LazyLock;

use serde::Deserialize;

use super::SynthError;

const TEXT: &str = include_str!("../data/origins.json");

/// A country of birth.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Country {
    /// INSEE's upper-case name.
    pub(crate) name: &'static str,
    /// INSEE's five-digit code, `99xxx`.
    pub(crate) code: &'static str,
    /// Whether it is in the European Union, Iceland, Liechtenstein, Norway or Switzerland.
    pub(crate) european_union: bool,
    /// Places of birth.
    pub(crate) cities: Vec<&'static str>,
}

/// What a family's names, papers and places are drawn from.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    /// Its word in `truth_persons.csv`.
    pub(crate) key: &'static str,
    /// Weight among households.
    pub(crate) weight: u32,
    /// Share of adults born abroad.
    pub(crate) born_abroad: f64,
    /// Of those born abroad, share without papers.
    pub(crate) without_papers: f64,
    /// Of those without papers, share whose date of birth is a default one (a sixth as many among the others).
    pub(crate) default_date: f64,
    /// Share of persons with two surnames.
    pub(crate) two_surnames: f64,
    /// Share of given names from the French tables, among those born in France.
    pub(crate) french_given: f64,
    /// Countries by code, with weights.
    pub(crate) countries: Vec<(&'static str, u32)>,
    /// Surnames.
    pub(crate) surnames: Vec<&'static str>,
    /// Starts (`BEN*`) and ends (`*SKI`) of INSEE surnames that widen the list.
    pub(crate) patterns: Vec<&'static str>,
    /// Given names of men.
    pub(crate) men: Vec<&'static str>,
    /// Given names of women.
    pub(crate) women: Vec<&'static str>,
}

/// The file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Table {
    /// Where it comes from, for who reads the file.
    #[serde(rename = "source")]
    _source: &'static str,
    countries: Vec<Country>,
    origins: Vec<Origin>,
}

/// Reads the file: every origin is of countries that it names, each with a city.
fn read(text: &'static str) -> Result<Table, SynthError> {
    let table: Table = serde_json::from_str(text).map_err(|_| SynthError::Tables)?;
    let known = |code: &str| table.countries.iter().any(|country| country.code == code && !country.cities.is_empty());
    let whole = |origin: &Origin| !origin.countries.is_empty() && origin.countries.iter().all(|(code, _)| known(code));
    if !table.origins.is_empty() && table.origins.iter().all(whole) { Ok(table) } else { Err(SynthError::Tables) }
}

/// Empty where the file cannot be read: [`check`] says so before anything is drawn.
static TABLE: LazyLock<Table> = LazyLock::new(|| read(TEXT).unwrap_or_default());

/// Whether there are origins to draw from.
pub(crate) fn check() -> Result<(), SynthError> {
    if origins().is_empty() { Err(SynthError::Tables) } else { Ok(()) }
}

/// Every country that an origin names.
pub(crate) fn countries() -> &'static [Country] {
    &TABLE.countries
}

/// The first origin: French names by INSEE frequency.
pub(crate) const METROPOLE: usize = 0;

/// Every origin.
pub(crate) fn origins() -> &'static [Origin] {
    &TABLE.origins
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_file_is_whole() {
        let table = read(TEXT).unwrap();
        check().unwrap();
        assert_eq!((table.countries.len(), table.origins.len()), (41, 12));
        assert_eq!(table.origins[METROPOLE].key, "metropole");
        assert!(table.origins.iter().all(|origin| origin.weight > 0));
        for country in &table.countries {
            assert!(country.code.len() == 5 && country.code.starts_with("99"), "{}", country.name);
        }
        let codes: BTreeSet<&str> = table.countries.iter().map(|country| country.code).collect();
        assert_eq!(codes.len(), table.countries.len(), "one code each");
        for origin in &table.origins {
            let shares =
                [origin.born_abroad, origin.without_papers, origin.default_date, origin.two_surnames, origin.french_given];
            assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{}", origin.key);
            let names = [&origin.surnames, &origin.men, &origin.women];
            assert!(names.iter().all(|list| list.is_empty()) || names.iter().all(|list| list.len() >= 5), "{}", origin.key);
            let spellings = || names.into_iter().flatten().flat_map(|group| group.split('/'));
            assert!(spellings().all(|name| !name.is_empty() && name.trim() == name), "{}", origin.key);
        }
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let origin = r#"{"key":"a","weight":1,"born_abroad":0.5,"without_papers":0,"default_date":0,"two_surnames":0,
            "french_given":1,"countries":[["99352",1]],"surnames":[],"patterns":[],"men":[],"women":[]}"#;
        let file = |countries: &str, origins: &str| -> &'static str {
            format!(r#"{{"source":"x","countries":[{countries}],"origins":[{origins}]}}"#).leak()
        };
        let country = r#"{"name":"ALGERIE","code":"99352","european_union":false,"cities":["ALGER"]}"#;
        assert!(read(file(country, origin)).is_ok());
        for (countries, origins) in [
            (country, String::new()),
            ("", origin.to_owned()),
            (&country.replace("99352", "99350"), origin.to_owned()),
            (&country.replace(r#""ALGER""#, ""), origin.to_owned()),
            (country, origin.replace(r#"["99352",1]"#, "")),
            (country, origin.replace("weight", "poids")),
        ] {
            assert!(read(file(countries, &origins)).is_err(), "{countries} {origins}");
        }
    }
}
