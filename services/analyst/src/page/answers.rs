//! Answers for the page: asked of the desk, and kept as long as the study stays what it is.
//!
//! The first view must be there at once whatever the size of the study, so an answer to a query is kept by question and
//! release, whatever it is titled. A kept answer is noted in the access log like a fresh one. Reports are not kept: what is published meanwhile
//! changes what they may show.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use linkage_cohort::PublicTable;
use linkage_cohort::query::Query;
use linkage_cohort::study::Study;
use linkage_common::error::ServiceError;

use super::Page;
use super::guard::Visit;
use crate::access::{Access, Action, Outcome, Who};
use crate::desk::Answer;
use crate::publish::{Question, Release};

/// Answers kept.
const MOST: usize = 300;

/// Answers to queries.
#[derive(Default)]
pub(super) struct Kept(Mutex<OfRelease>);

/// Answers about one release, by the question's digest.
#[derive(Default)]
struct OfRelease {
    release: Option<Release>,
    answers: HashMap<String, Arc<Answer>>,
}

impl Kept {
    fn get(&self, release: &Release, digest: &str) -> Option<Arc<Answer>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.answers.get(digest).filter(|_| kept.release.as_ref() == Some(release)).cloned()
    }
    fn put(&self, digest: String, answer: &Arc<Answer>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.release.as_ref() != Some(&answer.release) || kept.answers.len() >= MOST {
            *kept = OfRelease { release: Some(answer.release.clone()), answers: HashMap::new() };
        }
        kept.answers.insert(digest, answer.clone());
    }
}

/// What a question is kept by: its titles do not change the answer, so that both languages share it.
fn untitled(question: &Question) -> Result<String, ServiceError> {
    match question {
        Question::Query(query) => Question::Query(Query { title: String::new(), ..query.clone() }).digest(),
        report @ Question::Report { .. } => report.digest(),
    }
}

/// The answer under the title that was asked for now.
fn titled(kept: Arc<Answer>, question: &Question) -> Arc<Answer> {
    if kept.question.title() == question.title() {
        return kept;
    }
    let mut answer = Answer { question: question.clone(), ..(*kept).clone() };
    answer.tables.iter_mut().for_each(|table| question.title().clone_into(&mut table.title));
    Arc::new(answer)
}

impl Page {
    /// The study as it is now.
    pub(super) async fn study(&self) -> Result<Arc<Study>, ServiceError> {
        let desk = self.desk.clone();
        tokio::task::spawn_blocking(move || desk.study()).await.map_err(ServiceError::internal)?
    }

    /// The answer to a question, kept or fresh; either way it is in the access log.
    pub(super) async fn ask(&self, question: &Question, who: &Who) -> Result<Arc<Answer>, ServiceError> {
        let Question::Query(_) = question else { return Ok(Arc::new(self.desk.answer(question, who).await?)) };
        let (digest, release) = (question.digest()?, self.desk.release()?);
        let untitled = untitled(question)?;
        if let Some(kept) = self.kept.get(&release, &untitled) {
            let (action, outcome) = (Action::Query, Outcome::Done);
            self.desk.access().note(&Access {
                who,
                action,
                subject: question.title(),
                query: Some(&digest),
                publication: None,
                outcome,
            })?;
            return Ok(titled(kept, question));
        }
        let answer = Arc::new(self.desk.answer(question, who).await?);
        self.kept.put(untitled, &answer);
        Ok(answer)
    }

    /// The table that answers one query.
    pub(super) async fn table(&self, query: &Query, who: &Who) -> Result<PublicTable, ServiceError> {
        let answer = self.ask(&Question::Query(query.clone()), who).await?;
        answer.tables.first().cloned().ok_or_else(|| ServiceError::internal("an answer without a table"))
    }

    /// As [`Self::table`], for a visitor.
    pub(super) async fn answer(&self, visit: &Visit, query: &Query) -> Result<PublicTable, ServiceError> {
        self.table(query, &visit.session.visitor.who).await
    }

    /// Notes that a page without a question of its own was looked at.
    pub(super) fn seen(&self, visit: &Visit, subject: &str) -> Result<(), ServiceError> {
        let (action, outcome) = (Action::View, Outcome::Done);
        let who = &visit.session.visitor.who;
        self.desk.access().note(&Access { who, action, subject, query: None, publication: None, outcome })
    }
}
