//! Oblivious pseudo-random function over ristretto255 with SHA-512, RFC 9497, modes OPRF (0x00) and VOPRF (0x01).
//!
//! The node blinds an input so that the custodian learns nothing of it, the custodian multiplies by its key and proves
//! that it used *the* key (the one whose public half the agreement names), the node unblinds. Without the custodian no
//! one can evaluate the function, which is what stops a dictionary search; the custodian meters the evaluations.
//!
//! Batches are packed: element i is bytes `32 * i .. 32 * (i + 1)`. One proof covers a batch. Elements that are not
//! canonical (RFC 9496, section 4.3.1) or are the identity, and scalars that are not below the group order, are refused.
//! Operations on secrets take constant time; variable-time multiplication only ever sees what both sides see.

mod base;
mod client;
mod dleq;
mod server;
pub(crate) mod suite;

pub use base::{BaseBlindState, BaseBlinder};
pub use client::{BlindState, Blinder};
pub use server::{Evaluation, PublicKey, ServerKey};
pub use suite::Mode;

use crate::secret::secret_bytes;

/// Bytes of a packed element.
pub const ELEMENT_LEN: usize = 32;
/// Bytes of a proof: the scalars c and s.
pub const PROOF_LEN: usize = 64;
/// The most elements of one batch; 128 KiB each way. The RFC's own limit is 65,535.
pub const MAX_BATCH: usize = 4096;
/// The longest input, in bytes (RFC 9497, section 1.2).
pub const MAX_INPUT_LEN: usize = u16::MAX as usize;

secret_bytes!(
    /// The function's value at one input, 64 bytes; the block secret is derived from it.
    OprfOutput, 64
);

/// Why an evaluation was refused. `index` counts from 0 within the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OprfError {
    /// No element.
    #[error("lot OPRF vide ; envoyez au moins un élément")]
    EmptyBatch,
    /// More than [`MAX_BATCH`] elements.
    #[error("lot OPRF trop grand : au plus 4096 éléments ; découpez-le")]
    BatchTooLarge,
    /// Not a multiple of 32 bytes.
    #[error("lot OPRF tronqué : la longueur n'est pas un multiple de 32 octets")]
    Unpacked,
    /// The answer holds another number of elements than the request.
    #[error("réponse OPRF incomplète : {received} éléments reçus pour {sent} envoyés ; relancez l'envoi")]
    WrongCount {
        /// Elements sent.
        sent: usize,
        /// Elements received.
        received: usize,
    },
    /// Not a canonical encoding, or the identity.
    #[error("élément OPRF n° {index} refusé : codage non canonique ou élément neutre")]
    InvalidElement {
        /// Which one.
        index: usize,
    },
    /// A scalar that is not below the group order, or zero where it may not be.
    #[error("scalaire OPRF refusé ; vérifiez que c'est bien la clé du tiers de confiance")]
    InvalidScalar,
    /// A public key that is not a canonical encoding, or is the identity.
    #[error("clé publique OPRF refusée ; vérifiez celle qu'indique la convention")]
    InvalidPublicKey,
    /// An input longer than [`MAX_INPUT_LEN`].
    #[error("entrée OPRF n° {index} trop longue : au plus 65535 octets")]
    InputTooLong {
        /// Which one.
        index: usize,
    },
    /// An input that hashes to the identity; no such input is known.
    #[error("entrée OPRF n° {index} inutilisable")]
    InvalidInput {
        /// Which one.
        index: usize,
    },
    /// The proof does not hold: another key than the agreement's, or an altered batch.
    #[error(
        "preuve OPRF refusée : la réponse n'a pas été calculée avec la clé qu'indique la convention ; \
         n'utilisez aucun de ces résultats et prévenez le tiers de confiance"
    )]
    ProofRefused,
    /// Derivation of a key pair failed for all 256 counters; no such seed is known.
    #[error("dérivation de la clé OPRF impossible ; tirez une autre graine")]
    DeriveKeyPair,
}

/// Checks a packed batch's length and gives its element count.
fn batch_len(packed: &[u8]) -> Result<usize, OprfError> {
    let count = packed.len() / ELEMENT_LEN;
    if !packed.len().is_multiple_of(ELEMENT_LEN) {
        return Err(OprfError::Unpacked);
    }
    check_count(count)?;
    Ok(count)
}

fn check_count(count: usize) -> Result<(), OprfError> {
    match count {
        0 => Err(OprfError::EmptyBatch),
        1..=MAX_BATCH => Ok(()),
        _ => Err(OprfError::BatchTooLarge),
    }
}
