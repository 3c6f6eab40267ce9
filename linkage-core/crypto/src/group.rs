//! The group key: every partner contributes, the broker relays and learns nothing.
//!
//! Each partner draws a *contribution*, seals it to every other partner and signs the envelope; whoever holds all
//! contributions derives the same key. Operators compare the [`Fingerprint`] by another channel, which shows a relay
//! that left someone out or put someone in. The broker, who sees envelopes only, stays without the key; so does anyone
//! who misses one contribution.

use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

use crate::derive::RunKey;
use crate::seal::{self, SealError, SealingKey, SealingPublicKey};
use crate::secret::{drawn_at_random, hkdf32, secret_bytes};
use crate::signing::{SIGNATURE_LEN, SignatureError, SigningKey, VerifyingKey};
use crate::{AgreementHash, label};

/// Bytes of an envelope: encapsulated key 32, ciphertext 48, signature 64.
pub const ENVELOPE_LEN: usize = SEALED_LEN + SIGNATURE_LEN;
const SEALED_LEN: usize = Contribution::LEN + seal::OVERHEAD;

/// Why an envelope or a set of contributions was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// A party identifier that is empty, longer than 255 bytes or holds a zero byte.
    #[error("identifiant de partenaire refusé ; vérifiez la convention")]
    PartyId,
    /// Fewer than two contributions.
    #[error("clé de groupe : il faut les contributions d'au moins deux partenaires")]
    TooFew,
    /// Two contributions of one party.
    #[error("clé de groupe : deux contributions d'un même partenaire ; recommencez l'échange")]
    Duplicate,
    /// Not the length of an envelope.
    #[error("enveloppe de longueur inattendue ; demandez un nouvel envoi")]
    Length,
    /// Not signed by the sender that the agreement names, or altered.
    #[error(
        "signature de l'enveloppe refusée : elle ne vient pas du partenaire annoncé, ou a été altérée ; \
         prévenez ce partenaire avant de recommencer"
    )]
    Signature,
    /// Signed well, but it cannot be opened.
    #[error("enveloppe illisible : {0}")]
    Seal(SealError),
}

secret_bytes!(
    /// One partner's contribution to the group key, c_i.
    Contribution, 32
);
drawn_at_random!(Contribution);

secret_bytes!(
    /// The group key, K_group. It enters stage 2 only, so it can be rotated with the archives in place.
    GroupKey, 32
);

impl GroupKey {
    /// K_group = HKDF-SHA256(salt = agreement hash, ikm = over parties sorted by id: len(id) as u8 ‖ id ‖ c_i,
    /// info = label("group")). The order of `contributions` does not matter.
    pub fn combine(agreement: &AgreementHash, contributions: &[(&str, &Contribution)]) -> Result<Self, GroupError> {
        let mut sorted = contributions.to_vec();
        sorted.sort_by_key(|(id, _)| *id);
        if sorted.len() < 2 {
            return Err(GroupError::TooFew);
        }
        if sorted.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
            return Err(GroupError::Duplicate);
        }
        let total = sorted.iter().map(|(id, _)| 1 + id.len() + Contribution::LEN).sum();
        let mut ikm = Zeroizing::new(Vec::with_capacity(total));
        for (id, contribution) in sorted {
            ikm.push(id_len(id)?);
            ikm.extend_from_slice(id.as_bytes());
            ikm.extend_from_slice(contribution.as_bytes());
        }
        Ok(Self(hkdf32(agreement, &ikm, &[label!("group")])))
    }
    /// What operators compare.
    pub fn fingerprint(&self) -> Fingerprint {
        let digest: [u8; 32] =
            Sha256::new().chain_update(label!("fingerprint")).chain_update([0]).chain_update(self.0).finalize().into();
        let number = digest[..10].iter().fold(0u128, |number, &byte| number << 8 | u128::from(byte));
        Fingerprint(number % 10u128.pow(24))
    }
    /// The key of one run.
    pub fn run_key(&self, agreement: &AgreementHash, run_id: &str) -> RunKey {
        RunKey::derive(agreement, &self.0, run_id)
    }
}

/// A group key's fingerprint: the first 10 bytes of SHA-256(label("fingerprint") ‖ 0x00 ‖ K_group) as a big-endian number
/// modulo 10^24, shown with all 24 digits in six groups of four. Finding a key with a given one takes 2^79 tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u128);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in (0..6).rev() {
            let separator = if group == 0 { "" } else { " " };
            write!(f, "{:04}{separator}", self.0 / 10u128.pow(4 * group) % 10_000)?;
        }
        Ok(())
    }
}

/// One contribution under way from a partner to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route<'a> {
    /// The agreement's hash.
    pub agreement: &'a AgreementHash,
    /// Sender's party id.
    pub from: &'a str,
    /// Recipient's party id.
    pub to: &'a str,
}

impl Route<'_> {
    /// Seals `contribution` to the recipient and signs the envelope: encapsulated key ‖ ciphertext ‖ signature.
    pub fn seal<R: rand_core::CryptoRng + ?Sized>(
        &self,
        contribution: &Contribution,
        recipient: &SealingPublicKey,
        sender: &SigningKey,
        rng: &mut R,
    ) -> Result<Vec<u8>, GroupError> {
        let info = self.text(label!("group-contribution"))?;
        let mut envelope = recipient.seal(&info, &[], contribution.as_bytes(), rng).map_err(GroupError::Seal)?;
        let signature = sender.sign(&self.signed(&envelope)?);
        envelope.extend_from_slice(&signature);
        Ok(envelope)
    }
    /// Verifies the sender's signature, then opens the envelope.
    pub fn open(&self, envelope: &[u8], sender: &VerifyingKey, recipient: &SealingKey) -> Result<Contribution, GroupError> {
        let (sealed, signature) = envelope.split_last_chunk::<SIGNATURE_LEN>().ok_or(GroupError::Length)?;
        if sealed.len() != SEALED_LEN {
            return Err(GroupError::Length);
        }
        sender.verify(&self.signed(sealed)?, signature).map_err(|error| match error {
            SignatureError::Key | SignatureError::Refused => GroupError::Signature,
        })?;
        let info = self.text(label!("group-contribution"))?;
        let opened = recipient.open(&info, &[], sealed).map_err(GroupError::Seal)?;
        let bytes: &[u8; 32] = opened.as_slice().try_into().map_err(|_| GroupError::Length)?;
        Ok(Contribution::from_bytes(bytes))
    }

    /// label("group-envelope") ‖ 0x00 ‖ agreement hash ‖ 0x00 ‖ from ‖ 0x00 ‖ to ‖ 0x00 ‖ encapsulated key ‖ ciphertext
    fn signed(&self, sealed: &[u8]) -> Result<Vec<u8>, GroupError> {
        let mut message = self.text(label!("group-envelope"))?;
        message.push(0);
        message.extend_from_slice(sealed);
        Ok(message)
    }
    /// label ‖ 0x00 ‖ agreement hash ‖ 0x00 ‖ from ‖ 0x00 ‖ to
    fn text(&self, label: &[u8]) -> Result<Vec<u8>, GroupError> {
        id_len(self.from)?;
        id_len(self.to)?;
        Ok([label, &[0], self.agreement, &[0], self.from.as_bytes(), &[0], self.to.as_bytes()].concat())
    }
}

fn id_len(id: &str) -> Result<u8, GroupError> {
    if id.is_empty() || id.contains('\0') {
        return Err(GroupError::PartyId);
    }
    u8::try_from(id.len()).map_err(|_| GroupError::PartyId)
}
