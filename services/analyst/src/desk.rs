//! The one place that answers questions: command line, gRPC and page ask here and get the same figures.
//!
//! Every answer has passed disclosure control under the agreement's terms, and every question, view, export and decision is
//! in the access log before its answer leaves ([`noted`]). A query is held against the study, evaluated and protected; publishing puts
//! the protected answer into the journal. Whatever was shown, draft or publication, is reckoned with in later answers, so that
//! the persons between two answers are told by neither.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use linkage_agreement::model::{AnalystRight, DisclosureMethod};
use linkage_agreement::{PartyId, Period, RunId};
use linkage_cohort::disclosure::keys::person_keys;
use linkage_cohort::disclosure::{Policy, Published};
use linkage_cohort::households::Resolver;
use linkage_cohort::query::{Query, QueryError, Unreadable, evaluate};
use linkage_cohort::study::{Households as _, SourceError, Study};
use linkage_cohort::{FigureTable, Method, PublicTable};
use linkage_common::clock::SystemClock;
use linkage_common::error::{ErrorKind, ServiceError};
use linkage_common::gate::Gate;
use tokio::sync::Semaphore;

use crate::access::{AccessLog, Action, Who};
use crate::config::AnalystConfig;
use crate::export::{self, About, Format, Part, Standing};
use crate::journal::{Journal, Moment, Proposal, Publication};
use crate::publish::{self, Document, PublicationId, Question, Release, Verdict};
use crate::refusals::Refusals;
use crate::study::StudyStore;
use crate::users::{Switch, User, Users};
use ledger::ShownBefore;
use opened::Opened;

mod asked;
mod ledger;
mod lines;
mod noted;
mod opened;
mod rates;
mod secret;

/// Questions that are worked on at a time: each takes all cores that it can get.
const AT_A_TIME: usize = 2;

/// An answer, as it may be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What was asked.
    pub question: Question,
    /// What it was computed from.
    pub release: Release,
    /// One table for each query.
    pub tables: Vec<PublicTable>,
}

/// The desk.
pub struct Desk {
    gate: Arc<Gate>,
    analyst: PartyId,
    data_dir: PathBuf,
    store: StudyStore,
    secret: secret::CellSecret,
    journal: Journal,
    users: Users,
    access: AccessLog,
    refusals: Refusals,
    opened: Mutex<Option<Arc<Opened>>>,
    room: Arc<Semaphore>,
    /// Whether households are resolved before somebody asks for them.
    ahead: bool,
}

/// Reads a query document: JSON when it begins with a brace, TOML otherwise.
///
/// # Errors
/// `Invalid`, with line and column.
pub fn read_query(document: &[u8]) -> Result<Query, ServiceError> {
    let text = std::str::from_utf8(document)
        .map_err(|_| ServiceError::invalid("la requête n'est pas un texte UTF-8 ; enregistrez-la en UTF-8"))?;
    let read = if text.trim_start().starts_with('{') { Query::from_json(text) } else { Query::from_toml(text) };
    read.map_err(|error| match error {
        Unreadable::TooLong => ServiceError::too_large(error.to_string()),
        error => ServiceError::invalid(format!("requête illisible : {error}")),
    })
}

/// A refused query, as it is answered: what was asked cannot be had, and no figure is given.
fn refused(error: &QueryError) -> ServiceError {
    match error {
        QueryError::Source(SourceError(_)) | QueryError::Keys => ServiceError::internal(error),
        error => ServiceError::invalid(format!("requête refusée : {error}")),
    }
}

impl Desk {
    /// Opens study, journal and secret of an analyst's side.
    ///
    /// # Errors
    /// What is wrong with configuration or disk; an analyst whom the agreement lets ask nothing.
    pub async fn open(config: &AnalystConfig, gate: Arc<Gate>, access: AccessLog) -> Result<Self, ServiceError> {
        let store = StudyStore::open(&config.data_dir, gate.agreement())?;
        let journal = Journal::open_at(&config.place()?).await?;
        Ok(Self {
            analyst: config.analyst.clone(),
            data_dir: config.data_dir.clone(),
            secret: secret::CellSecret::open(&config.data_dir)?,
            users: Users::of(&journal),
            journal,
            opened: Mutex::default(),
            refusals: Refusals::default(),
            room: Arc::new(Semaphore::new(AT_A_TIME)),
            ahead: true,
            store,
            access,
            gate,
        })
    }

    /// The same from a configuration alone, for commands: they ask once, and do nothing ahead.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn of(config: &AnalystConfig) -> Result<Self, ServiceError> {
        let clock = Arc::new(SystemClock);
        let gate = Arc::new(Gate::load(&config.agreement, clock.clone())?);
        let access = AccessLog::open(&config.data_dir, clock)?;
        Ok(Self { ahead: false, ..Self::open(config, gate, access).await? })
    }

    /// The gate.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }
    /// The analyst whose side this is.
    pub fn analyst(&self) -> &PartyId {
        &self.analyst
    }
    /// The access log.
    pub fn access(&self) -> &AccessLog {
        &self.access
    }
    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Who has come in, and whether they may.
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// Switches somebody off or on; it is in the access log like every attempt at it.
    ///
    /// # Errors
    /// As [`Users::switch`].
    pub async fn switch(&self, switch: Switch<'_>) -> Result<User, ServiceError> {
        let made = match self.users.admit(switch.by).await {
            Ok(()) => self.users.switch(switch, self.gate.now()).await,
            Err(error) => Err(error),
        };
        let action = if switch.on { Action::Enable } else { Action::Disable };
        self.note(switch.by, action, &switch.id.to_string(), None, made)
    }

    /// Refuses when the agreement is not in force, or does not let this analyst do what `right` says.
    ///
    /// # Errors
    /// `Refused`.
    pub fn permit(&self, right: AnalystRight) -> Result<(), ServiceError> {
        self.gate.in_force()?;
        let mine = self.gate.agreement().analyst.iter().find(|a| a.id == self.analyst);
        if mine.is_some_and(|a| a.may.contains(&right)) {
            return Ok(());
        }
        let right = match right {
            AnalystRight::Cohorts => "d'interroger des effectifs (« cohorts »)",
            AnalystRight::RowLevel => "de détenir les lignes pseudonymes (« row-level »)",
        };
        Err(ServiceError::refused(format!("la convention ne donne pas à cet analyste le droit {right} ; il faut un avenant")))
    }

    /// The study as it is now.
    ///
    /// # Errors
    /// The disk.
    pub fn study(&self) -> Result<Arc<Study>, ServiceError> {
        self.store.study()
    }

    /// The runs that the study holds.
    ///
    /// # Errors
    /// The disk.
    pub fn release(&self) -> Result<Release, ServiceError> {
        let runs: Vec<RunId> = self.store.runs()?.into_iter().map(|taken| taken.run).collect();
        Ok(Release { runs, withdrawals: self.store.withdrawals()? })
    }

    /// The answer to a question, protected.
    ///
    /// # Errors
    /// `Refused` outside the agreement or the analyst's rights; `Invalid` for what the study cannot answer; `Exhausted` after too
    /// many that were refused.
    pub async fn answer(self: &Arc<Self>, question: &Question, who: &Who) -> Result<Answer, ServiceError> {
        let (desk, question, who) = (self.clone(), question.clone(), who.clone());
        self.in_turn(async move {
            let made = match desk.admit_question(&who).await {
                Ok(()) => desk.computed(&question).await.map(|(answer, _)| answer),
                Err(error) => Err(error),
            };
            desk.noted(&who, Action::Query, &question, None, made)
        })
        .await
    }

    /// Does work in turn, and to its end whether or not somebody still waits for it: what was computed is at work for as
    /// long as it takes, and stands in the access log.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let room = self.room.clone().acquire_owned().await.map_err(ServiceError::internal)?;
        let done = tokio::spawn(async move {
            let made = work.await;
            drop(room);
            made
        });
        done.await.map_err(ServiceError::internal)?
    }

    /// The answer to one query.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub async fn answer_query(self: &Arc<Self>, query: &Query, who: &Who) -> Result<Answer, ServiceError> {
        self.answer(&Question::Query(query.clone()), who).await
    }

    /// Puts the answer to a question forward for publication.
    ///
    /// # Errors
    /// As [`Self::answer`]; `Exhausted` beyond the month's budget.
    pub async fn publish(
        self: &Arc<Self>,
        question: &Question,
        justification: &str,
        who: &Who,
    ) -> Result<Publication, ServiceError> {
        let (desk, question, who, justification) = (self.clone(), question.clone(), who.clone(), justification.to_owned());
        self.in_turn(async move {
            let made = desk.put_forward(&question, &justification, &who).await;
            let id = made.as_ref().ok().map(|p| p.id.to_string());
            desk.noted(&who, Action::Publish, &question, id.as_deref(), made)
        })
        .await
    }

    async fn put_forward(
        self: &Arc<Self>,
        question: &Question,
        justification: &str,
        who: &Who,
    ) -> Result<Publication, ServiceError> {
        self.admit_question(who).await?;
        let justification = publish::reason(justification)?;
        let terms = self.gate.agreement().disclosure.clone();
        self.permit(AnalystRight::Cohorts)?;
        let producers = if terms.needs_approval() { publish::producers(question, self.gate.agreement()) } else { Vec::new() };
        let mut document = Document {
            agreement: hex::encode(self.gate.agreement_hash()),
            analyst: self.analyst.clone(),
            question: question.clone(),
            release: self.release()?,
            producers,
            tables: Vec::new(),
        };
        // What is published already is not computed again: its own figures would stand among those that it is held against.
        match self.journal.get(&document.id()?).await {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            held => return held,
        }
        let (answer, kept) = self.computed(question).await?;
        (document.release, document.tables) = (answer.release, answer.tables);
        let proposal = Proposal {
            id: document.id()?,
            analyst: self.analyst.clone(),
            title: question.title().to_owned(),
            tables: document.tables.len() as u32,
            justification,
            by: who.to_string(),
            producers: document.producers.clone(),
            release: document.release.clone(),
            document: document.to_bytes()?,
            kept: kept.map(|k| serde_json::to_vec(&k)).transpose().map_err(ServiceError::internal)?,
        };
        let made = self.journal.propose(&proposal, self.now(), terms.tables_per_month()).await?;
        tracing::info!(publication = %made.id, state = made.state.french(), "table put forward for publication");
        Ok(made)
    }

    /// Enters a producer's decision on a publication; `signature` must be the party's over it.
    ///
    /// # Errors
    /// `Refused` for another's signature or a party that is not asked, `NotFound`, `Conflict`.
    pub async fn decide(
        &self,
        id: &PublicationId,
        party: &PartyId,
        verdict: &Verdict,
        signature: &[u8],
        who: &Who,
    ) -> Result<Publication, ServiceError> {
        let made = self.decided(id, party, verdict, signature, who).await;
        let action = if *verdict == Verdict::Approved { Action::Approve } else { Action::Reject };
        let title = made.as_ref().map_or("", |p| p.title.as_str()).to_owned();
        self.note(who, action, &title, Some(id), made)
    }

    async fn decided(
        &self,
        id: &PublicationId,
        party: &PartyId,
        verdict: &Verdict,
        signature: &[u8],
        who: &Who,
    ) -> Result<Publication, ServiceError> {
        self.gate.in_force()?;
        let held = self.journal.get(id).await?;
        let hash = self.gate.agreement_hash();
        if held.document()?.agreement != hex::encode(hash) {
            return Err(ServiceError::conflict(
                "ce tableau a été proposé sous une version antérieure de la convention ; l'analyste doit le proposer de nouveau",
            ));
        }
        verdict.verify(self.gate.agreement(), &hash, &held.fingerprint, party, signature)?;
        let made = self.journal.decide(id, party, &who.to_string(), verdict, signature, self.now()).await?;
        tracing::info!(publication = %id, party = %party, state = made.state.french(), "decision entered");
        Ok(made)
    }

    /// A publication as a file; what is not published is marked as a draft.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn export(&self, id: &PublicationId, format: Format, who: &Who) -> Result<Vec<u8>, ServiceError> {
        let made = match self.users.admit(who).await {
            Ok(()) => self.exported(id, format).await,
            Err(error) => Err(error),
        };
        let title = made.as_ref().map_or(String::new(), |(title, _)| format!("{title} ({})", format.ending()));
        self.note(who, Action::Export, &title, Some(id), made.map(|(_, bytes)| bytes))
    }

    async fn exported(&self, id: &PublicationId, format: Format) -> Result<(String, Vec<u8>), ServiceError> {
        self.permit(AnalystRight::Cohorts)?;
        let held = self.journal.get(id).await?;
        let document = held.document()?;
        let parts: Vec<Part<'_>> = document.tables.iter().map(Part::plain).collect();
        let about = self.about(&held.title, document.release.clone(), Standing::of(&held));
        Ok((held.listed.title, export::file(format, &about, &parts)?))
    }

    /// An answer as a file, marked as a draft; with `parts` of its own headings where it is a report.
    ///
    /// # Errors
    /// `Internal`: the file could not be made, or noted.
    pub fn export_draft(&self, answer: &Answer, parts: &[Part<'_>], format: Format, who: &Who) -> Result<Vec<u8>, ServiceError> {
        let about = self.about(answer.question.title(), answer.release.clone(), Standing::Draft);
        let made = self.permit(AnalystRight::Cohorts).and_then(|()| export::file(format, &about, parts));
        self.noted(who, Action::Export, &answer.question, None, made)
    }

    /// What files say of themselves.
    pub fn about(&self, title: &str, release: Release, standing: Standing) -> About {
        let agreement = self.gate.agreement();
        let name = agreement.analyst.iter().find(|a| a.id == self.analyst).map_or("", |a| a.name.as_str());
        About {
            title: title.to_owned(),
            agreement: agreement.agreement.title.clone(),
            analyst: name.to_owned(),
            release,
            standing,
        }
    }

    fn now(&self) -> Moment {
        Moment { at: self.gate.now(), today: self.gate.today() }
    }

    /// The answer to a question, and what is to be kept of it when it is published.
    async fn computed(self: &Arc<Self>, question: &Question) -> Result<(Answer, Option<Vec<Published>>), ServiceError> {
        self.permit(AnalystRight::Cohorts)?;
        let published = match question {
            Question::Query(_) => Vec::new(),
            Question::Report { .. } => self.journal.kept().await?,
        };
        let (desk, question) = (self.clone(), question.clone());
        tokio::task::spawn_blocking(move || desk.compute(question, &published)).await.map_err(ServiceError::internal)?
    }

    /// `published`: what the journal keeps of reports.
    fn compute(&self, question: Question, published: &[Vec<u8>]) -> Result<(Answer, Option<Vec<Published>>), ServiceError> {
        let opened = self.opened()?;
        let inputs = opened.inputs();
        let raw: Vec<FigureTable> = question
            .queries()
            .iter()
            .map(|query| evaluate(query, &opened.study, inputs).map_err(|error| refused(&error)))
            .collect::<Result<_, _>>()?;
        let named: Vec<(&FigureTable, &str)> = raw.iter().zip(question.queries().iter().map(|q| q.title.as_str())).collect();
        let month = Period::of(self.gate.today());
        let known_by = asked::known_by(question.queries(), &opened.release)?;
        opened.shown().lock()?.count(month, known_by)?;
        let policy = self.policy(&question);
        let suppressed = if policy.method == Method::Suppression { opened.suppressed(&named, &policy, published)? } else { None };
        let (tables, kept) = match suppressed {
            Some((tables, kept)) => (tables, Some(kept)),
            None => (opened.noisy(&named, &policy.for_query())?, None),
        };
        Ok((Answer { question, release: opened.release.clone(), tables }, kept))
    }

    /// Suppression is for reports of everybody or of all at one party: of populations that somebody composed there are as
    /// many as one likes, and their exact figures would tell by difference who is in one and not in the other.
    fn policy(&self, question: &Question) -> Policy {
        let terms = &self.gate.agreement().disclosure;
        let agreed = Policy {
            method: match terms.method() {
                DisclosureMethod::Suppression => Method::Suppression,
                DisclosureMethod::CellKey => Method::CellKey,
            },
            minimum: u64::from(terms.minimum_cell),
            dominance_percent: terms.dominance_percent(),
            round_to: u64::from(terms.round_to()),
        };
        match question {
            Question::Report { queries, .. } if queries.iter().all(Query::counts_a_whole) => agreed,
            Question::Report { .. } | Question::Query(_) => agreed.for_query(),
        }
    }

    /// The study with its keys, households and error rates, kept until another run is in.
    fn opened(&self) -> Result<Arc<Opened>, ServiceError> {
        let mut kept = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        // Of one moment: another process may take a run in between the two readings.
        let (study, release) = loop {
            let (before, study, after) = (self.release()?, self.store.study()?, self.release()?);
            if before == after {
                break (study, after);
            }
        };
        if let Some(opened) = kept.as_ref().filter(|o| Arc::ptr_eq(&o.study, &study)) {
            return Ok(opened.clone());
        }
        let pseudonyms = study.source.pseudonyms().map_err(ServiceError::internal)?;
        let keys = person_keys(self.secret.bytes(), &pseudonyms);
        let opened = Arc::new(Opened {
            release,
            shown: Mutex::new(ShownBefore::new(&self.data_dir, &keys)),
            keys,
            households: Resolver::new(study.clone()),
            household_keys: OnceLock::new(),
            rates: rates::of(&self.data_dir, &study)?,
            study,
        });
        *kept = Some(opened.clone());
        if self.ahead {
            // The first question about households would wait for those of all months. What cannot be read is refused
            // when it is asked for.
            let opened = opened.clone();
            std::thread::Builder::new().name("households".to_owned()).spawn(move || opened.households.count())?;
        }
        Ok(opened)
    }
}
