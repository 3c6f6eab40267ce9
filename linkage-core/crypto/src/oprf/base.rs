//! Mode OPRF (0x00), without proof: the node must trust whoever answers to have used the right key.
//!
//! The linkage never uses it. Types of its own keep a batch of the verifiable mode from being finalised without its proof.

use super::client::Blinded;
use super::server::ServerKey;
use super::suite::{Mode, random_scalar};
use super::{OprfError, OprfOutput};
use crate::secret::redacted;

/// Blinds in mode OPRF.
#[derive(Debug, Clone, Copy, Default)]
pub struct BaseBlinder;

impl BaseBlinder {
    /// Blinds 1 to [`super::MAX_BATCH`] inputs.
    pub fn blind<I: AsRef<[u8]>, R: rand_core::CryptoRng + ?Sized>(
        inputs: &[I],
        rng: &mut R,
    ) -> Result<(BaseBlindState, Vec<u8>), OprfError> {
        let (blinded, packed) = Blinded::new(Mode::Oprf, inputs, || random_scalar(rng))?;
        Ok((BaseBlindState(blinded), packed))
    }
}

/// What the client keeps of a batch in mode OPRF.
pub struct BaseBlindState(pub(super) Blinded);
redacted!(BaseBlindState);

impl BaseBlindState {
    /// Unblinds the answer; nothing proves which key was used.
    pub fn finalize(&self, elements: &[u8]) -> Result<Vec<OprfOutput>, OprfError> {
        let evaluated = self.0.read_answer(elements)?;
        Ok(self.0.unblind(&evaluated))
    }
}

impl ServerKey {
    /// Evaluates a packed batch without proof (mode OPRF).
    pub fn evaluate_without_proof(&self, blinded: &[u8]) -> Result<Vec<u8>, OprfError> {
        Ok(self.multiply(blinded)?.1)
    }
}
