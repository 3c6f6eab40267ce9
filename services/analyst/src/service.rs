//! The analyst's gRPC side: questions, publication and approval, over the same desk as command line and page.
//!
//! The analyst whose side it is asks and publishes; partners look at what was put forward and decide. Another analyst of
//! the agreement is refused like a stranger: purposes do not mix.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt8Type, UInt32Type};
use linkage_agreement::{PartyId, Period, RoleId, RunId};
use linkage_cohort::study::{Column, Study};
use linkage_cohort::{Cell, Overlap, disclose};
use linkage_common::authz::peer_uri;
use linkage_common::error::ServiceError;
use linkage_proto::v1::{self, cohorts_server::Cohorts};
use tonic::{Request, Response, Status};

use crate::access::{Access, Action, Outcome, Who};
use crate::desk::{Desk, read_query};
use crate::journal::{Publication, State};
use crate::publish::{PublicationId, Question, Verdict, reason};
use crate::wire;

/// The analyst's service.
#[derive(Clone)]
pub struct Analyst {
    /// Answers.
    pub desk: Arc<Desk>,
}

/// Who calls.
enum Caller {
    /// The analyst whose side this is.
    Own,
    /// A partner.
    Party(PartyId),
}

impl Analyst {
    /// The caller, when it is one of the two kinds that may call anything here; others learn nothing.
    fn caller<T>(&self, request: &Request<T>, named: Option<&v1::AgreementRef>, action: Action) -> Result<(Caller, Who), Status> {
        let role = self.desk.gate().member(request, named)?;
        let who = Who::Certificate(peer_uri(request)?.to_owned());
        match role {
            RoleId::Analyst(analyst) if analyst == *self.desk.analyst() => Ok((Caller::Own, who)),
            RoleId::Party(party) => Ok((Caller::Party(party), who)),
            other => Err(self.refuse(&other, &who, action).into()),
        }
    }

    fn refuse(&self, role: &RoleId, who: &Who, action: Action) -> ServiceError {
        let access = Access { who, action, subject: "", query: None, publication: None, outcome: Outcome::Refused };
        if let Err(error) = self.desk.access().note(&access) {
            return error;
        }
        tracing::warn!(%role, "request refused: the peer's role may not call this method");
        ServiceError::refused(format!(
            "le rôle {role} n'a pas accès à cette opération ; vérifiez le certificat de ce service et l'adresse appelée"
        ))
    }

    fn own<T>(&self, request: &Request<T>, named: Option<&v1::AgreementRef>, action: Action) -> Result<Who, Status> {
        match self.caller(request, named, action)? {
            (Caller::Own, who) => Ok(who),
            (Caller::Party(party), who) => Err(self.refuse(&RoleId::Party(party), &who, action).into()),
        }
    }

    fn party<T>(&self, request: &Request<T>, named: Option<&v1::AgreementRef>, action: Action) -> Result<(PartyId, Who), Status> {
        match self.caller(request, named, action)? {
            (Caller::Party(party), who) => Ok((party, who)),
            (Caller::Own, who) => Err(self.refuse(&RoleId::Analyst(self.desk.analyst().clone()), &who, action).into()),
        }
    }

    async fn decide(
        &self,
        party: &PartyId,
        id: &str,
        verdict: &Verdict,
        signature: &[u8],
        who: &Who,
    ) -> Result<Response<v1::Publication>, Status> {
        let id: PublicationId = id.parse()?;
        self.visible(&id, &Caller::Party(party.clone())).await?;
        let made = self.desk.decide(&id, party, verdict, signature, who).await?;
        Ok(Response::new(wire::listed(&made)?))
    }

    /// A publication that the caller may see; to others it is not there.
    async fn visible(&self, id: &PublicationId, caller: &Caller) -> Result<Publication, ServiceError> {
        let found = self.desk.journal().get(id).await?;
        if may_see(&found, caller) { Ok(found) } else { Err(crate::journal::unknown()) }
    }
}

/// Partners see what is published, and what they are asked to decide on.
fn may_see(publication: &Publication, caller: &Caller) -> bool {
    match caller {
        Caller::Own => true,
        Caller::Party(party) => publication.state == State::Published || publication.producers.contains(party),
    }
}

/// The overlap table of a month: persons by exact combination of parties; figures below `minimum` are suppressed.
///
/// # Errors
/// `NotFound` when no run of the month is here.
pub fn overlap_of(study: &Study, period: Period, minimum: u64) -> Result<(RunId, Overlap), ServiceError> {
    let at = study.month(period).ok_or_else(|| {
        ServiceError::not_found(
            "aucune table de liens de ce mois n'est ici ; « linkage run list » montre si son traitement est clos",
        )
    })?;
    let run = study.months.get(at).map(|m| m.run.clone()).ok_or_else(|| ServiceError::internal("month"))?;
    let rows = study.source.columns(at, &[Column::Person, Column::Party]).map_err(ServiceError::internal)?;
    let persons = rows.column(0).as_primitive::<UInt32Type>().values();
    let parties = rows.column(1).as_primitive::<UInt8Type>().values();
    // Rows stand in rising order of person and party.
    let mut combinations: BTreeMap<Vec<&PartyId>, u64> = BTreeMap::new();
    let mut total = 0;
    let mut from = 0;
    while let Some(person) = persons.get(from) {
        let to = from + persons.iter().skip(from).take_while(|p| *p == person).count();
        let mut held: Vec<&PartyId> =
            parties.iter().take(to).skip(from).filter_map(|p| study.parties.get(usize::from(*p))).collect();
        held.sort_unstable();
        held.dedup();
        *combinations.entry(held).or_default() += 1;
        total += 1;
        from = to;
    }
    let mut cells: Vec<Cell> = combinations
        .into_iter()
        .map(|(parties, n)| Cell { parties: parties.into_iter().cloned().collect(), persons: Some(n) })
        .collect();
    cells.sort_by(|a, b| (a.parties.len(), &a.parties).cmp(&(b.parties.len(), &b.parties)));
    Ok((run, disclose(&Overlap { cells, persons: total }, minimum)))
}

#[tonic::async_trait]
impl Cohorts for Analyst {
    async fn query(&self, request: Request<v1::QueryRequest>) -> Result<Response<v1::QueryResponse>, Status> {
        let who = self.own(&request, request.get_ref().agreement.as_ref(), Action::Query)?;
        let query = read_query(&request.get_ref().document)?;
        let answer = self.desk.answer_query(&query, &who).await?;
        let release = Some(wire::release(&answer.release));
        Ok(Response::new(v1::QueryResponse { table: answer.tables.first().map(wire::table), release }))
    }

    async fn publish(&self, request: Request<v1::PublishRequest>) -> Result<Response<v1::Publication>, Status> {
        let who = self.own(&request, request.get_ref().agreement.as_ref(), Action::Publish)?;
        let asked = request.into_inner();
        let question = Question::Query(read_query(&asked.document)?);
        let made = self.desk.publish(&question, &asked.justification, &who).await?;
        Ok(Response::new(wire::whole(&made)?))
    }

    async fn approve(&self, request: Request<v1::ApproveRequest>) -> Result<Response<v1::Publication>, Status> {
        let (party, who) = self.party(&request, request.get_ref().agreement.as_ref(), Action::Approve)?;
        let asked = request.into_inner();
        self.decide(&party, &asked.id, &Verdict::Approved, &asked.signature, &who).await
    }

    async fn reject(&self, request: Request<v1::RejectRequest>) -> Result<Response<v1::Publication>, Status> {
        let (party, who) = self.party(&request, request.get_ref().agreement.as_ref(), Action::Reject)?;
        let asked = request.into_inner();
        let verdict = Verdict::Rejected(reason(&asked.reason)?);
        self.decide(&party, &asked.id, &verdict, &asked.signature, &who).await
    }

    async fn list_publications(
        &self,
        request: Request<v1::ListPublicationsRequest>,
    ) -> Result<Response<v1::ListPublicationsResponse>, Status> {
        let (caller, who) = self.caller(&request, request.get_ref().agreement.as_ref(), Action::View)?;
        let all = self.desk.journal().list().await?;
        let seen = all.iter().filter(|p| may_see(p, &caller));
        let publications = seen.map(wire::listed).collect::<Result<_, ServiceError>>()?;
        self.viewed(&who, "publications", None)?;
        Ok(Response::new(v1::ListPublicationsResponse { publications }))
    }

    async fn get_publication(&self, request: Request<v1::GetPublicationRequest>) -> Result<Response<v1::Publication>, Status> {
        let (caller, who) = self.caller(&request, request.get_ref().agreement.as_ref(), Action::View)?;
        let id: PublicationId = request.get_ref().id.parse()?;
        let found = self.visible(&id, &caller).await?;
        self.viewed(&who, &found.title, Some(&id))?;
        Ok(Response::new(wire::whole(&found)?))
    }

    async fn list_periods(&self, request: Request<v1::ListPeriodsRequest>) -> Result<Response<v1::ListPeriodsResponse>, Status> {
        let (_, who) = self.caller(&request, request.get_ref().agreement.as_ref(), Action::View)?;
        let study = self.desk.study()?;
        let release = Some(wire::release(&self.desk.release()?));
        self.viewed(&who, "mois", None)?;
        Ok(Response::new(v1::ListPeriodsResponse { months: wire::months(&study), release }))
    }
}

impl Analyst {
    fn viewed(&self, who: &Who, subject: &str, id: Option<&PublicationId>) -> Result<(), ServiceError> {
        let publication = id.map(PublicationId::as_str);
        let outcome = Outcome::Done;
        self.desk.access().note(&Access { who, action: Action::View, subject, query: None, publication, outcome })
    }
}
