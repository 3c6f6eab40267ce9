//! Published tables as files: CSV, .xlsx, HTML for screen and print, JSON.
//!
//! Every function takes tables that have passed disclosure control ([`PublicTable`]) and what is to be said of them
//! ([`About`]); a file says by itself what it is, and a draft says so on its every page or line. A hidden cell is `s`, a
//! cell of which nothing can be said is `n.d.`. Nothing in a file is executed: no formula, no script, nothing loaded.

use std::str::FromStr;

use jiff::civil::Date;
use linkage_cohort::PublicTable;
use linkage_common::error::ServiceError;
use serde_json::json;

use crate::journal::{Listed, State};
use crate::publish::{Fingerprint, PublicationId, Release};

pub mod csv;
pub mod grid;
pub mod html;
pub mod labels;
#[cfg(test)]
mod tests;
pub mod xlsx;

/// A form of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One line a figure, for any tool.
    Csv,
    /// A workbook: figures, and notes with intervals.
    Xlsx,
    /// A page to read or print, complete in itself.
    Html,
    /// Everything, for programs.
    Json,
}

impl Format {
    /// All forms.
    pub const ALL: [Self; 4] = [Self::Csv, Self::Xlsx, Self::Html, Self::Json];
    /// Ending of the file's name.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
            Self::Html => "html",
            Self::Json => "json",
        }
    }
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
        }
    }
}

impl FromStr for Format {
    type Err = ServiceError;
    fn from_str(text: &str) -> Result<Self, ServiceError> {
        Self::ALL
            .into_iter()
            .find(|f| f.ending() == text)
            .ok_or_else(|| ServiceError::invalid("format inconnu ; les formats sont : csv, xlsx, html, json"))
    }
}

/// What may be made of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Shown to the analyst, not published.
    Draft,
    /// Waits for producers.
    Proposed(PublicationId),
    /// Published.
    Published {
        /// Its identifier.
        id: PublicationId,
        /// Its fingerprint.
        fingerprint: Fingerprint,
        /// The day.
        on: Date,
    },
    /// Rejected by a producer.
    Rejected(PublicationId),
}

impl Standing {
    /// That of a publication.
    pub fn of(publication: &Listed) -> Self {
        let id = publication.id.clone();
        match (publication.state, publication.published_at) {
            (State::Rejected, _) => Self::Rejected(id),
            (State::Published, Some(at)) => Self::Published { id, fingerprint: publication.fingerprint, on: day(at) },
            _ => Self::Proposed(id),
        }
    }
    /// In words; what begins with « Brouillon » must not be passed on as published.
    pub fn french(&self) -> String {
        match self {
            Self::Draft => "Brouillon, non publié".to_owned(),
            Self::Proposed(id) => format!("Brouillon, non publié : proposé sous {id}, en attente des producteurs"),
            Self::Rejected(id) => format!("Brouillon, non publié : proposé sous {id}, rejeté"),
            Self::Published { id, on, .. } => format!("Publié le {on} sous {id}"),
        }
    }
    /// Whether it may be passed on.
    pub fn is_published(&self) -> bool {
        matches!(self, Self::Published { .. })
    }
    fn id(&self) -> Option<&PublicationId> {
        match self {
            Self::Draft => None,
            Self::Proposed(id) | Self::Rejected(id) | Self::Published { id, .. } => Some(id),
        }
    }
}

/// The day of a moment, UTC.
pub fn day(at: i64) -> Date {
    jiff::Timestamp::from_second(at).map_or(Date::ZERO, |t| jiff::tz::Offset::UTC.to_datetime(t).date())
}

/// What is said of the tables of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Title of the file.
    pub title: String,
    /// Name of the agreement.
    pub agreement: String,
    /// Name of the analyst.
    pub analyst: String,
    /// What the figures come from.
    pub release: Release,
    /// What may be made of them.
    pub standing: Standing,
}

impl About {
    /// The lines that every file bears, in order: what it is and by what it is called.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let runs: Vec<String> = self.release.runs.iter().map(ToString::to_string).collect();
        let mut lines = vec![
            ("Statut", self.standing.french()),
            ("Convention", self.agreement.clone()),
            ("Établi par", self.analyst.clone()),
            ("Données", format!("traitements {}{}", runs.join(", "), withdrawn(self.release.withdrawals))),
        ];
        if let Standing::Published { fingerprint, .. } = &self.standing {
            lines.push(("Empreinte", fingerprint.to_string()));
        }
        lines
    }
}

/// What sets figures apart from those of the same runs before persons' requests.
fn withdrawn(requests: u64) -> String {
    if requests == 0 { String::new() } else { format!(" ; {requests} demande(s) de personnes concernées suivie(s)") }
}

/// One table of a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part<'t> {
    /// Heading over it, where there are several.
    pub heading: Option<&'t str>,
    /// What is to be said before it.
    pub text: Option<&'t str>,
    /// The table.
    pub table: &'t PublicTable,
}

impl<'t> Part<'t> {
    /// A table without more words.
    pub fn plain(table: &'t PublicTable) -> Self {
        Self { heading: None, text: None, table }
    }
}

/// Parts by section: those in a row under one heading belong together, one without a heading stands alone.
pub fn sections<'p, 't>(parts: &'p [Part<'t>]) -> Vec<&'p [Part<'t>]> {
    parts.chunk_by(|a, b| a.heading.is_some() && a.heading == b.heading).collect()
}

/// A file of `parts`.
///
/// # Errors
/// `Internal`: the workbook could not be written.
pub fn file(format: Format, about: &About, parts: &[Part<'_>]) -> Result<Vec<u8>, ServiceError> {
    match format {
        Format::Csv => Ok(csv::file(about, parts).into_bytes()),
        Format::Xlsx => xlsx::file(about, parts),
        Format::Html => Ok(html::page(about, parts).into_string().into_bytes()),
        Format::Json => json(about, parts),
    }
}

/// The tables as they are, with what is said of them.
fn json(about: &About, parts: &[Part<'_>]) -> Result<Vec<u8>, ServiceError> {
    let tables: Vec<_> = parts.iter().map(|p| json!({ "heading": p.heading, "text": p.text, "table": p.table })).collect();
    let fingerprint = match &about.standing {
        Standing::Published { fingerprint, .. } => Some(hex::encode(fingerprint.0)),
        _ => None,
    };
    let whole = json!({
        "title": about.title, "published": about.standing.is_published(), "standing": about.standing.french(),
        "publication": about.standing.id(), "fingerprint": fingerprint, "agreement": about.agreement,
        "analyst": about.analyst, "release": about.release, "tables": tables,
    });
    let mut bytes = serde_json::to_vec_pretty(&whole).map_err(ServiceError::internal)?;
    bytes.push(b'\n');
    Ok(bytes)
}
