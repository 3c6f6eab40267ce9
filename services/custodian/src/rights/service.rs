//! The gRPC side of persons' rights at the custodian: parties ask for their own records, analysts for what concerns them.

use linkage_agreement::{PartyId, RecordRef, RoleId};
use linkage_common::batches::run_id;
use linkage_common::error::ServiceError;
use linkage_common::receipt::{Action, Receipt, RequestId, Signed};
use linkage_crypto::pseudonym::Domain;
use linkage_proto::v1::{self, rights_server};
use tonic::{Request, Response, Status};

use super::{Kind, Withdrawal};
use crate::service::Custodian;

/// Most references in one request.
const MAX_REFERENCES: usize = 100;
/// Most runs that a request may name.
const MAX_RUNS: usize = 1_000;

fn references(sent: &[bytes::Bytes]) -> Result<Vec<RecordRef>, ServiceError> {
    if sent.len() > MAX_REFERENCES {
        return Err(ServiceError::too_large(format!("une demande porte sur au plus {MAX_REFERENCES} fiches ; découpez-la")));
    }
    let malformed = || ServiceError::invalid("une référence de fiche compte 16 octets ; vérifiez la version du logiciel du nœud");
    sent.iter().map(|bytes| RecordRef::from_slice(bytes).ok_or_else(malformed)).collect()
}

fn on_the_wire(signed: Signed) -> v1::SignedReceipt {
    v1::SignedReceipt { statement: signed.statement.into(), signature: signed.signature.into() }
}

fn withdrawal(party: PartyId, sent: &v1::WithdrawRequest) -> Result<Withdrawal, ServiceError> {
    let kind = match sent.kind() {
        v1::WithdrawalKind::Delete => Kind::Delete,
        v1::WithdrawalKind::SetAside => Kind::SetAside,
        v1::WithdrawalKind::Restore => Kind::Restore,
        v1::WithdrawalKind::Void => Kind::Void,
        v1::WithdrawalKind::Unspecified => {
            return Err(ServiceError::invalid(
                "la demande ne dit pas ce qui est à faire ; vérifiez la version du logiciel du nœud",
            ));
        }
    };
    if sent.restarted.len() > MAX_RUNS {
        return Err(ServiceError::too_large(format!("une demande nomme au plus {MAX_RUNS} traitements ; découpez-la")));
    }
    Ok(Withdrawal {
        party,
        request: RequestId::from_slice(&sent.request_id)?,
        kind,
        references: references(&sent.references)?,
        restarted: sent.restarted.iter().map(|run| run_id(run)).collect::<Result<_, _>>()?,
    })
}

#[tonic::async_trait]
impl rights_server::Rights for Custodian {
    async fn withdraw(&self, request: Request<v1::WithdrawRequest>) -> Result<Response<v1::SignedReceipt>, Status> {
        let role = self.gate.peer(&request)?;
        let party = self.gate.party_deleting(&role, request.get_ref().agreement.as_ref())?;
        let asked = withdrawal(party, request.get_ref())?;
        let (hash, now) = (self.gate.agreement_hash(), self.gate.now());
        let sign =
            |counts: super::Counts| Receipt::sign(&self.signer, &hash, asked.request, asked.kind.action(), now, counts.named());
        let signed = self.store.withdraw(&asked, sign).await?;
        linkage_common::store::scrub(&self.store.pool).await;
        tracing::info!(party = %asked.party, request = asked.request.to_hex(), kind = ?asked.kind, "request of a person carried out");
        Ok(Response::new(on_the_wire(signed)))
    }

    async fn get_receipts(&self, request: Request<v1::ReceiptsRequest>) -> Result<Response<v1::ReceiptsResponse>, Status> {
        let role = self.gate.peer(&request)?;
        let party = self.gate.party_deleting(&role, request.get_ref().agreement.as_ref())?;
        let id = RequestId::from_slice(&request.get_ref().request_id)?;
        let receipts = self.store.receipts(&party, id).await?;
        let wire = |(analyst, signed)| v1::AnalystReceipt { analyst, receipt: Some(on_the_wire(signed)) };
        Ok(Response::new(v1::ReceiptsResponse { receipts: receipts.into_iter().map(wire).collect() }))
    }

    async fn describe(&self, request: Request<v1::DescribeRequest>) -> Result<Response<v1::DescribeResponse>, Status> {
        let party = self.gate.party(&request, request.get_ref().agreement.as_ref())?;
        let references = references(&request.get_ref().references)?;
        let (registered, set_aside, runs) = self.store.describe(&party, &references).await?;
        let runs = runs.into_iter().map(|(run_id, period)| v1::DescribedRun { run_id, period }).collect();
        Ok(Response::new(v1::DescribeResponse { registered, set_aside, runs }))
    }

    async fn list_withdrawals(
        &self,
        request: Request<v1::ListWithdrawalsRequest>,
    ) -> Result<Response<v1::ListWithdrawalsResponse>, Status> {
        let role = self.gate.peer(&request)?;
        let analyst = self.gate.analyst_deleting(&role, request.get_ref().agreement.as_ref())?;
        let agreement = self.gate.agreement();
        let mine = agreement.analyst.iter().find(|a| a.id == analyst);
        let purpose = mine.map(|a| a.purpose.as_str()).unwrap_or_default();
        let domain = Domain::records(agreement.agreement.id.as_str(), purpose);
        let waiting = self.store.waiting_for(&analyst).await?;
        let scalar = self.scalar.clone();
        let made = tokio::task::spawn_blocking(move || {
            let wire = |waiting: super::Waiting| {
                let ids: Vec<[u8; 16]> = waiting.references.iter().map(|reference| reference.0).collect();
                v1::Withdrawal {
                    request_id: waiting.request.0.to_vec().into(),
                    record_points: scalar.points(&domain, &ids).into_iter().map(|point| point.0.to_vec().into()).collect(),
                    restored: waiting.restored,
                    runs: waiting.runs,
                }
            };
            waiting.into_iter().map(wire).collect()
        });
        let withdrawals = made.await.map_err(ServiceError::internal)?;
        Ok(Response::new(v1::ListWithdrawalsResponse { withdrawals }))
    }

    async fn put_receipt(&self, request: Request<v1::PutReceiptRequest>) -> Result<Response<v1::PutReceiptResponse>, Status> {
        let role = self.gate.peer(&request)?;
        let analyst = self.gate.analyst_deleting(&role, request.get_ref().agreement.as_ref())?;
        let asked = request.into_inner();
        let id = RequestId::from_slice(&asked.request_id)?;
        let sent = asked.receipt.unwrap_or_default();
        let signed = Signed { statement: sent.statement.to_vec(), signature: sent.signature.to_vec() };
        let restores = self.store.withdrawal_restores(id).await?;
        let agreement = self.gate.agreement();
        let by = RoleId::Analyst(analyst.clone());
        let receipt = Receipt::verify(agreement, &self.gate.agreement_hash(), &by, id, &signed)?;
        if receipt.action != if restores { Action::Restore } else { Action::Withdraw } {
            return Err(ServiceError::invalid(
                "l'accusé dit autre chose que ce qui était demandé ; vérifiez la version du logiciel",
            )
            .into());
        }
        let analysts: Vec<PartyId> = agreement.analyst.iter().map(|a| a.id.clone()).collect();
        self.store.keep_receipt(id, &analyst, &signed, &analysts).await?;
        tracing::info!(analyst = %analyst, request = id.to_hex(), "analyst's receipt kept");
        Ok(Response::new(v1::PutReceiptResponse {}))
    }
}
