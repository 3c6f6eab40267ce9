//! The custodian's side: the key, its public half, evaluation of a packed batch.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::suite::{Mode, Suite, decode_batch, decode_point, decode_scalar, double_and_pack, random_scalar};
use super::{ELEMENT_LEN, OprfError, PROOF_LEN, batch_len, dleq};
use crate::keyfile::{self, KeyFileError};
use crate::secret::redacted;

/// The custodian's secret key; one for the life of an agreement (its epoch).
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ServerKey {
    scalar: Scalar,
    /// `scalar / 2`, see [`double_and_pack`].
    half: Scalar,
    #[zeroize(skip)]
    public: PublicKey,
}
redacted!(ServerKey);

impl ServerKey {
    /// Draws a key.
    pub fn generate<R: rand_core::CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self::from_scalar(random_scalar(rng))
    }
    /// DeriveKeyPair of RFC 9497, section 3.2.1: the key for a seed and a public `info` of at most 65,535 bytes.
    pub fn derive(mode: Mode, seed: &[u8; 32], info: &[u8]) -> Result<Self, OprfError> {
        let len = u16::try_from(info.len()).map_err(|_| OprfError::DeriveKeyPair)?.to_be_bytes();
        (0..=u8::MAX)
            .map(|counter| Suite::of(mode).derive_key_pair.scalar(&[seed, &len, info, &[counter]]))
            .find(|scalar| *scalar != Scalar::ZERO)
            .map(Self::from_scalar)
            .ok_or(OprfError::DeriveKeyPair)
    }
    /// Reads a scalar, 32 bytes little-endian; zero and anything not below the group order are refused.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, OprfError> {
        let scalar = decode_scalar(bytes).filter(|scalar| *scalar != Scalar::ZERO).ok_or(OprfError::InvalidScalar)?;
        Ok(Self::from_scalar(scalar))
    }
    /// The scalar, 32 bytes little-endian.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.scalar.to_bytes())
    }
    /// Reads a key file (see [`keyfile`]).
    pub fn from_key_file(text: &str) -> Result<Self, KeyFileError> {
        Self::from_bytes(&*keyfile::decode(text)?).map_err(|_| KeyFileError::Value)
    }
    /// Writes a key file.
    pub fn to_key_file(&self) -> Zeroizing<String> {
        keyfile::encode(&self.to_bytes())
    }
    /// The public half, which the agreement names.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }
    /// Evaluates a packed batch of blinded elements with one proof (mode VOPRF).
    pub fn evaluate<R: rand_core::CryptoRng + ?Sized>(&self, blinded: &[u8], rng: &mut R) -> Result<Evaluation, OprfError> {
        let r = Zeroizing::new(random_scalar(rng));
        let (points, elements) = self.multiply(blinded)?;
        let proof = dleq::prove(&self.scalar, &self.public.bytes, &points, blinded, &elements, &r);
        Ok(Evaluation { elements, proof })
    }
    /// The batch's points and the packed products with the key.
    pub(super) fn multiply(&self, blinded: &[u8]) -> Result<(Vec<RistrettoPoint>, Vec<u8>), OprfError> {
        batch_len(blinded)?;
        let points = decode_batch(blinded)?;
        let halves: Vec<RistrettoPoint> = points.iter().map(|point| self.half * point).collect();
        let elements = double_and_pack(&halves);
        Ok((points, elements))
    }

    fn from_scalar(scalar: Scalar) -> Self {
        let point = RistrettoPoint::mul_base(&scalar);
        let public = PublicKey { point, bytes: point.compress().to_bytes() };
        Self { scalar, half: scalar.div_by_2(), public }
    }
}

/// The custodian's public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    pub(super) point: RistrettoPoint,
    pub(super) bytes: [u8; ELEMENT_LEN],
}

impl PublicKey {
    /// Reads a canonical element that is not the identity.
    pub fn from_bytes(bytes: &[u8; ELEMENT_LEN]) -> Result<Self, OprfError> {
        let point = decode_point(bytes).ok_or(OprfError::InvalidPublicKey)?;
        Ok(Self { point, bytes: *bytes })
    }
    /// Reads base64 text, as the agreement holds it.
    pub fn from_base64(text: &str) -> Result<Self, OprfError> {
        let bytes = keyfile::decode(text).map_err(|_| OprfError::InvalidPublicKey)?;
        Self::from_bytes(&bytes)
    }
    /// The canonical encoding.
    pub fn to_bytes(&self) -> [u8; ELEMENT_LEN] {
        self.bytes
    }
    /// Base64 text for the agreement.
    pub fn to_base64(&self) -> String {
        keyfile::encode_public(&self.bytes)
    }
}

/// What the custodian answers to one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// The evaluated elements, packed, in the order of the request.
    pub elements: Vec<u8>,
    /// The proof: scalars c and s.
    pub proof: [u8; PROOF_LEN],
}
