//! Receipts: what a role says, signed, that it has done with a record at its owner's request (RGPD, articles 16, 18, 21).
//!
//! A receipt is one line of JSON and the role's signature under the label `receipt` ([`crate::signer`]). It names the request
//! (16 random bytes drawn by the party's node) and holds counts; no identity, no record reference, no pseudonym.

use std::collections::BTreeMap;

use linkage_agreement::{Agreement, RoleId};
use serde::{Deserialize, Serialize};

use crate::error::ServiceError;
use crate::signer::{Signer, verify};

/// The signature's label.
const LABEL: &str = "receipt";
/// The first words of every statement.
const STATEMENT: &str = "linkage receipt v1";
/// Longest statement, in bytes.
pub const MAX_STATEMENT: usize = 8 << 10;

/// A request's identifier: 16 random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub [u8; 16]);

impl RequestId {
    /// Reads exactly 16 bytes.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, ServiceError> {
        bytes.try_into().map(Self).map_err(|_| {
            ServiceError::invalid("l'identifiant d'une demande compte 16 octets ; vérifiez la version du logiciel du nœud")
        })
    }
    /// As in receipts: 32 hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
    /// Reads what [`Self::to_hex`] wrote.
    pub fn from_hex(text: &str) -> Option<Self> {
        hex::decode(text).ok()?.try_into().ok().map(Self)
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Deleted (objection).
    Delete,
    /// Set aside (restriction).
    SetAside,
    /// Put back (restriction lifted).
    Restore,
    /// Taken out of runs under way (rectification).
    Void,
    /// Taken out, by a role that is not told why.
    Withdraw,
}

/// What a receipt says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Which kind of statement this is.
    pub statement: String,
    /// Hash of the agreement, hexadecimal.
    pub agreement: String,
    /// Who gives it.
    pub role: String,
    /// The request, hexadecimal.
    pub request: String,
    /// What was done.
    pub action: Action,
    /// When, in seconds since 1970.
    pub at: i64,
    /// What it came to: counts, and for the broker the second until which encodings are held at the latest.
    pub counts: BTreeMap<String, i64>,
}

/// A receipt's bytes and their signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The statement.
    pub statement: Vec<u8>,
    /// The role's signature over it.
    pub signature: Vec<u8>,
}

impl Receipt {
    /// A receipt of `signer`, signed.
    ///
    /// # Errors
    /// `Internal`: it has no JSON form.
    pub fn sign<'c>(
        signer: &Signer,
        agreement: &[u8; 32],
        request: RequestId,
        action: Action,
        at: i64,
        counts: impl IntoIterator<Item = (&'c str, i64)>,
    ) -> Result<Signed, ServiceError> {
        let receipt = Self {
            statement: STATEMENT.to_owned(),
            agreement: hex::encode(agreement),
            role: signer.role().to_string(),
            request: request.to_hex(),
            action,
            at,
            counts: counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        };
        let statement = serde_json::to_vec(&receipt).map_err(ServiceError::internal)?;
        let signature = signer.sign(LABEL, &statement).to_vec();
        Ok(Signed { statement, signature })
    }

    /// Reads a receipt that `role` gave for `request`, its signature verified.
    ///
    /// # Errors
    /// `Refused` when it is not that role's, or of another request, agreement or kind of statement.
    pub fn verify(
        agreement: &Agreement,
        hash: &[u8; 32],
        role: &RoleId,
        request: RequestId,
        signed: &Signed,
    ) -> Result<Self, ServiceError> {
        let refused = || {
            ServiceError::refused(format!(
                "accusé refusé : il n'est pas celui que {role} a signé pour cette demande ; prévenez ce rôle"
            ))
        };
        if signed.statement.len() > MAX_STATEMENT {
            return Err(refused());
        }
        verify(agreement, hash, role, LABEL, &signed.statement, &signed.signature).map_err(|_| refused())?;
        let receipt: Self = serde_json::from_slice(&signed.statement).map_err(|_| refused())?;
        let meant = receipt.statement == STATEMENT
            && receipt.agreement == hex::encode(hash)
            && receipt.role == role.to_string()
            && receipt.request == request.to_hex();
        if meant { Ok(receipt) } else { Err(refused()) }
    }
}
