//! Sealing to a recipient's public key: HPKE base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM (RFC 9180).
//!
//! Whoever relays a sealed message can neither read nor alter it. Base mode does not say who sealed it: where that
//! matters the message is signed as well (see [`crate::group`]). A sealed message is `encapsulated key (32) ‖ ciphertext`,
//! the ciphertext 16 bytes longer than the plaintext.

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, HpkeError, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use crate::keyfile::{self, KeyFileError};
use crate::secret::redacted;
use crate::{AgreementHash, label};

type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
type RawPublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
type EncapsulatedKey = <X25519HkdfSha256 as Kem>::EncappedKey;

/// Bytes of the encapsulated key.
pub const ENCAPSULATED_LEN: usize = 32;
/// By how much a sealed message is longer than its plaintext.
pub const OVERHEAD: usize = ENCAPSULATED_LEN + 16;

/// Why a message could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The recipient's key is not usable (a point of small order).
    #[error("clé de scellement du destinataire inutilisable ; vérifiez celle qu'indique la convention")]
    RecipientKey,
    /// Shorter than any sealed message.
    #[error("message scellé tronqué ; demandez un nouvel envoi")]
    Truncated,
    /// Sealed to another key, for another use, or altered.
    #[error(
        "message scellé illisible : il est destiné à une autre clé, à un autre usage, ou a été altéré ; \
         vérifiez la clé et la convention, puis demandez un nouvel envoi"
    )]
    Refused,
    /// More plaintext than AES-GCM can take.
    #[error("message trop long pour être scellé")]
    TooLong,
}

/// A recipient's private key (X25519), erased on drop.
pub struct SealingKey(PrivateKey);
redacted!(SealingKey);

impl SealingKey {
    /// Draws a key.
    pub fn generate<R: rand_core::CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        Self(X25519HkdfSha256::derive_keypair(&*bytes).0)
    }
    /// Reads 32 bytes; X25519 clamps them, so that all values are keys.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        // Only a wrong length is refused, and the type rules it out.
        match PrivateKey::from_bytes(bytes) {
            Ok(key) => Self(key),
            Err(_) => unreachable!("an X25519 private key is any 32 bytes"),
        }
    }
    /// The clamped key.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new([0; 32]);
        self.0.write_exact(&mut *bytes);
        bytes
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
    pub fn public_key(&self) -> SealingPublicKey {
        SealingPublicKey(X25519HkdfSha256::sk_to_pk(&self.0).to_bytes().into())
    }
    /// Opens what was sealed to this key for `info` with associated data `aad`.
    pub fn open(&self, info: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if sealed.len() < OVERHEAD {
            return Err(SealError::Truncated);
        }
        let (encapsulated, ciphertext) = sealed.split_at(ENCAPSULATED_LEN);
        let encapsulated = EncapsulatedKey::from_bytes(encapsulated).map_err(|_| SealError::Refused)?;
        let mode = OpModeR::Base;
        hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(&mode, &self.0, &encapsulated, info, ciphertext, aad)
            .map(Zeroizing::new)
            .map_err(|_| SealError::Refused)
    }
}

/// A recipient's public key (X25519).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealingPublicKey([u8; 32]);

impl SealingPublicKey {
    /// Takes 32 bytes; a point of small order is refused on use.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(*bytes)
    }
    /// Reads base64 text, as the agreement holds it.
    pub fn from_base64(text: &str) -> Result<Self, KeyFileError> {
        Ok(Self(*keyfile::decode(text)?))
    }
    /// The 32 bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0
    }
    /// Base64 text for the agreement.
    pub fn to_base64(&self) -> String {
        keyfile::encode_public(&self.0)
    }
    /// Seals to this key for `info` with associated data `aad`.
    pub fn seal<R: rand_core::CryptoRng + ?Sized>(
        &self,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
        mut rng: &mut R,
    ) -> Result<Vec<u8>, SealError> {
        let recipient = RawPublicKey::from_bytes(&self.0).map_err(|_| SealError::RecipientKey)?;
        let (encapsulated, ciphertext) = hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &recipient,
            info,
            plaintext,
            aad,
            &mut rng,
        )
        .map_err(|error| match error {
            HpkeError::EncapError | HpkeError::ValidationError => SealError::RecipientKey,
            _ => SealError::TooLong,
        })?;
        let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD);
        sealed.extend_from_slice(&encapsulated.to_bytes());
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }
}

/// The `info` under which the attribute key of one party's upload to a run is sealed to an analyst, with no associated data:
/// label("attributes") ‖ 0x00 ‖ agreement hash ‖ 0x00 ‖ run id ‖ 0x00 ‖ party id.
pub fn attributes_info(agreement: &AgreementHash, run_id: &str, party_id: &str) -> Vec<u8> {
    [label!("attributes"), &[0], agreement, &[0], run_id.as_bytes(), &[0], party_id.as_bytes()].concat()
}
