//! What the node asks of broker and custodian for a request, and what each must answer.

use linkage_agreement::{PartyId, RoleId};
use linkage_common::receipt::{Action, Signed};
use linkage_proto::v1::{self, WithdrawalKind, rights_client::RightsClient, run_rights_client::RunRightsClient};

use super::{Request, Right};
use crate::error::NodeError;
use crate::node::Node;
use crate::serve::Peers;

/// What the receipt of `role` has to say.
pub(super) fn action(right: Right, role: &RoleId) -> Action {
    match (role, right) {
        (RoleId::Custodian, Right::Objection) => Action::Delete,
        (RoleId::Custodian, Right::Restriction) => Action::SetAside,
        (RoleId::Custodian, Right::Rectification) => Action::Void,
        (_, Right::Lift) => Action::Restore,
        _ => Action::Withdraw,
    }
}

fn kind(right: Right) -> WithdrawalKind {
    match right {
        Right::Objection => WithdrawalKind::Delete,
        Right::Restriction => WithdrawalKind::SetAside,
        Right::Lift => WithdrawalKind::Restore,
        Right::Rectification => WithdrawalKind::Void,
    }
}

fn signed(receipt: &v1::SignedReceipt) -> Signed {
    Signed { statement: receipt.statement.to_vec(), signature: receipt.signature.to_vec() }
}

/// Has the broker forget this party's uploads to runs that still collect; gives its receipt and those runs.
pub(super) async fn withdraw_uploads(node: &Node, request: &Request, peers: &Peers) -> Result<(Signed, Vec<String>), NodeError> {
    let asked =
        v1::WithdrawUploadsRequest { agreement: Some(node.gate.reference()), request_id: request.id()?.0.to_vec().into() };
    let mut client = RunRightsClient::new(peers.broker.clone());
    let answer = client.withdraw_uploads(asked).await.map_err(|s| NodeError::broker(&s))?.into_inner();
    Ok((signed(&answer.receipt.unwrap_or_default()), answer.restarted))
}

/// Has the custodian do what is asked for with the record.
pub(super) async fn withdraw(node: &Node, request: &Request, peers: &Peers) -> Result<Signed, NodeError> {
    let asked = v1::WithdrawRequest {
        agreement: Some(node.gate.reference()),
        request_id: request.id()?.0.to_vec().into(),
        kind: kind(request.right).into(),
        references: request.reference()?.iter().map(|reference| reference.0.to_vec().into()).collect(),
        restarted: request.restarted.clone(),
    };
    let answer = RightsClient::new(peers.custodian.clone()).withdraw(asked).await;
    Ok(signed(&answer.map_err(|s| NodeError::custodian(&s))?.into_inner()))
}

/// The analysts' receipts that the custodian has.
pub(super) async fn receipts(node: &Node, request: &Request, peers: &Peers) -> Result<Vec<(RoleId, Signed)>, NodeError> {
    let asked = v1::ReceiptsRequest { agreement: Some(node.gate.reference()), request_id: request.id()?.0.to_vec().into() };
    let answer = RightsClient::new(peers.custodian.clone()).get_receipts(asked).await;
    let held = answer.map_err(|s| NodeError::custodian(&s))?.into_inner().receipts;
    let of = |receipt: v1::AnalystReceipt| {
        let analyst: PartyId = receipt.analyst.parse().ok()?;
        Some((RoleId::Analyst(analyst), signed(&receipt.receipt?)))
    };
    Ok(held.into_iter().filter_map(of).collect())
}
