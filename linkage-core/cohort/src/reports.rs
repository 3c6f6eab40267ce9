//! Ready-made reports, in French as today's conventions ask for them: each is a list of queries and a layout.
//!
//! A report adds nothing to what queries can say: every figure of it can be asked for alone, and its tables pass disclosure
//! control together, since their lines tell of one another (docs/adr/0022). The layout rearranges what was protected and
//! computes with nothing else. What the agreement does not let travel is named in the report, so that a reader does not
//! take a section's absence for a zero. docs/rapports.md says how everything is counted.

mod activity;
mod annual;
mod layout;
mod needs;
mod reference;
mod words;

use linkage_agreement::{PartyId, Period};
use serde::{Deserialize, Serialize};

use crate::figures::Unit;
use crate::public::PublicTable;
use crate::query::{Condition, Grain, Measure, Population, Query, Range};
use crate::study::Study;

/// Columns that reports look for, by the canonical names of deliveries.
mod columns {
    pub(super) const HOUSING: &str = "hebergement";
    pub(super) const SEX: &str = "sexe";
    pub(super) const BIRTH_DATE: &str = "date_naissance";
    pub(super) const SUPPORT: &str = "type_accompagnement";
    pub(super) const OUTCOME: &str = "resultat";
}

/// Which report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Monthly view of needs: stock, entries, exits by situation and service, overlaps.
    #[serde(rename = "besoins-du-mois")]
    MonthlyNeeds,
    /// Quarterly table of activity: persons accompanied, entered, left; running support, by month and service.
    #[serde(rename = "activite-du-trimestre")]
    QuarterlyActivity,
    /// Annual report: persons by age, sex, family situation, type of request, outcome.
    #[serde(rename = "rapport-annuel")]
    Annual,
    /// Study of a reference cohort: found where, after how long.
    #[serde(rename = "cohorte-de-reference")]
    ReferenceCohort,
}

impl Kind {
    /// All, in the order of menus.
    pub const ALL: [Self; 4] = [Self::MonthlyNeeds, Self::QuarterlyActivity, Self::Annual, Self::ReferenceCohort];

    /// The name in commands and addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MonthlyNeeds => "besoins-du-mois",
            Self::QuarterlyActivity => "activite-du-trimestre",
            Self::Annual => "rapport-annuel",
            Self::ReferenceCohort => "cohorte-de-reference",
        }
    }
    /// Reads the name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
    /// The name in menus.
    pub fn title(self) -> &'static str {
        match self {
            Self::MonthlyNeeds => "Vue mensuelle des besoins",
            Self::QuarterlyActivity => "Tableau d’activité du trimestre",
            Self::Annual => "Rapport annuel",
            Self::ReferenceCohort => "Suivi d’une cohorte de référence",
        }
    }
}

/// What a report is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Which report.
    pub report: Kind,
    /// The month; for quarterly and annual reports any month of the quarter or year; for a cohort the last month followed.
    pub period: Period,
    /// Who is counted, for instance those without a home; everybody when absent. For a reference cohort: who belongs to
    /// it, a party at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<Population>,
}

/// Why there is no such report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// No month of the period is held.
    #[error("aucun mois de la période demandée n’est disponible ; mois disponibles : {held}")]
    NoMonth {
        /// First and last month held.
        held: String,
    },
    /// A cohort report without a cohort.
    #[error("ce rapport suit une cohorte : donnez-en la définition, par exemple population = {{ party = \"departement\" }}")]
    NoCohort,
}

/// A report: what to ask and in what order to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Title with its period.
    pub title: String,
    /// Sections, in order.
    pub sections: Vec<Section>,
}

/// A part of a report under one heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Heading.
    pub heading: String,
    /// How to read it: one or two sentences.
    pub text: String,
    /// What it shows.
    pub content: Content,
}

/// What a section shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// One table.
    Table(Query),
    /// One table for each party, of a query broken down by party.
    ByParty(Query),
    /// One column for each query: label and query, all over the same periods and breakdowns.
    Lines(Vec<(String, Query)>),
    /// The agreement does not let the attribute of this name travel.
    Absent(String),
}

/// A section with its tables, as they are shown: in words of the trade.
#[derive(Debug, Clone, PartialEq)]
pub struct Laid {
    /// See [`Section::heading`].
    pub heading: String,
    /// See [`Section::text`].
    pub text: String,
    /// Tables, in order.
    pub tables: Vec<PublicTable>,
    /// The attribute that the section lacks.
    pub absent: Option<String>,
}

impl Report {
    /// What is asked, in order: each query is one table.
    pub fn queries(&self) -> Vec<Query> {
        self.sections.iter().flat_map(|section| section.content.queries().into_iter().cloned()).collect()
    }

    /// The report with the protected answers to its queries, in their order; none when they are not as many.
    pub fn lay_out(&self, answers: &[PublicTable]) -> Option<Vec<Laid>> {
        let mut left = answers;
        let mut laid = Vec::with_capacity(self.sections.len());
        for section in &self.sections {
            let (own, rest) = left.split_at_checked(section.content.queries().len())?;
            left = rest;
            let absent = match &section.content {
                Content::Absent(attribute) => Some(attribute.clone()),
                _ => None,
            };
            let tables = layout::tables(&section.content, own);
            laid.push(Laid { heading: section.heading.clone(), text: section.text.clone(), tables, absent });
        }
        left.is_empty().then_some(laid)
    }
}

impl Content {
    fn queries(&self) -> Vec<&Query> {
        match self {
            Self::Table(query) | Self::ByParty(query) => vec![query],
            Self::Lines(lines) => lines.iter().map(|(_, query)| query).collect(),
            Self::Absent(_) => Vec::new(),
        }
    }
}

/// The report asked for, over the months that `study` holds.
///
/// # Errors
/// No month of the period is held; a cohort report without a cohort.
pub fn plan(request: &Request, study: &Study) -> Result<Report, ReportError> {
    match request.report {
        Kind::MonthlyNeeds => needs::plan(request, study),
        Kind::QuarterlyActivity => activity::plan(request, study),
        Kind::Annual => annual::plan(request, study),
        Kind::ReferenceCohort => reference::plan(request, study),
    }
}

/// The months held from `from` to `to`; an error when there is none.
fn held(study: &Study, from: Period, to: Period) -> Result<Range, ReportError> {
    let mut within = study.months.iter().map(|m| m.period).filter(|p| (from..=to).contains(p));
    let none = || ReportError::NoMonth {
        held: match (study.months.first(), study.months.last()) {
            (Some(first), Some(last)) => format!("de {} à {}", first.period, last.period),
            _ => "aucun".to_owned(),
        },
    };
    let from = within.next().ok_or_else(none)?;
    Ok(Range { from, to: within.next_back().unwrap_or(from) })
}

/// The month `months` before `period`, no earlier than the first that a period can be.
fn before(period: Period, months: u32) -> Period {
    let index = period.index().saturating_sub(months);
    // Indices count from January 1900, so that year and month are in range.
    Period::new(1900 + (index / 12) as u16, (index % 12 + 1) as u8).unwrap_or(period)
}

/// Queries of one report: all over the same months and population.
struct Asker<'r> {
    periods: Range,
    grain: Grain,
    population: Option<&'r Population>,
}

impl Asker<'_> {
    fn by(&self, title: &str, unit: Unit, measure: Measure, breakdown: &[&str]) -> Query {
        Query {
            title: title.to_owned(),
            unit,
            measure,
            of: None,
            periods: self.periods,
            grain: self.grain,
            breakdown: breakdown.iter().map(|b| (*b).to_owned()).collect(),
            population: self.population.cloned(),
        }
    }
    /// Persons in a population and those who came, came back and left, side by side.
    fn flows(&self, title: &str, present: (&str, Measure), breakdown: &[&str]) -> Vec<(String, Query)> {
        let lines = [present, ("Entrées", Measure::Entries), ("Retours", Measure::Returns), ("Sorties", Measure::Exits)];
        let line = |(label, measure): (&str, Measure)| {
            (label.to_owned(), self.by(&format!("{title} : {}", lower(label)), Unit::Persons, measure, breakdown))
        };
        lines.into_iter().map(line).collect()
    }
}

/// Without its capital.
fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// A condition that every record fulfils, of `party` alone where one is given.
fn anybody(party: Option<&PartyId>) -> Population {
    let attributes = std::collections::BTreeMap::new();
    Population::Record(Condition { party: party.cloned(), attributes, when: Default::default(), period: None })
}

/// What a section shows that needs an attribute: `content`, or the note that it does not travel.
fn with_attribute(study: &Study, attribute: &str, content: impl FnOnce() -> Content) -> Content {
    if study.attribute(attribute).is_some() { content() } else { Content::Absent(attribute.to_owned()) }
}

fn section(heading: &str, text: &str, content: Content) -> Section {
    Section { heading: heading.to_owned(), text: text.to_owned(), content }
}
