//! Checkpoints: what a role signs of its log's head, and what partners countersign.
//!
//! A countersignature binds its partner's word to number and chain value, hence to every entry before. Those of one partner
//! on one day stand in each other's place: the later one covers the earlier.

use std::io;
use std::path::Path;

use linkage_agreement::{Agreement, PartyId, RoleId};
use linkage_proto::v1;
use serde::{Deserialize, Serialize};

use super::entry::Link;
use super::files::{Anchor, Head};
use crate::error::ServiceError;
use crate::fsx;
use crate::signer::{self, Signer};

const CHECKPOINT: &str = "checkpoint";
const COUNTERSIGNATURE: &str = "countersignature";
const ANCHOR: &str = "audit-anchor";
const FILE: &str = "countersignatures.jsonl";
const DAY: i64 = 86_400;

/// The head of a log, signed by its role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The log's name.
    pub log: String,
    /// Number of the last entry covered.
    pub number: u64,
    /// The chain's value there, hexadecimal.
    pub chain: String,
    /// When, seconds since 1970.
    pub at: i64,
    /// Hash of the agreement under which it is signed, hexadecimal.
    pub agreement: String,
    /// The role's signature, hexadecimal.
    pub signature: String,
}

/// A checkpoint that a partner has countersigned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Countersigned {
    /// What it has countersigned.
    pub checkpoint: Checkpoint,
    /// The partner.
    pub party: PartyId,
    /// Its signature, hexadecimal.
    pub countersignature: String,
    /// When it came, seconds since 1970.
    pub received: i64,
}

/// `log ‖ 0 ‖ number ‖ chain ‖ at`, numbers big-endian.
fn statement(log: &str, head: &Head, at: i64) -> Vec<u8> {
    [log.as_bytes(), b"\0", &head.number.to_be_bytes(), &head.chain, &at.to_be_bytes()].concat()
}

fn malformed() -> ServiceError {
    ServiceError::invalid("point de contrôle mal formé ; vérifiez la version du logiciel de ce rôle")
}

impl Checkpoint {
    /// The head of `log`, signed now.
    pub fn sign(log: &str, head: &Head, at: i64, agreement: &Link, signer: &Signer) -> Self {
        let signature = signer.sign(CHECKPOINT, &statement(log, head, at));
        Self {
            log: log.to_owned(),
            number: head.number,
            chain: hex::encode(head.chain),
            at,
            agreement: hex::encode(agreement),
            signature: hex::encode(signature),
        }
    }

    /// Number and value.
    ///
    /// # Errors
    /// `Invalid` when the value is none.
    pub fn head(&self) -> Result<Head, ServiceError> {
        let mut chain = [0; 32];
        hex::decode_to_slice(&self.chain, &mut chain).map_err(|_| malformed())?;
        Ok(Head { number: self.number, chain })
    }

    fn statement(&self) -> Result<Vec<u8>, ServiceError> {
        Ok(statement(&self.log, &self.head()?, self.at))
    }

    /// Verifies that `role` has signed it under this agreement.
    ///
    /// # Errors
    /// `Refused` or `Invalid` when it has not.
    pub fn verify(&self, agreement: &Agreement, hash: &Link, role: &RoleId) -> Result<(), ServiceError> {
        let signature = hex::decode(&self.signature).map_err(|_| malformed())?;
        signer::verify(agreement, hash, role, CHECKPOINT, &self.statement()?, &signature)
    }

    /// What a partner signs: `role ‖ 0 ‖` what the role signed.
    fn countersigned_bytes(&self, role: &RoleId) -> Result<Vec<u8>, ServiceError> {
        Ok([role.to_string().as_bytes(), b"\0", &self.statement()?].concat())
    }

    /// The countersignature of the partner whose signer this is, on a checkpoint of `role`.
    ///
    /// # Errors
    /// `Invalid` when it is malformed.
    pub fn countersign(&self, role: &RoleId, signer: &Signer) -> Result<Vec<u8>, ServiceError> {
        Ok(signer.sign(COUNTERSIGNATURE, &self.countersigned_bytes(role)?).to_vec())
    }

    /// As the wire has it, without digests.
    ///
    /// # Errors
    /// `Invalid` when it is malformed.
    pub fn to_wire(&self) -> Result<v1::AuditCheckpoint, ServiceError> {
        Ok(v1::AuditCheckpoint {
            log: self.log.clone(),
            number: self.number,
            chain: self.head()?.chain.to_vec().into(),
            at: self.at,
            signature: hex::decode(&self.signature).map_err(|_| malformed())?.into(),
            ..Default::default()
        })
    }

    /// What came over the wire, under the agreement of this hash; nothing of it is verified.
    pub fn from_wire(wire: &v1::AuditCheckpoint, agreement: &Link) -> Self {
        Self {
            log: wire.log.clone(),
            number: wire.number,
            chain: hex::encode(&wire.chain),
            at: wire.at,
            agreement: hex::encode(agreement),
            signature: hex::encode(&wire.signature),
        }
    }
}

impl Countersigned {
    /// Verifies that role and partner have signed it under this agreement.
    ///
    /// # Errors
    /// `Refused` or `Invalid` when one has not.
    pub fn verify(&self, agreement: &Agreement, hash: &Link, role: &RoleId) -> Result<(), ServiceError> {
        self.checkpoint.verify(agreement, hash, role)?;
        let signature = hex::decode(&self.countersignature).map_err(|_| malformed())?;
        let party = RoleId::Party(self.party.clone());
        signer::verify(agreement, hash, &party, COUNTERSIGNATURE, &self.checkpoint.countersigned_bytes(role)?, &signature)
    }
}

impl Anchor {
    /// The place at which a log goes on whose entries up to `head` are deleted.
    pub(super) fn sign(log: &str, head: &Head, at: i64, agreement: &Link, signer: &Signer) -> Self {
        let signature = signer.sign(ANCHOR, &statement(log, head, at));
        Self {
            number: head.number,
            chain: hex::encode(head.chain),
            at,
            agreement: hex::encode(agreement),
            signature: hex::encode(signature),
        }
    }

    /// Verifies that `role` has signed it under this agreement.
    pub(super) fn verify(&self, log: &str, agreement: &Agreement, hash: &Link, role: &RoleId) -> Result<(), ServiceError> {
        let head = self.head().ok_or_else(malformed)?;
        let signature = hex::decode(&self.signature).map_err(|_| malformed())?;
        signer::verify(agreement, hash, role, ANCHOR, &statement(log, &head, self.at), &signature)
    }
}

/// The countersignatures of a log, each with its line; a line that cannot be read is none.
pub(super) fn countersigned(folder: &Path) -> io::Result<Vec<(u64, Option<Countersigned>)>> {
    let text = match std::fs::read(folder.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let lines = text.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    Ok(lines.map(|(at, line)| (at as u64 + 1, serde_json::from_slice(line).ok())).collect())
}

pub(super) fn file(folder: &Path) -> std::path::PathBuf {
    folder.join(FILE)
}

/// Keeps those that `kept` takes, and `new`. For the holder of the log's lock.
pub(super) fn rewrite(folder: &Path, new: Option<Countersigned>, kept: impl Fn(&Countersigned) -> bool) -> io::Result<()> {
    let mut all: Vec<Countersigned> = countersigned(folder)?.into_iter().filter_map(|(_, c)| c).filter(|c| kept(c)).collect();
    if let Some(new) = new {
        // Said before: nothing new, and nothing to write.
        let covers = |c: &&Countersigned| c.party == new.party && c.checkpoint.number >= new.checkpoint.number;
        if all.iter().any(|c| covers(&c)) {
            return Ok(());
        }
        all.retain(|c| c.party != new.party || c.received.div_euclid(DAY) != new.received.div_euclid(DAY));
        all.push(new);
    }
    let mut text = Vec::new();
    for countersigned in &all {
        serde_json::to_writer(&mut text, countersigned)?;
        text.push(b'\n');
    }
    fsx::write_atomic(&folder.join(FILE), &text)
}
