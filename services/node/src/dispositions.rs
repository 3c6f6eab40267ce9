//! Pairs that this party has settled with another: from the officer's file to the custodian, and kept here sealed.
//!
//! What leaves is, for each dossier, the record's random reference, the partner, verdict, last day, and the dossier under
//! the group key; the local identifier and the code that was agreed by telephone stay. The custodian is told first and
//! what it has taken is kept: a command that was interrupted is repeated, and changes nothing twice.

mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use linkage_agreement::{PartyId, RecordRef};
use linkage_common::audit::Act;
use linkage_common::fsx;
use linkage_common::tls::Channel;
use linkage_crypto::group::GroupKey;
use linkage_proto::v1::{self, DispositionState, DispositionVerdict, dispositions_client::DispositionsClient};
use serde::{Deserialize, Serialize};

pub use file::Fault;

use crate::error::NodeError;
use crate::intake::SetAsideReport;
use crate::node::Node;
use crate::vault::hmac_sha256;
use file::{Agreed, Context, FileRead};

/// Reads a file of settled pairs and gives why lines of it are set aside.
pub(crate) fn set_aside(
    bytes: &[u8],
    agreement: &linkage_agreement::Agreement,
    party: &PartyId,
    today: Date,
    reference: impl Fn(&str) -> Option<RecordRef>,
) -> Result<Vec<Fault>, NodeError> {
    let parties = agreement.party.iter().map(|p| p.id.clone()).collect();
    let context = Context { parties, party, today, last_day: agreement.agreement.end, reference };
    Ok(context.read_bytes(bytes)?.aside.into_iter().map(|(_, fault)| fault).collect())
}

const KEPT: &str = "dispositions";
/// Dispositions in one request.
const IN_REQUEST: usize = 1_000;

/// What the owners say of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// One person's.
    Confirmed,
    /// Two persons'.
    Refuted,
}

/// The code that two officers agreed on by telephone, as both of them spell it: capitals and digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(String);

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code(..)")
    }
}

impl Code {
    /// Reads a code; case, spaces and hyphens do not count. `None` unless it has 8 to 64 letters and digits, one digit
    /// among them at least, so that a name alone is none.
    pub fn read(text: &str) -> Option<Self> {
        let code: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase()).collect();
        let fits = (8..=64).contains(&code.len())
            && code.bytes().all(|b| b.is_ascii_alphanumeric())
            && code.bytes().any(|b| b.is_ascii_digit());
        fits.then_some(Self(code))
    }
}

/// The dossier as the custodian sees it: HMAC-SHA256 under the group key over a label, the agreement's hash, the two
/// parties in order and the code. Both owners make the same; the custodian, who lacks the key, cannot try codes.
fn dossier(group: &GroupKey, agreement: &[u8; 32], a: &PartyId, b: &PartyId, code: &Code) -> [u8; 32] {
    let (first, second) = (a.min(b).as_str(), a.max(b).as_str());
    let length = |text: &str| [text.len() as u8];
    hmac_sha256(
        group.as_bytes(),
        &[
            b"linkage/block-scoped/1/disposition",
            &[0],
            agreement,
            &length(first),
            first.as_bytes(),
            &length(second),
            second.as_bytes(),
            code.0.as_bytes(),
        ],
    )
}

/// A disposition as kept here: no local identifier, no code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    references: Vec<String>,
    partner: PartyId,
    verdict: Verdict,
    expiry: Date,
}

/// By dossier, hexadecimal.
type Held = BTreeMap<String, Kept>;

/// What a file of dispositions came to: counts only. `lines = taken + set_aside`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DispositionSummary {
    /// Lines after the header.
    pub lines: u64,
    /// Lines taken.
    pub taken: u64,
    /// Lines set aside.
    pub set_aside: u64,
    /// Lines set aside, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Dossiers taken: lines, but for pairs within the party's own list, which have two.
    pub dossiers: u64,
    /// Of these, dossiers that both owners have put in and agree on.
    pub in_force: u64,
    /// Dossiers of which the partner's half is not there.
    pub waiting: u64,
    /// Dossiers of which the partner says the contrary.
    pub contradicted: u64,
}

/// What this party has put in: counts only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DispositionList {
    /// Dispositions kept here, by partner, then confirmed and refuted.
    pub partners: BTreeMap<PartyId, [u64; 2]>,
    /// Last day of the one that expires first.
    pub next_expiry: Option<Date>,
    /// At the custodian: halves that wait for the partner's.
    pub waiting: u64,
    /// At the custodian: in force.
    pub in_force: u64,
    /// At the custodian: the partner says the contrary.
    pub contradicted: u64,
}

impl Node {
    /// Where the list of lines set aside, or contradicted, is written: line and reason, no value.
    pub fn dispositions_report(&self) -> PathBuf {
        self.vault.folder().join("reports").join("decisions.csv")
    }

    /// Takes a file of dispositions in: every line is accounted for, what is taken goes to the custodian and is kept.
    ///
    /// # Errors
    /// A file that cannot be read, a group key that is not yet there, a custodian that is away or refuses; nothing is
    /// kept then, and the same file can be put in again.
    pub async fn put_dispositions(&self, path: &Path, custodian: Channel) -> Result<DispositionSummary, NodeError> {
        self.gate.in_force()?;
        let _alone = self.alone().await?;
        let group = self.disposition_key()?;
        let read = self.read_dispositions(path)?;
        let agreement = self.gate.agreement_hash();
        let dossiers: Vec<[u8; 32]> =
            read.agreed.iter().map(|agreed| dossier(&group, &agreement, self.party(), &agreed.partner, &agreed.code)).collect();
        let states = self.send(&read.agreed, &dossiers, custodian).await?;
        let mut held = self.held()?;
        for (agreed, dossier) in read.agreed.iter().zip(&dossiers) {
            held.insert(
                hex::encode(dossier),
                Kept {
                    references: agreed.references.iter().map(RecordRef::to_hex).collect(),
                    partner: agreed.partner.clone(),
                    verdict: agreed.verdict,
                    expiry: agreed.expiry,
                },
            );
        }
        self.keep(&held)?;
        self.account(&read, &states)
    }

    fn read_dispositions(&self, path: &Path) -> Result<FileRead, NodeError> {
        let agreement = self.gate.agreement();
        let context = Context {
            parties: agreement.party.iter().map(|p| p.id.clone()).collect(),
            party: self.party(),
            today: self.gate.today(),
            last_day: agreement.agreement.end,
            reference: self.reference_lookup()?,
        };
        context.read(path)
    }

    async fn send(
        &self,
        agreed: &[Agreed],
        dossiers: &[[u8; 32]],
        custodian: Channel,
    ) -> Result<Vec<DispositionState>, NodeError> {
        let mut client = DispositionsClient::new(custodian);
        let all: Vec<v1::Disposition> = agreed
            .iter()
            .zip(dossiers)
            .map(|(agreed, dossier)| v1::Disposition {
                dossier: dossier.to_vec().into(),
                partner: agreed.partner.to_string(),
                references: agreed.references.iter().map(|r| r.0.to_vec().into()).collect(),
                verdict: match agreed.verdict {
                    Verdict::Confirmed => DispositionVerdict::Confirmed,
                    Verdict::Refuted => DispositionVerdict::Refuted,
                }
                .into(),
                expiry: agreed.expiry.to_string(),
            })
            .collect();
        let mut states = Vec::with_capacity(all.len());
        for some in all.chunks(IN_REQUEST) {
            let request = v1::PutDispositionsRequest { agreement: Some(self.gate.reference()), dispositions: some.to_vec() };
            let answer = client.put_dispositions(request).await.map_err(|s| NodeError::custodian(&s))?.into_inner();
            let come_to: Vec<DispositionState> = answer.states().collect();
            if come_to.len() != some.len() {
                return Err(NodeError::Refused(
                    "le tiers de confiance n'a pas répondu pour chaque décision : vérifiez les versions, puis relancez la même commande"
                        .to_owned(),
                ));
            }
            states.extend(come_to);
        }
        Ok(states)
    }

    fn account(&self, read: &FileRead, states: &[DispositionState]) -> Result<DispositionSummary, NodeError> {
        let count = |state: DispositionState| states.iter().filter(|s| **s == state).count() as u64;
        let mut summary = DispositionSummary {
            taken: read.agreed.iter().map(|a| a.lines.len() as u64).sum(),
            set_aside: read.aside.len() as u64,
            dossiers: read.agreed.len() as u64,
            in_force: count(DispositionState::InForce),
            contradicted: count(DispositionState::Contradicted),
            ..DispositionSummary::default()
        };
        summary.lines = summary.taken + summary.set_aside;
        summary.waiting = summary.dossiers - summary.in_force - summary.contradicted;
        let mut rows: Vec<(u64, String)> = read.aside.iter().map(|(line, fault)| (*line, fault.to_string())).collect();
        for (_, reason) in &rows {
            *summary.reasons.entry(reason.clone()).or_default() += 1;
        }
        for (agreed, _) in read.agreed.iter().zip(states).filter(|(_, s)| **s == DispositionState::Contradicted) {
            let text = "prise en compte, sans effet : le partenaire dit le contraire ; reprenez ce dossier avec lui";
            rows.extend(agreed.lines.iter().map(|line| (*line, text.to_owned())));
        }
        rows.sort();
        let path = self.dispositions_report();
        if let Some(parent) = path.parent() {
            fsx::create_private_dir(parent)?;
        }
        let mut report = SetAsideReport::create(&path)?;
        for (line, reason) in &rows {
            report.row(*line, reason)?;
        }
        report.finish()?;
        let (taken, set_aside) = (summary.taken, summary.set_aside);
        self.audit.note(Act::own("dispositions.put").records(taken))?;
        tracing::info!(taken, set_aside, "dispositions taken in");
        Ok(summary)
    }

    /// Counts of what this party has put in, here and at the custodian.
    pub async fn list_dispositions(&self, custodian: Channel) -> Result<DispositionList, NodeError> {
        let request = v1::CountDispositionsRequest { agreement: Some(self.gate.reference()) };
        let counts = DispositionsClient::new(custodian)
            .count_dispositions(request)
            .await
            .map_err(|s| NodeError::custodian(&s))?
            .into_inner();
        let mut list = DispositionList {
            waiting: counts.waiting,
            in_force: counts.in_force,
            contradicted: counts.contradicted,
            ..DispositionList::default()
        };
        let held = self.held()?;
        for kept in held.values() {
            let [confirmed, refuted] = list.partners.entry(kept.partner.clone()).or_default();
            match kept.verdict {
                Verdict::Confirmed => *confirmed += 1,
                Verdict::Refuted => *refuted += 1,
            }
        }
        list.next_expiry = held.values().map(|kept| kept.expiry).min();
        Ok(list)
    }

    /// Takes this party's half of a dossier back, whoever the partner is; returns how many there were at the custodian.
    ///
    /// # Errors
    /// A code that is none; a custodian that is away.
    pub async fn withdraw_disposition(&self, code: &str, custodian: Channel) -> Result<u64, NodeError> {
        let code = Code::read(code).ok_or_else(|| NodeError::Refused(Fault::Code.to_string()))?;
        let _alone = self.alone().await?;
        let (group, agreement) = (self.disposition_key()?, self.gate.agreement_hash());
        let parties = self.gate.agreement().party.iter();
        let dossiers: Vec<[u8; 32]> =
            parties.map(|partner| dossier(&group, &agreement, self.party(), &partner.id, &code)).collect();
        let request = v1::WithdrawDispositionsRequest {
            agreement: Some(self.gate.reference()),
            dossiers: dossiers.iter().map(|d| d.to_vec().into()).collect(),
        };
        let answer = DispositionsClient::new(custodian).withdraw_dispositions(request).await;
        let withdrawn = answer.map_err(|s| NodeError::custodian(&s))?.into_inner().withdrawn;
        let mut held = self.held()?;
        for dossier in &dossiers {
            held.remove(&hex::encode(dossier));
        }
        self.keep(&held)?;
        self.audit.record(Act::own("dispositions.withdrawn").records(withdrawn)).await?;
        tracing::info!(withdrawn, "dispositions withdrawn");
        Ok(withdrawn)
    }

    /// Forgets the pairs settled of a record that is deleted; the custodian forgets its halves with the record.
    pub(crate) fn forget_dispositions_of(&self, reference: &RecordRef) -> Result<(), NodeError> {
        let text = reference.to_hex();
        let mut held = self.held()?;
        let before = held.len();
        held.retain(|_, kept| !kept.references.contains(&text));
        if held.len() == before { Ok(()) } else { self.keep(&held) }
    }

    fn disposition_key(&self) -> Result<GroupKey, NodeError> {
        self.group_key_for_runs()
    }

    /// What is kept and has not expired.
    fn held(&self) -> Result<Held, NodeError> {
        let Some(bytes) = self.vault.get(KEPT)? else { return Ok(Held::new()) };
        let mut held: Held = serde_json::from_slice(&bytes).map_err(|_| NodeError::Damaged(KEPT.to_owned()))?;
        let today = self.gate.today();
        held.retain(|_, kept| kept.expiry >= today);
        Ok(held)
    }

    /// Forgets what has expired; the custodian forgets its halves by itself.
    pub(crate) fn expired_dispositions(&self) -> Result<(), NodeError> {
        let Some(bytes) = self.vault.get(KEPT)? else { return Ok(()) };
        let all: Held = serde_json::from_slice(&bytes).map_err(|_| NodeError::Damaged(KEPT.to_owned()))?;
        let held = self.held()?;
        if held.len() < all.len() { self.keep(&held) } else { Ok(()) }
    }

    fn keep(&self, held: &Held) -> Result<(), NodeError> {
        let bytes = serde_json::to_vec(held).map_err(|_| NodeError::Configuration("décisions".to_owned()))?;
        self.vault.put(KEPT, &bytes)
    }
}
