//! Pseudonyms of persons and records, made by custodian and analyst together.
//!
//! The custodian multiplies the point of a random 128-bit id by its scalar, the analyst multiplies the result by its own:
//! neither can compute or translate a pseudonym alone, and pseudonyms of two agreements or purposes cannot be joined.
//! Nothing is derived from an identity.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::keyfile::{self, KeyFileError};
use crate::label;
use crate::oprf::suite::{Expander, decode_point, decode_scalar, random_scalar};
use crate::secret::redacted;

/// Why a point was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PseudonymError {
    /// Not a canonical encoding, or the identity. `index` counts from 0.
    #[error("point de pseudonyme n° {index} refusé ; demandez au tiers de confiance un nouvel envoi")]
    InvalidPoint {
        /// Which one.
        index: usize,
    },
}

/// What a pseudonym names, for which agreement and purpose: the domain of the hash to the group.
pub struct Domain(Expander);

impl Domain {
    /// Persons: DST = label("pseudonym") ‖ "-" ‖ agreement id ‖ "-" ‖ purpose.
    pub fn persons(agreement_id: &str, purpose: &str) -> Self {
        Self::new(label!("pseudonym"), agreement_id, purpose)
    }
    /// Records: DST = label("record-pseudonym") ‖ "-" ‖ agreement id ‖ "-" ‖ purpose.
    pub fn records(agreement_id: &str, purpose: &str) -> Self {
        Self::new(label!("record-pseudonym"), agreement_id, purpose)
    }
    fn new(label: &[u8], agreement_id: &str, purpose: &str) -> Self {
        Self(Expander::new(&[label, b"-", agreement_id.as_bytes(), b"-", purpose.as_bytes()].concat()))
    }
}

/// A pseudonym on its way from the custodian to the analyst: P1, compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PseudonymPoint(pub [u8; 32]);

/// Declares one role's scalar.
macro_rules! role_scalar {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Zeroize, ZeroizeOnDrop)]
        pub struct $name {
            /// Half of the scalar: products are doubled when a batch is compressed.
            half: Scalar,
        }
        redacted!($name);

        impl $name {
            /// Draws a scalar.
            pub fn generate<R: rand_core::CryptoRng + ?Sized>(rng: &mut R) -> Self {
                Self { half: random_scalar(rng).div_by_2() }
            }
            /// Reads 32 bytes little-endian; zero and what is not below the group order are refused.
            pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyFileError> {
                let scalar = decode_scalar(bytes).filter(|scalar| *scalar != Scalar::ZERO);
                Ok(Self { half: scalar.ok_or(KeyFileError::Value)?.div_by_2() })
            }
            /// The scalar, 32 bytes little-endian.
            pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
                Zeroizing::new((self.half + self.half).to_bytes())
            }
            /// Reads a key file.
            pub fn from_key_file(text: &str) -> Result<Self, KeyFileError> {
                Self::from_bytes(&*keyfile::decode(text)?)
            }
            /// Writes a key file.
            pub fn to_key_file(&self) -> Zeroizing<String> {
                keyfile::encode(&self.to_bytes())
            }
        }
    };
}

role_scalar!(
    /// The custodian's scalar, one for each agreement.
    CustodianScalar
);
role_scalar!(
    /// The analyst's scalar, one for each agreement and purpose.
    AnalystScalar
);

impl CustodianScalar {
    /// P1 = scalar · H2C(id) for each 128-bit id, in order.
    pub fn points<'i>(&self, domain: &Domain, ids: impl IntoIterator<Item = &'i [u8; 16]>) -> Vec<PseudonymPoint> {
        let halves: Vec<RistrettoPoint> = ids.into_iter().map(|id| self.half * domain.0.point(&[id])).collect();
        RistrettoPoint::double_and_compress_batch(&halves).iter().map(|point| PseudonymPoint(point.to_bytes())).collect()
    }
}

impl AnalystScalar {
    /// The pseudonyms for P1s, in order: the first 16 bytes of SHA-256(label("pseudonym-text") ‖ P2), P2 = scalar · P1.
    pub fn pseudonyms(&self, points: &[PseudonymPoint]) -> Result<Vec<[u8; 16]>, PseudonymError> {
        let halves = points
            .iter()
            .enumerate()
            .map(|(index, point)| decode_point(&point.0).map(|p1| self.half * p1).ok_or(PseudonymError::InvalidPoint { index }))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(RistrettoPoint::double_and_compress_batch(&halves).iter().map(|p2| text_of(p2.as_bytes())).collect())
    }
}

fn text_of(p2: &[u8; 32]) -> [u8; 16] {
    let digest = Sha256::new().chain_update(label!("pseudonym-text")).chain_update(p2).finalize();
    let mut pseudonym = [0; 16];
    pseudonym.copy_from_slice(&digest[..16]);
    pseudonym
}
