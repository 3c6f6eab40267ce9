//! Rights of persons at the node, by local id: objection, restriction and its lifting, rectification (RGPD, articles 16, 18, 21);
//! [`access`] is article 15.
//!
//! A request is written down before anything is done, then carried out step by step: here ([`local`]), at the broker, at the
//! custodian, and by the analysts, whose receipts the custodian relays ([`peers`]). Each step may be repeated; a process that
//! is killed leaves a request that the node's service, or the same command again, goes on with. Until broker and custodian
//! have given their receipts the node takes part in no run. Kept of a request are its receipts, the random reference of the
//! record while it is needed or a backup may bring it back ([`restored`]), and a keyed digest of the local id; never the local id.

pub mod access;
mod list;
mod local;
mod marks;
mod peers;
mod restored;

use std::collections::BTreeMap;

use linkage_agreement::{RecordRef, RoleId};
use linkage_common::audit::Act;
use linkage_common::receipt::{Receipt, RequestId, Signed};
use rand_core::Rng;
use serde::{Deserialize, Serialize};

use crate::error::NodeError;
use crate::node::{Node, Refs};
use crate::serve::Peers;

pub(crate) use list::Marker;
pub use list::{Ground, Screen};
pub(crate) use marks::Marks;
pub use restored::{Settled, settle};

const REQUESTS: &str = "rights/requests";

/// What a person, or the party for the person, asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// Article 21: deleted everywhere, and kept out of later deliveries.
    Objection,
    /// Article 18: set aside here and at the custodian, taken out elsewhere.
    Restriction,
    /// The restriction, or an objection entered by mistake, is lifted.
    Lift,
    /// Article 16: the encoding of a false identity takes part in nothing any more.
    Rectification,
}

impl Right {
    /// Why lines are set aside from then on.
    fn ground(self) -> Option<Ground> {
        match self {
            Self::Objection => Some(Ground::Objection),
            Self::Restriction => Some(Ground::Restriction),
            Self::Lift | Self::Rectification => None,
        }
    }
    /// As the audit log has it.
    fn act(self) -> &'static str {
        match self {
            Self::Objection => "rights.objection",
            Self::Restriction => "rights.restriction",
            Self::Lift => "rights.lift",
            Self::Rectification => "rights.rectification",
        }
    }
}

/// A receipt as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptReceipt {
    statement: String,
    signature: String,
}

/// A request as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    id: String,
    right: Right,
    /// Keyed digest of the local id, hexadecimal.
    local_id: String,
    /// The record; of an objection, until every receipt is here and no backup may be restored that holds it. None of a record that
    /// the node does not hold.
    reference: Option<String>,
    /// Whether the node held the record: other roles are asked only then.
    held: bool,
    /// When it was entered, in seconds since 1970.
    at: i64,
    /// Of a lifting, the restriction that it ends.
    lifts: Option<String>,
    /// Whether what is to be done here is done.
    done_here: bool,
    /// Runs whose upload the broker has forgotten.
    restarted: Vec<String>,
    /// By role.
    receipts: BTreeMap<String, KeptReceipt>,
    /// Lifted, or followed by an objection: it holds no more.
    ended: bool,
}

/// What a receipt says, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReceiptFacts {
    /// Who gave it.
    pub role: String,
    /// What the role did, when, and the counts.
    #[serde(flatten)]
    pub receipt: Receipt,
    /// Its signature, hexadecimal.
    pub signature: String,
}

/// Where a request stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestFacts {
    /// Its identifier, which all receipts bear.
    pub request: String,
    /// What was asked for.
    pub right: Right,
    /// When, in seconds since 1970.
    pub at: i64,
    /// Whether the node held a record under the local id.
    pub record_held: bool,
    /// Whether the node's own part is done.
    pub done_here: bool,
    /// Whether it holds no more: lifted, or followed by an objection.
    pub ended: bool,
    /// The receipts that are here, each verified when it came.
    pub receipts: Vec<ReceiptFacts>,
    /// Roles whose receipt is not here.
    pub missing: Vec<String>,
    /// Whether nothing is left to do or to wait for.
    pub complete: bool,
}

impl Request {
    fn id(&self) -> Result<RequestId, NodeError> {
        RequestId::from_hex(&self.id).ok_or_else(damaged)
    }
    fn reference(&self) -> Result<Option<RecordRef>, NodeError> {
        self.reference.as_ref().map(|text| RecordRef::from_hex(text).ok_or_else(damaged)).transpose()
    }
    /// The roles that have to answer.
    fn asked(&self, node: &Node) -> Vec<RoleId> {
        if !self.held {
            return Vec::new();
        }
        let broker = (self.right != Right::Lift).then_some(RoleId::Broker);
        let analysts = node.gate.agreement().analyst.iter().map(|a| RoleId::Analyst(a.id.clone()));
        broker.into_iter().chain([RoleId::Custodian]).chain(analysts.filter(|_| self.right != Right::Rectification)).collect()
    }
    fn missing(&self, node: &Node) -> Vec<RoleId> {
        self.asked(node).into_iter().filter(|role| !self.receipts.contains_key(&role.to_string())).collect()
    }
    /// Whether the node's part, the broker's or the custodian's is not done.
    fn under_way(&self, node: &Node) -> bool {
        !self.done_here || self.missing(node).iter().any(|role| !matches!(role, RoleId::Analyst(_)))
    }
    /// Whether `earlier` holds no more once this one is carried out.
    fn ends(&self, earlier: &Self) -> bool {
        self.local_id == earlier.local_id
            && (self.lifts.as_ref() == Some(&earlier.id)
                || (self.right == Right::Objection && earlier.right == Right::Restriction))
    }
    fn complete(&self, node: &Node) -> bool {
        self.done_here && self.missing(node).is_empty()
    }
    fn facts(&self, node: &Node) -> Result<RequestFacts, NodeError> {
        let of = |(role, kept): (&String, &KeptReceipt)| {
            let receipt = serde_json::from_str(&kept.statement).map_err(|_| damaged())?;
            Ok(ReceiptFacts { role: role.clone(), receipt, signature: kept.signature.clone() })
        };
        Ok(RequestFacts {
            request: self.id.clone(),
            right: self.right,
            at: self.at,
            record_held: self.held,
            done_here: self.done_here,
            ended: self.ended,
            receipts: self.receipts.iter().map(of).collect::<Result<_, NodeError>>()?,
            missing: self.missing(node).iter().map(ToString::to_string).collect(),
            complete: self.complete(node),
        })
    }
    /// Keeps the receipt of `role`, verified.
    fn keep_receipt(&mut self, node: &Node, role: &RoleId, signed: &Signed) -> Result<(), NodeError> {
        let receipt = Receipt::verify(node.gate.agreement(), &node.gate.agreement_hash(), role, self.id()?, signed)?;
        if receipt.action != peers::action(self.right, role) {
            return Err(NodeError::Refused(format!(
                "{role} accuse réception d'autre chose que ce qui était demandé : prévenez ce rôle"
            )));
        }
        let statement = String::from_utf8(signed.statement.clone()).map_err(|_| damaged())?;
        self.receipts.insert(role.to_string(), KeptReceipt { statement, signature: hex::encode(&signed.signature) });
        Ok(())
    }
}

fn damaged() -> NodeError {
    NodeError::Damaged(REQUESTS.to_owned())
}

impl Node {
    fn requests(&self) -> Result<Vec<Request>, NodeError> {
        let Some(bytes) = self.vault.get(REQUESTS)? else { return Ok(Vec::new()) };
        serde_json::from_slice(&bytes).map_err(|_| damaged())
    }

    fn keep_requests(&self, requests: &[Request]) -> Result<(), NodeError> {
        self.vault.put(REQUESTS, &serde_json::to_vec(requests).map_err(|_| damaged())?)
    }

    /// Writes a request down, or finds the one that asks for the same and still holds; nothing is done yet
    /// ([`Self::advance_requests`]).
    ///
    /// # Errors
    /// `Refused` when there is nothing to restrict, rectify or lift.
    pub async fn enter_request(&self, right: Right, local_id: &str) -> Result<RequestFacts, NodeError> {
        let _alone = self.alone().await?;
        let local_mark = hex::encode(Marker::new(&self.vault).local_id(local_id));
        let mut requests = self.requests()?;
        let reference = Refs::load(&self.vault)?.known(&self.vault, local_id);
        let (mut ground, mut same, mut objected) = (None, None, false);
        for (at, request) in requests.iter().enumerate().filter(|(_, r)| r.local_id == local_mark && !r.ended) {
            objected |= request.right == Right::Objection;
            if ended_by_later(&requests, at) {
                // Its end is entered and not yet carried out: who asks for it again asks for something new.
                continue;
            }
            match request.right {
                Right::Objection => ground = Some((Ground::Objection, at)),
                Right::Restriction if ground.is_none_or(|(of, _)| of != Ground::Objection) => {
                    ground = Some((Ground::Restriction, at));
                }
                _ => {}
            }
            if request.right == right && (right != Right::Rectification || !request.complete(self) || self.waits(&reference)?) {
                same = Some(at);
            }
        }
        let of_objection = matches!(ground, Some((Ground::Objection, _)));
        match right {
            Right::Lift => {}
            Right::Objection | Right::Restriction | Right::Rectification => {
                if let Some(request) = same.and_then(|at| requests.get(at)) {
                    return request.facts(self);
                }
            }
        }
        if right == Right::Lift && ground.is_none() {
            // The same command again, after it has done its work.
            let last = requests.iter().rfind(|r| r.local_id == local_mark && r.right == Right::Lift);
            return last.ok_or_else(nothing_to_lift)?.facts(self);
        }
        if objected && matches!(right, Right::Restriction | Right::Rectification) {
            return Err(NodeError::Refused(
                "la personne s'est opposée au traitement : rien n'est détenu sous cet identifiant, il n'y a rien à limiter ni à rectifier"
                    .to_owned(),
            ));
        }
        if reference.is_none() && matches!(right, Right::Restriction | Right::Rectification) {
            return Err(NodeError::Refused(
                "aucune fiche n'est détenue sous cet identifiant local : vérifiez-le dans votre logiciel (« linkage rights access » dit ce qui est détenu)"
                    .to_owned(),
            ));
        }
        let lifts = ground.filter(|_| right == Right::Lift).and_then(|(_, at)| requests.get(at));
        if lifts.is_some_and(|request| !request.complete(self)) && !of_objection {
            return Err(NodeError::NotReady(
                "la limitation n'a pas encore tous ses accusés : attendez-les (« linkage rights status »), puis levez-la"
                    .to_owned(),
            ));
        }
        let mut id = [0; 16];
        linkage_common::rng().fill_bytes(&mut id);
        let request = Request {
            id: RequestId(id).to_hex(),
            right,
            local_id: local_mark,
            reference: reference.map(|reference| reference.to_hex()),
            // An objection has deleted the record: lifting it concerns the list alone.
            held: reference.is_some() && !(right == Right::Lift && of_objection),
            at: self.gate.now(),
            lifts: lifts.map(|request| request.id.clone()),
            done_here: false,
            restarted: Vec::new(),
            receipts: BTreeMap::new(),
            ended: false,
        };
        if let Some(ground) = right.ground() {
            // The list first: a request that is lost is entered again.
            self.put_on_list(ground, &request, local_id, reference)?;
        }
        let facts = request.facts(self)?;
        requests.push(request);
        self.keep_requests(&requests)?;
        self.audit.record(Act::own(right.act()).records(u64::from(facts.record_held))).await?;
        tracing::info!(request = facts.request, right = ?right, record_held = facts.record_held, "request of a person entered");
        Ok(facts)
    }

    /// Whether a rectified record waits for its next delivery.
    fn waits(&self, reference: &Option<RecordRef>) -> Result<bool, NodeError> {
        let index = crate::archive::Index::load(&self.vault)?;
        Ok(reference.as_ref().is_some_and(|reference| index.is_void(reference)))
    }

    /// Requests that a local id was named in, oldest first.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn requests_of(&self, local_id: &str) -> Result<Vec<RequestFacts>, NodeError> {
        let mark = hex::encode(Marker::new(&self.vault).local_id(local_id));
        self.requests()?.iter().filter(|request| request.local_id == mark).map(|request| request.facts(self)).collect()
    }

    /// One request.
    ///
    /// # Errors
    /// There is none of that identifier.
    pub fn request(&self, id: &str) -> Result<RequestFacts, NodeError> {
        let requests = self.requests()?;
        requests.iter().find(|request| request.id == id).ok_or_else(damaged)?.facts(self)
    }

    /// Whether some request waits for something.
    pub(crate) fn requests_wait(&self) -> Result<bool, NodeError> {
        Ok(self.requests()?.iter().any(|request| !request.complete(self)))
    }

    /// Refuses while a record may be in the archive, or at broker or custodian, that must not be: what is uploaded before
    /// they answer would meet what they are about to forget.
    pub(crate) fn no_request_under_way(&self) -> Result<(), NodeError> {
        if self.requests()?.iter().any(|request| request.under_way(self)) {
            return Err(NodeError::NotReady(
                "une demande d'exercice de droits est en cours : le nœud prendra part au traitement dès que courtier et tiers de confiance en auront accusé réception (« linkage rights status »)"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Carries all requests as far as they go now. Allowed after the agreement's end: deleting is never out of date.
    ///
    /// # Errors
    /// A role that is away or refuses, after everything else that can be done is done.
    pub async fn advance_requests(&self, peers: &Peers) -> Result<(), NodeError> {
        let mut first = Ok(());
        if self.requests()?.iter().any(|request| request.under_way(self)) {
            let _alone = self.alone().await?;
            let ids: Vec<String> = self.requests()?.into_iter().filter(|r| r.under_way(self)).map(|r| r.id).collect();
            for id in ids {
                first = first.and(self.carry_out(&id, peers).await);
            }
        }
        for request in self.requests()?.iter().filter(|r| !r.under_way(self) && !r.complete(self)) {
            first = first.and(self.collect_receipts(request, peers).await);
        }
        first
    }

    /// The parts of node, broker and custodian, in this order; the state is this process's alone meanwhile.
    async fn carry_out(&self, id: &str, peers: &Peers) -> Result<(), NodeError> {
        let requests = self.requests()?;
        let at = requests.iter().position(|request| request.id == id).ok_or_else(damaged)?;
        let mut request = requests.get(at).cloned().ok_or_else(damaged)?;
        let lifted = |r: &Request| r.right == Right::Lift && r.local_id == request.local_id && r.under_way(self);
        if request.right == Right::Restriction && requests.iter().take(at).any(lifted) {
            // A lift that is late would put back what this sets aside; an objection leaves nothing to put back. Meanwhile the
            // person is on the list, and the node takes part in no run.
            return Ok(());
        }
        if !request.done_here {
            self.carry_out_here(&request)?;
            request.done_here = true;
            self.update(&request)?;
        }
        let missing = request.missing(self);
        if missing.contains(&RoleId::Broker) {
            let (signed, restarted) = peers::withdraw_uploads(self, &request, peers).await?;
            request.keep_receipt(self, &RoleId::Broker, &signed)?;
            request.restarted = restarted;
            self.update(&request)?;
        }
        if missing.contains(&RoleId::Custodian) {
            let signed = peers::withdraw(self, &request, peers).await?;
            request.keep_receipt(self, &RoleId::Custodian, &signed)?;
            self.update(&request)?;
        }
        Ok(())
    }

    /// The analysts' receipts that the custodian has.
    async fn collect_receipts(&self, request: &Request, peers: &Peers) -> Result<(), NodeError> {
        let missing = request.missing(self);
        let came = peers::receipts(self, request, peers).await?;
        let new: Vec<_> = came.into_iter().filter(|(role, _)| missing.contains(role)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let _alone = self.alone().await?;
        let mut request = self.requests()?.into_iter().find(|r| r.id == request.id).ok_or_else(damaged)?;
        let mut first = Ok(());
        for (role, signed) in new {
            first = first.and(request.keep_receipt(self, &role, &signed));
        }
        self.update(&request)?;
        first
    }

    /// Keeps what has become of a request; its end is also that of what it lifts or outdoes.
    fn update(&self, changed: &Request) -> Result<(), NodeError> {
        let mut requests = self.requests()?;
        take_in(&mut requests, changed);
        self.keep_requests(&requests)
    }
}

/// Puts a changed request in its place. It ends what was asked for before it, never what came later: it may be carried out late, or
/// again after a restoration.
fn take_in(requests: &mut [Request], changed: &Request) {
    let Some(at) = requests.iter().position(|request| request.id == changed.id) else { return };
    let (before, rest) = requests.split_at_mut(at);
    if changed.done_here {
        before.iter_mut().for_each(|request| request.ended |= changed.ends(request));
    }
    if let Some(held) = rest.first_mut() {
        held.clone_from(changed);
    }
}

/// Whether a request was entered after the one at `at` that ends it.
fn ended_by_later(requests: &[Request], at: usize) -> bool {
    requests
        .split_at_checked(at)
        .is_some_and(|(_, rest)| rest.split_first().is_some_and(|(request, later)| later.iter().any(|later| later.ends(request))))
}

fn nothing_to_lift() -> NodeError {
    NodeError::Refused(
        "aucune limitation ni opposition n'est en vigueur pour cet identifiant local : vérifiez-le, il n'y a rien à lever"
            .to_owned(),
    )
}
