//! The analyst's gRPC side: questions, publication and approval, over the same desk as command line and page.
//!
//! The analyst whose side it is asks and publishes; partners look at what was put forward and decide. Another analyst of
//! the agreement is refused like a stranger: purposes do not mix. Refusals of those whom the agreement does not name are in the
//! audit log alone, which folds them; of those whom it names so many are in the access log ([`crate::refusals`]).

use std::sync::Arc;

use linkage_agreement::{PartyId, RoleId};
use linkage_common::authz::peer_uri;
use linkage_common::error::ServiceError;
use linkage_proto::v1::{self, cohorts_server::Cohorts};
use tonic::{Request, Response, Status};

use crate::access::{Access, Action, Outcome, Who};
use crate::desk::{Desk, read_query};
use crate::journal::{Listed, Publication, State};
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
    async fn caller<T>(
        &self,
        request: &Request<T>,
        named: Option<&v1::AgreementRef>,
        action: Action,
    ) -> Result<(Caller, Who), Status> {
        // The authority's certificates are not all of this agreement: whoever has one could fill the disk line by line.
        self.desk.gate().peer(request)?;
        let who = Who::Certificate(peer_uri(request)?.to_owned());
        let role = match self.desk.gate().member(request, named) {
            Ok(role) => role,
            Err(status) => {
                self.note(&who, action, "", None, Outcome::Refused)?;
                return Err(status);
            }
        };
        match role {
            RoleId::Analyst(analyst) if analyst == *self.desk.analyst() => {
                let admitted = self.desk.users().admit(&who).await;
                Ok((Caller::Own, self.passed(&who, action, "", None, admitted.map(|()| who.clone()))?))
            }
            RoleId::Party(party) => Ok((Caller::Party(party), who)),
            other => Err(self.refuse(&other, &who, action).into()),
        }
    }

    fn refuse(&self, role: &RoleId, who: &Who, action: Action) -> ServiceError {
        if let Err(error) = self.note(who, action, "", None, Outcome::Refused) {
            return error;
        }
        tracing::warn!(%role, "request refused: the peer's role may not call this method");
        ServiceError::refused(format!(
            "le rôle {role} n'a pas accès à cette opération ; vérifiez le certificat de ce service et l'adresse appelée"
        ))
    }

    async fn own<T>(&self, request: &Request<T>, named: Option<&v1::AgreementRef>, action: Action) -> Result<Who, Status> {
        match self.caller(request, named, action).await? {
            (Caller::Own, who) => Ok(who),
            (Caller::Party(party), who) => Err(self.refuse(&RoleId::Party(party), &who, action).into()),
        }
    }

    async fn party<T>(
        &self,
        request: &Request<T>,
        named: Option<&v1::AgreementRef>,
        action: Action,
    ) -> Result<(PartyId, Who), Status> {
        match self.caller(request, named, action).await? {
            (Caller::Party(party), who) => Ok((party, who)),
            (Caller::Own, who) => Err(self.refuse(&RoleId::Analyst(self.desk.analyst().clone()), &who, action).into()),
        }
    }

    /// What a call comes to before the desk notes it: a refusal is noted here.
    fn passed<T>(
        &self,
        who: &Who,
        action: Action,
        subject: &str,
        publication: Option<&str>,
        made: Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        if made.is_err() {
            self.note(who, action, subject, publication, Outcome::of(&made))?;
        }
        made
    }

    fn note(
        &self,
        who: &Who,
        action: Action,
        subject: &str,
        publication: Option<&str>,
        outcome: Outcome,
    ) -> Result<(), ServiceError> {
        self.desk.enter(&Access { who, action, subject, query: None, publication, outcome })
    }

    async fn decide(
        &self,
        party: &PartyId,
        id: &str,
        verdict: Result<Verdict, ServiceError>,
        signature: &[u8],
        (who, action): (&Who, Action),
    ) -> Result<Response<v1::Publication>, Status> {
        let found = async {
            let (id, verdict): (PublicationId, Verdict) = (id.parse()?, verdict?);
            self.visible(&id, &Caller::Party(party.clone())).await?;
            Ok((id, verdict))
        };
        let (id, verdict) = self.passed(who, action, "", named(id), found.await)?;
        let made = self.desk.decide(&id, party, &verdict, signature, who).await?;
        Ok(Response::new(wire::listed(&made)))
    }

    /// A publication that the caller may see; to others it is not there.
    async fn visible(&self, id: &PublicationId, caller: &Caller) -> Result<Publication, ServiceError> {
        let found = self.desk.journal().get(id).await?;
        if may_see(&found, caller) { Ok(found) } else { Err(crate::journal::unknown()) }
    }
}

/// What is kept of an identifier that was asked for: nothing of what is none.
fn named(id: &str) -> Option<&str> {
    id.parse::<PublicationId>().is_ok().then_some(id)
}

/// Partners see what is published, and what they are asked to decide on.
fn may_see(publication: &Listed, caller: &Caller) -> bool {
    match caller {
        Caller::Own => true,
        Caller::Party(party) => publication.state == State::Published || publication.producers.contains(party),
    }
}

#[tonic::async_trait]
impl Cohorts for Analyst {
    async fn query(&self, request: Request<v1::QueryRequest>) -> Result<Response<v1::QueryResponse>, Status> {
        let who = self.own(&request, request.get_ref().agreement.as_ref(), Action::Query).await?;
        let query = self.passed(&who, Action::Query, "", None, read_query(&request.get_ref().document))?;
        let answer = self.desk.answer_query(&query, &who).await?;
        let release = Some(wire::release(&answer.release));
        Ok(Response::new(v1::QueryResponse { table: answer.tables.first().map(wire::table), release }))
    }

    async fn publish(&self, request: Request<v1::PublishRequest>) -> Result<Response<v1::Publication>, Status> {
        let who = self.own(&request, request.get_ref().agreement.as_ref(), Action::Publish).await?;
        let asked = request.into_inner();
        let question = Question::Query(self.passed(&who, Action::Publish, "", None, read_query(&asked.document))?);
        let made = self.desk.publish(&question, &asked.justification, &who).await?;
        Ok(Response::new(wire::whole(&made)?))
    }

    async fn approve(&self, request: Request<v1::ApproveRequest>) -> Result<Response<v1::Publication>, Status> {
        let (party, who) = self.party(&request, request.get_ref().agreement.as_ref(), Action::Approve).await?;
        let asked = request.into_inner();
        self.decide(&party, &asked.id, Ok(Verdict::Approved), &asked.signature, (&who, Action::Approve)).await
    }

    async fn reject(&self, request: Request<v1::RejectRequest>) -> Result<Response<v1::Publication>, Status> {
        let (party, who) = self.party(&request, request.get_ref().agreement.as_ref(), Action::Reject).await?;
        let asked = request.into_inner();
        let verdict = reason(&asked.reason).map(Verdict::Rejected);
        self.decide(&party, &asked.id, verdict, &asked.signature, (&who, Action::Reject)).await
    }

    async fn list_publications(
        &self,
        request: Request<v1::ListPublicationsRequest>,
    ) -> Result<Response<v1::ListPublicationsResponse>, Status> {
        let (caller, who) = self.caller(&request, request.get_ref().agreement.as_ref(), Action::View).await?;
        let all = self.passed(&who, Action::View, "publications", None, self.desk.journal().list(0, u32::MAX).await)?;
        let publications = all.iter().filter(|p| may_see(p, &caller)).map(wire::listed).collect();
        self.viewed(&who, "publications", None)?;
        Ok(Response::new(v1::ListPublicationsResponse { publications }))
    }

    async fn get_publication(&self, request: Request<v1::GetPublicationRequest>) -> Result<Response<v1::Publication>, Status> {
        let (caller, who) = self.caller(&request, request.get_ref().agreement.as_ref(), Action::View).await?;
        let asked = &request.get_ref().id;
        let found = async {
            let id: PublicationId = asked.parse()?;
            let found = self.visible(&id, &caller).await?;
            Ok((id, found))
        };
        let (id, found) = self.passed(&who, Action::View, "", named(asked), found.await)?;
        self.viewed(&who, &found.title, Some(&id))?;
        Ok(Response::new(wire::whole(&found)?))
    }

    async fn list_periods(&self, request: Request<v1::ListPeriodsRequest>) -> Result<Response<v1::ListPeriodsResponse>, Status> {
        let (_, who) = self.caller(&request, request.get_ref().agreement.as_ref(), Action::View).await?;
        let held = self.desk.study().and_then(|study| Ok((study, self.desk.release()?)));
        let (study, release) = self.passed(&who, Action::View, "mois", None, held)?;
        let release = Some(wire::release(&release));
        self.viewed(&who, "mois", None)?;
        Ok(Response::new(v1::ListPeriodsResponse { months: wire::months(&study), release }))
    }
}

impl Analyst {
    fn viewed(&self, who: &Who, subject: &str, id: Option<&PublicationId>) -> Result<(), ServiceError> {
        self.note(who, Action::View, subject, id.map(PublicationId::as_str), Outcome::Done)
    }
}
