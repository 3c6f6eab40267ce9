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
            desk.entered(access, desk.permit(AnalystRight::Cohorts))?;
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
        desk.entered(access, made)
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

#[cfg(test)]
mod tests {
    use calamine::Reader as _;
    use linkage_cohort::reports::Laid;

    use super::*;
    use crate::export::About;
    use crate::testing::table;

    fn section(heading: &str, tables: &[&str], absent: Option<&str>) -> Laid {
        let tables = tables.iter().map(|title| table(title)).collect();
        Laid { heading: heading.to_owned(), text: format!("Lire {heading}."), tables, absent: absent.map(str::to_owned) }
    }

    fn report() -> ReportTables {
        let sections = vec![
            section("Par sexe", &[], Some("sexe")),
            section("Par service : [ccas/siao] et tous les autres services", &["ccas", "siao"], None),
            section("Par âge", &["âge"], None),
        ];
        ReportTables {
            title: "Rapport annuel 2024".to_owned(),
            question: Question::Report { title: "Rapport annuel 2024".to_owned(), queries: Vec::new() },
            release: Release::default(),
            standing: Standing::Draft,
            sections,
            opening: "Rapport établi le 2026-11-22.".to_owned(),
        }
    }

    fn bytes(format: Format) -> Vec<u8> {
        let report = report();
        let about = About {
            title: report.title.clone(),
            agreement: "Essai".to_owned(),
            analyst: "Étude".to_owned(),
            release: report.release.clone(),
            standing: report.standing.clone(),
        };
        export::file(format, &about, &report.parts("Rapport établi le 2026-11-22. Lire.")).unwrap()
    }

    #[test]
    fn a_page_has_each_heading_once_and_one_foot() {
        let page = String::from_utf8(bytes(Format::Html)).unwrap();
        let count = |text: &str| page.matches(text).count();
        assert_eq!((count("<h2>Par service"), count("<h2>Par âge</h2>"), count("<h2>Par sexe</h2>")), (1, 1, 0));
        assert_eq!((count("Pour lire ce rapport"), count("Secret statistique"), count("<table")), (1, 1, 3));
        assert_eq!((count("Rapport établi le 2026-11-22. Lire."), count("Lire Par âge."), count("Lire Par service")), (1, 1, 0));
        let (foot, last) = (page.find("Pour lire ce rapport").unwrap(), page.rfind("<table").unwrap());
        assert!(foot > last);
    }

    #[test]
    fn a_workbook_has_a_sheet_for_each_section_and_lines_bear_theirs() {
        let mut book: calamine::Xlsx<_> = calamine::open_workbook_from_rs(std::io::Cursor::new(bytes(Format::Xlsx))).unwrap();
        assert_eq!(book.sheet_names(), ["1 Par service  ccassiao et tous", "2 Par âge", "Notes"]);
        let sheet = book.worksheet_range("1 Par service  ccassiao et tous").unwrap();
        let texts: Vec<String> = sheet.used_cells().map(|(_, _, cell)| cell.to_string()).collect();
        assert!(texts.contains(&"siao".to_owned()) && texts.iter().any(|t| t.contains("Brouillon, non publié")), "{texts:?}");
        let csv = String::from_utf8(bytes(Format::Csv)).unwrap();
        assert_eq!(csv.lines().filter(|l| l.starts_with("Par service : [ccas/siao]")).count(), 2);
        assert_eq!(csv.lines().filter(|l| l.starts_with("section,période,")).count(), 3);
        assert!(csv.lines().any(|l| l.starts_with("Par âge,2024-01,120,")));
    }
}
