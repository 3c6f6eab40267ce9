//! A role's signature under the agreement: on deletion certificates, receipts and checkpoints of its audit log.
//!
//! One Ed25519 key (RFC 8032) signs statements of several kinds. Each kind has a label of its own, which is signed in front
//! of the statement with the agreement's hash and the role, so that what was signed as one kind, for one agreement, by one
//! role, is nothing anywhere else.

use linkage_agreement::Agreement;
use linkage_agreement::permit::RoleId;
use linkage_crypto::signing::{SIGNATURE_LEN, SigningKey, VerifyingKey};

use crate::config::SecretSource;
use crate::error::ServiceError;

/// A role that can sign.
pub struct Signer {
    role: RoleId,
    agreement: [u8; 32],
    key: SigningKey,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.role)
    }
}

impl Signer {
    /// The key in `source`, for `role` of an agreement of this hash.
    ///
    /// # Errors
    /// A secret that cannot be read, or that is not the one whose public half the agreement names.
    pub fn load(source: &SecretSource, agreement: &Agreement, hash: [u8; 32], role: RoleId) -> Result<Self, ServiceError> {
        let key = SigningKey::from_bytes(&*source.read_key().map_err(ServiceError::configuration)?);
        if public_key(agreement, &role) != Some(key.verifying_key()) {
            return Err(ServiceError::refused(format!(
                "la clé de signature n'est pas celle que la convention nomme pour {role} ; vérifiez « signing_key »"
            )));
        }
        Ok(Self { role, agreement: hash, key })
    }
    /// Who signs.
    pub fn role(&self) -> &RoleId {
        &self.role
    }
    /// The hash of the agreement that it signs under.
    pub fn agreement_hash(&self) -> &[u8; 32] {
        &self.agreement
    }
    /// Signs `statement` as one of the kind that `label` names.
    pub fn sign(&self, label: &str, statement: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.key.sign(&signed_bytes(label, &self.agreement, &self.role, statement))
    }
}

/// Verifies what [`Signer::sign`] made, under the key that the agreement names for `role`.
///
/// # Errors
/// `Refused` when it does not hold.
pub fn verify(
    agreement: &Agreement,
    hash: &[u8; 32],
    role: &RoleId,
    label: &str,
    statement: &[u8],
    signature: &[u8],
) -> Result<(), ServiceError> {
    let refused = || ServiceError::refused("signature refusée : ce document n'est pas celui que ce rôle a signé");
    let key = public_key(agreement, role).ok_or_else(refused)?;
    let signature: &[u8; SIGNATURE_LEN] = signature.try_into().map_err(|_| refused())?;
    key.verify(&signed_bytes(label, hash, role, statement), signature).map_err(|_| refused())
}

fn public_key(agreement: &Agreement, role: &RoleId) -> Option<VerifyingKey> {
    let text = match role {
        RoleId::Broker => &agreement.broker.signing_key,
        RoleId::Custodian => &agreement.custodian.signing_key,
        RoleId::Party(id) => &agreement.party.iter().find(|p| &p.id == id)?.signing_key,
        RoleId::Analyst(id) => &agreement.analyst.iter().find(|a| &a.id == id)?.signing_key,
    };
    VerifyingKey::from_base64(text).ok()
}

/// `linkage signed statement v1 ‖ 0 ‖ label ‖ 0 ‖ agreement's hash ‖ role ‖ 0 ‖ statement`; no label and no role holds a zero.
fn signed_bytes(label: &str, hash: &[u8; 32], role: &RoleId, statement: &[u8]) -> Vec<u8> {
    let role = role.to_string();
    let mut bytes = Vec::with_capacity(64 + label.len() + role.len() + statement.len());
    bytes.extend_from_slice(b"linkage signed statement v1\0");
    bytes.extend_from_slice(label.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(hash);
    bytes.extend_from_slice(role.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(statement);
    bytes
}
