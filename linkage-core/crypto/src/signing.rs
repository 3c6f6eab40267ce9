//! Ed25519 keys (RFC 8032) of the parties: they sign the agreement, group envelopes, receipts and certificates.
//!
//! Verification is strict: small-order and non-canonical points and scalars not below the group order are refused, so
//! that a signature cannot be valid under two keys or be altered and stay valid.

use ed25519_dalek::{Signature, Signer};
use zeroize::Zeroizing;

use crate::keyfile::{self, KeyFileError};
use crate::secret::redacted;

/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;

/// Why a key or signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not the encoding of a usable public key.
    #[error("clé de vérification refusée ; vérifiez celle qu'indique la convention")]
    Key,
    /// The signature does not hold for this message and key.
    #[error("signature refusée : le document a été modifié ou signé avec une autre clé ; demandez une nouvelle signature")]
    Refused,
}

/// A party's signing key, erased on drop.
pub struct SigningKey(ed25519_dalek::SigningKey);
redacted!(SigningKey);

impl SigningKey {
    /// Draws a key.
    pub fn generate<R: rand_core::CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self(ed25519_dalek::SigningKey::generate(rng))
    }
    /// Takes the 32-byte seed.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(bytes))
    }
    /// The 32-byte seed.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }
    /// Reads a key file.
    pub fn from_key_file(text: &str) -> Result<Self, KeyFileError> {
        Ok(Self::from_bytes(&*keyfile::decode(text)?))
    }
    /// Writes a key file.
    pub fn to_key_file(&self) -> Zeroizing<String> {
        keyfile::encode(&self.to_bytes())
    }
    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }
    /// Signs a message. The same key signs messages of several kinds: each must begin with a label of its own.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.0.sign(message).to_bytes()
    }
}

/// A party's verification key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// Reads 32 bytes; points of small order are refused.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SignatureError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| SignatureError::Key)?;
        if key.is_weak() { Err(SignatureError::Key) } else { Ok(Self(key)) }
    }
    /// Reads base64 text, as the agreement holds it.
    pub fn from_base64(text: &str) -> Result<Self, SignatureError> {
        Self::from_bytes(&*keyfile::decode(text).map_err(|_| SignatureError::Key)?)
    }
    /// The 32 bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }
    /// Base64 text for the agreement.
    pub fn to_base64(&self) -> String {
        keyfile::encode_public(self.0.as_bytes())
    }
    /// Verifies strictly.
    pub fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> Result<(), SignatureError> {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).map_err(|_| SignatureError::Refused)
    }
}
