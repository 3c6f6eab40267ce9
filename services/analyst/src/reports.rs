//! Ready-made reports as they are shown and written: from the request, through the desk, to sections of tables and files.
//!
//! A report is one question: its tables are protected together and published together. Where the very report was put
//! forward already, its tables are those of the journal and are not computed again; else it is a draft and says so.

use std::sync::Arc;

use linkage_agreement::model::AnalystRight;
use linkage_cohort::reports::{self, Laid, Request};
use linkage_common::error::{ErrorKind, ServiceError};

use crate::access::{Access, Action, Outcome, Who};
use crate::desk::Desk;
use crate::export::{self, Format, Part, Standing};
use crate::journal::Publication;
use crate::publish::{Document, Question, Release};

/// A report with its tables.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportTables {
    /// Title with its period.
    pub title: String,
    /// What was asked; [`Desk::publish`] takes it.
    pub question: Question,
    /// What the figures come from.
    pub release: Release,
    /// What may be made of them.
    pub standing: Standing,
    /// Sections, in order; those that lack their attribute have no table.
    pub sections: Vec<Laid>,
    /// What is to be said before the first table.
    pub opening: String,
}

/// The report asked for, over the study as it is now.
///
/// # Errors
/// `Invalid` for a period that is not held or a population that the study cannot answer; as [`Desk::answer`].
pub async fn report(desk: &Arc<Desk>, request: &Request, who: &Who) -> Result<ReportTables, ServiceError> {
    let reader = desk.clone();
    let study = tokio::task::spawn_blocking(move || reader.study()).await.map_err(ServiceError::internal)??;
    let report = reports::plan(request, &study).map_err(|error| ServiceError::invalid(error.to_string()))?;
    let question = Question::Report { title: report.title.clone(), queries: report.queries() };
    let (release, standing, tables) = match forwarded(desk, &question).await? {
        Some((held, document)) => {
            let digest = question.digest()?;
            let access = Access {
                who,
                action: Action::View,
                subject: &report.title,
                query: Some(&digest),
                publication: Some(held.id.as_str()),
                outcome: Outcome::Done,
            };
            desk.access().noted(access, desk.permit(AnalystRight::Cohorts))?;
            (document.release, Standing::of(&held), document.tables)
        }
        None => {
            let answer = desk.answer(&question, who).await?;
            (answer.release, Standing::Draft, answer.tables)
        }
    };
    let mismatch = || ServiceError::internal("a report with other tables than it asked for");
    let sections = report.lay_out(&tables).ok_or_else(mismatch)?;
    let opening = opening(desk, &sections, &standing);
    Ok(ReportTables { title: report.title, question, release, standing, sections, opening })
}

/// The publication of this very question and release, where there is one.
async fn forwarded(desk: &Desk, question: &Question) -> Result<Option<(Publication, Document)>, ServiceError> {
    let document = Document {
        agreement: hex::encode(desk.gate().agreement_hash()),
        analyst: desk.analyst().clone(),
        question: question.clone(),
        release: desk.release()?,
        producers: Vec::new(),
        tables: Vec::new(),
    };
    match desk.journal().get(&document.id()?).await {
        Ok(held) => {
            let document = held.document()?;
            Ok(Some((held, document)))
        }
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// When the report was made, and what the agreement keeps out of it.
fn opening(desk: &Desk, sections: &[Laid], standing: &Standing) -> String {
    let mut text = match standing {
        Standing::Published { on, .. } => format!("Rapport publié le {on}."),
        _ => format!("Rapport établi le {}.", desk.gate().today()),
    };
    let lacking: Vec<String> =
        sections.iter().filter_map(|s| Some(format!("« {} » (attribut {})", s.heading, s.absent.as_ref()?))).collect();
    if !lacking.is_empty() {
        text.push_str(" Sections absentes, faute de l’attribut dans la convention : ");
        text.push_str(&lacking.join(", "));
        text.push('.');
    }
    text
}

impl ReportTables {
    /// The report as a file; what is not published says that it is a draft.
    ///
    /// # Errors
    /// `Internal`: the file could not be made, or noted.
    pub fn file(&self, desk: &Desk, format: Format, who: &Who) -> Result<Vec<u8>, ServiceError> {
        let about = desk.about(&self.title, self.release.clone(), self.standing.clone());
        let made = desk.permit(AnalystRight::Cohorts).and_then(|()| {
            let first = self.sections.iter().find(|s| !s.tables.is_empty()).map_or("", |s| s.text.as_str());
            let first = format!("{} {first}", self.opening);
            export::file(format, &about, &self.parts(&first))
        });
        let digest = self.question.digest()?;
        let subject = format!("{} ({})", self.title, format.ending());
        let publication = match &self.standing {
            Standing::Draft => None,
            Standing::Proposed(id) | Standing::Rejected(id) | Standing::Published { id, .. } => Some(id.as_str()),
        };
        let outcome = Outcome::of(&made);
        let access = Access { who, action: Action::Export, subject: &subject, query: Some(&digest), publication, outcome };
        desk.access().noted(access, made)
    }

    /// The tables under their sections' headings; `first` is said before the first of them.
    fn parts<'t>(&'t self, first: &'t str) -> Vec<Part<'t>> {
        let mut parts: Vec<Part<'t>> = Vec::new();
        for section in &self.sections {
            for (at, table) in section.tables.iter().enumerate() {
                let own = if parts.is_empty() { first } else { &section.text };
                parts.push(Part { heading: Some(&section.heading), text: (at == 0).then_some(own), table });
            }
        }
        parts
    }
}
