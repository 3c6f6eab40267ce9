//! The gRPC side of dispositions: what is malformed, or not the agreement's, is refused before anything is stored.

use jiff::civil::Date;
use linkage_agreement::{PartyId, RecordRef};
use linkage_common::audit::Facts;
use linkage_common::batches::{parse, period, run_id};
use linkage_common::error::ServiceError;
use linkage_proto::MAX_BATCH_BYTES;
use linkage_proto::v1::{self, dispositions_server};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{DOSSIER_LEN, Half, HalfState, Verdict};
use crate::service::{Custodian, not_committed};

/// Most dispositions in one request.
const MAX_IN_REQUEST: usize = 2_000;
/// Bytes of a packed pair: two handles and the verdict.
const PAIR_LEN: usize = 33;

impl Custodian {
    fn half(&self, party: &PartyId, sent: &v1::Disposition) -> Result<Half, ServiceError> {
        let partner: PartyId = parse(&sent.partner)?;
        let agreement = self.gate.agreement();
        if agreement.party(&partner).is_none() {
            return Err(ServiceError::refused(
                "le partenaire nommé dans une décision n'est pas dans la convention ; vérifiez son identifiant",
            ));
        }
        let records = || {
            ServiceError::invalid(
                "une décision porte une fiche de l'appelant, ou deux si la paire est dans sa propre liste ; vérifiez la version du logiciel du nœud",
            )
        };
        let references: Vec<RecordRef> =
            sent.references.iter().map(|r| RecordRef::from_slice(r)).collect::<Option<_>>().ok_or_else(records)?;
        let (reference, second) = match (references.as_slice(), partner == *party) {
            (&[one], false) => (one, None),
            (&[one, two], true) if one != two => (one, Some(two)),
            _ => return Err(records()),
        };
        let verdict = match sent.verdict() {
            v1::DispositionVerdict::Confirmed => Verdict::Confirmed,
            v1::DispositionVerdict::Refuted => Verdict::Refuted,
            v1::DispositionVerdict::Unspecified => {
                return Err(ServiceError::invalid(
                    "une décision confirme ou réfute une paire ; vérifiez la version du logiciel du nœud",
                ));
            }
        };
        let expiry = sent
            .expiry
            .parse::<Date>()
            .ok()
            .filter(|day| day.to_string() == sent.expiry)
            .ok_or_else(|| ServiceError::invalid("l'échéance d'une décision s'écrit AAAA-MM-JJ ; corrigez-la et renvoyez"))?;
        if expiry < self.gate.today() || expiry > agreement.agreement.end {
            return Err(ServiceError::invalid(format!(
                "l'échéance d'une décision va d'aujourd'hui à la fin de la convention ({}) ; corrigez-la et renvoyez",
                agreement.agreement.end
            )));
        }
        Ok(Half { dossier: dossier(&sent.dossier)?, partner, reference, second, verdict, expiry })
    }
}

fn dossier(bytes: &[u8]) -> Result<[u8; DOSSIER_LEN], ServiceError> {
    bytes.try_into().map_err(|_| {
        ServiceError::invalid(format!("un dossier compte {DOSSIER_LEN} octets ; vérifiez la version du logiciel du nœud"))
    })
}

fn check_number(sent: usize) -> Result<(), ServiceError> {
    if sent > MAX_IN_REQUEST {
        return Err(ServiceError::too_large(format!("un envoi compte au plus {MAX_IN_REQUEST} décisions ; découpez-le")));
    }
    Ok(())
}

#[tonic::async_trait]
impl dispositions_server::Dispositions for Custodian {
    async fn put_dispositions(
        &self,
        request: Request<v1::PutDispositionsRequest>,
    ) -> Result<Response<v1::PutDispositionsResponse>, Status> {
        let party = self.gate.party(&request, request.get_ref().agreement.as_ref())?;
        let facts = Facts::of(&request);
        let sent = request.into_inner().dispositions;
        check_number(sent.len())?;
        let halves: Vec<Half> = sent.iter().map(|d| self.half(&party, d)).collect::<Result<_, _>>()?;
        let today = self.gate.today();
        self.store.put_dispositions(&party, &halves, today).await?;
        facts.records(halves.len() as u64);
        tracing::info!(party = %party, dispositions = halves.len(), "dispositions taken over");
        let states = self.store.disposition_states(&party, today).await?;
        let state_of = |half: &Half| match states.get(&half.dossier) {
            Some(HalfState::InForce) => v1::DispositionState::InForce,
            Some(HalfState::Contradicted) => v1::DispositionState::Contradicted,
            Some(HalfState::Waiting) | None => v1::DispositionState::Waiting,
        };
        Ok(Response::new(v1::PutDispositionsResponse { states: halves.iter().map(|h| state_of(h).into()).collect() }))
    }

    async fn withdraw_dispositions(
        &self,
        request: Request<v1::WithdrawDispositionsRequest>,
    ) -> Result<Response<v1::WithdrawDispositionsResponse>, Status> {
        let role = self.gate.peer(&request)?;
        let party = self.gate.party_deleting(&role, request.get_ref().agreement.as_ref())?;
        let facts = Facts::of(&request);
        let sent = request.into_inner().dossiers;
        check_number(sent.len())?;
        let dossiers: Vec<[u8; DOSSIER_LEN]> = sent.iter().map(|d| dossier(d)).collect::<Result<_, _>>()?;
        let withdrawn = self.store.withdraw_dispositions(&party, &dossiers).await?;
        linkage_common::store::scrub(&self.store.pool).await;
        facts.records(withdrawn);
        tracing::info!(party = %party, withdrawn, "dispositions withdrawn");
        Ok(Response::new(v1::WithdrawDispositionsResponse { withdrawn }))
    }

    async fn count_dispositions(
        &self,
        request: Request<v1::CountDispositionsRequest>,
    ) -> Result<Response<v1::DispositionCounts>, Status> {
        let party = self.gate.party(&request, request.get_ref().agreement.as_ref())?;
        let states = self.store.disposition_states(&party, self.gate.today()).await?;
        let count = |state: HalfState| states.values().filter(|s| **s == state).count() as u64;
        Ok(Response::new(v1::DispositionCounts {
            waiting: count(HalfState::Waiting),
            in_force: count(HalfState::InForce),
            contradicted: count(HalfState::Contradicted),
        }))
    }

    type GetSettledPairsStream = ReceiverStream<Result<v1::SettledPairs, Status>>;

    async fn get_settled_pairs(
        &self,
        request: Request<v1::SettledPairsRequest>,
    ) -> Result<Response<Self::GetSettledPairsStream>, Status> {
        let role = self.gate.peer(&request)?;
        let facts = Facts::of(&request);
        let asked = request.into_inner();
        self.gate.broker_of(&role, asked.agreement.as_ref())?;
        let (run, period) = (run_id(&asked.run_id)?, period(&asked.period)?);
        match self.store.run_state(&run).await?.as_deref() {
            Some("collecting") => {}
            Some(_) => {
                return Err(ServiceError::conflict(
                    "ce traitement est clos ou annulé ; ses paires ne sont plus communiquées : ouvrez-en un autre",
                )
                .into());
            }
            None => return Err(not_committed().into()),
        }
        let parties = self.parties_of_run(&run, period, &asked.parties).await?;
        let settled = self.store.settled_pairs(&run, &parties, self.gate.today()).await?;
        if settled.expired > 0 {
            linkage_common::store::scrub(&self.store.pool).await;
        }
        let (pairs, contradicted, expired) = (settled.pairs.len(), settled.contradicted, settled.expired);
        facts.run(&run).period(period).records(pairs as u64);
        tracing::info!(run = %run, pairs, contradicted, expired, "settled pairs told to the broker");
        let packed: Vec<u8> =
            settled.pairs.iter().flat_map(|(a, b, verdict)| [&a.0[..], &b.0[..], &[*verdict as u8]].concat()).collect();
        let chunks: Vec<v1::SettledPairs> = packed
            .chunks(MAX_BATCH_BYTES / PAIR_LEN * PAIR_LEN)
            .map(|chunk| v1::SettledPairs { pairs: chunk.to_vec().into() })
            .collect();
        let (send, receive) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for chunk in chunks {
                if send.send(Ok(chunk)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}
