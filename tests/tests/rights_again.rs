//! Objected, lifted, objected again; restricted, lifted, restricted again: whatever of it is still under way, and in whatever order
//! receipts come, what was asked for last holds.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use linkage_agreement::RoleId;
use linkage_common::receipt::{Action, Receipt, RequestId, Signed};
use linkage_common::signer::Signer;
use linkage_crypto::derive::SharedKey;
use linkage_node::Node;
use linkage_node::oprf::Evaluator;
use linkage_node::progress::Progress;
use linkage_node::rights::Right;
use linkage_proto::v1::{self, WithdrawalKind, rights_server, run_rights_server};
use linkage_tests::fakes::Fake;
use linkage_tests::fixture::{World, analyst, period};
use tonic::{Request, Response, Status};

/// The analysts of the agreement.
const ANALYSTS: [&str; 2] = ["etude", "audit"];

/// What the other roles have done, and whether they answer.
#[derive(Default)]
struct State {
    broker_away: bool,
    custodian_away: bool,
    analysts_away: bool,
    /// Calls that the custodian refuses first.
    refuses: usize,
    /// Requests that the custodian has carried out, in order.
    done: Vec<(RequestId, WithdrawalKind)>,
}

impl State {
    /// Whether the custodian has a record of which these were asked set aside.
    fn set_aside(&self) -> bool {
        self.done.iter().fold(false, |aside, (_, kind)| match kind {
            WithdrawalKind::SetAside => true,
            WithdrawalKind::Restore | WithdrawalKind::Delete => false,
            _ => aside,
        })
    }
}

/// Broker and custodian with the analysts behind it, as far as rights of persons go.
#[derive(Clone)]
struct Others {
    state: Arc<Mutex<State>>,
    signers: Arc<[Signer]>,
}

impl Others {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn receipt(&self, role: &RoleId, request: RequestId, action: Action) -> v1::SignedReceipt {
        let signer = self.signers.iter().find(|signer| signer.role() == role).unwrap();
        let Signed { statement, signature } = Receipt::sign(signer, signer.agreement_hash(), request, action, 1, []).unwrap();
        v1::SignedReceipt { statement: statement.into(), signature: signature.into() }
    }
}

#[tonic::async_trait]
impl run_rights_server::RunRights for Others {
    async fn withdraw_uploads(
        &self,
        request: Request<v1::WithdrawUploadsRequest>,
    ) -> Result<Response<v1::WithdrawUploadsResponse>, Status> {
        if self.state().broker_away {
            return Err(Status::unavailable("away"));
        }
        let request = RequestId::from_slice(&request.into_inner().request_id).unwrap();
        let receipt = Some(self.receipt(&RoleId::Broker, request, Action::Withdraw));
        Ok(Response::new(v1::WithdrawUploadsResponse { receipt, restarted: Vec::new() }))
    }
}

#[tonic::async_trait]
impl rights_server::Rights for Others {
    async fn withdraw(&self, request: Request<v1::WithdrawRequest>) -> Result<Response<v1::SignedReceipt>, Status> {
        let mut state = self.state();
        if state.custodian_away || state.refuses > 0 {
            state.refuses = state.refuses.saturating_sub(1);
            return Err(Status::unavailable("away"));
        }
        let request = request.into_inner();
        let (id, kind) = (RequestId::from_slice(&request.request_id).unwrap(), request.kind());
        if !state.done.contains(&(id, kind)) {
            state.done.push((id, kind));
        }
        let action = match kind {
            WithdrawalKind::Delete => Action::Delete,
            WithdrawalKind::SetAside => Action::SetAside,
            WithdrawalKind::Restore => Action::Restore,
            _ => Action::Void,
        };
        Ok(Response::new(self.receipt(&RoleId::Custodian, id, action)))
    }

    async fn get_receipts(&self, request: Request<v1::ReceiptsRequest>) -> Result<Response<v1::ReceiptsResponse>, Status> {
        let id = RequestId::from_slice(&request.into_inner().request_id).unwrap();
        let state = self.state();
        let done = state.done.iter().find(|(done, _)| *done == id && !state.analysts_away && !state.custodian_away);
        let receipts = done.into_iter().flat_map(|(_, kind)| {
            let action = if *kind == WithdrawalKind::Restore { Action::Restore } else { Action::Withdraw };
            ANALYSTS.map(|name| {
                let receipt = Some(self.receipt(&analyst(name), id, action));
                v1::AnalystReceipt { analyst: name.to_owned(), receipt }
            })
        });
        Ok(Response::new(v1::ReceiptsResponse { receipts: receipts.collect() }))
    }

    async fn describe(&self, _: Request<v1::DescribeRequest>) -> Result<Response<v1::DescribeResponse>, Status> {
        Ok(Response::new(v1::DescribeResponse::default()))
    }
    async fn list_withdrawals(
        &self,
        _: Request<v1::ListWithdrawalsRequest>,
    ) -> Result<Response<v1::ListWithdrawalsResponse>, Status> {
        Ok(Response::new(v1::ListWithdrawalsResponse::default()))
    }
    async fn put_receipt(&self, _: Request<v1::PutReceiptRequest>) -> Result<Response<v1::PutReceiptResponse>, Status> {
        Ok(Response::new(v1::PutReceiptResponse {}))
    }
}

/// The node of `ccas` with a delivery of so many persons, and the others.
async fn federation(world: &World, persons: usize) -> (Node, Others, [Fake; 2]) {
    let signer =
        |role: RoleId| Signer::load(&world.secret(&role, "signing"), &world.agreement, *world.hash.as_bytes(), role).unwrap();
    let roles = [RoleId::Broker, RoleId::Custodian].into_iter().chain(ANALYSTS.map(analyst));
    let others = Others { state: Arc::default(), signers: roles.map(signer).collect() };
    let mut routes = tonic::service::Routes::builder();
    routes.add_service(run_rights_server::RunRightsServer::new(others.clone()));
    let config = world.broker_config();
    let broker = Fake::serve(config.listen, &config.tls, routes).await;
    let mut routes = tonic::service::Routes::builder();
    routes.add_service(rights_server::RightsServer::new(others.clone()));
    let config = world.custodian_config();
    let custodian = Fake::serve(config.listen, &config.tls, routes).await;
    let node = Node::open(world.node_config("ccas")).unwrap();
    deliver(world, &node, persons).await;
    (node, others, [broker, custodian])
}

/// Delivers so many persons, and says how many lines were set aside for an objection and for a restriction.
async fn deliver(world: &World, node: &Node, persons: usize) -> [u64; 2] {
    let mut evaluator = Evaluator::Shared(SharedKey::from_bytes(&[1; 32]));
    node.ingest(&world.deliver("ccas", persons), period(), &mut evaluator, &Progress::silent()).await.unwrap();
    let reasons = node.delivery(period()).unwrap().unwrap().summary.reasons;
    ["opposition", "limitation"].map(|reason| reasons.get(reason).copied().unwrap_or_default())
}

#[tokio::test]
async fn an_objection_made_again_while_its_lift_is_under_way_stands() {
    let world = World::new();
    let (node, others, _served) = federation(&world, 14).await;
    let peers = node.peers().unwrap();
    let mut person = 0;
    // In which order they answer again, and whether the first objection has been begun with when it is lifted.
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for begun in [true, false] {
            let id = format!("ccas-{person}");
            person += 1;
            *others.state() = State { broker_away: true, custodian_away: true, analysts_away: true, ..State::default() };
            let first = node.enter_request(Right::Objection, &id).await.unwrap().request;
            if begun {
                node.advance_requests(&peers).await.unwrap_err();
            }
            let lift = node.enter_request(Right::Lift, &id).await.unwrap().request;
            assert_eq!(node.enter_request(Right::Lift, &id).await.unwrap().request, lift, "the same again is the same");
            let second = node.enter_request(Right::Objection, &id).await.unwrap().request;
            assert_ne!(second, first, "{order:?}");
            assert_eq!(node.enter_request(Right::Objection, &id).await.unwrap().request, second);
            for role in order {
                {
                    let mut state = others.state();
                    let State { broker_away, custodian_away, analysts_away, .. } = &mut *state;
                    *[broker_away, custodian_away, analysts_away][role] = false;
                }
                // What is missing yet is an error, or waited for.
                let _ = node.advance_requests(&peers).await;
            }
            node.advance_requests(&peers).await.unwrap();
            let [first, lift, second] = [first, lift, second].map(|id| node.request(&id).unwrap());
            assert!(first.complete && lift.complete && second.complete, "{first:?} {second:?}");
            assert_eq!([first.ended, lift.ended, second.ended], [true, false, false]);
            assert_eq!(node.references_of([id.as_str()].into_iter()).unwrap(), [None]);
            let gone: BTreeSet<bool> = others.state().done.iter().map(|(_, kind)| *kind == WithdrawalKind::Delete).collect();
            assert_eq!(gone, BTreeSet::from([true]));
        }
    }
    assert_eq!(deliver(&world, &node, 15).await, [person, 0], "all of them stay out, and nobody else");
    // And it can be lifted, like the first: the same file holds a person more then.
    node.enter_request(Right::Lift, "ccas-0").await.unwrap();
    node.advance_requests(&peers).await.unwrap();
    assert_eq!(deliver(&world, &node, 15).await, [person - 1, 0]);
}

#[tokio::test]
async fn a_restriction_made_again_waits_for_its_lift_and_stands() {
    let world = World::new();
    let (node, others, _served) = federation(&world, 4).await;
    let (peers, id, mut persons) = (node.peers().unwrap(), "ccas-1", 5..);
    // The custodian carries the lift out late; before it the node has, or has not.
    for begun in [true, false] {
        *others.state() = State::default();
        let first = node.enter_request(Right::Restriction, id).await.unwrap().request;
        node.advance_requests(&peers).await.unwrap();
        node.advance_requests(&peers).await.unwrap();
        assert!(node.request(&first).unwrap().complete && others.state().set_aside());
        let lift = node.enter_request(Right::Lift, id).await.unwrap().request;
        if begun {
            others.state().refuses = 1;
            node.advance_requests(&peers).await.unwrap_err();
            assert!(node.request(&lift).unwrap().done_here);
        }
        let second = node.enter_request(Right::Restriction, id).await.unwrap().request;
        assert_ne!(second, first);
        // Only the lift is asked for: after the restriction it would put the record back.
        others.state().refuses = 1;
        node.advance_requests(&peers).await.unwrap_err();
        assert_eq!(others.state().done.len(), 1);
        assert_eq!(deliver(&world, &node, persons.next().unwrap()).await, [0, 1], "set aside from its entry on");
        node.advance_requests(&peers).await.unwrap();
        node.advance_requests(&peers).await.unwrap();
        let kinds: Vec<WithdrawalKind> = others.state().done.iter().map(|(_, kind)| *kind).collect();
        assert_eq!(kinds, [WithdrawalKind::SetAside, WithdrawalKind::Restore, WithdrawalKind::SetAside]);
        let [first, lift, second] = [first, lift, second].map(|id| node.request(&id).unwrap());
        assert!(first.complete && lift.complete && second.complete && !second.ended, "{second:?}");
        assert_eq!(deliver(&world, &node, persons.next().unwrap()).await, [0, 1]);
        // Its own lift ends it; the next turn begins with the record in use.
        node.enter_request(Right::Lift, id).await.unwrap();
        node.advance_requests(&peers).await.unwrap();
        node.advance_requests(&peers).await.unwrap();
        assert_eq!(deliver(&world, &node, persons.next().unwrap()).await, [0, 0]);
        assert!(!others.state().set_aside());
    }
}
