//! Breakdowns of a query: which values a dimension has, in which order, and where a unit's value comes from.
//!
//! Values stand in the order of the agreement's rule, whether they occur or not where the rule lists them, so that two
//! tables of one query have the same lines. What no rule lists (months, communes, numbers) stands as it occurs, sorted.

use linkage_agreement::Period;
use linkage_agreement::model::Rule;

use super::document::Measure;
use super::error::QueryError;
use crate::rates::{AgeBand, Sex};
use crate::study::{AttributeColumn, Study};

/// Breakdown by each party whose record a unit has.
pub(crate) const PARTY: &str = "party";
/// Breakdown by the exact combination of parties.
pub(crate) const PARTIES: &str = "parties";
/// Breakdown by age band.
pub(crate) const AGE: &str = "age";
/// Breakdown by sex, whatever codes the parties write it in.
pub(crate) const SEX: &str = "sex";
/// The attribute that sexes are read from.
pub(crate) const SEX_COLUMN: &str = "sexe";
/// Breakdown by the household's composition.
pub(crate) const COMPOSITION: &str = "composition-menage";
/// The attribute that ages are made of.
pub(crate) const BIRTH: &str = "date_naissance";

/// Age bands as they are written, in order.
pub(crate) const BANDS: [(AgeBand, &str); 5] = [
    (AgeBand::Under25, "0-24"),
    (AgeBand::From25, "25-29"),
    (AgeBand::From30, "30-49"),
    (AgeBand::From50, "50-59"),
    (AgeBand::From60, "60+"),
];

/// Sexes as they are written, in order.
pub(crate) const SEXES: [(Sex, &str); 2] = [(Sex::Women, "femme"), (Sex::Men, "homme")];

/// Where the units' values of a dimension come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Axis {
    /// Each party in turn.
    Party,
    /// The combination of parties.
    Parties,
    /// The band of the age made of the attribute at this position.
    Age(usize),
    /// The sex read from the attribute at this position.
    Sex(usize),
    /// The class of the household.
    Composition,
    /// The attribute at this position.
    Attribute(usize),
}

impl Axis {
    /// The axis that `name` stands for. Built-in names come first; attributes have no name of theirs with a hyphen.
    pub(crate) fn named(name: &str, study: &Study) -> Result<Self, QueryError> {
        let attribute = |name: &str| study.attribute(name);
        match name {
            PARTY => Ok(Self::Party),
            PARTIES if study.parties.len() > 64 => Err(QueryError::TooManyParties),
            PARTIES => Ok(Self::Parties),
            AGE => attribute(BIRTH)
                .map(Self::Age)
                .ok_or_else(|| QueryError::UnknownAttribute { name: BIRTH.to_owned(), known: names(study) }),
            SEX => attribute(SEX_COLUMN)
                .map(Self::Sex)
                .ok_or_else(|| QueryError::UnknownAttribute { name: SEX_COLUMN.to_owned(), known: names(study) }),
            COMPOSITION => Ok(Self::Composition),
            _ => attribute(name).map(Self::Attribute).ok_or_else(|| {
                let builtin = [PARTY, PARTIES, AGE, SEX, COMPOSITION].map(str::to_owned);
                QueryError::UnknownBreakdown { name: name.to_owned(), known: builtin.into_iter().chain(names(study)).collect() }
            }),
        }
    }

    /// Whether the measure can be broken down by it.
    pub(crate) fn suits(&self, measure: Measure) -> bool {
        match measure {
            // States, paths and delays are made of the parties themselves.
            Measure::Transitions | Measure::Paths | Measure::Delays => !matches!(self, Self::Party | Self::Parties),
            _ => true,
        }
    }

    /// Number of its values, without unknown and total; none where only the evaluation can tell.
    pub(crate) fn size(&self, study: &Study) -> Option<usize> {
        match self {
            Self::Party => Some(study.parties.len()),
            Self::Parties | Self::Composition => None,
            Self::Age(_) => Some(BANDS.len()),
            Self::Sex(_) => Some(SEXES.len()),
            Self::Attribute(at) => study.attributes.get(*at).map(|a| Values::of(a).names.len()),
        }
    }
}

/// Names of the study's attributes.
pub(crate) fn names(study: &Study) -> Vec<String> {
    study.attributes.iter().map(|a| a.name.clone()).collect()
}

/// Values of an attribute as a dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Values {
    /// In order.
    pub names: Vec<String>,
    /// Position in `names` of each code.
    pub positions: Vec<u16>,
}

impl Values {
    /// The values of `attribute`: those its rule lists, then whatever else occurs.
    pub(crate) fn of(attribute: &AttributeColumn) -> Self {
        let mut names = listed(&attribute.rule).unwrap_or_default();
        let mut others: Vec<&String> = attribute.values.iter().filter(|v| !names.contains(v)).collect();
        others.sort_by_cached_key(|value| (number(&attribute.rule, value), (*value).clone()));
        others.dedup();
        names.extend(others.into_iter().cloned());
        let mut sorted: Vec<(&str, usize)> = names.iter().enumerate().map(|(at, n)| (n.as_str(), at)).collect();
        sorted.sort_unstable();
        let position = |value: &String| {
            let found = sorted.binary_search_by_key(&value.as_str(), |(name, _)| name).ok();
            found.and_then(|at| sorted.get(at)).and_then(|(_, at)| u16::try_from(*at).ok()).unwrap_or(u16::MAX)
        };
        Self { positions: attribute.values.iter().map(position).collect(), names }
    }
}

/// Every value of a rule that lists them, in its order.
fn listed(rule: &Rule) -> Option<Vec<String>> {
    match rule {
        Rule::Code { values } => Some(values.clone()),
        Rule::Map { values } => {
            let mut codes: Vec<String> = values.values().cloned().collect();
            codes.sort_unstable();
            codes.dedup();
            Some(codes)
        }
        Rule::NationalityClass => Some(["FR", "UE", "HUE"].map(str::to_owned).to_vec()),
        Rule::Inside { .. } => Some(["inside", "outside"].map(str::to_owned).to_vec()),
        Rule::AgeBand { from_years } => {
            let from: Vec<i64> = from_years.iter().map(|years| i64::from(*years)).collect();
            let bands = bands(&from);
            // Nobody is younger than 0.
            Some(if from.first() == Some(&0) { bands.get(1..).unwrap_or_default().to_vec() } else { bands })
        }
        Rule::AmountBand { from } => Some(bands(from)),
        Rule::Month | Rule::Year | Rule::Commune | Rule::Department | Rule::Count { .. } | Rule::Drop => None,
    }
}

/// The bands of rising lower bounds, as nodes write them.
fn bands(from: &[i64]) -> Vec<String> {
    let mut bands: Vec<String> = from.first().map(|first| format!("<{first}")).into_iter().collect();
    for (at, low) in from.iter().enumerate() {
        bands.push(from.get(at + 1).map_or_else(|| format!("{low}+"), |next| format!("{low}-{}", next - 1)));
    }
    bands
}

/// What numbers are sorted by.
fn number(rule: &Rule, value: &str) -> u64 {
    if matches!(rule, Rule::Count { .. }) { value.parse().unwrap_or(u64::MAX) } else { 0 }
}

/// Whether the attribute can have the value, or had it.
pub(crate) fn admits(attribute: &AttributeColumn, value: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let place = |lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
    };
    let by_rule = match &attribute.rule {
        Rule::Month => value.parse::<Period>().is_ok(),
        Rule::Year => value.len() == 4 && digits(value),
        Rule::Commune => place(5..=5),
        Rule::Department => place(2..=3),
        Rule::Count { max } => digits(value) && value.parse::<u32>().is_ok_and(|n| n <= *max && n.to_string() == value),
        rule => listed(rule).is_some_and(|values| values.iter().any(|v| v == value)),
    };
    by_rule || attribute.values.iter().any(|v| v == value)
}

/// The whole number that each code stands for; none when the attribute is not of numbers.
pub(crate) fn numbers(attribute: &AttributeColumn) -> Option<Vec<u64>> {
    // Codes that happen to be digits are names, not numbers.
    if !matches!(attribute.rule, Rule::Count { .. }) {
        return None;
    }
    attribute.values.iter().map(|v| v.parse().ok()).collect()
}
