//! What a restoration from a backup must not undo, and what it must not repeat.
//!
//! The objection list and the requests of the state that is replaced are kept, if that state can be read: requests that the backup
//! does not know, or knew with fewer receipts, are carried out again on the restored state, before anything is uploaded.
//! The custodian may be restored as well: it is then asked again for what it did before, with the same request identifiers. A backup
//! never brings a run's seed back: with another state the same seed would seal other attributes under the same key and nonces
//! (SP 800-38D, section 8), and give other records the same handles.

use std::path::Path;

use linkage_agreement::RoleId;
use linkage_common::receipt::Receipt;
use rand_core::Rng;
use zeroize::Zeroizing;

use super::{REQUESTS, Request, Right, damaged, list};
use crate::error::NodeError;
use crate::node::Node;
use crate::vault::Vault;

/// What was brought over from the state that is replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Persons on the objection list who were not on the backup's.
    pub listed: usize,
    /// Requests that will be carried out again.
    pub requests: usize,
}

fn requests_of(vault: &Vault) -> Result<Vec<Request>, NodeError> {
    let Some(bytes) = vault.get(REQUESTS)? else { return Ok(Vec::new()) };
    serde_json::from_slice(&bytes).map_err(|_| damaged())
}

fn keep(vault: &Vault, requests: &[Request]) -> Result<(), NodeError> {
    vault.put(REQUESTS, &serde_json::to_vec(requests).map_err(|_| damaged())?)
}

/// Makes the state in `staged`, which comes from a backup, one that may go on: run seeds are drawn anew, and what persons have asked
/// for is brought over from `former`, the state that is replaced, with the key that it is stored under: a later one where the key was
/// rotated after the backup.
///
/// # Errors
/// A state that cannot be read under its key.
pub fn settle(staged: &Path, former: Option<(&Path, &[u8; 32])>, storage_key: &[u8; 32]) -> Result<Settled, NodeError> {
    let vault = Vault::open(staged, storage_key)?;
    for name in vault.list("runs")? {
        let Some(kept) = vault.get(&name)? else { continue };
        let mut seed = Zeroizing::new([0; 32]);
        linkage_common::rng().fill_bytes(seed.as_mut_slice());
        let month = kept.get(seed.len()..).ok_or_else(|| NodeError::Damaged(name.clone()))?;
        vault.put(&name, &Zeroizing::new([seed.as_slice(), month].concat()))?;
    }
    let Some((former, key)) = former else { return Ok(Settled::default()) };
    let former = Vault::open(former, key)?;
    let mut settled = Settled::default();
    let mut listed = list::load(&vault)?;
    for one in list::load(&former)? {
        if !listed.iter().any(|known| known.ground == one.ground && known.local_id == one.local_id) {
            listed.push(one);
            settled.listed += 1;
        }
    }
    list::save(&vault, &listed)?;
    let mut requests = requests_of(&vault)?;
    for mut request in requests_of(&former)? {
        let known = requests.iter().position(|known| known.id == request.id);
        let held = known.and_then(|at| requests.get(at));
        if held == Some(&request) {
            continue;
        }
        if request.reference.is_some() || request.right == Right::Lift {
            again(&mut request, held.is_some_and(|held| held.done_here));
            settled.requests += 1;
        }
        match known.and_then(|at| requests.get_mut(at)) {
            Some(held) => *held = request,
            None => requests.push(request),
        }
    }
    keep(&vault, &requests)?;
    for name in former.list("rights")?.into_iter().filter(|name| name.contains("/aside-")) {
        if let (false, Some(bytes)) = (vault.has(&name), former.get(&name)?) {
            vault.put(&name, &bytes)?;
        }
    }
    Ok(settled)
}

/// Has a request carried out again: others are asked from the beginning, who know it by its identifier. Here it is not repeated when
/// the restored state has it done: what came after it stands in that state too.
fn again(request: &mut Request, done_here: bool) {
    request.done_here = done_here;
    request.restarted.clear();
    request.receipts.clear();
}

/// Second until which a restored backup may hold the record of an objection. A backup made before the last receipt may hold it, whenever
/// the objection was entered, and is restored at an age of at most `months` (of 31 days); one month more for a node that was away
/// when the custodian was restored and looks at its log later.
fn may_come_back_until(request: &Request, months: u32) -> Result<i64, NodeError> {
    let mut last = request.at;
    for kept in request.receipts.values() {
        let receipt: Receipt = serde_json::from_str(&kept.statement).map_err(|_| damaged())?;
        last = last.max(receipt.at);
    }
    Ok(last.saturating_add((i64::from(months) + 1) * 31 * 86_400))
}

impl Node {
    /// Asks a custodian that was restored from a backup again for all it was asked before, as far as the records are known here:
    /// those of objections are kept as long as a backup may be restored that holds them. Returns how many requests these are.
    ///
    /// # Errors
    /// The state cannot be read or written.
    pub async fn ask_again(&self) -> Result<usize, NodeError> {
        let _alone = self.alone().await?;
        let mut requests = self.requests()?;
        let mut asked = 0;
        for request in requests.iter_mut().filter(|request| request.held && request.reference.is_some()) {
            request.receipts.retain(|role, _| role == &RoleId::Broker.to_string());
            asked += 1;
        }
        if asked > 0 {
            self.keep_requests(&requests)?;
        }
        Ok(asked)
    }

    /// Forgets the records of objections whose every receipt is here and that no backup may bring back any more.
    ///
    /// # Errors
    /// The state cannot be read or written.
    pub(crate) fn forget_objected(&self) -> Result<(), NodeError> {
        let (now, months) = (self.gate.now(), self.gate.agreement().retention.access_log_months);
        let mut requests = self.requests()?;
        let mut forgotten = 0;
        for request in requests.iter_mut().filter(|request| request.reference.is_some()) {
            if request.right == Right::Objection && request.complete(self) && now > may_come_back_until(request, months)? {
                request.reference = None;
                forgotten += 1;
            }
        }
        if forgotten == 0 { Ok(()) } else { self.keep_requests(&requests) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::civil::date;
    use linkage_common::receipt::Action;

    use super::*;
    use crate::rights::list::Listed;
    use crate::rights::local::stays_listed;
    use crate::rights::{Ground, KeptReceipt, take_in};

    fn request(id: &str, right: Right, reference: Option<&str>) -> Request {
        let receipt = KeptReceipt { statement: "{}".to_owned(), signature: "00".to_owned() };
        Request {
            id: id.to_owned(),
            right,
            local_id: "ab".repeat(16),
            reference: reference.map(str::to_owned),
            held: true,
            at: 1,
            lifts: None,
            done_here: true,
            restarted: vec!["r1".to_owned()],
            receipts: BTreeMap::from([("broker".to_owned(), receipt.clone()), ("custodian".to_owned(), receipt)]),
            ended: false,
        }
    }
    fn listed(id: &str) -> Listed {
        Listed { ground: Ground::Objection, local_id: id.to_owned(), identity: None, since: date(2026, 1, 2) }
    }

    #[test]
    fn objections_made_after_the_backup_are_carried_out_again_on_the_restored_state() {
        let (new, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (staged, former) = (Vault::open(new.path(), &[1; 32]).unwrap(), Vault::open(old.path(), &[1; 32]).unwrap());
        list::save(&staged, &[listed("a")]).unwrap();
        list::save(&former, &[listed("a"), listed("b")]).unwrap();
        let (same, forgotten) = (request("1", Right::Objection, Some("x")), request("3", Right::Objection, None));
        let late = request("2", Right::Objection, Some("y"));
        keep(&staged, std::slice::from_ref(&same)).unwrap();
        keep(&former, &[same.clone(), late.clone(), forgotten.clone()]).unwrap();
        former.put("rights/aside-9", b"aside").unwrap();
        staged.put("runs/r1", &[vec![5; 32], b"2026-01".to_vec()].concat()).unwrap();

        let settled = settle(new.path(), Some((old.path(), &[1; 32])), &[1; 32]).unwrap();
        assert_eq!(settled, Settled { listed: 1, requests: 1 });
        assert_eq!(list::load(&staged).unwrap(), [listed("a"), listed("b")]);
        let again = Request { done_here: false, restarted: vec![], receipts: BTreeMap::new(), ..late };
        assert_eq!(requests_of(&staged).unwrap(), [same, again, forgotten]);
        assert_eq!(staged.get("rights/aside-9").unwrap().unwrap().as_slice(), b"aside");
        let seed = staged.get("runs/r1").unwrap().unwrap();
        assert_eq!((&seed[32..], seed[..32] == [5; 32]), (&b"2026-01"[..], false), "another seed, the same month");
        assert!(matches!(settle(new.path(), Some((old.path(), &[1; 32])), &[2; 32]), Err(NodeError::State { .. })));
    }

    #[test]
    fn a_state_whose_key_was_rotated_since_is_read_under_the_later_key() {
        let (new, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (staged, former) = (Vault::open(new.path(), &[1; 32]).unwrap(), Vault::open(old.path(), &[9; 32]).unwrap());
        let late = request("2", Right::Objection, Some("y"));
        list::save(&former, &[listed("b")]).unwrap();
        keep(&former, std::slice::from_ref(&late)).unwrap();
        former.put("rights/aside-9", b"aside").unwrap();
        for key in [[1; 32], [8; 32]] {
            assert!(settle(new.path(), Some((old.path(), &key)), &[1; 32]).is_err());
        }
        let settled = settle(new.path(), Some((old.path(), &[9; 32])), &[1; 32]).unwrap();
        assert_eq!(settled, Settled { listed: 1, requests: 1 });
        assert_eq!(list::load(&staged).unwrap(), [listed("b")]);
        assert_eq!(requests_of(&staged).unwrap()[0].id, late.id);
        assert_eq!(staged.get("rights/aside-9").unwrap().unwrap().as_slice(), b"aside", "under the restored key");
    }

    /// Restricted, lifted, then objected to.
    fn story() -> [Request; 3] {
        let restricted = Request { ended: true, ..request("1", Right::Restriction, Some("x")) };
        let lift = Request { lifts: Some("1".to_owned()), ..request("2", Right::Lift, Some("x")) };
        [restricted, lift, request("3", Right::Objection, Some("x"))]
    }

    #[test]
    fn what_the_backup_has_done_is_not_done_again_when_a_receipt_came_later() {
        let (new, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (staged, former) = (Vault::open(new.path(), &[1; 32]).unwrap(), Vault::open(old.path(), &[1; 32]).unwrap());
        let [restricted, lift, objected] = story();
        let on_list = [listed(&lift.local_id)];
        list::save(&staged, &on_list).unwrap();
        list::save(&former, &on_list).unwrap();
        let waiting = Request { receipts: BTreeMap::new(), ..lift.clone() };
        let entered = Request { receipts: BTreeMap::new(), done_here: false, ..objected.clone() };
        keep(&staged, &[restricted.clone(), waiting, entered]).unwrap();
        keep(&former, &[restricted.clone(), lift.clone(), objected.clone()]).unwrap();

        let settled = settle(new.path(), Some((old.path(), &[1; 32])), &[1; 32]).unwrap();
        assert_eq!(settled, Settled { listed: 0, requests: 2 });
        let asked = |done_here, of| Request { done_here, restarted: vec![], receipts: BTreeMap::new(), ..of };
        let [lift, objected] = [asked(true, lift), asked(false, objected)];
        assert_eq!(requests_of(&staged).unwrap(), [restricted, lift, objected]);
        assert_eq!(list::load(&staged).unwrap(), on_list);
    }

    #[test]
    fn the_record_of_an_objection_is_kept_for_as_long_as_a_backup_may_bring_it_back_and_a_month() {
        let mut objected = request("1", Right::Objection, Some("x"));
        let receipt = |at| Receipt {
            statement: "receipt".to_owned(),
            agreement: String::new(),
            role: "custodian".to_owned(),
            request: "1".to_owned(),
            action: Action::Delete,
            at,
            counts: BTreeMap::new(),
        };
        for (role, at) in [("broker", 900), ("custodian", 5_000)] {
            let statement = serde_json::to_string(&receipt(at)).unwrap();
            objected.receipts.insert(role.to_owned(), KeptReceipt { statement, signature: String::new() });
        }
        assert_eq!(may_come_back_until(&objected, 6).unwrap(), 5_000 + 7 * 31 * 86_400, "from the last receipt on");
        objected.receipts.clear();
        assert_eq!(may_come_back_until(&objected, 6).unwrap(), 1 + 7 * 31 * 86_400);
        let unreadable = KeptReceipt { statement: "{}".to_owned(), signature: String::new() };
        objected.receipts.insert("broker".to_owned(), unreadable);
        assert!(matches!(may_come_back_until(&objected, 6), Err(NodeError::Damaged(_))));
    }

    #[test]
    fn a_lift_that_is_carried_out_late_leaves_what_came_after_it() {
        let [restricted, lift, mut objected] = story();
        let of = |ground, id: &str| Listed { ground, ..listed(id) };
        let mine = lift.local_id.as_str();
        let before = [restricted.clone(), lift.clone()];
        let stays = |listed: &Listed, requests: &[Request]| stays_listed(listed, &lift, requests);
        assert!(!stays(&of(Ground::Restriction, mine), &before));
        assert!(!stays(&of(Ground::Objection, mine), &before), "an objection that is lifted is forgotten");
        assert!(stays(&of(Ground::Objection, "another"), &before));
        let mut all = [restricted, lift.clone(), objected.clone()];
        assert!(!stays(&of(Ground::Restriction, mine), &all));
        assert!(stays(&of(Ground::Objection, mine), &all));
        objected.local_id = "another".to_owned();
        assert!(!stays(&of(Ground::Objection, mine), &[before[0].clone(), lift.clone(), objected]));
        all[2].ended = true;
        assert!(!stays(&of(Ground::Objection, mine), &all), "lifted in its turn");
    }

    #[test]
    fn a_request_ends_what_came_before_it_and_nothing_later() {
        let objected = request("1", Right::Objection, Some("x"));
        let lift = Request { lifts: Some("1".to_owned()), ..request("2", Right::Lift, None) };
        let mut all = [request("0", Right::Restriction, Some("w")), objected, lift, request("3", Right::Restriction, Some("y"))];
        let ended = |all: &[Request]| all.iter().map(|request| request.ended).collect::<Vec<_>>();
        let late = Request { restarted: vec!["r2".to_owned()], ..all[1].clone() };
        take_in(&mut all, &late);
        assert_eq!((all[1].restarted.as_slice(), ended(&all)), (&["r2".to_owned()][..], vec![true, false, false, false]));
        let lift = all[2].clone();
        take_in(&mut all, &lift);
        assert_eq!(ended(&all), [true, true, false, false]);
    }
}
