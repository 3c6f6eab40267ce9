//! The node's side: blinding a batch, verifying the answer, unblinding it.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use sha2::{Digest, Sha512};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::server::{Evaluation, PublicKey};
use super::suite::{Mode, Suite, decode_batch, double_and_pack, random_scalar};
use super::{ELEMENT_LEN, MAX_INPUT_LEN, OprfError, OprfOutput, batch_len, check_count, dleq};
use crate::secret::redacted;

/// Blinds in mode VOPRF.
#[derive(Debug, Clone, Copy, Default)]
pub struct Blinder;

impl Blinder {
    /// Blinds 1 to [`super::MAX_BATCH`] inputs: what to keep until the answer comes, and the packed elements to send.
    pub fn blind<I: AsRef<[u8]>, R: rand_core::CryptoRng + ?Sized>(
        inputs: &[I],
        rng: &mut R,
    ) -> Result<(BlindState, Vec<u8>), OprfError> {
        let (blinded, packed) = Blinded::new(Mode::Voprf, inputs, || random_scalar(rng))?;
        Ok((BlindState { blinded, packed: packed.clone() }, packed))
    }
}

/// What the node keeps of a batch until the answer comes: inputs and blinds. Erased on drop.
pub struct BlindState {
    pub(super) blinded: Blinded,
    pub(super) packed: Vec<u8>,
}
redacted!(BlindState);

impl BlindState {
    /// How many inputs the batch holds.
    pub fn count(&self) -> usize {
        self.blinded.blinds.len()
    }
    /// Verifies the proof for the agreement's key and gives the outputs in the order of the inputs. Nothing is given when
    /// any part of the answer is refused. May be called again when an answer was lost or refused.
    pub fn finalize(&self, key: &PublicKey, evaluation: &Evaluation) -> Result<Vec<OprfOutput>, OprfError> {
        let evaluated = self.blinded.read_answer(&evaluation.elements)?;
        dleq::verify(
            (&key.point, &key.bytes),
            &self.blinded.points,
            &self.packed,
            &evaluated,
            &evaluation.elements,
            &evaluation.proof,
        )?;
        Ok(self.blinded.unblind(&evaluated))
    }
}

/// A blinded batch, of either mode.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Blinded {
    /// All inputs, one after the other.
    inputs: Vec<u8>,
    /// Length of each.
    lens: Vec<u16>,
    blinds: Vec<Scalar>,
    /// The blinded elements as points, for the proof. Public.
    #[zeroize(skip)]
    points: Vec<RistrettoPoint>,
}

impl Blinded {
    pub(super) fn new<I: AsRef<[u8]>>(
        mode: Mode,
        inputs: &[I],
        mut draw: impl FnMut() -> Scalar,
    ) -> Result<(Self, Vec<u8>), OprfError> {
        check_count(inputs.len())?;
        let suite = Suite::of(mode);
        // Room for everything beforehand: a vector that grows would leave copies of the inputs behind.
        let total = inputs.iter().map(|input| input.as_ref().len()).sum();
        let mut blinded = Self {
            inputs: Vec::with_capacity(total),
            lens: Vec::with_capacity(inputs.len()),
            blinds: Vec::with_capacity(inputs.len()),
            points: Vec::with_capacity(inputs.len()),
        };
        for (index, input) in inputs.iter().enumerate() {
            let input = input.as_ref();
            if input.len() > MAX_INPUT_LEN {
                return Err(OprfError::InputTooLong { index });
            }
            let mut point = suite.hash_to_group(input);
            if point.is_identity() {
                return Err(OprfError::InvalidInput { index });
            }
            let blind = draw();
            blinded.points.push(blind.div_by_2() * point);
            blinded.blinds.push(blind);
            blinded.inputs.extend_from_slice(input);
            blinded.lens.push(input.len() as u16);
            point.zeroize();
        }
        let packed = double_and_pack(&blinded.points);
        for point in &mut blinded.points {
            *point += *point;
        }
        Ok((blinded, packed))
    }

    pub(super) fn read_answer(&self, elements: &[u8]) -> Result<Vec<RistrettoPoint>, OprfError> {
        let received = batch_len(elements)?;
        if received != self.blinds.len() {
            return Err(OprfError::WrongCount { sent: self.blinds.len(), received });
        }
        decode_batch(elements)
    }

    /// Finalize of RFC 9497, section 3.3: SHA-512(len ‖ input ‖ len ‖ unblinded element ‖ "Finalize").
    pub(super) fn unblind(&self, evaluated: &[RistrettoPoint]) -> Vec<OprfOutput> {
        let mut inverses = Zeroizing::new(self.blinds.clone());
        Scalar::invert_batch_alloc(&mut inverses);
        let halves: Zeroizing<Vec<RistrettoPoint>> =
            Zeroizing::new(inverses.iter().zip(evaluated).map(|(inverse, point)| inverse.div_by_2() * point).collect());
        let unblinded = Zeroizing::new(double_and_pack(&halves));

        let mut inputs = self.inputs.as_slice();
        let mut outputs = Vec::with_capacity(evaluated.len());
        for (len, element) in self.lens.iter().zip(unblinded.as_chunks::<ELEMENT_LEN>().0) {
            let (input, rest) = inputs.split_at(usize::from(*len));
            inputs = rest;
            let mut output: [u8; 64] = Sha512::new()
                .chain_update(len.to_be_bytes())
                .chain_update(input)
                .chain_update([0, 32])
                .chain_update(element)
                .chain_update(b"Finalize")
                .finalize()
                .into();
            outputs.push(OprfOutput::from_bytes(&output));
            output.zeroize();
        }
        outputs
    }
}
